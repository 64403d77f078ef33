//! The table's shape, and rows in the form that the arena takes.

use super::silver::KEY_FIELD;
use super::source::COLUMNS;
use silversink::batch::OffsetRange;
use silversink::batch::arena::SealedRange;
use silversink::table::{Bookkeeping, Column, ColumnType, TableName, TableShape};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// `id bigint PRIMARY KEY, a integer, b integer, c integer`.
pub fn shape() -> &'static Arc<TableShape> {
    static SHAPE: OnceLock<Arc<TableShape>> = OnceLock::new();
    SHAPE.get_or_init(|| {
        let column = |name: &str, oid, sql: &str| Column {
            name: name.to_owned(),
            ty: ColumnType {
                oid,
                base_oid: oid,
                element_oid: 0,
                typtype: 'b',
                base_typtype: 'b',
                base_name: String::new(),
                typmod: -1,
                sql: sql.to_owned(),
            },
            not_null: name == "id",
            generated: false,
            identity_always: false,
        };
        Arc::new(TableShape {
            table: TableName::new("s", "t"),
            columns: vec![
                column("id", 20, "bigint"),
                column("a", 23, "integer"),
                column("b", 23, "integer"),
                column("c", 23, "integer"),
            ],
            key: vec![0],
            bookkeeping: Bookkeeping::default(),
            generated: Vec::new(),
        })
    })
}

/// The encoded key.
pub fn key_field(key: u8) -> [u8; KEY_FIELD] {
    let mut field = [0; KEY_FIELD];
    field[3] = 8;
    field[KEY_FIELD - 1] = key;
    field
}

/// An encoded row.
pub struct Body {
    bytes: [u8; KEY_FIELD + 8 * COLUMNS],
    length: usize,
}

impl Body {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Encodes a row; a column without value is NULL or not given.
pub fn body(key: u8, values: [Option<i32>; COLUMNS]) -> Body {
    let mut body = Body { bytes: [0; KEY_FIELD + 8 * COLUMNS], length: 0 };
    let mut put = |bytes: &[u8]| {
        body.bytes[body.length..body.length + bytes.len()].copy_from_slice(bytes);
        body.length += bytes.len();
    };
    put(&key_field(key));
    for value in values {
        match value {
            Some(value) => {
                put(&4_i32.to_be_bytes());
                put(&value.to_be_bytes());
            }
            None => put(&(-1_i32).to_be_bytes()),
        }
    }
    body
}

/// A partition's slot.
pub fn slot(partition: usize) -> u16 {
    u16::try_from(partition).unwrap()
}

/// What a batch holds of a partition.
pub fn sealed(at: usize, from: usize, next: usize) -> SealedRange {
    let range = OffsetRange {
        topic: String::new(),
        topic_id: Uuid::nil(),
        partition: at as i32,
        owner_epoch: 1,
        from: from as i64,
        next: next as i64,
        changes: 0,
        folded: 0,
        skipped: 0,
        dead_lettered: 0,
        lineage: None,
    };
    SealedRange { slot: slot(at), range }
}
