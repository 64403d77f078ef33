//! An explanation as text for people: one step a paragraph, in the order in which the worker takes them.

use super::{Explanation, Half, Outcome, Version};
use std::fmt::Write as _;

const INDENT: usize = 10;

/// The explanation as lines.
#[must_use]
pub fn text(told: &Explanation) -> String {
    let mut out = String::new();
    let record = &told.record;
    step(&mut out, "record", &format!("{}-{}@{}", record.topic, record.partition, record.offset));
    let size = |bytes: Option<usize>| bytes.map_or("null".to_owned(), |n| format!("{n} bytes"));
    more(&mut out, &format!("key {}, value {}", size(record.key_bytes), size(record.value_bytes)));
    if !record.headers.is_empty() {
        more(&mut out, &format!("headers {}", record.headers.join(", ")));
    }
    for (name, half) in [("key", &told.key), ("value", &told.value)] {
        step(&mut out, name, &half.as_ref().map_or("null".to_owned(), frame));
    }
    if let Some(envelope) = &told.envelope {
        step(&mut out, "envelope", envelope.op.as_deref().unwrap_or("a row without op"));
        for (name, block) in [
            ("source", &envelope.source),
            ("transaction", &envelope.transaction),
            ("before", &envelope.before),
            ("after", &envelope.after),
        ] {
            if let Some(block) = block {
                more(&mut out, &format!("{name} {block}"));
            }
        }
    }
    step(&mut out, "route", told.table.as_deref().unwrap_or("none"));
    if let Some(key) = &told.row_key {
        step(&mut out, "row key", &key.to_string());
    }
    if let Some(found) = &told.version {
        step(&mut out, "version", &version(found));
    }
    if let Some(position) = &told.position {
        let next = position.next_offset.map_or("none".to_owned(), |next| next.to_string());
        let settled = if position.settled {
            "this record is settled"
        } else {
            "this record is not settled yet"
        };
        step(&mut out, "position", &format!("next offset {next}, {}; {settled}", position.state));
        for line in [&position.reason, &position.dead_letter].into_iter().flatten() {
            more(&mut out, line);
        }
    }
    match &told.silver {
        None => step(&mut out, "silver", "no row of that key"),
        Some(row) => {
            let state = match &row.deleted_at {
                Some(at) => format!("marked deleted at {at}"),
                None => "live".to_owned(),
            };
            step(&mut out, "silver", &state);
            let stored = row.version.as_ref().map_or("not one of ours".to_owned(), version);
            more(&mut out, &format!("version {stored}"));
            let unknown = "unknown".to_owned();
            more(
                &mut out,
                &format!(
                    "source time {}, applied {}",
                    row.source_ts.as_ref().unwrap_or(&unknown),
                    row.applied_at.as_ref().unwrap_or(&unknown)
                ),
            );
            if let Some(values) = &row.row {
                more(&mut out, &values.to_string());
            }
        }
    }
    let verdict = &told.verdict;
    let code = verdict.code.as_ref().map_or(String::new(), |code| format!(" [{code}]"));
    step(&mut out, "verdict", &format!("{}{code}", outcome(verdict.outcome)));
    more(&mut out, &verdict.why);
    if let Some(hint) = &verdict.hint {
        more(&mut out, &format!("help: {hint}"));
    }
    if let Some(sql) = &told.sql {
        out.push_str("\nsql\n");
        for line in sql.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

fn frame(half: &Half) -> String {
    let mut text = half.frame.clone();
    if let Some(schema) = &half.schema {
        let _ = write!(text, ", schema {schema}");
    }
    if let Some(fault) = &half.fault {
        let _ = write!(text, "; {fault}");
    }
    text
}

fn version(v: &Version) -> String {
    format!(
        "source epoch {}, commit position {}, phase {}, change position {}, kafka offset {}",
        v.source_epoch, v.commit_position, v.phase, v.change_position, v.kafka_offset
    )
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Superseded => "superseded",
        Outcome::Skipped => "skipped",
        Outcome::DeadLettered => "dead-lettered",
        Outcome::Alters => "the table is altered first",
        Outcome::LaneStops => "the lane stops",
        Outcome::Waits => "waits",
    }
}

fn step(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "{name:INDENT$}{text}");
}

fn more(out: &mut String, text: &str) {
    for line in text.lines() {
        let _ = writeln!(out, "{:INDENT$}{line}", "");
    }
}
