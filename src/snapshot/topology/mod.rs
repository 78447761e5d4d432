//! How devices hang together: one graph of every namespace's devices and the underlay segments between nodes.
//!
//! It is built once, at load, from the tables alone. What the tables don't tell stays out of the graph; the one thing
//! that is assumed, where a pod's link file is missing, is kept apart ([`Topology::assumed_peer`]).

mod build;
mod reach;
mod underlay;
mod veth;

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::net::{Family, IfName, NetnsId, NodeName};

use super::{KubeNode, Pod, Snapshot};

pub use reach::Reach;

/// A device of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevRef {
    /// The namespace.
    pub netns: NetnsId,
    /// The device's name in it.
    pub link: IfName,
}

impl DevRef {
    /// A device by namespace and name.
    #[must_use]
    pub fn new(netns: NetnsId, link: &IfName) -> Self {
        Self { netns, link: link.clone() }
    }
}

/// A vertex of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vertex {
    /// A device.
    Device(DevRef),
    /// A network between nodes, by number.
    Segment(SegmentId),
}

/// An underlay segment: devices that reach one another without a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u32);

/// An edge of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// The two ends of a veth pair.
    Veth,
    /// From a bridge port to its bridge.
    Port,
    /// From a VLAN or VXLAN device to the device below it.
    Lower,
    /// From a VXLAN device to one that an FDB entry sends to.
    Vtep,
    /// From an underlay device to its segment.
    Segment,
}

/// The graph of namespaces and devices.
#[derive(Debug, Default)]
pub struct Topology {
    graph: DiGraph<Vertex, Joint>,
    /// For each namespace, its devices' vertices.
    vertices: Vec<HashMap<IfName, NodeIndex>>,
    /// Sorted.
    underlay: Vec<NodeIndex>,
    assumed: HashMap<DevRef, DevRef>,
    reach: Reach,
}

impl Topology {
    /// Every vertex and edge.
    #[must_use]
    pub fn graph(&self) -> &DiGraph<Vertex, Joint> {
        &self.graph
    }

    /// Whether any table of the namespace names this device.
    #[must_use]
    pub fn knows(&self, netns: NetnsId, dev: &IfName) -> bool {
        self.vertex(netns, dev).is_some()
    }

    /// The other end of a veth pair, where the snapshot holds it.
    #[must_use]
    pub fn veth_peer(&self, netns: NetnsId, dev: &IfName) -> Option<DevRef> {
        let from = self.vertex(netns, dev)?;
        let edges = self.graph.edges_directed(from, Direction::Outgoing);
        let edges = edges.map(|edge| (edge.weight(), edge.target()));
        let back = self.graph.edges_directed(from, Direction::Incoming);
        let back = back.map(|edge| (edge.weight(), edge.source()));
        let (_, peer) = edges.chain(back).find(|(joint, _)| **joint == Joint::Veth)?;
        self.device(peer).cloned()
    }

    /// The device of the node that a pod's device is taken to hang on, where a link file is missing: the owner of the
    /// pod's gateway address. Whoever uses it has to say that it is assumed.
    #[must_use]
    pub fn assumed_peer(&self, netns: NetnsId, dev: &IfName) -> Option<DevRef> {
        self.assumed.get(&DevRef::new(netns, dev)).cloned()
    }

    /// The pods' devices that are taken to hang on a device of their node: [`Self::assumed_peer`] backwards.
    #[must_use]
    pub fn assumed_pods(&self, netns: NetnsId, dev: &IfName) -> Vec<DevRef> {
        let here = DevRef::new(netns, dev);
        let mut pods: Vec<DevRef> =
            self.assumed.iter().filter(|(_, joint)| **joint == here).map(|(pod, _)| pod.clone()).collect();
        pods.sort();
        pods
    }

    /// A bridge's ports, in the order of the link file.
    #[must_use]
    pub fn ports(&self, netns: NetnsId, bridge: &IfName) -> Vec<IfName> {
        let Some(bridge) = self.vertex(netns, bridge) else { return Vec::new() };
        self.neighbors(bridge, Joint::Port, Direction::Incoming).map(|dev| dev.link.clone()).collect()
    }

    /// Whether a device is a node's outermost one, behind which lies the network between nodes.
    #[must_use]
    pub fn is_underlay(&self, netns: NetnsId, dev: &IfName) -> bool {
        self.vertex(netns, dev).is_some_and(|vertex| self.underlay.binary_search(&vertex).is_ok())
    }

    /// Every node's outermost devices.
    pub fn underlay_devices(&self) -> impl Iterator<Item = DevRef> {
        self.underlay.iter().filter_map(|vertex| self.device(*vertex).cloned())
    }

    /// The underlay segment that a device is on, where one is known.
    #[must_use]
    pub fn segment(&self, netns: NetnsId, dev: &IfName) -> Option<SegmentId> {
        match self.graph.node_weight(self.segment_vertex(netns, dev)?)? {
            Vertex::Segment(id) => Some(*id),
            Vertex::Device(_) => None,
        }
    }

