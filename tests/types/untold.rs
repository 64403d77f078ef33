//! JSON without schema: what the column and the configured modes leave open is refused, and never lands as another value.

use crate::schema::connect;
use crate::silver::{Form, Silver};
use serde_json::json;
use silversink::config::{BinaryHandlingMode, DecimalHandlingMode, Table, TimePrecisionMode};
use silversink::decode::Decoded;
use silversink::fault::{Class, Code};

/// What becomes of a payload.
enum Fate {
    /// PostgreSQL's literal.
    Lands(&'static str),
    /// Part of the reason.
    Refused(&'static str),
}
use Fate::{Lands, Refused};

/// Column, payload, fate.
type Case = (&'static str, &'static str, Fate);

const KIND: &str = "of a kind that its schema does not announce";
const UNIT: &str = "counts milliseconds, microseconds or nanoseconds";
const RANGE: &str = "outside PostgreSQL's range";

/// Debezium's standard modes: precise, adaptive, bytes.
const STANDARD: &[Case] = &[
    // Decimals: the column tells the scale, or nobody does.
    ("numeric(10,2)", "\"AeJA\"", Lands("1234.56")),
    ("numeric(10,2)", "1234.56", Lands("1234.56")),
    ("numeric(10,2)", "\"1234.56\"", Refused("is not the encoding of bytes")),
    ("numeric", "\"AeJA\"", Refused("neither schema nor column tells its scale")),
    ("numeric", "{\"scale\":3,\"value\":\"AeJA\"}", Lands("123.456")),
    ("bigint", "\"AeJA\"", Refused(KIND)),
    ("integer", "\"AeJA\"", Refused(KIND)),
    ("double precision", "\"AeJA\"", Refused(KIND)),
    ("money", "\"AeJA\"", Lands("1234.56")),
    ("money", "\"1234.56\"", Refused("is not the encoding of bytes")),
    // Numbers: no more digits than the column's float can hold.
    ("real", "0.1", Lands("0.1")),
    ("real", "1.17549435E-38", Lands("1.17549435e-38")),
    ("real", "0.10000000149011612", Lands("0.1")),
    ("real", "0.1234567890123", Refused("is no 32-bit float")),
    ("double precision", "0.30000000000000004", Lands("0.30000000000000004")),
    ("double precision", "0.1234567890123456789", Refused("more digits than a 64-bit float")),
    ("double precision", "9007199254740993", Refused("no 64-bit float holds exactly")),
    ("smallint", "32768", Refused("out of the integer's range")),
    ("integer", "2026", Lands("2026")),
    ("oid", "-1", Refused("out of the integer's range")),
    ("boolean", "1", Refused(KIND)),
    ("text", "1", Refused(KIND)),
    // Counts since 1970: the column's digits stand for the source's, and what may be another unit is refused.
    ("timestamp(3)", "1772282096789", Lands("2026-02-28 12:34:56.789")),
    ("timestamp(3)", "1772282096789012", Refused(UNIT)),
    ("timestamp(3)", "1772282096789012000", Refused(UNIT)),
    ("timestamp(3)", "253402214400000", Lands("9999-12-31")),
    ("timestamp(3)", "9223372036825200", Lands("infinity")),
    ("timestamp", "1772282096789012", Lands("2026-02-28 12:34:56.789012")),
    ("timestamp", "1772282096789", Refused(UNIT)),
    ("timestamp", "1772282096789012000", Refused(UNIT)),
    ("timestamp", "0", Lands("1970-01-01")),
    ("timestamp", "1000000", Lands("1970-01-01 00:00:01")),
    ("timestamp", "-1", Lands("1969-12-31 23:59:59.999999")),
    ("timestamp", "253402214400000000", Lands("9999-12-31")),
    ("timestamp", "9223372036825200000", Lands("infinity")),
    ("timestamp", "-9223372036832400000", Lands("-infinity")),
    ("timestamp[]", "[1772282096789]", Refused(UNIT)),
    ("timestamptz", "1772282096789012", Refused(KIND)),
    ("timestamptz", "\"2026-02-28T12:34:56Z\"", Lands("2026-02-28 12:34:56+00")),
    // Text tells by itself what it is.
    ("timestamp", "\"2026-02-28T12:34:56Z\"", Lands("2026-02-28 12:34:56")),
    ("timestamp", "\"2026-02-28T12:34:56+02:00\"", Refused("ISO 8601")),
    ("date", "20512", Lands("2026-02-28")),
    ("date", "\"2026-02-28Z\"", Lands("2026-02-28")),
    ("date", "\"20512\"", Refused("ISO 8601")),
    ("date", "1772282096789", Refused(RANGE)),
    ("time(3)", "45296789", Lands("12:34:56.789")),
    ("time(3)", "45296789012", Refused(RANGE)),
    ("time", "45296789012", Lands("12:34:56.789012")),
    ("time", "45296789", Refused(UNIT)),
    ("time", "45296789012000", Refused(RANGE)),
    ("time", "0", Lands("00:00:00")),
    ("timetz", "45296789012", Refused(KIND)),
    ("interval", "14706789012", Lands("04:05:06.789012")),
    ("interval", "\"P1Y2M\"", Lands("1 year 2 mons")),
    // Bytes and what is written like them.
    ("bytea", "\"AP8=\"", Lands("\\x00ff")),
    ("bytea", "\"no!\"", Refused("is not the encoding of bytes")),
    ("bit(10)", "\"AQI=\"", Lands("1000000001")),
    ("bit(3)", "\"AQI=\"", Refused("more bits than the column")),
    ("bit varying", "\"BQ==\"", Lands("101")),
    ("words[]", "[\"YQ==\"]", Lands("{a}")),
    ("mood[]", "[\"ok\"]", Lands("{ok}")),
    // Texts.
    ("uuid", "\"no\"", Refused("is no UUID")),
    ("jsonb", "{\"a\":1}", Lands("{\"a\": 1}")),
    ("jsonb", "1", Refused(KIND)),
    ("text[]", "\"a,b\"", Lands("{a,b}")),
    ("integer[]", "\"1,2\"", Refused(KIND)),
    ("hstore", "{\"k\":null}", Lands("\"k\"=>NULL")),
];

const STRING_DECIMALS: &[Case] = &[
    ("numeric(10,2)", "\"1234.56\"", Lands("1234.56")),
    ("numeric(10,2)", "\"AeJA\"", Refused("is no decimal number")),
    ("numeric", "\"NAN\"", Lands("NaN")),
    ("money", "\"1234.56\"", Lands("1234.56")),
];

const MICROSECONDS: &[Case] = &[
    // Told, so taken at its word.
    ("timestamp", "1772282096789", Lands("1970-01-21 12:18:02.096789")),
    ("timestamp(3)", "1772282096789000", Lands("2026-02-28 12:34:56.789")),
    ("timestamp(3)", "1772282096789012", Refused("finer than the column")),
    ("time", "45296789", Lands("00:00:45.296789")),
];

const ADAPTIVE_TIME_MICROSECONDS: &[Case] = &[
    ("time(0)", "45000000", Lands("00:00:45")),
    ("time", "45296789", Lands("00:00:45.296789")),
    ("timestamp", "1772282096789", Refused(UNIT)),
];

const CONNECT: &[Case] = &[
    ("timestamp", "1772282096789", Lands("2026-02-28 12:34:56.789")),
    ("time", "45296789", Lands("12:34:56.789")),
];

const NANOSECONDS: &[Case] = &[
    ("timestamp", "1772282096789012000", Lands("2026-02-28 12:34:56.789012")),
    ("timestamp", "1772282096789012", Refused("finer than the column")),
    ("time", "45296789012000", Lands("12:34:56.789012")),
];

const HEX: &[Case] = &[
    ("bytea", "\"00ff\"", Lands("\\x00ff")),
    ("bytea", "\"AP8=\"", Refused("is not the encoding of bytes")),
    ("words[]", "[\"61\"]", Lands("{a}")),
];

async fn judge(silver: &mut Silver, cases: &[Case], settings: &Table) {
    for (ty, payload, fate) in cases {
        let types = [(*ty).to_owned()];
        let mut table = silver.table(&types, vec![connect("string")], Form::Plain, settings).await;
        let mut record = table.record(1, &[json!("@")]);
        // As it stands: a JSON value in between would round numbers.
        let text = String::from_utf8(record.value.take().unwrap()).unwrap();
        record.value = Some(text.replacen("\"@\"", payload, 1).into_bytes());
        match (table.decode(&record).unwrap(), fate) {
            ((decoded @ Decoded::Change(_), row), Lands(literal)) => {
                silver.write(&table, &[row], &[decoded]).await;
                let found = silver.rows(&format!("SELECT c0::text FROM {}", table.name)).await;
                let query = format!("SELECT '{literal}'::{ty}::text");
                assert_eq!(found, silver.rows(&query).await, "{payload} into {ty}");
            }
            ((Decoded::Poison(fault), _), Refused(reason)) => {
                assert_eq!((fault.class, fault.code), (Class::Poison, Code::ValueOutOfRange));
                assert!(fault.text.contains(reason), "{payload} into {ty}: {}", fault.text);
            }
            ((decoded, _), _) => panic!("{payload} into {ty}: {decoded:?}"),
        }
    }
}

#[tokio::test]
async fn what_nobody_tells_is_refused() {
    let mut silver = Silver::open().await;
    judge(&mut silver, STANDARD, &Table::default()).await;
    let string = Table { decimal_handling_mode: DecimalHandlingMode::String, ..Table::default() };
    judge(&mut silver, STRING_DECIMALS, &string).await;
    let hex = Table { binary_handling_mode: BinaryHandlingMode::Hex, ..Table::default() };
    judge(&mut silver, HEX, &hex).await;
    for (time_precision_mode, cases) in [
        (TimePrecisionMode::Microseconds, MICROSECONDS),
        (TimePrecisionMode::AdaptiveTimeMicroseconds, ADAPTIVE_TIME_MICROSECONDS),
        (TimePrecisionMode::Connect, CONNECT),
        (TimePrecisionMode::Nanoseconds, NANOSECONDS),
    ] {
        let settings = Table { time_precision_mode, ..Table::default() };
        judge(&mut silver, cases, &settings).await;
    }
}
