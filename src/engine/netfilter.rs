//! Netfilter's hooks: every table of every backend, in the order of priorities.
//!
//! Follows `net/netfilter/core.c`, `include/uapi/linux/netfilter_ipv4.h` (the priorities), `nf_nat_core.c` (the nat
//! tables are asked from inside one hook) and `net/ipv4/netfilter/iptable_mangle.c`.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Mark, Protocol};
use crate::snapshot::nft::ChainKind;
use crate::snapshot::{Backend, Chain, HookFn, Netfilter, Netns, Nft, NftChain, NftTable, Ruleset, Table};
use crate::trace::{CtState, Hook};

use super::conntrack::{self, Nfct};
use super::end::{End, Stage};
use super::hook_order::call_in_order;
use super::iptables::ipt_do_table;
use super::nat::{self, Manip};
use super::nft;
use super::output::ip_route_me_harder;
use super::synproxy;
use super::unread;
use super::walk::Walk;

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

/// Asks everything at a hook (`nf_hook_slow`).
pub(super) fn nf_hook(walk: &mut Walk, hook: Hook, indev: Option<&IfName>, outdev: Option<&IfName>) -> Stage<()> {
    let family = walk.packet().family();
    let state = HookState { hook, family, indev: indev.cloned(), outdev: outdev.cloned() };
    let netns = walk.netns();
    if matches!(hook, Hook::Prerouting | Hook::Output) && netns.netfilter.needs_defrag(family) {
        walk.take_fragment_header();
    }
    walk.skb.in_pieces = sees_pieces(walk, &state);
    note_missing(walk, family);
    if hook == Hook::Postrouting {
        note_no_postrouting(walk, family);
    }
    let entries = netns.netfilter.hook_entries(family, hook);
    call_in_order(walk, &state, entries, &|walk, entry| match entry.call {
        HookFn::Conntrack => conntrack::nf_conntrack_in(walk, hook),
        HookFn::Nat => nf_nat_inet_fn(walk, netns, &state),
        HookFn::Confirm => {
            synproxy::ipv4_synproxy_hook(walk)?;
            conntrack::nf_conntrack_confirm(walk).map_err(|end| tell_sender(walk, &state, end))
        }
        HookFn::Table(..) | HookFn::Chain(_) => ask(walk, entry.call, &state),
    })
}

/// Whether the rules at a hook see each piece of a packet for itself. Pieces that come in are put together before every
/// other hook for connection tracking and transparent proxies alone (`nf_defrag_ipv4_enable`, `nf_defrag_ipv6_enable`);
/// IPv4 does it for what is for the namespace itself before the hook too, IPv6 after it (`ip_local_deliver` in
/// `net/ipv4/ip_input.c`, `ipv6_frag_rcv` in `net/ipv6/reassembly.c`).
fn sees_pieces(walk: &Walk, state: &HookState) -> bool {
    let delivered = state.hook == Hook::Input && state.family == Family::Inet;
    let came = walk.packet().fragments.is_some() && walk.skb.iif.is_some();
    came && !delivered && !walk.netns().netfilter.needs_defrag(state.family)
}

/// What is called, in words, and the line that has it.
pub(super) fn described(netfilter: &Netfilter, call: HookFn) -> (String, Option<Evidence>) {
    match call {
        HookFn::Table(ruleset, table, _) => netfilter.table(ruleset, table).map(|(ruleset, table)| {
            let name = format!("iptables-{}'s table {}", ruleset.backend.as_str(), table.name);
            (name, Some(table.evidence))
        }),
        HookFn::Chain(place) => netfilter.native_chain(place).map(|(_, table, chain)| {
            let (chain_name, table_name) = (chain.name.escape_debug(), table.name.escape_debug());
            (format!("nft's chain {chain_name} of table {table_name}"), Some(chain.evidence))
        }),
        HookFn::Conntrack | HookFn::Confirm => Some(("connection tracking".to_owned(), None)),
        HookFn::Nat => Some(("the nat chains".to_owned(), None)),
    }
    .unwrap_or_default()
}

