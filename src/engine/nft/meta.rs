//! What the kernel keeps beside a packet (`nft_meta.c`).

use crate::net::{Family, IfName, Link, MacAddr, Packet};
use crate::snapshot::nft::MetaKey;
use crate::snapshot::{self, LinkKind, NftFamily};
use crate::trace::Hook;

use super::super::bridge;
use super::super::pkt_type::{self, PktType};
use super::super::skb::{Asked, Priority};
use super::super::vlan;
use super::super::walk::Walk;
use super::doubt::{Doubt, Field, May};
use super::load::{Break, flow};
use super::rt;
use super::statement::Run;

/// A key's value (`nft_meta_get_eval`).
pub(super) fn nft_meta_get(walk: &Walk, run: &Run<'_>, key: MetaKey) -> Result<Field, Break> {
    let packet = run.packet(walk);
    let state = run.info.state;
    let four = packet.family() == Family::Inet;
    let field = match key {
        MetaKey::Length => frame_length(walk, run),
        MetaKey::Protocol => Ok(ether_type(packet, 1)),
        MetaKey::Mark => Ok(u128::from(packet.mark.0)),
        MetaKey::Iif | MetaKey::Iifname => Ok(device(state.indev.as_ref())),
        MetaKey::Oif | MetaKey::Oifname => Ok(device(state.outdev.as_ref())),
        MetaKey::Iiftype => return of_link(walk, skb_dev(run), key),
        MetaKey::Iifgroup | MetaKey::Iifkind => return of_link(walk, state.indev.as_ref(), key),
        MetaKey::Oiftype | MetaKey::Oifgroup | MetaKey::Oifkind => return of_link(walk, state.outdev.as_ref(), key),
        MetaKey::Rtclassid => return rt::rtclassid(walk, run),
        MetaKey::Nftrace => Ok(0),
        MetaKey::Nfproto => Ok(match run.info.table.family {
            NftFamily::Bridge => 7,
            NftFamily::Netdev => 5,
            _ if four => 2,
            _ => 10,
        }),
        MetaKey::L4proto if packet.tags.len() > 1 => return Err(Break),
        MetaKey::L4proto => {
            if packet.hides_protocol() {
                walk.ask_piece(Asked::First);
            }
            Ok(u128::from(packet.nft_protocol().0))
        }
        MetaKey::Pkttype => pkttype(walk, run),
        MetaKey::Ibrname | MetaKey::Obrname => return bridge_name(walk, run, key),
        MetaKey::Ibrhwaddr => return bridge_address(walk, run),
        MetaKey::Sdif | MetaKey::Sdifname => slave(walk, run),
        MetaKey::Skuid | MetaKey::Skgid | MetaKey::Other("cgroup") => return socket(walk, run, key),
        // Another packet, another draw: but the clock is the same for all rules.
        MetaKey::Other("random" | "cpu") => {
            walk.ask_piece(Asked::Each);
            Err(Doubt::fresh(format!("meta {}", word(key))))
        }
        MetaKey::Priority => priority(walk, packet),
        MetaKey::Other(_) => Err(Doubt::fact(format!("meta {} of {}", word(key), flow(packet)))),
    };
    Ok(field)
}

/// The type that a frame says behind so many of its VLAN tags: that of the next one, or of the packet.
pub(super) fn ether_type(packet: &Packet, behind: usize) -> u128 {
    match packet.tags.get(behind) {
        Some(tag) => u128::from(tag.protocol.number()),
        None if packet.family() == Family::Inet => 0x0800,
        None => 0x86dd,
    }
}

/// `skb->priority`.
fn priority(walk: &Walk, packet: &Packet) -> Field {
    let what = || format!("meta priority of {}", flow(packet));
    match walk.skb.priority {
        Priority::Known(priority) => Ok(u128::from(priority)),
        Priority::Senders => Err(Doubt::fact(what())),
        Priority::Open => Err(Doubt::fresh(what())),
    }
}

/// `skb->dev`, which `iiftype` asks about since Linux 5.16, not the device that the packet came in by
/// (`nft_meta_get_eval_ifname`): when it is about to leave, that is already the one it leaves by (`ip_output`,
/// `ip6_output`; on a bridge `__br_forward`), and what the namespace sends itself has none before.
fn skb_dev<'r>(run: &'r Run<'_>) -> Option<&'r IfName> {
    let state = run.info.state;
    let bridged = run.info.table.family == NftFamily::Bridge;
    match state.hook {
        Hook::Postrouting | Hook::Egress => state.outdev.as_ref(),
        Hook::Forward if bridged => state.outdev.as_ref(),
        _ => state.indev.as_ref(),
    }
}

