//! Files of netfilter's rules that could not be read: what stands in them may be any rule. And forms of one table that
//! contradict each other.

use flowtrace::load::load;
use serde_json::Value;

use super::bundled::{Files, Form};
use super::program::flowtrace;

const N1: &str = "nodes/n1/host/";
const POD1: &str = "nodes/n1/pods/default_pod1/";

fn vxlan() -> Files {
    Files::bundled("vxlan")
}

fn n1(name: &str) -> String {
    format!("{N1}{name}")
}

/// The exit code of `default/pod1` to `default/pod2`, the verdict, and everything that is said.
fn ask(files: &Files, more: &[&str]) -> (Option<i32>, String, String) {
    let there = files.write(Form::Tar);
    let question = ["explain", "--snapshot", there.as_str(), "default/pod1", "default/pod2", "-o", "json"];
    let ran = flowtrace(&[&question, more].concat());
    let answer: Value = serde_json::from_str(&ran.out).unwrap_or_else(|err| panic!("{err}: {ran:?}"));
    (ran.code, answer["verdict"].as_str().unwrap_or_default().to_owned(), ran.out)
}

fn check_open(files: &Files, more: &[&str], line: &str) {
    let (code, verdict, said) = ask(files, more);
    assert_eq!((code, verdict.as_str()), (Some(3), "undetermined"), "{line}");
    assert!(said.contains(&format!("{line} could not be read")), "{said} does not name {line}");
    for file in ["iptables-save is missing", "ip6tables-save is missing"] {
        assert!(!said.contains(file), "{said}");
    }
}

fn check_certain(files: &Files, more: &[&str]) {
    let (code, verdict, said) = ask(files, more);
    assert_eq!((code, verdict.as_str()), (Some(0), "delivered"), "{said}");
}

fn gaps(files: &Files) -> Vec<String> {
    load(&files.write(Form::Tar).path).unwrap().gaps.into_iter().map(|gap| gap.what).collect()
}

#[test]
fn a_file_without_a_readable_rule_may_hold_any() {
    let without_nft = vxlan().without(&n1("nft.txt"));
    for garbage in ["bash: iptables-save: command not found\n", "xx\n", "Permission denied (you must be root)\n", "xx"]
    {
        for files in [&without_nft, &vxlan()] {
            let path = n1("iptables-save");
            check_open(&files.clone().with(&path, garbage), &[], &format!("{path}:1"));
        }
        let path = format!("{POD1}iptables-save");
        check_open(&vxlan().with(&path, garbage), &[], &format!("{path}:1"));
        for name in ["iptables-legacy-save", "nft.json", "nft.txt"] {
            let path = n1(name);
            check_open(&vxlan().without(&n1("nft.txt")).with(&path, garbage), &[], &format!("{path}:1"));
        }
    }
    let six = Files::bundled("dual-stack").with(&n1("ip6tables-save"), "xx\n");
    check_open(&six, &["-6"], &format!("{N1}ip6tables-save:1"));
    check_certain(&six, &["-4"]);
}

#[test]
fn an_empty_file_says_that_there_are_no_rules() {
    for name in ["iptables-save", "iptables-legacy-save"] {
        let path = format!("{POD1}{name}");
        check_certain(&vxlan().with(&path, ""), &[]);
        check_certain(&vxlan().with(&path, "# Warning: a remark of somebody\n"), &[]);
    }
    check_certain(&vxlan().with(&format!("{POD1}nft.txt"), ""), &[]);
    check_certain(&vxlan().with(&n1("ipset"), ""), &[]);
}

#[test]
fn an_empty_file_of_nfts_json_says_nothing() {
    let path = format!("{POD1}nft.json");
    check_open(&vxlan().with(&path, ""), &[], &format!("{path}:1"));
    let empty = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}]}"#;
    check_certain(&vxlan().with(&path, empty), &[]);
}

#[test]
fn a_line_outside_every_table_may_be_a_rule() {
    let path = n1("iptables-save");
    let first = vxlan().edit(&path, |text| format!("some tool: a complaint\n{text}"));
    check_open(&first, &[], &format!("{path}:1"));
    let last = vxlan().edit(&path, |text| format!("{text}-X FORWARD\n"));
    check_open(&last, &[], &format!("{path}:{}", last.text(&path).lines().count()));
    let head = vxlan().edit(&path, |text| text.replacen("*filter", "*filXter", 1));
    let line = head.text(&path).lines().position(|line| line == "*filXter").unwrap() + 1;
    check_open(&head, &[], &format!("{path}:{line}"));
    let headless = vxlan().edit(&path, |text| text.replacen("*filter", "filter", 1));
    check_open(&headless, &[], &format!("{path}:{line}"));
}

