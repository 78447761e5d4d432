//! Text that is put together fast: numbers and addresses come out of tables, in stores of a fixed size.
//!
//! What is stored may be longer than what counts of it; the next text is stored over the rest.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::cursor::{Cursor, Room};

use crate::net::MacAddr;

/// Up to three characters and their count: of every number below 1,000 without leading zeros.
static SHORT: [[u8; 4]; 1000] = numbers(false);
/// Of every number below 1,000 with three digits, and a zero behind them.
pub(super) static PADDED: [[u8; 4]; 1000] = numbers(true);
/// Of every octet with a dot behind it: the characters, and how many there are.
pub(super) static OCTETS: [([u8; 4], u32); 256] = octets();

pub(super) const HEX: &[u8; 16] = b"0123456789abcdef";

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "it runs while this is compiled")]
const fn numbers(is_padded: bool) -> [[u8; 4]; 1000] {
    let mut table = [[0; 4]; 1000];
    let mut number = 0;
    while number < 1000 {
        let digits = [number / 100, number / 10 % 10, number % 10];
        let count = if is_padded || number >= 100 {
            3
        } else if number >= 10 {
            2
        } else {
            1
        };
        let mut place = 0;
        while place < count {
            table[number][place] = b'0' + digits[3 - count + place] as u8;
            place += 1;
        }
        if !is_padded {
            table[number][3] = count as u8;
        }
        number += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "it runs while this is compiled")]
const fn octets() -> [([u8; 4], u32); 256] {
    let short = numbers(false);
    let mut table = [([0; 4], 0); 256];
    let mut number = 0;
    while number < 256 {
        let count = short[number][3];
        let mut text = short[number];
        text[3] = 0;
        text[count as usize] = b'.';
        table[number] = (text, count as u32 + 1);
        number += 1;
    }
    table
}

/// Text that grows.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

impl Buffer {
    /// What was put in.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How long the text is, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Forgets the text, and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets what was put in since the text was so long.
    pub fn cut(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Puts in a row; what puts it in says whether it is whole, and nothing stays where it is not.
    #[inline]
    pub(super) fn line(&mut self, with: impl FnOnce(&mut Cursor<'_>) -> bool) -> bool {
        let (start, room) = (self.len, size_of::<Room>());
        if start + room > self.bytes.len() {
            self.bytes.resize((self.bytes.len() * 2).max(start + room), 0);
        }
        let Some(room) = self.bytes.get_mut(start..).and_then(<[u8]>::first_chunk_mut) else { return false };
        let mut cursor = Cursor::new(room);
        let is_whole = with(&mut cursor);
        if is_whole {
            self.len = start + cursor.at();
        }
        is_whole
    }

    /// Puts blanks before what stands from a place on, so that it is so wide.
    pub(super) fn pad_left(&mut self, start: usize, width: usize) {
        let size = self.len - start;
        if size < width {
            (size..width).for_each(|_| self.byte(b' '));
            if let Some(text) = self.bytes.get_mut(start..start + width) {
                text.rotate_right(width - size);
            }
        }
    }

    /// Puts blanks behind what stands from a place on, so that it is so wide.
    pub(super) fn pad_right(&mut self, start: usize, width: usize) {
        let mut missing = width.saturating_sub(self.len - start);
        while missing > 0 {
            let size = missing.min(16);
            self.put([b' '; 16], size);
            missing -= size;
        }
    }

    /// Puts what stands from a place on between quotes, with its own ones doubled.
    pub(super) fn quote(&mut self, start: usize) {
        let text = self.text().get(start..).unwrap_or_default().to_vec();
        self.cut(start);
        self.byte(b'"');
        for part in text.split_inclusive(|byte| *byte == b'"') {
            self.bytes(part);
            if part.ends_with(b"\"") {
                self.byte(b'"');
            }
        }
        self.byte(b'"');
    }

    /// Puts in the first `size` of some characters.
    #[inline]
    fn put<const N: usize>(&mut self, characters: [u8; N], size: usize) {
        match self.bytes.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            Some(room) => *room = characters,
            None => self.grow(&characters),
        }
        self.len += size;
    }

    /// Makes room, and stores there.
    #[cold]
    fn grow(&mut self, characters: &[u8]) {
        let end = self.len + characters.len();
        self.bytes.resize((end * 2).max(4096), 0);
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(characters);
        }
    }

