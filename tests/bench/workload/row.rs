//! The row: its columns in every type system that meets it, and its values.

use super::Change;
use std::borrow::Cow;

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Long,
    Int,
    /// `numeric(12,2)`, counted in hundredths.
    Cents,
    Text,
    /// Microseconds since 1970.
    Instant,
}

/// A value of a column.
pub enum Value {
    Long(i64),
    Int(i32),
    Cents(i64),
    Text(Cow<'static, str>),
    Instant(i64),
}

/// The columns that a table has without being asked for more.
pub const COLUMNS: [(&str, Kind); 8] = [
    ("order_id", Kind::Long),
    ("customer_id", Kind::Long),
    ("store_id", Kind::Int),
    ("order_amount", Kind::Cents),
    ("status", Kind::Text),
    ("created_at", Kind::Instant),
    ("updated_at", Kind::Instant),
    ("note", Kind::Text),
];

/// Name and type of a column.
pub fn column(number: usize) -> (String, Kind) {
    match COLUMNS.get(number) {
        Some((name, kind)) => ((*name).to_owned(), *kind),
        None => {
            let kind = [Kind::Long, Kind::Text, Kind::Instant, Kind::Int][number % 4];
            (format!("extra_{number}"), kind)
        }
    }
}

/// The columns of a row as PostgreSQL declares them.
pub fn declared(columns: usize) -> String {
    let all: Vec<String> = (0..columns)
        .map(|number| {
            let (name, kind) = column(number);
            let ty = match kind {
                Kind::Long => "bigint",
                Kind::Int => "integer",
                Kind::Cents => "numeric(12,2)",
                Kind::Text => "text",
                Kind::Instant => "timestamptz",
            };
            format!("{name} {ty}{}", if number == 0 { " NOT NULL" } else { "" })
        })
        .collect();
    all.join(", ")
}

/// The columns' names.
pub fn names(columns: usize) -> String {
    (0..columns).map(|number| column(number).0).collect::<Vec<_>>().join(", ")
}

/// What a row holds before anything happens to it, as SQL over its key `g`.
pub fn prefilled(columns: usize) -> String {
    let all: Vec<&str> = (0..columns)
        .map(|number| match (number, column(number).1) {
            (0, _) => "g",
            (7, _) => "md5(g::text) || ' left with neighbour, ring twice'",
            (_, Kind::Long) => "g % 100000",
            (_, Kind::Int) => "g % 512",
            (_, Kind::Cents) => "(g % 1000000)::numeric / 100",
            (_, Kind::Text) => "'pending'",
            (_, Kind::Instant) => "to_timestamp(1700000000 + g)",
        })
        .collect();
    all.join(", ")
}

/// A value of a change's row; `before` is the row as it was.
pub fn value(number: usize, change: &Change, before: bool) -> Value {
    let random = change.random;
    let part = |shift: u32, below: i64| i64::try_from(random >> shift).unwrap_or(0) % below;
    match (number, column(number).1) {
        (0, _) => Value::Long(change.id),
        (1, _) => Value::Long(part(40, 100_000)),
        (4, _) => {
            let all = ["pending", "paid", "shipped", "delivered", "cancelled"];
            let at = if before { 0 } else { usize::try_from(random % 5).unwrap_or(0) };
            Value::Text(Cow::Borrowed(all[at]))
        }
        (5, _) => Value::Instant(1_700_000_000_000_000 + part(24, 1 << 40)),
        (6, _) => Value::Instant(change.at - if before { 1_000_000 } else { 0 }),
        (7, _) => Value::Text(Cow::Owned(format!(
            "{random:016x} left with neighbour, ring twice, code {:08}",
            random % 99_999_999
        ))),
        (_, Kind::Long) => Value::Long(part(8, 1 << 40)),
        (_, Kind::Int) => Value::Int(i32::try_from(part(20, 512)).unwrap_or(0)),
        (_, Kind::Cents) => Value::Cents(part(33, 1_000_000) / if before { 2 } else { 1 }),
        (_, Kind::Text) => Value::Text(Cow::Owned(format!("{:08x}", random >> 32))),
        (_, Kind::Instant) => Value::Instant(1_700_000_000_000_000 + part(16, 1 << 40)),
    }
}

/// A moment as Debezium writes a `timestamptz`.
pub fn instant(microseconds: i64) -> String {
    let at = jiff::Timestamp::from_microsecond(microseconds).expect("a time of our century");
    format!("{at:.6}")
}

/// Two's complement in as few bytes as hold the value, as Connect's Decimal does.
pub fn shortest(value: i64) -> Vec<u8> {
    let all = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let needless =
        all.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) < 0x80).count();
    all[needless..].to_vec()
}
