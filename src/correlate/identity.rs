//! What makes a packet the same packet at another capture point.
//!
//! It is the identity of the innermost IP packet, made of what routers, bridges, NAT and tunnels leave alone: no
//! address, port, TTL or checksum. `ip.id` is part of it where it says something: SYN-ACKs and most datagrams that must
//! not be fragmented carry 0, and IPv6 has none. Segments of TCP that carry data are known by what segmentation copies
//! to every piece (`tcp_gso_segment` and `tcp_gro_receive` in `net/ipv4/tcp_offload.c`: acknowledgement, window,
//! timestamps, and the flags but PSH, FIN and CWR), and by the range of sequence numbers that they carry.

use std::hash::{BuildHasher as _, Hasher};

use foldhash::quality::FixedState;

use crate::net::Protocol;
use crate::wire::{Headers, Kind, Tcp};

use super::recognize::Depth;

/// Which packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The same for all sights of a packet, and for all pieces of a segment that a device splits or joins.
    pub key: u64,
    /// `ip.id`, or the identification of IPv6's fragment header; 0 where there is none.
    pub id: u32,
    /// How it is put together from pieces.
    pub form: Form,
    /// Where it was seen as a fragment, or in a fragment of its tunnel's packet: what stands for the fragmented packet,
    /// at this capture point only.
    pub datagram: Option<u64>,
}

/// How the sights of a packet fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every sight is all of it.
    Whole,
    /// A TCP segment with data: it carries sequence numbers from the first to the one before the second.
    Segment(u32, u32),
    /// A later fragment of a packet, which is known elsewhere by its bytes.
    Tail,
}

/// SYN, which takes a sequence number.
const SYN: u16 = 0x02;
/// FIN, which takes one, and is on the last piece of a segment only.
const FIN: u16 = 0x01;
const PSH: u16 = 0x08;
const CWR: u16 = 0x80;

/// Hashes the fields of an identity, or of a lane, the same in every run.
pub(super) fn hasher() -> impl Hasher {
    FixedState::with_seed(0x666c_6f77).build_hasher()
}

/// The identity of a packet that is no later fragment.
pub(super) fn of(packet: &Headers<'_>, quoted: Option<&Headers<'_>>, depth: Depth) -> Identity {
    let Depth { payload: depth, options } = depth;
    let is_v4 = packet.network().is_some_and(|layer| layer.kind == Kind::Ipv4);
    // A whole packet of IPv6 has no identification, so its first fragment has none either here.
    let id = if is_v4 { packet.identification().unwrap_or(0) } else { 0 };
    let protocol = packet.protocol().unwrap_or(Protocol(0));
    let mut hash = hasher();
    hash.write_u8(protocol.0);
    let kind = packet.transport().map(|layer| layer.kind);
    let form = match (kind, packet.tcp()) {
        (Some(Kind::Tcp), Some(tcp)) => return segment(packet, tcp, (id, options), hash),
        (Some(Kind::Udp), _) => datagram(packet, depth, &mut hash),
        (Some(Kind::Icmp | Kind::Icmpv6), _) => message(packet, quoted, depth, &mut hash),
        _ => other(packet, depth, &mut hash),
    };
    hash.write_u32(id);
    Identity { key: hash.finish(), id, form, datagram: None }
}

fn segment(packet: &Headers<'_>, tcp: Tcp, (id, has_options): (u32, bool), mut hash: impl Hasher) -> Identity {
    let count = |flag: u16| u32::from(tcp.flags & flag != 0);
    let takes = carries(packet, tcp).saturating_add(count(SYN)).saturating_add(count(FIN));
    hash.write_u32(tcp.acknowledgement);
    hash.write_u16(tcp.window);
    let (clock, echo) = packet.tcp_timestamps().filter(|_| has_options).unwrap_or((0, 0));
    hash.write_u32(clock);
    hash.write_u32(echo);
    if takes > 0 {
        hash.write_u16(tcp.flags & !(PSH | FIN | CWR));
        let form = Form::Segment(tcp.sequence, tcp.sequence.wrapping_add(takes));
        return Identity { key: hash.finish(), id, form, datagram: None };
    }
    // An acknowledgement alone is never joined with another one; SACK blocks tell it from its like.
    hash.write_u16(tcp.flags);
    hash.write_u32(tcp.sequence);
    hash.write_u32(id);
    if has_options {
        sack(packet, &mut hash);
    }
    Identity { key: hash.finish(), id, form: Form::Whole, datagram: None }
}

/// How many bytes of data a segment carries. Behind the first fragment of a tunnel's packet not all of them follow, so IP's
/// own length says it, where there is one (a segment beyond 64 KiB has none).
fn carries(packet: &Headers<'_>, tcp: Tcp) -> u32 {
    let (Some(network), Some(transport)) = (packet.network(), packet.transport()) else { return tcp.payload };
    let headers = transport.body.saturating_sub(network.start);
    length(packet).checked_sub(headers).unwrap_or(tcp.payload)
}

/// The length of a packet, as its header says it, or as the capture does where it says none.
pub(super) fn length(packet: &Headers<'_>) -> u32 {
    let Some(network) = packet.network() else { return 0 };
    let field = |at: usize| {
        let bytes = packet.bytes().get(network.start as usize + at..)?.first_chunk()?;
        Some(u32::from(u16::from_be_bytes(*bytes))).filter(|length| *length != 0)
    };
    let says = match network.kind {
        Kind::Ipv4 => field(2),
        _ => field(4).map(|payload| payload + 40),
    };
    says.unwrap_or_else(|| packet.length())
}

