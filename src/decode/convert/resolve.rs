//! Chooses the operation for a field and a column, or says why there is none that loses nothing.

use super::bytea::{self, Alphabet};
use super::cast::{Cast, Form};
use super::cast_for::{cast_from, list_of};
use super::decimal::{self, Source, declared_scale};
use super::narrow::narrower;
use super::numeric::{self, Width};
use super::target::{Limit, Target};
use super::temporal::{self, Unit};
use super::text::{self, Length};
use super::vector::Width as Kept;
use super::{Context, Encoded, array, begin, finish, put_null, struct_text, untold};
use crate::config::{DecimalHandlingMode, Table, TimePrecisionMode};
use crate::decode::schema::{FieldType, Semantic, Structured, Wire};
use crate::decode::slot::Slot;
use crate::table::ColumnType;
use std::sync::Arc;

/// What is done to each value of a column.
#[derive(Clone, Debug)]
pub enum Operation {
    Bool,
    Int(Width),
    Whole(Width),
    Float4,
    Float8 {
        single: bool,
    },
    Numeric(Source, Option<Limit>),
    Text(Length),
    Bytea(Alphabet),
    Date,
    Time(Unit, u8),
    TimeTz(u8),
    Timestamp(Unit, u8),
    /// As [`Self::Time`], in a unit that is guessed by the column.
    GuessedTime(Unit, u8),
    GuessedTimestamp(Unit, u8),
    TimestampTz(u8),
    Interval(Unit, u8),
    Uuid,
    Json {
        binary: bool,
    },
    MapJson {
        binary: bool,
    },
    Array {
        element: Arc<Operation>,
        oid: u32,
        set: bool,
    },
    Cast(Cast),
}

impl Operation {
    /// Appends one field.
    #[inline]
    pub fn encode(&self, slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
        if matches!(slot, Slot::Null | Slot::Absent | Slot::Unavailable) {
            put_null(out);
            return Ok(());
        }
        match self {
            Self::Bool => numeric::boolean(slot, out),
            Self::Int(width) => numeric::integer(*width, slot, out),
            Self::Whole(width) => {
                let value = decimal::whole(slot, context)?.ok_or(numeric::OUT_OF_RANGE)?;
                numeric::integer(*width, &Slot::Int(value), out)
            }
            Self::Float4 => numeric::float4(slot, context, out),
            Self::Float8 { single } => numeric::float8(*single, slot, context, out),
            Self::Numeric(source, limit) => decimal::encode(*source, *limit, slot, context, out),
            Self::Text(length) => text::text(*length, slot, context, out),
            Self::Bytea(alphabet) => bytea::bytea(*alphabet, slot, context, out),
            Self::Date => temporal::date(slot, context, out),
            Self::Time(unit, digits) => temporal::time(*unit, *digits, slot, context, out),
            Self::TimeTz(digits) => temporal::time_tz(*digits, slot, context, out),
            Self::Timestamp(unit, digits) => {
                temporal::timestamp(*unit, *digits, slot, context, out)
            }
            Self::GuessedTime(unit, digits) => {
                untold::time(*unit, slot)?;
                temporal::time(*unit, *digits, slot, context, out)
            }
            Self::GuessedTimestamp(unit, digits) => {
                untold::timestamp(*unit, slot)?;
                temporal::timestamp(*unit, *digits, slot, context, out)
            }
            Self::TimestampTz(digits) => temporal::timestamp_tz(*digits, slot, context, out),
            Self::Interval(unit, digits) => temporal::interval(*unit, *digits, slot, context, out),
            Self::Uuid => text::uuid(slot, context, out),
            Self::Json { binary } => text::json(*binary, slot, context, out),
            Self::MapJson { binary } => {
                let at = begin(out);
                if *binary {
                    out.push(1);
                }
                struct_text::map_as_json(slot, context, out)?;
                finish(out, at)
            }
            Self::Array { element, oid, set } => {
                array::array(element, *oid, *set, slot, context, out)
            }
            Self::Cast(cast) => cast.encode(slot, context, out),
        }
    }
}

