//! Which data of a flow went before: a device may have split or joined the segments that carry it again.

use std::collections::VecDeque;

use super::lanes::FlowId;
use super::segment::behind;

/// How many pieces of data are remembered.
const MOST: usize = 1 << 18;
/// How far behind the latest data sequence numbers are remembered, so that which of two comes first is never in doubt.
const REACH: i32 = 1 << 30;

/// Data that a packet carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrying {
    /// Its sequence numbers, from the first on to the one before the second.
    pub range: (u32, u32),
    /// Whether it opens a connection.
    pub is_syn: bool,
    /// The packet's number.
    pub packet: u64,
}

/// A piece of data, and the last packet that carried it.
type Piece = ((u32, u32), u64);

/// Which data went before.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// By flow: pieces that have nothing in common, in the order of their sequence numbers.
    flows: Vec<VecDeque<Piece>>,
    /// The flows of all pieces, in the order in which they came; more than there are pieces where some were replaced.
    queue: VecDeque<FlowId>,
}

impl Carried {
    /// The packet that has carried the first of the data before that any did.
    pub fn again(&mut self, flow: FlowId, data: Carrying) -> Option<u64> {
        let place = flow.0 as usize;
        if self.flows.len() <= place {
            self.flows.resize_with(place + 1, VecDeque::new);
        }
        let pieces = self.flows.get_mut(place)?;
        let known = pieces.len();
        if data.is_syn && !pieces.iter().any(|((start, _), _)| *start == data.range.0) {
            // Another connection between the same ends begins anew.
            pieces.clear();
        }
        let before = put(pieces, data);
        self.queue.extend((known..pieces.len()).map(|_| flow));
        while self.queue.len() > MOST
            && let Some(FlowId(oldest)) = self.queue.pop_front()
        {
            self.flows.get_mut(oldest as usize).and_then(VecDeque::pop_front);
        }
        before
    }
}

/// Puts in data in place of what there was of it, and gives the packet that carried the first of that.
fn put(pieces: &mut VecDeque<Piece>, Carrying { range: (from, to), packet, .. }: Carrying) -> Option<u64> {
    while pieces.front().is_some_and(|((_, end), _)| behind(to, *end) > REACH) {
        pieces.pop_front();
    }
    if pieces.back().is_some_and(|((_, end), _)| behind(*end, from) > REACH) {
        pieces.clear();
    }
    let first = pieces.partition_point(|((_, end), _)| behind(*end, from) <= 0);
    let behind_all = pieces.partition_point(|((start, _), _)| behind(*start, to) < 0).max(first);
    let mut known = pieces.drain(first..behind_all);
    let one = known.next();
    let last = known.next_back().or(one);
    drop(known);
    let left = one.filter(|((start, _), _)| behind(from, *start) > 0).map(|((start, _), of)| ((start, from), of));
    let right = last.filter(|((_, end), _)| behind(*end, to) > 0).map(|((_, end), of)| ((to, end), of));
    for piece in [right, Some(((from, to), packet)), left].into_iter().flatten() {
        pieces.insert(first, piece);
    }
    one.map(|(_, packet)| packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(carried: &mut Carried, range: (u32, u32), packet: u64) -> Option<u64> {
        carried.again(FlowId(3), Carrying { range, is_syn: false, packet })
    }

    #[test]
    fn data_is_known_again_however_it_is_cut() {
        let mut carried = Carried::default();
        for (number, start) in (1..).zip([4_294_966_000_u32, 704, 3_704]) {
            assert_eq!(again(&mut carried, (start, start.wrapping_add(2_000)), number), None);
        }
        assert_eq!(again(&mut carried, (4_294_967_000, 100), 4), Some(1), "the middle of the first");
        assert_eq!(again(&mut carried, (4_294_967_200, 50), 5), Some(4), "and of that");
        assert_eq!(again(&mut carried, (4_294_966_000, 4_294_967_000), 6), Some(1), "what is left of it");
        assert_eq!(again(&mut carried, (600, 3_000), 7), Some(1), "two of them together");
        assert_eq!(again(&mut carried, (3_000, 3_704), 8), None, "a gap between them");
        assert_eq!(again(&mut carried, (3_600, 9_000), 9), Some(8));
        assert_eq!(again(&mut carried, (9_000, 9_001), 10), None);
    }

    #[test]
    fn a_new_connection_has_carried_nothing() {
        let mut carried = Carried::default();
        let syn = |carried: &mut Carried, start: u32, packet| {
            carried.again(FlowId(0), Carrying { range: (start, start + 1), is_syn: true, packet })
        };
        assert_eq!((syn(&mut carried, 100, 1), syn(&mut carried, 100, 2)), (None, Some(1)));
        let data = |range, packet| Carrying { range, is_syn: false, packet };
        assert_eq!(carried.again(FlowId(0), data((101, 5_000), 3)), None);
        assert_eq!(syn(&mut carried, 3_000, 4), None);
        assert_eq!(carried.again(FlowId(0), data((3_001, 4_000), 5)), None);
        assert_eq!(carried.again(FlowId(1), data((3_001, 4_000), 6)), None, "another flow");
    }

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let mut carried = Carried::default();
        for number in 0..MOST as u64 + 1_000 {
            let start = u32::try_from(number % 50_000).unwrap() * 100;
            carried.again(
                FlowId(u32::try_from(number % 7).unwrap()),
                Carrying { range: (start, start + 150), is_syn: false, packet: number },
            );
        }
        let pieces: usize = carried.flows.iter().map(VecDeque::len).sum();
        assert!(pieces <= carried.queue.len() && carried.queue.len() <= MOST, "{pieces}");
    }
}
