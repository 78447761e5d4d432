//! `meta hour`, `meta day` and `meta time`: when a packet comes (`nft_meta_get_eval_time` in `nft_meta.c`).
//!
//! The kernel compares in UTC, and nft prints what it compares with in the time zone of whoever lists
//! (`hour_type_print` and `date_type_print` in its `src/meta.c`).

use crate::net::calendar::{DAY, clock, moment};

use super::super::walk::Walk;

/// What is known of a condition on the time.
pub(super) enum Clock {
    /// Whether it holds.
    Known(bool),
    /// What would have to be known.
    Open(&'static str),
    /// It is none.
    Other,
}

/// A key, and how its values are written.
struct Key {
    word: &'static str,
    read: fn(&str) -> Option<i64>,
    /// The value at a moment.
    of: fn(i64) -> i64,
}

const KEYS: [Key; 2] = [
    Key { word: "hour", read: clock, of: |now| now.rem_euclid(DAY) },
    Key { word: "time", read: moment, of: |now| now },
];

/// A condition as nft lists it, with its key: `meta hour "08:00"-"17:00"`, `meta time < "2026-11-30 10:00:00"`.
pub(super) fn asked(walk: &Walk, text: &str) -> Clock {
    let text = text.strip_prefix("meta ").unwrap_or(text);
    if text.starts_with("day ") {
        // `nft_meta_weekday` counts by `sys_tz`.
        return Clock::Open("which day it is by the kernel's own time zone, no snapshot tells");
    }
    let read = |key: &Key| Some((key.of, test(text.strip_prefix(key.word)?, key.read)?));
    let Some((of, wanted)) = KEYS.iter().find_map(read) else { return Clock::Other };
    match walk.given.time {
        None => Clock::Open("--time says when"),
        Some(_) if !walk.netns().lists_in_utc => {
            Clock::Open("in which time zone nft listed it, snapshot.json doesn't say")
        }
        Some(now) => Clock::Known(wanted.holds(of(now))),
    }
}

/// What a time is compared with.
enum Test {
    Below(i64),
    UpTo(i64),
    Above(i64),
    From(i64),
    /// From one value to another, in any of some.
    Within(Vec<(i64, i64)>),
}

/// A test as it stands behind its key. One that isn't understood, or a range that ends before it starts, is none.
fn test(text: &str, read: fn(&str) -> Option<i64>) -> Option<Test> {
    let text = text.strip_prefix(' ')?.trim();
    let value = |text: &str| read(text.trim().trim_matches('"'));
    for (sign, test) in
        [("<= ", Test::UpTo as fn(i64) -> Test), (">= ", Test::From), ("< ", Test::Below), ("> ", Test::Above)]
    {
        if let Some(bound) = text.strip_prefix(sign) {
            return value(bound).map(test);
        }
    }
    let list = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
    let range = |one: &str| {
        if let Some(only) = value(one) {
            return Some((only, only));
        }
        let (low, high) = one.split_once("\"-\"").or_else(|| one.split_once('-'))?;
        let (low, high) = (value(low)?, value(high)?);
        (low <= high).then_some((low, high))
    };
    list.split(',').map(range).collect::<Option<_>>().map(Test::Within)
}

impl Test {
    fn holds(&self, value: i64) -> bool {
        match self {
            Self::Below(bound) => value < *bound,
            Self::UpTo(bound) => value <= *bound,
            Self::Above(bound) => value > *bound,
            Self::From(bound) => value >= *bound,
            Self::Within(ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_compared_as_they_are_listed() {
        let hour = |text: &str, now: &str| test(text, clock).map(|test| test.holds(clock(now).unwrap()));
        assert_eq!(hour(r#" "08:00"-"17:00""#, "17:00:00"), Some(true));
        assert_eq!(hour(r#" "08:00"-"17:00""#, "17:00:01"), Some(false));
        assert_eq!(hour(" 08:00-17:00", "08:00"), Some(true));
        assert_eq!(hour(r#" { "08:00", "10:00"-"10:30:30" }"#, "10:30:30"), Some(true));
        assert_eq!(hour(r#" { "08:00", "10:00"-"10:30" }"#, "08:00:01"), Some(false));
        assert_eq!(hour(r#" >= "10:00""#, "10:00"), Some(true));
        assert_eq!(hour(r#" < "10:00""#, "10:00"), Some(false));
        assert_eq!(hour(r#" "22:00"-"06:00""#, "23:00"), None);
        assert_eq!(hour(r#" . ip saddr { "22:00" . 10.0.0.1 }"#, "22:00"), None);
        let time = |text: &str, now: &str| test(text, moment).map(|test| test.holds(moment(now).unwrap()));
        assert_eq!(time(r#" "2026-01-01 00:00:00"-"2026-02-01 00:00:00""#, "2026-01-31 23:00:00"), Some(true));
        assert_eq!(time(r#" "2026-01-01 00:00:00"-"2026-02-01 00:00:00""#, "2026-02-01 00:00:01"), Some(false));
        assert_eq!(time(r#" > "2026-01-01 00:00:00""#, "2026-01-01 00:00:00"), Some(false));
    }
}
