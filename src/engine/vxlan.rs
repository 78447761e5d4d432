//! VXLAN devices: into the tunnel, and out of it.
//!
//! Follows `drivers/net/vxlan/vxlan_core.c`. The outer packet is a packet of its own, with its own route lookups and
//! rules.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Encapsulation, Family, IfName, Ip, MacAddr, Packet, Transport};
use crate::snapshot::{FdbEntry, Link, LinkKind, RouteType, Vxlan, VxlanTtl};
use crate::trace::{Decision, EndCause, Reason};

use super::address;
use super::checksum::{self, Checksum};
use super::conntrack::{self, Nfct, UnknownPort};
use super::end::{End, Next, Stage};
use super::fib::{self, Flow, Lookup};
use super::route::loopback;
use super::route_output::ip_route_output;
use super::skb::CameBack;
use super::sysctl;
use super::unread;
use super::walk::Walk;

/// Bytes of a VXLAN header and an inner Ethernet header.
const VXLAN_AND_ETHERNET: u32 = 8 + 14;
/// So many tunnels may be put one into another while a packet is sent: `IP_TUNNEL_RECURSION_LIMIT` in
/// `include/net/ip_tunnels.h`, less what the tunnel device itself and the first packet count. Before Linux 6.18 only
/// `XMIT_RECURSION_LIMIT` in `net/core/dev.c` ended it, a little later and as silently.
const MOST_NESTED: usize = 3;

/// Bytes of a UDP header.
const UDP: u32 = 8;

/// Puts the tunnel on (`vxlan_xmit`, `vxlan_xmit_one`).
pub(super) fn vxlan_xmit(walk: &mut Walk, link: &Link, settings: &Vxlan) -> Stage<Next> {
    if !settings.unmodelled.is_empty() {
        let what = format!("{} has options that are not modelled: {}", link.name, settings.unmodelled.join(" "));
        return Err(End::undetermined(Reason::NotModelled, what).because([link.evidence]));
    }
    let (entry, vtep) = find_vtep(walk, link)?;
    let local = settings.local.unwrap_or(Family::of(vtep).unspecified());
    let outer = outer_packet(walk, settings, entry, vtep, local);
    let tunnel_port = udp_flow_src_port(walk, outer.ip);
    let via = entry.via.clone();
    let inner_link = walk.packet().link.map_or(MacAddr::ZERO, |link| link.destination);
    walk.take(
        Decision::Fdb {
            device: link.name.clone(),
            lladdr: inner_link,
            port: None,
            vtep: Some(vtep),
            flooded: Vec::new(),
        },
        [entry.evidence],
    );
    let vni = entry.vni.unwrap_or(settings.vni);
    let bounds = source_port_bounds(walk, settings);
    if let Some(next) = encap_bypass_if_local(walk, link, entry, &outer, bounds)? {
        return Ok(next);
    }
    walk.take(
        Decision::Encapsulate { device: link.name.clone(), tunnel: "vxlan", vni: Some(vni), packet: Box::new(outer) },
        [link.evidence],
    );
    walk.skb.inner_unknown_ports.push(walk.skb.unknown_port);
    walk.skb.unknown_port = tunnel_port;
    walk.skb.sport_bounds = Some(bounds);
    walk.skb.checksum = Checksum::Partial;
    route_outer(walk, link, via.as_ref())
}

/// The tunnel packet's route is one to this namespace: the frame goes back into the stack without a tunnel, as one for
/// this host, from the device that listens for such packets (`encap_bypass_if_local` and `vxlan_encap_bypass` in
/// `drivers/net/vxlan/vxlan_core.c`). It still has its route, since the device keeps it (`netif_keep_dst`): what was
/// forwarded is forwarded again, and so is what the stack sent in IPv6 (`ip6_rt_init_dst`), while IPv4 drops that
/// (`rt_dst_alloc`).
fn encap_bypass_if_local(
    walk: &mut Walk,
    link: &Link,
    entry: &FdbEntry,
    outer: &Packet,
    bounds: (u16, u16),
) -> Stage<Option<Next>> {
    let mut flow = Flow::of(outer, loopback());
    (flow.oif, flow.sport_bounds) = (entry.via.clone(), Some(bounds));
    let lines = match fib::fib_lookup_for(walk, walk.netns(), &flow) {
        Lookup::Found(found) if found.route.kind == RouteType::Local => found.because,
        _ => return Ok(None),
    };
    if is_foreign_source(walk, outer) {
        return Ok(None);
    }
    let receiver = vxlan_find_vni(walk, entry, outer).map_err(|end| end.because([entry.evidence]).because(lines))?;
    if walk.skb.iif.is_some() || walk.packet().family() == Family::Inet6 {
        walk.skb.came_back = Some(CameBack { entry: entry.evidence, is_received: false });
        return Ok(Some(Next::Receive(walk.netns_id(), receiver)));
    }
    walk.receive(walk.netns_id(), &receiver, None, [link.evidence]);
    let vtep = outer.ip.destination;
    let cause = EndCause::TunnelToItself { vtep, device: receiver };
    Err(End::dropped(Reason::TunnelLoop).cause(cause).because([link.evidence]))
}

