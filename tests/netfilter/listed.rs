//! What nft prints beyond the everyday: every line of it is read, and what no snapshot tells branches by its name.

use flowtrace::engine::{Certainty, nft_certainty};

use super::statements::{FORWARD, chain, json};
use super::*;

/// Lines of nft 1.0.6 to 1.1.x, as they print them.
const PRINTED: &[&str] = &[
    "udp dport 4789 vxlan ip saddr 10.0.0.1",
    "udp dport 4789 vxlan ip saddr != 10.0.0.0/8",
    "udp dport 4789 vxlan vni 5",
    "udp dport 4789 vxlan flags 0x08",
    "udp dport 4789 vxlan ether saddr 62:87:4d:d6:19:05",
    "udp dport 4789 vxlan tcp dport 80 counter packets 0 bytes 0",
    "udp dport 4789 vxlan ip saddr . vxlan ip daddr { 1.2.3.4 . 4.3.2.1 }",
    "udp dport 4789 vxlan icmp type echo-reply",
    "udp dport 6081 geneve vni 0xa",
    "udp dport 6081 geneve ip saddr { 10.0.0.0/8, 192.0.2.1 }",
    "gre version 0",
    "gre ip dscp 0x02",
    "gretap ether saddr 62:87:4d:d6:19:05",
    "tcp option mptcp subtype 1",
    "tcp option mptcp exists",
    "tcp option @20,16,4 != 0x1",
    "osf name \"Linux\"",
    "osf ttl skip name \"Linux\"",
    "osf ttl loose version \"Linux:4.20\"",
    "sctp chunk init num-inbound-streams 5",
    "sctp chunk sack cum-tsn-ack 5",
    "sctp chunk data exists",
    "mh type home-agent-switch-message",
    "mh type { binding-update, 12 }",
    "arp saddr ip 10.0.0.1",
    "arp daddr ether 62:87:4d:d6:19:05",
    "meta sdif \"eth0\"",
    "meta sdifname { \"a\", \"b\" }",
    "meta priority none",
    "meta priority { root, 1:2 }",
    "meta priority 1:0-1:5",
    "ct expiration { 10s, 30s-1m }",
    "tunnel id 5",
];

/// The rules of the one chain, of the one that nothing else is known of.
fn rules(rules: &[&str]) -> (Vec<Certainty>, Vec<String>) {
    rules_of("inet", "forward", rules)
}

fn rules_of(family: &str, hook: &str, rules: &[&str]) -> (Vec<Certainty>, Vec<String>) {
    let text = chain(family, hook, &rules.join("\n"));
    let snapshot = load_files([("nodes/n1/host/nft.txt".to_owned(), Arc::from(text))]).unwrap();
    let netfilter = &snapshot.netns(NetnsId(0)).netfilter;
    let chain = &netfilter.nft.as_ref().unwrap().tables[0].chains[0];
    let gaps = snapshot.gaps.iter().filter(|gap| gap.what.contains("nft list")).map(|gap| gap.what.clone());
    (chain.rules.iter().map(nft_certainty).collect(), gaps.collect())
}

#[test]
fn every_line_that_nft_prints_is_read() {
    let (known, gaps) = rules(PRINTED);
    assert_eq!(gaps, [] as [&str; 0]);
    assert_eq!(known.len(), PRINTED.len());
    assert!(!known.contains(&Certainty::NotModelled), "{known:?}");
}

#[test]
fn what_is_written_and_not_modelled_is_marked() {
    for rule in
        ["ether daddr set 62:87:4d:d6:19:05", "meta pkttype set host", "meta broute set 1", "ip protocol set tcp"]
    {
        assert_eq!(rules(&[rule]), (vec![Certainty::NotModelled], vec![]), "{rule}");
    }
    for rule in
        ["ether daddr set 62:87:4d:d6:19:5", "meta pkttype set host", "meta set pkttype host", "meta broute set 1"]
    {
        assert_eq!(rules_of("bridge", "prerouting", &[rule]), (vec![Certainty::Exact], vec![]), "{rule}");
    }
    for rule in ["ip saddr set 192.0.2.1", "ip6 hoplimit set 5", "th dport set 80", "tcp flags set syn"] {
        assert_eq!(rules(&[rule]), (vec![Certainty::Exact], vec![]), "{rule}");
    }
}

/// A packet through one rule at forward, which drops.
fn through(transport: Transport, rule: &str) -> Host {
    host(&[("nft.txt", &chain("inet", "forward", &format!("{rule} drop")))]).with(packet(CLIENT, THEM, transport))
}

