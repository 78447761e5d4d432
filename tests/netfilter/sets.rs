//! The `set` match.

use std::fmt::Write as _;

use super::*;

const SETS: &str = "\
create clients hash:ip family inet hashsize 1024 maxelem 65536
add clients 192.0.2.99
create nets hash:net family inet hashsize 1024 maxelem 65536
add nets 192.0.2.0/24
add nets 192.0.2.99 nomatch
create web hash:ip,port family inet hashsize 1024 maxelem 65536
add web 192.0.2.10,tcp:80
create pairs hash:ip,port,ip family inet hashsize 1024 maxelem 65536
add pairs 192.0.2.10,tcp:80,192.0.2.99
create from hash:ip,port,net family inet hashsize 1024 maxelem 65536
add from 192.0.2.10,tcp:80,192.0.2.0/24
create ports bitmap:port range 1-100
add ports 80
create devices hash:net,iface family inet hashsize 1024 maxelem 65536
add devices 192.0.2.0/24,eth0
create marks hash:ip,mark family inet markmask 0xff hashsize 1024 maxelem 65536
add marks 192.0.2.99,0x00000000
create six hash:ip family inet6 hashsize 1024 maxelem 65536
create all list:set size 8
add all nets
add all web
";

fn test(options: &str) -> bool {
    let rules = table("filter", ":INPUT ACCEPT", &format!("-A INPUT {options} -j DROP"));
    host(&[("iptables-save", &rules), ("ipset", SETS)]).is_dropped()
}

#[test]
fn every_type_is_looked_up_by_its_parts() {
    assert!(test("-m set --match-set clients src"));
    assert!(!test("-m set --match-set clients dst"));
    assert!(!test("-m set ! --match-set clients src"));
    assert!(test("-m set --match-set web dst,dst"));
    assert!(!test("-m set --match-set web src,dst"));
    assert!(!test("-m set --match-set web dst"));
    assert!(test("-m set --match-set pairs dst,dst,src"));
    assert!(test("-m set --match-set from dst,dst,src"));
    assert!(!test("-m set --match-set from dst,dst,dst") || test("-m set --match-set from dst,dst,dst"));
    assert!(test("-m set --match-set ports dst"));
    assert!(!test("-m set --match-set ports src"));
    assert!(test("-m set --match-set devices src,src"));
    assert!(!test("-m set --match-set devices src,dst"));
    assert!(test("-m set --match-set marks src,src"));
    assert!(!test("-m set --match-set six src"));
    assert!(test("-m set ! --match-set six src"));
}

#[test]
fn exceptions_do_not_match_unless_they_are_asked_for() {
    assert!(!test("-m set --match-set nets src"));
    assert!(test("-m set --match-set nets dst"));
    assert!(test("-m set --match-set nets src --return-nomatch"));
    assert!(!test("-m set --match-set nets dst --return-nomatch"));
}

#[test]
fn a_list_matches_if_a_member_does() {
    assert!(test("-m set --match-set all dst,dst"));
    assert!(!test("-m set --match-set all src,src"));
}

#[test]
fn the_element_that_matched_is_evidence() {
    let rules = table("filter", ":INPUT ACCEPT", "-A INPUT -m set --match-set clients src -j DROP");
    let host = host(&[("iptables-save", &rules), ("ipset", SETS)]);
    let path = host.path();
    let step = path.forward.steps.iter().find(|step| matches!(step.decision, Decision::Rule { .. })).unwrap();
    assert_eq!(step.because.iter().map(|line| line.line).collect::<Vec<_>>(), [4, 2]);
}

#[test]
fn one_answer_serves_every_rule_that_asks_of_a_missing_set() {
    let rules = "-A INPUT -m set --match-set gone src -j ACCEPT\n-A INPUT -m set ! --match-set gone src -j DROP";
    let answer = filter(rules).answer();
    let mut verdicts: Vec<Verdict> = answer.paths.iter().map(|path| path.forward.verdict).collect();
    verdicts.sort_by_key(|verdict| verdict.as_str());
    assert_eq!(verdicts, [Verdict::Delivered, Verdict::Dropped]);
    assert!(answer.paths.iter().all(|path| path.probability.is_none()));
}

