//! Dates and times of day.

/// The seconds of a day.
pub const DAY: i64 = 24 * 60 * 60;

/// `hh:mm` or `hh:mm:ss` as seconds of a day.
#[must_use]
pub fn clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let there = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    (there && parts.next().is_none()).then_some(hour * 3600 + minute * 60 + second)
}

/// A date and a time, with `Z`, an offset or nothing behind it, which is UTC too (RFC 3339), as seconds since 1970 UTC.
#[must_use]
pub fn moment(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (time, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at_checked(at)?,
        None => (time, ""),
    };
    let offset = match offset.split_at_checked(1) {
        None | Some(("Z" | "z", "")) => 0,
        Some(("+", ahead)) => clock(ahead)?,
        Some(("-", behind)) => -clock(behind)?,
        Some(_) => return None,
    };
    // Parts of a second change nothing.
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let number = days(year, month, day);
    ((1..10_000).contains(&year) && civil(number) == (year, month, day)).then_some(())?;
    Some(number * DAY + clock(time)? - offset)
}

/// Days since 1970 of a date in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // The year begins with March, so that the leap day is its last.
    let year = if month <= 2 { year.wrapping_sub(1) } else { year };
    let of_year = (153 * (month.wrapping_add(9) % 12) + 2) / 5 + day.wrapping_sub(1).clamp(0, 400);
    let year = year.clamp(-10_000, 10_000);
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

/// The date of a day since 1970: year, month and day.
#[must_use]
pub fn civil(day: i64) -> (i64, i64, i64) {
    let day = day.saturating_add(719_468);
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
    use super::*;

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
        assert_eq!(moment("2038-01-19T03:14:07Z"), Some(i64::from(i32::MAX)));
        assert_eq!(moment("2026-11-23 08:15:59.123+01:00"), moment("2026-11-23T07:15:59Z"));
        assert_eq!(moment("2026-11-23T07:15-02:30"), moment("2026-11-23T09:45:00Z"));
        for wrong in ["", "2026-11-23", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-23T24:00", "now"] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
        assert_eq!(moment("9223372036854775807-01-01T00:00:00"), None);
        assert_eq!(moment("2026-01-9223372036854775807T00:00:00"), None);
    }

    #[test]
    fn a_clock_needs_minutes() {
        assert_eq!(clock("23:59:59"), Some(DAY - 1));
        assert_eq!(clock("1:02"), Some(3720));
        assert_eq!((clock(""), clock("12"), clock("24:00"), clock("1:2:3:4")), (None, None, None, None));
    }
}
