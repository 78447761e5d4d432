//! `recent`: lists of addresses that rules keep (`net/netfilter/xt_recent.c`).

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::snapshot::{NetnsId, RecentAction, RecentMatch, RecentSide};

use super::super::netfilter::HookState;
use super::super::unread;
use super::super::walk::Walk;
use super::Answer;

/// What a walk itself has written into a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Written {
    netns: NetnsId,
    list: String,
    addr: IpAddr,
    /// How many stamps the entry has now; 0 where it was removed.
    stamps: usize,
}

/// What is known of an address in a list.
enum Entry {
    Absent,
    /// Stamps as old as the snapshot, and those of this walk.
    Present {
        old: usize,
        fresh: usize,
        line: Option<Evidence>,
    },
    Unknown(String),
}

/// Whether asking changes the list.
pub(super) fn writes(asked: &RecentMatch) -> bool {
    asked.action != RecentAction::Rcheck
}

/// `recent_mt`.
pub(super) fn recent_mt(walk: &mut Walk, state: &HookState, asked: &RecentMatch) -> Answer {
    let ip = walk.packet().ip;
    let addr = masked(if asked.side == RecentSide::Source { ip.source } else { ip.destination }, asked.mask);
    let entry = lookup(walk, asked, addr, ttl(walk, state));
    let answer = match (asked.action, &entry) {
        (RecentAction::Set, _) => Answer::from(true),
        (_, Entry::Absent) => Answer::No,
        (_, Entry::Unknown(what)) => Answer::unknown(what.clone()),
        (RecentAction::Remove, Entry::Present { line, .. }) => Answer::Yes(line.iter().copied().collect()),
        (_, Entry::Present { old, fresh, line }) => counted(asked, addr, *old, *fresh, *line),
    };
    let found = matches!(answer, Answer::Yes(_));
    let answer = answer.inverted(asked.invert);
    let stamped = match asked.action {
        RecentAction::Set => true,
        RecentAction::Update => matches!(answer, Answer::Yes(_)) && !matches!(entry, Entry::Absent),
        RecentAction::Rcheck | RecentAction::Remove => false,
    };
    if stamped || (found && asked.action == RecentAction::Remove) {
        write(walk, asked, addr, &entry, stamped);
    }
    answer
}

/// `--seconds` and `--hitcount`: how long ago the stamps were, no snapshot says.
fn counted(asked: &RecentMatch, addr: IpAddr, old: usize, fresh: usize, line: Option<Evidence>) -> Answer {
    let needed = asked.hitcount.map_or(1, |hits| usize::try_from(hits.max(1)).unwrap_or(usize::MAX));
    if fresh >= needed || (asked.seconds.is_none() && fresh + old >= needed) {
        return Answer::Yes(line.into_iter().collect());
    }
    if fresh + old < needed {
        return Answer::No;
    }
    let seconds = asked.seconds.unwrap_or(0);
    Answer::unknown(format!("list {} has seen {addr} within the last {seconds} seconds", asked.name))
}

/// TTL as it was before forwarding.
fn ttl(walk: &Walk, state: &HookState) -> u8 {
    let forwarded = state.outdev.is_some() && walk.skb.iif.is_some();
    walk.packet().ip.ttl.wrapping_add(u8::from(forwarded))
}

/// `recent_entry_lookup`, in what this walk wrote and then in the snapshot.
fn lookup(walk: &Walk, asked: &RecentMatch, addr: IpAddr, ttl: u8) -> Entry {
    let netns = walk.netns_id();
    let ours = |written: &&Written| written.netns == netns && *written.list == *asked.name && written.addr == addr;
    let written = walk.tracker.recent.iter().rev().find(ours);
    if written.is_some_and(|written| written.stamps == 0) {
        return Entry::Absent;
    }
    let fresh = written.map_or(0, |written| written.stamps);
    let lists = walk.netns().recent.as_ref();
    let Some(list) = lists.and_then(|lists| lists.get(&*asked.name)) else {
        let dir = &walk.netns().dir;
        let what = format!("list {} has {addr} in it ({dir}/recent/{} is missing)", asked.name, asked.name);
        return if fresh > 0 { Entry::Present { old: 0, fresh, line: None } } else { Entry::Unknown(what) };
    };
    let same_ttl = |row: u8| !asked.rttl || row == ttl || row == 0 || fresh > 0;
    let row = list.iter().find(|row| row.address == addr && same_ttl(row.ttl));
    match row {
        Some(row) => Entry::Present { old: row.stamps.len(), fresh, line: Some(row.evidence) },
        None if fresh > 0 => Entry::Present { old: 0, fresh, line: None },
        None => unread::of_recent(walk, &asked.name)
            .map_or(Entry::Absent, |unread| Entry::Unknown(format!("list {} has {addr} in it ({unread})", asked.name))),
    }
}

/// What asking leaves in the list: one stamp more, or nothing.
fn write(walk: &mut Walk, asked: &RecentMatch, addr: IpAddr, entry: &Entry, stamped: bool) {
    let fresh = match entry {
        Entry::Present { fresh, .. } => *fresh,
        _ => 0,
    };
    let stamps = if stamped { fresh + 1 } else { 0 };
    let netns = walk.netns_id();
    walk.tracker.recent.push(Written { netns, list: asked.name.to_string(), addr, stamps });
}

fn masked(addr: IpAddr, mask: IpAddr) -> IpAddr {
    match (addr, mask) {
        (IpAddr::V4(addr), IpAddr::V4(mask)) => IpAddr::from((addr.to_bits() & mask.to_bits()).to_be_bytes()),
        (IpAddr::V6(addr), IpAddr::V6(mask)) => IpAddr::from((addr.to_bits() & mask.to_bits()).to_be_bytes()),
        _ => addr,
    }
}
