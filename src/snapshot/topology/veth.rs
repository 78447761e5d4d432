//! Finding the two ends of every veth pair.
//!
//! `ip link` prints the peer's interface index and the number by which this namespace knows the peer's
//! (`veth1@if2 … link-netnsid 0`), never which namespace that is. Two devices are a pair when each names the other's
//! index; where more than two fit, the namespace numbers of pairs already known and the addresses seen decide.

use std::collections::{BTreeMap, HashMap};

use crate::evidence::Gap;
use crate::net::{IfName, NetnsId, NodeName};
use crate::snapshot::{FdbEntry, Link, LinkKind, Netns, Node, Routes};

use super::DevRef;

/// The pairs of every node. Ends that fit several others are a gap.
pub(super) fn pairs(
    namespaces: &[Netns],
    nodes: &BTreeMap<NodeName, Node>,
    gaps: &mut Vec<Gap>,
) -> Vec<(DevRef, DevRef)> {
    let mut pairs = Vec::new();
    for node in nodes.values() {
        let ids = node.host.into_iter().chain(node.pods.values().copied());
        let members: Vec<(NetnsId, &Netns)> = ids.filter_map(|id| Some((id, namespaces.get(id.0 as usize)?))).collect();
        let mut candidates = Candidates::of(&members);
        candidates.settle();
        pairs.extend(candidates.pairs());
        gaps.extend(candidates.undecided());
    }
    pairs
}

/// One end of a pair, not yet joined.
#[derive(Clone, Copy)]
struct End<'a> {
    id: NetnsId,
    netns: &'a Netns,
    link: &'a Link,
}

impl End<'_> {
    fn dev(&self) -> DevRef {
        DevRef::new(self.id, &self.link.name)
    }
}

/// How a namespace calls another one: `link-netnsid 3`, or `link-netns blue`.
#[derive(Clone, PartialEq, Eq, Hash)]
enum NetnsNumber {
    Id(i32),
    Name(String),
}

/// For each end, the ends that it may be joined to.
struct Candidates<'a> {
    ends: Vec<End<'a>>,
    options: Vec<Vec<usize>>,
}

