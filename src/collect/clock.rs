//! What time it is, as a snapshot says it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::net::calendar;

/// Seconds since 1970.
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// This moment, as RFC 3339 writes it, to the millisecond.
pub fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    moment(time.as_secs(), time.subsec_millis())
}

fn moment(seconds: u64, milliseconds: u32) -> String {
    let seconds = i64::try_from(seconds).unwrap_or_default();
    let (year, month, day) = calendar::civil(seconds.div_euclid(calendar::DAY));
    let of_day = seconds.rem_euclid(calendar::DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        let text = moment(1_795_916_104, 42);
        assert_eq!(text, "2026-11-29T01:35:04.042Z");
        assert_eq!(calendar::moment(&text), Some(1_795_916_104));
    }
}
