//! What rules of the nat table lead to, where no objects tell which services there are.

use std::net::IpAddr;

use crate::net::{Family, Hook, NetnsName, Protocol};
use crate::snapshot::{AddrMask, ChainId, Match, Netns, Ports, Rule, Ruleset, Snapshot, Table, Target};

use super::candidate;
use super::services::{Endpoint, Front};

/// So many rules are looked at.
const MOST_RULES: usize = 1_000_000;
/// Chains call each other no deeper (`NFT_JUMP_STACK_SIZE`, and more than anybody writes).
const MOST_DEPTH: usize = 16;
/// So many addresses of a node are reached by a rule that asks for none.
const MOST_ADDRESSES: usize = 8;

/// What is known of packets that come to a rule, by the rules that have led there.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    destination: Option<IpAddr>,
    port: Option<u16>,
    protocol: Option<Protocol>,
}

/// The nat table that is read.
struct Reading<'s> {
    netns: &'s Netns,
    ruleset: &'s Ruleset,
    table: &'s Table,
    rules: usize,
    found: Vec<(Endpoint, Front)>,
}

/// To what the `DNAT` rules of every node give new destinations: who is reached, and at what.
pub(super) fn fronts(snapshot: &Snapshot) -> Vec<(Endpoint, Front)> {
    let mut found = Vec::new();
    for netns in snapshot.namespaces.iter().filter(|netns| netns.name == NetnsName::Host) {
        for family in [Family::Inet, Family::Inet6] {
            for ruleset in netns.netfilter.rulesets(family) {
                let Some(table) = ruleset.table("nat") else { continue };
                let mut reading = Reading { netns, ruleset, table, rules: 0, found };
                for hook in [Hook::Prerouting, Hook::Output] {
                    if let Some(base) = table.find(hook.chain()) {
                        reading.chain(base, Asked::default(), 0);
                    }
                }
                found = reading.found;
            }
        }
    }
    found
}

impl Reading<'_> {
    fn chain(&mut self, id: ChainId, asked: Asked, depth: usize) {
        let Some(chain) = self.table.chain(id).filter(|_| depth < MOST_DEPTH) else { return };
        let ruleset = self.ruleset;
        for rule in ruleset.rules(self.table, chain).all() {
            self.rules += 1;
            if self.rules > MOST_RULES {
                return;
            }
            let Some(asked) = asked.and(rule) else { continue };
            match &rule.target {
                Target::Jump(next) | Target::Goto(next) => self.chain(*next, asked, depth + 1),
                Target::Dnat(range) => {
                    let to = range.addrs.filter(|(low, high)| low == high).map(|(address, _)| address);
                    let port = range.ports.map_or(asked.port, |(low, high)| (low == high).then_some(low));
                    if let Some(to) = to.zip(port) {
                        self.leads_to(to, asked);
                    }
                }
                _ => {}
            }
        }
    }

    fn leads_to(&mut self, (address, port): (IpAddr, u16), asked: Asked) {
        let own = || {
            let addrs = self.netns.addrs.iter().flatten().map(|addr| addr.address);
            let own = addrs.filter(|own| !own.is_loopback() && Family::of(*own) == Family::of(address));
            own.take(MOST_ADDRESSES).collect()
        };
        // A rule that asks for no address is for the node's own ports.
        let destinations: Vec<IpAddr> = asked.destination.map_or_else(own, |destination| vec![destination]);
        let protocols = asked.protocol.map_or(vec![Protocol::TCP, Protocol::UDP, Protocol::SCTP], |one| vec![one]);
        let at = asked.port.unwrap_or(port);
        for destination in destinations {
            let front = Front { address: destination, port: at, name: candidate::endpoint(destination, Some(at)) };
            self.found.extend(protocols.iter().map(|protocol| ((address, port, *protocol), front.clone())));
        }
    }
}

impl Asked {
    /// What is known of packets that a rule matches, of those that come to it; `None` where it matches none.
    fn and(self, rule: &Rule) -> Option<Self> {
        let whole = |mask: IpAddr| match mask {
            IpAddr::V4(mask) => mask.to_bits() == u32::MAX,
            IpAddr::V6(mask) => mask.to_bits() == u128::MAX,
        };
        let address = rule.selector.destination.as_ref().filter(|address| !address.invert() && whole(address.mask()));
        let protocol = rule.selector.protocol.filter(|test| !test.invert).map(|test| test.value);
        let port = rule.matches.iter().filter_map(ports).find_map(|ports| {
            let range = ports.destination.filter(|test| !test.invert)?.value;
            (range.low == range.high).then_some(range.low)
        });
        Some(Self {
            destination: both(self.destination, address.map(AddrMask::addr)).ok()?,
            port: both(self.port, port).ok()?,
            protocol: both(self.protocol, protocol).ok()?,
        })
    }
}

/// What two rules ask for; fails where no packet has both.
fn both<T: PartialEq>(before: Option<T>, now: Option<T>) -> Result<Option<T>, ()> {
    match (before, now) {
        (Some(before), Some(now)) if before != now => Err(()),
        (before, now) => Ok(before.or(now)),
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
