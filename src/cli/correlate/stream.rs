//! The files of a correlation, read once for each pass.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::capture::batch::Batch;
use crate::capture::filter::Filter;
use crate::capture::reader::Reader;
use crate::correlate::{Depth, FileId, Origin, PointId, Sight, Unfit, kept, recognize};
use crate::error::Error;
use crate::trace::Way;
use crate::wire::{Decoded, Dissector, Frame, Kind, LinkType, Ports, Time};

use super::super::point;
use super::points::Points;
use super::source::Source;

/// A file that is being read.
pub(super) struct Stream {
    file: usize,
    pub(super) reader: Reader,
    pub(super) batch: Batch,
    /// The next packet's place in the batch.
    at: usize,
    /// When the last packet came, in nanoseconds since 1970.
    last: Option<i64>,
}

/// What is not looked for at other points, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Skipped {
    /// Not IP, or not decoded as far as IP.
    pub(in crate::cli) not_ip: u64,
    /// To groups, or to everybody.
    pub(in crate::cli) groups: u64,
    /// Without a time.
    pub(in crate::cli) timeless: u64,
}

impl Stream {
    /// Opens all files, and tells of those that can't be read. Fails where none can, and where a name is that of none.
    pub(super) fn open(sources: &[Source]) -> Result<(Vec<Self>, Vec<Error>), Error> {
        let (mut streams, mut unread) = (Vec::new(), Vec::new());
        for (file, source) in sources.iter().enumerate() {
            match source.open(file) {
                Ok(reader) => streams.push(Self { file, reader, batch: Batch::default(), at: 0, last: None }),
                Err(err) if source.is_there(&err) => unread.push(err),
                Err(err) => return Err(err),
            }
        }
        match unread.pop() {
            Some(err) if streams.is_empty() => Err(err),
            err => Ok((streams, unread.into_iter().chain(err).collect())),
        }
    }

    /// Its place among the files.
    pub(super) fn file(&self) -> usize {
        self.file
    }

    /// A packet's time, unless it can't be right: it is far from the one before, and the one behind is not. Then it is
    /// that of the one behind, or before.
    pub(super) fn likely(&mut self, time: i64, farthest: i64) -> i64 {
        let last = self.last.unwrap_or(time);
        let behind = self.batch.frame(self.at).and_then(|frame| frame.time).map(Time::since_epoch);
        let is_far = |one: i64, other: i64| one.abs_diff(other) > farthest.unsigned_abs();
        let likely = match behind {
            Some(behind) if is_far(time, last) && !is_far(behind, last) => behind.max(last),
            _ => time,
        };
        self.last = Some(likely);
        likely
    }

    /// Reads on where the batch is used up; false at the end.
    pub(super) fn fill(&mut self) -> bool {
        if self.at < self.batch.len() {
            return true;
        }
        self.at = 0;
        self.reader.fill(&mut self.batch)
    }

    /// The next packet of the batch, and which way it went, where its block says so.
    pub(super) fn next(&mut self) -> Option<(Frame<'_>, Option<Way>)> {
        let frame = self.batch.frame(self.at)?;
        let way = point::way(&self.batch, self.at);
        self.at += 1;
        Some((frame, way))
    }
}

/// Makes sights of packets.
pub(in crate::cli) struct Eyes {
    dissector: Dissector,
    /// How much of packets is looked at.
    pub(in crate::cli) depth: Depth,
    pub(in crate::cli) skipped: Skipped,
    /// How much was kept of each packet that was cut.
    pub(in crate::cli) cut: Depth,
    /// Which packets are asked for.
    flow: Option<Filter>,
}

impl Eyes {
    pub(in crate::cli) fn new(ports: Ports, depth: Depth) -> Self {
        Self { dissector: Dissector::new(ports), depth, skipped: Skipped::default(), cut: Depth::MOST, flow: None }
    }

    /// The same, with a filter that says which packets are asked for.
    pub(in crate::cli) fn asked(self, flow: Option<Filter>) -> Self {
        Self { flow, ..self }
    }

    /// Looks only at how much was kept of a packet.
    pub(super) fn measure(&mut self, frame: &Frame<'_>) {
        if frame.bytes.len() < frame.length as usize {
            let decoded = self.dissector.decode(frame.link_type, frame.bytes, frame.length);
            self.cut = self.cut.min(kept(&decoded));
        }
    }

