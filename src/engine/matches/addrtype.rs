//! `addrtype`: what an address is to this namespace (`net/netfilter/xt_addrtype.c`).

use std::net::{IpAddr, Ipv6Addr};

use crate::net::IfName;
use crate::snapshot::{AddrType, AddrtypeMatch, RouteType, Test};

use super::super::fib;
use super::super::netfilter::HookState;
use super::super::walk::Walk;
use super::Answer;

/// `addrtype_mt_v1`.
pub(super) fn addrtype_mt(walk: &Walk, state: &HookState, asked: AddrtypeMatch) -> Answer {
    let dev = match (asked.limit_in, asked.limit_out) {
        (true, _) => state.indev.as_ref(),
        (_, true) => state.outdev.as_ref(),
        _ => None,
    };
    let ip = walk.packet().ip;
    let source = asked.source.map_or(Answer::from(true), |test| is_of_type(walk, ip.source, test, dev));
    if source == Answer::No {
        return Answer::No;
    }
    let destination = asked.destination.map_or(Answer::from(true), |test| is_of_type(walk, ip.destination, test, dev));
    match (source, destination) {
        (_, Answer::No) => Answer::No,
        (Answer::Unknown(doubt), _) => Answer::Unknown(doubt),
        (_, destination) => destination,
    }
}

fn is_of_type(walk: &Walk, addr: IpAddr, test: Test<AddrType>, dev: Option<&IfName>) -> Answer {
    let answer = match addr {
        IpAddr::V4(_) => match_type(walk, addr, test.value, dev),
        IpAddr::V6(v6) => match_type6(walk, v6, test.value, dev),
    };
    let Some(answer) = answer else {
        let dir = &walk.netns().dir;
        let what = format!("{addr} is of address type {} in {dir}, whose routes are missing", test.value);
        return Answer::unknown(what).inverted(test.invert);
    };
    Answer::from(test.of(answer))
}

/// `match_type`: the type that the local table gives.
fn match_type(walk: &Walk, addr: IpAddr, asked: AddrType, dev: Option<&IfName>) -> Option<bool> {
    let kind = fib::address_type(walk.netns(), addr, dev)?;
    Some(asked.intersects(bit(kind)))
}

/// The bit of a route type, `1 << RTN_*`.
fn bit(kind: RouteType) -> AddrType {
    match kind {
        RouteType::Unicast => AddrType::UNICAST,
        RouteType::Local => AddrType::LOCAL,
        RouteType::Broadcast => AddrType::BROADCAST,
        RouteType::Anycast => AddrType::ANYCAST,
        RouteType::Multicast => AddrType::MULTICAST,
        RouteType::Blackhole => AddrType::BLACKHOLE,
        RouteType::Unreachable => AddrType::UNREACHABLE,
        RouteType::Prohibit => AddrType::PROHIBIT,
        RouteType::Throw => AddrType::THROW,
        RouteType::Nat => AddrType::NAT,
    }
}

/// `match_type6`: every type asked for by the address alone must hold, and one of those that routes tell.
fn match_type6(walk: &Walk, addr: Ipv6Addr, asked: AddrType, dev: Option<&IfName>) -> Option<bool> {
    let by_route = AddrType(AddrType::LOCAL.0 | AddrType::ANYCAST.0 | AddrType::UNREACHABLE.0);
    let fails = (asked.intersects(AddrType::MULTICAST) && !addr.is_multicast())
        || (asked.intersects(AddrType::UNICAST) && (addr.is_multicast() || addr.is_unspecified()))
        || (asked.intersects(AddrType::UNSPEC) && !addr.is_unspecified());
    if fails {
        return Some(false);
    }
    if !asked.intersects(by_route) {
        return Some(true);
    }
    let kind = fib::address_type(walk.netns(), IpAddr::V6(addr), dev)?;
    let local = matches!(kind, RouteType::Local | RouteType::Anycast);
    if !local && asked.intersects(AddrType::UNREACHABLE) {
        return is_unreachable(walk, addr, dev);
    }
    Some(asked.intersects(bit(kind)) && local)
}

/// Whether the route to an address is an error (`match_lookup_rt6`).
fn is_unreachable(walk: &Walk, addr: Ipv6Addr, dev: Option<&IfName>) -> Option<bool> {
    let mut flow = fib::Flow::of(walk.packet(), super::super::route::loopback());
    flow.source = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    flow.destination = IpAddr::V6(addr);
    flow.mark = crate::net::Mark(0);
    flow.tos = 0;
    flow.oif = dev.cloned();
    match fib::fib_lookup(walk.netns(), &flow) {
        fib::Lookup::Found(_) => Some(false),
        fib::Lookup::Failed(_) => Some(true),
        fib::Lookup::Unknown(..) => None,
    }
}
