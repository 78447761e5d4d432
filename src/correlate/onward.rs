//! Where packets go on from a capture point, learned from those that did.

use super::lanes::{ByHash, LaneId, Lead};
use super::sight::PointId;

/// How many capture points one lead goes on to, at most, that are told apart.
const MOST: usize = 8;
/// How much rarer than the usual way one must be that leaves a capture point out, to count as a packet that the capture
/// missed there.
const RARE: u32 = 4;

/// The ways onward.
#[derive(Clone, Debug, Default)]
pub struct Onward {
    /// By lead: the points that came next, with how many packets.
    next: Vec<Vec<(PointId, u32)>>,
    /// Between two points: how many packets went.
    between: ByHash<u32>,
    /// Between two lanes: the smallest delay seen in nanoseconds.
    delay: ByHash<i64>,
}

impl Onward {
    /// A packet went on to a point.
    pub(super) fn went(&mut self, from: Lead, at: PointId, to: PointId) {
        let place = from.0 as usize;
        if self.next.len() <= place {
            self.next.resize_with(place + 1, Vec::new);
        }
        let Some(next) = self.next.get_mut(place) else { return };
        if let Some((_, count)) = next.iter_mut().find(|(point, _)| *point == to) {
            *count = count.saturating_add(1);
        } else if next.len() < MOST {
            next.push((to, 1));
            *self.between.entry(points(at, to)).or_default() += 1;
        }
    }

    /// It took so long from lane to lane.
    pub(super) fn took(&mut self, from: LaneId, to: LaneId, delay: i64) {
        let least = self.delay.entry(lanes(from, to)).or_insert(delay);
        *least = delay.min(*least);
    }

    /// How long it takes from lane to lane at least.
    pub(super) fn usual(&self, from: LaneId, to: LaneId) -> Option<i64> {
        self.delay.get(&lanes(from, to)).copied()
    }

    /// Where most packets went on to; `None` where none did.
    #[must_use]
    pub fn next(&self, from: Lead) -> Option<PointId> {
        self.usual_next(from).map(|(point, _)| point)
    }

    fn usual_next(&self, from: Lead) -> Option<(PointId, u32)> {
        self.next.get(from.0 as usize)?.iter().max_by_key(|(_, count)| *count).copied()
    }

    /// The point between where a packet went and where it came from that others like it passed, and that has not seen
    /// it.
    pub(super) fn missed(&self, from: Lead, to: PointId) -> Option<PointId> {
        let (usual, count) = self.usual_next(from)?;
        let seen =
            self.next.get(from.0 as usize)?.iter().find(|(point, _)| *point == to).map_or(0, |(_, count)| *count);
        let leads_there = self.between.contains_key(&points(usual, to));
        (usual != to && leads_there && count >= seen.saturating_mul(RARE)).then_some(usual)
    }
}

/// A key of two points, spread over all bits.
fn points(one: PointId, other: PointId) -> u64 {
    spread(u64::from(one.0) << 16 | u64::from(other.0))
}

fn lanes(one: LaneId, other: LaneId) -> u64 {
    spread(u64::from(one.number()) << 32 | u64::from(other.number()))
}

/// One step of a generator of chance numbers (splitmix64): different words stay different.
pub(super) fn spread(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
