//! Addresses as names, and the addresses of namespaces.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::error::Error;
use crate::evidence::FileId;
use crate::net::{Family, IfName, NetnsName, RouteType};
use crate::snapshot::{Addr, Netns, Route, Routes, TableFile};
use crate::trace::Finding;

use super::pod::missing_folder;
use super::{End, Home, Kind, Names, Role, usage};

/// Addresses that documentation may use (RFC 5737, RFC 3849), then ones that are surely somebody's.
const OUTSIDE: [&str; 6] = ["203.0.113.1", "198.51.100.1", "192.0.2.1", "8.8.8.8", "2001:db8:ffff::1", "2600::"];

/// An address that was typed, with its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    address: IpAddr,
    port: Option<u16>,
}

impl Literal {
    pub(super) fn new(address: IpAddr, port: Option<u16>) -> Self {
        Self { address, port }
    }
}

/// Reads `IP`, `IP:PORT`, `[v6]` and `[v6]:PORT`; `None` for what isn't meant as an address.
pub(super) fn parse(text: &str) -> Result<Option<Literal>, Error> {
    if let Ok(address) = text.parse() {
        return Ok(Some(Literal { address, port: None }));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = inner.parse::<Ipv6Addr>().map_err(|_| usage(format!("{text}: {inner:?} is no IPv6 address")))?;
        return Ok(Some(Literal { address: address.into(), port: None }));
    }
    if let Some((address, _)) = text.split_once('/').filter(|(address, _)| address.parse::<IpAddr>().is_ok()) {
        return Err(usage(format!("{text} is a prefix; give one address, such as {address}")));
    }
    match text.parse::<SocketAddr>() {
        Ok(socket) if socket.port() != 0 => Ok(Some(Literal { address: socket.ip(), port: Some(socket.port()) })),
        Ok(_) => Err(usage(format!("{text}: 0 is no port"))),
        Err(_) if looks_like_one(text) => {
            Err(usage(format!("{text} is no address (10.0.0.1, 10.0.0.1:80, [fd00::1]:80)")))
        }
        Err(_) => Ok(None),
    }
}

/// A mistyped address shall not be looked for among the pods.
fn looks_like_one(text: &str) -> bool {
    let head = text.split(':').next().unwrap_or(text);
    let dotted = head.split('.').count() == 4 && head.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    dotted || text.starts_with('[') || text.matches(':').count() > 1
}

impl Names<'_> {
    /// An address: its owner's namespace, where it has exactly one. Several may have it (a node-local address, a
    /// contradiction), which matters only for who sends.
    pub(super) fn address_end(&self, literal: Literal, role: Role) -> Result<End, Error> {
        let Literal { address, port } = literal;
        let mut owners: Vec<_> = self.snapshot.owner_of(address).into_iter().map(|(netns, _)| netns).collect();
        owners.dedup();
        let home = match owners.as_slice() {
            [owner] => Home::Netns(*owner),
            several if role == Role::From && several.len() > 1 => {
                let names: Vec<&str> = several.iter().map(|netns| self.snapshot.netns(*netns).dir.as_str()).collect();
                return Err(usage(format!("{address} is an address of several: {}; name one", names.join(", "))));
            }
            [] if role == Role::From => self.absent(address).map_or(Home::Nowhere, Home::Missing),
            _ => Home::Nowhere,
        };
        let strange = (role, &home) == (Role::From, &Home::Nowhere);
        let findings = strange.then(|| self.stranger(address)).flatten().into_iter().collect();
        Ok(End { port, findings, ..End::new(Kind::Address, home, vec![address]) })
    }

    /// The folder of the pod or node that has an address by its object, and isn't in the snapshot.
    fn absent(&self, address: IpAddr) -> Option<String> {
        let node = self.snapshot.absent_node(address).map(|node| format!("nodes/{}/host", node.name));
        let pod = self.snapshot.kube.pod_with(address).filter(|pod| pod.is_live());
        node.or_else(|| pod.map(|pod| missing_folder(&pod.name, Some(pod))))
    }

    /// Says that a sender in the pods' network is nobody's address, and what it is taken for.
    fn stranger(&self, address: IpAddr) -> Option<Finding> {
        let prefix = self.snapshot.known_prefixes().iter().find(|prefix| prefix.contains(&address))?;
        let unread = self.snapshot.namespaces.iter().flat_map(|netns| netns.unread_rows(TableFile::Addr));
        let evidence: Vec<_> = unread.filter(|row| row.may_hold(address)).map(|row| row.evidence).collect();
        let but = if evidence.is_empty() { "" } else { ", though a row that could not be read may say who" };
        let what = format!(
            "{address} is in the pods' network {prefix}, and nobody in the snapshot has it{but}: it is taken for a \
             client outside that sends from it; --at NODE/DEVICE says where its packets come in"
        );
        Some(Finding::new(what, evidence))
    }

    /// An address of each family that no route but a default one leads to.
    pub(super) fn external(&self) -> End {
        let candidates = OUTSIDE.iter().filter_map(|text| text.parse().ok());
        let outside = candidates.filter(|address| !self.is_known(*address));
        End::new(Kind::External, Home::Nowhere, one_each(outside))
    }

    /// The same for who is sent to from such an address: another one.
    pub(in super::super) fn external_beside(&self, other: &End) -> End {
        let candidates = OUTSIDE.iter().filter_map(|text| text.parse().ok());
        let outside = candidates.filter(|address| !self.is_known(*address) && !other.addresses.contains(address));
        End::new(Kind::External, Home::Nowhere, one_each(outside))
    }

    /// Whether nothing in the snapshot has to do with an end that is sent to: not even a rule names its address.
    pub(in super::super) fn is_outside(&self, end: &End) -> bool {
        let strange =
            |address: &IpAddr| is_plain_unicast(*address) && !self.is_known(*address) && !self.is_in_rules(*address);
        end.home == Home::Nowhere && end.addresses.iter().all(strange)
    }

    fn is_in_rules(&self, address: IpAddr) -> bool {
        let netfilter = self.snapshot.namespaces.iter().map(|netns| &netns.netfilter);
        let files = netfilter.flat_map(|netfilter| {
            let families = [Family::Inet, Family::Inet6].into_iter();
            let iptables = families.flat_map(|family| netfilter.rulesets(family)).map(|ruleset| ruleset.file);
            iptables.chain(netfilter.nft.iter().flat_map(|nft| &nft.tables).map(|table| table.evidence.file))
        });
        let files: BTreeSet<FileId> = files.collect();
        let mut texts = files.iter().filter_map(|file| self.snapshot.files.get(*file)).map(|file| &file.text);
        texts.any(|text| mentions(text, &address.to_string()))
    }

    fn is_known(&self, address: IpAddr) -> bool {
        let hosts = self.snapshot.namespaces.iter().filter(|netns| netns.name == NetnsName::Host);
        let mut prefixes = hosts.flat_map(prefixes);
        self.snapshot.is_cluster_address(address) || prefixes.any(|prefix| prefix.contains(&address))
    }
}

