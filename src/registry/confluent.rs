//! Confluent's protocol through `schema_registry_converter`: schemas by id, their references, and subjects.
//!
//! # Decisions
//! - The crate asks and parses; its verdict on errors is not used, since it takes 500, 504, 429, 401 and an unreadable body
//!   for final, which would turn an outage into a flood of dead letters (F8, I7).

use super::protocol::is_schema_text;
use super::{MAX_REFERENCES, references};
use crate::config;
use crate::fault::{Class, Code, Fault};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_all_subjects, get_referenced_schema, get_schema_by_id,
    get_schema_by_subject_and_version,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RegisteredReference, RegisteredSchema, SchemaType,
};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

/// The registry's own code for "no schema has this id" (Confluent's API, shared by Karapace, Apicurio and Redpanda).
const SCHEMA_NOT_FOUND: u32 = 40403;

/// Asks a registry that speaks Confluent's protocol.
pub(super) struct Confluent {
    settings: SrSettings,
    /// Scheme, host and port, without credentials.
    address: String,
}

impl Confluent {
    /// Prepares the client; nothing is asked yet.
    ///
    /// # Errors
    /// Fatal `configuration`: the settings cannot be used.
    pub(super) fn open(
        registry: &config::Registry,
        address: &str,
        http: reqwest::ClientBuilder,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let mut settings = SrSettings::new_builder(registry.url.trim_end_matches('/').to_owned());
        settings.set_timeout(patience);
        if let Some(user) = &registry.user {
            settings.set_basic_authorization(
                user,
                registry.password.as_ref().map(ExposeSecret::expose_secret),
            );
        }
        // The cause is not told: it may hold the URL with its credentials.
        let settings = settings.build_with(http).map_err(|_| {
            Fault::new(
                Class::Fatal,
                Code::Configuration,
                "could not open the schema registry client: the HTTP client refuses its settings",
            )
        })?;
        Ok(Self { settings, address: address.to_owned() })
    }

    /// Every subject.
    pub(super) async fn subjects(&self) -> Result<Vec<String>, Fault> {
        get_all_subjects(&self.settings)
            .await
            .map_err(|e| self.subject_fault("list the subjects", &e))
    }

    /// Id of the newest schema of a subject.
    pub(super) async fn newest(&self, subject: &str) -> Result<Option<u32>, Fault> {
        match get_schema_by_subject_and_version(&self.settings, subject, None).await {
            Ok(schema) => Ok(Some(schema.id)),
            // 40401 for the subject, 40402 for its version: either way there is none.
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => {
                Err(self
                    .subject_fault(&format!("get the newest schema of subject {subject}"), &error))
            }
        }
    }

    fn subject_fault(&self, doing: &str, error: &SRCError) -> Fault {
        let attempt = format!("could not {doing} from the registry at {}", self.address);
        match status(error) {
            Some(status @ (401 | 403)) => {
                Fault::transient(Code::RegistryUnauthorized, format!("{attempt}: status {status}"))
                    .with_hint(
                        "check user and password in [registry], and that they may read subjects",
                    )
            }
            Some(status) => {
                Fault::transient(Code::RegistryUnavailable, format!("{attempt}: status {status}"))
            }
            // The crate's own text; its cause may hold the URL with its credentials.
            None => {
                Fault::transient(Code::RegistryUnavailable, format!("{attempt}: {}", error.error))
            }
        }
    }

    /// The Avro schema with this id, self-contained.
    ///
    /// # Errors
    /// As [`super::Client::schema`].
    pub(super) async fn schema(&self, id: u32) -> Result<Arc<str>, Fault> {
        let schema =
            get_schema_by_id(id, &self.settings).await.map_err(|e| self.classify(id, &e, true))?;
        if schema.schema_type != SchemaType::Avro {
            let text = format!(
                "schema {id} of the registry at {} is {:?}, not Avro",
                self.address, schema.schema_type
            );
            return Err(Fault::poison(Code::SchemaUnusable, text));
        }
        if !is_schema_text(&schema.schema) {
            return Err(self.unavailable(id, "the answer is no schema: its schema is no JSON"));
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
