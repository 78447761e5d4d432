//! Bridge netfilter: the IP hooks on bridged frames.
//!
//! Follows `net/bridge/br_netfilter_hooks.c` and `br_netfilter_ipv6.c`.

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Link};
use crate::snapshot::{Bridge, LinkKind, Netns, NetnsId};
use crate::trace::{Decision, Hook, Reason, Verdict};

use super::bridge::{br_forward, br_handle_frame_finish, br_handle_local};
use super::conntrack;
use super::end::{End, ErrorReply, Next, Stage};
use super::neigh;
use super::netfilter::nf_hook;
use super::nft::{self, Part};
use super::pkt_type::{PktType, is_for_many};
use super::route::ip_route_input;
use super::skb::NfBridge;
use super::sysctl;
use super::unread;
use super::vlan;
use super::walk::Walk;

/// Whether bridged packets of this walk's family go through the IP hooks.
pub(super) fn is_on(walk: &mut Walk, bridge: &IfName) -> bool {
    let family = walk.packet().family();
    let netns = walk.netns();
    let key = sysctl_key(family);
    if netns.sysctls.is_none() {
        sysctl::decisive(walk, key, 0);
    } else if sysctl::number(netns, key).is_none() {
        unread::doubt_sysctl(walk, netns, key);
    }
    is_on_at(netns, family, bridge) && sees_tags(walk)
}

const FILTER_TAGGED: &str = "net.bridge.bridge-nf-filter-vlan-tagged";

/// Whether the IP hooks see a frame with the tags that it has: one at most, where a setting says so (`IS_IP`,
/// `IS_VLAN_IP`).
pub(super) fn sees_tags(walk: &mut Walk) -> bool {
    match walk.packet().tags.len() {
        0 => true,
        1 => {
            if sysctl::number(walk.netns(), FILTER_TAGGED).is_none() {
                unread::doubt_sysctl(walk, walk.netns(), FILTER_TAGGED);
            }
            sysctl::is_set(walk.netns(), FILTER_TAGGED)
        }
        _ => false,
    }
}

/// What the IP hooks take for the device that a frame comes in by: the bridge, or the device upon it that has the
/// frame's VLAN where a setting says so (`brnf_get_logical_dev`).
fn logical_dev(walk: &Walk, bridge: &IfName) -> IfName {
    let netns = walk.netns();
    let tag = walk.packet().tags.first().filter(|_| sysctl::is_set(netns, "net.bridge.bridge-nf-pass-vlan-input-dev"));
    let upper = tag.and_then(|tag| vlan::vlan_find_dev(netns, bridge, *tag));
    upper.map_or_else(|| bridge.clone(), |upper| upper.name.clone())
}

/// What a device of a namespace is to bridge netfilter: for a bridge's port whether it is on, and the line that says
/// so.
pub(super) fn at_port(walk: &Walk, netns: NetnsId, dev: &IfName) -> (Option<bool>, Option<Evidence>) {
    let netns = walk.snapshot.netns(netns);
    let Some(bridge) = netns.link(dev).and_then(|link| link.master.as_ref()) else { return (None, None) };
    let Some(link) = netns.link(bridge).filter(|link| matches!(link.kind, LinkKind::Bridge(_))) else {
        return (None, None);
    };
    let family = walk.packet().family();
    let setting = sysctl::number(netns, sysctl_key(family));
    let on = is_on_at(netns, family, bridge);
    if on && !walk.packet().tags.is_empty() {
        let tagged = sysctl::number(netns, FILTER_TAGGED).filter(|_| walk.packet().tags.len() == 1);
        return (Some(tagged.is_some_and(|(value, _)| value != 0)), tagged.map(|(_, line)| line));
    }
    match (on, setting) {
        (true, Some((0, _)) | None) => (Some(true), Some(link.kind_evidence)),
        (on, setting) => (Some(on), setting.map(|(_, line)| line)),
    }
}

