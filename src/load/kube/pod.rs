//! Pod objects.

use serde::Deserialize;

use super::{Metadata, Place};
use crate::net::{NodeName, PodName};
use crate::snapshot::Pod;

#[derive(Deserialize)]
pub(super) struct PodObject {
    pub(super) metadata: Metadata,
    spec: Option<PodSpec>,
    status: Option<PodStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
    host_network: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Deserialize)]
struct PodIp {
    ip: Option<String>,
}

pub(super) fn pod(object: PodObject, place: &mut Place<'_, '_>) -> Pod {
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    let several = status.pod_ips.filter(|ips| !ips.is_empty());
    let ips = several.map(|ips| ips.into_iter().filter_map(|ip| ip.ip).collect());
    Pod {
        name: PodName::new(object.metadata.namespace(), &object.metadata.name),
        node: spec.node_name.filter(|node| !node.is_empty()).map(|node| NodeName::new(&node)),
        ips: place.parse("address", ips.unwrap_or_else(|| Vec::from_iter(status.pod_ip))),
        phase: status.phase.unwrap_or_default(),
        host_network: spec.host_network == Some(true),
        evidence: place.evidence,
    }
}
