//! How well the rules of the bundled snapshots are known, and what the report makes of each form.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod report;

use std::fs;
use std::path::Path;

use flowtrace::net::Family;
use report::{Count, Form, Report, files, report, report_text};

fn of_text(name: &str, text: &str) -> Report {
    report_text(Path::new(name), text, Vec::new()).unwrap().unwrap()
}

fn count(exact: u32, branching: u32, unmodelled: u32, gaps: u32) -> Count {
    Count { exact, branching, unmodelled, gaps }
}

#[test]
fn every_bundled_rule_is_counted_and_none_is_unknown() {
    let mut sum = Count::default();
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")).unwrap() {
        let Some(report) = report(&file).unwrap() else { continue };
        let Count { exact, branching, unmodelled, .. } = report.count;
        assert_eq!(unmodelled, 0, "{}: {:?}", file.display(), report.notes);
        if matches!(report.form, Form::Iptables(_)) {
            let text = fs::read_to_string(&file).unwrap();
            let rules = text.lines().filter(|line| line.starts_with("-A ") || line.contains("] -A ")).count();
            assert_eq!((exact + branching) as usize, rules, "{} {}", report.form.as_str(), file.display());
        }
        sum.add(report.count);
    }
    // The gap is that of an excerpt which doesn't name its table.
    assert_eq!((sum.branching, sum.unmodelled, sum.gaps), (40, 0, 1), "{sum:?}");
    assert!(sum.exact > 1500, "{sum:?}");
}

#[test]
fn a_rule_of_iptables_is_exact_or_branches_or_is_not_modelled() {
    let text = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -s 10.0.0.0/8 -j DROP\n[1:60] -A FORWARD -m statistic \
                --mode random --probability 0.5 -j DROP\n-A FORWARD -m limit --limit 1/sec -j DROP\n-A FORWARD \
                -m nonsense -j DROP\nCOMMIT\n";
    let report = of_text("a.rules", text);
    assert_eq!((report.form, report.count), (Form::Iptables(Family::Inet), count(1, 2, 1, 0)), "{report:?}");
    assert!(report.notes.iter().all(|(line, _)| *line == 6), "{:?}", report.notes);
    assert_eq!(of_text("ip6tables.rules", "*filter\nCOMMIT\n").form, Form::Iptables(Family::Inet6));
}

#[test]
fn a_rule_of_nft_is_exact_or_branches_or_is_not_modelled() {
    let text = "table ip t {\n\tchain c {\n\t\tip saddr 10.0.0.1 drop\n\t\tlimit rate 1/second drop\n\t\t\
                xt match \"u32\" drop\n\t\tnonsense nonsense\n\t}\n}\n";
    let report = of_text("a.nft", text);
    assert_eq!((report.form, report.count), (Form::NftText, count(1, 1, 2, 1)), "{report:?}");
}

#[test]
fn the_json_of_nft_is_told_by_what_it_holds() {
    let text = r#"{"nftables": [{"metainfo": {"json_schema_version": 1}}, {"table": {"family": "ip", "name": "t"}},
        {"chain": {"family": "ip", "table": "t", "name": "c"}},
        {"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"drop": null}]}}]}"#;
    let report = of_text("a.json", text);
    assert_eq!((report.form, report.count), (Form::NftJson, count(1, 0, 0, 0)), "{report:?}");
    assert!(report_text(Path::new("a.json"), r#"{"items": []}"#, Vec::new()).unwrap().is_none());
}

#[test]
fn an_element_is_as_well_known_as_its_set() {
    let text = "create a hash:ip family inet\nadd a 10.0.0.1\nadd a 10.0.0.2\ncreate b hash:strange\nadd b x\n";
    let report = of_text("a", text);
    assert_eq!((report.form, report.count), (Form::Ipset, count(2, 0, 1, 0)), "{report:?}");
}

#[test]
fn what_is_no_list_of_rules_is_left_out() {
    for text in ["", "default via 10.0.0.1 dev eth0\n", "* a list\n"] {
        assert!(report_text(Path::new("a.txt"), text, Vec::new()).unwrap().is_none(), "{text}");
    }
}
