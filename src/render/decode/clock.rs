//! Moments as text. What stands before the fraction of a second is kept for the packets of the same second.

use super::Buffer;
use crate::net::calendar::{DAY, civil};
use crate::wire::Time;

/// The last second that was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    seconds: Option<i64>,
    /// `2026-11-23T07:15:59.`
    date: [u8; 20],
    /// The second whose digits are kept, and these with a dot behind them.
    epoch: i64,
    digits: ([u8; 16], usize),
}

impl Clock {
    /// RFC 3339 in UTC, with nanoseconds.
    #[inline]
    pub(super) fn date(&mut self, time: Time, out: &mut Buffer) {
        if self.seconds != Some(time.seconds) && !self.turn(time.seconds) {
            return far(time, out);
        }
        out.words(&self.date);
        out.nanoseconds(time.nanoseconds);
        out.byte(b'Z');
    }

    /// What [`Self::date`] puts before the fraction of a second; `None` where its year has not four digits.
    #[inline]
    pub(super) fn before_fraction(&mut self, seconds: i64) -> Option<[u8; 20]> {
        (self.seconds == Some(seconds) || self.turn(seconds)).then_some(self.date)
    }

    /// The digits of a second that is not before 1970, and a dot behind them.
    #[inline]
    pub(super) fn epoch(&mut self, seconds: i64) -> ([u8; 16], usize) {
        if self.epoch != seconds || self.digits.1 == 0 {
            self.count(seconds);
        }
        self.digits
    }

    #[cold]
    fn count(&mut self, seconds: i64) {
        let text = format!("{seconds}.");
        self.epoch = seconds;
        self.digits.1 = text.len().min(16);
        self.digits.0.iter_mut().zip(text.bytes()).for_each(|(place, digit)| *place = digit);
    }

    /// Makes another second the last one; false where its year has not four digits.
    #[cold]
    fn turn(&mut self, seconds: i64) -> bool {
        let (year, month, day) = civil(seconds.div_euclid(DAY));
        if !(0..10_000).contains(&year) {
            return false;
        }
        let of_day = seconds.rem_euclid(DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
        let Some(date) = text.as_bytes().first_chunk() else { return false };
        self.date = *date;
        self.seconds = Some(seconds);
        true
    }
}

/// The time of day in UTC, with nanoseconds.
pub(super) fn of_day(time: Time, out: &mut Buffer) {
    let of_day = u32::try_from(time.seconds.rem_euclid(DAY)).unwrap_or(0);
    out.two(of_day / 3600);
    out.byte(b':');
    out.two(of_day / 60 % 60);
    out.byte(b':');
    out.two(of_day % 60);
    out.byte(b'.');
    out.nanoseconds(time.nanoseconds);
}

/// A moment so far away that RFC 3339 has no word for it: seconds since 1970.
fn far(time: Time, out: &mut Buffer) {
    out.byte(b'@');
    epoch(time, out);
}

/// Seconds since 1970 with nanoseconds, as tshark's `frame.time_epoch` has them.
#[inline]
pub(super) fn epoch(time: Time, out: &mut Buffer) {
    // Before 1970 the fraction counts down.
    if time.seconds < 0 {
        let (seconds, nanoseconds) = match time.nanoseconds {
            0 => (time.seconds.unsigned_abs(), 0),
            nanoseconds => (time.seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
        };
        out.byte(b'-');
        out.large(seconds);
        out.byte(b'.');
        return out.nanoseconds(nanoseconds);
    }
    out.large(time.seconds.unsigned_abs());
    out.byte(b'.');
    out.nanoseconds(time.nanoseconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(seconds: i64, nanoseconds: u32) -> [String; 3] {
        let time = Time { seconds, nanoseconds };
        let mut clock = Clock::default();
        let mut put = |with: &mut dyn FnMut(&mut Clock, &mut Buffer)| {
            let mut out = Buffer::default();
            with(&mut clock, &mut out);
            String::from_utf8(out.text().to_vec()).unwrap()
        };
        [
            put(&mut |clock, out| clock.date(time, out)),
            put(&mut |_, out| of_day(time, out)),
            put(&mut |_, out| epoch(time, out)),
        ]
    }

    #[test]
    fn moments_of_any_year_are_written() {
        assert_eq!(
            texts(1_700_000_000, 123_456_000),
            ["2023-11-14T22:13:20.123456000Z", "22:13:20.123456000", "1700000000.123456000"]
        );
        assert_eq!(texts(-1, 999_000_000), ["1969-12-31T23:59:59.999000000Z", "23:59:59.999000000", "-0.001000000"]);
        assert_eq!(texts(i64::MAX, 1)[0], "@9223372036854775807.000000001");
        assert_eq!(texts(i64::MIN, 0)[2], "-9223372036854775808.000000000");
    }
}
