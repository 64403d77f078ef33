//! The bookkeeping schema `silversink`: its tables, and the statements on positions, letters and table owners.

use super::epochs;

/// Name of the schema (design section 15).
pub const SCHEMA: &str = "silversink";

/// Key of the advisory lock under which the schema is created ("silver" as bytes).
pub const LOCK_KEY: i64 = 0x0073_696c_7665_7200;

/// Counts the objects of [`CREATE`] that exist; [`OBJECTS`] means nothing is to do.
pub const PRESENT: &str = "SELECT (SELECT count(*) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname = 'silversink' AND c.relkind = 'r' \
    AND c.relname IN ('position', 'dead_letter', 'silver_table', 'truncate_floor', 'schema_change', 'source_schema', \
    'source_epoch', 'source_epoch_start', 'hole')) \
  + (SELECT count(*) FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid \
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname = 'silversink' AND c.relname = 'position' AND a.attname = 'lineage' AND NOT a.attisdropped) \
  + (SELECT count(*) FROM pg_catalog.pg_proc AS f JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace \
    WHERE n.nspname = 'silversink' AND f.proname = 'version_parts') \
  + (SELECT count(*) FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid \
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname = 'silversink' AND c.relname = 'hole' AND k.contype = 'p' AND cardinality(k.conkey) = 4)";

/// Number of objects that [`PRESENT`] counts when the schema is complete.
pub const OBJECTS: i64 = 12;

/// Everything, each statement idempotent. The key of a position holds the topic name beside the topic id, because a
/// broker that does not tell ids leaves them nil.
pub const CREATE: [&str; 13] = [
    "CREATE SCHEMA IF NOT EXISTS silversink",
    "CREATE TABLE IF NOT EXISTS silversink.position (
  pipeline text NOT NULL,
  topic text NOT NULL,
  topic_id uuid NOT NULL,
  partition int4 NOT NULL,
  next_offset int8,
  leader_epoch int4,
  owner_epoch int8 NOT NULL,
  owner text NOT NULL,
  backend_pid int4,
  backend_start timestamptz,
  start_offset int8,
  applied int8 NOT NULL DEFAULT 0,
  superseded int8 NOT NULL DEFAULT 0,
  skipped int8 NOT NULL DEFAULT 0,
  dead_lettered int8 NOT NULL DEFAULT 0,
  state text NOT NULL DEFAULT 'claimed',
  reason text,
  schema_name text,
  table_name text,
  claimed_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (pipeline, topic, topic_id, partition)
) WITH (fillfactor = 50)",
    "CREATE TABLE IF NOT EXISTS silversink.dead_letter (
  pipeline text NOT NULL,
  topic text NOT NULL,
  topic_id uuid NOT NULL,
  partition int4 NOT NULL,
  \"offset\" int8 NOT NULL,
  code text NOT NULL,
  fingerprint text NOT NULL,
  schema_name text,
  table_name text,
  key text,
  version bytea,
  reason text NOT NULL,
  sqlstate text,
  dlq_partition int4 NOT NULL,
  dlq_offset int8 NOT NULL,
  status text NOT NULL DEFAULT 'parked',
  count int8 NOT NULL DEFAULT 1,
  first_seen timestamptz NOT NULL DEFAULT now(),
  last_seen timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (pipeline, topic, topic_id, partition, \"offset\")
)",
    "CREATE TABLE IF NOT EXISTS silversink.silver_table (
  schema_name text NOT NULL,
  table_name text NOT NULL,
  pipeline text NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (schema_name, table_name)
)",
    "CREATE TABLE IF NOT EXISTS silversink.truncate_floor (
  schema_name text NOT NULL,
  table_name text NOT NULL,
  version bytea NOT NULL,
  truncated_at timestamptz NOT NULL,
  PRIMARY KEY (schema_name, table_name)
)",
    "CREATE TABLE IF NOT EXISTS silversink.schema_change (
  id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  changed_at timestamptz NOT NULL DEFAULT now(),
  pipeline text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  kind text NOT NULL,
  column_name text,
  ddl text,
  topic text,
  key_schema text,
  value_schema text
)",
    "CREATE TABLE IF NOT EXISTS silversink.source_schema (
  pipeline text NOT NULL,
  topic text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  fingerprint text NOT NULL,
  seen int8 GENERATED ALWAYS AS IDENTITY,
  first_seen timestamptz NOT NULL DEFAULT now(),
  key_schema text,
  value_schema text,
  key_columns text[] NOT NULL,
  column_names text[] NOT NULL,
  column_types text[] NOT NULL,
  PRIMARY KEY (pipeline, topic, schema_name, table_name, fingerprint)
)",
    epochs::CREATE_EPOCH,
    epochs::CREATE_START,
    epochs::ADD_LINEAGE,
    "CREATE TABLE IF NOT EXISTS silversink.hole (
  schema_name text NOT NULL,
  table_name text NOT NULL,
  key bytea NOT NULL,
  version bytea NOT NULL,
  PRIMARY KEY (schema_name, table_name, key, version)
)",
    // A key had one hole at first, the highest.
    "DO $do$ BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_constraint
      WHERE conrelid = 'silversink.hole'::regclass AND contype = 'p' AND cardinality(conkey) = 3) THEN
    ALTER TABLE silversink.hole DROP CONSTRAINT hole_pkey, ADD PRIMARY KEY (schema_name, table_name, key, version);
  END IF;
