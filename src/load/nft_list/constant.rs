//! Types of values, and how nft writes their constants (`src/datatype.c`, `src/proto.c`, `src/ct.c` of nftables).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::net::MacAddr;

/// The type of a value, as far as it decides how a constant is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    Ipv4,
    Ipv6,
    Mac,
    Proto,
    Service,
    Mark,
    Ifname,
    /// A device's index, which is shown as its name.
    Ifindex,
    CtState,
    CtStatus,
    CtDir,
    CtLabel,
    IcmpType,
    IcmpCode,
    Icmpv6Type,
    Icmpv6Code,
    TcpFlag,
    EtherType,
    NfProto,
    PktType,
    FibType,
    Boolean,
    Dscp,
    Ecn,
    MhType,
    /// The hardware type of a device.
    Devtype,
    /// The group of a device.
    Devgroup,
    /// The realm of a route.
    Realm,
    /// A handle of traffic control.
    Classid,
    /// A number, or a time in seconds.
    Integer,
    /// What a map has for a chain.
    Verdict,
    /// One whose values are not modelled.
    Opaque,
}

type Names = &'static [(&'static str, u128)];

/// No name of a constant has more dashes: `home-agent-switch-message`.
const MOST_DASHES: usize = 3;

impl Datatype {
    /// A type by the name that sets give it.
    pub fn of_word(word: &str) -> Self {
        match word {
            "ipv4_addr" => Self::Ipv4,
            "ipv6_addr" => Self::Ipv6,
            "ether_addr" => Self::Mac,
            "inet_proto" => Self::Proto,
            "inet_service" => Self::Service,
            "mark" => Self::Mark,
            "ifname" => Self::Ifname,
            "iface_index" => Self::Ifindex,
            "ct_state" => Self::CtState,
            "ct_status" => Self::CtStatus,
            "ct_dir" => Self::CtDir,
            "ct_label" => Self::CtLabel,
            "icmp_type" => Self::IcmpType,
            "icmp_code" => Self::IcmpCode,
            "icmpv6_type" => Self::Icmpv6Type,
            "icmpv6_code" => Self::Icmpv6Code,
            "tcp_flag" => Self::TcpFlag,
            "ether_type" => Self::EtherType,
            "nf_proto" => Self::NfProto,
            "pkt_type" => Self::PktType,
            "fib_addrtype" => Self::FibType,
            "boolean" => Self::Boolean,
            "dscp" => Self::Dscp,
            "ecn" => Self::Ecn,
            "iface_type" => Self::Devtype,
            "devgroup" => Self::Devgroup,
            "realm" => Self::Realm,
            "classid" => Self::Classid,
            "verdict" => Self::Verdict,
            "integer" | "uid" | "gid" => Self::Integer,
            _ => Self::Opaque,
        }
    }

    /// Whether its values are sets of bits, which a condition without an operator tests for any.
    pub fn is_bitmask(self) -> bool {
        matches!(self, Self::CtState | Self::CtStatus | Self::CtLabel | Self::TcpFlag)
    }

    /// Whether a file of the node gives names to its values, which no snapshot holds.
    pub fn has_own_names(self) -> bool {
        matches!(self, Self::Devgroup | Self::Realm | Self::CtLabel)
    }

    /// How many bits its values have.
    fn bits(self) -> u32 {
        match self {
            Self::Ipv4 | Self::Mark | Self::Classid => 32,
            Self::Mac => 48,
            Self::Service | Self::EtherType => 16,
            Self::Proto => 8,
            _ => 128,
        }
    }

    /// A constant: from one value to another. A word without quotes.
    pub fn constant(self, word: &str, quoted: bool) -> Option<(u128, u128)> {
        if self == Self::Ifname || self == Self::Ifindex {
            return self.device(word, quoted);
        }
        if let Some(one) = self.single(word) {
            return Some((one, one));
        }
        if let Some((addr, length)) = word.rsplit_once('/') {
            return self.prefix(self.single(addr)?, length.parse().ok()?);
        }
        // A name may have dashes of its own: `echo-reply-echo-request`, which JSON's ranges have. The one that ends the
        // lower name is never far: a word of dashes alone must not be tried at each of them.
        word.match_indices('-').take(MOST_DASHES + 1).find_map(|(at, _)| {
            let (low, high) = (word.get(..at)?, word.get(at + 1..)?);
            Some((self.single(low)?, self.single(high)?))
        })
    }

