//! What cannot land without loss: before the first row where the schema tells, else as poison with its reason.

use crate::schema::connect;
use crate::silver::{FORMS, Form, Silver};
use serde_json::Value;
use silversink::config::{Table, TimePrecisionMode};
use silversink::decode::plan::Mismatch;
use silversink::fault::{Class, Code};

/// Schema, column, and what the reason says.
const NARROWER: &[(&str, &str, &str)] = &[
    ("int64", "integer", "its natural type is bigint"),
    ("double", "real", "its natural type is double precision"),
    ("bytes k.Decimal scale=3 connect.decimal.precision=10", "numeric(10,2)", "numeric(10,3)"),
    ("bytes k.Decimal scale=0 connect.decimal.precision=19", "bigint", "numeric(19,0)"),
    ("bytes k.Decimal scale=0", "integer", "its natural type is numeric"),
    ("struct d.VariableScaleDecimal", "numeric(20,5)", "no limit of digits"),
    ("string source.type=VARCHAR source.length=40", "character varying(39)", "up to 40 characters"),
    (
        "string source.type=TEXT source.length=2147483647",
        "character varying(10)",
        "no limit of length",
    ),
    ("string source.type=NUMERIC source.length=10 source.scale=2", "numeric(9,2)", "numeric(10,2)"),
    ("int64 t.MicroTimestamp", "timestamp(3)", "time_precision_mode"),
    ("int64 t.MicroTime", "time(3)", "time_precision_mode"),
    ("struct t.StructuredTimestampPrecision6", "timestamp(3)", "6 digits of a second"),
    ("string t.ZonedTimestamp", "timestamp", "its natural type is timestamptz"),
    ("int64 t.Timestamp", "timestamptz", "its natural type is timestamp(3)"),
    ("struct t.StructuredZonedTime", "time", "StructuredZonedTime"),
    ("bytes d.Bits length=9", "bit(8)", "its natural type is bit(9)"),
    ("bytes d.Bits length=9", "bit(10)", "its natural type is bit(9)"),
    (
        "bytes d.Bits length=5 source.type=VARBIT source.length=5",
        "bit(5)",
        "its natural type is varbit(5)",
    ),
    ("bytes d.Bits length=3", "bit(3)[]", "cannot read arrays of bits"),
    ("bytes d.Bits length=3 source.type=_BIT source.length=3", "bit(3)[]", "column.exclude.list"),
    ("bytes d.Bits length=3 source.type=_BIT source.length=3", "bit(3)", "columns.NAME.type"),
    ("[bytes k.Decimal scale=3]", "money[]", "array"),
    ("bytes k.Decimal scale=3", "money", "its natural type is numeric"),
    ("string d.EnumSet allowed=a,b", "integer[]", "its natural type is text[]"),
    ("struct g.Circle", "box", "its natural type is circle"),
    ("struct g.Line", "text", "its natural type is line"),
    ("[double] d.DoubleVector", "real[]", "its natural type is double precision"),
    ("{string}", "text", "its natural type is jsonb"),
    ("string t.Interval", "interval year to month", "restricted fields"),
];

#[tokio::test]
async fn a_narrower_column_is_refused_before_the_first_row() {
    let mut silver = Silver::open().await;
    for (schema, ty, reason) in NARROWER {
        for form in [Form::Avro, Form::Json] {
            let mut table = silver
                .table(&[(*ty).to_owned()], vec![connect(schema)], form, &Table::default())
                .await;
            let mismatches = table.decode(&table.record(1, &[Value::Null])).unwrap_err();
            match mismatches.as_slice() {
                [Mismatch::TypeMismatch { column, reason: found, .. }] if column == "c0" => {
                    assert!(found.contains(reason), "{schema} into {ty}: {found}");
                }
                // The same refusal, of which the lane may relieve itself.
                [Mismatch::Widening { column, to, .. }] if column == "c0" => {
                    assert_ne!(to.sql_type, *ty);
                }
                other => panic!("{schema} into {ty}: {other:?}"),
            }
        }
    }
}

