//! What the README shows has to work: its configuration loads.

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
