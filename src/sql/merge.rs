//! The guarded MERGE: the whole of section 4 of the design in one statement per Silver table.
//!
//! # Decisions
//! - A superseded row must leave no trace in WAL, and still has to be counted. The last `WHEN MATCHED` branch of the
//!   statement does nothing but call `nextval` on a session-temporary sequence, which is not logged.
//! - Two forms: that of `Fast` for whole rows and deletes, the full one when a batch holds partial rows or bare tombstones.
//!   Its column-wise CASE is only paid for by batches that need it.
//! - The tripwire looks at superseded rows only, and first at the two source times: in a replay no superseded row is later
//!   than its target, so it costs one comparison each.
//! - A whole row that comes after a newer partial one was applied (only a topic whose partitions grew brings that) is
//!   superseded with its values. To fill, or even to count that, a version of each column would have to be stored: a replay
//!   and a repetition by the connector look the same.

use super::{base, ident, stage};
use crate::table::TableShape;
use crate::version::Version;

/// Which form of the statement a batch needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Kinds `w` and `d` only.
    Fast,
    /// Any kind, but no row whose key changed.
    Full,
    /// Anything.
    Moved,
}

impl Variant {
    /// Suffix of the names of session objects.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Full => "full",
            Self::Moved => "moved",
        }
    }
}

/// The session's counter of superseded rows.
pub const COUNTER: &str = "pg_temp.silversink_superseded";

/// The session's counter of rows that contradict the order.
pub const CONTRADICTIONS: &str = "pg_temp.silversink_contradicted";

/// `CREATE TEMPORARY SEQUENCE` of both. Cached values cost less, and stay without gaps: no other session sees them.
pub const CREATE_COUNTERS: &str = "CREATE TEMPORARY SEQUENCE silversink_superseded CACHE 1000; \
  CREATE TEMPORARY SEQUENCE silversink_contradicted CACHE 1000";

const COUNTED: &str =
    "pg_catalog.nextval('pg_temp.silversink_superseded'::pg_catalog.regclass) > 0";

/// The MERGE from stage `number` into the shape's table.
#[must_use]
pub fn merge(shape: &TableShape, number: u32, variant: Variant) -> String {
    let names = Names::of(shape);
    let full = variant != Variant::Fast;
    let newer = format!("s._version > t.{}", names.version);
    let mut sql = format!(
        "MERGE INTO {} AS t USING {} AS s ON {}",
        ident::table(&shape.table),
        stage::name(number),
        stage::same_key(shape)
    );
    let mut when = |text: String| {
        sql.push_str("\n  WHEN ");
        sql.push_str(&text);
    };
    when(format!(
        "MATCHED AND s._kind = 'w' AND {newer} THEN UPDATE SET {}",
        set(shape, &names, false)
    ));
    when(format!(
        "MATCHED AND s._kind = 'd' AND {newer} THEN UPDATE SET {}",
        names.set_bookkeeping()
    ));
    if full {
        when(format!("MATCHED AND {} THEN DO NOTHING", base::is_missing(&names)));
        when(format!(
            "MATCHED AND s._kind = 'p' AND {newer} THEN UPDATE SET {}",
            set(shape, &names, true)
        ));
        when(format!(
            "MATCHED AND s._kind = 't' AND {} THEN UPDATE SET {version} = {}, {} = s._deleted_at, {} = s._source_ts, \
             {} = pg_catalog.now()",
            tombstone_applies(&names),
            tombstone_version(&names),
            names.deleted_at,
            names.source_ts,
            names.applied_at,
            version = names.version,
        ));
    }
    when(format!(
        "MATCHED AND CASE WHEN {} THEN pg_catalog.nextval('{CONTRADICTIONS}'::pg_catalog.regclass) > 0 \
         AND {COUNTED} ELSE false END THEN DO NOTHING",
        contradicts(&names)
    ));
    when(format!("MATCHED AND {COUNTED} THEN DO NOTHING"));
    if full {
        when(format!("NOT MATCHED AND s._kind = 't' AND {COUNTED} THEN DO NOTHING"));
        when("NOT MATCHED AND s._kind = 'p' AND s._needs_base THEN DO NOTHING".to_owned());
    }
    when(format!("NOT MATCHED THEN {}", insert(shape, &names)));
    sql
}

/// Counts, per range, staged rows whose target was *not* written by this transaction because it is at least as new.
/// Read after the MERGE; a row that a trigger swallowed is older than its stage and therefore not counted.
#[must_use]
pub fn superseded_by_range(shape: &TableShape, number: u32) -> String {
    let names = Names::of(shape);
    format!(
        "SELECT s._range AS range, pg_catalog.count(*) AS n FROM {stage} AS s LEFT JOIN {target} AS t ON {key} \
         WHERE CASE WHEN t.{version} IS NULL THEN s._kind = 't' \
         WHEN t.xmin = pg_catalog.pg_current_xact_id()::pg_catalog.xid THEN false \
         WHEN s._kind = 't' THEN NOT ({tombstone}) ELSE s._version <= t.{version} END GROUP BY s._range",
        stage = stage::name(number),
        target = ident::table(&shape.table),
        key = stage::same_key(shape),
        version = names.version,
        tombstone = tombstone_applies(&names),
    )
}

