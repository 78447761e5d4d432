//! nft's own nat chains.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::slice;

use crate::net::{Family, Hook, Protocol};
use crate::snapshot::nft::{
    ChainKind, ChainRef, Data, Expr, Header, HeaderField, MetaKey, NatKind, NftNat, NftSet, NftTable, NftVerdict,
    Operand, RelOp, Relation, SetRef, Statement,
};
use crate::snapshot::{NftChain, NftFamily};

use super::{Asked, Found, MOST_DEPTH};

/// Of a set of more elements nothing is taken to be known: each would be followed for itself.
const MOST_ELEMENTS: usize = 64;

/// The table that is read.
#[derive(Clone, Copy)]
struct Reading<'s> {
    table: &'s NftTable,
    family: Family,
}

/// Reads a node's nat chains that see packets of a family.
pub(super) fn read(found: &mut Found<'_>) {
    let (netns, family) = (found.netns, found.family);
    let Some(nft) = &netns.netfilter.nft else { return };
    for hook in [Hook::Prerouting, Hook::Output] {
        for (_, table, chain) in nft.base_chains(&[NftFamily::of(family), NftFamily::Inet], hook) {
            if chain.kind() == Some(ChainKind::Nat) {
                Reading { table, family }.chain(chain, Asked::default(), 0, found);
            }
        }
    }
}

impl<'s> Reading<'s> {
    fn chain(self, chain: &'s NftChain, asked: Asked, depth: usize, found: &mut Found<'_>) {
        for rule in &chain.rules {
            if !found.counts() {
                return;
            }
            self.statements(&rule.statements, asked, depth, found);
        }
    }

    /// The rest of a rule, for packets of which so much is known.
    fn statements(self, rest: &'s [Statement], asked: Asked, depth: usize, found: &mut Found<'_>) {
        let Some((statement, rest)) = rest.split_first() else { return };
        match statement {
            Statement::Match(relation) => {
                for asked in self.matched(relation, asked) {
                    self.statements(rest, asked, depth, found);
                }
                return;
            }
            Statement::Vmap(map) => self.vmap(&map.0, &map.1, asked, depth, found),
            Statement::Nat(nat) if nat.kind == NatKind::Dnat => self.nat(nat, asked, found),
            Statement::Verdict(verdict) => self.verdict(*verdict, asked, depth, found),
            _ => {}
        }
        self.statements(rest, asked, depth, found);
    }

    fn verdict(self, verdict: NftVerdict, asked: Asked, depth: usize, found: &mut Found<'_>) {
        let (NftVerdict::Jump(called) | NftVerdict::Goto(called)) = verdict else { return };
        self.call(called, asked, depth + 1, found);
    }

    fn call(self, called: ChainRef, asked: Asked, depth: usize, found: &mut Found<'_>) {
        if let Some(chain) = self.table.chain(called).filter(|_| depth < MOST_DEPTH) {
            self.chain(chain, asked, depth, found);
        }
    }

    /// What is known of packets that a condition lets pass: nothing more where it asks what isn't looked at here.
    fn matched(self, relation: &'s Relation, asked: Asked) -> Vec<Asked> {
        match (&relation.op, &relation.right) {
            (RelOp::Eq, Operand::Expr(Expr::Value(value))) => {
                self.known(&relation.left, &[(value.get(), value.get())], asked).into_iter().collect()
            }
            (RelOp::Eq, Operand::Set(set)) => match self.set(set).filter(|set| set.len() <= MOST_ELEMENTS) {
                Some(set) => set.iter().filter_map(|(key, _)| self.known(&relation.left, key, asked)).collect(),
                None => vec![asked],
            },
            _ => vec![asked],
        }
    }

    /// What is known of packets whose value this is: fields side by side, of which each has one value or a range. `None` where
    /// there are none.
    fn known(self, value: &Expr, key: &[(u128, u128)], asked: Asked) -> Option<Asked> {
        let fields = match value {
            Expr::Concat(fields) => fields,
            one => slice::from_ref(one),
        };
        let mut exact = fields.iter().zip(key).filter(|(_, (low, high))| low == high);
        exact.try_fold(asked, |asked, (field, (value, _))| asked.and(self.field(field, *value)?))
    }

