//! `iptables-save` and `ip6tables-save`, and the like of it that people paste.
//!
//! The file is only cut into chains here; a rule's line is read when a walk first comes to its chain. One flow touches
//! a few thousand of a large cluster's hundred thousand rules.

mod grammar;
mod matches;
pub(super) mod name;
mod plain;
mod print;
mod rule;
mod section;
mod selector;
mod targets;
mod value;
mod words;

#[cfg(test)]
mod tests;

use crate::evidence::{Evidence, FileId, Gap, Text};
use crate::net::Family;
use crate::snapshot::{Backend, RuleLine, Ruleset, Table, WhyUnread};
use std::fmt;

use super::lines::{self, Notes, quote};
use rule::is_counters;
use section::{Declared, Found, Section};

const TOOL: &str = "`iptables-save`";

/// The tables that the kernel has.
const TABLES: &[&str] = &["raw", "mangle", "nat", "filter", "security"];

/// Reads what an `iptables-save` printed. The backend is nft's where its header says so, or legacy's.
pub(super) fn parse(file: FileId, text: &Text, family: Family, gaps: &mut Vec<Gap>) -> Ruleset {
    let mut reader = Reader {
        ruleset: Ruleset::new(family, Backend::Legacy, file, text.clone()),
        section: None,
        notes: Notes::new(file, TOOL, gaps),
        number: 0,
    };
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text.as_bytes()).chain(std::iter::once(text.len())) {
        reader.number += 1;
        reader.line(text.get(start..end).unwrap_or(""), start);
        start = end + 1;
    }
    reader.end();
    reader.ruleset
}

/// Whether the last line of a text closes a table, so that it is whole though it may lack its line end: somebody pasted
/// it, or cut off the white space. What `iptables-save` printed ends with the comment that its first line opens; where
/// the comments were taken out, `COMMIT` is the end.
pub(super) fn is_closed(text: &str) -> bool {
    let (first, last) = (text.lines().next().unwrap_or(""), lines::last(text).trim());
    if !first.starts_with('#') {
        return last == "COMMIT";
    }
    let Some(date) = last.strip_prefix("# Completed") else { return false };
    let words: Vec<&str> = date.split_ascii_whitespace().collect();
    match words.as_slice() {
        [] => !first.contains(" on "),
        // ` on Sat Nov 28 10:00:00 2026`
        ["on", _, _, _, _, year] => year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    }
}

/// A line without the space around it, and how many bytes of that are before it. Hardly any line has some, and to look
/// for the space of every script takes a while.
fn trimmed(line: &str) -> (&str, usize) {
    match line.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => (line, 0),
        _ => {
            let line = line.trim_end();
            let trimmed = line.trim_start();
            (trimmed, line.len() - trimmed.len())
        }
    }
}

/// What follows `[packets:bytes] -A `.
fn after_counters(line: &str) -> Option<&str> {
    let end = memchr::memchr(b']', line.as_bytes())?;
    line.get(end..)?.strip_prefix("] -A ")
}

