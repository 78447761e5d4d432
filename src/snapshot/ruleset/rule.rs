//! One rule: what every packet is asked first, further matches, and the target.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, Protocol};

use super::{Match, Table, Target};

/// Reads one rule's line. [`crate::load`] puts it into the tables, so that a chain is read when a packet first comes
/// to it.
pub type ReadRule = fn(line: &str, family: Family, table: &Table) -> Rule;

/// A rule of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its place in the chain, from 1.
    pub index: u32,
    /// What `iptables` itself asks.
    pub selector: Selector,
    /// What its extensions ask, in order. Extensions that match always (`comment`) are left out.
    pub matches: Vec<Match>,
    /// What it does.
    pub target: Target,
    /// The line that says so.
    pub evidence: Evidence,
    /// The offset of its line in the file.
    pub(crate) start: u32,
}

/// A condition and whether it is negated (`!`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test<T> {
    /// The condition.
    pub value: T,
    /// Whether it must not hold.
    pub invert: bool,
}

impl<T> Test<T> {
    /// The answer, given whether the condition holds.
    #[must_use]
    pub fn of(&self, holds: bool) -> bool {
        holds != self.invert
    }
}

/// What `struct ipt_ip` holds (`ip_packet_match` in `net/ipv4/netfilter/ip_tables.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `-s`.
    pub source: Option<AddrMask>,
    /// `-d`.
    pub destination: Option<AddrMask>,
    /// `-i`.
    pub in_iface: Option<IfPattern>,
    /// `-o`.
    pub out_iface: Option<IfPattern>,
    /// `-p`.
    pub protocol: Option<Test<Protocol>>,
    /// `-f`: second and further fragments. Holds whether it is negated.
    pub fragment: Option<Test<()>>,
    /// A rule for the other family (`-4` in a file of `ip6tables-save`): it is in no table of this one.
    pub other_family: bool,
}

/// An address under a mask, which need not be a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddrMask {
    /// The address.
    pub addr: IpAddr,
    /// The bits that count.
    pub mask: IpAddr,
    /// Whether it must not match.
    pub invert: bool,
}

impl AddrMask {
    /// Whether a packet with this address matches.
    #[must_use]
    pub fn matches(&self, addr: IpAddr) -> bool {
        let same = match (addr, self.addr, self.mask) {
            (IpAddr::V4(a), IpAddr::V4(b), IpAddr::V4(mask)) => (a.to_bits() ^ b.to_bits()) & mask.to_bits() == 0,
            (IpAddr::V6(a), IpAddr::V6(b), IpAddr::V6(mask)) => (a.to_bits() ^ b.to_bits()) & mask.to_bits() == 0,
            _ => false,
        };
        same != self.invert
    }

    /// The one address that matches, if there is only one.
    #[must_use]
    pub fn exact(&self) -> Option<IpAddr> {
        let full = match self.mask {
            IpAddr::V4(mask) => mask.to_bits() == u32::MAX,
            IpAddr::V6(mask) => mask.to_bits() == u128::MAX,
        };
        (full && !self.invert).then_some(self.addr)
    }
}

/// A device's name, or with `+` at its end the start of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfPattern {
    /// The name, without the `+`.
    pub name: Box<str>,
    /// Whether any name that starts so matches.
    pub prefix: bool,
    /// Whether it must not match.
    pub invert: bool,
}

impl IfPattern {
    /// Whether a device matches. Where the hook has none, its name is empty.
    #[must_use]
    pub fn matches(&self, device: Option<&str>) -> bool {
        let device = device.unwrap_or("");
        let same = if self.prefix { device.starts_with(&*self.name) } else { device == &*self.name };
        same != self.invert
    }
}