END $do$",
    "CREATE OR REPLACE FUNCTION silversink.version_parts(version bytea,
  OUT source_epoch numeric, OUT commit_position numeric, OUT phase numeric, OUT change_position numeric,
  OUT kafka_offset numeric) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$
  SELECT (SELECT sum(get_byte($1, i) * 256::numeric ^ (3 - i)) FROM generate_series(0, 3) AS i)::numeric(40, 0),
    (SELECT sum(get_byte($1, i) * 256::numeric ^ (19 - i)) FROM generate_series(4, 19) AS i)::numeric(40, 0),
    get_byte($1, 20)::numeric,
    (SELECT sum(get_byte($1, i) * 256::numeric ^ (28 - i)) FROM generate_series(21, 28) AS i)::numeric(40, 0),
    (SELECT sum(get_byte($1, i) * 256::numeric ^ (36 - i)) FROM generate_series(29, 36) AS i)::numeric(40, 0)
$body$",
];

/// Raises the owner epochs. `$1` pipeline, `$2` owner, arrays `$3` topic, `$4` topic id, `$5` partition, `$6` schema,
/// `$7` table. Rows are locked in key order.
pub const CLAIM: &str = "INSERT INTO silversink.position AS p \
    (pipeline, topic, topic_id, partition, owner_epoch, owner, schema_name, table_name, claimed_at, updated_at) \
  SELECT $1, a.topic, a.topic_id, a.part, 1, $2, a.schema_name, a.table_name, now(), now() \
    FROM unnest($3, $4, $5, $6, $7) AS a(topic, topic_id, part, schema_name, table_name) \
    ORDER BY a.topic, a.topic_id, a.part \
  ON CONFLICT ON CONSTRAINT position_pkey DO UPDATE SET owner_epoch = p.owner_epoch + 1, owner = excluded.owner, \
    schema_name = coalesce(excluded.schema_name, p.schema_name), \
    table_name = coalesce(excluded.table_name, p.table_name), claimed_at = now(), updated_at = now() \
  RETURNING p.topic, p.topic_id, p.partition, p.owner_epoch, p.next_offset, p.leader_epoch, p.lineage::text";

/// Rows of the same topic name and partition under another topic id, the latest first. `$1` pipeline, arrays `$2` topic,
/// `$3` topic id, `$4` partition.
pub const OTHER_INCARNATIONS: &str = "SELECT DISTINCT ON (a.topic, a.part) a.topic, a.part, p.topic_id \
  FROM unnest($2, $3, $4) AS a(topic, topic_id, part) \
  JOIN silversink.position AS p ON p.pipeline = $1 AND p.topic = a.topic AND p.partition = a.part \
  WHERE p.topic_id <> a.topic_id AND p.next_offset IS NOT NULL ORDER BY a.topic, a.part, p.updated_at DESC";

/// Ends the backends that hold the locks a claim waits for: the row's `xmax` names the transaction, its lock names the
/// backend, and pid plus start time (or our application name) prove that it is a writer of ours. Parameters as in
/// [`OTHER_INCARNATIONS`].
pub const TERMINATE_HOLDERS: &str = "SELECT count(*) FILTER (WHERE pg_catalog.pg_terminate_backend(h.pid)) FROM ( \
  SELECT DISTINCT l.pid FROM unnest($2, $3, $4) AS a(topic, topic_id, part) \
  JOIN silversink.position AS p ON p.pipeline = $1 AND p.topic = a.topic AND p.topic_id = a.topic_id \
    AND p.partition = a.part \
  JOIN pg_catalog.pg_locks AS l ON l.locktype = 'transactionid' AND l.transactionid = p.xmax AND l.granted \
  JOIN pg_catalog.pg_stat_activity AS b ON b.pid = l.pid AND b.usename = current_user \
  WHERE b.pid <> pg_catalog.pg_backend_pid() AND ((b.pid = p.backend_pid AND b.backend_start = p.backend_start) \
    OR b.application_name LIKE 'silversink%')) AS h";

