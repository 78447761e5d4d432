//! One table while it is read: its chains, and which line belongs to which.

use std::sync::{Arc, OnceLock};

use crate::evidence::{Evidence, Slice, Text};
use crate::snapshot::{Chain, ChainId, ChainNames, ChainPolicy, RuleLine, Table};

use super::rule::read_rule;

/// The built-in chains.
pub(super) const BUILT_IN: &[&str] = &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

pub(super) struct Section {
    name: Option<Arc<str>>,
    evidence: Evidence,
    chains: Vec<Chain>,
    names: ChainNames,
    /// Each rule's chain, in the order of the file.
    owners: Vec<ChainId>,
    /// Their lines.
    lines: Vec<RuleLine>,
    /// The first line since the last rule that nobody understands.
    garbage: Option<RuleLine>,
    declared: bool,
    text: Text,
}

/// How a rule's chain was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Known,
    /// It should have been declared and was not.
    Undeclared,
    /// This line above it, which nobody understands, may belong to more chains than can be told.
    Anywhere(Evidence),
}

/// What is to be said of a chain's declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Well,
    /// Its policy is none.
    NoPolicy,
    /// The table has a chain of this name: which of the two the rules are of, nobody knows.
    Twice,
}

impl Section {
    pub(super) fn new(name: Option<&str>, evidence: Evidence, text: Text) -> Self {
        Self {
            name: name.map(Arc::from),
            evidence,
            chains: Vec::new(),
            names: ChainNames::default(),
            owners: Vec::new(),
            lines: Vec::new(),
            garbage: None,
            declared: false,
            text,
        }
    }

    pub(super) fn is_named(&self) -> bool {
        self.name.is_some()
    }

    /// A chain's declaration.
    pub(super) fn declare(&mut self, name: &str, policy: &str, evidence: Evidence) -> Declared {
        // A rule of a built-in chain may stand before its declaration.
        let known = self.names.find(name, &self.chains).and_then(|id| self.chain(id));
        let twice = known.is_some_and(|chain| chain.policy != ChainPolicy::Unknown);
        let known = match policy {
            "-" => Some(ChainPolicy::Return),
            "ACCEPT" => Some(ChainPolicy::Accept),
            "DROP" => Some(ChainPolicy::Drop),
            _ => None,
        };
        let id = self.add(name, evidence);
        self.declared = true;
        if let Some(chain) = self.chains.get_mut(id.0 as usize) {
            chain.policy = known.unwrap_or(ChainPolicy::Unknown);
        }
        match known {
            _ if twice => Declared::Twice,
            Some(_) => Declared::Well,
            None => Declared::NoPolicy,
        }
    }

    /// A rule's line, and how its chain was found.
    pub(super) fn rule(&mut self, chain: &str, at: RuleLine, evidence: Evidence) -> Found {
        let known = self.chain_nearby(chain).or_else(|| self.names.find(chain, &self.chains));
        let id = known.unwrap_or_else(|| self.add(chain, evidence));
        let untold = self.garbage.take().and_then(|garbage| self.garbage_before(id, garbage));
        self.push(id, at);
        match untold {
            _ if known.is_none() && self.declared => Found::Undeclared,
            Some(garbage) => Found::Anywhere(garbage),
            None => Found::Known,
        }
    }

    /// A line that nobody understands stands at the end of its chain, and may as well be a rule of a chain after it, up
    /// to the beginning of the next rule's. Gives the line where there are too many to tell.
    fn garbage_before(&mut self, next: ChainId, garbage: RuleLine) -> Option<Evidence> {
        const MOST: usize = 64;
        let last = self.owners.last().map_or(0, |id| id.0 as usize);
        if next.0 as usize == last {
            return None;
        }
        let line = Evidence::line(self.evidence.file, garbage.line);
        let between = self.chains.get_mut(last + 1..next.0 as usize).unwrap_or_default();
        let many = between.len() > MOST;
        between.iter_mut().take(MOST).for_each(|chain| chain.open = Some(line));
        self.push(next, garbage);
        many.then_some(line)
    }

    /// The chain with this name, if it is that of the rule above or one of those declared next: `iptables-save`
    /// prints the rules in the order of the declarations.
    fn chain_nearby(&self, name: &str) -> Option<ChainId> {
        const NEARBY: u32 = 4;
        let last = self.owners.last().map_or(0, |id| id.0);
        let mut ids = (last..last.saturating_add(NEARBY)).map(ChainId);
        ids.find(|id| self.chain(*id).is_some_and(|chain| &*chain.name == name))
    }

    /// A line that stands for a rule of the chain above it. False where no rule stands above it.
    pub(super) fn placeholder(&mut self, at: RuleLine) -> bool {
        let Some(id) = self.owners.last() else { return false };
        self.push(*id, at);
        self.garbage.get_or_insert(at);
        true
    }

    fn push(&mut self, id: ChainId, at: RuleLine) {
        self.owners.push(id);
        self.lines.push(at);
    }

    fn chain(&self, id: ChainId) -> Option<&Chain> {
        self.chains.get(id.0 as usize)
    }

