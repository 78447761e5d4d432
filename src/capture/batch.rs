//! Packets that were read together, with the bytes that they stand in.

use std::net::IpAddr;
use std::sync::Arc;

use super::Point;
use super::pcapng::Options;
use super::pcapng::names::Names;
use crate::wire::{Frame, LinkType, Time};

/// How many bytes are read at once. They stay in the processor's second cache while their packets are looked at.
pub(super) const WINDOW: usize = 256 << 10;

/// So many packets make a batch, however small they are: what is shown of each may be much longer than it is.
pub(super) const MOST: usize = 4096;

/// A batch of packets. It is filled anew again and again, and keeps its memory.
#[derive(Debug, Default)]
pub struct Batch {
    /// What was read; only the first `filled` bytes count.
    pub(super) bytes: Vec<u8>,
    pub(super) filled: usize,
    pub(super) records: Vec<Record>,
    /// The number of the first packet.
    pub(super) first: u64,
    /// The capture points that its packets name.
    pub(super) points: Arc<Vec<Point>>,
    /// What the captures call addresses, as far as they were read.
    pub(super) names: Arc<Names>,
}

/// A packet of a batch. Offsets are of the batch's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) time: Option<Time>,
    /// Where its bytes begin, and how many there are.
    pub(super) start: u32,
    pub(super) captured: u32,
    pub(super) length: u32,
    pub(super) point: u32,
    pub(super) link_type: LinkType,
    /// How many bytes of options stand behind its own, which fill up a word.
    pub(super) options: u32,
    pub(super) is_big_endian: bool,
}

impl Batch {
    /// How many packets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The packets, in their order.
    #[must_use]
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Frame<'_>> {
        let first = self.first;
        self.records.iter().enumerate().map(move |(place, record)| self.frame_of(first + place as u64, record))
    }

    /// A packet by its place in the batch.
    #[must_use]
    pub fn frame(&self, place: usize) -> Option<Frame<'_>> {
        Some(self.frame_of(self.first + place as u64, self.records.get(place)?))
    }

    #[inline]
    fn frame_of(&self, number: u64, record: &Record) -> Frame<'_> {
        let start = record.start as usize;
        let bytes = self.bytes.get(start..start + record.captured as usize).unwrap_or_default();
        Frame {
            number,
            time: record.time,
            interface: record.point,
            link_type: record.link_type,
            length: record.length,
            bytes,
        }
    }

    /// What a pcapng file says of a packet beside its bytes.
    #[must_use]
    pub fn options(&self, place: usize) -> Options<'_> {
        let Some(record) = self.records.get(place) else { return Options::default() };
        let start = record.start as usize + (record.captured as usize).next_multiple_of(4);
        let bytes = self.bytes.get(start..start + record.options as usize).unwrap_or_default();
        Options::new(bytes, record.is_big_endian)
    }

    /// The capture points that packets name by their place here.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// What a capture that was read so far calls an address.
    #[must_use]
    pub fn name(&self, address: IpAddr) -> Option<&str> {
        self.names.get(&address).map(AsRef::as_ref)
    }

    /// Whether a capture that was read so far has names for addresses.
    #[must_use]
    pub fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    pub(super) fn clear(&mut self, first: u64) {
        self.records.clear();
        self.filled = 0;
        self.first = first;
    }

    /// What was read.
    pub(super) fn data(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or(&self.bytes)
    }

    /// Room for what is read next: at least a window's rest. Where that is not enough it is twice what is there, and no
    /// more than so many bytes where these are what the next packet needs.
    pub(super) fn room(&mut self, window: usize, needed: usize) -> &mut [u8] {
        if self.filled >= self.bytes.len() {
            let most = if needed > self.filled { needed } else { usize::MAX };
            self.hold((self.filled * 2).min(most).max(window));
        }
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// Puts in what was left of the batch before.
    pub(super) fn begin(&mut self, carry: &[u8], window: usize) {
        self.hold(carry.len().max(window));
        if let Some(room) = self.bytes.get_mut(..carry.len()) {
            room.copy_from_slice(carry);
        }
        self.filled = carry.len();
    }

    /// Has room for so many bytes, and not for twice as many.
    fn hold(&mut self, size: usize) {
        if size > self.bytes.len() {
            self.bytes.reserve_exact(size - self.bytes.len());
            self.bytes.resize(size, 0);
        }
    }
}
