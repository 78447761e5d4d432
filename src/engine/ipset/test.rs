//! Whether a set holds what a packet shows (`ip_set_test` in `ip_set_core.c`, `mtype_test` of the types,
//! `list_set_ktest` in `ip_set_list_set.c`).

use crate::engine::netfilter::HookState;
use crate::engine::walk::Walk;
use crate::evidence::Evidence;
use crate::snapshot::{ElementId, IpSet, SetEntry, SetMember, SetPart};

use super::changed::{changed, changed_mut, find};
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
    let found = find(walk, set, &shown.probe());
    let Some((id, entry)) = found else { return Tested::No };
    if !counted(walk, set, query, id) {
        return by_counters(walk, set, query, id, &entry);
    }
    holds(set, query, &entry)
}

/// `--return-nomatch` turns the answer of types with exceptions around.
fn holds(set: &IpSet, query: Query<'_>, entry: &SetEntry) -> Tested {
    let turned = query.return_nomatch && set.has(SetPart::Net);
    if entry.nomatch == turned { Tested::Yes(vec![entry.evidence], entry.skbmark) } else { Tested::No }
}

/// Counts the packet where the element counts, and says whether that is all that the rule asks
/// (`ip_set_match_extensions`).
pub(super) fn counted(walk: &mut Walk, set: &IpSet, query: Query<'_>, id: ElementId) -> bool {
    if set.counters && query.counts {
        let bytes = u64::from(walk.packet().length);
        if let Some(changed) = changed_mut(walk, &set.name) {
            changed.changes.count(id, bytes);
        }
    }
    !set.counters || query.counters.is_none()
}

/// An element that the walk itself has added has counted this walk's packets alone.
fn by_counters(walk: &Walk, set: &IpSet, query: Query<'_>, id: ElementId, entry: &SetEntry) -> Tested {
    let asked = query.counters.unwrap_or("");
    let counters = changed(walk, &set.name).and_then(|changed| changed.changes.counters(id));
    match counters.map(|counters| compare(asked, counters)) {
        Some(true) => holds(set, query, entry),
        // A shorter prefix that is there too may have counted otherwise (`mtype_test_cidrs` goes on).
        Some(false) if !set.has(SetPart::Net) => Tested::No,
        _ => match holds(set, query, entry) {
            Tested::Yes(..) => Tested::Unknown(format!("set {}: {asked}", set.name), false),
            answer => answer,
        },
    }
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
    for member in &list.members {
        match ip_set_test(walk, state, of_member, &member.name, depth) {
            // Which member comes first decides the mark.
            Tested::Yes(lines, skbmark) if unknown.is_none() || !query.maps => {
                return listed(list, query, member, lines, skbmark);
            }
            Tested::Yes(..) | Tested::No => {}
            open @ Tested::Unknown(..) => unknown = unknown.or(Some(open)),
        }
    }
    unknown.unwrap_or(Tested::No)
}

/// The member's line stands before the element's.
fn listed(list: &IpSet, query: Query<'_>, member: &SetMember, mut lines: Vec<Evidence>, skbmark: (u32, u32)) -> Tested {
    if let Some(asked) = query.counters.filter(|_| list.counters) {
        return Tested::Unknown(format!("set {}: {asked}", list.name), false);
    }
    lines.insert(0, member.evidence);
    Tested::Yes(lines, if list.skbinfo { member.skbmark } else { skbmark })
}
