//! Fragments put together again (RFC 791, RFC 8200), as Linux does it: what overlaps is dropped with all that it belongs to
//! (`inet_frag_queue_insert`), what comes twice counts once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use super::{Decoded, Headers, Kind, Layer};
use crate::net::{Fragments, Protocol};

/// So many packets wait for their last fragments at most; then the oldest ones are given up.
const MOST: usize = 4096;

/// So many bytes are kept of them at most.
const MOST_BYTES: usize = 4 << 20;

/// About what a fragment costs beside its bytes.
const EACH: usize = 128;

/// An IP packet has no more bytes behind its header.
const LONGEST: usize = 65_535;

/// What all fragments of a packet share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// Where they were captured.
    interface: u32,
    /// The tunnel that they are in, if any.
    vni: Option<u32>,
    source: IpAddr,
    destination: IpAddr,
    protocol: Option<Protocol>,
    identification: u32,
}

/// Fragments that wait for others.
#[derive(Debug, Default)]
struct Waiting {
    /// The headers that each fragment has, of the first one.
    header: Option<Vec<u8>>,
    /// What they carry, by its offset in the whole.
    parts: BTreeMap<usize, Vec<u8>>,
    /// How long the whole is behind its header, once the last fragment has come.
    total: Option<usize>,
    /// The packets' numbers.
    numbers: Vec<u64>,
    /// What is accounted for it.
    cost: usize,
}

/// What came of a fragment.
#[derive(Debug)]
pub enum Gathering {
    /// Others are still to come.
    Waits,
    /// It was the last one that was missing.
    Whole(Whole),
    /// It and those before are no packet: why.
    Dropped(&'static str),
}

/// A packet that came in fragments.
#[derive(Debug)]
pub struct Whole {
    /// The headers before the fragment that came last, and the whole packet behind them.
    pub bytes: Vec<u8>,
    /// Where the packet begins.
    pub start: u32,
    /// The numbers of the frames that it came in, in the order of the capture.
    pub numbers: Vec<u64>,
    /// How many fragments there were, and the length of the largest.
    pub fragments: Fragments,
}

/// Puts fragments together. It needs no more than 10 MB, whatever it is given.
#[derive(Debug, Default)]
pub struct Reassembler {
    waiting: HashMap<Key, Waiting>,
    order: VecDeque<Key>,
    cost: usize,
}

/// A fragment as its frame has it.
struct Part<'a> {
    key: Key,
    /// Where the packet begins in the frame.
    start: u32,
    /// The headers that each fragment has, as those of the whole packet.
    header: Vec<u8>,
    offset: usize,
    more: bool,
    payload: &'a [u8],
}

impl Reassembler {
    /// Takes the outermost fragment of a frame; `None` where the frame has none.
    pub fn add(&mut self, interface: u32, number: u64, decoded: &Decoded<'_>) -> Option<Gathering> {
        let packet = decoded.packets().find(|packet| packet.fragment().is_some())?;
        let part = match part(interface, decoded, &packet) {
            Ok(part) => part,
            Err(why) => return Some(Gathering::Dropped(why)),
        };
        let key = part.key.clone();
        let start = part.start;
        let waiting = self.waiting.entry(key.clone()).or_insert_with(|| {
            self.order.push_back(key.clone());
            Waiting::default()
        });
        self.cost -= waiting.cost;
        let taken = waiting.take(&part, number);
        self.cost += waiting.cost;
        if let Err(why) = taken {
            self.remove(&key);
            return Some(Gathering::Dropped(why));
        }
        let Some(whole) = waiting.whole() else {
            self.shrink();
            return Some(Gathering::Waits);
        };
        let fragments = waiting.fragments();
        let numbers = self.remove(&key).map(|waiting| waiting.numbers).unwrap_or_default();
        let before = decoded.bytes.get(..start as usize).unwrap_or_default();
        Some(Gathering::Whole(Whole { bytes: [before, &whole].concat(), start, numbers, fragments }))
    }

    fn remove(&mut self, key: &Key) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        self.cost -= waiting.cost;
        // Those that were complete before their turn are still in the order.
        if self.order.len() > 2 * MOST {
            let known = &self.waiting;
            self.order.retain(|key| known.contains_key(key));
        }
        Some(waiting)
    }

    /// Gives up what has waited longest, where too much waits.
    fn shrink(&mut self) {
        while (self.waiting.len() > MOST || self.cost > MOST_BYTES)
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(&oldest);
        }
    }
}

