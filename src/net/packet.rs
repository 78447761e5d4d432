//! The packet: one type, whether it comes from a question or from a capture.

use std::fmt;
use std::net::IpAddr;

use super::{ExtHeader, ExtHeaders, Family, IpOptions, MacAddr, Mark, VlanTag, Vni};

/// A packet as it is at one place: link, network and transport headers, and what the kernel keeps beside them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The Ethernet header, `None` on devices without one and before the packet has reached a device.
    pub link: Option<Link>,
    /// The frame's VLAN tags, the outermost first.
    pub tags: Vec<VlanTag>,
    /// The IP header.
    pub ip: Ip,
    /// The options of an IPv4 header.
    pub options: IpOptions,
    /// The extension headers of IPv6. Those that split packets are in [`Packet::fragments`] instead.
    pub extensions: ExtHeaders,
    /// What follows the IP header and its options or extensions.
    pub transport: Transport,
    /// `skb->mark`.
    pub mark: Mark,
    /// The IP packet's total length in bytes (header included), as if never fragmented.
    pub length: u32,
    /// How many fragments carry the packet, where it has been fragmented.
    pub fragments: Option<Fragments>,
    /// The packet that a tunnel carries inside this one.
    pub inner: Option<Box<Packet>>,
    /// How `inner` is wrapped; always present together with it.
    pub encapsulation: Option<Encapsulation>,
}

/// An Ethernet header's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The sending device's address.
    pub source: MacAddr,
    /// The receiving device's address, or a group.
    pub destination: MacAddr,
}

/// The fields of an IPv4 or IPv6 header that decide something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ip {
    /// The source address.
    pub source: IpAddr,
    /// The destination address, of the same family.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// The TOS octet, or the traffic class.
    pub tos: u8,
    /// Don't fragment. Always true in IPv6, where routers never fragment.
    pub df: bool,
}

/// A fragmented packet's pieces, which are walked as one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragments {
    /// How many there are.
    pub count: u32,
    /// Total length in bytes of the largest piece, IP header included.
    pub largest: u32,
}

/// A tunnel header between an outer and an inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// VXLAN over UDP: 8 bytes with the network identifier, then an Ethernet frame.
    Vxlan(Vni),
    /// The datagram of a userspace relay (flannel's udp backend): the inner IP packet is the UDP payload.
    Relay,
}

/// An IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    /// Whether the protocol has source and destination ports at the start of its header.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(self.0, 6 | 17 | 33 | 132 | 136)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("icmp"),
            2 => f.write_str("igmp"),
            6 => f.write_str("tcp"),
            17 => f.write_str("udp"),
            33 => f.write_str("dccp"),
            47 => f.write_str("gre"),
            50 => f.write_str("esp"),
            51 => f.write_str("ah"),
            58 => f.write_str("icmpv6"),
            132 => f.write_str("sctp"),
            136 => f.write_str("udplite"),
            n => write!(f, "{n}"),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A transport header. A port of `None` is one that nobody can know from a snapshot (for example after a
/// `--random-fully` port choice).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A TCP segment.
    Tcp {
        /// Source port.
        source: Option<u16>,
        /// Destination port.
        destination: Option<u16>,
        /// The flag octet: FIN 0x01, SYN 0x02, RST 0x04, PSH 0x08, ACK 0x10, URG 0x20, ECE 0x40, CWR 0x80.
        flags: u8,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        source: Option<u16>,
        /// Destination port.
        destination: Option<u16>,
    },
    /// An SCTP packet.
    Sctp {
        /// Source port.
        source: Option<u16>,
        /// Destination port.
        destination: Option<u16>,
    },
    /// An ICMP or ICMPv6 message (which one is the address family's matter).
    Icmp {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// The identifier of an echo; `None` in other messages and where it can't be known.
        id: Option<u16>,
        /// The headers of the packet that an error is about.
        quoted: Option<Box<Packet>>,
    },
    /// Any other protocol, of which only the number is known.
    Other(Protocol),
}

impl Packet {
    /// A packet without link header, mark or tunnel.
    #[must_use]
    pub fn new(ip: Ip, transport: Transport, length: u32) -> Self {
        Self {
            link: None,
            tags: Vec::new(),
            ip,
            options: IpOptions::default(),
            extensions: ExtHeaders::default(),
            transport,
            mark: Mark(0),
            length,
            fragments: None,
            inner: None,
            encapsulation: None,
        }
    }

    /// The total length in bytes of the last piece of a packet that came in pieces, which is what the others leave
    /// over.
    #[must_use]
    pub fn last_piece(&self) -> Option<u32> {
        let pieces = self.fragments?;
        let (header, extra) = self.piece_headers();
        let full = pieces.largest.saturating_sub(header + extra);
        let rest = self.length.saturating_sub(header);
        Some(rest.saturating_sub(full.saturating_mul(pieces.count.saturating_sub(1))) + header + extra)
    }

