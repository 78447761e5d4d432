//! `set`: whether an ipset holds what the packet shows (`net/netfilter/xt_set.c`, `net/netfilter/ipset/`).

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{IfName, Packet, Protocol, Transport};
use crate::snapshot::{IpSet, SetMatch, SetPart, SetProbe, SetSide};

use super::super::netfilter::HookState;
use super::super::unread;
use super::super::walk::Walk;
use super::{Answer, header};

/// How deep lists of sets may hold each other; the kernel allows one level.
const MAX_DEPTH: u32 = 4;

/// `set_match_v4`.
pub(super) fn set_match(walk: &Walk, state: &HookState, asked: &SetMatch) -> Answer {
    let answer = match ip_set_test(walk, state, asked, &asked.name, MAX_DEPTH) {
        Answer::Yes(_) if asked.counters.is_some() => {
            Answer::unknowable(format!("set {}: {}", asked.name, asked.counters.as_deref().unwrap_or("")))
        }
        answer => answer,
    };
    answer.inverted(asked.invert)
}

/// `ip_set_test` in `ip_set_core.c`.
fn ip_set_test(walk: &Walk, state: &HookState, asked: &SetMatch, name: &str, depth: u32) -> Answer {
    let set = match known(walk, name) {
        Ok(set) => set,
        Err(why) => return doubt(walk, name, &asked.sides, &why),
    };
    if asked.sides.len() < set.dimension() || set.family.is_some_and(|family| family != state.family) {
        return Answer::No;
    }
    if set.has(SetPart::Set) {
        return list_set_ktest(walk, state, asked, set, depth);
    }
    let shown = match show(walk, state, set, &asked.sides) {
        Ok(Some(shown)) => shown,
        Ok(None) => return Answer::No,
        Err(what) => return doubt(walk, name, &asked.sides, &what),
    };
    let found = set.lookup(&shown.probe());
    let lines = |line: Evidence| Answer::Yes(vec![line]);
    match found {
        // `--return-nomatch` turns the answer of types with exceptions around.
        Some(entry) if asked.return_nomatch && set.has(SetPart::Net) => {
            if entry.nomatch {
                lines(entry.evidence)
            } else {
                Answer::No
            }
        }
        Some(entry) if !entry.nomatch => lines(entry.evidence),
        _ => Answer::No,
    }
}

/// `list_set_ktest` in `ip_set_list_set.c`: any of the members.
fn list_set_ktest(walk: &Walk, state: &HookState, asked: &SetMatch, list: &IpSet, depth: u32) -> Answer {
    let mut unknown = None;
    for (member, line) in &list.members {
        let answer = match depth.checked_sub(1) {
            Some(depth) => ip_set_test(walk, state, asked, member, depth),
            None => doubt(walk, &list.name, &asked.sides, "the lists of sets hold each other"),
        };
        match answer {
            Answer::Yes(mut lines) => {
                lines.insert(0, *line);
                return Answer::Yes(lines);
            }
            Answer::No => {}
            answer => unknown = unknown.or(Some(answer)),
        }
    }
    unknown.unwrap_or(Answer::No)
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
    if walk.tracker.changed_sets.iter().any(|(id, changed)| *id == walk.netns_id() && changed == name) {
        return Err("a rule has changed it on the way".to_owned());
    }
    Ok(set)
}

/// A doubt that names what would have to be in the set, so that the same question has one answer on a walk.
fn doubt(walk: &Walk, name: &str, sides: &[SetSide], why: &str) -> Answer {
    let packet = walk.packet();
    let port = |port: Option<u16>| port.map_or(String::new(), |port| format!(":{port}"));
    let side = |side: &SetSide| match side {
        SetSide::Source => format!("{}{}", packet.ip.source, port(packet.source_port())),
        SetSide::Destination => format!("{}{}", packet.ip.destination, port(packet.destination_port())),
    };
    let sides: Vec<String> = sides.iter().map(side).collect();
    let place = walk.place();
    Answer::unknown(format!("ipset {name} of {} {} holds {} ({why})", place.node, place.name, sides.join(",")))
}

/// What a packet shows to a set.
#[derive(Default)]
struct Shown {
    first: Option<IpAddr>,
    second: Option<IpAddr>,
    port: Option<(u8, u16)>,
    iface: Option<IfName>,
    mac: Option<crate::net::MacAddr>,
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
            mac: self.mac,
            mark: self.mark,
        }
    }
}

/// Takes from a packet what a set's elements consist of (`*_kadt`): `None` where it lacks a part, so that it doesn't
/// match; an error where a part is unknown.
fn show(walk: &Walk, state: &HookState, set: &IpSet, sides: &[SetSide]) -> Result<Option<Shown>, String> {
    let packet = walk.packet();
    let mut shown = Shown { mark: packet.mark.0, ..Shown::default() };
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
            SetPart::Mac => match header::link(walk)? {
                Some(link) => shown.mac = Some(if is_source { link.source } else { link.destination }),
                None => return Ok(None),
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
