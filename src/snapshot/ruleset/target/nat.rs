//! The targets of the nat table.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use super::super::saved::when;

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

impl NatRange {
    /// The options of `DNAT` and `SNAT`, whose first one has this name.
    pub(super) fn write(&self, f: &mut Formatter<'_>, name: &str) -> fmt::Result {
        if self.addrs.is_some() || self.ports.is_some() {
            write!(f, " {name} ")?;
            self.addresses(f)?;
            if self.ports.is_some() {
                f.write_str(":")?;
                self.ports(f)?;
            }
            self.base_port.iter().try_for_each(|base| write!(f, "/{base}"))?;
        }
        self.flags(f)
    }

    fn addresses(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some((low, high)) = self.addrs else { return Ok(()) };
        let brackets = low.is_ipv6() && self.ports.is_some();
        f.write_str(if brackets { "[" } else { "" })?;
        write!(f, "{low}")?;
        if low != high {
            write!(f, "-{high}")?;
        }
        f.write_str(if brackets { "]" } else { "" })
    }

    fn ports(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some((low, high)) = self.ports else { return Ok(()) };
        if low == high { write!(f, "{low}") } else { write!(f, "{low}-{high}") }
    }

    fn flags(&self, f: &mut Formatter<'_>) -> fmt::Result {
        when(f, self.random, "--random")?;
        when(f, self.random_fully, "--random-fully")?;
        when(f, self.persistent, "--persistent")
    }
}

/// The options of `MASQUERADE` and `REDIRECT`.
impl Display for NatRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.ports.is_some() {
            f.write_str(" --to-ports ")?;
            self.ports(f)?;
        }
        self.flags(f)
    }
}
