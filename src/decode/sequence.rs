//! `source.sequence` of PostgreSQL: text that holds a JSON array of two texts or nulls.

/// The two positions of `source.sequence`; a null is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// End of the last commit before this transaction.
    pub commit: Option<u64>,
    /// Position of the change itself.
    pub change: Option<u64>,
}

/// Reads `[null,"24023128"]`: two entries, each `null` or a decimal in quotes that fits 64 bits. Spaces between tokens
/// are allowed, anything else is `None`.
#[must_use]
pub fn parse(text: &str) -> Option<Sequence> {
    let rest = token(text.as_bytes(), b"[")?;
    let (commit, rest) = entry(rest)?;
    let (change, rest) = entry(token(rest, b",")?)?;
    let rest = token(rest, b"]")?;
    rest.trim_ascii_start().is_empty().then_some(Sequence { commit, change })
}

fn token<'a>(bytes: &'a [u8], token: &[u8]) -> Option<&'a [u8]> {
    bytes.trim_ascii_start().strip_prefix(token)
}

fn entry(bytes: &[u8]) -> Option<(Option<u64>, &[u8])> {
    if let Some(rest) = token(bytes, b"null") {
        return Some((None, rest));
    }
    let digits = token(bytes, b"\"")?;
    let length = digits.iter().position(|b| *b == b'"')?;
    let (digits, rest) = digits.split_at_checked(length)?;
    Some((Some(decimal(digits)?), rest.get(1..)?))
}

/// An unsigned decimal without sign or space; `None` when it is empty, has another character or does not fit.
#[must_use]
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    // Nineteen digits fit in any case.
    let (first, rest) = digits.split_at(digits.len().min(19));
    let mut value = 0_u64;
    for byte in first {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    rest.iter().try_fold(value, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// `commit_lsn` of SQL Server (10 bytes) and Db2 (10 or 16 bytes, by version) as one integer: hex digits with colons behind
/// the 4th and 8th byte, `00000027:00000ac0:0002`. The width is the same in all records of one source.
#[must_use]
pub fn commit_lsn(text: &str) -> Option<u128> {
    let mut parts = text.split(':');
    let mut value = 0_u128;
    for widths in [8..=8, 8..=8, 4..=16] {
        let part = parts.next().filter(|p| widths.contains(&p.len()))?;
        for digit in part.chars() {
            value = value << 4 | u128::from(digit.to_digit(16)?);
        }
    }
    parts.next().is_none().then_some(value)
}

/// A place in a binary log, `mysql-bin.000123` and 4711, as one integer. Files are ordered by their number, not as text: it
/// may grow beyond six digits. The event header holds 32 bits of position (MySQL, "Event Header").
#[must_use]
pub fn binlog(file: &str, pos: i64) -> Option<u128> {
    let number = decimal(file.rsplit_once('.')?.1.as_bytes())?;
    let pos = u32::try_from(pos).ok()?;
    Some(u128::from(number) << 32 | u128::from(pos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_entries_may_be_null_or_a_number_in_quotes() {
        let some = |commit, change| Some(Sequence { commit, change });
        assert_eq!(parse("[null,\"24023128\"]"), some(None, Some(24_023_128)));
        assert_eq!(parse("[\"1\",\"2\"]"), some(Some(1), Some(2)));
        assert_eq!(parse(" [ null , null ] "), some(None, None));
        assert_eq!(parse("[\"18446744073709551615\",\"0\"]"), some(Some(u64::MAX), Some(0)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "[]",
            "[null]",
            "[null,\"1\"",
            "[null,\"1\"]x",
            "[null,1]",
            "[null,\"\"]",
            "[null,\"-1\"]",
            "[null,\"18446744073709551616\"]",
            "[null,\"1\",\"2\"]",
            "null",
            "[nul,\"1\"]",
            "[null,\"1\\u0031\"]",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_commit_lsn_keeps_its_order_as_an_integer() {
        assert_eq!(commit_lsn("00000027:00000ac0:0002"), Some(0x27_0000_0ac0_0002));
        assert!(commit_lsn("00000027:00000ac0:0003") > commit_lsn("00000027:00000ac0:0002"));
        assert!(commit_lsn("00000028:00000000:0000") > commit_lsn("00000027:ffffffff:ffff"));
        for text in [
            "",
            "27:ac0:2",
            "00000027:00000ac0",
            "00000027:00000ac0:0002:",
            "0000002g:00000ac0:0002",
            "00000027:00000ac0:00020000000000000",
            "NULL",
        ] {
            assert_eq!(commit_lsn(text), None, "{text}");
        }
    }

    #[test]
    fn a_commit_lsn_of_sixteen_bytes_keeps_its_order_too() {
        let text = "00000000:0000150f:0000000000048f58";
        assert_eq!(commit_lsn(text), Some(0x150f_0000_0000_0004_8f58));
        assert!(commit_lsn("ffffffff:ffffffff:ffffffffffffffff") > commit_lsn(text));
    }

    #[test]
    fn binary_logs_are_ordered_by_number_and_not_as_text() {
        assert_eq!(binlog("mysql-bin.000002", 7), Some(2 << 32 | 7));
        assert!(binlog("b.1000000", 4) > binlog("b.999999", i64::from(u32::MAX)));
        assert!(binlog("host.example.000010", 4) > binlog("host.example.000009", 5));
        for (file, pos) in [("", 1), ("b", 1), ("b.", 1), ("b.x", 1), ("b.1", -1), ("b.1", 1 << 32)]
        {
            assert_eq!(binlog(file, pos), None, "{file} {pos}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(commit: Option<u64>, change: Option<u64>) {
            let entry = |n: Option<u64>| n.map_or("null".to_owned(), |n| format!("\"{n}\""));
            let text = format!("[{},{}]", entry(commit), entry(change));
            prop_assert_eq!(parse(&text), Some(Sequence { commit, change }));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = parse(&text);
            let _ = commit_lsn(&text);
        }
    }
}
