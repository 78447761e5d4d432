//! Copies that rules send elsewhere: how they look, which way they go, and which rules they meet.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use flowtrace::engine::{Given, Origin, Question, explain};
use flowtrace::load::load;
use flowtrace::net::{IfName, NetnsId};
use flowtrace::trace::{Decision, Step, Trace, Verdict};

use crate::lab::netns::{Netns, must};
use crate::lab::rules::craft::{Crafted, Payload};
use crate::lab::rules::judge::through;
use crate::lab::rules::router::{Router, Rules};
use crate::lab::scenario::{Place, Space};
use crate::lab::snapshot::{Form, write_space};

/// A datagram past the router.
fn datagram() -> Crafted {
    Crafted { payload: Payload::Udp { source: 4000, destination: 53 }, ttl: 17, tos: 0x20, ..Crafted::datagram() }
}

fn in_ipv6(packet: Crafted) -> Crafted {
    let address = |text: &str| text.parse().expect("an address");
    let source = if packet.local { "2001:db8:2::1" } else { "2001:db8:1::99" };
    Crafted { source: address(source), destination: address("2001:db8:2::7"), ..packet }
}

/// The same from the router itself.
fn from_router(packet: Crafted) -> Crafted {
    Crafted { local: true, source: [198, 51, 100, 1].into(), ..packet }
}

fn to_router(packet: Crafted) -> Crafted {
    Crafted { destination: [192, 0, 2, 10].into(), ..packet }
}

/// A rule of mangle's, and rules that see its copies: by what is tracked, by the devices, by the sender's socket.
fn iptables(legacy: bool, chain: &str, target: &str, target6: &str) -> Rules {
    let tables = |target: &str| {
        let states = ["NEW", "UNTRACKED"].map(|state| format!("-A OUTPUT -m conntrack --ctstate {state}"));
        let mangle = vec![
            format!("-A {chain} -p udp -m mark --mark 0 -j MARK --set-mark 9"),
            format!("-A {chain} -p udp -j {target}"),
        ];
        let own = ["-A OUTPUT -o eth1", "-A OUTPUT -o eth0", "-A OUTPUT -m ttl --ttl-eq 16"].map(str::to_owned);
        let own = own.into_iter().filter(|rule| !target.contains("::") || !rule.contains("ttl"));
        let nat = vec!["-A POSTROUTING -o eth1 -j MASQUERADE".to_owned()];
        BTreeMap::from([("mangle", mangle), ("filter", states.into_iter().chain(own).collect()), ("nat", nat)])
    };
    Rules { v4: tables(target), v6: tables(target6), legacy, ..Rules::default() }
}

/// What is said of the one copy of a packet whose one way is the kernel's.
fn copy(router: &mut Router, packet: &Crafted) -> Trace {
    let (answer, difference) = through(router, packet).expect("an answer");
    assert_eq!(difference, None);
    let [path] = answer.paths.as_slice() else { panic!("{} ways of {packet:?}", answer.paths.len()) };
    let [copy] = path.forward.beside.as_slice() else { panic!("{} copies", path.forward.beside.len()) };
    let [way] = copy.ways.as_slice() else { panic!("{} ways of the copy", copy.ways.len()) };
    way.trace.clone()
}

#[test]
fn a_copy_for_a_gateway_goes_its_own_way() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    for (target, target6) in [
        ("TEE --gateway 198.51.100.20", "TEE --gateway 2001:db8:2::20"),
        ("TEE --gateway 192.0.2.98", "TEE --gateway 2001:db8:1::98"),
        // By a gateway to the gateway, and by a device that is named.
        ("TEE --gateway 203.0.113.9", "TEE --gateway 2001:db8:113::9"),
        ("TEE --gateway 192.0.2.98 --oif eth1", "TEE --gateway 2001:db8:1::98 --oif eth0"),
        ("TEE --gateway 192.0.2.98 --oif eth9", "TEE --gateway 2001:db8:1::98 --oif eth9"),
    ] {
        for (chain, packets) in [
            ("PREROUTING", [datagram(), to_router(datagram())]),
            ("INPUT", [to_router(datagram()); 2]),
            ("FORWARD", [datagram(); 2]),
            ("OUTPUT", [from_router(datagram()); 2]),
            ("POSTROUTING", [datagram(), from_router(datagram())]),
        ] {
            router.load(&iptables(chain == "FORWARD", chain, target, target6)).expect("rules that are taken");
            for packet in packets {
                let sent = copy(&mut router, &packet);
                let first = &sent.steps[0].packet;
                assert!(first.ip.df && first.ip.source == packet.source, "{first:?}");
                if packet.destination.is_ipv4() && chain != "INPUT" {
                    copy(&mut router, &in_ipv6(packet));
                }
            }
        }
    }
}

