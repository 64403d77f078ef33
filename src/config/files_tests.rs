//! The files in `config/`.

use super::load::parse;

#[test]
fn every_file_in_config_loads_and_the_schema_is_the_one_in_the_code() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let mut loaded = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "toml") {
            parse(&text, &path.display().to_string(), &|_| None)
                .unwrap_or_else(|report| panic!("{report}"));
            loaded += 1;
        } else {
            let schema = format!("{:#}\n", super::structure::schema());
            assert_eq!(text, schema, "run: silversink config schema > {}", path.display());
        }
    }
    assert!(loaded > 0);
}

#[test]
fn the_sample_names_every_key() {
    let sample = include_str!("../../config/silversink.toml");
    for (section, key) in super::structure::places() {
        if key != "table" || !section.is_empty() {
            let spelt =
                [format!("{key} = "), format!("[{key}]"), format!("[[{key}]]"), format!(".{key}]")];
            assert!(
                spelt.iter().any(|s| sample.contains(s)),
                "the sample lacks `{key}` of [{section}]"
            );
        }
    }
}
