//! The `set` match.

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

#[test]
fn a_set_that_a_rule_changed_is_not_known_any_more() {
    let rules = "-A INPUT -j SET --add-set clients dst\n-A INPUT -m set --match-set clients dst -j DROP";
    let rules = table("filter", ":INPUT ACCEPT", rules);
    assert!(host(&[("iptables-save", &rules), ("ipset", SETS)]).branches());
}
