//! `bitmap:ip,mac`, whose elements take the link address of the first packet that asks for them
//! (`ip_set_bitmap_ipmac.c`).

use std::net::IpAddr;

use crate::engine::walk::Walk;
use crate::net::{IfName, MacAddr};
use crate::snapshot::{ElementId, IpSet, SetEntry, SetProbe, SetSide};

use super::changed::{Frame, change_of, changed, element, same};
use super::shown::Shown;
use super::test::{by_counters, ip_set_match_extensions};
use super::{Query, Tested, doubt};

/// `bitmap_ipmac_do_test` in `ip_set_bitmap_ipmac.c`: an element without a link address takes the first packet's.
pub(super) fn bitmap_ipmac_test(walk: &mut Walk, query: Query<'_>, set: &IpSet, shown: &Shown) -> Tested {
    let probe = SetProbe { mac: None, ..shown.probe() };
    let Some((id, entry)) = element(walk, set, &probe, set.evidence).and_then(|element| same(walk, set, &element))
    else {
        return Tested::No;
    };
    let name = &set.name;
    let frame = (walk.skb.iif.clone(), query.sides.get(1) == Some(&SetSide::Source));
    let address = shown.first.unwrap_or(walk.packet().ip.source);
    let taken = changed(walk, name).and_then(|set| set.unknown_macs.iter().find(|(taken, _)| *taken == address));
    match (entry.mac, &shown.mac, taken) {
        (_, Err(_), Some((_, taken))) if *taken == frame => {}
        (_, _, Some((_, taken))) => {
            let why = format!("its element has the {}, the packet the {}", of_frame(taken), of_frame(&frame));
            return doubt(walk, name, query.sides, &why);
        }
        (Some(mac), Ok(shown), _) if Some(mac) != *shown => return Tested::No,
        (Some(_), Err(what), _) => return doubt(walk, name, query.sides, what),
        (None, mac, _) => {
            let mac = mac.as_ref().ok().copied().flatten();
            let line = entry.evidence;
            complete(walk, set, (id, entry), mac, (address, frame));
            // The test itself gave no mark (`mtype_test` in `ip_set_bitmap_gen.h` ends before it).
            return Tested::Yes(vec![line], (0, 0));
        }
        _ => {}
    }
    match ip_set_match_extensions(walk, set, query, id) {
        Some(true) => Tested::Yes(vec![entry.evidence], entry.skbmark),
        Some(false) => Tested::No,
        None => by_counters(set, query),
    }
}

fn of_frame((dev, is_source): &Frame) -> String {
    let side = if *is_source { "source" } else { "destination" };
    format!("{side} link address of what came in by {}", dev.as_ref().map_or("no device", IfName::as_str))
}

/// The element gets the packet's link address, and is written anew without the mark that it had (`ip_set_test` has it
/// added, and `mtype_add` in `ip_set_bitmap_gen.h` takes the mark from the packet's options, which have none).
fn complete(
    walk: &mut Walk,
    set: &IpSet,
    (id, entry): (ElementId, SetEntry),
    mac: Option<MacAddr>,
    taken: (IpAddr, Frame),
) {
    let bytes = u64::from(walk.packet().length);
    let changed = change_of(walk, &set.name);
    changed.changes.remove(id);
    changed.changes.add(SetEntry { mac, skbmark: (0, 0), ..entry }, (1, bytes));
    if mac.is_none() {
        changed.unknown_macs.push(taken);
    }
}
