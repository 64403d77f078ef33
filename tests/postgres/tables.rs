//! The bookkeeping schema, Silver tables made and described, and what is refused.

use crate::rows::{F::*, Lane, whole};
use crate::server::{connect, database};
use silversink::fault::{Class, Code};
use silversink::postgres::Origin;
use silversink::sql::alteration::{Alteration, Effect};
use silversink::table::{Bookkeeping, ProposedColumn, TableName};
use std::slice::from_ref;
use std::sync::Arc;

fn column(name: &str, sql_type: &str, key: Option<usize>) -> ProposedColumn {
    ProposedColumn {
        name: name.into(),
        sql_type: sql_type.into(),
        key,
        comment: Some(format!("was {sql_type}")),
    }
}

fn orders() -> TableName {
    TableName::new("s", "orders")
}

#[tokio::test]
async fn two_workers_prepare_the_bookkeeping_together() {
    let db = database().await;
    let (a, b) = (connect(&db.url()).await.unwrap(), connect(&db.url()).await.unwrap());
    let (a, b) = tokio::join!(a.ensure_bookkeeping(), b.ensure_bookkeeping());
    a.unwrap();
    b.unwrap();
}

#[tokio::test]
async fn missing_privileges_are_told_with_the_ddl() {
    let db = database().await;
    db.sql("DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN PASSWORD 'poor'").await;
    let destination = connect(&db.url_with("poor", "poor")).await.unwrap();
    let fault = destination.ensure_bookkeeping().await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::PrivilegeMissing));
    assert!(fault.hint.unwrap().contains("CREATE TABLE IF NOT EXISTS silversink.position"));
    // Once an owner has made them, the worker needs no privilege to create.
    db.destination().await;
    destination.ensure_bookkeeping().await.unwrap();
    db.sql("DROP ROLE poor").await;
}

#[tokio::test]
async fn a_version_is_taken_apart_for_people() {
    let db = database().await;
    db.destination().await;
    let highest = "ff".repeat(37);
    assert_eq!(
        db.rows(&format!("SELECT * FROM silversink.version_parts('\\x{highest}')")).await,
        [[
            "4294967295",
            "340282366920938463463374607431768211455",
            "255",
            "18446744073709551615",
            "18446744073709551615"
        ]]
    );
}

fn origin(table: &TableName) -> Origin<'_> {
    let value_schema = Some("7".to_owned());
    Origin { pipeline: "p", table, topic: "t", key_schema: None, value_schema }
}

#[tokio::test]
async fn a_table_has_one_pipeline() {
    let db = database().await;
    let destination = db.destination().await;
    destination.own_table("a", &orders()).await.unwrap();
    destination.own_table("a", &orders()).await.unwrap();
    let fault = destination.own_table("b", &orders()).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::TableOwned));
}

#[tokio::test]
async fn lanes_that_create_tables_in_one_new_schema_do_not_race() {
    let db = database().await;
    let mut destinations = Vec::new();
    for _ in 0..6 {
        destinations.push(db.destination().await);
    }
    for round in 0..10 {
        let work = destinations.iter().enumerate().map(|(lane, destination)| async move {
            // Two workers of a lane each: the schema and the table are raced for.
            let table = TableName::new(format!("fresh{round}"), format!("t{}", lane / 2));
            let columns = [column("id", "bigint", Some(0))];
            let create = Alteration::create(&table, &columns, &Bookkeeping::default()).unwrap();
            destination.alter(&origin(&table), &[create]).await
        });
        for result in futures::future::join_all(work).await {
            result.unwrap();
        }
    }
}

#[tokio::test]
async fn a_created_table_describes_as_it_was_proposed() {
    let db = database().await;
    let destination = db.destination().await;
    let table = TableName::new("Odd \"schema", "order's");
    let columns = [
        column("note", "text", None),
        column("b", "uuid", Some(1)),
        column("a", "numeric(10,2)", Some(0)),
        column("tags", "integer[]", None),
    ];
    let names = Bookkeeping::default();
    assert!(destination.describe(&table, &names).await.unwrap().is_none());
    let create = Alteration::create(&table, &columns, &names).unwrap();
    // Twice: another worker may have been first.
    let alter = async || destination.alter(&origin(&table), from_ref(&create)).await.unwrap();
    assert_eq!(alter().await, [create.clone()]);
    assert_eq!(alter().await, []);
    let described = destination.describe(&table, &names).await.unwrap().unwrap();
    assert!(described.refusals.is_empty() && described.warnings.is_empty(), "{described:?}");
    assert!(described.missing_bookkeeping.is_empty());
    let shape = described.shape;
    assert_eq!(
        shape.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["note", "b", "a", "tags"]
    );
    assert_eq!(shape.key, [2, 1]);
    assert_eq!(shape.columns[2].ty.sql, "numeric(10,2)");
    assert_eq!(shape.columns[2].ty.typmod, (10 << 16 | 2) + 4);
    assert_eq!((shape.columns[3].ty.element_oid, shape.columns[0].ty.element_oid), (23, 0));
    assert_eq!(
        shape.columns.iter().map(|c| c.not_null).collect::<Vec<_>>(),
        [false, true, true, false]
    );
}

