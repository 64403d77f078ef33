//! Secrets stay inside, whatever the log level.

use crate::records::{raw, row};
use crate::rig::Rig;
use silversink::demo::registry::{DemoRegistry, Outage};

const TOPIC: &str = "shop.public.orders";
const CANARIES: [&str; 3] = ["canary-of-kafka", "canary-of-postgres", "canary-of-registry"];

#[test]
fn no_secret_is_in_the_most_talkative_output_or_on_the_metrics() {
    let mut rig = Rig::new(&[TOPIC]);
    let registry = DemoRegistry::start().unwrap();
    registry.disturb(u64::MAX, Outage::status(401));
    rig.execute("CREATE ROLE canary LOGIN PASSWORD 'canary-of-postgres' SUPERUSER");
    let server = rig.postgres.rsplit_once('@').unwrap().1.to_owned();
    rig.postgres = format!("postgres://canary:canary-of-postgres@{server}");
    rig.extra = format!(
        "[log]\nlevel = \"trace\"\n[registry]\nurl = \"{}\"\nuser = \"me\"\npassword = \"canary-of-registry\"",
        registry.url()
    );
    // Only used by SASL, which the mock does not speak: it is read, and must not be told.
    rig.properties =
        "\"sasl.password\" = \"canary-of-kafka\"\n\"ssl.key.password\" = \"canary-of-kafka\""
            .to_owned();
    rig.broker.produce(&[row(TOPIC, 1, "row-value")]).unwrap();

    let mut worker = rig.worker();
    rig.until("SELECT count(*) FROM pg_tables WHERE schemaname = 'silver'", "1");
    rig.until("SELECT count(*) FROM silver.orders", "1");
    rig.broker
        .produce(&[raw(TOPIC, Some(vec![0, 0, 0, 0, 9, 2]), Some(vec![0, 0, 0, 0, 9, 2]))])
        .unwrap();
    worker.says("waiting: could not get schema");
    let mut seen = worker.get("/metrics").unwrap().1 + &worker.get("/readyz").unwrap().1;
    worker.stop();

    seen += &worker.output();
    assert!(seen.contains("\"level\":\"TRACE\""), "the most talkative level is on");
    for canary in CANARIES.into_iter().chain(["row-value"]) {
        let at = seen.find(canary);
        assert!(at.is_none(), "{:?}", at.map(|at| &seen[at.saturating_sub(200)..at]));
    }
}
