//! The lanes of all packets, each kept once.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

use crate::net::{Link, MacAddr, Protocol};
use crate::trace::Way;

use super::identity;
use super::order::Timed;
use super::recognize::bits;
use super::sight::{Lane, PointId};

/// A lane: its place in [`Lanes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(u32);

impl LaneId {
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

/// A conversation's direction as it was first seen: its place in the list of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u32);

/// Where packets of several lanes go on in the same way: at one point, to one leading address and one link address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lead(pub u32);

/// What packets at a point have in common that have to go the same way from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shared {
    /// The address that they are for.
    Address,
    /// The end of the tunnel that they are in.
    Tunnel,
    /// The service that they are for: address, protocol and port.
    Service,
}

impl Shared {
    /// What stands for what a lane has in common with others.
    pub(super) fn key(self, lane: &Lane) -> u64 {
        let port = lane.ports.map_or(0, |(_, port)| port);
        let place = way_bits(lane) << 56 | u64::from(lane.point.0) << 32 | u64::from(lane.device);
        let hash = fold(fold(0, place), lane.link.map_or(0, |link| octets(link.destination)));
        let to = |address: IpAddr| addresses(hash, address, address);
        match self {
            Self::Address => fold(to(lane.destination), 0),
            Self::Tunnel => fold(to(lane.leading()), 1 << 32),
            Self::Service => fold(to(lane.destination), 1 << 33 | u64::from(lane.protocol.0) << 16 | u64::from(port)),
        }
    }
}

/// Keys that are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let word = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.write_u64(word);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// A map whose keys are hashes.
pub(super) type ByHash<T> = HashMap<u64, T, BuildHasherDefault<Hashed>>;

/// A set of hashes.
pub(super) type Hashes = HashSet<u64, BuildHasherDefault<Hashed>>;

/// A lane with what is looked up by it for every packet.
#[derive(Clone, Debug)]
struct Row {
    lane: Lane,
    lead: Lead,
    /// Its conversation's direction.
    hash: u64,
    flow: Option<FlowId>,
    /// Whether a packet was seen at another point afterwards.
    has_gone_on: bool,
    /// The lane of the same direction that was met before it.
    before: Option<LaneId>,
}

/// So many lanes of a direction are looked at.
const MOST_LANES: usize = 64;

/// All lanes.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    rows: Vec<Row>,
    by_hash: ByHash<LaneId>,
    leads: ByHash<Lead>,
    /// Which conversations' directions each point has seen.
    directions: Hashes,
    /// Of a conversation's direction, but TCP's: the lane that was met last.
    latest: ByHash<LaneId>,
    /// In which ways such directions pass devices.
    ways: Hashes,
    /// Those of which a packet was seen at another point afterwards, whatever else changed between its lanes.
    gone_on: Hashes,
    /// From which link address to which one each point has seen frames.
    links: Hashes,
}

