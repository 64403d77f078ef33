//! Rows 1 and 2: the mixed load with one writer, beside the yardstick doing the same, in each format.

use crate::bench::{Bench, Limits};
use crate::result::{Bar, Results, Verdict};
use crate::workload::Format;

/// Rows of a batch.
pub const BATCHES: [usize; 2] = [10_000, 50_000];

pub fn product(format: Format, batch_rows: usize) -> String {
    format!("silversink, {}, {batch_rows}", format.name())
}

fn yardstick(format: Format, batch_rows: usize) -> String {
    format!("yardstick, {}, {batch_rows}", format.name())
}

/// The run that others compare themselves with.
pub async fn measure_product(
    bench: &mut Bench,
    format: Format,
    batch_rows: usize,
) -> anyhow::Result<()> {
    let spec = bench.mixed(format);
    bench.product(&product(format, batch_rows), &[spec], Limits::one_writer(batch_rows)).await
}

pub async fn measure(bench: &mut Bench, formats: &[Format]) -> anyhow::Result<()> {
    for format in formats {
        for batch_rows in BATCHES {
            let spec = bench.mixed(*format);
            bench.yardstick(&yardstick(*format, batch_rows), &spec, batch_rows).await?;
            measure_product(bench, *format, batch_rows).await?;
        }
    }
    Ok(())
}

fn beside_yardstick(
    results: &Results,
    row: &'static str,
    format: Format,
) -> impl Iterator<Item = Verdict> {
    BATCHES.into_iter().map(move |batch_rows| {
        Verdict::new(
            row,
            format!(
                "{}, batches of {batch_rows}: events/s in units of the yardstick's",
                format.name()
            ),
            results.ratio(&product(format, batch_rows), &yardstick(format, batch_rows)),
            Bar::AtLeast(0.9),
        )
    })
}

pub fn verdicts(results: &Results) -> Vec<Verdict> {
    beside_yardstick(results, "1", Format::Avro).collect()
}

pub fn json_verdicts(results: &Results) -> Vec<Verdict> {
    let mut all: Vec<Verdict> = beside_yardstick(results, "2", Format::Json).collect();
    all.extend(beside_yardstick(results, "2", Format::JsonSchema));
    for batch_rows in BATCHES {
        let (with, without) =
            (product(Format::JsonSchema, batch_rows), product(Format::Json, batch_rows));
        all.push(Verdict::new(
            "2",
            format!("JSON, batches of {batch_rows}: with schema in units of without"),
            results.ratio(&with, &without),
            Bar::AtLeast(0.6),
        ));
    }
    all
}
