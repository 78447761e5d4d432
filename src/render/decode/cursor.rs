//! A place in a text of which the rest has room. It is kept in a register while a line is put together; only what is
//! met in nearly every packet is written here.

#![expect(
    clippy::inline_always,
    reason = "a cursor that is handed to a function is in memory, and every text waits for it"
)]

use super::buffer::{HEX, OCTETS, PADDED};

/// Six zeros, as digits.
const ZEROS: u64 = 0x3030_3030_3030;

/// A place in a text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    room: &'a mut [u8],
    at: usize,
    is_full: bool,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub(super) fn new(room: &'a mut [u8], at: usize) -> Self {
        Self { room, at, is_full: false }
    }

    /// The place behind the text; `None` where the room was too small for it.
    #[inline(always)]
    pub(super) fn end(self) -> Option<usize> {
        (!self.is_full).then_some(self.at)
    }

    /// The place.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes back to a place.
    #[inline(always)]
    pub(super) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The room behind the place.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.room.get_mut(self.at..).unwrap_or_default()
    }

    /// Goes behind so many characters that were put into the room.
    #[inline(always)]
    pub(super) fn forth(&mut self, size: usize) {
        self.at += size;
    }

    /// Puts in the first `size` of some characters.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, characters: [u8; N], size: usize) {
        match self.room.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut) {
            Some(room) => {
                *room = characters;
                self.at += size;
            }
            None => self.is_full = true,
        }
    }

    /// Puts in any bytes.
    #[inline(always)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        match self.room.get_mut(self.at..).and_then(|room| room.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.is_full = true,
        }
    }

    /// Puts in a number and one character behind it.
    #[inline(always)]
    pub(super) fn number(&mut self, number: u32, behind: u8) {
        if number >= 1_000_000 {
            let (text, size) = millions(number);
            self.put(text.to_le_bytes(), size);
            let text = six(number % 1_000_000) | u64::from(behind) << 48;
            return self.put(text.to_le_bytes(), 7);
        }
        let text = six(number);
        // The last digit stays, if it is a zero too.
        let zeros = ((text ^ ZEROS) | 1 << 40).trailing_zeros() / 8;
        let text = (text | u64::from(behind) << 48) >> (zeros * 8);
        self.put(text.to_le_bytes(), 7 - zeros as usize);
    }

    /// Puts in nine digits and one character behind them.
    #[inline(always)]
    pub(super) fn nanoseconds(&mut self, nanoseconds: u32, behind: u8) {
        let first = six(nanoseconds / 1000);
        self.put(first.to_le_bytes(), 6);
        let [a, b, c, _] = padded(nanoseconds % 1000).to_le_bytes();
        self.put([a, b, c, behind], 4);
    }

    /// Puts in an IPv4 address and one character behind it.
    #[inline(always)]
    pub(super) fn ipv4(&mut self, address: u32, behind: u8) {
        let [a, b, c, d] = address.to_be_bytes();
        self.two_octets(a, b);
        self.two_octets(c, d);
        // In the place of the dot behind the last octet. Where there was no room, nothing is behind it.
        self.at = self.at.saturating_sub(1);
        self.put([behind], 1);
    }

    /// Puts in an octet in decimal digits, and one character behind it.
    #[inline(always)]
    pub(super) fn octet(&mut self, number: u8, behind: u8) {
        let text = octet(number);
        let size = usize::try_from(text >> 32).unwrap_or(0);
        // In the place of the dot.
        let change = u32::from(behind ^ b'.') << (size * 8 - 8);
        let [a, b, c, d, ..] = text.to_le_bytes();
        self.put((u32::from_le_bytes([a, b, c, d]) ^ change).to_le_bytes(), size);
    }

    /// Puts in the characters that count of a text.
    #[inline(always)]
    pub(super) fn words(&mut self, (characters, size): ([u8; 16], usize)) {
        self.put(characters, size);
    }

    #[inline(always)]
    fn two_octets(&mut self, first: u8, second: u8) {
        let (first, second) = (octet(first), octet(second));
        let (count, more) = (first >> 32, second >> 32);
        let text = first & 0xffff_ffff | (second & 0xffff_ffff) << (count * 8);
        // Four characters each at most.
        self.put(text.to_le_bytes(), usize::try_from(count + more).unwrap_or(0));
    }

    /// Puts in `0x`, the last four hexadecimal digits of a word, and one character behind them.
    #[inline(always)]
    pub(super) fn hex16(&mut self, word: u32, behind: u8) {
        let digit = |shift: u32| HEX.get((word >> shift & 15) as usize).copied().unwrap_or(b'0');
        self.put([b'0', b'x', digit(12), digit(8), digit(4), digit(0), behind, 0], 7);
    }
}

/// The digits of a number's millions, and how many there are.
#[inline(never)]
fn millions(number: u32) -> (u64, usize) {
    let text = six(number / 1_000_000);
    let zeros = ((text ^ ZEROS) | 1 << 40).trailing_zeros() / 8;
    (text >> (zeros * 8), 6 - zeros as usize)
}

#[inline(always)]
fn octet(octet: u8) -> u64 {
    OCTETS.get(usize::from(octet)).copied().unwrap_or(0)
}

/// Three digits of a number below 1,000.
#[inline(always)]
fn padded(number: u32) -> u32 {
    u32::from_le_bytes(PADDED.get(number as usize).copied().unwrap_or_default()) & 0x00ff_ffff
}

/// Six digits of a number below 1,000,000.
#[inline(always)]
fn six(number: u32) -> u64 {
    u64::from(padded(number / 1000)) | u64::from(padded(number % 1000)) << 24
}

#[cfg(test)]
mod tests {
    use crate::render::decode::Buffer;

    #[test]
    fn numbers_and_addresses_have_a_character_behind_them() {
        let mut out = Buffer::default();
        out.line(|line| {
            for number in [0, 7, 10, 99, 100, 999, 1000, 65_535, 100_000, 999_999, 1_000_000, 1_000_001, u32::MAX] {
                line.number(number, b',');
            }
            line.ipv4(0x0af4_00ff, b' ');
            line.ipv4(0, b'\t');
            for octet in [0, 9, 10, 99, 100, 255] {
                line.octet(octet, b',');
            }
            line.hex16(0x0f2a, b';');
            line.nanoseconds(12_345, b'\n');
            line.bytes(b"end");
        });
        let wanted = "0,7,10,99,100,999,1000,65535,100000,999999,1000000,1000001,4294967295,\
                      10.244.0.255 0.0.0.0\t0,9,10,99,100,255,0x0f2a;000012345\nend";
        assert_eq!(String::from_utf8_lossy(out.text()), wanted);
    }

    #[test]
    fn a_line_that_finds_no_room_is_put_in_once_more() {
        let mut out = Buffer::default();
        for _ in 0..3 {
            out.line(|line| (0..70_000).for_each(|_| line.bytes(b"ab")));
        }
        assert_eq!(out.text().len(), 3 * 140_000);
        assert!(out.text().chunks(2).all(|pair| pair == b"ab"));
    }
}
