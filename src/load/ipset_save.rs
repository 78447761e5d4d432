//! `ipset save`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::{Evidence, FileId, Gap};
use crate::net::{Family, Protocol};
use crate::snapshot::{IpSet, SetEntry, SetIface, SetMember, SetPart, SetRange};

use super::iptables_save::name;
use super::lines::{Notes, quote};

/// How many elements of a file the ranges in it may stand for; `ipset save` itself prints no ranges.
const EXPANDED: usize = 1 << 12;

/// The longest timeout, in seconds (`IPSET_MAX_TIMEOUT`).
const MAX_TIMEOUT: u64 = i32::MAX as u64 / 1000;

/// A word of a line that can't be what stands there, and why.
#[derive(Clone, Copy, Debug)]
struct Wrong<'l> {
    word: &'l str,
    why: &'static str,
}

type Parsed<'l, T = ()> = Result<T, Wrong<'l>>;

fn wrong<'l, T>(word: &'l str, why: &'static str) -> Parsed<'l, T> {
    Err(Wrong { word, why })
}

/// A set while its elements are read.
struct Created {
    set: IpSet,
    entries: Vec<SetEntry>,
    /// What each of them has counted, where they count.
    counts: Vec<(u64, u64)>,
    /// Whether elements have a time to live, and comments.
    timeout: bool,
    comment: bool,
}

/// Reads the sets that an `ipset save` printed.
pub(super) fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> BTreeMap<String, IpSet> {
    let mut notes = Notes::new(file, "`ipset save`", gaps);
    let mut sets: BTreeMap<String, Created> = BTreeMap::new();
    let mut room = EXPANDED;
    for (line, number) in text.lines().zip(1u32..) {
        let at = Evidence::line(file, number);
        let words: Vec<&str> = uncommented(line).collect();
        if let Err(Wrong { word, why }) = read(&mut sets, (text, line), &words, at, &mut room) {
            let column = column(line, word);
            let found = if word.is_empty() { String::new() } else { format!(": {}", quote(word)) };
            notes.unread_at(at, column, format_args!("{why}{found}"));
            doubt(&mut sets, &words, line);
        }
    }
    sets.into_iter()
        .map(|(name, Created { mut set, entries, counts, .. })| {
            set.fill(entries, counts);
            (name, set)
        })
        .collect()
}

/// In which column of its line a word stands, in characters from 1.
fn column(line: &str, word: &str) -> Option<u32> {
    let at = (word.as_ptr() as usize).checked_sub(line.as_ptr() as usize)?;
    u32::try_from(line.get(..at)?.chars().count() + 1).ok()
}

/// Where a line ends.
fn end_of(line: &str) -> &str {
    line.get(line.len()..).unwrap_or("")
}

fn read<'l>(
    sets: &mut BTreeMap<String, Created>,
    (text, line): (&str, &'l str),
    words: &[&'l str],
    at: Evidence,
    room: &mut usize,
) -> Parsed<'l> {
    match words {
        [] => Ok(()),
        [first, ..] if first.starts_with('#') => Ok(()),
        ["create" | "-N", name, ..] if sets.contains_key(*name) => wrong(name, "the set stands twice"),
        ["create" | "-N", name, kind, options @ ..] => {
            let mut created = Created {
                set: IpSet::new(name, kind, at),
                entries: Vec::new(),
                counts: Vec::new(),
                timeout: false,
                comment: false,
            };
            let read = read_options(&mut created, options, line);
            sets.insert((*name).to_owned(), created);
            read
        }
        [verb @ ("add" | "-A"), name, element, options @ ..] => {
            let Some(created) = sets.get_mut(*name) else { return wrong(name, "no set of this name is created above") };
            if created.entries.capacity() == 0 {
                created.entries.reserve_exact(added(text, line, verb, name));
            }
            check_comment(created, line)?;
            let extras = Extras::read(created, options, line)?;
            let Created { set, entries, counts, .. } = created;
            add(set, &mut Elements { entries, room }, element, &extras, at)?;
            if set.counters {
                counts.resize(entries.len(), extras.counters);
            }
            Ok(())
        }
        ["create" | "-N" | "add" | "-A", ..] => wrong(end_of(line), "more words are expected"),
        [first, ..] => wrong(first, "this line is not understood"),
    }
}