/// Whether bridged packets of a family go through the IP hooks: by the sysctl, or by the bridge's own switch. A
/// namespace whose sysctl file doesn't have the key has no `br_netfilter` module.
pub(super) fn is_on_at(netns: &Netns, family: Family, bridge: &IfName) -> bool {
    let own = match netns.link(bridge).map(|link| &link.kind) {
        Some(LinkKind::Bridge(Bridge { nf_call_iptables, nf_call_ip6tables, .. })) => match family {
            Family::Inet => *nf_call_iptables,
            Family::Inet6 => *nf_call_ip6tables,
        },
        _ => false,
    };
    own || sysctl::is_set(netns, sysctl_key(family))
}

fn sysctl_key(family: Family) -> &'static str {
    match family {
        Family::Inet => "net.bridge.bridge-nf-call-iptables",
        Family::Inet6 => "net.bridge.bridge-nf-call-ip6tables",
    }
}

/// The prerouting hooks before the bridge looks the address up. A packet whose destination they change is routed, and
/// goes up to the stack unless its new destination is on the same bridge (`br_nf_pre_routing`,
/// `br_nf_pre_routing_finish`).
pub(super) fn br_nf_pre_routing(walk: &mut Walk, bridge: &IfName, port: &IfName) -> Stage<Next> {
    walk.skb.nf_bridge = Some(NfBridge { physin: Some(port.clone()), sabotage: true, ..NfBridge::default() });
    let before = walk.packet().ip.destination;
    let indev = &logical_dev(walk, bridge);
    nf_hook(walk, Hook::Prerouting, Some(indev), None)?;
    if walk.packet().ip.destination == before {
        if let Some(nf_bridge) = &mut walk.skb.nf_bridge {
            nf_bridge.fake_route = true;
        }
        behind(walk, port)?;
        return br_handle_frame_finish(walk, bridge, port);
    }
    match ip_route_input(walk, indev) {
        Ok(dst) if dst.dev == *indev && !dst.local => {
            let next_hop = dst.via.unwrap_or(walk.packet().ip.destination);
            walk.skb.dst = Some(dst);
            bridged_dnat(walk, (bridge, indev), port, next_hop)
        }
        Ok(dst) => {
            walk.skb.dst = Some(dst);
            to_the_stack(walk, bridge, port)
        }
        Err(end) if is_martian(&end) => Err(end),
        Err(end) if end.verdict == Verdict::Undetermined => Err(end),
        // `br_nf_pre_routing_finish_ipv6` drops what has no route, without an error.
        Err(mut end) if walk.packet().family() == Family::Inet6 => {
            (end.verdict, end.error) = (Verdict::Dropped, None);
            Err(end)
        }
        Err(end) => {
            walk.skb.dst_error = Some(end);
            to_the_stack(walk, bridge, port)
        }
    }
}

/// The bridge's own chains that come after the IP hooks (`br_nf_hook_thresh`).
fn behind(walk: &mut Walk, port: &IfName) -> Stage<()> {
    nft::nf_bridge(walk, Hook::Prerouting, (Some(port), None), Part::Behind)
}

fn is_martian(end: &End) -> bool {
    matches!(end.reason, Some(Reason::MartianSource | Reason::MartianDestination | Reason::RpFilter))
}

/// The new destination is behind the same bridge: the frame gets its address and is bridged
/// (`br_nf_pre_routing_finish_bridge`).
fn bridged_dnat(
    walk: &mut Walk,
    (bridge, indev): (&IfName, &IfName),
    port: &IfName,
    next_hop: std::net::IpAddr,
) -> Stage<Next> {
    behind(walk, port)?;
    let sender = walk.packet().link.map(|link| link.source);
    let reached = walk.tracker.has_reached(walk.netns_id(), indev, next_hop);
    let is_host = is_for_host(walk, bridge, port);
    neigh::resolve(walk, indev, next_hop, false, sender).map_err(|end| if is_host { end } else { unheard(end) })?;
    let last = walk.steps().last().map(|step| &step.decision);
    let connected =
        reached || matches!(last, Some(Decision::Neighbor { state: Some("PERMANENT" | "REACHABLE" | "NOARP"), .. }));
    if !connected {
        // The neighbour code sends the frame through the bridge device, from whose address it is there. That gives it back
        // to the bridge with its own source (`br_nf_pre_routing_finish_bridge_slow`).
        let own = walk.netns().link(bridge).and_then(|link| link.lladdr);
        let frame = walk.packet().link;
        walk.set_link(frame.zip(own).map(|(frame, source)| Link { source, ..frame }).or(frame));
        walk.take(Decision::Transmit { device: bridge.clone() }, None);
        walk.set_link(frame);
    }
    br_handle_frame_finish(walk, bridge, port)
}

