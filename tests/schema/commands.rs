//! `plan` and `apply` as processes: what they print, their exit codes, and what they leave in the database.

use crate::rig::{BOOKKEEPING, Rig, TOPIC, field, row};
use serde_json::{Value, json};
use std::process::{Command, Output};

const VALUE: &str = r#"{"type":"record","name":"Value","namespace":"depot.public.items","fields":[
  {"name":"id","type":"int"},{"name":"n","type":"long"},{"name":"colour","type":["null","string"],"default":null}],
  "connect.name":"depot.public.items.Value"}"#;
const KEY: &str = r#"{"type":"record","name":"Key","namespace":"depot.public.items","fields":[{"name":"id","type":"int"}]}"#;

/// Runs a command on the rig's configuration.
fn silversink(rig: &Rig, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sink.toml");
    std::fs::write(&file, rig.config_text()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_silversink"));
    command.args(arguments).arg("--config").arg(&file).output().unwrap()
}

fn text(rig: &Rig, arguments: &[&str], code: i32) -> String {
    let output = silversink(rig, arguments);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    stdout
}

fn json(rig: &Rig, arguments: &[&str], code: i32) -> Value {
    serde_json::from_str(&text(rig, arguments, code)).unwrap()
}

/// A Silver table that lacks a column and has a narrow one, and the registry's newest schemas of its topic.
async fn behind() -> Rig {
    let rig = Rig::items();
    rig.execute(&format!(
        "CREATE SCHEMA silver; CREATE TABLE silver.items (id int PRIMARY KEY, n int, {BOOKKEEPING})"
    ))
    .await;
    let _ = rig.registry.register(&format!("{TOPIC}-key"), KEY);
    let _ = rig.registry.register(&format!("{TOPIC}-value"), VALUE);
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_shows_what_the_registry_implies_and_apply_does_it_once_it_is_told_to() {
    let rig = behind().await;

    let plan = json(&rig, &["plan", "--json"], 3);
    let topic = &plan["topics"][0];
    assert_eq!((&plan["differing"], &topic["verdict"]), (&json!(1), &json!("alter")), "{plan}");
    let kinds: Vec<_> = topic["alterations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["kind"].as_str().unwrap(), line["column"].as_str().unwrap()))
        .collect();
    assert_eq!(kinds, [("column", "colour"), ("widening", "n")]);

    let people = text(&rig, &["plan"], 3);
    for line in [
        "silver.items <- depot.public.items: alter",
        "widening: column \"n\" is integer, the source has bigint (PostgreSQL writes the table anew)",
        "1 topics, 1 with something to do",
    ] {
        assert!(people.contains(line), "no `{line}` in {people}");
    }

    let dry = text(&rig, &["apply"], 3);
    assert!(dry.contains("this was a dry run"), "{dry}");
    assert_eq!(rig.types().await, "id|integer n|integer");
    assert_eq!(
        rig.ask("SELECT count(*) FROM pg_namespace WHERE nspname = 'silversink'").await,
        "0"
    );

    let done = json(&rig, &["apply", "--execute", "--json"], 0);
    assert_eq!(done["made"].as_array().unwrap().len(), 2, "{done}");
    assert_eq!(rig.types().await, "id|integer n|bigint colour|text");
    let recorded =
        "SELECT kind, topic, key_schema, value_schema FROM silversink.schema_change ORDER BY id";
    assert_eq!(rig.ask(recorded).await, format!("column|{TOPIC}|1|2 widening|{TOPIC}|1|2"));

    assert_eq!(json(&rig, &["plan", "--json"], 0)["topics"][0]["verdict"], "fits");
    assert_eq!(text(&rig, &["plan", "--sql"], 0), "");
    assert_eq!(json(&rig, &["apply", "--execute", "--json"], 0)["made"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_sql_runs_as_it_stands() {
    let rig = behind().await;

    let sql = text(&rig, &["plan", "--sql"], 3);
    rig.execute(&sql).await;

    assert_eq!(rig.types().await, "id|integer n|bigint colour|text");
    text(&rig, &["plan"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_creates_what_no_record_has_asked_for_yet() {
    let rig = Rig::new(&[]);
    let _ = rig.registry.register(&format!("{TOPIC}-key"), KEY);
    let _ = rig.registry.register(&format!("{TOPIC}-value"), VALUE);

    text(&rig, &["apply", "--execute"], 0);

    assert_eq!(rig.types().await, "id|integer n|bigint colour|text");
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_prints_but_apply_does_not_do_what_a_person_has_to_decide() {
    let rig = Rig::items();
    rig.execute(&format!(
        "CREATE SCHEMA silver; CREATE TABLE silver.items (id int PRIMARY KEY, n text, {BOOKKEEPING})"
    ))
    .await;
    let _ = rig.registry.register(&format!("{TOPIC}-key"), KEY);
    let _ = rig.registry.register(&format!("{TOPIC}-value"), VALUE);

    let sql = text(&rig, &["plan", "--sql"], 3);
    assert!(
        sql.contains("-- ALTER TABLE \"silver\".\"items\" ALTER COLUMN \"n\" TYPE bigint"),
        "{sql}"
    );
    assert!(sql.lines().all(|line| line.starts_with("--")), "{sql}");
    let done = json(&rig, &["apply", "--execute", "--json"], 3);

    assert_eq!(
        (&done["made"], &done["left"]["topics"][0]["code"]),
        (&json!([]), &json!("type_mismatch"))
    );
    assert_eq!(rig.types().await, "id|integer n|text");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_subject_the_newest_record_tells() {
    let rig = Rig::items();
    let unknown = text(&rig, &["plan"], 0);
    assert!(unknown.contains("no subject in the registry and no record"), "{unknown}");
    let delete = silversink::record::OwnedRecord {
        value: None,
        ..row(&[field("id", "int32")], &[json!(1)])
    };
    rig.produce(&[
        row(&[field("id", "int32")], &[json!(1)]),
        row(&[field("id", "int32"), field("name", "string")], &[json!(1), json!("a")]),
        delete,
    ]);

    let plan = json(&rig, &["plan", "--json"], 3);

    let ddl = plan["topics"][0]["alterations"][0]["ddl"].to_string();
    assert!(ddl.contains("CREATE TABLE") && ddl.contains("name"), "{plan}");
    assert_eq!(plan["topics"][0]["value_schema"], "json with schema");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_without_a_schema_tells_of_a_column_that_is_missing() {
    let rig = Rig::items();
    rig.execute(&format!(
        "CREATE SCHEMA silver; CREATE TABLE silver.items (id int PRIMARY KEY, {BOOKKEEPING})"
    ))
    .await;
    let mut plain = row(&[field("id", "int32")], &[json!(1)]);
    plain.key = Some(b"{\"id\":1}".to_vec());
    plain.value = Some(b"{\"id\":1,\"note\":\"secret\"}".to_vec());
    rig.produce(&[plain]);

    let plan = json(&rig, &["plan", "--json"], 3);

    let topic = &plan["topics"][0];
    assert_eq!(
        (&topic["verdict"], &topic["code"]),
        (&json!("stop"), &json!("column_missing")),
        "{plan}"
    );
    assert!(topic["reason"].as_str().unwrap().contains("note"), "{plan}");
    assert!(!plan.to_string().contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_and_apply_say_when_nothing_answers() {
    let mut rig = Rig::items();
    rig.postgres = "postgresql://postgres@127.0.0.1:1/none".to_owned();
    for command in ["plan", "apply"] {
        assert_eq!(silversink(&rig, &[command]).status.code(), Some(4));
    }
}
