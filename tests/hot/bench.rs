//! The client's hot path step by step: nanoseconds of CPU and allocations per record, next to the prototype's.
//!
//! Arguments (`make bench-hot ARGS=...`): `--events N`, `--passes N`, `--only TEXT` (steps whose name holds it). Few records, so
//! that they stay in the cache as they do on their way from librdkafka; the batches and the consumer side take more.

#![allow(clippy::expect_used, reason = "a measurement stops where it fails")]

mod consumer;
mod path;
#[path = "../bench/yardstick/plan.rs"]
mod plan;
mod prototype;
mod records;
#[path = "../bench/yardstick/row.rs"]
mod row;
mod spent;
#[path = "../bench/peer/workload.rs"]
mod workload;

use bytes::BytesMut;
use path::Path;
use prototype::Prototype;
use records::{Encoding, records};
use silversink::batch::Batch;
use silversink::decode::{Change, sequence};
use silversink::postgres::Frames;
use silversink::record::OwnedRecord;
use silversink::sql::merge::Variant;
use silversink::version::{Version, VersionParts};
use std::hint::black_box;
use std::io::Write;

#[global_allocator]
static ALLOCATOR: spent::Counting = spent::Counting;

/// Rows of a batch: the product's default.
const BATCH_ROWS: usize = 10_000;
/// Keys of the hot variant.
const HOT_KEYS: usize = 1_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let ["serve", encoding, events] =
        arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        return consumer::serve(encoding, events.parse()?);
    }
    // `cargo test --all-targets` starts benchmarks too, without this word.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let option = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1);
    let number = |name: &str, default: usize| option(name).map_or(Ok(default), |n| n.parse());
    let (events, passes) = (number("--events", 500)?, number("--passes", 200)?);
    let only = option("--only").map_or("", String::as_str);
    let mut table = Table { passes, only, out: std::io::stdout() };
    table.line("step", "ns", "allocations");
    for encoding in Encoding::ALL {
        decode(&mut table, encoding, events)?;
    }
    version(&mut table, events)?;
    for keys in [None, Some(HOT_KEYS)] {
        fold(&mut table, BATCH_ROWS * 2, keys)?;
    }
    for encoding in Encoding::ALL {
        if encoding.name().contains(only) || "consumer".contains(only) {
            // The mock broker keeps 5 MiB per partition.
            let events = match encoding {
                Encoding::Avro => 400_000,
                Encoding::Json => 200_000,
                Encoding::JsonWithSchema => 40_000,
            };
            consumer::run(&mut table, encoding, events)?;
        }
    }
    Ok(())
}

/// The result, line by line as it comes.
struct Table<'a> {
    passes: usize,
    only: &'a str,
    out: std::io::Stdout,
}

/// What a step took for all its records.
#[derive(Clone, Copy, Default)]
struct Pass {
    nanoseconds: u64,
    allocations: u64,
}

/// A step: does its work on so many records, in the time between `start` and its end.
type Step<'s> = (&'s str, Box<dyn FnMut() -> anyhow::Result<Pass> + 's>);

impl Table<'_> {
    fn line(&mut self, name: &str, nanoseconds: &str, allocations: &str) {
        // Nothing depends on it.
        let _ = writeln!(self.out, "{name:<64} {nanoseconds:>8} {allocations:>12}");
    }

    /// The median of passes that are taken in turns, so that whatever else the machine does hits all steps.
    fn measure(
        &mut self,
        events: usize,
        passes: usize,
        steps: Vec<Step<'_>>,
    ) -> anyhow::Result<()> {
        let mut steps: Vec<_> =
            steps.into_iter().filter(|(name, _)| name.contains(self.only)).collect();
        let mut taken = vec![Vec::new(); steps.len()];
        for _ in 0..passes {
            for ((_, step), taken) in steps.iter_mut().zip(&mut taken) {
                taken.push(step()?);
            }
        }
        let events = f64::from(u32::try_from(events)?);
        let per_event = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / events;
        for ((name, _), mut passes) in steps.into_iter().zip(taken) {
            passes.sort_unstable_by_key(|pass| pass.nanoseconds);
            let median = passes.get(passes.len() / 2).copied().unwrap_or_default();
            // The first pass finds buffers empty; the last one allocates as every one from then on.
            let least = passes.iter().map(|pass| pass.allocations).min().unwrap_or_default();
            let (ns, allocations) = (per_event(median.nanoseconds), per_event(least));
            self.line(name, &format!("{ns:.0}"), &format!("{allocations:.3}"));
        }
        Ok(())
    }
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Pass> {
    let (before, allocations) = (spent::nanoseconds(), spent::allocations());
    work()?;
    Ok(Pass {
        nanoseconds: spent::nanoseconds() - before,
        allocations: spent::allocations() - allocations,
    })
}

