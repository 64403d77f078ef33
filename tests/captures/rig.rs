//! One encoding of a scenario on a database of its own: decoded, applied once as it arrived, and ready for other orders.

use crate::log::{Decoded as Row, Item, Seen, What};
use crate::scenarios;
use crate::silver::{Resolved, Silver, decoder};
use crate::told::Told;
use crate::verdict::Judge;
use crate::worker::{Counts, Lane, World};
use silversink::batch::Kind;
use silversink::config::Table;
use silversink::decode::slot::Scratch;
use silversink::decode::{ChangeKind, Decoded, PlanNeed, RowBuffer, TopicDecoder};
use silversink::demo::capture::Capture;
use silversink::fault::{Class, Code, Fault};
use silversink::postgres::Writer;
use silversink::record::OwnedRecord;
use silversink::table::TableName;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Column types by table, for encodings that tell none.
pub type ColumnTypes = BTreeMap<String, BTreeMap<String, String>>;

/// One table's topic and its decoder.
struct Reader {
    decoder: TopicDecoder,
    overrides: Table,
    keyed: bool,
    stopped: Option<(i64, Fault)>,
    /// Somebody runs the DDL that is printed where the lane stops.
    operator: bool,
    /// Schemas that do not fit the table.
    unfit: HashMap<PlanNeed, Fault>,
}

/// Everything of one encoding.
pub struct Rig {
    pub name: String,
    pub silver: Silver,
    pub lanes: Vec<Lane>,
    pub items: Vec<Arc<Item>>,
    pub writers: Vec<Writer>,
    pub judge: Judge,
    /// Records that the tables of the end cannot take were left out, and what came before them.
    pub cut: bool,
    /// What the run in the order of arrival came to.
    pub arrival: Counts,
}

impl Rig {
    /// Applies the records as they arrived, with the DDL that they ask for; then decodes them again for the tables as
    /// they are at the end.
    pub async fn open(scenario: &str, encoding: &str, types: Option<&ColumnTypes>) -> Self {
        let capture = scenarios::open(scenario);
        let records = capture.records(encoding).unwrap();
        let silver = Silver::new(capture.schemas(encoding).unwrap()).await;
        let mut lanes = lanes(&capture, &records);
        lanes.retain(|lane| scenarios::is_readable(scenario, encoding, &lane.table.name));
        let tables: Vec<TableName> = lanes.iter().map(|lane| lane.table.clone()).collect();
        let source_types = scenarios::has_source_types(scenario);
        if source_types {
            silver.readback.execute(scenarios::SOURCE_TYPES).await.unwrap();
        }
        let mut overrides: Vec<Table> = tables
            .iter()
            .map(|table| overrides(scenario, &capture, encoding, types, table))
            .collect();
        for (table, overrides) in tables.iter().zip(&mut overrides).filter(|_| source_types) {
            let given = &mut overrides.column_types;
            let source = scenarios::source_types(&capture, &table.name).into_iter();
            let wanted = source.filter(|(name, _)| types.is_none() || given.contains_key(name));
            given.extend(wanted.collect::<Vec<_>>());
        }
        let mut writers = vec![
            silver.destination.writer().await.unwrap(),
            silver.destination.writer().await.unwrap(),
        ];
        let operator = scenarios::has_operator(scenario);
        let (arrival, stopped) =
            live(&silver, &lanes, &mut writers, &overrides, &records, operator).await;
        for lane in &mut lanes {
            lane.shape = silver.shape(&lane.table).await.unwrap();
        }
        lanes.retain(|lane| lane.shape.is_some());
        let told = Told { scenario: scenario.to_owned(), encoding: encoding.to_owned() };
        let judge = Judge::new(&capture, &told, &lanes, &stopped);
        let mut readers: Vec<Reader> =
            overrides.iter().map(|overrides| Reader::new(overrides, false)).collect();
        let mut items: Vec<Arc<Item>> = Vec::new();
        let mut cut = false;
        for record in &records {
            let Some(lane) = lanes.iter().position(|lane| lane.topic == record.at.topic) else {
                continue;
            };
            // Overrides are by table, and tables that were never made are gone from the lanes.
            let reader = tables.iter().position(|table| *table == lanes[lane].table).unwrap();
            let reader = &mut readers[reader];
            if reader.stopped.is_some() {
                continue;
            }
            match reader.item(&silver, &lanes[lane], lane, record, None).await {
                Ok(item) => items.push(Arc::new(item)),
                // Its type has become another since: no plan for the table of today reads it.
                Err(fault)
                    if fault.code == Code::TypeMismatch
                        && !stopped.contains_key(&lanes[lane].table.name) =>
                {
                    items.retain(|item| item.lane != lane);
                    cut = true;
                }
                Err(fault) => reader.stopped = Some((record.at.offset, fault)),
            }
        }
        let name = format!("{scenario}/{encoding}");
        Self { name, silver, lanes, items, writers, judge, arrival, cut }
    }

