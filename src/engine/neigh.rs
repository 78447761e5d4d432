//! Neighbours: the next hop's link address, from the table or from whoever owns the address on the link.
//!
//! Follows `net/core/neighbour.c`, `net/ipv4/arp.c` and `net/ipv6/ndisc.c`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, MacAddr};
use crate::snapshot::{Addr, Link, LinkKind, Neigh, NeighState, Netns, NetnsId, NextHop, RouteScope, Snapshot};
use crate::trace::{Decision, EndCause, Reason};

use super::address;
use super::arp;
use super::end::{End, Next, Stage};
use super::fib_table;
use super::link::{self, Reach};
use super::ndisc::{self, Unheard};
use super::obstacle;
use super::route::Dst;
use super::skb::{DevRef, NextHopOnLink, Sender};
use super::sysctl;
use super::underlay;
use super::unread;
use super::walk::{Walk, Why};

/// Who sends what comes in by a device: the neighbour that has the source address there, if the snapshot's table knows
/// its link address. A bridge has the neighbours of its ports.
pub(super) fn sender(snapshot: &Snapshot, netns: NetnsId, device: &IfName, source: IpAddr) -> Sender {
    let namespace = snapshot.netns(netns);
    let dev = namespace.link(device).and_then(|link| link.master.as_ref()).unwrap_or(device);
    let is_it = |neigh: &&Neigh| neigh.dev == *dev && neigh.address == source && neigh.state.is_valid() && !neigh.proxy;
    let known = namespace.neighs.iter().flatten().filter(is_it);
    let mut known = known.filter_map(|neigh| Some(Sender::Neighbour(neigh.lladdr?, source, neigh.evidence)));
    known.next().unwrap_or(Sender::Unknown)
}

/// Gives the frame its addresses and hands it to the device (`ip_finish_output2`, `neigh_resolve_output`).
pub(super) fn neigh_output(walk: &mut Walk, dst: &Dst) -> Stage<Next> {
    let address = dst.via.unwrap_or(walk.packet().ip.destination);
    resolve(walk, &dst.dev, address, dst.via.is_some(), None)?;
    Ok(Next::Xmit(dst.dev.clone()))
}

/// Finds the link address of a next hop on a device and records it. The frame's source is the device's own address
/// unless one is given.
pub(super) fn resolve(
    walk: &mut Walk,
    dev: &IfName,
    address: IpAddr,
    is_gateway: bool,
    source: Option<MacAddr>,
) -> Stage<()> {
    let netns = walk.netns();
    walk.skb.next_hop = Some(NextHopOnLink { address, owner: None });
    let link = netns.link(dev);
    let bare = |link: &Link| link.noarp || matches!(link.kind, LinkKind::Tun { tap: false });
    if link.is_some_and(|link| link.lladdr.is_none() && bare(link)) {
        return Ok(());
    }
    let row = fib_table::neigh(netns, address, Some(dev));
    let source = source.or(link.and_then(|link| link.lladdr));
    let known = |lladdr: MacAddr, state: NeighState| Decision::Neighbor {
        address,
        device: dev.clone(),
        lladdr: Some(lladdr),
        state: Some(state.as_str()),
        assumed: false,
        source,
    };
    // Whoever asked has told its link address, which replaces what the table has, unless that is for ever.
    let told = walk.tracker.has_heard(walk.netns_id(), dev, address);
    if let Some(Neigh { lladdr: Some(lladdr), state, evidence, .. }) = row
        && state.is_valid()
        && (!told || matches!(state, NeighState::Permanent | NeighState::Noarp))
    {
        walk.take(known(*lladdr, *state), [*evidence]);
        return Ok(());
    }
    if let Some(link) = link.filter(|link| link.noarp) {
        // Every neighbour is taken to have the device's own address (`arp_constructor`, `ndisc_constructor`).
        let lladdr = link.lladdr.unwrap_or(MacAddr::ZERO);
        walk.take(known(lladdr, NeighState::Noarp), [link.evidence]);
        return Ok(());
    }
    if row.is_none() {
        unread::doubt_neigh(walk, dev, address);
    }
    let hop = Hop { dev, address, is_gateway, source };
    if let Some(link) = link.filter(|link| !link.up || !link.carrier) {
        // The question goes out no more than the packet would.
        let what = if link.up { "has no carrier" } else { "is down" };
        return Err(fail(walk, &hop, row, vec![link.evidence]).detail(format!("{dev} {what}")));
    }
    let reach = Reach::from(walk.snapshot, walk.netns_id(), dev);
    let mut owner = owner_on_link(walk, dev, address, &reach);
    if owner.is_none() {
        // Where a bridge drops the question for its VLAN, it drops the packet too, which tells more.
        let reach = Reach::through_vlans(walk.snapshot, walk.netns_id(), dev);
        owner = owner_on_link(walk, dev, address, &reach);
    }
    let owner = owner.or_else(|| assumed_owner(walk.snapshot, walk.netns_id(), dev, address));
    let assumed = link.is_none();
    if let Some(owner) = owner {
        if !assumed && !walk.tracker.has_heard(walk.netns_id(), dev, address) {
            if let Err(unheard) = ask(walk, dev, address, &owner) {
                return Err(unheard_end(walk, &hop, row, unheard));
            }
            walk.tracker.reached.push((walk.netns_id(), dev.clone(), address));
        }
        answered(walk, &hop, owner);
        return Ok(());
    }
    if let Some(proxy) = proxy(walk, &hop, &reach)? {
        answered(walk, &hop, proxy);
        return Ok(());
    }
    unanswered(walk, &hop, row, &reach)
}

