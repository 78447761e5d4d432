//! `time`: when a packet comes (`net/netfilter/xt_time.c`).

use crate::snapshot::Options;

use super::super::walk::Walk;
use super::Answer;
use super::other::{has, value};

const DAY: i64 = 24 * 60 * 60;
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

/// `hh:mm:ss` as seconds of a day.
fn clock(text: &str) -> Option<i64> {
    text.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<i64>().ok()?)).filter(|_| !text.is_empty())
}

/// `YYYY-MM-DDThh:mm:ss` in UTC as seconds since 1970.
pub(in super::super) fn moment(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let mut parts = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some(days(year, month, day) * DAY + clock(time)?)
}

/// Days since 1970 of a date in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // The year begins with March, so that the leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

/// The date of a day since 1970: year, month and day.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_month)
}

#[cfg(test)]
mod tests {
    use super::{DAY, civil, clock, days, moment};

    #[test]
    fn every_day_of_four_centuries_has_its_date() {
        let (mut year, mut month, mut day) = (1899, 12, 31);
        for number in days(1900, 1, 1)..days(2300, 1, 1) {
            let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
            let last = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day = if day == last { 1 } else { day + 1 };
            month = if day == 1 { month % 12 + 1 } else { month };
            year += i64::from((month, day) == (1, 1));
            assert_eq!((civil(number), days(year, month, day)), ((year, month, day), number));
        }
    }

    #[test]
    fn moments_count_from_1970() {
        assert_eq!(moment("1970-01-01T00:00:00"), Some(0));
        assert_eq!(moment("2038-01-19T03:14:07"), Some(i64::from(i32::MAX)));
        assert_eq!(clock("23:59:59"), Some(DAY - 1));
        assert_eq!(clock(""), None);
    }
}
