//! A packet with a line for each of its headers.

use etherparse::{TcpOptionElement, TcpOptionsIterator};

use super::clock::Clock;
use super::dns::dns;
use super::icmp::{icmp, icmpv6};
use super::line::flags;
use super::name::put_number;
use super::{Buffer, Shown, told};
use crate::net::{MacAddr, Protocol};
use crate::render::{Charset, clean};
use crate::wire::{Checked, Checksum, Headers, Kind, Layer, TcpOption, TcpOptions};

/// The number of UDP-Lite, whose header has what its checksum covers in the place of UDP's length (RFC 3828).
const UDP_LITE: u8 = 136;

/// The packet's own line, and below it one for each header.
pub(super) fn tree(shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
    out.large(shown.frame.number);
    out.words(b"  ");
    match shown.frame.time {
        Some(time) => clock.date(time, out),
        None => out.words(b"no time"),
    }
    out.format(format_args!("  {} bytes", shown.frame.length));
    if shown.frame.bytes.len() != shown.frame.length as usize {
        out.format(format_args!(", {} captured", shown.frame.bytes.len()));
    }
    if let Some(name) = shown.interface {
        out.words(b", on ");
        out.str(&clean(name, Charset::Unicode));
    }
    out.byte(b'\n');
    for (word, text) in told::lines(shown) {
        head(word, out);
        out.str(&text);
        out.byte(b'\n');
    }
    // Both are in the order of the headers.
    let mut packets = shown.decoded.packets().chain(shown.decoded.cut_packet()).peekable();
    let mut checksums = shown.checksums.unwrap_or_default().iter().peekable();
    let mut quoted = None;
    for layer in shown.decoded.all_layers() {
        head(layer.kind.name(), out);
        header(said(layer, shown.decoded.bytes, &mut quoted), layer.header(shown.decoded.bytes), shown, out);
        if let Some(packet) = packets.next_if(|packet| packet.network() == Some(layer)) {
            names(&packet, shown, out);
        }
        if let Some(checked) = checksums.next_if(|checked| checked.layer == layer) {
            checksum(checked, out);
        }
        out.byte(b'\n');
    }
    payload(shown, out);
    if let Some(flaw) = shown.decoded.flaw {
        head("!", out);
        out.format(format_args!("byte {}: {}\n", flaw.offset, flaw.reason));
    }
}

/// What the headers that an error quotes have said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Quoted {
    /// Where it ended.
    end: u32,
    /// What comes next.
    protocol: u8,
}

/// A header with its length and that of what it carries as the fields say them: what an error quotes is longer than what is
/// there of it.
fn said(layer: Layer, bytes: &[u8], quoted: &mut Option<Quoted>) -> Layer {
    if layer.kind == Kind::Quote {
        *quoted = Some(Quoted::default());
    }
    let Some(Quoted { end, protocol }) = quoted.as_mut() else { return layer };
    let header = layer.header(bytes);
    let mut body = layer.body;
    match layer.kind {
        // Bytes are read as a message only where they are one's.
        Kind::Dns => return layer,
        Kind::Ipv4 => (*end, *protocol) = (layer.start + u32::from(number(header, 2)), octet(header, 9)),
        Kind::Ipv6 => (*end, *protocol) = (layer.start + 40 + u32::from(number(header, 4)), octet(header, 6)),
        Kind::Udp => {
            body = layer.start + 8;
            if *protocol != UDP_LITE && header.len() >= 6 && number(header, 4) > 0 {
                *end = layer.start + u32::from(number(header, 4));
            }
        }
        Kind::Tcp if header.len() > 12 => body = layer.start + u32::from(octet(header, 12) >> 4).max(5) * 4,
        kind if kind.is_extension() => *protocol = octet(header, 0),
        _ => {}
    }
    Layer { body, end: layer.end.max(*end), ..layer }
}

/// The names of a packet's addresses.
fn names(packet: &Headers<'_>, shown: &Shown<'_>, out: &mut Buffer) {
    let Some(told) = shown.told else { return };
    let name = |address: Option<std::net::IpAddr>| address.and_then(|address| told.names.get(address));
    let (source, destination) = (name(packet.source()), name(packet.destination()));
    if source.is_some() || destination.is_some() {
        out.format(format_args!(", {} > {}", source.unwrap_or("?"), destination.unwrap_or("?")));
    }
}

/// What a header's checksum is worth.
fn checksum(checked: &Checked, out: &mut Buffer) {
    match checked.checksum {
        Checksum::Bad { found, wanted } => {
            let digits = told::digits(checked);
            out.format(format_args!(", checksum {found:#0digits$x} is wrong, {wanted:#0digits$x} is right"));
        }
        checksum => out.format(format_args!(", checksum {}", checksum.word())),
    }
}

