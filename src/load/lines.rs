//! What every text form has in common: lines, words, and what to say of those that aren't understood.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use crate::evidence::{Evidence, FileId, Gap};
use crate::net::IfName;

/// No row of any tool has more words than this; a line that does is not split up.
const MOST_WORDS: usize = 1 << 16;

/// So many gaps of one file are named each; the rest is counted, so that junk costs no memory.
const MOST_GAPS: usize = 100;

/// Every line with its number from 1, without its line end (`\n` or `\r\n`). Empty lines and comments (`#`) are left
/// out: no tool prints them, people who write a snapshot by hand do.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain(std::iter::once(text.len()));
    let mut start = 0;
    (1u32..).zip(ends).filter_map(move |(number, end)| {
        let line = text.get(start..end)?;
        start = end + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let first = line.bytes().find(|byte| !byte.is_ascii_whitespace())?;
        (first != b'#').then_some((number, line))
    })
}

/// The last line of a text, with what white space follows it on it.
pub(super) fn last(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.rsplit('\n').next().unwrap_or(text)
}

/// The last line of a text, where it is open: no tool leaves it so, and what followed is not known.
pub(super) fn open_end(file: FileId, text: &str) -> Option<Evidence> {
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).count();
    let last = u32::try_from(ends + 1).unwrap_or(u32::MAX);
    (!text.is_empty() && !text.ends_with('\n')).then(|| Evidence::line(file, last))
}

/// Splits a line into words. False, and no words, where there are more than any tool prints.
pub(super) fn split<'a>(line: &'a str, words: &mut Vec<&'a str>) -> bool {
    words.clear();
    words.extend(line.split_ascii_whitespace().take(MOST_WORDS + 1));
    if words.len() > MOST_WORDS {
        words.clear();
        return false;
    }
    true
}

/// The pieces of a line that iproute2's `-o` joins with `\` in place of a line end and an indent.
pub(super) fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let joint = memchr::memchr_iter(b'\\', text.as_bytes())
            .find(|at| matches!(text.as_bytes().get(at + 1), Some(b' ' | b'\t')));
        match joint {
            Some(at) => {
                rest = text.get(at + 1..);
                text.get(..at)
            }
            None => rest.take(),
        }
    })
}

/// The words of one row, read from left to right.
pub(super) struct Words<'w, 'a> {
    all: &'w [&'a str],
    at: usize,
}

impl<'w, 'a> Words<'w, 'a> {
    pub fn new(all: &'w [&'a str]) -> Self {
        Self { all, at: 0 }
    }

    /// The next word.
    pub fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    /// The next word, which stays.
    pub fn peek(&self) -> Option<&'a str> {
        self.all.get(self.at).copied()
    }

    /// The next word, as a value.
    pub fn value<T: FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }

    /// Takes the next word if it is this one.
    pub fn take(&mut self, word: &str) -> bool {
        let there = self.peek() == Some(word);
        self.at += usize::from(there);
        there
    }

    /// Passes over so many words.
    pub fn pass(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.next().map(drop))
    }

    /// How many words have been read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The words between two places, as written.
    pub fn between(&self, start: usize, end: usize) -> String {
        self.all.get(start..end).unwrap_or_default().join(" ")
    }

    /// Goes back to a place.
    fn back(&mut self, place: usize) {
        self.at = place;
    }

    /// The words not yet read.
    pub fn rest(&self) -> &'w [&'a str] {
        self.all.get(self.at..).unwrap_or_default()
    }
}

/// What came of a word and its values.
pub(super) enum Reading {
    /// It is in the row, or it is known not to change what happens to a packet.
    Understood,
    /// It is known, it changes what happens, and flowtrace doesn't model it.
    Unmodelled,
    /// It starts something else: it stays.
    End,
}

