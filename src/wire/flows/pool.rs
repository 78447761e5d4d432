//! Where conversations are kept, in the order in which they began.

use super::kept::Kept;

/// So many stand in a piece.
const PIECE: usize = 4096;

/// Conversations in pieces that never move: one vector of them would be copied whenever it grows.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pieces: Vec<Vec<Kept>>,
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&Kept> {
        let place = place as usize;
        self.pieces.get(place / PIECE)?.get(place % PIECE)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Kept> {
        let place = place as usize;
        self.pieces.get_mut(place / PIECE)?.get_mut(place % PIECE)
    }

    /// One more, which is still empty.
    #[inline]
    pub(super) fn push(&mut self) -> Option<&mut Kept> {
        if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let last = self.pieces.last_mut()?;
        last.push(Kept::EMPTY);
        last.last_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.pieces.iter().flatten()
    }
}
