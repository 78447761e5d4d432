//! The way of a multipath route, and what the hash over a flow that chooses it is made of: the same flow takes the same
//! way however often it comes.
//!
//! Follows `fib_multipath_hash` in `net/ipv4/route.c` and `rt6_multipath_hash` in `net/ipv6/route.c`.

use std::net::IpAddr;

use crate::net::{Family, IfName, Packet, Protocol, Transport};
use crate::snapshot::NextHop;

use super::address::select_source;
use super::conntrack::UnknownPort;
use super::fib::Found;
use super::sysctl;
use super::walk::{Walk, Why};

/// A flow as multipath routes see it: what the hash is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MultipathFlow {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: Option<Protocol>,
    source_port: Option<Port>,
    destination_port: Option<Port>,
    /// IPv6's flow label, which nobody knows: a socket draws one for itself, so that the ports stand for it here.
    label: Option<(Port, Port)>,
}

impl MultipathFlow {
    /// A lookup that names nothing but its destination.
    pub(super) fn to(destination: IpAddr) -> Self {
        let destination = Some(destination);
        let (source, protocol, source_port, destination_port, label) = (None, None, None, None, None);
        Self { source, destination, protocol, source_port, destination_port, label }
    }

    /// The same from another source, if that is part of it.
    pub(super) fn with_source(self, source: IpAddr) -> Self {
        Self { source: self.source.map(|_| source), ..self }
    }
}

/// A flow's port, and which of those it is that nobody knows.
type Port = (Option<u16>, UnknownPort);

/// `fib_multipath_hash_policy`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// Addresses; in IPv6 with the flow label and the protocol.
    Layer3,
    /// Addresses, protocol and ports.
    Layer4,
    /// The addresses of what is inside, which a tunnel over UDP doesn't show.
    Inner,
    /// The fields of a list (`FIB_MULTIPATH_HASH_FIELD_*` in `include/net/ip_fib.h`). Those of what is inside are shown
    /// by no tunnel that is walked.
    Custom(i64),
}

/// The fields that the kernel has in the list by itself (`FIB_MULTIPATH_HASH_FIELD_DEFAULT_MASK`): addresses and
/// protocol.
const DEFAULT_FIELDS: i64 = 0x7;

impl Policy {
    /// The fields of the list that come to the same.
    fn fields(self, v6: bool) -> i64 {
        match self {
            Self::Layer4 => 0x37,
            Self::Layer3 | Self::Inner if v6 => 0xf,
            Self::Layer3 | Self::Inner => 0x3,
            Self::Custom(fields) => fields,
        }
    }
}

/// The flow of a packet that is routed.
pub(super) fn hashed_flow(walk: &Walk) -> MultipathFlow {
    let policy = policy(walk);
    let packet = hashed_packet(walk, policy);
    let v6 = packet.family() == Family::Inet6;
    let has = |field: u32| policy.fields(v6) & 1 << field != 0;
    let unknown = walk.skb.unknown_port;
    let (source, destination) = ((packet.source_port(), unknown), (packet.destination_port(), unknown));
    // A socket's own lookup comes before its packet has a label (`ip6_make_flowlabel` in `include/net/ipv6.h`).
    let labelled = v6 && (walk.skb.iif.is_some() || walk.packet().is_icmp_error());
    MultipathFlow {
        source: has(0).then_some(packet.ip.source),
        destination: has(1).then_some(packet.ip.destination),
        protocol: has(2).then(|| packet.protocol()),
        label: (has(3) && labelled).then_some((source, destination)),
        source_port: has(4).then_some(source),
        destination_port: has(5).then_some(destination),
    }
}

fn policy(walk: &Walk) -> Policy {
    let family = match walk.packet().family() {
        Family::Inet => "ipv4",
        Family::Inet6 => "ipv6",
    };
    let number = |key: &str| sysctl::number(walk.netns(), &format!("net.{family}.{key}")).map(|(value, _)| value);
    match number("fib_multipath_hash_policy").unwrap_or(0) {
        0 => Policy::Layer3,
        2 => Policy::Inner,
        3 => Policy::Custom(number("fib_multipath_hash_fields").unwrap_or(DEFAULT_FIELDS)),
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

/// Which of its lookups the namespace makes for a packet of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// The only one.
    Once,
    /// The one that gives a socket its source.
    ForSource,
    /// The one with that source, which only a connected socket makes.
    Again,
}

/// Chooses among the ways of a multipath route. The kernel hashes the packet with a secret, so that only the weights
/// are known (`fib_select_multipath`, `fib6_select_path`). With a source, the namespace itself sends.
pub(super) fn select_path(
    walk: &mut Walk,
    found: &Found,
    sends: Option<(IpAddr, Asks)>,
    flow: MultipathFlow,
) -> Option<NextHop> {
    if found.ways.len() < 2 {
        return found.ways.first().cloned();
    }
    let key = (walk.netns_id(), found.route.evidence, flow);
    if let Some((_, way)) = walk.tracker.selected.iter().find(|(known, _)| *known == key) {
        return found.ways.get(*way).cloned();
    }
    let total: u32 = found.ways.iter().map(|way| way.weight).sum();
    let dst = found.route.dst;
    let (what, gap) = match sends {
        Some((source, _)) if has_way_of_source(walk, found, source) => {
            let version = "before by a hash, and the snapshot doesn't tell the kernel's version";
            (format!("multipath route {dst} (from Linux 6.16 on {source}'s own way is taken, {version})"), true)
        }
        Some((source, Asks::Again)) if walk.packet().protocol() != Protocol::TCP => {
            (format!("multipath route {dst} (a connected socket's packet is hashed with {source})"), true)
        }
        Some((_, Asks::ForSource)) => (format!("multipath route {dst}, which gives the source"), false),
        _ => (format!("multipath route {dst}"), false),
    };
    let ways = found.ways.iter().map(|way| {
        let dev = way.dev.as_ref().map_or("", IfName::as_str);
        let via = way.via.map_or(String::new(), |via| format!("via {via} "));
        let share = f64::from(way.weight) / f64::from(total.max(1));
        (Some(share).filter(|_| !gap), format!("{via}dev {dev}"))
    });
    let way = walk.choose(Why { what, evidence: Some(found.route.evidence), gap, column: None }, ways.collect());
    walk.tracker.selected.push((key, way));
    found.ways.get(way).cloned()
}

/// Whether some way of a multipath route, but not each, has the packet's source for its own address: what a namespace
/// sends goes that way from Linux 6.16 on (`fib_select_multipath` compares `nh_saddr`; nexthop objects are chosen by
/// the hash alone, and so is all of IPv6).
fn has_way_of_source(walk: &Walk, found: &Found, source: IpAddr) -> bool {
    let destination = walk.packet().ip.destination;
    let is_own = |way: &NextHop| {
        let own =
            way.dev.as_ref().and_then(|dev| select_source(walk.netns(), dev, way.via, destination, found.route.scope));
        own == Some(source)
    };
    let own = found.ways.iter().filter(|way| is_own(way)).count();
    source.is_ipv4() && found.route.nhid.is_none() && own > 0 && own < found.ways.len()
}