/// The blocks of a selective acknowledgement (RFC 2018).
fn sack(packet: &Headers<'_>, hash: &mut impl Hasher) {
    const SACK: u8 = 5;
    if let Some(blocks) = packet.tcp_options().find(|option| option.kind == SACK) {
        hash.write(blocks.data);
    }
}

/// A datagram: the length that its own header says is that of the whole, also in a first fragment.
fn datagram(packet: &Headers<'_>, depth: usize, hash: &mut impl Hasher) -> Form {
    let start = packet.transport().map_or(0, |layer| layer.start as usize);
    let length = packet.bytes().get(start..).and_then(|header| header.get(4..6));
    hash.write(length.unwrap_or_default());
    payload(packet, depth, hash);
    Form::Whole
}

fn message(packet: &Headers<'_>, quoted: Option<&Headers<'_>>, depth: usize, hash: &mut impl Hasher) -> Form {
    let (kind, code) = packet.icmp().unwrap_or_default();
    hash.write_u8(kind);
    hash.write_u8(code);
    if let Some((_, sequence)) = packet.echo() {
        // NAT gives an echo another identifier.
        hash.write_u16(sequence);
        payload(packet, depth, hash);
    } else if let Some(quoted) = quoted {
        quotation(quoted, hash);
    } else {
        payload(packet, depth, hash);
    }
    Form::Whole
}

/// What an error is about. NAT rewrites the addresses and ports of what is quoted, too.
fn quotation(quoted: &Headers<'_>, hash: &mut impl Hasher) {
    hash.write_u8(quoted.protocol().unwrap_or(Protocol(0)).0);
    hash.write_u32(quoted.identification().unwrap_or(0));
    let Some(transport) = quoted.transport() else { return };
    let header = quoted.bytes().get(transport.start as usize..).unwrap_or_default();
    let field = match transport.kind {
        // The length of a datagram, the sequence number of a segment, that of an echo.
        Kind::Udp => header.get(4..6),
        Kind::Tcp => header.get(4..8),
        Kind::Icmp | Kind::Icmpv6 => header.get(6..8),
        _ => None,
    };
    hash.write(field.unwrap_or_default());
}

/// Any other protocol: its bytes behind what looks like ports, and their number.
fn other(packet: &Headers<'_>, depth: usize, hash: &mut impl Hasher) -> Form {
    hash.write_u32(length(packet));
    match packet.transport() {
        // The verification tag; SCTP's checksum covers the ports.
        Some(layer) if layer.kind == Kind::Sctp => {
            let header = layer.header(packet.bytes());
            hash.write(header.get(4..8).unwrap_or_default());
            payload(packet, depth, hash);
        }
        Some(_) => payload(packet, depth, hash),
        None => hash.write(prefix(body(packet), depth)),
    }
    Form::Whole
}

/// What of a packet's payload may be looked at.
pub(super) fn looked_at<'a>(packet: &Headers<'a>) -> &'a [u8] {
    if packet.transport().is_some() { packet.payload() } else { body(packet) }
}

/// What an IP header carries whose protocol is not decoded.
fn body<'a>(packet: &Headers<'a>) -> &'a [u8] {
    let headers = packet.layers().iter().take_while(|layer| layer.kind.is_network() || layer.kind.is_extension());
    let Some(last) = headers.last() else { return &[] };
    let end = (last.end as usize).min(packet.bytes().len());
    packet.bytes().get(last.body as usize..end).unwrap_or_default()
}

fn payload(packet: &Headers<'_>, depth: usize, hash: &mut impl Hasher) {
    hash.write(prefix(packet.payload(), depth));
}

fn prefix(bytes: &[u8], depth: usize) -> &[u8] {
    bytes.get(..depth).unwrap_or(bytes)
}

/// The identity of a later fragment: its packet's identification, its place in it, and its bytes.
pub(super) fn of_tail(packet: &Headers<'_>, datagram: u64, depth: usize) -> Identity {
    let id = packet.identification().unwrap_or(0);
    let (offset, more) = packet.fragment().unwrap_or((0, false));
    let mut hash = hasher();
    hash.write_u8(packet.protocol().unwrap_or(Protocol(0)).0);
    hash.write_u32(id);
    hash.write_u16(offset);
    hash.write_u8(more.into());
    hash.write_u32(length(packet));
    payload(packet, depth, &mut hash);
    Identity { key: hash.finish(), id, form: Form::Tail, datagram: Some(datagram) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Dissector, LinkType, Ports};

    /// The identity of an IPv4 segment with a timestamp.
    fn identity(clock: u8, depth: Depth) -> Identity {
        let mut packet = vec![0x45, 0, 0, 62, 0, 7, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0, 80, 0, 81, 0, 0, 0, 5, 0, 0, 0, 9, 0x80, 0x10, 1, 0, 0, 0, 0, 0]);
        packet.extend([1, 1, 8, 10, 0, 0, 0, clock, 0, 0, 0, 1]);
        packet.extend([7; 10]);
        let mut dissector = Dissector::new(Ports::default());
        let decoded = dissector.decode(LinkType::RAW, &packet, 62);
        of(&decoded.outermost().unwrap(), None, depth)
    }

    #[test]
    fn options_tell_segments_apart_where_all_captures_have_them() {
        let without = Depth { options: false, ..Depth::MOST };
        assert_ne!(identity(1, Depth::MOST).key, identity(2, Depth::MOST).key);
        assert_eq!(identity(1, without).key, identity(2, without).key);
        assert_eq!(identity(1, without).form, Form::Segment(5, 15));
    }
}
