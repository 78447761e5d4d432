//! Turns what a filter says into a program for one link layer. The tests are those of libpcap's gencode.c, in its
//! order, because the order decides what is read of packets that are cut off.

use std::ops::Range;

use super::layout::{Layout, Link};
use super::program::{Act, DROP, Field, Instruction, PASS, Place, Program, Target};
use super::refusal::Refusal;
use super::syntax::{Ask, Carrier, Join, Node, Proto, Size, Test};

/// Tests that belong together: where they begin, and which jumps are still open.
#[derive(Clone, Copy)]
pub(super) struct Block {
    start: Target,
    yes: Jumps,
    no: Jumps,
}

/// Jumps that are to lead to one target, from the first to the last: each holds the number of the next in place of its
/// target until that is known. An instruction has two jumps, numbered one behind the other.
#[derive(Clone, Copy)]
struct Jumps {
    first: u32,
    last: u32,
}

/// Why a question can't be asked of a link layer.
pub(super) type Why = String;

/// A program in the making.
pub(super) struct Assembly<'a> {
    pub(super) program: Program,
    pub(super) layout: Layout,
    pub(super) vxlan_ports: &'a [u16],
}

/// The program of a filter for a link layer.
pub(super) fn assemble(node: &Node, link: Link, vxlan_ports: &[u16]) -> Result<Program, Refusal> {
    let mut assembly = Assembly { program: Program::everything(), layout: Layout::new(link), vxlan_ports };
    let block = assembly.node(node)?;
    assembly.lead(block.yes, PASS);
    assembly.lead(block.no, DROP);
    assembly.program.start = block.start;
    Ok(assembly.program)
}

