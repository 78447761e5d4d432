//! Neighbours: link-layer addresses of next hops.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{IfName, MacAddr};

/// A row of `ip neigh show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neigh {
    /// The neighbour's address.
    pub address: IpAddr,
    /// The device it is reached by.
    pub dev: IfName,
    /// Its link-layer address, where one is known.
    pub lladdr: Option<MacAddr>,
    /// What the kernel thinks of it.
    pub state: NeighState,
    /// A proxy entry (`ip neigh add proxy`): the host answers for it, it is no neighbour.
    pub proxy: bool,
    /// The line that says so.
    pub evidence: Evidence,
}

/// A neighbour's state (`NUD_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum NeighState {
    Permanent,
    Noarp,
    Reachable,
    Stale,
    Delay,
    Probe,
    Incomplete,
    Failed,
    None,
}

impl NeighState {
    /// Whether the link-layer address may be used (`NUD_VALID` of `include/net/neighbour.h`).
    #[must_use]
    pub fn is_valid(self) -> bool {
        !matches!(self, Self::Incomplete | Self::Failed | Self::None)
    }

    /// The name that `ip neigh` prints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "PERMANENT",
            Self::Noarp => "NOARP",
            Self::Reachable => "REACHABLE",
            Self::Stale => "STALE",
            Self::Delay => "DELAY",
            Self::Probe => "PROBE",
            Self::Incomplete => "INCOMPLETE",
            Self::Failed => "FAILED",
            Self::None => "NONE",
        }
    }
}
