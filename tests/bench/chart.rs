//! Files for others: the rates as a table of tab-separated values, which other benchmarks write to as well, and a chart of
//! it.

use crate::result::{Measured, Results};
use std::fmt::Write as _;
use std::path::PathBuf;

const HEADER: &str = "name\tevents_per_s\tmin\tmax\tclient_us\tbackend_us\tpeak_mib";
const LABEL: f64 = 330.0;
const BAR: f64 = 520.0;
const LINE: f64 = 26.0;

/// Writes both files; answers where they are.
pub fn write(results: &Results) -> anyhow::Result<String> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench"));
    std::fs::create_dir_all(&directory)?;
    let (table, chart) = (directory.join("results.tsv"), directory.join("chart.svg"));
    let lines = merged(&std::fs::read_to_string(&table).unwrap_or_default(), &lines(results));
    std::fs::write(&table, format!("{HEADER}\n{}\n", lines.join("\n")))?;
    std::fs::write(&chart, svg(&lines))?;
    Ok(format!("written: {} and {}", table.display(), chart.display()))
}

/// One line for each kind of run.
fn lines(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for runs in &results.all {
        let Some(rate) = runs.spread(Measured::rate) else { continue };
        let median = |of: fn(&Measured) -> f64| runs.spread(of).map_or(0.0, |spread| spread.median);
        lines.push(format!(
            "{}\t{:.0}\t{:.0}\t{:.0}\t{:.2}\t{:.2}\t{:.0}",
            runs.name,
            rate.median,
            rate.min,
            rate.max,
            median(|m| m.client_cpu / m.events * 1e6),
            median(|m| m.backend_cpu / m.events * 1e6),
            median(|m| m.peak_mib),
        ));
    }
    lines
}

fn name(line: &str) -> &str {
    line.split('\t').next().unwrap_or_default()
}

/// New lines take the place of old ones of their name; the others stay.
fn merged(old: &str, new: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = old.lines().skip(1).map(str::to_owned).collect();
    for line in new {
        match lines.iter_mut().find(|old| name(old) == name(line)) {
            Some(old) => old.clone_from(line),
            None => lines.push(line.clone()),
        }
    }
    lines
}

/// Horizontal bars with a whisker from the slowest run to the fastest.
fn svg(lines: &[String]) -> String {
    let bars: Vec<(&str, [f64; 3])> = lines
        .iter()
        .filter_map(|line| {
            let mut fields = line.split('\t').skip(1).map_while(|field| field.parse::<f64>().ok());
            Some((name(line), [fields.next()?, fields.next()?, fields.next()?]))
        })
        .collect();
    let most = bars.iter().map(|(_, [_, _, max])| *max).fold(1.0, f64::max);
    let mut out = String::new();
    let mut top = 10.0;
    for (name, [median, min, max]) in &bars {
        let colour = match *name {
            ours if ours.starts_with("silversink") => "#2b6cb0",
            bound if bound.starts_with("yardstick") || bound.starts_with("plain") => "#a0aec0",
            _ => "#c05621",
        };
        let x = |value: f64| LABEL + BAR * value / most;
        let (middle, escaped) = (top + LINE / 2.0, name.replace('&', "&amp;").replace('<', "&lt;"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            r##"<text x="{}" y="{:.1}" text-anchor="end">{escaped}</text>
<rect x="{LABEL}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{colour}"/>
<path d="M{:.1} {middle:.1}H{:.1}" stroke="#1a202c"/>
<text x="{:.1}" y="{:.1}">{:.0} k/s</text>"##,
            LABEL - 8.0,
            middle + 4.0,
            top + 4.0,
            BAR * median / most,
            LINE - 8.0,
            x(*min),
            x(*max),
            x(*max) + 6.0,
            middle + 4.0,
            median / 1_000.0,
        );
        top += LINE;
    }
    let (width, height) = (LABEL + BAR + 80.0, top + 10.0);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<title>Events per second: median of the runs, whisker from the slowest to the fastest</title>
<rect width="100%" height="100%" fill="#fff"/>
{out}</svg>
"##
    )
}
