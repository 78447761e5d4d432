//! The order of a packet's sights.
//!
//! Time tells, but for sights of one moment: the kernel stamps a packet that comes in once, and what hands it up (a
//! bridge, a tunnel) keeps the stamp (`net_timestamp_check` in `net/core/dev.c`), while every device that sends it on
//! stamps it anew. Of two points with the same stamp the tunnel's packet comes first, then the larger TTL; and else that
//! point which packets on their way out pass last.

use super::lanes::{ByHash, LaneId, Lanes};
use super::onward::spread;
use super::sight::PointId;

/// What is ordered.
pub(super) trait Timed {
    /// When it was seen.
    fn time(&self) -> i64;
    /// Its lane.
    fn lane(&self) -> LaneId;
    /// Its TTL.
    fn ttl(&self) -> u8;
}

/// Which of two points packets pass first, where their stamps tell.
#[derive(Clone, Debug, Default)]
pub struct Order {
    before: ByHash<u32>,
}

impl Order {
    /// Notes which points a packet's sights came to one after the other.
    pub(super) fn learn<T: Timed>(&mut self, sights: &[T], lanes: &Lanes) {
        for (place, one) in sights.iter().enumerate() {
            let later = sights.get(place + 1..).unwrap_or_default();
            for other in later.iter().filter(|other| other.time() > one.time()) {
                *self.before.entry(key(lanes.point(one.lane()), lanes.point(other.lane()))).or_default() += 1;
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
        if !sights.is_sorted_by(|one, other| one.time() < other.time()) {
            sights.sort_by_key(Timed::time);
            self.arrange_equal(sights, lanes);
        }
    }

    fn arrange_equal<T: Timed>(&self, sights: &mut [T], lanes: &Lanes) {
        for _ in 1..sights.len() {
            let mut is_done = true;
            for place in 1..sights.len() {
                let Some([one, other]) = sights.get(place - 1..=place) else { continue };
                if one.time() == other.time() && self.comes_first(other, one, lanes) {
                    sights.swap(place - 1, place);
                    is_done = false;
                }
            }
            if is_done {
                return;
            }
        }
    }

    /// Whether a sight comes before another one of the same stamp.
    fn comes_first<T: Timed>(&self, one: &T, other: &T, lanes: &Lanes) -> bool {
        let outer = |sight: &T| lanes.get(sight.lane()).is_some_and(|lane| lane.tunnel.is_some());
        let rank = |sight: &T| (outer(sight), sight.ttl());
        if rank(one) != rank(other) {
            return rank(one) > rank(other);
        }
        let (one, other) = (lanes.point(one.lane()), lanes.point(other.lane()));
        self.count(other, one) > self.count(one, other)
    }

    fn count(&self, one: PointId, other: PointId) -> u32 {
        self.before.get(&key(one, other)).copied().unwrap_or(0)
    }
}

fn key(one: PointId, other: PointId) -> u64 {
    spread(u64::from(one.0) << 16 | u64::from(other.0))
}
