//! Which way a packet passed a device, from its frame's addresses.

use crate::net::{IfName, MacAddr, Packet};
use crate::snapshot::{Link, LinkKind, Snapshot};
use crate::trace::Way;

use super::Point;

/// Which way a frame went by its link addresses; `None` where they don't tell.
#[must_use]
pub fn way(snapshot: &Snapshot, point: &Point, packet: &Packet) -> Option<Way> {
    let tables = snapshot.netns(point.netns);
    let device = tables.link(&point.device)?;
    // A capture on lo shows each packet once, as it comes in.
    if device.kind == LinkKind::Loopback {
        return Some(Way::In);
    }
    let frame = packet.link?;
    let by = |own: MacAddr, other: (Way, Way)| match (frame.source == own, frame.destination == own) {
        (true, false) => Some(other.0),
        (false, true) => Some(other.1),
        _ => None,
    };
    let lladdr = |link: &Link| link.lladdr.filter(|lladdr| *lladdr != MacAddr::ZERO);
    if let Some(way) = lladdr(device).and_then(|own| by(own, (Way::Out, Way::In))) {
        return Some(way);
    }
    if device.master.is_none() && lladdr(device).is_some() && !is_of_node(snapshot, point, frame.source) {
        return Some(Way::In);
    }
    // What a bridge's port sees is between the other end of the pair and the rest of the bridge.
    let peer = snapshot.topology.veth_peer(point.netns, &point.device)?;
    let peer = snapshot.netns(peer.netns).link(&peer.link).and_then(lladdr)?;
    by(peer, (Way::In, Way::Out))
}

/// The port by which a frame came to a bridge that shows it though it is for another port: whoever captures on the bridge
/// makes it promiscuous.
pub(super) fn bridged_from(snapshot: &Snapshot, point: &Point, packet: &Packet) -> Option<IfName> {
    let tables = snapshot.netns(point.netns);
    let device = tables.link(&point.device).filter(|link| matches!(link.kind, LinkKind::Bridge(_)))?;
    let ports = || tables.links.iter().flatten().filter(|link| link.master.as_ref() == Some(&device.name));
    let frame = packet.link?;
    // What has the address of a port is for the bridge, too.
    let is_own = |lladdr| std::iter::once(device).chain(ports()).any(|link| link.lladdr == Some(lladdr));
    if frame.destination.is_multicast() || is_own(frame.destination) {
        return None;
    }
    let learned = tables.fdb.iter().flatten().filter(|row| row.lladdr == frame.source && !row.permanent);
    let by_row = learned.map(|row| &row.dev).find(|dev| ports().any(|port| port.name == **dev));
    let is_behind = |port: &&Link| {
        let peer = snapshot.topology.veth_peer(point.netns, &port.name);
        let peer = peer.and_then(|peer| snapshot.netns(peer.netns).link(&peer.link));
        peer.is_some_and(|peer| peer.lladdr == Some(frame.source))
    };
    by_row.cloned().or_else(|| ports().find(is_behind).map(|port| port.name.clone()))
}

/// Whether a device of the point's node has a link address: what the node sends by a device that is no port has one of
/// them.
fn is_of_node(snapshot: &Snapshot, point: &Point, lladdr: MacAddr) -> bool {
    let node = &snapshot.netns(point.netns).node;
    let namespaces = snapshot.namespaces.iter().filter(|netns| netns.node == *node);
    namespaces.flat_map(|netns| netns.links.iter().flatten()).any(|link| link.lladdr == Some(lladdr))
}
