//! Plans: the MERGE must find its rows by the key's index, whatever the size of table and batch.

use crate::rows::version;
use crate::server::database;
use silversink::postgres::WRITER_SETTINGS;
use silversink::sql::{merge, stage};
use silversink::table::{Bookkeeping, TableName};

#[tokio::test]
async fn merge_finds_its_rows_by_the_key_index_whatever_the_size() {
    let db = database().await;
    db.sql(
        "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, name text, _version bytea NOT NULL, \
         _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)",
    )
    .await;
    let destination = db.destination().await;
    let shape = destination
        .describe(&TableName::new("s", "orders"), &Bookkeeping::default())
        .await
        .unwrap()
        .unwrap()
        .shape;
    let client = db.client().await;
    client
        .batch_execute(&format!(
            "{}; {}; {}",
            WRITER_SETTINGS,
            stage::create(&shape, 1),
            merge::CREATE_COUNTERS
        ))
        .await
        .unwrap();
    let low = version(1).as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>();
    for (rows, staged) in
        [(0, 0), (0, 10_000), (300, 10), (300, 50_000), (200_000, 1), (200_000, 10_000)]
    {
        client
            .batch_execute(&format!(
                "TRUNCATE s.orders; INSERT INTO s.orders SELECT i, 'n', '\\x{low}' FROM generate_series(1, {rows}) AS i; \
                 ANALYZE s.orders"
            ))
            .await
            .unwrap();
        // A vacuumed empty table is known to be empty, and invites a sequential scan.
        client.batch_execute("VACUUM s.orders").await.unwrap();
        client.batch_execute("BEGIN").await.unwrap();
        client
            .batch_execute(&format!(
                "INSERT INTO {} (c0, _kind, _version, _range, _row) SELECT i, 'w', '\\x{low}', 0, i \
                 FROM generate_series(1, {staged}) AS i",
                stage::name(1)
            ))
            .await
            .unwrap();
        for variant in [merge::Variant::Fast, merge::Variant::Full] {
            let statement = format!("EXPLAIN {}", merge::merge(&shape, 1, variant));
            let plan: String = client
                .simple_query(&statement)
                .await
                .unwrap()
                .iter()
                .filter_map(|m| match m {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                })
                .collect::<Vec<_>>()
                .join("\n");
            assert!(
                plan.contains("Index Cond: (id = s.c0)"),
                "{rows} rows, {staged} staged:\n{plan}"
            );
            assert!(!plan.contains("JIT"), "{plan}");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
