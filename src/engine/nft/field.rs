//! Fields of the packet's headers (`nft_payload.c`). What a rule asks of a header that the packet doesn't have ends the
//! rule, as the condition does that nft puts before it (`src/payload.c` of nftables).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::{Family, IfName, MacAddr, Packet, Protocol, Transport, VlanProtocol};
use crate::snapshot::nft::{Header, HeaderField, PayloadBase};
use crate::snapshot::{LinkKind, NftFamily};
use crate::trace::Hook;

use super::super::matches::{Bytes, is_bare, link_destination, link_source};
use super::super::skb::{Asked, Sender};
use super::super::walk::Walk;
use super::doubt::{Doubt, Field};
use super::load::{Break, flow};
use super::meta;
use super::statement::Run;

/// A header's field.
pub(super) fn nft_payload(walk: &Walk, run: &Run<'_>, header: Header, field: HeaderField) -> Result<Field, Break> {
    let packet = run.packet(walk);
    if header == Header::Vlan {
        return vlan(walk, run, field);
    }
    if !has_header(packet, header) {
        return Err(Break);
    }
    if header == Header::Ether {
        return ether(walk, run, field);
    }
    if may_ask_for_type(run, packet, header) {
        let asked = described(header, field);
        let what =
            format!("{asked} of {}, where nft doesn't list whether a rule asks for the frame's type", flow(packet));
        return Ok(Err(Doubt::fact(what)));
    }
    ask_piece(walk, header, field);
    if field == HeaderField::Length && has_length(header) {
        let behind = match header {
            Header::Ip => 0,
            Header::Ip6 => 40,
            _ => packet.header_length(),
        };
        // The header of a later protocol, which the first piece has, tells of the whole packet.
        let of_piece = walk.skb.in_pieces && matches!(header, Header::Ip | Header::Ip6);
        return Ok(if of_piece { Ok(meta::piece_length(walk, behind)) } else { meta::length(walk, behind) });
    }
    if header == Header::Th && packet.nft_transport() != packet.header_length() {
        return Ok(behind_authentication(walk, packet, field));
    }
    let value = match header {
        Header::Ip | Header::Ip6 if field == HeaderField::FragOff && walk.skb.in_pieces => None,
        Header::Ip6
            if field == HeaderField::Protocol && walk.skb.in_pieces && packet.extensions.in_each_piece() == 0 =>
        {
            Some(FRAGMENT)
        }
        Header::Ip | Header::Ip6 => network(packet, field),
        Header::Icmp | Header::Icmpv6 => icmp(packet, field),
        _ => transport(packet, header, field),
    };
    Ok(value.ok_or_else(|| unknown(packet, header, field)))
}

/// The bytes that would be ports, where nf_tables takes an authentication header for the transport's.
fn behind_authentication(walk: &Walk, packet: &Packet, field: HeaderField) -> Field {
    let from = packet.nft_transport() * 8 + if field == HeaderField::Dport { 16 } else { 0 };
    let is_port = matches!(field, HeaderField::Sport | HeaderField::Dport);
    let bits = Bytes::of_packet(walk, packet).bits(from, 16).filter(|_| is_port);
    bits.ok_or_else(|| unknown(packet, Header::Th, field))
}

/// What stands behind the IPv6 header of a piece: the fragment header.
const FRAGMENT: u128 = 44;

/// Notes what a piece is asked: each has a length, an offset and a checksum of its own. For fields of the transport's
/// header, which are all of 1, 2 or 4 bytes, the kernel reads what a later piece holds in their place:
/// `nft_payload_fast_eval` in `nf_tables_core.c` doesn't look at `pkt->fragoff` as `nft_payload_eval` does.
fn ask_piece(walk: &Walk, header: Header, field: HeaderField) {
    let of_each = matches!(field, HeaderField::Length | HeaderField::FragOff | HeaderField::Other(_));
    match header {
        Header::Ip | Header::Ip6 if of_each => walk.ask_piece(Asked::Each),
        Header::Ether | Header::Ip | Header::Ip6 => {}
        _ => walk.ask_piece(Asked::Each),
    }
}

/// Whether a header says how long the packet is, or how long what begins with it.
fn has_length(header: Header) -> bool {
    !matches!(header, Header::Icmp | Header::Icmpv6)
}

/// Whether nft may have put a condition before this one that no frame with a tag fulfils: in a bridge's rule that tells
/// nothing of the network's header before, it asks for the type that stands behind the frame's addresses, and lists that as
/// little as `meta l4proto` in its place (`payload_gen_special_dependency` in nftables' `src/payload.c`).
fn may_ask_for_type(run: &Run<'_>, packet: &Packet, header: Header) -> bool {
    matches!(header, Header::Icmp | Header::Icmpv6 | Header::Igmp)
        && run.info.table.family == NftFamily::Bridge
        && !packet.tags.is_empty()
        && !run.tells_network()
}

