//! What stops the lane: another type, another key, a large table, something that depends on the column.

use crate::rig::{Rig, ddl_of, field, keyed, named, row};
use serde_json::{Value, json};
use silversink::fault::{Class, Code};

fn id() -> Value {
    field("id", "int32")
}

#[tokio::test]
async fn a_type_change_stops_the_lane_and_the_printed_ddl_helps() {
    let rig = Rig::items();
    rig.produce(&[row(&[id(), field("code", "string")], &[json!(1), json!("12")])]);
    rig.run().await.unwrap();
    let changed = [id(), field("code", "int32"), field("colour", "string")];
    rig.produce(&[row(&changed, &[json!(2), json!(13), json!("red")])]);

    let fault = rig.run().await.unwrap_err();

    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::TypeMismatch));
    // Nothing of the schema is done in halves.
    assert_eq!(rig.types().await, "id|integer code|text");
    assert_eq!(rig.ask("SELECT count(*) FROM silver.items").await, "1");
    rig.assert_no_letters().await;
    rig.execute(&ddl_of(&fault)).await;
    rig.run().await.unwrap();
    assert_eq!(rig.types().await, "id|integer code|integer colour|text");
    assert_eq!(rig.ask("SELECT code FROM silver.items ORDER BY id").await, "12 13");
}

#[tokio::test]
async fn values_that_cannot_be_converted_can_be_put_aside() {
    let rig = Rig::items();
    rig.produce(&[row(&[id(), field("code", "string")], &[json!(1), json!("x")])]);
    rig.run().await.unwrap();
    rig.produce(&[row(&[id(), field("code", "int32")], &[json!(2), json!(13)])]);
    let fault = rig.run().await.unwrap_err();
    let script = ddl_of(&fault);
    let convert = rig.database().await.execute(&script).await;
    assert_eq!(convert.unwrap_err().sqlstate.as_deref(), Some("22P02"));

    let aside = script.lines().find_map(|line| line.split_once("another name: ")).unwrap().1;
    rig.execute(aside).await;
    rig.run().await.unwrap();

    assert_eq!(
        rig.ask("SELECT id, code_before, code FROM silver.items ORDER BY id").await,
        "1|x|- 2|-|13"
    );
}

#[tokio::test]
async fn a_timestamp_that_gets_a_zone_is_converted_as_utc_whatever_the_session_has() {
    let rig = Rig::items();
    let plain = named("seen", "int64", "io.debezium.time.MicroTimestamp");
    let zoned = named("seen", "string", "io.debezium.time.ZonedTimestamp");
    rig.produce(&[row(&[id(), plain], &[json!(1), json!(1_500_000)])]);
    rig.run().await.unwrap();
    rig.produce(&[row(&[id(), zoned], &[json!(2), json!("1970-01-01T00:00:02Z")])]);

    let fault = rig.run().await.unwrap_err();
    rig.execute(&format!("SET timezone = 'Asia/Tokyo'; {}", ddl_of(&fault))).await;
    rig.run().await.unwrap();

    assert_eq!(
        rig.ask("SELECT seen FROM silver.items ORDER BY id").await,
        "1970-01-01 00:00:01.5+00 1970-01-01 00:00:02+00"
    );
}

#[tokio::test]
async fn a_key_change_stops_the_lane_and_the_printed_ddl_helps() {
    let rig = Rig::items();
    let fields = [id(), field("region", "string"), field("name", "string")];
    let value = |id: i32, region: &str| [json!(id), json!(region), json!("a")];
    rig.produce(&[keyed(&fields, &value(1, "south"), 1)]);
    rig.run().await.unwrap();
    rig.produce(&[keyed(&fields, &value(1, "north"), 2)]);

    let fault = rig.run().await.unwrap_err();

    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::KeyMismatch));
    assert!(fault.text.contains("the record key is (id, region)"), "{fault}");
    rig.execute(&ddl_of(&fault)).await;
    rig.run().await.unwrap();
    assert_eq!(
        rig.ask("SELECT id, region FROM silver.items ORDER BY region").await,
        "1|north 1|south"
    );
    rig.assert_no_letters().await;
}

#[tokio::test]
async fn a_large_table_is_not_written_anew_without_being_asked() {
    let rig = Rig::items();
    let name = field("name", "string");
    rig.produce(&[row(
        &[id(), field("n", "int32"), name.clone()],
        &[json!(1), json!(1), json!("a")],
    )]);
    rig.run().await.unwrap();
    // 70 MB that do not shrink.
    rig.execute(
        "ALTER TABLE silver.items ALTER COLUMN name SET STORAGE PLAIN; \
         INSERT INTO silver.items SELECT g, g, repeat('x', 7000), '\\x00' FROM generate_series(10, 10010) AS g",
    )
    .await;
    rig.produce(&[row(&[id(), field("n", "int64"), name], &[json!(2), json!(2), json!("b")])]);

    let fault = rig.run().await.unwrap_err();

    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::TypeMismatch));
    assert!(fault.hint.as_ref().unwrap().contains("MiB anew"), "{fault:?}");
    assert_eq!(rig.types().await, "id|integer n|integer name|text");
    rig.execute(&ddl_of(&fault)).await;
    rig.run().await.unwrap();
    assert_eq!(rig.types().await, "id|integer n|bigint name|text");
    assert_eq!(rig.ask("SELECT n FROM silver.items WHERE id = 2").await, "2");
}

#[tokio::test]
async fn a_view_over_the_column_stops_the_lane_with_the_reason() {
    let rig = Rig::items();
    rig.produce(&[row(&[id(), field("n", "int32")], &[json!(1), json!(1)])]);
    rig.run().await.unwrap();
    rig.execute("CREATE VIEW silver.report AS SELECT n FROM silver.items").await;
    rig.produce(&[row(&[id(), field("n", "int64")], &[json!(2), json!(2)])]);

    let fault = rig.run().await.unwrap_err();

    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::TypeMismatch));
    assert!(fault.hint.as_ref().unwrap().contains("a view"), "{fault:?}");
    assert_eq!(rig.recorded().await, "table|-");
    rig.execute("DROP VIEW silver.report").await;
    rig.run().await.unwrap();
    assert_eq!(rig.recorded().await, "table|- widening|n");
    rig.assert_no_letters().await;
}
