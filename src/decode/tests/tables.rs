//! Hand-built table shapes, records and encoded fields.

use crate::record::{Coordinates, OwnedRecord};
use crate::table::{Bookkeeping, Column, ColumnType, TableName, TableShape};

/// `pg_type.oid` of a type as `format_type` prints it (PostgreSQL's `pg_type.dat`).
fn oid(sql: &str) -> (u32, u32) {
    match sql.split_once('(').map_or(sql, |(name, _)| name) {
        "boolean" => (16, 0),
        "bytea" => (17, 0),
        "bigint" => (20, 0),
        "smallint" => (21, 0),
        "integer" => (23, 0),
        "real" => (700, 0),
        "double precision" => (701, 0),
        "character" => (1042, 0),
        "character varying" => (1043, 0),
        "date" => (1082, 0),
        "timestamp" | "timestamp without time zone" => (1114, 0),
        "timestamp with time zone" => (1184, 0),
        "numeric" => (1700, 0),
        "uuid" => (2950, 0),
        "jsonb" => (3802, 0),
        "text[]" => (1009, 25),
        // The source's enums are text in Silver.
        _ => (25, 0),
    }
}

/// `atttypmod`, from the numbers in parentheses (`numerictypmodin`, `varchartypmodin`, `timestamptypmodin`).
fn typmod(sql: &str) -> i32 {
    let Some((name, rest)) = sql.split_once('(') else { return -1 };
    let numbers: Vec<i32> =
        rest.split(')').next().unwrap().split(',').map(|n| n.trim().parse().unwrap()).collect();
    match (name, numbers.as_slice()) {
        ("numeric", [precision, scale]) => (precision << 16 | scale) + 4,
        ("timestamp", [precision]) => *precision,
        (_, [length]) => length + 4,
        _ => -1,
    }
}

pub fn column(name: &str, sql: &str, not_null: bool) -> Column {
    let (oid, element_oid) = oid(sql);
    let sql = if oid == 25 { "text" } else { sql };
    Column {
        name: name.to_owned(),
        ty: ColumnType {
            oid,
            base_oid: oid,
            element_oid,
            typtype: 'b',
            base_typtype: 'b',
            base_name: String::new(),
            typmod: typmod(sql),
            sql: sql.to_owned(),
        },
        not_null,
        generated: false,
        identity_always: false,
    }
}

/// A table; `text!` is a NOT NULL column of type text.
pub fn shape(name: &str, columns: &[(&str, &str)], key: &[&str]) -> TableShape {
    let columns: Vec<Column> = columns
        .iter()
        .map(|(name, sql)| {
            column(name, sql.trim_end_matches('!'), sql.ends_with('!') || key.contains(name))
        })
        .collect();
    let key = key.iter().map(|k| columns.iter().position(|c| c.name == *k).unwrap()).collect();
    TableShape {
        table: TableName::new("public", name),
        columns,
        generated: Vec::new(),
        key,
        bookkeeping: Bookkeeping::default(),
    }
}

pub fn record(offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> OwnedRecord {
    OwnedRecord {
        at: Coordinates { topic: "t".to_owned(), partition: 0, offset },
        timestamp_ms: Some(1_700_000_000_000),
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    }
}

pub fn json(offset: i64, key: &str, value: &str) -> OwnedRecord {
    record(offset, Some(key.as_bytes()), Some(value.as_bytes()))
}

/// The fields of an encoded row; `None` is -1.
pub fn fields(mut body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut fields = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let length = i32::from_be_bytes(*length);
        let (field, rest) = rest.split_at(usize::try_from(length).unwrap_or(0));
        fields.push((length >= 0).then(|| field.to_vec()));
        body = rest;
    }
    assert!(body.is_empty(), "a row is fields and nothing else");
    fields
}
