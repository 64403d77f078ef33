//! Tests of `resolve` and of the conversion as callers see it.

use super::*;
use crate::decode::convert::Conversion;
use crate::decode::convert::array::tests::{Entries, NoNested};
use crate::decode::slot::Scratch;
use crate::fault::{Class, Code};
use crate::table::Column;

fn field(wire: Wire, semantic: Semantic) -> FieldType {
    FieldType { wire, semantic, optional: true, source_column: None }
}

fn array_of(element: FieldType) -> FieldType {
    field(Wire::Array(Box::new(element)), Semantic::None)
}

fn column(oid: u32, element_oid: u32, typmod: i32) -> Column {
    Column {
        name: "price".into(),
        ty: ColumnType {
            oid,
            base_oid: oid,
            element_oid,
            typtype: 'b',
            base_typtype: 'b',
            base_name: String::new(),
            typmod,
            sql: "some type".into(),
        },
        not_null: false,
        generated: false,
        identity_always: false,
    }
}

fn resolve(field: &FieldType, column: &Column) -> Result<Conversion, String> {
    Conversion::resolve(field, column, &Table::default())
}

const fn numeric(precision: i32, scale: i32) -> i32 {
    ((precision << 16) | scale) + 4
}

#[test]
fn what_a_column_can_hold_in_general_is_accepted_and_nothing_else() {
    let decimal = |scale, precision| Semantic::Decimal { scale, precision };
    for (wire, semantic, oid, typmod, accepted) in [
        (Wire::Int32, Semantic::None, 20, -1, true),
        (Wire::Int64, Semantic::None, 23, -1, false),
        (Wire::Int16, Semantic::None, 21, -1, true),
        (Wire::Int32, Semantic::Date, 23, -1, false),
        (Wire::Int64, Semantic::MicroTimestamp, 20, -1, false),
        (Wire::Int64, Semantic::MicroDuration, 20, -1, true),
        (Wire::Int32, Semantic::Year, 21, -1, true),
        (Wire::Int64, Semantic::MicroTime, 1186, -1, true),
        (Wire::String, Semantic::IsoTime, 1186, -1, false),
        (Wire::Float32, Semantic::None, 701, -1, true),
        (Wire::Float64, Semantic::None, 700, -1, false),
        (Wire::Int64, Semantic::None, 701, -1, false),
        (Wire::String, Semantic::None, 23, -1, false),
        (Wire::Int32, Semantic::None, 25, -1, false),
        (Wire::String, Semantic::Uuid, 25, -1, true),
        (Wire::String, Semantic::None, 1043, 14, true),
        (Wire::Bytes, decimal(2, Some(10)), 1700, numeric(10, 2), true),
        (Wire::Bytes, decimal(2, Some(10)), 1700, numeric(12, 4), true),
        (Wire::Bytes, decimal(2, Some(10)), 1700, numeric(11, 4), false),
        (Wire::Bytes, decimal(3, Some(10)), 1700, numeric(20, 2), false),
        (Wire::Bytes, decimal(2, Some(10)), 1700, -1, true),
        (Wire::Bytes, decimal(2046, Some(5)), 1700, numeric(5, 2046), true),
        (Wire::Int32, Semantic::None, 1700, numeric(9, 0), false),
        (Wire::Int32, Semantic::None, 1700, numeric(10, 0), true),
        (Wire::Int64, Semantic::Timestamp, 1114, 3, true),
        (Wire::Int64, Semantic::MicroTimestamp, 1114, 3, false),
        (Wire::Int64, Semantic::Timestamp, 1184, -1, false),
        (Wire::String, Semantic::ZonedTimestamp, 1114, -1, false),
        (Wire::String, Semantic::ZonedTimestamp, 1184, -1, true),
        (Wire::String, Semantic::None, 17, -1, false),
        (Wire::Bytes, Semantic::None, 17, -1, true),
        (Wire::Bytes, Semantic::Bits { length: Some(8) }, 1560, 8, true),
        (Wire::Bytes, Semantic::Bits { length: Some(9) }, 1560, 8, false),
        (Wire::Boolean, Semantic::None, 1560, 1, true),
        (Wire::Int16, Semantic::None, 16, -1, false),
        (Wire::Int64, Semantic::MicroTimestamp, 869, -1, false),
    ] {
        let found = resolve(&field(wire.clone(), semantic.clone()), &column(oid, 0, typmod));
        assert_eq!(found.is_ok(), accepted, "{wire:?} {semantic:?} into {oid} {typmod}");
        if let Err(why) = found {
            assert!(why.starts_with("column \"price\" of type some type: "), "{why}");
        }
    }
}

