//! `time`: when the packet comes.

use crate::snapshot::{Match, Options, SavedOption, Test};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::saved;

const DATE: &str = "YYYY[-MM[-DD[Thh[:mm[:ss]]]]]";
const CLOCK: &str = "hh:mm[:ss]";

pub(super) static TIME: Extension<Match> = Extension::new(
    "time",
    &[
        Opt::value("--timestart", CLOCK),
        Opt::value("--timestop", CLOCK),
        Opt::value("--monthdays", "a list of numbers up to 31").not(),
        Opt::value("--weekdays", "a list of Mon, Tue, … or of numbers from 1 to 7").not(),
        Opt::value("--datestart", DATE),
        Opt::value("--datestop", DATE),
        Opt::flag("--kerneltz").or(&["--localtz"]).excludes(&["--utc"]),
        Opt::flag("--utc").excludes(&["--kerneltz"]),
        Opt::flag("--contiguous"),
    ],
    time,
);

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// The last second that 31 bits can count.
const LAST_DATE: &str = "2038-01-19T03:14:07";
/// The last second of a day.
const LAST_SECOND: u32 = 24 * 60 * 60 - 1;

fn time(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    let start = given.value("--timestart", clock)?.unwrap_or(0);
    let stop = given.value("--timestop", clock)?.unwrap_or(LAST_SECOND);
    let mut list = Vec::new();
    if (start, stop) != (0, LAST_SECOND) {
        list.push(saved("--timestart", false, clock_text(start)));
        list.push(saved("--timestop", false, clock_text(stop)));
    }
    list.extend(days(given.test("--monthdays", month_days)?, 31, ("--monthdays", |day| day.to_string())));
    let weekday = |day: u32| DAYS.get(day as usize - 1).map_or_else(String::new, |name| (*name).to_owned());
    list.extend(days(given.test("--weekdays", week_days)?, 7, ("--weekdays", weekday)));
    // Where no last date was given iptables prints the last one that it knows.
    let stop_date = given.value("--datestop", date)?.unwrap_or_else(|| LAST_DATE.to_owned());
    for (name, date) in [("--datestart", given.value("--datestart", date)?), ("--datestop", Some(stop_date))] {
        // The first second of all is the default, and isn't printed.
        let date = date.filter(|date| date != "1970-01-01T00:00:00");
        list.extend(date.map(|date| saved(name, false, date)));
    }
    list.extend(given.has("--kerneltz").then(|| saved("--kerneltz", false, "")));
    if given.has("--contiguous") {
        if start < stop {
            return Err(given.refuse("--contiguous", "--contiguous needs a --timestop before --timestart"));
        }
        list.push(saved("--contiguous", false, ""));
    }
    Ok(Match::from(Options { name: "time", list: list.into() }))
}

/// Days that were asked for; all of them are no condition. Negated ones are printed as the others.
fn days(
    test: Option<Test<u32>>,
    last: u32,
    (name, written): (&'static str, impl Fn(u32) -> String),
) -> Option<SavedOption> {
    let Test { value, invert } = test?;
    let all: u32 = (1..=last).fold(0, |all, day| all | 1 << day);
    let set = if invert { value ^ all } else { value } & all;
    let names: Vec<String> = (1..=last).filter(|day| set & (1 << day) != 0).map(written).collect();
    (set != all).then(|| saved(name, false, names.join(",")))
}

fn clock(text: &str) -> Option<u32> {
    let mut parts = text.split(':');
    let mut part = |end: u32| parts.next().map(|part| part.parse().ok().filter(|part: &u32| *part < end));
    let (hour, minute) = (part(24)??, part(60)??);
    let second = part(60).unwrap_or(Some(0))?;
    parts.next().is_none().then_some(hour * 3600 + minute * 60 + second)
}

fn clock_text(second: u32) -> String {
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

fn month_days(text: &str) -> Option<u32> {
    let day = |days: u32, day: &str| Some(days | 1 << name::number(day).filter(|day| (1..=31).contains(day))?);
    text.split(',').try_fold(0, day)
}

fn week_days(text: &str) -> Option<u32> {
    text.split(',').try_fold(0, |days, day| {
        let named = || {
            let start = day.get(..2)?;
            DAYS.iter().position(|name| name.starts_with(start)).and_then(|at| u32::try_from(at + 1).ok())
        };
        let number = name::number(day).filter(|_| !day.is_empty()).or_else(named)?;
        (1..=7).contains(&number).then_some(days | 1 << number)
    })
}

/// A date, whose parts may be left out from the end on.
fn date(text: &str) -> Option<String> {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let part = |text: Option<&str>, default: u32, (low, high): (u32, u32)| match text {
        Some(text) => text.parse().ok().filter(|part: &u32| (low..=high).contains(part)),
        None => Some(default),
    };
    let mut parts = date.split('-');
    let year = part(parts.next(), 1970, (1970, 2038))?;
    let month = part(parts.next(), 1, (1, 12))?;
    let day_text = parts.next();
    let day = part(day_text, 1, (1, 31))?;
    if parts.next().is_some() || (time.is_some() && day_text.is_none()) {
        return None;
    }
    let mut parts = time.map(|time| time.split(':')).into_iter().flatten();
    let hour = part(parts.next(), 0, (0, 23))?;
    let minute = part(parts.next(), 0, (0, 59))?;
    let second = part(parts.next(), 0, (0, 59))?;
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    parts.next().is_none().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{clock, date, week_days};

    #[test]
    fn parts_of_a_date_may_be_left_out() {
        assert_eq!(date("2031").unwrap(), "2031-01-01T00:00:00");
        assert_eq!(date("2031-02-03T4:05").unwrap(), "2031-02-03T04:05:00");
        for wrong in ["", "1969", "2031-13", "2031-02-32", "2031-02T04:05", "2031-02-03T24", "2031-02-03T04:05:06:07"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_needs_minutes() {
        assert_eq!(clock("01:02"), Some(3720));
        assert_eq!(clock("1:2:3"), Some(3723));
        assert_eq!(clock("24:00"), None);
        assert_eq!(clock("12"), None);
    }

    #[test]
    fn the_week_begins_with_monday() {
        assert_eq!(week_days("Mon,7"), Some(1 << 1 | 1 << 7));
        assert_eq!(week_days("0"), None);
        assert_eq!(week_days("Xyz"), None);
    }
}
