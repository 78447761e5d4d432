//! Whom a frame is for, as its receiver keeps it beside the frame (`skb->pkt_type`).

use crate::net::{IfName, Link, MacAddr};
use crate::snapshot::LinkKind;

use super::walk::Walk;

/// `PACKET_HOST` and its kin, in the kernel's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PktType {
    Host,
    Broadcast,
    Multicast,
    OtherHost,
}

impl PktType {
    /// By the kernel's number; `None` for one that no rule may set (`skb_pkt_type_ok` in `include/linux/skbuff.h`).
    pub(super) fn numbered(number: u128) -> Option<Self> {
        [Self::Host, Self::Broadcast, Self::Multicast, Self::OtherHost].get(usize::try_from(number).ok()?).copied()
    }

    pub(super) fn number(self) -> u128 {
        match self {
            Self::Host => 0,
            Self::Broadcast => 1,
            Self::Multicast => 2,
            Self::OtherHost => 3,
        }
    }

    /// By a frame's address alone, where that is a group's.
    pub(super) fn of_group(destination: MacAddr) -> Option<Self> {
        match destination {
            MacAddr::BROADCAST => Some(Self::Broadcast),
            group if group.is_multicast() => Some(Self::Multicast),
            _ => None,
        }
    }
}

/// Whether the packet came in by a frame for many, which makes its stack take less of it.
pub(super) fn is_for_many(walk: &Walk) -> bool {
    let by_address = || {
        let frame = walk.packet().link.filter(|_| !walk.skb.to_host)?;
        PktType::of_group(frame.destination)
    };
    let is_received = walk.skb.iif.is_some() && !walk.skb.own;
    is_received && matches!(walk.skb.pkt_type.or_else(by_address), Some(PktType::Broadcast | PktType::Multicast))
}

/// What the frame of the walk is to the device that it came in by: what a rule has made of it, else what its address says
/// (`eth_type_trans` in `net/ethernet/eth.c`; a bridge's own address is for the host at each of its ports,
/// `br_handle_frame` in `net/bridge/br_input.c`). `None` where that is not known.
pub(super) fn pkt_type(walk: &Walk, link: Option<Link>, dev: &IfName, on_bridge: bool) -> Option<PktType> {
    if walk.skb.pkt_type.is_some() {
        return walk.skb.pkt_type;
    }
    if walk.skb.to_host {
        return Some(PktType::Host);
    }
    let Some(link) = link else {
        let own = walk.own_destination()?;
        walk.skb.asked_destination.set(Some(own));
        return Some(PktType::Host);
    };
    let destination = Some(link.destination).filter(|destination| *destination != MacAddr::ZERO)?;
    if let Some(group) = PktType::of_group(destination) {
        return Some(group);
    }
    let link = walk.netns().link(dev)?;
    let bridge = link.master.as_ref().and_then(|master| walk.netns().link(master));
    let bridge = bridge.filter(|master| on_bridge && matches!(master.kind, LinkKind::Bridge(_)));
    let is_own = link.lladdr? == destination || bridge.is_some_and(|bridge| bridge.lladdr == Some(destination));
    Some(if is_own { PktType::Host } else { PktType::OtherHost })
}
