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

    #[inline]
    pub(super) fn push(&mut self, kept: Kept) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE => last.push(kept),
            _ => self.begin(kept),
        }
    }

    #[cold]
    fn begin(&mut self, kept: Kept) {
        let mut piece = Vec::with_capacity(PIECE);
        piece.push(kept);
        self.pieces.push(piece);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.pieces.iter().flatten()
    }
}
