//! What rules add to sets and delete from them (`ip_set_add` and `ip_set_del` in `ip_set_core.c`, `mtype_add` of the
//! types, `list_set_kadd` and `list_set_kdel` in `ip_set_list_set.c`).

use crate::engine::netfilter::HookState;
use crate::engine::walk::Walk;
use crate::evidence::Evidence;
use crate::snapshot::{ElementId, IpSet, SetEntry, SetPart, SetSide};

use super::changed::{change_of, changes, element, lose, same};
use super::shown::show;
use super::{Change, fits, known};

/// What adding or deleting came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
    Unknown,
}

/// Nobody can tell what becomes of the set.
fn cannot_tell(walk: &mut Walk, name: &str) -> Outcome {
    lose(walk, name);
    Outcome::Unknown
}

pub(super) fn ip_set_kadt(
    walk: &mut Walk,
    state: &HookState,
    (name, sides): (&str, &[SetSide]),
    change: Change,
    line: Evidence,
    depth: u32,
) -> Outcome {
    let Ok(set) = known(walk, name) else { return cannot_tell(walk, name) };
    if !fits(set, state, sides) {
        return Outcome::Failed;
    }
    if set.has(SetPart::Set) {
        return list_set_kadt(walk, state, (set, sides), change, line, depth);
    }
    let shown = match show(walk, state, set, sides) {
        Ok(Some(shown)) => shown,
        Ok(None) => return Outcome::Failed,
        Err(_) => return cannot_tell(walk, name),
    };
    // A bitmap deletes an element by its address.
    let by_address = set.kind == "bitmap:ip,mac" && matches!(change, Change::Delete);
    if shown.mac.is_err() && !by_address {
        return cannot_tell(walk, name);
    }
    let Some(element) = element(walk, set, &shown.probe(), line) else { return Outcome::Failed };
    let old = same(walk, set, &element);
    match (change, old) {
        (Change::Delete, None) => Outcome::Failed,
        (Change::Delete, Some((id, _))) => {
            change_of(walk, name).changes.remove(id);
            Outcome::Done
        }
        (Change::Add { exist }, old) => mtype_add(walk, set, element, old, exist),
    }
}

/// `mtype_add` in `ip_set_hash_gen.h` and `ip_set_bitmap_gen.h`: what is there already is an error, or gets counters,
/// mark and time as if it were new. How long an element stays makes no difference to a packet.
fn mtype_add(
    walk: &mut Walk,
    set: &IpSet,
    element: SetEntry,
    old: Option<(ElementId, SetEntry)>,
    exist: bool,
) -> Outcome {
    let full = old.is_none() && set.range.is_none() && set.count(changes(walk, &set.name)) >= set.maxelem;
    if full {
        // Elements whose time is over give way, and so do others of a set with `forceadd`.
        return cannot_tell(walk, &set.name);
    }
    let bytes = u64::from(walk.packet().length);
    let changed = change_of(walk, &set.name);
    // An element without a link address takes the packet's though it is there (`bitmap_ipmac_do_add`), unless it has
    // already taken one that nobody knows.
    let taken = |old: &SetEntry| {
        let mut taken = changed.unknown_macs.iter();
        taken.any(|(address, _)| old.first.is_some_and(|net| net.addr() == *address))
    };
    let completes = |old: &SetEntry| set.kind == "bitmap:ip,mac" && old.mac.is_none() && !taken(old);
    let new = match old {
        Some((_, old)) if !exist && !completes(&old) => return Outcome::Failed,
        Some((id, old)) => {
            changed.changes.remove(id);
            let mac = element.mac.or(old.mac);
            SetEntry { nomatch: false, skbmark: (0, 0), mac, evidence: element.evidence, ..old }
        }
        None => element,
    };
    changed.unknown_macs.retain(|(address, _)| new.first.is_none_or(|net| net.addr() != *address));
    changed.changes.add(new, (1, bytes));
    Outcome::Done
}

/// `list_set_kadd`, `list_set_kdel`: the first member that takes it.
fn list_set_kadt(
    walk: &mut Walk,
    state: &HookState,
    (list, sides): (&IpSet, &[SetSide]),
    change: Change,
    line: Evidence,
    depth: u32,
) -> Outcome {
    let Some(depth) = depth.checked_sub(1) else { return cannot_tell(walk, &list.name) };
    let mut members = list.members.iter();
    while let Some(member) = members.next() {
        match ip_set_kadt(walk, state, (&member.name, sides), change, line, depth) {
            Outcome::Failed => {}
            Outcome::Done => return Outcome::Done,
            Outcome::Unknown => {
                // Where the first refused it, one of the others may have taken it.
                for member in members {
                    lose(walk, &member.name);
                }
                return Outcome::Unknown;
            }
        }
    }
    Outcome::Failed
}
