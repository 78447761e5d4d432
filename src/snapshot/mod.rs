//! Layer 1: a snapshot's tables, as read. No parser and no judgement lives here.
//!
//! A table is `Option<…>`: `None` says that it was not collected, an empty one that the tool ran and printed nothing.

mod acct;
mod addr;
mod conntrack;
mod fdb;
mod iproute2;
mod ipset;
mod kube;
mod link;
mod neigh;
mod policy;
mod recent;
mod relay;
mod route;
mod ruleset;
mod sysctl;
pub mod topology;
mod unread;

use std::collections::BTreeMap;

use crate::evidence::{Files, Gap};
pub use crate::net::{AddrScope, NetnsId, NetnsName, RouteScope, RouteType};
use crate::net::{Family, IfName, NodeName, PodName};

pub use acct::{AcctObject, AcctQuota};
pub use addr::Addr;
pub use conntrack::{Conntrack, ConntrackEntry, ConntrackTuple};
pub use fdb::{BridgeVlan, FdbEntry};
pub use ipset::*;
pub use kube::*;
pub use link::{Bridge, BridgePort, Link, LinkKind, PortState, Tun, Vlan, Vxlan, VxlanTtl};
pub use neigh::{Neigh, NeighState};
pub use policy::{IdRange, PolicyRule, RuleAction};
pub use recent::RecentEntry;
pub use relay::Relay;
pub use route::{NextHop, NextHopObject, Route, RouteTable, Routes, Ways};
pub use ruleset::*;
pub use sysctl::{Sysctl, Sysctls, conf_key};
pub use topology::{DevRef, Topology};
pub use unread::{TableFile, Unread, UnreadRow};

/// Everything that was loaded.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The files that were read, which every [`crate::evidence::Evidence`] points into.
    pub files: Files,
    /// Every namespace; [`NetnsId`] is the place in this list.
    pub namespaces: Vec<Netns>,
    /// The nodes, and where their namespaces are.
    pub nodes: BTreeMap<NodeName, Node>,
    /// The Kubernetes objects.
    pub kube: Kube,
    /// What could not be read, or contradicts itself.
    pub gaps: Vec<Gap>,
    /// How devices hang together.
    pub topology: Topology,
}

/// A node's namespaces.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The node's own namespace.
    pub host: Option<NetnsId>,
    /// The pods', by name.
    pub pods: BTreeMap<PodName, NetnsId>,
}

/// The tables of one network namespace.
#[derive(Debug)]
pub struct Netns {
    /// The node that it is on.
    pub node: NodeName,
    /// Which of the node's namespaces.
    pub name: NetnsName,
    /// Its folder, relative to the snapshot.
    pub dir: String,
    /// Devices (`link.txt`).
    pub links: Option<Vec<Link>>,
    /// Addresses of devices (`addr.txt`), both families.
    pub addrs: Option<Vec<Addr>>,
    /// IPv4 routes (`route.txt`).
    pub routes: Option<Routes>,
    /// IPv6 routes (`route6.txt`).
    pub routes6: Option<Routes>,
    /// IPv4 policy rules (`rule.txt`), by priority.
    pub rules: Option<Vec<PolicyRule>>,
    /// IPv6 policy rules (`rule6.txt`), by priority.
    pub rules6: Option<Vec<PolicyRule>>,
    /// Nexthop objects (`nexthop.txt`).
    pub nexthops: Option<Vec<NextHopObject>>,
    /// Neighbours (`neigh.txt`), both families.
    pub neighs: Option<Vec<Neigh>>,
    /// Forwarding entries of bridges and VXLAN devices (`fdb.txt`).
    pub fdb: Option<Vec<FdbEntry>>,
    /// VLANs of bridge ports (`bridge-vlan.txt`).
    pub bridge_vlans: Option<Vec<BridgeVlan>>,
    /// TUN and TAP devices (`tuntap.txt`).
    pub tuns: Option<Vec<Tun>>,
    /// The rule sets of every backend and family.
    pub netfilter: Netfilter,
    /// ipsets (`ipset`), by name.
    pub ipsets: Option<BTreeMap<String, IpSet>>,
    /// Accounting objects (`nfacct`), by name.
    pub nfacct: Option<BTreeMap<String, AcctObject>>,
    /// The lists of the `recent` match (`recent/<list>`), by name. `None` where the folder is absent.
    pub recent: Option<BTreeMap<String, Vec<RecentEntry>>>,
    /// Tracked connections (`conntrack`).
    pub conntrack: Option<Conntrack>,
    /// Kernel settings (`sysctl`).
    pub sysctls: Option<Sysctls>,
    /// Programs behind TUN devices.
    pub relays: Vec<Relay>,
    /// What of the folder's files could not be read.
    pub unread: Unread,
    /// Whether the tools that print times ran in UTC, as `snapshot.json` says.
    pub lists_in_utc: bool,
    /// Whether `addr` was not collected, so that the addresses are those of which the routes tell.
    pub addrs_derived: bool,
}

