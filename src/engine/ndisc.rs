//! IPv6 neighbour discovery passes ip6tables: a solicitation or its answer that a rule drops leaves the neighbour
//! unresolved.
//!
//! Follows `ndisc_send_ns`, `ndisc_recv_ns` and `ndisc_recv_na` in `net/ipv6/ndisc.c`.

use std::net::{IpAddr, Ipv6Addr};

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Ip, Link, MacAddr, Packet, Transport};
use crate::snapshot::{LinkKind, NetnsId};
use crate::trace::{EndCause, Hook, Reason, Verdict};

use super::br_netfilter;
use super::end::{End, Stage};
use super::netfilter::nf_hook;
use super::skb::{DevRef, NfBridge, Skb};
use super::walk::Walk;

const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

const SOLICITATION: &str = "the neighbour solicitation";
const ADVERTISEMENT: &str = "the neighbour advertisement";

/// Why a neighbour that is there can't be heard.
pub(super) enum Unheard {
    /// The question or the answer is lost on the way.
    Silent { cause: EndCause, because: Vec<Evidence> },
    /// What becomes of one of them is not known, and so neither what becomes of the packet.
    Unknown(Box<End>),
}

/// Asks the owner of an address for it, and hears the answer.
pub(super) fn solicit(walk: &mut Walk, dev: &IfName, address: Ipv6Addr, owner: &DevRef) -> Result<(), Unheard> {
    if let Some(link) = walk.snapshot.netns(owner.0).link(&owner.1).filter(|link| link.noarp) {
        // Such a device doesn't join the group that is asked (`addrconf_join_solict` in `net/ipv6/addrconf.c`).
        let cause = EndCause::SolicitationUnheard { device: owner.1.clone(), address: address.into() };
        return Err(Unheard::Silent { cause, because: vec![link.evidence] });
    }
    let here = (walk.netns_id(), dev.clone());
    let source = solicitation_source(walk, dev);
    let IpAddr::V6(source) = source else { return Ok(()) };
    let ask = solicitation(walk, dev, source, address);
    pass(walk, &ask, &here, owner, SOLICITATION)?;
    walk.tracker.heard.push((owner.0, owner.1.clone(), IpAddr::V6(source)));
    let tell = message(NEIGHBOUR_ADVERTISEMENT, address, source);
    pass(walk, &tell, owner, &here, ADVERTISEMENT)
}

/// Asks a gateway that the snapshot doesn't hold, and hears its answer: only the rules on this side are known.
pub(super) fn solicit_outside(walk: &mut Walk, dev: &IfName, address: Ipv6Addr) -> Result<(), Unheard> {
    let here = (walk.netns_id(), dev.clone());
    let IpAddr::V6(source) = solicitation_source(walk, dev) else { return Ok(()) };
    leave(walk, &solicitation(walk, dev, source, address), &here, SOLICITATION)?;
    enter(walk, &message(NEIGHBOUR_ADVERTISEMENT, address, source), &here, None, ADVERTISEMENT)
}

/// The packet's own source where it is the device's, else the device's link-local address.
fn solicitation_source(walk: &Walk, dev: &IfName) -> IpAddr {
    let netns = walk.netns();
    let wanted = walk.packet().ip.source;
    if netns.addrs_of(dev).any(|addr| addr.address == wanted) {
        return wanted;
    }
    let link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let mut own = netns.addrs_of(dev).map(|addr| addr.address);
    own.find(link_local).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a & 0xff, b)
}

/// A solicitation is a multicast frame, too (`ipv6_eth_mc_map`).
fn solicitation(walk: &Walk, dev: &IfName, source: Ipv6Addr, address: Ipv6Addr) -> Packet {
    let group = solicited_node(address);
    let mut packet = message(NEIGHBOUR_SOLICITATION, source, group);
    let [.., a, b, c, d] = group.octets();
    let source = walk.netns().link(dev).and_then(|link| link.lladdr).unwrap_or(MacAddr::ZERO);
    packet.link = Some(Link { source, destination: MacAddr([0x33, 0x33, a, b, c, d]) });
    packet
}

fn message(kind: u8, source: Ipv6Addr, destination: Ipv6Addr) -> Packet {
    let ip = Ip { source: IpAddr::V6(source), destination: IpAddr::V6(destination), ttl: 255, tos: 0, df: true };
    Packet::new(ip, Transport::Icmp { kind, code: 0, id: None, quoted: None }, 72)
}

/// One message from a device to another: out of one stack, over the bridge between, into the other.
fn pass(walk: &mut Walk, message: &Packet, from: &DevRef, to: &DevRef, name: &str) -> Result<(), Unheard> {
    leave(walk, message, from, name)?;
    let (near, far) = (bridge_port(walk, from), bridge_port(walk, to));
    let Some((bridge, port)) = near else { return enter(walk, message, to, None, name) };
    let nf_bridge = NfBridge { physin: Some(port), ..NfBridge::default() };
    if bridge == *to {
        return enter(walk, message, to, Some(nf_bridge), name);
    }
    if let Some((_, out)) = far.filter(|(other, _)| *other == bridge) {
        let (dev, out) = (Some(&bridge.1), Some(&out));
        let stops = [
            At::new(Hook::Prerouting, dev, None),
            At { physout: out, ..At::new(Hook::Forward, dev, dev) },
            At { physout: out, ..At::new(Hook::Postrouting, None, dev) },
        ];
        hooks(walk, message, &bridge, bridged(Some(nf_bridge)), &stops, name)?;
    }
    enter(walk, message, to, None, name)
}

