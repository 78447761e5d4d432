//! nft's own tables: base chains at the hooks of IP, of bridges and of devices.
//!
//! Follows `net/netfilter/nf_tables_core.c` and the `nft_*.c` beside it, `net/core/dev.c` (`nf_ingress`,
//! `nf_hook_egress`) and the `NF_HOOK` calls of `net/bridge/`.

mod certainty;
mod chain;
mod clock;
mod ct;
mod doubt;
mod dup;
mod exthdr;
mod fib;
mod field;
mod fwd;
mod hash;
mod load;
mod lookup;
mod meta;
mod meter;
mod nat;
mod offload;
mod proxy;
mod raw;
mod rt;
mod statement;
mod write;

use crate::net::IfName;
use crate::snapshot::nft::{ChainKind, NftVerdict, Statement};
use crate::snapshot::{ChainPolicy, HookEntry, HookFn, Nft, NftChain, NftFamily, NftTable};
use crate::trace::{Hook, Reason};

use super::end::{End, Stage};
use super::hook_order::call_in_order;
use super::netfilter::HookState;
use super::walk::Walk;
pub use certainty::{nft_certainty, nft_unmodelled};
pub(super) use chain::JUMP_STACK;
pub(super) use rt::path_mtu;
pub(super) use write::Written as WrittenElement;

/// Where a chain is asked (`struct nft_pktinfo`).
#[derive(Clone, Copy)]
pub(super) struct Pktinfo<'a> {
    pub nft: &'a Nft,
    pub table: &'a NftTable,
    pub state: &'a HookState,
}

/// Asks a base chain. It has no objection, or the packet ends.
pub(super) fn nft_do_chain(
    walk: &mut Walk,
    nft: &Nft,
    table: &NftTable,
    base: &NftChain,
    state: &HookState,
) -> Stage<()> {
    if base.hook.as_ref().is_none_or(|hook| hook.hook.is_none() || hook.kind == ChainKind::Other) {
        return Err(not_modelled(table, base, state.hook));
    }
    chain::Asked::new(Pktinfo { nft, table, state }, base).run(walk)
}

/// The chains of a device: at ingress when it hands a packet up, at egress when it is given one.
/// A rule there may take the packet and send it on by another device, which is the answer then.
pub(super) fn nf_device(walk: &mut Walk, hook: Hook, dev: &IfName) -> Stage<Option<IfName>> {
    let (indev, outdev) = if hook == Hook::Ingress { (Some(dev), None) } else { (None, Some(dev)) };
    run(walk, &[NftFamily::Inet, NftFamily::Netdev], hook, (indev, outdev), |walk, table, chain| {
        is_on_device(walk, table, chain, dev)
    })?;
    Ok(walk.skb.send_by.take())
}

/// Whether a chain is one of a device's. nft 1.0.6 leaves the devices out of its JSON.
fn is_on_device(walk: &mut Walk, table: &NftTable, chain: &NftChain, dev: &IfName) -> bool {
    if let Some(devices) = chain.hook.as_ref().and_then(|hook| hook.devices.as_ref()) {
        let is_it = |device: &str| match device.strip_suffix('*') {
            Some(start) => dev.as_str().starts_with(start),
            None => device == dev.as_str(),
        };
        return devices.iter().any(|device| is_it(device));
    }
    let (chain_name, name) = (chain.name.escape_debug(), table.name.escape_debug());
    if !can_matter(chain) {
        let what = format!("of which devices nft's chain {chain_name} of table {name} is, is not listed");
        walk.gap(what, [chain.evidence]);
        return false;
    }
    let place = walk.place();
    let what = format!(
        "nft's chain {chain_name} of table {name} is one of the device {dev} on {} {}, which is not listed",
        place.node, place.name
    );
    match statement::answered(walk, &what) {
        Some(way) => way == 0,
        None => walk.choose_unknown(what, Some(chain.evidence)),
    }
}

/// Which chains of bridges are asked: where bridge netfilter takes the frame, those before it and those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    Before,
    Behind,
}

