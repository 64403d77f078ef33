//! Routes whose records name their tables: templates, their mistakes, where they lead.

use super::{Config, load};
use crate::fault::{Class, Code};
use crate::route::{collisions, route};
use crate::table::TableName;

fn parse(routes: &str) -> Result<Config, String> {
    let text = format!(
        "name = \"shop\"\nkafka.bootstrap_servers = \"h:9092\"\npostgres.url = \"postgresql://h/d\"\n{routes}"
    );
    load::parse(&text, "sink.toml", &|_| None).map_err(|report| report.to_string())
}

fn routed(table: &str) -> String {
    format!("[[route]]\ntopics = '^(?<app>\\w+)\\.all$'\ntable = \"{table}\"\n")
}

#[test]
fn a_template_takes_groups_of_the_topic_and_what_the_source_tells() {
    let config = parse(&routed("silver.${app}_${source.schema}_${source.table}")).unwrap();
    let one = route(&config, "shop.all").unwrap();
    assert_eq!(one.table.to_string(), "silver.shop_${source.schema}_${source.table} of shop.all");
    let template = one.tables.unwrap();
    assert_eq!(
        template.table(["db", "public", "orders"]),
        Ok(TableName::new("silver", "shop_public_orders"))
    );
    assert!(template.may_name(&TableName::new("silver", "shop_a_b")));
    assert!(!template.may_name(&TableName::new("silver", "app_a_b")));
    assert!(!template.may_name(&TableName::new("gold", "shop_a_b")));

    let untold = template.table(["db", "", "orders"]).unwrap_err();
    assert_eq!((untold.class, untold.code), (Class::Poison, Code::TableUnplaced));
    assert!(untold.text.contains("${source.schema}"), "{untold}");
    for name in ["a.b", "a\"b", "a\0b", &"x".repeat(57)] {
        let invalid = template.table(["", "p", name]).unwrap_err();
        assert_eq!((invalid.class, invalid.code), (Class::Blocked, Code::TableUnplaced), "{name}");
        assert!(!invalid.text.contains(name), "{invalid}");
    }
    assert!(template.table(["", "p", &"x".repeat(56)]).is_ok(), "63 bytes");
}

#[test]
fn a_group_of_the_expression_goes_before_what_a_source_tells() {
    let config = parse(
        "[[route]]\ntopics = '^(?<source.table>\\w+)$'\ntable = \"silver.${source.table}\"\n",
    );
    let one = route(&config.unwrap(), "orders").unwrap();
    assert_eq!((one.table.to_string().as_str(), one.tables), ("silver.orders", None));
}

#[test]
fn topics_of_one_template_meet_only_where_their_tables_do() {
    let config = parse(&routed("silver.${source.table}")).unwrap();
    assert!(collisions(&config, ["shop.all", "crm.all"]).is_empty());
    let merged = format!("{}merge_sources = true\n", routed("silver.${source.table}"));
    let merged = parse(&merged).unwrap();
    let lanes = ["shop.all", "crm.all"].map(|topic| route(&merged, topic).unwrap().table);
    assert_eq!(lanes[0], lanes[1]);
}

#[test]
fn a_misspelt_part_gets_its_nearest_and_another_schema_is_refused() {
    let report = parse(&routed("silver.${source.tabel}")).unwrap_err();
    assert!(report.contains("a record's source tells no `source.tabel`"), "{report}");
    assert!(report.contains("did you mean ${source.table}?"), "{report}");
    let report = parse(&routed("${source.schema}.${source.table}")).unwrap_err();
    assert!(report.contains("the schema of `table` is not literal"), "{report}");
}

#[test]
fn a_table_that_records_name_has_settings_but_none_of_its_lane() {
    let config = parse(&format!(
        "{}[table.\"silver.orders\"]\nkey = [\"id\"]\n",
        routed("silver.${source.table}")
    ));
    assert_eq!(
        config.unwrap().tables[&TableName::new("silver", "orders")].key.as_ref().unwrap().len(),
        1
    );
    let report = parse(&format!(
        "{}[table.\"silver.orders\"]\nwriters = 2\nbatch_rows = 5\n",
        routed("silver.${source.table}")
    ))
    .unwrap_err();
    for key in ["writers", "batch_rows"] {
        let message = format!("`{key}` cannot be set for a table that records name");
        assert!(report.contains(&message), "{report}");
    }
}
