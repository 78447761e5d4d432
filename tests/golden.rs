//! Each situation under `testdata/` with questions, and the answers that they must give, as text and as JSON.
//!
//! `FLOWTRACE_BLESS=1 cargo test --test golden` writes the answers anew; the difference is then for people to judge.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

#[path = "sample/graphviz.rs"]
mod graphviz;
#[path = "sample/open.rs"]
mod open;
#[path = "sample/schema.rs"]
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

/// One run of the program.
struct Run {
    output: String,
    code: i32,
}

/// A question about a situation.
struct Question {
    situation: String,
    number: usize,
    words: String,
    /// Whether the JSON is kept too: it is long, and one or two of a situation show what there is to see.
    keeps_json: bool,
}

/// A question with what the program answers, in both forms.
struct Case {
    question: Question,
    text: Run,
    json: Run,
    answer: Value,
}

/// Every question, each asked once.
fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        let ask = |question: Question| {
            let text = run(&question.command());
            let json = run(&format!("{} -o json", question.command()));
            let answer = serde_json::from_str(&json.output).unwrap();
            Case { question, text, json, answer }
        };
        situations().iter().flat_map(|situation| questions_of(situation)).map(ask).collect()
    });
    &CASES
}

impl Question {
    fn command(&self) -> String {
        format!("explain --snapshot testdata/{} {}", self.situation, self.words)
    }

