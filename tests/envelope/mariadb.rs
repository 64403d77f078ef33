//! The captured MariaDB in each form: unsigned numbers, long times, zero dates, and the order of its binary log.

use crate::rig::Rig;
use silversink::demo::capture::{Capture, TableTruth};
use silversink::record::OwnedRecord;
use std::fmt::Write as _;

const DEFAULTS: &str = "[defaults]\nbigint_unsigned_handling_mode = \"long\"\ntime_precision_mode = \"adaptive_time_microseconds\"\n";

fn capture() -> Capture {
    Capture::open("testdata/debezium/mariadb").unwrap()
}

/// The records of a form in topics of its own, so that one worker reads several forms.
fn records(form: &str) -> Vec<OwnedRecord> {
    let mut records = capture().records(form).unwrap();
    for record in &mut records {
        let topic = record.at.topic.replacen("inv", &form.replace('-', "_"), 1);
        record.at.topic = topic;
    }
    records
}

fn route(forms: &[&str], more: &str) -> String {
    let forms = forms.join("|").replace('-', "_");
    format!(
        "[[route]]\ntopics = '^(?<form>{forms})(\\.inventory)?(\\.(?<table>\\w+))?$'\n\
         table = \"silver.${{form}}_${{table}}\"\n{more}\n{DEFAULTS}"
    )
}

/// Silver tables as one makes them for MariaDB: unsigned bigint is numeric(20), a time of up to 838 hours is an interval.
fn create_tables(rig: &Rig, form: &str) {
    let form = form.replace('-', "_");
    rig.execute(&format!(
        "CREATE SCHEMA IF NOT EXISTS silver; \
         CREATE TABLE silver.{form}_customers (id bigint PRIMARY KEY, name text, latin text, west text, is_vip smallint, \
           active smallint, kind text, flags text, born date, since int, credit numeric(10,2), prefs text, avatar bytea, \
           created timestamp(6), updated timestamptz, notes text); \
         CREATE TABLE silver.{form}_orders (id numeric(20) PRIMARY KEY, customer bigint, total numeric(20,4), \
           huge numeric(65,30), placed timestamp(0), placed3 timestamp(3), paid timestamptz, pickup interval, span interval, \
           quantity int, small int, tiny smallint, tinyu smallint, big numeric(20), signed_big bigint, \
           ratio double precision, ratio4 real, bits bit(10), flag boolean, raw bytea, fixed bytea, spot point, \
           zero_date date, zero_dt timestamp(0)); \
         CREATE TABLE silver.{form}_order_lines (order_id numeric(20), line int, item text, gift boolean, \
           price numeric(8,2), PRIMARY KEY (order_id, line))"
    ));
}

/// How a column of Silver (`s`) is the one of the source (`e`, its text). The losses are the connector's (`about.md`).
fn is_equal(column: &str, precise: bool) -> String {
    match column {
        "kind" => r"replace(s.kind, '\,', ',') = e.kind".to_owned(),
        "since" => "e.since = '0000' OR s.since = e.since::int".to_owned(),
        "west" => "coalesce(s.west, s.latin) = e.west".to_owned(),
        "flag" | "gift" => format!("s.{column} = (e.{column} = '1')"),
        "bits" => "s.bits = lpad(e.bits, 10, '0')::bit(10)".to_owned(),
        "spot" => "s.spot ~= replace(replace(e.spot, 'POINT', ''), ' ', ',')::point".to_owned(),
        "zero_date" => "s.zero_date IS NULL = (e.zero_date LIKE '%-00')".to_owned(),
        "zero_dt" => {
            "e.zero_dt LIKE '0000%' AND s.zero_dt = 'epoch' OR s.zero_dt::text = e.zero_dt"
                .to_owned()
        }
        // Under time.precision.mode=connect an hour above 24 arrives as NULL, and microseconds as milliseconds.
        "span" if precise => "s.span IS NULL OR s.span = e.span::interval".to_owned(),
        "created" if precise => {
            "s.created = date_trunc('milliseconds', e.created::timestamp)".to_owned()
        }
        "paid" | "updated" => format!("s.{column} = (e.{column} || '+00')::timestamptz"),
        "pickup" | "span" => format!("s.{column} = e.{column}::interval"),
        "created" | "placed" | "placed3" => format!("s.{column} = e.{column}::timestamp"),
        "avatar" | "raw" | "fixed" => format!("s.{column} = e.{column}::bytea"),
        "name" | "notes" | "prefs" | "flags" | "item" => format!("s.{column} = e.{column}"),
        "born" => "s.born = e.born::date".to_owned(),
        "ratio4" => "s.ratio4 = e.ratio4::real".to_owned(),
        "ratio" => "s.ratio = e.ratio::double precision".to_owned(),
        _ => format!("s.{column} = e.{column}::numeric"),
    }
}

