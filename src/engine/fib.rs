//! The forwarding information base: policy rules, then tables, longest prefix first.
//!
//! Follows `net/core/fib_rules.c`, `net/ipv4/fib_rules.c`, `net/ipv4/fib_trie.c` and, for IPv6, `net/ipv6/fib6_rules.c`,
//! `net/ipv6/ip6_fib.c` and `net/ipv6/route.c`.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Mark, Packet, Protocol, TableId};
use crate::snapshot::{
    Neigh, NeighState, Netns, NextHop, PolicyRule, Route, RouteScope, RouteType, Routes, RuleAction,
};

use super::walk::Walk;

/// What a lookup asks with (`struct flowi4`, `struct flowi6`).
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub family: Family,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub tos: u8,
    pub mark: Mark,
    /// `None` where the lookup doesn't say (the reverse check without rules that need it).
    pub protocol: Option<Protocol>,
    pub sport: Option<u16>,
    pub dport: Option<u16>,
    /// Between which ports an unknown source port is.
    pub sport_bounds: Option<(u16, u16)>,
    /// The input device; `lo` for what the host sends.
    pub iif: IfName,
    /// The device that the route must leave by.
    pub oif: Option<IfName>,
    /// Whether ways whose device has no carrier count even where they are switched off.
    pub ignore_linkstate: bool,
}

impl Flow {
    /// A lookup between two addresses, of no protocol.
    pub(super) fn bare(source: IpAddr, destination: IpAddr, iif: IfName) -> Self {
        Self {
            family: Family::of(destination),
            source,
            destination,
            tos: 0,
            mark: Mark(0),
            protocol: None,
            sport: None,
            dport: None,
            sport_bounds: None,
            iif,
            oif: None,
            ignore_linkstate: false,
        }
    }

    /// The lookup that a packet asks for. `iif` is `lo` for the namespace's own packets.
    pub(super) fn of(packet: &Packet, iif: IfName) -> Self {
        Self {
            family: packet.family(),
            source: packet.ip.source,
            destination: packet.ip.destination,
            // IPv4 looks at no other bits (`IPTOS_RT_MASK`).
            tos: packet.ip.tos & if packet.family() == Family::Inet { 0x1c } else { 0xff },
            mark: packet.mark,
            protocol: Some(packet.protocol()),
            sport: packet.source_port(),
            dport: packet.destination_port(),
            sport_bounds: None,
            iif,
            oif: None,
            ignore_linkstate: false,
        }
    }
}

/// A route that was found, and how.
#[derive(Clone, Debug)]
pub(super) struct Found<'s> {
    pub route: &'s Route,
    /// The ways that may be used, with their weights (`nhid` resolved).
    pub ways: Vec<NextHop>,
    /// The priority of the policy rule.
    pub priority: Option<u32>,
    /// The policy rule's line, the nexthop object's, the route's.
    pub because: Vec<Evidence>,
}

/// A lookup's answer.
#[derive(Clone, Debug)]
pub(super) enum Lookup<'s> {
    /// A route of a type that carries packets (unicast, local, broadcast, …).
    Found(Found<'s>),
    /// An error, by its errno name, and the rule or route that gave it.
    Failed(Failure<'s>),
    /// A table that decides is missing or something is not modelled: what.
    Unknown(String, Vec<Evidence>),
}

/// A lookup that ended in an error.
#[derive(Clone, Debug)]
pub(super) struct Failure<'s> {
    /// `ENETUNREACH`, `EHOSTUNREACH`, `EACCES`, `EINVAL`.
    pub errno: &'static str,
    /// The route that says so.
    pub route: Option<&'s Route>,
    /// The policy rule that says so, or that led to the route.
    pub rule: Option<&'s PolicyRule>,
}

/// Looks a packet's flow up. Where nobody can know whether a policy rule matches, the walk goes both ways.
pub(super) fn fib_lookup_for<'s>(walk: &mut Walk<'s>, netns: &'s Netns, flow: &Flow) -> Lookup<'s> {
    lookup(netns, flow, &mut |rule| Some(chosen(walk, rule)))
}

/// Looks a flow up in a namespace's tables (`fib_lookup` in `include/net/ip_fib.h`, `fib6_rule_lookup`). A rule of
/// which nobody can know whether it matches makes the answer unknown.
pub(super) fn fib_lookup<'s>(netns: &'s Netns, flow: &Flow) -> Lookup<'s> {
    lookup(netns, flow, &mut |_| None)
}

