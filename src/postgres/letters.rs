//! Dead letters of a batch and the holes they leave, written in its transaction.

use super::params::Letters;
use super::writer::Writer;
use crate::batch::Batch;
use crate::sql::ledger;
use crate::table::TableName;
use crate::version::Version;
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

impl Writer {
    pub(super) async fn insert_letters(
        &self,
        pipeline: &str,
        table: Option<&TableName>,
        letters: &Letters<'_>,
    ) -> Result<(), Error> {
        if letters.offsets.is_empty() {
            return Ok(());
        }
        let schema = table.map(|t| t.schema.as_str());
        let name = table.map(|t| t.name.as_str());
        self.client
            .execute_typed(
                ledger::LETTERS,
                &[
                    (&pipeline, Type::TEXT),
                    (&schema, Type::TEXT),
                    (&name, Type::TEXT),
                    (&letters.topics, Type::TEXT_ARRAY),
                    (&letters.topic_ids, Type::UUID_ARRAY),
                    (&letters.partitions, Type::INT4_ARRAY),
                    (&letters.offsets, Type::INT8_ARRAY),
                    (&letters.codes, Type::TEXT_ARRAY),
                    (&letters.fingerprints, Type::TEXT_ARRAY),
                    (&letters.keys, Type::TEXT_ARRAY),
                    (&letters.versions, Type::BYTEA_ARRAY),
                    (&letters.reasons, Type::TEXT_ARRAY),
                    (&letters.sqlstates, Type::TEXT_ARRAY),
                    (&letters.dlq_partitions, Type::INT4_ARRAY),
                    (&letters.dlq_offsets, Type::INT8_ARRAY),
                ],
            )
            .await
            .map(|_| ())
    }

    /// Opens the holes of the batch's letters and closes those below its whole rows, in this order.
    pub(super) async fn keep_holes(
        &self,
        table: Option<&TableName>,
        batch: &Batch,
    ) -> Result<(), Error> {
        let opened = batch.letters.iter().filter_map(|letter| letter.hole.as_ref());
        let opened = opened.map(|(key, version)| (key.as_slice(), version));
        let closed = batch.closed.iter().map(|(key, version)| (key.as_slice(), version));
        let Some(table) = table else { return Ok(()) };
        let change = async |sql: &str, holes: Vec<(&[u8], &Version)>| {
            if holes.is_empty() {
                return Ok(());
            }
            let (keys, versions): (Vec<&[u8]>, Vec<&[u8]>) = holes
                .into_iter()
                .map(|(key, version)| (key, version.as_bytes().as_slice()))
                .unzip();
            let params: [(&(dyn ToSql + Sync), Type); 4] = [
                (&table.schema, Type::TEXT),
                (&table.name, Type::TEXT),
                (&keys, Type::BYTEA_ARRAY),
                (&versions, Type::BYTEA_ARRAY),
            ];
            self.client.execute_typed(sql, &params).await.map(|_| ())
        };
        let (opened, closed) = futures::join!(
            change(ledger::OPEN_HOLES, opened.collect()),
            change(ledger::CLOSE_HOLES, closed.collect())
        );
        opened.and(closed)
    }
}
