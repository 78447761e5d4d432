//! The walk from header to header.

use super::glance::{Glance, Sieve};
use super::headers::Headers;
use super::tunnel::sieve;
use super::usual::Usual;
use super::{Flaw, Frame, Kind, Layer, LinkType, Reason};

/// UDP ports whose payload is decoded further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// VXLAN: 8472 is the kernel's default and flannel's, 4789 IANA's.
    pub vxlan: Vec<u16>,
    /// Geneve: 6081.
    pub geneve: Vec<u16>,
    /// WireGuard: 51820, and flannel's 51821 for IPv6.
    pub wireguard: Vec<u16>,
    /// flannel's udp backend: 8285.
    pub flannel_udp: Vec<u16>,
}

impl Default for Ports {
    fn default() -> Self {
        Self { vxlan: vec![8472, 4789], geneve: vec![6081], wireguard: vec![51820, 51821], flannel_udp: vec![8285] }
    }
}

/// More than any capture has of a packet; what is longer is looked at up to here.
const MOST: usize = 1 << 28;

/// Nobody nests so many headers, and each of them costs more memory than it has bytes.
const MOST_LAYERS: usize = 10_000;

/// Decodes packets, one after the other.
#[derive(Debug)]
pub struct Dissector {
    ports: Ports,
    /// VXLAN's first port.
    vxlan: Option<u16>,
    sieve: u64,
    layers: Stack,
}

impl Dissector {
    /// A decoder that knows tunnels by these ports.
    #[must_use]
    pub fn new(ports: Ports) -> Self {
        Self { sieve: sieve(&ports), vxlan: ports.vxlan.first().copied(), ports, layers: Stack::default() }
    }

    /// Decodes a packet: its bytes as captured, and its length on the wire.
    #[inline]
    pub fn decode<'a>(&'a mut self, link_type: LinkType, bytes: &'a [u8], length: u32) -> Decoded<'a> {
        self.walk(link_type, bytes, length, 0, true)
    }

    /// One look at a packet, where its headers are usual ones: much faster than [`Self::decode`]. `None` where it has to be
    /// decoded.
    #[expect(clippy::inline_always, reason = "what is found stays in registers, where each caller has a copy")]
    #[inline(always)]
    pub(crate) fn glance<'a>(&self, frame: &Frame<'a>) -> Option<Glance<'a>> {
        if frame.link_type != LinkType::ETHERNET {
            return None;
        }
        let length = frame.bytes.len().max(frame.length as usize);
        Glance::at(frame.bytes, length, Sieve { ports: &self.ports, vxlan: self.vxlan, bits: self.sieve })
    }

    /// As [`Self::decode`], for a frame in which a packet was put together again ([`super::Whole`]): headers before that
    /// packet's first byte say the length of a fragment, which is not believed.
    pub fn decode_within<'a>(
        &'a mut self,
        link_type: LinkType,
        bytes: &'a [u8],
        length: u32,
        whole: u32,
    ) -> Decoded<'a> {
        self.walk(link_type, bytes, length, whole, false)
    }

    /// As [`Self::decode`], strictly header by header.
    #[cfg(test)]
    pub(super) fn decode_slowly<'a>(&'a mut self, link_type: LinkType, bytes: &'a [u8], length: u32) -> Decoded<'a> {
        self.walk(link_type, bytes, length, 0, false)
    }

    #[inline]
    fn walk<'a>(
        &'a mut self,
        link_type: LinkType,
        bytes: &'a [u8],
        length: u32,
        whole: u32,
        may_hurry: bool,
    ) -> Decoded<'a> {
        self.layers.count = 0;
        let rest = bytes.get(..MOST).unwrap_or(bytes);
        // Neither is more than fits.
        let captured = u32::try_from(rest.len()).unwrap_or(0);
        let longest = u32::try_from(MOST).unwrap_or(u32::MAX);
        let mut walk = Walk {
            ports: &self.ports,
            sieve: self.sieve,
            layers: &mut self.layers,
            rest,
            at: 0,
            end: length.clamp(captured, longest),
            number: 0,
            flaw: None,
            cut: None,
            ends_in: None,
            is_partial: false,
            whole,
            may_hurry,
            tunnels: None,
        };
        let mut next = walk.link(link_type);
        while next != Next::Done {
            next = if walk.layers.count < MOST_LAYERS { walk.step(next) } else { walk.stop(0, Reason::Deep) };
        }
        let (flaw, cut, ends_in, tunnels) = (walk.flaw, walk.cut, walk.ends_in, walk.tunnels);
        let layers = self.layers.list();
        Decoded { bytes, layers, cut, ends_in, flaw, usual: tunnels.and_then(|tunnels| Usual::of(tunnels, layers)) }
    }
}

