//! nft's own tables, as `nft list ruleset` prints them: chains, sets and rules as typed expressions.
//!
//! A field of a register is a number (`u128`): an address, a port, a mark, a device's name as 16 bytes. So every
//! comparison of the kernel is one of numbers, and a concatenation is a list of them.

mod chain;
mod expr;
mod set;
mod statement;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::evidence::Text;
use crate::net::{Family, Hook};

use super::UnreadRules;

pub use chain::{ChainKind, NftChain, NftHook, NftRule, NftTable, TableNames};
pub use expr::{
    Asks, BitOp, Constant, CtKey, Expr, Exthdr, Fib, FibResult, Header, HeaderField, MetaKey, NumgenMode, Operand,
    PayloadBase, RelOp, Relation, RtKey,
};
pub use set::{Data, Element, NftSet, SetKind, SetRef};
pub use statement::{
    Beside, ChainRef, CopyTo, DynOp, NatKind, NftAside, NftDynset, NftFwd, NftLimit, NftNat, NftOffer, NftQuota,
    NftQuotaOf, NftReject, NftSynproxy, ObjectKind, Rewritten, Statement, Verdict as NftVerdict,
};

/// A name's place by the name, with a hash that no input can be tuned against.
pub(crate) type Names = HashMap<Arc<str>, u32, foldhash::quality::RandomState>;

/// How many chains may be between a base chain and the end (`NFT_JUMP_STACK_SIZE`, of which the base chain takes one).
pub(crate) const DEEPEST: u32 = 15;

/// What `nft list ruleset` holds.
#[derive(Clone, Debug, Default)]
pub struct Nft {
    /// The tables, in the order of the file.
    pub tables: Vec<NftTable>,
    /// Set where a part of it could not be read that may be a table.
    pub unread: Option<UnreadRules>,
    /// The text that the rules stand in: the file's, or of a JSON file what it says in the text form.
    pub(crate) text: Option<Text>,
    /// The places of the base chains, and what the rules make the namespace do: they are asked for at every hook.
    pub(crate) known: OnceLock<Known>,
}

/// A chain's place in the listing: its table's, and its own in the table. Tables stand there in the order in which they
/// were made, and so do a table's chains (`nf_tables_dump_tables` in `net/netfilter/nf_tables_api.c`).
pub type ChainPlace = (u32, u32);

/// What nft lists of a base chain that `iptables-save` printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printed {
    /// It stands there.
    At(ChainPlace),
    /// The kernel has no such chain.
    Absent,
}

/// What a whole listing comes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Table and chain of each base chain that sees packets, in the order in which chains of one priority are called.
    bases: Vec<ChainPlace>,
    /// Those of the tables that `iptables-save` printed too.
    printed: Vec<ChainPlace>,
    /// The families that have a nat chain, and those whose connections are tracked.
    nat: Vec<NftFamily>,
    tracked: Vec<NftFamily>,
    /// Those that have a transparent proxy.
    proxied: Vec<NftFamily>,
}

/// A family of nft's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum NftFamily {
    Ip,
    Ip6,
    Inet,
    Arp,
    Bridge,
    Netdev,
}

impl NftFamily {
    /// nft's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }

    /// The tables that are of a packet's family alone.
    #[must_use]
    pub fn of(family: Family) -> Self {
        match family {
            Family::Inet => Self::Ip,
            Family::Inet6 => Self::Ip6,
        }
    }

    /// Whether its chains see packets of a family at the IP hooks.
    #[must_use]
    pub fn sees(self, family: Family) -> bool {
        self == Self::Inet || self == Self::of(family)
    }
}

impl Nft {
    /// The base chains of some families at a hook in the order in which the kernel calls them: by priority, and of one
    /// priority the one that was made last first (`nf_hook_entries_grow` in `net/netfilter/core.c`).
    #[must_use]
    pub fn base_chains(&self, families: &[NftFamily], hook: Hook) -> Vec<(ChainPlace, &NftTable, &NftChain)> {
        let mut found: Vec<_> = self
            .known()
            .bases
            .iter()
            .filter_map(|place| {
                let (table, chain) = self.chain(*place)?;
                Some((*place, table, chain))
            })
            .filter(|(_, table, _)| families.contains(&table.family))
            .filter(|(_, _, chain)| chain.hook.as_ref().is_some_and(|at| at.hook.is_none_or(|at| at == hook)))
            .collect();
        found.sort_by_key(|(_, _, chain)| chain.hook.as_ref().and_then(|hook| hook.priority));
        found
    }

