//! Names that iproute2 prints in place of numbers. Those that a machine adds in `/etc/iproute2` are not among them: a
//! number says the same on every machine.

use std::borrow::Cow;

/// Who made a route (`RTPROT_…`, with the names of iproute2's `lib/rt_names.c` and `etc/iproute2/rt_protos`).
pub(super) fn protocol(number: u8) -> Cow<'static, str> {
    let name = match number {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        18 => "keepalived",
        42 => "babel",
        99 => "openr",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        number => return Cow::Owned(number.to_string()),
    };
    Cow::Borrowed(name)
}

/// Realms, as a route and a rule have them: where from, where to.
pub(super) fn realms(flow: u32) -> String {
    match (flow >> 16, flow & 0xffff) {
        (0, to) => to.to_string(),
        (from, to) => format!("{from}/{to}"),
    }
}
