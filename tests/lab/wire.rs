//! Frames as the taps see them, decoded as far as the comparison needs.

use std::fmt;
use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket};

/// The UDP port of flannel's userspace relay.
pub const RELAY_PORT: u16 = 8285;

/// Protocol, addresses, ports, identification and length.
pub type Identity = (u8, IpAddr, IpAddr, Option<u16>, Option<u16>, u16, u32);

/// An IP packet's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The IP protocol number.
    pub protocol: u8,
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The source port, of protocols with ports.
    pub source_port: Option<u16>,
    /// The destination port.
    pub destination_port: Option<u16>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// The IP packet's total length.
    pub length: u32,
    /// `(more fragments follow, offset in bytes)`.
    pub fragment: Option<(bool, u32)>,
    /// IPv4's identification.
    pub id: u16,
    /// Don't fragment.
    pub df: bool,
    /// What stands between the IP header's fixed part and the transport header: options, or extension headers.
    pub between: Vec<u8>,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// TCP's flag octet.
    pub tcp_flags: Option<u8>,
    /// TCP's sequence number.
    pub sequence: Option<u32>,
    /// The packet that an ICMP error is about.
    pub quoted: Option<Box<Header>>,
    /// What a tunnel carries: the network identifier (VXLAN only) and the packet.
    pub inner: Option<(Option<u32>, Box<Header>)>,
}

