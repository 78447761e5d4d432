//! A JSON object of a device, in the words of the text form.

use serde_json::value::RawValue;

use super::super::json::{Fields, Row, Value, value};
use super::port_fields;

/// The segments of an object, the first of them its header.
pub(super) fn segments_of(fields: &Fields<'_>) -> Vec<Row> {
    let mut header = header_words(fields);
    let mut address = Row::default();
    address.word(format!("link/{}", fields.scalar("link_type").unwrap_or_default()));
    address.0.extend(fields.scalar("address").map(String::from));
    for (key, raw) in &fields.0 {
        match &**key {
            "ifindex" | "ifname" | "link" | "link_index" | "flags" | "link_type" | "address" | "linkinfo"
            | "link_pointtopoint" | "altnames" | "ifalias" | "vfinfo_list" | "stats" | "stats64" | "addr_info"
            | "proto_down_reason" => {}
            "mtu" | "qdisc" | "master" | "group" | "event" => header.field(key, raw),
            "xdp" => header.word("xdp"),
            "operstate" => header.field("state", raw),
            "linkmode" => header.field("mode", raw),
            "txqlen" => header.field("qlen", raw),
            "proto_down" if raw.get() == "true" || raw.get() == "null" => address.all(&["protodown", "on"]),
            "link_netnsid" if raw.get() == "-1" => {
                address.all(&["link-netnsid", "unknown"]);
            }
            key => address.field(detail_word(key), raw),
        }
    }
    let mut segments = vec![header];
    if fields.get("link_type").is_some() {
        segments.push(address);
    }
    if let Some(info) = fields.object("linkinfo") {
        segments.extend(kind_words(&info));
        segments.extend(slave_words(&info));
    }
    segments
}

/// The number, the name and the flags.
pub(in super::super) fn header_words(fields: &Fields<'_>) -> Row {
    let mut row = Row::default();
    let name = fields.scalar("ifname").unwrap_or_default();
    let peer = match (fields.scalar("link_index"), fields.get("link").and_then(value)) {
        (Some(index), _) => format!("@if{index}"),
        (None, Some(Value::Scalar(peer))) => format!("@{peer}"),
        (None, Some(Value::Null)) => "@NONE".to_owned(),
        _ => String::new(),
    };
    row.0.extend(fields.scalar("ifindex").map(|index| format!("{index}:")));
    row.word(format!("{name}{peer}:"));
    row.word(flag_words(&fields.list("flags")));
    row
}

/// `<UP,LOWER_UP>`.
fn flag_words(list: &[&RawValue]) -> String {
    let flags = list.iter().filter_map(|raw| match value(raw) {
        Some(Value::Scalar(flag)) => Some(flag),
        _ => None,
    });
    format!("<{}>", flags.collect::<Vec<_>>().join(","))
}

fn detail_word(key: &str) -> &str {
    match key {
        "broadcast" => "brd",
        "link_netnsid" => "link-netnsid",
        "min_mtu" => "minmtu",
        "max_mtu" => "maxmtu",
        "inet6_addr_gen_mode" => "addrgenmode",
        "num_tx_queues" => "numtxqueues",
        "num_rx_queues" => "numrxqueues",
        "phys_port_name" => "portname",
        "phys_port_id" => "portid",
        "phys_switch_id" => "switchid",
        key => key,
    }
}

fn kind_words(info: &Fields<'_>) -> Option<Row> {
    let kind = info.scalar("info_kind")?;
    let mut row = Row::default();
    row.word(kind.clone());
    let data = info.object("info_data").map_or(Vec::new(), |data| data.0);
    for (key, raw) in &data {
        match &*kind {
            "vxlan" => vxlan_field(&mut row, key, raw),
            "tun" => port_fields(&mut row, key, raw),
            "vlan" => vlan_field(&mut row, key, raw),
            _ => row.field(key, raw),
        }
    }
    // The JSON form leaves out the `ttl` of the inner packet, and prints all others.
    if kind == "vxlan" && data.iter().all(|(key, _)| key != "ttl") && !data.is_empty() {
        row.all(&["ttl", "inherit"]);
    }
    Some(row)
}

fn slave_words(info: &Fields<'_>) -> Option<Row> {
    let mut row = Row::default();
    row.word(format!("{}_slave", info.scalar("info_slave_kind")?));
    for (key, raw) in info.object("info_slave_data").map_or(Vec::new(), |data| data.0) {
        port_fields(&mut row, &key, raw);
    }
    Some(row)
}

fn vlan_field(row: &mut Row, key: &str, raw: &RawValue) {
    match (key, value(raw)) {
        ("flags", Some(Value::List(list))) => row.word(flag_words(&list)),
        ("ingress_qos" | "egress_qos", _) => row.word("ingress-qos-map"),
        _ => row.field(key, raw),
    }
}

fn vxlan_field(row: &mut Row, key: &str, raw: &RawValue) {
    match (key, value(raw)) {
        ("group6", _) => row.field("group", raw),
        ("remote6", _) => row.field("remote", raw),
        ("local6", _) => row.field("local", raw),
        ("link", _) => row.field("dev", raw),
        ("port", _) => row.field("dstport", raw),
        ("label", _) => row.field("flowlabel", raw),
        ("limit", _) => row.field("maxaddr", raw),
        ("port_range", Some(Value::Object(range))) => {
            row.word("srcport");
            row.0.extend(["low", "high"].iter().filter_map(|end| range.scalar(end)).map(String::from));
        }
        (_, Some(Value::Bool(false))) => row.word(format!("no{key}")),
        _ => row.field(key, raw),
    }
}
