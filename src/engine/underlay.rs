//! The network between nodes, of which a snapshot holds only the ends.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{IfName, MacAddr};
use crate::snapshot::{LinkKind, NetnsId};
use crate::trace::{Decision, Reason, Verdict};

use super::address;
use super::end::{End, Next, Stage};
use super::skb::DevRef;
use super::walk::Walk;
use super::xmit::arrive;

/// Carries a frame from a node's outermost device to whoever takes it.
pub(super) fn carry(walk: &mut Walk, dev: &IfName) -> Stage<Next> {
    let netns = walk.netns_id();
    if let Some(receiver) = receiver_on_segment(walk, netns, dev) {
        let line = walk.snapshot.netns(receiver.0).link(&receiver.1).map(|link| link.evidence);
        walk.take(Decision::Underlay { assumed: false, note: None, routers: 0 }, line);
        return hand_over(walk, receiver);
    }
    let destination = walk.packet().ip.destination;
    let next_hop = walk.skb.next_hop.as_ref().map(|next_hop| next_hop.address);
    let routed = next_hop.is_some_and(|next_hop| next_hop != destination);
    let owner = underlay_owner(walk, destination).filter(|owner| owner.0 != netns);
    if let Some(owner) = owner.filter(|_| routed) {
        return through_router(walk, next_hop, owner);
    }
    nobody(walk, next_hop, destination, routed)
}

/// The device on the same segment that the frame is addressed to.
fn receiver_on_segment(walk: &Walk, netns: NetnsId, dev: &IfName) -> Option<DevRef> {
    if let Some(owner) = walk.skb.next_hop.as_ref().and_then(|next_hop| next_hop.owner.clone())
        && owner.0 != netns
    {
        return Some(entrance(walk, &owner));
    }
    let lladdr = walk.packet().link?.destination;
    if lladdr == MacAddr::ZERO {
        return None;
    }
    let has_it = |netns: NetnsId, dev: &IfName| {
        let tables = walk.snapshot.netns(netns);
        let own = tables.link(dev);
        let of_master = own.and_then(|link| link.master.as_ref()).and_then(|master| tables.link(master));
        own.into_iter().chain(of_master).any(|link| link.lladdr == Some(lladdr))
    };
    let segment = walk.snapshot.topology.segment_devices(netns, dev);
    let mut all = segment.into_iter().chain(walk.snapshot.topology.underlay_devices());
    all.find(|other| (other.netns, &other.link) != (netns, dev) && has_it(other.netns, &other.link))
        .map(|other| (other.netns, other.link))
}

/// The outermost device through which a frame for a device comes in: a bridge's underlay port.
fn entrance(walk: &Walk, owner: &DevRef) -> DevRef {
    let (netns, dev) = owner;
    let tables = walk.snapshot.netns(*netns);
    let is_bridge = matches!(tables.link(dev).map(|link| &link.kind), Some(LinkKind::Bridge(_)));
    let port = is_bridge
        .then(|| {
            walk.snapshot
                .topology
                .ports(*netns, dev)
                .into_iter()
                .find(|port| walk.snapshot.topology.is_underlay(*netns, port))
        })
        .flatten();
    port.map_or(owner.clone(), |port| (*netns, port))
}

/// The node's device that has an address and is on the network between nodes.
fn underlay_owner(walk: &Walk, address: IpAddr) -> Option<DevRef> {
    let owners = walk.snapshot.owner_of(address);
    owners
        .into_iter()
        .map(|owner| entrance(walk, &owner))
        .find(|(netns, dev)| walk.snapshot.topology.is_underlay(*netns, dev))
}

/// A router that is not in the snapshot is taken to bring the packet to the owner of its destination.
fn through_router(walk: &mut Walk, next_hop: Option<IpAddr>, owner: DevRef) -> Stage<Next> {
    if walk.packet().ip.ttl <= 1 {
        let detail = "TTL ends at the router, which is not in the snapshot";
        return Err(End::new(Verdict::Lost, Reason::TtlExceeded).detail(detail));
    }
    let router = next_hop.map_or("a router".to_owned(), |next_hop| format!("the router {next_hop}"));
    let node = walk.snapshot.netns(owner.0).node.clone();
    let words = format!("{router} is not in the snapshot and is taken to forward to {node}");
    let line = address::local_address(walk.snapshot.netns(owner.0), walk.packet().ip.destination);
    walk.take(Decision::Underlay { assumed: true, note: Some(words), routers: 1 }, line);
    hand_over(walk, owner)
}