#[test]
fn a_conversion_may_be_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + std::fmt::Debug>() {}
    shared::<Conversion>();
}

#[test]
fn modes_say_what_no_schema_tells() {
    let text = field(Wire::String, Semantic::None);
    let hex =
        Table { binary_handling_mode: crate::config::BinaryHandlingMode::Hex, ..Table::default() };
    assert!(Conversion::resolve(&text, &column(17, 0, -1), &hex).is_ok());
    let micros = Table { time_precision_mode: TimePrecisionMode::Microseconds, ..Table::default() };
    let timestamp = field(Wire::Int64, Semantic::MicroTimestamp);
    assert!(Conversion::resolve(&timestamp, &column(1114, 0, 3), &micros).is_ok());
}

#[test]
fn a_fault_names_column_and_type_and_not_the_value() {
    let conversion =
        resolve(&field(Wire::String, Semantic::None), &column(1043, 0, 4 + 3)).unwrap();
    let scratch = Scratch::default();
    let fault =
        conversion.encode(&Slot::Text("secret"), &NoNested, &scratch, &mut Vec::new()).unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Poison, Code::ValueOutOfRange));
    assert_eq!(fault.text, "column \"price\": a value is longer than the column (type some type)");
}

#[test]
fn absent_unavailable_and_null_are_all_written_as_null() {
    let conversion = resolve(&field(Wire::Int32, Semantic::None), &column(23, 0, -1)).unwrap();
    for slot in [Slot::Absent, Slot::Unavailable, Slot::Null] {
        let mut out = vec![1];
        conversion.encode(&slot, &NoNested, &Scratch::default(), &mut out).unwrap();
        assert_eq!(out, [1, 255, 255, 255, 255]);
    }
}

#[test]
fn characters_are_counted_and_blanks_of_char_do_not_count() {
    let text = field(Wire::String, Semantic::None);
    let write = |oid, value: &str| {
        let mut out = Vec::new();
        let conversion = resolve(&text, &column(oid, 0, 4 + 3)).unwrap();
        conversion
            .encode(&Slot::Text(value), &NoNested, &Scratch::default(), &mut out)
            .ok()
            .map(|()| out.split_off(4))
    };
    assert_eq!(write(1043, "äöü"), Some("äöü".into()));
    assert_eq!(write(1043, "ab  "), None);
    assert_eq!(write(1042, "ab  "), Some("ab".into()));
    assert_eq!(write(1042, "abcd"), None);
    assert_eq!(write(1043, "a\0"), None);
}

#[test]
fn unescaped_text_is_taken_from_the_scratch() {
    let conversion = resolve(&field(Wire::String, Semantic::None), &column(25, 0, -1)).unwrap();
    let scratch = Scratch { text: "one\ntwo".into(), ..Scratch::default() };
    let mut out = Vec::new();
    conversion.encode(&Slot::Unescaped { at: 4, len: 3 }, &NoNested, &scratch, &mut out).unwrap();
    assert_eq!(out, b"\0\0\0\x03two");
}

const PLACEHOLDER: &str = "__debezium_unavailable_value";

