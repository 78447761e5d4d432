//! One look at a packet of usual headers ([`Usual`]): where its innermost IP header and its payload stand, without a list of
//! its layers. It takes Ethernet frames that hold IPv4 without options with UDP, TCP or an ICMP message that quotes nothing,
//! bare or in one VXLAN tunnel; whatever else there is has to be decoded. A test holds both ways against each other.

#![expect(clippy::inline_always, reason = "what is found stays in registers, where each caller has a copy")]

use super::dissector::Ports;
use super::icmp::is_error;
use super::tunnel::{VALID_VNI, is_asked, is_dns, sieved};
use super::usual::Usual;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: u32 = 8;
const TCP: u32 = 20;

const ICMP_NUMBER: u8 = 1;
const TCP_NUMBER: u8 = 6;
const UDP_NUMBER: u8 = 17;
/// Those three, each as the bit of its number.
const NUMBERS: u32 = 1 << ICMP_NUMBER | 1 << TCP_NUMBER | 1 << UDP_NUMBER;

/// IP's header, and the first bytes of the transport's.
const IP_HEAD: usize = IPV4 + 8;
/// Ethernet, IPv4 and the shortest one of the transports.
const HEAD: usize = ETHERNET + IP_HEAD;
/// Where the transport header begins.
const HEADS: usize = ETHERNET + IPV4;
/// A TCP header up to its flags.
const SEGMENT: usize = 14;
/// Where a frame in a VXLAN tunnel begins.
const INNER: usize = HEAD + 8;

/// Where the headers of a packet stand that are nothing but usual ones, and in one tunnel at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance<'a> {
    /// The bytes as captured.
    pub(crate) bytes: &'a [u8],
    /// One more than the VNI of the VXLAN tunnel; 0 where there is none.
    pub(super) tunnel: u32,
    /// Where the innermost transport header begins.
    at: usize,
    /// The innermost IPv4 header, and the first bytes of the transport's.
    ip: &'a [u8; IP_HEAD],
    /// The first bytes of the transport's header and of what it carries, up to where TCP's flags end; 0 where the packet is
    /// shorter.
    segment: &'a [u8; SEGMENT],
    protocol: u8,
    /// How long the transport's header is.
    size: u32,
    /// The same with its payload, on the wire.
    length: u32,
}

/// The IPv4 header of a frame, where it is a usual one.
struct Ip<'a> {
    header: &'a [u8; IP_HEAD],
    protocol: u8,
    /// How many bytes stand behind it.
    room: u32,
}

/// What a look needs to know of the ports.
#[derive(Clone, Copy)]
pub(super) struct Sieve<'a> {
    pub(super) ports: &'a Ports,
    /// VXLAN's first one.
    pub(super) vxlan: Option<u16>,
    /// See [`super::tunnel::sieve`].
    pub(super) bits: u64,
}

impl<'a> Glance<'a> {
    /// Looks at an Ethernet frame that has so many bytes on the wire, which are no fewer than were captured.
    #[inline(always)]
    pub(super) fn at(bytes: &'a [u8], length: usize, sieve: Sieve<'_>) -> Option<Self> {
        let outer = Ip::look(bytes.first_chunk()?, length)?;
        if outer.protocol == UDP_NUMBER && Some(outer.destination()) == sieve.vxlan {
            let (inner, vni) = outer.inner(bytes)?;
            inner.transport(bytes, vni + 1, INNER + HEADS, sieve)
        } else {
            outer.transport(bytes, 0, HEADS, sieve)
        }
    }

    /// The addresses of the innermost packet, the source's first.
    #[inline(always)]
    pub(super) fn addresses(&self) -> [[u8; 4]; 2] {
        let [.., a1, a2, a3, a4, b1, b2, b3, b4, _, _, _, _, _, _, _, _] = *self.ip;
        [[a1, a2, a3, a4], [b1, b2, b3, b4]]
    }

    /// Whether it has ports: ICMP has none.
    #[inline(always)]
    pub(super) fn has_ports(&self) -> bool {
        self.protocol != ICMP_NUMBER
    }

    /// Its ports, the source's first; 0 where it has none.
    #[inline(always)]
    pub(super) fn ports(&self) -> [[u8; 2]; 2] {
        let [.., s1, s2, d1, d2, _, _, _, _] = *self.ip;
        let mask = u32::from(self.has_ports()).wrapping_neg();
        let [s1, s2, d1, d2] = (u32::from_le_bytes([s1, s2, d1, d2]) & mask).to_le_bytes();
        [[s1, s2], [d1, d2]]
    }

    /// The protocol of the innermost packet: the number of TCP, UDP or ICMP.
    #[inline(always)]
    pub(super) fn protocol(&self) -> u8 {
        self.protocol
    }

    /// What counts of the TCP header: its sequence number, its payload's length and the flags' last eight bits; all of them 0
    /// where it is none.
    #[inline(always)]
    pub(super) fn segment(&self) -> (u32, u32, u8) {
        let [_, _, _, _, s1, s2, s3, s4, .., flags] = *self.segment;
        // Which packets are segments nobody can foretell: this way the processor need not.
        let mask = u32::from(self.protocol == TCP_NUMBER).wrapping_neg();
        let payload = self.length - self.size;
        (u32::from_be_bytes([s1, s2, s3, s4]) & mask, payload & mask, flags & (mask & 0xff) as u8)
    }

