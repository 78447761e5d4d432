//! Tables and chains, and the index that finds the rules of a chain that can match a packet.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::evidence::{Evidence, Slice};
use crate::net::Hook;
use crate::net::Protocol;

use super::Ruleset;
use super::rule::{ReadRule, Rule, RulePlace};

/// A chain of a table, as an index into [`Table::chains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub u32);

/// A table: `raw`, `mangle`, `nat`, `filter` or `security`.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: Arc<str>,
    /// Its chains, in the order of the file.
    pub chains: Vec<Chain>,
    /// Why the name is a guess, where the file doesn't give it.
    pub assumed: Option<String>,
    /// The line that names it, or its first rule.
    pub evidence: Evidence,
    pub(crate) names: ChainNames,
    /// The lines of the rules, those of a chain together and in their order.
    pub(crate) lines: Vec<RuleLine>,
    pub(crate) read: ReadRule,
}

/// Where a rule's line is: its first byte and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleLine {
    /// The offset of its first byte in the file.
    pub start: u32,
    /// The line's number, from 1.
    pub line: u32,
}

/// What becomes of a packet at the end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainPolicy {
    /// A user's chain (`-`): back to the caller.
    Return,
    /// A base chain that accepts.
    Accept,
    /// A base chain that drops.
    Drop,
    /// A base chain whose policy the file doesn't give.
    Unknown,
}

/// A chain.
#[derive(Debug)]
pub struct Chain {
    /// Its name.
    pub name: Slice,
    /// What becomes of a packet at its end.
    pub policy: ChainPolicy,
    /// Set where the file may lack rules at the chain's end (it was cut short, or is an excerpt): the last line.
    pub open: Option<Evidence>,
    /// The line that declares it, or its first rule.
    pub evidence: Evidence,
    /// Its lines, as a range of [`Table::lines`].
    pub(crate) lines: (u32, u32),
    pub(crate) rules: OnceLock<Rules>,
}

/// The chains of a table by their names, which stand in the chains themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChainNames {
    ids: HashTable<ChainId>,
    hasher: RandomState,
}

impl ChainNames {
    /// The id of the chain with this name, among those that were added.
    pub(crate) fn find(&self, name: &str, chains: &[Chain]) -> Option<ChainId> {
        self.ids.find(self.hasher.hash_one(name), |id| *name_of(*id, chains) == *name).copied()
    }

    /// The chain with this name, if it is among those that were added. Otherwise this one gets the name, and is added.
    pub(crate) fn find_or_add(&mut self, name: &str, id: ChainId, chains: &[Chain]) -> Option<ChainId> {
        let hash = |id: &ChainId| self.hasher.hash_one(name_of(*id, chains));
        match self.ids.entry(self.hasher.hash_one(name), |id| *name_of(*id, chains) == *name, hash) {
            Entry::Occupied(known) => return Some(*known.get()),
            Entry::Vacant(free) => free.insert(id),
        };
        None
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, more: usize, chains: &[Chain]) {
        self.ids.reserve(more, |id| self.hasher.hash_one(name_of(*id, chains)));
    }
}

fn name_of(id: ChainId, chains: &[Chain]) -> &str {
    chains.get(id.0 as usize).map_or("", |chain| &chain.name)
}

impl Table {
    /// The chain behind an id.
    #[must_use]
    pub fn chain(&self, id: ChainId) -> Option<&Chain> {
        self.chains.get(id.0 as usize)
    }

    /// The id of the chain with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ChainId> {
        self.names.find(name, &self.chains)
    }

    /// The built-in chain at a hook; `None` where the table has none.
    #[must_use]
    pub fn base_chain(&self, hook: Hook) -> Option<&Chain> {
        self.chain(self.base_chain_id(hook)?)
    }

    pub(super) fn base_chain_id(&self, hook: Hook) -> Option<ChainId> {
        let id = self.find(hook.chain())?;
        self.chain(id).filter(|chain| chain.policy != ChainPolicy::Return).map(|_| id)
    }

    /// How many rules the table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it has no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl Chain {
    /// How many rules it has.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.lines.1 - self.lines.0) as usize
    }

    /// Whether it has no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves out the rules after the first ones, from a line on.
    pub(crate) fn cut(&mut self, kept: usize, from: Evidence) {
        self.lines.1 = self.lines.1.min(self.lines.0.saturating_add(u32::try_from(kept).unwrap_or(u32::MAX)));
        self.open = Some(from);
    }

    pub(super) fn rules<'c>(&'c self, ruleset: &Ruleset, table: &Table) -> &'c Rules {
        self.rules.get_or_init(|| {
            let lines = table.lines.get(self.lines.0 as usize..self.lines.1 as usize).unwrap_or(&[]);
            let mut rules = Vec::with_capacity(lines.len());
            for (index, at) in (1u32..).zip(lines) {
                let evidence = Evidence::line(ruleset.file, at.line);
                // It is filled where it stays: to move so many rules takes its time.
                rules.push(Rule { index, evidence, start: at.start, ..Rule::default() });
                if let Some(rule) = rules.last_mut() {
                    read_rule(rule, RulePlace { ruleset, table, chain: self });
                }
            }
            Rules::new(rules)
        })
    }
}

