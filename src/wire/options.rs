//! TCP's options.

use super::{Headers, Kind};

const END: u8 = 0;
const NOTHING: u8 = 1;

/// An option of TCP (RFC 9293, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOption<'a> {
    /// Its kind, of IANA's list.
    pub kind: u8,
    /// How many bytes it says to have, with its kind and this; `None` where that is not there.
    pub length: Option<u8>,
    /// What stands behind these, as far as it is there.
    pub data: &'a [u8],
    /// All of it, as far as it is there.
    pub bytes: &'a [u8],
}

/// The options of a TCP header, but those that say nothing. One that can't be one is the last.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a>(&'a [u8]);

impl<'a> TcpOptions<'a> {
    /// Those in a header, as far as it was captured.
    #[must_use]
    pub fn of(header: &'a [u8]) -> Self {
        Self(header.get(20..).unwrap_or_default())
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        while let [NOTHING, rest @ ..] = self.0 {
            self.0 = rest;
        }
        let all = std::mem::take(&mut self.0);
        let (&kind, rest) = all.split_first()?;
        if kind == END {
            return None;
        }
        let Some((&length, rest)) = rest.split_first() else {
            return Some(TcpOption { kind, length: None, data: &[], bytes: all });
        };
        let data = match usize::from(length).checked_sub(2).map(|size| rest.split_at_checked(size)) {
            Some(Some((data, behind))) => {
                self.0 = behind;
                data
            }
            // It has more bytes than are there.
            Some(None) => rest,
            None => &[],
        };
        let bytes = all.get(..2 + data.len()).unwrap_or(all);
        Some(TcpOption { kind, length: Some(length), data, bytes })
    }
}

impl<'a> Headers<'a> {
    /// TCP's options, as far as they were captured; none of another protocol.
    #[must_use]
    pub fn tcp_options(&self) -> TcpOptions<'a> {
        let layer = self.transport().filter(|layer| layer.kind == Kind::Tcp);
        TcpOptions::of(layer.map_or(&[], |layer| layer.header(self.bytes())))
    }
}
