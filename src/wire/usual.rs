//! The headers that nearly every packet begins with: Ethernet, IPv4 without options, UDP, TCP or ICMP, and VXLAN between two
//! of these. They stand at fixed offsets, so that one look tells whether all of them are there, whole and true;
//! wherever that is not so, the packet is decoded header by header. A test holds both ways against each other.

use super::dissector::{Next, Stack, Walk};
use super::icmp::is_error;
use super::tunnel::VALID_VNI;
use super::{Kind, Layer};

const ETHERNET: u32 = 14;
const IPV4: u32 = 20;
const UDP: u32 = 8;
const TCP: u32 = 20;
const ICMP: u32 = 8;
const VXLAN: u32 = 8;

/// Ethernet, IPv4 and the shortest one of the transports.
const HEAD: usize = 42;

/// How many headers a VXLAN tunnel has: Ethernet, IPv4, UDP and its own.
const TUNNEL: usize = 4;

/// All that a packet's headers are, where they are nothing but these usual ones from its first byte to its payload: so
/// many tunnels, and UDP, UDP with DNS, TCP, or ICMP that quotes nothing. It says where each of them begins, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usual(u8);

/// So many transports there are, in each number of tunnels.
const TRANSPORTS: u8 = 4;

impl Usual {
    /// How many there are.
    pub(crate) const COUNT: usize = 4 * TRANSPORTS as usize;

    /// The headers of a packet of which the walk passed so many tunnels.
    #[inline]
    pub(super) fn of(tunnels: u8, layers: &[Layer]) -> Option<Self> {
        let transport = match layers.get(usize::from(tunnels) * TUNNEL + 2..)? {
            [Layer { kind: Kind::Udp, .. }] => 0,
            [Layer { kind: Kind::Udp, .. }, Layer { kind: Kind::Dns, .. }] => 1,
            [Layer { kind: Kind::Tcp, .. }] => 2,
            [Layer { kind: Kind::Icmp, .. }] => 3,
            _ => return None,
        };
        let number = tunnels.checked_mul(TRANSPORTS)?.checked_add(transport)?;
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    /// UDP in so many tunnels, of which there are few.
    #[inline]
    pub(super) const fn udp(tunnels: u8) -> Self {
        Self(tunnels * TRANSPORTS)
    }

    /// DNS over UDP.
    #[inline]
    pub(super) const fn dns(tunnels: u8) -> Self {
        Self(tunnels * TRANSPORTS + 1)
    }

    /// TCP.
    #[inline]
    pub(super) const fn tcp(tunnels: u8) -> Self {
        Self(tunnels * TRANSPORTS + 2)
    }

    /// ICMP.
    #[inline]
    pub(super) const fn icmp(tunnels: u8) -> Self {
        Self(tunnels * TRANSPORTS + 3)
    }

    /// Its number, below [`Self::COUNT`].
    #[inline]
    pub(crate) fn number(self) -> usize {
        self.0.into()
    }

    /// The place of the innermost network header.
    #[inline]
    pub(super) fn network(self) -> usize {
        self.tunnels() * TUNNEL + 1
    }

    /// How many tunnels there are.
    #[inline]
    pub(super) fn tunnels(self) -> usize {
        usize::from(self.0 / TRANSPORTS)
    }
}

/// Where the walk is, in registers.
#[derive(Clone, Copy)]
struct Place<'a> {
    rest: &'a [u8],
    at: u32,
    end: u32,
}

impl Place<'_> {
    /// So many bytes further; what is there ends so many bytes behind here.
    #[inline]
    fn further(self, size: u32, end: u32) -> Self {
        let rest = self.rest.get(size as usize..).unwrap_or_default();
        let rest = rest.get(..(end - size) as usize).unwrap_or(rest);
        Self { rest, at: self.at + size, end: self.at + end }
    }

    #[inline]
    fn layer(self, kind: Kind, start: u32, body: u32, end: u32) -> Layer {
        Layer { kind, start: self.at + start, body: self.at + body, end: self.at + end }
    }
}

/// What stands behind IP's header.
enum Transport {
    Udp { source: u16, destination: u16, length: u32 },
    Tcp { source: u16, destination: u16, size: u32 },
    Icmp,
}

