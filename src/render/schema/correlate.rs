//! The schemas of `flowtrace correlate -o json` and of the lines of `-o jsonl`.

use serde_json::{Value, json};

use super::word::{add_optional, count, flag, list, object, or_null, reference, text, text_or_null, words};
use crate::render::correlate::SCHEMA;

/// The document of `-o json`; what it refers to stands in [`definitions`].
pub(super) fn document() -> Value {
    let mut document = object(&[
        ("schema", json!({"const": SCHEMA})),
        ("files", list(&text())),
        ("points", list(&json!({"type": "string", "description": "NODE/DEVICE, or NODE/NAMESPACE_POD/DEVICE"}))),
        ("packets", count()),
        ("lost", count()),
        ("skipped", object(&[("not_ip", count()), ("group", count()), ("timeless", count())])),
        ("clocks", list(&reference("correlate-clock"))),
        ("flows", list(&reference("correlate-flow"))),
    ]);
    let causes = json!({"description": "with a snapshot: lines that end packets where some were lost"});
    add_optional(
        &mut document,
        [("causes", merged(list(&reference("correlate-cause")), causes)), ("unexplained", count())],
    );
    document
}

/// A line of `-o jsonl`: one packet.
pub(super) fn line() -> Value {
    let mut line = object(&[
        ("id", count()),
        ("flow", text_or_null()),
        ("sightings", list(&reference("correlate-sighting"))),
        ("fragments", list(&reference("correlate-frame"))),
        (
            "lost_after",
            merged(
                text_or_null(),
                json!({"description": "a point from which others like it went on, or had gone on by then; as many \
                records have one as the text and -o json count as lost"}),
            ),
        ),
        ("last_seen", text()),
        ("not_captured_at", text_or_null()),
        ("retransmission_of", json!({"type": ["integer", "null"]})),
        ("missed", list(&text())),
    ]);
    let cause = or_null(&object(&[("verdict", text()), ("evidence", list(&text()))]));
    add_optional(&mut line, [("predicted", or_null(&list(&reference("correlate-hop-predicted")))), ("cause", cause)]);
    line
}

fn merged(mut schema: Value, more: Value) -> Value {
    if let (Value::Object(schema), Value::Object(more)) = (&mut schema, more) {
        schema.extend(more);
    }
    schema
}

/// What the documents refer to, by name.
pub(super) fn definitions() -> [(&'static str, Value); 10] {
    [
        ("correlate-clock", clock()),
        ("correlate-flow", flow()),
        ("correlate-hop", hop()),
        ("correlate-count", object(&[("point", text()), ("packets", count())])),
        ("correlate-cause", cause()),
        ("correlate-frame", object(&frame())),
        ("correlate-sighting", sighting()),
        ("correlate-tunnel", tunnel()),
        ("correlate-hop-predicted", predicted()),
        ("correlate-difference", difference()),
    ]
}

fn number() -> Value {
    json!({"type": "integer"})
}

fn clock() -> Value {
    let certainty = ["reference", "both-ways", "one-way", "uneven", "unordered", "unknown"];
    object(&[
        ("node", text()),
        (
            "ahead_ns",
            json!({"type": ["integer", "null"], "description": "of the reference's, when the first packet was seen"}),
        ),
        ("drift_ppm", json!({"type": ["number", "null"]})),
        ("uncertainty_ns", json!({"type": ["number", "null"], "description": "half of the shortest round trip"})),
        ("certainty", words(&certainty, "what the clock is known by")),
        ("packets", count()),
    ])
}

fn flow() -> Value {
    object(&[
        ("flow", text()),
        ("first", text()),
        ("last", text()),
        ("packets", count()),
        ("bytes", count()),
        ("retransmissions", count()),
        ("lost", count()),
        ("lost_after", list(&reference("correlate-count"))),
        (
            "early",
            merged(
                list(&reference("correlate-count")),
                json!({"description": "last seen there before any like them had gone on: not counted as lost"}),
            ),
        ),
        ("missed", list(&reference("correlate-count"))),
        ("first_point", text()),
        ("hops", list(&reference("correlate-hop"))),
    ])
}

fn hop() -> Value {
    let delays = ["least", "p50", "p90", "p99", "most"].map(|name| (name, number()));
    object(&[
        ("from", text()),
        ("to", text()),
        ("packets", count()),
        ("reordered", count()),
        ("delay_ns", object(&delays)),
        ("rewritten", list(&text())),
    ])
}

fn cause() -> Value {
    let mut cause = object(&[("evidence", list(&text())), ("packets", count())]);
    add_optional(&mut cause, [("counted", count())]);
    cause
}

fn frame() -> [(&'static str, Value); 4] {
    [("point", text()), ("file", text()), ("n", count()), ("time", text())]
}

fn sighting() -> Value {
    let delay = json!({"type": ["integer", "null"], "description": "since the sighting before, clocks corrected"});
    let way = json!({"enum": ["in", "out", null], "description": "which way it passed the device, where the capture says so"});
    let own = [
        ("way", way),
        ("delay_ns", delay),
        ("rewritten", list(&text())),
        ("tunnel", or_null(&reference("correlate-tunnel"))),
    ];
    object(&frame().into_iter().chain(own).collect::<Vec<_>>())
}

fn tunnel() -> Value {
    let vni = json!({"type": ["integer", "null"]});
    object(&[("tunnel", text()), ("vni", vni), ("source", text()), ("destination", text())])
}

fn predicted() -> Value {
    object(&[
        ("point", text()),
        ("captured", flag()),
        ("state", words(&["seen", "unseen", "differs"], "")),
        ("differs", list(&reference("correlate-difference"))),
    ])
}

fn difference() -> Value {
    let mut difference = object(&[
        ("field", words(&["source", "destination", "ttl", "tunnel", "point"], "")),
        ("predicted", text_or_null()),
        ("seen", text_or_null()),
        ("means", text()),
    ]);
    add_optional(&mut difference, [("evidence", list(&text()))]);
    difference
}
