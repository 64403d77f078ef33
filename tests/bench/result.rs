//! What one run measured, medians over runs, and the table at the end.

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
}

/// The runs of one kind, and what their rate is compared with.
pub struct Runs {
    pub name: String,
    pub runs: Vec<Measured>,
    pub against: Option<usize>,
}

impl Runs {
    fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub fn rate(&self) -> f64 {
        self.median(Measured::rate)
    }
}

pub fn table(all: &[Runs]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "median of runs",
        "runs",
        "events/s",
        "ratio",
        "client us/event",
        "backend us/event",
        "peak MiB",
        "batches",
        "rows/batch",
    ]);
    for runs in all {
        let ratio = runs.against.and_then(|at| all.get(at)).map(|base| runs.rate() / base.rate());
        table.add_row([
            runs.name.clone(),
            runs.runs.len().to_string(),
            format!("{:.0}", runs.rate()),
            ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            format!("{:.2}", runs.median(|m| m.client_cpu / m.events * 1e6)),
            format!("{:.2}", runs.median(|m| m.backend_cpu / m.events * 1e6)),
            format!("{:.0}", runs.median(|m| m.peak_mib)),
            format!("{:.0}", runs.median(|m| m.batches)),
            format!("{:.0}", runs.median(|m| m.rows / m.batches.max(1.0))),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