/// Says whether a rule matches that can't be decided from the tables.
type Decide<'d> = &'d mut dyn FnMut(&PolicyRule) -> Option<bool>;

fn lookup<'s>(netns: &'s Netns, flow: &Flow, decide: Decide) -> Lookup<'s> {
    let Some(routes) = routes(netns, flow.family) else {
        let file = if flow.family == Family::Inet { "route.txt" } else { "route6.txt" };
        return Lookup::Unknown(format!("{}/{file} is missing: the routes are not known", netns.dir), Vec::new());
    };
    let rules = match flow.family {
        Family::Inet => &netns.rules,
        Family::Inet6 => &netns.rules6,
    };
    let Some(rules) = rules else {
        return Lookup::Unknown(
            format!("{}/rule.txt is missing: the policy rules are not known", netns.dir),
            Vec::new(),
        );
    };
    if flow.family == Family::Inet && has_default_rules(rules) {
        return lookup_merged(netns, routes, rules, flow);
    }
    fib_rules_lookup(netns, routes, rules, flow, decide)
}

/// The routes of a family.
pub(super) fn routes(netns: &Netns, family: Family) -> Option<&Routes> {
    match family {
        Family::Inet => netns.routes.as_ref(),
        Family::Inet6 => netns.routes6.as_ref(),
    }
}

/// Whether only the kernel's own three rules stand, in which case IPv4 keeps `local` and `main` in one trie.
fn has_default_rules(rules: &[PolicyRule]) -> bool {
    let expected = [(0, TableId::LOCAL), (32766, TableId::MAIN), (32767, TableId::DEFAULT)];
    rules.len() == expected.len()
        && rules.iter().zip(expected).all(|(rule, (priority, table))| {
            rule.priority == priority && rule.action == RuleAction::Lookup(table) && is_catch_all(rule)
        })
}

/// Whether a rule has no selector.
pub(super) fn is_catch_all(rule: &PolicyRule) -> bool {
    !rule.not
        && rule.from.is_none_or(|from| from.prefix_len() == 0)
        && rule.to.is_none()
        && rule.iif.is_none()
        && rule.oif.is_none()
        && rule.fwmark.is_none()
        && rule.tos == 0
        && rule.ipproto.is_none()
        && rule.sport.is_none()
        && rule.dport.is_none()
        && rule.uidrange.is_none()
        && rule.suppress_prefixlength.is_none()
        && rule.unmodelled.is_empty()
}

/// The one trie that holds `local` and `main` while no policy rule was added: the longest prefix of both wins, and
/// `local` comes first among equals (`fib_trie_unmerge` and `fib_find_alias` in `net/ipv4/fib_trie.c`).
fn lookup_merged<'s>(netns: &'s Netns, routes: &'s Routes, rules: &'s [PolicyRule], flow: &Flow) -> Lookup<'s> {
    let mut covering: Vec<&Route> = routes.covering(TableId::LOCAL, flow.destination).collect();
    covering.extend(routes.covering(TableId::MAIN, flow.destination));
    covering.sort_by_key(|route| std::cmp::Reverse(route.dst.prefix_len()));
    let rule_of = |table: TableId| rules.iter().find(|rule| rule.action == RuleAction::Lookup(table));
    let default = routes.covering(TableId::DEFAULT, flow.destination);
    for candidates in [covering, default.collect()] {
        match fib_table_lookup(netns, candidates.into_iter(), flow) {
            TableAnswer::Found(route, ways, mut because) => {
                let rule = rule_of(route.table);
                because.extend(rule.map(|rule| rule.evidence));
                return Lookup::Found(Found { route, ways, priority: rule.map(|rule| rule.priority), because });
            }
            TableAnswer::Failed(errno, route) => {
                return Lookup::Failed(Failure { errno, route: Some(route), rule: rule_of(route.table) });
            }
            TableAnswer::Unknown(what, because) => return Lookup::Unknown(what, because),
            TableAnswer::Nothing => {}
        }
    }
    Lookup::Failed(Failure { errno: "ENETUNREACH", route: None, rule: None })
}

