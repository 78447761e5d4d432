//! Routing decisions for packets that come in; what the namespace sends has its own in `route_output`.
//!
//! Follows `net/ipv4/route.c` and `net/ipv6/route.c`.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Packet};
use crate::snapshot::{Netns, NextHop, RouteType, Routes, TableFile, conf_key};
use crate::trace::{Decision, EndCause, Reason, ReverseMode};

use super::address::local_address;
use super::end::{End, Stage};
use super::fib::{self, Failure, Flow, Found, Lookup, Unknown};
use super::fib_rules;
use super::multipath::{hashed_flow, select_path};
use super::sysctl;
use super::unread;
use super::walk::Walk;

/// Where a packet goes next (`struct dst_entry`).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dst {
    /// To the namespace's own stack.
    pub local: bool,
    /// The outgoing device (`lo` for local delivery of the namespace's own packets).
    pub dev: IfName,
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The MTU that the route itself gives.
    pub mtu: Option<u32>,
    /// Whether that MTU is locked.
    pub mtu_locked: bool,
    /// The route's lines.
    pub because: Vec<Evidence>,
}

/// What a routing decision found, before it becomes a step.
pub(super) struct Chosen<'s> {
    pub found: Found<'s>,
    pub way: Option<NextHop>,
}

/// The loopback device's name, which the kernel fixes.
pub(super) fn loopback() -> IfName {
    IfName::new("lo")
}

/// A routing decision for a packet that came in by a device (`ip_route_input_slow`, `ip6_route_input`).
pub(super) fn ip_route_input(walk: &mut Walk, dev: &IfName) -> Stage<Dst> {
    refuse_groups(walk)?;
    if walk.packet().family() == Family::Inet {
        check_martians(walk, dev)?;
    }
    let destination = walk.packet().ip.destination;
    route_flow(walk, dev, destination)
}

/// The same for the next place of a source route (`ip_options_rcv_srr` in `net/ipv4/ip_options.c`).
pub(super) fn ip_route_input_srr(walk: &mut Walk, dev: &IfName, destination: IpAddr) -> Stage<Dst> {
    if destination.is_multicast() || destination == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
        return Err(End::dropped(Reason::SourceRoute).detail(format!("the source route leads to {destination}")));
    }
    route_flow(walk, dev, destination)
}

fn route_flow(walk: &mut Walk, dev: &IfName, destination: IpAddr) -> Stage<Dst> {
    let mut flow = Flow::of(walk.packet(), dev.clone());
    (flow.destination, flow.sport_bounds) = (destination, walk.skb.sport_bounds);
    flow.strict = matches!(destination, IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local());
    let netns = walk.netns();
    let found = match fib::fib_lookup_for(walk, netns, &flow) {
        Lookup::Found(found) => found,
        Lookup::Failed(failure) => return Err(input_error(walk, dev, &failure)),
        Lookup::Unknown(missing) => return Err(unknown(missing)),
    };
    match found.route.kind {
        RouteType::Local | RouteType::Anycast => {
            reverse_path(walk, dev, None)?;
            let chosen = Chosen { way: found.ways.first().cloned(), found };
            Ok(take_route(walk, chosen, true, None))
        }
        RouteType::Broadcast | RouteType::Multicast => Err(not_unicast(found.because.clone())),
        _ => forward_route(walk, dev, found),
    }
}

/// Multicast and the limited broadcast need no route (`ip_route_input_rcu`, `ip_route_output_key_hash_rcu`), and are
/// not walked.
pub(super) fn refuse_groups(walk: &Walk) -> Stage<()> {
    let destination = walk.packet().ip.destination;
    let limited = destination == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    if limited || destination.is_multicast() { Err(not_unicast(Vec::new())) } else { Ok(()) }
}

pub(super) fn not_unicast(because: Vec<Evidence>) -> Box<End> {
    End::undetermined(Reason::NotUnicast, "broadcast and multicast packets are not walked").because(because)
}

