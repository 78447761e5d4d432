//! Bridges that filter VLANs: into which one a frame belongs, and whether it has a tag where it leaves.
//!
//! Follows `net/bridge/br_vlan.c`.

use crate::evidence::Evidence;
use crate::net::{IfName, VlanProtocol, VlanTag};
use crate::snapshot::{Bridge, BridgeVlan, LinkKind, Netns};
use crate::trace::{EndCause, Reason};

use super::end::{End, Stage};
use super::unread;
use super::walk::Walk;

/// The tags of a frame, and the line that changed them.
pub(super) type Tags = (Vec<VlanTag>, Option<Evidence>);

/// Puts a frame that came in by a port, or from the bridge's own stack, into its VLAN, which is the answer: 0 on a bridge
/// that doesn't filter them (`br_allowed_ingress`).
pub(super) fn br_allowed_ingress(walk: &mut Walk, bridge: &IfName, port: &IfName) -> Stage<u16> {
    if !filters_vlans(walk.netns(), bridge) {
        return Ok(0);
    }
    unread::doubt_link(walk, bridge);
    let (tags, line) = allowed_ingress(walk.netns(), bridge, port, &walk.packet().tags)?;
    let vid = tags.first().map_or(0, |tag| tag.id);
    walk.retag(tags, line);
    Ok(vid)
}

/// The tags that a frame has within the bridge.
pub(super) fn allowed_ingress(netns: &Netns, bridge: &IfName, port: &IfName, tags: &[VlanTag]) -> Stage<Tags> {
    if !filters_vlans(netns, bridge) {
        return Ok((tags.to_vec(), None));
    }
    let Some(vlans) = &netns.bridge_vlans else {
        let what = format!("{}, and {bridge} filters VLANs", netns.lacks("bridge-vlan.txt"));
        return Err(End::undetermined(Reason::MissingTable, what));
    };
    // A tag of another protocol than the bridge's is a part of what the frame carries.
    let (own, rest) = match tags.split_first() {
        Some((tag, rest)) if tag.protocol == VlanProtocol::Customer => (Some(*tag), rest),
        _ => (None, tags),
    };
    if let Some(tag) = own.filter(|tag| tag.id != 0) {
        carried(netns, bridge, port, tag.id)?;
        return Ok((tags.to_vec(), None));
    }
    let Some(pvid) = vlans.iter().find(|vlan| vlan.dev == *port && vlan.pvid) else {
        let cause = EndCause::NoPvid { port: port.clone(), bridge: bridge.clone() };
        let line = netns.link(bridge).map(|link| link.kind_evidence);
        return Err(End::dropped(Reason::PortNotForwarding).cause(cause).because(line));
    };
    let tag = VlanTag { id: pvid.vid, ..own.unwrap_or(VlanTag::new(0)) };
    Ok(([&[tag], rest].concat(), Some(pvid.evidence)))
}

/// The tags that a frame has where it leaves by a port, or goes up to the bridge itself, which is like any other port
/// there (`br_allowed_egress`, `br_handle_vlan`).
pub(super) fn allowed_egress(netns: &Netns, bridge: &IfName, out: &IfName, tags: &[VlanTag]) -> Stage<Tags> {
    let Some((tag, rest)) = tags.split_first().filter(|_| filters_vlans(netns, bridge)) else {
        return Ok((tags.to_vec(), None));
    };
    let vlan = carried(netns, bridge, out, tag.id)?;
    Ok(if vlan.untagged { (rest.to_vec(), Some(vlan.evidence)) } else { (tags.to_vec(), None) })
}

/// The row by which a port carries a VLAN.
fn carried<'s>(netns: &'s Netns, bridge: &IfName, port: &IfName, vid: u16) -> Stage<&'s BridgeVlan> {
    let mut rows = netns.bridge_vlans.iter().flatten();
    rows.find(|vlan| vlan.dev == *port && vlan.vid == vid).ok_or_else(|| {
        let cause = EndCause::VlanNotCarried { port: port.clone(), bridge: bridge.clone(), vid };
        let line = netns.link(bridge).map(|link| link.kind_evidence);
        End::dropped(Reason::PortNotForwarding).cause(cause).because(line)
    })
}

/// Whether a device is a port of a bridge that filters VLANs.
pub(super) fn is_filtering_port(netns: &Netns, dev: &IfName) -> bool {
    let master = netns.link(dev).and_then(|link| link.master.as_ref());
    master.is_some_and(|bridge| filters_vlans(netns, bridge))
}

fn filters_vlans(netns: &Netns, bridge: &IfName) -> bool {
    matches!(netns.link(bridge).map(|link| &link.kind), Some(LinkKind::Bridge(Bridge { vlan_filtering: true, .. })))
}
