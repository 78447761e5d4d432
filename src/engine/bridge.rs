//! Bridges: which port a frame leaves by.
//!
//! Follows `net/bridge/br_input.c`, `br_forward.c`, `br_device.c` and `br_fdb.c`.

use crate::evidence::Evidence;
use crate::net::{IfName, MacAddr};
use crate::snapshot::{BridgePort, FdbEntry, Link, LinkKind, Netns, PortState, Snapshot};
use crate::trace::{Decision, EndCause, Hook, Reason, Step, Verdict};

use super::address::is_local_address;
use super::br_netfilter;
use super::bridge_vlan::{allowed_egress, br_allowed_ingress};
use super::end::{End, Next, Stage};
use super::input::{ip_rcv, netif_receive_skb_core};
use super::link::{Reach, other_end, ports};
use super::nft::{self, Part};
use super::pkt_type::PktType;
use super::unread;
use super::vlan;
use super::walk::Walk;

/// Where a bridge sends a frame.
enum Forwarding {
    /// Up, to the bridge's own stack: the address is the bridge's, or belongs to a port.
    Local(Option<Evidence>, Option<IfName>),
    /// Out of one port that an entry names.
    Port(IfName, Option<Evidence>),
    /// Out of every port, since nobody knows the address.
    Flood,
}

/// Whether the packet came in by a port of the bridge that the device which it leaves by is one of.
pub(super) fn is_bridged(walk: &Walk, outdev: Option<&IfName>) -> bool {
    let netns = walk.netns();
    let master = |dev: Option<&IfName>| netns.link(dev?)?.master.as_ref();
    let bridge = master(walk.skb.iif.as_ref()).filter(|bridge| master(outdev) == Some(*bridge));
    bridge.and_then(|bridge| netns.link(bridge)).is_some_and(|bridge| matches!(bridge.kind, LinkKind::Bridge(_)))
}

/// The bridge on which a capture shows a frame at a step, though the frame goes from port to port: whoever captures makes
/// the device promiscuous, and such a bridge has a copy of each frame that a port brings (`local_rcv` of
/// `br_handle_frame_finish`).
#[must_use]
pub fn shown_by_bridge<'t>(snapshot: &Snapshot, steps: &'t [Step], at: usize) -> Option<&'t IfName> {
    let step = steps.get(at)?;
    let Decision::Fdb { device, port, vtep: None, .. } = &step.decision else { return None };
    let brought = steps.get(..at)?.iter().rev().find_map(|before| match &before.decision {
        Decision::Receive { device, .. } => Some((before.place.netns, device)),
        _ => None,
    });
    let (netns, by) = brought.filter(|(netns, _)| *netns == step.place.netns)?;
    let is_port = snapshot.netns(netns).link(by)?.master.as_ref() == Some(device);
    // What is for the bridge itself comes in by it.
    (is_port && port.as_ref() != Some(device)).then_some(device)
}

/// A frame came in by a port (`br_handle_frame`).
pub(super) fn br_handle_frame(walk: &mut Walk, bridge: &IfName, port: &IfName) -> Stage<Next> {
    let netns = walk.netns();
    let link = netns.link(port);
    if let Some(settings) = link.and_then(|link| link.port.as_ref())
        && settings.state != PortState::Forwarding
    {
        return Err(not_forwarding(port, settings));
    }
    if let Some(bridge_link) = netns.link(bridge).filter(|link| !link.up) {
        let detail = format!("{bridge} is down");
        return Err(End::dropped(Reason::DeviceDown).detail(detail).because([bridge_link.evidence]));
    }
    refuse_source(walk, port)?;
    let to_bridge = walk
        .packet()
        .link
        .is_some_and(|link| netns.link(bridge).is_some_and(|own| own.lladdr == Some(link.destination)));
    if to_bridge && walk.skb.pkt_type.is_some() {
        walk.skb.pkt_type = Some(PktType::Host);
    }
    let is_on = br_netfilter::is_on(walk, bridge);
    walk.skb.broute = false;
    nft::nf_bridge(walk, Hook::Prerouting, (Some(port), None), if is_on { Part::Before } else { Part::All })?;
    if std::mem::take(&mut walk.skb.broute) {
        walk.skb.to_host |= to_bridge;
        return ip_rcv(walk, port);
    }
    if is_on { br_netfilter::br_nf_pre_routing(walk, bridge, port) } else { br_handle_frame_finish(walk, bridge, port) }
}

