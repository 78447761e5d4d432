//! A conversation as it is kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::nests::Told;
use super::{Flow, IPV6, Key, Seen};
use crate::net::Protocol;

const RESET: u16 = 0x04;
const SYN: u16 = 0x02;
const FIN: u16 = 0x01;
/// No flag of TCP: the segment's numbers are not known.
const CUT: u16 = 0x100;

/// The flow's first packet went from its second end to its first.
const BACKWARDS: u8 = 1;
/// A direction's next sequence number is known: this, or this shifted by one.
const SEQUENCE: u8 = 16;

/// What counts of a TCP header; all of it is 0 where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    pub(super) sequence: u32,
    pub(super) payload: u32,
    /// The flags' last eight bits, and [`CUT`].
    pub(super) flags: u16,
}

impl Segment {
    /// One of which too little was captured to know its numbers; of its flags that may be known.
    pub(super) fn cut(flags: u8) -> Self {
        Self { sequence: 0, payload: 0, flags: CUT | u16::from(flags) & RESET }
    }

    /// How many numbers SYN and FIN take, each one.
    #[inline]
    fn marks(self) -> u32 {
        u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0)
    }

    /// How many numbers it takes.
    #[inline]
    fn size(self) -> u32 {
        self.payload.wrapping_add(self.marks())
    }

    /// The number behind its own.
    #[inline]
    fn end(self) -> u32 {
        self.sequence.wrapping_add(self.size())
    }
}

/// A conversation as it is kept: the numbers of both directions, that from the lesser end first. It is one line of the
/// processor's cache; what few conversations need is kept apart.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Kept {
    /// Nanoseconds since 1970; the first is behind the last where no time is known.
    first: i64,
    last: i64,
    packets: [u32; 2],
    bytes: [u32; 2],
    /// The sequence number that is expected next.
    next: [u32; 2],
    pub(super) key: Key,
    /// The place of its [`Rare`], from 1; 0 where it has none.
    rare: u32,
    /// The set of tunnels that carry it.
    pub(super) tunnels: u16,
    retransmissions: u8,
    state: u8,
}

/// What few conversations have beside: counts that have become too large for [`Kept`], and gaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Rare {
    /// The upper halves.
    packets: [u32; 2],
    bytes: [u32; 2],
    /// These come on top.
    retransmissions: u32,
    resets: u32,
    /// The latest gap before the sequence number that is expected next: where it begins, and how long it is.
    gap: [u32; 2],
    missing: [u16; 2],
}

impl Kept {
    /// Begins with its first packet, which is not counted yet.
    #[inline]
    pub(super) fn begin(&mut self, key: Key, seen: &Seen) {
        self.key = key;
        (self.first, self.last) = (i64::MAX, i64::MIN);
        self.tunnels = seen.tunnels;
        self.state = if seen.is_back { BACKWARDS } else { 0 };
    }

    /// Counts a packet of it, in nearly every case without a choice that the processor would have to guess.
    #[expect(clippy::inline_always, reason = "nothing is saved and fetched again around it")]
    #[inline(always)]
    pub(super) fn count(&mut self, seen: &Seen, rare: &mut Vec<Rare>) {
        let direction = usize::from(seen.is_back);
        if let (Some(packets), Some(bytes)) = (self.packets.get_mut(direction), self.bytes.get_mut(direction)) {
            let (more_packets, is_over) = packets.overflowing_add(1);
            let (more_bytes, are_over) = bytes.overflowing_add(seen.length);
            (*packets, *bytes) = (more_packets, more_bytes);
            if is_over || are_over {
                self.carry(direction, is_over, are_over, rare);
            }
        }
        if let Some(time) = seen.time {
            self.first = self.first.min(time);
            self.last = self.last.max(time);
        }
        self.segment(&seen.segment, direction, rare);
    }

