//! Rows of the tables that could not be read. The kernel has them, so that an answer which one of them may change is
//! not certain.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, MacAddr, TableId};
use crate::snapshot::{
    ConntrackTuple, Link, LinkKind, Netns, NetnsId, NetnsName, PolicyRule, TableFile, UnreadRow, UnreadRules, WhyUnread,
};
use crate::trace::{Reason, Verdict};

use super::end::End;
use super::fib::{Flow, Lookup};
use super::fib_rules::has_default_rules;
use super::link::{self, Reach};
use super::walk::Walk;

/// Says that a row may have decided.
fn doubt(walk: &mut Walk, row: &UnreadRow, may: &str) {
    let place = format!("{}:{}", walk.snapshot.files.path(row.evidence), row.evidence.line);
    walk.doubt(format!("{place} could not be read, and may {may}"), Some(row.evidence));
}

/// Says so of the first of some rows.
fn doubt_first<'s>(walk: &mut Walk, mut rows: impl Iterator<Item = &'s UnreadRow>, may: &str) {
    if let Some(row) = rows.next() {
        doubt(walk, row, may);
    }
}

/// A policy rule that may match, and does what nobody could read.
pub(super) fn doubt_rule(walk: &mut Walk, rule: &PolicyRule) {
    let place = format!("{}:{}", walk.snapshot.files.path(rule.evidence), rule.evidence.line);
    walk.doubt(format!("{place} could not be read, and may be the policy rule that decides"), Some(rule.evidence));
}

/// A lookup's answer stands unless a policy rule could come before, or a route could be more specific.
pub(super) fn doubt_lookup(walk: &mut Walk, netns: &Netns, flow: &Flow, lookup: &Lookup) {
    if netns.unread.rows.is_empty() {
        return;
    }
    let (route, because) = match lookup {
        Lookup::Found(found) => (Some(found.route), found.because.clone()),
        Lookup::Failed(failure) => (failure.route, failure.rule.map(|rule| rule.evidence).into_iter().collect()),
        Lookup::Unknown(..) => return,
    };
    let comes_before = |row: &&UnreadRow| {
        because.iter().filter(|line| line.file == row.evidence.file).all(|line| row.is_before(*line))
    };
    let rules = netns.unread_rows(TableFile::Rule(flow.family)).filter(comes_before);
    doubt_first(walk, rules, &format!("be a policy rule for {}", flow.destination));
    let rules = if flow.family == Family::Inet { &netns.rules } else { &netns.rules6 };
    let merged = flow.family == Family::Inet && rules.as_ref().is_some_and(|rules| has_default_rules(rules));
    let best = route.map(|route| (route.table, route.dst.prefix_len(), route.dst.max_prefix_len()));
    let beats = |row: &&UnreadRow| match (best, row.prefix) {
        // The table `local` is asked first, and nothing is longer than a whole address.
        (Some((TableId::LOCAL, ..)), _) => false,
        (Some((_, length, most)), _) if length == most => false,
        (Some((_, length, _)), Some(prefix)) => !merged || prefix.prefix_len() >= length,
        _ => true,
    };
    let held = netns.unread_rows(TableFile::Route(flow.family)).filter(|row| row.may_hold(flow.destination));
    doubt_first(walk, held.filter(beats), &format!("be the route to {}", flow.destination));
}

/// Without a row for a neighbour, one that could not be read may be it.
pub(super) fn doubt_neigh(walk: &mut Walk, dev: &IfName, address: IpAddr) {
    let rows = walk.netns().unread_rows(TableFile::Neigh).filter(|row| row.may_hold(address) && row.may_name(dev));
    doubt_first(walk, rows, &format!("say who {address} is on {dev}"));
}

