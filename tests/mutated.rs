//! The whole way from files to output on snapshots that somebody has damaged: no panic, no hang, no terminal escapes,
//! and an answer, whatever it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtrace::engine::{self, Given, Origin, Question};
use flowtrace::load;
use flowtrace::net::{Ip, Packet, Transport};
use flowtrace::render::{self, Style, View};
use flowtrace::snapshot::{NetnsName, Snapshot};

/// Path and text of each file of a snapshot.
type Tree = Vec<(String, String)>;

fn tree(situation: &str) -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(situation);
    let mut files = Vec::new();
    list(&root, &root, &mut files);
    files.sort();
    assert!(files.len() > 20);
    files
}

fn list(root: &Path, folder: &Path, files: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            list(root, &entry, files);
        } else {
            let name = entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&entry).unwrap()));
        }
    }
}

/// xorshift64*: seeded, so that a failure can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % limit.max(1)
    }

    fn garbage(&mut self) -> &'static str {
        GARBAGE[self.below(GARBAGE.len())]
    }
}

const GARBAGE: &[&str] = &[
    "\0",
    "\x1b[2J",
    "\u{202e}",
    "-",
    "!",
    "\"",
    "'",
    "\\",
    "999999999999999999999",
    "-1",
    "0x",
    "/33",
    "::/129",
    "[",
    "{",
    "}",
    "]",
    ",",
    "default",
    "-j",
    "-A",
    ":",
    "@",
    "COMMIT",
    "lladdr",
    "via",
    "dev",
    "\n\n",
    "*",
    "ff:ff",
    "%",
];

fn damage(text: &mut String, random: &mut Random) {
    if random.below(7) == 0 || text.is_empty() {
        text.truncate(floor(text, random.below(text.len() + 1)));
        return;
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = random.below(lines.len());
    match random.below(5) {
        0 => drop(lines.remove(line)),
        1 => lines.insert(line, lines[line].clone()),
        2 => {
            let at = floor(&lines[line], random.below(lines[line].len() + 1));
            lines[line].insert_str(at, random.garbage());
        }
        3 => {
            let mut words: Vec<&str> = lines[line].split(' ').collect();
            let place = random.below(words.len());
            words[place] = random.garbage();
            lines[line] = words.join(" ");
        }
        _ => {
            let other = random.below(lines.len());
            lines.swap(line, other);
        }
    }
    *text = lines.join("\n") + "\n";
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn questions(snapshot: &Snapshot) -> Vec<Question> {
    let from = snapshot.netns_ids().filter(|(_, netns)| match &netns.name {
        NetnsName::Pod(pod) => pod.to_string() == "default/pod1",
        NetnsName::Host => netns.node.as_str() == "n1",
    });
    let mut questions = Vec::new();
    for (netns, _) in from {
        for (to, port) in [("10.244.2.2", 7000), ("10.96.0.20", 80), ("10.96.0.40", 80), ("203.0.113.9", 443)] {
            let ip = Ip { source: [0, 0, 0, 0].into(), destination: to.parse().unwrap(), ttl: 64, tos: 0, df: false };
            let transport = Transport::Tcp { source: Some(40000), destination: Some(port), flags: 2 };
            questions.push(Question {
                packet: Packet::new(ip, transport, 60),
                from: Origin::Socket { netns },
                reply: true,
                max_paths: 16,
                verbose: true,
                established: false,
                opened_by: None,
                given: Given::default(),
            });
        }
    }
    questions
}

/// Loads, asks and prints; fails on output that a terminal would obey.
fn survive(tree: &Tree, what: &str) {
    let start = Instant::now();
    let files = tree.iter().map(|(path, text)| (path.clone(), Arc::from(text.as_str())));
    let Ok(snapshot) = load::load_files(files) else { return };
    for question in questions(&snapshot) {
        let answer = engine::explain(&snapshot, &question);
        assert!(!answer.paths.is_empty(), "{what}");
        let view = View {
            from: "a",
            to: "b",
            target: None,
            answer: &answer,
            findings: &[],
            files: &snapshot.files,
            sighting: None,
        };
        let mut out = Vec::new();
        render::text(&view, Style { verbose: true, ..Style::default() }, &mut out).unwrap();
        render::json(&view, &mut out).unwrap();
        render::dot(&view, &mut out).unwrap();
        render::mermaid(&view, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let raw = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(raw, None, "{what}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{what} took {:?}", start.elapsed());
}

#[test]
fn a_damaged_snapshot_gives_an_answer_and_no_panic() {
    let trees = ["vxlan", "policy-routing", "dual-stack"].map(tree);
    for seed in 1..=150_u64 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut tree = trees[random.below(trees.len())].clone();
        let mut names = Vec::new();
        for _ in 0..=random.below(4) {
            let place = random.below(tree.len());
            names.push(tree[place].0.clone());
            damage(&mut tree[place].1, &mut random);
        }
        survive(&tree, &format!("seed {seed}, damaged {names:?}"));
    }
}

#[test]
fn a_snapshot_without_any_one_file_gives_an_answer() {
    let whole = tree("vxlan");
    let on_the_way = |path: &&String| path.starts_with("nodes/n1/host") || path.contains("default_pod1");
    for missing in whole.iter().map(|(path, _)| path).filter(on_the_way) {
        let tree: Tree = whole.iter().filter(|(path, _)| path != missing).cloned().collect();
        survive(&tree, &format!("without {missing}"));
    }
}
