//! What the newest schema of every routed topic implies for its Silver table: for `plan` and `apply`.
//!
//! # Decisions
//! - The newest schema is the newest version of the subjects `<topic>-key` and `<topic>-value`; where the registry has none,
//!   the one that the topic's newest record was written with. JSON without a schema tells names only, and only those of
//!   that record.
//! - A topic that is only in the registry counts too: the connector has registered its schema, the first record will follow.

use super::{Arrival, Assessment, Verdict, assess, describe};
use crate::config::{self, Config};
use crate::decode::RegistryId;
use crate::decode::plan::{Plan, RecordSchema};
use crate::decode::schema::Form;
use crate::decode::slot::Scratch;
use crate::decode::{Decoded, PlanNeed, RowBuffer, SchemaId, SkipRule, TopicDecoder};
use crate::fault::{Class, Code, Fault};
use crate::kafka::{Facts, newest_record};
use crate::postgres::{Destination, Origin};
use crate::record::OwnedRecord;
use crate::registry::Client;
use crate::route::{self, Routed};
use crate::sql::alteration::Alteration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One topic and what its newest schema implies.
#[derive(Debug)]
pub struct Finding {
    /// Topic.
    pub topic: String,
    /// Where its records go.
    pub routed: Routed,
    /// Which schemas were looked at; `None` when there was none.
    pub need: Option<PlanNeed>,
    /// What came of it.
    pub found: Found,
}

/// What came of looking at a topic.
#[derive(Debug)]
pub enum Found {
    /// The schema and what it implies.
    Assessed(Box<(RecordSchema, Assessment)>),
    /// Its records are no table data; the rule that skips them.
    Skipped(SkipRule),
    /// It cannot be known, and why.
    Unknown(&'static str),
    /// The schema cannot be used, or no table can be made of it.
    Unusable(Fault),
}

/// Every routed topic.
#[derive(Debug)]
pub struct Survey {
    /// By topic.
    pub findings: Vec<Finding>,
    /// Why Kafka could not be asked; then only the registry's topics are listed.
    pub kafka_error: Option<Fault>,
}

impl Finding {
    /// Nothing has to be done before the topic's next record can be written, as far as it can be known.
    #[must_use]
    pub fn differs(&self) -> bool {
        match &self.found {
            Found::Assessed(assessed) => !matches!(assessed.1.verdict, Verdict::Fits { .. }),
            Found::Skipped(_) | Found::Unknown(_) => false,
            Found::Unusable(_) => true,
        }
    }

    fn overrides<'c>(&self, config: &'c Config) -> &'c config::Table {
        config.tables.get(&self.routed.table).unwrap_or(&config.defaults)
    }
}

/// Looks at every topic that a route matches.
///
/// # Errors
/// When the destination, the registry, or both Kafka and the registry cannot be asked.
pub async fn survey(
    config: &Config,
    destination: &Destination,
    registry: Option<&Client>,
) -> Result<Survey, Fault> {
    let mut topics: BTreeMap<String, Option<usize>> = BTreeMap::new();
    let kafka = config.kafka.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let facts = Facts::open(&kafka)?;
        facts.probe()?;
        Ok((facts.topics()?, facts))
    });
    let (facts, kafka_error) = match asked.await.unwrap_or_else(|_| Err(panicked())) {
        Ok((found, facts)) => {
            topics.extend(found.into_iter().map(|(topic, count)| (topic, Some(count))));
            (Some(Arc::new(facts)), None)
        }
        Err(fault) if fault.class == Class::Transient && registry.is_some() => (None, Some(fault)),
        Err(fault) => return Err(fault),
    };
    if let Some(registry) = registry {
        for subject in registry.subjects().await? {
            if let Some(topic) = subject.strip_suffix("-value") {
                topics.entry(topic.to_owned()).or_default();
            }
        }
    }
    let mut findings = Vec::new();
    for (topic, partitions) in topics {
        let Some(routed) = route::route(config, &topic) else { continue };
        let newest = Newest { registry, facts: facts.as_ref(), kafka: &config.kafka, partitions };
        let mut finding = Finding { topic, routed, need: None, found: Found::Unknown("") };
        finding.found = look(config, destination, &newest, &mut finding).await?;
        findings.push(finding);
    }
    Ok(Survey { findings, kafka_error })
}

/// Makes the alterations that a finding lists, until its schema fits. With `rewrite` also those that write a large table
/// anew. Returns what was made.
///
/// # Errors
/// As [`Destination::alter`], and when another pipeline owns the table.
pub async fn bring_about(
    config: &Config,
    destination: &Destination,
    finding: &mut Finding,
    rewrite: bool,
) -> Result<Vec<Alteration>, Fault> {
    let mut made = Vec::new();
    let overrides = finding.overrides(config);
    let Found::Assessed(assessed) = &mut finding.found else { return Ok(made) };
    let (schema, assessment) = &mut **assessed;
    let need = finding.need.as_ref();
    let origin = origin(config, &finding.topic, &finding.routed, need);
    let arrival = Arrival { origin, overrides, schema };
    // A table that is created fits at the second look.
    for _ in 0..3 {
        let alterations = match &assessment.verdict {
            Verdict::Alter(alterations) => alterations,
            Verdict::Stop { large, .. } if rewrite && !large.is_empty() => large,
            Verdict::Stop { .. } | Verdict::Fits { .. } => break,
        };
        destination.own_table(&config.name, &finding.routed.table).await?;
        made.extend(destination.alter(&arrival.origin, alterations).await?);
        *assessment = assess(config, destination, &arrival).await?;
    }
    Ok(made)
}