/// Sets the start of claimed partitions, fenced. `$1` pipeline, arrays `$2` topic, `$3` topic id, `$4` partition, `$5`
/// owner epoch, `$6` start offset, `$7` rewound, `$8` reason, `$9` lineages. Counts and lineages start over where the start is new.
pub const BEGIN_AT: &str = "UPDATE silversink.position AS p SET next_offset = b.start, \
    start_offset = CASE WHEN b.fresh OR p.start_offset IS NULL THEN b.start ELSE p.start_offset END, \
    applied = CASE WHEN b.fresh OR p.start_offset IS NULL THEN 0 ELSE p.applied END, \
    superseded = CASE WHEN b.fresh OR p.start_offset IS NULL THEN 0 ELSE p.superseded END, \
    skipped = CASE WHEN b.fresh OR p.start_offset IS NULL THEN 0 ELSE p.skipped END, \
    dead_lettered = CASE WHEN b.fresh OR p.start_offset IS NULL THEN 0 ELSE p.dead_lettered END, \
    lineage = CASE WHEN b.fresh OR p.start_offset IS NULL THEN b.lineage::jsonb ELSE p.lineage END, \
    state = 'running', reason = b.reason, updated_at = now() \
  FROM unnest($2, $3, $4, $5, $6, $7, $8, $9) AS b(topic, topic_id, part, epoch, start, fresh, reason, lineage) \
  WHERE p.pipeline = $1 AND p.topic = b.topic AND p.topic_id = b.topic_id AND p.partition = b.part \
    AND p.owner_epoch = b.epoch";

/// Locks the positions that are still ours, in key order. `$1` pipeline, arrays `$2` topic, `$3` topic id, `$4` partition,
/// `$5` owner epoch.
pub const HOLD_POSITIONS: &str = "SELECT 1 FROM unnest($2, $3, $4, $5) AS a(topic, topic_id, part, epoch) \
  JOIN silversink.position AS p ON p.pipeline = $1 AND p.topic = a.topic AND p.topic_id = a.topic_id \
    AND p.partition = a.part \
  WHERE p.owner_epoch = a.epoch ORDER BY p.topic, p.topic_id, p.partition FOR UPDATE OF p";

/// Records the state of one partition, fenced.
pub const MARK_STATE: &str = "UPDATE silversink.position SET state = $6, reason = $7, updated_at = now() \
  WHERE pipeline = $1 AND topic = $2 AND topic_id = $3 AND partition = $4 AND owner_epoch = $5";

/// Registers a Silver table for a pipeline.
pub const OWN_TABLE: &str = "INSERT INTO silversink.silver_table (schema_name, table_name, pipeline) VALUES ($1, $2, $3) \
  ON CONFLICT ON CONSTRAINT silver_table_pkey DO NOTHING";

/// The pipeline that owns a Silver table.
pub const TABLE_OWNER: &str =
    "SELECT pipeline FROM silversink.silver_table WHERE schema_name = $1 AND table_name = $2";

/// The truncate floor of a table: version and time in microseconds since 2000.
pub const TRUNCATE_FLOOR: &str = "SELECT version, \
    (extract(epoch FROM truncated_at - '2000-01-01 00:00:00+00'::timestamptz) * 1000000)::int8 \
  FROM silversink.truncate_floor WHERE schema_name = $1 AND table_name = $2";

/// Records dead letters; a letter seen again raises its count (I8: at least once, keyed by record). `$1` pipeline, `$2`
/// schema, `$3` table, then arrays.
pub const LETTERS: &str = "INSERT INTO silversink.dead_letter AS d (pipeline, schema_name, table_name, topic, topic_id, \
    partition, \"offset\", code, fingerprint, key, version, reason, sqlstate, dlq_partition, dlq_offset) \
  SELECT DISTINCT ON (l.topic, l.topic_id, l.part, l.off) $1, $2, $3, l.topic, l.topic_id, l.part, l.off, l.code, \
    l.fingerprint, l.key, l.version, l.reason, l.sqlstate, l.dlq_partition, l.dlq_offset \
  FROM unnest($4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) AS l(topic, topic_id, part, off, code, fingerprint, \
    key, version, reason, sqlstate, dlq_partition, dlq_offset) \
  ORDER BY l.topic, l.topic_id, l.part, l.off \
  ON CONFLICT ON CONSTRAINT dead_letter_pkey DO UPDATE SET code = excluded.code, fingerprint = excluded.fingerprint, \
    reason = excluded.reason, sqlstate = excluded.sqlstate, dlq_partition = excluded.dlq_partition, \
    dlq_offset = excluded.dlq_offset, last_seen = now(), count = d.count + 1";

