//! The nodes and pods of a cluster: names and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number, from 1, from which its name, addresses and pod networks come.
    pub number: u8,
    /// Its name, where it is not `n` and the number.
    pub label: Option<String>,
    /// Which underlay subnet it is in: 0 (192.0.2.0/24) or 1 (198.51.100.0/24).
    pub subnet: u8,
    /// Whether it has a second uplink, eth1, in the second subnet.
    pub second_uplink: bool,
    /// `ifindex` of its uplink and of the next device to be made.
    pub next_index: u32,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node's number.
    pub node: u8,
    /// The last part of its addresses.
    pub host: u8,
}

impl Node {
    /// The node of a number, in the first subnet.
    pub fn new(number: u8) -> Self {
        Self { number, label: None, subnet: 0, second_uplink: false, next_index: 10 }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.label.clone().unwrap_or_else(|| format!("n{}", self.number))
    }

    /// Its underlay address.
    pub fn address4(&self) -> Ipv4Addr {
        match self.subnet {
            0 => Ipv4Addr::new(192, 0, 2, 10 + self.number),
            _ => Ipv4Addr::new(198, 51, 100, 10 + self.number),
        }
    }

    /// Its address on the second uplink.
    pub fn second_address4(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, 10 + self.number)
    }

    /// Its underlay address in IPv6.
    pub fn address6(&self) -> Ipv6Addr {
        let subnet = if self.subnet == 0 { 2 } else { 0x51 };
        Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, 0x10 + u16::from(self.number))
    }

    /// Its gateway.
    pub fn gateway4(&self) -> Ipv4Addr {
        match self.subnet {
            0 => Ipv4Addr::new(192, 0, 2, 1),
            _ => Ipv4Addr::new(198, 51, 100, 1),
        }
    }

    /// Its gateway in IPv6.
    pub fn gateway6(&self) -> Ipv6Addr {
        let subnet = if self.subnet == 0 { 2 } else { 0x51 };
        Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, 1)
    }

    /// Its pod network, as the Node object says.
    pub fn pod_cidr4(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    /// Its pod network in IPv6.
    pub fn pod_cidr6(&self) -> String {
        format!("fd00:10:244:{}::/64", self.number)
    }

    /// The link address of its flannel.1 (4) or flannel-v6.1 (6).
    pub fn vtep_mac(&self, family: u8) -> String {
        format!("5a:00:00:00:0{family}:{:02x}", self.number)
    }

    /// The link address of its uplink.
    pub fn uplink_mac(&self) -> String {
        format!("52:54:00:00:00:{:02x}", 0x10 + self.number)
    }

    /// The link address of its second uplink.
    pub fn second_uplink_mac(&self) -> String {
        format!("52:54:00:00:01:{:02x}", 0x10 + self.number)
    }

    /// The link address of its cni0.
    pub fn bridge_mac(&self) -> String {
        format!("ce:00:00:00:00:{:02x}", self.number)
    }

    /// Its underlay address in a family.
    pub fn address_of(&self, family: u8) -> IpAddr {
        if family == 4 { self.address4().into() } else { self.address6().into() }
    }
}

impl Pod {
    /// A pod of a node.
    pub fn new(name: &str, node: u8, host: u8) -> Self {
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        Self { namespace: namespace.to_owned(), name: name.to_owned(), node, host }
    }

    /// `NAMESPACE/POD`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The name of its namespace in the lab.
    pub fn space(&self) -> String {
        self.full_name()
    }

    /// Its address.
    pub fn address4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.node, self.host)
    }

    /// Its address in IPv6.
    pub fn address6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x10, 0x244, u16::from(self.node), 0, 0, 0, u16::from(self.host))
    }

    /// Its address in a family.
    pub fn address(&self, family: u8) -> IpAddr {
        if family == 4 { self.address4().into() } else { self.address6().into() }
    }

    /// The host's end of its veth pair: `veth` and eight hex digits, as the bridge plugin names it.
    pub fn veth(&self) -> String {
        let hash = fnv(&self.full_name());
        format!("veth{:08x}", (hash ^ (hash >> 29)) as u32)
    }

    /// The link address of its eth0.
    pub fn mac(&self) -> String {
        format!("0a:58:0a:f4:{:02x}:{:02x}", self.node, self.host)
    }

    /// The link address of the host's end.
    pub fn veth_mac(&self) -> String {
        format!("7e:00:00:00:{:02x}:{:02x}", self.node, self.host)
    }
}

/// The FNV-1a hash, for names that need only be the same on every run.
pub fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
