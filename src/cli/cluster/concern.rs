//! Which nodes and pods a question concerns, by the objects alone: the two ends, and where they are behind a service, its
//! endpoints. Whoever comes from outside may enter at any node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::collect::cluster::Wanted;
use crate::error::Error;
use crate::load;
use crate::net::NodeName;
use crate::snapshot::{EndpointSlice, Pod, Service, Snapshot};

use super::super::args::Proto;
use super::super::names::{End, Kind, Names, Role};
use super::super::question;

/// Nodes, each with the folders of the pods that are concerned; `None` is all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Concern(BTreeMap<String, Option<BTreeSet<String>>>);

/// A question, as far as it says who is concerned.
pub(super) struct Question<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub namespace: Option<&'a str>,
    pub proto: Option<Proto>,
    pub port: Option<u16>,
    pub at: Option<&'a str>,
}

/// What a concern grows from.
struct Growth<'a> {
    objects: &'a Snapshot,
    slices: Vec<EndpointSlice>,
    concern: Concern,
}

impl Concern {
    /// Every node and pod.
    pub fn all(objects: &Snapshot) -> Self {
        let nodes = objects.kube.nodes.iter().flatten().map(|node| &node.name);
        let of_pods = objects.kube.pods.iter().flatten().filter_map(|pod| pod.node.as_ref());
        Self(nodes.chain(of_pods).map(|node| (node.to_string(), None)).collect())
    }

    /// The nodes that were named, with all their pods.
    pub fn only(objects: &Snapshot, names: &[String]) -> Result<Self, Error> {
        names.iter().try_for_each(|name| must_be_node(objects, name, "--node"))?;
        Ok(Self(names.iter().map(|name| (name.clone(), None)).collect()))
    }

    /// What is to be read.
    pub fn into_wanted(self) -> Vec<Wanted> {
        let wanted = |(node, pods): (String, Option<BTreeSet<String>>)| Wanted {
            node,
            pods: pods.map(|pods| pods.into_iter().collect()),
        };
        self.0.into_iter().map(wanted).collect()
    }
}

/// The node, or the pod and its node, whose rules are asked for.
pub(super) fn of_rules(name: &str, namespace: Option<&str>, objects: &Snapshot) -> Result<Concern, Error> {
    let mut growth = Growth::new(objects);
    if objects.kube.node(&NodeName::new(name)).is_some() {
        growth.add_node(name);
    } else {
        let names = Names { snapshot: objects, namespace, protocol: None, port: None };
        growth.add_end(&names.resolve(name, Role::To)?, None)?;
    }
    Ok(growth.concern)
}

impl Question<'_> {
    /// Who is concerned.
    pub fn concern(&self, objects: &Snapshot) -> Result<Concern, Error> {
        let protocol = self.proto.map(question::protocol);
        let names = Names { snapshot: objects, namespace: self.namespace, protocol, port: self.port };
        let from = names.resolve(self.from, Role::From)?;
        let to = names.resolve(self.to, Role::To)?;
        let mut growth = Growth::new(objects);
        let port = to.port.or(self.port);
        let known_to = growth.add_end(&to, port)?;
        let known_from = growth.add_end(&from, None)?;
        let at_node =
            matches!(to.kind, Kind::Node(_)) || to.addresses.iter().any(|ip| objects.absent_node(*ip).is_some());
        match self.at {
            // Where the packet comes in is said, and all of that node may have to do with it.
            Some(at) => {
                let node = at.split('/').next().unwrap_or(at);
                must_be_node(objects, node, "--at")?;
                growth.add_whole_node(node);
            }
            None if !(known_from || known_to && at_node) => return Ok(Concern::all(objects)),
            None => {}
        }
        Ok(growth.concern)
    }
}

/// An option's node that the cluster has.
fn must_be_node(objects: &Snapshot, name: &str, option: &str) -> Result<(), Error> {
    let Concern(all) = Concern::all(objects);
    if all.contains_key(name) {
        return Ok(());
    }
    let known: Vec<&str> = all.keys().map(String::as_str).collect();
    Err(Error::Usage(format!("{option} {name}: the cluster's nodes are {}", known.join(", "))))
}

