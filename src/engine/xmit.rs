//! What a device does with a packet that it is given.
//!
//! Follows `net/core/dev.c`, `drivers/net/veth.c`, `drivers/net/loopback.c` and `drivers/net/dummy.c`.

use crate::net::IfName;
use crate::snapshot::{Link, LinkKind, NetnsId};
use crate::trace::{Decision, EndCause, Hook, Reason};

use super::bridge::{br_dev_xmit, frame_length};
use super::conntrack::Nfct;
use super::end::{End, Next, Stage};
use super::link::other_end;
use super::nft;
use super::skb::Priority;
use super::tun;
use super::underlay;
use super::unread;
use super::vlan;
use super::vxlan;
use super::walk::Walk;

/// A device is given the packet (`__dev_queue_xmit`). A capture on it sees the packet unless the device is down or the
/// egress hook, which comes before, drops it.
pub(super) fn dev_queue_xmit(walk: &mut Walk, dev: &IfName) -> Stage<Next> {
    walk.skb.own = false;
    let netns = walk.netns();
    let Some(link) = netns.link(dev) else { return without_link(walk, dev) };
    if !link.up || !link.carrier {
        let what = if link.up { "has no carrier" } else { "is down" };
        return Err(End::dropped(Reason::DeviceDown).detail(format!("{dev} {what}")).because([link.evidence]));
    }
    unread::doubt_link(walk, dev);
    if let Some(other) = nft::nf_device(walk, Hook::Egress, dev)? {
        return Ok(Next::Xmit(other));
    }
    walk.skb.sent_on = 0;
    dev_hard_start_xmit(walk, dev, link)
}

/// The device itself has the packet (`dev_hard_start_xmit`): this is where a capture on it sees what goes out.
pub(super) fn dev_hard_start_xmit(walk: &mut Walk, dev: &IfName, link: &Link) -> Stage<Next> {
    walk.take(Decision::Transmit { device: dev.clone() }, None);
    match &link.kind {
        LinkKind::Loopback => Ok(Next::Receive(walk.netns_id(), dev.clone())),
        LinkKind::Bridge(_) => br_dev_xmit(walk, dev),
        LinkKind::Vxlan(settings) => vxlan::vxlan_xmit(walk, link, settings),
        LinkKind::Vlan(settings) => vlan::vlan_dev_hard_start_xmit(walk, link, settings),
        LinkKind::Tun { tap: false } => tun::tun_net_xmit(walk, dev, link),
        LinkKind::Dummy => {
            Err(End::dropped(Reason::NoReceiver).cause(EndCause::DummyDevice(dev.clone())).because([link.evidence]))
        }
        _ => to_the_wire(walk, link),
    }
}

/// A device whose file is missing, or that the file doesn't have.
fn without_link(walk: &mut Walk, dev: &IfName) -> Stage<Next> {
    let netns = walk.netns();
    if netns.links.is_some() {
        let route = walk.skb.dst.as_ref().filter(|dst| dst.dev == *dev).map(|dst| dst.because.clone());
        let detail = format!("{}/link.txt has no device {dev}", netns.dir);
        return Err(End::dropped(Reason::NoDevice).detail(detail).because(route.unwrap_or_default()));
    }
    if let Some((owner, other)) = walk.skb.next_hop.as_ref().and_then(|next_hop| next_hop.owner.clone()) {
        walk.take(Decision::Transmit { device: dev.clone() }, None);
        return Ok(arrive(walk, owner, other));
    }
    let what = format!("{}: what {dev} is, and where it leads, is not known", netns.lacks("link.txt"));
    Err(End::undetermined(Reason::MissingTable, what))
}

/// Out of the namespace: to the other end of a veth pair, or onto the network between nodes.
fn to_the_wire(walk: &mut Walk, link: &Link) -> Stage<Next> {
    let netns = walk.netns_id();
    if let Some(peer) = walk.snapshot.topology.veth_peer(netns, &link.name) {
        return veth_xmit(walk, peer.netns, peer.link);
    }
    let face = vlan::face(walk.netns(), &link.name, &walk.packet().tags);
    if [&face, &link.name].into_iter().any(|dev| walk.snapshot.topology.is_underlay(netns, dev)) {
        return underlay::carry(walk, &face);
    }
    if let Some((owner, other)) = walk.skb.next_hop.as_ref().and_then(|next_hop| next_hop.owner.clone()) {
        return Ok(arrive(walk, owner, other));
    }
    let not_modelled = |what: String| Err(End::undetermined(Reason::NotModelled, what).because([link.evidence]));
    let what = match &link.kind {
        LinkKind::Other(kind) => {
            return not_modelled(format!("{} is a device of kind {kind}, which is not modelled", link.name));
        }
        _ => other_end(walk.snapshot, walk.netns(), &link.name, walk.packet().ip.destination),
    };
    Err(End::undetermined(Reason::MissingTable, what).because([link.evidence]))
}

/// To the other end of a veth pair, which takes frames up to its own MTU and a VLAN tag (`veth_xmit`,
/// `____dev_forward_skb`).
fn veth_xmit(walk: &mut Walk, netns: NetnsId, peer: IfName) -> Stage<Next> {
    let Some(link) = walk.snapshot.netns(netns).link(&peer) else { return Ok(arrive(walk, netns, peer)) };
    if !link.up {
        let detail = format!("{peer}, the other end, is down");
        return Err(End::dropped(Reason::DeviceDown).detail(detail).because([link.evidence]));
    }
    let length = frame_length(walk);
    if let Some(mtu) = link.mtu.filter(|mtu| length > mtu + 4) {
        let detail = format!("{length} bytes don't fit the MTU of {peer}, {mtu}");
        return Err(End::dropped(Reason::TooBig).detail(detail).because([link.evidence]));
    }
    Ok(arrive(walk, netns, peer))
}

/// `skb->priority` of what comes in by a device: 0 (`____dev_forward_skb` in `include/linux/netdevice.h`), unless the
/// device has it from a tag of the frame (`vlan_do_receive` in `net/8021q/vlan_core.c`) or is of a kind that nobody knows.
pub(super) fn received_priority(walk: &Walk, netns: NetnsId, dev: &IfName) -> Priority {
    match walk.snapshot.netns(netns).link(dev) {
        Some(Link { kind: LinkKind::Other(_) | LinkKind::Undetailed(_), .. }) => Priority::Senders,
        Some(link) => vlan::received_priority(link),
        None => Priority::Known(0),
    }
}

/// The packet is in another device's hands: what the sender's stack kept beside it is gone (`skb_scrub_packet`).
pub(super) fn arrive(walk: &mut Walk, netns: NetnsId, dev: IfName) -> Next {
    walk.tell_sender();
    walk.skb.nfct = Nfct::None;
    walk.skb.dst = None;
    walk.skb.dst_error = None;
    walk.skb.nf_bridge = None;
    walk.skb.ignore_df = false;
    walk.skb.came_back = None;
    walk.skb.options = None;
    walk.skb.priority = received_priority(walk, netns, &dev);
    Next::Receive(netns, dev)
}
