//! What the other modes of decimals and bytes change.

use super::{Row, row, typed};

/// `decimal.handling.mode=string`.
pub const STRING_DECIMALS: &[Row] = &[
    row(
        "string",
        "text",
        "numeric",
        &[
            ("\"1.10\"", "1.10"),
            ("\"NAN\"", "NaN"),
            ("\"POSITIVE_INFINITY\"", "Infinity"),
            ("\"NEGATIVE_INFINITY\"", "-Infinity"),
            ("\"1E+20\"", "1E+20"),
        ],
    ),
    row(
        "string source.type=NUMERIC source.length=10 source.scale=2",
        "numeric(10,2)",
        "",
        &[("\"1234.56\"", "1234.56"), ("\"NAN\"", "NaN")],
    ),
    row(
        "string source.type=NUMERIC source.length=131089 source.scale=0",
        "numeric",
        "",
        &[("\"1234.5600\"", "1234.5600")],
    ),
    row("string", "text", "money", &[("\"1234.56\"", "1234.56")]),
    row("[string]", "text[]", "numeric[]", &[("[\"1.10\",\"NAN\"]", "{1.10,NaN}")]),
];

/// `decimal.handling.mode=double`, `time.precision.mode=microseconds`.
pub const DOUBLES_MICROSECONDS: &[Row] = &[
    row(
        "double",
        "double precision",
        "numeric",
        &[
            ("0.1", "0.1"),
            ("\"NaN\"", "NaN"),
            ("\"Infinity\"", "Infinity"),
            ("\"-Infinity\"", "-Infinity"),
        ],
    ),
    row("double", "double precision", "numeric(10,2)", &[("1234.56", "1234.56")]),
    row("int64 t.MicroTime", "time", "time(0)", &[("45296000000", "12:34:56")]),
    row(
        "int64 t.MicroTimestamp",
        "timestamp",
        "timestamp(3)",
        &[("1772282096789000", "2026-02-28 12:34:56.789")],
    ),
];

/// `binary.handling.mode=hex`.
pub const HEX: &[Row] = &[
    row("string", "text", "bytea", &[("\"deadbeef\"", "\\xdeadbeef"), ("\"\"", "")]),
    row("[string]", "text[]", "bytea[]", &[("[\"00ff\"]", "{\"\\\\x00ff\"}")]),
    row("string", "text", "pair", &[("\"28312c74776f29\"", "(1,two)")]),
];

/// `binary.handling.mode=base64`.
pub const BASE64: &[Row] = &[
    row("string", "text", "bytea", &[("\"3q2+7w==\"", "\\xdeadbeef")]),
    row("[string]", "text[]", "bytea[]", &[("[\"AP8=\"]", "{\"\\\\x00ff\"}")]),
    row("string", "text", "circle", &[("\"PCgxLDIpLDMuNT4=\"", "<(1,2),3.5>")]),
    typed("[string]", "text[]", "positive[]", &[("[\"MQ==\"]", "{1}")]),
];

/// `binary.handling.mode=base64-url-safe`.
pub const BASE64_URL: &[Row] = &[
    row("string", "text", "bytea", &[("\"3q2-7w==\"", "\\xdeadbeef")]),
    row("string", "text", "pg_lsn", &[("\"MTYvQjM3NEQ4NDg=\"", "16/B374D848")]),
];
