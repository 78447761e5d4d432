//! Words, quoted strings and signs of `nft list ruleset`.

use crate::evidence::Evidence;

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name, a number, an address, a range: whatever stands together.
    Word(&'a str),
    /// What stands in quotes, without them.
    Quoted(&'a str),
    /// Brackets, commas, operators.
    Sign(&'a str),
    /// The end of the text.
    End,
}

/// Where a reader is in the text. A copy of it is a place to go back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// The token that comes next.
    token: Token<'a>,
    start: usize,
    end: usize,
    /// The line that the token stands on, from 1.
    line: u32,
    /// Whether a line end stands between the last token and this one.
    breaks: bool,
    /// Where the last token ended.
    last_end: usize,
    /// Whether a line's end is the end of what is being read: it is that of a rule, but not of a set.
    pub line_bound: bool,
    /// A comment before the token said that iptables-nft keeps what follows.
    pub warned: bool,
    /// A comment before the token said that the rules of what follows are in `iptables-save`, and how many they are.
    pub elsewhere: Option<usize>,
}

/// A part of a rule that isn't understood. It is put into words only where it is told: most are made while a reader
/// tries what may stand here, and are dropped again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub what: Wrong,
    pub at: usize,
    pub line: u32,
    /// Where what was found ends; nothing where the text, the line or the block does.
    end: Option<usize>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong {
    /// Something else stands here than this, in words.
    Expected(&'static str),
    /// Something else stands here than this sign or word.
    Needed(&'static str),
    /// This is.
    Is(&'static str),
}

pub(super) type Parsed<T> = Result<T, Fault>;

impl Fault {
    /// The fault of something that stands at a place.
    pub fn at(what: Wrong, at: usize, line: u32, length: usize) -> Self {
        Self { what, at, line, end: Some(at + length) }
    }
}

/// How many rules of the next table are in `iptables-save`, where a comment says that they are.
fn elsewhere(comment: &str) -> Option<usize> {
    comment.trim_end().strip_prefix(super::ELSEWHERE)?.strip_prefix(" (")?.strip_suffix(" rules)")?.parse().ok()
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut cursor = Self {
            text,
            token: Token::End,
            start: 0,
            end: 0,
            line: 1,
            breaks: true,
            last_end: 0,
            line_bound: false,
            warned: false,
            elsewhere: None,
        };
        cursor.scan();
        cursor.breaks = true;
        cursor
    }

    /// The token that comes next.
    pub fn peek(&self) -> Token<'a> {
        if self.line_bound && self.breaks { Token::End } else { self.token }
    }

    /// Lets a rule start with the next token, and end with its line. What was so before.
    pub fn start_rule(&mut self) -> bool {
        self.breaks = false;
        std::mem::replace(&mut self.line_bound, true)
    }

    /// Takes the token that comes next.
    pub fn next(&mut self) -> Token<'a> {
        let token = self.token;
        self.scan();
        token
    }

    pub fn start(&self) -> usize {
        self.start
    }

    /// Where the last token ended.
    pub fn last_end(&self) -> usize {
        self.last_end
    }

    pub fn line(&self) -> u32 {
        self.line
    }

    /// Whether the next token starts a line.
    pub fn breaks(&self) -> bool {
        self.breaks
    }

    pub fn text(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or("")
    }

    /// How many commas and how many bytes there are before the next `}`.
    pub fn listed(&self) -> (usize, usize) {
        let rest = self.text.get(self.start..).unwrap_or("").as_bytes();
        let end = memchr::memchr(b'}', rest).unwrap_or(0);
        let commas = memchr::memchr_iter(b',', rest.get(..end).unwrap_or(&[])).count();
        (commas, end)
    }

    /// Takes the next token if it is this sign.
    pub fn sign(&mut self, sign: &str) -> bool {
        let there = self.peek() == Token::Sign(sign);
        if there {
            self.scan();
        }
        there
    }

    /// Takes the next token if it is this word.
    pub fn word(&mut self, word: &str) -> bool {
        let there = self.peek() == Token::Word(word);
        if there {
            self.scan();
        }
        there
    }

    pub fn is_word(&self, word: &str) -> bool {
        self.peek() == Token::Word(word)
    }

    /// The next token's text, if it is a word on the same line.
    pub fn peek_word(&self) -> Option<&'a str> {
        match self.peek() {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    /// A word or a quoted string.
    pub fn name(&mut self, what: &'static str) -> Parsed<&'a str> {
        match self.peek() {
            Token::Word(name) | Token::Quoted(name) => {
                self.scan();
                Ok(name)
            }
            _ => Err(self.expected(what)),
        }
    }

    pub fn number<T: std::str::FromStr>(&mut self, what: &'static str) -> Parsed<T> {
        let value = self.peek_word().and_then(|word| word.parse().ok()).ok_or_else(|| self.expected(what))?;
        self.scan();
        Ok(value)
    }

    pub fn need(&mut self, sign: &'static str) -> Parsed<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.wrong(Wrong::Needed(sign))) }
    }

    /// The fault that something else stands here than was expected.
    pub fn expected(&self, what: &'static str) -> Fault {
        self.wrong(Wrong::Expected(what))
    }

    pub fn wrong(&self, what: Wrong) -> Fault {
        let end = (self.peek() != Token::End).then_some(self.end);
        Fault { what, at: self.start, line: self.line, end }
    }

    /// A fault in words.
    pub fn tell(&self, fault: Fault) -> String {
        let found = fault.end.map(|end| super::super::lines::quote(self.text(fault.at, end)));
        let found = found.map_or_else(|| "the end".to_owned(), |found| found.to_string());
        match fault.what {
            Wrong::Expected(what) => format!("expected {what}, found {found}"),
            Wrong::Needed(sign) => format!("expected `{sign}`, found {found}"),
            Wrong::Is(what) => what.to_owned(),
        }
    }

    /// In which column of its line a place is, from 1.
    pub fn column(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or("");
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        before.get(start..).map_or(0, |line| line.chars().count()) + 1
    }

    /// Cuts bytes off the beginning of the next token.
    pub fn shorten(&mut self, by: usize) {
        self.start += by;
        let (token, length) = read(self.text.get(self.start..).unwrap_or(""));
        self.token = token;
        self.end = self.start + length;
    }

    fn scan(&mut self) {
        self.last_end = self.end;
        self.breaks = false;
        let at = self.skip_space(self.end);
        self.start = at;
        let rest = self.text.get(at..).unwrap_or("");
        let (token, length) = read(rest);
        self.token = token;
        self.end = at + length;
    }

    /// Past spaces and comments.
    fn skip_space(&mut self, mut at: usize) -> usize {
        let bytes = self.text.as_bytes();
        // A quoted string may hold line ends, which count.
        let inside = bytes.get(self.start..at).unwrap_or(&[]);
        if matches!(self.token, Token::Quoted(_)) {
            self.line += u32::try_from(memchr::memchr_iter(b'\n', inside).count()).unwrap_or(0);
        }
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\n' => {
                    self.line = self.line.saturating_add(1);
                    self.breaks = true;
                    at += 1;
                }
                b' ' | b'\t' | b'\r' => at += 1,
                // What nft 1.0.6 writes behind numbers of conntrack tuples, whose type it doesn't know.
                b'[' if self.text(at, at + INVALID_TYPE.len()) == INVALID_TYPE => at += INVALID_TYPE.len(),
                b'#' => {
                    let rest = bytes.get(at..).unwrap_or(&[]);
                    let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                    let comment = self.text(at, at + length);
                    self.warned |= comment.contains("is managed by iptables-nft");
                    self.elsewhere = elsewhere(comment).or(self.elsewhere);
                    at += length;
                }
                _ => break,
            }
        }
        at
    }
}

