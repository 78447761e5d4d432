use std::sync::Arc;

use crate::net::{Family, IfName, TableId};
use crate::snapshot::{LinkKind, Netns, PolicyRule, PortState, RuleAction, Snapshot};

/// What `ip` printed on a lab node (Linux 6.18, iproute2 6.1).
const LINK: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0
4: eth0@if5: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether da:0d:72:6f:96:06 brd ff:ff:ff:ff:ff:ff link-netnsid 2 promiscuity 0
    veth
5: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether 0e:fd:e4:a6:f7:59 brd ff:ff:ff:ff:ff:ff promiscuity 0
    bridge forward_delay 1500
6: off0: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN mode DEFAULT group default qlen 1000
    link/ether 0e:fd:e4:a6:f7:60 brd ff:ff:ff:ff:ff:ff promiscuity 0
    dummy
";
const ADDR: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
    inet6 ::1/128 scope host
4: eth0@if5: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    inet 192.0.2.11/24 scope global eth0
    inet 192.0.2.50/24 scope global secondary eth0
    inet6 fd00:1::11/64 scope global nodad
    inet6 fd00:1::12/64 scope global tentative
5: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    inet 10.244.1.1/24 brd 10.244.1.255 scope global cni0
    inet 10.5.5.5 peer 10.6.6.0/24 scope global cni0
    inet 10.244.1.0/32 scope global cni0
6: off0: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN group default qlen 1000
    inet 10.1.1.1/24 scope global off0
";
const MAIN: &str = "default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.11\n";

fn snapshot(files: &[(&str, &str)]) -> Snapshot {
    let files = files.iter().map(|(name, text)| (format!("nodes/n1/host/{name}"), Arc::from(*text)));
    crate::load::load_files(files).unwrap()
}

fn host(snapshot: &Snapshot) -> &Netns {
    &snapshot.namespaces[0]
}

/// The routes that no line of the route file says.
fn derived(snapshot: &Snapshot, family: Family) -> Vec<String> {
    let host = host(snapshot);
    let routes = if family == Family::Inet { &host.routes } else { &host.routes6 };
    let rows = routes.as_ref().unwrap().rows().iter();
    let own = |file: &str| !file.ends_with("route.txt") && !file.ends_with("route6.txt");
    rows.filter(|route| own(snapshot.files.path(route.evidence))).map(ToString::to_string).collect()
}

fn has_gap(snapshot: &Snapshot, words: &[&str]) -> bool {
    snapshot.gaps.iter().any(|gap| words.iter().all(|word| gap.what.contains(word)))
}

#[test]
fn the_local_table_is_what_the_kernel_makes_of_the_addresses() {
    let loaded = snapshot(&[("link.txt", LINK), ("addr.txt", ADDR), ("route.txt", MAIN)]);
    assert_eq!(
        derived(&loaded, Family::Inet),
        [
            "local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1",
            "local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1",
            "broadcast 127.255.255.255 dev lo table local proto kernel scope link src 127.0.0.1",
            "local 192.0.2.11 dev eth0 table local proto kernel scope host src 192.0.2.11",
            "broadcast 192.0.2.255 dev eth0 table local proto kernel scope link src 192.0.2.11",
            "local 192.0.2.50 dev eth0 table local proto kernel scope host src 192.0.2.11",
            "local 10.244.1.1 dev cni0 table local proto kernel scope host src 10.244.1.1",
            "broadcast 10.244.1.255 dev cni0 table local proto kernel scope link src 10.244.1.1",
            "local 10.5.5.5 dev cni0 table local proto kernel scope host src 10.5.5.5",
            "broadcast 10.6.6.255 dev cni0 table local proto kernel scope link src 10.5.5.5",
            "local 10.244.1.0 dev cni0 table local proto kernel scope host src 10.244.1.0",
            // The address stays local while its device is down, its broadcast doesn't.
            "local 10.1.1.1 dev off0 table local proto kernel scope host src 10.1.1.1",
        ]
    );
    let rows = host(&loaded).routes.as_ref().unwrap().rows();
    let row = rows.iter().find(|route| route.dst.to_string() == "192.0.2.50/32").unwrap();
    assert_eq!(loaded.files.text(row.evidence), "    inet 192.0.2.50/24 scope global secondary eth0");
}

