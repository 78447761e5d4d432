//! Words of a rule as iptables writes them, and the structures of its extensions as the kernel holds them.

use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A line in the making. Names and comments may hold any byte.
#[derive(Debug, Default, Clone)]
pub(super) struct Line(pub Vec<u8>);

impl Line {
    /// Adds words.
    pub fn put(&mut self, words: fmt::Arguments<'_>) {
        // A vector takes all that is written.
        let _ = self.0.write_fmt(words);
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Adds words behind an exclamation mark, where they are inverted.
    pub fn option(&mut self, inverted: bool, words: &str) {
        self.push(if inverted { b" ! " } else { b" " });
        self.push(words.as_bytes());
    }

    /// Adds a text in quotes, unless it needs none (`xtables_save_string` of `libxtables/xtables.c`).
    pub fn quoted(&mut self, text: &[u8]) {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        self.push(b" ");
        if !text.is_empty() && text.iter().all(is_plain) {
            return self.push(text);
        }
        self.push(b"\"");
        for byte in text {
            if matches!(byte, b'"' | b'\\' | b'\'') {
                self.push(b"\\");
            }
            self.push(&[*byte]);
        }
        self.push(b"\"");
    }

    /// Adds those of some words whose bits are set, with commas between them; `None` where a bit has no word.
    pub fn flags(&mut self, bits: u32, words: &[(u32, &str)]) -> Option<()> {
        let known = words.iter().fold(0, |all, (bit, _)| all | bit);
        (bits & !known == 0).then_some(())?;
        let set: Vec<&str> = words.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| *word).collect();
        self.push(set.join(",").as_bytes());
        Some(())
    }

    /// Adds a mark, with its mask unless it is whole (`xtables_print_mark_mask`).
    pub fn mark(&mut self, value: u32, mask: u32) {
        self.put(format_args!(" 0x{value:x}"));
        if mask != u32::MAX {
            self.put(format_args!("/0x{mask:x}"));
        }
    }
}

/// The structure of an extension, of a known size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Info<'a>(&'a [u8]);

impl<'a> Info<'a> {
    /// Takes one of exactly this size, as the kernel pads it to eight bytes (`nft_match_dump` and `nft_target_dump` in
    /// `net/netfilter/nft_compat.c`). One of another size is another structure.
    pub fn of(bytes: &'a [u8], size: usize) -> Option<Self> {
        (bytes.len() == size.next_multiple_of(8)).then_some(Self(bytes))
    }

    pub fn bytes(self, at: usize, length: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(length)?)
    }

    pub fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    pub fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// In network byte order.
    pub fn be16(self, at: usize) -> Option<u16> {
        self.u16(at).map(u16::from_be)
    }

    /// A text that ends in a NUL within so many bytes.
    pub fn text(self, at: usize, room: usize) -> Option<&'a [u8]> {
        up_to_nul(self.bytes(at, room)?)
    }
}

/// A text without the NUL at which it ends; `None` where there is no such NUL.
pub(super) fn up_to_nul(bytes: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(0, bytes)?;
    bytes.get(..end)
}

/// The length of a prefix's mask; `None` where it is none of a prefix.
pub(super) fn prefix(mask: &[u8]) -> Option<u32> {
    let whole = mask.iter().take_while(|byte| **byte == 0xff).count();
    let rest = mask.get(whole..).unwrap_or_default();
    let is_prefix = rest.iter().skip(1).all(|byte| *byte == 0)
        && rest.first().is_none_or(|byte| byte.leading_ones() == byte.count_ones());
    is_prefix.then(|| mask.iter().map(|byte| byte.count_ones()).sum())
}

/// An address of either family as `inet_ntop` writes it.
pub(super) fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).to_string());
    }
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
    // One whose first six groups, and no further one, are empty ends in an IPv4 address (`inet_ntop6` of glibc).
    let [head @ .., seventh, _] = address.segments();
    if head == [0; 6] && seventh != 0 {
        let last: [u8; 4] = *bytes.last_chunk()?;
        return Some(format!("::{}", Ipv4Addr::from(last)));
    }
    Some(address.to_string())
}

/// A mask behind an address (`xtables_ipmask_to_numeric`, `xtables_ip6mask_to_numeric`): nothing where it is whole.
pub(super) fn short_mask(mask: &[u8]) -> Option<String> {
    match prefix(mask) {
        Some(length) if usize::try_from(length).ok()? == mask.len() * 8 => Some(String::new()),
        Some(length) => Some(format!("/{length}")),
        None => Some(format!("/{}", address(mask)?)),
    }
}
