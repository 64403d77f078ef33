//! Questions to PostgreSQL's catalogue about one Silver table (manual: "System Catalogs").

/// The relation. `$1` schema, `$2` name.
pub const RELATION: &str = "SELECT c.oid, c.relkind::text, row_security_active(c.oid), \
    has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'), has_table_privilege(c.oid, 'UPDATE') \
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
  WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";

/// Columns in `attnum` order. `$1` oid of the relation.
pub const COLUMNS: &str = "WITH RECURSIVE base(declared, oid, typtype, typbasetype, typelem, typlen, typmod) AS ( \
    SELECT t.oid, t.oid, t.typtype, t.typbasetype, t.typelem, t.typlen, t.typtypmod FROM pg_catalog.pg_type AS t \
      WHERE t.oid IN (SELECT atttypid FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum > 0) \
    UNION ALL \
    SELECT b.declared, t.oid, t.typtype, t.typbasetype, t.typelem, t.typlen, \
      CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE b.typmod END FROM base AS b \
      JOIN pg_catalog.pg_type AS t ON t.oid = b.typbasetype WHERE b.typtype = 'd') \
  SELECT a.attname::text, a.atttypid, b.oid, CASE WHEN b.typlen = -1 THEN b.typelem ELSE 0::oid END, t.typtype::text, \
    CASE WHEN t.typtype = 'd' THEN b.typmod ELSE a.atttypmod END, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated <> '', a.attidentity = 'a', \
    n.typname::text, n.typtype::text \
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid \
  JOIN base AS b ON b.declared = a.atttypid AND b.typtype <> 'd' \
  JOIN pg_catalog.pg_type AS n ON n.oid = CASE WHEN b.typlen = -1 AND b.typelem <> 0 THEN b.typelem ELSE b.oid END \
  WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// Columns of the primary key in the index's order, and whether it is deferrable.
pub const PRIMARY_KEY: &str = "SELECT k.conname::text, k.condeferrable, a.attname::text FROM pg_catalog.pg_constraint AS k \
  CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS u(attnum, place) \
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.attnum \
  WHERE k.conrelid = $1 AND k.contype = 'p' ORDER BY u.place";

/// Labels of the columns whose type is an enum.
pub const ENUM_LABELS: &str = "SELECT a.attname::text, e.enumlabel::text FROM pg_catalog.pg_attribute AS a \
  JOIN pg_catalog.pg_enum AS e ON e.enumtypid = a.atttypid \
  WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped";

/// Foreign keys of the table, and exclusion constraints.
pub const CONSTRAINTS: &str = "SELECT conname::text, contype::text FROM pg_catalog.pg_constraint \
  WHERE conrelid = $1 AND contype IN ('f', 'x') ORDER BY conname";

/// Unique indexes beside the primary key, with their predicate.
pub const UNIQUE_INDEXES: &str = "SELECT c.relname::text, pg_get_expr(i.indpred, i.indrelid) FROM pg_catalog.pg_index AS i \
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
  WHERE i.indrelid = $1 AND i.indisunique AND NOT i.indisprimary ORDER BY c.relname";

/// Triggers of the user that are enabled.
pub const TRIGGERS: &str = "SELECT tgname::text FROM pg_catalog.pg_trigger \
  WHERE tgrelid = $1 AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgname";

/// Rules that rewrite writes.
pub const RULES: &str = "SELECT rulename::text FROM pg_catalog.pg_rewrite \
  WHERE ev_class = $1 AND rulename <> '_RETURN' ORDER BY rulename";

/// Names that a unique violation on the merge key carries: the primary key and its counterparts on partitions. `$1`
/// schema, `$2` table.
pub const KEY_CONSTRAINTS: &str = "SELECT k.conname::text FROM pg_catalog.pg_constraint AS k \
  WHERE k.contype = 'p' AND k.conrelid IN ( \
    SELECT c.oid FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
      WHERE n.nspname = $1 AND c.relname = $2 \
    UNION ALL SELECT p.relid FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
      CROSS JOIN LATERAL pg_partition_tree(c.oid) AS p WHERE n.nspname = $1 AND c.relname = $2)";
