//! The keys under which registries know schemas, and the headers in which records name them.
//!
//! # Decisions
//! - A kind of id is part of the id: 7 of Confluent, contentId 7 and globalId 7 are three schemas.
//! - What a record's headers say is only looked at where it matters (`TopicDecoder::decode`); then the header goes before
//!   the payload's first bytes, as Confluent's and Apicurio's own readers have it.

use super::wire::Part;
use crate::config;
use crate::fault::{Code, Fault};
use crate::record::Headers;
use std::fmt;

/// The key under which a registry knows a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegistryId {
    /// The id of Confluent's protocol, unique within one registry.
    Confluent(u32),
    /// Confluent's GUID of a schema's content, big-endian.
    Guid([u8; 16]),
    /// Apicurio's id of a content.
    ContentId(u64),
    /// Apicurio's id of one version of one artifact.
    GlobalId(u64),
    /// Apicurio's SHA-256 of a content with its references.
    ContentHash([u8; 32]),
}

/// What the number behind the first byte `0x00` is: the bytes do not tell, so the configuration does (`[registry]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadId {
    /// Four bytes, an id of Confluent's protocol.
    #[default]
    Confluent,
    /// Four bytes, or eight when `wide`: Apicurio's contentId.
    ContentId {
        /// Eight bytes.
        wide: bool,
    },
    /// Four bytes, or eight when `wide`: Apicurio's globalId.
    GlobalId {
        /// Eight bytes.
        wide: bool,
    },
}

impl PayloadId {
    /// The kind that the configuration says; without a registry it does not matter.
    #[must_use]
    pub fn of(registry: Option<&config::Registry>) -> Self {
        let Some(registry) = registry else { return Self::default() };
        let wide = registry.wide_ids;
        match (registry.api, registry.use_id) {
            (config::RegistryApi::Confluent, _) => Self::Confluent,
            (config::RegistryApi::Apicurio, config::ApicurioId::ContentId) => {
                Self::ContentId { wide }
            }
            (config::RegistryApi::Apicurio, config::ApicurioId::GlobalId) => {
                Self::GlobalId { wide }
            }
        }
    }

    /// Takes the id off the bytes behind the first one; `None` when they are too few.
    #[must_use]
    pub fn take(self, bytes: &[u8]) -> Option<(RegistryId, &[u8])> {
        let wide = matches!(self, Self::ContentId { wide: true } | Self::GlobalId { wide: true });
        let (number, body) = if wide {
            bytes.split_first_chunk().map(|(id, body)| (u64::from_be_bytes(*id), body))?
        } else {
            bytes.split_first_chunk().map(|(id, body)| (u32::from_be_bytes(*id).into(), body))?
        };
        let id = match self {
            Self::Confluent => RegistryId::Confluent(u32::try_from(number).ok()?),
            Self::ContentId { .. } => RegistryId::ContentId(number),
            Self::GlobalId { .. } => RegistryId::GlobalId(number),
        };
        Some((id, body))
    }
}

/// The id in a record's headers; `None` when no header names a schema.
///
/// Confluent's `HeaderSchemaIdSerializer` writes `__key_schema_id` and `__value_schema_id`: `0x01` and a GUID (its reader
/// takes `0x00` and four bytes too). Apicurio writes one of `apicurio.value.contentId`, `.globalId` (eight bytes) and
/// `.contentHash` (hex digits), and the same for the key.
///
/// # Errors
/// Poison `UnknownMagicByte` when a header's value has another form, or says that the datum is no Avro binary.
pub fn in_headers(part: Part, headers: &dyn Headers) -> Option<Result<RegistryId, Fault>> {
    let names = HeaderNames::of(part);
    if let Some(value) = headers.get(names.confluent) {
        return Some(confluent(value).ok_or_else(|| malformed(part, names.confluent)));
    }
    for (name, read) in names.apicurio {
        if let Some(value) = headers.get(name) {
            if headers.get(names.encoding).flatten().is_some_and(|value| value != b"BINARY") {
                return Some(Err(Fault::poison(
                    Code::UnknownMagicByte,
                    format!(
                        "decode {}: header {} is not BINARY, and Avro in another encoding is not supported",
                        part.as_str(),
                        names.encoding
                    ),
                )));
            }
            return Some(value.and_then(read).ok_or_else(|| malformed(part, name)));
        }
    }
    None
}

/// Reads the value of one of Apicurio's headers.
type Read = fn(&[u8]) -> Option<RegistryId>;

