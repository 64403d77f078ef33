//! `[schema] narrowing = "stop"`: a narrower source stops the lane until Silver follows or the setting is changed.

use crate::commands::text as printed;
use crate::rig::{Rig, ddl_of, field, row, varchar};
use serde_json::{Value, json};
use silversink::fault::{Class, Code};
use silversink::record::OwnedRecord;

const STOP: &str = "[schema]\nnarrowing = \"stop\"\n";

fn id() -> Value {
    field("id", "int32")
}

fn stopping() -> Rig {
    Rig { extra: STOP.to_owned(), ..Rig::items() }
}

fn wide(key: i32, n: i64) -> OwnedRecord {
    row(&[id(), field("n", "int64")], &[json!(key), json!(n)])
}

fn narrow(key: i32, n: i32) -> OwnedRecord {
    row(&[id(), field("n", "int32")], &[json!(key), json!(n)])
}

#[tokio::test]
async fn the_lane_goes_on_once_silver_was_narrowed_by_the_printed_ddl() {
    let rig = stopping();
    rig.produce(&[wide(1, 5)]);
    rig.run().await.unwrap();
    rig.produce(&[narrow(2, 7)]);

    assert_eq!(rig.run().await.unwrap_err().code, Code::ColumnNarrowed);
    let fault = rig.run().await.unwrap_err();

    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::ColumnNarrowed));
    assert_eq!(
        fault.text,
        "table silver.items: column \"n\" is narrower at the source (integer, before bigint) and bigint in Silver"
    );
    assert_eq!(rig.types().await, "id|integer n|bigint");
    assert_eq!(rig.ask("SELECT id FROM silver.items").await, "1");
    assert_eq!(rig.recorded().await, "table|-");
    rig.execute(&ddl_of(&fault)).await;
    rig.run().await.unwrap();

    assert_eq!(rig.types().await, "id|integer n|integer");
    assert_eq!(rig.ask("SELECT id, n FROM silver.items ORDER BY id").await, "1|5 2|7");
    assert_eq!(rig.recorded().await, "table|- narrowing|n");
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn older_records_that_come_again_widen_it_and_stop_nothing() {
    let rig = stopping();
    rig.produce(&[wide(1, 5)]);
    rig.run().await.unwrap();
    rig.produce(&[narrow(2, 7)]);
    rig.execute(&ddl_of(&rig.run().await.unwrap_err())).await;
    rig.run().await.unwrap();

    rig.produce(&[wide(3, 3_000_000_000), narrow(4, 9)]);
    rig.run().await.unwrap();

    assert_eq!(rig.types().await, "id|integer n|bigint");
    assert_eq!(rig.ask("SELECT n FROM silver.items ORDER BY id").await, "5 7 3000000000 9");
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn the_lane_goes_on_with_another_setting() {
    for other in [
        "",
        "[table.\"silver.items\"]\ncolumns.n.type = \"bigint\"\n[schema]\nnarrowing = \"stop\"\n",
    ] {
        let mut rig = stopping();
        rig.produce(&[wide(1, 3_000_000_000)]);
        rig.run().await.unwrap();
        rig.produce(&[narrow(2, 7)]);
        assert_eq!(rig.run().await.unwrap_err().code, Code::ColumnNarrowed);

        rig.extra = other.to_owned();
        rig.run().await.unwrap();

        assert_eq!(rig.types().await, "id|integer n|bigint");
        assert_eq!(rig.ask("SELECT n FROM silver.items ORDER BY id").await, "3000000000 7");
        assert_eq!(rig.recorded().await, "table|- narrowing|n");
        rig.assert_no_letters().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_is_named_nothing_is_done_in_halves_and_nothing_is_cut() {
    let rig = stopping();
    let before = [id(), varchar("code", 20), field("n", "int64")];
    rig.produce(&[row(&before, &[json!(1), json!("twelve chars"), json!(5)])]);
    rig.run().await.unwrap();
    let now = [id(), varchar("code", 10), field("n", "int32"), field("colour", "string")];
    rig.produce(&[row(&now, &[json!(2), json!("short"), json!(7), json!("red")])]);

    let fault = rig.run().await.unwrap_err();

    assert_eq!(fault.code, Code::ColumnNarrowed);
    assert!(
        fault.text.contains("\"code\" is narrower at the source (varchar(10), before varchar(20))"),
        "{fault}"
    );
    assert!(
        fault.text.contains("\"n\" is narrower at the source (integer, before bigint)"),
        "{fault}"
    );
    assert_eq!(rig.types().await, "id|integer code|character varying(20) n|bigint");
    // `plan` shows the same.
    let shown = printed(&rig, &["plan"], 3);
    assert!(shown.contains("column_narrowed") && shown.contains("TYPE varchar(10)"), "{shown}");
    // PostgreSQL refuses the text that is too long.
    let refused = rig.database().await.execute(&ddl_of(&fault)).await;
    assert_eq!(refused.unwrap_err().sqlstate.as_deref(), Some("22001"));
    let script = ddl_of(&fault);
    let aside = script.lines().find_map(|line| line.split_once("another name: ")).unwrap().1;
    rig.execute(aside).await;
    assert_eq!(rig.run().await.unwrap_err().code, Code::ColumnNarrowed);
    rig.execute("ALTER TABLE silver.items ALTER COLUMN n TYPE integer").await;
    rig.run().await.unwrap();
    assert_eq!(
        rig.types().await,
        "id|integer code_before|character varying(20) n|integer code|character varying(10) colour|text"
    );
    assert_eq!(
        rig.ask("SELECT code_before, code, n FROM silver.items ORDER BY id").await,
        "twelve chars|-|5 -|short|7"
    );
}