/// Schema, column, payload, and the reason.
const POISON: &[(&str, &str, &str, &str)] = &[
    ("string", "character varying(3)", "\"four\"", "is longer than the column"),
    ("string", "numeric(10,2)", "\"1.001\"", "more digits after the point"),
    ("string", "numeric(10,2)", "\"POSITIVE_INFINITY\"", "more digits before the point"),
    ("double", "numeric(10,2)", "0.125", "more digits after the point"),
    ("bytes k.Decimal scale=0", "bigint", "\"AP//////////\"", "out of the integer's range"),
    ("int32 t.Year", "smallint", "40000", "out of the integer's range"),
    ("int64 source.type=OID", "oid", "-1", "out of the integer's range"),
    ("int32 t.Date", "date", "2147483647", "outside PostgreSQL's range"),
    ("int64 t.MicroTime", "time", "-1", "outside PostgreSQL's range"),
    ("int64 t.NanoTime", "time", "45296789012001", "finer than the column"),
    ("int64 t.NanoTimestamp", "timestamp", "1772282096789012001", "finer than the column"),
    ("int64 t.NanoDuration", "interval", "1", "finer than the column"),
    ("int64 t.MicroDuration", "interval", "9223372036854775807", "outside PostgreSQL's range"),
    (
        "string t.ZonedTimestamp",
        "timestamptz",
        "\"2026-02-28T12:34:56.1234567Z\"",
        "finer than microseconds",
    ),
    (
        "string t.ZonedTimestamp",
        "timestamptz(0)",
        "\"2026-02-28T12:34:56.5Z\"",
        "finer than the column",
    ),
    (
        "struct t.StructuredTime",
        "time",
        "{\"hour\":1,\"minute\":2,\"second\":3,\"nanos\":1}",
        "finer than microseconds",
    ),
    (
        "struct t.StructuredDate",
        "date",
        "{\"year\":0,\"month\":0,\"day\":0}",
        "no date of the calendar",
    ),
    ("struct t.StructuredTime", "time", "{\"specialValue\":\"POSITIVE_INFINITY\"}", "infinite"),
    (
        "struct t.StructuredZonedTimestamp",
        "timestamptz",
        "{\"year\":2026,\"month\":2,\"day\":28,\"hour\":1,\"minute\":2,\"second\":3,\"zoneId\":\"Europe/Berlin\"}",
        "names a time zone without its offset",
    ),
    ("struct g.Point", "point", "{\"x\":1.0,\"y\":2.0,\"srid\":4326}", "has an SRID"),
    (
        "struct g.Geometry",
        "box",
        "{\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAALA\"}",
        "geometry of another kind",
    ),
    (
        "struct g.Geometry",
        "bytea",
        "{\"wkb\":\"AQIAAAADAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPg/AAAAAAAAAEAAAAAAAAAIQAAAAAAAAAAA\",\"extensions\":{\"type\":\"path\",\"closed\":\"true\"}}",
        "is a closed path",
    ),
    (
        "struct g.Geometry",
        "bytea",
        "{\"wkb\":\"AQEAACDmEAAAAAAAAAAA+D8AAAAAAAACwA==\",\"srid\":3857}",
        "two SRIDs",
    ),
    ("[double] d.DoubleVector", "vector", "[0.1234567890123]", "would round"),
    ("[float] d.FloatVector", "halfvec", "[0.1]", "would round"),
    ("[string]", "text[]", "[\"[Ljava.lang.String;@4c313097\"]", "array of arrays"),
    ("string", "money", "\"1.001\"", "more than two digits"),
    ("double", "money", "0.125", "more than two digits"),
    ("string d.Uuid", "uuid", "\"no\"", "is no UUID"),
    ("struct g.Geometry", "geometry", "{\"wkb\":\"AQEAAAAAAAAAAADwPw==\"}", "well-formed WKB"),
    (
        "struct g.Geometry",
        "geometry",
        "{\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAABAAA==\"}",
        "well-formed WKB",
    ),
    (
        "struct g.Geometry",
        "geometry",
        "{\"wkb\":\"AWMAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "well-formed WKB",
    ),
    (
        "struct g.Geometry",
        "geometry",
        "{\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAABA\",\"srid\":998999999}",
        "SRID beyond 998999",
    ),
    (
        "struct g.Geometry",
        "geometry",
        "{\"wkb\":\"AQEAACA/Qg8AAAAAAAAA8D8AAAAAAAAAQA==\"}",
        "SRID beyond 998999",
    ),
    (
        "struct g.Geography",
        "geography",
        "{\"wkb\":\"AQEAAAAAAAAAAABpQAAAAAAAACRA\"}",
        "longitude beyond 180",
    ),
    ("string d.Json", "jsonb", "\"{\"", "is no JSON"),
];

