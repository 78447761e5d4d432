//! Conversations: what two ends have sent to each other, by the innermost packets.
//!
//! A conversation costs about 80 bytes: its own 64, and its part of the index that finds it; one of IPv6 32 more, and one
//! that misses segments 44 more.

mod kept;
mod nests;
mod pool;

use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv6Addr};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use kept::{Kept, Rare, Segment};
use nests::{Nests, Told};
use pool::Pool;

use super::{Decoded, Dissector, Frame, Headers, Tcp, Time, Tunnel};
use crate::net::Protocol;

/// It is IPv6.
const IPV6: u8 = 2;
/// It has ports.
const PORTS: u8 = 4;

/// Two ends and a protocol. An end is an address above a port, of both the first octet the lowest: this is how they are read,
/// and any order will do. Of IPv6 the first one's address is a place in
/// [`Flows::wide`], and the other's is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct Key {
    /// The lesser end, below the protocol, below [`IPV6`] and [`PORTS`].
    lesser: u64,
    greater: u64,
}

impl Key {
    /// The conversation of a packet from one end to another, and whether it goes from the greater end to the lesser.
    #[inline]
    fn new([from, to]: [u64; 2], protocol: u8, marks: u8) -> (Self, bool) {
        let what = u64::from(marks) << 56 | u64::from(protocol) << 48;
        (Self { lesser: what | from.min(to), greater: from.max(to) }, from > to)
    }

    /// The same whose ends stand at a place of [`Flows::wide`].
    fn at(self, place: u32) -> Self {
        Self { lesser: self.without_place().lesser | u64::from(place) << 16, ..self }
    }

    fn without_place(self) -> Self {
        Self { lesser: self.lesser & !(0xffff_ffff << 16), ..self }
    }

    #[inline]
    fn addresses(self) -> [[u8; 4]; 2] {
        [self.lesser, self.greater].map(|end| ((end >> 16 & 0xffff_ffff) as u32).to_le_bytes())
    }

    /// The place of its ends, of IPv6.
    fn place(self) -> usize {
        (self.lesser >> 16 & 0xffff_ffff) as usize
    }

    #[inline]
    fn ports(self) -> Option<[u16; 2]> {
        self.has(PORTS).then_some([self.lesser, self.greater].map(|end| ((end & 0xffff) as u16).swap_bytes()))
    }

    #[inline]
    fn protocol(self) -> u8 {
        (self.lesser >> 48 & 0xff) as u8
    }

    #[inline]
    fn has(self, mark: u8) -> bool {
        self.lesser >> 56 & u64::from(mark) != 0
    }
}

/// An end of IPv4, of the octets of its address and its port.
#[inline]
fn end(address: [u8; 4], port: [u8; 2]) -> u64 {
    u64::from(u32::from_le_bytes(address)) << 16 | u64::from(u16::from_le_bytes(port))
}

/// So many packets are met before they are counted.
const AHEAD: usize = 32;

/// What counts of a packet of IPv4.
#[derive(Debug)]
struct Met {
    key: Key,
    hash: u32,
    seen: Seen,
}

/// What the index holds of a conversation: half of its hash, and its place.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    place: u32,
}

/// The index goes by the first bits of a hash, and by its last ones.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// The half of a hash that counts.
#[inline]
fn half(hash: u64) -> u32 {
    (hash & 0xffff_ffff) as u32
}

/// The place of no conversation.
const NOWHERE: u32 = u32::MAX;

/// What counts of a packet beside the conversation that it is of.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Nanoseconds since 1970; `None` where the capture has no time.
    time: Option<i64>,
    length: u32,
    segment: Segment,
    tunnels: u16,
    /// From the lesser end to the other one, or back.
    is_back: bool,
}

