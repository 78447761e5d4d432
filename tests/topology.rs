//! The topology graph: veth pairs, bridge ports, underlay segments, who owns what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use std::fmt::Write as _;
use std::sync::Arc;

use flowtrace::load::load_files;
use flowtrace::net::{IfName, NetnsId};
use flowtrace::snapshot::Snapshot;
use flowtrace::snapshot::topology::Joint;

/// One row of `ip -d link show`: what stands before the flags, what after them, and the details.
fn link(head: &str, words: &str, details: &str) -> String {
    let (lladdr, details) = match details.split_once("; ") {
        Some((lladdr, details)) => (lladdr, details),
        None => ("52:54:00:00:00:01", details),
    };
    // Hardware has no details of its own.
    let details = if details == "hardware" { String::new() } else { format!("\n    {details}") };
    let (words, nsid) = words.split_once('|').unwrap_or((words, ""));
    let slave = if words.contains("master") { "\n    bridge_slave state forwarding hairpin off" } else { "" };
    format!(
        "{head}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue {words} state UP mode DEFAULT group default\n    \
         link/ether {lladdr} brd ff:ff:ff:ff:ff:ff {nsid} promiscuity 0 minmtu 68 maxmtu 65535{details}{slave}\n"
    )
}

fn addr(rows: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (number, (dev, address)) in rows.iter().enumerate() {
        let family = if address.contains(':') { "inet6" } else { "inet" };
        writeln!(text, "{}: {dev}: <UP,LOWER_UP> mtu 1500 state UP\n    {family} {address} scope global", number + 1)
            .unwrap();
    }
    text
}

fn snapshot(files: &[(&str, String)]) -> Snapshot {
    load_files(files.iter().map(|(path, text)| ((*path).to_owned(), Arc::from(text.as_str())))).unwrap()
}

fn netns(snapshot: &Snapshot, dir: &str) -> NetnsId {
    snapshot.netns_ids().find(|(_, netns)| netns.dir == dir).map(|(id, _)| id).unwrap()
}

fn peer(snapshot: &Snapshot, dir: &str, dev: &str) -> String {
    let found = snapshot.topology.veth_peer(netns(snapshot, dir), &IfName::new(dev));
    found.map_or_else(String::new, |dev| format!("{}/{}", snapshot.netns(dev.netns).dir, dev.link))
}

fn underlay(snapshot: &Snapshot) -> Vec<String> {
    let named = snapshot.topology.underlay_devices();
    named.map(|dev| format!("{}/{}", snapshot.netns(dev.netns).node, dev.link)).collect()
}

fn segment(snapshot: &Snapshot, dir: &str, dev: &str) -> Vec<String> {
    let found = snapshot.topology.segment_devices(netns(snapshot, dir), &IfName::new(dev));
    found.iter().map(|dev| format!("{}/{}", snapshot.netns(dev.netns).node, dev.link)).collect()
}

const HOST: &str = "nodes/n1/host";
const ONE: &str = "nodes/n1/pods/default_one";
const TWO: &str = "nodes/n1/pods/default_two";

fn file(dir: &str, name: &str) -> String {
    format!("{dir}/{name}")
}

fn veths(host: &[String], one: &str, two: &str, more: &[(&str, String)]) -> Snapshot {
    let mut files = vec![
        (file(HOST, "link.txt"), host.concat()),
        (file(ONE, "link.txt"), one.to_owned()),
        (file(TWO, "link.txt"), two.to_owned()),
    ];
    files.extend(more.iter().map(|(path, text)| ((*path).to_owned(), text.clone())));
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    snapshot(&files)
}

