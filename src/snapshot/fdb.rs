//! Forwarding entries of bridges and VXLAN devices.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{IfName, MacAddr, Vni};

/// A row of `bridge fdb show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbEntry {
    /// The address that the entry is for.
    pub lladdr: MacAddr,
    /// The device: a bridge port, the bridge itself, or a VXLAN device.
    pub dev: IfName,
    /// A VXLAN entry's remote VTEP.
    pub dst: Option<IpAddr>,
    /// A VXLAN entry's own UDP port.
    pub port: Option<u16>,
    /// A VXLAN entry's own network identifier.
    pub vni: Option<Vni>,
    /// A VXLAN entry's own lower device.
    pub via: Option<IfName>,
    /// The VLAN, where the bridge filters VLANs.
    pub vlan: Option<u16>,
    /// The bridge that keeps the entry (`master br0`); `None` for the device's own (`self`).
    pub master: Option<IfName>,
    /// `self`: the entry is the device's own.
    pub own: bool,
    /// `permanent` on a bridge: the address is the bridge's or a port's own (local delivery).
    pub permanent: bool,
    /// Words that flowtrace doesn't model, as written (`nhid`, `src_vni`, …).
    pub unmodelled: Vec<String>,
    /// The line that says so.
    pub evidence: Evidence,
}

impl FdbEntry {
    /// An entry that says nothing yet but for what it is.
    #[must_use]
    pub fn new(lladdr: MacAddr, dev: IfName, evidence: Evidence) -> Self {
        Self {
            lladdr,
            dev,
            dst: None,
            port: None,
            vni: None,
            via: None,
            vlan: None,
            master: None,
            own: false,
            permanent: false,
            unmodelled: Vec::new(),
            evidence,
        }
    }
}

/// A row of `bridge vlan show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeVlan {
    /// The port, or the bridge itself.
    pub dev: IfName,
    /// The VLAN.
    pub vid: u16,
    /// Untagged frames that come in belong to it.
    pub pvid: bool,
    /// Its frames go out untagged.
    pub untagged: bool,
    /// The line that says so.
    pub evidence: Evidence,
}
