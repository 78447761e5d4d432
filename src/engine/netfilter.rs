//! Netfilter's hooks: every table of every backend, in the order of priorities.
//!
//! Follows `net/netfilter/core.c`, `include/uapi/linux/netfilter_ipv4.h` (the priorities), `nf_nat_core.c` (the nat
//! tables are asked from inside one hook) and `net/ipv4/netfilter/iptable_mangle.c`.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Mark, Protocol};
use crate::snapshot::nft::{ChainKind, ChainPlace, Printed};
use crate::snapshot::{Backend, ChainPolicy, Netns, Nft, NftChain, NftFamily, NftTable, Ruleset, Table};
use crate::trace::{CtState, Hook};

use super::conntrack::{self, Nfct};
use super::iptables::ipt_do_table;
use super::nat::{self, Manip};
use super::nft;
use super::output::ip_route_me_harder;
use super::unread;
use super::walk::{End, Stage, Walk};

/// Where in the stack the rules are asked (`struct nf_hook_state`). A route that changes meanwhile doesn't change it.
#[derive(Clone, Debug)]
pub(super) struct HookState {
    pub hook: Hook,
    pub family: Family,
    pub indev: Option<IfName>,
    pub outdev: Option<IfName>,
}

/// What a table says of a packet that it lets live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NfVerdict {
    Accept,
}

/// What the kernel itself has at a hook, by priority (`enum nf_ip_hook_priorities`).
#[derive(Clone, Copy, Debug)]
enum Fixed {
    Table(&'static str),
    Conntrack,
    Nat,
    Confirm,
}

/// One thing at a hook.
#[derive(Clone, Copy, Debug)]
enum Stop<'s> {
    Table(&'s Ruleset, &'s Table),
    /// A base chain of nft's own.
    Chain(&'s Nft, &'s NftTable, &'s NftChain),
    Conntrack,
    Nat,
    Confirm,
}

/// One thing at a hook, and what orders it among the others.
#[derive(Clone, Copy, Debug)]
struct At<'s> {
    priority: i32,
    /// Its place in what nft lists.
    listed: Option<ChainPlace>,
    stop: Stop<'s>,
}

impl At<'_> {
    /// Whether the kernel calls it before another one. Of one priority the hook that was registered last comes first
    /// (`nf_hook_entries_grow`). What nft lists was made in the order of the list, as far as it tells; the rest stands
    /// nowhere: iptables-legacy is taken to come before iptables-nft, and after nft's own chains.
    fn is_before(&self, other: &Self) -> bool {
        let later = match (self.listed, other.listed) {
            (Some(own), Some(others)) => own > others,
            _ => matches!(self.stop, Stop::Table(..)) && matches!(other.stop, Stop::Table(..)),
        };
        self.priority < other.priority || self.priority == other.priority && later
    }

    /// Whether what it does could depend on what another one did.
    fn has_rules(&self) -> bool {
        match self.stop {
            Stop::Table(_, table) => !table.is_empty(),
            Stop::Chain(_, _, chain) => !chain.rules.is_empty(),
            Stop::Conntrack | Stop::Nat | Stop::Confirm => true,
        }
    }

    /// Whether the listing tells which of two was made first: chains of one table stand in that order.
    fn is_of_same_table(&self, other: &Self) -> bool {
        matches!((self.listed, other.listed), (Some((own, _)), Some((others, _))) if own == others)
    }

    fn name(&self) -> String {
        match self.stop {
            Stop::Table(ruleset, table) => format!("iptables-{}'s table {}", ruleset.backend.as_str(), table.name),
            Stop::Chain(_, table, chain) => {
                format!("nft's chain {} of table {}", chain.name.escape_debug(), table.name.escape_debug())
            }
            Stop::Conntrack | Stop::Confirm => "connection tracking".to_owned(),
            Stop::Nat => "the nat chains".to_owned(),
        }
    }

    fn evidence(&self) -> Option<Evidence> {
        match self.stop {
            Stop::Table(_, table) => Some(table.evidence),
            Stop::Chain(_, _, chain) => Some(chain.evidence),
            Stop::Conntrack | Stop::Nat | Stop::Confirm => None,
        }
    }
}

