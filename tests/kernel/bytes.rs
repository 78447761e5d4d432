//! Bytes that rules of nft read wherever they stand, and what a frame is at each hook: once a packet is there, the kernel
//! has one answer.

use flowtrace::net::VlanProtocol::{Customer, Service};
use flowtrace::trace::{Decision, Verdict};

use crate::lab::netns::must;
use crate::lab::rules::craft::{Crafted, Payload, Tag};
use crate::lab::rules::judge::through;
use crate::lab::rules::router::{BRIDGE_MAC, BRIDGE_SETTINGS, Router, SERVER_MAC};

/// Frames without a tag, with one and with two.
const TAGS: [&[Tag]; 6] = [
    &[],
    &[(Customer, 10, 3)],
    &[(Customer, 0, 0)],
    &[(Customer, 10, 0), (Customer, 20, 3)],
    &[(Service, 10, 0), (Customer, 20, 3)],
    &[(Customer, 0, 0), (Customer, 0, 0)],
];

/// What is asked of each.
const ASKED: &str = "@ll,112,16 0x4500
@ll,112,16 0x6000
@ll,112,4 4
@ll,96,32 0x08004500
@ll,88,24 0x990800
@ll,128,16 0x0800
@ll,128,16 48
@ll,240,8 64
@ll,240,16 0xc000
@ll,240,16 0xc633
@nh,0,4 4
@nh,0,16 20
@nh,0,16 0x6014
@nh,16,16 0x0800
@nh,16,16 48
@nh,96,8 64
@nh,128,32 0xc0000263
@nh,104,8 17
meta pkttype host
meta pkttype other
meta pkttype { broadcast, multicast }
meta pkttype != other";

/// Each line of what is asked behind another condition, and its counter.
fn counting(asked: &str, of: &str) -> String {
    asked.lines().flat_map(|line| ["  ", of, " ", line, " counter\n"]).collect()
}

/// The same of frames that are no markers, and traced.
fn asking() -> String {
    format!("  ether daddr != 02:00:00:00:00:ee meta nftrace set 1\n{}", counting(ASKED, ""))
}

fn in_ipv6(packet: Crafted) -> Crafted {
    let address = |text: &str| text.parse().expect("an address");
    Crafted { source: address("2001:db8:1::99"), destination: address("2001:db8:2::7"), ..packet }
}

/// What becomes of a packet, of which flowtrace knows the one way and leaves nothing open.
fn judged(router: &mut Router, packet: &Crafted) -> Verdict {
    let (answer, difference) = through(router, packet).expect("an answer");
    assert_eq!(difference, None);
    let [path] = answer.paths.as_slice() else { panic!("{} ways: {packet:?}", answer.paths.len()) };
    let open: Vec<&String> =
        answer.gaps.iter().map(|gap| &gap.what).filter(|what| what.contains("matches if")).collect();
    assert!(open.is_empty() || packet.local || packet.source.is_ipv6(), "{packet:?} {open:#?}");
    path.forward.verdict
}

#[test]
fn a_device_and_the_stack_show_bytes_and_types() {
    if !crate::lab::ready::ready() {
        return;
    }
    let of_ip = ["prerouting", "forward", "postrouting"].map(|hook| {
        format!(" chain {hook} {{\n  type filter hook {hook} priority 0; policy accept;\n{} }}\n", asking())
    });
    let mut router = Router::new(0).expect("the stage");
    let rules = format!(
        "table netdev t {{
 chain i {{
  type filter hook ingress device \"eth0\" priority 0; policy accept;
{asked} }}
 chain e {{
  type filter hook egress device \"eth1\" priority 0; policy accept;
{asked} }}
}}
table inet i {{
{}}}
",
        of_ip.concat(),
        asked = asking()
    );
    router.load_steps(&[("nft", &rules)]).expect("rules that are taken");
    for tags in TAGS {
        for packet in [Crafted { tags, ..Crafted::datagram() }, in_ipv6(Crafted { tags, ..Crafted::datagram() })] {
            judged(&mut router, &packet);
        }
    }
    let own = Crafted { local: true, source: [198, 51, 100, 1].into(), ..Crafted::datagram() };
    judged(&mut router, &own);
}

#[test]
fn a_bridge_shows_bytes_and_types() {
    if !crate::lab::ready::ready() {
        return;
    }
    let chains = ["prerouting", "input", "forward", "output", "postrouting"].map(|hook| {
        format!(" chain {hook} {{\n  type filter hook {hook} priority 0; policy accept;\n{} }}\n", asking())
    });
    let of_ip = ["prerouting", "forward", "postrouting"].map(|hook| {
        format!(" chain {hook} {{\n  type filter hook {hook} priority 0; policy accept;\n{} }}\n", asking())
    });
    let rules = format!("table bridge t {{\n{}}}\ntable inet i {{\n{}}}\n", chains.concat(), of_ip.concat());
    for settings in BRIDGE_SETTINGS {
        let mut router = Router::bridged(settings).expect("a bridge");
        router.load_steps(&[("nft", &rules)]).expect("rules that are taken");
        for tags in TAGS {
            for packet in [Crafted { tags, ..Crafted::datagram() }, in_ipv6(Crafted { tags, ..Crafted::datagram() })] {
                judged(&mut router, &Crafted { to: SERVER_MAC, ..packet });
            }
            judged(&mut router, &Crafted { to: BRIDGE_MAC, tags, ..Crafted::datagram() });
        }
    }
}

