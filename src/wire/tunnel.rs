//! Tunnels over UDP, and GRE.

use super::dissector::{Next, Walk};
use super::{Kind, Ports, Reason};

/// The flag of VXLAN's first octet that makes the VNI valid (RFC 7348).
pub(super) const VALID_VNI: u8 = 0x08;
/// MPLS over UDP (RFC 7510).
const MPLS: u16 = 6635;
/// Teredo's servers and relays.
const TEREDO: u16 = 3544;
/// DNS, multicast DNS, and link-local multicast name resolution.
const DNS: [u16; 3] = [53, 5353, 5355];

const CHECKSUM: u8 = 0x80;
const ROUTING: u8 = 0x40;
const KEY: u8 = 0x20;
const SEQUENCE: u8 = 0x10;

/// Whether a port is among a few.
#[inline]
#[expect(clippy::manual_contains, reason = "they are too few for `contains`, which asks for eight at once")]
pub(super) fn has(ports: &[u16], port: u16) -> bool {
    ports.iter().any(|known| *known == port)
}

/// Whether a datagram's ports are those of name servers.
#[inline]
pub(super) fn is_dns(source: u16, destination: u16) -> bool {
    has(&DNS, destination) || has(&DNS, source)
}

/// Whether datagrams between two ports are decoded, beyond messages of DNS.
pub(super) fn is_asked(ports: &Ports, source: u16, destination: u16) -> bool {
    let Ports { vxlan, geneve, wireguard, flannel_udp } = ports;
    let is_there = [vxlan, geneve, wireguard, flannel_udp].into_iter().any(|ports| has(ports, destination));
    is_there || has(wireguard, source) || has(&[MPLS, TEREDO], destination) || source == TEREDO
}

/// The ports of datagrams that may hold more headers, DNS's apart, by what [`sieved`] makes of them: of nearly all others it
/// tells that they are not among them.
pub(super) fn sieve(ports: &Ports) -> u64 {
    let Ports { vxlan, geneve, wireguard, flannel_udp } = ports;
    let asked = [vxlan, geneve, wireguard, flannel_udp].into_iter().flatten();
    asked.chain(&[MPLS, TEREDO]).fold(0, |bits, port| bits | 1 << sieved(port.to_be_bytes()))
}

/// The place of a port's octets in the sieve. None of the tunnels' usual ports has that of 53.
#[inline]
pub(super) fn sieved([high, low]: [u8; 2]) -> u8 {
    (high ^ low) & 63
}

impl Walk<'_> {
    /// The receiver's port tells what a datagram is; a sender's does where a name server answers.
    #[inline]
    pub(super) fn udp_payload(&mut self, source: u16, destination: u16) -> Next {
        let passed = |port: u16| self.sieve >> sieved(port.to_be_bytes());
        let may_be = (passed(destination) | passed(source)) & 1 == 1;
        if !may_be && !is_dns(source, destination) || self.left() == 0 {
            return Next::Done;
        }
        let ports = self.ports;
        if has(&ports.vxlan, destination) {
            return self.vxlan();
        }
        if is_dns(source, destination) {
            return self.dns();
        }
        if has(&ports.geneve, destination) {
            return self.geneve();
        }
        if has(&ports.flannel_udp, destination) {
            return self.flannel_udp();
        }
        if has(&ports.wireguard, destination) || has(&ports.wireguard, source) {
            return self.wireguard();
        }
        if destination == MPLS {
            return Next::Mpls;
        }
        if destination == TEREDO || source == TEREDO {
            return self.teredo();
        }
        Next::Done
    }

    #[inline]
    fn vxlan(&mut self) -> Next {
        let Some(&[flags, ..]) = self.header::<8>() else { return self.ends(Kind::Vxlan, 8) };
        if flags & VALID_VNI == 0 {
            return self.stop(0, Reason::NoVni);
        }
        self.pass(Kind::Vxlan, 8);
        Next::Ethernet
    }

    fn geneve(&mut self) -> Next {
        let Some(&[first, _, p1, p2, ..]) = self.header::<8>() else { return self.ends(Kind::Geneve, 8) };
        if first >> 6 != 0 {
            return self.stop(0, Reason::Version(Kind::Geneve, first >> 6));
        }
        if !self.pass_all(Kind::Geneve, 8 + u32::from(first & 0x3f) * 4) {
            return Next::Done;
        }
        self.ether_type_next(u16::from_be_bytes([p1, p2]))
    }

    fn flannel_udp(&mut self) -> Next {
        self.pass(Kind::FlannelUdp, 0);
        Next::Ip
    }

    /// The message's type and three octets of zero; what else comes to these ports is some other datagram.
    fn wireguard(&mut self) -> Next {
        let sizes = match self.rest {
            [1, 0, 0, 0, ..] => 148..=148,
            [2, 0, 0, 0, ..] => 92..=92,
            [3, 0, 0, 0, ..] => 64..=64,
            [4, 0, 0, 0, ..] => 32..=u32::MAX,
            _ => return Next::Done,
        };
        if sizes.contains(&self.left()) {
            // Type, reserved octets, and the index of the receiver (of the sender in the first message).
            if !self.pass_all(Kind::Wireguard, 8) {
                return Next::Done;
            }
        }
        Next::Done
    }

    /// An authentication (its lengths stand in it) and an origin may stand before the packet (RFC 4380, 5.1.1).
    fn teredo(&mut self) -> Next {
        let rest = self.rest;
        let authentication = match *rest {
            [0, 1, client, value, ..] => 13 + u32::from(client) + u32::from(value),
            _ => 0,
        };
        let origin = match rest.get(authentication as usize..) {
            Some([0, 0, ..]) => 8,
            _ => 0,
        };
        let size = authentication + origin;
        // What else comes to this port is some other datagram.
        if rest.get(size as usize).is_none_or(|octet| octet >> 4 != 6) {
            return Next::Done;
        }
        if !self.pass_all(Kind::Teredo, size) {
            return Next::Done;
        }
        Next::Ipv6
    }

    pub(super) fn dns(&mut self) -> Next {
        if super::dns::is_message(self.rest) {
            self.pass(Kind::Dns, 12);
        } else if self.left() >= 12 {
            return self.ends(Kind::Dns, 12);
        }
        Next::Done
    }

    /// GRE (RFC 2784, 2890), and its second version of PPTP (RFC 2637).
    pub(super) fn gre(&mut self) -> Next {
        let Some(&[flags, version, p1, p2]) = self.header::<4>() else { return self.ends(Kind::Gre, 4) };
        let number = u16::from_be_bytes([p1, p2]);
        let has = |flag: u8| flags & flag != 0;
        let mut size = 4;
        match version & 0b111 {
            0 => size += if has(CHECKSUM) || has(ROUTING) { 4 } else { 0 },
            // The acknowledgement's number has its flag in the second octet.
            1 => size += u32::from(version >> 7) * 4,
            version => return self.stop(1, Reason::Version(Kind::Gre, version)),
        }
        size += u32::from(has(KEY)) * 4 + u32::from(has(SEQUENCE)) * 4;
        if !self.pass_all(Kind::Gre, size) {
            return Next::Done;
        }
        if has(ROUTING) && version.is_multiple_of(8) {
            return self.stop(0, Reason::Unknown(Kind::Gre));
        }
        match (number, self.left()) {
            // A keepalive carries nothing.
            (0, _) | (_, 0) => Next::Done,
            _ => self.gre_type(number, has(SEQUENCE)),
        }
    }
}
