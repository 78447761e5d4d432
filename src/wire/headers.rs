//! One packet of a nest: an IP or ARP header, and what belongs to it.

use std::net::IpAddr;

use super::{Kind, Layer, Tunnel, u16_at, u32_at};
use crate::net::Protocol;

/// A view of one packet of a nest. Its methods read the fields where they stand; `None` is for what the packet doesn't
/// have, or the capture doesn't hold.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    /// From the network header on, deeper packets included.
    layers: &'a [Layer],
}

impl<'a> Headers<'a> {
    pub(super) fn new(bytes: &'a [u8], layers: &'a [Layer]) -> Self {
        Self { bytes, layers }
    }

    /// The network header's layer: [`Kind::Ipv4`], [`Kind::Ipv6`] or [`Kind::Arp`].
    #[must_use]
    pub fn network(&self) -> Option<Layer> {
        self.layers.first().copied()
    }

    /// The transport header's layer. A later fragment has [`Kind::Fragment`] there.
    #[must_use]
    pub fn transport(&self) -> Option<Layer> {
        let behind = self.layers.get(1..)?;
        let transport = behind.iter().find(|layer| !layer.kind.is_extension())?;
        transport.kind.is_transport().then_some(*transport)
    }

    /// The source address; of ARP the sender's.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.address(12, 8, 0)
    }

    /// The destination address; of ARP the target's.
    #[must_use]
    pub fn destination(&self) -> Option<IpAddr> {
        self.address(16, 24, 1)
    }

    /// The address that stands so far behind the first byte of an IPv4 or IPv6 header, or the first or second one of an
    /// ARP packet.
    fn address(&self, ipv4: usize, ipv6: usize, arp: usize) -> Option<IpAddr> {
        let header = self.header()?;
        match self.network()?.kind {
            Kind::Ipv4 => Some(IpAddr::from(*header.get(ipv4..)?.first_chunk::<4>()?)),
            Kind::Ipv6 => Some(IpAddr::from(*header.get(ipv6..)?.first_chunk::<16>()?)),
            _ => {
                // IPv4 over any link layer; the lengths of addresses stand in the header.
                let [_, _, 0x08, 0x00, hardware, 4, ..] = *header else { return None };
                let hardware = usize::from(hardware);
                let at = 8 + hardware + arp * (4 + hardware);
                Some(IpAddr::from(*header.get(at..)?.first_chunk::<4>()?))
            }
        }
    }

    /// The network header's bytes.
    fn header(&self) -> Option<&'a [u8]> {
        Some(self.network()?.header(self.bytes))
    }

    /// The protocol behind IP's header and its extensions; `None` for ARP.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        let first = match self.network()?.kind {
            Kind::Ipv4 => *self.header()?.get(9)?,
            Kind::Ipv6 => *self.header()?.get(6)?,
            _ => return None,
        };
        let extensions = self.layers.get(1..)?.iter().take_while(|layer| layer.kind.is_extension());
        let last = extensions.last().and_then(|layer| self.bytes.get(layer.start as usize));
        Some(Protocol(last.copied().unwrap_or(first)))
    }

    /// Time to live, or hop limit.
    #[must_use]
    pub fn ttl(&self) -> Option<u8> {
        match self.network()?.kind {
            Kind::Ipv4 => self.header()?.get(8).copied(),
            Kind::Ipv6 => self.header()?.get(7).copied(),
            _ => None,
        }
    }

    /// The TOS octet, or the traffic class.
    #[must_use]
    pub fn tos(&self) -> Option<u8> {
        let header = self.header()?;
        match self.network()?.kind {
            Kind::Ipv4 => header.get(1).copied(),
            Kind::Ipv6 => u16_at(header, 0).and_then(|word| u8::try_from(word >> 4 & 0xff).ok()),
            _ => None,
        }
    }

    /// The identification of IPv4, or that of IPv6's fragment header where there is one.
    #[must_use]
    pub fn identification(&self) -> Option<u32> {
        match self.network()?.kind {
            Kind::Ipv4 => u16_at(self.header()?, 4).map(u32::from),
            _ => u32_at(self.bytes, self.fragment_header()? + 4),
        }
    }

    /// Whether IPv4's header forbids routers to fragment the packet; in IPv6 they never do.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        match self.network().map(|layer| layer.kind) {
            Some(Kind::Ipv4) => {
                self.header().and_then(|header| u16_at(header, 6)).is_some_and(|word| word & 0x4000 != 0)
            }
            Some(Kind::Ipv6) => true,
            _ => false,
        }
    }

    /// The offset in bytes of this part of a fragmented packet, and whether more parts follow; `None` for a whole one.
    #[must_use]
    pub fn fragment(&self) -> Option<(u16, bool)> {
        let (offset, more) = if self.network()?.kind == Kind::Ipv4 {
            let word = u16_at(self.header()?, 6)?;
            ((word & 0x1fff) << 3, word & 0x2000 != 0)
        } else {
            let word = u16_at(self.bytes, self.fragment_header()? + 2)?;
            (word & 0xfff8, word & 1 == 1)
        };
        (offset != 0 || more).then_some((offset, more))
    }

    fn fragment_header(&self) -> Option<usize> {
        let extensions = self.layers.get(1..)?.iter().take_while(|layer| layer.kind.is_extension());
        let header = extensions.into_iter().find(|layer| layer.kind == Kind::FragmentHeader)?;
        Some(header.start as usize)
    }

    /// The packet's length on the wire in bytes, from the network header on.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.network().map_or(0, |layer| layer.end.saturating_sub(layer.start))
    }

    /// The source and destination port.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let transport = self.transport()?;
        if !matches!(transport.kind, Kind::Tcp | Kind::Udp | Kind::Sctp) {
            return None;
        }
        let at = transport.start as usize;
        Some((u16_at(self.bytes, at)?, u16_at(self.bytes, at + 2)?))
    }

    /// The type and code of an ICMP or ICMPv6 message.
    #[must_use]
    pub fn icmp(&self) -> Option<(u8, u8)> {
        let transport = self.transport().filter(|layer| matches!(layer.kind, Kind::Icmp | Kind::Icmpv6))?;
        let [kind, code] = *self.bytes.get(transport.start as usize..)?.first_chunk()?;
        Some((kind, code))
    }

    /// The identifier and sequence number of an ICMP or ICMPv6 echo.
    #[must_use]
    pub fn echo(&self) -> Option<(u16, u16)> {
        let transport = self.transport()?;
        let is_echo = match (transport.kind, self.icmp()?.0) {
            (Kind::Icmp, kind) => matches!(kind, 0 | 8),
            (_, kind) => matches!(kind, 128 | 129),
        };
        let at = transport.start as usize;
        is_echo.then_some((u16_at(self.bytes, at + 4)?, u16_at(self.bytes, at + 6)?))
    }

    /// The TCP header, where all of it was captured but its options.
    #[must_use]
    pub fn tcp(&self) -> Option<Tcp> {
        let layer = self.transport().filter(|layer| layer.kind == Kind::Tcp)?;
        let header = self.bytes.get(layer.start as usize..)?;
        Some(Tcp {
            sequence: u32_at(header, 4)?,
            acknowledgement: u32_at(header, 8)?,
            flags: u16_at(header, 12)? & 0x0fff,
            window: u16_at(header, 14)?,
            payload: layer.carries(),
        })
    }

    /// TCP's timestamp option (RFC 7323): the sender's clock, and the echo of the receiver's.
    #[must_use]
    pub fn tcp_timestamps(&self) -> Option<(u32, u32)> {
        let stamps = self.tcp_options().find(|option| option.kind == 8 && option.length == Some(10))?;
        Some((u32_at(stamps.data, 0)?, u32_at(stamps.data, 4)?))
    }

    /// What the transport header carries, as far as it was captured. Of a later fragment, all of it.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        let Some(layer) = self.transport() else { return &[] };
        let (from, to) = (layer.body as usize, (layer.end as usize).min(self.bytes.len()));
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// The layers from the network header on, those of deeper packets included.
    #[must_use]
    pub fn layers(&self) -> &'a [Layer] {
        self.layers
    }

    /// A packet that is told of within this one: the view from a later layer on.
    #[must_use]
    pub fn within(&self, layer: usize) -> Self {
        Self { bytes: self.bytes, layers: self.layers.get(layer..).unwrap_or_default() }
    }

    /// The bytes that the layers' offsets are of.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What it carries another packet in, where it does.
    #[must_use]
    pub fn tunnel(&self) -> Option<Tunnel> {
        self.tunnel_to(None)
    }

    /// The same, where the header of the packet that is carried may be one that was cut.
    #[must_use]
    #[inline]
    pub(crate) fn tunnel_to(&self, cut: Option<Layer>) -> Option<Tunnel> {
        let deeper = self.layers.iter().skip(1);
        let between = deeper.clone().take_while(|layer| layer.kind != Kind::Quote);
        let mut name = None;
        let mut vni = None;
        for layer in between {
            match layer.kind {
                Kind::Vxlan | Kind::Geneve => {
                    vni = u32_at(self.bytes, layer.start as usize + 4).map(|word| word >> 8);
                    name = Some(layer.kind.name());
                }
                Kind::Gre | Kind::Erspan | Kind::FlannelUdp | Kind::Teredo => name = Some(layer.kind.name()),
                Kind::Mpls => name = name.or(Some("mpls")),
                Kind::Ipv4 | Kind::Ipv6 | Kind::Arp => {
                    return Some(Tunnel { name: name.unwrap_or(self.ip_in_ip(layer.kind)), vni });
                }
                _ => {}
            }
        }
        let cut = cut.filter(|cut| cut.kind.is_network() && deeper.clone().all(|layer| layer.kind != Kind::Quote))?;
        Some(Tunnel { name: name.unwrap_or(self.ip_in_ip(cut.kind)), vni })
    }

    /// The kernel's words for IP right behind IP.
    fn ip_in_ip(&self, inner: Kind) -> &'static str {
        match (self.network().map(|layer| layer.kind), inner) {
            (Some(Kind::Ipv4), Kind::Ipv4) => "ipip",
            (Some(Kind::Ipv4), _) => "sit",
            (_, Kind::Ipv4) => "ip4ip6",
            _ => "ip6ip6",
        }
    }
}

/// The fields of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The sequence number of its first byte.
    pub sequence: u32,
    /// The acknowledgement number; meaningless without ACK.
    pub acknowledgement: u32,
    /// FIN 0x01, SYN 0x02, RST 0x04, PSH 0x08, ACK 0x10, URG 0x20, ECE 0x40, CWR 0x80, and AE 0x100.
    pub flags: u16,
    /// The window, as it stands: unscaled.
    pub window: u16,
    /// How many bytes it carries on the wire.
    pub payload: u32,
}