impl Seen {
    #[inline]
    fn new(frame: &Frame<'_>, segment: Segment, tunnels: u16, is_back: bool) -> Self {
        let time = frame.time.map(Time::since_epoch);
        Self { time, length: frame.length, segment, tunnels, is_back }
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
    /// The number of what follows: where it is the same, so are the tunnels.
    pub set: u16,
    /// The tunnels that carried it, each as its nest, outermost first; an empty one where it was not in a tunnel.
    pub tunnels: &'a [Vec<Tunnel>],
}

/// All conversations of a capture, in the order of their first packets.
#[derive(Debug)]
pub struct Flows {
    kept: Pool,
    /// What some have beside.
    rare: Vec<Rare>,
    /// The ends of those of IPv6.
    wide: Vec<[Ipv6Addr; 2]>,
    index: HashTable<Slot>,
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
            kept: Pool::default(),
            rare: Vec::new(),
            wide: Vec::new(),
            index: HashTable::new(),
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
        let (marks, [from, to]) = packet.ports().map_or((0, [0; 2]), |ports| (PORTS, ports.into()));
        let [from, to] = [from, to].map(u16::to_be_bytes);
        let tunnels = self.nests.of(decoded);
        let segment = segment(&packet);
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let ends = [end(source.octets(), from), end(destination.octets(), to)];
                let (key, is_back) = Key::new(ends, protocol.0, marks);
                self.meet(key, Seen::new(frame, segment, tunnels, is_back));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let is_back = (source, from) > (destination, to);
                let seen = Seen::new(frame, segment, tunnels, is_back);
                let [lesser, greater] = if is_back { [to, from] } else { [from, to] }.map(|port| end([0; 4], port));
                let (key, _) = Key::new([lesser; 2], protocol.0, marks | IPV6);
                let ends = if is_back { [destination, source] } else { [source, destination] };
                self.meet_wide(ends, Key { greater, ..key }, seen);
            }
            // Both stand in one header.
            _ => {}
        }
    }

    /// Decodes a packet and takes it into account, most of them by one look.
    #[expect(clippy::inline_always, reason = "what is found stays in registers, where each caller has a copy")]
    #[inline(always)]
    pub(crate) fn take(&mut self, frame: Frame<'_>, dissector: &mut Dissector) {
        let Some(glance) = dissector.glance(&frame) else {
            self.add_decoded(frame, dissector);
            return;
        };
        let ([source, destination], [from, to]) = (glance.addresses(), glance.ports());
        let marks = PORTS * u8::from(glance.has_ports());
        let (key, is_back) = Key::new([end(source, from), end(destination, to)], glance.protocol(), marks);
        let tunnels = self.nests.of_vxlan(glance.tunnel);
        let (sequence, payload, flags) = glance.segment();
        let flags = flags.into();
        self.meet(key, Seen::new(&frame, Segment { sequence, payload, flags }, tunnels, is_back));
    }

    /// Takes a packet into account of which one look does not tell enough.
    #[cold]
    fn add_decoded(&mut self, frame: Frame<'_>, dissector: &mut Dissector) {
        self.add(&frame, &dissector.decode(frame.link_type, frame.bytes, frame.length));
    }

    #[inline]
    fn meet(&mut self, key: Key, seen: Seen) {
        let hash = half(self.hasher.hash_one((key.lesser, key.greater)));
        self.met.push(Met { key, hash, seen });
        if self.met.len() >= AHEAD {
            self.settle();
        }
    }

    /// Counts what was met. The index, and what it leads to, is far away in memory for most packets: it is asked for all of
    /// them before anything waits for an answer.
    fn settle(&mut self) {
        let met = std::mem::take(&mut self.met);
        let mut places = [NOWHERE; AHEAD];
        for (place, met) in places.iter_mut().zip(&met) {
            *place = self.find(met.hash, |_| true).unwrap_or(NOWHERE);
        }
        for (place, met) in places.into_iter().zip(&met) {
            if let Some(kept) = self.kept.get_mut(place).filter(|kept| kept.key == met.key) {
                count(kept, &met.seen, &mut self.rare, &mut self.nests);
            } else {
                // It may have begun with a packet just before.
                let place = self.place(met);
                self.count(place, &met.seen);
            }
        }
        self.met = met;
        self.met.clear();
    }

    /// The place of a packet's conversation, which it may begin.
    fn place(&mut self, met: &Met) -> u32 {
        let is_it = |place| self.kept.get(place).is_some_and(|kept| kept.key == met.key);
        self.find(met.hash, is_it).unwrap_or_else(|| self.begin(met.key, &met.seen, met.hash))
    }

    /// Counts a packet of IPv6, after those that were met before.
    fn meet_wide(&mut self, ends: [Ipv6Addr; 2], key: Key, seen: Seen) {
        self.settle();
        let hash = half(self.hasher.hash_one((ends, key.lesser, key.greater)));
        let is_it = |kept: &Kept| kept.key.without_place() == key && self.wide.get(kept.key.place()) == Some(&ends);
        let place = self.find(hash, |place| self.kept.get(place).is_some_and(is_it)).unwrap_or_else(|| {
            let wide = u32::try_from(self.wide.len()).unwrap_or(u32::MAX);
            self.wide.push(ends);
            self.begin(key.at(wide), &seen, hash)
        });
        self.count(place, &seen);
    }

    fn count(&mut self, place: u32, seen: &Seen) {
        let Some(kept) = self.kept.get_mut(place) else { return };
        count(kept, seen, &mut self.rare, &mut self.nests);
    }

    /// The place of the conversation with a hash that is the one.
    #[inline]
    fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.index.find(spread(hash), |slot| slot.hash == hash && is_it(slot.place)).map(|slot| slot.place)
    }

    fn begin(&mut self, key: Key, seen: &Seen, hash: u32) -> u32 {
        // More would need 300 GB: they are counted nowhere.
        let Some((place, kept)) = self.kept.push() else { return NOWHERE };
        kept.begin(key, seen);
        self.index.insert_unique(spread(hash), Slot { hash, place }, |slot| spread(slot.hash));
        place
    }

    /// Every conversation.
    pub fn iter(&mut self) -> impl Iterator<Item = Flow<'_>> {
        self.settle();
        self.told = self.nests.told();
        self.kept.iter().map(|kept| kept.told(&self.wide, &self.rare, &self.told))
    }
}

