//! A captured packet as the one type that questions and walks have.

use std::fmt;
use std::net::IpAddr;

use super::{Decoded, Flaw, Headers, Kind, Layer};
use crate::net::{
    Encapsulation, ExtHeader, ExtHeaders, Fragments, Ip, IpOptions, Link, MacAddr, Packet, Protocol, Transport,
    VlanProtocol, VlanTag, Vni,
};

/// A captured packet as a [`Packet`], and what of it that type can't hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The outermost packet, with what its tunnels carry inside. A first fragment has the length of what was captured.
    pub packet: Packet,
    /// Which part of a fragmented packet it is; `None` for a whole one.
    pub piece: Option<Piece>,
    /// What the innermost packet carries behind its transport header, where all of it was captured.
    pub payload: Option<Vec<u8>>,
    /// What is left out, in words.
    pub left_out: Vec<String>,
}

/// A part of a fragmented packet: the outermost one, or the innermost inside a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Whether the packet that came in parts is inside a tunnel.
    pub is_inner: bool,
    /// What all parts share beside the addresses and the protocol.
    pub identification: u32,
    /// Where it stands in the whole, in bytes.
    pub offset: u32,
    /// Whether more parts follow.
    pub more: bool,
    /// The part's own length in bytes, IP header included.
    pub length: u32,
    /// The length of the headers that each part has.
    pub header: u32,
}

/// Why a captured packet is none that can be walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unheld {
    /// It has no IP header; the innermost header that was met says what it is.
    NoIp(Option<Kind>),
    /// It is a later part of a fragmented packet, which has no ports.
    LaterPiece(IpAddr, IpAddr, Piece),
    /// The capture ends before the transport header does, or that header can't be one.
    Cut(Flaw),
}

impl fmt::Display for Unheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIp(None) => f.write_str("no header that is known"),
            Self::NoIp(Some(kind)) => write!(f, "{} without IP", kind.name()),
            Self::LaterPiece(..) => f.write_str("a later fragment"),
            Self::Cut(flaw) => write!(f, "{}, at byte {}", flaw.reason, flaw.offset),
        }
    }
}

