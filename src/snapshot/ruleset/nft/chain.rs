//! Tables, chains and rules of nft.

use std::sync::Arc;

use crate::evidence::Evidence;
use crate::net::Hook;

use super::{ChainRef, Names, NftFamily, NftQuota, NftSet, NftSynproxy, ObjectKind, Statement};
use crate::snapshot::ChainPolicy;

/// A table of nft.
#[derive(Clone, Debug)]
pub struct NftTable {
    /// Its family.
    pub family: NftFamily,
    /// Its name.
    pub name: String,
    /// Whether iptables-nft keeps it, as nft's warning says.
    pub iptables: bool,
    /// Whether `iptables-save` printed it too: it runs once, with its evidence there.
    pub printed_by_iptables: bool,
    /// How many rules it has, where only its base chains are listed, since `collect` wrote all of it into `iptables-save`.
    pub bases_alone: Option<usize>,
    /// `flags dormant`: it sees no packets.
    pub dormant: bool,
    /// Its chains, in the order of the file.
    pub chains: Vec<NftChain>,
    /// Its named sets and maps, in the order of the file.
    pub sets: Vec<NftSet>,
    /// Its other named objects.
    pub objects: Vec<(ObjectKind, Arc<str>, Evidence)>,
    /// What those of `synproxy` offer.
    pub synproxies: Vec<(Arc<str>, NftSynproxy)>,
    /// What those of `quota` allow.
    pub quotas: Vec<(Arc<str>, NftQuota)>,
    /// The names that rules call chains and sets by.
    pub names: TableNames,
    /// Set where a part of it could not be read that may be a chain: its line.
    pub unread: Option<Evidence>,
    /// The line that names it.
    pub evidence: Evidence,
}

/// Names of a table: a rule may name a chain or a set before the file shows it.
#[derive(Clone, Debug, Default)]
pub struct TableNames {
    /// The names of chains that were mentioned.
    pub(crate) mentioned: Vec<Arc<str>>,
    /// Where a mentioned chain is in [`NftTable::chains`], once the whole table has been read.
    pub(crate) chains: Vec<Option<u32>>,
    pub(crate) sets: Names,
}

impl TableNames {
    /// Where a chain that a rule calls is in the table.
    pub(crate) fn chain(&self, chain: ChainRef) -> Option<u32> {
        *self.chains.get(chain.0 as usize)?
    }

    /// Where a set is in the table.
    pub(crate) fn set(&self, name: &str) -> Option<u32> {
        self.sets.get(name).copied()
    }
}

impl NftTable {
    /// Whether iptables-nft keeps it: nft says so, or its name and those of its base chains are iptables' own.
    #[must_use]
    pub fn is_of_iptables(&self) -> bool {
        let named = matches!(self.family, NftFamily::Ip | NftFamily::Ip6)
            && matches!(&*self.name, "raw" | "mangle" | "nat" | "filter" | "security");
        self.iptables || named && self.has_old_chains()
    }

    /// Whether ebtables-nft keeps it.
    #[must_use]
    pub fn is_of_ebtables(&self) -> bool {
        let named = matches!(&*self.name, "broute" | "nat" | "filter");
        self.family == NftFamily::Bridge && (self.iptables || named && self.has_old_chains())
    }

    /// Whether its base chains have iptables' names.
    fn has_old_chains(&self) -> bool {
        let base = |chain: &&NftChain| chain.hook.is_some();
        let own = |chain: &NftChain| {
            matches!(&*chain.name, "BROUTING" | "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING")
        };
        let mut bases = self.chains.iter().filter(base).peekable();
        bases.peek().is_some() && bases.all(own)
    }

    /// The chain that a rule calls; `None` where the table has no such chain.
    #[must_use]
    pub fn chain(&self, chain: ChainRef) -> Option<&NftChain> {
        let place = (*self.names.chains.get(chain.0 as usize)?)?;
        self.chains.get(place as usize)
    }

    /// The name by which a rule calls a chain.
    #[must_use]
    pub fn chain_name(&self, chain: ChainRef) -> &str {
        self.names.mentioned.get(chain.0 as usize).map_or("", |name| name)
    }

    /// A named set or map.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<&NftSet> {
        self.sets.get(*self.names.sets.get(name)? as usize)
    }

    /// Whether it sees packets, and runs on its own.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        !self.dormant && !self.printed_by_iptables
    }
}

/// A chain of nft.
#[derive(Clone, Debug)]
pub struct NftChain {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is called; `None` for a chain that only rules jump to.
    pub hook: Option<NftHook>,
    /// Its rules, in order.
    pub rules: Vec<NftRule>,
    /// Set where the file may lack rules at the chain's end: the last line.
    pub open: Option<Evidence>,
    /// The line that names it.
    pub evidence: Evidence,
}

impl NftChain {
    /// What kind of base chain it is.
    #[must_use]
    pub fn kind(&self) -> Option<ChainKind> {
        self.hook.as_ref().map(|hook| hook.kind)
    }
}

/// The type of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// `filter`.
    Filter,
    /// `nat`: it sees the first packet of a connection.
    Nat,
    /// `route`: a packet that it changes is routed again.
    Route,
    /// One that flowtrace doesn't know.
    Other,
}

/// Where a base chain is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftHook {
    /// `filter`, `nat` or `route`.
    pub kind: ChainKind,
    /// The hook; `None` for one that flowtrace doesn't know.
    pub hook: Option<Hook>,
    /// The priority, lowest first; `None` where it can't be read.
    pub priority: Option<i32>,
    /// The devices of an ingress or egress chain; `None` where they aren't given, as in nft 1.0.6's JSON.
    pub devices: Option<Vec<String>>,
    /// What becomes of a packet at its end.
    pub policy: ChainPolicy,
    /// The line that says so.
    pub evidence: Evidence,
}

/// A rule of nft.
#[derive(Clone, Debug)]
pub struct NftRule {
    /// What it asks and does, in order.
    pub statements: Box<[Statement]>,
    /// Of which families it makes the namespace track connections (`nft_ct_get_init` in `net/netfilter/nft_ct.c`,
    /// `nft_nat_validate` in `nft_nat.c`).
    pub tracks: Option<NftFamily>,
    /// The line that says so.
    pub evidence: Evidence,
    /// Its place in the chain, from 1.
    pub index: u32,
    /// Where it stands in the text.
    pub(crate) start: u32,
    pub(crate) end: u32,
}
