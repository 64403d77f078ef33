//! Text forms of maps: hstore, and JSON objects.

use super::{Context, Encoded, Refusal, WRONG_KIND, each, text};
use crate::decode::slot::Slot;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A map (`hstore.handling.mode=map`) or JSON object (mode `json`) as hstore text.
pub fn hstore(slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    if let Slot::Nested(bytes) = *slot {
        let mut first = true;
        return each(bytes, context, &mut |key, value, inner| {
            let value = match value {
                Slot::Null => None,
                _ => Some(inner.scratch.text(value).ok_or(WRONG_KIND)?),
            };
            hstore_entry(&mut first, key, value, context, out)
        });
    }
    let json = context.scratch.text(slot).ok_or(WRONG_KIND)?;
    let mut reader = serde_json::Deserializer::from_str(json);
    let mut refused = None;
    let done = reader.deserialize_map(Pairs { context, refused: &mut refused, out });
    match (done.and_then(|()| reader.end()), refused) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(refusal)) => Err(refusal),
        (Err(_), None) => Err(Refusal::Value("is no JSON object of texts")),
    }
}

fn hstore_entry(
    first: &mut bool,
    key: &str,
    value: Option<&str>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    if !std::mem::take(first) {
        out.extend_from_slice(b", ");
    }
    quote(&text::without_nul(key, context)?, out);
    out.extend_from_slice(b"=>");
    match value {
        Some(value) => quote(&text::without_nul(value, context)?, out),
        None => out.extend_from_slice(b"NULL"),
    }
    Ok(())
}

struct Pairs<'o, 'c> {
    context: Context<'c>,
    refused: &'o mut Option<Refusal>,
    out: &'o mut Vec<u8>,
}

impl<'de> Visitor<'de> for Pairs<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut first = true;
        while let Some((key, value)) = map.next_entry::<Cow<'_, str>, Option<Cow<'_, str>>>()? {
            hstore_entry(&mut first, &key, value.as_deref(), self.context, self.out).map_err(
                |refusal| {
                    *self.refused = Some(refusal);
                    serde::de::Error::custom("refused")
                },
            )?;
        }
        Ok(())
    }
}

/// Text in double quotes, backslash as escape: the quoting of hstore and of array literals.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// A map as a JSON object, for `json` and `jsonb` columns.
pub fn map_as_json(slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let Slot::Nested(bytes) = *slot else { return Err(WRONG_KIND) };
    let mut first = true;
    out.push(b'{');
    each(bytes, context, &mut |key, value, inner| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        json_string(key, context, out)?;
        out.push(b':');
        match value {
            Slot::Null => out.extend_from_slice(b"null"),
            _ => json_string(inner.scratch.text(value).ok_or(WRONG_KIND)?, context, out)?,
        }
        Ok(())
    })?;
    out.push(b'}');
    Ok(())
}

fn json_string(value: &str, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    serde_json::to_writer(out, &*text::without_nul(value, context)?).map_err(|_| WRONG_KIND)
}
