//! The binary as a child process: its log, its endpoints, its end.

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes; a condition that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(40);

pub struct Worker {
    pub child: Child,
    pub log: PathBuf,
    pub port: u16,
}

/// Asks until the answer is there.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Worker {
    pub fn start(config: &PathBuf, arguments: &[&str], port: u16) -> Self {
        let log = config.with_extension(format!("{port}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_silversink"))
            .arg("run")
            .arg("--config")
            .arg(config)
            .args(arguments)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log, port }
    }

    /// Everything that the process has printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The log lines whose message has this text.
    pub fn said(&self, text: &str) -> Vec<Value> {
        let has = |line: &Value| line["message"].as_str().is_some_and(|m| m.contains(text));
        self.lines().into_iter().filter(has).collect()
    }

    /// Waits for a log line with this text in its message; prints it, so that a person can judge it.
    pub fn says(&self, text: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.said(text).into_iter().next() {
                println!("{line}");
                return line;
            }
            assert!(Instant::now() < deadline, "never said: {text}\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Status and body of an endpoint, when it answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Waits until `/readyz` is not ready for this reason, and `/livez` is fine meanwhile.
    pub fn unready_because(&self, reason: &str) {
        let body = eventually(reason, || {
            self.get("/readyz").filter(|(s, body)| *s == 503 && body.contains(reason))
        });
        println!("/readyz 503: {}", body.1.trim_end());
        assert_eq!(self.get("/livez").unwrap().0, 200);
    }

    /// Waits until `/readyz` is fine.
    pub fn ready(&self) {
        eventually("ready", || self.get("/readyz").filter(|(status, _)| *status == 200));
    }

    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits for the end.
    pub fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and the exit code that comes of it.
    pub fn stop(&mut self) {
        self.terminate();
        assert_eq!(self.exit().code(), Some(0), "{}", self.output());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- output\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
