//! Rows 5 and 6: a replay where every row is superseded, and records below the stored position.

use super::mixed;
use crate::bench::{Bench, Limits, own_process};
use crate::destination::{EARLIER, Writer};
use crate::product::Worker;
use crate::result::{Bar, Measured, Results, Verdict};
use crate::workload::{Format, Spec};
use anyhow::ensure;
use std::time::Instant;

const BATCH: usize = 10_000;
const REPLAY: &str = "silversink, replay: all superseded";
const BELOW: &str = "silversink, all below the position";
const CONSUMER: &str = "plain consumer";
const TABLE_WAL: &str = "replay: WAL on pages of the table";
const OTHER_WAL: &str = "replay: WAL outside the bookkeeping";
const ALL_WAL: &str = "replay: all WAL";

/// A table with everything applied. Readers prune pages, which writes to the log: what there is to prune goes first.
async fn applied(bench: &mut Bench, spec: &Spec) -> anyhow::Result<()> {
    let specs = std::slice::from_ref(spec);
    bench.fill(specs)?;
    bench.destination.prepare(Writer::Product, specs).await?;
    bench.read_again(specs, Limits::one_writer(BATCH)).await?;
    let vacuum = format!("VACUUM {}", spec.silver());
    Ok(bench.destination.client.batch_execute(&vacuum).await?)
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    mixed::measure_product(bench, Format::Avro, BATCH).await?;
    let spec = bench.mixed(Format::Avro);
    applied(bench, &spec).await?;
    let forget = "DELETE FROM silversink.position WHERE topic <> $1";
    bench.destination.client.execute(forget, &[&EARLIER]).await?;
    let start = bench.destination.wal_end().await?;
    let measured = bench.read_again(std::slice::from_ref(&spec), Limits::one_writer(BATCH)).await?;
    let wal = bench.destination.wal_since(&start).await?;
    ensure!(measured.applied == 0.0, "a replay applied {} rows", measured.applied);
    let events = measured.events;
    bench.keep(REPLAY, measured);
    bench.results.keep_figure(TABLE_WAL, wal.silver / events);
    bench.results.keep_figure(OTHER_WAL, (wal.bytes - wal.bookkeeping) / events);
    bench.results.keep_figure(ALL_WAL, wal.bytes / events);
    Ok(())
}

pub fn verdicts(results: &Results) -> Vec<Verdict> {
    vec![
        Verdict::new(
            "5",
            "replay, all superseded: events/s in units of the mixed load's",
            results.ratio(REPLAY, &mixed::product(Format::Avro, BATCH)),
            Bar::AtLeast(1.3),
        ),
        Verdict::new(
            "5",
            format!("{TABLE_WAL}, bytes/event"),
            results.figure(TABLE_WAL),
            Bar::Below(0.001),
        ),
        Verdict::new(
            "5",
            format!("{OTHER_WAL}, bytes/event"),
            results.figure(OTHER_WAL),
            Bar::Below(1.0),
        ),
        Verdict::new("5", format!("{ALL_WAL}, bytes/event"), results.figure(ALL_WAL), Bar::None),
    ]
}

/// Each partition's counts of records by class: they move with every record that reaches PostgreSQL.
async fn counts(bench: &Bench) -> anyhow::Result<String> {
    let query = "SELECT coalesce(sum(applied + superseded + skipped + dead_lettered), 0)::text FROM silversink.position";
    Ok(bench.destination.client.query_one(query, &[]).await?.try_get(0)?)
}

/// Both are whole processes that join a group, and end when there is nothing left.
pub async fn measure_below(bench: &mut Bench) -> anyhow::Result<()> {
    let spec = bench.mixed(Format::Avro);
    let specs = std::slice::from_ref(&spec);
    applied(bench, &spec).await?;
    let (before, start) = (counts(bench).await?, bench.destination.wal_end().await?);
    let (group, registry) = (bench.group(), bench.registry.url());
    let setup = bench.setup(specs, Limits::one_writer(BATCH), &group, &registry);
    let mut worker = Worker::start(&bench.destination, &setup, true)?;
    let seconds = worker.ended().await?;
    drop(worker);
    let wal = bench.destination.wal_since(&start).await?;
    ensure!(counts(bench).await? == before, "records below the position were settled again");
    ensure!(
        wal.silver == 0.0,
        "records below the position wrote {} bytes to the log: {}",
        wal.silver,
        wal.kinds
    );
    bench.destination.verify(specs).await?;
    bench.keep(BELOW, of_process(&spec, seconds)?);

    let group = bench.group();
    let begun = Instant::now();
    own_process(&["consume", &bench.broker.bootstrap, &group, &serde_json::to_string(&spec)?])?;
    bench.keep(CONSUMER, of_process(&spec, begun.elapsed().as_secs_f64())?);
    Ok(())
}

fn of_process(spec: &Spec, seconds: f64) -> anyhow::Result<Measured> {
    Ok(Measured { events: f64::from(u32::try_from(spec.events)?), seconds, ..Measured::default() })
}

pub fn below_verdicts(results: &Results) -> Vec<Verdict> {
    vec![Verdict::new(
        "6",
        "a topic below its positions: events/s of the process in units of a plain consumer's",
        results.ratio(BELOW, CONSUMER),
        Bar::AtLeast(0.8),
    )]
}
