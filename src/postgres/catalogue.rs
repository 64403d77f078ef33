//! Reading a Silver table's shape, and refusing at start what would go wrong at night (F11, P14-P16, P18).

use super::Destination;
use crate::decode::plan::EnumLabels;
use crate::fault::{Code, Fault};
use crate::sql::{catalogue as text, ident};
use crate::table::{Bookkeeping, Column, ColumnType, TableName, TableShape};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// What the catalogue tells about an existing table.
#[derive(Clone, Debug)]
pub struct Described {
    /// Data columns and key. Only usable for writing when there are neither refusals nor missing bookkeeping columns.
    pub shape: TableShape,
    /// Bookkeeping columns that the table does not have.
    pub missing_bookkeeping: Vec<String>,
    /// Reasons not to write to the table at all; each names the constraint or column.
    pub refusals: Vec<Fault>,
    /// What will probably hurt, for the log.
    pub warnings: Vec<String>,
    /// Name of the primary key's constraint.
    pub key_constraint: Option<String>,
    /// Labels of the columns whose type is an enum.
    pub labels: EnumLabels,
}

struct Relation {
    oid: u32,
    kind: String,
    row_security: bool,
    select: bool,
    insert: bool,
    update: bool,
}

struct Attribute {
    column: Column,
}

impl Destination {
    /// Reads the shape of a table and everything about it that soft deletes, replays or the row count check do not
    /// survive. `None` when the table does not exist.
    ///
    /// # Errors
    /// Transient when the server is away; blocked when the catalogue cannot be read.
    pub async fn describe(
        &self,
        table: &TableName,
        names: &Bookkeeping,
    ) -> Result<Option<Described>, Fault> {
        let doing = format!("describing table {table}");
        let client = self.client().await?;
        self.ask(&doing, Box::pin(read(&client, table, names))).await
    }
}

async fn read(
    client: &tokio_postgres::Client,
    table: &TableName,
    names: &Bookkeeping,
) -> Result<Option<Described>, tokio_postgres::Error> {
    let name = [(&table.schema as _, Type::TEXT), (&table.name as _, Type::TEXT)];
    let Some(row) = client.query_typed_opt(text::RELATION, &name).await? else {
        return Ok(None);
    };
    let relation = Relation {
        oid: row.try_get(0)?,
        kind: row.try_get(1)?,
        row_security: row.try_get(2)?,
        select: row.try_get(3)?,
        insert: row.try_get(4)?,
        update: row.try_get(5)?,
    };
    let oid = [(&relation.oid as _, Type::OID)];
    let (columns, key, constraints, indexes, triggers, rules, enums) = futures::try_join!(
        client.query_typed(text::COLUMNS, &oid),
        client.query_typed(text::PRIMARY_KEY, &oid),
        client.query_typed(text::CONSTRAINTS, &oid),
        client.query_typed(text::UNIQUE_INDEXES, &oid),
        client.query_typed(text::TRIGGERS, &oid),
        client.query_typed(text::RULES, &oid),
        client.query_typed(text::ENUM_LABELS, &oid),
    )?;
    let mut findings = Findings { table, refusals: Vec::new(), warnings: Vec::new() };
    findings.relation(&relation);
    let attributes = columns.iter().map(attribute).collect::<Result<Vec<_>, _>>()?;
    let (bookkeeping, data): (Vec<_>, Vec<_>) =
        attributes.into_iter().partition(|a| names.names().contains(&a.column.name.as_str()));
    findings.bookkeeping(names, &bookkeeping);
    let missing_bookkeeping = names
        .names()
        .into_iter()
        .filter(|name| !bookkeeping.iter().any(|a| a.column.name == **name))
        .map(str::to_owned)
        .collect();
    let key_names = key.iter().map(|row| row.try_get(2)).collect::<Result<Vec<String>, _>>()?;
    let key_constraint = key.first().map(|row| row.try_get(0)).transpose()?;
    match key.first() {
        None => findings.no_key(),
        Some(row) if row.try_get::<_, bool>(1)? => {
            findings.deferrable(&row.try_get::<_, String>(0)?)
        }
        Some(_) => {}
    }
    findings.required(&data, &key_names);
    let (generated, columns): (Vec<Column>, Vec<Column>) =
        data.into_iter().map(|a| a.column).partition(|c| c.generated);
    let generated = generated.into_iter().map(|c| c.name).collect();
    let key: Vec<usize> =
        key_names.iter().filter_map(|name| columns.iter().position(|c| c.name == *name)).collect();
    if key.len() != key_names.len() {
        findings.generated_key();
    }
    for row in &constraints {
        findings.constraint(&row.try_get::<_, String>(0)?, row.try_get(1)?);
    }
    for row in &indexes {
        findings.unique_index(&row.try_get::<_, String>(0)?, row.try_get(1)?, names);
    }
    for row in &triggers {
        findings.warnings.push(format!(
            "table {table} has trigger {:?}: it runs for every applied change",
            row.try_get::<_, String>(0)?
        ));
    }
    for row in &rules {
        findings.rule(&row.try_get::<_, String>(0)?);
    }
    let mut labels = EnumLabels::new();
    for row in &enums {
        labels.entry(row.try_get(0)?).or_default().insert(row.try_get(1)?);
    }
    Ok(Some(Described {
        shape: TableShape {
            table: table.clone(),
            columns,
            generated,
            key,
            bookkeeping: names.clone(),
        },
        missing_bookkeeping,
        refusals: findings.refusals,
        warnings: findings.warnings,
        key_constraint,
        labels,
    }))
}