impl<'a> Walk<'a> {
    /// Passes as many headers as are as usual; `None` where the next one is not.
    #[inline]
    pub(super) fn usual(&mut self) -> Option<Next> {
        let mut place = Place { rest: self.rest, at: self.at, end: self.end };
        let vxlan = self.ports.vxlan.first().copied();
        let (is_first, mut tunnels) = (self.layers.is_empty(), 0_u8);
        while let Some((total, transport)) = look(place) {
            match transport {
                Transport::Udp { destination, length, .. } if Some(destination) == vxlan && is_vxlan(place, length) => {
                    place = through_vxlan(self.layers, place, total, length);
                    tunnels = tunnels.saturating_add(1);
                }
                Transport::Udp { source, destination, length } => {
                    let layers = below(place, total, Kind::Udp, UDP, length);
                    self.layers.add_all(layers);
                    self.tunnels = is_first.then_some(tunnels);
                    self.go(place.further(ETHERNET + IPV4 + UDP, ETHERNET + IPV4 + length));
                    return Some(self.udp_payload(source, destination));
                }
                Transport::Tcp { source, destination, size } => {
                    let layers = below(place, total, Kind::Tcp, size, total - IPV4);
                    self.layers.add_all(layers);
                    self.tunnels = is_first.then_some(tunnels);
                    self.go(place.further(ETHERNET + IPV4 + size, ETHERNET + total));
                    return Some(self.tcp_payload(source, destination));
                }
                Transport::Icmp => {
                    let layers = below(place, total, Kind::Icmp, ICMP, total - IPV4);
                    self.layers.add_all(layers);
                    self.tunnels = is_first.then_some(tunnels);
                    self.go(place.further(ETHERNET + IPV4 + ICMP, ETHERNET + total));
                    return Some(Next::Done);
                }
            }
        }
        self.go(place);
        None
    }

    #[inline]
    fn go(&mut self, place: Place<'a>) {
        Place { rest: self.rest, at: self.at, end: self.end } = place;
    }
}

/// IP's total length and the transport's header, where all is as usual.
#[inline]
fn look(place: Place<'_>) -> Option<(u32, Transport)> {
    let head = place.rest.first_chunk::<HEAD>()?;
    let [_, _, _, _, _, _, _, _, _, _, _, _, 8, 0, ip @ ..] = head else { return None };
    let [0x45, _, l1, l2, _, _, f1, f2, _, protocol, _, _, _, _, _, _, _, _, _, _, transport @ ..] = ip else {
        return None;
    };
    let total = u32::from(u16::from_be_bytes([*l1, *l2]));
    // Neither an offset nor more to come, and a length that can be.
    if u16::from_be_bytes([*f1, *f2]) & 0x3fff != 0 || total < IPV4 + UDP || total + ETHERNET > place.end - place.at {
        return None;
    }
    let [s1, s2, d1, d2, l1, l2, ..] = *transport;
    let (source, destination) = (u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]));
    match protocol {
        17 => {
            let length = u32::from(u16::from_be_bytes([l1, l2]));
            let is_usual = length >= UDP && length <= total - IPV4;
            is_usual.then_some((total, Transport::Udp { source, destination, length }))
        }
        6 => {
            // The offset of the data.
            let size = u32::from(place.rest.get(46)? >> 4) * 4;
            let is_there = (ETHERNET + IPV4 + size) as usize <= place.rest.len();
            let is_usual = size >= TCP && size <= total - IPV4 && is_there;
            is_usual.then_some((total, Transport::Tcp { source, destination, size }))
        }
        // An error quotes a packet, which has headers too.
        1 => (!is_error(s1)).then_some((total, Transport::Icmp)),
        _ => None,
    }
}

/// Whether a datagram of this length has a VXLAN header with a VNI.
#[inline]
fn is_vxlan(place: Place<'_>, length: u32) -> bool {
    let flags = place.rest.get(HEAD..HEAD + VXLAN as usize).and_then(<[u8]>::first);
    length >= UDP + VXLAN && flags.is_some_and(|flags| flags & VALID_VNI != 0)
}

/// The headers up to the transport's, which has so many bytes and ends so many behind its first.
#[inline]
fn below(place: Place<'_>, total: u32, kind: Kind, size: u32, length: u32) -> [Layer; 3] {
    const TRANSPORT: u32 = ETHERNET + IPV4;
    [
        place.layer(Kind::Ethernet, 0, ETHERNET, place.end - place.at),
        place.layer(Kind::Ipv4, ETHERNET, TRANSPORT, ETHERNET + total),
        place.layer(kind, TRANSPORT, TRANSPORT + size, TRANSPORT + length),
    ]
}

/// The place behind a VXLAN header.
#[inline]
fn through_vxlan<'a>(layers: &mut Stack, place: Place<'a>, total: u32, length: u32) -> Place<'a> {
    const TUNNEL: u32 = ETHERNET + IPV4 + UDP;
    let end = ETHERNET + IPV4 + length;
    let [ethernet, ip, udp] = below(place, total, Kind::Udp, UDP, length);
    layers.add_all([ethernet, ip, udp, place.layer(Kind::Vxlan, TUNNEL, TUNNEL + VXLAN, end)]);
    place.further(TUNNEL + VXLAN, end)
}
