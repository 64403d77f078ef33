//! The protocols of Confluent and of Apicurio: which path answers for an id, and what an answer says. Pure.

use crate::config::RegistryApi;
use crate::decode::RegistryId;
use serde::Deserialize;

/// Confluent's own code for "no schema has this id" (shared by Karapace, Redpanda and Apicurio's ccompat).
pub(super) const SCHEMA_NOT_FOUND: u32 = 40403;
/// What Apicurio calls the same, by the kind of id.
const APICURIO_NOT_FOUND: [&str; 3] =
    ["ContentNotFoundException", "ArtifactNotFoundException", "VersionNotFoundException"];

/// Where something stands below the registry's base URL, as segments of its path.
pub(super) type Path = Vec<String>;

/// A schema that another one names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The name under which it is used.
    pub name: String,
    /// Where its schema stands.
    pub place: Place,
}

/// Where the schema of a reference stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Confluent's protocol: its own references come with it.
    Subject {
        /// The subject.
        subject: String,
        /// Its version.
        version: u32,
    },
    /// Apicurio: its own references stand beside it.
    Paths {
        /// The schema's.
        schema: Path,
        /// The references'.
        references: Path,
    },
}

/// A schema as the registry holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Schema {
    /// Its text.
    pub text: String,
    /// The registry's name of another kind than Avro.
    pub other_kind: Option<String>,
    /// What it names.
    pub references: Vec<Reference>,
}

/// Where the schema of an id stands, and its references when they stand elsewhere; `None` when the protocol knows no ids
/// of this kind.
pub(super) fn paths(api: RegistryApi, id: RegistryId) -> Option<(Path, Option<Path>)> {
    let path = |segments: &[&str]| segments.iter().map(|s| (*s).to_owned()).collect::<Path>();
    let ids = |kind: &str, id: String| {
        Some((path(&["ids", kind, &id]), Some(path(&["ids", kind, &id, "references"]))))
    };
    match (api, id) {
        (RegistryApi::Confluent, RegistryId::Confluent(id)) => {
            Some((path(&["schemas", "ids", &id.to_string()]), None))
        }
        (RegistryApi::Confluent, RegistryId::Guid(guid)) => {
            let guid = uuid::Uuid::from_bytes(guid).to_string();
            Some((path(&["schemas", "guids", &guid]), None))
        }
        (RegistryApi::Apicurio, RegistryId::ContentId(id)) => ids("contentIds", id.to_string()),
        (RegistryApi::Apicurio, RegistryId::GlobalId(id)) => ids("globalIds", id.to_string()),
        (RegistryApi::Apicurio, RegistryId::ContentHash(hash)) => {
            ids("contentHashes", hash.iter().map(|byte| format!("{byte:02x}")).collect())
        }
        _ => None,
    }
}

/// Whether a body of status 404 is the registry's own word that the id does not exist. A wrong path or a proxy answers 404
/// too; taken at its word, it would park whole topics.
pub(super) fn is_unknown(api: RegistryApi, body: &str) -> bool {
    #[derive(Deserialize)]
    struct Error {
        error_code: Option<u32>,
        name: Option<String>,
    }
    let Ok(error) = serde_json::from_str::<Error>(body) else { return false };
    match api {
        RegistryApi::Confluent => error.error_code == Some(SCHEMA_NOT_FOUND),
        RegistryApi::Apicurio => {
            error.name.is_some_and(|name| APICURIO_NOT_FOUND.contains(&name.as_str()))
        }
    }
}

/// Reads a schema.
///
/// # Errors
/// What is wrong with the answer: then it is no registry's answer.
pub(super) fn schema(api: RegistryApi, body: String) -> Result<Schema, &'static str> {
    checked(match api {
        RegistryApi::Confluent => confluent(&body)?,
        RegistryApi::Apicurio => Schema { text: body, other_kind: None, references: Vec::new() },
    })
}

/// What is no schema is no registry's answer.
///
/// # Errors
/// What is wrong with it.
pub(super) fn checked(schema: Schema) -> Result<Schema, &'static str> {
    if schema.other_kind.is_none() && !is_schema_text(&schema.text) {
        return Err("its schema is no JSON");
    }
    Ok(schema)
}