    pub fn tables(&self) -> Vec<TableName> {
        self.lanes.iter().map(|lane| lane.table.clone()).collect()
    }

    /// The column types that the tables have now.
    pub fn column_types(&self) -> ColumnTypes {
        let types = |lane: &Lane| {
            let shape = lane.shape.as_ref().unwrap();
            shape.columns.iter().map(|c| (c.name.clone(), c.ty.sql.clone())).collect()
        };
        self.lanes.iter().map(|lane| (lane.table.name.clone(), types(lane))).collect()
    }
}

/// A lane for each captured table that has a topic; every other topic must be one that a rule skips, or the signal table's.
fn lanes(capture: &Capture, records: &[OwnedRecord]) -> Vec<Lane> {
    let mut topics: Vec<&str> = records.iter().map(|record| record.at.topic.as_str()).collect();
    topics.sort_unstable();
    topics.dedup();
    let of = |topic: &str| {
        let (_, name) = topic.rsplit_once('.')?;
        capture.tables.contains_key(name).then(|| Lane {
            table: TableName::new("silver", name),
            topic: topic.to_owned(),
            shape: None,
        })
    };
    topics.into_iter().filter_map(of).collect()
}

fn overrides(
    scenario: &str,
    capture: &Capture,
    encoding: &str,
    types: Option<&ColumnTypes>,
    table: &TableName,
) -> Table {
    let mut overrides = scenarios::defaults(encoding);
    overrides.column_types = scenarios::column_types(scenario, &table.name);
    overrides.key = scenarios::key(&table.name);
    if let Some(types) = types.and_then(|types| types.get(&table.name)) {
        overrides.column_types.extend(types.clone());
    }
    if scenarios::is_schemaless(scenario, encoding) {
        overrides.key = Some(capture.tables[&table.name].key.clone()).filter(|k| !k.is_empty());
    }
    overrides
}

/// Decodes and applies in the order of arrival; one worker, batches as large as DDL lets them be.
async fn live(
    silver: &Silver,
    lanes: &[Lane],
    writers: &mut [Writer],
    overrides: &[Table],
    records: &[OwnedRecord],
    operator: bool,
) -> (Counts, BTreeMap<String, (i64, Fault)>) {
    let mut readers: Vec<Reader> =
        overrides.iter().map(|overrides| Reader::new(overrides, operator)).collect();
    let mut partitions: BTreeMap<(usize, i32), ()> = BTreeMap::new();
    for record in records {
        if let Some(lane) = lanes.iter().position(|lane| lane.topic == record.at.topic) {
            partitions.insert((lane, record.at.partition), ());
        }
    }
    let empty = |((lane, number), ())| crate::log::Stretch { lane, number, items: Vec::new() };
    let stretches = partitions.into_iter().map(empty).collect();
    let mut world = World::start(silver, lanes, &mut writers[..1], stretches).await;
    for record in records {
        let Some(lane) = lanes.iter().position(|lane| lane.topic == record.at.topic) else {
            continue;
        };
        let reader = &mut readers[lane];
        if reader.stopped.is_some() {
            continue;
        }
        match reader.item(silver, &lanes[lane], lane, record, Some(&mut world)).await {
            Ok(item) => {
                let partition = world.append(&Arc::new(item));
                world.read(partition, 1).await;
            }
            Err(fault) => reader.stopped = Some((record.at.offset, fault)),
        }
    }
    world.flush_all().await;
    let stopped = lanes.iter().zip(readers).filter_map(|(lane, reader)| {
        reader.stopped.map(|stopped| (lane.table.name.clone(), stopped))
    });
    (world.counts.clone(), stopped.collect())
}

