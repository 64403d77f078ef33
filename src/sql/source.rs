//! What the source's catalogue tells of tables whose topics cannot tell everything. Read by `doctor`, never by the worker.

/// One row per published table (every user table where nothing is published): schema, table, replica identity
/// (`pg_class.relreplident`), whether it has a primary key, whether that is deferrable, the index that is its replica
/// identity without being the primary key, columns whose unchanged large values arrive as NULL, nullable columns with a
/// default, generated columns, columns of types that Debezium leaves out, arrays that it cannot always read, and bit strings
/// of varying length. Lists are comma separated, NULL when empty.
///
/// Sources: PostgreSQL manual, "pg_class", "pg_index", "pg_attribute"; Debezium PostgreSQL connector documentation,
/// "Toasted values" and "Data type mappings".
pub const TABLES: &str = "
WITH published AS (SELECT DISTINCT schemaname, tablename FROM pg_catalog.pg_publication_tables),
columns AS (
  SELECT a.attrelid, a.attname, a.attnum, a.attnotnull, a.atthasdef, a.attgenerated, a.attstorage, a.atttypmod, a.attndims,
    coalesce(nullif(t.typbasetype, 0), t.oid) AS base
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
  WHERE a.attnum > 0 AND NOT a.attisdropped
),
typed AS (
  SELECT c.*, b.typname, b.typtype, b.typcategory, coalesce(e.typname, '') AS element, e.typtype AS element_type
  FROM columns AS c JOIN pg_catalog.pg_type AS b ON b.oid = c.base
  LEFT JOIN pg_catalog.pg_type AS e ON e.oid = b.typelem AND b.typcategory = 'A'
)
SELECT n.nspname, c.relname, c.relreplident::text,
  k.oid IS NOT NULL, coalesce(k.condeferrable, false),
  (SELECT i.indexrelid::pg_catalog.regclass::text FROM pg_catalog.pg_index AS i
    WHERE i.indrelid = c.oid AND i.indisreplident AND NOT i.indisprimary),
  (SELECT string_agg(quote_ident(t.attname), ', ' ORDER BY t.attnum) FROM typed AS t WHERE t.attrelid = c.oid
    AND t.attstorage <> 'p' AND t.attgenerated = '' AND (
      (t.typcategory = 'A' AND t.element NOT IN
        ('text', 'varchar', 'bpchar', 'json', 'jsonb', 'bytea', 'int4', 'int8', 'date', 'uuid',
         'money', 'name', 'interval', 'varbit', 'xml', 'point', 'refcursor'))
      OR t.typname IN ('path', 'polygon', 'bit', 'varbit', 'geometry', 'geography')
      OR (t.typname = 'numeric' AND t.atttypmod = -1))),
  (SELECT string_agg(quote_ident(t.attname), ', ' ORDER BY t.attnum) FROM typed AS t
    WHERE t.attrelid = c.oid AND NOT t.attnotnull AND t.atthasdef AND t.attgenerated = ''),
  (SELECT string_agg(quote_ident(t.attname), ', ' ORDER BY t.attnum) FROM typed AS t
    WHERE t.attrelid = c.oid AND t.attgenerated <> ''),
  (SELECT string_agg(quote_ident(t.attname), ', ' ORDER BY t.attnum) FROM typed AS t WHERE t.attrelid = c.oid AND (
      t.typtype IN ('c', 'm') OR t.typname IN ('tsquery', 'pg_lsn', 'name', 'refcursor')
      OR t.element IN ('money', 'name', 'interval', 'varbit', 'xml', 'point', 'refcursor'))),
  (SELECT string_agg(quote_ident(t.attname), ', ' ORDER BY t.attnum) FROM typed AS t WHERE t.attrelid = c.oid
    AND (t.element = 'bit' OR t.element_type = 'e' OR t.attndims > 1)),
  (SELECT string_agg(quote_ident(t.attname), ', ' ORDER BY t.attnum) FROM typed AS t WHERE t.attrelid = c.oid
    AND t.typname = 'varbit')
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
  AND (NOT EXISTS (SELECT FROM published)
    OR EXISTS (SELECT FROM published AS p WHERE p.schemaname = n.nspname AND p.tablename = c.relname))
ORDER BY 1, 2";