impl Netns {
    /// A namespace of which nothing is known yet.
    #[must_use]
    pub fn new(node: NodeName, name: NetnsName, dir: impl Into<String>) -> Self {
        Self {
            node,
            name,
            dir: dir.into(),
            links: None,
            addrs: None,
            routes: None,
            routes6: None,
            rules: None,
            rules6: None,
            nexthops: None,
            neighs: None,
            fdb: None,
            bridge_vlans: None,
            tuns: None,
            netfilter: Netfilter::default(),
            ipsets: None,
            nfacct: None,
            recent: None,
            conntrack: None,
            sysctls: None,
            relays: Vec::new(),
            unread: Unread::default(),
            lists_in_utc: false,
            addrs_derived: false,
        }
    }

    /// The device with this name.
    #[must_use]
    pub fn link(&self, name: &IfName) -> Option<&Link> {
        self.links.as_ref()?.iter().find(|link| link.name == *name)
    }

    /// The addresses of a device, in the order in which the kernel keeps them.
    pub fn addrs_of<'a>(&'a self, dev: &'a IfName) -> impl Iterator<Item = &'a Addr> {
        self.addrs.iter().flatten().filter(move |addr| addr.dev == *dev)
    }

    /// Whether devices may have addresses of a family that nobody has read: the file is missing, and the routes tell
    /// all of them only where the table `local` is among them.
    #[must_use]
    pub fn may_have_more_addrs(&self, family: Family) -> bool {
        let routes = if family == Family::Inet { &self.routes } else { &self.routes6 };
        self.addrs.is_none() || self.addrs_derived && !routes.as_ref().is_some_and(Routes::all_tables)
    }

    /// The row that gives this namespace an address, where it has it.
    #[must_use]
    pub fn addr(&self, address: std::net::IpAddr) -> Option<&Addr> {
        self.addrs.as_ref()?.iter().find(|addr| addr.address == address)
    }
}

impl Snapshot {
    /// The namespace behind an id.
    ///
    /// # Panics
    ///
    /// Never for an id that came from this snapshot.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "ids are only made for namespaces of the same snapshot")]
    pub fn netns(&self, id: NetnsId) -> &Netns {
        &self.namespaces[id.0 as usize]
    }

    /// Every namespace with its id.
    pub fn netns_ids(&self) -> impl Iterator<Item = (NetnsId, &Netns)> {
        (0u32..).map(NetnsId).zip(&self.namespaces)
    }

    /// The namespace of a node with this name.
    #[must_use]
    pub fn find_netns(&self, node: &NodeName, name: &NetnsName) -> Option<NetnsId> {
        let node = self.nodes.get(node)?;
        match name {
            NetnsName::Host => node.host,
            NetnsName::Pod(pod) => node.pods.get(pod).copied(),
        }
    }
}