impl Reader {
    fn new(overrides: &Table, operator: bool) -> Self {
        Self {
            decoder: decoder(overrides),
            overrides: overrides.clone(),
            keyed: false,
            stopped: None,
            operator,
            unfit: HashMap::new(),
        }
    }

    /// Decodes one record. A plan that is missing is made; where that changes the table, what came before is written first.
    ///
    /// # Errors
    /// Blocked: the lane stops at this record.
    async fn item(
        &mut self,
        silver: &Silver,
        of: &Lane,
        lane: usize,
        record: &OwnedRecord,
        mut world: Option<&mut World<'_>>,
    ) -> Result<Item, Fault> {
        let (mut scratch, mut row) = (Scratch::default(), RowBuffer::default());
        let mut seen = None;
        let what = loop {
            match self.decoder.decode(&record.as_raw(), &mut scratch, &mut row) {
                Decoded::NeedsPlan(need) => {
                    if let Some(world) = &mut world {
                        world.flush(0, lane).await;
                    }
                    if let Some(fault) = self.unfit.get(&need) {
                        return Err(fault.clone());
                    }
                    let resolved = silver.resolve(&need, of, &self.overrides, self.operator).await;
                    if let Err(fault) = &resolved {
                        self.unfit.insert(need.clone(), fault.clone());
                    }
                    match resolved? {
                        Resolved::Table(plan, shape) => {
                            if let Some(world) = &mut world
                                && world.lanes[lane].shape.as_ref() != Some(&shape)
                            {
                                self.decoder.forget_plans();
                                world.set_shape(lane, &shape);
                            }
                            self.decoder.install(&need, plan);
                        }
                        Resolved::Skipped(plan) => self.decoder.install(&need, plan),
                        Resolved::Refused(fault) => self.decoder.refuse(&need, fault),
                    }
                }
                Decoded::Skip(_) => break What::Skip,
                Decoded::NewTable(_) => unreachable!("the decoder has one table"),
                Decoded::Poison(fault) => match fault.class {
                    Class::Poison if fault.code == Code::KeyMissing && !self.keyed => {
                        return Err(fault);
                    }
                    Class::Poison => break What::Letter(fault),
                    _ => return Err(fault),
                },
                Decoded::Change(change) => {
                    self.keyed |= record.key.is_some();
                    if change.kind != ChangeKind::Tombstone {
                        seen = Some(Seen {
                            source: self.decoder.source(change.source).to_owned(),
                            sighting: change.sighting,
                            source_ts: change.source_ts.filter(|_| change.own_time),
                        });
                    }
                    let version = change.version.parts();
                    assert_eq!(version.kafka_offset, record.at.offset.cast_unsigned());
                    let kind = match change.kind {
                        ChangeKind::Row if change.has_kept => Kind::Partial,
                        ChangeKind::Row => Kind::Whole,
                        ChangeKind::Delete => Kind::Delete,
                        ChangeKind::Tombstone => Kind::Tombstone,
                        ChangeKind::Truncate => {
                            break What::Truncate {
                                version,
                                at: change.deleted_at.unwrap_or_default(),
                            };
                        }
                    };
                    break What::Change(Row {
                        kind,
                        version,
                        deleted_at: change.deleted_at,
                        source_ts: change.source_ts,
                        own_time: change.own_time,
                        needs_base: change.needs_base,
                        body: row.body,
                        key: row.key,
                        kept: row.kept,
                        old_key: change.moved.then_some(row.old_key),
                        created: change.created,
                        null_in_doubt: change.null_in_doubt,
                        left: change.left.then_some((row.image, row.lacks)),
                    });
                }
            }
        };
        Ok(Item {
            lane,
            what,
            seen,
            partition: record.at.partition,
            offset: record.at.offset,
            key: record.key.clone(),
        })
    }
}