/// The stack on the link that has an address. Where several have it, whose answer comes first is not known.
fn owner_on_link(walk: &mut Walk, dev: &IfName, address: IpAddr, reach: &Reach) -> Option<DevRef> {
    let me = walk.netns_id();
    let hears = |netns: &Netns, at: &IfName| netns.link(at).is_none_or(|link| link.up && link.carrier);
    let has = |(netns, at): &&DevRef| {
        let tables = walk.snapshot.netns(*netns);
        has(tables, at, address) && hears(tables, at)
    };
    let mut owners: Vec<DevRef> = reach.stacks.iter().filter(has).cloned().collect();
    if owners.len() > 1 && address.is_ipv4() && !walk.tracker.has_heard(me, dev, address) {
        let sender = asks_from(walk, dev);
        let mut answers = |owner: &DevRef| arp::answers_arp(walk, owner, sender, address).is_ok();
        let answers: Vec<bool> = owners.iter().map(&mut answers).collect();
        if answers.contains(&true) {
            let mut answers = answers.into_iter();
            owners.retain(|_| answers.next().unwrap_or(true));
        }
    }
    if owners.len() < 2 {
        return owners.pop();
    }
    let name = |(netns, at): &DevRef| {
        let tables = walk.snapshot.netns(*netns);
        (None, format!("{at} of {}", tables.dir))
    };
    let ways = owners.iter().map(name).collect();
    let row = |(netns, _): &DevRef| address::local_address(walk.snapshot.netns(*netns), address);
    let what = format!("several on the link of {dev} have {address}, and which of them answers first is not known");
    walk.gap(what.clone(), owners.iter().filter_map(row).collect::<Vec<_>>());
    let why = Why { what, evidence: None, gap: false, column: None };
    let way = walk.choose(why, ways);
    (way < owners.len()).then(|| owners.swap_remove(way))
}

