//! A rule's line in words, as `iptables-restore` splits it (`add_param_to_argv` in `iptables/xshared.c`).

use std::borrow::Cow;

/// The most words that `iptables-restore` takes (`MAX_ARGC` in `iptables/xshared.h`). Of a line that has more, one more
/// is read.
pub(super) const MOST: usize = 255;

/// A word, and where in the line it starts.
struct Word<'l> {
    start: usize,
    text: Cow<'l, str>,
}

/// The words of a line, and whether a quote of the last one is still open at its end. Between double quotes blanks are
/// kept and a backslash takes the next character as it is.
fn split(line: &str) -> (Vec<Word<'_>>, bool) {
    // As many as kube-proxy's rules have.
    let mut words = Vec::with_capacity(24);
    let bytes = line.as_bytes();
    let (mut start, mut open) = (0, false);
    while let Some(byte) = bytes.get(start).filter(|_| words.len() <= MOST) {
        if byte.is_ascii_whitespace() {
            start += 1;
            continue;
        }
        let rest = bytes.get(start..).unwrap_or(&[]);
        let length = rest.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'"')).unwrap_or(rest.len());
        if rest.get(length) == Some(&b'"') {
            let (text, length, unclosed) = quoted(line.get(start..).unwrap_or(""));
            open |= unclosed;
            words.push(Word { start, text });
            start += length;
        } else {
            words.push(Word { start, text: Cow::Borrowed(line.get(start..start + length).unwrap_or("")) });
            start += length;
        }
    }
    (words, open)
}

/// A word that has quotes in it, how many bytes it takes up, and whether a quote is still open then.
fn quoted(text: &str) -> (Cow<'_, str>, usize, bool) {
    if let Some(whole) = plainly_quoted(text) {
        return (Cow::Borrowed(whole), whole.len() + 2, false);
    }
    let mut word = String::new();
    let mut chars = text.char_indices();
    let mut open = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => open = !open,
            '\\' if open => word.extend(chars.next().map(|(_, escaped)| escaped)),
            ' ' | '\t' if !open => return (Cow::Owned(word), at, false),
            _ => word.push(c),
        }
    }
    (Cow::Owned(word), text.len(), open)
}

/// What stands between a word's first and last character, where these are its only quotes and nothing is escaped.
fn plainly_quoted(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?;
    let end = memchr::memchr2(b'"', b'\\', inner.as_bytes())?;
    let closes = inner.as_bytes().get(end) == Some(&b'"');
    let ends = matches!(inner.as_bytes().get(end + 1), None | Some(b' ' | b'\t'));
    if closes && ends { inner.get(..end) } else { None }
}

/// The words of a rule, as they are taken one after the other.
pub(super) struct Words<'l> {
    line: &'l str,
    all: Vec<Word<'l>>,
    open: bool,
    at: usize,
}

impl<'l> Words<'l> {
    pub(super) fn new(line: &'l str) -> Self {
        let (all, open) = split(line);
        Self { line, all, open, at: 0 }
    }

    /// The next word, which stays.
    pub(super) fn peek(&self) -> Option<&str> {
        self.get(self.at)
    }

    /// The word at a place.
    pub(super) fn get(&self, place: usize) -> Option<&str> {
        self.all.get(place).map(|word| &*word.text)
    }

    /// Passes over the next word.
    pub(super) fn pass(&mut self) {
        self.at = (self.at + 1).min(self.all.len());
    }

    pub(super) fn next(&mut self) -> Option<&str> {
        let at = self.at;
        self.pass();
        self.get(at)
    }

    /// The place of the next word.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Where a word starts, in characters from 1; for a place after the last word, the line's end.
    pub(super) fn column(&self, place: usize) -> u32 {
        let start = self.all.get(place).map_or(self.line.trim_end().len(), |word| word.start);
        let before = self.line.get(..start).unwrap_or("").chars().count();
        u32::try_from(before).unwrap_or(u32::MAX - 1) + 1
    }

    /// The line from a place up to another, as written.
    pub(super) fn between(&self, from: usize, to: usize) -> &'l str {
        let start = |place: usize| self.all.get(place).map_or(self.line.len(), |word| word.start);
        self.line.get(start(from)..start(to)).unwrap_or("").trim_end()
    }

    /// Takes the words that can only be values: up to the next option or `!`.
    pub(super) fn skip_values(&mut self) {
        while self.peek().is_some_and(|word| word != "!" && !is_option(word)) {
            self.at += 1;
        }
    }

    /// The last word, where a quote in it is not closed.
    pub(super) fn unclosed(&self) -> Option<usize> {
        self.all.len().checked_sub(1).filter(|_| self.open)
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

fn is_option(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next() == Some('-') && chars.next().is_some_and(|second| !second.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{Words, split};

    fn words(line: &str) -> Vec<String> {
        split(line).0.into_iter().map(|word| word.text.into_owned()).collect()
    }

    #[test]
    fn quotes_keep_blanks_and_backslashes_escape() {
        assert_eq!(words(r#"-A X  -m comment --comment "a \"b\" \\ c" -j Y"#).last().unwrap(), "Y");
        assert_eq!(words(r#"--comment "a \"b\" \\ c""#), ["--comment", r#"a "b" \ c"#]);
        assert_eq!(words(r#"--log-prefix "test: " x"#), ["--log-prefix", "test: ", "x"]);
    }

    #[test]
    fn an_open_quote_ends_with_the_line() {
        assert_eq!(words(r#"--comment "a b"#), ["--comment", "a b"]);
        assert_eq!(words("--comment \"a\\"), ["--comment", "a"]);
    }

    #[test]
    fn an_empty_quoted_word_is_a_word() {
        assert_eq!(words(r#"--comment "" x"#), ["--comment", "", "x"]);
    }

    #[test]
    fn a_column_counts_characters_and_not_bytes() {
        let words = Words::new(r#"-A X  --comment "äöü" --dport 1"#);
        assert_eq!(words.column(0), 1);
        assert_eq!(words.column(2), 7);
        assert_eq!(words.column(4), 23);
        assert_eq!(words.between(2, 4), r#"--comment "äöü""#);
        assert_eq!(words.column(99), 32);
    }
}
