//! Alterations of Silver tables that lose nothing, and whether each is still to be done.

use super::{ddl, ident};
use crate::decode::plan::widening::Widened;
use crate::fault::Fault;
use crate::table::{Bookkeeping, ProposedColumn, TableName};

/// What one alteration does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The table exists.
    Table,
    /// The bookkeeping columns exist.
    Bookkeeping(Vec<String>),
    /// The column exists.
    Column(String),
    /// The column has a wider type.
    Widening {
        /// Column name.
        column: String,
        /// Its type before, as `format_type` prints it.
        from: String,
        /// Its type afterwards.
        to: Widened,
    },
    /// The column's enum type has the label.
    Label {
        /// Column name.
        column: String,
        /// The label.
        label: String,
    },
}

/// One alteration: its effect, and the statements that bring it about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    /// What it does.
    pub effect: Effect,
    /// DDL, to be run in one transaction.
    pub statements: Vec<String>,
}

/// A column as the catalogue has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Name.
    pub name: String,
    /// Type, as `format_type` prints it.
    pub sql_type: String,
    /// Labels of its type, if that is an enum.
    pub labels: Vec<String>,
}

impl Alteration {
    /// Creates the table.
    ///
    /// # Errors
    /// As [`ddl::create_table`].
    pub fn create(
        table: &TableName,
        columns: &[ProposedColumn],
        names: &Bookkeeping,
    ) -> Result<Self, Fault> {
        let statements = ddl::create_table(table, columns, names)?;
        Ok(Self { effect: Effect::Table, statements })
    }

    /// Adds bookkeeping columns.
    #[must_use]
    pub fn bookkeeping(table: &TableName, names: &Bookkeeping, missing: Vec<String>) -> Self {
        let statements = ddl::add_bookkeeping(table, names, &missing);
        Self { effect: Effect::Bookkeeping(missing), statements }
    }

    /// Adds a data column: nullable and without a default.
    ///
    /// # Errors
    /// As [`ddl::add_column`].
    pub fn column(table: &TableName, column: &ProposedColumn) -> Result<Self, Fault> {
        let statements = ddl::add_column(table, column)?;
        Ok(Self { effect: Effect::Column(column.name.clone()), statements })
    }

    /// Widens a column.
    #[must_use]
    pub fn widening(table: &TableName, column: &str, from: &str, to: &Widened) -> Self {
        let statements = vec![ddl::widen(table, column, &to.sql_type)];
        let (column, from) = (column.to_owned(), from.to_owned());
        Self { effect: Effect::Widening { column, from, to: to.clone() }, statements }
    }

    /// Gives a column's enum type a label, behind the others: where the source has it is not told. `sql_type` is the type
    /// as `format_type` prints it.
    #[must_use]
    pub fn label(column: &str, sql_type: &str, label: &str) -> Self {
        let statements = vec![ddl::add_label(sql_type, label)];
        Self {
            effect: Effect::Label { column: column.to_owned(), label: label.to_owned() },
            statements,
        }
    }

    /// As it stands in `silversink.schema_change` and in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.effect {
            Effect::Table => "table",
            Effect::Bookkeeping(_) => "bookkeeping",
            Effect::Column(_) => "column",
            Effect::Widening { .. } => "widening",
            Effect::Label { .. } => "label",
        }
    }

    /// The column that is changed, if it is one.
    #[must_use]
    pub fn column_name(&self) -> Option<&str> {
        match &self.effect {
            Effect::Table | Effect::Bookkeeping(_) => None,
            Effect::Column(column)
            | Effect::Label { column, .. }
            | Effect::Widening { column, .. } => Some(column),
        }
    }

    /// PostgreSQL writes the whole table anew.
    #[must_use]
    pub fn rewrites(&self) -> bool {
        matches!(&self.effect, Effect::Widening { to, .. } if to.rewrites)
    }

    /// What it is good for, in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.effect {
            Effect::Table => "the table does not exist".to_owned(),
            Effect::Bookkeeping(missing) => {
                format!("lacks bookkeeping columns: {}", missing.join(", "))
            }
            Effect::Column(column) => format!("lacks column {}", ident::quote(column)),
            Effect::Widening { column, from, to } => {
                format!("column {} is {from}, the source has {}", ident::quote(column), to.sql_type)
            }
            Effect::Label { column, .. } => {
                format!("the enum type of column {} lacks a label", ident::quote(column))
            }
        }
    }

    /// What the alteration does not bring along, and the cure, if there is something: what DDL did to the source's rows in place
    /// stands in no record.
    #[must_use]
    pub fn remark(&self) -> Option<&'static str> {
        match &self.effect {
            Effect::Column(_) => Some(
                "rows that the source does not write again stay NULL there, whatever default it gave them: take an incremental \
                 snapshot of the table (signal execute-snapshot) if it gave one",
            ),
            Effect::Widening { .. } => Some(
                "rows that the source does not write again keep the values that they had, whatever the change made of them: take \
                 an incremental snapshot of the table (signal execute-snapshot) if it converted them",
            ),
            Effect::Table | Effect::Bookkeeping(_) | Effect::Label { .. } => None,
        }
    }

    /// Whether it is still to be done: another worker may have been quicker. `None` stands for a table that does not exist.
    #[must_use]
    pub fn is_pending(&self, present: Option<&[Present]>) -> bool {
        let Some(columns) = present else { return self.effect == Effect::Table };
        let find = |name: &str| columns.iter().find(|column| column.name == name);
        match &self.effect {
            Effect::Table => false,
            Effect::Bookkeeping(missing) => missing.iter().any(|name| find(name).is_none()),
            Effect::Column(column) => find(column).is_none(),
            Effect::Widening { column, from, .. } => {
                find(column).is_some_and(|found| found.sql_type == *from)
            }
            Effect::Label { column, label } => {
                find(column).is_some_and(|found| !found.labels.contains(label))
            }
        }
    }
}

/// Columns as they are now, in the transaction that is to change them. `$1` schema, `$2` table; no row when there is no
/// such table.
pub const PRESENT: &str = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
    ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = a.atttypid) \
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid \
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
  WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped";

/// Bytes that a rewrite of the table would write: heap, TOAST and indexes, of its partitions too. `$1` schema, `$2` table.
pub const BYTES: &str = "SELECT coalesce(sum(pg_catalog.pg_total_relation_size(p.relid)), 0)::int8 \
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
  CROSS JOIN LATERAL (SELECT c.oid AS relid UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) AS t) AS p \
  WHERE n.nspname = $1 AND c.relname = $2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_worker_has_done_is_not_done_again() {
        let table = TableName::new("s", "t");
        let to = Widened { sql_type: "bigint".into(), rewrites: true };
        let widening = Alteration::widening(&table, "n", "integer", &to);
        let with = |sql_type: &str| {
            vec![Present { name: "n".into(), sql_type: sql_type.into(), labels: vec![] }]
        };
        assert!(widening.is_pending(Some(&with("integer"))));
        assert!(!widening.is_pending(Some(&with("bigint"))));
        assert!(!widening.is_pending(None));
        let column =
            ProposedColumn { name: "n".into(), sql_type: "int".into(), key: None, comment: None };
        let added = Alteration::column(&table, &column).unwrap();
        assert!(added.is_pending(Some(&[])));
        assert!(!added.is_pending(Some(&with("integer"))));
    }
}