/// Reads the options of a row. `option` reads one word with its values, and answers `None` where it doesn't know the
/// word or can't read a value: then what follows up to the next word that it knows makes a gap, and stands among the
/// words given back, as do those that are unmodelled.
pub(super) fn options<'a>(
    words: &mut Words<'_, 'a>,
    (notes, evidence): (&mut Notes<'_>, Evidence),
    mut option: impl FnMut(&'a str, &mut Words<'_, 'a>) -> Option<Reading>,
) -> Vec<String> {
    let mut unmodelled = Vec::new();
    let mut unknown: Option<usize> = None;
    loop {
        let start = words.at();
        let reading = match words.next() {
            Some(word) => option(word, words),
            None => Some(Reading::End),
        };
        if reading.is_none() {
            unknown.get_or_insert(start);
            continue;
        }
        if let Some(text) = unknown.take().map(|from| words.between(from, start)) {
            notes.add(evidence, format_args!("{} is not understood", quote(&text)));
            unmodelled.push(text);
        }
        match reading {
            Some(Reading::Unmodelled) => unmodelled.push(words.between(start, words.at())),
            Some(Reading::End) => {
                words.back(start);
                return unmodelled;
            }
            Some(Reading::Understood) | None => {}
        }
    }
}

/// Words that come again and again in a long table, each of them kept once.
#[derive(Default)]
pub(super) struct Shared {
    devices: HashSet<IfName, foldhash::quality::RandomState>,
    words: HashSet<Arc<str>, foldhash::quality::RandomState>,
}

impl Shared {
    /// A device's name.
    pub fn device(&mut self, name: &str) -> IfName {
        if let Some(known) = self.devices.get(name) {
            return known.clone();
        }
        let name = IfName::new(name);
        self.devices.insert(name.clone());
        name
    }

    /// Any other word.
    pub fn word(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return Arc::clone(known);
        }
        let word: Arc<str> = Arc::from(word);
        self.words.insert(Arc::clone(&word));
        word
    }
}

/// What a reader has to say about one file. Writes the count of what it left out when it goes.
pub(super) struct Notes<'g> {
    gaps: &'g mut Vec<Gap>,
    /// The command whose output the file is.
    tool: &'static str,
    file: FileId,
    named: usize,
    left_out: Option<LeftOut>,
}

/// The gaps that are only counted.
struct LeftOut {
    count: u64,
    first: Evidence,
    /// Whether there are rows among them that could not be read.
    unread: bool,
}

impl<'g> Notes<'g> {
    pub fn new(file: FileId, tool: &'static str, gaps: &'g mut Vec<Gap>) -> Self {
        Self { gaps, tool, file, named: 0, left_out: None }
    }

    /// A line of the file.
    pub fn line(&self, number: u32) -> Evidence {
        Evidence::line(self.file, number)
    }

    /// Says what isn't understood or known about a line.
    pub fn add(&mut self, evidence: Evidence, what: impl fmt::Display) {
        self.push(Gap::new(format!("{}: {what}", self.tool), vec![evidence]), evidence);
    }

    /// Says that a row could not be read: it may be anything.
    pub fn unread(&mut self, evidence: Evidence, what: impl fmt::Display) {
        self.push(Gap::unread(format!("{}: {what}", self.tool), evidence), evidence);
    }

    /// Says what isn't understood in a column of a line.
    pub fn add_at(&mut self, evidence: Evidence, column: Option<u32>, what: impl fmt::Display) {
        self.push(Gap::new(format!("{}: {what}", self.tool), vec![evidence]).at(column), evidence);
    }

    /// Says that a row could not be read for what stands in a column.
    pub fn unread_at(&mut self, evidence: Evidence, column: Option<u32>, what: impl fmt::Display) {
        self.push(Gap::unread(format!("{}: {what}", self.tool), evidence).at(column), evidence);
    }

    /// Says that the row which was last complained about could not be read after all.
    pub fn lose(&mut self, evidence: Evidence) {
        if let Some(left_out) = &mut self.left_out {
            left_out.unread = true;
        } else if let Some(gap) = self.gaps.last_mut().filter(|gap| gap.evidence == [evidence]) {
            gap.unread = true;
        }
    }

