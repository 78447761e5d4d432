//! Tracked connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;

use foldhash::quality::RandomState;

use crate::evidence::Evidence;
use crate::net::{Mark, Protocol};

/// A row of `conntrack -L -o extended`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConntrackEntry {
    /// The protocol.
    pub protocol: Protocol,
    /// TCP's or SCTP's state as printed (`ESTABLISHED`).
    pub state: Option<String>,
    /// The first packet's direction.
    pub original: ConntrackTuple,
    /// What answers look like, which tells the NAT.
    pub reply: ConntrackTuple,
    /// `[ASSURED]`.
    pub assured: bool,
    /// `[UNREPLIED]`: nothing came back yet.
    pub unreplied: bool,
    /// `[OFFLOAD]`, `[HW_OFFLOAD]`: a flowtable forwards its packets, past the hooks.
    pub offloaded: bool,
    /// The connection's mark.
    pub mark: Mark,
    /// The zone of the original direction, 0 as a rule.
    pub zone: u16,
    /// The zone of the reply direction, which is the same unless the zone was set for one direction only.
    pub reply_zone: u16,
    /// Whether a helper (`helper=ftp`) looks into its packets for connections to come.
    pub helped: bool,
    /// Packets and bytes of the two directions; `None` where they are not counted (`nf_conntrack_acct`).
    pub counters: Option<[(u64, u64); 2]>,
    /// The line that says so.
    pub evidence: Evidence,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConntrackTuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port; for ICMP the identifier. `None` where the protocol has none.
    pub source_port: Option<u16>,
    /// Destination port; for ICMP `type << 8 | code`. `None` where the protocol has none.
    pub destination_port: Option<u16>,
}

impl ConntrackTuple {
    fn ends(&self) -> [IpAddr; 2] {
        [self.source, self.destination]
    }
}

/// The rows of `conntrack -L`, in the file's order, found by what their packets look like.
#[derive(Clone, Debug, Default)]
pub struct Conntrack {
    rows: Vec<ConntrackEntry>,
    by_tuple: HashMap<ConntrackTuple, Vec<usize>, RandomState>,
    /// The rows that a helper looks into, by the addresses in them.
    helped: HashMap<IpAddr, Vec<usize>, RandomState>,
}

impl Conntrack {
    /// The connections of a namespace.
    #[must_use]
    pub fn new(rows: Vec<ConntrackEntry>) -> Self {
        let mut by_tuple: HashMap<_, Vec<usize>, _> = HashMap::with_hasher(RandomState::default());
        let mut helped: HashMap<_, Vec<usize>, _> = HashMap::with_hasher(RandomState::default());
        for (place, row) in rows.iter().enumerate() {
            by_tuple.entry(row.original).or_default().push(place);
            if row.reply != row.original {
                by_tuple.entry(row.reply).or_default().push(place);
            }
            let ends = [row.original.ends(), row.reply.ends()].concat();
            for end in ends.into_iter().filter(|_| row.helped) {
                let known = helped.entry(end).or_default();
                if known.last() != Some(&place) {
                    known.push(place);
                }
            }
        }
        Self { rows, by_tuple, helped }
    }

    /// The connections with this tuple in one of their directions, whatever their protocol and zone.
    pub fn with_tuple(&self, tuple: &ConntrackTuple) -> impl Iterator<Item = &ConntrackEntry> {
        self.by_tuple.get(tuple).into_iter().flatten().filter_map(|place| self.rows.get(*place))
    }

    /// The first connection that a helper looks into and that has both addresses, whichever way.
    #[must_use]
    pub fn helped_between(&self, tuple: &ConntrackTuple) -> Option<&ConntrackEntry> {
        let has = |place: &usize, end: IpAddr| self.helped.get(&end).is_some_and(|known| known.contains(place));
        let mut known = self.helped.get(&tuple.source)?.iter();
        self.rows.get(*known.find(|place| has(place, tuple.destination))?)
    }
}

impl Deref for Conntrack {
    type Target = [ConntrackEntry];

    fn deref(&self) -> &[ConntrackEntry] {
        &self.rows
    }
}

impl<'a> IntoIterator for &'a Conntrack {
    type Item = &'a ConntrackEntry;
    type IntoIter = std::slice::Iter<'a, ConntrackEntry>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::FileId;

    fn tuple(source: u8, destination: u8, ports: (u16, u16)) -> ConntrackTuple {
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        ConntrackTuple {
            source: address(source),
            destination: address(destination),
            source_port: Some(ports.0),
            destination_port: Some(ports.1),
        }
    }

    fn row(line: u32, original: ConntrackTuple, reply: ConntrackTuple, helped: bool) -> ConntrackEntry {
        ConntrackEntry {
            protocol: Protocol::TCP,
            state: None,
            original,
            reply,
            assured: false,
            unreplied: false,
            offloaded: false,
            mark: Mark(0),
            zone: 0,
            reply_zone: 0,
            helped,
            counters: None,
            evidence: Evidence { file: FileId(0), line, index: None },
        }
    }

    /// What the index finds is what a look at every row finds, in the file's order.
    #[test]
    fn the_index_finds_what_the_plain_scan_finds() {
        let all: Vec<ConntrackTuple> = (1..5)
            .flat_map(|source| (1..5).map(move |destination| tuple(source, destination, (7, 7))))
            .chain([tuple(1, 2, (7, 8)), tuple(2, 1, (8, 7))])
            .collect();
        let rows = all
            .iter()
            .zip(all.iter().rev())
            .zip(0u32..)
            .map(|((original, reply), line)| row(line, *original, *reply, line % 3 == 1));
        let table = Conntrack::new(rows.collect());
        for asked in all.iter().chain([&tuple(9, 1, (7, 7))]) {
            let found: Vec<u32> = table.with_tuple(asked).map(|row| row.evidence.line).collect();
            let plain = table.iter().filter(|row| row.original == *asked || row.reply == *asked);
            assert_eq!(found, plain.map(|row| row.evidence.line).collect::<Vec<_>>(), "{asked:?}");
            let between = |row: &&ConntrackEntry| {
                let known = [row.original.ends(), row.reply.ends()].concat();
                row.helped && asked.ends().iter().all(|end| known.contains(end))
            };
            assert_eq!(table.helped_between(asked), table.iter().find(between), "{asked:?}");
        }
    }
}
