//! Is a column narrower than the source's, as far as the schema tells (`column.propagate.source.type`)?

use super::target::Target;
use crate::config::{Table, TimePrecisionMode};
use crate::decode::schema::{FieldType, Semantic, SourceColumn, Wire};

/// Why the column cannot hold every value of the source's column, if the schema says so. What no schema tells is checked
/// value by value.
pub fn narrower(field: &FieldType, target: &Target, modes: &Table) -> Option<String> {
    match (target, &field.semantic) {
        (Target::Varchar(limit) | Target::Bpchar(limit), _) => {
            let most = characters(field, field.source_column.as_ref()?)?;
            let fits = most.is_some_and(|most| most <= *limit);
            (!fits).then(|| match most {
                Some(most) => format!("the source's column holds up to {most} characters"),
                None => "the source's column has no limit of length; use text".to_owned(),
            })
        }
        (Target::Numeric(Some(_)), Semantic::VariableScaleDecimal) => {
            Some("the source's numbers have no limit of digits; use numeric".to_owned())
        }
        (Target::Numeric(Some(limit)), Semantic::None) => {
            let (precision, scale) = decimal(field, field.source_column.as_ref()?)?;
            let fits = precision.is_some_and(|precision| {
                scale <= limit.scale
                    && i64::from(precision) - i64::from(scale)
                        <= i64::from(limit.precision) - i64::from(limit.scale)
            });
            (!fits).then(|| match precision {
                Some(precision) => format!("the source's column is numeric({precision},{scale})"),
                None => "the source's numbers have no limit of digits; use numeric".to_owned(),
            })
        }
        // Only the adaptive mode of PostgreSQL, SQL Server and Oracle says by the unit how many digits there are.
        (Target::Time(digits), Semantic::MicroTime)
            if *digits <= 3 && modes.time_precision_mode == TimePrecisionMode::Adaptive =>
        {
            Some(
                "the source's times have more than three digits; if every time comes in microseconds, set \
                 time_precision_mode for this table"
                    .to_owned(),
            )
        }
        (
            Target::Time(digits)
            | Target::TimeTz(digits)
            | Target::Timestamp(digits)
            | Target::TimestampTz(digits)
            | Target::Interval(Some(digits)),
            Semantic::Structured { digits: Some(most), .. },
            // Nothing here holds more than six digits, so beyond them each value is checked.
        ) if (*most).min(6) > *digits => {
            Some(format!("the source's column has {most} digits of a second"))
        }
        _ => None,
    }
}

/// The longest text of a source column of characters; the inner `None` is no limit.
fn characters(field: &FieldType, source: &SourceColumn) -> Option<Option<u32>> {
    let limited = match source.ty.as_str() {
        "VARCHAR" | "NVARCHAR" | "VARCHAR2" | "NVARCHAR2" | "CHARACTER VARYING" | "CHAR"
        | "NCHAR" | "BPCHAR" => true,
        "TEXT" | "CLOB" | "NCLOB" | "NTEXT" | "TINYTEXT" | "MEDIUMTEXT" | "LONGTEXT" => false,
        _ => return None,
    };
    let length = source.length.filter(|length| limited && (1..=10_485_760).contains(length));
    (field.wire == Wire::String && field.semantic == Semantic::None).then_some(length)
}

/// Precision and scale of a source column of decimals that arrives as text; without a precision it has no limit.
pub fn decimal(field: &FieldType, source: &SourceColumn) -> Option<(Option<u32>, i32)> {
    let is_decimal =
        matches!(source.ty.as_str(), "NUMERIC" | "DECIMAL" | "DEC" | "NUMBER" | "FIXED");
    if !is_decimal || field.wire != Wire::String || field.semantic != Semantic::None {
        return None;
    }
    let scale = source.scale.unwrap_or(0);
    // The same misread bits as in Decimal's parameter.
    let scale = super::decimal::declared_scale(scale);
    Some((source.length.filter(|precision| (1..=1000).contains(precision)), scale))
}
