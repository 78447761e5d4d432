//! Chains and sets that rules name, once the whole table has been read: those that are not there, and calls that the
//! kernel refuses. Such a rule stays as it is, and is marked.

use crate::snapshot::nft::{ChainRef, DEEPEST, Data, NftVerdict as Verdict, SetRef, Statement};
use crate::snapshot::{Caller, Calls, NftRule, NftTable, Refused, WrongCall};

use super::token::{Cursor, Fault, Wrong};

const NO_CHAIN: &str = "the table has no chain of this name";
const NO_SET: &str = "the table has no set of this name that could be read";
const BY_MAP: &str = "an element of the map leads to a chain that the kernel can't call from here";

/// A set that was named before it was read: its name, and where.
pub(super) type Unknown<'a> = (&'a str, usize);

/// Marks the rules of a table that name what is not there, or call what can't be called.
pub(super) fn mark(table: &mut NftTable, unknown: &[Unknown<'_>], cursor: &Cursor<'_>, note: &mut dyn FnMut(Fault)) {
    let graph = Graph::new(table);
    let wrong = graph.calls.wrong(Some(DEEPEST));
    // Most tables have nothing wrong with them.
    let mut found: Vec<(usize, usize, Found)> = Vec::new();
    let maps = graph.bad_maps(&wrong);
    for ((chain, rule, call), wrong) in graph.rules.iter().zip(&wrong) {
        let why = match (call, wrong) {
            (_, Some(wrong)) => wrong.as_str(),
            (Call::Map(map), None) if maps.get(*map as usize) == Some(&true) => BY_MAP,
            _ => continue,
        };
        found.push((*chain, *rule, Found { call: *call, why }));
    }
    found.extend(graph.missing.iter().map(|(chain, rule, call)| (*chain, *rule, Found { call: *call, why: NO_CHAIN })));
    found.sort_by_key(|(chain, rule, _)| (*chain, *rule));
    found.dedup_by_key(|(chain, rule, _)| (*chain, *rule));
    let mut place = Place { cursor, at: 0, line: 1 };
    let words: Vec<(usize, usize, String, &'static str)> =
        found.into_iter().map(|(chain, rule, found)| (chain, rule, found.words(table), found.why)).collect();
    for (chain, rule, words, why) in words {
        let Some(rule) = table.chains.get_mut(chain).and_then(|chain| chain.rules.get_mut(rule)) else { continue };
        let at = rule.start as usize + find(place.cursor.text(rule.start as usize, rule.end as usize), &words);
        refuse(rule, &mut place, (at, words.len()), why, note);
    }
    mark_sets(table, unknown, &mut place, note);
}

/// Marks the rules that ask for sets which the table lacks.
fn mark_sets(table: &mut NftTable, unknown: &[Unknown<'_>], place: &mut Place<'_, '_>, note: &mut dyn FnMut(Fault)) {
    let missing: Vec<&Unknown<'_>> = unknown.iter().filter(|(name, _)| table.set(name).is_none()).collect();
    if missing.is_empty() {
        return;
    }
    for rule in table.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
        let first = missing.partition_point(|(_, at)| *at < rule.start as usize);
        if let Some((name, at)) = missing.get(first).filter(|(_, at)| *at < rule.end as usize) {
            refuse(rule, place, (*at, name.len() + 1), NO_SET, note);
        }
    }
}

/// Marks a rule, unless it is marked or not understood.
fn refuse(
    rule: &mut NftRule,
    place: &mut Place<'_, '_>,
    (at, length): (usize, usize),
    why: &'static str,
    note: &mut dyn FnMut(Fault),
) {
    if rule.statements.iter().any(|one| matches!(one, Statement::Unread(_) | Statement::Refused(_))) {
        return;
    }
    let fault = place.fault(at, length, why);
    let column = u32::try_from(place.cursor.column(at)).unwrap_or(u32::MAX);
    let text = place.cursor.text(at, at + length).into();
    let mut statements = std::mem::take(&mut rule.statements).into_vec();
    statements.push(Statement::Refused(Box::new(Refused { text, column, why: why.into() })));
    rule.statements = statements.into_boxed_slice();
    note(fault);
}

/// Where a rule's words stand, or else its beginning.
fn find(rule: &str, words: &str) -> usize {
    let ends = |at: usize| rule.as_bytes().get(at + words.len()).is_none_or(|byte| b" \t\r\n,;}\"".contains(byte));
    rule.match_indices(words).map(|(at, _)| at).find(|at| ends(*at)).unwrap_or(0)
}

/// A line of the text and where it was found: what is looked for comes in the order of the text, nearly.
struct Place<'c, 'a> {
    cursor: &'c Cursor<'a>,
    at: usize,
    line: u32,
}

impl Place<'_, '_> {
    fn fault(&mut self, at: usize, length: usize, why: &'static str) -> Fault {
        if at < self.at {
            (self.at, self.line) = (0, 1);
        }
        let passed = self.cursor.text(self.at, at).as_bytes();
        self.line = self.line.saturating_add(u32::try_from(memchr::memchr_iter(b'\n', passed).count()).unwrap_or(0));
        self.at = at;
        Fault::at(Wrong::Is(why), at, self.line, length)
    }
}

/// What a rule calls.
#[derive(Clone, Copy)]
enum Call {
    Chain(ChainRef, &'static str),
    Map(u32),
}

struct Found {
    call: Call,
    why: &'static str,
}

impl Found {
    /// As the rule says it.
    fn words(&self, table: &NftTable) -> String {
        match self.call {
            Call::Chain(chain, how) => format!("{how} {}", table.chain_name(chain)),
            Call::Map(map) => format!("@{}", table.sets.get(map as usize).map_or("", |set| &set.name)),
        }
    }
}

/// The calls of a table. A map's place is behind those of the chains.
struct Graph {
    calls: Calls,
    /// Of each of the first calls the chain, the rule's place in it, and what it calls.
    rules: Vec<(usize, usize, Call)>,
    /// The rules that call a chain which isn't there.
    missing: Vec<(usize, usize, Call)>,
    /// Which map each of the other calls is of, and whether a map calls a chain that isn't there.
    of_maps: Vec<u32>,
    broken: Vec<bool>,
}

impl Graph {
    fn new(table: &NftTable) -> Self {
        let caller = |hook: bool| if hook { Caller::Base } else { Caller::Chain };
        let mut callers: Vec<Caller> = table.chains.iter().map(|chain| caller(chain.hook.is_some())).collect();
        callers.extend(table.sets.iter().map(|_| Caller::Map));
        let mut graph = Self {
            calls: Calls { callers, calls: Vec::new() },
            rules: Vec::new(),
            missing: Vec::new(),
            of_maps: Vec::new(),
            broken: vec![false; table.sets.len()],
        };
        let leads: Vec<bool> =
            table.sets.iter().map(|set| set.elements().any(|one| verdict(&one.data).is_some())).collect();
        for (from, chain) in table.chains.iter().enumerate() {
            for (place, rule) in chain.rules.iter().enumerate() {
                rule.statements.iter().for_each(|one| graph.add(table, &leads, (from, place), one));
            }
        }
        graph.add_maps(table);
        graph
    }

    fn add(&mut self, table: &NftTable, leads: &[bool], (chain, rule): (usize, usize), statement: &Statement) {
        match statement {
            Statement::Verdict(verdict) => self.call(table, (chain, rule), call(*verdict)),
            Statement::Vmap(map) => match &map.1 {
                SetRef::Anonymous(set) => {
                    for one in set.elements() {
                        self.call(table, (chain, rule), verdict(&one.data));
                    }
                }
                SetRef::Named(name) => {
                    let map = table.names.set(name).filter(|map| leads.get(*map as usize) == Some(&true));
                    if let Some(map) = map {
                        let to = u32::try_from(table.chains.len()).unwrap_or(u32::MAX).saturating_add(map);
                        self.calls.calls.push((u32::try_from(chain).unwrap_or(u32::MAX), to));
                        self.rules.push((chain, rule, Call::Map(map)));
                    }
                }
            },
            _ => {}
        }
    }

    fn call(&mut self, table: &NftTable, (chain, rule): (usize, usize), called: Option<(ChainRef, &'static str)>) {
        let Some((to, how)) = called else { return };
        let call = (chain, rule, Call::Chain(to, how));
        match table.names.chain(to) {
            Some(to) => {
                self.calls.calls.push((u32::try_from(chain).unwrap_or(u32::MAX), to));
                self.rules.push(call);
            }
            None => self.missing.push(call),
        }
    }

    fn add_maps(&mut self, table: &NftTable) {
        let first = u32::try_from(table.chains.len()).unwrap_or(u32::MAX);
        for ((map, set), broken) in (0u32..).zip(&table.sets).zip(&mut self.broken) {
            for (to, _) in set.elements().filter_map(|one| verdict(&one.data)) {
                match table.names.chain(to) {
                    Some(to) => {
                        self.calls.calls.push((first.saturating_add(map), to));
                        self.of_maps.push(map);
                    }
                    None => *broken = true,
                }
            }
        }
    }

    /// Which maps lead to what can't be called.
    fn bad_maps(&self, wrong: &[Option<WrongCall>]) -> Vec<bool> {
        let mut bad = self.broken.clone();
        for (map, wrong) in self.of_maps.iter().zip(wrong.get(self.rules.len()..).unwrap_or_default()) {
            if let Some(slot) = bad.get_mut(*map as usize).filter(|_| *wrong == Some(WrongCall::Base)) {
                *slot = true;
            }
        }
        bad
    }
}

fn verdict(data: &Data) -> Option<(ChainRef, &'static str)> {
    match data {
        Data::Verdict(verdict) => call(*verdict),
        _ => None,
    }
}

fn call(verdict: Verdict) -> Option<(ChainRef, &'static str)> {
    match verdict {
        Verdict::Jump(chain) => Some((chain, "jump")),
        Verdict::Goto(chain) => Some((chain, "goto")),
        _ => None,
    }
}
