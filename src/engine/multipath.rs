//! What the hash over a flow that chooses a way of a multipath route is made of: the same flow takes the same way
//! however often it comes.
//!
//! Follows `fib_multipath_hash` in `net/ipv4/route.c` and `rt6_multipath_hash` in `net/ipv6/route.c`.

use std::net::IpAddr;

use crate::net::{Family, Packet, Protocol, Transport};

use super::conntrack::UnknownPort;
use super::sysctl;
use super::walk::Walk;

/// A flow as multipath routes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MultipathFlow {
    source: IpAddr,
    destination: IpAddr,
    protocol: Option<Protocol>,
    ports: Option<Ports>,
    /// IPv6's flow label, which nobody knows: a socket draws one for itself, so that the ports stand for it here.
    label: Option<Ports>,
}

/// A flow's ports, and which of them it is that nobody knows.
type Ports = (Option<u16>, Option<u16>, UnknownPort);

/// `fib_multipath_hash_policy`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// Addresses; in IPv6 with the flow label and the protocol.
    Layer3,
    /// Addresses, protocol and ports.
    Layer4,
    /// The addresses of what is inside, which a tunnel over UDP doesn't show.
    Inner,
}

/// The flow of a packet that is routed.
pub(super) fn hashed_flow(walk: &Walk) -> MultipathFlow {
    let policy = policy(walk);
    let packet = hashed_packet(walk, policy);
    let v6 = packet.family() == Family::Inet6;
    let layer4 = policy == Policy::Layer4;
    let ports = (packet.source_port(), packet.destination_port(), walk.skb.unknown_port);
    // A socket's own lookup comes before its packet has a label (`ip6_make_flowlabel` in `include/net/ipv6.h`).
    let labelled = walk.skb.iif.is_some() || walk.packet().is_icmp_error();
    MultipathFlow {
        source: packet.ip.source,
        destination: packet.ip.destination,
        protocol: (v6 || layer4).then(|| packet.protocol()),
        ports: layer4.then_some(ports),
        label: (v6 && !layer4 && labelled).then_some(ports),
    }
}

fn policy(walk: &Walk) -> Policy {
    let key = match walk.packet().family() {
        Family::Inet => "net.ipv4.fib_multipath_hash_policy",
        Family::Inet6 => "net.ipv6.fib_multipath_hash_policy",
    };
    match sysctl::number(walk.netns(), key).map_or(0, |(value, _)| value) {
        0 => Policy::Layer3,
        2 => Policy::Inner,
        // By policy 3 a list of fields decides, which may have the ports.
        _ => Policy::Layer4,
    }
}

/// An error is hashed as the packet that it quotes (`ip_multipath_l3_keys`, `ip6_multipath_l3_keys`); one that the
/// namespace itself makes is so by any policy, since its route is looked up with that packet in hand
/// (`icmp_route_lookup` in `net/ipv4/icmp.c`, `icmp6_send` in `net/ipv6/icmp.c`).
fn hashed_packet<'w>(walk: &'w Walk, policy: Policy) -> &'w Packet {
    let packet = walk.packet();
    match &packet.transport {
        Transport::Icmp { quoted: Some(quoted), .. } if policy == Policy::Layer3 || walk.skb.iif.is_none() => quoted,
        _ => packet,
    }
}
