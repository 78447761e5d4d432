//! Asks a snapshot, prints the answer in every format, and checks what must hold whatever the snapshot says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use flowtrace::diagnose;
use flowtrace::engine::{self, Given, Origin, Question};
use flowtrace::load::load;
use flowtrace::net::{Family, Ip, NetnsId, Packet, Transport};
use flowtrace::render::{self, Charset, Style, View, Width};
use flowtrace::snapshot::Snapshot;
use flowtrace::trace::{Answer, Decision};
use serde_json::Value;

use super::bundled::{Files, Form};
use super::random::Random;

/// Destinations that lead somewhere in the bundled snapshots: pods, nodes, services, gateways, the world.
const DESTINATIONS: &[&str] = &[
    "10.244.1.2",
    "10.244.1.3",
    "10.244.2.2",
    "10.244.2.3",
    "10.244.3.2",
    "10.244.1.1",
    "10.96.0.10",
    "10.96.0.20",
    "10.96.0.30",
    "10.96.0.40",
    "192.0.2.11",
    "192.0.2.12",
    "192.0.2.1",
    "203.0.113.9",
    "127.0.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "10.0.5.150",
    "10.16.0.10",
    "fd00:10:244:1::2",
    "fd00:10:244:2::2",
    "fd00:10:96::10",
    "2001:db8::1",
    "fe80::1",
    "::1",
    "ff02::1",
];

/// Loads files in a form and asks them some questions.
pub fn files(files: &Files, form: Form, questions: usize, random: &mut Random) -> Result<(), String> {
    let there = files.write(form);
    match load(&there.path) {
        Ok(snapshot) => (0..questions).try_for_each(|_| {
            let question = any(&snapshot, random);
            ask(&snapshot, &question, random).map_err(|why| format!("{why}, asked {question:?}"))
        }),
        Err(error) => one_message(&error.to_string()),
    }
}

/// What makes a file no snapshot is said in one piece that a terminal can show.
fn one_message(message: &str) -> Result<(), String> {
    let shown = render::clean(message, Charset::Unicode);
    if shown.is_empty() || shown.len() > 10_000 { Err(format!("a message of {} bytes", shown.len())) } else { Ok(()) }
}

/// Any question that fits.
pub fn any(snapshot: &Snapshot, random: &mut Random) -> Question {
    let destination: IpAddr = random.pick(DESTINATIONS).parse().unwrap();
    let netns = NetnsId(u32::try_from(random.below(snapshot.namespaces.len())).unwrap());
    let mut question = question(netns, destination);
    question.packet.transport = transport(random, destination);
    question.packet.length = *random.pick(&[60, 84, 1450, 1500, 65535]);
    question.packet.ip.ttl = *random.pick(&[64, 64, 64, 2, 1, 255]);
    question.packet.ip.df = random.once_in(4) || destination.is_ipv6();
    question.verbose = random.once_in(4);
    question.established = random.once_in(8);
    if random.once_in(4) {
        let link = snapshot.netns(netns).links.iter().flatten().nth(random.below(4));
        question.from = match link {
            Some(link) if random.once_in(2) => Origin::Device { netns, device: link.name.clone() },
            Some(link) => Origin::Outside { entries: vec![(netns, link.name.clone()); 1 + random.below(2)] },
            None => Origin::Outside { entries: Vec::new() },
        };
        let outside = if destination.is_ipv4() { "198.51.100.9" } else { "2001:db8::9" };
        question.packet.ip.source = outside.parse().unwrap();
    }
    question
}

/// A question of a socket: TCP to port 80.
pub fn question(netns: NetnsId, destination: IpAddr) -> Question {
    let source = match Family::of(destination) {
        Family::Inet => "0.0.0.0".parse().unwrap(),
        Family::Inet6 => "::".parse().unwrap(),
    };
    let ip = Ip { source, destination, ttl: 64, tos: 0, df: destination.is_ipv6() };
    let transport = Transport::Tcp { source: Some(40000), destination: Some(80), flags: 2 };
    Question {
        packet: Packet::new(ip, transport, 60),
        from: Origin::Socket { netns },
        reply: true,
        max_paths: 16,
        verbose: false,
        established: false,
        opened_by: None,
        given: Given::default(),
    }
}

fn transport(random: &mut Random, destination: IpAddr) -> Transport {
    let (source, port) = (Some(40000), Some(*random.pick(&[53, 80, 8080, 30080, 8472, 8285])));
    match random.below(4) {
        0 => Transport::Udp { source, destination: port },
        1 => {
            let kind = if destination.is_ipv6() { 128 } else { 8 };
            Transport::Icmp { kind, code: 0, id: Some(1), quoted: None }
        }
        2 if random.once_in(4) => Transport::Sctp { source, destination: port },
        _ => Transport::Tcp { source, destination: port, flags: 2 },
    }
}

