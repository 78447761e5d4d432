//! The order of what is called at a hook with the same priority.
//!
//! Of one priority the hook that was registered last comes first (`nf_hook_entries_grow` in `net/netfilter/core.c`).
//! nft's base chains are registered when they are made, a table of iptables-legacy when it is first asked for, and
//! neither is listed with its time: only the chains of one table stand in their order. So all orders are tried on copies
//! of the walk, and where they come to the same there is nothing to tell.

use crate::evidence::Evidence;
use crate::snapshot::{HookEntry, HookFn, Netfilter};
use crate::trace::Verdict;

use super::end::{End, ErrorReply, Stage};
use super::netfilter::HookState;
use super::walk::{Walk, Why};

/// So many orders are tried at most.
const MOST_ORDERS: usize = 24;

/// Calls one entry.
pub(super) type Call<'c> = &'c dyn Fn(&mut Walk, &HookEntry) -> Stage<()>;

/// The entries of one priority, in the order in which the walk calls them.
pub(super) fn call_all(walk: &mut Walk, state: &HookState, group: &[HookEntry], call: Call<'_>) -> Stage<()> {
    if group.iter().all(|entry| entry.rival.is_none()) {
        return group.iter().try_for_each(|entry| call(walk, entry));
    }
    let order = choose_order(walk, state, group, call);
    order.into_iter().filter_map(|at| group.get(at)).try_for_each(|entry| call(walk, entry))
}

/// The likeliest order, or another one where that makes a difference.
fn choose_order(walk: &mut Walk, state: &HookState, group: &[HookEntry], call: Call<'_>) -> Vec<usize> {
    let all = orders(group);
    let mut kept: Vec<(Option<Outcome>, &Vec<usize>)> = Vec::new();
    for order in &all {
        let outcome = outcome(walk, group, order, call);
        // Where something is chosen on the way, the copies tell of one way alone.
        if outcome.is_none() || kept.iter().all(|(known, _)| *known != outcome) {
            kept.push((outcome, order));
        }
    }
    let way = match kept.as_slice() {
        [] | [_] => 0,
        several => {
            let netfilter = &walk.netns().netfilter;
            let label = |(_, order): &(_, &Vec<usize>)| (None, in_words(netfilter, group, order));
            let ways = several.iter().map(label).collect();
            let why = why(walk, state, group);
            walk.choose(why, ways)
        }
    };
    kept.get(way).map(|(_, order)| (*order).clone()).unwrap_or_default()
}

/// What a copy of the walk came to: how the packet ended, or all that is kept of it.
#[derive(PartialEq)]
enum Outcome {
    Ended(Verdict, Option<ErrorReply>, Option<&'static str>),
    GoesOn(String),
}

/// `None` where it isn't certain.
fn outcome(walk: &Walk, group: &[HookEntry], order: &[usize], call: Call<'_>) -> Option<Outcome> {
    let mut copy = walk.clone();
    copy.choices.forget_script();
    let before = copy.choices.taken.len();
    let end = order.iter().filter_map(|at| group.get(*at)).try_for_each(|entry| call(&mut copy, entry));
    if copy.choices.taken.len() > before {
        return None;
    }
    Some(match end.map_err(|end| *end) {
        Err(End { verdict, error, errno, .. }) => Outcome::Ended(verdict, error, errno),
        Ok(()) => Outcome::GoesOn(format!("{:?} {:?} {:?}", copy.packet(), copy.skb, copy.tracker)),
    })
}

/// Every order in which the chains of one table stand as they are listed; the one that is taken first where nothing
/// tells.
fn orders(group: &[HookEntry]) -> Vec<Vec<usize>> {
    let (mut done, mut open) = (Vec::new(), vec![Vec::new()]);
    while let Some(order) = open.pop() {
        if order.len() == group.len() || done.len() == MOST_ORDERS {
            done.extend(Some(order).filter(|order: &Vec<usize>| order.len() == group.len()));
            continue;
        }
        let is_next = |at: &usize| {
            let (own, order) = (group.get(*at), &order);
            let waits = |earlier: usize| {
                let other = group.get(earlier).zip(own);
                !order.contains(&earlier) && other.is_some_and(|(other, own)| !own.may_swap_with(other))
            };
            !order.contains(at) && !(0..*at).any(waits)
        };
        // The last one that is pushed is followed first.
        let next: Vec<usize> = (0..group.len()).filter(is_next).collect();
        open.extend(next.into_iter().rev().map(|at| [order.as_slice(), &[at]].concat()));
    }
    done
}

fn why(walk: &Walk, state: &HookState, group: &[HookEntry]) -> Why {
    let netfilter = &walk.netns().netfilter;
    let rivals: Vec<(String, Option<Evidence>)> =
        group.iter().filter(|entry| entry.rival.is_some()).map(|entry| described(netfilter, entry.call)).collect();
    let names: Vec<&str> = rivals.iter().map(|(name, _)| name.as_str()).collect();
    let priority = group.first().map_or(0, |entry| entry.priority);
    let what = format!(
        "{} are called at {} with the same priority, {priority}: which one was made last, and is called first, is not \
         listed",
        names.join(" and "),
        state.hook.as_str(),
    );
    Why { what, evidence: rivals.iter().find_map(|(_, line)| *line), gap: true, column: None }
}

fn in_words(netfilter: &Netfilter, group: &[HookEntry], order: &[usize]) -> String {
    let names: Vec<String> = order.iter().filter_map(|at| Some(described(netfilter, group.get(*at)?.call).0)).collect();
    names.join(", then ")
}

/// What is called, in words, and the line that has it.
fn described(netfilter: &Netfilter, call: HookFn) -> (String, Option<Evidence>) {
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
