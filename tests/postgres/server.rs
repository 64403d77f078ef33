//! A throw-away PostgreSQL server, and one database for each test.

use secrecy::SecretString;
use silversink::config;
use silversink::fault::Fault;
use silversink::postgres::Destination;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A running server on loopback; stopped and removed on drop.
pub struct Server {
    directory: TempDir,
    port: u16,
}

/// A database of its own for one test.
pub struct Database {
    pub name: String,
    pub port: u16,
}

/// The server that the tests of this binary share. A `static` is never dropped, so a process of its own stops it.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start("password", &[]);
        stop_after_this_process(server.directory.path());
        server
    })
}

/// A fresh, empty database on the shared server.
pub async fn database() -> Database {
    server().database().await
}

impl Server {
    /// Starts a server. `auth` is initdb's authentication method for TCP; user and password are both `postgres`.
    pub fn start(auth: &str, settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("silversink-pg")
            .tempdir()
            .expect("temporary directory");
        own(directory.path());
        let password = directory.path().join("password");
        std::fs::write(&password, "postgres\n").expect("password file");
        own(&password);
        let data = directory.path().join("data");
        run(as_postgres("initdb")
            .args(["--no-sync", "-U", "postgres", "-E", "UTF8", "--locale=C"])
            .arg("-A")
            .arg(auth)
            .arg("--pwfile")
            .arg(&password)
            .arg("-D")
            .arg(&data));
        // Port 0 tells a free port; another program may take it before the server does, hence the attempts.
        for attempt in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .expect("a free port")
                .port();
            let mut options = format!(
                "-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories= -c fsync=off -c full_page_writes=off \
                 -c max_connections=200 -c shared_buffers=128MB -c autovacuum=off -c log_statement=none"
            );
            for setting in settings {
                options.push_str(" -c ");
                options.push_str(setting);
            }
            let started = as_postgres("pg_ctl")
                .arg("start")
                .arg("-w")
                .arg("-D")
                .arg(&data)
                .arg("-o")
                .arg(&options)
                .arg("-l")
                .arg(directory.path().join("log"))
                .stdout(Stdio::null())
                .status()
                .expect("pg_ctl");
            if started.success() {
                return Self { directory, port };
            }
            assert!(
                attempt < 4,
                "PostgreSQL does not start: {:?}",
                std::fs::read_to_string(directory.path().join("log"))
            );
        }
        unreachable!("the loop returns or panics")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everything that the server logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).expect("the server's log")
    }

    /// Stops the server at once, as a crash does.
    pub fn stop(&self) {
        run(as_postgres("pg_ctl")
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.directory.path().join("data")));
    }

    pub async fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = Database { name: "postgres".into(), port: self.port };
        admin.sql(&format!("CREATE DATABASE {name}")).await;
        Database { name, port: self.port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.directory.path().join("data");
        let _ = as_postgres("pg_ctl")
            .args(["stop", "-m", "immediate", "-D"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

impl Database {
    pub fn url(&self) -> String {
        self.url_with("postgres", "postgres")
    }

    pub fn url_with(&self, user: &str, password: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{}", self.port, self.name)
    }

    pub fn config(&self) -> config::Postgres {
        config_for(&self.url())
    }

    pub async fn destination(&self) -> Destination {
        let destination =
            Destination::connect(&self.config(), 4, "silversink test").await.expect("connect");
        destination.ensure_bookkeeping().await.expect("bookkeeping");
        destination
    }

    /// A plain client, for what a test does behind the destination's back.
    pub async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    }

    /// Runs statements.
    pub async fn sql(&self, text: &str) {
        self.client().await.batch_execute(text).await.expect(text);
    }

    /// The first column of the first row, as text.
    pub async fn value(&self, query: &str) -> String {
        self.rows(query)
            .await
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next())
            .expect("a row")
    }

    /// Every row, each column as text, NULL as `-`.
    pub async fn rows(&self, query: &str) -> Vec<Vec<String>> {
        let messages = self.client().await.simple_query(query).await.expect(query);
        messages
            .iter()
            .filter_map(|m| match m {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|i| row.get(i).unwrap_or("-").to_owned()).collect())
                }
                _ => None,
            })
            .collect()
    }
}

/// A destination as a worker would open it.
pub async fn connect(url: &str) -> Result<Destination, Fault> {
    Destination::connect(&config_for(url), 1, "silversink test").await
}

pub fn config_for(url: &str) -> config::Postgres {
    config::Postgres {
        url: SecretString::from(url.to_owned()),
        ca: None,
        statement_timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
    }
}

fn binary(name: &str) -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries.filter_map(Result::ok).map(|e| e.path().join("bin").join(name)).collect()
        })
        .unwrap_or_default();
    versions.retain(|path| path.exists());
    versions.sort();
    versions.pop().unwrap_or_else(|| PathBuf::from(name))
}

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self")
        .map(|m| std::os::unix::fs::MetadataExt::uid(&m))
        .is_ok_and(|uid| uid == 0)
}

/// initdb and postgres refuse to run as root.
fn as_postgres(name: &str) -> Command {
    if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(binary(name)).current_dir("/tmp");
        command
    } else {
        Command::new(binary(name))
    }
}

/// Gives a file to the user that the server runs as.
pub fn own(path: &Path) {
    if is_root() {
        run(Command::new("chown").arg("postgres").arg(path));
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("a program of PostgreSQL or the system");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits outside for the end of the test process (its end of the pipe closes, however it ends), then stops the server.
fn stop_after_this_process(directory: &Path) {
    static WATCHER: OnceLock<Child> = OnceLock::new();
    let script = format!(
        "cat >/dev/null; {} '{}' stop -m immediate -D '{}/data' >/dev/null 2>&1; rm -rf '{}'",
        if is_root() { "cd /tmp && runuser -u postgres --" } else { "" },
        binary("pg_ctl").display(),
        directory.display(),
        directory.display()
    );
    let child = Command::new("sh")
        .arg("-c")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group_zero()
        .spawn()
        .expect("sh");
    // The write end of the pipe lives as long as this process.
    WATCHER.set(child).expect("one server is shared");
}

trait OwnGroup {
    fn process_group_zero(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    /// Ctrl-C on the tests must not end the process that cleans up after them.
    fn process_group_zero(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}
