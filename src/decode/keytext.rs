//! A record key for people: what on-call sees in `silversink.dead_letter`.

/// The key as text if it is JSON; other keys are shown in hexadecimal. `None` for keys too long to be worth a column.
#[must_use]
pub fn printable(key: &[u8]) -> Option<String> {
    const LONGEST: usize = 1024;
    if key.len() > LONGEST {
        return None;
    }
    if let Ok(text) = std::str::from_utf8(key)
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    {
        return Some(text.to_owned());
    }
    let mut hex = String::with_capacity(key.len() * 2 + 2);
    hex.push_str("\\x");
    for byte in key {
        hex.extend(char::from_digit(u32::from(byte >> 4), 16));
        hex.extend(char::from_digit(u32::from(byte & 15), 16));
    }
    Some(hex)
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn json_keys_stay_text_and_others_become_hexadecimal() {
        assert_eq!(printable(br#"{"id":7}"#).as_deref(), Some(r#"{"id":7}"#));
        assert_eq!(printable(&[0, 0xff, 0x10]).as_deref(), Some("\\x00ff10"));
        assert_eq!(printable(&[b'x'; 2000]), None);
    }
}