    /// What a field says of a packet; `None` where packets of the family have none.
    fn field(self, field: &Expr, value: u128) -> Option<Asked> {
        let protocol = |protocol| Asked { protocol: Some(protocol), ..Asked::default() };
        let port = Asked { port: u16::try_from(value).ok(), ..Asked::default() };
        let other = match self.family {
            Family::Inet => Header::Ip6,
            Family::Inet6 => Header::Ip,
        };
        match field {
            Expr::Payload(header, _) if *header == other => None,
            Expr::Payload(Header::Ip | Header::Ip6, HeaderField::Daddr) => {
                Some(Asked { destination: Some(self.address(value)?), ..Asked::default() })
            }
            Expr::Payload(Header::Ip, HeaderField::Protocol) | Expr::Meta(MetaKey::L4proto) => {
                Some(protocol(Protocol(u8::try_from(value).ok()?)))
            }
            Expr::Payload(Header::Th, HeaderField::Dport) => Some(port),
            Expr::Payload(header, field) => {
                let Some(of) = transport(*header) else { return Some(Asked::default()) };
                let port = if *field == HeaderField::Dport { port } else { Asked::default() };
                port.and(protocol(of))
            }
            _ => Some(Asked::default()),
        }
    }

    fn address(self, value: u128) -> Option<IpAddr> {
        match self.family {
            Family::Inet => Some(Ipv4Addr::from_bits(u32::try_from(value).ok()?).into()),
            Family::Inet6 => Some(Ipv6Addr::from_bits(value).into()),
        }
    }

    /// Where the packets go that a verdict map has keys for.
    fn vmap(self, value: &Expr, set: &'s SetRef, asked: Asked, depth: usize, found: &mut Found<'_>) {
        let Some(set) = self.set(set) else { return };
        for (key, element) in set.iter() {
            if !found.counts() {
                return;
            }
            if let (Data::Verdict(verdict), Some(asked)) = (&element.data, self.known(value, key, asked)) {
                self.verdict(*verdict, asked, depth, found);
            }
        }
        if let Some(Data::Verdict(verdict)) = set.catchall().map(|element| &element.data) {
            self.verdict(*verdict, asked, depth, found);
        }
    }

    /// What a rule gives packets: an address, a port, or what a map has for them.
    fn nat(self, nat: &'s NftNat, asked: Asked, found: &mut Found<'_>) {
        let port = match &nat.port {
            None => None,
            Some((Expr::Value(port), None)) => u16::try_from(port.get()).ok(),
            Some(_) => return,
        };
        if nat.prefix || nat.six.is_some_and(|six| six != (self.family == Family::Inet6)) {
            return;
        }
        match &nat.addr {
            None => asked.destination.into_iter().for_each(|own| found.leads_to(own, port, asked)),
            Some((Expr::Value(address), None)) => self.leads_to(&[(address.get(), address.get())], port, asked, found),
            Some((Expr::Map(value, set), None)) => {
                for (key, element) in self.set(set).into_iter().flat_map(NftSet::iter) {
                    if !found.counts() {
                        return;
                    }
                    if let (Data::Value(to), Some(asked)) = (&element.data, self.known(value, key, asked)) {
                        self.leads_to(to, port, asked, found);
                    }
                }
            }
            Some(_) => {}
        }
    }

    /// Packets go to an address, or to an address and a port.
    fn leads_to(self, to: &[(u128, u128)], port: Option<u16>, asked: Asked, found: &mut Found<'_>) {
        let (address, port) = match to {
            [address] => (address, port),
            [address, (low, high)] if low == high => (address, u16::try_from(*low).ok()),
            _ => return,
        };
        if let Some(address) = self.address(address.0).filter(|_| address.0 == address.1) {
            found.leads_to(address, port, asked);
        }
    }

    fn set(self, set: &'s SetRef) -> Option<&'s NftSet> {
        match set {
            SetRef::Named(name) => self.table.set(name),
            SetRef::Anonymous(set) => Some(set),
        }
    }
}

/// The protocol of a transport header.
fn transport(header: Header) -> Option<Protocol> {
    match header {
        Header::Tcp => Some(Protocol::TCP),
        Header::Udp => Some(Protocol::UDP),
        Header::Sctp => Some(Protocol::SCTP),
        _ => None,
    }
}
