//! Who hears a frame: the stacks that a broadcast from a device reaches, through veth pairs, bridges and the underlay.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::net::{IfName, MacAddr};
use crate::snapshot::{Link, LinkKind, Netns, NetnsId, PortState, Snapshot};

use super::skb::DevRef;

/// What a broadcast from one device reaches.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// The devices whose stack takes it.
    pub stacks: Vec<DevRef>,
    /// Whether it also goes out on the network between nodes.
    pub underlay: bool,
    /// Devices whose other end is not in the snapshot.
    pub hidden: Vec<IfName>,
}

impl Reach {
    /// Follows a broadcast out of a device.
    pub(super) fn from(snapshot: &Snapshot, netns: NetnsId, dev: &IfName) -> Self {
        let mut reach = Self::default();
        let mut seen = HashSet::new();
        let mut leaving = vec![(netns, dev.clone())];
        while let Some(at) = leaving.pop() {
            if seen.insert(at.clone()) {
                reach.leave(snapshot, &at, &mut leaving);
            }
        }
        reach
    }

    /// Whether the broadcast reaches a device with this link address.
    pub(super) fn has_lladdr(&self, snapshot: &Snapshot, lladdr: MacAddr) -> bool {
        self.stacks
            .iter()
            .any(|(netns, dev)| snapshot.netns(*netns).link(dev).is_some_and(|link| link.lladdr == Some(lladdr)))
    }

    fn leave(&mut self, snapshot: &Snapshot, at: &DevRef, leaving: &mut Vec<DevRef>) {
        let (netns, dev) = at;
        let tables = snapshot.netns(*netns);
        match tables.link(dev).map(|link| &link.kind) {
            Some(LinkKind::Bridge(_)) => {
                leaving.extend(ports(snapshot, *netns, dev).map(|port| (*netns, port)));
                return;
            }
            Some(LinkKind::Vxlan(_)) => {
                self.leave_by_tunnel(snapshot, at, leaving);
                return;
            }
            Some(LinkKind::Loopback | LinkKind::Dummy | LinkKind::Tun { .. }) => return,
            _ => {}
        }
        if let Some(peer) = snapshot.topology.veth_peer(*netns, dev) {
            self.arrive(snapshot, (peer.netns, peer.link), leaving);
        } else if snapshot.topology.is_underlay(*netns, dev) {
            self.underlay = true;
            for other in snapshot.topology.segment_devices(*netns, dev) {
                self.arrive(snapshot, (other.netns, other.link), leaving);
            }
        } else {
            self.hidden.push(dev.clone());
        }
    }

    /// A VXLAN device sends broadcasts where its all-zero entries say.
    fn leave_by_tunnel(&mut self, snapshot: &Snapshot, (netns, dev): &DevRef, leaving: &mut Vec<DevRef>) {
        let tables = snapshot.netns(*netns);
        let defaults = tables.fdb.iter().flatten().filter(|entry| entry.dev == *dev && entry.lladdr == MacAddr::ZERO);
        for vtep in defaults.filter_map(|entry| entry.dst) {
            for (remote, other) in snapshot.netns_ids().filter(|(_, other)| other.addr(vtep).is_some()) {
                let same = |kind: &LinkKind| match (kind, tables.link(dev).map(|link| &link.kind)) {
                    (LinkKind::Vxlan(theirs), Some(LinkKind::Vxlan(ours))) => theirs.vni == ours.vni,
                    _ => false,
                };
                for link in other.links.iter().flatten().filter(|link| same(&link.kind)) {
                    self.arrive(snapshot, (remote, link.name.clone()), leaving);
                }
            }
        }
    }

    fn arrive(&mut self, snapshot: &Snapshot, at: DevRef, leaving: &mut Vec<DevRef>) {
        let (netns, dev) = &at;
        let Some(link) = snapshot.netns(*netns).link(dev) else {
            self.stacks.push(at);
            return;
        };
        if !link.up {
            return;
        }
        match &link.master {
            Some(_) if link.port.as_ref().is_some_and(|port| port.state != PortState::Forwarding) => {}
            Some(bridge) => {
                let others = ports(snapshot, *netns, bridge).filter(|port| port != dev);
                leaving.extend(others.filter(|port| may_pass(snapshot, *netns, dev, port)).map(|port| (*netns, port)));
                self.stacks.push((*netns, bridge.clone()));
            }
            None => self.stacks.push(at),
        }
    }
}

/// Whether a broadcast may go from one bridge port to another: isolated ports hear each other no more than they talk.
fn may_pass(snapshot: &Snapshot, netns: NetnsId, from: &IfName, to: &IfName) -> bool {
    let settings = |dev: &IfName| snapshot.netns(netns).link(dev).and_then(|link| link.port.as_ref());
    let isolated = |dev: &IfName| settings(dev).is_some_and(|port| port.isolated);
    !(isolated(from) && isolated(to)) && settings(to).is_none_or(|port| port.bcast_flood)
}

/// The ports of a bridge that are up.
pub(super) fn ports<'s>(
    snapshot: &'s Snapshot,
    netns: NetnsId,
    bridge: &IfName,
) -> impl Iterator<Item = IfName> + use<'s> {
    let bridge = bridge.clone();
    let links = snapshot.netns(netns).links.iter().flatten();
    let carries = |link: &Link| link.port.as_ref().is_none_or(|port| port.state == PortState::Forwarding);
    let is_port = move |link: &&Link| link.master.as_ref() == Some(&bridge) && link.up && carries(link);
    links.filter(is_port).map(|link| link.name.clone())
}

/// Says that a device's kind is what a link file taken without `-d` lacks.
pub(super) fn undetailed(snapshot: &Snapshot, link: &Link) -> String {
    let file = snapshot.files.path(link.evidence);
    format!("{file} was taken without -d, and what `ip -d link show` says of {} is missing", link.name)
}

/// What is missing of the other end of a device, on the way to an address: the device's kind, the link file of a
/// namespace that is there, of the one that has the address before others, or the namespace itself.
pub(super) fn other_end(snapshot: &Snapshot, netns: &Netns, dev: &IfName, address: IpAddr) -> String {
    if let Some(link) = netns.link(dev).filter(|link| matches!(link.kind, LinkKind::Undetailed(_))) {
        return undetailed(snapshot, link);
    }
    if let Some(folder) = snapshot.absent_pod(&netns.node, address) {
        return format!("the snapshot has no {folder}, the namespace that has {address}");
    }
    let unlisted = |other: &&Netns| other.node == netns.node && other.links.is_none();
    let mut beside = snapshot.namespaces.iter().filter(unlisted);
    let owner = beside.clone().find(|other| other.addr(address).is_some());
    match owner.or_else(|| beside.next()) {
        Some(other) => format!("{}: whether it is at the other end of {dev} is not known", other.lacks("link.txt")),
        None => format!("the namespace at the other end of {dev} is not in the snapshot"),
    }
}
