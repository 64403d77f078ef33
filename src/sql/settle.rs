//! The settle step: one server-side call that fences, merges, counts and moves the positions.
//!
//! # Decisions
//! - It is a session-temporary function, so that every check that must prevent the COMMIT is made where the COMMIT is,
//!   and the server never waits for the client while it holds a lock on a shared row (I6).
//! - Positions are locked first: a successor's claim then waits for a running flight instead of racing it. Next comes the
//!   table's lock ([`floor`]), then rows in key order: one order for every writer.
//! - `unnest` of several arrays is a form of the grammar and may not be qualified.
//! - Parameters are written as `$n` and every column is qualified, so that no column name of the user can be taken for a
//!   variable. The body is an escaped literal, not dollar-quoted: a name could hold the closing tag.

use super::merge::{self, CONTRADICTIONS, COUNTER, Variant};
use super::{base, floor};
use crate::table::TableShape;
use postgres_protocol::escape::escape_literal;

/// SQLSTATE raised when another worker owns a partition or its position is not the expected one.
pub const FENCED: &str = "SS001";
/// SQLSTATE raised when the rows offered are not the rows applied plus superseded.
pub const ROW_COUNT_MISMATCH: &str = "SS002";
/// SQLSTATE raised when the same batch has committed before.
pub const ALREADY: &str = "SS003";
/// SQLSTATE raised when partial rows have no base (I9).
pub const WITHOUT_BASE: &str = "SS004";

/// SQLSTATE raised when a row contradicts the order; the detail is that of [`merge::first_contradiction`].
pub const CONTRADICTED: &str = "SS005";

/// The backend that will run the function; it is recorded beside the positions for whoever has to end it.
#[derive(Clone, Debug)]
pub struct Backend {
    /// `pg_backend_pid()`.
    pub pid: i32,
    /// `pg_stat_activity.backend_start` as text, with its offset.
    pub start: String,
}

/// What the function merges: a stage of the session, or nothing (positions only).
#[derive(Clone, Copy, Debug)]
pub struct Merging<'s> {
    /// The Silver table.
    pub shape: &'s TableShape,
    /// Number of the stage.
    pub stage: u32,
    /// Form of the MERGE.
    pub variant: Variant,
}

/// Unqualified name of the function.
#[must_use]
pub fn name(merging: Option<Merging<'_>>) -> String {
    match merging {
        Some(m) => format!("silversink_settle_{}_{}", m.stage, m.variant.suffix()),
        None => "silversink_settle_positions".to_owned(),
    }
}

/// The call, with the parameters of [`create`].
#[must_use]
pub fn call(merging: Option<Merging<'_>>) -> String {
    format!(
        "SELECT v_applied, v_superseded, v_contradicted FROM pg_temp.{}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        name(merging)
    )
}

/// `DROP FUNCTION`.
#[must_use]
pub fn drop(merging: Option<Merging<'_>>) -> String {
    format!("DROP FUNCTION IF EXISTS pg_temp.{}", name(merging))
}

/// `CREATE FUNCTION`. Parameters: `$1` pipeline, then one array entry per range: `$2` topic, `$3` topic id, `$4`
/// partition, `$5` owner epoch, `$6` expected position, `$7` next position, `$8` changes, `$9` folded, `$10` skipped,
/// `$11` dead-lettered; `$12` rows offered, `$13` truncate version, `$14` truncate time (microseconds since 2000), `$15`
/// lineages (one array entry per range, as JSON, null where nothing is known), `$16` whether a contradicted order stops the
/// batch (null: is not looked for).
#[must_use]
pub fn create(merging: Option<Merging<'_>>, backend: &Backend) -> String {
    let mut body = String::from(DECLARE);
    body.push_str(FENCE);
    if let Some(m) = merging {
        body.push_str(&lock(m));
        body.push_str(&apply(m));
        body.push_str(&mark(m.shape));
    }
    body.push_str(&advance(backend));
    body.push_str("END");
    format!(
        "CREATE FUNCTION pg_temp.{}(text, text[], uuid[], int4[], int8[], int8[], int8[], int8[], int8[], int8[], int8[], \
         int8, bytea, int8, text[], boolean, OUT v_applied int8[], OUT v_superseded int8[], OUT v_contradicted int8) LANGUAGE plpgsql AS {}",
        name(merging),
        escape_literal(&body)
    )
}

const DECLARE: &str = "
#variable_conflict use_column
DECLARE
  owned int8;
  written int8;
  before int8;
  stale int8 := 0;
  baseless text;
  sound int8;
  contradiction text;
  part record;
BEGIN
  v_superseded := $9;
  v_contradicted := 0;
";

pub(super) const FENCE: &str = "
  PERFORM 1 FROM unnest($2, $3, $4, $5, $6) AS r(topic, topic_id, part, epoch, expected)
    JOIN silversink.position AS p
      ON p.pipeline = $1 AND p.topic = r.topic AND p.topic_id = r.topic_id AND p.partition = r.part
    WHERE p.owner_epoch = r.epoch AND p.next_offset = r.expected
    ORDER BY p.topic, p.topic_id, p.partition FOR UPDATE OF p;
  GET DIAGNOSTICS owned = ROW_COUNT;
  IF owned <> pg_catalog.cardinality($4) THEN
    SELECT pg_catalog.count(*) INTO owned
      FROM unnest($2, $3, $4, $5, $7) AS r(topic, topic_id, part, epoch, next)
      JOIN silversink.position AS p
        ON p.pipeline = $1 AND p.topic = r.topic AND p.topic_id = r.topic_id AND p.partition = r.part
      WHERE p.owner_epoch = r.epoch AND p.next_offset = r.next;
    IF owned = pg_catalog.cardinality($4) THEN
      RAISE EXCEPTION USING ERRCODE = 'SS003', MESSAGE = 'silversink: batch has committed before';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'SS001', MESSAGE = 'silversink: fenced';
  END IF;
