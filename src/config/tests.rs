//! Whole files through every step, and what is said about them.

use super::load::parse;
use super::{Config, Format, show};
use crate::route::route;
use secrecy::ExposeSecret;
use std::path::Path;
use std::time::Duration;

const MINIMAL: &str = r#"
name = "shop"
[kafka]
bootstrap_servers = "localhost:9092"
[postgres]
url = "postgresql://me:hunter2@localhost/silver"
[[route]]
topics = '^shop\.public\.(?<table>\w+)$'
table = "silver.${table}"
"#;

fn environment(name: &str) -> Option<String> {
    match name {
        "SET" => Some("from the environment".to_owned()),
        "TRICKY" => Some("${env:SET}\"\nname = \"other".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn good(text: &str) -> Config {
    parse(text, "sink.toml", &environment).unwrap_or_else(|report| panic!("{report}"))
}

/// The report of `MINIMAL` with a part replaced, or with lines added at the end where `from` is empty.
fn report(from: &str, to: &str) -> String {
    let text = if from.is_empty() { format!("{MINIMAL}{to}") } else { MINIMAL.replace(from, to) };
    assert_ne!(text, MINIMAL, "the change changes nothing");
    parse(&text, "sink.toml", &environment).expect_err("a mistake").to_string()
}

/// Message and help of each problem, without the drawing.
fn said(from: &str, to: &str) -> Vec<String> {
    let wanted = |line: &&str| {
        line.starts_with("error: ") || line.contains("= help: ") || line.contains('^')
    };
    let clean = |line: &str| line.trim_start_matches(['|', ' ', '=', '^']).to_owned();
    report(from, to).lines().filter(wanted).map(|line| clean(line.trim_start())).collect()
}

#[test]
fn four_keys_are_enough_and_the_rest_has_defaults() {
    let config = good(MINIMAL);

    assert_eq!(config.kafka.group_id, "shop");
    assert_eq!(config.kafka.instance_id, None);
    assert_eq!(config.http.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:9464"));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.limits.batch_bytes, 8 << 20);
    assert_eq!(config.schema.bookkeeping.version, "_version");
    assert!(config.dlq.is_none() && config.registry.is_none() && !config.adopt_kafka_offsets);
    let routed = route(&config, "shop.public.orders").unwrap();
    assert_eq!((routed.table.to_string().as_str(), routed.format), ("silver.orders", Format::Auto));
    assert!(
        route(&config, "x.shop.public.orders").is_none()
            && route(&config, "shop.public.orders.x").is_none()
    );
}

#[test]
fn every_key_is_read() {
    let config = good(
        r#"
name = "shop"
shutdown_timeout = "1m"
adopt_kafka_offsets = true
[kafka]
bootstrap_servers = "a:1,b:2"
group_id = "g"
instance_id = "i"
properties = { "session.timeout.ms" = 45000, "security.protocol" = "SSL", "socket.keepalive.enable" = true }
[registry]
url = "https://registry/"
user = "u"
password = "p"
ca = "/ca.pem"
api = "apicurio"
use_id = "globalId"
id_bytes = 8
cache_dir = "/var/cache/silversink"
[postgres]
url = "postgres://x"
ca = "/pg.pem"
statement_timeout = "1s"
lock_timeout = "2s"
connect_timeout = "3s"
[dlq]
topic = "dead"
max_per_minute = 5
[[route]]
topics = "literal.topic"
table = "silver.literal"
format = "json"
merge_sources = true
position = "binlog"
[defaults]
decimal_handling_mode = "string"
batch_rows = 7
[table."silver.literal"]
time_precision_mode = "adaptive_time_microseconds"
binary_handling_mode = "base64-url-safe"
bigint_unsigned_handling_mode = "long"
unavailable_value_placeholder = "gone"
key = ["a", "b"]
columns.total.type = "numeric(10,2)"
[schema]
changes = "plan"
narrowing = "stop"
prefix = "silver_"
[limits]
batch_rows = 100
batch_bytes = "1MiB"
memory_bytes = "2MiB"
record_bytes = 2048
writers = 2
recheck = "5s"
[http]
listen = "0.0.0.0:1234"
allow_remote = true
[log]
format = "json"
level = "info,silversink=debug"
"#,
    );

    assert_eq!(config.kafka.properties["session.timeout.ms"].expose_secret(), "45000");
    assert_eq!(config.kafka.properties["socket.keepalive.enable"].expose_secret(), "true");
    let registry = config.registry.as_ref().unwrap();
    assert_eq!(
        (registry.url.as_str(), registry.password.as_ref().unwrap().expose_secret()),
        ("https://registry", "p")
    );
    assert_eq!(
        (registry.api, registry.use_id, registry.wide_ids),
        (super::RegistryApi::Apicurio, super::ApicurioId::GlobalId, true)
    );
    assert_eq!(registry.cache_dir.as_deref(), Some(Path::new("/var/cache/silversink")));
    assert_eq!(config.postgres.lock_timeout, Duration::from_secs(2));
    assert_eq!(config.routes[0].position, super::Position::Binlog);
    let (name, table) = config.tables.first_key_value().unwrap();
    assert_eq!(name.to_string(), "silver.literal");
    assert_eq!(
        table.decimal_handling_mode,
        super::DecimalHandlingMode::String,
        "inherited from [defaults]"
    );
    assert_eq!((table.batch_rows, table.key.as_ref().unwrap().len()), (Some(7), 2));
    assert_eq!(table.bigint_unsigned_handling_mode, super::BigintUnsignedHandlingMode::Long);
    assert_eq!(table.column_types["total"], "numeric(10,2)");
    assert_eq!(config.schema.bookkeeping.deleted_at, "silver_deleted_at");
    assert_eq!((config.limits.record_bytes, config.limits.writers), (2048, 2));
    assert_eq!(config.limits.recheck, Duration::from_secs(5));
    assert_eq!(config.http.unwrap().to_string(), "0.0.0.0:1234");
    assert!(route(&config, "literalxtopic").is_none(), "a literal is no expression");
}

#[test]
fn an_unknown_key_is_shown_in_place_with_the_nearest_known_one() {
    assert_eq!(
        report("bootstrap_servers", "bootstrap_server"),
        "\
error: unknown key `bootstrap_server`
 --> sink.toml:4:1
  |
4 | bootstrap_server = \"**************\"
  | ^^^^^^^^^^^^^^^^ known keys in [kafka]: bootstrap_servers, group_id, instance_id, properties
  |
  = help: did you mean `bootstrap_servers`?

sink.toml: 1 problem
"
    );
}

#[test]
fn mistakes_of_every_kind_are_reported_together_in_the_order_of_the_file() {
    let report = parse(
        r#"shutdown_timeout = "soon"
[kafka]
bootstrap_servers = "localhost"
group_id = 7
properties = { "enable.auto.commit" = true, "sasl.jaas.config" = "x" }
[postgres]
url = "${env:UNSET}"
[[route]]
topics = '^shop\.(?<table>.+$'
table = "silver.${table}"
format = "avor"
[[route]]
topics = "a"
[metrics]
"#,
        "sink.toml",
        &environment,
    )
    .unwrap_err();

    let found: Vec<_> =
        report.problems().iter().map(|p| (report.line(p), p.message.as_str())).collect();
    assert_eq!(
        found,
        [
            (1, "missing key `name` at the top of the file"),
            (1, "not a usable duration"),
            (3, "`localhost` is not the address of a broker"),
            (4, "`kafka.group_id` is an integer"),
            (5, "`enable.auto.commit` cannot be set"),
            (5, "`sasl.jaas.config` is a name of the Java client; librdkafka does not know it"),
            (7, "environment variable `UNSET` is not set"),
            (9, "not a regular expression"),
            (11, "`route[0].format` is an unknown word"),
            (12, "missing key `table` in [[route]]"),
            (14, "unknown key `metrics`"),
        ]
    );
}

#[test]
fn an_empty_file_misses_exactly_what_is_needed() {
    let report = parse("", "sink.toml", &environment).unwrap_err();
    let found: Vec<_> = report.problems().iter().map(|p| p.message.as_str()).collect();
    assert_eq!(
        found,
        [
            "missing key `name` at the top of the file",
            "no [[route]]",
            "missing key `bootstrap_servers` in [kafka]",
            "missing key `url` in [postgres]",
        ]
    );
}

#[test]
fn references_are_resolved_once_after_parsing_and_only_in_strings() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret with ${env:SET}\n\n").unwrap();
    let path = file.path().display();
    let config = good(&format!(
        "{MINIMAL}\n[kafka.properties]\na = \"<${{env:SET}}|${{env:EMPTY:-fallback}}|${{env:UNSET:-}}>\"\n\
         b = \"${{env:TRICKY}}\"\nc = \"${{file:{path}}}\"\nd = \"$${{env:SET}}\"\n"
    ));
    let value = |name: &str| config.kafka.properties[name].expose_secret();

    assert_eq!(value("a"), "<from the environment|fallback|>");
    assert_eq!(value("b"), "${env:SET}\"\nname = \"other");
    assert_eq!(value("c"), "secret with ${env:SET}\n");
    assert_eq!(value("d"), "${env:SET}");
    assert_eq!(config.name, "shop");
}

#[test]
fn a_reference_that_leads_nowhere_is_a_problem_at_its_place() {
    let properties = |value: &str| said("", &format!("[kafka.properties]\na = \"{value}\"\n"));

    assert_eq!(
        properties("x${env:UNSET}"),
        [
            "error: environment variable `UNSET` is not set",
            "set it, or give a default: ${env:UNSET:-default}"
        ]
    );
    assert_eq!(
        properties("${vault:x}"),
        [
            "error: unknown provider `vault`",
            "expected ${env:NAME}, ${env:NAME:-default} or ${file:/path}"
        ]
    );
    assert_eq!(
        properties("${HOME}"),
        [
            "error: `${HOME}` names no provider",
            "did you mean ${env:HOME}? write $${ for a literal ${"
        ]
    );
    assert_eq!(
        properties("${env:X"),
        ["error: a reference is not closed", "expected `}` after `${`"]
    );
    assert!(
        properties("${file:/nonexistent/x}")[0]
            .starts_with("error: could not read file `/nonexistent/x`")
    );
}

#[test]
fn topics_and_tables_must_fit_together() {
    assert_eq!(
        said("silver.${table}", "silver.${tabel}"),
        [
            "error: unknown group `tabel`",
            "groups of `topics`: table",
            "help: did you mean ${table}?"
        ]
    );
    assert_eq!(
        said("silver.${table}", "${table}.x")[0],
        "error: the schema of `table` is not literal"
    );
    assert_eq!(said("silver.${table}", "silver.$table")[0], "error: `$` stands alone in `table`");
    assert_eq!(said("silver.${table}", "orders")[0], "error: `orders` names no schema");
    assert_eq!(said("silver.${table}", "a.b.c")[0], "error: `a.b.c` is not the name of a table");
    assert_eq!(
        said("silver.${table}", "silversink.x")[0],
        "error: schema `silversink` holds the bookkeeping"
    );
    assert_eq!(said(r"'^shop\.public\.(?<table>\w+)$'", "'shop.*'")[0], "error: not a topic name");
}

#[test]
fn routes_must_not_hide_each_other_or_share_a_table_unasked() {
    let twice =
        "[[route]]\ntopics = '^shop\\.public\\.(?<table>\\w+)$'\ntable = \"other.${table}\"\n";
    assert_eq!(said("", twice)[0], "error: this route never matches");
    let hidden = "[[route]]\ntopics = \"shop.public.orders\"\ntable = \"other.orders\"\n";
    assert_eq!(said("", hidden)[0], "error: this route never matches");
    let shared =
        "[[route]]\ntopics = \"a\"\ntable = \"s.t\"\n[[route]]\ntopics = \"b\"\ntable = \"s.t\"\n";
    assert_eq!(said("", shared)[0], "error: two routes lead to `s.t`");
    good(&format!("{MINIMAL}{}", shared.replace("s.t\"", "s.t\"\nmerge_sources = true")));
}

#[test]
fn overrides_must_belong_to_a_routed_table() {
    let literal = "[[route]]\ntopics = \"a\"\ntable = \"lake.orders\"\n";
    assert_eq!(
        said("", &format!("{literal}[table.\"lake.order\"]\n")),
        [
            "error: no route leads to `lake.order`",
            "expected the table of a [[route]]",
            "help: did you mean \"lake.orders\"?"
        ]
    );
    good(&format!("{MINIMAL}[table.\"silver.anything\"]\nkey = [\"id\"]\n"));
    assert_eq!(said("", "[table.orders]\n")[0], "error: `orders` names no schema");
    assert_eq!(
        said("", "[table.\"silver.a\"]\nkey = []\n")[0],
        "error: `key` is not a list of columns"
    );
    assert_eq!(
        said("", "[table.\"silver.a\"]\ncolumns.x.type = \"int); drop\"\n")[0],
        "error: not a PostgreSQL type"
    );
}

#[test]
fn the_dead_letter_topic_must_not_be_read_again() {
    assert_eq!(
        said("", "[dlq]\ntopic = \"shop.public.dlq\"\n")[0],
        "error: the dead-letter topic is routed to a table"
    );
}

#[test]
fn endpoints_stay_on_this_machine_unless_allowed() {
    assert_eq!(
        said("", "[http]\nlisten = \"0.0.0.0:9464\"\n")[0],
        "error: other machines could reach this address"
    );
    assert_eq!(
        said("", "[http]\nlisten = \"nowhere\"\n")[0],
        "error: `http.listen` is not an address"
    );
    assert!(good(&format!("{MINIMAL}[http]\nlisten = \"\"\n")).http.is_none());
    assert!(
        good(&format!("{MINIMAL}[http]\nenabled = false\nlisten = \"0.0.0.0:1\"\n")).http.is_none()
    );
    assert_eq!(
        good(&format!("{MINIMAL}[http]\nlisten = \"localhost:80\"\n")).http.unwrap().to_string(),
        "127.0.0.1:80"
    );
}

#[test]
fn values_out_of_bounds_are_refused() {
    for (lines, message) in [
        ("[limits]\nwriters = 0\n", "error: out of range"),
        (
            "[limits]\nbatch_rows = 99999999999999999999\n",
            "error: `limits.batch_rows` is out of range",
        ),
        ("[limits]\nbatch_bytes = \"8 parsecs\"\n", "error: not a usable byte count"),
        (
            "[limits]\nmemory_bytes = \"1MiB\"\n",
            "error: `batch_bytes` (8388608 bytes) is above `memory_bytes`",
        ),
        (
            "[limits]\nwriters = 2\n[defaults]\nwriters = 3\n",
            "error: a table cannot have more writers than `limits.writers` (2)",
        ),
        (
            "[table.\"silver.orders\"]\nwriters = 5\n",
            "error: a table cannot have more writers than `limits.writers` (4)",
        ),
        ("[log]\nlevel = \"inof\"\n", "error: unknown log level `inof`"),
        ("[schema]\nprefix = \"\"\n", "error: the prefix cannot be used"),
        ("[registry]\nurl = \"localhost\"\n", "error: `registry.url` is not a URL"),
        ("[registry]\nurl = \"http://x\"\npassword = \"p\"\n", "error: a password without a user"),
        ("[defaults]\nunavailable_value_placeholder = \"\"\n", "error: the placeholder is empty"),
        ("[defaults]\nnul_replacement = \"a\\u0000\"\n", "error: U+0000 cannot replace itself"),
        ("[[table]]\nx = 1\n", "error: `table` is an array"),
    ] {
        assert_eq!(said("", lines)[0], message, "{lines}");
    }
}

#[test]
fn frequent_slips_get_a_hint() {
    let help = |from, to| said(from, to).pop().unwrap();
    assert_eq!(help("[[route]]", "[route]"), "help: write [[route]], with two brackets");
    assert_eq!(
        help("", "[kafka.properties]\nsecurity.protocol = \"SSL\"\n"),
        "help: a name with dots is written in quotes: \"security.protocol\" = \"SASL_SSL\""
    );
    assert_eq!(
        help("", "shutdown_timeout = \"5s\"\n"),
        "help: `shutdown_timeout` belongs to the top of the file, before the first [section]"
    );
    assert_eq!(
        help("table = \"silver.${table}\"", "table = \"silver.${table}\"\nformat = \"avro\""),
        "help: add [registry] with `url`"
    );
}

#[test]
fn secrets_show_nowhere() {
    let text = format!(
        "{MINIMAL}[registry]\nurl = \"http://r\"\nuser = \"u\"\npassword = \"hunter2\"\n[kafka.properties]\n\"sasl.password\" = \"hunter2\"\n"
    );
    let config = good(&text);
    assert!(!format!("{config:?}").contains("hunter2"));
    let shown = toml::to_string(&show::effective(&config)).unwrap();
    assert!(
        !shown.contains("hunter2")
            && shown.contains("url = \"***\"")
            && shown.contains("\"sasl.password\" = \"***\""),
        "{shown}"
    );

    for (from, to) in [
        ("postgresql://", "oracle://"),
        ("url = ", "ulr = "),
        ("url = ", "url.dsn = "),
        ("[postgres]\nurl = ", "kafka.x = 1\npostgres = "),
        (
            "url = \"postgresql://me:hunter2@localhost/silver\"",
            "url = \"postgresql://me:hunter2@localhost/silver",
        ),
        ("[postgres]", "[postgres]\npassword = \"hunter2\""),
        ("name = \"shop\"", "name = \"shop\"\n[registry]\nurl = \"http://u:hunter2@r\""),
        (
            "name = \"shop\"",
            "name = \"shop\"\nkafka.properties.\"enable.auto.commit\" = 1\nkafka.properties.\"sasl.password\" = [\"hunter2\"]",
        ),
    ] {
        let report = report(from, to);
        assert!(!report.contains("hunter2"), "{report}");
    }
}

#[test]
fn the_effective_configuration_is_a_file_that_means_the_same() {
    let config = good(&format!(
        "{MINIMAL}[dlq]\ntopic = \"dead\"\n[table.\"silver.a\"]\ncolumns.x.type = \"text\"\n"
    ));
    let shown = toml::to_string(&show::effective(&config)).unwrap();
    let again = good(&shown.replace("\"***\"", "\"postgresql://me:hunter2@localhost/silver\""));
    assert_eq!(format!("{config:?}"), format!("{again:?}"));
}
