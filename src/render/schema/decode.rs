//! The schemas of `flowtrace decode -o json`, with `--flows` and without, and of the lines of `-o jsonl`.

use serde_json::{Value, json};

use super::word::{add_optional, count, list, object, or_null, reference, text, text_or_null, words};

fn number_or_null() -> Value {
    json!({"type": ["integer", "null"], "minimum": 0})
}

/// The document of `-o json`.
pub(super) fn document() -> Value {
    object(&[
        ("schema", json!({"const": "flowtrace/decode/1"})),
        ("packets", list(&reference("decode-packet"))),
        ("notes", list(&text())),
    ])
}

/// The document of `--flows -o json`.
pub(super) fn flows() -> Value {
    object(&[
        ("schema", json!({"const": "flowtrace/decode-flows/1"})),
        ("flows", list(&reference("decode-flow"))),
        ("notes", list(&text())),
    ])
}

/// The fields of a packet of a nest.
fn ends() -> [(&'static str, Value); 5] {
    [
        ("protocol", text_or_null()),
        ("source", text_or_null()),
        ("source_port", number_or_null()),
        ("destination", text_or_null()),
        ("destination_port", number_or_null()),
    ]
}

/// The names of its addresses, with a snapshot.
fn names() -> [(&'static str, Value); 2] {
    [("source_name", text_or_null()), ("destination_name", text_or_null())]
}

/// A line of `-o jsonl`: one packet.
pub(super) fn packet() -> Value {
    let mut outer = object(&[&ends()[..], &[("tunnel", text()), ("vni", number_or_null())]].concat());
    add_optional(&mut outer, names());
    let mut packet = object(
        &[
            &[
                ("n", json!({"type": "integer", "minimum": 1})),
                ("time", json!({"type": ["string", "null"], "description": "RFC 3339, nanoseconds"})),
                ("interface", text_or_null()),
                ("length", count()),
                ("captured", count()),
                ("layers", list(&text())),
            ],
            &ends()[..],
            &[("outer", or_null(&outer)), ("error", or_null(&object(&[("offset", count()), ("reason", text())])))],
        ]
        .concat(),
    );
    add_optional(&mut packet, names());
    add_optional(&mut packet, told());
    add_optional(&mut packet, [("checksums", list(&checksum())), ("fragments", list(&count()))]);
    packet
}

/// What a snapshot tells.
fn told() -> [(&'static str, Value); 10] {
    let or_null = |words: &[&str]| {
        let with_null: Vec<Value> = words.iter().map(|word| json!(word)).chain([Value::Null]).collect();
        json!({"enum": with_null})
    };
    [
        ("point", json!({"type": ["string", "null"], "description": "NODE/DEVICE, or NODE/NAMESPACE_POD/DEVICE"})),
        ("way", or_null(&["in", "out"])),
        ("role", or_null(&["original", "reply", "error"])),
        ("path_from", text_or_null()),
        ("path_to", text_or_null()),
        ("hop", number_or_null()),
        ("hops", number_or_null()),
        ("ways", number_or_null()),
        ("verdict", text_or_null()),
        ("odd", list(&text())),
    ]
}

fn checksum() -> Value {
    let states = ["good", "offloaded", "bad", "absent", "unknown"];
    let mut checksum = object(&[("layer", text()), ("offset", count()), ("checksum", words(&states, ""))]);
    add_optional(&mut checksum, [("found", count()), ("wanted", count())]);
    checksum
}

/// A line of `--flows -o jsonl`: one conversation.
pub(super) fn flow() -> Value {
    let mut flow = object(&[
        ("protocol", text()),
        ("source", text()),
        ("source_port", number_or_null()),
        ("destination", text()),
        ("destination_port", number_or_null()),
        ("packets", count()),
        ("bytes", count()),
        ("packets_back", count()),
        ("bytes_back", count()),
        ("first", text_or_null()),
        ("last", text_or_null()),
        ("tunnels", list(&text())),
        ("resets", count()),
        ("retransmissions", count()),
    ]);
    add_optional(&mut flow, names());
    flow
}
