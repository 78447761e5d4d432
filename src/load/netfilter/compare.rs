//! A table that both `iptables-save` and nft print: what one of them says otherwise than the other.
//!
//! Each rule of iptables-nft is one rule of nft, whatever its text, so that chains, policies and the number of rules are
//! compared.

use std::collections::HashMap;

use crate::evidence::{Evidence, Files, Gap};
use crate::snapshot::{Chain, ChainPolicy, NftChain, NftTable, Table};

/// So many chains of a table are named; further ones mostly differ for the same reason.
const MOST: usize = 8;

/// In which way a chain differs, and the lines that show it.
type Difference<'c> = (&'c str, String, [Evidence; 2]);

/// Says in which chains the two forms of a table differ. The rules of `iptables-save` count.
pub(super) fn compare(printed: &Table, listed: &NftTable, files: &Files, gaps: &mut Vec<Gap>) {
    let by_name: HashMap<&str, &NftChain, foldhash::quality::RandomState> =
        listed.chains.iter().map(|chain| (&*chain.name, chain)).collect();
    let (saved, nft) = (files.path(printed.evidence), files.path(listed.evidence));
    let ours = printed.chains.iter().filter_map(|chain| match by_name.get(&*chain.name) {
        Some(other) if listed.bases_alone.is_some() => differs_in_policy(chain, other, (saved, nft)),
        Some(other) => differs(chain, other, (saved, nft)),
        None if listed.bases_alone.is_some() || is_only_declared(chain) => None,
        None => {
            let what = format!("stands in {saved} and not in {nft}");
            Some((&*chain.name, what, [chain.evidence, listed.evidence]))
        }
    });
    let theirs = listed.chains.iter().filter(|chain| printed.find(&chain.name).is_none()).map(|chain| {
        let what = format!("stands in {nft} and not in {saved}");
        (&*chain.name, what, [printed.evidence, chain.evidence])
    });
    for (chain, what, lines) in ours.chain(theirs).take(MOST) {
        let (chain, table) = (chain.escape_debug(), printed.name.escape_debug());
        let what = format!("chain {chain} of the table {table} {what}; what iptables-save says counts");
        gaps.push(Gap::new(what, lines.to_vec()));
    }
}

/// Some versions of `iptables-save` print every built-in chain of a table, also those that nobody made.
fn is_only_declared(chain: &Chain) -> bool {
    chain.policy != ChainPolicy::Return && chain.policy != ChainPolicy::Drop && chain.is_empty()
}

/// In which way the two forms of a chain differ: how many rules they have, or their policy.
fn differs<'c>(chain: &'c Chain, other: &NftChain, (saved, nft): (&str, &str)) -> Option<Difference<'c>> {
    let lines = [chain.evidence, other.evidence];
    let (one, two) = (chain.len(), other.rules.len());
    if one != two {
        let what = format!("has {} in {saved} and {} in {nft}", rules(one), rules(two));
        return Some((&chain.name, what, lines));
    }
    differs_in_policy(chain, other, (saved, nft))
}

fn differs_in_policy<'c>(chain: &'c Chain, other: &NftChain, (saved, nft): (&str, &str)) -> Option<Difference<'c>> {
    let policy = other.hook.as_ref().map(|hook| hook.policy);
    let (one, two) = (policy_word(chain.policy)?, policy_word(policy?)?);
    let what = format!("has the policy {one} in {saved} and {two} in {nft}");
    (one != two).then_some((&chain.name, what, [chain.evidence, other.evidence]))
}

fn rules(count: usize) -> String {
    format!("{count} rule{}", if count == 1 { "" } else { "s" })
}

fn policy_word(policy: ChainPolicy) -> Option<&'static str> {
    match policy {
        ChainPolicy::Accept => Some("ACCEPT"),
        ChainPolicy::Drop => Some("DROP"),
        ChainPolicy::Return | ChainPolicy::Unknown => None,
    }
}
