//! Silver tables that cannot be used as they are, and DDL that is only proposed.

use crate::records::{key, raw, row, value};
use crate::rig::Rig;
use crate::worker::Worker;
use silversink::record::OwnedRecord;

const TOPIC: &str = "shop.public.orders";
const OTHER: &str = "shop.public.customers";

const BOOKKEEPING: &str = "_version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz";

/// Two lanes with a record each; the orders' table is made by this DDL.
fn two_lanes(ddl: &str) -> (Rig, Worker) {
    let rig = Rig::new(&[TOPIC, OTHER]);
    rig.execute(&format!("CREATE SCHEMA silver; {}", ddl.replace("BOOKKEEPING", BOOKKEEPING)));
    rig.broker.produce(&[row(TOPIC, 1, "a"), row(OTHER, 1, "a")]).unwrap();
    let worker = rig.worker();
    (rig, worker)
}

/// The orders' lane is stopped and says so everywhere, the other one runs.
fn only_orders_stopped(rig: &Rig, worker: &Worker, code: &str, text: &str, hint: &str) {
    let line = worker.says("lane stopped");
    assert_eq!(line["code"], code);
    assert_eq!(line["table"], "silver.orders");
    assert!(line["message"].as_str().unwrap().contains(text), "no `{text}` in {line}");
    assert!(line["hint"].as_str().unwrap().contains(hint), "no `{hint}` in {line}");
    worker.unready_because(&format!("silver.orders: stopped [{code}]"));
    rig.until("SELECT count(*) FROM pg_tables WHERE tablename = 'customers'", "1");
    rig.until("SELECT count(*) FROM silver.customers", "1");
    rig.until(
        &format!(
            "SELECT concat_ws(' ', state, reason) FROM silversink.position WHERE topic = '{TOPIC}'"
        ),
        &format!("stopped {code}"),
    );
    assert_eq!(rig.state(OTHER), "running");
    let metric = format!("silversink_lane_stopped{{table=\"silver.orders\",code=\"{code}\"}} 1");
    let metrics = worker.get("/metrics").unwrap().1;
    assert!(metrics.contains(&metric), "no {metric} in {metrics}");
    assert_eq!(rig.ask("SELECT count(*) FROM silversink.dead_letter"), "0");
    assert_eq!(worker.said("lane stopped").len(), 1, "{}", worker.output());
}

/// The user did what the hint says: the lane goes on by itself.
fn goes_on(rig: &Rig, worker: &mut Worker) {
    worker.says("lane goes on");
    worker.ready();
    assert_eq!(rig.ask("SELECT string_agg(concat(id, name), ' ') FROM silver.orders"), "1a");
    assert_eq!(rig.state(TOPIC), "running");
    worker.stop();
}

#[test]
fn a_foreign_key_stops_the_lane_until_it_is_dropped() {
    let (rig, mut worker) = two_lanes(
        "CREATE TABLE silver.parents (id int PRIMARY KEY); CREATE TABLE silver.orders (id int PRIMARY KEY, \
         name text, BOOKKEEPING, CONSTRAINT parent FOREIGN KEY (id) REFERENCES silver.parents)",
    );
    let ddl = "ALTER TABLE \"silver\".\"orders\" DROP CONSTRAINT \"parent\";";
    only_orders_stopped(&rig, &worker, "constraint_unsupported", "foreign key \"parent\"", ddl);
    rig.execute(ddl);
    goes_on(&rig, &mut worker);
}

#[test]
fn a_second_unique_index_stops_the_lane_until_it_is_partial() {
    let (rig, mut worker) = two_lanes(
        "CREATE TABLE silver.orders (id int PRIMARY KEY, name text CONSTRAINT names UNIQUE, BOOKKEEPING)",
    );
    let (text, hint) = ("unique index \"names\"", "CREATE UNIQUE INDEX ... ON");
    only_orders_stopped(&rig, &worker, "constraint_unsupported", text, hint);
    rig.execute(
        "ALTER TABLE silver.orders DROP CONSTRAINT names; \
         CREATE UNIQUE INDEX ON silver.orders (name) WHERE _deleted_at IS NULL",
    );
    goes_on(&rig, &mut worker);
}

#[test]
fn a_table_without_a_primary_key_stops_the_lane_until_it_has_one() {
    let (rig, mut worker) =
        two_lanes("CREATE TABLE silver.orders (id int, name text, BOOKKEEPING)");
    only_orders_stopped(&rig, &worker, "key_mismatch", "has no primary key", "ADD PRIMARY KEY");
    rig.execute("ALTER TABLE silver.orders ADD PRIMARY KEY (id)");
    goes_on(&rig, &mut worker);
}

#[test]
fn another_primary_key_than_the_records_stops_the_lane() {
    let (rig, mut worker) =
        two_lanes("CREATE TABLE silver.orders (id int, name text PRIMARY KEY, BOOKKEEPING)");
    let ddl = "ALTER TABLE \"silver\".\"orders\" DROP CONSTRAINT \"orders_pkey\", ADD PRIMARY KEY (\"id\"), \
               ALTER COLUMN \"name\" DROP NOT NULL";
    let text = "the record key is (id), the primary key of silver.orders is (name)";
    only_orders_stopped(&rig, &worker, "key_mismatch", text, ddl);
    rig.execute(ddl);
    goes_on(&rig, &mut worker);
}