impl Decoded<'_> {
    /// The packet as a walk has it. Fails where it has no addresses, or no transport header.
    pub fn packet(&self) -> Result<Held, Unheld> {
        let all: Vec<Headers<'_>> = self.packets().collect();
        let (mut nest, mut left_out) = (Vec::new(), Vec::new());
        let mut piece = None;
        for (depth, headers) in all.iter().enumerate() {
            let Some(ip) = ip(headers) else {
                return Err(Unheld::NoIp(headers.network().map(|layer| layer.kind)));
            };
            let found = fragment(headers, depth > 0);
            if let Some(found) = found.filter(|found| found.offset > 0) {
                return Err(Unheld::LaterPiece(ip.source, ip.destination, found));
            }
            piece = piece.or(found);
            let transport = self.transport(headers, ip, &mut left_out)?;
            let mut packet = Packet::new(ip, transport, headers.length());
            packet.link = self.link(headers);
            packet.tags = self.tags(headers);
            packet.options = options(headers);
            packet.extensions = extensions(headers, &mut left_out);
            packet.fragments = found.map(|found| Fragments { count: 2, largest: found.length });
            nest.push(packet);
            let Some((tunnel, _)) = headers.tunnel().zip(all.get(depth + 1)) else { break };
            let Some(encapsulation) = encapsulation(tunnel.name, tunnel.vni) else {
                left_out.push(format!("what {} carries is not walked", tunnel.name));
                break;
            };
            set_encapsulation(&mut nest, encapsulation);
        }
        left_out.extend(self.labels());
        left_out.extend(self.flaw.filter(|flaw| flaw.reason.is_malformed()).map(|flaw| flaw.reason.to_string()));
        let payload = all.last().filter(|_| piece.is_none()).and_then(payload);
        let no_ip = || Unheld::NoIp(self.layers.last().map(|layer| layer.kind));
        let cut = self.flaw.filter(|_| self.cut_packet().is_some());
        let packet = nested(nest).ok_or_else(|| cut.map_or_else(no_ip, Unheld::Cut))?;
        Ok(Held { packet, piece, payload, left_out })
    }

    /// The transport header behind an IP header.
    fn transport(&self, headers: &Headers<'_>, ip: Ip, left_out: &mut Vec<String>) -> Result<Transport, Unheld> {
        let cut = || self.flaw.map_or(Unheld::NoIp(headers.network().map(|layer| layer.kind)), Unheld::Cut);
        let Some(protocol) = headers.protocol() else { return Err(cut()) };
        if is_authenticated(headers) {
            return Ok(Transport::Other(ExtHeader::AUTH));
        }
        let ports = headers.ports().map(|(source, destination)| (Some(source), Some(destination)));
        Ok(match (headers.transport().map(|layer| layer.kind), ports) {
            (Some(Kind::Tcp), Some((source, destination))) => {
                let tcp = headers.tcp().ok_or_else(cut)?;
                if tcp.flags & 0x100 != 0 {
                    left_out.push("TCP's flag AE".to_owned());
                }
                let [_, flags] = tcp.flags.to_be_bytes();
                Transport::Tcp { source, destination, flags }
            }
            (Some(Kind::Udp), Some((source, destination))) if protocol == Protocol::UDP => {
                Transport::Udp { source, destination }
            }
            (Some(Kind::Sctp), Some((source, destination))) => Transport::Sctp { source, destination },
            (Some(Kind::Icmp | Kind::Icmpv6), _) => {
                let (kind, code) = headers.icmp().ok_or_else(cut)?;
                let v6 = ip.destination.is_ipv6();
                let mut packet = Packet::new(ip, Transport::Icmp { kind, code, id: None, quoted: None }, 0);
                let is_error = packet.is_icmp_error();
                if let Transport::Icmp { id, quoted, .. } = &mut packet.transport {
                    *id = identifier(headers, kind);
                    *quoted =
                        Packet::quoted(headers.payload(), v6).filter(|_| is_error).map(|about| self.with_inner(about));
                }
                packet.transport
            }
            (Some(Kind::Tcp | Kind::Udp | Kind::Sctp), None) => return Err(cut()),
            _ => Transport::Other(protocol),
        })
    }

    /// What an error quotes, with what that carries where it is a tunnel's.
    fn with_inner(&self, mut about: Packet) -> Box<Packet> {
        let quoted = self.quoted();
        let inner = quoted.as_ref().and_then(|quoted| {
            let tunnel = quoted.tunnel()?;
            let layer = quoted.layers().iter().skip(1).find(|layer| matches!(layer.kind, Kind::Ipv4 | Kind::Ipv6))?;
            let bytes = self.bytes.get(layer.start as usize..)?;
            Some((encapsulation(tunnel.name, tunnel.vni)?, Packet::quoted(bytes, layer.kind == Kind::Ipv6)?))
        });
        if let Some((encapsulation, inner)) = inner {
            (about.encapsulation, about.inner) = (Some(encapsulation), Some(Box::new(inner)));
        }
        Box::new(about)
    }

    /// The Ethernet header that stands before an IP header, tags between them aside.
    fn link(&self, headers: &Headers<'_>) -> Option<Link> {
        let start = headers.network()?.start;
        let before = self.layers.iter().take_while(|layer| layer.start < start);
        let frame: &Layer = before.filter(|layer| !matches!(layer.kind, Kind::Vlan | Kind::Llc)).last()?;
        let bytes = Some(frame.header(self.bytes)).filter(|_| frame.kind == Kind::Ethernet)?;
        let (destination, rest) = bytes.split_first_chunk::<6>()?;
        let source = rest.first_chunk::<6>()?;
        Some(Link { source: MacAddr(*source), destination: MacAddr(*destination) })
    }

    /// Whether a cooked header says that the packet was sent (`LINUX_SLL_OUTGOING`), or that it came in; `None` where
    /// there is no such header.
    #[must_use]
    pub fn is_outgoing(&self) -> Option<bool> {
        let first = self.layers.first()?;
        let header = first.header(self.bytes);
        match (first.kind, header) {
            (Kind::LinuxSll, [_, kind, ..]) | (Kind::LinuxSll2, [_, _, _, _, _, _, _, _, _, _, kind, ..]) => {
                Some(*kind == 4)
            }
            _ => None,
        }
    }

    /// The VLAN tags between an Ethernet header and an IP header, the outermost first.
    fn tags(&self, headers: &Headers<'_>) -> Vec<VlanTag> {
        let start = headers.network().map_or(0, |network| network.start);
        let before: Vec<&Layer> = self.layers.iter().take_while(|layer| layer.start < start).collect();
        let count = before.iter().rev().take_while(|layer| layer.kind == Kind::Vlan).count();
        let tag = |layer: &Layer| {
            let control = super::u16_at(self.bytes, layer.start as usize)?;
            let protocol = self.tag_protocol(layer)?;
            let priority = u8::try_from(control >> 13).ok();
            Some(VlanTag { protocol, id: control & 0x0fff, priority, drop_eligible: control & 0x1000 != 0 })
        };
        before.iter().rev().take(count).rev().filter_map(|layer| tag(layer)).collect()
    }

    /// What announces a VLAN tag, if the kernel takes it for one (`eth_type_vlan` in `include/linux/if_vlan.h`).
    fn tag_protocol(&self, layer: &Layer) -> Option<VlanProtocol> {
        let announced = self.announced(*layer)?;
        [VlanProtocol::Customer, VlanProtocol::Service].into_iter().find(|protocol| protocol.number() == announced)
    }

    /// Labels around the outermost packet, and tags that no kernel knows.
    fn labels(&self) -> Option<String> {
        let mut around = self.layers.iter().take_while(|layer| !layer.kind.is_network());
        let label = around.find(|layer| match layer.kind {
            Kind::Mpls | Kind::Pppoe => true,
            Kind::Vlan => self.tag_protocol(layer).is_none(),
            _ => false,
        })?;
        Some(format!("the {} header around it", label.kind.name()))
    }
}

