//! What can go wrong, in five classes, with stable codes. Knows nothing of any adapter.

use std::fmt;

/// What a failure means for the worker; the only thing that behaviour depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The same work may succeed later: retry with backoff, for ever.
    Transient,
    /// This record can never succeed, its neighbours may: dead-letter it (I7).
    Poison,
    /// The record is fine, the world is not (missing column, no grant): stop the lane, say what to do.
    Blocked,
    /// We are no longer the owner: drop the work silently (I6).
    Fenced,
    /// Our own configuration or a bug: stop the program.
    Fatal,
}

/// A closed set of words that people and machines read outside the program.
macro_rules! closed_set {
    ($(#[$of:meta])* $set:ident: $($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $set { $($(#[$doc])* $name),+ }
        impl $set {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
            /// As it stands in logs, headers, tables and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => $text),+ } }
        }
        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use closed_set;

closed_set! {
    /// A stable cause: metric label, dead-letter header, row of the README. Closed set.
    Code:
    // poison
    /// Bytes that do not follow their schema, or no JSON.
    Undecodable = "undecodable",
    /// First byte is no known wire format.
    UnknownMagicByte = "unknown_magic_byte",
    /// The registry says that the schema id does not exist.
    SchemaUnknown = "schema_unknown",
    /// The schema itself cannot be used (recursive, unparsable).
    SchemaUnusable = "schema_unusable",
    /// The record has no key, so the row it belongs to is unknown.
    KeyMissing = "key_missing",
    /// The envelope lacks what its op needs.
    EnvelopeInvalid = "envelope_invalid",
    /// A value does not fit the Silver column.
    ValueOutOfRange = "value_out_of_range",
    /// A text contains U+0000, which PostgreSQL cannot store.
    NulCharacter = "nul_character",
    /// A row violates NOT NULL, CHECK or another deterministic constraint.
    ConstraintViolation = "constraint_violation",
    /// A record is larger than the limit.
    RecordTooLarge = "record_too_large",
    /// Unchanged columns arrived for a row that Silver does not have (I9).
    UnchangedWithoutBase = "unchanged_without_base",
    /// An update moved the row to another key, and its record cannot say so in two changes.
    KeyChanged = "key_changed",
    // blocked lane
    /// The record's op is none that is known: a newer connector may mean anything by it.
    OpUnknown = "op_unknown",
    /// One topic brings rows of several source tables, and nothing tells them apart.
    SourceMixed = "source_mixed",
    /// A record whose source tells no table where its route asks for one, or one that Silver cannot have.
    TableUnplaced = "table_unplaced",
    /// A truncate in a topic or table that several sources share: whose rows it means is not known.
    TruncateAmbiguous = "truncate_ambiguous",
    /// Deletes come without the row's key: the source's replica identity is another index.
    ReplicaIdentity = "replica_identity",
    /// The Silver table is missing and may not or cannot be created.
    TableMissing = "table_missing",
    /// The Silver table lacks a column and may not be altered.
    ColumnMissing = "column_missing",
    /// A Silver column's type cannot hold the source column.
    TypeMismatch = "type_mismatch",
    /// A source column holds less than before, and `[schema] narrowing` says that this stops the lane.
    ColumnNarrowed = "column_narrowed",
    /// The Silver table has a constraint that soft deletes or replays break.
    ConstraintUnsupported = "constraint_unsupported",
    /// The Silver table's primary key is not the record key.
    KeyMismatch = "key_mismatch",
    /// The destination refuses an operation for lack of privileges.
    PrivilegeMissing = "privilege_missing",
    /// Rows offered are not rows applied plus superseded: a trigger, rule or policy interferes.
    RowCountMismatch = "row_count_mismatch",
    /// Several writers meet in one session of the server: a connection pooler hands it out per transaction.
    PostgresPooled = "postgres_pooled",
    /// The Silver table holds rows of a source epoch that the registry does not know.
    SourceEpochBehind = "source_epoch_behind",
    /// The header that is to hold a record's source epoch holds no number.
    EpochHeaderInvalid = "epoch_header_invalid",
    /// A later change has a lower version than its row, in one source epoch (design section 4, tripwire).
    OrderContradicted = "order_contradicted",
    /// Another pipeline owns the Silver table.
    TableOwned = "table_owned",
    /// An SQLSTATE that the worker does not know.
    SqlstateUnknown = "sqlstate_unknown",
    /// Too many dead letters in a short time.
    DeadLetterFlood = "dead_letter_flood",
    /// A dead letter arose and no dead-letter topic is configured.
    DeadLetterTopicMissing = "dead_letter_topic_missing",
    // stopped partition (start rules)
    /// Records between the stored position and the log start are gone.
    RetentionGap = "retention_gap",
    /// The stored position is beyond the log end.
    Truncated = "truncated",
    /// The topic was deleted and created again.
    IncarnationChanged = "incarnation_changed",
    /// The group has offsets in Kafka, but the destination knows no position.
    KafkaOffsetsWithoutPosition = "kafka_offsets_without_position",
    /// Someone moved the group offset forward: records would be skipped.
    ForwardResetRefused = "forward_reset_refused",
    /// The destination is behind what was committed: it was restored or lost its tail.
    DestinationRewound = "destination_rewound",
    /// A topic matches no route.
    Unrouted = "unrouted",
    // transient
    /// PostgreSQL cannot be reached or is overloaded.
    PostgresUnavailable = "postgres_unavailable",
    /// Serialization failure, deadlock, lock timeout or a key race.
    PostgresConflict = "postgres_conflict",
    /// Kafka cannot be reached.
    KafkaUnavailable = "kafka_unavailable",
    /// The registry cannot be reached or answers with an error of its own.
    RegistryUnavailable = "registry_unavailable",
    /// The registry refuses the credentials.
    RegistryUnauthorized = "registry_unauthorized",
    /// A dead letter was not acknowledged.
    DeadLetterUnacknowledged = "dead_letter_unacknowledged",
    // fenced, fatal
    /// Another worker has claimed the partition.
    Fenced = "fenced",
    /// The configuration is wrong.
    Configuration = "configuration",
    /// The Kafka client gave up.
    KafkaFatal = "kafka_fatal",
    /// PostgreSQL refuses the login or the database.
    PostgresLogin = "postgres_login",
    /// The destination server is too old.
    PostgresTooOld = "postgres_too_old",
    /// A bug in this program.
    Internal = "internal",
}

/// A classified failure. `text` says what was attempted on what and never holds a row value (I17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it means.
    pub class: Class,
    /// The stable cause.
    pub code: Code,
    /// One sentence for people, lower case, no row value.
    pub text: String,
    /// What an operator should do, if there is something.
    pub hint: Option<String>,
    /// SQLSTATE, where PostgreSQL was the one to refuse.
    pub sqlstate: Option<String>,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(class: Class, code: Code, text: impl Into<String>) -> Self {
        Self { class, code, text: text.into(), hint: None, sqlstate: None }
    }

    /// A record that can never succeed.
    pub fn poison(code: Code, text: impl Into<String>) -> Self {
        Self::new(Class::Poison, code, text)
    }

    /// A lane that cannot go on until someone acts.
    pub fn blocked(code: Code, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::new(Class::Blocked, code, text) }
    }

    /// Work that may succeed later.
    pub fn transient(code: Code, text: impl Into<String>) -> Self {
        Self::new(Class::Transient, code, text)
    }

    /// Adds what an operator should do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds PostgreSQL's SQLSTATE.
    #[must_use]
    pub fn with_sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        self.sqlstate = Some(sqlstate.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code, self.text)
    }
}

impl std::error::Error for Fault {}
