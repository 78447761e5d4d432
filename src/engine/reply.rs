//! The answer: sent by the stack that the packet reached, or by the outside that it left for.

use crate::evidence::{Evidence, Gap};
use crate::net::{ExtHeaders, Family, IfName, IpOptions, Mark, Packet, Protocol, Transport};
use crate::trace::{Decision, EndCause, Reason, Step, Trace, Verdict};

use super::conntrack::UnknownPort;
use super::drive::{Course, Leg};
use super::end::End;
use super::error;
use super::ip_options::Echo;
use super::options;
use super::synproxy::SynAck;
use super::sysctl;

/// Walks the answer to a packet, and checks that its receiver takes it.
pub(super) fn walk(course: &mut Course, forward: &Leg, sent: &Packet) -> Trace {
    let arrived_outside = match forward.trace.verdict {
        Verdict::Delivered => false,
        Verdict::Left => true,
        _ => !delivered_inside(&forward.trace),
    };
    let mut packet = answer_to(&forward.packet);
    let stopped = echo_options(course, forward, &mut packet, arrived_outside);
    course.lengths = syn_ack_lengths(course, forward, &packet, arrived_outside);
    packet.length = course.lengths.map_or(packet.length, |(_, most)| most);
    if let Some(end) = stopped {
        course.lengths = None;
        return course.unanswered(forward.netns, packet, end).trace;
    }
    let mut leg = if arrived_outside {
        packet.link = None;
        apply(course, &mut packet);
        from_outside(course, packet, forward.unknown_port)
    } else {
        packet.ip.ttl = default_ttl(course, forward);
        apply(course, &mut packet);
        packet.mark = reflected_mark(course, forward);
        let unknown = forward.unknown_port;
        if let Some((key, because)) = ignores_echo(course, forward) {
            let end = End::dropped(Reason::EchoIgnored).cause(EndCause::EchoesIgnored(key.to_owned()));
            return course.unanswered(forward.netns, packet, end.because([because])).trace;
        }
        match packet.protocol() {
            Protocol::ICMPV6 => course.send_echo_reply(forward.netns, packet, unknown, came_in_by(&forward.trace)),
            _ => course.send(forward.netns, packet, unknown),
        }
    };
    course.lengths = None;
    check_receiver(course, &mut leg, forward, sent);
    leg.trace
}

/// Walks the segment with which `SYNPROXY` has answered in the server's place, and checks that the client takes it.
pub(super) fn of_synproxy(course: &mut Course, forward: &Leg, answer: SynAck, sent: &Packet) -> Option<Trace> {
    let last = forward.trace.steps.last()?;
    if !course.question.established {
        let (node, server) = (&last.place.node, forward.packet.ip.destination);
        let what = format!(
            "SYNPROXY on {node} answers in place of {server}: --tcp-flags ACK asks whether the connection is opened to \
             that one"
        );
        course.gaps.add(Gap::new(what, last.because.clone()));
    }
    let mut leg = error::walk_syn_ack(course, forward, answer)?;
    check_receiver(course, &mut leg, forward, sent);
    Some(leg.trace)
}

/// Gives an answer the options that its sender copies. The end where none is made of them.
fn echo_options(course: &Course, forward: &Leg, answer: &mut Packet, outside: bool) -> Option<Box<End>> {
    let packet = &forward.packet;
    if packet.options.is_empty() || !options::are_copied(packet) {
        return None;
    }
    // What the host outside does is not known: it is taken to be Linux.
    let read = || options::echo_of(packet, course.snapshot.netns(forward.netns));
    match if outside { read() } else { forward.echo.clone() } {
        Some(Echo::Options(options)) => {
            answer.length += options.length();
            answer.options = options;
            None
        }
        // TCP answers without them.
        Some(Echo::Refused) if packet.protocol() == Protocol::TCP => None,
        Some(Echo::Refused) => {
            let detail = "the record or the timestamps have no place for the answer's own";
            Some(End::dropped(Reason::BadHeader).detail(detail))
        }
        Some(Echo::SourceRoute) => Some(options::by_source_route()),
        None => None,
    }
}

/// What is known of the answer takes the place of what a listener's would be.
fn apply(course: &mut Course, packet: &mut Packet) {
    let Some(known) = course.given.answer.clone() else { return };
    packet.ip.ttl = known.ttl.unwrap_or(packet.ip.ttl);
    (packet.ip.tos, packet.ip.df, packet.length) = (known.tos, known.df || packet.ip.df, known.length);
    if let (Transport::Tcp { flags, .. }, Some(told)) = (&mut packet.transport, known.flags) {
        *flags = told;
    }
    (course.lengths, course.given.payload) = (None, known.payload);
}

