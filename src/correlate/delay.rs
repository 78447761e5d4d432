//! Delays, counted so that percentiles cost little memory.

/// Steps within a power of two: percentiles are right to 1 in 64.
const STEPS: u32 = 64;

/// How often which delay was met, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// By class of delays: how many, in the order of classes.
    classes: Vec<(u16, u32)>,
    count: u64,
    least: i64,
    most: i64,
}

impl Delays {
    /// Counts one. A negative one, which clocks that are not quite known give, counts as none.
    pub(super) fn add(&mut self, delay: i64) {
        (self.least, self.most) = match self.count {
            0 => (delay, delay),
            _ => (self.least.min(delay), self.most.max(delay)),
        };
        self.count += 1;
        let class = class(u64::try_from(delay).unwrap_or(0));
        match self.classes.binary_search_by_key(&class, |(class, _)| *class) {
            Ok(place) => {
                if let Some((_, count)) = self.classes.get_mut(place) {
                    *count = count.saturating_add(1);
                }
            }
            Err(place) => self.classes.insert(place, (class, 1)),
        }
    }

    /// How many delays were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest one.
    #[must_use]
    pub fn least(&self) -> i64 {
        self.least
    }

    /// The largest one.
    #[must_use]
    pub fn most(&self) -> i64 {
        self.most
    }

    /// The delay that so many percent of all don't exceed, to 1 in 64; 0 where there are none.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> i64 {
        let wanted = (self.count * u64::from(percent)).div_ceil(100).max(1);
        let mut met = 0;
        let found = self.classes.iter().find(|(_, count)| {
            met += u64::from(*count);
            met >= wanted
        });
        found.map_or(0, |(class, _)| middle(*class).clamp(self.least, self.most))
    }
}

/// Delays of one class differ by less than 1 in 64.
fn class(delay: u64) -> u16 {
    let exponent = delay.max(1).ilog2().saturating_sub(STEPS.ilog2());
    let step = delay >> exponent;
    u16::try_from(u64::from(exponent * STEPS) + step).unwrap_or(u16::MAX)
}

/// The delay in the middle of a class.
fn middle(class: u16) -> i64 {
    let class = u64::from(class);
    let steps = u64::from(STEPS);
    if class < 2 * steps {
        return i64::try_from(class).unwrap_or(0);
    }
    let exponent = class / steps - 1;
    let step = class - exponent * steps;
    let low = step << exponent;
    i64::try_from(low + (1 << exponent) / 2).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_one_in_sixty_four() {
        let mut delays = Delays::default();
        (1..=100_000).for_each(|delay| delays.add(delay * 17));
        for percent in [1, 50, 90, 99] {
            let wanted = i64::from(percent) * 17_000;
            let told = delays.percentile(percent);
            assert!((told - wanted).abs() * 64 <= wanted + 64, "{percent} %: {told}, wanted {wanted}");
        }
        assert_eq!((delays.least(), delays.most(), delays.count()), (17, 1_700_000, 100_000));
        assert!(delays.percentile(100) <= 1_700_000);
    }

    #[test]
    fn any_delay_has_a_class() {
        for delay in [i64::MIN, -1, 0, 1, 63, 64, 127, 128, 129, i64::MAX] {
            let mut delays = Delays::default();
            delays.add(delay);
            assert_eq!(delays.percentile(50), delay, "one delay is its own median");
        }
        assert_eq!(Delays::default().percentile(50), 0);
    }
}