fn leave(walk: &mut Walk, message: &Packet, from: &DevRef, name: &str) -> Result<(), Unheard> {
    let dev = Some(&from.1);
    let stops = [At::new(Hook::Output, None, dev), At::new(Hook::Postrouting, None, dev)];
    // It has no link addresses before it has left, and so is no multicast frame yet (`PACKET_HOST`).
    let bare = Packet { link: None, ..message.clone() };
    // Of what is sent because a copy waits for it no copy is made (`current->in_nf_duplicate`).
    let skb = Skb { copied_to: walk.skb.copied_to.clone(), ..Skb::default() };
    hooks(walk, &bare, from, skb, &stops, name)
}

fn enter(
    walk: &mut Walk,
    message: &Packet,
    to: &DevRef,
    nf_bridge: Option<NfBridge>,
    name: &str,
) -> Result<(), Unheard> {
    let dev = Some(&to.1);
    let stops = [At::new(Hook::Prerouting, dev, None), At::new(Hook::Input, dev, None)];
    hooks(walk, message, to, bridged(nf_bridge), &stops, name)
}

fn bridged(nf_bridge: Option<NfBridge>) -> Skb {
    Skb { nf_bridge, ..Skb::default() }
}

/// The bridge with bridge netfilter, and the port of it, that a veth device's frames come to.
fn bridge_port(walk: &Walk, at: &DevRef) -> Option<(DevRef, IfName)> {
    let peer = walk.snapshot.topology.veth_peer(at.0, &at.1)?;
    let netns = walk.snapshot.netns(peer.netns);
    let bridge = netns.link(&peer.link)?.master.clone()?;
    let is_bridge = matches!(netns.link(&bridge)?.kind, LinkKind::Bridge(_));
    let has_hooks = is_bridge && br_netfilter::is_on_at(netns, Family::Inet6, &bridge);
    has_hooks.then_some(((peer.netns, bridge), peer.link))
}

/// A hook that a message comes to, and what it shows there.
struct At<'a> {
    hook: Hook,
    indev: Option<&'a IfName>,
    outdev: Option<&'a IfName>,
    /// The bridge port that it is going to leave by.
    physout: Option<&'a IfName>,
}

impl<'a> At<'a> {
    fn new(hook: Hook, indev: Option<&'a IfName>, outdev: Option<&'a IfName>) -> Self {
        Self { hook, indev, outdev, physout: None }
    }

    fn pass(&self, aside: &mut Walk) -> Stage<()> {
        if let Some(nf_bridge) = &mut aside.skb.nf_bridge {
            nf_bridge.physout = self.physout.cloned();
        }
        nf_hook(aside, self.hook, self.indev, self.outdev)
    }
}

/// Runs a message through some hooks of a namespace on a walk of its own, whose steps are not the packet's.
fn hooks(walk: &mut Walk, message: &Packet, at: &DevRef, skb: Skb, stops: &[At], name: &str) -> Result<(), Unheard> {
    let netns: NetnsId = at.0;
    let choices = std::mem::take(&mut walk.choices);
    let mut aside = Walk::new(walk.snapshot, netns, message.clone(), walk.tracker.clone(), choices, false);
    aside.skb = skb;
    (aside.nested, aside.steps_beside) = (walk.nested, walk.steps_beside);
    aside.given.time = walk.given.time;
    let outcome = stops.iter().try_for_each(|stop| stop.pass(&mut aside));
    let outcome = outcome.and_then(|()| stays_on_link(&aside, &at.1));
    // What is not known of the message is not known of the packet that waits for it.
    let doubts = std::mem::take(&mut aside.doubts);
    walk.steps_beside = aside.steps_beside;
    let finished = aside.finish();
    walk.choices = finished.choices;
    walk.gaps.extend(finished.gaps.into_list());
    for doubt in doubts {
        walk.doubt(doubt.what, doubt.row);
    }
    // What the message leaves in lists is there for the packet.
    walk.tracker.recent = finished.tracker.recent;
    walk.tracker.sets = finished.tracker.sets;
    outcome.map_err(|end| unheard(end, name, &walk.snapshot.netns(netns).dir))
}

fn unheard(end: Box<End>, name: &str, dir: &str) -> Unheard {
    if end.verdict == Verdict::Undetermined {
        return Unheard::Unknown(end);
    }
    let reason = end.reason.map_or("a rule", Reason::as_str);
    let cause = EndCause::MessageStopped { message: name.to_owned(), reason, dir: dir.to_owned() };
    Unheard::Silent { cause, because: end.because }
}

/// A rule of OUTPUT that marks the message has it routed again, and the route may lead it away (`ip6_route_me_harder`).
fn stays_on_link(aside: &Walk, dev: &IfName) -> Stage<()> {
    match &aside.skb.dst {
        Some(dst) if dst.dev != *dev || dst.via.is_some() => {
            Err(End::dropped(Reason::NeighborFailed).because(dst.because.iter().copied()))
        }
        _ => Ok(()),
    }
}
