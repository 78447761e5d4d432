//! The first of two passes: a sample of all packets, the same ones at every point, tells what the clocks of nodes differ
//! by, and where packets go on from each point.

use super::alike::{Bond, REWRITTEN, bond_among, is_weak};
use super::clocks::Clocks;
use super::identity::{Form, Identity};
use super::lanes::{ByHash, LaneId, Lanes};
use super::onward::{Onward, spread};
use super::order::{Order, Timed};
use super::owner::{Common, Owners};
use super::sight::{Lane, NodeId, PointId, Sight, Vague};

/// How many packets are kept at most. Where there are more, every second one goes.
const MOST: usize = 1 << 15;
/// How many sights of one packet are kept.
const MOST_SIGHTS: usize = 32;

/// A sight of a packet of the sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    lane: LaneId,
    time: i64,
    ttl: u8,
    /// Whether nothing but its content tells it from others.
    is_weak: bool,
}

impl Timed for Sample {
    fn time(&self) -> i64 {
        self.time
    }

    fn lane(&self) -> LaneId {
        self.lane
    }

    fn ttl(&self) -> u8 {
        self.ttl
    }
}

/// From when to when a point's capture has packets, by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first packet's time.
    pub first: i64,
    /// The last packet's.
    pub last: i64,
}

/// What the first pass has learned.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The node of each point.
    nodes: Vec<NodeId>,
    lanes: Lanes,
    samples: ByHash<Vec<Sample>>,
    /// Packets are kept whose identity has none of these bits.
    mask: u64,
    periods: Vec<Option<Period>>,
    /// By point.
    common: Vec<Common>,
    /// By point: the packets of which too little was captured.
    vague: Vec<Vec<Vague>>,
}

/// What the second pass starts from.
#[derive(Clone, Debug)]
pub struct Learned {
    pub(super) nodes: Vec<NodeId>,
    pub(super) lanes: Lanes,
    pub(super) clocks: Clocks,
    pub(super) onward: Onward,
    pub(super) order: Order,
    pub(super) owners: Owners,
    /// By point, by the reference's clock.
    pub(super) periods: Vec<Option<Period>>,
    /// By point: the packets of which too little was captured.
    vague: Vec<Vec<Vague>>,
}

impl Survey {
    /// One more capture point, by its node.
    pub fn add_point(&mut self, node: NodeId) -> PointId {
        self.nodes.push(node);
        self.periods.push(None);
        self.common.push(Common::default());
        self.vague.push(Vec::new());
        PointId(u16::try_from(self.nodes.len() - 1).unwrap_or(u16::MAX))
    }

    /// A packet at a point. Packets come in any order.
    pub fn add(&mut self, sight: &Sight) {
        self.extend_period(sight.lane.point, sight.time);
        self.lanes.note(&sight.lane);
        if let Some(common) = self.common.get_mut(sight.lane.point.index()) {
            common.add(&sight.lane);
        }
        if let Some(vague) = sight.vague {
            let known = self.vague.get_mut(sight.lane.point.index());
            known.into_iter().filter(|known| !known.contains(&vague)).for_each(|known| known.push(vague));
            return;
        }
        let key = exact(&sight.identity);
        if !self.is_wanted(key) {
            return;
        }
        let lane = self.lanes.intern(&sight.lane);
        let samples = self.samples.entry(key).or_default();
        // Two files of a point may hold the same record.
        let is_known = |known: &Sample| (known.lane, known.time, known.ttl) == (lane, sight.time, sight.ttl);
        if samples.len() < MOST_SIGHTS && !samples.iter().any(is_known) {
            let is_weak = is_weak(sight.lane.protocol, sight.identity.id);
            samples.push(Sample { lane, time: sight.time, ttl: sight.ttl, is_weak });
        }
        while self.samples.len() > MOST {
            self.mask = self.mask << 1 | 1;
            let mask = self.mask;
            self.samples.retain(|key, _| key >> 20 & mask == 0);
        }
    }

    fn is_wanted(&self, key: u64) -> bool {
        key >> 20 & self.mask == 0
    }

    fn extend_period(&mut self, point: PointId, time: i64) {
        let Some(period) = self.periods.get_mut(point.index()) else { return };
        let period = period.get_or_insert(Period { first: time, last: time });
        period.first = period.first.min(time);
        period.last = period.last.max(time);
    }

    /// What all that tells.
    #[must_use]
    pub fn learn(self) -> Learned {
        let Self { nodes, mut lanes, samples, periods, common, vague, .. } = self;
        let node_count = nodes.iter().map(|node| node.index() + 1).max().unwrap_or(0);
        let is_one = |samples: &Vec<Sample>| is_sure(samples) && is_connected(samples, &lanes, &nodes);
        let sure: Vec<Vec<Sample>> = samples.into_values().filter(is_one).collect();
        let clocks = Clocks::fit(node_count, sure.iter().map(Vec::as_slice), &lanes, &nodes);
        let node = |point: PointId| nodes.get(point.index()).copied().unwrap_or(NodeId(0));
        let correct = |mut samples: Vec<Sample>| {
            for sample in &mut samples {
                sample.time = clocks.correct(node(lanes.point(sample.lane)), sample.time);
            }
            samples.sort_by_key(Timed::time);
            samples
        };
        let mut packets: Vec<Vec<Sample>> = sure.into_iter().map(correct).collect();
        let mut order = Order::new(&nodes);
        for samples in &packets {
            order.learn(samples, &lanes);
        }
        for samples in &mut packets {
            order.arrange(samples, &lanes);
        }
        let onward = onward(&packets, &mut lanes);
        let periods = (0..).zip(periods).map(|(point, period)| {
            let correct = |time| clocks.correct(node(PointId(point)), time);
            period.map(|period| Period { first: correct(period.first), last: correct(period.last) })
        });
        let periods = periods.collect();
        let owners = Owners::new(&nodes, common);
        Learned { nodes, lanes, clocks, onward, order, owners, periods, vague }
    }
}

