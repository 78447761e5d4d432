//! What a header is, and where it stands.

/// A header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it is.
    pub kind: Kind,
    /// The offset of its first byte in the captured bytes.
    pub start: u32,
    /// The offset of what it carries. That may lie beyond the bytes that were captured.
    pub body: u32,
    /// Where what it carries ends on the wire, by the length fields met so far. That may lie beyond the bytes that
    /// were captured.
    pub end: u32,
}

impl Layer {
    /// The bytes of the header itself, as far as they were captured: of all that were.
    #[must_use]
    pub fn header(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..bytes.len().min(self.body as usize)).unwrap_or_default()
    }

    /// How many bytes it carries on the wire.
    #[must_use]
    pub fn carries(self) -> u32 {
        self.end.saturating_sub(self.body)
    }

    /// The same, of what was captured; `None` where that doesn't tell: TCP's header was cut before the offset of its data.
    #[must_use]
    pub fn told_to_carry(self, bytes: &[u8]) -> Option<u32> {
        let is_told = self.kind != Kind::Tcp || self.header(bytes).len() > 12;
        is_told.then(|| self.carries())
    }
}

/// What a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// An Ethernet II or IEEE 802.3 header.
    Ethernet,
    /// A Linux cooked header, version 1.
    LinuxSll,
    /// A Linux cooked header, version 2.
    LinuxSll2,
    /// The address family before a packet of a loopback device (BSD).
    Loopback,
    /// PPP's protocol field, with HDLC's octets before it where they are there.
    Ppp,
    /// A PPPoE header.
    Pppoe,
    /// An IEEE 802.2 header, with SNAP's part where it is there.
    Llc,
    /// An IEEE 802.1Q or 802.1ad tag.
    Vlan,
    /// An entry of an MPLS label stack.
    Mpls,
    /// The control word between MPLS labels and an Ethernet frame (RFC 4448).
    ControlWord,
    /// An ARP (or RARP) packet.
    Arp,
    /// An IPv4 header with its options.
    Ipv4,
    /// An IPv6 header.
    Ipv6,
    /// IPv6 hop-by-hop options.
    HopByHop,
    /// An IPv6 routing header.
    Routing,
    /// IPv6 destination options.
    DestinationOptions,
    /// An IPv6 fragment header.
    FragmentHeader,
    /// An IPv6 mobility header (RFC 6275).
    Mobility,
    /// An IPsec authentication header.
    Authentication,
    /// An IPsec ESP header; what follows is encrypted.
    Esp,
    /// A part of an IP packet that is not its first: no header of its own, only bytes.
    Fragment,
    /// An ICMP header.
    Icmp,
    /// An ICMPv6 header.
    Icmpv6,
    /// An IGMP message.
    Igmp,
    /// A TCP header with its options.
    Tcp,
    /// A UDP header.
    Udp,
    /// An SCTP common header.
    Sctp,
    /// A GRE header.
    Gre,
    /// An ERSPAN header of type II or III.
    Erspan,
    /// A VXLAN header.
    Vxlan,
    /// A Geneve header with its options.
    Geneve,
    /// flannel's udp backend: no header, an IP packet is the UDP payload.
    FlannelUdp,
    /// Teredo (RFC 4380): an IPv6 packet is the UDP payload, behind an authentication and an origin where they are there.
    Teredo,
    /// A WireGuard message; what follows is encrypted.
    Wireguard,
    /// A DNS message.
    Dns,
    /// What an ICMP error quotes begins here: no header of its own.
    Quote,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::Quote as usize + 1;

    /// The word for it in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "ethernet",
            Self::LinuxSll => "linux-sll",
            Self::LinuxSll2 => "linux-sll2",
            Self::Loopback => "loopback",
            Self::Ppp => "ppp",
            Self::Pppoe => "pppoe",
            Self::Llc => "llc",
            Self::Vlan => "vlan",
            Self::Mpls => "mpls",
            Self::ControlWord => "control-word",
            Self::Arp => "arp",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::HopByHop => "hop-by-hop",
            Self::Routing => "routing",
            Self::DestinationOptions => "destination-options",
            Self::FragmentHeader => "fragment-header",
            Self::Mobility => "mobility",
            Self::Authentication => "ah",
            Self::Esp => "esp",
            Self::Fragment => "fragment",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
            Self::Igmp => "igmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::FlannelUdp => "flannel-udp",
            Self::Teredo => "teredo",
            Self::Wireguard => "wireguard",
            Self::Dns => "dns",
            Self::Quote => "quote",
        }
    }

    /// Whether it has the addresses of a packet: IP, and ARP.
    #[must_use]
    pub fn is_network(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv6 | Self::Arp)
    }

    /// Whether it is the header behind IP's, and says what the packet is for.
    #[must_use]
    pub fn is_transport(self) -> bool {
        matches!(
            self,
            Self::Tcp
                | Self::Udp
                | Self::Sctp
                | Self::Icmp
                | Self::Icmpv6
                | Self::Igmp
                | Self::Gre
                | Self::Esp
                | Self::Mobility
                | Self::Fragment
        )
    }

    /// Whether a header of IPv6 that may stand between IP's and the transport's.
    #[must_use]
    pub fn is_extension(self) -> bool {
        matches!(
            self,
            Self::HopByHop | Self::Routing | Self::DestinationOptions | Self::FragmentHeader | Self::Authentication
        )
    }
}
