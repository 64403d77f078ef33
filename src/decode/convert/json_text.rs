//! Is this JSON that PostgreSQL takes? Syntax by serde_json; depth, escapes and number size by one scan (guarantees S9, S11).

use super::{Context, Encoded, Refusal};
use serde::de::IgnoredAny;
use std::borrow::Cow;

const SYNTAX: Refusal = Refusal::Value("is no JSON");
const DEPTH: Refusal = Refusal::Value("is JSON nested too deeply");
const SURROGATE: Refusal = Refusal::Value("is JSON with half of a surrogate pair");
const NUMBER: Refusal = Refusal::Value("is JSON with a number outside PostgreSQL's range");

/// Far below what `max_stack_depth` (2 MB by default) allows, so that SQLSTATE 54001 never comes up.
const DEEPEST: usize = 1000;

/// The text that is stored: as it is, or with the configured replacement of its escaped U+0000.
pub fn checked<'t>(text: &'t str, context: Context<'_>) -> Result<Cow<'t, str>, Refusal> {
    match (check(text), context.nul) {
        (Ok(()), _) => Ok(Cow::Borrowed(text)),
        (Err(Refusal::Nul), Some(replacement)) => {
            let replaced = replace_nul(text, replacement)?;
            check(&replaced)?;
            Ok(Cow::Owned(replaced))
        }
        (Err(refusal), _) => Err(refusal),
    }
}

/// Escapes stand only inside strings, and a backslash takes the character behind it along.
fn replace_nul(text: &str, replacement: &str) -> Result<String, Refusal> {
    let quoted = serde_json::to_string(replacement).map_err(|_| SYNTAX)?;
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        if let Some(after) = escape.strip_prefix("u0000") {
            out.push_str(inner);
            rest = after;
            continue;
        }
        let mut characters = escape.chars();
        out.push('\\');
        out.extend(characters.next());
        rest = characters.as_str();
    }
    out.push_str(rest);
    Ok(out)
}

/// Checks a JSON text for `json` and `jsonb` alike: a `json` with `\u0000` is stored, but fails later readers.
pub fn check(text: &str) -> Encoded {
    scan(text.as_bytes())?;
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|_| SYNTAX)
}

fn scan(mut rest: &[u8]) -> Encoded {
    let mut depth = 0usize;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(DEPTH);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => rest = scan_string(rest)?,
            b'-' | b'0'..=b'9' => rest = scan_number(rest)?,
            _ => {}
        }
    }
    Ok(())
}

/// From behind the opening quote to behind the closing one.
fn scan_string(mut rest: &[u8]) -> Result<&[u8], Refusal> {
    // Bytes below 0x20 are left to the syntax check.
    loop {
        let (byte, tail) = rest.split_first().ok_or(SYNTAX)?;
        rest = tail;
        match byte {
            b'"' => return Ok(rest),
            b'\\' => {
                let (escape, tail) = rest.split_first().ok_or(SYNTAX)?;
                rest = tail;
                if *escape == b'u' {
                    let unit = code_unit(&mut rest)?;
                    match unit {
                        0 => return Err(Refusal::Nul),
                        0xD800..=0xDBFF => {
                            rest = rest.strip_prefix(b"\\u").ok_or(SURROGATE)?;
                            if !(0xDC00..=0xDFFF).contains(&code_unit(&mut rest)?) {
                                return Err(SURROGATE);
                            }
                        }
                        0xDC00..=0xDFFF => return Err(SURROGATE),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn code_unit(rest: &mut &[u8]) -> Result<u16, Refusal> {
    let (digits, tail) = rest.split_first_chunk::<4>().ok_or(SYNTAX)?;
    *rest = tail;
    let digits = std::str::from_utf8(digits).map_err(|_| SYNTAX)?;
    u16::from_str_radix(digits, 16).map_err(|_| SYNTAX)
}

/// A jsonb number is a `numeric`: at most 131,072 digits before the point and 16,383 after it.
fn scan_number(rest: &[u8]) -> Result<&[u8], Refusal> {
    let end = rest
        .iter()
        .position(|b| !matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .unwrap_or(rest.len());
    let (number, tail) = rest.split_at_checked(end).ok_or(SYNTAX)?;
    // Short and without exponent: cannot be out of range.
    let exponent = number.iter().position(|b| matches!(b, b'e' | b'E'));
    if let Some(at) = exponent {
        let digits =
            number.get(at + 1..).and_then(|d| std::str::from_utf8(d).ok()).ok_or(SYNTAX)?;
        let power = digits.parse::<i64>().map_err(|_| NUMBER)?;
        // Leaves room for the digits of the mantissa, which are bounded next.
        if !(-16_000..=130_000).contains(&power) || at > 300 {
            return Err(NUMBER);
        }
    } else if number.len() > 16_000 {
        return Err(NUMBER);
    }
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_postgresql_stores_is_let_through() {
        for text in [
            "null",
            "[]",
            " {\"a\": [1, -2.5e10, {\"b\": null}]} ",
            r#""\ud83d\ude00 \u00e9 \\u0000""#,
            "1.10",
            "12345678901234567890.123456789",
            r#"{"a":1,"a":2}"#,
        ] {
            assert!(check(text).is_ok(), "{text}");
        }
        assert!(check(&("[".repeat(DEEPEST) + &"]".repeat(DEEPEST))).is_ok());
    }

    #[test]
    fn an_escaped_nul_is_replaced_and_an_escaped_backslash_is_not() {
        let replaced = |text| replace_nul(text, "\"").unwrap();
        assert_eq!(replaced(r#""a\u0000b""#), r#""a\"b""#);
        assert_eq!(replaced(r#"{"k\u0000": "\\u0000\\\u0000"}"#), r#"{"k\"": "\\u0000\\\""}"#);
    }

    #[test]
    fn json_that_postgresql_refuses_is_refused_first() {
        for text in [
            "",
            "{",
            "{'a':1}",
            "[1,]",
            "NaN",
            "01",
            r#""\u0000""#,
            r#"{"\u0000":1}"#,
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d\u0041""#,
            "1e200000",
            "1e-20000",
            "\"a\nb\"",
            "1 2",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
        assert!(check(&("[".repeat(100_000) + &"]".repeat(100_000))).is_err());
    }
}
