//! To whom a frame is addressed of which the question tells only by which bridge port it comes in.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::{IfName, MacAddr, Packet};
use crate::snapshot::{Link, LinkKind, Netns, NetnsId, Snapshot};

use super::bridge_vlan::{allowed_egress, allowed_ingress};
use super::link::Reach;
use super::skb::DevRef;
use super::vlan;

/// Stands for the link address of a sender that nobody knows.
pub(super) const UNKNOWN: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0]);

/// The link addresses of a packet between two hosts of a bridge's own network, who send to each other and not to the
/// bridge: their neighbour entries tell, or their devices where the snapshot has them. `None` for every other packet,
/// which its sender gives to the bridge as a router, and where the receiver's address is not known. The sender's, which
/// stands first, may be unknown: it decides nothing but what asks for it.
pub(super) fn between_hosts(
    snapshot: &Snapshot,
    netns: NetnsId,
    port: &IfName,
    packet: &Packet,
) -> Option<(Option<MacAddr>, MacAddr)> {
    let namespace = snapshot.netns(netns);
    let master = namespace.link(port)?.master.as_ref()?;
    let bridge = namespace.link(master).filter(|link| matches!(link.kind, LinkKind::Bridge(_)))?;
    let (source, destination) = (packet.ip.source, packet.ip.destination);
    let Some(dev) = upon(namespace, bridge, port, packet) else { return in_vlan(snapshot, (netns, port), packet) };
    let mut networks = namespace.addrs.iter().flatten().filter(|addr| addr.dev == *dev);
    let is_own = namespace.addrs.iter().flatten().any(|addr| addr.address == destination);
    let holds_both = networks.any(|addr| {
        let network = IpNet::new(addr.address, addr.prefix_len).ok();
        network.is_some_and(|network| network.contains(&source) && network.contains(&destination))
    });
    if is_own || !holds_both {
        return None;
    }
    let lladdr = |address: IpAddr| -> Option<MacAddr> {
        let entries = namespace.neighs.iter().flatten();
        let mut known = entries.filter(|entry| entry.dev == *dev && entry.address == address);
        let of_owner = || {
            let owners = snapshot.owner_of(address);
            let (netns, dev) = owners.first()?;
            snapshot.netns(*netns).link(dev)?.lladdr
        };
        known.find_map(|entry| entry.lladdr).or_else(of_owner)
    };
    Some((lladdr(source), lladdr(destination)?))
}

/// The device that has the addresses of the node in the network of a packet's frame: the bridge, or the device upon it
/// that has the VLAN of the tag with which the frame goes up to it.
fn upon<'s>(namespace: &'s Netns, bridge: &'s Link, port: &IfName, packet: &Packet) -> Option<&'s IfName> {
    let within = allowed_ingress(namespace, &bridge.name, port, &packet.tags);
    let above = within.and_then(|(tags, _)| allowed_egress(namespace, &bridge.name, &bridge.name, &tags));
    let tags = above.map_or_else(|_| packet.tags.clone(), |(tags, _)| tags);
    match tags.first() {
        Some(tag) if tag.id != 0 => vlan::vlan_find_dev(namespace, &bridge.name, *tag).map(|link| &link.name),
        _ => Some(&bridge.name),
    }
}

/// Whether a frame that comes in by a bridge's port has a tag of which the node itself has no device there.
pub(super) fn is_for_nobody_here(namespace: &Netns, port: &IfName, packet: &Packet) -> bool {
    let link = namespace.link(port);
    let bridge = link.and_then(|link| link.master.as_ref()).and_then(|master| namespace.link(master));
    let bridge = bridge.filter(|link| matches!(link.kind, LinkKind::Bridge(_)));
    let taken =
        packet.tags.first().is_some_and(|tag| tag.id == 0 || vlan::vlan_find_dev(namespace, port, *tag).is_some());
    !taken && bridge.is_some_and(|bridge| upon(namespace, bridge, port, packet).is_none())
}

/// The same in a VLAN in which the node itself has no device: of the hosts that hear the port in it.
fn in_vlan(
    snapshot: &Snapshot,
    (netns, port): (NetnsId, &IfName),
    packet: &Packet,
) -> Option<(Option<MacAddr>, MacAddr)> {
    let reach = Reach::into(snapshot, netns, port, &packet.tags);
    let lladdr = |(netns, dev): &DevRef| snapshot.netns(*netns).link(dev)?.lladdr;
    let sender = snapshot.owner_of(packet.ip.source).iter().find_map(lladdr);
    let receivers = snapshot.owner_of(packet.ip.destination);
    let receiver = receivers.iter().filter(|owner| reach.stacks.contains(owner)).find_map(lladdr);
    Some((sender, receiver?))
}
