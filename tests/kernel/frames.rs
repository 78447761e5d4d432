//! Rules of nft's families of frames, `netdev` and `bridge`: what they do to a frame, and the errors that they make of it,
//! which go back past the stack.

use flowtrace::trace::Verdict;
use nix::errno::Errno;

use crate::lab::flannel::FlannelBackend;
use crate::lab::judge::{must_agree, must_agree_but_for};
use crate::lab::probe::{Probe, Proto};
use crate::lab::rules::craft::{Crafted, Datagram, Payload};
use crate::lab::rules::judge::{answered_with, through};
use crate::lab::rules::router::{Router, Rules};
use crate::lab::scenario::Scenario;
use crate::lab::situations::two_nodes;

/// A datagram past the router.
fn datagram(port: u16) -> Crafted {
    Crafted { payload: Payload::Udp { source: 4000, destination: port }, ttl: 17, tos: 0x20, ..Crafted::datagram() }
}

fn in_ipv6(packet: Crafted) -> Crafted {
    let address = |text: &str| text.parse().expect("an address");
    Crafted { source: address("2001:db8:1::99"), destination: address("2001:db8:2::7"), ..packet }
}

/// What a device rejects, with chains of the stack that would let no error out.
const REJECTING: &str = "table netdev t {
 chain i {
  type filter hook ingress device \"eth0\" priority 0; policy accept;
  meta protocol ip6 meta nftrace set 1
  ip saddr 192.0.2.99 ip daddr != 192.0.2.200 meta nftrace set 1
  udp dport 7000 reject
  udp dport 7001 reject with icmp type admin-prohibited
  udp dport 7002 reject with icmpv6 type no-route
  udp dport 7003 reject
  meta l4proto { icmp, icmpv6 } reject with icmpx type host-unreachable
  meta l4proto tcp reject with tcp reset
 }
 chain e {
  type filter hook egress device \"eth0\" priority 0; policy accept;
  ip saddr 198.51.100.8 meta nftrace set 1
  ip saddr 198.51.100.8 drop
 }
}
table inet o {
 chain o {
  type filter hook output priority 0; policy drop;
 }
 chain p {
  type filter hook postrouting priority 0; policy drop;
 }
}
";

#[test]
fn a_device_rejects_a_frame_as_its_destination_would() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    router.load_steps(&[("nft", REJECTING)]).expect("rules that are taken");
    let (client, server) = ([192, 0, 2, 99].into(), [198, 51, 100, 7].into());
    let sent = Datagram { source: (server, 53), destination: (client, 4000) };
    let about =
        |kind, code| Crafted { payload: Payload::About { kind, code, datagram: sent, quoted: 8 }, ..datagram(0) };
    let tcp = |flags| Crafted { payload: Payload::Tcp { source: 4000, destination: 80, flags }, ..datagram(0) };
    let echo = |kind| Crafted { payload: Payload::Icmp { kind, code: 0, id: 7 }, ..datagram(0) };
    let long = Crafted { data: 1300, ..datagram(7003) };
    let other_server = Crafted { destination: [198, 51, 100, 8].into(), ..datagram(7003) };
    let rejected = [
        datagram(7000),
        datagram(7001),
        in_ipv6(datagram(7000)),
        in_ipv6(datagram(7002)),
        long,
        in_ipv6(long),
        tcp(0x02),
        tcp(0x10),
        in_ipv6(tcp(0x02)),
        echo(8),
        in_ipv6(echo(128)),
        // An error other than about what can't be reached is answered too.
        about(11, 0),
        other_server,
    ];
    for packet in rejected.into_iter().chain([datagram(7000)]) {
        let (answer, difference) = through(&mut router, &packet).expect("an answer");
        assert_eq!(difference, None);
        let [path] = answer.paths.as_slice() else { panic!("{} ways", answer.paths.len()) };
        assert_eq!(path.forward.verdict, Verdict::Rejected, "{packet:?}");
        let error = path.reply.as_ref().expect("an error");
        assert_eq!(error.steps[0].packet.ip.source, packet.destination, "{packet:?}");
    }
    for packet in [about(3, 3), tcp(0x04)] {
        let (answer, difference) = through(&mut router, &packet).expect("an answer");
        assert_eq!(difference, None);
        assert_eq!(answer.paths[0].forward.verdict, Verdict::Dropped, "{packet:?}");
    }
}

