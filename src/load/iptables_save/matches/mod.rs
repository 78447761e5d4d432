//! The match extensions that iptables ships for IPv4 and IPv6 (`-m …`).

mod address;
mod connection;
mod header;
mod ipv6;
mod payload;
mod policy;
mod ports;
mod rate;
mod socket;
mod time;
mod u32;

use crate::net::Family;
use crate::snapshot::Match;

use super::grammar::Extension;

/// The extension with this name.
pub(super) fn find(name: &str, family: Family) -> Option<&'static Extension<Match>> {
    let (v4, v6) = (family == Family::Inet, family == Family::Inet6);
    Some(match name {
        "comment" => &header::COMMENT,
        "tcp" => &ports::TCP,
        "udp" => &ports::UDP,
        "sctp" => &ports::SCTP,
        "dccp" => &ports::DCCP,
        "multiport" => &ports::MULTIPORT,
        "icmp" if v4 => &header::ICMP,
        "icmp6" | "icmpv6" | "ipv6-icmp" if v6 => &header::ICMP6,
        "conntrack" => &connection::CONNTRACK,
        "state" => &connection::STATE,
        "connmark" => &connection::CONNMARK,
        "connbytes" => &connection::CONNBYTES,
        "connlabel" => &connection::CONNLABEL,
        "connlimit" => &connection::CONNLIMIT,
        "helper" => &connection::HELPER,
        "addrtype" => &address::ADDRTYPE,
        "set" => &address::SET,
        "physdev" => &address::PHYSDEV,
        "recent" => &address::RECENT,
        "iprange" => &address::IPRANGE,
        "rpfilter" => &address::RPFILTER,
        "devgroup" => &address::DEVGROUP,
        "realm" if v4 => &address::REALM,
        "mac" => &header::MAC,
        "mark" => &header::MARK,
        "length" => &header::LENGTH,
        "ttl" if v4 => &header::TTL,
        "hl" if v6 => &header::HL,
        "tos" => &header::TOS,
        "dscp" => &header::DSCP,
        "ecn" => &header::ECN,
        "pkttype" => &header::PKTTYPE,
        "statistic" => &rate::STATISTIC,
        "limit" => &rate::LIMIT,
        "hashlimit" => &rate::HASHLIMIT,
        "quota" => &rate::QUOTA,
        "rateest" => &rate::RATEEST,
        "nfacct" => &rate::NFACCT,
        "owner" => &socket::OWNER,
        "socket" => &socket::SOCKET,
        "cgroup" => &socket::CGROUP,
        "cpu" => &socket::CPU,
        "osf" => &socket::OSF,
        "ipvs" => &socket::IPVS,
        "cluster" => &socket::CLUSTER,
        "policy" => &policy::POLICY,
        "string" => &payload::STRING,
        "u32" => &u32::U32,
        "bpf" => &payload::BPF,
        "tcpmss" => &payload::TCPMSS,
        "esp" => &payload::ESP,
        "ipcomp" => &payload::IPCOMP,
        "ah" if v4 => &payload::AH,
        "ah" => &ipv6::AH,
        "time" => &time::TIME,
        _ if v6 => return ipv6::find(name),
        _ => return None,
    })
}