/// The packet's length behind so many bytes of it.
pub(super) fn length(walk: &Walk, behind: u32) -> Field {
    let (least, most) = walk.length_range();
    let [least, most] = [least, most].map(|length| u128::from(length.saturating_sub(behind)));
    if least == most {
        return Ok(most);
    }
    let what = format!("the answer to the SYN, of {least} to {most} bytes,");
    Err(Doubt::fact(what).that_may(May::Within(least, most)))
}

/// `skb->len`: the packet with all VLAN tags but the outermost, and with the Ethernet header where it is about to leave
/// by a device that has one.
fn frame_length(walk: &Walk, run: &Run<'_>) -> Field {
    let state = run.info.state;
    let leaves_by = state.outdev.as_ref().filter(|_| state.hook == Hook::Egress);
    let link = leaves_by.and_then(|dev| walk.netns().link(dev));
    let ethernet = if link.is_some_and(|link| !matches!(link.kind, LinkKind::Tun { tap: false })) { 14 } else { 0 };
    let before = u128::from(vlan::inner_tags(walk)) + ethernet;
    let packet = if walk.skb.in_pieces { Ok(piece_length(walk, 0)) } else { length(walk, 0) };
    packet.map(|length| length + before)
}

/// The length of the piece that is walked, behind so many bytes of it.
pub(super) fn piece_length(walk: &Walk, behind: u32) -> u128 {
    let [first, _] = walk.seen_lengths();
    walk.ask_piece(Asked::Each);
    u128::from(first.saturating_sub(behind))
}

fn word(key: MetaKey) -> String {
    match key {
        MetaKey::Other(word) => word.to_owned(),
        key => format!("{key:?}").to_lowercase(),
    }
}

/// A device's name as a number; 0 where the hook has none.
pub(super) fn device(dev: Option<&IfName>) -> u128 {
    let mut bytes = [0u8; 16];
    let name = dev.map_or(&[][..], |dev| dev.as_str().as_bytes());
    bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(bytes)
}

/// `skb->pkt_type`. The stack sees none for another host, and bridge netfilter none as one (`br_nf_pre_routing`).
fn pkttype(walk: &Walk, run: &Run<'_>) -> Field {
    let packet = run.packet(walk);
    if matches!(run.info.table.family, NftFamily::Bridge | NftFamily::Netdev) {
        return frame_type(walk, run)
            .map(PktType::number)
            .ok_or_else(|| Doubt::fact(format!("meta pkttype of {}", flow(packet))));
    }
    let by_address = || packet.link.and_then(|link| PktType::of_group(link.destination));
    Ok(match walk.skb.pkt_type.or_else(by_address) {
        Some(group @ (PktType::Broadcast | PktType::Multicast)) => group.number(),
        _ => 0,
    })
}

/// What the frame is to the device that it came in by, in a chain of the families of frames.
pub(super) fn frame_type(walk: &Walk, run: &Run<'_>) -> Option<PktType> {
    let link = run.packet(walk).link;
    let on_bridge = run.info.table.family == NftFamily::Bridge;
    match &run.info.state.indev {
        Some(dev) => pkt_type::pkt_type(walk, link, dev, on_bridge),
        None => leaving_type(walk, run, link),
    }
}

/// The same where the hook has no device that it came in by: what is bridged, or sent on by a device's rule, is what it
/// was when it came in (bridge netfilter, too, makes it that again: `br_nf_dev_queue_xmit`); what the stack sends is for a
/// host.
fn leaving_type(walk: &Walk, run: &Run<'_>, link: Option<Link>) -> Option<PktType> {
    let is_bridged = bridge::is_bridged(walk, run.info.state.outdev.as_ref());
    let iif = walk.skb.iif.as_ref().filter(|_| is_bridged || walk.skb.sent_on > 0);
    let Some(iif) = iif else { return Some(walk.skb.pkt_type.unwrap_or(PktType::Host)) };
    pkt_type::pkt_type(walk, link, iif, is_bridged)
}

/// The bridge of the port that the frame came in by or leaves by (`nft_meta_bridge.c`).
fn bridge_name(walk: &Walk, run: &Run<'_>, key: MetaKey) -> Result<Field, Break> {
    let state = run.info.state;
    let dev = if key == MetaKey::Ibrname { &state.indev } else { &state.outdev };
    let dev = dev.as_ref().ok_or(Break)?;
    let master = walk.netns().link(dev).and_then(|link| link.master.as_ref());
    Ok(Ok(device(Some(master.ok_or(Break)?))))
}

/// The link address of the bridge of the port that the frame came in by.
pub(super) fn ibrhwaddr(walk: &Walk, run: &Run<'_>) -> Option<MacAddr> {
    let port = walk.netns().link(run.info.state.indev.as_ref()?)?;
    walk.netns().link(port.master.as_ref()?)?.lladdr
}

