//! A throw-away PostgreSQL from the machine's own binaries, gone when its process is.
//!
//! # Decisions
//! The server is watched by a small shell that waits on a pipe from this process. When the pipe closes - on drop, on
//! Ctrl-C, on `kill -9` - the shell stops the server and removes its files. No exit path of ours can therefore leave a
//! server behind, and a server in a `static` is cleaned up as well.

use crate::demo::binaries::{Account, Binaries};
use crate::fault::{Class, Code, Fault};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use uuid::Uuid;

/// Another process may take a free port between our looking and the server's binding.
const PORT_ATTEMPTS: u32 = 10;

/// Stops the server and removes its files as soon as standard input ends. `$1` is the directory, `$2` is `pg_ctl`.
const WATCH: &str = r#"read -r _; "$2" stop -D "$1/data" -m immediate; rm -rf "$1""#;

/// How a throw-away server is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Directory of the server's binaries; searched for when not given (see [`Binaries::find`]).
    pub pg_bin: Option<PathBuf>,
    /// Server settings on top of the defaults, e.g. `("max_connections", "20")`.
    pub settings: Vec<(String, String)>,
}

/// A PostgreSQL server on a loopback port, with a random password. It survives a crash of itself but not of the
/// machine (`fsync=off`), and is stopped and removed when dropped or when this process ends.
#[derive(Debug)]
pub struct ThrowawayPostgres {
    binaries: Binaries,
    account: Option<Account>,
    root: PathBuf,
    port: u16,
    password: String,
    watcher: Option<Child>,
    databases: AtomicU32,
}

impl ThrowawayPostgres {
    /// Makes and starts a server; takes about a second and blocks for it. Works inside and outside of an async runtime.
    ///
    /// # Errors
    /// Fatal: no server of version 15 or newer on this machine (with the line that helps), or it does not start.
    pub fn start(options: &Options) -> Result<Self, Fault> {
        let binaries = Binaries::find(options.pg_bin.as_deref())?;
        let directory = tempfile::Builder::new()
            .prefix("silversink-postgres-")
            .tempdir()
            .map_err(|e| failed("making a temporary directory", &e))?;
        let account = Account::for_server(directory.path())?;
        if let Some(account) = &account {
            account.give(directory.path())?;
        }
        let password = Uuid::new_v4().simple().to_string();
        let mut server = Self {
            watcher: None,
            root: directory.path().to_owned(),
            port: 0,
            databases: AtomicU32::new(0),
            binaries,
            account,
            password,
        };
        server.watcher = Some(server.watch()?);
        // From here on the watcher is the one that removes the files.
        let _ = directory.keep();
        server.initdb(options)?;
        for attempt in 1.. {
            server.port = free_port()?;
            match server.start_again() {
                Err(fault) if attempt < PORT_ATTEMPTS && server.port_was_taken() => drop(fault),
                result => return result.map(|()| server),
            }
        }
        unreachable!("the loop above returns at its last attempt")
    }

