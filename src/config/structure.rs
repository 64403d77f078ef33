//! Finds unknown keys, wrong types and unknown words in a parsed file, and takes them out so that the rest can be read.
//!
//! What is known comes from the JSON schema of [`RawConfig`], so that there is one list of keys.

use super::diagnostic::{Problems, join};
use super::properties::is_secret_path;
use super::raw::RawConfig;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// The JSON schema of the configuration file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RawConfig).to_value();
    without_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "Silversink".into());
    }
    schema
}

/// TOML has no null: an optional key is one that may be left out.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(variants)) = object.get_mut("anyOf") {
                variants.retain(|v| v.get("type").and_then(Value::as_str) != Some("null"));
                if let [Value::Object(only)] = variants.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    only.into_iter().for_each(|(key, value)| {
                        object.entry(key).or_insert(value);
                    });
                }
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|t| t.as_str() != Some("null"));
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Takes out what does not follow the schema, with a problem for each.
pub(super) fn prune(table: &mut DeTable<'_>, problems: &mut Problems) {
    Walk { problems }.table(&SCHEMA, "", table);
}

/// Whether the value at this dotted path is known to hold no secret. A misspelt key, or a value where a section should
/// be, may hold anything.
pub fn is_plain(path: &str) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path);
    let key = key.split('[').next().unwrap_or(key);
    let shared = SCHEMA.get("$defs").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let inlined =
        SCHEMA.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let is_value = |section: &Value| {
        let schema = section.get("properties").and_then(|known| known.get(key)).map(resolved);
        let items = schema.and_then(|schema| schema.get("items")).map(resolved);
        schema.is_some_and(|schema| !types(items.unwrap_or(schema)).contains(&"object"))
    };
    !is_secret_path(path) && shared.chain(inlined).chain([&*SCHEMA]).any(is_value)
}

struct Walk<'w> {
    problems: &'w mut Problems,
}

impl Walk<'_> {
    fn table<'i>(&mut self, schema: &Value, path: &str, table: &mut DeTable<'i>) {
        let schema = resolved(schema);
        let known = schema.get("properties").and_then(Value::as_object);
        let other = schema.get("additionalProperties").filter(|other| other.is_object());
        let keep = |(key, mut value): (Spanned<Cow<'i, str>>, Spanned<DeValue<'i>>)| {
            let path = join(path, key.get_ref());
            let kept = match known.and_then(|known| known.get(key.get_ref().as_ref())).or(other) {
                Some(schema) => self.keeps(schema, &path, &mut value, other.is_some()),
                None => self.refuses(known, &path, &key),
            };
            kept.then_some((key, value))
        };
        *table = std::mem::take(table).into_iter().filter_map(keep).collect();
    }

    fn keeps(
        &mut self,
        schema: &Value,
        path: &str,
        value: &mut Spanned<DeValue<'_>>,
        in_map: bool,
    ) -> bool {
        let schema = resolved(schema);
        let span = value.span();
        let found = kind(value.get_ref());
        let allowed = types(schema);
        if allowed.contains(&found) {
            return match value.get_mut() {
                DeValue::Table(table) => {
                    self.table(schema, path, table);
                    true
                }
                DeValue::Array(array) => {
                    let items = schema.get("items").unwrap_or(&Value::Null);
                    let mut all = true;
                    for (index, item) in array.iter_mut().enumerate() {
                        all &= self.keeps(items, &format!("{path}[{index}]"), item, false);
                    }
                    all || self.drop(path)
                }
                DeValue::String(word) => self.is_word(schema, path, word, &span) || self.drop(path),
                DeValue::Integer(number)
                    if i64::from_str_radix(number.as_str(), number.radix()).is_err() =>
                {
                    self.problems.add(
                        span,
                        format!("`{path}` is out of range"),
                        "expected a number below 2^63",
                    );
                    self.drop(path)
                }
                _ => true,
            };
        }
        let expected = allowed.iter().map(|kind| words(kind)).collect::<Vec<_>>().join(" or ");
        self.problems.add(
            span,
            format!("`{path}` is {}", words(found)),
            format!("expected {expected}"),
        );
        if found == "object" && allowed == ["array"] {
            self.problems.help(format!("write [[{path}]], with two brackets"));
        } else if found == "object" && in_map {
            self.problems.help(
                "a name with dots is written in quotes: \"security.protocol\" = \"SASL_SSL\"",
            );
        }
        self.drop(path)
    }

    fn is_word(&mut self, schema: &Value, path: &str, word: &str, span: &Range<usize>) -> bool {
        let words = enumerated(schema);
        if words.is_empty() || words.contains(&word) {
            return true;
        }
        self.problems.add(
            span.clone(),
            format!("`{path}` is an unknown word"),
            format!("expected one of {}", quoted(&words)),
        );
        if let Some(nearest) = nearest(word, words.iter().copied()) {
            self.problems.help(format!("did you mean \"{nearest}\"?"));
        }
        false
    }

    fn drop(&mut self, path: &str) -> bool {
        self.problems.settle(path);
        false
    }

    fn refuses(
        &mut self,
        known: Option<&Map<String, Value>>,
        path: &str,
        key: &Spanned<Cow<'_, str>>,
    ) -> bool {
        let name: &str = key.get_ref();
        let siblings: Vec<&str> =
            known.map(|known| known.keys().map(String::as_str).collect()).unwrap_or_default();
        let section = path.strip_suffix(name).map_or("", |p| p.trim_end_matches('.'));
        self.problems.add(
            key.span(),
            format!("unknown key `{name}`"),
            format!("known keys {}: {}", here(section), siblings.join(", ")),
        );
        if let Some(nearest) = nearest(name, siblings.iter().copied()) {
            self.problems.help(format!("did you mean `{nearest}`?"));
            self.problems.settle(&join(section, nearest));
        } else if let Some((home, _)) = places().iter().find(|(_, known)| known == name) {
            self.problems.help(format!("`{name}` belongs to {}", place(home)));
            self.problems.settle(&join(home, name));
        }
        false
    }
}

