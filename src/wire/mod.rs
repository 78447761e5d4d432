//! Layer 1: bytes to layers.
//!
//! A [`Dissector`] walks the headers of one captured packet from the link layer on, through tunnels nested to any depth,
//! and lends a [`Decoded`]: the packet's own bytes and a flat list of [`Layer`]s (what each header is, where it stands,
//! where what it carries begins and ends), outermost first. Nothing is copied, and nothing is allocated once the
//! decoder's list has grown to the deepest packet it has met.
//!
//! | to know | ask |
//! | --- | --- |
//! | all that was met, in order | [`Decoded::layers`] |
//! | addresses, ports, TTL of the outermost and of the innermost packet | [`Decoded::outermost`], [`Decoded::innermost`] |
//! | what an ICMP error quotes | [`Decoded::quoted`] |
//! | the outermost tunnel, its name and VNI | [`Decoded::tunnel`] |
//! | where the innermost frame begins | [`Decoded::innermost_frame`] |
//! | what is wrong, where, and why decoding stopped | [`Decoded::flaw`] |
//! | which checksums are right | [`Decoded::checksums`] |
//!
//! [`Flows`] counts what two ends have sent to each other, and a [`Reassembler`] puts fragments together.
//!
//! [`Headers`] is a view of one packet: an IP (or ARP) header with the transport header behind it. Its methods read
//! the fields where they stand. Behind an ICMP error's header a layer [`Kind::Quote`] begins what it quotes; those
//! layers belong to no packet that travels, so the innermost packet is the one that carries the error.
//!
//! ```
//! use flowtrace::wire::{Dissector, LinkType, Ports};
//!
//! let frame = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 9, 0, 8, 0, 0];
//! let mut dissector = Dissector::new(Ports::default());
//! let decoded = dissector.decode(LinkType::RAW, &frame, 28);
//! let packet = decoded.innermost().unwrap();
//! assert_eq!(packet.source().unwrap().to_string(), "10.0.0.1");
//! assert_eq!(packet.ports(), Some((40_000, 9)));
//! ```

mod checksum;
mod dissector;
mod dns;
mod flows;
mod frame;
mod glance;
mod headers;
mod icmp;
mod layer;
mod link;
mod network;
mod options;
mod packet;
mod reassembly;
mod stop;
#[cfg(test)]
mod tests;
mod transport;
mod tunnel;
mod usual;

pub use checksum::{Checked, Checksum};
pub use dissector::{Decoded, Dissector, Ports, Tunnel};
pub use dns::{DnsHeader, Names, Record, Records};
pub use flows::{Flow, Flows};
pub use frame::{Frame, LinkType, Time};
pub(crate) use glance::Glance;
pub use headers::{Headers, Tcp};
pub use layer::{Kind, Layer};
pub use options::{TcpOption, TcpOptions};
pub use packet::{Held, Piece, Unheld};
pub use reassembly::{Gathering, Reassembler, Whole};
pub use stop::{Flaw, Reason};
pub(crate) use usual::Usual;

/// The two bytes that stand at an offset, or `None` where the packet ends before.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The four bytes that stand at an offset, or `None` where the packet ends before.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
