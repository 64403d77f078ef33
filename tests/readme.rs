//! What the README shows has to work: its configuration loads, and its tables of words are complete.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

#[test]
fn the_configuration_in_the_readme_loads() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (snippet, _) = rest.split_once("```").unwrap();

    let environment = |name: &str| {
        (name == "SILVER_URL").then(|| "postgresql://silver@localhost/silver".to_owned())
    };
    let config = silversink::config::load::parse(snippet, "README.md", &environment)
        .unwrap_or_else(|report| panic!("{report}"));

    assert_eq!(config.name, "shop");
    assert_eq!(config.routes.len(), 1);
}

/// The words that head the rows of the tables under this column's name, in one section.
fn rows(readme: &str, section: &str, column: &str) -> Vec<String> {
    let (_, rest) = readme.split_once(&format!("\n## {section}\n")).unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let mut inside = false;
    let mut words = Vec::new();
    for line in section.lines() {
        let Some(first) = line.strip_prefix('|').and_then(|row| row.split('|').next()) else {
            inside = false;
            continue;
        };
        inside |= first.trim() == column;
        if inside && !first.contains("---") && first.trim() != column {
            words.push(first.trim().trim_matches('`').to_owned());
        }
    }
    words.sort();
    words
}

fn sorted(words: impl Iterator<Item = &'static str>) -> Vec<String> {
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.sort();
    words
}

#[test]
fn every_code_and_every_rule_has_one_row_and_no_row_names_another() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let codes = sorted(silversink::fault::Code::ALL.iter().map(|code| code.as_str()));
    assert_eq!(rows(&readme, "When something stops", "code"), codes);
    let rules = sorted(silversink::decode::SkipRule::ALL.iter().map(|rule| rule.as_str()));
    assert_eq!(rows(&readme, "When something stops", "rule"), rules);
}
