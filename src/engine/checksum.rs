//! The checksum of a tunnel packet. A packet's own TCP or UDP checksum is left to the last device, unfinished, and the
//! tunnel's is made so that it holds once the inner one is filled in (`udp_set_csum` in `net/ipv4/udp.c` with
//! `lco_csum`). Address translation takes the tunnel's for the unfinished one and puts it wrong
//! (`inet_proto_csum_replace4` in `net/core/utils.c`), which nobody sees as long as nobody checks it.

use crate::evidence::Evidence;
use crate::net::{Encapsulation, Packet, Transport};
use crate::snapshot::LinkKind;
use crate::trace::Reason;

use super::end::{End, Stage};
use super::walk::Walk;

/// How far the checksums of a tunnel packet are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Checksum {
    /// The inner one is to be filled in by the last device.
    #[default]
    Partial,
    /// Both are there, and translation keeps them right.
    Complete,
    /// The tunnel's is wrong, and nobody has looked.
    Broken,
    /// The tunnel's is wrong, and will be checked.
    Checked,
}

/// Whether a tunnel packet carries one whose checksum its sender leaves to the device: an echo's is made at once.
fn is_left_to_device(packet: &Packet) -> bool {
    let innermost = std::iter::successors(packet.inner.as_deref(), |packet| packet.inner.as_deref()).last();
    innermost.is_some_and(|inner| matches!(inner.transport, Transport::Tcp { .. } | Transport::Udp { .. }))
}

/// Address translation changes the packet.
pub(super) fn translated(walk: &mut Walk) {
    let tunnelled = matches!(walk.packet().encapsulation, Some(Encapsulation::Vxlan(_)));
    if tunnelled && walk.skb.checksum == Checksum::Partial && is_left_to_device(walk.packet()) {
        walk.skb.checksum = Checksum::Broken;
    }
}

/// A `CHECKSUM --checksum-fill` rule fills in what is unfinished (`skb_checksum_help`).
pub(super) fn filled(walk: &mut Walk) {
    if walk.packet().inner.is_some() {
        walk.skb.checksum = match walk.skb.checksum {
            Checksum::Partial | Checksum::Complete => Checksum::Complete,
            Checksum::Broken | Checksum::Checked => Checksum::Checked,
        };
    }
}

/// The tunnel's receiver checks what no device vouches for (`udp4_csum_init`, `udp6_csum_init`). Whether the checksum
/// had been left to the device, or the tunnel has one at all, no table says.
pub(super) fn check(walk: &mut Walk, because: Evidence) -> Stage<()> {
    let vouched = walk.skb.iif.as_ref().and_then(|dev| walk.netns().link(dev));
    let vouched = vouched.is_some_and(|link| matches!(link.kind, LinkKind::Veth));
    let checked = match walk.skb.checksum {
        Checksum::Partial | Checksum::Complete => false,
        Checksum::Broken => !vouched,
        Checksum::Checked => true,
    };
    if !checked {
        return Ok(());
    }
    let what = "address translation broke the tunnel packet's checksum, which the sender had left to the device";
    if walk.choose_unknown(what, Some(because)) {
        return Err(End::dropped(Reason::BadChecksum).detail("the tunnel packet's UDP checksum is wrong"));
    }
    Ok(())
}