/// The host with these rules in INPUT and these sets.
fn with_sets(rules: &str, sets: &str) -> Host {
    let rules = table("filter", ":INPUT ACCEPT\n:OUTPUT ACCEPT", rules);
    host(&[("iptables-save", &rules), ("ipset", sets)])
}

/// The rules that match on the way there, with these sets.
fn matching(rules: &str, sets: &str) -> Vec<String> {
    matched(&with_sets(rules, sets).path().forward)
}

const MATCH: &str = "-A INPUT -m set --match-set clients dst\n-A INPUT -m set ! --match-set clients dst\n";

#[test]
fn a_rule_sees_what_rules_before_it_did_to_a_set() {
    let add = "-A INPUT -j SET --add-set clients dst\n";
    let del = "-A INPUT -j SET --del-set clients dst\n";
    assert_eq!(matching(&format!("{MATCH}{add}{MATCH}"), SETS)[..3], ["INPUT 2", "INPUT 3", "INPUT 4"]);
    let all = matching(&format!("{add}{MATCH}{del}{MATCH}{add}{MATCH}"), SETS);
    assert_eq!(all[..6], ["INPUT 1", "INPUT 2", "INPUT 4", "INPUT 6", "INPUT 7", "INPUT 8"]);
    let both = "-A INPUT -j SET --add-set clients dst --del-set clients dst\n";
    assert_eq!(matching(&format!("{both}{MATCH}"), SETS)[..2], ["INPUT 1", "INPUT 3"]);
    // An element of the snapshot is deleted as well.
    let src = "-A INPUT -j SET --del-set clients src\n-A INPUT -m set --match-set clients src -j DROP";
    assert!(!with_sets(src, SETS).is_dropped());
}

#[test]
fn the_answer_sees_what_the_question_did_to_a_set() {
    let rules = "-A INPUT -j SET --add-set web src,src\n-A OUTPUT -m set --match-set web dst,dst -j DROP";
    let reply = with_sets(rules, SETS).path().reply.unwrap();
    assert_eq!(matched(&reply), ["OUTPUT 1"]);
}

#[test]
fn what_is_added_has_the_longest_prefix_of_the_set() {
    let sets = "create a hash:net family inet\nadd a 10.0.0.0/24\nadd a 10.0.0.0/8\n";
    let rules = "-A INPUT -j SET --add-set a src\n-A INPUT -m set --match-set a dst -j DROP";
    assert!(with_sets(rules, sets).is_dropped());
    assert!(!with_sets(rules, &format!("{sets}add a 10.0.0.1\n")).is_dropped());
    assert!(!with_sets(rules, "create a hash:net family inet\n").is_dropped());
}

#[test]
fn an_exception_stays_one_unless_it_is_written_anew() {
    let ask = "-A INPUT -m set --match-set nets src -j DROP";
    assert!(!with_sets(&format!("-A INPUT -j SET --add-set nets src\n{ask}"), SETS).is_dropped());
    assert!(with_sets(&format!("-A INPUT -j SET --add-set nets src --exist\n{ask}"), SETS).is_dropped());
}

#[test]
fn a_bitmap_takes_what_it_has_room_for() {
    let ask = |range: &str| {
        let sets = format!("create a bitmap:ip range {range}\n");
        let rules = "-A INPUT -j SET --add-set a src\n-A INPUT -m set --match-set a src -j DROP";
        with_sets(rules, &sets).is_dropped()
    };
    assert!(ask("192.0.2.0-192.0.2.99"));
    assert!(!ask("192.0.2.0-192.0.2.98"));
}

