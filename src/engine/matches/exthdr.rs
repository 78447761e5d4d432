//! Headers between the IP header and what it carries.
//!
//! No packet of a walk has header extensions of IPv6, unless it is in pieces.

use std::net::IpAddr;

use crate::net::{Packet, Protocol};
use crate::snapshot::Options;

use super::super::walk::Walk;
use super::other::{has, inverts, value};
use super::{Answer, header};

pub(super) fn ask(walk: &Walk, options: &Options) -> Answer {
    let protocol = walk.packet().protocol();
    match options.name {
        "frag" if walk.skb.in_pieces => {
            Answer::unknowable(format!("the piece of the packet is what `{options}` asks for"))
        }
        // Negated or not, a header that isn't there doesn't match (`ip6t_frag.c`, `ip6t_rt.c`, `ip6t_hbh.c`,
        // `ip6t_srh.c`).
        "frag" | "rt" | "hbh" | "dst" | "srh" => Answer::No,
        "ipv6header" => ipv6header_mt6(walk, options),
        "eui64" => eui64_mt6(walk),
        "mh" => of_header(protocol == Protocol(135), options),
        "ah" => of_header(protocol == Protocol(51), options),
        "esp" => of_header(protocol == Protocol(50), options),
        _ => of_header(protocol == Protocol(108), options),
    }
}

/// What asks for fields of a header that no question gives: the header alone is known.
fn of_header(there: bool, options: &Options) -> Answer {
    if there && !options.list.is_empty() {
        return Answer::unknowable(format!("the header is what `{options}` asks for"));
    }
    Answer::from(there)
}

/// `ipv6header_mt6` in `net/ipv6/netfilter/ip6t_ipv6header.c`.
fn ipv6header_mt6(walk: &Walk, options: &Options) -> Answer {
    let Some(only) = only_header(walk) else {
        return Answer::unknowable(format!("the packet's headers are what `{options}` asks for"));
    };
    let asked: Vec<&str> = value(options, "--header").split(',').collect();
    let invert = inverts(options, "--header");
    if has(options, "--soft") {
        return Answer::from(asked.iter().all(|name| (*name == only) != invert));
    }
    Answer::from((asked == [only]) != invert)
}

/// The one header behind the IP header, by iptables' name; `None` where there are more of them.
fn only_header(walk: &Walk) -> Option<&'static str> {
    match walk.packet().protocol().0 {
        _ if walk.skb.in_pieces => None,
        50 => Some("esp"),
        59 => Some("ipv6-nonxt"),
        0 | 43 | 44 | 51 | 60 => None,
        _ => Some("protocol"),
    }
}

/// `eui64_mt6` in `net/ipv6/netfilter/ip6t_eui64.c`: whether the source was made of the frame's source.
fn eui64_mt6(walk: &Walk) -> Answer {
    match header::link_source(walk) {
        Ok(Some(mac)) => Answer::from(ends_in(walk.packet(), mac.0)),
        Ok(None) => Answer::No,
        Err(what) => Answer::unknown(what),
    }
}

fn ends_in(packet: &Packet, mac: [u8; 6]) -> bool {
    let IpAddr::V6(source) = packet.ip.source else { return false };
    let mut octets = source.octets();
    octets[8] ^= 0x02;
    octets.get(8..11) == mac.get(..3) && octets[11..13] == [0xff, 0xfe] && octets.get(13..) == mac.get(3..)
}
