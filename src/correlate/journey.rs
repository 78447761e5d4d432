//! What is known of one packet once all its sights are in.

use super::lanes::{FlowId, LaneId};
use super::order::Timed;
use super::sight::{FileId, PointId};

/// One sight of a packet, on its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When, by the reference's clock, in nanoseconds since 1970.
    pub time: i64,
    /// When, by the clock of the point's node, as the capture has it.
    pub stamp: i64,
    /// Its place in the file, from 1.
    pub number: u64,
    /// Where, and with which addresses.
    pub lane: LaneId,
    /// What it carries of the packet: of a TCP segment sequence numbers, of a later fragment bytes of the packet; from
    /// the first on to the one before the second.
    pub(super) range: (u32, u32),
    /// `ip.id`, 0 for none.
    pub(super) id: u32,
    /// The innermost packet's length in bytes.
    pub length: u32,
    /// The file.
    pub file: FileId,
    /// Time to live.
    pub ttl: u8,
    /// TCP's flags, or the type of an ICMP message.
    pub flags: u8,
    /// Whether it is a later fragment.
    pub(super) is_part: bool,
    /// Whether it is a fragment, or in a fragment of its tunnel's packet.
    pub(super) in_pieces: bool,
    /// Whether too little of the packet was captured to tell which one it is.
    pub(super) is_vague: bool,
    /// Whether it is one of those that were asked for.
    pub(super) is_wanted: bool,
}

impl Timed for Seen {
    fn time(&self) -> i64 {
        self.time
    }

    fn lane(&self) -> LaneId {
        self.lane
    }

    fn ttl(&self) -> u8 {
        self.ttl
    }
}

/// A packet's path. A TCP segment that a device split or joined is as many packets as the smallest pieces that were
/// seen; each has the sights of what it was a part of.
#[derive(Clone, Copy, Debug)]
pub struct Journey<'a> {
    /// Its number, from 1, in the order in which packets were first seen.
    pub id: u64,
    /// The flow it is of; `None` beyond the number of flows that are told apart.
    pub flow: Option<FlowId>,
    /// Its sights, in the order of its path. There is one at least.
    pub sights: &'a [Seen],
    /// Later fragments of the packet, wherever they were seen.
    pub parts: &'a [Seen],
    /// Its length in bytes where it was first seen, with all its fragments there.
    pub bytes: u64,
    /// How its path ends, as far as the captures show.
    pub end: End,
    /// Whether nobody like it had gone on by then from where it was last seen; others may have since.
    pub is_early: bool,
    /// The lane in which it ends: that of its last sight, or of the last one of all of it.
    pub ended_in: LaneId,
    /// The point whose link address it went to when it was lost, where only that says so.
    pub unreached: Option<PointId>,
    /// The number of the packet that carried the same data before.
    pub retransmission_of: Option<u64>,
    /// Points that others like it passed and that have not seen it, though it was seen behind them: the capture missed it
    /// there.
    pub missed: &'a [PointId],
}

/// How a path ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody like it was seen behind this point, or nobody knows which packets were: here it may have arrived.
    LastSeen(PointId),
    /// Others that have to go the same way went on from this point, and it did not; or fragments of it did not; or it was for
    /// a captured device that has not seen it.
    Lost(PointId),
    /// Others went on from the first point to the second one, whose capture had not begun, or had ended.
    Outside(PointId, PointId),
}
