//! The addresses under which endpoints are reached.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::load;
use crate::net::{Family, Packet, Protocol};
use crate::snapshot::{EndpointSlice, Service, ServicePort, Snapshot};
use crate::trace::Role;

use super::dnat;

/// An endpoint: its address, port and protocol.
pub(super) type Endpoint = (IpAddr, u16, Protocol);

/// An address and port that a service is reached at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Front {
    pub address: IpAddr,
    pub port: u16,
    pub name: String,
}

/// Which fronts lead to which endpoints, by the Service and EndpointSlice objects and by the nodes' rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    fronts: HashMap<Endpoint, Vec<Front>>,
    /// What services are reached at.
    reached: HashSet<Endpoint>,
}

impl Services {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut services = Self::default();
        let (slices, _) = load::endpoint_slices(snapshot).unwrap_or_default();
        let all = snapshot.kube.services.iter().flatten();
        let by_name: HashMap<(&str, &str), &Service> =
            all.map(|service| ((service.namespace.as_str(), service.name.as_str()), service)).collect();
        for slice in &slices {
            let name = slice.service.as_deref();
            let service = name.and_then(|name| by_name.get(&(slice.namespace.as_str(), name)));
            if let Some(service) = service {
                services.add(snapshot, service, slice);
            }
        }
        let nodes: Vec<IpAddr> = nodes(snapshot).collect();
        for dnat::Dnat { endpoint, front, is_own_port } in dnat::all(snapshot) {
            services.reached.insert((front.address, front.port, endpoint.2));
            let fronts = services.fronts.entry(endpoint).or_default();
            // An object may have told it, or another node that has the same rules.
            let is_it = |known: &Front| {
                known.port == front.port
                    && (known.address == front.address || is_own_port && nodes.contains(&known.address))
            };
            if !fronts.iter().any(is_it) {
                fronts.push(front);
            }
        }
        services
    }

    fn add(&mut self, snapshot: &Snapshot, service: &Service, slice: &EndpointSlice) {
        for port in &slice.ports {
            let Some(number) = port.port else { continue };
            let same = |own: &&ServicePort| {
                own.protocol == port.protocol && own.name.as_deref().unwrap_or("") == port.name.as_deref().unwrap_or("")
            };
            let Some(own) = service.ports.iter().find(same) else { continue };
            let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
            for address in addresses {
                let fronts = fronts(snapshot, service, own, Family::of(*address));
                self.reached.extend(fronts.iter().map(|front| (front.address, front.port, port.protocol)));
                self.fronts.entry((*address, number, port.protocol)).or_default().extend(fronts);
            }
        }
    }

    /// Whether a packet goes to a service or comes from one, by its ports alone.
    pub(super) fn role(&self, packet: &Packet) -> Option<Role> {
        let serves = |address: IpAddr, port: Option<u16>| {
            let end = port.map(|port| (address, port, packet.protocol()));
            end.is_some_and(|end| self.fronts.contains_key(&end) || self.reached.contains(&end))
        };
        let from = serves(packet.ip.source, packet.source_port());
        match (from, serves(packet.ip.destination, packet.destination_port())) {
            (true, false) => Some(Role::Reply),
            (false, true) => Some(Role::Original),
            _ => None,
        }
    }

    /// The fronts of an endpoint.
    pub(super) fn of(&self, address: IpAddr, port: u16, protocol: Protocol) -> &[Front] {
        self.fronts.get(&(address, port, protocol)).map_or(&[], Vec::as_slice)
    }
}

/// Where a service's port is reached: its own addresses first, then the nodes'.
fn fronts(snapshot: &Snapshot, service: &Service, port: &ServicePort, family: Family) -> Vec<Front> {
    let name = format!("svc/{}/{}:{}", service.namespace, service.name, port.port);
    let own = [&service.cluster_ips, &service.external_ips, &service.load_balancer_ips].into_iter().flatten();
    let mut fronts: Vec<Front> =
        own.map(|address| Front { address: *address, port: port.port, name: name.clone() }).collect();
    if let Some(node_port) = port.node_port {
        fronts.extend(nodes(snapshot).map(|address| {
            let name = format!(
                "svc/{}/{} at {}",
                service.namespace,
                service.name,
                super::candidate::endpoint(address, Some(node_port))
            );
            Front { address, port: node_port, name }
        }));
    }
    fronts.retain(|front| Family::of(front.address) == family);
    fronts
}

/// The nodes' addresses, as many as are worth trying.
fn nodes(snapshot: &Snapshot) -> impl Iterator<Item = IpAddr> {
    const MOST: usize = 16;
    let objects = snapshot.kube.nodes.iter().flatten();
    objects.flat_map(|node| node.internal_ips.iter().copied()).take(MOST)
}