const INVALID_TYPE: &str = "[invalid type]";

/// Operators and brackets, the longer ones first.
const SIGNS: &[&str] =
    &["!=", "==", "<=", ">=", "<<", ">>", "{", "}", "(", ")", ",", ";", "=", "!", "<", ">", "&", "|", "^"];

/// The first token of a text, and its length.
fn read(rest: &str) -> (Token<'_>, usize) {
    let bytes = rest.as_bytes();
    let Some(first) = bytes.first() else { return (Token::End, 0) };
    if *first == b'"' {
        let inner = rest.get(1..).unwrap_or("");
        let length = memchr::memchr(b'"', inner.as_bytes()).unwrap_or(inner.len());
        return (Token::Quoted(inner.get(..length).unwrap_or("")), (length + 2).min(rest.len()));
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return (Token::Sign(rest.get(..sign.len()).unwrap_or("")), sign.len());
    }
    let option = rest.strip_prefix('@').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    let raw = option || ["@ll,", "@nh,", "@th,", "@ih,"].iter().any(|base| rest.starts_with(base));
    let stops = |byte: &u8| byte.is_ascii_whitespace() || (b"{}();\"=!<>&|^".contains(byte)) || (*byte == b',' && !raw);
    let length = bytes.iter().position(stops).unwrap_or(rest.len()).max(1);
    (Token::Word(rest.get(..length).unwrap_or("")), length)
}

/// Turns a line of the text into the line of the file that says it.
pub(super) type LineOf<'l> = &'l dyn Fn(u32) -> Evidence;
