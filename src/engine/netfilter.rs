//! Netfilter's hooks: every table of every backend, in the order of priorities.
//!
//! Follows `net/netfilter/core.c`, `include/uapi/linux/netfilter_ipv4.h` (the priorities), `nf_nat_core.c` (the nat
//! tables are asked from inside one hook) and `net/ipv4/netfilter/iptable_mangle.c`.

use std::net::IpAddr;

use crate::net::{Family, IfName, Mark, Protocol};
use crate::snapshot::nft::ChainKind;
use crate::snapshot::{Backend, Netns, Nft, NftChain, NftTable, Ruleset};
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

/// One thing at a hook, by priority (`enum nf_ip_hook_priorities`).
#[derive(Clone, Copy, Debug)]
enum Stop<'s> {
    Table(&'static str),
    /// A base chain of nft's own, of a type other than nat.
    Chain(&'s Nft, &'s NftTable, &'s NftChain),
    Conntrack,
    Nat,
    Confirm,
}

fn stops(hook: Hook) -> &'static [(i32, Stop<'static>)] {
    const RAW: (i32, Stop<'static>) = (-300, Stop::Table("raw"));
    const CONNTRACK: (i32, Stop<'static>) = (-200, Stop::Conntrack);
    const MANGLE: (i32, Stop<'static>) = (-150, Stop::Table("mangle"));
    const DNAT: (i32, Stop<'static>) = (-100, Stop::Nat);
    const FILTER: (i32, Stop<'static>) = (0, Stop::Table("filter"));
    const SECURITY: (i32, Stop<'static>) = (50, Stop::Table("security"));
    const SNAT: (i32, Stop<'static>) = (100, Stop::Nat);
    const CONFIRM: (i32, Stop<'static>) = (i32::MAX, Stop::Confirm);
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
    for (_, stop) in all_stops(netns, &state) {
        match stop {
            Stop::Table(name) => tables(walk, netns, name, &state)?,
            Stop::Chain(nft, table, chain) => native_chain(walk, nft, table, chain, &state)?,
            Stop::Conntrack if tracks => conntrack::nf_conntrack_in(walk),
            Stop::Nat if tracks => nf_nat_inet_fn(walk, netns, &state)?,
            Stop::Confirm if tracks => conntrack::nf_conntrack_confirm(walk),
            _ => {}
        }
    }
    Ok(())
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

/// iptables' tables and nft's chains at a hook, by priority. Of one priority the hook that was registered last comes
/// first (`nf_hook_entries_grow`), which is taken to be nft's own.
fn all_stops<'s>(netns: &'s Netns, state: &HookState) -> Vec<(i32, Stop<'s>)> {
    let mut all: Vec<(i32, Stop<'s>)> = native_chains(netns, state)
        .filter(|(_, _, chain)| chain.kind() != Some(ChainKind::Nat))
        .map(|(nft, table, chain)| {
            let priority = chain.hook.as_ref().and_then(|hook| hook.priority);
            (priority.unwrap_or(i32::MIN), Stop::Chain(nft, table, chain))
        })
        .collect();
    all.extend_from_slice(stops(state.hook));
    all.sort_by_key(|(priority, _)| *priority);
    all
}

/// nft's own base chains at a hook, in the order in which they are called.
fn native_chains<'s>(
    netns: &'s Netns,
    state: &HookState,
) -> impl Iterator<Item = (&'s Nft, &'s NftTable, &'s NftChain)> {
    let chains = netns.netfilter.native_chains(state.family, state.hook);
    let nft = netns.netfilter.nft.as_ref();
    chains.into_iter().filter_map(move |(table, chain)| nft.map(|nft| (nft, table, chain)))
}

/// One of nft's own chains; after one of type route a packet that it changed is routed again (`nft_chain_route.c`).
fn native_chain(walk: &mut Walk, nft: &Nft, table: &NftTable, chain: &NftChain, state: &HookState) -> Stage<()> {
    let before = routed_by(walk);
    nft::nft_do_chain(walk, nft, table, chain, state).map_err(|end| tell_sender(walk, state, end))?;
    let routes = chain.kind() == Some(ChainKind::Route) && state.hook == Hook::Output;
    if routes && before != routed_by(walk) { ip_route_me_harder(walk) } else { Ok(()) }
}

/// What routing looks at in a packet.
fn routed_by(walk: &Walk) -> (Mark, IpAddr, IpAddr, u8) {
    let packet = walk.packet();
    (packet.mark, packet.ip.source, packet.ip.destination, packet.ip.tos)
}

fn tables(walk: &mut Walk, netns: &Netns, name: &str, state: &HookState) -> Stage<()> {
    for ruleset in rulesets(netns, state.family) {
        let Some(table) = ruleset.table(name) else { continue };
        if name == "mangle" && state.hook == Hook::Output {
            ipt_mangle_out(walk, ruleset, state)?;
        } else {
            run_table(walk, ruleset, table, state)?;
        }
    }
    Ok(())
}

fn run_table(walk: &mut Walk, ruleset: &Ruleset, table: &crate::snapshot::Table, state: &HookState) -> Stage<()> {
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
fn ipt_mangle_out(walk: &mut Walk, ruleset: &Ruleset, state: &HookState) -> Stage<()> {
    let Some(table) = ruleset.table("mangle") else { return Ok(()) };
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
    let chains: Vec<_> =
        native_chains(netns, state).filter(|(_, _, chain)| chain.kind() == Some(ChainKind::Nat)).collect();
    let priority = |chain: &NftChain| chain.hook.as_ref().and_then(|hook| hook.priority).unwrap_or(0);
    let before = chains.partition_point(|(_, _, chain)| priority(chain) <= own);
    for (nft, table, chain) in chains.iter().take(before) {
        native_chain(walk, nft, table, chain, state)?;
        if nat::is_initialized(walk, manip) {
            return Ok(());
        }
    }
    for ruleset in rulesets(netns, state.family) {
        let Some(table) = ruleset.table("nat") else { continue };
        if table.base_chain(state.hook).is_none() {
            continue;
        }
        run_table(walk, ruleset, table, state)?;
        if nat::is_initialized(walk, manip) {
            return Ok(());
        }
    }
    for (nft, table, chain) in chains.iter().skip(before) {
        native_chain(walk, nft, table, chain, state)?;
        if nat::is_initialized(walk, manip) {
            return Ok(());
        }
    }
    nat::null_binding(walk, manip);
    Ok(())
}
