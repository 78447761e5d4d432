//! Packets against the path that a snapshot predicts for them.
//!
//! One packet of each flow is walked through the snapshot; where an earlier flow's answer is what comes, the walk of that
//! answer is taken, since only there the reverse of its NAT is known. Of several ways that a packet can take, its sights
//! choose the one that fits best, and of those that end early the one that ends where it was lost. Of ways that fit equally
//! well nobody knows which one it took: where one of them goes on, it is not lost by the model.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::rc::Rc;

use crate::engine::{self, Given, Origin, Question};
use crate::evidence::Evidence;
use crate::net::{Encapsulation, IfName, Ip, Link, MacAddr, NetnsName, Packet, Protocol, Transport};
use crate::snapshot::{LinkKind, Netns, Snapshot, Vxlan};
use crate::trace::{Decision, Step, Trace, Verdict, Way};

use super::compare::{Difference, differences};
use super::identity;
use super::journey::{End, Journey, Seen};
use super::lanes::{ByHash, FlowId, Lanes, flow_hash};
use super::point::Point;
use super::sight::{Lane, PointId};
use super::survey::Learned;

/// How many flows are walked.
const MOST_FLOWS: usize = 10_000;
/// How many ways of a flow are walked.
const MOST_PATHS: usize = 64;
/// How many different results are kept.
const MOST_TOLD: usize = 1 << 16;
/// What flannel's tunnel packets start with; none of its decisions hang on it.
const TUNNEL_TTL: u8 = 64;
/// The size of the largest frame on a wire, which the packets are that a device joined to a larger one.
const FRAME: u32 = 1400;

/// What the snapshot says of a packet, and what of it was seen.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// The way that fits best.
    pub trace: Rc<Trace>,
    /// Every device on it, in its order.
    pub hops: Vec<PredictedHop>,
    /// Points of the snapshot that saw the packet and that are not on the way.
    pub elsewhere: Vec<PointId>,
    /// The step of the trace that ends the packet right behind where it was last seen, if there is one, and no other way that
    /// fits as well leads on for a packet which is not known to be lost.
    pub cause: Option<usize>,
    /// The next capture point on the way behind where it was last seen.
    pub next: Option<Point>,
}

/// Ways are walked once a flow, so that two are the same only where they are one.
impl PartialEq for Predicted {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.trace, &other.trace)
            && (&self.hops, &self.elsewhere, self.cause, &self.next)
                == (&other.hops, &other.elsewhere, other.cause, &other.next)
    }
}

impl Predicted {
    /// The lines that end the packet, by the step that does; where that has none of its own (nobody answers for a next
    /// hop), those that sent it there: the forwarding entry of a tunnel, and the route.
    #[must_use]
    pub fn because(&self) -> Vec<Evidence> {
        let Some(end) = self.cause.and_then(|cause| self.trace.steps.get(cause)) else { return Vec::new() };
        if !end.because.is_empty() {
            return end.because.clone();
        }
        let leads = |step: &&Step| {
            matches!(step.decision, Decision::Fdb { .. } | Decision::Route { .. } | Decision::Neighbor { .. })
        };
        // What comes before the last device has led it there already.
        let steps = self.trace.steps.iter().rev().take_while(|step| at(step).is_none());
        steps.filter(leads).flat_map(|step| step.because.iter().copied()).collect()
    }
}

/// A device on a predicted way.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictedHop {
    /// The step of the trace.
    pub step: usize,
    /// The device.
    pub point: Point,
    /// Which way the packet passes it.
    pub way: Way,
    /// Whether it is one of the capture points.
    pub is_captured: bool,
    /// What was seen there.
    pub state: State,
}

/// What was seen at a device on a predicted way.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The packet, as predicted.
    Seen,
    /// Nothing.
    Unseen,
    /// The packet, and something about it is not as predicted.
    Differs(Vec<Difference>),
}

