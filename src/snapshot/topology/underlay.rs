//! Which devices face the network between nodes, and which of them share a segment of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::{IfName, MacAddr, NetnsId, NetnsName};
use crate::snapshot::{Kube, Link, LinkKind, Netns, Route, RouteType, Routes, Vlan};

use super::{DevRef, Topology};

/// Kinds beside hardware, VLAN and veth that carry a node's frames out.
const OUTER_KINDS: [&str; 7] = ["bond", "team", "macvlan", "macvtap", "ipvlan", "ipoib", "hsr"];

/// The underlay devices of every host namespace, each with the device that has its addresses (the bridge, where it
/// is a port of one).
pub(super) fn devices(topology: &Topology, namespaces: &[Netns], kube: &Kube) -> Vec<(DevRef, IfName)> {
    let mut found = Vec::new();
    for (id, netns) in (0u32..).map(NetnsId).zip(namespaces).filter(|(_, netns)| netns.is_host()) {
        let host = Host::new(topology, id, netns, kube);
        let linked = netns.links.iter().flatten().filter_map(|link| Some((&link.name, host.face(link)?)));
        let unlisted = if netns.links.is_none() { host.unknown_devices() } else { Vec::new() };
        for (dev, face) in linked.chain(unlisted.into_iter().map(|dev| (dev, dev))) {
            found.push((DevRef::new(id, dev), face.clone()));
        }
    }
    found
}

/// A host namespace, with what is asked of it again and again.
struct Host<'a> {
    topology: &'a Topology,
    id: NetnsId,
    netns: &'a Netns,
    node_addresses: HashSet<IpAddr>,
    masters: HashSet<&'a IfName>,
    tunnels: HashSet<&'a IfName>,
}

impl<'a> Host<'a> {
    fn new(topology: &'a Topology, id: NetnsId, netns: &'a Netns, kube: &Kube) -> Self {
        let node = kube.node(&netns.node);
        let addresses =
            node.into_iter().flat_map(|node| node.internal_ips.iter().copied().chain(node.flannel.public_ip));
        Self {
            topology,
            id,
            netns,
            node_addresses: addresses.collect(),
            masters: netns.links.iter().flatten().filter_map(|link| link.master.as_ref()).collect(),
            tunnels: netns.fdb.iter().flatten().filter(|row| row.dst.is_some()).map(|row| &row.dev).collect(),
        }
    }

