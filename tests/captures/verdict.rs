//! Compares Silver with what the source held, row by row, once for each state of a table that an order ends in.

use crate::worker::Lane;
use sha2::{Digest as _, Sha256};
use silversink::demo::capture::{Capture, TableTruth};
use silversink::demo::ground_truth;
use silversink::fault::Fault;
use silversink::postgres::readback::Readback;
use silversink::table::{Bookkeeping, TableName};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Longer lines are cut, and told apart by a checksum.
const WIDTH: usize = 220;

/// What is not equal in one table, one line each; empty when everything is as it should be.
pub type Differences = BTreeSet<String>;

struct Checked {
    table: TableName,
    truth: TableTruth,
    /// Lines about the table itself, the same after every order.
    beforehand: Vec<String>,
    /// Keys of which the topic does not tell that they are gone.
    ghosts: u64,
}

/// Knows what each table should hold.
pub struct Judge {
    tables: Vec<Checked>,
    /// Tables that were never made, and why.
    missing: Differences,
    known: HashMap<(usize, String), Arc<Differences>>,
    /// Rows of all tables, the deleted ones too.
    pub rows: u64,
}

impl Judge {
    pub fn new(
        capture: &Capture,
        lanes: &[Lane],
        stopped: &BTreeMap<String, (i64, Fault)>,
    ) -> Self {
        let mut tables = Vec::new();
        let mut rows = 0;
        let mut missing = Differences::new();
        for mut truth in capture.truth().unwrap() {
            let mut beforehand = Vec::new();
            if let Some((offset, fault)) = stopped.get(&truth.name) {
                let line = format!("{}: stops at offset {offset}: {fault}", truth.name);
                beforehand.push(cut(&line));
            }
            let Some(lane) = lanes.iter().find(|lane| lane.table.name == truth.name) else {
                missing.extend(beforehand);
                missing.insert(format!("{}: is not in Silver", truth.name));
                continue;
            };
            // A table without a key at the source cannot be compared row by row.
            if truth.key.is_empty() {
                missing.extend(beforehand);
                missing.insert(format!("{}: has no key", truth.name));
                continue;
            }
            let shape = lane.shape.as_ref().unwrap();
            truth.columns.retain(|column| {
                let there = shape.column(column).is_some();
                if !there {
                    beforehand.push(format!("{}: column {column} is not in Silver", truth.name));
                }
                there
            });
            let ghosts = truth.deleted.iter().filter(|d| d.in_topic && !d.must_be_marked()).count();
            rows += (truth.rows.len() + truth.deleted.len()) as u64;
            tables.push(Checked {
                table: lane.table.clone(),
                truth,
                beforehand,
                ghosts: ghosts as u64,
            });
        }
        Self { tables, missing, known: HashMap::new(), rows }
    }

    /// Everything that differs now, of all tables.
    pub async fn differences(&mut self, readback: &Readback) -> Differences {
        if self.tables.is_empty() {
            return self.missing.clone();
        }
        let digests = self.digests(readback).await;
        let mut all = self.missing.clone();
        for (at, digest) in digests.into_iter().enumerate() {
            let known = match self.known.get(&(at, digest.clone())) {
                Some(known) => Arc::clone(known),
                None => {
                    let found = Arc::new(self.tables[at].differences(readback).await);
                    self.known.insert((at, digest), Arc::clone(&found));
                    found
                }
            };
            all.extend(known.iter().cloned());
        }
        all
    }

    /// A checksum of each table's live rows and deleted keys.
    pub async fn digests(&self, readback: &Readback) -> Vec<String> {
        let each: Vec<String> = self.tables.iter().map(Checked::digest).collect();
        let rows = readback.query(&format!("SELECT {}", each.join(", "))).await.unwrap();
        rows[0].iter().map(|digest| digest.clone().unwrap_or_default()).collect()
    }

    /// Where every row of every table stands on disk: equal when nothing was written in between.
    pub async fn places(&self, readback: &Readback) -> Vec<String> {
        let place = |checked: &Checked| {
            format!(
                "(SELECT md5(string_agg(t.ctid::text || t.xmin::text, ' ' ORDER BY t.ctid)) FROM {} AS t)",
                quoted(&checked.table)
            )
        };
        let each: Vec<String> = self.tables.iter().map(place).collect();
        let rows = readback.query(&format!("SELECT {}", each.join(", "))).await.unwrap();
        rows[0].iter().map(|digest| digest.clone().unwrap_or_default()).collect()
    }

    /// For the test of the test: the first table's first row is expected with another value.
    pub fn spoil(&mut self) {
        self.known.clear();
        let truth = &mut self.tables[0].truth;
        let column = truth.columns.iter().find(|c| !truth.key.contains(c)).unwrap().clone();
        truth.rows[0].insert(column, Some("never written".to_owned()));
    }
}

fn quoted(table: &TableName) -> String {
    format!("\"{}\".\"{}\"", table.schema, table.name)
}

impl Checked {
    fn digest(&self) -> String {
        let list = |names: &[String]| {
            names.iter().map(|name| format!("t.\"{name}\"")).collect::<Vec<_>>().join(", ")
        };
        let key = list(&self.truth.key);
        format!(
            "(SELECT md5(string_agg(CASE WHEN t.\"_deleted_at\" IS NULL THEN ROW({})::text \
             ELSE 'd' || ROW({key})::text END, ' ' ORDER BY {key})) FROM {} AS t)",
            list(&self.truth.columns),
            quoted(&self.table)
        )
    }

    async fn differences(&self, readback: &Readback) -> Differences {
        let names = Bookkeeping::default();
        let verdict =
            ground_truth::verify(readback, &self.table, &names, &self.truth, usize::MAX).await;
        let verdict = verdict.unwrap();
        assert_eq!(verdict.difference_count == 0, verdict.is_equal(), "{}", self.table);
        let mut found: Differences =
            verdict.differences.iter().map(|difference| cut(&difference.to_string())).collect();
        if verdict.untold != self.ghosts {
            found.insert(format!(
                "{}: {} live rows that the topic does not tell to be gone, should be {}",
                self.table, verdict.untold, self.ghosts
            ));
        }
        found.extend(self.beforehand.iter().cloned());
        found
    }
}

/// A line of bounded length.
fn cut(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    let start: String = line.chars().take(WIDTH).collect();
    let checksum = format!("{:x}", Sha256::digest(line));
    format!("{start}... ({} bytes, {})", line.len(), &checksum[..8])
}