    /// The server that all tests of a process share, started at first use.
    ///
    /// # Panics
    /// When it does not start: a test without its server must fail loudly.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ThrowawayPostgres> = OnceLock::new();
        SHARED.get_or_init(|| match Self::start(&Options::default()) {
            Ok(server) => server,
            Err(fault) => panic!("{fault} {}", fault.hint.as_deref().unwrap_or_default()),
        })
    }

    /// Connection URL of the database `postgres`, as superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Connection URL of a database by name.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The server's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The line that opens `psql` on a database.
    #[must_use]
    pub fn psql_line(&self, database: &str) -> String {
        format!("{} '{}'", self.binaries.path("psql").display(), self.url_of(database))
    }

    /// Creates a database and returns its URL. The name is taken as it stands.
    ///
    /// # Errors
    /// Fatal when the server refuses.
    pub fn create_database(&self, name: &str) -> Result<String, Fault> {
        let mut createdb = Command::new(self.binaries.path("createdb"));
        createdb.args(["--host=127.0.0.1", "--username=postgres", "--no-password"]);
        createdb.arg(format!("--port={}", self.port)).arg("--").arg(name);
        createdb.env("PGPASSWORD", &self.password);
        output(&mut createdb, &format!("creating the database {name}"))?;
        Ok(self.url_of(name))
    }

    /// Creates a database under a name that no other caller of this server gets, and returns its URL.
    ///
    /// # Errors
    /// As [`Self::create_database`].
    pub fn fresh_database(&self) -> Result<String, Fault> {
        let number = self.databases.fetch_add(1, Ordering::SeqCst);
        self.create_database(&format!("fresh_{number}"))
    }

    /// Stops the server as a crash would: no farewell to clients, recovery at the next start. Returns when it is down.
    ///
    /// # Errors
    /// Fatal when it is not running or does not stop.
    pub fn stop_immediately(&self) -> Result<(), Fault> {
        let mut stop = self.pg_ctl();
        stop.args(["stop", "--wait", "--mode=immediate"]);
        output(&mut stop, "stopping the throw-away PostgreSQL").map(drop)
    }

    /// Starts the server on the same port and files; returns when it accepts connections.
    ///
    /// # Errors
    /// Fatal when it does not start, with the last lines of its log.
    pub fn start_again(&self) -> Result<(), Fault> {
        let mut start = self.pg_ctl();
        start.args(["start", "--wait", "--timeout=180"]).arg("--log").arg(self.log());
        start.arg(format!("--options=-p {}", self.port));
        output(&mut start, "starting the throw-away PostgreSQL").map(drop).map_err(|fault| {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(5).collect();
            let tail: Vec<&str> = lines.into_iter().rev().collect();
            Fault { text: format!("{}; its log ends: {}", fault.text, tail.join(" / ")), ..fault }
        })
    }

    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    fn port_was_taken(&self) -> bool {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        log.contains("could not bind") || log.contains("could not create any TCP/IP sockets")
    }

    fn pg_ctl(&self) -> Command {
        let mut command = self.command(&self.binaries.path("pg_ctl"));
        command.arg("--pgdata").arg(self.root.join("data"));
        command
    }

    /// A command as the account that the server runs under, in a directory that this account can enter.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(account) = &self.account {
            account.apply(&mut command);
        }
        // The machine's own PG* variables must not reach a server that is none of its business.
        for name in ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGOPTIONS", "PGSERVICE"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").current_dir(&self.root);
        command
    }

    fn initdb(&self, options: &Options) -> Result<(), Fault> {
        let password = self.root.join("password");
        self.write(&password, &self.password)?;
        let mut initdb = self.command(&self.binaries.path("initdb"));
        initdb.arg("--pgdata").arg(self.root.join("data")).arg("--pwfile").arg(&password);
        initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8"]);
        initdb.args(["--locale=C", "--no-sync", "--no-instructions"]);
        output(&mut initdb, "initdb")?;
        std::fs::remove_file(&password).map_err(|e| failed("removing the password file", &e))?;
        self.write(&self.root.join("data").join("postgresql.auto.conf"), &settings(options))
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Fault> {
        let what = "preparing the throw-away PostgreSQL";
        std::fs::write(path, text).map_err(|e| failed(what, &e))?;
        self.account.as_ref().map_or(Ok(()), |account| account.give(path))
    }

    fn watch(&self) -> Result<Child, Fault> {
        let mut watch = self.command(Path::new("/bin/sh"));
        watch.args(["-c", WATCH, "watch"]).arg(&self.root).arg(self.binaries.path("pg_ctl"));
        watch.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: Ctrl-C goes to the terminal's group and must not reach the watcher.
        watch.process_group(0).spawn().map_err(|e| failed("starting the watcher", &e))
    }
}

impl Drop for ThrowawayPostgres {
    fn drop(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            // Nothing is left to do about a watcher that cannot be waited for.
            drop(watcher.wait());
            // The server's account may not be allowed to remove its directory from one that is ours (TMPDIR as root).
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

/// Settings of `postgresql.auto.conf`: loopback only, no sockets in shared directories, nothing synced to disk. Commits
/// stay synchronous, so that an immediate stop loses none.
fn settings(options: &Options) -> String {
    let defaults = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("shared_buffers", "64MB"),
        ("max_connections", "100"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
    ];
    let mut text = String::new();
    let extra = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in defaults.into_iter().chain(extra) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
    }
    text
}

fn free_port() -> Result<u16, Fault> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|e| failed("looking for a free port", &e))
}

