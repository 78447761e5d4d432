//! Inputs: some lines of the seeds, with their words changed, and made-up lines out of the same words.

use crate::random::Random;
use crate::target::Target;

/// No input is longer, so that many of them can be tried.
const LONGEST: usize = 1 << 14;

/// Where inputs come from.
pub struct Source {
    target: Target,
    /// Every line of the seeds.
    lines: Vec<String>,
    /// Every word of them, once.
    words: Vec<String>,
}

impl Source {
    /// The source of a reader's inputs.
    pub fn new(target: Target, seeds: &[String]) -> Self {
        let lines: Vec<String> = seeds.iter().flat_map(|seed| seed.lines()).map(str::to_owned).collect();
        let mut words: Vec<String> = lines
            .iter()
            .flat_map(|line| pieces(line))
            .filter(|word| !word.trim().is_empty())
            .map(str::to_owned)
            .collect();
        words.extend(Target::odd().iter().map(|word| (*word).to_owned()));
        words.sort();
        words.dedup();
        Self { target, lines, words }
    }

    /// The input of a number.
    pub fn input(&self, random: &mut Random) -> String {
        let (before, after) = self.target.frame();
        let mut text = if random.below(8) == 0 { String::new() } else { before.to_owned() };
        if random.below(6) == 0 {
            self.invent(&mut text, random);
        } else {
            self.borrow(&mut text, random);
        }
        if random.below(8) != 0 {
            text.push_str(after);
        }
        for _ in 0..random.below(5) {
            text = self.change(&text, random);
        }
        if random.below(64) == 0 {
            text = repeated(&text, random);
        }
        cut(text, LONGEST)
    }

    /// Lines of the seeds: some that stand together, or any.
    fn borrow(&self, text: &mut String, random: &mut Random) {
        let mut at = random.below(self.lines.len());
        for _ in 0..=random.below(5) {
            text.push_str(self.lines.get(at).map_or("", String::as_str));
            text.push('\n');
            at = if random.below(2) == 0 { at + 1 } else { random.below(self.lines.len()) };
        }
    }

    fn invent(&self, text: &mut String, random: &mut Random) {
        for _ in 0..random.below(24) {
            text.push_str(self.word(random));
            text.push(random.pick(&[' ', ' ', ' ', ' ', ' ', ' ', '\n']));
        }
        text.push('\n');
    }

    fn word(&self, random: &mut Random) -> &str {
        if random.below(4) == 0 {
            return random.pick(Target::odd());
        }
        self.words.get(random.below(self.words.len())).map_or("", String::as_str)
    }

    /// Changes one place of an input.
    fn change(&self, text: &str, random: &mut Random) -> String {
        let mut all: Vec<&str> = pieces(text).collect();
        if all.is_empty() {
            return self.word(random).to_owned();
        }
        let (at, other) = (random.below(all.len()), random.below(all.len()));
        match random.below(8) {
            0 => drop(all.remove(at)),
            1 => all.swap(at, other),
            2 => all.insert(at, all.get(other).copied().unwrap_or("")),
            3 => all.truncate(at),
            4 => all.insert(at, self.word(random)),
            5 => return broken(text, random),
            _ => {
                if let Some(slot) = all.get_mut(at) {
                    *slot = self.word(random);
                }
            }
        }
        all.concat()
    }
}

/// Words, and what stands between them.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let kind = |c: char| match c {
        ' ' | '\t' | '\n' => 0,
        '"' | '{' | '}' | '[' | ']' | '(' | ')' | ',' | ';' | ':' | '/' | '=' | '!' | '|' | '&' => 1,
        _ => 2,
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let of = kind(first);
        let end = if of == 1 { first.len_utf8() } else { rest.find(|c| kind(c) != of).unwrap_or(rest.len()) };
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// One byte changed. What is then no text is replaced, as the loader does.
fn broken(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A part of it many times over: what costs more than a step for each of them shows.
fn repeated(text: &str, random: &mut Random) -> String {
    let all: Vec<&str> = pieces(text).collect();
    let from = random.below(all.len());
    let most = random.pick(&[1, 4, 40]);
    let length = 1 + random.below(most);
    let part = all.iter().skip(from).take(length).copied().collect::<String>();
    let times = LONGEST.checked_div(part.len()).unwrap_or(0);
    let (before, after) = (all.iter().take(from), all.iter().skip(from + length));
    before.copied().collect::<String>()
        + &part.repeat(times / (1 + random.below(8)))
        + &after.copied().collect::<String>()
}

fn cut(mut text: String, longest: usize) -> String {
    let end = (0..=text.len().min(longest)).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}
