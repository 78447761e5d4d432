//! The schema of `flowtrace explain -o json`.

use serde_json::{Value, json};

use super::word::{add_optional, count, flag, list, object, or_null, reference, text, text_or_null, words};
use crate::render::json::SCHEMA;
use crate::trace::{BesideKind, CtState, Hook, Leg, NatChange, Reason, ReverseMode, Role, RuleVerdict, Verdict, Way};

/// The document itself; what it refers to stands in [`definitions`].
pub(super) fn document() -> Value {
    let mut schema = object(&[
        ("schema", json!({"const": SCHEMA})),
        ("request", request()),
        ("verdict", words(&VERDICTS.map(Verdict::as_str), "mixed where the paths differ")),
        ("paths", list(&reference("path"))),
        ("gaps", list(&reference("gap"))),
        ("findings", list(&reference("finding"))),
    ]);
    let optional = [
        ("truncated", json!({"const": true, "description": "--max-paths cut the list of paths"})),
        ("unexplored", json!({"type": "number", "description": "the probability of the paths that were cut off"})),
        ("capture", reference("capture")),
    ];
    add_optional(&mut schema, optional);
    schema
}

const VERDICTS: [Verdict; 8] = [
    Verdict::Delivered,
    Verdict::Left,
    Verdict::Dropped,
    Verdict::Rejected,
    Verdict::Lost,
    Verdict::Looped,
    Verdict::Undetermined,
    Verdict::Mixed,
];

