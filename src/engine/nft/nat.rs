//! `dnat`, `snat`, `masquerade`, `redirect` (`nft_nat.c`, `nft_masq.c`, `nft_redir.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::snapshot::nft::{Data, Expr, NatKind, NftNat, NftVerdict};
use crate::snapshot::{NatRange, NftFamily};
use crate::trace::{Reason, RuleVerdict};

use super::super::end::{End, Stage};
use super::super::nat;
use super::super::walk::Walk;
use super::field::bits;
use super::statement::{Flow, Run};

/// From where to where a value may go.
type Ends = (u128, u128);

impl<'a> Run<'a> {
    /// A nat statement: the connection gets its new addresses, and the chain is done.
    pub(super) fn nat(&mut self, walk: &mut Walk, asked: &'a NftNat) -> Stage<Flow> {
        let six = self.packet(walk).ip.destination.is_ipv6();
        let Some(range) = self.range(walk, asked, six)? else { return Ok(Flow::Break) };
        if self.info.table.family == NftFamily::Inet && asked.six.is_some_and(|wanted| wanted != six) {
            // `nft_nat_inet_eval` does nothing to the other family's packets.
            return Ok(Flow::Next);
        }
        self.record(walk, RuleVerdict::Accept);
        let because = self.rule.evidence;
        match asked.kind {
            NatKind::Dnat => nat::dnat(walk, &range, because),
            NatKind::Snat => nat::snat(walk, &range, because),
            NatKind::Redirect => nat::redirect(walk, &range, self.info.state, because)?,
            NatKind::Masquerade => {
                let Some(outdev) = &self.info.state.outdev else {
                    return Err(End::undetermined(Reason::NotModelled, "masquerade without an outgoing device"));
                };
                nat::masquerade(walk, &range, outdev, because)?;
            }
        }
        Ok(Flow::Done(NftVerdict::Accept))
    }

    /// The addresses and ports that the statement gives; `None` where the rule breaks off.
    fn range(&mut self, walk: &mut Walk, asked: &'a NftNat, six: bool) -> Stage<Option<NatRange>> {
        let (mut addrs, mut ports) = (None, None);
        if let Some((low, high)) = &asked.addr {
            let Some(fields) = self.ends(walk, low)? else { return Ok(None) };
            let first = fields.first().copied().unwrap_or((0, 0));
            let high = match high {
                Some(high) => self.value(walk, high)?.unwrap_or(first.1),
                None => first.1,
            };
            addrs = Some((first.0, high));
            ports = fields.get(1).copied();
        }
        if let Some((low, high)) = &asked.port {
            let Some(fields) = self.ends(walk, low)? else { return Ok(None) };
            let first = fields.first().copied().unwrap_or((0, 0));
            let high = match high {
                Some(high) => self.value(walk, high)?.unwrap_or(first.1),
                None => first.1,
            };
            ports = Some((first.0, high));
        }
        if asked.prefix {
            addrs = addrs.map(|ends| self.keep_host_bits(walk, asked.kind, ends));
        }
        let port = |value: u128| u16::try_from(value & 0xffff).unwrap_or(0);
        Ok(Some(NatRange {
            addrs: addrs.map(|(low, high)| (address(low, six), address(high, six))),
            ports: ports.map(|(low, high)| (port(low), port(high))),
            base_port: None,
            random: asked.random,
            random_fully: asked.fully_random,
            persistent: asked.persistent,
        }))
    }

    /// An expression's fields, each from one value to another: a map may have ranges.
    fn ends(&mut self, walk: &mut Walk, expr: &'a Expr) -> Stage<Option<Vec<Ends>>> {
        if let Expr::Map(key, set) = expr {
            return match self.lookup(walk, key, set) {
                Err(_) => Ok(None),
                Ok(Ok(Data::Value(ends))) => Ok(Some(ends.into_vec())),
                Ok(Ok(_)) => Err(self.undetermined(walk, "what a map of a nat rule holds is not modelled")),
                Ok(Err(doubt)) => {
                    let what = format!("{}, which `{}` uses, is not known", doubt.what, self.text());
                    Err(self.undetermined(walk, &what))
                }
            };
        }
        Ok(self.value(walk, expr)?.map(|value| vec![(value, value)]))
    }

    /// `nft_nat_setup_netmap`: the bits in which both ends differ stay those of the packet.
    fn keep_host_bits(&self, walk: &Walk, kind: NatKind, (low, high): Ends) -> Ends {
        let ip = self.packet(walk).ip;
        let own = bits(if kind == NatKind::Snat { ip.source } else { ip.destination });
        let host = low ^ high;
        let addr = own & host | low & !host;
        (addr, addr)
    }
}

fn address(value: u128, six: bool) -> IpAddr {
    if six {
        IpAddr::V6(Ipv6Addr::from_bits(value))
    } else {
        IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(value & u128::from(u32::MAX)).unwrap_or(0)))
    }
}
