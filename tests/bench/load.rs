//! The benchmark: the release binary, the yardstick and what bounds them, in turns on one machine, each run with its rows
//! checked. `tests/bench/run.sh` tells the arguments.

#![allow(clippy::expect_used, reason = "a measurement stops where it fails")]

mod bench;
mod broker;
mod chart;
mod destination;
mod process;
mod product;
mod result;
mod rows;
mod workload;
mod yardstick;

use bench::{Bench, Options};
use std::io::Write;

/// Fewer runs show that it works, no more.
const ENOUGH_RUNS: usize = 5;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => broker::serve(),
        ["yardstick", bootstrap, postgres, spec, batch_rows] => {
            yardstick::run(bootstrap, postgres, &serde_json::from_str(spec)?, batch_rows.parse()?)
        }
        ["consume", bootstrap, group, spec] => {
            yardstick::plain::consume(bootstrap, group, &serde_json::from_str(spec)?)
        }
        ["copy", postgres, spec] => yardstick::plain::copy(postgres, &serde_json::from_str(spec)?),
        // `cargo test --all-targets` starts benchmarks too, without this word.
        _ if !arguments.iter().any(|argument| argument == "--bench") => Ok(()),
        _ => {
            let options = Options::read(&arguments)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(options))
        }
    }
}

/// Whatever was measured is shown, also when a run failed in the end.
async fn run(options: Options) -> anyhow::Result<()> {
    let families = rows::wanted(options.only.as_deref())?;
    let mut bench = Bench::start(options).await?;
    let outcome = measure(&mut bench, &families).await;
    let verdicts: Vec<_> =
        families.iter().flat_map(|family| family.verdicts(&bench.results)).collect();
    let mut out = std::io::stdout();
    writeln!(out, "\n{}\n\n{}\n", result::table(&bench.results), result::verdicts(&verdicts))?;
    writeln!(out, "{}", bench.conditions())?;
    if bench.options.runs >= ENOUGH_RUNS && outcome.is_ok() {
        writeln!(out, "{}", chart::write(&bench.results)?)?;
    } else {
        writeln!(
            out,
            "no files written: fewer than {ENOUGH_RUNS} runs of each kind are no result"
        )?;
    }
    outcome
}

async fn measure(bench: &mut Bench, families: &[rows::Family]) -> anyhow::Result<()> {
    for round in 0..bench.options.runs {
        bench.round = round;
        // Each kind once, so that whatever else the machine does hits all of them.
        for family in families {
            family.measure(bench).await?;
        }
    }
    Ok(())
}
