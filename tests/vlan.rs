//! VLAN devices and bridges that filter VLANs, by the kernel's source: of written snapshots, since not every kernel has
//! them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use flowtrace::engine::{Given, Origin, Question, explain};
use flowtrace::load::load_files;
use flowtrace::net::{IfName, Ip, Link, NetnsId, Packet, Transport, VlanTag};
use flowtrace::snapshot::Snapshot;
use flowtrace::trace::{Decision, Path};

/// A namespace: devices (a name with what stands behind `@`, a link address, words, its kind), addresses with their
/// devices, other files.
struct Space {
    dir: &'static str,
    links: &'static [(&'static str, &'static str, &'static str, &'static str)],
    addrs: &'static [(&'static str, &'static str)],
    files: &'static [(&'static str, &'static str)],
}

/// It has no details of its own.
const HARDWARE: &str = "";
const VETH: &str = "veth";
const PORT: &str = "veth\n    bridge_slave state forwarding hairpin off learning on flood on isolated off";
const BRIDGE: &str = "bridge forward_delay 1500 vlan_filtering 0 nf_call_iptables 0 nf_call_ip6tables 0";
const FILTERING: &str = "bridge forward_delay 1500 vlan_filtering 1 nf_call_iptables 0 nf_call_ip6tables 0";
const VLAN10: &str = "vlan protocol 802.1Q id 10 <REORDER_HDR>";
const VLAN20: &str = "vlan protocol 802.1Q id 20 <REORDER_HDR>";
const VLAN30: &str = "vlan protocol 802.1ad id 30 <REORDER_HDR>";

impl Space {
    fn files(&self) -> Vec<(String, Arc<str>)> {
        let lo = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 state UNKNOWN\n    link/loopback 00:00:00:00:00:00 brd \
                  00:00:00:00:00:00\n";
        let links = self.links.iter().map(|(name, lladdr, words, kind)| {
            let (index, name) = name.split_once(' ').unwrap();
            let (words, nsid) = words.split_once('|').unwrap_or((words, ""));
            format!(
                "{index}: {name}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 {words} state UP\n    link/ether \
                 02:00:00:00:00:{lladdr} brd ff:ff:ff:ff:ff:ff {nsid}\n    {kind}\n"
            )
        });
        let links: String = [lo.to_owned()].into_iter().chain(links).collect();
        let (mut addrs, mut routes) = (String::new(), String::new());
        for (number, (dev, address)) in self.addrs.iter().enumerate() {
            writeln!(addrs, "{}: {dev}: <UP> mtu 1500\n    inet {address} scope global {dev}", number + 2).unwrap();
            let (own, _) = address.split_once('/').unwrap();
            let (net, _) = own.rsplit_once('.').unwrap();
            writeln!(routes, "unicast {net}.0/24 dev {dev} table main scope link src {own}").unwrap();
            writeln!(routes, "local {own} dev {dev} table local scope host src {own}").unwrap();
        }
        let rule = "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n";
        let sysctl = "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\nnet.ipv4.ip_default_ttl = 64\n\
                      net.ipv4.conf.all.forwarding = 1\nnet.bridge.bridge-nf-call-iptables = 0\n";
        let devices = self.links.iter().filter_map(|(name, ..)| name.split([' ', '@']).nth(1));
        let off = devices.map(|dev| format!("net.ipv4.conf.{}.rp_filter = 0\n", dev.replace('.', "/")));
        let sysctl = off.fold(sysctl.to_owned(), |all, line| all + &line);
        let own = [("link.txt", links.as_str()), ("addr.txt", &addrs), ("route.txt", &routes), ("rule.txt", rule)];
        let rest =
            [("sysctl", sysctl.as_str()), ("iptables-save", ""), ("nft.txt", ""), ("neigh.txt", ""), ("conntrack", "")];
        let rest = rest.into_iter().chain([("fdb.txt", ""), ("nexthop.txt", "")]);
        let rest = rest.filter(|(name, _)| self.files.iter().all(|(own, _)| own != name));
        let all = own.into_iter().chain(rest).chain(self.files.iter().copied());
        all.map(|(name, text)| (format!("nodes/{}/{name}", self.dir), Arc::from(text))).collect()
    }
}

fn snapshot(spaces: &[Space]) -> Snapshot {
    load_files(spaces.iter().flat_map(Space::files)).unwrap()
}

fn netns(snapshot: &Snapshot, dir: &str) -> NetnsId {
    snapshot.netns_ids().find(|(_, netns)| netns.dir == format!("nodes/{dir}")).map(|(id, _)| id).unwrap()
}

fn packet(source: &str, destination: &str) -> Packet {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let ip = Ip { source: address(source), destination: address(destination), ttl: 64, tos: 0, df: false };
    Packet::new(ip, Transport::Udp { source: Some(4000), destination: Some(53) }, 60)
}

