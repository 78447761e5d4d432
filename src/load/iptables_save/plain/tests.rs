use proptest::prelude::*;

use super::super::parse;
use super::super::rule::by_grammar;
use super::read_rule;
use crate::evidence::{FileId, Text};
use crate::net::Family;
use crate::snapshot::{Rule, RulePlace, Ruleset};

/// Rules of kube-proxy and the like, to be changed into others.
const SEEDS: &[&str] = &[
    "[0:0] -A X ! -s 10.244.0.0/16 -d 10.100.0.1/32 -p tcp -m comment --comment \"a/b:c IP\" -m tcp --dport 80 -j Y",
    "[12:3456] -A X -m comment --comment \"a -> 1.2.3.4:80\" -m statistic --mode random --probability 0.50000000000 -j Y",
    "[0:0] -A X -p tcp -m comment --comment \"a/b:c\" -m tcp -j DNAT --to-destination 10.244.2.2:8080",
    "-A X -p udp -m comment --comment a -m udp --dport 53 -j DNAT --to-destination 10.244.2.2",
    "-A X -s 10.244.2.2/32 -m comment --comment \"a/b:c\" -j Y",
    "-A X -d 2001:db8::10/128 -p tcp -m comment --comment \"a\" -m tcp --dport 80 -j Y",
    "-A X -p tcp -m comment --comment \"a\" -m tcp -j DNAT --to-destination [2001:db8::1]:8080",
    "-A X -j RETURN",
    "-A PREROUTING -m comment --comment \"portals\" -j Y",
];

/// Words that a rule may get, or have in place of others.
const WORDS: &[&str] = &[
    "!",
    "-s",
    "-d",
    "-p",
    "-m",
    "-j",
    "-g",
    "-i",
    "tcp",
    "udp",
    "all",
    "sctp",
    "comment",
    "--comment",
    "statistic",
    "--mode",
    "random",
    "nth",
    "--probability",
    "--dport",
    "--sport",
    "DNAT",
    "--to-destination",
    "--random",
    "X",
    "Y",
    "ACCEPT",
    "QUEUE",
    "MARK",
    "SNAT",
    "0",
    "17",
    "80:90",
    "90:80",
    "0:65535",
    ":",
    "http",
    "0x50",
    "1.0",
    "1e-9",
    "NaN",
    "-1",
    "10.0.0.1",
    "10.0.0.1/0",
    "10.0.0.1/255.0.255.0",
    "10.0.0.1/33",
    "::1",
    "::1/64",
    "10.0.0.1-10.0.0.9:1-2/3",
    "\"\"",
    "\"!\"",
    "\"a b\"",
    "a\"b c\"",
    "\"",
    "\\",
    "a\"b",
    "-A",
    "[0:0]",
    "",
    "INPUT",
];

/// Signs that a rule may get.
const SIGNS: &[char] =
    &['"', '\\', '\t', '\r', ' ', '\u{c}', '\u{b}', '!', '-', ':', '/', '.', '0', '9', 'x', 'ü', '\0'];

/// A change of a line: what, where, and what is put there.
type Change = (u8, usize, usize);

fn changed(line: &str, changes: &[Change]) -> String {
    let mut line = line.to_owned();
    for (how, place, what) in changes {
        if how % 4 == 3 {
            let ends: Vec<usize> = line.char_indices().map(|(at, _)| at).chain([line.len()]).collect();
            line.insert(ends[place % ends.len()], SIGNS[what % SIGNS.len()]);
            continue;
        }
        let mut words: Vec<&str> = line.split(' ').collect();
        let (place, word) = (place % words.len(), WORDS[what % WORDS.len()]);
        match how % 4 {
            0 => words.insert(place, word),
            1 => words[place] = word,
            _ => _ = words.remove(place),
        }
        line = words.join(" ");
    }
    line
}

/// Reads a line both ways in each chain, if the short one does, and gives whether it did in any.
fn agrees(line: &str, ruleset: &Ruleset) -> bool {
    let mut read = false;
    for table in &ruleset.tables {
        for chain in &table.chains {
            let mut rule = Rule::default();
            if read_rule(&mut rule, line, RulePlace { ruleset, table, chain }).is_some() {
                assert_eq!(rule, by_grammar(line, ruleset, table), "{line:?} in {} {}", table.name, chain.name);
                read = true;
            }
        }
    }
    read
}

/// The tables that a line is read in.
fn tables(family: Family) -> Ruleset {
    let chains = ":PREROUTING ACCEPT [0:0]\n:X - [0:0]\n:Y - [0:0]\n:QUEUE - [0:0]\n:a\"b - [0:0]\n:\"Y\" - [0:0]\n:\\ - [0:0]\n";
    let own = ":DNAT - [0:0]\n:ACCEPT - [0:0]\n";
    let text = format!("*nat\n{chains}COMMIT\n*filter\n{chains}{own}COMMIT\n");
    parse(FileId(0), &Text::from(text), family, &mut Vec::new())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_rule_that_is_read_the_short_way_is_what_the_grammar_reads(
        seed in 0..SEEDS.len(),
        changes in prop::collection::vec(any::<Change>(), 0..4),
        six in any::<bool>(),
    ) {
        let line = changed(SEEDS[seed], &changes);
        agrees(&line, &tables(if six { Family::Inet6 } else { Family::Inet }));
    }
}

/// What `iptables-save` and `ip6tables-save` printed on nodes with kube-proxy.
const FILES: [(Family, &str); 3] = [
    (Family::Inet, include_str!("../../../../testdata/services/nodes/n1/host/iptables-save")),
    (Family::Inet, include_str!("../../../../testdata/vxlan/nodes/n1/host/iptables-save")),
    (Family::Inet6, include_str!("../../../../testdata/dual-stack/nodes/n1/host/ip6tables-save")),
];

#[test]
fn what_kube_proxy_writes_is_read_the_short_way_and_as_the_grammar_reads_it() {
    for (family, text) in FILES {
        let ruleset = parse(FileId(0), &Text::from(text), family, &mut Vec::new());
        let (mut all, mut short) = (0, 0);
        for line in ruleset.text.lines() {
            let is_short = agrees(line, &ruleset);
            if line.contains("-A KUBE-S") {
                all += 1;
                short += i32::from(is_short);
            }
        }
        assert!(all > 0 && short * 10 > all * 7, "{short} of {all}");
    }
}