fn head(name: &str, out: &mut Buffer) {
    out.format(format_args!("    {name:<20} "));
}

/// What the innermost header carries.
fn payload(shown: &Shown<'_>, out: &mut Buffer) {
    let Some(last) = shown.decoded.layers.last().filter(|_| shown.decoded.cut.is_none()) else { return };
    let captured = shown.decoded.bytes.len();
    let carries = last.told_to_carry(shown.decoded.bytes).unwrap_or(0);
    if carries > 0 && last.kind != Kind::Dns {
        head("payload", out);
        let there = (last.end as usize).min(captured).saturating_sub(last.body as usize);
        out.format(format_args!("{carries} bytes at {}", last.body));
        if there < carries as usize {
            out.format(format_args!(", {there} captured"));
        }
        out.byte(b'\n');
    }
}

fn header(layer: Layer, bytes: &[u8], shown: &Shown<'_>, out: &mut Buffer) {
    match layer.kind {
        kind if is_cut(layer, shown) && !matches!(kind, Kind::Ipv4 | Kind::Ipv6) => bytes_of(bytes, out),
        Kind::Ethernet => ethernet(bytes, out),
        Kind::LinuxSll | Kind::LinuxSll2 => cooked(layer.kind, bytes, out),
        Kind::Vlan => vlan(bytes, out),
        Kind::Mpls => mpls(bytes, out),
        Kind::Arp => out.format(format_args!("operation {}", number(bytes, 6))),
        Kind::Ipv4 => ipv4(layer, bytes, out),
        Kind::Ipv6 => ipv6(layer, bytes, out),
        Kind::HopByHop | Kind::Routing | Kind::DestinationOptions | Kind::Mobility | Kind::Authentication => {
            out.format(format_args!("{} bytes", bytes.len()));
        }
        Kind::FragmentHeader => {
            let word = number(bytes, 2);
            out.format(format_args!("id {:#010x}, at {}", word32(bytes, 4), word & 0xfff8));
            out.str(if word & 1 == 1 { ", more follow" } else { "" });
        }
        Kind::Fragment | Kind::FlannelUdp | Kind::Teredo => out.format(format_args!("{} bytes", layer.carries())),
        Kind::Icmp | Kind::Icmpv6 => message(layer.kind, bytes, out),
        Kind::Igmp => out.format(format_args!("type {:#04x}", octet(bytes, 0))),
        Kind::Tcp => tcp(layer, bytes, out),
        Kind::Udp => {
            let (source, destination) = (number(bytes, 0), number(bytes, 2));
            out.format(format_args!("{source} > {destination}, length {}", layer.carries()));
        }
        Kind::Sctp => {
            out.format(format_args!("{} > {}", number(bytes, 0), number(bytes, 2)));
            if bytes.len() >= 8 {
                out.format(format_args!(", tag {:#010x}", word32(bytes, 4)));
            }
        }
        Kind::Gre => gre(bytes, out),
        Kind::Vxlan => vxlan(bytes, out),
        Kind::Geneve => {
            out.format(format_args!("vni {}, protocol {:#06x}", word32(bytes, 4) >> 8, number(bytes, 2)));
            if bytes.len() > 8 {
                out.format(format_args!(", {} bytes of options", bytes.len() - 8));
            }
        }
        Kind::Esp => out.format(format_args!("spi {:#010x}, sequence {}", word32(bytes, 0), word32(bytes, 4))),
        Kind::Wireguard => wireguard(bytes, out),
        Kind::Dns => dns(shown.decoded.bytes, layer, out),
        Kind::Loopback | Kind::Ppp | Kind::Pppoe | Kind::Llc | Kind::ControlWord | Kind::Erspan => {
            bytes_of(bytes, out);
        }
        Kind::Quote => out.words(b"what the error is about:"),
    }
}

/// Whether it is the header that ends before it says what it carries.
fn is_cut(layer: Layer, shown: &Shown<'_>) -> bool {
    shown.decoded.cut.is_some_and(|cut| (cut.kind, cut.start) == (layer.kind, layer.start))
}

fn bytes_of(bytes: &[u8], out: &mut Buffer) {
    for octet in bytes {
        out.hex(*octet);
    }
}

fn octet(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

fn number(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octet(bytes, at), octet(bytes, at + 1)])
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    u32::from(number(bytes, at)) << 16 | u32::from(number(bytes, at + 2))
}

fn mac(bytes: &[u8], at: usize) -> MacAddr {
    MacAddr(bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default())
}

