//! Why a record schema stops its lane, in words, with the DDL that would help.

use super::{Arrival, Verdict};
use crate::decode::plan::history::Noticed;
use crate::decode::plan::widening::widened;
use crate::decode::plan::{self, Mismatch};
use crate::fault::{Code, Fault};
use crate::sql::alteration::{Alteration, Effect};
use crate::sql::ddl;
use crate::table::{TableName, TableShape};

/// A schema that a person has to look at.
pub(super) fn stop(
    arrival: &Arrival<'_>,
    shape: &TableShape,
    key_constraint: Option<&str>,
    mismatches: &[Mismatch],
) -> Verdict {
    let table = arrival.origin.table;
    let key = mismatches.iter().find_map(|mismatch| match mismatch {
        Mismatch::KeyMismatch(reason) => Some(reason),
        _ => None,
    });
    if let Some(reason) = key {
        return key_changed(arrival, shape, key_constraint, reason);
    }
    let mut texts = Vec::new();
    let mut help = Vec::new();
    for mismatch in mismatches {
        match mismatch {
            Mismatch::ColumnMissing(column) => {
                texts.push(format!("column \"{}\" is missing", column.name));
                help.extend(ddl::add_column(table, column).unwrap_or_default());
            }
            Mismatch::Widening { column, from, to } => {
                texts.push(format!("column \"{column}\" ({from}) is too narrow"));
                help.push(ddl::widen(table, column, &to.sql_type));
            }
            Mismatch::TypeMismatch { column, reason, wanted_sql_type } => {
                texts.push(reason.clone());
                let from = shape.column(column).and_then(|at| shape.columns.get(at));
                if let (Some(wanted), Some(from)) = (wanted_sql_type, from) {
                    help.push(ddl::alter_type(table, column, &from.ty.sql, wanted));
                    help.push(ddl::put_aside(table, column));
                }
            }
            Mismatch::KeyMismatch(_) => {}
        }
    }
    let hint = if help.is_empty() {
        "do as the reason says, or change the Silver column to a type that holds the source's values"
            .to_owned()
    } else {
        format!(
            "rows that the source converted in place and does not write again come by an incremental snapshot only; this DDL would \
             help:\n{}",
            ddl::script(&help)
        )
    };
    let text = format!("table {table}: {}", texts.join("; "));
    Verdict::Stop { fault: Fault::blocked(Code::TypeMismatch, text, hint), help, large: Vec::new() }
}

/// The record key is not the primary key.
fn key_changed(
    arrival: &Arrival<'_>,
    shape: &TableShape,
    key_constraint: Option<&str>,
    reason: &str,
) -> Verdict {
    let table = arrival.origin.table;
    let wanted: Vec<String> = match &arrival.overrides.key {
        Some(key) => key.clone(),
        None => arrival.schema.key.iter().map(|field| field.name.clone()).collect(),
    };
    let known = wanted.iter().all(|name| shape.column(name).is_some());
    let help = if known && !wanted.is_empty() {
        let old = shape.key.iter().filter_map(|at| shape.columns.get(*at));
        let freed: Vec<String> =
            old.map(|c| c.name.clone()).filter(|name| !wanted.contains(name)).collect();
        vec![ddl::change_key(table, key_constraint, &wanted, &freed)]
    } else {
        Vec::new()
    };
    let mut hint = format!(
        "the Silver table's primary key must be the columns of the record key; where records of the old key may still come \
         (other partitions, a replay), name the columns under [table.\"{table}\"] key: then they are taken from the row. \
         Where the source gave rows new keys, snapshot it again"
    );
    if !help.is_empty() {
        hint.push_str(&format!("; this DDL would help:\n{}", ddl::script(&help)));
    }
    let fault = Fault::blocked(Code::KeyMismatch, format!("table {table}: {reason}"), hint);
    Verdict::Stop { fault, help, large: Vec::new() }
}

/// Source columns that hold less than before while their Silver columns do not (`[schema] narrowing = "stop"`). A type that
/// the configuration names is wanted as it is.
pub(super) fn narrowed(
    arrival: &Arrival<'_>,
    shape: &TableShape,
    noticed: &[Noticed],
) -> Option<Verdict> {
    let table = arrival.origin.table;
    let mut texts = Vec::new();
    let mut help = Vec::new();
    for noticed in noticed {
        let Noticed::Narrowed { column, from, to } = noticed else { continue };
        let field = arrival.schema.row.iter().find(|field| field.name == *column);
        let name = field.map_or(column.as_str(), |field| plan::column_of(shape, field));
        let found = shape.column(name).and_then(|at| shape.columns.get(at));
        let Some(silver) = found.map(|column| column.ty.sql.as_str()) else { continue };
        if arrival.overrides.column_types.contains_key(name) || widened(to, silver).is_none() {
            continue;
        }
        texts.push(format!(
            "column \"{name}\" is narrower at the source ({to}, before {from}) and {silver} in Silver"
        ));
        help.extend(ddl::narrow(table, name, to));
    }
    if help.is_empty() {
        return None;
    }
    let hint = format!(
        "nothing is lost where the Silver column stays as it is: set [schema] narrowing = \"record\", or name its type under \
         [table.\"{table}\"] columns. Where it is to follow the source, this DDL does it; older records that still come \
         widen it again:\n{}",
        ddl::script(&help)
    );
    let text = format!("table {table}: {}", texts.join("; "));
    let fault = Fault::blocked(Code::ColumnNarrowed, text, hint);
    Some(Verdict::Stop { fault, help, large: Vec::new() })
}

