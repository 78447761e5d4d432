//! The walk: a packet through the tables, as the kernel moves it.
//!
//! A stage is a function named after the kernel's, in a file that says where in the network stack it stands. A stage
//! looks at the walk, records what it decides with [`walk::Walk::take`] and goes on in a straight line; where the
//! kernel hands the packet to a device, the stage returns [`end::Next`] and the loop in [`drive`] calls the next one,
//! so that a routing loop costs no stack.

mod address;
mod arp;
mod beside;
mod br_netfilter;
mod bridge;
mod bridge_vlan;
mod certainty;
mod checksum;
mod conntrack;
mod conntrack_kept;
mod conntrack_sctp;
mod conntrack_tcp;
mod conntrack_tuple;
mod conntrack_zone;
mod drive;
mod end;
mod error;
mod exthdrs;
mod fib;
mod fib_rules;
mod fib_table;
mod gaps;
mod hook_order;
mod input;
mod ip_options;
mod ipset;
mod iptables;
mod jhash;
mod link;
mod matches;
mod multipath;
mod nat;
mod nat_ports;
mod ndisc;
mod neigh;
mod netfilter;
mod nft;
mod obstacle;
mod on_bridge;
mod options;
mod output;
mod pkt_type;
mod reply;
mod route;
mod route_output;
mod skb;
mod synproxy;
mod sysctl;
mod targets;
mod tcp_options;
mod tun;
mod underlay;
mod unread;
mod vlan;
mod vxlan;
mod walk;
mod xmit;

use std::net::IpAddr;
use std::sync::Arc;

use crate::net::{Family, IfName, MacAddr, Packet};
use crate::snapshot::NetnsId;

pub use bridge::shown_by_bridge;
pub use certainty::{Certainty, certainty};
pub(crate) use conntrack_sctp::chunks as sctp_chunks;
pub(crate) use conntrack_tuple::{invert, tuple_of};
pub use drive::explain;
pub use nft::{nft_certainty, nft_unmodelled};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The packet as it is first sent, or as it arrives. An unspecified source address is chosen by the route.
    pub packet: Packet,
    /// Where it starts.
    pub from: Origin,
    /// Whether the answer's way is walked too.
    pub reply: bool,
    /// How many ways are walked at most.
    pub max_paths: usize,
    /// Whether the rules that were tried and did not match are recorded.
    pub verbose: bool,
    /// Whether the packet belongs to a connection that has seen both directions (`--state established`).
    pub established: bool,
    /// Where the packet is an answer: who has opened its connection, and what was sent. That is walked first, as far as the
    /// snapshot goes, so that connections are tracked where it passed.
    pub opened_by: Option<(Origin, Packet)>,
    /// What else is known.
    pub given: Given,
}

/// What a question says beside the packet: it settles what rules ask and what no snapshot holds.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What the packet carries behind its transport header (`--payload`).
    pub payload: Option<Arc<[u8]>>,
    /// When the packet is sent, in seconds since 1970 UTC (`--time`).
    pub time: Option<i64>,
    /// The user that the sender runs as (`--uid`).
    pub uid: Option<u32>,
    /// The group that the sender runs as (`--gid`).
    pub gid: Option<u32>,
    /// The link address that the frame comes from, where it comes in from outside (`--mac`).
    pub mac: Option<MacAddr>,
    /// What the receiver answers with, where it is known: a capture has it.
    pub answer: Option<AnswerGiven>,
    /// The ICMP error that somebody sends about the packet, where it is known: a capture has it.
    pub error: Option<ErrorGiven>,
}

impl Given {
    /// What of it is known of the answer, which somebody else sends.
    fn of_answer(&self) -> Self {
        Self { time: self.time, answer: self.answer.clone(), ..Self::default() }
    }
}

/// What is known of an answer beside its addresses and ports, which the way there decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerGiven {
    /// TTL or hop limit, as it is sent; `None` for the receiver's default.
    pub ttl: Option<u8>,
    /// The TOS octet, or the traffic class.
    pub tos: u8,
    /// Don't fragment.
    pub df: bool,
    /// The IP packet's total length in bytes.
    pub length: u32,
    /// A TCP segment's flag octet.
    pub flags: Option<u8>,
    /// What it carries behind its transport header.
    pub payload: Option<Arc<[u8]>>,
}

/// What is known of an ICMP error of which no table tells: its receiver sends it, since nobody listens there, or somebody
/// outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorGiven {
    /// Its ICMP type and code.
    pub message: (u8, u8),
    /// From whom it comes, outside; `None` for the one that the packet was for.
    pub source: Option<IpAddr>,
    /// Its TTL or hop limit where it comes in from outside.
    pub ttl: u8,
    /// The TOS octet, or the traffic class, of one from outside.
    pub tos: u8,
    /// Don't fragment, of one from outside.
    pub df: bool,
    /// The IP packet's total length in bytes, of one from outside.
    pub length: u32,
}

impl ErrorGiven {
    /// Whether it is one that hosts send where nobody listens, or nobody knows the protocol (RFC 1122, RFC 4443).
    fn is_refusal(&self, family: Family) -> bool {
        match family {
            Family::Inet => matches!(self.message, (3, 2 | 3)),
            Family::Inet6 => matches!(self.message, (1, 4) | (4, 1)),
        }
    }
}

/// Where a packet starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A socket in this namespace sends it.
    Socket {
        /// The namespace.
        netns: NetnsId,
    },
    /// It arrives from outside at one of these devices; with more than one, nobody can know at which.
    Outside {
        /// The devices.
        entries: Vec<(NetnsId, IfName)>,
    },
    /// It arrives at this device (`--at`).
    Device {
        /// The namespace.
        netns: NetnsId,
        /// The device.
        device: IfName,
    },
    /// It leaves by this device, where a capture sees it go out: what the namespace does before is done.
    Leaving {
        /// The namespace.
        netns: NetnsId,
        /// The device.
        device: IfName,
    },
}
