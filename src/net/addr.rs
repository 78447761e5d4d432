//! Addresses and names that must not be mixed up.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// An address family of the routing tables: IPv4 (`AF_INET`) or IPv6 (`AF_INET6`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        if addr.is_ipv4() { Self::Inet } else { Self::Inet6 }
    }

    /// Bits of an address: 32 or 128.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Inet => 32,
            Self::Inet6 => 128,
        }
    }

    /// `0.0.0.0` or `::`.
    #[must_use]
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::Inet => IpAddr::from([0; 4]),
            Self::Inet6 => IpAddr::from([0; 16]),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "ip",
            Self::Inet6 => "ip6",
        })
    }
}

/// A 48-bit link-layer address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `00:00:00:00:00:00`: no address, or a VXLAN device's default entry.
    pub const ZERO: Self = Self([0; 6]);
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set (broadcast included).
    #[must_use]
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|octet| write!(f, ":{octet:02x}"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = ();

    /// Reads six hexadecimal octets with colons between them, as iproute2 and iptables print them.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(())?;
            if part.is_empty() || part.len() > 2 {
                return Err(());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        if parts.next().is_some() { Err(()) } else { Ok(Self(octets)) }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as it stands.
            #[must_use]
            pub fn new(name: &str) -> Self {
                Self(Arc::from(name))
            }

            /// The name's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }
    };
}

name! {
    /// The name of a Kubernetes node, which is also its folder under `nodes/`.
    NodeName
}
name! {
    /// The name of a network device inside one namespace.
    IfName
}

/// A pod: its namespace and its name. Written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// The Kubernetes namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub name: Arc<str>,
}

impl PodName {
    /// A pod's name in a namespace.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: Arc::from(namespace), name: Arc::from(name) }
    }

    /// The folder of a snapshot in which the tables of this pod's network namespace stand, on a node.
    #[must_use]
    pub fn folder(&self, node: &str) -> String {
        format!("nodes/{node}/pods/{}_{}", self.namespace, self.name)
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A routing table's number.
///
/// A tool may print a name in its place, from a file (`/etc/iproute2/rt_tables`) that a snapshot doesn't hold.
/// [`TableId::named`] gives each such name a number of its own, so that a rule and a route with the same name meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

impl TableId {
    /// `local`, 255.
    pub const LOCAL: Self = Self(255);
    /// `main`, 254.
    pub const MAIN: Self = Self(254);
    /// `default`, 253.
    pub const DEFAULT: Self = Self(253);
    /// `unspec`, 0: where IPv6 keeps its null entry.
    pub const UNSPEC: Self = Self(0);

    /// The table that a tool printed: its number, or its name, which then has a number of at least 2^31 that
    /// [`fmt::Display`] turns back. `None` for what is neither: a name doesn't start with a digit.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        if let Ok(table) = text.parse() {
            return Some(table);
        }
        let starts_well = text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        starts_well.then(|| Self(TABLE_NAMES.lock().unwrap_or_else(PoisonError::into_inner).number(text)))
    }
}

/// The tables that are known by name alone, by number. A name's number is its FNV-1a hash, or the next free one where
/// another name has that; so that junk can't fill the memory, a name too many keeps its hash and prints as a number.
struct TableNames(BTreeMap<u32, Arc<str>>);

static TABLE_NAMES: Mutex<TableNames> = Mutex::new(TableNames(BTreeMap::new()));

const MOST_TABLE_NAMES: usize = 1 << 12;
const FIRST_NAMED_TABLE: u32 = 1 << 31;

impl TableNames {
    fn number(&mut self, name: &str) -> u32 {
        let hash = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let mut number = hash | FIRST_NAMED_TABLE;
        while let Some(other) = self.0.get(&number) {
            if **other == *name {
                return number;
            }
            number = number.wrapping_add(1) | FIRST_NAMED_TABLE;
        }
        if self.0.len() < MOST_TABLE_NAMES && name.len() < 256 {
            self.0.insert(number, Arc::from(name));
        }
        number
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            255 => f.write_str("local"),
            254 => f.write_str("main"),
            253 => f.write_str("default"),
            0 => f.write_str("unspec"),
            n @ FIRST_NAMED_TABLE.. => match TABLE_NAMES.lock().unwrap_or_else(PoisonError::into_inner).0.get(&n) {
                Some(name) => f.write_str(name),
                None => write!(f, "{n}"),
            },
            n => write!(f, "{n}"),
        }
    }
}

impl FromStr for TableId {
    type Err = ();

    /// Reads a number (decimal or `0x…`) or one of the four names that iproute2 always knows.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "local" => Ok(Self::LOCAL),
            "main" => Ok(Self::MAIN),
            "default" => Ok(Self::DEFAULT),
            "unspec" => Ok(Self::UNSPEC),
            _ => match text.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).map(Self).map_err(|_| ()),
                None => text.parse().map(Self).map_err(|_| ()),
            },
        }
    }
}

/// A VXLAN network identifier (24 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(pub u32);

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A packet's or a connection's firewall mark (`skb->mark`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u32);

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_keeps_its_number_and_prints_back() {
        let vpn = TableId::named("vpn").unwrap();
        assert!(vpn.0 >= FIRST_NAMED_TABLE);
        assert_eq!(TableId::named("vpn"), Some(vpn));
        assert_ne!(TableId::named("vpn2"), Some(vpn));
        assert_eq!(vpn.to_string(), "vpn");
    }

    #[test]
    fn numbers_and_known_names_are_themselves() {
        let numbers = ["main", "local", "default", "unspec", "100", "0x64"].map(|text| TableId::named(text).unwrap().0);
        assert_eq!(numbers, [254, 255, 253, 0, 100, 100]);
        assert_eq!(TableId::named("4294967296"), None);
        assert_eq!(TableId::named(""), None);
    }

    #[test]
    fn a_flood_of_table_names_fills_no_memory() {
        let mut names = TableNames(BTreeMap::new());
        let first = names.number("flood0");
        for n in 0..5000 {
            names.number(&format!("flood{n}"));
        }
        assert_eq!(names.number("flood0"), first);
        assert_eq!(names.0.len(), MOST_TABLE_NAMES);
    }
}
