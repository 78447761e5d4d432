//! A capture, from its start to its end.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::live::{BLOCK, Gone, Live, Woken};
use super::merge::Merge;
use super::ring::Ring;
use super::{Captured, Statistics};
use crate::error::Error;

/// How long packets are held to be put in order: a block's time, and as much again for a busy machine.
const HOLD: Duration = Duration::from_millis(200);

/// How long the kernel is given at the end to hand over the packets that it still holds back.
const LINGER: Duration = BLOCK.saturating_add(Duration::from_millis(50));

/// How often it is told how far the capture is.
const TELL: Duration = Duration::from_secs(1);

/// What ends a capture beside a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// So many packets.
    pub count: Option<u64>,
    /// So much time.
    pub duration: Option<Duration>,
}

/// What is told while it runs.
pub enum Event<'a> {
    /// A device has gone; the others go on.
    Gone(&'a Gone),
    /// How far each device is.
    Progress(&'a [Statistics]),
}

/// How a capture ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What each device counted.
    pub statistics: Vec<Statistics>,
    /// Whether it ended because no device was left.
    pub is_deserted: bool,
}

/// The time, in nanoseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Captures until a signal comes or a limit is reached. Fails with [`Error::Io`] where the packets can't be written.
pub fn run(mut live: Live, ring: Ring, limits: Limits, tell: &mut dyn FnMut(Event<'_>)) -> Result<Ended, Error> {
    let merge = Merge::new(HOLD);
    let mut run = Run { ring: Some(ring), merge, limits, began: Instant::now(), left: limits.count };
    let mut told = Duration::ZERO;
    while !run.is_complete() && !live.is_over() {
        if live.wait(run.patience()) == Woken::Signal {
            break;
        }
        run.read(&mut live, tell);
        run.write(&mut live)?;
        let passed = run.began.elapsed();
        if passed >= told + TELL {
            told = passed;
            tell(Event::Progress(&live.statistics()));
        }
    }
    run.finish(&mut live, tell)
}

struct Run {
    /// Nothing only while one file ends and the next one begins.
    ring: Option<Ring>,
    merge: Merge,
    limits: Limits,
    began: Instant,
    /// How many packets are still to be written, where their number is limited.
    left: Option<u64>,
}

impl Run {
    fn is_complete(&self) -> bool {
        let late = self.limits.duration.is_some_and(|duration| self.began.elapsed() >= duration);
        late || self.left == Some(0)
    }

    /// How long there is nothing to do if no packet comes.
    fn patience(&self) -> Duration {
        let passed = self.began.elapsed();
        let next = [self.merge.due(), self.limits.duration, Some(passed + TELL)].into_iter().flatten().min();
        // A millisecond more, because the wait is cut to whole ones.
        next.unwrap_or(TELL).saturating_sub(passed) + Duration::from_millis(1)
    }

    fn read(&mut self, live: &mut Live, tell: &mut dyn FnMut(Event<'_>)) {
        let now = self.began.elapsed();
        for gone in live.read(&mut |packet| self.merge.push(packet, now)) {
            tell(Event::Gone(&gone));
        }
    }

    /// Writes what is in order.
    fn write(&mut self, live: &mut Live) -> Result<(), Error> {
        let now = self.began.elapsed();
        let mut wrote = false;
        while self.left != Some(0)
            && let Some(packet) = self.merge.pop(now)
        {
            self.put(&packet, live)?;
            wrote = true;
        }
        match &mut self.ring {
            Some(ring) if wrote => ring.flush(),
            _ => Ok(()),
        }
    }

    fn put(&mut self, packet: &Captured, live: &mut Live) -> Result<(), Error> {
        if let Some(full) = self.ring.take_if(|ring| ring.is_full_for(packet)) {
            self.ring = Some(full.next(&live.statistics(), now())?);
        }
        live.count(packet);
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.ring.as_mut().map_or(Ok(()), |ring| ring.packet(packet))
    }

    /// Writes what came until now and ends the file.
    fn finish(mut self, live: &mut Live, tell: &mut dyn FnMut(Event<'_>)) -> Result<Ended, Error> {
        let is_deserted = live.is_over();
        let (end, ended) = (now(), Instant::now());
        // Where the time is over or a signal came, the kernel still holds some of the last packets back.
        while self.left != Some(0) && ended.elapsed() < LINGER && !live.is_over() {
            let _ = live.wait(LINGER.saturating_sub(ended.elapsed()));
            self.read(live, tell);
        }
        while self.left != Some(0)
            && let Some(packet) = self.merge.take()
        {
            if packet.time <= end {
                self.put(&packet, live)?;
            }
        }
        let statistics = live.statistics();
        self.ring.map_or(Ok(()), |ring| ring.finish(&statistics, end))?;
        Ok(Ended { statistics, is_deserted })
    }
}