/// A bridge takes no frame that comes from a group, nor from nowhere (`is_valid_ether_addr`): a rule has given it such a
/// source.
fn refuse_source(walk: &Walk, port: &IfName) -> Stage<()> {
    let source = walk.packet().link.map(|link| link.source);
    let refused = source.filter(|source| source.is_multicast() || *source == MacAddr::ZERO && walk.skb.new_source);
    let Some(source) = refused else { return Ok(()) };
    let detail = format!("the frame's source address is {source}, and a bridge takes none from there");
    Err(End::dropped(Reason::GroupFrame).detail(detail).because(walk.netns().link(port).map(|link| link.evidence)))
}

/// Puts the frame into its VLAN, learns the sender, then looks the receiver up (`br_handle_frame_finish`).
pub(super) fn br_handle_frame_finish(walk: &mut Walk, bridge: &IfName, port: &IfName) -> Stage<Next> {
    let vid = br_allowed_ingress(walk, bridge, port)?;
    let Some(frame) = walk.packet().link else { return br_pass_frame_up(walk, bridge, None) };
    learn(walk, bridge, port, vid);
    if frame.destination.is_multicast() {
        return br_flood_group(walk, bridge, Some(port), frame.destination);
    }
    match look_up(walk, bridge, (frame.destination, vid)) {
        Forwarding::Local(evidence, _) => {
            // The port has already compared the address with its own (`eth_type_trans`).
            walk.skb.to_host = walk.netns().link(port).is_some_and(|link| link.lladdr == Some(frame.destination));
            br_pass_frame_up(walk, bridge, evidence)
        }
        Forwarding::Port(out, evidence) => {
            // Back out of the same port: hairpin mode decides too.
            let settings = walk.netns().link(&out).and_then(|link| link.port.as_ref()).filter(|_| out == *port);
            let lines = evidence.into_iter().chain(settings.map(|settings| settings.evidence));
            take_fdb(walk, bridge, Some(out.clone()), Vec::new(), lines);
            br_forward(walk, bridge, Some(port), &out)
        }
        Forwarding::Flood => br_flood(walk, bridge, Some(port)),
    }
}

/// The same for a frame whose destination is the bridge's own by now.
pub(super) fn br_handle_local(walk: &mut Walk, bridge: &IfName, port: &IfName) -> Stage<Next> {
    let vid = br_allowed_ingress(walk, bridge, port)?;
    learn(walk, bridge, port, vid);
    walk.skb.to_host = true;
    br_pass_frame_up(walk, bridge, None)
}

/// The bridge learns which port the sender is behind (`br_fdb_update`).
fn learn(walk: &mut Walk, bridge: &IfName, port: &IfName, vid: u16) {
    let Some(frame) = walk.packet().link else { return };
    let netns_id = walk.netns_id();
    let learns = walk.netns().link(port).and_then(|link| link.port.as_ref()).is_none_or(|settings| settings.learning);
    if learns && frame.source != MacAddr::ZERO {
        let sender = (frame.source, vid);
        walk.tracker.learned.retain(|(netns, dev, mac, _)| (*netns, dev, *mac) != (netns_id, bridge, sender));
        walk.tracker.learned.push((netns_id, bridge.clone(), sender, port.clone()));
    }
}