/// Nobody in the snapshot takes the frame: rightly, where the address is outside.
fn nobody(walk: &mut Walk, next_hop: Option<IpAddr>, destination: IpAddr, routed: bool) -> Stage<Next> {
    let because = walk.steps().iter().rev().find(|step| matches!(step.decision, Decision::Neighbor { .. }));
    let because = because.map(|step| step.because.clone()).filter(|lines| !lines.is_empty());
    let because = because.unwrap_or_else(|| walk.lines_of_route());
    if let Some(node) = next_hop.into_iter().chain([destination]).find_map(|to| walk.snapshot.absent_node(to)) {
        let what = format!("the snapshot has no nodes/{}/host, where the packet goes", node.name);
        return Err(End::undetermined(Reason::MissingTable, what).because([node.evidence]).because(because));
    }
    if let Some(what) = missing_peer(walk, next_hop, destination) {
        return Err(End::undetermined(Reason::MissingTable, what).because(peer_lines(walk)).because(because));
    }
    if walk.packet().inner.is_some() {
        let known = !walk.snapshot.owner_of(destination).is_empty();
        let detail = match walk.packet().link.filter(|_| known) {
            Some(frame) => format!("no device that this way leads to has the link address {}", frame.destination),
            None => format!("the tunnel packet goes to {destination}, which no node of the snapshot has"),
        };
        return Err(End::new(Verdict::Lost, Reason::NobodyOwns).detail(detail).because(because));
    }
    if walk.snapshot.is_cluster_address(destination) && !walk.outside.contains(&destination) {
        let by = if routed {
            next_hop.map_or(String::new(), |hop| format!(", which leads to {hop}"))
        } else {
            String::new()
        };
        let detail = format!("{destination} is an address of the cluster, and nobody takes it on this way{by}");
        return Err(End::new(Verdict::Lost, Reason::NobodyOwns).detail(detail).because(because));
    }
    walk.take(Decision::Underlay { assumed: true, note: None, routers: 0 }, walk.lines_of_route());
    Err(End::arrived(Verdict::Left))
}

/// Where no Node object says which nodes there are: that the peer to which a tunnel leads, or the gateway that a route
/// of its own names, may be a node that was not collected.
fn missing_peer(walk: &Walk, next_hop: Option<IpAddr>, destination: IpAddr) -> Option<String> {
    let snapshot = walk.snapshot;
    if walk.packet().inner.is_some() {
        return snapshot.may_be_a_missing_node(destination).then(|| tunnel_peer(destination));
    }
    let gateway = next_hop.filter(|hop| *hop != destination && snapshot.may_be_a_missing_node(*hop))?;
    let by_default = walk.steps().iter().rev().find_map(|step| match &step.decision {
        Decision::Route { prefix, .. } => Some(prefix.is_none_or(|prefix| prefix.prefix_len() == 0)),
        _ => None,
    });
    let routed = snapshot.is_of_one_node() && by_default == Some(false) && snapshot.is_cluster_address(destination);
    let what =
        "the gateway, is no node of the snapshot, and without cluster/nodes.json nobody can tell whether it is one";
    routed.then(|| format!("{gateway}, {what}"))
}

/// Says that a tunnel leads to a node which may be missing.
pub(super) fn tunnel_peer(address: IpAddr) -> String {
    format!(
        "{address}, where the tunnel leads, is no node of the snapshot, and without cluster/nodes.json nobody can tell \
         whether it is one"
    )
}

/// The lines that name the tunnel's end.
pub(super) fn peer_lines(walk: &Walk) -> Vec<Evidence> {
    let fdb = walk.steps().iter().rev().find(|step| matches!(step.decision, Decision::Fdb { vtep: Some(_), .. }));
    fdb.filter(|_| walk.packet().inner.is_some()).map(|step| step.because.clone()).unwrap_or_default()
}

fn hand_over(walk: &mut Walk, (netns, dev): DevRef) -> Stage<Next> {
    let link = walk.snapshot.netns(netns).link(&dev);
    if let Some(link) = link.filter(|link| !link.up || !link.carrier) {
        let detail = format!("{dev} of {} is down", walk.snapshot.netns(netns).node);
        return Err(End::dropped(Reason::DeviceDown).detail(detail).because([link.evidence]));
    }
    Ok(arrive(walk, netns, dev))
}
