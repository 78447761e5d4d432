//! Where a packet's parts begin, link layer by link layer, as `init_linktype` of libpcap's gencode.c has it.

use super::program::{Place, ZERO};
use crate::wire::LinkType;

/// A link layer that filters can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    /// Linux cooked, version 1.
    Cooked,
    /// Linux cooked, version 2.
    Cooked2,
    /// IPv4 or IPv6 without a link layer.
    Raw,
    RawIp,
    RawIp6,
    /// BSD's loopback: a number of 4 bytes in the order of the machine that captured.
    Null,
    /// The same in network order.
    Loop,
    /// PPP behind an address and a control byte.
    Ppp,
    /// PPP in HDLC's framing.
    PppSerial,
    /// PPP behind a PPPoE session header.
    PppEther,
    /// Any other: nothing is known of where its parts begin.
    Other,
}

impl Link {
    /// All of them.
    pub(super) const ALL: [Self; 12] = [
        Self::Ethernet,
        Self::Cooked,
        Self::Cooked2,
        Self::Raw,
        Self::RawIp,
        Self::RawIp6,
        Self::Null,
        Self::Loop,
        Self::Ppp,
        Self::PppSerial,
        Self::PppEther,
        Self::Other,
    ];

    /// The link layer of a number of the list of LINKTYPE values that capture files have.
    pub(super) fn of(number: u16) -> Self {
        match LinkType(number) {
            LinkType::ETHERNET => Self::Ethernet,
            LinkType::LINUX_SLL => Self::Cooked,
            LinkType::LINUX_SLL2 => Self::Cooked2,
            LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => Self::Raw,
            LinkType::IPV4 => Self::RawIp,
            LinkType::IPV6 => Self::RawIp6,
            LinkType::NULL => Self::Null,
            LinkType::LOOP => Self::Loop,
            LinkType::PPP => Self::Ppp,
            LinkType::PPP_HDLC => Self::PppSerial,
            LinkType::PPP_ETHER => Self::PppEther,
            _ => Self::Other,
        }
    }

    /// Its packets, for a sentence.
    pub(super) fn packets(self) -> &'static str {
        match self {
            Self::Ethernet => "Ethernet packets",
            Self::Cooked | Self::Cooked2 => "packets of Linux' cooked captures",
            Self::Raw | Self::RawIp | Self::RawIp6 => "raw IP packets",
            Self::Null | Self::Loop => "packets of a loopback capture",
            Self::Ppp | Self::PppSerial | Self::PppEther => "PPP packets",
            Self::Other => "packets of a link layer that flowtrace does not read",
        }
    }
}

/// Where the parts of a packet begin that a filter's next question is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) link: Link,
    /// The link layer.
    pub(super) header: Place,
    /// The type of what it carries.
    pub(super) link_type: Place,
    /// What it carries.
    pub(super) payload: Place,
    /// The header of the network layer, counted from there: behind MPLS labels.
    pub(super) network: u32,
    /// Whether there are MPLS labels.
    pub(super) is_labelled: bool,
    /// The innermost tunnel.
    pub(super) tunnel: Option<u8>,
}

impl Layout {
    /// That of a whole packet.
    pub(super) fn new(link: Link) -> Self {
        let (link_type, payload) = match link {
            Link::Ethernet => (12, 14),
            Link::Cooked => (14, 16),
            Link::Cooked2 => (0, 20),
            Link::Null | Link::Loop => (0, 4),
            Link::Ppp | Link::PppSerial => (2, 4),
            Link::PppEther => (6, 8),
            // Raw packets have no type that would be looked at, and of others nothing is asked by its place.
            Link::Raw | Link::RawIp | Link::RawIp6 | Link::Other => (0, 0),
        };
        let place = |at| Place { base: ZERO, at };
        Self {
            link,
            header: place(0),
            link_type: place(link_type),
            payload: place(payload),
            network: 0,
            is_labelled: false,
            tunnel: None,
        }
    }

    /// The places of the link layer, of the type of what it carries and of that. Where the type is not Ethernet's, they are
    /// beyond any packet: what is asked by them can't be answered.
    pub(super) fn places(&self) -> [Place; 3] {
        match self.link {
            Link::Ethernet | Link::Cooked | Link::Cooked2 if !self.is_labelled => {
                [self.header, self.link_type, self.payload]
            }
            _ => [Place { base: ZERO, at: u32::MAX }; 3],
        }
    }

    /// A place in the network header.
    pub(super) fn network(&self, at: u32) -> Place {
        let payload = self.payload;
        Place { at: payload.at.wrapping_add(self.network).wrapping_add(at), ..payload }
    }
}
