//! The nat tables that `iptables-save` prints.

use std::net::IpAddr;

use crate::net::Hook;
use crate::snapshot::{AddrMask, ChainId, Match, Ports, Rule, Ruleset, Table, Target};

use super::{Asked, Found, MOST_DEPTH};

/// The nat table that is read.
#[derive(Clone, Copy)]
struct Reading<'s> {
    ruleset: &'s Ruleset,
    table: &'s Table,
}

/// Reads a node's nat tables of a family.
pub(super) fn read(found: &mut Found<'_>) {
    for ruleset in found.netns.netfilter.rulesets(found.family) {
        let Some(table) = ruleset.table("nat") else { continue };
        for hook in [Hook::Prerouting, Hook::Output] {
            if let Some(base) = table.find(hook.chain()) {
                Reading { ruleset, table }.chain(base, Asked::default(), 0, found);
            }
        }
    }
}

impl Reading<'_> {
    fn chain(self, id: ChainId, asked: Asked, depth: usize, found: &mut Found<'_>) {
        let Some(chain) = self.table.chain(id).filter(|_| depth < MOST_DEPTH) else { return };
        for rule in self.ruleset.rules(self.table, chain).all() {
            if !found.counts() {
                return;
            }
            let Some(asked) = asked.and(asks(rule)) else { continue };
            match &rule.target {
                Target::Jump(next) | Target::Goto(next) => self.chain(*next, asked, depth + 1, found),
                Target::Dnat(range) => {
                    let port = range.ports.map(|(low, high)| (low == high).then_some(low));
                    let to = range.addrs.filter(|(low, high)| low == high && port != Some(None));
                    if let Some((to, _)) = to {
                        found.leads_to(to, port.flatten(), asked);
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a rule asks of packets.
fn asks(rule: &Rule) -> Asked {
    let whole = |mask: IpAddr| match mask {
        IpAddr::V4(mask) => mask.to_bits() == u32::MAX,
        IpAddr::V6(mask) => mask.to_bits() == u128::MAX,
    };
    let address = rule.selector.destination.as_ref().filter(|address| !address.invert() && whole(address.mask()));
    let port = rule.matches.iter().filter_map(ports).find_map(|ports| {
        let range = ports.destination.filter(|test| !test.invert)?.value;
        (range.low == range.high).then_some(range.low)
    });
    Asked {
        destination: address.map(AddrMask::addr),
        port,
        protocol: rule.selector.protocol.filter(|test| !test.invert).map(|test| test.value),
    }
}

fn ports(one: &Match) -> Option<Ports> {
    match one {
        Match::Tcp(tcp) => Some(tcp.ports),
        Match::Udp(ports) => Some(*ports),
        Match::Sctp(sctp) => Some(sctp.ports),
        _ => None,
    }
}