#[test]
fn what_a_tunnel_carries_is_asked_of_its_protocol_alone() {
    for rule in ["vxlan ip saddr 192.0.2.99", "vxlan ip saddr != 192.0.2.99", "geneve vni 5", "gre ip ttl 1"] {
        assert!(!through(tcp(80), rule).is_dropped(), "{rule}");
    }
    for rule in ["vxlan ip saddr 192.0.2.99", "vxlan ip saddr != 192.0.2.99", "geneve vni 5", "vxlan tcp dport 80"] {
        let host = through(udp(4789), rule);
        assert!(host.branches(), "{rule}");
        assert!(host.answer().paths[0].why[0].contains(rule.split(' ').next().unwrap()), "{rule}");
    }
    // JSON's name of the tunnel is not left out: that would ask for the packet's own address.
    let left = r#"{"payload": {"tunnel": "vxlan", "protocol": "ip", "field": "saddr"}}"#;
    let rule = format!(r#"{{"match": {{"op": "==", "left": {left}, "right": "192.0.2.99"}}}}, {{"drop": null}}"#);
    let nft = json(FORWARD, &[&rule]);
    assert!(host(&[("nft.json", &nft)]).with(packet(CLIENT, THEM, udp(4789))).branches());
    let (tunnel, json) = (r#"{"payload": {"tunnel": "vxlan", "field": "vni"}}"#, nft.replace(left, "LEFT"));
    assert!(
        host(&[("nft.json", &json.replace("LEFT", tunnel))]).with(packet(CLIENT, THEM, udp(4789))).branches(),
        "the tunnel's own header"
    );
    let osf = r#"{"osf": {"key": "name", "ttl": "loose"}}"#;
    assert!(host(&[("nft.json", &json.replace("LEFT", osf))]).with(packet(CLIENT, THEM, tcp(80))).branches());
    let ipsec = r#"{"ipsec": {"key": "saddr", "family": "ip", "dir": "in", "spnum": 0}}"#;
    assert!(host(&[("nft.json", &json.replace("LEFT", ipsec))]).with(packet(CLIENT, THEM, tcp(80))).branches());
}

#[test]
fn a_senders_system_is_told_by_its_syns_alone() {
    assert!(through(tcp(80), "osf name \"Linux\"").branches());
    assert!(!through(udp(53), "osf name \"Linux\"").is_dropped());
    let ack = Transport::Tcp { source: Some(40000), destination: Some(80), flags: 0x10 };
    assert!(!through(ack, "osf ttl skip version \"Linux:3.0\"").is_dropped());
}

#[test]
fn bits_of_an_option_are_not_its_presence() {
    // A packet without TCP ends the rule whatever it compares (`nft_exthdr_tcp_eval`).
    assert!(!through(udp(53), "tcp option @20,16,4 != 0x1").is_dropped());
    assert!(through(tcp(80), "tcp option @20,16,4 0x1").branches());
}

#[test]
fn a_packet_by_a_device_of_no_vrf_has_no_port_of_one() {
    assert!(!through(tcp(80), "meta sdif \"eth0\"").is_dropped());
    assert!(!through(tcp(80), "meta sdifname \"eth0\"").is_dropped());
    assert!(through(tcp(80), "meta sdifname != \"eth0\"").is_dropped());
    let port = LINK.replacen("qdisc fq state UP", "qdisc fq master vrf1 state UP", 1)
        + "4: vrf1: <NOARP,MASTER,UP,LOWER_UP> mtu 65575 qdisc noqueue state UP mode DEFAULT group default qlen 1000\n    \
           link/ether 52:54:00:00:00:12 brd ff:ff:ff:ff:ff:ff promiscuity 0\n    vrf table 10\n";
    let nft = chain("inet", "prerouting", "meta sdifname \"eth0\" drop");
    let answer = host(&[("nft.txt", &nft), ("link.txt", &port)]).answer();
    assert!(answer.paths.iter().all(|path| path.forward.verdict != Verdict::Delivered));
}

/// The ways of a packet through one rule at forward which drops, at a time, where the snapshot says so of itself.
fn at_time(rule: &str, time: Option<&str>, meta: &str) -> Vec<(bool, String)> {
    let mut host = through(udp(53), rule);
    host.files.push(("snapshot.json".to_owned(), Arc::from(meta)));
    host.given.time = time.map(|time| flowtrace::net::calendar::moment(time).unwrap());
    let paths = host.answer().paths;
    paths.iter().map(|path| (path.forward.verdict == Verdict::Dropped, path.why.concat())).collect()
}

#[test]
fn times_are_settled_where_they_were_listed_in_utc() {
    const UTC: &str = r#"{"schema": "flowtrace/snapshot/1", "timezone": "UTC"}"#;
    let now = Some("2026-11-30T10:00:00Z");
    let settled = |rule: &str| {
        let ways = at_time(rule, now, UTC);
        assert_eq!(ways.len(), 1, "{rule}");
        ways[0].0
    };
    assert!(settled("meta hour \"08:00\"-\"10:00\"") && !settled("meta hour \"10:00:01\"-\"12:00\""));
    // nft lists a range over midnight as what is not between (`meta hour "22:00"-"06:00"`).
    assert!(settled("meta hour != \"11:00\"-\"22:00\"") && !settled("meta hour != \"06:00\"-\"22:00\""));
    assert!(settled("meta time < \"2026-11-30 10:00:01\"") && !settled("meta time < \"2026-11-30 10:00:00\""));
    assert!(settled("meta time \"2026-11-30 00:00:00\"-\"2026-12-01 00:00:00\""));
    assert!(settled("meta hour { \"09:00\", \"10:00\"-\"11:00\" }"));
    let open = |rule: &str, time: Option<&str>, meta: &str, why: &str| {
        let ways = at_time(rule, time, meta);
        assert!(ways.len() == 2 && ways.iter().all(|(_, said)| said.contains(why)), "{rule}: {ways:?}");
    };
    open("meta hour \"08:00\"-\"10:00\"", None, UTC, "--time says when");
    open("meta hour \"08:00\"-\"10:00\"", now, "{}", "in which time zone nft listed it");
    open("meta time > \"2026-11-30 09:00:00\"", now, "{}", "in which time zone nft listed it");
    open("meta day \"Monday\"", now, UTC, "the kernel's own time zone");
    let other = r#"{"nodes": [{"node": "n2", "timezone": "UTC"}, {"node": "n1", "timezone": null}]}"#;
    open("meta hour \"08:00\"-\"10:00\"", now, other, "in which time zone nft listed it");
    assert_eq!(at_time("meta hour \"08:00\"-\"10:00\"", now, &other.replace("null", "\"UTC\"")).len(), 1);
}