/// A comment stands only in a set that has comments, and ends.
fn check_comment<'l>(created: &Created, line: &'l str) -> Parsed<'l> {
    let Some(at) = line.find(" comment \"") else { return Ok(()) };
    let comment = line.get(at + 1..at + " comment".len()).unwrap_or(line);
    if !created.comment {
        return wrong(comment, "the set is created without comments");
    }
    let rest = line.get(at + " comment \"".len()..).unwrap_or("");
    if rest.contains('"') { Ok(()) } else { wrong(comment, "the quote behind this is not closed") }
}

/// How many lines from one on add to the same set.
fn added(text: &str, from: &str, verb: &str, name: &str) -> usize {
    let start = (from.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let same = |line: &&str| {
        let name_on = line.strip_prefix(verb).and_then(|rest| rest.strip_prefix(' '));
        name_on.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with(' '))
    };
    text.get(start..).unwrap_or("").lines().take_while(same).count()
}

/// A line's words, without those of an element's `comment "…"`, which may look like options.
fn uncommented(line: &str) -> impl Iterator<Item = &str> {
    let (before, rest) = line.split_once(" comment \"").unwrap_or((line, ""));
    let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
    before.split_ascii_whitespace().chain(after.split_ascii_whitespace())
}

/// A set of which a line is not understood is not known any more.
fn doubt(sets: &mut BTreeMap<String, Created>, words: &[&str], line: &str) {
    if let Some(created) = words.get(1).and_then(|name| sets.get_mut(*name)) {
        created.set.unmodelled.push(line.to_owned());
    }
}

/// The words behind a set's type or an element, and what is left of the line after them.
struct Options<'w, 'l> {
    words: std::slice::Iter<'w, &'l str>,
    line: &'l str,
}

impl<'l> Options<'_, 'l> {
    fn value(&mut self) -> Parsed<'l, &'l str> {
        self.words.next().copied().ok_or(Wrong { word: end_of(self.line), why: "a value is expected" })
    }

    /// A value that can be read as one.
    fn read<T>(&mut self, why: &'static str, read: impl FnOnce(&'l str) -> Option<T>) -> Parsed<'l, T> {
        let word = self.value()?;
        read(word).ok_or(Wrong { word, why })
    }

    /// A number from one to another.
    fn number(&mut self, low: u64, high: u64) -> Parsed<'l, u64> {
        self.read("this is no number that can stand here", |word| {
            number(word).filter(|number| (low..=high).contains(number))
        })
    }
}

/// A number as `ipset` takes it: decimal, or hexadecimal after `0x`.
fn number(word: &str) -> Option<u64> {
    // Rust takes a sign too.
    let (digits, radix) = word.strip_prefix("0x").map_or((word, 10), |digits| (digits, 16));
    u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

/// What a set's creation says about its elements.
fn read_options<'l>(created: &mut Created, words: &[&'l str], line: &'l str) -> Parsed<'l> {
    let set = &mut created.set;
    let addresses = set.has(SetPart::Ip) || set.has(SetPart::Net);
    set.family = addresses.then_some(Family::Inet);
    let mut options = Options { words: words.iter(), line };
    let most = u64::from(u32::MAX);
    while let Some(word) = options.words.next() {
        match *word {
            "family" => set.family = Some(options.read("this is no family", family)?),
            "netmask" => {
                let bits = set.family.unwrap_or(Family::Inet).bits();
                set.netmask = u8::try_from(options.number(1, u64::from(bits))?).ok();
            }
            "bitmask" => set.bitmask = Some(options.read("this is no mask", |mask| mask.parse().ok())?),
            "markmask" => {
                set.markmask = u32::try_from(options.number(1, most)?).unwrap_or(u32::MAX);
            }
            "range" => set.range = Some(options.read("this is no range", range)?),
            "maxelem" => set.maxelem = usize::try_from(options.number(0, most)?).unwrap_or(set.maxelem),
            "hashsize" | "initval" | "size" => drop(options.number(0, most)?),
            "bucketsize" => drop(options.number(0, u64::from(u8::MAX))?),
            "timeout" => {
                options.number(0, MAX_TIMEOUT)?;
                created.timeout = true;
            }
            "counters" => set.counters = true,
            "skbinfo" => set.skbinfo = true,
            "comment" => created.comment = true,
            "forceadd" => {}
            _ => return wrong(word, "this option of a set is not known"),
        }
    }
    Ok(())
}

