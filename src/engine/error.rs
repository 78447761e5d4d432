//! The errors that the kernel sends about a packet, and their way back to the sender.
//!
//! Follows `net/ipv4/icmp.c`, `net/ipv6/icmp.c`, `net/ipv4/netfilter/nf_reject_ipv4.c` and its IPv6 twin.

use std::net::IpAddr;

use crate::net::{Family, IfName, Ip, IpOptions, Link, Mark, Packet, RouteScope, RouteType, TableId, Transport};
use crate::snapshot::Netns;
use crate::trace::{Decision, Reason, Trace, Verdict};

use super::ErrorGiven;
use super::address::{inet_select_addr, ipv6_dev_get_saddr};
use super::conntrack::{CtRef, Nfct, UnknownPort};
use super::drive::{Course, Leg, is_reset};
use super::end::{End, ErrorReply, Straight};
use super::fib;
use super::ip_options::Echo;
use super::on_bridge;
use super::options;
use super::pkt_type::is_for_many;
use super::reply;
use super::synproxy::{SynAck, connection_of_answer};
use super::sysctl;
use super::walk::Walk;
use crate::trace::CtState;

/// What is known where the error is made.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    error: ErrorReply,
    /// How it goes back where it is made of the frame.
    straight: Option<Straight>,
    /// The packet's connection, which the error belongs to.
    nfct: Nfct,
    /// Whether the packet was for the namespace itself.
    local: bool,
    /// The bridge port that the packet came in by, while it is being bridged.
    physin: Option<IfName>,
    /// The device that the packet came in by; `None` for the namespace's own.
    iif: Option<IfName>,
    /// The device that it came to last.
    device: Option<IfName>,
    /// Which of the ports that nobody knows the packet's is.
    unknown_port: UnknownPort,
    /// The packet's IPv4 options in an error; `None` where they are wrong, and no error is made.
    echo: Option<Echo>,
}

impl Cause {
    pub(super) fn of(walk: &Walk, error: ErrorReply, end: &End) -> Self {
        let read_anew = end.reason == Some(Reason::NeighborFailed) && !walk.packet().options.is_empty();
        let none = || Echo::Options(IpOptions::default());
        Self {
            error,
            straight: end.straight.clone(),
            nfct: walk.skb.nfct,
            local: is_for_own_address(walk),
            physin: walk.skb.nf_bridge.as_ref().and_then(|nf_bridge| nf_bridge.physin.clone()),
            iif: inward_device(walk),
            device: walk.place().device.clone(),
            unknown_port: walk.skb.unknown_port,
            echo: if read_anew {
                options::echo_of(walk.packet(), walk.netns())
            } else {
                Some(options::echo(walk).unwrap_or_else(none))
            },
        }
    }
}

/// Takes back an error that the kernel does not make: the packet is dropped without a word.
pub(super) fn unmake(walk: &Walk, end: &mut End) {
    if is_unmade(walk, end) {
        (end.verdict, end.error) = (Verdict::Dropped, None);
    }
}

/// No ICMP error is made about a packet out of a frame for many, but for ICMPv6's about its size (`__icmp_send`,
/// `icmp6_send`).
fn is_unmade(walk: &Walk, end: &End) -> bool {
    // `REJECT` answers nothing whose checksum is wrong (`nf_send_unreach6`, `nf_send_reset6`).
    let is_of_reject = !matches!(end.error, None | Some(ErrorReply::Icmp { kind: 4, .. }));
    if walk.skb.unfit_sum && is_of_reject && end.reason == Some(Reason::Rule) {
        return true;
    }
    let about_size = walk.packet().ip.destination.is_ipv6();
    match end.error {
        Some(ErrorReply::Icmp { kind, .. }) if end.straight.is_none() => {
            is_for_many(walk) && !(about_size && kind == 2)
        }
        _ => false,
    }
}

