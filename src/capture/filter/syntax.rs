//! What a filter says: the tree that its text is read into, before it is known which link layer it is asked about.

use std::net::Ipv6Addr;
use std::ops::Range;

/// A protocol that has a word of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proto {
    /// The link layer, whatever it is: `ether` and `link`.
    Link,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
    Igmp,
    Igrp,
    Pim,
    Vrrp,
    Carp,
    Ah,
    Esp,
    Atalk,
    Aarp,
    Decnet,
    Lat,
    Sca,
    Moprc,
    Mopdl,
    Iso,
    Stp,
    Ipx,
    Netbeui,
}

/// Which of a packet's two addresses or ports is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
    Either,
    Both,
}

/// How two parts of a filter are joined. Neither binds stronger than the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    And,
    Or,
}

/// A part of a filter.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// One question, and the bytes of the text that ask it.
    Ask(Ask, Range<usize>),
    /// The opposite.
    Not(Box<Node>),
    /// From left to right.
    Chain(Box<Node>, Vec<(Join, Node)>),
}

/// One question about a packet.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Whether it is of a protocol.
    Proto(Proto),
    /// Whether it carries a protocol of this number, on top of IP, IPv6, either or the link layer.
    Number(Carrier, u32),
    /// Whether it has an IPv4 address of a network. Without a protocol: as IPv4, ARP or RARP.
    Host { proto: Option<Proto>, side: Side, address: u32, mask: u32 },
    /// Whether it has an IPv6 address of a network.
    Host6 { side: Side, address: Ipv6Addr, mask: u128 },
    /// Whether it has an Ethernet address.
    Mac { side: Side, address: [u8; 6] },
    /// Whether it has a port of a range, of one transport or of any of TCP, UDP and SCTP.
    Port { transport: Option<u8>, side: Side, first: u16, last: u16 },
    /// Whether it was sent to everybody.
    Broadcast(Carrier),
    /// Whether it was sent to a group.
    Multicast(Carrier),
    /// Whether two sums compare.
    Relation(Relation),
    /// Whether it went out, or came in.
    Outbound(bool),
    /// Whether it passed the device of an index.
    Device(u32),
    /// Whether it has a VLAN tag, of an id. What follows is asked behind the tag.
    Vlan(Option<u32>),
    /// Whether it has an MPLS label. What follows is asked behind the label.
    Mpls(Option<u32>),
    /// Whether it is of PPPoE's discovery.
    PppoeDiscovery,
    /// Whether it is of a PPPoE session. What follows is asked inside.
    PppoeSession(Option<u32>),
    /// Whether it is in a Geneve tunnel, of a VNI. What follows is asked inside.
    Geneve(Option<u32>),
    /// Whether it is in a VXLAN tunnel, of a VNI. What follows is asked inside.
    Vxlan(Option<u32>),
}

/// What a number or a kind of address is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Link,
    Ip,
    Ip6,
    /// IPv4 or IPv6.
    AnyIp,
}

/// A comparison of two sums.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) left: Sum,
    pub(super) test: Test,
    /// Whether the opposite of the test is asked.
    pub(super) is_negated: bool,
    pub(super) right: Sum,
}

/// How two numbers are compared, without signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    /// Whether they have a bit in common.
    AnyBit,
}

impl Test {
    /// Compares.
    #[inline]
    pub(super) fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::AnyBit => left & right != 0,
        }
    }
}

/// How many bytes are read at once, most significant first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Byte,
    Half,
    Word,
}

/// An operation on two numbers of 32 bits without signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
    Xor,
    Left,
    Right,
}

impl Operator {
    /// The result; nothing where something is divided by 0.
    pub(super) fn apply(self, left: u32, right: u32) -> Option<u32> {
        Some(match self {
            Self::Add => left.wrapping_add(right),
            Self::Subtract => left.wrapping_sub(right),
            Self::Multiply => left.wrapping_mul(right),
            Self::Divide => left.checked_div(right)?,
            Self::Remainder => left.checked_rem(right)?,
            Self::And => left & right,
            Self::Or => left | right,
            Self::Xor => left ^ right,
            Self::Left => left.checked_shl(right).unwrap_or(0),
            Self::Right => left.checked_shr(right).unwrap_or(0),
        })
    }
}

/// One step of a sum, which works on a stack of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Puts a number on the stack.
    Number(u32),
    /// Puts the packet's length on the wire on the stack.
    Length,
    /// Puts the bytes at a fixed place of a header on the stack.
    At(Proto, Size, u32),
    /// Takes a place in a header from the stack, and puts the bytes there on it.
    Load(Proto, Size),
    /// Takes two numbers, and puts the result on the stack.
    Do(Operator),
    /// Changes the sign of the number on the stack.
    Negate,
}

/// A sum: numbers, bytes of the packet, and operations on them.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    /// In the order of their evaluation.
    pub(super) steps: Vec<Step>,
    /// What the packet has to be, in the order in which it is asked.
    pub(super) needs: Vec<Need>,
    /// How many numbers are on the stack at most.
    pub(super) depth: usize,
}

/// What a packet has to be before a sum is made of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Of a protocol.
    Proto(Proto),
    /// No IPv4 fragment but the first.
    FirstFragment,
    /// An IPv6 packet whose first header behind the address is ICMPv6.
    Icmp6Next,
}
