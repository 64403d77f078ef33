//! Tests of `decimal`: what is written is read back digit by digit.

use super::*;
use crate::decode::convert::array::tests::{Entries, NoNested};
use crate::decode::slot::Scratch;
use base64::Engine as _;
use proptest::prelude::*;

/// Sign, digits and display scale of a numeric field, as the exact decimal text.
fn read(field: &[u8]) -> String {
    let word = |at: usize| u16::from_be_bytes([field[at], field[at + 1]]);
    assert_eq!(
        i32::from_be_bytes(field[..4].try_into().unwrap()),
        i32::try_from(field.len() - 4).unwrap()
    );
    let (groups, weight, sign, scale) =
        (usize::from(word(4)), word(6).cast_signed(), word(8), usize::from(word(10)));
    match sign {
        NAN => return "NaN".into(),
        PLUS_INFINITY => return "Infinity".into(),
        MINUS_INFINITY => return "-Infinity".into(),
        _ => {}
    }
    assert_eq!(field.len(), 12 + groups * 2);
    let group = |index: i16| {
        let at = i32::from(weight) - i32::from(index);
        usize::try_from(at).ok().filter(|at| *at < groups).map_or(0, |at| word(12 + at * 2))
    };
    let mut whole = String::new();
    for index in (0..=weight.max(0)).rev() {
        whole += &format!("{:04}", group(index));
    }
    let mut fraction = String::new();
    let mut index = -1;
    while fraction.len() < scale {
        fraction += &format!("{:04}", group(index));
        index -= 1;
    }
    let (shown, hidden) = fraction.split_at(scale);
    assert!(hidden.bytes().all(|b| b == b'0'), "digits below the display scale");
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if scale > 0 { "." } else { "" };
    format!("{}{whole}{point}{shown}", if sign == NEGATIVE { "-" } else { "" })
}

fn run(source: Source, limit: Option<Limit>, slot: Slot<'_>) -> Option<String> {
    let mut out = Vec::new();
    let scratch = Scratch::default();
    let context = Context::new(&NoNested, &scratch);
    encode(source, limit, &slot, context, &mut out).ok().map(|()| read(&out))
}

fn limit(precision: i32, scale: i32) -> Option<Limit> {
    Some(Limit { precision, scale })
}

#[test]
fn text_is_taken_digit_by_digit() {
    for (text, expected) in [
        ("0", "0"),
        ("-0.00", "0.00"),
        ("1.10", "1.10"),
        ("100", "100"),
        ("-0.5", "-0.5"),
        ("12345678901234567890.123456789", "12345678901234567890.123456789"),
        ("0.000000000000000000000000000001", "0.000000000000000000000000000001"),
        ("1e3", "1000"),
        ("1.5E-3", "0.0015"),
        ("10000000000000000000000000e4", "100000000000000000000000000000"),
        ("NAN", "NaN"),
        ("POSITIVE_INFINITY", "Infinity"),
        ("-Infinity", "-Infinity"),
    ] {
        assert_eq!(run(Source::Plain, None, Slot::Text(text)).as_deref(), Some(expected), "{text}");
    }
    for text in [
        "",
        "-",
        ".",
        "1,5",
        "0x10",
        "1e",
        "1e99999999999",
        "1e200000",
        "1e-20000",
        "--1",
        " 1",
        "inf",
    ] {
        assert_eq!(run(Source::Plain, None, Slot::Text(text)), None, "{text}");
    }
}

#[test]
fn nothing_is_rounded_into_a_limited_column() {
    for (text, limit, fits) in [
        ("99999999.99", limit(10, 2), true),
        ("100000000.00", limit(10, 2), false),
        ("1.234", limit(10, 2), false),
        ("1.230", limit(10, 2), true),
        ("9999900", limit(5, -2), true),
        ("9999901", limit(5, -2), false),
        ("10000000", limit(5, -2), false),
        ("0.00999", limit(3, 5), true),
        ("0.01", limit(3, 5), false),
        ("NaN", limit(3, 1), true),
        ("Infinity", limit(3, 1), false),
        ("1234567890123456789012345678.0000000001", limit(38, 10), true),
        ("1234567890123456789012345678.00000000001", limit(38, 10), false),
    ] {
        assert_eq!(
            run(Source::Plain, limit, Slot::Text(text)).is_some(),
            fits,
            "{text} into {limit:?}"
        );
    }
}

#[test]
fn unscaled_bytes_come_as_bytes_or_base64() {
    for (base64, scale, expected) in [
        ("AA==", 2, "0.00"),
        ("AeI6", 2, "1234.50"),
        ("/w==", 2, "-0.01"),
        ("f/////////8=", 2, "92233720368547758.07"),
        ("gAAAAAAAAAA=", 2, "-92233720368547758.08"),
        (
            "/giBGRxTlo/KeaWixz7HOr0lHmfXUcZ+6w==",
            29,
            "-123456789012345678901234567890.12345678901234567890123456789",
        ),
        ("ZA==", -3, "100000"),
    ] {
        let bytes = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
        assert_eq!(
            run(Source::Unscaled(scale), None, Slot::Bytes(&bytes)).as_deref(),
            Some(expected)
        );
        assert_eq!(
            run(Source::Unscaled(scale), None, Slot::Text(base64)).as_deref(),
            Some(expected)
        );
    }
    assert_eq!(run(Source::Scaleless, None, Slot::Text("AA==")), None);
    assert_eq!(run(Source::Scaleless, None, Slot::Number("1.50")).as_deref(), Some("1.50"));
}

