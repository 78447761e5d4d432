//! Why a filter is not taken, and where in its text.

use std::fmt::{self, Write as _};
use std::ops::Range;

use unicode_width::UnicodeWidthChar as _;

/// Why a filter can't be asked, and which of its words are to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// The words: bytes of the filter's text, from 0. At its end the range is empty.
    pub at: Range<usize>,
    /// What is wrong or not supported, and what would do.
    pub what: String,
}

/// How many columns of a filter are shown at most.
const WIDEST: usize = 92;

/// How many columns are shown before the words where the beginning is cut off.
const BEFORE: usize = 40;

impl Refusal {
    pub(super) fn new(at: Range<usize>, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }

    /// The filter with carets under the words that are to blame: two lines, without a newline at the end. Characters
    /// that would steer a terminal are spelt out, and of a long filter only the part around the words is shown.
    #[must_use]
    pub fn marked(&self, text: &str) -> String {
        let (before, at) = text.split_at_checked(self.at.start).unwrap_or((text, ""));
        let (at, after) = at.split_at_checked(self.at.len()).unwrap_or((at, ""));
        let mut before: Vec<Piece> = before.chars().rev().take(WIDEST + 1).map(piece).collect();
        before.reverse();
        let mut rest: Vec<Piece> = at.chars().take(WIDEST + 1).map(piece).collect();
        let marks = width(&rest);
        rest.extend(after.chars().take(WIDEST + 1).map(piece));
        let mut shown = String::new();
        if width(&before) + marks > WIDEST && before.len() > BEFORE {
            before.drain(..before.len() - BEFORE);
            shown.push('…');
        }
        let start = width(&before) + usize::from(!shown.is_empty());
        let mut end = usize::from(!shown.is_empty());
        for piece in before.iter().chain(&rest) {
            end += piece.width;
            if end > WIDEST {
                shown.push('…');
                break;
            }
            shown.push_str(&piece.text);
        }
        let marks = marks.clamp(1, WIDEST.saturating_sub(start).max(1));
        format!("{shown}\n{:start$}{}", "", "^".repeat(marks))
    }
}

/// A character as it is shown.
struct Piece {
    text: String,
    /// Columns on a terminal.
    width: usize,
}

fn width(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.width).sum()
}

fn piece(c: char) -> Piece {
    match c.width() {
        Some(width @ 1..) => Piece { text: c.to_string(), width },
        _ if matches!(c, '\t' | '\n' | '\r') => Piece { text: " ".to_owned(), width: 1 },
        _ => {
            let text = c.escape_unicode().to_string();
            Piece { width: text.len(), text }
        }
    }
}

/// Words of a filter for a sentence: quoted, cut off where they are long, and harmless to a terminal.
pub(super) struct Quoted<'a>(pub(super) &'a str);

/// How many characters of a filter's word are repeated in a sentence.
const LONGEST: usize = 40;

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('`')?;
        for (number, c) in self.0.chars().enumerate() {
            if number == LONGEST {
                f.write_char('…')?;
                break;
            }
            f.write_str(&piece(c).text)?;
        }
        f.write_char('`')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_marked_in_columns_not_in_bytes() {
        let text = "host é and tcp prot 80";
        let at = text.find("prot").unwrap();
        let refusal = Refusal::new(at..at + 4, "");
        assert_eq!(refusal.marked(text), "host é and tcp prot 80\n               ^^^^");
        assert_eq!(Refusal::new(text.len()..text.len(), "").marked("tcp and"), "tcp and\n       ^");
        let text = "日本 x";
        assert_eq!(Refusal::new(7..8, "").marked(text), "日本 x\n     ^");
    }

    #[test]
    fn a_filter_never_steers_the_terminal() {
        let text = "host \u{1b}[31m\u{202e}";
        let marked = Refusal::new(5..6, "").marked(text);
        assert!(marked.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{marked:?}");
        assert!(marked.ends_with("\n     ^^^^^^"), "{marked}");
    }

    #[test]
    fn of_a_long_filter_the_part_around_the_words_is_shown() {
        let text = format!("{}prot 80{}", "tcp or ".repeat(300), " or udp".repeat(300));
        let marked = Refusal::new(2100..2104, "").marked(&text);
        let (line, carets) = marked.split_once('\n').unwrap();
        assert!(line.chars().count() <= WIDEST + 2, "{line}");
        let start = carets.find('^').unwrap();
        assert_eq!(line.chars().skip(start).take(carets.len() - start).collect::<String>(), "prot");
    }
}
