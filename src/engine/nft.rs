//! nft's base chains beside the IP hooks, which are not evaluated: a packet that meets one that could end or change it
//! is undetermined from there on.
//!
//! Follows `net/core/dev.c` (`nf_ingress`, `nf_hook_egress`) and the `NF_HOOK` calls of `net/bridge/`.

use crate::net::IfName;
use crate::snapshot::{NftChain, NftFamily, NftTable};
use crate::trace::{Hook, Reason};

use super::walk::{End, Stage, Walk};

/// The chains of a device: at ingress when it hands a packet up, at egress when it is given one.
pub(super) fn nf_device(walk: &Walk, hook: Hook, dev: &IfName) -> Stage<()> {
    let on_device = |chain: &NftChain| {
        let devices = chain.hook.as_ref().map_or(&[][..], |hook| &hook.devices);
        devices.is_empty() || devices.iter().any(|device| device == dev.as_str())
    };
    refuse(walk, &[NftFamily::Inet, NftFamily::Netdev], hook, on_device)
}

/// The chains of bridges.
pub(super) fn nf_bridge(walk: &Walk, hook: Hook) -> Stage<()> {
    refuse(walk, &[NftFamily::Bridge], hook, |_| true)
}

fn refuse(walk: &Walk, families: &[NftFamily], hook: Hook, sees: impl Fn(&NftChain) -> bool) -> Stage<()> {
    let Some(nft) = &walk.netns().netfilter.nft else { return Ok(()) };
    let chains = nft.base_chains_of(families, hook);
    match chains.into_iter().find(|(_, chain)| sees(chain)) {
        Some((table, chain)) => Err(not_modelled(table, chain, hook)),
        None => Ok(()),
    }
}

/// The end at a chain that is not evaluated.
#[expect(clippy::unnecessary_box_returns, reason = "a stage's end is boxed")]
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
