//! Addresses of devices.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{AddrScope, IfName};

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
