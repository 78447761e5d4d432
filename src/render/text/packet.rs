//! A packet in words, and what has changed on it.

use std::net::IpAddr;

use crate::net::{Encapsulation, ExtHeader, Packet, Protocol, Transport};

use super::super::endpoint;

/// The addresses and ports of the innermost packet, and in braces those of the tunnel around it.
pub(in super::super) fn headers(packet: &Packet) -> String {
    let inner = addresses(packet.innermost());
    match packet.inner {
        Some(_) => format!("{inner} {}", tunnel(packet)),
        None => inner,
    }
}

/// `source > destination`.
pub(super) fn addresses(packet: &Packet) -> String {
    format!("{} > {}", source(packet), destination(packet))
}

/// The source address and port.
pub(super) fn source(packet: &Packet) -> String {
    endpoint_of(packet.protocol(), packet.ip.source, packet.source_port())
}

/// The destination address and port.
pub(super) fn destination(packet: &Packet) -> String {
    endpoint_of(packet.protocol(), packet.ip.destination, packet.destination_port())
}

/// An address with its port, which is `?` where the protocol has one and nobody can know it.
pub(super) fn endpoint_of(protocol: Protocol, address: IpAddr, port: Option<u16>) -> String {
    match (port, address) {
        (None, IpAddr::V4(v4)) if protocol.has_ports() => format!("{v4}:?"),
        (None, IpAddr::V6(v6)) if protocol.has_ports() => format!("[{v6}]:?"),
        _ => endpoint(address, port),
    }
}

/// The outermost addresses and the tunnel's number, in braces.
pub(super) fn tunnel(packet: &Packet) -> String {
    // The outer source port is a hash that nobody can know: not worth a word.
    let source = endpoint(packet.ip.source, packet.source_port());
    match packet.encapsulation {
        Some(Encapsulation::Vxlan(vni)) => format!("{{{source} > {} vni {vni}}}", destination(packet)),
        _ => format!("{{{source} > {}}}", destination(packet)),
    }
}

/// What stands between the IP header and the transport's, in words.
pub(super) fn between(packet: &Packet) -> Option<String> {
    let words: Vec<&str> = packet.extensions.list().iter().map(ExtHeader::word).collect();
    if packet.options.is_empty() {
        return (!words.is_empty()).then(|| format!("headers {}", words.join(",")));
    }
    Some(format!("options {}", packet.options.hex()))
}

/// What the packet is: its protocol, and for ICMP which message.
pub(super) fn protocol(packet: &Packet) -> String {
    let protocol = packet.protocol();
    match packet.transport {
        Transport::Icmp { kind, code, .. } => match icmp_name(protocol, kind) {
            Some(name) => format!("{protocol} {name}"),
            None => format!("{protocol} {kind}/{code}"),
        },
        _ => protocol.to_string(),
    }
}

/// The flags of a TCP segment, as in `SYN,ACK`.
pub(super) fn tcp_flags(packet: &Packet) -> Option<String> {
    const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let Transport::Tcp { flags, .. } = packet.transport else { return None };
    let names = NAMES.iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0);
    let names: Vec<&str> = names.map(|(_, name)| *name).collect();
    Some(names.join(","))
}

/// The usual names of ICMP types (RFC 792, RFC 4443).
fn icmp_name(protocol: Protocol, kind: u8) -> Option<&'static str> {
    match (protocol, kind) {
        (Protocol::ICMP, 8) | (Protocol::ICMPV6, 128) => Some("echo request"),
        (Protocol::ICMP, 0) | (Protocol::ICMPV6, 129) => Some("echo reply"),
        (Protocol::ICMP, 3) | (Protocol::ICMPV6, 1) => Some("unreachable"),
        (Protocol::ICMP, 11) | (Protocol::ICMPV6, 3) => Some("time exceeded"),
        (Protocol::ICMPV6, 2) => Some("packet too big"),
        _ => None,
    }
}

/// An ICMP error in words.
pub(super) fn icmp_error(family_v6: Version, kind: u8, code: u8) -> String {
    let name = match (family_v6, kind, code) {
        (Version::V4, 3, 0) | (Version::V6, 1, 0) => "network unreachable",
        (Version::V4, 3, 1) | (Version::V6, 1, 3) => "host unreachable",
        (Version::V4, 3, 2) => "protocol unreachable",
        (Version::V4, 3, 3) | (Version::V6, 1, 4) => "port unreachable",
        (Version::V4, 3, 4) => "fragmentation needed",
        (Version::V4, 3, 9 | 10 | 13) | (Version::V6, 1, 1) => "administratively prohibited",
        (Version::V4, 11, 0) | (Version::V6, 3, 0) => "time exceeded",
        (Version::V6, 2, 0) => "packet too big",
        (Version::V4, 3, 5) => "source route failed",
        (Version::V4, 12, _) | (Version::V6, 4, _) => "parameter problem",
        _ => return format!("ICMP error {kind}/{code}"),
    };
    format!("ICMP {kind}/{code} ({name})")
}

/// The version of an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

impl Version {
    /// The packet's.
    pub(super) fn of(packet: &Packet) -> Self {
        if packet.ip.destination.is_ipv6() { Self::V6 } else { Self::V4 }
    }
}

/// What differs between the packet as it was last shown and now; nothing where it is the same.
pub(super) fn changes(before: &Packet, now: &Packet) -> Vec<String> {
    let mut changes = Vec::new();
    let (was, is) = (before.innermost(), now.innermost());
    if addresses(was) != addresses(is) {
        changes.push(addresses(is));
    }
    header_changes(was, is, &mut changes);
    if before.tags != now.tags {
        changes.push(tags(now));
    }
    match (&before.inner, &now.inner) {
        (Some(_), Some(_)) => outer_changes(before, now, &mut changes),
        (None, Some(_)) => changes.push(format!("{}, {} bytes", tunnel(now), now.length)),
        _ => {}
    }
    changes
}

/// The VLAN tags of a frame, the outermost first.
pub(super) fn tags(packet: &Packet) -> String {
    let tags: Vec<String> = packet.tags.iter().map(|tag| format!("vlan {tag}")).collect();
    if tags.is_empty() { "no vlan tag".to_owned() } else { tags.join(", ") }
}

fn outer_changes(before: &Packet, now: &Packet, changes: &mut Vec<String>) {
    let mut outer = Vec::new();
    if tunnel(before) != tunnel(now) {
        changes.push(tunnel(now));
    }
    header_changes(before, now, &mut outer);
    changes.extend(outer.into_iter().map(|change| format!("outer {change}")));
}

fn header_changes(was: &Packet, is: &Packet, changes: &mut Vec<String>) {
    if was.ip.ttl != is.ip.ttl {
        changes.push(format!("ttl {}", is.ip.ttl));
    }
    if was.ip.tos != is.ip.tos {
        changes.push(format!("tos {:#x}", is.ip.tos));
    }
    if was.mark != is.mark {
        changes.push(format!("mark {}", is.mark));
    }
    if was.length != is.length {
        changes.push(format!("{} bytes", is.length));
    }
    if was.options != is.options || was.extensions != is.extensions {
        changes.extend(between(is));
    }
    if let Some(pieces) = is.fragments
        && was.fragments != is.fragments
    {
        changes.push(format!("{} fragments", pieces.count));
    }
}
