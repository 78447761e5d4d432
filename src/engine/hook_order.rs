//! What is called at a hook in the order of priorities, and in every order that makes a difference where priorities are
//! equal.
//!
//! Of one priority the kernel calls the hook first that was registered last (`nf_hook_entries_grow` in
//! `net/netfilter/core.c`). nft lists the tables in the order in which they were made, and a table's chains so too; when
//! a chain was made that is not of the same table stands nowhere, and of iptables-legacy nothing does.

use std::collections::BTreeSet;

use crate::evidence::Evidence;
use crate::snapshot::{HookEntry, HookFn};
use crate::trace::Decision;

use super::conntrack::Tracker;
use super::drive::siblings;
use super::end::Stage;
use super::netfilter::{HookState, described};
use super::walk::{Walk, Why};

/// So many orders are tried at most: those of five chains.
const MOST_ORDERS: usize = 120;
/// So many orders more than can be tried are counted.
const TOO_MANY: usize = MOST_ORDERS + 1;
/// So many ways of one order are compared at most.
const MOST_WAYS: usize = 64;

/// Entries in the order in which they are called.
type Order<'e> = Vec<&'e HookEntry>;

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
    if orders.len() == TOO_MANY {
        let (what, evidence) = not_listed(walk, state, &listed);
        walk.doubt(format!("{what}; too many orders are possible to try them all"), evidence.first().copied());
        return listed;
    }
    orders.retain(|order| is_possible(walk, state, order));
    let first = orders.first().cloned().unwrap_or(listed);
    // A packet that goes round has met the same chains before.
    if orders.len() < 2 || walk.goes_round() || at_most_one_changes(walk, &first, call_all) {
        return first;
    }
    let mut differing: Vec<(Option<Vec<String>>, Vec<Order<'e>>)> = Vec::new();
    let mut rules: BTreeSet<Option<Vec<String>>> = BTreeSet::new();
    for order in orders {
        let ways = all_ways(walk, &|walk| call_all(walk, &order));
        let (ends, met) = ways.map(|ways| ways.into_iter().unzip()).unzip();
        rules.insert(met);
        // What has too many ways to be compared may differ from everything.
        match differing.iter_mut().find(|(others, _)| ends.is_some() && *others == ends) {
            Some((_, alike)) => alike.push(order),
            None => differing.push((ends, vec![order])),
        }
    }
    let alike: Vec<Vec<Order<'e>>> = differing.into_iter().map(|(_, alike)| alike).collect();
    if alike.len() > 1 {
        let shown: Vec<Order<'e>> = alike.iter().filter_map(|orders| orders.first().cloned()).collect();
        let way = take_one(walk, state, &shown);
        let possible = alike.get(way).map_or(Vec::new(), |orders| orders.iter().map(|order| calls(order)).collect());
        walk.tracker.orders.push((walk.netns_id(), state.hook, possible));
        return shown.into_iter().nth(way).unwrap_or(first);
    }
    if rules.len() > 1 {
        let (what, evidence) = not_listed(walk, state, &first);
        walk.gap(
            format!("{what}; the packet comes to the same end, and the rules that it meets are shown as listed"),
            evidence,
        );
    }
    first
}

/// Whether it is soon seen that no order makes a difference: one entry at most changes anything, and the others meet the same
/// rules before it as behind it. An entry that changes nothing leaves all as it is, wherever it stands.
fn at_most_one_changes(
    walk: &Walk,
    listed: &[&HookEntry],
    call_all: &dyn Fn(&mut Walk, &[&HookEntry]) -> Stage<()>,
) -> bool {
    let mut changed: Option<(Walk, bool)> = None;
    let mut others = Vec::new();
    let mut copy = walk.clone();
    for entry in listed {
        let has_ended = match called(walk, &mut copy, &|walk| call_all(walk, &[entry])) {
            Called::Left(met) => {
                others.push((entry, met));
                continue;
            }
            // Of several ways each would have to be looked at.
            _ if changed.is_some() || copy.choices.taken.len() > walk.choices.taken.len() => return false,
            called => matches!(called, Called::Ended),
        };
        changed = Some((std::mem::replace(&mut copy, walk.clone()), has_ended));
    }
    let Some((after, has_ended)) = changed else { return true };
    if has_ended {
        // What ends the packet keeps the others from meeting any rule.
        return others.iter().all(|(_, met)| met.is_empty());
    }
    let mut copy = after.clone();
    others.into_iter().all(|(entry, before)| {
        matches!(called(&after, &mut copy, &|walk| call_all(walk, &[entry])), Called::Left(met) if met == before)
    })
}

