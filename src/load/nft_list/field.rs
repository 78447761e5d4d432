//! The fields of headers and the keys of `meta` and `ct`, by nft's words (`src/proto.c`, `src/meta.c`, `src/ct.c`).

use crate::snapshot::nft::{CtKey, Header, HeaderField, MetaKey};

use super::constant::Datatype;

/// A header by its name.
pub(super) fn header(word: &str) -> Option<Header> {
    Some(match word {
        "ether" => Header::Ether,
        "vlan" => Header::Vlan,
        "arp" => Header::Arp,
        "ip" => Header::Ip,
        "ip6" => Header::Ip6,
        "tcp" => Header::Tcp,
        "udp" => Header::Udp,
        "udplite" => Header::Udplite,
        "sctp" => Header::Sctp,
        "dccp" => Header::Dccp,
        "icmp" => Header::Icmp,
        "icmpv6" => Header::Icmpv6,
        "igmp" => Header::Igmp,
        "th" => Header::Th,
        "ah" => Header::Ah,
        "esp" => Header::Esp,
        "comp" => Header::Comp,
        _ => return None,
    })
}

/// A tunnel whose header and load nft looks into, and the header that it is in (`src/proto.c`).
pub(super) fn tunnel(word: &str) -> Option<Header> {
    match word {
        "vxlan" | "geneve" => Some(Header::Udp),
        "gre" | "gretap" => Some(Header::Gre),
        _ => None,
    }
}

/// The type of one of ARP's two pairs of addresses.
pub(super) fn arp_address(word: &str) -> Option<Datatype> {
    match word {
        "ip" => Some(Datatype::Ipv4),
        "ether" => Some(Datatype::Mac),
        _ => None,
    }
}

/// A header's field, and the type of its value.
pub(super) fn field(header: Header, word: &str) -> Option<(HeaderField, Datatype)> {
    let found = match (header, word) {
        (Header::Ether, _) => ether(word),
        (Header::Vlan, _) => vlan(word),
        (Header::Ip, _) => ip(word),
        (Header::Ip6, _) => ip6(word),
        (Header::Icmp | Header::Icmpv6, _) => icmp(header, word),
        (Header::Tcp, "flags") => Some((HeaderField::Flags, Datatype::TcpFlag)),
        (Header::Udp | Header::Udplite, "length") => Some((HeaderField::Length, Datatype::Integer)),
        (Header::Tcp | Header::Udp | Header::Udplite | Header::Sctp | Header::Dccp | Header::Th, "sport") => {
            Some((HeaderField::Sport, Datatype::Service))
        }
        (Header::Tcp | Header::Udp | Header::Udplite | Header::Sctp | Header::Dccp | Header::Th, "dport") => {
            Some((HeaderField::Dport, Datatype::Service))
        }
        _ => None,
    };
    found.or_else(|| other(word))
}

fn ether(word: &str) -> Option<(HeaderField, Datatype)> {
    Some(match word {
        "saddr" => (HeaderField::Saddr, Datatype::Mac),
        "daddr" => (HeaderField::Daddr, Datatype::Mac),
        "type" => (HeaderField::Type, Datatype::EtherType),
        _ => return None,
    })
}

/// Older versions call the drop eligible indicator `cfi`.
fn vlan(word: &str) -> Option<(HeaderField, Datatype)> {
    Some(match word {
        "id" => (HeaderField::Id, Datatype::Integer),
        "pcp" => (HeaderField::Pcp, Datatype::Integer),
        "dei" | "cfi" => (HeaderField::Dei, Datatype::Integer),
        "type" => (HeaderField::Type, Datatype::EtherType),
        _ => return None,
    })
}

