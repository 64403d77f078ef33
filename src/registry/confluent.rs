//! Confluent's protocol through `schema_registry_converter`: schemas by id, what they refer to, and subjects.
//!
//! # Decisions
//! - The crate asks and parses; its verdict on errors is not used, since it takes 500, 504, 429, 401 and an unreadable body
//!   for final, which would turn an outage into a flood of dead letters (F8, I7).

use super::http::Trouble;
use super::not_schema;
use super::protocol::{self, Place, Reference, SCHEMA_NOT_FOUND, Schema};
use crate::config;
use crate::fault::{Class, Code, Fault};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_all_subjects, get_schema_by_id, get_schema_by_subject_and_version,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RegisteredReference, RegisteredSchema, SchemaType,
};
use secrecy::ExposeSecret;
use std::error::Error as _;
use std::time::Duration;

/// Asks a registry that speaks Confluent's protocol.
pub(super) struct Confluent {
    settings: SrSettings,
}

impl Confluent {
    /// Prepares the client; nothing is asked yet.
    ///
    /// # Errors
    /// Fatal `configuration`: the settings cannot be used.
    pub(super) fn open(
        registry: &config::Registry,
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
        Ok(Self { settings })
    }

    /// Every subject.
    pub(super) async fn subjects(&self) -> Result<Vec<String>, Trouble> {
        get_all_subjects(&self.settings).await.map_err(|e| trouble(&e))
    }

    /// Id of the newest schema of a subject.
    pub(super) async fn newest(&self, subject: &str) -> Result<Option<u32>, Trouble> {
        let answer = get_schema_by_subject_and_version(&self.settings, subject, None).await;
        match answer.map_err(|e| trouble(&e)) {
            Ok(schema) => Ok(Some(schema.id)),
            // 40401 for the subject, 40402 for its version: either way there is none.
            Err(Trouble::NotFound) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// The schema with this id.
    pub(super) async fn schema(&self, id: u32) -> Result<Schema, Trouble> {
        registered(get_schema_by_id(id, &self.settings).await)
    }

    /// The schema that stands under a subject's version.
    pub(super) async fn version(&self, subject: &str, version: u32) -> Result<Schema, Trouble> {
        let version = Some(version);
        registered(get_schema_by_subject_and_version(&self.settings, subject, version).await)
    }
}

fn registered(answer: Result<RegisteredSchema, SRCError>) -> Result<Schema, Trouble> {
    let schema = answer.map_err(|e| trouble(&e))?;
    let reference = |r: RegisteredReference| Reference {
        name: r.name,
        place: Place::Subject { subject: r.subject, version: r.version },
    };
    let kind = schema.schema_type;
    let schema = Schema {
        text: schema.schema,
        other_kind: (kind != SchemaType::Avro).then(|| format!("{kind:?}")),
        references: schema.references.into_iter().map(reference).collect(),
    };
    protocol::checked(schema).map_err(not_schema)
}

fn trouble(error: &SRCError) -> Trouble {
    let code = error.source().and_then(|e| e.downcast_ref::<RawError>()).map(|e| e.error_code);
    match (status(error), code) {
        (Some(404), Some(SCHEMA_NOT_FOUND)) => Trouble::Unknown,
        (Some(404), _) => Trouble::NotFound,
        (Some(status), _) => Trouble::Status(status),
        // The crate's own text; its cause is left out, since it may hold the URL with its credentials.
        (None, _) => Trouble::Broken(error.error.clone()),
    }
}

/// The HTTP status. The crate keeps it only in its text ("... failed with status 503 Service Unavailable"); the tests
/// pin that text for every status that matters.
fn status(error: &SRCError) -> Option<u16> {
    error.error.split_once("failed with status ")?.1.split(' ').next()?.parse().ok()
}
