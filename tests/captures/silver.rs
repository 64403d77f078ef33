//! Silver tables and plans as the worker makes them: from the schemas of a capture, by the product's own DDL.

use silversink::batch::Truncate;
use silversink::config::{Format, Postgres, Table};
use silversink::decode::plan::{self, Mismatch, Plan, RecordSchema, SchemaText};
use silversink::decode::schema::Form;
use silversink::decode::{PlanNeed, SchemaId, TopicDecoder};
use silversink::demo::capture::CapturedSchema;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::fault::{Class, Code, Fault};
use silversink::postgres::Destination;
use silversink::postgres::readback::Readback;
use silversink::sql::ddl;
use silversink::table::{Bookkeeping, TableName, TableShape};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Name of the pipeline in the bookkeeping.
pub const PIPELINE: &str = "captures";

/// A database of its own, and the ways into it.
pub struct Silver {
    pub destination: Destination,
    pub readback: Readback,
    schemas: BTreeMap<u32, CapturedSchema>,
}

/// What a plan request came to.
pub enum Resolved {
    /// Plan, and the table's shape now.
    Table(Arc<Plan>, Arc<TableShape>),
    /// No table data.
    Skipped(Arc<Plan>),
    /// These records are poison.
    Refused(Fault),
}

impl Silver {
    pub async fn new(schemas: BTreeMap<u32, CapturedSchema>) -> Self {
        let url = ThrowawayPostgres::shared().fresh_database().unwrap();
        let readback = Readback::connect(&url).await.unwrap();
        let settings = Postgres {
            url: url.into(),
            ca: None,
            statement_timeout: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
        };
        let destination = Destination::connect(&settings, 2, "silversink captures").await.unwrap();
        destination.ensure_bookkeeping().await.unwrap();
        Self { destination, readback, schemas }
    }

    /// Empties the tables and the bookkeeping: the next order starts from nothing.
    pub async fn empty(&self, tables: &[TableName]) {
        let mut list = String::from(
            "silversink.position, silversink.dead_letter, silversink.truncate_floor",
        );
        for table in tables {
            list.push_str(&format!(", \"{}\".\"{}\"", table.schema, table.name));
        }
        self.readback.execute(&format!("TRUNCATE {list}")).await.unwrap();
    }

    /// The plan for a record that asks for one, with the DDL that it takes.
    ///
    /// # Errors
    /// Blocked: the lane stops here.
    pub async fn resolve(
        &self,
        need: &PlanNeed,
        table: &TableName,
        overrides: &Table,
    ) -> Result<Resolved, Fault> {
        let described = self.describe(need);
        let schema = match described {
            Ok(schema) => schema,
            Err(fault) if fault.class == Class::Poison => return Ok(Resolved::Refused(fault)),
            Err(fault) => return Err(fault),
        };
        if let Form::NotTableData(rule) = schema.form {
            return Ok(Resolved::Skipped(Arc::new(Plan::skipping(rule))));
        }
        self.destination.own_table(PIPELINE, table).await?;
        let mut shape = self.prepared(table, &schema, overrides).await?;
        match plan::compile(&schema, Arc::clone(&shape), overrides) {
            Ok(plan) => return Ok(Resolved::Table(Arc::new(plan), shape)),
            Err(mismatches) => self.add_columns(table, &mismatches).await?,
        }
        shape = self.shape(table).await?.expect("it was there");
        match plan::compile(&schema, Arc::clone(&shape), overrides) {
            Ok(plan) => Ok(Resolved::Table(Arc::new(plan), shape)),
            Err(mismatches) => Err(mismatched(&mismatches)),
        }
    }

    fn describe(&self, need: &PlanNeed) -> Result<RecordSchema, Fault> {
        plan::describe(self.text(&need.key), self.text(&need.value))
    }

    fn text<'t>(&'t self, id: &'t SchemaId) -> SchemaText<'t> {
        match id {
            SchemaId::Avro(id) => SchemaText::Avro(&self.schemas[id].schema),
            SchemaId::ConnectJson(text) => SchemaText::ConnectJson(text),
            SchemaId::Schemaless => SchemaText::Schemaless,
            SchemaId::None => SchemaText::None,
        }
    }

    async fn prepared(
        &self,
        table: &TableName,
        schema: &RecordSchema,
        overrides: &Table,
    ) -> Result<Arc<TableShape>, Fault> {
        if let Some(shape) = self.shape(table).await? {
            return Ok(shape);
        }
        let columns = plan::propose(schema, overrides)?;
        let statements = ddl::create_table(table, &columns, &Bookkeeping::default())?;
        self.destination.execute_ddl(&statements).await?;
        Ok(self.shape(table).await?.expect("it was created"))
    }

    /// The table as it stands; `None` when there is none.
    pub async fn shape(&self, table: &TableName) -> Result<Option<Arc<TableShape>>, Fault> {
        let described = self.destination.describe(table, &Bookkeeping::default()).await?;
        let Some(described) = described else { return Ok(None) };
        match described.refusals.into_iter().next() {
            Some(refusal) => Err(refusal),
            None => Ok(Some(Arc::new(described.shape))),
        }
    }

    async fn add_columns(&self, table: &TableName, mismatches: &[Mismatch]) -> Result<(), Fault> {
        let mut statements = Vec::new();
        for mismatch in mismatches {
            match mismatch {
                Mismatch::ColumnMissing(column) => {
                    statements.extend(ddl::add_column(table, column)?);
                }
                _ => return Err(mismatched(mismatches)),
            }
        }
        self.destination.execute_ddl(&statements).await
    }

    /// The truncate floor that a worker starts with.
    pub async fn floor(&self, table: &TableName) -> Option<Truncate> {
        let floor = self.destination.truncate_floor(table).await.unwrap();
        floor.map(|(version, at)| Truncate { version, at })
    }
}

fn mismatched(mismatches: &[Mismatch]) -> Fault {
    let mut code = Code::ColumnMissing;
    let mut texts = Vec::new();
    for mismatch in mismatches {
        match mismatch {
            Mismatch::ColumnMissing(column) => texts.push(format!("{} is missing", column.name)),
            Mismatch::TypeMismatch { reason, .. } => {
                code = Code::TypeMismatch;
                texts.push(reason.clone());
            }
            Mismatch::KeyMismatch(reason) => {
                return Fault::blocked(Code::KeyMismatch, reason.clone(), "");
            }
        }
    }
    Fault::blocked(code, texts.join("; "), "")
}

/// A decoder for a topic.
pub fn decoder(overrides: &Table) -> TopicDecoder {
    TopicDecoder::new(Format::Auto, overrides.clone())
}
