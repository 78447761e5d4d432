//! A place among the words of a filter, and what is said of the words there.

use std::ops::Range;

use super::Settings;
use super::refusal::{Quoted, Refusal};
use super::token::{Piece, Token, pieces};

/// How deep brackets, signs and operators may nest.
const DEEPEST: usize = 100;

/// Where the reader of a filter is.
pub(super) struct Cursor<'a> {
    text: &'a str,
    pub(super) settings: &'a Settings<'a>,
    pieces: Vec<Piece<'a>>,
    /// The next piece's place among them.
    next: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, settings: &'a Settings<'a>) -> Result<Self, Refusal> {
        Ok(Self { text, settings, pieces: pieces(text)?, next: 0, depth: 0 })
    }

    /// The place of the next piece.
    pub(super) fn place(&self) -> usize {
        self.next
    }

    pub(super) fn advance(&mut self) {
        self.next += 1;
    }

    pub(super) fn peek(&self) -> Option<Token<'a>> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<Token<'a>> {
        self.pieces.get(self.next.checked_add(ahead)?).map(|piece| piece.token)
    }

    pub(super) fn take_word(&mut self, word: &'static str) -> bool {
        self.take(Token::Word(word))
    }

    pub(super) fn take_sign(&mut self, sign: &'static str) -> bool {
        self.take(Token::Sign(sign))
    }

    fn take(&mut self, token: Token<'static>) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    /// Passes every `not` that stands here. Whether there are any, and whether they turn the meaning.
    pub(super) fn take_nots(&mut self) -> (bool, bool) {
        let start = self.next;
        while self.take_word("not") {}
        let count = self.next - start;
        (count > 0, count % 2 == 1)
    }

    /// A number in brackets, if they hold nothing else.
    pub(super) fn take_bracketed_number(&mut self) -> Result<Option<u32>, Refusal> {
        let rest = self.pieces.get(self.next..).unwrap_or_default();
        let open = rest.iter().take_while(|piece| piece.token == Token::Sign("(")).count();
        let Some(Token::Number(number)) = self.peek_at(open) else { return Ok(None) };
        let closed = (open + 1..).take(open).all(|ahead| self.peek_at(ahead) == Some(Token::Sign(")")));
        if open == 0 || !closed {
            return Ok(None);
        }
        if open > DEEPEST {
            return Err(self.too_deep());
        }
        self.next += 2 * open + 1;
        Ok(Some(number))
    }

    /// A number, perhaps in brackets, if one stands here.
    pub(super) fn take_number(&mut self) -> Result<Option<u32>, Refusal> {
        match self.peek() {
            Some(Token::Number(number)) => {
                self.advance();
                Ok(Some(number))
            }
            Some(Token::Sign("(")) => match self.take_bracketed_number()? {
                Some(number) => Ok(Some(number)),
                None => Err(self.missing("a number")),
            },
            _ => Ok(None),
        }
    }

    /// The number that has to stand here.
    pub(super) fn number(&mut self) -> Result<u32, Refusal> {
        let Some(Token::Number(number)) = self.peek() else { return Err(self.missing("a number")) };
        self.advance();
        Ok(number)
    }

    /// Goes one level deeper, which is bounded: the reader calls itself for each.
    pub(super) fn descend(&mut self) -> Result<(), Refusal> {
        if self.depth == DEEPEST {
            return Err(self.too_deep());
        }
        self.depth += 1;
        Ok(())
    }

    /// Comes back from a level.
    pub(super) fn ascend(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn too_deep(&self) -> Refusal {
        Refusal::new(self.here(), format!("brackets, signs and operators nest more than {DEEPEST} deep"))
    }

    /// Passes the bracket that closes what was descended into.
    pub(super) fn close(&mut self) -> Result<(), Refusal> {
        if self.take_sign(")") {
            self.ascend();
            return Ok(());
        }
        Err(if self.peek().is_none() { self.missing("`)`") } else { self.stray() })
    }

    /// The bytes of the text from a piece on to the last one that was read.
    pub(super) fn since(&self, start: usize) -> Range<usize> {
        let first = self.pieces.get(start).map_or(self.text.len(), |piece| piece.at.start);
        let last = self.next.checked_sub(1).and_then(|last| self.pieces.get(last));
        first..last.map_or(first, |piece| piece.at.end).max(first)
    }

    /// The bytes of the next piece, or the end of the text.
    pub(super) fn here(&self) -> Range<usize> {
        let end = self.text.trim_end().len();
        self.pieces.get(self.next).map_or(end..end, |piece| piece.at.clone())
    }

    /// A part of the text, for a sentence.
    pub(super) fn quoted(&self, at: &Range<usize>) -> Quoted<'a> {
        Quoted(self.text.get(at.clone()).unwrap_or(""))
    }

    /// A refusal because something else was to stand here.
    pub(super) fn missing(&self, what: &str) -> Refusal {
        let at = self.here();
        let found = if at.is_empty() { "the filter ends".to_owned() } else { format!("not {}", self.quoted(&at)) };
        Refusal::new(at, format!("{what} has to stand here, {found}"))
    }

    /// A refusal because of what follows something complete.
    pub(super) fn stray(&self) -> Refusal {
        let at = self.here();
        let hint = match self.peek() {
            Some(Token::Sign("/")) => "a network with a mask has at least one dot, as in `net 10.0.0.0/8`",
            Some(Token::Sign(")")) => "no bracket is open here",
            Some(Token::Name(name)) if name.contains('-') => {
                "a dash within a word belongs to the word; a minus has blanks around it"
            }
            _ => "parts of a filter are joined by `and` or `or`",
        };
        let found = self.quoted(&at);
        Refusal::new(at, format!("{found} can't stand here: {hint}"))
    }
}
