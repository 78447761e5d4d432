//! What `flowtrace collect` writes of iptables-nft's rules without its tools, held against what these print.

use std::fs;
use std::path::Path;

use super::judge::Folder;
use super::machine::{Taker, take};
use super::netns::{Netns, must, run};

/// How `collect` begins a table that it asked of the kernel by itself, where there are many rules.
const OWN: &str = "# iptables-nft's: base chains alone";
/// So many there are.
const MANY: usize = 4096;

/// A family's tools.
pub type Tools = [&'static str; 2];

/// Those of IPv4.
pub const INET: Tools = ["iptables-nft-restore", "iptables-nft-save"];
/// Those of IPv6.
pub const INET6: Tools = ["ip6tables-nft-restore", "ip6tables-nft-save"];

/// What became of a family's rules.
#[derive(Debug, PartialEq, Eq)]
pub enum Saved {
    /// The tool doesn't take the rules, or doesn't print them.
    Refused(String),
    /// They were not known, and the tool was run.
    Fallback,
    /// What was written is what the tool prints, by this many rules.
    Exact(usize),
    /// It is not: the first line of each that differs.
    Different(String, String),
}

/// Loads rules into a namespace, takes a snapshot of it, and compares.
pub fn compare(tools: Tools, rules: &str) -> Result<Saved, String> {
    let netns = Netns::new("saved")?;
    let loaded = netns.enter(|| run(tools[0], &["-c"], rules))?;
    if !loaded.status.success() {
        return Ok(Saved::Refused(String::from_utf8_lossy(&loaded.stderr).into_owned()));
    }
    of(tools, &netns)
}

/// Takes a snapshot of a namespace, and compares one family's rules, beside many more.
pub fn of(tools: Tools, netns: &Netns) -> Result<Saved, String> {
    let many = format!("*security\n:MANY - [0:0]\n{}COMMIT\n", "-A MANY -j RETURN\n".repeat(MANY));
    netns.enter(|| must(tools[0], &["-n"], &many))?;
    let printed = netns.enter(|| run(tools[1], &["-c"], ""))?;
    if !printed.status.success() || printed.stdout.windows(15).any(|part| part == b"is incompatible") {
        return Ok(Saved::Refused("the tool does not print it".to_owned()));
    }
    let folder = Folder::new("saved");
    let output = take(netns, &[], "n1", &folder.path, Taker::Netlink)?;
    // nft itself crashes on some extensions of iptables.
    if !matches!(output.status.code(), Some(0 | 3)) {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let host = folder.path.join("nodes/n1/host");
    let file = if tools == INET { "iptables-save" } else { "ip6tables-save" };
    let written = fs::read(host.join(file)).map_err(|error| error.to_string())?;
    if let Some((wrong, right)) = first_difference(&written, &printed.stdout) {
        return Ok(Saved::Different(wrong, right));
    }
    let Ok(listed) = fs::read_to_string(host.join("nft.txt")) else { return Ok(Saved::Fallback) };
    let word = if tools == INET { "table ip " } else { "table ip6 " };
    let mut before = "";
    for line in listed.lines() {
        if line.starts_with(word) && !before.starts_with(OWN) {
            return Ok(Saved::Fallback);
        }
        before = line;
    }
    let rules = written.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"[")).count();
    Ok(Saved::Exact(rules - MANY))
}

/// The first lines that differ, but for the moments.
fn first_difference(one: &[u8], other: &[u8]) -> Option<(String, String)> {
    let lines = |text: &[u8]| -> Vec<String> {
        let text = text.iter().map(|byte| char::from(*byte)).collect::<String>();
        let without_moment = |line: &str| match line.split_once(" on ") {
            Some((head, _)) if line.starts_with("# ") => head.to_owned(),
            _ => line.to_owned(),
        };
        text.split('\n').map(without_moment).collect()
    };
    let (one, other) = (lines(one), lines(other));
    let most = one.len().max(other.len());
    let line = |lines: &[String], at: usize| lines.get(at).cloned().unwrap_or_else(|| "(nothing)".to_owned());
    (0..most).map(|at| (line(&one, at), line(&other, at))).find(|(one, other)| one != other)
}

/// Whether the tools here are of a version whose words are known.
pub fn is_known() -> bool {
    let said = must(INET[1], &["--version"], "").unwrap_or_default();
    ["v1.8.9 ", "v1.8.10 ", "v1.8.11 "].iter().any(|version| said.contains(version))
}

/// Tries every rule of a folder of iptables' own tests (`*.t`) alone: how many are exact, left to the tool, refused and
/// different, each with its words where it is not exact.
pub fn corpus(dir: &Path, tell: &mut dyn FnMut(&str)) -> Result<[usize; 4], String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).map_err(|error| error.to_string())?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "t"));
    names.sort();
    let mut counts = [0; 4];
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("libebt") || name.starts_with("libarpt") {
            continue;
        }
        let families: &[Tools] = match name.get(..6) {
            Some("libipt") => &[INET],
            Some("libip6") => &[INET6],
            _ => &[INET, INET6],
        };
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        for rules in rules(&text) {
            for tools in families {
                let (count, word) = match compare(*tools, &rules)? {
                    Saved::Exact(_) => (0, String::new()),
                    Saved::Fallback => (1, "FALLBACK".to_owned()),
                    Saved::Refused(_) => (2, String::new()),
                    Saved::Different(one, other) => (3, format!("DIFFERENT {one:?}, wanted {other:?}")),
                };
                counts[count] += 1;
                if !word.is_empty() {
                    tell(&format!("{name}: {}: {word}", rules.lines().nth(2).unwrap_or_default()));
                }
            }
        }
    }
    Ok(counts)
}

/// The rules of a file that iptables takes, each as a whole rule set.
fn rules(text: &str) -> Vec<String> {
    let (mut chain, mut table) = ("INPUT", "filter");
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(list) = line.strip_prefix(':') {
            (chain, table) = (list.split(',').next().unwrap_or(list), "filter");
        } else if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if !line.is_empty() && !line.starts_with(['#', '@', '%']) && !line.contains(";FAIL") {
            let rule = line.split(';').next().unwrap_or(line);
            found.push(format!("*{table}\n:USER - [0:0]\n-A {chain} {rule}\nCOMMIT\n"));
        }
    }
    found
}