fn ip(word: &str) -> Option<(HeaderField, Datatype)> {
    Some(match word {
        "saddr" => (HeaderField::Saddr, Datatype::Ipv4),
        "daddr" => (HeaderField::Daddr, Datatype::Ipv4),
        "protocol" => (HeaderField::Protocol, Datatype::Proto),
        "ttl" => (HeaderField::Ttl, Datatype::Integer),
        "dscp" => (HeaderField::Dscp, Datatype::Dscp),
        "ecn" => (HeaderField::Ecn, Datatype::Ecn),
        "length" => (HeaderField::Length, Datatype::Integer),
        "frag-off" => (HeaderField::FragOff, Datatype::Integer),
        "version" => (HeaderField::Version, Datatype::Integer),
        "hdrlength" => (HeaderField::Hdrlength, Datatype::Integer),
        _ => return None,
    })
}

fn ip6(word: &str) -> Option<(HeaderField, Datatype)> {
    Some(match word {
        "saddr" => (HeaderField::Saddr, Datatype::Ipv6),
        "daddr" => (HeaderField::Daddr, Datatype::Ipv6),
        "nexthdr" => (HeaderField::Protocol, Datatype::Proto),
        "hoplimit" => (HeaderField::Ttl, Datatype::Integer),
        "dscp" => (HeaderField::Dscp, Datatype::Dscp),
        "ecn" => (HeaderField::Ecn, Datatype::Ecn),
        "length" => (HeaderField::Length, Datatype::Integer),
        "version" => (HeaderField::Version, Datatype::Integer),
        _ => return None,
    })
}

fn icmp(header: Header, word: &str) -> Option<(HeaderField, Datatype)> {
    let six = header == Header::Icmpv6;
    Some(match word {
        "type" => (HeaderField::Type, if six { Datatype::Icmpv6Type } else { Datatype::IcmpType }),
        "code" => (HeaderField::Code, if six { Datatype::Icmpv6Code } else { Datatype::IcmpCode }),
        "id" => (HeaderField::Id, Datatype::Integer),
        _ => return None,
    })
}

/// Fields whose values no question holds.
fn other(word: &str) -> Option<(HeaderField, Datatype)> {
    const WORDS: &[&str] = &[
        "checksum",
        "sequence",
        "ackseq",
        "doff",
        "window",
        "urgptr",
        "id",
        "flowlabel",
        "gateway",
        "mtu",
        "vtag",
        "cfi",
        "dei",
        "pcp",
        "type",
        "htype",
        "ptype",
        "hlen",
        "plen",
        "operation",
        "length",
        "nexthdr",
        "reserved",
        "spi",
        "hdrlength",
        "flags",
        "cpi",
        "group",
        "mrt",
        "csumcov",
        "parameter-problem",
        "packet-too-big",
        "max-delay",
        "taddr",
        "daddr",
        "saddr",
        "code",
    ];
    let word = WORDS.iter().find(|known| **known == word)?;
    Some((HeaderField::Other(word), Datatype::Opaque))
}

