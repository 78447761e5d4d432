//! `u32`: comparisons of four bytes of the packet (`net/netfilter/xt_u32.c`).

use super::bytes::{Bytes, Word};
use super::other::number;

/// `u32_match_it`: whether every test holds; `None` where a byte decides that nobody knows.
pub(super) fn u32_match_it(tests: &str, bytes: &Bytes) -> Option<bool> {
    let mut known = Some(true);
    for test in tests.trim_matches('"').split("&&") {
        match holds(test, bytes) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => known = None,
        }
    }
    known
}

/// What became of finding a place.
enum Found {
    Value(Word),
    /// Behind the packet's end.
    Outside,
    /// The place is a number that nobody knows.
    Unknown,
}

fn holds(test: &str, bytes: &Bytes) -> Option<bool> {
    let (location, values) = test.split_once('=')?;
    let value = match find(location, bytes)? {
        Found::Value(value) => value,
        Found::Outside => return Some(false),
        Found::Unknown => return None,
    };
    let mut known = Some(false);
    for range in values.split(',') {
        let (low, high) = range.split_once(':').unwrap_or((range, range));
        match value.within(number(low)?, number(high)?) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => known = None,
        }
    }
    known
}

/// Follows `NUMBER (OPERATOR NUMBER)…`; `None` where it can't be read.
fn find(location: &str, bytes: &Bytes) -> Option<Found> {
    let (first, mut rest) = split_number(location);
    let Some(mut value) = bytes.read(number(first)?, 4) else { return Some(Found::Outside) };
    let mut at: u32 = 0;
    while !rest.is_empty() {
        let operator = ["<<", ">>", "&", "@"].into_iter().find(|operator| rest.starts_with(operator))?;
        let (text, after) = split_number(rest.get(operator.len()..)?);
        let operand = number(text)?;
        rest = after;
        value = match operator {
            "&" => value.and(Word::of(operand)),
            "<<" => value.left(operand),
            ">>" => value.right(operand),
            _ => {
                let Some(by) = value.whole() else { return Some(Found::Unknown) };
                let moved = at.checked_add(by).and_then(|moved| Some((moved, moved.checked_add(operand)?)));
                let Some((moved, place)) = moved else { return Some(Found::Outside) };
                at = moved;
                let Some(value) = bytes.read(place, 4) else { return Some(Found::Outside) };
                value
            }
        };
    }
    Some(Found::Value(value))
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}
