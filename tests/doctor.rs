//! `doctor` from outside: a sound pipeline, a broken one, and a source whose topics cannot tell everything.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::kafka::MockBroker;
use silversink::postgres::readback::Readback;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

fn sql(url: &str, text: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { Readback::connect(url).await.unwrap().execute(text).await.unwrap() });
}

fn file(directory: &TempDir, bootstrap: &str, postgres: &str) -> PathBuf {
    let path = directory.path().join("sink.toml");
    let text = format!(
        "name = \"shop\"\n[kafka]\nbootstrap_servers = \"{bootstrap}\"\n[postgres]\nurl = \"{postgres}\"\n\
         [dlq]\ntopic = \"dlq\"\n[[route]]\ntopics = '^shop\\.public\\.(?<table>\\w+)$'\ntable = \"silver.${{table}}\"\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn doctor(file: &PathBuf, source: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(cargo_bin!("silversink"));
    command.args(["doctor", "--config"]).arg(file).args(arguments);
    if let Some(source) = source {
        command.env("SILVERSINK_SOURCE_URL", source);
    }
    command.output().unwrap()
}

const SOURCE: &str = "
    CREATE TABLE sound (id integer PRIMARY KEY, note text, amount numeric(10,2));
    CREATE TABLE swapped (id integer PRIMARY KEY DEFERRABLE INITIALLY IMMEDIATE, name text);
    CREATE TABLE indexed (id integer PRIMARY KEY, code text NOT NULL, note text);
    CREATE UNIQUE INDEX indexed_code ON indexed (code);
    ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_code;
    CREATE TABLE shaped (id integer PRIMARY KEY, amounts numeric[], free numeric, notes text[], marks varbit);
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TABLE shaped_full (id integer PRIMARY KEY, amounts numeric[], flags bit(3)[], grid integer[][], moods mood[]);
    ALTER TABLE shaped_full REPLICA IDENTITY FULL;
    CREATE TABLE keyless (note text);
    CREATE TABLE defaulted (id integer PRIMARY KEY, state text DEFAULT 'new', twice integer GENERATED ALWAYS AS (id * 2) STORED,
      spans interval[]);
    CREATE TABLE not_read (note text);";

#[test]
fn tables_whose_topics_cannot_tell_everything_are_named() {
    let tables = ["sound", "swapped", "indexed", "shaped", "shaped_full", "keyless", "defaulted"];
    let topics: Vec<String> = tables.iter().map(|table| format!("shop.public.{table}")).collect();
    let mut all: Vec<(&str, i32)> = topics.iter().map(|topic| (topic.as_str(), 1)).collect();
    all.push(("dlq", 1));
    let broker = MockBroker::start(&all).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let destination = ThrowawayPostgres::shared().fresh_database().unwrap();
    let source = ThrowawayPostgres::shared().fresh_database().unwrap();
    sql(&source, SOURCE);
    let file = file(&directory, broker.bootstrap(), &destination);

    let output = doctor(&file, Some(&source), &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut risks: Vec<String> = findings
        .iter()
        .filter(|f| f["area"] == "source" && f["severity"] != "fine")
        .map(|f| f["text"].as_str().unwrap().split_inclusive(':').next().unwrap().to_owned())
        .collect();
    risks.sort();
    assert_eq!(
        risks,
        [
            "public.defaulted:",
            "public.defaulted:",
            "public.defaulted:",
            "public.indexed has index indexed_code as replica identity, which is not the primary key:",
            "public.keyless has no primary key:",
            "public.shaped:",
            "public.shaped:",
            "public.shaped_full:",
            "public.swapped has a deferrable primary key:",
        ]
    );
    let text = String::from_utf8(doctor(&file, Some(&source), &[]).stdout).unwrap();
    assert!(
        text.contains("unchanged large values of amounts, free, marks arrive as NULL"),
        "{text}"
    );
    assert!(text.contains("help: ALTER TABLE public.shaped REPLICA IDENTITY FULL"), "{text}");
    assert!(
        text.contains("generated columns twice") && text.contains("leaves out spans"),
        "{text}"
    );
    assert!(text.contains("shaped_full: flags, grid, moods may arrive as NULL"), "{text}");
    assert!(text.contains("shaped: marks of bit varying arrive without"), "{text}");
    assert!(text.ends_with("0 broken, 9 at risk, 12 fine\n"), "{text}");
}

#[test]
fn a_sound_pipeline_is_fine_and_a_broken_one_says_what_to_do() {
    let broker = MockBroker::start(&[("shop.public.orders", 1), ("dlq", 1)]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let destination = ThrowawayPostgres::shared().fresh_database().unwrap();
    let sound = file(&directory, broker.bootstrap(), &destination);
    let output = doctor(&sound, None, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));

    sql(
        &destination,
        "CREATE SCHEMA silver; CREATE TABLE silver.orders (id integer PRIMARY KEY, code text UNIQUE)",
    );
    let output = doctor(&sound, None, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("BROKEN  table     [constraint_unsupported] table silver.orders"),
        "{text}"
    );

    // Nothing answers: every area says so in one run.
    let broken = file(&directory, "127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/nothing");
    let output = doctor(&broken, Some("postgresql://nobody:secret@127.0.0.1:1/nothing"), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    for line in
        ["[kafka_unavailable]", "BROKEN  postgres  [postgres_unavailable]", "BROKEN  source"]
    {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
}
