//! Decimals and arrays.

use super::{Row, row, typed};

pub const NUMBERS: &[Row] = &[
    row(
        "bytes k.Decimal scale=2 connect.decimal.precision=10",
        "numeric(10,2)",
        "",
        &[("\"AeJA\"", "1234.56"), ("\"/w==\"", "-0.01"), ("\"AA==\"", "0.00")],
    ),
    row(
        "bytes k.Decimal scale=2",
        "numeric",
        "money",
        &[("\"AeJA\"", "1234.56"), ("\"/w==\"", "-0.01")],
    ),
    typed(
        "bytes k.Decimal scale=3 connect.decimal.precision=8",
        "numeric(8,3)",
        "price",
        &[("\"AeJA\"", "123.456")],
    ),
    typed(
        "bytes k.Decimal scale=2 connect.decimal.precision=10",
        "numeric(10,2)",
        "numeric",
        &[("\"AeJA\"", "1234.56")],
    ),
    typed(
        "bytes k.Decimal scale=0 connect.decimal.precision=18",
        "numeric(18,0)",
        "bigint",
        &[("\"AeJA\"", "123456"), ("\"/w==\"", "-1"), ("\"AA==\"", "0")],
    ),
    typed(
        "bytes k.Decimal scale=0 connect.decimal.precision=9",
        "numeric(9,0)",
        "integer",
        &[("\"AeJA\"", "123456")],
    ),
    typed(
        "bytes k.Decimal scale=0 connect.decimal.precision=4",
        "numeric(4,0)",
        "smallint",
        &[("\"Jw8=\"", "9999")],
    ),
    // MySQL's unsigned bigint: nobody tells the precision.
    typed(
        "bytes k.Decimal scale=0",
        "numeric",
        "",
        &[("\"AP//////////\"", "18446744073709551615")],
    ),
    typed(
        "bytes k.Decimal scale=0",
        "numeric",
        "bigint",
        &[
            ("\"f/////////8=\"", "9223372036854775807"),
            ("\"/4AAAAAAAAAA\"", "-9223372036854775808"),
        ],
    ),
    row(
        "struct d.VariableScaleDecimal",
        "numeric",
        "",
        &[
            ("{\"scale\":3,\"value\":\"AeJA\"}", "123.456"),
            ("{\"scale\":0,\"value\":\"AP//////////\"}", "18446744073709551615"),
            ("{\"scale\":-2,\"value\":\"IA==\"}", "3200"),
        ],
    ),
    row("int32 t.Year", "integer", "", &[("2026", "2026"), ("-44", "-44")]),
    row("int32 t.Year", "integer", "smallint", &[("2155", "2155")]),
];

