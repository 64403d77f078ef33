//! Connect schemas in shorthand, as Connect's JSON and as the Avro that Confluent's converter makes of it.

use serde_json::{Value, json};

/// `int32 t.Date`, `bytes k.Decimal scale=2`, `[string d.Uuid]` (array), `{string}` (map from text), `struct g.Point`.
pub fn connect(short: &str) -> Value {
    if let Some(element) = short.strip_prefix('[') {
        let (element, rest) = element.rsplit_once(']').unwrap();
        return named(json!({"type": "array", "items": connect(element)}), rest);
    }
    if let Some(values) = short.strip_prefix('{') {
        let values = connect(values.strip_suffix('}').unwrap());
        return json!({"type": "map", "keys": {"type": "string", "optional": false}, "values": values, "optional": true});
    }
    let (ty, rest) = short.split_once(' ').unwrap_or((short, ""));
    named(json!({"type": ty}), rest)
}

fn named(mut schema: Value, rest: &str) -> Value {
    let mut words = rest.split_whitespace().peekable();
    schema["optional"] = json!(true);
    if words.peek().is_some_and(|word| !word.contains('=')) {
        let (package, name) = words.next().unwrap().split_once('.').unwrap();
        let package = match package {
            "t" => "io.debezium.time",
            "d" => "io.debezium.data",
            "g" => "io.debezium.data.geometry",
            "k" => "org.apache.kafka.connect.data",
            other => panic!("package {other}"),
        };
        schema["name"] = json!(format!("{package}.{name}"));
        schema["version"] = json!(1);
        if schema["type"] == "struct" {
            schema["fields"] = fields(name);
        }
    }
    let parameters: serde_json::Map<String, Value> = words
        .map(|word| word.split_once('=').unwrap())
        .map(|(name, value)| (name.replace("source.", "__debezium.source.column."), json!(value)))
        .collect();
    if !parameters.is_empty() {
        schema["parameters"] = Value::Object(parameters);
    }
    schema
}

/// The fields that Debezium gives its structs.
fn fields(name: &str) -> Value {
    let list = |fields: &[(&str, &str)]| {
        let field = |(name, ty): &(&str, &str)| {
            let required = ty.strip_suffix('!');
            let mut schema = connect(required.unwrap_or(ty));
            schema["optional"] = json!(required.is_none());
            schema["field"] = json!(name);
            schema
        };
        Value::Array(fields.iter().map(field).collect())
    };
    let date = [("year", "int32"), ("month", "int8"), ("day", "int8")];
    let clock = [("hour", "int8"), ("minute", "int8"), ("second", "int8"), ("nanos", "int32")];
    let zone = [("offsetSeconds", "int32"), ("zoneId", "string")];
    let end = [("specialValue", "string"), ("precision", "int32")];
    let newer =
        [("hour", "int8"), ("minute", "int8"), ("second", "int8"), ("picoseconds", "int64")];
    match name.split("Precision").next().unwrap() {
        "VariableScaleDecimal" => list(&[("scale", "int32!"), ("value", "bytes!")]),
        "Point" => list(&[("x", "double!"), ("y", "double!"), ("wkb", "bytes"), ("srid", "int32")]),
        "Geometry" | "Geography" => {
            list(&[("wkb", "bytes!"), ("srid", "int32"), ("extensions", "{string}")])
        }
        "Circle" => list(&[("center", "struct g.Point!"), ("radius", "double!")]),
        "Line" => list(&[("a", "double!"), ("b", "double!"), ("c", "double!")]),
        "SparseDoubleVector" | "SparseVector" => {
            let mut fields = list(&[("dimensions", "int16!")]);
            fields.as_array_mut().unwrap().push(json!({"field": "vector", "type": "map", "optional": false,
                "keys": {"type": "int16", "optional": false}, "values": {"type": "double", "optional": false}}));
            fields
        }
        "StructuredDate" => list(&[&date[..], &end].concat()),
        "StructuredTime" => list(&[&clock[..], &end].concat()),
        "StructuredTimestamp" if name.contains("Precision") => {
            list(&[&date[..], &newer, &end].concat())
        }
        "StructuredTimestamp" => list(&[&date[..], &clock, &end].concat()),
        "StructuredZonedTime" => list(&[&clock[..], &zone, &end].concat()),
        "StructuredZonedTimestamp" => list(&[&date[..], &clock, &zone, &end].concat()),
        "StructuredDuration" => list(&[
            ("years", "int32"),
            ("months", "int32"),
            ("days", "int32"),
            ("hours", "int32"),
            ("minutes", "int32"),
            ("seconds", "int64"),
            ("nanos", "int32"),
            ("precision", "int32"),
        ]),
        other => panic!("fields of {other}"),
    }
}

/// Makes Avro schemas; counts the records, so that every one has a name of its own.
#[derive(Default)]
pub struct Avro {
    records: u32,
}

impl Avro {
    /// `io.confluent.connect.avro.AvroData.fromConnectSchema`.
    pub fn schema(&mut self, connect: &Value) -> Value {
        let ty = connect["type"].as_str().unwrap();
        let mut avro = match ty {
            "int8" | "int16" => json!({"type": "int", "connect.type": ty}),
            "int32" => json!({"type": "int"}),
            "int64" => json!({"type": "long"}),
            "array" => json!({"type": "array", "items": self.schema(&connect["items"])}),
            "map" if connect["keys"]["type"] == "string" => {
                json!({"type": "map", "values": self.schema(&connect["values"])})
            }
            "map" => {
                let entry = [("key", "keys"), ("value", "values")]
                    .map(|(name, part)| json!({"name": name, "type": self.schema(&connect[part])}));
                json!({"type": "array", "connect.internal.type": "MapEntry",
                       "items": {"type": "record", "name": self.name(), "fields": entry}})
            }
            "struct" => {
                let fields: Vec<Value> = connect["fields"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|field| json!({"name": field["field"], "type": self.schema(field)}))
                    .collect();
                json!({"type": "record", "name": self.name(), "fields": fields})
            }
            plain => json!({"type": plain}),
        };
        for (from, to) in [("name", "connect.name"), ("parameters", "connect.parameters")] {
            if let Some(found) = connect.get(from) {
                avro[to] = found.clone();
            }
        }
        if connect["optional"] == json!(true) { json!(["null", avro]) } else { avro }
    }

    fn name(&mut self) -> String {
        self.records += 1;
        format!("Record{}", self.records)
    }
}
