//! Tunnels over UDP, and GRE.

use super::dissector::{Next, Step, Walk};
use super::{Kind, Reason};

/// The flag of VXLAN's first octet that makes the VNI valid (RFC 7348).
const VALID_VNI: u8 = 0x08;
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

impl Walk<'_> {
    /// The receiver's port tells what a datagram is; a sender's does where a name server answers.
    #[inline]
    pub(super) fn udp_payload(&mut self, source: u16, destination: u16) -> Step {
        if self.left() == 0 {
            return Ok(Next::Done);
        }
        let ports = self.ports;
        if ports.vxlan.contains(&destination) {
            return self.vxlan();
        }
        if DNS.contains(&destination) || DNS.contains(&source) {
            return Ok(self.dns());
        }
        if ports.geneve.contains(&destination) {
            return self.geneve();
        }
        if ports.flannel_udp.contains(&destination) {
            return Ok(self.flannel_udp());
        }
        if ports.wireguard.contains(&destination) || ports.wireguard.contains(&source) {
            return self.wireguard();
        }
        if destination == MPLS {
            return Ok(Next::Mpls);
        }
        if destination == TEREDO || source == TEREDO {
            return self.teredo();
        }
        Ok(Next::Done)
    }

    #[inline]
    fn vxlan(&mut self) -> Step {
        let [flags, ..] = *self.header::<8>(Kind::Vxlan)?;
        if flags & VALID_VNI == 0 {
            return Err(self.flaw(0, Reason::NoVni));
        }
        self.pass(Kind::Vxlan, 8);
        Ok(Next::Ethernet)
    }

    fn geneve(&mut self) -> Step {
        let [first, _, p1, p2, ..] = *self.header::<8>(Kind::Geneve)?;
        if first >> 6 != 0 {
            return Err(self.flaw(0, Reason::Version(Kind::Geneve, first >> 6)));
        }
        self.pass_all(Kind::Geneve, 8 + u32::from(first & 0x3f) * 4)?;
        Ok(Next::EtherType(u16::from_be_bytes([p1, p2])))
    }

    fn flannel_udp(&mut self) -> Next {
        self.pass(Kind::FlannelUdp, 0);
        Next::Ip
    }

    /// The message's type and three octets of zero; what else comes to these ports is some other datagram.
    fn wireguard(&mut self) -> Step {
        let sizes = match self.rest() {
            [1, 0, 0, 0, ..] => 148..=148,
            [2, 0, 0, 0, ..] => 92..=92,
            [3, 0, 0, 0, ..] => 64..=64,
            [4, 0, 0, 0, ..] => 32..=u32::MAX,
            _ => return Ok(Next::Done),
        };
        if sizes.contains(&self.left()) {
            // Type, reserved octets, and the index of the receiver (of the sender in the first message).
            self.pass_all(Kind::Wireguard, 8)?;
        }
        Ok(Next::Done)
    }

    /// An authentication (its lengths stand in it) and an origin may stand before the packet (RFC 4380, 5.1.1).
    fn teredo(&mut self) -> Step {
        let rest = self.rest();
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
            return Ok(Next::Done);
        }
        self.pass_all(Kind::Teredo, size)?;
        Ok(Next::Ipv6)
    }

    fn dns(&mut self) -> Next {
        if super::dns::is_message(self.rest()) {
            self.pass(Kind::Dns, 12);
        }
        Next::Done
    }

    /// GRE (RFC 2784, 2890), and its second version of PPTP (RFC 2637).
    pub(super) fn gre(&mut self) -> Step {
        let [flags, version, p1, p2] = *self.header::<4>(Kind::Gre)?;
        let number = u16::from_be_bytes([p1, p2]);
        let has = |flag: u8| flags & flag != 0;
        let mut size = 4;
        match version & 0b111 {
            0 => size += if has(CHECKSUM) || has(ROUTING) { 4 } else { 0 },
            // The acknowledgement's number has its flag in the second octet.
            1 => size += u32::from(version >> 7) * 4,
            version => return Err(self.flaw(1, Reason::Version(Kind::Gre, version))),
        }
        size += u32::from(has(KEY)) * 4 + u32::from(has(SEQUENCE)) * 4;
        self.pass_all(Kind::Gre, size)?;
        if has(ROUTING) && version.is_multiple_of(8) {
            return Err(self.flaw(0, Reason::Unknown(Kind::Gre)));
        }
        match (number, self.left()) {
            // A keepalive carries nothing.
            (0, _) | (_, 0) => Ok(Next::Done),
            _ => self.gre_type(number, has(SEQUENCE)),
        }
    }
}
