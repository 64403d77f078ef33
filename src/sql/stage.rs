//! The staging table of one Silver table: private to the writer's session, emptied by COMMIT.
//!
//! Data columns have positional names (`c0`, `c1`, ...), so that no name of the user can meet a bookkeeping name.
//!
//! # Decisions
//! - Every COMMIT empties all the session's stages, used or not. Where a stage has a TOAST table, the index of that is built
//!   anew each time, and ext4 then waits for the disk (its answer to a file that is cut and written again): 4 ms for each
//!   stage and COMMIT, beside 0.03 ms for a stage without. So the stage of everyday batches has none: columns `STORAGE
//!   PLAIN`, rows of at most one page. A batch with a larger row takes a [`Width::Wide`] one.

use super::ident;
use super::merge::Variant;
use crate::decode::convert::{Staging, staging};
use crate::table::{ColumnType, TableShape};

/// Bookkeeping columns of every staged row, in COPY order, after the data columns.
pub const BOOKKEEPING: [&str; 6] =
    ["_kind", "_version", "_deleted_at", "_source_ts", "_range", "_row"];

/// How large the rows of a stage may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// As large as a page ([`NARROW_BYTES`]); there is no TOAST table.
    Narrow,
    /// As large as PostgreSQL takes them.
    Wide,
}

/// Bytes of a row's encoded data columns that a narrow stage takes: a page's 8,160 without the tuple's header, the
/// bookkeeping columns and the padding. Few types (`jsonb`, arrays) take more room in a row than in a COPY: such a row is
/// refused with [`TOO_LARGE`].
pub const NARROW_BYTES: usize = 7_000;

/// SQLSTATE `program_limit_exceeded`: a row is larger than a page.
pub const TOO_LARGE: &str = "54000";

/// Number of 64-bit words that hold one bit per data column.
#[must_use]
pub fn kept_words(shape: &TableShape) -> usize {
    shape.columns.len().div_ceil(64)
}

/// `pg_type.oid` of `money`.
const MONEY: u32 = 790;

/// Name of the stage in its session; `number` is unique in the session.
#[must_use]
pub fn name(number: u32) -> String {
    format!("pg_temp.silversink_stage_{number}")
}

/// `CREATE TEMP TABLE` of the stage. `ON COMMIT DELETE ROWS` is the cheapest way to empty it, and needs no cleaning after
/// a crash.
#[must_use]
pub fn create(shape: &TableShape, number: u32, width: Width) -> String {
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
    if width == Width::Wide {
        return format!(
            "CREATE TEMPORARY TABLE silversink_stage_{number} ({}) ON COMMIT DELETE ROWS",
            columns.join(", ")
        );
    }
    // In one ALTER TABLE: a TOAST table is made at the end of a statement, for the columns as they are then. CREATE TABLE
    // itself knows STORAGE from PostgreSQL 16 on only.
    let added = columns.iter().map(|column| format!("ADD COLUMN {column}"));
    let names = columns.iter().filter_map(|column| column.split_once(' ')).map(|(name, _)| name);
    let plain = names.map(|name| format!("ALTER COLUMN {name} SET STORAGE PLAIN"));
    let parts: Vec<String> = added.chain(plain).collect();
    format!(
        "CREATE TEMPORARY TABLE silversink_stage_{number} () ON COMMIT DELETE ROWS; ALTER TABLE {} {}",
        name(number),
        parts.join(", ")
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
        // The text form of money depends on the server's locale, that of numeric does not.
        Staging::Text if ty.base_oid == MONEY => {
            format!("CAST(CAST({staged} AS pg_catalog.numeric) AS {})", ty.sql)
        }
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
