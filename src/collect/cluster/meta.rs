//! `snapshot.json` of a cluster's snapshot: what its nodes' said, put together.

use serde::Serialize;
use serde_json::Value;

use crate::load::meta::SCHEMA;

/// A node that was taken.
#[derive(Debug, Serialize)]
pub(super) struct NodeMeta {
    pub node: String,
    /// How it was reached.
    pub through: String,
    pub taken: Value,
    pub by: Value,
    pub kernel: Value,
    pub timezone: Value,
}

/// The whole file.
#[derive(Debug, Serialize)]
pub(super) struct Meta {
    pub schema: &'static str,
    pub taken: String,
    pub by: String,
    pub nodes: Vec<NodeMeta>,
    pub namespaces: Vec<Value>,
    pub changed: Vec<Value>,
    pub failed: Vec<Value>,
    pub notes: Vec<Value>,
    /// What of a node's snapshot could not be read when it was put in here.
    pub gaps: Vec<String>,
}

impl Meta {
    pub fn new(taken: String) -> Self {
        Self {
            schema: SCHEMA,
            taken,
            by: format!("flowtrace {}", env!("CARGO_PKG_VERSION")),
            nodes: Vec::new(),
            namespaces: Vec::new(),
            changed: Vec::new(),
            failed: Vec::new(),
            notes: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Adds what a node's own `snapshot.json` says; one that is no JSON says nothing.
    pub fn add(&mut self, node: &str, through: String, text: &str) {
        let mut told: Value = serde_json::from_str(text).unwrap_or_default();
        let mut take = |key: &str| told.get_mut(key).map(Value::take).unwrap_or_default();
        let schema = take("schema");
        if schema.as_str().is_some_and(|schema| schema != SCHEMA) {
            self.notes.push(Value::String(format!("{node}: its snapshot.json is of another layout, {schema}")));
        }
        let (taken, by, kernel, timezone) = (take("taken"), take("by"), take("kernel"), take("timezone"));
        self.nodes.push(NodeMeta { node: node.to_owned(), through, taken, by, kernel, timezone });
        for (key, all) in [
            ("namespaces", &mut self.namespaces),
            ("changed", &mut self.changed),
            ("failed", &mut self.failed),
            ("notes", &mut self.notes),
        ] {
            if let Value::Array(list) = take(key) {
                // A note is about its node, and says so only here.
                let tell = |one| match one {
                    Value::String(text) if key == "notes" => Value::String(format!("{node}: {text}")),
                    one => one,
                };
                all.extend(list.into_iter().map(tell));
            }
        }
    }

    pub fn fail(&mut self, file: &str, why: &str) {
        self.failed.push(serde_json::json!({"file": file, "why": why}));
    }

    /// The files that could not be taken, and why.
    pub fn failures(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.failed.iter().map(|failed| (text(&failed["file"]), text(&failed["why"]))).collect()
    }

    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_words_are_put_together() {
        let mut meta = Meta::new("now".to_owned());
        meta.add(
            "n1",
            "own pod".to_owned(),
            r#"{"taken": "t", "timezone": "UTC", "failed": [{"file": "a", "why": "b"}], "notes": ["x"], "namespaces": [{"dir": "d"}]}"#,
        );
        meta.add("n2", "file".to_owned(), "no JSON");
        meta.fail("nodes/n3", "late");
        let value: Value = serde_json::from_str(&meta.text()).unwrap();
        assert_eq!(value["nodes"][0]["taken"], "t");
        assert_eq!(value["nodes"][0]["timezone"], "UTC");
        assert_eq!(value["nodes"][1]["by"], Value::Null);
        assert_eq!(value["notes"], serde_json::json!(["n1: x"]));
        assert_eq!(value["failed"].as_array().unwrap().len(), 2);
        assert_eq!(value["namespaces"].as_array().unwrap().len(), 1);
    }
}
