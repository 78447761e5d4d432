//! A packet as a record: of JSON, or a row of CSV.

use super::clock::Clock;
use super::name::protocol;
use super::text::{json_string, text_value};
use super::told::{self, Tale};
use super::{Buffer, Columns, Extra, Shown};
use crate::wire::{Checked, Checksum, Decoded, Headers, Tunnel};

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
    let innermost = innermost(shown.decoded);
    ends(innermost.as_ref(), out);
    names(shown, innermost.as_ref(), out);
    outer(shown, out);
    flaw(shown, out);
    further(shown, out);
    out.byte(b'}');
    if style == Style::Lines {
        out.byte(b'\n');
    }
}

fn layers(shown: &Shown<'_>, out: &mut Buffer) {
    out.words(b",\"layers\":[");
    for (place, layer) in shown.decoded.all_layers().enumerate() {
        if place > 0 {
            out.byte(b',');
        }
        out.byte(b'"');
        out.str(layer.kind.name());
        out.byte(b'"');
    }
    out.words(b"],");
}

/// The innermost packet: one whose IP header was cut says what is there of it.
fn innermost<'a>(decoded: &'a Decoded<'_>) -> Option<Headers<'a>> {
    decoded.cut_packet().or_else(|| decoded.innermost())
}

/// The outermost packet, where it carries another one.
fn carrier<'a>(decoded: &'a Decoded<'_>) -> Option<(Headers<'a>, Tunnel)> {
    let outermost = decoded.outermost()?;
    let tunnel = outermost.tunnel_to(decoded.cut)?;
    Some((outermost, tunnel))
}

/// Who sends what to whom.
fn ends(packet: Option<&Headers<'_>>, out: &mut Buffer) {
    let Some(packet) = packet else {
        return out.words(
            b"\"protocol\":null,\"source\":null,\"source_port\":null,\"destination\":null,\"destination_port\":null",
        );
    };
    match protocol(packet) {
        Some(name) => {
            out.words(b"\"protocol\":\"");
            name.put(out);
            out.byte(b'"');
        }
        None => out.words(b"\"protocol\":null"),
    }
    let (source_port, destination_port) = packet.ports().unzip();
    out.words(b",\"source\":");
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

/// Who has the addresses, where a snapshot tells.
fn names(shown: &Shown<'_>, packet: Option<&Headers<'_>>, out: &mut Buffer) {
    let Some(told) = shown.told else { return };
    let mut name = |key: &str, address: Option<std::net::IpAddr>| {
        out.str(key);
        match address.and_then(|address| told.names.get(address)) {
            Some(name) => json_string(name, out),
            None => out.words(b"null"),
        }
    };
    name(",\"source_name\":", packet.and_then(Headers::source));
    name(",\"destination_name\":", packet.and_then(Headers::destination));
}

fn outer(shown: &Shown<'_>, out: &mut Buffer) {
    out.words(b",\"outer\":");
    let Some((packet, Tunnel { name, vni })) = carrier(shown.decoded) else { return out.words(b"null") };
    out.byte(b'{');
    ends(Some(&packet), out);
    names(shown, Some(&packet), out);
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

/// What was asked for besides.
fn further(shown: &Shown<'_>, out: &mut Buffer) {
    if let Some(told) = &shown.told {
        told::json(told, out);
    }
    if let Some(checksums) = shown.checksums {
        out.words(b",\"checksums\":[");
        for (place, checked) in checksums.iter().enumerate() {
            out.str(if place > 0 { "," } else { "" });
            checksum(checked, out);
        }
        out.byte(b']');
    }
    if let Some(fragments) = shown.fragments {
        out.words(b",\"fragments\":[");
        for (place, number) in fragments.iter().enumerate() {
            out.str(if place > 0 { "," } else { "" });
            out.large(*number);
        }
        out.byte(b']');
    }
}

fn checksum(checked: &Checked, out: &mut Buffer) {
    let Checked { layer, checksum } = checked;
    let (name, word) = (layer.kind.name(), checksum.word());
    out.format(format_args!("{{\"layer\":\"{name}\",\"offset\":{},\"checksum\":\"{word}\"", layer.start));
    if let Checksum::Bad { found, wanted } = checksum {
        out.format(format_args!(",\"found\":{found},\"wanted\":{wanted}"));
    }
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
    Told(Tale),
    Checksums,
    Fragments,
}

impl Column {
    /// The option without which there is nothing to stand in it.
    pub(super) fn needs(self) -> Option<&'static str> {
        match self {
            Self::Told(_)
            | Self::Inner(End::SourceName | End::DestinationName)
            | Self::Outer(End::SourceName | End::DestinationName) => Some("--snapshot"),
            Self::Checksums => Some("--checksums"),
            Self::Fragments => Some("--reassemble"),
            _ => None,
        }
    }

    /// Whether rows have it.
    fn is_asked(self, extra: Extra) -> bool {
        match self.needs() {
            Some("--snapshot") => extra.told,
            Some("--checksums") => extra.checksums,
            Some(_) => extra.fragments,
            None => true,
        }
    }
}

/// What is said of the outermost and of the innermost packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Protocol,
    Source,
    SourcePort,
    Destination,
    DestinationPort,
    SourceName,
    DestinationName,
}