/// The device of this namespace that listens for what the entry makes of a frame (`vxlan_find_vni`). An entry that
/// names a lower device finds none, since no socket is bound to that one (`vxlan_find_sock`).
fn vxlan_find_vni(walk: &Walk, entry: &FdbEntry, outer: &Packet) -> Stage<IfName> {
    let Some(Encapsulation::Vxlan(vni)) = outer.encapsulation else {
        return Err(End::undetermined(Reason::NotModelled, "the tunnel is none of VXLAN"));
    };
    let (vtep, port) = (outer.ip.destination, outer.destination_port());
    let front = format!("the entry points to {vtep}, this node's own address");
    if let Some(via) = &entry.via {
        let detail = format!("{front}, and names {via}, to which no VXLAN device's socket is bound");
        return Err(End::dropped(Reason::NoVtep).detail(detail));
    }
    let links = walk.netns().links.iter().flatten();
    let mut listening = links.filter(|link| listens(link, port, outer.family())).peekable();
    let reason = if listening.peek().is_none() { Reason::NoVtep } else { Reason::VniMismatch };
    let found = listening.find(|link| matches!(&link.kind, LinkKind::Vxlan(settings) if settings.vni == vni));
    found.map(|link| link.name.clone()).ok_or_else(|| {
        let port = port.unwrap_or(0);
        let detail = format!("{front}, where no VXLAN device with network identifier {vni} listens on UDP port {port}");
        End::dropped(reason).detail(detail)
    })
}

/// Whether a device listens on a port of a family.
fn listens(link: &Link, port: Option<u16>, family: Family) -> bool {
    match &link.kind {
        LinkKind::Vxlan(settings) => Some(settings.port) == port && link.up && underlay_family(settings) == family,
        _ => false,
    }
}

/// IPv4 sends nothing from an address that isn't the namespace's own (`ip_route_output_key_hash_rcu`); IPv6 does
/// (`ip6_dst_lookup_tail`).
fn is_foreign_source(walk: &Walk, outer: &Packet) -> bool {
    let source = outer.ip.source;
    source.is_ipv4()
        && !source.is_unspecified()
        && walk.netns().addrs.is_some()
        && !address::is_local_address(walk.netns(), source)
}

/// Which unknown port the tunnel packet is sent from. A hash over ports, or over an IPv6 flow label, is made once and
/// stays with the packet through every tunnel. ICMP in IPv4 has neither: its hash is made of its addresses, the same
/// both ways (`__flow_hash_consistentify` in `net/core/flow_dissector.c`), and forgotten (`skb_clear_hash_if_not_l4` in
/// `iptunnel_xmit`), so that the next one is made of the tunnel packet's ports, and that one stays.
fn udp_flow_src_port(walk: &mut Walk, outer: Ip) -> UnknownPort {
    if let Some(port) = walk.skb.flow_hash {
        return port;
    }
    let Ip { source, destination, .. } = walk.packet().ip;
    if matches!(walk.packet().transport, Transport::Icmp { .. }) && source.is_ipv4() {
        let port = walk.tracker.tunnel_port((source.min(destination), source.max(destination), 0));
        walk.skb.flow_hash = Some(walk.tracker.tunnel_port((outer.source, outer.destination, port)));
        return port;
    }
    let port = walk.tracker.draw_port();
    walk.skb.flow_hash = Some(port);
    port
}

/// Between which ports the outer source port is: the hash is folded into the device's range, or into that of the
/// namespace's ephemeral ports where the device has none, and never reaches the upper end (`udp_flow_src_port` in
/// `include/net/udp.h`).
fn source_port_bounds(walk: &Walk, settings: &Vxlan) -> (u16, u16) {
    let (low, high) = match settings.source_ports {
        Some((low, high)) if low < high => (low, high),
        _ => sysctl::local_port_range(walk.netns()),
    };
    (low, high.saturating_sub(1).max(low))
}

