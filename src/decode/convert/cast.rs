//! Columns that are staged as text: writes the text form that PostgreSQL's cast reads.

use super::bytea::Alphabet;
use super::shape::{self, Shape};
use super::target::CastKind;
use super::vector::{self, Width};
use super::{
    Context, Encoded, Refusal, WRONG_KIND, begin, bytea, decimal, each, finish, struct_text, text,
};
use crate::config::{DecimalHandlingMode, Table};
use crate::decode::slot::Slot;
use std::io::Write as _;

/// How a value becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text as it stands, numbers and booleans by their literal.
    Plain,
    /// `"char"`: one byte at most.
    Char,
    /// Little-endian bytes (base64 in JSON) or a boolean as bits; `None` keeps the significant ones.
    Bits(Option<u32>, Option<u32>),
    /// Decimal of this scale.
    Decimal(i32),
    /// VariableScaleDecimal.
    VariableScale,
    /// A number of at most two digits after the point, because the cast to `money` rounds: Decimal of this scale, or as
    /// [`Form::VariableScale`].
    Money(Option<i32>),
    /// Bytes that are PostgreSQL's text (`include.unknown.datatypes`), or the text that stands for those bytes.
    TextBytes(Alphabet),
    /// Object or map as hstore.
    Hstore,
    /// Struct of one of PostgreSQL's own geometric types, or its text as [`Form::TextBytes`].
    Shape(Shape, Alphabet),
    /// Geometry struct; `geodetic`: of degrees.
    Geometry { geodetic: bool },
    /// Struct of a sparse vector.
    Sparse(Width),
}

/// One staged text: a form, in brackets if the column is a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    pub form: Form,
    pub list: Option<List>,
}

/// How lists are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `{"a",NULL}` with the element type's own delimiter (`pg_type.typdelim`).
    Array(u8),
    /// The same from text that joins the elements by commas (EnumSet; no label of a MySQL set has a comma).
    Set,
    /// pgvector's `[1,2]`.
    Vector(Width),
}

impl Cast {
    pub fn encode(self, slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
        let at = begin(out);
        match (self.list, slot) {
            (Some(List::Array(delimiter)), Slot::Nested(bytes)) => {
                self.form.array(delimiter, bytes, context, out)?
            }
            (Some(List::Vector(width)), Slot::Nested(bytes)) => {
                vector::dense(width, bytes, context, out)?
            }
            (Some(List::Set), _) => self.form.set(slot, context, out)?,
            // A list may also come as its text.
            (Some(_), Slot::Text(_) | Slot::Unescaped { .. }) => {
                Form::Plain.put(slot, context, out)?
            }
            (Some(_), _) => return Err(WRONG_KIND),
            (None, _) => self.form.put(slot, context, out)?,
        }
        finish(out, at)
    }
}

impl Form {
    /// What JSON without a schema means for a column of this kind.
    pub fn untyped(kind: CastKind, modes: &Table) -> Self {
        match kind {
            // Debezium's default of money.fraction.digits.
            CastKind::Money | CastKind::MoneyArray
                if modes.decimal_handling_mode == DecimalHandlingMode::Precise =>
            {
                Self::Money(Some(2))
            }
            CastKind::Bit(length) => Self::Bits(Some(length), Some(length)),
            CastKind::VarBit(limit) => Self::Bits(None, limit),
            CastKind::Char => Self::Char,
            CastKind::Hstore | CastKind::HstoreArray => Self::Hstore,
            CastKind::Shape(shape) | CastKind::ShapeArray(shape) => {
                Self::Shape(shape, Alphabet::of_untyped(modes.binary_handling_mode))
            }
            CastKind::Geometry { geodetic } | CastKind::GeometryArray { geodetic } => {
                Self::Geometry { geodetic }
            }
            CastKind::Sparse => Self::Sparse(Width::Single),
            CastKind::Opaque | CastKind::OpaqueArray => {
                Self::TextBytes(Alphabet::of_untyped(modes.binary_handling_mode))
            }
            CastKind::Money | CastKind::MoneyArray => Self::Money(None),
            CastKind::Array
            | CastKind::BitArray
            | CastKind::UserArray
            | CastKind::Vector { .. }
            | CastKind::Other => Self::Plain,
        }
    }