/// Where the newest schema of a topic may be found.
struct Newest<'a> {
    registry: Option<&'a Client>,
    facts: Option<&'a Arc<Facts>>,
    kafka: &'a config::Kafka,
    /// `None` when Kafka does not have the topic, or could not be asked.
    partitions: Option<usize>,
}

impl Newest<'_> {
    async fn subjects(&self, topic: &str) -> Result<Option<PlanNeed>, Fault> {
        let Some(registry) = self.registry else { return Ok(None) };
        let Some(value) = registry.newest(&format!("{topic}-value")).await? else {
            return Ok(None);
        };
        let key = registry.newest(&format!("{topic}-key")).await?;
        let key = key.map_or(SchemaId::None, |id| SchemaId::Avro(RegistryId::Confluent(id)));
        Ok(Some(PlanNeed { key, value: SchemaId::Avro(RegistryId::Confluent(value)) }))
    }

    async fn record(&self, topic: &str) -> Result<Option<OwnedRecord>, Fault> {
        let (Some(facts), Some(partitions)) = (self.facts, self.partitions) else {
            return Ok(None);
        };
        let (facts, kafka, topic) = (Arc::clone(facts), self.kafka.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || newest_record(&kafka, &facts, &topic, partitions))
            .await
            .unwrap_or_else(|_| Err(panicked()))
    }
}

async fn look(
    config: &Config,
    destination: &Destination,
    newest: &Newest<'_>,
    finding: &mut Finding,
) -> Result<Found, Fault> {
    if finding.routed.tables.is_some() {
        return Ok(Found::Unknown(
            "each record names its table, so its tables are known only once its records are read",
        ));
    }
    let overrides = finding.overrides(config).clone();
    let mut sample = None;
    finding.need = newest.subjects(&finding.topic).await?;
    // A key that the registry does not have is JSON or missing: the records tell.
    if finding.need.as_ref().is_none_or(|need| need.key == SchemaId::None)
        && let Some(record) = newest.record(&finding.topic).await?
    {
        let mut decoder = TopicDecoder::new(finding.routed.format, overrides.clone())
            .with_sources(finding.routed.position, finding.routed.merge_sources);
        match decode(&mut decoder, &record) {
            Decoded::NeedsPlan(need) => {
                let key = need.key.clone();
                finding.need.get_or_insert(need).key = key;
                sample = Some((decoder, record));
            }
            Decoded::Skip(rule) => return Ok(Found::Skipped(rule)),
            Decoded::Poison(fault) => return Ok(Found::Unusable(fault)),
            Decoded::Change(_) | Decoded::NewTable(_) => {}
        }
    }
    let Some(need) = &finding.need else {
        return Ok(Found::Unknown("it has no subject in the registry and no record with a value"));
    };
    let schema = match describe(newest.registry, need).await {
        Err(fault) if fault.class != Class::Transient => return Ok(Found::Unusable(fault)),
        schema => schema?,
    };
    if let Form::NotTableData(rule) = schema.form {
        return Ok(Found::Skipped(rule));
    }
    let origin = origin(config, &finding.topic, &finding.routed, Some(need));
    let arrival = Arrival { origin, overrides: &overrides, schema: &schema };
    let mut assessment = match assess(config, destination, &arrival).await {
        Err(fault) if fault.class == Class::Blocked => return Ok(Found::Unusable(fault)),
        assessment => assessment?,
    };
    // Without a schema only a record tells of columns that the table lacks.
    if need.value == SchemaId::Schemaless
        && let Verdict::Fits { plan, .. } = assessment.verdict
    {
        if let Some((decoder, record)) = &mut sample
            && let Some(fault) = refused(decoder, need, Arc::new(plan), record)
        {
            return Ok(Found::Unusable(fault));
        }
        assessment = assess(config, destination, &arrival).await?;
    }
    Ok(Found::Assessed(Box::new((schema, assessment))))
}

fn decode(decoder: &mut TopicDecoder, record: &OwnedRecord) -> Decoded {
    decoder.decode(&record.as_raw(), &mut Scratch::default(), &mut RowBuffer::default())
}

/// What stops the lane at this record, if its table lacks something.
fn refused(
    decoder: &mut TopicDecoder,
    need: &PlanNeed,
    plan: Arc<Plan>,
    record: &OwnedRecord,
) -> Option<Fault> {
    decoder.install(need, plan);
    match decode(decoder, record) {
        Decoded::Poison(fault) if fault.class == Class::Blocked => Some(fault),
        _ => None,
    }
}

fn origin<'a>(
    config: &'a Config,
    topic: &'a str,
    routed: &'a Routed,
    need: Option<&PlanNeed>,
) -> Origin<'a> {
    Origin {
        pipeline: &config.name,
        table: &routed.table,
        topic,
        key_schema: need.and_then(|need| need.key.short()),
        value_schema: need.and_then(|need| need.value.short()),
    }
}

fn panicked() -> Fault {
    Fault::new(Class::Fatal, Code::Internal, "a blocking call panicked")
}
