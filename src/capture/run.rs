//! A capture, from its start to its end.

use std::borrow::Cow;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::live::{BLOCK, Gone, Live, Woken};
use super::merge::Merge;
use super::ring::Ring;
use super::{Captured, Direction, Statistics};
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

/// Where packets go, in the order of their times: into files, to somebody who looks at them, or both.
pub struct Goal<'a> {
    /// The files.
    pub ring: Option<Ring>,
    /// Who looks at them.
    pub watch: Option<&'a mut dyn Watch>,
}

/// Looks at packets as they come. A failure ends the capture.
pub trait Watch {
    /// The next packet of all.
    fn packet(&mut self, packet: &Captured<'_>) -> Result<(), Error>;
    /// Nothing that was captured before this moment comes any more; in nanoseconds since 1970.
    fn pass(&mut self, time: u64) -> Result<(), Error>;
}

/// Captures until a signal comes or a limit is reached. Fails with [`Error::Io`] where the packets can't be written, and
/// as the watcher does.
pub fn run(mut live: Live, goal: Goal<'_>, limits: Limits, tell: &mut dyn FnMut(Event<'_>)) -> Result<Ended, Error> {
    let mut run = Run {
        goal,
        // A single device's packets come in order.
        merge: (live.interfaces().len() > 1).then(|| Merge::new(HOLD)),
        batch: Batch::default(),
        limits,
        began: Instant::now(),
        left: limits.count,
    };
    let mut told = Duration::ZERO;
    while !run.is_complete() && !live.is_over() {
        if live.wait(run.patience()) == Woken::Signal {
            break;
        }
        run.read(u64::MAX, &mut live, tell)?;
        run.write(&mut live)?;
        let passed = run.began.elapsed();
        if passed >= told + TELL {
            told = passed;
            tell(Event::Progress(&live.statistics()));
        }
    }
    run.finish(&mut live, tell)
}

struct Run<'a> {
    goal: Goal<'a>,
    /// Puts the packets of several devices in order.
    merge: Option<Merge>,
    batch: Batch,
    limits: Limits,
    began: Instant,
    /// How many packets are still to be written, where their number is limited.
    left: Option<u64>,
}

impl Run<'_> {
    fn is_complete(&self) -> bool {
        let late = self.limits.duration.is_some_and(|duration| self.began.elapsed() >= duration);
        late || self.left == Some(0)
    }

    /// How long there is nothing to do if no packet comes.
    fn patience(&self) -> Duration {
        let passed = self.began.elapsed();
        // Whoever watches is to hear soon that nothing comes.
        let tell = passed + if self.goal.watch.is_some() { BLOCK } else { TELL };
        let due = self.merge.as_ref().and_then(Merge::due);
        let next = [due, self.limits.duration, Some(tell)].into_iter().flatten().min();
        // A millisecond more, because the wait is cut to whole ones.
        next.unwrap_or(TELL).saturating_sub(passed) + Duration::from_millis(1)
    }

    /// Reads some of what there is, of a single device up to a moment.
    fn read(&mut self, last: u64, live: &mut Live, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        let now = self.began.elapsed();
        let gone = live.read(&mut |packet| match &mut self.merge {
            Some(merge) => merge.push(packet, now),
            None => self.batch.push(&packet),
        });
        self.put_batch(live, last)?;
        for gone in &gone {
            tell(Event::Gone(gone));
        }
        Ok(())
    }

    /// Puts what was read of a single device, up to a moment.
    fn put_batch(&mut self, live: &mut Live, last: u64) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.batch);
        let mut packets = batch.packets().take_while(|packet| packet.time <= last);
        let put = packets.try_for_each(|packet| if self.left == Some(0) { Ok(()) } else { self.put(&packet, live) });
        drop(packets);
        self.batch = batch;
        self.batch.clear();
        put
    }

    /// Writes what is in order.
    fn write(&mut self, live: &mut Live) -> Result<(), Error> {
        let now = self.began.elapsed();
        while self.left != Some(0)
            && let Some(packet) = self.merge.as_mut().and_then(|merge| merge.pop(now))
        {
            self.put(&packet, live)?;
        }
        if let Some(watch) = &mut self.goal.watch {
            let held = u64::try_from((HOLD + BLOCK).as_nanos()).unwrap_or(u64::MAX);
            watch.pass(self::now().saturating_sub(held))?;
        }
        self.goal.ring.as_mut().map_or(Ok(()), Ring::flush)
    }

    fn put(&mut self, packet: &Captured<'_>, live: &mut Live) -> Result<(), Error> {
        if let Some(full) = self.goal.ring.take_if(|ring| ring.is_full_for(packet)) {
            self.goal.ring = Some(full.next(&live.statistics(), now())?);
        }
        live.count(packet);
        self.left = self.left.map(|left| left.saturating_sub(1));
        if let Some(watch) = &mut self.goal.watch {
            watch.packet(packet)?;
        }
        self.goal.ring.as_mut().map_or(Ok(()), |ring| ring.packet(packet))
    }

    /// Writes what came until now and ends the file.
    fn finish(mut self, live: &mut Live, tell: &mut dyn FnMut(Event<'_>)) -> Result<Ended, Error> {
        let is_deserted = live.is_over();
        let (end, ended) = (now(), Instant::now());
        // Where the time is over or a signal came, the kernel still holds some of the last packets back.
        while self.left != Some(0) && ended.elapsed() < LINGER && !live.is_over() {
            let _ = live.wait(LINGER.saturating_sub(ended.elapsed()));
            self.read(end, live, tell)?;
        }
        while self.left != Some(0)
            && let Some(packet) = self.merge.as_mut().and_then(Merge::take)
        {
            if packet.time <= end {
                self.put(&packet, live)?;
            }
        }
        let statistics = live.statistics();
        self.goal.ring.map_or(Ok(()), |ring| ring.finish(&statistics, end))?;
        Ok(Ended { statistics, is_deserted })
    }
}

/// Packets of one device that were read at once. They are copied, because a file may end between any two of them, and
/// then the device is asked what it counted.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    heads: Vec<Head>,
}

/// A packet of a batch.
struct Head {
    interface: u32,
    time: u64,
    length: u32,
    direction: Option<Direction>,
    bytes: Range<usize>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.heads.clear();
    }

    fn push(&mut self, packet: &Captured<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&packet.bytes);
        let Captured { interface, time, length, direction, .. } = *packet;
        self.heads.push(Head { interface, time, length, direction, bytes: start..self.bytes.len() });
    }

    fn packets(&self) -> impl Iterator<Item = Captured<'_>> {
        self.heads.iter().map(|head| {
            let bytes = Cow::Borrowed(self.bytes.get(head.bytes.clone()).unwrap_or_default());
            let Head { interface, time, length, direction, .. } = *head;
            Captured { interface, time, length, bytes, direction }
        })
    }
}
