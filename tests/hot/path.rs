//! The product's own path from record to sealed batch, put together as the intake thread does it.

use crate::records::{IDS, shape};
use crate::workload;
use anyhow::{Context, bail};
use silversink::batch::arena::{Arena, Folded, Incoming, SealedRange};
use silversink::batch::{Batch, Kind, OffsetRange};
use silversink::config::{Format, Table};
use silversink::decode::plan::{self, Plan, SchemaText};
use silversink::decode::slot::Scratch;
use silversink::decode::{
    Change, ChangeKind, Decoded, RowBuffer, SchemaId, TopicDecoder, UNPLACED,
};
use silversink::epoch::{Placed, Signal, Tracker};
use silversink::record::RawRecord;
use silversink::route;
use silversink::table::TableShape;
use std::sync::Arc;

/// One lane's decoder and open batch, and one partition's lineages.
pub struct Path {
    decoder: TopicDecoder,
    shape: Arc<TableShape>,
    schemas: (String, String),
    tracker: Tracker,
    scratch: Scratch,
    pub row: RowBuffer,
    pub arena: Arena,
    sealed: u64,
    many: bool,
    /// Tables that records have named.
    pub tables: usize,
}

impl Path {
    pub fn new() -> anyhow::Result<Self> {
        let shape = Arc::new(shape());
        let mut arena = Arena::default();
        arena.set_shape(Arc::clone(&shape));
        Ok(Self {
            decoder: TopicDecoder::new(Format::Auto, Table::default()),
            shape,
            schemas: workload::schemas()?,
            tracker: Tracker::default(),
            scratch: Scratch::default(),
            row: RowBuffer::default(),
            arena,
            sealed: 0,
            many: false,
            tables: 0,
        })
    }

    /// The same for a topic whose records name their tables, every one of this shape.
    #[allow(dead_code, reason = "the benchmark has topics of one table")]
    pub fn of_many(template: route::Template) -> anyhow::Result<Self> {
        let path = Self::new()?;
        Ok(Self { decoder: path.decoder.with_tables(Some(template)), many: true, ..path })
    }

    /// Decodes one record; its columns are in `row`.
    pub fn decode(&mut self, raw: &RawRecord<'_>) -> anyhow::Result<Change> {
        loop {
            match self.decoder.decode(raw, &mut self.scratch, &mut self.row) {
                Decoded::Change(change) => return Ok(change),
                Decoded::NewTable(table) => {
                    self.tables += 1;
                    self.decoder.add_table(table, self.tables);
                }
                Decoded::NeedsPlan(need) => {
                    let table = self.decoder.placed();
                    let schema = plan::describe(
                        text(&need.key, &self.schemas),
                        text(&need.value, &self.schemas),
                    )?;
                    if self.many && table == UNPLACED {
                        self.decoder.install(&need, Arc::new(Plan::placing(&schema)));
                        continue;
                    }
                    let overrides = self.decoder.overrides();
                    let plan = plan::compile(&schema, Arc::clone(&self.shape), overrides);
                    let plan = plan.map_err(|mismatches| anyhow::anyhow!("{mismatches:?}"))?;
                    self.decoder.put(table, &need, Ok(Arc::new(plan)));
                }
                other => bail!("{}: {other:?}", raw.coordinates()),
            }
        }
    }

    /// Finds the change's source epoch and folds it in; true when it is kept so far.
    pub fn fold(&mut self, change: &Change, raw: &RawRecord<'_>) -> anyhow::Result<bool> {
        let source_ts = change.source_ts.filter(|_| change.own_time);
        let source = self.decoder.source(change.source);
        let seen = change.sighting.as_ref();
        let mut placed = self.tracker.place_at(source, raw.offset, seen, source_ts);
        if let Placed::StartsOver { current: 0, signal: Signal::FirstSeen { .. }, .. } = placed {
            // The worker writes down that the source begins here; nobody has raised an epoch.
            self.tracker.enter(source, raw.offset, 0);
            placed = self.tracker.place_at(source, raw.offset, seen, source_ts);
        }
        let version = match placed {
            Placed::In(epoch) => change.version.in_epoch(epoch),
            other => bail!("{}: {other:?}", raw.coordinates()),
        };
        let folded = self.arena.fold(Incoming {
            body: &self.row.body,
            key: &self.row.key,
            kind: match change.kind {
                ChangeKind::Row if change.has_kept => Kind::Partial,
                ChangeKind::Row => Kind::Whole,
                ChangeKind::Delete => Kind::Delete,
                ChangeKind::Tombstone => Kind::Tombstone,
                ChangeKind::Truncate => bail!("{}: a truncate", raw.coordinates()),
            },
            version,
            deleted_at: change.deleted_at,
            source_ts: change.source_ts,
            own_time: change.own_time,
            kept: &self.row.kept,
            needs_base: change.needs_base,
            old_key: change.moved.then_some(&self.row.old_key),
            told: change.told(&self.row),
            slot: 0,
            offset: raw.offset,
        });
        Ok(folded == Folded::Kept)
    }

    /// Seals what was gathered.
    pub fn seal(&mut self) -> anyhow::Result<Batch> {
        self.sealed += 1;
        let range = OffsetRange {
            topic: workload::topic(0),
            topic_id: uuid::Uuid::nil(),
            partition: 0,
            owner_epoch: 1,
            from: 0,
            next: i64::MAX,
            changes: 0,
            folded: 0,
            skipped: 0,
            dead_lettered: 0,
            lineage: None,
        };
        let batch = self.arena.seal(self.sealed, vec![SealedRange { slot: 0, range }]);
        batch.shape.is_some().then_some(batch).context("a batch without a table")
    }
}

fn text<'t>(id: &'t SchemaId, schemas: &'t (String, String)) -> SchemaText<'t> {
    match id {
        SchemaId::Avro(id) if id.to_string() == IDS.0.to_string() => SchemaText::Avro(&schemas.0),
        SchemaId::Avro(_) => SchemaText::Avro(&schemas.1),
        SchemaId::ConnectJson(text) => SchemaText::ConnectJson(text),
        SchemaId::Schemaless => SchemaText::Schemaless,
        SchemaId::None => SchemaText::None,
    }
}
