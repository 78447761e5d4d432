//! What changed between two sights of a packet.

use std::fmt;
use std::net::IpAddr;

use super::sight::{Lane, Outer};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The source address or port.
    Source(End, End),
    /// The destination address or port.
    Destination(End, End),
    /// TTL, or the hop limit.
    Ttl(u8, u8),
    /// A tunnel was put on.
    Wrapped(Outer),
    /// The tunnel was taken off.
    Unwrapped(Outer),
    /// The tunnel is another one.
    Rewrapped(Outer, Outer),
}

/// An address, with its port where the protocol has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: Option<u16>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (address, None) => write!(f, "{address}"),
            (IpAddr::V4(address), Some(port)) => write!(f, "{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}"),
        }
    }
}

impl Lane {
    /// The source address and port.
    #[must_use]
    pub fn source_end(&self) -> End {
        End { address: self.source, port: self.ports.map(|(port, _)| port) }
    }

    /// The destination address and port.
    #[must_use]
    pub fn destination_end(&self) -> End {
        End { address: self.destination, port: self.ports.map(|(_, port)| port) }
    }
}

/// What changed from one sight to another one, each with its TTL.
#[must_use]
pub fn changes(from: (&Lane, u8), to: (&Lane, u8)) -> Vec<Change> {
    let ((from, ttl), (to, new_ttl)) = (from, to);
    let mut changes = Vec::new();
    if from.source_end() != to.source_end() {
        changes.push(Change::Source(from.source_end(), to.source_end()));
    }
    if from.destination_end() != to.destination_end() {
        changes.push(Change::Destination(from.destination_end(), to.destination_end()));
    }
    if ttl != new_ttl {
        changes.push(Change::Ttl(ttl, new_ttl));
    }
    match (from.tunnel, to.tunnel) {
        (None, Some(outer)) => changes.push(Change::Wrapped(outer)),
        (Some(outer), None) => changes.push(Change::Unwrapped(outer)),
        (Some(outer), Some(new)) if outer != new => changes.push(Change::Rewrapped(outer, new)),
        _ => {}
    }
    changes
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(from, to) => write!(f, "source {from} > {to}"),
            Self::Destination(from, to) => write!(f, "destination {from} > {to}"),
            Self::Ttl(from, to) => write!(f, "ttl {from} > {to}"),
            Self::Wrapped(outer) => write!(f, "into {outer}"),
            Self::Unwrapped(outer) => write!(f, "out of {outer}"),
            Self::Rewrapped(from, to) => write!(f, "from {from} into {to}"),
        }
    }
}

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(vni) = self.vni {
            write!(f, " {vni}")?;
        }
        write!(f, " {} > {}", self.source, self.destination)
    }
}
