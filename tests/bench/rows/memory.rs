//! Row 11: resident memory at full load under the default limits, and with many lanes.

use crate::bench::{Bench, Limits};
use crate::result::{Bar, Results, Verdict};
use crate::workload::{Format, Spec};

const TWO_TABLES: &str = "silversink, default limits, two tables";
const WITH_SCHEMA: &str = "silversink, default limits, JSON with schema";
const MANY: &str = "silversink, default limits, 100 lanes";
const LANES: usize = 100;

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let first = bench.mixed(Format::Avro);
    let second = Spec { table: 1, ..first.clone() };
    bench.product(TWO_TABLES, &[first, second], Limits::default()).await?;
    let with_schema = bench.mixed(Format::JsonSchema);
    bench.product(WITH_SCHEMA, &[with_schema], Limits::default()).await?;
    let events = bench.options.events / LANES;
    let many: Vec<Spec> = (0..LANES)
        .map(|table| Spec {
            table,
            partitions: 4,
            rows: 10_000,
            ..Spec::mixed("many", Format::Avro, events)
        })
        .collect();
    bench.product(MANY, &many, Limits::default()).await
}

pub fn verdicts(results: &Results) -> Vec<Verdict> {
    [(TWO_TABLES, 150.0), (WITH_SCHEMA, 150.0), (MANY, 300.0)]
        .into_iter()
        .map(|(name, most)| {
            Verdict::new(
                "11",
                format!("{name}: peak resident MiB"),
                results.memory(name),
                Bar::Below(most),
            )
        })
        .collect()
}
