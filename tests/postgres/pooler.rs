//! A PgBouncer between worker and server. Runs with the feature `system`, because a build needs no PgBouncer.

use crate::plans::{SETTINGS, every_merge_uses_the_key_index};
use crate::server::{Server, is_root, own};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
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
