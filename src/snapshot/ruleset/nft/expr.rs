//! Expressions: what a rule loads into registers, and what it compares it with.

use crate::snapshot::Direction;

use super::SetRef;

/// A constant, as wide as an IPv6 address. It may start at any eighth byte, so that a statement with one is no larger
/// than it must be: large clusters have hundreds of thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed(8))]
pub struct Constant(u128);

impl Constant {
    /// The number.
    #[must_use]
    pub fn get(self) -> u128 {
        self.0
    }
}

impl From<u128> for Constant {
    fn from(number: u128) -> Self {
        Self(number)
    }
}

/// What gives a value (`net/netfilter/nft_*.c`).
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A field of a header (`nft_payload.c`).
    Payload(Header, HeaderField),
    /// Bits of a header (`@th,16,16`): base, offset and length in bits.
    Raw(PayloadBase, u32, u32),
    /// What the kernel keeps beside the packet (`nft_meta.c`).
    Meta(MetaKey),
    /// What connection tracking knows (`nft_ct.c`), of one direction where it has two.
    Ct(CtKey, Option<Direction>),
    /// What the routing tables say (`nft_fib.c`).
    Fib(Fib),
    /// A number that counts or is drawn (`nft_numgen.c`).
    Numgen {
        /// How.
        mode: NumgenMode,
        /// How many there are.
        modulus: u32,
        /// The lowest.
        offset: u32,
    },
    /// A hash of a value (`nft_hash.c`).
    Jhash {
        /// Of what.
        key: Box<Expr>,
        /// How many results there are.
        modulus: u32,
        /// The seed; the kernel draws one where none is given, and doesn't tell.
        seed: Option<u32>,
        /// The lowest result.
        offset: u32,
    },
    /// The packet's own hash, which depends on a secret.
    Symhash {
        /// How many results there are.
        modulus: u32,
        /// The lowest.
        offset: u32,
    },
    /// An option, a chunk or an extension header (`nft_exthdr.c`): whether there is one, or a field of it. As written.
    Exthdr(Exthdr, Asks, Box<str>),
    /// A field of a tunnel's header, or of what the tunnel carries (`nft_inner.c`), and the header that the tunnel is in.
    /// As written.
    Inner(Header, Box<str>),
    /// What the packet's route says (`nft_rt.c`).
    Rt(RtKey),
    /// A constant.
    Value(Constant),
    /// Bit arithmetic (`nft_bitwise.c`).
    Binary(BitOp, Box<Expr>, Box<Expr>),
    /// Several fields side by side.
    Concat(Box<[Expr]>),
    /// What a map holds for a key.
    Map(Box<Expr>, SetRef),
    /// nft knows it, and what it gives is not modelled. As written.
    Opaque(Box<str>),
}

/// Of what a piece of a header is (`enum nft_exthdr_op`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exthdr {
    /// An extension header of IPv6, by its number.
    Ip6(u8),
    /// An option of TCP, by its kind.
    Tcp(u8),
    /// An option of IPv4, by its type.
    Ip(u8),
    /// A chunk of SCTP.
    Sctp,
    /// An option of DCCP.
    Dccp,
}

/// What is asked of a piece of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Whether it is there.
    Presence,
    /// The value of some of its bits.
    Bits {
        /// The first one, from the start of the header or option.
        offset: u8,
        /// How many.
        length: u8,
    },
    /// The value of a field that is not modelled.
    Field,
}

/// `rt KEY` (`enum nft_rt_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum RtKey {
    Classid,
    Nexthop4,
    Nexthop6,
    Mtu,
    /// Whether IPsec packs the packet, which no snapshot tells.
    Ipsec,
}

/// A header that a field is of, which a packet must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum Header {
    Ether,
    Vlan,
    Arp,
    Ip,
    Ip6,
    Tcp,
    Udp,
    Udplite,
    Sctp,
    Dccp,
    Icmp,
    Icmpv6,
    Igmp,
    /// Whatever transport header there is.
    Th,
    Ah,
    Esp,
    Comp,
    Gre,
}