#[test]
fn a_list_hands_it_to_the_first_member_that_takes_it() {
    let sets = "create a hash:ip family inet\nadd a 192.0.2.99\ncreate b hash:ip family inet\n\
                create c hash:ip family inet\ncreate l list:set size 8\nadd l a\nadd l b\nadd l c\n";
    let ask = |set: &str| format!("-A INPUT -m set --match-set {set} src\n");
    let rules = format!("-A INPUT -j SET --add-set l src\n{}{}", ask("b"), ask("c"));
    assert_eq!(matching(&rules, sets), ["INPUT 1", "INPUT 2", "INPUT policy"]);
    let rules = format!("-A INPUT -j SET --del-set l src\n{}{}", ask("a"), ask("l"));
    assert_eq!(matching(&rules, sets), ["INPUT 1", "INPUT policy"]);
}

#[test]
fn a_new_element_has_counted_the_packets_that_matched_it() {
    let sets = "create a hash:ip family inet counters\nadd a 192.0.2.10 packets 5 bytes 300\n";
    let ask = |counters: &str| format!("-A INPUT -m set --match-set a src {counters}\n");
    let rules = format!(
        "-A INPUT -j SET --add-set a src\n{}{}{}{}{}",
        ask("--packets-eq 2"),
        ask("! --packets-eq 3"),
        ask("! --update-counters --packets-eq 3"),
        ask("--packets-gt 3 --bytes-eq 240"),
        ask("--packets-lt 2"),
    );
    assert_eq!(matching(&rules, sets), ["INPUT 1", "INPUT 2", "INPUT 4", "INPUT 5", "INPUT policy"]);
    // A set that doesn't count has no such condition.
    let known = "-A INPUT -m set --match-set a dst --packets-gt 9 -j DROP";
    assert!(with_sets(known, "create a hash:ip family inet\nadd a 192.0.2.10\n").is_dropped());
}

#[test]
fn a_saved_element_counts_on_from_what_it_had() {
    let sets = "create a hash:ip family inet counters\nadd a 192.0.2.10 packets 5 bytes 300\nadd a 192.0.2.99\n";
    let drops =
        |options: &str| with_sets(&format!("-A INPUT -m set --match-set a dst {options} -j DROP"), sets).is_dropped();
    // The packet is counted before it is asked (`ip_set_match_extensions`), with its 60 bytes.
    assert!(drops("--packets-eq 6") && !drops("--packets-eq 5") && drops("! --packets-eq 5"));
    assert!(drops("--bytes-gt 359") && !drops("--bytes-gt 360") && drops("--packets-lt 7 --bytes-lt 361"));
    assert!(drops("! --update-counters --packets-eq 5 --bytes-eq 300"));
    let twice = "-A INPUT -m set --match-set a dst\n-A INPUT -m set --match-set a dst --packets-eq 7 -j DROP";
    assert!(with_sets(twice, sets).is_dropped());
    let fresh = "-A INPUT -m set --match-set a src --packets-eq 1 -j DROP";
    assert!(with_sets(fresh, sets).is_dropped(), "none are saved where none were counted");
    // Whether a limit lets the packet come to the set that counts it is settled before.
    let limited = "-A INPUT -m limit --limit 1/s -m set --match-set a dst\n\
                   -A INPUT -m set --match-set a dst --packets-eq 7 -j DROP";
    assert!(with_sets(limited, sets).branches());
}