/// A bridge that rejects, on a node whose own chains let no error out.
fn rejecting(name: &str, hook: &str) -> Scenario {
    let mut cluster = two_nodes(name, FlannelBackend::HostGw);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    let n1 = scenario.space("n1");
    n1.rules4().insert("filter", "OUTPUT -p icmp -j DROP");
    n1.rules4().insert("filter", "OUTPUT -p tcp -j DROP");
    let table = format!(
        "table bridge t {{
 chain i {{
  type filter hook {hook} priority 1; policy accept;
  udp dport 7001 reject
  udp dport 7002 reject with icmp type admin-prohibited
  udp dport 7003 reject
  tcp dport 7004 reject with tcp reset
 }}
 chain o {{
  type filter hook output priority 0; policy accept;
  icmp type destination-unreachable ip saddr 10.244.1.3 drop
 }}
 chain p {{
  type filter hook postrouting priority 0; policy accept;
  ip saddr 10.244.2.2 ip protocol icmp icmp code port-unreachable drop
 }}
}}
"
    );
    n1.nft.push_str(&table);
    scenario
}

fn takes_bridge_rejects() -> bool {
    let table = "table bridge t {\n chain i {\n  type filter hook prerouting priority 0;\n  reject\n }\n}\n";
    crate::lab::ready::ready() && Router::new(0).expect("the stage").load_steps(&[("nft", table)]).is_ok()
}

#[test]
fn a_bridge_rejects_a_frame_as_its_destination_would() {
    if !takes_bridge_rejects() {
        // No package brings it, so that this is no skipped test: such a kernel has no such rule to be judged.
        eprintln!("NOT ASKED: this kernel has no reject for bridges (CONFIG_NFT_BRIDGE_REJECT)");
        return;
    }
    let ask = |to: &str, proto, port| Probe::ask("default/pod1", to, proto, to, port);
    let mut scenario = rejecting("bridge-rejects", "prerouting");
    for to in ["10.244.1.3", "10.244.2.2"] {
        scenario.probe(ask(to, Proto::Udp, 7001).silent());
        scenario.probe(ask(to, Proto::Tcp, 7004).error(Errno::ECONNREFUSED));
    }
    scenario.probe(ask("10.244.1.3", Proto::Udp, 7002).silent());
    scenario.probe(ask("10.244.2.2", Proto::Udp, 7002).error(Errno::EHOSTUNREACH));
    scenario.probe(ask("fd00:10:244:2::2", Proto::Udp, 7003).error(Errno::ECONNREFUSED));
    must_agree(scenario, "");
    // What is for the bridge itself.
    let mut scenario = rejecting("bridge-rejects-own", "input");
    scenario.probe(ask("10.244.1.3", Proto::Udp, 7003).answered_by("default/pod3"));
    scenario.probe(ask("10.244.2.2", Proto::Tcp, 7004).error(Errno::ECONNREFUSED));
    scenario.probe(ask("10.244.2.2", Proto::Udp, 7003).silent());
    scenario.probe(ask("fd00:10:244:2::2", Proto::Udp, 7003).error(Errno::ECONNREFUSED));
    must_agree(scenario, "");
}

/// A node with rules at its bridge, where what pod1 sends comes in.
fn rewriting(name: &str, netfilter: bool, rules: &str) -> Scenario {
    let mut scenario = two_nodes(name, FlannelBackend::HostGw).scenario();
    let n1 = scenario.space("n1");
    n1.sysctl("bridge/bridge-nf-call-iptables", u8::from(netfilter));
    let table = format!(
        "table bridge t {{
 chain i {{
  type filter hook prerouting priority -310; policy accept;
  ip saddr 10.244.1.2 meta l4proto {{ tcp, udp }} th dport 7000-7019 meta nftrace set 1
  {rules}
 }}
}}
"
    );
    n1.nft.push_str(&table);
    scenario
}

