//! `ipset save`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::{Evidence, FileId, Gap};
use crate::net::{Family, Protocol};
use crate::snapshot::{IpSet, SetEntry, SetIface, SetMember, SetPart, SetRange};

use super::iptables_save::name;
use super::lines::Notes;

/// How many elements of a file the ranges in it may stand for; `ipset save` itself prints no ranges.
const EXPANDED: usize = 1 << 12;

/// Reads the sets that an `ipset save` printed.
pub(super) fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> BTreeMap<String, IpSet> {
    let mut notes = Notes::new(file, "`ipset save`", gaps);
    let mut sets: BTreeMap<String, (IpSet, Vec<SetEntry>)> = BTreeMap::new();
    let mut room = EXPANDED;
    for (line, number) in text.lines().zip(1u32..) {
        let at = Evidence::line(file, number);
        let words: Vec<&str> = uncommented(line).collect();
        let read = match words.as_slice() {
            [] => Some(()),
            [first, ..] if first.starts_with('#') => Some(()),
            ["create" | "-N", name, kind, options @ ..] => {
                let mut set = IpSet::new(name, kind, at);
                read_options(&mut set, options);
                sets.insert((*name).to_owned(), (set, Vec::new()));
                Some(())
            }
            ["add" | "-A", name, element, options @ ..] => sets
                .get_mut(*name)
                .and_then(|(set, entries)| add(set, &mut Elements { entries, room: &mut room }, element, options, at)),
            _ => None,
        };
        if read.is_none() {
            notes.unread(at, "this line is not understood");
            doubt(&mut sets, &words, line);
        }
    }
    sets.into_iter()
        .map(|(name, (mut set, entries))| {
            set.fill(entries);
            (name, set)
        })
        .collect()
}

/// A line's words, without those of an element's `comment "…"`, which may look like options.
fn uncommented(line: &str) -> impl Iterator<Item = &str> {
    let (before, rest) = line.split_once(" comment \"").unwrap_or((line, ""));
    let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
    before.split_ascii_whitespace().chain(after.split_ascii_whitespace())
}

/// A set of which a line is not understood is not known any more.
fn doubt(sets: &mut BTreeMap<String, (IpSet, Vec<SetEntry>)>, words: &[&str], line: &str) {
    if let Some((set, ..)) = words.get(1).and_then(|name| sets.get_mut(*name)) {
        set.unmodelled.push(line.to_owned());
    }
}

/// What a set's creation says about its elements.
fn read_options(set: &mut IpSet, words: &[&str]) {
    let addresses = set.has(SetPart::Ip) || set.has(SetPart::Net);
    set.family = addresses.then_some(Family::Inet);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "family" => set.family = words.next().and_then(|family| self::family(family)).or(set.family),
            "netmask" => set.netmask = words.next().and_then(|length| length.parse().ok()),
            "bitmask" => set.bitmask = words.next().and_then(|mask| mask.parse().ok()),
            "markmask" => set.markmask = words.next().and_then(|mask| name::number(mask)).unwrap_or(u32::MAX),
            "range" => set.range = words.next().and_then(|range| self::range(range)),
            "maxelem" => set.maxelem = words.next().and_then(|most| most.parse().ok()).unwrap_or(set.maxelem),
            "hashsize" | "bucketsize" | "initval" | "timeout" | "size" => drop(words.next()),
            "counters" => set.counters = true,
            "skbinfo" => set.skbinfo = true,
            "comment" | "forceadd" => {}
            other => set.unmodelled.push(other.to_owned()),
        }
    }
}

/// A bitmap's `range`: of addresses, a prefix, or ports.
fn range(text: &str) -> Option<SetRange> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(SetRange::Addresses(net.network(), net.broadcast()));
    }
    let (low, high) = text.split_once('-')?;
    match (low.parse::<IpAddr>(), high.parse::<IpAddr>()) {
        (Ok(low), Ok(high)) => Some(SetRange::Addresses(low, high)),
        _ => Some(SetRange::Ports(low.parse().ok()?, high.parse().ok()?)),
    }
}

/// An element's `skbmark MARK[/MASK]`.
fn skbmark(options: &[&str]) -> Option<(u32, u32)> {
    let Some(at) = options.iter().position(|option| *option == "skbmark") else { return Some((0, 0)) };
    let text = options.get(at + 1)?;
    match text.split_once('/') {
        Some((value, mask)) => Some((name::number(value)?, name::number(mask)?)),
        None => Some((name::number(text)?, u32::MAX)),
    }
}

fn family(word: &str) -> Option<Family> {
    match word {
        "inet" => Some(Family::Inet),
        "inet6" => Some(Family::Inet6),
        _ => None,
    }
}

/// The elements of one set while they are read.
struct Elements<'e> {
    entries: &'e mut Vec<SetEntry>,
    /// How many more may come from ranges.
    room: &'e mut usize,
}

