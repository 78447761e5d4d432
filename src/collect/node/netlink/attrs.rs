//! Attributes of netlink messages, by their numbers.

use std::io;
use std::net::IpAddr;

use rtnetlink::packet_core::NlasIterator;

use super::socket::malformed;

/// The attributes of a message, or those nested in one of them.
#[derive(Debug, Default)]
pub(super) struct Attrs<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Attrs<'a> {
    /// Reads the attributes that stand one behind the other.
    pub fn parse(bytes: &'a [u8]) -> io::Result<Self> {
        let attrs = NlasIterator::new(bytes).map(|attr| {
            attr.map(|attr| {
                let (kind, length) = (attr.kind(), usize::from(attr.length()));
                (kind, attr.into_inner().get(4..length).unwrap_or_default())
            })
        });
        attrs.collect::<Result<_, _>>().map(Self).map_err(malformed)
    }

    /// Reads those behind a header of so many bytes.
    pub fn behind(body: &'a [u8], header: usize) -> io::Result<Self> {
        Self::parse(body.get(header..).ok_or_else(|| malformed("it is too short"))?)
    }

    /// Every attribute with its number.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        self.0.iter().copied()
    }

    /// The first with this number.
    pub fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(other, _)| *other == kind).map(|(_, value)| value)
    }

    pub fn u8(&self, kind: u16) -> Option<u8> {
        self.bytes(kind)?.first().copied()
    }

    pub fn u16(&self, kind: u16) -> Option<u16> {
        Some(u16::from_ne_bytes(*self.bytes(kind)?.first_chunk()?))
    }

    pub fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.bytes(kind)?.first_chunk()?))
    }

    pub fn u64(&self, kind: u16) -> Option<u64> {
        Some(u64::from_ne_bytes(*self.bytes(kind)?.first_chunk()?))
    }

    /// In network byte order.
    pub fn be16(&self, kind: u16) -> Option<u16> {
        Some(u16::from_be_bytes(*self.bytes(kind)?.first_chunk()?))
    }

    /// In network byte order.
    pub fn be32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(*self.bytes(kind)?.first_chunk()?))
    }

    /// In network byte order.
    pub fn be64(&self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(*self.bytes(kind)?.first_chunk()?))
    }

    pub fn text(&self, kind: u16) -> Option<String> {
        text(self.bytes(kind)?)
    }

    /// An address of either family.
    pub fn address(&self, kind: u16) -> Option<IpAddr> {
        address(self.bytes(kind)?)
    }

    /// What an attribute holds; nothing where it is absent.
    pub fn nested(&self, kind: u16) -> io::Result<Attrs<'a>> {
        self.bytes(kind).map_or_else(|| Ok(Self::default()), Attrs::parse)
    }
}

/// A text up to its NUL, on one line: an alias may hold line ends, behind which anybody could write rows.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(bytes).replace(['\n', '\r'], " "))
}

/// An address from its four or sixteen bytes.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// The numbers in a message's own header, at a distance from its beginning; 0 where it is too short.
pub(super) trait Header {
    fn byte(&self, at: usize) -> u8;
    fn word(&self, at: usize) -> u16;
    fn long(&self, at: usize) -> u32;
}

impl Header for [u8] {
    fn byte(&self, at: usize) -> u8 {
        self.get(at).copied().unwrap_or_default()
    }

    fn word(&self, at: usize) -> u16 {
        self.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u16::from_ne_bytes(*bytes))
    }

    fn long(&self, at: usize) -> u32 {
        self.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_by_their_numbers() {
        let bytes = [[8, 0, 4, 0, 0xdc, 5, 0, 0], [7, 0, 3, 0, b'l', b'o', 0, 0], [8, 0, 1, 0x80, 4, 0, 9, 0]].concat();
        let attrs = Attrs::parse(&bytes).unwrap();
        assert_eq!((attrs.u32(4), attrs.text(3).as_deref(), attrs.u32(9)), (Some(1500), Some("lo"), None));
        assert_eq!(attrs.nested(1).unwrap().bytes(9), Some(&[][..]));
        assert_eq!((attrs.u64(4), attrs.address(4)), (None, Some([0xdc, 5, 0, 0].into())));
    }

    #[test]
    fn cut_attributes_are_an_error_and_never_a_panic() {
        for bytes in [&[8u8, 0, 4][..], &[8, 0, 4, 0, 1], &[3, 0, 1, 0], &[255, 255, 1, 0]] {
            assert!(Attrs::parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(Attrs::behind(&[1, 2], 4).is_err());
        assert_eq!([1u8, 2].long(0), 0);
    }
}
