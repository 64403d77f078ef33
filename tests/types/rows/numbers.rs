//! Decimals.

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
