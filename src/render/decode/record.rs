//! A packet as a record: of JSON, or a row of CSV.

use super::clock::Clock;
use super::name::{Name, protocol};
use super::text::{csv_value, json_string};
use super::{Buffer, Shown};
use crate::wire::{Headers, Tunnel};

/// Where records of JSON stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// On a line each.
    Lines,
    /// In a list of one object.
    Object,
}

/// The record of a packet.
pub(super) fn json(shown: &Shown<'_>, style: Style, clock: &mut Clock, out: &mut Buffer) {
    if style == Style::Object {
        out.words(b",\n    ");
    }
    out.words(b"{\"n\":");
    out.large(shown.frame.number);
    out.words(b",\"time\":");
    match shown.frame.time {
        Some(time) => {
            out.byte(b'"');
            clock.date(time, out);
            out.byte(b'"');
        }
        None => out.words(b"null"),
    }
    out.words(b",\"interface\":");
    match shown.interface {
        Some(name) => json_string(name, out),
        None => out.words(b"null"),
    }
    out.words(b",\"length\":");
    out.number(shown.frame.length);
    out.words(b",\"captured\":");
    out.large(shown.frame.bytes.len() as u64);
    layers(shown, out);
    ends(shown.decoded.innermost().as_ref(), out);
    outer(shown, out);
    flaw(shown, out);
    out.byte(b'}');
    if style == Style::Lines {
        out.byte(b'\n');
    }
}

fn layers(shown: &Shown<'_>, out: &mut Buffer) {
    out.words(b",\"layers\":[");
    for (place, layer) in shown.decoded.layers.iter().enumerate() {
        if place > 0 {
            out.byte(b',');
        }
        out.byte(b'"');
        out.str(layer.kind.name());
        out.byte(b'"');
    }
    out.words(b"],");
}

/// Who sends what to whom.
fn ends(packet: Option<&Headers<'_>>, out: &mut Buffer) {
    let Some(packet) = packet else {
        return out.words(
            b"\"protocol\":null,\"source\":null,\"source_port\":null,\"destination\":null,\"destination_port\":null",
        );
    };
    out.words(b"\"protocol\":\"");
    match protocol(packet) {
        Name::Word(word) => out.str(word),
        Name::Protocol(protocol) => out.format(format_args!("{protocol}")),
    }
    let (source_port, destination_port) = packet.ports().unzip();
    out.words(b"\",\"source\":");
    address(packet.source(), out);
    out.words(b",\"source_port\":");
    port(source_port, out);
    out.words(b",\"destination\":");
    address(packet.destination(), out);
    out.words(b",\"destination_port\":");
    port(destination_port, out);
}

fn address(address: Option<std::net::IpAddr>, out: &mut Buffer) {
    let Some(address) = address else { return out.words(b"null") };
    out.byte(b'"');
    out.address(address);
    out.byte(b'"');
}

fn port(port: Option<u16>, out: &mut Buffer) {
    match port {
        Some(port) => out.number(port.into()),
        None => out.words(b"null"),
    }
}

fn outer(shown: &Shown<'_>, out: &mut Buffer) {
    out.words(b",\"outer\":");
    let (Some(packet), Some(Tunnel { name, vni })) = (shown.decoded.outermost(), shown.decoded.tunnel()) else {
        return out.words(b"null");
    };
    out.byte(b'{');
    ends(Some(&packet), out);
    out.words(b",\"tunnel\":\"");
    out.str(name);
    out.words(b"\",\"vni\":");
    match vni {
        Some(vni) => out.number(vni),
        None => out.words(b"null"),
    }
    out.byte(b'}');
}

fn flaw(shown: &Shown<'_>, out: &mut Buffer) {
    let Some(flaw) = shown.decoded.flaw else { return out.words(b",\"error\":null") };
    out.words(b",\"error\":{\"offset\":");
    out.number(flaw.offset);
    out.words(b",\"reason\":");
    json_string(&flaw.reason.to_string(), out);
    out.byte(b'}');
}

/// A column of CSV, and what fields may be asked for by the names of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Number,
    Time,
    Interface,
    Length,
    Captured,
    Layers,
    Inner(End),
    Outer(End),
    Tunnel,
    Vni,
    ErrorOffset,
    ErrorReason,
}