/// Who answers for an address that it doesn't have itself: in IPv4 a router that is set to (`proxy_arp`); in IPv6 one
/// with an entry for the address (`ip neigh show proxy`), which no snapshot holds.
fn proxy(walk: &mut Walk, hop: &Hop, reach: &Reach) -> Stage<Option<DevRef>> {
    let me = (walk.netns_id(), hop.dev.clone());
    let others: Vec<DevRef> = reach.stacks.iter().filter(|stack| **stack != me).cloned().collect();
    if hop.address.is_ipv4() {
        let sender = asks_from(walk, hop.dev);
        return Ok(others.into_iter().find(|stack| arp::proxies_arp(walk, stack, sender, hop.address)));
    }
    let may_proxy = |(netns, dev): &DevRef| {
        let word = |dev: &IfName| sysctl::device(walk.snapshot.netns(*netns), Family::Inet6, dev, "proxy_ndp");
        [word(&IfName::new("all")), word(dev)].into_iter().flatten().find(|(value, _)| *value != 0)
    };
    let Some((_, line)) = others.iter().find_map(may_proxy) else { return Ok(None) };
    let what = format!("whether proxy_ndp answers for {}: `ip -6 neigh show proxy` is not collected", hop.address);
    Err(End::undetermined(Reason::MissingTable, what).because([line]))
}

/// Whether a stack that a request comes to by a device takes the address for its own: in IPv4 that of any device, or
/// one that a local route names (`arp_process` in `net/ipv4/arp.c` asks for `RTN_LOCAL`); in IPv6 that of this one
/// alone, whose networks' first addresses are a router's anycast ones (`ndisc_recv_ns`; `addrconf_join_anycast` in
/// `net/ipv6/addrconf.c`).
fn has(netns: &Netns, dev: &IfName, address: IpAddr) -> bool {
    let IpAddr::V6(v6) = address else { return address::is_local_address(netns, address) };
    let routes = sysctl::device(netns, Family::Inet6, dev, "forwarding").is_some_and(|(value, _)| value != 0);
    let anycast = |own: &Addr| {
        let net = IpNet::new(own.address, own.prefix_len).ok().map(|net| net.network());
        routes && own.prefix_len < 127 && net == Some(IpAddr::V6(v6))
    };
    netns.addrs_of(dev).any(|own| own.address == address || anycast(own))
}

/// Asks the owner of an address. Whoever is asked learns of who asks (`arp_process`, `ndisc_recv_ns`), and will not ask
/// in its turn.
fn ask(walk: &mut Walk, dev: &IfName, address: IpAddr, owner: &DevRef) -> Result<(), Unheard> {
    if let IpAddr::V6(v6) = address {
        return ndisc::solicit(walk, dev, v6, owner);
    }
    let sender = asks_from(walk, dev);
    let bridge = walk.snapshot.topology.veth_peer(owner.0, &owner.1).map(|peer| peer.netns);
    let mut asked = vec![walk.netns_id(), owner.0];
    asked.extend(bridge);
    asked.dedup();
    for netns in asked {
        arp::doubt_rules(walk, netns);
    }
    if let Err(because) = arp::answers_arp(walk, owner, sender, address) {
        let cause = EndCause::RequestIgnored { device: owner.1.clone(), address };
        return Err(Unheard::Silent { cause, because });
    }
    walk.tracker.heard.push((owner.0, owner.1.clone(), sender));
    Ok(())
}

/// The address that a request is sent from: the packet's own source where the namespace has it, else one of the
/// device's (`arp_solicit` with `arp_announce` 0).
fn asks_from(walk: &Walk, dev: &IfName) -> IpAddr {
    let source = walk.packet().ip.source;
    let netns = walk.netns();
    if address::is_local_address(netns, source) {
        return source;
    }
    let next_hop = walk.skb.next_hop.as_ref().map(|next_hop| next_hop.address);
    address::inet_select_addr(netns, dev, next_hop, RouteScope::LINK).unwrap_or(source)
}

/// Where links were not collected: the one device of the node that has the gateway's address.
fn assumed_owner(snapshot: &Snapshot, netns: NetnsId, dev: &IfName, address: IpAddr) -> Option<DevRef> {
    let peer = snapshot.topology.assumed_peer(netns, dev)?;
    snapshot.netns(peer.netns).addr(address)?;
    Some((peer.netns, peer.link))
}

