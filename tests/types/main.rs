//! Every semantic type in every form lands as PostgreSQL itself writes the value, or is refused with its reason.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod captures;
mod large;
mod payload;
mod refused;
mod rows;
mod schema;
mod silver;
mod untold;

use rows::Row;
use serde_json::Value;
use silver::{FORMS, Form, Silver};
use silversink::config::{BinaryHandlingMode, DecimalHandlingMode, Table, TimePrecisionMode};
use silversink::decode::convert::natural_type;
use silversink::decode::schema::connect_text;

async fn land(rows: &'static [Row], settings: Table) {
    land_in(&mut Silver::open().await, rows, settings).await;
}

async fn land_in(silver: &mut Silver, rows: &'static [Row], settings: Table) {
    for form in FORMS {
        let rows: Vec<&'static Row> =
            rows.iter().filter(|row| row.plain || form != Form::Plain).collect();
        let schemas: Vec<Value> = rows.iter().map(|row| schema::connect(row.schema)).collect();
        for (row, schema) in rows.iter().zip(&schemas) {
            let field = connect_text::parse(&schema.to_string()).unwrap().ty;
            assert_eq!(natural_type(&field).unwrap_or_default(), row.natural, "{}", row.schema);
        }
        let types: Vec<String> = rows
            .iter()
            .map(|row| if row.ty.is_empty() { row.natural } else { row.ty }.to_owned())
            .collect();
        let mut table = silver.table(&types, schemas, form, &settings).await;
        let most = rows.iter().map(|row| row.values.len()).max().unwrap();
        let (mut encoded, mut decoded) = (Vec::new(), Vec::new());
        for n in 0..most {
            let payloads: Vec<Value> = rows
                .iter()
                .map(|row| {
                    row.values
                        .get(n)
                        .map_or(Value::Null, |(payload, _)| serde_json::from_str(payload).unwrap())
                })
                .collect();
            let record = table.record(i64::try_from(n).unwrap(), &payloads);
            let (change, row) =
                table.decode(&record).unwrap_or_else(|why| panic!("{form:?}: {why:?}"));
            encoded.push(row);
            decoded.push(change);
        }
        silver.write(&table, &encoded, &decoded).await;
        let columns: Vec<String> = (0..rows.len()).map(|i| format!("c{i}::text")).collect();
        let landed = silver
            .rows(&format!("SELECT {} FROM {} ORDER BY id", columns.join(", "), table.name))
            .await;
        for (n, landed) in landed.iter().enumerate() {
            let value =
                |row: &'static Row| row.values.get(n).filter(|(payload, _)| *payload != "null");
            let literals: Vec<String> = rows
                .iter()
                .zip(&types)
                .map(|(row, ty)| {
                    let literal = value(row).map(|(_, literal)| literal.replace('\'', "''"));
                    literal.map_or("NULL".to_owned(), |literal| format!("'{literal}'::{ty}::text"))
                })
                .collect();
            let expected = silver.rows(&format!("SELECT {}", literals.join(", "))).await.remove(0);
            for (((row, ty), landed), expected) in
                rows.iter().zip(&types).zip(landed).zip(&expected)
            {
                assert_eq!(
                    landed,
                    expected,
                    "{} {:?} into {ty} in {form:?}",
                    row.schema,
                    value(row)
                );
            }
        }
    }
}

#[tokio::test]
async fn scalars_texts_and_types_of_extensions() {
    land(rows::SCALARS, Table::default()).await;
}

#[tokio::test]
async fn decimals_of_every_kind() {
    land(rows::NUMBERS, Table::default()).await;
}

#[tokio::test]
async fn dates_times_and_intervals_also_structured() {
    land(rows::TIMES, Table::default()).await;
}

#[tokio::test]
async fn geometry_and_vectors() {
    land_in(&mut Silver::with_extensions().await, rows::SHAPES, Table::default()).await;
}

#[tokio::test]
async fn arrays() {
    land(rows::ARRAYS, Table::default()).await;
}

#[tokio::test]
async fn domains() {
    land(rows::DOMAINS, Table::default()).await;
}

#[tokio::test]
async fn decimals_as_text() {
    let settings = Table { decimal_handling_mode: DecimalHandlingMode::String, ..Table::default() };
    land(rows::STRING_DECIMALS, settings).await;
}

#[tokio::test]
async fn decimals_as_floats_and_times_in_microseconds() {
    let settings = Table {
        decimal_handling_mode: DecimalHandlingMode::Double,
        time_precision_mode: TimePrecisionMode::Microseconds,
        ..Table::default()
    };
    land(rows::DOUBLES_MICROSECONDS, settings).await;
}

#[tokio::test]
async fn times_of_the_other_modes() {
    let mut silver = Silver::open().await;
    for (mode, rows) in [
        (TimePrecisionMode::Nanoseconds, rows::NANOSECONDS),
        (TimePrecisionMode::Connect, rows::CONNECT),
        (TimePrecisionMode::Isostring, rows::ISO),
    ] {
        land_in(&mut silver, rows, Table { time_precision_mode: mode, ..Table::default() }).await;
    }
}

#[tokio::test]
async fn bytes_as_text() {
    let mut silver = Silver::open().await;
    for (mode, rows) in [
        (BinaryHandlingMode::Hex, rows::HEX),
        (BinaryHandlingMode::Base64, rows::BASE64),
        (BinaryHandlingMode::Base64UrlSafe, rows::BASE64_URL),
    ] {
        land_in(&mut silver, rows, Table { binary_handling_mode: mode, ..Table::default() }).await;
    }
}
