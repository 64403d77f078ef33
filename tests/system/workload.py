"""The source database and the random work on it: four related tables, several sessions that get in each other's way."""

import random
import subprocess
import threading
import time

CUSTOMERS, PRODUCTS, ORDERS, LINES = 300, 120, 1500, 6  # key ranges: small, so that deleted keys come back
TABLES = {"customers": ["id"], "products": ["id"], "orders": ["id"], "order_items": ["order_id", "line_no"]}

# `audit.change` is the test's own witness: written by triggers in the same transactions, so it knows every key that ever lived
# and every event that the topics must hold, without asking Debezium or the product.
SCHEMA = """
create table customers (
  id integer primary key, name text not null, email text, born date, credit numeric(12,2) not null, opted_in boolean not null,
  preferences jsonb, created_at timestamptz not null);
create table products (
  id integer primary key, name text not null, price numeric(10,2) not null, in_stock integer not null, description text,
  discontinued boolean not null, attributes jsonb, updated_at timestamptz not null);
-- out of line and uncompressed: an update that leaves it alone does not carry it
alter table products alter description set storage external;
create table orders (
  id bigint primary key, customer_id integer not null references customers on update cascade on delete cascade,
  status text not null, total numeric(12,2), ordered_on date not null, paid boolean, note text, placed_at timestamptz not null);
create table order_items (
  order_id bigint references orders on update cascade on delete cascade, line_no smallint,
  product_id integer not null references products on delete cascade, quantity integer not null, unit_price numeric(10,2) not null,
  gift boolean, primary key (order_id, line_no));
create index on orders (customer_id);
create index on order_items (product_id);

create schema audit;
create table audit.change (id bigserial, xid bigint default txid_current(), tbl text, op text, old_key text, new_key text);
create function audit.record() returns trigger language plpgsql as $$
declare was text; becomes text;
begin
  if tg_op <> 'INSERT' then select string_agg(to_jsonb(old)->>c, ',') into was from unnest(tg_argv) c; end if;
  if tg_op <> 'DELETE' then select string_agg(to_jsonb(new)->>c, ',') into becomes from unnest(tg_argv) c; end if;
  insert into audit.change (tbl, op, old_key, new_key) values (tg_table_name, left(tg_op, 1), was, becomes);
  return null;
end $$;
""" + "\n".join(
    f"create trigger audit after insert or update or delete on {table} for each row execute function audit.record({', '.join(key)});"
    for table, key in TABLES.items()
)

# What the topics hold for the changes after the snapshot: a delete is an event and a tombstone, a key change those two and a create.
RECORDS = """
select tbl, sum(case when op = 'D' then 2 when op = 'U' and old_key <> new_key then 3 else 1 end)
from audit.change where id > {snapshot} group by tbl"""

# Occurrences of everything that the workload promises to do.
SUMMARY = """
with change as (select * from audit.change where id > {snapshot}),
arrivals as (select tbl, new_key from change where op = 'I' or (op = 'U' and old_key <> new_key)),
departures as (select tbl, old_key, min(id) as first from change where op = 'D' or (op = 'U' and old_key <> new_key) group by 1, 2)
select 'inserts', count(*) from change where op = 'I'
union all select 'updates', count(*) from change where op = 'U' and old_key = new_key
union all select 'deletes', count(*) from change where op = 'D'
union all select 'key changes', count(*) from change where op = 'U' and old_key <> new_key
union all select 'returned keys', count(*) from change c join departures d on d.tbl = c.tbl and d.old_key = c.new_key
  where c.id > d.first and (c.op = 'I' or (c.op = 'U' and c.old_key <> c.new_key))
union all select 'multi-table transactions', count(*) from (select from change group by xid having count(distinct tbl) > 1) t"""

WORDS = [
    "plain",
    "",
    "Zoë Ångström",
    "tab\there",
    "line\nbreak",
    "back\\slash",
    "quote'quote",
    "日本語",
    "🦀",
    '"',
    "NULL",
    "\\N",
    "{}",
]
STATUS = ["new", "paid", "packed", "shipped", "delivered", "cancelled"]


