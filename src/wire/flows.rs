//! Conversations: what two ends have sent to each other, by the innermost packets.
//!
//! A conversation costs about 110 bytes: its own 96, and the places of the index that finds it; one of IPv6 32 more.

mod kept;
mod nests;

use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;

use kept::{Kept, Segment};
use nests::{Nests, Told};

use super::{Decoded, Frame, Glance, Headers, Tcp, Time, Tunnel};
use crate::net::Protocol;

/// A place of the index that leads nowhere.
const FREE: u64 = 0;

/// It is IPv6.
const IPV6: u8 = 2;
/// It has ports.
const PORTS: u8 = 4;

/// Two ends and a protocol. The lesser end stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    /// Addresses of IPv4; of IPv6 a place in [`Flows::wide`].
    ends: [u32; 2],
    ports: [u16; 2],
    protocol: u8,
    /// [`IPV6`] and [`PORTS`].
    marks: u8,
}

impl Key {
    /// All of it but the ends.
    #[inline]
    fn rest(self) -> u64 {
        let [one, other] = self.ports.map(u64::from);
        one << 32 | other << 16 | u64::from(self.protocol) << 8 | u64::from(self.marks)
    }

    /// All of it, for the hash.
    #[inline]
    fn words(self) -> (u64, u64) {
        let [one, other] = self.ends.map(u64::from);
        (one << 32 | other, self.rest())
    }
}

/// So many packets are met before they are counted.
const AHEAD: usize = 32;

/// What counts of a packet of IPv4.
#[derive(Debug)]
struct Met {
    key: Key,
    hash: u64,
    seen: Seen,
}

/// What counts of a packet beside the conversation that it is of.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Nanoseconds since 1970; `None` where the capture has no time.
    time: Option<i64>,
    length: u32,
    segment: Option<Segment>,
    tunnels: u16,
    /// From the lesser end to the other one, or back.
    is_back: bool,
}

impl Seen {
    #[inline]
    fn new(frame: &Frame<'_>, tcp: Option<Tcp>, tunnels: u16, is_back: bool) -> Self {
        let time = frame.time.map(Time::since_epoch);
        Self { time, length: frame.length, segment: tcp.map(Segment::new), tunnels, is_back }
    }
}

/// What two ends have sent to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow<'a> {
    /// The protocol above IP.
    pub protocol: Protocol,
    /// Who sent the first packet.
    pub source: IpAddr,
    /// Its port; `None` for what has none, and for later fragments.
    pub source_port: Option<u16>,
    /// Whom it was for.
    pub destination: IpAddr,
    /// Its port.
    pub destination_port: Option<u16>,
    /// How many packets went that way, and back.
    pub packets: [u64; 2],
    /// How many bytes, with all headers of whole frames, as they were on the wire.
    pub bytes: [u64; 2],
    /// When the earliest and the latest packet were seen, in nanoseconds since 1970; `None` where none has a time.
    pub times: Option<(i64, i64)>,
    /// Segments with RST.
    pub resets: u32,
    /// Segments that carried only what had been sent before, and filled no gap.
    pub retransmissions: u32,
    /// The tunnels that carried it, each as its nest, outermost first; an empty one where it was not in a tunnel.
    pub tunnels: &'a [Vec<Tunnel>],
}

/// All conversations of a capture, in the order of their first packets.
#[derive(Debug)]
pub struct Flows {
    kept: Vec<Kept>,
    /// The ends of those of IPv6.
    wide: Vec<[Ipv6Addr; 2]>,
    /// Places of `kept`, from 1, below the upper half of the hash, whose last bits say where to look.
    index: Vec<u64>,
    hasher: RandomState,
    nests: Nests,
    /// What the nests' numbers mean, once all packets are counted.
    told: Told,
    /// Packets that are not counted yet.
    met: Vec<Met>,
    /// Packets that are in no conversation: they have no IP header.
    pub others: u64,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            wide: Vec::new(),
            index: vec![FREE; 1024],
            hasher: RandomState::default(),
            nests: Nests::default(),
            told: Told::default(),
            met: Vec::with_capacity(AHEAD),
            others: 0,
        }
    }
}

