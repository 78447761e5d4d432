//! Headers between the IP header and what it carries (`net/ipv6/netfilter/ip6t_*.c`).

use std::net::{IpAddr, Ipv6Addr};

use crate::net::{ExtHeader, Family, Packet, Protocol};
use crate::snapshot::Options;

use super::super::walk::Walk;
use super::other::{has, inverts, number, value};
use super::{Answer, header};

pub(super) fn ask(walk: &Walk, options: &Options) -> Answer {
    let protocol = walk.packet().protocol();
    let six = walk.packet().family() == Family::Inet6;
    match options.name {
        "eui64" => eui64_mt6(walk),
        "mh" => of_header(protocol == Protocol(135), options),
        "ah" if !six => of_header(protocol == Protocol(51), options),
        "esp" => of_header(protocol == Protocol(50), options),
        "frag" | "rt" | "hbh" | "dst" | "srh" | "ah" | "ipv6header" if walk.skb.in_pieces => in_pieces(walk, options),
        "ipv6header" => ipv6header_mt6(walk, options),
        // Negated or not, a header that isn't there doesn't match.
        "frag" => of_extension(walk, ExtHeader::FRAGMENT, |header| Answer::from(frag_mt6(header, options))),
        "rt" => of_extension(walk, ExtHeader::ROUTING, |header| Answer::from(rt_mt6(header, options))),
        "hbh" => of_extension(walk, ExtHeader::HOP, |header| Answer::from(hbh_mt6(header, options, "--hbh-len"))),
        "dst" => of_extension(walk, ExtHeader::DEST, |header| Answer::from(hbh_mt6(header, options, "--dst-len"))),
        "ah" => of_extension(walk, ExtHeader::AUTH, |header| Answer::from(ah_mt6(header, options))),
        "srh" => of_extension(walk, ExtHeader::ROUTING, |header| of_segments(header, options)),
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

/// Each piece of a packet has a fragment header, and not all of the others.
fn in_pieces(walk: &Walk, options: &Options) -> Answer {
    let known = !matches!(options.name, "frag" | "ipv6header") && walk.packet().extensions.is_empty();
    if known { Answer::No } else { Answer::unknowable(format!("the piece of the packet is what `{options}` asks for")) }
}

fn of_extension(walk: &Walk, kind: Protocol, ask: impl Fn(&ExtHeader) -> Answer) -> Answer {
    walk.packet().extensions.find(kind).map_or(Answer::No, |(_, header)| ask(header))
}

/// A routing header of another type than that of segment routing is none (`srh_mt6`).
fn of_segments(header: &ExtHeader, options: &Options) -> Answer {
    of_header(header.bytes().get(2) == Some(&4), options)
}

/// A number of so many bytes at a place.
fn field(header: &ExtHeader, at: usize, length: usize) -> u32 {
    header.bytes().iter().skip(at).take(length).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Whether an option, if it is given, lets a value pass: a number, or the ends of a range.
fn passes(options: &Options, name: &str, value: u32) -> bool {
    let Some(option) = options.find(name) else { return true };
    let (low, high) = option.value.split_once(':').unwrap_or((&option.value, &option.value));
    let within = number(low).is_some_and(|low| low <= value) && number(high).is_some_and(|high| value <= high);
    within != option.invert
}

/// `ip6t_frag.c`. It asks for the length too, and the kernel doesn't look.
fn frag_mt6(header: &ExtHeader, options: &Options) -> bool {
    let (offset, more) = (field(header, 2, 2) & 0xfff8, field(header, 2, 2) & 1 != 0);
    let reserved = field(header, 1, 1) != 0 || field(header, 2, 2) & 6 != 0;
    passes(options, "--fragid", field(header, 4, 4))
        && !(has(options, "--fragres") && reserved)
        && !(has(options, "--fragfirst") && offset != 0)
        && (more || !has(options, "--fragmore"))
        && !(has(options, "--fraglast") && more)
}

/// `ip6t_ah.c`.
fn ah_mt6(header: &ExtHeader, options: &Options) -> bool {
    passes(options, "--ahspi", field(header, 4, 4))
        && passes(options, "--ahlen", header.length())
        && !(has(options, "--ahres") && field(header, 2, 2) != 0)
}

/// `ip6t_rt.c`.
fn rt_mt6(header: &ExtHeader, options: &Options) -> bool {
    passes(options, "--rt-segsleft", field(header, 3, 1))
        && passes(options, "--rt-len", header.length())
        && passes(options, "--rt-type", field(header, 2, 1))
        && !(has(options, "--rt-0-res") && field(header, 4, 4) != 0)
        && has_addresses(header, options)
}

/// The addresses of the header are those that are asked for, or have them among them in their order.
fn has_addresses(header: &ExtHeader, options: &Options) -> bool {
    let Some(asked) = options.find("--rt-0-addrs") else { return true };
    let asked: Vec<Ipv6Addr> = asked.value.split(',').filter_map(|addr| addr.parse().ok()).collect();
    let list = header.bytes().get(8..).unwrap_or(&[]);
    let mut there = list.as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from(*octets));
    if !has(options, "--rt-0-not-strict") {
        return there.eq(asked);
    }
    asked.iter().all(|wanted| there.any(|addr| addr == *wanted))
}

/// `ip6t_hbh.c`: the length, and the first options.
fn hbh_mt6(header: &ExtHeader, options: &Options, length: &str) -> bool {
    let name = if length == "--hbh-len" { "--hbh-opts" } else { "--dst-opts" };
    let asked: Vec<&str> = value(options, name).split(',').filter(|part| !part.is_empty()).collect();
    let mut rest = header.bytes().get(2..).unwrap_or(&[]);
    for (place, part) in asked.iter().enumerate() {
        let (kind, wanted) = part.split_once(':').map_or((*part, None), |(kind, wanted)| (kind, Some(wanted)));
        let Some(first) = rest.first() else { return false };
        if number(kind) != Some(u32::from(*first)) {
            return false;
        }
        let told = rest.get(1).copied().map(usize::from);
        let length = match (first, told) {
            (0, _) => 1,
            (_, None) => return false,
            (_, Some(told)) if wanted.and_then(number).is_some_and(|wanted| usize::try_from(wanted) != Ok(told)) => {
                return false;
            }
            (_, Some(told)) => told + 2,
        };
        match rest.get(length..) {
            Some(behind) => rest = behind,
            None if place + 1 < asked.len() => return false,
            None => rest = &[],
        }
    }
    passes(options, length, header.length())
}

/// `ipv6header_mt6` in `net/ipv6/netfilter/ip6t_ipv6header.c`.
fn ipv6header_mt6(walk: &Walk, options: &Options) -> Answer {
    let there = header_names(walk.packet());
    let asked: Vec<&str> = value(options, "--header").split(',').collect();
    let invert = inverts(options, "--header");
    if has(options, "--soft") {
        return Answer::from(asked.iter().all(|name| there.contains(name) != invert));
    }
    let same = asked.len() == there.len() && asked.iter().all(|name| there.contains(name));
    Answer::from(same != invert)
}

/// What stands behind the IP header, each kind once, by iptables' names.
fn header_names(packet: &Packet) -> Vec<&'static str> {
    let name = |header: &ExtHeader| match header.kind() {
        ExtHeader::HOP => "hop-by-hop",
        ExtHeader::ROUTING => "ipv6-route",
        ExtHeader::FRAGMENT => "ipv6-frag",
        ExtHeader::AUTH => "ah",
        _ => "ipv6-opts",
    };
    let mut names: Vec<&'static str> = packet.extensions.list().iter().map(name).collect();
    names.push(match packet.protocol().0 {
        50 => "esp",
        59 => "ipv6-nonxt",
        _ => "protocol",
    });
    names.sort_unstable();
    names.dedup();
    names
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