fn unknown(packet: &Packet, header: Header, field: HeaderField) -> Doubt {
    Doubt::fact(format!("{} of {}", described(header, field), flow(packet)))
}

/// A field in nft's words.
pub(super) fn described(header: Header, field: HeaderField) -> String {
    let header = format!("{header:?}").to_lowercase();
    let field = match field {
        HeaderField::Other(word) => word.to_owned(),
        field => format!("{field:?}").to_lowercase(),
    };
    format!("{header} {field}")
}

/// What a tunnel's header or load gives (`nft_inner_eval` in `nft_inner.c`). A packet of another protocol ends the rule.
/// Else it depends on the kernel: Linux 6.2, which brought this, finds nothing behind a tunnel's header, since its
/// `nft_inner_parse_tunhdr` refuses whatever is not UDP and GRE at once.
pub(super) fn nft_inner(walk: &Walk, run: &Run<'_>, outer: Header, text: &str) -> Result<Field, Break> {
    let packet = run.packet(walk);
    if !has_header(packet, outer) {
        return Err(Break);
    }
    Ok(Err(Doubt::fact(format!("`{text}` of {} (not every kernel looks inside)", flow(packet)))))
}

/// Whether a packet has a header. The kernel looks behind one VLAN tag, not behind two (`nft_do_chain_bridge`,
/// `nft_do_chain_netdev`).
pub(super) fn has_header(packet: &Packet, header: Header) -> bool {
    if packet.tags.len() > 1 && !matches!(header, Header::Ether | Header::Vlan) {
        return false;
    }
    let protocol = match header {
        Header::Ether | Header::Th => return true,
        Header::Vlan => return !packet.tags.is_empty(),
        Header::Arp => return false,
        Header::Ip => return packet.ip.destination.is_ipv4(),
        Header::Ip6 => return packet.ip.destination.is_ipv6(),
        Header::Tcp => Protocol::TCP,
        Header::Udp => Protocol::UDP,
        Header::Udplite => Protocol(136),
        Header::Sctp => Protocol::SCTP,
        Header::Dccp => Protocol(33),
        Header::Icmp => return packet.nft_protocol() == Protocol::ICMP && packet.ip.destination.is_ipv4(),
        Header::Icmpv6 => return packet.nft_protocol() == Protocol::ICMPV6 && packet.ip.destination.is_ipv6(),
        Header::Igmp => Protocol(2),
        Header::Ah => Protocol(51),
        Header::Esp => Protocol(50),
        Header::Comp => Protocol(108),
        Header::Gre => Protocol(47),
    };
    packet.nft_protocol() == protocol
}

/// The address that a number is.
pub(super) fn address(value: u128, family: Family) -> IpAddr {
    match family {
        Family::Inet => Ipv4Addr::from_bits(u32::try_from(value & u128::from(u32::MAX)).unwrap_or(0)).into(),
        Family::Inet6 => Ipv6Addr::from_bits(value).into(),
    }
}

/// An address as a number.
pub(super) fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn network(packet: &Packet, field: HeaderField) -> Option<u128> {
    let ip = packet.ip;
    let four = ip.destination.is_ipv4();
    Some(match field {
        HeaderField::Saddr => bits(ip.source),
        HeaderField::Daddr => bits(ip.destination),
        HeaderField::Ttl => u128::from(ip.ttl),
        HeaderField::Dscp => u128::from(ip.tos >> 2),
        HeaderField::Ecn => u128::from(ip.tos & 3),
        HeaderField::Protocol => u128::from(packet.next_header().0),
        HeaderField::Version => {
            if four {
                4
            } else {
                6
            }
        }
        HeaderField::Hdrlength => u128::from(packet.header_length() / 4),
        // A whole packet has no offset.
        HeaderField::FragOff => u128::from(u16::from(ip.df) << 14),
        _ => return None,
    })
}

fn icmp(packet: &Packet, field: HeaderField) -> Option<u128> {
    let Transport::Icmp { kind, code, id, .. } = &packet.transport else { return None };
    match field {
        HeaderField::Type => Some(u128::from(*kind)),
        HeaderField::Code => Some(u128::from(*code)),
        HeaderField::Id => id.map(u128::from),
        _ => None,
    }
}