#[test]
fn a_bridge_gives_frames_other_addresses_and_types() {
    const POD3: &str = "0a:58:0a:f4:01:03";
    let (bridge, nobody) = ("ce:00:00:00:00:01", "0a:58:0a:f4:01:77");
    let rules = format!(
        "udp dport 7001 ether daddr set {POD3}
  udp dport 7002 ether daddr set {nobody}
  udp dport 7003 ether daddr set {bridge}
  udp dport 7004 ether daddr set {bridge} meta pkttype set host
  udp dport 7005 meta pkttype set other
  udp dport 7006 ether daddr set {POD3} meta pkttype host drop
  udp dport 7007 ether daddr set {nobody} ether daddr set {bridge} meta pkttype set other
  udp dport 7008 meta pkttype host drop
  udp dport 7009 ether saddr set {nobody} ether saddr {nobody} drop
  udp dport 7010 ether daddr set ip daddr map {{ 10.244.1.3 : {bridge} }} meta pkttype other counter
  udp dport 7011 meta pkttype set broadcast
  udp dport 7014 ether daddr set ff:ff:ff:ff:ff:ff
  udp dport 7015 ether daddr set 01:00:5e:00:00:07
  udp dport 7016 ether daddr set ff:ff:ff:ff:ff:ff meta pkttype set broadcast
  tcp dport 7017 ether daddr set ff:ff:ff:ff:ff:ff
 }}
 chain o {{
  type filter hook output priority 0; policy accept;
  udp sport 7012 ether saddr {bridge} meta nftrace set 1 drop
 }}
 chain p {{
  type filter hook postrouting priority 0; policy accept;
  udp sport 7013 meta nftrace set 1 ether saddr set {nobody}"
    );
    for netfilter in [false, true] {
        let mut scenario = rewriting("bridge-multicasts", netfilter, &rules);
        for to in ["10.244.1.3", "10.244.2.2"] {
            scenario.probe(Probe::ask("default/pod1", to, Proto::Udp, to, 7015));
        }
        must_agree_but_for(scenario, "no querier of multicast");
        let mut scenario = rewriting("bridge-rewrites", netfilter, &rules);
        for to in ["10.244.1.3", "10.244.2.2"] {
            for port in (7000..=7013).filter(|port| *port != 7011) {
                scenario.probe(Probe::ask("default/pod1", to, Proto::Udp, to, port));
            }
        }
        for to in ["10.244.1.3", "10.244.2.2"] {
            for port in [7011, 7014] {
                scenario.probe(Probe::ask("default/pod1", to, Proto::Udp, to, port));
            }
        }
        scenario.probe(Probe::ask("default/pod1", "10.244.2.2", Proto::Udp, "10.244.2.2", 7016));
        scenario.probe(Probe::ask("default/pod1", "10.244.2.2", Proto::Tcp, "10.244.2.2", 7017));
        must_agree(scenario, "");
    }
}

/// What the copies that go out of a bridge's ports make of the connection is so for the one of the bridge's own stack, too.
#[test]
fn the_copies_of_a_frame_for_many_share_their_connection() {
    let rules = "udp dport 7001-7008 ether daddr set ff:ff:ff:ff:ff:ff
  udp dport 7005-7008 meta pkttype set broadcast";
    let mut scenario = rewriting("bridge-floods", true, rules);
    let n1 = scenario.space("n1");
    for rule in [
        "POSTROUTING -o cni0 -p udp --dport 7002 -j SNAT --to-source 10.244.1.1",
        "INPUT -p udp --dport 7003 -j SNAT --to-source 10.244.1.77",
        "INPUT -p udp --dport 7007 -j SNAT --to-source 10.244.1.77",
    ] {
        n1.rules4().insert("nat", rule);
    }
    for rule in ["FORWARD -o cni0 -p udp --dport 7004 -j DROP", "FORWARD -o cni0 -p udp --dport 7008 -j DROP"] {
        n1.rules4().insert("filter", rule);
    }
    for to in ["10.244.2.2", "10.244.1.1", "192.0.2.12", "192.0.2.11"] {
        for port in 7000..=7008 {
            scenario.probe(Probe::ask("default/pod1", to, Proto::Udp, to, port));
        }
    }
    must_agree(scenario, "");
}

/// nft prints the addresses of ebtables' targets without leading zeros.
#[test]
fn a_bridge_gives_frames_the_addresses_that_ebtables_has() {
    let dnat = [(7001, "0a:58:0a:f4:01:03"), (7002, "0a:58:0a:f4:01:77"), (7003, "ce:00:00:00:00:01")];
    let dnat =
        dnat.map(|(port, to)| format!("-A PREROUTING -p IPv4 --ip-proto udp --ip-dport {port} -j dnat --to-dst {to}"));
    let redirect = [
        ("PREROUTING", 7005, "ACCEPT"),
        ("PREROUTING", 7006, "CONTINUE"),
        ("AWAY", 7006, "RETURN"),
        ("AWAY", 7007, "DROP"),
    ];
    let redirect = redirect.map(|(chain, port, target)| {
        format!("-A {chain} -p IPv4 --ip-proto udp --ip-dport {port} -j redirect --redirect-target {target}")
    });
    let rules = format!(
        "*nat\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n{}\n\
         :AWAY RETURN\n{}\n-A PREROUTING -p IPv4 --ip-proto udp --ip-dport 7006:7007 -j AWAY\n\
         -A POSTROUTING -p IPv4 --ip-proto udp --ip-dport 7004 -j snat --to-src 02:00:00:00:01:01\n",
        dnat.join("\n"),
        redirect.join("\n")
    );
    let mut scenario = rewriting("ebtables", false, "");
    scenario.space("n1").ebtables = rules;
    for to in ["10.244.1.3", "10.244.2.2"] {
        for port in 7000..=7007 {
            scenario.probe(Probe::ask("default/pod1", to, Proto::Udp, to, port));
        }
    }
    must_agree(scenario, "");
}