/// How long the answer to a SYN is, at least and at most: it has the options that the SYN has and that the listener's
/// settings allow, and always its segment size (`tcp_synack_options` in `net/ipv4/tcp_output.c`). A SYN's options are
/// known by their length where it is one that Linux' own SYNs have (`tcp_syn_options`).
fn syn_ack_lengths(course: &Course, forward: &Leg, answer: &Packet, outside: bool) -> Option<(u32, u32)> {
    let packet = &forward.packet;
    if !matches!(packet.transport, Transport::Tcp { flags, .. } if flags & 0x12 == 0x02) {
        return None;
    }
    let netns = course.snapshot.netns(forward.netns);
    let allows = |name: &str| {
        let value = sysctl::number(netns, &format!("net.ipv4.{name}")).map(|(value, _)| value);
        !outside && value.is_none_or(|value| value != 0)
    };
    let [scaling, stamps, sack] = ["tcp_window_scaling", "tcp_timestamps", "tcp_sack"].map(allows);
    let four = |allowed: bool| if allowed { 4 } else { 0 };
    let stamped = if stamps { (12, 12) } else { (0, four(sack)) };
    let header = answer.header_length() + 20;
    let payload = course.question.given.payload.as_ref().filter(|_| !course.question.established);
    let carried = payload.map_or(0, |payload| u32::try_from(payload.len()).unwrap_or(u32::MAX));
    let (least, most) = match packet.length.saturating_sub(packet.header_length() + 20).saturating_sub(carried) {
        // None, or the segment size.
        0 | 4 => (0, 0),
        8 | 12 | 16 | 20 if outside => (0, 16),
        // Beside it window scaling or selective acknowledgement.
        8 if scaling == sack => (four(scaling), four(scaling)),
        8 => (0, 4),
        // Both.
        12 => (four(scaling) + four(sack), four(scaling) + four(sack)),
        // Timestamps, and in their gaps selective acknowledgement or not.
        16 => stamped,
        20 => (four(scaling) + stamped.0, four(scaling) + stamped.1),
        // Other options, which may ask for as many as there is room for (`MAX_TCP_OPTION_SPACE`).
        24..=40 => (0, 36),
        _ => (0, 16),
    };
    Some((header + 4 + least, header + 4 + most))
}

/// The mark of the answer: none, unless a setting hands the request's on (`IP4_REPLY_MARK` and `IP6_REPLY_MARK` for
/// echoes, `inet_request_mark` for a listener's TCP).
fn reflected_mark(course: &Course, forward: &Leg) -> Mark {
    let key = match (&forward.packet.transport, forward.packet.family()) {
        (Transport::Icmp { .. }, Family::Inet) => "net.ipv4.fwmark_reflect",
        (Transport::Icmp { .. }, Family::Inet6) => "net.ipv6.fwmark_reflect",
        (Transport::Tcp { .. }, _) => "net.ipv4.tcp_fwmark_accept",
        _ => return Mark(0),
    };
    if sysctl::is_set(course.snapshot.netns(forward.netns), key) { forward.packet.mark } else { Mark(0) }
}

/// The setting by which the receiver answers no echo (`icmp_echo` in `net/ipv4/icmp.c`, `icmpv6_rcv` in
/// `net/ipv6/icmp.c`).
fn ignores_echo(course: &Course, forward: &Leg) -> Option<(&'static str, Evidence)> {
    let key = match forward.packet.transport {
        Transport::Icmp { kind: 8, .. } => "net.ipv4.icmp_echo_ignore_all",
        Transport::Icmp { kind: 128, .. } => "net.ipv6.icmp.echo_ignore_all",
        _ => return None,
    };
    let (value, line) = sysctl::number(course.snapshot.netns(forward.netns), key)?;
    (value != 0).then_some((key, line))
}

/// The device that a packet was delivered by; for one that never left the stack, that of the address
/// (`icmp6_dev` in `net/ipv6/icmp.c`).
fn came_in_by(trace: &Trace) -> Option<IfName> {
    let received = trace.steps.iter().rev().find_map(|step| match &step.decision {
        Decision::Receive { device, .. } => Some(device.clone()),
        _ => None,
    })?;
    let routed = || {
        trace.steps.iter().rev().find_map(|step| match &step.decision {
            Decision::Route { device, .. } => device.clone(),
            _ => None,
        })
    };
    if received.as_str() == "lo" { routed() } else { Some(received) }
}

/// Whether the walk got to the end, though something was missing on the way.
pub(super) fn would_have_arrived(trace: &Trace) -> bool {
    matches!(without_doubt(trace), Some(Verdict::Delivered | Verdict::Left))
}

fn delivered_inside(trace: &Trace) -> bool {
    without_doubt(trace) == Some(Verdict::Delivered)
}

/// How an end that is in doubt would have been without it.
fn without_doubt(trace: &Trace) -> Option<Verdict> {
    match &trace.steps.last()?.decision {
        Decision::End { cause: Some(EndCause::Doubted { verdict, .. }), .. } => Some(*verdict),
        _ => None,
    }
}