    /// The device that has an underlay device's addresses; `None` for devices that don't face the underlay.
    fn face(&self, link: &'a Link) -> Option<&'a IfName> {
        let outer = match &link.kind {
            // Without `-d` a bridge, a tunnel device and a veth look like hardware too.
            LinkKind::Plain => {
                !self.masters.contains(&link.name) && !self.tunnels.contains(&link.name) && !self.in_pair(link)
            }
            LinkKind::Vlan(vlan) => self.takes_tags_out(vlan),
            LinkKind::Other(kind) => OUTER_KINDS.contains(&kind.as_str()),
            LinkKind::Veth => !self.in_pair(link),
            _ => false,
        };
        if !outer {
            return None;
        }
        let Some(master) = &link.master else {
            let real = !is_veth(link) || self.has_address(&link.name);
            return real.then_some(&link.name);
        };
        match self.netns.link(master).map(|master| &master.kind) {
            Some(LinkKind::Bridge(_) | LinkKind::Plain) | None => self.bridge_face(link, master),
            // A bond's slaves stand behind the bond; a VRF's devices stay what they are.
            Some(LinkKind::Other(kind)) if kind == "vrf" => Some(&link.name),
            Some(_) => None,
        }
    }

    /// A bridge's hardware port faces the underlay. A veth whose peer the snapshot lacks may as well be an
    /// uncollected pod's: it does so only where the bridge has the node's own address or its default route.
    fn bridge_face(&self, port: &Link, bridge: &'a IfName) -> Option<&'a IfName> {
        let faces = !is_veth(port) || self.is_uplink(bridge);
        faces.then_some(bridge)
    }

    /// Whether what a VLAN device tags leaves the node: not by a veth to a namespace of the snapshot, or a bridge that
    /// has such ports alone.
    fn takes_tags_out(&self, vlan: &Vlan) -> bool {
        // A file may say of two devices that each is the other's lower one.
        const DEEPEST: usize = 8;
        let mut lower = vlan.lower.as_ref();
        for _ in 0..DEEPEST {
            let Some(link) = lower.and_then(|lower| self.netns.link(lower)) else { return true };
            match &link.kind {
                LinkKind::Vlan(vlan) => lower = vlan.lower.as_ref(),
                LinkKind::Bridge(_) => {
                    let mut all = self.netns.links.iter().flatten();
                    return all.any(|port| port.master.as_ref() == Some(&link.name) && !self.in_pair(port));
                }
                _ => return !self.in_pair(link),
            }
        }
        false
    }

    fn in_pair(&self, link: &Link) -> bool {
        self.topology.veth_peer(self.id, &link.name).is_some()
    }

    fn has_address(&self, dev: &IfName) -> bool {
        self.netns.addrs_of(dev).any(|addr| !is_link_local(addr.address))
    }

    /// Whether a device has the node's own address, or the default route's gateway behind it.
    fn is_uplink(&self, dev: &IfName) -> bool {
        let own = self.netns.addrs_of(dev).any(|addr| self.node_addresses.contains(&addr.address));
        own || self.routes().any(|route| is_default(route) && leaves_by(route, dev))
    }

    /// Where the link file is missing, a device is known to face the underlay only if it is an uplink.
    fn unknown_devices(&self) -> Vec<&'a IfName> {
        let hops = self.routes().flat_map(|route| &route.nexthops).filter_map(|hop| hop.dev.as_ref());
        let mut devs: Vec<&IfName> = self.netns.addrs.iter().flatten().map(|addr| &addr.dev).chain(hops).collect();
        devs.sort();
        devs.dedup();
        devs.retain(|dev| *dev != "lo" && !self.tunnels.contains(dev) && self.is_uplink(dev));
        devs
    }

    fn routes(&self) -> impl Iterator<Item = &'a Route> {
        [&self.netns.routes, &self.netns.routes6].into_iter().flatten().flat_map(Routes::rows)
    }
}

/// Unlike hardware, a veth whose pair isn't known can lead into a namespace that was not collected.
fn is_veth(link: &Link) -> bool {
    link.kind == LinkKind::Veth
        || (link.kind == LinkKind::Plain && (link.link_netnsid.is_some() || link.link_netns.is_some()))
}

fn is_default(route: &Route) -> bool {
    route.kind == RouteType::Unicast && route.dst.prefix_len() == 0
}

