//! The parts of fragmented packets: the first one has the ports, the last one tells how long the whole is.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::IpAddr;

use crate::net::{Fragments, Packet};
use crate::wire::Piece;

/// So many packets wait for their last parts at most.
const MOST: usize = 4096;

/// What all parts of a packet share: the capture point, its addresses, and the identification.
type Key = (u32, IpAddr, IpAddr, u32, bool);

/// First parts that wait for the last ones.
#[derive(Debug)]
pub struct Pieces<T> {
    waiting: BTreeMap<Key, Waiting<T>>,
    order: VecDeque<Key>,
}

#[derive(Debug)]
struct Waiting<T> {
    first: Option<T>,
    header: u32,
    count: u32,
    largest: u32,
    total: Option<u32>,
}

/// A packet of which all is known that will be.
#[derive(Debug, PartialEq, Eq)]
pub struct Gathered<T> {
    /// What was handed in with the first part.
    pub first: T,
    /// The parts.
    pub fragments: Fragments,
    /// How long the whole is; `None` where its last part was not captured.
    pub total: Option<u32>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<T> Pieces<T> {
    /// Takes a part; `first` comes with the one at offset 0. What is complete comes back, and what has waited longest
    /// where too many wait.
    pub fn add(&mut self, point: u32, ends: (IpAddr, IpAddr), piece: Piece, first: Option<T>) -> Option<Gathered<T>> {
        let key = (point, ends.0, ends.1, piece.identification, piece.is_inner);
        let waiting = self.waiting.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Waiting { first: None, header: 0, count: 0, largest: 0, total: None }
        });
        waiting.count += 1;
        waiting.largest = waiting.largest.max(piece.length);
        if first.is_some() {
            (waiting.first, waiting.header) = (first, piece.header);
        }
        if !piece.more {
            // IPv6's fragment header is in the parts only.
            let header = if ends.0.is_ipv6() { piece.header.saturating_sub(8) } else { piece.header };
            waiting.total = Some(header + piece.offset + piece.length.saturating_sub(piece.header));
        }
        if waiting.first.is_some() && waiting.total.is_some() {
            return self.take(&key);
        }
        if self.waiting.len() > MOST { self.oldest() } else { None }
    }

    /// The next packet of which nothing more has come.
    pub fn take_next(&mut self) -> Option<Gathered<T>> {
        while !self.order.is_empty() {
            if let Some(gathered) = self.oldest() {
                return Some(gathered);
            }
        }
        None
    }

    fn oldest(&mut self) -> Option<Gathered<T>> {
        let key = self.order.pop_front()?;
        self.take(&key)
    }

    fn take(&mut self, key: &Key) -> Option<Gathered<T>> {
        let waiting = self.waiting.remove(key)?;
        // Those that were complete before their turn are still in the order.
        if self.order.len() > 2 * MOST {
            self.order.retain(|key| self.waiting.contains_key(key));
        }
        let fragments = Fragments { count: waiting.count, largest: waiting.largest };
        Some(Gathered { first: waiting.first?, fragments, total: waiting.total })
    }
}

impl<T> Gathered<T> {
    /// Gives the packet the length of the whole; where the last part is missing, a little more than the first has.
    pub fn apply(&self, packet: &mut Packet, is_inner: bool) {
        let mut layer = packet;
        if is_inner {
            while layer.inner.is_some() {
                match layer.inner.as_deref_mut() {
                    Some(inner) => layer = inner,
                    None => return,
                }
            }
        }
        layer.fragments = Some(self.fragments);
        layer.length = self.total.unwrap_or(layer.length + 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u32, more: bool, length: u32) -> Piece {
        Piece { is_inner: false, identification: 7, offset, more, length, header: 20 }
    }

    fn ends() -> (IpAddr, IpAddr) {
        ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    }

    #[test]
    fn the_last_part_tells_the_length_of_the_whole() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.add(0, ends(), piece(0, true, 1500), Some("first")), None);
        assert_eq!(pieces.add(1, ends(), piece(1480, false, 120), None), None);
        let gathered = pieces.add(0, ends(), piece(1480, false, 120), None).unwrap();
        let fragments = Fragments { count: 2, largest: 1500 };
        assert_eq!(gathered, Gathered { first: "first", fragments, total: Some(1600) });
        assert_eq!(pieces.take_next(), None);
    }

    #[test]
    fn parts_may_come_in_any_order_and_some_never() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.add(0, ends(), piece(1480, false, 120), None), None);
        assert_eq!(pieces.add(0, ends(), piece(0, true, 1500), Some(1)).unwrap().total, Some(1600));
        assert_eq!(pieces.add(0, ends(), piece(0, true, 1500), Some(2)), None);
        let gathered = pieces.take_next().unwrap();
        assert_eq!((gathered.first, gathered.total), (2, None));
    }

    #[test]
    fn no_more_wait_than_memory_should_hold() {
        let mut pieces = Pieces::default();
        let mut out = 0;
        for identification in 0..3 * u32::try_from(MOST).unwrap() {
            let piece = Piece { identification, ..piece(0, true, 1500) };
            out += usize::from(pieces.add(0, ends(), piece, Some(identification)).is_some());
        }
        assert_eq!(out, 2 * MOST);
        assert_eq!(pieces.waiting.len(), MOST);
    }
}
