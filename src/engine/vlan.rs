//! VLAN tags: a VLAN device puts one on what it sends, and gets what comes in with it.
//!
//! Follows `net/8021q/vlan_dev.c`, `net/8021q/vlan_core.c` and `__netif_receive_skb_core` in `net/core/dev.c`.

use crate::net::{IfName, VlanTag};
use crate::snapshot::{Link, LinkKind, Netns, Snapshot, Vlan};
use crate::trace::{EndCause, Reason};

use super::end::{End, Next, Stage};
use super::pkt_type::PktType;
use super::skb::{DevRef, Priority};
use super::unread;
use super::walk::Walk;

/// More tags than this are on no frame: a file says of two devices that each is the other's lower one.
const MOST_TAGS: usize = 8;

/// The device of a tag's VLAN upon another device (`vlan_find_dev`).
pub(super) fn vlan_find_dev<'s>(netns: &'s Netns, lower: &IfName, tag: VlanTag) -> Option<&'s Link> {
    let is_it = |vlan: &Vlan| vlan.lower.as_ref() == Some(lower) && vlan.has(tag);
    netns.links.iter().flatten().find(|link| matches!(&link.kind, LinkKind::Vlan(vlan) if is_it(vlan)))
}

/// A VLAN device puts its tag on the frame and gives it to the device below (`vlan_dev_hard_start_xmit`).
pub(super) fn vlan_dev_hard_start_xmit(walk: &mut Walk, link: &Link, vlan: &Vlan) -> Stage<Next> {
    let Some(lower) = &vlan.lower else {
        let what = format!("which device of another namespace is below {} is not known", link.name);
        return Err(End::undetermined(Reason::MissingTable, what).because([link.evidence]));
    };
    let Some(tags) = tagged(&walk.packet().tags, vlan) else {
        let what = format!("{} is a VLAN device upon more others than a frame has tags", link.name);
        return Err(End::undetermined(Reason::NotModelled, what).because([link.evidence]));
    };
    walk.retag(tags, Some(link.kind_evidence));
    Ok(Next::Xmit(lower.clone()))
}

/// The tags of a frame behind a VLAN device.
pub(super) fn tagged(tags: &[VlanTag], vlan: &Vlan) -> Option<Vec<VlanTag>> {
    let priority = Some(0).filter(|_| !vlan.maps_priority);
    let tag = VlanTag { priority, ..vlan.tag() };
    (tags.len() < MOST_TAGS).then(|| [&[tag], tags].concat())
}

/// The device upon this one that gets a frame with a tag, if there is one (`vlan_do_receive`).
pub(super) fn vlan_do_receive(walk: &mut Walk, dev: &IfName) -> Stage<Option<IfName>> {
    let Some((&tag, rest)) = walk.packet().tags.split_first() else { return Ok(None) };
    let rest = rest.to_vec();
    let netns = walk.netns();
    if netns.links.is_none() {
        let what = format!("{}: which devices upon {dev} have VLAN {} is not known", netns.lacks("link.txt"), tag.id);
        return Err(End::undetermined(Reason::MissingTable, what));
    }
    let Some(upper) = vlan_find_dev(netns, dev, tag) else {
        unread::doubt_vlan(walk, dev, tag.id);
        return elsewhere(walk, dev, tag).map_or(Ok(None), Err);
    };
    if !upper.up {
        let detail = format!("{} is down", upper.name);
        return Err(End::dropped(Reason::DeviceDown).detail(detail).because([upper.evidence]));
    }
    let destination = walk.packet().link.map(|link| link.destination);
    let is_of = |link: &Link| destination.is_some() && link.lladdr == destination;
    if walk.skb.pkt_type == Some(PktType::OtherHost) && is_of(upper) {
        walk.skb.pkt_type = Some(PktType::Host);
    }
    // The device below has compared the address with its own.
    walk.skb.to_host |= netns.link(dev).is_some_and(is_of);
    walk.skb.priority = received_priority(upper);
    walk.retag(rest, Some(upper.kind_evidence));
    Ok(Some(upper.name.clone()))
}

