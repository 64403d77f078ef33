//! What JSON numbers and escapes mean. Numbers are never rounded: what is no 64-bit integer keeps its text.

use crate::decode::slot::Slot;

/// The slot of a number, by its text.
pub fn number(text: &str) -> Slot<'_> {
    // "-0" is an integer by its digits, but not for a float column.
    if text == "-0" {
        return Slot::Number(text);
    }
    match text.parse() {
        Ok(n) => Slot::Int(n),
        Err(_) => text.parse().map_or(Slot::Number(text), Slot::Unsigned),
    }
}

/// Appends a JSON string's content (without its quotes) with the escapes resolved (RFC 8259, section 7). `None` when an
/// escape is unknown or a surrogate stands alone.
pub fn unescape(mut text: &str, out: &mut String) -> Option<()> {
    while let Some((plain, escape)) = text.split_once('\\') {
        out.push_str(plain);
        let mut rest = escape.chars();
        let simple = match rest.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let (c, after) = unicode(rest.as_str())?;
                out.push(c);
                text = after;
                continue;
            }
            c @ ('"' | '\\' | '/') => c,
            _ => return None,
        };
        out.push(simple);
        text = rest.as_str();
    }
    out.push_str(text);
    Some(())
}

/// The character of `XXXX` or `XXXX\uXXXX`, and what follows it.
fn unicode(text: &str) -> Option<(char, &str)> {
    let (high, rest) = code_unit(text)?;
    if !(0xd800..0xdc00).contains(&high) {
        return Some((char::from_u32(high)?, rest));
    }
    let (low, rest) = code_unit(rest.strip_prefix("\\u")?)?;
    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)?, rest))
}

fn code_unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let value = digits.chars().try_fold(0, |n, c| Some(n << 4 | c.to_digit(16)?))?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_stay_integers_and_other_numbers_keep_their_text() {
        assert_eq!(number("-5"), Slot::Int(-5));
        assert_eq!(number("9223372036854775807"), Slot::Int(i64::MAX));
        assert_eq!(number("18446744073709551615"), Slot::Unsigned(u64::MAX));
        assert_eq!(number("18446744073709551616"), Slot::Number("18446744073709551616"));
        assert_eq!(number("0.10"), Slot::Number("0.10"));
        assert_eq!(number("1e3"), Slot::Number("1e3"));
        assert_eq!(number("-0"), Slot::Number("-0"));
    }

    #[test]
    fn a_lone_surrogate_is_refused() {
        for text in [r"\ud800", r"\udc00", r"\ud800\u0041", r"\ud800x"] {
            assert_eq!(unescape(text, &mut String::new()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn escaped_text_is_read_as_serde_json_reads_it(text: String) {
            let mut json: String = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(read(&json), Some(text.clone()));
            json = format!("\"{}\"", text.encode_utf16().map(|u| format!("\\u{u:04x}")).collect::<String>());
            prop_assert_eq!(read(&json), Some(text));
        }
    }

    fn read(json: &str) -> Option<String> {
        let mut text = String::new();
        unescape(json.strip_prefix('"')?.strip_suffix('"')?, &mut text).map(|()| text)
    }
}
