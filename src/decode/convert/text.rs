//! Text, labels, identifiers and JSON.

use super::{
    Context, Encoded, Refusal, WRONG_KIND, begin, finish, json_text, put_bytes, put_fixed,
};
use crate::decode::slot::Slot;
use std::borrow::Cow;
use uuid::Uuid;

/// What a text column limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// `text`, and varchar without a length.
    Any,
    /// `varchar(n)`: characters.
    Varchar(u32),
    /// `char(n)`: characters; blanks at the end do not count.
    Bpchar(u32),
    /// `name` and enum labels: bytes (NAMEDATALEN - 1).
    Name,
}

const TOO_LONG: Refusal = Refusal::Value("is longer than the column");

/// The text without what PostgreSQL's text cannot hold: U+0000 is replaced as configured, or refused.
#[inline]
pub fn without_nul<'t>(text: &'t str, context: Context<'_>) -> Result<Cow<'t, str>, Refusal> {
    if !text.as_bytes().contains(&0) {
        return Ok(Cow::Borrowed(text));
    }
    let replacement = context.nul.ok_or(Refusal::Nul)?;
    Ok(Cow::Owned(text.replace('\0', replacement)))
}

fn exceeds(text: &str, characters: u32) -> bool {
    let limit = usize::try_from(characters).unwrap_or(usize::MAX);
    text.len() > limit && text.chars().count() > limit
}

#[inline]
pub fn text(length: Length, slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let text = without_nul(context.scratch.text(slot).ok_or(WRONG_KIND)?, context)?;
    let mut text: &str = &text;
    let too_long = match length {
        Length::Any => false,
        // PostgreSQL would cut surplus blanks of a varchar silently: refused here.
        Length::Varchar(limit) => exceeds(text, limit),
        Length::Bpchar(limit) => {
            if exceeds(text, limit) {
                text = text.trim_end_matches(' ');
            }
            exceeds(text, limit)
        }
        Length::Name => text.len() > 63,
    };
    if too_long {
        return Err(TOO_LONG);
    }
    put_bytes(out, text.as_bytes())
}

pub fn uuid(slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
    let uuid = Uuid::try_parse(text).map_err(|_| Refusal::Value("is no UUID"))?;
    put_fixed(out, *uuid.as_bytes());
    Ok(())
}

/// `json` and `jsonb` (`binary`: a version byte comes first). An array or object of JSON without a schema is its own text.
pub fn json(binary: bool, slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let text = match *slot {
        Slot::Nested(bytes) => std::str::from_utf8(bytes).map_err(|_| WRONG_KIND)?,
        _ => context.scratch.text(slot).ok_or(WRONG_KIND)?,
    };
    let text = json_text::checked(text, context)?;
    let at = begin(out);
    if binary {
        out.push(1);
    }
    out.extend_from_slice(text.as_bytes());
    finish(out, at)
}