def literal(value):
    """A Python value as SQL."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else "'" + str(value).replace("'", "''") + "'"


class Author:
    """Writes random transactions; the same seed writes the same text."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def text(self):
        return literal(
            self.rng.choice([None] + WORDS) if self.rng.random() < 0.5 else f"text {self.rng.randrange(10**6)}"
        )

    def word(self):
        return literal(self.rng.choice(WORDS) + str(self.rng.randrange(1000)))

    def amount(self, limit=10**6):
        return f"{self.rng.randrange(-limit, limit)}.{self.rng.randrange(100):02}"

    def flag(self):
        return literal(self.rng.choice([True, False]))

    def date(self):
        return literal(
            f"{self.rng.randrange(1900, 2100)}-{self.rng.randrange(1, 13):02}-{self.rng.randrange(1, 29):02}"
        )

    def moment(self):
        return f"timestamptz '2026-01-01 00:00:00Z' + {self.rng.randrange(10**13)} * interval '1 microsecond'"

    def document(self):
        if self.rng.random() < 0.2:
            return "null"
        parts = f"'n', {self.rng.randrange(10**9)}, 'text', {self.word()}, 'list', jsonb_build_array(1, null, {self.flag()})"
        return f"jsonb_build_object({parts})"

    def description(self):
        if self.rng.random() < 0.5:
            return self.text()
        return f"(select string_agg(md5({self.rng.randrange(10**6)} + i || ''), '') from generate_series(1, 100) i)"

    def customer(self):
        return self.rng.randint(1, CUSTOMERS)

    def product(self):
        return self.rng.randint(1, PRODUCTS)

    def order(self):
        return self.rng.randint(1, ORDERS)

    def line(self):
        return self.rng.randint(1, LINES)

    # Inserts meet keys that live and keys that were deleted; `on conflict` makes both welcome.
    def add_customer(self, key):
        return (
            f"insert into customers values ({key}, {self.word()}, {self.text()}, {self.date()}, {self.amount()}, {self.flag()}, "
            f"{self.document()}, {self.moment()}) on conflict do nothing"
        )

    def add_product(self, key):
        return (
            f"insert into products values ({key}, {self.word()}, {self.amount()}, {self.rng.randrange(1000)}, {self.description()}, "
            f"{self.flag()}, {self.document()}, {self.moment()}) on conflict do nothing"
        )

    def add_order(self, key):
        return (
            f"insert into orders select {key}, id, {literal(self.rng.choice(STATUS))}, {self.amount()}, {self.date()}, "
            f"{self.rng.choice(['true', 'false', 'null'])}, {self.text()}, {self.moment()} from customers "
            f"where id >= {self.customer()} order by id limit 1 on conflict do nothing"
        )

    def add_line(self, order, line):
        return (
            f"insert into order_items select o.id, {line}, p.id, {self.rng.randrange(1, 9)}, p.price, {self.flag()} "
            f"from orders o, products p where o.id = {order} and p.id = {self.product()} on conflict do nothing"
        )

    # Each of these is one transaction's statements.
    def place_order(self):
        key = self.order()
        lines = [self.add_line(key, line) for line in range(1, self.rng.randint(2, LINES))]
        return [
            self.add_order(key),
            *lines,
            f"update products p set in_stock = in_stock - i.quantity, updated_at = {self.moment()} "
            f"from order_items i where i.order_id = {key} and i.product_id = p.id",
        ]

    def advance_order(self):
        key = self.order()
        return [
            f"update orders set status = {literal(self.rng.choice(STATUS))}, paid = {self.flag()}, note = {self.text()}, total = "
            f"(select sum(quantity * unit_price) from order_items where order_id = {key}) where id = {key}"
        ]

    def change_customer(self):
        return [
            f"update customers set email = {self.text()}, credit = credit + {self.amount(1000)}, preferences = {self.document()}, "
            f"opted_in = not opted_in where id = {self.customer()}"
        ]

    def change_prices(self):
        first = self.product()
        return [
            f"update products set price = {self.amount()}, updated_at = {self.moment()} where id between {first} and {first + 5}"
        ]

    def describe_product(self):
        return [
            f"update products set description = {self.description()}, attributes = {self.document()} where id = {self.product()}"
        ]

    def new_keys(self):
        return [
            self.add_customer(self.customer()),
            self.add_product(self.product()),
            self.add_customer(self.customer()),
        ]

    def change_line(self):
        return [
            f"update order_items set quantity = quantity + 1, gift = null where order_id = {self.order()} and line_no = {self.line()}"
        ]

    def move_order(self):
        return [
            f"update orders set id = {self.order()} where id = {self.order()}"
        ]  # its lines follow; fails where the key lives

    def move_customer(self):
        return [f"update customers set id = {self.customer()} where id = {self.customer()}"]  # its orders are updated

    def swap_lines(self):
        key = self.order()
        return [
            f"update order_items set line_no = {new} where order_id = {key} and line_no = {old}"
            for old, new in ((1, 99), (2, 1), (99, 2))
        ]

    def delete_order(self):
        return [f"delete from orders where id = {self.order()}"]

    def delete_line(self):
        return [f"delete from order_items where order_id = {self.order()} and line_no = {self.line()}"]

    def delete_customer(self):
        return [f"delete from customers where id = {self.customer()}"]

    def delete_product(self):
        return [f"delete from products where id = {self.product()}"]

    def live_and_die(self):
        """One key written several times in one transaction."""
        key = self.customer()
        return [
            f"delete from customers where id = {key}",
            self.add_customer(key),
            f"update customers set credit = 0 where id = {key}",
            f"delete from customers where id = {key}",
            self.add_customer(key),
        ]

    def transaction(self):
        """Statements of one transaction, and whether it is rolled back."""
        kinds = {
            self.place_order: 30,
            self.advance_order: 15,
            self.change_customer: 10,
            self.change_prices: 5,
            self.describe_product: 5,
            self.new_keys: 10,
            self.change_line: 8,
            self.move_order: 6,
            self.move_customer: 2,
            self.swap_lines: 4,
            self.delete_order: 6,
            self.delete_line: 6,
            self.delete_customer: 2,
            self.delete_product: 1,
            self.live_and_die: 2,
        }
        chosen = self.rng.choices(list(kinds), weights=list(kinds.values()), k=self.rng.choice([1, 1, 2]))
        return [statement for kind in chosen for statement in kind()], self.rng.random() < 0.08

    def seed_rows(self):
        """What the tables hold before the connector's snapshot."""
        yield from (self.add_customer(key) for key in range(1, CUSTOMERS + 1, 2))
        yield from (self.add_product(key) for key in range(1, PRODUCTS + 1))
        for key in range(1, ORDERS + 1, 3):
            yield self.add_order(key)
            yield from (self.add_line(key, line) for line in range(1, 4))


