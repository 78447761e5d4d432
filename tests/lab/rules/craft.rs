//! Packets made by hand, as bytes for the kernel and as a question for the engine.

use std::net::{IpAddr, Ipv4Addr};

use flowtrace::net::{Ip, IpOptions, Mark, Packet, Protocol, Transport, VlanProtocol, VlanTag};

use super::between::{self, Extension};
use super::router::NEAR_MAC;

/// What the wire takes in one piece.
const MTU: usize = 1500;

/// What follows the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// An echo request, or another message with an identifier.
    Icmp {
        kind: u8,
        code: u8,
        id: u16,
    },
    Tcp {
        source: u16,
        destination: u16,
        flags: u8,
    },
    /// A segment of TCP with a sequence number of its own.
    Segment {
        ports: (u16, u16),
        flags: u8,
        sequence: u32,
        acknowledged: u32,
    },
    Udp {
        source: u16,
        destination: u16,
    },
    /// An INIT.
    Sctp {
        source: u16,
        destination: u16,
    },
    /// Chunks of SCTP of 20 bytes, by their types, of an association with a tag.
    Chunks {
        ports: (u16, u16),
        kinds: &'static [u8],
    },
    /// An error of ICMP about a datagram, of whose header it quotes so many bytes.
    About {
        kind: u8,
        code: u8,
        datagram: Datagram,
        quoted: usize,
    },
    /// A protocol of which nothing is known but its number.
    Other(u8),
}

/// A datagram of UDP in IPv4 that carries nothing: its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub source: (Ipv4Addr, u16),
    pub destination: (Ipv4Addr, u16),
}

impl Datagram {
    fn bytes(self, quoted: usize) -> Vec<u8> {
        let mut header = vec![0x45, 0, 0, 28, 0x43, 0x21, 0, 0, 63, 17, 0, 0];
        header.extend(self.source.0.octets());
        header.extend(self.destination.0.octets());
        let sum = checksum(&header, 0);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        let ports = [self.source.1, self.destination.1].map(u16::to_be_bytes).concat();
        let datagram = [ports, vec![0, 8, 0, 0]].concat();
        [&header, &datagram[..quoted]].concat()
    }
}

/// A packet.
#[derive(Clone, Copy, Debug)]
pub struct Crafted {
    /// Whether the router itself sends it.
    pub local: bool,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub payload: Payload,
    pub ttl: u8,
    pub tos: u8,
    pub df: bool,
    /// Bytes after the transport header.
    pub data: u16,
    /// Whether a SYN offers a maximum segment size, as every stack's does.
    pub mss: bool,
    /// The sending socket's mark, where the router itself sends.
    pub mark: u32,
    /// The options of IPv4, in whole words.
    pub options: &'static [u8],
    /// The extension headers of IPv6.
    pub extensions: &'static [Extension],
    /// The link address that the frame is for; the router's own by default.
    pub to: &'static str,
    /// The frame's VLAN tags, the outermost first: each its protocol's number, the VLAN, with DEI before it, and the
    /// priority.
    pub tags: &'static [Tag],
}

/// A VLAN tag.
pub type Tag = (VlanProtocol, u16, u8);

impl Crafted {
    /// A datagram from one side of the router to the other.
    pub fn datagram() -> Self {
        Self {
            local: false,
            source: [192, 0, 2, 99].into(),
            destination: [198, 51, 100, 7].into(),
            payload: Payload::Udp { source: 4000, destination: 53 },
            ttl: 64,
            tos: 0,
            df: false,
            data: 20,
            mss: true,
            mark: 0,
            options: &[],
            extensions: &[],
            to: NEAR_MAC,
            tags: &[],
        }
    }

    /// The IP protocol number.
    pub fn protocol(&self) -> u8 {
        match self.payload {
            Payload::Icmp { .. } if self.source.is_ipv6() => 58,
            Payload::Icmp { .. } | Payload::About { .. } => 1,
            Payload::Tcp { .. } | Payload::Segment { .. } => 6,
            Payload::Udp { .. } => 17,
            Payload::Sctp { .. } | Payload::Chunks { .. } => 132,
            Payload::Other(number) => number,
        }
    }

