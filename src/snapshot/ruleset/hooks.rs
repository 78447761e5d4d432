//! What the kernel calls at each of netfilter's hooks, and in which order.
//!
//! Follows `nf_hook_entries_grow` in `net/netfilter/core.c` and `enum nf_ip_hook_priorities` in
//! `include/uapi/linux/netfilter_ipv4.h`.

use crate::net::{Family, Hook};

use super::nft::{ChainKind, ChainPlace, Printed};
use super::{Backend, ChainId, ChainPolicy, Netfilter, NftFamily};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookFn {
    /// A built-in chain of a table that iptables printed: the places of the rule set, of the table, and the chain.
    Table(usize, usize, ChainId),
    /// A base chain of nft's own.
    Chain(ChainPlace),
    /// Connection tracking.
    Conntrack,
    /// The nat tables and chains, which are asked from inside this one.
    Nat,
    /// The packet's connection becomes one that others are found by.
    Confirm,
}

/// One thing that is called at a hook (`struct nf_hook_entry`).
#[derive(Clone, Copy, Debug)]
pub struct HookEntry {
    /// What.
    pub call: HookFn,
    /// The lowest is called first.
    pub priority: i32,
    /// Whether there is another entry of the same hook of which nothing tells whether it comes before or after this one:
    /// of the same priority and not of the same table. Both have rules.
    pub has_rival: bool,
    /// Its place in what nft lists.
    listed: Option<ChainPlace>,
}

impl HookEntry {
    fn new(call: HookFn, priority: i32, listed: Option<ChainPlace>) -> Self {
        Self { call, priority, has_rival: false, listed }
    }

    /// Whether the kernel calls it before another one. Of one priority the hook that was registered last comes first.
    /// What nft lists was made in the order of the list, as far as it tells; the rest stands nowhere: iptables-legacy
    /// is taken to come before iptables-nft, and after nft's own chains.
    fn is_before(&self, other: &Self) -> bool {
        let later = match (self.listed, other.listed) {
            (Some(own), Some(others)) => own > others,
            _ => matches!(self.call, HookFn::Table(..)) && matches!(other.call, HookFn::Table(..)),
        };
        self.priority < other.priority || self.priority == other.priority && later
    }

    /// Whether the listing tells which of two was made first: chains of one table stand in that order.
    #[must_use]
    pub fn is_of_same_table(&self, other: &Self) -> bool {
        self.call == other.call
            || matches!((self.listed, other.listed), (Some((own, _)), Some((others, _))) if own == others)
    }
}

/// The entries of every hook, each list in the order in which they are called.
#[derive(Clone, Debug)]
pub(super) struct HookEntries {
    lists: Vec<Vec<HookEntry>>,
}

const FAMILIES: [Family; 2] = [Family::Inet, Family::Inet6];
const HOOKS: [Hook; 7] =
    [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting, Hook::Ingress, Hook::Egress];

impl HookEntries {
    pub(super) fn new(netfilter: &Netfilter) -> Self {
        let hooks = FAMILIES.into_iter().flat_map(|family| HOOKS.into_iter().map(move |hook| (family, hook)));
        let lists = hooks.flat_map(|(family, hook)| [entries(netfilter, family, hook), nat(netfilter, family, hook)]);
        Self { lists: lists.collect() }
    }

    pub(super) fn get(&self, family: Family, hook: Hook, nat: bool) -> &[HookEntry] {
        let place = (family as usize * HOOKS.len() + hook as usize) * 2 + usize::from(nat);
        self.lists.get(place).map_or(&[], Vec::as_slice)
    }
}

/// What the kernel itself has at a hook, by priority.
#[derive(Clone, Copy, Debug)]
enum Fixed {
    Table(&'static str),
    Own(HookFn),
}

fn fixed(hook: Hook) -> &'static [(i32, Fixed)] {
    const RAW: (i32, Fixed) = (-300, Fixed::Table("raw"));
    const CONNTRACK: (i32, Fixed) = (-200, Fixed::Own(HookFn::Conntrack));
    const MANGLE: (i32, Fixed) = (-150, Fixed::Table("mangle"));
    const DNAT: (i32, Fixed) = (-100, Fixed::Own(HookFn::Nat));
    const FILTER: (i32, Fixed) = (0, Fixed::Table("filter"));
    const SECURITY: (i32, Fixed) = (50, Fixed::Table("security"));
    const SNAT: (i32, Fixed) = (100, Fixed::Own(HookFn::Nat));
    const CONFIRM: (i32, Fixed) = (i32::MAX, Fixed::Own(HookFn::Confirm));
    match hook {
        Hook::Prerouting => &[RAW, CONNTRACK, MANGLE, DNAT],
        Hook::Input => &[MANGLE, FILTER, SECURITY, SNAT, CONFIRM],
        Hook::Forward => &[MANGLE, FILTER, SECURITY],
        Hook::Output => &[RAW, CONNTRACK, MANGLE, DNAT, FILTER, SECURITY],
        Hook::Postrouting => &[MANGLE, SNAT, CONFIRM],
        Hook::Ingress | Hook::Egress => &[],
    }
}

