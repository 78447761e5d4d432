//! What the kernel sends beside a packet: the copies that rules make of it, and what `SYNPROXY` sends the server.
//!
//! Follows `net/ipv4/netfilter/nf_dup_ipv4.c`, `net/ipv6/netfilter/nf_dup_ipv6.c` and `net/netfilter/nf_dup_netdev.c`.
//!
//! Such a packet is walked when it is sent, before the one goes on on whose account it is. What it leaves behind, in sets and
//! among the connections, that one finds, unless nobody knows which of several ways it took and they leave something else.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Packet};
use crate::trace::{self, BesideKind, BesideWay, Decision, Hook, Trace};

use super::conntrack::{Nfct, Tracker};
use super::drive::{close, drive, in_words, probability, siblings};
use super::end::{Next, Stage};
use super::error;
use super::output::ip_route_me_harder;
use super::pkt_type::is_for_many;
use super::route_output::ip_route_output_gateway;
use super::walk::Walk;

/// How many ways of one such packet are walked.
const MOST_WAYS: usize = 16;

/// How many packets are walked of which each is sent beside the one before: two hosts may copy to each other until TTL is
/// used up.
const MOST_NESTED: usize = 4;

/// How many steps all of them have together, on all ways of a question, before no further one is walked.
pub(super) const MOST_STEPS: usize = 5_000;

/// How it leaves.
enum Way {
    /// To a gateway, by a device where one is named.
    Gateway(IpAddr, Option<IfName>),
    /// By a device, as it is.
    Device(IfName),
    /// By the route to its own destination.
    Routed,
}

/// A copy for a gateway, which is not tracked (`nf_dup_ipv4`, `nf_dup_ipv6`). Of a copy that is being sent none is made.
pub(super) fn copy_to_gateway(
    walk: &mut Walk,
    mut packet: Packet,
    (gateway, oif): (IpAddr, Option<IfName>),
    hook: Hook,
    certain: bool,
    line: Evidence,
) {
    if walk.skb.copied_to.is_some() {
        return;
    }
    packet.ip.df |= packet.family() == Family::Inet;
    // The frame is a new one, also where its device asks for no neighbour.
    packet.link = None;
    if matches!(hook, Hook::Prerouting | Hook::Input) {
        packet.ip.ttl = packet.ip.ttl.wrapping_sub(1);
    }
    let mut start = walk.branch_off();
    start.skb.nfct = Nfct::Untracked;
    start.skb.dst = None;
    start.skb.next_hop = None;
    start.skb.own = false;
    // The stack's hooks see no frame as one for another host (`setup_pre_routing` in `br_netfilter_hooks.c`).
    start.skb.to_host |= start.skb.pkt_type.is_none() && !is_for_many(walk);
    start.take(Decision::SendOwn { packet: Box::new(packet) }, Some(line));
    walk_now(walk, BesideKind::Copy, &start, &Way::Gateway(gateway, oif), certain, Some(line));
}

/// A copy of a frame for a device (`nf_dup_netdev_egress`).
pub(super) fn copy_to_device(
    walk: &mut Walk,
    packet: Packet,
    device: IfName,
    nested: u8,
    certain: bool,
    line: Evidence,
) {
    let mut start = walk.branch_off();
    start.skb.sent_on = nested;
    start.take(Decision::SendOwn { packet: Box::new(packet) }, Some(line));
    walk_now(walk, BesideKind::Copy, &start, &Way::Device(device), certain, Some(line));
}

/// A segment for the server that belongs to no connection yet.
pub(super) fn acknowledge<'s>(walk: &mut Walk<'s>, start: &Walk<'s>) {
    walk_now(walk, BesideKind::Ack, start, &Way::Routed, true, None);
}

/// Walks it by all its ways.
fn walk_now<'s>(
    walk: &mut Walk<'s>,
    kind: BesideKind,
    start: &Walk<'s>,
    way: &Way,
    certain: bool,
    line: Option<Evidence>,
) {
    if start.nested > MOST_NESTED {
        walk.gap("what is sent beside a packet that was itself sent beside another is walked only so far", line);
        return;
    }
    if walk.steps_beside == 0 {
        walk.gap("what is sent beside packets is walked only so far", None);
        return;
    }
    let (before, after) = (start.choices.taken.len(), walk.steps().len());
    let taken: Vec<usize> = start.choices.taken.iter().map(|choice| choice.way).collect();
    let (mut pending, mut ways, mut trackers) = (VecDeque::from([taken]), Vec::new(), Vec::new());
    while ways.len() < MOST_WAYS && walk.steps_beside > 0 {
        let Some(script) = pending.pop_front() else { break };
        let (fixed, mut copy) = (script.len(), start.clone());
        copy.choices = start.choices.with_script(script);
        copy.steps_beside = walk.steps_beside;
        let first = send(&mut copy, way);
        let mut end = drive(&mut copy, first);
        error::unmake(&copy, &mut end);
        let (verdict, reason) = close(&mut copy, end);
        let beside = std::mem::take(&mut copy.beside);
        let left = copy.steps_beside;
        let finished = copy.finish();
        walk.steps_beside = left.saturating_sub(finished.steps.len());
        pending.extend(siblings(&finished.choices.taken, fixed));
        finished.gaps.into_list().into_iter().for_each(|gap| walk.add_gap(gap));
        let choices = finished.choices.taken.get(before..).unwrap_or_default();
        ways.push(BesideWay {
            probability: probability(choices),
            why: choices.iter().map(in_words).collect(),
            trace: Trace { steps: finished.steps, verdict, reason, beside },
        });
        trackers.push(finished.tracker);
    }
    let truncated = !pending.is_empty();
    walk.beside.push(trace::Beside { kind, after, certain, ways, truncated });
    leave(walk, trackers, certain && !truncated, line);
}

/// What the packet leaves behind is there for the other one.
fn leave(walk: &mut Walk, mut trackers: Vec<Tracker>, certain: bool, line: Option<Evidence>) {
    let is_same = trackers.iter().zip(trackers.iter().skip(1)).all(|(one, other)| one == other);
    if certain && is_same {
        walk.tracker = trackers.pop().unwrap_or_else(|| walk.tracker.clone());
        return;
    }
    let written = |tracker: &Tracker| format!("{:?}", (&tracker.sets, &tracker.recent, &tracker.nft_elements));
    let changes = trackers.iter().any(|tracker| written(tracker) != written(&walk.tracker));
    let connects = trackers.iter().any(|tracker| tracker.entries != walk.tracker.entries);
    if changes {
        let what =
            "what the copy's rules write into sets depends on its way: the packet is walked as if they wrote nothing";
        walk.gap(what, line);
    }
    if connects {
        let what = "which connections the copy opens or changes depends on its way: the packet is walked as if there were none";
        walk.gap(what, line);
    }
}

fn send(walk: &mut Walk, way: &Way) -> Stage {
    match way {
        Way::Gateway(gateway, oif) => {
            let dst = ip_route_output_gateway(walk, *gateway, oif.as_ref())?;
            walk.skb.copied_to = Some(dst.dev.clone());
            walk.skb.dst = Some(dst);
            Ok(Next::LocalOut)
        }
        Way::Device(device) => Ok(Next::Xmit(device.clone())),
        Way::Routed => {
            ip_route_me_harder(walk)?;
            Ok(Next::LocalOut)
        }
    }
}
