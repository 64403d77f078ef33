//! The text that marks a Kafka commit as ours: the mirror of a position, not a request to move it.

const PREFIX: &str = "silversink/1 ";

/// `silversink/1 epoch=<owner_epoch> next=<offset>`: goes into the commit metadata (design section 5).
#[must_use]
pub fn marker(owner_epoch: i64, next_offset: i64) -> String {
    format!("{PREFIX}epoch={owner_epoch} next={next_offset}")
}

/// Whether commit metadata was written by [`marker`]. Stock tools that move an offset write
/// empty metadata or keep none, so a moved offset is never taken for a mirror.
#[must_use]
pub fn is_ours(metadata: &str) -> bool {
    parse(metadata).is_some()
}

/// Owner epoch and next offset of a marker; `None` for anything else.
#[must_use]
pub fn parse(metadata: &str) -> Option<(i64, i64)> {
    let (epoch, next) = metadata.strip_prefix(PREFIX)?.split_once(' ')?;
    Some((epoch.strip_prefix("epoch=")?.parse().ok()?, next.strip_prefix("next=")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_recognised_and_anything_else_is_not() {
        assert_eq!(marker(7, 42), "silversink/1 epoch=7 next=42");
        assert_eq!(parse(&marker(7, 42)), Some((7, 42)));
        for foreign in [
            "",
            "x",
            "silversink/1 ",
            "silversink/1 epoch=7",
            "silversink/1 epoch=a next=1",
            "silversink/2 epoch=7 next=42",
        ] {
            assert!(!is_ours(foreign), "{foreign:?}");
        }
    }
}
