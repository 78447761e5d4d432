//! The paths that pass a point with a packet.

use std::net::IpAddr;

use crate::engine::{self, Origin, Question};
use crate::evidence::Evidence;
use crate::net::{Mark, NodeName, Packet, Transport};
use crate::snapshot::Snapshot;
use crate::trace::{Answer, Decision, Leg, Path, Role, Spot, Step, Trace, Verdict, Way};

use super::ask::{self, USUAL_TTL};
use super::candidate::Candidate;
use super::compare::{Difference, Field, differences, stray};
use super::{Captured, Options, Point, Standing};

/// How many marks of policy rules are tried.
const MOST_MARKS: usize = 8;
/// The largest TTL with which whoever looks for a path begins.
const SMALL_TTLS: u8 = 8;

/// A candidate whose path passes the point with just the captured packet.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub candidate: Candidate,
    pub answer: Answer,
    /// The paths that do, and where.
    pub passing: Vec<(Path, Spot)>,
    /// Which way it passes the device.
    pub way: Way,
    /// The TTL that it was sent with, where its sender is in the snapshot.
    pub sent_ttl: Option<u8>,
    /// How many others may have sent it that look the same at the point.
    pub alike: usize,
}

/// A candidate whose path doesn't.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub candidate: Candidate,
    pub fate: Fate,
}

/// What becomes of a packet that was not met.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// Something like it passes the point.
    Differs {
        differences: Vec<Difference>,
        /// The step at the point, and those before.
        steps: Vec<Step>,
    },
    /// Nothing of it passes the point: the way that it takes instead.
    Elsewhere(Box<Trace>),
    /// What decides is not in the snapshot.
    Unknown(String),
}

impl Found {
    /// Whether another one is the same story.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.passing == other.passing
    }

    /// The node that first translated it before it came to the point.
    pub(super) fn rewriting_node(&self) -> Option<NodeName> {
        self.passing.iter().find_map(|(path, _)| {
            let steps = path.forward.steps.iter();
            steps
                .into_iter()
                .find(|step| matches!(step.decision, Decision::Nat { .. }))
                .map(|step| step.place.node.clone())
        })
    }
}

/// Walks what a candidate has sent, and looks for the captured packet on its paths.
pub(super) fn walk(
    snapshot: &Snapshot,
    options: Options,
    candidate: Candidate,
    point: &Point,
    captured: &Captured,
    standing: Standing,
) -> Result<Found, Box<Tried>> {
    let mut fate = None;
    let mut chosen = None;
    let asked = questions(options, &candidate, captured, standing);
    let marked = marked(snapshot, &candidate, &asked);
    for (question, mark) in asked.into_iter().map(|question| (question, None)).chain(marked) {
        // The route has chosen the address that this one is bound to.
        if mark.is_none() && question.packet.ip.ttl == USUAL_TTL && chosen == Some(question.packet.ip.source) {
            continue;
        }
        match attempt(snapshot, question, point, captured, standing.role) {
            Ok((answer, passing, way, sent_ttl)) => {
                let note = mark.or(candidate.note.clone());
                let candidate = Candidate { note, ..candidate };
                return Ok(Found { candidate, answer, passing, way, sent_ttl, alike: 0 });
            }
            Err((other, source)) => {
                chosen = Some(source);
                fate = Some(nearer(fate, other));
            }
        }
    }
    let fate = fate.unwrap_or(Fate::Unknown("nothing was asked".to_owned()));
    Err(Box::new(Tried { candidate, fate }))
}

/// The same questions with each mark that a policy rule of the sender's namespace asks for, which no capture shows, and
/// what is then to be said.
fn marked(snapshot: &Snapshot, candidate: &Candidate, asked: &[Question]) -> Vec<(Question, Option<String>)> {
    let Origin::Socket { netns } = candidate.from else { return Vec::new() };
    let tables = snapshot.netns(netns);
    let rules = if candidate.destination.is_ipv4() { &tables.rules } else { &tables.rules6 };
    let marks = rules.iter().flatten().filter_map(|rule| Some((rule.fwmark?, rule.evidence)));
    let marks = marks.filter(|((mark, mask), _)| mark & mask != 0).take(MOST_MARKS);
    let question = |((mark, mask), evidence): ((u32, u32), Evidence)| {
        let note = format!(
            "it was sent with a mark such as {:#x}, which {}:{} asks for",
            mark & mask,
            snapshot.files.path(evidence),
            evidence.line
        );
        asked.iter().map(move |question| {
            let mut question = question.clone();
            question.packet.mark = Mark(mark & mask);
            (question, Some(note.clone()))
        })
    };
    marks.flat_map(question).collect()
}