fn ethernet(bytes: &[u8], out: &mut Buffer) {
    out.format(format_args!("{} > {}, ", mac(bytes, 6), mac(bytes, 0)));
    match number(bytes, 12) {
        length @ ..0x600 => out.format(format_args!("length {length}")),
        number => out.format(format_args!("type {number:#06x}")),
    }
}

/// A cooked header: which way, and who sent it.
fn cooked(kind: Kind, bytes: &[u8], out: &mut Buffer) {
    let (direction, device, size, address) = match kind {
        Kind::LinuxSll => (number(bytes, 0), number(bytes, 2), number(bytes, 4), 6),
        _ => (octet(bytes, 10).into(), number(bytes, 8), octet(bytes, 11).into(), 12),
    };
    out.str(match direction {
        0 => "in",
        1 => "in as broadcast",
        2 => "in as multicast",
        3 => "for another host",
        4 => "out",
        _ => "direction unknown",
    });
    out.format(format_args!(", device type {device}"));
    if size == 6 {
        out.format(format_args!(", from {}", mac(bytes, address)));
    }
    if kind == Kind::LinuxSll2 {
        out.format(format_args!(", interface {}", word32(bytes, 4)));
    }
}

fn vlan(bytes: &[u8], out: &mut Buffer) {
    let tag = number(bytes, 0);
    out.format(format_args!("{}, priority {}, type {:#06x}", tag & 0x0fff, tag >> 13, number(bytes, 2)));
    out.str(if tag & 0x1000 != 0 { ", may be dropped" } else { "" });
}

fn mpls(bytes: &[u8], out: &mut Buffer) {
    let entry = word32(bytes, 0);
    out.format(format_args!("label {}, class {}, ttl {}", entry >> 12, entry >> 9 & 7, entry & 0xff));
}

/// An address of so many bytes.
fn address<const N: usize>(bytes: &[u8], at: usize, out: &mut Buffer)
where
    std::net::IpAddr: From<[u8; N]>,
{
    match bytes.get(at..).and_then(<[u8]>::first_chunk::<N>) {
        Some(octets) => out.address((*octets).into()),
        None => out.byte(b'?'),
    }
}

fn ipv4(layer: Layer, bytes: &[u8], out: &mut Buffer) {
    address::<4>(bytes, 12, out);
    out.words(b" > ");
    address::<4>(bytes, 16, out);
    // As much as was captured.
    let has = |at: usize| bytes.len() >= at;
    if has(10) {
        out.words(b", ");
        put_number(Protocol(octet(bytes, 9)), out);
    }
    if has(9) {
        out.format(format_args!(", ttl {}", octet(bytes, 8)));
    }
    if has(4) {
        out.format(format_args!(", {} bytes", layer.end.saturating_sub(layer.start)));
    }
    if has(6) {
        out.format(format_args!(", id {:#06x}", number(bytes, 4)));
    }
    let flags = if has(8) { number(bytes, 6) } else { 0 };
    out.str(if flags & 0x4000 != 0 { ", DF" } else { "" });
    if flags & 0x3fff != 0 {
        out.format(format_args!(", fragment at {}", u32::from(flags & 0x1fff) * 8));
        out.str(if flags & 0x2000 != 0 { ", more follow" } else { "" });
    }
    if octet(bytes, 1) != 0 {
        out.format(format_args!(", tos {:#04x}", octet(bytes, 1)));
    }
    let options = bytes.get(20..).unwrap_or_default();
    if !options.is_empty() {
        out.words(b", options ");
        bytes_of(options, out);
    }
}

fn ipv6(layer: Layer, bytes: &[u8], out: &mut Buffer) {
    address::<16>(bytes, 8, out);
    out.words(b" > ");
    address::<16>(bytes, 24, out);
    // As much as was captured.
    let has = |at: usize| bytes.len() >= at;
    if has(7) {
        out.words(b", ");
        put_number(Protocol(octet(bytes, 6)), out);
    }
    if has(8) {
        out.format(format_args!(", hop limit {}", octet(bytes, 7)));
    }
    if has(6) {
        out.format(format_args!(", {} bytes", layer.end.saturating_sub(layer.start)));
    }
    let first = if has(4) { word32(bytes, 0) } else { 0 };
    if first & 0x0fff_ffff != 0 {
        out.format(format_args!(", class {:#04x}, flow {:#07x}", first >> 20 & 0xff, first & 0x000f_ffff));
    }
}

