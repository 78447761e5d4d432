//! `nft list ruleset`: tables, chains, sets and rules, read into typed expressions. The JSON form is turned into this
//! text first ([`super::nft_json`]), so that both give the same.

mod assign;
mod calls;
mod constant;
mod expression;
mod exthdr;
mod field;
mod nat;
mod relation;
mod scope;
mod set;
mod statement;
mod token;

use std::collections::HashSet;

use crate::evidence::{Evidence, FileId, Gap, Text};
use crate::snapshot::nft::{ChainKind, NftQuota, NftSet, NftSynproxy, ObjectKind, Statement, TableNames};
use crate::snapshot::{ChainPolicy, Nft, NftChain, NftFamily, NftHook, NftRule, NftTable, WhyUnread};
use crate::trace::Hook;

use super::lines::{self, Notes};
use scope::{Reader, Scope};
use set::TWICE;
use token::{Cursor, Fault, LineOf, Parsed, Token, Wrong};

/// What `collect` writes before a table of iptables-nft's of which it lists the base chains alone, with the number of all
/// its rules behind it: ` (5 rules)`.
pub(crate) const ELSEWHERE: &str =
    "# iptables-nft's: base chains alone, which tell the order; all chains and rules are in iptables-save";

/// Reads the text form.
pub(super) fn parse(file: FileId, text: &Text, gaps: &mut Vec<Gap>) -> Nft {
    parse_lines(file, "`nft list ruleset`", text, &|line| Evidence::line(file, line), gaps)
}

/// Whether the last line of a text closes a table, so that it is whole though it may lack its line end. A brace that
/// stands further in closes something inside.
pub(super) fn is_closed(text: &str) -> bool {
    lines::last(text).trim_end() == "}"
}

/// Reads the text form, of which each line is said by some line of a file.
pub(super) fn parse_lines(
    file: FileId,
    tool: &'static str,
    text: &Text,
    line_of: LineOf<'_>,
    gaps: &mut Vec<Gap>,
) -> Nft {
    let mut notes = Notes::new(file, tool, gaps);
    let cursor = Cursor::new(text);
    let note = &mut |fault: Fault| {
        let (line, column) = (line_of(fault.line), cursor.column(fault.at));
        let gap = Gap::new(format!("{tool}: column {column}: {}", cursor.tell(fault)), vec![line]);
        notes.push(gap.at(u32::try_from(column).ok()), line);
    };
    let nft = Nft { text: Some(text.clone()), ..Nft::default() };
    let mut ruleset = Ruleset { nft, known: HashSet::default(), cursor, line_of };
    ruleset.read(note);
    ruleset.nft
}

/// The reader of a whole listing.
struct Ruleset<'a, 'l> {
    nft: Nft,
    /// The tables that stand above.
    known: HashSet<(NftFamily, &'a str), foldhash::quality::RandomState>,
    cursor: Cursor<'a>,
    line_of: LineOf<'l>,
}

impl Ruleset<'_, '_> {
    fn read(&mut self, note: &mut dyn FnMut(Fault)) {
        let mut known = true;
        loop {
            match self.cursor.peek() {
                Token::End => return,
                Token::Word("table") => {
                    known = true;
                    self.table(note);
                }
                _ => {
                    // One gap for a stretch that is no listing.
                    if known {
                        self.lose();
                        note(self.cursor.expected("a table"));
                    }
                    known = false;
                    self.cursor.next();
                }
            }
        }
    }

    /// What stands here may be a table.
    fn lose(&mut self) {
        let here = (self.line_of)(self.cursor.line());
        self.nft.unread.get_or_insert(WhyUnread::NotUnderstood.at(here));
    }