/// A unicast route for a packet that is not for the namespace itself (`__mkroute_input`).
fn forward_route(walk: &mut Walk, dev: &IfName, found: Found) -> Stage<Dst> {
    if walk.packet().family() == Family::Inet {
        let (forwarding, line) = sysctl::forwarding(walk, Family::Inet, dev);
        if !forwarding {
            let cause = EndCause::ForwardingOff(dev.clone());
            return Err(End::dropped(Reason::NotForwarding).cause(cause).because(line));
        }
    }
    let way = select_path(walk, &found, None, hashed_flow(walk));
    reverse_path(walk, dev, way.as_ref().and_then(|way| way.dev.as_ref()))?;
    Ok(take_route(walk, Chosen { found, way }, false, None))
}

/// Without a rule file the kernel's own three rules are taken, which nobody has seen.
fn assumed_rules(walk: &Walk) -> Option<String> {
    let netns = walk.netns();
    let (rules, file) = match walk.packet().family() {
        Family::Inet => (&netns.rules, "rule.txt"),
        Family::Inet6 => (&netns.rules6, "rule6.txt"),
    };
    let assumed = rules.iter().flatten().next().is_some_and(|rule| rule.evidence.line == 0);
    assumed.then(|| format!("{}: the default policy rules are taken", netns.lacks(file)))
}

/// Makes the decision a step.
pub(super) fn take_route(walk: &mut Walk, chosen: Chosen, local: bool, source: Option<IpAddr>) -> Dst {
    if let Some(what) = assumed_rules(walk) {
        walk.doubt(what, None);
    }
    let Chosen { found, way } = chosen;
    let route = found.route;
    let dev = way.as_ref().and_then(|way| way.dev.clone());
    let via = way.as_ref().and_then(|way| way.via);
    let mut because = found.because.clone();
    if let Some(way) = &way
        && !because.contains(&way.evidence)
    {
        because.insert(1.min(because.len()), way.evidence);
    }
    walk.take(
        Decision::Route {
            table: Some(route.table),
            rule_priority: found.priority,
            prefix: Some(route.dst),
            kind: Some(route.kind),
            via,
            device: dev.clone(),
            source_hint: route.prefsrc,
            source,
        },
        because.clone(),
    );
    Dst { local, dev: dev.unwrap_or_else(loopback), via, mtu: route.mtu, mtu_locked: route.mtu_locked, because }
}

/// Addresses that can't come in by a device (the checks at the top of `ip_route_input_slow`).
fn check_martians(walk: &mut Walk, dev: &IfName) -> Stage<()> {
    let Packet { ip, .. } = walk.packet();
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (ip.source, ip.destination) else { return Ok(()) };
    let localnet = sysctl::any_of_all(walk.netns(), dev, "route_localnet");
    let bad_source = source.is_multicast()
        || source.is_broadcast()
        || source.octets()[0] == 0
        || (source.is_loopback() && !localnet && dev.as_str() != "lo");
    if bad_source {
        return Err(End::dropped(Reason::MartianSource).detail(format!("{source} can't be a source address on {dev}")));
    }
    let bad_destination =
        destination.octets()[0] == 0 || (destination.is_loopback() && !localnet && dev.as_str() != "lo");
    if bad_destination {
        let detail = format!("{destination} can't be a destination on {dev}");
        return Err(End::dropped(Reason::MartianDestination).detail(detail));
    }
    Ok(())
}

/// The reverse path check, before a packet is delivered or leaves by `out` (`fib_validate_source` and
/// `__fib_validate_source` in `net/ipv4/fib_frontend.c`).
fn reverse_path(walk: &mut Walk, dev: &IfName, out: Option<&IfName>) -> Stage<()> {
    if walk.packet().family() == Family::Inet6 {
        return Ok(());
    }
    let netns = walk.netns();
    let (mode, line) = rp_filter(walk, dev);
    let mode = reverse_mode(mode);
    let turns_back = out == Some(dev) && sends_redirects(netns, dev);
    let mut flow = Flow::of(walk.packet(), out.cloned().unwrap_or_else(loopback));
    std::mem::swap(&mut flow.source, &mut flow.destination);
    std::mem::swap(&mut flow.sport, &mut flow.dport);
    flow.dport_bounds = walk.skb.sport_bounds;
    let outcome = validate_source(walk, netns, dev, flow, (mode, turns_back))?;
    let passed = outcome.is_none();
    if mode != ReverseMode::Off || !passed {
        walk.take(Decision::ReversePath { device: dev.clone(), mode, passed }, line);
    }
    match outcome {
        None => Ok(()),
        // Whose address it is decides, whatever the setting.
        Some((Reason::MartianSource, detail, because)) => {
            Err(End::dropped(Reason::MartianSource).detail(detail).because(because))
        }
        Some((reason, detail, because)) => Err(End::dropped(reason).detail(detail).because(line).because(because)),
    }
}

