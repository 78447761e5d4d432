//! Puts rows on paper: columns, wrapping, colours, and which characters may be used.

use std::fmt;
use std::io::{self, Write};

use owo_colors::{OwoColorize as _, Style as Ink};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::super::escape::{Charset, clean};
use super::Style;

/// How many columns a line may take. Only what is quoted as it stands may be wider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width(usize);

impl Width {
    /// As wide as a terminal of so many columns, within reason: no wider than 100, and wide enough for a row.
    #[must_use]
    pub fn of_terminal(columns: usize) -> Self {
        Self(columns.clamp(60, 100))
    }

    /// The columns.
    pub(super) fn columns(self) -> usize {
        self.0
    }
}

impl Default for Width {
    fn default() -> Self {
        Self(100)
    }
}

/// Where a row's text starts: a number, a space, a label, a space.
const BODY: usize = 4 + LABEL + 1;
/// The label's column.
const LABEL: usize = 12;
/// A device's name has at most 15 characters, escapes aside.
const WIDE_LABEL: usize = 30;

/// One row of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// What stands in the margin.
    pub(super) margin: Margin,
    /// The device, or what kind of decision it was.
    pub(super) label: String,
    /// What was decided.
    pub(super) body: String,
    /// The same with long names shortened, for where the whole doesn't fit.
    pub(super) short: Option<String>,
    /// Where it stands, as `file:line`; one entry a file.
    pub(super) evidence: Vec<String>,
}

/// The margin of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Margin {
    /// Nothing: a decision.
    #[default]
    Blank,
    /// A device, with its number on the way.
    Device(usize),
    /// The packet was rewritten.
    Rewritten,
    /// It arrived.
    Arrived,
    /// It ended elsewhere.
    Ended,
    /// Nobody knows.
    Unknown,
    /// A rule that did not match.
    Tried,
    /// A device that saw the packet as it is predicted.
    Seen,
    /// A device of the predicted way on which nothing was seen.
    Unseen,
    /// A device that saw the packet otherwise than predicted.
    Differs,
}

/// The symbols of one character set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbols {
    /// From one place to the next.
    pub(super) arrow: &'static str,
    /// What becomes of an address.
    pub(super) becomes: &'static str,
    /// What was left out of a name.
    pub(super) ellipsis: &'static str,
    /// Where a capture saw the packet.
    pub(super) seen: &'static str,
    rewritten: &'static str,
    arrived: &'static str,
    ended: &'static str,
    unseen: &'static str,
    differs: &'static str,
}

const UNICODE: Symbols = Symbols {
    arrow: "→",
    becomes: "⇒",
    ellipsis: "…",
    rewritten: "✎",
    arrived: "✓",
    ended: "✗",
    seen: "●",
    unseen: "○",
    differs: "✖",
};
const ASCII: Symbols = Symbols {
    arrow: "->",
    becomes: "=>",
    ellipsis: "..",
    rewritten: "*",
    arrived: "+",
    ended: "x",
    seen: "@",
    unseen: "o",
    differs: "X",
};

/// Writes lines.
pub(super) struct Pen<'a> {
    out: &'a mut dyn Write,
    style: Style,
}

impl<'a> Pen<'a> {
    pub(super) fn new(style: Style, out: &'a mut dyn Write) -> Self {
        Self { out, style }
    }

    fn width(&self) -> usize {
        self.style.width.columns()
    }

    fn ink(&self, ink: Ink) -> Ink {
        if self.style.color { ink } else { Ink::new() }
    }

    /// An empty line.
    pub(super) fn gap(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// A line of its own over a part of the output.
    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        let ink = self.ink(Ink::new().bold());
        for line in wrap(text, self.width(), self.width() - 2) {
            writeln!(self.out, "{}", line.style(ink))?;
        }
        Ok(())
    }

    /// A rule across the page with a word in it.
    pub(super) fn separator(&mut self, text: &str) -> io::Result<()> {
        let mut lines = wrap(text, self.width() - 8, self.width() - 4).into_iter();
        let first = lines.next().unwrap_or_default();
        let rest = self.width().saturating_sub(first.width() + 5);
        let line = format!("--- {first} {}", "-".repeat(rest));
        let ink = self.ink(Ink::new().dimmed());
        writeln!(self.out, "{}", line.style(ink))?;
        lines.try_for_each(|line| writeln!(self.out, "    {}", line.style(ink)))
    }

    /// Text with a hanging indent: a label, then as many lines as it takes.
    pub(super) fn paragraph(&mut self, label: &str, text: &str, tone: Tone) -> io::Result<()> {
        let indent = label.width();
        let ink = self.ink(tone.ink());
        for (place, line) in wrap(text, self.width() - indent, self.width() - indent).into_iter().enumerate() {
            if place == 0 {
                writeln!(self.out, "{}{line}", label.style(ink))?;
            } else {
                writeln!(self.out, "{:indent$}{line}", "")?;
            }
        }
        Ok(())
    }

