//! Who has an address, and which addresses are the cluster's.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::{IfName, NetnsId, NetnsName};
use crate::snapshot::{Kube, Link, LinkKind, Netns, Route, RouteType, Routes};

use super::DevRef;

/// The owners of addresses and the prefixes of pods, indexed.
#[derive(Debug, Default)]
pub struct Reach {
    owners: HashMap<IpAddr, Vec<DevRef>>,
    prefixes: Vec<IpNet>,
    singles: HashSet<IpAddr>,
}

impl Reach {
    /// Indexes the addresses of every namespace, and the prefixes that the tables and the Node objects name.
    #[must_use]
    pub(super) fn new(namespaces: &[Netns], kube: &Kube, faces_underlay: impl Fn(&DevRef) -> bool) -> Self {
        let mut reach = Self::default();
        for (id, netns) in (0u32..).map(NetnsId).zip(namespaces) {
            reach.add_addresses(id, netns, &faces_underlay);
            reach.add_routes(netns);
        }
        reach.add_objects(kube);
        reach.prefixes = IpNet::aggregate(&reach.prefixes);
        reach.prefixes.sort();
        reach
    }

    /// The devices that have an address.
    #[must_use]
    pub fn owners(&self, address: IpAddr) -> &[DevRef] {
        self.owners.get(&address).map_or(&[], Vec::as_slice)
    }

    /// The prefixes of pods, sorted, none inside another.
    #[must_use]
    pub fn prefixes(&self) -> &[IpNet] {
        &self.prefixes
    }

    /// Whether an address is a pod's, a service's or a node's.
    #[must_use]
    pub fn is_cluster(&self, address: IpAddr) -> bool {
        let below = self.prefixes.partition_point(|net| net.network() <= address);
        let in_prefix = below.checked_sub(1).and_then(|at| self.prefixes.get(at)).is_some_and(|n| n.contains(&address));
        in_prefix || self.owners.contains_key(&address) || self.singles.contains(&address)
    }

    /// A bridge's subnet is the pods' unless the bridge leads to the underlay.
    fn add_addresses(&mut self, id: NetnsId, netns: &Netns, faces_underlay: &impl Fn(&DevRef) -> bool) {
        for addr in netns.addrs.iter().flatten().filter(|addr| !addr.tentative) {
            let dev = DevRef::new(id, &addr.dev);
            let bridge = netns.link(&addr.dev).is_some_and(|link| matches!(link.kind, LinkKind::Bridge(_)));
            if bridge && netns.name == NetnsName::Host && !faces_underlay(&dev) {
                self.add_prefix(addr.address, addr.prefix_len);
            }
            self.owners.entry(addr.address).or_default().push(dev);
        }
    }

    /// What goes into a tunnel, and what pods send to their gateway although it isn't their default route (the CNI
    /// plugin's route for flannel's whole network), is the pods'.
    fn add_routes(&mut self, netns: &Netns) {
        let links = netns.links.iter().flatten();
        let tunnels: HashSet<&IfName> = links.filter(|link| is_tunnel(&link.kind)).map(|link| &link.name).collect();
        let routes = [&netns.routes, &netns.routes6].into_iter().flatten().flat_map(Routes::rows);
        for route in routes.filter(|route| route.kind == RouteType::Unicast) {
            let of_pods = match netns.name {
                NetnsName::Host => leaves_by(route).is_some_and(|dev| tunnels.contains(dev)),
                NetnsName::Pod(_) => route.nexthops.iter().any(|hop| hop.via.is_some()),
            };
            if of_pods {
                self.add_prefix(route.dst.addr(), route.dst.prefix_len());
            }
        }
    }

    fn add_objects(&mut self, kube: &Kube) {
        for node in kube.nodes.iter().flatten() {
            self.prefixes.extend(node.pod_cidrs.iter().map(IpNet::trunc));
            self.singles.extend(&node.internal_ips);
            self.singles.extend(node.flannel.public_ip);
            self.singles.extend(node.flannel.public_ipv6);
        }
        self.singles.extend(kube.services.iter().flatten().flat_map(|service| &service.cluster_ips));
        self.singles.extend(kube.pods.iter().flatten().filter(|pod| pod.is_live()).flat_map(|pod| &pod.ips));
    }

    /// Default routes and link-local prefixes are nobody's in particular.
    fn add_prefix(&mut self, address: IpAddr, len: u8) {
        let local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback() || v4.is_multicast(),
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback() || v6.is_multicast(),
        };
        if let (false, 1.., Ok(net)) = (local, len, IpNet::new(address, len)) {
            self.prefixes.push(net.trunc());
        }
    }
}

fn leaves_by(route: &Route) -> Option<&IfName> {
    route.nexthops.first()?.dev.as_ref()
}

fn is_tunnel(kind: &LinkKind) -> bool {
    match kind {
        LinkKind::Vxlan(_) | LinkKind::Tun { tap: false } | LinkKind::Undetailed(Link::TUNNEL) => true,
        LinkKind::Other(kind) => matches!(kind.as_str(), "vxlan" | "wireguard" | "ipip" | "geneve" | "gre" | "sit"),
        _ => false,
    }
}