/// A bitmap's `range`: of addresses, a prefix, or ports.
fn range(text: &str) -> Option<SetRange> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(SetRange::Addresses(net.network(), net.broadcast()));
    }
    let (low, high) = text.split_once('-')?;
    if let (Ok(low), Ok(high)) = (low.parse::<IpAddr>(), high.parse::<IpAddr>()) {
        return (Family::of(low) == Family::of(high) && low <= high).then_some(SetRange::Addresses(low, high));
    }
    let (low, high) = (low.parse().ok()?, high.parse().ok()?);
    (low <= high).then_some(SetRange::Ports(low, high))
}

/// What stands behind an element.
#[derive(Clone, Copy, Debug, Default)]
struct Extras {
    nomatch: bool,
    wildcard: bool,
    skbmark: (u32, u32),
    counters: (u64, u64),
}

impl Extras {
    /// Reads it. An option needs a set that is created with it.
    fn read<'l>(created: &Created, words: &[&'l str], line: &'l str) -> Parsed<'l, Self> {
        let set = &created.set;
        let mut extras = Self::default();
        let mut options = Options { words: words.iter(), line };
        while let Some(word) = options.words.next() {
            let (has, without) = match *word {
                "timeout" => (created.timeout, "the set is created without timeouts"),
                "packets" | "bytes" => (set.counters, "the set is created without counters"),
                "skbmark" | "skbprio" | "skbqueue" => (set.skbinfo, "the set is created without skbinfo"),
                "nomatch" => (set.parts.is_none() || set.has(SetPart::Net), "only a set of prefixes has exceptions"),
                "wildcard" => (set.parts.is_none() || set.has(SetPart::Iface), "only a set of devices has wildcards"),
                _ => (false, "this option of an element is not known"),
            };
            if !has {
                return wrong(word, without);
            }
            match *word {
                "timeout" => drop(options.number(0, MAX_TIMEOUT)?),
                "packets" => extras.counters.0 = options.number(0, u64::MAX - 1)?,
                "bytes" => extras.counters.1 = options.number(0, u64::MAX - 1)?,
                "skbqueue" => drop(options.number(0, u64::from(u16::MAX))?),
                "skbprio" => options.read("this is no class", skbprio)?,
                "skbmark" => extras.skbmark = options.read("this is no mark", skbmark)?,
                "nomatch" => extras.nomatch = true,
                _ => extras.wildcard = true,
            }
        }
        Ok(extras)
    }
}

/// An element's `skbmark MARK[/MASK]`.
fn skbmark(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((value, mask)) => Some((name::number(value)?, name::number(mask)?)),
        None => Some((name::number(text)?, u32::MAX)),
    }
}

