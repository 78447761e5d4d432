//! Packets that are under way: those whose sights may not all be in.

use std::collections::VecDeque;

use super::journey::Seen;
use super::lanes::ByHash;

/// A packet under way: its place in [`Open`].
pub(super) type Slot = u32;

/// A packet that is under way, or a piece of a segment.
#[derive(Debug, Default)]
pub(super) struct Packet {
    pub key: u64,
    /// Whether [`Open::chains`] has it; later fragments whose first one was not seen are known by their packet only.
    pub is_chained: bool,
    /// When it was first seen.
    pub first: i64,
    /// The sequence numbers that it stands for; of anything else from 0 to 0.
    pub range: (u32, u32),
    pub seen: Vec<Seen>,
    /// The piece behind it, where it was split off.
    pub next: Option<Slot>,
    /// The fragmented packets, and their fragments, that are known to belong to it.
    pub parts: Vec<u64>,
}

impl Packet {
    /// Whether another file of the same point holds the very record, as those of a ring do that was copied while it was
    /// written.
    pub fn has_record(&self, seen: &Seen) -> bool {
        let is_it = |other: &Seen| {
            (seen.lane, seen.ttl, seen.stamp) == (other.lane, other.ttl, other.stamp)
                && seen.file != other.file
                && (seen.id, seen.length, seen.is_part) == (other.id, other.length, other.is_part)
        };
        self.seen.iter().any(is_it)
    }
}

/// The packets of one key, by the begin of their ranges, and those of the same in the order in which they came.
#[derive(Debug)]
enum Chain {
    One(u32, Slot),
    Many(VecDeque<(u32, Slot)>),
}

/// All packets that are under way.
#[derive(Debug, Default)]
pub(super) struct Open {
    packets: Vec<Packet>,
    free: Vec<Slot>,
    chains: ByHash<Chain>,
    /// Fragmented packets at a point, and later fragments, by their hash.
    pub parts: ByHash<Slot>,
    /// In the order in which they were first seen.
    pub queue: VecDeque<Slot>,
    /// How many sights they have together.
    pub sights: usize,
    /// For how many sights of a packet room is made at once.
    usual: usize,
    /// The longest range of any, so far, within reason.
    longest: u32,
}

impl Open {
    /// None yet. Room is made for so many sights of each at once.
    pub fn new(usual: usize) -> Self {
        Self { usual: usual.max(1), ..Self::default() }
    }