#[test]
fn each_end_names_the_others_index() {
    let host = [
        link("7: veth7@if2", "master cni0 | link-netnsid 0", "veth"),
        link("8: veth8@if2", "master cni0 | link-netns two", "veth"),
        link("9: a@b", "", "veth"),
        link("10: b@a", "", "veth"),
        link("5: cni0", "", "bridge forward_delay 1500"),
    ];
    let found = veths(
        &host,
        &link("2: eth0@if7", "| link-netnsid 0", "veth"),
        &link("2: eth0@if8", "| link-netnsid 0", "veth"),
        &[],
    );
    assert_eq!(peer(&found, HOST, "veth7"), file(ONE, "eth0"));
    assert_eq!(peer(&found, TWO, "eth0"), file(HOST, "veth8"));
    assert_eq!(peer(&found, HOST, "a"), file(HOST, "b"));
    assert_eq!(peer(&found, HOST, "b"), file(HOST, "a"));
    let ports = found.topology.ports(netns(&found, HOST), &IfName::new("cni0"));
    assert_eq!(ports, [IfName::new("veth7"), IfName::new("veth8")]);
    assert_eq!(underlay(&found), [""; 0]);
    assert_eq!(found.gaps, []);
}

/// Both pods say that they hang on the host's device 7, which only one of them does.
fn twins(more: &[(&str, String)]) -> Snapshot {
    let host = [
        link("7: veth7@if2", "master cni0 | link-netnsid 0", "7e:00:00:00:00:07; veth"),
        link("5: cni0", "", "bridge forward_delay 1500"),
    ];
    let one = link("2: eth0@if7", "| link-netnsid 0", "7e:00:00:00:00:01; veth");
    let two = link("2: eth0@if7", "| link-netnsid 0", "7e:00:00:00:00:02; veth");
    veths(&host, &one, &two, more)
}

#[test]
fn two_ends_that_fit_equally_are_a_gap_and_no_pair() {
    let found = twins(&[]);
    assert_eq!(peer(&found, HOST, "veth7"), "");
    assert_eq!(peer(&found, ONE, "eth0"), "");
    let gap = &found.gaps[0];
    assert!(gap.what.contains("veth7 can't be told") && gap.evidence.len() == 3, "{gap:?}");
}

#[test]
fn the_address_that_the_bridge_learned_on_the_port_decides() {
    let learned = "7e:00:00:00:00:02 dev veth7 master cni0\n".to_owned();
    let found = twins(&[("nodes/n1/host/fdb.txt", learned)]);
    assert_eq!(peer(&found, HOST, "veth7"), file(TWO, "eth0"));
    assert_eq!((peer(&found, ONE, "eth0"), found.gaps.len()), (String::new(), 0));
    let own = "7e:00:00:00:00:02 dev veth7 master cni0 permanent\n".to_owned();
    assert_eq!(peer(&twins(&[("nodes/n1/host/fdb.txt", own)]), HOST, "veth7"), "");
}

#[test]
fn a_neighbour_on_the_bridge_decides_too() {
    let neigh = "10.244.1.3 dev cni0 lladdr 7e:00:00:00:00:01 REACHABLE\n".to_owned();
    let one = addr(&[("eth0", "10.244.1.3/24")]);
    let found = twins(&[("nodes/n1/host/neigh.txt", neigh), ("nodes/n1/pods/default_one/addr.txt", one)]);
    assert_eq!(peer(&found, HOST, "veth7"), file(ONE, "eth0"));
}

#[test]
fn a_namespace_number_stands_for_one_namespace() {
    let host = [link("7: veth7@if2", "| link-netnsid 0", "veth"), link("9: veth9@if4", "| link-netnsid 0", "veth")];
    // Device 7 fits both pods' device 2; device 9 only the first pod's device 4, and has the same number.
    let one = link("2: eth0@if7", "| link-netnsid 0", "veth") + &link("4: eth1@if9", "| link-netnsid 0", "veth");
    let two = link("2: eth0@if7", "| link-netnsid 0", "veth");
    let found = veths(&host, &one, &two, &[]);
    assert_eq!(peer(&found, HOST, "veth7"), file(ONE, "eth0"));
    assert_eq!(peer(&found, TWO, "eth0"), "");
}

