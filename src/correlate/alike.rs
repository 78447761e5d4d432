//! Packets that only look the same.
//!
//! What has no number of its own (`ip.id` is 0, or it is IPv6) and no sequence numbers either is known by its content
//! alone: a resolver that asks several servers, a probe that is sent to many, or an echo, sends packets of which none
//! can be told from the others by it. Of those the addresses decide: NAT leaves one end of a packet alone, or rewrites
//! both at once on one node, and nothing turns it around. What passes one device in the same way is not the one made of the
//! other, and no router gives TTL back.

use crate::net::Protocol;

use super::lanes::Lanes;
use super::order::Timed;
use super::sight::{Lane, NodeId};

/// How long a node takes at most to rewrite both ends of a packet, in nanoseconds.
pub(super) const REWRITTEN: i64 = 10_000_000;
/// How long where it does not route the packet, so that no device's queue holds it, in nanoseconds.
const BRIDGED: u64 = 1_000_000;

/// How two sights of what looks the same go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bond {
    /// They are of two packets.
    Apart,
    /// Nothing but the content speaks for one packet.
    Loose,
    /// One end is the same.
    Close,
    /// Both are.
    Same,
}

/// Whether a packet of a protocol, with this number, has nothing but its content that tells it from others.
pub(super) fn is_weak(protocol: Protocol, id: u32) -> bool {
    id == 0 && protocol != Protocol::TCP
}

/// How two sights, each with its TTL, go together.
pub(super) fn bond(one: (&Lane, u8), other: (&Lane, u8)) -> Bond {
    let ((one, ttl), (other, other_ttl)) = (one, other);
    let is_source = one.source_end() == other.source_end();
    let is_destination = one.destination_end() == other.destination_end();
    if is_source && is_destination {
        return Bond::Same;
    }
    // Routers count TTL down between two sights at one point, and a bridge's port that sends back what came in changes
    // the link addresses.
    let is_same_place =
        (one.point, one.device, one.way, one.link) == (other.point, other.device, other.way, other.link);
    let is_twin = is_same_place && ttl == other_ttl && one.tunnel.is_some() == other.tunnel.is_some();
    let is_turned = one.source == other.destination && one.destination == other.source;
    let is_to_itself = one.source == one.destination;
    let is_same_port = one.source_end() == other.destination_end() && one.destination_end() == other.source_end();
    let is_answer = is_turned && (!is_to_itself || is_same_port);
    match () {
        () if is_twin || is_answer => Bond::Apart,
        () if is_source || is_destination => Bond::Close,
        () => Bond::Loose,
    }
}

/// How two sights go together, by all that their points have seen.
pub(super) fn bond_among<T: Timed>(one: &T, other: &T, lanes: &Lanes, nodes: &[NodeId]) -> Bond {
    let (Some(lane), Some(other_lane)) = (lanes.get(one.lane()), lanes.get(other.lane())) else { return Bond::Apart };
    let is_one_node = nodes.get(lane.point.index()) == nodes.get(other_lane.point.index());
    let (before, behind) = if one.time() < other.time() { (one, other) } else { (other, one) };
    if is_one_node && before.time() < behind.time() && before.ttl() < behind.ttl() {
        return Bond::Apart;
    }
    let is_late = is_one_node && before.ttl() == behind.ttl() && before.time().abs_diff(behind.time()) > BRIDGED;
    match bond((lane, one.ttl()), (other_lane, other.ttl())) {
        Bond::Close | Bond::Loose if is_late || lanes.are_abreast(one.lane(), other.lane()) => Bond::Apart,
        bond => bond,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::sight::PointId;
    use super::*;

    fn lane(point: u16, source: (u8, u16), destination: (u8, u16)) -> Lane {
        let address = |host| IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
        Lane {
            point: PointId(point),
            device: 0,
            way: None,
            protocol: Protocol::UDP,
            source: address(source.0),
            destination: address(destination.0),
            ports: Some((source.1, destination.1)),
            link: None,
            tunnel: None,
        }
    }

    #[test]
    fn one_end_is_left_alone_by_nat() {
        let sent = lane(0, (1, 4000), (9, 53));
        let of = |other: Lane, ttl| bond((&sent, 64), (&other, ttl));
        assert_eq!(of(lane(1, (1, 4000), (9, 53)), 63), Bond::Same);
        assert_eq!(of(lane(1, (1, 4000), (2, 53)), 63), Bond::Close);
        assert_eq!(of(lane(1, (7, 6000), (9, 53)), 63), Bond::Close);
        assert_eq!(of(lane(1, (7, 6000), (2, 53)), 63), Bond::Loose);
    }

    #[test]
    fn what_passes_a_point_twice_alike_is_two_packets() {
        let sent = lane(0, (1, 4000), (8, 53));
        let of = |other: Lane, ttl| bond((&sent, 64), (&other, ttl));
        assert_eq!(of(lane(0, (1, 4000), (9, 53)), 64), Bond::Apart, "another server is asked");
        assert_eq!(of(lane(0, (1, 4000), (9, 53)), 63), Bond::Close, "it comes back through a router");
        assert_eq!(of(lane(1, (8, 53), (1, 4000)), 64), Bond::Apart, "an echo");
        assert_eq!(of(lane(1, (8, 5000), (1, 53)), 64), Bond::Apart, "it is sent the same");
    }

    #[test]
    fn only_what_has_no_number_is_weak() {
        assert!(is_weak(Protocol::UDP, 0) && is_weak(Protocol::ICMPV6, 0));
        assert!(!is_weak(Protocol::UDP, 7) && !is_weak(Protocol::TCP, 0));
    }
}
