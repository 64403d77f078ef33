//! From the schema ids of a record to its description: texts from the registry, or from the record itself.

use crate::decode::plan::{self, RecordSchema, SchemaText};
use crate::decode::{PlanNeed, SchemaId};
use crate::fault::{Code, Fault};
use crate::registry::Client;
use crate::telemetry::metrics;
use crate::telemetry::names::Request;
use std::sync::Arc;
use std::time::Duration;

/// How often an id that the registry does not know is asked for again before it counts as unknown: a registry replica may
/// be a moment behind its leader.
const UNKNOWN_SCHEMA_TRIES: u32 = 3;
const UNKNOWN_SCHEMA_WAIT: Duration = Duration::from_millis(300);

/// Describes the records of these schemas.
///
/// # Errors
/// Poison when the registry does not know the id or the schema cannot be used; transient when it is away; blocked when
/// none is configured.
pub async fn describe(registry: Option<&Client>, need: &PlanNeed) -> Result<RecordSchema, Fault> {
    let key = schema_text(registry, &need.key).await?;
    let value = schema_text(registry, &need.value).await?;
    plan::describe(key.as_text(), value.as_text())
}

/// A schema text that was fetched or was already there.
enum Fetched {
    Avro(Arc<str>),
    ConnectJson(Arc<str>),
    Schemaless,
    None,
}

impl Fetched {
    fn as_text(&self) -> SchemaText<'_> {
        match self {
            Self::Avro(text) => SchemaText::Avro(text),
            Self::ConnectJson(text) => SchemaText::ConnectJson(text),
            Self::Schemaless => SchemaText::Schemaless,
            Self::None => SchemaText::None,
        }
    }
}

async fn schema_text(registry: Option<&Client>, id: &SchemaId) -> Result<Fetched, Fault> {
    Ok(match id {
        SchemaId::ConnectJson(text) => Fetched::ConnectJson(Arc::clone(text)),
        SchemaId::Schemaless => Fetched::Schemaless,
        SchemaId::None => Fetched::None,
        SchemaId::Avro(id) => {
            let Some(registry) = registry else {
                return Err(Fault::blocked(
                    Code::Configuration,
                    format!("a record refers to schema {id}, but no registry is configured"),
                    "set [registry] url",
                ));
            };
            let mut tries = 1;
            loop {
                let answer = registry.schema(*id).await;
                metrics::registry_request(outcome(&answer));
                match answer {
                    Ok(text) => break Fetched::Avro(text),
                    Err(fault)
                        if fault.code == Code::SchemaUnknown && tries < UNKNOWN_SCHEMA_TRIES =>
                    {
                        tries += 1;
                        tokio::time::sleep(UNKNOWN_SCHEMA_WAIT).await;
                    }
                    Err(fault) => return Err(fault),
                }
            }
        }
    })
}

fn outcome(answer: &Result<Arc<str>, Fault>) -> Request {
    match answer.as_ref().map_err(|fault| fault.code) {
        Ok(_) => Request::Found,
        Err(Code::SchemaUnknown) => Request::Unknown,
        Err(Code::RegistryUnauthorized) => Request::Refused,
        Err(_) => Request::Failed,
    }
}
