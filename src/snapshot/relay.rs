//! Programs behind TUN devices.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::IfName;

/// One row of a userspace relay's table: what a program that reads a TUN device does with a packet.
///
/// The relay looks the destination up (longest prefix first), lowers TTL by `ttl_cost` and sends the whole IP packet as
/// the payload of a UDP datagram to the peer, whose relay writes it into its own TUN device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The TUN device.
    pub dev: IfName,
    /// The program's name.
    pub program: String,
    /// The destinations that go to this peer.
    pub prefix: IpNet,
    /// The peer's underlay address.
    pub peer: IpAddr,
    /// The UDP port on both sides.
    pub port: u16,
    /// The local underlay address that the relay's socket is bound to.
    pub local: Option<IpAddr>,
    /// How much the relay takes off TTL on the way into the tunnel.
    pub ttl_cost: u8,
    /// Where this is known from.
    pub evidence: Vec<Evidence>,
}