fn message(kind: Kind, bytes: &[u8], out: &mut Buffer) {
    let (number_of, code) = (octet(bytes, 0), octet(bytes, 1));
    let words = if kind == Kind::Icmp { icmp(number_of, code) } else { icmpv6(number_of, code) };
    out.format(format_args!("type {number_of} code {code}"));
    if let Some(words) = words {
        out.format(format_args!(", {words}"));
    }
    match (kind, number_of, code) {
        // What stands there was not captured.
        _ if bytes.len() < 8 => {}
        (Kind::Icmp, 0 | 8, _) | (Kind::Icmpv6, 128 | 129, _) => {
            out.format(format_args!(", id {}, seq {}", number(bytes, 4), number(bytes, 6)));
        }
        (Kind::Icmp, 3, 4) => out.format(format_args!(", mtu {}", number(bytes, 6))),
        (Kind::Icmpv6, 2, _) => out.format(format_args!(", mtu {}", word32(bytes, 4))),
        _ => {}
    }
}

fn tcp(layer: Layer, bytes: &[u8], out: &mut Buffer) {
    out.format(format_args!("{} > {}", number(bytes, 0), number(bytes, 2)));
    // As much as was captured.
    let has = |at: usize| bytes.len() >= at;
    if has(14) {
        flags(number(bytes, 12) & 0x0fff, out);
    }
    if has(8) {
        out.format(format_args!(", seq {}", word32(bytes, 4)));
    }
    if has(12) {
        out.format(format_args!(", ack {}", word32(bytes, 8)));
    }
    if has(16) {
        out.format(format_args!(", win {}", number(bytes, 14)));
    }
    if has(13) {
        out.format(format_args!(", length {}", layer.carries()));
    }
    TcpOptions::of(bytes).for_each(|one| option(one, out));
}

/// An option of TCP: by its name where it is a usual one, else by its number.
fn option(option: TcpOption<'_>, out: &mut Buffer) {
    match TcpOptionsIterator::from_slice(option.bytes).next() {
        Some(Ok(TcpOptionElement::MaximumSegmentSize(size))) => out.format(format_args!(", mss {size}")),
        Some(Ok(TcpOptionElement::WindowScale(shift))) => out.format(format_args!(", wscale {shift}")),
        Some(Ok(TcpOptionElement::SelectiveAcknowledgementPermitted)) => out.words(b", sackOK"),
        Some(Ok(TcpOptionElement::SelectiveAcknowledgement(first, more))) => {
            out.format(format_args!(", sack {}-{}", first.0, first.1));
            for (from, to) in more.into_iter().flatten() {
                out.format(format_args!(" {from}-{to}"));
            }
        }
        Some(Ok(TcpOptionElement::Timestamp(sent, echoed))) => out.format(format_args!(", ts {sent} {echoed}")),
        Some(Ok(TcpOptionElement::Noop)) | None => {}
        // One that is unusual, or cut.
        Some(Err(_)) => numbered(option, out),
    }
}

fn numbered(option: TcpOption<'_>, out: &mut Buffer) {
    let TcpOption { kind, length, bytes, .. } = option;
    let Some(length) = length else { return out.format(format_args!(", option {kind} without its length")) };
    out.format(format_args!(", option {kind} of {length} bytes"));
    if bytes.len() < length.into() {
        out.format(format_args!(" ({} there)", bytes.len()));
    }
}

fn gre(bytes: &[u8], out: &mut Buffer) {
    let (first, second) = (octet(bytes, 0), octet(bytes, 1));
    out.format(format_args!("type {:#06x}", number(bytes, 2)));
    let mut at = 4;
    if second.is_multiple_of(8) && first & 0xc0 != 0 {
        at += 4;
    }
    // As much as was captured.
    let has = |at: usize| bytes.len() >= at;
    if first & 0x20 != 0 {
        if has(at + 4) {
            out.format(format_args!(", key {:#010x}", word32(bytes, at)));
        }
        at += 4;
    }
    if first & 0x10 != 0 && has(at + 4) {
        out.format(format_args!(", sequence {}", word32(bytes, at)));
    }
}

fn vxlan(bytes: &[u8], out: &mut Buffer) {
    out.format(format_args!("vni {}", word32(bytes, 4) >> 8));
    let flags = octet(bytes, 0);
    if flags != 0x08 {
        out.format(format_args!(", flags {flags:#04x}"));
    }
    // The group policy extension marks packets.
    if flags & 0x80 != 0 {
        out.format(format_args!(", group {}", number(bytes, 2)));
    }
}

/// A message of WireGuard: what it is, and whose number it has.
pub(super) fn wireguard(bytes: &[u8], out: &mut Buffer) {
    let kind = match octet(bytes, 0) {
        1 => "handshake initiation",
        2 => "handshake response",
        3 => "cookie",
        _ => "data",
    };
    let index = u32::from_le_bytes([octet(bytes, 4), octet(bytes, 5), octet(bytes, 6), octet(bytes, 7)]);
    let whose = if octet(bytes, 0) == 1 { "sender" } else { "receiver" };
    out.format(format_args!("{kind}, {whose} {index:#010x}"));
}