/// The IP header's fields; `None` for ARP.
fn ip(headers: &Headers<'_>) -> Option<Ip> {
    Some(Ip {
        source: headers.source()?,
        destination: headers.destination()?,
        ttl: headers.ttl()?,
        tos: headers.tos()?,
        df: headers.dont_fragment(),
    })
}

/// The identifier of an ICMP query, which connection tracking takes for a port.
fn identifier(headers: &Headers<'_>, kind: u8) -> Option<u16> {
    let transport = headers.transport()?;
    let queries = match transport.kind {
        Kind::Icmp => matches!(kind, 0 | 8 | 13..=18),
        _ => matches!(kind, 128 | 129 | 139 | 140),
    };
    super::u16_at(headers.bytes(), transport.start as usize + 4).filter(|_| queries)
}

fn fragment(headers: &Headers<'_>, is_inner: bool) -> Option<Piece> {
    let (offset, more) = headers.fragment()?;
    let network = headers.network()?;
    // IPv6's parts have the fragment header besides, which the whole packet hasn't.
    let header = network.body - network.start + if network.kind == Kind::Ipv6 { 8 } else { 0 };
    let identification = headers.identification()?;
    Some(Piece { is_inner, identification, offset: offset.into(), more, length: headers.length(), header })
}

/// IPv4's options.
fn options(headers: &Headers<'_>) -> IpOptions {
    let Some(network) = headers.network().filter(|network| network.kind == Kind::Ipv4) else {
        return IpOptions::default();
    };
    let bytes = headers.bytes().get(network.start as usize + 20..network.body as usize);
    IpOptions::known(bytes.unwrap_or_default())
}

