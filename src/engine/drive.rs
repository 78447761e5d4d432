//! The driver: walks a packet once for each way that its choices give, then its answer, or the error about it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::evidence::Gap;
use crate::net::{ExtHeader, Family, Fragments, IfName, Link, Packet, Transport};
use crate::snapshot::{LinkKind, Neigh, NetnsId, Snapshot};
use crate::trace::{Answer, Decision, EndCause, Path, Reason, Trace, Verdict};

use super::beside;
use super::bridge::br_forward_made;
use super::conntrack::{CtEntry, Nfct, Tracker, UnknownPort};
use super::end::{End, ErrorReply, Next, Stage, Straight};
use super::error::{self, Cause};
use super::gaps::Gaps;
use super::input::{is_answered, netif_receive_skb};
use super::ip_options::Echo;
use super::neigh;
use super::on_bridge;
use super::options;
use super::output::{ip_local_out, pieces, send, send_kernel};
use super::reply;
use super::route_output::ip_route_output;
use super::skb::{NextHopOnLink, Sender};
use super::unread;
use super::vlan;
use super::walk::{Choice, Choices, Doubt, Finished, Walk, Why};
use super::xmit::{dev_hard_start_xmit, dev_queue_xmit, received_priority};
use super::{Given, Origin, Question};

/// How many steps the ways of a question have together, for each way that may be walked, before no further one is
/// walked. A routing loop has twice as many until its TTL ends it; other ways have less than a hundred.
const STEPS_A_PATH: usize = 1000;

/// Walks every way of a question, up to its limit.
#[must_use]
pub fn explain(snapshot: &Snapshot, question: &Question) -> Answer {
    let question = &connected(question);
    let mut pending = VecDeque::from([Vec::new()]);
    let mut answer = Answer { request: question.packet.clone(), paths: Vec::new(), unexplored: None, gaps: Vec::new() };
    let most = question.max_paths.max(1);
    let (mut steps, mut gaps) = (0, Gaps::default());
    let mut steps_beside = beside::MOST_STEPS;
    while let Some(script) = pending.pop_front() {
        if answer.paths.len() >= most || steps > most.saturating_mul(STEPS_A_PATH) {
            let explored: f64 = answer.paths.iter().filter_map(|path| path.probability).sum();
            answer.unexplored = Some((1.0 - explored).max(0.0));
            break;
        }
        let fixed = script.len();
        let one = walk_once(snapshot, question, script, &mut steps_beside);
        // One more than can be walked tells that there are more.
        let room = most.saturating_sub(answer.paths.len() + pending.len());
        pending.extend(siblings(&one.choices, fixed).take(room));
        if answer.paths.is_empty() {
            answer.request = one.sent.clone();
        }
        steps += one.path.forward.steps.len() + one.path.reply.as_ref().map_or(0, |reply| reply.steps.len());
        gaps.extend(one.gaps.into_list());
        answer.paths.push(one.path);
    }
    answer.gaps = gaps.into_list();
    answer
}

