#!/usr/bin/env python3
"""Writes the records of connectors that were not captured: JSON with schema and Avro, beside the rows they must end in."""
import base64
import json
import shutil
import struct
from pathlib import Path

HERE = Path(__file__).parent
CONNECTORS = ["sqlserver", "db2", "oracle", "mongodb", "vitess", "spanner"]


def field(name, wire, optional=True, semantic=None, **parameters):
    return {"field": name, "type": wire, "optional": optional, "name": semantic,
            "parameters": {k: str(v) for k, v in parameters.items()}}


def group(name, fields, record, optional=False):
    return {"field": name, "type": "struct", "optional": optional, "name": record, "fields": fields, "parameters": {}}


def connect(f, top=False):
    out = {"type": f["type"], "optional": f["optional"]}
    if f["type"] == "struct":
        out["fields"] = [connect(x) for x in f["fields"]]
    if f["name"]:
        out["name"] = f["name"]
    if f["parameters"]:
        out["parameters"] = f["parameters"]
    if not top:
        out["field"] = f["field"]
    return out


AVRO = {"int16": "int", "int32": "int", "int64": "long", "string": "string", "boolean": "boolean", "bytes": "bytes",
        "double": "double"}


def avro(f, seen):
    if f["type"] == "struct":
        if f["name"] in seen:
            inner = f["name"]
        else:
            seen.add(f["name"])
            namespace, name = f["name"].rsplit(".", 1)
            inner = {"type": "record", "name": name, "namespace": namespace, "connect.name": f["name"],
                     "fields": [{"name": x["field"], "type": avro(x, seen)} for x in f["fields"]]}
    elif f["name"] or f["type"] == "int16":
        inner = {"type": AVRO[f["type"]]}
        if f["type"] == "int16":
            inner["connect.type"] = "int16"
        if f["name"]:
            inner["connect.name"] = f["name"]
        if f["parameters"]:
            inner["connect.parameters"] = f["parameters"]
    else:
        inner = AVRO[f["type"]]
    return ["null", inner] if f["optional"] else inner


def number(n):
    n = n << 1 ^ n >> 63
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def datum(f, value):
    if f["optional"]:
        return number(0) if value is None else number(1) + datum({**f, "optional": False}, value)
    if f["type"] == "struct":
        return b"".join(datum(x, value.get(x["field"])) for x in f["fields"])
    if f["type"] in ("int16", "int32", "int64"):
        return number(value)
    if f["type"] == "boolean":
        return b"\1" if value else b"\0"
    if f["type"] == "double":
        return struct.pack("<d", value)
    raw = value if isinstance(value, bytes) else value.encode()
    return number(len(raw)) + raw


def plain(f, value):
    if value is None:
        return None
    if f["type"] == "struct":
        return {x["field"]: plain(x, value.get(x["field"])) for x in f["fields"]}
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def write(connector, topic, key, value, records, expected):
    """`records`: (key, value, or None for a tombstone); offsets are dense from 0."""
    root = HERE / connector
    shutil.rmtree(root, ignore_errors=True)
    (root / "json").mkdir(parents=True)
    (root / "avro/schemas").mkdir(parents=True)
    # Ids differ between connectors, so that one registry can hold them all.
    of_key = 1 + 2 * sorted(CONNECTORS).index(connector)
    lines = {"json": [], "avro": []}
    for offset, (k, v) in enumerate(records):
        def framed(f, x):
            return json.dumps({"schema": connect(f, True), "payload": plain(f, x)}, separators=(",", ":")).encode()
        both = {"json": (framed(key, k), v and framed(value, v)),
                "avro": (b"\0" + struct.pack(">I", of_key) + datum(key, k), v and b"\0" + struct.pack(">I", of_key + 1) + datum(value, v))}
        for form, halves in both.items():
            k64, v64 = (b and base64.b64encode(b).decode() for b in halves)
            lines[form].append(json.dumps({"topic": topic, "partition": 0, "offset": offset,
                                           "timestamp": 1795245865831 + offset, "key": k64, "value": v64, "headers": []}))
    for form, text in lines.items():
        (root / form / "records.ndjson").write_text("\n".join(text) + "\n")
    for number_, part, f in ((of_key, "key", key), (of_key + 1, "value", value)):
        (root / f"avro/schemas/{number_}.json").write_text(json.dumps(
            {"subject": f"{topic}-{part}", "version": 1, "id": number_, "schema": json.dumps(avro(f, set()))}, indent=1) + "\n")
    (root / "expected.ndjson").write_text("".join(json.dumps(row) + "\n" for row in expected))


