//! What the demo plays: which captured records go to which topics, into which Silver tables, and how it must end.

use crate::demo::capture::{Capture, CapturedSchema, SourceTable, TableTruth};
use crate::demo::poison::{poison, sprinkle};
use crate::fault::{Class, Code, Fault};
use crate::record::{Coordinates, OwnedRecord};
use crate::table::TableName;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the shop lies, from the root of the repository.
const SHOP: &str = "testdata/debezium/shop";

/// The dead-letter topic of the demo.
pub const DEAD_LETTERS: &str = "silversink.dead-letters";

/// One encoding of the shop on its way to one schema of Silver tables.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Directory of the capture: `avro` or `json-plain`.
    pub encoding: &'static str,
    /// First part of the topics' names; both encodings go through one cluster.
    pub prefix: &'static str,
    /// Schema of the Silver tables.
    pub silver: &'static str,
    /// Records with poison among them, in the order of production. Offsets are those of fresh topics.
    pub records: Vec<OwnedRecord>,
    /// Schemas for the registry.
    pub schemas: BTreeMap<u32, CapturedSchema>,
    /// Statements that create the Silver tables beforehand: what has no schema takes its types from them.
    pub tables: Vec<String>,
}

/// Everything that the demo plays and compares.
#[derive(Clone, Debug)]
pub struct Script {
    /// The feeds.
    pub feeds: Vec<Feed>,
    /// Silver tables with what they must hold.
    pub truth: Vec<(TableName, TableTruth)>,
    /// Records that must end as dead letters, and under which code; sorted.
    pub letters: Vec<(Coordinates, Code)>,
}

/// The demo's feeds: capture directory, topic prefix, Silver schema, table whose topic gets the poison, and whether the
/// tables are made beforehand.
const FEEDS: [(&str, &str, &str, &str, bool); 2] = [
    ("avro", "shop", "silver", "products", false),
    ("json-plain", "shop-json", "silver_json", "customers", true),
];

impl Script {
    /// Reads the capture and mixes in the poison.
    ///
    /// # Errors
    /// Fatal, naming the file, when the capture is not what it should be.
    pub fn read(capture: &Capture) -> Result<Self, Fault> {
        let mut script = Self { feeds: Vec::new(), truth: Vec::new(), letters: Vec::new() };
        for (encoding, prefix, silver, poisoned, made_beforehand) in FEEDS {
            let mut records = capture.records(encoding)?;
            for record in &mut records {
                let rest = record.at.topic.split_once('.').map(|(_, rest)| rest.to_owned());
                record.at.topic = format!("{prefix}.{}", rest.unwrap_or_default());
            }
            let schemas = capture.schemas(encoding)?;
            let template = records
                .iter()
                .find(|record| table_of(&record.at.topic) == poisoned && record.value.is_some());
            let bad = match (template, capture.tables.get(poisoned)) {
                (Some(template), Some(table)) => poison(template, table, &schemas)?,
                _ => return Err(unfit(&format!("{encoding} has no records of {poisoned}"))),
            };
            let sprinkled = sprinkle(records, bad);
            script.letters.extend(sprinkled.poison);
            for truth in capture.truth()? {
                script.truth.push((TableName::new(silver, &truth.name), truth));
            }
            let beforehand = capture.tables.iter().filter(|_| made_beforehand);
            let creates =
                beforehand.map(|(name, table)| create_table(&TableName::new(silver, name), table));
            let creates = creates.collect();
            let records = sprinkled.records;
            script.feeds.push(Feed { encoding, prefix, silver, records, schemas, tables: creates });
        }
        script.letters.sort();
        Ok(script)
    }

    /// Topics that the records go to, in order of their names; one partition each.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        let records = self.feeds.iter().flat_map(|feed| &feed.records);
        let mut topics: Vec<String> = records.map(|record| record.at.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// Number of records of all feeds.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.feeds.iter().map(|feed| feed.records.len()).sum()
    }

