//! Chains of one priority: the kernel calls the one first that was made last, which no listing tells. `explain` goes
//! every way that an order leads to. And pieces of a packet that rules send different ways.

use std::collections::BTreeSet;

use flowtrace::trace::{Answer, Path, Verdict};

use crate::lab::rules::craft::Crafted;
use crate::lab::rules::judge::through;
use crate::lab::rules::router::Router;

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
        let (answer, difference) = through(&mut router, &Crafted::datagram()).expect("an answer");
        (answer, difference.is_none())
    };
    Some([asked(steps), asked([steps[1], steps[0]])])
}

fn tells_of_order(answer: &Answer) -> bool {
    answer.gaps.iter().any(|gap| gap.what.contains("with the same priority") && gap.what.contains("made last"))
}

/// The kernel goes the one way of two or the other, after the order in which the chains were made; both are told, with
/// these ends, the listing's order first.
fn parts(steps: [(&str, &str); 2], ends: [Verdict; 2]) {
    let Some(answers) = both(steps) else { return };
    for (answer, agrees) in &answers {
        assert!(agrees, "one of the ways is the kernel's");
        assert!(tells_of_order(answer), "{:?}", answer.gaps);
        assert_eq!(answer.paths.iter().map(|path| path.forward.verdict).collect::<Vec<_>>(), ends);
        assert!(answer.paths.iter().all(|path| path.probability.is_none()), "nobody knows how likely");
    }
}

/// No order makes a difference but to the order in which rules of both match, and none is told.
fn does_not_part(steps: [(&str, &str); 2]) {
    let Some(answers) = both(steps) else { return };
    for (answer, _) in &answers {
        assert!(!tells_of_order(answer) && answer.paths.len() == 1, "{:?}", answer.gaps);
    }
    assert!(answers.iter().any(|(_, agrees)| *agrees));
}

#[test]
fn what_one_chain_changes_and_the_other_asks_for_parts_the_ways() {
    let marks = chain("a", "forward priority 0; policy accept;", "meta mark set 1");
    let asks = chain("b", "forward priority 0; policy accept;", "meta mark 1 drop");
    parts([("nft", &marks), ("nft", &asks)], [Verdict::Left, Verdict::Dropped]);
}

#[test]
fn what_the_one_chain_never_sees_where_the_other_ends_the_packet_is_told() {
    let counts = chain("a", "forward priority 0; policy accept;", "counter");
    let drops = chain("b", "forward priority 0; policy accept;", "drop");
    let Some(answers) = both([("nft", &counts), ("nft", &drops)]) else { return };
    assert_eq!(answers.each_ref().map(|(_, agrees)| *agrees), [true, false], "which rules match is another matter");
    for (answer, _) in &answers {
        assert_eq!(answer.paths.iter().map(|path| path.forward.verdict).collect::<Vec<_>>(), [Verdict::Dropped]);
        assert!(tells_of_order(answer), "{:?}", answer.gaps);
    }
}

#[test]
fn a_policy_that_ends_the_packet_before_the_other_parts_the_ways() {
    let rejects = chain("a", "forward priority 0; policy accept;", "reject");
    let drops = chain("b", "forward priority 0; policy drop;", "");
    parts([("nft", &rejects), ("nft", &drops)], [Verdict::Dropped, Verdict::Rejected]);
}

#[test]
fn chains_of_two_priorities_or_that_do_not_meet_have_one_way() {
    let early = chain("a", "forward priority -1; policy accept;", "meta mark set 1");
    let late = chain("b", "forward priority 0; policy accept;", "meta mark 1 drop");
    does_not_part([("nft", &early), ("nft", &late)]);
    let counts = chain("a", "forward priority 0; policy accept;", "counter");
    let also = chain("b", "forward priority 0; policy accept;", "counter");
    does_not_part([("nft", &counts), ("nft", &also)]);
    let marks = chain("a", "forward priority 0; policy accept;", "meta mark set 1");
    let ports = chain("b", "forward priority 0; policy accept;", "udp dport 53 accept");
    does_not_part([("nft", &marks), ("nft", &ports)]);
    let drops = chain("a", "forward priority 0; policy accept;", "udp dport 53 drop");
    let tcp = chain("b", "forward priority 0; policy accept;", "meta l4proto tcp drop");
    does_not_part([("nft", &drops), ("nft", &tcp)]);
}

#[test]
fn iptables_legacy_may_come_before_nft_and_after_it() {
    let marks = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m mark --mark 0x1 -j DROP\nCOMMIT\n";
    let asks = chain("a", "forward priority 0; policy accept;", "meta mark set 1");
    parts([("iptables-legacy", marks), ("nft", &asks)], [Verdict::Dropped, Verdict::Left]);
}

#[test]
fn of_two_backends_that_translate_either_may_be_asked_first() {
    let legacy = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -j DNAT --to-destination 198.51.100.8\nCOMMIT\n";
    let nft = "table ip a {\n chain c {\n  type nat hook prerouting priority dstnat; policy accept;\n  \
               meta l4proto udp dnat to 198.51.100.9\n }\n}\n";
    let Some(answers) = both([("iptables-legacy", legacy), ("nft", nft)]) else { return };
    for (answer, agrees) in &answers {
        assert!(*agrees && tells_of_order(answer), "{:?}", answer.gaps);
        let last = |path: &Path| path.forward.steps.last().map(|step| step.packet.ip.destination.to_string());
        let destinations: BTreeSet<_> = answer.paths.iter().filter_map(last).collect();
        assert_eq!(destinations.into_iter().collect::<Vec<_>>(), ["198.51.100.8", "198.51.100.9"]);
    }
}

