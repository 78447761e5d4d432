//! Where conversations are kept, in the order in which they began.

use std::mem::size_of;

use memmap2::MmapMut;
use zerocopy::FromBytes as _;

use super::kept::Kept;
use crate::pages::zeroed;

/// So many stand in the first piece, which is small as most captures are, and in every other one, which is a large page.
const FIRST: usize = 4096;
const PIECE: usize = 32_768;

/// Conversations in pieces that never move: one vector of them would be copied whenever it grows.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pieces: Vec<MmapMut>,
    len: usize,
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&Kept> {
        let (piece, at) = find(place as usize);
        Kept::ref_from_bytes(self.pieces.get(piece)?.get(at..at + size_of::<Kept>())?).ok()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Kept> {
        let (piece, at) = find(place as usize);
        Kept::mut_from_bytes(self.pieces.get_mut(piece)?.get_mut(at..at + size_of::<Kept>())?).ok()
    }

    /// One more at the end, which is empty; there are fewer than a place can name.
    #[inline]
    pub(super) fn push(&mut self) -> Option<&mut Kept> {
        let place = u32::try_from(self.len).ok()?;
        self.len += 1;
        let (piece, _) = find(place as usize);
        if piece >= self.pieces.len() {
            self.pieces.push(zeroed(if piece == 0 { FIRST } else { PIECE } * size_of::<Kept>()));
        }
        self.get_mut(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Kept> {
        (0..self.len).map_while(|place| self.get(u32::try_from(place).ok()?))
    }
}

/// The piece that a place is in, and where it stands there.
#[inline]
fn find(place: usize) -> (usize, usize) {
    let (piece, at) = match place.checked_sub(FIRST) {
        None => (0, place),
        Some(behind) => (1 + behind / PIECE, behind % PIECE),
    };
    (piece, at * size_of::<Kept>())
}
