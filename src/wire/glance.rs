//! One look at a packet of usual headers ([`Usual`]): where its innermost IP header and its payload stand, without a list of
//! its layers. It takes Ethernet frames that hold IPv4 without options with UDP, TCP or an ICMP message that quotes nothing,
//! bare or in one VXLAN tunnel; whatever else there is has to be decoded. A test holds both ways against each other.

#![expect(clippy::inline_always, reason = "what is found stays in registers, where each caller has a copy")]

use super::dissector::Ports;
use super::icmp::is_error;
use super::tunnel::{VALID_VNI, has, is_asked, is_dns};
use super::usual::Usual;
use super::{Tcp, u32_at};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const TCP: usize = 20;

const ICMP_NUMBER: u8 = 1;
const TCP_NUMBER: u8 = 6;
const UDP_NUMBER: u8 = 17;

/// Ethernet, IPv4 and the shortest one of the transports.
const HEAD: usize = ETHERNET + IPV4 + UDP;
/// Where a frame in a VXLAN tunnel begins.
const INNER: usize = HEAD + 8;

/// Where the headers of a packet stand that are nothing but usual ones, and in one tunnel at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance<'a> {
    /// The bytes as captured.
    pub(crate) bytes: &'a [u8],
    /// Which headers they are.
    pub(crate) usual: Usual,
    /// The innermost IPv4 header, and the first bytes of the transport's.
    ip: &'a [u8; IPV4 + UDP],
    /// Where the payload of the transport header begins, and where it ends on the wire.
    body: usize,
    end: usize,
}

/// One frame's headers.
struct Frame<'a> {
    ip: &'a [u8; IPV4 + UDP],
    /// IP's total length.
    total: usize,
    source: u16,
    destination: u16,
    /// UDP's length.
    length: usize,
}

impl<'a> Glance<'a> {
    /// Looks at an Ethernet frame that has so many bytes on the wire, which are no fewer than were captured.
    #[inline(always)]
    pub(super) fn at(bytes: &'a [u8], length: usize, ports: &Ports, sieve: u64) -> Option<Self> {
        let outer = Frame::look(bytes.first_chunk()?, length)?;
        let is_tunnel = outer.protocol() == UDP_NUMBER && ports.vxlan.first() == Some(&outer.destination);
        let (frame, at, tunnels) = if is_tunnel { (outer.inner(bytes)?, INNER, 1) } else { (outer, 0, 0) };
        match frame.protocol() {
            TCP_NUMBER => frame.tcp(bytes, at, tunnels),
            UDP_NUMBER => frame.udp(bytes, at, tunnels, (ports, sieve)),
            ICMP_NUMBER => frame.icmp(bytes, at, tunnels),
            _ => None,
        }
    }

    /// The addresses of the innermost packet, the source's first.
    #[inline(always)]
    pub(super) fn addresses(&self) -> [u32; 2] {
        let [.., a1, a2, a3, a4, b1, b2, b3, b4, _, _, _, _, _, _, _, _] = *self.ip;
        [[a1, a2, a3, a4], [b1, b2, b3, b4]].map(u32::from_be_bytes)
    }

    /// Its ports, the source's first; ICMP has none.
    #[inline(always)]
    pub(super) fn ports(&self) -> Option<[u16; 2]> {
        let [.., s1, s2, d1, d2, _, _, _, _] = *self.ip;
        (self.protocol() != ICMP_NUMBER).then_some([[s1, s2], [d1, d2]].map(u16::from_be_bytes))
    }

    /// The protocol of the innermost packet: the number of TCP, UDP or ICMP.
    #[inline(always)]
    pub(super) fn protocol(&self) -> u8 {
        let [_, _, _, _, _, _, _, _, _, protocol, ..] = *self.ip;
        protocol
    }

    /// The VNI of the tunnel, if there is any.
    #[inline(always)]
    pub(super) fn vni(&self) -> Option<u32> {
        self.usual.tunnel()?;
        Some(u32_at(self.bytes, HEAD + 4)? >> 8)
    }

    /// The TCP header, if it is one.
    #[inline(always)]
    pub(super) fn tcp(&self) -> Option<Tcp> {
        if self.protocol() != TCP_NUMBER {
            return None;
        }
        let at = if self.usual.tunnels() > 0 { INNER } else { 0 } + ETHERNET + IPV4;
        let header: &[u8; TCP] = self.bytes.get(at..)?.first_chunk()?;
        let [_, _, _, _, s1, s2, s3, s4, a1, a2, a3, a4, f1, f2, w1, w2, ..] = *header;
        Some(Tcp {
            sequence: u32::from_be_bytes([s1, s2, s3, s4]),
            acknowledgement: u32::from_be_bytes([a1, a2, a3, a4]),
            flags: u16::from_be_bytes([f1, f2]) & 0x0fff,
            window: u16::from_be_bytes([w1, w2]),
            payload: u32::try_from(self.end - self.body).unwrap_or(0),
        })
    }