impl Assembly<'_> {
    fn node(&mut self, node: &Node) -> Result<Block, Refusal> {
        match node {
            Node::Ask(ask, at) => self.ask(ask).map_err(|why| refusal(at, why)),
            Node::Not(node) => Ok(not(self.node(node)?)),
            Node::Chain(first, parts) => {
                let mut block = self.node(first)?;
                for (join, part) in parts {
                    let part = self.node(part)?;
                    block = match join {
                        Join::And => self.and(block, part),
                        Join::Or => self.or(block, part),
                    };
                }
                Ok(block)
            }
        }
    }

    fn ask(&mut self, ask: &Ask) -> Result<Block, Why> {
        match *ask {
            Ask::Proto(proto) => self.proto(proto),
            Ask::Number(carrier, number) => self.carried(carrier, number),
            Ask::Host { proto, side, address, mask } => self.host(proto, side, address, mask),
            Ask::Host6 { side, address, mask } => self.host6(side, address.to_bits(), mask),
            Ask::Mac { side, address } => self.mac(side, address),
            Ask::Port { transport, side, first, last } => self.port(transport, side, (first, last)),
            Ask::Broadcast(carrier) => self.broadcast(carrier),
            Ask::Multicast(carrier) => self.multicast(carrier),
            Ask::Relation(ref relation) => self.relation(relation),
            Ask::Outbound(is_out) => self.outbound(is_out),
            Ask::Device(index) => self.device(index),
            Ask::Vlan(id) => self.vlan(id),
            Ask::Mpls(label) => self.mpls(label),
            Ask::PppoeDiscovery => self.link_type(0x8863),
            Ask::PppoeSession(id) => self.pppoe(id),
            Ask::Geneve(vni) => self.geneve(vni),
            Ask::Vxlan(vni) => self.vxlan(vni),
        }
    }

    /// The second is asked only where the first holds.
    pub(super) fn and(&mut self, first: Block, second: Block) -> Block {
        self.lead(first.yes, second.start);
        Block { start: first.start, yes: second.yes, no: self.joined(first.no, second.no) }
    }

    /// The second is asked only where the first does not hold.
    pub(super) fn or(&mut self, first: Block, second: Block) -> Block {
        self.lead(first.no, second.start);
        Block { start: first.start, yes: self.joined(first.yes, second.yes), no: second.no }
    }

    /// Both of an optional first and a second.
    pub(super) fn and_after(&mut self, first: Option<Block>, second: Block) -> Block {
        match first {
            Some(first) => self.and(first, second),
            None => second,
        }
    }

    /// Leads jumps to a target.
    fn lead(&mut self, jumps: Jumps, target: Target) {
        let mut number = jumps.first;
        while let Some(jump) = self.jump(number) {
            let next = std::mem::replace(jump, target);
            if number == jumps.last {
                break;
            }
            number = next;
        }
    }

    fn joined(&mut self, first: Jumps, second: Jumps) -> Jumps {
        if let Some(jump) = self.jump(first.last) {
            *jump = second.first;
        }
        Jumps { first: first.first, last: second.last }
    }

    /// A jump by its number.
    fn jump(&mut self, number: u32) -> Option<&mut Target> {
        let instruction = self.program.instructions.get_mut((number / 2) as usize)?;
        Some(if number.is_multiple_of(2) { &mut instruction.yes } else { &mut instruction.no })
    }

    /// One test.
    pub(super) fn test(&mut self, act: Act) -> Block {
        // A filter's length bounds how many there are.
        let start = u32::try_from(self.program.instructions.len()).unwrap_or(DROP);
        self.program.instructions.push(Instruction { act, yes: PASS, no: DROP });
        let [yes, no] = [start * 2, start * 2 + 1].map(|number| Jumps { first: number, last: number });
        Block { start, yes, no }
    }

    /// A test of sums whose steps are put in by `fill`.
    pub(super) fn test_sums(&mut self, test: Test, steps: impl IntoIterator<Item = super::program::Step>) -> Block {
        let first = u32::try_from(self.program.steps.len()).unwrap_or(u32::MAX);
        self.program.steps.extend(steps);
        let end = u32::try_from(self.program.steps.len()).unwrap_or(u32::MAX);
        self.test(Act::Sums { first, end, test })
    }

    /// Whether a field is a number.
    pub(super) fn equal(&mut self, field: Field, number: u32) -> Block {
        self.test(Act::Equal { field, mask: u32::MAX, number })
    }

    /// Whether bits of a field are those of a number. Of no bits it is known, and nothing is read: so it is after
    /// libpcap's optimizer.
    pub(super) fn masked(&mut self, field: Field, number: u32, mask: u32) -> Block {
        if mask == 0 {
            return self.always(number == 0);
        }
        self.test(Act::Equal { field, mask, number })
    }

    /// Whether a field compares with a number.
    pub(super) fn compared(&mut self, field: Field, test: Test, number: u32) -> Block {
        self.test(Act::Compare { field, mask: u32::MAX, test, number })
    }

    pub(super) fn always(&mut self, holds: bool) -> Block {
        self.test(Act::Always(holds))
    }

    /// Whether a packet is of a protocol (`gen_proto_abbrev_internal`).
    pub(super) fn proto(&mut self, proto: Proto) -> Result<Block, Why> {
        match proto {
            Proto::Tcp => self.carried(Carrier::AnyIp, 6),
            Proto::Udp => self.carried(Carrier::AnyIp, 17),
            Proto::Sctp => self.carried(Carrier::AnyIp, 132),
            Proto::Icmp => self.carried(Carrier::Ip, 1),
            Proto::Igmp => self.carried(Carrier::Ip, 2),
            Proto::Igrp => self.carried(Carrier::Ip, 9),
            Proto::Pim => self.carried(Carrier::AnyIp, 103),
            Proto::Vrrp | Proto::Carp => self.carried(Carrier::Ip, 112),
            Proto::Icmp6 => self.carried(Carrier::Ip6, 58),
            Proto::Ah => self.carried(Carrier::AnyIp, 51),
            Proto::Esp => self.carried(Carrier::AnyIp, 50),
            Proto::Link => Ok(self.always(true)),
            Proto::Ip => self.link_type(ether::IP),
            Proto::Ip6 => self.link_type(ether::IP6),
            Proto::Arp => self.link_type(ether::ARP),
            Proto::Rarp => self.link_type(ether::RARP),
            Proto::Atalk => self.link_type(ether::ATALK),
            Proto::Aarp => self.link_type(ether::AARP),
            Proto::Decnet => self.link_type(ether::DECNET),
            Proto::Lat => self.link_type(0x6004),
            Proto::Sca => self.link_type(0x6007),
            Proto::Mopdl => self.link_type(0x6001),
            Proto::Moprc => self.link_type(0x6002),
            Proto::Iso => self.link_type(sap::ISO),
            Proto::Stp => self.link_type(sap::STP),
            Proto::Ipx => self.link_type(sap::IPX),
            Proto::Netbeui => self.link_type(sap::NETBEUI),
        }
    }

    /// Whether a packet carries a protocol (`gen_proto`). Of IPv6, the first header counts, and the one behind a
    /// fragment header that comes first.
    pub(super) fn carried(&mut self, carrier: Carrier, number: u32) -> Result<Block, Why> {
        match carrier {
            Carrier::Link => self.link_type(number),
            Carrier::AnyIp => {
                let ip = self.carried(Carrier::Ip, number)?;
                let ip6 = self.carried(Carrier::Ip6, number)?;
                Ok(self.or(ip, ip6))
            }
            Carrier::Ip => {
                let ip = self.link_type(ether::IP)?;
                let proto = self.equal(self.network(9, Size::Byte), number);
                Ok(self.and(ip, proto))
            }
            Carrier::Ip6 => {
                let ip6 = self.link_type(ether::IP6)?;
                let next = self.equal(self.network(6, Size::Byte), number);
                let is_fragment = self.equal(self.network(6, Size::Byte), 44);
                let behind = self.equal(self.network(40, Size::Byte), number);
                let fragment = self.and(is_fragment, behind);
                let next = self.or(next, fragment);
                Ok(self.and(ip6, next))
            }
        }
    }

    /// Whether an IPv4 packet is no fragment but a first one (`gen_ipfrag`).
    pub(super) fn first_fragment(&mut self) -> Block {
        let field = self.network(6, Size::Half);
        not(self.compared(field, Test::AnyBit, 0x1fff))
    }

    /// Bytes of the network header.
    pub(super) fn network(&self, at: u32, size: Size) -> Field {
        Field::Bytes(self.layout.network(at), size)
    }

    /// Bytes of the link layer's header.
    pub(super) fn header(&self, at: u32, size: Size) -> Field {
        Field::Bytes(plus(self.layout.header, at), size)
    }

    /// Bytes behind the IPv4 header.
    pub(super) fn behind_ip(&self, at: u32, size: Size) -> Field {
        Field::BehindIp { header: self.layout.network(0), at, size }
    }

    /// Bytes behind an IPv6 header without extension headers.
    pub(super) fn behind_ip6(&self, at: u32, size: Size) -> Field {
        self.network(40_u32.wrapping_add(at), size)
    }
}