/// The stack of the bridge's namespace sends by the bridge (`br_dev_xmit`).
pub(super) fn br_dev_xmit(walk: &mut Walk, bridge: &IfName) -> Stage<Next> {
    let vid = br_allowed_ingress(walk, bridge, bridge)?;
    let destination = walk.packet().link.map_or(MacAddr::ZERO, |link| link.destination);
    if destination.is_multicast() {
        return br_flood_group(walk, bridge, None, destination);
    }
    match look_up(walk, bridge, (destination, vid)) {
        // What the stack itself sends to a port's own entry goes out there.
        Forwarding::Port(out, evidence) | Forwarding::Local(evidence, Some(out)) => {
            take_fdb(walk, bridge, Some(out.clone()), Vec::new(), evidence);
            br_forward(walk, bridge, None, &out)
        }
        Forwarding::Local(evidence, None) => {
            let detail = format!("the frame is for {bridge} itself");
            Err(End::dropped(Reason::NoReceiver).detail(detail).because(evidence))
        }
        Forwarding::Flood => br_flood(walk, bridge, None),
    }
}

/// What the bridge knows of an address in a VLAN (`br_fdb_find_rcu`): its own, an entry of the snapshot, what it learned on the
/// way here or from the answer of a neighbour that was asked for.
fn look_up(walk: &mut Walk, bridge: &IfName, (lladdr, vid): (MacAddr, u16)) -> Forwarding {
    let netns = walk.netns();
    let entries = |netns, bridge| entries(netns, bridge).filter(move |entry| entry.vlan.unwrap_or(0) == vid);
    // A static entry may stand in place of the bridge's own.
    let moved = entries(netns, bridge).any(|entry| entry.lladdr == lladdr && !entry.permanent && entry.dev != *bridge);
    let own = netns.link(bridge).filter(|link| link.lladdr == Some(lladdr) || lladdr == MacAddr::ZERO);
    let own = own.filter(|_| !moved);
    if let Some(link) = own {
        let row = entries(netns, bridge).find(|entry| entry.lladdr == lladdr && entry.permanent);
        return Forwarding::Local(Some(row.map_or(link.evidence, |row| row.evidence)), None);
    }
    let learned = walk
        .tracker
        .learned
        .iter()
        .find(|(id, dev, mac, _)| (*id, dev, *mac) == (walk.netns_id(), bridge, (lladdr, vid)));
    if let Some((_, _, _, port)) = learned {
        let row = entries(netns, bridge).find(|entry| entry.lladdr == lladdr && entry.dev == *port);
        // What was learned on the way stands in no table: the port's row says that it is one of the bridge's.
        let line = row.map(|row| row.evidence).or_else(|| netns.link(port).map(|link| link.evidence));
        return Forwarding::Port(port.clone(), line);
    }
    if let Some(row) = entries(netns, bridge).find(|entry| entry.lladdr == lladdr) {
        let local = row.permanent || row.dev == *bridge;
        return if local {
            Forwarding::Local(Some(row.evidence), Some(row.dev.clone()).filter(|dev| dev != bridge))
        } else {
            Forwarding::Port(row.dev.clone(), Some(row.evidence))
        };
    }
    if let Some(link) = ports_of(netns, bridge).find(|link| link.lladdr == Some(lladdr)) {
        return Forwarding::Local(Some(link.evidence), Some(link.name.clone()));
    }
    doubt_entry(walk, netns, bridge, lladdr);
    if walk.tracker.resolved.contains(&lladdr)
        && let Some(port) = port_towards(walk, bridge, lladdr)
    {
        let line = netns.link(&port).map(|link| link.evidence);
        return Forwarding::Port(port, line);
    }
    Forwarding::Flood
}

/// No entry was found for an address, though one may stand there: a row of which not even that much could be read, or
/// not who keeps it.
fn doubt_entry(walk: &mut Walk, netns: &Netns, bridge: &IfName, lladdr: MacAddr) {
    unread::doubt_fdb(walk, netns, None, lladdr);
    let port = |dev: &IfName| netns.link(dev).is_some_and(|link| link.master.as_ref() == Some(bridge));
    let half = |entry: &&FdbEntry| entry.lladdr == lladdr && !entry.unmodelled.is_empty() && port(&entry.dev);
    if let Some(entry) = netns.fdb.iter().flatten().find(half) {
        let words = entry.unmodelled.join(" ");
        let what = format!("the entry for {lladdr} on {} has options that are not modelled: {words}", entry.dev);
        walk.doubt(what, Some(entry.evidence));
    }
}