/// A socket that sends to the unspecified address sends to its own, or to loopback (`ip_route_output_key_hash_rcu` in
/// `net/ipv4/route.c`; for IPv6 `tcp_v6_connect` and `udpv6_sendmsg`, which take loopback whatever the source is).
fn connected(question: &Question) -> Question {
    let mut question = question.clone();
    let ip = &mut question.packet.ip;
    if matches!(question.from, Origin::Socket { .. }) && ip.destination.is_unspecified() {
        ip.destination = match ip.source {
            IpAddr::V4(source) if source.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V4(source) => source.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
    }
    question
}

/// The other ways at each choice that a walk came to first.
pub(super) fn siblings(choices: &[Choice], fixed: usize) -> impl Iterator<Item = Vec<usize>> {
    choices.iter().enumerate().skip(fixed).flat_map(|(place, choice)| {
        let ways = choice.weights.iter().enumerate();
        let others = ways.filter(|(way, weight)| *way != choice.way && **weight != Some(0.0));
        let before = choices.iter().take(place).map(|choice| choice.way);
        others.map(move |(way, _)| before.clone().chain([way]).collect())
    })
}

/// One way of a question.
struct Walked {
    sent: Packet,
    path: Path,
    choices: Vec<Choice>,
    gaps: Gaps,
}

/// Everything that the walks of one way share.
pub(super) struct Course<'s, 'q> {
    pub snapshot: &'s Snapshot,
    pub question: &'q Question,
    pub tracker: Tracker,
    pub choices: Choices,
    pub gaps: Gaps,
    /// What the question says beside the packet, as far as it is about the direction that is walked.
    pub given: Given,
    /// Addresses outside the snapshot that the question puts there.
    pub outside: Vec<IpAddr>,
    /// Between which lengths the packet that is walked is, where nobody knows its own.
    pub lengths: Option<(u32, u32)>,
    /// Who sends the frame that comes in next, as far as the question tells.
    pub sender: Sender,
    /// What leaves the way there open: the way back of a packet that may never have come, or come otherwise, is as
    /// open.
    pub doubt: Option<Doubt>,
    /// How many steps what is sent beside the packets may have from here on, on all ways of the question.
    pub steps_beside: usize,
}

/// One direction, walked.
pub(super) struct Leg {
    pub trace: Trace,
    /// The packet at its end.
    pub packet: Packet,
    /// The namespace at its end.
    pub netns: NetnsId,
    /// Which port of it nobody knows.
    pub unknown_port: UnknownPort,
    /// What an error needs to know of the packet's end.
    pub cause: Option<Cause>,
    /// What came first of all that leaves it open.
    pub doubt: Option<Doubt>,
    /// Its IPv4 options in an answer; `None` where nobody has read them yet.
    pub echo: Option<Echo>,
}

fn walk_once(snapshot: &Snapshot, question: &Question, script: Vec<usize>, steps_beside: &mut usize) -> Walked {
    let mut course = Course {
        snapshot,
        question,
        tracker: Tracker::default(),
        choices: Choices::new(script),
        gaps: Gaps::default(),
        given: question.given.clone(),
        outside: Vec::new(),
        lengths: None,
        sender: Sender::default(),
        doubt: None,
        steps_beside: *steps_beside,
    };
    if let Some((from, packet)) = &question.opened_by {
        course.open(from, packet);
    }
    if question.established {
        (course.given.payload, course.given.answer) = (None, None);
    }
    let opening_flags = if question.opened_by.is_some() { SYN | ACK } else { SYN };
    let first = if question.established { opening(&question.packet, opening_flags) } else { question.packet.clone() };
    let (mut forward, mut reply, mut error_delivered) = go_and_return(&mut course, &first);
    if question.established && error::syn_ack(&forward).is_some() {
        // The client's answer opens the connection to the server.
        course.given = Given { payload: None, answer: None, ..question.given.clone() };
        (forward, reply, error_delivered) = go_and_return(&mut course, &opening(&question.packet, ACK));
    }
    if question.established && (forward.trace.arrived() || forward.trace.verdict == Verdict::Undetermined) {
        // The first packet and its answer have made the connection; now the one that was asked about. Where the snapshot
        // ends before the receiver does, the answer came all the same: so it was said.
        course.given = question.given.clone();
        if reply.as_ref().is_none_or(|reply| !reply.arrived()) {
            course.tracker.entries.iter_mut().for_each(CtEntry::assume_answered);
        }
        course.tracker.entries.iter_mut().for_each(|entry| entry.kept.forget_counters());
        (forward, reply, error_delivered) = go_and_return(&mut course, &question.packet);
    }
    let sent =
        forward.trace.steps.first().map_or_else(|| question.packet.clone(), |_| first_packet(&forward.trace, question));
    *steps_beside = course.steps_beside;
    let choices = course.choices.taken;
    let path = Path {
        probability: probability(&choices),
        why: choices.iter().map(in_words).collect(),
        forward: forward.trace,
        reply: reply.filter(|_| question.reply),
        error_delivered,
    };
    Walked { sent, path, choices, gaps: course.gaps }
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The packet that opens the connection of a later one, or its answer.
fn opening(packet: &Packet, opening_flags: u8) -> Packet {
    let mut first = packet.clone();
    if let Transport::Tcp { flags, .. } = &mut first.transport {
        *flags = opening_flags;
        // A SYN carries nothing, and has room for all options.
        first.length = first.length.min(if first.ip.destination.is_ipv6() { 80 } else { 60 });
    }
    first
}

/// The packet with the source that the first route gave it.
fn first_packet(trace: &Trace, question: &Question) -> Packet {
    let mut packet = question.packet.clone();
    if packet.ip.source.is_unspecified() {
        let chosen = trace.steps.iter().find_map(|step| match step.decision {
            Decision::Route { source: Some(source), .. } => Some(source),
            _ => None,
        });
        packet.ip.source = chosen.unwrap_or(packet.ip.source);
    }
    packet
}

fn go_and_return(course: &mut Course, packet: &Packet) -> (Leg, Option<Trace>, Option<bool>) {
    let forward = go(course, &course.question.from, packet.clone());
    let sent = first_packet(&forward.trace, course.question);
    let error = course.given.error.clone();
    course.given = course.given.of_answer();
    if let Some(answer) = error::syn_ack(&forward) {
        course.doubt.clone_from(&forward.doubt);
        let reply = reply::of_synproxy(course, &forward, answer, &sent);
        return (forward, reply, None);
    }
    match (forward.trace.verdict, error) {
        (Verdict::Left, Some(error)) => {
            let (back, heard) = error::from_outside(course, &forward, &error, &sent);
            (forward, Some(back), heard)
        }
        (Verdict::Delivered | Verdict::Left, _) if is_answered(&forward.packet.transport) => {
            let reply = reply::walk(course, &forward, &sent);
            (forward, Some(reply), None)
        }
        (Verdict::Undetermined, _) if reply::would_have_arrived(&forward.trace) => {
            course.doubt.clone_from(&forward.doubt);
            let reply = reply::walk(course, &forward, &sent);
            (forward, Some(reply), None)
        }
        (Verdict::Rejected, _) => error::walk(course, forward, &sent),
        _ => (forward, None, None),
    }
}

/// The way there.
fn go(course: &mut Course, from: &Origin, packet: Packet) -> Leg {
    match from.clone() {
        Origin::Socket { netns } => course.send(netns, packet, 0),
        Origin::Device { netns, device } => {
            if course.snapshot.owner_of(packet.ip.source).is_empty() {
                course.outside.push(packet.ip.source);
            }
            let link = packet.link.or_else(|| course.link_on_bridge(netns, &device, &packet));
            if link.is_none() && on_bridge::is_for_nobody_here(course.snapshot.netns(netns), &device, &packet) {
                let what = format!("for which link address behind {device} the frame is, is not known");
                course.gaps.add(Gap::new(what.clone(), Vec::new()));
                course.doubt = Some(Doubt { what, row: None });
            }
            course.receive_asked(netns, &device, Packet { link, ..packet })
        }
        Origin::Leaving { netns, device } => {
            if course.snapshot.owner_of(packet.ip.source).is_empty() {
                course.outside.push(packet.ip.source);
            }
            course.leave(netns, &device, packet)
        }
        Origin::Outside { entries } => {
            course.outside.push(packet.ip.source);
            match entries.as_slice() {
                [] => course.nowhere(packet),
                [(netns, device)] => course.enter(*netns, device, packet),
                several => {
                    let (netns, device) = course.choose_entry(several);
                    course.enter(netns, &device, packet)
                }
            }
        }
    }
}

impl<'s> Course<'s, '_> {
    /// The link addresses of a packet between hosts of a bridge. Where nobody knows the sender's, one that is administered
    /// locally stands for it.
    fn link_on_bridge(&mut self, netns: NetnsId, port: &IfName, packet: &Packet) -> Option<Link> {
        let (source, destination) = on_bridge::between_hosts(self.snapshot, netns, port, packet)?;
        let source = self.given.mac.or(source);
        if source.is_none() {
            let sender = packet.ip.source;
            let what = format!("the link address of {sender} is not known: a rule that asks for it may say otherwise");
            self.gaps.add(Gap::new(what, Vec::new()));
        }
        Some(Link { source: source.unwrap_or(on_bridge::UNKNOWN), destination })
    }

    /// Walks what has opened a connection: no more than what is tracked is kept of it.
    fn open(&mut self, from: &Origin, packet: &Packet) {
        let gaps = self.gaps.clone();
        let first = go(self, from, opening(packet, SYN));
        if error::syn_ack(&first).is_some() {
            go(self, from, opening(packet, ACK));
        }
        (self.gaps, self.outside, self.doubt) = (gaps, Vec::new(), None);
    }

    fn choose_entry(&mut self, entries: &[(NetnsId, IfName)]) -> (NetnsId, IfName) {
        let weight = 1.0 / f64::from(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        let names = entries.iter().map(|(netns, dev)| format!("enters at {}/{dev}", self.snapshot.netns(*netns).node));
        let why = Why { what: "unknown-entry".to_owned(), evidence: None, gap: false, column: None };
        let ways = names.map(|name| (Some(weight), name)).collect();
        let mut walk = self.start(entries.first().map_or(NetnsId(0), |entry| entry.0), self.question.packet.clone());
        let way = walk.choose(why, ways);
        let Finished { tracker, choices, .. } = walk.finish();
        (self.tracker, self.choices) = (tracker, choices);
        entries.get(way).or(entries.first()).cloned().unwrap_or((NetnsId(0), IfName::new("")))
    }

    /// A walk that takes over what this course has gathered.
    fn start(&mut self, netns: NetnsId, packet: Packet) -> Walk<'s> {
        let tracker = std::mem::take(&mut self.tracker);
        let choices = std::mem::take(&mut self.choices);
        let mut walk = Walk::new(self.snapshot, netns, packet, tracker, choices, self.question.verbose);
        walk.outside.clone_from(&self.outside);
        walk.doubts.extend(self.doubt.clone());
        walk.given = self.given.clone();
        walk.lengths = self.lengths;
        walk.steps_beside = self.steps_beside;
        walk
    }

    /// A socket of a namespace sends a packet.
    pub(super) fn send(&mut self, netns: NetnsId, packet: Packet, unknown: UnknownPort) -> Leg {
        self.run(netns, packet, |walk| {
            walk.skb.unknown_port = unknown;
            send(walk)
        })
    }

    /// An answer that ends before it is sent.
    pub(super) fn unanswered(&mut self, netns: NetnsId, packet: Packet, end: Box<End>) -> Leg {
        self.run(netns, packet, |_| Err(end))
    }

    /// The kernel of a namespace answers an ICMPv6 echo that came in by a device (`icmpv6_echo_reply` in
    /// `net/ipv6/icmp.c`).
    pub(super) fn send_echo_reply(
        &mut self,
        netns: NetnsId,
        packet: Packet,
        unknown: UnknownPort,
        dev: Option<IfName>,
    ) -> Leg {
        self.run(netns, packet, |walk| {
            walk.skb.unknown_port = unknown;
            walk.skb.echo_dev = dev;
            send(walk)
        })
    }

    /// The kernel of a namespace sends an error, which belongs to the connection of the packet that it is about.
    pub(super) fn send_error(&mut self, netns: NetnsId, packet: Packet, nfct: Nfct, unknown: UnknownPort) -> Leg {
        self.run(netns, packet, |walk| {
            walk.skb.nfct = nfct;
            walk.skb.unknown_port = unknown;
            send_kernel(walk)
        })
    }

    /// The kernel of a namespace sends a segment of its own, of which it keeps what `note` says.
    pub(super) fn send_own(
        &mut self,
        netns: NetnsId,
        packet: Packet,
        unknown: UnknownPort,
        note: impl FnOnce(&mut Walk<'s>),
    ) -> Leg {
        self.run(netns, packet, |walk| {
            note(walk);
            walk.skb.unknown_port = unknown;
            send_kernel(walk)
        })
    }

    /// A packet that has a route is put on a device all the same, past every hook.
    pub(super) fn transmit(&mut self, netns: NetnsId, device: &IfName, packet: Packet) -> Leg {
        self.run(netns, packet, |walk| {
            ip_route_output(walk, None)?;
            Ok(Next::Xmit(device.clone()))
        })
    }

    /// The packet that is asked about comes in from the network between nodes for a device.
    fn enter(&mut self, netns: NetnsId, device: &IfName, packet: Packet) -> Leg {
        let sender = neigh::sender(self.snapshot, netns, device, packet.ip.source);
        self.sender = self.given.mac.map_or(sender, Sender::Given);
        self.receive_from_outside(netns, device, packet, 0)
    }

    /// A packet comes in from the network between nodes for a device: with a tag, where that is a VLAN device.
    pub(super) fn receive_from_outside(
        &mut self,
        netns: NetnsId,
        device: &IfName,
        packet: Packet,
        unknown: UnknownPort,
    ) -> Leg {
        let is_vlan =
            self.snapshot.netns(netns).link(device).is_some_and(|link| matches!(link.kind, LinkKind::Vlan(_)));
        if !is_vlan {
            return self.receive(netns, device, packet, unknown);
        }
        let ((netns, lower), tags) = vlan::entrance(self.snapshot, &(netns, device.clone()));
        self.receive(netns, &lower, Packet { tags, ..packet }, unknown)
    }

    /// The packet that is asked about arrives at a device.
    fn receive_asked(&mut self, netns: NetnsId, device: &IfName, packet: Packet) -> Leg {
        self.sender = match self.given.mac {
            Some(mac) => Sender::Given(mac),
            None => neigh::sender(self.snapshot, netns, device, packet.ip.source),
        };
        self.receive(netns, device, packet, 0)
    }

    /// A frame that a rule has made of another goes back to where that came from.
    pub(super) fn send_back(
        &mut self,
        netns: NetnsId,
        straight: &Straight,
        packet: Packet,
        unknown: UnknownPort,
    ) -> Leg {
        self.run(netns, packet, |walk| {
            walk.skb.unknown_port = unknown;
            match straight {
                Straight::Device(device) => Ok(Next::Xmit(device.clone())),
                Straight::Port(port) => br_forward_made(walk, port),
            }
        })
    }

    /// A packet arrives at a device.
    pub(super) fn receive(&mut self, netns: NetnsId, device: &IfName, packet: Packet, unknown: UnknownPort) -> Leg {
        let sender = std::mem::take(&mut self.sender);
        let link = self.snapshot.netns(netns).link(device);
        let packet = as_it_arrives(packet, link.and_then(|link| link.mtu));
        self.run(netns, packet, |walk| match walk.netns().link(device) {
            Some(link) if !link.up => {
                let detail = format!("{device} is down");
                Err(End::dropped(Reason::DeviceDown).detail(detail).because([link.evidence]))
            }
            _ => {
                walk.skb.unknown_port = unknown;
                walk.skb.priority = received_priority(walk, netns, device);
                walk.skb.sender = sender;
                Ok(Next::Receive(netns, device.clone()))
            }
        })
    }

    /// A packet leaves by a device: the namespace's hooks and routes have done their part.
    fn leave(&mut self, netns: NetnsId, device: &IfName, packet: Packet) -> Leg {
        self.run(netns, packet, |walk| {
            let Some(link) = walk.netns().link(device) else { return dev_queue_xmit(walk, device) };
            walk.skb.next_hop = next_hop(walk, device);
            dev_hard_start_xmit(walk, device, link)
        })
    }

    /// A packet from outside that enters nowhere.
    pub(super) fn nowhere(&mut self, packet: Packet) -> Leg {
        let destination = packet.ip.destination;
        self.run(NetnsId(0), packet, |_| {
            let detail =
                format!("nobody on the network between nodes has {destination}, so that nothing can be sent to it");
            Err(End::new(Verdict::Lost, Reason::NobodyOwns).detail(detail))
        })
    }

    fn run(&mut self, netns: NetnsId, packet: Packet, first: impl FnOnce(&mut Walk<'s>) -> Stage<Next>) -> Leg {
        let mut walk = self.start(netns, packet);
        let next = first(&mut walk);
        let end = drive(&mut walk, next);
        self.end(walk, end)
    }

    /// Records the end and takes back what the walk gathered.
    fn end(&mut self, mut walk: Walk<'s>, mut end: Box<End>) -> Leg {
        error::unmake(&walk, &mut end);
        let (error, cause_of) = (end.error, end.clone());
        let (verdict, reason) = close(&mut walk, end);
        let is_kept = verdict != Verdict::Undetermined || matches!(error, Some(ErrorReply::SynAck(_)));
        let cause = error.filter(|_| is_kept).map(|error| Cause::of(&walk, error, &cause_of));
        let beside = std::mem::take(&mut walk.beside);
        self.steps_beside = walk.steps_beside;
        let unknown_port = walk.skb.unknown_port;
        let packet = walk.packet().clone();
        let place = walk.place().clone();
        let doubt = walk.doubts.first().cloned();
        let echo = options::echo(&walk);
        let Finished { steps, tracker, choices, gaps, .. } = walk.finish();
        (self.tracker, self.choices) = (tracker, choices);
        self.gaps.extend(gaps.into_list());
        let trace = Trace { steps, verdict, reason, beside };
        Leg { trace, packet, netns: place.netns, unknown_port, cause, doubt, echo }
    }
}

/// Carries a packet on from stage to stage, until its end.
pub(super) fn drive(walk: &mut Walk, mut next: Stage<Next>) -> Box<End> {
    loop {
        next = match next {
            Err(mut end) => match end.next.take() {
                Some(next) => Ok(next),
                None => return end,
            },
            Ok(_) if walk.too_long() => return End::new(Verdict::Looped, Reason::TooLong),
            Ok(Next::Receive(netns, device)) => netif_receive_skb(walk, netns, &device),
            Ok(Next::Xmit(device)) => dev_queue_xmit(walk, &device),
            Ok(Next::LocalOut) => ip_local_out(walk),
        };
    }
}

/// Records a walk's end: how it ended, and why.
pub(super) fn close(walk: &mut Walk, mut end: Box<End>) -> (Verdict, Option<Reason>) {
    unread::doubt_end(walk, &end);
    walk.tell_sender();
    let certain = settle(walk, &mut end);
    if end.verdict == Verdict::Undetermined && certain {
        let what = end.detail.clone().unwrap_or_else(|| "something that decides is missing".to_owned());
        walk.end_gap(what, &end.because);
    }
    let (icmp, tcp_reset) = error::fields(end.error);
    let decision = Decision::End {
        verdict: end.verdict,
        reason: end.reason,
        detail: end.detail,
        cause: end.cause,
        icmp,
        icmp_source: None,
        tcp_reset,
        errno: end.errno,
    };
    walk.take(decision, end.because);
    (end.verdict, end.reason)
}

/// The next hop that a frame's destination address stands for, by the neighbour table.
fn next_hop(walk: &Walk, device: &IfName) -> Option<NextHopOnLink> {
    let lladdr = walk.packet().link?.destination;
    let family = walk.packet().family();
    let is_it =
        |neigh: &&Neigh| neigh.dev == *device && neigh.lladdr == Some(lladdr) && Family::of(neigh.address) == family;
    let neigh = walk.netns().neighs.iter().flatten().find(is_it)?;
    Some(NextHopOnLink { address: neigh.address, owner: None })
}

/// What is larger than the device takes has come in pieces, where they are allowed: IPv6's sender makes them itself.
fn as_it_arrives(mut packet: Packet, mtu: Option<u32>) -> Packet {
    // A fragment header of its own says that it is whole.
    let is_whole = packet.extensions.find(ExtHeader::FRAGMENT).is_some();
    let may_split = (packet.ip.destination.is_ipv6() || !packet.ip.df) && !is_whole;
    if let Some(mtu) = mtu.filter(|mtu| packet.length > *mtu && may_split && packet.fragments.is_none()) {
        let (count, largest) = pieces(&packet, mtu);
        packet.fragments = Some(Fragments { count, largest });
    }
    packet
}

/// Makes an end undetermined that is not certain. Whether it was.
fn settle(walk: &Walk, end: &mut End) -> bool {
    let arrived = matches!(end.verdict, Verdict::Delivered | Verdict::Left);
    let Some(doubt) = walk.doubts.first().filter(|_| end.verdict != Verdict::Undetermined) else { return true };
    let reason = end.reason.filter(|_| !arrived).map_or(String::new(), |reason| format!(" ({})", reason.as_str()));
    let cause = EndCause::Doubted { verdict: end.verdict, but: format!("{reason}, but {}", doubt.what) };
    (end.detail, end.cause) = (Some(cause.to_string()), Some(cause));
    end.because.splice(0..0, doubt.row);
    (end.verdict, end.reason) = (Verdict::Undetermined, Some(Reason::MissingTable));
    end.errno = None;
    // What answers a packet goes back as openly as the packet came.
    end.error = end.error.filter(|error| matches!(error, ErrorReply::SynAck(_)));
    false
}

/// The product of the choices' weights, `None` where one can't be known.
pub(super) fn probability(choices: &[Choice]) -> Option<f64> {
    choices.iter().map(|choice| choice.weights.get(choice.way).copied().flatten()).product()
}

pub(super) fn in_words(choice: &Choice) -> String {
    match choice.labels.get(choice.way) {
        Some(label) => format!("{}: {label}", choice.why.what),
        None => choice.why.what.clone(),
    }
}

/// Whether a packet is a TCP reset.
pub(super) fn is_reset(packet: &Packet) -> bool {
    matches!(packet.transport, Transport::Tcp { flags, .. } if flags & 0x04 != 0)
}
