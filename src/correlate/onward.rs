//! Where packets go on from a capture point, learned from those that did.
//!
//! That others went on proves something only for packets that have to go the same way: those to the same address, as long as
//! it is not rewritten, those to the same end of a tunnel, as long as they are in it, and those to the same port of a service
//! where its address is rewritten. Others that come by the same point may be for elsewhere: what comes out of a tunnel, for
//! any pod, and what goes to a node, for the node itself or for any pod, captured or not.

use super::lanes::{ByHash, Hashes, LaneId, Lanes, Lead, Shared};
use super::sight::PointId;

/// How many capture points one lead goes on to, at most, that are told apart.
const MOST: usize = 8;
/// How much rarer than the usual way one must be that leaves a capture point out, to count as a packet that the capture
/// missed there.
const RARE: u32 = 4;

/// The point that most packets went to, if more than half of them did (Boyer and Moore's vote), or else one of them.
#[derive(Clone, Copy, Debug)]
struct Usual {
    point: PointId,
    lead: u32,
}

impl Usual {
    fn add(&mut self, point: PointId) {
        if self.point == point {
            self.lead = self.lead.saturating_add(1);
        } else if self.lead == 0 {
            *self = Self { point, lead: 1 };
        } else {
            self.lead -= 1;
        }
    }
}

/// The ways onward.
#[derive(Clone, Debug, Default)]
pub struct Onward {
    /// By lead: the points that came next, with how many packets.
    next: Vec<Vec<(PointId, u32)>>,
    /// Between two points: how many packets went.
    between: ByHash<u32>,
    /// By what packets have in common that have to go the same way: where they went.
    proofs: ByHash<Usual>,
    /// Services of which flows were answered that were not seen further on: some of their endpoints are not captured.
    uncaptured: Hashes,
    /// Between two lanes: the smallest delay seen in nanoseconds.
    delay: ByHash<i64>,
}

impl Onward {
    /// A packet went on from lane to lane.
    pub(super) fn went(&mut self, from: LaneId, to: LaneId, lanes: &Lanes) {
        let (Some(one), Some(other)) = (lanes.get(from), lanes.get(to)) else { return };
        self.count(lanes.lead(from), one.point, other.point);
        let is_in_it = one.tunnel.zip(other.tunnel).is_some_and(|(one, other)| one.destination == other.destination);
        let address = if one.destination == other.destination { Shared::Address } else { Shared::Service };
        for shared in [Some(address), is_in_it.then_some(Shared::Tunnel)].into_iter().flatten() {
            let proof = self.proofs.entry(shared.key(one)).or_insert(Usual { point: other.point, lead: 0 });
            proof.add(other.point);
        }
    }

    /// A packet of a lane ended there, and was answered.
    pub(super) fn ended(&mut self, at: LaneId, lanes: &Lanes) {
        self.uncaptured.extend(lanes.get(at).map(|lane| Shared::Service.key(lane)));
    }

    fn count(&mut self, from: Lead, at: PointId, to: PointId) {
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

    /// Where packets of a lane have to go on to, by those that did; `None` where nobody knows.
    #[must_use]
    pub fn next(&self, from: LaneId, lanes: &Lanes) -> Option<PointId> {
        let lane = lanes.get(from)?;
        let service = Shared::Service.key(lane);
        let is_open = self.uncaptured.contains(&service) && !lanes.has_gone_on(from);
        let service = Some(service).filter(|_| !is_open);
        let keys = [service, Some(Shared::Address.key(lane)), Some(Shared::Tunnel.key(lane))];
        keys.into_iter().flatten().find_map(|key| self.proofs.get(&key)).map(|usual| usual.point)
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