/// The ways that a flow's packets can take.
struct Ways {
    traces: Vec<Rc<Trace>>,
    /// Whether there are no more than these.
    are_all: bool,
}

/// Walks flows, and holds packets against the walks.
pub struct Predictor<'a> {
    snapshot: &'a Snapshot,
    points: &'a [Point],
    ways: HashMap<FlowId, Rc<Ways>, foldhash::quality::RandomState>,
    /// By what an answer's flow is called: the flow that it answers.
    answered: ByHash<FlowId>,
    /// What was asked about flows: who has sent the first packet, and that packet.
    asked: HashMap<FlowId, (Origin, Packet), foldhash::quality::RandomState>,
    told: ByHash<Option<Rc<Predicted>>>,
}

impl<'a> Predictor<'a> {
    /// Nothing is walked yet.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, points: &'a [Point]) -> Self {
        let (ways, asked) = (HashMap::default(), HashMap::default());
        Self { snapshot, points, ways, answered: ByHash::default(), asked, told: ByHash::default() }
    }

    /// What the snapshot says of a packet; `None` where it can't be walked: nobody knows where it comes from, or it is
    /// an error about another one.
    pub fn of(&mut self, journey: &Journey<'_>, lanes: &Lanes) -> Option<Rc<Predicted>> {
        let flow = journey.flow?;
        self.remember(flow, journey, lanes);
        let ways = self.ways(flow, journey, lanes)?;
        let is_lost = matches!(journey.end, End::Lost(_));
        let mut hash = identity::hasher();
        hash.write_u32(flow.0);
        hash.write_u8(is_lost.into());
        for seen in journey.sights {
            hash.write_u32(seen.lane.number());
            hash.write_u8(seen.ttl);
        }
        let key = hash.finish();
        if let Some(known) = self.told.get(&key) {
            return known.clone();
        }
        let held = ways.traces.iter().map(|trace| self.held(trace, journey, lanes));
        let best = held.rev().max_by_key(|(score, predicted)| (*score, predicted.cause.is_some() == is_lost));
        let is_known = is_lost || ways.are_all;
        let best =
            best.map(|(_, predicted)| Rc::new(Predicted { cause: predicted.cause.filter(|_| is_known), ..predicted }));
        if self.told.len() >= MOST_TOLD {
            self.told.clear();
        }
        self.told.insert(key, best.clone());
        best
    }

    /// Behind which point a packet was lost, by the captures, or else by the model: where each way that it may have taken ends
    /// before its receiver, whatever the captures that others go on to have from then, or where the next point on the way was
    /// capturing and has not seen it.
    #[must_use]
    pub fn lost_after(
        &self,
        journey: &Journey<'_>,
        predicted: Option<&Predicted>,
        learned: &Learned,
    ) -> Option<PointId> {
        match journey.end {
            End::Lost(point) => Some(point),
            End::Outside(point, _) => predicted.and_then(|predicted| predicted.cause).map(|_| point),
            End::LastSeen(point) => {
                let predicted = predicted?;
                let time = journey.sights.last()?.time;
                let next = predicted.next.as_ref().and_then(|next| self.points.iter().position(|point| point == next));
                let is_missed = next.is_some_and(|next| learned.may_have_captured(next, time));
                (predicted.cause.is_some() || is_missed).then_some(point)
            }
        }
    }

    /// What comes back to where a packet came from, from where it was last seen, is its flow's answer.
    fn remember(&mut self, flow: FlowId, journey: &Journey<'_>, lanes: &Lanes) {
        let last = journey.sights.last().and_then(|seen| lanes.get(seen.lane));
        let Some(lane) = last else { return };
        let back = Lane {
            source: lane.destination,
            destination: lane.source,
            ports: lane.ports.map(|(source, destination)| (destination, source)),
            ..*lane
        };
        if self.answered.len() < MOST_TOLD {
            self.answered.entry(flow_hash(&back)).or_insert(flow);
        }
    }

    fn ways(&mut self, flow: FlowId, journey: &Journey<'_>, lanes: &Lanes) -> Option<Rc<Ways>> {
        if let Some(ways) = self.ways.get(&flow) {
            return Some(Rc::clone(ways));
        }
        let first = journey.sights.first()?;
        let lane = lanes.get(first.lane)?;
        if self.ways.len() >= MOST_FLOWS {
            return None;
        }
        let question = self.answered.get(&flow_hash(lane)).copied().filter(|asked| *asked != flow);
        let answer = question.and_then(|asked| self.ways.get(&FlowId(asked.0 | ANSWER)).cloned());
        let ways = match answer {
            Some(ways) => ways,
            None => self.walk(flow, question, first, lane)?,
        };
        self.ways.insert(flow, Rc::clone(&ways));
        Some(ways)
    }

    /// Walks a flow's packet, and keeps its answer's ways beside its own. Where it is itself the answer to another flow's,
    /// of which no answer could be walked, that one goes before.
    fn walk(&mut self, flow: FlowId, answers: Option<FlowId>, first: &Seen, lane: &Lane) -> Option<Rc<Ways>> {
        let from = self.origin(lane)?;
        let packet = packet(first, lane)?;
        let packet = match &from {
            // Nobody is known to have put it into its tunnel: it comes in as it was seen.
            Origin::Device { netns, .. } => wrapped(packet, lane, self.snapshot.netns(*netns)),
            _ => packet,
        };
        let opened_by = answers.and_then(|answers| self.asked.get(&answers)).cloned();
        let opens = if opened_by.is_some() { SYN_ACK } else { SYN };
        self.asked.insert(flow, (from.clone(), packet.clone()));
        let question = Question {
            packet,
            from,
            reply: true,
            max_paths: MOST_PATHS,
            verbose: false,
            established: lane.protocol == Protocol::TCP && first.flags & SYN_ACK != opens,
            opened_by,
            given: Given::default(),
        };
        let answer = engine::explain(self.snapshot, &question);
        let (mut there, mut back) = (Vec::new(), Vec::new());
        for path in answer.paths {
            there.push(Rc::new(path.forward));
            back.extend(path.reply.map(Rc::new));
        }
        let are_all = answer.unexplored.is_none();
        let there = Rc::new(Ways { traces: there, are_all });
        if !back.is_empty() {
            self.ways.insert(FlowId(flow.0 | ANSWER), Rc::new(Ways { traces: back, are_all }));
        }
        Some(there)
    }

    /// Where a packet comes from: the namespace that has its source address, or else the device where it was first seen.
    fn origin(&self, lane: &Lane) -> Option<Origin> {
        let owners = self.snapshot.owner_of(lane.source);
        let point = self.points.get(lane.point.index())?;
        let here = self.snapshot.find_netns(&point.node, &point.netns);
        let owner = owners.iter().find(|(netns, _)| Some(*netns) == here).or(owners.first());
        match owner {
            Some((netns, _)) => Some(Origin::Socket { netns: *netns }),
            None => Some(Origin::Device { netns: here?, device: point.device.clone() }),
        }
    }

    /// Holds a packet's sights against a way, and says how well they fit.
    fn held(&self, trace: &Rc<Trace>, journey: &Journey<'_>, lanes: &Lanes) -> (i64, Predicted) {
        let mut hops = self.hops(trace);
        let (mut elsewhere, mut score) = (Vec::new(), 0);
        let mut next = 0;
        let mut shift = None;
        for seen in journey.sights {
            let Some(lane) = lanes.get(seen.lane) else { continue };
            let point = self.points.get(lane.point.index());
            let is_here = |hop: &PredictedHop| {
                Some(&hop.point) == point && lane.way.is_none_or(|way| way == hop.way || is_loopback(&hop.point))
            };
            let passes = |hop: &PredictedHop| is_here(hop) && !hop.is_bridged(trace);
            let onward = hops.iter().skip(next).position(passes).map(|place| next + place);
            // A bridge's copy has the time of the port that brought the frame, or one behind its going out: no order.
            let is_copy = |hop: &PredictedHop| is_here(hop) && hop.is_bridged(trace) && hop.state == State::Unseen;
            let place = onward.or_else(|| hops.iter().position(is_copy));
            let Some(hop) = place.and_then(|place| hops.get_mut(place)) else {
                // Of what the snapshot lacks there is nothing to tell.
                if point.is_none_or(|point| self.snapshot.find_netns(&point.node, &point.netns).is_none()) {
                    continue;
                }
                elsewhere.push(lane.point);
                score -= 3;
                continue;
            };
            let Some(step) = trace.steps.get(hop.step) else { continue };
            let shift = *shift.get_or_insert(i16::from(seen.ttl) - i16::from(step.packet.innermost().ip.ttl));
            let differences = differences(trace, hop.step, (lane, seen.ttl), shift);
            score += if differences.is_empty() { 4 } else { 2 };
            hop.state = if differences.is_empty() { State::Seen } else { State::Differs(differences) };
            next = onward.map_or(next, |place| place + 1);
        }
        // A bridge that only shows what goes through it does so where the capture makes it promiscuous.
        hops.retain(|hop| hop.state != State::Unseen || !hop.is_bridged(trace));
        let reached = hops.iter().rposition(|hop| hop.state != State::Unseen);
        let unseen = hops.iter().filter(|hop| hop.is_captured && hop.state == State::Unseen).count();
        score -= i64::try_from(unseen).unwrap_or(0);
        // What was last seen somewhere else has gone on from where the way ends.
        let last = journey.sights.last().and_then(|seen| self.points.get(lanes.point(seen.lane).index()));
        let is_on_it = reached.and_then(|reached| hops.get(reached)).is_some_and(|hop| Some(&hop.point) == last);
        let cause = cause(trace, &hops, reached);
        let cause = cause.filter(|_| is_on_it);
        let behind = reached.map_or(0, |reached| reached + 1);
        let next = hops.iter().skip(behind).find(|hop| hop.is_captured && is_on_it && elsewhere.is_empty());
        let next = next.map(|hop| hop.point.clone());
        (score, Predicted { trace: Rc::clone(trace), hops, elsewhere, cause, next })
    }

    /// The devices on a way.
    fn hops(&self, trace: &Trace) -> Vec<PredictedHop> {
        let devices = (0..trace.steps.len()).filter_map(|step| Some((step, self.at(trace, step)?)));
        devices
            .map(|(step, (point, way))| {
                let is_captured = self.points.contains(&point);
                PredictedHop { step, point, way, is_captured, state: State::Unseen }
            })
            .collect()
    }

    /// The device at which a capture shows the packet at a step, and which way the packet passes it.
    fn at(&self, trace: &Trace, step: usize) -> Option<(Point, Way)> {
        let taken = trace.steps.get(step)?;
        at(taken).or_else(|| {
            let bridge = engine::shown_by_bridge(self.snapshot, &trace.steps, step)?;
            Some((point(taken, bridge), Way::In))
        })
    }
}

