//! A PostgreSQL of its own for one test: loopback only, in a temporary directory, stopped when dropped.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A running server.
pub struct Server {
    directory: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
}

fn bin() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL server binaries are needed for this test")
        .map(|entry| entry.unwrap().path().join("bin"))
        .filter(|path| path.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().expect("an installed PostgreSQL")
}

/// PostgreSQL does not run as root.
fn command(program: &Path) -> Command {
    let root = runs_as_root();
    let mut command = if root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .current_dir("/tmp")
        .env("LC_ALL", "C.UTF-8");
    command
}

fn runs_as_root() -> bool {
    std::fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

impl Server {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("convert-postgres").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { directory, bin: bin(), port };
        server.run(
            "initdb",
            &[
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
            ],
            &[],
        );
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c lc_monetary=C -c timezone=UTC"
        );
        server.run("pg_ctl", &["-w", "-l", "/dev/null", "-o", &options, "-D"], &["start"]);
        server
    }

    fn run(&self, program: &str, before: &[&str], after: &[&str]) {
        let data = self.directory.path().join("data");
        let mut command = command(&self.bin.join(program));
        // The server keeps inherited pipes open: only initdb's messages are read.
        if program == "pg_ctl" {
            command.stderr(Stdio::null());
        }
        let output = command.args(before).arg(data).args(after).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub async fn connect(&self) -> tokio_postgres::Client {
        let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port);
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.directory.path().join("data");
        let mut command = command(&self.bin.join("pg_ctl"));
        let stopped = command
            .stderr(Stdio::null())
            .args(["-w", "-m", "immediate", "-D"])
            .arg(data)
            .arg("stop")
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("the server in {} did not stop", self.directory.path().display());
        }
    }
}
