//! Whether a range of ports has one left for a further connection (`nf_nat_l4proto_unique_tuple` in
//! `net/netfilter/nf_nat_core.c` tries them all): what is drawn differs from every port that is taken.

use std::collections::BTreeSet;

use crate::evidence::Evidence;
use crate::snapshot::ConntrackTuple;

use super::conntrack::{CtEntry, CtId};
use super::conntrack_tuple::invert;
use super::nat::Manip;
use super::walk::Walk;

/// What is left of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Some,
    None,
    /// Ports that were drawn by other rules may be of this range.
    Unknown,
}

/// What is left of a rule's range for a connection that is to have this tuple but for its port.
pub(super) fn left(walk: &Walk, id: CtId, wanted: &ConntrackTuple, range: (u16, u16), manip: Manip) -> Left {
    let Some(entry) = walk.tracker.entries.get(id) else { return Left::Some };
    let because = rule(entry, manip);
    let size = usize::from(range.1.saturating_sub(range.0)) + 1;
    let wanted = without_port(wanted, manip);
    let mut known = BTreeSet::new();
    let (mut drawn, mut elsewhere) = (0, 0);
    let same = |other: &&CtEntry| {
        other.netns == entry.netns && other.protocol == entry.protocol && other.zone.id == entry.zone.id
    };
    for other in walk.tracker.entries.iter().filter(same).filter(|other| other.confirmed && !other.dead) {
        let Some(tuple) = invert(other.protocol, &other.reply).filter(|tuple| without_port(tuple, manip) == wanted)
        else {
            continue;
        };
        match port(&tuple, manip) {
            Some(port) => _ = known.insert(port),
            None if rule(other, manip) == because => drawn += 1,
            None => elsewhere += 1,
        }
    }
    for row in walk.netns().conntrack.iter().flatten().filter(|row| row.protocol == entry.protocol) {
        let tuple = invert(row.protocol, &row.reply).filter(|tuple| without_port(tuple, manip) == wanted);
        known.extend(tuple.and_then(|tuple| port(&tuple, manip)));
    }
    let taken = known.range(range.0..=range.1).count() + drawn;
    match (taken >= size, taken + elsewhere >= size) {
        (true, _) => Left::None,
        (false, true) => Left::Unknown,
        (false, false) => Left::Some,
    }
}

/// The rule that rewrote this half of a connection.
fn rule(entry: &CtEntry, manip: Manip) -> Option<Evidence> {
    match manip {
        Manip::Src => entry.snat_because,
        Manip::Dst => entry.dnat_because,
    }
}

fn port(tuple: &ConntrackTuple, manip: Manip) -> Option<u16> {
    match manip {
        Manip::Src => tuple.source_port,
        Manip::Dst => tuple.destination_port,
    }
}

fn without_port(tuple: &ConntrackTuple, manip: Manip) -> ConntrackTuple {
    match manip {
        Manip::Src => ConntrackTuple { source_port: None, ..*tuple },
        Manip::Dst => ConntrackTuple { destination_port: None, ..*tuple },
    }
}
