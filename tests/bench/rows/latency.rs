//! Row 10: from Kafka append to visible in Silver.
//!
//! Each record carries the moment at which it was due to be sent, as the source's time; Silver keeps that in `_source_ts`.
//! PostgreSQL keeps the time of each transaction's commit, and no key occurs twice, so that each row knows its own
//! transaction. Latency is the difference: it includes a producer that is late and the way to the broker, and ends when the
//! commit begins to be written to disk.

use crate::bench::{Bench, Limits, now_microseconds, say};
use crate::destination::Writer;
use crate::product::Worker;
use crate::result::{Bar, Measured, Results, Verdict};
use crate::workload::{Clock, Format, Keys, Spec};
use anyhow::{Context, ensure};

const TABLES: usize = 4;
const ROWS: i64 = 100_000;
const PARTITIONS: i32 = 16;
/// Events per second over all tables.
const CALM: f64 = 1_000.0;
const CALM_SECONDS: f64 = 5.0;
const HALF_SECONDS: f64 = 4.0;
/// Keys of a table that can change once.
const MOST: f64 = 90_000.0;
/// From the order to play to the first record: the broker writes all of them before.
const LEAD_MICROSECONDS: i64 = 1_000_000;
const LEAD_OF_AN_EVENT: f64 = 10.0;

/// Milliseconds. Kafka answers a fetch as soon as there is a record; the mock broker answers an empty one when its wait is
/// over, whatever comes meanwhile: with the worker's own 100 ms the median was 57 ms of this wait.
const FETCH_WAIT: usize = 2;

/// `linger.ms` of the producer at many events per second. The mock broker answers a fetch with one of the producer's batches
/// per partition, where Kafka gives all there are: batches of one or two records would make the broker the limit. What a
/// record waits for this counts as latency.
const BUSY_LINGER: &str = "20";

const FULL: &str = "silversink, four tables of 100,000 rows";

fn spec(kind: &str, table: usize, events: usize) -> Spec {
    Spec {
        table,
        partitions: PARTITIONS,
        rows: ROWS,
        keys: Keys::Distinct,
        ..Spec::mixed(kind, Format::Avro, events)
    }
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    play(bench, "calm", CALM, CALM_SECONDS, "0").await?;
    let events = bench.options.events.min(TABLES * 90_000) / TABLES;
    let full: Vec<Spec> = (0..TABLES).map(|table| spec("four", table, events)).collect();
    bench.product(FULL, &full, Limits::default()).await?;
    let last = bench.results.runs(FULL).last();
    let rate = last.map(Measured::rate).context("the full load was not measured")? / 2.0;
    let seconds = HALF_SECONDS.min(MOST * 4.0 / rate);
    play(bench, "half", rate, seconds, BUSY_LINGER).await
}

/// Plays a load into a worker that waits for it.
async fn play(
    bench: &mut Bench,
    name: &str,
    rate: f64,
    seconds: f64,
    linger: &str,
) -> anyhow::Result<()> {
    let events = whole(rate * seconds) / TABLES;
    // Records are appended once: each round has topics of its own.
    let kind = format!("{name}_{}", bench.round);
    let mut specs: Vec<Spec> = (0..TABLES).map(|table| spec(&kind, table, events)).collect();
    bench.destination.prepare(Writer::Product, &specs).await?;
    let mut topics = Vec::new();
    for spec in &specs {
        topics.push(bench.register(spec)?);
        bench.broker.create(spec)?;
    }
    let (group, registry) = (bench.group(), bench.registry.url());
    let mut worker = {
        let limits = Limits { fetch_wait: Some(FETCH_WAIT), ..Limits::default() };
        let setup = bench.setup(&specs, limits, &group, &registry);
        Worker::start(&bench.destination, &setup, false)?
    };
    worker.claimed(&bench.destination).await?;
    let total = events * TABLES;
    let lead = f64::from(u32::try_from(total)?) * LEAD_OF_AN_EVENT;
    let from = now_microseconds() + LEAD_MICROSECONDS + i64::try_from(whole(lead))?;
    let step = 1e6 * f64::from(u32::try_from(TABLES)?) / rate;
    for (spec, shift) in specs.iter_mut().zip(0_u32..) {
        let shift = step * f64::from(shift) / f64::from(u32::try_from(TABLES)?);
        spec.clock = Clock { from: from + i64::try_from(whole(shift))?, step };
    }
    let topics: Vec<_> = specs.iter().cloned().zip(topics).collect();
    bench.broker.play(&topics, linger)?;
    worker.settled(&bench.destination, i64::try_from(total)?).await?;
    bench.broker.played()?;
    drop(worker);
    bench.destination.verify(&specs).await?;
    let [p50, p99, max] = latencies(bench, &specs, from, total).await?;
    say(&format!(
        "{name}: {rate:.0} events/s for {seconds:.1} s: p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"
    ));
    for (what, value) in [("p50", p50), ("p99", p99), ("max", max)] {
        bench.results.keep_figure(&format!("{name} {what}"), value);
    }
    bench.results.keep_figure(&format!("{name} rate"), rate);
    bench.destination.forget_expectations().await
}

/// Milliseconds: median, 99th percentile, largest.
async fn latencies(
    bench: &Bench,
    specs: &[Spec],
    from: i64,
    total: usize,
) -> anyhow::Result<[f64; 3]> {
    let tables: Vec<String> = specs
        .iter()
        .map(|spec| format!("SELECT xmin, _source_ts FROM {}", spec.silver()))
        .collect();
    let row = bench
        .destination
        .client
        .query_one(
            &format!(
                "SELECT count(*), percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY \
                   extract(epoch FROM pg_xact_commit_timestamp(xmin) - _source_ts)::float8 * 1000) \
                 FROM ({}) AS r WHERE _source_ts >= to_timestamp($1::float8 / 1e6) - interval '1 ms'",
                tables.join(" UNION ALL ")
            ),
            &[&microseconds(from)],
        )
        .await?;
    let (count, found): (i64, Vec<f64>) = (row.try_get(0)?, row.try_get(1)?);
    ensure!(count == i64::try_from(total)?, "{count} rows tell their time, {total} should");
    found.try_into().ok().context("three percentiles")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(count: f64) -> usize {
    count as usize
}

#[expect(clippy::cast_precision_loss, reason = "a time of our century in microseconds")]
fn microseconds(at: i64) -> f64 {
    at as f64
}

pub fn verdicts(results: &Results) -> Vec<Verdict> {
    let figure = |name: &str| results.figure(name);
    let half = figure("half rate").map_or(0.0, |rate| rate.median);
    let calm = format!("{CALM} events/s over {TABLES} tables, append to commit");
    let busy = format!("{half:.0} events/s (half of the maximum), append to commit");
    vec![
        Verdict::new("10", format!("{calm}: p50, ms"), figure("calm p50"), Bar::Below(5.0)),
        Verdict::new("10", format!("{calm}: p99, ms"), figure("calm p99"), Bar::Below(25.0)),
        Verdict::new("10", format!("{calm}: largest, ms"), figure("calm max"), Bar::None),
        Verdict::new("10", format!("{busy}: p50, ms"), figure("half p50"), Bar::None),
        Verdict::new("10", format!("{busy}: p99, ms"), figure("half p99"), Bar::Below(250.0)),
    ]
}
