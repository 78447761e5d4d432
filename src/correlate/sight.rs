//! What a capture point saw of a packet.

use std::net::IpAddr;

use crate::net::{Link, Protocol};
use crate::trace::Way;

use super::identity::Identity;

/// A capture point: its place in the list of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(pub u16);

impl PointId {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// A node, whose capture points share one clock: its place in the list of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// A file that packets were read from: its place in the list of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u16);

/// One packet at one capture point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Where it was seen, and with which addresses.
    pub lane: Lane,
    /// The file.
    pub file: FileId,
    /// Its place in the file, from 1.
    pub number: u64,
    /// When, in nanoseconds since 1970 by the clock of the point's node.
    pub time: i64,
    /// Time to live, or hop limit, of the innermost packet.
    pub ttl: u8,
    /// TCP's flags, or the type of an ICMP message.
    pub flags: u8,
    /// The innermost packet's length on the wire in bytes, from its IP header on.
    pub length: u32,
    /// Whether it is one of those that are asked for; packets of which no sight is are not handed on.
    pub is_wanted: bool,
    /// Where the capture has too little of the packet to tell which one it is: what is known of it.
    pub vague: Option<Vague>,
    /// What makes it the same packet elsewhere.
    pub identity: Identity,
}

/// What is known of a packet of which too little was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vague {
    /// Whether it is of IPv6, if that is known.
    pub is_v6: Option<bool>,
    /// Its protocol, if that is known.
    pub protocol: Option<Protocol>,
}

impl Vague {
    /// Whether it may be a packet of a lane.
    #[must_use]
    pub fn may_be(self, lane: &Lane) -> bool {
        self.is_v6.is_none_or(|is_v6| is_v6 == lane.source.is_ipv6())
            && self.protocol.is_none_or(|protocol| protocol == lane.protocol)
    }
}

/// What all packets of one direction of a conversation have in common at one capture point: all that NAT, tunnels and
/// bridges rewrite, TTL apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The capture point.
    pub point: PointId,
    /// Of a cooked capture, which has packets of several devices: which one, and for whom it was; 0 elsewhere.
    pub device: u32,
    /// Which way it passed the device, where the capture says so.
    pub way: Option<Way>,
    /// The protocol of the innermost packet.
    pub protocol: Protocol,
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address.
    pub destination: IpAddr,
    /// Its ports; of an ICMP echo its identifier, twice, which NAT rewrites like a port.
    pub ports: Option<(u16, u16)>,
    /// The link addresses of the outermost frame.
    pub link: Option<Link>,
    /// The outermost tunnel that it is in.
    pub tunnel: Option<Outer>,
}

/// A tunnel around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The word for it, as `flowtrace decode` has it: `vxlan`, `geneve`, ...
    pub name: &'static str,
    /// The network identifier.
    pub vni: Option<u32>,
    /// The outermost packet's source address.
    pub source: IpAddr,
    /// The outermost packet's destination address.
    pub destination: IpAddr,
}

impl Lane {
    /// The address that leads on here: the outer destination where the packet is in a tunnel, else its own.
    #[must_use]
    pub fn leading(&self) -> IpAddr {
        self.tunnel.map_or(self.destination, |outer| outer.destination)
    }

    /// The address that the leading one is the opposite of.
    #[must_use]
    pub fn trailing(&self) -> IpAddr {
        self.tunnel.map_or(self.source, |outer| outer.source)
    }
}
