//! What is known of a segment's options. No question gives them, but their length tells of some, and what a rule writes
//! is known to those behind it (`net/netfilter/xt_TCPMSS.c`, `xt_TCPOPTSTRIP.c` and `nft_exthdr.c` there). Options are
//! taken to be well-formed, and none to stand there twice.

use std::collections::BTreeMap;

use crate::evidence::Evidence;
use crate::net::{Family, Packet, Transport};

use super::walk::Walk;

/// The option that tells the maximum segment size (`TCPOPT_MSS`).
pub(super) const MSS: u8 = 2;

/// The option of one byte that only fills up (`TCPOPT_NOP`).
const NOP: u8 = 1;

/// The longest TCP header.
const LONGEST: u32 = 60;

/// What rules have made of a segment's options.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TcpOptions {
    /// The options that rules have written, by their kind.
    kinds: BTreeMap<u8, HasOption>,
    /// There is no other option: rules gave the segment the first one that it has.
    no_others: bool,
    /// Between which numbers the maximum segment size is, if the segment tells one and a rule has written it.
    mss: Option<(u16, u16)>,
}

/// Whether a segment has an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HasOption {
    Yes,
    No,
    /// As it was sent, of which nothing is known.
    AsSent,
    /// It depends on a rule of which nobody knows what it did.
    Open,
}

/// Whether a segment has an option of a kind.
pub(super) fn there(walk: &Walk, packet: &Packet, kind: u8) -> HasOption {
    let known = &walk.skb.tcp_options;
    if let Some(there) = known.kinds.get(&kind) {
        return *there;
    }
    if known.no_others || is_bare(walk, packet) {
        return HasOption::No;
    }
    if kind == MSS && walk.lengths.is_some() && packet.inner.is_none() {
        // A SYN's answer always tells its segment size.
        return HasOption::Yes;
    }
    HasOption::AsSent
}

/// Between which numbers the maximum segment size is that a segment may tell, and whether a rule has written it.
pub(super) fn mss_range(walk: &Walk) -> ((u16, u16), bool) {
    let written = walk.skb.tcp_options.mss;
    (written.unwrap_or((0, u16::MAX)), written.is_some())
}

/// Whether a segment's header has no options: there is nothing else but what it is said to carry.
fn is_bare(walk: &Walk, packet: &Packet) -> bool {
    let carried = walk.given.payload.as_ref().filter(|_| packet.inner.is_none());
    let carried = carried.map_or(0, |payload| u32::try_from(payload.len()).unwrap_or(u32::MAX));
    packet.length.checked_sub(carried) == Some(packet.header_length() + 20)
}

/// How long a segment's header is and how much it carries, where the question tells. A SYN carries nothing unless it is
/// said to.
pub(super) fn measured(walk: &Walk) -> Option<(u32, u32)> {
    let packet = walk.packet();
    let Transport::Tcp { flags, .. } = packet.transport else { return None };
    let behind = packet.length.checked_sub(packet.header_length())?;
    let carried = match &walk.given.payload {
        Some(payload) => u32::try_from(payload.len()).ok()?,
        _ if flags & 0x12 == 0x02 => 0,
        _ => return (behind == 20).then_some((20, 0)),
    };
    let header = behind.checked_sub(carried)?;
    ((20..=LONGEST).contains(&header) && header.is_multiple_of(4)).then_some((header, carried))
}

/// Whether `TCPMSS` gives the segment the option, which makes it 4 bytes longer; `None` where nobody can know. That a
/// segment with other options has it, as every stack's SYN has, is taken for granted.
pub(super) fn is_given_mss(walk: &Walk) -> Option<bool> {
    let packet = walk.packet();
    if !matches!(packet.transport, Transport::Tcp { .. }) || there(walk, packet, MSS) != HasOption::No {
        return Some(false);
    }
    measured(walk).map(|(header, carried)| carried == 0 && header < LONGEST)
}