/// Routes the outer packet (`udp_tunnel_dst_lookup`): failures are silent, since they happen inside a device.
fn route_outer(walk: &mut Walk, link: &Link, oif: Option<&IfName>) -> Stage<Next> {
    walk.skb.nfct = Nfct::None;
    walk.skb.dst = None;
    walk.skb.nf_bridge = None;
    walk.skb.iif = None;
    walk.skb.options = None;
    if is_foreign_source(walk, walk.packet()) {
        let source = walk.packet().ip.source;
        let detail = format!("{source}, the local address of {}, is not an address of this namespace", link.name);
        return Err(End::dropped(Reason::NoSource).detail(detail).because([link.evidence]));
    }
    let dst = ip_route_output(walk, oif)?;
    let nested = std::iter::successors(walk.packet().inner.as_deref(), |packet| packet.inner.as_deref()).count();
    if nested > MOST_NESTED {
        let detail = format!("a tunnel packet goes into a tunnel again and again, the last time into {}", link.name);
        return Err(End::dropped(Reason::TunnelLoop).detail(detail).because(dst.because));
    }
    if dst.dev == link.name {
        let detail = format!("the tunnel packet's own route leads into {}", link.name);
        return Err(End::dropped(Reason::TunnelLoop).detail(detail).because(dst.because));
    }
    walk.skb.dst = Some(dst);
    Ok(Next::LocalOut)
}

/// The entry for the frame's destination, or the default one; without either the frame is dropped silently.
fn find_vtep<'s>(walk: &mut Walk<'s>, link: &Link) -> Stage<(&'s FdbEntry, IpAddr)> {
    let netns = walk.netns();
    let Some(fdb) = &netns.fdb else {
        let what = format!("{}: where {} sends is not known", netns.lacks("fdb.txt"), link.name);
        return Err(End::undetermined(Reason::MissingTable, what).because([link.evidence]));
    };
    let lladdr = walk.packet().link.map_or(MacAddr::ZERO, |frame| frame.destination);
    let own = |entry: &&FdbEntry| entry.dev == link.name && entry.dst.is_some();
    let find = |lladdr: MacAddr| fdb.iter().filter(own).find(|entry| entry.lladdr == lladdr);
    let exact = find(lladdr);
    if exact.is_none() {
        let odd = |entry: &&FdbEntry| entry.dev == link.name && entry.lladdr == lladdr && !entry.unmodelled.is_empty();
        if let Some(odd) = fdb.iter().find(odd) {
            let words = odd.unmodelled.join(" ");
            let what = format!("the entry of {} for {lladdr} has options that are not modelled: {words}", link.name);
            return Err(End::undetermined(Reason::NotModelled, what).because([odd.evidence]));
        }
        unread::doubt_fdb(walk, netns, Some(&link.name), lladdr);
    }
    let Some(entry) = exact.or_else(|| find(MacAddr::ZERO)) else {
        if matches!(&link.kind, LinkKind::Vxlan(settings) if settings.learning) {
            let what = format!("{} learns entries from what it receives, which is not modelled", link.name);
            return Err(End::undetermined(Reason::NotModelled, what).because([link.evidence]));
        }
        let detail = format!("{} has no forwarding entry for {lladdr}, and no default one", link.name);
        return Err(End::dropped(Reason::FdbMiss).detail(detail).because([link.evidence]));
    };
    if !entry.unmodelled.is_empty() {
        let what = format!("the entry for {lladdr} has options that are not modelled: {}", entry.unmodelled.join(" "));
        return Err(End::undetermined(Reason::NotModelled, what).because([entry.evidence]));
    }
    let Some(vtep) = entry.dst else {
        return Err(End::undetermined(Reason::MissingTable, "the entry has no address").because([entry.evidence]));
    };
    Ok((entry, vtep))
}

/// The route's hop limit, which is the namespace's default (`ip4_dst_hoplimit`, `ip6_dst_hoplimit`).
fn default_ttl(walk: &Walk, vtep: IpAddr) -> u8 {
    let key = if vtep.is_ipv4() { "net.ipv4.ip_default_ttl" } else { "net.ipv6.conf.all.hop_limit" };
    let value = sysctl::number(walk.netns(), key).and_then(|(value, _)| u8::try_from(value).ok());
    value.filter(|ttl| *ttl > 0).unwrap_or(64)
}

