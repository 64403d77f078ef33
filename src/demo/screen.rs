//! What the user of the demo sees: progress while it works, then the tables, the dead letters and the proof.

use crate::demo::ground_truth::{Difference, TableVerdict, checksums};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};

/// One line of the final table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLine {
    /// Silver table.
    pub table: String,
    /// Live rows.
    pub live: u64,
    /// Rows marked deleted.
    pub soft_deleted: u64,
    /// Changes applied.
    pub applied: u64,
    /// Changes superseded.
    pub superseded: u64,
}

/// Dead letters of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterLine {
    /// [`crate::fault::Code`] as text.
    pub cause: String,
    /// Topic that the records came from.
    pub topic: String,
    /// How many.
    pub count: u64,
}

/// The final table, a line per Silver table and a sum.
#[must_use]
pub fn tables(lines: &[TableLine]) -> String {
    let mut table =
        framed(&["Silver table", "rows", "live", "soft-deleted", "applied", "superseded"]);
    let mut sums = [0_u64; 5];
    for line in lines {
        let rows = line.live.saturating_add(line.soft_deleted);
        let numbers = [rows, line.live, line.soft_deleted, line.applied, line.superseded];
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = sum.saturating_add(number);
        }
        add(&mut table, &[&line.table], &numbers);
    }
    if lines.len() > 1 {
        add(&mut table, &["all"], &sums);
    }
    format!("{table}\n")
}

/// The dead letters by cause, or one line that there are none.
#[must_use]
pub fn letters(lines: &[LetterLine]) -> String {
    if lines.is_empty() {
        return "No dead letters.\n".to_owned();
    }
    let mut table = framed(&["dead letters: cause", "topic", "count"]);
    for line in lines {
        add(&mut table, &[&line.cause, &line.topic], &[line.count]);
    }
    format!("{table}\n")
}

/// The proof, or the differences. The sentence of success is printed only when every table is equal.
#[must_use]
pub fn proof(verdicts: &[TableVerdict]) -> String {
    let (expected, found) = checksums(verdicts);
    let live = verdicts.iter().fold(0_u64, |sum, verdict| sum.saturating_add(verdict.live));
    let count = number(verdicts.len() as u64);
    if is_proven(verdicts) {
        let rows = number(live);
        return format!(
            "Silver equals the source: {count} tables, {rows} rows, checksum {expected}\n"
        );
    }
    let mut text = format!(
        "Silver does NOT equal the source: {count} tables, checksum {found}, should be {expected}\n"
    );
    for verdict in verdicts.iter().filter(|verdict| !verdict.is_equal()) {
        let total = number(verdict.difference_count);
        let mut lines = vec![format!("{}: {total} differences", verdict.table)];
        lines.extend(
            verdict.differences.iter().map(|difference: &Difference| format!("  {difference}")),
        );
        let listed = verdict.differences.len() as u64;
        if verdict.difference_count > listed {
            lines.push(format!("  ... and {} more", number(verdict.difference_count - listed)));
        }
        for line in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// What the second pass came to: nothing may have changed.
#[must_use]
pub fn second_pass(replayed: u64, rows_changed: u64) -> String {
    format!(
        "Second pass, from earliest: {} records replayed, {} rows changed\n",
        number(replayed),
        number(rows_changed)
    )
}

/// A line for something that was started: what, where, and why it is there.
#[must_use]
pub fn started(what: &str, place: &str, why: &str) -> String {
    format!("  {what:<12} {place:<29} {why}\n")
}

/// Whether the proof holds: at least one table, and all of them equal. Decides the exit code.
#[must_use]
pub fn is_proven(verdicts: &[TableVerdict]) -> bool {
    !verdicts.is_empty() && verdicts.iter().all(TableVerdict::is_equal)
}

fn framed(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(titles);
    table
}

/// Text columns first, then numbers, aligned to the right.
fn add(table: &mut Table, texts: &[&str], numbers: &[u64]) {
    let texts_shown = texts.iter().map(|text| (*text).to_owned());
    table.add_row(texts_shown.chain(numbers.iter().copied().map(number)));
    for column in texts.len()..texts.len() + numbers.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A number in groups of three digits: `12 480`.
#[must_use]
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Progress of one step on standard error: a bar on a terminal, a plain line per tenth otherwise.
pub struct Progress {
    title: String,
    total: u64,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines { out: Box<dyn Write + Send>, tenths: u64 },
}

impl Progress {
    /// Begins a step of `total` parts (records, as a rule).
    #[must_use]
    pub fn begin(title: &str, total: u64) -> Self {
        let error = std::io::stderr();
        if !error.is_terminal() {
            return Self::lines(title, total, Box::new(error));
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        // The template is a constant; were it wrong, the plain style would do.
        let style = ProgressStyle::with_template("{msg:28} {bar:30} {pos} of {len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(title.to_owned());
        Self { title: title.to_owned(), total, shown: Shown::Bar(bar) }
    }

    fn lines(title: &str, total: u64, out: Box<dyn Write + Send>) -> Self {
        Self { title: title.to_owned(), total, shown: Shown::Lines { out, tenths: 0 } }
    }

    /// Says how much is done by now.
    pub fn set(&mut self, done: u64) {
        let tenths_done = match self.total {
            0 => 10,
            total => u64::try_from(u128::from(done) * 10 / u128::from(total)).unwrap_or(10).min(10),
        };
        match &mut self.shown {
            Shown::Bar(bar) => bar.set_position(done),
            Shown::Lines { out, tenths } if tenths_done > *tenths && tenths_done < 10 => {
                *tenths = tenths_done;
                let (done, total) = (number(done), number(self.total));
                // Progress that cannot be shown is no reason to stop.
                let _ = writeln!(out, "{}: {done} of {total}", self.title);
            }
            Shown::Lines { .. } => {}
        }
    }

    /// Ends the step with a line that stays.
    pub fn finish(self, outcome: &str) {
        match self.shown {
            Shown::Bar(bar) => {
                bar.finish_and_clear();
                // As above; `println` of the bar would be lost once it is cleared.
                let _ = writeln!(std::io::stderr(), "{}: {outcome}", self.title);
            }
            Shown::Lines { mut out, .. } => {
                let _ = writeln!(out, "{}: {outcome}", self.title);
            }
        }
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
