//! Who hears a frame: the stacks that a broadcast from a device reaches, through veth pairs, bridges and the underlay.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::net::{IfName, MacAddr, VlanTag};
use crate::snapshot::{Link, LinkKind, Netns, NetnsId, PortState, Snapshot};
use crate::trace::Verdict;

use super::bridge_vlan::{self, Tags};
use super::end::Stage;
use super::skb::DevRef;
use super::vlan;

/// What a broadcast from one device reaches.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// The devices whose stack takes it.
    pub stacks: Vec<DevRef>,
    /// Whether it also goes out on the network between nodes.
    pub underlay: bool,
    /// Devices whose other end is not in the snapshot.
    pub hidden: Vec<IfName>,
    /// Whether bridges are taken to carry every VLAN.
    through_vlans: bool,
}

/// A frame at a device, with its tags.
type Tagged = (DevRef, Vec<VlanTag>);

impl Reach {
    /// Follows a broadcast out of a device.
    pub(super) fn from(snapshot: &Snapshot, netns: NetnsId, dev: &IfName) -> Self {
        Self::tagged(snapshot, netns, dev, Vec::new())
    }

    /// Follows a broadcast with VLAN tags out of a device.
    pub(super) fn tagged(snapshot: &Snapshot, netns: NetnsId, dev: &IfName, tags: Vec<VlanTag>) -> Self {
        let mut reach = Self::default();
        reach.follow(snapshot, vec![((netns, dev.clone()), tags)]);
        reach
    }

    /// Follows a broadcast out of a device as if bridges carried every VLAN: whom a frame would reach that a bridge drops
    /// for its VLAN.
    pub(super) fn through_vlans(snapshot: &Snapshot, netns: NetnsId, dev: &IfName) -> Self {
        let mut reach = Self { through_vlans: true, ..Self::default() };
        reach.follow(snapshot, vec![((netns, dev.clone()), Vec::new())]);
        reach
    }

    /// Follows a broadcast with VLAN tags that comes in by a device.
    pub(super) fn into(snapshot: &Snapshot, netns: NetnsId, dev: &IfName, tags: &[VlanTag]) -> Self {
        let (mut reach, mut leaving) = (Self::default(), Vec::new());
        reach.arrive(snapshot, (netns, dev.clone()), tags, &mut leaving);
        reach.follow(snapshot, leaving);
        reach
    }

    fn follow(&mut self, snapshot: &Snapshot, mut leaving: Vec<Tagged>) {
        let mut seen = HashSet::new();
        while let Some(at) = leaving.pop() {
            if seen.insert(at.clone()) {
                self.leave(snapshot, &at, &mut leaving);
            }
        }
    }

    /// Whether the broadcast reaches a device with this link address.
    pub(super) fn has_lladdr(&self, snapshot: &Snapshot, lladdr: MacAddr) -> bool {
        self.stacks
            .iter()
            .any(|(netns, dev)| snapshot.netns(*netns).link(dev).is_some_and(|link| link.lladdr == Some(lladdr)))
    }

    fn leave(&mut self, snapshot: &Snapshot, (at, tags): &Tagged, leaving: &mut Vec<Tagged>) {
        let (netns, dev) = at;
        let tables = snapshot.netns(*netns);
        match tables.link(dev).map(|link| &link.kind) {
            Some(LinkKind::Bridge(_)) => {
                let Some(tags) = self.bridged(bridge_vlan::allowed_ingress(tables, dev, dev, tags), tags) else {
                    return;
                };
                let all = ports(snapshot, *netns, dev);
                leaving.extend(all.filter_map(|port| self.out_of(tables, (*netns, dev), port, &tags)));
                return;
            }
            Some(LinkKind::Vxlan(_)) => {
                self.leave_by_tunnel(snapshot, at, tags, leaving);
                return;
            }
            Some(LinkKind::Vlan(vlan)) => {
                match (&vlan.lower, vlan::tagged(tags, vlan)) {
                    (Some(lower), Some(tags)) => leaving.push(((*netns, lower.clone()), tags)),
                    _ => self.hidden.push(dev.clone()),
                }
                return;
            }
            Some(LinkKind::Loopback | LinkKind::Dummy | LinkKind::Tun { .. }) => return,
            _ => {}
        }
        let face = vlan::face(tables, dev, tags);
        if let Some(peer) = snapshot.topology.veth_peer(*netns, dev) {
            self.arrive(snapshot, (peer.netns, peer.link), tags, leaving);
        } else if [&face, dev].into_iter().any(|dev| snapshot.topology.is_underlay(*netns, dev)) {
            self.underlay = true;
            for other in snapshot.topology.segment_devices(*netns, &face) {
                let filters = bridge_vlan::is_filtering_port(snapshot.netns(other.netns), &other.link);
                let tags = if filters { tags.as_slice() } else { &[] };
                self.arrive(snapshot, (other.netns, other.link), tags, leaving);
            }
        } else {
            self.hidden.push(dev.clone());
        }
    }

