//! What a packet's IPv4 options do on its way: they are read when it comes in, and written into when it goes on.
//!
//! Follows `ip_rcv_options` in `net/ipv4/ip_input.c`, `net/ipv4/ip_options.c` and `net/ipv4/ip_forward.c`.

use std::net::{IpAddr, Ipv4Addr};

use crate::evidence::Evidence;
use crate::net::{Family, IfName, IpOptions, Packet, Protocol};
use crate::snapshot::{Netns, conf_key};
use crate::trace::{Decision, Reason, Verdict};

use super::address::is_local_address;
use super::end::{End, Stage};
use super::ip_options::{Compiled, Echo, Reader, Wrong, address, compile, ip_options_echo};
use super::route::{Dst, ip_route_input_srr};
use super::sysctl;
use super::walk::Walk;

/// What the stack keeps of the options of a packet that came in (`IPCB(skb)->opt`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kept {
    found: Compiled,
    /// The stack has written into them, and the header's checksum is wrong until the packet goes on (`is_changed`).
    changed: bool,
    /// Where a source route leads next that the stack has taken up, and the place of that address in it
    /// (`srr_is_hit`).
    hit: Option<(Ipv4Addr, usize)>,
}

/// Reads the options of a packet that came in and has its route, which a source route may change.
pub(super) fn ip_rcv_options(walk: &mut Walk, dev: &IfName, dst: Dst) -> Stage<Dst> {
    let found = read(walk)?;
    if found.srr.is_some() { ip_options_rcv_srr(walk, dev, dst, found) } else { Ok(dst) }
}

/// The packet has no route, or one that is an error. Of the latter the kernel reads the options before it makes the
/// error (`ip_rcv_finish_core` in `net/ipv4/ip_input.c`, `ip_error` in `net/ipv4/route.c`).
pub(super) fn refused(walk: &mut Walk, dev: &IfName, end: Box<End>) -> Box<End> {
    let is_early = matches!(end.reason, Some(Reason::MartianSource | Reason::MartianDestination | Reason::RpFilter));
    if is_early || end.verdict == Verdict::Undetermined {
        return end;
    }
    match read(walk) {
        Ok(found) if found.srr.is_some() => accept_source_route(walk, dev).err().unwrap_or_else(|| unroutable(end)),
        Ok(_) => end,
        Err(wrong) => wrong,
    }
}

fn read(walk: &mut Walk) -> Stage<Compiled> {
    if walk.packet().options.is_empty() {
        return Ok(Compiled::default());
    }
    let netns = walk.netns();
    let mut list = walk.packet().options.bytes().to_vec();
    let (found, wrong) = compile(&mut list, Reader::Stack(&|address| is_own(netns, address)));
    let changed = list != walk.packet().options.bytes();
    walk.write_options(IpOptions::new(list));
    walk.skb.options = Some(Kept { found, changed, hit: None });
    if wrong.is_some() && walk.packet().fragments.is_some() && !netns.netfilter.needs_defrag(Family::Inet) {
        let what = "the packet comes in pieces, of which not all have the option that is wrong: the walk goes on as \
                    the first piece does";
        walk.doubt(what.to_owned(), None);
    }
    match wrong {
        None => Ok(found),
        Some(Wrong::At(place)) => Err(parameter_problem(place)),
        Some(Wrong::Cipso | Wrong::Privileged) => {
            let what = "the packet has the option CIPSO, and which labels the kernel takes no snapshot tells";
            Err(End::undetermined(Reason::NotModelled, what))
        }
    }
}

pub(super) fn is_own(netns: &Netns, address: Ipv4Addr) -> bool {
    is_local_address(netns, IpAddr::V4(address))
}

fn parameter_problem(place: usize) -> Box<End> {
    End::icmp(Reason::BadHeader, 12, 0).detail(format!("byte {place} of the IP header is wrong"))
}

/// Takes a source route up (`ip_options_rcv_srr`).
fn ip_options_rcv_srr(walk: &mut Walk, dev: &IfName, mut dst: Dst, found: Compiled) -> Stage<Dst> {
    accept_source_route(walk, dev)?;
    if !dst.local {
        // The packet is on its way between two places of the route, which a strict one doesn't allow.
        return if found.is_strictroute { Err(parameter_problem(16)) } else { Ok(dst) };
    }
    let start = found.srr.unwrap_or(0);
    let list = walk.packet().options.bytes().to_vec();
    let octet = |at: usize| usize::from(list.get(start + at).copied().flatten().unwrap_or(0));
    let (length, mut pointer) = (octet(1), octet(2));
    while pointer <= length {
        let next = Some(pointer + 3).filter(|end| *end <= length).and_then(|_| address(&list, start + pointer - 1));
        let Some(next) = next else { return Err(parameter_problem(20 + start + 2)) };
        dst = ip_route_input_srr(walk, dev, next.into()).map_err(unroutable)?;
        if !dst.local {
            walk.skb.options = Some(Kept { found, changed: true, hit: Some((next, pointer)) });
            break;
        }
        walk.skb.options = Some(Kept { found, changed: true, hit: None });
        walk.take(Decision::SourceRoute { destination: next.into() }, dst.because.clone());
        pointer += 4;
    }
    Ok(dst)
}

