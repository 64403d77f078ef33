//! The row schemas that a topic has had, in the order in which they were first seen, and what a new one changes. Pure.
//!
//! # Decisions
//! - A Silver column that an earlier schema of the topic had and this one has not is *gone*: rows of this schema have NULL
//!   there. A column that no schema of the topic ever had belongs to the user and keeps its value. So a row shows what its
//!   newest record says, whatever the order in which old and new writer schemas arrive.
//! - The rule is the same whether the schema is older than the column or younger: a dropped column brings the very schema
//!   of before back (same text, same id), so no rule could tell the two. Either way the source's row had no such column.
//! - JSON without a schema has no history: a missing field may be a dropped column or an omission, and keeps its value.
//! - One column gone and one new of the same type between two consecutive schemas is *probably* a rename. It is reported,
//!   never acted on: two independent changes look the same.

use super::RecordSchema;
use super::widening::widened;
use crate::decode::convert::natural_type;
use crate::decode::schema::describe::ValueWalk;
use std::collections::BTreeSet;

/// The columns of a row schema: name and natural PostgreSQL type (empty where there is none).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RowColumns {
    /// Name and type, in the order of the schema.
    pub columns: Vec<(String, String)>,
    /// Names of the record key.
    pub key: Vec<String>,
}

impl RowColumns {
    /// The columns of a schema; `None` when there is no schema of the row.
    #[must_use]
    pub fn of(schema: &RecordSchema) -> Option<Self> {
        if matches!(schema.value_walk, ValueWalk::Untyped | ValueWalk::None) {
            return None;
        }
        let columns = schema.row.iter();
        Some(Self {
            columns: columns
                .map(|field| (field.name.clone(), natural_type(&field.ty).unwrap_or_default()))
                .collect(),
            key: schema.key.iter().map(|field| field.name.clone()).collect(),
        })
    }

    fn type_of(&self, name: &str) -> Option<&str> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, ty)| ty.as_str())
    }
}

/// What a schema changes against the one before it, as far as Silver does not show it by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// The column is gone.
    Dropped {
        /// Its name.
        column: String,
    },
    /// One column is gone, one of the same type is new.
    ProbablyRenamed {
        /// The name that is gone.
        from: String,
        /// The new name.
        to: String,
    },
    /// The column's type holds less than before.
    Narrowed {
        /// Its name.
        column: String,
        /// Its natural type before.
        from: String,
        /// Its natural type now.
        to: String,
    },
}

impl Noticed {
    /// As it stands in `silversink.schema_change` and in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dropped { .. } => "drop",
            Self::ProbablyRenamed { .. } => "rename",
            Self::Narrowed { .. } => "narrowing",
        }
    }

    /// The Silver column that it is about.
    #[must_use]
    pub fn column(&self) -> &str {
        match self {
            Self::Dropped { column } | Self::Narrowed { column, .. } => column,
            Self::ProbablyRenamed { to, .. } => to,
        }
    }
}

/// The row schemas of one topic that one table has been fed from, oldest first.
#[derive(Clone, Debug, Default)]
pub struct SchemaHistory {
    /// Each schema once.
    pub schemas: Vec<RowColumns>,
}

impl SchemaHistory {
    /// Whether the schema was never seen before.
    #[must_use]
    pub fn is_new(&self, schema: &RowColumns) -> bool {
        !self.schemas.contains(schema)
    }

