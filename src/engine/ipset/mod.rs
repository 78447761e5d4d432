//! ipsets as the packet path sees them: asked, added to and deleted from by rules.
//!
//! Follows `net/netfilter/ipset/`: `ip_set_core.c`, the `*_kadt` of the types, and `ip_set_list_set.c`.

mod add;
mod changed;
mod ipmac;
mod shown;
mod test;

use crate::evidence::Evidence;
use crate::snapshot::{IpSet, SetSide};

use super::netfilter::HookState;
use super::unread;
use super::walk::Walk;

pub(super) use changed::ChangedSets;
use changed::lost;

/// How deep lists of sets may hold each other: a list takes no list (`IPSET_ERR_LOOP` in `list_set_uadt`).
const MAX_DEPTH: u32 = 1;

/// What a rule asks of a set (`struct ip_set_adt_opt`).
#[derive(Clone, Copy)]
pub(super) struct Query<'q> {
    pub sides: &'q [SetSide],
    /// `--return-nomatch`.
    pub return_nomatch: bool,
    /// Conditions on counters, which a list doesn't hand on to its members.
    pub counters: Option<&'q str>,
    /// Whether matching counts, in the set itself and in the members of a list.
    pub counts: bool,
    pub counts_in_members: bool,
    /// Whether the element's mark is asked for.
    pub maps: bool,
}

impl<'q> Query<'q> {
    /// What `SET --map-set` asks.
    pub(super) fn map(sides: &'q [SetSide]) -> Self {
        Self { sides, return_nomatch: false, counters: None, counts: true, counts_in_members: true, maps: true }
    }
}

/// A set's answer.
pub(super) enum Tested {
    No,
    /// The lines that say so, and the element's `skbmark`.
    Yes(Vec<Evidence>, (u32, u32)),
    /// What would have to be so, and whether the same words ask for the same fact.
    Unknown(String, bool),
}

/// What a rule does to a set.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// Adds an element; one that is there is written anew only with `exist`.
    Add {
        exist: bool,
    },
    Delete,
}

/// Whether a set holds what the packet shows (`ip_set_test`).
pub(super) fn test(walk: &mut Walk, state: &HookState, query: Query<'_>, name: &str) -> Tested {
    test::ip_set_test(walk, state, query, name, MAX_DEPTH)
}

/// Whether asking changes what a later rule is answered: counters count, and `bitmap:ip,mac` completes its elements,
/// also where a list holds it.
pub(super) fn writes(walk: &Walk, name: &str) -> bool {
    let set = |name: &str| walk.netns().ipsets.as_ref().and_then(|sets| sets.get(name));
    let counts = walk.netns().netfilter.asks_set_counters();
    let keeps = |name: &str| set(name).is_some_and(|set| set.kind == "bitmap:ip,mac" || counts && set.counters);
    let holds_one = set(name).is_some_and(|list| list.members.iter().any(|member| keeps(&member.name)));
    keeps(name) || holds_one || walk.tracker.sets.values().any(|set| set.changes.has_added())
}

/// Adds what the packet shows to a set, or deletes it (`ip_set_add`, `ip_set_del`).
pub(super) fn change(
    walk: &mut Walk,
    state: &HookState,
    (name, sides): (&str, &[SetSide]),
    change: Change,
    line: Evidence,
) {
    add::ip_set_kadt(walk, state, (name, sides), change, line, MAX_DEPTH);
}

/// Whether a rule's sides and the packet's family are those of the set (`ip_set_add` and its likes).
fn fits(set: &IpSet, state: &HookState, sides: &[SetSide]) -> bool {
    sides.len() >= set.dimension() && set.family.is_none_or(|family| family == state.family)
}

/// The set, or why it is not known.
fn known<'s>(walk: &Walk<'s>, name: &str) -> Result<&'s IpSet, String> {
    let netns = walk.netns();
    let Some(sets) = &netns.ipsets else { return Err(netns.lacks("ipset")) };
    if let Some(unread) = unread::of_ipset(walk, name) {
        return Err(unread);
    }
    let Some(set) = sets.get(name) else { return Err(format!("{}/ipset doesn't hold it", netns.dir)) };
    if set.parts.is_none() {
        return Err(format!("its type {} is not modelled", set.kind));
    }
    if let Some(option) = set.unmodelled.first() {
        return Err(format!("`{option}` is not modelled"));
    }
    if lost(walk, name) > 0 {
        return Err("nobody can tell what is in it now".to_owned());
    }
    Ok(set)
}

/// A doubt that names what would have to be in the set, so that the same question has one answer on a walk, until a
/// rule changes the set.
fn doubt(walk: &Walk, name: &str, sides: &[SetSide], why: &str) -> Tested {
    let packet = walk.packet();
    let port = |port: Option<u16>| port.map_or(String::new(), |port| format!(":{port}"));
    let side = |side: &SetSide| match side {
        SetSide::Source => format!("{}{}", packet.ip.source, port(packet.source_port())),
        SetSide::Destination => format!("{}{}", packet.ip.destination, port(packet.destination_port())),
    };
    let sides: Vec<String> = sides.iter().map(side).collect();
    let place = walk.place();
    let changes = match lost(walk, name) {
        0 => String::new(),
        1 => "; a rule has changed it on the way".to_owned(),
        several => format!("; rules have changed it on the way, {several} times"),
    };
    let what = format!("ipset {name} of {} {} holds {} ({why}{changes})", place.node, place.name, sides.join(","));
    Tested::Unknown(what, true)
}