#[test]
fn a_negative_scale_that_arrives_as_2046_shows_no_digits_after_the_point() {
    let value = BigInt::from(-1200) * BigInt::from(10).pow(2046);
    let bytes = value.to_signed_bytes_be();
    assert_eq!(
        run(Source::Unscaled(2046), limit(5, -2), Slot::Bytes(&bytes)).as_deref(),
        Some("-1200")
    );
    assert_eq!(run(Source::Unscaled(2046), None, Slot::Bytes(&bytes)).as_deref(), Some("-1200"));
    assert_eq!(run(Source::Unscaled(2046), limit(5, -2), Slot::Bytes(&[0])).as_deref(), Some("0"));
    let odd = (value + BigInt::from(1)).to_signed_bytes_be();
    assert_eq!(run(Source::Unscaled(2046), None, Slot::Bytes(&odd)), None);
}

#[test]
fn a_variable_scale_decimal_is_a_struct_in_any_order() {
    for entries in [
        vec![("scale", Slot::Int(1)), ("value", Slot::Bytes(&[11]))],
        vec![("value", Slot::Text("Cw==")), ("scale", Slot::Int(1))],
    ] {
        let (entries, scratch, mut out) = (Entries(entries), Scratch::default(), Vec::new());
        let context = Context::new(&entries, &scratch);
        encode(Source::Plain, None, &Slot::Nested(&[]), context, &mut out).unwrap();
        assert_eq!(read(&out), "1.1");
    }
}

#[test]
fn floats_are_taken_by_their_shortest_text() {
    assert_eq!(run(Source::Plain, None, Slot::Double(0.1)).as_deref(), Some("0.1"));
    assert_eq!(run(Source::Single, None, Slot::Float(0.1)).as_deref(), Some("0.1"));
    assert_eq!(run(Source::Plain, limit(10, 2), Slot::Double(1234.5)).as_deref(), Some("1234.5"));
    assert_eq!(run(Source::Plain, None, Slot::Double(f64::NAN)).as_deref(), Some("NaN"));
    assert!(run(Source::Plain, None, Slot::Double(f64::MIN_POSITIVE)).is_some());
}

/// The decimal text of an unscaled number, by way of big integers.
fn expected(value: &BigInt, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.magnitude().to_string(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value.sign() == num_bigint::Sign::Minus { "-" } else { "" };
    format!("{sign}{whole}{}{fraction}", if scale > 0 { "." } else { "" })
}

proptest! {
    #[test]
    fn any_unscaled_bytes_survive(bytes in prop::collection::vec(any::<u8>(), 1..40), scale in 0usize..60) {
        let value = BigInt::from_signed_bytes_be(&bytes);
        let read = run(Source::Unscaled(i32::try_from(scale).unwrap()), None, Slot::Bytes(&bytes));
        prop_assert_eq!(read, Some(expected(&value, scale)));
        let mut text = Vec::new();
        plain_text(&bytes, i32::try_from(scale).unwrap(), &mut text);
        prop_assert_eq!(String::from_utf8(text).unwrap(), expected(&value, scale));
    }

    #[test]
    fn any_decimal_text_survives(whole in "(0|[1-9][0-9]{0,50})", fraction in "[0-9]{1,50}") {
        let text = format!("{whole}.{fraction}");
        prop_assert_eq!(run(Source::Plain, None, Slot::Text(&text)), Some(text.clone()));
    }

    #[test]
    fn a_limit_lets_through_exactly_what_fits(value in any::<i64>(), scale in 0i32..20, p in 1i32..30, s in -5i32..20) {
        let bytes = value.to_be_bytes();
        let passes = run(Source::Unscaled(scale), limit(p, s), Slot::Bytes(&bytes)).is_some();
        // value * 10^-scale * 10^s must be whole and below 10^p.
        let shifted = BigInt::from(value) * BigInt::from(10).pow(u32::try_from(s + 5).unwrap());
        let unit = BigInt::from(10).pow(u32::try_from(scale + 5).unwrap());
        let whole = (&shifted % &unit) == BigInt::from(0);
        let small = shifted.magnitude() < &(unit.magnitude() * BigInt::from(10).pow(u32::try_from(p).unwrap()).magnitude());
        prop_assert_eq!(passes, whole && small);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,20}") {
        let _ = run(Source::Plain, limit(10, 2), Slot::Text(&text));
        let _ = run(Source::Unscaled(3), None, Slot::Text(&text));
    }
}
