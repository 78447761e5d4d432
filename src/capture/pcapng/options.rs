//! The options behind a block's fields.

use super::{EPB_FLAGS, OPT_COMMENT, OPT_ENDOFOPT};
use crate::capture::{Direction, Reception};

/// The options of a block, in their order. Whatever can't be an option ends them.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

/// An option: its code and its value. The value of a number is in the section's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturedOption<'a> {
    /// What it is.
    pub code: u16,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Options<'a> {
    pub(in crate::capture) fn new(bytes: &'a [u8], is_big_endian: bool) -> Self {
        Self { bytes, is_big_endian }
    }

    /// The comments on a packet or an interface.
    pub fn comments(self) -> impl Iterator<Item = String> + use<'a> {
        let comments = self.filter(|option| option.code == OPT_COMMENT);
        comments.map(|option| String::from_utf8_lossy(option.value).into_owned())
    }

    /// Which way a packet went, where its block says so.
    #[must_use]
    pub fn direction(mut self) -> Option<Direction> {
        let is_big_endian = self.is_big_endian;
        let option = self.find(|option| option.code == EPB_FLAGS)?;
        let flags = *option.value.first_chunk::<4>()?;
        let flags = if is_big_endian { u32::from_be_bytes(flags) } else { u32::from_le_bytes(flags) };
        match (flags & 0b11, flags >> 2 & 0b111) {
            (0b10, _) => Some(Direction::Out),
            (0b01, 2) => Some(Direction::In(Reception::Multicast)),
            (0b01, 3) => Some(Direction::In(Reception::Broadcast)),
            (0b01, 4) => Some(Direction::In(Reception::Promiscuous)),
            (0b01, _) => Some(Direction::In(Reception::Unicast)),
            _ => None,
        }
    }

    /// Whether numbers in it have their upper octet first.
    pub(in crate::capture) fn is_big_endian(&self) -> bool {
        self.is_big_endian
    }

    fn u16(&mut self) -> Option<u16> {
        let (number, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(if self.is_big_endian { u16::from_be_bytes(*number) } else { u16::from_le_bytes(*number) })
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = CapturedOption<'a>;

    fn next(&mut self) -> Option<CapturedOption<'a>> {
        let (code, size) = (self.u16()?, usize::from(self.u16()?));
        if code == OPT_ENDOFOPT {
            self.bytes = &[];
            return None;
        }
        let value = self.bytes.get(..size)?;
        // The last one may lack the bytes that fill it up.
        self.bytes = self.bytes.get(size.next_multiple_of(4)..).unwrap_or_default();
        Some(CapturedOption { code, value })
    }
}
