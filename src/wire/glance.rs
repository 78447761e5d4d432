//! One look at a packet of usual headers ([`Usual`]): where its innermost IP header and its payload stand, without a list of
//! its layers. It takes Ethernet frames that hold IPv4 without options with UDP or TCP, bare or in one VXLAN tunnel; whatever
//! else there is has to be decoded. A test holds both ways against each other.

use super::dissector::Ports;
use super::tunnel::{VALID_VNI, has, is_dns};
use super::usual::Usual;
use super::{Tcp, u32_at};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const TCP: usize = 20;

/// Ethernet, IPv4 and the shorter one of the transports.
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
    #[inline]
    pub(super) fn at(bytes: &'a [u8], length: usize, ports: &Ports, sieve: u64) -> Option<Self> {
        let outer = Frame::look(bytes.first_chunk()?, length)?;
        if !outer.is_udp() {
            return outer.tcp(bytes, 0, 0);
        }
        if ports.vxlan.first() != Some(&outer.destination) {
            return outer.udp(bytes, 0, 0, (ports, sieve));
        }
        let head: &[u8; INNER + HEAD] = bytes.first_chunk()?;
        let end = ETHERNET + IPV4 + outer.length;
        if end < INNER + HEAD || head.get(HEAD)? & VALID_VNI == 0 {
            return None;
        }
        let inner = Frame::look(head.last_chunk()?, end - INNER)?;
        if inner.is_udp() { inner.udp(bytes, INNER, 1, (ports, sieve)) } else { inner.tcp(bytes, INNER, 1) }
    }

    /// The two ends of the innermost packet: addresses and ports, the source's first.
    #[inline]
    pub(super) fn ends(&self) -> ([u32; 2], [u16; 2]) {
        let [.., a1, a2, a3, a4, b1, b2, b3, b4, s1, s2, d1, d2, _, _, _, _] = *self.ip;
        let addresses = [[a1, a2, a3, a4], [b1, b2, b3, b4]].map(u32::from_be_bytes);
        (addresses, [[s1, s2], [d1, d2]].map(u16::from_be_bytes))
    }

    /// The protocol of the innermost packet: TCP's or UDP's number.
    #[inline]
    pub(super) fn protocol(&self) -> u8 {
        let [_, _, _, _, _, _, _, _, _, protocol, ..] = *self.ip;
        protocol
    }

    /// The VNI of the tunnel, if there is any.
    #[inline]
    pub(super) fn vni(&self) -> Option<u32> {
        self.usual.tunnel()?;
        Some(u32_at(self.bytes, HEAD + 4)? >> 8)
    }

    /// The TCP header, if it is one.
    #[inline]
    pub(super) fn tcp(&self) -> Option<Tcp> {
        if self.protocol() != 6 {
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
    #[inline]
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.body..self.end.min(self.bytes.len())).unwrap_or_default()
    }
}

impl<'a> Frame<'a> {
    /// The headers of a frame that has so many bytes on the wire, where all is as usual.
    #[inline]
    fn look(head: &'a [u8; HEAD], length: usize) -> Option<Self> {
        let ip: &[u8; IPV4 + UDP] = head.last_chunk()?;
        let [_, _, _, _, _, _, _, _, _, _, _, _, t1, t2, ..] = *head;
        let [version, _, l1, l2, _, _, f1, f2, ..] = *ip;
        let [.., s1, s2, d1, d2, u1, u2, _, _] = *ip;
        let is_part = u16::from_be_bytes([f1, f2]) & 0x3fff != 0;
        // IPv4 without options; neither an offset nor more to come.
        let is_usual = u16::from_be_bytes([t1, t2]) == 0x0800 && version == 0x45 && !is_part;
        let total = usize::from(u16::from_be_bytes([l1, l2]));
        let can_be = total >= IPV4 + UDP && total + ETHERNET <= length;
        (is_usual && can_be)
            .then_some(Self {
                ip,
                total,
                source: u16::from_be_bytes([s1, s2]),
                destination: u16::from_be_bytes([d1, d2]),
                length: usize::from(u16::from_be_bytes([u1, u2])),
            })
            .filter(|frame| !frame.is_udp() || frame.length >= UDP && frame.length <= total - IPV4)
    }

    #[inline]
    fn is_udp(&self) -> bool {
        let [_, _, _, _, _, _, _, _, _, protocol, ..] = *self.ip;
        protocol == 17
    }

    /// A datagram that is no tunnel, in a frame that begins so far behind the packet's first byte, in so many tunnels.
    #[inline]
    fn udp(&self, bytes: &'a [u8], at: usize, tunnels: u8, (ports, sieve): (&Ports, u64)) -> Option<Glance<'a>> {
        let (body, end) = (at + HEAD, at + ETHERNET + IPV4 + self.length);
        let may_be_more = (sieve >> (self.destination & 63) | sieve >> (self.source & 63)) & 1 == 1;
        let glance = Glance { bytes, usual: Usual::udp(tunnels), ip: self.ip, body, end };
        if !may_be_more || end == body {
            return Some(glance);
        }
        let is_message = super::dns::is_message(glance.payload());
        (!has(&ports.vxlan, self.destination) && is_dns(self.source, self.destination) && is_message)
            .then_some(Glance { usual: Usual::dns(tunnels), ..glance })
    }

    /// The same of a segment.
    #[inline]
    fn tcp(&self, bytes: &'a [u8], at: usize, tunnels: u8) -> Option<Glance<'a>> {
        let transport = at + ETHERNET + IPV4;
        let [_, _, _, _, _, _, _, _, _, protocol, ..] = *self.ip;
        let size = usize::from(bytes.get(transport + 12)? >> 4) * 4;
        let (body, end) = (transport + size, at + ETHERNET + self.total);
        // What goes to a name server may be a message.
        let is_usual =
            protocol == 6 && size >= TCP && body <= end.min(bytes.len()) && self.source != 53 && self.destination != 53;
        is_usual.then_some(Glance { bytes, usual: Usual::tcp(tunnels), ip: self.ip, body, end })
    }
}
