//! Identifiers: quoted always, shortened never.

use crate::fault::{Class, Code, Fault};
use crate::table::TableName;
use postgres_protocol::escape::escape_identifier;

/// PostgreSQL's `NAMEDATALEN - 1`: a longer identifier would be cut with a NOTICE only (I11).
pub const MAX_BYTES: usize = 63;

/// A quoted identifier.
#[must_use]
pub fn quote(name: &str) -> String {
    escape_identifier(name)
}

/// `"schema"."name"`.
#[must_use]
pub fn table(table: &TableName) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

/// Quoted identifiers, separated by commas.
#[must_use]
pub fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// Accepts what PostgreSQL stores as it stands.
///
/// # Errors
/// Blocked `type_mismatch` when the name is empty, longer than 63 bytes or holds a NUL: PostgreSQL would refuse it or,
/// worse, shorten it so that two source names meet in one column (I11).
pub fn check(name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.contains('\0') {
        return Err(Fault::blocked(
            Code::TypeMismatch,
            "an identifier is empty or holds a NUL character",
            "rename the source column or table",
        ));
    }
    if name.len() > MAX_BYTES {
        return Err(Fault::new(
            Class::Blocked,
            Code::TypeMismatch,
            format!(
                "identifier {name:?} has {} bytes, PostgreSQL keeps only {MAX_BYTES}",
                name.len()
            ),
        )
        .with_hint("choose a shorter name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_is_doubled() {
        assert_eq!(quote(r#"a"; DROP TABLE x; --"#), r#""a""; DROP TABLE x; --""#);
        assert_eq!(table(&TableName::new("S", "t.x")), r#""S"."t.x""#);
    }

    #[test]
    fn names_that_would_be_shortened_are_refused() {
        assert!(check(&"x".repeat(63)).is_ok());
        assert!(check(&"x".repeat(64)).is_err());
        assert!(check(&"ä".repeat(32)).is_err());
        assert!(check("").is_err());
        assert!(check("a\0b").is_err());
    }
}