/// The answer is open, and says so in these words.
fn check_said(files: &Files, words: &str) {
    let (code, verdict, said) = ask(files, &[]);
    assert_eq!((code, verdict.as_str()), (Some(3), "undetermined"), "{words}");
    assert!(said.contains(words) && !said.contains("could not be read"), "{said} does not say {words}");
}

#[test]
fn a_file_of_rules_that_was_cut_off_is_said_to_be() {
    let path = n1("iptables-save");
    let cut = vxlan().edit(&path, |text| text.trim_end().trim_end_matches(|c| c != '#').to_owned());
    let last = cut.text(&path).lines().count();
    check_said(
        &cut,
        &format!("{path}:{last} is where the file was cut off, and a rule that decides may have followed"),
    );
    // Within a table and within a rule.
    let path = n1("iptables-save");
    let cut = vxlan().edit(&path, |text| text[..text.find(" --to-destination").unwrap()].to_owned());
    let last = cut.text(&path).lines().count();
    check_said(
        &cut,
        &format!("{path}:{last} is where the file was cut off, and a rule that decides may have followed"),
    );
    let path = n1("nft.txt");
    let cut = vxlan().edit(&path, |text| text.trim_end().trim_end_matches('}').trim_end().to_owned());
    let last = cut.text(&path).lines().count();
    check_said(
        &cut,
        &format!("{path}:{last} is where the file was cut off, and a rule that decides may have followed"),
    );
}

#[test]
fn a_file_of_rules_without_its_last_line_end_is_whole() {
    let save = n1("iptables-save");
    check_whole(&vxlan().edit(&save, |text| text.trim_end().to_owned()));
    let comments = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let bare = vxlan().without(&n1("nft.txt")).edit(&save, comments);
    assert!(bare.text(&save).ends_with("COMMIT"));
    check_whole(&bare);
    check_whole(&vxlan().edit(&n1("nft.txt"), |text| text.trim_end().to_owned()));
}

#[test]
fn a_file_of_rules_that_ends_within_its_last_comment_was_cut_off() {
    let save = n1("iptables-save");
    let date = " on Sat Nov 28 10:00:00 2026";
    let table = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    let text = format!("# Generated by iptables-save v1.8.9 (nf_tables){date}\n{table}# Completed{date}");
    let files = |text: &str| vxlan().without(&n1("nft.txt")).with(&save, text);
    let is_cut = |text: &str| gaps(&files(text)).iter().any(|gap| gap.contains("in the middle of a line"));
    assert!(!is_cut(&text));
    for end in text.len() - date.len() - "\n# Completed".len()..text.len() {
        assert!(is_cut(&text[..end]) || text[..end].ends_with('\n'), "{:?}", &text[..end]);
    }
}

fn check_whole(files: &Files) {
    check_certain(files, &[]);
    assert_eq!(gaps(files).iter().find(|gap| gap.contains("in the middle of a line")), None);
}

#[test]
fn junk_in_a_file_that_does_not_count_leaves_nothing_open() {
    let legacy = "# Generated by iptables-save v1.8.9 on Mon Nov 23 00:21:00 2026\n*filter\n:INPUT ACCEPT [0:0]\n\
                  :FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    let (plain, counts) = (format!("{POD1}iptables-save"), format!("{POD1}iptables-legacy-save"));
    let junk = format!("{legacy}some tool: a complaint\n");
    check_certain(&vxlan().with(&counts, legacy).with(&plain, junk.as_str()), &[]);
    let line = junk.lines().count();
    check_open(&vxlan().with(&counts, junk.as_str()).with(&plain, legacy), &[], &format!("{counts}:{line}"));
    // What holds no table may be what the other backend's tool said.
    check_open(&vxlan().with(&counts, legacy).with(&plain, "xx\n"), &[], &format!("{plain}:1"));
}

#[test]
fn a_table_that_iptables_could_not_print_is_said_to_be_one() {
    let path = format!("{POD1}iptables-save");
    let files = vxlan().with(&path, "# Table `foo' is incompatible, use 'nft' tool.\n");
    check_said(&files, &format!("{path}:1 says that iptables could not print a table, and a rule of that table may"));
}

