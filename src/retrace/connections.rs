//! What the snapshot's tracked connections tell of a packet's past.

use std::collections::HashMap;

use crate::engine::{invert, tuple_of};
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
        let key = (packet.protocol(), tuple_of(packet));
        // Behind address translation a packet of the original direction looks like the inverse of an answer.
        let inverted = invert(key.0, &key.1).map(|tuple| (key.0, tuple));
        let is_inverse = |rows: &HashMap<_, _>| inverted.is_some_and(|inverted| rows.contains_key(&inverted));
        if self.originals.contains_key(&key) || is_inverse(&self.replies) {
            Some(Role::Original)
        } else if self.replies.contains_key(&key) || is_inverse(&self.originals) {
            Some(Role::Reply)
        } else {
            None
        }
    }

    /// Who sent a packet, and to what, by the connections that translated it. A query of ICMP has its [`echo`] where
    /// others have ports.
    pub(super) fn candidates(&self, snapshot: &Snapshot, packet: &Tuple, echo: Option<(u16, u16)>) -> Vec<Candidate> {
        let ports = packet.source_port.zip(packet.destination_port);
        let Some((source_port, destination_port)) = ports.or(echo) else { return Vec::new() };
        let mut now = ConntrackTuple {
            source: packet.source,
            destination: packet.destination,
            source_port: Some(source_port),
            destination_port: Some(destination_port),
        };
        let mut told = None;
        // Two nodes may have translated it, one after the other.
        for _ in 0..2 {
            let answer = invert(packet.protocol, &now);
            let rows = answer.and_then(|answer| self.replies.get(&(packet.protocol, answer)));
            let row = rows.into_iter().flatten().find_map(|row| translated(snapshot, *row, &now));
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
            destination_port: now.destination_port.filter(|_| echo.is_none()),
        };
        let note = format!("the connection is known: {}:{}", snapshot.files.path(row.evidence), row.evidence.line);
        // The connection tells the source, whatever a route would choose.
        let all = candidate::as_sent(snapshot, &before);
        all.into_iter().map(|candidate| Candidate { note: Some(note.clone()), is_bound: true, ..candidate }).collect()
    }
}

/// The row, where it has translated something.
fn translated<'s>(snapshot: &'s Snapshot, (netns, place): Row, now: &ConntrackTuple) -> Option<&'s ConntrackEntry> {
    let row = snapshot.netns(netns).conntrack.as_ref()?.get(place)?;
    (row.original != *now).then_some(row)
}

/// The identifier of a query that a packet is or answers, and the query's type and code, which stand in a connection's
/// original direction where others have ports.
pub(super) fn echo(packet: &Packet, role: Role) -> Option<(u16, u16)> {
    let Transport::Icmp { id: Some(id), .. } = packet.transport else { return None };
    let seen = tuple_of(packet);
    let asked = if role == Role::Reply { invert(packet.protocol(), &seen)? } else { seen };
    Some((id, asked.destination_port?))
}