fn transport(packet: &Packet, header: Header, field: HeaderField) -> Option<u128> {
    if let (Header::Th, Transport::Icmp { kind, code, .. }, HeaderField::Sport) = (header, &packet.transport, field) {
        // The first two bytes of a message are its type and code.
        return Some(u128::from(u16::from_be_bytes([*kind, *code])));
    }
    match field {
        HeaderField::Sport => packet.source_port().map(u128::from),
        HeaderField::Dport => packet.destination_port().map(u128::from),
        HeaderField::Flags => match packet.transport {
            Transport::Tcp { flags, .. } => Some(u128::from(flags)),
            _ => None,
        },
        _ => None,
    }
}

/// The frame's addresses. A packet that came in by no device has no frame, and ends the rule.
fn ether(walk: &Walk, run: &Run<'_>, field: HeaderField) -> Result<Field, Break> {
    let packet = run.packet(walk);
    let dev = header_device(walk, run)?;
    if field == HeaderField::Type {
        // The kernel puts a tag that it has noted back in its place (`nft_payload_copy_vlan`).
        return Ok(Ok(meta::ether_type(packet, 0)));
    }
    let address = match field {
        HeaderField::Saddr => match packet.link {
            Some(link) => Some(link.source),
            // What leaves has its device's address by then.
            None if run.info.state.hook == Hook::Egress => walk.netns().link(dev).and_then(|link| link.lladdr),
            None => link_source(walk).ok().flatten(),
        },
        HeaderField::Daddr => {
            packet.link.map(|link| link.destination).or_else(|| link_destination(walk).ok().flatten())
        }
        _ => return Ok(Err(unknown(packet, Header::Ether, field))),
    };
    let hint = match (walk.skb.sender, field) {
        (Sender::Unknown, HeaderField::Saddr) => " (--mac gives it)",
        _ => "",
    };
    let doubt = || Doubt::fact(format!("the link address of {} by {dev}{hint}", flow(packet)));
    Ok(address.map(number).ok_or_else(doubt))
}

/// A field of the frame's outermost VLAN tag. Which tag a rule means that asks for the same field once more depends on
/// nft's version.
fn vlan(walk: &Walk, run: &Run<'_>, field: HeaderField) -> Result<Field, Break> {
    let packet = run.packet(walk);
    header_device(walk, run)?;
    let Some(tag) = packet.tags.first() else { return Err(Break) };
    // nft asks for 802.1Q before it, where the rule doesn't ask for the frame's type itself.
    let is_of_rule = run.asks(Header::Ether, HeaderField::Type) > 0;
    if tag.protocol != VlanProtocol::Customer && !is_of_rule {
        return Err(Break);
    }
    let value = match field {
        _ if run.asks(Header::Vlan, field) > 1 => None,
        HeaderField::Id => Some(u128::from(tag.id)),
        HeaderField::Pcp => tag.priority.map(u128::from),
        HeaderField::Dei => Some(tag.drop_eligible.into()),
        HeaderField::Type => Some(meta::ether_type(packet, 1)),
        _ => None,
    };
    Ok(value.ok_or_else(|| unknown(packet, Header::Vlan, field)))
}

/// A link address as a number.
fn number(address: MacAddr) -> u128 {
    address.0.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

/// Raw bits of the frame's header that lie within one of its addresses, or within its type.
fn raw_frame(walk: &Walk, run: &Run<'_>, offset: u32, length: u32) -> Option<Result<Field, Break>> {
    // The frames of loopback have a header of zeros.
    let dev = run.info.state.indev.as_ref().or(walk.skb.iif.as_ref());
    let is_loopback = dev.is_some_and(|dev| walk.netns().link(dev).is_some_and(|link| link.kind == LinkKind::Loopback));
    let end = offset.checked_add(length).filter(|_| !is_loopback)?;
    let packet = run.packet(walk);
    if let (Some(tag), true) = (packet.tags.first(), offset >= 96 && end <= 144) {
        let low = u128::from(tag.priority?) << 13 | u128::from(tag.drop_eligible) << 12 | u128::from(tag.id);
        let bits = meta::ether_type(packet, 0) << 32 | low << 16 | meta::ether_type(packet, 1);
        return Some(header_device(walk, run).map(|_| Ok(bits >> (144 - end) & ((1 << length) - 1))));
    }
    let (field, field_end): (_, u32) = match offset {
        0..48 => (HeaderField::Daddr, 48),
        48..96 => (HeaderField::Saddr, 96),
        96..112 => (HeaderField::Type, 112),
        _ => return None,
    };
    let behind = field_end.checked_sub(end)?;
    let mask = 1u128.checked_shl(length)?.checked_sub(1)?;
    Some(ether(walk, run, field).map(|value| value.map(|value| value >> behind & mask)))
}

/// The device whose Ethernet header the packet has: the one that it came in by, or the one that it is being given to.
fn header_device<'r>(walk: &'r Walk, run: &'r Run<'_>) -> Result<&'r IfName, Break> {
    let state = run.info.state;
    let outdev = state.outdev.as_ref();
    let dev = match (run.info.table.family, state.hook) {
        (_, Hook::Egress) => outdev,
        (NftFamily::Bridge, _) => state.indev.as_ref().or(outdev),
        _ => state.indev.as_ref().or(walk.skb.iif.as_ref()),
    };
    let dev = dev.ok_or(Break)?;
    if walk.netns().link(dev).is_some_and(is_bare) { Err(Break) } else { Ok(dev) }
}

