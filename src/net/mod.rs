//! Layer 0: addresses, names and the packet.

mod addr;
mod packet;

pub use addr::{Family, IfName, MacAddr, Mark, NodeName, PodName, TableId, Vni};
pub use packet::{Encapsulation, Fragments, Ip, Link, Packet, Protocol, Transport};
