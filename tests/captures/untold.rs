//! What topics cannot tell, by name: each group of differences has its reason here and its rows in `untold/`.

use crate::verdict::Line;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Keys that are written out; longer lists are told apart by their checksum.
const SHOWN: usize = 16;

/// Scenario, what a group begins with (a `*` at its end: whatever follows), and why its rows differ.
const REASONS: &[(&str, &str, &str)] = &[
    (
        "key-swap",
        "seats: marked deleted, but at the source",
        "keys exchanged inside one transaction: the delete of the old owner has the higher position",
    ),
    ("noise", "visits: *", "no key"),
    ("noise", "clicks: *", "no key"),
    ("noise", "coupons: *", "no key"),
    (
        "toast",
        "dead letter: cms.public.docs_*",
        "a key changed without its large values: they stand in the row of the old key only",
    ),
    (
        "toast",
        "docs_default: not in Silver",
        "a key changed without its large values: they stand in the row of the old key only",
    ),
    ("toast", "docs_index: *", STOPPED),
    ("toast", "docs_index.*", STOPPED),
    ("toast", "docs_default.*: is NULL, should not be", NO_PLACEHOLDER),
    ("toast", "docs_*.prices: is another value", TRAILING_ZEROS),
    ("toast", "docs_*.huge: is another value", TRAILING_ZEROS),
    (
        "toast",
        "docs_default.title: is another value",
        "a real value equal to the placeholder counts as unchanged",
    ),
    ("schema-change", "crates.depot: is NULL, should not be", NOT_SENT_AGAIN),
    ("schema-change-lag", "cases.depot: is NULL, should not be", NOT_SENT_AGAIN),
    ("schema-change", "crates: has no table in Silver", UNREADABLE),
    ("schema-change", "parcels: has no table in Silver", UNREADABLE),
    ("schema-change-lag", "cases: has no table in Silver", UNREADABLE),
    ("schema-change-lag", "boxes: has no table in Silver", UNREADABLE),
    (
        "mariadb",
        "orders.span: is NULL, should not be",
        "time.precision.mode=connect has no time beyond a day",
    ),
    ("types", "every_type: no column *", "the connector does not send columns of this type"),
    ("types", "every_type.*: is another value", LOST),
    ("types", "every_type.*: is NULL, should not be", LOST),
    ("types", "every_type.*: should be NULL", LOST),
    ("types", "dead letter: lab.public.every_type: value_out_of_range", REFUSED),
    ("types", "every_type: not in Silver", REFUSED),
    ("types", "big: has no table in Silver", "only the first connector captures it"),
    (
        "mariadb",
        "customers.west: is NULL, should not be",
        "a column was renamed, and these rows were not sent again",
    ),
    ("mariadb", "customers.since: is another value", "year 0 is sent as 1900 or 2000"),
    (
        "mariadb",
        "customers.kind: is another value",
        "a label with a comma is sent with a backslash",
    ),
    (
        "mariadb",
        "customers.created: is another value",
        "time.precision.mode=connect has milliseconds",
    ),
    (
        "mariadb",
        "orders.zero_date: is NULL, should not be",
        "a date that does not exist is sent as NULL",
    ),
    (
        "mariadb",
        "orders.zero_dt: is another value",
        "a date that does not exist is sent as 1970-01-01",
    ),
];

const NOT_SENT_AGAIN: &str =
    "rows that were not sent again after a column with a default was added";
const UNREADABLE: &str = "without a schema nobody can tell one type of a column from the next";
const LOST: &str = "lost or changed by the connector: differences.md, tests/convert_postgres";
const REFUSED: &str =
    "a value that its column cannot hold is refused, not guessed: tests/convert_postgres";
/// Replica identity on another index: deletes carry an invented key.
const STOPPED: &str = "the lane stops at its first delete, whose key is invented";
const NO_PLACEHOLDER: &str = "its type has no placeholder: an unchanged value arrives as NULL";
const TRAILING_ZEROS: &str = "trailing zeros of a numeric without scale do not travel";

/// The differences of a scenario's run in the order of arrival, by group, with the encodings that have them.
#[derive(Default)]
pub struct Untold(BTreeMap<String, BTreeMap<(String, String), BTreeSet<String>>>);

impl Untold {
    pub fn add(&mut self, line: &Line, encoding: &str) {
        let rows = self.0.entry(line.group.clone()).or_default();
        let row = (line.key.clone(), line.text.clone());
        rows.entry(row).or_default().insert(encoding.to_owned());
    }

    /// One line for each group and set of encodings, as it is pinned; and the groups that have no reason.
    pub fn render(&self, scenario: &str) -> (String, Vec<String>) {
        let mut text = String::new();
        let mut unexplained = Vec::new();
        for (group, rows) in &self.0 {
            let reason = reason(scenario, group).unwrap_or_else(|| {
                unexplained.push(group.clone());
                "no reason is known"
            });
            let mut by_encodings: BTreeMap<Vec<&str>, Vec<&(String, String)>> = BTreeMap::new();
            for (row, encodings) in rows {
                let encodings = encodings.iter().map(String::as_str).collect();
                by_encodings.entry(encodings).or_default().push(row);
            }
            for (encodings, rows) in by_encodings {
                writeln!(text, "{group} [{}] ({reason})", encodings.join(" ")).unwrap();
                if rows.iter().any(|(key, _)| !key.is_empty()) {
                    let mut keys: Vec<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
                    let more = keys.len().saturating_sub(SHOWN);
                    keys.truncate(SHOWN);
                    write!(text, "    {} rows: {}", rows.len(), keys.join("; ")).unwrap();
                    if more > 0 {
                        write!(text, "; {more} more").unwrap();
                    }
                    let mut checksum = Sha256::new();
                    rows.iter().for_each(|(_, line)| checksum.update(line));
                    let checksum = format!("{:x}", checksum.finalize());
                    writeln!(text, " (checksum {})", &checksum[..12]).unwrap();
                }
            }
        }
        (text, unexplained)
    }
}

fn reason(scenario: &str, group: &str) -> Option<&'static str> {
    let fits = |pattern: &str| {
        let mut rest = group;
        let mut parts = pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(after) = rest.strip_prefix(first) else { return false };
        rest = after;
        let mut open = false;
        for part in parts {
            open = part.is_empty();
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        open || rest.is_empty()
    };
    REASONS.iter().find(|(s, pattern, _)| *s == scenario && fits(pattern)).map(|(_, _, why)| *why)
}

/// What is pinned for a scenario; `SILVERSINK_ORDERS=write` pins what was found.
pub fn pinned(scenario: &str, found: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/captures/untold")
        .join(format!("{scenario}.txt"));
    if std::env::var("SILVERSINK_ORDERS").is_ok_and(|value| value == "write") {
        match found.is_empty() {
            true => drop(std::fs::remove_file(&path)),
            false => std::fs::write(&path, found).unwrap(),
        }
    }
    std::fs::read_to_string(&path).unwrap_or_default()
}