/// PostgreSQL would write a large table anew.
pub(super) fn too_large(table: &TableName, bytes: i64, large: Vec<Alteration>) -> Verdict {
    let help = statements(&large);
    let reasons: Vec<String> = large.iter().map(Alteration::summary).collect();
    let text = format!("table {table}: {}", reasons.join("; "));
    let hint = format!(
        "PostgreSQL would write all of its {} MiB anew, and nobody could read it meanwhile; run this, or `silversink apply --execute --rewrite`, when that suits you:\n{}",
        bytes >> 20,
        ddl::script(&help)
    );
    Verdict::Stop { fault: Fault::blocked(Code::TypeMismatch, text, hint), help, large }
}

/// Alterations that may not be made by themselves (`[schema] changes = "plan"`).
#[must_use]
pub fn planned(table: &TableName, alterations: &[Alteration], noticed: &[Noticed]) -> Fault {
    let mut script = statements(alterations);
    script.extend(rename_comments(table, noticed));
    Fault::blocked(
        code(alterations),
        text(table, alterations),
        format!("run this, or set [schema] changes = \"apply\":\n{}", ddl::script(&script)),
    )
}

/// What is to be altered and why, in one sentence.
#[must_use]
pub fn text(table: &TableName, alterations: &[Alteration]) -> String {
    let mut columns = Vec::new();
    let mut others = Vec::new();
    for alteration in alterations {
        match &alteration.effect {
            Effect::Table => return format!("table {table} does not exist"),
            Effect::Column(column) => columns.push(column.as_str()),
            _ => others.push(alteration.summary()),
        }
    }
    if !columns.is_empty() {
        others.push(format!("lacks columns: {}", columns.join(", ")));
    }
    format!("table {table}: {}", others.join("; "))
}

fn code(alterations: &[Alteration]) -> Code {
    let of = |alteration: &Alteration| match alteration.effect {
        Effect::Table => Code::TableMissing,
        Effect::Widening { .. } | Effect::Label { .. } => Code::TypeMismatch,
        Effect::Bookkeeping(_) | Effect::Column(_) => Code::ColumnMissing,
    };
    let codes: Vec<Code> = alterations.iter().map(of).collect();
    let worst = [Code::TableMissing, Code::TypeMismatch];
    worst.into_iter().find(|code| codes.contains(code)).unwrap_or(Code::ColumnMissing)
}

fn statements(alterations: &[Alteration]) -> Vec<String> {
    alterations.iter().flat_map(|alteration| alteration.statements.clone()).collect()
}

/// The DDL that would join what was probably renamed, as comments: that it was a rename is a guess.
#[must_use]
pub fn rename_comments(table: &TableName, noticed: &[Noticed]) -> Vec<String> {
    let mut comments = Vec::new();
    for noticed in noticed {
        if let Noticed::ProbablyRenamed { from, to } = noticed {
            comments.push(format!(
                "-- {} was probably renamed to {}; once no record of the old name can come any more, this joins them:",
                crate::sql::ident::quote(from),
                crate::sql::ident::quote(to)
            ));
            let join = ddl::join_renamed(table, from, to);
            comments.extend(join.into_iter().map(|statement| format!("-- {statement};")));
        }
    }
    comments
}

/// What is worth to be said of something that a new schema changed.
#[must_use]
pub fn said_of(noticed: &Noticed) -> String {
    match noticed {
        Noticed::Dropped { column } => format!(
            "column \"{column}\" is gone from the source: it stays, and rows that are written from now on have NULL there"
        ),
        Noticed::ProbablyRenamed { from, to } => format!(
            "column \"{from}\" was probably renamed to \"{to}\": the old one stays and is NULL from now on, the new one is \
             filled from now on"
        ),
        Noticed::Narrowed { column, from, to } => format!(
            "column \"{column}\" is narrower at the source ({to}, before {from}): the Silver column is not changed for it, and rows \
             that are not written again keep what they had: take an incremental snapshot if the change converted them"
        ),
    }
}
