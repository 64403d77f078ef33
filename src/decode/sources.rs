//! Which source table a topic's records come from: rows of several need something that tells them apart.

use super::facts::{Fact, Facts};
use super::slot::Scratch;
use crate::fault::{Code, Fault};
use crate::table::TableName;

/// Prefix of the key fields by which Debezium's ByLogicalTableRouter tells tables apart (`__dbz__sourceIdentifier`, before
/// 3.0 `__dbz__physicalTableIdentifier`).
const IDENTIFIER: &str = "__dbz__";

/// Whether a key column of this name tells source tables apart.
pub(super) fn is_identifier(column: &str) -> bool {
    column.starts_with(IDENTIFIER)
}

/// The source tables of one topic.
///
/// Several tables reach one topic through a routing transform (RegexRouter, ByLogicalTableRouter). Their keys may be equal, and
/// then one row of Silver would be fought over, so it is allowed only where the key holds an identifier of the source or the
/// route says `merge_sources`.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Several may share the topic.
    pub shared: bool,
    /// Database, schema and table of the first record that told one.
    known: Option<[String; 3]>,
}

impl Sources {
    /// Nothing is known yet.
    pub fn new(shared: bool) -> Self {
        Self { shared, known: None }
    }

    /// Compares a record's source table with the one of the records before it.
    ///
    /// # Errors
    /// Blocked `SourceMixed` when it is another one.
    pub fn check(
        &mut self,
        facts: &Facts<'_>,
        table: &TableName,
        scratch: &Scratch,
    ) -> Result<(), Fault> {
        let Some(name) = facts.text(Fact::Table, scratch)? else { return Ok(()) };
        let part = |fact| facts.text(fact, scratch).map(Option::unwrap_or_default);
        let told = [part(Fact::Database)?, part(Fact::Schema)?, name];
        let Some(known) = &self.known else {
            self.known = Some(told.map(str::to_owned));
            return Ok(());
        };
        if *known == told {
            return Ok(());
        }
        let dotted = |parts: &[&str]| {
            parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
        };
        Err(Fault::blocked(
            Code::SourceMixed,
            format!(
                "the topic of {table} brings rows of {} and of {}, whose keys may be equal",
                dotted(&known.each_ref().map(String::as_str)),
                dotted(&told)
            ),
            "give each source table a topic of its own, or let ByLogicalTableRouter add its identifier to the key (key.enforce.uniqueness), or set merge_sources = true on the route if their keys never meet; if the source table was only renamed, restart the worker",
        ))
    }
}

/// A truncate where several sources feed one table: it would empty what the others brought.
pub(super) fn ambiguous_truncate(table: &TableName) -> Fault {
    Fault::blocked(
        Code::TruncateAmbiguous,
        format!(
            "a truncate for {table}, which several source tables feed: it must not empty the others' rows"
        ),
        "mark the rows of the truncated source deleted by hand (_deleted_at, _version of now), then stop the worker and set next_offset behind the record in silversink.position; let the connector skip truncates (skipped.operations=t)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::slot::Slot;

    fn of(database: &'static str, schema: &'static str, table: &'static str) -> Facts<'static> {
        let mut facts = Facts::default();
        for (fact, text) in
            [(Fact::Database, database), (Fact::Schema, schema), (Fact::Table, table)]
        {
            facts.set(fact, Slot::Text(text));
        }
        facts
    }

    #[test]
    fn a_second_source_table_is_refused_and_a_record_that_tells_none_is_not() {
        let (mut sources, scratch) = (Sources::default(), Scratch::default());
        let silver = TableName::new("silver", "orders");
        assert_eq!(sources.check(&Facts::default(), &silver, &scratch), Ok(()));
        assert_eq!(sources.check(&of("shop", "public", "orders"), &silver, &scratch), Ok(()));
        assert_eq!(sources.check(&Facts::default(), &silver, &scratch), Ok(()));
        assert_eq!(sources.check(&of("shop", "public", "orders"), &silver, &scratch), Ok(()));
        for other in [
            of("shop", "public", "orders_2"),
            of("shop", "other", "orders"),
            of("shop2", "public", "orders"),
        ] {
            let fault = sources.check(&other, &silver, &scratch).unwrap_err();
            assert_eq!(fault.code, Code::SourceMixed);
            assert!(fault.text.contains("shop.public.orders and of"), "{fault}");
        }
    }
}