    fn table(&mut self, note: &mut dyn FnMut(Fault)) {
        let warned = std::mem::take(&mut self.cursor.warned);
        let elsewhere = std::mem::take(&mut self.cursor.elsewhere);
        let here = (self.line_of)(self.cursor.line());
        let twice = self.cursor.wrong(Wrong::Is("a table of this family and name stands above"));
        self.cursor.next();
        let (family, name) = match table_name(&mut self.cursor) {
            Ok(named) => named,
            Err(fault) => {
                self.nft.unread.get_or_insert(WhyUnread::NotUnderstood.at(here));
                return note(fault);
            }
        };
        let mut reader = Reader {
            cursor: self.cursor,
            line_of: self.line_of,
            scope: Scope::new(family),
            expected_data: Vec::new(),
            tracks: None,
            bound: Vec::new(),
            depth: 0,
        };
        let mut table = new_table(family, name, warned || elsewhere.is_some(), here);
        table.bases_alone = elsewhere;
        if !self.known.insert((family, name)) {
            // nft lists a table once: which of the two the kernel has, nobody knows.
            table.unread = Some(here);
            note(twice);
        }
        if !reader.table_body(&mut table, note) {
            note(reader.cursor.wrong(Wrong::Is("it ends within a table, so rules may be missing")));
            let here = (self.line_of)(reader.cursor.line());
            // What is cut off may be further tables too.
            self.nft.unread.get_or_insert(WhyUnread::Cut.at(here));
            if let Some(chain) = table.chains.last_mut() {
                chain.open = Some(here);
            }
        }
        table.chains.append(&mut reader.bound);
        // There may be many small tables.
        table.chains.shrink_to_fit();
        table.sets.shrink_to_fit();
        table.objects.shrink_to_fit();
        self.cursor = reader.cursor;
        let mut unknown = std::mem::take(&mut reader.scope.unknown);
        unknown.sort_by_key(|(_, at)| *at);
        resolve(&mut table, reader.scope);
        calls::mark(&mut table, &unknown, &self.cursor, note);
        self.nft.tables.push(table);
    }
}

/// `inet fw {`, `fw {`.
fn table_name<'a>(cursor: &mut Cursor<'a>) -> Parsed<(NftFamily, &'a str)> {
    let first = cursor.name("a table's family")?;
    let named = match nft_family(first) {
        Some(family) if cursor.peek() != Token::Sign("{") => (family, cursor.name("a table's name")?),
        _ => (NftFamily::Ip, first),
    };
    cursor.need("{")?;
    Ok(named)
}

/// Finds the chains that rules call, now that all of them are known. Of two sets of one name nobody knows which elements
/// the kernel has.
fn resolve(table: &mut NftTable, scope: Scope<'_>) {
    for set in table.sets.iter_mut().filter(|set| scope.twice.contains(&*set.name)) {
        *set = NftSet::new(set.name.clone(), set.fields, set.evidence);
        set.unread = Some(TWICE.into());
    }
    let mut names = TableNames { chains: vec![None; scope.mentioned.len()], ..TableNames::default() };
    for (place, chain) in (0u32..).zip(&table.chains) {
        let mentioned = scope.mentioned(&chain.name).and_then(|at| names.chains.get_mut(at.0 as usize));
        if let Some(slot) = mentioned {
            *slot = Some(place);
        }
    }
    names.mentioned = scope.mentioned;
    for (place, set) in (0u32..).zip(&table.sets) {
        names.sets.insert(set.name.clone(), place);
    }
    table.names = names;
}

impl Reader<'_, '_> {
    /// To the table's closing brace. False where the text ends before it.
    fn table_body(&mut self, table: &mut NftTable, note: &mut dyn FnMut(Fault)) -> bool {
        loop {
            match self.cursor.peek() {
                Token::End => return false,
                Token::Sign("}") => {
                    self.cursor.next();
                    return true;
                }
                Token::Sign(";") => {
                    self.cursor.next();
                }
                Token::Word("chain") => {
                    self.cursor.next();
                    let complete = self.chain(table, note);
                    if !complete {
                        return false;
                    }
                }
                Token::Word("flags") => self.table_flags(table, note),
                Token::Word("comment" | "handle") => {
                    self.cursor.next();
                    self.skip_line();
                }
                Token::Word(word @ ("set" | "map")) => {
                    self.cursor.next();
                    match self.named_set(word == "map", note) {
                        Ok(set) => table.sets.push(set),
                        Err(fault) => {
                            self.lose(table, fault, note);
                            self.leave_block();
                        }
                    }
                }
                _ => self.object_block(table, note),
            }
        }
    }

