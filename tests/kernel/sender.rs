//! From whom a frame comes that a rule asks about: the neighbour table tells, or the question does.

use std::collections::BTreeMap;

use flowtrace::net::MacAddr;
use flowtrace::trace::Verdict;

use crate::lab::rules::craft::{Crafted, Payload};
use crate::lab::rules::judge::unframed;
use crate::lab::rules::router::{Router, Rules, link};

/// A datagram past the router, from a neighbour or from farther away.
fn datagram(source: &str) -> Crafted {
    let source: std::net::IpAddr = source.parse().expect("an address");
    let destination = if source.is_ipv4() { "198.51.100.7" } else { "2001:db8:2::7" };
    let payload = Payload::Udp { source: 20_000, destination: 80 };
    let destination = destination.parse().expect("an address");
    Crafted { source, destination, payload, data: 4, ..Crafted::datagram() }
}

const DROPPED: bool = true;
const LEFT: bool = false;

/// What is asked for the client's address, and what becomes of its packets.
fn cases() -> Vec<(Rules, bool)> {
    let client = link(&Crafted::datagram()).source;
    let iptables = |legacy: bool, ipset: &str, asked: &str| {
        let tables = BTreeMap::from([("filter", vec![format!("-A FORWARD {asked} -j DROP")])]);
        let ipset = ipset.lines().map(str::to_owned).collect();
        Rules { ipset, v4: tables.clone(), v6: tables, legacy, ..Rules::default() }
    };
    let nft = |asked: &str| {
        let hook = "type filter hook forward priority 0; policy accept;";
        Rules { nft: format!("table inet t {{\n chain c {{\n  {hook}\n  {asked} drop\n }}\n}}\n"), ..Rules::default() }
    };
    let mut cases = vec![
        (nft(&format!("ether saddr {client}")), DROPPED),
        (nft(&format!("ether saddr != {client}")), LEFT),
        (nft("ether saddr { 02:00:00:00:00:01, 02:00:00:00:00:02 }"), LEFT),
        (nft("@ll,48,24 0x020000"), DROPPED),
        (nft("@ll,64,32 0x98"), LEFT),
        (nft("@ll,88,8 0x99"), DROPPED),
    ];
    for legacy in [false, true] {
        cases.extend([
            (iptables(legacy, "", &format!("-m mac --mac-source {client}")), DROPPED),
            (iptables(legacy, "", &format!("-m mac ! --mac-source {client}")), LEFT),
            (iptables(legacy, &format!("create s hash:mac\nadd s {client}"), "-m set --match-set s src"), DROPPED),
        ]);
    }
    cases
}

/// Loads rules. Not every kernel has every type of set.
fn is_taken(router: &mut Router, rules: &Rules) -> bool {
    match router.load(rules) {
        Err(error) if error.contains("set type not supported") => false,
        loaded => loaded.map(|()| true).expect("rules that are taken"),
    }
}

#[test]
fn a_frame_comes_from_the_neighbour_that_has_its_source() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    for (rules, dropped) in cases() {
        if !is_taken(&mut router, &rules) {
            continue;
        }
        for source in ["192.0.2.99", "2001:db8:1::99"] {
            let (answer, difference) = unframed(&mut router, &datagram(source), None).expect("an answer");
            assert_eq!(difference, None, "{rules:?}");
            let [path] = answer.paths.as_slice() else { panic!("{} ways: {rules:?}", answer.paths.len()) };
            assert_eq!(path.forward.verdict == Verdict::Dropped, dropped, "{rules:?}");
            let told = answer.gaps.iter().find(|gap| gap.what.contains("is taken to come from"));
            assert!(told.is_some_and(|gap| gap.evidence.len() == 1), "{:?}", answer.gaps);
        }
    }
}

#[test]
fn a_question_says_from_whom_a_frame_comes() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let farther = datagram("203.0.113.5");
    for (rules, dropped) in cases() {
        if !is_taken(&mut router, &rules) {
            continue;
        }
        let (answer, difference) = unframed(&mut router, &farther, None).expect("an answer");
        assert_eq!(difference, None, "{rules:?}");
        assert_eq!(answer.paths.len(), 2, "{rules:?}");
        assert!(answer.gaps.iter().all(|gap| gap.what.contains("--mac")), "{:?}", answer.gaps);
        let (answer, difference) =
            unframed(&mut router, &farther, Some(link(&Crafted::datagram()).source)).expect("an answer");
        assert_eq!(difference, None, "{rules:?}");
        let [path] = answer.paths.as_slice() else { panic!("{} ways: {rules:?}", answer.paths.len()) };
        assert_eq!((path.forward.verdict == Verdict::Dropped, answer.gaps.len()), (dropped, 0), "{:?}", answer.gaps);
    }
}