    /// The configuration that runs it, as a user would write it. The arguments are what was started.
    #[must_use]
    pub fn config(&self, bootstrap_servers: &str, registry: &str, postgres: &str) -> String {
        let routes: String = self.feeds.iter().map(route).collect();
        let [servers, registry, postgres] =
            [bootstrap_servers, registry, postgres].map(|text| toml::Value::from(text).to_string());
        format!(
            "name = \"demo\"\n\n\
             [kafka]\nbootstrap_servers = {servers}\ngroup_id = \"silversink-demo\"\n\n\
             # the mock broker lets a new worker in so long, less a second, after the last one left\n\
             [kafka.properties]\n\"session.timeout.ms\" = 2000\n\"heartbeat.interval.ms\" = 100\n\n\
             [registry]\nurl = {registry}\n\n\
             [postgres]\nurl = {postgres}\n\n\
             [dlq]\ntopic = \"{DEAD_LETTERS}\"\n\n\
             # any free port: several workers fit on one machine\n\
             [http]\nlisten = \"127.0.0.1:0\"\n{routes}"
        )
    }

    /// Compares the dead letters that arose (coordinates and [`Code`] as text) with those that must; empty if equal.
    #[must_use]
    pub fn wrong_letters(&self, found: &[(Coordinates, String)]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut left: Vec<&(Coordinates, String)> = found.iter().collect();
        for (at, code) in &self.letters {
            match left.iter().position(|(found_at, _)| found_at == at) {
                Some(index) => {
                    let (_, found) = left.swap_remove(index);
                    if found != code.as_str() {
                        wrong.push(format!("{at} ended under {found}, should be {code}"));
                    }
                }
                None => wrong.push(format!("{at} did not become a dead letter ({code})")),
            }
        }
        left.sort();
        wrong.extend(left.iter().map(|(at, code)| format!("{at} became a dead letter ({code})")));
        wrong
    }
}

/// Finds the shop: in `explicit`, or in the repository that the working directory or this program stands in.
///
/// # Errors
/// Fatal when it is nowhere.
pub fn find_shop(explicit: Option<&Path>) -> Result<Capture, Fault> {
    if let Some(directory) = explicit {
        return Capture::open(directory);
    }
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    match starts.into_iter().flatten().find_map(|start| above(&start)) {
        Some(directory) => Capture::open(directory),
        None => Err(unfit(&format!("no {SHOP} here; run it inside the repository"))),
    }
}

fn above(start: &Path) -> Option<PathBuf> {
    start.ancestors().map(|directory| directory.join(SHOP)).find(|shop| shop.is_dir())
}

fn route(feed: &Feed) -> String {
    let (prefix, silver) = (feed.prefix, feed.silver);
    // No format: the poison's codes are those of `auto`, where an unknown first byte is an unknown magic byte.
    format!(
        "\n[[route]]\ntopics = '^{prefix}\\.public\\.(?<table>.+)$'\n\
         table = \"{silver}.${{table}}\"\n"
    )
}

/// A type that every server has as it stands; the source's own types (enums) as text, which prints the same.
fn destination_type(source: &str) -> &str {
    const BUILT_IN: [&str; 16] = [
        "bigint",
        "boolean",
        "bytea",
        "character",
        "date",
        "double",
        "integer",
        "interval",
        "json",
        "jsonb",
        "numeric",
        "real",
        "smallint",
        "text",
        "timestamp",
        "uuid",
    ];
    let first_word = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
    if first_word.is_some_and(|word| BUILT_IN.contains(&word)) { source } else { "text" }
}

/// `CREATE TABLE` with the source's types. The names and types come from a capture's catalogue.
fn create_table(table: &TableName, source: &SourceTable) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut parts: Vec<String> = source
        .columns
        .iter()
        .filter(|column| column.generated.is_none())
        .map(|column| {
            // Only the key is NOT NULL: a delete of an unseen key inserts a row with nothing else.
            format!("{} {}", quoted(&column.name), destination_type(&column.ty))
        })
        .collect();
    if !source.key.is_empty() {
        let key: Vec<String> = source.key.iter().map(|name| quoted(name)).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    let (schema, name) = (quoted(&table.schema), quoted(&table.name));
    format!("CREATE TABLE {schema}.{name} ({})", parts.join(", "))
}

fn table_of(topic: &str) -> &str {
    topic.rsplit('.').next().unwrap_or(topic)
}

