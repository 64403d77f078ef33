//! Compares Silver tables with what the source held at the end: every row, every column, every deleted key.

use crate::demo::capture::{DeletedKey, TableTruth, TextRow};
use crate::fault::Fault;
use crate::postgres::readback::Readback;
use crate::table::{Bookkeeping, TableName};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// A key as text, in the order of the key's columns.
pub type KeyText = Vec<Option<String>>;

/// Where Silver and the source differ. [`fmt::Display`] quotes values: it is for captures, never for users' rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Silver table.
    pub table: TableName,
    /// Key as `column=value` pairs.
    pub key: String,
    /// What is wrong with that row.
    pub what: Mismatch,
}

/// What is wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The source has the row, Silver has no live one.
    Missing,
    /// The source has the row, Silver has it marked deleted.
    MarkedButLive,
    /// Silver has a live row that the source deleted.
    LiveButDeleted,
    /// Silver has a row (live or marked) of a key that the source never had.
    Unknown,
    /// The source deleted the row, Silver has no marked row to remember it by.
    NotRemembered,
    /// Silver has more than one row of that key.
    Twice,
    /// A column's text differs.
    Column {
        /// Column name.
        column: String,
        /// Text at the source.
        expected: Option<String>,
        /// Text in Silver.
        found: Option<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): ", self.table, self.key)?;
        match &self.what {
            Mismatch::Missing => f.write_str("is at the source, not in Silver"),
            Mismatch::MarkedButLive => {
                f.write_str("is at the source, but marked deleted in Silver")
            }
            Mismatch::LiveButDeleted => f.write_str("is deleted at the source, but live in Silver"),
            Mismatch::Unknown => f.write_str("is in Silver, but never was at the source"),
            Mismatch::NotRemembered => {
                f.write_str("is deleted at the source, without a mark in Silver")
            }
            Mismatch::Twice => f.write_str("stands in Silver more than once"),
            Mismatch::Column { column, expected, found } => {
                let shown = |text: &Option<String>| match text {
                    Some(text) => format!("{text:?}"),
                    None => "NULL".to_owned(),
                };
                write!(f, "{column} is {}, should be {}", shown(found), shown(expected))
            }
        }
    }
}

/// The outcome for one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableVerdict {
    /// Silver table.
    pub table: TableName,
    /// Live rows in Silver.
    pub live: u64,
    /// Rows marked deleted in Silver.
    pub deleted: u64,
    /// Live rows that the topic alone does not tell to be gone; no difference.
    pub untold: u64,
    /// Number of differences, also those that are not listed.
    pub difference_count: u64,
    /// The first differences, in the order of keys.
    pub differences: Vec<Difference>,
    /// SHA-256 over the source's rows and deleted keys, sorted by key.
    pub expected_checksum: [u8; 32],
    /// The same over Silver's live and marked rows.
    pub found_checksum: [u8; 32],
}

impl TableVerdict {
    /// No difference, and equal checksums.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.difference_count == 0 && self.expected_checksum == self.found_checksum
    }
}

/// Reads a Silver table and compares it with its source; at most `limit` differences are listed.
///
/// # Errors
/// What [`Readback::query`] returns, e.g. for a missing table or column.
pub async fn verify(
    readback: &Readback,
    silver: &TableName,
    bookkeeping: &Bookkeeping,
    truth: &TableTruth,
    limit: usize,
) -> Result<TableVerdict, Fault> {
    let rows = readback.query(&select(silver, bookkeeping, &truth.columns)).await?;
    Ok(compare(silver, truth, &rows, limit))
}

/// One checksum for all tables, in the order of their names: hexadecimal, source and Silver.
#[must_use]
pub fn checksums(verdicts: &[TableVerdict]) -> (String, String) {
    let mut sorted: Vec<&TableVerdict> = verdicts.iter().collect();
    sorted.sort_by_key(|verdict| &verdict.table);
    let (mut expected, mut found) = (Sha256::new(), Sha256::new());
    for verdict in sorted {
        expected.update(verdict.expected_checksum);
        found.update(verdict.found_checksum);
    }
    (format!("{:x}", expected.finalize()), format!("{:x}", found.finalize()))
}

fn select(silver: &TableName, bookkeeping: &Bookkeeping, columns: &[String]) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut list = format!("({} IS NULL)::text", quoted(&bookkeeping.deleted_at));
    for column in columns {
        list.push_str(", ");
        list.push_str(&quoted(column));
        list.push_str("::text");
    }
    format!("SELECT {list} FROM {}.{}", quoted(&silver.schema), quoted(&silver.name))
}

/// Where a key stands, on either side.
enum Source<'t> {
    Live(&'t TextRow),
    Deleted(&'t DeletedKey),
}

struct Found<'r> {
    live: bool,
    values: &'r [Option<String>],
}