/// The device of the node that a pod's device seems to hang on, with the row that says so.
fn joined(walk: &Walk, dev: &IfName) -> Option<(IfName, Option<Evidence>)> {
    let peer = walk.snapshot.topology.assumed_peer(walk.netns_id(), dev)?;
    let line = walk.snapshot.netns(peer.netns).addrs_of(&peer.link).next().map(|addr| addr.evidence);
    Some((peer.link, line))
}

/// The owner of the address answers, and the bridges between learn where it is.
fn answered(walk: &mut Walk, hop: &Hop, owner: DevRef) {
    let Hop { dev, address, source, .. } = *hop;
    let owner_netns = walk.snapshot.netns(owner.0);
    let link = owner_netns.link(&owner.1);
    let lladdr = link.and_then(|link| link.lladdr);
    let row = address::local_address(owner_netns, address)
        .or_else(|| sysctl::max_of_all(owner_netns, &owner.1, "proxy_arp").map(|(_, line)| line));
    // A device of which no link file tells may be joined to the owner's in any way.
    let unlisted = [walk.netns(), owner_netns].into_iter().find(|netns| netns.links.is_none());
    let assumed = link.is_none() || walk.netns().link(dev).is_none();
    if assumed {
        let lacks = unlisted.unwrap_or(owner_netns).lacks("link.txt");
        walk.doubt(format!("{lacks}: {dev} is taken to be joined to {}", owner.1), None);
    }
    walk.tracker.resolved.extend(lladdr);
    walk.skb.next_hop = Some(NextHopOnLink { address, owner: Some(owner) });
    let decision = Decision::Neighbor { address, device: dev.clone(), lladdr, state: None, assumed, source };
    walk.take(decision, row.into_iter().chain(link.map(|link| link.evidence)));
}

/// A next hop that is looked for.
struct Hop<'a> {
    dev: &'a IfName,
    address: IpAddr,
    is_gateway: bool,
    source: Option<MacAddr>,
}

/// Nobody in the snapshot answers: a gateway of the underlay is taken to be there, unless it were a node of the
/// snapshot, which would have answered; anything else fails.
fn unanswered(walk: &mut Walk, hop: &Hop, row: Option<&Neigh>, reach: &Reach) -> Stage<()> {
    let Hop { dev, address, is_gateway, source } = *hop;
    let failed = row.filter(|row| row.state == NeighState::Failed);
    let is_router = (is_gateway || is_some_gateway(walk.netns(), dev, address))
        && failed.is_none()
        && walk.snapshot.present_node(address).is_none()
        && walk.snapshot.owner_of(address).is_empty();
    let expected = is_router || walk.outside.contains(&address);
    let because = row.map(|row| row.evidence);
    if reach.underlay && expected {
        if let IpAddr::V6(v6) = address
            && let Err(unheard) = ndisc::solicit_outside(walk, dev, v6)
        {
            return Err(unheard_end(walk, hop, row, unheard));
        }
        let state = row.map(|row| row.state.as_str());
        let device = dev.clone();
        let because = because.map_or_else(|| walk.lines_of_route(), |row| vec![row]);
        walk.take(Decision::Neighbor { address, device, lladdr: None, state, assumed: true, source }, because);
        return Ok(());
    }
    if let Some((reason, what)) = missing(walk, address, dev, reach) {
        note_beside(walk, dev, address);
        let joined = joined(walk, dev).filter(|_| walk.netns().links.is_none());
        let (what, line) = match joined {
            Some((bridge, line)) => (format!("{what}; its gateway's address is that of {bridge}"), line),
            None => (what, None),
        };
        return Err(End::undetermined(reason, what).because(because).because(line));
    }
    if reach.underlay
        && failed.is_none()
        && let Some(node) = walk.snapshot.absent_node(address)
    {
        let what = format!("the snapshot has no nodes/{}/host, whose address {address} is", node.name);
        return Err(End::undetermined(Reason::MissingTable, what).because([node.evidence]).because(because));
    }
    let tunnelled = walk.packet().inner.is_some() && walk.packet().ip.destination == address;
    let alone = walk.snapshot.is_of_one_node() && walk.snapshot.may_be_a_missing_node(address);
    if reach.underlay && failed.is_none() && tunnelled && alone {
        let end = End::undetermined(Reason::MissingTable, underlay::tunnel_peer(address));
        return Err(end.because(underlay::peer_lines(walk)).because(because));
    }
    let netns = walk.netns();
    if netns.neighs.is_none() {
        let what = format!("{}: who {address} is on {dev} is not known", netns.lacks("neigh.txt"));
        return Err(End::undetermined(Reason::MissingTable, what));
    }
    let mut detail = format!("nobody answers for {address} on {dev}");
    let from = (walk.netns_id(), dev.clone());
    let obstacle = obstacle::between(walk.snapshot, &from, &walk.snapshot.owner_of(address));
    let lines = obstacle.map_or_else(Vec::new, |obstacle| {
        detail = format!("{detail}: {}", obstacle.what);
        obstacle.lines
    });
    Err(fail(walk, hop, row, lines).detail(detail))
}