#[test]
fn a_copy_that_has_no_way_or_is_dropped_ends_alone() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    router.enter(|| must("ip", &["route", "add", "unreachable", "192.0.2.77"], "")).expect("a route");
    router.set("ipv4/ip_forward", "1").expect("the snapshot anew");
    router.load(&iptables(false, "FORWARD", "TEE --gateway 192.0.2.77", "TEE --gateway fe80::7")).expect("rules");
    assert_eq!(copy(&mut router, &datagram()).verdict, Verdict::Dropped);
    // A rule drops the copy alone.
    let mut rules = iptables(false, "FORWARD", "TEE --gateway 192.0.2.98", "TEE --gateway 2001:db8:1::98");
    for tables in [&mut rules.v4, &mut rules.v6] {
        tables.entry("filter").or_default().push("-A OUTPUT -p udp -j DROP".to_owned());
    }
    router.load(&rules).expect("rules that are taken");
    for packet in [datagram(), in_ipv6(datagram())] {
        assert_eq!(copy(&mut router, &packet).verdict, Verdict::Dropped);
    }
}

/// Chance decides which rule the copy ends at; on each of its ways it has left its mark before the packet is forwarded.
#[test]
fn what_a_copy_leaves_on_each_of_its_ways_is_there_for_the_packet() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let filter = [
        "-A OUTPUT -p udp -m recent --set --name copied --rsource",
        "-A OUTPUT -p udp -m statistic --mode random --probability 0.5 -j ACCEPT",
        "-A FORWARD -p udp -m recent --rcheck --name copied --rsource -j DROP",
    ];
    let mangle = ["-A PREROUTING -p udp -j TEE --gateway 192.0.2.98"];
    let rules = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect();
    let v4 = BTreeMap::from([("mangle", rules(&mangle)), ("filter", rules(&filter))]);
    router.load(&Rules { v4, ..Rules::default() }).expect("rules that are taken");
    let (answer, difference) = through(&mut router, &datagram()).expect("an answer");
    assert_eq!(difference, None);
    let [path] = answer.paths.as_slice() else { panic!("{} ways", answer.paths.len()) };
    assert_eq!(path.forward.verdict, Verdict::Dropped);
    let [copy] = path.forward.beside.as_slice() else { panic!("{} copies", path.forward.beside.len()) };
    assert_eq!(copy.ways.len(), 2);
}

#[test]
fn a_copy_of_nft_is_the_packet_as_its_rule_has_changed_it() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    for dup in [
        "dup to 198.51.100.20",
        "dup to 192.0.2.98 device \"eth0\"",
        "ip dscp set 9 dup to ip saddr map { 192.0.2.99 : 192.0.2.98, 192.0.2.98 : 198.51.100.20 }",
        "ip ttl set 5 dup to 192.0.2.98 ip ttl set 9",
    ] {
        let table = format!(
            "table ip t {{
 chain p {{ type filter hook prerouting priority -150; policy accept; udp dport 53 {dup} meta mark set 3; }}
 chain o {{ type filter hook output priority 0; policy accept; ct state untracked ip ttl <= 16; }}
 chain q {{ type filter hook postrouting priority 0; policy accept; iifname \"eth0\"; iifname \"eth1\"; oifname \"eth0\"; }}
}}
"
        );
        router.load(&Rules { nft: table, ..Rules::default() }).expect("rules that are taken");
        copy(&mut router, &datagram());
    }
}

#[test]
fn a_device_sends_a_copy_of_a_frame_as_it_is() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let table = "table netdev t {
 chain i { type filter hook ingress device \"eth0\" priority 0; policy accept; udp dport 53 meta nftrace set 1 ether daddr set 02:00:00:00:00:77 dup to \"eth1\"; }
 chain e { type filter hook egress device \"eth1\" priority 0; policy accept; udp dport 53 meta nftrace set 1 ip ttl 17 counter; }
}
";
    router.load_steps(&[("nft", "flush ruleset\n"), ("nft", table)]).expect("rules that are taken");
    let sent = copy(&mut router, &datagram());
    assert_eq!(sent.steps.last().expect("an end").packet.ip.ttl, 17);
}