def table(topic, connector, key, columns, source, order=None):
    row = [*key, *columns]
    common = [field("version", "string", False), field("connector", "string", False), field("name", "string", False),
              field("ts_ms", "int64", False), field("snapshot", "string"), field("db", "string", False),
              field("sequence", "string"), field("ts_us", "int64")]
    fields = {"before": group("before", row, f"{topic}.Value", True), "after": group("after", row, f"{topic}.Value", True),
              "source": group("source", common + source, f"io.debezium.connector.{connector}.Source"),
              "op": field("op", "string", False), "ts_ms": field("ts_ms", "int64"),
              "transaction": group("transaction", [field("id", "string", False), field("total_order", "int64", False),
                                                   field("data_collection_order", "int64", False)], "event.block", True)}
    order = order or ["before", "after", "source", "transaction", "op", "ts_ms"]
    return group(None, key, f"{topic}.Key"), group(None, [fields[n] for n in order], f"{topic}.Envelope")


def events(connector, db, **constant):
    def event(op, before, after, ts, transaction=None, **own):
        return {"op": op, "before": before, "after": after, "ts_ms": ts + 5, "transaction": transaction, "source": {
            "version": "3.6.3.Final", "connector": connector, "name": "src", "ts_ms": ts, "ts_us": ts * 1000 + 7,
            "snapshot": "true" if op == "r" else "false", "db": db, **constant, **own}}
    return event


def expect(key, row, version, deleted=False):
    return {"key": key, "row": row, "version": version, "deleted": deleted}


def sqlserver():
    key, columns = [field("id", "int32", False)], [
        field("name", "string"), field("uid", "string", True), field("changed", "int64", True, "io.debezium.time.MicroTimestamp")]
    source = [field("schema", "string", False), field("table", "string", False), field("change_lsn", "string"),
              field("commit_lsn", "string"), field("event_serial_no", "int64")]
    topic = "src.shop.dbo.customers"
    schemas = table(topic, "sqlserver", key, columns, source)
    e = events("sqlserver", "shop", schema="dbo", table="customers")
    def row(id, name):
        return {"id": id, "name": name, "uid": "6f9619ff-8b86-d011-b42d-00c04fc964ff", "changed": 1795245865000123}
    a, b, c = "00000027:00000ac0:0002", "00000027:00000ac0:0003", "00000028:00000001:0001"
    records = [
        ({"id": 1}, e("r", None, row(1, "Ann"), 1000, commit_lsn=a, change_lsn="NULL")),
        ({"id": 2}, e("r", None, row(2, "Bob"), 1000, commit_lsn=a, change_lsn="NULL")),
        # Lsn.toString of a missing position.
        ({"id": 3}, e("r", None, row(3, "Cid"), 1000, commit_lsn="NULL", change_lsn="NULL")),
        ({"id": 1}, e("u", row(1, "Ann"), row(1, "Anna"), 3000, commit_lsn=c, change_lsn=c, event_serial_no=2)),
        ({"id": 2}, e("d", row(2, "Bob"), None, 3000, commit_lsn=c, change_lsn=c, event_serial_no=1)),
        ({"id": 2}, None),
        # Redelivered late: an older commit.
        ({"id": 1}, e("u", row(1, "Ann"), row(1, "old"), 2000, commit_lsn=b, change_lsn=b, event_serial_no=2)),
        # The same transaction as the update, and a lower change_lsn: the offset decides.
        ({"id": 1}, e("u", row(1, "Anna"), row(1, "Anne"), 3000, commit_lsn=c, change_lsn=b, event_serial_no=2)),
    ]
    number_ = lambda text: str(int(text.replace(":", ""), 16))
    write("sqlserver", topic, *schemas, records, [
        expect({"id": "1"}, {"name": "Anne", "uid": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
                             "changed": "2026-11-21 07:24:25.000123"}, [number_(c), 1, 0, 7]),
        expect({"id": "2"}, {}, [number_(c), 1, 0, 4], True),
        expect({"id": "3"}, {"name": "Cid"}, ["0", 0, 0, 2])])