fn decode(table: &mut Table<'_>, encoding: Encoding, events: usize) -> anyhow::Result<()> {
    if !encoding.name().contains(table.only) && !table.only.contains(encoding.name()) {
        return Ok(());
    }
    let records = records(encoding, events)?;
    let name = |step: &str| format!("{}: {step}", encoding.name());
    let (all, walk, both) = (
        name("decode (to the row's binary form, with its version)"),
        name("prototype's decode"),
        name("prototype's decode and encode"),
    );
    let mut path = Path::new()?;
    let mut ours = move || {
        for record in &records {
            black_box(path.decode(&record.as_raw())?);
        }
        Ok(())
    };
    let mut steps: Vec<Step<'_>> = vec![(&all, Box::new(move || timed(&mut ours)))];
    // The prototype does not tell schema and payload apart.
    if encoding != Encoding::JsonWithSchema {
        let prototype = Prototype::new(encoding)?;
        let values = values(encoding, events)?;
        let mut decode = move || {
            for value in &values {
                black_box(prototype.decode(value)?);
            }
            Ok(())
        };
        steps.push((&walk, Box::new(move || timed(&mut decode))));
        let prototype = Prototype::new(encoding)?;
        let values = self::values(encoding, events)?;
        let mut out = BytesMut::new();
        let mut encode = move || {
            for value in &values {
                out.clear();
                prototype::encode(&mut out, &prototype.decode(value)?)?;
                black_box(&out);
            }
            Ok(())
        };
        steps.push((&both, Box::new(move || timed(&mut encode))));
    }
    table.measure(events, table.passes, steps)
}

fn values(encoding: Encoding, events: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    Ok(records(encoding, events)?.into_iter().filter_map(|record| record.value).collect())
}

fn version(table: &mut Table<'_>, events: usize) -> anyhow::Result<()> {
    let texts: Vec<String> = (0..events)
        .map(|n| format!("[\"{}\",\"{}\"]", 24_023_128_000 + n * 240, 24_023_128_056 + n * 240))
        .collect();
    let mut work = move || {
        for (text, kafka_offset) in texts.iter().zip(0..) {
            let found = sequence::parse(black_box(text)).unwrap_or_default();
            black_box(Version::new(VersionParts {
                source_epoch: 0,
                commit_position: found.commit.unwrap_or(0).into(),
                phase: 1,
                change_position: found.change.unwrap_or(0),
                kafka_offset,
            }));
        }
        Ok(())
    };
    table.measure(
        events,
        table.passes,
        vec![("version (source.sequence read)", Box::new(|| timed(&mut work)))],
    )
}

/// A change that is decoded already.
struct Decoded {
    record: OwnedRecord,
    change: Change,
    key: Vec<u8>,
    body: Vec<u8>,
}

fn decoded(events: usize, keys: Option<usize>) -> anyhow::Result<Vec<Decoded>> {
    let mut path = Path::new()?;
    let mut all: Vec<Decoded> = Vec::new();
    for (at, mut record) in records(Encoding::Avro, events)?.into_iter().enumerate() {
        let change = path.decode(&record.as_raw())?;
        let (mut key, body) = (path.row.key.clone(), path.row.body.clone());
        if let Some(keys) = keys
            && let Some(first) = all.get(at * 7 % keys)
        {
            key.clone_from(&first.key);
        }
        record.at.offset = i64::try_from(at)?;
        all.push(Decoded { record, change, key, body });
    }
    Ok(all)
}

/// Fold, seal and COPY of what is decoded already; each pass takes the batches that the records make.
fn fold(table: &mut Table<'_>, events: usize, keys: Option<usize>) -> anyhow::Result<()> {
    let kind = keys.map_or("random keys".to_owned(), |keys| format!("{keys} hot keys"));
    let names = ["fold", "sort and seal", "COPY"].map(|step| format!("{kind}: {step}"));
    let source = decoded(events, keys)?;
    let steps = (0..names.len()).map(|step| -> anyhow::Result<Step<'_>> {
        let mut path = Path::new()?;
        let source = &source;
        Ok((
            &names[step],
            Box::new(move || {
                let mut pass = Pass::default();
                let mut recycled = None;
                let mut add = |part: usize, spent: Pass| {
                    if part == step {
                        pass.nanoseconds += spent.nanoseconds;
                        pass.allocations += spent.allocations;
                    }
                };
                for stretch in source.chunks(BATCH_ROWS) {
                    add(0, timed(|| gather(&mut path, stretch))?);
                    // As the worker does when the batch before this one is written.
                    path.arena.recycle(recycled.take());
                    let mut batch = None;
                    add(
                        1,
                        timed(|| {
                            batch = Some(path.seal()?);
                            Ok(())
                        })?,
                    );
                    if let Some(batch) = batch {
                        add(2, timed(|| copy(&batch))?);
                        recycled = Some(batch);
                    }
                }
                Ok(pass)
            }),
        ))
    });
    let steps = steps.collect::<Result<_, _>>()?;
    table.measure(events, table.passes.div_ceil(10), steps)
}

fn gather(path: &mut Path, decoded: &[Decoded]) -> anyhow::Result<()> {
    for Decoded { record, change, key, body } in decoded {
        path.row.clear();
        path.row.key.extend_from_slice(key);
        path.row.body.extend_from_slice(body);
        path.fold(change, &record.as_raw())?;
    }
    Ok(())
}

/// Writes the stream of a batch and throws it away.
fn copy(batch: &Batch) -> anyhow::Result<()> {
    let frames = Frames::new(batch, 0..batch.rows.len(), Variant::Fast);
    for chunk in frames.into_iter().flatten() {
        black_box(chunk);
    }
    Ok(())
}
