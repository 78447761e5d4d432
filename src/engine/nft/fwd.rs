//! `fwd`, which takes a packet from its device and sends it by another (`net/netfilter/nft_fwd_netdev.c`).

use std::net::IpAddr;

use crate::net::IfName;
use crate::snapshot::nft::{NftFwd, NftVerdict};
use crate::trace::{Decision, Hook, Reason, RuleVerdict, Step, Verdict};

use super::super::end::{End, Stage};
use super::super::neigh;
use super::super::walk::Walk;
use super::field::address;
use super::statement::{Flow, Run};

/// So often a packet may be sent on while it is being sent (`NF_RECURSION_LIMIT` in `net/netfilter/nf_dup_netdev.c`).
pub(super) const MOST_NESTED: u8 = 3;

impl<'a> Run<'a> {
    /// Where the packet is of the other family, the rule doesn't match. Where the device is gone, a packet for a
    /// neighbour goes on through the rules with the TTL that it has by then (`nft_fwd_neigh_eval`).
    pub(super) fn fwd(&mut self, walk: &mut Walk, fwd: &'a NftFwd) -> Stage<Flow> {
        if fwd.neighbor.as_ref().is_some_and(|(family, _)| *family != self.packet(walk).family()) {
            return Ok(Flow::Break);
        }
        let neighbor = match &fwd.neighbor {
            Some((family, addr)) => match self.value(walk, addr)? {
                Some(value) => Some(address(value, *family)),
                None => return Ok(Flow::Break),
            },
            None => None,
        };
        let Some(device) = self.value(walk, &fwd.device)? else { return Ok(Flow::Break) };
        let device = device_name(device);
        if neighbor.is_some() {
            self.take_ttl(walk)?;
            if is_gone(walk, &device) {
                return Ok(Flow::Next);
            }
        }
        self.record(walk, RuleVerdict::Stolen);
        self.send_on(walk, device, neighbor)?;
        Ok(Flow::Done(NftVerdict::Accept))
    }

    /// Kernels that are older than the check send the packet on whatever its TTL is.
    fn take_ttl(&mut self, walk: &mut Walk) -> Stage<()> {
        let (ttl, line) = (self.packet(walk).ip.ttl, self.rule.evidence);
        let what = "the kernel is one that sends no packet on whose TTL is used up";
        if ttl <= 1 && walk.choose_unknown(what, Some(line)) {
            self.record(walk, RuleVerdict::Drop);
            return Err(End::dropped(Reason::TtlExceeded).detail(format!("TTL is {ttl}")).because([line]));
        }
        self.packet_mut(walk).ip.ttl = ttl.wrapping_sub(1);
        Ok(())
    }

    fn send_on(&self, walk: &mut Walk, device: IfName, neighbor: Option<IpAddr>) -> Stage<()> {
        let line = self.rule.evidence;
        if self.info.state.hook == Hook::Ingress {
            walk.skb.sent_on = 0;
        }
        if walk.skb.sent_on >= MOST_NESTED {
            let detail = format!("`{}` sends the packet on again and again", self.text());
            return Err(End::dropped(Reason::Loop).detail(detail).because([line]));
        }
        walk.skb.sent_on += 1;
        if is_gone(walk, &device) {
            let detail = format!("{}/link.txt has no device {device}", walk.netns().dir);
            return Err(End::dropped(Reason::NoDevice).detail(detail).because([line]));
        }
        if let Some(neighbor) = neighbor {
            to_neighbor(walk, &device, neighbor)?;
        }
        walk.skb.send_by = Some(device);
        Ok(())
    }
}

/// Gives the frame the neighbour's address. One that waits for it while it has a route gets the address of that route's
/// next hop instead, which it has already (`neigh_update` in `net/core/neighbour.c`).
fn to_neighbor(walk: &mut Walk, device: &IfName, neighbor: IpAddr) -> Stage<()> {
    let (routed, before) = (walk.skb.dst.is_some(), walk.packet().link);
    let reached = walk.tracker.has_reached(walk.netns_id(), device, neighbor);
    // What has no route has nobody who hears of an error.
    neigh::resolve(walk, device, neighbor, false, None).map_err(|end| if routed { end } else { silent(end) })?;
    let known = |step: &Step| matches!(step.decision, Decision::Neighbor { state: Some(_), .. });
    if routed && !reached && !walk.steps().last().is_some_and(known) {
        walk.set_link(before);
    }
    Ok(())
}

fn silent(mut end: Box<End>) -> Box<End> {
    if end.verdict == Verdict::Rejected {
        (end.verdict, end.error) = (Verdict::Dropped, None);
    }
    end
}

/// Whether no device has the name, or the index, which nft prints where no device had it.
pub(super) fn is_gone(walk: &Walk, device: &IfName) -> bool {
    let is_index = device.as_str().bytes().all(|byte| byte.is_ascii_digit());
    walk.netns().link(device).is_none() && (is_index || walk.netns().links.is_some())
}

/// The name that a number holds byte by byte; a small one is the index of a device that was gone already.
pub(super) fn device_name(value: u128) -> IfName {
    if value <= u128::from(u32::MAX) {
        return IfName::new(&value.to_string());
    }
    let bytes: Vec<u8> = value.to_be_bytes().into_iter().take_while(|byte| *byte != 0).collect();
    IfName::new(&String::from_utf8_lossy(&bytes))
}
