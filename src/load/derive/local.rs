//! The local table, where a route file holds the main table alone: what the kernel makes of each address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::evidence::Evidence;
use crate::net::{Family, IfName, TableId};
use crate::snapshot::{Addr, LinkKind, Netns, NextHop, Route, RouteScope, RouteType, Routes};

/// The metric of the kernel's IPv6 routes to networks (`IP6_RT_PRIO_ADDRCONF`).
const PRIO_ADDRCONF: u32 = 256;

/// Adds the rows of the local table to files that hold the main table alone.
pub(super) fn complete(netns: &mut Netns) {
    if let Some(routes) = netns.routes.take() {
        netns.routes = Some(completed(netns, routes, inet));
    }
    if let Some(routes) = netns.routes6.take() {
        netns.routes6 = Some(completed(netns, routes, inet6));
    }
}

fn completed(netns: &Netns, routes: Routes, rows: impl Fn(&Netns) -> Vec<Route>) -> Routes {
    let has_local = routes.rows().iter().any(|route| route.table == TableId::LOCAL);
    if routes.all_tables() || has_local || netns.addrs.is_none() {
        return routes;
    }
    let mut all = routes.into_rows();
    for row in rows(netns) {
        // An address and its broadcast can be told twice; the kernel keeps one (`fib_table_insert`).
        let known = |other: &Route| {
            (other.table, other.kind, other.dst, other.prefsrc) == (row.table, row.kind, row.dst, row.prefsrc)
                && other.nexthops.first().map(|hop| &hop.dev) == row.nexthops.first().map(|hop| &hop.dev)
        };
        if !all.iter().any(known) {
            all.push(row);
        }
    }
    Routes::new(all, false)
}

/// A device as far as the link file tells. Where it is missing, a device that has an address is taken to be up.
struct Dev<'a> {
    name: &'a IfName,
    up: bool,
    carrier: bool,
    loopback: bool,
}

impl<'a> Dev<'a> {
    fn of(netns: &Netns, name: &'a IfName) -> Self {
        match netns.link(name) {
            Some(link) => Self { name, up: link.up, carrier: link.carrier, loopback: link.kind == LinkKind::Loopback },
            None => Self { name, up: true, carrier: true, loopback: *name == "lo" },
        }
    }

    fn row(&self, kind: RouteType, dst: IpNet, evidence: Evidence) -> Route {
        let family = Family::of(dst.addr());
        Route {
            table: TableId::LOCAL,
            kind,
            dst,
            from: None,
            tos: 0,
            metric: 0,
            protocol: Some("kernel".into()),
            scope: match (family, kind) {
                (Family::Inet6, _) => RouteScope::GLOBAL,
                (Family::Inet, RouteType::Local) => RouteScope::HOST,
                (Family::Inet, _) => RouteScope::LINK,
            },
            prefsrc: None,
            mtu: None,
            mtu_locked: false,
            nexthops: vec![self.hop(kind, evidence)].into(),
            nhid: None,
            realms: None,
            unmodelled: Vec::new(),
            evidence,
        }
    }

    fn hop(&self, kind: RouteType, evidence: Evidence) -> NextHop {
        NextHop {
            via: None,
            dev: Some(self.name.clone()),
            weight: 1,
            onlink: false,
            dead: false,
            linkdown: !self.carrier && kind != RouteType::Local,
            encap: None,
            evidence,
        }
    }
}

/// What `fib_add_ifaddr` of `net/ipv4/fib_frontend.c` makes of every IPv4 address.
fn inet(netns: &Netns) -> Vec<Route> {
    let mut rows = Vec::new();
    for addr in netns.addrs.iter().flatten() {
        if let IpAddr::V4(own) = addr.address {
            add_inet(&mut rows, netns, addr, own);
        }
    }
    rows
}

fn add_inet(rows: &mut Vec<Route>, netns: &Netns, addr: &Addr, own: Ipv4Addr) {
    let dev = Dev::of(netns, &addr.dev);
    let Some(net) = network(addr, own) else { return };
    let source = primary(netns, addr, net).unwrap_or(addr.address);
    let mut add = |kind, dst: Ipv4Net| {
        rows.push(Route { prefsrc: Some(source), ..dev.row(kind, IpNet::V4(dst), addr.evidence) });
    };
    // The address itself stays local even while its device is down.
    add(RouteType::Local, Ipv4Net::from(own));
    if !dev.up {
        return;
    }
    if let Some(IpAddr::V4(broadcast)) =
        addr.broadcast.filter(|broadcast| *broadcast != IpAddr::V4(Ipv4Addr::BROADCAST))
    {
        add(RouteType::Broadcast, Ipv4Net::from(broadcast));
    }
    let zeronet = net.network().octets()[0] == 0;
    if zeronet || addr.secondary || (net.network() == own && net.prefix_len() == 32) {
        return;
    }
    if dev.loopback && !addr.noprefixroute {
        add(RouteType::Local, net);
    }
    if net.prefix_len() < 31 {
        add(RouteType::Broadcast, Ipv4Net::from(net.broadcast()));
    }
}

/// The network of an address; on a point-to-point device that of its peer.
fn network(addr: &Addr, own: Ipv4Addr) -> Option<Ipv4Net> {
    let address = match addr.peer {
        Some(IpAddr::V4(peer)) => peer,
        _ => own,
    };
    Ipv4Net::new(address, addr.prefix_len).ok().map(|net| net.trunc())
}

/// The primary address of a secondary one's network.
fn primary(netns: &Netns, addr: &Addr, net: Ipv4Net) -> Option<IpAddr> {
    if !addr.secondary {
        return None;
    }
    let same = |other: &&Addr| match other.address {
        IpAddr::V4(own) => !other.secondary && network(other, own) == Some(net),
        IpAddr::V6(_) => false,
    };
    netns.addrs_of(&addr.dev).find(same).map(|primary| primary.address)
}

/// What `net/ipv6/addrconf.c` makes of every IPv6 address: itself, the routers' anycast address of its network where
/// the device forwards (`addrconf_join_anycast`), and multicast on every device that is up (`addrconf_add_mroute`).
fn inet6(netns: &Netns) -> Vec<Route> {
    let mut rows = Vec::new();
    for addr in netns.addrs.iter().flatten().filter(|addr| !addr.tentative) {
        if let IpAddr::V6(own) = addr.address {
            add_inet6(&mut rows, netns, addr, own);
        }
    }
    rows
}

fn add_inet6(rows: &mut Vec<Route>, netns: &Netns, addr: &Addr, own: Ipv6Addr) {
    let dev = Dev::of(netns, &addr.dev);
    if !dev.up {
        return;
    }
    rows.push(dev.row(RouteType::Local, IpNet::from(addr.address), addr.evidence));
    if dev.loopback {
        return;
    }
    let forwarding = netns.sysctls.as_ref().and_then(|sysctls| sysctls.conf(Family::Inet6, dev.name, "forwarding"));
    let net = Ipv6Net::new(own, addr.prefix_len).map(|net| net.trunc());
    if let (Some((1.., _)), Ok(net)) = (forwarding, net)
        && net.prefix_len() < 127
        && !net.network().is_unspecified()
    {
        rows.push(dev.row(RouteType::Anycast, IpNet::V6(Ipv6Net::from(net.network())), addr.evidence));
    }
    if let Ok(multicast) = Ipv6Net::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8) {
        let row = dev.row(RouteType::Multicast, IpNet::V6(multicast), addr.evidence);
        rows.push(Route { metric: PRIO_ADDRCONF, ..row });
    }
}