/// Walks a question, prints the answer, and checks both.
pub fn ask(snapshot: &Snapshot, question: &Question, random: &mut Random) -> Result<(), String> {
    let answer = engine::explain(snapshot, question);
    check_answer(&answer, question)?;
    let findings = diagnose::findings(snapshot, &answer);
    let view = View {
        from: "default/pod1",
        to: "a\u{1b}[31mname",
        target: None,
        answer: &answer,
        findings: &findings,
        files: &snapshot.files,
        sighting: None,
    };
    let style = Style {
        verbose: random.once_in(2),
        color: random.once_in(2),
        charset: *random.pick(&[Charset::Ascii, Charset::Unicode]),
        width: *random.pick(&[Width::default(), Width::of_terminal(80), Width::of_terminal(1)]),
    };
    let text = printed(|out| render::text(&view, style, out))?;
    check_text(&text, style)?;
    for graph in [render::dot, render::mermaid] {
        check_text(&printed(|out| graph(&view, out))?, Style::default())?;
    }
    check_json(snapshot, &printed(|out| render::json(&view, out))?)
}

fn printed(print: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<String, String> {
    let mut out = Vec::new();
    print(&mut out).map_err(|err| err.to_string())?;
    String::from_utf8(out).map_err(|err| err.to_string())
}

fn check_answer(answer: &Answer, question: &Question) -> Result<(), String> {
    if answer.paths.is_empty() || answer.paths.len() > question.max_paths {
        return Err(format!("{} paths", answer.paths.len()));
    }
    let known: f64 = answer.paths.iter().filter_map(|path| path.probability).sum();
    if !(-1e-9..=1.0 + 1e-9).contains(&known) {
        return Err(format!("the paths' probabilities add up to {known}"));
    }
    for trace in answer.paths.iter().flat_map(|path| [Some(&path.forward), path.reply.as_ref()]).flatten() {
        let ends = trace.steps.iter().filter(|step| matches!(step.decision, Decision::End { .. })).count();
        let last = trace.steps.last().is_some_and(|step| matches!(step.decision, Decision::End { .. }));
        if ends != 1 || !last {
            return Err(format!("{ends} ends in {} steps", trace.steps.len()));
        }
    }
    Ok(())
}

/// Nothing that a terminal would obey, but for line ends and, where it is asked for, colour.
fn check_text(text: &str, style: Style) -> Result<(), String> {
    let plain = if style.color { without_colors(text) } else { text.to_owned() };
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    for line in plain.lines() {
        if let Some(c) = line.chars().find(|c| hostile(*c) || (style.charset == Charset::Ascii && !c.is_ascii())) {
            return Err(format!("{c:?} is printed: {line:?}"));
        }
    }
    Ok(())
}

/// The text without `ESC [ numbers m`.
fn without_colors(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        match part.split_once('m').filter(|(code, _)| code.chars().all(|c| c.is_ascii_digit() || c == ';')) {
            Some((_, rest)) => plain.push_str(rest),
            None => _ = write!(plain, "\u{1b}[{part}"),
        }
    }
    plain
}

/// It is JSON, it is clean, and what it quotes stands where it says.
fn check_json(snapshot: &Snapshot, printed: &str) -> Result<(), String> {
    check_text(printed, Style::default())?;
    let json: Value = serde_json::from_str(printed).map_err(|err| format!("no JSON: {err}"))?;
    if json["schema"] != "flowtrace/explain/1" {
        return Err(format!("schema {}", json["schema"]));
    }
    let mut quoted = BTreeSet::new();
    quotes(&json, &mut quoted);
    let mut of_file: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    for (file, line, text) in &quoted {
        of_file.entry(file).or_default().push((*line, text));
    }
    of_file.into_iter().try_for_each(|(file, quoted)| {
        let found = snapshot.files.find(file).and_then(|id| snapshot.files.get(id)).ok_or(format!("no file {file}"))?;
        check_quotes(file, &found.text, &quoted)
    })
}

/// The quotes stand in the order of their lines, so that the text is gone through once.
fn check_quotes(file: &str, text: &str, quoted: &[(usize, &str)]) -> Result<(), String> {
    let mut lines = (1..).zip(text.split('\n')).peekable();
    quoted.iter().try_for_each(|(line, text)| {
        while lines.next_if(|(number, _)| number < line).is_some() {}
        let real = lines.peek().filter(|(number, _)| number == line);
        let real = real.map(|(_, line)| line.strip_suffix('\r').unwrap_or(line));
        if real == Some(*text) { Ok(()) } else { Err(format!("{file}:{line} is {real:?} and not {text:?}")) }
    })
}

/// Every line that evidence quotes from a text file.
fn quotes(json: &Value, found: &mut BTreeSet<(String, usize, String)>) {
    match json {
        Value::Array(list) => list.iter().for_each(|value| quotes(value, found)),
        Value::Object(object) => {
            if let (Some(Value::String(file)), Some(Value::Number(line)), Some(Value::String(text)), None) =
                (object.get("file"), object.get("line"), object.get("text"), object.get("index"))
            {
                let line = usize::try_from(line.as_u64().unwrap_or(0)).unwrap();
                found.insert((file.clone(), line, text.clone()));
            }
            object.values().for_each(|value| quotes(value, found));
        }
        _ => {}
    }
}

/// The most memory that this process has had, in MiB.
pub fn peak() -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib >> 10)
}