    /// How many bytes stand in front of the transport header.
    #[must_use]
    pub fn header_length(&self) -> u32 {
        match self.family() {
            Family::Inet => 20 + self.options.length(),
            Family::Inet6 => 40 + self.extensions.length(),
        }
    }

    /// How many bytes of headers each piece has, and those of the fragment header among them, which the whole packet
    /// doesn't have.
    #[must_use]
    pub fn piece_headers(&self) -> (u32, u32) {
        match self.family() {
            Family::Inet => (self.header_length(), 0),
            Family::Inet6 => {
                let each = self.extensions.list().iter().take(self.extensions.in_each_piece());
                (40 + each.map(ExtHeader::length).sum::<u32>(), 8)
            }
        }
    }

    /// Whether a later piece doesn't tell what the packet carries: extension headers stand behind the fragment header
    /// (`ipv6_find_hdr` in `net/ipv6/exthdrs_core.c` finds nothing there).
    #[must_use]
    pub fn hides_protocol(&self) -> bool {
        self.extensions.list().len() > self.extensions.in_each_piece()
    }

    /// The number of what the IP header itself says comes next: the first extension header, or the transport's.
    #[must_use]
    pub fn next_header(&self) -> Protocol {
        self.extensions.list().first().map_or_else(|| self.protocol(), ExtHeader::kind)
    }

    /// The transport protocol as nf_tables has it, which takes an authentication header of IPv6 for one
    /// (`nft_set_pktinfo_ipv6` in `include/net/netfilter/nf_tables_ipv6.h` stops there).
    #[must_use]
    pub fn nft_protocol(&self) -> Protocol {
        self.extensions.find(ExtHeader::AUTH).map_or_else(|| self.protocol(), |(_, header)| header.kind())
    }

    /// Where that one's header starts.
    #[must_use]
    pub fn nft_transport(&self) -> u32 {
        self.extensions.find(ExtHeader::AUTH).map_or_else(|| self.header_length(), |(at, _)| 40 + at)
    }

    /// The address family, from the source address.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.ip.destination)
    }

    /// The IP protocol number.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self.transport {
            Transport::Tcp { .. } => Protocol::TCP,
            Transport::Udp { .. } => Protocol::UDP,
            Transport::Sctp { .. } => Protocol::SCTP,
            Transport::Icmp { .. } if self.ip.destination.is_ipv6() => Protocol::ICMPV6,
            Transport::Icmp { .. } => Protocol::ICMP,
            Transport::Other(protocol) => protocol,
        }
    }

    /// The source port, `None` where the protocol has none or it is unknown.
    #[must_use]
    pub fn source_port(&self) -> Option<u16> {
        match self.transport {
            Transport::Tcp { source, .. } | Transport::Udp { source, .. } | Transport::Sctp { source, .. } => source,
            Transport::Icmp { .. } | Transport::Other(_) => None,
        }
    }

    /// The destination port, `None` where the protocol has none or it is unknown.
    #[must_use]
    pub fn destination_port(&self) -> Option<u16> {
        match self.transport {
            Transport::Tcp { destination, .. }
            | Transport::Udp { destination, .. }
            | Transport::Sctp { destination, .. } => destination,
            Transport::Icmp { .. } | Transport::Other(_) => None,
        }
    }

    /// Whether the packet is an ICMP or ICMPv6 error, which quotes another packet and may cause no error itself.
    #[must_use]
    pub fn is_icmp_error(&self) -> bool {
        match self.transport {
            Transport::Icmp { kind, .. } if self.ip.destination.is_ipv6() => kind < 128,
            Transport::Icmp { kind, .. } => matches!(kind, 3 | 4 | 5 | 11 | 12),
            _ => false,
        }
    }

    /// Whether the kernel makes no ICMP error about the packet: it is one itself, or an ICMP message of IPv4 that may
    /// be one for all it knows (`icmp_pointers` and `__icmp_send` in `net/ipv4/icmp.c`).
    #[must_use]
    pub fn gets_no_icmp_error(&self) -> bool {
        let unknown = match self.transport {
            Transport::Icmp { kind, .. } if self.ip.destination.is_ipv4() => {
                matches!(kind, 1 | 2 | 6 | 7 | 9 | 10 | 19..)
            }
            _ => false,
        };
        unknown || self.is_icmp_error()
    }

    /// The innermost packet: what the tunnels carry, or the packet itself.
    #[must_use]
    pub fn innermost(&self) -> &Self {
        let mut packet = self;
        while let Some(inner) = &packet.inner {
            packet = inner;
        }
        packet
    }
}
