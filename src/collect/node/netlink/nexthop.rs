//! Nexthop objects, as `ip nexthop show` prints them (iproute2's `ip/ipnexthop.c`); the numbers are those of
//! `include/uapi/linux/nexthop.h`.

use std::io;

use crate::evidence::Evidence;
use crate::net::RouteScope;
use crate::snapshot::{NextHop, NextHopObject};

use super::attrs::{Attrs, Header as _};
use super::line::Lines;
use super::link::Devices;
use super::socket::Dump;
use super::{encap, names, route};

const ID: u16 = 1;
const GROUP: u16 = 2;
const GROUP_TYPE: u16 = 3;
const BLACKHOLE: u16 = 4;
const OIF: u16 = 5;
const GATEWAY: u16 = 6;
const ENCAP_TYPE: u16 = 7;
const ENCAP: u16 = 8;
const FDB: u16 = 11;
const RES_GROUP: u16 = 12;
const OP_FLAGS: u16 = 14;

/// `NHA_OP_FLAG_RESP_GRP_RESVD_0`: the weights have 16 bits.
const WIDE_WEIGHTS: u32 = 1 << 31;

/// The table `nexthop.txt`.
pub(super) fn text(devices: &Devices<'_>, objects: &Dump) -> io::Result<String> {
    let mut lines = Lines::default();
    for body in objects.messages() {
        lines.row(object(devices, body)?);
    }
    Ok(lines.into_text())
}

fn object(devices: &Devices<'_>, body: &[u8]) -> io::Result<NextHopObject> {
    let attrs = Attrs::behind(body, 8)?;
    let Some(id) = attrs.u32(ID) else { return Err(io::Error::other("a nexthop object has no number")) };
    let mut way = NextHop::new(Evidence::NONE);
    way.via = attrs.address(GATEWAY);
    way.dev = attrs.u32(OIF).map(|index| devices.name(index));
    way.encap = encap::text(devices, attrs.u16(ENCAP_TYPE), &attrs.nested(ENCAP)?)?.map(Into::into);
    route::set_flags(&mut way, body.long(4));
    let mut words = Vec::new();
    group_type(&attrs, &mut words)?;
    if body.byte(1) != 0 {
        words.push(format!("scope {}", RouteScope(body.byte(1))));
    }
    if body.byte(2) != 0 {
        words.push(format!("proto {}", names::protocol(body.byte(2))));
    }
    words.extend(route::other_flags(body.long(4)));
    words.extend(attrs.bytes(FDB).map(|_| "fdb".to_owned()));
    Ok(NextHopObject {
        id,
        way: (way != NextHop::new(Evidence::NONE)).then_some(way),
        group: members(&attrs),
        blackhole: attrs.bytes(BLACKHOLE).is_some(),
        unmodelled: words,
        evidence: Evidence::NONE,
    })
}

/// `struct nexthop_grp`: number, weight less one and its upper half.
fn members(attrs: &Attrs<'_>) -> Vec<(u32, u32)> {
    let is_wide = attrs.u32(OP_FLAGS).is_some_and(|flags| flags & WIDE_WEIGHTS != 0);
    let members = attrs.bytes(GROUP).unwrap_or_default().chunks_exact(8);
    members
        .map(|member| {
            let high = if is_wide { u32::from(member.byte(5)) << 8 } else { 0 };
            (member.long(0), (high | u32::from(member.byte(4))) + 1)
        })
        .collect()
}

/// A group that hands packets on by a table of buckets, and how long these live.
fn group_type(attrs: &Attrs<'_>, words: &mut Vec<String>) -> io::Result<()> {
    match attrs.u16(GROUP_TYPE) {
        // The usual one, which `ip` doesn't name.
        None | Some(0) => {}
        Some(1) => words.push("type resilient".to_owned()),
        Some(number) => words.push(format!("type {number}")),
    }
    if attrs.bytes(RES_GROUP).is_some() {
        let group = attrs.nested(RES_GROUP)?;
        words.extend(group.u16(1).map(|buckets| format!("buckets {buckets}")));
        for (kind, word) in [(2, "idle_timer"), (3, "unbalanced_timer")] {
            let ticks = group.u32(kind);
            words.extend(ticks.map(|ticks| format!("{word} {}", f64::from(ticks) / 100.0)));
        }
        let ticks = group.u64(4).and_then(|ticks| u32::try_from(ticks).ok());
        words.extend(ticks.map(|ticks| format!("unbalanced_time {}", f64::from(ticks) / 100.0)));
    }
    Ok(())
}
