//! A packet's bytes from its IP header on, as far as they are known: addresses are, checksums are not.

use std::net::IpAddr;

use crate::net::{Packet, Transport};
use crate::trace::Decision;

use super::super::walk::Walk;

/// Up to four bytes as a number, of which only some bits may be known; the others are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub bits: u32,
    pub known: u32,
}

impl Word {
    /// A number that is known.
    pub(super) fn of(bits: u32) -> Self {
        Self { bits, known: u32::MAX }
    }

    /// The number, where all of it is known.
    pub(super) fn whole(self) -> Option<u32> {
        (self.known == u32::MAX).then_some(self.bits)
    }

    /// The largest number that it may be; the smallest is `bits`.
    pub(super) fn most(self) -> u32 {
        self.bits | !self.known
    }

    /// Whether it is within a range.
    pub(super) fn within(self, low: u32, high: u32) -> Option<bool> {
        if low <= self.bits && self.most() <= high {
            return Some(true);
        }
        (self.most() < low || self.bits > high).then_some(false)
    }

    pub(super) fn and(self, other: Self) -> Self {
        let zero = (self.known & !self.bits) | (other.known & !other.bits);
        Self { bits: self.bits & other.bits, known: (self.known & other.known) | zero }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits, known: (self.known & other.known) | self.bits | other.bits }
    }

    pub(super) fn xor(self, other: Self) -> Self {
        let known = self.known & other.known;
        Self { bits: (self.bits ^ other.bits) & known, known }
    }

    /// Shifted to the left; what a shift by 32 or more gives is the processor's business.
    pub(super) fn left(self, by: u32) -> Self {
        let shifted = |bits: u32| bits.checked_shl(by);
        match (shifted(self.bits), shifted(self.known), shifted(u32::MAX)) {
            (Some(bits), Some(known), Some(filled)) => Self { bits, known: known | !filled },
            _ => Self::default(),
        }
    }

    pub(super) fn right(self, by: u32) -> Self {
        let shifted = |bits: u32| bits.checked_shr(by);
        match (shifted(self.bits), shifted(self.known), shifted(u32::MAX)) {
            (Some(bits), Some(known), Some(filled)) => Self { bits, known: known | !filled },
            _ => Self::default(),
        }
    }
}

/// The bytes.
pub(in super::super) struct Bytes {
    list: Vec<Option<u8>>,
    /// Where the transport header ends, if that is known.
    inner: Option<usize>,
}

impl Bytes {
    pub(super) fn of(walk: &Walk) -> Self {
        Self::of_packet(walk, walk.packet())
    }

    /// Of the walk's packet as a rule that has not ended yet has changed it.
    pub(in super::super) fn of_packet(walk: &Walk, packet: &Packet) -> Self {
        let length = usize::try_from(packet.length).unwrap_or(usize::MAX).min(usize::from(u16::MAX) + 40);
        let mut list = ip_header(packet, walk.skb.in_pieces);
        let (least, most) = walk.length_range();
        if least != most {
            let at = if packet.ip.destination.is_ipv6() { 4 } else { 2 };
            list.iter_mut().skip(at).take(2).for_each(|byte| *byte = None);
        }
        let start = list.len();
        list.resize(length, None);
        // NAT rewrites what an ICMP error quotes.
        let translated = matches!(packet.transport, Transport::Icmp { quoted: Some(_), .. })
            && walk.steps().iter().any(|step| matches!(step.decision, Decision::Nat { .. }));
        let whole = !walk.skb.in_pieces && packet.inner.is_none() && !translated;
        let payload = walk.given.payload.as_deref().filter(|_| whole);
        let behind = payload.and_then(|payload| length.checked_sub(payload.len())).filter(|behind| *behind >= start);
        let header = behind.map(|behind| behind - start).or((length == start + 20 && whole).then_some(20));
        let end = header.or(transport_length(packet)).map(|length| start + length);
        let transport = transport_header(packet, length.saturating_sub(start), header);
        list.iter_mut().skip(start).zip(transport).for_each(|(place, byte)| *place = byte);
        if let (Some(payload), Some(behind)) = (payload, behind) {
            list.iter_mut().skip(behind).zip(payload).for_each(|(place, byte)| *place = Some(*byte));
        }
        Self { list, inner: end }
    }

    /// Where what the transport header carries starts, if that is known.
    pub(in super::super) fn inner(&self) -> Option<u32> {
        self.inner.and_then(|inner| u32::try_from(inner).ok())
    }

    /// Whether the packet has so many bits from a place on.
    pub(in super::super) fn has_bits(&self, from: u32, count: u32) -> bool {
        from.checked_add(count).is_some_and(|end| end.div_ceil(8) <= self.len())
    }