/// The rows of the forwarding table that a bridge keeps.
fn entries<'s>(netns: &'s Netns, bridge: &'s IfName) -> impl Iterator<Item = &'s FdbEntry> {
    netns.fdb.iter().flatten().filter(move |entry| match &entry.master {
        Some(master) => master == bridge,
        None => entry.dev == *bridge,
    })
}

fn ports_of<'s>(netns: &'s Netns, bridge: &'s IfName) -> impl Iterator<Item = &'s Link> {
    netns.links.iter().flatten().filter(move |link| link.master.as_ref() == Some(bridge))
}

/// The port behind which a link address answers. One that doesn't carry the frame's VLAN is found too: it says why.
fn port_towards(walk: &Walk, bridge: &IfName, lladdr: MacAddr) -> Option<IfName> {
    let snapshot = walk.snapshot;
    ports(snapshot, walk.netns_id(), bridge).find(|port| reach(walk, bridge, port).has_lladdr(snapshot, lladdr))
}

/// Where the frame gets to out of a port.
fn reach(walk: &Walk, bridge: &IfName, port: &IfName) -> Reach {
    let tags = allowed_egress(walk.netns(), bridge, port, &walk.packet().tags).unwrap_or_default().0;
    Reach::tagged(walk.snapshot, walk.netns_id(), port, tags)
}

/// To the bridge's own stack (`br_pass_frame_up`): the frame comes in by the bridge device.
pub(super) fn br_pass_frame_up(walk: &mut Walk, bridge: &IfName, evidence: Option<Evidence>) -> Stage<Next> {
    if evidence.is_some() {
        take_fdb(walk, bridge, Some(bridge.clone()), Vec::new(), evidence);
    }
    let port = walk.skb.iif.clone();
    let (tags, line) = allowed_egress(walk.netns(), bridge, bridge, &walk.packet().tags)?;
    walk.retag(tags, line);
    nft::nf_bridge(walk, Hook::Input, (port.as_ref(), None), Part::All)?;
    netif_receive_skb_core(walk, bridge)
}

/// Out of every port that may (`br_flood`): the copy that its receiver takes is walked.
fn br_flood(walk: &mut Walk, bridge: &IfName, from: Option<&IfName>) -> Stage<Next> {
    let netns = walk.netns();
    let lladdr = walk.packet().link.map_or(MacAddr::ZERO, |link| link.destination);
    if netns.fdb.is_none() {
        walk.gap(format!("{}: {bridge} is taken to flood to {lladdr}", netns.lacks("fdb.txt")), None);
    }
    let all = ports(walk.snapshot, walk.netns_id(), bridge);
    let may = |port: &IfName| refusal(walk, bridge, from, port).is_none();
    let open: Vec<IfName> = all.filter(|port| floods_to(netns, port) && may(port)).collect();
    let Some(towards) = port_towards(walk, bridge, lladdr) else {
        take_fdb(walk, bridge, None, open, None);
        let detail = format!("nobody behind {bridge} has the address {lladdr}");
        return Err(End::new(Verdict::Lost, Reason::NoReceiver).detail(detail));
    };
    let others = open.iter().filter(|port| **port != towards).cloned().collect();
    take_fdb(walk, bridge, Some(towards.clone()), others, netns.link(&towards).map(|link| link.evidence));
    if !open.contains(&towards) {
        return Err(refusal(walk, bridge, from, &towards).unwrap_or_else(|| {
            End::dropped(Reason::FdbMiss).cause(EndCause::NotFlooded { bridge: bridge.clone(), port: towards.clone() })
        }));
    }
    br_forward(walk, bridge, from, &towards)
}

