//! Jumps, returns, policies, files that were cut short.

use std::fmt::Write as _;

use super::*;

const CHAINS: &str = ":INPUT ACCEPT\n:A - [0:0]\n:B - [0:0]\n:C - [0:0]";

fn input(rules: &str) -> Host {
    host(&[("iptables-save", &table("filter", CHAINS, rules))])
}

#[test]
fn a_return_goes_back_behind_the_jump() {
    let host = input("-A INPUT -j A\n-A INPUT -j DROP\n-A A -j B\n-A A -j ACCEPT\n-A B -j RETURN\n-A B -j DROP");
    assert_eq!(matched(&host.path().forward), ["INPUT 1", "A 1", "B 1", "A 2"]);
}

#[test]
fn the_end_of_a_chain_is_a_return() {
    let host = input("-A INPUT -j A\n-A INPUT -j ACCEPT\n-A A -p udp -j DROP");
    assert_eq!(matched(&host.path().forward), ["INPUT 1", "INPUT 2"]);
}

#[test]
fn a_goto_returns_to_the_caller_of_its_chain() {
    let host = input("-A INPUT -j A\n-A INPUT -j ACCEPT\n-A A -g B\n-A A -j DROP\n-A B -j RETURN");
    assert_eq!(matched(&host.path().forward), ["INPUT 1", "A 1", "B 1", "INPUT 2"]);
}

#[test]
fn a_goto_from_a_base_chain_ends_at_its_policy() {
    let host = input("-A INPUT -g A\n-A INPUT -j DROP\n-A A -p udp -j DROP");
    assert_eq!(matched(&host.path().forward), ["INPUT 1", "INPUT policy"]);
}

#[test]
fn a_return_in_a_base_chain_ends_at_its_policy() {
    let host = input("-A INPUT -j RETURN\n-A INPUT -j ACCEPT");
    let dropping = host.files.iter().any(|(_, text)| text.contains(":INPUT DROP"));
    assert!(!dropping);
    assert_eq!(matched(&host.path().forward), ["INPUT 1", "INPUT policy"]);
}

#[test]
fn a_policy_drops() {
    let host = host(&[("iptables-save", &table("filter", ":INPUT DROP", "-A INPUT -p udp -j ACCEPT"))]);
    let path = host.path();
    assert_eq!((path.forward.verdict, path.forward.reason), (Verdict::Dropped, Some(Reason::Policy)));
}

#[test]
fn chains_that_lead_in_a_circle_end_the_walk() {
    let host = input("-A INPUT -j A\n-A A -j B\n-A B -j A");
    assert_eq!(host.path().forward.verdict, Verdict::Undetermined);
    let host = input("-A INPUT -g A\n-A A -g B\n-A B -g A");
    assert_eq!(host.path().forward.verdict, Verdict::Undetermined);
}

/// Chains of which each calls the next one, the last one dropping.
fn nested(depth: usize, how: &str) -> String {
    let mut rules = format!("-A INPUT {how} C1\n");
    for chain in 1..depth {
        let _ = writeln!(rules, "-A C{chain} {how} C{}", chain + 1);
    }
    rules + &format!("-A C{depth} -j DROP")
}

#[test]
fn iptables_nft_has_room_for_fifteen_chains_below_one_at_a_hook_and_legacy_for_all() {
    for how in ["-j", "-g"] {
        for (depth, nft) in [(15, Verdict::Dropped), (16, Verdict::Undetermined)] {
            let declared: Vec<String> = (1..=depth).map(|chain| format!("\n:C{chain} - [0:0]")).collect();
            let declared = declared.concat();
            let file = table("filter", &format!(":INPUT ACCEPT{declared}"), &nested(depth, how));
            assert_eq!(host(&[("iptables-save", &file)]).path().forward.verdict, nft, "{how} {depth}");
            let legacy = file.replace("(nf_tables) ", "");
            assert_eq!(host(&[("iptables-save", &legacy)]).path().forward.verdict, Verdict::Dropped, "{how} {depth}");
        }
    }
}