/// What a call does with a walk.
enum Called {
    /// It changes nothing; the lines of the rules that are met.
    Left(Vec<Vec<Evidence>>),
    Changed,
    /// The packet goes no further.
    Ended,
}

/// What a call does with a copy of a walk, which is otherwise as it was.
fn called(before: &Walk, copy: &mut Walk, call: &dyn Fn(&mut Walk) -> Stage<()>) -> Called {
    let steps = copy.steps().len();
    if call(copy).is_err() {
        return Called::Ended;
    }
    // To have asked for something is no change.
    copy.skb.asked.set(before.skb.asked.get());
    copy.skb.asked_sender.set(before.skb.asked_sender.get());
    copy.skb.asked_destination.set(before.skb.asked_destination.get());
    let is_left = copy.choices.taken.len() == before.choices.taken.len()
        && copy.doubts.len() == before.doubts.len()
        && copy.beside.len() == before.beside.len()
        && copy.packet() == before.packet()
        && copy.skb == before.skb
        && copy.tracker == before.tracker;
    if is_left { Called::Left(lines_met(copy, steps)) } else { Called::Changed }
}

/// Whether an order goes with those that this way has taken at the hook before: it is the same for every packet. Of the
/// chains of then, those that are called now too were called in the order of one that was possible.
fn is_possible(walk: &Walk, state: &HookState, order: &[&HookEntry]) -> bool {
    let order = calls(order);
    let common = |one: &[HookFn], other: &[HookFn]| -> Vec<HookFn> {
        one.iter().filter(|call| other.contains(call)).copied().collect()
    };
    let here = (walk.netns_id(), state.hook);
    let mut taken = walk.tracker.orders.iter().filter(|(netns, hook, _)| (*netns, *hook) == here);
    taken.all(|(.., possible)| possible.iter().any(|then| common(then, &order) == common(&order, then)))
}

fn calls(order: &[&HookEntry]) -> Vec<HookFn> {
    order.iter().map(|entry| entry.call).collect()
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
        if orders.len() < TOO_MANY && !before.iter().any(|other| other.is_of_same_table(entry)) {
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
        let mut copy = walk.clone();
        let fixed = script.len();
        copy.choices = walk.choices.with_script(script);
        let ended = call(&mut copy).err();
        pending.extend(siblings(&copy.choices.taken, fixed).take(MOST_WAYS + 1));
        if ways.len() + pending.len() > MOST_WAYS {
            return None;
        }
        let choices = copy.choices.taken.get(before..).unwrap_or_default();
        let mut choices: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
        choices.sort_unstable();
        let kept = match &ended {
            // Nothing sees any more what was kept of a packet that has ended without an answer.
            Some(end) if end.error.is_none() => String::new(),
            _ => format!("{:?} {}", copy.skb, tracked(&copy.tracker)),
        };
        let end = format!("{ended:?} {:?} {kept} {:?}", copy.packet(), copy.doubts);
        ways.push((format!("{choices:?} {end}"), rules_met(walk, &copy)));
    }
    ways.sort_unstable();
    Some(ways)
}

/// What the walk leaves for the next one, in words; where chains of several tables wrote elements, in the tables' order:
/// they have no set in common.
fn tracked(tracker: &Tracker) -> String {
    let mut tracker = Tracker { orders: Vec::new(), ..tracker.clone() };
    tracker.nft_elements.sort_by(|one, other| one.set().cmp(&other.set()));
    format!("{tracker:?}")
}

/// The lines of what matched since a copy was made of a walk, in whichever order.
fn rules_met(walk: &Walk, copy: &Walk) -> String {
    format!("{:?}", lines_met(copy, walk.steps().len()))
}

/// The lines of the rules that a walk has met since it had so many steps, in whichever order.
fn lines_met(walk: &Walk, steps: usize) -> Vec<Vec<Evidence>> {
    let met = walk.steps().get(steps..).unwrap_or_default().iter();
    let met = met.filter(|step| !matches!(step.decision, Decision::Policy { .. }));
    let mut lines: Vec<_> = met.map(|step| step.because.clone()).collect();
    lines.sort_unstable();
    lines
}
