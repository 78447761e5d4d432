//! What the snapshot's tracked connections tell of a packet's past.

use std::collections::HashMap;

use crate::net::{NetnsId, Packet, Protocol, Transport};
use crate::snapshot::{ConntrackEntry, ConntrackTuple, Snapshot};
use crate::trace::Role;

use super::candidate::{self, Candidate, Tuple};

/// Where a row stands: its namespace, and its place there.
type Row = (NetnsId, usize);

/// The rows of every namespace, by what the packets of each direction look like.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    originals: HashMap<(Protocol, ConntrackTuple), Vec<Row>>,
    replies: HashMap<(Protocol, ConntrackTuple), Vec<Row>>,
}

impl Connections {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut all = Self::default();
        for (id, netns) in snapshot.netns_ids() {
            for (place, row) in netns.conntrack.iter().flatten().enumerate() {
                all.originals.entry((row.protocol, row.original)).or_default().push((id, place));
                all.replies.entry((row.protocol, row.reply)).or_default().push((id, place));
            }
        }
        all
    }

    /// Which way a packet goes in a connection that some namespace knows.
    pub(super) fn role(&self, packet: &Packet) -> Option<Role> {
        let key = (packet.protocol(), tuple(packet));
        // Behind address translation a packet of the original direction looks like the inverse of an answer.
        let inverted = (key.0, inverted(&key.1));
        if self.originals.contains_key(&key) || self.replies.contains_key(&inverted) {
            Some(Role::Original)
        } else if self.replies.contains_key(&key) || self.originals.contains_key(&inverted) {
            Some(Role::Reply)
        } else {
            None
        }
    }

    /// Who sent a packet, and to what, by the connections that translated it.
    pub(super) fn candidates(&self, snapshot: &Snapshot, packet: &Tuple) -> Vec<Candidate> {
        // ICMP's tuples have types where others have ports.
        let (Some(source_port), Some(destination_port)) = (packet.source_port, packet.destination_port) else {
            return Vec::new();
        };
        let mut now = ConntrackTuple {
            source: packet.source,
            destination: packet.destination,
            source_port: Some(source_port),
            destination_port: Some(destination_port),
        };
        let mut told = None;
        // Two nodes may have translated it, one after the other.
        for _ in 0..2 {
            let rows = self.replies.get(&(packet.protocol, inverted(&now))).map_or(&[][..], Vec::as_slice);
            let row = rows.iter().find_map(|row| translated(snapshot, *row, &now));
            let Some(row) = row else { break };
            now = row.original;
            told = Some(row);
        }
        let Some(row) = told else { return Vec::new() };
        let before = Tuple {
            protocol: packet.protocol,
            source: now.source,
            destination: now.destination,
            source_port: now.source_port,
            destination_port: now.destination_port,
        };
        let note = format!("the connection is known: {}:{}", snapshot.files.path(row.evidence), row.evidence.line);
        let all = candidate::as_sent(snapshot, &before);
        all.into_iter().map(|candidate| Candidate { note: Some(note.clone()), ..candidate }).collect()
    }
}

/// The row, where it has translated something.
fn translated<'s>(snapshot: &'s Snapshot, (netns, place): Row, now: &ConntrackTuple) -> Option<&'s ConntrackEntry> {
    let row = snapshot.netns(netns).conntrack.as_ref()?.get(place)?;
    (row.original != *now).then_some(row)
}

fn tuple(packet: &Packet) -> ConntrackTuple {
    let (source_port, destination_port) = match packet.transport {
        Transport::Icmp { kind, code, id, .. } => (id, Some(u16::from(kind) << 8 | u16::from(code))),
        _ => (packet.source_port(), packet.destination_port()),
    };
    ConntrackTuple { source: packet.ip.source, destination: packet.ip.destination, source_port, destination_port }
}

fn inverted(tuple: &ConntrackTuple) -> ConntrackTuple {
    ConntrackTuple {
        source: tuple.destination,
        destination: tuple.source,
        source_port: tuple.destination_port,
        destination_port: tuple.source_port,
    }
}
