//! Whether an answer leaves something open.

use serde_json::Value;

/// What in an answer is not known: a way that ends undetermined or that nobody can weigh, what was missing, and whatever
/// is said not to be modelled.
pub fn open(answer: &Value) -> Vec<String> {
    let mut open = Vec::new();
    let paths = answer["paths"].as_array().expect("paths");
    for path in paths.iter().filter(|path| path["probability"].is_null()) {
        open.push(format!("nobody can weigh {}", path["why"]));
    }
    let traces = paths.iter().flat_map(|path| [&path["forward"], &path["reply"]]);
    for trace in traces.filter(|trace| trace["verdict"] == "undetermined") {
        open.push(format!("undetermined: {}", trace["reason"]));
    }
    open.extend(answer["gaps"].as_array().expect("gaps").iter().map(|gap| gap["what"].to_string()));
    unmodelled(answer, &mut open);
    open
}

/// Every text that owns up to something that is not modelled. What stands in the snapshot's files says nothing of it.
pub fn unmodelled(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().filter(|(name, _)| *name != "text").for_each(|(_, field)| {
            unmodelled(field, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| unmodelled(item, found)),
        Value::String(text) if text.contains("not modelled") || text == "not-modelled" => found.push(text.clone()),
        _ => {}
    }
}
