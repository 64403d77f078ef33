//! Row 12: how the rate changes with the number of tables and partitions, the width of rows and the size of tables. Each
//! cell is compared with its left neighbour.

use crate::bench::{Bench, Limits};
use crate::result::{Bar, Results, Verdict};
use crate::workload::{Format, Spec};

/// A rate that halves from one cell to the next is a cliff.
const CLIFF: f64 = 0.5;
/// Events of a cell: wide rows and single partitions do not fit into the mock broker otherwise.
const MOST_EVENTS: usize = 100_000;

const TABLES: [usize; 4] = [1, 4, 16, 64];
const PARTITIONS: [i32; 3] = [1, 8, 128];
const COLUMNS: [usize; 3] = [5, 20, 100];
const ROWS: [i64; 3] = [100_000, 1_000_000, 10_000_000];

/// One run of the product.
struct Cell {
    name: String,
    specs: Vec<Spec>,
}

fn spec(name: &str, events: usize) -> Spec {
    // Names of topics take no spaces.
    Spec::mixed(&name.replace(' ', "_"), Format::Avro, events)
}

fn cell(what: &str, events: usize, change: impl FnOnce(&mut Spec)) -> Cell {
    let mut only = spec(what, events);
    change(&mut only);
    Cell { name: name(what), specs: vec![only] }
}

fn name(what: &str) -> String {
    format!("silversink, {what}")
}

fn tables(count: usize) -> String {
    format!("{count} tables")
}

fn partitions(count: i32) -> String {
    format!("{count} partitions")
}

fn columns(count: usize) -> String {
    format!("{count} columns")
}

fn rows(count: i64) -> String {
    format!("{count} rows")
}

/// The same events and rows in all, spread over more tables.
fn of_tables(count: usize, events: usize) -> anyhow::Result<Cell> {
    let rows = 1_000_000 / i64::try_from(count)?;
    let what = tables(count);
    let specs = (0..count)
        .map(|table| Spec { table, rows, partitions: 8, ..spec(&what, events / count) })
        .collect();
    Ok(Cell { name: name(&what), specs })
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let events = bench.options.events.min(MOST_EVENTS);
    let mut cells = Vec::new();
    for count in TABLES {
        cells.push(of_tables(count, events)?);
    }
    for count in PARTITIONS {
        cells.push(cell(&partitions(count), events, |spec| {
            spec.partitions = count;
            spec.bland = true;
        }));
    }
    for count in COLUMNS {
        cells.push(cell(&columns(count), events / 2, |spec| spec.columns = count));
    }
    for count in ROWS {
        cells.push(cell(&rows(count), events, |spec| spec.rows = count));
    }
    for Cell { name, specs } in cells {
        bench.renew_broker()?;
        bench.product(&name, &specs, Limits::default()).await?;
        bench.destination.forget_expectations().await?;
    }
    Ok(())
}

pub fn verdicts(results: &Results) -> Vec<Verdict> {
    let families: [Vec<String>; 4] = [
        TABLES.map(tables).into(),
        PARTITIONS.map(partitions).into(),
        COLUMNS.map(columns).into(),
        ROWS.map(rows).into(),
    ];
    let mut all = Vec::new();
    for family in &families {
        for pair in family.windows(2) {
            let [left, right] = pair else { continue };
            // A wider row is more work: there the ratio is only shown.
            let bar = if right.contains("columns") { Bar::None } else { Bar::AtLeast(CLIFF) };
            let ratio = results.ratio(&name(right), &name(left));
            all.push(Verdict::new("12", format!("{right} in units of {left}"), ratio, bar));
        }
    }
    all
}
