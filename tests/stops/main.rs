//! Each reason that a packet can stop for, made by an edit of a snapshot: the verdict, the line that shows it, and the
//! advice, which must name the device at fault and suit the packet's family.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod cases;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A change of a snapshot's file.
enum Edit {
    /// One text in the place of another.
    Replace(&'static str, &'static str, &'static str),
    /// Lines on top of a file.
    Prepend(&'static str, &'static str),
    /// Lines at the end of a file.
    Append(&'static str, &'static str),
    /// No line with this text in it.
    Drop(&'static str, &'static str),
    /// No file.
    Remove(&'static str),
    /// A new file.
    Create(&'static str, &'static str),
}

use Edit::{Append, Create, Drop, Prepend, Remove, Replace};
use cases::STOPS;

/// A question about an edited snapshot, and what must come of it.
struct Stop {
    name: &'static str,
    situation: &'static str,
    edits: &'static [Edit],
    question: &'static str,
    /// Verdict and reason.
    end: (&'static str, &'static str),
    /// File and a part of the line that the end quotes; empty where no line of the snapshot decided.
    line: (&'static str, &'static str),
    /// What the caret stands under; empty only where there is no line.
    caret: &'static str,
    /// Parts of the advice.
    advice: &'static [&'static str],
}

/// A copy of a snapshot with the edits in it.
fn edited(stop: &Stop) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(stop.situation);
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stops").join(stop.name);
    let _ = fs::remove_dir_all(&to);
    copy(&from, &to);
    for edit in stop.edits {
        apply(edit, &to);
    }
    to
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &target) } else { fs::write(&target, fs::read(&entry).unwrap()).unwrap() }
    }
}

fn apply(edit: &Edit, folder: &Path) {
    let change = |file: &str, change: &dyn Fn(String) -> String| {
        let file = folder.join(file);
        fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
    };
    match edit {
        Replace(file, from, to) => change(file, &|text| {
            assert!(text.contains(from), "{file} has no {from:?}");
            text.replace(from, to)
        }),
        Prepend(file, lines) => change(file, &|text| format!("{lines}{text}")),
        Append(file, lines) => change(file, &|text| format!("{text}{lines}")),
        Drop(file, part) => change(file, &|text| {
            assert!(text.contains(part), "{file} has no {part:?}");
            text.split_inclusive('\n').filter(|line| !line.contains(part)).collect()
        }),
        Create(file, text) => fs::write(folder.join(file), text).unwrap(),
        Remove(file) => fs::remove_file(folder.join(file)).unwrap(),
    }
}

fn ask(folder: &Path, question: &str, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
        .args(["explain", "--snapshot"])
        .arg(folder)
        .args(question.split_whitespace())
        .args(more)
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{question}");
    String::from_utf8(output.stdout).unwrap()
}

/// The first advice of a text, its lines joined.
fn advice(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with("Try: "));
    let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).map(str::trim).collect();
    lines.join(" ")
}

/// What the first caret of a text stands under.
fn under_caret(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| !line.trim().is_empty() && line.trim().chars().all(|c| c == '^'))?;
    let start = lines[at].find('^')?;
    Some(lines[at - 1].chars().skip(start).take(lines[at].trim().len()).collect())
}

/// Verdict and reason of a trace.
fn ends(trace: &Value) -> (Option<&str>, Option<&str>) {
    (trace["verdict"].as_str(), trace["reason"].as_str())
}

/// The trace that ends as a stop says: the packet's own, or its answer's.
fn trace<'a>(answer: &'a Value, stop: &Stop) -> Result<&'a Value, String> {
    let path = &answer["paths"][0];
    let wanted = (Some(stop.end.0), Some(stop.end.1));
    let found = [&path["forward"], &path["reply"]].into_iter().find(|trace| ends(trace) == wanted);
    let forward = ends(&path["forward"]);
    found.ok_or_else(|| format!("{}: ends as {forward:?}, answer {:?}", stop.name, ends(&path["reply"])))
}