/// Whether the frame is for the link address of the bridge or of the port (`PACKET_HOST`: `br_handle_frame` in
/// `net/bridge/br_input.c`, `eth_type_trans`).
fn is_for_host(walk: &Walk, bridge: &IfName, port: &IfName) -> bool {
    if let Some(set) = walk.skb.pkt_type {
        return set == PktType::Host;
    }
    let destination = walk.packet().link.map(|link| link.destination);
    let mut own = [bridge, port].into_iter().filter_map(|dev| walk.netns().link(dev)?.lladdr);
    own.any(|own| Some(own) == destination)
}

/// No ICMP error is made about a frame that is one for another host again (`icmp_send`, `icmp6_send`).
fn unheard(mut end: Box<End>) -> Box<End> {
    if matches!(end.error, Some(ErrorReply::Icmp { .. })) {
        (end.verdict, end.error) = (Verdict::Dropped, None);
    }
    end
}

/// The new destination is elsewhere: the frame is for the bridge now.
fn to_the_stack(walk: &mut Walk, bridge: &IfName, port: &IfName) -> Stage<Next> {
    walk.skb.pkt_type = None;
    behind(walk, port)?;
    br_handle_local(walk, bridge, port)
}

/// The forward hooks on a frame that goes from port to port (`br_nf_forward_ip`).
pub(super) fn br_nf_forward(walk: &mut Walk, bridge: &IfName, out: &IfName) -> Stage<()> {
    let Some(nf_bridge) = &mut walk.skb.nf_bridge else { return Ok(()) };
    nf_bridge.physout = Some(out.clone());
    let indev = logical_dev(walk, bridge);
    nf_hook(walk, Hook::Forward, Some(&indev), Some(bridge))
}

/// The copies of a frame for many that leave by ports go through the hooks before the one for the bridge's own stack
/// (`br_flood` in `net/bridge/br_forward.c`, the latest port first): the first of them that passes decides for the connection,
/// which all have in common. Their steps are not the packet's.
pub(super) fn pass_copies(walk: &mut Walk, bridge: &IfName, from: &IfName, ports: Vec<IfName>) -> Stage<()> {
    for out in ports.into_iter().rev() {
        if !conntrack::is_unconfirmed(walk) {
            break;
        }
        let mut copy = walk.branch_off();
        copy.choices = std::mem::take(&mut walk.choices);
        let outcome = br_forward(&mut copy, bridge, Some(from), &out);
        let doubts = std::mem::take(&mut copy.doubts);
        let finished = copy.finish();
        walk.choices = finished.choices;
        walk.tracker = finished.tracker;
        finished.gaps.into_list().into_iter().for_each(|gap| walk.add_gap(gap));
        for doubt in doubts {
            walk.doubt(doubt.what, doubt.row);
        }
        if let Err(end) = outcome
            && end.verdict == Verdict::Undetermined
        {
            return Err(end);
        }
    }
    Ok(())
}

/// What goes up in a frame for many opens its connection before the stack has it (`br_nf_local_in`, since Linux 6.8).
pub(super) fn br_nf_local_in(walk: &mut Walk) -> Stage<()> {
    if is_for_many(walk) { conntrack::nf_conntrack_confirm(walk) } else { Ok(()) }
}

/// The postrouting hooks on a frame that goes from port to port (`br_nf_post_routing`).
pub(super) fn br_nf_post_routing(walk: &mut Walk, bridge: &IfName) -> Stage<()> {
    if walk.skb.nf_bridge.as_ref().is_none_or(|nf_bridge| nf_bridge.physout.is_none()) {
        return Ok(());
    }
    nf_hook(walk, Hook::Postrouting, None, Some(bridge))
}
