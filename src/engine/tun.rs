//! TUN devices and the programs behind them.
//!
//! Follows `drivers/net/tun.c` for the device. What the program does is the relay's rows in the snapshot.

use std::net::IpAddr;

use crate::net::{Encapsulation, Family, IfName, Ip, Packet, Transport};
use crate::snapshot::{Link, Relay};
use crate::trace::{Decision, EndCause, Reason, Verdict};

use super::conntrack::{self, Nfct};
use super::end::{End, ErrorReply, Next, Stage};
use super::route_output::ip_route_output;
use super::skb::Priority;
use super::walk::Walk;

/// The program behind the device reads the packet and sends it on (`tun_net_xmit`, then the relay).
pub(super) fn tun_net_xmit(walk: &mut Walk, dev: &IfName, link: &Link) -> Stage<Next> {
    let netns = walk.netns();
    let destination = walk.packet().ip.destination;
    let mut rows = netns.relays.iter().filter(|relay| relay.dev == *dev).peekable();
    if rows.peek().is_none() {
        let what = format!("what the program behind {dev} does with packets is not in the snapshot");
        return Err(End::undetermined(Reason::MissingTable, what).because([link.evidence]));
    }
    let fitting = rows.filter(|relay| relay.prefix.contains(&destination));
    let Some(relay) = fitting.max_by_key(|relay| relay.prefix.prefix_len()) else {
        let detail = format!("the program behind {dev} has no peer for {destination}");
        return Err(no_peer(walk, dev).detail(detail).because([link.evidence]));
    };
    relay_send(walk, relay)
}

/// flannel's relay tells the sender of anything but ICMP that the network is unreachable (`send_net_unreachable` in
/// flannel's proxy_amd64.c), from the device's address.
fn no_peer(walk: &Walk, dev: &IfName) -> Box<End> {
    let own = walk.netns().addrs_of(dev).map(|addr| addr.address).find(IpAddr::is_ipv4);
    match (&walk.packet().transport, own) {
        (Transport::Icmp { .. }, _) => End::dropped(Reason::NoRelay),
        (_, own) => {
            let mut end = End::icmp(Reason::NoRelay, 3, 0);
            end.error = Some(ErrorReply::Relay { source: own.unwrap_or(IpAddr::from([0; 4])) });
            end
        }
    }
}

fn relay_send(walk: &mut Walk, relay: &Relay) -> Stage<Next> {
    let ttl = walk.packet().ip.ttl;
    if ttl <= relay.ttl_cost {
        let detail = format!("TTL is {ttl}, and {} takes {}", relay.program, relay.ttl_cost);
        return Err(End::dropped(Reason::TtlExceeded).detail(detail).because(relay.evidence.iter().copied()));
    }
    walk.take(
        Decision::Userspace { device: relay.dev.clone(), program: relay.program.clone(), ttl_cost: relay.ttl_cost },
        relay.evidence.iter().copied(),
    );
    let nested = std::iter::successors(walk.packet().inner.as_deref(), |packet| packet.inner.as_deref()).count();
    if nested > 3 {
        // The program sends its own datagram into its own device, for ever.
        let cause = EndCause::RelayToItself { program: relay.program.clone(), device: relay.dev.clone() };
        return Err(End::new(Verdict::Looped, Reason::Loop).cause(cause).because(relay.evidence.clone()));
    }
    let mut inner = walk.packet().clone();
    inner.link = None;
    inner.mark = crate::net::Mark(0);
    let source = relay.local.unwrap_or(Family::of(relay.peer).unspecified());
    let header = if relay.peer.is_ipv4() { 20 } else { 40 };
    let ip = Ip { source, destination: relay.peer, ttl: 64, tos: 0, df: relay.peer.is_ipv6() };
    let transport = Transport::Udp { source: Some(relay.port), destination: Some(relay.port) };
    let mut outer = Packet::new(ip, transport, inner.length + 8 + header);
    outer.encapsulation = Some(Encapsulation::Relay);
    outer.inner = Some(Box::new(inner));
    walk.take(
        Decision::Encapsulate { device: relay.dev.clone(), tunnel: "relay", vni: None, packet: Box::new(outer) },
        relay.evidence.iter().copied(),
    );
    walk.skb.nfct = Nfct::None;
    walk.skb.nf_bridge = None;
    walk.skb.iif = None;
    walk.skb.inner_unknown_ports.push(walk.skb.unknown_port);
    walk.skb.unknown_port = 0;
    let dst = ip_route_output(walk, None)?;
    walk.skb.dst = Some(dst);
    Ok(Next::LocalOut)
}

/// The peer's program reads the datagram and writes the packet into its own TUN device. `None` where the packet is no
/// relay's.
pub(super) fn relay_rcv(walk: &mut Walk) -> Stage<Option<Next>> {
    if walk.packet().encapsulation != Some(Encapsulation::Relay) {
        return Ok(None);
    }
    let netns = walk.netns();
    let port = walk.packet().destination_port();
    let bound = |relay: &&Relay| Some(relay.port) == port && fits(relay.local, walk.packet().ip.destination);
    let Some(relay) = netns.relays.iter().find(bound) else {
        let detail = format!("no program listens on UDP port {}", port.unwrap_or(0));
        conntrack::nf_reset_ct(walk);
        return Err(End::icmp(Reason::NoVtep, 3, 3).detail(detail));
    };
    let dev = relay.dev.clone();
    let because = relay.evidence.clone();
    let (program, ttl_cost) = (relay.program.clone(), relay.ttl_cost);
    walk.take(Decision::Decapsulate { device: dev.clone(), tunnel: "relay", vni: None }, because.clone());
    if walk.packet().ip.ttl <= ttl_cost {
        let detail = format!("TTL is {}, and {program} takes {ttl_cost}", walk.packet().ip.ttl);
        return Err(End::dropped(Reason::TtlExceeded).detail(detail).because(because));
    }
    walk.take(Decision::Userspace { device: dev.clone(), program, ttl_cost }, because);
    walk.skb.nfct = Nfct::None;
    walk.skb.dst = None;
    walk.tell_sender();
    walk.skb.priority = Priority::Known(0);
    walk.skb.unknown_port = walk.skb.inner_unknown_ports.pop().unwrap_or(0);
    Ok(Some(Next::Receive(walk.netns_id(), dev)))
}

fn fits(local: Option<IpAddr>, destination: IpAddr) -> bool {
    local.is_none_or(|local| local == destination)
}