/// An element's `skbprio MAJOR:MINOR`, in hexadecimal.
fn skbprio(text: &str) -> Option<()> {
    let (major, minor) = text.split_once(':')?;
    let is_short = |digits: &str| u16::from_str_radix(digits, 16).is_ok();
    (is_short(major) && is_short(minor)).then_some(())
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

fn add<'l>(set: &mut IpSet, entries: &mut Elements<'_>, element: &'l str, extras: &Extras, at: Evidence) -> Parsed<'l> {
    if set.has(SetPart::Set) {
        let Extras { skbmark, counters, .. } = *extras;
        set.members.push(SetMember { name: element.to_owned(), skbmark, counters, evidence: at });
        return Ok(());
    }
    let Some(kinds) = &set.parts else { return Ok(()) };
    let mut entry = SetEntry {
        first: None,
        port: None,
        second: None,
        iface: None,
        mac: None,
        mark: None,
        nomatch: extras.nomatch,
        skbmark: extras.skbmark,
        evidence: at,
    };
    let mut nets = Vec::new();
    let mut ports = None;
    let mut texts = element.split(',');
    for part in kinds {
        let Some(text) = texts.next() else {
            // `bitmap:ip,mac` has elements without an address of the link layer.
            return if *part == SetPart::Mac {
                entries.push(&entry, &nets, ports, element)
            } else {
                wrong(element, "an element of this set has more parts")
            };
        };
        let read = |why| move || Wrong { word: text, why };
        match part {
            SetPart::Ip | SetPart::Net => {
                let addresses =
                    addresses(text, set.netmask).filter(|nets| nets.iter().all(|net| is_of(set.family, net)));
                let addresses = addresses.ok_or_else(read("this is no address of the set's family"))?;
                if !addresses.iter().all(|net| holds(set.range, net)) {
                    return wrong(text, "this is out of the set's range");
                }
                nets.push(addresses);
            }
            SetPart::Port => {
                let span = self::ports(text, set.family, set.kind == "bitmap:port");
                let span = span.ok_or_else(read("this is no port"))?;
                if matches!(set.range, Some(SetRange::Ports(low, high)) if *span.1.start() < low || *span.1.end() > high)
                {
                    return wrong(text, "this is out of the set's range");
                }
                ports = Some(span);
            }
            SetPart::Iface => entry.iface = Some(Box::new(iface(text, extras.wildcard))),
            SetPart::Mac => entry.mac = Some(text.parse().map_err(|()| read("this is no link-layer address")())?),
            SetPart::Mark => entry.mark = Some(name::number(text).ok_or_else(read("this is no mark"))?),
            SetPart::Set => return wrong(text, "this is no element"),
        }
    }
    match texts.next() {
        None => entries.push(&entry, &nets, ports, element),
        Some(text) => wrong(text, "an element of this set has fewer parts"),
    }
}

fn is_of(family: Option<Family>, net: &IpNet) -> bool {
    family.is_none_or(|family| family == Family::of(net.addr()))
}

/// Whether a bitmap has room for addresses.
fn holds(range: Option<SetRange>, net: &IpNet) -> bool {
    match range {
        Some(SetRange::Addresses(low, high)) => low <= net.network() && net.broadcast() <= high,
        Some(SetRange::Ports(..)) | None => true,
    }
}

impl Elements<'_> {
    /// Adds an element for each prefix and port that a written one stands for.
    fn push<'l>(
        &mut self,
        entry: &SetEntry,
        nets: &[Vec<IpNet>],
        ports: Option<PortSpan>,
        element: &'l str,
    ) -> Parsed<'l> {
        let spanned = ports.as_ref().map_or(1, |(_, ports)| ports.len());
        let count = nets.iter().map(Vec::len).product::<usize>().saturating_mul(spanned);
        if count > 1 {
            let why = "the ranges of the file stand for too many elements";
            *self.room = self.room.checked_sub(count).ok_or(Wrong { word: element, why })?;
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
        Ok(())
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
        (IpAddr::V4(low), IpAddr::V4(high)) if low <= high => {
            Some(ipnet::Ipv4Subnets::new(low, high, 0).map(IpNet::V4).collect())
        }
        (IpAddr::V6(low), IpAddr::V6(high)) if low <= high => {
            Some(ipnet::Ipv6Subnets::new(low, high, 0).map(IpNet::V6).collect())
        }
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
    (low <= high).then_some((kept, low..=high))
}

