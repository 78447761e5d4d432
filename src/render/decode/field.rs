//! The fields that can be asked for by name.

use super::record::{COLUMNS, Column};
use crate::wire::Kind;

/// A field of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name by which it was asked for.
    pub(super) name: &'static str,
    pub(super) source: Source,
}

/// Where a field's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A record has it.
    Record(Column),
    /// Seconds since 1970.
    Epoch,
    /// What the capture point is called, if only as `unknown`.
    InterfaceName,
    /// Each header of a kind has one.
    Header(Kind, Part),
}

/// How a value stands in a header: at which offset, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An octet, in decimal digits.
    U8(u8),
    /// A bit of an octet: its offset, and its place from the lowest one.
    Bit(u8, u8),
    /// An octet, in hexadecimal digits.
    Hex8(u8),
    /// Two octets.
    U16(u8),
    /// Two octets, in hexadecimal digits.
    Hex16(u8),
    /// The lower twelve bits of two octets, in hexadecimal digits.
    Hex12(u8),
    /// Three octets.
    U24(u8),
    /// The same, in hexadecimal digits.
    Hex24(u8),
    /// Four octets.
    U32(u8),
    /// The upper twenty bits of three octets.
    U20(u8),
    /// An IPv4 address.
    Ipv4(u8),
    /// An IPv6 address.
    Ipv6(u8),
    /// A link-layer address.
    Mac(u8),
    /// An Ethernet type; a length is none.
    EtherType(u8),
    /// The identifier of an ICMP query, or its sequence number.
    Query(u8),
    /// The length of an IPv4 packet: two octets, or what was captured where they are zero.
    Ipv4Length(u8),
    /// The VLAN of a tag: one of IEEE 802.1ad, or any other.
    Tag { is_service: bool },
    /// How many bytes TCP carries.
    Payload,
    /// The address of ARP: of the sender or the target.
    ArpIpv4(u8),
    /// The link-layer address of ARP: of the sender or the target.
    ArpMac(u8),
    /// The name that a DNS message asks for.
    DnsName,
    /// The type of record that it asks for.
    DnsType,
    /// What its records of a type say.
    DnsData(u16),
}

