//! Whether the schema registry answers.

use super::Finding;
use crate::config::Config;
use crate::fault::Code;
use crate::registry::Client;

/// An id that no registry gives: a registry that works says that it does not exist.
const NO_SCHEMA: u32 = u32::MAX >> 1;

pub(super) async fn check(config: &Config, findings: &mut Vec<Finding>) {
    let Some(registry) = &config.registry else {
        findings.push(Finding::fine("registry", "none is configured: Avro records cannot be read"));
        return;
    };
    let asked = match Client::open(registry) {
        Ok(client) => client.schema(NO_SCHEMA).await,
        Err(fault) => Err(fault),
    };
    match asked {
        Err(fault) if fault.code != Code::SchemaUnknown => {
            findings.push(Finding::broken("registry", &fault));
        }
        Ok(_) | Err(_) => findings.push(Finding::fine("registry", "answers")),
    }
}
