//! ipsets, and the lookup that the kernel makes in them.

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
    /// Options that change what matches and that flowtrace doesn't model, as written.
    pub unmodelled: Vec<String>,
    /// A `list:set`'s members, in order.
    pub members: Vec<(String, Evidence)>,
    /// The line that creates it.
    pub evidence: Evidence,
    entries: Vec<SetEntry>,
    index: Vec<(Key, u32)>,
    lengths: [Vec<u8>; 2],
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
    pub iface: Option<SetIface>,
    /// The link-layer address.
    pub mac: Option<MacAddr>,
    /// The mark.
    pub mark: Option<u32>,
    /// `nomatch`: an exception, which ends the lookup without a match.
    pub nomatch: bool,
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
            unmodelled: Vec::new(),
            members: Vec::new(),
            evidence,
            entries: Vec::new(),
            index: Vec::new(),
            lengths: [Vec::new(), Vec::new()],
        }
    }

    /// Puts the elements in, in the order of the file.
    pub fn fill(&mut self, entries: Vec<SetEntry>) {
        self.index = (0u32..).zip(&entries).map(|(place, entry)| (Key::of(entry), place)).collect();
        self.index.sort_unstable();
        self.lengths = [lengths(&entries, |entry| entry.first), lengths(&entries, |entry| entry.second)];
        self.entries = entries;
    }

    /// The elements, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[SetEntry] {
        &self.entries
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
        let probe = &SetProbe { first: self.masked(probe.first), second: self.masked(probe.second), ..*probe };
        let [firsts, seconds] = &self.lengths;
        for first in firsts {
            for second in seconds {
                let key = Key::probe(probe, *first, *second);
                let same_key = self.with_key(key);
                if let Some(entry) = same_key.clone().find(|entry| self.rest_matches(entry, probe)) {
                    return Some(entry);
                }
                // `multi` in mtype_test_cidrs(): once a prefix is there with other devices, shorter ones aren't tried.
                if self.has(SetPart::Iface) && same_key.clone().next().is_some() {
                    return None;
                }
            }
        }
        None
    }

    fn masked(&self, addr: Option<IpAddr>) -> Option<IpAddr> {
        Some(match (addr?, self.bitmask) {
            (IpAddr::V4(addr), Some(IpAddr::V4(mask))) => IpAddr::V4(addr & mask),
            (IpAddr::V6(addr), Some(IpAddr::V6(mask))) => IpAddr::V6(addr & mask),
            (addr, _) => addr,
        })
    }

    fn with_key(&self, key: Key) -> impl Iterator<Item = &SetEntry> + Clone {
        let from = self.index.partition_point(|(other, _)| *other < key);
        let rest = self.index.get(from..).unwrap_or(&[]);
        rest.iter()
            .take_while(move |(other, _)| *other == key)
            .filter_map(|(_, place)| self.entries.get(*place as usize))
    }

    fn rest_matches(&self, entry: &SetEntry, probe: &SetProbe<'_>) -> bool {
        entry.iface.as_ref().is_none_or(|iface| iface.matches(probe))
            && entry.mac.is_none_or(|mac| probe.mac == Some(mac))
            && entry.mark.is_none_or(|mark| probe.mark & self.markmask == mark)
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
