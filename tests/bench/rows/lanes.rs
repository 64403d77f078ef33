//! Row 4: two connections, for two tables and for one.

use super::mixed;
use crate::bench::{Bench, Limits};
use crate::result::{Bar, Results, Verdict};
use crate::workload::{Format, Spec};

const BATCH: usize = 10_000;
const TWO_LANES: &str = "silversink, two lanes, two connections";
const ONE_TABLE: &str = "silversink, one table, two connections";

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    mixed::measure_product(bench, Format::Avro, BATCH).await?;
    let first = bench.mixed(Format::Avro);
    let second = Spec { table: 1, ..first.clone() };
    let limits = Limits { writers: Some(2), batch_rows: Some(BATCH), ..Limits::default() };
    bench.product(TWO_LANES, &[first.clone(), second], limits).await?;
    bench.product(ONE_TABLE, &[first], Limits { of_table: Some(2), ..limits }).await
}

pub fn verdicts(results: &Results) -> Vec<Verdict> {
    let one = mixed::product(Format::Avro, BATCH);
    vec![
        Verdict::new(
            "4",
            "two lanes on two connections in units of one lane",
            results.ratio(TWO_LANES, &one),
            Bar::AtLeast(1.4),
        ),
        Verdict::new(
            "4",
            "one table of 64 partitions on two connections in units of one connection",
            results.ratio(ONE_TABLE, &one),
            Bar::AtLeast(1.4),
        ),
    ]
}
