//! The Kubernetes objects of a cluster, as `kubectl get -o json` prints them (what nobody reads left out).

use serde_json::{Value, json};

use super::flannel::{Cluster, FlannelBackend};
use super::kube_proxy::Service;
use super::node::{Node, Pod};
use super::scenario::Objects;

/// Every object of the cluster.
pub fn of_cluster(cluster: &Cluster) -> Objects {
    Objects {
        nodes: cluster.nodes.iter().map(|node| node_object(cluster, node)).collect(),
        pods: cluster.pods.iter().map(|pod| pod_object(cluster, pod)).collect(),
        services: cluster.services.iter().map(|service| service_object(cluster, service)).collect(),
        slices: cluster
            .services
            .iter()
            .flat_map(|service| cluster.families().iter().map(|&family| slice_object(cluster, service, family)))
            .collect(),
    }
}

/// A list as kubectl wraps it.
pub fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

fn node_object(cluster: &Cluster, node: &Node) -> Value {
    let prefix = "flannel.alpha.coreos.com";
    let data = |family: u8| json!({"VNI": 1, "VtepMAC": node.vtep_mac(family)}).to_string();
    let (kind, data4) = match cluster.backend {
        FlannelBackend::Vxlan | FlannelBackend::DirectRouting => ("vxlan", data(4)),
        FlannelBackend::HostGw => ("host-gw", "null".to_owned()),
        FlannelBackend::Udp => ("", "null".to_owned()),
    };
    let mut annotations = json!({
        format!("{prefix}/backend-data"): data4,
        format!("{prefix}/backend-type"): kind,
        format!("{prefix}/kube-subnet-manager"): "true",
        format!("{prefix}/public-ip"): node.address4().to_string(),
    });
    let mut cidrs = vec![node.pod_cidr4()];
    let mut addresses = vec![json!({"address": node.address4().to_string(), "type": "InternalIP"})];
    if cluster.dual_stack {
        annotations[format!("{prefix}/backend-v6-data")] = data(6).into();
        annotations[format!("{prefix}/public-ipv6")] = node.address6().to_string().into();
        cidrs.push(node.pod_cidr6());
        addresses.push(json!({"address": node.address6().to_string(), "type": "InternalIP"}));
    }
    addresses.push(json!({"address": node.name(), "type": "Hostname"}));
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"annotations": annotations, "labels": {"kubernetes.io/hostname": node.name()}, "name": node.name()},
        "spec": {"podCIDR": node.pod_cidr4(), "podCIDRs": cidrs},
        "status": {
            "addresses": addresses,
            "conditions": [{"reason": "FlannelIsUp", "status": "False", "type": "NetworkUnavailable"},
                           {"reason": "KubeletReady", "status": "True", "type": "Ready"}],
        },
    })
}

fn pod_object(cluster: &Cluster, pod: &Pod) -> Value {
    let node = cluster.node(pod.node);
    let ips: Vec<Value> = cluster.families().iter().map(|&f| json!({"ip": pod.address(f).to_string()})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"app": pod.name.as_str()}, "name": pod.name.as_str(), "namespace": pod.namespace.as_str()},
        "spec": {"nodeName": node.name()},
        "status": {"hostIP": node.address4().to_string(), "phase": "Running",
                   "podIP": pod.address4().to_string(), "podIPs": ips},
    })
}

fn service_object(cluster: &Cluster, service: &Service) -> Value {
    let external = service.ports.iter().any(|port| port.node_port.is_some());
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| {
            let mut object = json!({"name": port.name.as_str(), "port": port.port,
                "protocol": port.protocol.to_uppercase(), "targetPort": port.target});
            if let Some(number) = port.node_port {
                object["nodePort"] = number.into();
            }
            object
        })
        .collect();
    let ips: Vec<String> = cluster.families().iter().map(|&family| service.cluster_ip(family).to_string()).collect();
    let kind = match (service.load_balancer_ips.is_empty(), external) {
        (false, _) => "LoadBalancer",
        (true, true) => "NodePort",
        (true, false) => "ClusterIP",
    };
    let mut spec = json!({"clusterIP": ips.first(), "clusterIPs": ips, "ports": ports, "type": kind,
        "ipFamilies": cluster.families().iter().map(|family| format!("IPv{family}")).collect::<Vec<_>>(),
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": if service.affinity.is_some() { "ClientIP" } else { "None" }});
    if external || kind == "LoadBalancer" {
        spec["externalTrafficPolicy"] = if service.local { "Local" } else { "Cluster" }.into();
    }
    if !service.external_ips.is_empty() {
        spec["externalIPs"] = json!(service.external_ips.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    if let Some(seconds) = service.affinity {
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds}});
    }
    let ingress: Vec<Value> = service.load_balancer_ips.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
    let balancer = if ingress.is_empty() { json!({}) } else { json!({"ingress": ingress}) };
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service.name.as_str(), "namespace": service.namespace.as_str()},
        "spec": spec,
        "status": {"loadBalancer": balancer},
    })
}

fn slice_object(cluster: &Cluster, service: &Service, family: u8) -> Value {
    let endpoints: Vec<Value> = service
        .endpoints
        .iter()
        .map(|name| {
            let pod = cluster.pod_named(name);
            json!({"addresses": [pod.address(family).to_string()],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": cluster.node(pod.node).name(),
                "targetRef": {"kind": "Pod", "name": pod.name.as_str(), "namespace": pod.namespace.as_str()}})
        })
        .collect();
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| json!({"name": port.name.as_str(), "port": port.target, "protocol": port.protocol.to_uppercase()}))
        .collect();
    json!({
        "addressType": format!("IPv{family}"),
        "apiVersion": "discovery.k8s.io/v1",
        "endpoints": endpoints,
        "kind": "EndpointSlice",
        "metadata": {"labels": {"kubernetes.io/service-name": service.name.as_str()},
                     "name": format!("{}-{}", service.name, if family == 4 { "v4" } else { "v6" }),
                     "namespace": service.namespace.as_str()},
        "ports": ports,
    })
}
