//! The accounting objects of the `nfacct` match (`net/netfilter/nfnetlink_acct.c`).

use crate::evidence::Evidence;

/// One object: what it has counted, and its quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcctObject {
    /// Packets that have matched.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How much is allowed, where it has a quota.
    pub quota: Option<AcctQuota>,
    /// The line that says so.
    pub evidence: Evidence,
}

/// How much an object allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcctQuota {
    /// So many packets.
    Packets(u64),
    /// So many bytes.
    Bytes(u64),
}

impl AcctObject {
    /// Whether the object's match holds for the last of so many packets of so many bytes each, which is counted before it
    /// is asked: only where there is a quota that isn't exceeded it doesn't (`nfacct_mt` in
    /// `net/netfilter/xt_nfacct.c`, `nfnl_acct_overquota`).
    #[must_use]
    pub fn matches(&self, packets: u32, length: u32) -> bool {
        let packets = u64::from(packets);
        match self.quota {
            None => true,
            Some(AcctQuota::Packets(quota)) => self.packets.saturating_add(packets) > quota,
            Some(AcctQuota::Bytes(quota)) => self.bytes.saturating_add(packets * u64::from(length)) > quota,
        }
    }
}
