//! The clocks of all nodes, by that of one of them.

use std::collections::BTreeMap;

use super::clock::{self, Difference, Doubt, Line};
use super::lanes::Lanes;
use super::order::Timed;
use super::recognize::bits;
use super::sight::NodeId;
use super::survey::Sample;

/// A node's clock, by the reference's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// By how much it is ahead of the reference's, and how it drifts.
    pub line: Line,
    /// How many packets tell so.
    pub packets: usize,
}

/// All clocks.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// The moment from which lines count.
    origin: i64,
    /// The node whose clock is taken for right.
    pub reference: NodeId,
    /// By node; `None` for one that has no packet in common with the others.
    pub clocks: Vec<Option<Clock>>,
}

impl Clocks {
    /// A moment of a node's clock, by the reference's clock.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "days are 10^15 ns, below 2^53")]
    pub fn correct(&self, node: NodeId, time: i64) -> i64 {
        let Some(Some(Clock { line, .. })) = self.clocks.get(node.index()) else { return time };
        if line.drift == 0.0 {
            return time.saturating_sub(line.offset.round() as i64);
        }
        let behind = time.saturating_sub(self.origin) as f64;
        let corrected = (behind - line.offset) / (1.0 + line.drift);
        self.origin.saturating_add(corrected.round() as i64)
    }

    /// How far a node's clock is ahead at a moment of its own, in nanoseconds.
    #[must_use]
    pub fn ahead(&self, node: NodeId, time: i64) -> i64 {
        time.saturating_sub(self.correct(node, time))
    }

    /// The clocks of nodes that share packets.
    pub(super) fn fit<'a>(
        node_count: usize,
        packets: impl Iterator<Item = &'a [Sample]>,
        lanes: &Lanes,
        nodes: &[NodeId],
    ) -> Self {
        let mut pairs = Pairs { lanes, nodes, origin: None, by_nodes: BTreeMap::new() };
        packets.for_each(|samples| pairs.add(samples));
        let origin = pairs.origin.unwrap_or(0);
        let fitted: BTreeMap<_, _> =
            pairs.by_nodes.iter().filter_map(|(pair, shown)| Some((*pair, line(shown)?))).collect();
        let (reference, clocks) = spanning(node_count, &fitted);
        Self { origin, reference, clocks }
    }
}

/// What packets that two nodes have in common show.
#[derive(Default)]
struct Shown {
    /// Those that come to a node again: each way of each of them for itself.
    again: Ways,
    /// The others, which go one way, by its ends.
    classes: BTreeMap<Ends, Class>,
}

/// Differences by the direction in which the packets went.
#[derive(Clone, Default)]
struct Ways {
    /// From the first node to the second one.
    onward: Vec<Difference>,
    /// From the second one to the first.
    back: Vec<Difference>,
    /// How many packets they are of.
    packets: usize,
}

/// What packets of one direction of two nodes' traffic show.
#[derive(Default)]
struct Class {
    /// How many packets say that the first node came first, less those that say the opposite.
    votes: i64,
    /// If the first node came first: when it was last seen there, and how much later on the second one.
    onward: Vec<Difference>,
    /// If it came second.
    back: Vec<Difference>,
}

/// What all packets of one direction have in common.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ends {
    from: u128,
    to: u128,
    /// Whether they are a tunnel's.
    is_outer: bool,
}

impl Ends {
    fn opposite(self) -> Self {
        Self { from: self.to, to: self.from, ..self }
    }

    /// The same of both directions.
    fn conversation(self) -> Self {
        self.min(self.opposite())
    }
}

struct Pairs<'a> {
    lanes: &'a Lanes,
    nodes: &'a [NodeId],
    origin: Option<i64>,
    by_nodes: BTreeMap<(NodeId, NodeId), Shown>,
}