/// What is said of the outermost and of the innermost packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Protocol,
    Source,
    SourcePort,
    Destination,
    DestinationPort,
}

/// Every column with its name, in their order.
pub(super) const COLUMNS: [(&str, Column); 20] = [
    ("n", Column::Number),
    ("time", Column::Time),
    ("interface", Column::Interface),
    ("length", Column::Length),
    ("captured", Column::Captured),
    ("layers", Column::Layers),
    ("protocol", Column::Inner(End::Protocol)),
    ("source", Column::Inner(End::Source)),
    ("source_port", Column::Inner(End::SourcePort)),
    ("destination", Column::Inner(End::Destination)),
    ("destination_port", Column::Inner(End::DestinationPort)),
    ("outer_protocol", Column::Outer(End::Protocol)),
    ("outer_source", Column::Outer(End::Source)),
    ("outer_source_port", Column::Outer(End::SourcePort)),
    ("outer_destination", Column::Outer(End::Destination)),
    ("outer_destination_port", Column::Outer(End::DestinationPort)),
    ("outer_tunnel", Column::Tunnel),
    ("outer_vni", Column::Vni),
    ("error_offset", Column::ErrorOffset),
    ("error_reason", Column::ErrorReason),
];

/// The row of names.
pub(super) fn csv_head(out: &mut Buffer) {
    for (place, (name, _)) in COLUMNS.iter().enumerate() {
        if place > 0 {
            out.byte(b',');
        }
        out.str(name);
    }
    out.byte(b'\n');
}

/// A packet's row.
pub(super) fn csv(shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
    for (place, (_, column)) in COLUMNS.iter().enumerate() {
        if place > 0 {
            out.byte(b',');
        }
        value(*column, shown, clock, out);
    }
    out.byte(b'\n');
}

/// What stands in a column; nothing where the packet has nothing for it.
pub(super) fn value(column: Column, shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
    let Shown { frame, decoded, interface, .. } = shown;
    match column {
        Column::Number => out.large(frame.number),
        Column::Time => frame.time.into_iter().for_each(|time| clock.date(time, out)),
        Column::Interface => csv_value(interface.unwrap_or_default(), out),
        Column::Length => out.number(frame.length),
        Column::Captured => out.large(frame.bytes.len() as u64),
        Column::Layers => {
            for (place, layer) in decoded.layers.iter().enumerate() {
                if place > 0 {
                    out.byte(b' ');
                }
                out.str(layer.kind.name());
            }
        }
        Column::Inner(end) => decoded.innermost().iter().for_each(|packet| end_value(end, packet, out)),
        Column::Outer(end) if decoded.tunnel().is_some() => {
            decoded.outermost().iter().for_each(|packet| end_value(end, packet, out));
        }
        Column::Outer(_) => {}
        Column::Tunnel => out.str(decoded.tunnel().map_or("", |tunnel| tunnel.name)),
        Column::Vni => decoded.tunnel().and_then(|tunnel| tunnel.vni).into_iter().for_each(|vni| out.number(vni)),
        Column::ErrorOffset => decoded.flaw.iter().for_each(|flaw| out.number(flaw.offset)),
        Column::ErrorReason => decoded.flaw.iter().for_each(|flaw| csv_value(&flaw.reason.to_string(), out)),
    }
}

fn end_value(end: End, packet: &Headers<'_>, out: &mut Buffer) {
    let (source_port, destination_port) = packet.ports().unzip();
    let number = |port: Option<u16>, out: &mut Buffer| port.into_iter().for_each(|port| out.number(port.into()));
    match end {
        End::Protocol => match protocol(packet) {
            Name::Word(word) => out.str(word),
            Name::Protocol(protocol) => out.format(format_args!("{protocol}")),
        },
        End::Source => packet.source().into_iter().for_each(|address| out.address(address)),
        End::Destination => packet.destination().into_iter().for_each(|address| out.address(address)),
        End::SourcePort => number(source_port, out),
        End::DestinationPort => number(destination_port, out),
    }
}
