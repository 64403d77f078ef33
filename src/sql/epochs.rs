//! The bookkeeping of source epochs: its tables, and the statements on them.
//!
//! # Decisions
//! - An epoch is written down before any row of it: first the tables here, in a transaction of their own under
//!   [`LOCK`], then the records are read again in the new epoch. A row can so never carry an epoch that the registry does
//!   not know, and one that does means that the registry was lost.

use super::ident;
use crate::table::{Bookkeeping, TableName};
use crate::version::Version;

/// One row per epoch of a source. Epoch 0 is where every source starts, and has none.
pub const CREATE_EPOCH: &str = "CREATE TABLE IF NOT EXISTS silversink.source_epoch (
  pipeline text NOT NULL,
  source text NOT NULL,
  epoch int8 NOT NULL,
  reason text NOT NULL,
  snapshot_position numeric(20, 0),
  since timestamptz,
  raised_at timestamptz NOT NULL DEFAULT now(),
  raised_by text NOT NULL,
  topic text,
  topic_id uuid,
  partition int4,
  \"offset\" int8,
  PRIMARY KEY (pipeline, source, epoch)
)";

/// Where an epoch starts in one incarnation of a partition.
pub const CREATE_START: &str = "CREATE TABLE IF NOT EXISTS silversink.source_epoch_start (
  pipeline text NOT NULL,
  source text NOT NULL,
  topic text NOT NULL,
  topic_id uuid NOT NULL,
  partition int4 NOT NULL,
  start_offset int8 NOT NULL,
  epoch int8 NOT NULL,
  reason text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (pipeline, source, topic, topic_id, partition, start_offset)
)";

/// What is known of the sources in a partition, as of its position.
pub const ADD_LINEAGE: &str =
    "ALTER TABLE silversink.position ADD COLUMN IF NOT EXISTS lineage jsonb";

/// Orders everyone who raises an epoch of a source. `$1` pipeline, `$2` source.
pub const LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(1936291941, \
    pg_catalog.hashtext(pg_catalog.format('%L %L', $1, $2)))";

/// The fence: whether the partition is still ours, and stays so until the transaction ends; its table. `$1` pipeline, `$2` topic,
/// `$3` topic id, `$4` partition, `$5` owner epoch.
pub const FENCE: &str = "SELECT schema_name, table_name FROM silversink.position \
  WHERE pipeline = $1 AND topic = $2 AND topic_id = $3 AND partition = $4 AND owner_epoch = $5 FOR SHARE";

/// The epochs of a source: number, snapshot position, microseconds since 2000. `$1` pipeline, `$2` source.
pub const EPOCHS: &str = "SELECT epoch, snapshot_position::text, \
    (extract(epoch FROM since - '2000-01-01 00:00:00+00'::timestamptz) * 1000000)::int8 \
  FROM silversink.source_epoch WHERE pipeline = $1 AND source = $2 ORDER BY epoch";

/// As [`EPOCHS`] for every source, with its name at the end. `$1` pipeline.
pub const EPOCHS_OF_ALL: &str = "SELECT epoch, snapshot_position::text, \
    (extract(epoch FROM since - '2000-01-01 00:00:00+00'::timestamptz) * 1000000)::int8, source \
  FROM silversink.source_epoch WHERE pipeline = $1";

/// The epochs that partitions have entered: topic, table, source, number. `$1` pipeline.
pub const ENTERED: &str = "SELECT DISTINCT s.topic, p.schema_name, p.table_name, s.source, s.epoch \
  FROM silversink.source_epoch_start AS s JOIN silversink.position AS p USING (pipeline, topic, topic_id, partition) \
  WHERE s.pipeline = $1";