#[test]
fn a_line_before_the_first_rule_may_be_a_chain() {
    let path = n1("iptables-save");
    let chain = vxlan().edit(&path, |text| text.replacen(":FORWARD ", "FORWARD ", 1));
    let line = chain.text(&path).lines().position(|line| line.starts_with("FORWARD ")).unwrap() + 1;
    let (code, verdict, said) = ask(&chain, &[]);
    assert_eq!((code, verdict.as_str()), (Some(3), "undetermined"));
    assert!(said.contains(&format!("{path}:{line} could not be read")), "{said}");
}

#[test]
fn a_line_between_rules_may_be_of_any_chain_around_it() {
    // The last rule of one chain, and the first of the next.
    let rules = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\n\
                 garbage\n-A OUTPUT -j ACCEPT\nCOMMIT\n";
    let path = n1("iptables-save");
    let files = vxlan().without(&n1("nft.txt")).without(&n1("ip6tables-save")).with(&path, rules);
    let (code, verdict, said) = ask(&files, &["--no-reply"]);
    assert_eq!((code, verdict.as_str()), (Some(3), "undetermined"), "{said}");
    assert!(said.contains(&format!("{path} may lack rules at the end of chain FORWARD")), "{said}");
}

#[test]
fn a_part_of_nfts_rules_that_cannot_be_read_may_be_a_chain() {
    let path = n1("nft.txt");
    let table = "table inet own {\n\tchXin c {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n";
    let files = vxlan().edit(&path, |text| format!("{text}{table}"));
    let line = files.text(&path).lines().position(|line| line.contains("chXin")).unwrap() + 1;
    check_open(&files, &[], &format!("{path}:{line}"));
    let whole =
        vxlan().edit(&path, |text| text.to_owned() + &table.replace("chXin", "chain").replace("drop", "accept"));
    check_certain(&whole, &[]);
    let head = vxlan().edit(&path, |text| text.to_owned() + &table.replace("table", "tXble").replace("chXin", "chain"));
    let line = head.text(&path).lines().position(|line| line.contains("tXble")).unwrap() + 1;
    check_open(&head, &[], &format!("{path}:{line}"));
}