    /// Columns that other schemas of the topic have and this one has not.
    #[must_use]
    pub fn gone(&self, schema: &RowColumns) -> BTreeSet<String> {
        let all = self.schemas.iter().flat_map(|earlier| &earlier.columns);
        all.filter(|(name, _)| schema.type_of(name).is_none())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What a new schema changes against the newest that is known; nothing when it is not new.
    #[must_use]
    pub fn noticed(&self, schema: &RowColumns) -> Vec<Noticed> {
        let Some(before) = self.schemas.last().filter(|_| self.is_new(schema)) else {
            return Vec::new();
        };
        let lost: Vec<&(String, String)> =
            before.columns.iter().filter(|(name, _)| schema.type_of(name).is_none()).collect();
        let known = |name: &str| self.schemas.iter().any(|s| s.type_of(name).is_some());
        let new: Vec<&(String, String)> =
            schema.columns.iter().filter(|(name, _)| !known(name)).collect();
        let mut noticed = Vec::new();
        for (name, ty) in &lost {
            let same_type = |list: &[&(String, String)]| -> Vec<String> {
                list.iter().filter(|(_, other)| other == ty).map(|(n, _)| n.clone()).collect()
            };
            // Only where it is unambiguous: one lost and one new of this type.
            noticed.push(match (same_type(&lost).as_slice(), same_type(&new).as_slice()) {
                ([from], [to]) => Noticed::ProbablyRenamed { from: from.clone(), to: to.clone() },
                _ => Noticed::Dropped { column: name.clone() },
            });
        }
        for (column, to) in &schema.columns {
            let narrower = |from: &&str| widened(to, from).is_some() && widened(from, to).is_none();
            if let Some(from) = before.type_of(column).filter(narrower) {
                noticed.push(Noticed::Narrowed {
                    column: column.clone(),
                    from: from.to_owned(),
                    to: to.clone(),
                });
            }
        }
        noticed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[(&str, &str)]) -> RowColumns {
        let columns = columns.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        RowColumns { columns, key: vec!["id".to_owned()] }
    }

    fn gone(history: &SchemaHistory, schema: &RowColumns) -> Vec<String> {
        history.gone(schema).into_iter().collect()
    }

    #[test]
    fn a_column_of_another_schema_is_gone_from_this_one_whichever_is_older() {
        let (a, b) = (row(&[("id", "integer")]), row(&[("id", "integer"), ("x", "text")]));
        let history = SchemaHistory { schemas: vec![a.clone(), b.clone()] };
        assert_eq!(gone(&history, &a), ["x"]);
        assert_eq!(gone(&history, &b), [""; 0]);
        assert!(!history.is_new(&a));
        assert_eq!(history.noticed(&a), []);
    }

    #[test]
    fn one_lost_and_one_new_of_a_type_are_probably_a_rename() {
        let before = row(&[("id", "integer"), ("quantity", "integer"), ("note", "text")]);
        let history = SchemaHistory { schemas: vec![before] };
        let renamed = row(&[("id", "integer"), ("pieces", "integer"), ("note", "text")]);
        assert_eq!(
            history.noticed(&renamed),
            [Noticed::ProbablyRenamed { from: "quantity".to_owned(), to: "pieces".to_owned() }]
        );
        let other_type = row(&[("id", "integer"), ("pieces", "bigint"), ("note", "text")]);
        assert_eq!(
            history.noticed(&other_type),
            [Noticed::Dropped { column: "quantity".to_owned() }]
        );
        let two = row(&[("id", "integer"), ("a", "integer"), ("b", "integer"), ("note", "text")]);
        assert_eq!(history.noticed(&two), [Noticed::Dropped { column: "quantity".to_owned() }]);
    }

    #[test]
    fn a_column_that_comes_back_is_no_rename() {
        let old = row(&[("id", "integer"), ("a", "text")]);
        let now = row(&[("id", "integer"), ("b", "text")]);
        let history = SchemaHistory { schemas: vec![old, now] };
        let back = row(&[("id", "integer"), ("a", "text"), ("c", "date")]);
        assert_eq!(history.noticed(&back), [Noticed::Dropped { column: "b".to_owned() }]);
    }

    #[test]
    fn a_narrower_type_is_noticed() {
        let history = SchemaHistory { schemas: vec![row(&[("id", "integer"), ("n", "bigint")])] };
        let narrowed = Noticed::Narrowed {
            column: "n".to_owned(),
            from: "bigint".to_owned(),
            to: "integer".to_owned(),
        };
        assert_eq!(history.noticed(&row(&[("id", "integer"), ("n", "integer")])), [narrowed]);
        assert_eq!(history.noticed(&row(&[("id", "bigint"), ("n", "bigint")])), []);
    }
}
