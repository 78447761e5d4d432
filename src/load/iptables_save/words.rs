//! A rule's line in words, as `iptables-restore` splits it (`add_param_to_argv` in `iptables/xshared.c`).

use std::borrow::Cow;

/// The words of a line. Between double quotes blanks are kept and a backslash takes the next character as it is.
pub(super) fn split(line: &str) -> Vec<Cow<'_, str>> {
    let mut words = Vec::with_capacity(24);
    let mut rest = line.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', '"']).unwrap_or(rest.len());
        let (plain, after) = rest.split_at(end);
        if after.starts_with('"') {
            let (word, left) = quoted(rest);
            words.push(Cow::Owned(word));
            rest = left.trim_start();
        } else {
            words.push(Cow::Borrowed(plain));
            rest = after.trim_start();
        }
    }
    words
}

/// A word that has quotes in it, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut chars = text.char_indices();
    let mut open = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => open = !open,
            '\\' if open => word.extend(chars.next().map(|(_, escaped)| escaped)),
            ' ' | '\t' if !open => return (word, text.get(at..).unwrap_or("")),
            _ => word.push(c),
        }
    }
    (word, "")
}

/// The words of a rule, as they are taken one after the other.
pub(super) struct Words<'l> {
    words: Vec<Cow<'l, str>>,
    at: usize,
}

/// An option whose value can't be read.
#[derive(Debug)]
pub(super) struct Malformed;

impl<'l> Words<'l> {
    pub(super) fn new(line: &'l str) -> Self {
        Self { words: split(line), at: 0 }
    }

    pub(super) fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(AsRef::as_ref)
    }

    pub(super) fn next(&mut self) -> Option<Cow<'l, str>> {
        let word = self.words.get(self.at)?.clone();
        self.at += 1;
        Some(word)
    }

    /// Where the next word stands, for [`Self::back`] and [`Self::since`].
    pub(super) fn place(&self) -> usize {
        self.at
    }

    pub(super) fn back(&mut self, place: usize) {
        self.at = place;
    }

    /// The words from a place up to here, with blanks between them.
    pub(super) fn since(&self, place: usize) -> String {
        self.words.get(place..self.at).unwrap_or(&[]).join(" ")
    }

    /// Every word that is left, with blanks between them.
    pub(super) fn rest(&mut self) -> String {
        let place = self.at;
        self.at = self.words.len();
        self.since(place)
    }

    /// Takes the words that can only be values: up to the next option or `!`.
    pub(super) fn skip_values(&mut self) {
        while self.peek().is_some_and(|word| word != "!" && !is_option(word)) {
            self.at += 1;
        }
    }
}

fn is_option(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next() == Some('-') && chars.next().is_some_and(|second| !second.is_ascii_digit())
}

/// An option's values, and whether it is negated.
pub(super) struct Args<'w, 'l> {
    words: &'w mut Words<'l>,
    pub(super) invert: bool,
}

impl<'w, 'l> Args<'w, 'l> {
    pub(super) fn new(words: &'w mut Words<'l>, invert: bool) -> Self {
        Self { words, invert }
    }

    /// The next value. Old iptables wrote the `!` after the option.
    pub(super) fn value(&mut self) -> Result<Cow<'l, str>, Malformed> {
        let word = self.words.next().ok_or(Malformed)?;
        if word != "!" {
            return Ok(word);
        }
        self.invert = !self.invert;
        self.words.next().ok_or(Malformed)
    }

    /// Takes the words that can only be values.
    pub(super) fn skip_values(&mut self) {
        self.words.skip_values();
    }

    /// The next value, read.
    pub(super) fn parse<T>(&mut self, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Malformed> {
        read(&self.value()?).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_keep_blanks_and_backslashes_escape() {
        assert_eq!(split(r#"-A X  -m comment --comment "a \"b\" \\ c" -j Y"#).last().unwrap(), "Y");
        assert_eq!(split(r#"--comment "a \"b\" \\ c""#), ["--comment", r#"a "b" \ c"#]);
        assert_eq!(split(r#"--log-prefix "test: " x"#), ["--log-prefix", "test: ", "x"]);
    }

    #[test]
    fn an_open_quote_ends_with_the_line() {
        assert_eq!(split(r#"--comment "a b"#), ["--comment", "a b"]);
        assert_eq!(split("--comment \"a\\"), ["--comment", "a"]);
    }

    #[test]
    fn an_empty_quoted_word_is_a_word() {
        assert_eq!(split(r#"--comment "" x"#), ["--comment", "", "x"]);
    }
}