#[tokio::test]
async fn domains_and_enums_tell_their_base() {
    let db = database().await;
    db.sql(
        "CREATE SCHEMA s; CREATE DOMAIN s.small AS int CHECK (VALUE < 10); CREATE DOMAIN s.tiny AS s.small; \
         CREATE DOMAIN s.list AS text[]; CREATE TYPE s.mood AS ENUM ('low'); \
         CREATE DOMAIN s.price AS numeric(8,3); CREATE DOMAIN s.cheap AS s.price; \
         CREATE TABLE s.orders (id s.tiny PRIMARY KEY, l s.list, m s.mood, c s.cheap)",
    )
    .await;
    let shape = db
        .destination()
        .await
        .describe(&orders(), &Bookkeeping::default())
        .await
        .unwrap()
        .unwrap()
        .shape;
    let types: Vec<_> =
        shape.columns.iter().map(|c| (c.ty.typtype, c.ty.base_oid, c.ty.element_oid)).collect();
    assert_eq!(types[..2], [('d', 23, 0), ('d', 1009, 25)]);
    assert_eq!((types[2].0, types[2].1, types[2].2), ('e', shape.columns[2].ty.oid, 0));
    assert_eq!(shape.columns[0].ty.sql, "s.tiny");
    // The domain would round silently: the conversion has to know its scale.
    assert_eq!(shape.columns[3].ty.typmod, ((8 << 16) | 3) + 4);
}

#[tokio::test]
async fn bookkeeping_is_added_to_a_table_with_rows_and_the_first_change_wins() {
    let db = database().await;
    db.sql("CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, name text); INSERT INTO s.orders VALUES (1, 'old')")
        .await;
    let destination = db.destination().await;
    let names = Bookkeeping::with_prefix("__");
    let described = destination.describe(&orders(), &names).await.unwrap().unwrap();
    assert_eq!(
        described.missing_bookkeeping,
        ["__version", "__deleted_at", "__source_ts", "__applied_at"]
    );
    assert!(described.refusals.is_empty());
    let add = Alteration::bookkeeping(&orders(), &names, described.missing_bookkeeping);
    destination.alter(&origin(&orders()), &[add]).await.unwrap();
    let described = destination.describe(&orders(), &names).await.unwrap().unwrap();
    assert!(described.missing_bookkeeping.is_empty() && described.refusals.is_empty());
    let mut lane = Lane::open(destination, Arc::new(described.shape), 1).await;
    assert_eq!(lane.counts(vec![whole(0, vec![I(1), T("new")])]).await, (1, 0));
    assert_eq!(db.rows("SELECT name FROM s.orders").await, [["new"]]);
}

#[tokio::test]
async fn a_column_is_added_once() {
    let db = database().await;
    db.sql("CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY)").await;
    let destination = db.destination().await;
    let add = Alteration::column(&orders(), &column("it's", "jsonb", None)).unwrap();
    let alter = async || destination.alter(&origin(&orders()), from_ref(&add)).await.unwrap();
    assert_eq!(alter().await, [add.clone()]);
    assert_eq!(alter().await, []);
    assert_eq!(
        db.rows("SELECT pipeline, schema_name, table_name, kind, column_name, topic, key_schema, value_schema, split_part(ddl, ';', 1) FROM silversink.schema_change").await,
        [["p", "s", "orders", "column", "it's", "t", "-", "7", "ALTER TABLE \"s\".\"orders\" ADD COLUMN IF NOT EXISTS \"it's\" jsonb"]]
    );
    let shape =
        destination.describe(&orders(), &Bookkeeping::default()).await.unwrap().unwrap().shape;
    assert_eq!(shape.columns[1].name, "it's");
}

#[tokio::test]
async fn ddl_that_fails_leaves_nothing_and_is_shown() {
    let db = database().await;
    let destination = db.destination().await;
    let table = TableName::new("public", "half");
    let key = column("id", "int", Some(0));
    let create = Alteration::create(&table, &[key], &Bookkeeping::default()).unwrap();
    let add = Alteration::column(&table, &column("x", "nonsense", None)).unwrap();
    let both = [create, add].map(|alteration| alteration.statements).concat();
    let create = Alteration { effect: Effect::Table, statements: both };
    let fault = destination.alter(&origin(&table), &[create]).await.unwrap_err();
    assert_eq!(fault.class, Class::Blocked);
    assert!(fault.hint.unwrap().contains("nonsense"));
    assert_eq!(db.value("SELECT count(*) FROM pg_class WHERE relname = 'half'").await, "0");
    assert_eq!(db.value("SELECT count(*) FROM silversink.schema_change").await, "0");
}

