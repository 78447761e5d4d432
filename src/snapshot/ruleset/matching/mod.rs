//! What a rule's extensions ask (`-m …`): one variant for each `xt_match` that is evaluated, and one for the others.

mod address;
mod conntrack;
mod header;
mod ports;
mod recent;

use std::fmt::{self, Display, Formatter};

use crate::evidence::Slice;
use crate::net::MacAddr;

use super::saved::{Quoted, option};
use super::{Options, Refused, Test};

pub(crate) use address::ADDR_TYPES;
pub(super) use address::device;
pub use address::{AddrRange, AddrType, AddrtypeMatch, IprangeMatch, PhysdevMatch, RpfilterMatch, SetMatch, SetSide};
pub use conntrack::{ConntrackMatch, ConntrackStatus, CtStates, Direction};
pub use header::{EcnMatch, IcmpType, MarkTest, Nth, OwnerMatch, PktType, TosTest, TtlTest};
pub(crate) use ports::{DCCP_TYPES, TCP_FLAGS};
pub use ports::{DccpMatch, DccpTypes, Multiport, MultiportSide, PortRange, Ports, SctpMatch, TcpFlags, TcpMatch};
pub use recent::{RecentAction, RecentMatch, RecentSide};

use header::span;

/// What one extension of a rule asks. All of a rule's must hold. Shown as `iptables-save` prints it, without `-m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// `comment`, which always matches.
    Comment(Slice),
    /// `tcp`.
    Tcp(TcpMatch),
    /// `udp`.
    Udp(Ports),
    /// `sctp`.
    Sctp(Box<SctpMatch>),
    /// `dccp`.
    Dccp(DccpMatch),
    /// `multiport`.
    Multiport(Box<Test<Multiport>>),
    /// `icmp`.
    Icmp(Test<IcmpType>),
    /// `icmp6`.
    Icmp6(Test<IcmpType>),
    /// `conntrack`, and `state`.
    Conntrack(Box<ConntrackMatch>),
    /// `addrtype`.
    Addrtype(AddrtypeMatch),
    /// `mark`.
    Mark(Test<MarkTest>),
    /// `connmark`.
    Connmark(Test<MarkTest>),
    /// `statistic --mode random`: the chance in units of 2⁻³¹, as the kernel keeps it.
    Random(Test<u32>),
    /// `statistic --mode nth`.
    Nth(Test<Nth>),
    /// `set`.
    Set(Box<SetMatch>),
    /// `physdev`.
    Physdev(Box<PhysdevMatch>),
    /// `recent`.
    Recent(Box<RecentMatch>),
    /// `length`: the IP packet's, in bytes.
    Length(Test<(u16, u16)>),
    /// `ttl`.
    Ttl(TtlTest, u8),
    /// `hl`.
    Hl(TtlTest, u8),
    /// `tos`.
    Tos(Test<TosTest>),
    /// `dscp`.
    Dscp(Test<u8>),
    /// `ecn`.
    Ecn(EcnMatch),
    /// `pkttype`.
    PktType(Test<PktType>),
    /// `iprange`.
    Iprange(Box<IprangeMatch>),
    /// `mac`.
    MacSource(Test<MacAddr>),
    /// `owner`.
    Owner(Box<OwnerMatch>),
    /// `rpfilter`.
    Rpfilter(RpfilterMatch),
    /// One of the others: what it asks no snapshot holds (a rate's bucket, a payload, the time), or no packet of a
    /// walk has (a header extension of IPv6).
    Other(Box<Options>),
    /// Not understood, or refused by iptables or the kernel.
    Unsupported(Box<Refused>),
}

impl Match {
    /// The ports that it asks for, where they are all that `tcp`, `udp` and the like ask for, or a part of it.
    #[must_use]
    pub fn ports(&self) -> Option<&Ports> {
        match self {
            Self::Tcp(tcp) => Some(&tcp.ports),
            Self::Udp(ports) => Some(ports),
            Self::Sctp(sctp) => Some(&sctp.ports),
            Self::Dccp(dccp) => Some(&dccp.ports),
            _ => None,
        }
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Comment(text) => write!(f, "comment --comment {}", Quoted(text)),
            Self::Tcp(tcp) => write!(f, "tcp{tcp}"),
            Self::Udp(ports) => write!(f, "udp{ports}"),
            Self::Sctp(sctp) => write!(f, "sctp{sctp}"),
            Self::Dccp(dccp) => write!(f, "dccp{dccp}"),
            Self::Multiport(multiport) => write!(f, "multiport{multiport}"),
            Self::Conntrack(conntrack) => conntrack.fmt(f),
            Self::Addrtype(addrtype) => write!(f, "addrtype{addrtype}"),
            Self::Random(_) | Self::Nth(_) => self.statistic(f),
            Self::Set(set) => write!(f, "set{set}"),
            Self::Physdev(physdev) => write!(f, "physdev{physdev}"),
            Self::Recent(recent) => write!(f, "recent{recent}"),
            Self::Iprange(iprange) => write!(f, "iprange{iprange}"),
            Self::Owner(owner) => write!(f, "owner{owner}"),
            Self::Rpfilter(rpfilter) => write!(f, "rpfilter{rpfilter}"),
            Self::Ecn(ecn) => write!(f, "ecn{ecn}"),
            Self::Other(options) => options.fmt(f),
            Self::Unsupported(refused) => refused.fmt(f),
            _ => self.single(f),
        }
    }
}

impl Match {
    /// Extensions with one option.
    fn single(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icmp(icmp) => named(f, "icmp", "--icmp-type", icmp),
            Self::Icmp6(icmp) => named(f, "icmp6", "--icmpv6-type", icmp),
            Self::Mark(mark) => named(f, "mark", "--mark", mark),
            Self::Connmark(mark) => named(f, "connmark", "--mark", mark),
            Self::Length(length) => named(f, "length", "--length", &span(*length)),
            Self::Tos(tos) => named(f, "tos", "--tos", tos),
            Self::Dscp(dscp) => {
                named(f, "dscp", "--dscp", &Test { value: format!("{:#04x}", dscp.value), invert: dscp.invert })
            }
            Self::PktType(kind) => named(f, "pkttype", "--pkt-type", kind),
            Self::MacSource(mac) => named(f, "mac", "--mac-source", mac),
            Self::Ttl(how, ttl) => {
                f.write_str("ttl")?;
                how.write(f, "ttl", *ttl)
            }
            Self::Hl(how, limit) => {
                f.write_str("hl")?;
                how.write(f, "hl", *limit)
            }
            _ => Ok(()),
        }
    }

    fn statistic(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(Test { value, invert }) => {
                f.write_str("statistic --mode random")?;
                let chance = f64::from(*value) / f64::from(1u32 << 31);
                option(f, "--probability", Some(&Test { value: format!("{chance:.11}"), invert: *invert }))
            }
            Self::Nth(nth) => named(f, "statistic --mode nth", "--every", nth),
            _ => Ok(()),
        }
    }
}

/// Writes an extension with its one option.
fn named<T: Display>(f: &mut Formatter<'_>, extension: &str, name: &str, test: &Test<T>) -> fmt::Result {
    f.write_str(extension)?;
    option(f, name, Some(test))
}
