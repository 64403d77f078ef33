//! Any bytes as key and value of a record whose schemas are not known yet: framing and naming of schemas never panic, and
//! what is taken off is what stood in front.

use silversink::config::{Format, Table};
use silversink::decode::slot::Scratch;
use silversink::decode::wire::{self, Framed, Part};
use silversink::decode::{Decoded, RowBuffer, TopicDecoder};
use silversink::fault::Class;
use silversink::record::{NoHeaders, RawRecord};

pub fn check(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let format = [Format::Auto, Format::Avro, Format::Json][usize::from(choice % 3)];
    for part in [Part::Key, Part::Value] {
        match wire::frame(part, Some(bytes), format) {
            Ok(Framed::Avro { body, .. }) => {
                assert_ne!(format, Format::Json);
                assert!(bytes.ends_with(body) && bytes.len() - body.len() == 5);
            }
            Ok(Framed::Json(text)) => assert!(format != Format::Avro && !text.is_empty()),
            Ok(Framed::Nothing) => assert_eq!(bytes.trim_ascii(), b"null"),
            Err(fault) => assert_eq!(fault.class, Class::Poison),
        }
    }
    let (key, value) = bytes.split_at(bytes.len() / 3);
    let record = RawRecord {
        topic: "t",
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: Some(key),
        value: Some(value),
        headers: &NoHeaders,
    };
    let mut decoder = TopicDecoder::new(format, Table::default());
    match decoder.decode(&record, &mut Scratch::default(), &mut RowBuffer::default(), 1) {
        Decoded::Poison(fault) => assert_eq!(fault.class, Class::Poison),
        Decoded::Skip(_) | Decoded::NeedsPlan(_) => {}
        Decoded::Change(change) => panic!("a change without a plan: {change:?}"),
    }
}