def db2():
    key, columns = [field("ID", "int32", False)], [field("NAME", "string"), field("BORN", "int32", True, "io.debezium.time.Date")]
    source = [field("schema", "string", False), field("table", "string", False), field("change_lsn", "string"),
              field("commit_lsn", "string")]
    topic = "src.SHOP.CUSTOMERS"
    schemas = table(topic, "db2", key, columns, source)
    e = events("db2", "SHOP", schema="SHOP", table="CUSTOMERS")
    # IBMSNAP_COMMITSEQ has 16 bytes.
    a, b = "00000000:0000150f:0000000000048f58", "00000000:0000150f:0000000000049001"
    row = lambda id, name: {"ID": id, "NAME": name, "BORN": 7305}
    records = [
        ({"ID": 1}, e("r", None, row(1, "Ann"), 1000, commit_lsn="NULL")),
        ({"ID": 1}, e("u", row(1, "Ann"), row(1, "Anna"), 3000, commit_lsn=b, change_lsn=a)),
        ({"ID": 1}, e("u", row(1, "Ann"), row(1, "old"), 2000, commit_lsn=a, change_lsn=b)),
        ({"ID": 2}, e("c", None, row(2, "Bob"), 3000, commit_lsn=b, change_lsn=b)),
    ]
    number_ = lambda text: str(int(text.replace(":", ""), 16))
    write("db2", topic, *schemas, records, [
        expect({"ID": "1"}, {"NAME": "Anna", "BORN": "1990-01-01"}, [number_(b), 1, 0, 1]),
        expect({"ID": "2"}, {"NAME": "Bob"}, [number_(b), 1, 0, 3])])


def oracle():
    key = [field("ID", "int64", False)]
    columns = [field("NAME", "string"), field("CREATED", "int64", True, "io.debezium.time.Timestamp"),
               field("WAIT", "int64", True, "io.debezium.time.MicroDuration")]
    source = [field("schema", "string", False), field("table", "string", False), field("txId", "string"),
              field("scn", "string"), field("commit_scn", "string"), field("lcr_position", "string"), field("rs_id", "string"),
              field("ssn", "int64"), field("redo_thread", "int32"), field("user_name", "string"), field("row_id", "string")]
    topic = "src.SHOP.CUSTOMERS"
    schemas = table(topic, "oracle", key, columns, source)
    e = events("oracle", "ORCLPDB1", schema="SHOP", table="CUSTOMERS")
    row = lambda id, name: {"ID": id, "NAME": name, "CREATED": 1795245865000, "WAIT": 90000000}
    records = [
        ({"ID": 1}, e("r", None, row(1, "Ann"), 1000, scn="2122000")),
        ({"ID": 2}, e("r", None, row(2, "Bob"), 1000, scn="2122000")),
        # Its own scn is below the snapshot's: it was written before and committed after it.
        ({"ID": 1}, e("u", row(1, "Ann"), row(1, "Anna"), 2000, scn="2121900", commit_scn="2137150", txId="0a00")),
        ({"ID": 2}, e("u", row(2, "Bob"), row(2, "Bobby"), 3000, scn="2137160", commit_scn="18446744073709551000")),
        # As text it would be the greater one.
        ({"ID": 2}, e("u", row(2, "Bob"), row(2, "old"), 2500, scn="2137155", commit_scn="9999999")),
    ]
    write("oracle", topic, *schemas, records, [
        expect({"ID": "1"}, {"NAME": "Anna", "CREATED": "2026-11-21 07:24:25", "WAIT": "00:01:30"}, ["2137150", 1, 0, 2]),
        expect({"ID": "2"}, {"NAME": "Bobby"}, ["18446744073709551000", 1, 0, 3])])


