//! Packets that are alike, counted.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::engine::sctp_chunks;
use crate::error::Error;
use crate::net::{Packet, Protocol, Transport};
use crate::retrace::{Atlas, Captured, Point, Retraced, Standing};
use crate::trace::Way;

use super::read::Subject;

/// The answers of so many groups are kept; those of further ones are made anew when they are shown.
const KEPT: usize = 256;

/// One direction of a conversation at a point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flow {
    point: Point,
    way: Option<Way>,
    protocol: Protocol,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    is_tunnelled: bool,
}

/// What decides of a packet: those that are the same in it go the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::cli) struct Shape {
    flow: Flow,
    packet: Packet,
    standing: Standing,
    /// The types of SCTP's chunks, which decide whether the packet begins a connection.
    chunks: Vec<u8>,
}

/// Packets of one flow that are odd in the same way, or not odd.
struct Group {
    first: Subject,
    count: u64,
    retraced: Option<Retraced>,
}

/// A capture's flows.
pub(super) struct Groups<'a, 's> {
    atlas: &'a Atlas<'s>,
    all: Vec<Group>,
    shapes: HashMap<Shape, usize>,
    by_oddness: HashMap<(Flow, Vec<String>), usize>,
}

impl<'a, 's> Groups<'a, 's> {
    pub(super) fn new(atlas: &'a Atlas<'s>) -> Self {
        Self { atlas, all: Vec::new(), shapes: HashMap::new(), by_oddness: HashMap::new() }
    }

    /// Counts a packet to its group.
    pub(super) fn add(&mut self, subject: Subject) {
        let shape = shape(self.atlas, &subject.point, &subject.captured, subject.standing);
        let known = self.shapes.get(&shape).and_then(|place| self.all.get_mut(*place));
        if let Some(group) = known {
            group.count += 1;
            return;
        }
        let retraced = self.atlas.retrace(&subject.point, &subject.captured, subject.standing);
        let odd = retraced.odd.iter().map(|odd| odd.what.clone()).collect();
        let place = *self.by_oddness.entry((shape.flow.clone(), odd)).or_insert(self.all.len());
        if let Some(group) = self.all.get_mut(place) {
            group.count += 1;
        } else {
            let retraced = Some(retraced).filter(|_| place < KEPT);
            self.all.push(Group { first: subject, count: 1, retraced });
        }
        self.shapes.insert(shape, place);
    }

    /// Hands every group to somebody: its first packet, how many there are, and what becomes of it.
    pub(super) fn each(
        &self,
        mut hear: impl FnMut(&Subject, u64, &Retraced) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for group in &self.all {
            let first = &group.first;
            let again = || self.atlas.retrace(&first.point, &first.captured, first.standing);
            let retraced = group.retraced.clone().unwrap_or_else(again);
            hear(first, group.count, &retraced)?;
        }
        Ok(())
    }
}

/// The shape of a packet that was captured at a point.
pub(in crate::cli) fn shape(atlas: &Atlas<'_>, point: &Point, captured: &Captured, standing: Standing) -> Shape {
    let mut packet = captured.packet.clone();
    let mut layer = Some(&mut packet);
    while let Some(own) = layer {
        own.length = atlas.length_class(own.length);
        if let Transport::Tcp { flags, .. } = &mut own.transport {
            // PSH and the bits of congestion make no other segment of it.
            *flags &= 0x37;
        }
        layer = own.inner.as_deref_mut();
    }
    // The outer source port of a tunnel is a hash.
    if let (Some(_), Transport::Udp { source, .. }) = (&packet.inner, &mut packet.transport) {
        *source = None;
    }
    let is_sctp = captured.packet.innermost().protocol() == Protocol::SCTP;
    let payload = captured.payload.as_ref().filter(|_| is_sctp);
    let chunks = payload.map(|payload| sctp_chunks(payload).0).unwrap_or_default();
    Shape { flow: flow(point, captured), packet, standing, chunks }
}

fn flow(point: &Point, captured: &Captured) -> Flow {
    let packet = captured.packet.innermost();
    let (source, destination) = match packet.transport {
        Transport::Icmp { kind, code, id, .. } => (id.unwrap_or(0), u16::from(kind) << 8 | u16::from(code)),
        _ => (packet.source_port().unwrap_or(0), packet.destination_port().unwrap_or(0)),
    };
    Flow {
        point: point.clone(),
        way: captured.way,
        protocol: packet.protocol(),
        source: (packet.ip.source, source),
        destination: (packet.ip.destination, destination),
        is_tunnelled: captured.packet.inner.is_some(),
    }
}
