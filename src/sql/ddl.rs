//! DDL of Silver tables: created, completed, widened by columns; and the text that would help when we may not.

use super::ident;
use super::ledger::LOCK_KEY;
use crate::fault::{Code, Fault};
use crate::table::{Bookkeeping, ProposedColumn, TableName};
use crate::version::Version;
use postgres_protocol::escape::escape_literal;

/// Statements that create a Silver table: schema, table with the record key as primary key (only the key is NOT NULL,
/// because a delete of an unseen key leaves a marked stub), fillfactor 90 for HOT updates, comments.
///
/// # Errors
/// Blocked: a name that PostgreSQL would shorten (I11), two columns of one name, a column that meets a bookkeeping name,
/// or no key column.
pub fn create_table(
    table: &TableName,
    columns: &[ProposedColumn],
    names: &Bookkeeping,
) -> Result<Vec<String>, Fault> {
    ident::check(&table.schema)?;
    ident::check(&table.name)?;
    check_columns(table, columns, names)?;
    let mut key: Vec<&ProposedColumn> = columns.iter().filter(|c| c.key.is_some()).collect();
    key.sort_by_key(|c| c.key);
    if key.is_empty() {
        return Err(Fault::blocked(
            Code::KeyMismatch,
            format!("table {table} cannot be created: the record key names no column"),
            "set `key` for the table, or give the topic's records a key",
        ));
    }
    let mut lines: Vec<String> = columns
        .iter()
        .map(|c| {
            let not_null = if c.key.is_some() { " NOT NULL" } else { "" };
            format!("  {} {}{not_null}", ident::quote(&c.name), c.sql_type)
        })
        .collect();
    lines.push(format!("  {} bytea NOT NULL", ident::quote(&names.version)));
    for name in [&names.deleted_at, &names.source_ts, &names.applied_at] {
        lines.push(format!("  {} timestamptz", ident::quote(name)));
    }
    lines.push(format!("  PRIMARY KEY ({})", ident::list(key.iter().map(|c| c.name.as_str()))));
    let mut statements = vec![
        create_schema(&table.schema),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\n{}\n) WITH (fillfactor = 90)",
            ident::table(table),
            lines.join(",\n")
        ),
    ];
    statements.extend(columns.iter().filter_map(|c| comment(table, c)));
    Ok(statements)
}

/// Creates a schema unless it exists. `CREATE SCHEMA IF NOT EXISTS` asks for the privilege before it looks, so a role
/// that may only use the schema would fail on it. The advisory lock orders all who create tables: `IF NOT EXISTS` looks
/// before it waits, so two that create one object at the same time would meet in the catalogue's unique indexes.
fn create_schema(schema: &str) -> String {
    let body = format!(
        "BEGIN PERFORM pg_catalog.pg_advisory_xact_lock({LOCK_KEY}); \
         IF pg_catalog.to_regnamespace({}) IS NULL THEN CREATE SCHEMA IF NOT EXISTS {}; END IF; END",
        escape_literal(&ident::quote(schema)),
        ident::quote(schema)
    );
    format!("DO {}", escape_literal(&body))
}

/// Statements that add missing bookkeeping columns to an existing table. Rows that are there already get the lowest
/// version there is, so that the first change of each wins.
#[must_use]
pub fn add_bookkeeping(table: &TableName, names: &Bookkeeping, missing: &[String]) -> Vec<String> {
    missing
        .iter()
        .map(|name| {
            let quoted = ident::quote(name);
            let ty = if *name == names.version {
                format!("bytea NOT NULL DEFAULT '\\x{}'", "00".repeat(Version::LEN))
            } else {
                "timestamptz".to_owned()
            };
            format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {quoted} {ty}", ident::table(table))
        })
        .collect()
}

/// Statements that add one data column.
///
/// # Errors
/// Blocked when PostgreSQL would shorten the name (I11).
pub fn add_column(table: &TableName, column: &ProposedColumn) -> Result<Vec<String>, Fault> {
    ident::check(&column.name)?;
    let mut statements = vec![format!(
        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}",
        ident::table(table),
        ident::quote(&column.name),
        column.sql_type
    )];
    statements.extend(comment(table, column));
    Ok(statements)
}

/// What would help when a column's type cannot hold the source column: text for a hint, never executed. `USING`, because few
/// types become another without being told.
#[must_use]
pub fn alter_type(table: &TableName, column: &str, sql_type: &str) -> String {
    let (table, column) = (ident::table(table), ident::quote(column));
    format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {sql_type} USING {column}::{sql_type}")
}

/// Statements as one text for a hint.
#[must_use]
pub fn script(statements: &[String]) -> String {
    let mut text = String::new();
    for statement in statements {
        text.push_str(statement);
        text.push_str(";\n");
    }
    text
}

fn comment(table: &TableName, column: &ProposedColumn) -> Option<String> {
    column.comment.as_ref().map(|text| {
        format!(
            "COMMENT ON COLUMN {}.{} IS {}",
            ident::table(table),
            ident::quote(&column.name),
            escape_literal(&text.replace('\0', ""))
        )
    })
}

fn check_columns(
    table: &TableName,
    columns: &[ProposedColumn],
    names: &Bookkeeping,
) -> Result<(), Fault> {
    let mut seen: Vec<&str> = names.names().to_vec();
    for name in &seen {
        ident::check(name)?;
    }
    for column in columns {
        ident::check(&column.name)?;
        if seen.contains(&column.name.as_str()) {
            return Err(Fault::blocked(
                Code::TypeMismatch,
                format!(
                    "table {table} cannot be created: the name {:?} stands for two columns",
                    column.name
                ),
                "choose another prefix for the bookkeeping columns, or rename the source column",
            ));
        }
        seen.push(&column.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, key: Option<usize>) -> ProposedColumn {
        ProposedColumn { name: name.into(), sql_type: "bigint".into(), key, comment: None }
    }

    #[test]
    fn the_key_stands_in_the_order_of_the_record_key() {
        let columns = [column("a", Some(1)), column("b", Some(0)), column("c", None)];
        let ddl =
            create_table(&TableName::new("s", "t"), &columns, &Bookkeeping::default()).unwrap();
        assert!(ddl[1].contains("PRIMARY KEY (\"b\", \"a\")"), "{}", ddl[1]);
        assert!(ddl[1].contains("\"c\" bigint,"), "{}", ddl[1]);
    }

    #[test]
    fn a_source_column_named_like_bookkeeping_is_refused() {
        let columns = [column("_version", Some(0))];
        let fault =
            create_table(&TableName::new("s", "t"), &columns, &Bookkeeping::default()).unwrap_err();
        assert_eq!(fault.code, Code::TypeMismatch);
    }

    #[test]
    fn a_table_without_key_is_refused() {
        let fault =
            create_table(&TableName::new("s", "t"), &[column("a", None)], &Bookkeeping::default());
        assert_eq!(fault.unwrap_err().code, Code::KeyMismatch);
    }
}