/// IPv6's extension headers but the one that splits a packet.
fn extensions(headers: &Headers<'_>, left_out: &mut Vec<String>) -> ExtHeaders {
    if headers.network().is_none_or(|network| network.kind != Kind::Ipv6) {
        return ExtHeaders::default();
    }
    let is_piece = headers.fragment().is_some();
    let layers = headers.layers().iter().skip(1).take_while(|layer| layer.kind.is_extension());
    let mut list = Vec::new();
    for layer in layers.filter(|layer| !(is_piece && layer.kind == Kind::FragmentHeader)) {
        let behind = headers.bytes().get(layer.start as usize + 1..layer.body as usize);
        match extension(layer.kind).zip(behind).and_then(|(kind, behind)| ExtHeader::new(kind, behind)) {
            Some(header) => list.push(header),
            None => left_out.push(format!("the {} header", layer.kind.name())),
        }
    }
    ExtHeaders::new(list)
}

/// The number that announces an extension header.
fn extension(kind: Kind) -> Option<Protocol> {
    Some(match kind {
        Kind::HopByHop => ExtHeader::HOP,
        Kind::Routing => ExtHeader::ROUTING,
        Kind::FragmentHeader => ExtHeader::FRAGMENT,
        Kind::Authentication => ExtHeader::AUTH,
        Kind::DestinationOptions => ExtHeader::DEST,
        _ => return None,
    })
}

/// What IPv4 carries in an authentication header is part of that to everybody but IPsec, which is not walked; IPv6 takes
/// the header for an extension.
fn is_authenticated(headers: &Headers<'_>) -> bool {
    let mut kinds = headers.layers().iter().map(|layer| layer.kind);
    kinds.next() == Some(Kind::Ipv4) && kinds.next() == Some(Kind::Authentication)
}

/// What the transport header carries, where the capture has all of it.
fn payload(headers: &Headers<'_>) -> Option<Vec<u8>> {
    let transport = headers.transport().filter(|_| !is_authenticated(headers))?;
    let payload = headers.payload();
    (payload.len() == transport.carries() as usize).then(|| payload.to_vec())
}

fn encapsulation(tunnel: &str, vni: Option<u32>) -> Option<Encapsulation> {
    match (tunnel, vni) {
        ("vxlan", Some(vni)) => Some(Encapsulation::Vxlan(Vni(vni))),
        ("flannel-udp", _) => Some(Encapsulation::Relay),
        _ => None,
    }
}

fn set_encapsulation(nest: &mut [Packet], encapsulation: Encapsulation) {
    if let Some(packet) = nest.last_mut() {
        packet.encapsulation = Some(encapsulation);
    }
}