fn stops(hook: Hook) -> &'static [(i32, Fixed)] {
    const RAW: (i32, Fixed) = (-300, Fixed::Table("raw"));
    const CONNTRACK: (i32, Fixed) = (-200, Fixed::Conntrack);
    const MANGLE: (i32, Fixed) = (-150, Fixed::Table("mangle"));
    const DNAT: (i32, Fixed) = (-100, Fixed::Nat);
    const FILTER: (i32, Fixed) = (0, Fixed::Table("filter"));
    const SECURITY: (i32, Fixed) = (50, Fixed::Table("security"));
    const SNAT: (i32, Fixed) = (100, Fixed::Nat);
    const CONFIRM: (i32, Fixed) = (i32::MAX, Fixed::Confirm);
    match hook {
        Hook::Prerouting => &[RAW, CONNTRACK, MANGLE, DNAT],
        Hook::Input => &[MANGLE, FILTER, SECURITY, SNAT, CONFIRM],
        Hook::Forward => &[MANGLE, FILTER, SECURITY],
        Hook::Output => &[RAW, CONNTRACK, MANGLE, DNAT, FILTER, SECURITY],
        Hook::Postrouting => &[MANGLE, SNAT, CONFIRM],
        Hook::Ingress | Hook::Egress => &[],
    }
}

/// Asks everything at a hook (`nf_hook_slow`).
pub(super) fn nf_hook(walk: &mut Walk, hook: Hook, indev: Option<&IfName>, outdev: Option<&IfName>) -> Stage<()> {
    let family = walk.packet().family();
    let state = HookState { hook, family, indev: indev.cloned(), outdev: outdev.cloned() };
    let netns = walk.netns();
    note_missing(walk, family);
    if hook == Hook::Postrouting {
        note_no_postrouting(walk, family);
    }
    let tracks = netns.netfilter.needs_conntrack(family);
    let all = all_stops(netns, &state, tracks);
    for at in &all {
        let before = touched(walk);
        match at.stop {
            Stop::Conntrack => conntrack::nf_conntrack_in(walk),
            Stop::Nat => nf_nat_inet_fn(walk, netns, &state)?,
            Stop::Confirm => {
                conntrack::nf_conntrack_confirm(walk).map_err(|end| tell_sender(walk, &state, end))?;
            }
            _ => ask(walk, at, &state)?,
        }
        if before != touched(walk) {
            note_order(walk, &state, &all, at);
        }
    }
    Ok(())
}

/// What a chain may change that another one may ask for.
fn touched(walk: &Walk) -> (Routed, u8, Option<Mark>) {
    (routed_by(walk), walk.packet().ip.ttl, conntrack::entry(walk).map(|entry| entry.mark))
}

/// Where two chains of one priority are not of one table, the listing shows in which order their tables were made, and
/// not in which order the chains were. That counts where one of them changes or decides what the other one asks for.
fn note_order(walk: &mut Walk, state: &HookState, all: &[At<'_>], at: &At<'_>) {
    let other = all.iter().find(|other| {
        let same = other.evidence() == at.evidence() && other.name() == at.name();
        other.priority == at.priority && !same && !at.is_of_same_table(other) && at.has_rules() && other.has_rules()
    });
    let Some(other) = other else { return };
    let first = if other.is_before(at) { other } else { at };
    let what = format!(
        "{} and {} are called at {} with the same priority, {}: which one was made last, and is called first, is not \
         listed, and the walk takes it to be {}",
        at.name(),
        other.name(),
        state.hook.as_str(),
        at.priority,
        first.name()
    );
    walk.gap(what, at.evidence().into_iter().chain(other.evidence()));
}

/// The rule sets of a family, legacy first: a snapshot doesn't tell which of two hooks of one priority came first.
fn rulesets(netns: &Netns, family: Family) -> impl Iterator<Item = &Ruleset> {
    [Backend::Legacy, Backend::Nft].into_iter().filter_map(move |backend| netns.netfilter.ruleset(family, backend))
}

/// A namespace whose rules nobody collected may do anything to the packet.
fn note_missing(walk: &mut Walk, family: Family) {
    let netns = walk.netns();
    for ruleset in rulesets(netns, family).filter(|ruleset| ruleset.partial.is_some()) {
        let path = walk.snapshot.files.get(ruleset.file).map_or("", |file| file.path.as_str());
        walk.doubt(format!("{path} is an excerpt: the walk goes on as if no other chain stood there"), None);
    }
    doubt_iptables_in_nft(walk, netns, family);
    let unread = unread::doubt_rules(walk, family);
    if unread || netns.netfilter.nft.is_some() || rulesets(netns, family).next().is_some() {
        return;
    }
    let file = if family == Family::Inet { "iptables-save" } else { "ip6tables-save" };
    walk.doubt(format!("{}: the walk goes on as if no rule stood there", netns.lacks(file)), None);
}

/// An excerpt without the chain that masquerades leaves open what the receiver sees as the source.
fn note_no_postrouting(walk: &mut Walk, family: Family) {
    for ruleset in rulesets(walk.netns(), family).filter(|ruleset| ruleset.partial.is_some()) {
        if ruleset.tables.iter().all(|table| table.base_chain(Hook::Postrouting).is_none()) {
            let path = walk.snapshot.files.get(ruleset.file).map_or("", |file| file.path.as_str());
            walk.gap(format!("{path} has no chain POSTROUTING: whether the source is masqueraded is not known"), None);
        }
    }
}

/// nft doesn't print the extensions of iptables' rules, or prints nothing in their place: a table that iptables-nft
/// keeps is known by `iptables-save` alone.
fn doubt_iptables_in_nft(walk: &mut Walk, netns: &Netns, family: Family) {
    if netns.netfilter.ruleset(family, Backend::Nft).is_some() {
        return;
    }
    let mut tables = netns.netfilter.nft.iter().flat_map(|nft| &nft.tables);
    let of_iptables = |table: &&NftTable| table.family.sees(family) && table.is_seen() && table.is_of_iptables();
    let Some(table) = tables.find(of_iptables) else { return };
    let file = if family == Family::Inet { "iptables-save" } else { "ip6tables-save" };
    let name = table.name.escape_debug();
    let lacking = match unread::of_rules(walk, family, file) {
        Some(unread) => unread,
        None if netns.netfilter.ruleset(family, Backend::Legacy).is_some() => {
            format!("{}/{file} holds no rules of the nft backend", netns.dir)
        }
        None => netns.lacks(file),
    };
    let what = format!("{lacking}, and nft does not list all that a rule of iptables' table {name} says");
    walk.doubt(what, Some(table.evidence));
}

/// iptables' tables, nft's chains and the kernel's own at a hook, in the order in which they are called.
fn all_stops<'s>(netns: &'s Netns, state: &HookState, tracks: bool) -> Vec<At<'s>> {
    let mut all = native_chains(netns, state, |kind| kind != ChainKind::Nat);
    for (priority, fixed) in stops(state.hook) {
        let own = |stop| At { priority: *priority, listed: None, stop };
        match fixed {
            Fixed::Table(name) => add_tables(&mut all, netns, state, (*priority, name)),
            Fixed::Conntrack if tracks => add(&mut all, own(Stop::Conntrack)),
            Fixed::Nat if tracks => add(&mut all, own(Stop::Nat)),
            Fixed::Confirm if tracks => add(&mut all, own(Stop::Confirm)),
            _ => {}
        }
    }
    all
}