/// No error tells of a place of the route that can't be reached.
fn unroutable(mut end: Box<End>) -> Box<End> {
    if end.verdict != Verdict::Undetermined {
        (end.verdict, end.error) = (Verdict::Dropped, None);
    }
    end
}

/// Whether source routes are followed that come in by a device (`IN_DEV_SOURCE_ROUTE`): the setting for all devices and
/// its own say so.
fn accept_source_route(walk: &mut Walk, dev: &IfName) -> Stage<()> {
    let word = "accept_source_route";
    for (key, otherwise) in [("all", 0), (dev.as_str(), 1)].map(|(of, value)| (conf_key(Family::Inet, of, word), value))
    {
        let (value, line) = sysctl::decisive(walk, &key, otherwise);
        if value == 0 {
            let detail = format!("{key} is 0: what comes in by {dev} can't choose its own way");
            return Err(End::dropped(Reason::SourceRoute).detail(detail).because(line));
        }
    }
    Ok(())
}

/// A router alert goes to the programs that have asked for such packets of its protocol, of which no snapshot tells
/// (`ip_call_ra_chain`, `ip6_call_ra_chain`).
pub(super) fn note_router_alert(walk: &mut Walk) {
    let alerts = walk.skb.options.is_some_and(|kept| kept.found.router_alert.is_some());
    if alerts {
        say_router_alert(walk);
    }
}

pub(super) fn say_router_alert(walk: &mut Walk) {
    let place = walk.place();
    let what = format!(
        "the packet alerts routers: the walk goes on as if no program on {} {} had asked for such packets",
        place.node, place.name
    );
    walk.gap(what, None);
}

/// A strict source route has no gateways between its places (`ip_forward`).
pub(super) fn refuse_gateway(walk: &Walk, dst: &Dst) -> Stage<()> {
    let strict = walk.skb.options.is_some_and(|kept| kept.found.is_strictroute);
    match dst.via {
        Some(via) if strict => {
            let detail = format!("the strict source route doesn't name {via}, the gateway of the route");
            Err(End::icmp(Reason::SourceRoute, 3, 5).detail(detail).because(dst.because.clone()))
        }
        _ => Ok(()),
    }
}

/// The packet goes on: a source route that was taken up gives it its next destination (`ip_forward_options`). What else
/// is written there, `compile` has made room for.
pub(super) fn ip_forward_options(walk: &mut Walk, because: &[Evidence]) {
    let Some(kept) = &mut walk.skb.options else { return };
    kept.changed = false;
    let Kept { found: Compiled { srr: Some(start), .. }, hit: Some((next, pointer)), .. } = *kept else { return };
    let mut list = walk.packet().options.bytes().to_vec();
    list.iter_mut().skip(start + pointer - 1).take(4).for_each(|byte| *byte = None);
    if let Some(byte) = list.get_mut(start + 2) {
        *byte = u8::try_from(pointer + 4).ok();
    }
    walk.write_options(IpOptions::new(list));
    walk.take(Decision::SourceRoute { destination: next.into() }, because.iter().copied());
}

/// Whether a rule that answers a packet finds its checksum right. It sums the IP header up too, which is wrong from the
/// time that the stack writes into the options until the packet goes on; but what a device has checked, or a sender on
/// the same machine leaves to it, it takes as it is (`nf_ip_checksum` in `net/netfilter/utils.c`).
pub(super) fn sums_up(walk: &mut Walk, because: Evidence) -> bool {
    let written = walk.skb.options.is_some_and(|kept| kept.changed);
    let what = "a device has checked the packet's checksum, or its sender left that to it: the IP header, in which the \
                stack has written options, sums up no more";
    !written || walk.choose_unknown(what, Some(because))
}

/// The options of an answer to the walk's packet; none where it has none, or the stack has not read them.
pub(super) fn echo(walk: &Walk) -> Option<Echo> {
    let Kept { found, .. } = walk.skb.options?;
    let netns = walk.netns();
    Some(ip_options_echo(&walk.packet().options, &found, &|address| is_own(netns, address)))
}

/// The options of an answer to a packet as somebody makes it who reads them then: a neighbour lookup that failed
/// (`ipv4_send_dest_unreach` in `net/ipv4/route.c`), a host outside. `None` where they are wrong.
pub(super) fn echo_of(packet: &Packet, netns: &Netns) -> Option<Echo> {
    let mut list = packet.options.bytes().to_vec();
    let is_own = |address| is_own(netns, address);
    match compile(&mut list, Reader::Stack(&is_own)) {
        (found, None) => Some(ip_options_echo(&IpOptions::new(list), &found, &is_own)),
        _ => None,
    }
}

/// The end of an answer that goes back as the packet came.
pub(super) fn by_source_route() -> Box<End> {
    End::undetermined(Reason::NotModelled, "the answer goes back by the source route that the packet came by")
}

/// Whether what answers a packet copies its options: the kernel itself, which answers echoes and opens connections of
/// TCP (`icmp_reply` in `net/ipv4/icmp.c`, `tcp_v4_save_options` in `include/net/tcp.h`).
pub(super) fn are_copied(packet: &Packet) -> bool {
    packet.family() == Family::Inet && matches!(packet.protocol(), Protocol::ICMP | Protocol::TCP)
}