/// Whether some route of the namespace leads by way of an address on a device's link.
fn is_some_gateway(netns: &Netns, dev: &IfName, address: IpAddr) -> bool {
    let routes = if address.is_ipv4() { &netns.routes } else { &netns.routes6 };
    let by = |way: &NextHop| way.via == Some(address) && way.dev.as_ref() == Some(dev);
    routes.as_ref().is_some_and(|routes| routes.rows().iter().any(|route| route.nexthops.iter().any(by)))
}

/// A neighbour that is there and can't be heard; or nobody knows whether it can.
fn unheard_end(walk: &mut Walk, hop: &Hop, row: Option<&Neigh>, unheard: Unheard) -> Box<End> {
    match unheard {
        Unheard::Silent { cause, because } => fail(walk, hop, row, because).cause(cause),
        Unheard::Unknown(end) => end,
    }
}

/// The next hop can't be resolved (`arp_error_report`, `ndisc_error_report`).
fn fail(walk: &mut Walk, hop: &Hop, row: Option<&Neigh>, because: Vec<Evidence>) -> Box<End> {
    let because: Vec<Evidence> = row.map(|row| row.evidence).into_iter().chain(because).collect();
    let decision = Decision::Neighbor {
        address: hop.address,
        device: hop.dev.clone(),
        lladdr: None,
        state: row.map(|row| row.state.as_str()),
        assumed: false,
        source: hop.source,
    };
    walk.take(decision, because.clone());
    let (kind, code) = if walk.packet().family() == Family::Inet { (3, 1) } else { (1, 3) };
    End::icmp(Reason::NeighborFailed, kind, code).because(because)
}

/// What else would be wanted for certainty, where not even the device is known.
fn note_beside(walk: &mut Walk, dev: &IfName, address: IpAddr) {
    let netns = walk.netns();
    if netns.links.is_none() && netns.neighs.is_none() {
        walk.gap(format!("{}: who {address} is on {dev} is not known", netns.lacks("neigh.txt")), None);
    }
    if netns.links.is_none() && netns.fdb.is_none() {
        walk.gap(
            format!("{}: where {dev} sends, if it is a bridge or a tunnel, is not known", netns.lacks("fdb.txt")),
            None,
        );
    }
}

/// What of the link is not in the snapshot, where the owner could be.
fn missing(walk: &Walk, address: IpAddr, dev: &IfName, reach: &Reach) -> Option<(Reason, String)> {
    let netns = walk.netns();
    if netns.links.is_none() {
        return Some((Reason::MissingTable, format!("{}: what {dev} is, is not known", netns.lacks("link.txt"))));
    }
    let hidden = reach.hidden.first()?;
    if let Some(LinkKind::Other(kind)) = netns.link(hidden).map(|link| &link.kind) {
        return Some((Reason::NotModelled, format!("{hidden} is a device of kind {kind}, which is not modelled")));
    }
    Some((Reason::MissingTable, link::other_end(walk.snapshot, netns, hidden, address)))
}