    /// Which headers they are, and the DNS message behind them. Nothing where a name server is spoken to by TCP, or by what is
    /// no whole message.
    #[inline(always)]
    pub(crate) fn usual(&self) -> Option<(Usual, &'a [u8])> {
        let [.., s1, s2, d1, d2, _, _, _, _] = *self.ip;
        let (source, destination) = (u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]));
        let tunnels = u8::from(self.tunnel > 0);
        match self.protocol {
            TCP_NUMBER => (source != 53 && destination != 53).then_some((Usual::tcp(tunnels), &[])),
            UDP_NUMBER if is_dns(source, destination) && self.size < self.length => {
                let message = self.payload();
                super::dns::is_message(message).then_some((Usual::dns(tunnels), message))
            }
            UDP_NUMBER => Some((Usual::udp(tunnels), &[])),
            _ => Some((Usual::icmp(tunnels), &[])),
        }
    }

    /// What the transport header carries, as far as it was captured.
    #[inline(always)]
    pub(super) fn payload(&self) -> &'a [u8] {
        let end = (self.at + self.length as usize).min(self.bytes.len());
        self.bytes.get(self.at + self.size as usize..end).unwrap_or_default()
    }
}

impl<'a> Ip<'a> {
    /// The header in a frame that has so many bytes on the wire.
    #[inline(always)]
    fn look(head: &'a [u8; HEAD], length: usize) -> Option<Self> {
        let [_, _, _, _, _, _, _, _, _, _, _, _, t1, t2, version, _, l1, l2, ..] = *head;
        let [.., f1, f2, _, protocol, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *head;
        // IPv4 without options; neither an offset nor more to come.
        if u16::from_be_bytes([t1, t2]) != 0x0800 || version != 0x45 || u16::from_be_bytes([f1, f2]) & 0x3fff != 0 {
            return None;
        }
        let total = u16::from_be_bytes([l1, l2]);
        if usize::from(total) < IP_HEAD || usize::from(total) + ETHERNET > length {
            return None;
        }
        Some(Self { header: head.last_chunk()?, protocol, room: u32::from(total) - 20 })
    }

    #[inline(always)]
    fn ports(&self) -> (u16, u16) {
        let [.., s1, s2, d1, d2, _, _, _, _] = *self.header;
        (u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]))
    }

    #[inline(always)]
    fn destination(&self) -> u16 {
        self.ports().1
    }

    /// UDP's length.
    #[inline(always)]
    fn length(&self) -> u32 {
        let [.., l1, l2, _, _] = *self.header;
        u16::from_be_bytes([l1, l2]).into()
    }

    /// The header in the frame in the VXLAN tunnel that this one is, and the tunnel's VNI.
    #[inline(always)]
    fn inner(&self, bytes: &'a [u8]) -> Option<(Self, u32)> {
        let head: &[u8; INNER + HEAD] = bytes.first_chunk()?;
        let [flags, _, _, _, v1, v2, v3, _] = *head.get(HEAD..INNER)?.first_chunk()?;
        let inside = (self.length() as usize).checked_sub(16)?;
        if self.length() > self.room || flags & VALID_VNI == 0 {
            return None;
        }
        Some((Self::look(head.last_chunk()?, inside)?, u32::from_be_bytes([0, v1, v2, v3])))
    }

    /// The header behind it, where that is a usual one: in that tunnel, so far behind the packet's first byte. Which of the
    /// three it is nobody can foretell, so that what differs is chosen without a branch.
    #[inline(always)]
    fn transport(&self, bytes: &'a [u8], tunnel: u32, at: usize, sieve: Sieve<'_>) -> Option<Glance<'a>> {
        let Self { header: ip, protocol, room } = *self;
        let (is_tcp, is_udp) = (protocol == TCP_NUMBER, protocol == UDP_NUMBER);
        let segment: &[u8; SEGMENT] = bytes.get(at..)?.first_chunk().unwrap_or(&[0; SEGMENT]);
        let [.., offset, _] = *segment;
        let offset = u32::from(offset >> 4) * 4;
        let mask = u32::from(is_tcp).wrapping_neg();
        let (size, least) = (offset & mask | UDP & !mask, TCP & mask | UDP & !mask);
        let datagram = self.length();
        let length = if is_udp { datagram } else { room };
        let is_known = protocol < 32 && NUMBERS >> protocol & 1 == 1;
        let is_there = at + size as usize <= bytes.len();
        if !is_known || size < least || size > length || length > room || !is_there {
            return None;
        }
        let [.., s1, s2, d1, d2, _, _, _, _] = *ip;
        let bits = if is_udp { sieve.bits } else { 0 };
        let may_be_more = (bits >> sieved([s1, s2]) | bits >> sieved([d1, d2])) & 1 != 0;
        let is_more = may_be_more && is_more(sieve.ports, self.ports(), size < length);
        if is_more || protocol == ICMP_NUMBER && is_error(s1) {
            return None;
        }
        Some(Glance { bytes, tunnel, at, ip, segment, protocol, size, length })
    }
}

/// Whether a datagram that may hold more headers does.
#[cold]
fn is_more(ports: &Ports, (source, destination): (u16, u16), has_payload: bool) -> bool {
    has_payload && is_asked(ports, source, destination)
}
