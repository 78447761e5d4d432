//! Building the graph from the tables.

use std::collections::{BTreeMap, HashMap, HashSet};

use petgraph::graph::NodeIndex;

use crate::evidence::Gap;
use crate::net::{IfName, NetnsId, NetnsName, NodeName};
use crate::snapshot::{FdbEntry, Kube, LinkKind, Netns, Node, Route, RouteType, Routes};

use super::{DevRef, Joint, Reach, SegmentId, Topology, Vertex, underlay, veth};

impl Topology {
    /// Builds the graph. What contradicts itself or can be read in two ways is a gap.
    #[must_use]
    pub fn build(namespaces: &[Netns], nodes: &BTreeMap<NodeName, Node>, kube: &Kube) -> (Self, Vec<Gap>) {
        let mut gaps = Vec::new();
        let mut topology = Self::default();
        topology.add_devices(namespaces);
        topology.add_masters_and_lowers(namespaces);
        for (one, other) in veth::pairs(namespaces, nodes, &mut gaps) {
            topology.join(&one, &other, Joint::Veth);
        }
        topology.add_underlay(namespaces, kube);
        let faces_underlay = |bridge: &DevRef| {
            topology.ports(bridge.netns, &bridge.link).iter().any(|port| topology.is_underlay(bridge.netns, port))
        };
        let reach = Reach::new(namespaces, kube, faces_underlay);
        topology.reach = reach;
        topology.add_vteps(namespaces);
        topology.assumed = assumed_peers(namespaces, nodes);
        (topology, gaps)
    }

    /// Every device that a link file lists, and every other that an address, route, neighbour or FDB entry names.
    fn add_devices(&mut self, namespaces: &[Netns]) {
        for (id, netns) in (0u32..).map(NetnsId).zip(namespaces) {
            let mut vertices = HashMap::new();
            let mut last = None;
            for dev in devices(netns) {
                // Most rows of a long table name the device of the one above them.
                if last.replace(dev) != Some(dev) && !vertices.contains_key(dev) {
                    let vertex = self.graph.add_node(Vertex::Device(DevRef::new(id, dev)));
                    vertices.insert(dev.clone(), vertex);
                }
            }
            self.vertices.push(vertices);
        }
    }

    fn add_masters_and_lowers(&mut self, namespaces: &[Netns]) {
        for (id, netns) in (0u32..).map(NetnsId).zip(namespaces) {
            for link in netns.links.iter().flatten() {
                let dev = DevRef::new(id, &link.name);
                if let Some(master) = &link.master {
                    self.join(&dev, &DevRef::new(id, master), Joint::Port);
                }
                let lower = match &link.kind {
                    LinkKind::Vxlan(vxlan) => vxlan.dev.as_ref(),
                    LinkKind::Vlan(vlan) => vlan.lower.as_ref(),
                    _ => None,
                };
                if let Some(lower) = lower {
                    self.join(&dev, &DevRef::new(id, lower), Joint::Lower);
                }
            }
        }
    }

    fn add_underlay(&mut self, namespaces: &[Netns], kube: &Kube) {
        let devices = underlay::devices(self, namespaces, kube);
        for (number, members) in (0u32..).zip(underlay::segments(&devices, namespaces)) {
            let segment = self.graph.add_node(Vertex::Segment(SegmentId(number)));
            for member in members {
                if let Some(dev) = self.vertex(member.netns, &member.link) {
                    self.graph.add_edge(dev, segment, Joint::Segment);
                }
            }
        }
        let mut vertices: Vec<NodeIndex> =
            devices.iter().filter_map(|(dev, _)| self.vertex(dev.netns, &dev.link)).collect();
        vertices.sort();
        self.underlay = vertices;
    }

    /// A VXLAN device sends to the VXLAN devices of whoever owns an FDB entry's remote address.
    fn add_vteps(&mut self, namespaces: &[Netns]) {
        let mut edges = HashSet::new();
        for (id, netns) in (0u32..).map(NetnsId).zip(namespaces) {
            for entry in netns.fdb.iter().flatten() {
                for remote in self.vteps(namespaces, netns, entry) {
                    edges.insert((DevRef::new(id, &entry.dev), remote));
                }
            }
        }
        let mut edges: Vec<(DevRef, DevRef)> = edges.into_iter().collect();
        edges.sort();
        for (from, to) in edges {
            self.join(&from, &to, Joint::Vtep);
        }
    }

