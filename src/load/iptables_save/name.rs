//! Names that stand for numbers: protocols, ports, ICMP types, TOS values.

use std::net::IpAddr;

use crate::net::{Family, Protocol};

/// Names of `/etc/protocols` that rule sets use, and those that iptables adds (`xtables_chain_protos`).
const PROTOCOLS: &[(&str, u8)] = &[
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("all", 0),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
    ("icmp6", 58),
    ("sctp", 132),
    ("udplite", 136),
    ("dccp", 33),
    ("esp", 50),
    ("ah", 51),
    ("gre", 47),
    ("ip", 0),
    ("igmp", 2),
    ("ipencap", 4),
    ("ipip", 94),
    ("ipv6", 41),
    ("ipv6-mh", 135),
    ("mobility-header", 135),
    ("mh", 135),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("ipcomp", 108),
    ("egp", 8),
    ("igp", 9),
    ("hmp", 20),
    ("idp", 22),
    ("rdp", 27),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("idrp", 45),
    ("rsvp", 46),
    ("skip", 57),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("eigrp", 88),
    ("etherip", 97),
    ("encap", 98),
    ("fc", 133),
    ("hip", 139),
    ("shim6", 140),
    ("manet", 138),
    ("mpls-in-ip", 137),
    ("rohc", 142),
    ("wesp", 141),
    ("st", 5),
    ("ggp", 3),
    ("pup", 12),
    ("xns-idp", 22),
    ("iso-tp4", 29),
    ("ddp", 37),
    ("rspf", 73),
    ("vmtp", 81),
    ("isis", 124),
    ("hopopt", 0),
];

/// A protocol by name or number.
pub(crate) fn protocol(name: &str) -> Option<Protocol> {
    if let Ok(number) = name.parse() {
        return Some(Protocol(number));
    }
    let known = |(known, _): &&(&str, u8)| known.eq_ignore_ascii_case(name);
    PROTOCOLS.iter().find(known).map(|(_, number)| Protocol(*number))
}

/// Names of `/etc/services` that people write into rules.
const SERVICES: &[(&str, u16)] = &[
    ("ssh", 22),
    ("http", 80),
    ("www", 80),
    ("https", 443),
    ("domain", 53),
    ("ftp", 21),
    ("ftp-data", 20),
    ("smtp", 25),
    ("telnet", 23),
    ("ntp", 123),
    ("snmp", 161),
    ("snmp-trap", 162),
    ("syslog", 514),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("pop3", 110),
    ("pop-3", 110),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("pop3s", 995),
    ("submission", 587),
    ("ldap", 389),
    ("ldaps", 636),
    ("nfs", 2049),
    ("sunrpc", 111),
    ("mysql", 3306),
    ("auth", 113),
    ("postgresql", 5432),
    ("netbios-ns", 137),
    ("netbios-dgm", 138),
    ("netbios-ssn", 139),
    ("microsoft-ds", 445),
    ("isakmp", 500),
    ("rsync", 873),
    ("ipp", 631),
    ("mdns", 5353),
    ("sip", 5060),
    ("echo", 7),
    ("discard", 9),
    ("time", 37),
    ("kerberos", 88),
    ("nntp", 119),
    ("bgp", 179),
    ("irc", 194),
    ("ircd", 6667),
    ("dhcpv6-client", 546),
    ("dhcpv6-server", 547),
    ("openvpn", 1194),
    ("webcache", 8080),
    ("http-alt", 8080),
    ("git", 9418),
];

/// A port by number or name.
pub(crate) fn port(name: &str) -> Option<u16> {
    match number(name) {
        Some(port) => u16::try_from(port).ok(),
        None => SERVICES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port),
    }
}

/// A number in decimal, hexadecimal (`0x…`) or octal (`0…`), as `xtables_strtoui` takes it.
pub(crate) fn number(text: &str) -> Option<u32> {
    u32::try_from(number64(text)?).ok()
}

/// The same with 64 bits.
pub(crate) fn number64(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    digits.chars().all(|c| c.is_ascii_alphanumeric()).then(|| u64::from_str_radix(digits, radix).ok())?
}

/// `value`, or `value/mask`; without a mask every bit counts.
pub(crate) fn masked(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

/// The mask that leaves the first bits of a family's address.
pub(crate) fn prefix_mask(family: Family, length: u8) -> Option<IpAddr> {
    if length > family.bits() {
        return None;
    }
    Some(match family {
        Family::Inet => IpAddr::from(u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0).to_be_bytes()),
        Family::Inet6 => IpAddr::from(u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0).to_be_bytes()),
    })
}