/// Fences off whoever owns the other partitions of a topic or table, but for those that one lane holds: they are claimed
/// again, and told of the epoch. Only those that have gone past its beginning, where the others know of it. `$1` pipeline,
/// `$2` source, `$3` topic, `$4` schema, `$5` table, arrays `$6` topic and `$7` partition of the lane, `$8` whether the
/// others know, `$9` the epoch, `$10` its beginning in microseconds since 2000.
pub const FENCE_OTHERS: &str = "WITH other AS (SELECT p.topic, p.topic_id, p.partition FROM silversink.position AS p \
    WHERE p.pipeline = $1 AND (p.topic = $3 OR (p.schema_name, p.table_name) = ($4, $5)) \
      AND NOT EXISTS (SELECT 1 FROM unnest($6, $7) AS l(topic, part) WHERE l.topic = p.topic AND l.part = p.partition) \
      AND (NOT $8 OR (p.lineage -> $2 ->> 'epoch')::int8 < $9 AND (p.lineage -> $2 ->> 'until')::int8 >= $10) \
    ORDER BY p.topic, p.topic_id, p.partition FOR UPDATE) \
  UPDATE silversink.position AS p SET owner_epoch = p.owner_epoch + 1, updated_at = now() FROM other AS o \
  WHERE p.pipeline = $1 AND p.topic = o.topic AND p.topic_id = o.topic_id AND p.partition = o.partition";

/// The epoch that is written down for just this offset, if one is. `$1` pipeline, `$2` source, `$3` topic, `$4` topic id,
/// `$5` partition, `$6` offset.
pub const START_AT: &str = "SELECT epoch FROM silversink.source_epoch_start WHERE pipeline = $1 AND source = $2 \
    AND topic = $3 AND topic_id = $4 AND partition = $5 AND start_offset = $6";

/// Writes an epoch down, or what a further partition adds to it. `$1` pipeline, `$2` source, `$3` epoch, `$4` reason,
/// `$5` snapshot position as text, `$6` microseconds since 2000, `$7` who, `$8` topic, `$9` topic id, `$10` partition,
/// `$11` offset.
pub const PUT_EPOCH: &str = "INSERT INTO silversink.source_epoch AS e \
    (pipeline, source, epoch, reason, snapshot_position, since, raised_by, topic, topic_id, partition, \"offset\") \
  VALUES ($1, $2, $3, $4, $5::numeric, '2000-01-01 00:00:00+00'::timestamptz + $6 * '1 microsecond'::interval, \
    $7, $8, $9, $10, $11) \
  ON CONFLICT ON CONSTRAINT source_epoch_pkey DO UPDATE SET \
    snapshot_position = coalesce(e.snapshot_position, excluded.snapshot_position), \
    since = least(e.since, excluded.since)";

/// Writes down where an epoch starts in partitions. `$1` pipeline, `$2` source, `$3` epoch, `$4` reason, arrays `$5`
/// topic, `$6` topic id, `$7` partition, `$8` offset. A greater epoch at the same offset replaces the smaller one.
pub const PUT_STARTS: &str = "INSERT INTO silversink.source_epoch_start AS s \
    (pipeline, source, topic, topic_id, partition, start_offset, epoch, reason) \
  SELECT $1, $2, a.topic, a.topic_id, a.part, a.start, $3, $4 \
    FROM unnest($5, $6, $7, $8) AS a(topic, topic_id, part, start) \
  ON CONFLICT ON CONSTRAINT source_epoch_start_pkey DO UPDATE SET epoch = excluded.epoch, reason = excluded.reason, \
    at = now() WHERE s.epoch < excluded.epoch";

/// Starts in partitions. `$1` pipeline, arrays `$2` topic, `$3` topic id, `$4` partition.
pub const STARTS_OF: &str = "SELECT s.topic, s.partition, s.source, s.start_offset, s.epoch \
  FROM unnest($2, $3, $4) AS a(topic, topic_id, part) \
  JOIN silversink.source_epoch_start AS s ON s.pipeline = $1 AND s.topic = a.topic AND s.topic_id = a.topic_id \
    AND s.partition = a.part";

/// Every epoch of a pipeline, for people. `$1` pipeline.
pub const ALL_EPOCHS: &str = "SELECT source, epoch, reason, snapshot_position::text, since::text, raised_at::text, \
    raised_by, topic, partition, \"offset\" \
  FROM silversink.source_epoch WHERE pipeline = $1 ORDER BY source, epoch";

