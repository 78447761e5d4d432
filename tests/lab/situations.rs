//! The situations that flowtrace must get right, each a scenario.

use super::flannel::{Cluster, FlannelBackend};
use super::kube_proxy::Service;
use super::scenario::Scenario;

/// Two nodes, pods on both, and the services that the first examples ask for.
pub fn two_nodes(name: &str, backend: FlannelBackend) -> Cluster {
    Cluster::new(name, backend, 2)
        .pod("default/pod1", 1, 2)
        .pod("default/pod3", 1, 3)
        .pod("shop/web-0", 1, 4)
        .pod("default/pod2", 2, 2)
        .pod("kube-system/coredns", 2, 3)
        .pod("shop/web-1", 2, 4)
        .service(
            Service::new("kube-system/kube-dns", 10)
                .port("dns", "udp", 53, 53)
                .port("dns-tcp", "tcp", 53, 53)
                .endpoints(&["kube-system/coredns"]),
        )
        .service(Service::new("shop/web", 20).port("http", "tcp", 80, 8080).endpoints(&["shop/web-0", "shop/web-1"]))
        .service(
            Service::new("shop/front", 30)
                .port("http", "tcp", 80, 8080)
                .node_port(30080)
                .endpoints(&["shop/web-0", "shop/web-1"]),
        )
        .service(Service::new("shop/none", 40).port("http", "tcp", 80, 8080))
}

/// Situation 1: pods on two nodes, joined by VXLAN.
pub fn vxlan() -> Scenario {
    two_nodes("vxlan", FlannelBackend::Vxlan).scenario()
}
