//! Raw bits of a packet or its frame (`@ll`, `@nh`, `@th`, `@ih`: `nft_payload_eval` in `nft_payload.c`).

use crate::net::{IfName, Packet, VlanTag};
use crate::snapshot::nft::{Header, HeaderField, PayloadBase};
use crate::snapshot::{LinkKind, NftFamily};
use crate::trace::Hook;

use super::super::bridge;
use super::super::matches::Bytes;
use super::super::skb::Asked;
use super::super::walk::Walk;
use super::doubt::{Doubt, Field};
use super::field::{ether, header_device, nft_payload};
use super::load::{Break, flow};
use super::meta;
use super::statement::Run;

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
        PayloadBase::Link => return frame(walk, run, offset, length, &doubt),
        PayloadBase::Network if hidden => return behind_first_tag(walk, run, offset, length, &doubt),
        PayloadBase::Transport | PayloadBase::Inner if hidden => return Err(Break),
        PayloadBase::Network => walk.ask_piece(Asked::Each),
        PayloadBase::Transport if is_fast(offset, length) => walk.ask_piece(Asked::Each),
        PayloadBase::Transport | PayloadBase::Inner => walk.ask_piece(Asked::First),
    }
    let bytes = Bytes::of_packet(walk, packet);
    let start = match base {
        PayloadBase::Link | PayloadBase::Network => Some(0),
        PayloadBase::Transport => Some(packet.nft_transport()),
        // Which protocols have something inside is fixed (`nft_payload_inner_offset`); GRE and packets in packets are among
        // them since Linux 6.2.
        PayloadBase::Inner => match packet.nft_protocol().0 {
            6 | 17 => bytes.inner(),
            4 | 47 => None,
            _ => return Err(Break),
        },
    };
    let Some(start) = start else { return Ok(Err(doubt())) };
    let from = start.saturating_mul(8).saturating_add(offset);
    if bytes.has_bits(from, length) { Ok(bytes.bits(from, length).ok_or_else(doubt)) } else { Err(Break) }
}

/// Where a frame's addresses end.
const ADDRESSES: u32 = 96;

/// How many bits a VLAN tag has.
const TAG: u32 = 32;

/// Bits of the frame: its addresses, its tags, its type, and the packet behind them. The kernel puts a tag that it has noted
/// beside the frame back in its place (`nft_payload_copy_vlan`).
fn frame(walk: &Walk, run: &Run<'_>, offset: u32, length: u32, doubt: &dyn Fn() -> Doubt) -> Result<Field, Break> {
    let dev = header_device(walk, run)?;
    let end = offset.saturating_add(length);
    // The frames of loopback have a header of zeros.
    let is_loopback = |dev: &IfName| walk.netns().link(dev).is_some_and(|link| link.kind == LinkKind::Loopback);
    if is_loopback(dev) || length > 128 {
        return Ok(Err(doubt()));
    }
    let packet = run.packet(walk);
    let (mut value, mut at) = (Ok(0), offset);
    while at < end {
        let (start, bits, field) = segment(walk, run, packet, at)?;
        let stop = start.saturating_add(bits).min(end);
        let part = match field {
            Some(field) => field.map(|field| field >> (start + bits - stop) & low_bits(stop - at)),
            None => behind_header(walk, packet, (at - start, stop - at), doubt)?,
        };
        value = value.and_then(|value: u128| part.map(|part| value.checked_shl(stop - at).unwrap_or(0) | part));
        at = stop;
    }
    Ok(value)
}

/// The part of a frame that a bit lies in: where it starts, how many bits it has, and what it holds; nothing for the packet
/// itself, which comes last.
fn segment(walk: &Walk, run: &Run<'_>, packet: &Packet, at: u32) -> Result<(u32, u32, Option<Field>), Break> {
    let (mut start, mut behind) = (ADDRESSES, 0);
    match at {
        0..48 => return Ok((0, 48, Some(ether(walk, run, HeaderField::Daddr)?))),
        48..ADDRESSES => return Ok((48, 48, Some(ether(walk, run, HeaderField::Saddr)?))),
        _ => {}
    }
    for tag in &packet.tags {
        if at < start + TAG {
            return Ok((start, TAG, Some(tag_bits(walk, *tag))));
        }
        (start, behind) = (start + TAG, behind + 1);
    }
    if at < start + 16 {
        return Ok((start, 16, Some(Ok(meta::ether_type(packet, behind)))));
    }
    Ok((start + 16, u32::MAX, None))
}

fn tag_bits(walk: &Walk, tag: VlanTag) -> Field {
    let doubt = || Doubt::fact(format!("a VLAN tag's priority of {}", flow(walk.packet())));
    let priority = tag.priority.ok_or_else(doubt)?;
    let low = u128::from(priority) << 13 | u128::from(tag.drop_eligible) << 12 | u128::from(tag.id);
    Ok(u128::from(tag.protocol.number()) << 16 | low)
}

/// Bits of the packet behind the frame's header.
fn behind_header(
    walk: &Walk,
    packet: &Packet,
    (from, length): (u32, u32),
    doubt: &dyn Fn() -> Doubt,
) -> Result<Field, Break> {
    walk.ask_piece(Asked::Each);
    let bytes = Bytes::of_packet(walk, packet);
    if bytes.has_bits(from, length) { Ok(bytes.bits(from, length).ok_or_else(doubt)) } else { Err(Break) }
}

/// The network's header of a frame that came in with several tags: what stands behind the first one and the type that
/// it has, since the kernel takes that one off alone (`__netif_receive_skb_core` in `net/core/dev.c`). Of what the stack
/// sends itself it is the packet's.
fn behind_first_tag(
    walk: &Walk,
    run: &Run<'_>,
    offset: u32,
    length: u32,
    doubt: &dyn Fn() -> Doubt,
) -> Result<Field, Break> {
    let state = run.info.state;
    let of_bridge = run.info.table.family == NftFamily::Bridge && state.indev.is_some();
    if state.hook == Hook::Ingress || of_bridge || bridge::is_bridged(walk, state.outdev.as_ref()) {
        return frame(walk, run, (ADDRESSES + TAG + 16).saturating_add(offset), length, doubt);
    }
    Ok(Err(doubt()))
}

fn low_bits(count: u32) -> u128 {
    1u128.checked_shl(count).map_or(u128::MAX, |bit| bit - 1)
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
