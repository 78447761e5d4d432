//! A packet in a line: outermost first, tunnels with bars between.

use super::clock::of_day;
use super::dns::dns;
use super::icmp::{icmp, icmpv6};
use super::name::{TCP_FLAGS, put_protocol};
use super::tree::wireguard;
use super::{Buffer, Shown, told};
use crate::net::MacAddr;
use crate::wire::{Headers, Kind, Layer};

/// The flag that makes TCP's acknowledgement number valid.
const ACK: u16 = 0x10;

/// So many packets of a nest are shown; of a deeper one the first and the last.
const MOST_PACKETS: usize = 4;

/// The packet, with its number and time of day.
pub(super) fn line(shown: &Shown<'_>, out: &mut Buffer) {
    let start = out.len();
    out.large(shown.frame.number);
    out.pad_left(start, 6);
    out.words(b"  ");
    match shown.frame.time {
        Some(time) => of_day(time, out),
        None => out.words(b"no time           "),
    }
    out.words(b"  ");
    if let Some(name) = shown.interface {
        out.str(&crate::render::clean(name, crate::render::Charset::Unicode));
        out.words(b"  ");
    }
    packets(shown, out);
    if let Some(flaw) = shown.decoded.flaw {
        out.words(b"  ! byte ");
        out.number(flaw.offset);
        out.words(b": ");
        out.format(format_args!("{}", flaw.reason));
    }
    told::behind(shown, out);
    out.byte(b'\n');
}

/// The nest of packets.
pub(super) fn packets(shown: &Shown<'_>, out: &mut Buffer) {
    let decoded = shown.decoded;
    let cut = decoded.cut_packet();
    let count = decoded.packets().count() + usize::from(cut.is_some());
    // A header that was cut before its addresses says less than the link layer's.
    if count == 0 || count == 1 && cut.is_some_and(|packet| packet.source().is_none()) {
        return without_network(shown, out);
    }
    let mut before = 0;
    for (place, packet) in decoded.packets().enumerate() {
        let at = decoded.layers.len() - packet.layers().len();
        let between = decoded.layers.get(before..at).unwrap_or_default();
        before = at;
        in_nest(shown, &packet, (place, count), between, out);
    }
    if let Some(packet) = cut {
        in_nest(shown, &packet, (count - 1, count), decoded.layers.get(before..).unwrap_or_default(), out);
    }
}

/// A packet at its place of so many, and what stands before it.
#[inline]
fn in_nest(
    shown: &Shown<'_>,
    packet: &Headers<'_>,
    (place, count): (usize, usize),
    between: &[Layer],
    out: &mut Buffer,
) {
    if count > MOST_PACKETS && place == 1 {
        out.format(format_args!("({} more tunnels) | ", count - 2));
    }
    if count > MOST_PACKETS && place > 0 && place + 1 < count {
        return;
    }
    tags(shown.decoded.bytes, between, out);
    one(shown, packet, place + 1 == count, out);
}

/// VLANs and labels before a packet.
fn tags(bytes: &[u8], layers: &[Layer], out: &mut Buffer) {
    for layer in layers {
        let header = bytes.get(layer.start as usize..).unwrap_or_default();
        match (layer.kind, header) {
            (Kind::Vlan, [high, low, ..]) => {
                out.words(b"vlan ");
                out.number((u16::from_be_bytes([*high, *low]) & 0x0fff).into());
                out.byte(b' ');
            }
            (Kind::Mpls, [a, b, c, ..]) => {
                out.words(b"mpls ");
                out.number(u32::from_be_bytes([0, *a, *b, *c]) >> 4);
                out.byte(b' ');
            }
            _ => {}
        }
    }
}