/// Reads a fragment; fails, and says why, where it can't be one of a whole packet.
fn part<'a>(interface: u32, decoded: &Decoded<'a>, packet: &Headers<'a>) -> Result<Part<'a>, &'static str> {
    const CUT: &str = "a fragment that was not captured whole";
    let network = packet.network().ok_or(CUT)?;
    let (offset, more) = packet.fragment().ok_or(CUT)?;
    // In IPv6 all behind the fragment header is divided, in IPv4 all behind IP's.
    let (end_of_header, body) = match fragment_header(packet) {
        Some(layer) => (layer.start, layer.body),
        None => (network.body, network.body),
    };
    let mut header = decoded.bytes.get(network.start as usize..end_of_header as usize).ok_or(CUT)?.to_vec();
    unlink(&mut header, packet, end_of_header);
    let payload = decoded.bytes.get(body as usize..network.end as usize).ok_or(CUT)?;
    if more && !payload.len().is_multiple_of(8) {
        return Err("a fragment that others follow, whose length is no multiple of 8");
    }
    let offset = usize::from(offset);
    if payload.is_empty() || offset + payload.len() > LONGEST {
        return Err("a fragment that no packet can have");
    }
    let key = Key {
        interface,
        vni: vni_around(decoded, network),
        source: packet.source().ok_or(CUT)?,
        destination: packet.destination().ok_or(CUT)?,
        protocol: packet.protocol(),
        identification: packet.identification().ok_or(CUT)?,
    };
    Ok(Part { key, start: network.start, header, offset, more, payload })
}

/// The network identifier of the tunnel that a packet is in. The first fragment of a tunnel's packet shows that one, too,
/// and the later ones don't.
fn vni_around(decoded: &Decoded<'_>, network: Layer) -> Option<u32> {
    let around =
        decoded.packets().take_while(|packet| packet.network().is_some_and(|layer| layer.start < network.start));
    around.filter_map(|packet| packet.tunnel()?.vni).last()
}

fn fragment_header(packet: &Headers<'_>) -> Option<Layer> {
    let extensions = packet.layers().iter().skip(1).take_while(|layer| layer.kind.is_extension());
    extensions.copied().find(|layer| layer.kind == Kind::FragmentHeader)
}

/// Lets the header before an IPv6 fragment header announce what that one announces.
fn unlink(header: &mut [u8], packet: &Headers<'_>, fragment_header: u32) {
    let Some(network) = packet.network().filter(|network| network.kind == Kind::Ipv6) else { return };
    let before = packet.layers().iter().skip(1).take_while(|layer| layer.start < fragment_header).last();
    let field = before.map_or(6, |layer| (layer.start - network.start) as usize);
    let next = packet.bytes().get(fragment_header as usize);
    if let (Some(field), Some(next)) = (header.get_mut(field), next) {
        *field = *next;
    }
}

