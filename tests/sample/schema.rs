//! A checker for the part of JSON Schema that `flowtrace schema` uses. It is stricter than the standard in one thing: a
//! property that the schema doesn't describe is an error, so that nothing is printed undocumented.

use std::collections::BTreeSet;

use serde_json::Value;

/// What in the value is not as the schema says.
pub fn problems(root: &Value, value: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check(root, root, value, "", &mut problems);
    problems
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
    let mut known = BTreeSet::new();
    validate(root, schema, value, at, problems, &mut known);
    if let (Value::Object(fields), true) = (value, describes_properties(root, schema)) {
        for name in fields.keys().filter(|name| !known.contains(*name)) {
            problems.push(format!("{at}/{name} is not described"));
        }
    }
}

fn describes_properties(root: &Value, schema: &Value) -> bool {
    let schema = resolve(root, schema);
    schema.get("properties").is_some()
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(path) => resolve(root, root.pointer(path.trim_start_matches('#')).expect("a definition")),
        None => schema,
    }
}

fn validate(
    root: &Value,
    schema: &Value,
    value: &Value,
    at: &str,
    problems: &mut Vec<String>,
    known: &mut BTreeSet<String>,
) {
    let schema = resolve(root, schema);
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "type" if !has_type(rule, value) => problems.push(format!("{at} is not {rule}: {value}")),
            "const" if rule != value => problems.push(format!("{at} is not {rule}: {value}")),
            "enum" if !rule.as_array().unwrap().contains(value) => {
                problems.push(format!("{at} is none of the words: {value}"));
            }
            "minimum" if value.as_f64() < rule.as_f64() && value.is_number() => problems.push(format!("{at}: {value}")),
            "maximum" if value.as_f64() > rule.as_f64() => problems.push(format!("{at}: {value}")),
            "minItems"
                if value.as_array().map(Vec::len) < rule.as_u64().and_then(|count| usize::try_from(count).ok()) =>
            {
                problems.push(format!("{at} is too short"));
            }
            "maxItems"
                if value.as_array().map(Vec::len) > rule.as_u64().and_then(|count| usize::try_from(count).ok()) =>
            {
                problems.push(format!("{at} is too long"));
            }
            "$schema" | "$id" | "$defs" | "title" | "description" | "type" | "const" | "enum" | "minimum"
            | "maximum" | "minItems" | "maxItems" => {}
            "required" => {
                for name in rule.as_array().unwrap().iter().filter_map(Value::as_str) {
                    if value.is_object() && value.get(name).is_none() {
                        problems.push(format!("{at}/{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, field) in rule.as_object().unwrap() {
                    if let Some(inner) = value.get(name) {
                        known.insert(name.clone());
                        check(root, field, inner, &format!("{at}/{name}"), problems);
                    }
                }
            }
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}/{place}"), problems);
                }
            }
            "anyOf" | "oneOf" => one_of(root, rule, value, at, problems, known),
            other => problems.push(format!("the checker doesn't know {other}")),
        }
    }
}

/// Exactly one of the schemas holds. Those that name another kind of step, or another document, are passed over, for
/// better words.
fn one_of(
    root: &Value,
    rule: &Value,
    value: &Value,
    at: &str,
    problems: &mut Vec<String>,
    known: &mut BTreeSet<String>,
) {
    let mut fitting = 0;
    let mut complaints = Vec::new();
    for schema in rule.as_array().unwrap() {
        let wanted = |word: &str| resolve(root, schema).pointer(&format!("/properties/{word}/const"));
        let kind = wanted("kind");
        let differs = |word: &str| wanted(word).is_some() && wanted(word) != value.get(word);
        if differs("kind") || differs("schema") {
            continue;
        }
        let mut found = Vec::new();
        let mut names = BTreeSet::new();
        validate(root, schema, value, at, &mut found, &mut names);
        if describes_properties(root, schema) && kind.is_none() {
            found.clear();
            check(root, schema, value, at, &mut found);
        }
        if found.is_empty() {
            fitting += 1;
            known.extend(names);
        }
        complaints.extend(found);
    }
    if fitting != 1 {
        problems.push(format!("{at} fits {fitting} of the alternatives: {complaints:?}"));
    }
}

fn has_type(rule: &Value, value: &Value) -> bool {
    let fits = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    };
    match rule {
        Value::Array(names) => names.iter().any(fits),
        name => fits(name),
    }
}
