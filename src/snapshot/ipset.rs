//! ipsets, and the lookup that the kernel makes in them.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::{Family, MacAddr, Protocol};

/// One set of `ipset save`.
#[derive(Clone, Debug)]
pub struct IpSet {
    /// Its name.
    pub name: String,
    /// Its type's name (`hash:ip,port`).
    pub kind: String,
    /// What an element consists of; `None` for a type that flowtrace doesn't know.
    pub parts: Option<Box<[SetPart]>>,
    /// The family of its addresses; `None` where it has none.
    pub family: Option<Family>,
    /// The bits of a mark that count, in a set of marks.
    pub markmask: u32,
    /// The bits of addresses that count (`bitmask`), where not all of them do.
    pub bitmask: Option<IpAddr>,
    /// How many leading bits of addresses are kept (`netmask`), where not all of them are.
    pub netmask: Option<u8>,
    /// What a bitmap has room for.
    pub range: Option<SetRange>,
    /// How many elements a hash may have.
    pub maxelem: usize,
    /// Whether elements count what matches them.
    pub counters: bool,
    /// Whether elements have marks for packets (`skbinfo`).
    pub skbinfo: bool,
    /// Options that change what matches and that flowtrace doesn't model, as written.
    pub unmodelled: Vec<String>,
    /// A `list:set`'s members, in order.
    pub members: Vec<SetMember>,
    /// The line that creates it.
    pub evidence: Evidence,
    entries: Vec<SetEntry>,
    /// Packets and bytes that each element has counted, in a set that counts.
    counts: Vec<(u64, u64)>,
    /// The places of the elements, by their keys.
    index: Vec<u32>,
    lengths: [Vec<u8>; 2],
}

/// What a bitmap has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetRange {
    /// Addresses, both ends included.
    Addresses(IpAddr, IpAddr),
    /// Ports, both ends included.
    Ports(u16, u16),
}

/// A member of a `list:set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMember {
    /// The set's name.
    pub name: String,
    /// The mark that `SET --map-set` gives to packets, and its mask.
    pub skbmark: (u32, u32),
    /// Packets and bytes that it has counted.
    pub counters: (u64, u64),
    /// The line that adds it.
    pub evidence: Evidence,
}

/// A part of a set's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetPart {
    /// An address.
    Ip,
    /// A prefix.
    Net,
    /// A protocol and a port, or an ICMP type and code.
    Port,
    /// A device.
    Iface,
    /// A link-layer address.
    Mac,
    /// A packet's mark.
    Mark,
    /// Another set.
    Set,
}

/// An element of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetEntry {
    /// The first address or prefix.
    pub first: Option<IpNet>,
    /// The protocol (0 where the set keeps none) and the port.
    pub port: Option<(Protocol, u16)>,
    /// The second address or prefix.
    pub second: Option<IpNet>,
    /// The device.
    pub iface: Option<Box<SetIface>>,
    /// The link-layer address.
    pub mac: Option<MacAddr>,
    /// The mark.
    pub mark: Option<u32>,
    /// `nomatch`: an exception, which ends the lookup without a match.
    pub nomatch: bool,
    /// The mark that `SET --map-set` gives to packets, and its mask.
    pub skbmark: (u32, u32),
    /// The line that adds it.
    pub evidence: Evidence,
}

/// The device of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetIface {
    /// Its name, or the start of it.
    pub name: String,
    /// `physdev:`: the bridge port is compared.
    pub physdev: bool,
    /// `wildcard`: any name that starts so.
    pub wildcard: bool,
}

/// What a packet shows of itself to a set.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetProbe<'p> {
    /// The address that is compared with the first part.
    pub first: Option<IpAddr>,
    /// The protocol and port.
    pub port: Option<(u8, u16)>,
    /// The address that is compared with the second prefix.
    pub second: Option<IpAddr>,
    /// The device.
    pub iface: Option<&'p str>,
    /// The bridge port.
    pub physdev: Option<&'p str>,
    /// The link-layer address.
    pub mac: Option<MacAddr>,
    /// The mark.
    pub mark: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    first: (u128, u8),
    port: (u8, u16),
    second: (u128, u8),
}