impl Flows {
    /// Takes a packet into account.
    pub fn add(&mut self, frame: &Frame<'_>, decoded: &Decoded<'_>) {
        let packet = decoded.innermost().and_then(|packet| Some((ends(&packet)?, packet)));
        let Some(((source, destination, protocol), packet)) = packet else {
            self.others += 1;
            return;
        };
        let (marks, ports) = packet.ports().map_or((0, [0; 2]), |ports| (PORTS, ports.into()));
        let tunnels = self.nests.of(decoded);
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let ends = [source, destination].map(Ipv4Addr::to_bits);
                let (key, is_back) = key(ends, ports, protocol.0, marks);
                self.meet(key, Seen::new(frame, packet.tcp(), tunnels, is_back));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let is_back = (source, ports[0]) > (destination, ports[1]);
                let seen = Seen::new(frame, packet.tcp(), tunnels, is_back);
                let ends = if is_back { [destination, source] } else { [source, destination] };
                let ports = if is_back { [ports[1], ports[0]] } else { ports };
                self.meet_wide(ends, Key { ends: [0; 2], ports, protocol: protocol.0, marks: marks | IPV6 }, seen);
            }
            // Both stand in one header.
            _ => {}
        }
    }

    /// Takes a packet of usual headers into account.
    #[inline]
    pub(crate) fn add_usual(&mut self, frame: &Frame<'_>, glance: &Glance<'_>) {
        let (addresses, ports) = glance.ends();
        let (key, is_back) = key(addresses, ports, glance.protocol(), PORTS);
        let tunnels = self.nests.of_vxlan(glance.vni());
        self.meet(key, Seen::new(frame, glance.tcp(), tunnels, is_back));
    }

    #[inline]
    fn meet(&mut self, key: Key, seen: Seen) {
        let hash = self.hasher.hash_one(key.words());
        self.met.push(Met { key, hash, seen });
        if self.met.len() >= AHEAD {
            self.settle();
        }
    }

    /// Counts what was met. The index, and what it leads to, is far away in memory for most packets: it is asked for all of
    /// them before anything waits for an answer.
    fn settle(&mut self) {
        let met = std::mem::take(&mut self.met);
        let mask = self.index.len() - 1;
        let mut places = [0; AHEAD];
        for (place, met) in places.iter_mut().zip(&met) {
            *place = self.index.get(start(met.hash) & mask).copied().map_or(0, place_of);
        }
        let kept = places.iter().filter_map(|place| self.kept.get(*place));
        std::hint::black_box(kept.fold(0, |sum, kept| sum ^ kept.touch()));
        for met in &met {
            let place = match self.find(met.hash, |kept| kept.key == met.key) {
                Ok(place) => place,
                Err(at) => self.begin(met.key, met.seen.is_back, met.hash, at),
            };
            self.count(place, &met.seen);
        }
        self.met = met;
        self.met.clear();
    }

    /// Counts a packet of IPv6, after those that were met before.
    fn meet_wide(&mut self, ends: [Ipv6Addr; 2], key: Key, seen: Seen) {
        self.settle();
        let hash = self.hasher.hash_one((ends, key.rest()));
        let is_it = |kept: &Kept| {
            let [place, _] = kept.key.ends;
            kept.key.rest() == key.rest() && self.wide.get(place as usize) == Some(&ends)
        };
        let place = match self.find(hash, is_it) {
            Ok(place) => place,
            Err(at) => {
                let wide = u32::try_from(self.wide.len()).unwrap_or(u32::MAX);
                self.wide.push(ends);
                self.begin(Key { ends: [wide, 0], ..key }, seen.is_back, hash, at)
            }
        };
        self.count(place, &seen);
    }

    #[inline]
    fn count(&mut self, place: usize, seen: &Seen) {
        let Some(kept) = self.kept.get_mut(place) else { return };
        kept.count(seen);
        if kept.tunnels != seen.tunnels {
            kept.tunnels = self.nests.both(kept.tunnels, seen.tunnels);
        }
    }

    /// The place of the conversation with a hash that is the one; else where the index would have it.
    #[inline]
    fn find(&self, hash: u64, is_it: impl Fn(&Kept) -> bool) -> Result<usize, usize> {
        let mask = self.index.len() - 1;
        let mut at = start(hash) & mask;
        // A part of the index is free.
        while let Some(slot) = self.index.get(at).copied().filter(|slot| *slot != FREE) {
            let place = place_of(slot);
            if slot >> 32 == hash >> 32 && self.kept.get(place).is_some_and(&is_it) {
                return Ok(place);
            }
            at = (at + 1) & mask;
        }
        Err(at)
    }

    fn begin(&mut self, key: Key, is_back: bool, hash: u64, at: usize) -> usize {
        let place = self.kept.len();
        // So many conversations would need 400 GB.
        let Ok(number) = u32::try_from(place + 1) else { return usize::MAX };
        if let Some(slot) = self.index.get_mut(at) {
            *slot = slot_of(hash, number);
        }
        self.kept.push(Kept::new(key, is_back));
        // Fewer free places make for long ways.
        if self.kept.len() * 4 > self.index.len() * 3 {
            self.grow();
        }
        place
    }

    /// Makes the index twice as large, anew: beside the old one it would take half as much memory again.
    #[cold]
    fn grow(&mut self) {
        let size = self.index.len() * 2;
        self.index = Vec::new();
        let mut index = vec![FREE; size];
        for (number, kept) in (1..).zip(&self.kept) {
            let hash = self.hash(kept.key);
            let mut at = start(hash) & (size - 1);
            while index.get(at).is_some_and(|slot| *slot != FREE) {
                at = (at + 1) & (size - 1);
            }
            index.get_mut(at).into_iter().for_each(|slot| *slot = slot_of(hash, number));
        }
        self.index = index;
    }

    fn hash(&self, key: Key) -> u64 {
        let [place, _] = key.ends;
        match self.wide.get(place as usize) {
            Some(ends) if key.marks & IPV6 != 0 => self.hasher.hash_one((ends, key.rest())),
            _ => self.hasher.hash_one(key.words()),
        }
    }

    /// Every conversation.
    pub fn iter(&mut self) -> impl Iterator<Item = Flow<'_>> {
        self.settle();
        self.told = self.nests.told();
        self.kept.iter().map(|kept| kept.told(&self.wide, &self.told))
    }
}

