//! Node objects, with flannel's annotations.

use ipnet::IpNet;
use serde::Deserialize;

use super::{Metadata, Place, Words};
use crate::net::NodeName;
use crate::snapshot::{FlannelNode, KubeNode};

#[derive(Deserialize)]
pub(super) struct NodeObject {
    pub(super) metadata: Metadata<Words>,
    spec: Option<NodeSpec>,
    status: Option<NodeStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct NodeStatus {
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Deserialize)]
struct NodeAddress {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

pub(super) fn node(object: NodeObject, place: &mut Place<'_, '_>) -> KubeNode {
    let spec = object.spec.unwrap_or_default();
    let cidrs = spec.pod_cidrs.filter(|cidrs| !cidrs.is_empty()).unwrap_or_else(|| Vec::from_iter(spec.pod_cidr));
    let addresses = object.status.and_then(|status| status.addresses).unwrap_or_default();
    let of = |kind: &str| {
        let addresses: Vec<String> =
            addresses.iter().filter(|address| address.kind == kind).map(|address| address.address.clone()).collect();
        addresses
    };
    KubeNode {
        name: NodeName::new(&object.metadata.name),
        internal_ips: place.parse("address", of("InternalIP")),
        external_ips: place.parse("address", of("ExternalIP")),
        pod_cidrs: place.parse::<IpNet>("prefix", cidrs),
        flannel: flannel(object.metadata.annotations.unwrap_or_default(), place),
        evidence: place.evidence,
    }
}

/// flannel's annotations, whose prefix can be configured: `flannel.alpha.coreos.com/` unless it was.
fn flannel(annotations: Words, place: &mut Place<'_, '_>) -> FlannelNode {
    let mut flannel = FlannelNode::default();
    for (key, value) in annotations {
        let Some((domain, name)) = key.rsplit_once('/') else { continue };
        if !domain.contains("flannel") {
            continue;
        }
        match name {
            "backend-type" => flannel.backend_type = Some(value),
            "backend-data" => flannel.backend_data = Some(value),
            "backend-v6-data" => flannel.backend_v6_data = Some(value),
            "public-ip" => flannel.public_ip = place.parse("address", [value]).pop(),
            "public-ipv6" => flannel.public_ipv6 = place.parse("address", [value]).pop(),
            "kube-subnet-manager" => flannel.managed = value == "true",
            _ => {}
        }
    }
    flannel
}