    /// The other devices on the same underlay segment.
    #[must_use]
    pub fn segment_devices(&self, netns: NetnsId, dev: &IfName) -> Vec<DevRef> {
        let Some(segment) = self.segment_vertex(netns, dev) else { return Vec::new() };
        let here = DevRef::new(netns, dev);
        self.neighbors(segment, Joint::Segment, Direction::Incoming).filter(|dev| **dev != here).cloned().collect()
    }

    /// Who has an address, and which prefixes are the cluster's.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    fn vertex(&self, netns: NetnsId, dev: &IfName) -> Option<NodeIndex> {
        self.vertices.get(netns.0 as usize)?.get(dev).copied()
    }

    fn device(&self, vertex: NodeIndex) -> Option<&DevRef> {
        match self.graph.node_weight(vertex)? {
            Vertex::Device(dev) => Some(dev),
            Vertex::Segment(_) => None,
        }
    }

    fn segment_vertex(&self, netns: NetnsId, dev: &IfName) -> Option<NodeIndex> {
        let dev = self.vertex(netns, dev)?;
        let mut edges = self.graph.edges_directed(dev, Direction::Outgoing);
        edges.find(|edge| *edge.weight() == Joint::Segment).map(|edge| edge.target())
    }

    /// The devices that edges of one kind lead to, in the order in which the edges were added.
    fn neighbors(&self, from: NodeIndex, joint: Joint, direction: Direction) -> impl Iterator<Item = &DevRef> {
        let mut edges: Vec<_> = self.graph.edges_directed(from, direction).filter(|e| *e.weight() == joint).collect();
        edges.sort_by_key(EdgeRef::id);
        edges.into_iter().filter_map(move |edge| {
            let other = if direction == Direction::Incoming { edge.source() } else { edge.target() };
            self.device(other)
        })
    }
}

impl Snapshot {
    /// The namespaces and devices that have an address.
    #[must_use]
    pub fn owner_of(&self, address: IpAddr) -> Vec<(NetnsId, IfName)> {
        self.topology.reach.owners(address).iter().map(|dev| (dev.netns, dev.link.clone())).collect()
    }

    /// The prefixes of the cluster's pods, sorted.
    #[must_use]
    pub fn known_prefixes(&self) -> &[IpNet] {
        self.topology.reach.prefixes()
    }

    /// Whether an address belongs to the cluster's pods, services or nodes, so that a packet to it that leaves
    /// without a receiver is lost and hasn't rightly left.
    #[must_use]
    pub fn is_cluster_address(&self, address: IpAddr) -> bool {
        self.topology.reach.is_cluster(address)
    }

    /// Whether the snapshot leaves open which nodes there are: no Node objects, and nobody in it has an address.
    #[must_use]
    pub fn may_be_a_missing_node(&self, address: IpAddr) -> bool {
        self.kube.nodes.is_none() && self.topology.reach.owners(address).is_empty()
    }

    /// Whether the snapshot holds one node alone.
    #[must_use]
    pub fn is_of_one_node(&self) -> bool {
        self.nodes.values().filter(|node| node.host.is_some()).count() == 1
    }

    /// The Node object that announces an address, of a node whose own tables are here and tell all its addresses.
    #[must_use]
    pub fn present_node(&self, address: IpAddr) -> Option<&KubeNode> {
        let tells_all = |node: &KubeNode| {
            let host = self.nodes.get(&node.name).and_then(|node| node.host);
            host.is_some_and(|host| !self.netns(host).may_have_more_addrs(Family::of(address)))
        };
        self.kube.nodes.iter().flatten().find(|node| node.internal_ips.contains(&address) && tells_all(node))
    }

    /// The folder of the pod of a node that has an address by its Pod object, where the snapshot doesn't hold it.
    #[must_use]
    pub fn absent_pod(&self, node: &NodeName, address: IpAddr) -> Option<String> {
        let here = |pod: &Pod| self.nodes.get(node).is_some_and(|node| node.pods.contains_key(&pod.name));
        let is_it = |pod: &&Pod| {
            pod.node.as_ref() == Some(node) && !pod.host_network && pod.is_live() && pod.ips.contains(&address)
        };
        let pod = self.kube.pods.iter().flatten().find(is_it).filter(|pod| !here(pod))?;
        Some(pod.name.folder(node.as_str()))
    }

    /// The Node object that has an address, where the node itself is not in the snapshot.
    #[must_use]
    pub fn absent_node(&self, address: IpAddr) -> Option<&KubeNode> {
        let here = |node: &KubeNode| self.nodes.get(&node.name).is_some_and(|node| node.host.is_some());
        let has = |node: &KubeNode| {
            let flannel = [node.flannel.public_ip, node.flannel.public_ipv6];
            node.internal_ips.iter().chain(&node.external_ips).chain(flannel.iter().flatten()).any(|ip| *ip == address)
        };
        self.kube.nodes.iter().flatten().find(|node| has(node) && !here(node))
    }
}