    /// The sight of a packet, where it can be looked for elsewhere.
    pub(in crate::cli) fn see(
        &mut self,
        (frame, way): (&Frame<'_>, Option<Way>),
        file: usize,
        (point, is_one_device): (PointId, bool),
    ) -> Option<Sight> {
        let Some(time) = frame.time else {
            self.skipped.timeless += 1;
            return None;
        };
        let file = FileId(u16::try_from(file).unwrap_or(u16::MAX));
        let origin = Origin { point, file, number: frame.number, time: time.since_epoch(), way, is_one_device };
        let decoded = self.dissector.decode(frame.link_type, frame.bytes, frame.length);
        match recognize(&decoded, origin, self.depth) {
            Ok(sight) => {
                if frame.bytes.len() < frame.length as usize {
                    self.cut = self.cut.min(kept(&decoded));
                }
                let is_wanted = self.flow.as_ref().is_none_or(|flow| passes(flow, frame, &decoded));
                Some(Sight { is_wanted, ..sight })
            }
            Err(Unfit::NotIp) => {
                self.skipped.not_ip += 1;
                None
            }
            Err(Unfit::Group) => {
                self.skipped.groups += 1;
                None
            }
        }
    }
}

/// Whether a packet passes, as it is or as the frame that its tunnels carry.
fn passes(flow: &Filter, frame: &Frame<'_>, decoded: &Decoded<'_>) -> bool {
    if flow.matches(frame.link_type.0, frame.bytes, frame.length) {
        return true;
    }
    let Some(inner) = decoded.innermost_frame().filter(|layer| layer.start > 0) else { return false };
    let link_type = match inner.kind {
        Kind::Ethernet => LinkType::ETHERNET,
        Kind::Ipv4 | Kind::Ipv6 => LinkType::RAW,
        _ => return false,
    };
    let bytes = frame.bytes.get(inner.start as usize..).unwrap_or_default();
    flow.matches(link_type.0, bytes, frame.length.saturating_sub(inner.start))
}

/// The packets of all files in the order of corrected times.
pub(super) struct Merge<'a, C> {
    streams: Vec<Stream>,
    /// By file: the next sight.
    heads: Vec<Option<Sight>>,
    next: BinaryHeap<Reverse<(i64, usize)>>,
    points: &'a Points<'a>,
    pub(super) eyes: Eyes,
    /// A moment of a point's clock, by all points' clock.
    correct: C,
    /// How far from its neighbours a packet's time may be, in nanoseconds.
    farthest: i64,
    /// How many packets' times could not be right.
    pub(super) mended: u64,
}

impl<'a, C: Fn(PointId, i64) -> i64> Merge<'a, C> {
    pub(super) fn new(streams: Vec<Stream>, points: &'a Points<'a>, eyes: Eyes, correct: C, farthest: i64) -> Self {
        let heads = streams.iter().map(|_| None).collect();
        let files = streams.len();
        let mut merge = Self { streams, heads, next: BinaryHeap::new(), points, eyes, correct, farthest, mended: 0 };
        (0..files).for_each(|file| merge.advance(file));
        merge
    }

    /// Finds the next sight of a file.
    fn advance(&mut self, file: usize) {
        let Some(stream) = self.streams.get_mut(file) else { return };
        while stream.fill() {
            let place = stream.file;
            let Some((frame, way)) = stream.next() else { return };
            let Some(point) = self.points.get(place, frame.interface, point::device_index(&frame)) else { continue };
            let Some(mut sight) = self.eyes.see((&frame, way), place, point) else { continue };
            let likely = stream.likely(sight.time, self.farthest);
            self.mended += u64::from(likely != sight.time);
            sight.time = likely;
            self.next.push(Reverse(((self.correct)(sight.lane.point, sight.time), file)));
            if let Some(head) = self.heads.get_mut(file) {
                *head = Some(sight);
            }
            return;
        }
    }

    /// The next sight of all.
    pub(super) fn next(&mut self) -> Option<Sight> {
        let Reverse((_, file)) = self.next.pop()?;
        let sight = self.heads.get_mut(file)?.take();
        self.advance(file);
        sight
    }
}