/// Asks the rules in order (`fib_rules_lookup` in `net/core/fib_rules.c`).
fn fib_rules_lookup<'s>(
    netns: &'s Netns,
    routes: &'s Routes,
    rules: &'s [PolicyRule],
    flow: &Flow,
    decide: Decide,
) -> Lookup<'s> {
    let mut place = 0;
    while let Some(rule) = rules.get(place) {
        place += 1;
        match fib_rule_match(rule, flow).or_else(|| decide(rule)) {
            Some(true) => {}
            Some(false) => continue,
            None => return Lookup::Unknown(undecided(rule), vec![rule.evidence]),
        }
        let table = match rule.action {
            RuleAction::Nop => continue,
            RuleAction::Goto(target) => {
                // `ip rule` refuses to jump backwards, so the search only ever goes on.
                // A target that isn't there is as if the rule weren't.
                let ahead = rules.iter().skip(place).position(|other| other.priority == target);
                place += ahead.unwrap_or(0);
                continue;
            }
            RuleAction::Blackhole => return failed("EINVAL", rule),
            RuleAction::Unreachable => return failed("ENETUNREACH", rule),
            RuleAction::Prohibit => return failed("EACCES", rule),
            RuleAction::Lookup(table) => table,
        };
        if !routes.all_tables() && table != TableId::MAIN && table != TableId::LOCAL && table != TableId::DEFAULT {
            let what = format!("{}: the routes of table {table} are not in the snapshot", netns.dir);
            return Lookup::Unknown(what, vec![rule.evidence]);
        }
        match fib_table_lookup(netns, routes.covering(table, flow.destination), flow) {
            TableAnswer::Found(route, ways, mut because) => {
                if rule.suppress_prefixlength.is_some_and(|length| u32::from(route.dst.prefix_len()) <= length) {
                    continue;
                }
                because.push(rule.evidence);
                return Lookup::Found(Found { route, ways, priority: Some(rule.priority), because });
            }
            TableAnswer::Failed(errno, route) => {
                return Lookup::Failed(Failure { errno, route: Some(route), rule: Some(rule) });
            }
            TableAnswer::Unknown(what, because) => return Lookup::Unknown(what, because),
            TableAnswer::Nothing => {}
        }
    }
    Lookup::Failed(Failure { errno: "ENETUNREACH", route: None, rule: None })
}

/// A rule that tests what nobody can know (a port drawn at random), or what is not modelled.
fn undecided(rule: &PolicyRule) -> String {
    match rule.unmodelled.as_slice() {
        [] => format!("whether the policy rule with priority {} matches can't be known", rule.priority),
        words => format!("the policy rule with priority {} is not modelled: {}", rule.priority, words.join(" ")),
    }
}

fn chosen(walk: &mut Walk, rule: &PolicyRule) -> bool {
    walk.choose_unknown(undecided(rule), Some(rule.evidence))
}

fn failed<'s>(errno: &'static str, rule: &'s PolicyRule) -> Lookup<'s> {
    Lookup::Failed(Failure { errno, route: None, rule: Some(rule) })
}

/// Whether a rule's selectors hold (`fib_rule_match`, `fib4_rule_match`, `fib6_rule_match`); `None` where nobody can
/// know.
fn fib_rule_match(rule: &PolicyRule, flow: &Flow) -> Option<bool> {
    let known = selectors(rule, flow);
    if known.contains(&Some(false)) {
        return Some(rule.not);
    }
    if known.contains(&None) || !rule.unmodelled.is_empty() {
        return None;
    }
    Some(!rule.not)
}

fn selectors(rule: &PolicyRule, flow: &Flow) -> [Option<bool>; 10] {
    let port = |range: Option<crate::snapshot::IdRange>, port: Option<u16>| match (range, port) {
        (None, _) => Some(true),
        (Some(_), None) if flow.protocol.is_some_and(|protocol| !protocol.has_ports()) => Some(false),
        (Some(_), None) if flow.protocol.is_none() => Some(false),
        (Some(_), None) => None,
        (Some(range), Some(port)) => Some(range.contains(u32::from(port))),
    };
    [
        Some(rule.from.is_none_or(|from| from.prefix_len() == 0 || from.contains(&flow.source))),
        Some(rule.to.is_none_or(|to| to.contains(&flow.destination))),
        Some(rule.iif.as_ref().is_none_or(|iif| *iif == flow.iif)),
        Some(rule.oif.as_ref().is_none_or(|oif| flow.oif.as_ref() == Some(oif))),
        Some(rule.fwmark.is_none_or(|(mark, mask)| (flow.mark.0 ^ mark) & mask == 0)),
        Some(rule.tos == 0 || rule.tos & 0xfc == flow.tos & 0xfc),
        Some(rule.ipproto.is_none_or(|protocol| flow.protocol == Some(protocol))),
        if outside_bounds(rule.sport, flow) { Some(false) } else { port(rule.sport, flow.sport) },
        port(rule.dport, flow.dport),
        // Which user sends is no part of a question; forwarded packets belong to nobody and match no range but root's.
        rule.uidrange.map_or(Some(true), |_| None),
    ]
}