    fn put(self, slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
        match self {
            Self::Plain => scalar(slot, context, out),
            Self::Char => {
                let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
                let text = text::without_nul(text, context)?;
                if text.len() > 1 {
                    return Err(Refusal::Value("is longer than one byte"));
                }
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            Self::Bits(length, limit) => bits(length, limit, slot, context, out),
            Self::Decimal(scale) => {
                with_bytes(Alphabet::Base64, slot, context, out, |bytes, out| {
                    decimal::plain_text(bytes, scale, out);
                    Ok(())
                })
            }
            Self::Money(scale) => {
                let at = out.len();
                scale.map_or(Self::VariableScale, Self::Decimal).put(slot, context, out)?;
                let written = out.get(at..).unwrap_or_default();
                let point = written.iter().position(|byte| *byte == b'.').unwrap_or(written.len());
                let rest = written.get(point + 3..).unwrap_or_default();
                if rest.iter().all(|byte| *byte == b'0') {
                    Ok(())
                } else {
                    Err(Refusal::Value("has more than two digits after the point"))
                }
            }
            Self::VariableScale => match *slot {
                Slot::Nested(bytes) => {
                    decimal::with_variable_scale(bytes, context, &mut |value, scale| {
                        decimal::plain_text(value, scale, out);
                        Ok(())
                    })
                }
                _ => scalar(slot, context, out),
            },
            Self::TextBytes(alphabet) => text_bytes(alphabet, slot, context, out),
            Self::Hstore => struct_text::hstore(slot, context, out),
            Self::Shape(shape, alphabet) => match *slot {
                Slot::Nested(bytes) => shape::native(shape, bytes, context, out),
                _ => text_bytes(alphabet, slot, context, out),
            },
            Self::Geometry { geodetic } => match slot {
                Slot::Nested(_) => shape::ewkb_text(geodetic, slot, context, out),
                _ => scalar(slot, context, out),
            },
            Self::Sparse(width) => match *slot {
                Slot::Nested(bytes) => vector::sparse(width, bytes, context, out),
                _ => scalar(slot, context, out),
            },
        }
    }

    fn array(
        self,
        delimiter: u8,
        bytes: &[u8],
        context: Context<'_>,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let mut first = true;
        // One buffer for all elements of the array; arrays that are staged as text are rare.
        let mut element = Vec::new();
        out.push(b'{');
        each(bytes, context, &mut |_, slot, inner| {
            if !std::mem::take(&mut first) {
                out.push(delimiter);
            }
            if matches!(slot, Slot::Null) {
                out.extend_from_slice(b"NULL");
                return Ok(());
            }
            element.clear();
            self.put(slot, inner, &mut element)?;
            struct_text::quote(std::str::from_utf8(&element).map_err(|_| WRONG_KIND)?, out);
            Ok(())
        })?;
        out.push(b'}');
        Ok(())
    }

    fn set(self, slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
        let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
        out.push(b'{');
        for (place, label) in text.split(',').enumerate().filter(|_| !text.is_empty()) {
            if place > 0 {
                out.push(b',');
            }
            struct_text::quote(&text::without_nul(label, context)?, out);
        }
        out.push(b'}');
        Ok(())
    }
}

/// Text as it stands, numbers and booleans by their literal.
pub fn scalar(slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let written = match *slot {
        Slot::Bool(value) => write!(out, "{value}"),
        Slot::Int(value) => write!(out, "{value}"),
        Slot::Unsigned(value) => write!(out, "{value}"),
        // Without an exponent, which not every type's input knows.
        Slot::Float(value) => write!(out, "{value}"),
        Slot::Double(value) => write!(out, "{value}"),
        Slot::Number(text) if text.contains(['e', 'E']) => {
            let value = text.parse::<f64>().map_err(|_| WRONG_KIND)?;
            write!(out, "{value}")
        }
        Slot::Number(text) => out.write_all(text.as_bytes()),
        _ => {
            let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
            out.write_all(text::without_nul(text, context)?.as_bytes())
        }
    };
    written.map_err(|_| WRONG_KIND)
}

/// Bytes that are PostgreSQL's text.
fn text_bytes(
    alphabet: Alphabet,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    with_bytes(alphabet, slot, context, out, |bytes, out| {
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Value("is not UTF-8 text"))?;
        out.extend_from_slice(text::without_nul(text, context)?.as_bytes());
        Ok(())
    })
}

/// Bytes as they stand, or from the text that stands for them; a JSON number is passed as text.
fn with_bytes(
    alphabet: Alphabet,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
    take: impl FnOnce(&[u8], &mut Vec<u8>) -> Encoded,
) -> Encoded {
    match *slot {
        Slot::Bytes(bytes) => take(bytes, out),
        Slot::Int(_) | Slot::Unsigned(_) | Slot::Number(_) => scalar(slot, context, out),
        _ => {
            let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
            bytea::with_decoded(text, alphabet, |bytes| take(bytes, out))
        }
    }
}

/// Debezium's Bits: the lowest bit first, bytes above the highest set bit left out.
fn bits(
    length: Option<u32>,
    limit: Option<u32>,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    if let Slot::Bool(bit) = *slot {
        return put_bits(&[u8::from(bit)], Some(length.unwrap_or(1)), limit, out);
    }
    if let Slot::Int(_) | Slot::Unsigned(_) | Slot::Number(_) = slot {
        return Err(WRONG_KIND);
    }
    with_bytes(Alphabet::Base64, slot, context, out, |bytes, out| {
        put_bits(bytes, length, limit, out)
    })
}

fn put_bits(bytes: &[u8], length: Option<u32>, limit: Option<u32>, out: &mut Vec<u8>) -> Encoded {
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
    let significant = (0..bytes.len() * 8).rev().find(|at| bit(*at)).map_or(0, |top| top + 1);
    let wanted = length.map_or(significant, |length| usize::try_from(length).unwrap_or(usize::MAX));
    let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if significant > wanted || wanted > most {
        return Err(Refusal::Value("has more bits than the column"));
    }
    out.extend((0..wanted).rev().map(|at| if bit(at) { b'1' } else { b'0' }));
    Ok(())
}
