//! Extensions that compare fields of the packet, or what the kernel keeps beside them.

use std::fmt::{self, Display, Formatter, Write as _};

use super::super::Test;
use super::super::saved::{flag, negation, option, when};

/// An ICMP type and a range of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    /// The type; `None` for `any`.
    pub kind: Option<u8>,
    /// The lowest and the highest code.
    pub codes: (u8, u8),
}

impl Display for IcmpType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(kind) = self.kind else { return f.write_str("any") };
        write!(f, "{kind}")?;
        if self.codes == (0, 0xff) { Ok(()) } else { write!(f, "/{}", self.codes.0) }
    }
}

/// `--mark value/mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkTest {
    /// What the masked mark must be.
    pub value: u32,
    /// The bits that count.
    pub mask: u32,
}

/// How `ttl` and `hl` compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlTest {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Greater.
    Gt,
}

impl TtlTest {
    /// The option, of an extension whose options start so.
    pub(super) fn write(self, f: &mut Formatter<'_>, start: &str, value: u8) -> fmt::Result {
        negation(f, self == Self::Ne)?;
        let how = match self {
            Self::Eq | Self::Ne => "eq",
            Self::Lt => "lt",
            Self::Gt => "gt",
        };
        write!(f, " --{start}-{how} {value}")
    }
}

/// A value and the bits of it that count, as `tos` prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TosTest {
    /// What the masked field must be.
    pub value: u8,
    /// The bits that count.
    pub mask: u8,
}

impl Display for TosTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}/{:#04x}", self.value, self.mask)
    }
}

/// What `ecn` asks (`net/netfilter/xt_ecn.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcnMatch {
    /// `--ecn-tcp-ece`.
    pub ece: Option<Test<()>>,
    /// `--ecn-tcp-cwr`.
    pub cwr: Option<Test<()>>,
    /// `--ecn-ip-ect`: the two lowest bits of TOS.
    pub ect: Option<Test<u8>>,
}

impl Display for EcnMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        flag(f, "--ecn-tcp-ece", self.ece)?;
        flag(f, "--ecn-tcp-cwr", self.cwr)?;
        option(f, "--ecn-ip-ect", self.ect.as_ref())
    }
}

/// To whom a frame was addressed (`skb->pkt_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PktType {
    /// To this host.
    Unicast,
    /// To everybody.
    Broadcast,
    /// To a group.
    Multicast,
}

impl Display for PktType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unicast => "unicast",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
        })
    }
}

/// A range of numbers with its negation, as [`option`] takes it.
pub(super) fn span<T: Copy>(test: Test<(T, T)>) -> Test<super::super::saved::Span<T>> {
    Test { value: super::super::saved::Span(test.value.0, test.value.1), invert: test.invert }
}

/// `statistic --mode nth` (`net/netfilter/xt_statistic.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nth {
    /// `--every`.
    pub every: u32,
    /// `--packet`: which one of them.
    pub packet: u32,
}

impl Display for Nth {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} --packet {}", self.every, self.packet)
    }
}

/// What `owner` asks (`net/netfilter/xt_owner.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerMatch {
    /// `--uid-owner`, as a range, and whether it is negated.
    pub uid: Option<Test<(u32, u32)>>,
    /// `--gid-owner`.
    pub gid: Option<Test<(u32, u32)>>,
    /// `--socket-exists`.
    pub socket: Option<Test<()>>,
    /// `--suppl-groups`: the sender's further groups count too.
    pub suppl_groups: bool,
}

impl Display for OwnerMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        flag(f, "--socket-exists", self.socket)?;
        ids(f, "--uid-owner", self.uid)?;
        ids(f, "--gid-owner", self.gid)?;
        when(f, self.suppl_groups, "--suppl-groups")
    }
}

fn ids(f: &mut Formatter<'_>, name: &str, test: Option<Test<(u32, u32)>>) -> fmt::Result {
    let Some(Test { value: (low, high), invert }) = test else { return Ok(()) };
    negation(f, invert)?;
    write!(f, " {name} {low}")?;
    if low == high {
        return Ok(());
    }
    f.write_char('-')?;
    write!(f, "{high}")
}
