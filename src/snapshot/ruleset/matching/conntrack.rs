//! What `conntrack` and `state` ask.

use std::fmt::{self, Display, Formatter};

use crate::net::Protocol;

use super::super::saved::{Span, bits, option};
use super::super::{AddrMask, Test};
use super::{MarkTest, PortRange};

/// Connection states, as bits of `XT_CONNTRACK_STATE_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtStates(pub u8);

impl CtStates {
    /// `INVALID`.
    pub const INVALID: Self = Self(1);
    /// `ESTABLISHED`.
    pub const ESTABLISHED: Self = Self(1 << 1);
    /// `RELATED`.
    pub const RELATED: Self = Self(1 << 2);
    /// `NEW`.
    pub const NEW: Self = Self(1 << 3);
    /// `SNAT`: the source is rewritten.
    pub const SNAT: Self = Self(1 << 4);
    /// `DNAT`: the destination is rewritten.
    pub const DNAT: Self = Self(1 << 5);
    /// `UNTRACKED`.
    pub const UNTRACKED: Self = Self(1 << 6);
}

impl Display for CtStates {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const NAMES: &[(u32, &str)] = &[
            (1, "INVALID"),
            (1 << 3, "NEW"),
            (1 << 2, "RELATED"),
            (1 << 1, "ESTABLISHED"),
            (1 << 6, "UNTRACKED"),
            (1 << 4, "SNAT"),
            (1 << 5, "DNAT"),
        ];
        bits(f, u32::from(self.0), NAMES)
    }
}

/// Connection status bits that `--ctstatus` can name; none of them for `NONE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConntrackStatus(pub u8);

impl ConntrackStatus {
    /// `EXPECTED`.
    pub const EXPECTED: Self = Self(1);
    /// `SEEN_REPLY`.
    pub const SEEN_REPLY: Self = Self(1 << 1);
    /// `ASSURED`.
    pub const ASSURED: Self = Self(1 << 2);
    /// `CONFIRMED`.
    pub const CONFIRMED: Self = Self(1 << 3);
}

impl Display for ConntrackStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("NONE");
        }
        bits(f, u32::from(self.0), &[(1, "EXPECTED"), (2, "SEEN_REPLY"), (4, "ASSURED"), (8, "CONFIRMED")])
    }
}

/// A packet's direction in its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// That of the first packet.
    Original,
    /// That of the answers.
    Reply,
}

/// What `conntrack` asks (`net/netfilter/xt_conntrack.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConntrackMatch {
    /// `-m state`, whose one option has another name.
    pub alias: bool,
    /// `--ctstate`, and `--state`.
    pub states: Option<Test<CtStates>>,
    /// `--ctstatus`.
    pub status: Option<Test<ConntrackStatus>>,
    /// `--ctproto`.
    pub protocol: Option<Test<Protocol>>,
    /// `--ctorigsrc`.
    pub orig_src: Option<AddrMask>,
    /// `--ctorigdst`.
    pub orig_dst: Option<AddrMask>,
    /// `--ctreplsrc`.
    pub repl_src: Option<AddrMask>,
    /// `--ctrepldst`.
    pub repl_dst: Option<AddrMask>,
    /// `--ctorigsrcport`.
    pub orig_src_port: Option<Test<PortRange>>,
    /// `--ctorigdstport`.
    pub orig_dst_port: Option<Test<PortRange>>,
    /// `--ctreplsrcport`.
    pub repl_src_port: Option<Test<PortRange>>,
    /// `--ctrepldstport`.
    pub repl_dst_port: Option<Test<PortRange>>,
    /// `--ctdir`.
    pub direction: Option<Test<Direction>>,
    /// `--ctexpire`, in seconds.
    pub expires: Option<Test<(u32, u32)>>,
}

/// `-m conntrack …` or `-m state …`.
impl Display for ConntrackMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.alias {
            f.write_str("state")?;
            return option(f, "--state", self.states.as_ref());
        }
        f.write_str("conntrack")?;
        option(f, "--ctstate", self.states.as_ref())?;
        let number = |test: Test<Protocol>| Test { value: test.value.0, invert: test.invert };
        option(f, "--ctproto", self.protocol.map(number).as_ref())?;
        let tested = |addr: &AddrMask| Test { value: addr.clone(), invert: addr.invert() };
        option(f, "--ctorigsrc", self.orig_src.as_ref().map(tested).as_ref())?;
        option(f, "--ctorigdst", self.orig_dst.as_ref().map(tested).as_ref())?;
        option(f, "--ctreplsrc", self.repl_src.as_ref().map(tested).as_ref())?;
        option(f, "--ctrepldst", self.repl_dst.as_ref().map(tested).as_ref())?;
        option(f, "--ctorigsrcport", self.orig_src_port.as_ref())?;
        option(f, "--ctorigdstport", self.orig_dst_port.as_ref())?;
        option(f, "--ctreplsrcport", self.repl_src_port.as_ref())?;
        option(f, "--ctrepldstport", self.repl_dst_port.as_ref())?;
        option(f, "--ctstatus", self.status.as_ref())?;
        let span = |test: Test<(u32, u32)>| Test { value: Span(test.value.0, test.value.1), invert: test.invert };
        option(f, "--ctexpire", self.expires.map(span).as_ref())?;
        let reply = |test: Test<Direction>| (test.value == Direction::Reply) != test.invert;
        match self.direction.map(reply) {
            None => Ok(()),
            Some(true) => f.write_str(" --ctdir REPLY"),
            Some(false) => f.write_str(" --ctdir ORIGINAL"),
        }
    }
}

/// ` --mark value/mask`, the mask only where it leaves bits out.
impl Display for MarkTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        if self.mask == u32::MAX { Ok(()) } else { write!(f, "/{:#x}", self.mask) }
    }
}