impl Part {
    /// `br_netfilter` takes the frame at priority 0 (`NF_BR_PRI_BRNF`; before Linux 6.8 at -1 in forward), and behind
    /// it only chains of a higher priority are asked (`br_nf_hook_thresh` in `net/bridge/br_netfilter_hooks.c`). Chains
    /// of its own priority were made after it, as a rule, and come first: it is there from the first bridge on.
    fn has(self, chain: &NftChain) -> bool {
        let priority = chain.hook.as_ref().and_then(|hook| hook.priority).unwrap_or(i32::MIN);
        match self {
            Self::All => true,
            Self::Before => priority <= 0,
            Self::Behind => priority > 0,
        }
    }
}

/// The chains of bridges. `devs` are the ports that the frame came in by and leaves by.
pub(super) fn nf_bridge(
    walk: &mut Walk,
    hook: Hook,
    devs: (Option<&IfName>, Option<&IfName>),
    part: Part,
) -> Stage<()> {
    run(walk, &[NftFamily::Bridge], hook, devs, |_, _, chain| part.has(chain))
}

fn run(
    walk: &mut Walk,
    families: &[NftFamily],
    hook: Hook,
    (indev, outdev): (Option<&IfName>, Option<&IfName>),
    sees: impl Fn(&mut Walk, &NftTable, &NftChain) -> bool,
) -> Stage<()> {
    let netfilter = &walk.netns().netfilter;
    let Some(nft) = &netfilter.nft else { return Ok(()) };
    let mut entries = netfilter.frame_entries(families, hook);
    if entries.is_empty() {
        return Ok(());
    }
    let chain_of = |entry: &HookEntry| match entry.call {
        HookFn::Chain(place) => nft.chain(place),
        _ => None,
    };
    entries.retain(|entry| chain_of(entry).is_some_and(|(table, chain)| sees(walk, table, chain)));
    let family = walk.packet().family();
    let state = HookState { hook, family, indev: indev.cloned(), outdev: outdev.cloned() };
    walk.skb.in_pieces = is_in_pieces(walk, hook);
    call_in_order(walk, &state, &entries, &|walk, entry| match chain_of(entry) {
        // A frame that a rule has taken is not seen by those behind it (`nf_hook_slow`, `nf_hook_bridge_pre`).
        Some((table, chain)) if walk.skb.send_by.is_none() && !walk.skb.broute => {
            nft_do_chain(walk, nft, table, chain, &state)
        }
        _ => Ok(()),
    })
}

/// Whether the chains of a device or a bridge see each piece of a packet for itself: a device has them before anything
/// puts them together and after they are split again, and on a bridge connection tracking puts them together
/// (`nf_ct_bridge_pre`, `br_nf_pre_routing`).
fn is_in_pieces(walk: &Walk, hook: Hook) -> bool {
    let at_device = matches!(hook, Hook::Ingress | Hook::Egress);
    let packet = walk.packet();
    packet.fragments.is_some() && (at_device || !walk.netns().netfilter.needs_defrag(packet.family()))
}

/// Whether a base chain does anything at all: one that only accepts leaves no trace of a packet's way.
fn can_matter(chain: &NftChain) -> bool {
    let policy = chain.hook.as_ref().map(|hook| hook.policy);
    let harmless = |statement: &Statement| {
        statement.is_harmless()
            || matches!(statement, Statement::Match(_) | Statement::Verdict(NftVerdict::Accept | NftVerdict::Return))
    };
    policy != Some(ChainPolicy::Accept)
        || chain.open.is_some()
        || !chain.rules.iter().flat_map(|rule| &rule.statements).all(harmless)
}

/// The end at a chain that is not evaluated.
pub(super) fn not_modelled(table: &NftTable, chain: &NftChain, hook: Hook) -> Box<End> {
    let what = format!(
        "nft's chain {} of table {} {} runs at {} and is not modelled",
        chain.name.escape_debug(),
        table.family.as_str(),
        table.name.escape_debug(),
        hook.as_str()
    );
    End::undetermined(Reason::NotModelled, what).because([chain.evidence])
}