/// Puts a thing before those that are called after it.
fn add<'s>(all: &mut Vec<At<'s>>, at: At<'s>) {
    let place = all.iter().position(|other| at.is_before(other)).unwrap_or(all.len());
    all.insert(place, at);
}

/// Adds the tables of a name of both backends.
fn add_tables<'s>(all: &mut Vec<At<'s>>, netns: &'s Netns, state: &HookState, (priority, name): (i32, &str)) {
    for backend in [Backend::Nft, Backend::Legacy] {
        let Some(ruleset) = netns.netfilter.ruleset(state.family, backend) else { continue };
        let Some(table) = ruleset.table(name) else { continue };
        let Some(chain) = table.base_chain(state.hook) else { continue };
        let nft = netns.netfilter.nft.as_ref().filter(|_| backend == Backend::Nft);
        let listed = match nft.and_then(|nft| nft.printed(NftFamily::of(state.family), name, state.hook)) {
            Some(Printed::At(place)) => Some(place),
            // `iptables-save` prints every chain that a table can have, also those that nobody has used yet.
            Some(Printed::Absent) if chain.is_empty() && chain.policy == ChainPolicy::Accept => continue,
            _ => None,
        };
        add(all, At { priority, listed, stop: Stop::Table(ruleset, table) });
    }
}

/// nft's own base chains at a hook, of some types, in the order in which they are called.
fn native_chains<'s>(netns: &'s Netns, state: &HookState, of: impl Fn(ChainKind) -> bool) -> Vec<At<'s>> {
    let Some(nft) = &netns.netfilter.nft else { return Vec::new() };
    let chains = netns.netfilter.native_chains(state.family, state.hook).into_iter();
    let at = |(place, table, chain): (ChainPlace, &'s NftTable, &'s NftChain)| {
        let hook = chain.hook.as_ref().filter(|hook| of(hook.kind))?;
        let priority = hook.priority.unwrap_or(i32::MIN);
        Some(At { priority, listed: Some(place), stop: Stop::Chain(nft, table, chain) })
    };
    chains.filter_map(at).collect()
}

/// Asks a table or a chain.
fn ask(walk: &mut Walk, at: &At<'_>, state: &HookState) -> Stage<()> {
    match at.stop {
        Stop::Table(ruleset, table) if &*table.name == "mangle" && state.hook == Hook::Output => {
            ipt_mangle_out(walk, ruleset, table, state)
        }
        Stop::Table(ruleset, table) => run_table(walk, ruleset, table, state),
        Stop::Chain(nft, table, chain) => native_chain(walk, nft, table, chain, state),
        Stop::Conntrack | Stop::Nat | Stop::Confirm => Ok(()),
    }
}

