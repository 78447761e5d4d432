//! What is called at a hook in the order of priorities, and in every order that makes a difference where priorities are
//! equal.
//!
//! Of one priority the kernel calls the hook first that was registered last (`nf_hook_entries_grow` in
//! `net/netfilter/core.c`). nft lists the tables in the order in which they were made, and a table's chains so too; when
//! a chain was made that is not of the same table stands nowhere, and of iptables-legacy nothing does.

use std::collections::BTreeSet;

use crate::evidence::Evidence;
use crate::snapshot::HookEntry;
use crate::trace::Decision;

use super::drive::siblings;
use super::end::Stage;
use super::netfilter::{HookState, described};
use super::walk::{Walk, Why};

/// So many orders are tried at most: those of four chains.
const MOST_ORDERS: usize = 24;
/// So many ways of one order are compared at most.
const MOST_WAYS: usize = 64;

/// Calls entries in their order. Where the order of some is not known and makes a difference, the walk takes one of
/// those that differ, and the other ways take the others.
pub(super) fn call_in_order(
    walk: &mut Walk,
    state: &HookState,
    entries: &[HookEntry],
    call: &dyn Fn(&mut Walk, &HookEntry) -> Stage<()>,
) -> Stage<()> {
    for group in entries.chunk_by(|one, next| one.priority == next.priority) {
        if !group.iter().any(|entry| entry.has_rival) {
            group.iter().try_for_each(|entry| call(walk, entry))?;
            continue;
        }
        let call_all = |walk: &mut Walk, order: &[&HookEntry]| order.iter().try_for_each(|entry| call(walk, entry));
        let (rivals, others): (Vec<&HookEntry>, Vec<&HookEntry>) = group.iter().partition(|entry| entry.has_rival);
        // The others have no rules.
        call_all(walk, &others)?;
        let order = choose_order(walk, state, rivals, &call_all);
        call_all(walk, &order)?;
    }
    Ok(())
}

/// The order in which this walk calls entries of one priority: that of the listing where no other changes what becomes of
/// the packet. One that changes no more than which rules it meets is told.
fn choose_order<'e>(
    walk: &mut Walk,
    state: &HookState,
    listed: Vec<&'e HookEntry>,
    call_all: &dyn Fn(&mut Walk, &[&HookEntry]) -> Stage<()>,
) -> Vec<&'e HookEntry> {
    let mut orders = Vec::new();
    all_orders(&mut Vec::new(), &listed, &mut orders);
    let mut differing: Vec<(Option<Vec<String>>, Vec<&HookEntry>)> = Vec::new();
    let mut rules: BTreeSet<Option<Vec<String>>> = BTreeSet::new();
    for order in orders {
        let ways = all_ways(walk, &|walk| call_all(walk, &order));
        let (ends, met) = ways.map(|ways| ways.into_iter().unzip()).unzip();
        rules.insert(met);
        // What has too many ways to be compared may differ from everything.
        if ends.is_none() || !differing.iter().any(|(others, _)| *others == ends) {
            differing.push((ends, order));
        }
    }
    let orders: Vec<Vec<&HookEntry>> = differing.into_iter().map(|(_, order)| order).collect();
    if orders.len() > 1 {
        let way = take_one(walk, state, &orders);
        return orders.into_iter().nth(way).unwrap_or(listed);
    }
    if rules.len() > 1 {
        let (what, evidence) = not_listed(walk, state, &listed);
        walk.gap(format!("{what}; which rules the packet meets is told as if it were the first of them"), evidence);
    }
    listed
}

/// Branches by the order.
fn take_one(walk: &mut Walk, state: &HookState, orders: &[Vec<&HookEntry>]) -> usize {
    let (what, evidence) = not_listed(walk, state, orders.first().map_or(&[], Vec::as_slice));
    let netfilter = &walk.netns().netfilter;
    let name = |entry: &&HookEntry| described(netfilter, entry.call).0;
    let label = |order: &Vec<&HookEntry>| (None, order.iter().map(name).collect::<Vec<_>>().join(", then "));
    let ways = orders.iter().map(label).collect();
    walk.choose(Why { what, evidence: evidence.first().copied(), gap: true, column: None }, ways)
}

/// What is not known of the order of some entries, and their lines.
fn not_listed(walk: &Walk, state: &HookState, entries: &[&HookEntry]) -> (String, Vec<Evidence>) {
    let netfilter = &walk.netns().netfilter;
    let (names, lines): (Vec<_>, Vec<_>) = entries.iter().map(|entry| described(netfilter, entry.call)).unzip();
    let what = format!(
        "{} are called at {} with the same priority, {}: which one was made last, and is called first, is not listed",
        names.join(" and "),
        state.hook.as_str(),
        entries.first().map_or(0, |entry| entry.priority),
    );
    (what, lines.into_iter().flatten().collect())
}

/// The orders of entries that the listing allows, its own first: those of one table keep theirs.
fn all_orders<'e>(placed: &mut Vec<&'e HookEntry>, left: &[&'e HookEntry], orders: &mut Vec<Vec<&'e HookEntry>>) {
    if left.is_empty() {
        orders.push(placed.clone());
    }
    for (at, entry) in left.iter().enumerate() {
        let (before, after) = left.split_at(at);
        if orders.len() < MOST_ORDERS && !before.iter().any(|other| other.is_of_same_table(entry)) {
            placed.push(entry);
            let rest: Vec<&HookEntry> = before.iter().chain(after.iter().skip(1)).copied().collect();
            all_orders(placed, &rest, orders);
            placed.pop();
        }
    }
}

/// What becomes of a packet and which rules it meets, by every way that there is; none where those are too many.
fn all_ways(walk: &Walk, call: &dyn Fn(&mut Walk) -> Stage<()>) -> Option<Vec<(String, String)>> {
    let before = walk.choices.taken.len();
    let taken: Vec<usize> = walk.choices.taken.iter().map(|choice| choice.way).collect();
    let (mut pending, mut ways) = (vec![taken], Vec::new());
    while let Some(script) = pending.pop() {
        if ways.len() >= MOST_WAYS {
            return None;
        }
        let mut copy = walk.clone();
        let fixed = script.len();
        copy.choices = walk.choices.with_script(script);
        let ended = call(&mut copy).err();
        pending.extend(siblings(&copy.choices.taken, fixed));
        let choices = copy.choices.taken.get(before..).unwrap_or_default();
        let mut choices: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
        choices.sort_unstable();
        let end = match ended {
            Some(end) => format!("{end:?} {:?}", copy.packet()),
            None => format!("{:?} {:?} {:?}", copy.packet(), copy.skb, copy.tracker),
        };
        ways.push((format!("{choices:?} {end}"), rules_met(walk, &copy)));
    }
    ways.sort_unstable();
    Some(ways)
}

/// The lines of what matched since a copy was made of a walk, in whichever order.
fn rules_met(walk: &Walk, copy: &Walk) -> String {
    let steps = copy.steps().get(walk.steps().len()..).unwrap_or_default();
    let met = steps.iter().filter(|step| !matches!(step.decision, Decision::Policy { .. }));
    let mut lines: Vec<_> = met.map(|step| &step.because).collect();
    lines.sort_unstable();
    format!("{lines:?}")
}