#[test]
fn an_object_that_nobody_knows_decides_nothing_until_a_rule_names_it() {
    let path = n1("nft.txt");
    let table = |inside: &str, rule: &str| {
        let chain = "chain c {\n\t\ttype filter hook forward priority 0; policy accept;";
        let table = format!("table inet own {{\n\t{inside}\n\t{chain}\n\t\t{rule}\n\t}}\n}}\n");
        vxlan().edit(&path, |text| format!("{text}{table}"))
    };
    let open = |files: &Files| {
        let (code, _, said) = ask(files, &["--no-reply"]);
        assert_ne!(code, Some(0), "{said}");
    };
    let tunnel = "tunnel t {\n\t\tid 10\n\t\tip saddr 192.0.2.11\n\t\tvxlan {\n\t\t\tgbp 200\n\t\t}\n\t}";
    let files = table(tunnel, "accept");
    check_certain(&files, &[]);
    assert!(gaps(&files).iter().any(|gap| gap.contains("a chain, a set or another object")));
    open(&table(tunnel, "tunnel name \"t\" drop"));
    open(&table("chXin own {\n\t\tdrop\n\t}", "jump own"));
    open(&table("sXt own {\n\t\ttype ipv4_addr\n\t\telements = { 10.244.2.2 }\n\t}", "ip daddr @own drop"));
    open(&table("tunnel t", "accept"));
    let json = |object: &str| {
        let head = r#"{"metainfo":{"json_schema_version":1}},{"table":{"family":"inet","name":"own","handle":1}}"#;
        let json = format!(r#"{{"nftables":[{head},{{{object}}}]}}"#);
        vxlan().with(&format!("{POD1}nft.json"), json)
    };
    check_certain(&json(r#""tunnel":{"family":"inet","table":"own","name":"t","handle":2}"#), &[]);
    let hook = r#""type":"filter","hook":"output","prio":0,"policy":"drop""#;
    open(&json(&format!(r#""chXin":{{"family":"inet","table":"own","name":"c",{hook}}}"#)));
}

#[test]
fn a_set_whose_file_could_not_be_read_may_hold_anything() {
    let rule = "-A FORWARD -m set --match-set blocked dst -j DROP\n-A FORWARD";
    let files = vxlan().edit(&n1("iptables-save"), |text| text.replacen("-A FORWARD", rule, 1));
    let (code, _, said) = ask(&files.with(&n1("ipset"), "bash: ipset: command not found\n"), &["--no-reply"]);
    assert_ne!(code, Some(0));
    assert!(said.contains(&format!("{N1}ipset:1 could not be read")), "{said}");
}

#[test]
fn two_forms_of_a_table_that_differ_are_a_gap_that_names_both() {
    assert!(!gaps(&vxlan()).iter().any(|gap| gap.contains("what iptables-save says counts")));
    let (save, nft) = (n1("iptables-save"), n1("nft.txt"));
    let told = |files: Files, words: &str| {
        let snapshot = load(&files.write(Form::Tar).path).unwrap();
        let gap = snapshot.gaps.iter().find(|gap| gap.what.contains("what iptables-save says counts"));
        let gap = gap.unwrap_or_else(|| panic!("no gap for {words}"));
        assert!(gap.what.contains(words) && gap.what.contains(&save) && gap.what.contains(&nft), "{}", gap.what);
        let paths: Vec<&str> = gap.evidence.iter().map(|line| snapshot.files.path(*line)).collect();
        assert_eq!(paths, [&save, &nft]);
        check_certain(&files, &[]);
    };
    let rule = "-A FLANNEL-FWD -s 203.0.113.9/32 -j DROP\n-A FLANNEL-FWD";
    told(
        vxlan().edit(&save, |text| text.replacen("-A FLANNEL-FWD", rule, 1)),
        "chain FLANNEL-FWD of the table filter has 3 rules",
    );
    let rule = "chain FLANNEL-FWD {\n\t\tip saddr 203.0.113.9 counter drop";
    told(
        vxlan().edit(&nft, |text| text.replacen("chain FLANNEL-FWD {", rule, 1)),
        "chain FLANNEL-FWD of the table filter has 2 rules",
    );
    let chain = "*filter\n:OWN - [0:0]";
    told(vxlan().edit(&save, |text| text.replacen("*filter", chain, 1)), "chain OWN of the table filter stands in");
    let chain = "\tchain OWN {\n\t}\n\tchain FLANNEL-FWD {";
    told(
        vxlan().edit(&nft, |text| text.replacen("\tchain FLANNEL-FWD {", chain, 1)),
        "chain OWN of the table filter stands in",
    );
    told(
        vxlan().edit(&nft, |text| {
            text.replacen("hook output priority filter; policy accept", "hook output priority filter; policy drop", 1)
        }),
        "chain OUTPUT of the table filter has the policy ACCEPT",
    );
}

#[test]
fn no_bundled_snapshot_contradicts_itself() {
    for name in super::bundled::names() {
        let gaps = gaps(&Files::bundled(&name));
        let odd =
            |gap: &&String| gap.contains("what iptables-save says counts") || gap.contains("the kernel holds one");
        assert_eq!(gaps.iter().find(odd), None, "{name}");
    }
}

#[test]
fn routes_that_the_kernel_can_not_hold_together_are_a_gap() {
    let count = |name: &str, rows: &str| {
        let files = Files::bundled("dual-stack").edit(&n1(name), |text| format!("{text}{rows}"));
        gaps(&files).iter().filter(|gap| gap.contains("of which the kernel holds one alone")).count()
    };
    let v4 = "unicast 203.0.113.0/24 via 192.0.2.1 dev eth0 table main proto static scope global \n";
    assert_eq!(count("route.txt", v4), 0);
    assert_eq!(count("route.txt", &v4.repeat(2)), 1);
    assert_eq!(count("route.txt", &format!("{v4}{}", v4.replace("global ", "global linkdown "))), 1);
    for other in [
        ("via 192.0.2.1", "via 192.0.2.2"),
        ("proto static", "proto boot"),
        ("global ", "global metric 5 "),
        ("table main", "table 7"),
        ("unicast", "local"),
        ("global ", "global mtu 1400 "),
    ] {
        assert_eq!(count("route.txt", &format!("{v4}{}", v4.replace(other.0, other.1))), 0, "{other:?}");
    }
    let v6 =
        "unicast 2001:db8:f::/64 via fe80::1 dev eth0 table main proto static scope global metric 1024 pref medium\n";
    assert_eq!(count("route6.txt", &v6.repeat(2)), 1);
    assert_eq!(count("route6.txt", &format!("{v6}{}", v6.replace("static", "boot"))), 1);
    let null = "unreachable default dev lo table unspec proto kernel metric 4294967295 error -101 pref medium\n";
    assert_eq!(count("route6.txt", &null.repeat(2)), 0);
    for other in [("fe80::1", "fe80::2"), ("via fe80::1 ", ""), ("metric 1024", "metric 1025"), ("8:f::", "8:e::")] {
        assert_eq!(count("route6.txt", &format!("{v6}{}", v6.replace(other.0, other.1))), 0, "{other:?}");
    }
}
