"""What a run of the test sets up around the worker, and how it is removed again."""

import re

from outside import destination_url, psql, source_url, tool, value, wait_until

SOURCE_DB, SILVER_DB = "system_source", "system_silver"
MAINTENANCE, SOURCE, SILVER = source_url("postgres"), source_url(SOURCE_DB), destination_url(SILVER_DB)
PARTITIONS = {"customers": 3, "products": 1, "orders": 3, "order_items": 3}

# The test's witness in the destination: every value that a position ever had, and when a partition changed hands.
OBSERVER = """
create schema observer;
create table observer.position (id bigserial, topic text, partition integer, next_offset bigint, owner_epoch bigint, owner text);
create function observer.record() returns trigger language plpgsql as $$ begin
  insert into observer.position (topic, partition, next_offset, owner_epoch, owner)
  values (new.topic, new.partition, new.next_offset, new.owner_epoch, new.owner);
  return null;
end $$;
create trigger observer after insert or update on silversink.position for each row execute function observer.record();
"""

CONFIG = """
name = "{name}"

[kafka]
bootstrap_servers = "{bootstrap}"
group_id = "{name}"

[kafka.properties]
"session.timeout.ms" = "6000"
"heartbeat.interval.ms" = "1000"

[registry]
url = "{registry}"

[postgres]
url = "{silver}"

[dlq]
topic = "{name}.dead"

[[route]]
topics = '^{name}\\.public\\.(?<table>.+)$'
table = 'silver.${{table}}'
format = "avro"

[http]
listen = "127.0.0.1:{port}"

[log]
format = "json"
"""


def clean_up():
    """Removes what any run of this test left on the stack."""
    for connector in re.findall(r'"(system_\d+)"', tool("connect", "status")):
        tool("connect", "delete", connector)
    # the task ends after its deletion was answered, and only then is the slot free
    slots = r"from pg_replication_slots where slot_name like 'system\_%'"
    wait_until("earlier slots are free", 60, lambda: value(MAINTENANCE, f"select count(*) {slots} and active") == "0")
    psql(
        MAINTENANCE,
        f"select pg_drop_replication_slot(slot_name) {slots}",
        f"drop database if exists {SOURCE_DB} with (force)",
    )
    psql(destination_url("postgres"), f"drop database if exists {SILVER_DB} with (force)")
    if groups := [group for group in tool("groups", "--list").split() if group.startswith("system_")]:
        tool("groups", "--delete", *[word for group in groups for word in ("--group", group)], check=False)
    if any(topic.startswith("system_") for topic in tool("topics", "--list").split()):
        tool("topics", "--delete", "--topic", "system_.*")
