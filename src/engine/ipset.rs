//! ipsets as the packet path sees them: asked, added to and deleted from by rules.
//!
//! Follows `net/netfilter/ipset/`: `ip_set_core.c`, the `*_kadt` of the types, and `ip_set_list_set.c`.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{IfName, MacAddr, Packet, Protocol, Transport};
use crate::snapshot::{ElementId, IpSet, NetnsId, SetChanges, SetEntry, SetMember, SetPart, SetProbe, SetSide};

use super::matches::link;
use super::netfilter::HookState;
use super::unread;
use super::walk::Walk;

/// How deep lists of sets may hold each other: a list takes no list (`IPSET_ERR_LOOP` in `list_set_uadt`).
const MAX_DEPTH: u32 = 1;

/// The sets that the rules of a walk have changed.
pub(super) type ChangedSets = HashMap<(NetnsId, String), ChangedSet>;

/// What the rules of this walk have done to one set.
#[derive(Clone, Debug, Default)]
pub(super) struct ChangedSet {
    changes: SetChanges,
    /// How many changes nobody can tell.
    lost: u32,
    /// Elements that took a link address which nobody knows: the first address, and whose frame it was.
    unknown_macs: Vec<(IpAddr, Frame)>,
}

/// Which link address of which frame: the device that it came in by, and whether it is the sender's.
type Frame = (Option<IfName>, bool);

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

/// What adding or deleting came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    Unknown,
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
    ip_set_test(walk, state, query, name, MAX_DEPTH)
}

/// Whether asking changes what a later rule is answered: counters count, and `bitmap:ip,mac` completes its elements,
/// also where a list holds it.
pub(super) fn writes(walk: &Walk, name: &str) -> bool {
    let set = |name: &str| walk.netns().ipsets.as_ref().and_then(|sets| sets.get(name));
    let is_bitmap = |name: &str| set(name).is_some_and(|set| set.kind == "bitmap:ip,mac");
    let holds_bitmap = set(name).is_some_and(|list| list.members.iter().any(|member| is_bitmap(&member.name)));
    is_bitmap(name) || holds_bitmap || walk.tracker.sets.values().any(|set| set.changes.has_added())
}

/// Adds what the packet shows to a set, or deletes it (`ip_set_add`, `ip_set_del`).
pub(super) fn change(
    walk: &mut Walk,
    state: &HookState,
    (name, sides): (&str, &[SetSide]),
    change: Change,
    line: Evidence,
) {
    ip_set_kadt(walk, state, (name, sides), change, line, MAX_DEPTH);
}

fn ip_set_test(walk: &mut Walk, state: &HookState, query: Query<'_>, name: &str, depth: u32) -> Tested {
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
fn counted(walk: &mut Walk, set: &IpSet, query: Query<'_>, id: ElementId) -> bool {
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

/// `bitmap_ipmac_do_test` in `ip_set_bitmap_ipmac.c`: an element without a link address takes the first packet's.
fn bitmap_ipmac_test(walk: &mut Walk, query: Query<'_>, set: &IpSet, shown: &Shown) -> Tested {
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
    if counted(walk, set, query, id) {
        return Tested::Yes(vec![entry.evidence], entry.skbmark);
    }
    Tested::Unknown(format!("set {name}: {}", query.counters.unwrap_or("")), false)
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

fn ip_set_kadt(
    walk: &mut Walk,
    state: &HookState,
    (name, sides): (&str, &[SetSide]),
    change: Change,
    line: Evidence,
    depth: u32,
) -> Outcome {
    let Ok(set) = known(walk, name) else { return lose(walk, name) };
    if !fits(set, state, sides) {
        return Outcome::Failed;
    }
    if set.has(SetPart::Set) {
        return list_set_kadt(walk, state, (set, sides), change, line, depth);
    }
    let shown = match show(walk, state, set, sides) {
        Ok(Some(shown)) => shown,
        Ok(None) => return Outcome::Failed,
        Err(_) => return lose(walk, name),
    };
    // A bitmap deletes an element by its address.
    let by_address = set.kind == "bitmap:ip,mac" && matches!(change, Change::Delete);
    if shown.mac.is_err() && !by_address {
        return lose(walk, name);
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
        return lose(walk, &set.name);
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
    let Some(depth) = depth.checked_sub(1) else { return lose(walk, &list.name) };
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

/// Whether a rule's sides and the packet's family are those of the set (`ip_set_add` and its likes).
fn fits(set: &IpSet, state: &HookState, sides: &[SetSide]) -> bool {
    sides.len() >= set.dimension() && set.family.is_none_or(|family| family == state.family)
}

fn changed<'w>(walk: &'w Walk, name: &str) -> Option<&'w ChangedSet> {
    let sets = &walk.tracker.sets;
    if sets.is_empty() { None } else { sets.get(&(walk.netns_id(), name.to_owned())) }
}

fn changed_mut<'w>(walk: &'w mut Walk, name: &str) -> Option<&'w mut ChangedSet> {
    let netns = walk.netns_id();
    walk.tracker.sets.get_mut(&(netns, name.to_owned()))
}

/// A set's changes, to write more of them.
fn change_of<'w>(walk: &'w mut Walk, name: &str) -> &'w mut ChangedSet {
    let netns = walk.netns_id();
    walk.tracker.sets.entry((netns, name.to_owned())).or_default()
}