fn unfit(why: &str) -> Fault {
    Fault::new(Class::Fatal, Code::Configuration, format!("reading the demo's capture: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::throwaway::ThrowawayPostgres;
    use crate::postgres::readback::Readback;

    fn script() -> Script {
        Script::read(&find_shop(None).unwrap()).unwrap()
    }

    #[test]
    fn both_encodings_are_played_with_poison_among_them() {
        let script = script();
        assert_eq!(script.record_count(), 5863 + 7 + 5863 + 6);
        assert_eq!(script.letters.len(), 13);
        assert_eq!(script.truth.len(), 8);
        assert_eq!(
            script.topics(),
            [
                "shop-json.public.customers",
                "shop-json.public.order_items",
                "shop-json.public.orders",
                "shop-json.public.products",
                "shop.public.customers",
                "shop.public.order_items",
                "shop.public.orders",
                "shop.public.products",
            ]
        );
        for (at, _) in &script.letters {
            assert!(["shop.public.products", "shop-json.public.customers"].contains(&&*at.topic));
        }
    }

    #[test]
    fn no_topic_is_larger_than_what_a_mock_partition_keeps() {
        let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
        for record in script().feeds.into_iter().flat_map(|feed| feed.records) {
            let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
            let headers: usize = record.headers.iter().map(|(n, v)| n.len() + bytes(v) + 2).sum();
            let size = bytes(&record.key) + bytes(&record.value) + headers + 32;
            *sizes.entry(record.at.topic).or_default() += size;
        }
        for (topic, size) in sizes {
            assert!(size < 5 << 20, "{topic} has {size} bytes");
        }
    }

    #[test]
    fn the_configuration_is_toml_whatever_stands_in_a_url() {
        let config = script().config("127.0.0.1:1", "http://127.0.0.1:2", "postgres://u:\"\\'@h/d");
        let parsed: toml::Table = config.parse().unwrap();
        assert_eq!(parsed["postgres"]["url"].as_str(), Some("postgres://u:\"\\'@h/d"));
        assert_eq!(parsed["route"].as_array().unwrap().len(), 2);
        let route = &parsed["route"][1];
        assert_eq!(route["table"].as_str(), Some("silver_json.${table}"));
        let pattern = regex::Regex::new(route["topics"].as_str().unwrap()).unwrap();
        assert_eq!(&pattern.captures("shop-json.public.orders").unwrap()["table"], "orders");
        assert!(!pattern.is_match("shop.public.orders"));
    }

    #[test]
    fn letters_that_lack_surplus_or_have_another_code_are_told() {
        let script = script();
        let mut found: Vec<(Coordinates, String)> =
            script.letters.iter().map(|(at, code)| (at.clone(), code.to_string())).collect();
        found.reverse();
        assert_eq!(script.wrong_letters(&found), [""; 0]);
        let (gone, _) = found.pop().unwrap();
        found[0].1 = "internal".to_owned();
        found.push((Coordinates { offset: 1_000_000, ..gone.clone() }, "undecodable".to_owned()));
        let wrong = script.wrong_letters(&found);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].starts_with(&format!("{gone} did not become a dead letter")));
        assert!(wrong[1].contains("ended under internal"));
        assert!(wrong[2].contains("@1000000 became a dead letter"));
    }

    #[tokio::test]
    async fn the_tables_that_json_needs_can_be_created() {
        let url = ThrowawayPostgres::shared().fresh_database().unwrap();
        let readback = Readback::connect(&url).await.unwrap();
        readback.execute("create schema silver_json").await.unwrap();
        let feeds = script().feeds;
        assert!(feeds[0].tables.is_empty());
        for create in &feeds[1].tables {
            readback.execute(create).await.unwrap();
        }
        let sql = "select format_type(atttypid, atttypmod) from pg_attribute
                   where attrelid = 'silver_json.orders'::regclass and attname = 'total'";
        assert_eq!(readback.query(sql).await.unwrap(), [[Some("numeric(12,2)".to_owned())]]);
    }

    #[test]
    fn a_type_of_the_source_s_own_becomes_text() {
        assert_eq!(destination_type("order_status"), "text");
        for ty in ["numeric(10,2)", "text[]", "timestamp(3) without time zone", "character(2)"] {
            assert_eq!(destination_type(ty), ty);
        }
    }

    #[test]
    fn a_directory_without_the_shop_is_told() {
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(above(elsewhere.path()).is_none());
        assert!(find_shop(Some(elsewhere.path())).is_err());
    }
}
