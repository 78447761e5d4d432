//! The views, on hand-made answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod sample;

use flowtrace::render::{
    self, ChainListing, Charset, Listing, RuleListing, RulesetListing, Style, TableListing, Told, View, Width,
};
use flowtrace::trace::{Answer, Beside, BesideKind, BesideWay, Decision, Reason, Trace, Verdict};
use sample::{Sample, graphviz, schema};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

fn view<'a>(sample: &'a Sample, answer: &'a Answer) -> View<'a> {
    View {
        from: "default/pod1",
        to: "svc/kube-system/kube-dns:53",
        target: None,
        answer,
        findings: &[],
        files: &sample.files,
        sighting: None,
    }
}

fn text(sample: &Sample, answer: &Answer, style: Style) -> String {
    let mut out = Vec::new();
    render::text(&view(sample, answer), style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plain(sample: &Sample, answer: &Answer) -> String {
    text(sample, answer, Style::default())
}

fn value(sample: &Sample, answer: &Answer) -> Value {
    let mut out = Vec::new();
    render::json(&view(sample, answer), &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn dot(view: &View<'_>) -> String {
    let mut out = Vec::new();
    render::dot(view, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn mermaid(view: &View<'_>) -> String {
    let mut out = Vec::new();
    render::mermaid(view, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A sample whose names and files try to do harm.
fn hostile() -> (Sample, Answer) {
    named("ve\x1b[31m\"th\"\u{9b}\u{202e}<b>\\")
}

/// A sample in which everything has the same name.
fn named(name: &str) -> (Sample, Answer) {
    let sample = Sample::new();
    let mut answer = sample.dropped();
    for step in &mut answer.paths[0].forward.steps {
        step.place.node = name.into();
        if let Decision::Receive { device, .. } = &mut step.decision {
            *device = name.into();
        }
        if let Decision::Rule { chain, text, .. } = &mut step.decision {
            name.clone_into(chain);
            *text = format!("-A {name} -m comment --comment \"{name}\" -j DROP");
        }
    }
    (sample, answer)
}

#[test]
fn the_verdict_stands_first_and_on_one_line() {
    let sample = Sample::new();
    for (answer, word) in [(sample.service(), "DELIVERED "), (sample.dropped(), "DROPPED "), (sample.mixed(), "MIXED ")]
    {
        assert!(plain(&sample, &answer).starts_with(word));
    }
}

#[test]
fn no_line_is_wider_than_100_columns() {
    let sample = Sample::new();
    for verbose in [false, true] {
        for answer in sample.all() {
            for line in text(&sample, &answer, Style { verbose, ..Style::default() }).lines() {
                assert!(line.width() <= 100, "{} columns: {line}", line.width());
            }
        }
    }
}

#[test]
fn a_narrower_terminal_has_narrower_lines() {
    let sample = Sample::new();
    for (terminal, columns) in [(0, 60), (60, 60), (80, 80), (99, 99), (300, 100)] {
        for answer in sample.all() {
            for verbose in [false, true] {
                let style = Style { verbose, width: Width::of_terminal(terminal), ..Style::default() };
                for line in text(&sample, &answer, style).lines() {
                    assert!(line.width() <= columns, "{} of {columns} columns: {line}", line.width());
                }
            }
        }
    }
}

#[test]
fn names_of_any_length_are_wrapped() {
    for name in ["x".repeat(400), "日本語".repeat(80), format!("{} {}", "a".repeat(150), "b\u{301}".repeat(90))] {
        let (sample, answer) = named(&name);
        for charset in [Charset::Unicode, Charset::Ascii] {
            for verbose in [false, true] {
                let view = View { from: &name, to: &name, ..view(&sample, &answer) };
                let mut out = Vec::new();
                render::text(&view, Style { verbose, charset, ..Style::default() }, &mut out).unwrap();
                for line in String::from_utf8(out).unwrap().lines() {
                    assert!(line.width() <= 100, "{} columns: {line}", line.width());
                }
            }
        }
    }
}

#[test]
fn ascii_output_is_ascii() {
    let sample = Sample::new();
    let style = Style { charset: Charset::Ascii, ..Style::default() };
    for answer in sample.all().iter().chain([&hostile().1]) {
        let text = text(&sample, answer, style);
        assert!(text.is_ascii(), "{text}");
    }
}

#[test]
fn colour_is_only_decoration() {
    let sample = Sample::new();
    for answer in sample.all() {
        let colored = text(&sample, &answer, Style { color: true, ..Style::default() });
        assert!(colored.contains("\x1b["));
        assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain(&sample, &answer));
    }
}

#[test]
fn names_from_the_snapshot_reach_no_terminal_raw() {
    let (sample, answer) = hostile();
    let view = view(&sample, &answer);
    let mut json = Vec::new();
    render::json(&view, &mut json).unwrap();
    for output in [plain(&sample, &answer), String::from_utf8(json).unwrap(), dot(&view), mermaid(&view)] {
        let bad = output.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None, "{output}");
    }
    assert!(plain(&sample, &answer).contains("ve\\x1b[31m"));
}

#[test]
fn a_service_shows_its_chains_its_rewrite_and_its_tunnel() {
    let sample = Sample::new();
    let text = plain(&sample, &sample.service());
    for part in [
        "PREROUTING > KUBE-SERVICES > KUBE-SVC-TCOU7JCQXEZGVUNU > KUBE-SEP-L5MHPWJPDKD7XIFG",
        "n1/host/iptables-save:4,5,6,7",
        "✎ DNAT",
        "10.96.0.10:53 ⇒ 10.244.2.7:53",
        "{192.0.2.11 > 192.0.2.12:8472 vni 1}",
        "2 nodes, DNAT 1, VXLAN 1; the reply is delivered too, un-NATed on n1",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(!text.contains("NEW") && !text.contains("rp_filter"), "a step that changes nothing is shown:\n{text}");
}

#[test]
fn a_failing_run_quotes_the_line_with_a_caret_and_ends_with_one_thing_to_try() {
    let sample = Sample::new();
    let text = plain(&sample, &sample.dropped());
    let lines: Vec<&str> = text.lines().collect();
    let caret = lines.iter().position(|line| line.trim() == "^^^^^^^").expect("a caret");
    let under: String = lines[caret - 1].chars().skip(lines[caret].find('^').unwrap()).take(7).collect();
    assert_eq!(under, "-j DROP");
    assert!(lines.last().unwrap().starts_with("Try: "), "{text}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("Try: ")).count(), 1);
}

#[test]
fn verbose_shows_every_step_and_the_rules_that_were_tried() {
    let sample = Sample::new();
    let mut answer = sample.service();
    let step = answer.paths[0].forward.steps.iter_mut().find(|step| matches!(step.decision, Decision::Rule { .. }));
    let step = step.unwrap();
    step.tried = step.because.clone();
    let text = text(&sample, &answer, Style { verbose: true, ..Style::default() });
    for part in ["no match", "KUBE-SERVICES:1", "[jump]", "conntrack", "rp_filter", "mac 02:"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn several_paths_are_listed_with_their_shares_and_later_ones_only_where_they_differ() {
    let sample = Sample::new();
    let text = plain(&sample, &sample.mixed());
    assert!(text.contains(" 1  1/3       delivered to default/web-0"), "{text}");
    assert!(text.contains(" 2  1/3       is dropped at n1 host: rule"), "{text}");
    assert!(text.contains("1/3 was not walked"), "{text}");
    assert_eq!(text.matches("10.244.1.5:40000 > 10.96.0.10:53, ttl 64").count(), 1, "{text}");
    assert!(text.contains("- n2 has no fdb.txt"), "{text}");
}

#[test]
fn of_many_paths_each_way_to_end_is_shown_once() {
    let sample = Sample::new();
    let mut answer = sample.mixed();
    let delivered = answer.paths[0].clone();
    answer.paths.extend(std::iter::repeat_n(delivered, 8));
    let short = plain(&sample, &answer);
    assert!(short.contains("Path 1 of 10") && short.contains("Path 2 of 10") && !short.contains("Path 3 of 10"));
    assert!(short.contains("8 more paths end like one of these; -v shows them"), "{short}");
    assert!(short.contains("10  1/3       delivered to default/web-0"), "every path is listed:\n{short}");
    assert!(text(&sample, &answer, Style { verbose: true, ..Style::default() }).contains("Path 10 of 10"));
}

#[test]
fn the_json_is_what_the_schema_says() {
    let sample = Sample::new();
    let schema = render::outputs_schema();
    for answer in sample.all().iter().chain([&hostile().1]) {
        let problems = schema::problems(&schema, &value(&sample, answer));
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

#[test]
fn what_is_sent_beside_a_packet_stands_beneath_its_way() {
    let sample = Sample::new();
    let (mut answer, copy) = (sample.service(), sample.dropped().paths.remove(0).forward);
    let way =
        |probability, trace: &Trace| BesideWay { probability, why: vec!["by chance".to_owned()], trace: trace.clone() };
    let one = |certain, ways| Beside { kind: BesideKind::Copy, after: 3, certain, ways, truncated: false };
    let beside =
        vec![one(true, vec![way(Some(0.5), &copy), way(Some(0.5), &copy)]), one(false, vec![way(Some(1.0), &copy)])];
    answer.paths[0].forward.beside = beside;
    let text = plain(&sample, &answer);
    for heading in ["A copy of the packet, way 2 of 2 (1/2)", "A copy of the packet, if its rule matches"] {
        assert!(text.contains(heading), "{heading}: {text}");
    }
    assert!(text.contains("copies 2"), "{text}");
    let value = value(&sample, &answer);
    assert!(schema::problems(&render::outputs_schema(), &value).is_empty());
    let copies = &value["paths"][0]["forward"]["beside"];
    assert_eq!(copies[0]["paths"][0]["trace"]["verdict"], json!("dropped"));
    assert_eq!((&copies[0]["after"], &copies[1]["certain"]), (&json!(3), &json!(false)));
}

/// A listing in which everything has the same name, of nft's own tables and of those that iptables made.
fn listing(name: &str) -> Value {
    let told = |what: &str| Told { what: what.to_owned(), at: Some((what.to_owned(), 2)) };
    let rule = |certainty: &'static str| RuleListing {
        index: 1,
        line: 7,
        text: name.to_owned(),
        certainty,
        unmodelled: vec![told(name)],
    };
    let chain = |policy: &'static str| ChainListing {
        name: name.to_owned(),
        policy,
        line: 3,
        rules: ["exact", "branches", "not-modelled"].map(rule).into(),
    };
    let ruleset = |(family, backend): (&'static str, &'static str)| RulesetListing {
        family,
        backend,
        file: name.to_owned(),
        tables: vec![TableListing { name: name.to_owned(), chains: ["ACCEPT", "DROP", "-", "?"].map(chain).into() }],
    };
    let listing = Listing {
        node: name.to_owned(),
        netns: "host".to_owned(),
        rulesets: [("ip", "nft"), ("ip6", "legacy"), ("inet", "native")].map(ruleset).into(),
        gaps: vec![told(name)],
    };
    let mut out = Vec::new();
    render::listing_json(&listing, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn the_json_of_rules_is_what_the_schema_says() {
    let schema = render::outputs_schema();
    for name in ["n1", "ve\x1b[31m\"th\"\u{202e}<b>\\", ""] {
        let problems = schema::problems(&schema, &listing(name));
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

/// Whether the checker complains about a document after a change.
fn breaks(good: &Value, change: fn(&mut Value)) -> bool {
    let mut value = good.clone();
    change(&mut value);
    !schema::problems(&render::outputs_schema(), &value).is_empty()
}

#[test]
fn the_checker_finds_what_the_schema_of_rules_forbids() {
    let good = listing("n1");
    let broken = |change: fn(&mut Value)| breaks(&good, change);
    assert!(!broken(|_| {}));
    assert!(broken(|value| value["schema"] = json!("flowtrace/rules/2")));
    assert!(broken(|value| value["schema"] = json!("flowtrace/explain/1")));
    assert!(broken(|value| value["rulesets"][0]["backend"] = json!("ebtables")));
    assert!(broken(|value| value["rulesets"][0]["tables"][0]["chains"][0]["policy"] = json!("QUEUE")));
    assert!(broken(|value| value["rulesets"][0]["tables"][0]["chains"][0]["rules"][0]["certainty"] = json!("?")));
    assert!(broken(|value| value["rulesets"][0]["tables"][0]["chains"][0]["rules"][0]["index"] = json!(0)));
    assert!(broken(|value| value["rulesets"][0]["colour"] = json!("red")));
    assert!(broken(|value| _ = value.as_object_mut().unwrap().remove("gaps")));
}

#[test]
fn the_checker_finds_what_the_schema_forbids() {
    let sample = Sample::new();
    let good = value(&sample, &sample.dropped());
    let broken = |change: fn(&mut Value)| breaks(&good, change);
    assert!(broken(|value| value["verdict"] = json!("gone")));
    assert!(broken(|value| value["paths"][0]["forward"]["reason"] = json!("bad-luck")));
    assert!(broken(|value| value["paths"][0]["forward"]["steps"][0]["kind"] = json!("fly")));
    assert!(broken(|value| value["paths"][0]["forward"]["steps"][1]["colour"] = json!("red")));
    assert!(broken(|value| _ = value["request"].as_object_mut().unwrap().remove("packet")));
    assert!(broken(|value| value["paths"][0]["forward"]["steps"][1]["prefix"] = json!(7)));
}

#[test]
fn the_schema_lists_every_reason_and_every_end() {
    let schema = render::outputs_schema();
    let reasons = schema["$defs"]["reason"]["enum"].as_array().unwrap();
    assert_eq!(reasons.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert!(reasons.contains(&json!(reason.as_str())), "{reason}");
    }
    let kinds = schema["$defs"]["step"]["properties"]["kind"]["enum"].as_array().unwrap();
    for verdict in [Verdict::Delivered, Verdict::Left, Verdict::Dropped, Verdict::Rejected, Verdict::Lost] {
        assert!(kinds.contains(&json!(verdict.step_kind())));
    }
}

#[test]
fn the_json_has_the_words_of_the_contract() {
    let sample = Sample::new();
    let json = value(&sample, &sample.service());
    assert_eq!(json["schema"], "flowtrace/explain/1");
    assert_eq!(json["request"]["packet"]["source_port"], 40000);
    assert_eq!(json["findings"], json!([]));
    assert_eq!(json.get("truncated"), None);
    let path = &json["paths"][0];
    assert_eq!(path["probability"], 1.0);
    assert_eq!(path["forward"]["reason"], Value::Null);
    let steps = path["forward"]["steps"].as_array().unwrap();
    let of = |kind: &str| steps.iter().find(|step| step["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    assert_eq!(steps[0]["n"], 1);
    assert_eq!(of("send")["netns"], "pod:default/pod1");
    assert_eq!(of("route")["prefix"], "0.0.0.0/0");
    assert_eq!(of("nat")["from"], "10.96.0.10:53");
    assert_eq!(of("nat")["to"], "10.244.2.7:53");
    assert_eq!(of("fdb")["vtep"], "192.0.2.12");
    assert_eq!(of("fdb").get("port"), None);
    let outer = &of("encapsulate")["packet"]["outer"];
    assert_eq!((&outer["vni"], &outer["source_port"]), (&json!(1), &Value::Null));
    assert_eq!(of("encapsulate")["packet"]["destination"], "10.244.2.7");
    assert_eq!(of("decapsulate")["packet"].get("outer"), None);
    assert_eq!(of("route")["evidence"][0]["file"], "nodes/n1/pods/default_pod1/route.txt");
    assert_eq!(value(&sample, &sample.dropped())["paths"][0]["reply"], Value::Null);
    let mixed = value(&sample, &sample.mixed());
    assert_eq!((&mixed["verdict"], &mixed["truncated"]), (&json!("mixed"), &json!(true)));
    let rejected = value(&sample, &sample.rejected());
    assert_eq!(rejected["paths"][0]["error_delivered"], true);
    assert_eq!(rejected["paths"][0]["probability"], Value::Null);
    assert_eq!(rejected["paths"][0]["why"], "a choice; another");
}

#[test]
fn a_mermaid_chart_names_no_vertex_that_it_doesnt_have() {
    let (sample, answer) = hostile();
    for answer in sample.all().iter().chain([&answer]) {
        let chart = mermaid(&view(&sample, answer));
        assert!(chart.starts_with("flowchart LR\n"));
        assert_eq!(chart.matches("subgraph ").count(), chart.lines().filter(|line| line.trim() == "end").count());
        let declared = |name: &str| {
            chart.lines().any(|line| {
                let line = line.trim();
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['[', '(', '{']))
            })
        };
        for line in chart.lines().filter(|line| line.contains("->|")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(declared(words[0]) && declared(words.last().unwrap()), "{line}");
            assert_eq!(line.matches('"').count(), 2, "{line}");
        }
    }
}

#[test]
fn the_arrows_are_numbered_in_packet_order() {
    let sample = Sample::new();
    let answer = sample.service();
    let graph = dot(&view(&sample, &answer));
    for arrow in
        ["label=\"1: 10.244.1.5:40000 > 10.96.0.10:53\", style=solid", "label=\"2\", style=solid", "style=dashed"]
    {
        assert!(graph.contains(arrow), "{arrow} is missing in\n{graph}");
    }
}

#[test]
fn graphviz_draws_every_graph() {
    let (sample, answer) = hostile();
    for answer in sample.all().iter().chain([&answer]) {
        if !graphviz::draws(&dot(&view(&sample, answer))) {
            return graphviz::skip("graphviz_draws_every_graph");
        }
    }
}

#[test]
fn a_json_step_stands_on_one_line() {
    let sample = Sample::new();
    let mut out = Vec::new();
    render::json(&view(&sample, &sample.rejected()), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let steps: Vec<&str> = text.lines().filter(|line| line.contains("\"n\": ")).collect();
    assert_eq!(steps.len(), 2, "{text}");
    assert!(steps.iter().all(|line| line.contains("\"evidence\": ")), "{text}");
    assert!(text.ends_with("  \"gaps\": [],\n  \"findings\": []\n}\n"), "{text}");
}
