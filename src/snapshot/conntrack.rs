//! Tracked connections.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Mark, Protocol};

/// A row of `conntrack -L -o extended`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConntrackEntry {
    /// The protocol.
    pub protocol: Protocol,
    /// TCP's or SCTP's state as printed (`ESTABLISHED`).
    pub state: Option<String>,
    /// The first packet's direction.
    pub original: ConntrackTuple,
    /// What answers look like, which tells the NAT.
    pub reply: ConntrackTuple,
    /// `[ASSURED]`.
    pub assured: bool,
    /// `[UNREPLIED]`: nothing came back yet.
    pub unreplied: bool,
    /// `[OFFLOAD]`, `[HW_OFFLOAD]`: a flowtable forwards its packets, past the hooks.
    pub offloaded: bool,
    /// The connection's mark.
    pub mark: Mark,
    /// The zone of the original direction, 0 as a rule.
    pub zone: u16,
    /// The zone of the reply direction, which is the same unless the zone was set for one direction only.
    pub reply_zone: u16,
    /// Packets and bytes of the two directions; `None` where they are not counted (`nf_conntrack_acct`).
    pub counters: Option<[(u64, u64); 2]>,
    /// The line that says so.
    pub evidence: Evidence,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConntrackTuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port; for ICMP the identifier. `None` where the protocol has none.
    pub source_port: Option<u16>,
    /// Destination port; for ICMP `type << 8 | code`. `None` where the protocol has none.
    pub destination_port: Option<u16>,
}
