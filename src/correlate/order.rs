//! The order of a packet's sights.
//!
//! Time tells, but for sights of one moment: the kernel stamps a packet that comes in once, and what hands it up (a
//! bridge, a tunnel) keeps the stamp (`net_timestamp_check` in `net/core/dev.c`), while every device that sends it on
//! stamps it anew. Of two points of a node with the same stamp the tunnel's packet comes first, then the larger TTL; and else
//! that point which packets on their way out pass last.
//!
//! Clocks of two nodes are never quite known: of sights that are close to each other, on different nodes and with the same
//! TTL, that one comes first which does so for most packets that lead on to the same address.

use super::lanes::{ByHash, LaneId, Lanes};
use super::onward::spread;
use super::sight::{NodeId, PointId};

/// What is ordered.
pub(super) trait Timed {
    /// When it was seen.
    fn time(&self) -> i64;
    /// Its lane.
    fn lane(&self) -> LaneId;
    /// Its TTL.
    fn ttl(&self) -> u8;
}

/// How far apart two sights on different nodes are at most that others set right, in nanoseconds.
const CLOSE: i64 = 100_000;

/// Which of two points packets pass first, where their stamps tell.
#[derive(Clone, Debug, Default)]
pub struct Order {
    nodes: Vec<NodeId>,
    before: ByHash<u32>,
    /// Of two leads on different nodes: how many packets came to the first one first.
    across: ByHash<u32>,
}

impl Order {
    /// Nothing is known yet of points on these nodes.
    pub(super) fn new(nodes: &[NodeId]) -> Self {
        Self { nodes: nodes.to_vec(), ..Self::default() }
    }

    /// Notes which points a packet's sights came to one after the other.
    pub(super) fn learn<T: Timed>(&mut self, sights: &[T], lanes: &Lanes) {
        for (place, one) in sights.iter().enumerate() {
            let later = sights.get(place + 1..).unwrap_or_default();
            for other in later.iter().filter(|other| other.time() > one.time()) {
                *self.before.entry(key(lanes.point(one.lane()), lanes.point(other.lane()))).or_default() += 1;
                if self.is_across(one, other, lanes) && one.ttl() == other.ttl() {
                    *self.across.entry(leads(one, other, lanes)).or_default() += 1;
                }
            }
        }
    }

    /// Takes it that packets that come in pass these points in this order, with one stamp.
    pub(super) fn assume(&mut self, points: &[PointId]) {
        for (place, one) in points.iter().enumerate() {
            for other in points.get(place + 1..).unwrap_or_default() {
                // As if others, on their way out, had passed them the other way round.
                *self.before.entry(key(*other, *one)).or_default() += 1;
            }
        }
    }

    /// Puts a packet's sights into the order of its path.
    pub(super) fn arrange<T: Timed>(&self, sights: &mut [T], lanes: &Lanes) {
        let is_in_time = sights.is_sorted_by(|one, other| one.time() < other.time());
        if !is_in_time {
            sights.sort_by_key(Timed::time);
        }
        if is_in_time && self.across.is_empty() {
            return;
        }
        for _ in 1..sights.len() {
            let mut is_done = true;
            for place in 1..sights.len() {
                let Some([one, other]) = sights.get(place - 1..=place) else { continue };
                if self.comes_first(other, one, lanes) {
                    sights.swap(place - 1, place);
                    is_done = false;
                }
            }
            if is_done {
                return;
            }
        }
    }

    /// Whether a sight comes before one that is no later by the clock.
    fn comes_first<T: Timed>(&self, one: &T, other: &T, lanes: &Lanes) -> bool {
        if self.is_across(one, other, lanes) {
            let is_close = one.time().saturating_sub(other.time()) <= CLOSE && one.ttl() == other.ttl();
            return is_close && self.across(one, other, lanes) > self.across(other, one, lanes);
        }
        if one.time() != other.time() {
            return false;
        }
        let outer = |sight: &T| lanes.get(sight.lane()).is_some_and(|lane| lane.tunnel.is_some());
        let rank = |sight: &T| (outer(sight), sight.ttl());
        if rank(one) != rank(other) {
            return rank(one) > rank(other);
        }
        let (one, other) = (lanes.point(one.lane()), lanes.point(other.lane()));
        self.count(other, one) > self.count(one, other)
    }

    fn is_across<T: Timed>(&self, one: &T, other: &T, lanes: &Lanes) -> bool {
        let node = |sight: &T| self.nodes.get(lanes.point(sight.lane()).index());
        node(one) != node(other)
    }

    fn across<T: Timed>(&self, one: &T, other: &T, lanes: &Lanes) -> u32 {
        self.across.get(&leads(one, other, lanes)).copied().unwrap_or(0)
    }

    fn count(&self, one: PointId, other: PointId) -> u32 {
        self.before.get(&key(one, other)).copied().unwrap_or(0)
    }
}

fn key(one: PointId, other: PointId) -> u64 {
    spread(u64::from(one.0) << 16 | u64::from(other.0))
}

fn leads<T: Timed>(one: &T, other: &T, lanes: &Lanes) -> u64 {
    spread(u64::from(lanes.lead(one.lane()).0) << 32 | u64::from(lanes.lead(other.lane()).0))
}
