//! Where conversations are kept, in the order in which they began.

use std::mem::size_of;

use memmap2::MmapMut;
use zerocopy::FromBytes as _;

use super::kept::Kept;
use crate::pages::zeroed;

/// So many stand in a piece, which is a large page; in the first one fewer do, as in most captures.
const PIECE: usize = 32_768;
const FIRST: usize = 4096;

/// Conversations in pieces that never move: one vector of them would be copied whenever it grows.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pieces: Vec<MmapMut>,
    /// The place of the next one.
    next: usize,
}

impl Pool {
    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&Kept> {
        let (piece, at) = find(place);
        Kept::ref_from_bytes(self.pieces.get(piece)?.get(at..at + size_of::<Kept>())?).ok()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Kept> {
        let (piece, at) = find(place);
        Kept::mut_from_bytes(self.pieces.get_mut(piece)?.get_mut(at..at + size_of::<Kept>())?).ok()
    }

    /// One more at the end, which is empty, and its place; nothing where no place is left but `u32::MAX`.
    #[inline]
    pub(super) fn push(&mut self) -> Option<(u32, &mut Kept)> {
        let place = u32::try_from(self.next).ok().filter(|place| *place != u32::MAX)?;
        if self.next.is_multiple_of(PIECE) {
            self.pieces.push(zeroed(if place == 0 { FIRST } else { PIECE } * size_of::<Kept>()));
        }
        self.next = if self.next + 1 == FIRST { PIECE } else { self.next + 1 };
        self.get_mut(place).map(|kept| (place, kept))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Kept> {
        (0..self.next.min(FIRST)).chain(PIECE..self.next).map_while(|place| self.get(u32::try_from(place).ok()?))
    }
}

/// The piece that a place is in, and where it stands there.
#[inline]
fn find(place: u32) -> (usize, usize) {
    let place = place as usize;
    (place / PIECE, place % PIECE * size_of::<Kept>())
}