impl Waiting {
    /// Adds a fragment. Fails where it contradicts those before.
    fn take(&mut self, part: &Part<'_>, number: u64) -> Result<(), &'static str> {
        const OVERLAP: &str = "fragments that overlap, which Linux drops";
        let end = part.offset + part.payload.len();
        if let Some(known) = self.parts.get(&part.offset)
            && known.len() == part.payload.len()
        {
            return Ok(());
        }
        let before = self.parts.range(..=part.offset).next_back();
        let behind = self.parts.range(part.offset..).next();
        let is_over = before.is_some_and(|(at, bytes)| at + bytes.len() > part.offset)
            || behind.is_some_and(|(at, _)| *at < end)
            || self.total.is_some_and(|total| end > total || !part.more);
        if is_over {
            return Err(OVERLAP);
        }
        if !part.more {
            if self.parts.last_key_value().is_some_and(|(at, bytes)| at + bytes.len() > end) {
                return Err(OVERLAP);
            }
            self.total = Some(end);
        }
        if part.offset == 0 {
            self.header = Some(part.header.clone());
            self.cost += part.header.len();
        }
        self.parts.insert(part.offset, part.payload.to_vec());
        self.numbers.push(number);
        self.cost += part.payload.len() + EACH;
        Ok(())
    }

    fn fragments(&self) -> Fragments {
        let header = self.header.as_ref().map_or(0, Vec::len);
        let largest = self.parts.values().map(Vec::len).max().unwrap_or(0) + header;
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Fragments { count: number(self.parts.len()), largest: number(largest) }
    }

    /// The packet, where all of it is there.
    fn whole(&self) -> Option<Vec<u8>> {
        let (header, total) = (self.header.as_ref()?, self.total?);
        // None overlaps another, so that the lengths tell.
        if self.parts.values().map(Vec::len).sum::<usize>() != total {
            return None;
        }
        let mut whole = header.clone();
        whole.extend(self.parts.values().flatten());
        mend(&mut whole, header.len());
        Some(whole)
    }
}

/// Makes the header of a fragment that of the whole packet.
fn mend(packet: &mut [u8], header: usize) {
    let total = packet.len();
    match packet {
        [first, _, length @ ..] if *first >> 4 == 4 => {
            // A packet that is too long for the field has none, as in the kernel (`iph_set_totlen`).
            let words = u16::try_from(total).unwrap_or(0).to_be_bytes();
            if let [l1, l2, _, _, f1, f2, _, _, c1, c2, ..] = length {
                [*l1, *l2] = words;
                [*f1, *f2, *c1, *c2] = [0; 4];
            }
            let sum = super::checksum::of(packet.get(..header).unwrap_or_default()).to_be_bytes();
            if let Some(field) = packet.get_mut(10..12) {
                field.copy_from_slice(&sum);
            }
        }
        _ => {
            let payload = u16::try_from(total.saturating_sub(40)).unwrap_or(0).to_be_bytes();
            if let Some(field) = packet.get_mut(4..6) {
                field.copy_from_slice(&payload);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Checksum, Dissector, LinkType, Ports};
    use super::*;

    const FIRST: u16 = 0x2000;

    /// A fragment of IPv4 at an offset, in an Ethernet frame.
    fn ipv4(id: u8, field: u16, payload: &[u8]) -> Vec<u8> {
        let [l1, l2] = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
        let [f1, f2] = field.to_be_bytes();
        let header = [0x45, 0, l1, l2, 0, id, f1, f2, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], &header, payload].concat()
    }

    /// A fragment of IPv6 behind hop-by-hop options.
    fn ipv6(field: u16, payload: &[u8]) -> Vec<u8> {
        let [l1, l2] = u16::try_from(payload.len() + 16).unwrap().to_be_bytes();
        let [f1, f2] = field.to_be_bytes();
        let address = [0xfd; 32];
        let behind = [44, 0, 5, 2, 0, 0, 1, 0, 17, 0, f1, f2, 0, 0, 0, 9];
        [&[0x60, 0, 0, 0, l1, l2, 0, 64][..], &address, &behind, payload].concat()
    }

    fn add(all: &mut Reassembler, link_type: LinkType, number: u64, frame: &[u8]) -> Option<Gathering> {
        let mut dissector = Dissector::new(Ports::default());
        let decoded = dissector.decode(link_type, frame, u32::try_from(frame.len()).unwrap());
        all.add(0, number, &decoded)
    }

    /// A datagram to port 53 of `size` bytes.
    fn datagram(size: usize) -> Vec<u8> {
        let [l1, l2] = u16::try_from(size).unwrap().to_be_bytes();
        let mut bytes = vec![0x9c, 0x40, 0, 53, l1, l2, 0, 0];
        bytes.extend((8..size).map(|at| u8::try_from(at % 251).unwrap()));
        bytes
    }

    #[test]
    fn fragments_in_any_order_are_the_packet_that_they_were() {
        let whole = datagram(40);
        let pieces = [ipv4(1, FIRST, &whole[..16]), ipv4(1, FIRST | 2, &whole[16..32]), ipv4(1, 4, &whole[32..])];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let mut all = Reassembler::default();
            for (number, place) in (7..).zip(&order[..2]) {
                let waits = add(&mut all, LinkType::ETHERNET, number, &pieces[*place]);
                assert!(matches!(waits, Some(Gathering::Waits)));
            }
            let Some(Gathering::Whole(found)) = add(&mut all, LinkType::ETHERNET, 9, &pieces[order[2]]) else {
                panic!("{order:?}")
            };
            assert_eq!((found.start, found.numbers), (14, vec![7, 8, 9]));
            assert_eq!(found.bytes[34..], whole);
            let mut dissector = Dissector::new(Ports::default());
            let length = u32::try_from(found.bytes.len()).unwrap();
            let decoded = dissector.decode_within(LinkType::ETHERNET, &found.bytes, length, found.start);
            assert_eq!((decoded.flaw, decoded.innermost().unwrap().ports()), (None, Some((40_000, 53))));
            assert_eq!(decoded.checksums()[0].checksum, Checksum::Good);
            assert_eq!((all.cost, all.waiting.len()), (0, 0));
        }
    }

    #[test]
    fn ipv6_loses_its_fragment_header() {
        let whole = datagram(24);
        let mut all = Reassembler::default();
        assert!(matches!(add(&mut all, LinkType::IPV6, 1, &ipv6(1, &whole[..16])), Some(Gathering::Waits)));
        let Some(Gathering::Whole(found)) = add(&mut all, LinkType::IPV6, 2, &ipv6(16, &whole[16..])) else { panic!() };
        let mut dissector = Dissector::new(Ports::default());
        let length = u32::try_from(found.bytes.len()).unwrap();
        let decoded = dissector.decode_within(LinkType::IPV6, &found.bytes, length, found.start);
        let kinds: Vec<Kind> = decoded.layers.iter().map(|layer| layer.kind).take(3).collect();
        assert_eq!((decoded.flaw, kinds), (None, vec![Kind::Ipv6, Kind::HopByHop, Kind::Udp]));
    }

    #[test]
    fn what_comes_twice_counts_once_and_what_overlaps_is_dropped() {
        let whole = datagram(40);
        let mut all = Reassembler::default();
        for number in 1..3 {
            let again = add(&mut all, LinkType::ETHERNET, number, &ipv4(1, FIRST, &whole[..16]));
            assert!(matches!(again, Some(Gathering::Waits)));
        }
        let over = add(&mut all, LinkType::ETHERNET, 3, &ipv4(1, FIRST | 1, &whole[8..24]));
        assert!(matches!(over, Some(Gathering::Dropped(why)) if why.contains("overlap")));
        assert_eq!((all.cost, all.waiting.len()), (0, 0));
        // Beyond the end that the last one has told.
        assert!(matches!(add(&mut all, LinkType::ETHERNET, 4, &ipv4(2, 2, &whole[16..24])), Some(Gathering::Waits)));
        let beyond = add(&mut all, LinkType::ETHERNET, 5, &ipv4(2, FIRST | 3, &whole[24..32]));
        assert!(matches!(beyond, Some(Gathering::Dropped(_))));
    }

    #[test]
    fn what_no_packet_can_have_is_refused() {
        let mut all = Reassembler::default();
        let odd = add(&mut all, LinkType::ETHERNET, 1, &ipv4(1, FIRST, &[0; 15]));
        assert!(matches!(odd, Some(Gathering::Dropped(why)) if why.contains("multiple of 8")));
        let far = add(&mut all, LinkType::ETHERNET, 2, &ipv4(1, 0x1fff, &[0; 64]));
        assert!(matches!(far, Some(Gathering::Dropped(_))));
        assert!(add(&mut all, LinkType::ETHERNET, 3, &ipv4(1, 0, &datagram(8))).is_none());
    }

    #[test]
    fn no_more_waits_than_memory_should_hold() {
        let mut all = Reassembler::default();
        let piece = |id: u16, size: usize| {
            let mut piece = ipv4(0, FIRST, &vec![0; size]);
            piece[18..20].copy_from_slice(&id.to_be_bytes());
            piece
        };
        for id in 0..20_000 {
            add(&mut all, LinkType::ETHERNET, id.into(), &piece(id, 8));
            assert!(all.waiting.len() <= MOST);
        }
        assert!(all.order.len() <= 2 * MOST + 1);
        for id in 0..20_000 {
            add(&mut all, LinkType::ETHERNET, id.into(), &piece(id, 16_000));
            assert!(all.cost <= MOST_BYTES + 20_000);
        }
    }
}
