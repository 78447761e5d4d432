//! Network devices.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{IfName, MacAddr, VlanProtocol, VlanTag, Vni};

/// A network device: a row of `ip -d link show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The interface index; `None` where the file doesn't give it.
    pub index: Option<u32>,
    /// The device's name.
    pub name: IfName,
    /// Whether `UP` stands among the flags (the administrator's wish).
    pub up: bool,
    /// Whether the device has a carrier.
    ///
    /// For a device that is up it is `LOWER_UP` (`netif_carrier_ok()` in `dev_get_flags()`, `net/core/dev.c`) without
    /// `M-DOWN` (iproute2's word for a lower device that isn't up). `NO-CARRIER` is iproute2's word for a device that
    /// is up and not `RUNNING`, which a dormant device with a carrier isn't either; it decides only where `LOWER_UP`
    /// can't: on a device that is down, together with `M-DOWN`.
    pub carrier: bool,
    /// Whether `NOARP` stands among the flags: no neighbour is looked up.
    pub noarp: bool,
    /// The MTU in bytes, where the file gives it.
    pub mtu: Option<u32>,
    /// The device group that `-m devgroup` asks for; `None` where the file doesn't give it, or by a name of its own.
    pub group: Option<u32>,
    /// The bridge, bond or VRF that the device belongs to.
    pub master: Option<IfName>,
    /// The link-layer address; `None` on devices without one (TUN).
    pub lladdr: Option<MacAddr>,
    /// The interface index after `@if`: a veth's peer, a VLAN's or a tunnel's lower device.
    pub peer_index: Option<u32>,
    /// The name after `@`, where iproute2 could resolve it (the other device is in the same namespace).
    pub peer_name: Option<IfName>,
    /// `link-netnsid`: which other namespace the peer's index belongs to.
    pub link_netnsid: Option<i32>,
    /// `link-netns`: the same by name, where `ip netns` knows one and iproute2 prints it in place of the number.
    pub link_netns: Option<String>,
    /// What the device is.
    pub kind: LinkKind,
    /// The bridge port's settings, where the device is one (`bridge_slave`, or a row of `bridge -d link show`).
    pub port: Option<BridgePort>,
    /// Words that change what happens to packets and that flowtrace doesn't model, as written (`xdp`, …).
    pub unmodelled: Vec<String>,
    /// The line on which the device starts.
    pub evidence: Evidence,
    /// The line that says its link-layer address (`link/ether …`); the first where none does.
    pub lladdr_evidence: Evidence,
    /// The line that says what it is (`vxlan id …`); the first where none does.
    pub kind_evidence: Evidence,
}

impl Link {
    /// What a device without details is that has entries of tunnels' ends.
    pub const TUNNEL: &'static str = "vxlan";

    /// A device that is down and of which nothing but the name is known.
    #[must_use]
    pub fn new(name: IfName, evidence: Evidence) -> Self {
        Self {
            index: None,
            name,
            up: false,
            carrier: true,
            noarp: false,
            mtu: None,
            group: None,
            master: None,
            lladdr: None,
            peer_index: None,
            peer_name: None,
            link_netnsid: None,
            link_netns: None,
            kind: LinkKind::Plain,
            port: None,
            unmodelled: Vec::new(),
            evidence,
            lladdr_evidence: evidence,
            kind_evidence: evidence,
        }
    }
}

/// What a device is, from the `-d` details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// `link/loopback`.
    Loopback,
    /// A device without a kind: hardware, or a file that was taken without `-d`.
    Plain,
    /// One end of a veth pair.
    Veth,
    /// A bridge.
    Bridge(Bridge),
    /// A VXLAN tunnel device.
    Vxlan(Vxlan),
    /// A TUN or TAP device.
    Tun {
        /// True for TAP (Ethernet frames), false for TUN (IP packets).
        tap: bool,
    },
    /// A VLAN device on a lower one.
    Vlan(Vlan),
    /// `dummy`: everything sent is dropped.
    Dummy,
    /// Any other kind, by iproute2's name.
    Other(String),
    /// A device of a file that was taken without `-d`, which is no hardware: what it probably is.
    Undetailed(&'static str),
}

/// A bridge's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Whether VLANs are filtered.
    pub vlan_filtering: bool,
    /// The per-bridge switch for iptables on bridged packets, on beside the sysctl.
    pub nf_call_iptables: bool,
    /// The same for ip6tables.
    pub nf_call_ip6tables: bool,
}

