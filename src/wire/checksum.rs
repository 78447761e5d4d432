//! Checksums: whether they are right, left to the device, or wrong.
//!
//! Linux hands a packet to a device that computes checksums itself with the sum of the pseudo-header in the field
//! (`CHECKSUM_PARTIAL`, `Documentation/networking/checksum-offloads.rst`), and a capture on the sender sees it so, as it
//! does between the two ends of a veth pair and after segments were put together (GRO). Such a field tells itself from a
//! damaged one: it holds just that sum. Address translation keeps it so (`inet_proto_csum_replace4`).

use super::{Decoded, Headers, Kind, Layer, u16_at, u32_at};

/// What a header's checksum is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is right.
    Good,
    /// It is left to the device: the field holds the sum of the pseudo-header, or nothing where the protocol's sender
    /// leaves nothing (IPv4 and SCTP, and TCP of some systems).
    Offloaded,
    /// It is wrong.
    Bad {
        /// What stands in the field.
        found: u32,
        /// What would be right.
        wanted: u32,
    },
    /// There is none: UDP's is 0, or GRE has no flag for one.
    Absent,
    /// It can't be checked: the capture does not hold all bytes that it is about, or the packet is a fragment, or has still
    /// to be routed to an address that it doesn't show.
    Unknown,
}

impl Checksum {
    /// The word for it in every output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Offloaded => "offloaded",
            Self::Bad { .. } => "bad",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }
}

/// A header with what its checksum is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The header.
    pub layer: Layer,
    /// Its checksum.
    pub checksum: Checksum,
}

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_LITE: u8 = 136;
const ICMPV6: u8 = 58;

impl Decoded<'_> {
    /// The checksums of every header that has one, outermost first. What an ICMP error quotes is not looked at: it was cut,
    /// and may be changed on its way.
    #[must_use]
    pub fn checksums(&self) -> Vec<Checked> {
        let mut checked = Vec::new();
        for packet in self.packets() {
            let Some(network) = packet.network() else { continue };
            if network.kind == Kind::Ipv4 {
                checked.push(Checked { layer: network, checksum: ipv4(self.bytes, network) });
            }
            let Some(transport) = packet.transport() else { continue };
            if let Some(checksum) = above(self.bytes, &packet, network, transport) {
                checked.push(Checked { layer: transport, checksum });
            }
        }
        checked
    }
}

fn ipv4(bytes: &[u8], layer: Layer) -> Checksum {
    let header = layer.header(bytes);
    if header.first().is_some_and(|first| usize::from(first & 15) * 4 == header.len()) {
        return judge(header, 10, 0, true, &[]);
    }
    // A header that is not all there.
    Checksum::Unknown
}

/// The checksum of a transport header; `None` where its kind has none.
fn above(bytes: &[u8], packet: &Headers<'_>, network: Layer, transport: Layer) -> Option<Checksum> {
    let (field, has_pseudo) = match transport.kind {
        Kind::Tcp => (16, true),
        Kind::Udp => (6, true),
        Kind::Icmpv6 => (2, true),
        Kind::Icmp | Kind::Igmp => (2, false),
        Kind::Sctp => (8, false),
        Kind::Gre => (4, false),
        _ => return None,
    };
    let segment = whole(bytes, packet, transport);
    let protocol = packet.protocol().map_or(0, |protocol| protocol.0);
    Some(match (segment, transport.kind) {
        (_, Kind::Udp) if protocol == UDP_LITE => Checksum::Unknown,
        (_, Kind::Udp) if u16_at(bytes, transport.start as usize + 6) == Some(0) => Checksum::Absent,
        (_, Kind::Gre) if bytes.get(transport.start as usize).is_none_or(|flags| flags & 0x80 == 0) => Checksum::Absent,
        (None, _) => Checksum::Unknown,
        (Some(segment), Kind::Sctp) => sctp(segment),
        (Some(segment), _) if has_pseudo => match pseudo_header(bytes, network, transport, segment.len()) {
            Some(pseudo) => {
                let length = u64::try_from(segment.len()).unwrap_or(0);
                judge(segment, field, pseudo, transport.kind == Kind::Tcp, &[fold(pseudo), fold(pseudo - length)])
            }
            None => Checksum::Unknown,
        },
        (Some(segment), _) => judge(segment, field, 0, false, &[]),
    })
}

/// All bytes that a transport's checksum is about, where the capture holds them and they are all there will be.
fn whole<'a>(bytes: &'a [u8], packet: &Headers<'_>, transport: Layer) -> Option<&'a [u8]> {
    if packet.fragment().is_some() || is_routed_on(packet) {
        return None;
    }
    bytes.get(transport.start as usize..transport.end as usize)
}

