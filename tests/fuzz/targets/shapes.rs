//! Silver tables for the targets: PostgreSQL types by the names that the decoder proposes, and checks of encoded rows.

use silversink::table::{Bookkeeping, Column, ColumnType, TableName, TableShape};

/// A type by name: its oid and its element's, as `pg_type.dat` has them; any other name is an extension's type.
pub fn column_type(sql: &str) -> ColumnType {
    let array = sql.ends_with("[]");
    let bare = sql.trim_end_matches("[]");
    let (name, modifier) = bare.split_once('(').map_or((bare, None), |(n, m)| (n, Some(m)));
    let numbers: Vec<i32> = modifier
        .map(|m| m.trim_end_matches(')').split(',').filter_map(|n| n.trim().parse().ok()).collect())
        .unwrap_or_default();
    let oid = oid(name);
    let typmod = match (name, numbers.as_slice()) {
        ("numeric", [precision, scale]) => (precision << 16 | (scale & 0x7ff)) + 4,
        ("varchar" | "char" | "character varying", [length]) => length.saturating_add(4),
        (_, [number]) => *number,
        _ => -1,
    };
    let (oid, element_oid) = if array { (oid + 1_000_000, oid) } else { (oid, 0) };
    ColumnType {
        oid,
        base_oid: oid,
        element_oid,
        typtype: 'b',
        base_typtype: 'b',
        base_name: name.to_owned(),
        typmod,
        sql: sql.to_owned(),
    }
}

fn oid(name: &str) -> u32 {
    match name {
        "boolean" => 16,
        "bytea" => 17,
        "\"char\"" => 18,
        "name" => 19,
        "bigint" => 20,
        "smallint" => 21,
        "integer" => 23,
        "text" => 25,
        "oid" => 26,
        "json" => 114,
        "xml" => 142,
        "point" => 600,
        "real" => 700,
        "double precision" => 701,
        "money" => 790,
        "inet" => 869,
        "char" => 1042,
        "varchar" => 1043,
        "date" => 1082,
        "time" => 1083,
        "timestamp" => 1114,
        "timestamptz" => 1184,
        "interval" => 1186,
        "timetz" => 1266,
        "bit" => 1560,
        "varbit" | "bit varying" => 1562,
        "numeric" => 1700,
        "uuid" => 2950,
        "tsvector" => 3614,
        "int4range" => 3904,
        "jsonb" => 3802,
        _ => 16_500,
    }
}

/// A table whose first column is its key.
pub fn table(columns: impl IntoIterator<Item = (String, String)>) -> TableShape {
    let columns = columns
        .into_iter()
        .map(|(name, sql)| Column {
            name,
            ty: column_type(&sql),
            not_null: false,
            generated: false,
            identity_always: false,
        })
        .collect();
    TableShape {
        table: TableName::new("silver", "fuzzed"),
        columns,
        key: vec![0],
        bookkeeping: Bookkeeping::default(),
        generated: vec![],
    }
}

/// A row is so many fields of PostgreSQL's binary form, and nothing else.
pub fn assert_fields(mut body: &[u8], count: usize) {
    for _ in 0..count {
        let (length, rest) = body.split_first_chunk::<4>().expect("a field has a length");
        let length = i32::from_be_bytes(*length);
        assert!(length >= -1, "a length is negative");
        body = rest.get(usize::try_from(length).unwrap_or(0)..).expect("a field has its bytes");
    }
    assert!(body.is_empty(), "a row is fields and nothing else");
}