static UNCHANGED: SetChanges = SetChanges::none();

fn changes<'w>(walk: &'w Walk, name: &str) -> &'w SetChanges {
    changed(walk, name).map_or(&UNCHANGED, |changed| &changed.changes)
}

fn find(walk: &Walk, set: &IpSet, probe: &SetProbe<'_>) -> Option<(ElementId, SetEntry)> {
    set.find(changes(walk, &set.name), probe).map(|(id, entry)| (id, entry.clone()))
}

fn same(walk: &Walk, set: &IpSet, element: &SetEntry) -> Option<(ElementId, SetEntry)> {
    set.same(changes(walk, &set.name), element).map(|(id, entry)| (id, entry.clone()))
}

fn element(walk: &Walk, set: &IpSet, probe: &SetProbe<'_>, line: Evidence) -> Option<SetEntry> {
    set.element(changes(walk, &set.name), probe, line)
}

/// A rule has changed a set in a way that nobody can tell: what it held before is no answer any more.
fn lose(walk: &mut Walk, name: &str) -> Outcome {
    change_of(walk, name).lost += 1;
    Outcome::Unknown
}

/// How many changes nobody can tell of this set, or of one that may be a list which holds it.
fn lost(walk: &Walk, name: &str) -> u32 {
    let sets = walk.netns().ipsets.as_ref();
    let is_absent = |name: &str| sets.is_none_or(|sets| !sets.contains_key(name));
    let ours = walk.tracker.sets.iter().filter(|((netns, _), _)| *netns == walk.netns_id());
    ours.filter(|((_, other), _)| other == name || is_absent(other)).map(|(_, set)| set.lost).sum()
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

/// What a packet shows to a set.
struct Shown {
    first: Option<IpAddr>,
    second: Option<IpAddr>,
    port: Option<(u8, u16)>,
    iface: Option<IfName>,
    mac: Result<Option<MacAddr>, String>,
    mark: u32,
}

impl Shown {
    fn probe(&self) -> SetProbe<'_> {
        SetProbe {
            first: self.first,
            port: self.port,
            second: self.second,
            iface: self.iface.as_ref().map(IfName::as_str),
            // iptables never asks for the bridge port (`IPSET_FLAG_PHYSDEV`), so such elements never match.
            physdev: None,
            mac: self.mac.as_ref().ok().copied().flatten(),
            mark: self.mark,
        }
    }
}

/// Takes from a packet what a set's elements consist of (`*_kadt`): `None` where it lacks a part, so that it doesn't
/// match; an error where a part is unknown.
fn show(walk: &Walk, state: &HookState, set: &IpSet, sides: &[SetSide]) -> Result<Option<Shown>, String> {
    let packet = walk.packet();
    let mut shown = Shown { first: None, second: None, port: None, iface: None, mac: Ok(None), mark: packet.mark.0 };
    for (part, side) in set.parts.iter().flatten().zip(sides) {
        let is_source = *side == SetSide::Source;
        match part {
            SetPart::Ip | SetPart::Net => {
                let addr = if is_source { packet.ip.source } else { packet.ip.destination };
                let slot = if shown.first.is_none() { &mut shown.first } else { &mut shown.second };
                *slot = Some(addr);
            }
            SetPart::Port => match port(packet, *side, set.kind == "bitmap:port")? {
                Some(port) => shown.port = Some(port),
                None => return Ok(None),
            },
            SetPart::Iface => match if is_source { &state.indev } else { &state.outdev } {
                Some(dev) => shown.iface = Some(dev.clone()),
                None => return Ok(None),
            },
            SetPart::Mac => match link(walk) {
                Ok(Some(link)) => shown.mac = Ok(Some(if is_source { link.source } else { link.destination })),
                Ok(None) => return Ok(None),
                Err(what) => shown.mac = Err(what),
            },
            SetPart::Mark | SetPart::Set => {}
        }
    }
    // `hash_ip4_kadt` refuses the address of all zeros.
    let zero = set.kind == "hash:ip" && shown.first.is_some_and(|addr| addr.is_unspecified());
    Ok((!zero).then_some(shown))
}

/// Protocol and port (`ip_set_get_ip4_port` in `ip_set_getport.c`, `ip_set_get_ip_port` in `ip_set_bitmap_port.c`).
fn port(packet: &Packet, side: SetSide, bitmap: bool) -> Result<Option<(u8, u16)>, String> {
    let protocol = packet.protocol();
    let port = match packet.transport {
        Transport::Icmp { kind, code, .. } => Some(u16::from_be_bytes([kind, code])),
        // UDP-Lite has ports, which the walk doesn't keep.
        Transport::Other(Protocol(136)) => None,
        Transport::Other(_) => Some(0),
        _ if side == SetSide::Source => packet.source_port(),
        _ => packet.destination_port(),
    };
    if bitmap && !matches!(protocol, Protocol::TCP | Protocol::UDP) {
        return Ok(None);
    }
    let port = port.ok_or("a port is not known")?;
    Ok(Some((if bitmap { 0 } else { protocol.0 }, port)))
}
