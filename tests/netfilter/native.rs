//! nft's own tables, and those that iptables-nft keeps there.

use super::*;

const HARMLESS: &str = "\
table inet fw { # handle 1
\tset s { # handle 5
\t\ttype ipv4_addr
\t\tflags interval
\t\telements = { 10.0.0.0/8, 192.0.2.1 }
\t}

\tchain sub { # handle 1
\t\tcounter packets 0 bytes 0 # handle 7
\t\treturn # handle 8
\t}

\tchain in { # handle 2
\t\ttype filter hook input priority filter + 10; policy accept;
\t\tct state established accept # handle 9
\t\tip saddr { 1.2.3.4, 5.6.7.8 } counter packets 0 bytes 0 accept comment \"drop it\" # handle 11
\t\tjump sub # handle 12
\t}
}
";

const IPTABLES: &str = "\
table ip filter {
\tchain INPUT {
\t\ttype filter hook input priority filter; policy accept;
\t\tmeta l4proto tcp counter packets 0 bytes 0 drop
\t}
}
";

const JSON: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
    {"table": {"family": "inet", "name": "fw", "handle": 1}},
    {"map": {"family": "inet", "name": "m", "table": "fw", "type": "inet_service", "map": "verdict"}},
    {"chain": {"family": "inet", "table": "fw", "name": "sub", "handle": 1}},
    {"chain": {"family": "inet", "table": "fw", "name": "in", "type": "filter", "hook": "input", "prio": 10, "policy": "accept"}},
    {"rule": {"family": "inet", "table": "fw", "chain": "sub", "expr": [{"counter": {"packets": 0}}, WHAT]}},
    {"rule": {"family": "inet", "table": "fw", "chain": "in", "expr": [{"jump": {"target": "sub"}}]}}]}"#;

fn verdict(files: &[(&str, &str)]) -> Verdict {
    host(files).path().forward.verdict
}

#[test]
fn a_chain_that_can_do_nothing_is_passed_by() {
    assert_eq!(verdict(&[("nft.txt", HARMLESS)]), Verdict::Delivered);
    assert_eq!(verdict(&[("nft.txt", "")]), Verdict::Delivered);
    assert_eq!(verdict(&[("nft.json", &JSON.replace("WHAT", "{\"return\": null}"))]), Verdict::Delivered);
}

#[test]
fn a_rule_or_a_policy_that_drops_ends_the_packet() {
    let dropping = HARMLESS.replace("return #", "tcp dport 80 drop #");
    assert_eq!(verdict(&[("nft.txt", &dropping)]), Verdict::Dropped);
    assert_eq!(verdict(&[("nft.txt", &HARMLESS.replace("policy accept", "policy drop"))]), Verdict::Dropped);
    assert_eq!(verdict(&[("nft.json", &JSON.replace("WHAT", "{\"drop\": null}"))]), Verdict::Dropped);
    let marking = "{\"mangle\": {\"key\": {\"meta\": {\"key\": \"mark\"}}, \"value\": 1}}";
    let path = host(&[("nft.json", &JSON.replace("WHAT", marking))]).path();
    assert_eq!(path.forward.verdict, Verdict::Delivered);
    assert_eq!(path.forward.steps.last().unwrap().packet.mark, Mark(1));
}

#[test]
fn only_packets_of_the_family_and_the_hook_meet_a_chain() {
    let forward = HARMLESS.replace("hook input", "hook forward").replace("policy accept", "policy drop");
    assert_eq!(verdict(&[("nft.txt", &forward)]), Verdict::Delivered);
    let six = forward.replace("table inet", "table ip6").replace("hook forward", "hook input");
    assert_eq!(verdict(&[("nft.txt", &six)]), Verdict::Delivered);
    let dormant = HARMLESS.replace("policy accept", "policy drop").replace("\tset s", "\tflags dormant\n\tset s");
    assert_eq!(verdict(&[("nft.txt", &dormant)]), Verdict::Delivered);
}

#[test]
fn devices_have_chains_of_their_own() {
    let chain = |dev: &str| {
        format!(
            "table netdev nd {{\n\tchain e {{\n\t\ttype filter hook ingress device \"{dev}\" priority 0; policy accept;\n                 \t\tdrop\n\t}}\n}}\n"
        )
    };
    assert_eq!(verdict(&[("nft.txt", &chain("eth0"))]), Verdict::Dropped);
    assert_eq!(verdict(&[("nft.txt", &chain("eth1"))]), Verdict::Delivered);
}