pub const ARRAYS: &[Row] = &[
    row("[boolean]", "boolean[]", "", &[("[true,null]", "{t,NULL}")]),
    row("[int16]", "smallint[]", "", &[("[1,-2]", "{1,-2}"), ("[]", "{}")]),
    row("[int32]", "integer[]", "", &[("[1,null,-3]", "{1,NULL,-3}")]),
    row("[int64]", "bigint[]", "", &[("[9223372036854775807]", "{9223372036854775807}")]),
    row("[float]", "real[]", "", &[("[0.1,\"NaN\"]", "{0.1,NaN}")]),
    row("[double]", "double precision[]", "", &[("[\"-Infinity\",0.1]", "{-Infinity,0.1}")]),
    row(
        "[string]",
        "text[]",
        "",
        &[("[\"a\",null,\"NULL\",\"q\\\"\"]", "{a,NULL,\"NULL\",\"q\\\"\"}")],
    ),
    row("[string]", "text[]", "character varying(5)[]", &[("[\"abcde\"]", "{abcde}")]),
    row("[string]", "text[]", "citext[]", &[("[\"A b\"]", "{\"A b\"}")]),
    row("[string]", "text[]", "inet[]", &[("[\"::1\",null]", "{::1,NULL}")]),
    row("[string]", "text[]", "int4range[]", &[("[\"[1,3)\"]", "{\"[1,3)\"}")]),
    row("[bytes]", "bytea[]", "", &[("[\"AP8=\",null]", "{\"\\\\x00ff\",NULL}")]),
    row("[int32 t.Date]", "date[]", "", &[("[20512,-2147472692]", "{2026-02-28,infinity}")]),
    row("[int32 t.Time]", "time(3)[]", "", &[("[45296789]", "{12:34:56.789}")]),
    row("[int64 t.MicroTime]", "time[]", "", &[("[45296789012]", "{12:34:56.789012}")]),
    row(
        "[int64 t.MicroTimestamp]",
        "timestamp[]",
        "",
        &[("[1772282096789012,null]", "{\"2026-02-28 12:34:56.789012\",NULL}")],
    ),
    row(
        "[string t.ZonedTimestamp]",
        "timestamptz[]",
        "",
        &[("[\"2026-02-28T12:34:56Z\",\"infinity\"]", "{\"2026-02-28 12:34:56+00\",infinity}")],
    ),
    row("[string t.ZonedTime]", "timetz[]", "", &[("[\"12:34:56Z\"]", "{12:34:56+00}")]),
    row("[string t.Interval]", "interval[]", "", &[("[\"P1Y2M\"]", "{\"1 year 2 mons\"}")]),
    row(
        "[struct t.StructuredTimestamp]",
        "timestamp[]",
        "",
        &[(
            "[{\"year\":2026,\"month\":2,\"day\":28,\"hour\":1,\"minute\":2,\"second\":3}]",
            "{\"2026-02-28 01:02:03\"}",
        )],
    ),
    row(
        "[string d.Uuid]",
        "uuid[]",
        "",
        &[("[\"0b8a35a7-17ad-45b3-af2a-ae46edb4545a\"]", "{0b8a35a7-17ad-45b3-af2a-ae46edb4545a}")],
    ),
    row(
        "[string d.Json]",
        "jsonb[]",
        "",
        &[("[\"{\\\"a\\\": 1}\",null]", "{\"{\\\"a\\\": 1}\",NULL}")],
    ),
    row(
        "[string d.Enum]",
        "text[]",
        "mood[]",
        &[("[\"ok\",null,\"very happy\"]", "{ok,NULL,\"very happy\"}")],
    ),
    row("[string d.Ltree]", "text[]", "ltree[]", &[("[\"a.b\"]", "{a.b}")]),
    row(
        "[bytes k.Decimal scale=2 connect.decimal.precision=10]",
        "numeric(10,2)[]",
        "",
        &[("[\"AeJA\",null]", "{1234.56,NULL}")],
    ),
    row(
        "[struct d.VariableScaleDecimal]",
        "numeric[]",
        "",
        &[("[{\"scale\":3,\"value\":\"AeJA\"}]", "{123.456}")],
    ),
    row(
        "[{string}]",
        "jsonb[]",
        "hstore[]",
        &[("[{\"k\":\"v\"},null]", "{\"\\\"k\\\"=>\\\"v\\\"\",NULL}")],
    ),
    row(
        "[string d.Json]",
        "jsonb[]",
        "hstore[]",
        &[("[\"{\\\"k\\\":\\\"v\\\"}\"]", "{\"\\\"k\\\"=>\\\"v\\\"\"}")],
    ),
    typed(
        "[struct g.Geometry]",
        "bytea[]",
        "",
        &[(
            "[{\"wkb\":\"AQEAACDmEAAAAAAAAAAA+D8AAAAAAAACwA==\",\"srid\":4326}]",
            "{\"\\\\x0101000020e6100000000000000000f83f00000000000002c0\"}",
        )],
    ),
    row("[struct g.Point]", "point[]", "", &[("[{\"x\":1.0,\"y\":2.0}]", "{\"(1,2)\"}")]),
];