/// What is asked, the likeliest first: a socket lets the route choose its address, or is bound to it.
fn questions(options: Options, candidate: &Candidate, captured: &Captured, standing: Standing) -> Vec<Question> {
    let bound = ask::question(options, candidate, captured, standing);
    let mut all = Vec::new();
    let may_choose = matches!(candidate.from, Origin::Socket { .. }) && !candidate.is_bound;
    if may_choose && !candidate.source.is_unspecified() {
        let mut free = bound.clone();
        free.packet.ip.source = crate::net::Family::of(candidate.source).unspecified();
        all.push(free);
    }
    all.push(bound);
    if exceeds_ttl(captured.packet.innermost()) {
        let small = |ttl: u8| all.iter().map(move |question| with_ttl(question, ttl));
        let small: Vec<Question> = (1..=SMALL_TTLS).flat_map(small).collect();
        all.extend(small);
    }
    all
}

fn exceeds_ttl(packet: &Packet) -> bool {
    match packet.transport {
        Transport::Icmp { kind, .. } => {
            packet.is_icmp_error() && kind == if packet.ip.destination.is_ipv4() { 11 } else { 3 }
        }
        _ => false,
    }
}

fn with_ttl(question: &Question, ttl: u8) -> Question {
    let mut question = question.clone();
    question.packet.ip.ttl = ttl;
    question
}

/// The fate that says more.
fn nearer(known: Option<Fate>, other: Fate) -> Fate {
    let weight = |fate: &Fate| match fate {
        Fate::Differs { differences, .. } => differences.len(),
        Fate::Elsewhere(_) => 100,
        Fate::Unknown(_) => 200,
    };
    match known {
        Some(known) if weight(&known) <= weight(&other) => known,
        _ => other,
    }
}

type Passing = (Answer, Vec<(Path, Spot)>, Way, Option<u8>);

/// Walks a question, and once more with what the first walk has told of how the packet was sent.
fn attempt(
    snapshot: &Snapshot,
    question: Question,
    point: &Point,
    captured: &Captured,
    role: Role,
) -> Result<Passing, (Fate, IpAddr)> {
    let first = engine::explain(snapshot, &question);
    let source = first.request.ip.source;
    let near = match look(snapshot, first, &question, point, captured, role) {
        Ok(passing) => return Ok(with_unknown_port(snapshot, passing, question, point, captured, role)),
        Err(fate) => fate,
    };
    let Fate::Differs { differences, steps } = &near else { return Err((near, source)) };
    let adjustable = |difference: &Difference| matches!(difference.field, Field::Ttl | Field::Length);
    if !differences.iter().all(adjustable) {
        return Err((near, source));
    }
    let Some(question) = steps.last().and_then(|step| adjusted(question, step, steps, captured, role)) else {
        return Err((near, source));
    };
    let second = engine::explain(snapshot, &question);
    match look(snapshot, second, &question, point, captured, role) {
        Ok(passing) => Ok(with_unknown_port(snapshot, passing, question, point, captured, role)),
        Err(_) => Err((near, source)),
    }
}

/// Where a port was drawn at random before the packet came to the point, the one that it was sent with is not known.
fn with_unknown_port(
    snapshot: &Snapshot,
    passing: Passing,
    mut question: Question,
    point: &Point,
    captured: &Captured,
    role: Role,
) -> Passing {
    let Some(at_point) = passing.1.first().and_then(|(path, spot)| step_of(path, *spot)) else { return passing };
    let (drawn, seen) = (at_point.packet.innermost(), captured.packet.innermost());
    let port = |packet: &Packet| match (role, &packet.transport) {
        (_, Transport::Icmp { id, .. }) => *id,
        (Role::Reply, _) => packet.destination_port(),
        _ => packet.source_port(),
    };
    if role == Role::Error || port(drawn).is_some() || port(seen).is_none() {
        return passing;
    }
    match &mut question.packet.transport {
        Transport::Tcp { source, .. } | Transport::Udp { source, .. } | Transport::Sctp { source, .. } => {
            *source = None;
        }
        Transport::Icmp { id, .. } => *id = None,
        Transport::Other(_) => return passing,
    }
    let again = engine::explain(snapshot, &question);
    look(snapshot, again, &question, point, captured, role).unwrap_or(passing)
}

/// The step of a path at a spot.
fn step_of(path: &Path, spot: Spot) -> Option<&Step> {
    let trace = match spot.leg {
        Leg::Forward => &path.forward,
        Leg::Reply => path.reply.as_ref()?,
    };
    trace.steps.get(spot.step)
}

/// The question with the TTL and the length that lead to those that were captured.
fn adjusted(
    mut question: Question,
    at_point: &Step,
    steps: &[Step],
    captured: &Captured,
    role: Role,
) -> Option<Question> {
    let (predicted, seen) = (at_point.packet.innermost(), captured.packet.innermost());
    let ttl = |sent: u8| {
        let ttl = i32::from(sent) + i32::from(seen.ip.ttl) - i32::from(predicted.ip.ttl);
        u8::try_from(ttl).ok().filter(|ttl| *ttl > 0)
    };
    let length = |sent: u32| {
        let length = i64::from(sent) + i64::from(seen.length) - i64::from(predicted.length);
        if predicted.fragments.is_none() && seen.fragments.is_none() { u32::try_from(length).ok() } else { Some(sent) }
    };
    match role {
        Role::Original => {
            let packet = &mut question.packet;
            (packet.ip.ttl, packet.length) = (ttl(packet.ip.ttl)?, length(packet.length)?);
        }
        Role::Reply => {
            let sent = steps.first()?.packet.innermost().ip.ttl;
            let answer = question.given.answer.as_mut()?;
            (answer.ttl, answer.length) = (Some(ttl(sent)?), length(answer.length)?);
            // An echo goes back as long as it came.
            if matches!(seen.transport, Transport::Icmp { .. }) {
                question.packet.length = answer.length;
            }
        }
        // One from outside comes in as it was captured, but for the routers between.
        Role::Error => {
            let sent = steps.first()?.packet.innermost().ip.ttl;
            let error = question.given.error.as_mut()?;
            (error.ttl, error.length) = (ttl(sent)?, length(error.length)?);
        }
    }
    Some(question)
}