/// IPv4 asks the packet's route (`__icmp_send`). ICMPv6 looks the destination up by itself, also where the packet has no
/// route yet: it must be an address of a device, or an anycast one (`icmp6_send`), and not just in a local route.
fn is_for_own_address(walk: &Walk) -> bool {
    let (destination, netns) = (walk.packet().ip.destination, walk.netns());
    let routed = walk.skb.dst.as_ref().is_some_and(|dst| dst.local);
    if destination.is_ipv4() || netns.addrs.is_none() {
        return routed;
    }
    // Also for a router's anycast address (`ipv6_chk_acast_addr_src`).
    let is_anycast = || {
        let local = fib::routes(netns, Family::Inet6).map(|routes| routes.covering(TableId::LOCAL, destination));
        local.into_iter().flatten().any(|route| route.kind == RouteType::Anycast)
    };
    netns.addr(destination).is_some() || is_anycast()
}

/// A packet that is being bridged came in by the bridge (`brnf_get_logical_dev`).
fn inward_device(walk: &Walk) -> Option<IfName> {
    let physin = walk.skb.nf_bridge.as_ref().and_then(|nf_bridge| nf_bridge.physin.as_ref());
    let port = physin.filter(|port| walk.skb.iif.as_ref() == Some(port));
    let bridge = port.and_then(|port| walk.netns().link(port)).and_then(|link| link.master.clone());
    bridge.or_else(|| walk.skb.iif.clone())
}

/// The end's fields of an error: ICMP type and code, and whether it is a TCP reset.
pub(super) fn fields(error: Option<ErrorReply>) -> (Option<(u8, u8)>, bool) {
    match error {
        Some(ErrorReply::Icmp { kind, code, .. }) => (Some((kind, code)), false),
        Some(ErrorReply::Relay { .. }) => (Some((3, 0)), false),
        Some(ErrorReply::TcpReset) => (None, true),
        Some(ErrorReply::SynAck(_)) | None => (None, false),
    }
}

/// The steps of an error that finds no route: it is sent, routed, and ends.
const UNSENT: usize = 3;

/// Walks the error's way back and says whether the sender hears of it, if that is known.
pub(super) fn walk(course: &mut Course, mut forward: Leg, sent: &Packet) -> (Leg, Option<Trace>, Option<bool>) {
    let Some(cause) = forward.cause.take() else {
        // The sender's own call failed: it knows at once.
        return (forward, None, Some(true));
    };
    if cause.echo == Some(Echo::SourceRoute)
        && cause.straight.is_none()
        && matches!(cause.error, ErrorReply::Icmp { .. })
    {
        let packet = forward.packet.clone();
        let back = course.unanswered(forward.netns, packet, options::by_source_route());
        return (forward, Some(back.trace), None);
    }
    let Some(packet) = error_packet(course, &forward, &cause) else {
        return unsent_error(forward);
    };
    let back = send(course, &forward, &cause, packet);
    let routed = cause.straight.is_none() && !matches!(cause.error, ErrorReply::Relay { .. });
    let unroutable = routed && back.trace.steps.len() <= UNSENT && back.trace.verdict == Verdict::Dropped;
    // Without a route the error is never made (`icmp_route_lookup`).
    if unroutable || routed && is_for_anycast(course.snapshot.netns(forward.netns), &cause, &back) {
        return unsent_error(forward);
    }
    if let Some(Decision::End { icmp: Some(_), icmp_source, .. }) =
        forward.trace.steps.last_mut().map(|step| &mut step.decision)
    {
        *icmp_source = source_of(&back);
    }
    let heard = match back.trace.verdict {
        _ if told_at_once(&forward) => Some(true),
        Verdict::Undetermined => None,
        _ => Some(hears(course, &back, sent)),
    };
    (forward, Some(back.trace), heard)
}

/// Walks the way of an error that somebody outside sends, and says whether the sender hears of it, if that is known.
pub(super) fn from_outside(
    course: &mut Course,
    forward: &Leg,
    error: &ErrorGiven,
    sent: &Packet,
) -> (Trace, Option<bool>) {
    let source = error.source.unwrap_or(forward.packet.ip.destination);
    let mut packet = icmp_error(&forward.packet, error.message.0, error.message.1, source, &IpOptions::default());
    (packet.ip.ttl, packet.ip.tos, packet.ip.df, packet.length) = (error.ttl, error.tos, error.df, error.length);
    let back = reply::from_outside(course, packet, forward.unknown_port);
    let heard = (back.trace.verdict != Verdict::Undetermined).then(|| hears(course, &back, sent));
    (back.trace, heard)
}