/// In the number of a flow: it stands for its answer.
const ANSWER: u32 = 1 << 31;
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;

/// The capture point that a step is at, and which way the packet passes it, where a capture shows it.
fn at(step: &Step) -> Option<(Point, Way)> {
    let (device, way) = match &step.decision {
        Decision::Receive { device, .. } => (device, Way::In),
        Decision::Transmit { device } => (device, Way::Out),
        _ => return None,
    };
    Some((point(step, device), way))
}

/// A device of the namespace that a step is in.
fn point(step: &Step, device: &IfName) -> Point {
    Point { node: step.place.node.clone(), netns: step.place.name.clone(), device: device.clone() }
}

/// What passes `lo` leaves by it and comes in by it, of which libpcap shows one.
fn is_loopback(point: &Point) -> bool {
    point.device.as_str() == "lo"
}

/// The step that ends a way behind the last device that saw the packet, where the packet doesn't arrive and no further
/// device comes before.
fn cause(trace: &Trace, hops: &[PredictedHop], reached: Option<usize>) -> Option<usize> {
    let end = trace.steps.len().checked_sub(1)?;
    let Decision::End { verdict, .. } = &trace.steps.get(end)?.decision else { return None };
    let arrives = matches!(verdict, Verdict::Delivered | Verdict::Left | Verdict::Undetermined | Verdict::Mixed);
    let further = hops.iter().skip(reached? + 1).any(|hop| hop.is_captured);
    (!arrives && !further).then_some(end)
}