    fn vteps(&self, namespaces: &[Netns], netns: &Netns, entry: &FdbEntry) -> Vec<DevRef> {
        let Some(dst) = entry.dst else { return Vec::new() };
        let Some(LinkKind::Vxlan(local)) = netns.link(&entry.dev).map(|link| &link.kind) else { return Vec::new() };
        let (vni, port) = (entry.vni.unwrap_or(local.vni), entry.port.unwrap_or(local.port));
        let mut found = Vec::new();
        for owner in self.reach.owners(dst) {
            let links = namespaces.get(owner.netns.0 as usize).and_then(|netns| netns.links.as_ref());
            for link in links.into_iter().flatten() {
                if matches!(&link.kind, LinkKind::Vxlan(remote) if remote.vni == vni && remote.port == port) {
                    found.push(DevRef::new(owner.netns, &link.name));
                }
            }
        }
        found
    }

    fn join(&mut self, from: &DevRef, to: &DevRef, joint: Joint) {
        if let (Some(from), Some(to)) = (self.vertex(from.netns, &from.link), self.vertex(to.netns, &to.link)) {
            self.graph.add_edge(from, to, joint);
        }
    }
}

/// The devices that any table names, those of the link file first. Masters and lower devices count too.
fn devices(netns: &Netns) -> impl Iterator<Item = &IfName> {
    let links = netns.links.iter().flatten();
    let named = links.clone().map(|link| &link.name).chain(links.filter_map(|link| link.master.as_ref()));
    let addrs = netns.addrs.iter().flatten().map(|addr| &addr.dev);
    let routes = [&netns.routes, &netns.routes6].into_iter().flatten().flat_map(Routes::rows);
    let hops = routes.flat_map(|route| &route.nexthops).filter_map(|hop| hop.dev.as_ref());
    let neighs = netns.neighs.iter().flatten().map(|neigh| &neigh.dev);
    let fdb = netns.fdb.iter().flatten().flat_map(|entry| std::iter::once(&entry.dev).chain(&entry.master));
    let tuns = netns.tuns.iter().flatten().map(|tun| &tun.dev);
    named.chain(addrs).chain(hops).chain(neighs).chain(fdb).chain(tuns)
}

/// Where a link file is missing, a pod's device is taken to hang on the one device of its node that owns the pod's
/// gateway address.
fn assumed_peers(namespaces: &[Netns], nodes: &BTreeMap<NodeName, Node>) -> HashMap<DevRef, DevRef> {
    let mut assumed = HashMap::new();
    for node in nodes.values() {
        let Some(host_id) = node.host else { continue };
        let Some(host) = namespaces.get(host_id.0 as usize) else { continue };
        for &pod_id in node.pods.values() {
            let Some(pod) = namespaces.get(pod_id.0 as usize) else { continue };
            if pod.links.is_some() && host.links.is_some() {
                continue;
            }
            for (dev, owner) in gateways(pod, host) {
                assumed.entry(DevRef::new(pod_id, dev)).or_insert_with(|| DevRef::new(host_id, owner));
            }
        }
    }
    assumed
}

/// The pod's devices whose gateway is an address of exactly one device of the host.
fn gateways<'a>(pod: &'a Netns, host: &'a Netns) -> Vec<(&'a IfName, &'a IfName)> {
    let mut found = Vec::new();
    let routes = [&pod.routes, &pod.routes6].into_iter().flatten().flat_map(Routes::rows);
    for hop in routes.filter(|route| is_unicast(route)).flat_map(|route| &route.nexthops) {
        let (Some(via), Some(dev)) = (hop.via, &hop.dev) else { continue };
        let mut owners: Vec<&IfName> =
            host.addrs.iter().flatten().filter(|addr| addr.address == via).map(|addr| &addr.dev).collect();
        owners.dedup();
        if let [owner] = owners.as_slice() {
            found.push((dev, *owner));
        }
    }
    found
}

fn is_unicast(route: &Route) -> bool {
    route.kind == RouteType::Unicast
}

impl Netns {
    /// Whether this is a node's own namespace.
    pub(super) fn is_host(&self) -> bool {
        self.name == NetnsName::Host
    }
}