/// The segment with which `SYNPROXY` has answered the packet, if it has.
pub(super) fn syn_ack(forward: &Leg) -> Option<SynAck> {
    match forward.cause.as_ref()?.error {
        ErrorReply::SynAck(answer) => Some(answer),
        _ => None,
    }
}

/// Walks the way of the segment with which `SYNPROXY` has answered a SYN: the kernel routes it as a packet of its own.
pub(super) fn walk_syn_ack(course: &mut Course, forward: &Leg, answer: SynAck) -> Option<Leg> {
    let cause = forward.cause.as_ref()?;
    let (packet, shorter) = answer.segment(&forward.packet, default_ttl(course, forward));
    course.lengths = (shorter < packet.length).then_some((shorter, packet.length));
    let nfct = connection_of_answer(cause.nfct);
    let back = course.send_own(forward.netns, packet, cause.unknown_port, |walk| {
        walk.skb.nfct = nfct;
        answer.note_options(walk);
    });
    course.lengths = None;
    Some(back)
}

/// An ICMPv6 error for an anycast address is not made: one that the routing table calls so, or the first address of a
/// network on the link (`icmpv6_route_lookup` in `net/ipv6/icmp.c`, `ipv6_anycast_destination` in
/// `include/net/ip6_route.h`).
fn is_for_anycast(netns: &Netns, cause: &Cause, back: &Leg) -> bool {
    let routed = back.trace.steps.iter().find_map(|step| match &step.decision {
        Decision::Route { kind: Some(kind), prefix: Some(prefix), via, .. } => Some((step, *kind, *prefix, *via)),
        _ => None,
    });
    let Some((step, kind, prefix, via)) = routed.filter(|_| matches!(cause.error, ErrorReply::Icmp { .. })) else {
        return false;
    };
    let destination = step.packet.ip.destination;
    let first = prefix.prefix_len() < 127 && via.is_none() && prefix.network() == destination;
    destination.is_ipv6()
        && (kind == RouteType::Anycast || kind == RouteType::Unicast && first)
        && !sysctl::is_set(netns, "net.ipv6.icmp.error_anycast_as_unicast")
}

/// The kernel makes no error about this packet after all: it ends silently, unless the sender's own call failed.
fn unsent_error(mut forward: Leg) -> (Leg, Option<Trace>, Option<bool>) {
    let told = told_at_once(&forward).then_some(true);
    if let Some(Decision::End { verdict, icmp, tcp_reset, .. }) =
        forward.trace.steps.last_mut().map(|step| &mut step.decision)
    {
        (*icmp, *tcp_reset) = (None, false);
        if told.is_none() {
            (*verdict, forward.trace.verdict) = (Verdict::Dropped, Verdict::Dropped);
        }
    }
    (forward, None, told)
}

/// Whether the sender's own call failed too.
fn told_at_once(forward: &Leg) -> bool {
    let last = forward.trace.steps.last().map(|step| &step.decision);
    matches!(last, Some(Decision::End { errno: Some(_), .. }))
}

/// The source that the error was sent from: its first route may have chosen it.
fn source_of(back: &Leg) -> Option<IpAddr> {
    let routed = back.trace.steps.iter().find(|step| matches!(step.decision, Decision::Route { .. }));
    let step = routed.or(back.trace.steps.first())?;
    (!step.packet.ip.source.is_unspecified()).then_some(step.packet.ip.source)
}

