//! Extension headers of IPv6 (RFC 8200; `include/net/ipv6.h`).

use std::sync::Arc;

use super::{Protocol, options};

/// One extension header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExtHeader {
    kind: Protocol,
    bytes: Vec<u8>,
}

impl ExtHeader {
    /// Hop-by-hop options.
    pub const HOP: Protocol = Protocol(0);
    /// A routing header.
    pub const ROUTING: Protocol = Protocol(43);
    /// A fragment header.
    pub const FRAGMENT: Protocol = Protocol(44);
    /// An authentication header.
    pub const AUTH: Protocol = Protocol(51);
    /// Destination options.
    pub const DEST: Protocol = Protocol(60);

    /// A header of a kind with what stands behind its first byte, which names the next header, up to a whole number of
    /// the units in which such headers are counted: 8 bytes, and 4 in an authentication header. `None` where the length
    /// that a header tells of itself is another one.
    #[must_use]
    pub fn new(kind: Protocol, behind: &[u8]) -> Option<Self> {
        let bytes: Vec<u8> = [0].iter().chain(behind).copied().collect();
        let told = usize::from(*bytes.get(1)?);
        let length = match kind {
            Self::FRAGMENT => 8,
            Self::AUTH => (told + 2) * 4,
            Self::HOP | Self::ROUTING | Self::DEST => (told + 1) * 8,
            _ => return None,
        };
        (bytes.len() == length).then_some(Self { kind, bytes })
    }

    /// Which header it is, by the number with which the one before it names it.
    #[must_use]
    pub fn kind(&self) -> Protocol {
        self.kind
    }

    /// Its bytes. The first one names what comes next, and is 0 here: [`ExtHeaders::bytes`] fills it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    /// The word that `--ext-headers` has for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.kind {
            Self::HOP => "hop",
            Self::ROUTING => "route",
            Self::FRAGMENT => "frag",
            Self::AUTH => "ah",
            _ => "dst",
        }
    }
}

/// The extension headers between an IPv6 header and what the packet carries, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExtHeaders(Option<Arc<[ExtHeader]>>);

impl ExtHeaders {
    /// These headers.
    #[must_use]
    pub fn new(list: Vec<ExtHeader>) -> Self {
        Self(Some(list).filter(|list| !list.is_empty()).map(Arc::from))
    }

    /// The headers.
    #[must_use]
    pub fn list(&self) -> &[ExtHeader] {
        self.0.as_deref().unwrap_or(&[])
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many bytes they take together.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.list().iter().map(ExtHeader::length).sum()
    }

    /// The first header of a kind, and where behind the IPv6 header it starts (`ipv6_find_hdr` in
    /// `net/ipv6/exthdrs_core.c`).
    #[must_use]
    pub fn find(&self, kind: Protocol) -> Option<(u32, &ExtHeader)> {
        let mut at = 0;
        for header in self.list() {
            if header.kind == kind {
                return Some((at, header));
            }
            at += header.length();
        }
        None
    }

    /// The bytes of all of them, in front of a header of a protocol.
    #[must_use]
    pub fn bytes(&self, last: Protocol) -> Vec<u8> {
        let kinds = self.list().iter().skip(1).map(ExtHeader::kind).chain([last]);
        let with_next = |(header, next): (&ExtHeader, Protocol)| {
            [next.0].into_iter().chain(header.bytes.iter().skip(1).copied()).collect::<Vec<u8>>()
        };
        self.list().iter().zip(kinds).flat_map(with_next).collect()
    }

    /// Each header's word and its bytes in hexadecimal, in front of a header of a protocol.
    #[must_use]
    pub fn hex(&self, last: Protocol) -> Vec<(&'static str, String)> {
        let mut bytes = self.bytes(last).into_iter().map(Some);
        let mut own = |header: &ExtHeader| bytes.by_ref().take(header.bytes.len()).collect::<Vec<_>>();
        self.list().iter().map(|header| (header.word(), options::hex(&own(header)))).collect()
    }

    /// How many of the headers each piece of a split packet has, since routers look at them: those up to a routing
    /// header, or the options in front of everything else (`ip6_find_1stfragopt` in `net/ipv6/output_core.c`).
    #[must_use]
    pub fn in_each_piece(&self) -> usize {
        let mut routed = false;
        let of_router = |header: &&ExtHeader| match header.kind {
            ExtHeader::HOP => true,
            ExtHeader::ROUTING => {
                routed = true;
                true
            }
            ExtHeader::DEST => !routed,
            _ => false,
        };
        self.list().iter().take_while(of_router).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(kind: Protocol) -> ExtHeader {
        ExtHeader::new(kind, &[0, 1, 4, 0, 0, 0, 0]).unwrap()
    }

    #[test]
    fn each_header_names_the_next_one() {
        let headers = ExtHeaders::new(vec![plain(ExtHeader::HOP), plain(ExtHeader::DEST)]);
        let bytes = headers.bytes(Protocol::UDP);
        assert_eq!((bytes.len(), bytes[0], bytes[8]), (16, 60, 17));
        assert_eq!(headers.find(ExtHeader::DEST).map(|(at, _)| at), Some(8));
        assert_eq!(headers.find(ExtHeader::AUTH), None);
    }

    #[test]
    fn a_header_has_the_length_that_it_tells() {
        assert!(ExtHeader::new(ExtHeader::HOP, &[1, 1, 4, 0, 0, 0, 0]).is_none());
        assert!(ExtHeader::new(ExtHeader::AUTH, &[4; 23]).is_some());
        assert!(ExtHeader::new(Protocol::TCP, &[0; 7]).is_none());
    }

    #[test]
    fn options_for_the_receiver_are_in_one_piece_behind_a_routing_header() {
        let list = |kinds: &[Protocol]| ExtHeaders::new(kinds.iter().map(|kind| plain(*kind)).collect());
        assert_eq!(list(&[ExtHeader::HOP, ExtHeader::DEST]).in_each_piece(), 2);
        assert_eq!(list(&[ExtHeader::DEST, ExtHeader::ROUTING, ExtHeader::DEST]).in_each_piece(), 2);
        assert_eq!(list(&[]).in_each_piece(), 0);
    }
}