/// The same for a rule (`nft_meta_bridge_get_eval`): without a bridge it ends.
fn bridge_address(walk: &Walk, run: &Run<'_>) -> Result<Field, Break> {
    let bridge = bridge_name(walk, run, MetaKey::Ibrname)?;
    let address = ibrhwaddr(walk, run).map(|MacAddr([a, b, c, d, e, f])| u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
    let doubt = || Doubt::fact(format!("the link address of a bridge of {}", walk.netns().dir));
    Ok(bridge.and(address.map(u128::from).ok_or_else(doubt)))
}

/// The device that the packet came in by, where that is a port of a VRF (`inet_sdif` and `inet6_sdif`): 0, or no name, for
/// any other (`nft_meta_get_eval_sdif`).
fn slave(walk: &Walk, run: &Run<'_>) -> Field {
    let netns = walk.netns();
    let Some(dev) = run.info.state.indev.as_ref() else { return Ok(0) };
    let doubt = || Doubt::fact(format!("the port of a VRF that {dev} of {} stands for", netns.dir));
    let may_be_vrf = |kind: &LinkKind| match kind {
        LinkKind::Other(name) => name == "vrf",
        LinkKind::Undetailed(_) => true,
        _ => false,
    };
    let link = netns.link(dev).ok_or_else(doubt)?;
    let master = link.master.as_ref().map(|master| netns.link(master).map(|link| &link.kind));
    match master {
        _ if may_be_vrf(&link.kind) => Err(doubt()),
        Some(None) => Err(doubt()),
        Some(Some(kind)) if may_be_vrf(kind) => Err(doubt()),
        _ => Ok(0),
    }
}

/// What the link file says of a device. Where there is no such device, the rule ends.
fn of_link(walk: &Walk, dev: Option<&IfName>, key: MetaKey) -> Result<Field, Break> {
    let dev = dev.ok_or(Break)?;
    let link = walk.netns().link(dev);
    let known = match key {
        MetaKey::Iifgroup | MetaKey::Oifgroup => link.and_then(|link| link.group).map(u128::from),
        MetaKey::Iiftype | MetaKey::Oiftype => link.and_then(hardware_type),
        _ => match link.map(|link| &link.kind) {
            // Nobody made it by a kind's name (`rtnl_link_ops`).
            Some(LinkKind::Loopback) => return Err(Break),
            Some(kind) => kind_name(kind).map(|name| device(Some(&IfName::new(name)))),
            None => None,
        },
    };
    Ok(known.ok_or_else(|| Doubt::fact(format!("meta {} of {dev} in {}", word(key), walk.netns().dir))))
}

/// `dev->type`, as `link/ether` says it (`include/uapi/linux/if_arp.h`).
fn hardware_type(link: &snapshot::Link) -> Option<u128> {
    match link.kind {
        LinkKind::Loopback => Some(772),
        LinkKind::Tun { tap: false } => Some(65534),
        LinkKind::Other(_) | LinkKind::Undetailed(_) => None,
        _ => link.lladdr.map(|_| 1),
    }
}

/// A kind by the name that its devices are made by. A device without one is hardware, or of a file without `-d`.
fn kind_name(kind: &LinkKind) -> Option<&str> {
    Some(match kind {
        LinkKind::Loopback | LinkKind::Plain | LinkKind::Undetailed(_) => return None,
        LinkKind::Veth => "veth",
        LinkKind::Bridge(_) => "bridge",
        LinkKind::Vxlan(_) => "vxlan",
        LinkKind::Tun { .. } => "tun",
        LinkKind::Vlan(_) => "vlan",
        LinkKind::Dummy => "dummy",
        LinkKind::Other(name) => name,
    })
}

/// Whose socket sends or receives. Only what the namespace sends itself has one for sure, and whose it is only a
/// question can say.
fn socket(walk: &Walk, run: &Run<'_>, key: MetaKey) -> Result<Field, Break> {
    let (what, given) = match key {
        MetaKey::Skuid => ("user", walk.given.uid),
        MetaKey::Skgid => ("group", walk.given.gid),
        _ => ("control group", None),
    };
    let place = walk.place();
    let hook = run.info.state.hook;
    let who = |who: &str| Doubt::fact(format!("the {what} of the {who} on {} {}", place.node, place.name));
    if walk.skb.own && matches!(hook, Hook::Output | Hook::Postrouting | Hook::Egress) {
        let given = given.filter(|_| walk.packet().inner.is_none());
        return Ok(given.map(u128::from).ok_or_else(|| who("sender")));
    }
    if hook == Hook::Input && super::super::conntrack::state(walk) == crate::trace::CtState::Established {
        return Ok(Err(who("receiver")));
    }
    Err(Break)
}