/// Whether an address is somebody's, and not one that every kernel has its own answer for.
fn is_plain_unicast(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

/// Whether a text holds an address, and not as a part of another.
fn mentions(text: &str, address: &str) -> bool {
    let part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':'));
    let bytes = text.as_bytes();
    memchr::memmem::find_iter(bytes, address).any(|at| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        !part(before) && !part(bytes.get(at + address.len()))
    })
}

/// What a namespace has on its links, or has routes to.
fn prefixes(netns: &Netns) -> impl Iterator<Item = IpNet> {
    let connected = netns.addrs.iter().flatten().filter_map(|addr| IpNet::new(addr.address, addr.prefix_len).ok());
    let routed = routes(netns).filter(|route| route.kind == RouteType::Unicast).map(|route| route.dst);
    connected.chain(routed).filter(|net| net.prefix_len() > 0)
}

fn routes(netns: &Netns) -> impl Iterator<Item = &Route> {
    [&netns.routes, &netns.routes6].into_iter().flatten().flat_map(Routes::rows)
}

/// The first address of each family.
pub(super) fn one_each(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut chosen: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if !chosen.iter().any(|other| Family::of(*other) == Family::of(address)) {
            chosen.push(address);
        }
    }
    chosen
}

/// The addresses of a namespace by which others know it: first those of the device that its default route leaves by.
pub(super) fn of_netns(netns: &Netns) -> Vec<IpAddr> {
    let outward: Vec<&IfName> = routes(netns)
        .filter(|route| route.kind == RouteType::Unicast && route.dst.prefix_len() == 0)
        .flat_map(|route| &route.nexthops)
        .filter_map(|hop| hop.dev.as_ref())
        .collect();
    let mut usable: Vec<&Addr> = netns.addrs.iter().flatten().filter(|addr| is_usable(addr)).collect();
    usable.sort_by_key(|addr| (!outward.contains(&&addr.dev), addr.secondary || addr.deprecated));
    one_each(usable.into_iter().map(|addr| addr.address))
}

fn is_usable(addr: &Addr) -> bool {
    let local = match addr.address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    };
    !local && !addr.tentative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_not_a_part_of_another() {
        assert!(mentions("-d 10.0.0.1/32 -j ACCEPT", "10.0.0.1"));
        assert!(mentions("10.0.0.1", "10.0.0.1"));
        assert!(!mentions("-d 10.0.0.12/32 -s 110.0.0.1/32", "10.0.0.1"));
        assert!(mentions("-d fd00::1/128", "fd00::1") && !mentions("-d fd00::1:2/128", "fd00::1"));
    }
}
