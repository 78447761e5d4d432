//! What is wrong with a packet, or beyond this decoder.

use std::fmt;

use super::{Kind, LinkType};

/// Where and why a packet is not decoded to its end, or what about it can't be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The offset of the byte that tells so in the captured bytes.
    pub offset: u32,
    /// What is the matter.
    pub reason: Reason,
}

/// Why a packet is not decoded further, or what about it can't be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The capture kept too few bytes of the packet for this header.
    Cut(Kind),
    /// What carries this header ends before it does.
    Short(Kind),
    /// A length field is smaller than the header that has it. The number is what it says, in bytes.
    TooSmall(Kind, u32),
    /// A length field announces more than what carries the header has; decoding goes on with what is there. The numbers
    /// are what it announces and what is there, in bytes.
    TooLarge(Kind, u32, u32),
    /// The version field of a header has a number that its protocol doesn't have.
    Version(Kind, u8),
    /// VXLAN without the flag that makes its VNI valid; the kernel drops it.
    NoVni,
    /// The link type is not supported.
    Link(LinkType),
    /// No decoder for what an Ethernet type announces.
    EtherType(u16),
    /// No decoder for what a PPP protocol number announces.
    PppProtocol(u16),
    /// No decoder for an IP protocol.
    Protocol(u8),
    /// No decoder for an address family of a loopback header.
    AddressFamily(u32),
    /// No decoder for a device type of a cooked capture (ARPHRD).
    Device(u16),
    /// What follows is in no known format.
    Unknown(Kind),
    /// There are more headers than are decoded.
    Deep,
}

impl Reason {
    /// Whether the packet itself is at fault, and not what was kept of it or what is known here.
    #[must_use]
    pub fn is_malformed(self) -> bool {
        matches!(self, Self::Short(_) | Self::TooSmall(..) | Self::TooLarge(..) | Self::Version(..) | Self::NoVni)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Cut(kind) => write!(f, "the capture ends within the {} header", kind.name()),
            Self::Short(kind) => write!(f, "the packet ends within the {} header", kind.name()),
            Self::TooSmall(kind, says) => write!(f, "{} says a length of {says}, less than its header", kind.name()),
            Self::TooLarge(kind, says, has) => {
                write!(f, "{} says a length of {says}, but {has} bytes are there", kind.name())
            }
            Self::Version(kind, version) => write!(f, "{} has no version {version}", kind.name()),
            Self::NoVni => f.write_str("vxlan without the flag that makes its VNI valid"),
            Self::Link(link_type) if link_type.is_wireless() => f.write_str("802.11 frames are not supported"),
            Self::Link(LinkType::UNKNOWN) => f.write_str("the link type is not known"),
            Self::Link(link_type) => write!(f, "link type {link_type} is not supported"),
            Self::EtherType(number) => write!(f, "ethernet type {number:#06x} is not decoded"),
            Self::PppProtocol(number) => write!(f, "ppp protocol {number:#06x} is not decoded"),
            Self::Protocol(number) => write!(f, "ip protocol {number} is not decoded"),
            Self::AddressFamily(number) => write!(f, "address family {number} is not decoded"),
            Self::Device(number) => write!(f, "device type {number} is not decoded"),
            Self::Deep => f.write_str("more than 10000 headers are not decoded"),
            Self::Unknown(kind) => write!(f, "what {} carries is in no known format", kind.name()),
        }
    }
}
