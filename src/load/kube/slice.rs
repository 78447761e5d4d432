//! EndpointSlice objects.

use std::net::IpAddr;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Metadata, Place, Words};
use crate::net::{NodeName, PodName};
use crate::snapshot::{Endpoint, EndpointPort, EndpointSlice};

#[derive(Deserialize)]
pub(super) struct SliceObject {
    metadata: Metadata<IgnoredAny, Words>,
    endpoints: Option<Vec<EndpointObject>>,
    ports: Option<Vec<EndpointPortObject>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointObject {
    addresses: Option<Vec<String>>,
    conditions: Option<Conditions>,
    node_name: Option<String>,
    target_ref: Option<TargetRef>,
}

#[derive(Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct TargetRef {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct EndpointPortObject {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<u16>,
}

pub(super) fn endpoint_slice(object: SliceObject, place: &mut Place<'_, '_>) -> EndpointSlice {
    let namespace = object.metadata.namespace().to_owned();
    let labels = object.metadata.labels.unwrap_or_default();
    let endpoints = object.endpoints.into_iter().flatten().map(|object| endpoint(object, &namespace, place)).collect();
    EndpointSlice {
        name: object.metadata.name,
        service: labels.get("kubernetes.io/service-name").cloned(),
        endpoints,
        ports: object.ports.into_iter().flatten().map(|port| endpoint_port(port, place)).collect(),
        namespace,
        evidence: place.evidence,
    }
}

fn endpoint(object: EndpointObject, namespace: &str, place: &mut Place<'_, '_>) -> Endpoint {
    let pod = object.target_ref.filter(|target| target.kind.as_deref() == Some("Pod")).and_then(|target| {
        let namespace = target.namespace.as_deref().unwrap_or(namespace);
        Some(PodName::new(namespace, &target.name?))
    });
    Endpoint {
        // Slices of type FQDN hold names, which nothing here follows.
        addresses: object.addresses.into_iter().flatten().filter_map(|ip| ip.parse::<IpAddr>().ok()).collect(),
        ready: object.conditions.and_then(|conditions| conditions.ready) != Some(false),
        node: object.node_name.map(|node| NodeName::new(&node)),
        pod,
    }
    .checked(place)
}

impl Endpoint {
    /// An endpoint that no address leads to is worth a word.
    fn checked(self, place: &mut Place<'_, '_>) -> Self {
        if self.addresses.is_empty() {
            place.notes.add(place.evidence, "an endpoint has no IP address");
        }
        self
    }
}

fn endpoint_port(port: EndpointPortObject, place: &mut Place<'_, '_>) -> EndpointPort {
    EndpointPort {
        name: port.name.filter(|name| !name.is_empty()),
        protocol: place.protocol(port.protocol.as_deref()),
        port: port.port,
    }
}
