//! The Kubernetes objects of a snapshot: of each the few fields that names and relays need.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::{Evidence, FileId};
use crate::net::{NodeName, PodName, Protocol};

/// What `cluster/` holds. A list is `None` where its file was not collected.
#[derive(Debug, Default)]
pub struct Kube {
    /// `nodes.json`.
    pub nodes: Option<Vec<KubeNode>>,
    /// `pods.json`.
    pub pods: Option<Vec<Pod>>,
    /// `services.json`.
    pub services: Option<Vec<Service>>,
    /// `endpointslices.json`, the largest of them, which few questions need: `load::endpoint_slices` reads it.
    pub endpoint_slices: Option<FileId>,
    /// `networkpolicies.json`.
    pub network_policies: Option<Vec<NetworkPolicy>>,
}

/// A Node object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeNode {
    /// The node's name.
    pub name: NodeName,
    /// `status.addresses` of type `InternalIP`.
    pub internal_ips: Vec<IpAddr>,
    /// `status.addresses` of type `ExternalIP`.
    pub external_ips: Vec<IpAddr>,
    /// `spec.podCIDRs`, or `spec.podCIDR`.
    pub pod_cidrs: Vec<IpNet>,
    /// flannel's annotations.
    pub flannel: FlannelNode,
    /// The object's line.
    pub evidence: Evidence,
}

/// The annotations by which flanneld tells its peers about itself, without their prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlannelNode {
    /// `backend-type`: empty for the udp backend.
    pub backend_type: Option<String>,
    /// `public-ip`: where peers send to.
    pub public_ip: Option<IpAddr>,
    /// `public-ipv6`.
    pub public_ipv6: Option<IpAddr>,
    /// `backend-data`: JSON, as printed.
    pub backend_data: Option<String>,
    /// `backend-v6-data`: JSON, as printed.
    pub backend_v6_data: Option<String>,
    /// `kube-subnet-manager` is `true`: peers ignore a node without it.
    pub managed: bool,
}

/// A Pod object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub name: PodName,
    /// The node that it runs on, once it is scheduled.
    pub node: Option<NodeName>,
    /// `status.podIPs`.
    pub ips: Vec<IpAddr>,
    /// `status.phase`.
    pub phase: String,
    /// It lives in its node's own network namespace.
    pub host_network: bool,
    /// The object's line.
    pub evidence: Evidence,
}

/// A Service object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The service's name.
    pub name: String,
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    pub kind: String,
    /// `spec.clusterIPs` without `None`.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`: the name stands for the endpoints themselves.
    pub headless: bool,
    /// `spec.externalName`.
    pub external_name: Option<String>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip`.
    pub load_balancer_ips: Vec<IpAddr>,
    /// The ports.
    pub ports: Vec<ServicePort>,
    /// `externalTrafficPolicy`.
    pub external_traffic_policy: Option<String>,
    /// `internalTrafficPolicy`.
    pub internal_traffic_policy: Option<String>,
    /// `sessionAffinity`.
    pub session_affinity: Option<String>,
    /// The object's line.
    pub evidence: Evidence,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The port's name, which a service with one port may lack.
    pub name: Option<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port on the cluster address.
    pub port: u16,
    /// The port on every node.
    pub node_port: Option<u16>,
    /// The pods' port, a number or a name.
    pub target_port: Option<String>,
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)?;
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

/// An `EndpointSlice` object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The slice's name.
    pub name: String,
    /// The service that it belongs to (label `kubernetes.io/service-name`).
    pub service: Option<String>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The ports that every endpoint serves.
    pub ports: Vec<EndpointPort>,
    /// The object's line.
    pub evidence: Evidence,
}

/// An endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes traffic; unknown counts as ready.
    pub ready: bool,
    /// The node that it is on.
    pub node: Option<NodeName>,
    /// The pod behind it.
    pub pod: Option<PodName>,
}

/// A port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// The service port's name.
    pub name: Option<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port number; `None` stands for every port.
    pub port: Option<u16>,
}

/// A NetworkPolicy object: that it is there, and what it is about. Who enforces it wrote rules, which are walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The policy's name.
    pub name: String,
    /// The object's line.
    pub evidence: Evidence,
}

impl Kube {
    /// The pod with this name.
    #[must_use]
    pub fn pod(&self, name: &PodName) -> Option<&Pod> {
        self.pods.iter().flatten().find(|pod| pod.name == *name)
    }

    /// The running pod (or, failing that, any) that has an address of its own, outside the host's namespace.
    #[must_use]
    pub fn pod_with(&self, address: IpAddr) -> Option<&Pod> {
        let mut pods = self.pods.iter().flatten().filter(|pod| !pod.host_network && pod.ips.contains(&address));
        let first = pods.next()?;
        if first.is_live() { Some(first) } else { pods.find(|pod| pod.is_live()).or(Some(first)) }
    }

    /// The service with this name.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.iter().flatten().find(|service| service.namespace == namespace && service.name == name)
    }

    /// The Node object with this name.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&KubeNode> {
        self.nodes.iter().flatten().find(|node| node.name == *name)
    }
}

impl EndpointSlice {
    /// Whether the slice is the service's.
    #[must_use]
    pub fn is_of(&self, service: &Service) -> bool {
        self.namespace == service.namespace && self.service.as_deref() == Some(service.name.as_str())
    }
}

impl Pod {
    /// Whether the pod still has its address (a finished pod's may belong to another by now).
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}
