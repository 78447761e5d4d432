//! To whom a frame is addressed of which the question tells only by which bridge port it comes in.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::{IfName, MacAddr, Packet};
use crate::snapshot::{LinkKind, NetnsId, Snapshot};

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
    let mut networks = namespace.addrs.iter().flatten().filter(|addr| addr.dev == bridge.name);
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
        let mut known = entries.filter(|entry| entry.dev == bridge.name && entry.address == address);
        let of_owner = || {
            let owners = snapshot.owner_of(address);
            let (netns, dev) = owners.first()?;
            snapshot.netns(*netns).link(dev)?.lladdr
        };
        known.find_map(|entry| entry.lladdr).or_else(of_owner)
    };
    Some((lladdr(source), lladdr(destination)?))
}
