//! FROM and TO: what a name stands for in a snapshot.

mod address;
mod dns;
pub(super) mod near;
mod pod;
mod service;

use std::net::IpAddr;

use crate::error::Error;
use crate::evidence::Gap;
use crate::net::{Family, NetnsId, NetnsName, NodeName, PodName, Protocol};
use crate::snapshot::Snapshot;
use crate::trace::Finding;

/// One end of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// What the name stands for.
    pub(super) kind: Kind,
    /// Where its stack is.
    pub(super) home: Home,
    /// Its addresses, at most one of each family, in the order in which it would be reached.
    pub(super) addresses: Vec<IpAddr>,
    /// The port that was named, or that the service has.
    pub(super) port: Option<u16>,
    /// The protocol of the service's port.
    pub(super) protocol: Option<Protocol>,
    /// What the snapshot contradicts itself about.
    pub(super) gaps: Vec<Gap>,
    /// What was chosen where the name left it open.
    pub(super) findings: Vec<Finding>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A pod.
    Pod(PodName),
    /// A node's own namespace.
    Node(NodeName),
    /// A service: namespace and name.
    Service(String, String),
    /// An address.
    Address,
    /// Some address outside every known prefix.
    External,
}

/// Where an end's stack is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// A namespace of the snapshot.
    Netns(NetnsId),
    /// A namespace that the snapshot should hold and doesn't: its folder.
    Missing(String),
    /// No namespace: a service, or an address that nobody in the snapshot has.
    Nowhere,
}

/// Which end a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that sends.
    From,
    /// The one that is sent to.
    To,
}

/// Resolves names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// `-n`.
    pub(super) namespace: Option<&'a str>,
    /// `--proto`.
    pub(super) protocol: Option<Protocol>,
    /// `--port`.
    pub(super) port: Option<u16>,
}

impl End {
    fn new(kind: Kind, home: Home, addresses: Vec<IpAddr>) -> Self {
        Self { kind, home, addresses, port: None, protocol: None, gaps: Vec::new(), findings: Vec::new() }
    }

    /// The namespace of the pod or node that was named.
    pub(super) fn own_netns(&self) -> Option<NetnsId> {
        match (&self.kind, &self.home) {
            (Kind::Pod(_) | Kind::Node(_), Home::Netns(netns)) => Some(*netns),
            _ => None,
        }
    }

    /// The address of a family.
    #[must_use]
    pub(super) fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }
}

/// The families in which two ends can talk, IPv4 first.
#[must_use]
pub(super) fn shared_families(from: &End, to: &End) -> Vec<Family> {
    let both = |family: &Family| from.address(*family).is_some() && to.address(*family).is_some();
    [Family::Inet, Family::Inet6].into_iter().filter(both).collect()
}

impl Names<'_> {
    /// What FROM or TO stands for.
    pub(super) fn resolve(&self, text: &str, role: Role) -> Result<End, Error> {
        let text = text.trim();
        refuse_url(text)?;
        let end = self.end(text, role)?;
        match (role, &end.kind) {
            (Role::From, Kind::Service(..)) => {
                Err(usage(format!("{text}: a service sends nothing; FROM is a pod, a node, an address or external")))
            }
            (Role::From, _) if end.port.is_some() => {
                Err(usage(format!("{text}: FROM has no port; --sport gives the source port")))
            }
            _ => Ok(end),
        }
    }

    /// Addresses come first, because nothing else looks like one; then what says of itself what it is.
    fn end(&self, text: &str, role: Role) -> Result<End, Error> {
        if let Some(literal) = address::parse(text)? {
            return self.address_end(literal, role);
        }
        if let Some(rest) = text.strip_prefix("svc/") {
            return self.service_path(text, rest);
        }
        let (name, port) = split_port(text)?;
        if name == "external" {
            return Ok(End { port, ..self.external() });
        }
        if let Some(node) = name.strip_prefix("node/") {
            return Ok(End { port, ..self.node(node)? });
        }
        if let Some(found) = self.dns(name, port, role) {
            return found;
        }
        match name.split_once('/') {
            Some((namespace, pod)) => Ok(End { port, ..self.pod_in(namespace, pod)? }),
            None => self.bare(name, port),
        }
    }

    /// A name without a slash: a pod, or `service.namespace` where no pod is called so.
    fn bare(&self, name: &str, port: Option<u16>) -> Result<End, Error> {
        match self.pod(name) {
            Ok(Some(end)) => Ok(End { port, ..end }),
            Ok(None) => {
                match name.split_once('.').filter(|(service, namespace)| self.has_service(namespace, service)) {
                    Some((service, namespace)) => self.service(namespace, service, port.map(service::Port::Number)),
                    None => Err(self.unknown_pod(name)),
                }
            }
            Err(err) => Err(err),
        }
    }

    /// A node's own namespace.
    fn node(&self, name: &str) -> Result<End, Error> {
        let node = NodeName::new(name);
        let host = self.snapshot.find_netns(&node, &NetnsName::Host);
        let object = self.snapshot.kube.node(&node);
        if host.is_none() && object.is_none() && !self.snapshot.nodes.contains_key(&node) {
            return Err(self.unknown_node(name));
        }
        let home = host.map_or_else(|| Home::Missing(format!("nodes/{name}/host")), Home::Netns);
        let announced = object.into_iter().flat_map(|object| object.internal_ips.iter().copied());
        let own = host.map(|host| address::of_netns(self.snapshot.netns(host))).unwrap_or_default();
        let end = End::new(Kind::Node(node), home, address::one_each(announced.chain(own)));
        with_address(end, &format!("node/{name}"))
    }

    fn unknown_node(&self, name: &str) -> Error {
        let objects = self.snapshot.kube.nodes.iter().flatten().map(|node| node.name.as_str());
        let known = self.snapshot.nodes.keys().map(NodeName::as_str).chain(objects);
        let known: Vec<String> = known.map(|node| format!("node/{node}")).collect();
        let near = near::hint(name, known.clone(), |near| near.trim_start_matches("node/"));
        let hint = near::or_list(near, known);
        usage(format!("no node {name:?} under nodes/ or in cluster/nodes.json{hint}"))
    }
}

/// An end that has an address; an error for one of which none is known.
fn with_address(end: End, name: &str) -> Result<End, Error> {
    if end.addresses.is_empty() {
        return Err(usage(format!("{name}: the snapshot holds no address of it (addr.txt, route.txt, cluster/)")));
    }
    Ok(end)
}

/// Splits a port off the end. Names have no colons, so that there is one at most.
fn split_port(text: &str) -> Result<(&str, Option<u16>), Error> {
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((name, port)) => match port.parse() {
            Ok(port) if port != 0 => Ok((name, Some(port))),
            _ => Err(usage(format!("{text}: {port:?} is no port (a number; svc/NAMESPACE/NAME takes names too)"))),
        },
    }
}

/// A URL names an end, but more besides.
fn refuse_url(text: &str) -> Result<(), Error> {
    let Some((_, rest)) = text.split_once("://") else { return Ok(()) };
    let host = rest.split('/').next().unwrap_or_default();
    Err(usage(format!("{text}: a URL is no end of a packet's way; did you mean {host}?")))
}

fn usage(text: impl Into<String>) -> Error {
    Error::Usage(text.into())
}

#[cfg(test)]
mod tests;
