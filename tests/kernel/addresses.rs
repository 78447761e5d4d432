//! Addresses that the kernel chooses or refuses: of errors, of ranges, of loopback.

use std::collections::BTreeMap;

use flowtrace::trace::{Answer, Reason, Verdict};

use crate::lab::netns::must;
use crate::lab::rules::craft::{Crafted, Payload};
use crate::lab::rules::judge::through;
use crate::lab::rules::router::{Router, Rules};

/// What is said of a packet whose one way is the kernel's.
fn asked(router: &mut Router, packet: &Crafted) -> Answer {
    let (answer, difference) = through(router, packet).expect("an answer");
    assert_eq!(difference, None);
    assert_eq!(answer.paths.len(), 1, "{packet:?}");
    answer
}

fn in_ipv6(destination: &str, port: u16) -> Crafted {
    let address = |text: &str| text.parse().expect("an address");
    let payload = Payload::Udp { source: port, destination: 53 };
    Crafted { source: address("2001:db8:1::99"), destination: address(destination), payload, ..Crafted::datagram() }
}

fn nat(rule: &str) -> Rules {
    Rules { v6: BTreeMap::from([("nat", vec![format!("-A PREROUTING -p udp {rule}")])]), ..Rules::default() }
}

#[test]
fn an_error_has_an_address_of_the_device_that_the_packet_came_in_by_where_that_is_asked_for() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    // The way back to the sender leads out of the other device.
    let packet = Crafted { source: [8, 8, 8, 8].into(), ttl: 1, ..Crafted::datagram() };
    for (set, source) in [("0", [198, 51, 100, 1]), ("1", [192, 0, 2, 10])] {
        router.set("ipv4/icmp_errors_use_inbound_ifaddr", set).expect("a setting");
        let answer = asked(&mut router, &packet);
        let error = answer.paths[0].reply.as_ref().expect("an error");
        let sent = &error.steps.last().expect("steps").packet;
        assert_eq!(sent.ip.source, std::net::IpAddr::from(source), "{set}");
    }
    // REJECT's error is an ICMP error, and its reset is none.
    let udp = "-A FORWARD -p udp -j REJECT --reject-with icmp-host-prohibited";
    let tcp = "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset";
    let filter = BTreeMap::from([("filter", vec![udp.to_owned(), tcp.to_owned()])]);
    router.load(&Rules { v4: filter, ..Rules::default() }).expect("rules");
    for payload in [packet.payload, Payload::Tcp { source: 4000, destination: 80, flags: 2 }] {
        asked(&mut router, &Crafted { ttl: 9, payload, ..packet });
    }
}

#[test]
fn no_rule_sees_a_packet_for_the_loopback_address_that_comes_in() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    router.load(&nat("-j DNAT --to-destination 2001:db8:2::7")).expect("rules");
    let end = &asked(&mut router, &in_ipv6("::1", 4000)).paths[0].forward;
    assert_eq!((end.verdict, end.reason), (Verdict::Dropped, Some(Reason::MartianSource)));
    let from = Crafted { source: "::1".parse().expect("an address"), ..in_ipv6("2001:db8:2::7", 4000) };
    assert_eq!(asked(&mut router, &from).paths[0].forward.verdict, Verdict::Dropped);
    // A rule may send a packet there.
    router.load(&nat("-j DNAT --to-destination ::1")).expect("rules");
    asked(&mut router, &in_ipv6("2001:db8:2::7", 4000));
}

#[test]
fn a_range_of_destinations_is_hashed_as_the_kernel_hashes_it() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    // All of it leads to the server, whichever is chosen.
    for net in ["2001:db8:20::/48", "2001:db8:21::/48"] {
        router.enter(|| must("ip", &["route", "add", net, "via", "2001:db8:2::7"], "")).expect("a route");
    }
    router.set("ipv4/ip_forward", "1").expect("the snapshot anew");
    for range in ["2001:db8:20::7-2001:db8:20::ff", "2001:db8:20:5::-2001:db8:21:1:ffff::9"] {
        for more in ["", " --persistent"] {
            router.load(&nat(&format!("-j DNAT --to-destination {range}{more}"))).expect("rules");
            for port in 4000..4006 {
                asked(&mut router, &in_ipv6("2001:db8:2::5", port));
            }
            asked(&mut router, &in_ipv6("2001:db8:7:6:5:4:3:2", 4000));
        }
    }
}

#[test]
fn a_copy_for_a_gateway_that_nobody_has_asked_for_ends() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    for chain in ["PREROUTING", "INPUT", "OUTPUT", "FORWARD", "POSTROUTING"] {
        let rule = format!("-A {chain} -j TEE --gateway 2001:db8:2::77");
        router.load(&Rules { v6: BTreeMap::from([("mangle", vec![rule])]), ..Rules::default() }).expect("rules");
        let to = if chain == "INPUT" { "2001:db8:1::10" } else { "2001:db8:2::7" };
        let packet = in_ipv6(to, 4000);
        let (answer, _) = through(&mut router, &packet).expect("an answer");
        assert!(!answer.paths.is_empty(), "{chain}");
        let local = Crafted { local: true, source: "2001:db8:2::1".parse().expect("an address"), ..packet };
        if chain == "OUTPUT" {
            let (answer, _) = through(&mut router, &local).expect("an answer");
            assert!(!answer.paths.is_empty());
        }
    }
}

#[test]
fn an_error_about_a_packet_to_a_routers_anycast_address_comes_from_it() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    for hook in ["prerouting", "input"] {
        let reject = "table ip6 t { chain c { type filter hook HOOK priority 5; udp dport 53 reject; }; }";
        let nft = reject.replace("HOOK", hook);
        router.load(&Rules { nft, ..Rules::default() }).expect("rules");
        for to in ["2001:db8:1::", "2001:db8:2::"] {
            let (answer, difference) = through(&mut router, &in_ipv6(to, 4000)).expect("an answer");
            assert_eq!(difference, None, "{hook} {to}: {}", answer.paths.len());
        }
    }
}