pub type Resolved = Result<Operation, String>;

/// The operation for a field and a column's type.
pub fn operation(field: &FieldType, column: &ColumnType, modes: &Table) -> Resolved {
    for_target(field, &Target::of(column), modes)
}

fn for_target(field: &FieldType, target: &Target, modes: &Table) -> Resolved {
    if field.wire == Wire::Untyped {
        return untyped(target, modes);
    }
    if let Some(why) = narrower(field, target, modes) {
        return Err(format!("{}: {why}", cannot_hold(field)));
    }
    let found = match target {
        Target::Bool => (field.wire == Wire::Boolean).then_some(Operation::Bool),
        Target::Int2 => integer_from(field, 2, Width::Int2),
        Target::Int4 => integer_from(field, 4, Width::Int4),
        Target::Int8 => integer_from(field, 8, Width::Int8),
        // Debezium has no narrower type for oid than int64; each value is checked.
        Target::Oid => integer(field, 8).then_some(Operation::Int(Width::Oid)),
        Target::Float4 => {
            (field.wire == Wire::Float32 || integer(field, 2)).then_some(Operation::Float4)
        }
        Target::Float8 => (matches!(field.wire, Wire::Float32 | Wire::Float64)
            || integer(field, 4))
        .then_some(Operation::Float8 { single: field.wire == Wire::Float32 }),
        Target::Numeric(limit) => return numeric_from(field, *limit),
        Target::Text if field.semantic == Semantic::SparseVector => {
            Some(Operation::Cast(Cast { form: Form::Sparse(Kept::Any), list: None }))
        }
        Target::Text => text_like(field).then_some(Operation::Text(Length::Any)),
        Target::Varchar(limit) => {
            text_like(field).then_some(Operation::Text(Length::Varchar(*limit)))
        }
        Target::Bpchar(limit) => {
            text_like(field).then_some(Operation::Text(Length::Bpchar(*limit)))
        }
        Target::Name | Target::Enum => text_like(field).then_some(Operation::Text(Length::Name)),
        Target::Bytea => return bytes_from(field, modes),
        Target::Date => (matches!(field.semantic, Semantic::Date | Semantic::IsoDate)
            || is_structured(field, Structured::Date))
        .then_some(Operation::Date),
        Target::Time(digits) => {
            time_unit(&field.semantic).map(|unit| Operation::Time(unit, *digits))
        }
        Target::TimeTz(digits) => (field.semantic == Semantic::ZonedTime
            || is_structured(field, Structured::ZonedTime))
        .then_some(Operation::TimeTz(*digits)),
        Target::Timestamp(digits) => return timestamp_from(field, *digits, modes),
        Target::TimestampTz(digits) => (field.semantic == Semantic::ZonedTimestamp
            || is_structured(field, Structured::ZonedTimestamp))
        .then_some(Operation::TimestampTz(*digits)),
        Target::Interval(digits) => return interval_from(field, *digits),
        Target::Uuid => plain_or(field, &Semantic::Uuid).then_some(Operation::Uuid),
        Target::Json | Target::Jsonb => return json_from(field, *target == Target::Jsonb),
        Target::Array { element, oid } => match &field.wire {
            Wire::Array(inner) => {
                let element = Arc::new(for_target(inner, element, modes)?);
                Some(Operation::Array { element, oid: *oid, set: false })
            }
            Wire::String if field.semantic == Semantic::EnumSet && text_of(element).is_some() => {
                let element = Arc::new(Operation::Text(text_of(element).unwrap_or(Length::Any)));
                Some(Operation::Array { element, oid: *oid, set: true })
            }
            _ => None,
        },
        Target::Cast(kind) => return cast_from(field, *kind, modes),
    };
    found.ok_or_else(|| cannot_hold(field))
}