    pub fn get(&self, slot: Slot) -> Option<&Packet> {
        self.packets.get(slot as usize)
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Packet> {
        self.packets.get_mut(slot as usize)
    }

    /// A place for a packet. Places are used again, and so is the memory that they hold.
    fn place(&mut self) -> Slot {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        self.packets.push(Packet::default());
        u32::try_from(self.packets.len() - 1).unwrap_or(u32::MAX)
    }

    /// A packet that nobody has seen before.
    pub fn begin(&mut self, key: u64, seen: Seen, range: (u32, u32), is_chained: bool) -> Slot {
        let slot = self.place();
        let usual = self.usual;
        if let Some(packet) = self.get_mut(slot) {
            (packet.key, packet.is_chained, packet.first, packet.range) = (key, is_chained, seen.time, range);
            if packet.seen.capacity() == 0 {
                packet.seen.reserve_exact(usual);
            }
            packet.seen.push(seen);
        }
        self.sights += 1;
        if is_chained {
            self.link(key, range.0, slot);
        }
        self.longest = self.longest.max(range.1.wrapping_sub(range.0)).min(LONGEST);
        self.queue.push_back(slot);
        slot
    }

    /// One more sight of a packet.
    pub fn append(&mut self, slot: Slot, seen: Seen) {
        if let Some(packet) = self.get_mut(slot) {
            packet.seen.push(seen);
            self.sights += 1;
        }
    }

    pub fn link(&mut self, key: u64, start: u32, slot: Slot) {
        use std::collections::hash_map::Entry;
        match self.chains.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Chain::One(start, slot));
            }
            Entry::Occupied(mut entry) => entry.get_mut().insert(start, slot),
        }
    }

    /// The packets of a key whose ranges may have something in common with one, the latest of each begin first.
    pub fn alike(&self, key: u64, range: (u32, u32), found: &mut Vec<Slot>) {
        found.clear();
        match self.chains.get(&key) {
            None => {}
            Some(Chain::One(_, slot)) => found.push(*slot),
            Some(Chain::Many(many)) => {
                let last = if range.0 == range.1 { range.0 } else { range.1.wrapping_sub(1) };
                let first = range.0.wrapping_sub(self.longest);
                let from = many.partition_point(|(start, _)| *start < first);
                let to = many.partition_point(|(start, _)| *start <= last);
                // Sequence numbers begin again at 0 behind the largest one.
                let parts = if first <= last { [from..to.max(from), 0..0] } else { [0..to, from..many.len()] };
                let slots = parts.into_iter().flat_map(|part| many.range(part).rev());
                // A key with more of them is nobody's who means well.
                found.extend(slots.take(MOST_ALIKE).map(|(_, slot)| *slot));
            }
        }
    }

    /// Makes what a packet stands for exactly a range, which is within its own: the rest is split off. Gives the piece,
    /// and adds those that were split off behind to the list.
    pub fn carve(&mut self, slot: Slot, range: (u32, u32), pieces: &mut Vec<Slot>) -> Slot {
        let Some(whole) = self.get(slot).map(|packet| packet.range) else { return slot };
        let mut piece = slot;
        if whole.0 != range.0 {
            piece = self.split(slot, range.0);
        }
        if whole.1 != range.1 {
            pieces.push(self.split(piece, range.1));
        }
        piece
    }

    /// Splits a packet at a sequence number, and gives the piece behind it.
    fn split(&mut self, slot: Slot, at: u32) -> Slot {
        let behind = self.place();
        let Some(packet) = self.packets.get_mut(slot as usize) else { return slot };
        let range = (at, packet.range.1);
        packet.range.1 = at;
        let next = packet.next.replace(behind);
        let (key, first) = (packet.key, packet.first);
        let seen = packet.seen.clone();
        self.sights += seen.len();
        if let Some(piece) = self.get_mut(behind) {
            (piece.key, piece.is_chained, piece.first, piece.range, piece.next) = (key, true, first, range, next);
            piece.seen = seen;
        }
        self.link(key, at, behind);
        behind
    }

    /// Takes a packet out, and what is known of it. [`Self::give_back`] returns its list of sights.
    pub fn take(&mut self, slot: Slot) -> Option<Packet> {
        let packet = std::mem::take(self.packets.get_mut(slot as usize)?);
        self.free.push(slot);
        self.sights = self.sights.saturating_sub(packet.seen.len());
        if packet.is_chained {
            self.unlink(packet.key, packet.range.0, slot);
        }
        for part in &packet.parts {
            if self.parts.get(part) == Some(&slot) {
                self.parts.remove(part);
            }
        }
        Some(packet)
    }

    /// The memory of a packet that was taken out.
    pub fn give_back(&mut self, mut seen: Vec<Seen>) {
        seen.clear();
        let free = self.free.last().copied();
        if let Some(packet) = free.and_then(|slot| self.get_mut(slot)) {
            packet.seen = seen;
        }
    }

    fn unlink(&mut self, key: u64, start: u32, slot: Slot) {
        let is_empty = match self.chains.get_mut(&key) {
            None => return,
            Some(Chain::One(_, one)) => *one == slot,
            Some(Chain::Many(many)) => {
                let from = many.partition_point(|(other, _)| *other < start);
                let place = many.range(from..).position(|(_, other)| *other == slot);
                place.and_then(|place| many.remove(from + place));
                many.is_empty()
            }
        };
        if is_empty {
            self.chains.remove(&key);
        }
    }
}

/// The longest segment that is believed in: no device joins as much.
const LONGEST: u32 = 1 << 24;

/// How many packets of one key are looked at.
const MOST_ALIKE: usize = 256;

impl Chain {
    fn insert(&mut self, start: u32, slot: Slot) {
        if let Self::One(first, one) = *self {
            *self = Self::Many(VecDeque::from([(first, one)]));
        }
        if let Self::Many(many) = self {
            let place = many.partition_point(|(other, _)| *other <= start);
            many.insert(place, (start, slot));
        }
    }
}
