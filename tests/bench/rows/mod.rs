//! The rows of the result, a file for each family: what is run in a round, and what is asked of the figures.

mod fresh;
mod growth;
mod hot;
mod lanes;
mod latency;
mod memory;
mod mixed;
mod replay;

use crate::bench::Bench;
use crate::result::{Results, Verdict};
use crate::workload::Format;
use anyhow::ensure;

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Mixed,
    Json,
    Lanes,
    Replay,
    Below,
    Fresh,
    Hot,
    Latency,
    Memory,
    /// Takes longer than all others: only when it is asked for.
    Growth,
}

/// Number in the list of goals, and name.
const ALL: [(Family, &str, &str); 10] = [
    (Family::Mixed, "1", "mixed"),
    (Family::Json, "2", "json"),
    (Family::Lanes, "4", "lanes"),
    (Family::Replay, "5", "replay"),
    (Family::Below, "6", "below"),
    (Family::Fresh, "7", "fresh"),
    (Family::Hot, "8", "hot"),
    (Family::Latency, "10", "latency"),
    (Family::Memory, "11", "memory"),
    (Family::Growth, "12", "growth"),
];

/// The families that `--only` names: a number or a name, several with commas.
pub fn wanted(only: Option<&str>) -> anyhow::Result<Vec<Family>> {
    let Some(only) = only else {
        return Ok(ALL
            .iter()
            .map(|(family, ..)| *family)
            .filter(|f| *f != Family::Growth)
            .collect());
    };
    let words: Vec<&str> = only.split(',').collect();
    let found: Vec<Family> = ALL
        .iter()
        .filter(|(_, number, name)| words.contains(number) || words.contains(name))
        .map(|(family, ..)| *family)
        .collect();
    let names: Vec<String> =
        ALL.iter().map(|(_, number, name)| format!("{number} or {name}")).collect();
    ensure!(found.len() == words.len(), "--only takes {}", names.join(", "));
    Ok(found)
}

impl Family {
    /// One round.
    pub async fn measure(self, bench: &mut Bench) -> anyhow::Result<()> {
        match self {
            Self::Mixed => mixed::measure(bench, &[Format::Avro]).await,
            Self::Json => mixed::measure(bench, &[Format::Json, Format::JsonSchema]).await,
            Self::Lanes => lanes::measure(bench).await,
            Self::Replay => replay::measure(bench).await,
            Self::Below => replay::measure_below(bench).await,
            Self::Fresh => fresh::measure(bench).await,
            Self::Hot => hot::measure(bench).await,
            Self::Latency => latency::measure(bench).await,
            Self::Memory => memory::measure(bench).await,
            Self::Growth => growth::measure(bench).await,
        }
    }

    /// What is asked of its figures.
    pub fn verdicts(self, results: &Results) -> Vec<Verdict> {
        match self {
            Self::Mixed => mixed::verdicts(results),
            Self::Json => mixed::json_verdicts(results),
            Self::Lanes => lanes::verdicts(results),
            Self::Replay => replay::verdicts(results),
            Self::Below => replay::below_verdicts(results),
            Self::Fresh => fresh::verdicts(results),
            Self::Hot => hot::verdicts(results),
            Self::Latency => latency::verdicts(results),
            Self::Memory => memory::verdicts(results),
            Self::Growth => growth::verdicts(results),
        }
    }
}
