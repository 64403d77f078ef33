//! Tests of the poison: it is what it says, and everything else about the record is as captured.

use super::*;
use crate::demo::capture::Capture;

fn made(encoding: &str) -> (OwnedRecord, Vec<Poison>) {
    let shop = Capture::open("testdata/debezium/shop").unwrap();
    let records = shop.records(encoding).unwrap();
    let template = records.iter().find(|r| r.at.topic == "shop.public.products").unwrap().clone();
    let poison =
        poison(&template, &shop.tables["products"], &shop.schemas(encoding).unwrap()).unwrap();
    (template, poison)
}

fn find<'p>(poison: &'p [Poison], label: &str) -> &'p OwnedRecord {
    &poison.iter().find(|p| p.label == label).unwrap().record
}

fn labels(poison: &[Poison]) -> Vec<(&'static str, &'static str)> {
    poison.iter().map(|p| (p.label, p.code.as_str())).collect()
}

#[test]
fn every_kind_is_made_once_in_avro() {
    let (template, poison) = made("avro");
    assert_eq!(
        labels(&poison),
        [
            ("random bytes", "undecodable"),
            ("unknown magic byte", "unknown_magic_byte"),
            ("schema id the registry denies", "schema_unknown"),
            ("truncated Avro", "undecodable"),
            ("no key", "key_missing"),
            ("write without its row", "envelope_invalid"),
            ("number beyond its column", "value_out_of_range"),
        ]
    );
    for one in &poison {
        assert_eq!(one.record.at.topic, template.at.topic);
        assert_eq!(one.record.key.is_none(), one.label == "no key");
        assert_ne!(&one.record, &template, "{}", one.label);
    }
    assert_eq!(find(&poison, "no key").value, template.value);
}

#[test]
fn broken_avro_cannot_be_read_and_rewritten_avro_can() {
    let (template, poison) = made("avro");
    let shop = Capture::open("testdata/debezium/shop").unwrap();
    let header = &template.value.as_ref().unwrap()[..HEADER];
    let id = u32::from_be_bytes(header[1..].try_into().unwrap());
    let schema = Schema::parse_str(&shop.schemas("avro").unwrap()[&id].schema).unwrap();
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap();
    let read = |label: &str| {
        let value = find(&poison, label).value.clone().unwrap();
        assert_eq!(&value[..HEADER], header, "{label}");
        reader.read_value(&mut &value[HEADER..])
    };

    assert!(read("random bytes").is_err());
    assert!(read("truncated Avro").is_err());
    let Value::Record(mut fields) = read("write without its row").unwrap() else {
        panic!("no record")
    };
    assert!(matches!(
        field(&mut fields, "after"),
        Some(Value::Union(_, row)) if **row == Value::Null
    ));
    let Value::Record(mut fields) = read("number beyond its column").unwrap() else {
        panic!("no record")
    };
    assert_eq!(field(&mut fields, "op"), Some(&mut Value::String("r".to_owned())));
    let Some(Value::Union(_, after)) = field(&mut fields, "after") else { panic!("no after") };
    let Value::Record(columns) = after.as_mut() else { panic!("no row") };
    let Some(Value::Decimal(price)) = field(columns, "price") else { panic!("no price") };
    assert_eq!(Vec::<u8>::try_from(price.clone()).unwrap(), HUGE);
}

#[test]
fn an_unchanged_rewrite_gives_the_captured_bytes() {
    let shop = Capture::open("testdata/debezium/shop").unwrap();
    let schemas = shop.schemas("avro").unwrap();
    let (template, _) = made("avro");
    let value = template.value.unwrap();
    let id = u32::from_be_bytes(value[1..HEADER].try_into().unwrap());
    let schema = Schema::parse_str(&schemas[&id].schema).unwrap();
    let read = apache_avro::reader::datum::GenericDatumReader::builder(&schema)
        .build()
        .unwrap()
        .read_value(&mut &value[HEADER..])
        .unwrap();
    let written = apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
        .build()
        .unwrap()
        .write_value_to_vec(read)
        .unwrap();
    assert_eq!(written, value[HEADER..]);
}