/// The packet of a sight, as the engine takes it. An error about another packet is none: its way depends on that one.
fn packet(seen: &Seen, lane: &Lane) -> Option<Packet> {
    let ports = lane.ports.map_or((None, None), |(source, destination)| (Some(source), Some(destination)));
    let (source, destination) = ports;
    let transport = match lane.protocol {
        Protocol::TCP => Transport::Tcp { source, destination, flags: seen.flags },
        Protocol::UDP => Transport::Udp { source, destination },
        Protocol::SCTP => Transport::Sctp { source, destination },
        Protocol::ICMP | Protocol::ICMPV6 => {
            Transport::Icmp { kind: seen.flags, code: 0, id: Some(source?), quoted: None }
        }
        other => Transport::Other(other),
    };
    let is_v6 = matches!(lane.destination, IpAddr::V6(_));
    let ip = Ip { source: lane.source, destination: lane.destination, ttl: seen.ttl, tos: 0, df: is_v6 };
    let length = if lane.protocol == Protocol::TCP { seen.length.min(FRAME) } else { seen.length };
    Some(Packet::new(ip, transport, length))
}

/// The packet inside the VXLAN tunnel that it was seen in, where the namespace has the tunnel's device: to that device's
/// link address, which no lane has. flannel's devices of both families have the same network identifier.
fn wrapped(packet: Packet, lane: &Lane, netns: &Netns) -> Packet {
    let Some(outer) = lane.tunnel.filter(|outer| outer.name == "vxlan") else { return packet };
    let devices = netns.links.iter().flatten().filter_map(|link| match &link.kind {
        LinkKind::Vxlan(vxlan) if Some(vxlan.vni.0) == outer.vni => Some((link.lladdr?, vxlan)),
        _ => None,
    });
    let is_its = |vxlan: &Vxlan| vxlan.local.map(|local| local == outer.destination);
    let device = devices.filter(|(_, vxlan)| is_its(vxlan) != Some(false)).max_by_key(|(_, vxlan)| is_its(vxlan));
    let Some((lladdr, vxlan)) = device else { return packet };
    let is_v6 = outer.destination.is_ipv6();
    let ip = Ip { source: outer.source, destination: outer.destination, ttl: TUNNEL_TTL, tos: 0, df: is_v6 };
    // UDP's and VXLAN's header, and the frame's.
    let length = packet.length + if is_v6 { 40 } else { 20 } + 8 + 8 + 14;
    let transport = Transport::Udp { source: None, destination: Some(vxlan.port) };
    let inner = Packet { link: Some(Link { source: MacAddr([0; 6]), destination: lladdr }), ..packet };
    Packet {
        link: lane.link,
        inner: Some(Box::new(inner)),
        encapsulation: Some(Encapsulation::Vxlan(vxlan.vni)),
        ..Packet::new(ip, transport, length)
    }
}

impl PredictedHop {
    /// Whether it is a bridge that shows the packet on its way from port to port.
    #[must_use]
    pub fn is_bridged(&self, trace: &Trace) -> bool {
        trace.steps.get(self.step).is_some_and(|step| at(step).is_none())
    }

    /// Whether it is in a pod.
    #[must_use]
    pub fn is_in_pod(&self) -> bool {
        matches!(self.point.netns, NetnsName::Pod(_))
    }
}