#[test]
fn the_inet6_local_table_has_anycast_addresses_where_the_device_forwards() {
    let sysctl = "net.ipv6.conf.eth0.forwarding = 1\n";
    let route6 = "fd00:1::/64 dev eth0 proto kernel metric 256 pref medium\n";
    let files = [("link.txt", LINK), ("addr.txt", ADDR), ("route6.txt", route6), ("sysctl", sysctl)];
    let forwarding = [
        "local ::1 dev lo table local proto kernel metric 0",
        "local fd00:1::11 dev eth0 table local proto kernel metric 0",
        "anycast fd00:1:: dev eth0 table local proto kernel metric 0",
        "multicast ff00::/8 dev eth0 table local proto kernel metric 256",
    ];
    assert_eq!(derived(&snapshot(&files), Family::Inet6), forwarding);
    let still: Vec<&str> = forwarding.into_iter().filter(|row| !row.starts_with("anycast")).collect();
    assert_eq!(derived(&snapshot(&files[..3]), Family::Inet6), still);
}

#[test]
fn a_file_of_all_tables_stays_as_it_is() {
    let all = format!("{MAIN}local 192.0.2.11 dev eth0 table local proto kernel scope host src 192.0.2.11\n");
    let loaded = snapshot(&[("link.txt", LINK), ("addr.txt", ADDR), ("route.txt", &all)]);
    assert_eq!(derived(&loaded, Family::Inet), [""; 0]);
    assert!(!has_gap(&loaded, &["addr.txt is missing"]));
}

#[test]
fn addresses_come_from_the_kernels_routes() {
    let all = "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.11\n\
               10.9.0.0/16 dev eth0 scope link src 10.9.0.1\n\
               local 192.0.2.11 dev eth0 table local proto kernel scope host src 192.0.2.11\n\
               local 192.0.2.50 dev eth0 table local proto kernel scope host src 192.0.2.11\n\
               local 10.244.1.0 dev flannel.1 table local proto kernel scope host src 10.244.1.0\n\
               local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1\n\
               local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1\n\
               local 10.7.7.0/24 dev lo table local proto static scope host\n";
    let all6 = "fd00:1::/64 dev eth0 proto kernel metric 256 pref medium\n\
                local fd00:1::11 dev eth0 table local proto kernel metric 0 pref medium\n";
    let loaded = snapshot(&[("route.txt", all), ("route6.txt", all6)]);
    let addrs: Vec<String> = host(&loaded).addrs.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(
        addrs,
        [
            "eth0    inet 192.0.2.11/24 scope global eth0",
            "eth0    inet 192.0.2.50/24 scope global secondary eth0",
            "flannel.1    inet 10.244.1.0/32 scope global flannel.1",
            "lo    inet 127.0.0.1/8 scope host lo",
            "eth0    inet6 fd00:1::11/64 scope global",
        ]
    );
    assert!(has_gap(&loaded, &["addr.txt is missing"]));
    let pod = snapshot(&[("route.txt", "10.0.14.0/24 dev eth0  proto kernel  scope link  src 10.0.14.15\n")]);
    let addr = &host(&pod).addrs.as_ref().unwrap()[0];
    assert_eq!((addr.address.to_string().as_str(), addr.prefix_len), ("10.0.14.15", 24));
    assert_eq!(pod.files.path(addr.evidence), "nodes/n1/host/route.txt");
    assert_eq!(derived(&pod, Family::Inet), [""; 0], "what is derived twice still stands on the one line");
    assert_eq!(host(&pod).routes.as_ref().unwrap().rows().len(), 3);
}

#[test]
fn nothing_tells_no_address() {
    let loaded = snapshot(&[("route.txt", "default via 192.0.2.1 dev eth0\n")]);
    assert!(host(&loaded).addrs.is_none());
    assert_eq!(host(&loaded).routes.as_ref().unwrap().rows().len(), 1);
}

#[test]
fn missing_policy_rules_are_assumed_aloud() {
    let loaded = snapshot(&[("route.txt", MAIN), ("route6.txt", "default via fd00:1::1 dev eth0 metric 1024\n")]);
    let actions = |rules: &Option<Vec<PolicyRule>>| {
        let rules = rules.iter().flatten();
        rules.map(|rule| (rule.priority, rule.action, rule.evidence.is_some())).collect::<Vec<_>>()
    };
    let lookup = |priority, table| (priority, RuleAction::Lookup(table), false);
    let [local, main] = [lookup(0, TableId::LOCAL), lookup(32766, TableId::MAIN)];
    assert_eq!(actions(&host(&loaded).rules), [local, main, lookup(32767, TableId::DEFAULT)]);
    assert_eq!(actions(&host(&loaded).rules6), [local, main]);
    assert!(has_gap(&loaded, &["rule.txt is missing"]) && has_gap(&loaded, &["rule6.txt is missing"]));
    let there = snapshot(&[("route.txt", MAIN), ("rule.txt", "")]);
    assert_eq!(host(&there).rules.as_deref(), Some(&[][..]));
    assert!(host(&there).rules6.is_none() && !has_gap(&there, &["rule"]));
}

