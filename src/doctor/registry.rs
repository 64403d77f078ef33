//! Whether the schema registry answers.

use super::Finding;
use crate::config::{Config, RegistryApi};
use crate::decode::RegistryId;
use crate::fault::Code;
use crate::registry::Client;

/// An id that no registry gives: a registry that works says that it does not exist.
fn no_schema(api: RegistryApi) -> RegistryId {
    let id = u32::MAX >> 1;
    match api {
        RegistryApi::Confluent => RegistryId::Confluent(id),
        RegistryApi::Apicurio => RegistryId::ContentId(id.into()),
    }
}

pub(super) async fn check(config: &Config, findings: &mut Vec<Finding>) {
    let Some(registry) = &config.registry else {
        findings.push(Finding::fine("registry", "none is configured: Avro records cannot be read"));
        return;
    };
    let asked = match Client::open(registry) {
        Ok(client) => client.schema(no_schema(registry.api)).await,
        Err(fault) => Err(fault),
    };
    match asked {
        Err(fault) if fault.code != Code::SchemaUnknown => {
            findings.push(Finding::broken("registry", &fault));
        }
        Ok(_) | Err(_) => findings.push(Finding::fine("registry", "answers")),
    }
}