/// Without an entry for a link address, one that could not be read may be it.
pub(super) fn doubt_fdb(walk: &mut Walk, netns: &Netns, dev: Option<&IfName>, lladdr: MacAddr) {
    let about =
        |row: &&UnreadRow| row.lladdr.is_none_or(|own| own == lladdr) && dev.is_none_or(|dev| row.may_name(dev));
    doubt_first(walk, netns.unread_rows(TableFile::Fdb).filter(about), &format!("be the entry for {lladdr}"));
}

/// A source address that was chosen for a device stands unless the device has one before it.
pub(super) fn doubt_source(walk: &mut Walk, netns: &Netns, dev: &IfName, chosen: IpAddr) {
    doubt_addrs(walk, netns, Family::of(chosen), "another source address may be chosen");
    // IPv6 weighs all addresses; in IPv4 the first of the device that fits is taken, and another device's if it has
    // none.
    let line = netns.addr(chosen).filter(|addr| addr.dev == *dev).map(|addr| addr.evidence);
    let first = |row: &&UnreadRow| chosen.is_ipv6() || line.is_none_or(|line: Evidence| row.is_before(line));
    doubt_first(walk, netns.unread_rows(TableFile::Addr).filter(first), "be the source address");
}

/// Where `addr` was not collected, the devices may have addresses of which no route tells.
pub(super) fn doubt_addrs(walk: &mut Walk, netns: &Netns, family: Family, may: &str) {
    if netns.may_have_more_addrs(family) {
        walk.doubt(format!("{}: {may}", netns.lacks("addr.txt")), None);
    }
}

/// A device of which not everything could be read, or is modelled.
pub(super) fn doubt_link(walk: &mut Walk, dev: &IfName) {
    let netns = walk.netns();
    let Some(link) = netns.link(dev) else {
        let rows = netns.unread_rows(TableFile::Link).filter(|row| row.may_name(dev));
        return doubt_first(walk, rows, &format!("be {dev}"));
    };
    let port = link.port.iter().map(|port| (&port.unmodelled, port.evidence));
    let mut all = std::iter::once((&link.unmodelled, link.evidence)).chain(port);
    if let Some((words, row)) = all.find(|(words, _)| !words.is_empty()) {
        let what = format!("{dev} of {} has options that are not modelled: {}", netns.dir, words.join(" "));
        walk.doubt(what, Some(row));
    }
}

/// No device upon another one has a VLAN, unless one has it of which the file doesn't tell so much.
pub(super) fn doubt_vlan(walk: &mut Walk, dev: &IfName, vid: u16) {
    let netns = walk.netns();
    let untold = |link: &&Link| {
        link.peer_name.as_ref() == Some(dev) && matches!(link.kind, LinkKind::Plain | LinkKind::Undetailed(_))
    };
    if let Some(link) = netns.links.iter().flatten().find(untold) {
        let what = format!("{} of {} may be the device of VLAN {vid}: its kind is not told", link.name, netns.dir);
        walk.doubt(what, Some(link.evidence));
    }
    doubt_first(walk, netns.unread_rows(TableFile::Link), &format!("be the device of VLAN {vid}"));
}

/// A setting that the file doesn't have, though a line of it could not be read.
pub(super) fn doubt_sysctl(walk: &mut Walk, netns: &Netns, key: &str) {
    doubt_first(walk, netns.unread_rows(TableFile::Sysctl), &format!("set {key}"));
}

/// Without an entry for a connection, one that could not be read may be it: the packet's addresses stand in it, in its
/// order, unless so little is left that nobody can tell.
pub(super) fn doubt_conntrack(walk: &mut Walk, tuple: &ConntrackTuple) {
    let netns = walk.netns();
    if netns.unread.rows.is_empty() {
        return;
    }
    let (source, destination) = (format!("src={}", tuple.source), format!("dst={}", tuple.destination));
    let may_be = |row: &&UnreadRow| {
        let text = walk.snapshot.files.text(row.evidence);
        let has = |word: &str| text.split_ascii_whitespace().any(|other| other == word);
        text.matches("src=").count() < 2 || has(&source) && has(&destination)
    };
    let row = netns.unread_rows(TableFile::Conntrack).find(may_be);
    doubt_first(walk, row.into_iter(), "be the packet's connection");
}