/// ICMP types and codes: iptables' names (`extensions/libxt_icmp.h`) and ipset's (`lib/icmp.c`).
const ICMP: &[(&str, u8, Option<u8>)] = &[
    ("echo-reply", 0, None),
    ("pong", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("net-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("proto-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("frag-needed", 3, Some(4)),
    ("source-route-failed", 3, Some(5)),
    ("source-route", 3, Some(5)),
    ("network-unknown", 3, Some(6)),
    ("net-unknown", 3, Some(6)),
    ("host-unknown", 3, Some(7)),
    ("network-prohibited", 3, Some(9)),
    ("net-prohibited", 3, Some(9)),
    ("host-prohibited", 3, Some(10)),
    ("TOS-network-unreachable", 3, Some(11)),
    ("tos-net-unreachable", 3, Some(11)),
    ("TOS-host-unreachable", 3, Some(12)),
    ("communication-prohibited", 3, Some(13)),
    ("host-precedence-violation", 3, Some(14)),
    ("precedence-cutoff", 3, Some(15)),
    ("source-quench", 4, None),
    ("redirect", 5, None),
    ("network-redirect", 5, Some(0)),
    ("net-redirect", 5, Some(0)),
    ("host-redirect", 5, Some(1)),
    ("TOS-network-redirect", 5, Some(2)),
    ("tos-net-redirect", 5, Some(2)),
    ("TOS-host-redirect", 5, Some(3)),
    ("echo-request", 8, None),
    ("ping", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("ttl-exceeded", 11, None),
    ("ttl-zero-during-transit", 11, Some(0)),
    ("ttl-zero-during-reassembly", 11, Some(1)),
    ("parameter-problem", 12, None),
    ("ip-header-bad", 12, Some(0)),
    ("required-option-missing", 12, Some(1)),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
    ("address-mask-request", 17, None),
    ("address-mask-reply", 18, None),
];

/// The same of ICMPv6.
const ICMPV6: &[(&str, u8, Option<u8>)] = &[
    ("destination-unreachable", 1, None),
    ("no-route", 1, Some(0)),
    ("communication-prohibited", 1, Some(1)),
    ("beyond-scope", 1, Some(2)),
    ("address-unreachable", 1, Some(3)),
    ("port-unreachable", 1, Some(4)),
    ("failed-policy", 1, Some(5)),
    ("reject-route", 1, Some(6)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("ttl-exceeded", 3, None),
    ("ttl-zero-during-transit", 3, Some(0)),
    ("ttl-zero-during-reassembly", 3, Some(1)),
    ("parameter-problem", 4, None),
    ("bad-header", 4, Some(0)),
    ("unknown-header-type", 4, Some(1)),
    ("unknown-option", 4, Some(2)),
    ("echo-request", 128, None),
    ("ping", 128, None),
    ("echo-reply", 129, None),
    ("pong", 129, None),
    ("mld-listener-query", 130, None),
    ("mld-listener-report", 131, None),
    ("mld-listener-done", 132, None),
    ("mld-listener-reduction", 132, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbor-advertisement", 136, None),
    ("redirect", 137, None),
];

/// An ICMP type, and a code where one is given: `3`, `3/1`, or a name.
pub(crate) fn icmp(family: Family, text: &str) -> Option<(u8, Option<u8>)> {
    if let Some((kind, code)) = text.split_once('/').filter(|(kind, _)| kind.parse::<u8>().is_ok()) {
        return Some((kind.parse().ok()?, Some(code.parse().ok()?)));
    }
    if let Ok(kind) = text.parse() {
        return Some((kind, None));
    }
    let names = if family == Family::Inet { ICMP } else { ICMPV6 };
    let known = |(known, _, _): &&(&str, u8, Option<u8>)| known.eq_ignore_ascii_case(text);
    names.iter().find(known).map(|(_, kind, code)| (*kind, *code))
}

/// TOS names (`extensions/tos_values.c`), which leave the two highest bits alone.
pub(crate) fn tos(text: &str) -> Option<(u8, u8)> {
    let value = match text.to_ascii_lowercase().as_str() {
        "minimize-delay" => 0x10,
        "maximize-throughput" => 0x08,
        "maximize-reliability" => 0x04,
        "minimize-cost" => 0x02,
        "normal-service" => 0,
        _ => {
            let (value, mask) = text.split_once('/').unwrap_or((text, "0xff"));
            return Some((u8::try_from(number(value)?).ok()?, u8::try_from(number(mask)?).ok()?));
        }
    };
    Some((value, 0x3f))
}

/// DSCP classes (`extensions/dscp_helper.c`).
pub(crate) fn dscp_class(text: &str) -> Option<u8> {
    match text.to_ascii_uppercase().as_str() {
        "BE" => Some(0),
        "EF" => Some(0x2e),
        class => {
            let (kind, digits) = class.split_at_checked(2)?;
            let digits: Vec<u8> = digits.bytes().map(|digit| digit.wrapping_sub(b'0')).collect();
            match (kind, digits.as_slice()) {
                ("CS", [class @ 0..=7]) => Some(class << 3),
                ("AF", [class @ 1..=4, drop @ 1..=3]) => Some((class << 3) | (drop << 1)),
                _ => None,
            }
        }
    }
}