    /// `flags dormant`, `flags owner,persist`. A table with another flag may be one that sees no packets.
    fn table_flags(&mut self, table: &mut NftTable, note: &mut dyn FnMut(Fault)) {
        self.cursor.next();
        while !self.at_end() {
            let fault = self.cursor.expected("a table's flag (`dormant`, `owner`, `persist`)");
            match self.cursor.next() {
                Token::Word("dormant") => table.dormant = true,
                Token::Word("owner" | "persist") | Token::Sign(",") => {}
                _ => self.lose(table, fault, note),
            }
        }
    }

    /// Notes a part of a table that may be a chain.
    fn lose(&mut self, table: &mut NftTable, fault: Fault, note: &mut dyn FnMut(Fault)) {
        table.unread.get_or_insert((self.line_of)(fault.line));
        note(fault);
    }

    /// To a line that closes a block, past it.
    fn leave_block(&mut self) {
        loop {
            match self.cursor.peek() {
                Token::End => return,
                Token::Sign("{") => self.skip_braces(),
                Token::Sign("}") => {
                    self.cursor.next();
                    return;
                }
                _ => {
                    self.cursor.next();
                }
            }
        }
    }

    /// `counter NAME { … }` and its kin.
    fn object_block(&mut self, table: &mut NftTable, note: &mut dyn FnMut(Fault)) {
        let here = (self.line_of)(self.cursor.line());
        let fault = self.cursor.expected("a chain, a set or another object");
        let kind = match self.cursor.next() {
            Token::Word("counter") => Some(ObjectKind::Counter),
            Token::Word("quota") => Some(ObjectKind::Quota),
            Token::Word("limit") => Some(ObjectKind::Limit),
            Token::Word("flowtable") => Some(ObjectKind::Flowtable),
            Token::Word("secmark") => Some(ObjectKind::Secmark),
            Token::Word("synproxy") => Some(ObjectKind::Synproxy),
            Token::Word("ct") => match self.cursor.next() {
                Token::Word("helper") => Some(ObjectKind::CtHelper),
                Token::Word("timeout") => Some(ObjectKind::CtTimeout),
                Token::Word("expectation") => Some(ObjectKind::CtExpectation),
                _ => None,
            },
            _ => None,
        };
        let Some(kind) = kind else { return self.unknown_block(table, fault, note) };
        match self.cursor.name("a name") {
            Ok(name) => {
                if kind == ObjectKind::Synproxy {
                    let offered = self.synproxy_block().map(|offered| (name.into(), offered));
                    table.synproxies.extend(offered);
                }
                if kind == ObjectKind::Quota {
                    table.quotas.extend(self.quota_block().map(|quota| (name.into(), quota)));
                }
                table.objects.push((kind, name.into(), here));
            }
            Err(fault) => note(fault),
        }
        self.skip_line();
    }

    /// What `synproxy NAME { … }` offers, from the brace on, where all of it is understood.
    fn synproxy_block(&mut self) -> Option<NftSynproxy> {
        self.block(|reader| reader.offered(true))
    }

    /// The same of what `quota NAME { … }` allows.
    fn quota_block(&mut self) -> Option<NftQuota> {
        self.block(Self::allowed)
    }

    /// What stands in a block, where all of it is understood; the cursor stays before it.
    fn block<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Option<T> {
        let place = self.cursor;
        let whole = || {
            self.cursor.need("{")?;
            if self.cursor.word("comment") {
                self.cursor.next();
            }
            let content = read(self)?;
            self.cursor.need("}").map(|()| content)
        };
        let content = whole().ok();
        self.cursor = place;
        content
    }

    /// What follows a word that is not known. A whole block decides nothing until a rule names it, unless it says at
    /// which hook the kernel comes to it; anything else may be a chain.
    fn unknown_block(&mut self, table: &mut NftTable, fault: Fault, note: &mut dyn FnMut(Fault)) {
        let named = self.cursor.name("a name").is_ok() && self.cursor.peek() == Token::Sign("{");
        if named && !self.skip_braces_and_find("hook") {
            return note(fault);
        }
        self.lose(table, fault, note);
        self.skip_line();
    }

