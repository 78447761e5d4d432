//! Routes, as `ip -d route show table all` prints them (`print_route()` of iproute2's `ip/iproute.c`); the numbers are
//! those of `include/uapi/linux/rtnetlink.h`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::{Family, RouteScope, RouteType, TableId};
use crate::snapshot::{NextHop, Route};

use super::attrs::{Attrs, Header as _, address};
use super::encap;
use super::line::Lines;
use super::link::Devices;
use super::names;
use super::socket::Dump;

const DST: u16 = 1;
const SRC: u16 = 2;
const OIF: u16 = 4;
const GATEWAY: u16 = 5;
const PRIORITY: u16 = 6;
const PREFSRC: u16 = 7;
const METRICS: u16 = 8;
const MULTIPATH: u16 = 9;
const FLOW: u16 = 11;
const CACHEINFO: u16 = 12;
const TABLE: u16 = 15;
const VIA: u16 = 18;
const PREF: u16 = 20;
const ENCAP_TYPE: u16 = 21;
const ENCAP: u16 = 22;
const TTL_PROPAGATE: u16 = 26;
const NH_ID: u16 = 30;

/// `RTM_F_CLONED`: what was found for one destination, which is no route.
const CLONED: u32 = 0x200;
/// The kernel counts time in hundredths of a second where programs see it (`USER_HZ`).
const TICKS: i32 = 100;

/// The table `route.txt` or `route6.txt`.
pub(super) fn text(devices: &Devices<'_>, routes: &Dump, family: Family) -> io::Result<String> {
    let mut lines = Lines::default();
    for body in routes.messages().filter(|body| body.byte(0) == number(family)) {
        if body.long(8) & CLONED == 0 {
            lines.row(route(devices, body, family)?);
        }
    }
    Ok(lines.into_text())
}

/// `AF_INET` or `AF_INET6`.
pub(super) fn number(family: Family) -> u8 {
    if family == Family::Inet { 2 } else { 10 }
}

fn route(devices: &Devices<'_>, body: &[u8], family: Family) -> io::Result<Route> {
    let attrs = Attrs::behind(body, 12)?;
    let dst = prefix(&attrs, DST, body.byte(1), family)?;
    let mut route = Route::new(dst, kind(body.byte(7))?, Evidence::NONE);
    route.from = (body.byte(2) != 0).then(|| prefix(&attrs, SRC, body.byte(2), family)).transpose()?;
    route.tos = body.byte(3);
    route.table = TableId(attrs.u32(TABLE).unwrap_or_else(|| body.byte(4).into()));
    route.protocol = Some(Arc::from(names::protocol(body.byte(5))));
    route.scope = RouteScope(body.byte(6));
    route.prefsrc = attrs.address(PREFSRC);
    route.metric = attrs.u32(PRIORITY).unwrap_or(route.metric);
    route.nhid = attrs.u32(NH_ID);
    route.realms = attrs.u32(FLOW).map(|flow| names::realms(flow).into());
    let way = way(devices, &attrs, attrs.u32(OIF), body.long(8))?;
    let flags = other_flags(body.long(8));
    if way != NextHop::new(Evidence::NONE) {
        route.nexthops.push(way);
    }
    route.unmodelled.extend(flags);
    times(&attrs, &mut route.unmodelled);
    metrics(&attrs, &mut route)?;
    preference(&attrs, &mut route.unmodelled);
    multipath(devices, attrs.bytes(MULTIPATH).unwrap_or_default(), &mut route)?;
    Ok(route)
}

fn prefix(attrs: &Attrs<'_>, kind: u16, length: u8, family: Family) -> io::Result<IpNet> {
    let address = attrs.address(kind).unwrap_or(family.unspecified());
    IpNet::new(address, length).map_err(|err| io::Error::other(format!("{address}/{length}: {err}")))
}

fn kind(number: u8) -> io::Result<RouteType> {
    use RouteType::{Anycast, Blackhole, Broadcast, Local, Multicast, Nat, Prohibit, Throw, Unicast, Unreachable};
    let kinds = [Unicast, Local, Broadcast, Anycast, Multicast, Blackhole, Unreachable, Prohibit, Throw, Nat];
    let kind = number.checked_sub(1).and_then(|place| kinds.get(usize::from(place)).copied());
    kind.ok_or_else(|| io::Error::other(format!("a route has the unknown type {number}")))
}

/// One way of a route: its own attributes, or those of a part of a multipath route.
fn way(devices: &Devices<'_>, attrs: &Attrs<'_>, device: Option<u32>, flags: u32) -> io::Result<NextHop> {
    let mut way = NextHop::new(Evidence::NONE);
    way.via = attrs.address(GATEWAY).or_else(|| via(attrs.bytes(VIA)?)).filter(|via| !via.is_unspecified());
    way.dev = device.map(|index| devices.name(index));
    way.encap = encap::text(devices, attrs.u16(ENCAP_TYPE), &attrs.nested(ENCAP)?)?.map(Into::into);
    set_flags(&mut way, flags);
    Ok(way)
}

/// `RTNH_F_…`.
pub(super) fn set_flags(way: &mut NextHop, flags: u32) {
    (way.dead, way.onlink, way.linkdown) = (flags & 1 != 0, flags & 4 != 0, flags & 16 != 0);
}