    /// A line as it stands, however long it is.
    pub(super) fn verbatim(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// A row of a trace.
    pub(super) fn row(&mut self, row: &Row) -> io::Result<()> {
        if row.label.width() > WIDE_LABEL {
            return self.wide_row(row);
        }
        let margin = self.margin(row.margin);
        let (head, start) = self.head(&margin, row);
        let evidence = row.evidence.join(" ");
        let fits = |body: &&String| start + body.width() + 2 + evidence.width() <= self.width();
        match Some(&row.body).filter(fits).or(row.short.as_ref().filter(fits)) {
            Some(body) if evidence.is_empty() => writeln!(self.out, "{}", format!("{head}{body}").trim_end()),
            Some(body) => {
                let space = self.width().saturating_sub(start + body.width() + evidence.width());
                writeln!(self.out, "{head}{body}{:space$}{}", "", evidence.style(self.ink(Ink::new().dimmed())))
            }
            None => self.long_row(&head, start, row),
        }
    }

    /// A row whose label is no name that the kernel would take: the label has lines of its own.
    fn wide_row(&mut self, row: &Row) -> io::Result<()> {
        let mut margin = self.margin(row.margin);
        let ink = self.ink(row.margin.tone().ink());
        for piece in chop(&row.label, self.width() - 4) {
            writeln!(self.out, "{} {}", margin.style(ink), piece.style(ink))?;
            margin = self.margin(Margin::Blank);
        }
        self.row(&Row { margin: Margin::Blank, label: String::new(), ..row.clone() })
    }

    /// A row whose text and evidence don't fit side by side: the text is wrapped, the evidence follows it.
    fn long_row(&mut self, head: &str, start: usize, row: &Row) -> io::Result<()> {
        let width = self.width();
        let body = match &row.short {
            Some(short) if start + row.body.width() > width => short,
            _ => &row.body,
        };
        let mut lines = wrap(body, width.saturating_sub(start), width - BODY);
        let last = lines.pop().unwrap_or_default();
        let mut indent = head.to_owned();
        for line in &lines {
            writeln!(self.out, "{indent}{line}")?;
            indent = " ".repeat(BODY);
        }
        let mut column = if lines.is_empty() { start } else { BODY } + last.width();
        write!(self.out, "{indent}{last}")?;
        let ink = self.ink(Ink::new().dimmed());
        for reference in row.evidence.iter().flat_map(|reference| chop(reference, width - 4)) {
            if column + 2 + reference.width() > width {
                writeln!(self.out)?;
                column = 0;
            }
            let space = width.saturating_sub(column + reference.width());
            write!(self.out, "{:space$}{}", "", reference.style(ink))?;
            column = width;
        }
        writeln!(self.out)
    }

    /// Margin and label, and the column where they end.
    fn head(&self, margin: &str, row: &Row) -> (String, usize) {
        let ink = self.ink(row.margin.tone().ink());
        let pad = LABEL.saturating_sub(row.label.width());
        let head = format!("{} {}{:pad$} ", margin.style(ink), row.label.style(ink), "");
        (head, margin.width() + 1 + row.label.width() + pad + 1)
    }

    fn margin(&self, margin: Margin) -> String {
        let symbols = self.style.symbols();
        let text = match margin {
            Margin::Blank | Margin::Tried => "",
            Margin::Device(number) => return format!("{number:>3}"),
            Margin::Rewritten => symbols.rewritten,
            Margin::Arrived => symbols.arrived,
            Margin::Ended => symbols.ended,
            Margin::Unknown => "?",
            Margin::Seen => symbols.seen,
            Margin::Unseen => symbols.unseen,
            Margin::Differs => symbols.differs,
        };
        let pad = 3_usize.saturating_sub(text.width());
        format!("{:pad$}{text}", "")
    }
}

/// What a word is about, for its colour. Colour never says anything that the words don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Unsure,
    Changed,
}

impl Tone {
    fn ink(self) -> Ink {
        match self {
            Self::Plain => Ink::new(),
            Self::Strong => Ink::new().bold(),
            Self::Faint => Ink::new().dimmed(),
            Self::Good => Ink::new().green().bold(),
            Self::Bad => Ink::new().red().bold(),
            Self::Unsure => Ink::new().yellow().bold(),
            Self::Changed => Ink::new().cyan().bold(),
        }
    }
}

impl Margin {
    fn tone(self) -> Tone {
        match self {
            Self::Blank => Tone::Plain,
            Self::Device(_) => Tone::Strong,
            Self::Rewritten => Tone::Changed,
            Self::Arrived | Self::Seen => Tone::Good,
            Self::Ended | Self::Differs => Tone::Bad,
            Self::Unknown => Tone::Unsure,
            Self::Tried | Self::Unseen => Tone::Faint,
        }
    }
}

impl Style {
    pub(super) fn symbols(self) -> Symbols {
        match self.charset {
            Charset::Unicode => UNICODE,
            Charset::Ascii => ASCII,
        }
    }

    /// Text of the snapshot, made harmless.
    pub(super) fn clean(self, text: impl fmt::Display) -> String {
        clean(&text.to_string(), self.charset)
    }
}

/// Breaks text into lines at spaces, and inside words that are wider than a line.
fn wrap(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').flat_map(|word| chop(word, first.min(rest).max(8))) {
        let width = if lines.len() == 1 { first } else { rest };
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(&word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

/// Cuts a word into pieces of at most this width.
fn chop(word: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut column = 0;
    for c in word.chars() {
        let wide = c.width().unwrap_or(0);
        if column + wide > width {
            pieces.push(String::new());
            column = 0;
        }
        column += wide;
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}
