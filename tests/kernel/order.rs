//! Chains of one priority: the kernel calls the one first that was made last, which no listing tells. `explain` takes
//! the order of the listing, and says where that could matter. And pieces of a packet that rules send different ways.

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
        payload: Payload::Udp { source: 4000, destination: 53 },
        ttl: 64,
        tos: 0,
        df: false,
        data: 20,
        mss: true,
        mark: 0,
        options: &[],
        extensions: &[],
    }
}

fn chain(table: &str, hook: &str, rules: &str) -> String {
    format!("table ip {table} {{\n chain c {{\n  type filter hook {hook}\n {rules}\n }}\n}}\n")
}

/// Loads the steps in their order, and in the other one, in a namespace of its own each. Gives each time the answer and
/// whether the kernel agrees.
fn both(steps: [(&str, &str); 2]) -> Option<[(Answer, bool); 2]> {
    if !crate::lab::ready::ready() {
        return None;
    }
    let asked = |steps: [(&str, &str); 2]| {
        let mut router = Router::new(0).expect("the stage");
        // The tables' order in the listing is the same both times.
        let tables = "table ip a { }\ntable ip b { }\n";
        let steps: Vec<(&str, &str)> = std::iter::once(("nft", tables)).chain(steps).collect();
        router.load_steps(&steps).expect("rules that are taken");
        let (answer, difference) = through(&mut router, &datagram()).expect("an answer");
        (answer, difference.is_none())
    };
    Some([asked(steps), asked([steps[1], steps[0]])])
}

fn tells_of_order(answer: &Answer) -> bool {
    answer.gaps.iter().any(|gap| gap.what.contains("with the same priority") && gap.what.contains("made last"))
}

#[test]
fn what_one_chain_changes_and_the_other_asks_for_is_told() {
    let marks = chain("a", "forward priority 0; policy accept;", "meta mark set 1");
    let asks = chain("b", "forward priority 0; policy accept;", "meta mark 1 drop");
    let Some(answers) = both([("nft", &marks), ("nft", &asks)]) else { return };
    let verdicts = answers.each_ref().map(|(answer, _)| answer.paths[0].forward.verdict);
    assert_eq!(verdicts, [Verdict::Left; 2], "the listing is the same");
    assert_eq!(answers.each_ref().map(|(_, agrees)| *agrees), [true, false], "the kernel's order is another one");
    assert!(answers.iter().all(|(answer, _)| tells_of_order(answer)));
}

#[test]
fn that_one_chain_ends_the_packet_before_the_other_is_told() {
    let counts = chain("a", "forward priority 0; policy accept;", "counter");
    let drops = chain("b", "forward priority 0; policy accept;", "drop");
    let Some(answers) = both([("nft", &counts), ("nft", &drops)]) else { return };
    assert_eq!(answers.each_ref().map(|(_, agrees)| *agrees), [true, false]);
    for (answer, _) in &answers {
        assert_eq!(answer.paths[0].forward.verdict, Verdict::Dropped);
        assert!(tells_of_order(answer), "{:?}", answer.gaps);
    }
}

#[test]
fn that_a_policy_ends_the_packet_before_the_other_is_told() {
    let rejects = chain("a", "forward priority 0; policy accept;", "reject");
    let drops = chain("b", "forward priority 0; policy drop;", "");
    let Some(answers) = both([("nft", &rejects), ("nft", &drops)]) else { return };
    assert_eq!(answers.each_ref().map(|(_, agrees)| *agrees), [true, false]);
    for (answer, _) in &answers {
        assert_eq!(answer.paths[0].forward.verdict, Verdict::Dropped);
        assert!(tells_of_order(answer), "{:?}", answer.gaps);
    }
}

#[test]
fn chains_of_two_priorities_or_that_do_not_meet_are_not_told() {
    let early = chain("a", "forward priority -1; policy accept;", "meta mark set 1");
    let late = chain("b", "forward priority 0; policy accept;", "meta mark 1 drop");
    let Some(answers) = both([("nft", &early), ("nft", &late)]) else { return };
    for (answer, agrees) in &answers {
        assert!(*agrees && !tells_of_order(answer), "{:?}", answer.gaps);
    }
    let counts = chain("a", "forward priority 0; policy accept;", "counter");
    let also = chain("b", "forward priority 0; policy accept;", "counter");
    let Some(answers) = both([("nft", &counts), ("nft", &also)]) else { return };
    assert!(answers.iter().all(|(answer, _)| !tells_of_order(answer)), "nothing that matters");
}

#[test]
fn the_order_of_iptables_legacy_and_nft_is_told() {
    let marks = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m mark --mark 0x1 -j DROP\nCOMMIT\n";
    let asks = chain("a", "forward priority 0; policy accept;", "meta mark set 1");
    let Some(answers) = both([("iptables-legacy", marks), ("nft", &asks)]) else { return };
    for (answer, _) in &answers {
        assert!(tells_of_order(answer), "{:?}", answer.gaps);
    }
    // One of the two orders is the one that is taken.
    assert!(answers.iter().any(|(_, agrees)| *agrees));
}

/// The kernel reads ports out of what a later piece holds in their place, which goes another way than the first.
#[test]
fn a_later_piece_is_asked_for_ports_that_it_does_not_have() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let packet = Crafted { data: 1500, ..datagram() };
    let rule = chain("t", "forward priority 0; policy accept;", "udp dport 1000-65535 ip ttl set 33");
    router.load_steps(&[("nft", &rule)]).expect("rules that are taken");
    let (answer, difference) = through(&mut router, &packet).expect("an answer");
    assert_eq!(difference, None);
    let verdicts: Vec<Verdict> = answer.paths.iter().map(|path| path.forward.verdict).collect();
    assert_eq!(verdicts, [Verdict::Undetermined]);
    assert!(answer.gaps.iter().any(|gap| gap.what.contains("pieces")), "{:?}", answer.gaps);
    let seen = router.send(&packet).expect("what became of it");
    assert!(seen.parted, "{seen:?}");
}
