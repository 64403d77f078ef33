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
    let bytes = bytes.trim_ascii_start();
    let Some(digits) = bytes.strip_prefix(b"\"") else {
        return Some((None, bytes.strip_prefix(b"null")?));
    };
    let (number, rest) = leading(digits)?;
    Some((Some(number), rest.strip_prefix(b"\"")?))
}

/// An unsigned decimal without sign or space; `None` when it is empty, has another character or does not fit.
#[must_use]
pub fn decimal(digits: &[u8]) -> Option<u64> {
    leading(digits).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// The decimal at the start, and what follows it.
#[inline]
fn leading(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut rest) = (0_u64, bytes);
    if let Some((chunk, behind)) = rest.split_first_chunk()
        && let Some(eight) = eight_digits(*chunk)
    {
        (value, rest) = (eight, behind);
    }
    while let Some((digit @ b'0'..=b'9', behind)) = rest.split_first() {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = behind;
    }
    (rest.len() < bytes.len()).then_some((value, rest))
}

/// Eight digits at once; `None` when one is none.
#[inline]
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    const EACH: u64 = u64::MAX / 255;
    // A digit leaves 0 to 9 of its byte; of what leaves more, adding 0x76 reaches bit 7.
    let digits = u64::from_le_bytes(text) ^ (EACH * 0x30);
    if (digits | digits.wrapping_add(EACH * 0x76)) & (EACH * 0x80) != 0 {
        return None;
    }
    // Neighbours are joined: to 2 digits in 8 bits, 4 in 16, 8 in 32.
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
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
        fn a_decimal_is_digits_that_fit(text in "[0-9]{0,22}[0-9/:x]?[0-9]{0,10}") {
            prop_assert_eq!(decimal(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = parse(&text);
            let _ = commit_lsn(&text);
        }
    }
}