#[test]
fn three_tables_have_as_many_ways_as_ends() {
    if !crate::lab::ready::ready() {
        return;
    }
    let rules = [("a", "meta mark set 1"), ("b", "meta mark 1 meta mark set 2"), ("c", "meta mark 2 drop")];
    let chains = rules.map(|(table, rule)| chain(table, "forward priority 0; policy accept;", rule));
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut router = Router::new(0).expect("the stage");
        let steps: Vec<(&str, &str)> = order.iter().map(|at: &usize| ("nft", &*chains[*at])).collect();
        router.load_steps(&steps).expect("rules that are taken");
        let (answer, difference) = through(&mut router, &Crafted::datagram()).expect("an answer");
        assert_eq!(difference, None);
        // Marked by the one, by the first and then the second, or by these and then dropped.
        assert_eq!(answer.paths.len(), 3, "{order:?}");
        assert!(tells_of_order(&answer));
    }
}

/// Which of three tables was made last is the same for a packet and for the error about it.
#[test]
fn three_tables_have_one_order_at_every_visit_of_a_hook() {
    if !crate::lab::ready::ready() {
        return;
    }
    let rules = [("a", "meta mark set 1"), ("b", "meta mark set 2"), ("c", "udp dport 54 drop")];
    let chains = rules.map(|(table, rule)| chain(table, "output priority 0; policy accept;", rule));
    let rejects = chain("r", "input priority 0; policy accept;", "udp dport 53 reject");
    let packet = Crafted {
        local: true,
        source: [192, 0, 2, 10].into(),
        destination: [192, 0, 2, 10].into(),
        ..Crafted::datagram()
    };
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut router = Router::new(0).expect("the stage");
        let steps = order.iter().map(|at: &usize| ("nft", &*chains[*at]));
        let steps: Vec<(&str, &str)> = steps.chain([("nft", &*rejects)]).collect();
        router.load_steps(&steps).expect("rules that are taken");
        let (answer, difference) = through(&mut router, &packet).expect("an answer");
        assert_eq!(difference, None);
        assert_eq!(answer.paths.len(), 2, "{order:?}");
        assert!(answer.paths.iter().all(|path| path.reply.is_some()));
        assert!(tells_of_order(&answer));
    }
}

#[test]
fn chains_of_a_device_have_no_listed_order_either() {
    let frames = |table: &str, rule: &str| {
        let hook = "type filter hook ingress device \"eth0\" priority 0; policy accept;";
        format!(
            "table netdev {table} {{\n chain c {{\n  {hook}\n  udp dport 53 meta nftrace set 1\n  {rule}\n }}\n}}\n"
        )
    };
    let (marks, asks) = (frames("a", "meta mark set 1"), frames("b", "meta mark 1 drop"));
    if !crate::lab::ready::ready() {
        return;
    }
    for steps in [[&marks, &asks], [&asks, &marks]] {
        let mut router = Router::new(0).expect("the stage");
        router.load_steps(&steps.map(|step| ("nft", &**step))).expect("rules that are taken");
        let (answer, difference) = through(&mut router, &Crafted::datagram()).expect("an answer");
        assert_eq!(difference, None);
        let verdicts: BTreeSet<_> = answer.paths.iter().map(|path| format!("{:?}", path.forward.verdict)).collect();
        assert_eq!(verdicts.into_iter().collect::<Vec<_>>(), ["Dropped", "Left"]);
        assert!(tells_of_order(&answer));
    }
}

#[test]
fn of_five_tables_every_order_is_tried_and_of_six_none_is_taken_for_granted() {
    if !crate::lab::ready::ready() {
        return;
    }
    let other = |table: &str| chain(table, "forward priority 0; policy accept;", "udp dport 54 drop");
    let marks = chain("a", "forward priority 0; policy accept;", "meta mark set 1");
    let asks = chain("b", "forward priority 0; policy accept;", "meta mark 1 drop");
    // The chain that asks is called first, and is so in the first 24 orders.
    let five = [marks, other("c"), other("d"), other("e"), asks];
    let mut router = Router::new(0).expect("the stage");
    router.load_steps(&five.each_ref().map(|step| ("nft", &**step))).expect("rules that are taken");
    let (answer, difference) = through(&mut router, &Crafted::datagram()).expect("an answer");
    assert_eq!((difference, answer.paths.len()), (None, 2));
    router.load_steps(&[("nft", &other("f"))]).expect("rules that are taken");
    let (answer, _) = through(&mut router, &Crafted::datagram()).expect("an answer");
    assert_eq!(answer.paths[0].forward.verdict, Verdict::Undetermined);
}

/// The kernel reads ports out of what a later piece holds in their place, which goes another way than the first.
#[test]
fn a_later_piece_is_asked_for_ports_that_it_does_not_have() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let packet = Crafted { data: 1500, ..Crafted::datagram() };
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