fn attribute(row: &Row) -> Result<Attribute, tokio_postgres::Error> {
    let typtype: String = row.try_get(4)?;
    let base_typtype: String = row.try_get(11)?;
    Ok(Attribute {
        column: Column {
            name: row.try_get(0)?,
            ty: ColumnType {
                oid: row.try_get(1)?,
                base_oid: row.try_get(2)?,
                element_oid: row.try_get(3)?,
                typtype: typtype.chars().next().unwrap_or('b'),
                base_typtype: base_typtype.chars().next().unwrap_or('b'),
                base_name: row.try_get(10)?,
                typmod: row.try_get(5)?,
                sql: row.try_get(6)?,
            },
            not_null: row.try_get(7)?,
            generated: row.try_get(8)?,
            identity_always: row.try_get(9)?,
        },
    })
}

struct Findings<'t> {
    table: &'t TableName,
    refusals: Vec<Fault>,
    warnings: Vec<String>,
}

impl Findings<'_> {
    fn refuse(&mut self, code: Code, what: &str, hint: impl Into<String>) {
        self.refusals.push(Fault::blocked(code, format!("table {} {what}", self.table), hint));
    }

    fn relation(&mut self, relation: &Relation) {
        let table = ident::table(self.table);
        if !matches!(relation.kind.as_str(), "r" | "p") {
            self.refuse(
                Code::ConstraintUnsupported,
                "is no table but a view or a foreign table",
                "route to a table",
            );
        }
        if relation.row_security {
            self.refuse(
                Code::ConstraintUnsupported,
                "has row level security that applies to the worker's role",
                format!(
                    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY; or give the role BYPASSRLS"
                ),
            );
        }
        for (held, privilege) in
            [(relation.select, "SELECT"), (relation.insert, "INSERT"), (relation.update, "UPDATE")]
        {
            if !held {
                self.refuse(
                    Code::PrivilegeMissing,
                    &format!("may not be written: the worker's role lacks {privilege}"),
                    format!("GRANT SELECT, INSERT, UPDATE ON {table} TO ...;"),
                );
            }
        }
    }

    fn bookkeeping(&mut self, names: &Bookkeeping, found: &[Attribute]) {
        let table = ident::table(self.table);
        for Attribute { column, .. } in found {
            let version = column.name == names.version;
            let wanted = if version { Type::BYTEA } else { Type::TIMESTAMPTZ };
            let quoted = ident::quote(&column.name);
            if column.ty.oid != wanted.oid() || column.generated {
                self.refuse(
                    Code::TypeMismatch,
                    &format!("has a bookkeeping column {:?} of type {}, not {wanted}", column.name, column.ty.sql),
                    "choose another [schema] prefix for the bookkeeping columns, or rename the column",
                );
            } else if version && !column.not_null {
                self.refuse(
                    Code::TypeMismatch,
                    &format!("has a version column {:?} that may be NULL", column.name),
                    format!("ALTER TABLE {table} ALTER COLUMN {quoted} SET NOT NULL;"),
                );
            } else if !version && column.not_null {
                self.refuse(
                    Code::TypeMismatch,
                    &format!("has a bookkeeping column {:?} that may not be NULL", column.name),
                    format!("ALTER TABLE {table} ALTER COLUMN {quoted} DROP NOT NULL;"),
                );
            }
        }
    }

    fn no_key(&mut self) {
        self.refuse(
            Code::KeyMismatch,
            "has no primary key",
            format!(
                "ALTER TABLE {} ADD PRIMARY KEY (...); with the columns of the record key",
                ident::table(self.table)
            ),
        );
    }

    fn generated_key(&mut self) {
        self.refuse(
            Code::KeyMismatch,
            "has a generated column in its primary key",
            "use a key that the source has",
        );
    }

    fn deferrable(&mut self, name: &str) {
        self.refuse(
            Code::ConstraintUnsupported,
            &format!("has a deferrable primary key {name:?}"),
            "make it NOT DEFERRABLE: a violation that shows at COMMIT cannot be told apart from a lost connection",
        );
    }

    fn required(&mut self, data: &[Attribute], key: &[String]) {
        let required = |c: &&Column| c.not_null && !c.generated && !key.contains(&c.name);
        let columns: Vec<_> = data.iter().map(|a| &a.column).filter(required).collect();
        if columns.is_empty() {
            return;
        }
        let names: Vec<_> = columns.iter().map(|c| format!("{:?}", c.name)).collect();
        let drops: Vec<_> = columns
            .iter()
            .map(|c| format!("ALTER COLUMN {} DROP NOT NULL", ident::quote(&c.name)))
            .collect();
        self.refuse(
            Code::ConstraintUnsupported,
            &format!(
                "has NOT NULL beside its key, on {}: a delete of a row that it never had could not be recorded, for the \
                 event has the key alone",
                names.join(", ")
            ),
            format!("ALTER TABLE {} {};", ident::table(self.table), drops.join(", ")),
        );
    }

    fn constraint(&mut self, name: &str, kind: &str) {
        let (what, why) = match kind {
            "f" => (
                "foreign key",
                "tables are applied independently of each other, so a parent may come later",
            ),
            _ => (
                "exclusion constraint",
                "deleted rows stay in the table and would exclude live ones",
            ),
        };
        self.refuse(
            Code::ConstraintUnsupported,
            &format!("has {what} {name:?}: {why}"),
            format!(
                "ALTER TABLE {} DROP CONSTRAINT {};",
                ident::table(self.table),
                ident::quote(name)
            ),
        );
    }

    fn unique_index(&mut self, name: &str, predicate: Option<String>, names: &Bookkeeping) {
        let deleted_at = ident::quote(&names.deleted_at);
        let live = predicate.as_deref().is_some_and(|p| {
            p == format!("({} IS NULL)", names.deleted_at) || p == format!("({deleted_at} IS NULL)")
        });
        if live {
            self.warnings.push(format!(
                "table {} has unique index {name:?} over live rows: the lane stops when two live rows meet in passing",
                self.table
            ));
            return;
        }
        self.refuse(
            Code::ConstraintUnsupported,
            &format!("has unique index {name:?} beside its primary key: deleted rows stay and would block live ones"),
            format!(
                "drop it, or make it partial: CREATE UNIQUE INDEX ... ON {} (...) WHERE {deleted_at} IS NULL;",
                ident::table(self.table)
            ),
        );
    }

    fn rule(&mut self, name: &str) {
        self.refuse(
            Code::ConstraintUnsupported,
            &format!("has rule {name:?}: PostgreSQL cannot MERGE into a table with rules"),
            format!("DROP RULE {} ON {};", ident::quote(name), ident::table(self.table)),
        );
    }
}