fn failed(what: &str, error: &std::io::Error) -> Fault {
    Fault::new(Class::Fatal, Code::Internal, format!("{what}: {error}"))
}

fn output(command: &mut Command, what: &str) -> Result<Output, Fault> {
    command.stdin(Stdio::null());
    let output = command.output().map_err(|e| failed(what, &e))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let text = format!("{what} failed ({}): {}", output.status, said.trim().replace('\n', " / "));
    Err(Fault::new(Class::Fatal, Code::Internal, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn psql(url: &str, sql: &str) -> Result<String, Fault> {
        let binaries = Binaries::find(None).unwrap();
        let mut psql = Command::new(binaries.path("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", sql, url]);
        output(&mut psql, "psql").map(|o| String::from_utf8(o.stdout).unwrap().trim().to_owned())
    }

    #[test]
    fn it_serves_utf8_databases_that_do_not_see_each_other() {
        let server = ThrowawayPostgres::shared();
        let (one, two) = (server.fresh_database().unwrap(), server.fresh_database().unwrap());
        psql(&one, "create table t (a int)").unwrap();
        assert_eq!(psql(&one, "select count(*) from t").unwrap(), "0");
        assert!(psql(&two, "select count(*) from t").is_err());
        assert_eq!(psql(&two, "show server_encoding").unwrap(), "UTF8");
        assert_eq!(psql(&two, "show timezone").unwrap(), "UTC");
    }

    #[test]
    fn it_asks_for_the_password_and_listens_on_loopback_only() {
        let server = ThrowawayPostgres::shared();
        let wrong = server.url().replace(&server.password, "wrong");
        let fault = psql(&wrong, "select 1").unwrap_err();
        assert!(fault.text.contains("password authentication failed"), "{fault}");
        assert_eq!(psql(&server.url(), "show listen_addresses").unwrap(), "127.0.0.1");
    }

    #[test]
    fn commits_survive_an_immediate_stop_and_the_url_stays() {
        let server = ThrowawayPostgres::start(&Options::default()).unwrap();
        let url = server.create_database("a b").unwrap();
        psql(&url, "create table t as select 1 as a").unwrap();
        server.stop_immediately().unwrap();
        assert!(psql(&url, "select 1").is_err());
        assert!(server.stop_immediately().is_err());
        server.start_again().unwrap();
        assert_eq!(psql(&url, "select a from t").unwrap(), "1");
    }

    #[test]
    fn dropping_it_stops_the_server_and_removes_its_files() {
        let options =
            Options { settings: vec![("work_mem".into(), "5MB".into())], ..Options::default() };
        let server = ThrowawayPostgres::start(&options).unwrap();
        let (url, root) = (server.url(), server.root.clone());
        assert_eq!(psql(&url, "show work_mem").unwrap(), "5MB");
        drop(server);
        assert!(psql(&url, "select 1").is_err());
        assert!(!root.exists());
    }

    #[test]
    fn the_end_of_the_pipe_is_enough_as_when_the_process_was_killed() {
        let mut server = ThrowawayPostgres::start(&Options::default()).unwrap();
        let mut watcher = server.watcher.take().unwrap();
        drop(watcher.stdin.take());
        assert!(watcher.wait().unwrap().success());
        assert!(psql(&server.url(), "select 1").is_err());
        assert!(!server.root.exists());
    }

    #[test]
    fn a_server_that_does_not_start_says_why_and_leaves_nothing() {
        let options =
            Options { settings: vec![("work_mem".into(), "much".into())], ..Options::default() };
        let fault = ThrowawayPostgres::start(&options).unwrap_err();
        assert!(fault.text.contains("invalid value for parameter"), "{fault}");
    }
}