fn leaves_by(route: &Route, dev: &IfName) -> bool {
    route.nexthops.iter().any(|hop| hop.via.is_some() && hop.dev.as_ref() == Some(dev))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

/// Groups underlay devices: those whose connected subnets overlap share a segment, and a device without a subnet
/// joins the one on which its link-layer address was seen as a neighbour.
pub(super) fn segments(devices: &[(DevRef, IfName)], namespaces: &[Netns]) -> Vec<Vec<DevRef>> {
    let mut groups = Groups::new(devices.len());
    let subnets = subnets(devices, namespaces);
    groups.join_overlapping(&subnets);
    let with_subnet: HashSet<usize> = subnets.iter().map(|(_, place)| *place).collect();
    let lladdr = |dev: &DevRef| namespaces.get(dev.netns.0 as usize).and_then(|netns| netns.link(&dev.link)?.lladdr);
    let astray: Vec<(usize, MacAddr)> = devices
        .iter()
        .enumerate()
        .filter(|(place, _)| !with_subnet.contains(place))
        .filter_map(|(place, (dev, _))| Some((place, lladdr(dev)?)))
        .collect();
    let seen = neighbours_seen(devices, namespaces, &astray.iter().map(|(_, lladdr)| *lladdr).collect());
    let mut member: Vec<bool> = (0..devices.len()).map(|place| with_subnet.contains(&place)).collect();
    for (place, lladdr) in astray {
        for &witness in seen.get(&lladdr).into_iter().flatten() {
            groups.join(place, witness);
            if let Some(member) = member.get_mut(place) {
                *member = true;
            }
        }
    }
    let mut segments: BTreeMap<usize, Vec<DevRef>> = BTreeMap::new();
    for (place, (dev, _)) in devices.iter().enumerate().filter(|(place, _)| member.get(*place) == Some(&true)) {
        segments.entry(groups.root(place)).or_default().push(dev.clone());
    }
    segments.into_values().collect()
}

/// The connected subnets of underlay devices, by the devices' places.
fn subnets(devices: &[(DevRef, IfName)], namespaces: &[Netns]) -> Vec<(IpNet, usize)> {
    let mut subnets = Vec::new();
    for (place, (dev, face)) in devices.iter().enumerate() {
        let Some(netns) = namespaces.get(dev.netns.0 as usize) else { continue };
        for addr in netns.addrs_of(face).filter(|addr| !is_link_local(addr.address)) {
            let address = addr.peer.unwrap_or(addr.address);
            if let Ok(net) = IpNet::new(address, addr.prefix_len) {
                subnets.push((net.trunc(), place));
            }
        }
    }
    subnets
}

/// For each link-layer address that is wanted, the underlay devices on which it is a neighbour.
fn neighbours_seen(
    devices: &[(DevRef, IfName)],
    namespaces: &[Netns],
    wanted: &HashSet<MacAddr>,
) -> HashMap<MacAddr, Vec<usize>> {
    let mut seen: HashMap<MacAddr, Vec<usize>> = HashMap::new();
    if wanted.is_empty() {
        return seen;
    }
    let faces: HashMap<(NetnsId, &IfName), usize> =
        devices.iter().enumerate().map(|(place, (dev, face))| ((dev.netns, face), place)).collect();
    for (id, netns) in (0u32..).map(NetnsId).zip(namespaces).filter(|(_, netns)| netns.name == NetnsName::Host) {
        for neigh in netns.neighs.iter().flatten().filter(|neigh| neigh.state.is_valid()) {
            let lladdr = neigh.lladdr.filter(|lladdr| wanted.contains(lladdr));
            if let (Some(lladdr), Some(&place)) = (lladdr, faces.get(&(id, &neigh.dev))) {
                seen.entry(lladdr).or_default().push(place);
            }
        }
    }
    seen
}

/// Disjoint sets by place.
struct Groups(Vec<usize>);

impl Groups {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn root(&mut self, mut place: usize) -> usize {
        while let Some(&above) = self.0.get(place) {
            if above == place {
                break;
            }
            // Halving the path keeps later look-ups short.
            let next = self.0.get(above).copied().unwrap_or(above);
            if let Some(slot) = self.0.get_mut(place) {
                *slot = next;
            }
            place = next;
        }
        place
    }

    /// The lower place becomes the root, so that segments are numbered in the order of the devices.
    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(slot) = self.0.get_mut(one.max(other)) {
            *slot = one.min(other);
        }
    }

    fn join_overlapping(&mut self, subnets: &[(IpNet, usize)]) {
        let mut sorted: Vec<&(IpNet, usize)> = subnets.iter().collect();
        sorted.sort_by_key(|(net, place)| (net.network(), net.prefix_len(), *place));
        let mut open: Option<(IpAddr, usize)> = None;
        for (net, place) in sorted {
            let overlaps =
                open.is_some_and(|(end, _)| end.is_ipv4() == net.network().is_ipv4() && net.network() <= end);
            match open {
                Some((end, first)) if overlaps => {
                    self.join(*place, first);
                    open = Some((end.max(net.broadcast()), first));
                }
                _ => open = Some((net.broadcast(), *place)),
            }
        }
    }
}
