//! What it was, where several things end a packet with the same reason.

use std::fmt;
use std::net::IpAddr;

use crate::net::IfName;

use super::Verdict;

/// What ended a packet, as data: its words are for people, and what to do about it depends on which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// IPv6 is switched off on a device.
    Ipv6Disabled(IfName),
    /// A device's packets are not forwarded.
    ForwardingOff(IfName),
    /// The owner of an address doesn't answer this sender's ARP request.
    RequestIgnored {
        /// The owner's device.
        device: IfName,
        /// The address.
        address: IpAddr,
    },
    /// The owner of an address is set to NOARP, and hears no neighbour solicitation.
    SolicitationUnheard {
        /// The owner's device.
        device: IfName,
        /// The address.
        address: IpAddr,
    },
    /// A rule stops a message of IPv6's neighbour discovery.
    MessageStopped {
        /// Which message.
        message: String,
        /// Why it ended.
        reason: &'static str,
        /// The namespace in which it ended.
        dir: String,
    },
    /// The chains of a table lead on and on.
    EndlessChains(String),
    /// A chain leads back to itself.
    Circle {
        /// Its table.
        table: String,
        /// The chain.
        chain: String,
    },
    /// A bridge doesn't flood frames to the port behind which the receiver is.
    NotFlooded {
        /// The bridge.
        bridge: IfName,
        /// The port.
        port: IfName,
    },
    /// A bridge that filters VLANs has none for the frames that come in by a port.
    NoPvid {
        /// The port, or the bridge itself.
        port: IfName,
        /// The bridge.
        bridge: IfName,
    },
    /// A port doesn't carry the VLAN of the frame.
    VlanNotCarried {
        /// The port, or the bridge itself.
        port: IfName,
        /// The bridge.
        bridge: IfName,
        /// The VLAN.
        vid: u16,
    },
    /// No device upon this one has the VLAN of the frame's tag.
    NoVlanDevice {
        /// The device that the frame came in by.
        device: IfName,
        /// The VLAN.
        vid: u16,
    },
    /// A tunnel's entry points to the node itself, and the packet came back until its TTL ended.
    EntryToItself {
        /// The TTL.
        ttl: u8,
    },
    /// A tunnel's entry points to the node itself, which drops what comes back.
    TunnelToItself {
        /// The address in the entry.
        vtep: IpAddr,
        /// The device that the packet comes back to.
        device: IfName,
    },
    /// What the program behind a TUN device sends comes back to it.
    RelayToItself {
        /// The program.
        program: String,
        /// Its device.
        device: IfName,
    },
    /// A device has no address that MASQUERADE could take.
    NoMasqueradeAddress(IfName),
    /// A setting keeps echoes from being answered.
    EchoesIgnored(String),
    /// The device leads nowhere.
    DummyDevice(IfName),
    /// The packet is too large.
    TooLong {
        /// The packet's bytes.
        length: u32,
        /// What fits.
        mtu: u32,
    },
    /// Something that may have decided otherwise is missing or could not be read.
    Doubted {
        /// How the packet ended without it.
        verdict: Verdict,
        /// That end's reason, and what is missing.
        but: String,
    },
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv6Disabled(device) => write!(f, "IPv6 is disabled on {device}"),
            Self::ForwardingOff(device) => write!(f, "forwarding is off for {device}"),
            Self::RequestIgnored { device, address } => {
                write!(f, "{device} has {address}, but takes no request from this sender")
            }
            Self::SolicitationUnheard { device, address } => {
                write!(f, "{device} has {address}, but is set to NOARP and hears no solicitation")
            }
            Self::MessageStopped { message, reason, dir } => write!(f, "{message} ends at {reason} of {dir}"),
            Self::EndlessChains(table) => write!(f, "the chains of table {table} lead on and on"),
            Self::Circle { table, chain } => {
                write!(f, "the chain {chain} of table {table} leads back to itself, which the kernel refuses")
            }
            Self::NotFlooded { bridge, port } => write!(f, "{bridge} doesn't flood to {port}"),
            Self::NoPvid { port, bridge } => {
                write!(f, "{port} has no VLAN for untagged frames, and {bridge} filters VLANs")
            }
            Self::VlanNotCarried { port, vid, .. } => write!(f, "{port} doesn't carry VLAN {vid}"),
            Self::NoVlanDevice { device, vid } => {
                write!(f, "the frame has the tag of VLAN {vid}, and no device upon {device} is of it")
            }
            Self::EntryToItself { ttl } => write!(
                f,
                "TTL is {ttl}; the tunnel's entry points to this node itself, so that the packet came back again and \
                 again"
            ),
            Self::TunnelToItself { vtep, device } => {
                write!(f, "the entry points to {vtep}, this node's own address, and the packet comes back to {device}")
            }
            Self::RelayToItself { program, device } => {
                write!(f, "what {program} sends comes back to it through {device}")
            }
            Self::NoMasqueradeAddress(device) => write!(f, "{device} has no address to masquerade with"),
            Self::EchoesIgnored(key) => write!(f, "{key} is set: echoes are not answered"),
            Self::DummyDevice(device) => write!(f, "{device} is a dummy device"),
            Self::TooLong { length, mtu } => write!(f, "{length} bytes don't fit the MTU of {mtu}"),
            Self::Doubted { verdict, but } => write!(f, "it would have been {}{but}", verdict.as_str()),
        }
    }
}
