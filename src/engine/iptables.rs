//! The walk through one table's chains.
//!
//! Follows `ipt_do_table` in `net/ipv4/netfilter/ip_tables.c`; `nft_do_chain` in `net/netfilter/nf_tables_core.c` walks
//! the chains of iptables-nft the same way.

use crate::evidence::{Evidence, Gap};
use crate::net::{Family, Mark, Protocol};
use crate::snapshot::{Backend, Chain, ChainId, ChainPolicy, PacketKey, Rule, Ruleset, Table};
use crate::trace::{Decision, EndCause, Hook, Reason, RuleVerdict, Verdict};

use super::end::{End, Stage};
use super::matches;
use super::netfilter::{HookState, NfVerdict};
use super::nft::JUMP_STACK;
use super::targets::{self, Action};
use super::walk::Walk;

/// How many rules may be tried in one table before the walk gives up.
const MAX_TRIED: u32 = 5_000_000;

/// How deep chains may call each other before the walk gives up: `ip_tables` itself has room for all chains of a table.
const MAX_DEPTH: usize = 1 << 12;

/// The end at a rule that leads back to a chain from which it was come to, and the same in words.
pub(super) fn circle(table: &str, chain: &str) -> (Box<End>, String) {
    let cause = EndCause::Circle { table: table.escape_debug().to_string(), chain: chain.escape_debug().to_string() };
    let what = cause.to_string();
    (End::new(Verdict::Undetermined, Reason::TooLong).cause(cause), what)
}

/// The end at a rule that leads to a chain deeper than any that nf_tables loads (`nft_chain_validate`).
pub(super) fn too_deep(chain: &str) -> (Box<End>, String) {
    let chain = chain.escape_debug();
    let what = format!("the chain {chain} lies deeper than the kernel lets chains call each other");
    (End::undetermined(Reason::NotModelled, what.clone()), what)
}

/// Asks a table's base chain.
pub(super) fn ipt_do_table(
    walk: &mut Walk,
    ruleset: &Ruleset,
    table: &Table,
    base: &Chain,
    state: &HookState,
) -> Stage<NfVerdict> {
    if let Some(why) = &table.assumed {
        walk.doubt(why.clone(), None);
    }
    let mut asked =
        Asked { ruleset, table, state, base, chain: base, place: 0, stack: Vec::new(), path: vec![base], tried: 0 };
    loop {
        if let Some(verdict) = asked.step(walk)? {
            return Ok(verdict);
        }
    }
}

/// A table that is being asked: the rule that comes next, and where the calling chains go on.
struct Asked<'r> {
    ruleset: &'r Ruleset,
    table: &'r Table,
    state: &'r HookState,
    base: &'r Chain,
    chain: &'r Chain,
    /// The next rule's place in the chain, from 0.
    place: u32,
    stack: Vec<(&'r Chain, u32, usize)>,
    /// The chains that led here, those among them that were left by `-g` too.
    path: Vec<&'r Chain>,
    tried: u32,
}