/// A list of layers that keeps its memory.
#[derive(Debug)]
pub(super) struct Stack {
    layers: Vec<Layer>,
    count: usize,
}

impl Default for Stack {
    fn default() -> Self {
        let nothing = Layer { kind: Kind::Quote, start: 0, body: 0, end: 0 };
        Self { layers: vec![nothing; 32], count: 0 }
    }
}

impl Stack {
    #[inline]
    pub(super) fn add(&mut self, layer: Layer) {
        match self.layers.get_mut(self.count) {
            Some(place) => *place = layer,
            None => self.grow(layer),
        }
        self.count += 1;
    }

    /// Adds several, with one look at the room.
    #[inline]
    pub(super) fn add_all<const N: usize>(&mut self, layers: [Layer; N]) {
        match self.layers.get_mut(self.count..).and_then(<[Layer]>::first_chunk_mut) {
            Some(places) => {
                *places = layers;
                self.count += N;
            }
            None => layers.into_iter().for_each(|layer| self.add(layer)),
        }
    }

    #[cold]
    fn grow(&mut self, layer: Layer) {
        self.layers.push(layer);
        let more = self.layers.len() * 2;
        self.layers.resize(more, layer);
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    fn list(&self) -> &[Layer] {
        self.layers.get(..self.count).unwrap_or(&self.layers)
    }
}

/// What comes next. It fits into a register, and the usual headers follow each other without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Ethernet,
    /// What the Ethernet type in [`Walk::number`] announces.
    EtherType,
    /// What the IP protocol in [`Walk::number`] announces.
    Protocol,
    Ppp,
    /// IPv4 or IPv6, as its first octet says.
    Ip,
    Ipv4,
    Ipv6,
    Mpls,
    Done,
}

/// The place at which the walk is.
pub(super) struct Walk<'a> {
    pub(super) ports: &'a Ports,
    pub(super) sieve: u64,
    pub(super) layers: &'a mut Stack,
    /// The captured bytes from the next header on, up to where the length fields met so far say that the packet ends.
    pub(super) rest: &'a [u8],
    /// Where the next header begins; no more than `end`, which fits into 29 bits.
    pub(super) at: u32,
    /// Where the length fields say that what is being read ends on the wire.
    pub(super) end: u32,
    /// What announces the next header.
    pub(super) number: u16,
    /// The first thing that is wrong, or why the walk has ended.
    pub(super) flaw: Option<Flaw>,
    /// The header that ended the walk, as too little of it is there.
    pub(super) cut: Option<Layer>,
    /// The same, also where nothing of it is there, or enough to know what it carries.
    pub(super) ends_in: Option<Layer>,
    /// Whether this is the first part of a packet, or a quotation of one, so that what it carries says a larger length
    /// than it has.
    pub(super) is_partial: bool,
    /// Length fields of headers that begin before here are not believed.
    pub(super) whole: u32,
    /// Whether headers may be passed several at once.
    pub(super) may_hurry: bool,
    /// How many tunnels the usual headers had, where they led from the packet's first byte to what is no tunnel.
    pub(super) tunnels: Option<u8>,
}

impl<'a> Walk<'a> {
    #[inline]
    fn step(&mut self, next: Next) -> Next {
        match next {
            Next::Ethernet => self.ethernet(),
            Next::EtherType => self.ether_type(self.number),
            Next::Protocol => self.protocol(self.number.to_be_bytes()[1]),
            Next::Ppp => self.ppp(),
            Next::Ip => self.ip(),
            Next::Ipv4 => self.ipv4(),
            Next::Ipv6 => self.ipv6(),
            Next::Mpls => self.mpls(),
            Next::Done => Next::Done,
        }
    }

    /// What an Ethernet type announces comes next.
    #[inline]
    pub(super) fn ether_type_next(&mut self, number: u16) -> Next {
        self.number = number;
        Next::EtherType
    }

    /// What an IP protocol announces comes next.
    #[inline]
    pub(super) fn protocol_next(&mut self, number: u8) -> Next {
        self.number = number.into();
        Next::Protocol
    }

    /// How many bytes are left from here on, on the wire.
    #[inline]
    pub(super) fn left(&self) -> u32 {
        self.end - self.at
    }