/// A protocol, and the ports from one to another.
type PortSpan = (Protocol, std::ops::RangeInclusive<u16>);

fn add(set: &mut IpSet, entries: &mut Elements<'_>, element: &str, options: &[&str], at: Evidence) -> Option<()> {
    if set.has(SetPart::Set) {
        let skbmark = skbmark(options)?;
        set.members.push(SetMember { name: element.to_owned(), skbmark, evidence: at });
        return Some(());
    }
    let Some(kinds) = &set.parts else { return Some(()) };
    let mut entry = SetEntry {
        first: None,
        port: None,
        second: None,
        iface: None,
        mac: None,
        mark: None,
        nomatch: options.contains(&"nomatch"),
        skbmark: skbmark(options)?,
        evidence: at,
    };
    let mut nets = Vec::new();
    let mut ports = None;
    let mut texts = element.split(',');
    for part in kinds {
        let Some(text) = texts.next() else {
            // `bitmap:ip,mac` has elements without an address of the link layer.
            return if *part == SetPart::Mac { entries.push(&entry, &nets, ports) } else { None };
        };
        match part {
            SetPart::Ip | SetPart::Net => nets.push(addresses(text, set.netmask)?),
            SetPart::Port => ports = Some(self::ports(text, set.family, set.kind == "bitmap:port")?),
            SetPart::Iface => entry.iface = Some(iface(text, options)),
            SetPart::Mac => entry.mac = Some(text.parse().ok()?),
            SetPart::Mark => entry.mark = Some(name::number(text)?),
            SetPart::Set => return None,
        }
    }
    if texts.next().is_none() { entries.push(&entry, &nets, ports) } else { None }
}

impl Elements<'_> {
    /// Adds an element for each prefix and port that a written one stands for.
    fn push(&mut self, entry: &SetEntry, nets: &[Vec<IpNet>], ports: Option<PortSpan>) -> Option<()> {
        let spanned = ports.as_ref().map_or(1, |(_, ports)| ports.len());
        let count = nets.iter().map(Vec::len).product::<usize>().saturating_mul(spanned);
        if count > 1 {
            *self.room = self.room.checked_sub(count)?;
        }
        let none = [None];
        let some = |place: usize| -> Vec<Option<IpNet>> {
            nets.get(place).map_or(none.to_vec(), |nets| nets.iter().copied().map(Some).collect())
        };
        let ports: Vec<Option<(Protocol, u16)>> = match ports {
            Some((protocol, ports)) => ports.map(|port| Some((protocol, port))).collect(),
            None => vec![None],
        };
        for first in some(0) {
            for second in some(1) {
                self.entries.extend(ports.iter().map(|port| SetEntry { first, second, port: *port, ..entry.clone() }));
            }
        }
        Some(())
    }
}

/// `ADDR`, `ADDR/LENGTH` or `ADDR-ADDR` as prefixes.
fn addresses(text: &str, netmask: Option<u8>) -> Option<Vec<IpNet>> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(vec![net.trunc()]);
    }
    if let Ok(addr) = text.parse::<IpAddr>() {
        let length = netmask.unwrap_or_else(|| Family::of(addr).bits());
        return Some(vec![IpNet::new(addr, length).ok()?.trunc()]);
    }
    let (low, high) = text.split_once('-')?;
    match (low.parse().ok()?, high.parse().ok()?) {
        (IpAddr::V4(low), IpAddr::V4(high)) => Some(ipnet::Ipv4Subnets::new(low, high, 0).map(IpNet::V4).collect()),
        (IpAddr::V6(low), IpAddr::V6(high)) => Some(ipnet::Ipv6Subnets::new(low, high, 0).map(IpNet::V6).collect()),
        _ => None,
    }
}

/// `PROTOCOL:PORT[-PORT]`, `icmp:TYPE/CODE`, or a port alone, which is TCP's where the set keeps a protocol.
fn ports(text: &str, family: Option<Family>, bare: bool) -> Option<PortSpan> {
    let (protocol, port) = match text.split_once(':') {
        Some((protocol, port)) => (name::protocol(protocol)?, port),
        None => (Protocol::TCP, text),
    };
    let kept = if bare { Protocol(0) } else { protocol };
    if matches!(protocol, Protocol::ICMP | Protocol::ICMPV6) {
        let (kind, code) = name::icmp(family.unwrap_or(Family::Inet), port)?;
        let port = u16::from_be_bytes([kind, code.unwrap_or(0)]);
        return Some((kept, port..=port));
    }
    let (low, high) = match port.split_once('-') {
        Some((low, high)) => (name::port(low)?, name::port(high)?),
        None => (name::port(port)?, name::port(port)?),
    };
    Some((kept, low..=high))
}

