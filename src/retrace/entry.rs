//! Where a packet from outside comes in.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::{Family, IfName, NetnsId, NetnsName, NodeName};
use crate::snapshot::{Addr, Routes, Snapshot};

/// The devices at which a packet of the underlay can enter: the one that owns the destination; for a pod's address that
/// of the pod's node; or, where no node owns it (a service's address), one of each node.
#[must_use]
pub fn entries(target: Option<IpAddr>, family: Family, snapshot: &Snapshot) -> Vec<(NetnsId, IfName)> {
    if let Some(address) = target {
        let owned = owners(address, family, snapshot);
        if !owned.is_empty() {
            return owned;
        }
        let node = pods_node(address, snapshot).and_then(|host| Some((host, outward(host, family, snapshot)?)));
        if let Some(entry) = node {
            return vec![entry];
        }
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

/// The node behind which an address of the pods' network lies: the one that runs the pod, else the one whose part of
/// the network it is in.
fn pods_node(address: IpAddr, snapshot: &Snapshot) -> Option<NetnsId> {
    let of_node = |node: &NodeName| snapshot.nodes.get(node)?.host;
    let owner = snapshot.owner_of(address).into_iter().find(|(netns, _)| is_pod(snapshot, *netns));
    let runs = owner.map(|(netns, _)| snapshot.netns(netns).node.clone());
    let object = || snapshot.kube.pod_with(address)?.node.clone();
    let cidr = || {
        let mut nodes = snapshot.kube.nodes.iter().flatten();
        nodes.find(|node| node.pod_cidrs.iter().any(|cidr| cidr.contains(&address))).map(|node| node.name.clone())
    };
    let node = runs.or_else(object).or_else(cidr);
    node.and_then(|node| of_node(&node)).or_else(|| hosts(snapshot).find(|host| connects(snapshot, *host, address)))
}

fn is_pod(snapshot: &Snapshot, netns: NetnsId) -> bool {
    snapshot.netns(netns).name != NetnsName::Host
}

/// Whether a device of the node that doesn't face the underlay has the network of an address on it.
fn connects(snapshot: &Snapshot, host: NetnsId, address: IpAddr) -> bool {
    let on_link = |addr: &&Addr| {
        let network = IpNet::new(addr.address, addr.prefix_len);
        network.is_ok_and(|network| network.contains(&address)) && !snapshot.topology.is_underlay(host, &addr.dev)
    };
    snapshot.known_prefixes().iter().any(|prefix| prefix.contains(&address))
        && snapshot.netns(host).addrs.iter().flatten().any(|addr| on_link(&addr))
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
