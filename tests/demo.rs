//! The demo from outside: what it prints, its exit codes, and that it leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use assert_cmd::cargo::cargo_bin;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::postgres::readback::Readback;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A directory for temporary files that the server's account can enter.
fn temporary() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn demo(temporary: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("silversink"));
    for name in ["SILVERSINK_LOG", "RUST_LOG", "SILVERSINK_DEMO_POSTGRES_URL"] {
        command.env_remove(name);
    }
    command.arg("demo").args(arguments).env("TMPDIR", temporary.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Everything that a line promises, and nothing that says the opposite.
fn assert_proven(output: &Output) {
    let (stdout, stderr) = texts(output);
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    for line in [
        "Second pass, from earliest: 11 739 records replayed, 0 rows changed\n",
        "Silver equals the source: 8 tables, 4 246 rows, checksum ",
        "silver.order_items        1 509   1 186            323 ",
        "silver_json.products        189     188              1 ",
        "schema_unknown        shop.public.products             1 ",
    ] {
        assert!(stdout.contains(line), "no {line:?} in {stdout}");
    }
    assert!(!stdout.contains("NOT"), "{stdout}");
    assert!(!stderr.contains(" WARN ") && !stderr.contains(" ERROR "), "{stderr}");
}

fn left_behind(temporary: &TempDir) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// What Ctrl-C sends.
fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Reads lines up to the first one with `word`; answers what came until then.
fn read_until(reader: &mut impl BufRead, word: &str) -> String {
    let mut text = String::new();
    while !text.lines().last().is_some_and(|line| line.contains(word)) {
        assert_ne!(reader.read_line(&mut text).unwrap(), 0, "no {word:?} in {text}");
    }
    text
}

#[test]
fn the_demo_proves_that_silver_equals_the_source_and_leaves_nothing() {
    let temporary = temporary();

    let output = demo(&temporary, &[]).output().unwrap();

    assert_proven(&output);
    assert_eq!(left_behind(&temporary), [""; 0]);
}

#[test]
fn an_interrupt_in_the_middle_cleans_up() {
    let temporary = temporary();
    let mut child = demo(&temporary, &[]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    read_until(&mut stderr, "First pass");
    assert_ne!(left_behind(&temporary), [""; 0], "the server's files");

    interrupt(&child);

    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.ends_with("Stopped; everything that was started is gone.\n"), "{rest}");
    assert_eq!(left_behind(&temporary), [""; 0]);
}

#[tokio::test]
async fn a_named_server_is_used_and_left_as_it_was() {
    let url = ThrowawayPostgres::shared().fresh_database().unwrap();
    let temporary = temporary();

    let output = demo(&temporary, &["--postgres-url", &url]).output().unwrap();

    assert_proven(&output);
    let readback = Readback::connect(&url).await.unwrap();
    let sql = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'silver%'";
    assert_eq!(readback.query(sql).await.unwrap(), Vec::<Vec<_>>::new());
    assert_eq!(left_behind(&temporary), [""; 0]);
}

#[tokio::test]
async fn what_is_kept_can_be_looked_at_until_ctrl_c() {
    let temporary = temporary();
    let mut child = demo(&temporary, &["--keep"]).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let printed = read_until(&mut stdout, "Ctrl-C ends it");
    let place = |name: &str| {
        let line = printed.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        line.trim_start().split_once(' ').unwrap().1.trim().to_owned()
    };

    let status = Command::new(cargo_bin("silversink"))
        .args(["status", "--json", "--config", &place("config ")])
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((status.status.code(), &json["kafka_error"]), (Some(0), &serde_json::Value::Null));
    let totals = &json["totals"];
    assert_eq!((&totals["lag"], &totals["dead_lettered"]), (&0.into(), &13.into()), "{json:#}");
    let metrics = place("metrics ");
    let live = metrics.split_once("metrics ").unwrap().0.to_owned() + "livez";
    assert_eq!(reqwest::get(live).await.unwrap().status().as_u16(), 200);
    let produced = Command::new(cargo_bin("silversink"))
        .args(["dev", "produce", "testdata/debezium/shop/avro/records.ndjson.gz"])
        .args(["--bootstrap", &place("Kafka ")])
        .output()
        .unwrap();
    let (said, complaint) = texts(&produced);
    assert!(said.starts_with("5 863 records into 4 topics\n"), "{said}{complaint}");
    assert!(
        said.contains("  shop.public.customers 0: 855 records, offsets 855 to 1709\n"),
        "{said}"
    );

    interrupt(&child);

    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(left_behind(&temporary), [""; 0]);
}
