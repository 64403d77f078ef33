//! The scanner beside serde_json: both take the same texts, and read the same from them.

use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

/// The text of the value, by the scanner.
fn scanned(json: &[u8]) -> Option<&str> {
    let mut scanner = Scanner::new(text(json).ok()?);
    let raw = scanner.raw().ok()?;
    scanner.finish().ok().map(|()| raw)
}

fn agree(json: &[u8]) -> Result<(), TestCaseError> {
    let expected = serde_json::from_slice::<&RawValue>(json).ok().map(RawValue::get);
    prop_assert_eq!(scanned(json), expected, "{}", String::from_utf8_lossy(json));
    let Some(Ok(slot)) = scanned(json).map(|text| Scanner::new(text).slot(&mut Scratch::default()))
    else {
        return Ok(());
    };
    // Where a double is exact enough, both read the same number.
    if let (Slot::Int(n), Ok(value)) = (slot, serde_json::from_slice::<i64>(json)) {
        prop_assert_eq!(n, value);
    }
    let is_number = matches!(slot, Slot::Int(_) | Slot::Unsigned(_) | Slot::Number(_));
    prop_assert_eq!(is_number, serde_json::from_slice::<f64>(json).is_ok() || is_huge(json));
    Ok(())
}

/// A number that no double holds.
fn is_huge(json: &[u8]) -> bool {
    json.iter().all(|byte| b"+-.eE0123456789 \n\t\r".contains(byte))
}

#[test]
fn what_serde_json_takes_is_taken_and_nothing_else() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(200), close.repeat(200));
    let mixed = format!("{}1{}", "[{\"a\":".repeat(70), "}]".repeat(70));
    for json in [
        "1",
        "-1",
        "0",
        "-0",
        "00",
        "-",
        "-a",
        "01",
        "1.",
        "1.5",
        ".5",
        "1e",
        "1e+",
        "1E-7",
        "1e5.5",
        "+1",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551616",
        "1234567890123456789",
        "123456789012345678",
        "null",
        "nul",
        "nulll",
        "true",
        "false",
        "fals",
        "tru e",
        "\"\"",
        "\"",
        "\"a",
        "\"\\",
        "\"\\\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u12f4\"",
        "\"\\x\"",
        "\"\n\"",
        "\"\u{1f}\"",
        "\"\u{7f}\u{80}\u{10ffff}\"",
        "\"12345678\\\\\"",
        "\"1234567\u{0}\"",
        "[]",
        "[ ]",
        "[,]",
        "[1,]",
        "[1 2]",
        "[1,2]",
        "[",
        "[1",
        "[1,",
        "{}",
        "{ }",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,\"b\":[{}]}",
        "{\"a\" : 1 , \"b\" : { } }",
        "{a:1}",
        "{1:1}",
        "[1}",
        "{\"a\":1]",
        " \t\r\n1 \t\r\n",
        "\u{b}1",
        "1 1",
        "",
        " ",
        "\u{feff}1",
        "[\"\\ud800\"]",
        &deep("[", "]"),
        &deep("{\"a\":[", "]}"),
        &deep("[", "}"),
        &mixed,
    ] {
        agree(json.as_bytes()).unwrap();
    }
    assert_eq!(scanned(b"\"\xff\""), None);
    let depth = 100_000;
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(scanned(nested.as_bytes()), Some(nested.as_str()), "without a deep stack");
}

#[test]
fn values_become_slots_without_rounding() {
    let mut scratch = Scratch::default();
    let mut of = |text: &'static str| Scanner::new(text).slot(&mut scratch);
    assert_eq!(of("-5"), Ok(Slot::Int(-5)));
    assert_eq!(of("999999999999999999"), Ok(Slot::Int(999_999_999_999_999_999)));
    assert_eq!(of("-9223372036854775808"), Ok(Slot::Int(i64::MIN)));
    assert_eq!(of("18446744073709551615"), Ok(Slot::Unsigned(u64::MAX)));
    assert_eq!(of("18446744073709551616"), Ok(Slot::Number("18446744073709551616")));
    for text in ["0.10", "1e3", "-0", "0e0", "-1.5E+7"] {
        assert_eq!(of(text), Ok(Slot::Number(text)));
    }
    assert_eq!(of("null"), Ok(Slot::Null));
    assert_eq!(of("true"), Ok(Slot::Bool(true)));
    assert_eq!(of("[1]"), Ok(Slot::Nested(b"[1]")));
    assert_eq!(of("\"a\""), Ok(Slot::Text("a")));
    assert_eq!(of("\"\\u0041b\""), Ok(Slot::Unescaped { at: 0, len: 2 }));
    assert_eq!(of("\"\\ud800\""), Err(NO_UNICODE));
}

#[test]
fn a_fault_tells_where_and_no_value() {
    let json = "{\"a\":1,\n \"b\":secret}";
    let mut scanner = Scanner::new(json);
    let broken = scanner.skip().unwrap_err();
    let fault = scanner.fault(broken);
    assert_eq!(fault.code, Code::Undecodable);
    assert_eq!(fault.text, "decode json: the text is no JSON, line 2 column 5");
}

proptest! {
    #[test]
    fn any_text_is_judged_as_serde_json_judges_it(json in "[\\[\\]{}\",:\\\\ 01.eE+\\-untrlfase/\u{0}\u{e9}]{0,24}") {
        agree(json.as_bytes())?;
    }

    #[test]
    fn values_with_a_changed_byte_are_judged_as_serde_json_judges_them(
        value in value(), at: prop::sample::Index, byte: u8, pretty: bool
    ) {
        let write = if pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
        let mut json = write(&value).unwrap();
        agree(&json)?;
        prop_assert!(scanned(&json).is_some());
        let at = at.index(json.len());
        json[at] = byte;
        agree(&json)?;
        json.truncate(at);
        agree(&json)?;
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands(mut bytes: Vec<u8>, from in 0_usize..20) {
        bytes.resize(bytes.len().max(from), b'x');
        let expected = bytes[from..].iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\');
        prop_assert_eq!(special(&bytes, from), expected.map_or(bytes.len(), |at| from + at));
    }
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}