fn here(section: &str) -> String {
    if section.is_empty() {
        "at the top of the file".to_owned()
    } else {
        format!("in {}", place(section))
    }
}

fn place(section: &str) -> String {
    match section {
        "" => "the top of the file, before the first [section]".to_owned(),
        _ if section.starts_with("route") => "[[route]]".to_owned(),
        _ => format!("[{section}]"),
    }
}

/// The nearest of some words, if one is near enough to be meant.
pub fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let simple = word.to_lowercase().replace(['-', '.'], "_");
    words
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&simple, candidate), candidate))
        .filter(|(distance, candidate)| {
            let longest = candidate.chars().count().max(simple.chars().count());
            *distance * 3 <= longest
                || (simple.len() > 2
                    && (candidate.starts_with(&simple) || simple.starts_with(candidate)))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Every key that has a section of fixed name, with that section.
pub(super) fn places() -> Vec<(String, String)> {
    let mut places = Vec::new();
    let Some(root) = SCHEMA.get("properties").and_then(Value::as_object) else { return places };
    for (name, schema) in root {
        places.push((String::new(), name.clone()));
        let mut section = resolved(schema);
        if let Some(items) = section.get("items") {
            section = resolved(items);
        }
        let keys = section.get("properties").and_then(Value::as_object).into_iter().flatten();
        places.extend(keys.map(|(key, _)| (name.clone(), key.clone())));
    }
    places
}

fn resolved(schema: &Value) -> &Value {
    schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| SCHEMA.pointer(reference.trim_start_matches('#')))
        .unwrap_or(schema)
}

/// The JSON types that a schema allows.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec!["string"],
    }
}

/// The words that a schema allows; empty where it allows any.
fn enumerated(schema: &Value) -> Vec<&str> {
    let plain = schema
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let described = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    plain.chain(described.filter_map(|v| v.get("const")?.as_str())).collect()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "datetime",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

fn words(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number with fraction",
        "boolean" => "true or false",
        "datetime" => "a date or time",
        "array" => "an array",
        _ => "a table",
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_one_that_could_be_meant() {
        assert_eq!(
            nearest("bootstrap_server", ["bootstrap_servers", "group_id"]),
            Some("bootstrap_servers")
        );
        assert_eq!(nearest("group-id", ["bootstrap_servers", "group_id"]), Some("group_id"));
        assert_eq!(nearest("group", ["bootstrap_servers", "group_id"]), Some("group_id"));
        assert_eq!(nearest("colour", ["bootstrap_servers", "group_id"]), None);
    }

    #[test]
    fn only_values_of_known_keys_that_hold_no_secret_are_plain() {
        for path in [
            "name",
            "kafka.group_id",
            "postgres.lock_timeout",
            "route[0].topics",
            "table.s.t.key[1]",
        ] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "postgres",
            "postgres.url",
            "ulr",
            "kafka.properties.acks",
            "registry.password",
            "route[0].x",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn every_value_in_the_schema_has_a_type_or_words() {
        fn walk(path: &str, schema: &Value) {
            let schema = resolved(schema);
            assert!(
                schema.get("type").is_some() || !enumerated(schema).is_empty(),
                "{path}: {schema}"
            );
            assert!(!schema.to_string().contains("\"null\""), "{path}: {schema}");
            for (name, child) in
                schema.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                walk(&join(path, name), child);
            }
            if let Some(items) = schema.get("items") {
                walk(path, items);
            }
        }
        walk("", &SCHEMA);
    }
}