/// What a set keeps of an address and its link address.
#[test]
fn sets_of_both_addresses_are_asked() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let (client, other) = (link(&Crafted::datagram()).source, MacAddr([2, 0, 0, 0, 0, 1]));
    for (set, mac, dropped) in [
        ("bitmap:ip,mac range 192.0.2.0/24", client, DROPPED),
        ("bitmap:ip,mac range 192.0.2.0/24", other, LEFT),
        ("hash:ip,mac", client, DROPPED),
        ("hash:ip,mac", other, LEFT),
    ] {
        let rule = "-A FORWARD -m set --match-set s src,src -j DROP".to_owned();
        let ipset = vec![format!("create s {set}"), format!("add s 192.0.2.99,{mac}")];
        let rules = Rules { ipset, v4: BTreeMap::from([("filter", vec![rule])]), ..Rules::default() };
        if !is_taken(&mut router, &rules) {
            continue;
        }
        for given in [None, Some(client)] {
            let (answer, difference) = unframed(&mut router, &datagram("192.0.2.99"), given).expect("an answer");
            assert_eq!(difference, None, "{rules:?}");
            let [path] = answer.paths.as_slice() else { panic!("{} ways: {rules:?}", answer.paths.len()) };
            assert_eq!(path.forward.verdict == Verdict::Dropped, dropped, "{rules:?}");
        }
    }
}

/// The router takes a frame that is for its own device.
#[test]
fn a_frame_is_for_the_device_that_takes_it() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let own = link(&datagram("192.0.2.99")).destination;
    let nft = |hook: &str, asked: &str| {
        let hook = format!("type filter hook {hook} priority 0; policy accept;");
        Rules { nft: format!("table inet t {{\n chain c {{\n  {hook}\n  {asked} drop\n }}\n}}\n"), ..Rules::default() }
    };
    // A device's chains are traced where they say so.
    let at_device = |asked: &str| {
        let rules = nft("ingress device \"eth0\"", &format!("ip daddr 198.51.100.7 meta nftrace set 1\n  {asked}"));
        Rules { nft: rules.nft.replace("inet", "netdev"), ..rules }
    };
    let mut cases = vec![
        (nft("forward", &format!("ether daddr {own}")), DROPPED),
        (nft("forward", &format!("ether daddr != {own}")), LEFT),
        (nft("prerouting", "@ll,0,48 0x020000000010"), DROPPED),
        (nft("prerouting", "ether daddr 02:00:00:00:00:99"), LEFT),
        (at_device(&format!("ether daddr {own} ip daddr 198.51.100.7")), DROPPED),
        (at_device("ip daddr 198.51.100.7 meta pkttype host"), DROPPED),
        (at_device("ip daddr 198.51.100.7 meta pkttype != host"), LEFT),
    ];
    for legacy in [false, true] {
        let rule = "-A FORWARD -m set --match-set s dst -j DROP".to_owned();
        let ipset = vec!["create s hash:mac".to_owned(), format!("add s {own}")];
        let tables = BTreeMap::from([("filter", vec![rule])]);
        cases.push((Rules { ipset, v4: tables, legacy, ..Rules::default() }, DROPPED));
    }
    for (rules, dropped) in cases {
        if !is_taken(&mut router, &rules) {
            continue;
        }
        for given in [None, Some(link(&datagram("192.0.2.99")).source)] {
            let (answer, difference) = unframed(&mut router, &datagram("192.0.2.99"), given).expect("an answer");
            assert_eq!(difference, None, "{rules:?}");
            let [path] = answer.paths.as_slice() else { panic!("{} ways: {rules:?}", answer.paths.len()) };
            assert_eq!(path.forward.verdict == Verdict::Dropped, dropped, "{rules:?}");
            let told = answer.gaps.iter().find(|gap| gap.what.contains("is taken to be for"));
            assert!(told.is_some_and(|gap| gap.evidence.len() == 1), "{:?}", answer.gaps);
        }
    }
}
