//! Netfilter's steps, folded: the chains that led to a rule, and the rule where it decided something.

use std::collections::HashMap;

use crate::evidence::{Evidence, FileId, Files};
use crate::trace::{Decision, RuleVerdict, Step};

use super::Style;
use super::pen::Row;
use super::reference::references;

/// The chains that a base chain's walk stands in, each with the rule that matched last in it.
#[derive(Debug, Default)]
pub(super) struct Stack {
    key: Option<[String; 4]>,
    chains: Vec<(String, Vec<Evidence>)>,
    /// Where each of the chains stands.
    places: HashMap<String, usize>,
}

impl Stack {
    /// Notes that a rule of this chain matched.
    fn enter(&mut self, key: [String; 4], chain: &str, because: &[Evidence]) {
        if self.key.as_ref() != Some(&key) {
            self.chains.clear();
            self.places.clear();
            self.key = Some(key);
        }
        if let Some(place) = self.places.get(chain) {
            for (left, _) in self.chains.drain(place + 1..) {
                self.places.remove(&left);
            }
        } else {
            self.places.insert(chain.to_owned(), self.chains.len());
            self.chains.push((chain.to_owned(), Vec::new()));
        }
        if let Some((_, evidence)) = self.chains.last_mut() {
            *evidence = because.to_vec();
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        self.chains.iter().flat_map(|(_, evidence)| evidence.iter().copied()).collect()
    }

    fn names(&self, style: Style, name: fn(Style, &str) -> String) -> String {
        let names: Vec<String> = self.chains.iter().map(|(chain, _)| name(style, chain)).collect();
        names.join(" > ")
    }
}

/// The row for a rule or a policy, where it decided something.
pub(super) fn row(step: &Step, next: Option<&Step>, stack: &mut Stack, style: Style, files: &Files) -> Option<Row> {
    match &step.decision {
        Decision::Rule { hook, family, backend, table, chain, text, verdict, mark, tos, ttl, .. } => {
            let key = [hook.as_str(), family, backend, table.as_str()].map(str::to_owned);
            stack.enter(key, chain, &step.because);
            let sets = sets(mark.map(|mark| mark.to_string()), *tos, *ttl);
            let rewritten = rewrites(text) && matches!(next.map(|next| &next.decision), Some(Decision::Nat { .. }));
            let decides =
                matches!(verdict, RuleVerdict::Accept | RuleVerdict::Drop | RuleVerdict::Reject | RuleVerdict::Stolen);
            if !decides && *verdict != RuleVerdict::Queue && sets.is_none() && !rewritten {
                return None;
            }
            let matched = if rewritten { String::new() } else { condition(text) };
            let verdict = match (sets, decides && !rewritten) {
                (Some(sets), _) => sets,
                (None, true) => verdict.as_str().to_uppercase(),
                (None, false) => String::new(),
            };
            let tail: Vec<String> =
                [matched, verdict].iter().filter(|part| !part.is_empty()).map(|part| style.clean(part)).collect();
            Some(folded(step, stack, &tail.join(" "), style, files))
        }
        Decision::Policy { chain, verdict: RuleVerdict::Drop | RuleVerdict::Reject, .. } => {
            let body = format!("{}{} policy DROP", origin(step, files), style.clean(chain));
            let evidence = references(&step.because, style, files);
            Some(Row { label: label(step, style), body, evidence, ..Row::default() })
        }
        _ => None,
    }
}

/// Whether the rule is one that rewrites addresses, so that the next step shows what it did.
fn rewrites(rule: &str) -> bool {
    let rule = rule.to_ascii_lowercase();
    ["dnat", "snat", "masquerade", "redirect", "netmap"].iter().any(|word| rule.contains(word))
}

fn folded(step: &Step, stack: &Stack, tail: &str, style: Style, files: &Files) -> Row {
    let origin = origin(step, files);
    let gap = if tail.is_empty() { "" } else { "  " };
    Row {
        label: label(step, style),
        body: format!("{origin}{}{gap}{tail}", stack.names(style, |style, name| style.clean(name))),
        short: Some(format!("{origin}{}{gap}{tail}", stack.names(style, shorten))),
        evidence: references(&stack.evidence(), style, files),
        ..Row::default()
    }
}

/// The row for a rule or a policy in the verbose form: each one that matched, as written.
pub(super) fn verbose_row(step: &Step, style: Style, files: &Files) -> Option<Row> {
    let body = match &step.decision {
        Decision::Rule { chain, index, text, verdict, .. } => {
            format!("{}:{index} {} [{}]", style.clean(chain), style.clean(bare(text)), verdict.as_str())
        }
        Decision::Policy { chain, verdict, .. } => {
            format!("{} policy {}", style.clean(chain), verdict.as_str().to_uppercase())
        }
        _ => return None,
    };
    let evidence = references(&step.because, style, files);
    Some(Row { label: label(step, style), body: format!("{}{body}", origin(step, files)), evidence, ..Row::default() })
}

/// The table as a row's label.
fn label(step: &Step, style: Style) -> String {
    match &step.decision {
        Decision::Rule { table, .. } | Decision::Policy { table, .. } if usual(table) => style.clean(table),
        _ => "nft".to_owned(),
    }
}

/// What the label leaves open: the other backend, or an nft table that is not one of iptables' own.
fn origin(step: &Step, files: &Files) -> String {
    match &step.decision {
        Decision::Rule { family, backend, table, .. } | Decision::Policy { family, backend, table, .. } => {
            match (*backend, usual(table)) {
                ("legacy", _) if is_of_unknown_backend(step, files) => String::new(),
                ("legacy", _) => "legacy: ".to_owned(),
                (_, true) if *family == "ip" || *family == "ip6" => String::new(),
                _ => format!("{family} {table}: "),
            }
        }
        _ => String::new(),
    }
}

/// Whether a rule stands in an excerpt: without the head that `iptables-save` prints, nobody knows which backend's it is.
fn is_of_unknown_backend(step: &Step, files: &Files) -> bool {
    /// How many lines of warnings stand above the head at most.
    const WARNINGS: usize = 20;
    let file = step.because.first().and_then(|line| files.get(line.file));
    file.is_some_and(|file| {
        let mut top = file.text.lines().take(WARNINGS);
        !file.path.contains("legacy") && !top.any(|line| line.starts_with("# Generated by"))
    })
}

fn usual(table: &str) -> bool {
    matches!(table, "raw" | "mangle" | "nat" | "filter" | "security")
}

fn sets(mark: Option<String>, tos: Option<u8>, ttl: Option<u8>) -> Option<String> {
    let parts = [
        mark.map(|mark| format!("mark {mark}")),
        tos.map(|tos| format!("tos {tos:#x}")),
        ttl.map(|ttl| format!("ttl {ttl}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Where chains open in nft's listings, each file's looked up once.
#[derive(Debug, Default)]
pub(super) struct Heads(HashMap<FileId, Vec<(u32, String)>>);

impl Heads {
    /// The chain that the last head above a line opens.
    fn above(&mut self, line: Evidence, files: &Files) -> Option<&str> {
        if line.index.is_some() {
            return None;
        }
        let heads = self.0.entry(line.file).or_insert_with(|| heads(line.file, files));
        let above = heads.partition_point(|(number, _)| *number < line.line);
        heads.get(above.checked_sub(1)?).map(|(_, chain)| chain.as_str())
    }
}

/// The lines of a file that open a chain, in order, and the chains.
fn heads(file: FileId, files: &Files) -> Vec<(u32, String)> {
    let lines = files.get(file).into_iter().flat_map(|file| (1..).zip(file.text.lines()));
    let opened = |line: &str| Some(line.trim().strip_prefix("chain ")?.strip_suffix('{')?.trim().to_owned());
    lines.filter_map(|(number, line)| Some((number, opened(line)?))).collect()
}

/// The chain of a rule that was tried: as the rule itself names it, or, in nft's listing, as the line above it that
/// opens the chain; else the chain of the rule that matched after it.
pub(super) fn chain_of(line: Evidence, step: &Step, heads: &mut Heads, files: &Files) -> String {
    let text = without_counters(files.text(line).trim());
    if let Some((chain, _)) = text.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) {
        return chain.to_owned();
    }
    match (&step.decision, heads.above(line, files)) {
        (_, Some(chain)) => chain.to_owned(),
        (Decision::Rule { chain, .. } | Decision::Policy { chain, .. }, None) => chain.clone(),
        _ => String::new(),
    }
}

/// A rule without its counters and chain.
pub(super) fn bare(text: &str) -> &str {
    let text = without_counters(text.trim());
    match text.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) {
        Some((_, rest)) => rest,
        None => text,
    }
}

/// What a rule tests, without its comment, its counters and its target.
pub(super) fn condition(text: &str) -> String {
    let words = words(bare(text));
    if !is_of_iptables(text) {
        return nft_condition(words);
    }
    let target = words.iter().position(|word| matches!(word.as_str(), "-j" | "-g")).unwrap_or(words.len());
    let mut kept = Vec::new();
    let mut rest = words.into_iter().take(target);
    while let Some(word) = rest.next() {
        if word == "--comment" {
            rest.next();
            // The `-m comment` before it says nothing either.
            if kept.ends_with(&["-m".to_owned(), "comment".to_owned()]) {
                kept.truncate(kept.len() - 2);
            }
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

fn is_of_iptables(text: &str) -> bool {
    without_counters(text.trim()).starts_with('-')
}

/// What an nft rule says, without its counter, its comment, and the verdict at its end, which is told apart.
fn nft_condition(words: Vec<String>) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut rest = words.into_iter().peekable();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "counter" if rest.peek().is_some_and(|next| next == "packets") => _ = rest.nth(3),
            "counter" => {}
            "comment" if rest.peek().is_some_and(|next| next.starts_with('"')) => _ = rest.next(),
            _ => kept.push(word),
        }
    }
    if kept.last().is_some_and(|last| matches!(last.as_str(), "accept" | "drop" | "reject" | "return")) {
        kept.pop();
    }
    kept.join(" ")
}

/// The comment of a rule, without its quotes.
pub(super) fn comment(text: &str) -> Option<String> {
    let words = words(text);
    let place = words.iter().position(|word| word == "--comment")?;
    let comment = words.get(place + 1)?;
    Some(comment.trim_matches('"').to_owned())
}

/// What a rule or a policy is best known by: its comment, or else its text without counters.
pub(super) fn title(text: &str) -> String {
    if let Some(comment) = comment(text) {
        return format!("\"{comment}\"");
    }
    let text = without_counters(text.trim());
    let text = text.strip_prefix("-A ").or(text.strip_prefix(':')).unwrap_or(text);
    text.split(" [").next().unwrap_or(text).to_owned()
}

fn without_counters(text: &str) -> &str {
    match text.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, rest)) => rest,
        None => text,
    }
}