/// Whether the destination in the header is not the last one: a source route that is not used up.
fn is_routed_on(packet: &Headers<'_>) -> bool {
    let routing = packet.layers().iter().skip(1).take_while(|layer| layer.kind.is_extension());
    let mut routing = routing.filter(|layer| layer.kind == Kind::Routing);
    let bytes = packet.bytes();
    // The fourth octet says how many segments are left.
    let has_left = |layer: &Layer| bytes.get(layer.start as usize + 3).is_none_or(|left| *left > 0);
    routing.any(has_left) || packet.network().is_some_and(|network| has_source_route(bytes, network))
}

/// IPv4's loose or strict source route with addresses left (RFC 791).
fn has_source_route(bytes: &[u8], network: Layer) -> bool {
    let mut options = network.header(bytes).get(20..).unwrap_or_default();
    if network.kind != Kind::Ipv4 {
        return false;
    }
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (0, _) | (_, [] | [0 | 1, ..]) => return false,
            (1, rest) => rest,
            (131 | 137, [length, pointer, ..]) if pointer <= length => return true,
            (_, [length, ..]) => options.get(usize::from(*length)..).unwrap_or_default(),
        };
    }
    false
}

/// The sum of what is not in the transport's own bytes.
fn pseudo_header(bytes: &[u8], network: Layer, transport: Layer, length: usize) -> Option<u64> {
    let header = network.header(bytes);
    let addresses = if network.kind == Kind::Ipv4 { header.get(12..20)? } else { header.get(8..40)? };
    let protocol = match transport.kind {
        Kind::Tcp => TCP,
        Kind::Udp => UDP,
        _ => ICMPV6,
    };
    Some(sum(addresses) + u64::from(protocol) + u64::try_from(length).ok()?)
}

/// Judges an internet checksum (RFC 1071) that stands at `field`. `left` are the values of a field that is left to the
/// device; where `may_be_empty`, so is 0.
fn judge(bytes: &[u8], field: usize, pseudo: u64, may_be_empty: bool, left: &[u16]) -> Checksum {
    let Some(found) = u16_at(bytes, field) else { return Checksum::Unknown };
    let all = sum(bytes) + pseudo;
    if fold(all) == 0xffff {
        return Checksum::Good;
    }
    if left.contains(&found) || may_be_empty && found == 0 {
        return Checksum::Offloaded;
    }
    let wanted = !fold(all - u64::from(found));
    Checksum::Bad { found: found.into(), wanted: wanted.into() }
}

/// The checksum of a header whose field for it is 0.
pub(super) fn of(header: &[u8]) -> u16 {
    !fold(sum(header))
}

/// The sum of 16-bit words, the last one filled up with zero.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let last = words.remainder().first().map_or(0, |octet| u64::from(*octet) << 8);
    words.fold(last, |sum, word| match word {
        [high, low] => sum + u64::from(u16::from_be_bytes([*high, *low])),
        _ => sum,
    })
}

/// A sum in ones' complement, of 16 bits.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// SCTP's CRC32c (RFC 9260, appendix A), which stands in the header with its lowest octet first.
fn sctp(packet: &[u8]) -> Checksum {
    let (Some(found), Some(behind)) = (u32_at(packet, 8), packet.get(12..)) else { return Checksum::Unknown };
    let before = packet.get(..8).unwrap_or_default();
    let octets = before.iter().chain(&[0; 4]).chain(behind);
    let wanted = (!octets.fold(u32::MAX, |crc, octet| crc32c(crc, *octet))).swap_bytes();
    match found {
        found if found == wanted => Checksum::Good,
        // The kernel leaves it so for devices that compute it (`sctp_packet_pack`).
        0 => Checksum::Offloaded,
        found => Checksum::Bad { found, wanted },
    }
}

/// One octet more, in reflected bit order.
fn crc32c(crc: u32, octet: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(octet), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
}

#[cfg(test)]
mod tests {
    use super::super::{Dissector, LinkType, Ports};
    use super::*;

    fn states(bytes: &[u8]) -> Vec<(Kind, Checksum)> {
        let mut dissector = Dissector::new(Ports::default());
        let decoded = dissector.decode(LinkType::RAW, bytes, u32::try_from(bytes.len()).unwrap());
        decoded.checksums().into_iter().map(|checked| (checked.layer.kind, checked.checksum)).collect()
    }

