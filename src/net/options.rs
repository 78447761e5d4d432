//! Options of an IPv4 header (RFC 791; `include/uapi/linux/ip.h`).

use std::fmt::Write as _;
use std::sync::Arc;

/// The options behind an IPv4 header's fixed part, as bytes: a multiple of four, at most 40. A byte of `None` is one
/// that a kernel on the way wrote and that no snapshot tells: an address that it recorded, a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IpOptions(Option<Arc<[Option<u8>]>>);

impl IpOptions {
    /// The most bytes that a header has room for.
    pub const MOST: usize = 40;
    /// End of the list.
    pub const END: u8 = 0;
    /// One byte without meaning.
    pub const NOP: u8 = 1;
    /// Record route.
    pub const RR: u8 = 7;
    /// Timestamps.
    pub const TS: u8 = 68;
    /// Loose source route.
    pub const LSRR: u8 = 131;
    /// Commercial IP security option.
    pub const CIPSO: u8 = 134;
    /// Strict source route.
    pub const SSRR: u8 = 137;
    /// Router alert (RFC 2113).
    pub const RA: u8 = 148;

    /// Options of these bytes, filled up with ends to a multiple of four. What a header has no room for is left out.
    #[must_use]
    pub fn new(bytes: impl IntoIterator<Item = Option<u8>>) -> Self {
        let mut list: Vec<Option<u8>> = bytes.into_iter().take(Self::MOST).collect();
        list.resize(list.len().next_multiple_of(4), Some(Self::END));
        Self(Some(list).filter(|list| !list.is_empty()).map(Arc::from))
    }

    /// Options whose bytes are all known.
    #[must_use]
    pub fn known(bytes: &[u8]) -> Self {
        Self::new(bytes.iter().copied().map(Some))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[Option<u8>] {
        self.0.as_deref().unwrap_or(&[])
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many bytes they take in the header.
    #[must_use]
    pub fn length(&self) -> u32 {
        u32::try_from(self.bytes().len()).unwrap_or(0)
    }

    /// The bytes in hexadecimal, `??` where one is not known.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(self.bytes())
    }
}

/// Bytes in hexadecimal, `??` where one is not known.
pub(super) fn hex(bytes: &[Option<u8>]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // A string takes whatever is written.
        let _ = match byte {
            Some(byte) => write!(text, "{byte:02x}"),
            None => write!(text, "??"),
        };
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_fill_whole_words() {
        let options = IpOptions::known(&[IpOptions::NOP, IpOptions::RR, 3, 4, 1]);
        assert_eq!((options.length(), options.hex().as_str()), (8, "0107030401000000"));
        assert!(IpOptions::known(&[]).is_empty());
        assert_eq!(IpOptions::new([None; 44]).length(), 40);
    }
}
