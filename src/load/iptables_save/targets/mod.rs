//! The target extensions that iptables ships for IPv4 and IPv6 (`-j …`).

mod connection;
mod log;
mod mangle;
mod mark;
pub(super) mod nat;
mod verdict;

use crate::net::Family;
use crate::snapshot::Target;

use super::grammar::Extension;

/// The extension with this name.
pub(super) fn find(name: &str, family: Family) -> Option<&'static Extension<Target>> {
    let (v4, v6) = (family == Family::Inet, family == Family::Inet6);
    Some(match name {
        "REJECT" if v4 => &verdict::REJECT,
        "REJECT" => &verdict::REJECT6,
        "NFQUEUE" => &verdict::NFQUEUE,
        "DNAT" => &nat::DNAT,
        "SNAT" => &nat::SNAT,
        "MASQUERADE" => &nat::MASQUERADE,
        "REDIRECT" => &nat::REDIRECT,
        "NETMAP" => &nat::NETMAP,
        "DNPT" if v6 => &nat::DNPT,
        "SNPT" if v6 => &nat::SNPT,
        "CLUSTERIP" if v4 => &nat::CLUSTERIP,
        "MARK" => &mark::MARK,
        "CONNMARK" => &mark::CONNMARK,
        "CONNSECMARK" => &mark::CONNSECMARK,
        "SECMARK" => &mark::SECMARK,
        "CLASSIFY" => &mark::CLASSIFY,
        "HMARK" => &mark::HMARK,
        "CT" => &connection::CT,
        "NOTRACK" => &connection::NOTRACK,
        "SET" => &connection::SET,
        "SYNPROXY" => &connection::SYNPROXY,
        "TPROXY" => &connection::TPROXY,
        "TEE" => &connection::TEE,
        "TOS" => &mangle::TOS,
        "DSCP" => &mangle::DSCP,
        "TTL" if v4 => &mangle::TTL,
        "HL" if v6 => &mangle::HL,
        "ECN" if v4 => &mangle::ECN,
        "TCPMSS" => &mangle::TCPMSS,
        "TCPOPTSTRIP" => &mangle::TCPOPTSTRIP,
        "CHECKSUM" => &mangle::CHECKSUM,
        "LOG" => &log::LOG,
        "NFLOG" => &log::NFLOG,
        "ULOG" if v4 => &log::ULOG,
        "TRACE" => &log::TRACE,
        "AUDIT" => &log::AUDIT,
        "LED" => &log::LED,
        "IDLETIMER" => &log::IDLETIMER,
        "RATEEST" => &log::RATEEST,
        _ => return None,
    })
}
