//! Numbers, doubled and unknown fields, and depth in JSON records.

use super::capture::Worker;
use super::tables::{fields, json, shape};
use crate::decode::Decoded;
use crate::fault::{Class, Code, Fault};
use crate::table::TableShape;
use std::collections::HashMap;
use std::sync::Arc;

fn table() -> Arc<TableShape> {
    let columns = [
        ("id", "bigint"),
        ("n", "numeric"),
        ("i", "bigint"),
        ("d", "double precision"),
        ("j", "jsonb"),
        ("a", "text"),
    ];
    Arc::new(shape("t", &columns, &["id"]))
}

fn worker() -> Worker {
    Worker::new(table(), HashMap::new())
}

/// The encoded field of one column of a flattened row, or the fault.
fn field(column: usize, value: &str) -> Result<Option<Vec<u8>>, Fault> {
    let name = &table().columns[column].name;
    let mut worker = worker();
    let record = json(0, r#"{"id":1}"#, &format!(r#"{{"id":1,"{name}":{value}}}"#));
    match worker.decode(&record) {
        Decoded::Change(_) => Ok(fields(&worker.change(&record).body)[column].clone()),
        Decoded::Poison(fault) => Err(fault),
        other => panic!("{other:?}"),
    }
}

/// PostgreSQL's binary `numeric` as text without an exponent (`numeric_send`).
fn numeric(bytes: &[u8]) -> String {
    let words: Vec<i16> =
        bytes.as_chunks::<2>().0.iter().map(|word| i16::from_be_bytes(*word)).collect();
    let (weight, scale) = (words[1], usize::try_from(words[3]).unwrap());
    let digit = |at: i16| usize::try_from(at).ok().and_then(|at| words.get(4 + at)).copied();
    let group = |place: i16| format!("{:04}", digit(weight - place).unwrap_or(0));
    let whole: String = (0..=weight.max(0)).rev().map(group).collect();
    let whole = whole.trim_start_matches('0');
    let fraction: String =
        (1..=i16::try_from(scale.div_ceil(4)).unwrap()).map(|n| group(-n)).collect();
    let sign = if words[2] == 0x4000 { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{}", &fraction[..scale])
}

#[test]
fn numbers_reach_numeric_and_jsonb_digit_by_digit() {
    let long = "1234567890".repeat(40);
    let small = format!("-0.{}1", "0".repeat(399));
    let exact = [
        long.as_str(),
        small.as_str(),
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "0.1000",
        "123456789012345678901234567890.12345678901234567890",
    ];
    for text in exact {
        assert_eq!(numeric(&field(1, text).unwrap().unwrap()), text);
        // The connector writes JSON columns as text.
        let jsonb = field(4, &format!("\"{text}\"")).unwrap().unwrap();
        assert_eq!(std::str::from_utf8(&jsonb).unwrap(), format!("\u{1}{text}"));
    }
    assert_eq!(numeric(&field(1, "1e400").unwrap().unwrap()), format!("1{}", "0".repeat(400)));
    assert_eq!(
        numeric(&field(1, "-0").unwrap().unwrap()),
        "0",
        "PostgreSQL has no negative zero here"
    );
    assert_eq!(numeric(&field(1, "1.5e3").unwrap().unwrap()), "1500");
}

#[test]
fn a_number_that_its_column_cannot_hold_is_poison() {
    for (column, text) in [
        (2, "9223372036854775808"),
        (2, "-9223372036854775809"),
        (2, "1e400"),
        (2, "0.5"),
        (3, "1e400"),
        (3, "-1e400"),
    ] {
        let fault = field(column, text).unwrap_err();
        assert_eq!((fault.class, fault.code), (Class::Poison, Code::ValueOutOfRange), "{text}");
    }
    assert_eq!(field(2, "-9223372036854775808"), Ok(Some(i64::MIN.to_be_bytes().to_vec())));
    assert_eq!(field(3, "-0"), Ok(Some((-0.0_f64).to_be_bytes().to_vec())));
    assert_eq!(field(3, "0.1"), Ok(Some(0.1_f64.to_be_bytes().to_vec())));
    // Numbers of JSON's grammar alone.
    for text in ["01", "+1", "1.", ".5", "0x10", "NaN", "Infinity", "1e", "--1"] {
        assert_eq!(field(1, text).unwrap_err().code, Code::Undecodable, "{text}");
    }
}

fn verdict(worker: &mut Worker, key: &str, value: &str) -> Option<Code> {
    match worker.decode(&json(0, key, value)) {
        Decoded::Change(_) => None,
        Decoded::Poison(fault) => Some(fault.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_field_that_stands_twice_is_poison() {
    let source = r#"{"connector":"postgresql","lsn":5,"sequence":"[\"1\",\"5\"]"}"#;
    let envelope = |more: &str| {
        format!(r#"{{"before":null,"after":{{"id":1,"a":"x"}},"source":{source},"op":"c"{more}}}"#)
    };
    let key = r#"{"id":1}"#;
    let of = |key: &str, value: &str| verdict(&mut worker(), key, value);
    assert_eq!(of(key, &envelope("")), None);
    for more in [
        r#","op":"d""#,
        r#","before":null"#,
        r#","after":{"id":1}"#,
        r#","after":null"#,
        r#","source":{"connector":"postgresql"}"#,
        r#","ts_ms":1,"ts_ms":1"#,
    ] {
        assert_eq!(of(key, &envelope(more)), Some(Code::Undecodable), "{more}");
    }
    assert_eq!(of(key, &envelope(r#","colour":1,"colour":2"#)), None, "of no meaning here");
    assert_eq!(of(key, r#"{"id":1,"a":"x","a":"x"}"#), Some(Code::Undecodable));
    assert_eq!(of(key, r#"{"id":1,"a":null,"a":"x"}"#), Some(Code::Undecodable));
    assert_eq!(of(key, r#"{"id":1,"a":"x","\u0061":"x"}"#), Some(Code::Undecodable));
    assert_eq!(of(r#"{"id":1,"id":2}"#, &envelope("")), Some(Code::Undecodable));
    let doubled = source.replacen('{', r#"{"lsn":7,"#, 1);
    assert_eq!(of(key, &envelope("").replace(source, &doubled)), Some(Code::Undecodable));
    let schema = r#"{"type":"struct","fields":[{"type":"int64","field":"id"}]}"#;
    let twice = format!(r#"{{"schema":{schema},"payload":{{"id":1}},"payload":{{"id":2}}}}"#);
    // To a decoder that knows the schema's text as well as to one that does not.
    let mut warm = worker();
    let whole = format!(r#"{{"schema":{schema},"payload":{{"id":1}}}}"#);
    assert_eq!(verdict(&mut warm, key, &whole), None);
    assert_eq!(verdict(&mut warm, key, &twice), Some(Code::Undecodable));
    assert_eq!(of(key, &twice), Some(Code::Undecodable));
}

#[test]
fn an_unknown_field_is_told_where_it_would_be_lost() {
    let key = r#"{"id":1}"#;
    let of = |value: &str| verdict(&mut worker(), key, value);
    assert_eq!(of(r#"{"id":1,"colour":"red"}"#), Some(Code::ColumnMissing));
    assert_eq!(of(r#"{"id":1,"colour":null}"#), None, "nothing is lost");
    assert_eq!(of(r#"{"id":1,"__colour":"red"}"#), None, "metadata");
    let schema = r#"{"type":"struct","fields":[{"type":"int64","field":"id"}]}"#;
    let with_schema = |payload: &str| format!(r#"{{"schema":{schema},"payload":{payload}}}"#);
    assert_eq!(
        of(&with_schema(r#"{"id":1,"a":"x"}"#)),
        Some(Code::Undecodable),
        "against its schema"
    );
}

#[test]
fn depth_is_limited_without_a_deep_stack() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let as_text = |depth: usize| format!("\"{}\"", nested(depth));
    assert!(field(4, &as_text(900)).is_ok());
    assert_eq!(field(4, &as_text(100_000)).unwrap_err().code, Code::ValueOutOfRange);
    // In places that are skipped, or where the schema wants no nesting.
    for value in [
        format!(r#"{{"id":1,"__meta":{}}}"#, nested(100_000)),
        format!(
            r#"{{"before":{0},"after":{{"id":1}},"source":{{"x":{0}}},"op":"c","x":{0}}}"#,
            nested(100_000)
        ),
        format!(r#"{{"id":1,"a":{}}}"#, nested(100_000)),
        format!(r#"{{"schema":{{"type":{}}},"payload":1}}"#, nested(100_000)),
        nested(100_000),
    ] {
        let decoded = worker().decode(&json(0, r#"{"id":1}"#, &value));
        assert!(matches!(decoded, Decoded::Change(_) | Decoded::Poison(_)), "{decoded:?}");
    }
}