/// The sentence for a column that is too small or of another kind.
pub fn cannot_hold(field: &FieldType) -> String {
    let meaning = match &field.semantic {
        Semantic::None => String::new(),
        Semantic::Other(name) => format!(" ({name})"),
        Semantic::Structured { kind, .. } => format!(" (Structured{kind:?})"),
        // The bare name, without the parameters that the natural type tells better.
        known => format!(" ({})", format!("{known:?}").split(' ').next().unwrap_or_default()),
    };
    let wire = match &field.wire {
        Wire::Array(_) => "array".to_owned(),
        Wire::Map(..) => "map".to_owned(),
        Wire::Struct(_) => "struct".to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let natural = super::natural_type(field);
    let natural = natural.map(|sql| format!("; its natural type is {sql}")).unwrap_or_default();
    format!("cannot hold every {wire}{meaning} of the source without loss{natural}")
}

fn is_structured(field: &FieldType, wanted: Structured) -> bool {
    matches!(field.semantic, Semantic::Structured { kind, .. } if kind == wanted)
}

/// How a column of characters limits its text.
fn text_of(target: &Target) -> Option<Length> {
    Some(match target {
        Target::Text => Length::Any,
        Target::Varchar(limit) => Length::Varchar(*limit),
        Target::Bpchar(limit) => Length::Bpchar(*limit),
        _ => return None,
    })
}

/// Integers, and decimals without a fraction that are known to fit. A decimal whose precision nobody told (MySQL's
/// unsigned bigint) has its values checked against `bigint`, and is no match for less.
fn integer_from(field: &FieldType, bytes: u32, width: Width) -> Option<Operation> {
    if let (Wire::Bytes, Semantic::Decimal { scale: 0, precision }) = (&field.wire, &field.semantic)
    {
        let most = match width {
            Width::Int2 => 4,
            Width::Int4 => 9,
            _ => 18,
        };
        let fits = precision.map_or(width == Width::Int8, |precision| precision <= most);
        return fits.then_some(Operation::Whole(width));
    }
    integer(field, bytes).then_some(Operation::Int(width))
}

/// A whole number without a meaning of its own, at most `bytes` wide.
fn integer(field: &FieldType, bytes: u32) -> bool {
    let width = match field.wire {
        // 1901 to 2155 in MySQL; each value is checked.
        Wire::Int32 if field.semantic == Semantic::Year => 2,
        Wire::Int8 => 1,
        Wire::Int16 => 2,
        Wire::Int32 => 4,
        Wire::Int64 => 8,
        _ => return false,
    };
    let counts = match field.semantic {
        Semantic::None | Semantic::Year | Semantic::Other(_) => true,
        // There is no other exact home for them but interval.
        Semantic::MicroDuration | Semantic::NanoDuration => true,
        _ => false,
    };
    counts && width <= bytes
}

/// Text on the wire, whatever it means.
fn text_like(field: &FieldType) -> bool {
    field.wire == Wire::String
}

fn plain_or(field: &FieldType, semantic: &Semantic) -> bool {
    field.wire == Wire::String && (field.semantic == Semantic::None || field.semantic == *semantic)
}

fn numeric_from(field: &FieldType, limit: Option<Limit>) -> Resolved {
    let (source, digits) = match (&field.wire, &field.semantic) {
        (Wire::Bytes, Semantic::Decimal { scale, precision }) => {
            let declared = declared_scale(*scale);
            let before =
                precision.and_then(|p| i32::try_from(p).ok()).map(|p| p.saturating_sub(declared));
            (Source::Unscaled(*scale), Some((before, declared)))
        }
        (_, Semantic::VariableScaleDecimal) => (Source::Plain, None),
        (Wire::Int8, Semantic::None) => (Source::Plain, Some((Some(3), 0))),
        (Wire::Int16, Semantic::None) => (Source::Plain, Some((Some(5), 0))),
        (Wire::Int32, Semantic::None | Semantic::Year) => (Source::Plain, Some((Some(10), 0))),
        (Wire::Int64, Semantic::None) => (Source::Plain, Some((Some(19), 0))),
        (Wire::Float32, Semantic::None) => (Source::Single, None),
        // decimal.handling.mode double and string: no schema tells, each value is checked.
        (Wire::Float64 | Wire::String, Semantic::None) => (Source::Plain, None),
        _ => return Err(cannot_hold(field)),
    };
    if let (Some(limit), Some((before, after))) = (limit, digits) {
        let room = limit.precision - limit.scale;
        if after > limit.scale || before.is_some_and(|before| before > room) {
            return Err(cannot_hold(field));
        }
    }
    Ok(Operation::Numeric(source, limit))
}

fn bytes_from(field: &FieldType, modes: &Table) -> Resolved {
    match (&field.wire, &field.semantic) {
        (Wire::Bytes, Semantic::None | Semantic::Other(_)) => Ok(Operation::Bytea(Alphabet::Base64)),
        (Wire::Struct(_), Semantic::Geometry | Semantic::Geography | Semantic::Point) => {
            Ok(Operation::Bytea(Alphabet::Base64))
        }
        (Wire::String, Semantic::None) => match Alphabet::of_text(modes.binary_handling_mode) {
            Some(alphabet) => Ok(Operation::Bytea(alphabet)),
            None => Err("the source sends text; if it stands for bytes, set binary_handling_mode for this table".into()),
        },
        _ => Err(cannot_hold(field)),
    }
}

fn time_unit(semantic: &Semantic) -> Option<Unit> {
    match semantic {
        Semantic::Time => Some(Unit::Millis),
        Semantic::MicroTime | Semantic::IsoTime => Some(Unit::Micros),
        Semantic::NanoTime => Some(Unit::Nanos),
        Semantic::Structured { kind: Structured::Time, .. } => Some(Unit::Micros),
        _ => None,
    }
}

fn timestamp_from(field: &FieldType, digits: u8, modes: &Table) -> Resolved {
    let unit = match field.semantic {
        Semantic::Timestamp => Unit::Millis,
        // In adaptive mode microseconds say that the source has more than three digits. In the fixed modes they say
        // nothing, and each value is checked.
        Semantic::MicroTimestamp if digits <= 3 && adaptive(modes) => {
            return Err(format!(
                "{}; if every timestamp comes in microseconds, set time_precision_mode = \"microseconds\" for this table",
                cannot_hold(field)
            ));
        }
        Semantic::MicroTimestamp
        | Semantic::IsoTimestamp
        | Semantic::Structured { kind: Structured::Timestamp, .. } => Unit::Micros,
        Semantic::NanoTimestamp => Unit::Nanos,
        _ => return Err(cannot_hold(field)),
    };
    Ok(Operation::Timestamp(unit, digits))
}

fn adaptive(modes: &Table) -> bool {
    matches!(
        modes.time_precision_mode,
        TimePrecisionMode::Adaptive | TimePrecisionMode::AdaptiveTimeMicroseconds
    )
}

fn interval_from(field: &FieldType, digits: Option<u8>) -> Resolved {
    let Some(digits) = digits else {
        return Err(
            "an interval with restricted fields would cut values; use plain interval".into()
        );
    };
    match field.semantic {
        Semantic::Interval
        | Semantic::MicroDuration
        | Semantic::Structured { kind: Structured::Duration | Structured::Time, .. } => {
            Ok(Operation::Interval(Unit::Micros, digits))
        }
        Semantic::NanoDuration => Ok(Operation::Interval(Unit::Nanos, digits)),
        // MySQL's TIME reaches from -838 to 838 hours: interval is where all of it fits. ISO text is a clock, not a duration.
        Semantic::Time | Semantic::MicroTime | Semantic::NanoTime => time_unit(&field.semantic)
            .map(|unit| Operation::Interval(unit, digits))
            .ok_or_else(|| cannot_hold(field)),
        _ => Err(cannot_hold(field)),
    }
}

fn json_from(field: &FieldType, binary: bool) -> Resolved {
    match &field.wire {
        Wire::String if plain_or(field, &Semantic::Json) => Ok(Operation::Json { binary }),
        Wire::Map(key, value) if key.wire == Wire::String && value.wire == Wire::String => {
            Ok(Operation::MapJson { binary })
        }
        _ => Err(cannot_hold(field)),
    }
}

/// JSON without a schema: the column says what the value means, the modes say how it is written.
fn untyped(target: &Target, modes: &Table) -> Resolved {
    Ok(match target {
        Target::Bool => Operation::Bool,
        Target::Int2 => Operation::Int(Width::Int2),
        Target::Int4 => Operation::Int(Width::Int4),
        Target::Int8 => Operation::Int(Width::Int8),
        Target::Oid => Operation::Int(Width::Oid),
        Target::Float4 => Operation::Float4,
        Target::Float8 => Operation::Float8 { single: false },
        Target::Numeric(limit) => {
            let source = match (modes.decimal_handling_mode, limit) {
                (DecimalHandlingMode::Precise, Some(limit)) if limit.scale < 0 => {
                    Source::Unscaled(limit.scale + 2048)
                }
                (DecimalHandlingMode::Precise, Some(limit)) => Source::Unscaled(limit.scale),
                (DecimalHandlingMode::Precise, None) => Source::Scaleless,
                (DecimalHandlingMode::String | DecimalHandlingMode::Double, _) => Source::Plain,
            };
            Operation::Numeric(source, *limit)
        }
        Target::Text => Operation::Text(Length::Any),
        Target::Varchar(limit) => Operation::Text(Length::Varchar(*limit)),
        Target::Bpchar(limit) => Operation::Text(Length::Bpchar(*limit)),
        Target::Name | Target::Enum => Operation::Text(Length::Name),
        Target::Bytea => Operation::Bytea(Alphabet::of_untyped(modes.binary_handling_mode)),
        Target::Date => Operation::Date,
        Target::Time(digits) => {
            let unit = match modes.time_precision_mode {
                TimePrecisionMode::Connect => Unit::Millis,
                TimePrecisionMode::Adaptive if *digits <= 3 => Unit::Millis,
                TimePrecisionMode::Nanoseconds => Unit::Nanos,
                _ => Unit::Micros,
            };
            match modes.time_precision_mode {
                TimePrecisionMode::Adaptive => Operation::GuessedTime(unit, *digits),
                _ => Operation::Time(unit, *digits),
            }
        }
        Target::TimeTz(digits) => Operation::TimeTz(*digits),
        Target::Timestamp(digits) => {
            let unit = match modes.time_precision_mode {
                TimePrecisionMode::Connect => Unit::Millis,
                TimePrecisionMode::Nanoseconds => Unit::Nanos,
                _ if adaptive(modes) && *digits <= 3 => Unit::Millis,
                _ => Unit::Micros,
            };
            if adaptive(modes) {
                Operation::GuessedTimestamp(unit, *digits)
            } else {
                Operation::Timestamp(unit, *digits)
            }
        }
        Target::TimestampTz(digits) => Operation::TimestampTz(*digits),
        Target::Interval(Some(digits)) => Operation::Interval(Unit::Micros, *digits),
        Target::Interval(None) => {
            return Err(
                "an interval with restricted fields would cut values; use plain interval".into()
            );
        }
        Target::Uuid => Operation::Uuid,
        Target::Json => Operation::Json { binary: false },
        Target::Jsonb => Operation::Json { binary: true },
        Target::Array { element, oid } => {
            // An array is an array in JSON: text for a column of texts is an EnumSet.
            let set = text_of(element).is_some();
            Operation::Array { element: Arc::new(untyped(element, modes)?), oid: *oid, set }
        }
        Target::Cast(kind) => {
            Operation::Cast(Cast { form: Form::untyped(*kind, modes), list: list_of(*kind) })
        }
    })
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