/// The flags that change nothing for packets.
pub(super) fn other_flags(flags: u32) -> impl Iterator<Item = String> {
    const WORDS: [(u32, &str); 8] = [
        (2, "pervasive"),
        (8, "offload"),
        (64, "trap"),
        (0x100, "notify"),
        (32, "unresolved"),
        (0x4000, "rt_offload"),
        (0x8000, "rt_trap"),
        (0x2000_0000, "rt_offload_failed"),
    ];
    WORDS.into_iter().filter(move |(flag, _)| flags & flag != 0).map(|(_, word)| word.to_owned())
}

/// `struct rtvia`: a gateway of the other family, behind that family's number.
fn via(bytes: &[u8]) -> Option<IpAddr> {
    address(bytes.get(2..)?)
}

fn multipath(devices: &Devices<'_>, mut rest: &[u8], route: &mut Route) -> io::Result<()> {
    while !rest.is_empty() {
        // `struct rtnexthop`: length, flags, weight less one, device.
        let length = usize::from(rest.word(0));
        let Some(part) = rest.get(..length).filter(|part| part.len() >= 8) else {
            return Err(io::Error::other("a way of a multipath route is cut"));
        };
        let attrs = Attrs::behind(part, 8)?;
        let mut way = way(devices, &attrs, Some(part.long(4)), part.byte(2).into())?;
        way.weight = u32::from(part.byte(3)) + 1;
        route.nexthops.push(way);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// When it ends, and what senders are told.
fn times(attrs: &Attrs<'_>, words: &mut Vec<String>) {
    let Some(info) = attrs.bytes(CACHEINFO) else { return };
    // `struct rta_cacheinfo`: users, last use, expiry, error.
    let (expires, error) = (info.long(8).cast_signed(), info.long(12));
    if expires != 0 {
        words.push(format!("expires {}sec", expires / TICKS));
    }
    if error != 0 {
        words.push(format!("error {error}"));
    }
}

const LOCK: u16 = 1;
const MTU: u16 = 2;
const HOPLIMIT: u16 = 10;
const FEATURES: u16 = 12;
const CONGESTION: u16 = 16;

/// `RTAX_…` by the words of `ip`, from 2 on.
const METRIC_WORDS: [&str; 16] = [
    "mtu",
    "window",
    "rtt",
    "rttvar",
    "ssthresh",
    "cwnd",
    "advmss",
    "reordering",
    "hoplimit",
    "initcwnd",
    "features",
    "rto_min",
    "initrwnd",
    "quickack",
    "congctl",
    "fastopen_no_cookie",
];

fn metrics(attrs: &Attrs<'_>, route: &mut Route) -> io::Result<()> {
    let metrics = attrs.nested(METRICS)?;
    let locks = metrics.u32(LOCK).unwrap_or_default();
    for (kind, word) in (2u16..).zip(METRIC_WORDS) {
        let is_locked = locks & 1u32 << kind != 0;
        let value = metrics.u32(kind);
        if metrics.bytes(kind).is_none() && !is_locked {
            continue;
        }
        let lock = if is_locked { "lock " } else { "" };
        match kind {
            MTU => (route.mtu, route.mtu_locked) = (Some(value.unwrap_or_default()), is_locked),
            HOPLIMIT if value == Some(u32::MAX) => {}
            CONGESTION => {
                route.unmodelled.push(format!("{word} {lock}{}", metrics.text(kind).unwrap_or_default()));
            }
            FEATURES => route.unmodelled.push(format!("{word} {lock}{}", features(value.unwrap_or_default()))),
            _ => route.unmodelled.push(format!("{word} {lock}{}", metric(word, value.unwrap_or_default()))),
        }
    }
    Ok(())
}

fn metric(word: &str, value: u32) -> String {
    let milliseconds = match word {
        "rtt" => value / 8,
        "rttvar" => value / 4,
        "rto_min" => value,
        _ => return value.to_string(),
    };
    match milliseconds {
        0..1000 => format!("{milliseconds}ms"),
        _ => format!("{}s", f64::from(milliseconds) / 1000.0),
    }
}

/// `RTAX_FEATURE_…`.
fn features(bits: u32) -> String {
    let words = [(1, "ecn".to_owned()), (1 << 4, "tcp_usec_ts".to_owned())];
    let rest = bits & !0x11;
    let rest = (rest != 0).then(|| format!("{rest:#x}"));
    words.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| word).chain(rest).collect::<Vec<_>>().join(" ")
}

fn preference(attrs: &Attrs<'_>, words: &mut Vec<String>) {
    // `ICMPV6_ROUTER_PREF_…`.
    let preference = attrs.u8(PREF).map(|preference| match preference {
        0 => "medium".to_owned(),
        1 => "high".to_owned(),
        3 => "low".to_owned(),
        number => number.to_string(),
    });
    words.extend(preference.map(|preference| format!("pref {preference}")));
    let propagates = attrs.u8(TTL_PROPAGATE).map(|on| if on == 0 { "disabled" } else { "enabled" });
    words.extend(propagates.map(|word| format!("ttl-propogate {word}")));
}