/// Records an alteration of a Silver table, or something that a new schema changed. `$1` pipeline, `$2` schema, `$3` table,
/// `$4` kind, `$5` column, `$6` DDL, `$7` topic, `$8` key schema, `$9` value schema.
pub const RECORD_SCHEMA_CHANGE: &str = "INSERT INTO silversink.schema_change \
    (pipeline, schema_name, table_name, kind, column_name, ddl, topic, key_schema, value_schema) \
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Remembers a row schema of a topic; nothing when it is known. `$1` pipeline, `$2` topic, `$3` schema, `$4` table, `$5`
/// fingerprint, `$6` key schema, `$7` value schema, arrays `$8` key columns, `$9` column names, `$10` column types.
pub const REMEMBER_SOURCE_SCHEMA: &str = "INSERT INTO silversink.source_schema (pipeline, topic, schema_name, table_name, \
    fingerprint, key_schema, value_schema, key_columns, column_names, column_types) \
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT ON CONSTRAINT source_schema_pkey DO NOTHING";

/// Row schemas of a topic that fed a table, oldest first. `$1` pipeline, `$2` topic, `$3` schema, `$4` table.
pub const SOURCE_SCHEMAS: &str = "SELECT key_columns, column_names, column_types FROM silversink.source_schema \
  WHERE pipeline = $1 AND topic = $2 AND schema_name = $3 AND table_name = $4 ORDER BY seen";

/// Which topics' schemas have fed which tables: topic, schema, table. `$1` pipeline.
pub const FED: &str = "SELECT DISTINCT topic, schema_name, table_name FROM silversink.source_schema \
  WHERE pipeline = $1 ORDER BY topic, schema_name, table_name";

/// Records the holes that dead letters leave (I9). `$1` schema, `$2` table, arrays `$3` encoded key, `$4` version.
pub const OPEN_HOLES: &str = "INSERT INTO silversink.hole (schema_name, table_name, key, version) \
  SELECT $1, $2, u.key, u.version FROM unnest($3, $4) AS u(key, version) ORDER BY u.key, u.version \
  ON CONFLICT DO NOTHING";

/// Removes the holes that whole rows close. Parameters as in [`OPEN_HOLES`].
pub const CLOSE_HOLES: &str = "DELETE FROM silversink.hole AS h USING unnest($3, $4) AS u(key, version) \
  WHERE h.schema_name = $1 AND h.table_name = $2 AND h.key = u.key AND h.version <= u.version";

/// The holes of a table.
pub const HOLES: &str =
    "SELECT key, version FROM silversink.hole WHERE schema_name = $1 AND table_name = $2";

/// Positions of a pipeline.
pub const POSITIONS: &str = "SELECT topic, topic_id, partition, next_offset, leader_epoch, owner_epoch, owner, \
    start_offset, applied, superseded, skipped, dead_lettered, state, reason, schema_name, table_name, \
    extract(epoch FROM now() - updated_at)::float8 \
  FROM silversink.position WHERE pipeline = $1 ORDER BY topic, partition, updated_at";

/// Dead letters of a pipeline by code.
pub const LETTERS_BY_CODE: &str = "SELECT code, count(*) FROM silversink.dead_letter \
  WHERE pipeline = $1 AND status = 'parked' GROUP BY code ORDER BY code";

/// The latest dead letter of one record. `$1` pipeline, `$2` topic, `$3` partition, `$4` offset.
pub const LETTER_AT: &str = "SELECT code || ' (' || status || '): ' || reason FROM silversink.dead_letter \
  WHERE pipeline = $1 AND topic = $2 AND partition = $3 AND \"offset\" = $4 ORDER BY last_seen DESC LIMIT 1";

/// Rows, live rows and deleted rows of a Silver table.
#[must_use]
pub fn table_counts(table: &crate::table::TableName, names: &crate::table::Bookkeeping) -> String {
    let deleted_at = super::ident::quote(&names.deleted_at);
    format!(
        "SELECT count(*), count(*) FILTER (WHERE {deleted_at} IS NULL), count({deleted_at}) FROM {}",
        super::ident::table(table)
    )
}