    fn file(&self, ending: &str) -> PathBuf {
        root().join(format!("testdata/golden/{}/{:02}.{ending}", self.situation, self.number))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn blessing() -> bool {
    std::env::var_os("FLOWTRACE_BLESS").is_some()
}

fn run(command: &str) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
        .args(command.split_whitespace())
        .current_dir(root())
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(complaint, "", "flowtrace {command} complains");
    Run { output: String::from_utf8(output.stdout).unwrap(), code: output.status.code().unwrap() }
}

/// The folders of `testdata/` that are snapshots.
fn situations() -> Vec<String> {
    let entries = fs::read_dir(root().join("testdata")).unwrap();
    let names = entries.map(|entry| entry.unwrap()).filter(|entry| entry.path().join("nodes").is_dir());
    let mut names: Vec<String> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

fn questions_of(situation: &str) -> Vec<Question> {
    let file = root().join(format!("testdata/golden/{situation}/questions"));
    let text = fs::read_to_string(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let questions = (1..).zip(lines).map(|(number, line)| Question {
        situation: situation.to_owned(),
        number,
        words: line.trim_start_matches("* ").trim().to_owned(),
        keeps_json: line.starts_with("* "),
    });
    questions.collect()
}

/// Compares with the file, or writes it.
fn hold(file: &Path, text: &str, problems: &mut Vec<String>) {
    if blessing() {
        fs::write(file, text).unwrap();
        return;
    }
    let known = fs::read_to_string(file).unwrap_or_default();
    if known != text {
        let line = known.lines().zip(text.lines()).position(|(a, b)| a != b);
        let line = line.unwrap_or_else(|| known.lines().count().min(text.lines().count()));
        let show = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        problems.push(format!("{name}:{}\n  was: {}\n  is:  {}", line + 1, show(&known), show(text)));
    }
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{}\nFLOWTRACE_BLESS=1 writes what is new", problems.join("\n"));
}

#[test]
fn every_text_is_the_golden_one() {
    let mut problems = Vec::new();
    for Case { question, text, .. } in cases() {
        let text = format!("$ flowtrace {}\n{}exit {}\n", question.command(), text.output, text.code);
        hold(&question.file("txt"), &text, &mut problems);
    }
    assert_none(&problems);
}

#[test]
fn every_json_is_the_golden_one() {
    let mut problems = Vec::new();
    for situation in situations() {
        let kept: Vec<&Case> = cases().iter().filter(|case| case.question.situation == situation).collect();
        assert!(kept.iter().any(|case| case.question.keeps_json), "{situation} keeps no JSON");
    }
    for case in cases().iter().filter(|case| case.question.keeps_json) {
        hold(&case.question.file("json"), &case.json.output, &mut problems);
    }
    assert_none(&problems);
}

#[test]
fn no_golden_file_is_left_over() {
    for situation in situations() {
        let folder = root().join("testdata/golden").join(&situation);
        let questions = questions_of(&situation);
        let texts = questions.iter().map(|question| question.file("txt"));
        let jsons = questions.iter().filter(|question| question.keeps_json).map(|question| question.file("json"));
        let wanted: BTreeSet<PathBuf> = texts.chain(jsons).collect();
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.file_name().unwrap() != "questions" && !wanted.contains(&entry) {
                assert!(blessing(), "{} belongs to no question", entry.display());
                fs::remove_file(entry).unwrap();
            }
        }
    }
}

#[test]
fn every_evidence_text_is_that_line_of_the_file() {
    let mut seen = 0;
    for case in cases() {
        let mut evidence = Vec::new();
        collect(&case.answer, &mut evidence);
        let folder = root().join("testdata").join(&case.question.situation);
        for line in &evidence {
            check_evidence(&folder, line);
        }
        seen += evidence.len();
    }
    assert!(seen > 100, "only {seen} lines of evidence");
}

/// Every `{"file", "line", "text"}` anywhere in the value.
fn collect(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) if fields.contains_key("file") && fields.contains_key("line") => {
            found.push(value.clone());
        }
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

fn check_evidence(folder: &Path, evidence: &Value) {
    let file = folder.join(evidence["file"].as_str().unwrap());
    let text = fs::read_to_string(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
    let number = usize::try_from(evidence["line"].as_u64().unwrap()).unwrap();
    let line = text.lines().nth(number - 1).unwrap_or_else(|| panic!("{}:{number} isn't there", file.display()));
    if evidence.get("index").is_some() {
        assert!(!line.is_empty() && !evidence["text"].as_str().unwrap().is_empty(), "{evidence}");
    } else {
        assert_eq!(evidence["text"], line, "{}:{number}", file.display());
    }
}

#[test]
fn every_json_is_as_the_schema_says() {
    let schema: Value = serde_json::from_str(&run("schema").output).unwrap();
    for case in cases() {
        let problems = schema::problems(&schema, &case.answer);
        assert!(problems.is_empty(), "{}: {problems:#?}", case.question.command());
    }
}

#[test]
fn every_listing_of_rules_is_as_the_schema_says_and_every_rule_is_modelled() {
    let schema: Value = serde_json::from_str(&run("schema").output).unwrap();
    let mut listed = 0;
    for situation in situations() {
        for node in nodes_of(&situation) {
            let listing = run(&format!("rules {node} --snapshot testdata/{situation} -o json")).output;
            let listing: Value = serde_json::from_str(&listing).unwrap();
            let problems = schema::problems(&schema, &listing);
            assert!(problems.is_empty(), "{situation} {node}: {problems:#?}");
            let mut unmodelled = Vec::new();
            open::unmodelled(&listing, &mut unmodelled);
            assert!(unmodelled.is_empty(), "{situation} {node}: {unmodelled:#?}");
            listed += listing.to_string().matches("\"certainty\"").count();
        }
    }
    assert!(listed > 1000, "only {listed} rules");
}

/// The situation whose question is about missing data: a few tables, and nothing else.
const INCOMPLETE: &str = "article";

/// The situation with a client that a service remembers. How long ago that was, no snapshot says.
const REMEMBERED: &str = "affinity";

/// What its answers say of that.
const SEEN: &str = "has seen 10.244.1.3 within the last 10800 seconds";

#[test]
fn nothing_in_the_situations_is_left_open() {
    let mut remembered = 0;
    for Case { question, answer, .. } in cases().iter().filter(|case| case.question.situation != INCOMPLETE) {
        let mut open = open::open(answer);
        if question.situation == REMEMBERED {
            let all = open.len();
            open.retain(|what| !what.contains(SEEN));
            remembered += all - open.len();
        }
        assert!(open.is_empty(), "{}: {open:#?}", question.command());
    }
    assert!(remembered > 0, "no answer of {REMEMBERED} says that a client {SEEN}");
}

#[test]
fn what_the_article_leaves_open_is_missing_and_nothing_in_it_is_not_modelled() {
    for Case { question, answer, .. } in cases().iter().filter(|case| case.question.situation == INCOMPLETE) {
        let mut unmodelled = Vec::new();
        open::unmodelled(answer, &mut unmodelled);
        assert!(unmodelled.is_empty(), "{}: {unmodelled:#?}", question.command());
        assert_eq!(answer["paths"][0]["forward"]["reason"], "missing-table", "{}", question.command());
    }
}

/// The article's cluster with all its tables, as the kernel lab has built it and sent its packets.
const WHOLE: &str = "article-whole";

/// What the walk through an excerpt tells is the beginning of what the whole tables give: the same routes, the same
/// rules and rewrites, and the same devices but for those that the excerpt does not know.
#[test]
fn what_the_article_gives_is_the_beginning_of_the_whole_way() {
    let of = |situation: &str| cases().iter().filter(|case| case.question.situation == situation).collect::<Vec<_>>();
    let (excerpts, wholes) = (of(INCOMPLETE), of(WHOLE));
    assert_eq!(excerpts.len(), wholes.len());
    let mut compared = 0;
    for (excerpt, whole) in excerpts.into_iter().zip(wholes) {
        for kind in ["route", "rule", "nat"] {
            let (told, all) = (told(&excerpt.answer, kind), told(&whole.answer, kind));
            assert_eq!(told, all[..told.len().min(all.len())], "{}: {kind}", excerpt.question.command());
            compared += told.len();
        }
        let mut devices = devices(&whole.answer).into_iter();
        for device in self::devices(&excerpt.answer) {
            assert!(devices.any(|known| known == device), "{}: {device:?}", excerpt.question.command());
            compared += 1;
        }
    }
    assert!(compared >= 20, "only {compared}");
}

/// The steps of a kind on the way there: what each of them says.
fn told(answer: &Value, kind: &str) -> Vec<Vec<String>> {
    let fields: &[&str] = match kind {
        "route" => &["node", "netns", "prefix", "via", "device"],
        "rule" => &["node", "chain", "index", "text", "verdict"],
        _ => &["node", "change", "from", "to"],
    };
    let steps = answer["paths"][0]["forward"]["steps"].as_array().unwrap();
    let of_kind = steps.iter().filter(|step| step["kind"] == kind);
    of_kind.map(|step| fields.iter().map(|field| step[field].to_string()).collect()).collect()
}

/// The devices on the way there, each with how the packet is there.
fn devices(answer: &Value) -> Vec<Vec<String>> {
    let steps = answer["paths"][0]["forward"]["steps"].as_array().unwrap();
    let passed = steps.iter().filter(|step| matches!(step["kind"].as_str(), Some("receive" | "transmit")));
    let packet = ["protocol", "source", "source_port", "ttl", "length"];
    passed
        .map(|step| {
            let place = ["node", "netns", "kind", "device"].map(|field| step[field].to_string());
            place.into_iter().chain(packet.map(|field| step["packet"][field].to_string())).collect()
        })
        .collect()
}

#[test]
fn an_answer_that_leaves_something_open_is_found() {
    let good = &cases().iter().find(|case| case.question.situation == "vxlan").unwrap().answer;
    let is_open = |change: fn(&mut Value)| {
        let mut answer = good.clone();
        change(&mut answer);
        !open::open(&answer).is_empty()
    };
    assert!(!is_open(|_| {}));
    assert!(is_open(|answer| answer["paths"][0]["probability"] = Value::Null));
    assert!(is_open(|answer| answer["paths"][0]["reply"]["verdict"] = "undetermined".into()));
    assert!(is_open(|answer| answer["gaps"] = serde_json::json!([{"what": "x is missing", "evidence": []}])));
    assert!(is_open(|answer| answer["findings"] = serde_json::json!([{"what": "y is not modelled", "evidence": []}])));
    assert!(is_open(|answer| answer["paths"][0]["forward"]["reason"] = "not-modelled".into()));
}

/// The nodes of a situation that have tables of their own.
fn nodes_of(situation: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join("testdata").join(situation).join("nodes")).unwrap();
    let nodes = entries.map(|entry| entry.unwrap()).filter(|entry| entry.path().join("host").is_dir());
    nodes.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn text_and_json_say_the_same_and_the_text_is_narrow() {
    for Case { question, text, json, answer } in cases() {
        assert_eq!(text.code, json.code, "{}", question.command());
        let verdict = answer["verdict"].as_str().unwrap().to_uppercase();
        assert!(text.output.starts_with(&format!("{verdict} ")), "{}", question.command());
        for line in text.output.lines() {
            assert!(line.width() <= 100, "{}: {line}", question.command());
        }
    }
}

#[test]
fn the_shares_of_all_paths_add_up_to_one() {
    for Case { question, answer, .. } in cases() {
        let shares: Vec<Option<f64>> =
            answer["paths"].as_array().unwrap().iter().map(|path| path["probability"].as_f64()).collect();
        assert!(!shares.is_empty(), "{}", question.command());
        if let Some(shares) = shares.into_iter().collect::<Option<Vec<f64>>>() {
            let sum: f64 = shares.iter().sum::<f64>() + answer["unexplored"].as_f64().unwrap_or(0.0);
            assert!((sum - 1.0).abs() < 1e-9, "{}: {sum}", question.command());
        }
    }
}

#[test]
fn graphviz_draws_every_situation() {
    for case in cases().iter().filter(|case| case.question.keeps_json) {
        let graph = run(&format!("{} -o dot", case.question.command())).output;
        if !graphviz::draws(&graph) {
            return graphviz::skip("graphviz_draws_every_situation");
        }
    }
}

/// The README's examples are runs of the program: a fenced block that starts with `$ flowtrace`.
#[test]
fn the_readme_shows_what_the_program_prints() {
    let file = root().join("README.md");
    let text = fs::read_to_string(&file).unwrap();
    let mut out = String::new();
    let mut rest = text.as_str();
    let mut examples = 0;
    while let Some((before, after)) = rest.split_once("```console\n$ flowtrace ") {
        let (command, after) = after.split_once('\n').unwrap();
        let (_, after) = after.split_once("```").unwrap();
        let run = run(command);
        out.push_str(before);
        out.push_str("```console\n$ flowtrace ");
        out.push_str(&[command, "\n", &run.output, "```"].concat());
        rest = after;
        examples += 1;
    }
    out.push_str(rest);
    assert!(examples >= 2, "the README shows a successful and a failing run");
    let mut problems = Vec::new();
    hold(&file, &out, &mut problems);
    assert_none(&problems);
}
