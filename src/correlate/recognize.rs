//! From a decoded packet to a sight.

use std::hash::Hasher;
use std::net::IpAddr;

use crate::net::{Link, MacAddr, Protocol};
use crate::trace::Way;
use crate::wire::{Decoded, Headers, Kind, Reason};

use super::identity::{self, Identity};
use super::sight::{FileId, Lane, Outer, PointId, Sight, Vague};

/// How much of packets tells them apart. Where captures cut them it is less, and the same everywhere, or a packet that was
/// cut at one point would be none of those at the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// How many bytes of a payload.
    pub payload: usize,
    /// Whether TCP's options are looked at.
    pub options: bool,
}

impl Depth {
    /// As much as is looked at at most.
    pub const MOST: Self = Self { payload: 256, options: true };

    /// What is there with this and with another one.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { payload: self.payload.min(other.payload), options: self.options && other.options }
    }
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The capture point.
    pub point: PointId,
    /// The file.
    pub file: FileId,
    /// Its place in the file, from 1.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Which way it went, where the file says so beside the packet.
    pub way: Option<Way>,
    /// Whether the point is one device of a cooked capture, whose packets name their devices.
    pub is_one_device: bool,
}

/// Why a packet is not looked for elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is not IP, or not decoded as far as IP.
    NotIp,
    /// It is to a group or to everybody: it goes to many places, and has no path.
    Group,
}

/// How much was captured of that by which a packet is told from others. Of TCP no payload is needed; what is not IP, or not
/// captured as far as its own headers, is told by nothing that others have more of.
#[must_use]
pub fn kept(decoded: &Decoded<'_>) -> Depth {
    let innermost = decoded.packets().last().filter(|_| vague(decoded).is_none());
    let Some(innermost) = innermost else { return Depth::MOST };
    if innermost.transport().is_some_and(|layer| layer.kind == Kind::Tcp) {
        return Depth { options: cut_in(decoded) != Some(Kind::Tcp), ..Depth::MOST };
    }
    Depth { payload: identity::looked_at(&innermost).len(), ..Depth::MOST }
}

/// The header within which the capture of a packet ends.
fn cut_in(decoded: &Decoded<'_>) -> Option<Kind> {
    match decoded.flaw?.reason {
        Reason::Cut(kind) => Some(kind),
        _ => None,
    }
}

/// Of a packet that was cut within its own headers, or before it came out of its tunnels: what it may be. TCP's options may be
/// missing, an error's quotation, and what is a payload for routers.
fn vague(decoded: &Decoded<'_>) -> Option<Vague> {
    let kind = cut_in(decoded)?;
    let innermost = decoded.packets().last()?;
    let is_told = match kind {
        Kind::Tcp => innermost.tcp().is_some(),
        Kind::Dns | Kind::Wireguard => true,
        _ => false,
    };
    if is_told || decoded.quoted().is_some() {
        return None;
    }
    Some(match kind {
        Kind::Ipv4 => Vague { is_v6: Some(false), protocol: None },
        Kind::Ipv6 => Vague { is_v6: Some(true), protocol: None },
        kind if kind.is_transport() => {
            Vague { is_v6: innermost.source().map(|source| source.is_ipv6()), protocol: innermost.protocol() }
        }
        _ => Vague { is_v6: None, protocol: None },
    })
}

