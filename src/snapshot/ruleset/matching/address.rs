//! Extensions about addresses and devices: `addrtype`, `iprange`, `set`, `physdev`, `rpfilter`.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use super::super::saved::{bits, flag, list, negation, option, when};
use super::super::{IfPattern, Test};

/// Address types, as bits `1 << RTN_*` (`XT_ADDRTYPE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddrType(pub u16);

impl AddrType {
    /// `UNSPEC`.
    pub const UNSPEC: Self = Self(1);
    /// `UNICAST`.
    pub const UNICAST: Self = Self(1 << 1);
    /// `LOCAL`.
    pub const LOCAL: Self = Self(1 << 2);
    /// `BROADCAST`.
    pub const BROADCAST: Self = Self(1 << 3);
    /// `ANYCAST`.
    pub const ANYCAST: Self = Self(1 << 4);
    /// `MULTICAST`.
    pub const MULTICAST: Self = Self(1 << 5);
    /// `BLACKHOLE`.
    pub const BLACKHOLE: Self = Self(1 << 6);
    /// `UNREACHABLE`.
    pub const UNREACHABLE: Self = Self(1 << 7);
    /// `PROHIBIT`.
    pub const PROHIBIT: Self = Self(1 << 8);
    /// `THROW`.
    pub const THROW: Self = Self(1 << 9);
    /// `NAT`.
    pub const NAT: Self = Self(1 << 10);
    /// `XRESOLVE`.
    pub const XRESOLVE: Self = Self(1 << 11);

    /// Whether any of the other's types is among these.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The names of address types.
pub(crate) const ADDR_TYPES: &[(u32, &str)] = &[
    (1, "UNSPEC"),
    (1 << 1, "UNICAST"),
    (1 << 2, "LOCAL"),
    (1 << 3, "BROADCAST"),
    (1 << 4, "ANYCAST"),
    (1 << 5, "MULTICAST"),
    (1 << 6, "BLACKHOLE"),
    (1 << 7, "UNREACHABLE"),
    (1 << 8, "PROHIBIT"),
    (1 << 9, "THROW"),
    (1 << 10, "NAT"),
    (1 << 11, "XRESOLVE"),
];

impl Display for AddrType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        bits(f, u32::from(self.0), ADDR_TYPES)
    }
}

/// What `addrtype` asks (`net/netfilter/xt_addrtype.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddrtypeMatch {
    /// `--src-type`.
    pub source: Option<Test<AddrType>>,
    /// `--dst-type`.
    pub destination: Option<Test<AddrType>>,
    /// `--limit-iface-in`.
    pub limit_in: bool,
    /// `--limit-iface-out`.
    pub limit_out: bool,
}

impl Display for AddrtypeMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        option(f, "--src-type", self.source.as_ref())?;
        option(f, "--dst-type", self.destination.as_ref())?;
        when(f, self.limit_in, "--limit-iface-in")?;
        when(f, self.limit_out, "--limit-iface-out")
    }
}

/// Two addresses and everything between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddrRange(pub IpAddr, pub IpAddr);

impl Display for AddrRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// What `iprange` asks (`net/netfilter/xt_iprange.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IprangeMatch {
    /// `--src-range`.
    pub source: Option<Test<AddrRange>>,
    /// `--dst-range`.
    pub destination: Option<Test<AddrRange>>,
}

impl Display for IprangeMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        option(f, "--src-range", self.source.as_ref())?;
        option(f, "--dst-range", self.destination.as_ref())
    }
}

/// Which of the packet's fields is compared with one part of a set's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetSide {
    /// `src`.
    Source,
    /// `dst`.
    Destination,
}

impl Display for SetSide {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Source { "src" } else { "dst" })
    }
}

/// What `set` asks (`net/netfilter/xt_set.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMatch {
    /// The set's name.
    pub name: Box<str>,
    /// `src,dst,…`, one for each part of an element.
    pub sides: Box<[SetSide]>,
    /// Whether it must not match.
    pub invert: bool,
    /// `--return-nomatch`: elements marked `nomatch` are what matches.
    pub return_nomatch: bool,
    /// `! --update-counters`: matching doesn't count in the set.
    pub keep_counters: bool,
    /// `! --update-subcounters`: matching doesn't count in the sets of a list.
    pub keep_subcounters: bool,
    /// Options about counters, as printed.
    pub counters: Option<Box<str>>,
}

impl Display for SetMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        negation(f, self.invert)?;
        write!(f, " --match-set {} ", self.name)?;
        list(f, &self.sides)?;
        when(f, self.return_nomatch, "--return-nomatch")?;
        when(f, self.keep_counters, "! --update-counters")?;
        when(f, self.keep_subcounters, "! --update-subcounters")?;
        self.counters.iter().try_for_each(|counters| write!(f, " {counters}"))
    }
}

/// What `physdev` asks (`net/netfilter/xt_physdev.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhysdevMatch {
    /// `--physdev-in`.
    pub input: Option<IfPattern>,
    /// `--physdev-out`.
    pub output: Option<IfPattern>,
    /// `--physdev-is-in`.
    pub is_in: Option<Test<()>>,
    /// `--physdev-is-out`.
    pub is_out: Option<Test<()>>,
    /// `--physdev-is-bridged`.
    pub is_bridged: Option<Test<()>>,
}

impl Display for PhysdevMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        flag(f, "--physdev-is-in", self.is_in)?;
        device(f, "--physdev-in", self.input.as_ref())?;
        flag(f, "--physdev-is-out", self.is_out)?;
        device(f, "--physdev-out", self.output.as_ref())?;
        flag(f, "--physdev-is-bridged", self.is_bridged)
    }
}

/// Writes an option whose value is a device's name.
pub(in crate::snapshot::ruleset) fn device(
    f: &mut Formatter<'_>,
    name: &str,
    pattern: Option<&IfPattern>,
) -> fmt::Result {
    let Some(pattern) = pattern else { return Ok(()) };
    negation(f, pattern.invert)?;
    write!(f, " {name} {pattern}")
}

impl Display for IfPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.prefix { "+" } else { "" })
    }
}

/// What `rpfilter` asks (`net/ipv4/netfilter/ipt_rpfilter.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RpfilterMatch {
    /// `--loose`.
    pub loose: bool,
    /// `--validmark`.
    pub validmark: bool,
    /// `--accept-local`.
    pub accept_local: bool,
    /// `--invert`.
    pub invert: bool,
}

impl Display for RpfilterMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        when(f, self.loose, "--loose")?;
        when(f, self.validmark, "--validmark")?;
        when(f, self.accept_local, "--accept-local")?;
        when(f, self.invert, "--invert")
    }
}
