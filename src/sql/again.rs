//! Partitions that are read again past the beginning of a source epoch ([`crate::batch::Batch::again`]): which rows in Silver
//! have been written by what stands behind a staged change.
//!
//! # Decisions
//! - Until it is read again, a row that was written past the beginning has an epoch too low, and everything before it in the
//!   partition would be above it. A whole row may go over it: it is what the key was then. A delete keeps the image, and a
//!   partial row values, that are of a later time: a row whose key this delete changed, in another partition, would take
//!   them for its own. Both are in that row already, which comes into the new epoch by its own record: they are superseded.
//! - The offset tells what stands behind, within one partition, and the source time that it is one: after a change of the
//!   partition count the row of an earlier cluster may have a greater offset, but not a later time.

use super::merge::Names;
use super::{ident, stage};
use crate::table::TableShape;
use crate::version::Version;

/// Puts staged deletes and partial rows below a row that stands behind them, whatever its epoch: the guard supersedes them.
#[must_use]
pub fn supersede(shape: &TableShape, number: u32) -> String {
    let names = Names::of(shape);
    format!(
        "UPDATE {stage} AS s SET _version = '\\x{lowest}'::pg_catalog.bytea FROM {table} AS t \
         WHERE s._kind IN ('d', 'p') AND {same} AND {behind}",
        stage = stage::name(number),
        lowest = "00".repeat(Version::LEN),
        table = ident::table(&shape.table),
        same = stage::same_key(shape),
        behind = is_behind(&names, "t", "s._version"),
    )
}

/// Condition: `row` stands behind the staged change `s` of this version at the source, in an epoch below.
pub(super) fn is_behind(names: &Names, row: &str, version: &str) -> String {
    let offset = Version::OFFSET_AT + 1;
    format!(
        "pg_catalog.substr({row}.{own}, 1, 4) < pg_catalog.substr({version}, 1, 4) \
         AND pg_catalog.substr({row}.{own}, {offset}) > pg_catalog.substr({version}, {offset}) \
         AND {row}.{source_ts} >= s._source_ts",
        own = names.version,
        source_ts = names.source_ts,
    )
}
