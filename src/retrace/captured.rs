//! A decoded packet, made ready to be walked.

use std::sync::Arc;

use crate::net::{Packet, Protocol};
use crate::snapshot::{Link, LinkKind, Snapshot};
use crate::trace::Way;
use crate::wire::Held;

use super::{Atlas, Captured, Point, way};

/// What every host of IPv4 takes (RFC 791): a device that takes less is in no path of segments.
const LEAST: u32 = 576;

impl Atlas<'_> {
    /// A packet at a point, and what is worth knowing of how it was read. `told` says which way it went, where the capture
    /// does.
    #[must_use]
    pub fn captured(&self, point: &Point, held: Held, told: Option<Way>, time: Option<i64>) -> (Captured, Vec<String>) {
        let mut notes: Vec<String> = held.left_out.iter().map(|what| format!("{what} is left out")).collect();
        let way = told.or_else(|| way(self.snapshot, point, &held.packet));
        let mut packet = held.packet;
        let mut payload = held.payload.map(Arc::from);
        let mtu = self.snapshot.netns(point.netns).link(&point.device).and_then(|link| link.mtu);
        if let Some((whole, segment)) = mtu.and_then(|mtu| cut_to(&mut packet, mtu, self.least_mtu.unwrap_or(mtu))) {
            notes.push(format!(
                "{whole} bytes are more than {} takes: they are segments that were put together (TSO, GRO), of which one of \
                 {segment} bytes is walked, for which every device has room",
                point.device
            ));
            payload = None;
        }
        (Captured { packet, way, payload, time }, notes)
    }
}

/// The smallest MTU of the devices that are up. A path's own is not known before it is walked.
pub(super) fn least_mtu(snapshot: &Snapshot) -> Option<u32> {
    let links = snapshot.namespaces.iter().flat_map(|netns| netns.links.iter().flatten());
    let carries = |link: &&Link| link.up && link.kind != LinkKind::Loopback;
    links.filter(carries).filter_map(|link| link.mtu).filter(|mtu| *mtu >= LEAST).min()
}

/// Makes one segment of many that were put together: TCP sends no more than fits, neither on the device nor where the
/// packet goes on or comes from, whose devices take at least so much. The lengths before and after.
fn cut_to(packet: &mut Packet, mtu: u32, least: u32) -> Option<(u32, u32)> {
    let whole = packet.length;
    let carried = packet.innermost();
    if carried.protocol() != Protocol::TCP || whole <= mtu || packet.fragments.is_some() {
        return None;
    }
    let excess = (whole - mtu).max(carried.length.saturating_sub(least));
    let mut layer = Some(&mut *packet);
    while let Some(packet) = layer {
        packet.length = packet.length.saturating_sub(excess);
        layer = packet.inner.as_deref_mut();
    }
    Some((whole, packet.length))
}
