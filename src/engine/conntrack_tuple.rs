//! Tuples: what tells one connection from another, and its two directions apart.
//!
//! Follows `nf_ct_get_tuple` and `nf_ct_invert_tuple` in `net/netfilter/nf_conntrack_core.c`, and the
//! `nf_conntrack_proto_icmp*.c` beside it.

use std::net::IpAddr;

use crate::net::{Packet, Protocol, Transport};
use crate::snapshot::ConntrackTuple;

/// A packet's tuple (`nf_ct_get_tuple`).
pub(crate) fn tuple_of(packet: &Packet) -> ConntrackTuple {
    let (source_port, destination_port) = match packet.transport {
        Transport::Icmp { kind, code, id, .. } => (id, Some(u16::from(kind) << 8 | u16::from(code))),
        _ => (packet.source_port(), packet.destination_port()),
    };
    ConntrackTuple { source: packet.ip.source, destination: packet.ip.destination, source_port, destination_port }
}

/// The tuple of the answer (`nf_ct_invert_tuple`); `None` for an ICMP message that has none.
pub(crate) fn invert(protocol: Protocol, tuple: &ConntrackTuple) -> Option<ConntrackTuple> {
    let (source_port, destination_port) = match protocol {
        Protocol::ICMP | Protocol::ICMPV6 => {
            let [kind, code] = tuple.destination_port?.to_be_bytes();
            let answer = if protocol == Protocol::ICMP { icmp_answer(kind)? } else { icmpv6_answer(kind)? };
            (tuple.source_port, Some(u16::from(answer) << 8 | u16::from(code)))
        }
        _ => (tuple.destination_port, tuple.source_port),
    };
    Some(ConntrackTuple { source: tuple.destination, destination: tuple.source, source_port, destination_port })
}

/// `invmap` in `nf_conntrack_proto_icmp.c`.
fn icmp_answer(kind: u8) -> Option<u8> {
    Some(match kind {
        8 => 0,
        0 => 8,
        13 => 14,
        14 => 13,
        15 => 16,
        16 => 15,
        17 => 18,
        18 => 17,
        _ => return None,
    })
}

/// `invmap` in `nf_conntrack_proto_icmpv6.c`.
fn icmpv6_answer(kind: u8) -> Option<u8> {
    Some(match kind {
        128 => 129,
        129 => 128,
        139 => 140,
        140 => 139,
        _ => return None,
    })
}

/// The addresses of a tuple in a packet, for steps.
pub(super) fn source_endpoint(packet: &Packet) -> (IpAddr, Option<u16>) {
    (packet.ip.source, packet.source_port())
}

/// The destination address and port of a packet, for steps.
pub(super) fn destination_endpoint(packet: &Packet) -> (IpAddr, Option<u16>) {
    (packet.ip.destination, packet.destination_port())
}
