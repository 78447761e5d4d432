//! One routing table: the route that its rows give a lookup, and the ways that this route has.
//!
//! Follows `net/ipv4/fib_trie.c`, `net/ipv4/fib_semantics.c`, `net/ipv4/nexthop.c` and, for IPv6,
//! `net/ipv6/ip6_fib.c` and `net/ipv6/route.c`.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName};
use crate::snapshot::{Neigh, NeighState, Netns, NextHop, Route, RouteScope, RouteType};

use super::fib::{Flow, Unknown};
use super::sysctl;

pub(super) enum TableAnswer<'s> {
    Found(&'s Route, Vec<NextHop>, Vec<Evidence>),
    Failed(&'static str, &'s Route),
    Unknown(Unknown),
    /// Nothing matched, or a `throw` route said to go on.
    Nothing,
}

/// Picks the route of one table (`fib_table_lookup` in `net/ipv4/fib_trie.c`, `fib6_table_lookup`).
pub(super) fn fib_table_lookup<'s>(
    netns: &'s Netns,
    covering: impl Iterator<Item = &'s Route>,
    flow: &Flow,
) -> TableAnswer<'s> {
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
            return TableAnswer::Unknown(Unknown::not_modelled(what, vec![route.evidence]));
        }
        let (ways, because) = match usable_ways(netns, route, flow) {
            Ok(found) => found,
            Err(Unusable::Blackhole) => return TableAnswer::Failed("EINVAL", route),
            Err(Unusable::Unknown(unknown)) => return TableAnswer::Unknown(unknown),
        };
        if ways.is_empty() {
            continue;
        }
        if let Some(encap) = ways.iter().find_map(|way| way.encap.as_ref()) {
            let what = format!("the route {} puts on an encapsulation that is not modelled: {encap}", route.dst);
            return TableAnswer::Unknown(Unknown::not_modelled(what, because));
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
    Unknown(Unknown),
}

/// The ways of a route that a packet may take (`fib_lookup_good_nhc`).
fn usable_ways(netns: &Netns, route: &Route, flow: &Flow) -> Result<(Vec<NextHop>, Vec<Evidence>), Unusable> {
    let (ways, because) = all_ways(netns, route)?;
    let good = |way: &NextHop| {
        !way.dead
            && (flow.ignore_linkstate || !way.linkdown || !ignores_linkdown(netns, way.dev.as_ref()))
            && (flow.oif.is_none() || flow.oif == way.dev)
            && (!flow.strict || way.dev.as_ref().is_none_or(|dev| *dev == flow.iif))
    };
    // A local or broadcast route without a device still answers.
    let mut ways: Vec<NextHop> = ways.into_iter().filter(good).collect();
    let preferred = |way: &NextHop| way.dev.is_some() && way.dev == flow.preferred_oif;
    if ways.iter().any(preferred) {
        ways.retain(preferred);
    }
    Ok((ways, because))
}

fn ignores_linkdown(netns: &Netns, dev: Option<&IfName>) -> bool {
    let Some(dev) = dev else { return false };
    sysctl::device(netns, Family::Inet, dev, "ignore_routes_with_linkdown").is_some_and(|(value, _)| value != 0)
}

/// The ways of a route, its nexthop object's where it names one, and the lines that say so.
fn all_ways(netns: &Netns, route: &Route) -> Result<(Vec<NextHop>, Vec<Evidence>), Unusable> {
    let Some(id) = route.nhid else { return Ok((route.nexthops.to_vec(), vec![route.evidence])) };
    let Some(objects) = &netns.nexthops else {
        // `ip route` prints the ways of the object beside its number.
        return Ok((route.nexthops.to_vec(), vec![route.evidence]));
    };
    let find = |id: u32| objects.iter().find(|object| object.id == id);
    let Some(object) = find(id) else {
        if !route.nexthops.is_empty() {
            return Ok((route.nexthops.to_vec(), vec![route.evidence]));
        }
        let what = format!("{}/nexthop.txt has no nexthop object {id}, which a route names", netns.dir);
        return Err(Unusable::Unknown(Unknown::missing(what, vec![route.evidence])));
    };
    let mut because = vec![route.evidence, object.evidence];
    if object.blackhole {
        return Err(Unusable::Blackhole);
    }
    if !object.unmodelled.is_empty() {
        let what = format!("nexthop object {id} has options that are not modelled: {}", object.unmodelled.join(" "));
        return Err(Unusable::Unknown(Unknown::not_modelled(what, because)));
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
