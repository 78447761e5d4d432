//! Layer 0: addresses, names and the packet.

mod addr;
mod netns;
mod packet;
mod route_type;

pub use addr::{Family, IfName, MacAddr, Mark, NodeName, PodName, TableId, Vni};
pub use netns::{NetnsId, NetnsName};
pub use packet::{Encapsulation, Fragments, Ip, Link, Packet, Protocol, Transport};
pub use route_type::RouteType;