/// The opposite.
pub(super) fn not(block: Block) -> Block {
    Block { start: block.start, yes: block.no, no: block.yes }
}

/// A place some bytes on.
pub(super) fn plus(place: Place, at: u32) -> Place {
    Place { at: place.at.wrapping_add(at), ..place }
}

fn refusal(at: &Range<usize>, why: Why) -> Refusal {
    Refusal::new(at.clone(), why)
}

/// Types of what Ethernet carries.
pub(super) mod ether {
    pub(in super::super) const IP: u32 = 0x0800;
    pub(in super::super) const ARP: u32 = 0x0806;
    pub(in super::super) const RARP: u32 = 0x8035;
    pub(in super::super) const IP6: u32 = 0x86dd;
    pub(in super::super) const ATALK: u32 = 0x809b;
    pub(in super::super) const AARP: u32 = 0x80f3;
    pub(in super::super) const DECNET: u32 = 0x6003;
    pub(in super::super) const NS: u32 = 0x0600;
    pub(in super::super) const IPX: u32 = 0x8137;
}

/// Service access points of LLC, which are told from types by their size: types are above 1500.
pub(super) mod sap {
    pub(in super::super) const IP: u32 = 0x06;
    pub(in super::super) const STP: u32 = 0x42;
    pub(in super::super) const IPX: u32 = 0xe0;
    pub(in super::super) const NETBEUI: u32 = 0xf0;
    pub(in super::super) const ISO: u32 = 0xfe;
}