    /// Whether something of this row was not understood.
    pub fn complained_of(&self, evidence: Evidence) -> bool {
        self.left_out.is_some() || self.gaps.last().is_some_and(|gap| gap.evidence == [evidence])
    }

    pub fn push(&mut self, gap: Gap, evidence: Evidence) {
        if self.named < MOST_GAPS {
            self.named += 1;
            self.gaps.push(gap);
        } else {
            let left_out = self.left_out.get_or_insert(LeftOut { count: 0, first: evidence, unread: false });
            left_out.count += 1;
            left_out.unread |= gap.unread;
        }
    }

    /// Says that a line is no row, and what a row looks like.
    pub fn expected(&mut self, evidence: Evidence, row: &str, found: &str) {
        self.unread(evidence, format_args!("expected {row}, found {}", quote(found)));
    }

    /// Says that a line has more words than any row.
    pub fn too_long(&mut self, evidence: Evidence) {
        self.unread(evidence, format_args!("a line of more than {MOST_WORDS} words is no row"));
    }
}

impl Drop for Notes<'_> {
    fn drop(&mut self) {
        if let Some(LeftOut { count, first, unread }) = self.left_out {
            let what = format!("{}: {count} more places are not understood, the first of them here", self.tool);
            self.gaps.push(Gap { unread, ..Gap::new(what, vec![first]) });
        }
    }
}

/// A text as it may be shown: shortened, and with every character that could steer a terminal written out.
pub(super) fn quote(text: &str) -> Quoted<'_> {
    Quoted(text)
}

/// What [`quote`] shows; written only where it is wanted.
pub(super) struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        f.write_str("`")?;
        chars.by_ref().take(60).try_for_each(|char| write_shown(f, char))?;
        f.write_str(if chars.next().is_some() { "…`" } else { "`" })
    }
}

/// Writes a character, or its escape where it could steer a terminal.
pub(super) fn write_shown(f: &mut fmt::Formatter<'_>, char: char) -> fmt::Result {
    if matches!(char, '\'' | '"' | '\\') { f.write_char(char) } else { write!(f, "{}", char.escape_debug()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_and_lose_their_ends() {
        let text = "a\r\n\n# said by a person\n  b \nc";
        assert_eq!(lines(text).collect::<Vec<_>>(), [(1, "a"), (4, "  b "), (5, "c")]);
        assert_eq!(lines("").count(), 0);
    }

    #[test]
    fn a_backslash_joins_only_before_an_indent() {
        let text = r"1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever";
        assert_eq!(
            pieces(text).collect::<Vec<_>>(),
            ["1: lo    inet 127.0.0.1/8 scope host lo", "       valid_lft forever"]
        );
        assert_eq!(pieces(r"a\b\").collect::<Vec<_>>(), [r"a\b\"]);
    }

    #[test]
    fn junk_costs_a_hundred_gaps_and_a_count() {
        let mut gaps = Vec::new();
        let mut notes = Notes::new(FileId(0), "`ip x`", &mut gaps);
        for number in 1..=250 {
            notes.expected(notes.line(number), "a row", "junk");
        }
        drop(notes);
        assert_eq!(gaps.len(), 101);
        assert_eq!(gaps[0].what, "`ip x`: expected a row, found `junk`");
        assert_eq!(gaps[100].what, "`ip x`: 150 more places are not understood, the first of them here");
        assert_eq!(gaps[100].evidence, [Evidence::line(FileId(0), 101)]);
    }

    #[test]
    fn a_quote_never_holds_an_escape_sequence() {
        assert_eq!(quote("\x1b[31mred").to_string(), r"`\u{1b}[31mred`");
        assert_eq!(quote(&"x".repeat(100)).to_string(), format!("`{}…`", "x".repeat(60)));
    }

    #[test]
    fn a_line_of_a_million_words_is_not_split() {
        let line = "a ".repeat(1_000_000);
        let mut words = Vec::new();
        assert!(!split(&line, &mut words));
        assert!(words.is_empty());
    }
}
