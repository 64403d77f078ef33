//! Positions and versions: texts are read as a slow reader reads them, and the stored form orders as the tuple does.

use silversink::decode::sequence::{self, Sequence};
use silversink::version::{Version, VersionParts};

pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let fast = sequence::parse(text);
        if let Some(slow) = slow_sequence(text) {
            assert_eq!(fast, Some(slow), "{text:?}");
        }
        if let Some(sequence) = fast {
            let again = format!("[{},{}]", quoted(sequence.commit), quoted(sequence.change));
            assert_eq!(sequence::parse(&again), fast);
        }
        if let Some(lsn) = sequence::commit_lsn(text) {
            // The last part has 4 digits or more.
            let again = format!("{lsn:0width$x}", width = text.len() - 2);
            assert!(again.eq_ignore_ascii_case(&text.replace(':', "")), "{again} is not {text}");
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        assert_eq!(sequence::decimal(data), digits.then(|| text.parse().ok()).flatten());
    }
    let (first, second) = data.split_at(data.len() / 2);
    if let (Some(a), Some(b)) = (version(first), version(second)) {
        assert_eq!(a.cmp(&b), a.parts().cmp(&b.parts()));
        assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
    }
}

fn quoted(position: Option<u64>) -> String {
    position.map_or("null".to_owned(), |n| format!("\"{n}\""))
}

/// `source.sequence` through a whole JSON parser.
fn slow_sequence(text: &str) -> Option<Sequence> {
    let entries: [Option<&str>; 2] = serde_json::from_str(text).ok()?;
    let [commit, change] = entries.map(|entry| match entry {
        None => Some(None),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
        Some(_) => None,
    });
    Some(Sequence { commit: commit?, change: change? })
}

fn version(bytes: &[u8]) -> Option<Version> {
    let version = Version::from_bytes(bytes.get(..Version::LEN)?)?;
    let parts: VersionParts = version.parts();
    assert_eq!(Version::new(parts), version);
    Some(version)
}
