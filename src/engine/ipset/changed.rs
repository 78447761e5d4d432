//! What the rules of a walk have done to sets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::engine::walk::Walk;
use crate::evidence::Evidence;
use crate::net::IfName;
use crate::snapshot::{ElementId, IpSet, NetnsId, SetChanges, SetEntry, SetProbe};

/// The sets that the rules of a walk have changed.
pub(in crate::engine) type ChangedSets = BTreeMap<(NetnsId, String), ChangedSet>;

/// What the rules of this walk have done to one set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::engine) struct ChangedSet {
    pub(super) changes: SetChanges,
    /// How many changes nobody can tell.
    pub(super) lost: u32,
    /// Elements that took a link address which nobody knows: the first address, and whose frame it was.
    pub(super) unknown_macs: Vec<(IpAddr, Frame)>,
}

/// Which link address of which frame: the device that it came in by, and whether it is the sender's.
pub(super) type Frame = (Option<IfName>, bool);

pub(super) fn changed<'w>(walk: &'w Walk, name: &str) -> Option<&'w ChangedSet> {
    let sets = &walk.tracker.sets;
    if sets.is_empty() { None } else { sets.get(&(walk.netns_id(), name.to_owned())) }
}

/// A set's changes, to write more of them.
pub(super) fn change_of<'w>(walk: &'w mut Walk, name: &str) -> &'w mut ChangedSet {
    let netns = walk.netns_id();
    walk.tracker.sets.entry((netns, name.to_owned())).or_default()
}

static UNCHANGED: SetChanges = SetChanges::none();

pub(super) fn changes<'w>(walk: &'w Walk, name: &str) -> &'w SetChanges {
    changed(walk, name).map_or(&UNCHANGED, |changed| &changed.changes)
}

pub(super) fn find(walk: &Walk, set: &IpSet, probe: &SetProbe<'_>) -> Option<(ElementId, SetEntry)> {
    set.find(changes(walk, &set.name), probe).map(|(id, entry)| (id, entry.clone()))
}

pub(super) fn same(walk: &Walk, set: &IpSet, element: &SetEntry) -> Option<(ElementId, SetEntry)> {
    set.same(changes(walk, &set.name), element).map(|(id, entry)| (id, entry.clone()))
}

pub(super) fn element(walk: &Walk, set: &IpSet, probe: &SetProbe<'_>, line: Evidence) -> Option<SetEntry> {
    set.element(changes(walk, &set.name), probe, line)
}

/// A rule has changed a set in a way that nobody can tell: what it held before is no answer any more.
pub(super) fn lose(walk: &mut Walk, name: &str) {
    change_of(walk, name).lost += 1;
}

/// How many changes nobody can tell of this set, or of one that may be a list which holds it.
pub(super) fn lost(walk: &Walk, name: &str) -> u32 {
    let sets = walk.netns().ipsets.as_ref();
    let is_absent = |name: &str| sets.is_none_or(|sets| !sets.contains_key(name));
    let ours = walk.tracker.sets.iter().filter(|((netns, _), _)| *netns == walk.netns_id());
    ours.filter(|((_, other), _)| other == name || is_absent(other)).map(|(_, set)| set.lost).sum()
}