#[test]
fn a_type_that_cannot_hold_the_column_stops_the_lane_until_the_printed_ddl_is_run() {
    let (rig, mut worker) =
        two_lanes("CREATE TABLE silver.orders (id int PRIMARY KEY, name date, BOOKKEEPING)");
    only_orders_stopped(&rig, &worker, "type_mismatch", "column \"name\"", "ALTER TABLE");
    rig.execute(&ddl_of(&worker));
    goes_on(&rig, &mut worker);
}

#[test]
fn an_error_that_a_trigger_raises_stops_the_lane_and_its_text_is_not_told() {
    let (rig, mut worker) = two_lanes(
        "CREATE TABLE silver.orders (id int PRIMARY KEY, name text, BOOKKEEPING); \
         CREATE FUNCTION silver.refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'canary of %', NEW.name; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON silver.orders FOR EACH ROW EXECUTE FUNCTION silver.refuse()",
    );
    only_orders_stopped(&rig, &worker, "sqlstate_unknown", "P0001", "the server's own log");
    rig.execute("DROP TRIGGER refuse ON silver.orders");
    goes_on(&rig, &mut worker);
    assert!(!worker.output().contains("canary"), "{}", worker.output());
}

/// The DDL that the hint ends with.
fn ddl_of(worker: &Worker) -> String {
    let line = worker.said("lane stopped").pop().unwrap();
    line["hint"].as_str().unwrap().split_once(":\n").unwrap().1.to_owned()
}

/// With `changes = "plan"` the lane stops, nothing changes, and it runs after exactly the printed DDL.
fn runs_after_the_printed_ddl(before: &str, record: OwnedRecord, code: &str) -> Rig {
    let mut rig = Rig::new(&[TOPIC]);
    rig.extra = "[schema]\nchanges = \"plan\"".to_owned();
    rig.execute(&before.replace("BOOKKEEPING", BOOKKEEPING));
    rig.broker.produce(&[record]).unwrap();
    let catalogue = rig.catalogue();
    let mut worker = rig.worker();
    let line = worker.says("lane stopped");
    assert_eq!(line["code"], code);
    assert_eq!(rig.catalogue(), catalogue);

    rig.execute(&ddl_of(&worker));

    worker.says("lane goes on");
    worker.stop();
    rig
}

#[test]
fn a_planned_table_is_only_printed() {
    let rig = runs_after_the_printed_ddl("SELECT 1", row(TOPIC, 1, "a"), "table_missing");
    assert_eq!(rig.ask("SELECT concat(id, name) FROM silver.orders"), "1a");
}

#[test]
fn planned_bookkeeping_columns_are_only_printed() {
    let before = "CREATE SCHEMA silver; CREATE TABLE silver.orders (id int PRIMARY KEY, name text); \
                  INSERT INTO silver.orders VALUES (1, 'old'), (2, 'b')";
    let rig = runs_after_the_printed_ddl(before, row(TOPIC, 1, "a"), "column_missing");
    assert_eq!(
        rig.ask("SELECT string_agg(concat(id, name), ' ' ORDER BY id) FROM silver.orders"),
        "1a 2b"
    );
}

#[test]
fn a_planned_column_is_only_printed() {
    let before =
        "CREATE SCHEMA silver; CREATE TABLE silver.orders (id int PRIMARY KEY, BOOKKEEPING)";
    let rig = runs_after_the_printed_ddl(before, row(TOPIC, 1, "a"), "column_missing");
    assert_eq!(rig.ask("SELECT concat(id, name) FROM silver.orders"), "1a");
}

#[test]
fn a_table_with_rows_gets_its_bookkeeping_columns() {
    let rig = Rig::new(&[TOPIC]);
    rig.execute(
        "CREATE SCHEMA silver; CREATE TABLE silver.orders (id int PRIMARY KEY, name text); \
         INSERT INTO silver.orders VALUES (1, 'old'), (2, 'b')",
    );
    let delete = raw(TOPIC, Some(key(2)), None);
    rig.broker.produce(&[row(TOPIC, 1, "a"), delete]).unwrap();

    let mut worker = rig.catch_up();

    assert_eq!(worker.exit().code(), Some(0), "{}", worker.output());
    worker.says("lacks bookkeeping columns");
    let live = "SELECT string_agg(concat(id, name, _deleted_at IS NULL), ' ' ORDER BY id) FROM silver.orders";
    assert_eq!(rig.ask(live), "1at 2bf");
}

#[test]
fn a_table_of_another_pipeline_is_refused() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.broker.produce(&[row(TOPIC, 1, "a")]).unwrap();
    let mut first = rig.catch_up();
    assert_eq!(first.exit().code(), Some(0), "{}", first.output());
    (rig.name, rig.group) = ("second", "second");
    rig.broker.produce(&[raw(TOPIC, Some(key(1)), Some(value(1, "theirs")))]).unwrap();

    let mut second = rig.catch_up();

    assert_eq!(second.exit().code(), Some(1), "{}", second.output());
    let line = second.says("lane stopped");
    assert_eq!(line["code"], "table_owned");
    assert!(line["message"].as_str().unwrap().contains("shop"), "{line}");
    assert_eq!(rig.ask("SELECT name FROM silver.orders"), "a");
}
