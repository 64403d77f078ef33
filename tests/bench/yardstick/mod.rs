//! The yardstick: the shortest program that brings the same events into a table of the same size.
//!
//! One thread polls, decodes, folds by key and encodes; one writer copies and merges. No positions, no schema changes, no
//! errors: what a worker costs above this is the price of its guarantees.

mod json;
pub mod plain;
mod plan;
mod row;

use crate::process;
use crate::result::Measured;
use crate::workload::{Format, Spec};
use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use plan::Slot;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::HashMap;
use std::io::Write;
use std::pin::pin;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

const COLUMNS: &str = "order_id, customer_id, store_id, order_amount, status, created_at, updated_at, note, _lsn, _is_deleted";
const CHUNK: usize = 256 * 1024;
const WAIT: Duration = Duration::from_secs(10);

/// Newest row of a key: where it stands in the arena.
struct Newest {
    from: usize,
    to: usize,
    lsn: i64,
}

/// How a message becomes a row; compiled once.
enum Decoder {
    Avro(plan::Plan),
    Json(json::Decoder),
}

impl Decoder {
    fn new(spec: &Spec) -> anyhow::Result<Self> {
        Ok(match spec.format {
            Format::Avro => Self::Avro(plan::Plan::compile(&spec.schemas()?.1)?),
            Format::Json => Self::Json(json::Decoder::new(false)),
            Format::JsonSchema => Self::Json(json::Decoder::new(true)),
        })
    }

    /// The row (of a delete: its before-image), op and position.
    fn decode<'m>(
        &mut self,
        message: &'m [u8],
    ) -> anyhow::Result<([Slot<'m>; plan::SLOTS], u8, i64)> {
        match self {
            Self::Avro(plan) => plan.decode(message),
            Self::Json(decoder) => decoder.decode(message),
        }
    }
}

fn consumer(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "yardstick")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "32768");
    config
}

/// Entry point of the process; writes one line of figures.
pub fn run(bootstrap: &str, postgres: &str, spec: &Spec, batch_rows: usize) -> anyhow::Result<()> {
    let mut decoder = Decoder::new(spec)?;
    let consumer: BaseConsumer = consumer(bootstrap).create()?;
    let topic = spec.topic();
    let mut assignment = TopicPartitionList::new();
    let mut total = 0;
    for partition in 0..spec.partitions {
        assignment.add_partition_offset(&topic, partition, Offset::Beginning)?;
        let (low, high) = consumer.fetch_watermarks(&topic, partition, WAIT)?;
        total += high - low;
    }
    let (batches, inbox) = mpsc::sync_channel(1);
    let (started, backend) = mpsc::channel();
    let url = postgres.to_owned();
    let writer = std::thread::spawn(move || write_all(&url, &inbox, &started));
    let backend = backend.recv().context("the writer did not start")?;
    let pid = std::process::id();
    let (cpu, server) = (process::cpu_seconds(pid)?, process::scheduled_seconds(backend));
    let begun = Instant::now();
    consumer.assign(&assignment)?;
    let mut sent = read_all(&consumer, &mut decoder, total, batch_rows, &batches)?;
    drop(batches);
    let (applied, spent) = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    sent.seconds = begun.elapsed().as_secs_f64();
    sent.applied = applied;
    sent.backend_cpu = spent - server;
    sent.client_cpu = process::cpu_seconds(pid)? - cpu;
    sent.peak_mib = process::peak_mib(pid)?;
    Ok(writeln!(std::io::stdout(), "{}", sent.print())?)
}

