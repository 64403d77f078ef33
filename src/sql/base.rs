//! The base of a partial row (I9): which Silver row may lend it the values that it does not carry.
//!
//! # Decisions
//! - The row of the same key is a base while it is live and belongs to the same life of the key (`_base_from`).
//! - After a change of the key the base is the row of the old key, in the state in which the change left it: marked deleted
//!   at the same position of the source. When the batch itself holds that delete, it is the live row before it, unless that
//!   has been written by what stands behind the delete, in an earlier epoch ([`again`]).
//! - A row that only ever was a mark of a delete has no values to lend: a placeholder never stands for NULL, so a base all
//!   of whose kept columns are NULL is none.

use super::merge::Names;
use super::{again, ident, stage};
use crate::decode::convert::{Staging, staging};
use crate::table::TableShape;
use crate::version::Version;

/// Condition on stage `s` and target `t`: the staged row is partial, newer, and this target is no base for it.
pub(super) fn is_missing(names: &Names) -> String {
    format!(
        "s._kind = 'p' AND s._needs_base AND s._version > t.{version} \
         AND (t.{deleted} IS NOT NULL OR t.{version} < s._base_from)",
        version = names.version,
        deleted = names.deleted_at
    )
}

/// Indexes of staged partial rows that the MERGE left alone because they have no base, separated by commas, or NULL.
#[must_use]
pub fn rows_without_base(shape: &TableShape, number: u32) -> String {
    let names = Names::of(shape);
    format!(
        "SELECT pg_catalog.string_agg(s._row::pg_catalog.text, ',' ORDER BY s._row) FROM {} AS s LEFT JOIN {} AS t ON {} \
         WHERE (t.{} IS NULL AND s._kind = 'p' AND s._needs_base) OR ({})",
        stage::name(number),
        ident::table(&shape.table),
        stage::same_key(shape),
        names.version,
        is_missing(&names),
    )
}

/// Gives staged rows whose key changed the values of the row of their old key, where that row is their base. They are whole
/// then. Rows that the table knows already, or has a base for under their own key, stay as they are.
#[must_use]
pub fn carry_over(shape: &TableShape, number: u32) -> String {
    let names = Names::of(shape);
    let at = Version::OFFSET_AT;
    let mut set = vec!["_kind = 'w'".to_owned()];
    let mut lends = Vec::new();
    for (index, column) in shape.columns.iter().enumerate() {
        if shape.key.contains(&index) {
            continue;
        }
        let name = ident::quote(&column.name);
        let value = match staging(&column.ty) {
            Staging::Native => format!("o.{name}"),
            Staging::Text => format!("CAST(o.{name} AS pg_catalog.text)"),
        };
        let kept = stage::kept(index);
        set.push(format!("c{index} = CASE WHEN {kept} THEN {value} ELSE s.c{index} END"));
        lends.push(format!("({kept} AND o.{name} IS NOT NULL)"));
    }
    if lends.is_empty() {
        lends.push("false".to_owned());
    }
    let key: Vec<String> = shape
        .key
        .iter()
        .enumerate()
        .filter_map(|(place, &index)| {
            let column = shape.columns.get(index)?;
            let value = stage::cast(&column.ty, &format!("s._old{place}"));
            Some(format!("o.{} = {value}", ident::quote(&column.name)))
        })
        .collect();
    format!(
        "UPDATE {stage} AS s SET {set} FROM {table} AS o WHERE s._kind = 'p' AND s._old_at IS NOT NULL AND {key} \
         AND ((o.{deleted} IS NOT NULL AND pg_catalog.substr(o.{version}, 1, {at}) = pg_catalog.substr(s._old_at, 1, {at})) \
           OR (o.{deleted} IS NULL AND o.{version} >= s._old_from AND o.{version} < s._old_to AND ({behind}) IS NOT TRUE)) \
         AND ({lends}) \
         AND NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same} AND t.{version} >= s._base_from)",
        stage = stage::name(number),
        set = set.join(", "),
        table = ident::table(&shape.table),
        key = key.join(" AND "),
        deleted = names.deleted_at,
        version = names.version,
        behind = again::is_behind(&names, "o", "s._old_to"),
        lends = lends.join(" OR "),
        same = stage::same_key(shape),
    )
}