    /// An IPv4 packet with the right checksum in its own header.
    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let [l1, l2] = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
        let mut header = vec![0x45, 0, l1, l2, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 244, 1, 2, 10, 244, 2, 3];
        let right = (!fold(sum(&header))).to_be_bytes();
        header[10..12].copy_from_slice(&right);
        [&header[..], payload].concat()
    }

    /// The sum of the pseudo-header of such a packet.
    fn pseudo(protocol: u8, payload: &[u8]) -> u64 {
        sum(&[10, 244, 1, 2, 10, 244, 2, 3]) + u64::from(protocol) + payload.len() as u64
    }

    fn tcp(checksum: u16) -> Vec<u8> {
        let [c1, c2] = checksum.to_be_bytes();
        vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, c1, c2, 0, 0, b'o', b'd', b'd']
    }

    #[test]
    fn a_field_with_the_pseudo_headers_sum_is_left_to_the_device() {
        let right = !fold(sum(&tcp(0)) + pseudo(6, &tcp(0)));
        let good = (Kind::Ipv4, Checksum::Good);
        assert_eq!(states(&ipv4(6, &tcp(right))), [good, (Kind::Tcp, Checksum::Good)]);
        for left in [fold(pseudo(6, &tcp(0))), fold(pseudo(6, &[])), 0] {
            assert_eq!(states(&ipv4(6, &tcp(left))), [good, (Kind::Tcp, Checksum::Offloaded)], "{left:#x}");
        }
        let bad = Checksum::Bad { found: u32::from(right) + 1, wanted: right.into() };
        assert_eq!(states(&ipv4(6, &tcp(right + 1))), [good, (Kind::Tcp, bad)]);
    }

    #[test]
    fn a_bit_that_flipped_is_found_wherever_it_is() {
        let right = !fold(sum(&tcp(0)) + pseudo(6, &tcp(0)));
        let whole = ipv4(6, &tcp(right));
        for place in 20..whole.len() {
            // A data offset that says something else makes another segment of it.
            for bit in (0..8).filter(|_| place != 32) {
                let mut damaged = whole.clone();
                damaged[place] ^= 1 << bit;
                let states = states(&damaged);
                assert!(matches!(states[1].1, Checksum::Bad { .. }), "{place} {bit} {states:?}");
            }
        }
    }

    #[test]
    fn datagrams_may_have_none() {
        let udp = |checksum: u16| {
            let [c1, c2] = checksum.to_be_bytes();
            vec![0x9c, 0x40, 0, 9, 0, 10, c1, c2, 1, 2]
        };
        let right = !fold(sum(&udp(0)) + pseudo(17, &udp(0)));
        assert_eq!(states(&ipv4(17, &udp(0)))[1], (Kind::Udp, Checksum::Absent));
        assert_eq!(states(&ipv4(17, &udp(right)))[1], (Kind::Udp, Checksum::Good));
        assert_eq!(states(&ipv4(17, &udp(fold(pseudo(17, &udp(0))))))[1], (Kind::Udp, Checksum::Offloaded));
        assert!(matches!(states(&ipv4(17, &udp(1)))[1].1, Checksum::Bad { .. }));
    }

    #[test]
    fn what_is_not_all_there_is_not_judged() {
        let whole = ipv4(6, &tcp(1));
        let mut dissector = Dissector::new(Ports::default());
        let cut = dissector.decode(LinkType::RAW, &whole[..whole.len() - 1], u32::try_from(whole.len()).unwrap());
        assert_eq!(cut.checksums()[1].checksum, Checksum::Unknown);
        let mut fragment = whole.clone();
        fragment[6] |= 0x20;
        assert_eq!(states(&fragment)[1].1, Checksum::Unknown);
    }

    #[test]
    fn icmp_and_ipv6_are_judged_too() {
        let echo = [8, 0, 0, 0, 0, 1, 0, 2, b'h', b'i'];
        let right = (!fold(sum(&echo))).to_be_bytes();
        let mut good = echo;
        good[2..4].copy_from_slice(&right);
        assert_eq!(states(&ipv4(1, &good))[1], (Kind::Icmp, Checksum::Good));
        assert!(matches!(states(&ipv4(1, &echo))[1].1, Checksum::Bad { .. }));
        let mut v6 = vec![0x60, 0, 0, 0, 0, 8, 58, 64];
        v6.extend([0xfd; 32]);
        v6.extend([128, 0, 0, 0, 0, 1, 0, 2]);
        let right = !fold(sum(&v6[8..]) + 58 + 8);
        v6[42..44].copy_from_slice(&right.to_be_bytes());
        assert_eq!(states(&v6), [(Kind::Icmpv6, Checksum::Good)]);
    }

    #[test]
    fn sctps_checksum_is_a_crc() {
        // From RFC 3720, B.4: 32 octets of zero have the CRC 8a9136aa, lowest octet first on the wire.
        let crc = !(0..32).fold(u32::MAX, |crc, _| crc32c(crc, 0));
        assert_eq!(crc.to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
        let mut packet = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 11, 0, 0, 4];
        assert_eq!(states(&ipv4(132, &packet))[1], (Kind::Sctp, Checksum::Offloaded));
        let crc = !packet.iter().fold(u32::MAX, |crc, octet| crc32c(crc, *octet));
        packet[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(states(&ipv4(132, &packet))[1], (Kind::Sctp, Checksum::Good));
        packet[15] ^= 1;
        assert!(matches!(states(&ipv4(132, &packet))[1].1, Checksum::Bad { .. }));
    }

    #[test]
    fn a_source_route_hides_the_last_destination() {
        let mut packet = ipv4(6, &tcp(1));
        let options = [131, 7, 4, 10, 0, 0, 9, 0];
        packet.splice(20..20, options);
        packet[0] = 0x47;
        packet[3] += 8;
        assert_eq!(states(&packet)[1].1, Checksum::Unknown);
    }
}
