//! What a rule does (`-j …`).

use std::net::IpAddr;

use super::{AddrMask, ChainId};

/// A rule's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// No `-j`, or one without an effect on this packet's way (`LOG`, `NFLOG`, `TRACE`, `CHECKSUM`, `TCPMSS`, …).
    Continue,
    /// `ACCEPT`.
    Accept,
    /// `DROP`.
    Drop,
    /// `RETURN`.
    Return,
    /// `-j CHAIN`.
    Jump(ChainId),
    /// `-g CHAIN`.
    Goto(ChainId),
    /// `REJECT`.
    Reject(RejectWith),
    /// `DNAT`.
    Dnat(NatRange),
    /// `SNAT`.
    Snat(NatRange),
    /// `MASQUERADE`.
    Masquerade(NatRange),
    /// `REDIRECT`.
    Redirect(NatRange),
    /// `NETMAP`: the masked bits of the address become those of this one.
    Netmap(AddrMask),
    /// `MARK`.
    Mark(MarkChange),
    /// `CONNMARK`.
    Connmark(ConnmarkTarget),
    /// `CT`, and `NOTRACK`.
    Ct(CtTarget),
    /// `TOS` and `DSCP`: TOS becomes `(tos & !mask) ^ value`.
    Tos {
        /// The bits that are cleared.
        mask: u8,
        /// The bits that are flipped then.
        value: u8,
    },
    /// `TTL` and `HL`.
    Ttl(TtlChange),
    /// `SET`: changes an ipset. Its name.
    Set(Box<str>),
    /// `NFQUEUE` and `QUEUE`: a program decides. True with `--queue-bypass`.
    Queue {
        /// Whether the packet goes on where no program listens.
        bypass: bool,
    },
    /// Not modelled, or not understood. As written.
    Unsupported(Box<str>),
}

/// Which error `REJECT` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectWith {
    /// An ICMP or ICMPv6 error.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// A TCP reset.
    TcpReset,
}

/// Which addresses and ports NAT may choose from (`struct nf_nat_range2`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatRange {
    /// The lowest and the highest address.
    pub addrs: Option<(IpAddr, IpAddr)>,
    /// The lowest and the highest port.
    pub ports: Option<(u16, u16)>,
    /// The port that the range's first one stands for (`--to-destination ADDR:LOW-HIGH/BASE`).
    pub base_port: Option<u16>,
    /// `--random`.
    pub random: bool,
    /// `--random-fully`.
    pub random_fully: bool,
    /// `--persistent`.
    pub persistent: bool,
}

/// A mark's change: it becomes `(mark & !mask) ^ value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkChange {
    /// The bits that are cleared.
    pub mask: u32,
    /// The bits that are flipped then.
    pub value: u32,
}

impl MarkChange {
    /// The mark afterwards.
    #[must_use]
    pub fn apply(self, mark: u32) -> u32 {
        (mark & !self.mask) ^ self.value
    }
}

/// What `CONNMARK` does (`net/netfilter/xt_connmark.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnmarkTarget {
    /// Changes the connection's mark.
    Set(MarkChange),
    /// Copies the packet's mark to the connection.
    Save {
        /// The packet's bits that are copied.
        nfmask: u32,
        /// The connection's bits that are cleared.
        ctmask: u32,
    },
    /// Copies the connection's mark to the packet.
    Restore {
        /// The packet's bits that are cleared.
        nfmask: u32,
        /// The connection's bits that are copied.
        ctmask: u32,
    },
}

/// What `CT` does (`net/netfilter/xt_CT.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtTarget {
    /// `--notrack`.
    Notrack,
    /// A template: the connection gets this zone.
    Template {
        /// The zone, 0 where none is given.
        zone: u16,
    },
}

/// What `TTL` and `HL` do (`net/netfilter/xt_HL.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlChange {
    /// Sets it.
    Set(u8),
    /// Raises it, to 255 at most.
    Inc(u8),
    /// Lowers it, to 0 at least.
    Dec(u8),
}

impl TtlChange {
    /// TTL afterwards.
    #[must_use]
    pub fn apply(self, ttl: u8) -> u8 {
        match self {
            Self::Set(ttl) => ttl,
            Self::Inc(by) => ttl.saturating_add(by),
            Self::Dec(by) => ttl.saturating_sub(by),
        }
    }
}
