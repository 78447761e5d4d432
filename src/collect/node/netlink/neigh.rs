//! Neighbours, as `ip neigh show` prints them (`print_neigh()` of iproute2's `ip/ipneigh.c`), and forwarding entries, as
//! `bridge fdb show` does (`print_fdb()` of `bridge/fdb.c`); the numbers are those of `include/uapi/linux/neighbour.h`.

use std::io;

use crate::evidence::Evidence;
use crate::net::{MacAddr, Vni};
use crate::snapshot::FdbEntry;

use super::attrs::{Attrs, Header as _};
use super::line::{Lines, hex, lladdr};
use super::link::Devices;
use super::names;
use super::socket::Dump;

const DST: u16 = 1;
const LLADDR: u16 = 2;
const VLAN: u16 = 5;
const PORT: u16 = 6;
const VNI: u16 = 7;
const IFINDEX: u16 = 8;
const MASTER: u16 = 9;
const LINK_NETNSID: u16 = 10;
const SRC_VNI: u16 = 11;
const PROTOCOL: u16 = 12;
const NH_ID: u16 = 13;
const FLAGS_EXT: u16 = 15;

const SELF: u8 = 0x02;
const PROXY: u8 = 0x08;
const EXT_LEARNED: u8 = 0x10;
const OFFLOADED: u8 = 0x20;
const STICKY: u8 = 0x40;
const ROUTER: u8 = 0x80;
const EXT_MANAGED: u32 = 1;
const EXT_LOCKED: u32 = 2;
const EXT_VALIDATED: u32 = 4;

const REACHABLE: u16 = 0x02;
const STALE: u16 = 0x04;
const NOARP: u16 = 0x40;
const PERMANENT: u16 = 0x80;

/// `NUD_…`, in the order in which `ip` prints them.
const STATES: [(u16, &str); 8] = [
    (0x01, "INCOMPLETE"),
    (REACHABLE, "REACHABLE"),
    (STALE, "STALE"),
    (0x08, "DELAY"),
    (0x10, "PROBE"),
    (0x20, "FAILED"),
    (NOARP, "NOARP"),
    (PERMANENT, "PERMANENT"),
];

/// The table `neigh.txt`: without neighbours that are known by their device alone, and without those of whom nothing is
/// known, as `ip neigh show` leaves them out.
pub(super) fn text(devices: &Devices<'_>, neighs: &Dump) -> io::Result<String> {
    let mut lines = Lines::default();
    for body in neighs.messages().filter(|body| is_shown(body)) {
        let attrs = Attrs::behind(body, 12)?;
        let Some(address) = attrs.address(DST) else {
            return Err(io::Error::other("a neighbour has an address of an unknown form"));
        };
        lines.word(address);
        lines.pair("dev", Some(devices.name(body.long(4))));
        let link_type = devices.find(body.long(4)).map_or(1, |device| device.link_type);
        lines.pair("lladdr", attrs.bytes(LLADDR).map(|bytes| lladdr(bytes, link_type)));
        flags(body.byte(10), attrs.u32(FLAGS_EXT).unwrap_or_default(), &mut lines);
        for (state, word) in STATES {
            lines.flag(word, body.word(8) & state != 0);
        }
        let protocol = attrs.u8(PROTOCOL).filter(|protocol| *protocol != 0);
        lines.pair("proto", protocol.map(names::protocol));
        lines.end();
    }
    Ok(lines.into_text())
}

fn is_shown(body: &[u8]) -> bool {
    let is_inet = matches!(body.byte(0), 2 | 10);
    is_inet && (body.word(8) & !NOARP != 0 || body.byte(10) & (PROXY | EXT_LEARNED) != 0)
}

fn flags(flags: u8, more: u32, lines: &mut Lines) {
    lines.flag("router", flags & ROUTER != 0);
    lines.flag("proxy", flags & PROXY != 0);
    lines.flag("managed", more & EXT_MANAGED != 0);
    lines.flag("extern_learn", flags & EXT_LEARNED != 0);
    lines.flag("offload", flags & OFFLOADED != 0);
    lines.flag("extern_valid", more & EXT_VALIDATED != 0);
}

/// The table `fdb.txt`.
pub(super) fn fdb(devices: &Devices<'_>, entries: &Dump) -> io::Result<String> {
    let mut lines = Lines::default();
    for body in entries.messages().filter(|body| body.byte(0) == 7) {
        lines.row(entry(devices, body)?);
    }
    Ok(lines.into_text())
}

fn entry(devices: &Devices<'_>, body: &[u8]) -> io::Result<FdbEntry> {
    let attrs = Attrs::behind(body, 12)?;
    let lladdr = attrs.bytes(LLADDR).and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    let Some(lladdr) = lladdr else { return Err(io::Error::other("a forwarding entry has no Ethernet address")) };
    let mut entry = FdbEntry::new(MacAddr(lladdr), devices.name(body.long(4)), Evidence::NONE);
    entry.dst = attrs.address(DST);
    entry.vlan = attrs.u16(VLAN).filter(|vlan| *vlan != 0);
    entry.port = attrs.be16(PORT);
    entry.vni = attrs.u32(VNI).map(Vni);
    entry.own = body.byte(10) & SELF != 0;
    entry.master = attrs.u32(MASTER).map(|index| devices.name(index));
    let state = body.word(8);
    entry.permanent = state & PERMANENT != 0;
    let words = &mut entry.unmodelled;
    words.extend(attrs.u32(SRC_VNI).map(|vni| format!("src_vni {vni}")));
    match (attrs.u32(IFINDEX), attrs.bytes(LINK_NETNSID)) {
        // A device of another namespace.
        (Some(index), Some(_)) => words.push(format!("via ifindex {index}")),
        (index, _) => entry.via = index.map(|index| devices.name(index)),
    }
    words.extend(attrs.u32(NH_ID).map(|id| format!("nhid {id}")));
    words.extend(attrs.u32(LINK_NETNSID).map(|id| format!("link-netnsid {}", id.cast_signed())));
    let flags = body.byte(10);
    for (flag, word) in [(ROUTER, "router"), (EXT_LEARNED, "extern_learn"), (OFFLOADED, "offload"), (STICKY, "sticky")]
    {
        words.extend((flags & flag != 0).then(|| word.to_owned()));
    }
    let is_locked = attrs.u32(FLAGS_EXT).is_some_and(|flags| flags & EXT_LOCKED != 0);
    words.extend(is_locked.then(|| "locked".to_owned()));
    words.extend(entry_state(state));
    Ok(entry)
}

/// How an entry ages; that it is permanent stands at the end of the row.
fn entry_state(state: u16) -> Option<String> {
    match state {
        _ if state & PERMANENT != 0 => None,
        _ if state & NOARP != 0 => Some("static".to_owned()),
        _ if state & STALE != 0 => Some("stale".to_owned()),
        _ if state & REACHABLE != 0 => None,
        _ => Some(format!("state={}", hex(state.into()))),
    }
}
