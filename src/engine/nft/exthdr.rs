//! Options, chunks and extension headers (`nft_exthdr.c`).

use crate::net::{Family, IpOptions, Packet, Protocol};
use crate::snapshot::nft::{Asks, Exthdr};

use super::super::ip_options::{Compiled, Reader, Wrong, compile};
use super::super::matches::Bytes;
use super::super::skb::Asked;
use super::super::tcp_options::{self, HasOption};
use super::super::walk::Walk;
use super::doubt::{Doubt, Field, May};
use super::load::{Break, flow};
use super::statement::Run;

/// Whether a packet has one, or the value of a field.
pub(super) fn nft_exthdr(walk: &Walk, packet: &Packet, of: Exthdr, asks: Asks, text: &str) -> Result<Field, Break> {
    walk.ask_piece(asked(of));
    let doubt = || Ok(Err(Doubt::fact(format!("`{text}` of {}", flow(packet)))));
    match (there(walk, packet, of), asks) {
        // Of a packet of the other family nothing is asked.
        (There::No, Asks::Presence) => Ok(Ok(0)),
        (There::OtherFamily | There::No, _) => Err(Break),
        (There::At(_), Asks::Presence) => Ok(Ok(1)),
        (There::Maybe, _) | (There::At(_), Asks::Field) => doubt(),
        (There::At(place), Asks::Bits { offset, length }) => {
            let (from, length) = (place * 8 + u32::from(offset), u32::from(length));
            let bytes = Bytes::of_packet(walk, packet);
            if !bytes.has_bits(from, length) {
                return Err(Break);
            }
            bytes.bits(from, length).map_or_else(doubt, |value| Ok(Ok(value)))
        }
    }
}

impl Run<'_> {
    /// Whether a segment has an option, or the value of a field (`nft_exthdr_tcp_eval`).
    pub(super) fn tcp_option(&mut self, walk: &Walk, kind: u8, asks: Asks, text: &str) -> Result<Field, Break> {
        if self.packet(walk).nft_protocol() != Protocol::TCP {
            if self.matching && asks == Asks::Presence {
                // `meta l4proto tcp` in front of it, with which the rule doesn't match, is left out by nft's listing as if it
                // went without saying.
                let what = format!("`{text}` stands without `meta l4proto tcp`, which nft does not list before it");
                self.may_lack = Some(Doubt::fact(what).that_may(May::Holds { invert: false }));
            }
            return nft_exthdr(walk, self.packet(walk), Exthdr::Tcp(kind), asks, text);
        }
        let packet = self.packet(walk);
        walk.ask_piece(Asked::First);
        let there = tcp_options::there(walk, packet, kind);
        let ((least, most), written) = tcp_options::mss_range(walk);
        let has = || {
            let what = format!("the segment has the TCP option {kind}");
            if there == HasOption::Open { Doubt::fresh(what) } else { Doubt::fact(what) }
        };
        let what = format!("`{text}` of {}", flow(packet));
        let value = if written { Doubt::fresh(what) } else { Doubt::fact(what) };
        Ok(match (there, asks) {
            (HasOption::No, Asks::Presence) => Ok(0),
            (HasOption::No, _) => return Err(Break),
            (HasOption::Yes, Asks::Presence) => Ok(1),
            (_, Asks::Presence) => Err(has().that_may(May::Either(1, 0))),
            (HasOption::Yes, Asks::Bits { .. }) if least == most => Ok(u128::from(least)),
            (_, Asks::Bits { .. }) if there == HasOption::Yes || self.matching => {
                if there != HasOption::Yes {
                    self.may_lack = Some(has().that_may(May::Holds { invert: false }));
                }
                Err(value.that_may(May::Within(u128::from(least), u128::from(most))))
            }
            _ => Err(value),
        })
    }
}

/// What a piece of a packet is asked: each has an extension header of its own, and options that are copied
/// (`IPOPT_COPY`); the other options, and what is behind, the first one has alone.
fn asked(of: Exthdr) -> Asked {
    match of {
        Exthdr::Ip6(_) | Exthdr::Ip(IpOptions::RR) => Asked::Each,
        Exthdr::Ip(_) => Asked::Common,
        Exthdr::Tcp(_) | Exthdr::Sctp | Exthdr::Dccp => Asked::First,
    }
}

/// Whether there is one.
enum There {
    No,
    Maybe,
    /// At this place of the packet.
    At(u32),
    OtherFamily,
}

fn there(walk: &Walk, packet: &Packet, of: Exthdr) -> There {
    let four = packet.family() == Family::Inet;
    let only = |protocol: Protocol| if packet.nft_protocol() == protocol { There::Maybe } else { There::No };
    match of {
        // What is known of its options, [`Run::tcp_option`] says.
        Exthdr::Tcp(_) => only(Protocol::TCP),
        Exthdr::Sctp => only(Protocol::SCTP),
        Exthdr::Dccp => only(Protocol(33)),
        Exthdr::Ip(kind) if four => ipv4_find_option(packet, kind),
        Exthdr::Ip6(kind) if !four => ipv6_find_hdr(walk, packet, Protocol(kind)),
        Exthdr::Ip(_) | Exthdr::Ip6(_) => There::OtherFamily,
    }
}

/// `ipv4_find_option`: the options are read as if a socket were to send them, so that a source route counts only as long
/// as none of it is used, and with an option that needs a privilege it depends on whoever runs at the time.
fn ipv4_find_option(packet: &Packet, kind: u8) -> There {
    let mut list = packet.options.bytes().to_vec();
    let Compiled { srr, rr, router_alert, is_strictroute, .. } = match compile(&mut list, Reader::Socket) {
        (found, None) => found,
        (_, Some(Wrong::Privileged)) => return There::Maybe,
        (_, Some(_)) => return There::No,
    };
    let found = match kind {
        IpOptions::RR => rr,
        IpOptions::RA => router_alert,
        IpOptions::LSRR => srr.filter(|_| !is_strictroute),
        _ => srr.filter(|_| is_strictroute),
    };
    found.and_then(|at| u32::try_from(at).ok()).map_or(There::No, |at| There::At(20 + at))
}

/// `ipv6_find_hdr` in `net/ipv6/exthdrs_core.c`. Each piece has its own headers, of which nobody knows all.
fn ipv6_find_hdr(walk: &Walk, packet: &Packet, kind: Protocol) -> There {
    if walk.skb.in_pieces {
        return There::Maybe;
    }
    match packet.extensions.find(kind) {
        Some((at, _)) => There::At(40 + at),
        // What may be one by the number that the question gives it.
        None if packet.protocol() == kind => There::Maybe,
        None => There::No,
    }
}