impl Header {
    /// Decodes an Ethernet frame; `None` where it carries no IP.
    pub fn from_ethernet(frame: &[u8]) -> Option<Self> {
        match u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]) {
            0x0800 | 0x86dd => Self::from_ip(frame.get(14..)?),
            // A tag that the kernel has left in the frame, behind the one that it keeps beside it.
            0x8100 | 0x88a8 => Self::from_ethernet(&[frame.get(..12)?, frame.get(16..)?].concat()),
            _ => None,
        }
    }

    /// Decodes an IP packet.
    pub fn from_ip(bytes: &[u8]) -> Option<Self> {
        let sliced = LaxSlicedPacket::from_ip(bytes).ok()?;
        let mut payload = sliced.ip_payload()?.payload;
        let mut header = match sliced.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => {
                let ip = ip.header();
                let offset = u32::from(ip.fragments_offset().value()) * 8;
                Self {
                    source: ip.source_addr().into(),
                    destination: ip.destination_addr().into(),
                    ttl: ip.ttl(),
                    tos: bytes[1],
                    length: ip.total_len().into(),
                    fragment: ip.is_fragmenting_payload().then(|| (ip.more_fragments(), offset)),
                    id: ip.identification(),
                    df: ip.dont_fragment(),
                    between: bytes.get(20..usize::from(ip.ihl()) * 4).unwrap_or_default().to_vec(),
                    ..Self::blank(bytes[9])
                }
            }
            LaxNetSlice::Ipv6(ip) => {
                let next = ip.header();
                // Options for each hop may stand anywhere.
                let (fragment, end, protocol) = extensions(bytes);
                payload = bytes.get(end..).unwrap_or_default();
                Self {
                    source: next.source_addr().into(),
                    destination: next.destination_addr().into(),
                    ttl: next.hop_limit(),
                    tos: next.traffic_class(),
                    length: u32::from(next.payload_length()) + 40,
                    fragment: fragment.and_then(|at| fragment6(bytes, at)),
                    df: true,
                    between: bytes.get(40..end).unwrap_or_default().to_vec(),
                    ..Self::blank(protocol)
                }
            }
            LaxNetSlice::Arp(_) => return None,
        };
        if header.fragment.is_none_or(|(_, offset)| offset == 0) {
            header.read_transport(payload);
        }
        Some(header)
    }

    fn blank(protocol: u8) -> Self {
        Self {
            protocol,
            source: IpAddr::from([0; 4]),
            destination: IpAddr::from([0; 4]),
            source_port: None,
            destination_port: None,
            ttl: 0,
            tos: 0,
            length: 0,
            fragment: None,
            id: 0,
            df: false,
            between: Vec::new(),
            icmp: None,
            tcp_flags: None,
            sequence: None,
            quoted: None,
            inner: None,
        }
    }

    /// Reads what the decision needs, also from the few bytes that an ICMP error quotes.
    fn read_transport(&mut self, payload: &[u8]) {
        let port = |at: usize| Some(u16::from_be_bytes([*payload.get(at)?, *payload.get(at + 1)?]));
        match self.protocol {
            6 | 17 => {
                (self.source_port, self.destination_port) = (port(0), port(2));
                if self.protocol == 6 {
                    self.tcp_flags = payload.get(13).copied();
                    self.sequence =
                        payload.first_chunk::<8>().map(|head| u32::from_be_bytes([head[4], head[5], head[6], head[7]]));
                } else {
                    self.read_tunnel(payload.get(8..).unwrap_or_default(), port(4).unwrap_or(0));
                }
            }
            1 | 58 => {
                let (Some(&kind), Some(&code)) = (payload.first(), payload.get(1)) else { return };
                self.icmp = Some((kind, code));
                if self.is_icmp_error() {
                    self.quoted = payload.get(8..).and_then(Self::from_ip).map(Box::new);
                }
            }
            _ => {}
        }
    }

    /// Tunnels are known by what they carry, since a rule may have changed the port. `length` is the datagram's own, of
    /// which an error may quote less.
    fn read_tunnel(&mut self, payload: &[u8], length: u16) {
        if let [8, 0, 0, 0, a, b, c, 0, frame @ ..] = payload {
            let vni = u32::from_be_bytes([0, *a, *b, *c]);
            self.inner = Self::from_ethernet(frame).map(|inner| (Some(vni), Box::new(inner)));
        } else if let [0x45, _, high, low, ..] = payload
            && u16::from_be_bytes([*high, *low]) == length.saturating_sub(8)
        {
            self.inner = Self::from_ip(payload).map(|inner| (None, Box::new(inner)));
        }
    }

    /// Whether it is an ICMP or ICMPv6 error.
    pub fn is_icmp_error(&self) -> bool {
        match (self.protocol, self.icmp) {
            (1, Some((kind, _))) => matches!(kind, 3 | 4 | 5 | 11 | 12),
            (58, Some((kind, _))) => kind < 128,
            _ => false,
        }
    }

    /// What tells the packet from others of its flow, as far as a rule trace shows it.
    pub fn identity(&self) -> Identity {
        (self.protocol, self.source, self.destination, self.source_port, self.destination_port, self.id, self.length)
    }

    /// Whether it is a fragment after the first, or carries one.
    pub fn is_later_fragment(&self) -> bool {
        let late = |header: &Self| header.fragment.is_some_and(|(_, offset)| offset > 0);
        late(self) || late(self.innermost())
    }

    /// The packet that tunnels carry, or the packet itself.
    pub fn innermost(&self) -> &Self {
        self.inner.as_ref().map_or(self, |(_, inner)| inner.innermost())
    }

    /// What goes on in every network without anybody's asking: neighbour discovery, group membership, redirects.
    pub fn is_background(&self) -> bool {
        if self.destination.is_multicast() {
            return true;
        }
        match (self.protocol, self.icmp) {
            // What link-local addresses say to each other is about neighbours, and so are errors about it.
            (58, Some(_)) if is_link_local(self.source) && is_link_local(self.destination) => true,
            (58, Some((kind, _))) => (130..=137).contains(&kind) || kind == 143,
            (1, Some((kind, _))) => kind == 5,
            (protocol, _) => protocol == 2,
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Where the fragment header of IPv6 stands, where the extension headers end, and what comes next.
fn extensions(bytes: &[u8]) -> (Option<usize>, usize, u8) {
    let (mut next, mut at, mut fragment) = (bytes.get(6).copied(), 40, None);
    while let (Some(kind @ (0 | 43 | 44 | 51 | 60)), Some(length)) = (next, bytes.get(at + 1)) {
        if kind == 44 {
            fragment = Some(at);
        }
        next = bytes.get(at).copied();
        at += match kind {
            44 => 8,
            51 => (usize::from(*length) + 2) * 4,
            _ => (usize::from(*length) + 1) * 8,
        };
        let later = |place| bytes.get(place + 2..place + 4).is_some_and(|field| field[0] != 0 || field[1] & 0xf8 != 0);
        // Behind the header of a later piece stands no other.
        if fragment.is_some_and(later) {
            break;
        }
    }
    (fragment, at, next.unwrap_or(59))
}

/// The fragment header of a piece; one that splits nothing makes none.
fn fragment6(bytes: &[u8], at: usize) -> Option<(bool, u32)> {
    let field = u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]);
    (field & !6 != 0).then_some((field & 1 == 1, u32::from(field & !7)))
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((vni, inner)) = &self.inner {
            write!(f, "{{{} > {}", self.source, self.destination)?;
            write!(f, ":{}", self.destination_port.unwrap_or(0))?;
            if let Some(vni) = vni {
                write!(f, " vni {vni}")?;
            }
            return write!(f, " ttl {}}} {inner}", self.ttl);
        }
        let name = match self.protocol {
            1 => "icmp".to_owned(),
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            58 => "icmpv6".to_owned(),
            number => number.to_string(),
        };
        let endpoint = |address: IpAddr, port: Option<u16>| match port {
            Some(port) => format!("{address}.{port}"),
            None => address.to_string(),
        };
        let (source, destination) =
            (endpoint(self.source, self.source_port), endpoint(self.destination, self.destination_port));
        write!(f, "{name} {source} > {destination} ttl {} length {}", self.ttl, self.length)?;
        if let Some((kind, code)) = self.icmp {
            write!(f, " type {kind} code {code}")?;
        }
        if let Some(flags) = self.tcp_flags {
            write!(f, " flags {flags:#04x}")?;
        }
        if let Some((_, offset)) = self.fragment {
            write!(f, " fragment {offset}")?;
        }
        if !self.between.is_empty() {
            write!(f, " between {:02x?}", self.between)?;
        }
        Ok(())
    }
}