#[tokio::test]
async fn a_value_that_would_lose_something_is_poison_with_its_reason() {
    let mut silver = Silver::with_extensions().await;
    for (schema, ty, payload, reason) in POISON {
        let time_precision_mode = if schema.contains(".Nano") {
            TimePrecisionMode::Nanoseconds
        } else {
            TimePrecisionMode::Adaptive
        };
        let settings = Table { time_precision_mode, ..Table::default() };
        for form in FORMS {
            // Only a schema tells these: without one text is base64, and a count is of microseconds.
            let untold = schema.contains("NanoDuration")
                || schema.contains("Decimal scale=0")
                || ty.starts_with("numeric")
                || (*ty == "money" && payload.starts_with('"'));
            if form == Form::Plain && untold {
                continue;
            }
            let mut table =
                silver.table(&[(*ty).to_owned()], vec![connect(schema)], form, &settings).await;
            let payload: Value = serde_json::from_str(payload).unwrap();
            let fault = table.poison(&table.record(1, &[payload]));
            assert_eq!(
                (fault.class, fault.code),
                (Class::Poison, Code::ValueOutOfRange),
                "{schema} {form:?}"
            );
            assert!(fault.text.contains(reason), "{schema} into {ty} in {form:?}: {}", fault.text);
        }
    }
}

#[tokio::test]
async fn arrays_of_bits_are_refused_until_their_null_is_accepted() {
    let mut silver = Silver::open().await;
    // A column that is to be created has no type either, where the source's type is told.
    let told = connect("bytes d.Bits length=3 source.type=_BIT source.length=3");
    let mut table = silver.table(&[], vec![told], Form::Avro, &Table::default()).await;
    let refused = table.decode(&table.record(1, &[Value::Null])).unwrap_err();
    let [Mismatch::TypeMismatch { reason, .. }] = refused.as_slice() else { panic!("{refused:?}") };
    assert!(reason.contains("\"c0\" is missing, and the PostgreSQL connector"), "{reason}");
    let accepted = Table {
        column_types: [("c0".to_owned(), "bit(3)[]".to_owned())].into(),
        ..Table::default()
    };
    for form in FORMS {
        let types = ["bit(3)[]".to_owned()];
        let schema = || vec![connect("bytes d.Bits length=3")];
        let mut table = silver.table(&types, schema(), form, &Table::default()).await;
        let refused = table.decode(&table.record(1, &[Value::Null])).unwrap_err();
        let [Mismatch::TypeMismatch { reason, wanted_sql_type: None, .. }] = refused.as_slice()
        else {
            panic!("{form:?}: {refused:?}")
        };
        assert!(reason.contains("column \"c0\"") && reason.contains("sends NULL"), "{reason}");
        let mut table = silver.table(&types, schema(), form, &accepted).await;
        let (decoded, row) = table.decode(&table.record(1, &[Value::Null])).unwrap();
        silver.write(&table, &[row], &[decoded]).await;
        assert_eq!(silver.rows(&format!("SELECT c0::text FROM {}", table.name)).await, [[None]]);
    }
}