/// The comparison itself, for tables with a key. A row of `rows` is "is it live" (`true` or `false`) and then the truth's columns.
fn compare(
    silver: &TableName,
    truth: &TableTruth,
    rows: &[Vec<Option<String>>],
    limit: usize,
) -> TableVerdict {
    let mut source: BTreeMap<KeyText, Source<'_>> = BTreeMap::new();
    source.extend(truth.deleted.iter().map(|gone| (key(truth, &gone.key), Source::Deleted(gone))));
    source.extend(truth.rows.iter().map(|row| (key(truth, row), Source::Live(row))));
    let mut found: BTreeMap<KeyText, Found<'_>> = BTreeMap::new();
    let mut differences = Differences { silver, truth, limit, count: 0, first: Vec::new() };
    let mut untold = 0;
    for row in rows {
        let Some((live, values)) = row.split_first() else { continue };
        let live = live.as_deref() == Some("true");
        let key = key_of_values(truth, values);
        if found.contains_key(&key) {
            differences.add(&key, Mismatch::Twice);
        }
        found.insert(key, Found { live, values });
    }

    for (key, at_source) in &source {
        match (at_source, found.get(key)) {
            (Source::Live(_), None) => differences.add(key, Mismatch::Missing),
            (Source::Live(_), Some(row)) if !row.live => {
                differences.add(key, Mismatch::MarkedButLive);
            }
            (Source::Live(expected), Some(row)) => differences.add_columns(key, expected, row),
            (Source::Deleted(gone), Some(row)) if row.live && gone.must_be_marked() => {
                differences.add(key, Mismatch::LiveButDeleted);
            }
            (Source::Deleted(gone), None) if gone.must_be_marked() => {
                differences.add(key, Mismatch::NotRemembered);
            }
            (Source::Deleted(_), Some(row)) if row.live => untold += 1,
            (Source::Deleted(_), _) => {}
        }
    }
    for key in found.keys().filter(|key| !source.contains_key(*key)) {
        differences.add(key, Mismatch::Unknown);
    }

    let live = found.values().filter(|row| row.live).count() as u64;
    TableVerdict {
        table: silver.clone(),
        live,
        deleted: found.len() as u64 - live,
        untold,
        difference_count: differences.count,
        differences: differences.first,
        expected_checksum: expected_checksum(truth, &source),
        found_checksum: found_checksum(truth, &found, &source),
    }
}

struct Differences<'t> {
    silver: &'t TableName,
    truth: &'t TableTruth,
    limit: usize,
    count: u64,
    first: Vec<Difference>,
}

impl Differences<'_> {
    fn add(&mut self, key: &KeyText, what: Mismatch) {
        self.count += 1;
        if self.first.len() < self.limit {
            let pairs = self.truth.key.iter().zip(key);
            let pairs =
                pairs.map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("NULL")));
            let key = pairs.collect::<Vec<_>>().join(", ");
            self.first.push(Difference { table: self.silver.clone(), key, what });
        }
    }

    fn add_columns(&mut self, key: &KeyText, expected: &TextRow, found: &Found<'_>) {
        for (column, found) in self.truth.columns.iter().zip(found.values) {
            let expected = expected.get(column).cloned().flatten();
            if expected != *found {
                let (column, found) = (column.clone(), found.clone());
                self.add(key, Mismatch::Column { column, expected, found });
            }
        }
    }
}

fn key(truth: &TableTruth, row: &TextRow) -> KeyText {
    truth.key.iter().map(|column| row.get(column).cloned().flatten()).collect()
}

fn key_of_values(truth: &TableTruth, values: &[Option<String>]) -> KeyText {
    let of = |name: &String| {
        let at = truth.columns.iter().position(|column| column == name)?;
        values.get(at)?.clone()
    };
    truth.key.iter().map(of).collect()
}

/// Feeds rows in the order of keys: for each a tag, then every value with its length, so that no two tables of rows
/// give the same bytes.
struct Checksum(Sha256);

impl Checksum {
    fn new(truth: &TableTruth) -> Self {
        let mut this = Self(Sha256::new());
        for name in truth.key.iter().chain(&truth.columns) {
            this.value(Some(name));
        }
        this
    }

    fn row<'v>(&mut self, tag: u8, values: impl Iterator<Item = Option<&'v str>>) {
        self.0.update([tag]);
        values.for_each(|value| self.value(value));
    }

    fn value(&mut self, value: Option<&str>) {
        match value {
            None => self.0.update([0]),
            Some(text) => {
                self.0.update([1]);
                self.0.update((text.len() as u64).to_be_bytes());
                self.0.update(text);
            }
        }
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

fn expected_checksum(truth: &TableTruth, source: &BTreeMap<KeyText, Source<'_>>) -> [u8; 32] {
    let mut checksum = Checksum::new(truth);
    for (key, row) in source {
        match row {
            Source::Live(row) => {
                let values = truth.columns.iter().map(|c| row.get(c).and_then(Option::as_deref));
                checksum.row(b'l', values);
            }
            Source::Deleted(gone) if gone.must_be_marked() => {
                checksum.row(b'd', key.iter().map(Option::as_deref));
            }
            Source::Deleted(_) => {}
        }
    }
    checksum.finish()
}

/// Rows that the topic alone cannot tell to be gone count on neither side.
fn found_checksum(
    truth: &TableTruth,
    found: &BTreeMap<KeyText, Found<'_>>,
    source: &BTreeMap<KeyText, Source<'_>>,
) -> [u8; 32] {
    let mut checksum = Checksum::new(truth);
    for (key, row) in found {
        let untold =
            matches!(source.get(key), Some(Source::Deleted(gone)) if !gone.must_be_marked());
        match row.live {
            _ if untold => {}
            true => checksum.row(b'l', row.values.iter().map(Option::as_deref)),
            false => checksum.row(b'd', key.iter().map(Option::as_deref)),
        }
    }
    checksum.finish()
}

#[cfg(test)]
#[path = "ground_truth_tests.rs"]
mod tests;
