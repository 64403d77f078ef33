//! Columns that the source drops, renames or narrows, and columns that only the user has.

use crate::rig::{BOOKKEEPING, Rig, ddl_of, field, keyed, row};
use serde_json::{Value, json};
use silversink::fault::Code;

fn id() -> Value {
    field("id", "int32")
}

fn text(name: &str) -> Value {
    field(name, "string")
}

#[tokio::test]
async fn a_dropped_column_stays_and_is_null_from_then_on_while_the_users_own_keeps_its_value() {
    let rig = Rig::items();
    let with = [id(), text("note"), text("name")];
    rig.produce(&[
        row(&with, &[json!(1), json!("old"), json!("a")]),
        row(&with, &[json!(2), json!("old"), json!("a")]),
    ]);
    rig.run().await.unwrap();
    rig.execute(
        "ALTER TABLE silver.items ADD COLUMN mine text; UPDATE silver.items SET mine = 'mine'",
    )
    .await;

    let without = [id(), text("name")];
    rig.produce(&[row(&without, &[json!(2), json!("b")]), row(&without, &[json!(3), json!("c")])]);
    rig.run().await.unwrap();

    assert_eq!(
        rig.ask("SELECT id, note, name, mine FROM silver.items ORDER BY id").await,
        "1|old|a|mine 2|-|b|mine 3|-|c|-"
    );
    assert_eq!(rig.recorded().await, "table|- drop|note");
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn a_record_from_before_a_column_has_null_there_whenever_it_comes() {
    let rig = Rig::items();
    let (a, b) = ([id()], [id(), text("x")]);
    // The schema of the third record is that of the first: added and dropped, or an older writer; the row had no x.
    rig.produce(&[
        row(&a, &[json!(1)]),
        row(&b, &[json!(1), json!("x")]),
        row(&b, &[json!(2), json!("x")]),
        row(&a, &[json!(1)]),
    ]);

    rig.run().await.unwrap();

    assert_eq!(rig.ask("SELECT id, x FROM silver.items ORDER BY id").await, "1|- 2|x");
}

#[tokio::test]
async fn plans_from_before_a_schema_was_seen_learn_of_its_columns() {
    let rig = Rig::items();
    // The table has the column already, so nothing is altered when its schema comes.
    rig.execute(&format!(
        "CREATE SCHEMA silver; CREATE TABLE silver.items (id int PRIMARY KEY, x text, {BOOKKEEPING})"
    ))
    .await;
    let (a, b) = ([id()], [id(), text("x")]);
    rig.produce(&[
        row(&a, &[json!(1)]),
        row(&b, &[json!(1), json!("x")]),
        row(&b, &[json!(2), json!("x")]),
        row(&a, &[json!(1)]),
    ]);

    rig.run().await.unwrap();

    assert_eq!(rig.ask("SELECT id, x FROM silver.items ORDER BY id").await, "1|- 2|x");
}

#[tokio::test]
async fn not_null_beside_the_key_is_refused_before_a_dropped_column_meets_it() {
    let rig = Rig::items();
    rig.execute(&format!(
        "CREATE SCHEMA silver; CREATE TABLE silver.items (id int PRIMARY KEY, note text NOT NULL, {BOOKKEEPING})"
    ))
    .await;
    rig.produce(&[
        row(&[id(), text("note")], &[json!(1), json!("old")]),
        row(&[id()], &[json!(1)]),
        row(&[id()], &[json!(2)]),
    ]);

    let fault = rig.run().await.unwrap_err();
    assert_eq!(fault.code, Code::ConstraintUnsupported);
    rig.execute(fault.hint.as_ref().unwrap()).await;
    rig.run().await.unwrap();

    assert_eq!(rig.ask("SELECT id, note FROM silver.items ORDER BY id").await, "1|- 2|-");
    assert_eq!(rig.recorded().await, "drop|note");
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn json_without_a_schema_cannot_tell_a_dropped_column_and_keeps_it() {
    let rig = Rig::items();
    rig.execute(&format!(
        "CREATE SCHEMA silver; CREATE TABLE silver.items (id int PRIMARY KEY, note text, {BOOKKEEPING})"
    ))
    .await;
    let plain = |value: &Value| {
        let mut record = row(&[id()], &[json!(1)]);
        record.key = Some(b"{\"id\":1}".to_vec());
        record.value = Some(value.to_string().into_bytes());
        record
    };
    rig.produce(&[plain(&json!({"id": 1, "note": "old"})), plain(&json!({"id": 1}))]);

    rig.run().await.unwrap();

    assert_eq!(rig.ask("SELECT id, note FROM silver.items").await, "1|old");
}

#[tokio::test]
async fn a_rename_is_a_new_and_a_gone_column_and_reported_as_a_probable_rename() {
    let rig = Rig::items();
    rig.produce(&[
        row(&[id(), field("quantity", "int32")], &[json!(1), json!(10)]),
        row(&[id(), field("quantity", "int32")], &[json!(2), json!(20)]),
        row(&[id(), field("pieces", "int32")], &[json!(2), json!(21)]),
    ]);

    rig.run().await.unwrap();

    let all = "SELECT id, quantity, pieces FROM silver.items ORDER BY id";
    assert_eq!(rig.ask(all).await, "1|10|- 2|-|21");
    assert_eq!(rig.recorded().await, "table|- column|pieces rename|pieces");
}

#[tokio::test]
async fn the_ddl_printed_for_a_rename_joins_the_two_columns() {
    let mut rig = Rig::items();
    rig.produce(&[
        row(&[id(), field("quantity", "int32")], &[json!(1), json!(10)]),
        row(&[id(), field("quantity", "int32")], &[json!(2), json!(20)]),
    ]);
    rig.run().await.unwrap();
    rig.extra = "[schema]\nchanges = \"plan\"".to_owned();
    rig.produce(&[row(&[id(), field("pieces", "int32")], &[json!(2), json!(21)])]);

    let fault = rig.run().await.unwrap_err();

    let script = ddl_of(&fault);
    assert!(script.contains("-- \"quantity\" was probably renamed to \"pieces\""), "{script}");
    rig.execute(&script).await;
    rig.run().await.unwrap();
    // What was a comment is the operator's to run.
    let join: String = script
        .lines()
        .filter_map(|line| line.strip_prefix("-- "))
        .filter(|line| line.ends_with(';'))
        .collect();
    rig.execute(&join).await;
    assert_eq!(rig.types().await, "id|integer pieces|integer");
    assert_eq!(rig.ask("SELECT id, pieces FROM silver.items ORDER BY id").await, "1|10 2|21");
}

#[tokio::test]
async fn a_narrower_source_is_recorded_and_the_column_goes_on_holding_both() {
    let rig = Rig::items();
    let wide = |n: i32| row(&[id(), field("n", "int64")], &[json!(n), json!(3_000_000_000_i64)]);
    let narrow = |n: i32| row(&[id(), field("n", "int32")], &[json!(n), json!(7)]);
    rig.produce(&[wide(1), narrow(2), wide(3), narrow(4)]);

    rig.run().await.unwrap();

    assert_eq!(rig.types().await, "id|integer n|bigint");
    assert_eq!(
        rig.ask("SELECT n FROM silver.items ORDER BY id").await,
        "3000000000 7 3000000000 7"
    );
    assert_eq!(rig.recorded().await, "table|- narrowing|n");
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn two_topics_of_one_table_do_not_empty_each_others_columns() {
    let mut rig = Rig::new(&[("depot.public.items", 1), ("other.items", 1)]);
    rig.extra = "[[route]]\ntopics = '^(depot\\.public|other)\\.(?<table>items)$'\ntable = \"silver.${table}\"\n\
                 merge_sources = true\n"
        .to_owned();
    let first = row(&[id(), text("name"), text("here")], &[json!(1), json!("a"), json!("h")]);
    let mut second = keyed(&[id(), text("name")], &[json!(1), json!("b")], 1);
    second.at.topic = "other.items".to_owned();
    rig.produce(&[first]);
    rig.run().await.unwrap();
    rig.produce(&[second]);

    rig.run().await.unwrap();

    // The other topic never had the column: to its records it belongs to somebody else.
    assert_eq!(rig.ask("SELECT id, here FROM silver.items").await, "1|h");
}