/// Every field that headers have, by tshark's names.
const HEADERS: [(&str, Kind, Part); 62] = [
    ("eth.dst", Kind::Ethernet, Part::Mac(0)),
    ("eth.src", Kind::Ethernet, Part::Mac(6)),
    ("eth.type", Kind::Ethernet, Part::EtherType(12)),
    ("vlan.id", Kind::Vlan, Part::Tag { is_service: false }),
    ("ieee8021ad.id", Kind::Vlan, Part::Tag { is_service: true }),
    ("mpls.label", Kind::Mpls, Part::U20(0)),
    ("mpls.ttl", Kind::Mpls, Part::U8(3)),
    ("arp.opcode", Kind::Arp, Part::U16(6)),
    ("arp.src.hw_mac", Kind::Arp, Part::ArpMac(0)),
    ("arp.src.proto_ipv4", Kind::Arp, Part::ArpIpv4(0)),
    ("arp.dst.hw_mac", Kind::Arp, Part::ArpMac(1)),
    ("arp.dst.proto_ipv4", Kind::Arp, Part::ArpIpv4(1)),
    ("ip.src", Kind::Ipv4, Part::Ipv4(12)),
    ("ip.dst", Kind::Ipv4, Part::Ipv4(16)),
    ("ip.proto", Kind::Ipv4, Part::U8(9)),
    ("ip.ttl", Kind::Ipv4, Part::U8(8)),
    ("ip.id", Kind::Ipv4, Part::Hex16(4)),
    ("ip.len", Kind::Ipv4, Part::Ipv4Length(2)),
    ("ip.dsfield", Kind::Ipv4, Part::Hex8(1)),
    ("ip.flags.df", Kind::Ipv4, Part::Bit(6, 6)),
    ("ip.flags.mf", Kind::Ipv4, Part::Bit(6, 5)),
    ("ip.checksum", Kind::Ipv4, Part::Hex16(10)),
    ("ipv6.src", Kind::Ipv6, Part::Ipv6(8)),
    ("ipv6.dst", Kind::Ipv6, Part::Ipv6(24)),
    ("ipv6.nxt", Kind::Ipv6, Part::U8(6)),
    ("ipv6.hlim", Kind::Ipv6, Part::U8(7)),
    ("ipv6.plen", Kind::Ipv6, Part::U16(4)),
    ("icmp.type", Kind::Icmp, Part::U8(0)),
    ("icmp.code", Kind::Icmp, Part::U8(1)),
    ("icmp.checksum", Kind::Icmp, Part::Hex16(2)),
    ("icmp.ident", Kind::Icmp, Part::Query(4)),
    ("icmp.seq", Kind::Icmp, Part::Query(6)),
    ("icmpv6.type", Kind::Icmpv6, Part::U8(0)),
    ("icmpv6.code", Kind::Icmpv6, Part::U8(1)),
    ("icmpv6.checksum", Kind::Icmpv6, Part::Hex16(2)),
    ("udp.srcport", Kind::Udp, Part::U16(0)),
    ("udp.dstport", Kind::Udp, Part::U16(2)),
    ("udp.length", Kind::Udp, Part::U16(4)),
    ("udp.checksum", Kind::Udp, Part::Hex16(6)),
    ("tcp.srcport", Kind::Tcp, Part::U16(0)),
    ("tcp.dstport", Kind::Tcp, Part::U16(2)),
    ("tcp.seq_raw", Kind::Tcp, Part::U32(4)),
    ("tcp.ack_raw", Kind::Tcp, Part::U32(8)),
    ("tcp.flags", Kind::Tcp, Part::Hex12(12)),
    ("tcp.window_size_value", Kind::Tcp, Part::U16(14)),
    ("tcp.checksum", Kind::Tcp, Part::Hex16(16)),
    ("tcp.len", Kind::Tcp, Part::Payload),
    ("sctp.srcport", Kind::Sctp, Part::U16(0)),
    ("sctp.dstport", Kind::Sctp, Part::U16(2)),
    ("gre.proto", Kind::Gre, Part::Hex16(2)),
    ("vxlan.vni", Kind::Vxlan, Part::U24(4)),
    ("geneve.vni", Kind::Geneve, Part::Hex24(4)),
    ("wg.type", Kind::Wireguard, Part::U8(0)),
    ("dns.id", Kind::Dns, Part::Hex16(0)),
    ("dns.flags", Kind::Dns, Part::Hex16(2)),
    ("dns.flags.response", Kind::Dns, Part::Bit(2, 7)),
    ("dns.count.answers", Kind::Dns, Part::U16(6)),
    ("dns.qry.name", Kind::Dns, Part::DnsName),
    ("dns.qry.type", Kind::Dns, Part::DnsType),
    ("dns.a", Kind::Dns, Part::DnsData(1)),
    ("dns.aaaa", Kind::Dns, Part::DnsData(28)),
    ("dns.cname", Kind::Dns, Part::DnsData(5)),
];

/// Fields of the capture, by tshark's names.
const FRAME: [(&str, Source); 5] = [
    ("frame.number", Source::Record(Column::Number)),
    ("frame.time_epoch", Source::Epoch),
    ("frame.len", Source::Record(Column::Length)),
    ("frame.cap_len", Source::Record(Column::Captured)),
    ("frame.interface_name", Source::InterfaceName),
];

/// A name that no field has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// The name.
    pub name: String,
    /// The field that may have been meant.
    pub near: Option<&'static str>,
}

impl Field {
    /// The field of a name: a record's, or tshark's.
    pub fn of(name: &str) -> Result<Self, FieldFault> {
        let found = all().find(|field| field.name == name);
        found.ok_or_else(|| FieldFault { name: name.to_owned(), near: near(name) })
    }

    /// The option without which it has no value.
    #[must_use]
    pub fn needs(self) -> Option<&'static str> {
        match self.source {
            Source::Record(column) => column.needs(),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }
}

fn all() -> impl Iterator<Item = Field> {
    let records = COLUMNS.iter().map(|(name, column)| Field { name, source: Source::Record(*column) });
    let frame = FRAME.iter().map(|(name, source)| Field { name, source: *source });
    let headers = HEADERS.iter().map(|(name, kind, part)| Field { name, source: Source::Header(*kind, *part) });
    records.chain(frame).chain(headers)
}

/// Every name, in their order: those of records, then tshark's.
pub fn field_list() -> impl Iterator<Item = &'static str> {
    all().map(Field::name)
}

/// The first name that begins or ends as this one does.
fn near(name: &str) -> Option<&'static str> {
    let (head, tail) = name.rsplit_once('.').unwrap_or((name, name));
    let names = || field_list();
    let same_tail = names().find(|known| known.rsplit_once('.').is_some_and(|(_, last)| last == tail));
    names()
        .find(|known| known.starts_with(name))
        .or(same_tail)
        .or_else(|| names().find(|known| known.starts_with(head)))
}
