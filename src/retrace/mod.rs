//! Layer 3: captured packets on the paths that the snapshot predicts.
//!
//! A packet that was seen at a point has a past and a future. Both are parts of one path: who may have sent it, and to
//! what, is tried ([`candidate`]), each candidate is walked from its sender on, and where its path passes the point with
//! just this packet (`compare`), the steps before are the way it came, and those after are the way it goes. So a packet
//! that was rewritten before is walked with the connections that rewrote it. Where no candidate's path does, the packet
//! contradicts the snapshot (`odd`), and is walked from the point on alone.
//!
//! | module | does |
//! | --- | --- |
//! | [`entry`] | where packets from outside come in |
//! | `flows` | what a packet is in its conversation, from what the capture has shown of it |
//! | `captured` | a decoded packet, made ready to be walked |
//! | `pieces` | the parts of fragmented packets |
//! | `way` | which way a packet passed a device |
//! | [`candidate`] | who may have sent a packet, and to what |
//! | `services` | the addresses under which endpoints are reached |
//! | `dnat` | to what the nodes' rules give new destinations |
//! | `connections` | what the snapshot's tracked connections tell |
//! | `compare` | how a captured packet differs from a predicted one |
//! | `ask` | the question to walk for a candidate |
//! | `search` | the paths that pass a point with a packet |
//! | `odd` | in what a packet contradicts the snapshot, in words |

mod ask;
pub mod candidate;
mod captured;
mod compare;
mod connections;
mod dnat;
pub mod entry;
mod flows;
mod odd;
mod pieces;
mod search;
mod services;
mod way;

use std::sync::Arc;

use crate::engine::{self, Origin, Question};
use crate::evidence::Gap;
use crate::net::{IfName, NetnsId, Packet};
use crate::snapshot::Snapshot;
use crate::trace::{Answer, Finding, Leg, Path, Reason, Role, Spot, Verdict, Way};

use candidate::{Candidate, Kin};
use connections::Connections;
use search::{Fate, Found, Tried};
use services::Services;

pub use candidate::name;
pub use entry::entries;
pub use flows::{Flows, Standing};
pub use pieces::{Gathered, Pieces};
pub use way::way;

/// So many stories of one packet are told: more are no help.
const MOST_FOUND: usize = 24;
/// How many of those are walked that may have opened the connection of an answer.
const MOST_OPENERS: usize = 4;

/// Where packets were captured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// The namespace.
    pub netns: NetnsId,
    /// The device.
    pub device: IfName,
}

/// A captured packet that can be walked.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The packet, from the outermost header on.
    pub packet: Packet,
    /// Which way it passed the device, where that is known.
    pub way: Option<Way>,
    /// What the innermost packet carries behind its transport header, where the capture has all of it.
    pub payload: Option<Arc<[u8]>>,
    /// When it was seen, in seconds since 1970 UTC.
    pub time: Option<i64>,
}

/// How packets are to be walked.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether the answer's way is walked too.
    pub reply: bool,
    /// How many ways are walked at most.
    pub max_paths: usize,
    /// Whether the rules that were tried and did not match are recorded.
    pub verbose: bool,
}

/// What came of a captured packet.
#[derive(Clone, Debug)]
pub struct Retraced {
    /// The paths that pass the point with it; where there are none, those that begin at the point.
    pub answer: Answer,
    /// Where it was seen on each of the paths.
    pub spots: Vec<Spot>,
    /// Whether the paths begin where it was sent.
    pub is_whole: bool,
    /// Who sent what it belongs to, in words.
    pub from: String,
    /// What that was sent to, in words.
    pub to: String,
    /// Which way it passed the device.
    pub way: Option<Way>,
    /// What it is in its conversation.
    pub role: Role,
    /// In what it contradicts the snapshot.
    pub odd: Vec<Finding>,
    /// What is worth knowing beside.
    pub notes: Vec<String>,
}