fn confluent(body: &str) -> Result<Schema, &'static str> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        schema: String,
        schema_type: Option<String>,
        #[serde(default)]
        references: Option<Vec<Named>>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
        subject: String,
        version: u32,
    }
    let body: Body = serde_json::from_str(body).map_err(|_| "it holds no schema")?;
    let reference = |named: Named| Reference {
        name: named.name,
        place: Place::Subject { subject: named.subject, version: named.version },
    };
    Ok(Schema {
        text: body.schema,
        other_kind: body.schema_type.filter(|kind| kind != "AVRO"),
        references: body.references.unwrap_or_default().into_iter().map(reference).collect(),
    })
}

/// Reads the references of a schema of Apicurio's.
///
/// # Errors
/// What is wrong with the answer.
pub(super) fn references(body: &str) -> Result<Vec<Reference>, &'static str> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        name: String,
        group_id: Option<String>,
        artifact_id: String,
        version: String,
    }
    let named: Vec<Named> =
        serde_json::from_str(body).map_err(|_| "it holds no list of references")?;
    let reference = |named: Named| {
        let group = named.group_id.as_deref().unwrap_or("default");
        let path = |last: &str| {
            let place = ["groups", group, "artifacts", &named.artifact_id, "versions"];
            place.into_iter().chain([&*named.version, last]).map(str::to_owned).collect()
        };
        let place = Place::Paths { schema: path("content"), references: path("references") };
        Reference { name: named.name, place }
    };
    Ok(named.into_iter().map(reference).collect())
}

/// JSON, or the bare name of a primitive type.
fn is_schema_text(text: &str) -> bool {
    let bare = text.trim();
    (!bare.is_empty() && bare.chars().all(|c| c.is_ascii_lowercase()))
        || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_id_has_a_path_at_its_own_registry_and_none_at_the_other() {
        let told = |api, id| paths(api, id).map(|(path, _)| path.join("/"));
        let (confluent, apicurio) = (RegistryApi::Confluent, RegistryApi::Apicurio);
        let hash = RegistryId::ContentHash([0xab; 32]);
        assert_eq!(told(confluent, RegistryId::Confluent(7)).unwrap(), "schemas/ids/7");
        assert_eq!(
            told(confluent, RegistryId::Guid([1; 16])).unwrap(),
            "schemas/guids/01010101-0101-0101-0101-010101010101"
        );
        assert_eq!(told(apicurio, RegistryId::ContentId(7)).unwrap(), "ids/contentIds/7");
        assert_eq!(told(apicurio, RegistryId::GlobalId(7)).unwrap(), "ids/globalIds/7");
        assert_eq!(told(apicurio, hash).unwrap(), format!("ids/contentHashes/{}", "ab".repeat(32)));
        for id in [RegistryId::ContentId(7), RegistryId::GlobalId(7), hash] {
            assert_eq!(told(confluent, id), None);
        }
        for id in [RegistryId::Confluent(7), RegistryId::Guid([1; 16])] {
            assert_eq!(told(apicurio, id), None);
        }
    }

    #[test]
    fn only_the_registry_s_own_word_says_that_an_id_is_unknown() {
        let confluent = |body| is_unknown(RegistryApi::Confluent, body);
        assert!(confluent(r#"{"error_code":40403,"message":"Schema 7 not found"}"#));
        assert!(!confluent(r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#));
        assert!(!confluent("<html>") && !confluent("") && !confluent("[]"));
        let apicurio = |body| is_unknown(RegistryApi::Apicurio, body);
        assert!(apicurio(r#"{"title":"x","status":404,"name":"ContentNotFoundException"}"#));
        assert!(apicurio(r#"{"error_code":404,"name":"ArtifactNotFoundException"}"#));
        assert!(!apicurio(r#"{"status":404,"name":"NotFoundException"}"#));
        assert!(!apicurio(r#"{"error_code":40403}"#));
    }

    #[test]
    fn what_holds_no_schema_is_no_answer() {
        for body in ["", "{}", "[]", "<html>", r#"{"schema":7}"#, r#"{"schema":"{\"type"}"#] {
            assert!(schema(RegistryApi::Confluent, body.to_owned()).is_err(), "{body}");
        }
        for body in ["", "<html>", "{\"type", "syntax = \"proto3\";"] {
            assert!(schema(RegistryApi::Apicurio, body.to_owned()).is_err(), "{body}");
        }
        assert!(schema(RegistryApi::Confluent, r#"{"schema":"long"}"#.to_owned()).is_ok());
        assert!(schema(RegistryApi::Apicurio, "\"long\"".to_owned()).is_ok());
    }
}
