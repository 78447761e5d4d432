//! What one table says about another: missing details of devices, addresses and local routes.
//!
//! Everything derived keeps the line that it is derived from. What is more than a consequence is a gap too.

mod addrs;
mod links;
mod local;

use crate::evidence::{Evidence, Files, Gap};
use crate::net::{Family, IfName, TableId};
use crate::snapshot::{Link, Netns, PolicyRule, RouteType, Routes, RuleAction};

/// Completes a namespace's tables from one another. `ports` are the rows of `bridge-link`.
pub(super) fn complete(netns: &mut Netns, ports: Option<Vec<Link>>, files: &Files, gaps: &mut Vec<Gap>) {
    links::complete(netns, ports, files, gaps);
    if netns.addrs.is_none() {
        netns.addrs = addrs::from_routes(netns, gaps);
        netns.addrs_derived = netns.addrs.is_some();
    }
    local::complete(netns);
    complete_rules(netns, gaps);
    find_strangers(netns, gaps);
}

/// Where `rule` was not collected, the rules that every namespace starts with are assumed, aloud.
fn complete_rules(netns: &mut Netns, gaps: &mut Vec<Gap>) {
    if netns.rules.is_none() && netns.routes.is_some() {
        netns.rules = Some(default_rules(Family::Inet));
        gaps.push(assumed(netns, "rule.txt"));
    }
    if netns.rules6.is_none() && has_inet6(netns) {
        netns.rules6 = Some(default_rules(Family::Inet6));
        gaps.push(assumed(netns, "rule6.txt"));
    }
}

fn assumed(netns: &Netns, file: &str) -> Gap {
    Gap::new(format!("{}: the default policy rules are assumed", netns.lacks(file)), vec![])
}

/// Whether IPv6 goes anywhere from here: a route that is neither link-local nor multicast.
fn has_inet6(netns: &Netns) -> bool {
    netns.routes6.iter().flat_map(Routes::rows).any(|route| {
        let std::net::IpAddr::V6(dst) = route.dst.addr() else { return false };
        route.kind == RouteType::Unicast && !dst.is_unicast_link_local() && !dst.is_multicast()
    })
}

/// The rules that a namespace starts with (`fib_default_rules_init` of `net/ipv4/fib_rules.c`, `fib6_rules_net_init`
/// of `net/ipv6/fib6_rules.c`, which knows no table `default`).
fn default_rules(family: Family) -> Vec<PolicyRule> {
    let rule = |priority, table| PolicyRule {
        family,
        priority,
        not: false,
        from: None,
        to: None,
        iif: None,
        oif: None,
        fwmark: None,
        tos: 0,
        ipproto: None,
        sport: None,
        dport: None,
        uidrange: None,
        action: RuleAction::Lookup(table),
        suppress_prefixlength: None,
        realms: None,
        unmodelled: Vec::new(),
        evidence: Evidence::NONE,
    };
    let mut rules = vec![rule(0, TableId::LOCAL), rule(32766, TableId::MAIN)];
    if family == Family::Inet {
        rules.push(rule(32767, TableId::DEFAULT));
    }
    rules
}

/// A device that an address or a route names and the link file doesn't list came or went while the snapshot was
/// taken.
fn find_strangers(netns: &Netns, gaps: &mut Vec<Gap>) {
    let Some(links) = &netns.links else { return };
    let mut known: std::collections::HashSet<&IfName> = links.iter().map(|link| &link.name).collect();
    let addrs = netns.addrs.iter().flatten().map(|addr| (&addr.dev, addr.evidence));
    let routes = [&netns.routes, &netns.routes6].into_iter().flatten().flat_map(Routes::rows);
    let hops = routes.flat_map(|route| &route.nexthops).filter_map(|hop| Some((hop.dev.as_ref()?, hop.evidence)));
    let neighs = netns.neighs.iter().flatten().map(|neigh| (&neigh.dev, neigh.evidence));
    let mut last = None;
    for (dev, evidence) in addrs.chain(hops).chain(neighs) {
        if last.replace(dev) != Some(dev) && known.insert(dev) {
            gaps.push(Gap::new(format!("{dev} is not among the devices of {}'s link file", netns.dir), vec![evidence]));
        }
    }
}

#[cfg(test)]
mod tests;