/// A snapshot with what is looked up for every packet.
pub struct Atlas<'s> {
    snapshot: &'s Snapshot,
    services: Services,
    connections: Connections,
    /// The lengths at which devices take packets no more, tunnels or none around them.
    limits: Vec<u32>,
    /// What every device has room for.
    least_mtu: Option<u32>,
    options: Options,
}

impl<'s> Atlas<'s> {
    /// Indexes a snapshot's services and connections.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot, options: Options) -> Self {
        let (services, connections) = (Services::new(snapshot), Connections::new(snapshot));
        Self {
            snapshot,
            services,
            connections,
            limits: limits(snapshot),
            least_mtu: captured::least_mtu(snapshot),
            options,
        }
    }

    /// Between which devices' limits a length is: packets that are alike but for their length go the same way where this
    /// is the same.
    #[must_use]
    pub fn length_class(&self, length: u32) -> u32 {
        u32::try_from(self.limits.partition_point(|limit| *limit < length)).unwrap_or(u32::MAX)
    }

    /// Finds the paths of a captured packet.
    #[must_use]
    pub fn retrace(&self, point: &Point, captured: &Captured, standing: Standing) -> Retraced {
        let roles = self.roles(captured, standing);
        let mut tried = Vec::new();
        for role in roles {
            let (found, others) = self.search(point, captured, self.by_dump(point, Standing { role, ..standing }));
            let plain = self.is_unlisted(point, captured, Standing { role, ..standing }, &found);
            let plain = plain.then(|| self.on_from_here(point, captured, standing, &[]));
            let mut found = found.into_iter();
            if let Some(first) = found.next() {
                return self.whole(&first, found.collect(), role, plain);
            }
            tried.extend(others);
        }
        self.on_from_here(point, captured, self.by_dump(point, standing), &tried)
    }

    /// What connection tracking knows of it. Where the capture shows none of the packets before a segment from the middle
    /// of a connection, and there is a list of the connections, the list has it, or the kernel meets it as the first one.
    fn by_dump(&self, point: &Point, standing: Standing) -> Standing {
        let own = &self.snapshot.netns(point.netns);
        let host = self.snapshot.nodes.get(&own.node).and_then(|node| node.host);
        let is_listed =
            own.conntrack.is_some() || host.is_some_and(|host| self.snapshot.netns(host).conntrack.is_some());
        // What somebody answers has come to him before.
        let is_first = standing.is_supposed && is_listed && standing.role == Role::Original;
        Standing { is_established: standing.is_established && !is_first, ..standing }
    }

    /// What it may be in its conversation, the likeliest first.
    fn roles(&self, captured: &Captured, standing: Standing) -> Vec<Role> {
        if standing.is_certain {
            return vec![standing.role];
        }
        let packet = captured.packet.innermost();
        let told = self.connections.role(packet).or_else(|| self.services.role(packet));
        match told.unwrap_or(standing.role) {
            Role::Reply => vec![Role::Reply, Role::Original],
            role => vec![role, Role::Reply],
        }
    }

    /// The candidates whose paths pass the point with the packet, and what became of the others.
    fn search(&self, point: &Point, captured: &Captured, standing: Standing) -> (Vec<Found>, Vec<Tried>) {
        let Some(tuple) = candidate::original(captured.packet.innermost(), standing.role) else {
            return (Vec::new(), Vec::new());
        };
        let echo = connections::echo(captured.packet.innermost(), standing.role);
        let known = self.connections.candidates(self.snapshot, &tuple, echo);
        let (found, others) = self.walk_all(known, point, captured, standing);
        if !found.is_empty() {
            return (found, others);
        }
        let (near, far) = candidate::candidates(self.snapshot, &self.services, &tuple, point);
        let (found, mut tried) = self.walk_all(near, point, captured, standing);
        if !found.is_empty() {
            return (likely(self.snapshot, found), tried);
        }
        let (found, others) = self.walk_all(far, point, captured, standing);
        tried.extend(others);
        (likely(self.snapshot, found), tried)
    }

    fn walk_all(
        &self,
        candidates: Vec<Candidate>,
        point: &Point,
        captured: &Captured,
        standing: Standing,
    ) -> (Vec<Found>, Vec<Tried>) {
        let (mut found, mut others): (Vec<Found>, Vec<Tried>) = (Vec::new(), Vec::new());
        for candidate in candidates {
            // To an answer it matters who gets it: sockets of one node do so in the same place.
            let is_one_place = |kin: Kin| standing.role == Role::Original || kin == Kin::Bound;
            let alike = candidate.kin.filter(|(kin, ..)| is_one_place(*kin));
            if let Some(told) = found.iter_mut().find(|one| alike.is_some() && one.candidate.kin == alike) {
                told.alike += 1;
                continue;
            }
            if found.len() >= MOST_FOUND {
                continue;
            }
            match search::walk(self.snapshot, self.options, candidate, point, captured, standing) {
                // The same path is the same story, whoever it was thought of for.
                Ok(one) if found.iter().any(|other| other.is_like(&one)) => {}
                Ok(one) => found.push(one),
                Err(tried) => others.push(*tried),
            }
        }
        for one in found.iter_mut().filter(|one| one.alike > 0) {
            let what = match one.candidate.kin {
                Some((Kin::Pods | Kin::FarPods, ..)) => "a pod such as",
                Some((Kin::Nodes, ..)) => "a node such as",
                _ => continue,
            };
            one.candidate.from_name = format!("{what} {}", one.candidate.from_name);
        }
        (found, others)
    }

    /// Whether an answer may be none to what was thought of: the namespace that would translate it back lists its
    /// connections, that one is not among them, and the capture has shown nothing that was asked.
    fn is_unlisted(&self, point: &Point, captured: &Captured, standing: Standing, found: &[Found]) -> bool {
        let lists = self.snapshot.netns(point.netns).conntrack.is_some();
        let is_asked = standing.role != Role::Reply || standing.asked_tos.is_some();
        let is_told = |one: &Found| one.candidate.is_plain || one.candidate.note.is_some();
        lists && !is_asked && captured.way == Some(Way::In) && !found.is_empty() && !found.iter().any(is_told)
    }

    /// The paths of every candidate that fits, and of the packet as it is. One capture point can't tell them apart.
    fn whole(&self, first: &Found, others: Vec<Found>, role: Role, plain: Option<Retraced>) -> Retraced {
        let several = !others.is_empty() || first.alike > 0 || plain.is_some();
        let mut whole = Retraced {
            answer: Answer {
                request: first.answer.request.clone(),
                paths: Vec::new(),
                unexplored: None,
                gaps: Vec::new(),
            },
            spots: Vec::new(),
            is_whole: true,
            from: first.candidate.from_name.clone(),
            to: first.candidate.to_name.clone(),
            way: Some(first.way),
            role,
            odd: Vec::new(),
            notes: Vec::new(),
        };
        if several {
            whole.answer.gaps.push(undecided(first, &others));
        }
        for one in std::iter::once(first.clone()).chain(others) {
            whole.odd.extend(odd::ttl(self.snapshot, &one).filter(|odd| !whole.odd.contains(odd)));
            whole.notes.extend(one.candidate.note.clone().filter(|note| !whole.notes.contains(note)));
            whole.answer.unexplored = one.answer.unexplored.or(whole.answer.unexplored);
            self.add_paths(&mut whole, one, several);
        }
        for (mut path, spot) in plain.into_iter().flat_map(|plain| plain.answer.paths.into_iter().zip(plain.spots)) {
            path.probability = None;
            path.why.insert(0, "none of the connections that are listed is its own".to_owned());
            whole.answer.paths.push(path);
            whole.spots.push(spot);
        }
        whole.answer.gaps.dedup();
        whole
    }

    /// Adds a candidate's paths. That the packet was seen where it was leaves less to chance.
    fn add_paths(&self, whole: &mut Retraced, one: Found, several: bool) {
        let share: Option<f64> = one.passing.iter().map(|(path, _)| path.probability).sum();
        for (path, spot) in one.passing {
            if whole.answer.paths.len() >= self.options.max_paths {
                whole.answer.unexplored = whole.answer.unexplored.or(Some(0.0));
                break;
            }
            let probability = path.probability.zip(share).map(|(own, all)| own / all).filter(|_| !several);
            let mut why = path.why.clone();
            if several {
                why.insert(0, format!("{} sent it to {}", one.candidate.from_name, one.candidate.to_name));
            }
            whole.answer.paths.push(Path { probability, why, ..path });
            whole.spots.push(spot);
        }
        let new = |gap: &Gap| !whole.answer.gaps.contains(gap);
        let gaps: Vec<Gap> = one.answer.gaps.into_iter().filter(new).collect();
        whole.answer.gaps.extend(gaps);
    }

    /// The way from the point on, for a packet whose past is not known.
    fn on_from_here(&self, point: &Point, captured: &Captured, standing: Standing, tried: &[Tried]) -> Retraced {
        let bridged =
            way::bridged_from(self.snapshot, point, &captured.packet).filter(|_| captured.way != Some(Way::Out));
        let way = captured.way.or(bridged.as_ref().map(|_| Way::In));
        let ways = way.map_or(vec![Way::In, Way::Out], |way| vec![way]);
        let (odd, mut notes) = odd::contradictions(self.snapshot, point, captured, standing, tried);
        let mut answer: Option<Answer> = None;
        let mut spots = Vec::new();
        let openers = openers(standing, tried);
        let asked = ways.iter().flat_map(|way| openers.iter().map(move |opener| (*way, opener)));
        for (way, opener) in asked {
            let from = bridged.clone().map_or_else(|| point.clone(), |port| Point { device: port, ..point.clone() });
            let question = self.onward(&from, captured, standing, way, *opener);
            let mut one = engine::explain(self.snapshot, &question);
            // Whoever has opened it, the same story is told once.
            let known = answer.as_ref().map_or(&[][..], |answer: &Answer| &answer.paths);
            one.paths.retain(|path| !known.iter().any(|other| other.forward == path.forward));
            for path in &mut one.paths {
                if ways.len() > 1 {
                    path.probability = None;
                    path.why.insert(0, format!("it went {} by {}", way.as_str(), point.device));
                }
                if let (true, Some(Tried { candidate, .. })) = (openers.len() > 1, opener) {
                    path.probability = None;
                    path.why.insert(0, format!("{} sent it to {}", candidate.from_name, candidate.to_name));
                }
                let steps = &path.forward.steps;
                let is_here =
                    |step: &usize| engine::shown_by_bridge(self.snapshot, steps, *step) == Some(&point.device);
                let step = (0..steps.len()).find(is_here).filter(|_| bridged.is_some()).unwrap_or(0);
                spots.push(Spot { leg: Leg::Forward, step });
            }
            match &mut answer {
                None => answer = Some(one),
                Some(all) => {
                    all.paths.extend(one.paths);
                    all.gaps.extend(one.gaps);
                }
            }
        }
        if let Some(port) = bridged {
            notes.push(format!(
                "{} shows it on its way from {port} through the bridge: a capture makes it promiscuous",
                point.device
            ));
        }
        if ways.len() > 1 {
            notes.push(format!("which way it passed {} is not known", point.device));
        }
        let mut answer = answer.unwrap_or_else(|| Answer {
            request: captured.packet.clone(),
            paths: Vec::new(),
            unexplored: None,
            gaps: Vec::new(),
        });
        answer.gaps.dedup();
        let inner = captured.packet.innermost();
        let (from, to) =
            (candidate::name(self.snapshot, inner.ip.source), candidate::name(self.snapshot, inner.ip.destination));
        Retraced { answer, spots, is_whole: false, from, to, way, role: standing.role, odd, notes }
    }

    fn onward(
        &self,
        point: &Point,
        captured: &Captured,
        standing: Standing,
        way: Way,
        opener: Option<&Tried>,
    ) -> Question {
        let opened_by = opener.map(|tried| {
            let question = ask::question(self.options, &tried.candidate, captured, standing);
            (question.from, question.packet)
        });
        let (netns, device) = (point.netns, point.device.clone());
        let from = match way {
            Way::In => Origin::Device { netns, device },
            Way::Out => Origin::Leaving { netns, device },
        };
        let original = standing.role == Role::Original;
        Question {
            packet: captured.packet.clone(),
            from,
            reply: self.options.reply && original && captured.packet.inner.is_none(),
            max_paths: self.options.max_paths,
            verbose: self.options.verbose,
            established: standing.is_established
                && (opened_by.is_some() || original && captured.packet.inner.is_none()),
            opened_by,
            given: ask::given(captured),
        }
    }
}