#[test]
fn the_placeholder_is_known_in_every_form_that_debezium_gives_it() {
    let string = || field(Wire::String, Semantic::None);
    let scratch = Scratch { text: PLACEHOLDER.into(), ..Scratch::default() };
    let is = |field: &FieldType, column: &Column, slot: Slot<'_>| {
        resolve(field, column).unwrap().is_unavailable(&slot, &NoNested, &scratch)
    };
    assert!(is(&string(), &column(25, 0, -1), Slot::Text(PLACEHOLDER)));
    assert!(is(&string(), &column(25, 0, -1), Slot::Unescaped { at: 0, len: 28 }));
    assert!(!is(&string(), &column(25, 0, -1), Slot::Text("__debezium_unavailable_valuE")));
    assert!(is(
        &field(Wire::String, Semantic::Json),
        &column(3802, 0, -1),
        Slot::Text(PLACEHOLDER)
    ));
    let bytes = field(Wire::Bytes, Semantic::None);
    assert!(is(&bytes, &column(17, 0, -1), Slot::Bytes(PLACEHOLDER.as_bytes())));
    let base64 = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
    assert!(is(&bytes, &column(17, 0, -1), Slot::Text(base64)));
    assert!(!is(&string(), &column(25, 0, -1), Slot::Text(base64)));
    assert!(!is(&field(Wire::Int32, Semantic::None), &column(23, 0, -1), Slot::Int(95)));
}

#[test]
fn the_placeholder_is_known_inside_arrays_and_maps() {
    let is = |field: &FieldType, column: &Column, entries: Vec<(&str, Slot<'_>)>| {
        let conversion = resolve(field, column).unwrap();
        let raw = [b'x'; 60];
        conversion.is_unavailable(&Slot::Nested(&raw), &Entries(entries), &Scratch::default())
    };
    let texts = array_of(field(Wire::String, Semantic::None));
    let text = ("", Slot::Text(PLACEHOLDER));
    assert!(is(&texts, &column(1009, 25, -1), vec![text]));
    assert!(!is(&texts, &column(1009, 25, -1), vec![text, text]));
    assert!(!is(&texts, &column(1009, 25, -1), vec![]));
    let codes: Vec<_> = PLACEHOLDER.bytes().map(|byte| ("", Slot::Int(i64::from(byte)))).collect();
    let integers = array_of(field(Wire::Int32, Semantic::None));
    assert!(is(&integers, &column(1007, 23, -1), codes.clone()));
    assert!(!is(&integers, &column(1007, 23, -1), codes[..27].to_vec()));
    let uuids = array_of(field(Wire::String, Semantic::Uuid));
    assert!(is(
        &uuids,
        &column(2951, 2950, -1),
        vec![("", Slot::Text("b68a35a7-17ad-35b3-af2a-ae46edb4545a"))]
    ));
    let string = || Box::new(field(Wire::String, Semantic::None));
    let map = field(Wire::Map(string(), string()), Semantic::None);
    assert!(is(&map, &column(3802, 0, -1), vec![(PLACEHOLDER, Slot::Text(PLACEHOLDER))]));
}

#[test]
fn a_fault_of_the_nested_walker_is_passed_on() {
    struct Broken;
    impl crate::decode::slot::NestedReader for Broken {
        fn each(
            &self,
            _: &[u8],
            _: &mut dyn FnMut(
                &str,
                &Slot<'_>,
                &dyn crate::decode::slot::NestedReader,
            ) -> Result<(), crate::fault::Fault>,
        ) -> Result<(), crate::fault::Fault> {
            Err(crate::fault::Fault::poison(Code::Undecodable, "cut short"))
        }
    }
    let conversion =
        resolve(&array_of(field(Wire::Int32, Semantic::None)), &column(1007, 23, -1)).unwrap();
    let fault = conversion
        .encode(&Slot::Nested(b"x"), &Broken, &Scratch::default(), &mut Vec::new())
        .unwrap_err();
    assert_eq!((fault.code, fault.text.as_str()), (Code::Undecodable, "cut short"));
}
