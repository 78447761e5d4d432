//! Where a packet from outside comes in.

use std::net::IpAddr;

use crate::net::{Family, IfName, NetnsId, NetnsName};
use crate::snapshot::{Routes, Snapshot};

use super::names::End;

/// The devices at which a packet of the underlay can enter: the one that owns the destination, or, where no node owns
/// it, one of each node.
pub(super) fn entries(target: &End, family: Family, snapshot: &Snapshot) -> Vec<(NetnsId, IfName)> {
    let owned = target.address(family).map(|address| owners(address, family, snapshot)).unwrap_or_default();
    if !owned.is_empty() {
        return owned;
    }
    hosts(snapshot).filter_map(|netns| Some((netns, outward(netns, family, snapshot)?))).collect()
}

fn hosts(snapshot: &Snapshot) -> impl Iterator<Item = NetnsId> {
    snapshot.netns_ids().filter(|(_, netns)| netns.name == NetnsName::Host).map(|(id, _)| id)
}

/// The node that has the address, by the device that has it. An address of a device that nobody outside is joined to
/// (a bridge, a tunnel) is reached by the node's outward device.
fn owners(address: IpAddr, family: Family, snapshot: &Snapshot) -> Vec<(NetnsId, IfName)> {
    let owners = snapshot.owner_of(address).into_iter();
    let hosts = owners.filter(|(netns, _)| snapshot.netns(*netns).name == NetnsName::Host);
    let mut entries: Vec<(NetnsId, IfName)> = Vec::new();
    for (netns, device) in hosts {
        let device =
            if snapshot.topology.is_underlay(netns, &device) { Some(device) } else { outward(netns, family, snapshot) };
        let entry = device.map(|device| (netns, device)).filter(|entry| !entries.contains(entry));
        entries.extend(entry);
    }
    entries
}

/// The device by which a node is reached from outside: the one with the address that the cluster knows it by, else the
/// one of its default route, else the first of the underlay.
fn outward(netns: NetnsId, family: Family, snapshot: &Snapshot) -> Option<IfName> {
    let tables = snapshot.netns(netns);
    let known = snapshot.kube.node(&tables.node);
    let announced = known.into_iter().flat_map(|node| &node.internal_ips);
    let by_address = announced
        .filter(|address| Family::of(**address) == family)
        .find_map(|address| tables.addr(*address).map(|addr| addr.dev.clone()));
    let routes = match family {
        Family::Inet => &tables.routes,
        Family::Inet6 => &tables.routes6,
    };
    let default = || {
        let rows = routes.iter().flat_map(Routes::rows).filter(|route| route.dst.prefix_len() == 0);
        rows.flat_map(|route| &route.nexthops).find_map(|hop| hop.dev.clone())
    };
    let first = || snapshot.topology.underlay_devices().find(|device| device.netns == netns).map(|device| device.link);
    by_address.or_else(default).or_else(first)
}
