//! The schema registry: schema text by id, with our own classification of what goes wrong.
//!
//! `schema_registry_converter` asks and parses; its verdict on errors is not used, since it takes 500, 504, 429, 401 and
//! an unreadable body for final, which would turn an outage into a flood of dead letters (F8, I7).

mod references;
mod subjects;
#[cfg(test)]
mod tests;

use crate::config;
use crate::fault::{Class, Code, Fault};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_referenced_schema, get_schema_by_id,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RegisteredReference, RegisteredSchema, SchemaType,
};
use secrecy::ExposeSecret;
use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time that one schema may take, its references included.
const PATIENCE: Duration = Duration::from_secs(10);
/// References of references of references; real registries hold a handful.
const MAX_REFERENCES: usize = 200;
/// The registry's own code for "no schema has this id" (Confluent's API, shared by Karapace, Apicurio and Redpanda).
const SCHEMA_NOT_FOUND: u32 = 40403;

/// Fetches schemas. Cheap to share; holds what it has fetched, and only that: schemas never change under their id.
pub struct Client {
    settings: SrSettings,
    // Scheme, host and port, without credentials.
    address: String,
    patience: Duration,
    known: Mutex<HashMap<u32, Arc<str>>>,
}

impl Client {
    /// Prepares the client; nothing is asked yet.
    ///
    /// # Errors
    /// Fatal `configuration`: the URL or the certificate file cannot be used.
    pub fn open(registry: &config::Registry) -> Result<Self, Fault> {
        Self::open_with(registry, PATIENCE)
    }

    fn open_with(registry: &config::Registry, patience: Duration) -> Result<Self, Fault> {
        let wrong = |why: String| {
            Fault::new(
                Class::Fatal,
                Code::Configuration,
                format!("could not open the schema registry client: {why}"),
            )
        };
        let url = reqwest::Url::parse(&registry.url)
            .map_err(|e| wrong(format!("[registry] url is no URL: {e}")))?;
        let host = url.host_str().ok_or_else(|| wrong("[registry] url has no host".to_owned()))?;
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        let address = format!("{}://{host}{port}", url.scheme());

        let mut http = reqwest::Client::builder().connect_timeout(patience);
        if let Some(path) = &registry.ca {
            let pem = std::fs::read(path)
                .map_err(|e| wrong(format!("[registry] ca {}: {e}", path.display())))?;
            let certificate = reqwest::Certificate::from_pem(&pem).map_err(|_| {
                wrong(format!("[registry] ca {}: no PEM certificate", path.display()))
            })?;
            http = http.add_root_certificate(certificate);
        }
        let mut settings = SrSettings::new_builder(registry.url.trim_end_matches('/').to_owned());
        settings.set_timeout(patience);
        if let Some(user) = &registry.user {
            settings.set_basic_authorization(
                user,
                registry.password.as_ref().map(ExposeSecret::expose_secret),
            );
        }
        // The cause is not told: it may hold the URL with its credentials.
        let settings = settings
            .build_with(http)
            .map_err(|_| wrong("the HTTP client refuses its settings".to_owned()))?;
        Ok(Self { settings, address, patience, known: Mutex::default() })
    }

    /// The Avro schema with this id as one self-contained JSON text: each referenced type stands at its first use as a
    /// nested definition, so any Avro parser takes it.
    ///
    /// # Errors
    /// Poison `schema_unknown` only when the registry itself says that the id does not exist (the caller grants a grace
    /// for replicas that lag); poison `schema_unusable` when the schema is not Avro; transient `registry_unauthorized`
    /// and `registry_unavailable` for everything else, however final the registry makes it sound.
    pub async fn schema(&self, id: u32) -> Result<Arc<str>, Fault> {
        if let Some(text) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(text));
        }
        let text =
            tokio::time::timeout(self.patience, self.fetch(id)).await.unwrap_or_else(|_| {
                Err(self.unavailable(
                    id,
                    &format!("no complete answer within {} ms", self.patience.as_millis()),
                ))
            })?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&text));
        Ok(text)
    }

    async fn fetch(&self, id: u32) -> Result<Arc<str>, Fault> {
        let schema =
            get_schema_by_id(id, &self.settings).await.map_err(|e| self.classify(id, &e, true))?;
        if schema.schema_type != SchemaType::Avro {
            let text = format!(
                "schema {id} of the registry at {} is {:?}, not Avro",
                self.address, schema.schema_type
            );
            return Err(Fault::poison(Code::SchemaUnusable, text));
        }
        if schema.references.is_empty() {
            return Ok(Arc::from(schema.schema));
        }
        let referenced = self.references(id, &schema).await?;
        references::inline(&schema.schema, &referenced).map(Arc::from).map_err(|why| {
            Fault::poison(
                Code::SchemaUnusable,
                format!("could not resolve the references of schema {id}: {why}"),
            )
        })
    }

    /// Every schema that is reached from `root`, by the name under which it is referenced.
    async fn references(
        &self,
        id: u32,
        root: &RegisteredSchema,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let mut open: Vec<RegisteredReference> = root.references.clone();
        while let Some(reference) = open.pop() {
            if found.contains_key(&reference.name) {
                continue;
            }
            if found.len() == MAX_REFERENCES {
                let text = format!("schema {id} has more than {MAX_REFERENCES} references");
                return Err(Fault::poison(Code::SchemaUnusable, text));
            }
            // A reference that the registry cannot find is its own inconsistency, not a property of the record.
            let schema = get_referenced_schema(&self.settings, &reference)
                .await
                .map_err(|e| self.classify(id, &e, false))?;
            open.extend(schema.references);
            found.insert(reference.name, schema.schema);
        }
        Ok(found)
    }

    /// `by_id`: whether the id itself was asked for, so that "not found" is about it.
    fn classify(&self, id: u32, error: &SRCError, by_id: bool) -> Fault {
        let code = error.source().and_then(|e| e.downcast_ref::<RawError>()).map(|e| e.error_code);
        match (status(error), code) {
            (Some(404), Some(SCHEMA_NOT_FOUND)) if by_id => Fault::poison(
                Code::SchemaUnknown,
                format!("schema {id} does not exist in the registry at {}", self.address),
            ),
            // A wrong path or a proxy answers 404 too; taken at its word, it would park the whole topic.
            (Some(404), _) => self
                .unavailable(id, "status 404 without the registry's code 40403")
                .with_hint("check the path in [registry] url: a schema registry answers an unknown id with code 40403"),
            (Some(status @ (401 | 403)), _) => Fault::transient(
                Code::RegistryUnauthorized,
                format!("could not get schema {id} from the registry at {}: status {status}", self.address),
            )
            .with_hint("check user and password in [registry], and that they may read schemas"),
            (Some(status), _) => self.unavailable(id, &format!("status {status}")),
            // The crate's own text; its cause is left out, since it may hold the URL with its credentials.
            (None, _) => self.unavailable(id, &error.error),
        }
    }

    fn unavailable(&self, id: u32, why: &str) -> Fault {
        Fault::transient(
            Code::RegistryUnavailable,
            format!("could not get schema {id} from the registry at {}: {why}", self.address),
        )
        .with_hint("look at the registry and at [registry] url; the worker goes on by itself as soon as it answers")
    }
}

/// The HTTP status. The crate keeps it only in its text ("... failed with status 503 Service Unavailable"); the tests
/// pin that text for every status that matters.
fn status(error: &SRCError) -> Option<u16> {
    error.error.split_once("failed with status ")?.1.split(' ').next()?.parse().ok()
}
