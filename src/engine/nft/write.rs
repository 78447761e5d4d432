//! What rules write: fields of the packet (`nft_payload_set_eval`) and elements of sets (`nft_dynset.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::{Link, MacAddr, NetnsId, Packet, Transport};
use crate::snapshot::nft::{Beside, DynOp, Expr, Header, HeaderField, NftAside, NftDynset, NftVerdict, PayloadBase};
use crate::snapshot::{NftFamily, NftTable};
use crate::trace::{Hook, RuleVerdict};

use super::super::end::{End, Stage};
use super::super::matches::{link_destination, link_source};
use super::super::pkt_type::PktType;
use super::super::skb::Priority;
use super::super::tcp_options;
use super::super::walk::{Walk, Why};
use super::doubt::Field;
use super::field::{has_header, nft_payload};
use super::meta;
use super::raw::raw_field;
use super::statement::{Flow, Run};

/// What a map has for a key.
type Ends = Vec<(u128, u128)>;

/// An element that a rule of this walk made or took away.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Written {
    netns: NetnsId,
    family: NftFamily,
    table: String,
    set: Box<str>,
    key: Vec<u128>,
    state: State,
}

impl Written {
    /// The set that it is in.
    pub(in super::super) fn set(&self) -> (NetnsId, &str, &str, &str) {
        (self.netns, self.family.as_str(), &self.table, &self.set)
    }
}

/// What became of an element.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum State {
    /// It is there, with what a map got for it.
    There(Option<Ends>),
    /// It was taken away.
    Gone,
}

/// What a walk wrote for a key of a set, if anything.
pub(super) fn written_element<'w>(walk: &'w Walk, table: &NftTable, set: &str, key: &[u128]) -> Option<&'w State> {
    let netns = walk.netns_id();
    let ours = |written: &&Written| {
        written.netns == netns
            && written.family == table.family
            && written.table == table.name
            && *written.set == *set
            && written.key == key
    };
    walk.tracker.nft_elements.iter().rev().find(ours).map(|written| &written.state)
}

impl<'a> Run<'a> {
    /// `add @set { … }`. Whether the rule goes on.
    pub(super) fn dynset(&mut self, walk: &mut Walk, dynset: &'a NftDynset) -> bool {
        let NftDynset { op, set, key, value, limited } = dynset;
        let Ok(fields) = self.load(walk, key) else { return false };
        let value = match value.as_ref().map(|value| self.load(walk, value)) {
            Some(Ok(value)) => Some(value),
            Some(Err(_)) => return false,
            None => None,
        };
        let known = |fields: Vec<Field>| fields.into_iter().collect::<Result<Vec<u128>, _>>();
        let data = value.map(|value| known(value).map(|value| value.into_iter().map(|one| (one, one)).collect()));
        if let (Ok(key), Ok(data)) = (known(fields), data.transpose()) {
            let table = self.info.table;
            walk.tracker.nft_elements.push(Written {
                netns: walk.netns_id(),
                family: table.family,
                table: table.name.clone(),
                set: set.clone(),
                key,
                state: if *op == DynOp::Delete { State::Gone } else { State::There(data) },
            });
        } else {
            walk.gap(format!("what `{}` writes is not known", self.text()), [self.rule.evidence]);
        }
        !limited || self.unknowable(walk, &self.text())
    }

    /// What a statement without effect on the packet's way leaves for later rules to see.
    pub(super) fn write_beside(&mut self, walk: &mut Walk, aside: &'a NftAside) {
        let Some(writes) = aside.writes else { return };
        let value = match aside.values.first() {
            // Numbers are not drawn for what changes nothing by itself.
            None | Some(Expr::Numgen { .. } | Expr::Jhash { .. } | Expr::Symhash { .. }) => None,
            Some(value) => self.load(walk, value).ok().and_then(|fields| fields.into_iter().next()?.ok()),
        };
        match writes {
            Beside::Priority => {
                let known = value.and_then(|value| u32::try_from(value).ok()).filter(|_| self.certain);
                walk.skb.priority = known.map_or(Priority::Open, Priority::Known);
            }
            Beside::SegmentSize if self.certain => {
                tcp_options::set_mss(walk, value.and_then(|value| u16::try_from(value).ok()));
            }
            Beside::SegmentSize => tcp_options::doubt_mss(walk, false),
            Beside::NoOption(kind) if self.certain => tcp_options::strip(walk, kind),
            Beside::NoOption(kind) => tcp_options::doubt_there(walk, kind),
            Beside::OptionBits(kind) => tcp_options::forget(walk, kind),
        }
    }

