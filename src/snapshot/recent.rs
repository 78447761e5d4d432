//! The lists of the `recent` match.

use std::net::IpAddr;

use crate::evidence::Evidence;

/// A row of `/proc/net/xt_recent/<list>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentEntry {
    /// The address.
    pub address: IpAddr,
    /// Its TTL when it was last seen.
    pub ttl: u8,
    /// When it was last seen, in jiffies.
    pub last_seen: u64,
    /// The stamps that are kept, in jiffies.
    pub stamps: Vec<u64>,
    /// The line that says so.
    pub evidence: Evidence,
}
