//! `time`: when a packet comes (`net/netfilter/xt_time.c`).

use crate::net::calendar::{DAY, civil, clock, moment};
use crate::snapshot::Options;

use super::super::walk::Walk;
use super::Answer;
use super::other::{has, value};

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// `time_mt`.
pub(super) fn time_mt(walk: &Walk, options: &Options) -> Answer {
    match walk.given.time {
        Some(now) if !has(options, "--kerneltz") => Answer::from(is_within(options, now)),
        Some(_) => Answer::unknown(format!("it is `{options}` by the kernel's time zone, which no snapshot holds")),
        None => Answer::unknown(format!("it is `{options}` (--time says when)")),
    }
}

fn is_within(options: &Options, now: i64) -> bool {
    let day_of = |name: &str| moment(value(options, name));
    if day_of("--datestart").is_some_and(|start| now < start) || day_of("--datestop").is_some_and(|stop| now > stop) {
        return false;
    }
    let clock_of = |name: &str| clock(value(options, name));
    let (start, stop) = (clock_of("--timestart").unwrap_or(0), clock_of("--timestop").unwrap_or(DAY - 1));
    let time = now.rem_euclid(DAY);
    let over_midnight = start >= stop;
    let within = if over_midnight { time >= start || time <= stop } else { (start..=stop).contains(&time) };
    if !within {
        return false;
    }
    // With `--contiguous` the hours after midnight belong to the day before.
    let back = over_midnight && has(options, "--contiguous") && time <= stop;
    is_day(options, now.div_euclid(DAY) - i64::from(back))
}

/// Whether a day, counted from 1970, is one of the weekdays and of the days of a month.
fn is_day(options: &Options, day: i64) -> bool {
    let listed = |name: &str, wanted: &str| {
        options.find(name).is_none_or(|option| option.value.split(',').any(|day| day == wanted))
    };
    // 1970 began with a Thursday.
    let weekday = usize::try_from((day + 3).rem_euclid(7)).ok().and_then(|day| WEEKDAYS.get(day)).unwrap_or(&"");
    listed("--weekdays", weekday) && listed("--monthdays", &civil(day).2.to_string())
}