#[test]
fn pairs_are_found_within_a_node_only() {
    let end = |head| link(head, "| link-netnsid 0", "veth");
    let found = snapshot(&[
        ("nodes/n1/host/link.txt", end("7: veth7@if2")),
        ("nodes/n2/pods/default_x/link.txt", end("2: eth0@if7")),
    ]);
    assert_eq!(peer(&found, HOST, "veth7"), "");
}

#[test]
fn the_outermost_devices_face_the_underlay() {
    let node = [
        link("2: eth0", "", "hardware"),
        link("3: eth1@if9", "| link-netnsid 4", "veth"),
        link("4: slave0", "master bond0", "hardware").replace("bridge_slave", "bond_slave"),
        link("5: bond0", "", "bond mode active-backup"),
        link("6: eth0.100@eth0", "", "vlan protocol 802.1Q id 100 <REORDER_HDR>"),
        // What these tag goes to a pod alone.
        link("15: docker0.7@docker0", "", "vlan protocol 802.1Q id 7 <REORDER_HDR>"),
        link("16: paired@if2", "master docker0 | link-netnsid 7", "veth"),
        link("17: paired.8@paired", "", "vlan protocol 802.1Q id 8 <REORDER_HDR>"),
        link("18: loop1@loop2", "", "vlan protocol 802.1Q id 1 <REORDER_HDR>"),
        link("19: loop2@loop1", "", "vlan protocol 802.1Q id 1 <REORDER_HDR>"),
        link("7: docker0", "", "bridge forward_delay 1500"),
        link("8: cni0", "", "bridge forward_delay 1500"),
        link("10: lost@if2", "master cni0 | link-netnsid 5", "veth"),
        link("11: cali1@if2", "| link-netnsid 6", "veth"),
        link("12: dummy0", "", "dummy"),
        link("13: wg0", "", "wireguard"),
        link("14: flannel.1", "", "vxlan id 1 local 192.0.2.1 dev eth0 srcport 0 0 dstport 8472 nolearning"),
    ];
    let pod = link("2: eth0@if16", "| link-netnsid 0", "52:54:00:00:00:99; veth");
    let found = snapshot(&[
        ("nodes/n1/host/link.txt", node.concat()),
        ("nodes/n1/pods/default_x/link.txt", pod),
        (
            "nodes/n1/host/addr.txt",
            addr(&[("eth0", "192.0.2.1/24"), ("eth1", "198.51.100.1/24"), ("cni0", "10.244.1.1/24")]),
        ),
    ]);
    assert_eq!(underlay(&found), ["n1/eth0", "n1/eth1", "n1/bond0", "n1/eth0.100"]);
}

#[test]
fn a_hardware_port_of_a_bridge_is_the_underlay_device() {
    let node = |ip: &str, lladdr: &str| {
        let links = link("2: eth0", "master br0", &format!("{lladdr}; hardware"))
            + &link("3: br0", "", "bridge forward_delay 1500");
        (links, addr(&[("br0", ip)]))
    };
    let (one, other) = (node("192.0.2.1/24", "52:54:00:00:00:01"), node("192.0.2.2/24", "52:54:00:00:00:02"));
    let found = snapshot(&[
        ("nodes/n1/host/link.txt", one.0),
        ("nodes/n1/host/addr.txt", one.1),
        ("nodes/n2/host/link.txt", other.0),
        ("nodes/n2/host/addr.txt", other.1),
    ]);
    assert_eq!(underlay(&found), ["n1/eth0", "n2/eth0"]);
    assert_eq!(segment(&found, HOST, "eth0"), ["n2/eth0"]);
    assert!(!found.topology.is_underlay(netns(&found, HOST), &IfName::new("br0")));
    // The bridge leads out, so that its subnet is no pods' prefix.
    assert_eq!(found.known_prefixes(), []);
}