class Session(threading.Thread):
    """One psql that runs transactions until told to stop, at a bounded pace."""

    def __init__(self, url, seed, log, transactions_per_second):
        super().__init__(daemon=True)
        self.author, self.pause = Author(seed), 1 / transactions_per_second
        self.stopping = threading.Event()
        self.statements = self.commits = self.rollbacks = 0
        with open(log, "wb") as errors:  # deadlocks, duplicate keys: part of the game, each rolls its transaction back
            self.psql = subprocess.Popen(
                ["psql", "-XAt", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.psql.stdin.write("set deadlock_timeout = '50ms';\n")

    def run(self):
        while not self.stopping.is_set():
            due = time.monotonic() + self.pause
            statements, rolled_back = self.author.transaction()
            end = "rollback" if rolled_back else "commit"
            self.psql.stdin.write(";\n".join(["begin", *statements, end]) + ";\nselect 'transaction over';\n")
            self.psql.stdin.flush()
            for line in self.psql.stdout:
                if line == "transaction over\n":
                    break
                self.commits += line == "COMMIT\n"
                self.rollbacks += line == "ROLLBACK\n"
            else:
                return  # psql ended; `finish` says so
            self.statements += len(statements)
            self.stopping.wait(max(0, due - time.monotonic()))

    def finish(self):
        """Stops and returns psql's exit code."""
        self.stopping.set()
        self.join()
        self.psql.stdin.close()
        return self.psql.wait()


class Workload:
    """Several sessions at once."""

    def __init__(self, url, seed, directory, sessions=4, transactions_per_second=60):
        self.sessions = [
            Session(url, f"{seed}/{n}", f"{directory}/session-{n}.log", transactions_per_second)
            for n in range(sessions)
        ]

    def start(self):
        for session in self.sessions:
            session.start()

    def statements(self):
        return sum(session.statements for session in self.sessions)

    def rollbacks(self):
        return sum(session.rollbacks for session in self.sessions)

    def running(self):
        return all(session.is_alive() for session in self.sessions)

    def finish(self):
        """True when each session worked until it was told to stop."""
        ran = self.running()
        return all(code == 0 for code in [session.finish() for session in self.sessions]) and ran
