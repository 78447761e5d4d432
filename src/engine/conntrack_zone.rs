//! Zones, which keep connections with the same addresses apart (`include/net/netfilter/nf_conntrack_zones.h`).

use crate::net::Mark;
use crate::snapshot::{ConntrackEntry, ConntrackTuple, CtTarget, CtZoneSide, Direction};

use super::conntrack::{CtEntry, Dir};

/// `struct nf_conntrack_zone`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Zone {
    /// The number, 0 as a rule.
    pub id: u16,
    /// The one direction that it is for.
    side: Option<Dir>,
    /// The number is the packet's mark (`NF_CT_FLAG_MARK`).
    by_mark: bool,
}

impl Zone {
    /// A zone for both directions.
    pub(super) fn both(id: u16) -> Self {
        Self { id, side: None, by_mark: false }
    }

    /// A zone for one direction, or for both (`nft_ct_set_zone_eval` in `net/netfilter/nft_ct.c`).
    pub(super) fn of_side(id: u16, side: Option<Direction>) -> Self {
        let side = side.map(|side| if side == Direction::Original { Dir::Original } else { Dir::Reply });
        Self { side, ..Self::both(id) }
    }

    /// What a `CT` rule says (`xt_ct_tg_check` in `net/netfilter/xt_CT.c`).
    pub(super) fn of_target(ct: &CtTarget) -> Self {
        let Some(zone) = ct.zone else { return Self::default() };
        let side = match zone.side {
            CtZoneSide::Both => None,
            CtZoneSide::Original => Some(Dir::Original),
            CtZoneSide::Reply => Some(Dir::Reply),
        };
        Self { id: zone.id.unwrap_or(0), side, by_mark: zone.id.is_none() }
    }

    /// Of a connection of the snapshot.
    pub(super) fn of_row(row: &ConntrackEntry) -> Self {
        match (row.zone, row.reply_zone) {
            (id, reply) if id == reply => Self::both(id),
            (0, id) => Self { side: Some(Dir::Reply), ..Self::both(id) },
            (id, _) => Self { side: Some(Dir::Original), ..Self::both(id) },
        }
    }

    /// With the number that a packet's mark gives (`nf_ct_zone_tmpl`).
    pub(super) fn at(self, mark: Mark) -> Self {
        let [.., high, low] = mark.0.to_be_bytes();
        if self.by_mark { Self { id: u16::from_be_bytes([high, low]), by_mark: false, ..self } } else { self }
    }

    /// The number for one direction (`nf_ct_zone_id`).
    pub(super) fn of(self, dir: Dir) -> u16 {
        if self.side.is_none_or(|side| side == dir) { self.id } else { 0 }
    }

    /// Whether a connection is the same in one direction (`nf_ct_key_equal`).
    pub(super) fn holds(self, entry: &CtEntry, dir: Dir, tuple: &ConntrackTuple) -> bool {
        entry.tuple(dir) == tuple && entry.zone.of(dir) == self.of(dir)
    }

    /// The direction in which a row of the snapshot is the same.
    pub(super) fn holds_row(self, row: &ConntrackEntry, tuple: &ConntrackTuple) -> bool {
        let zone = Self::of_row(row);
        (row.original == *tuple && zone.of(Dir::Original) == self.of(Dir::Original))
            || (row.reply == *tuple && zone.of(Dir::Reply) == self.of(Dir::Reply))
    }
}