    /// From the chain's name on. False where the text ends within it.
    fn chain(&mut self, table: &mut NftTable, note: &mut dyn FnMut(Fault)) -> bool {
        let here = (self.line_of)(self.cursor.line());
        let twice = self.cursor.wrong(Wrong::Is("a chain of this name stands above"));
        let opened = self.cursor.name("a chain's name").and_then(|name| self.cursor.need("{").map(|()| name));
        let name = match opened {
            Ok(name) => name,
            Err(fault) => {
                self.lose(table, fault, note);
                self.skip_line();
                return true;
            }
        };
        let mut chain =
            NftChain { name: self.scope.name(name), hook: None, rules: Vec::new(), open: None, evidence: here };
        let complete = self.chain_body(&mut chain, note);
        if !self.scope.chains.insert(name) {
            // Which of the rules the kernel has, nobody knows. Those above stand for them.
            self.lose(table, twice, note);
            if chain.hook.is_none() {
                return complete;
            }
        }
        // Most chains of a large cluster have few rules, and there are many of them.
        chain.rules.shrink_to_fit();
        grow(&mut table.chains);
        table.chains.push(chain);
        complete
    }

    fn chain_body(&mut self, chain: &mut NftChain, note: &mut dyn FnMut(Fault)) -> bool {
        let (mut index, start): (u32, _) = (0, self.cursor.start());
        loop {
            match self.cursor.peek() {
                Token::End => return false,
                Token::Sign("}") => {
                    self.cursor.next();
                    return true;
                }
                Token::Sign(";") => {
                    self.cursor.next();
                }
                Token::Word("type") if chain.hook.is_none() => chain.hook = Some(self.hook(note)),
                Token::Word("policy") => {
                    self.cursor.next();
                    if let (Some(hook), Some(word)) = (&mut chain.hook, self.cursor.peek_word()) {
                        hook.policy = policy(word);
                    }
                    self.skip_line();
                }
                Token::Word("comment") => {
                    self.cursor.next();
                    self.skip_line();
                }
                Token::Word("flags") => self.chain_flags(note),
                Token::Word("chain") if self.cursor.breaks() => {
                    note(self.cursor.wrong(Wrong::Is("a chain begins before the one above it has ended")));
                    chain.open = Some((self.line_of)(self.cursor.line()));
                    return true;
                }
                _ => {
                    index = index.saturating_add(1);
                    if chain.open.is_some() || says_nothing(index, self.cursor.start() - start) {
                        self.leave_out(chain, note);
                        continue;
                    }
                    push(&mut chain.rules, NftRule { index, ..self.rule(note) });
                }
            }
        }
    }

    /// `flags offload`: the card may do the chain's work, which is the same.
    fn chain_flags(&mut self, note: &mut dyn FnMut(Fault)) {
        self.cursor.next();
        while !self.at_end() {
            let fault = self.cursor.expected("a chain's flag (`offload`)");
            if self.cursor.next() != Token::Word("offload") {
                note(fault);
            }
        }
    }

    /// Passes over a rule in a chain that says next to nothing.
    fn leave_out(&mut self, chain: &mut NftChain, note: &mut dyn FnMut(Fault)) {
        if chain.open.is_none() {
            note(self.cursor.wrong(Wrong::Is(
                "the chain has very many rules that say next to nothing: this and those after it are not read",
            )));
            chain.open = Some((self.line_of)(self.cursor.line()));
        }
        self.cursor.next();
        self.skip_line();
    }

    /// `type filter hook ingress device "eth0" priority filter + 10; policy accept;`
    fn hook(&mut self, note: &mut dyn FnMut(Fault)) -> NftHook {
        let evidence = (self.line_of)(self.cursor.line());
        let mut hook = NftHook {
            kind: ChainKind::Other,
            hook: None,
            priority: None,
            devices: None,
            policy: ChainPolicy::Accept,
            evidence,
        };
        if let Err(fault) = self.hook_line(&mut hook) {
            note(fault);
            self.skip_line();
        }
        hook
    }

    fn hook_line(&mut self, hook: &mut NftHook) -> Parsed<()> {
        self.cursor.next();
        hook.kind = match self.cursor.name("a chain's type")? {
            "filter" => ChainKind::Filter,
            "nat" => ChainKind::Nat,
            "route" => ChainKind::Route,
            _ => ChainKind::Other,
        };
        if !self.cursor.word("hook") {
            return Err(self.cursor.expected("`hook`"));
        }
        let fault = self.cursor.expected("a hook");
        let known = nft_hook(self.cursor.name("a hook")?);
        if self.cursor.word("device") {
            hook.devices = Some(vec![self.cursor.name("a device")?.to_owned()]);
        } else if self.cursor.word("devices") {
            self.cursor.need("=")?;
            self.cursor.need("{")?;
            let devices = hook.devices.get_or_insert_default();
            while !self.cursor.sign("}") {
                devices.push(self.cursor.name("a device")?.to_owned());
                self.cursor.sign(",");
            }
        }
        if !self.cursor.word("priority") {
            return Err(self.cursor.expected("`priority`"));
        }
        hook.priority = Some(self.priority()?);
        hook.hook = Some(known.ok_or(fault)?);
        Ok(())
    }

