//! The staging table of one Silver table: private to the writer's session, emptied by COMMIT.
//!
//! Data columns have positional names (`c0`, `c1`, ...), so that no name of the user can meet a bookkeeping name.

use super::ident;
use super::merge::Variant;
use crate::decode::convert::{Staging, staging};
use crate::table::{ColumnType, TableShape};

/// Bookkeeping columns of every staged row, in COPY order, after the data columns.
pub const BOOKKEEPING: [&str; 6] =
    ["_kind", "_version", "_deleted_at", "_source_ts", "_range", "_row"];

/// Number of 64-bit words that hold one bit per data column.
#[must_use]
pub fn kept_words(shape: &TableShape) -> usize {
    shape.columns.len().div_ceil(64)
}

/// Name of the stage in its session; `number` is unique in the session.
#[must_use]
pub fn name(number: u32) -> String {
    format!("pg_temp.silversink_stage_{number}")
}

/// `CREATE TEMP TABLE` of the stage. `ON COMMIT DELETE ROWS` is the cheapest way to empty it, and needs no cleaning after
/// a crash.
#[must_use]
pub fn create(shape: &TableShape, number: u32) -> String {
    let mut columns: Vec<String> = shape
        .columns
        .iter()
        .enumerate()
        .map(|(i, c)| format!("c{i} {}", column_type(&c.ty)))
        .collect();
    columns.extend(
        [
            "_kind \"char\" NOT NULL",
            "_version bytea NOT NULL",
            "_deleted_at timestamptz",
            "_source_ts timestamptz",
            "_range int2 NOT NULL",
            "_row int4 NOT NULL",
            "_needs_base boolean",
            "_base_from bytea",
            "_old_at bytea",
            "_old_from bytea",
            "_old_to bytea",
        ]
        .map(str::to_owned),
    );
    columns.extend((0..kept_words(shape)).map(|word| format!("_kept{word} bigint")));
    let key = shape.key.iter().filter_map(|&index| shape.columns.get(index)).enumerate();
    columns.extend(key.map(|(place, c)| format!("_old{place} {}", column_type(&c.ty))));
    format!(
        "CREATE TEMPORARY TABLE silversink_stage_{number} ({}) ON COMMIT DELETE ROWS",
        columns.join(", ")
    )
}

/// `DROP TABLE` of the stage.
#[must_use]
pub fn drop(number: u32) -> String {
    format!("DROP TABLE IF EXISTS {}", name(number))
}

/// `COPY ... FROM STDIN BINARY` of the stage; a variant's columns beyond the first are what only
/// [`crate::batch::Kind::Partial`] rows need, and of those only rows whose key changed.
#[must_use]
pub fn copy(shape: &TableShape, number: u32, variant: Variant) -> String {
    let mut columns: Vec<String> = (0..shape.columns.len()).map(|i| format!("c{i}")).collect();
    columns.extend(BOOKKEEPING.map(str::to_owned));
    if variant != Variant::Fast {
        columns.extend(["_needs_base", "_base_from"].map(str::to_owned));
        columns.extend((0..kept_words(shape)).map(|word| format!("_kept{word}")));
    }
    if variant == Variant::Moved {
        columns.extend(["_old_at", "_old_from", "_old_to"].map(str::to_owned));
        columns.extend((0..shape.key.len()).map(|place| format!("_old{place}")));
    }
    format!("COPY {} ({}) FROM STDIN (FORMAT binary)", name(number), columns.join(", "))
}

/// Number of fields that [`copy`] lists.
#[must_use]
pub fn fields(shape: &TableShape, variant: Variant) -> usize {
    let partial = 2 + kept_words(shape);
    shape.columns.len()
        + BOOKKEEPING.len()
        + match variant {
            Variant::Fast => 0,
            Variant::Full => partial,
            Variant::Moved => partial + 3 + shape.key.len(),
        }
}

/// Condition on stage `s`: column `index` keeps the value of its base.
#[must_use]
pub fn kept(index: usize) -> String {
    let bit = (1_u64 << (index % 64)).cast_signed();
    format!("(s._kept{} & ({bit})::pg_catalog.int8) <> 0", index / 64)
}

/// The staged value of column `index` as an expression of the target column's type.
#[must_use]
pub fn value(shape: &TableShape, index: usize) -> String {
    match shape.columns.get(index) {
        Some(column) => cast(&column.ty, &format!("s.c{index}")),
        None => format!("s.c{index}"),
    }
}

/// A staged value as an expression of the type that it is for.
#[must_use]
pub fn cast(ty: &ColumnType, staged: &str) -> String {
    match staging(ty) {
        Staging::Text => format!("CAST({staged} AS {})", without_typmod(&ty.sql)),
        Staging::Native => staged.to_owned(),
    }
}

/// `t.key = s.key AND ...`, plain equality, so that the key's index is usable.
#[must_use]
pub fn same_key(shape: &TableShape) -> String {
    let parts: Vec<String> = shape
        .key
        .iter()
        .filter_map(|&i| {
            shape
                .columns
                .get(i)
                .map(|c| format!("t.{} = {}", ident::quote(&c.name), value(shape, i)))
        })
        .collect();
    parts.join(" AND ")
}

fn column_type(ty: &ColumnType) -> String {
    match staging(ty) {
        Staging::Native => ty.sql.clone(),
        Staging::Text => "text".to_owned(),
    }
}

/// A type without its length: an explicit cast to `varchar(5)` cuts the value, while the assignment to the column
/// refuses what is too long (PostgreSQL manual, "Value Storage"); only the second is allowed here (I11).
fn without_typmod(sql: &str) -> String {
    let mut quoted = false;
    let open = sql.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '(' && !quoted).then_some(at)
    });
    let Some((head, tail)) = open
        .and_then(|at| sql.split_at_checked(at))
        .and_then(|(head, tail)| tail.split_once(')').map(|(_, tail)| (head, tail)))
    else {
        return sql.to_owned();
    };
    // Without a length these two mean "exactly one".
    let head = match head {
        "character" => "bpchar",
        "bit" => "bit varying",
        other => other,
    };
    format!("{head}{tail}")
}

#[cfg(test)]
mod tests {
    use super::without_typmod;

    #[test]
    fn a_cast_never_carries_a_length() {
        assert_eq!(without_typmod("character varying(5)[]"), "character varying[]");
        assert_eq!(without_typmod("character(3)[]"), "bpchar[]");
        assert_eq!(without_typmod("bit(3)"), "bit varying");
        assert_eq!(without_typmod("timestamp(3) with time zone"), "timestamp with time zone");
        assert_eq!(without_typmod("numeric(10,2)"), "numeric");
        assert_eq!(without_typmod("\"odd(type)\""), "\"odd(type)\"");
        assert_eq!(without_typmod("geometry(Point,4326)"), "geometry");
        assert_eq!(without_typmod("text"), "text");
    }
}
