//! The values of fields of every kind.

use super::field::Part;
use super::row::{take, within};
use super::{Buffer, dns};
use crate::net::MacAddr;
use crate::wire::{Decoded, Kind, Layer};

/// The type of a tag of IEEE 802.1ad.
const SERVICE_TAG: u16 = 0x88a8;

/// Puts in the value that stands in a header; `None` where the header doesn't have it, or it was not captured.
pub(super) fn rare(part: Part, decoded: &Decoded<'_>, layer: Layer, out: &mut Buffer) -> Option<()> {
    let bytes = within(decoded.bytes, layer);
    match part {
        Part::U8(at) => out.number(take::<1>(bytes, at)?[0].into()),
        Part::U16(at) => out.number(u16::from_be_bytes(take(bytes, at)?).into()),
        Part::U24(at) => {
            let [a, b, c] = take(bytes, at)?;
            out.number(u32::from_be_bytes([0, a, b, c]));
        }
        Part::U32(at) => out.number(u32::from_be_bytes(take(bytes, at)?)),
        Part::Bit(at, place) => out.number((take::<1>(bytes, at)?[0] >> place & 1).into()),
        Part::Tag { is_service } => {
            ((decoded.announced(layer)? == SERVICE_TAG) == is_service).then_some(())?;
            out.number((u16::from_be_bytes(take(bytes, 0)?) & 0x0fff).into());
        }
        Part::U20(at) => {
            let [a, b, c] = take(bytes, at)?;
            out.number(u32::from_be_bytes([0, a, b, c]) >> 4);
        }
        Part::Hex24(at) => {
            out.words(b"0x");
            take::<3>(bytes, at)?.into_iter().for_each(|octet| out.hex(octet));
        }
        Part::Hex8(at) => {
            let [octet] = take(bytes, at)?;
            out.words(b"0x");
            out.hex(octet);
        }
        Part::Hex12(at) => hex(u16::from_be_bytes(take(bytes, at)?) & 0x0fff, out),
        Part::Hex16(at) => hex(u16::from_be_bytes(take(bytes, at)?), out),
        Part::Ipv4(at) => out.ipv4(take(bytes, at)?),
        Part::Ipv6(at) => out.ipv6(take(bytes, at)?),
        Part::Mac(at) => out.mac(MacAddr(take(bytes, at)?)),
        _ => return rarest(part, decoded.bytes, layer, out),
    }
    Some(())
}

/// Whether so much of a header is there that tshark tells a field of it: it reads some fields together with others behind
/// them.
pub(super) fn is_told(part: Part, layer: Layer, decoded: &Decoded<'_>) -> bool {
    let bytes = within(decoded.bytes, layer);
    let least = match (layer.kind, part) {
        (Kind::Ethernet, _) => 14,
        (Kind::Vlan, Part::Tag { is_service: true })
        | (Kind::Tcp, Part::U16(0 | 2))
        | (Kind::Mpls | Kind::Udp | Kind::Dns, _) => 4,
        (Kind::Arp, Part::ArpIpv4(_) | Part::ArpMac(_)) => 28,
        // Options may say another destination.
        (Kind::Ipv4, Part::Ipv4(16)) => usize::from(bytes.first().map_or(0, |first| first & 15)) * 4,
        (Kind::Ipv4, Part::Bit(..)) => 8,
        (Kind::Ipv6, Part::U16(_)) => 7,
        (Kind::Icmp, _) => 6,
        (Kind::Tcp, Part::Payload) if !has_length(layer, decoded) => usize::MAX,
        (Kind::Tcp, _) => 16,
        (Kind::Sctp, _) => 12,
        _ => 0,
    };
    bytes.len() >= least
}

/// Whether a segment has a length: what an error quotes of one has none, nor has one that ends within its header.
fn has_length(layer: Layer, decoded: &Decoded<'_>) -> bool {
    let quote = decoded.layers.get(decoded.travelling().len());
    let header = within(decoded.bytes, layer).get(12).map_or(0, |offset| u32::from(offset >> 4) * 4);
    quote.is_none_or(|quote| layer.start < quote.start) && header <= layer.end - layer.start
}

/// What depends on more than its place.
fn rarest(part: Part, whole: &[u8], layer: Layer, out: &mut Buffer) -> Option<()> {
    let bytes = within(whole, layer);
    match part {
        Part::EtherType(at) => {
            let number = u16::from_be_bytes(take(bytes, at)?);
            (number >= 0x600).then_some(())?;
            hex(number, out);
        }
        Part::Query(at) => {
            // An extended echo's sequence number is an octet, which tshark has by another name (RFC 8335).
            let is_query =
                matches!(bytes.first(), Some(0 | 8 | 13..=18)) || at == 4 && matches!(bytes.first(), Some(42 | 43));
            is_query.then_some(())?;
            out.number(u16::from_be_bytes(take(bytes, at)?).into());
        }
        Part::Ipv4Length(at) => {
            // What a device is to split has no length yet, and all of it is there.
            let says = u32::from(u16::from_be_bytes(take(bytes, at)?));
            out.number(if says == 0 { layer.end - layer.start } else { says });
        }
        Part::Payload => {
            out.number(layer.told_to_carry(whole)?);
        }
        Part::ArpIpv4(which) => out.ipv4(take(bytes, arp(bytes, which)? + arp_link(bytes)?)?),
        Part::ArpMac(which) => out.mac(MacAddr(take(bytes, arp(bytes, which)?)?)),
        Part::DnsName => return dns::names(dns::message(layer, bytes), out),
        Part::DnsType => return dns::types(dns::message(layer, bytes), out),
        Part::DnsData(kind) => return dns::data(dns::message(layer, bytes), kind, out),
        _ => return None,
    }
    Some(())
}

/// Where the addresses of ARP's sender or target begin, where they are of Ethernet and IPv4.
fn arp(bytes: &[u8], which: u8) -> Option<u8> {
    Some(8 + which * (arp_link(bytes)? + 4))
}

/// How long the link-layer addresses of an ARP packet are: six bytes, or it is not decoded.
fn arp_link(bytes: &[u8]) -> Option<u8> {
    matches!(bytes, [_, _, 0x08, 0x00, 6, 4, ..]).then_some(6)
}

fn hex(number: u16, out: &mut Buffer) {
    out.words(b"0x");
    out.hex16(number);
}
