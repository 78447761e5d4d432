//! Programs behind TUN devices.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::IfName;

/// One row of a userspace relay's table: what a program that reads a TUN device does with a packet.
///
/// The relay looks the destination up (longest prefix first), lowers TTL by `ttl_cost` and sends the whole IP packet as
/// the payload of a UDP datagram to the peer, whose relay lowers TTL by as much again and writes it into its own TUN
/// device.
///
/// flannel's (`pkg/backend/udp/proxy_amd64.c`) looks the destination up first. Where no row fits it writes an ICMP
/// "network unreachable" (3, 0) with TTL 8 and the TUN device's address as its source back into the TUN device, unless
/// the packet is ICMP itself (a ping too) or a later fragment. A packet whose TTL it lowers to 0 is dropped without a
/// word, on both sides. Its socket is bound to the local underlay address and sends with "don't fragment" as every
/// UDP socket does unless told otherwise (`ip_dont_fragment`).
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