/// Every column with its name, in their order.
pub(super) const COLUMNS: [(&str, Column); 36] = [
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
    ("source_name", Column::Inner(End::SourceName)),
    ("destination_name", Column::Inner(End::DestinationName)),
    ("outer_source_name", Column::Outer(End::SourceName)),
    ("outer_destination_name", Column::Outer(End::DestinationName)),
    ("point", Column::Told(Tale::Point)),
    ("way", Column::Told(Tale::Way)),
    ("role", Column::Told(Tale::Role)),
    ("path_from", Column::Told(Tale::From)),
    ("path_to", Column::Told(Tale::To)),
    ("hop", Column::Told(Tale::Hop)),
    ("hops", Column::Told(Tale::Hops)),
    ("ways", Column::Told(Tale::Ways)),
    ("verdict", Column::Told(Tale::Verdict)),
    ("odd", Column::Told(Tale::Odd)),
    ("checksums", Column::Checksums),
    ("fragments", Column::Fragments),
];

/// Those that rows have.
fn columns(extra: Extra) -> impl Iterator<Item = (&'static str, Column)> {
    COLUMNS.into_iter().filter(move |(_, column)| column.is_asked(extra))
}

/// The row of names.
pub(super) fn csv_head(extra: Extra, out: &mut Buffer) {
    for (place, (name, _)) in columns(extra).enumerate() {
        if place > 0 {
            out.byte(b',');
        }
        out.str(name);
    }
    out.byte(b'\n');
}

/// A packet's row.
pub(super) fn csv(shown: &Shown<'_>, extra: Extra, clock: &mut Clock, out: &mut Buffer) {
    for (place, (_, column)) in columns(extra).enumerate() {
        if place > 0 {
            out.byte(b',');
        }
        value(column, Columns::Commas, shown, clock, out);
    }
    out.byte(b'\n');
}

/// What stands in a column; nothing where the packet has nothing for it.
pub(super) fn value(column: Column, columns: Columns, shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
    let Shown { frame, decoded, interface, .. } = shown;
    match column {
        Column::Number => out.large(frame.number),
        Column::Time => frame.time.into_iter().for_each(|time| clock.date(time, out)),
        Column::Interface => text_value(interface.unwrap_or_default(), columns, out),
        Column::Length => out.number(frame.length),
        Column::Captured => out.large(frame.bytes.len() as u64),
        Column::Layers => {
            for (place, layer) in decoded.all_layers().enumerate() {
                if place > 0 {
                    out.byte(b' ');
                }
                out.str(layer.kind.name());
            }
        }
        Column::Inner(end) => innermost(decoded).iter().for_each(|packet| end_value(end, packet, columns, shown, out)),
        Column::Outer(end) => {
            if let Some((packet, _)) = carrier(decoded) {
                end_value(end, &packet, columns, shown, out);
            }
        }
        Column::Tunnel => out.str(carrier(decoded).map_or("", |(_, tunnel)| tunnel.name)),
        Column::Vni => carrier(decoded).and_then(|(_, tunnel)| tunnel.vni).into_iter().for_each(|vni| out.number(vni)),
        Column::ErrorOffset => decoded.flaw.iter().for_each(|flaw| out.number(flaw.offset)),
        Column::ErrorReason => decoded.flaw.iter().for_each(|flaw| text_value(&flaw.reason.to_string(), columns, out)),
        Column::Told(tale) => shown.told.iter().for_each(|told| told::value(tale, told, columns, out)),
        Column::Checksums => {
            for (place, checked) in shown.checksums.unwrap_or_default().iter().enumerate() {
                out.str(if place > 0 { ";" } else { "" });
                out.format(format_args!("{} {}", checked.layer.kind.name(), checked.checksum.word()));
            }
        }
        Column::Fragments => {
            for (place, number) in shown.fragments.unwrap_or_default().iter().enumerate() {
                out.str(if place > 0 { " " } else { "" });
                out.large(*number);
            }
        }
    }
}

fn end_value(end: End, packet: &Headers<'_>, columns: Columns, shown: &Shown<'_>, out: &mut Buffer) {
    let name = |address: Option<std::net::IpAddr>, out: &mut Buffer| {
        let name = shown.told.zip(address).and_then(|(told, address)| told.names.get(address));
        text_value(name.unwrap_or_default(), columns, out);
    };
    let (source_port, destination_port) = packet.ports().unzip();
    let number = |port: Option<u16>, out: &mut Buffer| port.into_iter().for_each(|port| out.number(port.into()));
    match end {
        End::Protocol => protocol(packet).into_iter().for_each(|name| name.put(out)),
        End::Source => packet.source().into_iter().for_each(|address| out.address(address)),
        End::Destination => packet.destination().into_iter().for_each(|address| out.address(address)),
        End::SourcePort => number(source_port, out),
        End::DestinationPort => number(destination_port, out),
        End::SourceName => name(packet.source(), out),
        End::DestinationName => name(packet.destination(), out),
    }
}