    /// A device's name: 16 bytes, of which a trailing `*` leaves the rest open.
    fn device(self, word: &str, quoted: bool) -> Option<(u128, u128)> {
        if self == Self::Ifindex
            && !quoted
            && let Some(number) = integer(word)
        {
            // No device had this index when the rules were listed.
            return Some((number, number));
        }
        let (name, open) = match word.strip_suffix("\\*") {
            Some(name) => (format!("{name}*"), false),
            None => word.strip_suffix('*').map_or((word.to_owned(), false), |name| (name.to_owned(), true)),
        };
        let low = device_value(&name)?;
        let rest = 128 - 8 * u32::try_from(name.len()).ok()?;
        let high = if open { low | 1u128.checked_shl(rest).map_or(u128::MAX, |bit| bit - 1) } else { low };
        Some((low, high))
    }

    fn prefix(self, value: u128, length: u32) -> Option<(u128, u128)> {
        let host = self.bits().checked_sub(length)?;
        let mask = 1u128.checked_shl(host).map_or(u128::MAX, |bit| bit - 1);
        Some((value & !mask, value | mask))
    }

    fn single(self, word: &str) -> Option<u128> {
        match self {
            Self::Ipv4 => word.parse::<Ipv4Addr>().ok().map(|addr| u128::from(addr.to_bits())),
            Self::Ipv6 => {
                let word = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
                word.parse::<Ipv6Addr>().ok().map(Ipv6Addr::to_bits)
            }
            Self::Mac => mac(word),
            Self::CtLabel => {
                let bit: u32 = word.parse().ok()?;
                1u128.checked_shl(bit)
            }
            Self::Classid => classid(word),
            Self::Integer => integer(word).or_else(|| seconds(word)),
            Self::Opaque | Self::Verdict => None,
            _ => named(self.names(), word).or_else(|| integer(word)).or_else(|| self.old_name(word)),
        }
        .filter(|value| self.bits() == 128 || *value >> self.bits() == 0)
    }

    /// Names that other versions write.
    fn old_name(self, word: &str) -> Option<u128> {
        match (self, word) {
            (Self::Proto, "ipv6-icmp" | "icmp6") => Some(58),
            (Self::EtherType, "vlan") => Some(0x8100),
            (Self::PktType, "unicast") => Some(0),
            (Self::Service, _) => named(SERVICES, word),
            _ => None,
        }
    }

    fn names(self) -> Names {
        match self {
            Self::Proto => PROTOCOLS,
            Self::CtState => &[("invalid", 1), ("established", 2), ("related", 4), ("new", 8), ("untracked", 64)],
            Self::CtStatus => CT_STATUS,
            Self::CtDir => &[("original", 0), ("reply", 1)],
            Self::IcmpType => ICMP_TYPES,
            Self::IcmpCode => ICMP_CODES,
            Self::Icmpv6Type => ICMPV6_TYPES,
            Self::Icmpv6Code => ICMPV6_CODES,
            Self::TcpFlag => TCP_FLAGS,
            Self::EtherType => &[
                ("ip", 0x0800),
                ("arp", 0x0806),
                ("ip6", 0x86dd),
                ("8021q", 0x8100),
                ("8021ad", 0x88a8),
                ("vlan", 0x8100),
            ],
            Self::NfProto => &[("ipv4", 2), ("ipv6", 10)],
            Self::PktType => &[("host", 0), ("broadcast", 1), ("multicast", 2), ("other", 3)],
            Self::FibType => FIB_TYPES,
            Self::Boolean => &[("exists", 1), ("missing", 0), ("true", 1), ("false", 0)],
            Self::Dscp => DSCP,
            Self::MhType => MH_TYPES,
            Self::Devtype => DEVTYPES,
            Self::Devgroup => &[("default", 0)],
            Self::Realm => &[("cosmos", 0)],
            Self::Ecn => &[("not-ect", 0), ("ect1", 1), ("ect0", 2), ("ce", 3)],
            _ => &[],
        }
    }
}