    /// Makes room for the chains and rules of a large cluster, in kube-proxy's sizes, once it is seen to be one: to grow
    /// step by step costs more memory, and most of the time.
    fn make_room(&mut self) {
        const LARGE: usize = 1000;
        const BYTES_A_CHAIN: usize = 400;
        // A file may have many such tables, each of which pays for its room. So many names fill a table of 2^16 places.
        const MOST: usize = 56 * LARGE;
        if self.chains.len() == LARGE {
            let chains = (self.text.len() / BYTES_A_CHAIN).min(MOST);
            self.chains.reserve(chains);
            self.names.reserve(chains, &self.chains);
            self.owners.reserve(3 * chains);
            self.lines.reserve(3 * chains);
        }
    }

    fn add(&mut self, name: &str, evidence: Evidence) -> ChainId {
        self.make_room();
        let id = ChainId(u32::try_from(self.chains.len()).unwrap_or(u32::MAX));
        if let Some(known) = self.names.find_or_add(name, id, &self.chains) {
            return known;
        }
        let policy = if BUILT_IN.contains(&name) { ChainPolicy::Unknown } else { ChainPolicy::Return };
        let name = Slice::of(&self.text, name);
        self.chains.push(Chain { name, policy, open: None, evidence, lines: (0, 0), rules: OnceLock::new() });
        id
    }

    /// The table. `cut` is the last line of one that has no end.
    pub(super) fn finish(mut self, cut: Option<Evidence>) -> Table {
        if let Some(cut) = cut {
            self.open_from_last(cut);
        } else if !self.declared {
            let last = self.evidence_of_last();
            self.chains.iter_mut().for_each(|chain| chain.open = last);
        }
        if let Some(garbage) = self.garbage.take() {
            self.open_from_last(Evidence::line(self.evidence.file, garbage.line));
        }
        self.group();
        let (name, assumed) = match self.name.take() {
            Some(name) => (name, None),
            None => self.guess(&self.text),
        };
        Table {
            name,
            chains: self.chains,
            assumed,
            evidence: self.evidence,
            names: self.names,
            lines: self.lines,
            read: read_rule,
        }
    }

    fn evidence_of_last(&self) -> Option<Evidence> {
        self.lines.last().map(|at| Evidence::line(self.evidence.file, at.line))
    }

    /// `iptables-save` prints the rules chain by chain, in the order of the declarations: what is cut off belongs to
    /// the last chain that has rules or to one after it.
    fn open_from_last(&mut self, cut: Evidence) {
        let last = self.owners.iter().max().map_or(0, |id| id.0 as usize);
        self.chains.iter_mut().skip(last).for_each(|chain| chain.open = Some(cut));
    }

    /// Puts the lines of each chain together, in their order.
    fn group(&mut self) {
        if !self.owners.is_sorted() {
            let mut rules: Vec<_> = self.owners.drain(..).zip(self.lines.drain(..)).collect();
            rules.sort_by_key(|(id, _)| *id);
            (self.owners, self.lines) = rules.into_iter().unzip();
        }
        let mut from = 0u32;
        for group in self.owners.chunk_by(ChainId::eq) {
            let to = from + u32::try_from(group.len()).unwrap_or(u32::MAX - from);
            let chain = group.first().and_then(|id| self.chains.get_mut(id.0 as usize));
            if let Some(chain) = chain {
                chain.lines = (from, to);
            }
            from = to;
        }
    }

    /// The table that rules without a `*table` line must be of, by what only one table can hold (`.table` of the
    /// kernel's targets), or else by its chains.
    fn guess(&self, text: &str) -> (Arc<str>, Option<String>) {
        const TARGETS: &[(&str, &str)] = &[
            ("-j DNAT", "nat"),
            ("-j SNAT", "nat"),
            ("-j MASQUERADE", "nat"),
            ("-j REDIRECT", "nat"),
            ("-j REJECT", "filter"),
            ("-j NOTRACK", "raw"),
            ("-j CT ", "raw"),
        ];
        // `iptables -S` prints a policy for each built-in chain of its table.
        const CHAINS: &[(&[&str], &str)] = &[
            (&["INPUT", "FORWARD", "OUTPUT"], "filter"),
            (&["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"], "nat"),
            (&["PREROUTING", "OUTPUT"], "raw"),
            (&["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"], "mangle"),
        ];
        let has = |name: &str| self.names.find(name, &self.chains).is_some();
        let built_in: Vec<&&str> = BUILT_IN.iter().filter(|name| has(name)).collect();
        if self.declared
            && let Some((_, name)) = CHAINS.iter().find(|(chains, _)| chains.iter().eq(built_in.iter().copied()))
        {
            return (Arc::from(*name), Some(format!("the file doesn't name its table: by its chains it is {name}")));
        }
        let by_target = TARGETS.iter().find(|(target, _)| text.contains(target)).map(|(_, table)| *table);
        let by_chain = if has("PREROUTING") || has("POSTROUTING") { "nat" } else { "filter" };
        let name = by_target.unwrap_or(by_chain);
        (Arc::from(name), Some(format!("the file doesn't say which table these rules are in: taken to be {name}")))
    }
}