/// iptables' tables, nft's chains and the kernel's own at a hook.
fn entries(netfilter: &Netfilter, family: Family, hook: Hook) -> Vec<HookEntry> {
    let tracks = netfilter.needs_conntrack(family);
    let mut all = native_chains(netfilter, &ip_families(family), hook, |kind| kind != ChainKind::Nat);
    for (priority, fixed) in fixed(hook) {
        match fixed {
            Fixed::Table(name) => add_tables(&mut all, netfilter, (family, hook), (*priority, name)),
            Fixed::Own(call) if tracks => add(&mut all, HookEntry::new(*call, *priority, None)),
            Fixed::Own(_) => {}
        }
    }
    find_rivals(netfilter, &mut all);
    all
}

/// The nat tables and nft's nat chains at a hook (`nf_nat_inet_fn` in `net/netfilter/nf_nat_core.c`).
fn nat(netfilter: &Netfilter, family: Family, hook: Hook) -> Vec<HookEntry> {
    let priority = if matches!(hook, Hook::Input | Hook::Postrouting) { 100 } else { -100 };
    let mut all = native_chains(netfilter, &ip_families(family), hook, |kind| kind == ChainKind::Nat);
    add_tables(&mut all, netfilter, (family, hook), (priority, "nat"));
    find_rivals(netfilter, &mut all);
    all
}

/// Puts a thing before those that are called after it.
fn add(all: &mut Vec<HookEntry>, entry: HookEntry) {
    let place = all.iter().position(|other| entry.is_before(other)).unwrap_or(all.len());
    all.insert(place, entry);
}

/// Adds the tables of a name of both backends.
fn add_tables(
    all: &mut Vec<HookEntry>,
    netfilter: &Netfilter,
    (family, hook): (Family, Hook),
    (priority, name): (i32, &str),
) {
    for backend in [Backend::Nft, Backend::Legacy] {
        let is_of = |(_, ruleset): &(usize, &super::Ruleset)| (ruleset.family, ruleset.backend) == (family, backend);
        let Some((place, ruleset)) = netfilter.rulesets.iter().enumerate().find(is_of) else { continue };
        let Some((of, table)) = ruleset.tables.iter().enumerate().find(|(_, table)| *table.name == *name) else {
            continue;
        };
        let Some(id) = table.base_chain_id(hook) else { continue };
        let unused = table.chain(id).is_some_and(|chain| chain.is_empty() && chain.policy == ChainPolicy::Accept);
        let nft = netfilter.nft.as_ref().filter(|_| backend == Backend::Nft);
        let listed = match nft.and_then(|nft| nft.printed(NftFamily::of(family), name, hook)) {
            Some(Printed::At(place)) => Some(place),
            // `iptables-save` prints every chain that a table can have, also those that nobody has used yet.
            Some(Printed::Absent) if unused => continue,
            _ => None,
        };
        add(all, HookEntry::new(HookFn::Table(place, of, id), priority, listed));
    }
}

/// The chains of devices or bridges at a hook.
pub(super) fn frame_entries(netfilter: &Netfilter, families: &[NftFamily], hook: Hook) -> Vec<HookEntry> {
    let mut all = native_chains(netfilter, families, hook, |_| true);
    find_rivals(netfilter, &mut all);
    all
}

/// The families of nft whose chains see an IP family's packets at the hooks of the stack.
fn ip_families(family: Family) -> [NftFamily; 2] {
    [NftFamily::of(family), NftFamily::Inet]
}

/// nft's own base chains at a hook, of some types.
fn native_chains(
    netfilter: &Netfilter,
    families: &[NftFamily],
    hook: Hook,
    is_wanted: impl Fn(ChainKind) -> bool,
) -> Vec<HookEntry> {
    let Some(nft) = &netfilter.nft else { return Vec::new() };
    let entry = |(place, _, chain): (ChainPlace, _, &super::NftChain)| {
        let hook = chain.hook.as_ref().filter(|hook| is_wanted(hook.kind))?;
        Some(HookEntry::new(HookFn::Chain(place), hook.priority.unwrap_or(i32::MIN), Some(place)))
    };
    nft.base_chains(families, hook).into_iter().filter_map(entry).collect()
}

/// Finds the entries whose order is not known. Entries of one priority stand together.
fn find_rivals(netfilter: &Netfilter, all: &mut [HookEntry]) {
    for group in all.chunk_by_mut(|one, next| one.priority == next.priority) {
        let with_rules: Vec<HookEntry> =
            group.iter().copied().filter(|entry| netfilter.has_rules(entry.call)).collect();
        // One differs from some other as soon as any two differ.
        let differ = with_rules.iter().any(|other| with_rules.iter().take(1).any(|one| !one.is_of_same_table(other)));
        for entry in group.iter_mut().filter(|entry| netfilter.has_rules(entry.call)) {
            entry.has_rival = differ;
        }
    }
}
