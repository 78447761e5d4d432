//! A decoded packet, made ready to be walked.

use std::sync::Arc;

use crate::net::{Packet, Protocol};
use crate::snapshot::Snapshot;
use crate::trace::Way;
use crate::wire::Held;

use super::{Captured, Point, way};

/// A packet at a point, and what is worth knowing of how it was read. `told` says which way it went, where the capture
/// does.
#[must_use]
pub fn captured(
    snapshot: &Snapshot,
    point: &Point,
    held: Held,
    told: Option<Way>,
    time: Option<i64>,
) -> (Captured, Vec<String>) {
    let mut notes: Vec<String> = held.left_out.iter().map(|what| format!("{what} is left out")).collect();
    let way = told.or_else(|| way(snapshot, point, &held.packet));
    let mut packet = held.packet;
    let mut payload = held.payload.map(Arc::from);
    let mtu = snapshot.netns(point.netns).link(&point.device).and_then(|link| link.mtu);
    if let Some((whole, segment)) = mtu.and_then(|mtu| cut_to(&mut packet, mtu)) {
        notes.push(format!(
            "{whole} bytes are more than {} takes: they are segments that were put together (TSO, GRO), of which one of \
             {segment} bytes is walked",
            point.device
        ));
        payload = None;
    }
    (Captured { packet, way, payload, time }, notes)
}

/// Makes one segment of many: TCP sends no more than fits, so that what is larger was put together. The lengths before
/// and after.
fn cut_to(packet: &mut Packet, mtu: u32) -> Option<(u32, u32)> {
    let whole = packet.length;
    if packet.innermost().protocol() != Protocol::TCP || whole <= mtu || packet.fragments.is_some() {
        return None;
    }
    let excess = whole - mtu;
    let mut layer = Some(packet);
    while let Some(packet) = layer {
        packet.length = packet.length.saturating_sub(excess);
        layer = packet.inner.as_deref_mut();
    }
    Some((whole, mtu))
}
