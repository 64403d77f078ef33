//! House rules that no compiler checks: pure modules stay pure, foreign crates stay in their adapter, files stay short.
//!
//! The rules work on text, comments left out, so that a test can plant a violation and see it found.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that know no I/O, no runtime and no clock.
const PURE: &[&str] =
    &["src/decode/", "src/route.rs", "src/batch/", "src/core/", "src/epoch/", "src/sql/"];

/// What pure code must not say.
const IMPURE: &[&str] = &[
    "tokio",
    "rdkafka",
    "tokio_postgres",
    "std::fs",
    "std::net",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
];

/// Foreign crates and the only places that may name them.
const ADAPTERS: &[(&str, &[&str])] = &[
    ("rdkafka", &["src/kafka/"]),
    ("rdkafka_sys", &["src/kafka/"]),
    ("tokio_postgres", &["src/postgres/"]),
    ("deadpool_postgres", &["src/postgres/"]),
    ("postgres_openssl", &["src/postgres/"]),
    // Pure: quoting and binary forms.
    ("postgres_protocol", &["src/postgres/", "src/sql/", "src/decode/convert"]),
    ("reqwest", &["src/registry"]),
    ("apache_avro", &["src/decode/", "src/registry", "src/demo/poison"]),
    ("metrics", &["src/telemetry/"]),
    ("metrics_exporter_prometheus", &["src/telemetry/"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("clap_complete", &["src/cli/"]),
    ("comfy_table", &["src/cli/", "src/demo/screen"]),
    ("indicatif", &["src/cli/", "src/demo/screen"]),
    ("axum", &["src/telemetry/", "src/demo/registry"]),
];

/// The only file that may allow unsafe code.
const UNSAFE: &str = "src/kafka/native.rs";

/// Names that say nothing: a file is named after its job.
const NAMELESS: &[&str] = &["util", "utils", "helper", "helpers", "manager", "common", "misc"];

/// Places of one machine, which mean nothing on another. Split, so that this file does not contain them.
const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("../sha", "red")];

const LONGEST: usize = 500;

struct File {
    name: String,
    text: String,
}

/// Everything that is wrong with one Rust file.
fn problems(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |what: String| found.push(format!("{}: {what}", file.name));
    let lines = file.text.lines().count();
    if lines > LONGEST {
        say(format!("{lines} lines, at most {LONGEST}"));
    }
    let first = file.text.lines().next().unwrap_or_default();
    if first.strip_prefix("//! ").is_none_or(|sentence| sentence.trim().is_empty()) {
        say("does not start with a `//! ` sentence that says its one job".to_owned());
    }
    for part in file.name.split(['/', '.', '_']) {
        if NAMELESS.contains(&part) {
            say(format!("`{part}` in its name says nothing"));
        }
    }
    for place in MACHINE.iter().filter(|place| file.text.contains(**place)) {
        say(format!("mentions a place of one machine: {place}"));
    }
    if file.name.starts_with("src/") {
        source_problems(file, &mut say);
    }
    found
}

/// Rules for what is shipped.
fn source_problems(file: &File, say: &mut impl FnMut(String)) {
    let code = shipped(&file.text);
    let within = |places: &[&str]| places.iter().any(|place| file.name.starts_with(place));
    // A test next to its module may start a server; what is shipped may not.
    let is_test = file.name.ends_with("tests.rs") || file.name.contains("/tests/");
    if within(PURE) && !is_test {
        for word in IMPURE.iter().filter(|word| says(&code, word)) {
            say(format!("pure code says `{word}`"));
        }
    }
    for (krate, places) in ADAPTERS {
        // A module of ours may have the crate's name: `use crate::telemetry::metrics;`.
        let ours = [format!("::{krate};"), format!("::{krate}::{{self")];
        let named = says(&code, &format!("{krate}::")) && !ours.iter().any(|o| code.contains(o));
        if named && !within(places) && !is_test {
            say(format!("`{krate}` belongs in {}", places.join(", ")));
        }
    }
    if says(&code, "allow(unsafe_code") && file.name != UNSAFE {
        say(format!("unsafe code belongs in {UNSAFE}"));
    }
}

/// The text without comments and without what follows the first inline test module.
fn shipped(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().map(|next| next.trim()).unwrap_or_default();
        let inline_tests = next.starts_with("mod ") && next.ends_with('{');
        if line.trim() == "#[cfg(test)]" && inline_tests {
            break;
        }
        if !line.trim_start().starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// Whether the code says a word as a whole: `tokio` is not in `tokio_postgres`, `metrics::` not in `crate::metrics::`.
fn says(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = &code[..at];
        let free_before =
            !before.ends_with(is_name) && (word.contains("now") || !before.ends_with("::"));
        let after = code[at + word.len()..].chars().next();
        free_before && (word.ends_with("::") || !after.is_some_and(is_name))
    })
}

/// Targets that a Makefile must have.
const TARGETS: &[&str] = &[
    "demo",
    "test",
    "test-system",
    "test-faults",
    "bench",
    "bench-peer",
    "stack-up",
    "stack-down",
    "lint",
    "fmt",
    "deny",
    "soak",
];

/// Targets that are promised but have no rule, or are not phony.
fn missing_targets(makefile: &str) -> Vec<&'static str> {
    let phony: Vec<&str> = makefile
        .lines()
        .filter_map(|line| line.strip_prefix(".PHONY:"))
        .flat_map(str::split_whitespace)
        .collect();
    let has_rule = |target: &str| {
        makefile.lines().any(|line| line.strip_prefix(target).is_some_and(|l| l.starts_with(':')))
    };
    TARGETS.iter().copied().filter(|t| !has_rule(t) || !phony.contains(t)).collect()
}