/// A bridge port's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePort {
    /// The spanning tree state; only `forwarding` ports carry packets.
    pub state: PortState,
    /// Whether a frame may leave by the port that it came in by.
    pub hairpin: bool,
    /// Isolated ports talk only to ports that aren't.
    pub isolated: bool,
    /// Whether source addresses are learned.
    pub learning: bool,
    /// Whether frames to unknown addresses are flooded to the port.
    pub flood: bool,
    /// Whether broadcasts are flooded to the port.
    pub bcast_flood: bool,
    /// Whether the bridge answers ARP and ND for the port's neighbours (`neigh_suppress`).
    pub neigh_suppress: bool,
    /// Settings that differ from the kernel's default and that flowtrace doesn't model, as written (`locked on`, …).
    pub unmodelled: Vec<String>,
    /// The line that says so.
    pub evidence: Evidence,
}

/// A bridge port's spanning tree state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Carries nothing.
    Disabled,
    /// Listens to the protocol only.
    Listening,
    /// Learns addresses, forwards nothing.
    Learning,
    /// Carries packets.
    Forwarding,
    /// Carries nothing.
    Blocking,
}

impl PortState {
    /// iproute2's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        }
    }
}

/// A VXLAN device's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The network identifier.
    pub vni: Vni,
    /// The outer source address, where it is fixed.
    pub local: Option<IpAddr>,
    /// The default remote or multicast group.
    pub remote: Option<IpAddr>,
    /// The lower device.
    pub dev: Option<IfName>,
    /// The UDP port that is listened on and sent to.
    pub port: u16,
    /// The bounds of the outer source port as set (`srcport LOW HIGH`); `None` where the namespace's range counts.
    pub source_ports: Option<(u16, u16)>,
    /// Whether source addresses are learned from what arrives.
    pub learning: bool,
    /// The outer packet's TTL.
    pub ttl: VxlanTtl,
    /// Whether the outer packet takes the inner's TOS; the fixed value otherwise.
    pub tos: Option<u8>,
    /// Whether the outer TOS is inherited from the inner packet.
    pub tos_inherit: bool,
    /// Whether the outer packet says "don't fragment": `df set`, or `df inherit` with the inner's bit.
    pub df_set: bool,
    /// `df inherit`.
    pub df_inherit: bool,
    /// Options that change what happens and that flowtrace does not model, as written (`rsc`, `proxy`, `gbp`, …).
    pub unmodelled: Vec<String>,
}

impl Vxlan {
    /// A device as the kernel makes it, with its network and port.
    #[must_use]
    pub fn new(vni: Vni, port: u16) -> Self {
        Self {
            vni,
            local: None,
            remote: None,
            dev: None,
            port,
            source_ports: None,
            learning: true,
            ttl: VxlanTtl::Auto,
            tos: None,
            tos_inherit: false,
            df_set: false,
            df_inherit: false,
            unmodelled: Vec::new(),
        }
    }
}

/// How a VXLAN device chooses the outer TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VxlanTtl {
    /// `ttl auto`: the route's hop limit, 64 as a rule.
    Auto,
    /// `ttl inherit`: the inner packet's.
    Inherit,
    /// A number.
    Fixed(u8),
}

/// A VLAN device's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// What announces its tags.
    pub protocol: VlanProtocol,
    /// The VLAN identifier, 1 to 4094.
    pub id: u16,
    /// The lower device; `None` where it is in another namespace.
    pub lower: Option<IfName>,
    /// Whether it has maps between tags' priorities and the stack's (`ingress-qos-map`, `egress-qos-map`).
    pub maps_priority: bool,
}

impl Vlan {
    /// Whether a tag is the device's.
    #[must_use]
    pub fn has(&self, tag: VlanTag) -> bool {
        (self.protocol, self.id) == (tag.protocol, tag.id)
    }

    /// The tag that it puts on what it sends.
    #[must_use]
    pub fn tag(&self) -> VlanTag {
        VlanTag { protocol: self.protocol, ..VlanTag::new(self.id) }
    }
}

/// A TUN or TAP device: a row of `ip -d tuntap show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tun {
    /// The device.
    pub dev: IfName,
    /// True for TAP (Ethernet frames), false for TUN (IP packets).
    pub tap: bool,
    /// The programs attached, as printed (`flanneld(1234)`).
    pub attached: Option<String>,
    /// The line that says so.
    pub evidence: Evidence,
}