/// One of nft's own chains; after one of type route a packet that it changed is routed again (`nft_chain_route.c`).
fn native_chain(walk: &mut Walk, nft: &Nft, table: &NftTable, chain: &NftChain, state: &HookState) -> Stage<()> {
    let before = routed_by(walk);
    nft::nft_do_chain(walk, nft, table, chain, state).map_err(|end| tell_sender(walk, state, end))?;
    let routes = chain.kind() == Some(ChainKind::Route) && state.hook == Hook::Output;
    if routes && before != routed_by(walk) { ip_route_me_harder(walk) } else { Ok(()) }
}

/// What routing looks at in a packet.
type Routed = (Mark, IpAddr, IpAddr, u8);

fn routed_by(walk: &Walk) -> Routed {
    let packet = walk.packet();
    (packet.mark, packet.ip.source, packet.ip.destination, packet.ip.tos)
}

fn run_table(walk: &mut Walk, ruleset: &Ruleset, table: &Table, state: &HookState) -> Stage<()> {
    match ipt_do_table(walk, ruleset, table, state) {
        Ok(NfVerdict::Accept) => Ok(()),
        Err(end) => Err(tell_sender(walk, state, end)),
    }
}

/// A packet that a rule drops before it has left its own stack is an error of the sender's call, unless the sender is
/// TCP, which tries again (`ip_send_skb`; `tcp_connect` looks at `ECONNREFUSED` alone).
fn tell_sender(walk: &Walk, state: &HookState, mut end: Box<End>) -> Box<End> {
    let sends = walk.skb.own && matches!(state.hook, Hook::Output | Hook::Postrouting);
    let ended = matches!(end.verdict, crate::trace::Verdict::Dropped | crate::trace::Verdict::Rejected);
    if sends && ended && end.errno.is_none() && walk.packet().protocol() != Protocol::TCP {
        end.verdict = crate::trace::Verdict::Rejected;
        end.errno = Some("EPERM");
    }
    end
}

/// mangle's OUTPUT chain, after which a packet that it changed is routed again (`ipt_mangle_out`).
fn ipt_mangle_out(walk: &mut Walk, ruleset: &Ruleset, table: &Table, state: &HookState) -> Stage<()> {
    let before = routed_by(walk);
    run_table(walk, ruleset, table, state)?;
    if before == routed_by(walk) { Ok(()) } else { ip_route_me_harder(walk) }
}

/// The nat tables, for the first packet of a connection, and what they decided for all of them (`nf_nat_inet_fn`,
/// `nf_nat_ipv4_fn` and its callers).
fn nf_nat_inet_fn(walk: &mut Walk, netns: &Netns, state: &HookState) -> Stage<()> {
    let native = netns.netfilter.nft.as_ref().is_some_and(|nft| nft.has_nat(state.family));
    let has_nat = native || rulesets(netns, state.family).any(|ruleset| ruleset.table("nat").is_some());
    let manip = Manip::at(state.hook);
    let Nfct::Entry(ct) = walk.skb.nfct else { return Ok(()) };
    // A connection that another kernel already translates is translated even where no nat table stands.
    if !has_nat && ct.state == CtState::New {
        return Ok(());
    }
    let destination = walk.packet().ip.destination;
    if nat::is_related_error(walk) {
        nat::icmp_reply_translation(walk, state.hook);
    } else {
        if matches!(ct.state, CtState::New | CtState::Related) && !nat::is_initialized(walk, manip) {
            ask_nat_tables(walk, netns, state, manip)?;
        }
        nat::nf_nat_packet(walk, manip);
    }
    if walk.packet().ip.destination == destination {
        return Ok(());
    }
    match state.hook {
        Hook::Prerouting => walk.skb.dst = None,
        Hook::Output => ip_route_me_harder(walk)?,
        _ => {}
    }
    Ok(())
}

/// The nat tables and nft's nat chains by their priority, until one has decided (`nf_nat_inet_fn`).
fn ask_nat_tables(walk: &mut Walk, netns: &Netns, state: &HookState, manip: Manip) -> Stage<()> {
    let own = if manip == Manip::Src { 100 } else { -100 };
    let mut all = native_chains(netns, state, |kind| kind == ChainKind::Nat);
    add_tables(&mut all, netns, state, (own, "nat"));
    for (place, at) in all.iter().enumerate() {
        ask(walk, at, state)?;
        if nat::is_initialized(walk, manip) {
            // Those that are no longer asked may have decided otherwise.
            note_order(walk, state, all.get(place..).unwrap_or(&[]), at);
            return Ok(());
        }
    }
    nat::null_binding(walk, manip);
    Ok(())
}
