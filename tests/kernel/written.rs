//! What a rule writes and only rules look at, the options of a segment and a packet's priority, is known to those behind it.

use std::collections::BTreeMap;

use flowtrace::trace::Verdict;

use crate::lab::flannel::FlannelBackend;
use crate::lab::judge::must_agree;
use crate::lab::probe::{Probe, Proto};
use crate::lab::rules::craft::{Crafted, Payload};
use crate::lab::rules::judge::through;
use crate::lab::rules::router::{Router, Rules};
use crate::lab::situations::two_nodes;

/// A SYN past the router, with a maximum segment size of 1460 or without any option.
fn syn(mss: bool) -> Crafted {
    let payload = Payload::Tcp { source: 20_000, destination: 80, flags: 2 };
    Crafted { payload, data: 0, mss, ..Crafted::datagram() }
}

/// The same in IPv6.
fn syn6(mss: bool) -> Crafted {
    let address = |text: &str| text.parse().expect("an address");
    Crafted { source: address("2001:db8:1::99"), destination: address("2001:db8:2::7"), ..syn(mss) }
}

/// The rules of iptables of both families: those of mangle, then those of filter.
fn iptables(legacy: bool, mangle: &[&str], filter: &[&str]) -> Rules {
    let lines = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>();
    let tables = BTreeMap::from([("mangle", lines(mangle)), ("filter", lines(filter))]);
    Rules { v4: tables.clone(), v6: tables, legacy, ..Rules::default() }
}

/// Rules of nft at a hook, in a chain of a priority.
fn nft(hook: &str, rules: &str) -> String {
    format!(
        "table inet {hook} {{\n chain c {{\n  type filter hook {hook} priority 0; policy accept;\n{rules}\n }}\n}}\n"
    )
}

/// How many ways a packet has, of which one must be the kernel's, and the end of the first.
fn ways(router: &mut Router, rules: &Rules, packet: &Crafted) -> (usize, Verdict) {
    router.load(rules).expect("rules that are taken");
    let (answer, difference) = through(router, packet).expect("an answer");
    assert_eq!(difference, None, "{rules:?}");
    (answer.paths.len(), answer.paths[0].forward.verdict)
}

const LEFT: (usize, Verdict) = (1, Verdict::Left);
const DROPPED: (usize, Verdict) = (1, Verdict::Dropped);

#[test]
fn a_segment_size_that_a_rule_of_iptables_wrote_is_known() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let set = "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1300";
    let clamp = "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu";
    let strip = "-A FORWARD -p tcp -j TCPOPTSTRIP --strip-options mss";
    let twice = "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1200";
    let carrying = Crafted { data: 100, ..syn(false) };
    for legacy in [false, true] {
        for (mangle, asked, packet, expected) in [
            // It is only ever lowered.
            (&[set][..], "--mss 1301:65535", syn(true), LEFT),
            (&[set], "! --mss 1301:65535", syn(true), DROPPED),
            (&[set], "--mss 0:1300", syn(true), DROPPED),
            (&[set, twice], "--mss 0:1200", syn(true), DROPPED),
            (&[twice, set], "--mss 0:1200", syn6(true), DROPPED),
            // It is what stacks take for granted where there was none.
            (&[set], "--mss 536", syn(false), DROPPED),
            (&[set], "--mss 1220", syn6(false), DROPPED),
            (&[set], "--mss 0:65535", carrying, LEFT),
            (&[strip, set], "--mss 536", syn(true), DROPPED),
            (&[strip, set], "! --mss 536", syn(true), LEFT),
            // The devices take packets of 1500 bytes.
            (&[clamp], "--mss 1461:65535", syn(true), LEFT),
            (&[clamp], "--mss 0:1460", syn(true), DROPPED),
            (&[clamp], "--mss 1220", syn6(false), DROPPED),
        ] {
            let filter = format!("-A FORWARD -p tcp -m tcpmss {asked} -j DROP");
            let rules = iptables(legacy, mangle, &[&filter]);
            assert_eq!(ways(&mut router, &rules, &packet), expected, "{rules:?} {packet:?}");
        }
        // What was smaller stays, and how small it was no question tells.
        let rules = iptables(legacy, &[set], &["-A FORWARD -p tcp -m tcpmss --mss 1300 -j DROP"]);
        assert_eq!(ways(&mut router, &rules, &syn(true)).0, 2);
    }
}

