//! Options and extension headers by nft's words: `exthdr_templates` in its `src/exthdr.c`, and `src/ipopt.c`.

use crate::net::{ExtHeader, IpOptions};
use crate::snapshot::nft::{Asks, Exthdr};

use super::constant::Datatype;

/// An option of IPv4 by its name.
pub(super) fn ip_option(word: &str) -> Option<Exthdr> {
    Some(Exthdr::Ip(match word {
        "rr" => IpOptions::RR,
        "lsrr" => IpOptions::LSRR,
        "ssrr" => IpOptions::SSRR,
        "ra" => IpOptions::RA,
        _ => return None,
    }))
}

/// An option of TCP by its name, by its kind, or by the place of its bits: `@8,16,4`.
pub(super) fn tcp_option(word: &str) -> Option<Exthdr> {
    let kind = |text: &str| text.parse().ok();
    Some(Exthdr::Tcp(match word {
        "eol" => 0,
        "nop" | "noop" => 1,
        "maxseg" | "mss" => 2,
        "window" | "wscale" => 3,
        "sack-perm" | "sack-permitted" => 4,
        "sack" | "sack0" | "sack1" | "sack2" | "sack3" => 5,
        "timestamp" => 8,
        "md5sig" => 19,
        "mptcp" => 30,
        "fastopen" => 34,
        word => match word.strip_prefix('@') {
            Some(place) => kind(place.split(',').next()?)?,
            None => kind(word)?,
        },
    }))
}

/// An extension header of IPv6 by its name.
pub(super) fn extension(word: &str) -> Option<Exthdr> {
    Some(Exthdr::Ip6(match word {
        "hbh" => ExtHeader::HOP.0,
        "rt" | "rt0" | "rt2" | "srh" => ExtHeader::ROUTING.0,
        "frag" => ExtHeader::FRAGMENT.0,
        "dst" => ExtHeader::DEST.0,
        "mh" => 135,
        _ => return None,
    }))
}

/// The fields of options and chunks (`src/tcpopt.c`, `src/ipopt.c` and `src/sctp_chunk.c` of nftables).
pub(super) fn is_field(word: &str) -> bool {
    const FIELDS: &[&str] = &[
        "size",
        "count",
        "left",
        "right",
        "length",
        "tsval",
        "tsecr",
        "kind",
        "subtype",
        "type",
        "value",
        "ptr",
        "addr",
        "flags",
        "tsn",
        "stream",
        "ssn",
        "ppid",
        "init-tag",
        "a-rwnd",
        "num-outbound-streams",
        "num-inbound-streams",
        "initial-tsn",
        "cum-tsn-ack",
        "num-gap-ack-blocks",
        "num-dup-tsns",
        "lowest-tsn",
        "seqno",
        "new-cum-tsn",
    ];
    FIELDS.contains(&word)
}

/// A field of one, and the type of its value; one whose value is not modelled has neither place nor type.
pub(super) fn field(of: Exthdr, name: &str, word: &str) -> (Asks, Datatype) {
    let found = match of {
        Exthdr::Ip(_) => option_field(word),
        Exthdr::Ip6(_) => extension_field(name, word),
        Exthdr::Tcp(_) if matches!((name, word), ("maxseg" | "mss" | "2", "size")) => Some((16, 16, Datatype::Integer)),
        Exthdr::Tcp(_) | Exthdr::Sctp | Exthdr::Dccp => None,
    };
    match found {
        Some((offset, length, datatype)) => (Asks::Bits { offset, length }, datatype),
        None => (Asks::Field, Datatype::Opaque),
    }
}

/// The first bit of a field, how many it has, and the type.
type Place = (u8, u8, Datatype);

fn option_field(word: &str) -> Option<Place> {
    Some(match word {
        "type" => (0, 8, Datatype::Integer),
        "length" => (8, 8, Datatype::Integer),
        "ptr" => (16, 8, Datatype::Integer),
        "addr" => (24, 32, Datatype::Ipv4),
        // Of the router alert alone.
        "value" => (16, 16, Datatype::Integer),
        _ => return None,
    })
}

fn extension_field(name: &str, word: &str) -> Option<Place> {
    Some(match (name, word) {
        ("hbh" | "rt" | "frag" | "dst" | "mh" | "srh", "nexthdr") => (0, 8, Datatype::Proto),
        ("hbh" | "rt" | "dst" | "mh" | "srh", "hdrlength") | ("frag", "reserved") => (8, 8, Datatype::Integer),
        ("mh", "type") => (16, 8, Datatype::MhType),
        ("rt", "type") => (16, 8, Datatype::Integer),
        ("rt", "seg-left") => (24, 8, Datatype::Integer),
        ("frag", "frag-off") => (16, 13, Datatype::Integer),
        ("frag", "reserved2") => (29, 2, Datatype::Integer),
        ("frag", "more-fragments") => (31, 1, Datatype::Integer),
        ("frag", "id") => (32, 32, Datatype::Integer),
        _ => return None,
    })
}
