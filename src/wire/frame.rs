//! A packet as a capture holds it.

use std::fmt;

/// A captured packet. Its bytes are lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its place in the capture, from 1.
    pub number: u64,
    /// When it was seen; `None` where the capture doesn't say (a simple packet of pcapng).
    pub time: Option<Time>,
    /// The capture point's place in the list of interfaces of the capture, from 0.
    pub interface: u32,
    /// What its first header is.
    pub link_type: LinkType,
    /// Its length on the wire, in bytes.
    pub length: u32,
    /// As many of its bytes as were kept.
    pub bytes: &'a [u8],
}

/// A moment, to the nanosecond, of any year that a capture file can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970, rounded down.
    pub seconds: i64,
    /// Nanoseconds of that second, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Time {
    /// Nanoseconds since 1970. Years before 1677 and after 2262 become the nearest that fit.
    #[must_use]
    pub fn since_epoch(self) -> i64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(self.nanoseconds.into())
    }

    /// How many nanoseconds later than another moment it is; negative where it is earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        let seconds = self.seconds.saturating_sub(earlier.seconds);
        let nanoseconds = i64::from(self.nanoseconds) - i64::from(earlier.nanoseconds);
        seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
    }
}

/// A link layer, as a number of the list of LINKTYPE values that capture files have
/// (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// That of packets whose interface no capture describes: no list has this number.
    pub const UNKNOWN: Self = Self(u16::MAX);
    /// BSD loopback: four bytes of address family in the byte order of the machine that captured.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without HDLC's address and control octets.
    pub const PPP: Self = Self(9);
    /// What some systems write for raw IP, which is [`Self::RAW`].
    pub const RAW_BSD: Self = Self(12);
    /// The same on OpenBSD.
    pub const RAW_OPENBSD: Self = Self(14);
    /// PPP with HDLC's octets always there.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE: the packet begins with the PPPoE header.
    pub const PPP_ETHER: Self = Self(51);
    /// IPv4 or IPv6 without a link layer.
    pub const RAW: Self = Self(101);
    /// IEEE 802.11.
    pub const IEEE802_11: Self = Self(105);
    /// OpenBSD loopback: as [`Self::NULL`], in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1 (device `any`).
    pub const LINUX_SLL: Self = Self(113);
    /// IEEE 802.11 behind a Prism header.
    pub const PRISM: Self = Self(119);
    /// IEEE 802.11 behind a radiotap header.
    pub const RADIOTAP: Self = Self(127);
    /// IEEE 802.11 behind an AVS header.
    pub const AVS: Self = Self(163);
    /// IPv4 without a link layer.
    pub const IPV4: Self = Self(228);
    /// IPv6 without a link layer.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);

    /// Whether its packets are IEEE 802.11 frames.
    #[must_use]
    pub fn is_wireless(self) -> bool {
        matches!(self, Self::IEEE802_11 | Self::PRISM | Self::RADIOTAP | Self::AVS)
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::NULL => "null",
            Self::ETHERNET => "ethernet",
            Self::PPP | Self::PPP_HDLC => "ppp",
            Self::PPP_ETHER => "pppoe",
            Self::RAW | Self::RAW_BSD | Self::RAW_OPENBSD => "raw",
            Self::LOOP => "loop",
            Self::LINUX_SLL => "linux-sll",
            Self::LINUX_SLL2 => "linux-sll2",
            Self::IPV4 => "ipv4",
            Self::IPV6 => "ipv6",
            link_type if link_type.is_wireless() => "802.11",
            Self(number) => return write!(f, "{number}"),
        };
        f.write_str(name)
    }
}
