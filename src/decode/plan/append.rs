//! Tables to which every change is appended: keyed by the record's place in Kafka, because the record has no key.

use super::Mismatch;
use crate::table::{ProposedColumn, TableShape};

/// A column that the record's place or op fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `_topic_id uuid`: a topic that is created again has another one, and its offsets start over.
    TopicId,
    /// `_partition integer`.
    Partition,
    /// `_offset bigint`.
    Offset,
    /// `_op text`: `c`, `u`, `d`, `r` or `t` as the envelope says; NULL where a flattened record does not tell.
    Op,
}

const PLACES: [Place; 4] = [Place::TopicId, Place::Partition, Place::Offset, Place::Op];

impl Place {
    /// The column of this name, if it is one of them.
    #[must_use]
    pub fn of(column: &str) -> Option<Self> {
        PLACES.into_iter().find(|place| place.column() == column)
    }

    /// Column name.
    #[must_use]
    pub fn column(self) -> &'static str {
        match self {
            Self::TopicId => "_topic_id",
            Self::Partition => "_partition",
            Self::Offset => "_offset",
            Self::Op => "_op",
        }
    }

    /// Type as `format_type` prints it.
    fn sql_type(self) -> &'static str {
        match self {
            Self::TopicId => "uuid",
            Self::Partition => "integer",
            Self::Offset => "bigint",
            Self::Op => "text",
        }
    }

    fn is_key(self) -> bool {
        self != Self::Op
    }
}

/// The four columns of a table that is to be created.
pub(super) fn columns() -> impl Iterator<Item = ProposedColumn> {
    PLACES.into_iter().enumerate().map(|(at, place)| ProposedColumn {
        name: place.column().to_owned(),
        sql_type: place.sql_type().to_owned(),
        key: place.is_key().then_some(at),
        comment: None,
    })
}

/// The places that make up the table's primary key, in its order.
///
/// # Errors
/// What the table lacks.
pub(super) fn key(shape: &TableShape) -> Result<Vec<Place>, Vec<Mismatch>> {
    let mut mismatches = Vec::new();
    for proposed in columns() {
        match shape.column(&proposed.name).and_then(|at| shape.columns.get(at)) {
            None => {
                mismatches.push(Mismatch::ColumnMissing(ProposedColumn { key: None, ..proposed }))
            }
            Some(column) if column.ty.sql != proposed.sql_type => {
                mismatches.push(Mismatch::TypeMismatch {
                    reason: format!("column \"{}\" has to be {}", proposed.name, proposed.sql_type),
                    column: proposed.name,
                    wanted_sql_type: Some(proposed.sql_type),
                });
            }
            Some(_) => {}
        }
    }
    let names =
        || shape.key.iter().filter_map(|at| shape.columns.get(*at)).map(|c| c.name.as_str());
    let places: Vec<Place> = names().filter_map(Place::of).filter(|p| p.is_key()).collect();
    if places.len() != 3 || names().count() != 3 {
        mismatches.push(Mismatch::KeyMismatch(format!(
            "the primary key of an append table is (_topic_id, _partition, _offset), that of {} is ({})",
            shape.table,
            names().collect::<Vec<_>>().join(", ")
        )));
    }
    if mismatches.is_empty() { Ok(places) } else { Err(mismatches) }
}
