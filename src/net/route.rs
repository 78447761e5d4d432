//! The words that say what a route is, and how far it and an address reach.

use std::fmt;
use std::str::FromStr;

/// What a route does with a packet (`RTN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum RouteType {
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
    Nat,
}

impl RouteType {
    /// The word that `ip route` prints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Anycast => "anycast",
            Self::Multicast => "multicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Nat => "nat",
        }
    }
}

/// The scope of a route, nearer is greater (`/etc/iproute2/rt_scopes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteScope(pub u8);

impl RouteScope {
    /// `global`: behind a gateway, or anywhere.
    pub const GLOBAL: Self = Self(0);
    /// `link`: on the device's link.
    pub const LINK: Self = Self(253);
    /// `host`: the host itself.
    pub const HOST: Self = Self(254);
    /// `nowhere`: doesn't exist.
    pub const NOWHERE: Self = Self(255);
}

impl fmt::Display for RouteScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("global"),
            200 => f.write_str("site"),
            253 => f.write_str("link"),
            254 => f.write_str("host"),
            255 => f.write_str("nowhere"),
            n => write!(f, "{n}"),
        }
    }
}

impl FromStr for RouteScope {
    type Err = ();

    /// Reads a number or one of the names that iproute2 always knows.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "global" | "universe" => Ok(Self::GLOBAL),
            "site" => Ok(Self(200)),
            "link" => Ok(Self::LINK),
            "host" => Ok(Self::HOST),
            "nowhere" => Ok(Self::NOWHERE),
            _ => text.parse().map(Self).map_err(|_| ()),
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
