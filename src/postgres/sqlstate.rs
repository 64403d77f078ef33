//! SQLSTATE -> class: one total function (I7).
//!
//! Nothing of a server message is passed on: DETAIL, and the message itself, can hold row values. What is passed on is the
//! SQLSTATE and the names of schema, table, column and constraint (I17).

use crate::fault::{Class, Code, Fault};
use crate::sql::settle;

/// What a SQLSTATE means while a statement runs (PostgreSQL manual, appendix "Error Codes").
pub(super) fn classify(sqlstate: &str) -> (Class, Code) {
    let class = sqlstate.get(..2).unwrap_or_default();
    match (class, sqlstate) {
        (_, settle::FENCED) => (Class::Fenced, Code::Fenced),
        (_, settle::CONTRADICTED) => (Class::Blocked, Code::OrderContradicted),
        (_, settle::ROW_COUNT_MISMATCH) => (Class::Blocked, Code::RowCountMismatch),
        (_, settle::WITHOUT_BASE) => (Class::Poison, Code::UnchangedWithoutBase),
        // A malformed COPY stream is ours, not the record's.
        (_, "22P04") => (Class::Fatal, Code::Internal),
        ("22", _) | (_, "54000") => (Class::Poison, Code::ValueOutOfRange),
        (_, "23502" | "23514") => (Class::Poison, Code::ConstraintViolation),
        ("23", _) => (Class::Blocked, Code::ConstraintUnsupported),
        // Two keys that differ in the source and are equal in the Silver table's type.
        (_, "21000") => (Class::Blocked, Code::KeyMismatch),
        ("40", _) | (_, "55P03" | "57014") => (Class::Transient, Code::PostgresConflict),
        ("08" | "53" | "58", _)
        | (
            _,
            "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "25P02" | "25P03" | "25P04" | "26000",
        ) => (Class::Transient, Code::PostgresUnavailable),
        ("28", _) | (_, "3D000") => (Class::Transient, Code::PostgresLogin),
        (_, "42P01" | "3F000") => (Class::Blocked, Code::TableMissing),
        (_, "42703") => (Class::Blocked, Code::ColumnMissing),
        (_, "42804" | "42883" | "42846" | "428C9" | "42704") => {
            (Class::Blocked, Code::TypeMismatch)
        }
        (_, "42501") => (Class::Blocked, Code::PrivilegeMissing),
        (_, "0A000") => (Class::Blocked, Code::ConstraintUnsupported),
        _ => (Class::Blocked, Code::SqlstateUnknown),
    }
}

/// The fault of a failed statement. `doing` says what was attempted on what.
pub(super) fn fault(doing: &str, error: &tokio_postgres::Error) -> Fault {
    let Some(db) = error.as_db_error() else {
        return client_side(doing, error);
    };
    let sqlstate = db.code().code();
    let (class, code) = classify(sqlstate);
    let mut text = match sqlstate {
        settle::FENCED => {
            format!("{doing}: another worker owns a partition of the batch, or its position moved")
        }
        settle::ROW_COUNT_MISMATCH => {
            format!(
                "{doing}: rows offered are not rows applied plus rows superseded; nothing was written"
            )
        }
        settle::WITHOUT_BASE => {
            format!("{doing}: unchanged columns of rows that the Silver table does not have")
        }
        _ => format!("{doing}: refused by PostgreSQL with SQLSTATE {sqlstate}"),
    };
    for (what, name) in [
        ("schema", db.schema()),
        ("table", db.table()),
        ("column", db.column()),
        ("type", db.datatype()),
        ("constraint", db.constraint()),
    ] {
        if let Some(name) = name {
            text.push_str(&format!(", {what} {name:?}"));
        }
    }
    let fault = Fault::new(class, code, text).with_sqlstate(sqlstate);
    match hint(sqlstate).or_else(|| hint_of(code)) {
        Some(hint) => fault.with_hint(hint),
        None => fault,
    }
}

/// The fault of a failed login at start, when waiting would only hide a mistake in the configuration.
pub(super) fn login(doing: &str, error: &tokio_postgres::Error) -> Fault {
    let mut fault = fault(doing, error);
    let refused = error
        .code()
        .is_some_and(|c| c.code().starts_with("28") || c.code() == "3D000" || c.code() == "42501");
    if refused || is_configuration(error) {
        fault.class = Class::Fatal;
        fault.code = Code::PostgresLogin;
        fault.hint = Some(
            match error.code().map(tokio_postgres::error::SqlState::code) {
                Some("3D000") => {
                    "the database of [postgres] url does not exist: create it or correct the URL"
                }
                Some("42501") => "the role may not connect: GRANT CONNECT ON DATABASE ... TO ...",
                Some(_) => {
                    "check user and password of [postgres] url, and pg_hba.conf on the server"
                }
                None => {
                    "[postgres] url lacks a password or another setting that the server asks for"
                }
            }
            .to_owned(),
        );
    }
    fault
}