impl Pairs<'_> {
    fn node(&self, sample: &Sample) -> Option<NodeId> {
        self.nodes.get(self.lanes.point(sample.lane()).index()).copied()
    }

    /// A packet's sights, by time within each node.
    fn add(&mut self, samples: &[Sample]) {
        let mut by_node: BTreeMap<NodeId, Vec<Sample>> = BTreeMap::new();
        for sample in samples {
            let Some(node) = self.node(sample) else { continue };
            by_node.entry(node).or_default().push(*sample);
        }
        let mut visits: Vec<(NodeId, Vec<Sample>)> = by_node.into_iter().collect();
        for (_, samples) in &mut visits {
            samples.sort_by_key(Timed::time);
        }
        for (place, (one, ones)) in visits.iter().enumerate() {
            for (other, others) in visits.iter().skip(place + 1) {
                self.add_pair((*one, *other), ones, others);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "days are 10^15 ns, below 2^53")]
    fn add_pair(&mut self, pair: (NodeId, NodeId), ones: &[Sample], others: &[Sample]) {
        let (Some(first), Some(last)) = (ones.first(), ones.last()) else { return };
        let (Some(other_first), Some(other_last)) = (others.first(), others.last()) else { return };
        let origin = *self.origin.get_or_insert(first.time());
        let difference = |one: i64, other: i64| Difference {
            time: one.saturating_sub(origin) as f64,
            apart: other.saturating_sub(one) as f64,
        };
        if are_mixed(ones, others) {
            let again = &mut self.by_nodes.entry(pair).or_default().again;
            again.onward.extend(crossings(ones, others).map(|(one, other)| difference(one, other)));
            again.back.extend(crossings(others, ones).map(|(other, one)| difference(one, other)));
            again.packets += usize::from(ttls(ones) != ttls(others));
            return;
        }
        if self.comes_back(ones) || self.comes_back(others) {
            return;
        }
        let ends = self.ends(ones);
        let vote = self.vote(ones, others);
        let class = self.by_nodes.entry(pair).or_default().classes.entry(ends).or_default();
        class.votes += vote;
        class.onward.push(difference(last.time(), other_first.time()));
        class.back.push(difference(first.time(), other_last.time()));
    }

    /// Whether a packet came back to where it was sent from, by its link addresses at some point: what another node saw of it
    /// may have been in between.
    fn comes_back(&self, samples: &[Sample]) -> bool {
        let lane = |sample: &Sample| self.lanes.get(sample.lane());
        let is_return = |sent: &Sample, come: &Sample| {
            let (Some(one), Some(other)) = (lane(sent), lane(come)) else { return false };
            let (Some(link), Some(other_link)) = (one.link, other.link) else { return false };
            one.point == other.point && sent.ttl() > come.ttl() && link.source == other_link.destination
        };
        samples.iter().any(|sent| samples.iter().any(|come| is_return(sent, come)))
    }

    /// The addresses that lead a packet from node to node: the tunnel's, where one of its sights is in a tunnel.
    fn ends(&self, samples: &[Sample]) -> Ends {
        let lanes = || samples.iter().filter_map(|sample| self.lanes.get(sample.lane()));
        let lane = lanes().find(|lane| lane.tunnel.is_some()).or_else(|| lanes().next());
        lane.map_or(Ends::default(), |lane| Ends {
            from: bits(lane.trailing()),
            to: bits(lane.leading()),
            is_outer: lane.tunnel.is_some(),
        })
    }

    /// Which node came first: the one with the larger TTL, or the one on which the tunnel was put on.
    fn vote(&self, ones: &[Sample], others: &[Sample]) -> i64 {
        let by_ttl = ttls(ones).cmp(&ttls(others)) as i64;
        if by_ttl != 0 {
            return by_ttl;
        }
        self.wraps(ones).cmp(&self.wraps(others)) as i64
    }

    /// Positive where a node puts a tunnel on, negative where it takes it off, as far as its sights show.
    fn wraps(&self, samples: &[Sample]) -> i64 {
        let is_outer = |sample: &&Sample| self.lanes.get(sample.lane()).is_some_and(|lane| lane.tunnel.is_some());
        let outer = samples.iter().find(is_outer).map(Timed::time);
        let inner = samples.iter().find(|sample| !is_outer(sample)).map(Timed::time);
        outer.zip(inner).map_or(0, |(outer, inner)| outer.cmp(&inner) as i64)
    }
}