#[test]
fn a_segment_size_that_a_rule_of_nft_wrote_is_known() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    for (rules, packet, expected) in [
        ("tcp option maxseg size set 1200\ntcp option maxseg size > 1200 drop", syn(true), (1, Verdict::Left)),
        ("tcp option maxseg size set 1200\ntcp option maxseg size 1300-1500 drop", syn6(true), (1, Verdict::Left)),
        ("tcp option maxseg size set 1200\ntcp option maxseg size { 1300, 1460 } drop", syn(true), (1, Verdict::Left)),
        // A segment without the option is none of another size.
        ("tcp option maxseg size set 1200\ntcp option maxseg size != 1300 drop", syn(true), (2, Verdict::Dropped)),
        ("tcp option maxseg size set 1200\ntcp option maxseg size <= 1200 drop", syn(true), (2, Verdict::Dropped)),
        ("tcp option maxseg size set 1200\ntcp option maxseg size <= 1200 drop", syn(false), (1, Verdict::Left)),
        ("tcp option maxseg size set rt mtu\ntcp option maxseg size > 1460 drop", syn(true), (1, Verdict::Left)),
        ("tcp option maxseg exists drop", syn(false), (1, Verdict::Left)),
    ] {
        let rules = Rules { nft: nft("forward", rules), ..Rules::default() };
        assert_eq!(ways(&mut router, &rules, &packet), expected, "{rules:?}");
    }
    // One way that gives it, one way that asks for it.
    let set = "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1300";
    for (asked, packet, expected) in [
        ("tcp option maxseg size 536 drop", syn(false), DROPPED),
        ("tcp option maxseg size <= 1300 drop", syn(true), DROPPED),
        ("tcp option maxseg exists drop", syn(false), DROPPED),
        ("tcp option window exists drop", syn(false), LEFT),
    ] {
        let rules = Rules { nft: nft("postrouting", asked), ..iptables(false, &[set], &[]) };
        assert_eq!(ways(&mut router, &rules, &packet), expected, "{asked}");
    }
}

#[test]
fn an_option_that_a_rule_took_away_is_known_to_be_gone() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let strip = ["-A FORWARD -p tcp -j TCPOPTSTRIP --strip-options mss,wscale"];
    for legacy in [false, true] {
        for (asked, expected) in [("--tcp-option 2", LEFT), ("! --tcp-option 2", DROPPED), ("--tcp-option 3", LEFT)] {
            let rules = iptables(legacy, &strip, &[&format!("-A FORWARD -p tcp -m tcp {asked} -j DROP")]);
            for packet in [syn(true), syn6(true)] {
                assert_eq!(ways(&mut router, &rules, &packet), expected, "{asked}");
            }
        }
    }
    for (rules, expected) in [
        ("reset tcp option maxseg\ntcp option maxseg exists drop", LEFT),
        ("reset tcp option maxseg\ntcp option maxseg missing drop", DROPPED),
        ("reset tcp option maxseg\ntcp option maxseg size 0-65535 drop", LEFT),
        ("reset tcp option maxseg\ntcp option 3 exists drop", (2, Verdict::Dropped)),
        ("reset tcp option nop\ntcp option maxseg exists drop", (2, Verdict::Dropped)),
        // A rule that ends early has done what it did.
        ("reset tcp option maxseg tcp dport 81 accept\ntcp option maxseg exists drop", LEFT),
        // Of a limit nobody knows.
        ("limit rate 1/hour reset tcp option maxseg\ntcp option maxseg exists drop", (2, Verdict::Dropped)),
    ] {
        let rules = Rules { nft: nft("forward", rules), ..Rules::default() };
        assert_eq!(ways(&mut router, &rules, &syn(true)), expected, "{rules:?}");
    }
}