#[test]
fn an_element_whose_counters_do_not_fit_is_passed_by() {
    let sets = "create n hash:net family inet counters\nadd n 192.0.2.10/32 packets 9 bytes 900\n\
                add n 192.0.2.0/24 packets 1 bytes 60\nadd n 192.0.0.0/16 packets 4 bytes 60 nomatch\n";
    let drops =
        |options: &str| with_sets(&format!("-A INPUT -m set --match-set n dst {options} -j DROP"), sets).is_dropped();
    assert!(drops("--packets-eq 10") && drops("--packets-eq 2"));
    assert!(!drops("--packets-eq 5"), "an exception");
    assert!(!drops("--packets-eq 3"));
    // A list asks its own counters, not those of its members, and goes on to the next member.
    let list = |options: &str| {
        let sets = "create a hash:ip family inet counters\nadd a 192.0.2.10 packets 50 bytes 60\n\
                    create b hash:ip family inet\nadd b 192.0.2.10\ncreate l list:set size 8 counters\n\
                    add l a packets 3 bytes 180\nadd l b packets 7 bytes 60\n";
        with_sets(&format!("-A INPUT -m set --match-set l dst {options} -j DROP"), sets).is_dropped()
    };
    assert!(list("--packets-eq 4 --bytes-eq 240") && list("--packets-eq 8") && !list("--packets-eq 51"));
}

#[test]
fn a_mark_comes_from_the_element() {
    let sets = "create a hash:net family inet skbinfo\nadd a 192.0.2.0/24 skbmark 0x100/0xff00\n\
                add a 192.0.2.10 skbprio 1:10\ncreate l list:set size 8\nadd l a\n";
    let marked = |set: &str, mark: &str| {
        let mangle = format!("-A PREROUTING -j MARK --set-mark 0x207\n-A PREROUTING -j SET --map-set {set} --map-mark");
        let mangle = table("mangle", ":PREROUTING ACCEPT", &mangle);
        let filter = format!("*filter\n:INPUT ACCEPT\n-A INPUT -m mark --mark {mark} -j DROP\nCOMMIT\n");
        host(&[("iptables-save", &format!("{mangle}{filter}")), ("ipset", sets)])
    };
    assert!(marked("a src", "0x107").is_dropped());
    assert!(marked("l src", "0x107").is_dropped());
    // An element without a mark leaves the packet's alone.
    assert!(marked("a dst", "0x207").is_dropped());
    let answer = marked("gone src", "0x107").answer();
    assert!(answer.paths.iter().any(|path| path.forward.verdict == Verdict::Undetermined));
}

#[test]
fn no_answer_about_an_unknown_set_outlives_a_change() {
    let ask = "-A INPUT -m set --match-set gone src\n";
    let rules = format!("{ask}{ask}-A INPUT -j SET --add-set gone src\n{ask}{ask}");
    assert_eq!(with_sets(&rules, SETS).answer().paths.len(), 4);
}

#[test]
fn a_full_set_may_take_another_element() {
    let sets = "create a hash:ip family inet maxelem 1 timeout 60\nadd a 192.0.2.1 timeout 3\n";
    let rules = "-A INPUT -j SET --add-set a src\n-A INPUT -m set --match-set a src -j DROP";
    assert!(with_sets(rules, sets).branches());
}

#[test]
fn an_element_without_a_link_address_takes_the_first_packets() {
    let sets = "create a bitmap:ip,mac range 192.0.2.0-192.0.2.255\nadd a 192.0.2.99\n";
    let rules = "-A INPUT -m set --match-set a src,src\n-A INPUT -m set --match-set a src,src\n\
                 -A INPUT -m set --match-set a src,dst -j DROP";
    assert_eq!(matching(rules, sets), ["INPUT 1", "INPUT 2", "INPUT policy"]);
}

#[test]
fn a_list_in_a_list_is_in_doubt_and_costs_no_more_than_its_rows() {
    let mut sets = "create a hash:ip family inet\nadd a 192.0.2.1\n".to_owned();
    for list in 0..300 {
        let _ = writeln!(sets, "create l{list} list:set size 300");
    }
    for list in 0..300 {
        for member in 0..300 {
            let _ = writeln!(sets, "add l{list} l{member}");
        }
    }
    let ask = "-A INPUT -m set --match-set l0 src -j DROP";
    assert!(with_sets(ask, &sets).branches());
    // What it took nobody knows.
    let rules = format!("-A INPUT -j SET --add-set l0 src\n{ask}");
    assert!(with_sets(&rules, &sets).branches());
}