/// The target rows of the staged keys: version, the three times as text, and the whole row as JSON text.
#[must_use]
pub fn rows_of_stage(shape: &TableShape, number: u32) -> String {
    let names = Names::of(shape);
    format!(
        "SELECT t.{}, t.{}::pg_catalog.text, t.{}::pg_catalog.text, t.{}::pg_catalog.text, \
         pg_catalog.to_jsonb(t)::pg_catalog.text FROM {} AS s JOIN {} AS t ON {}",
        names.version,
        names.deleted_at,
        names.source_ts,
        names.applied_at,
        stage::name(number),
        ident::table(&shape.table),
        stage::same_key(shape)
    )
}

/// The first staged row that contradicts the order: its index, a colon, and the target's version in hexadecimal.
#[must_use]
pub fn first_contradiction(shape: &TableShape, number: u32) -> String {
    let names = Names::of(shape);
    format!(
        "SELECT s._row::pg_catalog.text || ':' || pg_catalog.encode(t.{version}, 'hex') FROM {stage} AS s JOIN {target} AS t \
         ON {key} WHERE {contradicts} ORDER BY s._row LIMIT 1",
        version = names.version,
        stage = stage::name(number),
        target = ident::table(&shape.table),
        key = stage::same_key(shape),
        contradicts = contradicts(&names),
    )
}

/// A streamed change that came behind a streamed change of the same source epoch, is later by the source's clock, and has
/// a lower version ([`Version::is_late_below`]): either its version or the target's is wrong.
fn contradicts(names: &Names) -> String {
    let (phase, offset) = (Version::PHASE_AT, Version::OFFSET_AT + 1);
    format!(
        "s._source_ts > t.{source_ts} AND s._version < t.{version} AND s._kind <> 't' \
         AND pg_catalog.get_byte(s._version, {phase}) = 1 AND pg_catalog.get_byte(t.{version}, {phase}) = 1 \
         AND pg_catalog.substr(s._version, 1, 4) = pg_catalog.substr(t.{version}, 1, 4) \
         AND pg_catalog.substr(s._version, {offset}) > pg_catalog.substr(t.{version}, {offset})",
        source_ts = names.source_ts,
        version = names.version,
    )
}

/// A bare tombstone knows its place in the partition only: it marks a live row that came from an earlier offset. A row does
/// not tell its partition, so after a change of the partition count the comparison means nothing; it is kept all the same,
/// because a column for every row would be paid by everyone, and the tombstone is the key's last word nearly always.
fn tombstone_applies(names: &Names) -> String {
    let at = Version::OFFSET_AT + 1;
    format!(
        "t.{deleted} IS NULL AND pg_catalog.substr(s._version, {at}) > pg_catalog.substr(t.{version}, {at})",
        deleted = names.deleted_at,
        version = names.version
    )
}

fn tombstone_version(names: &Names) -> String {
    format!(
        "pg_catalog.substr(t.{}, 1, {at}) || pg_catalog.substr(s._version, {next})",
        names.version,
        at = Version::OFFSET_AT,
        next = Version::OFFSET_AT + 1
    )
}

fn set(shape: &TableShape, names: &Names, partial: bool) -> String {
    let mut parts: Vec<String> = Vec::with_capacity(shape.columns.len() + 4);
    for (index, column) in shape.columns.iter().enumerate() {
        // The key is equal by the join; an identity column GENERATED ALWAYS can be given at INSERT only.
        if shape.key.contains(&index) || column.identity_always || column.generated {
            continue;
        }
        let name = ident::quote(&column.name);
        let value = stage::value(shape, index);
        parts.push(if partial {
            format!("{name} = CASE WHEN {} THEN t.{name} ELSE {value} END", stage::kept(index))
        } else {
            format!("{name} = {value}")
        });
    }
    parts.push(names.set_bookkeeping());
    parts.join(", ")
}

fn insert(shape: &TableShape, names: &Names) -> String {
    let mut columns = Vec::with_capacity(shape.columns.len() + 4);
    let mut values = Vec::with_capacity(shape.columns.len() + 4);
    for (index, column) in shape.columns.iter().enumerate().filter(|(_, c)| !c.generated) {
        columns.push(ident::quote(&column.name));
        values.push(stage::value(shape, index));
    }
    for (column, value) in [
        (&names.version, "s._version"),
        (&names.deleted_at, "s._deleted_at"),
        (&names.source_ts, "s._source_ts"),
        (&names.applied_at, "pg_catalog.now()"),
    ] {
        columns.push(column.clone());
        values.push(value.to_owned());
    }
    let overriding = if shape.columns.iter().any(|c| c.identity_always) {
        " OVERRIDING SYSTEM VALUE"
    } else {
        ""
    };
    format!("INSERT ({}){overriding} VALUES ({})", columns.join(", "), values.join(", "))
}

/// Quoted bookkeeping names.
pub(super) struct Names {
    pub(super) version: String,
    pub(super) deleted_at: String,
    pub(super) source_ts: String,
    pub(super) applied_at: String,
}

impl Names {
    pub(super) fn of(shape: &TableShape) -> Self {
        let b = &shape.bookkeeping;
        Self {
            version: ident::quote(&b.version),
            deleted_at: ident::quote(&b.deleted_at),
            source_ts: ident::quote(&b.source_ts),
            applied_at: ident::quote(&b.applied_at),
        }
    }

    fn set_bookkeeping(&self) -> String {
        format!(
            "{} = s._version, {} = s._deleted_at, {} = s._source_ts, {} = pg_catalog.now()",
            self.version, self.deleted_at, self.source_ts, self.applied_at
        )
    }
}