/// Whether an unknown source port can't be in a range, since it is known to be between others.
fn outside_bounds(range: Option<crate::snapshot::IdRange>, flow: &Flow) -> bool {
    let (Some(range), None, Some((low, high))) = (range, flow.sport, flow.sport_bounds) else { return false };
    range.end < u32::from(low) || range.start > u32::from(high)
}

enum TableAnswer<'s> {
    Found(&'s Route, Vec<NextHop>, Vec<Evidence>),
    Failed(&'static str, &'s Route),
    Unknown(String, Vec<Evidence>),
    /// Nothing matched, or a `throw` route said to go on.
    Nothing,
}

/// Picks the route of one table (`fib_table_lookup` in `net/ipv4/fib_trie.c`, `fib6_table_lookup`).
fn fib_table_lookup<'s>(netns: &'s Netns, covering: impl Iterator<Item = &'s Route>, flow: &Flow) -> TableAnswer<'s> {
    let mut answer = TableAnswer::Nothing;
    let mut best: Option<(u8, u32)> = None;
    for route in covering {
        let rank = (route.dst.prefix_len(), route.metric);
        if best.is_some_and(|best| best != rank) {
            break;
        }
        if !matches_flow(route, flow) {
            continue;
        }
        let error = route_error(route.kind);
        if route.kind == RouteType::Throw {
            return TableAnswer::Nothing;
        }
        if let Some(errno) = error {
            return TableAnswer::Failed(errno, route);
        }
        if !route.unmodelled.is_empty() {
            let what =
                format!("the route {} has options that are not modelled: {}", route.dst, route.unmodelled.join(" "));
            return TableAnswer::Unknown(what, vec![route.evidence]);
        }
        let (ways, because) = match usable_ways(netns, route, flow) {
            Ok(found) => found,
            Err(Unusable::Blackhole) => return TableAnswer::Failed("EINVAL", route),
            Err(Unusable::Unknown(what, because)) => return TableAnswer::Unknown(what, because),
        };
        if ways.is_empty() {
            continue;
        }
        match flow.family {
            Family::Inet => return TableAnswer::Found(route, ways, because),
            Family::Inet6 => {
                // Routes of one prefix and metric stand beside each other: as one multipath route where each has a
                // gateway, else the first whose router has not failed (`find_rr_leaf`).
                best = Some(rank);
                answer = join(netns, answer, route, ways, because);
            }
        }
    }
    answer
}

/// Adds an IPv6 route to those of the same prefix and metric (`rt6_qualify_for_ecmp`, `find_match`).
fn join<'s>(
    netns: &Netns,
    so_far: TableAnswer<'s>,
    route: &'s Route,
    mut ways: Vec<NextHop>,
    mut because: Vec<Evidence>,
) -> TableAnswer<'s> {
    match so_far {
        TableAnswer::Found(first, mut others, mut lines) if is_ecmp(first) && is_ecmp(route) => {
            others.append(&mut ways);
            lines.append(&mut because);
            TableAnswer::Found(first, others, lines)
        }
        TableAnswer::Found(_, ref others, _) if others.iter().all(|way| router_failed(netns, way)) => {
            TableAnswer::Found(route, ways, because)
        }
        TableAnswer::Nothing => TableAnswer::Found(route, ways, because),
        found => found,
    }
}

/// A route that can be part of a multipath one: it has a gateway and was not made by a router advertisement.
fn is_ecmp(route: &Route) -> bool {
    route.protocol.as_deref() != Some("ra") && route.nexthops.iter().all(|way| way.via.is_some())
}

/// Whether the neighbour table says that a way's router doesn't answer (`rt6_check_neigh`).
fn router_failed(netns: &Netns, way: &NextHop) -> bool {
    let Some(via) = way.via else { return false };
    neigh(netns, via, way.dev.as_ref()).is_some_and(|neigh| neigh.state == NeighState::Failed)
}

/// The neighbour row for an address on a device.
pub(super) fn neigh<'s>(netns: &'s Netns, address: IpAddr, dev: Option<&IfName>) -> Option<&'s Neigh> {
    netns.neighs.as_ref()?.iter().find(|neigh| neigh.address == address && Some(&neigh.dev) == dev && !neigh.proxy)
}

