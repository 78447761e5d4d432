//! The order of a packet's sights.
//!
//! Time tells, but for sights of one moment: the kernel stamps a packet that comes in once, and what hands it up (a
//! bridge, a tunnel) keeps the stamp (`net_timestamp_check` in `net/core/dev.c`), while every device that sends it on
//! stamps it anew; and captures of microseconds have the same stamp for what was stamped anew, too. Of two sights of a node
//! with the same stamp that of the larger TTL comes first; else that point which other packets between the same link
//! addresses pass first, or those between them that go the other way pass last; and else the tunnel's packet.
//!
//! Clocks of two nodes are never quite known: of sights that are close to each other, on different nodes, that of the larger
//! TTL comes first, and of the same TTL that one which does so for most packets that lead on to the same address.

use std::cmp::Ordering;
use std::hash::Hasher as _;

use super::identity::hasher;
use super::lanes::{ByHash, Hashes, LaneId, Lanes};
use super::onward::spread;
use super::recognize::bits;
use super::sight::{Lane, NodeId, PointId};

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
/// How many pairs of sides are told apart, at most.
const MOST: usize = 1 << 16;

/// Which of two points packets pass first, where their stamps tell.
#[derive(Clone, Debug, Default)]
pub struct Order {
    nodes: Vec<NodeId>,
    is_one_node: bool,
    /// Of two sides of points on one node: how many packets came to the first one first.
    before: ByHash<u32>,
    /// Of two points: that packets which come in pass the first one first.
    assumed: Hashes,
    /// Of two leads on different nodes: how many packets came to the first one first.
    across: ByHash<u32>,
}

impl Order {
    /// Nothing is known yet of points on these nodes.
    pub(super) fn new(nodes: &[NodeId]) -> Self {
        let is_one_node = nodes.windows(2).all(|pair| pair.first() == pair.last());
        Self { nodes: nodes.to_vec(), is_one_node, ..Self::default() }
    }

    /// Notes which points a packet's sights came to one after the other.
    pub(super) fn learn<T: Timed>(&mut self, sights: &[T], lanes: &Lanes) {
        let sides: Vec<Option<Side>> = sights.iter().map(|sight| Side::of(sight, lanes)).collect();
        for (place, (one, side)) in sights.iter().zip(&sides).enumerate() {
            let later = sights.iter().zip(&sides).skip(place + 1);
            for (other, other_side) in later.filter(|(other, _)| other.time() > one.time()) {
                if self.is_across(one, other, lanes) {
                    if one.ttl() == other.ttl() {
                        *self.across.entry(leads(one, other, lanes)).or_default() += 1;
                    }
                } else if let (Some(one), Some(other)) = (side, other_side) {
                    self.add(key(one.there, other.there));
                }
            }
        }
    }

    fn add(&mut self, key: u64) {
        if self.before.len() < MOST || self.before.contains_key(&key) {
            *self.before.entry(key).or_default() += 1;
        }
    }

    /// Takes it that packets that come in pass these points in this order, with one stamp.
    pub(super) fn assume(&mut self, points: &[PointId]) {
        for (place, one) in points.iter().enumerate() {
            for other in points.get(place + 1..).unwrap_or_default() {
                self.assumed.insert(key(one.0.into(), other.0.into()));
            }
        }
    }

    /// Puts a packet's sights into the order of its path.
    pub(super) fn arrange<T: Timed>(&self, sights: &mut [T], lanes: &Lanes) {
        let is_in_time = sights.is_sorted_by(|one, other| one.time() < other.time());
        if !is_in_time {
            sights.sort_by_key(Timed::time);
        }
        if is_in_time && self.is_one_node {
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
            let is_close = one.time().saturating_sub(other.time()) <= CLOSE;
            return is_close
                && match one.ttl().cmp(&other.ttl()) {
                    // No router gives TTL back.
                    Ordering::Greater => true,
                    Ordering::Less => false,
                    Ordering::Equal => self.across(one, other, lanes) > self.across(other, one, lanes),
                };
        }
        if one.time() != other.time() {
            return false;
        }
        if one.ttl() != other.ttl() {
            return one.ttl() > other.ttl();
        }
        if let (Some(one), Some(other)) = (Side::of(one, lanes), Side::of(other, lanes)) {
            let alike = self.compare(one.there, other.there);
            let told = alike.then_with(|| self.compare(other.back, one.back));
            if told != Ordering::Equal {
                return told == Ordering::Greater;
            }
        }
        let is_outer = |sight: &T| lanes.get(sight.lane()).is_some_and(|lane| lane.tunnel.is_some());
        if is_outer(one) != is_outer(other) {
            return is_outer(one);
        }
        let (one, other) = (lanes.point(one.lane()), lanes.point(other.lane()));
        self.assumed.contains(&key(one.0.into(), other.0.into()))
    }

    /// Whether more packets come to the first of two sides first, or to the second.
    fn compare(&self, one: u64, other: u64) -> Ordering {
        self.count(one, other).cmp(&self.count(other, one))
    }

    fn is_across<T: Timed>(&self, one: &T, other: &T, lanes: &Lanes) -> bool {
        let node = |sight: &T| self.nodes.get(lanes.point(sight.lane()).index());
        node(one) != node(other)
    }

    fn across<T: Timed>(&self, one: &T, other: &T, lanes: &Lanes) -> u32 {
        self.across.get(&leads(one, other, lanes)).copied().unwrap_or(0)
    }

    fn count(&self, one: u64, other: u64) -> u32 {
        self.before.get(&key(one, other)).copied().unwrap_or(0)
    }
}

/// The side from which packets come to a point: the point with the link addresses of their frames, or with their own
/// addresses where a capture has none of frames.
struct Side {
    there: u64,
    /// That of packets which go the other way.
    back: u64,
}

impl Side {
    fn of<T: Timed>(sight: &T, lanes: &Lanes) -> Option<Self> {
        let lane = lanes.get(sight.lane())?;
        let (from, to) = ends(lane);
        let side = |from: u128, to: u128| {
            let mut hash = hasher();
            hash.write_u16(lane.point.0);
            hash.write_u128(from);
            hash.write_u128(to);
            hash.finish()
        };
        Some(Self { there: side(from, to), back: side(to, from) })
    }
}

fn ends(lane: &Lane) -> (u128, u128) {
    let Some(link) = lane.link else { return (bits(lane.trailing()), bits(lane.leading())) };
    let octets = |octets: [u8; 6]| octets.iter().fold(0, |word, octet| word << 8 | u128::from(*octet));
    (octets(link.source.0), octets(link.destination.0))
}

/// A key of two words, the first one of which comes first.
fn key(one: u64, other: u64) -> u64 {
    spread(one ^ spread(other).rotate_left(32))
}

fn leads<T: Timed>(one: &T, other: &T, lanes: &Lanes) -> u64 {
    spread(u64::from(lanes.lead(one.lane()).0) << 32 | u64::from(lanes.lead(other.lane()).0))
}
