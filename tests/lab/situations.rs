//! The situations that flowtrace must get right, each a scenario.

use super::flannel::{Cluster, FlannelBackend};
use super::kube_proxy::Service;
use super::scenario::{Probe, Proto, Scenario};

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
    let mut scenario = two_nodes("vxlan", FlannelBackend::Vxlan).scenario();
    let pod1 = "default/pod1";
    for proto in [Proto::Icmp, Proto::Udp, Proto::Tcp] {
        scenario.probes.push(Probe::new(pod1, pod1, "default/pod2", proto, "10.244.2.2", 7000));
    }
    let dns = "kube-dns.kube-system.svc.cluster.local";
    scenario.probes.push(Probe::new(pod1, pod1, dns, Proto::Udp, "10.96.0.10", 53));
    scenario.probes.push(Probe::new(pod1, pod1, "svc/shop/web", Proto::Tcp, "10.96.0.20", 80).listening(8080));
    scenario.probes.push(Probe::new(pod1, pod1, "10.244.2.99", Proto::Icmp, "10.244.2.99", 0));
    scenario
}
