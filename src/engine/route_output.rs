//! Routing decisions for what the namespace itself sends, and its source address.
//!
//! Follows `net/ipv4/route.c`, `net/ipv6/route.c` and `net/ipv6/ip6_output.c`.

use std::net::IpAddr;

use crate::net::{Family, IfName, Packet, Protocol, Transport};
use crate::snapshot::{NextHop, RouteType};
use crate::trace::Reason;

use super::address::select_source;
use super::end::{End, Stage};
use super::fib::{self, Failure, Flow, Found, Lookup, Unknown};
use super::multipath::{Asks, MultipathFlow, hashed_flow, select_path};
use super::obstacle;
use super::route::{Chosen, Dst, loopback, no_route_step, not_unicast, reason_of, refuse_groups, take_route, unknown};
use super::sysctl;
use super::unread;
use super::walk::Walk;

/// A routing decision for a packet that the namespace sends (`ip_route_output_key_hash_rcu`, `ip6_route_output`). The
/// source address is chosen where the packet has none.
pub(super) fn ip_route_output(walk: &mut Walk, oif: Option<&IfName>) -> Stage<Dst> {
    let flow = output_flow(walk, oif);
    route_output(walk, &flow)
}

/// The same for a packet that is there already, and whose headers say all that is asked (`ip_route_me_harder` in
/// `net/ipv4/netfilter.c`, `ip6_route_me_harder` in its IPv6 twin).
pub(super) fn ip_route_output_again(walk: &mut Walk) -> Stage<Dst> {
    let flow = Flow::of(walk.packet(), loopback());
    route_output(walk, &flow)
}

/// The same for what a socket sends. In IPv4 one that is connected asks twice where it is bound to no address: for a
/// source, and then with that one (`ip_route_connect` in `include/net/route.h`), which other rules may match and which
/// is hashed to another way. IPv6 asks once (`ip6_dst_lookup_tail` in `net/ipv6/ip6_output.c`).
pub(super) fn ip_route_connect(walk: &mut Walk) -> Stage<Dst> {
    let mut flow = output_flow(walk, None);
    if flow.family == Family::Inet6 || !flow.source.is_unspecified() {
        return route_output(walk, &flow);
    }
    let found = output_lookup(walk, &flow)?;
    let (first, source) = output_path(walk, &flow, found, Asks::ForSource)?;
    flow.source = source.unwrap_or(flow.source);
    let (lines, route) = (first.found.because.clone(), first.found.route.evidence);
    let Some(found) = asked_again(walk, &flow, first.found.clone())? else {
        return Ok(output_dst(walk, first, source));
    };
    let (mut second, _) = output_path(walk, &flow, found, Asks::Again)?;
    if second.found.route.evidence != route {
        second.found.because.extend(lines);
    }
    Ok(output_dst(walk, second, source))
}

/// What the lookup with the source finds; `None` where the socket is one that doesn't make it. TCP's are always connected.
fn asked_again<'s>(walk: &mut Walk<'s>, flow: &Flow, first: Found<'s>) -> Stage<Option<Found<'s>>> {
    let rules = walk.netns().rules.iter().flatten();
    if rules.filter_map(|rule| rule.from).all(|from| from.prefix_len() == 0) {
        return Ok(Some(first));
    }
    let netns = walk.netns();
    let again = fib::fib_lookup_for(walk, netns, flow);
    let (same, line) = match &again {
        Lookup::Found(found) => (found.route.evidence == first.route.evidence, found.because.last().copied()),
        Lookup::Failed(failure) => (false, failure.rule.map(|rule| rule.evidence)),
        Lookup::Unknown(_) => (false, None),
    };
    if !same && walk.packet().protocol() != Protocol::TCP {
        let source = flow.source;
        let what = format!("whether the socket is connected, and {source} part of what its route is looked up with");
        if !walk.choose_unknown(what, line) {
            return Ok(None);
        }
    }
    found_for_output(walk, again).map(Some)
}

/// What the lookup of a packet that the namespace sends asks with.
fn output_flow(walk: &mut Walk, oif: Option<&IfName>) -> Flow {
    let mut flow = Flow::of(walk.packet(), loopback());
    flow.oif = oif.cloned();
    flow.preferred_oif = walk.skb.echo_dev.take();
    flow.dport = flow.dport.or(icmp_port(walk.packet()));
    flow.sport_bounds = walk.skb.sport_bounds;
    flow
}

