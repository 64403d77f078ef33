//! Domains: each takes what its base type takes.

use super::{Row, row, typed};

/// What the rows name.
pub const DOMAIN_TYPES: &str = "
    CREATE DOMAIN words AS text; CREATE DOMAIN short AS varchar(5); CREATE DOMAIN padded AS char(4);
    CREATE DOMAIN moment AS timestamp(3); CREATE DOMAIN instant AS timestamptz; CREATE DOMAIN day AS date;
    CREATE DOMAIN clock AS time; CREATE DOMAIN span AS interval; CREATE DOMAIN amount AS double precision;
    CREATE DOMAIN octets AS bytea; CREATE DOMAIN identity AS uuid; CREATE DOMAIN document AS jsonb;
    CREATE DOMAIN feeling AS mood; CREATE DOMAIN feelings AS mood[]; CREATE DOMAIN numbers AS integer[];
    CREATE DOMAIN flags AS bit(10); CREATE DOMAIN host AS inet; CREATE DOMAIN ages AS int4range;
    CREATE DOMAIN attributes AS hstore; CREATE DOMAIN branch AS ltree; CREATE DOMAIN spot AS point;
    CREATE DOMAIN cost AS money; CREATE DOMAIN couple AS pair; CREATE DOMAIN few AS positive CHECK (VALUE < 10);";

pub const DOMAINS: &[Row] = &[
    row("string", "text", "words", &[("\"a b\"", "a b")]),
    row("string", "text", "short", &[("\"fünf5\"", "fünf5")]),
    row("string", "text", "padded", &[("\"ab  \"", "ab")]),
    row(
        "int64 t.Timestamp",
        "timestamp(3)",
        "moment",
        &[("1772282096789", "2026-02-28 12:34:56.789")],
    ),
    row("string t.ZonedTimestamp", "timestamptz", "instant", &[("\"infinity\"", "infinity")]),
    row(
        "int32 t.Date",
        "date",
        "day",
        &[("-735160", "0044-03-15 BC"), ("-2147472692", "infinity")],
    ),
    row("int64 t.MicroTime", "time", "clock", &[("86400000000", "24:00:00")]),
    row("string t.Interval", "interval", "span", &[("\"P1Y2M\"", "1 year 2 mons")]),
    row(
        "double",
        "double precision",
        "amount",
        &[("\"NaN\"", "NaN"), ("\"-Infinity\"", "-Infinity")],
    ),
    row("bytes", "bytea", "octets", &[("\"AP8=\"", "\\x00ff")]),
    row(
        "string d.Uuid",
        "uuid",
        "identity",
        &[("\"0b8a35a7-17ad-45b3-af2a-ae46edb4545a\"", "0b8a35a7-17ad-45b3-af2a-ae46edb4545a")],
    ),
    row("string d.Json", "jsonb", "document", &[("\"{\\\"a\\\": 1}\"", "{\"a\": 1}")]),
    row("string d.Enum allowed=sad,ok", "text", "feeling", &[("\"very happy\"", "very happy")]),
    row("[string d.Enum]", "text[]", "feelings", &[("[\"ok\",null]", "{ok,NULL}")]),
    row("[int32]", "integer[]", "numbers", &[("[1,null]", "{1,NULL}"), ("[]", "{}")]),
    row("bytes d.Bits length=10", "bit(10)", "flags", &[("\"AQI=\"", "1000000001")]),
    row("string source.type=INET", "inet", "host", &[("\"::1\"", "::1")]),
    row("string source.type=INT4RANGE", "int4range", "ages", &[("\"[1,10)\"", "[1,10)")]),
    row("string d.Json", "jsonb", "attributes", &[("\"{\\\"a\\\":\\\"1\\\"}\"", "\"a\"=>\"1\"")]),
    row("{string}", "jsonb", "attributes", &[("{\"k\":null}", "\"k\"=>NULL")]),
    row("string d.Ltree", "text", "branch", &[("\"a.b\"", "a.b")]),
    row("struct g.Point", "point", "spot", &[("{\"x\":1.5,\"y\":-2.25}", "(1.5,-2.25)")]),
    row("bytes k.Decimal scale=2", "numeric", "cost", &[("\"AeJA\"", "1234.56")]),
    row("bytes", "bytea", "couple", &[("\"KDEsdHdvKQ==\"", "(1,two)")]),
    row("int32", "integer", "few", &[("7", "7")]),
    typed(
        "bytes k.Decimal scale=3 connect.decimal.precision=8",
        "numeric(8,3)",
        "price",
        &[("\"AeJA\"", "123.456")],
    ),
];
