//! Service objects.

use serde::Deserialize;

use super::{Metadata, Place};
use crate::snapshot::{Service, ServicePort};

#[derive(Deserialize)]
pub(super) struct ServiceObject {
    pub(super) metadata: Metadata,
    spec: Option<ServiceSpec>,
    status: Option<ServiceStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    external_name: Option<String>,
    external_traffic_policy: Option<String>,
    internal_traffic_policy: Option<String>,
    session_affinity: Option<String>,
    ports: Option<Vec<ServicePortSpec>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServicePortSpec {
    name: Option<String>,
    protocol: Option<String>,
    port: u16,
    node_port: Option<u16>,
    target_port: Option<NumberOrName>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrName {
    Number(u16),
    Name(String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceStatus {
    load_balancer: Option<LoadBalancer>,
}

#[derive(Default, Deserialize)]
struct LoadBalancer {
    ingress: Option<Vec<Ingress>>,
}

#[derive(Deserialize)]
struct Ingress {
    ip: Option<String>,
}

pub(super) fn service(object: ServiceObject, place: &mut Place<'_, '_>) -> Service {
    let spec = object.spec.unwrap_or_default();
    let several = spec.cluster_ips.filter(|ips| !ips.is_empty());
    let cluster_ips = several.unwrap_or_else(|| Vec::from_iter(spec.cluster_ip));
    let ingress = object.status.and_then(|status| status.load_balancer?.ingress).unwrap_or_default();
    Service {
        namespace: object.metadata.namespace().to_owned(),
        headless: cluster_ips.iter().any(|ip| ip == "None"),
        name: object.metadata.name,
        kind: spec.kind.unwrap_or_else(|| "ClusterIP".to_owned()),
        cluster_ips: place.parse("address", cluster_ips.into_iter().filter(|ip| ip != "None")),
        external_name: spec.external_name.filter(|name| !name.is_empty()),
        external_ips: place.parse("address", spec.external_ips.unwrap_or_default()),
        load_balancer_ips: place.parse("address", ingress.into_iter().filter_map(|ingress| ingress.ip)),
        ports: spec.ports.into_iter().flatten().map(|port| service_port(port, place)).collect(),
        external_traffic_policy: spec.external_traffic_policy,
        internal_traffic_policy: spec.internal_traffic_policy,
        session_affinity: spec.session_affinity,
        evidence: place.evidence,
    }
}

fn service_port(port: ServicePortSpec, place: &mut Place<'_, '_>) -> ServicePort {
    ServicePort {
        name: port.name.filter(|name| !name.is_empty()),
        protocol: place.protocol(port.protocol.as_deref()),
        port: port.port,
        node_port: port.node_port.filter(|port| *port != 0),
        target_port: port.target_port.map(|target| match target {
            NumberOrName::Number(number) => number.to_string(),
            NumberOrName::Name(name) => name,
        }),
    }
}
