//! A captured packet on the path that is predicted for it.

use crate::net::Packet;

use super::{Finding, Place};

/// Which way a packet passed a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// The device handed it up.
    In,
    /// It left by the device.
    Out,
}

impl Way {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// What a packet is in its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It goes from who opened the conversation to who was asked.
    Original,
    /// It goes back.
    Reply,
    /// It is an ICMP error about another packet.
    Error,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Reply => "reply",
            Self::Error => "error",
        }
    }
}

/// One of the two parts of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The way there.
    Forward,
    /// The way of the answer, or of the error.
    Reply,
}

impl Leg {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reply => "reply",
        }
    }
}

/// Where on a path a captured packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spot {
    /// In which part.
    pub leg: Leg,
    /// The step's place in that part, from 0.
    pub step: usize,
}

/// A captured packet, and others like it, that an answer is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// The capture file, as it was named.
    pub file: String,
    /// The packet's place in the file, from 1; the first one's, where there are several.
    pub number: u64,
    /// How many packets of the file are like it.
    pub count: u64,
    /// Where it was captured.
    pub place: Place,
    /// Which way it went, where that is known.
    pub way: Option<Way>,
    /// What it is in its conversation.
    pub role: Role,
    /// Whether the conversation had seen packets both ways before.
    pub established: bool,
    /// The packet itself.
    pub packet: Packet,
    /// Where it was seen on each of the answer's paths.
    pub spots: Vec<Spot>,
    /// Whether the paths begin where the packet was sent; they begin at the capture point where nobody can tell.
    pub is_whole: bool,
    /// In what it contradicts the snapshot.
    pub odd: Vec<Finding>,
    /// What is worth knowing of how it was read.
    pub notes: Vec<String>,
}