    /// Counts went over what fits.
    #[cold]
    #[inline(never)]
    fn carry(&mut self, direction: usize, packets: bool, bytes: bool, all: &mut Vec<Rare>) {
        let Some(rare) = self.rare(all) else { return };
        for (is_over, upper) in [(packets, &mut rare.packets), (bytes, &mut rare.bytes)] {
            upper.get_mut(direction).into_iter().for_each(|upper| *upper = upper.saturating_add(is_over.into()));
        }
    }

    /// What it has beside, which it may not have yet.
    #[cold]
    fn rare<'a>(&mut self, all: &'a mut Vec<Rare>) -> Option<&'a mut Rare> {
        if self.rare == 0 {
            all.push(Rare::default());
            self.rare = u32::try_from(all.len()).unwrap_or(0);
        }
        all.get_mut((self.rare as usize).checked_sub(1)?)
    }

    fn known_rare<'a>(&self, all: &'a [Rare]) -> Option<&'a Rare> {
        all.get((self.rare as usize).checked_sub(1)?)
    }

    /// Follows the sequence numbers of a direction. What is no segment has the number 0 and no length, and is always the one
    /// that is expected.
    #[inline]
    fn segment(&mut self, tcp: &Segment, direction: usize, rare: &mut Vec<Rare>) {
        let known = SEQUENCE << direction;
        let is_expected = (self.state & known == 0) | (tcp.sequence == self.next(direction));
        if is_expected && self.rare == 0 && tcp.flags & (RESET | CUT) == 0 {
            self.state |= known;
            self.expect(direction, tcp.end());
        } else {
            self.unexpected(tcp, direction, rare);
        }
    }

    /// The same of what is not the next segment, resets or was cut, and of conversations that have something beside.
    #[cold]
    #[inline(never)]
    fn unexpected(&mut self, tcp: &Segment, direction: usize, rare: &mut Vec<Rare>) {
        if tcp.flags & RESET != 0
            && let Some(rare) = self.rare(rare)
        {
            rare.resets = rare.resets.saturating_add(1);
        }
        if tcp.flags & CUT != 0 {
            return;
        }
        let (marks, size, end) = (tcp.marks(), tcp.size(), tcp.end());
        let known = SEQUENCE << direction;
        // A new connection between the same ports begins anew.
        if self.state & known == 0 || tcp.flags & SYN != 0 && self.next(direction) != end {
            self.state |= known;
            self.expect(direction, end);
            self.miss(direction, 0, 0, rare);
            return;
        }
        let ahead = tcp.sequence.wrapping_sub(self.next(direction)).cast_signed();
        // An acknowledgement, or a probe of an idle connection.
        if size == 0 || ahead == -1 && size == 1 && marks == 0 {
            return;
        }
        match u16::try_from(ahead) {
            Ok(missing @ 1..) => self.miss(direction, self.next(direction), missing, rare),
            _ if ahead < 0 => self.again(direction, tcp.sequence, size, rare),
            _ => {}
        }
        if end.wrapping_sub(self.next(direction)).cast_signed() > 0 {
            self.expect(direction, end);
        }
    }

    /// A segment begins before what is expected: it comes late, or it came before.
    fn again(&mut self, direction: usize, sequence: u32, size: u32, all: &mut Vec<Rare>) {
        let (gap, missing) = self.known_rare(all).map_or((0, 0), |rare| {
            let missing = rare.missing.get(direction).copied().unwrap_or(0);
            (rare.gap.get(direction).copied().unwrap_or(0), u32::from(missing))
        });
        let into = sequence.wrapping_sub(gap);
        if into < missing {
            let left = missing.saturating_sub(into.saturating_add(size));
            self.miss(direction, sequence.wrapping_add(size), u16::try_from(left).unwrap_or(0), all);
            return;
        }
        if let Some(count) = self.retransmissions.checked_add(1) {
            self.retransmissions = count;
        } else if let Some(rare) = self.rare(all) {
            rare.retransmissions = rare.retransmissions.saturating_add(u32::from(u8::MAX));
            self.retransmissions = 1;
        }
    }

    #[inline]
    fn next(&self, direction: usize) -> u32 {
        self.next.get(direction).copied().unwrap_or(0)
    }

    #[inline]
    fn expect(&mut self, direction: usize, next: u32) {
        self.next.get_mut(direction).into_iter().for_each(|place| *place = next);
    }

    #[inline]
    fn miss(&mut self, direction: usize, from: u32, size: u16, all: &mut Vec<Rare>) {
        // Most conversations never miss anything.
        if self.rare == 0 && size == 0 {
            return;
        }
        let Some(Rare { gap, missing, .. }) = self.rare(all) else { return };
        if let (Some(gap), Some(missing)) = (gap.get_mut(direction), missing.get_mut(direction)) {
            (*gap, *missing) = (from, size);
        }
    }

    /// `wide` has the ends of those of IPv6, `rare` what some have beside, `tunnels` the tunnels of each set.
    #[inline]
    pub(super) fn told<'a>(&self, wide: &[[Ipv6Addr; 2]], rare: &[Rare], tunnels: &'a Told) -> Flow<'a> {
        let mut ends = self.ends(wide);
        let mut ports = self.key.ports().map_or([None; 2], |ports| ports.map(Some));
        let (mut packets, mut bytes) = (self.packets.map(u64::from), self.bytes.map(u64::from));
        let (mut resets, mut retransmissions) = (0, u32::from(self.retransmissions));
        if let Some(rare) = self.known_rare(rare) {
            packets.iter_mut().zip(rare.packets).for_each(|(low, high)| *low |= u64::from(high) << 32);
            bytes.iter_mut().zip(rare.bytes).for_each(|(low, high)| *low |= u64::from(high) << 32);
            resets = rare.resets;
            retransmissions = retransmissions.saturating_add(rare.retransmissions);
        }
        if self.state & BACKWARDS != 0 {
            ends.reverse();
            ports.reverse();
            packets.reverse();
            bytes.reverse();
        }
        let ([source, destination], [source_port, destination_port]) = (ends, ports);
        Flow {
            protocol: Protocol(self.key.protocol()),
            source,
            source_port,
            destination,
            destination_port,
            packets,
            bytes,
            times: (self.first <= self.last).then_some((self.first, self.last)),
            resets,
            retransmissions,
            set: self.tunnels,
            tunnels: tunnels.of(self.tunnels),
        }
    }

    #[inline]
    fn ends(&self, wide: &[[Ipv6Addr; 2]]) -> [IpAddr; 2] {
        match wide.get(self.key.place()) {
            Some(ends) if self.key.has(IPV6) => ends.map(IpAddr::V6),
            _ => self.key.addresses().map(|octets| IpAddr::V4(Ipv4Addr::from(octets))),
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    #[test]
    fn packets_are_counted_beyond_32_bits() {
        let (key, _) = Key::new([1, 2], 17, 0);
        let seen = |time, length, is_back| Seen { time, length, segment: Segment::default(), tunnels: 0, is_back };
        let mut kept = Kept { packets: [7, u32::MAX - 1], bytes: [8, u32::MAX - 150], ..Kept::new_zeroed() };
        kept.begin(key, &seen(None, 0, false));
        let mut rare = Vec::new();
        for time in [Some(9), Some(3), None] {
            kept.count(&seen(time, 100, true), &mut rare);
        }
        kept.count(&seen(Some(5), 1, false), &mut rare);
        let told = Told::default();
        let flow = kept.told(&[], &rare, &told);
        let most = u64::from(u32::MAX);
        assert_eq!((flow.packets, flow.bytes), ([8, most + 2], [9, most + 150]));
        assert_eq!((flow.times, flow.retransmissions, rare.len()), (Some((3, 9)), 0, 1));
    }
}
