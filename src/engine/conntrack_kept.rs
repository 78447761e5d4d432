//! What a connection keeps beside its tuples: counters and labels (`net/netfilter/nf_conntrack_acct.c`,
//! `net/netfilter/nf_conntrack_labels.c`).

use crate::net::IfName;
use crate::snapshot::ConntrackEntry;

use super::conntrack::Dir;

/// How much a connection has carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counters {
    /// Packets and bytes of the two directions.
    Counted([(u64, u64); 2]),
    /// It was made while nothing counted, and never will be counted.
    Off,
    /// Nobody knows.
    Unknown,
}

/// A connection's extensions (`struct nf_ct_ext`).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub counters: Counters,
    /// The labels that are set, a bit each; `None` where nobody knows.
    pub labels: Option<u128>,
    /// `SYNPROXY` has opened it for the client (`NF_CT_EXT_SYNPROXY`).
    pub proxied: bool,
    /// The device for which it was masqueraded (`masq_index` of `struct nf_conn_nat`), which no snapshot tells.
    pub masqueraded_for: Option<IfName>,
}

impl Kept {
    /// Of a connection that begins. Where a rule asks for counters or labels, the kernel keeps them for every
    /// connection that begins from then on (`nf_ct_set_acct`, `nf_connlabels_get`).
    pub(super) fn of_new() -> Self {
        Self { counters: Counters::Counted([(0, 0); 2]), labels: Some(0), proxied: false, masqueraded_for: None }
    }

    /// Of a connection of the snapshot, whose labels the snapshot doesn't hold.
    pub(super) fn of_row(row: &ConntrackEntry) -> Self {
        let counters = row.counters.map_or(Counters::Off, Counters::Counted);
        Self { counters, labels: None, proxied: false, masqueraded_for: None }
    }

    /// Counts a packet (`nf_ct_acct_add`).
    pub(super) fn count(&mut self, dir: Dir, length: u32) {
        if let Counters::Counted([original, reply]) = &mut self.counters {
            let (packets, bytes) = if dir == Dir::Original { original } else { reply };
            *packets = packets.saturating_add(1);
            *bytes = bytes.saturating_add(u64::from(length));
        }
    }

    /// More has been carried than the walk has shown.
    pub(super) fn forget_counters(&mut self) {
        self.counters = Counters::Unknown;
    }
}