    /// The question that flowtrace is asked.
    pub fn packet(&self) -> Packet {
        let transport = match self.payload {
            Payload::Icmp { kind, code, id } => Transport::Icmp { kind, code, id: Some(id), quoted: None },
            Payload::Tcp { source, destination, flags }
            | Payload::Segment { ports: (source, destination), flags, .. } => {
                Transport::Tcp { source: Some(source), destination: Some(destination), flags }
            }
            Payload::Udp { source, destination } => {
                Transport::Udp { source: Some(source), destination: Some(destination) }
            }
            Payload::Sctp { source, destination } | Payload::Chunks { ports: (source, destination), .. } => {
                Transport::Sctp { source: Some(source), destination: Some(destination) }
            }
            Payload::About { kind, code, datagram, quoted } => {
                let quoted = Packet::quoted(&datagram.bytes(quoted), false).map(Box::new);
                Transport::Icmp { kind, code, id: None, quoted }
            }
            Payload::Other(number) => Transport::Other(Protocol(number)),
        };
        let v6 = self.source.is_ipv6();
        let ip =
            Ip { source: self.source, destination: self.destination, ttl: self.ttl, tos: self.tos, df: self.df || v6 };
        let mut packet = Packet::new(ip, transport, self.bytes().len() as u32);
        packet.mark = Mark(self.mark);
        packet.options = IpOptions::known(self.options);
        packet.extensions = between::headers(self.extensions);
        let tag = |&(protocol, id, priority): &Tag| VlanTag {
            protocol,
            id: id & 0x0fff,
            priority: Some(priority),
            drop_eligible: id & 0x1000 != 0,
        };
        packet.tags = self.tags.iter().map(tag).collect();
        packet
    }

    /// What stands in a frame between its addresses and the packet.
    pub fn ether_type(&self) -> Vec<u8> {
        let tags = self.tags.iter().flat_map(|(protocol, id, priority)| {
            [protocol.number().to_be_bytes(), (u16::from(*priority) << 13 | id).to_be_bytes()].concat()
        });
        tags.chain(if self.source.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] }).collect()
    }

    /// The IP packet as it comes over a wire, in pieces where that is too narrow.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let bytes = self.bytes();
        if bytes.len() <= MTU || self.local {
            return vec![bytes];
        }
        let v6 = self.source.is_ipv6();
        let each = between::headers(self.extensions).in_each_piece();
        let each: usize = self.extensions.iter().take(each).map(|(_, behind)| behind.len() + 1).sum();
        let (header, rest) = bytes.split_at(if v6 { 40 + each } else { 20 + self.options.len() });
        let room = (MTU - header.len() - if v6 { 8 } else { 0 }) / 8 * 8;
        let count = rest.len().div_ceil(room);
        let places = rest.chunks(room).enumerate();
        places
            .map(|(n, piece)| {
                let (offset, more) = ((n * room) as u16, u16::from(n + 1 < count));
                if v6 { piece6(header, piece, offset, more) } else { piece4(header, piece, offset, more) }
            })
            .collect()
    }

    /// The IP packet.
    pub fn bytes(&self) -> Vec<u8> {
        let body = self.body();
        let mut bytes = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let length = (20 + self.options.len() + body.len()) as u16;
                let mut header = vec![0x45 + (self.options.len() / 4) as u8, self.tos];
                header.extend(length.to_be_bytes());
                header.extend([0x12, 0x34, if self.df { 0x40 } else { 0 }, 0, self.ttl, self.protocol(), 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                header.extend(self.options);
                let sum = checksum(&header, 0);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                header
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut header = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
                let between = between::headers(self.extensions);
                header.extend(((between.length() as usize + body.len()) as u16).to_be_bytes());
                header.extend([between.list().first().map_or(self.protocol(), |first| first.kind().0), self.ttl]);
                header.extend(source.octets());
                header.extend(destination.octets());
                header.extend(between.bytes(Protocol(self.protocol())));
                header
            }
            _ => panic!("{self:?} has two families"),
        };
        bytes.extend(body);
        bytes
    }

    /// What follows the transport header.
    pub fn carried(&self) -> Vec<u8> {
        let body = self.body();
        let header = match self.payload {
            Payload::Tcp { .. } | Payload::Segment { .. } => usize::from(body[12] >> 4) * 4,
            Payload::Udp { .. } | Payload::Icmp { .. } | Payload::About { .. } => 8,
            Payload::Sctp { .. } | Payload::Chunks { .. } => 12,
            Payload::Other(_) => 0,
        };
        body[header..].to_vec()
    }

    /// The transport header and what follows, with its checksum.
    fn body(&self) -> Vec<u8> {
        let ports = |source: u16, destination: u16| [source.to_be_bytes(), destination.to_be_bytes()].concat();
        // A tunnel's header of zeros is one of version 0 without options.
        let least = if matches!(self.payload, Payload::Other(_)) { 8 } else { 0 };
        let words = if least > 0 { [0; 5] } else { *b"GET /" };
        let data: Vec<u8> = words.into_iter().cycle().take(usize::from(self.data).max(least)).collect();
        let (mut body, at) = match self.payload {
            Payload::Icmp { kind, code, id } => {
                let mut head = vec![kind, code, 0, 0];
                head.extend(id.to_be_bytes());
                head.extend([0, 1]);
                (head, 2)
            }
            Payload::Tcp { source, destination, flags } => {
                let mut head = ports(source, destination);
                let offers = self.mss && flags & 2 == 2;
                let (offset, options): (u8, &[u8]) = if offers { (0x60, &[2, 4, 5, 180]) } else { (0x50, &[]) };
                head.extend([0, 0, 0, 1, 0, 0, 0, 0, offset, flags, 0x20, 0, 0, 0, 0, 0]);
                head.extend(options);
                (head, 16)
            }
            Payload::Segment { ports: (source, destination), flags, sequence, acknowledged } => {
                let mut head = ports(source, destination);
                head.extend(sequence.to_be_bytes());
                head.extend(acknowledged.to_be_bytes());
                head.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
                (head, 16)
            }
            Payload::Udp { source, destination } => {
                let mut head = ports(source, destination);
                head.extend((8 + self.data).to_be_bytes());
                head.extend([0, 0]);
                (head, 6)
            }
            Payload::About { kind, code, .. } => (vec![kind, code, 0, 0, 0, 0, 0, 0], 2),
            Payload::Sctp { source, destination } => return sctp_init(&ports(source, destination)),
            Payload::Chunks { ports: (source, destination), kinds } => {
                return chunks(&ports(source, destination), kinds);
            }
            Payload::Other(_) => return data,
        };
        match self.payload {
            Payload::About { datagram, quoted, .. } => body.extend(datagram.bytes(quoted)),
            _ => body.extend(data),
        }
        let sum = match self.payload {
            Payload::Icmp { .. } | Payload::About { .. } if self.source.is_ipv4() => checksum(&body, 0),
            _ => checksum(&body, self.pseudo(body.len())),
        };
        body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        body
    }

    /// The sum over the pseudo header.
    fn pseudo(&self, length: usize) -> u32 {
        let addresses = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => [source.octets(), destination.octets()].concat(),
            (IpAddr::V6(source), IpAddr::V6(destination)) => [source.octets(), destination.octets()].concat(),
            _ => Vec::new(),
        };
        sum(&addresses) + length as u32 + u32::from(self.protocol())
    }
}