/// Who sends ICMP notes its type and code where other protocols have their destination port (`union flowi_uli` in
/// `include/net/flow.h`), and policy rules that ask for a port read them as one: sockets do (`raw_probe_proto_opt`,
/// `ping_v4_sendmsg`), errors (`icmp_route_lookup` in `net/ipv4/icmp.c`, `icmp6_send` in `net/ipv6/icmp.c`) and IPv6's
/// echo replies (`icmpv6_echo_reply`), IPv4's don't (`icmp_reply`).
fn icmp_port(packet: &Packet) -> Option<u16> {
    match &packet.transport {
        Transport::Icmp { kind: 0 | 14, quoted: None, .. } if packet.family() == Family::Inet => None,
        Transport::Icmp { kind, code, .. } => Some(u16::from_be_bytes([*kind, *code])),
        _ => None,
    }
}

fn route_output(walk: &mut Walk, flow: &Flow) -> Stage<Dst> {
    let found = output_lookup(walk, flow)?;
    let (chosen, source) = output_path(walk, flow, found, Asks::Once)?;
    Ok(output_dst(walk, chosen, source))
}

fn output_lookup<'s>(walk: &mut Walk<'s>, flow: &Flow) -> Stage<Found<'s>> {
    refuse_groups(walk)?;
    let netns = walk.netns();
    let found = fib::fib_lookup_for(walk, netns, flow);
    found_for_output(walk, found)
}

fn found_for_output<'s>(walk: &mut Walk, found: Lookup<'s>) -> Stage<Found<'s>> {
    match found {
        Lookup::Found(found) => Ok(found),
        Lookup::Failed(failure) => Err(output_error(walk, &failure)),
        Lookup::Unknown(missing) => Err(unknown(missing)),
    }
}

/// The way of a route that a packet of the namespace's own takes, and its source address where it has none yet.
fn output_path<'s>(walk: &mut Walk, flow: &Flow, found: Found<'s>, asks: Asks) -> Stage<(Chosen<'s>, Option<IpAddr>)> {
    let unspecified = flow.source.is_unspecified();
    match found.route.kind {
        RouteType::Local | RouteType::Anycast => {
            let way = found.ways.first().cloned();
            let source = if unspecified { Some(source_for_local(walk, &found, way.as_ref())?) } else { None };
            Ok((Chosen { found, way }, source))
        }
        RouteType::Broadcast | RouteType::Multicast => Err(not_unicast(found.because.clone())),
        _ => {
            let hashed = hashed_flow(walk);
            // The packet has no source yet.
            let hashed = if asks == Asks::Again { hashed.with_source(flow.source) } else { hashed };
            let way = select_path(walk, &found, Some((flow.source, asks)), hashed);
            refuse_loopback_source(walk, flow.source, way.as_ref().and_then(|way| way.dev.as_ref()))?;
            let source = if unspecified { Some(source_for(walk, &found, way.as_ref())?) } else { None };
            Ok((Chosen { found, way }, source))
        }
    }
}

fn output_dst(walk: &mut Walk, chosen: Chosen, source: Option<IpAddr>) -> Dst {
    let local = matches!(chosen.found.route.kind, RouteType::Local | RouteType::Anycast);
    let dst = take_route(walk, chosen, local, source);
    if local { Dst { dev: loopback(), ..dst } } else { dst }
}

