//! A place in the room for a row. It is kept in a register while the row is put together; only what is met in nearly
//! every packet is written here.
//!
//! Nobody looks whether a value still finds room: who puts a row together knows before that it is not longer than
//! [`LONGEST`]. A longer one would go on at the room's beginning, which the compiler sees, so that it looks neither.

#![expect(
    clippy::inline_always,
    reason = "a cursor that is handed to a function is in memory, and every text waits for it"
)]

use super::buffer::{HEX, OCTETS, PADDED};

/// The longest row that is put together so; a power of two.
pub(super) const LONGEST: usize = 4096;
/// The longest text that is put in at once, with what is stored over later.
pub(super) const LONGEST_TEXT: usize = 264;

/// The room for a row.
pub(super) type Room = [u8; LONGEST + LONGEST_TEXT];

/// Six zeros, as digits.
const ZEROS: u64 = 0x3030_3030_3030;

/// A place in the room.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    room: &'a mut Room,
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub(super) fn new(room: &'a mut Room) -> Self {
        Self { room, at: 0 }
    }

    /// How much was put in.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The room for a text whose length is not known before.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [u8] {
        let at = self.at % LONGEST;
        self.room.get_mut(at..at + LONGEST_TEXT).unwrap_or_default()
    }

    /// Goes behind so many characters that were put into the room.
    #[inline(always)]
    pub(super) fn forth(&mut self, size: usize) {
        self.at += size;
    }

    /// Puts in the first `size` of some characters.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, characters: [u8; N], size: usize) {
        let at = self.at % LONGEST;
        if let Some(room) = self.room.get_mut(at..at + N).and_then(<[u8]>::first_chunk_mut) {
            *room = characters;
        }
        self.at += size;
    }

    /// Puts in any bytes; false where they are more than one value has.
    #[inline(always)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.room().get_mut(..bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.at += bytes.len();
        true
    }

    /// Puts in a number.
    #[inline(always)]
    pub(super) fn number(&mut self, number: u32) {
        if number < 1_000_000 {
            return self.small(number);
        }
        let (text, size) = millions(number);
        self.put(text.to_le_bytes(), size);
        self.put(six(number % 1_000_000).to_le_bytes(), 6);
    }

    /// Puts in a number below 1,000,000.
    #[inline(always)]
    pub(super) fn small(&mut self, number: u32) {
        let text = six(number);
        // The last digit stays, if it is a zero too.
        let zeros = ((text ^ ZEROS) | 1 << 40).trailing_zeros() & !7;
        self.put((text >> zeros).to_le_bytes(), 6 - zeros as usize / 8);
    }

    /// Puts in nine digits.
    #[inline(always)]
    pub(super) fn nanoseconds(&mut self, nanoseconds: u32) {
        self.put(six(nanoseconds / 1000).to_le_bytes(), 6);
        self.put(padded(nanoseconds % 1000).to_le_bytes(), 3);
    }

    /// Puts in six digits.
    #[inline(always)]
    pub(super) fn microseconds(&mut self, microseconds: u32) {
        self.put(six(microseconds).to_le_bytes(), 6);
    }

    /// Puts in blanks up to a place of the row, if it is no further and fewer than 64 are missing.
    #[inline(always)]
    pub(super) fn pad(&mut self, to: usize) {
        self.put([b' '; 64], to.saturating_sub(self.at));
    }

    /// Puts in an IPv4 address.
    #[inline(always)]
    pub(super) fn ipv4(&mut self, address: u32) {
        for octet in address.to_be_bytes() {
            self.dotted(octet);
        }
        // The last one has no dot.
        self.at = self.at.wrapping_sub(1);
    }

    /// Puts in an octet in decimal digits.
    #[inline(always)]
    pub(super) fn octet(&mut self, number: u8) {
        self.dotted(number);
        self.at = self.at.wrapping_sub(1);
    }

    /// Puts in an octet and a dot behind it.
    #[inline(always)]
    fn dotted(&mut self, octet: u8) {
        let (text, size) = OCTETS.get(usize::from(octet)).copied().unwrap_or_default();
        self.put(text, size as usize);
    }

    /// Puts in the characters that count of a text.
    #[inline(always)]
    pub(super) fn words(&mut self, (characters, size): ([u8; 16], usize)) {
        self.put(characters, size);
    }

    /// Puts in `0x` and the last four hexadecimal digits of a word.
    #[inline(always)]
    pub(super) fn hex16(&mut self, word: u32) {
        let digit = |shift: u32| HEX.get((word >> shift & 15) as usize).copied().unwrap_or(b'0');
        self.put([b'0', b'x', digit(12), digit(8), digit(4), digit(0), 0, 0], 6);
    }
}

/// The digits of a number's millions, and how many there are.
#[inline(never)]
fn millions(number: u32) -> (u64, usize) {
    let text = six(number / 1_000_000);
    let zeros = ((text ^ ZEROS) | 1 << 40).trailing_zeros() / 8;
    (text >> (zeros * 8), 6 - zeros as usize)
}

/// Three digits of a number below 1,000.
#[inline(always)]
fn padded(number: u32) -> u32 {
    u32::from_le_bytes(PADDED.get(number as usize).copied().unwrap_or_default())
}

/// Six digits of a number below 1,000,000.
#[inline(always)]
fn six(number: u32) -> u64 {
    u64::from(padded(number / 1000)) | u64::from(padded(number % 1000)) << 24
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::decode::Buffer;

    #[test]
    fn numbers_and_addresses_are_whole() {
        let mut out = Buffer::default();
        out.line(|line| {
            for number in [0, 7, 10, 99, 100, 999, 1000, 65_535, 100_000, 999_999, 1_000_000, 1_000_001, u32::MAX] {
                line.number(number);
                line.put(*b",", 1);
            }
            for (address, behind) in [(0x0af4_00ff, *b" "), (0, *b"\t")] {
                line.ipv4(address);
                line.put(behind, 1);
            }
            for octet in [0, 9, 10, 99, 100, 255] {
                line.octet(octet);
                line.put(*b",", 1);
            }
            line.hex16(0x0f2a);
            line.put(*b";", 1);
            line.nanoseconds(12_345);
            line.put(*b"\n", 1);
            line.bytes(b"end")
        });
        let wanted = "0,7,10,99,100,999,1000,65535,100000,999999,1000000,1000001,4294967295,\
                      10.244.0.255 0.0.0.0\t0,9,10,99,100,255,0x0f2a;000012345\nend";
        assert_eq!(String::from_utf8_lossy(out.text()), wanted);
    }

    #[test]
    fn rows_stand_behind_each_other_however_long_they_are() {
        let mut out = Buffer::default();
        for _ in 0..100 {
            out.line(|line| (0..LONGEST / 2).all(|_| line.bytes(b"ab")));
        }
        assert_eq!(out.text().len(), 100 * LONGEST);
        assert!(out.text().chunks(2).all(|pair| pair == b"ab"));
        out.line(|line| line.bytes(&[b'c'; LONGEST_TEXT]) && !line.bytes(&[b'c'; LONGEST_TEXT + 1]));
        assert_eq!(out.text().len(), 100 * LONGEST + LONGEST_TEXT);
    }

    #[test]
    fn of_a_row_that_was_given_up_nothing_stays() {
        let mut out = Buffer::default();
        assert!(!out.line(|line| !line.bytes(b"ab")));
        assert!(out.is_empty());
    }
}
