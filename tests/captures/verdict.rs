//! Compares Silver with what the source held, row by row, once for each state of a table that an order ends in.

use crate::told::Told;
use crate::worker::Lane;
use silversink::demo::capture::{Capture, TableTruth};
use silversink::demo::ground_truth::{self, Difference, Mismatch};
use silversink::fault::Fault;
use silversink::postgres::readback::Readback;
use silversink::table::{Bookkeeping, TableName};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// One thing that is not equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Table, column and kind of the difference.
    pub group: String,
    /// Key of the row; empty where it is the whole table.
    pub key: String,
    /// All of it.
    pub text: String,
}

/// What is not equal; empty when everything is as it should be.
pub type Differences = BTreeSet<Line>;

/// A line about a whole table.
fn about(table: &str, text: &str) -> Line {
    let text = format!("{table}: {text}");
    Line { group: text.clone(), key: String::new(), text }
}

fn line(difference: &Difference) -> Line {
    let table = &difference.table.name;
    let group = match &difference.what {
        Mismatch::Column { column, expected, found } => match (expected, found) {
            (_, None) => format!("{table}.{column}: is NULL, should not be"),
            (None, _) => format!("{table}.{column}: should be NULL"),
            _ => format!("{table}.{column}: is another value"),
        },
        Mismatch::Missing => format!("{table}: not in Silver"),
        Mismatch::MarkedButLive => format!("{table}: marked deleted, but at the source"),
        Mismatch::LiveButDeleted => format!("{table}: live, but deleted at the source"),
        Mismatch::Unknown => format!("{table}: never at the source"),
        Mismatch::NotRemembered => format!("{table}: deleted at the source, without a mark"),
        Mismatch::Twice => format!("{table}: twice in Silver"),
    };
    Line { group, key: difference.key.clone(), text: difference.to_string() }
}

struct Checked {
    table: TableName,
    truth: TableTruth,
    /// Lines about the table itself, the same after every order.
    beforehand: Vec<Line>,
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
        told: &Told,
        lanes: &[Lane],
        stopped: &BTreeMap<String, (i64, Fault)>,
    ) -> Self {
        let mut tables = Vec::new();
        let mut rows = 0;
        let mut missing = Differences::new();
        for mut truth in capture.truth().unwrap() {
            let mut beforehand = Vec::new();
            if let Some((offset, fault)) = stopped.get(&truth.name) {
                let text = format!("stops at offset {offset}: {fault}");
                beforehand.push(about(&truth.name, &text));
            }
            let Some(lane) = lanes.iter().find(|lane| lane.table.name == truth.name) else {
                missing.extend(beforehand);
                missing.insert(about(&truth.name, "has no table in Silver"));
                continue;
            };
            // A table without a key at the source cannot be compared row by row.
            if truth.key.is_empty() {
                missing.extend(beforehand);
                missing.insert(about(&truth.name, "has no key, so its rows are not compared"));
                continue;
            }
            let shape = lane.shape.as_ref().unwrap();
            truth.columns.retain(|column| {
                let there = shape.column(column).is_some();
                if !there {
                    beforehand.push(about(&truth.name, &format!("no column {column}")));
                }
                there
            });
            let ghosts = truth.deleted.iter().filter(|d| d.in_topic && !d.must_be_marked()).count();
            rows += (truth.rows.len() + truth.deleted.len()) as u64;
            told.rewrite(&mut truth);
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
        let mut found: Differences = verdict.differences.iter().map(line).collect();
        if verdict.untold != self.ghosts {
            let text = format!(
                "{} live rows that the topic does not tell to be gone, should be {}",
                verdict.untold, self.ghosts
            );
            found.insert(about(&self.table.name, &text));
        }
        found.extend(self.beforehand.iter().cloned());
        found
    }
}
