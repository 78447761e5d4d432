//! What a device hands up: to a bridge, to the namespace's own stack, or onward.
//!
//! Follows `net/core/dev.c`, `net/ipv4/ip_input.c`, `net/ipv6/ip6_input.c`, `net/ipv4/ip_forward.c` and
//! `ip6_forward` in `net/ipv6/ip6_output.c`.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, MacAddr, Protocol, Transport};
use crate::snapshot::{LinkKind, NetnsId};
use crate::trace::{Decision, EndCause, Forwarded, Hook, Reason, Verdict};

use super::ErrorGiven;
use super::br_netfilter;
use super::bridge;
use super::end::{End, Next, Stage};
use super::exthdrs::{self, ipv6_parse_hopopts};
use super::netfilter::nf_hook;
use super::nft;
use super::options::{self, ip_rcv_options};
use super::output::{Mtu, ip_output, mtu_to_forward, too_big};
use super::pkt_type::{PktType, is_for_many};
use super::route::{Dst, ip_route_input};
use super::skb::Priority;
use super::sysctl;
use super::tun;
use super::unread;
use super::vlan;
use super::vxlan;
use super::walk::Walk;

/// A device hands the packet up (`__netif_receive_skb_core`): a bridge port to its bridge, any other to the stack.
pub(super) fn netif_receive_skb(walk: &mut Walk, netns: NetnsId, dev: &IfName) -> Stage<Next> {
    let (bridge_netfilter, says) = br_netfilter::at_port(walk, netns, dev);
    walk.receive(netns, dev, bridge_netfilter, says);
    if walk.is_loop(netns, dev) {
        return Err(End::new(Verdict::Looped, Reason::Loop).detail(format!("the packet came back to {dev} unchanged")));
    }
    walk.skb.iif = Some(dev.clone());
    walk.skb.next_hop = None;
    walk.skb.copied_to = None;
    walk.skb.options = None;
    let came_back = walk.skb.came_back.as_mut();
    walk.skb.to_host = came_back.is_some_and(|back| !std::mem::replace(&mut back.is_received, true));
    walk.skb.pkt_type = None;
    past_taps(walk, dev)
}

/// The same for what a device of the namespace has handed up already: to a bridge, or to a VLAN device, which gets it
/// in its place (`another_round`).
pub(super) fn netif_receive_skb_core(walk: &mut Walk, dev: &IfName) -> Stage<Next> {
    let netns = walk.netns_id();
    let (bridge_netfilter, says) = br_netfilter::at_port(walk, netns, dev);
    walk.receive(netns, dev, bridge_netfilter, says);
    walk.skb.iif = Some(dev.clone());
    past_taps(walk, dev)
}

/// Behind the place where captures see it: the ingress hook, then the VLAN device of the frame's tag, then the bridge
/// that the device is a port of, then the stack.
fn past_taps(walk: &mut Walk, dev: &IfName) -> Stage<Next> {
    unread::doubt_link(walk, dev);
    if let Some(other) = nft::nf_device(walk, Hook::Ingress, dev)? {
        return Ok(Next::Xmit(other));
    }
    if let Some(upper) = vlan::vlan_do_receive(walk, dev)? {
        return netif_receive_skb_core(walk, &upper);
    }
    let link = walk.netns().link(dev);
    let Some(master) = link.and_then(|link| link.master.as_ref()) else {
        return match vlan::check_vlan_id(walk, dev)? {
            Some(upper) => netif_receive_skb_core(walk, &upper),
            None => ip_rcv(walk, dev),
        };
    };
    match walk.netns().link(master).map(|link| &link.kind) {
        Some(LinkKind::Bridge(_)) => bridge::br_handle_frame(walk, master, dev),
        Some(LinkKind::Plain | LinkKind::Undetailed(_)) | None => {
            let what = format!("{}/link.txt does not tell what {master} is, which {dev} belongs to", walk.netns().dir);
            Err(End::undetermined(Reason::MissingTable, what).because(link.map(|link| link.evidence)))
        }
        Some(_) => {
            let what = format!("{dev} belongs to {master}, a device of a kind that is not modelled");
            Err(End::undetermined(Reason::NotModelled, what).because(link.map(|link| link.evidence)))
        }
    }
}

