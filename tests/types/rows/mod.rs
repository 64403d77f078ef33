//! Debezium's semantic types, each with values on the wire and the literal that PostgreSQL has for them.

mod arrays;
mod domains;
mod modes;
mod numbers;
mod scalars;
mod shapes;
mod times;

pub use arrays::*;
pub use domains::*;
pub use modes::*;
pub use numbers::*;
pub use scalars::*;
pub use shapes::*;
pub use times::*;

/// One type into one column.
#[derive(Clone, Copy)]
pub struct Row {
    /// Connect schema in shorthand.
    pub schema: &'static str,
    /// The type that a created table gives it; empty where there is none.
    pub natural: &'static str,
    /// The type of this column; empty for the natural one.
    pub ty: &'static str,
    /// JSON without schema tells as much.
    pub plain: bool,
    /// Payload of Connect's JSON converter, and the literal.
    pub values: &'static [(&'static str, &'static str)],
}

pub const fn row(
    schema: &'static str,
    natural: &'static str,
    ty: &'static str,
    values: &'static [(&'static str, &'static str)],
) -> Row {
    Row { schema, natural, ty, plain: true, values }
}

/// Only with a schema.
pub const fn typed(
    schema: &'static str,
    natural: &'static str,
    ty: &'static str,
    values: &'static [(&'static str, &'static str)],
) -> Row {
    Row { schema, natural, ty, plain: false, values }
}