#[test]
fn rules_are_sorted_by_priority() {
    let loaded = snapshot(&[("rule.txt", "32766: from all lookup main\n0: from all lookup local\n")]);
    let priorities: Vec<u32> = host(&loaded).rules.iter().flatten().map(|rule| rule.priority).collect();
    assert_eq!(priorities, [0, 32766]);
}

#[test]
fn a_link_file_without_details_is_completed_from_other_tables() {
    let bare = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
2: veth1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue master cni0 state UP
    link/ether 0e:fd:e4:a6:f7:59 brd ff:ff:ff:ff:ff:ff link-netnsid 0
5: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP
    link/ether 0e:fd:e4:a6:f7:59 brd ff:ff:ff:ff:ff:ff
6: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN
    link/ether ba:20:aa:ff:e3:95 brd ff:ff:ff:ff:ff:ff
7: flannel0: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1472 qdisc pfifo_fast state UNKNOWN
    link/none
8: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP
    link/ether da:0d:72:6f:96:06 brd ff:ff:ff:ff:ff:ff
";
    let ports = "2: veth1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 master cni0 state forwarding priority 32 cost 2 \n    \
                 hairpin on guard off root_block off fastleave off learning on flood on mcast_flood on bcast_flood on \
                 mcast_router 1 mcast_to_unicast off neigh_suppress off vlan_tunnel off isolated on locked off \n";
    let fdb = "5a:00:00:00:00:02 dev flannel.1 dst 192.0.2.12 self permanent\n";
    let loaded = snapshot(&[
        ("link.txt", bare),
        ("bridge-link.txt", ports),
        ("fdb.txt", fdb),
        ("tuntap.txt", "flannel0: tun\n"),
    ]);
    let link = |name: &str| host(&loaded).link(&IfName::new(name)).unwrap();
    assert_eq!(link("veth1").kind, LinkKind::Veth);
    let port = link("veth1").port.as_ref().unwrap();
    assert!(port.state == PortState::Forwarding && port.hairpin && port.isolated);
    assert_eq!(loaded.files.path(port.evidence), "nodes/n1/host/bridge-link.txt");
    assert!(matches!(link("cni0").kind, LinkKind::Bridge(_)));
    assert_eq!(link("flannel.1").kind, LinkKind::Undetailed("vxlan"));
    assert_eq!(link("flannel0").kind, LinkKind::Tun { tap: false });
    assert_eq!(link("eth0").kind, LinkKind::Plain);
    assert!(has_gap(&loaded, &["lacks the details"]));
}

#[test]
fn a_device_that_the_link_file_lacks_is_a_gap() {
    let loaded = snapshot(&[("link.txt", LINK), ("route.txt", "10.0.0.0/8 dev gone0\n10.1.0.0/16 dev gone0\n")]);
    let gaps: Vec<_> = loaded.gaps.iter().filter(|gap| gap.what.contains("gone0")).collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!(loaded.files.text(gaps[0].evidence[0]), "10.0.0.0/8 dev gone0");
}

#[test]
fn both_forms_of_a_table_are_compared() {
    let json = r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},
                   {"dst":"10.9.0.0/16","dev":"eth0","flags":[]}]"#;
    let loaded = snapshot(&[("route.txt", MAIN), ("route.json", json)]);
    let gap = loaded.gaps.iter().find(|gap| gap.what.contains("differ")).unwrap();
    assert!(gap.what.contains("nodes/n1/host/route.txt") && gap.what.contains("the text counts"), "{}", gap.what);
    let texts: Vec<&str> = gap.evidence.iter().map(|evidence| loaded.files.text(*evidence)).collect();
    assert_eq!(texts, ["192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.11", "10.9.0.0/16 dev eth0"]);
    assert!(host(&loaded).routes.as_ref().unwrap().rows().iter().all(|route| route.evidence.index.is_none()));
    let same = r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]}]"#;
    let alike = snapshot(&[("route.txt", "default via 192.0.2.1 dev eth0 \n"), ("route.json", same)]);
    assert!(!has_gap(&alike, &["differ"]));
}

#[test]
fn inet6_rows_of_the_common_route_file_count_where_route6_is_missing() {
    let both = "local 192.0.2.11 dev eth0 table local proto kernel scope host src 192.0.2.11\n\
                fd00:1::/64 dev eth0 proto kernel metric 256 pref medium\n";
    let loaded = snapshot(&[("route.txt", both)]);
    assert_eq!(host(&loaded).routes6.as_ref().unwrap().rows().len(), 1);
    let own = snapshot(&[("route.txt", both), ("route6.txt", "")]);
    assert_eq!(host(&own).routes6.as_ref().unwrap().rows().len(), 0);
}