fn read_all(
    consumer: &BaseConsumer,
    decoder: &mut Decoder,
    total: i64,
    batch_rows: usize,
    batches: &SyncSender<Bytes>,
) -> anyhow::Result<Measured> {
    let mut arena = BytesMut::with_capacity(batch_rows * 260);
    let mut newest: HashMap<i64, Newest, foldhash::fast::FixedState> = HashMap::default();
    let mut measured = Measured { events: f64::from(u32::try_from(total)?), ..Measured::default() };
    let mut taken = 0;
    while taken < total {
        let Some(message) = consumer.poll(WAIT) else { anyhow::bail!("the broker went silent") };
        let message = message?;
        let (slots, op, lsn) = decoder.decode(message.payload().context("no payload")?)?;
        taken += 1;
        let Slot::Integer(key) = slots[0] else { anyhow::bail!("no key") };
        let entry = newest.entry(key).or_insert(Newest { from: 0, to: 0, lsn: i64::MIN });
        if lsn > entry.lsn {
            let from = arena.len();
            row::encode(&mut arena, &slots, op == b'd', lsn)?;
            *entry = Newest { from, to: arena.len(), lsn };
        }
        if newest.len() >= batch_rows || taken == total {
            let mut rows: Vec<(i64, Newest)> = newest.drain().collect();
            rows.sort_unstable_by_key(|(key, _)| *key);
            let mut out = BytesMut::with_capacity(arena.len() + 64);
            out.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
            for (_, row) in &rows {
                out.put_slice(&arena[row.from..row.to]);
            }
            out.put_i16(-1);
            arena.clear();
            measured.rows += f64::from(u32::try_from(rows.len())?);
            measured.batches += 1.0;
            batches.send(out.freeze()).context("the writer is gone")?;
        }
    }
    Ok(measured)
}

/// Rows applied, and the CPU seconds of the backend.
fn write_all(
    url: &str,
    inbox: &Receiver<Bytes>,
    started: &Sender<u32>,
) -> anyhow::Result<(f64, f64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        let backend = prepare(&client).await?;
        started.send(backend)?;
        let copy = client.prepare(&format!("COPY stage ({COLUMNS}) FROM STDIN BINARY")).await?;
        let merge = client.prepare(&merge()).await?;
        let mut applied = 0.0;
        while let Ok(mut rows) = inbox.recv() {
            let (begun, sink) =
                tokio::join!(client.batch_execute("BEGIN"), client.copy_in::<_, Bytes>(&copy));
            begun?;
            let mut sink = pin!(sink?);
            while !rows.is_empty() {
                sink.feed(rows.split_to(rows.len().min(CHUNK))).await?;
            }
            let (copied, merged, committed) = tokio::join!(
                sink.finish(),
                client.execute(&merge, &[]),
                client.batch_execute("COMMIT")
            );
            copied?;
            applied += f64::from(u32::try_from(merged?)?);
            committed?;
        }
        Ok((applied, process::scheduled_seconds(backend)))
    })
}

async fn prepare(client: &Client) -> anyhow::Result<u32> {
    client
        .batch_execute(
            "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; SET enable_material = off;
             SET jit = off;
             CREATE TEMP TABLE stage (order_id bigint, customer_id bigint, store_id int, order_amount numeric(12,2),
               status text, created_at timestamptz, updated_at timestamptz, note text, _lsn bigint,
               _is_deleted boolean) ON COMMIT DELETE ROWS",
        )
        .await?;
    let row = client.query_one("SELECT pg_backend_pid()", &[]).await?;
    Ok(u32::try_from(row.try_get::<_, i32>(0)?)?)
}

fn merge() -> String {
    let names: Vec<&str> = COLUMNS.split(", ").collect();
    let set: Vec<String> = names.iter().skip(1).map(|name| format!("{name} = s.{name}")).collect();
    let values: Vec<String> = names.iter().map(|name| format!("s.{name}")).collect();
    let deleted_at = "CASE WHEN s._is_deleted THEN now() END";
    format!(
        "MERGE INTO silver.orders_0 AS t USING stage AS s ON t.order_id = s.order_id
         WHEN MATCHED AND s._lsn > t._lsn THEN
           UPDATE SET {}, _deleted_at = {deleted_at}, _applied_at = now()
         WHEN NOT MATCHED THEN
           INSERT ({COLUMNS}, _deleted_at, _applied_at) VALUES ({}, {deleted_at}, now())",
        set.join(", "),
        values.join(", ")
    )
}