    /// The base chain at a hook of a table that `iptables-save` printed too. `None` where no such table is listed, and
    /// [`Printed::Absent`] where it has no chain at the hook: iptables-nft makes it once it needs it.
    #[must_use]
    pub fn printed(&self, family: NftFamily, name: &str, hook: Hook) -> Option<Printed> {
        let table = self.tables.iter().find(|table| table.family == family && table.name == name)?;
        if !table.printed_by_iptables || table.chains.iter().any(|chain| chain.open.is_some()) {
            return None;
        }
        let here = self.known().printed.iter().find(|place| {
            let of = |(found, chain): (&NftTable, &NftChain)| {
                std::ptr::eq(found, table) && chain.hook.as_ref().is_some_and(|at| at.hook == Some(hook))
            };
            self.chain(**place).is_some_and(of)
        });
        Some(here.map_or(Printed::Absent, |place| Printed::At(*place)))
    }

    /// The chain at a place, and its table.
    #[must_use]
    pub fn chain(&self, (table, chain): ChainPlace) -> Option<(&NftTable, &NftChain)> {
        let table = self.tables.get(table as usize)?;
        Some((table, table.chains.get(chain as usize)?))
    }

    /// Whether a table of the rule set has a chain that translates addresses of a family.
    #[must_use]
    pub fn has_nat(&self, family: Family) -> bool {
        self.known().nat.iter().any(|table| table.sees(family))
    }

    /// Whether a table has a transparent proxy, for which pieces are put together (`nft_tproxy_init` in
    /// `net/netfilter/nft_tproxy.c`).
    pub(super) fn has_proxy(&self, family: Family) -> bool {
        self.known().proxied.iter().any(|table| table.sees(family))
    }

    pub(super) fn needs_conntrack(&self, family: Family) -> bool {
        self.known().tracked.iter().any(|table| table.sees(family))
    }

    fn known(&self) -> &Known {
        self.known.get_or_init(|| {
            let mut known = Known::default();
            for (place, table) in (0u32..).zip(&self.tables) {
                let bases = (0u32..).zip(&table.chains).filter(|(_, chain)| chain.hook.is_some());
                let bases = bases.map(|(chain, _)| (place, chain));
                if table.printed_by_iptables {
                    known.printed.extend(bases);
                    continue;
                }
                if !table.dormant {
                    known.bases.extend(bases);
                }
                let nat = table.chains.iter().any(|chain| chain.kind() == Some(ChainKind::Nat));
                if nat && !table.dormant {
                    known.nat.push(table.family);
                }
                // One for a family puts that family's pieces together alone.
                let proxied = |statement: &Statement| match statement {
                    Statement::Tproxy { family, .. } => Some(family.map_or(table.family, NftFamily::of)),
                    _ => None,
                };
                let rules = table.chains.iter().flat_map(|chain| &chain.rules);
                for family in rules.flat_map(|rule| &rule.statements).filter_map(proxied) {
                    if !known.proxied.contains(&family) {
                        known.proxied.push(family);
                    }
                }
                // What helpers, timeouts and expectations are kept for is tracked, whether a rule names them or not, and so
                // is what synproxy's objects are for (`nft_ct_helper_obj_init`, `nft_ct_timeout_obj_init`,
                // `nft_ct_expect_obj_init` in `nft_ct.c`, `nft_synproxy_obj_init` in `nft_synproxy.c`).
                let of_ct = |kind: &ObjectKind| {
                    use ObjectKind::{CtExpectation, CtHelper, CtTimeout, Synproxy};
                    matches!(kind, CtHelper | CtTimeout | CtExpectation | Synproxy)
                };
                let kept = table.objects.iter().filter(|(kind, ..)| of_ct(kind)).map(|_| table.family);
                // A nat chain alone tracks nothing (`nft_chain_nat.c`), and is then not asked.
                let rules = table.chains.iter().flat_map(|chain| &chain.rules);
                for family in rules.filter_map(|rule| rule.tracks).chain(kept) {
                    if !known.tracked.contains(&family) {
                        known.tracked.push(family);
                    }
                }
            }
            known.bases.reverse();
            known
        })
    }

    /// A rule as written, on one line.
    #[must_use]
    pub fn rule_text(&self, rule: &NftRule) -> String {
        let text = self.text.as_ref().and_then(|text| text.get(rule.start as usize..rule.end as usize)).unwrap_or("");
        if !text.contains(['\n', '\t']) {
            return text.to_owned();
        }
        text.split_ascii_whitespace().fold(String::with_capacity(text.len()), |mut line, word| {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            line
        })
    }
}