fn matches_flow(route: &Route, flow: &Flow) -> bool {
    (route.tos == 0 || route.tos & 0xfc == flow.tos & 0xfc)
        && route.scope != RouteScope::NOWHERE
        && route.from.is_none_or(|from| from.contains(&flow.source))
}

/// The error that a route type stands for (`fib_props` in `net/ipv4/fib_semantics.c`, `ip6_rt_type_to_error`).
fn route_error(kind: RouteType) -> Option<&'static str> {
    match kind {
        RouteType::Blackhole | RouteType::Nat => Some("EINVAL"),
        RouteType::Unreachable => Some("EHOSTUNREACH"),
        RouteType::Prohibit => Some("EACCES"),
        _ => None,
    }
}

enum Unusable {
    Blackhole,
    Unknown(String, Vec<Evidence>),
}

/// The ways of a route that a packet may take (`fib_lookup_good_nhc`).
fn usable_ways(netns: &Netns, route: &Route, flow: &Flow) -> Result<(Vec<NextHop>, Vec<Evidence>), Unusable> {
    let (ways, because) = all_ways(netns, route)?;
    let good = |way: &NextHop| {
        !way.dead
            && (flow.ignore_linkstate || !way.linkdown || !ignores_linkdown(netns, way.dev.as_ref()))
            && (flow.oif.is_none() || flow.oif == way.dev)
    };
    // A local or broadcast route without a device still answers.
    let ways = ways.into_iter().filter(good).collect();
    Ok((ways, because))
}

fn ignores_linkdown(netns: &Netns, dev: Option<&IfName>) -> bool {
    let Some(dev) = dev else { return false };
    let key = format!("net.ipv4.conf.{}.ignore_routes_with_linkdown", super::sysctl::escape(dev));
    netns.sysctls.as_ref().and_then(|sysctls| sysctls.number(&key)).is_some_and(|(value, _)| value != 0)
}

/// The ways of a route, its nexthop object's where it names one, and the lines that say so.
fn all_ways(netns: &Netns, route: &Route) -> Result<(Vec<NextHop>, Vec<Evidence>), Unusable> {
    let Some(id) = route.nhid else { return Ok((route.nexthops.clone(), vec![route.evidence])) };
    let Some(objects) = &netns.nexthops else {
        // `ip route` prints the ways of the object beside its number.
        return Ok((route.nexthops.clone(), vec![route.evidence]));
    };
    let find = |id: u32| objects.iter().find(|object| object.id == id);
    let Some(object) = find(id) else {
        if !route.nexthops.is_empty() {
            return Ok((route.nexthops.clone(), vec![route.evidence]));
        }
        let what = format!("{}/nexthop.txt has no nexthop object {id}, which a route names", netns.dir);
        return Err(Unusable::Unknown(what, vec![route.evidence]));
    };
    let mut because = vec![route.evidence, object.evidence];
    if object.blackhole {
        return Err(Unusable::Blackhole);
    }
    if !object.unmodelled.is_empty() {
        let what = format!("nexthop object {id} has options that are not modelled: {}", object.unmodelled.join(" "));
        return Err(Unusable::Unknown(what, because));
    }
    if let Some(way) = &object.way {
        return Ok((vec![way.clone()], because));
    }
    let mut ways = Vec::new();
    for (member, weight) in &object.group {
        let Some(member) = find(*member) else { continue };
        because.push(member.evidence);
        if member.blackhole {
            return Err(Unusable::Blackhole);
        }
        if let Some(way) = &member.way {
            ways.push(NextHop { weight: *weight, ..way.clone() });
        }
    }
    Ok((ways, because))
}

/// The type of an address for this namespace (`inet_addr_type_dev_table` in `net/ipv4/fib_frontend.c`): what the
/// local table says of it, `Unicast` where it says nothing. `None` where the routes are not known.
pub(super) fn address_type(netns: &Netns, address: IpAddr, dev: Option<&IfName>) -> Option<RouteType> {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.is_broadcast() => return Some(RouteType::Broadcast),
        IpAddr::V4(v4) if v4.is_multicast() => return Some(RouteType::Multicast),
        _ => {}
    }
    let routes = routes(netns, Family::of(address))?;
    let local = routes.covering(TableId::LOCAL, address).find(|route| route.kind != RouteType::Multicast);
    let Some(route) = local else { return Some(RouteType::Unicast) };
    let by_dev = |dev: &IfName| route.nexthops.iter().any(|way| way.dev.as_ref() == Some(dev));
    if dev.is_none_or(by_dev) { Some(route.kind) } else { Some(RouteType::Unicast) }
}