/// Where a rule may be missing from netfilter's files, it may come before all others. Whether there is such a place.
pub(super) fn doubt_rules(walk: &mut Walk, family: Family) -> bool {
    let unread = &walk.netns().netfilter.unread;
    let Some((_, unread)) = unread.iter().find(|(of, _)| *of == family) else { return false };
    let may = match unread.why {
        WhyUnread::NotUnderstood => "and may be a rule that decides",
        WhyUnread::Cut => "and a rule that decides may have followed",
        WhyUnread::Unprinted => "and a rule of that table may decide",
    };
    walk.doubt(format!("{}, {may}", in_words(walk, *unread)), Some(unread.line));
    true
}

/// What is wrong with a line of netfilter's files.
fn in_words(walk: &Walk, unread: UnreadRules) -> String {
    let place = format!("{}:{}", walk.snapshot.files.path(unread.line), unread.line.line);
    match unread.why {
        WhyUnread::NotUnderstood => format!("{place} could not be read"),
        WhyUnread::Cut => format!("{place} is where the file was cut off"),
        WhyUnread::Unprinted => format!("{place} says that iptables could not print a table"),
    }
}

/// The line of a file of rules that could not be read, in words.
pub(super) fn of_rules(walk: &Walk, family: Family, name: &str) -> Option<String> {
    let files = &walk.snapshot.files;
    let unread = &walk.netns().netfilter.unread;
    let is_of = |unread: &UnreadRules| files.path(unread.line).rsplit('/').next() == Some(name);
    let mut of_family = unread.iter().filter(|(of, _)| *of == family).map(|(_, unread)| *unread);
    Some(in_words(walk, of_family.find(is_of)?))
}

/// A row of `ipset` that could not be read and that may be about a set.
pub(super) fn of_ipset(walk: &Walk, name: &str) -> Option<String> {
    let files = &walk.snapshot.files;
    let may_be = |row: &&UnreadRow| match files.text(row.evidence).split_ascii_whitespace().collect::<Vec<_>>()[..] {
        ["create" | "add", set, ..] => set == name,
        _ => true,
    };
    let row = walk.netns().unread_rows(TableFile::Ipset).find(may_be)?;
    Some(format!("{}:{} could not be read", files.path(row.evidence), row.evidence.line))
}

/// A row of a list of `recent` that could not be read.
pub(super) fn of_recent(walk: &Walk, list: &str) -> Option<String> {
    let files = &walk.snapshot.files;
    let is_of = |row: &&UnreadRow| files.path(row.evidence).rsplit('/').next() == Some(list);
    let row = walk.netns().unread_rows(TableFile::Recent).find(is_of)?;
    Some(format!("{}:{} could not be read", files.path(row.evidence), row.evidence.line))
}

/// An end for want of something stands unless a row that could not be read may be what was wanted.
pub(super) fn doubt_end(walk: &mut Walk, end: &End) {
    let Some(reason) = end.reason.filter(|_| end.verdict != Verdict::Undetermined) else { return };
    let netns = walk.netns();
    let destination = walk.packet().ip.destination;
    let next_hop = walk.skb.next_hop.as_ref().map_or(destination, |next_hop| next_hop.address);
    match reason {
        Reason::NoDevice => doubt_first(walk, netns.unread_rows(TableFile::Link), "be the device"),
        Reason::NoVtep | Reason::VniMismatch => doubt_tunnel(walk, netns),
        Reason::NoReceiver => doubt_first(walk, netns.unread_rows(TableFile::Link), "be a port of the bridge"),
        Reason::PortNotForwarding => {
            doubt_first(walk, netns.unread_rows(TableFile::BridgeVlan), "say which VLANs a port carries");
        }
        Reason::NoAddress | Reason::NoSource => {
            let source = walk.packet().ip.source;
            let own = netns.unread_rows(TableFile::Addr).filter(|row| source.is_unspecified() || row.may_hold(source));
            doubt_first(walk, own, "be the source address");
            doubt_addrs(walk, netns, Family::of(source), "the namespace may have that address");
        }
        Reason::NeighborFailed => {
            doubt_first(walk, netns.unread_rows(TableFile::Link), &format!("lead to {next_hop}"));
            doubt_owner(walk, &in_reach(walk), next_hop);
        }
        Reason::NobodyOwns => {
            doubt_owner(walk, &hosts(walk), next_hop);
            doubt_owner(walk, &hosts(walk), destination);
        }
        _ => {}
    }
}