/// A node that copies what comes in by `eth0` to a gateway behind `eth1`, and the gateway, which counts and drops it.
fn node_and_gateway(client: &Netns) -> (Netns, Netns) {
    let (node, gateway) = (Netns::new("node").expect("a namespace"), Netns::new("gateway").expect("a namespace"));
    let batch = |netns: &Netns, lines: &str| netns.enter(|| must("ip", &["-batch", "-"], lines)).expect("a namespace");
    batch(client, &format!("link add c0 type veth peer name eth0 netns {}\n", node.path()));
    batch(&gateway, &format!("link add eth0 type veth peer name eth1 netns {}\n", node.path()));
    batch(client, "addr add 192.0.2.99/24 dev c0\nlink set c0 up\n");
    batch(
        &node,
        "addr add 192.0.2.10/24 dev eth0\naddr add 198.51.100.1/24 dev eth1\nlink set eth0 up\nlink set eth1 up\n",
    );
    batch(&gateway, "addr add 198.51.100.20/24 dev eth0\nlink set eth0 up\nroute add default via 198.51.100.1\n");
    let set = |key: &str, value: &str| std::fs::write(format!("/proc/sys/net/ipv4/{key}"), value).expect("a setting");
    gateway.enter(|| {
        [("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("conf/eth0/rp_filter", "0")].map(|(key, on)| set(key, on))
    });
    let load = |netns: &Netns, rules: &str| {
        netns.enter(|| must("iptables-restore", &[], rules)).expect("rules that are taken");
    };
    load(&node, "*mangle\n-A PREROUTING -i eth0 -p udp -j TEE --gateway 198.51.100.20\nCOMMIT\n");
    let seen = "-A PREROUTING -p udp -m ttl --ttl-eq 63\n-A PREROUTING -p udp -m conntrack --ctstate NEW";
    load(&gateway, &format!("*mangle\n{seen}\nCOMMIT\n*filter\n-A FORWARD -d 192.0.2.10 -p udp -j DROP\nCOMMIT\n"));
    (node, gateway)
}

#[test]
fn a_copy_arrives_in_the_gateways_namespace() {
    if !crate::lab::ready::ready() {
        return;
    }
    let client = Netns::new("client").expect("a namespace");
    let (node, gateway) = node_and_gateway(&client);
    let root: PathBuf = std::env::temp_dir().join(format!("flowtrace-copies-{}", std::process::id()));
    for (name, netns) in [("n1", &node), ("n2", &gateway)] {
        let folder = root.join(format!("nodes/{name}/host"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let space = Space::new(name, Place::Host { node: name.to_owned() });
        netns.enter(|| write_space(&space, &folder, Form::Text)).expect("a snapshot");
    }
    let snapshot = load(&root).expect("a snapshot");
    std::fs::remove_dir_all(&root).expect("the folder");
    let socket = client.enter(|| UdpSocket::bind("192.0.2.99:4000")).expect("a socket");
    client.enter(|| socket.send_to(b"question", "192.0.2.10:7000")).expect("a datagram");
    let counted = || gateway.enter(|| must("iptables-save", &["-c"], "")).expect("the rules");
    let counted = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        let rules = counted();
        (rules.lines().filter(|line| line.starts_with("[1:")).count() >= 3).then_some(rules)
    });
    let counted = counted.expect("the copy at the gateway");

    let payload = Payload::Udp { source: 4000, destination: 7000 };
    let sent = Crafted { payload, data: 8, ttl: 64, tos: 0, df: true, ..to_router(datagram()) };
    let question = Question {
        packet: sent.packet(),
        from: Origin::Device { netns: NetnsId(0), device: IfName::new("eth0") },
        reply: false,
        max_paths: 8,
        verbose: false,
        established: false,
        opened_by: None,
        given: Given::default(),
    };
    let answer = explain(&snapshot, &question);
    let [path] = answer.paths.as_slice() else { panic!("{} ways", answer.paths.len()) };
    assert_eq!(path.forward.verdict, Verdict::Delivered);
    let [copy] = path.forward.beside.as_slice() else { panic!("{} copies", path.forward.beside.len()) };
    let [way] = copy.ways.as_slice() else { panic!("{} ways of the copy", copy.ways.len()) };
    assert_eq!(way.trace.verdict, Verdict::Dropped, "{:?}", way.trace.steps.last());
    let at_gateway = |step: &&Step| step.place.node.as_str() == "n2";
    let rules = way.trace.steps.iter().filter(at_gateway).filter_map(|step| match &step.decision {
        Decision::Rule { text, .. } => Some(text.clone()),
        _ => None,
    });
    let rules: Vec<String> = rules.collect();
    assert_eq!(rules.len(), 3, "{rules:?}");
    for rule in rules {
        let line = counted.lines().find(|line| line.contains(&rule)).expect("the rule");
        assert!(line.starts_with("[1:"), "{line}");
    }
    let arrived = way.trace.steps.iter().find(at_gateway).expect("the gateway");
    assert_eq!((arrived.packet.ip.ttl, arrived.packet.ip.df), (63, true));
}

/// The way of a copy that comes back by `lo` no trace of the kernel's tells from the packet's own: the rules count.
#[test]
fn a_copy_for_the_router_itself_is_delivered_whatever_its_destination_is() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let count = |chain: &str| {
        ["-i lo -p udp", "-o lo -p udp", "-p udp -m ttl --ttl-eq 16"].map(|what| format!("-A {chain} {what}"))
    };
    for (gateway, gateway6) in
        [("192.0.2.10", "2001:db8:1::10"), ("127.0.0.1", "::1"), ("198.51.100.1", "2001:db8:2::1")]
    {
        // A copy at PREROUTING would be copied there again, and so on for ever.
        for chain in ["FORWARD", "POSTROUTING"] {
            let tables = |gateway: &str| {
                let hooks = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
                let is_valid = |rule: &String| {
                    let (no_in, no_out) = (["OUTPUT", "POSTROUTING"], ["PREROUTING", "INPUT"]);
                    let of = |chains: [&str; 2]| chains.iter().any(|chain| rule.contains(&format!("-A {chain} ")));
                    let is_v6 = gateway.contains(':') && rule.contains("ttl");
                    !(rule.contains("-i lo") && of(no_in) || rule.contains("-o lo") && of(no_out) || is_v6)
                };
                let rules = hooks.iter().flat_map(|hook| count(hook)).filter(is_valid);
                let tee = format!("-A {chain} -p udp -j TEE --gateway {gateway}");
                BTreeMap::from([("mangle", rules.chain([tee]).collect())])
            };
            let rules = Rules { v4: tables(gateway), v6: tables(gateway6), ..Rules::default() };
            for packet in [datagram(), in_ipv6(datagram())] {
                router.load(&rules).expect("rules that are taken");
                let (answer, _) = through(&mut router, &packet).expect("an answer");
                let [path] = answer.paths.as_slice() else { panic!("{} ways", answer.paths.len()) };
                let [copy] = path.forward.beside.as_slice() else { panic!("{} copies", path.forward.beside.len()) };
                let [way] = copy.ways.as_slice() else { panic!("{} ways of the copy", copy.ways.len()) };
                let steps = path.forward.steps.iter().chain(&way.trace.steps);
                let mut said: BTreeMap<String, u64> = BTreeMap::new();
                for step in steps {
                    if let Decision::Rule { chain, text, .. } = &step.decision {
                        *said.entry(format!("{chain} {text}")).or_default() += 1;
                    }
                }
                let program = if packet.source.is_ipv4() { "iptables-save" } else { "ip6tables-save" };
                let saved = router.enter(|| must(program, &["-c", "-t", "mangle"], "")).expect("the rules");
                let counted = saved.lines().filter_map(|line| {
                    let (count, rule) = line.strip_prefix('[')?.split_once("] -A ")?;
                    let count: u64 = count.split_once(':')?.0.parse().ok()?;
                    let chain = rule.split(' ').next()?;
                    (count > 0).then(|| (format!("{chain} -A {rule}"), count))
                });
                assert_eq!(said, counted.collect(), "{gateway} {chain} {packet:?}");
                assert_eq!(way.trace.verdict, Verdict::Delivered, "{gateway} {chain}");
            }
        }
    }
}
