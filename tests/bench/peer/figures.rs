//! What the runs measured: the table, the bars, and the lines that other programs read.

use comfy_table::{CellAlignment, Table, presets};
use std::fmt::Write as _;
use std::path::Path;

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub events_per_second: f64,
    /// CPU of the client per event, user and system, in microseconds.
    pub client: f64,
    /// The same between the first and the last visible row only, on both sides: ours has fetched a little ahead by then.
    pub client_while_writing: f64,
    /// CPU of PostgreSQL's backends per event, in microseconds.
    pub backends: f64,
    pub peak_mib: f64,
}

/// The runs of one kind.
pub struct Runs {
    pub name: &'static str,
    pub runs: Vec<Measured>,
}

/// Median, least and greatest.
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(*values.get(middle.checked_sub(1)?)?, *values.get(middle)?)
        } else {
            *values.get(middle)?
        };
        Some(Self { median, least: *values.first()?, greatest: *values.last()? })
    }

    fn text(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$} - {:.digits$})", self.median, self.least, self.greatest)
    }
}

impl Runs {
    fn spread(&self, of: impl Fn(&Measured) -> f64) -> Option<Spread> {
        Spread::of(self.runs.iter().map(of).collect())
    }
}

/// A goal: how many times one kind's figure is another's.
pub struct Bar {
    pub text: &'static str,
    pub of: fn(&Measured) -> f64,
    pub over: usize,
    pub under: usize,
    pub at_least: f64,
    pub moonshot: Option<f64>,
}

pub fn table(all: &[Runs]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "median (least - greatest)",
        "runs",
        "events/s",
        "client us/event",
        "while writing",
        "PostgreSQL us/event",
        "peak MiB",
    ]);
    for runs in all.iter().filter(|runs| !runs.runs.is_empty()) {
        let cell = |digits: usize, of: fn(&Measured) -> f64| {
            runs.spread(of).map(|spread| spread.text(digits)).unwrap_or_default()
        };
        table.add_row([
            runs.name.to_owned(),
            runs.runs.len().to_string(),
            cell(0, |m| m.events_per_second),
            cell(2, |m| m.client),
            cell(2, |m| m.client_while_writing),
            cell(2, |m| m.backends),
            cell(0, |m| m.peak_mib),
        ]);
    }
    aligned(table)
}

/// The ratio of the medians against each bar; the spread is that of the ratios inside of one round.
pub fn bars(all: &[Runs], bars: &[Bar]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["ratio of medians (of rounds)", "at least", "is", ""]);
    for bar in bars {
        let (Some(over), Some(under)) = (all.get(bar.over), all.get(bar.under)) else { continue };
        let medians = over.spread(bar.of).zip(under.spread(bar.of));
        let Some(ratio) = medians.map(|(over, under)| over.median / under.median) else { continue };
        let rounds = over.runs.iter().zip(&under.runs);
        let rounds = Spread::of(rounds.map(|(o, u)| (bar.of)(o) / (bar.of)(u)).collect());
        let verdict = match bar.moonshot {
            _ if ratio < bar.at_least => "does not hold".to_owned(),
            Some(moonshot) if ratio >= moonshot => format!("holds, and the moonshot of {moonshot}"),
            Some(moonshot) => format!("holds; the moonshot is {moonshot}"),
            None => "holds".to_owned(),
        };
        let spread = rounds
            .map(|rounds| format!(" ({:.1} - {:.1})", rounds.least, rounds.greatest))
            .unwrap_or_default();
        table.add_row([
            bar.text.to_owned(),
            format!("{}", bar.at_least),
            format!("{ratio:.1}{spread}"),
            verdict,
        ]);
    }
    aligned(table)
}

fn aligned(mut table: Table) -> String {
    for column in table.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

const HEADER: &str = "name\tevents_per_s\tmin\tmax\tclient_us\tbackend_us\tpeak_mib";

/// Puts the medians into a file of tab-separated values, in place of lines with the same names.
pub fn keep(all: &[Runs], path: &Path) -> anyhow::Result<()> {
    let mut text = format!("{HEADER}\n");
    let ours = |line: &str| {
        let mut measured = all.iter().filter(|runs| !runs.runs.is_empty());
        measured.any(|runs| line.split('\t').next() == Some(runs.name))
    };
    let before = std::fs::read_to_string(path).unwrap_or_default();
    for line in before.lines().filter(|line| *line != HEADER && !ours(line)) {
        writeln!(text, "{line}")?;
    }
    for runs in all {
        let Some(rate) = runs.spread(|m| m.events_per_second) else { continue };
        write!(text, "{}\t{:.0}\t{:.0}\t{:.0}", runs.name, rate.median, rate.least, rate.greatest)?;
        for of in [|m: &Measured| m.client, |m: &Measured| m.backends, |m: &Measured| m.peak_mib] {
            write!(text, "\t{:.2}", runs.spread(of).map_or(f64::NAN, |spread| spread.median))?;
        }
        text.push('\n');
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    Ok(std::fs::write(path, text)?)
}