#[test]
fn an_unpaired_veth_port_faces_the_underlay_where_its_bridge_is_the_uplink() {
    let links =
        link("2: eth0@if9", "master br0 | link-netnsid 0", "veth") + &link("3: br0", "", "bridge forward_delay 1500");
    let files = |route: &str| {
        snapshot(&[
            ("nodes/n1/host/link.txt", links.clone()),
            ("nodes/n1/host/addr.txt", addr(&[("br0", "192.0.2.1/24")])),
            ("nodes/n1/host/route.txt", route.to_owned()),
        ])
    };
    assert_eq!(underlay(&files("default via 192.0.2.254 dev br0\n")), ["n1/eth0"]);
    assert_eq!(underlay(&files("")), [""; 0]);
}

#[test]
fn overlapping_subnets_are_one_segment() {
    let nic = |lladdr: &str| link("2: eth0", "", &format!("{lladdr}; hardware"));
    let mut files = Vec::new();
    for (node, ip) in
        [("a", "10.0.0.1/16"), ("b", "10.0.7.2/24"), ("c", "10.1.0.1/24"), ("d", "fd00::1/64"), ("e", "fd00::2/64")]
    {
        files.push((format!("nodes/{node}/host/link.txt"), nic("52:54:00:00:00:01")));
        files.push((format!("nodes/{node}/host/addr.txt"), addr(&[("eth0", ip)])));
    }
    // No address, but node c has seen its link-layer address.
    files.push(("nodes/f/host/link.txt".to_owned(), nic("52:54:00:00:00:0f")));
    files.push(("nodes/c/host/neigh.txt".to_owned(), "10.1.0.9 dev eth0 lladdr 52:54:00:00:00:0f STALE\n".to_owned()));
    // No address, and nobody has seen it.
    files.push(("nodes/g/host/link.txt".to_owned(), nic("52:54:00:00:00:10")));
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    let found = snapshot(&files);
    assert_eq!(segment(&found, "nodes/a/host", "eth0"), ["b/eth0"]);
    assert_eq!(segment(&found, "nodes/d/host", "eth0"), ["e/eth0"]);
    assert_eq!(segment(&found, "nodes/c/host", "eth0"), ["f/eth0"]);
    assert_eq!(segment(&found, "nodes/g/host", "eth0"), [""; 0]);
    assert!(found.topology.segment(netns(&found, "nodes/g/host"), &IfName::new("eth0")).is_none());
}

#[test]
fn link_local_addresses_join_nothing() {
    let found = snapshot(&[
        ("nodes/a/host/link.txt", link("2: eth0", "", "hardware")),
        ("nodes/a/host/addr.txt", addr(&[("eth0", "fe80::1/64"), ("eth0", "169.254.0.1/16")])),
        ("nodes/b/host/link.txt", link("2: eth0", "", "hardware")),
        ("nodes/b/host/addr.txt", addr(&[("eth0", "fe80::2/64"), ("eth0", "169.254.0.2/16")])),
    ]);
    assert_eq!(segment(&found, "nodes/a/host", "eth0"), [""; 0]);
}

