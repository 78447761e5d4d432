//! The JSON Schema (2020-12) of the JSON outputs. Additions to an output are no new version, so nothing here forbids
//! further properties.

mod correlate;
mod decode;
mod explain;
mod rules;
mod word;

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use word::reference;

/// Writes the schema that every JSON output satisfies, with a definition for each.
pub fn schema(out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(&outputs_schema()).map_err(io::Error::other)?;
    writeln!(out, "{text}")
}

/// The schema of all JSON outputs: each is one of the documents, told apart by its `schema`; a line of `-o jsonl` has
/// none.
#[must_use]
pub fn outputs_schema() -> Value {
    let documents = [
        ("explain", explain::document()),
        ("rules", rules::document()),
        ("correlate", correlate::document()),
        ("correlate-packet", correlate::line()),
        ("decode", decode::document()),
        ("decode-flows", decode::flows()),
        ("decode-packet", decode::packet()),
        ("decode-flow", decode::flow()),
    ];
    let outputs: Vec<Value> = documents.iter().map(|(name, _)| reference(name)).collect();
    let definitions =
        documents.into_iter().chain(explain::definitions()).chain(rules::definitions()).chain(correlate::definitions());
    let definitions: Map<String, Value> = definitions.map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "flowtrace",
        "oneOf": outputs,
        "$defs": definitions,
    })
}
