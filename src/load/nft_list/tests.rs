use super::*;
use crate::net::Family;
use crate::snapshot::nft::Statement;

fn nft(text: &str) -> (Nft, Vec<Gap>) {
    let mut gaps = Vec::new();
    let nft = parse(FileId(0), &Text::from(text), &mut gaps);
    (nft, gaps)
}

const TABLES: &str = "\
# Warning: table ip nat is managed by iptables-nft, do not touch!
table ip nat {
\tchain POSTROUTING {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tcounter packets 0 bytes 0 jump KUBE-POSTROUTING
\t}
\tchain KUBE-POSTROUTING {
\t\tmark and 0x4000 != 0x4000 counter packets 0 bytes 0 return
\t\tcounter packets 0 bytes 0 masquerade fully-random
\t}
}
table inet quiet {
\tcomment \"of nobody\"
\tset blocked {
\t\ttype ipv4_addr
\t\telements = { 192.0.2.1,
\t\t\t     192.0.2.2 }
\t}
\tchain in {
\t\tcomment \"in\"
\t\ttype filter hook input priority filter + 10; policy accept;
\t\tip saddr @blocked counter log prefix \"drop \" accept # handle 4
\t\tjump harmless
\t}
\tchain harmless {
\t\tcounter
\t}
\tchain out {
\t\ttype filter hook output priority -5; policy drop;
\t}
}
";

#[test]
fn tables_chains_and_sets_are_read() {
    let (nft, gaps) = nft(TABLES);
    assert_eq!(gaps, []);
    assert!(nft.tables[0].iptables && !nft.tables[1].iptables);
    let out = nft.base_chains(&[NftFamily::Ip, NftFamily::Inet], Hook::Output);
    assert_eq!(out[0].2.hook.as_ref().unwrap().priority, Some(-5));
    let input = &nft.tables[1].chains[0];
    assert_eq!(input.hook.as_ref().unwrap().priority, Some(10));
    assert_eq!(nft.rule_text(&input.rules[0]), "ip saddr @blocked counter log prefix \"drop \" accept");
    assert_eq!(nft.tables[1].set("blocked").unwrap().len(), 2);
    assert!(nft.has_nat(Family::Inet) && !nft.has_nat(Family::Inet6));
}

#[test]
fn a_rule_that_is_not_understood_costs_itself_only() {
    let text = TABLES.replace("jump harmless", "tcp dport eighty { drop\n\t\tudp dport 53 drop");
    let (nft, gaps) = nft(&text.replace("eighty {", "eighty"));
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].what.contains("column 13"), "{}", gaps[0].what);
    assert_eq!(gaps[0].evidence, [Evidence::line(FileId(0), 23)]);
    let rules = &nft.tables[1].chains[0].rules;
    assert!(matches!(*rules[1].statements, [Statement::Unread(_)]));
    assert!(matches!(*rules[2].statements, [Statement::Match(_), Statement::Verdict(_)]));
}

#[test]
fn a_file_that_is_cut_off_may_lack_rules() {
    let (nft, gaps) = nft(TABLES.split("jump KUBE").next().unwrap());
    assert_eq!(gaps.len(), 1);
    assert!(nft.tables[0].chains[0].open.is_some());
}

#[test]
fn nothing_that_is_written_hangs_the_reader() {
    let pieces = [
        "table", "inet", "t", "{", "}", "chain", "comment", "set", "map", "type", ";", "xt", "queue", "=", "elements",
        "jump", "\"", ",", "policy", "flags", "\n", "synproxy", "(", "@s", "vmap", ":", "ct", "update",
    ];
    let mut state = 7u64;
    for _ in 0..3000 {
        let mut text = String::from("table inet t {\n");
        for _ in 0..30 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
            text.push(' ');
        }
        nft(&text);
    }
}