/// The stack takes the packet (`ip_rcv`, `ipv6_rcv`). Packets that went through the hooks on the bridge don't see
/// them again (`ip_sabotage_in` in `net/bridge/br_netfilter_hooks.c`).
pub(super) fn ip_rcv(walk: &mut Walk, dev: &IfName) -> Stage<Next> {
    if is_other_host(walk, dev) {
        return Err(other_host(walk, dev));
    }
    walk.skb.to_host |= walk.skb.pkt_type.is_none() && !is_for_many(walk);
    if let Some(line) = ipv6_is_off(walk, dev) {
        return Err(End::dropped(Reason::NotForwarding).cause(EndCause::Ipv6Disabled(dev.clone())).because([line]));
    }
    if walk.packet().family() == Family::Inet6 {
        refuse_loopback(walk, dev)?;
        refuse_in_group(walk, sysctl::device(walk.netns(), Family::Inet6, dev, UNICAST_IN_GROUP))?;
    }
    ipv6_parse_hopopts(walk)?;
    let sabotaged = walk.skb.nf_bridge.as_mut().is_some_and(|nf_bridge| std::mem::take(&mut nf_bridge.sabotage));
    if !sabotaged {
        nf_hook(walk, Hook::Prerouting, Some(dev), None)?;
    }
    if let Some(error) = walk.skb.dst_error.take() {
        return Err(options::refused(walk, dev, error));
    }
    let dst = match walk.skb.dst.clone() {
        Some(dst) => dst,
        None => ip_route_input(walk, dev).map_err(|end| options::refused(walk, dev, end))?,
    };
    walk.skb.dst = Some(dst.clone());
    let dst = ip_rcv_options(walk, dev, dst)?;
    walk.skb.dst = Some(dst.clone());
    if walk.packet().family() == Family::Inet {
        refuse_in_group(walk, sysctl::max_of_all(walk.netns(), dev, UNICAST_IN_GROUP))?;
    }
    if dst.local { ip_local_deliver(walk, dev) } else { ip_forward(walk, dev, &dst) }
}

/// Addresses that no IPv6 packet may come in with, before any rule sees it (`ip6_rcv_core` in `net/ipv6/ip6_input.c`).
fn refuse_loopback(walk: &Walk, dev: &IfName) -> Stage<()> {
    let ip = &walk.packet().ip;
    let is_loopback = walk.netns().link(dev).map_or(dev.as_str() == "lo", |link| link.kind == LinkKind::Loopback);
    if !is_loopback && (ip.source.is_loopback() || ip.destination.is_loopback()) {
        return Err(End::dropped(Reason::MartianSource).detail("a loopback address came in from outside"));
    }
    if ip.source.is_multicast() {
        return Err(End::dropped(Reason::MartianSource).detail("a multicast address can't be a source"));
    }
    Ok(())
}

const UNICAST_IN_GROUP: &str = "drop_unicast_in_l2_multicast";

/// A packet for one host in a frame for many, where a setting forbids that (`ip_rcv_finish_core`, `ip6_rcv_core`).
fn refuse_in_group(walk: &Walk, setting: Option<(i64, Evidence)>) -> Stage<()> {
    match setting {
        Some((1.., line)) if is_for_many(walk) => Err(for_many("a packet for one host is refused").because([line])),
        _ => Ok(()),
    }
}

/// The end of a packet in a frame that is for many.
fn for_many(what: &str) -> Box<End> {
    End::dropped(Reason::GroupFrame).detail(format!("the frame is one for many, in which {what}"))
}

/// Protocols whose packets are taken out of no frame for many (`tcp_v4_rcv`, `tcp_v6_rcv`, `sctp_rcv`,
/// `dccp_invalid_packet`).
fn refuse_connection(walk: &Walk) -> Stage<()> {
    let protocol = walk.packet().protocol();
    let is_refused = matches!(protocol, Protocol::TCP | Protocol::SCTP | Protocol(33));
    if is_refused && is_for_many(walk) {
        return Err(for_many("TCP, SCTP and DCCP take nothing"));
    }
    Ok(())
}

