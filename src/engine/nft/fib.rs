//! What the routing tables say of a packet's addresses (`nft_fib.c`, `net/ipv4/netfilter/nft_fib_ipv4.c`,
//! `net/ipv6/netfilter/nft_fib_ipv6.c`).

use std::net::IpAddr;

use crate::net::{IfName, Mark, Packet};
use crate::snapshot::nft::{Fib, FibResult};
use crate::snapshot::{LinkKind, RouteType};
use crate::trace::Hook;

use super::super::fib::{self, Flow, Lookup};
use super::super::route::loopback;
use super::super::walk::Walk;
use super::doubt::{Doubt, Field};
use super::load::flow;
use super::meta::device;
use super::statement::Run;

pub(super) fn nft_fib(walk: &Walk, run: &Run<'_>, asked: Fib) -> Field {
    let packet = run.packet(walk);
    let doubt = || Doubt::fact(format!("the route that `{}` asks for about {}", run.text(), flow(packet)));
    if asked.result == FibResult::Type {
        return address_type(walk, run, asked).map(type_number).ok_or_else(doubt);
    }
    let found = oif(walk, run, asked).map_err(|()| doubt())?;
    Ok(match asked.result {
        FibResult::Exists => u128::from(found.is_some()),
        _ => device(found.as_ref()),
    })
}

/// `RTN_*` (`include/uapi/linux/rtnetlink.h`).
fn type_number(kind: RouteType) -> u128 {
    match kind {
        RouteType::Unicast => 1,
        RouteType::Local => 2,
        RouteType::Broadcast => 3,
        RouteType::Anycast => 4,
        RouteType::Multicast => 5,
        RouteType::Blackhole => 6,
        RouteType::Unreachable => 7,
        RouteType::Prohibit => 8,
        RouteType::Throw => 9,
        RouteType::Nat => 10,
    }
}

fn limit_dev<'r>(run: &'r Run<'_>, asked: Fib) -> Option<&'r IfName> {
    if asked.iif {
        run.info.state.indev.as_ref()
    } else if asked.oif {
        run.info.state.outdev.as_ref()
    } else {
        None
    }
}

/// `nft_fib4_eval_type`, `__nft_fib6_eval_type`.
fn address_type(walk: &Walk, run: &Run<'_>, asked: Fib) -> Option<RouteType> {
    let ip = run.packet(walk).ip;
    let (addr, other) = if asked.saddr { (ip.source, ip.destination) } else { (ip.destination, ip.source) };
    let dev = limit_dev(run, asked);
    let IpAddr::V6(v6) = addr else { return fib::address_type(walk.netns(), addr, dev) };
    let local =
        walk.netns().addrs.as_ref()?.iter().any(|one| one.address == addr && dev.is_none_or(|dev| one.dev == *dev));
    let mut asks = Flow::bare(other, addr, loopback());
    if asked.mark {
        asks.mark = run.packet(walk).mark;
    }
    asks.oif = dev.or(walk.skb.iif.as_ref()).cloned().filter(|_| v6.is_unicast_link_local());
    match fib::fib_lookup(walk.netns(), &asks) {
        Lookup::Unknown(..) => None,
        Lookup::Failed(failure) => Some(match failure.errno {
            "EINVAL" => RouteType::Blackhole,
            "EACCES" => RouteType::Prohibit,
            "EAGAIN" => RouteType::Throw,
            _ => RouteType::Unreachable,
        }),
        Lookup::Found(found) if found.route.kind == RouteType::Anycast => Some(RouteType::Anycast),
        Lookup::Found(found) if local || (dev.is_none() && found.route.kind == RouteType::Local) => {
            Some(RouteType::Local)
        }
        Lookup::Found(_) if v6.is_multicast() => Some(RouteType::Multicast),
        Lookup::Found(_) => Some(RouteType::Unicast),
    }
}

/// The device that a route leaves by (`nft_fib4_eval`, `nft_fib6_eval`); an error where the tables don't tell.
fn oif(walk: &Walk, run: &Run<'_>, asked: Fib) -> Result<Option<IfName>, ()> {
    let packet = run.packet(walk);
    let state = run.info.state;
    let before_routing = matches!(state.hook, Hook::Prerouting | Hook::Ingress);
    // What came by loopback needs no lookup on its way in (`nft_fib_can_skip`).
    let skips = before_routing || state.hook == Hook::Input;
    if let Some(indev) = &state.indev
        && ((skips && is_loopback(walk, indev)) || is_for_the_link(packet, before_routing))
    {
        return Ok(Some(indev.clone()));
    }
    let (addr, other) =
        if asked.saddr { (packet.ip.source, packet.ip.destination) } else { (packet.ip.destination, packet.ip.source) };
    let mut asks = Flow::of(packet, loopback());
    (asks.sport, asks.dport) = (None, None);
    asks.destination = addr;
    asks.source = usable_source(other);
    asks.ignore_linkstate = true;
    if !asked.mark {
        asks.mark = Mark(0);
    }
    let dev = limit_dev(run, asked);
    if state.hook == Hook::Forward && asked.iif && asked.saddr {
        asks.iif = state.outdev.clone().unwrap_or_else(loopback);
    }
    if is_link_local(addr) {
        asks.oif = dev.or(walk.skb.iif.as_ref()).cloned();
    }
    let found = match fib::fib_lookup(walk.netns(), &asks) {
        Lookup::Unknown(..) => return Err(()),
        Lookup::Failed(_) => return Ok(None),
        Lookup::Found(found) => found,
    };
    let six = addr.is_ipv6();
    if found.route.kind == RouteType::Local || (six && found.route.kind == RouteType::Anycast) {
        return Ok(None);
    }
    let uses = |dev: &IfName| found.ways.iter().any(|way| way.dev.as_ref() == Some(dev));
    Ok(match dev {
        Some(dev) => uses(dev).then(|| dev.clone()),
        None => found.ways.first().and_then(|way| way.dev.clone()),
    })
}

fn is_loopback(walk: &Walk, dev: &IfName) -> bool {
    dev.as_str() == "lo" || walk.netns().link(dev).is_some_and(|link| matches!(link.kind, LinkKind::Loopback))
}

/// A packet without a source that is for everybody on the link; in IPv6 before routing only
/// (`nft_fib_v6_skip_icmpv6`).
fn is_for_the_link(packet: &Packet, before_routing: bool) -> bool {
    match (packet.ip.source, packet.ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [first, second, third, _] = destination.octets();
            source.octets()[0] == 0 && (destination.is_broadcast() || (first, second, third) == (224, 0, 0))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            before_routing && source.is_unspecified() && destination.is_unicast_link_local()
        }
        _ => false,
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// No packet is sent from a group (`get_saddr`).
fn usable_source(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0 => IpAddr::from([0; 4]),
        addr => addr,
    }
}
