//! Extensions of the protocols with ports: `tcp`, `udp`, `sctp`, `dccp` and `multiport`.

use std::fmt::{self, Display, Formatter};

use super::super::Test;
use super::super::saved::{Span, bits, list, negation, option};

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub low: u16,
    /// The highest.
    pub high: u16,
}

impl PortRange {
    /// Whether a port is in the range.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }

    /// Whether every port is.
    #[must_use]
    pub fn is_any(self) -> bool {
        self == Self { low: 0, high: u16::MAX }
    }
}

impl Display for PortRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Span(self.low, self.high).fmt(f)
    }
}

/// `--sport` and `--dport`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// `--sport`.
    pub source: Option<Test<PortRange>>,
    /// `--dport`.
    pub destination: Option<Test<PortRange>>,
}

impl Display for Ports {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        option(f, "--sport", self.source.as_ref())?;
        option(f, "--dport", self.destination.as_ref())
    }
}

/// What `tcp` asks (`tcp_mt` in `net/netfilter/xt_tcpudp.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpMatch {
    /// `--sport` and `--dport`.
    pub ports: Ports,
    /// `--tcp-option`: a TCP option's number, which a packet must have.
    pub option: Option<Test<u8>>,
    /// `--tcp-flags` and `--syn`.
    pub flags: Option<Test<TcpFlags>>,
}

impl Display for TcpMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.ports.fmt(f)?;
        option(f, "--tcp-option", self.option.as_ref())?;
        option(f, "--tcp-flags", self.flags.as_ref())
    }
}

/// TCP flags that must be set among those looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags {
    /// The flags that count.
    pub mask: u8,
    /// Those of them that must be set; the others must not.
    pub set: u8,
}

/// The flags' names, in the order in which iptables prints them.
pub(crate) const TCP_FLAGS: &[(u32, &str)] =
    &[(0x01, "FIN"), (0x02, "SYN"), (0x04, "RST"), (0x08, "PSH"), (0x10, "ACK"), (0x20, "URG")];

impl Display for TcpFlags {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = |f: &mut Formatter<'_>, flags: u8| {
            if flags == 0 { f.write_str("NONE") } else { bits(f, u32::from(flags), TCP_FLAGS) }
        };
        names(f, self.mask)?;
        f.write_str(" ")?;
        names(f, self.set)
    }
}

/// What `sctp` asks (`net/netfilter/xt_sctp.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SctpMatch {
    /// `--sport` and `--dport`.
    pub ports: Ports,
    /// `--chunk-types`, as printed: `all`, `any` or `only`, and the types. No question tells a packet's chunks.
    pub chunks: Option<Test<Box<str>>>,
}

impl Display for SctpMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.ports.fmt(f)?;
        option(f, "--chunk-types", self.chunks.as_ref())
    }
}

/// What `dccp` asks (`net/netfilter/xt_dccp.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DccpMatch {
    /// `--sport` and `--dport`.
    pub ports: Ports,
    /// `--dccp-types`, a bit for each packet type.
    pub types: Option<Test<DccpTypes>>,
    /// `--dccp-option`.
    pub option: Option<Test<u8>>,
}

impl Display for DccpMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.ports.fmt(f)?;
        option(f, "--dccp-types", self.types.as_ref())?;
        option(f, "--dccp-option", self.option.as_ref())
    }
}

/// DCCP packet types, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DccpTypes(pub u16);

/// The names of DCCP's packet types.
pub(crate) const DCCP_TYPES: &[(u32, &str)] = &[
    (1, "REQUEST"),
    (1 << 1, "RESPONSE"),
    (1 << 2, "DATA"),
    (1 << 3, "ACK"),
    (1 << 4, "DATAACK"),
    (1 << 5, "CLOSEREQ"),
    (1 << 6, "CLOSE"),
    (1 << 7, "RESET"),
    (1 << 8, "SYNC"),
    (1 << 9, "SYNCACK"),
    (1 << 10, "INVALID"),
];

impl Display for DccpTypes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        bits(f, u32::from(self.0), DCCP_TYPES)
    }
}

/// Several ports and ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiport {
    /// Which port is compared.
    pub side: MultiportSide,
    /// Any of these may match.
    pub ranges: Box<[PortRange]>,
}

/// Which port `multiport` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiportSide {
    /// `--sports`.
    Source,
    /// `--dports`.
    Destination,
    /// `--ports`: one of the two.
    Either,
}

impl Display for Test<Multiport> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        negation(f, self.invert)?;
        f.write_str(match self.value.side {
            MultiportSide::Source => " --sports ",
            MultiportSide::Destination => " --dports ",
            MultiportSide::Either => " --ports ",
        })?;
        list(f, &self.value.ranges)
    }
}