#[tokio::test]
async fn what_soft_deletes_do_not_survive_is_refused_and_named() {
    let bookkeeping = "_version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz";
    let cases: &[(&str, Code, &str)] = &[
        (
            "CREATE TABLE s.p (id int PRIMARY KEY); CREATE TABLE s.orders (id bigint PRIMARY KEY, \
          p int CONSTRAINT to_parent REFERENCES s.p, {B})",
            Code::ConstraintUnsupported,
            "to_parent",
        ),
        (
            "CREATE TABLE s.orders (id bigint PRIMARY KEY, e text CONSTRAINT one_mail UNIQUE, {B})",
            Code::ConstraintUnsupported,
            "one_mail",
        ),
        (
            "CREATE TABLE s.orders (id bigint PRIMARY KEY, e text, {B}); CREATE UNIQUE INDEX some_mail ON s.orders (e) WHERE id > 5",
            Code::ConstraintUnsupported,
            "some_mail",
        ),
        (
            "CREATE TABLE s.orders (id bigint PRIMARY KEY, r int4range, {B}, CONSTRAINT apart EXCLUDE USING gist (r WITH &&))",
            Code::ConstraintUnsupported,
            "apart",
        ),
        (
            "CREATE TABLE s.orders (id bigint CONSTRAINT late PRIMARY KEY DEFERRABLE, {B})",
            Code::ConstraintUnsupported,
            "late",
        ),
        (
            "CREATE TABLE s.orders (id bigint PRIMARY KEY, e text NOT NULL DEFAULT 'x', {B})",
            Code::ConstraintUnsupported,
            "NOT NULL beside its key, on \"e\"",
        ),
        ("CREATE TABLE s.orders (id bigint, {B})", Code::KeyMismatch, "no primary key"),
        (
            "CREATE TABLE s.orders (id bigint PRIMARY KEY, {B}); CREATE RULE quiet AS ON INSERT TO s.orders DO INSTEAD NOTHING",
            Code::ConstraintUnsupported,
            "quiet",
        ),
        ("CREATE VIEW s.orders AS SELECT 1 AS id", Code::ConstraintUnsupported, "view"),
        (
            "CREATE TABLE s.orders (id bigint PRIMARY KEY, _version text NOT NULL)",
            Code::TypeMismatch,
            "_version",
        ),
        (
            "CREATE TABLE s.orders (id bigint PRIMARY KEY, _version bytea)",
            Code::TypeMismatch,
            "NULL",
        ),
        (
            "CREATE TABLE s.orders (id bigint PRIMARY KEY, _deleted_at bool)",
            Code::TypeMismatch,
            "_deleted_at",
        ),
    ];
    for (text, code, named) in cases {
        let db = database().await;
        db.sql(&format!("CREATE SCHEMA s; {}", text.replace("{B}", bookkeeping))).await;
        let described = db
            .destination()
            .await
            .describe(&orders(), &Bookkeeping::default())
            .await
            .unwrap()
            .unwrap();
        let found = described.refusals.iter().find(|f| f.code == *code && f.text.contains(named));
        assert!(
            found.is_some_and(|f| f.class == Class::Blocked && f.hint.is_some()),
            "{text}: {:?}",
            described.refusals
        );
    }
}

#[tokio::test]
async fn row_security_and_missing_grants_are_refused_for_the_role_they_bind() {
    let db = database().await;
    db.sql(
        "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY); ALTER TABLE s.orders ENABLE ROW LEVEL SECURITY; \
         CREATE ROLE bound LOGIN PASSWORD 'bound'; GRANT USAGE ON SCHEMA s TO bound; GRANT SELECT ON s.orders TO bound",
    )
    .await;
    let names = Bookkeeping::default();
    assert!(
        db.destination()
            .await
            .describe(&orders(), &names)
            .await
            .unwrap()
            .unwrap()
            .refusals
            .is_empty()
    );
    let bound = connect(&db.url_with("bound", "bound")).await.unwrap();
    let refusals = bound.describe(&orders(), &names).await.unwrap().unwrap().refusals;
    let codes: Vec<Code> = refusals.iter().map(|f| f.code).collect();
    assert_eq!(
        codes,
        [Code::ConstraintUnsupported, Code::PrivilegeMissing, Code::PrivilegeMissing]
    );
    db.sql("DROP OWNED BY bound; DROP ROLE bound").await;
}

#[tokio::test]
async fn what_may_hurt_is_a_warning() {
    let db = database().await;
    db.sql(
        "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, e text, \
         _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz); \
         CREATE UNIQUE INDEX live ON s.orders (e) WHERE _deleted_at IS NULL; \
         CREATE FUNCTION s.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER loud BEFORE INSERT ON s.orders FOR EACH ROW EXECUTE FUNCTION s.f()",
    )
    .await;
    let described =
        db.destination().await.describe(&orders(), &Bookkeeping::default()).await.unwrap().unwrap();
    assert!(described.refusals.is_empty(), "{:?}", described.refusals);
    let all = described.warnings.join("\n");
    assert!(all.contains("\"live\"") && all.contains("\"loud\""), "{all}");
}
