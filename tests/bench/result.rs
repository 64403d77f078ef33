//! What the runs measured, what is asked of them, and the tables at the end.

use comfy_table::{CellAlignment, Table, presets};

#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub events: f64,
    /// From the first record to the last one settled.
    pub seconds: f64,
    /// From the start of the process to its partitions.
    pub join: f64,
    pub client_cpu: f64,
    pub backend_cpu: f64,
    pub peak_mib: f64,
    pub rows: f64,
    pub batches: f64,
    pub applied: f64,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.events / self.seconds
    }

    pub fn line(&self) -> String {
        format!(
            "{:7.0} events/s  {:.2} s (join {:.2} s)  client {:.2} us  backend {:.2} us  {:.0} MiB  {:.0} batches of {:.0} rows  applied {:.0}",
            self.rate(),
            self.seconds,
            self.join,
            self.client_cpu / self.events * 1e6,
            self.backend_cpu / self.events * 1e6,
            self.peak_mib,
            self.batches,
            self.rows / self.batches.max(1.0),
            self.applied,
        )
    }

    /// The figures on one line, for another process.
    pub fn print(&self) -> String {
        let Self {
            events,
            seconds,
            join,
            client_cpu,
            backend_cpu,
            peak_mib,
            rows,
            batches,
            applied,
        } = self;
        format!(
            "{events} {seconds} {join} {client_cpu} {backend_cpu} {peak_mib} {rows} {batches} {applied}"
        )
    }

    /// Reads [`Self::print`] back.
    pub fn parse(line: &str) -> anyhow::Result<Self> {
        let numbers: Vec<f64> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [events, seconds, join, client_cpu, backend_cpu, peak_mib, rows, batches, applied] =
            numbers[..]
        else {
            anyhow::bail!("no figures were printed");
        };
        Ok(Self {
            events,
            seconds,
            join,
            client_cpu,
            backend_cpu,
            peak_mib,
            rows,
            batches,
            applied,
        })
    }
}

/// Median, smallest and largest of some figures.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { median: values[values.len() / 2], min, max })
    }
}

/// The runs of one kind, one in each round.
pub struct Runs {
    pub name: String,
    pub runs: Vec<Measured>,
}

impl Runs {
    pub fn spread(&self, of: impl Fn(&Measured) -> f64) -> Option<Spread> {
        Spread::of(self.runs.iter().map(of))
    }
}

/// Figures of one kind that are no rate of events, one in each round.
struct Figures {
    name: String,
    values: Vec<f64>,
}

/// Everything measured so far, in order.
#[derive(Default)]
pub struct Results {
    pub all: Vec<Runs>,
    figures: Vec<Figures>,
}

impl Results {
    pub fn keep(&mut self, name: &str, measured: Measured) {
        match self.all.iter_mut().find(|runs| runs.name == name) {
            Some(runs) => runs.runs.push(measured),
            None => self.all.push(Runs { name: name.to_owned(), runs: vec![measured] }),
        }
    }

    pub fn keep_figure(&mut self, name: &str, value: f64) {
        match self.figures.iter_mut().find(|figures| figures.name == name) {
            Some(figures) => figures.values.push(value),
            None => self.figures.push(Figures { name: name.to_owned(), values: vec![value] }),
        }
    }

    pub fn runs(&self, name: &str) -> &[Measured] {
        self.all.iter().find(|runs| runs.name == name).map_or(&[], |runs| &runs.runs)
    }

    /// The rate of one kind in units of another's, each pair from one round.
    pub fn ratio(&self, name: &str, base: &str) -> Option<Spread> {
        let pairs = self.runs(name).iter().zip(self.runs(base));
        Spread::of(pairs.map(|(run, base)| run.rate() / base.rate()))
    }

    pub fn figure(&self, name: &str) -> Option<Spread> {
        let figures = self.figures.iter().find(|figures| figures.name == name)?;
        Spread::of(figures.values.iter().copied())
    }

    /// Largest resident size of a kind of run.
    pub fn memory(&self, name: &str) -> Option<Spread> {
        Spread::of(self.runs(name).iter().map(|run| run.peak_mib))
    }
}

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    AtLeast(f64),
    Below(f64),
    /// Nothing is asked: shown for comparison.
    None,
}

/// One line of the verdict.
pub struct Verdict {
    pub row: &'static str,
    pub what: String,
    pub found: Option<Spread>,
    pub bar: Bar,
}

impl Verdict {
    pub fn new(
        row: &'static str,
        what: impl Into<String>,
        found: Option<Spread>,
        bar: Bar,
    ) -> Self {
        Self { row, what: what.into(), found, bar }
    }

    /// The median decides.
    fn holds(&self) -> Option<bool> {
        let found = self.found?.median;
        match self.bar {
            Bar::AtLeast(bar) => Some(found >= bar),
            Bar::Below(bar) => Some(found < bar),
            Bar::None => None,
        }
    }
}

/// The verdicts that were measured, as a table.
pub fn verdicts(all: &[Verdict]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["row", "what", "median", "min - max", "bar", "verdict"]);
    for verdict in all {
        let Some(found) = verdict.found else { continue };
        let bar = match verdict.bar {
            Bar::AtLeast(bar) => format!(">= {bar}"),
            Bar::Below(bar) => format!("< {bar}"),
            Bar::None => "-".to_owned(),
        };
        let word = match verdict.holds() {
            Some(true) => "holds",
            Some(false) => "does not hold",
            None => "",
        };
        table.add_row([
            verdict.row.to_owned(),
            verdict.what.clone(),
            figure(found.median),
            format!("{} - {}", figure(found.min), figure(found.max)),
            bar,
            word.to_owned(),
        ]);
    }
    right_aligned(&mut table, 2);
    table.to_string()
}

/// Three significant digits where there is a point at all.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The runs as a table.
pub fn table(results: &Results) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "median of runs",
        "runs",
        "events/s",
        "min - max",
        "client us/event",
        "backend us/event",
        "peak MiB",
        "batches",
        "rows/batch",
    ]);
    for runs in &results.all {
        let Some(rate) = runs.spread(Measured::rate) else { continue };
        let median =
            |of: fn(&Measured) -> f64| runs.spread(of).map_or(f64::NAN, |spread| spread.median);
        table.add_row([
            runs.name.clone(),
            runs.runs.len().to_string(),
            format!("{:.0}", rate.median),
            format!("{:.0} - {:.0}", rate.min, rate.max),
            format!("{:.2}", median(|m| m.client_cpu / m.events * 1e6)),
            format!("{:.2}", median(|m| m.backend_cpu / m.events * 1e6)),
            format!("{:.0}", median(|m| m.peak_mib)),
            format!("{:.0}", median(|m| m.batches)),
            format!("{:.0}", median(|m| m.rows / m.batches.max(1.0))),
        ]);
    }
    right_aligned(&mut table, 1);
    table.to_string()
}

fn right_aligned(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