    /// `0`, `-150`, `filter`, `dstnat + 5` (`std_prios` in nftables' `src/rule.c`).
    fn priority(&mut self) -> Parsed<i32> {
        let bridge = self.scope.family == NftFamily::Bridge;
        let fault = self.cursor.expected("a priority");
        let word = self.cursor.name("a priority")?;
        let base = match word {
            "raw" => -300,
            "mangle" => -150,
            "dstnat" => {
                if bridge {
                    -300
                } else {
                    -100
                }
            }
            "filter" => {
                if bridge {
                    -200
                } else {
                    0
                }
            }
            "security" => 50,
            "srcnat" => {
                if bridge {
                    300
                } else {
                    100
                }
            }
            "out" => 100,
            number => return number.parse().map_err(|_| fault),
        };
        let sign = match self.cursor.peek_word() {
            Some("+") => 1,
            Some("-") => -1,
            _ => return Ok(base),
        };
        self.cursor.next();
        Ok(base + sign * self.cursor.number::<i16>("a number").map(i32::from)?)
    }
}

/// Whether a chain with so many rules in so much text is one that nobody wrote, and of which each would take many times
/// the room of its text.
fn says_nothing(rules: u32, text: usize) -> bool {
    const MANY: u32 = 1000;
    const SHORT: usize = 16;
    rules > MANY && text < SHORT * rules as usize
}

/// Adds a rule. Of many lines on end that nobody understands the last ones are left out: what they may do, those before
/// them may do. The rules after them are counted on from where they stand.
fn push(rules: &mut Vec<NftRule>, rule: NftRule) {
    const MOST: usize = 64;
    let is_unread = |rule: &NftRule| matches!(*rule.statements, [Statement::Unread(_)]);
    if is_unread(&rule) && rules.len() >= MOST && rules.iter().rev().take(MOST).all(is_unread) {
        return;
    }
    grow(rules);
    rules.push(rule);
}

/// Makes room for one more. To double the room of very many would take more than they do.
fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 4 + 4);
    }
}

/// A table without chains.
fn new_table(family: NftFamily, name: &str, iptables: bool, evidence: Evidence) -> NftTable {
    NftTable {
        family,
        name: name.to_owned(),
        iptables,
        printed_by_iptables: false,
        bases_alone: None,
        dormant: false,
        chains: Vec::new(),
        sets: Vec::new(),
        objects: Vec::new(),
        synproxies: Vec::new(),
        quotas: Vec::new(),
        names: TableNames::default(),
        unread: None,
        evidence,
    }
}

/// A family by nft's word.
pub(super) fn nft_family(word: &str) -> Option<NftFamily> {
    match word {
        "ip" => Some(NftFamily::Ip),
        "ip6" => Some(NftFamily::Ip6),
        "inet" => Some(NftFamily::Inet),
        "arp" => Some(NftFamily::Arp),
        "bridge" => Some(NftFamily::Bridge),
        "netdev" => Some(NftFamily::Netdev),
        _ => None,
    }
}

/// A hook by nft's word.
fn nft_hook(word: &str) -> Option<Hook> {
    match word {
        "prerouting" => Some(Hook::Prerouting),
        "input" => Some(Hook::Input),
        "forward" => Some(Hook::Forward),
        "output" => Some(Hook::Output),
        "postrouting" => Some(Hook::Postrouting),
        "ingress" => Some(Hook::Ingress),
        "egress" => Some(Hook::Egress),
        _ => None,
    }
}

/// A policy by its word.
fn policy(word: &str) -> ChainPolicy {
    match word {
        "accept" => ChainPolicy::Accept,
        "drop" => ChainPolicy::Drop,
        _ => ChainPolicy::Unknown,
    }
}

#[cfg(test)]
mod tests;