/// The largest TTL of some sights, and the smallest.
fn ttls(samples: &[Sample]) -> (u8, u8) {
    let ttls = samples.iter().map(Timed::ttl);
    (ttls.clone().max().unwrap_or(0), ttls.min().unwrap_or(0))
}

/// Whether a packet came to one of two nodes again after the other one, by its TTLs: neither saw all of its own before those
/// of the other.
fn are_mixed(ones: &[Sample], others: &[Sample]) -> bool {
    let ((most, least), (other_most, other_least)) = (ttls(ones), ttls(others));
    least < other_most && other_least < most
}

/// When a packet whose TTLs on two nodes are mixed left one node and came to the other one, where TTLs tell: on its first way
/// between them, and on its last. A TTL that the other node has alone may be of before and of behind it.
fn crossings(from: &[Sample], to: &[Sample]) -> impl Iterator<Item = (i64, i64)> {
    let ((most, least), (to_most, to_least)) = (ttls(from), ttls(to));
    let is_before = |sample: &&Sample| sample.ttl() >= to_most && sample.ttl() > to_least;
    let is_behind = |sample: &&Sample| sample.ttl() <= least && sample.ttl() < most;
    let once = from.iter().rfind(is_before).zip(to.first()).filter(|_| most > to_most);
    let again = from.last().zip(to.iter().find(is_behind)).filter(|_| to_least < least);
    once.into_iter().chain(again).map(|(from, to)| (from.time(), to.time()))
}

/// A line with how many packets gave it.
type Fitted = (Line, usize);

impl Ways {
    fn extend(&mut self, other: &Self) {
        self.onward.extend(&other.onward);
        self.back.extend(&other.back);
        self.packets += other.packets;
    }

    /// The class's packets, which went onward or back.
    fn add(&mut self, class: &Class, is_onward: bool) {
        if is_onward {
            self.onward.extend(&class.onward);
        } else {
            self.back.extend(&class.back);
        }
        self.packets += class.onward.len();
    }

    fn fit(&self) -> Option<Line> {
        clock::fit(&self.onward, &self.back)
    }
}

fn line(shown: &Shown) -> Option<Fitted> {
    let Shown { again, classes } = shown;
    let mut open = Vec::new();
    // What goes between the same ends, there and back.
    let mut conversations: BTreeMap<Ends, Ways> = BTreeMap::new();
    for (ends, class) in classes {
        let opposite = classes.get(&ends.opposite()).filter(|_| ends.from != ends.to);
        let votes = if class.votes == 0 { opposite.map_or(0, |class| -class.votes) } else { class.votes };
        match votes {
            0 => open.push((ends, class, opposite)),
            _ => conversations.entry(ends.conversation()).or_default().add(class, votes > 0),
        }
    }
    if conversations.is_empty() && again.packets == 0 {
        for (ends, class, opposite) in &open {
            if let Some(opposite) = opposite {
                conversations.entry(ends.conversation()).or_default().add(class, is_onward(class, opposite));
            }
        }
    }
    let mut all = again.clone();
    for ways in conversations.values() {
        all.extend(ways);
    }
    if all.packets > 0 {
        let line = all.fit()?;
        let is_uneven = matches!(line.doubt, Doubt::Uneven(_));
        let agreed = if is_uneven { consistent(again, &conversations) } else { None };
        return Some((Line { doubt: line.doubt, ..agreed.unwrap_or(line) }, all.packets));
    }
    let all: Vec<Difference> = open.iter().flat_map(|(_, class, _)| &class.onward).copied().collect();
    // Clocks that are kept right tell which node came first, if nothing else does.
    let earlier = all.iter().filter(|difference| difference.apart < 0.0).count();
    let line = if earlier * 2 > all.len() { clock::fit(&[], &all) } else { clock::fit(&all, &[]) };
    line.map(|line| (Line { doubt: Doubt::Unordered, ..line }, all.len()))
}

