//! The version of a change: the total order of the changes of one row (design: version guard).
//!
//! `(source epoch, commit position, phase, change position, kafka offset)`, compared from left to right as unsigned
//! integers. The encoded form is 37 bytes, big-endian, so that comparing `bytea` in PostgreSQL, comparing slices here and
//! comparing the tuple are the same thing.

/// A version in its stored form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u8; Version::LEN]);

/// The parts of a [`Version`], for people and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionParts {
    /// Lineage counter of the source.
    pub source_epoch: u32,
    /// Commit rank: for PostgreSQL `source.sequence[0]`, 0 if null or unknown.
    pub commit_position: u128,
    /// 0 for a snapshot read (`r`), 1 for a streamed change.
    pub phase: u8,
    /// Position inside the transaction: for PostgreSQL `source.sequence[1]`, else `lsn`, else 0; 0 also on rows of snapshots
    /// beside the stream.
    pub change_position: u64,
    /// Kafka offset, the last tie-breaker.
    pub kafka_offset: u64,
}

impl Version {
    /// Bytes of the stored form: 4 + 16 + 1 + 8 + 8.
    pub const LEN: usize = 37;
    /// Above every other version; no change has it.
    pub const HIGHEST: Self = Self([u8::MAX; Self::LEN]);
    /// Where the phase stands in the stored form.
    pub const PHASE_AT: usize = 20;
    /// Where the Kafka offset starts in the stored form.
    pub const OFFSET_AT: usize = 29;

    /// Encodes the parts.
    #[must_use]
    pub fn new(parts: VersionParts) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[0..4].copy_from_slice(&parts.source_epoch.to_be_bytes());
        bytes[4..20].copy_from_slice(&parts.commit_position.to_be_bytes());
        bytes[20] = parts.phase;
        bytes[21..29].copy_from_slice(&parts.change_position.to_be_bytes());
        bytes[29..37].copy_from_slice(&parts.kafka_offset.to_be_bytes());
        Self(bytes)
    }

    /// Takes the stored form apart.
    #[must_use]
    pub fn parts(&self) -> VersionParts {
        let [a, b, c, d, rest @ ..] = self.0;
        let (commit, rest) = rest.split_first_chunk().unwrap_or((&[0; 16], &[]));
        let (phase, rest) = rest.split_first().unwrap_or((&0, &[]));
        let (change, rest) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
        VersionParts {
            source_epoch: u32::from_be_bytes([a, b, c, d]),
            commit_position: u128::from_be_bytes(*commit),
            phase: *phase,
            change_position: u64::from_be_bytes(*change),
            kafka_offset: u64::from_be_bytes(*rest.first_chunk().unwrap_or(&[0; 8])),
        }
    }

    /// The lowest version above this one.
    #[must_use]
    pub fn successor(&self) -> Self {
        let mut bytes = self.0;
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Self(bytes);
            }
        }
        *self
    }

    /// Whether both stand at one position of the source, so that only their Kafka offsets differ.
    #[must_use]
    pub fn same_position(&self, other: &Self) -> bool {
        self.0[..Self::OFFSET_AT] == other.0[..Self::OFFSET_AT]
    }

    /// Whether both have one Kafka offset.
    #[must_use]
    pub fn same_offset(&self, other: &Self) -> bool {
        self.0[Self::OFFSET_AT..] == other.0[Self::OFFSET_AT..]
    }

    /// Whether both are streamed changes of one transaction (or of those that the source gives one commit position).
    #[must_use]
    pub fn same_transaction(&self, other: &Self) -> bool {
        self.0[Self::PHASE_AT] == 1 && self.0[..=Self::PHASE_AT] == other.0[..=Self::PHASE_AT]
    }

    /// The stored form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The same version in another source epoch.
    #[must_use]
    pub fn in_epoch(mut self, source_epoch: u32) -> Self {
        self.0[0..4].copy_from_slice(&source_epoch.to_be_bytes());
        self
    }

    /// The lowest version of an epoch.
    #[must_use]
    pub fn lowest_of(source_epoch: u32) -> Self {
        Self([0; Self::LEN]).in_epoch(source_epoch)
    }

    /// Whether a streamed change of this version, read from the log behind a streamed change of version `row`, is below it
    /// although both belong to one source epoch. If it is also later by its source's clock, the order is contradicted.
    #[must_use]
    pub fn is_late_below(&self, row: &Self) -> bool {
        let streamed = |version: &Self| version.0[Self::PHASE_AT] == 1;
        self < row
            && self.0[..4] == row.0[..4]
            && streamed(self)
            && streamed(row)
            && self.0[Self::OFFSET_AT..] > row.0[Self::OFFSET_AT..]
    }

    /// Reads the stored form from hexadecimal digits, as PostgreSQL's `encode(_version, 'hex')` prints it.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; Self::LEN];
        if digits.len() != 2 * Self::LEN {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Reads the stored form; `None` when the length is not [`Version::LEN`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let p = self.parts();
        write!(
            f,
            "({},{},{},{},{})",
            p.source_epoch, p.commit_position, p.phase, p.change_position, p.kafka_offset
        )
    }
}
