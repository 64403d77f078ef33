//! What is done by itself: new columns, wider types, old and new writer schemas side by side.

use crate::rig::{BOOKKEEPING, Rig, TOPIC, ddl_of, decimal, field, named, row, unscaled, varchar};
use serde_json::{Value, json};
use silversink::fault::Code;

fn id() -> Value {
    field("id", "int32")
}

#[tokio::test]
async fn a_new_nullable_column_is_added_and_recorded() {
    let rig = Rig::items();
    rig.produce(&[
        row(&[id()], &[json!(1)]),
        row(&[id(), field("colour", "string")], &[json!(2), json!("red")]),
    ]);

    rig.run().await.unwrap();

    assert_eq!(rig.ask("SELECT id, colour FROM silver.items ORDER BY id").await, "1|- 2|red");
    assert_eq!(rig.recorded().await, "table|- column|colour");
    let line = "SELECT pipeline, schema_name, table_name, ddl, topic, key_schema, value_schema FROM silversink.schema_change \
                WHERE kind = 'column'";
    assert_eq!(
        rig.ask(line).await,
        format!(
            "depot|silver|items|ALTER TABLE \"silver\".\"items\" ADD COLUMN IF NOT EXISTS \"colour\" text;\n-- {}\n|{TOPIC}|\
             json with schema|json with schema",
            "rows that the source does not write again stay NULL there, whatever default it gave them: take an incremental \
             snapshot of the table (signal execute-snapshot) if it gave one"
        )
    );
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn a_new_column_with_a_default_is_added_without_it() {
    let rig = Rig::items();
    let priority = json!({"field": "priority", "type": "int16", "optional": false, "default": 3});
    rig.produce(&[
        row(&[id()], &[json!(1)]),
        row(&[id()], &[json!(2)]),
        row(&[id(), priority], &[json!(2), json!(5)]),
    ]);

    rig.run().await.unwrap();

    // The source has 3 in row 1, but that stands in no record.
    assert_eq!(rig.ask("SELECT id, priority FROM silver.items ORDER BY id").await, "1|- 2|5");
    let default = "SELECT atthasdef, atthasmissing, attnotnull FROM pg_attribute \
                   WHERE attrelid = 'silver.items'::regclass AND attname = 'priority'";
    assert_eq!(rig.ask(default).await, "f|f|f");
}

#[tokio::test]
async fn every_safe_widening_is_made_by_itself_and_old_records_still_land() {
    let rig = Rig::items();
    let time = |name| named(name, "int32", "io.debezium.time.Time");
    let old = [
        id(),
        field("s", "int16"),
        field("i", "int32"),
        field("r", "float"),
        decimal("scale", 10, 2),
        decimal("digits", 10, 2),
        varchar("code", 3),
        varchar("note", 3),
        time("at"),
        named("seen", "int64", "io.debezium.time.Timestamp"),
    ];
    let new = [
        id(),
        field("s", "int32"),
        field("i", "int64"),
        field("r", "double"),
        decimal("scale", 14, 4),
        decimal("digits", 14, 2),
        varchar("code", 9),
        json!({"field": "note", "type": "string", "optional": true, "parameters": {"__debezium.source.column.type": "TEXT"}}),
        named("at", "int64", "io.debezium.time.MicroTime"),
        named("seen", "int64", "io.debezium.time.MicroTimestamp"),
    ];
    let before = |id: i32| {
        let n = unscaled(150);
        let values = [json!(id), json!(7), json!(8), json!(0.5), json!(n), json!(n)];
        let rest = [json!("abc"), json!("abc"), json!(1_500), json!(1_500)];
        row(&old, &[values.as_slice(), &rest].concat())
    };
    let after = |id: i32| {
        let values = [json!(id), json!(70_000), json!(3_000_000_000_i64), json!(0.1)];
        let more = [json!(unscaled(15_001)), json!(unscaled(100_000_000_000_000 - 1))];
        let rest = [json!("abcdefghi"), json!("a longer note"), json!(1_500_001), json!(1_500_001)];
        row(&new, &[values.as_slice(), &more, &rest].concat())
    };
    rig.produce(&[before(1)]);
    rig.run().await.unwrap();
    assert_eq!(
        rig.types().await,
        "id|integer s|smallint i|integer r|real scale|numeric(10,2) digits|numeric(10,2) code|character varying(3) \
         note|character varying(3) at|time(3) without time zone seen|timestamp(3) without time zone"
    );

    rig.produce(&[after(2), before(3), after(4)]);
    rig.run().await.unwrap();

    assert_eq!(
        rig.types().await,
        "id|integer s|integer i|bigint r|double precision scale|numeric(14,4) digits|numeric(14,2) code|character varying(9) \
         note|text at|time without time zone seen|timestamp without time zone"
    );
    let all =
        "SELECT id, s, i, r, scale, digits, code, note, at, seen FROM silver.items ORDER BY id";
    let old = |id| format!("{id}|7|8|0.5|1.5000|1.50|abc|abc|00:00:01.5|1970-01-01 00:00:01.5");
    let new = |id| {
        format!(
            "{id}|70000|3000000000|0.1|1.5001|999999999999.99|abcdefghi|a longer note|00:00:01.500001|1970-01-01 00:00:01.500001"
        )
    };
    assert_eq!(rig.ask(all).await, [old(1), new(2), old(3), new(4)].join(" "));
    let recorded = "SELECT count(*), count(DISTINCT changed_at) FROM silversink.schema_change WHERE kind = 'widening'";
    assert_eq!(rig.ask(recorded).await, "9|1");
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn a_key_column_is_widened_with_its_index() {
    let rig = Rig::items();
    let wide = [field("id", "int64"), field("name", "string")];
    rig.produce(&[
        row(&[id(), field("name", "string")], &[json!(1), json!("a")]),
        row(&wide, &[json!(3_000_000_000_i64), json!("b")]),
        row(&wide, &[json!(1), json!("c")]),
    ]);

    rig.run().await.unwrap();

    assert_eq!(rig.types().await, "id|bigint name|text");
    assert_eq!(rig.ask("SELECT id, name FROM silver.items ORDER BY id").await, "1|c 3000000000|b");
}

#[tokio::test]
async fn alternating_schemas_fold_into_one_batch() {
    let rig = Rig::items();
    let old = |n: i32| row(&[id(), field("n", "int32")], &[json!(n % 20), json!(n)]);
    let new = |n: i32| {
        let fields = [id(), field("n", "int64"), field("colour", "string")];
        row(&fields, &[json!(n % 20), json!(n), json!("red")])
    };
    let records: Vec<_> = (0..1000).map(|n| if n % 2 == 0 { old(n) } else { new(n) }).collect();
    rig.produce(&records);

    rig.run().await.unwrap();

    // Even keys have their newest row from the old schema, odd ones from the new.
    let wrong =
        "SELECT count(*) FROM silver.items WHERE n <> 980 + id OR (colour IS NULL) <> (id % 2 = 0)";
    assert_eq!(rig.ask(wrong).await, "0");
    assert_eq!(rig.ask("SELECT count(*) FROM silver.items").await, "20");
    // One batch for what came before each schema was first seen, and those that the burst filled.
    let batches: i32 = rig
        .ask("SELECT n_tup_upd FROM pg_stat_all_tables WHERE schemaname = 'silversink' AND relname = 'position'")
        .await
        .parse()
        .unwrap();
    assert!((1..20).contains(&batches), "{batches} transactions for two schemas");
    assert_eq!(rig.recorded().await, "table|- column|colour widening|n");
}

#[tokio::test]
async fn schemas_that_want_different_widths_end_at_the_union() {
    let rig = Rig::items();
    let a = |n: i32| row(&[id(), decimal("d", 6, 4)], &[json!(n), json!(unscaled(12_345))]);
    let b = |n: i32| row(&[id(), decimal("d", 10, 2)], &[json!(n), json!(unscaled(1_234_567_890))]);
    rig.produce(&[a(1), b(2), a(3), b(4)]);

    rig.run().await.unwrap();

    assert_eq!(rig.types().await, "id|integer d|numeric(12,4)");
    assert_eq!(
        rig.ask("SELECT d FROM silver.items ORDER BY id").await,
        "1.2345 12345678.9000 1.2345 12345678.9000"
    );
    assert_eq!(rig.recorded().await, "table|- widening|d");
}

#[tokio::test]
async fn with_changes_plan_a_widening_stops_and_runs_after_the_printed_ddl() {
    let mut rig = Rig::items();
    rig.extra = "[schema]\nchanges = \"plan\"".to_owned();
    rig.execute(&format!(
        "CREATE SCHEMA silver; CREATE TABLE silver.items (id int PRIMARY KEY, n int, {BOOKKEEPING})"
    ))
    .await;
    let wide = [id(), field("n", "int64"), field("colour", "string")];
    rig.produce(&[row(&wide, &[json!(1), json!(3_000_000_000_i64), json!("red")])]);

    let fault = rig.run().await.unwrap_err();

    assert_eq!(fault.code, Code::TypeMismatch);
    assert_eq!(rig.types().await, "id|integer n|integer");
    assert_eq!(rig.ask("SELECT count(*) FROM silver.items").await, "0");
    rig.execute(&ddl_of(&fault)).await;
    rig.run().await.unwrap();
    assert_eq!(rig.ask("SELECT n, colour FROM silver.items").await, "3000000000|red");
    assert_eq!(rig.recorded().await, "");
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn a_configured_type_is_never_widened() {
    let mut rig = Rig::items();
    rig.extra = "[table.\"silver.items\"]\ncolumns.n.type = \"integer\"\n".to_owned();
    rig.produce(&[row(&[id(), field("n", "int32")], &[json!(1), json!(1)])]);
    rig.run().await.unwrap();
    rig.produce(&[row(&[id(), field("n", "int64")], &[json!(2), json!(2)])]);

    let fault = rig.run().await.unwrap_err();

    assert_eq!(fault.code, Code::TypeMismatch);
    assert_eq!(rig.types().await, "id|integer n|integer");
}

fn state(name: &str) -> Value {
    json!({
        "field": name, "type": "string", "optional": true, "name": "io.debezium.data.Enum",
        "parameters": {"allowed": "new,moving"},
    })
}

const ENUM: &str = "CREATE SCHEMA silver; CREATE TYPE silver.state AS ENUM ('new', 'moving');";

#[tokio::test]
async fn a_new_enum_value_is_added_to_a_silver_enum_type_when_a_record_brings_it() {
    let rig = Rig::items();
    rig.execute(&format!(
        "{ENUM} CREATE TABLE silver.items (id int PRIMARY KEY, state silver.state, {BOOKKEEPING})"
    ))
    .await;
    let fields = [id(), state("state")];
    let at = |n: i32, label: &str| row(&fields, &[json!(n), json!(label)]);
    rig.produce(&[at(1, "new"), at(2, "it's lost"), at(3, "moving"), at(4, "it's lost")]);

    rig.run().await.unwrap();

    assert_eq!(
        rig.rows("SELECT state FROM silver.items ORDER BY id").await.concat(),
        ["new", "it's lost", "moving", "it's lost"].map(|label| Some(label.to_owned()))
    );
    assert_eq!(rig.recorded().await, "label|state");
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn with_changes_plan_a_new_enum_value_stops_and_runs_after_the_printed_ddl() {
    let mut rig = Rig::items();
    rig.extra = "[schema]\nchanges = \"plan\"".to_owned();
    rig.execute(&format!(
        "{ENUM} CREATE TABLE silver.items (id int PRIMARY KEY, state silver.state, {BOOKKEEPING})"
    ))
    .await;
    rig.produce(&[row(&[id(), state("state")], &[json!(1), json!("lost")])]);

    let fault = rig.run().await.unwrap_err();

    assert_eq!(fault.code, Code::TypeMismatch);
    rig.execute(&ddl_of(&fault)).await;
    rig.run().await.unwrap();
    assert_eq!(rig.ask("SELECT state FROM silver.items").await, "lost");
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn text_that_is_no_enum_at_the_source_never_becomes_a_label() {
    let rig = Rig::items();
    rig.execute(&format!(
        "{ENUM} CREATE TABLE silver.items (id int PRIMARY KEY, state silver.state, {BOOKKEEPING})"
    ))
    .await;
    rig.produce(&[row(&[id(), field("state", "string")], &[json!(1), json!("anything")])]);

    rig.run().await.unwrap();

    assert_eq!(rig.ask("SELECT code FROM silversink.dead_letter").await, "value_out_of_range");
    assert_eq!(rig.ask("SELECT count(*) FROM pg_enum").await, "2");
}
