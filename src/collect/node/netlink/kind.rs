//! What a device is: the lines that `-d` adds (`print_linktype()` of iproute2's `ip/ipaddress.c`, and the `print_opt()` of
//! its `ip/iplink_*.c`). Kinds of which flowtrace reads no more than the name have a few words for people.

use std::io;

use super::attrs::Attrs;
use super::bridge;
use super::line::{Form, Lines, hex, is_some};
use super::link::Devices;

const KIND: u16 = 1;
const DATA: u16 = 2;
const PORT_KIND: u16 = 4;
const PORT_DATA: u16 = 5;

/// The kind of a device, by the kernel's name.
pub(super) fn name(info: &Attrs<'_>) -> Option<String> {
    info.text(KIND)
}

/// What the kind says of the device.
pub(super) fn data<'a>(info: &Attrs<'a>) -> io::Result<Attrs<'a>> {
    info.nested(DATA)
}

/// Writes the lines of the kind, and of the port that the device is of another one.
pub(super) fn write(devices: &Devices<'_>, info: &Attrs<'_>, lines: &mut Lines) -> io::Result<()> {
    if let Some(kind) = name(info) {
        lines.indent("    ");
        lines.word(&kind);
        options(devices, &kind, &data(info)?, lines)?;
    }
    if let Some(kind) = info.text(PORT_KIND) {
        lines.indent("    ");
        lines.word(format_args!("{kind}_slave"));
        if kind == "bridge" {
            bridge::port(devices, &info.nested(PORT_DATA)?, lines);
        }
    }
    Ok(())
}

fn options(devices: &Devices<'_>, kind: &str, data: &Attrs<'_>, lines: &mut Lines) -> io::Result<()> {
    match kind {
        "bridge" => bridge::options(data, lines),
        "vxlan" => vxlan(devices, data, lines),
        "vlan" => vlan(data, lines)?,
        "tun" => tun(data, lines),
        "vrf" => lines.pair("table", data.u32(1)),
        "macvlan" | "macvtap" => lines.pair("mode", data.u32(1).map(macvlan_mode)),
        "ipvlan" | "ipvtap" => {
            let mode = data.u16(1).map(|mode| ["l2", "l3", "l3s"].get(usize::from(mode)).copied().unwrap_or("?"));
            lines.pair("mode", mode);
        }
        "ipip" | "sit" | "gre" | "gretap" | "ip6tnl" | "ip6gre" | "ip6gretap" | "vti" | "vti6" => {
            tunnel(kind, data, lines);
        }
        _ => {}
    }
    Ok(())
}

fn macvlan_mode(mode: u32) -> &'static str {
    match mode {
        1 => "private",
        2 => "vepa",
        4 => "bridge",
        8 => "passthru",
        16 => "source",
        _ => "?",
    }
}

/// The ends of a tunnel, which the families of `include/uapi/linux/if_tunnel.h` number in two ways.
fn tunnel(kind: &str, data: &Attrs<'_>, lines: &mut Lines) {
    let (local, remote) = match kind {
        "ipip" | "sit" | "ip6tnl" => (2, 3),
        "vti" | "vti6" => (4, 5),
        _ => (6, 7),
    };
    for (name, end) in [("remote", remote), ("local", local)] {
        let address = data.address(end);
        let shown = address.map(|address| if is_some(address) { address.to_string() } else { "any".to_owned() });
        lines.pair(name, shown);
    }
}

/// `tun_print_opt()` of iproute2's `ip/iptuntap.c`. Users and groups are told by their numbers.
fn tun(data: &Attrs<'_>, lines: &mut Lines) {
    let kind = data.u8(3).map(|kind| match kind {
        1 => "tun",
        2 => "tap",
        _ => "UNKNOWN",
    });
    lines.pair("type", kind);
    lines.fields(data, &[(4, "pi", Form::Switch), (5, "vnet_hdr", Form::Switch)]);
    if data.u8(7).is_some_and(|many| many != 0) {
        lines.word("multi_queue");
        lines.fields(data, &[(8, "numqueues", Form::U32), (9, "numdisabled", Form::U32)]);
    }
    lines.fields(data, &[(6, "persist", Form::Switch), (1, "user", Form::U32), (2, "group", Form::U32)]);
}

/// `vlan_print_opt()` of iproute2's `ip/iplink_vlan.c`.
fn vlan(data: &Attrs<'_>, lines: &mut Lines) -> io::Result<()> {
    const FLAGS: [&str; 5] = ["REORDER_HDR", "GVRP", "MVRP", "LOOSE_BINDING", "BRIDGE_BINDING"];
    lines.fields(data, &[(5, "protocol", Form::EtherType), (1, "id", Form::U16)]);
    if let Some(flags) = data.u32(2) {
        let set = (0..).zip(FLAGS).filter(|(bit, _)| flags & 1u32 << bit != 0).map(|(_, word)| word);
        lines.word(format_args!("<{}>", set.collect::<Vec<_>>().join(",")));
    }
    for (kind, name) in [(4, "ingress-qos-map"), (3, "egress-qos-map")] {
        if data.bytes(kind).is_some() {
            lines.indent("      ");
            lines.word(name);
            lines.word("{");
            for (_, map) in data.nested(kind)?.iter() {
                let half =
                    |at: usize| map.get(at..).and_then(|bytes| bytes.first_chunk()).copied().map(u32::from_ne_bytes);
                lines.word(format_args!("{}:{}", half(0).unwrap_or_default(), half(4).unwrap_or_default()));
            }
            lines.word("}");
        }
    }
    Ok(())
}

