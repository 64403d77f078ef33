//! Which source tables are at risk, because their topics cannot tell everything that happened.

use super::{Finding, Severity};
use crate::postgres::readback::Readback;
use crate::sql::source::TABLES;

/// A source table as its catalogue has it; a row of [`TABLES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTable {
    /// Schema and name, as Debezium writes them into the topic name.
    pub name: String,
    /// `pg_class.relreplident`: `d`efault, `f`ull, `i`ndex, `n`othing.
    pub identity: String,
    /// It has a primary key.
    pub has_key: bool,
    /// The primary key is deferrable.
    pub deferrable: bool,
    /// The index that is the replica identity and not the primary key.
    pub identity_index: Option<String>,
    /// Columns whose unchanged large values arrive as NULL unless the identity is full.
    pub null_shaped: Option<String>,
    /// Nullable columns with a default.
    pub nullable_defaults: Option<String>,
    /// Generated columns.
    pub generated: Option<String>,
    /// Columns that Debezium leaves out.
    pub left_out: Option<String>,
    /// Arrays that Debezium reads as NULL, or as NULLs: of bits, of several dimensions, of an enum and NULL.
    pub unreadable: Option<String>,
    /// Columns of `bit varying`.
    pub varying_bits: Option<String>,
}

/// Examines the source's tables whose topics are read (every table when no topic is known).
pub(super) async fn check(url: &str, topics: &[String], findings: &mut Vec<Finding>) {
    let rows = match Readback::connect(url).await {
        Ok(source) => source.query(TABLES).await,
        Err(fault) => Err(fault),
    };
    let tables: Vec<SourceTable> = match rows {
        Ok(rows) => rows.into_iter().map(source_table).collect(),
        Err(fault) => {
            findings.push(Finding::broken("source", &fault));
            return;
        }
    };
    let read: Vec<&SourceTable> =
        tables.iter().filter(|table| topics.is_empty() || is_read(&table.name, topics)).collect();
    let before = findings.len();
    findings.extend(read.iter().flat_map(|table| risks(table)));
    let at_risk = findings[before..].iter().filter(|f| f.severity > Severity::Fine).count();
    findings.push(Finding::fine(
        "source",
        format!("{} tables examined, {at_risk} risks found", read.len()),
    ));
}

fn is_read(table: &str, topics: &[String]) -> bool {
    topics.iter().any(|topic| topic.strip_suffix(table).is_some_and(|rest| rest.ends_with('.')))
}

/// Everything that the topic of this table cannot tell.
#[must_use]
pub fn risks(table: &SourceTable) -> Vec<Finding> {
    let name = &table.name;
    let mut found = Vec::new();
    let mut risk = |text: String, help: String| found.push(Finding::risk("source", text, help));
    let full = format!("ALTER TABLE {name} REPLICA IDENTITY FULL");
    if !table.has_key {
        risk(
            format!("{name} has no primary key: its records have no key, and no row can be found by them"),
            "add a primary key, or set message.key.columns in the connector and the identity to full".to_owned(),
        );
    }
    if let Some(index) = &table.identity_index {
        risk(
            format!(
                "{name} has index {index} as replica identity, which is not the primary key: deletes arrive with invented keys"
            ),
            format!("ALTER TABLE {name} REPLICA IDENTITY DEFAULT, or FULL"),
        );
    }
    if table.deferrable {
        risk(
            format!(
                "{name} has a deferrable primary key: keys that exchange rows inside one transaction cannot be told"
            ),
            "make the key not deferrable, or do not move keys onto living ones in one transaction"
                .to_owned(),
        );
    }
    if table.identity == "n" {
        risk(
            format!(
                "{name} has replica identity nothing: its updates and deletes are refused or not published"
            ),
            full.clone(),
        );
    }
    if table.identity != "f"
        && let Some(columns) = &table.null_shaped
    {
        risk(
            format!(
                "{name}: unchanged large values of {columns} arrive as NULL, and nothing in the record tells that from a real NULL"
            ),
            full,
        );
    }
    if let Some(columns) = &table.nullable_defaults {
        risk(
            format!("{name}: {columns} may be NULL and have a default: with the converters' standard settings a NULL arrives as the default"),
            "set value.converter.replace.null.with.default=false (JSON) or ignore.default.for.nullables=true (Avro) in the connector"
                .to_owned(),
        );
    }
    if let Some(columns) = &table.generated {
        risk(
            format!(
                "{name}: generated columns {columns} are in snapshot rows and absent from the stream"
            ),
            "let the Silver table generate them itself, or leave them out with column.exclude.list"
                .to_owned(),
        );
    }
    if let Some(columns) = &table.left_out {
        risk(
            format!("{name}: Debezium leaves out {columns}, whose types it does not know"),
            "set include.unknown.datatypes=true in the connector, or keep a copy of another type (text) at the source, in a column that a trigger fills".to_owned(),
        );
    }
    if let Some(columns) = &table.unreadable {
        risk(
            format!("{name}: {columns} may arrive as NULL or with NULL in place of their elements: Debezium cannot read bit(n)[], arrays of several dimensions, nor arrays of an enum that hold a NULL"),
            "leave them out with column.exclude.list, or keep a copy of another type (text) at the source, in a column that a trigger fills".to_owned(),
        );
    }
    if let Some(columns) = &table.varying_bits {
        risk(
            format!("{name}: {columns} of bit varying arrive without their leading zeros; where the connector does not propagate the source's type, nothing tells them from bit(n), which Silver's new columns then are"),
            "set column.propagate.source.type=.* in the connector, and keep the length beside if the zeros matter".to_owned(),
        );
    }
    found
}

fn source_table(row: Vec<Option<String>>) -> SourceTable {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let schema = next().unwrap_or_default();
    let table = next().unwrap_or_default();
    SourceTable {
        name: format!("{schema}.{table}"),
        identity: next().unwrap_or_default(),
        has_key: next().as_deref() == Some("t"),
        deferrable: next().as_deref() == Some("t"),
        identity_index: next(),
        null_shaped: next(),
        nullable_defaults: next(),
        generated: next(),
        left_out: next(),
        unreadable: next(),
        varying_bits: next(),
    }
}
