"""Silver against its source, and positions against the log. Written for the test alone: it shares nothing with the product."""

from outside import copy_out, psql, value
from workload import TABLES

BOOKKEEPING = {"_version", "_deleted_at", "_source_ts", "_applied_at"}


def columns(url, schema, table):
    return psql(
        url,
        f"select column_name from information_schema.columns where table_schema = '{schema}' and table_name = '{table}' "
        "order by ordinal_position",
    )


class Comparison:
    """One table: `problems` is empty when Silver tells exactly what the source does."""

    def __init__(self, table, source, silver):
        self.problems, self.live, self.deleted = [], 0, 0
        key, names = TABLES[table], columns(source, "public", table)
        in_silver = set(columns(silver, "silver", table))
        if in_silver != set(names) | BOOKKEEPING:
            self.problems.append(f"columns differ: {sorted(in_silver ^ (set(names) | BOOKKEEPING))}")
            return
        as_text = ", ".join(f"{name}::text" for name in names)
        key_text = " || ',' || ".join(f"{name}::text" for name in key)
        expected = {row[0]: row[1:] for row in copy_out(source, f"select {key_text}, {as_text} from public.{table}")}
        ever = {
            row[0]
            for row in copy_out(
                source, f"select distinct new_key from audit.change where tbl = '{table}' and new_key is not null"
            )
        }
        found = copy_out(silver, f"select {key_text}, _deleted_at is not null, {as_text} from silver.{table}")
        live = {row[0]: row[2:] for row in found if row[1] == "f"}
        marked = {row[0] for row in found if row[1] == "t"}
        self.live, self.deleted = len(live), len(marked)
        if len(live) + len(marked) != len(found):
            self.problems.append("a key occurs twice")
        self.several("missing in Silver", expected.keys() - live.keys())
        self.several("live in Silver, gone in the source", live.keys() - expected.keys())
        self.several("deleted and not marked in Silver", (ever - expected.keys()) - marked)
        self.several("marked in Silver, but never lived", marked - ever)
        self.several(
            "values differ",
            [
                f"{row} {name}: source {wanted[:60]!r} Silver {got[:60]!r}"
                for row in expected.keys() & live.keys()
                for name, wanted, got in zip(names, expected[row], live[row], strict=True)
                if wanted != got
            ],
        )

    def several(self, what, examples):
        if examples:
            self.problems.append(f"{what}: {len(examples)}, such as {'; '.join(sorted(examples)[:3])}")


# --- positions -----------------------------------------------------------------------------------------------------------

CLASSES = ("applied", "superseded", "skipped", "dead_lettered")


def positions(silver, pipeline):
    """{(topic, partition): row as a dictionary of numbers}."""
    names = ("start_offset", "next_offset", "owner_epoch", *CLASSES)
    rows = copy_out(
        silver,
        f"select topic, partition, owner, {', '.join(names)} from silversink.position where pipeline = '{pipeline}'",
    )
    return {
        (row[0], int(row[1])): {"owner": row[2], **dict(zip(names, map(int, row[3:]), strict=True))} for row in rows
    }


def accounting(found, ends):
    """I1: the counts of a partition tile its offsets without a gap, up to the end of the log. Returns the problems."""
    problems = [f"{topic}-{partition}: no position" for topic, partition in sorted(ends.keys() - found.keys())]
    problems += [
        f"{topic}-{partition}: position of an unknown partition"
        for topic, partition in sorted(found.keys() - ends.keys())
    ]
    for place in sorted(ends.keys() & found.keys()):
        row, name = found[place], "-".join(map(str, place))
        if row["next_offset"] != ends[place]:
            problems.append(f"{name}: next offset {row['next_offset']}, log end {ends[place]}")
        counted = sum(row[name_of_class] for name_of_class in CLASSES)
        if row["next_offset"] - row["start_offset"] != counted:
            problems.append(
                f"{name}: offsets {row['start_offset']} to {row['next_offset']}, but {counted} records accounted for: {row}"
            )
    return problems


# --- Silver's physical state ----------------------------------------------------------------------------------------------


def fingerprint(silver):
    """Changes with every row version that is written: where each row lies, and the transaction that wrote it."""
    return {
        table: value(
            silver,
            f"select count(*) || ' ' || md5(string_agg(ctid::text || xmin::text, ' ' order by ctid)) from silver.{table}",
        )
        for table in TABLES
    }


def rows_written(silver):
    """Row versions written since the table was made, live, dead and rolled back ones, as the statistics tell."""
    return {
        row[0]: int(row[1])
        for row in copy_out(
            silver,
            "select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables where schemaname = 'silver'",
        )
    }


# --- the checker checked --------------------------------------------------------------------------------------------------

# Each of these spoils a perfect copy in one way that must be found.
SPOIL = {
    "a changed value": "update silver.customers set credit = credit + 0.01 where id = (select min(id) from public.customers)",
    "empty instead of NULL": "update silver.orders set note = '' where id = (select min(id) from public.orders where note is null)",
    "a missing row": "delete from silver.order_items where order_id = (select min(order_id) from public.order_items) and line_no = 1",
    "an invented row": "insert into silver.customers (id) values (999999)",
    "a live row that is marked": "update silver.products set _deleted_at = now() where id = (select min(id) from public.products)",
    "a deleted row that is not marked": "update silver.customers set _deleted_at = null where _deleted_at is not null",
    "a deleted row that is not there": "delete from silver.customers where _deleted_at is not null",
    "a column too few": "alter table silver.orders drop paid",
}


def self_test(source):
    """Copies the source into a schema `silver` beside it and spoils the copy; yields (what, whether the checker was right)."""
    bookkeeping = (
        "''::bytea as _version, null::timestamptz as _deleted_at, null::timestamptz as _source_ts, now() as _applied_at"
    )
    psql(
        source,
        "insert into customers values (999998, 'gone', null, null, 0, false, null, now())",
        "create schema model",
        *[f"create table model.{table} as select *, {bookkeeping} from {table}" for table in TABLES],
        "update model.customers set _deleted_at = now() where id = 999998",
        "delete from customers where id = 999998",
    )

    def problems(spoil):
        psql(
            source,
            "create schema silver",
            *[f"create table silver.{table} as table model.{table}" for table in TABLES],
            spoil,
        )
        found = [problem for table in TABLES for problem in Comparison(table, source, source).problems]
        psql(source, "drop schema silver cascade")
        return found

    yield "a perfect copy", not problems("")
    for what, statement in SPOIL.items():
        yield what, bool(problems(statement))
    # no snapshot will tell of the invented key, so the witness forgets it too
    psql(source, "drop schema model cascade", "delete from audit.change where '999998' in (old_key, new_key)")

    row = {"start_offset": 5, "next_offset": 25, "applied": 10, "superseded": 7, "skipped": 2, "dead_lettered": 1}
    place = ("t", 0)
    yield "counts that tile", not accounting({place: row}, {place: 25})
    yield "a count too few", bool(accounting({place: {**row, "applied": 9}}, {place: 25}))
    yield "a position short of the end", bool(accounting({place: row}, {place: 26}))
    yield "a partition without position", bool(accounting({place: row}, {place: 25, ("t", 1): 0}))
