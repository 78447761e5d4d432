//! Addresses of devices.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::RouteScope;
use crate::evidence::Evidence;
use crate::net::IfName;

/// An address of a device: an `inet` or `inet6` row of `ip addr show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addr {
    /// The device.
    pub dev: IfName,
    /// The address itself.
    pub address: IpAddr,
    /// The prefix length of the network it is in.
    pub prefix_len: u8,
    /// The other end's address on point-to-point devices.
    pub peer: Option<IpAddr>,
    /// The broadcast address.
    pub broadcast: Option<IpAddr>,
    /// How far the address is valid.
    pub scope: AddrScope,
    /// `secondary` (IPv4): not chosen as a source for other destinations.
    pub secondary: bool,
    /// `deprecated` (IPv6), or preferred lifetime 0.
    pub deprecated: bool,
    /// `tentative` or `dadfailed`: not yet, or never, usable.
    pub tentative: bool,
    /// `noprefixroute`: the kernel made no connected route for it.
    pub noprefixroute: bool,
    /// The line that says so.
    pub evidence: Evidence,
}

impl Addr {
    /// An address of which nothing but its network is known.
    #[must_use]
    pub fn new(dev: IfName, address: IpAddr, prefix_len: u8, evidence: Evidence) -> Self {
        Self {
            dev,
            address,
            prefix_len,
            peer: None,
            broadcast: None,
            scope: AddrScope::GLOBAL,
            secondary: false,
            deprecated: false,
            tentative: false,
            noprefixroute: false,
            evidence,
        }
    }
}

/// The scope of an address, narrower is greater (`/etc/iproute2/rt_scopes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddrScope(pub u8);

impl AddrScope {
    /// `global`.
    pub const GLOBAL: Self = Self(0);
    /// `site` (IPv6).
    pub const SITE: Self = Self(200);
    /// `link`.
    pub const LINK: Self = Self(253);
    /// `host`.
    pub const HOST: Self = Self(254);
}

impl fmt::Display for AddrScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RouteScope(self.0).fmt(f)
    }
}

impl FromStr for AddrScope {
    type Err = ();

    /// Reads a number or one of the names that iproute2 always knows.
    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().map(|RouteScope(scope)| Self(scope))
    }
}