impl IpSet {
    /// An empty set.
    #[must_use]
    pub fn new(name: &str, kind: &str, evidence: Evidence) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            parts: parts(kind),
            family: None,
            markmask: u32::MAX,
            bitmask: None,
            netmask: None,
            range: None,
            maxelem: 65536,
            counters: false,
            skbinfo: false,
            unmodelled: Vec::new(),
            members: Vec::new(),
            evidence,
            entries: Vec::new(),
            counts: Vec::new(),
            index: Vec::new(),
            lengths: [Vec::new(), Vec::new()],
        }
    }

    /// Puts the elements in, in the order of the file, with what each has counted where the set counts.
    pub fn fill(&mut self, entries: Vec<SetEntry>, counts: Vec<(u64, u64)>) {
        self.counts = counts;
        let key = |place: &u32| entries.get(*place as usize).map(|entry| (Key::of(entry), *place));
        self.index = (0u32..).zip(&entries).map(|(place, _)| place).collect();
        self.index.sort_unstable_by_key(key);
        self.lengths = [lengths(&entries, |entry| entry.first), lengths(&entries, |entry| entry.second)];
        self.entries = entries;
    }

    /// The elements, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[SetEntry] {
        &self.entries
    }

    /// Packets and bytes that an element has counted, with those that rules have had it count since; of a list's members
    /// by their places.
    #[must_use]
    pub fn counters(&self, changes: &SetChanges, element: ElementId) -> Option<(u64, u64)> {
        let place = match element {
            ElementId::Added(place) => return changes.added.get(place).map(|added| added.counters),
            ElementId::Saved(place) => place,
        };
        let member = self.members.get(place as usize).map(|member| member.counters);
        let saved = self.counts.get(place as usize).copied().or(member)?;
        let since = changes.counted.iter().filter(|(counted, _)| *counted == place);
        Some(since.fold(saved, |saved, (_, bytes)| plus_one(saved, *bytes)))
    }

    /// How many of a rule's `src,dst,…` the set asks for.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.len())
    }

    /// Whether elements have a part of this kind.
    #[must_use]
    pub fn has(&self, part: SetPart) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.contains(&part))
    }

    /// The element that decides, longest prefixes first (`mtype_test_cidrs` in
    /// `net/netfilter/ipset/ip_set_hash_gen.h`). It may be one that says `nomatch`.
    #[must_use]
    pub fn lookup(&self, probe: &SetProbe<'_>) -> Option<&SetEntry> {
        self.find(&UNCHANGED, probe).map(|(_, entry)| entry)
    }

    /// The same in the set as rules have changed it.
    #[must_use]
    pub fn find<'s>(&'s self, changes: &'s SetChanges, probe: &SetProbe<'_>) -> Option<(ElementId, &'s SetEntry)> {
        let probe = &SetProbe { first: self.masked(probe.first), second: self.masked(probe.second), ..*probe };
        let firsts = self.prefix_lengths(changes, 0);
        let seconds = self.prefix_lengths(changes, 1);
        for first in firsts.iter() {
            for second in seconds.iter() {
                let mut same_key = self.with_key(changes, Key::probe(probe, *first, *second)).peekable();
                // `multi` in mtype_test_cidrs(): once a prefix is there with other devices, shorter ones aren't tried.
                let last = self.has(SetPart::Iface) && same_key.peek().is_some();
                let found = same_key.find(|(_, entry)| self.rest_matches(entry, probe));
                if found.is_some() || last {
                    return found;
                }
            }
        }
        None
    }

    /// The element that is the same as one that a rule adds or deletes (`mtype_data_equal`).
    #[must_use]
    pub fn same<'s>(&'s self, changes: &'s SetChanges, element: &SetEntry) -> Option<(ElementId, &'s SetEntry)> {
        let probe = SetProbe {
            iface: element.iface.as_ref().map(|iface| iface.name.as_str()),
            mac: element.mac,
            mark: element.mark.unwrap_or(0),
            ..SetProbe::default()
        };
        // A bitmap has one place for an address, whatever the link address beside it.
        let by_address = self.kind == "bitmap:ip,mac";
        self.with_key(changes, Key::of(element)).find(|(_, entry)| by_address || self.rest_matches(entry, &probe))
    }

    /// How many elements there are.
    #[must_use]
    pub fn count(&self, changes: &SetChanges) -> usize {
        (self.entries.len() + changes.added.len()).saturating_sub(changes.removed.len())
    }

    /// What a rule adds or deletes for what a packet shows: prefixes are as long as the longest one in the set
    /// (`INIT_CIDR`). `None` where the set has no room for it.
    #[must_use]
    pub fn element(&self, changes: &SetChanges, probe: &SetProbe<'_>, evidence: Evidence) -> Option<SetEntry> {
        let mut nets = [None, None];
        let addresses = self.parts.iter().flatten().filter(|part| matches!(part, SetPart::Ip | SetPart::Net));
        for (place, (part, addr)) in addresses.zip([probe.first, probe.second]).enumerate() {
            let addr = self.masked(addr)?;
            let host = self.netmask.unwrap_or(Family::of(addr).bits());
            let length = if *part == SetPart::Net { self.longest(changes, place) } else { None };
            let net = IpNet::new(addr, length.unwrap_or(host)).ok()?.trunc();
            if let Some(slot) = nets.get_mut(place) {
                *slot = Some(net);
            }
        }
        let [first, second] = nets;
        let has = |part| self.has(part);
        let iface = probe.iface.filter(|_| has(SetPart::Iface));
        let element = SetEntry {
            first,
            port: probe.port.map(|(protocol, port)| (Protocol(protocol), port)),
            second,
            iface: iface.map(|name| Box::new(SetIface { name: name.to_owned(), physdev: false, wildcard: false })),
            mac: probe.mac,
            mark: has(SetPart::Mark).then_some(probe.mark & self.markmask),
            nomatch: false,
            skbmark: (0, 0),
            evidence,
        };
        (self.has_room(&element) && element.mac != Some(MacAddr::ZERO)).then_some(element)
    }

    fn has_room(&self, element: &SetEntry) -> bool {
        let addr = element.first.map(|net| net.network());
        match self.range {
            Some(SetRange::Addresses(low, high)) => addr.is_some_and(|addr| low <= addr && addr <= high),
            Some(SetRange::Ports(low, high)) => element.port.is_some_and(|(_, port)| low <= port && port <= high),
            // `hash_ip4_kadt` refuses the address of all zeros.
            None => self.kind != "hash:ip" || !addr.is_some_and(|addr| addr.is_unspecified()),
        }
    }

    /// The longest prefix that is in the set, among the first or the second ones.
    fn longest(&self, changes: &SetChanges, place: usize) -> Option<u8> {
        let entries = (0u32..).zip(&self.entries).filter(|(id, _)| !changes.removed.contains(id));
        let all = entries.map(|(_, entry)| entry).chain(changes.added.iter().map(|added| &added.entry));
        all.filter_map(|entry| if place == 0 { entry.first } else { entry.second }).map(|net| net.prefix_len()).max()
    }

    fn prefix_lengths(&self, changes: &SetChanges, place: usize) -> Cow<'_, [u8]> {
        let saved = self.lengths.get(place).map_or(&[][..], Vec::as_slice);
        if changes.added.is_empty() {
            return Cow::Borrowed(saved);
        }
        let part = |entry: &SetEntry| if place == 0 { entry.first } else { entry.second };
        let added = changes.added.iter().map(|added| part(&added.entry).map_or(0, |net| net.prefix_len()));
        let mut all: Vec<u8> = saved.iter().copied().chain(added).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.dedup();
        Cow::Owned(all)
    }

    fn masked(&self, addr: Option<IpAddr>) -> Option<IpAddr> {
        Some(match (addr?, self.bitmask) {
            (IpAddr::V4(addr), Some(IpAddr::V4(mask))) => IpAddr::V4(addr & mask),
            (IpAddr::V6(addr), Some(IpAddr::V6(mask))) => IpAddr::V6(addr & mask),
            (addr, _) => addr,
        })
    }

    fn with_key<'s>(
        &'s self,
        changes: &'s SetChanges,
        key: Key,
    ) -> impl Iterator<Item = (ElementId, &'s SetEntry)> + use<'s> {
        let entry = |place: u32| self.entries.get(place as usize);
        let from = self.index.partition_point(|place| entry(*place).is_some_and(|entry| Key::of(entry) < key));
        let places = self.index.get(from..).unwrap_or(&[]).iter();
        let saved = places
            .filter_map(move |place| Some((*place, entry(*place)?)))
            .take_while(move |(_, entry)| Key::of(entry) == key)
            .filter(|(place, _)| !changes.removed.contains(place))
            .map(|(place, entry)| (ElementId::Saved(place), entry));
        let added = changes.added.iter().enumerate().filter(move |(_, added)| Key::of(&added.entry) == key);
        saved.chain(added.map(|(place, added)| (ElementId::Added(place), &added.entry)))
    }

    fn rest_matches(&self, entry: &SetEntry, probe: &SetProbe<'_>) -> bool {
        entry.iface.as_ref().is_none_or(|iface| iface.matches(probe))
            && entry.mac.is_none_or(|mac| probe.mac == Some(mac))
            && entry.mark.is_none_or(|mark| probe.mark & self.markmask == mark)
    }
}

