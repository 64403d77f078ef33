//! Two bounds that no sink can pass: a consumer that only polls, and a binary COPY into a fresh table whose key is built
//! after it.

use super::{CHUNK, COLUMNS, Decoder, WAIT, consumer, row};
use crate::process;
use crate::result::Measured;
use crate::workload::{self, Spec};
use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::io::Write;
use std::pin::pin;
use std::time::Instant;
use tokio_postgres::NoTls;

/// Entry point of the process that polls a topic as a member of a group and throws the records away.
pub fn consume(bootstrap: &str, group: &str, spec: &Spec) -> anyhow::Result<()> {
    let consumer: BaseConsumer = consumer(bootstrap).set("group.id", group).create()?;
    consumer.subscribe(&[&spec.topic()])?;
    let mut bytes = 0;
    let begun = Instant::now();
    let mut taken = 0;
    while taken < spec.events {
        // Nothing also means that something else happened, as an assignment.
        let Some(message) = consumer.poll(WAIT) else {
            anyhow::ensure!(taken == 0 && begun.elapsed() < WAIT, "the broker went silent");
            continue;
        };
        bytes += message?.payload_len();
        taken += 1;
    }
    anyhow::ensure!(bytes > 0, "records without a value");
    Ok(())
}

/// Entry point of the process that copies the rows of a topic, encoded beforehand; writes one line of figures.
pub fn copy(postgres: &str, spec: &Spec) -> anyhow::Result<()> {
    let mut rows = BytesMut::new();
    rows.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    let mut decoder = Decoder::new(spec)?;
    for record in workload::records(spec, (1, 2))? {
        let (slots, op, lsn) = decoder.decode(&record.value)?;
        row::encode(&mut rows, &slots, op == b'd', lsn)?;
    }
    rows.put_i16(-1);
    let rows = rows.freeze();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(load(postgres, spec, rows))
}

async fn load(postgres: &str, spec: &Spec, mut rows: Bytes) -> anyhow::Result<()> {
    let (client, connection) = tokio_postgres::connect(postgres, NoTls).await?;
    tokio::spawn(connection);
    let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
    let (pid, backend) = (std::process::id(), u32::try_from(backend)?);
    let table = spec.silver();
    client
        .batch_execute(&format!(
            "CREATE TABLE {table} (order_id bigint NOT NULL, customer_id bigint, store_id int, order_amount numeric(12,2),
               status text, created_at timestamptz, updated_at timestamptz, note text, _lsn bigint NOT NULL,
               _is_deleted boolean NOT NULL, _deleted_at timestamptz)"
        ))
        .await?;
    let (cpu, server) = (process::cpu_seconds(pid)?, process::scheduled_seconds(backend));
    let begun = Instant::now();
    let copy = format!("COPY {table} ({COLUMNS}) FROM STDIN BINARY");
    let mut sink = pin!(client.copy_in::<_, Bytes>(&copy).await?);
    while !rows.is_empty() {
        sink.feed(rows.split_to(rows.len().min(CHUNK))).await?;
    }
    let copied = sink.finish().await?;
    client.batch_execute(&format!("ALTER TABLE {table} ADD PRIMARY KEY (order_id)")).await?;
    let events = f64::from(u32::try_from(copied)?);
    let measured = Measured {
        events,
        seconds: begun.elapsed().as_secs_f64(),
        client_cpu: process::cpu_seconds(pid)? - cpu,
        backend_cpu: process::scheduled_seconds(backend) - server,
        peak_mib: process::peak_mib(pid)?,
        rows: events,
        batches: 1.0,
        applied: events,
        ..Measured::default()
    };
    writeln!(std::io::stdout(), "{}", measured.print()).context("nobody reads the figures")
}
