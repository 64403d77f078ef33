//! Silver tables and plans as the worker makes them: from the schemas of a capture, by the product's own DDL.

use crate::worker::Lane;
use silversink::batch::Truncate;
use silversink::config::{Config, Format, Table, load};
use silversink::decode::plan::{self, Plan, RecordSchema, SchemaText};
use silversink::decode::schema::Form;
use silversink::decode::{PlanNeed, RegistryId, SchemaId, TopicDecoder};
use silversink::demo::capture::CapturedSchema;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::fault::{Class, Fault};
use silversink::postgres::readback::Readback;
use silversink::postgres::{Destination, Origin};
use silversink::silver::{self, Arrival, Assessment, Verdict};
use silversink::table::{Bookkeeping, TableName, TableShape};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of the pipeline in the bookkeeping.
pub const PIPELINE: &str = "captures";

/// No broker is ever asked.
const CONFIG: &str = r#"
name = "captures"
kafka.bootstrap_servers = "nowhere:1"
postgres.url = "URL"
[[route]]
topics = '^.+[.](?<table>[^.]+)$'
table = "silver.${table}"
"#;

/// A database of its own, and the ways into it.
pub struct Silver {
    pub destination: Destination,
    pub readback: Readback,
    schemas: BTreeMap<u32, CapturedSchema>,
    config: Config,
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
        let config = load::parse(&CONFIG.replace("URL", &url), "captures.toml", &|_| None).unwrap();
        let destination =
            Destination::connect(&config.postgres, 2, "silversink captures").await.unwrap();
        destination.ensure_bookkeeping().await.unwrap();
        Self { destination, readback, schemas, config }
    }

    /// Empties the tables and the bookkeeping: the next order starts from nothing.
    pub async fn empty(&self, tables: &[TableName]) {
        let mut list =
            String::from("silversink.position, silversink.dead_letter, silversink.truncate_floor");
        for table in tables {
            list.push_str(&format!(", \"{}\".\"{}\"", table.schema, table.name));
        }
        self.readback.execute(&format!("TRUNCATE {list}")).await.unwrap();
    }

    /// The plan for a record that asks for one, with the DDL that it takes. Where a person has to decide, an `operator` runs
    /// what is printed, or puts the old column aside where its values cannot be converted.
    ///
    /// # Errors
    /// Blocked: the lane stops here.
    pub async fn resolve(
        &self,
        need: &PlanNeed,
        lane: &Lane,
        overrides: &Table,
        operator: bool,
    ) -> Result<Resolved, Fault> {
        let schema = match self.describe(need) {
            Ok(schema) => schema,
            Err(fault) if fault.class == Class::Poison => return Ok(Resolved::Refused(fault)),
            Err(fault) => return Err(fault),
        };
        if let Form::NotTableData(rule) = schema.form {
            return Ok(Resolved::Skipped(Arc::new(Plan::skipping(rule))));
        }
        self.destination.own_table(PIPELINE, &lane.table).await?;
        let arrival = Arrival {
            origin: Origin {
                pipeline: PIPELINE,
                table: &lane.table,
                topic: &lane.topic,
                key_schema: need.key.short(),
                value_schema: need.value.short(),
            },
            overrides,
            schema: &schema,
        };
        loop {
            let Assessment { verdict, row, noticed } =
                silver::assess(&self.config, &self.destination, &arrival).await?;
            match verdict {
                Verdict::Fits { plan, shape, .. } => {
                    if let Some(row) = row {
                        let origin = &arrival.origin;
                        self.destination.remember_schema(origin, &row, &noticed).await?;
                    }
                    return Ok(Resolved::Table(Arc::new(plan), shape));
                }
                Verdict::Stop { help, .. } if operator && !help.is_empty() => {
                    if self.readback.execute(&help.join(";\n")).await.is_err() {
                        let aside = help
                            .iter()
                            .flat_map(|text| text.lines())
                            .find_map(|line| line.split_once("another name: "));
                        let (_, aside) = aside.expect("the way out of a refused conversion");
                        self.readback.execute(aside).await.unwrap();
                    }
                }
                Verdict::Stop { fault, .. } => return Err(fault),
                Verdict::Alter(alterations) => {
                    self.destination.alter(&arrival.origin, &alterations).await?;
                }
            }
        }
    }

    fn describe(&self, need: &PlanNeed) -> Result<RecordSchema, Fault> {
        plan::describe(self.text(&need.key), self.text(&need.value))
    }

    fn text<'t>(&'t self, id: &'t SchemaId) -> SchemaText<'t> {
        match id {
            SchemaId::Avro(RegistryId::Confluent(id)) => SchemaText::Avro(&self.schemas[id].schema),
            SchemaId::Avro(other) => panic!("captures name schemas by number, not as {other}"),
            SchemaId::ConnectJson(text) => SchemaText::ConnectJson(text),
            SchemaId::Schemaless => SchemaText::Schemaless,
            SchemaId::None => SchemaText::None,
        }
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

    /// The truncate floor that a worker starts with.
    pub async fn floor(&self, table: &TableName) -> Option<Truncate> {
        let floor = self.destination.truncate_floor(table).await.unwrap();
        floor.map(|(version, at)| Truncate { version, at })
    }
}

/// A decoder for a topic.
pub fn decoder(overrides: &Table) -> TopicDecoder {
    TopicDecoder::new(Format::Auto, overrides.clone())
}