/// A decoded packet as a sight, of which so much is looked at.
pub fn recognize(decoded: &Decoded<'_>, origin: Origin, depth: Depth) -> Result<Sight, Unfit> {
    let mut packets = decoded.packets();
    let outermost = packets.next().ok_or(Unfit::NotIp)?;
    let inner = packets.last();
    let innermost = inner.unwrap_or(outermost);
    let (Some(source), Some(destination), Some(ttl)) = (innermost.source(), innermost.destination(), innermost.ttl())
    else {
        return Err(Unfit::NotIp);
    };
    if is_group(destination) {
        return Err(Unfit::Group);
    }
    let quoted = decoded.quoted();
    let identity = identify(origin.point, &outermost, inner.as_ref(), quoted.as_ref(), depth);
    let (device, link) = link(decoded);
    let told = || decoded.is_outgoing().map(|is_outgoing| if is_outgoing { Way::Out } else { Way::In });
    let lane = Lane {
        point: origin.point,
        device: if origin.is_one_device { 0 } else { device },
        way: origin.way.or_else(told),
        protocol: innermost.protocol().unwrap_or(Protocol(0)),
        source,
        destination,
        ports: innermost.ports().or_else(|| innermost.echo().map(|(id, _)| (id, id))),
        link,
        tunnel: inner.and_then(|_| tunnel(&outermost)),
    };
    let length = identity::length(&innermost);
    let [_, flags] = innermost.tcp().map_or(0, |tcp| tcp.flags).to_be_bytes();
    let flags = innermost.icmp().map_or(flags, |(kind, _)| kind);
    Ok(Sight {
        lane,
        file: origin.file,
        number: origin.number,
        time: origin.time,
        ttl,
        flags,
        length,
        is_wanted: true,
        vague: vague(decoded),
        identity,
    })
}

/// Multicast, and the broadcast address of no network in particular.
fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

/// Whose identity it is: the innermost packet's, unless what was seen is a later fragment of a tunnel's packet, which
/// shows no more of it.
fn identify(
    point: PointId,
    outermost: &Headers<'_>,
    inner: Option<&Headers<'_>>,
    quoted: Option<&Headers<'_>>,
    depth: Depth,
) -> Identity {
    let innermost = inner.unwrap_or(outermost);
    if let Some((1.., _)) = innermost.fragment() {
        return identity::of_tail(innermost, datagram(point, innermost), depth.payload);
    }
    let identity = identity::of(innermost, quoted, depth);
    let fragmented = [outermost, innermost].into_iter().find(|packet| packet.fragment().is_some());
    Identity { datagram: fragmented.map(|packet| datagram(point, packet)), ..identity }
}

/// The packet that a fragment is of, at one capture point.
fn datagram(point: PointId, packet: &Headers<'_>) -> u64 {
    let mut hash = identity::hasher();
    hash.write_u16(point.0);
    hash.write_u8(packet.protocol().unwrap_or(Protocol(0)).0);
    hash.write_u32(packet.identification().unwrap_or(0));
    for address in [packet.source(), packet.destination()].into_iter().flatten() {
        hash.write_u128(bits(address));
    }
    hash.finish()
}

/// An address as a number, IPv4 as IPv6 maps it.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => 0xffff_0000_0000 | u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn tunnel(outermost: &Headers<'_>) -> Option<Outer> {
    let tunnel = outermost.tunnel()?;
    let (source, destination) = (outermost.source()?, outermost.destination()?);
    Some(Outer { name: tunnel.name, vni: tunnel.vni, source, destination })
}

/// The device of a cooked packet, and the link addresses of any frame.
fn link(decoded: &Decoded<'_>) -> (u32, Option<Link>) {
    let Some(first) = decoded.layers.first() else { return (0, None) };
    let header = first.header(decoded.bytes);
    match (first.kind, header) {
        (Kind::Ethernet, [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..]) => {
            let source = MacAddr([*s0, *s1, *s2, *s3, *s4, *s5]);
            let destination = MacAddr([*d0, *d1, *d2, *d3, *d4, *d5]);
            (0, Some(Link { source, destination }))
        }
        // <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>: the device's index, then what kind of packet it
        // is (4 for one that goes out). Both are what a bridge or a hairpin changes.
        (Kind::LinuxSll2, [_, _, _, _, i0, i1, i2, i3, _, _, way, ..]) => {
            (u32::from_be_bytes([*i0, *i1, *i2, *i3]).wrapping_shl(4) | u32::from(way & 15), None)
        }
        (Kind::LinuxSll, [_, way, ..]) => (u32::from(*way), None),
        _ => (0, None),
    }
}