/// A packet that carries another one, or the innermost.
fn one(shown: &Shown<'_>, packet: &Headers<'_>, is_last: bool, out: &mut Buffer) {
    if packet.network().is_some_and(|layer| layer.kind == Kind::Arp) {
        return arp(packet, out);
    }
    endpoints(shown, packet, out);
    out.byte(b' ');
    if let Some(tunnel) = packet.tunnel_to(shown.decoded.cut).filter(|_| !is_last) {
        out.str(tunnel.name);
        if let Some(vni) = tunnel.vni {
            out.byte(b' ');
            out.number(vni);
        }
        fragment(packet, out);
        return out.words(b" | ");
    }
    put_protocol(packet, out);
    if packet.network() == shown.decoded.cut {
        return fragment(packet, out);
    }
    details(shown, packet, out);
}

fn endpoints(shown: &Shown<'_>, packet: &Headers<'_>, out: &mut Buffer) {
    let (source_port, destination_port) = packet.ports().unzip();
    told::name(shown, packet.source(), out);
    endpoint(packet.source(), source_port, out);
    out.words(b" > ");
    told::name(shown, packet.destination(), out);
    endpoint(packet.destination(), destination_port, out);
}

fn endpoint(address: Option<std::net::IpAddr>, port: Option<u16>, out: &mut Buffer) {
    let Some(address) = address else { return out.byte(b'?') };
    let Some(port) = port else { return out.address(address) };
    if address.is_ipv6() {
        out.byte(b'[');
    }
    out.address(address);
    if address.is_ipv6() {
        out.byte(b']');
    }
    out.byte(b':');
    out.number(port.into());
}

/// Which part of a packet it is, where it is one.
fn fragment(packet: &Headers<'_>, out: &mut Buffer) {
    let Some((offset, more)) = packet.fragment() else { return };
    out.words(b" fragment at ");
    out.number(offset.into());
    if more {
        out.words(b", more follow");
    }
}

fn details(shown: &Shown<'_>, packet: &Headers<'_>, out: &mut Buffer) {
    fragment(packet, out);
    if let Some(tcp) = packet.tcp() {
        flags(tcp.flags, out);
        out.words(b" seq ");
        out.number(tcp.sequence);
        if tcp.flags & ACK != 0 {
            out.words(b" ack ");
            out.number(tcp.acknowledgement);
        }
        out.words(b" win ");
        out.number(tcp.window.into());
    } else if let Some(layer) = packet.transport().filter(|layer| layer.kind == Kind::Tcp) {
        cut_segment(layer.header(packet.bytes()), out);
    }
    if let Some((kind, code)) = packet.icmp() {
        message(packet, kind, code, out);
    }
    if let Some(layer) = packet.layers().iter().find(|layer| layer.kind == Kind::Dns) {
        out.words(b" dns ");
        dns(packet.bytes(), *layer, out);
    }
    if let Some(layer) = packet.layers().iter().find(|layer| layer.kind == Kind::Wireguard) {
        out.words(b" wireguard ");
        wireguard(layer.header(packet.bytes()), out);
    }
    let payload = match packet.transport() {
        Some(layer) => layer.told_to_carry(packet.bytes()),
        None => Some(carries(packet)).filter(|_| !is_cut(shown)),
    };
    if let Some(payload) = payload {
        out.words(b" length ");
        out.number(payload);
    }
    quoted(shown, packet, out);
}

/// How many bytes IP's header and its extensions carry.
fn carries(packet: &Headers<'_>) -> u32 {
    let is_ip = |layer: &&Layer| layer.kind.is_network() || layer.kind.is_extension();
    packet.layers().iter().take_while(is_ip).last().map_or(0, |layer| layer.carries())
}

/// Whether a packet ends within a header, so that nobody knows what that one carries.
fn is_cut(shown: &Shown<'_>) -> bool {
    shown.decoded.ends_in.is_some()
}

/// What is there of a TCP header that ends before its window.
fn cut_segment(header: &[u8], out: &mut Buffer) {
    let flagged =
        header.get(12..14).map(|word| word.iter().fold(0, |sum, octet| sum << 8 | u16::from(*octet)) & 0x0fff);
    let number = |at: usize| header.get(at..)?.first_chunk().copied().map(u32::from_be_bytes);
    if let Some(flagged) = flagged {
        flags(flagged, out);
    }
    if let Some(sequence) = number(4) {
        out.words(b" seq ");
        out.number(sequence);
    }
    if let Some(acknowledgement) = number(8).filter(|_| flagged.is_some_and(|flagged| flagged & ACK != 0)) {
        out.words(b" ack ");
        out.number(acknowledgement);
    }
}

