//! A place in a text of which the rest has room. It is kept in a register while a line is put together; only what is
//! met in nearly every packet is written here.

#![expect(
    clippy::inline_always,
    reason = "a cursor that is handed to a function is in memory, and every text waits for it"
)]

use super::buffer::{HEX, OCTETS, PADDED};

/// The room for one value.
const SLOT: usize = 24;

/// Six zeros, as digits.
const ZEROS: u64 = 0x3030_3030_3030;

/// A place in a text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    room: &'a mut [u8],
    /// It fits into 32 bits, so that the end of what is stored behind it can't overflow.
    at: u32,
    is_full: bool,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub(super) fn new(room: &'a mut [u8], at: usize) -> Self {
        // No batch of packets makes for so much text.
        let at = u32::try_from(at).unwrap_or(0);
        Self { room, at, is_full: false }
    }

    /// The place behind the text; `None` where the room was too small for it.
    #[inline(always)]
    pub(super) fn end(self) -> Option<usize> {
        (!self.is_full).then_some(self.at as usize)
    }

    /// The place.
    #[inline(always)]
    pub(super) fn at(&self) -> u32 {
        self.at
    }

    /// Goes back to a place.
    #[inline(always)]
    pub(super) fn back_to(&mut self, at: u32) {
        self.at = at;
    }

    /// The room behind the place.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.room.get_mut(self.at as usize..).unwrap_or_default()
    }

    /// Goes behind so many characters that were put into the room.
    #[inline(always)]
    pub(super) fn forth(&mut self, size: u32) {
        self.at += size;
    }

    /// Puts in the first `size` of some characters.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, characters: [u8; N], size: u32) {
        let at = self.at as usize;
        match self.room.get_mut(at..at + N).and_then(<[u8]>::first_chunk_mut) {
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
        match (self.room().get_mut(..bytes.len()), u32::try_from(bytes.len())) {
            (Some(room), Ok(size)) => {
                room.copy_from_slice(bytes);
                self.at += size;
            }
            _ => self.is_full = true,
        }
    }

    /// Room for a text of at most 24 characters. What is put in beyond that is stored over.
    #[inline(always)]
    fn slot(&mut self) -> Option<&mut [u8; SLOT]> {
        let at = self.at as usize;
        let slot = self.room.get_mut(at..at + SLOT).and_then(<[u8]>::first_chunk_mut);
        if slot.is_none() {
            self.is_full = true;
        }
        slot
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
        let zeros = ((text ^ ZEROS) | 1 << 40).trailing_zeros() & !7;
        let text = (text | u64::from(behind) << 48) >> zeros;
        self.put(text.to_le_bytes(), 7 - zeros / 8);
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
        let ((first, size), (second, more)) = (two_octets(a, b), two_octets(c, d));
        let Some(slot) = self.slot() else { return };
        let [s0, s1, s2, s3, s4, s5, s6, s7, ..] = slot;
        for (place, character) in [s0, s1, s2, s3, s4, s5, s6, s7].into_iter().zip(first.to_le_bytes()) {
            *place = character;
        }
        // Four characters an octet at most: this keeps within the slot, and the compiler sees it.
        let (size, more) = (size & 15, more & 15);
        if let Some(places) = slot.get_mut(size as usize..).and_then(<[u8]>::first_chunk_mut) {
            *places = second.to_le_bytes();
        }
        // In the place of the dot behind the last octet.
        let end = size + more;
        if let Some(place) = slot.get_mut((end as usize).wrapping_sub(1)) {
            *place = behind;
        }
        self.at += end;
    }

    /// Puts in an octet in decimal digits, and one character behind it.
    #[inline(always)]
    pub(super) fn octet(&mut self, number: u8, behind: u8) {
        let text = octet(number);
        let bits = text >> 32;
        // In the place of the dot.
        let text = (text & 0xffff_ffff) ^ u64::from(behind ^ b'.') << bits.saturating_sub(8);
        self.put(text.to_le_bytes(), low(bits / 8));
    }

    /// Puts in so many tabs.
    #[inline(always)]
    pub(super) fn tabs(&mut self, count: u32) {
        if count == 0 {
            return;
        }
        self.put([b'\t'; 8], count.min(8));
        for _ in 8..count {
            self.put([b'\t'], 1);
        }
    }

    /// Puts in the characters that count of a text.
    #[inline(always)]
    pub(super) fn words(&mut self, (characters, size): ([u8; 16], u32)) {
        self.put(characters, size);
    }

    /// Puts in `0x`, the last four hexadecimal digits of a word, and one character behind them.
    #[inline(always)]
    pub(super) fn hex16(&mut self, word: u32, behind: u8) {
        let digit = |shift: u32| HEX.get((word >> shift & 15) as usize).copied().unwrap_or(b'0');
        self.put([b'0', b'x', digit(12), digit(8), digit(4), digit(0), behind, 0], 7);
    }
}

/// The lower half of a number.
#[inline(always)]
fn low(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}

/// The characters of two octets and the dots behind them, and how many they are.
#[inline(always)]
fn two_octets(first: u8, second: u8) -> (u64, u32) {
    let (first, second) = (octet(first), octet(second));
    let bits = first >> 32;
    let text = first & 0xffff_ffff | (second & 0xffff_ffff) << bits;
    (text, low((bits + (second >> 32)) / 8))
}

/// The digits of a number's millions, and how many there are.
#[inline(never)]
fn millions(number: u32) -> (u64, u32) {
    let text = six(number / 1_000_000);
    let zeros = ((text ^ ZEROS) | 1 << 40).trailing_zeros() / 8;
    (text >> (zeros * 8), 6 - zeros)
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