    /// A VXLAN device sends broadcasts where its all-zero entries say.
    fn leave_by_tunnel(
        &mut self,
        snapshot: &Snapshot,
        (netns, dev): &DevRef,
        tags: &[VlanTag],
        leaving: &mut Vec<Tagged>,
    ) {
        let tables = snapshot.netns(*netns);
        let defaults = tables.fdb.iter().flatten().filter(|entry| entry.dev == *dev && entry.lladdr == MacAddr::ZERO);
        for vtep in defaults.filter_map(|entry| entry.dst) {
            for (remote, other) in snapshot.netns_ids().filter(|(_, other)| other.addr(vtep).is_some()) {
                let same = |kind: &LinkKind| match (kind, tables.link(dev).map(|link| &link.kind)) {
                    (LinkKind::Vxlan(theirs), Some(LinkKind::Vxlan(ours))) => theirs.vni == ours.vni,
                    _ => false,
                };
                for link in other.links.iter().flatten().filter(|link| same(&link.kind)) {
                    self.arrive(snapshot, (remote, link.name.clone()), tags, leaving);
                }
            }
        }
    }

    fn arrive(&mut self, snapshot: &Snapshot, at: DevRef, tags: &[VlanTag], leaving: &mut Vec<Tagged>) {
        let (netns, dev) = &at;
        let tables = snapshot.netns(*netns);
        let Some(link) = tables.link(dev) else {
            self.stacks.push(at);
            return;
        };
        if !link.up {
            return;
        }
        if let Some((upper, rest)) = upper(tables, dev, tags) {
            return self.arrive(snapshot, (*netns, upper), rest, leaving);
        }
        match &link.master {
            Some(_) if link.port.as_ref().is_some_and(|port| port.state != PortState::Forwarding) => {}
            Some(bridge) => {
                let Some(tags) = self.bridged(bridge_vlan::allowed_ingress(tables, bridge, dev, tags), tags) else {
                    return;
                };
                let others = ports(snapshot, *netns, bridge).filter(|port| port != dev);
                let others = others.filter(|port| may_pass(snapshot, *netns, dev, port));
                leaving.extend(others.filter_map(|port| self.out_of(tables, (*netns, bridge), port, &tags)));
                let Some(tags) = self.bridged(bridge_vlan::allowed_egress(tables, bridge, bridge, &tags), &tags) else {
                    return;
                };
                match upper(tables, bridge, &tags) {
                    Some((upper, rest)) => self.arrive(snapshot, (*netns, upper), rest, leaving),
                    None => self.stack((*netns, bridge.clone()), &tags),
                }
            }
            None => self.stack(at, tags),
        }
    }

    /// The tags behind a bridge's check; those from before where the table that it asks is missing.
    fn bridged(&self, checked: Stage<Tags>, before: &[VlanTag]) -> Option<Vec<VlanTag>> {
        match checked {
            Ok((tags, _)) => Some(tags),
            Err(end) if end.verdict == Verdict::Undetermined => Some(before.to_vec()),
            Err(_) => before.get(1..).or(Some(&[])).filter(|_| self.through_vlans).map(<[VlanTag]>::to_vec),
        }
    }

    /// A copy that leaves a bridge by a port.
    fn out_of(
        &self,
        tables: &Netns,
        (netns, bridge): (NetnsId, &IfName),
        port: IfName,
        tags: &[VlanTag],
    ) -> Option<Tagged> {
        let tags = self.bridged(bridge_vlan::allowed_egress(tables, bridge, &port, tags), tags)?;
        Some(((netns, port), tags))
    }

    /// A frame whose VLAN no device has is nobody's.
    fn stack(&mut self, at: DevRef, tags: &[VlanTag]) {
        if tags.iter().all(|tag| tag.id == 0) {
            self.stacks.push(at);
        }
    }
}

/// The VLAN device that gets a frame, and the tags that are left.
fn upper<'t>(netns: &Netns, dev: &IfName, tags: &'t [VlanTag]) -> Option<(IfName, &'t [VlanTag])> {
    let (tag, rest) = tags.split_first()?;
    Some((vlan::vlan_find_dev(netns, dev, *tag)?.name.clone(), rest))
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