    /// What the transport header carries, as far as it was captured.
    #[inline(always)]
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.body..self.end.min(self.bytes.len())).unwrap_or_default()
    }
}

impl<'a> Frame<'a> {
    /// The headers of a frame that has so many bytes on the wire, where all is as usual.
    #[inline(always)]
    fn look(head: &'a [u8; HEAD], length: usize) -> Option<Self> {
        let ip: &[u8; IPV4 + UDP] = head.last_chunk()?;
        let [_, _, _, _, _, _, _, _, _, _, _, _, t1, t2, ..] = *head;
        let [version, service, l1, l2, _, _, f1, f2, ..] = *ip;
        let [.., s1, s2, d1, d2, u1, u2, _, _] = *ip;
        let is_part = u16::from_be_bytes([f1, f2]) & 0x3fff != 0;
        // IPv4 without options; neither an offset nor more to come.
        let is_usual = u32::from_be_bytes([t1, t2, version, service]) >> 8 == 0x0008_0045 && !is_part;
        let total = usize::from(u16::from_be_bytes([l1, l2]));
        let can_be = total >= IPV4 + UDP && total + ETHERNET <= length;
        (is_usual && can_be).then_some(Self {
            ip,
            total,
            source: u16::from_be_bytes([s1, s2]),
            destination: u16::from_be_bytes([d1, d2]),
            length: usize::from(u16::from_be_bytes([u1, u2])),
        })
    }

    /// Whether UDP's length can be.
    #[inline(always)]
    fn is_datagram(&self) -> bool {
        self.length >= UDP && self.length <= self.total - IPV4
    }

    /// The headers of the frame in the VXLAN tunnel that this one is.
    #[inline(always)]
    fn inner(&self, bytes: &'a [u8]) -> Option<Self> {
        let head: &[u8; INNER + HEAD] = bytes.first_chunk()?;
        let end = ETHERNET + IPV4 + self.length;
        if !self.is_datagram() || end < INNER + HEAD || head.get(HEAD)? & VALID_VNI == 0 {
            return None;
        }
        Self::look(head.last_chunk()?, end - INNER)
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        let [_, _, _, _, _, _, _, _, _, protocol, ..] = *self.ip;
        protocol
    }

    /// A datagram that is no tunnel, in a frame that begins so far behind the packet's first byte, in so many tunnels.
    #[inline(always)]
    fn udp(&self, bytes: &'a [u8], at: usize, tunnels: u8, (ports, sieve): (&Ports, u64)) -> Option<Glance<'a>> {
        if !self.is_datagram() {
            return None;
        }
        let (body, end) = (at + HEAD, at + ETHERNET + IPV4 + self.length);
        let may_be_more = (sieve >> (self.destination & 63) | sieve >> (self.source & 63)) & 1 == 1;
        let glance = Glance { bytes, usual: Usual::udp(tunnels), ip: self.ip, body, end };
        if !may_be_more || end == body {
            return Some(glance);
        }
        if has(&ports.vxlan, self.destination) {
            return None;
        }
        if is_dns(self.source, self.destination) {
            let is_message = super::dns::is_message(glance.payload());
            return is_message.then_some(Glance { usual: Usual::dns(tunnels), ..glance });
        }
        (!is_asked(ports, self.source, self.destination)).then_some(glance)
    }

    /// The same of a segment.
    #[inline(always)]
    fn tcp(&self, bytes: &'a [u8], at: usize, tunnels: u8) -> Option<Glance<'a>> {
        let transport = at + ETHERNET + IPV4;
        let size = usize::from(bytes.get(transport + 12)? >> 4) * 4;
        let (body, end) = (transport + size, at + ETHERNET + self.total);
        // What goes to a name server may be a message.
        let is_usual = size >= TCP && body <= end.min(bytes.len()) && self.source != 53 && self.destination != 53;
        is_usual.then_some(Glance { bytes, usual: Usual::tcp(tunnels), ip: self.ip, body, end })
    }

    /// The same of a message of ICMP.
    #[inline(always)]
    fn icmp(&self, bytes: &'a [u8], at: usize, tunnels: u8) -> Option<Glance<'a>> {
        let [kind, _] = self.source.to_be_bytes();
        let (body, end) = (at + HEAD, at + ETHERNET + self.total);
        (!is_error(kind)).then_some(Glance { bytes, usual: Usual::icmp(tunnels), ip: self.ip, body, end })
    }
}