#[test]
fn a_table_of_which_base_chains_alone_are_listed_is_read_in_iptables_save() {
    let rules = "-A INPUT -p udp -j SUB\n-A SUB -j ACCEPT";
    let saved = table("filter", ":INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:SUB -", rules);
    let chain = |hook: &str, name: &str, rules: &str| {
        format!("\tchain {name} {{\n\t\ttype filter hook {hook} priority 0; policy accept;\n{rules}\t}}\n")
    };
    let own = format!("table ip own {{\n{}}}\n", chain("input", "x", "\t\tcounter\n"));
    let input = chain("input", "INPUT", "\t\tmeta l4proto udp counter packets 0 bytes 0 jump SUB\n");
    let sub = "\tchain SUB {\n\t\tcounter packets 0 bytes 0 accept\n\t}\n";
    let whole = format!("table ip filter {{\n{input}{sub}}}\n");
    let said = "# iptables-nft's: base chains alone, which tell the order; all chains and rules are in iptables-save";
    let bases = format!("{said} (2 rules)\ntable ip filter {{\n{}}}\n", chain("input", "INPUT", ""));
    let answer = |nft: &str| {
        let answer = host(&[("iptables-save", &saved), ("nft.txt", nft)]).answer();
        // Where a line stands differs with the lines before it.
        let gaps: Vec<String> = answer.gaps.iter().map(|gap| gap.what.clone()).collect();
        let path = answer.paths.into_iter().next().unwrap();
        let chains = path.forward.steps.iter().filter_map(|step| match &step.decision {
            Decision::Policy { chain, .. } | Decision::Rule { chain, .. } => Some(chain.clone()),
            _ => None,
        });
        let chains: Vec<String> = chains.collect();
        (path.forward.verdict, chains, gaps)
    };
    for [one, other] in [[&*own, ""], ["", &*own], ["", ""]] {
        assert_eq!(answer(&format!("{one}{bases}{other}")), answer(&format!("{one}{whole}{other}")));
    }
    // Its order among chains of the same priority is told.
    assert_ne!(answer(&format!("{own}{bases}")).1, answer(&format!("{bases}{own}")).1);
    // Where `iptables-save` does not hold the table, its rules are not known.
    let without = host(&[("iptables-save", EMPTY), ("nft.txt", &bases)]);
    assert_eq!(without.path().forward.verdict, Verdict::Undetermined);
    // And so it is where it holds another one: of the other backend, or of another moment.
    let legacy = saved.replace(" (nf_tables)", "");
    let changed = saved.replace("-A SUB -j ACCEPT\n", "");
    let policy = saved.replace(":FORWARD", ":X").replace(":INPUT ACCEPT", ":INPUT DROP");
    for (other, gap) in [(&legacy, ""), (&changed, "has 1 rules here, and 2"), (&policy, "has the policy DROP")] {
        assert_ne!(*other, saved);
        let host = host(&[("iptables-save", other), ("nft.txt", &bases)]);
        let gaps = load_files(host.files.clone()).unwrap().gaps;
        assert!(gap.is_empty() || gaps.iter().any(|told| told.what.contains(gap)), "{gap}: {gaps:?}");
        let answer = host.answer();
        let open = answer.paths.iter().all(|path| path.forward.verdict == Verdict::Undetermined);
        assert_eq!(open, !gap.contains("policy"), "{gap}");
    }
}

#[test]
fn a_table_that_iptables_printed_runs_once() {
    let saved = table("filter", ":INPUT ACCEPT", "-A INPUT -p udp -j DROP");
    assert_eq!(verdict(&[("iptables-save", &saved), ("nft.txt", IPTABLES)]), Verdict::Delivered);
    // Without a header it is told by its chains.
    let bare = saved.replace(EMPTY, "");
    let path = host(&[("iptables-save", &bare), ("nft.txt", IPTABLES)]).path();
    assert_eq!(path.forward.verdict, Verdict::Delivered);
    let backends = path.forward.steps.iter().filter_map(|step| match step.decision {
        Decision::Policy { backend, .. } => Some(backend),
        _ => None,
    });
    assert_eq!(backends.collect::<Vec<_>>(), ["nft"]);
    // What iptables-save did not print is nft's own.
    assert_eq!(verdict(&[("iptables-save", EMPTY), ("nft.txt", IPTABLES)]), Verdict::Dropped);
}
