//! The unit of an interface's times.

use crate::wire::Time;

const BILLION: u64 = 1_000_000_000;

/// What `if_tsresol` and `if_tsoffset` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resolution {
    unit: Unit,
    /// Seconds that are added.
    offset: i64,
}

/// A part of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Micro,
    Nano,
    /// Ten to the minus this.
    Decimal(u8),
    /// Two to the minus this.
    Binary(u8),
}

impl Default for Resolution {
    /// Microseconds, where a block says nothing.
    fn default() -> Self {
        Self { unit: Unit::Micro, offset: 0 }
    }
}

impl Resolution {
    /// The unit that the octet of `if_tsresol` says: its upper bit picks the base, the others are the exponent.
    pub(super) fn set_unit(&mut self, octet: u8) {
        self.unit = match octet {
            6 => Unit::Micro,
            9 => Unit::Nano,
            0x80.. => Unit::Binary(octet & 0x7f),
            _ => Unit::Decimal(octet),
        };
    }

    pub(super) fn set_offset(&mut self, seconds: i64) {
        self.offset = seconds;
    }

    /// The moment of so many units. What is finer than a nanosecond is cut off.
    #[inline]
    pub(super) fn time(self, ticks: u64) -> Time {
        let (seconds, nanoseconds) = match self.unit {
            Unit::Micro => (ticks / 1_000_000, ticks % 1_000_000 * 1000),
            Unit::Nano => (ticks / BILLION, ticks % BILLION),
            Unit::Decimal(digits) => decimal(ticks, digits.into()),
            Unit::Binary(bits) => binary(ticks, bits.into()),
        };
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_add(self.offset);
        Time { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) }
    }
}

fn decimal(ticks: u64, digits: u32) -> (u64, u64) {
    let power = |digits: u32| 10_u64.checked_pow(digits);
    let Some(per_second) = power(digits) else {
        // So many units are more than any number of them that fits.
        let per_nanosecond = power(digits.saturating_sub(9));
        return (0, per_nanosecond.map_or(0, |count| ticks / count));
    };
    let rest = ticks % per_second;
    let nanoseconds = match digits {
        ..9 => rest * power(9 - digits).unwrap_or(1),
        _ => rest / power(digits - 9).unwrap_or(1),
    };
    (ticks / per_second, nanoseconds)
}

fn binary(ticks: u64, bits: u32) -> (u64, u64) {
    let seconds = ticks.checked_shr(bits).unwrap_or(0);
    let rest = ticks - seconds.checked_shl(bits).unwrap_or(0);
    let nanoseconds = (u128::from(rest) * u128::from(BILLION)).checked_shr(bits).unwrap_or(0);
    (seconds, u64::try_from(nanoseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_counts_seconds_and_nanoseconds() {
        let cases = [
            (6, 1_500_000, (1, 500_000_000)),
            (9, 1_500_000_001, (1, 500_000_001)),
            (0, 7, (7, 0)),
            (3, 1_234, (1, 234_000_000)),
            (12, 1_000_000_001_999, (1, 1)),
            (19, u64::MAX, (1, 844_674_407)),
            (20, u64::MAX, (0, 184_467_440)),
            (28, u64::MAX, (0, 1)),
            (127, u64::MAX, (0, 0)),
            (0x80, 7, (7, 0)),
            (0x8a, 1024 + 512, (1, 500_000_000)),
            (0xa0, 3 << 31, (1, 500_000_000)),
            (0xbf, u64::MAX, (1, 999_999_999)),
            (0xc0, u64::MAX, (0, 999_999_999)),
            (0xff, u64::MAX, (0, 0)),
        ];
        for (octet, ticks, (seconds, nanoseconds)) in cases {
            let mut resolution = Resolution::default();
            resolution.set_unit(octet);
            assert_eq!(resolution.time(ticks), Time { seconds, nanoseconds }, "{octet:#x}");
        }
    }

    #[test]
    fn an_offset_moves_whole_seconds() {
        let mut resolution = Resolution::default();
        resolution.set_offset(-10);
        assert_eq!(resolution.time(1), Time { seconds: -10, nanoseconds: 1000 });
        resolution.set_offset(i64::MAX);
        assert_eq!(resolution.time(5_000_000).seconds, i64::MAX);
    }
}
