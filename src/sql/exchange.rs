//! What Silver tells of deletes after which the source may still have a row of their key.

use super::ident;
use super::merge::Names;
use super::stage;
use crate::table::TableShape;

/// The target rows of the staged keys: index of the staged row, version, whether the row is live, and whether it has the
/// values that the staged row gives. Compared as texts, because not every type has an equality.
#[must_use]
pub fn found(shape: &TableShape, number: u32) -> String {
    let names = Names::of(shape);
    let mut same = vec!["true".to_owned()];
    for (index, column) in shape.columns.iter().enumerate() {
        if shape.key.contains(&index) || column.generated {
            continue;
        }
        same.push(format!(
            "({kept} OR CAST(t.{name} AS pg_catalog.text) IS NOT DISTINCT FROM CAST({value} AS pg_catalog.text))",
            kept = stage::kept(index),
            name = ident::quote(&column.name),
            value = stage::value(shape, index),
        ));
    }
    format!(
        "SELECT s._row, t.{version}, t.{deleted} IS NULL, {same} FROM {stage} AS s JOIN {target} AS t ON {key}",
        version = names.version,
        deleted = names.deleted_at,
        same = same.join(" AND "),
        stage = stage::name(number),
        target = ident::table(&shape.table),
        key = stage::same_key(shape),
    )
}