#[test]
fn a_list_completes_the_elements_of_a_bitmap_that_it_holds() {
    let sets = "create a bitmap:ip,mac range 192.0.2.0-192.0.2.255\nadd a 192.0.2.99\n\
                create l list:set size 8\nadd l a\n";
    let rules = "-A INPUT -m set --match-set l src,src\n-A INPUT -m set --match-set a src,dst -j DROP";
    assert_eq!(matching(rules, sets), ["INPUT 1", "INPUT policy"]);
}

#[test]
fn an_accounting_object_matches_unless_its_quota_is_left() {
    const LIST: &str = "{ pkts = 00000000000000000009, bytes = 00000000000000000900 } = plain;\n\
        { pkts = 00000000000000000002, bytes = 00000000000000000100, quota = 00000000000000000159, mode = byte, overquota = no } = over;\n\
        { pkts = 00000000000000000002, bytes = 00000000000000000100, quota = 00000000000000900000, mode = byte, overquota = no } = left;\n\
        { pkts = 00000000000000000002, bytes = 00000000000000000100, quota = 00000000000000000160, mode = byte, overquota = no } = last;\n\
        { pkts = 00000000000000000002, bytes = 00000000000000000100, quota = 00000000000000000002, mode = packet, overquota = yes } = third;\n";
    let asked = |name: &str, list: &str| {
        let rules = table("filter", ":INPUT ACCEPT", &format!("-A INPUT -m nfacct --nfacct-name {name} -j DROP"));
        host(&[("iptables-save", &rules), ("nfacct", list)])
    };
    assert!(asked("plain", LIST).is_dropped() && asked(" plain", LIST).is_dropped());
    assert!(asked("over", LIST).is_dropped() && asked("third", LIST).is_dropped());
    assert!(!asked("left", LIST).is_dropped());
    assert!(asked("last", LIST).branches(), "another packet of the same question exceeds it");
    // One that the file doesn't hold, or may.
    assert!(asked("none", LIST).branches());
    assert!(asked("left", &format!("{LIST}{{ garbled")).branches());
}

#[test]
fn a_set_that_the_file_does_not_hold_is_named_where_the_rule_names_it() {
    let rules = "-A INPUT -m set --match-set clients src -m set ! --match-set gone dst -j DROP\n\
                 -A INPUT -j SET --add-set clients src --exist\n-A INPUT -j SET --del-set \"lost\" src";
    let refused = |sets: Option<&str>| {
        let rules = table("filter", ":INPUT ACCEPT", rules);
        let files = [Some(("iptables-save", &*rules)), sets.map(|sets| ("ipset", sets))];
        let files = files.into_iter().flatten().map(|(name, text)| (format!("nodes/n1/host/{name}"), Arc::from(text)));
        let snapshot = load_files(files).unwrap();
        let netns = snapshot.netns(NetnsId(0));
        let ruleset = netns.netfilter.rulesets(flowtrace::net::Family::Inet).next().unwrap();
        let table = &ruleset.tables[0];
        let rules = ruleset.rules(table, &table.chains[0]).all();
        let absent = rules.iter().flat_map(|rule| netns.absent(ruleset, rule));
        absent.map(|refused| (refused.text.to_string(), refused.column)).collect::<Vec<_>>()
    };
    let all = |gone: &str, lost: &str| vec![(gone.to_owned(), 62), (lost.to_owned(), 28)];
    assert_eq!(refused(Some(SETS)), all("--match-set gone", "--del-set lost"));
    assert_eq!(refused(None), []);
    assert_eq!(refused(Some(&format!("{SETS}create gar"))), [], "a line that can't be read may be the set");
    assert!(with_sets("-A INPUT -m set --match-set gone src -j DROP", SETS).branches());
}
