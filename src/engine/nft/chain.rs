//! The walk through the chains of one base chain (`nft_do_chain` in `net/netfilter/nf_tables_core.c`).

use crate::snapshot::nft::{ChainRef, NftVerdict};
use crate::snapshot::{ChainPolicy, NftChain, NftRule};
use crate::trace::{Decision, EndCause, Reason, RuleVerdict, Verdict};

use super::super::end::{End, Stage};
use super::super::walk::Walk;
use super::Pktinfo;
use super::statement::Run;

/// How deep chains may call each other (`NFT_JUMP_STACK_SIZE`); the kernel loads nothing deeper.
const MAX_DEPTH: usize = 16;
/// How many rules may be tried in one base chain before the walk gives up.
const MAX_TRIED: u32 = 5_000_000;

/// A base chain that is being asked: the rule that comes next, and where the calling chains go on.
pub(super) struct Asked<'a> {
    info: Pktinfo<'a>,
    base: &'a NftChain,
    chain: &'a NftChain,
    /// The next rule's place in the chain, from 0.
    place: usize,
    stack: Vec<(&'a NftChain, usize)>,
    tried: u32,
}

impl<'a> Asked<'a> {
    pub(super) fn new(info: Pktinfo<'a>, base: &'a NftChain) -> Self {
        Self { info, base, chain: base, place: 0, stack: Vec::new(), tried: 0 }
    }

    /// To the end of the base chain.
    pub(super) fn run(mut self, walk: &mut Walk) -> Stage<()> {
        loop {
            self.tried += 1;
            if self.stack.len() > MAX_DEPTH || self.tried > MAX_TRIED || walk.too_long() {
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
        let index = u32::try_from(self.place).unwrap_or(u32::MAX);
        let verdict = Run::new(self.info, self.chain, rule, index).run(walk)?;
        match verdict {
            None => walk.tried(rule.evidence),
            Some(NftVerdict::Accept) => return Ok(true),
            Some(NftVerdict::Return) => return self.leave(walk),
            Some(NftVerdict::Jump(chain)) => {
                self.stack.push((self.chain, self.place));
                self.enter(chain, rule)?;
            }
            Some(NftVerdict::Goto(chain)) => self.enter(chain, rule)?,
            Some(NftVerdict::Continue | NftVerdict::Drop | NftVerdict::Queue(_)) => {}
        }
        Ok(false)
    }

    fn enter(&mut self, chain: ChainRef, rule: &NftRule) -> Stage<()> {
        let Some(next) = self.info.table.chain(chain) else {
            let name = self.info.table.chain_name(chain).escape_debug();
            let what = format!("the chain {name}, which a rule leads to, is not in the file");
            return Err(End::undetermined(Reason::NotModelled, what).because([rule.evidence]));
        };
        (self.chain, self.place) = (next, 0);
        Ok(())
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
        if let Some((chain, place)) = self.stack.pop() {
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
