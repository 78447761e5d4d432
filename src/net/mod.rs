//! Layer 0: addresses, names and the packet.

mod addr;
pub mod calendar;
mod extension;
mod hook;
mod netns;
mod options;
mod packet;
mod quote;
mod route;
mod vlan;

pub use addr::{Family, IfName, MacAddr, Mark, NodeName, PodName, TableId, Vni};
pub use extension::{ExtHeader, ExtHeaders};
pub use hook::Hook;
pub use netns::{NetnsId, NetnsName};
pub use options::IpOptions;
pub use packet::{Encapsulation, Fragments, Ip, Link, Packet, Protocol, Transport};
pub use route::{AddrScope, RouteScope, RouteType};
pub use vlan::{VlanProtocol, VlanTag};
