//! Tests of `temporal`.

use super::*;
use crate::decode::convert::array::tests::NoNested;
use crate::decode::slot::Scratch;
use proptest::prelude::*;

fn run(encode: impl Fn(Context<'_>, &mut Vec<u8>) -> Encoded) -> Option<i64> {
    let (scratch, mut out) = (Scratch::default(), Vec::new());
    encode(Context::new(&NoNested, &scratch), &mut out).ok()?;
    match out[4..] {
        [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
        [a, b, c, d, e, f, g, h] => Some(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
        _ => panic!("neither four nor eight bytes"),
    }
}

#[test]
fn dates_keep_postgresqls_range_and_know_debeziums_infinities() {
    let day = |slot| run(|c, out| date(&slot, c, out));
    for (slot, expected) in [
        (Slot::Int(0), Some(-10_957)),
        (Slot::Int(-2_440_588), Some(-2_451_545)),
        (Slot::Int(-2_440_589), None),
        (Slot::Int(2_145_042_905), Some(2_145_031_948)),
        (Slot::Int(2_145_042_906), None),
        (Slot::Int(-2_147_472_692), Some(i64::from(i32::MAX))),
        (Slot::Int(-2_147_472_691), Some(i64::from(i32::MIN))),
        (Slot::Int(-622_191_234), Some(i64::from(i32::MAX))),
        (Slot::Int(-625_821_272), Some(i64::from(i32::MIN))),
        (Slot::Text("+292278994-08-16Z"), Some(i64::from(i32::MAX))),
        (Slot::Text("-5877611-06-22Z"), Some(i64::from(i32::MIN))),
        (Slot::Text("2000-01-01Z"), Some(0)),
        (Slot::Text("2000-01-01"), Some(0)),
        (Slot::Text("2000-01-01X"), None),
        (Slot::Bool(true), None),
    ] {
        assert_eq!(day(slot), expected, "{slot:?}");
    }
}

#[test]
fn timestamps_keep_postgresqls_range_and_know_debeziums_infinities() {
    let at = |unit, slot| run(|c, out| timestamp(unit, 6, &slot, c, out));
    for (unit, slot, expected) in [
        (Unit::Micros, Slot::Int(EPOCH_MICROS), Some(0)),
        (Unit::Micros, Slot::Int(9_223_372_036_825_200_000), Some(i64::MAX)),
        (Unit::Millis, Slot::Int(-9_223_372_036_832_400), Some(i64::MIN)),
        (Unit::Nanos, Slot::Int(i64::MAX), Some(i64::MAX)),
        (Unit::Nanos, Slot::Int(1_000_001), None),
        (Unit::Micros, Slot::Int(-9_223_372_036_853_775_810), None),
        // 294276-12-31 23:59:59.999: beyond 64-bit microseconds since 1970, within those since 2000.
        (Unit::Millis, Slot::Int(9_224_318_015_999_999), Some(9_223_371_331_199_999_000)),
        (Unit::Micros, Slot::Text("2000-01-01T00:00:00.000001Z"), Some(1)),
        (
            Unit::Micros,
            Slot::Text("+294276-12-31T23:59:59.999999Z"),
            Some(9_223_371_331_199_999_999),
        ),
        (Unit::Micros, Slot::Text("+294277-01-01T00:00:00Z"), None),
        (Unit::Micros, Slot::Text("-4713-11-23T00:00:00Z"), None),
        (Unit::Micros, Slot::Text("2000-01-01T00:00:00+02:00"), None),
        (Unit::Micros, Slot::Text("+294247-01-10T04:00:25.2Z"), Some(i64::MAX)),
    ] {
        assert_eq!(at(unit, slot), expected, "{unit:?} {slot:?}");
    }
}

#[test]
fn an_offset_moves_a_timestamptz_and_is_required() {
    let at = |text| run(|c, out| timestamp_tz(6, &Slot::Text(text), c, out));
    assert_eq!(at("2000-01-01T02:00:00.5+02:00"), Some(500_000));
    assert_eq!(at("1999-12-31T19:00:00-05:00"), Some(0));
    assert_eq!(at("2000-01-01T00:00:00Z"), Some(0));
    assert_eq!(at("infinity"), Some(i64::MAX));
    assert_eq!(at("-infinity"), Some(i64::MIN));
    for text in [
        "2000-01-01T00:00:00",
        "2000-01-01",
        "",
        "2000-01-01T00:00:00Zx",
        "2000-01-01T00:00:00.0000001Z",
    ] {
        assert_eq!(at(text), None, "{text}");
    }
}

#[test]
fn a_columns_precision_never_rounds() {
    for (digits, micros, fits) in [
        (0, 1_000_000, true),
        (0, 100_000, false),
        (3, 5_000, true),
        (3, 5_500, false),
        (6, 1, true),
    ] {
        let slot = Slot::Int(micros);
        assert_eq!(
            run(|c, out| time(Unit::Micros, digits, &slot, c, out)).is_some(),
            fits,
            "{digits} {micros}"
        );
        assert_eq!(
            run(|c, out| timestamp(Unit::Micros, digits, &slot, c, out)).is_some(),
            fits,
            "{digits} {micros}"
        );
    }
}

#[test]
fn a_day_has_a_first_and_a_last_midnight() {
    let at = |slot| run(|c, out| time(Unit::Micros, 6, &slot, c, out));
    assert_eq!(at(Slot::Int(0)), Some(0));
    assert_eq!(at(Slot::Int(DAY)), Some(DAY));
    assert_eq!(at(Slot::Text("24:00:00Z")), Some(DAY));
    assert_eq!(at(Slot::Int(DAY + 1)), None);
    assert_eq!(at(Slot::Int(-1)), None);
}

#[test]
fn zones_of_timetz_are_counted_westwards_and_intervals_have_three_parts() {
    let (scratch, mut out) = (Scratch::default(), Vec::new());
    let context = Context::new(&NoNested, &scratch);
    time_tz(6, &Slot::Text("00:00:01+01:00"), context, &mut out).unwrap();
    assert_eq!(
        out,
        [&[0, 0, 0, 12][..], &1_000_000i64.to_be_bytes(), &(-3600i32).to_be_bytes()].concat()
    );
    out.clear();
    interval(Unit::Micros, 6, &Slot::Text("P1Y-2DT3S"), context, &mut out).unwrap();
    assert_eq!(
        out,
        [
            &[0, 0, 0, 16][..],
            &3_000_000i64.to_be_bytes(),
            &(-2i32).to_be_bytes(),
            &12i32.to_be_bytes()
        ]
        .concat()
    );
    assert!(interval(Unit::Micros, 6, &Slot::Int(i64::MAX), context, &mut out).is_err());
}

proptest! {
    #[test]
    fn text_and_number_mean_the_same_instant(seconds in -62_167_219_200i64..=253_402_207_200, micros in 0i64..1_000_000) {
        let total = seconds * 1_000_000 + micros;
        let text = jiff::Timestamp::from_microsecond(total).unwrap().to_string();
        let from_text = run(|c, out| timestamp_tz(6, &Slot::Text(&text), c, out));
        let from_number = run(|c, out| timestamp(Unit::Micros, 6, &Slot::Int(total), c, out));
        prop_assert_eq!(from_text, Some(total - EPOCH_MICROS));
        prop_assert_eq!(from_text, from_number);
    }

    #[test]
    fn no_text_or_number_makes_it_panic(text in "[-+0-9TZPYMDHS:. ]{0,40}", number in any::<i64>()) {
        for slot in [Slot::Text(text.as_str()), Slot::Int(number)] {
            for unit in [Unit::Millis, Unit::Micros, Unit::Nanos] {
                let _ = run(|c, out| timestamp(unit, 3, &slot, c, out));
                let _ = run(|c, out| time(unit, 3, &slot, c, out));
            }
            let _ = run(|c, out| date(&slot, c, out));
            let _ = run(|c, out| timestamp_tz(6, &slot, c, out));
            let (scratch, mut out) = (Scratch::default(), Vec::new());
            let context = Context::new(&NoNested, &scratch);
            let _ = interval(Unit::Micros, 6, &slot, context, &mut out);
            let _ = time_tz(6, &slot, context, &mut out);
        }
    }
}
