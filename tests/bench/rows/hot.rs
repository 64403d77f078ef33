//! Row 8: few keys that change all the time.

use super::mixed;
use crate::bench::{Bench, Limits};
use crate::result::{Bar, Results, Verdict};
use crate::workload::{Format, Keys, Spec};

/// One key for twenty events, as 20,000 keys in 400,000 events.
const EVENTS_OF_A_KEY: usize = 20;

fn name(batch_rows: usize) -> String {
    format!("silversink, hot keys, {batch_rows}")
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let uniform = bench.mixed(Format::Avro);
    let keys = i64::try_from(uniform.events / EVENTS_OF_A_KEY)?;
    let spec = Spec { kind: "hot".to_owned(), keys: Keys::Hot(keys), ..uniform };
    for batch_rows in mixed::BATCHES {
        mixed::measure_product(bench, Format::Avro, batch_rows).await?;
        let specs = std::slice::from_ref(&spec);
        bench.product(&name(batch_rows), specs, Limits::one_writer(batch_rows)).await?;
    }
    Ok(())
}

pub fn verdicts(results: &Results) -> Vec<Verdict> {
    mixed::BATCHES
        .into_iter()
        .map(|batch_rows| {
            Verdict::new(
                "8",
                format!("hot keys, batches of {batch_rows}: events/s in units of uniform keys'"),
                results.ratio(&name(batch_rows), &mixed::product(Format::Avro, batch_rows)),
                Bar::AtLeast(2.0),
            )
        })
        .collect()
}