fn files(directory: &Path, wanted: fn(&Path) -> bool, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !path.ends_with("target") {
                files(&path, wanted, into);
            }
        } else if wanted(&path) {
            into.push(path);
        }
    }
}

fn read(paths: Vec<PathBuf>) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|path| File { name: name(path), text: fs::read_to_string(path).unwrap() })
        .collect()
}

fn found_in(directories: &[&str], wanted: fn(&Path) -> bool) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for directory in directories {
        files(&root.join(directory), wanted, &mut paths);
    }
    read(paths)
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

fn is_text(path: &Path) -> bool {
    let known = ["md", "sh", "toml", "sql", "java", "properties"];
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| known.contains(&e))
}

#[test]
fn every_rust_file_keeps_the_house_rules() {
    let files = found_in(&["src", "tests"], is_rust);
    assert!(files.len() > 20, "only {} Rust files found", files.len());
    let found: Vec<String> = files.iter().flat_map(problems).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn scripts_and_documents_name_no_place_of_one_machine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = found_in(&["tests", "deploy", "testdata", ".cargo", ".ci"], is_text);
    let top = ["README.md", "Makefile", "Cargo.toml"].map(|name| root.join(name));
    files.extend(read(top.into_iter().filter(|path| path.exists()).collect()));
    for file in files {
        for place in MACHINE {
            assert!(!file.text.contains(place), "{} mentions {place}", file.name);
        }
    }
}

#[test]
fn the_makefile_has_every_promised_target() {
    let missing = missing_targets(include_str!("../Makefile"));
    assert!(missing.is_empty(), "no phony rule for {missing:?}");
}

#[test]
fn a_planted_violation_is_found() {
    let planted = |name: &str, text: &str| {
        problems(&File { name: name.to_owned(), text: format!("//! One job.\n{text}") })
    };
    let cases = [
        ("src/decode/avro.rs", "use tokio::sync::mpsc;", "pure code says `tokio`"),
        (
            "src/core/step.rs",
            "let now = std::time::Instant::now();",
            "pure code says `Instant::now`",
        ),
        ("src/sql/merge.rs", "use tokio_postgres::Client;", "pure code says `tokio_postgres`"),
        ("src/route.rs", "fn f() { SystemTime::now(); }", "pure code says `SystemTime::now`"),
        ("src/worker/mod.rs", "use rdkafka::Offset;", "`rdkafka` belongs in src/kafka/"),
        (
            "src/cli/run.rs",
            "let c: tokio_postgres::Client;",
            "`tokio_postgres` belongs in src/postgres/",
        ),
        ("src/worker/mod.rs", "metrics::counter!(\"a\");", "`metrics` belongs in src/telemetry/"),
        ("src/kafka/mod.rs", "#![allow(unsafe_code)]", "unsafe code belongs in"),
        ("src/kafka/utils.rs", "", "`utils` in its name says nothing"),
        ("src/demo/pool_manager.rs", "", "`manager` in its name says nothing"),
        ("tests/a.rs", concat!("// see /wo", "rk/x"), "mentions a place of one machine"),
    ];
    for (name, text, expected) in cases {
        let found = planted(name, text);
        assert!(found.iter().any(|p| p.contains(expected)), "{name} {text:?}: {found:?}");
    }
}

#[test]
fn a_long_file_and_a_file_without_its_sentence_are_found() {
    let file = |text: String| File { name: "src/a.rs".to_owned(), text };
    let long = file(format!("//! One job.\n{}", "fn f() {}\n".repeat(LONGEST)));
    assert_eq!(problems(&long), ["src/a.rs: 501 lines, at most 500"]);
    for text in ["use std::fmt;\n", "//! \n", "/// No module text.\n", ""] {
        let found = problems(&file(text.to_owned()));
        assert!(found[0].contains("does not start with"), "{text:?}: {found:?}");
    }
}

#[test]
fn what_only_looks_like_a_violation_is_left_alone() {
    let sound = [
        ("src/decode/avro.rs", "// tokio::spawn is not for here, nor is Instant::now\n"),
        ("src/decode/avro.rs", "#[cfg(test)]\nmod tests {\n    use tokio::test;\n}\n"),
        (
            "src/worker/mod.rs",
            "use crate::telemetry::metrics::{self, A};\nfn f() { metrics::g(); }\n",
        ),
        ("src/registry/tests.rs", "use axum::Router;\n"),
        ("src/batch/tests.rs", "use std::time::Instant;\nfn f() { Instant::now(); }\n"),
        ("src/worker/mod.rs", "crate::telemetry::metrics::observe();\n"),
        ("src/worker/mod.rs", "use crate::postgres;\nlet my_rdkafka = 1;\n"),
        ("src/kafka/native.rs", "#![allow(unsafe_code)]\n"),
        ("src/postgres/pool.rs", "use deadpool_postgres::Pool;\nuse tokio_postgres::Client;\n"),
    ];
    for (name, text) in sound {
        let file = File { name: name.to_owned(), text: format!("//! One job.\n{text}") };
        assert_eq!(problems(&file), [""; 0], "{name} {text:?}");
    }
}

#[test]
fn a_makefile_without_a_promised_target_is_found() {
    let makefile = include_str!("../Makefile");
    let without = makefile.replace("\nstack-up:", "\nstack-sideways:");
    assert_eq!(missing_targets(&without), ["stack-up"]);
    assert_eq!(missing_targets(&makefile.replace(" soak", "")), ["soak"]);
}
