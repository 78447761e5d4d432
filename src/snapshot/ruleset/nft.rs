//! nft's own tables, as `nft list ruleset` prints them. Their rules are kept as text: they are not evaluated, and a
//! base chain that could end or change a packet says so.

use crate::evidence::Evidence;
use crate::net::Family;
use crate::net::Hook;

use super::ChainPolicy;

/// What `nft list ruleset` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nft {
    /// The tables, in the order of the file.
    pub tables: Vec<NftTable>,
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
}

/// A table of nft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftTable {
    /// Its family.
    pub family: NftFamily,
    /// Its name.
    pub name: String,
    /// Whether iptables-nft keeps it, as nft's warning says.
    pub iptables: bool,
    /// Whether `iptables-save` printed it too: it runs once, with its evidence there.
    pub printed_by_iptables: bool,
    /// `flags dormant`: it sees no packets.
    pub dormant: bool,
    /// Its chains, in the order of the file.
    pub chains: Vec<NftChain>,
    /// The line that names it.
    pub evidence: Evidence,
}

/// A chain of nft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftChain {
    /// Its name.
    pub name: String,
    /// Where it is called; `None` for a chain that only rules jump to.
    pub hook: Option<NftHook>,
    /// Its rules, in order.
    pub rules: Vec<NftRule>,
    /// The line that names it.
    pub evidence: Evidence,
}

/// Where a base chain is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftHook {
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// The hook; `None` for one that flowtrace doesn't know.
    pub hook: Option<Hook>,
    /// The priority, lowest first; `None` where it can't be read.
    pub priority: Option<i32>,
    /// The devices of an ingress or egress chain; empty where they aren't given.
    pub devices: Vec<String>,
    /// What becomes of a packet at its end.
    pub policy: ChainPolicy,
    /// The line that says so.
    pub evidence: Evidence,
}

/// A rule of nft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftRule {
    /// The rule as written, without the handle; its expressions in a JSON file.
    pub text: String,
    /// Whether its own statements can end a packet's way or change the packet.
    pub acts: bool,
    /// Whether it makes the namespace track connections (`nft_ct_get_init` in `net/netfilter/nft_ct.c`).
    pub tracks: bool,
    /// The chains that it leads to.
    pub jumps: Vec<String>,
    /// The line that says so.
    pub evidence: Evidence,
}

impl NftTable {
    /// Whether a base chain of this table can end or change a packet.
    #[must_use]
    pub fn can_matter(&self, chain: &NftChain) -> bool {
        let policy = chain.hook.as_ref().map(|hook| hook.policy);
        policy != Some(ChainPolicy::Accept)
            || self.reached(chain).iter().flat_map(|chain| &chain.rules).any(|rule| rule.acts)
    }

    /// A chain and those that its rules lead to.
    fn reached<'t>(&'t self, chain: &'t NftChain) -> Vec<&'t NftChain> {
        let mut reached = vec![chain];
        let mut at = 0;
        while let Some(chain) = reached.get(at).copied() {
            let names: Vec<&String> = chain.rules.iter().flat_map(|rule| &rule.jumps).collect();
            let next = self.chains.iter().filter(|next| names.contains(&&next.name));
            let new: Vec<&NftChain> = next.filter(|next| !reached.iter().any(|old| old.name == next.name)).collect();
            reached.extend(new);
            at += 1;
        }
        reached
    }

    fn is_seen(&self) -> bool {
        !self.dormant && !self.printed_by_iptables
    }
}

impl Nft {
    /// The base chains that see a family's packets at a hook and can end or change one, by priority.
    #[must_use]
    pub fn base_chains(&self, family: Family, hook: Hook) -> Vec<(&NftTable, &NftChain)> {
        match hook {
            Hook::Ingress | Hook::Egress => self.base_chains_of(&[NftFamily::Inet, NftFamily::Netdev], hook),
            _ => self.base_chains_of(&[NftFamily::of(family), NftFamily::Inet], hook),
        }
    }

    /// The base chains of some families at a hook that can end or change a packet, by priority.
    #[must_use]
    pub fn base_chains_of(&self, families: &[NftFamily], hook: Hook) -> Vec<(&NftTable, &NftChain)> {
        let mut found: Vec<_> = self
            .tables
            .iter()
            .filter(|table| table.is_seen() && families.contains(&table.family))
            .flat_map(|table| table.chains.iter().map(move |chain| (table, chain)))
            .filter(|(_, chain)| chain.hook.as_ref().is_some_and(|at| at.hook.is_none_or(|at| at == hook)))
            .filter(|(table, chain)| table.can_matter(chain))
            .collect();
        found.sort_by_key(|(_, chain)| chain.hook.as_ref().and_then(|hook| hook.priority));
        found
    }

    pub(super) fn needs_conntrack(&self, family: Family) -> bool {
        let tables = self.tables.iter().filter(|table| !table.printed_by_iptables);
        tables
            .filter(|table| table.family == NftFamily::of(family) || table.family == NftFamily::Inet)
            .flat_map(|table| &table.chains)
            .any(|chain| chain.rules.iter().any(|rule| rule.tracks))
    }
}
