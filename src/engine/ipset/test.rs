//! Whether a set holds what a packet shows (`ip_set_test` in `ip_set_core.c`, `mtype_test` of the types,
//! `list_set_ktest` in `ip_set_list_set.c`).

use crate::engine::netfilter::HookState;
use crate::engine::walk::Walk;
use crate::evidence::Evidence;
use crate::snapshot::{ElementId, IpSet, SetChanges, SetEntry, SetMember, SetPart, SetProbe};

use super::changed::{change_of, changes, find};
use super::ipmac::bitmap_ipmac_test;
use super::shown::show;
use super::{Query, Tested, doubt, fits, known};

pub(super) fn ip_set_test(walk: &mut Walk, state: &HookState, query: Query<'_>, name: &str, depth: u32) -> Tested {
    let set = match known(walk, name) {
        Ok(set) => set,
        Err(why) => return doubt(walk, name, query.sides, &why),
    };
    if !fits(set, state, query.sides) {
        return Tested::No;
    }
    if set.has(SetPart::Set) {
        return list_set_ktest(walk, state, query, set, depth);
    }
    let shown = match show(walk, state, set, query.sides) {
        Ok(Some(shown)) => shown,
        Ok(None) => return Tested::No,
        Err(what) => return doubt(walk, name, query.sides, &what),
    };
    if set.kind == "bitmap:ip,mac" {
        return bitmap_ipmac_test(walk, query, set, &shown);
    }
    if let Err(what) = &shown.mac {
        return doubt(walk, name, query.sides, what);
    }
    test_elements(walk, set, query, &shown.probe())
}

/// The elements that hold the address, longest prefixes first: one whose counters don't fit is passed by
/// (`mtype_test_cidrs` in `ip_set_hash_gen.h`).
fn test_elements(walk: &mut Walk, set: &IpSet, query: Query<'_>, probe: &SetProbe<'_>) -> Tested {
    let mut passed: Option<SetChanges> = None;
    loop {
        let found = match &passed {
            None => find(walk, set, probe),
            Some(left) => set.find(left, probe).map(|(id, entry)| (id, entry.clone())),
        };
        let Some((id, entry)) = found else { return Tested::No };
        match (ip_set_match_extensions(walk, set, query, id), id) {
            (Some(true), _) => return holds(set, query, &entry),
            (Some(false), _) if !set.has(SetPart::Net) => return Tested::No,
            // Of several devices of a prefix it depends on their places in the hash which the kernel goes on from.
            (Some(false), ElementId::Saved(_)) if !set.has(SetPart::Iface) => {
                passed.get_or_insert_with(|| changes(walk, &set.name).clone()).remove(id);
            }
            _ => {
                return match holds(set, query, &entry) {
                    Tested::Yes(..) => by_counters(set, query),
                    answer => answer,
                };
            }
        }
    }
}

/// Nobody knows whether the counters fit.
pub(super) fn by_counters(set: &IpSet, query: Query<'_>) -> Tested {
    Tested::Unknown(format!("set {}: {}", set.name, query.counters.unwrap_or("")), false)
}

/// `--return-nomatch` turns the answer of types with exceptions around.
fn holds(set: &IpSet, query: Query<'_>, entry: &SetEntry) -> Tested {
    let turned = query.return_nomatch && set.has(SetPart::Net);
    if entry.nomatch == turned { Tested::Yes(vec![entry.evidence], entry.skbmark) } else { Tested::No }
}

/// Counts the packet where the element counts, and says whether that is all that the rule asks, or fits what it asks of
/// the counters (`ip_set_match_extensions`). `None` where the packet's length is not known that they have counted.
pub(super) fn ip_set_match_extensions(
    walk: &mut Walk,
    set: &IpSet,
    query: Query<'_>,
    element: ElementId,
) -> Option<bool> {
    if !set.counters {
        return Some(true);
    }
    if query.counts && walk.netns().netfilter.asks_set_counters() {
        let bytes = u64::from(walk.packet().length);
        change_of(walk, &set.name).changes.count(element, bytes);
    }
    let Some(asked) = query.counters else { return Some(true) };
    let (least, most) = walk.length_range();
    if least != most && asked.contains("--bytes") {
        return None;
    }
    set.counters(changes(walk, &set.name), element).map(|counters| compare(asked, counters))
}

/// `ip_set_match_counter`, for packets and bytes.
fn compare(asked: &str, (packets, bytes): (u64, u64)) -> bool {
    let mut words = asked.split_ascii_whitespace();
    let mut invert = false;
    while let Some(word) = words.next() {
        if word == "!" {
            invert = true;
            continue;
        }
        let counter = if word.starts_with("--packets") { packets } else { bytes };
        let value: u64 = words.next().and_then(|value| value.parse().ok()).unwrap_or(0);
        let holds = match word.rsplit('-').next() {
            Some("lt") => counter < value,
            Some("gt") => counter > value,
            _ => (counter == value) != invert,
        };
        if !holds {
            return false;
        }
        invert = false;
    }
    true
}

/// `list_set_ktest`: any of the members.
fn list_set_ktest(walk: &mut Walk, state: &HookState, query: Query<'_>, list: &IpSet, depth: u32) -> Tested {
    let Some(depth) = depth.checked_sub(1) else {
        return doubt(
            walk,
            &list.name,
            query.sides,
            "a list of sets holds it, and it is a list, which no kernel allows",
        );
    };
    let of_member = Query { counters: None, counts: query.counts && query.counts_in_members, ..query };
    let mut unknown = None;
    for (place, member) in (0u32..).zip(&list.members) {
        match ip_set_test(walk, state, of_member, &member.name, depth) {
            // Which member comes first decides the mark.
            Tested::Yes(lines, skbmark) if unknown.is_none() || !query.maps => {
                match ip_set_match_extensions(walk, list, query, ElementId::Saved(place)) {
                    Some(true) => return listed(list, member, lines, skbmark),
                    Some(false) => {}
                    None => unknown = Some(by_counters(list, query)),
                }
            }
            Tested::Yes(..) | Tested::No => {}
            open @ Tested::Unknown(..) => unknown = unknown.or(Some(open)),
        }
    }
    unknown.unwrap_or(Tested::No)
}

/// The member's line stands before the element's.
fn listed(list: &IpSet, member: &SetMember, mut lines: Vec<Evidence>, skbmark: (u32, u32)) -> Tested {
    lines.insert(0, member.evidence);
    Tested::Yes(lines, if list.skbinfo { member.skbmark } else { skbmark })
}