#[test]
fn nft_has_room_for_fifteen_chains_below_one_at_a_hook() {
    for how in ["jump", "goto"] {
        for (depth, verdict) in [(15, Verdict::Dropped), (16, Verdict::Undetermined)] {
            let mut text =
                format!("table ip t {{\n\tchain in {{\n\t\ttype filter hook input priority 0;\n\t\t{how} c1\n\t}}\n");
            for chain in 1..=depth {
                let rule = if chain < depth { format!("{how} c{}", chain + 1) } else { "drop".to_owned() };
                let _ = writeln!(text, "\tchain c{chain} {{\n\t\t{rule}\n\t}}");
            }
            text += "}\n";
            let host = host(&[("iptables-save", EMPTY), ("nft.txt", &text)]);
            assert_eq!(host.path().forward.verdict, verdict, "{how} {depth}");
        }
    }
}

#[test]
fn no_rule_leads_into_a_built_in_chain() {
    let host = input("-A INPUT -p tcp -j A\n-A A -j INPUT");
    assert!(host.answer().paths.iter().any(|path| path.forward.verdict == Verdict::Undetermined));
    let refused = &host.answer().gaps;
    assert!(refused.iter().any(|gap| gap.column.is_some() && gap.what.contains("built-in chain")), "{refused:?}");
}

#[test]
fn a_chain_that_may_go_on_leaves_the_end_undetermined() {
    let cut = table("filter", ":INPUT ACCEPT", "-A INPUT -p udp -j DROP").replace("COMMIT\n", "");
    let host = host(&[("iptables-save", &cut)]);
    assert_eq!(host.path().forward.verdict, Verdict::Undetermined);
    // A table that was cut away may have led the packet past the rule that drops it.
    let dropped = host.with(packet(CLIENT, US, udp(53))).path();
    assert_eq!(dropped.forward.verdict, Verdict::Undetermined);
    let Some(Decision::End { detail: Some(words), .. }) = dropped.forward.steps.last().map(|step| &step.decision)
    else {
        panic!("an undetermined end says why")
    };
    assert!(words.starts_with("it would have been dropped (rule), but "), "{words}");
}

#[test]
fn both_backends_have_a_say() {
    let legacy = table("filter", ":INPUT ACCEPT", "-A INPUT -p tcp -j DROP").replace("(nf_tables) ", "");
    let nft = table("filter", ":INPUT ACCEPT", "-A INPUT -j ACCEPT");
    let host = host(&[("iptables-save", &nft), ("iptables-legacy-save", &legacy)]);
    assert!(host.is_dropped());
    assert!(!host.with(packet(CLIENT, US, udp(53))).is_dropped());
}

#[test]
fn rules_without_a_header_beside_those_of_legacy_are_nfts_unless_they_are_the_same() {
    let header =
        |saved: &str| saved.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n") + "\n";
    let legacy = table("filter", ":INPUT ACCEPT [1:2]", "[3:4] -A INPUT -p tcp -j ACCEPT").replace("(nf_tables) ", "");
    let other = header(&table("filter", ":INPUT ACCEPT [0:0]", "-A INPUT -p udp -j DROP"));
    let asked = |saved: &str| {
        let host = host(&[("iptables-save", saved), ("iptables-legacy-save", &legacy)]);
        host.with(packet(CLIENT, US, udp(53))).answer()
    };
    let answer = asked(&other);
    assert_eq!(answer.paths[0].forward.verdict, Verdict::Dropped);
    // The same, counted at another moment.
    let answer = asked(&header(&legacy).replace("[1:2]", "[5:6]").replace("[3:4] ", "[7:8] "));
    assert_eq!(answer.paths[0].forward.verdict, Verdict::Delivered);
}

#[test]
fn a_verbose_walk_names_what_it_tried_whether_indexed_or_not() {
    let accept = |n: u32| format!("-A INPUT -d 203.0.113.{n}/32 -j DROP\n");
    for count in [3, 40] {
        let rules: String = (1..=count).map(accept).collect();
        let mut host = filter(&format!("{rules}-A INPUT -j ACCEPT"));
        host.verbose = true;
        let path = host.path();
        let step = path.forward.steps.iter().find(|step| matches!(step.decision, Decision::Rule { .. })).unwrap();
        assert_eq!(step.tried.len(), count as usize);
    }
}