/// Who may have opened the connection that an answer is of, where what was sent leaves what the snapshot has; nobody, once,
/// of any other packet, and where there is none.
fn openers(standing: Standing, tried: &[Tried]) -> Vec<Option<&Tried>> {
    let has_left = |tried: &&Tried| match &tried.fate {
        Fate::Unknown(_) => true,
        // An answer for which the snapshot knows no way was sent all the same: it was seen.
        Fate::Elsewhere(trace) => trace.verdict == Verdict::Left || trace.reason == Some(Reason::NobodyOwns),
        Fate::Differs { .. } => false,
    };
    let openers = tried.iter().filter(|_| standing.role == Role::Reply).filter(has_left).take(MOST_OPENERS);
    let openers: Vec<Option<&Tried>> = openers.map(Some).collect();
    if openers.is_empty() { vec![None] } else { openers }
}

/// Those that may be, where some are less likely: a TTL that no sender begins with tells of another path.
fn likely(snapshot: &Snapshot, found: Vec<Found>) -> Vec<Found> {
    let (usual, others): (Vec<Found>, Vec<Found>) =
        found.into_iter().partition(|one| odd::ttl(snapshot, one).is_none());
    if usual.is_empty() { others } else { usual }
}

/// Says between what nobody can decide, and what would.
fn undecided(first: &Found, others: &[Found]) -> Gap {
    const NAMED: usize = 4;
    let all = std::iter::once(first).chain(others);
    let mut names: Vec<String> =
        all.clone().map(|one| format!("{} to {}", one.candidate.from_name, one.candidate.to_name)).collect();
    names.dedup();
    let rest = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let least = if others.len() + 1 < MOST_FOUND { "" } else { " at least" };
    let more = if rest > 0 { format!(", or{least} {rest} more") } else { String::new() };
    let rewriter = all.into_iter().find_map(Found::rewriting_node);
    let lacks = rewriter.map_or("the packet as it was sent".to_owned(), |node| {
        format!("its connection in nodes/{node}/host/conntrack, or the packet as it was sent,")
    });
    let what = format!("what was sent may be from {}{more}: {lacks} would tell", names.join(", or from "));
    Gap::new(what, Vec::new())
}

fn limits(snapshot: &Snapshot) -> Vec<u32> {
    // What VXLAN adds in IPv4 and in IPv6, and a relay's datagram.
    const TUNNELS: [u32; 4] = [0, 50, 70, 28];
    let links = snapshot.namespaces.iter().flat_map(|netns| netns.links.iter().flatten());
    let mtus = links.filter_map(|link| link.mtu);
    let mut limits: Vec<u32> = mtus.flat_map(|mtu| TUNNELS.map(|tunnel| mtu.saturating_sub(tunnel))).collect();
    limits.sort_unstable();
    limits.dedup();
    limits
}
