//! What the kernel sends beside a packet: the copies that rules make of it, and what `SYNPROXY` sends the server.
//!
//! Follows `net/ipv4/netfilter/nf_dup_ipv4.c`, `net/ipv6/netfilter/nf_dup_ipv6.c` and `net/netfilter/nf_dup_netdev.c`.
//!
//! Such a packet is sent before the one that is walked goes on. It is walked when that one is at its end, from what was
//! tracked and learned when it was sent, and what it leaves is not seen by the other.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Packet};
use crate::trace::{self, BesideKind, BesideWay, Decision, Hook};

use super::conntrack::Nfct;
use super::drive::{close, drive, in_words, probability, siblings};
use super::end::{Next, Stage};
use super::gaps::Gaps;
use super::output::ip_route_me_harder;
use super::route::ip_route_output_gateway;
use super::walk::Walk;

/// How many ways of one such packet are walked.
const MOST_WAYS: usize = 16;

/// How many packets are walked of which each is sent beside the one before: two hosts may copy to each other until TTL is
/// used up.
const MOST_NESTED: usize = 4;

/// How many steps all of them have together before no further one is walked.
const MOST_STEPS: usize = 5_000;

/// A packet that waits to be walked.
#[derive(Clone)]
pub(super) struct Beside<'s> {
    kind: BesideKind,
    after: usize,
    certain: bool,
    line: Option<Evidence>,
    start: Walk<'s>,
    way: Way,
}

/// How it leaves.
#[derive(Clone)]
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
    if matches!(hook, Hook::Prerouting | Hook::Input) {
        packet.ip.ttl = packet.ip.ttl.wrapping_sub(1);
    }
    let mut start = walk.branch_off();
    start.skb.nfct = Nfct::Untracked;
    start.skb.dst = None;
    start.skb.next_hop = None;
    start.skb.own = false;
    start.take(Decision::SendOwn { packet: Box::new(packet) }, Some(line));
    wait(walk, BesideKind::Copy, start, Way::Gateway(gateway, oif), certain, Some(line));
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
    wait(walk, BesideKind::Copy, start, Way::Device(device), certain, Some(line));
}

/// A segment for the server that belongs to no connection yet.
pub(super) fn acknowledge<'s>(walk: &mut Walk<'s>, start: Walk<'s>, line: Option<Evidence>) {
    wait(walk, BesideKind::Ack, start, Way::Routed, true, line);
}

fn wait<'s>(walk: &mut Walk<'s>, kind: BesideKind, start: Walk<'s>, way: Way, certain: bool, line: Option<Evidence>) {
    let after = walk.steps().len();
    walk.beside.push(Beside { kind, after, certain, line, start, way });
}

/// Walks all that was sent beside a packet, each by all its ways.
pub(super) fn walk_all(walk: &mut Walk, gaps: &mut Gaps) -> Vec<trace::Beside> {
    let mut left = MOST_STEPS;
    walk_nested(walk, gaps, &mut left, 0)
}

fn walk_nested(walk: &mut Walk, gaps: &mut Gaps, left: &mut usize, nested: usize) -> Vec<trace::Beside> {
    let waiting = std::mem::take(&mut walk.beside);
    let mut walked = Vec::with_capacity(waiting.len());
    for one in waiting {
        if nested >= MOST_NESTED || *left == 0 {
            walk.gap(
                "what is sent beside a packet that was itself sent beside another is walked only so far",
                one.line,
            );
            continue;
        }
        walked.push(walk_ways(&one, gaps, left, nested));
    }
    walked
}

fn walk_ways(one: &Beside, gaps: &mut Gaps, left: &mut usize, nested: usize) -> trace::Beside {
    let before = one.start.choices.taken.len();
    let taken: Vec<usize> = one.start.choices.taken.iter().map(|choice| choice.way).collect();
    let (mut pending, mut ways) = (VecDeque::from([taken]), Vec::new());
    while let Some(script) = pending.pop_front().filter(|_| ways.len() < MOST_WAYS && *left > 0) {
        let fixed = script.len();
        let mut copy = one.start.clone();
        copy.choices = one.start.choices.with_script(script);
        let first = send(&mut copy, &one.way);
        let end = drive(&mut copy, first);
        let (verdict, reason) = close(&mut copy, end);
        let beside = walk_nested(&mut copy, gaps, left, nested + 1);
        pending.extend(siblings(&copy.choices.taken, fixed));
        let finished = copy.finish();
        *left = left.saturating_sub(finished.steps.len());
        gaps.extend(finished.gaps.into_list());
        let choices = finished.choices.taken.get(before..).unwrap_or_default();
        ways.push(BesideWay {
            probability: probability(choices),
            why: choices.iter().map(in_words).collect(),
            trace: trace::Trace { steps: finished.steps, verdict, reason, beside },
        });
        if *left == 0 {
            break;
        }
    }
    let truncated = !pending.is_empty();
    trace::Beside { kind: one.kind, after: one.after, certain: one.certain, ways, truncated }
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