/// The setting for all devices or for one, whichever is larger (`IN_DEV_RPFILTER`). What a file leaves out is what the
/// distribution set, and not the kernel's 0.
fn rp_filter(walk: &mut Walk, dev: &IfName) -> (i64, Option<Evidence>) {
    let netns = walk.netns();
    let key = conf_key(Family::Inet, dev.as_str(), "rp_filter");
    let known = [sysctl::number(netns, "net.ipv4.conf.all.rp_filter"), sysctl::number(netns, &key)];
    let largest = sysctl::max_of_all(netns, dev, "rp_filter").map_or((0, None), |(value, line)| (value, Some(line)));
    if largest.0 >= 2 || known.iter().all(Option::is_some) {
        return largest;
    }
    if netns.unread_rows(TableFile::Sysctl).next().is_some() {
        unread::doubt_sysctl(walk, netns, "rp_filter");
        return largest;
    }
    if netns.sysctls.is_some() {
        sysctl::decisive(walk, "net.ipv4.conf.all.rp_filter", 0);
    }
    sysctl::decisive(walk, &key, 0);
    largest
}

/// Why a source address may not come in, in words, and the lines that say so.
pub(super) type Refusal = (Reason, String, Vec<Evidence>);

/// Whether a source address may come in by a device. The flow is the answer's: from the packet's destination to its
/// source, as if it came in by the device that the packet will leave by. A packet that `turns_back` to the device that
/// it came in by has its source looked up even with `rp_filter` 0.
pub(super) fn validate_source<'s>(
    walk: &mut Walk<'s>,
    netns: &'s Netns,
    dev: &IfName,
    mut flow: Flow,
    (mode, turns_back): (ReverseMode, bool),
) -> Stage<Option<Refusal>> {
    let source = flow.destination;
    let accept_local = sysctl::any_of_all(netns, dev, "accept_local");
    if mode == ReverseMode::Off && !turns_back && (accept_local || !has_custom_tables(netns)) {
        let own = if accept_local { None } else { local_address(netns, source) };
        let refusal = |line| (Reason::MartianSource, format!("{source} is this namespace's own address"), vec![line]);
        return Ok(own.map(refusal));
    }
    if !sysctl::any_of_all(netns, dev, "src_valid_mark") {
        flow.mark = crate::net::Mark(0);
    }
    let refused =
        |because: Vec<Evidence>| Ok(Some((Reason::RpFilter, format!("{source} is not reached by {dev}"), because)));
    let found = match fib::fib_lookup_for(walk, netns, &flow) {
        Lookup::Found(found) => found,
        Lookup::Unknown(missing) => return Err(unknown(missing)),
        Lookup::Failed(_) if mode == ReverseMode::Off => return Ok(None),
        Lookup::Failed(failure) => return refused(failure.route.map(|route| route.evidence).into_iter().collect()),
    };
    if found.route.kind != RouteType::Unicast && !(found.route.kind == RouteType::Local && accept_local) {
        let detail = format!("{source} is a {} address here", found.route.kind.as_str());
        return Ok(Some((Reason::MartianSource, detail, found.because)));
    }
    let uses_dev = found.ways.iter().any(|way| way.dev.as_ref() == Some(dev));
    if uses_dev || (found.route.kind == RouteType::Local && dev.as_str() == "lo") {
        return Ok(None);
    }
    let no_address = netns.addrs_of(dev).all(|addr| addr.address.is_ipv6());
    if no_address && mode == ReverseMode::Loose {
        unread::doubt_addrs(walk, netns, Family::Inet, &format!("{dev} may have an address"));
    }
    match mode {
        ReverseMode::Strict => refused(found.because),
        ReverseMode::Loose if no_address => refused(found.because),
        _ => Ok(None),
    }
}