/// What stands where ports would is read whatever the protocol is.
#[test]
fn what_stands_in_place_of_ports_is_read() {
    if !crate::lab::ready::ready() {
        return;
    }
    let asked = "th sport 0x0800
th sport 0x0801
th sport 0
th dport 0
th dport 0-65535
@th,0,8 8
@th,32,16 7
@th,16,16 0
@ih,0,8 0";
    let rules = counting(asked, "");
    let rules = format!(
        "table inet i {{\n chain f {{\n  type filter hook forward priority 0; policy accept;\n{rules} }}\n}}\n"
    );
    let mut router = Router::new(0).expect("the stage");
    router.load_steps(&[("nft", &rules)]).expect("rules that are taken");
    let echo = Payload::Icmp { kind: 8, code: 0, id: 7 };
    for payload in [Payload::Other(50), Payload::Other(99)] {
        for packet in [Crafted { payload, ..Crafted::datagram() }, in_ipv6(Crafted { payload, ..Crafted::datagram() })]
        {
            judged(&mut router, &packet);
        }
    }
    // Its checksum nobody knows.
    let (answer, difference) =
        through(&mut router, &Crafted { payload: echo, ..Crafted::datagram() }).expect("an answer");
    assert_eq!(difference, None);
    let open = answer.gaps.iter().filter(|gap| gap.what.starts_with("a rule without effect matches if th dport of"));
    // nft prints `@th,16,16` as the port, too; that any number is one is certain.
    assert_eq!(open.count(), 2, "{:#?}", answer.gaps);
}

/// How often each rule of a chain of `counter` rules has counted.
fn counted(router: &Router) -> Vec<u64> {
    let listed = router.enter(|| must("nft", &["list", "chain", "netdev", "n", "e"], "")).expect("the chain");
    let counts =
        listed.lines().filter_map(|line| line.split_once("counter packets ")?.1.split(' ').next()?.parse().ok());
    counts.collect()
}

/// The kernel traces no frame with a tag that is about to leave (`nf_trace_fill_ll_header` in `nf_tables_trace.c`), so that
/// the rules' counters are asked.
#[test]
fn a_bridges_port_shows_bytes_and_types_of_what_leaves() {
    if !crate::lab::ready::ready() {
        return;
    }
    let asked = counting(ASKED, "ether saddr 02:00:00:00:00:99 ether daddr 02:00:00:00:00:77");
    let rules = format!(
        "table netdev n {{
 chain e {{
  type filter hook egress device \"eth1\" priority 0; policy accept;
{asked} }}
}}
"
    );
    for settings in BRIDGE_SETTINGS {
        let mut router = Router::bridged(settings).expect("a bridge");
        router.load_steps(&[("nft", &rules)]).expect("rules that are taken");
        for tags in TAGS {
            let packet = Crafted { to: SERVER_MAC, tags, ..Crafted::datagram() };
            let before = counted(&router);
            let (answer, _) = through(&mut router, &packet).expect("an answer");
            let after = counted(&router);
            let matched = (1..).zip(before.iter().zip(&after)).filter(|(_, (before, after))| before != after);
            let [path] = answer.paths.as_slice() else { panic!("{} ways: {packet:?}", answer.paths.len()) };
            let said = path.forward.steps.iter().filter_map(|step| match &step.decision {
                Decision::Rule { table, index, .. } if table == "n" => Some(*index),
                _ => None,
            });
            let matched: Vec<u32> = matched.map(|(index, _)| index).collect();
            assert_eq!(said.collect::<Vec<_>>(), matched, "{settings:?} {packet:?}");
            assert!(matched.len() > 3);
        }
    }
}

/// Objects of a table that count: each packet of 48 bytes is one of those that a quota still allows, or not.
#[test]
fn a_quota_of_a_table_has_what_its_listing_says() {
    if !crate::lab::ready::ready() {
        return;
    }
    let table = |hook: &str| {
        format!(
            "table ip t {{
 quota none {{ over 25 mbytes }}
 quota whole {{ over 47 bytes }}
 quota left {{ 48 bytes }}
 quota gone {{ 2 kbytes used 2047 bytes }}
 quota twice {{ over 96 bytes }}
 quota thrice {{ over 95 bytes }}
 limit l {{ rate 100/second }}
 chain f {{
  type filter hook {hook} priority 0; policy accept;
  ip daddr != 192.0.2.200 quota name \"none\" counter
  ip daddr != 192.0.2.200 quota name \"whole\" counter
  ip daddr != 192.0.2.200 quota name \"left\" counter
  ip daddr != 192.0.2.200 quota name \"gone\" counter
  ip daddr != 192.0.2.200 quota name \"twice\" counter
  ip daddr != 192.0.2.200 quota name \"twice\" counter
  ip daddr != 192.0.2.200 quota name \"thrice\" counter
  ip daddr != 192.0.2.200 quota name \"thrice\" counter
  quota name ip saddr map {{ 192.0.2.99 : \"whole\", 192.0.2.98 : \"none\" }} counter
  quota name ip saddr map {{ 192.0.2.98 : \"whole\" }} counter
  limit name ip saddr map {{ 192.0.2.98 : \"l\" }} drop
 }}
}}
"
        )
    };
    let mut router = Router::new(0).expect("the stage");
    for hook in ["forward", "postrouting"] {
        router.load_steps(&[("nft", "flush ruleset\n"), ("nft", &table(hook))]).expect("rules that are taken");
        judged(&mut router, &Crafted::datagram());
    }
    // With one that lets the packet through the end depends on it.
    let limited = table("forward").replace("map { 192.0.2.98 : \"l\" }", "map { 192.0.2.99 : \"l\" }");
    router.load_steps(&[("nft", "flush ruleset\n"), ("nft", &limited)]).expect("rules that are taken");
    let (answer, difference) = through(&mut router, &Crafted::datagram()).expect("an answer");
    assert_eq!(difference, None);
    assert!(answer.paths.len() == 2 && answer.gaps.iter().any(|gap| gap.what.contains("`limit name \"l\"`")));
}
