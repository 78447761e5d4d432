//! The files of a correlation, read once for each pass.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use crate::capture::batch::Batch;
use crate::capture::filter::Filter;
use crate::capture::reader::Reader;
use crate::correlate::{FileId, Origin, PointId, Sight, Unfit, recognize};
use crate::error::Error;
use crate::wire::{Decoded, Dissector, Frame, Kind, LinkType, Ports};

use super::points::Points;

/// A file that is being read.
pub(super) struct Stream {
    file: usize,
    pub(super) reader: Reader,
    pub(super) batch: Batch,
    /// The next packet's place in the batch.
    at: usize,
}

/// What is not looked for at other points, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    /// Not IP, or not decoded as far as IP.
    pub(super) not_ip: u64,
    /// To groups, or to everybody.
    pub(super) groups: u64,
    /// Without a time.
    pub(super) timeless: u64,
}

impl Stream {
    /// Opens all files. Fails where one can't be read at all.
    pub(super) fn open(files: &[PathBuf]) -> Result<Vec<Self>, Error> {
        let open = |(file, path): (usize, &PathBuf)| {
            let reader = Reader::open(path, file)?;
            Ok(Self { file, reader, batch: Batch::default(), at: 0 })
        };
        files.iter().enumerate().map(open).collect()
    }

    /// Reads on where the batch is used up; false at the end.
    pub(super) fn fill(&mut self) -> bool {
        if self.at < self.batch.len() {
            return true;
        }
        self.at = 0;
        self.reader.fill(&mut self.batch)
    }

    /// The next packet of the batch.
    pub(super) fn next(&mut self) -> Option<Frame<'_>> {
        let frame = self.batch.frame(self.at)?;
        self.at += 1;
        Some(frame)
    }
}

/// Makes sights of packets.
pub(super) struct Eyes {
    dissector: Dissector,
    /// How much of a payload is looked at.
    pub(super) depth: usize,
    pub(super) skipped: Skipped,
    /// The most bytes that were kept of a packet that was cut, if any was.
    pub(super) cut: Option<u32>,
    /// Which packets are asked for.
    flow: Option<Filter>,
}

impl Eyes {
    pub(super) fn new(ports: Ports, depth: usize) -> Self {
        Self { dissector: Dissector::new(ports), depth, skipped: Skipped::default(), cut: None, flow: None }
    }

    /// The same, with a filter that says which packets are asked for.
    pub(super) fn asked(self, flow: Option<Filter>) -> Self {
        Self { flow, ..self }
    }

    /// The sight of a packet, where it can be looked for elsewhere.
    pub(super) fn see(&mut self, frame: &Frame<'_>, file: usize, point: PointId) -> Option<Sight> {
        let captured = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
        if captured < frame.length {
            self.cut = Some(self.cut.map_or(captured, |cut| cut.min(captured)));
        }
        let Some(time) = frame.time else {
            self.skipped.timeless += 1;
            return None;
        };
        let file = FileId(u16::try_from(file).unwrap_or(u16::MAX));
        let origin = Origin { point, file, number: frame.number, time: time.since_epoch() };
        let decoded = self.dissector.decode(frame.link_type, frame.bytes, frame.length);
        match recognize(&decoded, origin, self.depth) {
            Ok(sight) => {
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
    points: &'a Points,
    pub(super) eyes: Eyes,
    /// A moment of a point's clock, by all points' clock.
    correct: C,
}

impl<'a, C: Fn(PointId, i64) -> i64> Merge<'a, C> {
    pub(super) fn new(streams: Vec<Stream>, points: &'a Points, eyes: Eyes, correct: C) -> Self {
        let heads = streams.iter().map(|_| None).collect();
        let files = streams.len();
        let mut merge = Self { streams, heads, next: BinaryHeap::new(), points, eyes, correct };
        (0..files).for_each(|file| merge.advance(file));
        merge
    }

    /// Finds the next sight of a file.
    fn advance(&mut self, file: usize) {
        let Some(stream) = self.streams.get_mut(file) else { return };
        while stream.fill() {
            let place = stream.file;
            let Some(frame) = stream.next() else { return };
            let Some(point) = self.points.get(place, frame.interface) else { continue };
            let Some(sight) = self.eyes.see(&frame, place, point) else { continue };
            self.next.push(Reverse(((self.correct)(point, sight.time), file)));
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
