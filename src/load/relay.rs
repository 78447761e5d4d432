//! flannel's udp backend as data: what flanneld does with the packets of its TUN device.
//!
//! flanneld's proxy (`pkg/backend/udp/proxy_amd64.c`) reads a packet from `flannel0`, looks its destination up among
//! the peers' subnets, takes one off TTL and sends the whole packet as a datagram to the peer's `public-ip`, port 8285;
//! the peer's takes one off TTL again and writes the packet into its own `flannel0`. Its table comes from the Node
//! objects (`processSubnetEvents` of `udp_network_amd64.go`), whatever backend a peer has.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::Gap;
use crate::net::{IfName, NetnsName};
use crate::snapshot::{KubeNode, LinkKind, Netns, Relay, Snapshot};

/// The port of flannel's udp backend unless its configuration says otherwise (`udp_amd64.go`).
const PORT: u16 = 8285;

/// Fills the relays of every node whose TUN device is flannel's.
pub(super) fn fill(snapshot: &mut Snapshot) {
    let nodes = snapshot.kube.nodes.as_deref().unwrap_or_default();
    for netns in snapshot.namespaces.iter_mut().filter(|netns| netns.name == NetnsName::Host) {
        let own = nodes.iter().find(|node| node.name == netns.node);
        let Some(dev) = tun(netns, own) else { continue };
        match own {
            Some(own) if uses_udp(own) => netns.relays = relays(netns, &dev, own, nodes),
            Some(_) => {}
            None => {
                let what = format!(
                    "{}: what the program behind {dev} does is not known: the snapshot lacks node {}'s object",
                    netns.dir, netns.node
                );
                snapshot.gaps.push(Gap::new(what, vec![]));
            }
        }
    }
}

/// The udp backend announces an empty backend type.
fn uses_udp(node: &KubeNode) -> bool {
    matches!(node.flannel.backend_type.as_deref(), Some("" | "udp"))
}

/// flanneld's TUN device: named `flannel` with a number, or with the first address of the node's subnet.
fn tun(netns: &Netns, own: Option<&KubeNode>) -> Option<IfName> {
    let linked = netns.links.iter().flatten().filter(|link| matches!(link.kind, LinkKind::Tun { tap: false }));
    let listed = netns.tuns.iter().flatten().filter(|tun| !tun.tap);
    let mut devs = linked.map(|link| &link.name).chain(listed.map(|tun| &tun.dev));
    let subnet = own.and_then(subnet);
    devs.find(|dev| {
        is_flannel(dev) || netns.addrs_of(dev).any(|addr| subnet.map(|net| net.addr()) == Some(addr.address))
    })
    .cloned()
}

