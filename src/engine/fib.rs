//! The forwarding information base: policy rules, then tables, longest prefix first.
//!
//! Follows `net/core/fib_rules.c`, `net/ipv4/fib_rules.c`, `net/ipv4/fib_trie.c` and, for IPv6,
//! `net/ipv6/fib6_rules.c`, `net/ipv6/ip6_fib.c` and `net/ipv6/route.c`.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Mark, Packet, Protocol, TableId};
use crate::snapshot::{Netns, NextHop, PolicyRule, Route, RouteType, Routes, RuleAction};
use crate::trace::Reason;

use super::fib_rules::{fib_rule_match, has_default_rules, undecided};
use super::fib_table::{TableAnswer, fib_table_lookup};
use super::unread;
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
    /// Between which ports an unknown destination port is.
    pub dport_bounds: Option<(u16, u16)>,
    /// The input device; `lo` for what the host sends.
    pub iif: IfName,
    /// The device that the route must leave by.
    pub oif: Option<IfName>,
    /// A device that policy rules see as the output device, and that is preferred where several would do. Routes may
    /// leave by another one (`ip6_route_output_flags` without `RT6_LOOKUP_F_IFACE`).
    pub preferred_oif: Option<IfName>,
    /// Whether routes lead out of the input device only, because the address means another host on every link
    /// (`rt6_need_strict` in `net/ipv6/route.c`).
    pub strict: bool,
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
            dport_bounds: None,
            iif,
            oif: None,
            preferred_oif: None,
            strict: false,
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
            dport_bounds: None,
            iif,
            oif: None,
            preferred_oif: None,
            strict: false,
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
    /// A table that decides is missing or something is not modelled.
    Unknown(Unknown),
}

/// What keeps a lookup from an answer.
#[derive(Clone, Debug)]
pub(super) struct Unknown {
    pub reason: Reason,
    pub what: String,
    pub because: Vec<Evidence>,
}

impl Unknown {
    pub(super) fn missing(what: String, because: Vec<Evidence>) -> Self {
        Self { reason: Reason::MissingTable, what, because }
    }

    pub(super) fn not_modelled(what: String, because: Vec<Evidence>) -> Self {
        Self { reason: Reason::NotModelled, what, because }
    }
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
    let found = lookup(netns, flow, &mut |rule| Some(chosen(walk, rule)));
    unread::doubt_lookup(walk, netns, flow, &found);
    found
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
        let what = format!("{}: the routes are not known", netns.lacks(file));
        return Lookup::Unknown(Unknown::missing(what, Vec::new()));
    };
    let rules = match flow.family {
        Family::Inet => &netns.rules,
        Family::Inet6 => &netns.rules6,
    };
    let Some(rules) = rules else {
        let file = if flow.family == Family::Inet { "rule.txt" } else { "rule6.txt" };
        let what = format!("{}: the policy rules are not known", netns.lacks(file));
        return Lookup::Unknown(Unknown::missing(what, Vec::new()));
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
            TableAnswer::Unknown(unknown) => return Lookup::Unknown(unknown),
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
            None => return Lookup::Unknown(undecided(rule)),
        }
        let table = match rule.action {
            RuleAction::Nop | RuleAction::Unread => continue,
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
            return Lookup::Unknown(Unknown::missing(what, vec![rule.evidence]));
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
            TableAnswer::Unknown(unknown) => return Lookup::Unknown(unknown),
            TableAnswer::Nothing => {}
        }
    }
    Lookup::Failed(Failure { errno: "ENETUNREACH", route: None, rule: None })
}

/// Of a rule whose action nobody could read only its place is known: the walk goes on below it, and is not certain.
fn chosen(walk: &mut Walk, rule: &PolicyRule) -> bool {
    if rule.action == RuleAction::Unread {
        unread::doubt_rule(walk, rule);
        return false;
    }
    walk.choose_unknown(undecided(rule).what, Some(rule.evidence))
}

fn failed<'s>(errno: &'static str, rule: &'s PolicyRule) -> Lookup<'s> {
    Lookup::Failed(Failure { errno, route: None, rule: Some(rule) })
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
