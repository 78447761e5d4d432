//! What the packets of a flow have in common: its hops, what each costs, and where packets end.

use super::delay::Delays;
use super::journey::{End, Journey, Seen};
use super::lanes::{ByHash, FlowId, LaneId, Lanes, flow_hash};
use super::onward::Onward;
use super::sight::PointId;

/// How many flows are told apart.
const MOST: usize = 1 << 17;
/// How many different hops one flow has, at most, that are told apart.
const MOST_HOPS: usize = 256;

/// All packets of one direction of a conversation, as they were first seen.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Where it was first seen, and with which addresses.
    pub lane: LaneId,
    /// How many packets.
    pub packets: u64,
    /// Their lengths together, in bytes, as they were first seen.
    pub bytes: u64,
    /// When the first one was first seen, by the reference's clock.
    pub first: i64,
    /// When the last one was.
    pub last: i64,
    /// How many of them carried data that an earlier one had carried.
    pub retransmissions: u64,
    /// From point to point.
    pub hops: Vec<Hop>,
    /// Where packets ended.
    pub ends: Vec<Ended>,
    /// How many packets the capture missed at which point.
    pub missed: Vec<(PointId, u64)>,
}

/// From one lane to the next.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Where from.
    pub from: LaneId,
    /// Where to.
    pub to: LaneId,
    /// TTL before and after, of the first packet that went.
    pub ttl: (u8, u8),
    /// How long it took.
    pub delays: Delays,
    /// How many packets overtook, or were overtaken by, one that had been ahead.
    pub reordered: u64,
    /// The times at both ends of the packet that came latest so far.
    latest: (i64, i64),
}

/// Packets that ended in the same lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Where.
    pub lane: LaneId,
    /// How many.
    pub packets: u64,
    /// How many of them were lost: others like them had gone on.
    pub lost: u64,
    /// How many of them at a time at which the next point's capture has no packets yet, or none any more.
    pub outside: u64,
    /// How many of them before any like them had gone on from there.
    pub early: u64,
    /// The point whose link address the last of those that were lost went to, where only that says that they were.
    pub unreached: Option<PointId>,
}

impl Flow {
    /// How many packets were lost behind which point, as each packet's own [`End`] says.
    #[must_use]
    pub fn losses(&self) -> Vec<Ended> {
        self.ends.iter().filter(|ended| ended.lost > 0).copied().collect()
    }

    /// How many packets were last seen where others like them have gone on since: whether those before were lost too is
    /// not known.
    #[must_use]
    pub fn early(&self, lanes: &Lanes, onward: &Onward) -> Vec<(LaneId, u64)> {
        let went = self.ends.iter().filter(|ended| onward.next(ended.lane, lanes).is_some());
        let early = went.map(|ended| (ended.lane, ended.early));
        early.filter(|(_, packets)| *packets > 0).collect()
    }

    fn hop(&mut self, one: &Seen, other: &Seen) -> Option<&mut Hop> {
        let place = self.hops.iter().position(|hop| hop.from == one.lane && hop.to == other.lane);
        if place.is_none() && self.hops.len() < MOST_HOPS {
            let (ttl, latest) = ((one.ttl, other.ttl), (i64::MIN, i64::MIN));
            self.hops.push(Hop {
                from: one.lane,
                to: other.lane,
                ttl,
                delays: Delays::default(),
                reordered: 0,
                latest,
            });
            return self.hops.last_mut();
        }
        self.hops.get_mut(place?)
    }

    fn add(&mut self, journey: &Journey<'_>) {
        self.packets += 1;
        self.retransmissions += u64::from(journey.retransmission_of.is_some());
        for pair in journey.sights.windows(2) {
            let [one, other] = pair else { continue };
            if let Some(hop) = self.hop(one, other) {
                hop.add(one.time, other.time);
            }
        }
        for point in journey.missed {
            match self.missed.iter_mut().find(|(missed, _)| missed == point) {
                Some((_, packets)) => *packets += 1,
                None => self.missed.push((*point, 1)),
            }
        }
        let Some(first) = journey.sights.first() else { return };
        self.bytes += journey.bytes;
        self.first = self.first.min(first.time);
        self.last = self.last.max(first.time);
        let is_lost = u64::from(matches!(journey.end, End::Lost(_)));
        let outside = u64::from(matches!(journey.end, End::Outside(..)));
        let early = u64::from(journey.is_early);
        if let Some(ended) = self.ends.iter_mut().find(|ended| ended.lane == journey.ended_in) {
            ended.packets += 1;
            ended.lost += is_lost;
            ended.outside += outside;
            ended.early += early;
            ended.unreached = journey.unreached.or(ended.unreached);
        } else if self.ends.len() < MOST_HOPS {
            let (lane, unreached) = (journey.ended_in, journey.unreached);
            self.ends.push(Ended { lane, packets: 1, lost: is_lost, outside, early, unreached });
        }
    }
}

impl Hop {
    fn add(&mut self, before: i64, after: i64) {
        self.delays.add(after.saturating_sub(before));
        let (latest_before, latest_after) = self.latest;
        let overtakes = before > latest_before && after < latest_after;
        let is_overtaken = before < latest_before && after > latest_after;
        self.reordered += u64::from(overtakes || is_overtaken);
        if after > latest_after {
            self.latest = (before, after);
        }
    }
}

/// All flows.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    rows: Vec<Flow>,
    by_hash: ByHash<FlowId>,
    /// Packets of flows beyond those that are told apart.
    pub untold: u64,
}

impl Flows {
    /// The flow of a packet that was first seen in this lane.
    pub(super) fn of(&mut self, lane: LaneId, lanes: &mut Lanes) -> Option<FlowId> {
        if let Some(flow) = lanes.flow(lane) {
            return Some(flow);
        }
        let key = flow_hash(lanes.get(lane)?);
        let next = FlowId(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
        if !self.by_hash.contains_key(&key) {
            if self.rows.len() >= MOST {
                return None;
            }
            self.rows.push(Flow {
                lane,
                packets: 0,
                bytes: 0,
                first: i64::MAX,
                last: i64::MIN,
                retransmissions: 0,
                hops: Vec::new(),
                ends: Vec::new(),
                missed: Vec::new(),
            });
        }
        let flow = *self.by_hash.entry(key).or_insert(next);
        lanes.set_flow(lane, flow);
        Some(flow)
    }

    pub(super) fn add(&mut self, journey: &Journey<'_>) {
        match journey.flow.and_then(|flow| self.rows.get_mut(flow.0 as usize)) {
            Some(flow) => flow.add(journey),
            None => self.untold += 1,
        }
    }

    /// A flow.
    #[must_use]
    pub fn get(&self, flow: FlowId) -> Option<&Flow> {
        self.rows.get(flow.0 as usize)
    }

    /// Every flow, in the order in which they were first seen.
    pub fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.rows.iter()
    }
}