/// A key of `meta`, and the type of its value.
pub(super) fn meta(word: &str) -> Option<(MetaKey, Datatype)> {
    Some(match word {
        "length" => (MetaKey::Length, Datatype::Integer),
        "protocol" => (MetaKey::Protocol, Datatype::EtherType),
        "priority" => (MetaKey::Priority, Datatype::Classid),
        "mark" => (MetaKey::Mark, Datatype::Mark),
        "iif" => (MetaKey::Iif, Datatype::Ifindex),
        "oif" => (MetaKey::Oif, Datatype::Ifindex),
        "iifname" => (MetaKey::Iifname, Datatype::Ifname),
        "oifname" => (MetaKey::Oifname, Datatype::Ifname),
        "iiftype" => (MetaKey::Iiftype, Datatype::Devtype),
        "oiftype" => (MetaKey::Oiftype, Datatype::Devtype),
        "iifgroup" => (MetaKey::Iifgroup, Datatype::Devgroup),
        "oifgroup" => (MetaKey::Oifgroup, Datatype::Devgroup),
        "iifkind" => (MetaKey::Iifkind, Datatype::Ifname),
        "oifkind" => (MetaKey::Oifkind, Datatype::Ifname),
        "rtclassid" => (MetaKey::Rtclassid, Datatype::Realm),
        "skuid" => (MetaKey::Skuid, Datatype::Integer),
        "skgid" => (MetaKey::Skgid, Datatype::Integer),
        "nftrace" => (MetaKey::Nftrace, Datatype::Integer),
        "nfproto" => (MetaKey::Nfproto, Datatype::NfProto),
        "l4proto" => (MetaKey::L4proto, Datatype::Proto),
        "pkttype" => (MetaKey::Pkttype, Datatype::PktType),
        "random" => (MetaKey::Other("random"), Datatype::Integer),
        "sdif" => (MetaKey::Sdif, Datatype::Ifindex),
        "sdifname" => (MetaKey::Sdifname, Datatype::Ifname),
        "ibrname" | "ibridgename" => (MetaKey::Ibrname, Datatype::Ifname),
        "ibrhwaddr" => (MetaKey::Ibrhwaddr, Datatype::Mac),
        "obrname" | "obridgename" => (MetaKey::Obrname, Datatype::Ifname),
        _ => {
            const WORDS: &[&str] = &[
                "cpu",
                "cgroup",
                "random",
                "ipsec",
                "ibrpvid",
                "ibrvproto",
                "time",
                "day",
                "hour",
                "secpath",
                "broute",
                "secmark",
            ];
            let word = WORDS.iter().find(|known| **known == word)?;
            (MetaKey::Other(word), Datatype::Opaque)
        }
    })
}

/// Keys that stand without `meta`.
pub(super) fn is_bare_meta(word: &str) -> bool {
    const WORDS: &[&str] = &[
        "iif",
        "oif",
        "iifname",
        "oifname",
        "iiftype",
        "oiftype",
        "mark",
        "skuid",
        "skgid",
        "nftrace",
        "rtclassid",
        "pkttype",
        "cpu",
        "iifgroup",
        "oifgroup",
        "cgroup",
        "ibrname",
        "obrname",
        "l4proto",
        "nfproto",
        "time",
        "day",
        "hour",
    ];
    WORDS.contains(&word)
}

/// A key of `ct`, and the type of its value. `six` says of which family the addresses are.
pub(super) fn ct(word: &str, six: bool) -> Option<(CtKey, Datatype)> {
    Some(match word {
        "state" => (CtKey::State, Datatype::CtState),
        "direction" => (CtKey::Direction, Datatype::CtDir),
        "status" => (CtKey::Status, Datatype::CtStatus),
        "mark" => (CtKey::Mark, Datatype::Mark),
        "zone" => (CtKey::Zone, Datatype::Integer),
        "l3proto" => (CtKey::L3proto, Datatype::NfProto),
        "protocol" => (CtKey::Protocol, Datatype::Proto),
        "saddr" => (CtKey::Saddr, if six { Datatype::Ipv6 } else { Datatype::Ipv4 }),
        "daddr" => (CtKey::Daddr, if six { Datatype::Ipv6 } else { Datatype::Ipv4 }),
        "proto-src" => (CtKey::ProtoSrc, Datatype::Service),
        "proto-dst" => (CtKey::ProtoDst, Datatype::Service),
        "label" => (CtKey::Label, Datatype::CtLabel),
        "expiration" => (CtKey::Other("expiration"), Datatype::Integer),
        "bytes" => (CtKey::Bytes, Datatype::Integer),
        "packets" => (CtKey::Packets, Datatype::Integer),
        "avgpkt" => (CtKey::Avgpkt, Datatype::Integer),
        "id" => (CtKey::Other("id"), Datatype::Integer),
        "helper" => (CtKey::Other("helper"), Datatype::Opaque),
        "secmark" => (CtKey::Other("secmark"), Datatype::Opaque),
        "event" => (CtKey::Other("event"), Datatype::Opaque),
        _ => return None,
    })
}
