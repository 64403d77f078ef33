//! Row 7: a snapshot into a table that does not exist yet, beside a plain COPY.

use crate::bench::{Bench, Limits, own_process};
use crate::result::{Bar, Measured, Results, Verdict};
use crate::workload::{Format, Keys, Spec};

const FRESH: &str = "silversink, snapshot into a fresh table";
const COPY: &str = "plain binary COPY, key built after";

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mixed = bench.mixed(Format::Avro);
    let spec = Spec { kind: "fresh".to_owned(), rows: 0, keys: Keys::Snapshot, ..mixed };
    let specs = std::slice::from_ref(&spec);
    bench.product(FRESH, specs, Limits::one_writer(50_000)).await?;
    bench.destination.clear(specs).await?;
    let figures = own_process(&["copy", &bench.destination.url(), &serde_json::to_string(&spec)?])?;
    bench.destination.verify(specs).await?;
    bench.keep(COPY, Measured::parse(&figures)?);
    Ok(())
}

pub fn verdicts(results: &Results) -> Vec<Verdict> {
    vec![Verdict::new(
        "7",
        "snapshot into a fresh table: rows/s in units of plain binary COPY",
        results.ratio(FRESH, COPY),
        Bar::AtLeast(0.6),
    )]
}