#[test]
fn a_device_gives_frames_other_addresses_and_types() {
    if !crate::lab::ready::ready() {
        return;
    }
    let rules = "table netdev t {
 chain i {
  type filter hook ingress device \"eth0\" priority 0; policy accept;
  ip saddr 192.0.2.99 ip daddr != 192.0.2.200 meta nftrace set 1
  udp dport 7001 ether daddr set 02:00:00:00:00:ee ether daddr 02:00:00:00:00:ee meta pkttype host counter
  udp dport 7002 meta pkttype set other
  udp dport 7003 ether saddr set 02:00:00:00:00:ee
  udp dport 7003 reject
 }
 chain e {
  type filter hook egress device \"eth1\" priority 0; policy accept;
  ether saddr 02:00:00:00:00:11 udp dport 7005 ether daddr 02:00:00:00:00:77 drop
 }
}
";
    let mut router = Router::new(0).expect("the stage");
    router.load_steps(&[("nft", rules)]).expect("rules that are taken");
    let (left, dropped) = (Verdict::Left, Verdict::Dropped);
    for (port, wanted) in
        [(7000, left), (7001, left), (7002, dropped), (7003, Verdict::Rejected), (7004, left), (7005, dropped)]
    {
        let (answer, difference) = through(&mut router, &datagram(port)).expect("an answer");
        assert_eq!(difference, None);
        assert_eq!(answer.paths[0].forward.verdict, wanted, "{port}");
    }
}

/// What is for many is taken by UDP and ICMP, and by nobody else; and no error is made about it.
#[test]
fn a_stack_takes_less_of_frames_for_many() {
    if !crate::lab::ready::ready() {
        return;
    }
    let rules = "table netdev t {
 chain i {
  type filter hook ingress device \"eth0\" priority 0; policy accept;
  ip saddr 192.0.2.99 ip daddr != 192.0.2.200 meta nftrace set 1
  ip6 saddr 2001:db8:1::99 meta nftrace set 1
  meta pkttype set multicast
 }
}
";
    let mut router = Router::new(0).expect("the stage");
    let own = |payload| Crafted { destination: [192, 0, 2, 10].into(), payload, ..datagram(0) };
    let syn = Payload::Tcp { source: 4000, destination: 80, flags: 0x02 };
    let echo = Payload::Icmp { kind: 8, code: 0, id: 7 };
    let both = |packet: Crafted| [packet, in_ipv6(packet)];
    let refusing = "table inet r {
 chain i {
  type filter hook input priority 0; policy accept;
  udp dport 7009 reject
 }
}
";
    router.load_steps(&[("nft", rules)]).expect("rules that are taken");
    let spent = Crafted { ttl: 1, ..datagram(7000) };
    for packet in both(datagram(7000)).into_iter().chain([spent]) {
        let (answer, difference) = through(&mut router, &packet).expect("an answer");
        assert_eq!(difference, None);
        assert_eq!(answer.paths[0].forward.verdict, Verdict::Dropped, "{packet:?}");
    }
    let rules = Rules { nft: format!("{rules}{refusing}"), ..Rules::default() };
    let sctp = Payload::Sctp { source: 4000, destination: 80 };
    let refused = Payload::Udp { source: 4000, destination: 7009 };
    for (payload, verdict) in
        [(echo, Verdict::Delivered), (syn, Verdict::Dropped), (sctp, Verdict::Dropped), (refused, Verdict::Dropped)]
    {
        let path = answered_with(&mut router, &rules, &own(payload)).expect("the kernel's way");
        assert_eq!((path.forward.verdict, path.reply.is_some()), (verdict, verdict == Verdict::Delivered));
    }
}

/// A bridge refuses what comes from a group, and what comes from nowhere.
#[test]
fn a_bridge_takes_no_frame_from_a_group() {
    let mut scenario = two_nodes("bridge-refuses", FlannelBackend::HostGw).scenario();
    let pod = scenario.space("default/pod1");
    pod.nft.push_str(
        "table netdev t {
 chain e {
  type filter hook egress device \"eth0\" priority 0; policy accept;
  ip saddr 10.244.1.2 meta nftrace set 1
  udp dport 7001 ether saddr set 01:00:5e:00:00:01
  udp dport 7002 ether saddr set 00:00:00:00:00:00
  udp dport 7003 ether saddr set 0a:58:0a:f4:01:77
 }
}
",
    );
    for to in ["10.244.1.3", "10.244.2.2"] {
        for port in 7000..=7002 {
            scenario.probe(Probe::ask("default/pod1", to, Proto::Udp, to, port));
        }
    }
    must_agree(scenario, "");
}
