//! Slot -> PostgreSQL binary field.

use crate::table::ColumnType;

/// How a column's field travels in the staging table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// In the column's own type.
    Native,
    /// As text, cast by PostgreSQL.
    Text,
}

/// The staging of a column.
#[must_use]
pub fn staging(ty: &ColumnType) -> Staging {
    const NATIVE: [u32; 20] = [
        16, 17, 18, 19, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1700, 2950, 3802,
    ];
    if NATIVE.contains(&ty.oid) { Staging::Native } else { Staging::Text }
}