fn send(course: &mut Course, forward: &Leg, cause: &Cause, packet: Packet) -> Leg {
    if let Some(straight) = &cause.straight {
        return course.send_back(forward.netns, straight, packet, cause.unknown_port);
    }
    if cause.error == ErrorReply::TcpReset
        && let Some(port) = &cause.physin
    {
        // A reset for a packet that came in by a bridge is routed like any, and then goes straight back out of the port
        // (`nf_send_reset` in `nf_reject_ipv4.c`).
        return course.transmit(forward.netns, port, packet);
    }
    if let (ErrorReply::Relay { .. }, Some(device)) = (cause.error, &cause.device) {
        return course.receive(forward.netns, device, packet, cause.unknown_port);
    }
    course.send_error(forward.netns, packet, reversed(cause.nfct), cause.unknown_port)
}

/// The error belongs to the packet's connection, in the other direction. One about a packet that isn't tracked
/// belongs to none (`nf_conntrack_attach`).
fn reversed(nfct: Nfct) -> Nfct {
    match nfct {
        Nfct::Untracked | Nfct::Attached => Nfct::Attached,
        Nfct::Entry(ct) => Nfct::Entry(CtRef { dir: ct.dir.other(), state: CtState::Related, ..ct }),
        other => other,
    }
}

/// TTL or hop limit of what the kernel sends by itself.
fn default_ttl(course: &Course, forward: &Leg) -> u8 {
    let inet = forward.packet.family() == Family::Inet;
    let key = if inet { "net.ipv4.ip_default_ttl" } else { "net.ipv6.conf.all.hop_limit" };
    let set = sysctl::number(course.snapshot.netns(forward.netns), key);
    set.and_then(|(value, _)| u8::try_from(value).ok()).unwrap_or(64)
}

/// Whether an IPv4 error comes from an address of the device that its packet came in by.
const INBOUND_ADDRESS: &str = "net.ipv4.icmp_errors_use_inbound_ifaddr";

/// The error itself; `None` where the kernel makes none about such a packet.
fn error_packet(course: &Course, forward: &Leg, cause: &Cause) -> Option<Packet> {
    let original = &forward.packet;
    let netns = course.snapshot.netns(forward.netns);
    let inet = original.family() == Family::Inet;
    let ttl = default_ttl(course, forward);
    if let Some(straight) = &cause.straight {
        return frame_error(original, straight, cause.error, ttl);
    }
    let unspecified = Family::of(original.ip.destination).unspecified();
    if original.ip.source.is_unspecified() || original.ip.source.is_multicast() {
        return None;
    }
    let reflect_key = if inet { "net.ipv4.fwmark_reflect" } else { "net.ipv6.fwmark_reflect" };
    let mark = if sysctl::is_set(netns, reflect_key) { original.mark } else { Mark(0) };
    let source = match &cause.iif {
        _ if cause.local => original.ip.destination,
        // An ICMPv6 error is sent from the device that the packet came in by, whatever way it goes back (seen on 6.18).
        Some(iif) if !inet => ipv6_dev_get_saddr(netns, iif, original.ip.source).unwrap_or(unspecified),
        // `__icmp_send` in `net/ipv4/icmp.c`; a reset is no ICMP error.
        Some(iif) if cause.error != ErrorReply::TcpReset && sysctl::is_set(netns, INBOUND_ADDRESS) => {
            inet_select_addr(netns, iif, Some(original.ip.source), RouteScope::LINK).unwrap_or(unspecified)
        }
        _ => unspecified,
    };
    let mut packet = match cause.error {
        ErrorReply::TcpReset if is_reset(original) => return None,
        ErrorReply::TcpReset => reset(original),
        ErrorReply::SynAck(_) => return None,
        ErrorReply::Relay { source } => return Some(relay_error(original, source)),
        ErrorReply::Icmp { .. } if original.gets_no_icmp_error() => return None,
        ErrorReply::Icmp { kind, code, .. } => {
            let Some(Echo::Options(options)) = &cause.echo else { return None };
            icmp_error(original, kind, code, source, options)
        }
    };
    packet.ip.ttl = ttl;
    packet.mark = mark;
    Some(packet)
}