/// Numbers of `IFLA_VXLAN_…` that are no plain fields.
const VXLAN_LINK: u16 = 3;
const VXLAN_TTL: u16 = 5;
const VXLAN_TOS: u16 = 6;
const VXLAN_AGEING: u16 = 8;
const VXLAN_LIMIT: u16 = 9;
const VXLAN_PORT_RANGE: u16 = 10;
const VXLAN_PORT: u16 = 15;
const VXLAN_LABEL: u16 = 26;
const VXLAN_TTL_INHERIT: u16 = 28;
const VXLAN_DF: u16 = 29;
const VXLAN_RESERVED_BITS: u16 = 33;

/// Switches, and what each is when `ip` says nothing of it.
const VXLAN_SWITCHES: [(u16, &str, bool); 14] = [
    (25, "external", false),
    (30, "vnifilter", false),
    (7, "learning", true),
    (11, "proxy", false),
    (12, "rsc", false),
    (13, "l2miss", false),
    (14, "l3miss", false),
    (18, "udp_csum", true),
    (19, "udp_zero_csum6_tx", false),
    (20, "udp_zero_csum6_rx", false),
    (21, "remcsum_tx", false),
    (22, "remcsum_rx", false),
    (31, "localbypass", true),
    (34, "mcroute", false),
];

/// `vxlan_print_opt()` of iproute2's `ip/iplink_vxlan.c`.
fn vxlan(devices: &Devices<'_>, data: &Attrs<'_>, lines: &mut Lines) {
    lines.pair("id", data.u32(1));
    let remote = data.address(2).or_else(|| data.address(16)).filter(|address| is_some(*address));
    lines.pair(if remote.is_some_and(|remote| remote.is_multicast()) { "group" } else { "remote" }, remote);
    lines.pair("local", data.address(4).or_else(|| data.address(17)).filter(|address| is_some(*address)));
    lines.pair("dev", data.u32(VXLAN_LINK).filter(|index| *index != 0).map(|index| devices.name(index)));
    let range = data.bytes(VXLAN_PORT_RANGE).and_then(|bytes| bytes.first_chunk::<4>());
    if let Some([low, low2, high, high2]) = range {
        let (low, high) = (u16::from_be_bytes([*low, *low2]), u16::from_be_bytes([*high, *high2]));
        lines.pair("srcport", Some(format_args!("{low} {high}")));
    }
    lines.pair("dstport", data.be16(VXLAN_PORT));
    vxlan_outer(data, lines);
    lines.flag("gbp", data.bytes(23).is_some());
    lines.flag("gpe", data.bytes(27).is_some());
    for (kind, name, usual) in VXLAN_SWITCHES {
        match data.u8(kind).map(|on| on != 0) {
            Some(on) if on != usual => lines.word(format_args!("{}{name}", if on { "" } else { "no" })),
            _ => {}
        }
    }
}

/// What the outer packet looks like, and how long entries live.
fn vxlan_outer(data: &Attrs<'_>, lines: &mut Lines) {
    let tos = data.u8(VXLAN_TOS).filter(|tos| *tos != 0);
    lines.pair("tos", tos.map(|tos| if tos == 1 { "inherit".to_owned() } else { hex(tos.into()) }));
    let inherits = data.u8(VXLAN_TTL_INHERIT).is_some_and(|inherits| inherits != 0);
    let ttl = data.u8(VXLAN_TTL).map(|ttl| if ttl == 0 { "auto".to_owned() } else { ttl.to_string() });
    lines.pair("ttl", if inherits { Some("inherit".to_owned()) } else { ttl });
    let df = data.u8(VXLAN_DF).and_then(|df| ["set", "inherit"].get(usize::from(df.checked_sub(1)?)).copied());
    lines.pair("df", df);
    lines.pair("flowlabel", data.be32(VXLAN_LABEL).filter(|label| *label != 0).map(|label| hex(label.into())));
    let ageing = data.u32(VXLAN_AGEING);
    lines.pair("ageing", ageing.map(|age| if age == 0 { "none".to_owned() } else { age.to_string() }));
    lines.pair("maxaddr", data.u32(VXLAN_LIMIT).filter(|limit| *limit != 0));
    lines.pair("reserved_bits", data.be64(VXLAN_RESERVED_BITS).map(hex));
}