def mongodb():
    topic = "src.shop.customers"
    document = lambda name: field(name, "string", True, "io.debezium.data.Json")
    description = group("updateDescription", [document("updatedFields")], "io.debezium.connector.mongodb.updatedescription", True)
    source = group("source", [
        field("version", "string", False), field("connector", "string", False), field("name", "string", False),
        field("ts_ms", "int64", False), field("snapshot", "string"), field("db", "string", False), field("sequence", "string"),
        field("ts_us", "int64"), field("collection", "string", False), field("ord", "int32", False), field("lsid", "string"),
        field("txnNumber", "int64"), field("wallTime", "int64")], "io.debezium.connector.mongo.Source")
    value = group(None, [document("before"), document("after"), description, source, field("op", "string"),
                         field("ts_ms", "int64")], f"{topic}.Envelope")
    key = group(None, [field("id", "string", False)], f"{topic}.Key")
    event = events("mongodb", "shop", collection="customers")
    def e(op, after, ts, ord, updated=None):
        return {**event(op, None, after, ts, ord=ord, wallTime=ts), "updateDescription": updated and {"updatedFields": updated}}
    id = lambda n: {"id": json.dumps({"$oid": f"{n:024x}"})}
    doc = lambda n, name: json.dumps({"_id": {"$oid": f"{n:024x}"}, "name": name, "tags": ["a", "\"b\""]})
    records = [
        (id(1), e("r", doc(1, "Ann"), 5000, 1)),
        (id(2), e("r", doc(2, "Bob"), 5000, 1)),
        # (ts_ms, ord) is below the snapshot's: only the topic's order is one.
        (id(1), e("u", doc(1, "Anna"), 4000, 0, json.dumps({"name": "Anna"}))),
        (id(2), e("d", None, 4000, 1)),
        (id(2), None),
    ]
    write("mongodb", topic, key, value, records, [
        expect(id(1), {"document": json.dumps(json.loads(doc(1, "Anna")))}, ["0", 1, 0, 2]),
        expect(id(2), {}, ["0", 1, 0, 3], True)])


def vitess():
    topic = "src.commerce.customers"
    source = [field("keyspace", "string", False), field("table", "string", False), field("shard", "string", False),
              field("vgtid", "string")]
    schemas = table(topic, "vitess", [field("id", "int64", False)], [field("name", "string")], source,
                    ["op", "source", "ts_ms", "after", "transaction", "before"])
    e = events("vitess", "", keyspace="commerce", table="customers", shard="-80")
    gtid = lambda n: json.dumps([{"keyspace": "commerce", "shard": "-80", "gtid": f"MySQL56/a790d864-9ba1-11ea-99f6-0242ac11000a:1-{n}"}])
    block = lambda n: {"id": gtid(n), "total_order": 1, "data_collection_order": 1}
    row = lambda id, name: {"id": id, "name": name}
    records = [
        ({"id": 1}, e("c", None, row(1, "Ann"), 2000, block(1513), vgtid=gtid(1513))),
        ({"id": 1}, e("u", row(1, "Ann"), row(1, "Anna"), 1000, block(1514), vgtid=gtid(1514))),
        ({"id": 2}, e("c", None, row(2, "Bob"), 2000, block(1515), vgtid=gtid(1515))),
        ({"id": 2}, e("d", row(2, "Bob"), None, 2000, block(1516), vgtid=gtid(1516))),
        ({"id": 2}, None),
    ]
    write("vitess", topic, *schemas, records, [
        expect({"id": "1"}, {"name": "Anna"}, ["0", 1, 0, 1]), expect({"id": "2"}, {}, ["0", 1, 0, 3], True)])


def spanner():
    topic = "src.customers"
    source = [field("project_id", "string", False), field("instance_id", "string", False), field("database_id", "string", False),
              field("change_stream_name", "string", False), field("table", "string"), field("server_transaction_id", "string"),
              field("low_watermark", "int64"), field("read_at_timestamp", "int64"), field("mod_number", "int32"),
              field("number_of_records_in_transaction", "int64"), field("partition_token", "string")]
    schemas = table(topic, "spanner", [field("id", "int64", False)], [field("name", "string"), field("score", "double")], source)
    e = events("spanner", "", project_id="p", instance_id="i", database_id="d", change_stream_name="all", table="customers")
    row = lambda id, name, score=1.5: {"id": id, "name": name, "score": score}
    records = [
        ({"id": 1}, e("c", None, row(1, "Ann"), 1000, sequence="00000001", server_transaction_id="MTc=", mod_number=0)),
        ({"id": 1}, e("u", row(1, "Ann"), row(1, "Anna", None), 1000, sequence="00000002", server_transaction_id="MTc=", mod_number=0)),
        ({"id": 2}, e("c", None, row(2, "Bob"), 1000, sequence="00000002", server_transaction_id="MTg=", mod_number=1)),
        ({"id": 2}, e("d", row(2, "Bob"), None, 2000, sequence="00000000", server_transaction_id="MTk=", mod_number=0)),
    ]
    write("spanner", topic, *schemas, records, [
        expect({"id": "1"}, {"name": "Anna", "score": None}, ["0", 1, 0, 1]), expect({"id": "2"}, {}, ["0", 1, 0, 3], True)])


for one in CONNECTORS:
    globals()[one]()
