//! Options, chunks and extension headers (`nft_exthdr.c`). No packet of a walk has options of IPv4, and none has
//! extension headers of IPv6 unless it is in pieces.

use crate::net::{Family, Packet, Protocol};
use crate::snapshot::nft::{Asks, Exthdr};

use super::super::skb::Asked;
use super::super::walk::Walk;
use super::doubt::{Doubt, Field};
use super::load::{Break, flow};

/// Whether a packet has one, or the value of a field, which no question gives.
pub(super) fn nft_exthdr(walk: &Walk, packet: &Packet, of: Exthdr, asks: Asks, text: &str) -> Result<Field, Break> {
    walk.ask_piece(if matches!(of, Exthdr::Ip6) { Asked::Each } else { Asked::First });
    match there(walk, packet, of) {
        There::No if asks == Asks::Presence => Ok(Ok(0)),
        // Of a packet of the other family nothing is asked.
        There::No | There::OtherFamily => Err(Break),
        There::Maybe => Ok(Err(Doubt::fact(format!("`{text}` of {}", flow(packet))))),
    }
}

/// Whether there can be any.
enum There {
    No,
    Maybe,
    OtherFamily,
}

fn there(walk: &Walk, packet: &Packet, of: Exthdr) -> There {
    let four = packet.family() == Family::Inet;
    let only = |protocol: Protocol| if packet.protocol() == protocol { There::Maybe } else { There::No };
    match of {
        Exthdr::Tcp => only(Protocol::TCP),
        Exthdr::Sctp => only(Protocol::SCTP),
        Exthdr::Dccp => only(Protocol(33)),
        Exthdr::Ip if four => There::No,
        Exthdr::Ip6 if !four && (is_extension(packet.protocol()) || walk.skb.in_pieces) => There::Maybe,
        Exthdr::Ip6 if !four => There::No,
        Exthdr::Ip | Exthdr::Ip6 => There::OtherFamily,
    }
}

/// What may stand between the header and what it carries, though a question names it as the protocol.
fn is_extension(protocol: Protocol) -> bool {
    matches!(protocol.0, 0 | 43 | 44 | 50 | 51 | 60 | 135 | 139 | 140)
}