/// A frame for many: out of every port that may, and to the bridge's own stack (`br_handle_frame_finish`, `br_dev_xmit`,
/// `br_flood`). The copy is walked that comes to whom the packet is for; where that is none, the bridge's own.
fn br_flood_group(walk: &mut Walk, bridge: &IfName, from: Option<&IfName>, group: MacAddr) -> Stage<Next> {
    if group != MacAddr::BROADCAST {
        let what =
            "no querier of multicast is taken to be there, who would have frames sent to routers of multicast alone";
        walk.gap(format!("{bridge}: {what}"), walk.netns().link(bridge).map(|link| link.evidence));
    }
    let (snapshot, netns_id, netns) = (walk.snapshot, walk.netns_id(), walk.netns());
    let destination = walk.packet().ip.destination;
    let may = |port: &IfName| {
        (from.is_none() || floods_group(netns, port, group)) && refusal(walk, bridge, from, port).is_none()
    };
    let open: Vec<IfName> = ports(snapshot, netns_id, bridge).filter(may).collect();
    let is_own = from.is_some() && is_local_address(netns, destination);
    let owners = snapshot.owner_of(destination);
    let mut reaches = open.iter().map(|port| (port, reach(walk, bridge, port)));
    let leads = |reach: &Reach| reach.stacks.iter().any(|(stack, _)| owners.iter().any(|(owner, _)| owner == stack));
    let towards = reaches.find(|(_, reach)| leads(reach)).map(|(port, _)| port.clone()).filter(|_| !is_own);
    if let Some(towards) = towards {
        let others = open.iter().filter(|port| **port != towards).cloned().collect();
        take_fdb(walk, bridge, Some(towards.clone()), others, None);
        return br_forward(walk, bridge, from, &towards);
    }
    let hidden = open.iter().flat_map(|port| reach(walk, bridge, port).hidden).next();
    if let Some(hidden) = hidden.filter(|_| !is_own) {
        take_fdb(walk, bridge, None, open, None);
        return Err(End::undetermined(Reason::MissingTable, other_end(snapshot, netns, &hidden, destination)));
    }
    if from.is_none() {
        take_fdb(walk, bridge, None, open, None);
        let detail = format!("nobody behind {bridge} has the address {destination}");
        return Err(End::new(Verdict::Lost, Reason::NoReceiver).detail(detail));
    }
    let from_port = walk.skb.nf_bridge.is_some().then(|| from.cloned()).flatten();
    take_fdb(walk, bridge, Some(bridge.clone()), open.clone(), None);
    if let Some(from) = from_port {
        br_netfilter::pass_copies(walk, bridge, &from, open)?;
        br_netfilter::br_nf_local_in(walk)?;
    }
    br_pass_frame_up(walk, bridge, None)
}

/// Whether frames for many that a port sent go out of another one.
fn floods_group(netns: &Netns, port: &IfName, group: MacAddr) -> bool {
    netns.link(port).and_then(|link| link.port.as_ref()).is_none_or(|settings| match group {
        MacAddr::BROADCAST => settings.bcast_flood,
        _ => !settings.unmodelled.iter().any(|words| words == "mcast_flood off"),
    })
}

fn floods_to(netns: &Netns, port: &IfName) -> bool {
    netns.link(port).and_then(|link| link.port.as_ref()).is_none_or(|settings| settings.flood)
}

/// Out of one port (`br_forward`, `__br_forward`); `from` is the port it came in by, `None` for the stack's own.
pub(super) fn br_forward(walk: &mut Walk, bridge: &IfName, from: Option<&IfName>, out: &IfName) -> Stage<Next> {
    if let Some(refusal) = refusal(walk, bridge, from, out) {
        return Err(refusal);
    }
    let (tags, line) = allowed_egress(walk.netns(), bridge, out, &walk.packet().tags)?;
    walk.retag(tags, line);
    if from.is_some() && walk.skb.nf_bridge.is_some() && br_netfilter::sees_tags(walk) {
        nft::nf_bridge(walk, Hook::Forward, (from, Some(out)), Part::Before)?;
        br_netfilter::br_nf_forward(walk, bridge, out)?;
        nft::nf_bridge(walk, Hook::Forward, (from, Some(out)), Part::Behind)?;
    } else {
        let hook = if from.is_some() { Hook::Forward } else { Hook::Output };
        nft::nf_bridge(walk, hook, (from, Some(out)), Part::All)?;
    }
    nft::nf_bridge(walk, Hook::Postrouting, (None, Some(out)), Part::All)?;
    if from.is_some() {
        br_netfilter::br_nf_post_routing(walk, bridge)?;
    }
    fits_port(walk, out)?;
    Ok(Next::Xmit(out.clone()))
}