fn iface(text: &str, options: &[&str]) -> SetIface {
    let (name, physdev) = text.strip_prefix("physdev:").map_or((text, false), |name| (name, true));
    SetIface { name: name.to_owned(), physdev, wildcard: options.contains(&"wildcard") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SetProbe;

    fn sets(text: &str) -> BTreeMap<String, IpSet> {
        let mut gaps = Vec::new();
        let sets = parse(FileId(0), text, &mut gaps);
        assert_eq!(gaps, []);
        sets
    }

    fn probe(addr: &str) -> SetProbe<'static> {
        SetProbe { first: Some(addr.parse().unwrap()), ..SetProbe::default() }
    }

    #[test]
    fn the_longest_prefix_decides_and_nomatch_is_an_exception() {
        let sets = sets("create a hash:net family inet\nadd a 10.0.0.0/8\nadd a 10.0.0.5 nomatch\nadd a 0.0.0.0/1\n");
        let set = &sets["a"];
        assert!(set.lookup(&probe("10.0.0.5")).unwrap().nomatch);
        assert_eq!(set.lookup(&probe("10.0.0.6")).unwrap().evidence.line, 2);
        assert_eq!(set.lookup(&probe("11.0.0.1")).unwrap().evidence.line, 4);
        assert!(set.lookup(&probe("192.0.2.1")).is_none());
    }

    #[test]
    fn protocols_ports_and_icmp_types_are_kept_apart() {
        let sets = sets(
            "create a hash:ip,port family inet\nadd a 10.0.0.1,udp:53\nadd a 10.0.0.1,icmp:host-unreachable\n\
             add a 10.0.0.1,gre:0\nadd a 10.0.0.2,tcp:80-82\n",
        );
        let test = |addr, port| sets["a"].lookup(&SetProbe { port: Some(port), ..probe(addr) }).is_some();
        assert!(test("10.0.0.1", (17, 53)));
        assert!(!test("10.0.0.1", (6, 53)));
        assert!(test("10.0.0.1", (1, 0x0301)));
        assert!(test("10.0.0.1", (47, 0)));
        assert!(test("10.0.0.2", (6, 81)));
    }

    #[test]
    fn ranges_cost_no_more_than_a_file_of_elements() {
        let mut gaps = Vec::new();
        let text = "create a bitmap:port range 0-65535\nadd a 0-65535\nadd a 10-20\n";
        let sets = parse(FileId(0), text, &mut gaps);
        assert_eq!((gaps.len(), sets["a"].entries().len()), (1, 11));
        assert_eq!(sets["a"].unmodelled, ["add a 0-65535"]);
    }

    #[test]
    fn a_comment_says_nothing_about_its_element() {
        let sets =
            sets("create a hash:net family inet comment\nadd a 10.0.0.0/8 timeout 5 comment \"nomatch, ever\"\n");
        assert!(!sets["a"].lookup(&probe("10.0.0.5")).unwrap().nomatch);
    }

    #[test]
    fn a_bitmask_leaves_bits_out() {
        let sets = sets("create a hash:ip family inet bitmask 255.255.0.255\nadd a 10.1.0.5\n");
        assert!(sets["a"].lookup(&probe("10.1.77.5")).is_some());
        assert!(sets["a"].lookup(&probe("10.1.77.6")).is_none());
    }

    #[test]
    fn a_netmask_applies_to_what_is_looked_up() {
        let sets = sets("create a hash:ip family inet netmask 24\nadd a 10.0.1.0\n");
        assert!(sets["a"].lookup(&probe("10.0.1.77")).is_some());
    }

    #[test]
    fn a_device_of_a_longer_prefix_hides_the_shorter_ones() {
        let sets = sets(
            "create a hash:net,iface family inet\nadd a 10.0.0.0/8,eth0\nadd a 10.0.0.0/24,eth1\nadd a 10.9.0.0/16,cali wildcard\n",
        );
        let test = |addr, iface| sets["a"].lookup(&SetProbe { iface: Some(iface), ..probe(addr) }).is_some();
        assert!(test("10.1.0.1", "eth0"));
        assert!(test("10.0.0.1", "eth1"));
        assert!(!test("10.0.0.1", "eth0"));
        assert!(test("10.9.0.1", "cali123"));
    }

    #[test]
    fn a_line_that_is_not_understood_makes_its_set_uncertain() {
        let mut gaps = Vec::new();
        let sets = parse(FileId(0), "create a hash:ip family inet\nadd a nonsense\nadd b 10.0.0.1\n", &mut gaps);
        assert_eq!(gaps.len(), 2);
        assert_eq!(sets["a"].unmodelled, ["add a nonsense"]);
    }

    #[test]
    fn lists_keep_their_members_in_order() {
        let sets = sets("create a hash:ip family inet\ncreate l list:set size 8\nadd l a\n");
        assert_eq!(sets["l"].members[0].name, "a");
        assert_eq!(sets["l"].dimension(), 1);
    }
}
