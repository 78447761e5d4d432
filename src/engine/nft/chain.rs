//! The walk through the chains of one base chain (`nft_do_chain` in `net/netfilter/nf_tables_core.c`).

use crate::evidence::Gap;
use crate::snapshot::nft::{ChainRef, NftVerdict, Statement};
use crate::snapshot::{ChainPolicy, NftChain, NftRule};
use crate::trace::{Decision, EndCause, Reason, RuleVerdict, Verdict};

use super::super::end::{End, Stage};
use super::super::iptables::{circle, too_deep};
use super::super::walk::Walk;
use super::Pktinfo;
use super::statement::Run;

/// How many chains may be open at once, the base chain among them (`NFT_JUMP_STACK_SIZE`): the kernel loads nothing
/// deeper, and `goto` counts as `jump` does (`nft_chain_validate` in `net/netfilter/nf_tables_api.c`).
pub(in super::super) const JUMP_STACK: usize = 16;
/// How many rules may be tried in one base chain before the walk gives up.
const MAX_TRIED: u32 = 5_000_000;

/// A base chain that is being asked: the rule that comes next, and where the calling chains go on.
pub(super) struct Asked<'a> {
    info: Pktinfo<'a>,
    base: &'a NftChain,
    chain: &'a NftChain,
    /// The next rule's place in the chain, from 0.
    place: usize,
    stack: Vec<(&'a NftChain, usize, usize)>,
    /// The chains that led here, those among them that were left by `goto` too.
    path: Vec<&'a NftChain>,
    tried: u32,
}

impl<'a> Asked<'a> {
    pub(super) fn new(info: Pktinfo<'a>, base: &'a NftChain) -> Self {
        Self { info, base, chain: base, place: 0, stack: Vec::new(), path: vec![base], tried: 0 }
    }

    /// To the end of the base chain.
    pub(super) fn run(mut self, walk: &mut Walk) -> Stage<()> {
        loop {
            self.tried += 1;
            if self.tried > MAX_TRIED || walk.too_long() {
                return Err(self.too_long());
            }
            let done = match self.chain.rules.get(self.place) {
                Some(rule) => self.rule(walk, rule)?,
                None => self.end_of_chain(walk)?,
            };
            if done {
                return Ok(());
            }
        }
    }

    /// Tries a rule. True where the base chain is done with the packet.
    fn rule(&mut self, walk: &mut Walk, rule: &'a NftRule) -> Stage<bool> {
        self.place += 1;
        let verdict = Run::new(self.info, self.chain, rule).run(walk)?;
        match verdict {
            None => walk.tried(rule.evidence),
            Some(NftVerdict::Accept) => return Ok(true),
            Some(NftVerdict::Return) => return self.leave(walk),
            Some(NftVerdict::Jump(chain)) => {
                self.stack.push((self.chain, self.place, self.path.len()));
                self.enter(walk, chain, rule)?;
            }
            Some(NftVerdict::Goto(chain)) => self.enter(walk, chain, rule)?,
            Some(NftVerdict::Continue | NftVerdict::Drop | NftVerdict::Queue(_)) => {}
        }
        Ok(false)
    }

    fn enter(&mut self, walk: &mut Walk, chain: ChainRef, rule: &NftRule) -> Stage<()> {
        let name = self.info.table.chain_name(chain);
        let refused = |what: String| (End::undetermined(Reason::NotModelled, what.clone()), what);
        let (end, what) = match self.info.table.chain(chain) {
            None => refused(format!("the chain {}, which a rule leads to, is not in the file", name.escape_debug())),
            Some(next) if next.hook.is_some() => {
                let name = name.escape_debug();
                refused(format!("a rule leads to the chain {name}, which is at a hook: the kernel refuses that"))
            }
            Some(next) if self.path.iter().any(|open| std::ptr::eq(*open, next)) => circle(&self.info.table.name, name),
            Some(_) if self.path.len() >= JUMP_STACK => too_deep(name),
            Some(next) => {
                self.path.push(next);
                (self.chain, self.place) = (next, 0);
                return Ok(());
            }
        };
        let column = rule.statements.iter().find_map(|one| match one {
            Statement::Refused(refused) => Some(refused.column),
            _ => None,
        });
        walk.add_gap(Gap::new(what, vec![rule.evidence]).at(column));
        Err(end.because([rule.evidence]))
    }

    fn end_of_chain(&mut self, walk: &mut Walk) -> Stage<bool> {
        if let Some(line) = self.chain.open {
            let name = self.chain.name.escape_debug();
            let file = walk.snapshot.files.path(line);
            walk.doubt(format!("{file} may lack rules at the end of chain {name}"), Some(line));
        }
        self.leave(walk)
    }

    /// Back to the chain that jumped here, or to the base chain's policy.
    fn leave(&mut self, walk: &mut Walk) -> Stage<bool> {
        if let Some((chain, place, open)) = self.stack.pop() {
            self.path.truncate(open);
            (self.chain, self.place) = (chain, place);
            return Ok(false);
        }
        let Some(hook) = &self.base.hook else { return Ok(true) };
        let drops = match hook.policy {
            ChainPolicy::Drop => true,
            ChainPolicy::Accept | ChainPolicy::Return => false,
            ChainPolicy::Unknown => {
                let what = format!("the policy of chain {} of table {}", self.base.name, self.info.table.name);
                walk.choose_unknown(format!("{what} is drop"), Some(hook.evidence))
            }
        };
        let decision = Decision::Policy {
            hook: self.info.state.hook,
            family: self.info.table.family.as_str(),
            backend: "nft",
            table: self.info.table.name.clone(),
            chain: self.base.name.to_string(),
            verdict: if drops { RuleVerdict::Drop } else { RuleVerdict::Accept },
        };
        walk.take(decision, [hook.evidence]);
        if drops { Err(End::dropped(Reason::Policy).because([hook.evidence])) } else { Ok(true) }
    }

    fn too_long(&self) -> Box<End> {
        let cause = EndCause::EndlessChains(self.info.table.name.escape_debug().to_string());
        End::new(Verdict::Undetermined, Reason::TooLong).cause(cause).because([self.chain.evidence])
    }
}
