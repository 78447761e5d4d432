//! ipsets.

/// One set of `ipset save`.
#[derive(Debug, Clone)]
pub struct IpSet {}
