//! Addresses of the namespace itself, and which of them a packet gets as its source.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, TableId};
use crate::snapshot::{Addr, AddrScope, Netns, RouteScope, RouteType};

use super::fib;

/// Whether an address is one of the namespace's own (`__ip_dev_find`, `ipv6_chk_addr`).
pub(super) fn is_local_address(netns: &Netns, address: IpAddr) -> bool {
    local_address(netns, address).is_some()
}

/// The row that makes an address one of the namespace's own: the address itself, or a local route.
pub(super) fn local_address(netns: &Netns, address: IpAddr) -> Option<Evidence> {
    let local_route = || {
        let route = fib::routes(netns, Family::of(address))?.covering(TableId::LOCAL, address).next()?;
        (route.kind == RouteType::Local).then_some(route.evidence)
    };
    netns.addr(address).map(|addr| addr.evidence).or_else(local_route)
}

/// The source address for packets that leave by a device: `inet_select_addr` in `net/ipv4/devinet.c` for IPv4,
/// `ipv6_dev_get_saddr` in `net/ipv6/addrconf.c` for IPv6.
pub(super) fn select_source(
    netns: &Netns,
    dev: &IfName,
    via: Option<IpAddr>,
    destination: IpAddr,
    scope: RouteScope,
) -> Option<IpAddr> {
    match destination {
        IpAddr::V4(_) => inet_select_addr(netns, dev, via.filter(IpAddr::is_ipv4), scope),
        IpAddr::V6(_) => ipv6_dev_get_saddr(netns, dev, destination),
    }
}

/// The first address of the device that is on the gateway's network, else the first; else one of another device.
pub(super) fn inet_select_addr(
    netns: &Netns,
    dev: &IfName,
    gateway: Option<IpAddr>,
    scope: RouteScope,
) -> Option<IpAddr> {
    let wide_enough = |addr: &&Addr| addr.address.is_ipv4() && addr.scope.0 <= scope.0;
    let mut first = None;
    for addr in netns.addrs_of(dev).filter(wide_enough).filter(|addr| !addr.secondary) {
        if gateway.is_none_or(|gateway| same_network(addr, gateway)) {
            return Some(addr.address);
        }
        first = first.or(Some(addr.address));
    }
    // Without one of its own the device borrows another's, in the order of the interface indices.
    let borrowed = || {
        netns
            .addrs
            .iter()
            .flatten()
            .filter(wide_enough)
            .find(|addr| !addr.secondary && addr.scope != AddrScope::LINK)
            .map(|addr| addr.address)
    };
    first.or_else(borrowed)
}

/// Whether an address is in the network that a device's address spans.
pub(super) fn same_network(addr: &Addr, other: IpAddr) -> bool {
    ipnet::IpNet::new(addr.peer.unwrap_or(addr.address), addr.prefix_len).is_ok_and(|network| network.contains(&other))
}

/// The best source by the rules of RFC 6724 section 5 that a snapshot can tell apart.
pub(super) fn ipv6_dev_get_saddr(netns: &Netns, dev: &IfName, destination: IpAddr) -> Option<IpAddr> {
    let usable = |addr: &&Addr| {
        addr.address.is_ipv6()
            && !addr.tentative
            && !addr.address.is_multicast()
            // A link-local source only counts on its own link (`__ipv6_dev_get_saddr` skips other devices for these).
            && (scope_of(addr.address) > 2 || addr.dev == *dev || addr.address.is_loopback())
    };
    let score = |addr: &Addr| {
        let scope = scope_of(addr.address);
        let wanted = scope_of(destination);
        (
            addr.address == destination,
            // Rule 2: the smallest scope that still reaches, else the largest there is.
            if scope >= wanted { 128 - i32::from(scope) } else { i32::from(scope) - 128 },
            !addr.deprecated,
            addr.dev == *dev,
            label(addr.address) == label(destination),
            common_prefix(addr.address, destination).min(addr.prefix_len),
        )
    };
    let mut best: Option<&Addr> = None;
    for addr in netns.addrs.iter().flatten().filter(usable) {
        if best.is_none_or(|best| score(addr) > score(best)) {
            best = Some(addr);
        }
    }
    best.map(|addr| addr.address)
}

/// The scope of an IPv6 address as in RFC 4007: 1 interface, 2 link, 5 site, 14 global.
fn scope_of(address: IpAddr) -> u8 {
    let IpAddr::V6(v6) = address else { return 14 };
    if v6.is_loopback() || v6.is_unicast_link_local() {
        2
    } else if v6.is_multicast() {
        v6.octets()[1] & 0xf
    } else {
        14
    }
}

/// The labels of RFC 6724 section 2.1, as in `net/ipv6/addrlabel.c`.
fn label(address: IpAddr) -> u8 {
    let IpAddr::V6(v6) = address else { return 1 };
    let [first, second, ..] = v6.segments();
    if v6.is_loopback() {
        0
    } else if v6.to_ipv4_mapped().is_some() {
        4
    } else if first == 0x2002 {
        2
    } else if first == 0x2001 && second == 0 {
        6
    } else if first == 0x2001 && second & 0xfff0 == 0x10 {
        7
    } else if first & 0xfe00 == 0xfc00 {
        5
    } else if v6.to_bits() >> 32 == 0 {
        3
    } else {
        1
    }
}

fn common_prefix(a: IpAddr, b: IpAddr) -> u8 {
    match (a, b) {
        (IpAddr::V6(a), IpAddr::V6(b)) => u8::try_from((a.to_bits() ^ b.to_bits()).leading_zeros()).unwrap_or(128),
        _ => 0,
    }
}
