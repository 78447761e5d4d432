//! Messages that stand on lines of their own, outside of any view.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr as _;

/// How many columns a line of a message takes.
const COLUMNS: usize = 100;

/// A line as lines of at most 100 columns, broken between words and further in from the second one on. A longer word,
/// a path, say, stays whole, so that it can be copied, unless it is longer than any.
#[must_use]
pub fn wrapped(line: &str) -> Vec<String> {
    if line.width() <= COLUMNS {
        return vec![line.to_owned()];
    }
    let own = line.len() - line.trim_start_matches(' ').len();
    let label = line.trim_start().split_once(": ").map_or(2, |(label, _)| label.width() + 2);
    let further = own + if label > LONGEST_LABEL { 2 } else { label };
    let mut lines = vec![" ".repeat(own)];
    let mut is_first = true;
    for word in line.split(' ').filter(|word| !word.is_empty()).map(shortened) {
        let word = word.as_ref();
        let Some(last) = lines.last_mut() else { break };
        if is_first {
            last.push_str(word);
        } else if last.width() + 1 + word.width() <= COLUMNS {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(format!("{:further$}{word}", ""));
        }
        is_first = false;
    }
    lines
}

/// The kernel's bound for a path.
const LONGEST_WORD: usize = 4096;

/// A word that nobody has typed on purpose: its start says enough.
fn shortened(word: &str) -> Cow<'_, str> {
    if word.len() <= LONGEST_WORD {
        return Cow::Borrowed(word);
    }
    let start: String = word.chars().take(60).collect();
    Cow::Owned(format!("{start}… ({} bytes)", word.len()))
}

/// `error: ` is a label, and what follows it is lined up; a longer start of a line is a part of its sentence.
const LONGEST_LABEL: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_broken_between_words() {
        assert_eq!(wrapped("  error: short"), ["  error: short"]);
        let lines = wrapped(&format!("error: {}", "some words ".repeat(20).trim_end()));
        assert!(lines.len() == 3 && lines.iter().all(|line| line.width() <= COLUMNS), "{lines:#?}");
        assert!(lines[1].starts_with("       some") || lines[1].starts_with("       words"), "{lines:#?}");
        let path = "x".repeat(150);
        let lines = wrapped(&format!("error: {path}: no such file, and nothing else that could be read either"));
        assert_eq!(lines[1], format!("       {path}:"));
        let endless = wrapped(&format!("error: no pod {}", "x".repeat(100_000)));
        assert!(endless.len() == 1 && endless.concat().ends_with("x… (100000 bytes)"), "{endless:?}");
    }
}