struct Reader<'g> {
    ruleset: Ruleset,
    section: Option<Section>,
    notes: Notes<'g>,
    number: u32,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, start: usize) {
        let (trimmed, before) = trimmed(line);
        let start = start + before;
        let at = RuleLine { start: u32::try_from(start).unwrap_or(u32::MAX), line: self.number };
        match trimmed.as_bytes() {
            [] => {}
            [b'-', b'A', b' ', ..] => self.rule(trimmed.get(3..).unwrap_or(""), at),
            [b'[', ..] => match after_counters(trimmed) {
                Some(rest) => self.rule(rest, at),
                None => self.garbage(at),
            },
            [b'#', ..] => self.comment(trimmed),
            [b'*', name @ ..] => {
                let name = String::from_utf8_lossy(name);
                self.table(name.trim());
            }
            [b':', ..] => self.chain(trimmed.get(1..).unwrap_or("")),
            b"COMMIT" => self.commit(),
            _ => self.command(trimmed, at),
        }
    }

    fn here(&self) -> Evidence {
        Evidence::line(self.ruleset.file, self.number)
    }

    /// Says that a line may be any rule, chain or table.
    fn lose(&mut self, column: Option<u32>, what: impl fmt::Display) {
        let here = self.here();
        self.ruleset.unread.get_or_insert(WhyUnread::NotUnderstood.at(here));
        self.notes.add_at(here, column, what);
    }

    fn gap(&mut self, column: Option<u32>, what: impl fmt::Display) {
        let here = self.here();
        self.notes.add_at(here, column, what);
    }

    /// In which column of its line a piece of the text stands, in characters from 1.
    fn column(&self, piece: &str) -> Option<u32> {
        self.column_at((piece.as_ptr() as usize).checked_sub(self.ruleset.text.as_ptr() as usize)?)
    }

    fn column_at(&self, at: usize) -> Option<u32> {
        let before = self.ruleset.text.get(..at)?;
        let line = before.rsplit('\n').next().unwrap_or("");
        u32::try_from(line.chars().count() + 1).ok()
    }

    fn comment(&mut self, line: &str) {
        if line.starts_with("# Generated by") {
            if line.contains("(nf_tables)") {
                self.ruleset.backend = Backend::Nft;
            }
        } else if line.contains("tables present, use") {
            self.ruleset.other_backend.get_or_insert(Evidence::line(self.ruleset.file, self.number));
        } else if line.contains("is incompatible, use 'nft' tool") {
            self.incompatible(line);
        }
    }

    /// A table that only nft can print.
    fn incompatible(&mut self, line: &str) {
        let name = line.split_once('`').and_then(|(_, rest)| rest.split_once('\''));
        self.ruleset
            .unprinted
            .extend(name.map(|(name, _)| (name.to_owned(), Evidence::line(self.ruleset.file, self.number))));
        // The whole line says so.
        self.gap(None, "iptables could not print this table");
    }

    fn table(&mut self, name: &str) {
        if self.section.is_some() {
            self.gap(self.column(name), "a table begins before the one above it has ended (no COMMIT)");
            self.close(true);
        }
        if !TABLES.contains(&name) {
            self.lose(self.column(name), format_args!("there is no table {}", quote(name)));
        }
        self.section = Some(Section::new(Some(name), self.here(), self.ruleset.text.clone()));
    }

    fn section(&mut self) -> &mut Section {
        let here = self.here();
        self.section.get_or_insert_with(|| Section::new(None, here, self.ruleset.text.clone()))
    }

    fn chain(&mut self, rest: &str) {
        let mut words = rest.split_ascii_whitespace();
        let (Some(name), Some(policy)) = (words.next(), words.next()) else {
            self.lose(self.column(rest), "a chain's declaration is not understood");
            return;
        };
        let here = self.here();
        match self.section().declare(name, policy, here) {
            Declared::Well => {
                // They decide nothing.
                if let Some(counters) =
                    words.next().filter(|word| word.strip_prefix('[').is_some_and(|rest| !is_counters(rest)))
                {
                    self.gap(self.column(counters), "these are no counters of packets and bytes");
                }
            }
            Declared::NoPolicy => self.gap(self.column(policy), "a chain's policy is not understood"),
            Declared::Twice => {
                self.lose(self.column(name), format_args!("the chain {} stands twice", name.escape_debug()));
            }
        }
    }

    fn rule(&mut self, rest: &str, at: RuleLine) {
        let chain = rest.split_ascii_whitespace().next().unwrap_or("");
        if chain.is_empty() {
            return self.garbage(at);
        }
        let here = self.here();
        match self.section().rule(chain, at, here) {
            Found::Known => {}
            // iptables declares every chain: the name may be another chain's, and that one then lacks the rule.
            Found::Undeclared => {
                self.lose(self.column(chain), format_args!("the chain {} is not declared", chain.escape_debug()));
            }
            Found::Anywhere(line) => _ = self.ruleset.unread.get_or_insert(WhyUnread::NotUnderstood.at(line)),
        }
    }

    fn commit(&mut self) {
        if self.section.is_none() {
            self.lose(Some(1), "COMMIT without a table");
        }
        self.close(false);
    }

    /// The other commands: those of `iptables -S`, and what nobody understands.
    fn command(&mut self, line: &str, at: RuleLine) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let here = self.here();
        match words.as_slice() {
            ["-P", chain, policy, ..] => {
                self.section().declare(chain, policy, here);
            }
            ["-N", chain, ..] => {
                self.section().declare(chain, "-", here);
            }
            ["--append", ..] => self.rule(line.get("--append ".len()..).unwrap_or(""), at),
            _ => self.garbage(at),
        }
    }

    /// A line that nobody understands. Below a table's first rule it stands for one at its place. Elsewhere it may be
    /// anything: an error message that stands for all rules, a chain's declaration, the head of a table.
    fn garbage(&mut self, at: RuleLine) {
        let what = "this line is not understood";
        let column = self.column_at(at.start as usize);
        if self.section.as_mut().is_some_and(|section| section.placeholder(at)) {
            self.gap(column, what);
        } else {
            self.lose(column, what);
        }
    }

    fn close(&mut self, cut: bool) {
        let Some(section) = self.section.take() else { return };
        let last = self.here();
        let mut table = section.finish(cut.then_some(last));
        self.cut_empty(&mut table);
        if let Some(why) = &table.assumed {
            self.notes.add(table.evidence, why);
            self.ruleset.partial.get_or_insert(table.evidence);
        }
        if let Some(old) = self.ruleset.tables.iter_mut().find(|old| old.name == table.name) {
            let what = format!("the table {} stands twice, and the later one counts", table.name.escape_debug());
            self.notes.add_at(table.evidence, Some(1), what);
            *old = table;
        } else {
            self.ruleset.tables.push(table);
        }
    }

    /// Leaves the end of a chain out that has very many rules which say next to nothing: nobody wrote it, and its rules
    /// would take many times the room of their text.
    fn cut_empty(&mut self, table: &mut Table) {
        const MANY: usize = 1000;
        const SHORT: usize = 16;
        for chain in table.chains.iter_mut().filter(|chain| chain.len() > MANY) {
            let lines = table.lines.get(chain.lines.0 as usize..chain.lines.1 as usize).unwrap_or(&[]);
            let rest = |at: &RuleLine| self.ruleset.text.get(at.start as usize..).unwrap_or("");
            let length = |at| memchr::memchr(b'\n', rest(at).as_bytes()).unwrap_or(SHORT);
            if lines.iter().map(length).sum::<usize>() >= SHORT * lines.len() {
                continue;
            }
            let Some(first) = lines.get(MANY).map(|at| Evidence::line(self.ruleset.file, at.line)) else { continue };
            let what = format!(
                "the chain {} has {} rules that say next to nothing: those after the first {MANY} are not read",
                chain.name.escape_debug(),
                lines.len(),
            );
            self.notes.add(first, what);
            chain.cut(MANY, first);
        }
    }

    fn end(&mut self) {
        if !is_closed(&self.ruleset.text) {
            let cut = lines::open_end(self.ruleset.file, &self.ruleset.text);
            self.ruleset.unread = self.ruleset.unread.or(cut.map(|line| WhyUnread::Cut.at(line)));
        }
        // The last piece of the text after its last line end is no line.
        if self.ruleset.text.ends_with('\n') {
            self.number -= 1;
        }
        let Some(section) = &self.section else { return };
        if section.is_named() {
            self.gap(None, "the file ends within a table (no COMMIT), so rules may be missing");
            self.ruleset.partial = Some(self.here());
            self.close(true);
        } else {
            self.close(false);
        }
    }
}
