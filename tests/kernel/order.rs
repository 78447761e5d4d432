//! What is called at one hook with one priority: the kernel calls what was registered last first, and no listing says
//! what that was. Where it matters, both orders are ways of the answer.

use flowtrace::trace::{Answer, Verdict};

use crate::lab::rules::craft::{Crafted, Payload};
use crate::lab::rules::judge::through;
use crate::lab::rules::router::Router;

/// A datagram from one side of the router to the other.
fn datagram() -> Crafted {
    Crafted {
        local: false,
        source: [192, 0, 2, 99].into(),
        destination: [198, 51, 100, 7].into(),
        payload: Payload::Udp { source: 20_000, destination: 53 },
        ttl: 64,
        tos: 0,
        df: false,
        data: 4,
        mss: true,
        mark: 0,
        options: &[],
        extensions: &[],
    }
}

const TESTS: &str = "*filter\n-A FORWARD -m mark --mark 0x1 -j DROP\nCOMMIT\n";

/// Loads rules into a router that never had any, and sends a datagram through them. Whether it went on, and the ways
/// that `explain` finds.
fn after(steps: &[(&str, &str)]) -> Option<(bool, Answer)> {
    if !crate::lab::ready::ready() {
        return None;
    }
    let mut router = Router::new(0).expect("the stage");
    router.load_steps(steps).expect("rules that load");
    let (answer, sent_on) = through(&mut router, &datagram()).unwrap_or_else(|wrong| panic!("{wrong}"));
    Some((sent_on, answer))
}

/// The ways: of each whether the datagram goes on.
fn ways(answer: &Answer) -> Vec<bool> {
    answer.paths.iter().map(|path| path.forward.verdict == Verdict::Left).collect()
}

/// Both orders are ways of the answer, nobody weighs them, and the gap names what it is about.
fn are_both_told(answer: &Answer, names: [&str; 2]) {
    assert_eq!(ways(answer).len(), 2, "{:?}", answer.gaps);
    assert!(ways(answer).contains(&true) && ways(answer).contains(&false));
    assert!(answer.paths.iter().all(|path| path.probability.is_none()));
    let told = |what: &str| what.contains("same priority") && names.iter().all(|name| what.contains(name));
    assert!(answer.gaps.iter().any(|gap| told(&gap.what)), "{:?}", answer.gaps);
}

#[test]
fn what_was_registered_last_is_called_first() {
    let sets = "table ip own { chain c { type filter hook forward priority 0; meta mark set 0x1\n }\n}";
    let names = ["iptables-legacy's table filter", "nft's chain c of table own"];
    let Some((sent_on, answer)) = after(&[("iptables-legacy", TESTS), ("nft", sets)]) else { return };
    assert!(!sent_on);
    are_both_told(&answer, names);
    let Some((sent_on, answer)) = after(&[("nft", sets), ("iptables-legacy", TESTS)]) else { return };
    assert!(sent_on);
    are_both_told(&answer, names);
}

#[test]
fn the_order_of_tables_does_not_tell_the_order_of_their_chains() {
    let sets = |chain: &str| format!("table ip a {{\n{chain}\n}}");
    let chain = "chain sets { type filter hook forward priority 0; meta mark set 0x1\n }";
    let tests = "table ip b { chain tests { type filter hook forward priority 0; meta mark 0x1 drop\n }\n}";
    let names = ["nft's chain sets of table a", "nft's chain tests of table b"];
    // The chain of the second table was made last, and is called first.
    let Some((sent_on, answer)) = after(&[("nft", &sets(chain)), ("nft", tests)]) else { return };
    assert!(sent_on);
    assert_eq!(ways(&answer), [true, false], "the likelier order comes first");
    are_both_told(&answer, names);
    // The listing is the same, and the chain of the first table was made last.
    let Some((sent_on, answer)) = after(&[("nft", &sets("")), ("nft", tests), ("nft", &sets(chain))]) else { return };
    assert!(!sent_on);
    are_both_told(&answer, names);
}

#[test]
fn chains_of_one_table_are_called_in_the_order_that_is_listed() {
    let rules = "table ip own {
        chain tests { type filter hook forward priority 0; meta mark 0x1 drop\n }
        chain sets { type filter hook forward priority 0; meta mark set 0x1\n }
    }";
    let Some((sent_on, answer)) = after(&[("nft", rules)]) else { return };
    assert_eq!((sent_on, ways(&answer)), (false, vec![false]));
}

#[test]
fn an_order_that_changes_nothing_is_not_told() {
    let counts = "table ip own { chain c { type filter hook forward priority 0; meta l4proto udp counter\n }\n}";
    for steps in [[("iptables-legacy", TESTS), ("nft", counts)], [("nft", counts), ("iptables-legacy", TESTS)]] {
        let Some((sent_on, answer)) = after(&steps) else { return };
        assert_eq!((sent_on, ways(&answer)), (true, vec![true]), "{:?}", answer.gaps);
    }
}

#[test]
fn the_first_nat_chain_that_decides_has_decided() {
    let legacy = "*nat\n-A PREROUTING -p udp -j DNAT --to-destination 198.51.100.8\nCOMMIT\n";
    let nft =
        "table ip own { chain c { type nat hook prerouting priority -100; meta l4proto udp dnat to 198.51.100.9\n }\n}";
    for steps in [[("iptables-legacy", legacy), ("nft", nft)], [("nft", nft), ("iptables-legacy", legacy)]] {
        let Some((sent_on, answer)) = after(&steps) else { return };
        assert!(sent_on && answer.paths.len() == 2, "{:?}", answer.gaps);
    }
}