/// The options of a later piece: those that are not copied have become ones without meaning (`ip_options_fragment` in
/// `net/ipv4/ip_options.c`).
fn copied_alone(options: &mut [u8]) {
    let mut at = 0;
    while at < options.len() && options[at] != 0 {
        let length = if options[at] == 1 { 1 } else { usize::from(*options.get(at + 1).unwrap_or(&0)) };
        if length == 0 || at + length > options.len() {
            return;
        }
        if options[at] & 0x80 == 0 {
            options[at..at + length].fill(1);
        }
        at += length;
    }
}

/// A piece of an IPv4 packet; offsets are told in units of eight bytes.
fn piece4(header: &[u8], piece: &[u8], offset: u16, more: u16) -> Vec<u8> {
    let mut bytes = header.to_vec();
    if offset > 0 {
        copied_alone(&mut bytes[20..]);
    }
    bytes[2..4].copy_from_slice(&((header.len() + piece.len()) as u16).to_be_bytes());
    bytes[6..8].copy_from_slice(&((more << 13) | (offset / 8)).to_be_bytes());
    bytes[10..12].fill(0);
    let sum = checksum(&bytes, 0);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(piece);
    bytes
}

/// A piece of an IPv6 packet, behind a fragment header.
fn piece6(header: &[u8], piece: &[u8], offset: u16, more: u16) -> Vec<u8> {
    let mut bytes = header.to_vec();
    bytes[4..6].copy_from_slice(&((header.len() - 40 + 8 + piece.len()) as u16).to_be_bytes());
    // The last header of those that every piece has names the fragment header.
    let mut last = 6;
    let mut at = 40;
    while at < header.len() {
        last = at;
        at += (usize::from(header[at + 1]) + 1) * 8;
    }
    bytes[last] = 44;
    bytes.extend([header[last], 0]);
    bytes.extend((offset | more).to_be_bytes());
    bytes.extend([0, 0, 0x12, 0x34]);
    bytes.extend(piece);
    bytes
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum()
}

/// The Internet checksum.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = sum(bytes) + start;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// An INIT chunk behind a common header.
fn sctp_init(ports: &[u8]) -> Vec<u8> {
    let mut bytes = ports.to_vec();
    bytes.extend([0; 8]);
    // Type, flags, length; tag, window, streams, first TSN.
    bytes.extend([1, 0, 0, 20, 0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    let sum = crc32c(&bytes);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Chunks behind a common header with a tag, which INIT has none of.
fn chunks(ports: &[u8], kinds: &[u8]) -> Vec<u8> {
    let tag = if kinds.contains(&1) { [0; 4] } else { [0, 0, 0, 9] };
    let mut bytes = [ports, &tag, &[0; 4]].concat();
    for kind in kinds {
        bytes.extend([*kind, 0, 0, 20]);
        bytes.extend([0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    }
    let sum = crc32c(&bytes);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}