    /// The first bytes of a header.
    #[inline]
    pub(super) fn header<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.rest.first_chunk()
    }

    /// Notes a header of so many bytes, which are there, and goes behind it.
    #[inline]
    pub(super) fn pass(&mut self, kind: Kind, size: u32) {
        let body = self.at + size;
        self.layers.add(Layer { kind, start: self.at, body, end: self.end });
        self.skip(size);
    }

    /// Goes so many bytes further, which are there.
    #[inline]
    pub(super) fn skip(&mut self, size: u32) {
        self.at += size;
        self.rest = self.rest.get(size as usize..).unwrap_or_default();
    }

    /// As [`Self::pass`], for a header whose size is not known beforehand; false where not all of it is there, and the
    /// walk ends.
    #[inline]
    pub(super) fn pass_all(&mut self, kind: Kind, size: u32) -> bool {
        if self.rest.len() < size as usize {
            self.pass_cut(kind, size);
            return false;
        }
        self.pass(kind, size);
        true
    }

    /// Ends the walk with a header of so many bytes, not all of which are there. What is there is still a header of its
    /// kind, and what was not captured of it is no part of what it carries.
    #[cold]
    pub(super) fn pass_cut(&mut self, kind: Kind, size: u32) -> Next {
        self.note_end(kind, size);
        let there = u32::try_from(self.rest.len()).unwrap_or(size);
        self.pass(kind, if size <= self.left() { size } else { there });
        Next::Done
    }

    /// Nothing behind so many bytes belongs to what follows.
    #[inline]
    pub(super) fn narrow(&mut self, size: u32) {
        if self.at < self.whole {
            return;
        }
        self.end = self.at + size;
        self.rest = self.rest.get(..size as usize).unwrap_or(self.rest);
    }

    /// Ends the walk where too little of a header of so many bytes is there to know what it carries.
    #[cold]
    pub(super) fn ends(&mut self, kind: Kind, size: u32) -> Next {
        self.note_end(kind, size);
        self.cut = self.ends_in.filter(|_| !self.rest.is_empty());
        Next::Done
    }

    /// Notes that a header of so many bytes is not all there, and whether the capture or the packet ends.
    #[cold]
    pub(super) fn note_end(&mut self, kind: Kind, size: u32) {
        if !self.ends_as_quoted(kind, size) {
            self.note(0, if self.left() >= size { Reason::Cut(kind) } else { Reason::Short(kind) });
        }
        self.ends_in = Some(Layer { kind, start: self.at, body: self.end.min(self.at + size), end: self.end });
    }

    /// Whether an ICMP error ends within a transport header that it quotes, as it may: it need not quote more than eight
    /// bytes of it (RFC 792).
    fn ends_as_quoted(&self, kind: Kind, size: u32) -> bool {
        let left = self.left();
        let is_all_there = left >= 8 && left < size && self.rest.len() == left as usize;
        is_all_there && kind.is_transport() && self.layers.list().iter().any(|layer| layer.kind == Kind::Quote)
    }

    /// Ends the walk because of what stands so many bytes behind the header's first.
    #[cold]
    pub(super) fn stop(&mut self, behind: u32, reason: Reason) -> Next {
        self.note(behind, reason);
        Next::Done
    }

    /// Notes what is wrong though decoding goes on. The first flaw stands.
    #[cold]
    pub(super) fn note(&mut self, behind: u32, reason: Reason) {
        let offset = self.at + behind;
        self.flaw = self.flaw.or(Some(Flaw { offset, reason }));
    }
}

/// A packet, as its bytes say.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// The bytes as captured, from the link layer on.
    pub bytes: &'a [u8],
    /// Its headers, outermost first.
    pub layers: &'a [Layer],
    /// A header of which only the first bytes are there, because the capture or the packet ends: fewer than tell what it
    /// carries, so that it is none of the layers. Its fields are to be had as far as they are there.
    pub cut: Option<Layer>,
    /// The header within which the capture or the packet ends, of which nothing may be there, or enough for a layer.
    pub(crate) ends_in: Option<Layer>,
    /// The first thing that is wrong with it, or where and why decoding stopped before its end; `None` where all that
    /// could be decoded was. A later fragment, what is encrypted, and eight bytes of a transport header that an ICMP error
    /// quotes end it without one.
    pub flaw: Option<Flaw>,
    /// What all headers are, where they are nothing but usual ones.
    pub(crate) usual: Option<Usual>,
}

