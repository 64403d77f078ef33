//! A PgBouncer between worker and server. Runs with the feature `system`, because a build needs no PgBouncer.

use crate::plans::{SETTINGS, every_merge_uses_the_key_index};
use crate::rows::{F::*, *};
use crate::server::{Database, Server, is_root, own};
use silversink::fault::{Class, Code};
use silversink::table::{Bookkeeping, TableName};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running pooler on loopback; ended on drop.
struct Pooler {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Pooler {
    fn start(server: &Server, mode: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        own(directory.path());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
        let file = directory.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres password=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n",
            server.port()
        );
        std::fs::write(&file, text).unwrap();
        own(&file);
        // Debian has it where only root looks; it does not run as root.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("pgbouncer");
        command.env("PATH", path).arg("--quiet").arg(&file).stdin(Stdio::null());
        if is_root() {
            command.arg("--user=postgres");
        }
        let process = command.spawn().expect("pgbouncer; apt-get install pgbouncer");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "pgbouncer does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, port, _directory: directory }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn every_merge_finds_its_rows_by_the_key_index_through_a_pooler_of_sessions() {
    let server = Server::start("password", &SETTINGS);
    let pooler = Pooler::start(&server, "session");
    every_merge_uses_the_key_index(&server, pooler.port).await;
}

/// Two tables of the same types, a writer each: what one stages may never be merged by the other, whichever session of the
/// server a statement reaches.
#[tokio::test]
async fn writers_that_share_a_session_are_refused_and_no_row_reaches_another_table() {
    let server = Server::start("password", &[]);
    let pooler = Pooler::start(&server, "transaction");
    let direct = server.database().await;
    direct.sql("CREATE SCHEMA s").await;
    for table in ["a", "b"] {
        direct
            .sql(&format!(
                "CREATE TABLE s.{table} (id bigint PRIMARY KEY, name text, _version bytea NOT NULL, \
                 _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)"
            ))
            .await;
    }
    let destination = Database { name: direct.name.clone(), port: pooler.port }.destination().await;
    let name = TableName::new("s", "a");
    let described = destination.describe(&name, &Bookkeeping::default()).await.unwrap().unwrap();
    let mut lane = Lane::open(destination, Arc::new(described.shape), 1).await;
    let fault = lane.destination.writer().await.expect_err("the session has a writer already");
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::PostgresPooled), "{fault}");

    // With the first server held, the second writer gets another one: nothing tells it so at the start.
    let held = Database { name: direct.name.clone(), port: pooler.port }.client().await;
    held.batch_execute("BEGIN").await.unwrap();
    let mut other = lane.destination.writer().await.expect("a session of its own");
    let name = TableName::new("s", "b");
    let described =
        lane.destination.describe(&name, &Bookkeeping::default()).await.unwrap().unwrap();
    let shape = Arc::new(described.shape);
    let ranges = lane.next(&[]);
    let of_b = |v| batch(&shape, vec![whole(v, vec![I(2), T("of b")])], ranges.clone());
    let first = other.write(PIPELINE, None, &of_b(5)).await;
    assert!(first.is_ok(), "its stage is made in the other session: {first:?}");
    held.batch_execute("COMMIT").await.unwrap();
    drop(held);
    for v in 6..12 {
        let _ = lane.write(vec![whole(v, vec![I(1), T("of a")])]).await;
        let _ = other.write(PIPELINE, None, &of_b(v)).await;
    }
    assert_eq!(direct.value("SELECT count(*) FROM s.a WHERE name <> 'of a'").await, "0");
    assert_eq!(direct.value("SELECT count(*) FROM s.b WHERE name <> 'of b'").await, "0");
}