/// Which element it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementId {
    /// One of the snapshot, by its place in the file.
    Saved(u32),
    /// One that a rule has added.
    Added(usize),
}

/// What rules have changed in a set since the snapshot was taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetChanges {
    added: Vec<Added>,
    removed: Vec<u32>,
    /// Saved elements that have counted a packet, and of how many bytes.
    counted: Vec<(u32, u64)>,
}

/// A packet more, of so many bytes (`ip_set_update_counter`).
fn plus_one((packets, all): (u64, u64), bytes: u64) -> (u64, u64) {
    (packets.saturating_add(1), all.saturating_add(bytes))
}

static UNCHANGED: SetChanges = SetChanges::none();

#[derive(Clone, Debug, PartialEq)]
struct Added {
    entry: SetEntry,
    counters: (u64, u64),
}

impl SetChanges {
    /// Nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { added: Vec::new(), removed: Vec::new(), counted: Vec::new() }
    }

    /// Puts an element in, with packets and bytes that have matched it.
    pub fn add(&mut self, entry: SetEntry, counters: (u64, u64)) {
        self.added.push(Added { entry, counters });
    }

    /// Takes an element out.
    pub fn remove(&mut self, element: ElementId) {
        match element {
            ElementId::Saved(place) => self.removed.push(place),
            ElementId::Added(place) if place < self.added.len() => drop(self.added.remove(place)),
            ElementId::Added(_) => {}
        }
    }

    /// Counts a packet of so many bytes.
    pub fn count(&mut self, element: ElementId, bytes: u64) {
        match element {
            ElementId::Saved(place) => self.counted.push((place, bytes)),
            ElementId::Added(place) => {
                if let Some(added) = self.added.get_mut(place) {
                    added.counters = plus_one(added.counters, bytes);
                }
            }
        }
    }

    /// Whether any element has been added.
    #[must_use]
    pub fn has_added(&self) -> bool {
        !self.added.is_empty()
    }
}