/// `tcpmss_mangle_packet`, with the size that it sets where that is known: a smaller one stays, and a segment that has
/// none and carries nothing gets one, of no more than stacks take where they are told none. The segment's new length,
/// if it is another one.
pub(super) fn tcpmss(walk: &mut Walk, size: Option<u16>, because: Evidence) -> Option<u32> {
    let packet = walk.packet();
    if !matches!(packet.transport, Transport::Tcp { .. }) {
        return None;
    }
    let usual = if packet.family() == Family::Inet { 536 } else { 1220 };
    let (length, old) = (packet.length, there(walk, packet, MSS));
    if old == HasOption::No {
        let what = "the segment carries nothing, so that it is given a maximum segment size";
        let is_given = is_given_mss(walk).unwrap_or_else(|| walk.choose_unknown(what, Some(because)));
        if !is_given {
            return None;
        }
        let most = size.unwrap_or(u16::MAX).min(usual);
        let bare = is_bare(walk, walk.packet());
        let known = &mut walk.skb.tcp_options;
        known.no_others |= bare;
        known.kinds.insert(MSS, HasOption::Yes);
        known.mss = Some((if size.is_some() { most } else { 0 }, most));
        return Some(length + 4);
    }
    let (mut low, mut high) = lowered(walk, size);
    let measured = measured(walk);
    let may_be_given = measured.is_none_or(|(header, carried)| carried == 0 && header < LONGEST);
    if matches!(old, HasOption::AsSent | HasOption::Open) && may_be_given {
        let given = size.map(|size| size.min(usual));
        (low, high) = (low.min(given.unwrap_or(0)), high.max(given.unwrap_or(usual)));
        let there = if measured.is_some() { HasOption::Yes } else { HasOption::Open };
        walk.skb.tcp_options.kinds.insert(MSS, there);
    }
    walk.skb.tcp_options.mss = Some((low, high));
    None
}

/// Between which numbers a size is that is lowered to another one if it is larger.
fn lowered(walk: &Walk, size: Option<u16>) -> (u16, u16) {
    let ((low, high), _) = mss_range(walk);
    size.map_or((0, high), |size| (low.min(size), high.min(size)))
}

/// `nft_exthdr_tcp_set_eval`: an option that is there is written, and a segment size is only ever lowered.
pub(super) fn set_mss(walk: &mut Walk, size: Option<u16>) {
    let range = lowered(walk, size);
    walk.skb.tcp_options.mss = Some(range);
}

/// `tcpoptstrip_mangle_packet`, `nft_exthdr_tcp_strip_eval`: ones without meaning take an option's place.
pub(super) fn strip(walk: &mut Walk, kind: u8) {
    // Those of one byte that only fill up or end the list are no less there than before.
    if kind <= NOP {
        return;
    }
    let bare = is_bare(walk, walk.packet());
    let known = &mut walk.skb.tcp_options;
    known.kinds.insert(kind, HasOption::No);
    if !bare {
        known.kinds.insert(NOP, HasOption::Open);
    }
}

/// What is known of an option of a segment that the kernel has made.
pub(super) fn note(walk: &mut Walk, kind: u8, has: HasOption) {
    walk.skb.tcp_options.kinds.insert(kind, has);
}

/// A rule of which nobody knows whether it matches may have lowered the segment size, or given the segment one.
pub(super) fn doubt_mss(walk: &mut Walk, gives: bool) {
    let ((_, high), _) = mss_range(walk);
    let is_open = matches!(there(walk, walk.packet(), MSS), HasOption::AsSent | HasOption::Open);
    if is_open && gives {
        walk.skb.tcp_options.kinds.insert(MSS, HasOption::Open);
    }
    // What IPv6 is given is the larger of the two.
    let most = if is_open && gives { high.max(1220) } else { high };
    walk.skb.tcp_options.mss = Some((0, most));
}

/// The same of an option that it may have taken away.
pub(super) fn doubt_there(walk: &mut Walk, kind: u8) {
    if there(walk, walk.packet(), kind) != HasOption::No {
        walk.skb.tcp_options.kinds.insert(kind, HasOption::Open);
    }
}

/// A rule has written bits of an option by their place.
pub(super) fn forget(walk: &mut Walk, kind: u8) {
    for kind in [kind, MSS] {
        walk.skb.tcp_options.kinds.insert(kind, HasOption::Open);
    }
    walk.skb.tcp_options.mss = Some((0, u16::MAX));
}