#[inline]
fn count(kept: &mut Kept, seen: &Seen, rare: &mut Vec<Rare>, nests: &mut Nests) {
    kept.count(seen, rare);
    if kept.tunnels != seen.tunnels {
        kept.tunnels = nests.both(kept.tunnels, seen.tunnels);
    }
}

/// What counts of a packet's TCP header.
fn segment(packet: &Headers<'_>) -> Segment {
    match packet.tcp() {
        Some(Tcp { sequence, payload, flags, .. }) => Segment { sequence, payload, flags: flags & 0xff },
        None if packet.protocol() == Some(Protocol::TCP) => {
            let header = packet.transport().map(|layer| layer.header(packet.bytes())).unwrap_or_default();
            Segment::cut(header.get(13).copied().unwrap_or(0))
        }
        None => Segment::default(),
    }
}

/// A packet's ends and the protocol above IP. Nothing for ARP.
fn ends(packet: &Headers<'_>) -> Option<(IpAddr, IpAddr, Protocol)> {
    Some((packet.source()?, packet.destination()?, packet.protocol()?))
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
            set: 1,
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
    fn a_segment_without_its_header_says_nothing_of_the_numbers() {
        let numbers = [3_000_000_000, 3_000_000_010, 3_000_000_010];
        let whole = numbers.map(|sequence| segment(false, 0x1c, sequence, 10));
        for (at, most, resets) in [(0, 24, 2), (1, 24, 2), (2, 24, 2), (1, 33, 2), (1, 34, 3)] {
            let mut packets = whole.clone();
            packets[at].truncate(most);
            let mut flows = flows(&packets);
            let flow = flows.iter().next().unwrap();
            let wanted = u32::from(at == 0);
            assert_eq!((flow.packets, flow.retransmissions, flow.resets), ([3, 0], wanted, resets), "{at}, {most}");
        }
    }

    #[test]
    fn counts_go_on_beyond_what_fits_where_they_are_kept() {
        let data = 0x18;
        assert_eq!(retransmissions(&[(data, 100, 10); 701]), 700);
        let mut flows = flows(&vec![segment(true, 4, 0, 0); 300]);
        assert_eq!(flows.iter().next().unwrap().resets, 300);
        let bytes = segment(false, 4, 0, 0);
        let frame =
            Frame { number: 1, time: None, interface: 0, link_type: LinkType::RAW, length: u32::MAX, bytes: &bytes };
        let mut dissector = Dissector::new(Ports::default());
        let decoded = dissector.decode(LinkType::RAW, &bytes, 40);
        (0..7).for_each(|_| flows.add(&frame, &decoded));
        let flow = flows.iter().next().unwrap();
        assert_eq!((flow.packets, flow.bytes), ([300, 7], [300 * 40, 7 * u64::from(u32::MAX)]));
        assert_eq!(flow.resets, 307);
    }

    #[test]
    fn conversations_of_ipv6_are_told_apart() {
        // The last octets of both addresses, and the ports.
        let packets: Vec<Vec<u8>> =
            [(1, 2, 7, 9), (2, 1, 9, 7), (1, 2, 9, 7), (2, 1, 7, 9), (3, 1, 5, 5), (1, 3, 5, 5)]
                .iter()
                .map(|(from, to, source, destination)| {
                    let address = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
                    let head = [0x60, 0, 0, 0, 0, 8, 17, 64];
                    [&head[..], &address(*from), &address(*to), &[0, *source, 0, *destination, 0, 8, 0, 0]].concat()
                })
                .collect();
        let mut flows = flows(&packets);
        let told = |flow: Flow<'_>| (flow.source.to_string(), flow.source_port, flow.destination_port, flow.packets);
        let all: Vec<_> = flows.iter().map(told).collect();
        let wanted =
            |last: u8, source, destination| (format!("2001:db8::{last}"), Some(source), Some(destination), [1, 1]);
        assert_eq!(all, [wanted(1, 7, 9), wanted(1, 9, 7), wanted(3, 5, 5)]);
    }

    #[test]
    fn many_flows_are_found_again() {
        let packets: Vec<Vec<u8>> = (0..80_000_u32)
            .flat_map(|number| {
                let mut packet = segment(false, 0x10, 0, 0);
                packet[12..16].copy_from_slice(&(number / 2).to_be_bytes());
                [packet.clone(), packet]
            })
            .collect();
        let mut flows = flows(&packets);
        assert_eq!(flows.iter().count(), 40_000);
        assert!(flows.iter().all(|flow| flow.packets == [4, 0]));
        assert_eq!(std::mem::size_of::<Kept>(), 64);
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
