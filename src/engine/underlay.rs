//! The network between nodes, of which a snapshot holds only the ends.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{IfName, MacAddr, VlanTag};
use crate::snapshot::{NetnsId, topology};
use crate::trace::{Decision, Reason, Verdict};

use super::address;
use super::bridge_vlan;
use super::end::{End, Next, Stage};
use super::skb::DevRef;
use super::vlan;
use super::walk::Walk;
use super::xmit::arrive;

/// Carries a frame from a node's outermost device to whoever takes it.
pub(super) fn carry(walk: &mut Walk, dev: &IfName) -> Stage<Next> {
    let netns = walk.netns_id();
    if let Some(receiver) = receiver_on_segment(walk, netns, dev) {
        let (Receiver::OnSegment(to) | Receiver::ByAddress(to)) = &receiver;
        let line = walk.snapshot.netns(to.0).link(&to.1).map(|link| link.evidence);
        return hand_over(walk, &receiver, Decision::Underlay { assumed: false, note: None, routers: 0 }, line);
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

/// Who takes a frame on the network between nodes.
enum Receiver {
    /// A device on the sender's segment: that gives it the tags which the device expects.
    OnSegment(DevRef),
    /// A device that has the link address and of which nothing else says that it is on the segment.
    ByAddress(DevRef),
}

/// The device on the same segment that the frame is addressed to.
fn receiver_on_segment(walk: &Walk, netns: NetnsId, dev: &IfName) -> Option<Receiver> {
    if let Some(owner) = walk.skb.next_hop.as_ref().and_then(|next_hop| next_hop.owner.clone())
        && owner.0 != netns
    {
        return Some(Receiver::OnSegment(owner));
    }
    let lladdr = walk.packet().link?.destination;
    if lladdr == MacAddr::ZERO {
        return None;
    }
    let has_it = |other: &topology::DevRef| {
        let tables = walk.snapshot.netns(other.netns);
        let own = tables.link(&other.link);
        let of_master = own.and_then(|link| link.master.as_ref()).and_then(|master| tables.link(master));
        let is_other = (other.netns, &other.link) != (netns, dev);
        is_other && own.into_iter().chain(of_master).any(|link| link.lladdr == Some(lladdr))
    };
    let of = |other: topology::DevRef| (other.netns, other.link);
    let on_segment = walk.snapshot.topology.segment_devices(netns, dev).into_iter().find(has_it);
    let by_address = || walk.snapshot.topology.underlay_devices().find(has_it).map(of).map(Receiver::ByAddress);
    on_segment.map(of).map(Receiver::OnSegment).or_else(by_address)
}

/// The node's device that has an address and is on the network between nodes.
fn underlay_owner(walk: &Walk, address: IpAddr) -> Option<DevRef> {
    let owners = walk.snapshot.owner_of(address);
    owners.into_iter().find(|owner| faces_out(walk, owner))
}

/// Whether frames for a device come in from the network between nodes.
fn faces_out(walk: &Walk, owner: &DevRef) -> bool {
    let ((netns, at), _) = vlan::entrance(walk.snapshot, owner);
    [&at, &owner.1].into_iter().any(|dev| walk.snapshot.topology.is_underlay(netns, dev))
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
    let to = Receiver::OnSegment(owner);
    hand_over(walk, &to, Decision::Underlay { assumed: true, note: Some(words), routers: 1 }, line)
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

/// The frame comes in at its receiver.
fn hand_over(walk: &mut Walk, receiver: &Receiver, by: Decision, row: Option<Evidence>) -> Stage<Next> {
    let (Receiver::OnSegment(to) | Receiver::ByAddress(to)) = receiver;
    let ((netns, dev), tags) = vlan::entrance(walk.snapshot, to);
    // A bridge that filters VLANs may expect any tag.
    let keeps = tags.is_empty() && bridge_vlan::is_filtering_port(walk.snapshot.netns(netns), &dev);
    let same = |(have, want): (&VlanTag, &VlanTag)| (have.protocol, have.id) == (want.protocol, want.id);
    let have = &walk.packet().tags;
    let differs = have.len() != tags.len() || !have.iter().zip(&tags).all(same);
    if differs && !keeps && matches!(receiver, Receiver::OnSegment(_)) {
        walk.retag(tags, None);
    }
    walk.take(by, row);
    let link = walk.snapshot.netns(netns).link(&dev);
    if let Some(link) = link.filter(|link| !link.up || !link.carrier) {
        let detail = format!("{dev} of {} is down", walk.snapshot.netns(netns).node);
        return Err(End::dropped(Reason::DeviceDown).detail(detail).because([link.evidence]));
    }
    Ok(arrive(walk, netns, dev))
}