/// The field that raw bits are, where they are just one.
pub(super) fn raw_field(packet: &Packet, base: PayloadBase, offset: u32, length: u32) -> Option<(Header, HeaderField)> {
    let ports = packet.nft_protocol().has_ports();
    Some(match (base, packet.ip.destination.is_ipv4(), offset, length) {
        (PayloadBase::Network, true, 64, 8) => (Header::Ip, HeaderField::Ttl),
        (PayloadBase::Network, true, 72, 8) => (Header::Ip, HeaderField::Protocol),
        (PayloadBase::Network, true, 96, 32) => (Header::Ip, HeaderField::Saddr),
        (PayloadBase::Network, true, 128, 32) => (Header::Ip, HeaderField::Daddr),
        (PayloadBase::Network, false, 48, 8) => (Header::Ip6, HeaderField::Protocol),
        (PayloadBase::Network, false, 56, 8) => (Header::Ip6, HeaderField::Ttl),
        (PayloadBase::Network, false, 64, 128) => (Header::Ip6, HeaderField::Saddr),
        (PayloadBase::Network, false, 192, 128) => (Header::Ip6, HeaderField::Daddr),
        (PayloadBase::Transport, _, 0, 16) if ports => (Header::Th, HeaderField::Sport),
        (PayloadBase::Transport, _, 16, 16) if ports => (Header::Th, HeaderField::Dport),
        _ => return None,
    })
}

/// Raw bits, where all of them are known: those of a field, or bytes of the packet and of what it carries. Bits that
/// lie behind the packet's end, or in a header that a later piece of it doesn't have, end the rule.
pub(super) fn raw(walk: &Walk, run: &Run<'_>, base: PayloadBase, offset: u32, length: u32) -> Result<Field, Break> {
    let packet = run.packet(walk);
    let doubt = || Doubt::fact(format!("@{},{offset},{length} of {}", base_word(base), flow(packet)));
    let hidden = packet.tags.len() > 1;
    if let Some((header, field)) = raw_field(packet, base, offset, length).filter(|_| !hidden) {
        return nft_payload(walk, run, header, field);
    }
    match base {
        PayloadBase::Network if hidden => return Ok(Err(doubt())),
        PayloadBase::Transport | PayloadBase::Inner if hidden => return Err(Break),
        PayloadBase::Link => {
            if let Some(bits) = raw_frame(walk, run, offset, length) {
                return bits;
            }
        }
        PayloadBase::Network => walk.ask_piece(Asked::Each),
        PayloadBase::Transport if is_fast(offset, length) => walk.ask_piece(Asked::Each),
        PayloadBase::Transport | PayloadBase::Inner => walk.ask_piece(Asked::First),
    }
    let bytes = Bytes::of_packet(walk, packet);
    let start = match base {
        PayloadBase::Link => None,
        PayloadBase::Network => Some(0),
        PayloadBase::Transport => Some(packet.nft_transport()),
        // Which protocols have something inside is fixed (`nft_payload_inner_offset`).
        PayloadBase::Inner => match packet.transport {
            Transport::Icmp { .. } | Transport::Sctp { .. } => return Err(Break),
            _ if packet.nft_transport() != packet.header_length() => return Err(Break),
            _ => bytes.inner(),
        },
    };
    let Some(start) = start else { return Ok(Err(doubt())) };
    let from = start.saturating_mul(8).saturating_add(offset);
    if bytes.has_bits(from, length) { Ok(bytes.bits(from, length).ok_or_else(doubt)) } else { Err(Break) }
}

/// Whether bits are loaded by the short way, which takes 1, 2 or 4 bytes at a place that their number divides
/// (`nft_payload_select_ops` in `nft_payload.c`).
fn is_fast(offset: u32, length: u32) -> bool {
    let (first, end) = (offset / 8, (offset + length).div_ceil(8));
    let bytes = end - first;
    matches!(bytes, 1 | 2 | 4) && first.is_multiple_of(bytes)
}

fn base_word(base: PayloadBase) -> &'static str {
    match base {
        PayloadBase::Link => "ll",
        PayloadBase::Network => "nh",
        PayloadBase::Transport => "th",
        PayloadBase::Inner => "ih",
    }
}