    /// So many bits from a place on, as one number; `None` where not all of them are known.
    pub(in super::super) fn bits(&self, from: u32, count: u32) -> Option<u128> {
        let end = from.checked_add(count)?;
        let (first, last) = (usize::try_from(from / 8).ok()?, usize::try_from(end.div_ceil(8)).ok()?);
        let bytes = self.list.get(first..last)?;
        let mut value = Some(0u128);
        for (place, byte) in (0u32..).zip(bytes) {
            for bit in (0..8).filter(|bit| (from..end).contains(&((from / 8 + place) * 8 + bit))) {
                value = value.zip(*byte).map(|(value, byte)| value << 1 | u128::from(byte >> (7 - bit) & 1));
            }
        }
        value
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn all(&self) -> &[Option<u8>] {
        &self.list
    }

    /// So many bytes at a place, in network order; `None` where the packet ends before.
    pub(super) fn read(&self, at: u32, count: u32) -> Option<Word> {
        let start = usize::try_from(at).ok()?;
        let bytes = self.list.get(start..start.checked_add(usize::try_from(count).ok()?)?)?;
        let start = Word { bits: 0, known: if count == 4 { 0 } else { u32::MAX } };
        Some(bytes.iter().fold(start, |word, byte| Word {
            bits: word.bits << 8 | u32::from(byte.unwrap_or(0)),
            known: word.known << 8 | if byte.is_some() { 0xff } else { 0 },
        }))
    }
}

/// Identification, checksum and flow label are nobody's to know.
fn ip_header(packet: &Packet, in_pieces: bool) -> Vec<Option<u8>> {
    let ip = packet.ip;
    let some = |bytes: &[u8]| bytes.iter().copied().map(Some).collect::<Vec<_>>();
    let length = |length: u32| some(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    match (ip.source, ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let flags = if in_pieces { vec![None; 2] } else { some(&[if ip.df { 0x40 } else { 0 }, 0]) };
            let words = u8::try_from(packet.header_length() / 4).unwrap_or(0);
            [
                some(&[0x40 | words, ip.tos]),
                length(packet.length),
                vec![None; 2],
                flags,
                some(&[ip.ttl, packet.protocol().0]),
                vec![None; 2],
                some(&source.octets()),
                some(&destination.octets()),
                packet.options.bytes().to_vec(),
            ]
            .concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => [
            some(&[0x60 | ip.tos >> 4]),
            vec![None; 3],
            length(packet.length.saturating_sub(40)),
            some(&[packet.next_header().0, ip.ttl]),
            some(&source.octets()),
            some(&destination.octets()),
            some(&packet.extensions.bytes(packet.protocol())),
        ]
        .concat(),
        _ => Vec::new(),
    }
}

/// How long a transport header is that has only one length. A message of ICMP is header up to its data
/// (`nft_payload_inner_offset` in `net/netfilter/nft_payload.c` knows TCP and UDP alone).
fn transport_length(packet: &Packet) -> Option<usize> {
    matches!(packet.transport, Transport::Udp { .. }).then_some(8)
}

/// What is known of the header behind: `header` is its length, where that is known, and `length` that of all the rest.
fn transport_header(packet: &Packet, length: usize, header: Option<usize>) -> Vec<Option<u8>> {
    let port = |port: Option<u16>| match port {
        Some(port) => port.to_be_bytes().map(Some),
        None => [None; 2],
    };
    let ports = [port(packet.source_port()), port(packet.destination_port())].concat();
    match packet.transport {
        Transport::Tcp { flags, .. } => {
            let offset = header.and_then(|header| u8::try_from((header / 4) << 4).ok());
            [ports, vec![None; 8], vec![offset, Some(flags)]].concat()
        }
        Transport::Udp { .. } => {
            let length = u16::try_from(length).unwrap_or(0).to_be_bytes().map(Some);
            [ports, length.to_vec()].concat()
        }
        Transport::Sctp { .. } => ports,
        Transport::Icmp { kind, code, id, .. } => {
            [vec![Some(kind), Some(code), None, None], port(id).to_vec()].concat()
        }
        Transport::Other(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::Word;

    #[test]
    fn what_is_known_of_a_number_stays_known() {
        let half = Word { bits: 0x1200, known: 0xff00 };
        assert_eq!(half.and(Word::of(0xff00)).whole(), Some(0x1200));
        assert_eq!(half.and(Word::of(0xff)).whole(), None);
        assert_eq!(half.or(Word::of(0xffff_00ff)).whole(), Some(0xffff_12ff));
        assert_eq!(half.left(16).right(24).whole(), Some(0x12));
        assert_eq!(half.xor(half).known, 0xff00);
        assert_eq!(half.left(32).known, 0);
    }

    #[test]
    fn a_number_known_in_part_may_be_within_a_range() {
        let half = Word { bits: 0x1200, known: 0xffff_ff00 };
        assert_eq!(half.within(0x1200, 0x12ff), Some(true));
        assert_eq!(half.within(0x1300, 0xffff), Some(false));
        assert_eq!(half.within(0x1210, 0x1220), None);
    }
}
