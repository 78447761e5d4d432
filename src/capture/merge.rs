//! Packets of several devices, in the order of their times.
//!
//! The kernel hands packets over a block at a time, so a packet of one device may be read after later ones of another.
//! What was read is held until everything that came before it must have been read too.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Captured;

/// How many bytes are held at most; where there are more, the oldest packets are let go early.
const MOST: usize = 64 << 20;
/// About what a packet costs beside its bytes.
const EACH: usize = 128;

/// Packets that were read and may still be overtaken.
#[derive(Debug)]
pub struct Merge {
    delay: Duration,
    /// By time, and those of one time in the order in which they were read.
    held: BTreeMap<(u64, u64), Captured<'static>>,
    /// When packets were read, and the latest of their times.
    read: VecDeque<(Duration, u64)>,
    /// What nothing can overtake any more, in order.
    ready: VecDeque<Captured<'static>>,
    count: u64,
    bytes: usize,
}

impl Merge {
    /// Holds every packet for a while, at least as long as the kernel may hold one.
    #[must_use]
    pub fn new(delay: Duration) -> Self {
        let (held, read, ready) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Self { delay, held, read, ready, count: 0, bytes: 0 }
    }

    /// Takes a packet that was read `now`, on any clock that only goes forward.
    pub fn push(&mut self, packet: Captured<'_>, now: Duration) {
        match self.read.back_mut() {
            Some((read, latest)) if *read == now => *latest = packet.time.max(*latest),
            _ => self.read.push_back((now, packet.time)),
        }
        self.bytes += cost(&packet);
        self.held.insert((packet.time, self.count), packet.into_owned());
        self.count += 1;
    }

    /// The next packet that nothing can overtake any more.
    pub fn pop(&mut self, now: Duration) -> Option<Captured<'static>> {
        while let Some((read, latest)) = self.read.front().copied() {
            if read + self.delay > now {
                break;
            }
            self.read.pop_front();
            self.release(latest);
        }
        while self.bytes > MOST {
            let first = self.first();
            self.ready.extend(first);
        }
        self.ready.pop_front()
    }

    /// The next packet, whatever may still come.
    pub fn take(&mut self) -> Option<Captured<'static>> {
        self.ready.pop_front().or_else(|| self.first())
    }

    /// When the next packet may be let go, if there is one.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.read.front().map(|(read, _)| *read + self.delay)
    }

    /// Lets everything go up to a time.
    fn release(&mut self, latest: u64) {
        while self.held.first_key_value().is_some_and(|((time, _), _)| *time <= latest) {
            let first = self.first();
            self.ready.extend(first);
        }
    }

    fn first(&mut self) -> Option<Captured<'static>> {
        let (_, packet) = self.held.pop_first()?;
        self.bytes = self.bytes.saturating_sub(cost(&packet));
        Some(packet)
    }
}

fn cost(packet: &Captured<'_>) -> usize {
    packet.bytes.len() + EACH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(interface: u32, time: u64) -> Captured<'static> {
        Captured { interface, time, length: 60, bytes: vec![0; 60].into(), direction: None }
    }

    fn times(merge: &mut Merge, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| merge.pop(ms(now))).map(|packet| packet.time).collect()
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_packet_that_was_read_late_still_comes_first() {
        let mut merge = Merge::new(ms(200));
        for time in [10, 30] {
            merge.push(packet(0, time), ms(100));
        }
        assert_eq!((times(&mut merge, 250), merge.due()), (Vec::new(), Some(ms(300))));
        for time in [5, 20, 40] {
            merge.push(packet(1, time), ms(290));
        }
        assert_eq!(times(&mut merge, 300), [5, 10, 20, 30]);
        assert_eq!((times(&mut merge, 489), merge.due()), (Vec::new(), Some(ms(490))));
        assert_eq!(times(&mut merge, 490), [40]);
        assert_eq!((merge.due(), merge.take()), (None, None));
    }

    #[test]
    fn packets_of_one_time_keep_the_order_in_which_they_were_read() {
        let mut merge = Merge::new(ms(0));
        for interface in [3, 1, 2] {
            merge.push(packet(interface, 7), ms(1));
        }
        let order: Vec<u32> = std::iter::from_fn(|| merge.take()).map(|packet| packet.interface).collect();
        assert_eq!(order, [3, 1, 2]);
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let mut merge = Merge::new(ms(200));
        merge.push(packet(0, 1000), ms(0));
        merge.push(packet(0, 10), ms(100));
        assert_eq!(times(&mut merge, 200), [10, 1000]);
        merge.push(packet(0, 20), ms(250));
        assert!(times(&mut merge, 449).is_empty());
        assert_eq!(times(&mut merge, 450), [20]);
    }

    #[test]
    fn more_than_memory_should_hold_is_let_go_early() {
        let mut merge = Merge::new(ms(200));
        let big = |time| Captured { bytes: vec![0; 1 << 20].into(), ..packet(0, time) };
        for time in 0..80 {
            merge.push(big(time), ms(0));
        }
        let early = times(&mut merge, 1);
        assert!(early.len() >= 16 && early.len() < 40, "{}", early.len());
        assert_eq!(early, (0..early.len() as u64).collect::<Vec<_>>());
    }
}