fn way(snapshot: &Snapshot, from: Origin, packet: Packet) -> Path {
    let (reply, max_paths, verbose, established) = (true, 8, false, false);
    let given = Given::default();
    let question = Question { packet, from, reply, max_paths, verbose, established, opened_by: None, given };
    let answer = explain(snapshot, &question);
    let [path] = answer.paths.as_slice() else { panic!("{} ways", answer.paths.len()) };
    path.clone()
}

/// What a socket of a namespace sends: each device with the VLANs of the frame there, the end, and how the reply ends.
fn sent(snapshot: &Snapshot, dir: &str, source: &str, destination: &str) -> String {
    let from = Origin::Socket { netns: netns(snapshot, dir) };
    told(&way(snapshot, from, packet(source, destination)))
}

fn told(path: &Path) -> String {
    let mut words = Vec::new();
    for step in &path.forward.steps {
        let (device, way) = match &step.decision {
            Decision::Receive { device, .. } => (device, "<"),
            Decision::Transmit { device } => (device, ">"),
            Decision::End { detail, .. } => {
                let reason = path.forward.reason.map_or("", |reason| reason.as_str());
                words.push(format!(
                    "{} {reason} {}",
                    path.forward.verdict.as_str(),
                    detail.clone().unwrap_or_default()
                ));
                continue;
            }
            _ => continue,
        };
        let tags: Vec<String> = step.packet.tags.iter().map(|tag| tag.id.to_string()).collect();
        let tags = if tags.is_empty() { String::new() } else { format!("[{}]", tags.join(",")) };
        words.push(format!("{way}{device}{tags}"));
    }
    let reply = path.reply.as_ref().map_or("", |reply| reply.verdict.as_str());
    words.push(reply.to_owned());
    words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Two pods whose veth pairs end on the node, each with a VLAN device or several upon its own.
fn pair(near: &'static [(&'static str, &'static str, &'static str, &'static str)]) -> Snapshot {
    snapshot(&[
        Space { dir: "n1/pods/a_a", links: near, addrs: &[("eth0.10", "10.9.0.2/24")], files: &[] },
        Space {
            dir: "n1/host",
            links: &[("10 v1@if2", "f1", "|link-netnsid 0", VETH), ("11 v1.10@v1", "f2", "", VLAN10)],
            addrs: &[("v1.10", "10.9.0.1/24"), ("v1", "10.8.0.1/24")],
            files: &[],
        },
    ])
}

#[test]
fn a_tag_goes_through_a_veth_pair_to_the_device_that_has_its_vlan() {
    let snapshot = pair(&[("2 eth0@if10", "a1", "|link-netnsid 0", VETH), ("3 eth0.10@eth0", "a1", "", VLAN10)]);
    // The device at the other end has another link address than the one below it.
    assert_eq!(
        sent(&snapshot, "n1/pods/a_a", "10.9.0.2", "10.9.0.1"),
        ">eth0.10 >eth0[10] <v1[10] <v1.10 delivered delivered"
    );
}

#[test]
fn a_tag_of_another_vlan_is_not_heard() {
    let snapshot = pair(&[("2 eth0@if10", "a1", "|link-netnsid 0", VETH), ("3 eth0.10@eth0", "a1", "", VLAN20)]);
    let told = sent(&snapshot, "n1/pods/a_a", "10.9.0.2", "10.9.0.1");
    assert_eq!(told, "rejected neighbor-failed nobody answers for 10.9.0.1 on eth0.10 delivered");
    // With the neighbour's address in the table the frame is sent, and is nobody's.
    let at = Origin::Device { netns: netns(&snapshot, "n1/host"), device: IfName::new("v1") };
    let link = Link { source: "02:00:00:00:00:a1".parse().unwrap(), destination: "02:00:00:00:00:f2".parse().unwrap() };
    let tagged = |tags: Vec<VlanTag>| Packet { link: Some(link), tags, ..packet("10.9.0.2", "10.9.0.1") };
    assert!(
        told_of(&snapshot, &at, tagged(vec![VlanTag::new(20)]))
            .starts_with("<v1[20] dropped other-host the frame has the tag of VLAN 20, and no device upon v1 is of it")
    );
    assert!(told_of(&snapshot, &at, tagged(vec![VlanTag::new(10)])).starts_with("<v1[10] <v1.10 delivered"));
    // Behind a tag of VLAN 0 the next one counts.
    let both = vec![VlanTag::new(0), VlanTag::new(10)];
    assert!(told_of(&snapshot, &at, tagged(both)).starts_with("<v1[0,10] <v1.10 delivered"));
    // The frame is for the VLAN device's address, which the one below it has not.
    assert!(told_of(&snapshot, &at, tagged(Vec::new())).starts_with("<v1 dropped other-host"));
}

fn told_of(snapshot: &Snapshot, at: &Origin, packet: Packet) -> String {
    told(&way(snapshot, at.clone(), packet))
}

#[test]
fn tags_stand_one_in_the_other() {
    let pod = |dir, own: &'static [(&'static str, &'static str)], links| Space { dir, links, addrs: own, files: &[] };
    let snapshot = snapshot(&[
        pod(
            "n1/pods/a_a",
            &[("q", "10.9.0.2/24")],
            &[
                ("2 eth0@if10", "a1", "|link-netnsid 0", VETH),
                ("3 s@eth0", "a1", "", VLAN30),
                ("4 q@s", "a1", "", VLAN20),
            ],
        ),
        pod(
            "n1/host",
            &[("q", "10.9.0.1/24")],
            &[
                ("10 v1@if2", "f1", "|link-netnsid 0", VETH),
                ("11 s@v1", "f1", "", VLAN30),
                ("12 q@s", "f1", "", VLAN20),
            ],
        ),
    ]);
    assert_eq!(
        sent(&snapshot, "n1/pods/a_a", "10.9.0.2", "10.9.0.1"),
        ">q >s[20] >eth0[30,20] <v1[30,20] <s[20] <q delivered delivered"
    );
}

/// Two pods on a bridge, one of which sends with a tag, and the node's own device upon the bridge.
fn bridged(bridge: &'static str, vlans: &'static str) -> Snapshot {
    let pod = |dir, addrs, links| Space { dir, links, addrs, files: &[] };
    snapshot(&[
        pod(
            "n1/pods/a_a",
            &[("eth0.10", "10.9.0.2/24")],
            &[("2 eth0@if10", "a1", "|link-netnsid 0", VETH), ("3 eth0.10@eth0", "a1", "", VLAN10)],
        ),
        pod("n1/pods/a_b", &[("eth0", "10.9.0.3/24")], &[("2 eth0@if11", "a2", "|link-netnsid 0", VETH)]),
        pod(
            "n1/pods/a_c",
            &[("eth0.10", "10.9.0.4/24")],
            &[("2 eth0@if12", "a3", "|link-netnsid 0", VETH), ("3 eth0.10@eth0", "a3", "", VLAN10)],
        ),
        Space {
            dir: "n1/host",
            links: Box::leak(Box::new([
                ("9 br0", "b0", "", bridge),
                ("10 v1@if2", "f1", "master br0|link-netnsid 0", PORT),
                ("11 v2@if2", "f2", "master br0|link-netnsid 1", PORT),
                ("12 v3@if2", "f3", "master br0|link-netnsid 2", PORT),
                ("13 br0.10@br0", "b0", "", VLAN10),
            ])),
            addrs: &[("br0.10", "10.9.0.1/24"), ("br0", "10.8.0.1/24")],
            files: Box::leak(Box::new([("bridge-vlan.txt", vlans)])),
        },
    ])
}

#[test]
fn a_bridge_that_filters_nothing_carries_every_tag() {
    let snapshot = bridged(BRIDGE, "");
    let from_a = |to| sent(&snapshot, "n1/pods/a_a", "10.9.0.2", to);
    assert_eq!(from_a("10.9.0.4"), ">eth0.10 >eth0[10] <v1[10] >v3[10] <eth0[10] <eth0.10 delivered delivered");
    assert_eq!(from_a("10.9.0.1"), ">eth0.10 >eth0[10] <v1[10] <br0[10] <br0.10 delivered delivered");
    // Who hears frames without a tag alone isn't found.
    assert_eq!(from_a("10.9.0.3"), "rejected neighbor-failed nobody answers for 10.9.0.3 on eth0.10 delivered");
    let down = sent(&snapshot, "n1/host", "10.9.0.1", "10.9.0.4");
    assert_eq!(down, ">br0.10 >br0[10] >v3[10] <eth0[10] <eth0.10 delivered delivered");
}

#[test]
fn a_bridge_that_filters_vlans_puts_tags_on_and_takes_them_off() {
    let vlans = "port              vlan-id\nv1                10\nv2                10 PVID Egress Untagged\nv3                \
                 1 PVID Egress Untagged\nbr0               10\n";
    let snapshot = bridged(FILTERING, vlans);
    let from_a = |to| sent(&snapshot, "n1/pods/a_a", "10.9.0.2", to);
    assert_eq!(from_a("10.9.0.3"), ">eth0.10 >eth0[10] <v1[10] >v2 <eth0 delivered delivered");
    assert_eq!(from_a("10.9.0.1"), ">eth0.10 >eth0[10] <v1[10] <br0[10] <br0.10 delivered delivered");
    let up = sent(&snapshot, "n1/pods/a_b", "10.9.0.3", "10.9.0.1");
    assert_eq!(up, ">eth0 <v2 <br0[10] <br0.10 delivered delivered");
    let back = sent(&snapshot, "n1/pods/a_b", "10.9.0.3", "10.9.0.2");
    assert_eq!(back, ">eth0 <v2 >v1[10] <eth0[10] <eth0.10 delivered delivered");
    // A port that doesn't carry the VLAN drops what has its tag.
    let dropped = sent(&snapshot, "n1/pods/a_c", "10.9.0.4", "10.9.0.1");
    assert_eq!(dropped, ">eth0.10 >eth0[10] <v3[10] dropped port-not-forwarding v3 doesn't carry VLAN 10");
}

#[test]
fn the_bridge_is_a_port_like_others() {
    let vlans = "port              vlan-id\nv1                10\nv2                10 PVID Egress Untagged\nbr0               \
                 1 PVID Egress Untagged\n";
    let snapshot = bridged(FILTERING, vlans);
    let told = sent(&snapshot, "n1/pods/a_b", "10.9.0.3", "10.9.0.1");
    assert_eq!(told, ">eth0 <v2 dropped port-not-forwarding br0 doesn't carry VLAN 10");
    // A bridge whose own frames are of the VLAN hears them without a tag, where nobody upon it does.
    let vlans = "port              vlan-id\nv2                10 PVID Egress Untagged\nbr0               10 PVID Egress \
                 Untagged\n";
    let told = sent(&bridged(FILTERING, vlans), "n1/pods/a_b", "10.9.0.3", "10.8.0.1");
    assert_eq!(told, "rejected no-route");
}

/// Two nodes with a VLAN device upon hardware.
#[test]
fn a_tag_leaves_the_node_and_comes_in_at_the_other_one() {
    let node = |dir, links, addrs| Space { dir, links, addrs, files: &[] };
    let snapshot = snapshot(&[
        node(
            "n1/host",
            &[("2 eth0", "01", "", HARDWARE), ("3 eth0.10@eth0", "01", "", VLAN10)],
            &[("eth0.10", "192.0.2.1/24"), ("eth0", "198.51.100.1/24")],
        ),
        node(
            "n2/host",
            &[("2 eth0", "02", "", HARDWARE), ("3 eth0.10@eth0", "02", "", VLAN10)],
            &[("eth0.10", "192.0.2.2/24"), ("eth0", "198.51.100.2/24")],
        ),
        node("n3/host", &[("2 eth0", "03", "", HARDWARE)], &[("eth0", "192.0.2.3/24")]),
    ]);
    let from = |to| sent(&snapshot, "n1/host", "192.0.2.1", to);
    assert_eq!(from("192.0.2.2"), ">eth0.10 >eth0[10] <eth0[10] <eth0.10 delivered delivered");
    // A switch has an access port for the third.
    assert_eq!(from("192.0.2.3"), ">eth0.10 >eth0[10] <eth0 delivered delivered");
    assert_eq!(sent(&snapshot, "n1/host", "198.51.100.1", "198.51.100.2"), ">eth0 <eth0 delivered delivered");
    let outside = Origin::Outside { entries: vec![(netns(&snapshot, "n1/host"), IfName::new("eth0.10"))] };
    let told = told_of(&snapshot, &outside, packet("192.0.2.77", "192.0.2.1"));
    assert!(told.starts_with("<eth0[10] <eth0.10 delivered"), "{told}");
}

/// A pod's device may be upon one of the node, which its file doesn't name.
#[test]
fn a_device_whose_lower_one_is_in_another_namespace_leaves_the_end_open() {
    let snapshot = snapshot(&[
        Space {
            dir: "n1/pods/a_a",
            links: &[("3 eth0@if2", "a1", "|link-netnsid 0", VLAN10)],
            addrs: &[("eth0", "10.9.0.2/24")],
            files: &[("neigh.txt", "10.9.0.1 dev eth0 lladdr 02:00:00:00:00:01 PERMANENT\n")],
        },
        Space {
            dir: "n1/host",
            links: &[("2 eth0", "01", "", HARDWARE)],
            addrs: &[("eth0", "198.51.100.1/24")],
            files: &[],
        },
    ]);
    let told = sent(&snapshot, "n1/pods/a_a", "10.9.0.2", "10.9.0.1");
    assert_eq!(told, ">eth0 undetermined missing-table which device of another namespace is below eth0 is not known");
    let at = Origin::Device { netns: netns(&snapshot, "n1/host"), device: IfName::new("eth0") };
    let tagged = Packet { tags: vec![VlanTag::new(10)], ..packet("10.9.0.1", "10.9.0.2") };
    assert!(
        told_of(&snapshot, &at, tagged).contains("undetermined missing-table eth0 of nodes/n1/pods/a_a is of VLAN 10")
    );
}
