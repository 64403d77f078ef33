//! The shape of a Silver table as the destination's catalogue tells it. Plain data.

use std::fmt;

/// Schema and name of a Silver table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// PostgreSQL schema.
    pub schema: String,
    /// Table name inside the schema.
    pub name: String,
}

impl TableName {
    /// `schema` and `name` as they stand in the catalogue (unquoted).
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A column's type in PostgreSQL's own terms (`pg_attribute`, `pg_type`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnType {
    /// `pg_type.oid` of the column's declared type.
    pub oid: u32,
    /// For a domain the oid of its base type, else the same as `oid`.
    pub base_oid: u32,
    /// For an array (or domain over one) the element's oid, else 0.
    pub element_oid: u32,
    /// `pg_type.typtype` of the declared type: `b`ase, `e`num, `d`omain, `c`omposite, `r`ange, `m`ultirange.
    pub typtype: char,
    /// `pg_type.typtype` of the base type, of an array's element: an array of a domain says `d`.
    pub base_typtype: char,
    /// `pg_type.typname` of the same: types of extensions have no fixed oid, and are known by it.
    pub base_name: String,
    /// `atttypmod`, or for a domain its own `pg_type.typtypmod` (a cast to the domain would round to it); -1 if none.
    pub typmod: i32,
    /// `format_type(oid, typmod)`, e.g. `numeric(10,2)`; safe to use in a cast as it stands.
    pub sql: String,
}

/// One data column (bookkeeping columns are not listed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name as in the catalogue.
    pub name: String,
    /// Type.
    pub ty: ColumnType,
    /// NOT NULL.
    pub not_null: bool,
    /// Generated always as stored: never written.
    pub generated: bool,
    /// Identity `GENERATED ALWAYS`: written with OVERRIDING SYSTEM VALUE.
    pub identity_always: bool,
}

/// Names of the bookkeeping columns (design section 15).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bookkeeping {
    /// `bytea NOT NULL`, the version guard.
    pub version: String,
    /// `timestamptz`, null means live.
    pub deleted_at: String,
    /// `timestamptz`, when the change happened at the source.
    pub source_ts: String,
    /// `timestamptz`, when the change was applied.
    pub applied_at: String,
}

impl Default for Bookkeeping {
    fn default() -> Self {
        Self::with_prefix("_")
    }
}

impl Bookkeeping {
    /// The standard names behind a prefix.
    #[must_use]
    pub fn with_prefix(prefix: &str) -> Self {
        Self {
            version: format!("{prefix}version"),
            deleted_at: format!("{prefix}deleted_at"),
            source_ts: format!("{prefix}source_ts"),
            applied_at: format!("{prefix}applied_at"),
        }
    }

    /// All four names.
    #[must_use]
    pub fn names(&self) -> [&str; 4] {
        [&self.version, &self.deleted_at, &self.source_ts, &self.applied_at]
    }
}

/// A Silver table that is ready to be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableShape {
    /// Schema and name.
    pub table: TableName,
    /// Data columns that are written, in `attnum` order. Generated columns are left out.
    pub columns: Vec<Column>,
    /// Names of generated columns. A snapshot's rows carry them, the stream's do not; PostgreSQL computes them itself.
    pub generated: Vec<String>,
    /// Indexes into `columns` of the primary key, in the key index's order.
    pub key: Vec<usize>,
    /// Names of the bookkeeping columns.
    pub bookkeeping: Bookkeeping,
}

impl TableShape {
    /// Index of a column by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Whether the table has a data column of this name, written or generated.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.column(name).is_some() || self.generated.iter().any(|g| g == name)
    }
}

/// A column that a source schema implies: its natural PostgreSQL type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedColumn {
    /// Column name.
    pub name: String,
    /// PostgreSQL type as SQL text, e.g. `numeric(10,2)`.
    pub sql_type: String,
    /// Part of the primary key, with its place in the key.
    pub key: Option<usize>,
    /// A short comment (the source type), if one is worth keeping.
    pub comment: Option<String>,
}