/// A routing decision for what a rule sends to a gateway, whatever its own addresses, ports and mark are
/// (`nf_dup_ipv4_route` in `net/ipv4/netfilter/nf_dup_ipv4.c`, `nf_dup_ipv6_route` in its IPv6 twin). The neighbour that it
/// is for is the gateway, or the one of the route to that.
pub(super) fn ip_route_output_gateway(walk: &mut Walk, gateway: IpAddr, oif: Option<&IfName>) -> Stage<Dst> {
    if gateway.is_multicast() || gateway == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
        return Err(not_unicast(Vec::new()));
    }
    let family = walk.packet().family();
    let mut flow = Flow::bare(family.unspecified(), gateway, loopback());
    flow.oif = oif.cloned();
    if family == Family::Inet {
        flow.tos = walk.packet().ip.tos & 0x1c;
    }
    let found = match fib::fib_lookup_for(walk, walk.netns(), &flow) {
        Lookup::Found(found) => found,
        Lookup::Failed(failure) => return Err(output_error(walk, &failure)),
        Lookup::Unknown(missing) => return Err(unknown(missing)),
    };
    match found.route.kind {
        RouteType::Local | RouteType::Anycast => {
            let chosen = Chosen { way: found.ways.first().cloned(), found };
            let dst = take_route(walk, chosen, true, None);
            Ok(Dst { dev: loopback(), ..dst })
        }
        RouteType::Broadcast | RouteType::Multicast => Err(not_unicast(found.because.clone())),
        _ => {
            let way = select_path(walk, &found, None, MultipathFlow::to(gateway));
            let dst = take_route(walk, Chosen { found, way }, false, None);
            Ok(Dst { via: dst.via.or(Some(gateway)), ..dst })
        }
    }
}

/// A loopback address is no source for what leaves by another device than `lo`, unless `route_localnet` allows it
/// (`__mkroute_output`).
fn refuse_loopback_source(walk: &mut Walk, source: IpAddr, dev: Option<&IfName>) -> Stage<()> {
    let (IpAddr::V4(source), Some(dev)) = (source, dev) else { return Ok(()) };
    if !source.is_loopback() || dev.as_str() == "lo" || sysctl::any_of_all(walk.netns(), dev, "route_localnet") {
        return Ok(());
    }
    let detail = format!("{source} can't be the source of what leaves by {dev} without route_localnet");
    let reason = Reason::MartianSource;
    let end = if walk.skb.own { End::errno(reason, "EINVAL") } else { End::dropped(reason) };
    let line = sysctl::max_of_all(walk.netns(), dev, "route_localnet").map(|(_, line)| line);
    Err(end.detail(detail).because(line))
}

/// The source address of what the namespace sends to itself: in IPv4 the destination (`ip_route_output_key_hash_rcu` in
/// `net/ipv4/route.c`), in IPv6 one of its addresses as for any route (`ip6_dst_lookup_tail` in `net/ipv6/ip6_output.c`),
/// which the destination isn't where nothing but a local route for a whole network makes it the namespace's own.
fn source_for_local(walk: &mut Walk, found: &Found, way: Option<&NextHop>) -> Stage<IpAddr> {
    let destination = walk.packet().ip.destination;
    match destination {
        IpAddr::V4(_) => Ok(found.route.prefsrc.unwrap_or(destination)),
        IpAddr::V6(_) => source_for(walk, found, way),
    }
}

/// The source address that a route gives (`fib_result_prefsrc`, `ip6_route_get_saddr`).
fn source_for(walk: &mut Walk, found: &Found, way: Option<&NextHop>) -> Stage<IpAddr> {
    if let Some(source) = found.route.prefsrc {
        return Ok(source);
    }
    let destination = walk.packet().ip.destination;
    let netns = walk.netns();
    if netns.addrs.is_none() {
        let what = format!("{}: the source address can't be chosen", netns.lacks("addr.txt"));
        return Err(unknown(Unknown::missing(what, found.because.clone())));
    }
    let dev = way.and_then(|way| way.dev.as_ref());
    let source =
        dev.and_then(|dev| select_source(netns, dev, way.and_then(|way| way.via), destination, found.route.scope));
    if let Some((dev, source)) = dev.zip(source) {
        unread::doubt_source(walk, netns, dev, source);
    }
    source.ok_or_else(|| End::errno(Reason::NoAddress, "EADDRNOTAVAIL").because(found.because.clone()))
}

/// What the sender's own call says, if a call sends.
fn output_error(walk: &mut Walk, failure: &Failure) -> Box<End> {
    let because = no_route_step(walk, failure);
    let reason = reason_of(failure);
    // What a tunnel device or the kernel itself sends has no caller to tell.
    let end = if walk.skb.own { End::errno(reason, failure.errno) } else { End::dropped(reason) };
    match obstacle::down(walk.netns()).filter(|_| reason == Reason::NoRoute) {
        Some(down) => end.detail(down.what).because(because).because(down.lines),
        None => end.because(because),
    }
}