fn is_flannel(dev: &IfName) -> bool {
    let number = dev.as_str().strip_prefix("flannel");
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The subnet that flannel leases to a node: its first IPv4 pod prefix.
fn subnet(node: &KubeNode) -> Option<IpNet> {
    node.pod_cidrs.iter().find(|net| net.addr().is_ipv4()).copied()
}

/// A row for each peer. flanneld passes over nodes that no flanneld manages, and over its own subnet.
fn relays(netns: &Netns, dev: &IfName, own: &KubeNode, nodes: &[KubeNode]) -> Vec<Relay> {
    let peers = nodes.iter().filter(|node| node.name != own.name && node.flannel.managed);
    let relay = |peer: &KubeNode| {
        let prefix = subnet(peer).filter(|prefix| subnet(own) != Some(*prefix))?;
        Some(Relay {
            dev: dev.clone(),
            program: "flanneld".to_owned(),
            prefix,
            peer: peer.flannel.public_ip.filter(IpAddr::is_ipv4)?,
            port: PORT,
            local: local(netns, own),
            ttl_cost: 1,
            evidence: vec![peer.evidence, own.evidence],
        })
    };
    peers.filter_map(relay).collect()
}

/// The address that flanneld's socket is bound to: the one it announces, if it has it, or the node's own.
fn local(netns: &Netns, own: &KubeNode) -> Option<IpAddr> {
    let mut announced = own.flannel.public_ip.into_iter().chain(own.internal_ips.iter().copied());
    announced.find(|address| address.is_ipv4() && netns.addr(*address).is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::snapshot::{Relay, Snapshot};

    fn node(name: &str, annotations: &str, cidr: &str) -> String {
        format!(
            r#"{{"metadata": {{"name": "{name}", "annotations": {{{annotations}}}}}, "spec": {{"podCIDR": "{cidr}"}}}}"#
        )
    }

    fn annotations(backend: &str, ip: &str) -> String {
        format!(
            r#""flannel.alpha.coreos.com/backend-type": "{backend}", "flannel.alpha.coreos.com/backend-data": "null",
               "flannel.alpha.coreos.com/public-ip": "{ip}", "flannel.alpha.coreos.com/kube-subnet-manager": "true""#
        )
    }

    /// Node n1 with these tables, and the objects of the cluster's nodes.
    fn snapshot(nodes: &[String], tuntap: &str) -> Snapshot {
        let nodes = format!(r#"{{"items": [{}]}}"#, nodes.join(",\n"));
        let local = "local 192.0.2.11 dev eth0 table local proto kernel scope host src 192.0.2.11\n";
        let files = [
            ("cluster/nodes.json", nodes.as_str()),
            ("nodes/n1/host/tuntap.txt", tuntap),
            ("nodes/n1/host/route.txt", local),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), Arc::from(text)));
        crate::load::load_files(files).unwrap()
    }

    fn relays(nodes: &[String], tuntap: &str) -> Vec<Relay> {
        snapshot(nodes, tuntap).namespaces.remove(0).relays
    }

    #[test]
    fn each_managed_peer_is_a_row() {
        let nodes = [
            node("n1", &annotations("", "192.0.2.11"), "10.244.1.0/24"),
            node("n2", &annotations("", "192.0.2.12"), "10.244.2.0/24"),
            node("n3", &annotations("vxlan", "192.0.2.13"), "10.244.3.0/24"),
            node("n4", r#""flannel.alpha.coreos.com/public-ip": "192.0.2.14""#, "10.244.4.0/24"),
            node("n5", &annotations("", "192.0.2.15"), "10.244.1.0/24"),
        ];
        let found = snapshot(&nodes, "flannel0: tun\n");
        let rows = &found.namespaces[0].relays;
        let shown: Vec<String> =
            rows.iter().map(|relay| format!("{} {} {}", relay.dev, relay.prefix, relay.peer)).collect();
        assert_eq!(shown, ["flannel0 10.244.2.0/24 192.0.2.12", "flannel0 10.244.3.0/24 192.0.2.13"]);
        assert_eq!((rows[0].port, rows[0].ttl_cost, rows[0].local), (8285, 1, Some([192, 0, 2, 11].into())));
        let texts: Vec<&str> = rows[0].evidence.iter().map(|evidence| found.files.text(*evidence)).collect();
        assert_eq!(texts, ["node/n2", "node/n1"]);
    }

    #[test]
    fn other_backends_and_other_devices_have_no_relay() {
        let two = |backend: &str| {
            [
                node("n1", &annotations(backend, "192.0.2.11"), "10.244.1.0/24"),
                node("n2", &annotations(backend, "192.0.2.12"), "10.244.2.0/24"),
            ]
        };
        assert_eq!(relays(&two(""), "flannel0: tun\n").len(), 1);
        assert_eq!(relays(&two("vxlan"), "flannel0: tun\n"), []);
        assert_eq!(relays(&two(""), "tun0: tun\n"), []);
        assert_eq!(relays(&two(""), "flannel0: tap\n"), []);
        assert_eq!(relays(&two(""), ""), []);
    }

    #[test]
    fn a_tun_device_without_the_nodes_object_is_a_gap() {
        let found = snapshot(&[], "flannel0: tun\n");
        assert!(found.gaps.iter().any(|gap| gap.what.contains("behind flannel0")), "{:?}", found.gaps);
    }
}