fn iface(text: &str, wildcard: bool) -> SetIface {
    let (name, physdev) = text.strip_prefix("physdev:").map_or((text, false), |name| (name, true));
    SetIface { name: name.to_owned(), physdev, wildcard }
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
        let sets = sets(
            "create a hash:net family inet timeout 9 comment\nadd a 10.0.0.0/8 timeout 5 comment \"nomatch, ever\"\n",
        );
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
    fn what_ipset_never_prints_makes_the_set_uncertain_and_is_pointed_at() {
        let cases: &[(&str, &str, u32)] = &[
            ("hash:ip,port family inet", "add a 10.2.0.2,udp:80 extra words", 23),
            ("hash:ip,port family inet", "add a 10.2.0.2,udp:80 nomatch", 23),
            ("hash:ip,port family inet", "add a 10.2.0.2,udp:80000", 16),
            ("hash:ip,port family inet", "add a 10.2.0.2", 7),
            ("hash:ip,port family inet", "add a 10.2.0.2,udp:80,1", 23),
            ("hash:ip,port family inet", "add a 10.2.0.2,udp:80 timeout 5", 23),
            ("hash:net family inet timeout 9", "add a 10.0.0.0/8 nomatch timeout x", 34),
            ("hash:net family inet timeout 9", "add a 10.0.0.0/8 timeout 2147484", 26),
            ("hash:net family inet timeout 9", "add a 10.0.0.0/8 timeout", 25),
            ("hash:net family inet", "add a 10.0.0.0/33", 7),
            ("hash:net family inet", "create a hash:net family inet", 8),
            ("hash:net family inet", "add a 10.0.0.1 comment \"x\"", 16),
            ("hash:net family inet comment", "add a 10.0.0.1 comment \"x", 16),
            ("hash:net family inet counters", "add a 10.0.0.1 packets 1 bytes 18446744073709551615", 32),
            ("hash:net family inet skbinfo", "add a 10.0.0.1 skbmark 0x1/0xff skbprio 1:5 skbqueue 70000", 54),
            ("hash:ip family inet6", "add a 10.0.0.1", 7),
            ("bitmap:port range 0-100", "add a 200", 7),
            ("bitmap:port range 0-100", "add a 7-5", 7),
            ("bitmap:ip range 10.0.0.0-10.0.0.255", "add a 10.0.1.0", 7),
        ];
        for (created, line, column) in cases {
            let mut gaps = Vec::new();
            let sets = parse(FileId(0), &format!("create a {created}\n{line}\n"), &mut gaps);
            assert_eq!(gaps.len(), 1, "{created} / {line}: {gaps:?}");
            assert_eq!((gaps[0].column, gaps[0].unread), (Some(*column), true), "{created} / {line}: {gaps:?}");
            assert_eq!(gaps[0].evidence, [Evidence::line(FileId(0), 2)]);
            assert_eq!(sets["a"].unmodelled, [*line]);
        }
        for (created, column) in [
            ("bitmap:port range 100-50", 28),
            ("bitmap:ip range 10.0.0.9-10.0.0.5", 26),
            ("hash:ip maxelem x", 26),
            ("hash:ip family frob", 25),
            ("hash:ip netmask 40", 26),
            ("hash:ip hashsize 99999999999", 27),
            ("hash:ip frob", 18),
            ("hash:ip timeout 99999999", 26),
        ] {
            let mut gaps = Vec::new();
            let sets = parse(FileId(0), &format!("create a {created}\n"), &mut gaps);
            assert_eq!((gaps.len(), gaps[0].column), (1, Some(column)), "{created}");
            assert_eq!(sets["a"].unmodelled.len(), 1, "{created}");
        }
    }

    #[test]
    fn what_ipset_prints_of_an_element_is_known() {
        let text = "create a hash:net,iface family inet hashsize 1024 maxelem 65536 timeout 9 counters comment skbinfo \
                    bucketsize 12 initval 0xb8b8f091\n\
                    add a 10.0.0.0/8,eth0 nomatch wildcard timeout 3 packets 1 bytes 2 comment \"a b\" skbmark 0x1/0xff \
                    skbprio 1:f skbqueue 7\n\
                    create m bitmap:ip,mac range 10.0.0.0-10.0.0.255 timeout 0\nadd m 10.0.0.5 timeout 0\n";
        let sets = sets(text);
        let entry = &sets["a"].entries()[0];
        assert!(entry.nomatch && entry.iface.as_ref().unwrap().wildcard && entry.skbmark == (1, 255));
        assert_eq!(sets["m"].entries().len(), 1);
    }

    #[test]
    fn lists_keep_their_members_in_order() {
        let sets = sets("create a hash:ip family inet\ncreate l list:set size 8\nadd l a\n");
        assert_eq!(sets["l"].members[0].name, "a");
        assert_eq!(sets["l"].dimension(), 1);
    }
}
