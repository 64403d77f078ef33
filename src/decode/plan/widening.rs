//! Which PostgreSQL type holds everything that a column holds and everything that the source sends: safe widening. Pure.
//!
//! # Decisions
//! - Wider is the *union* of both types, not the newer one: writer schemas alternate (restarts, partitions, replays), so a
//!   change must never make an older record not fit. A column therefore only ever grows, and the growing ends.
//! - Only inside one family (whole numbers, floats, `numeric`, text, fractions of a second). Anything else is another type,
//!   which a person has to decide: stored values would have to be converted.
//! - Domains, arrays and types of extensions are never widened: the user made them for a reason.
//! - Whether PostgreSQL rewrites the table follows its manual, ALTER TABLE, "Notes", and the type's own transform function
//!   (`numeric_support`, `varchar_support`, `timestamp_support`): longer `varchar`, `varchar` to `text`, more digits of
//!   `numeric` at the same scale and more digits of a second change the catalogue alone; integers, floats and another scale
//!   of `numeric` write every row anew under ACCESS EXCLUSIVE.

/// A type that holds more than the column does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widened {
    /// As SQL text.
    pub sql_type: String,
    /// PostgreSQL writes the whole table and its indexes anew.
    pub rewrites: bool,
}

/// A built-in type by its family, and how much of the family it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Family {
    /// Bytes.
    Integer(u8),
    /// Bytes.
    Float(u8),
    /// Digits before and after the point; `None` holds any.
    Numeric(Option<(i32, i32)>),
    /// Characters; `None` holds any number.
    Text(Option<u32>),
    /// Base type and digits of the fraction.
    Seconds(&'static str, u8),
}

/// The type to widen `have` to, so that it also holds what `want` does; `None` when it does already, or when they are of
/// different families. Both are SQL text, as written or as `format_type` prints it.
#[must_use]
pub fn widened(have: &str, want: &str) -> Option<Widened> {
    let (have, want) = (family(have)?, family(want)?);
    let (wide, rewrites) = match (&have, &want) {
        (Family::Integer(a), Family::Integer(b)) => (Family::Integer(*a.max(b)), true),
        (Family::Float(a), Family::Float(b)) => (Family::Float(*a.max(b)), true),
        (Family::Numeric(_), Family::Numeric(None)) => (want, false),
        (Family::Numeric(Some((a, s))), Family::Numeric(Some((b, t)))) => {
            (Family::Numeric(Some((*a.max(b), *s.max(t)))), t > s)
        }
        (Family::Text(_), Family::Text(None)) => (want, false),
        (Family::Text(Some(a)), Family::Text(Some(b))) => (Family::Text(Some(*a.max(b))), false),
        (Family::Seconds(base, a), Family::Seconds(other, b)) if base == other => {
            (Family::Seconds(base, *a.max(b)), false)
        }
        _ => return None,
    };
    (wide != have).then(|| Widened { sql_type: sql(&wide), rewrites })
}

fn family(sql: &str) -> Option<Family> {
    let (name, arguments) = split(sql);
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<i32>().ok());
    let digits = || match number(0) {
        Some(digits) => u8::try_from(digits).unwrap_or(6).min(6),
        None => 6,
    };
    Some(match name.as_str() {
        "smallint" | "int2" => Family::Integer(2),
        "integer" | "int" | "int4" => Family::Integer(4),
        "bigint" | "int8" => Family::Integer(8),
        "real" | "float4" => Family::Float(4),
        "double precision" | "float8" => Family::Float(8),
        "numeric" | "decimal" => Family::Numeric(number(0).map(|precision| {
            let scale = number(1).unwrap_or(0);
            (precision - scale, scale)
        })),
        "character varying" | "varchar" => {
            Family::Text(number(0).and_then(|length| u32::try_from(length).ok()))
        }
        "text" => Family::Text(None),
        "time" | "time without time zone" => Family::Seconds("time", digits()),
        "timetz" | "time with time zone" => Family::Seconds("timetz", digits()),
        "timestamp" | "timestamp without time zone" => Family::Seconds("timestamp", digits()),
        "timestamptz" | "timestamp with time zone" => Family::Seconds("timestamptz", digits()),
        "interval" => Family::Seconds("interval", digits()),
        _ => return None,
    })
}

