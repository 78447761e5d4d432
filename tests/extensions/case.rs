//! The table of rules.

use flowtrace::net::Family;

use crate::rule::Place;

/// A rule and what must become of it.
#[derive(Debug)]
pub struct Case {
    /// Its line in the table.
    pub line: usize,
    /// Where it stands.
    pub place: Place<'static>,
    /// The rule, from its options on.
    pub rule: &'static str,
    /// What must become of it.
    pub expected: Expected,
    /// Whether only iptables-legacy says so.
    pub legacy_only: bool,
}

/// What must become of a rule.
#[derive(Debug)]
pub enum Expected {
    /// It is taken, and printed so.
    Printed(&'static str),
    /// It is refused, with the caret in this column.
    RefusedAt(u32),
}

/// Every rule of `cases.txt`.
pub fn cases() -> Vec<Case> {
    let mut place = None;
    let mut cases = Vec::new();
    for (line, text) in (1..).zip(include_str!("cases.txt").lines()) {
        if let Some(words) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            place = Some(place_of(words));
        } else if !text.is_empty() && !text.starts_with('#') {
            let place = place.expect("the first rule has a place");
            cases.push(case(line, place, text));
        }
    }
    cases
}

fn place_of(words: &'static str) -> Place<'static> {
    let words: Vec<&str> = words.split(' ').collect();
    let [family, table, chain] = words.as_slice() else { panic!("a place is [FAMILY TABLE CHAIN]") };
    let family = if *family == "ip6" { Family::Inet6 } else { Family::Inet };
    Place { family, table, chain }
}

fn case(line: usize, place: Place<'static>, text: &'static str) -> Case {
    let (text, legacy_only) = text.strip_suffix(" # legacy").map_or((text, false), |text| (text, true));
    if let Some(refused) = text.strip_prefix("!! ") {
        let (rule, word) = refused.split_once(" ^^").expect("a refused rule names the word under the caret");
        let expected = Expected::RefusedAt(column(rule, word.trim(), place.chain));
        return Case { line, place, rule, expected, legacy_only };
    }
    let (rule, printed) = text.split_once(" => ").unwrap_or((text, text));
    Case { line, place, rule, expected: Expected::Printed(printed), legacy_only }
}

/// The column of a word in the whole line, its last one where there are several; without a word, the line's end.
fn column(rule: &str, word: &str, chain: &str) -> u32 {
    let before = format!("-A {chain} ").len();
    let padded = format!("{rule} ");
    let wanted = format!("{word} ");
    let (first, last) = (padded.find(&wanted), padded.rfind(&wanted));
    // An option that stands twice is refused at its second place; otherwise the first one of those that exclude each
    // other is.
    let start = match word {
        "" => Some(rule.len()),
        "-s" | "-j" | "--dport" | "--to-destination" => last,
        _ if word.starts_with('-') => first,
        _ => last,
    };
    let start = start.unwrap_or_else(|| panic!("{word} is in {rule}"));
    u32::try_from(before + start).expect("a short line") + 1
}
