//! Puts referenced Avro schemas in place of their names. Pure.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Deeper schemas than this are refused: JSON nesting, references included.
const MAX_DEPTH: usize = 64;

/// `schema` with each name of `referenced` replaced at its first use by the definition; later uses keep the name, as
/// Avro wants it. Names are full names (namespace and name).
pub(super) fn inline(
    schema: &str,
    referenced: &BTreeMap<String, String>,
) -> Result<String, String> {
    let mut inliner = Inliner { referenced, defined: BTreeSet::new() };
    let value = parse(schema)?;
    Ok(inliner.schema(value, "", 0)?.to_string())
}

fn parse(schema: &str) -> Result<Value, String> {
    // A registry may hold the bare name of a primitive.
    serde_json::from_str(schema)
        .map_err(|e| format!("it is no JSON (line {}, column {})", e.line(), e.column()))
}

struct Inliner<'r> {
    referenced: &'r BTreeMap<String, String>,
    defined: BTreeSet<String>,
}

impl Inliner<'_> {
    fn schema(&mut self, value: Value, namespace: &str, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        match value {
            Value::String(name) => self.name(name, namespace, depth),
            Value::Array(branches) => {
                let branches: Result<Vec<Value>, String> =
                    branches.into_iter().map(|b| self.schema(b, namespace, depth + 1)).collect();
                Ok(Value::Array(branches?))
            }
            Value::Object(object) => self.object(object, namespace, depth),
            other => Ok(other),
        }
    }

    fn name(&mut self, name: String, namespace: &str, depth: usize) -> Result<Value, String> {
        let full = full_name(&name, namespace);
        // A dotless name means its own namespace first, the null namespace where that defines nothing.
        let Some((full, text)) =
            self.referenced.get_key_value(&full).or_else(|| self.referenced.get_key_value(&name))
        else {
            return Ok(Value::String(name));
        };
        if self.defined.contains(full) {
            return Ok(Value::String(full.clone()));
        }
        let mut definition = parse(text)?;
        if let Value::Object(object) = &mut definition {
            // Inside another schema a missing namespace would be inherited: state that there is none.
            let dotless =
                object.get("name").and_then(Value::as_str).is_some_and(|n| !n.contains('.'));
            if dotless && !object.contains_key("namespace") {
                object.insert("namespace".to_owned(), Value::String(String::new()));
            }
        }
        self.schema(definition, "", depth + 1)
    }

    fn object(
        &mut self,
        mut object: Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Value, String> {
        let kind = object.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut inner = namespace.to_owned();
        if matches!(kind.as_str(), "record" | "error" | "enum" | "fixed") {
            let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
            let own = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
            let full = full_name(name, own);
            inner = full.rsplit_once('.').map(|(n, _)| n.to_owned()).unwrap_or_default();
            self.defined.insert(full);
        }
        match kind.as_str() {
            "record" | "error" => {
                if let Some(Value::Array(fields)) = object.get_mut("fields") {
                    for field in fields {
                        self.member(field.as_object_mut(), "type", &inner, depth)?;
                    }
                }
            }
            "array" => self.member(Some(&mut object), "items", &inner, depth)?,
            "map" => self.member(Some(&mut object), "values", &inner, depth)?,
            "enum" | "fixed" => {}
            // {"type": <schema>}: a name, a union or another object.
            _ => self.member(Some(&mut object), "type", &inner, depth)?,
        }
        Ok(Value::Object(object))
    }

    fn member(
        &mut self,
        object: Option<&mut Map<String, Value>>,
        key: &str,
        namespace: &str,
        depth: usize,
    ) -> Result<(), String> {
        if let Some(slot) = object.and_then(|o| o.get_mut(key)) {
            *slot = self.schema(slot.take(), namespace, depth + 1)?;
        }
        Ok(())
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referenced(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_first_use_of_a_reference_becomes_its_definition_and_the_second_its_name() {
        let text = inline(
            r#"{"type":"record","name":"Envelope","namespace":"a","fields":[
                {"name":"before","type":["null","b.Row"]},{"name":"after","type":["null","b.Row"]}]}"#,
            &referenced(&[
                ("b.Row", r#"{"type":"record","name":"Row","namespace":"b","fields":[{"name":"at","type":"Point"}]}"#),
                ("Point", r#"{"type":"record","name":"Point","fields":[{"name":"x","type":"int"}]}"#),
            ]),
        )
        .unwrap();
        apache_avro::Schema::parse_str(&text).unwrap();
        assert_eq!(text.matches(r#""name":"Row""#).count(), 1);
        assert_eq!(text.matches(r#""b.Row""#).count(), 1);
        assert_eq!(text.matches(r#""name":"Point""#).count(), 1);
    }

    #[test]
    fn references_in_a_circle_end() {
        let text = inline(
            r#""A""#,
            &referenced(&[
                (
                    "A",
                    r#"{"type":"record","name":"A","fields":[{"name":"b","type":["null","B"]}]}"#,
                ),
                (
                    "B",
                    r#"{"type":"record","name":"B","fields":[{"name":"a","type":["null","A"]}]}"#,
                ),
            ]),
        )
        .unwrap();
        assert_eq!(text.matches(r#""name":"A""#).count(), 1);
    }

    #[test]
    fn a_definition_that_names_something_else_than_its_reference_ends_too() {
        let circle = referenced(&[("A", r#"{"type":"array","items":"A"}"#)]);
        assert!(inline(r#""A""#, &circle).unwrap_err().contains("nested deeper"));
    }
}
