//! The schema of `flowtrace rules -o json`.

use serde_json::{Value, json};

use super::word::{count, list, object, reference, text, words};
use crate::render::listing::SCHEMA;

/// The document itself; what it refers to stands in [`definitions`].
pub(super) fn document() -> Value {
    object(&[
        ("schema", json!({"const": SCHEMA})),
        ("node", text()),
        ("netns", json!({"type": "string", "description": "host, or pod:NAMESPACE/NAME"})),
        ("rulesets", list(&reference("ruleset"))),
        ("gaps", list(&json!({"type": "string", "description": "what is missing or could not be read"}))),
    ])
}

/// What the document refers to, by name.
pub(super) fn definitions() -> [(&'static str, Value); 4] {
    [("ruleset", ruleset()), ("table", table()), ("chain", chain()), ("listed-rule", rule())]
}

fn ruleset() -> Value {
    object(&[
        ("family", words(&["ip", "ip6", "inet", "arp", "bridge", "netdev"], "nft's word for it")),
        ("backend", words(&["nft", "legacy", "native"], "native are nft's own tables, which iptables did not make")),
        ("file", text()),
        ("tables", list(&reference("table"))),
    ])
}

fn table() -> Value {
    object(&[("name", text()), ("chains", list(&reference("chain")))])
}

fn chain() -> Value {
    object(&[
        ("name", text()),
        ("policy", words(&["ACCEPT", "DROP", "-", "?"], "- where packets come by a jump, ? where no file says it")),
        ("line", count()),
        ("rules", list(&reference("listed-rule"))),
    ])
}

fn rule() -> Value {
    object(&[
        ("index", json!({"type": "integer", "minimum": 1, "description": "its place in the chain"})),
        ("line", count()),
        ("text", text()),
        ("certainty", words(&["exact", "branches", "not-modelled"], "whether a snapshot decides it")),
        ("unmodelled", list(&json!({"type": "string", "description": "what is not understood, and why"}))),
    ])
}