/// A field, by the name that it has in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum HeaderField {
    Saddr,
    Daddr,
    Type,
    Code,
    Id,
    Sport,
    Dport,
    Flags,
    Ttl,
    Dscp,
    Ecn,
    Protocol,
    Length,
    FragOff,
    Version,
    Hdrlength,
    Pcp,
    Dei,
    /// One whose value is no part of a question: a checksum, a sequence number.
    Other(&'static str),
}

/// Where raw bits are counted from (`enum nft_payload_bases`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadBase {
    /// `@ll`.
    Link,
    /// `@nh`.
    Network,
    /// `@th`.
    Transport,
    /// `@ih`.
    Inner,
}

/// `meta KEY` (`enum nft_meta_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum MetaKey {
    Length,
    Protocol,
    Priority,
    Mark,
    Iif,
    Oif,
    Iifname,
    Oifname,
    Iiftype,
    Oiftype,
    Iifgroup,
    Oifgroup,
    Iifkind,
    Oifkind,
    Rtclassid,
    Skuid,
    Skgid,
    Nftrace,
    Nfproto,
    L4proto,
    Pkttype,
    Ibrname,
    Obrname,
    Ibrhwaddr,
    Sdif,
    Sdifname,
    /// One that no snapshot tells.
    Other(&'static str),
}

/// `ct KEY` (`enum nft_ct_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum CtKey {
    State,
    Direction,
    Status,
    Mark,
    Zone,
    L3proto,
    Protocol,
    Saddr,
    Daddr,
    IpSaddr,
    IpDaddr,
    Ip6Saddr,
    Ip6Daddr,
    ProtoSrc,
    ProtoDst,
    Label,
    Packets,
    Bytes,
    Avgpkt,
    /// One that no snapshot tells.
    Other(&'static str),
}

/// `fib saddr . mark . iif oif`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fib {
    /// The source is looked up, and not the destination.
    pub saddr: bool,
    /// The packet's mark counts.
    pub mark: bool,
    /// The route must be of the device that the packet came in by.
    pub iif: bool,
    /// The route must be of the device that the packet leaves by.
    pub oif: bool,
    /// What is asked.
    pub result: FibResult,
}

/// What a `fib` expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibResult {
    /// The device, as a number or a name: 0 where there is none.
    Oif,
    /// Whether there is a device.
    Exists,
    /// The type of the address.
    Type,
}

/// How `numgen` makes its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumgenMode {
    /// One after the other.
    Inc,
    /// By chance, each as likely as the other.
    Random,
}

/// Bit arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum BitOp {
    And,
    Or,
    Xor,
    Lshift,
    Rshift,
}

impl BitOp {
    /// The result.
    #[must_use]
    pub fn apply(self, left: u128, right: u128) -> u128 {
        let shift = u32::try_from(right).unwrap_or(u32::MAX);
        match self {
            Self::And => left & right,
            Self::Or => left | right,
            Self::Xor => left ^ right,
            Self::Lshift => left.checked_shl(shift).unwrap_or(0),
            Self::Rshift => left.checked_shr(shift).unwrap_or(0),
        }
    }
}

/// A condition: `ip saddr != 10.0.0.0/8`.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    /// What is loaded.
    pub left: Expr,
    /// How it is compared.
    pub op: RelOp,
    /// With what.
    pub right: Operand,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelOp {
    /// Equal, or within.
    Eq,
    /// Not equal, or not within.
    Ne,
    /// Less.
    Lt,
    /// Greater.
    Gt,
    /// Not greater.
    Le,
    /// Not less.
    Ge,
    /// Some of the bits are set: `ct state new,established`.
    Any,
    /// None of the bits is set: `tcp flags ! syn`.
    None,
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A value.
    Expr(Expr),
    /// From one value to another: a range, a prefix, the beginning of a name.
    Range(Constant, Constant),
    /// The elements of a set.
    Set(SetRef),
}
