//! Words for what a packet is.

use super::Buffer;
use crate::net::Protocol;
use crate::wire::{Headers, Kind};

/// IPv6's mobility header, which `ip rule` and others call otherwise.
const MOBILITY: Protocol = Protocol(135);

/// The word for what a packet is: of its transport header, or of the protocol that its IP header names. `None` where that
/// header was cut before.
pub(super) fn protocol(packet: &Headers<'_>) -> Option<Name> {
    match packet.transport() {
        // UDP-Lite has UDP's header.
        Some(layer) if layer.kind == Kind::Udp => packet.protocol().map(Name::Protocol),
        Some(layer) if layer.kind != Kind::Fragment => Some(Name::Word(layer.kind.name())),
        _ if packet.network().is_some_and(|layer| layer.kind == Kind::Arp) => Some(Name::Word(Kind::Arp.name())),
        _ => packet.protocol().map(Name::Protocol),
    }
}

/// Puts in that word; that of the header itself where it doesn't tell.
pub(super) fn put_protocol(packet: &Headers<'_>, out: &mut Buffer) {
    match protocol(packet) {
        Some(name) => name.put(out),
        None => out.str(packet.network().map_or("", |layer| layer.kind.name())),
    }
}

/// A word, or a protocol's number that has none here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name {
    /// A word.
    Word(&'static str),
    /// A protocol; its number where it has no word.
    Protocol(Protocol),
}

impl Name {
    pub(super) fn put(self, out: &mut Buffer) {
        match self {
            Self::Word(word) => out.str(word),
            Self::Protocol(protocol) => put_number(protocol, out),
        }
    }
}

/// Puts in the word for a protocol, or its number where it has none; nearly all are one of three.
pub(super) fn put_number(protocol: Protocol, out: &mut Buffer) {
    match protocol {
        Protocol::TCP => out.words(b"tcp"),
        Protocol::UDP => out.words(b"udp"),
        Protocol::ICMP => out.words(b"icmp"),
        MOBILITY => out.str(Kind::Mobility.name()),
        other => out.format(format_args!("{other}")),
    }
}

/// The types of DNS records that are met most, by their numbers.
pub(super) fn dns_type(number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        41 => "OPT",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        _ => return None,
    })
}

/// How a name server's answer went, by the response code.
pub(super) fn dns_response(code: u16) -> Option<&'static str> {
    Some(match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => return None,
    })
}

/// The flags of a TCP header, as their letters.
pub(super) const TCP_FLAGS: [(u16, &str); 9] = [
    (0x002, "SYN"),
    (0x010, "ACK"),
    (0x001, "FIN"),
    (0x004, "RST"),
    (0x008, "PSH"),
    (0x020, "URG"),
    (0x040, "ECE"),
    (0x080, "CWR"),
    (0x100, "AE"),
];
