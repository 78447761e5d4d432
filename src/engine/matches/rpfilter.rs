//! `rpfilter`: whether the answer would leave by the device that the packet came in by
//! (`net/ipv4/netfilter/ipt_rpfilter.c`, `net/ipv6/netfilter/ip6t_rpfilter.c`).

use std::net::IpAddr;

use crate::net::{Mark, Packet};
use crate::snapshot::{RouteType, RpfilterMatch};

use super::super::fib::{self, Flow, Lookup};
use super::super::netfilter::HookState;
use super::super::route::loopback;
use super::super::walk::Walk;
use super::Answer;

pub(super) fn rpfilter_mt(walk: &Walk, state: &HookState, asked: RpfilterMatch) -> Answer {
    let Some(dev) = &state.indev else { return Answer::from(!asked.invert) };
    let packet = walk.packet();
    if dev.as_str() == "lo" || always_passes(packet) {
        return Answer::from(!asked.invert);
    }
    let mut flow = Flow::of(packet, loopback());
    flow.source = answers_from(packet.ip.destination);
    flow.destination = packet.ip.source;
    (flow.sport, flow.dport, flow.protocol) = (None, None, None);
    if !asked.validmark {
        flow.mark = Mark(0);
    }
    flow.ignore_linkstate = true;
    if packet.ip.source.is_ipv6() && !asked.loose {
        flow.oif = Some(dev.clone());
    }
    let found = match fib::fib_lookup(walk.netns(), &flow) {
        Lookup::Found(found) => found,
        Lookup::Failed(_) => return Answer::from(asked.invert),
        Lookup::Unknown(unknown) => {
            return Answer::unknown(format!("the way back leaves by {dev}, though {}", unknown.what));
        }
    };
    let passes = match found.route.kind {
        RouteType::Unicast => asked.loose || found.ways.iter().any(|way| way.dev.as_ref() == Some(dev)),
        RouteType::Local => asked.accept_local && (asked.loose || packet.ip.source.is_ipv6()),
        _ => false,
    };
    Answer::from(passes != asked.invert)
}

/// Packets without a source that anybody could answer.
fn always_passes(packet: &Packet) -> bool {
    match (packet.ip.source, packet.ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [first, second, third, _] = destination.octets();
            let local_group = (first, second, third) == (224, 0, 0);
            source.octets()[0] == 0 && (destination.is_broadcast() || local_group)
        }
        (IpAddr::V6(source), _) => source.is_unspecified(),
        _ => false,
    }
}

/// The source of the answer, none where the packet was for many (`rpfilter_get_saddr`).
fn answers_from(destination: IpAddr) -> IpAddr {
    match destination {
        IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0 => IpAddr::from([0; 4]),
        IpAddr::V6(v6) if v6.is_multicast() => IpAddr::from([0; 16]),
        addr => addr,
    }
}