fn icmp_error(original: &Packet, kind: u8, code: u8, source: IpAddr, options: &IpOptions) -> Packet {
    let inet = original.family() == Family::Inet;
    // The kernel quotes as much as fits a packet that everybody must take.
    let (header, most) = if inet { (28, 576) } else { (48, 1280) };
    let tos = if inet { original.ip.tos & 0x1e | 0xc0 } else { 0 };
    let ip = Ip { source, destination: original.ip.source, ttl: 64, tos, df: !inet };
    let length = (original.length + header + options.length()).min(most);
    let mut error = Packet::new(ip, about(original, kind, code), length);
    error.options = options.clone();
    error
}

fn about(original: &Packet, kind: u8, code: u8) -> Transport {
    let mut quoted = original.clone();
    (quoted.link, quoted.inner, quoted.encapsulation) = (None, None, None);
    Transport::Icmp { kind, code, id: None, quoted: Some(Box::new(quoted)) }
}

/// An error that is made of the frame, all turned around (`nf_reject_skb_v4_unreach`, `nf_reject_skb_v4_tcp_reset` and
/// their IPv6 twins; `nft_reject_queue_xmit` in `nft_reject_netdev.c`, `nft_reject_br_push_etherhdr` in
/// `nft_reject_bridge.c`).
fn frame_error(original: &Packet, straight: &Straight, error: ErrorReply, ttl: u8) -> Option<Packet> {
    let (headers, most_quoted) = if original.family() == Family::Inet { (28, 536) } else { (48, 1220) };
    let mut packet = match error {
        ErrorReply::TcpReset if !is_reset(original) => reset(original),
        ErrorReply::Icmp { kind, code, .. } => {
            let ip = Ip { source: original.ip.destination, destination: original.ip.source, ttl, tos: 0, df: true };
            Packet::new(ip, about(original, kind, code), original.length.min(most_quoted) + headers)
        }
        _ => return None,
    };
    packet.ip.ttl = ttl;
    let known = original.link.filter(|frame| frame.source != on_bridge::UNKNOWN);
    packet.link = known.map(|frame| Link { source: frame.destination, destination: frame.source });
    // A bridge's error has the tag of the frame, a device's has none.
    if let Straight::Port(_) = straight {
        packet.tags.clone_from(&original.tags);
    }
    Some(packet)
}

/// `send_net_unreachable` in flannel's proxy_amd64.c.
fn relay_error(original: &Packet, source: IpAddr) -> Packet {
    let mut packet = icmp_error(original, 3, 0, source, &IpOptions::default());
    (packet.ip.ttl, packet.ip.tos, packet.length) = (8, 0, 56);
    packet
}

/// `nf_reject_iphdr_put` and `nf_reject_ip_tcphdr_put`: the packet turned around, 40 bytes long.
fn reset(original: &Packet) -> Packet {
    let ip = Ip { source: original.ip.destination, destination: original.ip.source, ttl: 64, tos: 0, df: true };
    let (source, destination) = (original.destination_port(), original.source_port());
    let flags = match original.transport {
        Transport::Tcp { flags, .. } if flags & 0x10 != 0 => 0x04,
        _ => 0x14,
    };
    let length = if original.ip.source.is_ipv4() { 40 } else { 60 };
    Packet::new(ip, Transport::Tcp { source, destination, flags }, length)
}

/// Whether the sender's socket takes the error as one about its own packet.
fn hears(course: &Course, back: &Leg, sent: &Packet) -> bool {
    let there = match &course.question.from {
        super::Origin::Socket { netns } => back.trace.verdict == Verdict::Delivered && back.netns == *netns,
        super::Origin::Outside { .. } => back.trace.verdict == Verdict::Left,
        super::Origin::Device { .. } | super::Origin::Leaving { .. } => back.trace.arrived(),
    };
    let (source, destination, sport, dport) = match &back.packet.transport {
        Transport::Icmp { quoted: Some(quoted), .. } => {
            (quoted.ip.source, quoted.ip.destination, quoted.source_port(), quoted.destination_port())
        }
        _ => (
            back.packet.ip.destination,
            back.packet.ip.source,
            back.packet.destination_port(),
            back.packet.source_port(),
        ),
    };
    there
        && source == sent.ip.source
        && destination == sent.ip.destination
        && sport == sent.source_port()
        && dport == sent.destination_port()
}