/// What a setting of `rp_filter` asks for.
pub(super) fn reverse_mode(value: i64) -> ReverseMode {
    match value {
        0 => ReverseMode::Off,
        1 => ReverseMode::Strict,
        _ => ReverseMode::Loose,
    }
}

/// Whether somebody changed the policy rules or added a local route, so that the addresses of the devices don't tell
/// which sources are the namespace's own (`fib4_has_custom_rules`, `fib_has_custom_local_routes`).
fn has_custom_tables(netns: &Netns) -> bool {
    let rules = netns
        .rules
        .as_ref()
        .is_some_and(|rules| rules.iter().any(|rule| !fib_rules::is_catch_all(rule)) || rules.len() != 3);
    rules || netns.routes.as_ref().is_some_and(Routes::has_custom_local)
}

/// Whether the namespace would send a redirect for a packet that goes back by the device that it came in by
/// (`IN_DEV_TX_REDIRECTS`); it does where nobody has said otherwise.
fn sends_redirects(netns: &Netns, dev: &IfName) -> bool {
    sysctl::max_of_all(netns, dev, "send_redirects").is_none_or(|(value, _)| value != 0)
}

/// What the kernel makes of a packet that no route carries (`ip_error`, `ip6_pkt_discard`).
fn input_error(walk: &mut Walk, dev: &IfName, failure: &Failure) -> Box<End> {
    let family = walk.packet().family();
    let because = no_route_step(walk, failure);
    let reason = reason_of(failure);
    if family == Family::Inet6 {
        return match failure.errno {
            "EINVAL" => End::dropped(reason),
            "EACCES" => End::icmp(reason, 1, 1),
            _ => End::icmp(reason, 1, 0),
        }
        .because(because);
    }
    let (forwarding, line) = sysctl::forwarding(walk, Family::Inet, dev);
    if !forwarding {
        return End::dropped(Reason::NotForwarding)
            .cause(EndCause::ForwardingOff(dev.clone()))
            .detail(format!("no route, and forwarding is off for {dev}"))
            .because(line)
            .because(because);
    }
    match failure.errno {
        "ENETUNREACH" => End::icmp(reason, 3, 0),
        "EHOSTUNREACH" => End::icmp(reason, 3, 1),
        "EACCES" => End::icmp(reason, 3, 13),
        _ => End::dropped(reason),
    }
    .because(because)
}

pub(super) fn no_route_step(walk: &mut Walk, failure: &Failure) -> Vec<Evidence> {
    if let Some(what) = assumed_rules(walk) {
        // Another rule may lead to a table that has a route.
        walk.doubt(what, None);
    }
    let because: Vec<Evidence> =
        failure.route.map(|route| route.evidence).into_iter().chain(failure.rule.map(|rule| rule.evidence)).collect();
    walk.take(
        Decision::Route {
            table: failure.route.map(|route| route.table),
            rule_priority: failure.rule.map(|rule| rule.priority),
            prefix: failure.route.map(|route| route.dst),
            kind: failure.route.map(|route| route.kind),
            via: None,
            device: None,
            source_hint: None,
            source: None,
        },
        because.clone(),
    );
    because
}

pub(super) fn reason_of(failure: &Failure) -> Reason {
    if failure.route.is_none() && failure.rule.is_none() {
        return Reason::NoRoute;
    }
    match failure.errno {
        "EINVAL" => Reason::Blackhole,
        "EACCES" => Reason::Prohibit,
        _ => Reason::Unreachable,
    }
}

/// The end where what decides a lookup is missing, or is not modelled.
pub(super) fn unknown(Unknown { reason, what, because }: Unknown) -> Box<End> {
    End::undetermined(reason, what).because(because)
}