/// Name without the arguments in parentheses, and the arguments.
fn split(sql: &str) -> (String, Vec<&str>) {
    let Some((head, rest)) = sql.split_once('(') else {
        return (sql.trim().to_owned(), Vec::new());
    };
    let (arguments, tail) = rest.split_once(')').unwrap_or((rest, ""));
    let name = format!("{} {}", head.trim(), tail.trim()).trim().to_owned();
    (name, arguments.split(',').map(str::trim).collect())
}

fn sql(family: &Family) -> String {
    match family {
        Family::Integer(2) => "smallint".to_owned(),
        Family::Integer(4) => "integer".to_owned(),
        Family::Integer(_) => "bigint".to_owned(),
        Family::Float(4) => "real".to_owned(),
        Family::Float(_) => "double precision".to_owned(),
        Family::Numeric(Some((before, after))) if (1..=1000).contains(&(before + after)) => {
            format!("numeric({},{after})", before + after)
        }
        Family::Numeric(_) => "numeric".to_owned(),
        Family::Text(Some(length)) => format!("varchar({length})"),
        Family::Text(None) => "text".to_owned(),
        Family::Seconds(base, 6) => (*base).to_owned(),
        Family::Seconds(base, digits) => format!("{base}({digits})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_is_the_union_of_both_types() {
        for (have, want, wide, rewrites) in [
            ("smallint", "integer", "integer", true),
            ("integer", "bigint", "bigint", true),
            ("real", "double precision", "double precision", true),
            ("numeric(10,2)", "numeric(14,2)", "numeric(14,2)", false),
            ("numeric(10,2)", "numeric(14,4)", "numeric(14,4)", true),
            // More digits behind the point, fewer before it: the column keeps its own.
            ("numeric(10,2)", "numeric(6,4)", "numeric(12,4)", true),
            ("numeric(10,2)", "numeric", "numeric", false),
            ("numeric(5,-2)", "numeric(6,0)", "numeric(7,0)", true),
            ("numeric(1000,0)", "numeric(5,5)", "numeric", true),
            ("character varying(20)", "varchar(100)", "varchar(100)", false),
            ("character varying(20)", "text", "text", false),
            ("timestamp(3) without time zone", "timestamp", "timestamp", false),
            ("timestamp(3) with time zone", "timestamptz(5)", "timestamptz(5)", false),
            ("time(3) without time zone", "time", "time", false),
            ("interval(3)", "interval", "interval", false),
        ] {
            let wide = Widened { sql_type: wide.to_owned(), rewrites };
            assert_eq!(widened(have, want), Some(wide), "{have} and {want}");
        }
    }

    #[test]
    fn what_holds_it_already_or_is_another_type_is_not_widened() {
        for (have, want) in [
            ("bigint", "integer"),
            ("numeric(14,4)", "numeric(10,2)"),
            ("numeric", "numeric(10,2)"),
            ("text", "varchar(20)"),
            ("timestamp without time zone", "timestamp(3)"),
            ("timestamp without time zone", "timestamptz"),
            ("text", "integer"),
            ("integer", "numeric(12,0)"),
            ("positive_integer", "bigint"),
            ("integer[]", "bigint[]"),
            ("\"integer\"", "bigint"),
            ("interval year to month", "interval"),
        ] {
            assert_eq!(widened(have, want), None, "{have} and {want}");
        }
    }

    #[test]
    fn widening_back_and_forth_ends() {
        let first = widened("numeric(10,2)", "numeric(8,4)").unwrap();
        assert_eq!(first.sql_type, "numeric(12,4)");
        assert_eq!(widened(&first.sql_type, "numeric(10,2)"), None);
        assert_eq!(widened(&first.sql_type, "numeric(8,4)"), None);
    }
}