/// Every start of a pipeline, for people. `$1` pipeline.
pub const ALL_STARTS: &str = "SELECT source, topic, topic_id, partition, start_offset, epoch, reason, at::text \
  FROM silversink.source_epoch_start WHERE pipeline = $1 ORDER BY source, epoch, topic, topic_id, partition, start_offset";

/// Positions that an epoch raised by command is to start at: those of one topic or partition, else those whose lineages or
/// starts name the source. One that never started is at its log's begin. `$1` pipeline, `$2` source, `$3` topic or null,
/// `$4` partition or null.
pub const RAISE_AT: &str = "SELECT p.topic, p.topic_id, p.partition, coalesce(p.next_offset, 0) \
  FROM silversink.position AS p WHERE p.pipeline = $1 AND (p.topic = $3 OR ($3 IS NULL AND (p.lineage ? $2 \
    OR EXISTS (SELECT 1 FROM silversink.source_epoch_start AS s \
      WHERE s.pipeline = p.pipeline AND s.source = $2 AND s.topic = p.topic AND s.topic_id = p.topic_id)))) \
    AND ($4 IS NULL OR p.partition = $4) \
  ORDER BY p.topic, p.topic_id, p.partition FOR UPDATE OF p";

/// Fences off whoever owns the partitions: they are claimed again, with the new starts. `$1` pipeline, arrays `$2` topic,
/// `$3` topic id, `$4` partition.
pub const FENCE_OFF: &str = "UPDATE silversink.position AS p SET owner_epoch = p.owner_epoch + 1, updated_at = now() \
  FROM unnest($2, $3, $4) AS a(topic, topic_id, part) \
  WHERE p.pipeline = $1 AND p.topic = a.topic AND p.topic_id = a.topic_id AND p.partition = a.part";

/// The highest epoch that the registry knows, over all sources of a pipeline. `$1` pipeline.
pub const HIGHEST: &str = "SELECT coalesce(max(e.epoch), 0) FROM (\
    SELECT epoch FROM silversink.source_epoch WHERE pipeline = $1 \
    UNION ALL SELECT epoch FROM silversink.source_epoch_start WHERE pipeline = $1) AS e";

/// Whether the pipeline has applied anything to a table, as far as positions know. `$1` pipeline, `$2` schema, `$3` table.
/// The positions of topics whose records name their tables name none; which they were, their schemas know.
pub const HAS_APPLIED: &str = "SELECT EXISTS (SELECT 1 FROM silversink.position AS p WHERE p.pipeline = $1 \
    AND p.next_offset IS DISTINCT FROM p.start_offset AND ((p.schema_name = $2 AND p.table_name = $3) \
    OR (p.table_name LIKE '%${source.%' AND p.topic IN (SELECT s.topic FROM silversink.source_schema AS s \
      WHERE s.pipeline = $1 AND s.schema_name = $2 AND s.table_name = $3))))";

/// Blocks of a table that a sample of [`row_above`] reads.
const SAMPLED_BLOCKS: u32 = 256;

/// Share of a table, in percent, that [`SAMPLED_BLOCKS`] blocks are. `$1` the table's quoted name.
#[must_use]
pub fn sample_percent() -> String {
    format!(
        "SELECT least(100, 100.0 * {SAMPLED_BLOCKS} * pg_catalog.current_setting('block_size')::int8 \
         / greatest(1, pg_catalog.pg_relation_size($1::text::pg_catalog.regclass)))::float4"
    )
}

/// The version of some row whose epoch is above `$1` (the lowest version above it). With `sampled`, only so many percent
/// (`$2`) of the table's blocks are looked at.
#[must_use]
pub fn row_above(table: &TableName, names: &Bookkeeping, sampled: bool) -> String {
    let sample = if sampled { " TABLESAMPLE SYSTEM ($2)" } else { "" };
    format!(
        "SELECT t.{version} FROM {table} AS t{sample} WHERE t.{version} >= $1 LIMIT 1",
        version = ident::quote(&names.version),
        table = ident::table(table),
    )
}

/// The parameter `$1` of [`row_above`] for an epoch.
#[must_use]
pub fn above(epoch: u32) -> Version {
    Version::lowest_of(epoch.saturating_add(1))
}