#[test]
fn every_stop_ends_with_its_reason_its_line_and_fitting_advice() {
    let wrong: Vec<String> = STOPS.iter().filter_map(|stop| check(stop).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(stop: &Stop) -> Result<(), String> {
    let folder = edited(stop);
    let answer: Value = serde_json::from_str(&ask(&folder, stop.question, &["-o", "json"])).unwrap();
    let last = trace(&answer, stop)?["steps"].as_array().unwrap().last().unwrap();
    let evidence = last["evidence"].as_array().unwrap();
    let shows = |line: &Value| {
        line["file"] == stop.line.0 && line["text"].as_str().is_some_and(|text| text.contains(stop.line.1))
    };
    let is_shown = if stop.line.0.is_empty() { evidence.is_empty() } else { evidence.iter().any(shows) };
    if !is_shown {
        return Err(format!("{}: {evidence:?}", stop.name));
    }
    let text = ask(&folder, stop.question, &[]);
    if text.lines().any(|line| line.chars().count() > 100) {
        return Err(format!("{}: too wide\n{text}", stop.name));
    }
    let advice = advice(&text);
    if let Some(part) = stop.advice.iter().find(|part| !advice.contains(**part)) {
        return Err(format!("{}: no {part:?} in {advice:?}", stop.name));
    }
    let caret = under_caret(&text);
    let expected = !stop.caret.is_empty() || !stop.line.0.is_empty();
    if expected && caret.as_deref() != Some(stop.caret) {
        return Err(format!("{}: the caret is under {caret:?}\n{text}", stop.name));
    }
    fs::remove_dir_all(folder).map_err(|error| error.to_string())
}

/// What no edit of a bundled snapshot reaches, and why not.
const ELSEWHERE: &[(&str, &str)] = &[
    ("no-listener", "only a capture tells of it: tests/pcap"),
    ("unknown-entry", "it is why there are several paths, and never an end"),
    ("userspace", "what once ended so is walked on, and a word of the contract stays"),
];

#[test]
fn every_reason_has_a_stop_or_a_word_why_not() {
    let schema = Command::new(env!("CARGO_BIN_EXE_flowtrace")).arg("schema").output().unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    for reason in schema["$defs"]["reason"]["enum"].as_array().unwrap() {
        let reason = reason.as_str().unwrap();
        let stopped = STOPS.iter().any(|stop| stop.end.1 == reason);
        let excused = ELSEWHERE.iter().any(|(word, _)| *word == reason);
        assert!(stopped != excused, "{reason}: {}", if stopped { "has both" } else { "has neither" });
    }
}

/// A snapshot of the repository, as it is.
fn bundled(situation: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(situation)
}

#[test]
fn a_routing_loop_is_folded_in_text_and_whole_in_json_and_with_v() {
    let (folder, question) = (bundled("faults"), "default/pod1 10.244.77.9");
    let text = ask(&folder, question, &[]);
    let head: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let head = head.join(" ");
    for part in [
        "a routing loop between n1 host and small-bridge-mtu host",
        "n1 host by 10.244.77.0/24 via 10.244.7.0 dev flannel.1 (n1/host/route.txt:23)",
        "small-bridge-mtu host by 10.244.77.0/24 via 10.244.1.0 dev flannel.1 (small-bridge-mtu/host/route.txt:23)",
    ] {
        assert!(head.contains(part), "no {part:?} in {head}");
    }
    let told = text.lines().find(|line| line.contains(" more rounds of the same, until ttl "));
    assert!(told.is_some_and(|line| line.starts_with("... ")), "{text}");
    assert!(text.lines().count() < 200, "{} lines", text.lines().count());
    let whole = ask(&folder, question, &["-v"]);
    assert!(whole.lines().count() > 1000 && !whole.contains("more rounds"), "{} lines", whole.lines().count());
    let answer: Value = serde_json::from_str(&ask(&folder, question, &["-o", "json"])).unwrap();
    let steps = answer["paths"][0]["forward"]["steps"].as_array().unwrap();
    assert_eq!(steps.iter().filter(|step| step["kind"] == "encapsulate").count(), 63);
}

#[test]
fn the_reply_of_each_path_is_told() {
    let (folder, question) = (bundled("vxlan"), "default/pod1 svc/shop/web");
    let text = ask(&folder, question, &[]);
    let (_, second) = text.split_once("\nPath 2 of 2").unwrap();
    let told = second.lines().find(|line| line.contains("the reply is delivered too, un-NATed on n1"));
    assert!(told.is_some_and(|line| line.contains("n1/host/iptables-save:")), "{second}");
    assert_eq!(text.matches("The reply's way back").count(), 1);
    assert_eq!(ask(&folder, question, &["-v"]).matches("The reply's way back").count(), 2);
}

#[test]
fn a_multipath_summary_says_which_way_each_path_goes() {
    let text = ask(&bundled("policy-routing"), "default/pod1 203.0.113.130", &[]);
    for way in ["via 192.0.2.1 dev eth0;", "via 198.51.100.1 dev eth1;"] {
        assert!(text.contains(&format!("left to 203.0.113.130 {way}")), "{text}");
    }
}

#[test]
fn a_rule_that_did_not_match_is_shown_with_its_chain() {
    let text = ask(&bundled("vxlan"), "default/pod1 default/pod2", &["-v", "--no-reply"]);
    let tried: Vec<&str> = text.lines().filter(|line| line.trim().starts_with("no match ")).collect();
    assert!(!tried.is_empty());
    for line in tried {
        let rule = line.trim().trim_start_matches("no match").trim();
        assert!(rule.split_once(": ").is_some_and(|(chain, _)| !chain.contains([' ', '/'])), "{line}");
    }
}

#[test]
fn of_two_that_have_an_address_both_lines_are_named() {
    const LINE: &str = "    inet 10.244.1.2/32 scope global eth0\n       valid_lft forever preferred_lft forever\n";
    let stop = Stop {
        name: "duplicate-address",
        situation: "vxlan",
        edits: &[
            Append("nodes/n1/pods/default_pod3/addr.txt", LINE),
            Append("nodes/n1/pods/default_pod3/route.txt", "local 10.244.1.2 dev eth0 table local scope host \n"),
            Create("nodes/n1/host/neigh.txt", ""),
        ],
        question: "node/n1 10.244.1.2",
        end: ("", ""),
        line: ("", ""),
        caret: "",
        advice: &[],
    };
    let answer: Value = serde_json::from_str(&ask(&edited(&stop), stop.question, &["-o", "json"])).unwrap();
    let gaps = answer["gaps"].as_array().unwrap();
    let gap = gaps.iter().find(|gap| gap["what"].as_str().unwrap().starts_with("several on the link")).unwrap();
    let mut files: Vec<&str> =
        gap["evidence"].as_array().unwrap().iter().filter_map(|line| line["file"].as_str()).collect();
    files.sort_unstable();
    assert_eq!(files, ["nodes/n1/pods/default_pod1/addr.txt", "nodes/n1/pods/default_pod3/addr.txt"]);
}
