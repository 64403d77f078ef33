//! DDL of Silver tables: created, completed, widened; and the text that would help where we may not.
//!
//! # Decisions
//! - A new column is nullable and has no default, whatever the source's has. The default in a schema is not to be trusted
//!   for rows that are not written again: a function's default appears as the type's zero, a lagging connector shows the
//!   default of today, and it must not depend on the order of arrival which rows got it. Such a row has NULL until it is
//!   written or snapshotted again (a re-snapshot or a rebuild brings the source's values).

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

/// Widens a column: no `USING`, because the new type holds every value of the old one as it is.
#[must_use]
pub fn widen(table: &TableName, column: &str, sql_type: &str) -> String {
    format!(
        "ALTER TABLE {} ALTER COLUMN {} TYPE {sql_type}",
        ident::table(table),
        ident::quote(column)
    )
}

/// Gives an enum type a label; `sql_type` as `format_type` prints it, which is a name that can be used as it stands.
#[must_use]
pub fn add_label(sql_type: &str, label: &str) -> String {
    format!(
        "ALTER TYPE {sql_type} ADD VALUE IF NOT EXISTS {}",
        escape_literal(&label.replace('\0', ""))
    )
}

/// What would help when a column's type cannot hold the source column: text for a hint, never executed. `USING`, because few
/// types become another without being told. Debezium's timestamps without zone are local time as if it were UTC, so UTC is
/// what joins them with timestamps that have one, whatever the session's own zone.
#[must_use]
pub fn alter_type(table: &TableName, column: &str, from: &str, to: &str) -> String {
    let (table, column) = (ident::table(table), ident::quote(column));
    let zoned = |ty: &str| ty.starts_with("timestamptz") || ty.ends_with("with time zone");
    let cut = |ty: &str| ty.starts_with("varchar(") || ty.starts_with("char");
    let cast =
        if from.starts_with("timestamp") && to.starts_with("timestamp") && zoned(from) != zoned(to)
        {
            format!("{column} AT TIME ZONE 'UTC'")
        } else if cut(to) {
            // A cast to the length itself would cut; what assigns the text refuses.
            format!("{column}::text")
        } else {
            format!("{column}::{to}")
        };
    format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {to} USING {cast}")
}

/// What makes a Silver column as narrow as its source column has become: text for a hint, never executed. No `USING`:
/// PostgreSQL then refuses numbers that are too large and texts that are too long. Digits behind the point and blanks at the
/// end it drops in silence, so a query to look first stands beside it.
#[must_use]
pub fn narrow(table: &TableName, column: &str, to: &str) -> Vec<String> {
    let mut statements = vec![widen(table, column, to), put_aside(table, column)];
    if !matches!(to, "smallint" | "integer") {
        let (table, column) = (ident::table(table), ident::quote(column));
        let look = format!(
            "-- look first, which values it would change: SELECT count(*) FROM {table} WHERE {column} <> {column}::{to}"
        );
        statements.insert(0, look);
    }
    statements
}

/// Another way out of a changed type, which never fails: the column keeps its values under another name, and the new one
/// is added. As a comment behind the statement that converts.
#[must_use]
pub fn put_aside(table: &TableName, column: &str) -> String {
    format!(
        "-- or keep the old values under another name: ALTER TABLE {} RENAME COLUMN {} TO {}",
        ident::table(table),
        ident::quote(column),
        ident::quote(&format!("{column}_before"))
    )
}

/// What joins a renamed column's old and new values once both columns exist; without the new one, a plain rename. Text for
/// people, never executed: that it was a rename is a guess.
#[must_use]
pub fn join_renamed(table: &TableName, from: &str, to: &str) -> Vec<String> {
    let (table, from, to) = (ident::table(table), ident::quote(from), ident::quote(to));
    vec![
        format!("UPDATE {table} SET {to} = {from} WHERE {to} IS NULL AND {from} IS NOT NULL"),
        format!("ALTER TABLE {table} DROP COLUMN {from}"),
    ]
}

/// Gives a table another primary key: text for a hint, never executed. Columns that were in the key stay NOT NULL when its
/// constraint goes, which deletes of unseen keys do not survive.
#[must_use]
pub fn change_key(
    table: &TableName,
    constraint: Option<&str>,
    key: &[String],
    freed: &[String],
) -> String {
    let drop = constraint
        .map(|name| format!("DROP CONSTRAINT {}, ", ident::quote(name)))
        .unwrap_or_default();
    let key = ident::list(key.iter().map(String::as_str));
    let freed: String = freed
        .iter()
        .map(|column| format!(", ALTER COLUMN {} DROP NOT NULL", ident::quote(column)))
        .collect();
    format!("ALTER TABLE {} {drop}ADD PRIMARY KEY ({key}){freed}", ident::table(table))
}

/// Statements as one text for a hint.
#[must_use]
pub fn script(statements: &[String]) -> String {
    let mut text = String::new();
    for statement in statements {
        text.push_str(statement);
        // A comment is no statement.
        text.push_str(if statement.starts_with("--") { "\n" } else { ";\n" });
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
    fn no_ddl_of_a_hint_cuts_a_text() {
        let table = TableName::new("s", "t");
        let to_text = alter_type(&table, "c", "integer", "varchar(3)");
        assert!(to_text.ends_with("TYPE varchar(3) USING \"c\"::text"), "{to_text}");
        let shorter = narrow(&table, "c", "varchar(3)");
        assert!(shorter[1].ends_with("TYPE varchar(3)"), "{shorter:?}");
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