/// The rule sets of a family, legacy first: a snapshot doesn't tell which of two hooks of one priority came first.
fn rulesets(netns: &Netns, family: Family) -> impl Iterator<Item = &Ruleset> {
    [Backend::Legacy, Backend::Nft].into_iter().filter_map(move |backend| netns.netfilter.ruleset(family, backend))
}

/// A namespace whose rules nobody collected may do anything to the packet.
fn note_missing(walk: &mut Walk, family: Family) {
    let netns = walk.netns();
    // What is wrong with a line says more than that something is missing.
    let unread = unread::doubt_rules(walk, family);
    for ruleset in rulesets(netns, family).filter(|ruleset| ruleset.partial.is_some()) {
        let path = walk.snapshot.files.get(ruleset.file).map_or("", |file| file.path.as_str());
        walk.doubt(format!("{path} is an excerpt: the walk goes on as if no other chain stood there"), None);
    }
    doubt_iptables_in_nft(walk, netns, family);
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

/// Asks a table or a chain.
fn ask(walk: &mut Walk, call: HookFn, state: &HookState) -> Stage<()> {
    let netfilter = &walk.netns().netfilter;
    match call {
        HookFn::Table(ruleset, table, base) => {
            let Some((ruleset, table)) = netfilter.table(ruleset, table) else { return Ok(()) };
            let Some(base) = table.chain(base) else { return Ok(()) };
            run_table(walk, (ruleset, table, base), state)
        }
        HookFn::Chain(place) => match netfilter.native_chain(place) {
            Some((nft, table, chain)) => native_chain(walk, nft, table, chain, state),
            None => Ok(()),
        },
        HookFn::Conntrack | HookFn::Nat | HookFn::Confirm => Ok(()),
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

/// One of iptables' tables; after mangle's OUTPUT chain a packet that it changed is routed again (`ipt_mangle_out`).
fn run_table(walk: &mut Walk, (ruleset, table, base): (&Ruleset, &Table, &Chain), state: &HookState) -> Stage<()> {
    let before = routed_by(walk);
    let NfVerdict::Accept =
        ipt_do_table(walk, ruleset, table, base, state).map_err(|end| tell_sender(walk, state, end))?;
    let routes = state.hook == Hook::Output && &*table.name == "mangle";
    if routes && before != routed_by(walk) { ip_route_me_harder(walk) } else { Ok(()) }
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

/// The nat tables, for the first packet of a connection, and what they decided for all of them (`nf_nat_inet_fn`,
/// `nf_nat_ipv4_fn` and its callers).
fn nf_nat_inet_fn(walk: &mut Walk, netns: &Netns, state: &HookState) -> Stage<()> {
    let manip = Manip::at(state.hook);
    let Nfct::Entry(ct) = walk.skb.nfct else { return Ok(()) };
    // The hook stands only where a nat table or chain does (`nf_nat_register_fn`), whatever connections say. Where the
    // rules are not all known, a connection that is translated tells that there is one.
    let is_known = netns.netfilter.is_whole(state.family);
    if (ct.state == CtState::New || is_known) && !netns.netfilter.has_nat(state.family) {
        return Ok(());
    }
    let destination = walk.packet().ip.destination;
    if nat::is_related_error(walk) {
        nat::icmp_reply_translation(walk, state.hook)?;
    } else {
        if matches!(ct.state, CtState::New | CtState::Related) && !nat::is_initialized(walk, manip) {
            ask_nat_tables(walk, netns, state, manip)?;
        }
        nat::refuse_changed_device(walk, state)?;
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
    let entries = netns.netfilter.nat_entries(state.family, state.hook);
    call_in_order(walk, state, entries, &|walk, entry| {
        if nat::is_initialized(walk, manip) { Ok(()) } else { ask(walk, entry.call, state) }
    })?;
    if !nat::is_initialized(walk, manip) {
        nat::null_binding(walk, manip);
    }
    Ok(())
}