/// `skb->priority` of what a VLAN device gets (`vlan_get_ingress_priority` in `net/8021q/vlan.h`).
pub(super) fn received_priority(link: &Link) -> Priority {
    match &link.kind {
        LinkKind::Vlan(vlan) if vlan.maps_priority => Priority::Senders,
        _ => Priority::Known(0),
    }
}

/// A VLAN device may be in another namespace than the device below it, of which that one's file has the index alone.
fn elsewhere(walk: &Walk, dev: &IfName, tag: VlanTag) -> Option<Box<End>> {
    let here = walk.netns();
    let index = here.link(dev).and_then(|link| link.index);
    let may_be = |link: &&Link| {
        let is_index = index.is_none() || link.peer_index.is_none() || link.peer_index == index;
        is_index && matches!(&link.kind, LinkKind::Vlan(vlan) if vlan.lower.is_none() && vlan.has(tag))
    };
    let others = walk.snapshot.namespaces.iter().filter(|other| other.node == here.node && other.dir != here.dir);
    let (other, link) = others
        .flat_map(|other| other.links.iter().flatten().map(move |link| (other, link)))
        .find(|(_, link)| may_be(link))?;
    let what = format!(
        "{} of {} is of VLAN {}, and whether the device below it is {dev} of {} is not known",
        link.name, other.dir, tag.id, here.dir
    );
    Some(End::undetermined(Reason::MissingTable, what).because([link.evidence]))
}

/// What no VLAN device has taken goes up as it is if its tag is of VLAN 0, and is nobody's with any other (`check_vlan_id`
/// in `__netif_receive_skb_core`). Behind a tag of VLAN 0 a device may be for the next one: it is the answer.
pub(super) fn check_vlan_id(walk: &mut Walk, dev: &IfName) -> Stage<Option<IfName>> {
    while let Some((tag, rest)) = walk.packet().tags.split_first() {
        if tag.id != 0 {
            let cause = EndCause::NoVlanDevice { device: dev.clone(), vid: tag.id };
            let line = walk.netns().link(dev).map(|link| link.evidence);
            return Err(End::dropped(Reason::OtherHost).cause(cause).because(line));
        }
        let rest = rest.to_vec();
        walk.retag(rest, None);
        if let Some(upper) = vlan_do_receive(walk, dev)? {
            return Ok(Some(upper));
        }
    }
    Ok(None)
}

/// The bytes of the tags that are counted with the packet: of the outermost one the kernel keeps note beside it
/// (`skb->vlan_tci`).
pub(super) fn inner_tags(walk: &Walk) -> u32 {
    let inner = walk.packet().tags.len().saturating_sub(1);
    4 * u32::try_from(inner).unwrap_or(u32::MAX / 4)
}

/// The device that has the addresses of what leaves by a device with some tags: the VLAN device upon it, or upon the
/// bridge that it is a port of.
pub(super) fn face(netns: &Netns, dev: &IfName, tags: &[VlanTag]) -> IfName {
    let mut face = dev.clone();
    for tag in tags {
        let master = netns.link(&face).and_then(|link| link.master.clone());
        let upper = [Some(face.clone()), master].into_iter().flatten().find_map(|dev| vlan_find_dev(netns, &dev, *tag));
        let Some(upper) = upper else { return dev.clone() };
        face = upper.name.clone();
    }
    face
}

/// Where frames for a device come in from outside, and with which tags: for a VLAN device the one below it, and a
/// bridge's port that faces the network between nodes.
pub(super) fn entrance(snapshot: &Snapshot, (netns, dev): &DevRef) -> (DevRef, Vec<VlanTag>) {
    let tables = snapshot.netns(*netns);
    let (mut at, mut tags) = (dev.clone(), Vec::new());
    while let Some(LinkKind::Vlan(vlan)) = tables.link(&at).map(|link| &link.kind) {
        let (Some(lower), true) = (&vlan.lower, tags.len() < MOST_TAGS) else { break };
        tags.insert(0, vlan.tag());
        at = lower.clone();
    }
    if let Some(LinkKind::Bridge(_)) = tables.link(&at).map(|link| &link.kind) {
        let ports = snapshot.topology.ports(*netns, &at);
        at = ports.into_iter().find(|port| snapshot.topology.is_underlay(*netns, port)).unwrap_or(at);
    }
    ((*netns, at), tags)
}
