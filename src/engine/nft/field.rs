//! Fields of the packet's headers (`nft_payload.c`). What a rule asks of a header that the packet doesn't have ends the
//! rule, as the condition does that nft puts before it (`src/payload.c` of nftables).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::{Family, IfName, MacAddr, Packet, Protocol, Transport, VlanProtocol};
use crate::snapshot::NftFamily;
use crate::snapshot::nft::{Header, HeaderField};
use crate::trace::Hook;

use super::super::matches::{Bytes, is_bare, link_destination, link_source};
use super::super::skb::{Asked, Sender};
use super::super::walk::Walk;
use super::doubt::{Doubt, Field, May};
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
    if header == Header::Th && !packet.nft_protocol().has_ports() {
        return in_place_of_port(walk, packet, field);
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
        _ => transport(packet, field),
    };
    Ok(value.ok_or_else(|| unknown(packet, header, field)))
}

/// What stands where other protocols have a port: `th` asks for no protocol. An authentication header of IPv6 is a
/// transport's to nf_tables.
fn in_place_of_port(walk: &Walk, packet: &Packet, field: HeaderField) -> Result<Field, Break> {
    let from = packet.nft_transport() * 8 + if field == HeaderField::Dport { 16 } else { 0 };
    if !matches!(field, HeaderField::Sport | HeaderField::Dport) {
        return Ok(Err(unknown(packet, Header::Th, field)));
    }
    let bytes = Bytes::of_packet(walk, packet);
    if !bytes.has_bits(from, 16) {
        return Err(Break);
    }
    let doubt = || unknown(packet, Header::Th, field).that_may(May::Within(0, u128::from(u16::MAX)));
    Ok(bytes.bits(from, 16).ok_or_else(doubt))
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

fn transport(packet: &Packet, field: HeaderField) -> Option<u128> {
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
pub(super) fn ether(walk: &Walk, run: &Run<'_>, field: HeaderField) -> Result<Field, Break> {
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

/// The device whose Ethernet header the packet has: the one that it came in by, or the one that it is being given to.
pub(super) fn header_device<'r>(walk: &'r Walk, run: &'r Run<'_>) -> Result<&'r IfName, Break> {
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
