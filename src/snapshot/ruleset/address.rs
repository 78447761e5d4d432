//! Addresses under a mask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address under a mask, which need not be a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddrMask(Masked);

/// Those of IPv6 are boxed: a large cluster has hundreds of thousands of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Masked {
    V4 { addr: Ipv4Addr, mask: Ipv4Addr, invert: bool },
    V6(Box<Masked6>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Masked6 {
    addr: Ipv6Addr,
    mask: Ipv6Addr,
    invert: bool,
}

impl AddrMask {
    /// An address and the bits of it that count; `invert` says whether it must not match. `None` where they are not of
    /// one family.
    #[must_use]
    pub fn new(addr: IpAddr, mask: IpAddr, invert: bool) -> Option<Self> {
        match (addr, mask) {
            (IpAddr::V4(addr), IpAddr::V4(mask)) => Some(Self(Masked::V4 { addr, mask, invert })),
            (IpAddr::V6(addr), IpAddr::V6(mask)) => Some(Self(Masked::V6(Box::new(Masked6 { addr, mask, invert })))),
            _ => None,
        }
    }

    /// The address.
    #[must_use]
    pub fn addr(&self) -> IpAddr {
        match &self.0 {
            Masked::V4 { addr, .. } => IpAddr::V4(*addr),
            Masked::V6(masked) => IpAddr::V6(masked.addr),
        }
    }

    /// The bits that count.
    #[must_use]
    pub fn mask(&self) -> IpAddr {
        match &self.0 {
            Masked::V4 { mask, .. } => IpAddr::V4(*mask),
            Masked::V6(masked) => IpAddr::V6(masked.mask),
        }
    }

    /// Whether it must not match.
    #[must_use]
    pub fn invert(&self) -> bool {
        match &self.0 {
            Masked::V4 { invert, .. } => *invert,
            Masked::V6(masked) => masked.invert,
        }
    }

    /// The same address and mask; the argument says whether it must not match.
    #[must_use]
    pub fn inverted(mut self, invert: bool) -> Self {
        match &mut self.0 {
            Masked::V4 { invert: old, .. } => *old = invert,
            Masked::V6(masked) => masked.invert = invert,
        }
        self
    }

    /// Whether a packet with this address matches.
    #[must_use]
    pub fn matches(&self, addr: IpAddr) -> bool {
        let same = match (addr, self.addr(), self.mask()) {
            (IpAddr::V4(a), IpAddr::V4(b), IpAddr::V4(mask)) => (a.to_bits() ^ b.to_bits()) & mask.to_bits() == 0,
            (IpAddr::V6(a), IpAddr::V6(b), IpAddr::V6(mask)) => (a.to_bits() ^ b.to_bits()) & mask.to_bits() == 0,
            _ => false,
        };
        same != self.invert()
    }

    /// The one address that matches, if there is only one.
    #[must_use]
    pub fn exact(&self) -> Option<IpAddr> {
        let full = match self.mask() {
            IpAddr::V4(mask) => mask.to_bits() == u32::MAX,
            IpAddr::V6(mask) => mask.to_bits() == u128::MAX,
        };
        (full && !self.invert()).then(|| self.addr())
    }
}
