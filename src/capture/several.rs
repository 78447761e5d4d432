//! Several captures as one, in the order of their packets' times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::Point;
use super::batch::{Batch, MOST, Record, WINDOW};
use super::pcapng::names::Names;
use super::reader::Reader;
use crate::wire::{LinkType, Time};

/// Captures that are read together. Each one's packets stay in the order of its file; where the files take turns, their
/// times decide.
pub struct Several {
    files: Vec<Open>,
    /// The next packet of each file: its time, and the file.
    next: BinaryHeap<Reverse<(Time, usize)>>,
    number: u64,
    points: Arc<Vec<Point>>,
    /// What all of them call addresses; where they differ, the one that was read last.
    names: Arc<Names>,
    /// The places in `points` of what each file describes.
    places: BTreeMap<(usize, u32), u32>,
    /// The first batch, where it was read ahead.
    ahead: Option<Batch>,
}

/// A file that is being read.
struct Open {
    reader: Reader,
    batch: Batch,
    /// The next packet's place in the batch.
    at: usize,
    /// The time of its last packet, for those that have none.
    last: Time,
}

impl Open {
    /// The time by which the next packet is put in order, if there is one.
    fn next(&mut self) -> Option<Time> {
        if self.at >= self.batch.len() {
            self.at = 0;
            if !self.reader.fill(&mut self.batch) {
                return None;
            }
        }
        let record = self.batch.records.get(self.at)?;
        self.last = record.time.unwrap_or(self.last);
        Some(self.last)
    }
}

impl Several {
    /// Reads these captures together.
    #[must_use]
    pub fn new(mut readers: Vec<Reader>) -> Self {
        let count = readers.len();
        for reader in &mut readers {
            reader.share(count);
        }
        let open = |reader| Open { reader, batch: Batch::default(), at: 0, last: Time::default() };
        let mut several = Self {
            files: readers.into_iter().map(open).collect(),
            next: BinaryHeap::new(),
            number: 0,
            points: Arc::default(),
            names: Arc::default(),
            places: BTreeMap::new(),
            ahead: None,
        };
        if several.files.len() > 1 {
            (0..several.files.len()).for_each(|file| several.queue(file));
        }
        several
    }

    /// Whether there is no packet at all. It is asked before any batch is filled, and reads the first one.
    pub fn is_empty(&mut self) -> bool {
        let mut first = Batch::default();
        self.ahead = self.fill(&mut first).then_some(first);
        self.ahead.is_none()
    }

    /// Fills a batch with the next packets; false at the end.
    pub fn fill(&mut self, batch: &mut Batch) -> bool {
        if let Some(first) = self.ahead.take() {
            *batch = first;
            return true;
        }
        if let [only] = self.files.as_mut_slice() {
            return only.reader.fill(batch);
        }
        batch.clear(self.number + 1);
        while batch.filled < WINDOW
            && batch.records.len() < MOST
            && let Some(Reverse((_, file))) = self.next.pop()
        {
            self.copy(file, batch);
            self.queue(file);
        }
        self.number += batch.len() as u64;
        batch.points = Arc::clone(&self.points);
        batch.names = Arc::clone(&self.names);
        !batch.is_empty()
    }

    /// Queues the next packet of a file.
    fn queue(&mut self, file: usize) {
        let Some(open) = self.files.get_mut(file) else { return };
        let before = Arc::clone(&open.batch.names);
        if let Some(time) = open.next() {
            self.next.push(Reverse((time, file)));
        }
        if !Arc::ptr_eq(&before, &open.batch.names) {
            let names = open.batch.names.iter().map(|(address, name)| (*address, name.clone()));
            Arc::make_mut(&mut self.names).extend(names);
        }
    }

    /// Copies a file's next packet, and what is said beside it.
    fn copy(&mut self, file: usize, batch: &mut Batch) {
        let Some(open) = self.files.get_mut(file) else { return };
        let Some(record) = open.batch.records.get(open.at).copied() else { return };
        let start = record.start as usize;
        let size = match record.options {
            0 => record.captured as usize,
            options => (record.captured as usize).next_multiple_of(4) + options as usize,
        };
        let bytes = open.batch.bytes.get(start..start + size).unwrap_or_default();
        let to = batch.filled;
        while batch.bytes.len() < to + bytes.len() {
            batch.bytes.resize((to + bytes.len()).max(WINDOW), 0);
        }
        if let Some(room) = batch.bytes.get_mut(to..to + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        batch.filled = to + bytes.len();
        open.at += 1;
        let point = self.point(file, record.point);
        batch.records.push(Record { start: u32::try_from(to).unwrap_or(u32::MAX), point, ..record });
    }

    /// The place of a file's point among all of them.
    fn point(&mut self, file: usize, point: u32) -> u32 {
        if let Some(place) = self.places.get(&(file, point)) {
            return *place;
        }
        let described = self.files.get(file).and_then(|open| open.batch.points().get(point as usize));
        let Some(described) = described.cloned() else { return u32::MAX };
        let place = u32::try_from(self.points.len()).unwrap_or(u32::MAX);
        Arc::make_mut(&mut self.points).push(described);
        self.places.insert((file, point), place);
        place
    }

    /// The points that the files have described so far.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        self.files.iter().flat_map(|open| open.reader.points()).cloned().collect()
    }

    /// The link types of the points that the files have described so far.
    #[must_use]
    pub fn link_types(&self) -> BTreeSet<LinkType> {
        self.files.iter().flat_map(|open| open.reader.link_types()).collect()
    }

    /// What was wrong with the files since this was asked last: a file's place, and what is the matter.
    pub fn notes(&mut self) -> Vec<(usize, String)> {
        let files = self.files.iter_mut().enumerate();
        files.flat_map(|(file, open)| open.reader.notes().into_iter().map(move |note| (file, note))).collect()
    }
}
