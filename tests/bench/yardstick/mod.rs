//! The yardstick: the shortest program that brings the same events into a table of the same size.
//!
//! One thread polls, decodes, folds by key and encodes; one writer copies and merges. No positions, no schema changes, no
//! errors: what a worker costs above this is the price of its guarantees.

mod plan;
mod row;

use crate::process;
use crate::result::Measured;
use crate::workload::{self, PARTITIONS};
use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use plan::{Plan, Slot};
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

/// Entry point of the process; writes one line of figures.
pub fn run(bootstrap: &str, postgres: &str, schema: &str, batch_rows: usize) -> anyhow::Result<()> {
    let plan = Plan::compile(&serde_json::from_str(&std::fs::read_to_string(schema)?)?)?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "yardstick")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "32768")
        .create()?;
    let topic = workload::topic(0);
    let mut assignment = TopicPartitionList::new();
    let mut total = 0;
    for partition in 0..PARTITIONS {
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
    let mut sent = read_all(&consumer, &plan, total, batch_rows, &batches)?;
    drop(batches);
    let (applied, spent) = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    sent.seconds = begun.elapsed().as_secs_f64();
    sent.applied = applied;
    sent.backend_cpu = spent - server;
    sent.client_cpu = process::cpu_seconds(pid)? - cpu;
    sent.peak_mib = process::peak_mib(pid)?;
    print(&sent)
}

fn read_all(
    consumer: &BaseConsumer,
    plan: &Plan,
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
        let (slots, op, lsn) = plan.decode(message.payload().context("no payload")?)?;
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

fn print(m: &Measured) -> anyhow::Result<()> {
    writeln!(
        std::io::stdout(),
        "{} {} {} {} {} {} {} {}",
        m.events,
        m.seconds,
        m.client_cpu,
        m.backend_cpu,
        m.peak_mib,
        m.rows,
        m.batches,
        m.applied
    )?;
    Ok(())
}

/// Reads the line of figures back.
pub fn parse(line: &str) -> anyhow::Result<Measured> {
    let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [events, seconds, client_cpu, backend_cpu, peak_mib, rows, batches, applied] = numbers[..]
    else {
        anyhow::bail!("the yardstick printed no figures");
    };
    Ok(Measured {
        events,
        seconds,
        join: 0.0,
        client_cpu,
        backend_cpu,
        peak_mib,
        rows,
        batches,
        applied,
    })
}