#[test]
fn every_kind_is_made_once_in_json_with_and_without_schema() {
    for encoding in ["json", "json-plain"] {
        let (_, poison) = made(encoding);
        assert_eq!(
            labels(&poison),
            [
                ("unknown magic byte", "unknown_magic_byte"),
                ("no JSON", "undecodable"),
                ("truncated JSON", "undecodable"),
                ("no key", "key_missing"),
                ("write without its row", "envelope_invalid"),
                ("number beyond its column", "value_out_of_range"),
            ]
        );
        let value = |label: &str| {
            let bytes = find(&poison, label).value.clone().unwrap();
            serde_json::from_slice::<serde_json::Value>(&bytes)
        };
        assert!(value("no JSON").is_err() && value("truncated JSON").is_err());
        let envelope = |label: &str| {
            let mut value = value(label).unwrap();
            if encoding == "json" { value["payload"].take() } else { value }
        };
        assert!(envelope("write without its row")["after"].is_null());
        let huge = envelope("number beyond its column");
        assert_eq!(
            (huge["op"].as_str(), huge["after"]["price"].as_str()),
            (Some("r"), Some(STANDARD.encode(HUGE).as_str()))
        );
    }
}

#[test]
fn a_record_without_an_after_is_no_template() {
    let shop = Capture::open("testdata/debezium/shop").unwrap();
    for encoding in ["avro", "json-plain"] {
        let records = shop.records(encoding).unwrap();
        let schemas = shop.schemas(encoding).unwrap();
        let tombstone = records.iter().position(|r| r.value.is_none()).unwrap();
        for record in &records[tombstone - 1..=tombstone] {
            let table = record.at.topic.rsplit('.').next().unwrap();
            let table = &shop.tables[table];
            if numeric_column(table).is_some() {
                assert!(poison(record, table, &schemas).is_err(), "{encoding} {}", record.at);
            }
        }
    }
}

#[test]
fn sprinkled_topics_keep_their_order_and_have_dense_offsets() {
    let shop = Capture::open("testdata/debezium/shop").unwrap();
    let captured = shop.records("avro").unwrap();
    let (_, poison) = made("avro");
    let count = poison.len();

    let sprinkled = sprinkle(captured.clone(), poison);

    assert_eq!(sprinkled.poison.len(), count);
    assert_eq!(sprinkled.records.len(), captured.len() + count);
    let mut next: BTreeMap<&str, i64> = BTreeMap::new();
    for record in &sprinkled.records {
        let expected = next.entry(&record.at.topic).or_default();
        assert_eq!(record.at.offset, *expected, "{}", record.at);
        *expected += 1;
    }
    let sound: Vec<_> = sprinkled
        .records
        .iter()
        .filter(|r| !sprinkled.poison.iter().any(|(at, _)| *at == r.at))
        .map(|r| (&r.at.topic, &r.key, &r.value))
        .collect();
    let before: Vec<_> = captured.iter().map(|r| (&r.at.topic, &r.key, &r.value)).collect();
    assert!(sound == before);
    // Spread over the topic: not next to each other, not at its end.
    let offsets: Vec<i64> = sprinkled.poison.iter().map(|(at, _)| at.offset).collect();
    assert!(offsets.windows(2).all(|pair| pair[1] - pair[0] > 100), "{offsets:?}");
    assert!(offsets[count - 1] < next["shop.public.products"] - 100, "{offsets:?}");
}

#[test]
fn more_poison_than_records_still_goes_in_whole() {
    let (template, poison) = made("json-plain");
    let count = poison.len();
    let sprinkled = sprinkle(vec![template], poison.clone());
    assert_eq!(sprinkled.records.len(), count + 1);
    assert_eq!(
        sprinkled.poison.iter().map(|(_, code)| *code).collect::<Vec<_>>(),
        poison.iter().map(|p| p.code).collect::<Vec<_>>()
    );
    assert_eq!(sprinkle(Vec::new(), poison).poison.len(), count);
}
