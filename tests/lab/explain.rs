//! Asks `flowtrace explain`, as any other program would: the binary, its arguments, its JSON.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::client::length_of;
use super::probe::{Probe, Proto};

thread_local! {
    /// Another program to test on this thread, instead of this crate's, and which mistake it makes.
    static OTHER: RefCell<Option<(PathBuf, usize)>> = const { RefCell::new(None) };
}

/// A program that makes a mistake.
#[derive(Clone, Copy)]
pub struct Mistaken<'a> {
    /// The program, which can make several.
    pub program: &'a Path,
    /// The one that it is to make.
    pub mistake: usize,
}

/// Tests another program on this thread from now on, or this crate's again.
pub fn set_program(other: Option<Mistaken>) {
    OTHER.set(other.map(|other| (other.program.to_owned(), other.mistake)));
}

/// The program under test: cargo names it for integration tests; an example finds it beside its own folder.
pub fn program() -> PathBuf {
    if let Some((path, _)) = OTHER.with_borrow(Clone::clone) {
        return path;
    }
    if let Some(path) = std::env::var_os("FLOWTRACE_BINARY") {
        return path.into();
    }
    option_env!("CARGO_BIN_EXE_flowtrace").map_or_else(
        || {
            let mut path = std::env::current_exe().unwrap_or_default();
            path.pop();
            path.pop();
            path.join("flowtrace")
        },
        PathBuf::from,
    )
}

/// The arguments of `explain` for a probe.
pub fn arguments(probe: &Probe, snapshot: &Path, most: usize) -> Vec<String> {
    let mut words = vec!["explain".to_owned(), probe.from.clone(), probe.to.clone()];
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    add("--snapshot", snapshot.display().to_string());
    add("-o", "json".to_owned());
    add("--proto", probe.proto.as_str().to_owned());
    add("--size", length_of(probe).to_string());
    add("--max-paths", most.to_string());
    if probe.proto != Proto::Icmp {
        add("--sport", probe.sport.to_string());
        if !probe.to.contains(&format!(":{}", probe.port)) {
            add("--port", probe.port.to_string());
        }
    }
    if let Some(source) = probe.source {
        add("--source", source.to_string());
    }
    if let Some(ttl) = probe.ttl {
        add("--ttl", ttl.to_string());
    }
    if let Some(tos) = probe.tos {
        add("--tos", tos.to_string());
    }
    if let Some(mark) = probe.mark {
        add("--mark", mark.to_string());
    }
    if probe.df {
        words.push("--df".to_owned());
    }
    words.push(if probe.destination.is_ipv4() { "-4" } else { "-6" }.to_owned());
    words.extend(probe.extra.iter().cloned());
    words
}

/// A longer answer is of a loop that branches on and on, and would take gigabytes as a tree.
const LONGEST: usize = 64 << 20;

/// The answer of `explain`, with so many ways at most, and how to ask for it by hand; none where it is too long to read.
pub fn explain(probe: &Probe, snapshot: &Path, most: usize) -> Result<Option<(Value, String)>, String> {
    let words = arguments(probe, snapshot, most);
    let by_hand = format!("flowtrace {}", words.join(" "));
    // An answer takes milliseconds; a program that hangs or eats the machine's memory must not take the lab with it.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 4000000; exec timeout 180 \"$@\"", "sh"]).arg(program()).args(&words);
    if let Some((_, mistake)) = OTHER.with_borrow(Clone::clone) {
        command.env("FLOWTRACE_MISTAKE", mistake.to_string());
    }
    let output = command.output().map_err(|error| format!("{by_hand}: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    if !matches!(code, Some(0 | 1 | 3)) {
        return Err(format!("{by_hand}: exit {code:?}\n{told}"));
    }
    if output.stdout.len() > LONGEST {
        return Ok(None);
    }
    let answer: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{by_hand}: no JSON: {error}\n{told}"))?;
    check_exit_code(&answer, code).map_err(|error| format!("{by_hand}: {error}"))?;
    Ok(Some((answer, by_hand)))
}

/// The exit code must say what the JSON says (contract, section 2).
fn check_exit_code(answer: &Value, code: Option<i32>) -> Result<(), String> {
    let paths = answer["paths"].as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value["verdict"].as_str().unwrap_or_default().to_owned();
    let fine = |path: &Value| {
        matches!(word(path).as_str(), "delivered" | "left")
            && (path["reply"].is_null() || matches!(word(&path["reply"]).as_str(), "delivered" | "left"))
    };
    let known_bad = paths.iter().any(|path| {
        let unknown = word(path) == "undetermined" || word(&path["reply"]) == "undetermined";
        !unknown && !fine(path)
    });
    let all = answer["truncated"].as_bool() != Some(true);
    let wanted = match (all && paths.iter().all(fine), known_bad) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 3,
    };
    if code == Some(wanted) { Ok(()) } else { Err(format!("exit {code:?}, where the JSON says {wanted}")) }
}
