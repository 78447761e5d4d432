//! Tests of addresses and ports.

use super::assemble::{Assembly, Block, Why, ether, not};
use super::layout::Link;
use super::program::Field;
use super::syntax::{Carrier, Proto, Side, Size, Test};

/// Transports that have ports, in the order in which they are looked for.
const TRANSPORTS: [u8; 3] = [6, 17, 132];

impl Assembly<'_> {
    /// Whether a packet has an IPv4 address (`gen_host`). ARP's and RARP's addresses are where they are for Ethernet and
    /// IPv4.
    pub(super) fn host(&mut self, proto: Option<Proto>, side: Side, address: u32, mask: u32) -> Result<Block, Why> {
        let network = [address, mask];
        match proto {
            None => {
                let ip = self.sides(side, ether::IP, [12, 16], network)?;
                if self.layout.is_labelled {
                    return Ok(ip);
                }
                let arp = self.sides(side, ether::ARP, [14, 24], network)?;
                let rarp = self.sides(side, ether::RARP, [14, 24], network)?;
                let either = self.or(arp, rarp);
                Ok(self.or(ip, either))
            }
            Some(Proto::Arp) => self.sides(side, ether::ARP, [14, 24], network),
            Some(Proto::Rarp) => self.sides(side, ether::RARP, [14, 24], network),
            Some(_) => self.sides(side, ether::IP, [12, 16], network),
        }
    }

    /// Whether a packet of a type has an address at the places of its source and its destination (`gen_hostop`).
    fn sides(&mut self, side: Side, link_type: u32, at: [u32; 2], network: [u32; 2]) -> Result<Block, Why> {
        let [source, destination] = at;
        self.each_side(side, |assembly, is_source| {
            let [address, mask] = network;
            let at = if is_source { source } else { destination };
            let is_type = assembly.link_type(link_type)?;
            let field = assembly.network(at, Size::Word);
            let is_address = assembly.masked(field, address, mask);
            Ok(assembly.and(is_type, is_address))
        })
    }

    /// Whether a packet has an IPv6 address (`gen_host6`).
    pub(super) fn host6(&mut self, side: Side, address: u128, mask: u128) -> Result<Block, Why> {
        self.each_side(side, |assembly, is_source| {
            let mut block = assembly.link_type(ether::IP6)?;
            for (at, shift) in (0..16).step_by(4).zip([96, 64, 32, 0]) {
                let word = |number: u128| u32::try_from(number >> shift & 0xffff_ffff).unwrap_or(0);
                let field = assembly.network(if is_source { 8 } else { 24 } + at, Size::Word);
                let equal = assembly.masked(field, word(address), word(mask));
                block = assembly.and(block, equal);
            }
            Ok(block)
        })
    }

    /// Whether a frame has an Ethernet address (`gen_ehostop`).
    pub(super) fn mac(&mut self, side: Side, address: [u8; 6]) -> Result<Block, Why> {
        if self.layout.link != Link::Ethernet {
            return Err(self.no_ethernet());
        }
        let has_link = self.has_link();
        let block =
            self.each_side(side, |assembly, is_source| Ok(assembly.mac_at(if is_source { 6 } else { 0 }, address)))?;
        Ok(self.and_after(has_link, block))
    }

    /// The last four bytes are looked at first.
    fn mac_at(&mut self, at: u32, address: [u8; 6]) -> Block {
        let [first, second, rest @ ..] = address;
        let last = self.equal(self.header(at + 2, Size::Word), u32::from_be_bytes(rest));
        let first = self.equal(self.header(at, Size::Half), u32::from_be_bytes([0, 0, first, second]));
        self.and(last, first)
    }

    fn each_side(&mut self, side: Side, test: impl Fn(&mut Self, bool) -> Result<Block, Why>) -> Result<Block, Why> {
        match side {
            Side::Source => test(self, true),
            Side::Destination => test(self, false),
            Side::Either | Side::Both => {
                let source = test(self, true)?;
                let destination = test(self, false)?;
                Ok(if side == Side::Either { self.or(source, destination) } else { self.and(source, destination) })
            }
        }
    }

    /// Whether a packet has a port of a range (`gen_port6` and `gen_port`). Of IPv4 only the first fragment has ports;
    /// IPv6's extension headers are not passed.
    pub(super) fn port(&mut self, transport: Option<u8>, side: Side, range: (u16, u16)) -> Result<Block, Why> {
        let ip6 = self.port6(transport, side, range)?;
        let ip = self.port4(transport, side, range)?;
        Ok(self.or(ip6, ip))
    }

    /// Whether an IPv6 packet has a port of a range.
    pub(super) fn port6(&mut self, transport: Option<u8>, side: Side, range: (u16, u16)) -> Result<Block, Why> {
        let ip6 = self.link_type(ether::IP6)?;
        let ports = self.each_transport(transport, |assembly, number| {
            let next = assembly.equal(assembly.network(6, Size::Byte), u32::from(number));
            let ports = assembly.each_side(side, |assembly, is_source| {
                let field = assembly.behind_ip6(if is_source { 0 } else { 2 }, Size::Half);
                Ok(assembly.within(field, range))
            })?;
            Ok(assembly.and(next, ports))
        })?;
        Ok(self.and(ip6, ports))
    }

    /// Whether an IPv4 packet has a port of a range.
    pub(super) fn port4(&mut self, transport: Option<u8>, side: Side, range: (u16, u16)) -> Result<Block, Why> {
        let ip = self.link_type(ether::IP)?;
        let ports = self.each_transport(transport, |assembly, number| {
            let proto = assembly.equal(assembly.network(9, Size::Byte), u32::from(number));
            let first = assembly.first_fragment();
            let proto = assembly.and(proto, first);
            let ports = assembly.each_side(side, |assembly, is_source| {
                let field = assembly.behind_ip(if is_source { 0 } else { 2 }, Size::Half);
                Ok(assembly.within(field, range))
            })?;
            Ok(assembly.and(proto, ports))
        })?;
        Ok(self.and(ip, ports))
    }

    /// Of several transports libpcap asks SCTP first, then TCP, then UDP.
    fn each_transport(
        &mut self,
        transport: Option<u8>,
        test: impl Fn(&mut Self, u8) -> Result<Block, Why>,
    ) -> Result<Block, Why> {
        if let Some(transport) = transport {
            return test(self, transport);
        }
        let [tcp, udp, sctp] = TRANSPORTS;
        let (sctp, tcp, udp) = (test(self, sctp)?, test(self, tcp)?, test(self, udp)?);
        let either = self.or(tcp, udp);
        Ok(self.or(sctp, either))
    }

    fn within(&mut self, field: Field, (first, last): (u16, u16)) -> Block {
        if first == last {
            return self.equal(field, u32::from(first));
        }
        let from = self.compared(field, Test::GreaterOrEqual, u32::from(first));
        let to = not(self.compared(field, Test::Greater, u32::from(last)));
        self.and(from, to)
    }

    /// Whether a packet was sent to everybody (`gen_broadcast`). Without a netmask, of which a file tells nothing, an IPv4
    /// broadcast is one to 0.0.0.0 or 255.255.255.255.
    pub(super) fn broadcast(&mut self, carrier: Carrier) -> Result<Block, Why> {
        if carrier == Carrier::Ip {
            let ip = self.link_type(ether::IP)?;
            let field = self.network(16, Size::Word);
            let (none, all) = (self.equal(field, 0), self.equal(field, u32::MAX));
            let either = self.or(none, all);
            return Ok(self.and(ip, either));
        }
        if self.layout.link != Link::Ethernet {
            return Err(self.no_ethernet());
        }
        let has_link = self.has_link();
        let block = self.mac_at(0, [0xff; 6]);
        Ok(self.and_after(has_link, block))
    }

    /// Whether a packet was sent to a group (`gen_multicast`); a broadcast counts too.
    pub(super) fn multicast(&mut self, carrier: Carrier) -> Result<Block, Why> {
        match carrier {
            Carrier::Ip => {
                let ip = self.link_type(ether::IP)?;
                let group = self.compared(self.network(16, Size::Byte), Test::GreaterOrEqual, 224);
                Ok(self.and(ip, group))
            }
            Carrier::Ip6 => {
                let ip6 = self.link_type(ether::IP6)?;
                let group = self.equal(self.network(24, Size::Byte), 255);
                Ok(self.and(ip6, group))
            }
            Carrier::Link | Carrier::AnyIp if self.layout.link != Link::Ethernet => Err(self.no_ethernet()),
            Carrier::Link | Carrier::AnyIp => {
                let has_link = self.has_link();
                let group = self.compared(self.header(0, Size::Byte), Test::AnyBit, 1);
                Ok(self.and_after(has_link, group))
            }
        }
    }

    /// Whether a packet went out, where the link layer tells it (`gen_inbound`).
    pub(super) fn outbound(&mut self, is_out: bool) -> Result<Block, Why> {
        /// `LINUX_SLL_OUTGOING`
        const OUTGOING: u32 = 4;
        let field = match self.layout.link {
            Link::Cooked => self.header(0, Size::Half),
            Link::Cooked2 => self.header(10, Size::Byte),
            link => {
                let packets = link.packets();
                return Err(format!("which way they went is not told by {packets}: only a capture on `any` tells it"));
            }
        };
        let out = self.equal(field, OUTGOING);
        Ok(if is_out { out } else { not(out) })
    }

    /// Whether a packet passed a device (`gen_ifindex`).
    pub(super) fn device(&mut self, index: u32) -> Result<Block, Why> {
        if self.layout.link != Link::Cooked2 {
            let packets = self.layout.link.packets();
            return Err(format!("the device's number is not told by {packets}: only the second cooked header has it"));
        }
        let field = self.header(4, Size::Word);
        Ok(self.equal(field, index))
    }

    fn no_ethernet(&self) -> Why {
        format!("{} have no Ethernet addresses", self.layout.link.packets())
    }
}