/// Looks for the captured packet on every path of an answer.
fn look(
    snapshot: &Snapshot,
    answer: Answer,
    question: &Question,
    point: &Point,
    captured: &Captured,
    role: Role,
) -> Result<Passing, Fate> {
    let mut passing = Vec::new();
    let mut near: Option<(Vec<Difference>, Vec<Step>)> = None;
    let mut way = None;
    for path in &answer.paths {
        let Some((leg, trace)) = leg(path, role) else { continue };
        for (step, passed, here) in passes(snapshot, trace, point, captured.way) {
            let mut differences = differences(&passed.packet, &captured.packet);
            let strays = (here == Way::In).then(|| stray(snapshot, point, &passed.packet, &captured.packet));
            differences.extend(strays.flatten());
            if differences.is_empty() {
                way = way.or(Some(here));
                passing.push((path.clone(), Spot { leg, step }));
                break;
            }
            let weight = |differences: &[Difference]| {
                let others = differences.iter().filter(|difference| difference.field.is_identity()).count();
                (others, differences.len())
            };
            if near.as_ref().is_none_or(|(known, _)| weight(&differences) < weight(known)) {
                near = Some((differences, trace.steps.get(..=step).unwrap_or_default().to_vec()));
            }
        }
    }
    match (way, near) {
        (Some(way), _) => {
            let sent_ttl = matches!(question.from, Origin::Socket { .. }).then(|| sent_ttl(&passing, role)).flatten();
            Ok((answer, passing, way, sent_ttl))
        }
        (None, Some((differences, steps))) => Err(Fate::Differs { differences, steps }),
        (None, None) => Err(elsewhere(answer, role)),
    }
}

/// The TTL with which the sender of the packet itself sent it, where it is one of the snapshot.
fn sent_ttl(passing: &[(Path, Spot)], role: Role) -> Option<u8> {
    let (path, _) = passing.first()?;
    let trace = match role {
        Role::Original => &path.forward,
        Role::Reply => path.reply.as_ref()?,
        Role::Error => return None,
    };
    let first = trace.steps.first().filter(|step| matches!(step.decision, Decision::Send))?;
    Some(first.packet.ip.ttl)
}

/// The part of a path that a packet of this role is on.
fn leg(path: &Path, role: Role) -> Option<(Leg, &Trace)> {
    match role {
        Role::Original => Some((Leg::Forward, &path.forward)),
        Role::Error if !matches!(path.forward.verdict, Verdict::Rejected | Verdict::Left) => None,
        Role::Reply | Role::Error => path.reply.as_ref().map(|reply| (Leg::Reply, reply)),
    }
}

/// The steps at which a capture on the point would see the packet.
fn passes<'t>(
    snapshot: &'t Snapshot,
    trace: &'t Trace,
    point: &'t Point,
    known: Option<Way>,
) -> impl Iterator<Item = (usize, &'t Step, Way)> + 't {
    trace.steps.iter().enumerate().filter_map(move |(n, step)| {
        let (device, way) = match &step.decision {
            Decision::Receive { device, .. } => (device, Way::In),
            Decision::Transmit { device } => (device, Way::Out),
            _ => (engine::shown_by_bridge(snapshot, &trace.steps, n)?, Way::In),
        };
        let here = step.place.netns == point.netns && *device == point.device;
        (here && known.is_none_or(|known| known == way)).then_some((n, step, way))
    })
}

/// Where the paths of an answer go instead.
fn elsewhere(answer: Answer, role: Role) -> Fate {
    let mut paths = answer.paths.into_iter();
    let Some(path) = paths.next() else { return Fate::Unknown("no way was walked".to_owned()) };
    let trace = match role {
        Role::Original => path.forward,
        _ if !path.forward.arrived() && path.forward.verdict != Verdict::Rejected => path.forward,
        _ => path.reply.unwrap_or(path.forward),
    };
    if trace.verdict != Verdict::Undetermined {
        return Fate::Elsewhere(Box::new(trace));
    }
    let detail = trace.steps.last().and_then(|step| match &step.decision {
        Decision::End { detail, .. } => detail.clone(),
        _ => None,
    });
    Fate::Unknown(detail.unwrap_or_else(|| "what decides is not in the snapshot".to_owned()))
}