/// A packet's ends and the protocol above IP. Nothing for ARP.
fn ends(packet: &Headers<'_>) -> Option<(IpAddr, IpAddr, Protocol)> {
    Some((packet.source()?, packet.destination()?, packet.protocol()?))
}

/// The conversation of a packet of IPv4, and whether it goes from its second end to its first.
#[inline]
fn key([from, to]: [u32; 2], [source, destination]: [u16; 2], protocol: u8, marks: u8) -> (Key, bool) {
    let is_back = (from, source) > (to, destination);
    let ends = if is_back { [to, from] } else { [from, to] };
    let ports = if is_back { [destination, source] } else { [source, destination] };
    (Key { ends, ports, protocol, marks }, is_back)
}

/// What the index holds of a conversation: its place in `kept`, from 1, below the upper half of its hash.
#[inline]
fn slot_of(hash: u64, number: u32) -> u64 {
    hash >> 32 << 32 | u64::from(number)
}

/// The place in `kept` that a place of the index leads to; beyond its end where it leads nowhere.
#[inline]
fn place_of(slot: u64) -> usize {
    usize::try_from(slot & 0xffff_ffff).unwrap_or(0).wrapping_sub(1)
}

/// Where the way through the index begins, of a hash.
#[inline]
fn start(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Dissector, LinkType, Ports, Time};

    /// An IPv4 packet of TCP: its direction, flags, sequence number and payload's size.
    fn segment(back: bool, flags: u8, sequence: u32, payload: usize) -> Vec<u8> {
        let (mut ends, mut ports) = ([[10, 0, 0, 9], [10, 0, 0, 2]], [40_000_u16, 80]);
        if back {
            ends.reverse();
            ports.reverse();
        }
        let total = u16::try_from(40 + payload).unwrap().to_be_bytes();
        let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 6, 0, 0];
        packet.extend(ends.concat());
        packet.extend(ports.map(u16::to_be_bytes).concat());
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
        packet.resize(40 + payload, 0);
        packet
    }

    fn flows(packets: &[Vec<u8>]) -> Flows {
        let mut dissector = Dissector::new(Ports::default());
        let mut flows = Flows::default();
        for (number, bytes) in (1..).zip(packets) {
            let length = u32::try_from(bytes.len()).unwrap();
            let time = Some(Time { seconds: 5, nanoseconds: u32::try_from(number).unwrap() });
            let frame = Frame { number, time, interface: 0, link_type: LinkType::RAW, length, bytes };
            flows.add(&frame, &dissector.decode(LinkType::RAW, bytes, length));
        }
        flows
    }

    fn retransmissions(segments: &[(u8, u32, usize)]) -> u32 {
        let packets: Vec<Vec<u8>> =
            segments.iter().map(|(flags, sequence, size)| segment(false, *flags, *sequence, *size)).collect();
        flows(&packets).iter().next().unwrap().retransmissions
    }

    #[test]
    fn both_directions_are_one_flow_from_who_spoke_first() {
        let packets =
            [segment(false, 2, 99, 0), segment(true, 0x12, 7, 0), segment(false, 0x18, 100, 5), segment(true, 4, 8, 0)];
        let mut flows = flows(&packets);
        let all: Vec<Flow<'_>> = flows.iter().collect();
        let wanted = Flow {
            protocol: Protocol::TCP,
            source: [10, 0, 0, 9].into(),
            source_port: Some(40_000),
            destination: [10, 0, 0, 2].into(),
            destination_port: Some(80),
            packets: [2, 2],
            bytes: [85, 80],
            times: Some((5_000_000_001, 5_000_000_004)),
            resets: 1,
            retransmissions: 0,
            tunnels: &[Vec::new()],
        };
        assert_eq!(all, [wanted]);
    }

    #[test]
    fn data_that_was_sent_before_is_a_retransmission_unless_it_fills_a_gap() {
        let data = 0x18;
        for (segments, wanted) in [
            (&[(2, 99, 0), (data, 100, 10), (data, 110, 10)][..], 0),
            (&[(2, 99, 0), (data, 100, 10), (data, 100, 10), (data, 110, 10)], 1),
            (&[(2, 99, 0), (2, 99, 0), (data, 100, 10)], 1),
            (&[(data, 100, 10), (data, 120, 10), (data, 110, 10), (data, 130, 10)], 0),
            (&[(data, 100, 10), (data, 120, 10), (data, 110, 10), (data, 110, 10)], 1),
            (&[(data, 100, 10), (0x10, 110, 0), (0x10, 109, 1), (0x10, 110, 0)], 0),
            (&[(data, u32::MAX - 4, 10), (data, 5, 10), (data, u32::MAX - 4, 10)], 1),
            (&[(data, 100, 10), (2, 5000, 0), (data, 5001, 10)], 0),
            (&[(data, 100, 10), (0x11, 110, 0), (0x11, 110, 0)], 1),
        ] {
            assert_eq!(retransmissions(segments), wanted, "{segments:?}");
        }
    }

    #[test]
    fn many_flows_are_found_again() {
        let packets: Vec<Vec<u8>> = (0..20_000_u32)
            .flat_map(|number| {
                let mut packet = segment(false, 0x10, 0, 0);
                packet[12..16].copy_from_slice(&(number / 2).to_be_bytes());
                [packet.clone(), packet]
            })
            .collect();
        let mut flows = flows(&packets);
        assert_eq!(flows.iter().count(), 10_000);
        assert!(flows.iter().all(|flow| flow.packets == [4, 0]));
        assert!(std::mem::size_of::<Kept>() <= 96, "{}", std::mem::size_of::<Kept>());
    }

    #[test]
    fn every_tunnel_of_a_flow_is_named() {
        let plain = segment(false, 0x10, 0, 0);
        let outer = |protocol: u8, header: &[u8]| {
            let total = u8::try_from(20 + header.len() + plain.len()).unwrap();
            let ip = [0x45, 0, 0, total, 0, 0, 0, 0, 64, protocol, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
            [&ip[..], header, &plain].concat()
        };
        let mut flows = flows(&[plain.clone(), outer(4, &[]), outer(47, &[0, 0, 8, 0]), outer(4, &[]), vec![0x60]]);
        let all: Vec<Flow<'_>> = flows.iter().collect();
        let tunnel = |name| vec![Tunnel { name, vni: None }];
        assert_eq!(*all[0].tunnels, [Vec::new(), tunnel("ipip"), tunnel("gre")]);
        assert_eq!((all.len(), flows.others), (1, 1));
    }
}