    /// `@nh,64,8 set …`, where the bits are those of a field that is known.
    pub(super) fn set_raw(
        &mut self,
        walk: &mut Walk,
        (base, offset, length): (PayloadBase, u32, u32),
        value: &'a Expr,
    ) -> Stage<Flow> {
        match raw_field(self.packet(walk), base, offset, length) {
            Some((header, field)) => self.set_payload(walk, header, field, value),
            None => self.unmodelled(walk, &self.text()),
        }
    }

    /// `ip dscp set …`: the rule breaks off where the packet has no such header.
    pub(super) fn set_payload(
        &mut self,
        walk: &mut Walk,
        header: Header,
        field: HeaderField,
        value: &'a Expr,
    ) -> Stage<Flow> {
        if !has_header(self.packet(walk), header) {
            return Ok(Flow::Break);
        }
        if header == Header::Ether {
            return self.set_ether(walk, field, value);
        }
        let Some(value) = self.value(walk, value)? else { return Ok(Flow::Break) };
        let small = u16::try_from(value & 0xffff).unwrap_or(0);
        let octet = u8::try_from(value & 0xff).unwrap_or(0);
        let packet = self.packet_mut(walk);
        let done = match (header, field) {
            (Header::Ip | Header::Ip6, HeaderField::Saddr) => set(&mut packet.ip.source, value),
            (Header::Ip | Header::Ip6, HeaderField::Daddr) => set(&mut packet.ip.destination, value),
            (Header::Ip | Header::Ip6, HeaderField::Ttl) => set_octet(&mut packet.ip.ttl, octet),
            (Header::Ip | Header::Ip6, HeaderField::Dscp) => {
                let tos = packet.ip.tos & 3 | octet << 2;
                set_octet(&mut packet.ip.tos, tos)
            }
            (Header::Ip | Header::Ip6, HeaderField::Ecn) => {
                let tos = packet.ip.tos & !3 | octet & 3;
                set_octet(&mut packet.ip.tos, tos)
            }
            (Header::Tcp | Header::Udp | Header::Sctp | Header::Th, HeaderField::Sport) => {
                set_source_port(packet, Some(small))
            }
            (Header::Tcp | Header::Udp | Header::Sctp | Header::Th, HeaderField::Dport) => {
                set_destination_port(packet, Some(small))
            }
            (Header::Tcp, HeaderField::Flags) => set_flags(packet, octet),
            _ => false,
        };
        if done { Ok(Flow::Next) } else { Err(self.not_written(walk)) }
    }

    fn not_written(&self, walk: &mut Walk) -> Box<End> {
        let what = format!("what `{}` writes is not modelled", self.text());
        self.record(walk, RuleVerdict::Continue);
        End::undetermined(crate::trace::Reason::NotModelled, what).because([self.rule.evidence])
    }

    /// `ether daddr set …` in the families of frames. Whom the frame is for stays what its old address said; the target
    /// of ebtables, which nft prints so too, asks the new one (`ebt_dnat_tg` in `net/bridge/netfilter/ebt_dnat.c`).
    fn set_ether(&mut self, walk: &mut Walk, field: HeaderField, value: &'a Expr) -> Stage<Flow> {
        if nft_payload(walk, self, Header::Ether, field).is_err() {
            return Ok(Flow::Break);
        }
        let Some(value) = self.value(walk, value)? else { return Ok(Flow::Break) };
        let [_, _, bytes @ ..] = u64::try_from(value).unwrap_or(0).to_be_bytes();
        let address = MacAddr(bytes);
        self.assume_link(walk);
        let before = meta::frame_type(walk, self);
        let is_destination = field == HeaderField::Daddr;
        let needs_type = is_destination && self.info.state.indev.is_some();
        let Some(link) = self.packet_mut(walk).link.as_mut() else { return Err(self.not_written(walk)) };
        match field {
            HeaderField::Saddr => {
                link.source = address;
                walk.skb.new_source = true;
            }
            HeaderField::Daddr if !needs_type || before.is_some() => link.destination = address,
            _ => return Err(self.not_written(walk)),
        }
        if is_destination {
            walk.skb.pkt_type =
                if self.info.table.is_of_ebtables() { self.as_ebtables(walk, address).or(before) } else { before };
        }
        Ok(Flow::Next)
    }

    /// Gives a frame of the question the link addresses that rules which ask for them take it to have.
    fn assume_link(&mut self, walk: &mut Walk) {
        if self.packet(walk).link.is_some() {
            return;
        }
        if let (Ok(Some(source)), Ok(Some(destination))) = (link_source(walk), link_destination(walk)) {
            self.packet_mut(walk).link = Some(Link { source, destination });
        }
    }