/// The outside answers: the packet enters where its destination address is.
pub(super) fn from_outside(course: &mut Course, packet: Packet, unknown: UnknownPort) -> Leg {
    let destination = packet.ip.destination;
    course.outside.push(packet.ip.source);
    let snapshot = course.snapshot;
    let entries = snapshot.owner_of(destination);
    let entry = entries.into_iter().find(|(netns, dev)| snapshot.topology.is_underlay(*netns, dev));
    match entry {
        Some((netns, device)) => course.receive_from_outside(netns, &device, packet, unknown),
        None => course.nowhere(packet),
    }
}

fn default_ttl(course: &Course, forward: &Leg) -> u8 {
    let netns = course.snapshot.netns(forward.netns);
    let key = match forward.packet.family() {
        Family::Inet => "net.ipv4.ip_default_ttl",
        Family::Inet6 => "net.ipv6.conf.all.hop_limit",
    };
    sysctl::number(netns, key).and_then(|(value, _)| u8::try_from(value).ok()).filter(|ttl| *ttl > 0).unwrap_or(64)
}

/// The packet that a listener sends back.
fn answer_to(packet: &Packet) -> Packet {
    let mut answer = packet.clone();
    answer.length -= packet.options.length() + packet.extensions.length();
    (answer.options, answer.extensions) = (IpOptions::default(), ExtHeaders::default());
    (answer.link, answer.inner, answer.encapsulation, answer.fragments) = (None, None, None, None);
    answer.tags = Vec::new();
    answer.mark = Mark(0);
    std::mem::swap(&mut answer.ip.source, &mut answer.ip.destination);
    answer.ip.ttl = 64;
    // An echo's answer never has it. Whether a listener sets it is no part of a snapshot, no more than its TOS is.
    answer.ip.df = answer.ip.destination.is_ipv6();
    match &mut answer.transport {
        Transport::Tcp { source, destination, flags } => {
            std::mem::swap(source, destination);
            *flags = if *flags & 0x12 == 0x02 { 0x12 } else { 0x10 };
        }
        Transport::Udp { source, destination } | Transport::Sctp { source, destination } => {
            std::mem::swap(source, destination);
        }
        Transport::Icmp { kind, .. } => {
            *kind = match *kind {
                8 => 0,
                13 => 14,
                128 => 129,
                other => other,
            };
            // An echo goes back with the TOS that it came with; a listener's socket has its own, 0.
            return answer;
        }
        Transport::Other(_) => {}
    }
    answer.ip.tos = 0;
    answer
}

/// An answer counts where the sender is, and from the address and port that it sent to.
fn check_receiver(course: &Course, leg: &mut Leg, forward: &Leg, sent: &Packet) {
    let expected = match leg.trace.verdict {
        Verdict::Delivered | Verdict::Left => sent,
        _ => return,
    };
    let matches = leg.packet.ip.source == expected.ip.destination
        && leg.packet.ip.destination == expected.ip.source
        // A port or an echo's identifier that nobody knows was drawn at random, and is not the socket's.
        && leg.unknown_port == 0
        && leg.packet.source_port() == expected.destination_port()
        && leg.packet.destination_port() == expected.source_port();
    let here = match &course.question.from {
        super::Origin::Socket { netns } => leg.trace.verdict == Verdict::Delivered && leg.netns == *netns,
        super::Origin::Outside { .. } => leg.trace.verdict == Verdict::Left,
        super::Origin::Device { .. } | super::Origin::Leaving { .. } => true,
    };
    if matches && here {
        return;
    }
    let detail = format!(
        "the sender talks to {}{}, and the answer comes from {}{}",
        expected.ip.destination,
        expected.destination_port().map_or(String::new(), |port| format!(" port {port}")),
        leg.packet.ip.source,
        leg.packet.source_port().map_or(String::new(), |port| format!(" port {port}")),
    );
    (leg.trace.verdict, leg.trace.reason) = (Verdict::Dropped, Some(Reason::ReplyNotMatched));
    let bridged_past = past_netfilter(&leg.trace, &forward.trace);
    let Some(last) = leg.trace.steps.last_mut() else { return };
    last.because.extend(bridged_past);
    if let Decision::End { verdict, reason, detail: words, cause, .. } = &mut last.decision {
        *verdict = Verdict::Dropped;
        *reason = Some(Reason::ReplyNotMatched);
        (*words, *cause) = (Some(detail), None);
    }
}

/// What kept netfilter from an answer that bridges carried, so that no connection translated it back where one had
/// translated the question.
fn past_netfilter(answer: &Trace, question: &Trace) -> Vec<Evidence> {
    let translated = |step: &&Step| {
        let here = |nat: &Step| nat.place.netns == step.place.netns && matches!(nat.decision, Decision::Nat { .. });
        question.steps.iter().any(here)
    };
    let off = |step: &&Step| matches!(step.decision, Decision::Receive { bridge_netfilter: Some(false), .. });
    answer.steps.iter().filter(off).filter(translated).flat_map(|step| step.because.clone()).collect()
}