impl Asked<'_> {
    /// Tries the next rule, or ends the chain.
    fn step(&mut self, walk: &mut Walk) -> Stage<Option<NfVerdict>> {
        self.tried += 1;
        if self.tried > MAX_TRIED || walk.too_long() {
            let cause = EndCause::EndlessChains(self.table.name.to_string());
            return Err(End::new(Verdict::Undetermined, Reason::TooLong).cause(cause).because([self.chain.evidence]));
        }
        let rules = self.ruleset.rules(self.table, self.chain);
        let Some(rule) = rules.next(self.place, &key(walk, self.ruleset.backend)) else {
            self.pass_by(walk, u32::try_from(rules.all().len()).unwrap_or(u32::MAX));
            return self.end_of_chain(walk);
        };
        self.pass_by(walk, rule.index - 1);
        self.place = rule.index;
        let Some(because) = matches::matches(walk, self.ruleset, self.state, rule) else {
            walk.tried(rule.evidence);
            return Ok(None);
        };
        self.act(walk, rule, because)
    }

    /// Notes the rules that the index left out as tried.
    fn pass_by(&self, walk: &mut Walk, to: u32) {
        if walk.verbose {
            let skipped = self.ruleset.rules(self.table, self.chain).all().get(self.place as usize..to as usize);
            skipped.unwrap_or(&[]).iter().for_each(|rule| walk.tried(rule.evidence));
        }
    }

    /// The rule matched.
    fn act(&mut self, walk: &mut Walk, rule: &Rule, because: Vec<Evidence>) -> Stage<Option<NfVerdict>> {
        let record = Record { asked: self, rule, because };
        match targets::apply(walk, self.state, rule, &record)? {
            Action::Continue => {}
            Action::Accept => return Ok(Some(NfVerdict::Accept)),
            Action::Return => return self.leave(walk),
            Action::Jump(id) => {
                self.stack.push((self.chain, self.place, self.path.len()));
                self.enter(walk, id, rule)?;
            }
            Action::Goto(id) => self.enter(walk, id, rule)?,
        }
        Ok(None)
    }

    /// Into a chain, unless the kernel refuses the rules: it loads no circle, and what iptables-nft loads is no deeper
    /// than any chains of nft. `ip_tables` makes room for all chains of a table (`mark_source_chains`, `stacksize`).
    fn enter(&mut self, walk: &mut Walk, id: ChainId, rule: &Rule) -> Stage<()> {
        let Some(next) = self.table.chain(id) else { return Ok(()) };
        let is_nft = self.ruleset.backend == Backend::Nft;
        let (end, what) = if self.path.iter().any(|open| std::ptr::eq(*open, next)) {
            circle(&self.table.name, &next.name)
        } else if is_nft && self.path.len() >= JUMP_STACK {
            too_deep(&next.name)
        } else if self.path.len() >= MAX_DEPTH {
            let cause = EndCause::EndlessChains(self.table.name.to_string());
            return Err(End::new(Verdict::Undetermined, Reason::TooLong).cause(cause).because([rule.evidence]));
        } else {
            self.path.push(next);
            (self.chain, self.place) = (next, 0);
            return Ok(());
        };
        walk.add_gap(Gap::new(what, vec![rule.evidence]).at(self.ruleset.jump_column(rule)));
        Err(end.because([rule.evidence]))
    }

    fn end_of_chain(&mut self, walk: &mut Walk) -> Stage<Option<NfVerdict>> {
        if let Some(line) = self.chain.open {
            let name = self.chain.name.escape_debug();
            let file = walk.snapshot.files.path(line);
            walk.doubt(format!("{file} may lack rules at the end of chain {name}"), Some(line));
        }
        self.leave(walk)
    }

    /// Back to the chain that jumped here, or to the base chain's policy.
    fn leave(&mut self, walk: &mut Walk) -> Stage<Option<NfVerdict>> {
        if let Some((chain, place, open)) = self.stack.pop() {
            self.path.truncate(open);
            (self.chain, self.place) = (chain, place);
            return Ok(None);
        }
        let drops = match self.base.policy {
            ChainPolicy::Drop => true,
            ChainPolicy::Accept | ChainPolicy::Return => false,
            // Nobody can give a nat chain another policy than ACCEPT (`do_command` in iptables).
            ChainPolicy::Unknown if &*self.table.name == "nat" => false,
            ChainPolicy::Unknown => {
                let what = format!("the policy of chain {} of table {}", self.base.name, self.table.name);
                walk.choose_unknown(format!("{what} is DROP"), Some(self.base.evidence))
            }
        };
        self.policy(walk, if drops { RuleVerdict::Drop } else { RuleVerdict::Accept });
        if drops {
            return Err(End::dropped(Reason::Policy).because([self.base.evidence]));
        }
        Ok(Some(NfVerdict::Accept))
    }

    fn policy(&self, walk: &mut Walk, verdict: RuleVerdict) {
        let decision = Decision::Policy {
            hook: self.state.hook,
            family: family(self.state.family),
            backend: self.ruleset.backend.as_str(),
            table: self.table.name.to_string(),
            chain: self.base.name.to_string(),
            verdict,
        };
        walk.take(decision, [self.base.evidence]);
    }
}

/// Records that a rule matched, once its target knows what it does.
pub(super) struct Record<'a, 'r> {
    asked: &'a Asked<'r>,
    rule: &'a Rule,
    because: Vec<Evidence>,
}

/// What a rule changes in the packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub mark: Option<Mark>,
    pub tos: Option<u8>,
    pub ttl: Option<u8>,
    pub flags: Option<u8>,
    pub length: Option<u32>,
}

impl Record<'_, '_> {
    /// The rule's step.
    pub(super) fn take(&self, walk: &mut Walk, verdict: RuleVerdict, change: Change) {
        let Asked { ruleset, table, state, chain, .. } = self.asked;
        let decision = Decision::Rule {
            hook: state.hook,
            family: family(state.family),
            backend: ruleset.backend.as_str(),
            table: table.name.to_string(),
            chain: chain.name.to_string(),
            index: self.rule.index,
            text: ruleset.rule_text(self.rule).to_owned(),
            verdict,
            mark: change.mark,
            tos: change.tos,
            ttl: change.ttl,
            flags: change.flags,
            length: change.length,
        };
        walk.take(decision, self.because.iter().copied());
    }

    /// The rule as written.
    pub(super) fn text(&self) -> &str {
        self.asked.ruleset.rule_text(self.rule)
    }

    /// The table's name and the hook, which some targets depend on.
    pub(super) fn hook(&self) -> Hook {
        self.asked.state.hook
    }
}

fn family(family: Family) -> &'static str {
    match family {
        Family::Inet => "ip",
        Family::Inet6 => "ip6",
    }
}

/// The protocol as a backend has it: nf_tables takes an authentication header of IPv6 for it.
pub(super) fn protocol(walk: &Walk, backend: Backend) -> Protocol {
    match backend {
        Backend::Nft => walk.packet().nft_protocol(),
        Backend::Legacy => walk.packet().protocol(),
    }
}

fn key(walk: &Walk, backend: Backend) -> PacketKey {
    let packet = walk.packet();
    PacketKey {
        source: packet.ip.source,
        destination: packet.ip.destination,
        protocol: protocol(walk, backend),
        destination_port: packet.destination_port(),
    }
}