/// Every live row of Silver is one of the source, and the other way round.
fn assert_equal(rig: &Rig, form: &str) {
    for truth in capture().truth().unwrap() {
        let table = format!("silver.{}_{}", form.replace('-', "_"), truth.name);
        expect(rig, &truth);
        let on: Vec<String> = truth.key.iter().map(|k| format!("s.{k} = e.{k}::numeric")).collect();
        let live = format!("(SELECT * FROM {table} WHERE _deleted_at IS NULL) AS s");
        let from = format!("expected AS e FULL JOIN {live} ON {}", on.join(" AND "));
        let key = &truth.key[0];
        let unmatched = format!("{from} WHERE s.{key} IS NULL OR e.{key} IS NULL");
        assert_eq!(rig.list(&format!("e.{key}, s.{key}"), &unmatched), "", "{table}");
        let differing = |column: &String| {
            let equal = is_equal(column, form.starts_with("precise"));
            format!(
                "CASE WHEN NOT coalesce({equal}, e.{column} IS NULL AND s.{column} IS NULL) \
                 THEN concat('{column}: ', s.{column}, ', not ', e.{column}) END"
            )
        };
        let columns: Vec<String> = truth.columns.iter().map(differing).collect();
        let differences = format!(
            "(SELECT e.{key}, nullif(concat_ws('; ', {}), '') AS what FROM {from}) AS x WHERE what IS NOT NULL",
            columns.join(", ")
        );
        assert_eq!(rig.list(&format!("{key}, what"), &differences), "", "{table}");
    }
}

/// The source's rows as texts in a table `expected`.
fn expect(rig: &Rig, truth: &TableTruth) {
    let columns: Vec<String> = truth.columns.iter().map(|c| format!("{c} text")).collect();
    let mut sql = format!(
        "DROP TABLE IF EXISTS expected; CREATE TABLE expected ({}); INSERT INTO expected VALUES ",
        columns.join(", ")
    );
    for (at, row) in truth.rows.iter().enumerate() {
        let values: Vec<String> = truth
            .columns
            .iter()
            .map(|c| {
                row[c]
                    .as_ref()
                    .map_or("NULL".to_owned(), |v| format!("'{}'", v.replace('\'', "''")))
            })
            .collect();
        write!(sql, "{} ({})", if at > 0 { "," } else { "" }, values.join(", ")).unwrap();
    }
    rig.execute(&sql);
}

#[test]
fn rows_in_every_form_are_the_source_s() {
    let forms = ["avro", "json", "json-plain"];
    let all: Vec<_> = forms.iter().flat_map(|form| records(form)).collect();
    let rig = Rig::new(&all, &route(&forms, "")).with_schemas(&capture().schemas("avro").unwrap());
    forms.iter().for_each(|form| create_tables(&rig, form));

    rig.run().unwrap();

    for form in forms {
        assert_equal(&rig, form);
        let ddl = form.replace('-', "_");
        assert_eq!(rig.counts(&ddl), [0, 0, 16, 0], "{form}: schema changes are skipped");
    }
    assert_eq!(rig.list("count(*)", "silversink.dead_letter"), "0");
    assert_eq!(rig.list("to_regclass('silver.avro_')", "(VALUES (1)) AS x"), "");
    let by_offset = "silver.avro_orders AS t, silversink.version_parts(t._version) AS v WHERE v.commit_position <> 0 OR v.phase <> 1";
    assert_eq!(rig.list("count(*)", by_offset), "0");
}

#[test]
fn rows_with_precise_unsigned_numbers_are_the_source_s() {
    let forms = ["precise-avro"];
    let all: Vec<_> = forms.iter().flat_map(|form| records(form)).collect();
    let rig = Rig::new(&all, &route(&forms, ""))
        .with_schemas(&capture().schemas("precise-avro").unwrap());
    forms.iter().for_each(|form| create_tables(&rig, form));

    rig.run().unwrap();

    for form in forms {
        assert_equal(&rig, form);
        let [applied, superseded, skipped, dead] =
            rig.counts(&format!("{}.transaction", form.replace('-', "_")));
        assert_eq!((applied, superseded, dead), (0, 0, 0));
        assert!(skipped > 0);
    }
}

/// Newest first: only the place in the binary log tells the order.
#[test]
fn the_binary_log_orders_what_arrives_in_any_order() {
    let forms = ["json-plain", "flat-json"];
    let mut all: Vec<_> = forms
        .iter()
        .flat_map(|form| records(form))
        .filter(|record| record.value.is_some() && record.at.topic.contains(".inventory."))
        .collect();
    all.reverse();
    let rig = Rig::new(&all, &route(&forms, "position = \"binlog\""));
    forms.iter().for_each(|form| create_tables(&rig, form));

    rig.run().unwrap();

    for form in forms {
        assert_equal(&rig, form);
    }
    let places = "(SELECT DISTINCT div(v.commit_position, 4294967296) AS file FROM silver.json_plain_orders AS t, \
                  silversink.version_parts(t._version) AS v) AS x";
    assert_eq!(rig.list("file", places), "1, 2", "files before and after the rotation");
}