/// What the document refers to, by name.
pub(super) fn definitions() -> [(&'static str, Value); 9] {
    [
        ("reason", words(&Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>(), "why a packet ended")),
        ("packet", packet()),
        ("evidence", evidence()),
        ("gap", gap()),
        ("finding", object(&[("what", text()), ("evidence", list(&reference("evidence")))])),
        ("path", path()),
        ("trace", trace()),
        ("step", step()),
        ("capture", capture()),
    ]
}

/// The captured packet that an answer of `--pcap` is about.
fn capture() -> Value {
    let way =
        words(&[Way::In, Way::Out].map(Way::as_str), "which way it passed the device; null where nobody can tell");
    let roles = [Role::Original, Role::Reply, Role::Error].map(Role::as_str);
    object(&[
        ("file", text()),
        (
            "n",
            json!({"type": "integer", "minimum": 1, "description": "its place in the file, the first one's of several"}),
        ),
        ("count", json!({"type": "integer", "minimum": 1, "description": "how many packets of the file are like it"})),
        ("node", text()),
        ("netns", text()),
        ("device", text()),
        ("way", or_null(&way)),
        ("role", words(&roles, "what it is in its conversation")),
        (
            "established",
            json!({"type": "boolean", "description": "whether its conversation had seen packets both ways"}),
        ),
        (
            "whole",
            json!({
                "type": "boolean",
                "description": "whether the paths begin where it was sent; else they begin at the capture point",
            }),
        ),
        ("packet", reference("packet")),
        ("odd", list(&reference("finding"))),
        ("notes", list(&text())),
    ])
}

fn trace() -> Value {
    let mut trace = object(&[
        ("verdict", words(&VERDICTS.map(Verdict::as_str), "how it ended")),
        ("reason", or_null(&reference("reason"))),
        ("steps", list(&reference("step"))),
    ]);
    add_optional(&mut trace, [("beside", list(&beside()))]);
    trace
}

/// What the kernel sent beside the packet, on its account. No verdict but its own depends on it.
fn beside() -> Value {
    let kinds = [BesideKind::Copy, BesideKind::Ack].map(BesideKind::as_str);
    let mut way = object(&[
        ("probability", json!({"type": ["number", "null"], "description": "null where nobody can weigh a choice"})),
        ("trace", reference("trace")),
    ]);
    add_optional(&mut way, [("why", json!({"type": "string", "description": "the choices on its way"}))]);
    let mut beside = object(&[
        ("kind", words(&kinds, "copy: a copy of the packet; ack: SYNPROXY's acknowledgement of the server's answer")),
        (
            "after",
            json!({"type": "integer", "minimum": 0, "description": "the n of the packet's step before it was sent"}),
        ),
        ("paths", list(&way)),
    ]);
    let optional = [
        ("certain", json!({"const": false, "description": "nobody can tell whether its rule matched"})),
        ("truncated", json!({"const": true, "description": "it has more paths"})),
    ];
    add_optional(&mut beside, optional);
    beside
}

fn request() -> Value {
    object(&[("from", text()), ("to", text()), ("packet", reference("packet"))])
}

fn path() -> Value {
    let mut path = object(&[
        ("probability", json!({"type": ["number", "null"], "description": "null where nobody can weigh a choice"})),
        ("verdict", words(&VERDICTS.map(Verdict::as_str), "of the way there")),
        ("forward", reference("trace")),
        ("reply", or_null(&reference("trace"))),
    ]);
    let optional = [
        ("why", json!({"type": "string", "description": "the choices on the way"})),
        (
            "error_delivered",
            json!({"type": ["boolean", "null"], "description": "whether the sender hears of it; null where that is not known"}),
        ),
        (
            "seen",
            object(&[
                (
                    "leg",
                    words(&[Leg::Forward, Leg::Reply].map(Leg::as_str), "the part on which the captured packet is"),
                ),
                ("step", json!({"type": "integer", "minimum": 1, "description": "the step's n at the capture point"})),
            ]),
        ),
    ];
    add_optional(&mut path, optional);
    path
}

fn evidence() -> Value {
    let mut evidence = object(&[("file", text()), ("line", count()), ("text", text())]);
    let index = json!({"type": "integer", "minimum": 0, "description": "the object's place in a JSON file's list"});
    add_optional(&mut evidence, [("index", index)]);
    evidence
}

fn gap() -> Value {
    let mut gap = object(&[("what", text()), ("evidence", list(&reference("evidence")))]);
    let column = json!({"type": "integer", "minimum": 1, "description": "where in its line the trouble is"});
    add_optional(&mut gap, [("column", column)]);
    gap
}

fn packet() -> Value {
    let port = || json!({"type": ["integer", "null"], "minimum": 0, "maximum": 65535});
    let mut packet = object(&[
        ("protocol", text()),
        ("source", text()),
        ("source_port", port()),
        ("destination", text()),
        ("destination_port", port()),
        ("ttl", count()),
        ("length", count()),
        ("mark", count()),
        ("tos", count()),
        ("df", flag()),
    ]);
    let priority = json!({"type": ["integer", "null"], "minimum": 0, "maximum": 7});
    let protocol = words(&["802.1Q", "802.1ad"], "");
    let vlan = [("id", count()), ("protocol", protocol), ("priority", priority), ("drop_eligible", flag())];
    let vlan = object(&vlan);
    let vlans = json!({"type": "array", "items": vlan, "description": "the frame's VLAN tags, the outermost first"});
    let optional = [
        ("tcp_flags", count()),
        ("icmp", icmp()),
        (
            "ip_options",
            json!({"type": "string", "description": "the options of the IPv4 header in hexadecimal, ?? where one is not known"}),
        ),
        ("ext_headers", list(&object(&[("header", words(&EXT_HEADERS, "")), ("bytes", text())]))),
        ("fragments", object(&[("count", count()), ("largest", count())])),
        ("link", object(&[("source", text()), ("destination", text())])),
        ("vlans", vlans),
        ("tunnel", words(&["vxlan", "relay"], "on an outer packet: what carries the inner one")),
        ("vni", count()),
        ("outer", reference("packet")),
    ];
    add_optional(&mut packet, optional);
    packet
}

/// As `--ext-headers` has them.
const EXT_HEADERS: [&str; 5] = ["hop", "dst", "route", "frag", "ah"];

/// A step is one of its kinds; what every kind has stands beside that.
fn step() -> Value {
    let mut step = object(&[
        ("n", count()),
        ("node", text()),
        ("netns", text()),
        ("kind", words(&kinds().iter().map(|kind| kind.name).collect::<Vec<_>>(), "what happened")),
        ("packet", reference("packet")),
        ("evidence", list(&reference("evidence"))),
    ]);
    let kinds: Vec<Value> = kinds().into_iter().map(Kind::schema).collect();
    if let Value::Object(step) = &mut step {
        step.insert("oneOf".to_owned(), Value::Array(kinds));
    }
    step
}

/// One kind of step with its own fields.
struct Kind {
    name: &'static str,
    fields: Vec<(&'static str, Value)>,
    optional: Vec<(&'static str, Value)>,
}

impl Kind {
    fn new<const N: usize>(name: &'static str, fields: [(&'static str, Value); N]) -> Self {
        Self { name, fields: fields.into(), optional: Vec::new() }
    }

    fn with<const N: usize>(mut self, optional: [(&'static str, Value); N]) -> Self {
        self.optional = optional.into();
        self
    }

    fn schema(self) -> Value {
        let mut fields = self.fields;
        fields.insert(0, ("kind", json!({"const": self.name})));
        let mut schema = object(&fields);
        add_optional(&mut schema, self.optional);
        schema
    }
}

fn kinds() -> Vec<Kind> {
    let mut kinds = vec![
        Kind::new("send", []),
        Kind::new("receive", [("device", text())]).with([("bridge_netfilter", flag())]),
        Kind::new("transmit", [("device", text())]),
    ];
    kinds.extend(routing_kinds());
    kinds.extend(netfilter_kinds());
    kinds.extend(link_kinds());
    kinds.extend(end_kinds());
    kinds
}

fn routing_kinds() -> [Kind; 5] {
    [
        Kind::new(
            "route",
            [
                ("table", text_or_null()),
                ("rule_priority", json!({"type": ["integer", "null"]})),
                ("prefix", text_or_null()),
                ("type", text_or_null()),
                ("via", text_or_null()),
                ("device", text_or_null()),
                ("source_hint", text_or_null()),
            ],
        ),
        Kind::new(
            "reverse-path",
            [
                ("device", text()),
                (
                    "mode",
                    words(&[ReverseMode::Off, ReverseMode::Strict, ReverseMode::Loose].map(ReverseMode::as_str), ""),
                ),
                ("passed", flag()),
            ],
        ),
        Kind::new("source-route", [("destination", text())]),
        Kind::new("forward", [("mtu", json!({"type": ["integer", "null"]}))]),
        Kind::new("fragment", [("mtu", count()), ("count", count()), ("largest", count())]),
    ]
}

fn netfilter_kinds() -> [Kind; 4] {
    let chain = || {
        [
            ("hook", words(&HOOKS.map(Hook::as_str), "")),
            ("family", text()),
            ("backend", words(&["nft", "legacy"], "")),
            ("table", text()),
            ("chain", text()),
            ("verdict", words(&RULE_VERDICTS.map(RuleVerdict::as_str), "")),
        ]
    };
    let mut rule = Kind::new("rule", chain());
    rule.fields.extend([("index", count()), ("text", text())]);
    let rule = rule.with([("certain", json!({"const": false}))]);
    let changes = [NatChange::Snat, NatChange::Dnat, NatChange::SnatReply, NatChange::DnatReply];
    let states = [CtState::New, CtState::Established, CtState::Related, CtState::Invalid, CtState::Untracked];
    [
        rule,
        Kind::new("policy", chain()),
        Kind::new("conntrack", [("state", words(&states.map(CtState::as_str), ""))]),
        Kind::new("nat", [("change", words(&changes.map(NatChange::as_str), "")), ("from", text()), ("to", text())]),
    ]
}

const HOOKS: [Hook; 7] =
    [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting, Hook::Ingress, Hook::Egress];

const RULE_VERDICTS: [RuleVerdict; 9] = [
    RuleVerdict::Accept,
    RuleVerdict::Drop,
    RuleVerdict::Reject,
    RuleVerdict::Continue,
    RuleVerdict::Return,
    RuleVerdict::Jump,
    RuleVerdict::Goto,
    RuleVerdict::Queue,
    RuleVerdict::Stolen,
];

fn link_kinds() -> [Kind; 6] {
    let tunnel = || {
        [("device", text()), ("tunnel", words(&["vxlan", "relay"], "")), ("vni", json!({"type": ["integer", "null"]}))]
    };
    [
        Kind::new(
            "neighbor",
            [
                ("address", text()),
                ("device", text()),
                ("lladdr", text_or_null()),
                ("state", text_or_null()),
                ("assumed", flag()),
            ],
        ),
        Kind::new("fdb", [("device", text()), ("lladdr", text()), ("flooded", list(&text()))])
            .with([("port", text()), ("vtep", text())]),
        Kind::new("encapsulate", tunnel()),
        Kind::new("decapsulate", tunnel()),
        Kind::new("userspace", [("device", text()), ("program", text()), ("ttl_cost", count())]),
        Kind::new("underlay", [("assumed", flag()), ("routers", count())]).with([("note", text())]),
    ]
}

fn end_kinds() -> impl Iterator<Item = Kind> {
    VERDICTS.into_iter().filter(|verdict| *verdict != Verdict::Mixed).map(|verdict| {
        let end = Kind::new(verdict.step_kind(), [("reason", or_null(&reference("reason")))]);
        match verdict {
            Verdict::Rejected => end.with([
                ("detail", text()),
                ("icmp", icmp()),
                ("icmp_source", text()),
                ("tcp_reset", json!({"const": true})),
                ("errno", text()),
            ]),
            _ => end.with([("detail", text())]),
        }
    })
}

fn icmp() -> Value {
    json!({
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 255},
        "minItems": 2,
        "maxItems": 2,
        "description": "type and code",
    })
}
