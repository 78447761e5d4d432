//! Addresses, where `addr.txt` is missing: the kernel's own routes tell them.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::Gap;
use crate::net::{IfName, TableId};
use crate::snapshot::{Addr, AddrScope, Netns, Route, RouteScope, RouteType, Routes};

/// The addresses for which the kernel made routes; `None` where no route tells any.
pub(super) fn from_routes(netns: &Netns, gaps: &mut Vec<Gap>) -> Option<Vec<Addr>> {
    let rows = || [&netns.routes, &netns.routes6].into_iter().flatten().flat_map(Routes::rows);
    let connected: Vec<&Route> = rows().filter(|route| is_connected(route)).collect();
    let mut addrs: Vec<Addr> = Vec::new();
    for route in rows().filter(|route| is_own(route)) {
        let net = connected.iter().find(|net| dev(net) == dev(route) && holds(net, route)).copied();
        let Some(addr) = address(route.dst.addr(), route, net.unwrap_or(route)) else { continue };
        add(&mut addrs, addr);
    }
    // A file of the main table alone has no local rows, but says which address each connected route stands for.
    for route in &connected {
        if let Some(addr) = route.prefsrc.and_then(|own| address(own, route, route)) {
            add(&mut addrs, addr);
        }
    }
    if addrs.is_empty() {
        return None;
    }
    let what = format!("{}: the addresses are those that the kernel's routes tell", netns.lacks("addr.txt"));
    gaps.push(Gap::new(what, addrs.iter().map(|addr| addr.evidence).collect()));
    Some(addrs)
}

fn add(addrs: &mut Vec<Addr>, addr: Addr) {
    if !addrs.iter().any(|known| known.address == addr.address && known.dev == addr.dev) {
        addrs.push(addr);
    }
}

fn dev(route: &Route) -> Option<&IfName> {
    route.nexthops.first()?.dev.as_ref()
}

fn is_kernel(route: &Route) -> bool {
    route.protocol.as_deref() == Some("kernel")
}

/// The route to a device's own network (`fib_add_ifaddr` of `net/ipv4/fib_frontend.c`, `addrconf_prefix_route` of
/// `net/ipv6/addrconf.c`), or `127.0.0.0/8`.
fn is_connected(route: &Route) -> bool {
    let gateway = route.nexthops.iter().any(|hop| hop.via.is_some());
    let scope = route.dst.addr().is_ipv6() || route.scope == RouteScope::LINK;
    let unicast = route.kind == RouteType::Unicast && scope && !gateway;
    is_kernel(route) && (unicast || (route.kind == RouteType::Local && !is_single(&route.dst)))
}

/// The row of the local table for one address.
fn is_own(route: &Route) -> bool {
    is_kernel(route) && route.kind == RouteType::Local && route.table == TableId::LOCAL && is_single(&route.dst)
}

fn is_single(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// Whether an own address is in a connected network, or is the local end of a point-to-point one.
fn holds(net: &Route, own: &Route) -> bool {
    net.dst.contains(&own.dst.addr()) || net.prefsrc == Some(own.dst.addr())
}

fn address(address: IpAddr, row: &Route, net: &Route) -> Option<Addr> {
    Some(Addr {
        dev: dev(row)?.clone(),
        address,
        prefix_len: net.dst.prefix_len(),
        peer: (!net.dst.contains(&address)).then(|| net.dst.addr()),
        broadcast: None,
        scope: scope(address),
        secondary: row.prefsrc.is_some_and(|primary| primary != address),
        deprecated: false,
        tentative: false,
        noprefixroute: false,
        evidence: row.evidence,
    })
}

fn scope(address: IpAddr) -> AddrScope {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => AddrScope::HOST,
        IpAddr::V6(v6) if v6.is_loopback() => AddrScope::HOST,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => AddrScope::LINK,
        _ => AddrScope::GLOBAL,
    }
}
