//! Values of unusual size, U+0000, generated columns, and times of the source.

use crate::schema::connect;
use crate::silver::{FORMS, Form, Silver};
use base64::Engine as _;
use num_bigint::BigInt;
use serde_json::{Value, json};
use silversink::config::{DecimalHandlingMode, Table};
use silversink::decode::Decoded;
use silversink::fault::Code;

async fn one(
    silver: &mut Silver,
    schema: &str,
    ty: &str,
    form: Form,
    payload: &Value,
    settings: &Table,
) -> Option<String> {
    let mut table = silver.table(&[ty.to_owned()], vec![connect(schema)], form, settings).await;
    let record = table.record(1, std::slice::from_ref(payload));
    let (decoded, row) = table.decode(&record).unwrap();
    silver.write(&table, &[row], &[decoded]).await;
    silver.rows(&format!("SELECT c0::text FROM {}", table.name)).await[0][0].clone()
}

#[tokio::test]
async fn numbers_of_a_thousand_digits_and_texts_of_a_megabyte() {
    let mut silver = Silver::open().await;
    let digits = "1234567890".repeat(100);
    let unscaled = digits.parse::<BigInt>().unwrap().to_signed_bytes_be();
    let value = base64::prelude::BASE64_STANDARD.encode(unscaled);
    let with_point = format!("{}.{}", &digits[..600], &digits[600..]);
    let text = "ä\"\\\n".repeat(210_000);
    let settings = Table::default();
    for form in FORMS {
        let scaled = json!({"scale": 400, "value": value});
        let found =
            one(&mut silver, "struct d.VariableScaleDecimal", "numeric", form, &scaled, &settings)
                .await;
        assert_eq!(found.as_ref(), Some(&with_point), "{form:?}");
        let whole = "bytes k.Decimal scale=0 connect.decimal.precision=1000";
        let found =
            one(&mut silver, whole, "numeric(1000,0)", form, &json!(value), &settings).await;
        assert_eq!(found.as_ref(), Some(&digits), "{form:?}");
        // decimal.handling.mode=string
        let string =
            Table { decimal_handling_mode: DecimalHandlingMode::String, ..Table::default() };
        let found = one(&mut silver, "string", "numeric", form, &json!(with_point), &string).await;
        assert_eq!(found.as_ref(), Some(&with_point), "{form:?}");
        let found = one(&mut silver, "string", "text", form, &json!(text), &settings).await;
        assert!(found.as_deref() == Some(text.as_str()), "{form:?}");
    }
}

#[tokio::test]
async fn u0000_is_a_letter_of_its_own_code_or_replaced_as_configured() {
    let mut silver = Silver::open().await;
    let replacing = Table { nul_replacement: Some("?".to_owned()), ..Table::default() };
    for (schema, ty, payload, landed) in [
        ("string", "text", json!("a\0b"), "a?b"),
        ("string", "character varying(3)", json!("a\0b"), "a?b"),
        ("string", "citext", json!("a\0b"), "a?b"),
        ("[string]", "text[]", json!(["\0"]), "{?}"),
        (
            "string d.Json",
            "jsonb",
            json!("{\"k\": \"\\u0000 \\\\u0000\"}"),
            r#"{"k": "? \\u0000"}"#,
        ),
        ("{string}", "hstore", json!({"k": "\0"}), r#""k"=>"?""#),
    ] {
        for form in FORMS {
            let mut table = silver
                .table(&[ty.to_owned()], vec![connect(schema)], form, &Table::default())
                .await;
            let fault = table.poison(&table.record(1, std::slice::from_ref(&payload)));
            assert_eq!(fault.code, Code::NulCharacter, "{schema} {form:?}");
            assert!(
                fault.text.starts_with("column \"c0\": a value contains U+0000"),
                "{}",
                fault.text
            );
            assert!(fault.hint.unwrap().contains("nul_replacement"));
            let found = one(&mut silver, schema, ty, form, &payload, &replacing).await;
            assert_eq!(found.as_deref(), Some(landed), "{schema} {form:?}");
        }
    }
}

#[tokio::test]
async fn a_generated_column_is_left_to_postgresql() {
    let mut silver = Silver::open().await;
    let types = ["integer".to_owned(), "integer GENERATED ALWAYS AS (id * 10) STORED".to_owned()];
    for form in FORMS {
        let schemas = vec![connect("int32"), connect("int32")];
        let mut table = silver.table(&types, schemas, form, &Table::default()).await;
        // A snapshot's row says what the source computed.
        let (decoded, row) = table.decode(&table.record(1, &[json!(7), json!(99)])).unwrap();
        silver.write(&table, &[row], &[decoded]).await;
        let landed = silver.rows(&format!("SELECT c0::text, c1::text FROM {}", table.name)).await;
        assert_eq!(landed, [[Some("7".to_owned()), Some("10".to_owned())]], "{form:?}");
    }
}

#[tokio::test]
async fn the_time_of_the_source_keeps_its_microseconds() {
    let mut silver = Silver::open().await;
    for form in FORMS {
        let mut table = silver
            .table(&["text".to_owned()], vec![connect("string")], form, &Table::default())
            .await;
        let (decoded, row) = table.decode(&table.record(1, &[json!("x")])).unwrap();
        assert!(matches!(decoded, Decoded::Change(_)));
        silver.write(&table, &[row], &[decoded]).await;
        let found = silver.rows(&format!("SELECT _source_ts::text FROM {}", table.name)).await;
        let expected = silver
            .rows("SELECT (timestamptz 'epoch' + interval '1795245865 s' + interval '831123 us')::text")
            .await;
        assert_eq!(found, expected, "{form:?}");
    }
}
