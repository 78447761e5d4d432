//! Addresses, as `ip addr show` prints them (`print_addrinfo()` of iproute2's `ip/ipaddress.c`); the numbers are those of
//! `include/uapi/linux/if_addr.h`.

use std::io;
use std::net::IpAddr;

use crate::net::AddrScope;

use super::attrs::{Attrs, Header as _};
use super::line::Lines;
use super::link::{Device, Devices};
use super::socket::Dump;

const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const LABEL: u16 = 3;
const BROADCAST: u16 = 4;
const ANYCAST: u16 = 5;
const CACHEINFO: u16 = 6;
const MULTICAST: u16 = 7;
const FLAGS: u16 = 8;
const METRIC: u16 = 9;
const PROTO: u16 = 11;

const PERMANENT: u32 = 0x80;
const FOREVER: u32 = u32::MAX;

/// `IFA_F_…` by the words of `ip`, in its order. The first is called otherwise in IPv6, and that of a permanent address
/// is told where it is missing.
const FLAG_WORDS: [(u32, &str); 12] = [
    (0x01, "secondary"),
    (0x02, "nodad"),
    (0x04, "optimistic"),
    (0x08, "dadfailed"),
    (0x10, "home"),
    (0x20, "deprecated"),
    (0x40, "tentative"),
    (PERMANENT, "dynamic"),
    (0x100, "mngtmpaddr"),
    (0x200, "noprefixroute"),
    (0x400, "autojoin"),
    (0x800, "stable-privacy"),
];

/// Where addresses come from (`IFAPROT_…`).
const PROTOCOLS: [&str; 4] = ["unspec", "kernel_lo", "kernel_ra", "kernel_ll"];

/// The table `addr.txt`.
pub(super) fn text(devices: &Devices<'_>, addrs: &Dump) -> io::Result<String> {
    let mut lines = Lines::default();
    let addrs: Vec<_> = addrs.messages().collect();
    for device in &devices.all {
        devices.heading(device, &mut lines);
        for addr in addrs.iter().filter(|addr| addr.long(4) == device.index) {
            write(device, addr, &mut lines)?;
        }
    }
    Ok(lines.into_text())
}

/// Every address, with the number of its device.
pub(super) fn addresses(addrs: &Dump) -> io::Result<Vec<(u32, IpAddr)>> {
    let mut found = Vec::new();
    for body in addrs.messages() {
        let attrs = Attrs::behind(body, 8)?;
        found.extend(attrs.address(LOCAL).or_else(|| attrs.address(ADDRESS)).map(|addr| (body.long(4), addr)));
    }
    Ok(found)
}

fn write(device: &Device<'_>, body: &[u8], lines: &mut Lines) -> io::Result<()> {
    let attrs = Attrs::behind(body, 8)?;
    let family = match body.byte(0) {
        2 => "inet",
        10 => "inet6",
        _ => return Ok(()),
    };
    let (Some(local), Some(peer)) = (
        attrs.address(LOCAL).or_else(|| attrs.address(ADDRESS)),
        attrs.address(ADDRESS).or_else(|| attrs.address(LOCAL)),
    ) else {
        return Err(io::Error::other(format!("an address of {} is of an unknown form", device.name)));
    };
    let length = body.byte(1);
    let network = if local == peer { format!("{local}/{length}") } else { format!("{local} peer {peer}/{length}") };
    lines.pair(&format!("    {family}"), Some(network));
    lines.pair("metric", attrs.u32(METRIC));
    lines.pair("brd", attrs.address(BROADCAST));
    lines.pair("any", attrs.address(ANYCAST));
    lines.pair("mcast", attrs.address(MULTICAST));
    lines.pair("scope", Some(AddrScope(body.byte(3))));
    let flags = attrs.u32(FLAGS).unwrap_or_else(|| body.byte(2).into());
    flag_words(flags, family == "inet6", lines);
    let protocol = attrs.u8(PROTO).filter(|protocol| *protocol != 0);
    lines.pair(
        "proto",
        protocol.map(|protocol| {
            PROTOCOLS.get(usize::from(protocol)).map_or_else(|| protocol.to_string(), |name| (*name).to_owned())
        }),
    );
    if let Some(label) = attrs.text(LABEL) {
        lines.word(label);
    }
    lifetimes(&attrs, lines);
    lines.end();
    Ok(())
}

fn flag_words(flags: u32, is_inet6: bool, lines: &mut Lines) {
    for (flag, word) in FLAG_WORDS {
        let is_set = (flags & flag != 0) != (flag == PERMANENT);
        lines.flag(if flag == 1 && is_inet6 { "temporary" } else { word }, is_set);
    }
    let known = FLAG_WORDS.iter().fold(0, |known, (flag, _)| known | flag);
    let rest = flags & !known;
    lines.pair("flags", (rest != 0).then(|| format!("{rest:02x}")));
}

fn lifetimes(attrs: &Attrs<'_>, lines: &mut Lines) {
    let Some(info) = attrs.bytes(CACHEINFO) else { return };
    let shown = |seconds: u32| if seconds == FOREVER { "forever".to_owned() } else { format!("{seconds}sec") };
    lines.indent("       ");
    lines.pair("valid_lft", Some(shown(info.long(4))));
    lines.pair("preferred_lft", Some(shown(info.long(0))));
}