impl<'a> Candidates<'a> {
    fn of(members: &[(NetnsId, &'a Netns)]) -> Self {
        let mut ends = Vec::new();
        for &(id, netns) in members {
            let links = netns.links.iter().flatten().filter(|link| may_be_veth(link));
            ends.extend(links.map(|link| End { id, netns, link }));
        }
        let mut by_indexes: HashMap<(Option<u32>, Option<u32>), Vec<usize>> = HashMap::new();
        for (place, end) in ends.iter().enumerate() {
            by_indexes.entry((end.link.index, end.peer_index())).or_default().push(place);
        }
        let options = ends.iter().enumerate().map(|(place, end)| {
            let (Some(index), Some(peer)) = (end.link.index, end.peer_index()) else { return Vec::new() };
            let fitting = by_indexes.get(&(Some(peer), Some(index))).into_iter().flatten().copied();
            fitting.filter(|&other| other != place && ends.get(other).is_some_and(|other| fit(end, other))).collect()
        });
        let options = options.collect();
        Self { ends, options }
    }

    /// Strikes out what the pairs already known, and the addresses seen, rule out, until nothing changes.
    fn settle(&mut self) {
        loop {
            let left = self.open();
            self.strike_taken();
            self.strike_by_netnsid();
            if self.open() == left {
                self.choose_by_addresses();
            }
            if self.open() == left {
                return;
            }
        }
    }

    fn open(&self) -> usize {
        self.options.iter().map(Vec::len).sum()
    }

    /// The other end of a pair that is beyond doubt: each is the other's only option.
    fn sure(&self, place: usize) -> Option<usize> {
        let [other] = self.options.get(place)?.as_slice() else { return None };
        (self.options.get(*other)?.as_slice() == [place]).then_some(*other)
    }

    /// An end that is joined beyond doubt is no option for a third, and an option is mutual.
    fn strike_taken(&mut self) {
        let sure: Vec<Option<usize>> = (0..self.ends.len()).map(|place| self.sure(place)).collect();
        let before = self.options.clone();
        for (place, options) in self.options.iter_mut().enumerate() {
            options.retain(|&other| {
                let free = sure.get(other).is_none_or(|taken| taken.is_none_or(|taken| taken == place));
                free && before.get(other).is_some_and(|back| back.contains(&place))
            });
        }
    }

    /// Within a namespace, one `link-netnsid` is one other namespace.
    fn strike_by_netnsid(&mut self) {
        let mut known: HashMap<(NetnsId, NetnsNumber), NetnsId> = HashMap::new();
        let mut number: HashMap<(NetnsId, NetnsId), NetnsNumber> = HashMap::new();
        for (place, end) in self.ends.iter().enumerate() {
            let peer = self.sure(place).and_then(|peer| self.ends.get(peer));
            if let (Some(peer), Some(nsid)) = (peer, end.elsewhere()) {
                known.insert((end.id, nsid.clone()), peer.id);
                number.insert((end.id, peer.id), nsid);
            }
        }
        let ends = &self.ends;
        for (end, options) in ends.iter().zip(&mut self.options) {
            let Some(nsid) = end.elsewhere() else { continue };
            options.retain(|&other| {
                let Some(other) = ends.get(other) else { return false };
                known.get(&(end.id, nsid.clone())).is_none_or(|id| *id == other.id)
                    && number.get(&(end.id, other.id)).is_none_or(|known| *known == nsid)
            });
        }
    }

    /// Lets the first end that has several options take the one that the addresses seen speak for.
    fn choose_by_addresses(&mut self) {
        for place in 0..self.ends.len() {
            let Some(options) = self.options.get(place).filter(|options| options.len() > 1) else { continue };
            let Some(end) = self.ends.get(place) else { continue };
            let mut scored: Vec<(u32, usize)> =
                options.iter().filter_map(|&other| Some((acquaintance(end, self.ends.get(other)?), other))).collect();
            scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
            if let [(best, other), (second, _), ..] = scored.as_slice()
                && best > second
            {
                let other = *other;
                self.take(place, other);
                return;
            }
        }
    }

    fn take(&mut self, one: usize, other: usize) {
        for (place, peer) in [(one, other), (other, one)] {
            if let Some(options) = self.options.get_mut(place) {
                *options = vec![peer];
            }
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (DevRef, DevRef)> {
        (0..self.ends.len()).filter_map(|place| {
            let other = self.sure(place).filter(|other| *other > place)?;
            Some((self.ends.get(place)?.dev(), self.ends.get(other)?.dev()))
        })
    }

    fn undecided(&self) -> impl Iterator<Item = Gap> {
        self.ends.iter().zip(&self.options).filter(|(_, options)| options.len() > 1).map(|(end, options)| {
            let others: Vec<&End> = options.iter().filter_map(|&other| self.ends.get(other)).collect();
            let names: Vec<String> = others.iter().map(|end| format!("{}/{}", end.netns.dir, end.link.name)).collect();
            let what = format!(
                "the other end of {}/{} can't be told: {} fit equally",
                end.netns.dir,
                end.link.name,
                names.join(" and ")
            );
            let evidence = std::iter::once(end).chain(others).map(|end| end.link.evidence).collect();
            Gap::new(what, evidence)
        })
    }
}

impl End<'_> {
    /// The peer's index as printed, or that of the device printed after `@`.
    fn peer_index(&self) -> Option<u32> {
        let by_name = || self.named(self.link.peer_name.as_ref()?)?.index;
        self.link.peer_index.or_else(by_name)
    }

    /// Which other namespace the peer is in, in this one's words; `None` where it is in this one.
    fn elsewhere(&self) -> Option<NetnsNumber> {
        let name = || self.link.link_netns.clone().map(NetnsNumber::Name);
        self.link.link_netnsid.map(NetnsNumber::Id).or_else(name)
    }

    fn named(&self, name: &IfName) -> Option<&Link> {
        self.netns.link(name)
    }
}

/// Without `-d` a veth's kind is not printed, but its peer's index is.
fn may_be_veth(link: &Link) -> bool {
    let joined = link.peer_index.is_some() || link.peer_name.is_some();
    link.kind == LinkKind::Veth || (link.kind == LinkKind::Plain && joined)
}

/// A namespace number stands exactly on links that lead into another namespace.
fn fit(one: &End, other: &End) -> bool {
    let inside = one.id == other.id;
    [one, other].iter().all(|end| end.elsewhere().is_none() == inside)
}

/// How much the tables say that two ends know each other.
fn acquaintance(one: &End, other: &End) -> u32 {
    seen_from(one, other) + seen_from(other, one)
}

/// A bridge that learned the other end's link-layer address on this very port says most, then a neighbour on this
/// device, then one on the bridge, then a route to the other's address.
fn seen_from(end: &End, other: &End) -> u32 {
    let dev = &end.link.name;
    let lladdr = other.link.lladdr;
    let has = |address| other.netns.addrs_of(&other.link.name).any(|addr| addr.address == address);
    let learned = |row: &&FdbEntry| !row.permanent && lladdr == Some(row.lladdr);
    let on_port = end.netns.fdb.iter().flatten().filter(learned).any(|row| row.dev == *dev);
    let neighs = || end.netns.neighs.iter().flatten().filter(|row| row.lladdr.is_some() && row.lladdr == lladdr);
    let beside = neighs().any(|row| row.dev == *dev);
    let on_bridge = neighs().any(|row| Some(&row.dev) == end.link.master.as_ref() && has(row.address));
    let routed = end.netns.routes.iter().flat_map(Routes::rows).any(|route| {
        has(route.dst.addr())
            && route.dst.prefix_len() == route.dst.max_prefix_len()
            && route.nexthops.iter().any(|hop| hop.dev.as_ref() == Some(dev))
    });
    8 * u32::from(on_port) + 4 * u32::from(beside) + 2 * u32::from(routed) + u32::from(on_bridge)
}