impl Lanes {
    /// The place of a lane, which is a new one where it has not been seen.
    pub fn intern(&mut self, lane: &Lane) -> LaneId {
        let mut key = hash(lane);
        // Two lanes of the same hash stand one behind the other.
        while let Some(id) = self.by_hash.get(&key) {
            if self.get(*id) == Some(lane) {
                return *id;
            }
            key = key.wrapping_add(1);
        }
        self.note(lane);
        let id = LaneId(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
        let next = Lead(u32::try_from(self.leads.len()).unwrap_or(u32::MAX));
        let lead = *self.leads.entry(lead_hash(lane)).or_insert(next);
        let hash = flow_hash(lane);
        let mut before = None;
        if lane.protocol != Protocol::TCP {
            before = self.latest.insert(hash, id);
            self.ways.extend(ways(lane).into_iter().flatten().map(|way| fold(hash, way)));
        }
        self.rows.push(Row { lane: *lane, lead, hash, flow: None, has_gone_on: false, before });
        self.directions.insert(direction(lane.point, hash));
        self.by_hash.insert(key, id);
        id
    }

    /// The lane at a place; `None` for a place of other lanes.
    #[must_use]
    pub fn get(&self, id: LaneId) -> Option<&Lane> {
        self.rows.get(id.0 as usize).map(|row| &row.lane)
    }

    /// Its capture point.
    #[must_use]
    pub fn point(&self, id: LaneId) -> PointId {
        self.get(id).map_or(PointId(u16::MAX), |lane| lane.point)
    }

    /// With which other lanes it shares its way onward.
    #[must_use]
    pub fn lead(&self, id: LaneId) -> Lead {
        self.rows.get(id.0 as usize).map_or(Lead(u32::MAX), |row| row.lead)
    }

    /// The flow whose first lane it is, if any packet was first seen there.
    #[must_use]
    pub fn flow(&self, id: LaneId) -> Option<FlowId> {
        self.rows.get(id.0 as usize).and_then(|row| row.flow)
    }

    /// Notes whose frames a point sees.
    pub(super) fn note(&mut self, lane: &Lane) {
        self.links.extend(lane.link.map(|link| between(lane.point, link)));
    }

    /// Whether the second of two sights of a packet is not behind the first one, though it was stamped later: no router gives
    /// TTL back, so that the clocks are wrong; or the second point is beside the way of the frame that both have seen, and
    /// frames that come back from where it went pass the first point, and not the second one. A bridge that does not know yet
    /// behind which port an address is has sent it out by all of them.
    pub(super) fn is_beside<T: Timed>(&self, one: &T, other: &T) -> bool {
        if other.ttl() > one.ttl() {
            return true;
        }
        let (Some(one), Some(other)) = (self.get(one.lane()), self.get(other.lane())) else { return false };
        // What was rewritten is another frame: where a bridge's netfilter does so, answers pass it between other link addresses.
        let is_same = *other == Lane { point: other.point, device: other.device, way: other.way, ..*one };
        let Some(link) = one.link.filter(|_| is_same) else { return false };
        let back = Link { source: link.destination, destination: link.source };
        self.links.contains(&between(one.point, back)) && !self.links.contains(&between(other.point, back))
    }

    /// Whether a packet of a lane's flow was seen at another point afterwards.
    pub(super) fn has_gone_on(&self, id: LaneId) -> bool {
        let row = self.rows.get(id.0 as usize);
        row.is_some_and(|row| self.gone_on.contains(&direction(row.lane.point, row.hash)))
    }

    /// A packet of a lane was seen at another point afterwards.
    pub(super) fn goes_on(&mut self, id: LaneId) {
        let Some(row) = self.rows.get_mut(id.0 as usize) else { return };
        if !std::mem::replace(&mut row.has_gone_on, true) {
            self.gone_on.insert(direction(row.lane.point, row.hash));
        }
    }

    /// Whether packets with the ends of two lanes pass some device in the same way: between the same tunnel's ends, and to or
    /// from the same link address. Then they are two conversations: what is rewritten at a device that it comes to and leaves
    /// by has other link addresses in and out. Of TCP, whose packets have numbers, nothing is known.
    pub(super) fn are_abreast(&self, one: LaneId, other: LaneId) -> bool {
        let row = |id: LaneId| self.rows.get(id.0 as usize);
        let Some(hash) = row(other).map(|row| row.hash) else { return false };
        let first = row(one).and_then(|row| self.latest.get(&row.hash)).and_then(|id| row(*id));
        let mut rows = std::iter::successors(first, |known| known.before.and_then(row)).take(MOST_LANES);
        rows.any(|known| ways(&known.lane).into_iter().flatten().any(|way| self.ways.contains(&fold(hash, way))))
    }

    /// Whether a lane's packets may end at its point for all that is known: none of them was seen further on, while
    /// answers to them came by. Others that lead on to the same address may be on another way, to another endpoint of a
    /// service.
    #[must_use]
    pub fn may_end(&self, id: LaneId) -> bool {
        let Some(lane) = self.get(id) else { return false };
        let ports = lane.ports.map(|(from, to)| (to, from));
        let back = Lane { source: lane.destination, destination: lane.source, ports, ..*lane };
        let is_answered = self.directions.contains(&direction(lane.point, flow_hash(&back)));
        is_answered && !self.has_gone_on(id)
    }

    pub(super) fn set_flow(&mut self, id: LaneId, flow: FlowId) {
        if let Some(row) = self.rows.get_mut(id.0 as usize) {
            row.flow = Some(flow);
        }
    }
}

/// In which ways a lane's packets pass their device: to a link address, and from one. A frame that is for whom it is from
/// goes back to where it came from, and says nothing.
fn ways(lane: &Lane) -> [Option<u64>; 2] {
    let Some(link) = lane.link.filter(|link| link.source != link.destination) else { return [None; 2] };
    let way = |role: u8, mac: MacAddr| {
        let mut hash = identity::hasher();
        hash.write_u64(
            way_bits(lane) << 56 | u64::from(role) << 48 | u64::from(lane.point.0) << 32 | u64::from(lane.device),
        );
        hash.write(&mac.0);
        if let Some(outer) = lane.tunnel {
            hash.write_u128(bits(outer.source));
            hash.write_u128(bits(outer.destination));
        }
        hash.finish()
    };
    [Some(way(0, link.destination)), Some(way(1, link.source))]
}

/// Frames from one link address to another one at a point.
fn between(point: PointId, link: Link) -> u64 {
    fold(fold(point.0.into(), octets(link.source)), octets(link.destination))
}

/// A direction of a conversation at a point.
fn direction(point: PointId, flow: u64) -> u64 {
    fold(flow, point.0.into())
}

/// A lane is looked up for every packet, so that its hash costs a multiplication for each of few words.
fn hash(lane: &Lane) -> u64 {
    let place = u64::from(lane.point.0) << 40 | u64::from(lane.protocol.0) << 32 | u64::from(lane.device);
    let place = way_bits(lane) << 56 | place;
    let (source, destination) = lane.ports.unwrap_or_default();
    let mut hash = fold(0, place);
    hash = fold(addresses(hash, lane.source, lane.destination), u64::from(source) << 16 | u64::from(destination));
    if let Some(link) = lane.link {
        hash = fold(fold(hash, octets(link.source)), octets(link.destination));
    }
    if let Some(outer) = lane.tunnel {
        hash = fold(addresses(hash, outer.source, outer.destination), outer.vni.map_or(u64::MAX, u64::from));
        hash = fold(hash, outer.name.len() as u64);
    }
    hash
}

fn way_bits(lane: &Lane) -> u64 {
    match lane.way {
        None => 0,
        Some(Way::In) => 1,
        Some(Way::Out) => 2,
    }
}

/// Mixes a word into a hash: the halves of their product, one over the other.
fn fold(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * u128::from(word ^ 0xd1b5_4a32_d192_ed03);
    let [low, high] = [product, product >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
    low ^ high
}

fn addresses(hash: u64, source: IpAddr, destination: IpAddr) -> u64 {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
        let halves = |address| {
            let bits = bits(address);
            [bits >> 64, bits].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0))
        };
        return halves(source).into_iter().chain(halves(destination)).fold(hash, fold);
    };
    fold(hash, u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits()))
}

fn octets(mac: MacAddr) -> u64 {
    mac.0.iter().fold(0, |word, octet| word << 8 | u64::from(*octet))
}

fn lead_hash(lane: &Lane) -> u64 {
    let mut hash = identity::hasher();
    hash.write_u64(way_bits(lane) << 56 | u64::from(lane.point.0) << 32 | u64::from(lane.device));
    hash.write_u128(bits(lane.leading()));
    hash.write_u8(u8::from(lane.tunnel.is_some()));
    if let Some(link) = lane.link {
        hash.write(&link.destination.0);
    }
    hash.finish()
}

/// What a flow is called by: its addresses, ports and protocol as they were first seen.
#[must_use]
pub(super) fn flow_hash(lane: &Lane) -> u64 {
    let mut hash = identity::hasher();
    let Protocol(protocol) = lane.protocol;
    let (source, destination) = lane.ports.unwrap_or_default();
    hash.write_u64(u64::from(protocol) << 32 | u64::from(source) << 16 | u64::from(destination));
    hash.write_u128(bits(lane.source));
    hash.write_u128(bits(lane.destination));
    hash.finish()
}