#[test]
fn a_priority_that_a_rule_or_the_way_gave_is_known() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let mut asked = |rules: &str, packet: &Crafted, expected| {
        let rules = Rules { nft: rules.to_owned(), ..Rules::default() };
        assert_eq!(ways(&mut router, &rules, packet), expected, "{rules:?} {packet:?}");
    };
    // Nothing has a priority when it comes in, and IPv4 gives it one by its TOS.
    for (tos, class) in [(0, "none"), (0x03, "none"), (0x08, "0:2"), (0x10, "0:6"), (0xb8, "0:4"), (0x18, "0:4")] {
        let packet = Crafted { tos, ..syn(true) };
        asked(&nft("prerouting", "meta priority != none drop"), &packet, LEFT);
        asked(&nft("forward", &format!("meta priority {class} drop")), &packet, DROPPED);
        asked(&nft("postrouting", &format!("meta priority != {class} drop")), &packet, LEFT);
        asked(&nft("forward", "meta priority none drop"), &Crafted { tos, ..syn6(true) }, DROPPED);
    }
    let early = nft("prerouting", "meta priority set 1:2");
    asked(&(early.clone() + &nft("forward", "meta priority 1:2 drop")), &syn6(true), DROPPED);
    asked(&(early.clone() + &nft("forward", "meta priority 1:2 drop")), &syn(true), LEFT);
    asked(&(early + &nft("input", "meta priority { 1:2, 1:3 } drop")), &to_router(), DROPPED);
    let late = nft("forward", "meta priority set tcp dport map { 80 : 5:0, 81 : 0:7 }");
    asked(&(late.clone() + &nft("postrouting", "meta priority 5:0-5:9 drop")), &syn(true), DROPPED);
    asked(&(late + &nft("postrouting", "meta priority root drop")), &syn(true), LEFT);
    let maybe = nft("forward", "limit rate 1/hour meta priority set 1:2");
    asked(&(maybe + &nft("postrouting", "meta priority 1:2 drop")), &syn(true), (2, Verdict::Dropped));
    router.set("ipv4/ip_forward_update_priority", "0").expect("a setting");
    let rules = Rules { nft: nft("forward", "meta priority 0:6 drop"), ..Rules::default() };
    assert_eq!(ways(&mut router, &rules, &Crafted { tos: 0x10, ..syn(true) }), LEFT);
    router.set("ipv4/ip_forward_update_priority", "1").expect("a setting");
    let mut asked = |rules: &str, packet: &Crafted, expected| {
        let rules = Rules { nft: rules.to_owned(), ..Rules::default() };
        assert_eq!(ways(&mut router, &rules, packet), expected, "{rules:?} {packet:?}");
    };
    // A sender's socket has what its program gave it.
    let own = Crafted { local: true, source: [198, 51, 100, 1].into(), ..syn(true) };
    asked(&nft("output", "meta priority 1:2 drop"), &own, (2, Verdict::Dropped));
    let set = nft("output", "meta priority set 1:2");
    asked(&(set + &nft("postrouting", "meta priority 1:2 drop")), &own, DROPPED);
    for legacy in [false, true] {
        for (class, expected) in [("1:2", DROPPED), ("1:3", LEFT)] {
            let rules = Rules {
                nft: nft("postrouting", &format!("meta priority {class} drop")),
                ..iptables(legacy, &["-A FORWARD -p tcp -j CLASSIFY --set-class 1:2"], &[])
            };
            assert_eq!(ways(&mut router, &rules, &syn(true)), expected, "{rules:?}");
        }
    }
}

#[test]
fn a_list_is_asked_for_more_than_255_stamps() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    for legacy in [false, true] {
        for (asked, expected) in [("--rcheck", LEFT), ("! --rcheck", DROPPED)] {
            let set = "-A FORWARD -m recent --set --name many --rsource";
            let rule = format!("-A FORWARD -m recent {asked} --hitcount 65535 --name many --rsource -j DROP");
            let rules = iptables(legacy, &[], &[set, &rule]);
            // Before Linux 6.11 the kernel refuses it.
            if router.load(&rules).is_ok() {
                assert_eq!(ways(&mut router, &rules, &syn(true)), expected, "{rules:?}");
            }
        }
    }
}

fn to_router() -> Crafted {
    Crafted { destination: [192, 0, 2, 10].into(), ..syn(true) }
}

/// A segment is not clamped to a path that has no room for one, but dropped.
#[test]
fn a_path_without_room_for_a_segment_stops_it() {
    let mut scenario = two_nodes("no-room", FlannelBackend::HostGw).scenario();
    let n1 = scenario.space("n1");
    n1.late("route add 10.244.1.2/32 dev cni0 mtu 40");
    n1.rules4().insert("mangle", "FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu");
    scenario.probe(Probe::ask("default/pod1", "10.244.2.2", Proto::Tcp, "10.244.2.2", 7000).silent());
    scenario.probe(Probe::ask("default/pod3", "10.244.2.2", Proto::Tcp, "10.244.2.2", 7000));
    must_agree(scenario, "");
}

/// A prefix in place of another one leaves the checksum as it is only where the address had that other one.
#[test]
fn what_carries_a_checksum_that_fits_no_longer_is_answered_with_nothing() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let address = |text: &str| text.parse().expect("an address");
    let echo = Crafted {
        local: true,
        source: address("2001:db8:1::10"),
        destination: address("2001:db8:9::7"),
        payload: Payload::Icmp { kind: 128, code: 0, id: 20_000 },
        ..syn(false)
    };
    let reject = "-A OUTPUT -d 2001:db8:113::/48 -j REJECT".to_owned();
    for (from, end) in [("2001:db8:9::/48", (1, Verdict::Rejected)), ("2001:db8:2::/64", (1, Verdict::Undetermined))] {
        let prefix = format!("-A OUTPUT -d 2001:db8:9::/48 -j DNPT --src-pfx {from} --dst-pfx 2001:db8:113::/48");
        let v6 = BTreeMap::from([("mangle", vec![prefix]), ("filter", vec![reject.clone()])]);
        for legacy in [false, true] {
            assert_eq!(ways(&mut router, &Rules { v6: v6.clone(), legacy, ..Rules::default() }, &echo), end, "{from}");
        }
    }
}