impl<'a> Decoded<'a> {
    /// The outermost packet: the first IP or ARP header, and what belongs to it.
    #[must_use]
    pub fn outermost(&self) -> Option<Headers<'a>> {
        let at = self.travelling().iter().position(|layer| layer.kind.is_network())?;
        Some(Headers::new(self.bytes, self.layers.get(at..)?))
    }

    /// The innermost packet, behind all tunnels. The same as the outermost one where there is none.
    #[must_use]
    #[inline]
    pub fn innermost(&self) -> Option<Headers<'a>> {
        if let Some(usual) = self.usual {
            return Some(Headers::new(self.bytes, self.layers.get(usual.network()..)?));
        }
        let at = self.travelling().iter().rposition(|layer| layer.kind.is_network())?;
        Some(Headers::new(self.bytes, self.layers.get(at..)?))
    }

    /// What an ICMP error of the innermost packet quotes.
    #[must_use]
    pub fn quoted(&self) -> Option<Headers<'a>> {
        let quoted = self.layers.get(self.travelling().len()..)?;
        let at = quoted.iter().position(|layer| layer.kind.is_network())?;
        Some(Headers::new(self.bytes, quoted.get(at..)?))
    }

    /// The tunnel that the outermost packet is.
    #[must_use]
    pub fn tunnel(&self) -> Option<Tunnel> {
        self.tunnels().next()
    }

    /// Every tunnel, outermost first.
    pub fn tunnels(&self) -> impl Iterator<Item = Tunnel> + use<'a> {
        self.packets().filter_map(|packet| packet.tunnel())
    }

    /// The packet within whose IP header all ends, inside all others.
    #[must_use]
    pub fn cut_packet(&self) -> Option<Headers<'_>> {
        self.cut_header().filter(|_| self.travelling().len() == self.layers.len())
    }

    /// The same, or what an error quotes that ends so.
    #[must_use]
    pub fn cut_header(&self) -> Option<Headers<'_>> {
        let cut = self.cut.as_ref().filter(|cut| cut.kind.is_network())?;
        Some(Headers::new(self.bytes, std::slice::from_ref(cut)))
    }

    /// All headers, with the one of which only the first bytes are there.
    pub fn all_layers(&self) -> impl Iterator<Item = Layer> + Clone + use<'a> {
        self.layers.iter().copied().chain(self.cut)
    }

    /// Every packet of the nest, outermost first. What an error quotes is none of them.
    pub fn packets(&self) -> impl Iterator<Item = Headers<'a>> + use<'a> {
        let (bytes, layers) = (self.bytes, self.layers);
        let travelling = self.travelling().iter().enumerate();
        let starts = travelling.filter(|(_, layer)| layer.kind.is_network()).map(|(at, _)| at);
        starts.map(move |at| Headers::new(bytes, layers.get(at..).unwrap_or_default()))
    }

    /// The Ethernet type that announces a header.
    #[must_use]
    pub(crate) fn announced(&self, layer: Layer) -> Option<u16> {
        let before = self.layers.partition_point(|other| other.start < layer.start).checked_sub(1)?;
        let before = self.layers.get(before)?;
        let at = match before.kind {
            Kind::LinuxSll2 => before.start,
            Kind::Gre | Kind::Geneve => before.start + 2,
            // Where it ends.
            _ => layer.start.checked_sub(2)?,
        };
        super::u16_at(self.bytes, at as usize)
    }

    /// The layers that travel: all but what an ICMP error quotes.
    #[must_use]
    pub fn travelling(&self) -> &'a [Layer] {
        let quote = self.layers.iter().position(|layer| layer.kind == Kind::Quote);
        quote.and_then(|at| self.layers.get(..at)).unwrap_or(self.layers)
    }

    /// Where the innermost frame begins and what its first header is: behind the last tunnel's header, or the whole
    /// packet. Its kind says what it begins with.
    #[must_use]
    pub fn innermost_frame(&self) -> Option<Layer> {
        let travelling = self.travelling();
        let cut = self.cut_inside();
        let last = match cut {
            Some(_) => travelling.len(),
            None => travelling.iter().rposition(|layer| layer.kind.is_network())?,
        };
        // The link layer's headers that stand right before belong to the frame.
        let before = travelling.get(..last)?;
        let start = before.iter().rposition(|layer| !is_link(layer.kind)).map_or(0, |at| at + 1);
        travelling.get(start).copied().or(cut)
    }
}

impl Decoded<'_> {
    /// The header of a frame or of a packet inside it with which a packet that travels ends, of which any bytes are there or
    /// none.
    fn cut_inside(&self) -> Option<Layer> {
        let travels = self.travelling().len() == self.layers.len();
        let is_inside = |kind: Kind| travels && (is_link(kind) || kind.is_network());
        if let Some(cut) = self.cut {
            return is_inside(cut.kind).then_some(cut);
        }
        let missing = self.ends_in.filter(|missing| is_inside(missing.kind))?;
        let around = self.layers.last().filter(|around| around.start < missing.start)?;
        Some(Layer { body: missing.start, end: around.end.max(missing.start), ..missing })
    }
}

/// Whether a header is of the link layer.
fn is_link(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Ethernet
            | Kind::LinuxSll
            | Kind::LinuxSll2
            | Kind::Loopback
            | Kind::Ppp
            | Kind::Pppoe
            | Kind::Llc
            | Kind::Vlan
    )
}

/// What a packet carries another one in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// The word for it: `vxlan`, `geneve`, `gre`, `erspan`, `mpls`, `flannel-udp`, `ipip`, `sit`, `ip6ip6`, `ip4ip6`.
    pub name: &'static str,
    /// The network identifier of VXLAN and Geneve, 24 bits.
    pub vni: Option<u32>,
}
