//! The binary from outside: what it prints where, and its exit codes.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use assert_cmd::Command;
use std::path::PathBuf;
use std::process::Output;

const SECRET: &str = "hunter2";

const GOOD: &str = r#"
name = "shop"
[kafka]
bootstrap_servers = "localhost:9092"
[kafka.properties]
"sasl.password" = "hunter2"
[postgres]
url = "postgresql://me:hunter2@localhost/silver"
[[route]]
topics = "shop.public.orders"
table = "silver.orders"
"#;

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str]) -> Run {
    let mut command = Command::cargo_bin("silversink").unwrap();
    let Output { status, stdout, stderr } =
        command.env_remove("SILVERSINK_CONFIG").args(arguments).output().unwrap();
    Run {
        code: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

fn with_file(command: &[&str], text: &str) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("sink.toml");
    std::fs::write(&file, text).unwrap();
    run(&[command, &["--config", file.to_str().unwrap()]].concat())
}

#[test]
fn a_good_file_is_said_to_be_good() {
    let run = with_file(&["config", "check"], GOOD);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(
        run.stdout.ends_with("sink.toml: ok, pipeline `shop` with 1 route\n"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_missing_file_is_named_with_what_to_do() {
    for command in [&["config", "check"][..], &["config", "show"], &["run"], &["status"]] {
        let run = run(&[command, &["--config", "/nonexistent/sink.toml"]].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(78), ""));
        assert!(
            run.stderr
                .starts_with("error: could not read configuration file /nonexistent/sink.toml: "),
            "{}",
            run.stderr
        );
        assert!(
            run.stderr
                .contains("help: name an existing file with --config FILE or SILVERSINK_CONFIG"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_directory_or_binary_file_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let run_directory = run(&["config", "check", "--config", directory.path().to_str().unwrap()]);
    assert_eq!(run_directory.code, Some(78));
    assert!(
        run_directory.stderr.contains("help: name the file inside it"),
        "{}",
        run_directory.stderr
    );

    let binary = directory.path().join("binary");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    let run_binary = run(&["config", "check", "--config", binary.to_str().unwrap()]);
    assert_eq!(run_binary.code, Some(78));
    assert!(run_binary.stderr.contains("help: save it as UTF-8 text"), "{}", run_binary.stderr);
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    let run =
        with_file(&["config", "check"], &GOOD.replace("bootstrap_servers", "bootstrap_server"));
    assert_eq!((run.code, run.stdout.as_str()), (Some(78), ""));
    assert!(
        run.stderr.contains("sink.toml:4:1")
            && run.stderr.contains("did you mean `bootstrap_servers`?"),
        "{}",
        run.stderr
    );
}

#[test]
fn several_mistakes_are_reported_together() {
    let text = GOOD
        .replace("[postgres]", "\"enable.auto.commit\" = true\n[postgres]\nlock_timeout = 5")
        .replace("name = \"shop\"", "nmae = \"shop\"");
    let run = with_file(&["run"], &text);
    assert_eq!(run.code, Some(78));
    for part in [
        "unknown key `nmae`",
        "`enable.auto.commit` cannot be set",
        "`postgres.lock_timeout` is an integer",
        "sink.toml: 3 problems",
    ] {
        assert!(run.stderr.contains(part), "no {part} in {}", run.stderr);
    }
}

#[test]
fn show_prints_the_effective_configuration_without_secrets() {
    for (command, expected) in [
        (&["config", "show"][..], "group_id = \"shop\""),
        (&["config", "show", "--json"], "\"group_id\": \"shop\""),
    ] {
        let run = with_file(command, GOOD);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        assert!(
            run.stdout.contains(expected)
                && run.stdout.contains("\"***\"")
                && !run.stdout.contains(SECRET),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn no_mistake_brings_a_secret_to_light() {
    for (from, to) in [
        ("postgresql://", "oracle://"),
        ("silver\"\n[[", "silver\n[["),
        ("\"sasl.password\"", "sasl.password"),
        ("url", "ulr"),
    ] {
        let run = with_file(&["config", "check"], &GOOD.replace(from, to));
        assert_eq!(run.code, Some(78), "{from}");
        assert!(!run.stderr.contains(SECRET) && !run.stdout.contains(SECRET), "{}", run.stderr);
    }
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/silversink.toml");
    Command::cargo_bin("silversink")
        .unwrap()
        .args(["config", "check"])
        .env("SILVERSINK_CONFIG", file)
        .assert()
        .code(0);
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [&["run"][..], &["nonsense"], &["config"], &[], &["dev", "produce"]] {
        assert_eq!(run(arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn the_schema_is_json_and_the_completions_are_a_script() {
    let schema = run(&["config", "schema"]);
    assert_eq!(schema.code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!(schema["properties"]["route"]["type"], "array");

    let bash = run(&["completions", "bash"]);
    assert_eq!(bash.code, Some(0));
    assert!(bash.stdout.contains("_silversink()"));
}