fn outer_packet(walk: &Walk, settings: &Vxlan, entry: &FdbEntry, vtep: IpAddr, local: IpAddr) -> Packet {
    let inner = walk.packet();
    let ttl = match settings.ttl {
        VxlanTtl::Auto => default_ttl(walk, vtep),
        VxlanTtl::Inherit => inner.ip.ttl,
        VxlanTtl::Fixed(ttl) => ttl,
    };
    let tos = if settings.tos_inherit { inner.ip.tos } else { settings.tos.unwrap_or(0) };
    // `ip_tunnel_ecn_encap`: the two congestion bits come from the inner packet, CE as ECT(0).
    let ecn = if inner.ip.tos & 3 == 3 { 2 } else { inner.ip.tos & 3 };
    let header = if vtep.is_ipv4() { 20 } else { 40 };
    let df = vtep.is_ipv6() || settings.df_set || (settings.df_inherit && inner.ip.df);
    let ip = Ip { source: local, destination: vtep, ttl, tos: tos & !3 | ecn, df };
    // The source port is a hash of the inner packet with a secret: nobody can know it.
    let transport = Transport::Udp { source: None, destination: Some(entry.port.unwrap_or(settings.port)) };
    // All tags are in the frame that the tunnel carries.
    let outermost = if inner.tags.is_empty() { 0 } else { 4 };
    let frame = super::bridge::frame_length(walk) + outermost;
    let mut outer = Packet::new(ip, transport, frame + VXLAN_AND_ETHERNET + UDP + header);
    outer.mark = inner.mark;
    outer.encapsulation = Some(Encapsulation::Vxlan(entry.vni.unwrap_or(settings.vni)));
    outer.inner = Some(Box::new(inner.clone()));
    outer
}

/// Whether any VXLAN device of the snapshot uses a port.
fn is_tunnel_port(walk: &Walk, port: Option<u16>) -> bool {
    let links = walk.snapshot.namespaces.iter().flat_map(|netns| netns.links.iter().flatten());
    links.into_iter().any(|link| matches!(&link.kind, LinkKind::Vxlan(settings) if Some(settings.port) == port))
}

/// The family of the socket that a device listens on: IPv6 where an address of its own says so (`VXLAN_F_IPV6`).
fn underlay_family(settings: &Vxlan) -> Family {
    settings.local.or(settings.remote).map_or(Family::Inet, Family::of)
}

/// Takes the tunnel off, where a VXLAN device of the namespace listens on the packet's port (`vxlan_rcv`). `None`
/// where the packet is no tunnel's.
pub(super) fn vxlan_rcv(walk: &mut Walk) -> Stage<Option<Next>> {
    let Some(Encapsulation::Vxlan(vni)) = walk.packet().encapsulation else { return Ok(None) };
    let netns = walk.netns();
    let port = walk.packet().destination_port();
    let Some(links) = &netns.links else {
        let what = format!("{}: whether a tunnel ends here is not known", netns.lacks("link.txt"));
        return Err(End::undetermined(Reason::MissingTable, what));
    };
    let family = walk.packet().family();
    let mut listening = links.iter().filter(|link| listens(link, port, family)).peekable();
    let Some(first) = listening.peek().map(|link| link.kind_evidence) else {
        let detail = format!("no VXLAN device listens on UDP port {}", port.unwrap_or(0));
        // The devices that are there, each with what keeps it from listening: its port, or that it is down.
        let line = |link: &Link| match &link.kind {
            LinkKind::Vxlan(_) if link.up => Some(link.kind_evidence),
            LinkKind::Vxlan(_) => Some(link.evidence),
            _ => None,
        };
        let because: Vec<Evidence> = links.iter().filter_map(line).collect();
        if !is_tunnel_port(walk, port) {
            // A rule has sent the tunnel packet elsewhere: whether some program listens there is not known.
            return Err(End::dropped(Reason::NoVtep).detail(detail).because(because));
        }
        conntrack::nf_reset_ct(walk);
        let (kind, code) = if walk.packet().family() == Family::Inet { (3, 3) } else { (1, 4) };
        return Err(End::icmp(Reason::NoVtep, kind, code).detail(detail).because(because));
    };
    checksum::check(walk, first)?;
    let same_vni = |link: &&Link| matches!(&link.kind, LinkKind::Vxlan(settings) if settings.vni == vni);
    let Some(link) = listening.find(same_vni) else {
        let detail = format!("no VXLAN device has the network identifier {vni}");
        return Err(End::dropped(Reason::VniMismatch).detail(detail).because([first]));
    };
    let from_itself = walk.packet().inner.as_ref().and_then(|inner| inner.link).map(|frame| frame.source);
    if from_itself.is_some() && from_itself == link.lladdr {
        let detail = format!("the inner frame comes from {}'s own address", link.name);
        return Err(End::dropped(Reason::TunnelLoop).detail(detail).because([link.evidence]));
    }
    let (name, evidence) = (link.name.clone(), link.evidence);
    walk.take(Decision::Decapsulate { device: name.clone(), tunnel: "vxlan", vni: Some(vni) }, [evidence]);
    walk.tell_sender();
    walk.skb.sport_bounds = None;
    walk.skb.unknown_port = walk.skb.inner_unknown_ports.pop().unwrap_or(0);
    walk.skb.nfct = Nfct::None;
    walk.skb.dst = None;
    walk.skb.nf_bridge = None;
    Ok(Some(Next::Receive(walk.netns_id(), name)))
}
