//! Any bytes as key and value of a record whose schemas are not known yet: framing and naming of schemas never panic, and
//! what is taken off is what stood in front.

use silversink::config::{Format, Table};
use silversink::decode::slot::Scratch;
use silversink::decode::wire::{self, Framed, Part};
use silversink::decode::{Decoded, PayloadId, RegistryId, RowBuffer, TopicDecoder};
use silversink::fault::Class;
use silversink::record::RawRecord;

/// Headers that name schemas.
const HEADERS: [&str; 8] = [
    "__key_schema_id",
    "__value_schema_id",
    "apicurio.key.contentId",
    "apicurio.value.contentId",
    "apicurio.key.globalId",
    "apicurio.value.globalId",
    "apicurio.value.contentHash",
    "apicurio.value.encoding",
];

const KINDS: [PayloadId; 4] = [
    PayloadId::Confluent,
    PayloadId::ContentId { wide: false },
    PayloadId::ContentId { wide: true },
    PayloadId::GlobalId { wide: false },
];

pub fn check(data: &[u8]) {
    let Some((&[choice, header], bytes)) = data.split_first_chunk() else { return };
    let format = [Format::Auto, Format::Avro, Format::Json][usize::from(choice % 3)];
    let kind = KINDS[usize::from(choice / 3 % 4)];
    for part in [Part::Key, Part::Value] {
        match wire::frame(part, Some(bytes), format, kind) {
            Ok(Framed::Avro { id, body }) => {
                assert_ne!(format, Format::Json);
                let length = match id {
                    RegistryId::Confluent(_) => 5,
                    RegistryId::Guid(_) => 17,
                    _ if matches!(kind, PayloadId::ContentId { wide: true }) => 9,
                    _ => 5,
                };
                assert!(bytes.ends_with(body) && bytes.len() - body.len() == length);
            }
            Ok(Framed::Json(text)) => assert!(format != Format::Avro && !text.is_empty()),
            Ok(Framed::Nothing) => assert_eq!(bytes.trim_ascii(), b"null"),
            Err(fault) => assert_eq!(fault.class, Class::Poison),
        }
    }
    let (in_header, rest) = bytes.split_at(bytes.len() / 4);
    let (key, value) = rest.split_at(rest.len() / 3);
    let mut headers = Vec::new();
    for (bit, name) in HEADERS.iter().enumerate() {
        if header >> bit & 1 == 1 {
            headers.push(((*name).to_owned(), Some(in_header.to_vec())));
        }
    }
    let record = RawRecord {
        topic: "t",
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: Some(key),
        value: Some(value),
        headers: &headers,
    };
    let mut decoder = TopicDecoder::new(format, Table::default()).with_payload_id(kind);
    // Twice: the first record may have turned the decoder to headers.
    for _ in 0..2 {
        match decoder.decode(&record, &mut Scratch::default(), &mut RowBuffer::default()) {
            Decoded::NewTable(_) => unreachable!("the decoder has one table"),
            Decoded::Poison(fault) => assert_eq!(fault.class, Class::Poison),
            Decoded::Skip(_) | Decoded::NeedsPlan(_) => {}
            Decoded::Change(change) => panic!("a change without a plan: {change:?}"),
        }
    }
}