struct HeaderNames {
    confluent: &'static str,
    apicurio: [(&'static str, Read); 3],
    encoding: &'static str,
}

impl HeaderNames {
    fn of(part: Part) -> Self {
        match part {
            Part::Key => Self {
                confluent: "__key_schema_id",
                apicurio: [
                    ("apicurio.key.contentId", content_id),
                    ("apicurio.key.globalId", global_id),
                    ("apicurio.key.contentHash", content_hash),
                ],
                encoding: "apicurio.key.encoding",
            },
            Part::Value => Self {
                confluent: "__value_schema_id",
                apicurio: [
                    ("apicurio.value.contentId", content_id),
                    ("apicurio.value.globalId", global_id),
                    ("apicurio.value.contentHash", content_hash),
                ],
                encoding: "apicurio.value.encoding",
            },
        }
    }
}

fn confluent(value: Option<&[u8]>) -> Option<RegistryId> {
    match value? {
        [0, id @ ..] => id.try_into().ok().map(|id| RegistryId::Confluent(u32::from_be_bytes(id))),
        [1, guid @ ..] => guid.try_into().ok().map(RegistryId::Guid),
        _ => None,
    }
}

fn content_id(value: &[u8]) -> Option<RegistryId> {
    value.try_into().ok().map(|id| RegistryId::ContentId(u64::from_be_bytes(id)))
}

fn global_id(value: &[u8]) -> Option<RegistryId> {
    value.try_into().ok().map(|id| RegistryId::GlobalId(u64::from_be_bytes(id)))
}

fn content_hash(value: &[u8]) -> Option<RegistryId> {
    let mut hash = [0; 32];
    if value.len() != 64 {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(value.as_chunks::<2>().0) {
        let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(RegistryId::ContentHash(hash))
}

fn malformed(part: Part, name: &str) -> Fault {
    Fault::poison(
        Code::UnknownMagicByte,
        format!("decode {}: header {name} holds no schema id", part.as_str()),
    )
}

/// As it stands in messages and in names of files.
impl fmt::Display for RegistryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confluent(id) => write!(f, "{id}"),
            Self::ContentId(id) => write!(f, "contentId-{id}"),
            Self::GlobalId(id) => write!(f, "globalId-{id}"),
            Self::Guid(guid) => write!(f, "guid-{}", uuid::Uuid::from_bytes(*guid)),
            Self::ContentHash(hash) => {
                f.write_str("contentHash-")?;
                hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, value: Option<&[u8]>) -> Option<Result<RegistryId, Code>> {
        let headers = vec![("x".to_owned(), None), (name.to_owned(), value.map(<[u8]>::to_vec))];
        in_headers(Part::Value, &headers).map(|found| found.map_err(|fault| fault.code))
    }

    #[test]
    fn every_form_of_header_is_its_own_kind_of_id() {
        let eight = 7_u64.to_be_bytes();
        assert_eq!(
            found("__value_schema_id", Some(&[0, 0, 0, 0, 7])),
            Some(Ok(RegistryId::Confluent(7)))
        );
        assert_eq!(found("__value_schema_id", Some(&[1; 17])), Some(Ok(RegistryId::Guid([1; 16]))));
        assert_eq!(
            found("apicurio.value.contentId", Some(&eight)),
            Some(Ok(RegistryId::ContentId(7)))
        );
        assert_eq!(
            found("apicurio.value.globalId", Some(&eight)),
            Some(Ok(RegistryId::GlobalId(7)))
        );
        let hash = "0a".repeat(32);
        assert_eq!(
            found("apicurio.value.contentHash", Some(hash.as_bytes())),
            Some(Ok(RegistryId::ContentHash([10; 32])))
        );
        assert_eq!(found("__key_schema_id", Some(&[1; 17])), None, "of the other half");
        assert_eq!(found("apicurio.value.artifactId", Some(b"a")), None);
    }

    #[test]
    fn a_header_of_another_form_is_refused() {
        for (name, value) in [
            ("__value_schema_id", &[0, 0, 0, 7][..]),
            ("__value_schema_id", &[1; 18]),
            ("__value_schema_id", &[2; 17]),
            ("__value_schema_id", &[]),
            ("apicurio.value.contentId", &[0; 4]),
            ("apicurio.value.globalId", &[0; 9]),
            ("apicurio.value.contentHash", &[b'x'; 64]),
            ("apicurio.value.contentHash", b"00"),
        ] {
            assert_eq!(found(name, Some(value)), Some(Err(Code::UnknownMagicByte)), "{name}");
        }
        assert_eq!(found("__value_schema_id", None), Some(Err(Code::UnknownMagicByte)));
    }

    #[test]
    fn avro_in_its_json_encoding_is_named_in_the_fault() {
        let id = ("apicurio.key.globalId".to_owned(), Some(vec![0; 8]));
        let encoding =
            |text: &str| vec![id.clone(), ("apicurio.key.encoding".to_owned(), Some(text.into()))];
        assert_eq!(in_headers(Part::Key, &encoding("BINARY")), Some(Ok(RegistryId::GlobalId(0))));
        let fault = in_headers(Part::Key, &encoding("JSON")).unwrap().unwrap_err();
        assert!(fault.text.contains("apicurio.key.encoding"), "{fault}");
    }

    #[test]
    fn the_number_in_a_payload_is_of_the_configured_kind_and_width() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 7, 9];
        let take = |kind: PayloadId| kind.take(&bytes).unwrap();
        assert_eq!(take(PayloadId::Confluent), (RegistryId::Confluent(0), &bytes[4..]));
        assert_eq!(
            take(PayloadId::ContentId { wide: false }),
            (RegistryId::ContentId(0), &bytes[4..])
        );
        assert_eq!(
            take(PayloadId::GlobalId { wide: true }),
            (RegistryId::GlobalId(7), &bytes[8..])
        );
        assert_eq!(PayloadId::GlobalId { wide: true }.take(&bytes[..7]), None);
    }

    #[test]
    fn ids_of_different_kinds_never_look_alike() {
        let ids = [
            RegistryId::Confluent(7),
            RegistryId::ContentId(7),
            RegistryId::GlobalId(7),
            RegistryId::Guid([7; 16]),
            RegistryId::ContentHash([7; 32]),
        ];
        for (at, a) in ids.iter().enumerate() {
            for b in ids.iter().skip(at + 1) {
                assert_ne!(a, b);
                assert_ne!(a.to_string(), b.to_string());
            }
        }
    }
}