    /// Puts in a character.
    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.put([byte], 1);
    }

    /// Puts in characters that are known beforehand.
    #[inline]
    pub(super) fn words<const N: usize>(&mut self, words: &[u8; N]) {
        self.put(*words, N);
    }

    /// Puts in any text.
    #[inline]
    pub(super) fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Puts in any bytes.
    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((chunk, behind)) = rest.split_first_chunk::<16>() {
            self.put(*chunk, 16);
            rest = behind;
        }
        for byte in rest {
            self.byte(*byte);
        }
    }

    /// Puts in a number in decimal digits.
    #[inline]
    pub(super) fn number(&mut self, number: u32) {
        match number {
            0..1000 => self.short(number),
            1000..1_000_000 => {
                self.short(number / 1000);
                self.padded(number % 1000);
            }
            _ => self.large(number.into()),
        }
    }

    /// Puts in a number of any size.
    pub(super) fn large(&mut self, number: u64) {
        if let Ok(small @ 0..1_000_000) = u32::try_from(number) {
            return self.number(small);
        }
        self.large(number / 1_000_000);
        let rest = u32::try_from(number % 1_000_000).unwrap_or(0);
        self.padded(rest / 1000);
        self.padded(rest % 1000);
    }

    #[inline]
    fn short(&mut self, number: u32) {
        let characters = SHORT.get(number as usize).copied().unwrap_or_default();
        self.put(characters, characters[3].into());
    }

    /// Puts in three digits of a number below 1,000.
    #[inline]
    fn padded(&mut self, number: u32) {
        self.put(PADDED.get(number as usize).copied().unwrap_or_default(), 3);
    }

    /// Puts in two digits of a number below 100.
    #[inline]
    pub(super) fn two(&mut self, number: u32) {
        let [_, tens, ones, _] = PADDED.get(number as usize).copied().unwrap_or_default();
        self.put([tens, ones], 2);
    }

    /// Puts in nine digits: nanoseconds of a second.
    #[inline]
    pub(super) fn nanoseconds(&mut self, nanoseconds: u32) {
        self.padded(nanoseconds / 1_000_000);
        self.padded(nanoseconds / 1000 % 1000);
        self.padded(nanoseconds % 1000);
    }

    /// Puts in an IPv4 address.
    #[inline]
    pub(super) fn ipv4(&mut self, address: [u8; 4]) {
        for octet in address {
            let (text, size) = OCTETS.get(usize::from(octet)).copied().unwrap_or_default();
            self.put(text, size as usize);
        }
        // The last octet has no dot.
        self.len -= 1;
    }

    /// Puts in an IPv6 address as RFC 5952 writes it.
    pub(super) fn ipv6(&mut self, address: [u8; 16]) {
        self.format(format_args!("{}", Ipv6Addr::from(address)));
    }

    /// Puts in an address.
    #[inline]
    pub(super) fn address(&mut self, address: std::net::IpAddr) {
        match address {
            std::net::IpAddr::V4(address) => self.ipv4(Ipv4Addr::octets(&address)),
            std::net::IpAddr::V6(address) => self.ipv6(address.octets()),
        }
    }

    /// Puts in a link-layer address.
    pub(super) fn mac(&mut self, address: MacAddr) {
        for (place, octet) in address.0.into_iter().enumerate() {
            if place > 0 {
                self.byte(b':');
            }
            self.hex(octet);
        }
    }

    /// Puts in two hexadecimal digits.
    #[inline]
    pub(super) fn hex(&mut self, octet: u8) {
        let digit = |digit: u8| HEX.get(usize::from(digit)).copied().unwrap_or(b'0');
        self.put([digit(octet >> 4), digit(octet & 15)], 2);
    }

    /// Puts in four hexadecimal digits.
    #[inline]
    pub(super) fn hex16(&mut self, word: u16) {
        let [high, low] = word.to_be_bytes();
        self.hex(high);
        self.hex(low);
    }

    /// Puts in what is not worth a way of its own.
    pub(super) fn format(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing into memory can't fail.
        let _ = std::fmt::Write::write_fmt(self, arguments);
    }
}

impl std::fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(with: impl FnOnce(&mut Buffer)) -> String {
        let mut buffer = Buffer::default();
        with(&mut buffer);
        String::from_utf8(buffer.text().to_vec()).unwrap()
    }

    #[test]
    fn numbers_have_their_digits() {
        for number in (0..3000).chain([9_999, 65_535, 999_999, 1_000_000, 1_000_001, 123_456_789, u32::MAX]) {
            assert_eq!(put(|buffer| buffer.number(number)), number.to_string());
        }
        for number in [u64::MAX, 1_000_000_000_000, 5] {
            assert_eq!(put(|buffer| buffer.large(number)), number.to_string());
        }
        assert_eq!(put(|buffer| buffer.nanoseconds(1_002_003)), "001002003");
    }

    #[test]
    fn addresses_are_written_as_the_library_writes_them() {
        let mut octets = 0_u32;
        for _ in 0..20_000 {
            octets = octets.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let address = Ipv4Addr::from_bits(octets);
            assert_eq!(put(|buffer| buffer.ipv4(address.octets())), address.to_string());
        }
        for address in [[0; 4], [255; 4], [1, 22, 133, 4], [10, 0, 0, 100]] {
            assert_eq!(put(|buffer| buffer.ipv4(address)), Ipv4Addr::from(address).to_string());
        }
        let address: Ipv6Addr = "fd00::1:0:0:2".parse().unwrap();
        assert_eq!(put(|buffer| buffer.ipv6(address.octets())), "fd00::1:0:0:2");
        assert_eq!(put(|buffer| buffer.mac(MacAddr([0x5a, 0, 0, 0, 4, 1]))), "5a:00:00:00:04:01");
    }

    #[test]
    fn text_outgrows_any_room() {
        let long = "0123456789abcdefg".repeat(5000);
        assert_eq!(put(|buffer| buffer.str(&long)), long);
        let text = put(|buffer| (0..5000).for_each(|_| buffer.words(b"abc")));
        assert_eq!(text, "abc".repeat(5000));
    }
}