/// `PACKET_OTHERHOST`: the frame is for another link address.
fn is_other_host(walk: &Walk, dev: &IfName) -> bool {
    if let Some(set) = walk.skb.pkt_type {
        return set == PktType::OtherHost;
    }
    let Some(frame) = walk.packet().link.filter(|_| !walk.skb.to_host) else { return false };
    // An all-zero destination stands for one that the snapshot doesn't tell.
    let known = frame.destination != MacAddr::ZERO && !frame.destination.is_multicast();
    walk.netns().link(dev).and_then(|link| link.lladdr).is_some_and(|own| known && frame.destination != own)
}

/// The end of a frame that is for another link address, with who sent it here: the forwarding entry, where the address
/// is that of another device of the snapshot, else the neighbour entry that gives an address which nobody has.
fn other_host(walk: &Walk, dev: &IfName) -> Box<End> {
    if walk.skb.pkt_type.is_some() {
        let detail = "the frame was one for another host before a rule gave it another address, or a rule made it one";
        return End::dropped(Reason::OtherHost).detail(detail);
    }
    let detail = format!("the frame's destination address is not {dev}'s");
    let own = walk.netns().link(dev).map(|link| link.lladdr_evidence);
    let end = End::dropped(Reason::OtherHost);
    let Some(frame) = walk.packet().link else { return end.detail(detail).because(own) };
    let wanted = frame.destination;
    let mut devices = walk.snapshot.namespaces.iter().flat_map(|netns| netns.links.iter().flatten());
    let is_elsewhere = devices.any(|link| link.lladdr == Some(wanted));
    let culprit = walk.steps().iter().rev().find_map(|step| {
        let says = match &step.decision {
            Decision::Fdb { lladdr, vtep: Some(vtep), .. } if is_elsewhere && *lladdr == wanted => {
                format!("the forwarding entry on {} sends frames for {wanted} to {vtep}", step.place.node)
            }
            Decision::Neighbor { lladdr: Some(lladdr), address, .. } if !is_elsewhere && *lladdr == wanted => {
                format!("the neighbour entry on {} gives {address} the address {wanted}", step.place.node)
            }
            _ => return None,
        };
        Some((says, &step.because)).filter(|_| !step.because.is_empty())
    });
    match culprit {
        Some((says, lines)) => end.detail(format!("{detail}; {says}")).because(lines.iter().copied()).because(own),
        None => end.detail(detail).because(own),
    }
}

/// The line that takes IPv6 from a device.
fn ipv6_is_off(walk: &Walk, dev: &IfName) -> Option<Evidence> {
    let setting = sysctl::device(walk.netns(), Family::Inet6, dev, "disable_ipv6");
    let (value, line) = setting.filter(|_| walk.packet().family() == Family::Inet6)?;
    (value != 0).then_some(line)
}

/// To the namespace's own stack (`ip_local_deliver`, `ip6_input`), or to the tunnel that listens there.
fn ip_local_deliver(walk: &mut Walk, dev: &IfName) -> Stage<Next> {
    nf_hook(walk, Hook::Input, Some(dev), None)?;
    exthdrs::deliver(walk)?;
    refuse_connection(walk)?;
    if let Some(next) = vxlan::vxlan_rcv(walk)? {
        return Ok(next);
    }
    if let Some(next) = tun::relay_rcv(walk)? {
        return Ok(next);
    }
    // `udp_rcv` where no socket is found (`__udp4_lib_rcv`), `ip_protocol_deliver_rcu` where no protocol is.
    let family = walk.packet().family();
    if let Some(ErrorGiven { message: (kind, code), .. }) =
        walk.given.error.as_ref().filter(|one| one.is_refusal(family))
    {
        return Err(End::icmp(Reason::NoListener, *kind, *code));
    }
    Err(End::arrived(Verdict::Delivered))
}