impl SetIface {
    fn matches(&self, probe: &SetProbe<'_>) -> bool {
        let Some(name) = (if self.physdev { probe.physdev } else { probe.iface }) else { return false };
        if self.wildcard { name.starts_with(&self.name) } else { name == self.name }
    }
}

impl Key {
    fn of(entry: &SetEntry) -> Self {
        Self {
            first: entry.first.map_or((0, 0), |net| (bits(net.network(), net.prefix_len()), net.prefix_len())),
            port: entry.port.map_or((0, 0), |(protocol, port)| (protocol.0, port)),
            second: entry.second.map_or((0, 0), |net| (bits(net.network(), net.prefix_len()), net.prefix_len())),
        }
    }

    fn probe(probe: &SetProbe<'_>, first: u8, second: u8) -> Self {
        Self {
            first: (probe.first.map_or(0, |addr| bits(addr, first)), first),
            port: probe.port.unwrap_or((0, 0)),
            second: (probe.second.map_or(0, |addr| bits(addr, second)), second),
        }
    }
}

/// The first bits of an address, at the top of 128.
fn bits(addr: IpAddr, length: u8) -> u128 {
    let bits = match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    bits & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// The prefix lengths that occur, longest first; one of 0 where the elements have no such part.
fn lengths(entries: &[SetEntry], part: fn(&SetEntry) -> Option<IpNet>) -> Vec<u8> {
    let mut lengths: Vec<u8> = entries.iter().map(|entry| part(entry).map_or(0, |net| net.prefix_len())).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.dedup();
    lengths
}

/// What the elements of a type consist of.
fn parts(kind: &str) -> Option<Box<[SetPart]>> {
    if kind == "list:set" {
        return Some(Box::new([SetPart::Set]));
    }
    let (_, parts) = kind.split_once(':').filter(|(method, _)| matches!(*method, "hash" | "bitmap"))?;
    let part = |word| match word {
        "ip" => Some(SetPart::Ip),
        "net" => Some(SetPart::Net),
        "port" => Some(SetPart::Port),
        "iface" => Some(SetPart::Iface),
        "mac" => Some(SetPart::Mac),
        "mark" => Some(SetPart::Mark),
        _ => None,
    };
    parts.split(',').map(part).collect()
}