    fn as_ebtables(&self, walk: &Walk, address: MacAddr) -> Option<PktType> {
        let group = PktType::of_group(address);
        if group.is_some() || self.info.state.hook != Hook::Prerouting {
            return group;
        }
        let port = walk.netns().link(self.info.state.indev.as_ref()?)?;
        let bridge = walk.netns().link(port.master.as_ref()?)?;
        Some(if bridge.lladdr? == address { PktType::Host } else { PktType::OtherHost })
    }

    /// `meta pkttype set …` in the families of frames (`nft_meta_set_eval`).
    pub(super) fn set_pkttype(&mut self, walk: &mut Walk, value: &'a Expr) -> Stage<Flow> {
        let Some(value) = self.value(walk, value)? else { return Ok(Flow::Break) };
        if self.info.table.is_of_ebtables() && PktType::numbered(value) == Some(PktType::Host) {
            return self.redirect_frame(walk, true);
        }
        walk.skb.pkt_type = PktType::numbered(value).or(walk.skb.pkt_type);
        Ok(Flow::Next)
    }

    /// `meta broute set …` (`nft_meta_bridge_set_eval` in `net/bridge/netfilter/nft_meta_bridge.c`).
    pub(super) fn set_broute(&mut self, walk: &mut Walk, value: &'a Expr) -> Stage<Flow> {
        let Some(value) = self.value(walk, value)? else { return Ok(Flow::Break) };
        // Behind bridge netfilter nobody asks for it (`br_nf_hook_thresh`).
        walk.skb.broute = value & 0xff != 0 && walk.skb.nf_bridge.is_none();
        Ok(Flow::Next)
    }

    /// ebtables' `redirect` (`ebt_redirect_tg` in `net/bridge/netfilter/ebt_redirect.c`).
    pub(super) fn redirect_frame(&mut self, walk: &mut Walk, has_verdict: bool) -> Stage<Flow> {
        let Some(own) = meta::ibrhwaddr(walk, self) else { return Err(self.not_written(walk)) };
        self.assume_link(walk);
        let Some(link) = self.packet_mut(walk).link.as_mut() else { return Err(self.not_written(walk)) };
        link.destination = own;
        walk.skb.pkt_type = Some(PktType::Host);
        if has_verdict {
            return Ok(Flow::Next);
        }
        let mut verdicts = vec![NftVerdict::Accept, NftVerdict::Continue, NftVerdict::Drop];
        if self.chain.hook.is_none() {
            verdicts.push(NftVerdict::Return);
        }
        let ways = verdicts.iter().map(|verdict| (None, format!("{verdict:?}").to_uppercase())).collect();
        let what = format!("which target `{}` has besides is not listed", self.text());
        let why = Why { what, evidence: Some(self.rule.evidence), gap: true, column: None };
        let way = walk.choose(why, ways);
        Ok(verdicts.get(way).copied().map_or(Flow::Next, Flow::Verdict))
    }
}

/// Whether what is written to a field is modelled.
pub(super) fn is_written(header: Header, field: HeaderField) -> bool {
    use HeaderField::{Daddr, Dport, Dscp, Ecn, Flags, Saddr, Sport, Ttl};
    match header {
        Header::Ip | Header::Ip6 => matches!(field, Saddr | Daddr | Ttl | Dscp | Ecn),
        Header::Ether => matches!(field, Saddr | Daddr),
        Header::Tcp => matches!(field, Sport | Dport | Flags),
        Header::Udp | Header::Sctp | Header::Th => matches!(field, Sport | Dport),
        _ => false,
    }
}

fn set(addr: &mut IpAddr, value: u128) -> bool {
    *addr = match addr {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(value & u128::from(u32::MAX)).unwrap_or(0))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(value)),
    };
    true
}

fn set_octet(octet: &mut u8, value: u8) -> bool {
    *octet = value;
    true
}

fn set_flags(packet: &mut Packet, new: u8) -> bool {
    if let Transport::Tcp { flags, .. } = &mut packet.transport {
        *flags = new;
    }
    true
}

fn set_source_port(packet: &mut Packet, port: Option<u16>) -> bool {
    match &mut packet.transport {
        Transport::Tcp { source, .. } | Transport::Udp { source, .. } | Transport::Sctp { source, .. } => {
            *source = port;
            true
        }
        _ => false,
    }
}

/// Writes a destination port. False where the packet has none.
pub(super) fn set_destination_port(packet: &mut Packet, port: Option<u16>) -> bool {
    match &mut packet.transport {
        Transport::Tcp { destination, .. }
        | Transport::Udp { destination, .. }
        | Transport::Sctp { destination, .. } => {
            *destination = port;
            true
        }
        _ => false,
    }
}