/// The letters of TCP's flags.
pub(super) fn flags(flags: u16, out: &mut Buffer) {
    let mut separator = b' ';
    for (bit, name) in TCP_FLAGS {
        if flags & bit != 0 {
            out.byte(separator);
            out.str(name);
            separator = b',';
        }
    }
    if separator == b' ' {
        out.words(b" no flags");
    }
}

fn message(packet: &Headers<'_>, kind: u8, code: u8, out: &mut Buffer) {
    let is_v6 = packet.transport().is_some_and(|layer| layer.kind == Kind::Icmpv6);
    out.byte(b' ');
    match if is_v6 { icmpv6(kind, code) } else { icmp(kind, code) } {
        Some(words) => out.str(words),
        None => out.format(format_args!("type {kind} code {code}")),
    }
    if let Some((id, sequence)) = packet.echo() {
        out.words(b" id ");
        out.number(id.into());
        out.words(b" seq ");
        out.number(sequence.into());
    }
}

/// What an error is about.
fn quoted(shown: &Shown<'_>, packet: &Headers<'_>, out: &mut Buffer) {
    let layers = packet.layers();
    let Some(at) = layers.iter().position(|layer| layer.kind == Kind::Quote) else { return };
    let behind = layers.get(at..).unwrap_or_default();
    let whole = behind.iter().position(|layer| layer.kind.is_network()).map(|network| packet.within(at + network));
    let Some(quoted) = whole.or_else(|| shown.decoded.cut_header()) else { return };
    out.words(b" about {");
    endpoints(shown, &quoted, out);
    out.byte(b' ');
    put_protocol(&quoted, out);
    out.byte(b'}');
}

fn arp(packet: &Headers<'_>, out: &mut Buffer) {
    let layer = packet.network().unwrap_or(Layer { kind: Kind::Arp, start: 0, body: 0, end: 0 });
    let bytes = layer.header(packet.bytes());
    let Some(operation) = bytes.get(6..).and_then(<[u8]>::first_chunk).copied().map(u16::from_be_bytes) else {
        return out.words(b"arp");
    };
    let (Some(sender), Some(target)) = (packet.source(), packet.destination()) else {
        return out.format(format_args!("arp operation {operation}"));
    };
    match (operation, bytes) {
        (1, _) => out.format(format_args!("arp who has {target}? tell {sender}")),
        (2, [_, _, _, _, 6, _, _, _, rest @ ..]) => {
            let link = MacAddr(rest.first_chunk().copied().unwrap_or_default());
            out.format(format_args!("arp {sender} is at {link}, tell {target}"));
        }
        _ => out.format(format_args!("arp operation {operation} {sender} > {target}")),
    }
}

/// A packet of which no IP header is known.
fn without_network(shown: &Shown<'_>, out: &mut Buffer) {
    let decoded = shown.decoded;
    if let (Some(Layer { kind: Kind::Ethernet, .. }), Some(header)) =
        (decoded.layers.first(), decoded.bytes.first_chunk::<12>())
    {
        let [d1, d2, d3, d4, d5, d6, s1, s2, s3, s4, s5, s6] = *header;
        out.mac(MacAddr([s1, s2, s3, s4, s5, s6]));
        out.words(b" > ");
        out.mac(MacAddr([d1, d2, d3, d4, d5, d6]));
        out.byte(b' ');
    }
    tags(decoded.bytes, decoded.layers, out);
    match decoded.layers.last() {
        Some(layer) => out.str(layer.kind.name()),
        None => out.format(format_args!("link type {}", shown.frame.link_type)),
    }
    out.words(b" length ");
    out.number(shown.frame.length);
}
