//! The words that the schemas are put together from.

use serde_json::{Map, Value, json};

pub(super) fn text() -> Value {
    json!({"type": "string"})
}

pub(super) fn text_or_null() -> Value {
    json!({"type": ["string", "null"]})
}

pub(super) fn flag() -> Value {
    json!({"type": "boolean"})
}

pub(super) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

pub(super) fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

pub(super) fn or_null(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

pub(super) fn words(words: &[&str], about: &str) -> Value {
    if about.is_empty() { json!({"enum": words}) } else { json!({"enum": words, "description": about}) }
}

/// An object with these properties, all required.
pub(super) fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect();
    json!({"type": "object", "properties": properties, "required": names})
}

pub(super) fn add_optional(object: &mut Value, fields: impl IntoIterator<Item = (&'static str, Value)>) {
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.extend(fields.into_iter().map(|(name, field)| (name.to_owned(), field)));
    }
}