impl Learned {
    /// What a capture starts from that is looked at while it runs: all points are of one node and capture all along.
    /// Packets that come in are said to pass points in these orders, of which their stamps tell nothing.
    #[must_use]
    pub fn live(points: usize, orders: &[Vec<PointId>]) -> Self {
        let (nodes, lanes) = (vec![NodeId(0); points], Lanes::default());
        let clocks = Clocks::fit(1, std::iter::empty(), &lanes, &nodes);
        let mut order = Order::new(&nodes);
        for points in orders {
            order.assume(points);
        }
        let periods = vec![Some(Period { first: i64::MIN, last: i64::MAX }); points];
        let (onward, owners, vague) = (Onward::default(), Owners::default(), Vec::new());
        Self { nodes, lanes, clocks, onward, order, owners, periods, vague }
    }

    /// Whether a point has seen packets of which too little was captured to tell that they are none of a lane.
    pub(super) fn may_have_seen(&self, point: PointId, lane: &Lane) -> bool {
        self.vague.get(point.index()).is_some_and(|vague| vague.iter().any(|vague| vague.may_be(lane)))
    }

    /// A moment of a point's clock, by the reference's.
    #[must_use]
    pub fn correct(&self, point: PointId, time: i64) -> i64 {
        self.nodes.get(point.index()).map_or(time, |node| self.clocks.correct(*node, time))
    }

    /// Whether a point, by its place in the list, may have captured at a moment: its packets came before and after, or it
    /// has none at all.
    pub(super) fn may_have_captured(&self, point: usize, time: i64) -> bool {
        let period = self.periods.get(point).copied().flatten();
        period.is_none_or(|period| (period.first..=period.last).contains(&time))
    }

    /// The clocks of the nodes.
    #[must_use]
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }
}

/// A packet's identity together with all that tells it from pieces and retransmissions of itself.
fn exact(identity: &Identity) -> u64 {
    let range = match identity.form {
        Form::Segment(from, to) => u64::from(from) << 32 | u64::from(to),
        Form::Whole | Form::Tail => 0,
    };
    spread(identity.key ^ spread(range ^ u64::from(identity.id).rotate_left(48)))
}

/// Whether no two sights of a packet can be two packets that look the same.
fn is_sure(samples: &[Sample]) -> bool {
    let repeats = |place: usize, one: &Sample| {
        let later = samples.get(place + 1..).unwrap_or_default();
        later.iter().any(|other| other.lane == one.lane && other.ttl == one.ttl)
    };
    samples.len() < MOST_SIGHTS && !samples.iter().enumerate().any(|(place, one)| repeats(place, one))
}

/// Whether the sights of what has no number are of one packet, by their addresses: each has an end in common with another
/// one, or was seen on its node right before or after.
fn is_connected(samples: &[Sample], lanes: &Lanes, nodes: &[NodeId]) -> bool {
    if !samples.iter().any(|sample| sample.is_weak) {
        return true;
    }
    let node = |sample: &Sample| nodes.get(lanes.point(sample.lane).index());
    let bond = |one: &Sample, other: &Sample| {
        let is_near = node(one) == node(other) && one.time.abs_diff(other.time) <= REWRITTEN.unsigned_abs();
        match bond_among(one, other, lanes, nodes) {
            Bond::Loose if is_near => Bond::Close,
            bond => bond,
        }
    };
    let mut reached: Vec<&Sample> = samples.first().into_iter().collect();
    let mut left: Vec<&Sample> = samples.iter().skip(1).collect();
    let mut next = 0;
    while let Some(one) = reached.get(next).copied() {
        next += 1;
        if left.iter().any(|other| bond(one, other) == Bond::Apart) {
            return false;
        }
        let (close, rest): (Vec<&Sample>, Vec<&Sample>) =
            left.into_iter().partition(|other| bond(one, other) >= Bond::Close);
        left = rest;
        reached.extend(close);
    }
    left.is_empty()
}

fn onward(packets: &[Vec<Sample>], lanes: &mut Lanes) -> Onward {
    let mut onward = Onward::default();
    for samples in packets {
        for pair in samples.windows(2) {
            let [one, other] = pair else { continue };
            if lanes.lead(one.lane) != lanes.lead(other.lane) && !lanes.is_beside(one, other) {
                onward.went(one.lane, other.lane, lanes);
                lanes.goes_on(one.lane);
            }
            onward.took(one.lane, other.lane, other.time.saturating_sub(one.time));
        }
    }
    let ends = packets.iter().filter_map(|samples| samples.last()).map(|last| last.lane);
    for lane in ends.filter(|lane| lanes.may_end(*lane)) {
        onward.ended(lane, lanes);
    }
    onward
}