fn read_rule(rule: &mut Rule, place: RulePlace<'_>) {
    let text = &*place.ruleset.text;
    let start = rule.start as usize;
    let rest = text.get(start..).unwrap_or("");
    let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
    (place.table.read)(rule, rest.get(..end).unwrap_or(""), place);
    if rule.refused().next().is_some() {
        rule.indent(indent(text, start));
    }
}

/// How many characters stand in its line before a place.
fn indent(text: &str, start: usize) -> u32 {
    let before = text.get(..start).unwrap_or("");
    let line = before.bytes().rev().take_while(|byte| *byte != b'\n').count();
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// What the index asks of a packet.
#[derive(Clone, Copy, Debug)]
pub struct PacketKey {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The destination port. `None` where the protocol has one and it is unknown, or where the protocol has none.
    pub destination_port: Option<u16>,
}

/// A chain's rules, read, with an index over those that only one address or one port can match.
#[derive(Debug)]
pub struct Rules(Listed);

/// Most chains are short and have no index.
#[derive(Debug)]
enum Listed {
    Short(Box<[Rule]>),
    Long(Box<(Box<[Rule]>, Index)>),
}

/// The places of rules by what they alone can match.
#[derive(Debug, Default)]
struct Index {
    by_destination: Vec<(IpAddr, u32)>,
    by_source: Vec<(IpAddr, u32)>,
    by_port: Vec<(Protocol, u16, u32)>,
    rest: Vec<u32>,
}

impl Rules {
    /// Chains up to this length are scanned.
    const SCANNED: usize = 16;

    /// Indexes rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let rules = rules.into_boxed_slice();
        if rules.len() <= Self::SCANNED {
            return Self(Listed::Short(rules));
        }
        let index = Index::new(&rules);
        Self(Listed::Long(Box::new((rules, index))))
    }

    /// Every rule, in order.
    #[must_use]
    pub fn all(&self) -> &[Rule] {
        match &self.0 {
            Listed::Short(rules) => rules,
            Listed::Long(indexed) => &indexed.0,
        }
    }

    /// The first rule at or after a place (from 0) that the index can't rule out for a packet. What it leaves out
    /// can't match.
    #[must_use]
    pub fn next(&self, from: u32, key: &PacketKey) -> Option<&Rule> {
        let place = match &self.0 {
            Listed::Long(indexed) if !key.port_is_unknown() => indexed.1.next(from, key)?,
            _ => from,
        };
        self.all().get(place as usize)
    }
}

impl Index {
    fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (place, rule) in (0u32..).zip(rules) {
            let selector = &rule.selector;
            if let Some(addr) = selector.destination.as_ref().and_then(super::AddrMask::exact) {
                index.by_destination.push((addr, place));
            } else if let Some(addr) = selector.source.as_ref().and_then(super::AddrMask::exact) {
                index.by_source.push((addr, place));
            } else if let Some((protocol, port)) = exact_port(rule) {
                index.by_port.push((protocol, port, place));
            } else {
                index.rest.push(place);
            }
        }
        index.by_destination.sort_unstable();
        index.by_source.sort_unstable();
        index.by_port.sort_unstable();
        index
    }

    fn next(&self, from: u32, key: &PacketKey) -> Option<u32> {
        let rest = self.rest.get(self.rest.partition_point(|place| *place < from)).copied();
        let port = key.destination_port.and_then(|port| {
            let at = self.by_port.partition_point(|entry| *entry < (key.protocol, port, from));
            let (protocol, found, place) = *self.by_port.get(at)?;
            (protocol == key.protocol && found == port).then_some(place)
        });
        let places = [
            rest,
            port,
            next_of(&self.by_destination, key.destination, from),
            next_of(&self.by_source, key.source, from),
        ];
        places.into_iter().flatten().min()
    }
}

impl PacketKey {
    fn port_is_unknown(&self) -> bool {
        self.destination_port.is_none() && self.protocol.has_ports()
    }
}

fn next_of(index: &[(IpAddr, u32)], addr: IpAddr, from: u32) -> Option<u32> {
    let at = index.partition_point(|entry| *entry < (addr, from));
    let (found, place) = *index.get(at)?;
    (found == addr).then_some(place)
}

/// The one protocol and destination port that a rule is for. Later matches only narrow it further.
fn exact_port(rule: &Rule) -> Option<(Protocol, u16)> {
    let protocol = rule.selector.protocol.as_ref().filter(|test| !test.invert)?.value;
    rule.matches.iter().find_map(|one| {
        let port = one.ports()?.destination?;
        (!port.invert && port.value.low == port.value.high).then_some((protocol, port.value.low))
    })
}