";

/// Takes the table's lock, raises the floor where the batch has a truncate, and applies the floor to what is staged.
fn lock(m: Merging<'_>) -> String {
    let table = &m.shape.table;
    format!(
        "
  IF $13 IS NULL THEN
    PERFORM {shared};
  ELSE
    PERFORM {alone};
    {raise};
  END IF;
  IF {exists} THEN
    {apply};
  END IF;
",
        shared = floor::lock_shared(table),
        alone = floor::lock_alone(table),
        raise = floor::raise(table, "$13", &floor::time("$14")),
        exists = floor::exists(table),
        apply = floor::apply(m.shape, m.stage, m.variant).join(";\n    "),
    )
}

fn apply(m: Merging<'_>) -> String {
    let merge = merge::merge(m.shape, m.stage, m.variant);
    let by_range = merge::superseded_by_range(m.shape, m.stage);
    let baseless = match m.variant {
        Variant::Fast => String::new(),
        Variant::Full | Variant::Moved => format!(
            "
      baseless := ({});
      IF baseless IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'SS004', MESSAGE = 'silversink: partial rows without a base', DETAIL = baseless;
      END IF;",
            base::rows_without_base(m.shape, m.stage)
        ),
    };
    let carry_over = match m.variant {
        Variant::Fast | Variant::Full => String::new(),
        Variant::Moved => format!("\n    {};", base::carry_over(m.shape, m.stage)),
    };
    format!(
        "
  IF $12 > 0 THEN{carry_over}
    before := pg_catalog.nextval('{COUNTER}'::pg_catalog.regclass);
    sound := pg_catalog.nextval('{CONTRADICTIONS}'::pg_catalog.regclass);
    {merge};
    GET DIAGNOSTICS written = ROW_COUNT;
    stale := pg_catalog.nextval('{COUNTER}'::pg_catalog.regclass) - before - 1;
    v_contradicted := pg_catalog.nextval('{CONTRADICTIONS}'::pg_catalog.regclass) - sound - 1;
    IF v_contradicted > 0 AND $16 THEN
      contradiction := ({contradiction});
      IF contradiction IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '{CONTRADICTED}', MESSAGE = 'silversink: the order is contradicted', DETAIL = contradiction;
      END IF;
    END IF;
    IF written + stale <> $12 THEN{baseless}
      -- A concurrent writer of the same row makes MERGE look twice, and the counter with it: count by what is stored.
      SELECT coalesce(pg_catalog.sum(b.n), 0) INTO stale FROM ({by_range}) AS b;
      IF written + stale <> $12 THEN
        RAISE EXCEPTION USING ERRCODE = 'SS002', MESSAGE = 'silversink: rows offered are not rows applied plus superseded';
      END IF;
    END IF;
    IF stale > 0 AND pg_catalog.cardinality($4) = 1 THEN
      v_superseded[1] := v_superseded[1] + stale;
    ELSIF stale = $12 THEN
      FOR part IN SELECT s._range AS range, pg_catalog.count(*) AS n FROM {stage} AS s GROUP BY s._range LOOP
        v_superseded[part.range + 1] := v_superseded[part.range + 1] + part.n;
      END LOOP;
    ELSIF stale > 0 THEN
      FOR part IN {by_range} LOOP
        v_superseded[part.range + 1] := v_superseded[part.range + 1] + part.n;
      END LOOP;
    END IF;
  END IF;
",
        stage = super::stage::name(m.stage),
        contradiction = merge::first_contradiction(m.shape, m.stage),
    )
}

fn mark(shape: &TableShape) -> String {
    format!(
        "
  IF $13 IS NOT NULL THEN
    {};
  END IF;
",
        floor::mark(shape, "$13", &floor::time("$14"), None)
    )
}

fn advance(backend: &Backend) -> String {
    format!(
        "
  v_applied := ARRAY(SELECT c.changes - c.superseded
    FROM unnest($8, v_superseded) WITH ORDINALITY AS c(changes, superseded, i) ORDER BY c.i);
  UPDATE silversink.position AS p
    SET next_offset = r.next, applied = p.applied + r.applied, superseded = p.superseded + r.superseded,
      skipped = p.skipped + r.skipped, dead_lettered = p.dead_lettered + r.letters,
      lineage = coalesce(r.lineage::pg_catalog.jsonb, p.lineage),
      state = 'running', reason = NULL, backend_pid = {}, backend_start = {}, updated_at = pg_catalog.now()
    FROM unnest($2, $3, $4, $7, v_applied, v_superseded, $10, $11, $15)
      AS r(topic, topic_id, part, next, applied, superseded, skipped, letters, lineage)
    WHERE p.pipeline = $1 AND p.topic = r.topic AND p.topic_id = r.topic_id AND p.partition = r.part;
",
        backend.pid,
        escape_literal(&backend.start),
    )
}