/// Where not all packets agree: the line by the largest part of them of which both ways do, those of one conversation or
/// those that come to a node again.
fn consistent(again: &Ways, conversations: &BTreeMap<Ends, Ways>) -> Option<Line> {
    let parts = conversations.values().chain([again]);
    let lines = parts.filter_map(|ways| Some((ways.packets, ways.fit()?)));
    let agreeing = lines.filter(|(_, line)| matches!(line.doubt, Doubt::Within(_)));
    agreeing.max_by_key(|(packets, _)| *packets).map(|(_, line)| line)
}

/// Of two directions, that one goes onward whose packets show the larger differences: their delays add to what the
/// clocks differ by, and those of the other one are taken off it.
fn is_onward(class: &Class, opposite: &Class) -> bool {
    let least = |class: &Class| class.onward.iter().map(|one| one.apart).fold(f64::INFINITY, f64::min);
    least(class) > least(opposite)
}

/// The clocks of all nodes by that of one, from pair to pair, the surest first.
fn spanning(node_count: usize, lines: &BTreeMap<(NodeId, NodeId), Fitted>) -> (NodeId, Vec<Option<Clock>>) {
    let weight = |node: NodeId| -> usize {
        let touching = lines.iter().filter(|((one, other), _)| *one == node || *other == node);
        touching.map(|(_, (_, packets))| packets).sum()
    };
    let count = u16::try_from(node_count).unwrap_or(u16::MAX);
    let reference = (0..count).rev().map(NodeId).max_by_key(|node| weight(*node)).unwrap_or(NodeId(0));
    let mut clocks = vec![None; node_count];
    let exact = Line { offset: 0.0, drift: 0.0, doubt: Doubt::Within(0.0) };
    if let Some(clock) = clocks.get_mut(reference.index()) {
        *clock = Some(Clock { line: exact, packets: weight(reference) });
    }
    while let Some((node, clock)) = surest(&clocks, lines) {
        let Some(slot) = clocks.get_mut(node.index()) else { break };
        *slot = Some(clock);
    }
    (reference, clocks)
}

/// The surest clock that one more node gets.
fn surest(clocks: &[Option<Clock>], lines: &BTreeMap<(NodeId, NodeId), Fitted>) -> Option<(NodeId, Clock)> {
    let known = |node: NodeId| clocks.get(node.index()).copied().flatten();
    let steps = lines.iter().filter_map(|((one, other), (line, packets))| match (known(*one), known(*other)) {
        (Some(base), None) => Some((*other, Clock { line: chained(base.line, *line), packets: *packets })),
        (None, Some(base)) => Some((*one, Clock { line: chained(base.line, reversed(*line)), packets: *packets })),
        _ => None,
    });
    steps.min_by(|(_, one), (_, other)| rank(one.line.doubt).total_cmp(&rank(other.line.doubt)))
}

/// The smaller, the surer.
fn rank(doubt: Doubt) -> f64 {
    match doubt {
        Doubt::Within(by) => by,
        Doubt::Behind | Doubt::Ahead => 1e15,
        Doubt::Uneven(by) => 1e16 + by,
        Doubt::Unordered => f64::INFINITY,
    }
}

/// A clock by that of the reference, from one by another's, and that other one's.
fn chained(base: Line, line: Line) -> Line {
    let drift = (1.0 + base.drift) * (1.0 + line.drift) - 1.0;
    let offset = base.offset * (1.0 + line.drift) + line.offset;
    let doubt = match (base.doubt, line.doubt) {
        (Doubt::Within(one), Doubt::Within(other)) => Doubt::Within(one + other),
        (one, other) if rank(one) > rank(other) => one,
        (_, other) => other,
    };
    Line { offset, drift, doubt }
}

/// The first of two clocks by the second.
fn reversed(line: Line) -> Line {
    let doubt = match line.doubt {
        Doubt::Behind => Doubt::Ahead,
        Doubt::Ahead => Doubt::Behind,
        doubt => doubt,
    };
    Line { offset: -line.offset / (1.0 + line.drift), drift: 1.0 / (1.0 + line.drift) - 1.0, doubt }
}
