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
fn link_addresses_may_lack_leading_zeros() {
    let rule = |text: &str| {
        let text = format!("table bridge t {{\n chain c {{\n  {text}\n }}\n}}\n");
        let (nft, gaps) = nft(&text);
        assert_eq!(gaps, [], "{text}");
        nft.tables[0].chains[0].rules[0].statements.clone()
    };
    for text in [
        "ether daddr set 2:0:0:0:1:1 accept",
        "ether saddr { 2:0:0:0:1:1, a:b:c:d:e:f } drop",
        "ether saddr 2:0:0:0:0:0/16 drop",
    ] {
        let long = text.replace("2:0:0:0:1:1", "02:00:00:00:01:01").replace("a:b:c:d:e:f", "0a:0b:0c:0d:0e:0f");
        let long = long.replace("2:0:0:0:0:0/", "02:00:00:00:00:00/");
        assert_eq!(format!("{:?}", rule(text)), format!("{:?}", rule(&long)));
    }
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
fn of_very_many_rules_that_say_next_to_nothing_the_first_are_read() {
    let text = format!("table ip t {{\n chain c {{\n{}ip saddr 192.0.2.1 drop\n }}\n}}\n", "drop\n".repeat(5000));
    let (listed, gaps) = nft(&text);
    let chain = &listed.tables[0].chains[0];
    assert_eq!((chain.rules.len(), chain.open), (1000, Some(Evidence::line(FileId(0), 1003))));
    assert_eq!((gaps.len(), gaps[0].column), (1, Some(1)));
    let (listed, gaps) = nft(&text.replace("drop\n", "ip saddr 192.0.2.1 drop\n"));
    assert_eq!((listed.tables[0].chains[0].rules.len(), gaps.len()), (5001, 0));
}

#[test]
fn rules_behind_many_lines_that_nobody_understands_keep_their_places() {
    let (listed, _) = nft(&format!("table ip t {{\n chain c {{\n{} drop\n }}\n}}\n", "shiny thing here\n".repeat(200)));
    let rules = &listed.tables[0].chains[0].rules;
    assert_eq!((rules.len(), rules.last().map(|rule| rule.index)), (65, Some(201)));
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

/// The lines and columns of the gaps, and the rules that are marked.
fn marked(chains: &str) -> (Vec<(u32, Option<u32>)>, Vec<String>) {
    let (nft, gaps) = nft(&format!("table ip t {{\n{chains}}}\n"));
    let places = gaps.iter().map(|gap| (gap.evidence[0].line, gap.column)).collect();
    let rules = nft.tables[0].chains.iter().flat_map(|chain| &chain.rules);
    let refused = rules.filter(|rule| matches!(rule.statements.last(), Some(Statement::Refused(_))));
    (places, refused.map(|rule| nft.rule_text(rule)).collect())
}

#[test]
fn rules_that_name_what_is_not_there_are_marked_where_they_name_it() {
    let chain = |rule: &str| format!("\tchain c {{\n\t\tcounter\n\t\t{rule}\n\t}}\n\tchain d {{\n\t}}\n");
    for (rule, column) in [
        ("ip saddr 192.0.2.1 jump nochain", 22),
        ("ip saddr @nosuch drop", 12),
        ("ip saddr . tcp dport vmap @nosuch", 29),
        ("tcp dport vmap { 80 : goto nochain, 81 : jump d }", 25),
        ("jump c", 3),
    ] {
        assert_eq!(marked(&chain(rule)), (vec![(4, Some(column))], vec![rule.to_owned()]));
    }
    assert_eq!(marked(&chain("tcp dport vmap { 80 : goto d }")), (vec![], vec![]));
}

#[test]
fn chains_in_a_circle_are_marked_and_others_stand() {
    let chains = "\tmap m {\n\t\ttype inet_service : verdict\n\t\telements = { 80 : jump b }\n\t}\n\
                  \tchain in {\n\t\ttype filter hook input priority 0;\n\t\tjump a\n\t}\n\
                  \tchain a {\n\t\ttcp dport vmap @m\n\t}\n\
                  \tchain b {\n\t\tjump a\n\t\tgoto d\n\t}\n\tchain d {\n\t\tdrop\n\t}\n";
    assert_eq!(marked(chains).1, ["tcp dport vmap @m", "jump a"]);
    assert_eq!(marked(chains).0, [(11, Some(18)), (14, Some(3))]);
    let to_base = "\tchain in {\n\t\ttype filter hook input priority 0;\n\t}\n\tchain a {\n\t\tjump in\n\t}\n";
    assert_eq!(marked(to_base), (vec![(6, Some(3))], vec!["jump in".to_owned()]));
}

#[test]
fn a_tables_flag_that_is_none_leaves_the_table_open() {
    let table = |flags: &str| {
        let (nft, gaps) = nft(&format!("table ip t {{\n\tflags {flags}\n\n\tchain c {{\n\t}}\n}}\n"));
        let table = &nft.tables[0];
        assert_eq!(table.chains.len(), 1);
        (table.dormant, table.unread.is_some(), gaps.first().and_then(|gap| gap.column))
    };
    assert_eq!(table("dormant"), (true, false, None));
    assert_eq!(table("owner"), (false, false, None));
    assert_eq!(table("dormant,owner"), (true, false, None));
    assert_eq!(table("frob"), (false, true, Some(8)));
}

#[test]
fn a_lost_brace_costs_its_rule_and_the_rest_stands() {
    let text =
        TABLES.replace("jump harmless", "tcp dport { 1, 2 drop\n\t\tudp dport { 3, 4 } drop\n\t\tudp dport 53 drop");
    let (nft, gaps) = nft(&text);
    assert_eq!((gaps.len(), gaps[0].evidence[0].line), (1, 23), "{gaps:?}");
    let table = &nft.tables[1];
    let names: Vec<&str> = table.chains.iter().map(|chain| &*chain.name).collect();
    assert_eq!(names, ["in", "harmless", "out"]);
    assert_eq!(table.chains[0].rules.len(), 4);
    let unread = |rule: &&NftRule| matches!(*rule.statements, [Statement::Unread(_)]);
    assert_eq!(table.chains[0].rules.iter().filter(unread).count(), 1);
}

#[test]
fn many_lost_braces_cost_their_rules_once() {
    // Read again for each block around it, the first would take days, and the others minutes.
    for (rule, column) in [
        ("ip saddr 10.0.0.1 jump {", 26),
        ("ip saddr 10.0.0.1 tcp dport { 1, 2", 3),
        ("socket cgroupv2 level 2 { x", 27),
        ("nonsense of no kind at all {", 3),
    ] {
        let lost = format!("\t\t{rule}\n").repeat(6_000);
        let (nft, gaps) =
            nft(&format!("table ip t {{\n\tchain a {{\n{lost}\t\taccept\n\t}}\n\tchain b {{\n\t\tdrop\n\t}}\n}}\n"));
        let first = &gaps[0];
        assert!(first.evidence[0].line <= 4 && first.column == Some(column), "{rule}: {first:?}");
        let unread = |rule: &&NftRule| matches!(*rule.statements, [Statement::Unread(_)]);
        let counts = |chain: &NftChain| (chain.rules.len(), chain.rules.iter().filter(unread).count());
        let chains: Vec<_> = nft.tables[0].chains.iter().map(counts).collect();
        // Of those that stand one behind the other, the first ones are kept.
        assert_eq!(chains, [(65, 64), (1, 0)], "{rule}");
    }
}

#[test]
fn what_stands_twice_again_and_again_is_compared_once() {
    let (tables, _) = nft(&"table ip t {\n}\n".repeat(6_000));
    assert_eq!(tables.tables.iter().filter(|table| table.unread.is_none()).count(), 1);
    let (sets, _) = nft(&format!("table ip t {{\n{}}}\n", "\tset s { type ipv4_addr; }\n".repeat(6_000)));
    assert_eq!(sets.tables[0].sets.iter().filter(|set| set.unread.is_none()).count(), 0);
}

#[test]
fn a_chain_without_its_end_ends_where_the_next_one_begins() {
    let text = TABLES.replace("jump harmless\n\t}\n", "jump harmless\n");
    let (nft, gaps) = nft(&text);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let table = &nft.tables[1];
    assert_eq!((table.chains.len(), table.chains[0].rules.len()), (3, 2));
    assert!(table.chains[0].open.is_some() && table.chains[2].hook.is_some());
}

#[test]
fn flags_rates_and_times_are_those_that_nft_prints() {
    let rule = |rule: &str| nft(&format!("table ip t {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n"));
    for known in
        ["limit rate 5/week", "limit rate over 10 mbytes/second burst 5 packets", "ct expiration ", "ct expiration"]
    {
        let (nft, gaps) = rule(known);
        assert_eq!((gaps.len(), nft.tables[0].chains[0].rules.len()), (0, 1), "{known}");
    }
    for (unknown, column) in [("limit rate 5/fortnight", 14), ("limit rate x/second", 14)] {
        assert_eq!(rule(unknown).1[0].column, Some(column), "{unknown}");
    }
    let hook = "type filter hook ingress device \"eth0\" priority filter; flags FLAG; policy accept;\n\t\tdrop";
    let (nft, gaps) = rule(&hook.replace("FLAG", "offload"));
    assert_eq!((gaps.len(), nft.tables[0].chains[0].rules.len()), (0, 1));
    assert_eq!(rule(&hook.replace("FLAG", "frob")).1.len(), 1);
}

#[test]
fn what_stands_twice_is_told_where_it_stands_again() {
    let chain = "\tchain c {\n\t\ttype filter hook input priority 0;\n\t\tdrop\n\t}\n";
    let places = |text: &str| {
        let (nft, gaps) = nft(text);
        (nft, gaps.iter().map(|gap| (gap.evidence[0].line, gap.column)).collect::<Vec<_>>())
    };
    let (twice, told) = places(&format!("table ip t {{\n{chain}}}\ntable ip6 t {{\n}}\ntable ip t {{\n{chain}}}\n"));
    assert_eq!(told, [(9, Some(1))]);
    assert_eq!(twice.tables.iter().map(|table| table.unread.is_some()).collect::<Vec<_>>(), [false, false, true]);
    let (twice, told) = places(&format!("table ip t {{\n{chain}\tchain d {{\n\t}}\n{chain}}}\n"));
    assert_eq!(told, [(8, Some(8))]);
    assert!(twice.tables[0].chains.len() == 3 && twice.tables[0].unread.is_some_and(|line| line.line == 8));
    let set = |addr: &str| format!("\tset s {{\n\t\ttype ipv4_addr\n\t\telements = {{ {addr} }}\n\t}}\n");
    let (twice, told) = places(&format!("table ip t {{\n{}{}}}\n", set("10.0.0.1"), set("10.0.0.2")));
    assert_eq!(told, [(6, Some(6))]);
    assert!(twice.tables[0].sets.iter().all(|set| set.unread.is_some() && set.is_empty()));
}
