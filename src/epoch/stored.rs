//! Lineages as they stand in `silversink.position.lineage`: a JSON object, one lineage by the name of its source.

use super::lineage::Lineage;
use std::collections::BTreeMap;

/// The lineages of a partition as JSON; `None` where no source was seen yet.
#[must_use]
pub fn to_text(lineages: &[(String, Lineage)]) -> Option<String> {
    if lineages.is_empty() {
        return None;
    }
    let by_source: BTreeMap<&str, &Lineage> =
        lineages.iter().map(|(source, lineage)| (source.as_str(), lineage)).collect();
    serde_json::to_string(&by_source).ok()
}

/// Reads what [`to_text`] wrote.
///
/// # Errors
/// What is wrong with the text.
pub fn from_text(text: &str) -> Result<Vec<(String, Lineage)>, serde_json::Error> {
    let by_source: BTreeMap<String, Lineage> = serde_json::from_str(text)?;
    Ok(by_source.into_iter().collect())
}