fn is_configuration(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    error.as_db_error().is_none()
        && (text.starts_with("invalid configuration") || text.starts_with("authentication error"))
}

fn client_side(doing: &str, error: &tokio_postgres::Error) -> Fault {
    // tokio-postgres keeps the kind of its errors to itself; these prefixes are the kinds that a correct program never
    // meets (`error/mod.rs`, `Display`).
    let text = error.to_string();
    let ours = [
        "error serializing",
        "error deserializing",
        "invalid column",
        "expected ",
        "error encoding",
        "query returned",
    ];
    if ours.iter().any(|prefix| text.starts_with(prefix)) {
        return Fault::new(
            Class::Fatal,
            Code::Internal,
            format!("{doing}: the client misused the protocol"),
        );
    }
    let mut chain = text;
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !chain.contains(&cause_text) {
            chain.push_str(": ");
            chain.push_str(&cause_text);
        }
        source = cause.source();
    }
    Fault::transient(Code::PostgresUnavailable, format!("{doing}: {chain}"))
}

fn hint(sqlstate: &str) -> Option<&'static str> {
    match sqlstate {
        settle::ROW_COUNT_MISMATCH => Some(
            "remove the trigger, rule or policy of the Silver table that swallows or redirects writes, then restart: this stop is not looked at again by itself",
        ),
        "25006" => Some("the server is read-only: a standby, or a primary that was demoted"),
        "26000" => Some(
            "a connection pooler in transaction mode drops prepared statements: connect to PostgreSQL itself",
        ),
        "21000" => Some(
            "two source keys are equal in the type of the Silver table's key: widen the key column",
        ),
        "42501" => Some("grant the worker's role the privilege on the table named"),
        "53100" => Some("the destination's disk is full"),
        "53300" => Some(
            "the server has no connection left: lower [limits] writers or raise max_connections",
        ),
        _ => None,
    }
}

/// What to do where the SQLSTATE says no more than its code.
fn hint_of(code: Code) -> Option<&'static str> {
    match code {
        Code::SqlstateUnknown => Some(
            "look the SQLSTATE up in PostgreSQL's manual (appendix Error Codes); the server's own log has the full message, which is not repeated here because it may hold values",
        ),
        Code::TableMissing | Code::ColumnMissing | Code::TypeMismatch => Some(
            "the table was changed while it was written to: the lane looks at it again by itself and says what is missing, if something is",
        ),
        Code::ConstraintUnsupported => {
            Some("drop the constraint named: a mirror with soft deletes and replays cannot keep it")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::classify;
    use crate::fault::{Class, Code};

    #[test]
    fn the_environment_is_never_poison() {
        for sqlstate in [
            "08000", "08006", "53100", "53200", "53300", "57P01", "57P02", "57P03", "40001",
            "40P01", "55P03", "57014", "25006", "25P02", "26000", "58030", "28P01",
        ] {
            assert_eq!(classify(sqlstate).0, Class::Transient, "{sqlstate}");
        }
    }

    #[test]
    fn data_errors_are_poison() {
        for sqlstate in ["22001", "22003", "22P02", "22021", "23502", "23514", "54000"] {
            assert_eq!(classify(sqlstate).0, Class::Poison, "{sqlstate}");
        }
    }

    #[test]
    fn a_wrong_world_stops_the_lane() {
        for (sqlstate, code) in [
            ("42P01", Code::TableMissing),
            ("42703", Code::ColumnMissing),
            ("42804", Code::TypeMismatch),
            ("42501", Code::PrivilegeMissing),
            ("0A000", Code::ConstraintUnsupported),
            ("23503", Code::ConstraintUnsupported),
            ("23505", Code::ConstraintUnsupported),
            ("21000", Code::KeyMismatch),
            ("SS002", Code::RowCountMismatch),
        ] {
            assert_eq!(classify(sqlstate), (Class::Blocked, code), "{sqlstate}");
        }
    }

    #[test]
    fn an_unknown_sqlstate_stops_the_lane() {
        for sqlstate in ["XX000", "P0001", "99999", "", "é"] {
            assert_eq!(classify(sqlstate), (Class::Blocked, Code::SqlstateUnknown), "{sqlstate}");
        }
    }
}