/// Kinds of devices that surely take no VXLAN packet (the names of their drivers' `rtnl_link_ops`).
const OTHER_KINDS: [&str; 30] = [
    "bareudp",
    "bond",
    "can",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "hsr",
    "ifb",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "ipvlan",
    "ipvtap",
    "macsec",
    "macvlan",
    "macvtap",
    "netkit",
    "nlmon",
    "sit",
    "team",
    "vcan",
    "vrf",
    "vti",
    "vti6",
    "wireguard",
    "xfrm",
];

/// No device takes a tunnel's packet, unless one of which the file doesn't tell what it is.
fn doubt_tunnel(walk: &mut Walk, netns: &Netns) {
    doubt_first(walk, netns.unread_rows(TableFile::Link), "be the tunnel's device");
    let undetailed = |link: &&Link| matches!(link.kind, LinkKind::Undetailed(_));
    if let Some(link) = netns.links.iter().flatten().find(undetailed) {
        walk.doubt(format!("{}, and it may take it", link::undetailed(walk.snapshot, link)), Some(link.evidence));
    }
    let odd = netns.links.iter().flatten().find_map(|link| match &link.kind {
        LinkKind::Other(kind) if !OTHER_KINDS.contains(&kind.as_str()) => Some((link, kind)),
        _ => None,
    });
    if let Some((link, kind)) = odd {
        let what = format!("{} of {} is of a kind that is not known ({kind}), and may take it", link.name, netns.dir);
        walk.doubt(what, Some(link.evidence));
    }
}

/// The namespaces in which the owner of the next hop may be.
fn in_reach(walk: &Walk) -> Vec<NetnsId> {
    let here = walk.netns_id();
    let Some(dev) = walk.skb.dst.as_ref().map(|dst| dst.dev.clone()) else { return Vec::new() };
    let reach = Reach::from(walk.snapshot, here, &dev);
    let beyond = if reach.underlay { hosts(walk) } else { Vec::new() };
    let stacks = reach.stacks.into_iter().map(|(netns, _)| netns);
    stacks.chain(beyond).filter(|netns| *netns != here).collect()
}

fn hosts(walk: &Walk) -> Vec<NetnsId> {
    let all = walk.snapshot.netns_ids();
    all.filter(|(_, netns)| netns.name == NetnsName::Host).map(|(id, _)| id).collect()
}

/// Nobody has an address, unless a row of one of some namespaces gives it.
fn doubt_owner(walk: &mut Walk, namespaces: &[NetnsId], address: IpAddr) {
    let snapshot = walk.snapshot;
    for netns in namespaces.iter().map(|id| snapshot.netns(*id)) {
        let rows = netns.unread_rows(TableFile::Addr).filter(|row| row.may_hold(address));
        doubt_first(walk, rows, &format!("give {} the address {address}", netns.dir));
        doubt_first(walk, netns.unread_rows(TableFile::Link), "be the device that receives it");
        let local = netns.unread_rows(TableFile::Route(Family::of(address))).filter(|row| row.may_hold(address));
        doubt_first(walk, local, &format!("make {address} one of {}'s own", netns.dir));
        doubt_addrs(walk, netns, Family::of(address), &format!("who has {address} is not known"));
    }
}
