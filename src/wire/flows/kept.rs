//! A conversation as it is kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nests::{NO_SET, Told};
use super::{Flow, IPV6, Key, PORTS, Seen};
use crate::net::Protocol;
use crate::wire::Tcp;

const RESET: u8 = 0x04;
const SYN: u8 = 0x02;
const FIN: u8 = 0x01;

/// The flow's first packet went from its second end to its first.
const BACKWARDS: u8 = 1;
/// A time is known.
const TIMED: u8 = 8;
/// A direction's next sequence number is known: this, or this shifted by one.
const SEQUENCE: u8 = 16;

/// What counts of a TCP header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    sequence: u32,
    payload: u32,
    /// The flags' last eight bits.
    flags: u8,
}

impl Segment {
    #[inline]
    pub(super) fn new(tcp: Tcp) -> Self {
        let [_, flags] = tcp.flags.to_be_bytes();
        Self { sequence: tcp.sequence, payload: tcp.payload, flags }
    }
}

/// A conversation as it is kept: the numbers of both directions, that from the lesser end first.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    packets: [u64; 2],
    bytes: [u64; 2],
    /// Nanoseconds since 1970.
    first: i64,
    last: i64,
    /// The sequence number that is expected next.
    next: [u32; 2],
    /// The latest gap before it: where it begins, and how long it is.
    gap: [u32; 2],
    missing: [u16; 2],
    resets: u32,
    retransmissions: u32,
    pub(super) key: Key,
    /// The set of tunnels that carry it.
    pub(super) tunnels: u16,
    state: u8,
}

impl Kept {
    pub(super) fn new(key: Key, is_back: bool) -> Self {
        Self {
            packets: [0; 2],
            bytes: [0; 2],
            first: 0,
            last: 0,
            next: [0; 2],
            gap: [0; 2],
            missing: [0; 2],
            resets: 0,
            retransmissions: 0,
            key,
            tunnels: NO_SET,
            state: if is_back { BACKWARDS } else { 0 },
        }
    }

    /// Reads of it where it begins and where it ends.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        let [first, _] = self.packets;
        first ^ u64::from(self.key.protocol)
    }

    /// Counts a packet of it.
    #[inline]
    pub(super) fn count(&mut self, seen: &Seen) {
        let direction = usize::from(seen.is_back);
        if let (Some(packets), Some(bytes)) = (self.packets.get_mut(direction), self.bytes.get_mut(direction)) {
            *packets += 1;
            *bytes += u64::from(seen.length);
        }
        if let Some(time) = seen.time {
            if self.state & TIMED == 0 {
                (self.first, self.last) = (time, time);
                self.state |= TIMED;
            }
            self.first = self.first.min(time);
            self.last = self.last.max(time);
        }
        if let Some(segment) = &seen.segment {
            self.segment(segment, direction);
        }
    }

    /// Follows the sequence numbers of a direction.
    #[inline]
    fn segment(&mut self, tcp: &Segment, direction: usize) {
        self.resets = self.resets.saturating_add(u32::from(tcp.flags & RESET != 0));
        // SYN and FIN take a number each.
        let marks = u32::from(tcp.flags & SYN != 0) + u32::from(tcp.flags & FIN != 0);
        let size = tcp.payload.wrapping_add(marks);
        let end = tcp.sequence.wrapping_add(size);
        let known = SEQUENCE << direction;
        // A new connection between the same ports begins anew.
        if self.state & known == 0 || tcp.flags & SYN != 0 && self.next(direction) != end {
            self.state |= known;
            self.expect(direction, end);
            self.miss(direction, 0, 0);
            return;
        }
        let ahead = tcp.sequence.wrapping_sub(self.next(direction)).cast_signed();
        // An acknowledgement, or a probe of an idle connection.
        if size == 0 || ahead == -1 && size == 1 && marks == 0 {
            return;
        }
        match u16::try_from(ahead) {
            Ok(missing @ 1..) => self.miss(direction, self.next(direction), missing),
            _ if ahead < 0 => self.again(direction, tcp.sequence, size),
            _ => {}
        }
        if end.wrapping_sub(self.next(direction)).cast_signed() > 0 {
            self.expect(direction, end);
        }
    }

    /// A segment begins before what is expected: it comes late, or it came before.
    fn again(&mut self, direction: usize, sequence: u32, size: u32) {
        let gap = self.gap.get(direction).copied().unwrap_or(0);
        let missing = self.missing.get(direction).copied().map_or(0, u32::from);
        let into = sequence.wrapping_sub(gap);
        if into < missing {
            let left = missing.saturating_sub(into.saturating_add(size));
            self.miss(direction, sequence.wrapping_add(size), u16::try_from(left).unwrap_or(0));
        } else {
            self.retransmissions = self.retransmissions.saturating_add(1);
        }
    }

    fn next(&self, direction: usize) -> u32 {
        self.next.get(direction).copied().unwrap_or(0)
    }

    fn expect(&mut self, direction: usize, next: u32) {
        self.next.get_mut(direction).into_iter().for_each(|place| *place = next);
    }

    fn miss(&mut self, direction: usize, from: u32, size: u16) {
        if let (Some(gap), Some(missing)) = (self.gap.get_mut(direction), self.missing.get_mut(direction)) {
            (*gap, *missing) = (from, size);
        }
    }

    /// `wide` has the ends of those of IPv6, `tunnels` the tunnels of each set.
    #[inline]
    pub(super) fn told<'a>(&self, wide: &[[Ipv6Addr; 2]], tunnels: &'a Told) -> Flow<'a> {
        let mut ends = self.ends(wide);
        let mut ports = self.key.ports.map(|port| (self.key.marks & PORTS != 0).then_some(port));
        let (mut packets, mut bytes) = (self.packets, self.bytes);
        if self.state & BACKWARDS != 0 {
            ends.reverse();
            ports.reverse();
            packets.reverse();
            bytes.reverse();
        }
        let ([source, destination], [source_port, destination_port]) = (ends, ports);
        Flow {
            protocol: Protocol(self.key.protocol),
            source,
            source_port,
            destination,
            destination_port,
            packets,
            bytes,
            times: (self.state & TIMED != 0).then_some((self.first, self.last)),
            resets: self.resets,
            retransmissions: self.retransmissions,
            tunnels: tunnels.of(self.tunnels),
        }
    }

    #[inline]
    fn ends(&self, wide: &[[Ipv6Addr; 2]]) -> [IpAddr; 2] {
        let [place, _] = self.key.ends;
        match wide.get(place as usize) {
            Some(ends) if self.key.marks & IPV6 != 0 => ends.map(IpAddr::V6),
            _ => self.key.ends.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        }
    }
}