/// Onward (`ip_forward`, `ip6_forward`): TTL, then the MTU, then the hook.
fn ip_forward(walk: &mut Walk, dev: &IfName, dst: &Dst) -> Stage<Next> {
    let family = walk.packet().family();
    if is_for_many(walk) {
        return Err(for_many("nothing is forwarded"));
    }
    if family == Family::Inet6 {
        let (forwarding, line) = sysctl::forwarding(walk, family, dev);
        if !forwarding {
            return Err(End::dropped(Reason::NotForwarding).detail("IPv6 forwarding is off").because(line));
        }
    }
    options::note_router_alert(walk);
    exthdrs::note_router_alert(walk);
    let ttl = walk.packet().ip.ttl;
    if ttl <= 1 {
        let (kind, code) = if family == Family::Inet { (11, 0) } else { (3, 0) };
        let end = End::icmp(Reason::TtlExceeded, kind, code);
        return Err(match walk.skb.came_back {
            Some(back) => end.cause(EndCause::EntryToItself { ttl }).because([back.entry]),
            None => end.detail(format!("TTL is {ttl}")),
        });
    }
    // A packet that goes back where it came from is answered with a redirect instead of being checked.
    if let IpAddr::V6(source) = walk.packet().ip.source
        && dst.dev != *dev
        && (source.is_unspecified() || source.is_unicast_link_local())
    {
        return Err(if source.is_unspecified() {
            End::dropped(Reason::MartianSource)
        } else {
            End::icmp(Reason::MartianSource, 1, 2)
        });
    }
    options::refuse_gateway(walk, dst)?;
    let mtu = mtu_to_forward(walk, dst);
    check_mtu(walk, mtu)?;
    let mtu = mtu.map(|(mtu, _)| mtu);
    walk.take(Decision::Forward(Forwarded { ttl: ttl - 1, mtu }), None);
    let keeps_priority =
        sysctl::number(walk.netns(), "net.ipv4.ip_forward_update_priority").is_some_and(|(on, _)| on == 0);
    if family == Family::Inet && !keeps_priority {
        walk.skb.priority = Priority::Known(rt_tos2priority(walk.packet().ip.tos));
    }
    nf_hook(walk, Hook::Forward, Some(dev), Some(&dst.dev))?;
    options::ip_forward_options(walk, &dst.because);
    ip_output(walk)
}

/// The class that a TOS octet stands for: best effort, bulk, interactive, both (`ip_tos2prio` in `net/ipv4/route.c`).
/// IPv6 leaves the priority as it is.
fn rt_tos2priority(tos: u8) -> u32 {
    match tos & 0x18 {
        0x08 => 2,
        0x10 => 6,
        0x18 => 4,
        _ => 0,
    }
}

/// A packet that may not be split and is too large (`ip_exceeds_mtu`, `ip6_pkt_too_big`).
fn check_mtu(walk: &Walk, mtu: Option<Mtu<'_>>) -> Stage<()> {
    let packet = walk.packet();
    let Some((mtu, lines)) = mtu else { return Ok(()) };
    let mtu = if packet.family() == Family::Inet6 { mtu.max(1280) } else { mtu };
    let may_split = packet.family() == Family::Inet && !packet.ip.df;
    // What arrived in pieces that fit goes on in pieces.
    let fits = packet.length <= mtu || packet.fragments.is_some_and(|fragments| fragments.largest <= mtu);
    if may_split || fits || walk.skb.ignore_df { Ok(()) } else { Err(too_big(walk, (mtu, lines))) }
}

/// Whether an ICMP echo or other message would be answered by the receiver: everything else assumes a listener. None has
/// port 0 (`inet_csk_get_port`, `udp_lib_get_port`), and UDP sends nothing to it (`udp_sendmsg` in `net/ipv4/udp.c`).
pub(super) fn is_answered(transport: &Transport) -> bool {
    match transport {
        Transport::Icmp { kind, quoted, .. } => quoted.is_none() && matches!(kind, 8 | 13 | 128),
        Transport::Udp { source: Some(0), .. } => false,
        Transport::Tcp { destination, .. }
        | Transport::Udp { destination, .. }
        | Transport::Sctp { destination, .. } => *destination != Some(0),
        Transport::Other(_) => true,
    }
}
