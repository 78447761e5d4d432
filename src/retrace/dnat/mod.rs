//! What the nodes' rules lead to: who is reached, and at what. They decide, whatever objects say of services.

mod iptables;
mod nft;

use std::net::IpAddr;

use crate::net::{Family, NetnsName, Protocol};
use crate::snapshot::{Netns, Snapshot};

use super::candidate;
use super::services::{Endpoint, Front};

/// So many rules and elements of maps are looked at in a node's tables of a family.
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

/// What rules rewrite.
pub(super) struct Dnat {
    /// To what.
    pub endpoint: Endpoint,
    /// What was asked for.
    pub front: Front,
    /// Whether the rules ask for no address, but for the node's own ones.
    pub is_own_port: bool,
}

/// What was found in a node's tables of a family.
struct Found<'s> {
    netns: &'s Netns,
    family: Family,
    rules: usize,
    all: Vec<Dnat>,
}

/// What the rules of every node give new destinations: `DNAT` of iptables, `dnat` of nft's own tables.
pub(super) fn all(snapshot: &Snapshot) -> Vec<Dnat> {
    let hosts = snapshot.namespaces.iter().filter(|netns| netns.name == NetnsName::Host);
    let of_host = |netns| {
        [Family::Inet, Family::Inet6].into_iter().flat_map(move |family| {
            let mut found = Found { netns, family, rules: 0, all: Vec::new() };
            iptables::read(&mut found);
            nft::read(&mut found);
            found.all
        })
    };
    hosts.flat_map(of_host).collect()
}

impl Found<'_> {
    /// Counts a rule or an element; false where no more are looked at.
    fn counts(&mut self) -> bool {
        self.rules += 1;
        self.rules <= MOST_RULES
    }

    /// Packets that are known so far go to an address, and to a port where the rule names one.
    fn leads_to(&mut self, address: IpAddr, port: Option<u16>, asked: Asked) {
        let Some(port) = port.or(asked.port) else { return };
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
            self.all.extend(protocols.iter().map(|protocol| Dnat {
                endpoint: (address, port, *protocol),
                front: front.clone(),
                is_own_port: asked.destination.is_none(),
            }));
        }
    }
}

impl Asked {
    /// What is known where a rule asks for more; `None` where no packet is asked for by both.
    fn and(self, more: Self) -> Option<Self> {
        Some(Self {
            destination: both(self.destination, more.destination).ok()?,
            port: both(self.port, more.port).ok()?,
            protocol: both(self.protocol, more.protocol).ok()?,
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