/// Puts packets one into the other, the first one outermost.
fn nested(nest: Vec<Packet>) -> Option<Packet> {
    let mut packets = nest.into_iter().rev();
    let mut packet = packets.next()?;
    // What nothing is inside of carries nothing.
    packet.encapsulation = None;
    for mut outer in packets {
        outer.inner = Some(Box::new(packet));
        packet = outer;
    }
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::super::{Dissector, LinkType, Ports};
    use super::*;

    fn held(link_type: LinkType, bytes: &[u8]) -> Result<Held, Unheld> {
        let mut dissector = Dissector::new(Ports::default());
        dissector.decode(link_type, bytes, u32::try_from(bytes.len()).unwrap()).packet()
    }

    const TCP: [u8; 40] = [
        0x45, 0x10, 0, 40, 0, 1, 0x40, 0, 63, 6, 0, 0, 10, 244, 1, 2, 10, 244, 2, 3, 0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0,
        0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
    ];

    fn ethernet(source: u8, inner: &[u8]) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, source, 8, 0], inner].concat()
    }

    fn vxlan(inner: &[u8]) -> Vec<u8> {
        let udp = [0xc3, 0x50, 0x21, 0x18, 0, u8::try_from(inner.len() + 16).unwrap(), 0, 0];
        let total = u8::try_from(inner.len() + 36).unwrap();
        let ip = [0x45, 0, 0, total, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 11, 192, 0, 2, 12];
        [&ip[..], &udp, &[8, 0, 0, 0, 0, 0, 1, 0], inner].concat()
    }

    #[test]
    fn a_segment_has_all_that_decides() {
        let held = held(LinkType::ETHERNET, &ethernet(1, &TCP)).unwrap();
        let packet = &held.packet;
        assert_eq!((packet.ip.ttl, packet.ip.tos, packet.ip.df, packet.length), (63, 0x10, true, 40));
        assert_eq!(packet.transport, Transport::Tcp { source: Some(40000), destination: Some(80), flags: 2 });
        assert_eq!(packet.link.unwrap().source, MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!((held.piece, held.payload, held.left_out.len()), (None, Some(Vec::new()), 0));
    }

    #[test]
    fn a_tunnel_packet_has_the_inner_one_inside_with_its_frame() {
        let frame = ethernet(1, &vxlan(&ethernet(7, &TCP)));
        let packet = held(LinkType::ETHERNET, &frame).unwrap().packet;
        assert_eq!(packet.encapsulation, Some(Encapsulation::Vxlan(Vni(1))));
        assert_eq!((packet.source_port(), packet.destination_port(), packet.length), (Some(50000), Some(8472), 90));
        let inner = packet.inner.as_deref().unwrap();
        assert_eq!((inner.link.unwrap().source, inner.length), (MacAddr([2, 0, 0, 0, 0, 7]), 40));
        assert_eq!((inner.encapsulation, packet.link.unwrap().source), (None, MacAddr([2, 0, 0, 0, 0, 1])));
    }

    #[test]
    fn an_error_has_the_packet_that_it_is_about() {
        let mut error =
            vec![0x45, 0, 0, 56, 0, 1, 0, 0, 64, 1, 0, 0, 10, 244, 1, 1, 10, 244, 1, 2, 11, 0, 0, 0, 0, 0, 0, 0];
        error.extend(&TCP[..28]);
        let held = held(LinkType::RAW, &error).unwrap();
        let Transport::Icmp { kind: 11, code: 0, id: None, quoted: Some(quoted) } = held.packet.transport else {
            panic!("{:?}", held.packet.transport)
        };
        assert_eq!((quoted.ip.destination, quoted.destination_port()), ([10, 244, 2, 3].into(), Some(80)));
    }

    #[test]
    fn fragments_are_told_apart() {
        let mut first = TCP;
        first[6] = 0x20;
        let held_first = held(LinkType::RAW, &first).unwrap();
        let piece = held_first.piece.unwrap();
        assert_eq!((piece.offset, piece.more, piece.length, piece.header), (0, true, 40, 20));
        assert_eq!(held_first.payload, None);
        let mut later = TCP;
        later[6..8].copy_from_slice(&[0, 5]);
        let Err(Unheld::LaterPiece(_, _, piece)) = held(LinkType::RAW, &later) else { panic!() };
        assert_eq!((piece.offset, piece.more), (40, false));
    }

    #[test]
    fn what_no_packet_can_hold_is_told() {
        let mut options = vec![0x46, 0, 0, 44, 0, 1, 0, 0, 63, 6, 0, 0, 10, 244, 1, 2, 10, 244, 2, 3, 1, 1, 1, 0];
        options.extend(&TCP[20..]);
        let options = held(LinkType::RAW, &options).unwrap();
        assert_eq!((options.packet.options, options.left_out.len()), (IpOptions::known(&[1, 1, 1, 0]), 0));
        let tagged = [&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 5, 8, 0][..], &TCP].concat();
        let tagged = held(LinkType::ETHERNET, &tagged).unwrap();
        assert_eq!((tagged.left_out.len(), &tagged.packet.tags[..]), (0, &[VlanTag::new(5)][..]));
        assert_eq!(tagged.packet.link.unwrap().source, MacAddr([2, 0, 0, 0, 0, 1]));
        let twice = [0x88, 0xa8, 0x60, 5, 0x81, 0, 0, 6, 8, 0];
        let twice = held(LinkType::ETHERNET, &[&ethernet(1, &[])[..12], &twice, &TCP].concat()).unwrap();
        let outer = VlanTag { protocol: VlanProtocol::Service, priority: Some(3), ..VlanTag::new(5) };
        assert_eq!(twice.packet.tags, [outer, VlanTag::new(6)]);
        let with = |tags: &[u8]| held(LinkType::ETHERNET, &[&ethernet(1, &[])[..12], tags, &TCP].concat()).unwrap();
        let eligible = with(&[0x81, 0, 0x10, 5, 8, 0]);
        assert_eq!(eligible.packet.tags, [VlanTag { drop_eligible: true, ..VlanTag::new(5) }]);
        // A cooked header of the second version says in its first bytes what follows it.
        let cooked =
            [&[0x88, 0xa8, 0, 0, 0, 0, 0, 2, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0, 5, 8, 0][..], &TCP].concat();
        let cooked = held(LinkType::LINUX_SLL2, &cooked).unwrap();
        assert_eq!(cooked.packet.tags, [VlanTag { protocol: VlanProtocol::Service, ..VlanTag::new(5) }]);
        // No kernel takes an old tag of QinQ for one.
        let old = with(&[0x91, 0, 0, 5, 0x81, 0, 0, 6, 8, 0]);
        assert_eq!(
            (old.packet.tags, old.left_out),
            (vec![VlanTag::new(6)], vec!["the vlan header around it".to_owned()])
        );
        let mut ipip = vec![0x45, 0, 0, 60, 0, 1, 0, 0, 63, 4, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        ipip.extend(TCP);
        let outer = held(LinkType::RAW, &ipip).unwrap();
        assert_eq!(outer.left_out, ["what ipip carries is not walked"]);
        assert_eq!((outer.packet.protocol().0, outer.packet.inner), (4, None));
    }

    fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, u8::try_from(rest.len()).unwrap(), next, 64];
        packet.extend([0xfd; 32]);
        packet.extend(rest);
        packet
    }

    #[test]
    fn extension_headers_are_part_of_the_packet() {
        let udp = [0, 1, 0, 2, 0, 8, 0, 0];
        let hop = [17, 0, 0x5e, 4, 0, 0, 0, 0];
        let packet = held(LinkType::RAW, &ipv6(0, &[hop, udp].concat())).unwrap().packet;
        let kinds = |packet: &Packet| packet.extensions.list().iter().map(|header| header.kind().0).collect::<Vec<_>>();
        assert_eq!((kinds(&packet), packet.length, packet.protocol()), (vec![0], 56, Protocol::UDP));
        assert_eq!(packet.extensions.bytes(Protocol::UDP), hop);
        // An atomic fragment is whole; the header that splits a packet is no part of the whole.
        let whole = held(LinkType::RAW, &ipv6(44, &[[17, 0, 0, 0, 0, 0, 0, 9], udp].concat())).unwrap();
        assert_eq!((kinds(&whole.packet), whole.piece), (vec![44], None));
        let first = held(LinkType::RAW, &ipv6(44, &[[17, 0, 0, 1, 0, 0, 0, 9], udp].concat())).unwrap();
        assert_eq!((kinds(&first.packet), first.piece.is_some()), (vec![], true));
    }

    #[test]
    fn what_ipv4_authenticates_is_of_the_protocol_ah() {
        let (auth, udp) = ([17, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1], [0, 1, 0, 2, 0, 8, 0, 0]);
        let mut v4 = vec![0x45, 0, 0, 40, 0, 1, 0, 0, 64, 51, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        v4.extend([&auth[..], &udp].concat());
        let v4 = held(LinkType::RAW, &v4).unwrap();
        assert_eq!((v4.packet.transport, v4.payload, v4.left_out.len()), (Transport::Other(ExtHeader::AUTH), None, 0));
        let auth = [17, 2, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
        let v6 = held(LinkType::RAW, &ipv6(51, &[&auth[..], &udp].concat())).unwrap().packet;
        assert_eq!((v6.protocol(), v6.extensions.list().len()), (Protocol::UDP, 1));
    }

    #[test]
    fn what_has_no_addresses_or_ports_is_refused() {
        assert!(matches!(held(LinkType::RAW, &TCP[..19]), Err(Unheld::Cut(_))));
        let arp = [&[255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6][..], &[0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]];
        assert_eq!(held(LinkType::ETHERNET, &arp.concat()), Err(Unheld::NoIp(Some(Kind::Arp))));
        assert!(matches!(held(LinkType::RAW, &TCP[..30]), Err(Unheld::Cut(_))));
    }
}