impl<'a> Growth<'a> {
    fn new(objects: &'a Snapshot) -> Self {
        let slices = load::endpoint_slices(objects).map(|(slices, _)| slices).unwrap_or_default();
        Self { objects, slices, concern: Concern::default() }
    }

    fn add_node(&mut self, node: &str) {
        self.concern.0.entry(node.to_owned()).or_insert_with(|| Some(BTreeSet::new()));
    }

    fn add_whole_node(&mut self, node: &str) {
        self.concern.0.insert(node.to_owned(), None);
    }

    fn add_pod(&mut self, pod: &Pod) -> Result<(), Error> {
        let Some(node) = &pod.node else {
            return Err(Error::Usage(format!("pod {} is {} and on no node yet", pod.name, pod.phase)));
        };
        self.add_node(node.as_str());
        if let (false, Some(Some(pods))) = (pod.host_network, self.concern.0.get_mut(node.as_str())) {
            pods.insert(format!("{}_{}", pod.name.namespace, pod.name.name));
        }
        Ok(())
    }

    /// Adds where an end is, and what it stands for; whether anybody has to do with it.
    fn add_end(&mut self, end: &End, port: Option<u16>) -> Result<bool, Error> {
        match &end.kind {
            Kind::Pod(name) => match self.objects.kube.pod(name) {
                Some(pod) => self.add_pod(pod).map(|()| true),
                None => Ok(false),
            },
            Kind::Node(node) => {
                self.add_node(node.as_str());
                self.add_node_port(port)?;
                Ok(true)
            }
            Kind::Service(namespace, name) => match self.objects.kube.service(namespace, name) {
                Some(service) => self.add_service(service).map(|()| true),
                None => Ok(false),
            },
            Kind::Address => {
                let known: Vec<bool> =
                    end.addresses.iter().map(|ip| self.add_address(*ip, port)).collect::<Result<_, _>>()?;
                Ok(known.contains(&true))
            }
            Kind::External => Ok(false),
        }
    }

    fn add_address(&mut self, address: IpAddr, port: Option<u16>) -> Result<bool, Error> {
        let kube = &self.objects.kube;
        if let Some(node) = self.objects.absent_node(address) {
            self.add_node(node.name.as_str());
            self.add_node_port(port)?;
            return Ok(true);
        }
        if let Some(pod) = kube.pod_with(address).filter(|pod| pod.node.is_some()) {
            self.add_pod(pod)?;
            return Ok(true);
        }
        let has = |service: &&Service| {
            let outer = service.external_ips.iter().chain(&service.load_balancer_ips);
            service.cluster_ips.iter().chain(outer).any(|ip| *ip == address)
        };
        let services: Vec<&Service> = kube.services.iter().flatten().filter(has).collect();
        for service in &services {
            self.add_service(service)?;
        }
        let of_node = |prefixes: &[ipnet::IpNet]| prefixes.iter().any(|prefix| prefix.contains(&address));
        let node = kube.nodes.iter().flatten().find(|node| of_node(&node.pod_cidrs));
        if let Some(node) = node {
            self.add_node(node.name.as_str());
        }
        Ok(!services.is_empty() || node.is_some())
    }

    /// Adds what is behind a port of the nodes.
    fn add_node_port(&mut self, port: Option<u16>) -> Result<(), Error> {
        let Some(port) = port else { return Ok(()) };
        let has = |service: &&Service| service.ports.iter().any(|one| one.node_port == Some(port));
        let services: Vec<&Service> = self.objects.kube.services.iter().flatten().filter(has).collect();
        services.into_iter().try_for_each(|service| self.add_service(service))
    }

    fn add_service(&mut self, service: &Service) -> Result<(), Error> {
        let slices = self.slices.iter().filter(|slice| slice.is_of(service)).flat_map(|slice| &slice.endpoints);
        for endpoint in slices.cloned().collect::<Vec<_>>() {
            let kube = &self.objects.kube;
            let named = endpoint.pod.as_ref().and_then(|name| kube.pod(name));
            match named.or_else(|| endpoint.addresses.iter().find_map(|ip| kube.pod_with(*ip))) {
                Some(pod) if pod.node.is_some() => self.add_pod(pod)?,
                _ => endpoint.node.iter().for_each(|node| self.add_node(node.as_str())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
