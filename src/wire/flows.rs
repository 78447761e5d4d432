//! Conversations: what two ends have sent to each other, by the innermost packets.
//!
//! A conversation costs about 140 bytes: its own 120, and the places of the index that finds it.

mod kept;
mod nests;

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use kept::Kept;
use nests::Nests;

use super::{Decoded, Frame, Headers, Tcp, Time, Tunnel};
use crate::net::Protocol;

/// A place of the index that leads nowhere.
const FREE: u64 = 0;

/// It is IPv6.
const IPV6: u8 = 2;
/// It has ports.
const PORTS: u8 = 4;

/// An address: its upper and its lower half. Of IPv4 there is an upper half only.
type Address = [u64; 2];

/// Two ends and a protocol. The lesser end stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    ends: [Address; 2],
    ports: [u16; 2],
    protocol: u8,
    /// [`IPV6`] and [`PORTS`].
    marks: u8,
}

impl Hash for Key {
    /// Nearly all are of IPv4, whose addresses fit into one word.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [[from, from_low], [to, to_low]] = self.ends;
        let [from_port, to_port] = self.ports;
        if self.marks & IPV6 == 0 {
            state.write_u64(from << 32 | to);
        } else {
            for half in [from, from_low, to, to_low] {
                state.write_u64(half);
            }
        }
        let rest = u32::from(from_port) << 16 | u32::from(to_port);
        state.write_u64(u64::from(rest) << 16 | u64::from(self.protocol) << 8 | u64::from(self.marks));
    }
}

/// So many packets are met before they are counted.
const AHEAD: usize = 32;

/// What counts of a packet.
#[derive(Debug)]
struct Met {
    key: Key,
    hash: u64,
    direction: usize,
    tunnels: u16,
    tcp: Option<Tcp>,
    length: u32,
    time: Option<Time>,
}

/// What two ends have sent to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
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
    pub tunnels: Arc<[Vec<Tunnel>]>,
}

/// All conversations of a capture, in the order of their first packets.
#[derive(Debug)]
pub struct Flows {
    kept: Vec<Kept>,
    /// Places of `kept`, from 1, below the upper half of the hash, whose last bits say where to look.
    index: Vec<u64>,
    hasher: RandomState,
    nests: Nests,
    /// Packets that are not counted yet.
    met: Vec<Met>,
    /// Packets that are in no conversation: they have no IP header.
    pub others: u64,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            index: vec![FREE; 1024],
            hasher: RandomState::default(),
            nests: Nests::default(),
            met: Vec::with_capacity(AHEAD),
            others: 0,
        }
    }
}

impl Flows {
    /// Takes a packet into account.
    pub fn add(&mut self, frame: &Frame<'_>, decoded: &Decoded<'_>) {
        let Some((key, direction, packet)) = decoded.innermost().and_then(|packet| key(&packet)) else {
            self.others += 1;
            return;
        };
        let hash = self.hasher.hash_one(key);
        let tunnels = self.nests.of(decoded);
        self.met.push(Met { key, hash, direction, tunnels, tcp: packet.tcp(), length: frame.length, time: frame.time });
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
            let slot = self.index.get(start(met.hash) & mask);
            *place = slot.map_or(0, |slot| usize::try_from(slot & 0xffff_ffff).unwrap_or(0));
        }
        let kept = places.iter().filter_map(|place| self.kept.get(place.wrapping_sub(1)));
        std::hint::black_box(kept.fold(0, |sum, kept| sum ^ kept.touch()));
        for met in &met {
            self.count(met);
        }
        self.met = met;
        self.met.clear();
    }

    fn count(&mut self, met: &Met) {
        let place = self.find(met.key, met.direction, met.hash);
        let Some(kept) = self.kept.get_mut(place) else { return };
        kept.count(met.length, met.time, met.direction);
        if let Some(tcp) = &met.tcp {
            kept.segment(tcp, met.direction);
        }
        if kept.tunnels != met.tunnels {
            kept.tunnels = self.nests.both(kept.tunnels, met.tunnels);
        }
    }

    /// The place of the conversation of a key, begun where it is a new one.
    fn find(&mut self, key: Key, direction: usize, hash: u64) -> usize {
        let mask = self.index.len() - 1;
        let mut at = start(hash) & mask;
        // A part of the index is free.
        while let Some(slot) = self.index.get(at).copied().filter(|slot| *slot != FREE) {
            let place = usize::try_from(slot & 0xffff_ffff).unwrap_or(0) - 1;
            if slot >> 32 == hash >> 32 && self.kept.get(place).is_some_and(|kept| kept.key == key) {
                return place;
            }
            at = (at + 1) & mask;
        }
        self.begin(key, direction, hash, at)
    }

    fn begin(&mut self, key: Key, direction: usize, hash: u64, at: usize) -> usize {
        let place = self.kept.len();
        // So many conversations would need 500 GB.
        let Ok(number) = u32::try_from(place + 1) else { return usize::MAX };
        if let Some(slot) = self.index.get_mut(at) {
            *slot = slot_of(hash, number);
        }
        self.kept.push(Kept::new(key, direction));
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
            let hash = self.hasher.hash_one(kept.key);
            let mut at = start(hash) & (size - 1);
            while index.get(at).is_some_and(|slot| *slot != FREE) {
                at = (at + 1) & (size - 1);
            }
            index.get_mut(at).into_iter().for_each(|slot| *slot = slot_of(hash, number));
        }
        self.index = index;
    }

    /// Every conversation.
    pub fn iter(&mut self) -> impl Iterator<Item = Flow> + '_ {
        self.settle();
        let tunnels = self.nests.told();
        self.kept.iter().map(move |kept| kept.told(&tunnels))
    }
}

/// A packet's conversation, and in which of its directions it goes. Nothing for ARP.
fn key<'a>(packet: &Headers<'a>) -> Option<(Key, usize, Headers<'a>)> {
    let protocol = packet.protocol()?.0;
    let (source, destination) = (packet.source()?, packet.destination()?);
    let ports = packet.ports();
    let marks = if source.is_ipv6() { IPV6 } else { 0 } | if ports.is_some() { PORTS } else { 0 };
    let (source_port, destination_port) = ports.unwrap_or_default();
    let (from, to) = (halves(source), halves(destination));
    let direction = usize::from((from, source_port) > (to, destination_port));
    let (ends, ports) = match direction {
        0 => ([from, to], [source_port, destination_port]),
        _ => ([to, from], [destination_port, source_port]),
    };
    Some((Key { ends, ports, protocol, marks }, direction, *packet))
}

/// What the index holds of a conversation: its place in `kept`, from 1, below the upper half of its hash.
fn slot_of(hash: u64, number: u32) -> u64 {
    hash >> 32 << 32 | u64::from(number)
}

/// Where the way through the index begins, of a hash.
fn start(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0)
}

fn halves(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => [address.to_bits().into(), 0],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [bits >> 64, bits & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(0))
        }
    }
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
        let all: Vec<Flow> = flows.iter().collect();
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
            tunnels: [Vec::new()].into(),
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
        assert!(std::mem::size_of::<Kept>() <= 120, "{}", std::mem::size_of::<Kept>());
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
        let all: Vec<Flow> = flows.iter().collect();
        let tunnel = |name| vec![Tunnel { name, vni: None }];
        assert_eq!(*all[0].tunnels, [Vec::new(), tunnel("ipip"), tunnel("gre")]);
        assert_eq!((all.len(), flows.others), (1, 1));
    }
}