/// The words of a rule; a quoted one stays whole, quotes included.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == ' ' && !quoted {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A chain's name, cut where it is long: kube-proxy's hashes tell nobody anything.
fn shorten(style: Style, chain: &str) -> String {
    let name = style.clean(chain);
    if name.chars().count() <= 16 {
        return name;
    }
    let head: String = name.chars().take(13).collect();
    format!("{head}{}", style.symbols().ellipsis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_the_rule_without_comment_and_target() {
        let rule =
            r#"[1:60] -A KUBE-SVC-X ! -s 10.244.0.0/16 -m comment --comment "a \"b\" c" -p tcp -j KUBE-MARK-MASQ"#;
        assert_eq!(condition(rule), "! -s 10.244.0.0/16 -p tcp");
        assert_eq!(comment(rule).as_deref(), Some(r#"a \"b\" c"#));
        assert_eq!(condition("-A FORWARD -j DROP"), "");
        let rule = r#"ip saddr 10.244.0.0/16 counter packets 0 bytes 0 accept comment "a counter packets""#;
        assert_eq!(condition(rule), "ip saddr 10.244.0.0/16");
        assert_eq!(condition("counter name c meta mark set 0x1"), "name c meta mark set 0x1");
        assert_eq!(condition("reject with tcp reset"), "reject with tcp reset");
        assert_eq!(title("[0:0] -A FORWARD -j DROP"), "FORWARD -j DROP");
        assert_eq!(title(":FORWARD DROP [0:0]"), "FORWARD DROP");
    }
}