/// A name's value among names.
fn named(names: Names, word: &str) -> Option<u128> {
    names.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

/// A name of a device as a number: its bytes, then zeroes.
pub(super) fn device_value(name: &str) -> Option<u128> {
    let mut bytes = [0u8; 16];
    bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    Some(u128::from_be_bytes(bytes))
}

/// `0001:0002`, `:0002`, `0001:` and words for no class and for the root (`tchandle_type_print` in nft's `src/meta.c`).
fn classid(word: &str) -> Option<u128> {
    let half = |text: &str| if text.is_empty() { Some(0) } else { u16::from_str_radix(text, 16).ok().map(u128::from) };
    match word {
        "none" => Some(0),
        "root" => Some(0xffff_ffff),
        ":" => None,
        word => match word.split_once(':') {
            Some((major, minor)) => Some(half(major)? << 16 | half(minor)?),
            None => integer(word),
        },
    }
}

/// Decimal, or hexadecimal after `0x`.
pub(super) fn integer(word: &str) -> Option<u128> {
    match word.strip_prefix("0x") {
        Some(hex) => u128::from_str_radix(hex, 16).ok(),
        None if word.starts_with('+') => None,
        None => word.parse().ok(),
    }
}

/// `1d2h3m4s`, as whole seconds.
pub(super) fn seconds(word: &str) -> Option<u128> {
    let (mut total, mut number) = (0u128, String::new());
    let mut units = 0;
    let mut chars = word.chars().peekable();
    while let Some(char) = chars.next() {
        if char.is_ascii_digit() {
            number.push(char);
            continue;
        }
        let unit = match char {
            'w' => 604_800,
            'd' => 86_400,
            'h' => 3600,
            'm' if chars.next_if_eq(&'s').is_some() => 0,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u128>().ok()?.checked_mul(unit)?)?;
        number.clear();
        units += 1;
    }
    (units > 0 && number.is_empty()).then_some(total)
}

/// A link address. In what ebtables' targets do its bytes are printed without leading zeros.
fn mac(word: &str) -> Option<u128> {
    let MacAddr(bytes) = word.parse().ok()?;
    Some(bytes.iter().fold(0, |value, byte| value << 8 | u128::from(*byte)))
}

const PROTOCOLS: Names = &[
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("sctp", 132),
    ("udplite", 136),
    ("dccp", 33),
    ("igmp", 2),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("comp", 108),
    ("ipcomp", 108),
    ("ipip", 4),
    ("ipencap", 4),
    ("ipv6", 41),
    ("ipv6-frag", 44),
    ("ipv6-route", 43),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ip", 0),
    ("hopopt", 0),
    ("ospf", 89),
    ("vrrp", 112),
    ("pim", 103),
    ("l2tp", 115),
    ("eigrp", 88),
    ("mobility-header", 135),
    ("mpls-in-ip", 137),
];

const SERVICES: Names = &[
    ("ssh", 22),
    ("domain", 53),
    ("http", 80),
    ("https", 443),
    ("ftp", 21),
    ("smtp", 25),
    ("ntp", 123),
    ("bootps", 67),
    ("bootpc", 68),
    ("dhcpv6-client", 546),
    ("dhcpv6-server", 547),
    ("mdns", 5353),
];

const CT_STATUS: Names =
    &[("expected", 1), ("seen-reply", 2), ("assured", 4), ("confirmed", 8), ("snat", 16), ("dnat", 32), ("dying", 512)];

const ICMP_TYPES: Names = &[
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("source-quench", 4),
    ("redirect", 5),
    ("echo-request", 8),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
    ("info-request", 15),
    ("info-reply", 16),
    ("address-mask-request", 17),
    ("address-mask-reply", 18),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
];

pub(super) const ICMP_CODES: Names = &[
    ("net-unreachable", 0),
    ("host-unreachable", 1),
    ("prot-unreachable", 2),
    ("port-unreachable", 3),
    ("frag-needed", 4),
    ("net-prohibited", 9),
    ("host-prohibited", 10),
    ("admin-prohibited", 13),
];

const ICMPV6_TYPES: Names = &[
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("mld-listener-reduction", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
    ("router-renumbering", 138),
    ("ind-neighbor-solicit", 141),
    ("ind-neighbor-advert", 142),
    ("mld2-listener-report", 143),
];

pub(super) const ICMPV6_CODES: Names = &[
    ("no-route", 0),
    ("admin-prohibited", 1),
    ("addr-unreachable", 3),
    ("port-unreachable", 4),
    ("policy-fail", 5),
    ("reject-route", 6),
];

/// `enum nft_reject_inet_code`.
pub(super) const ICMPX_CODES: Names =
    &[("no-route", 0), ("port-unreachable", 1), ("host-unreachable", 2), ("admin-prohibited", 3)];

const TCP_FLAGS: Names =
    &[("fin", 1), ("syn", 2), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32), ("ecn", 64), ("cwr", 128)];

const FIB_TYPES: Names = &[
    ("unspec", 0),
    ("unicast", 1),
    ("local", 2),
    ("broadcast", 3),
    ("anycast", 4),
    ("multicast", 5),
    ("blackhole", 6),
    ("unreachable", 7),
    ("prohibit", 8),
    ("throw", 9),
    ("nat", 10),
    ("xresolve", 11),
];

/// `ARPHRD_*` (`include/uapi/linux/if_arp.h`).
const DEVTYPES: Names = &[
    ("ether", 1),
    ("ppp", 512),
    ("ipip", 768),
    ("ipip6", 769),
    ("loopback", 772),
    ("sit", 776),
    ("ipgre", 778),
    ("none", 65534),
];

/// `mh_type_tbl` in nft's `src/exthdr.c`.
const MH_TYPES: Names = &[
    ("binding-refresh-request", 0),
    ("home-test-init", 1),
    ("careof-test-init", 2),
    ("home-test", 3),
    ("careof-test", 4),
    ("binding-update", 5),
    ("binding-acknowledgement", 6),
    ("binding-error", 7),
    ("fast-binding-update", 8),
    ("fast-binding-acknowledgement", 9),
    ("fast-binding-advertisement", 10),
    ("experimental-mobility-header", 11),
    ("home-agent-switch-message", 12),
];

const DSCP: Names = &[
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("df", 0),
    ("be", 0),
    ("lephb", 1),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("va", 44),
    ("ef", 46),
];

/// A code by its name or number.
pub(super) fn code(names: &[(&str, u128)], word: &str) -> Option<u8> {
    let known = names.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    known.or_else(|| integer(word)).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_has_more_dashes_than_are_tried() {
        let types = [
            Datatype::Proto,
            Datatype::CtState,
            Datatype::CtStatus,
            Datatype::CtDir,
            Datatype::IcmpType,
            Datatype::IcmpCode,
            Datatype::Icmpv6Type,
            Datatype::Icmpv6Code,
            Datatype::TcpFlag,
            Datatype::EtherType,
            Datatype::NfProto,
            Datatype::PktType,
            Datatype::FibType,
            Datatype::Boolean,
            Datatype::Dscp,
            Datatype::Devtype,
            Datatype::Devgroup,
            Datatype::Realm,
            Datatype::Ecn,
            Datatype::MhType,
        ];
        let names = types.iter().flat_map(|datatype| datatype.names()).chain(SERVICES);
        let most = names.map(|(name, _)| name.matches('-').count()).max();
        assert_eq!(most, Some(MOST_DASHES));
        for (low, _) in ICMP_TYPES {
            assert!(Datatype::IcmpType.constant(&format!("{low}-address-mask-reply"), false).is_some(), "{low}");
        }
    }
}