#[test]
fn without_link_files_a_pod_is_assumed_to_hang_on_its_gateway() {
    let found = snapshot(&[
        (
            "nodes/host1/host/route.txt",
            "default via 192.168.93.254 dev eno16777984  proto static  metric 100\n\
          10.0.0.0/16 dev flannel.1\n10.0.14.0/24 dev cni0  proto kernel  scope link  src 10.0.14.1\n\
          192.168.93.0/24 dev eno16777984  proto kernel  scope link  src 192.168.93.212  metric 100\n"
                .to_owned(),
        ),
        (
            "nodes/host1/pods/default_pod1/route.txt",
            "default via 10.0.14.1 dev eth0\n10.0.0.0/16 via 10.0.14.1 dev eth0\n\
          10.0.14.0/24 dev eth0  proto kernel  scope link  src 10.0.14.15\n"
                .to_owned(),
        ),
    ]);
    let (host, pod) = (netns(&found, "nodes/host1/host"), netns(&found, "nodes/host1/pods/default_pod1"));
    let [eth0, cni0] = ["eth0", "cni0"].map(IfName::new);
    let joint = found.topology.assumed_peer(pod, &eth0).unwrap();
    assert_eq!((joint.netns, &joint.link), (host, &cni0));
    assert_eq!(found.topology.assumed_pods(host, &cni0).len(), 1);
    assert!(found.topology.veth_peer(pod, &eth0).is_none() && found.topology.assumed_peer(host, &cni0).is_none());
    assert!(found.topology.knows(host, &IfName::new("flannel.1")));
    assert_eq!(underlay(&found), ["host1/eno16777984"]);
    assert_eq!(found.known_prefixes().iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/16"]);
    assert!(found.is_cluster_address("10.0.5.150".parse().unwrap()));
    assert!(!found.is_cluster_address("192.168.93.254".parse().unwrap()));
    let owner = found.owner_of("10.0.14.1".parse().unwrap());
    assert_eq!(owner, [(host, cni0)]);
}

#[test]
fn a_gateway_that_two_devices_have_is_no_joint() {
    let found = snapshot(&[
        ("nodes/n1/host/addr.txt", addr(&[("cni0", "10.0.14.1/24"), ("br1", "10.0.14.1/24")])),
        ("nodes/n1/pods/default_one/route.txt", "default via 10.0.14.1 dev eth0\n".to_owned()),
    ]);
    assert!(found.topology.assumed_peer(netns(&found, ONE), &IfName::new("eth0")).is_none());
}

#[test]
fn the_clusters_addresses_are_its_pods_services_and_nodes() {
    let services =
        r#"{"items": [{"metadata": {"name": "web", "namespace": "shop"}, "spec": {"clusterIP": "10.96.0.20"}}]}"#;
    let nodes = r#"{"items": [{"metadata": {"name": "n9"}, "spec": {"podCIDRs": ["10.244.9.0/24", "fd00:9::/64"]},
                    "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.19"}]}}]}"#;
    let links = link("2: cni0", "", "bridge forward_delay 1500") + &link("3: flannel.1", "", "vxlan id 1 dstport 8472");
    let found = snapshot(&[
        ("cluster/services.json", services.to_owned()),
        ("cluster/nodes.json", nodes.to_owned()),
        ("nodes/n1/host/link.txt", links),
        ("nodes/n1/host/addr.txt", addr(&[("cni0", "10.244.1.1/24")])),
        (
            "nodes/n1/host/route.txt",
            "default via 192.0.2.254 dev eth0\n10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink\n\
          default dev flannel.1 table 9\n"
                .to_owned(),
        ),
    ]);
    for inside in ["10.244.1.77", "10.244.2.9", "10.244.9.1", "fd00:9::5", "10.96.0.20", "192.0.2.19", "10.244.1.1"] {
        assert!(found.is_cluster_address(inside.parse().unwrap()), "{inside}");
    }
    for outside in ["10.244.3.1", "10.96.0.21", "8.8.8.8", "192.0.2.254", "fd00:8::1", "0.0.0.0", "255.255.255.255"] {
        assert!(!found.is_cluster_address(outside.parse().unwrap()), "{outside}");
    }
}

#[test]
fn a_vxlan_device_is_joined_to_those_that_its_entries_lead_to() {
    let node = |vni: u32| link("2: flannel.1", "", &format!("vxlan id {vni} dstport 8472 nolearning"));
    let found = snapshot(&[
        ("nodes/n1/host/link.txt", node(1)),
        (
            "nodes/n1/host/fdb.txt",
            "5a:00:00:00:00:02 dev flannel.1 dst 192.0.2.12 self permanent\n\
          5a:00:00:00:00:03 dev flannel.1 dst 192.0.2.13 self permanent\n"
                .to_owned(),
        ),
        ("nodes/n2/host/link.txt", node(1)),
        ("nodes/n2/host/addr.txt", addr(&[("eth0", "192.0.2.12/24")])),
        ("nodes/n3/host/link.txt", node(2)),
        ("nodes/n3/host/addr.txt", addr(&[("eth0", "192.0.2.13/24")])),
    ]);
    let graph = found.topology.graph();
    let vteps = graph.edge_weights().filter(|joint| **joint == Joint::Vtep).count();
    assert_eq!(vteps, 1);
}