/// A frame that a rule of the bridge has made goes out of a port (`br_forward` with `local_orig`). Nothing has put it
/// into a VLAN, and so none is asked for (`br_allowed_egress`).
pub(super) fn br_forward_made(walk: &mut Walk, out: &IfName) -> Stage<Next> {
    if let Some(refusal) = closed(walk.netns(), None, out) {
        return Err(refusal);
    }
    nft::nf_bridge(walk, Hook::Output, (None, Some(out)), Part::All)?;
    nft::nf_bridge(walk, Hook::Postrouting, (None, Some(out)), Part::All)?;
    fits_port(walk, out)?;
    Ok(Next::Xmit(out.clone()))
}

/// Why a port may not carry the frame (`should_deliver`), if it may not.
fn refusal(walk: &Walk, bridge: &IfName, from: Option<&IfName>, out: &IfName) -> Option<Box<End>> {
    let netns = walk.netns();
    closed(netns, from, out).or_else(|| allowed_egress(netns, bridge, out, &walk.packet().tags).err())
}

/// Why a port carries no frame of another one, whatever its VLAN is, if it doesn't.
fn closed(netns: &Netns, from: Option<&IfName>, out: &IfName) -> Option<Box<End>> {
    let settings = netns.link(out)?.port.as_ref()?;
    if from == Some(out) && !settings.hairpin {
        let detail = format!("the frame would leave by {out}, where it came in, and hairpin mode is off there");
        return Some(End::dropped(Reason::HairpinOff).detail(detail).because([settings.evidence]));
    }
    if settings.state != PortState::Forwarding {
        return Some(not_forwarding(out, settings));
    }
    let in_isolated = from.and_then(|from| netns.link(from)?.port.as_ref()).filter(|settings| settings.isolated);
    if let Some(other) = in_isolated.filter(|_| settings.isolated) {
        let detail = "both bridge ports are isolated";
        return Some(End::dropped(Reason::IsolatedPort).detail(detail).because([other.evidence, settings.evidence]));
    }
    None
}

fn not_forwarding(port: &IfName, settings: &BridgePort) -> Box<End> {
    let detail = format!("the bridge port {port} is not in the forwarding state");
    End::dropped(Reason::PortNotForwarding).detail(detail).because([settings.evidence])
}

/// A port takes frames up to its MTU and a VLAN tag (`is_skb_forwardable`).
fn fits_port(walk: &Walk, port: &IfName) -> Stage<()> {
    let link = walk.netns().link(port);
    let Some(mtu) = link.and_then(|link| link.mtu) else { return Ok(()) };
    let length = frame_length(walk);
    if length <= mtu + 4 {
        return Ok(());
    }
    let detail = format!("{length} bytes don't fit the MTU of {port}, {mtu}");
    Err(End::dropped(Reason::TooBig).detail(detail).because(link.map(|link| link.evidence)))
}

/// The length of the largest frame that carries the packet, without its Ethernet header and the outermost VLAN tag.
pub(super) fn frame_length(walk: &Walk) -> u32 {
    walk.packet().fragments.map_or(walk.packet().length, |fragments| fragments.largest) + vlan::inner_tags(walk)
}

fn take_fdb(
    walk: &mut Walk,
    bridge: &IfName,
    port: Option<IfName>,
    flooded: Vec<IfName>,
    evidence: impl IntoIterator<Item = Evidence>,
) {
    let lladdr = walk.packet().link.map_or(MacAddr::ZERO, |link| link.destination);
    walk.take(Decision::Fdb { device: bridge.clone(), lladdr, port, vtep: None, flooded }, evidence);
}
