//! Bridges, their ports and VLANs: the lines of `ip -d link show` (iproute2's `ip/iplink_bridge.c` and
//! `ip/iplink_bridge_slave.c`), `bridge -d link show` and `bridge vlan show` (`bridge/link.c`, `bridge/vlan.c`).

use std::io;

use crate::evidence::Evidence;
use crate::snapshot::BridgeVlan;

use super::attrs::{Attrs, Header as _};
use super::line::{Field, Form, Lines};
use super::link::{Device, Devices};
use super::socket::Dump;

/// `IFLA_PROTINFO`, in which a device of family `AF_BRIDGE` has its port's settings.
const PROTINFO: u16 = 12;
/// `IFLA_AF_SPEC`.
const AF_SPEC: u16 = 26;
const MASTER: u16 = 10;
const FAMILY: u8 = 7;

/// Up to the switches that stand in one attribute.
const OPTIONS: &[Field] = &[
    (1, "forward_delay", Form::U32),
    (2, "hello_time", Form::U32),
    (3, "max_age", Form::U32),
    (4, "ageing_time", Form::U32),
    (5, "stp_state", Form::U32),
    (6, "priority", Form::U16),
    (7, "vlan_filtering", Form::U8),
    (8, "vlan_protocol", Form::EtherType),
    (11, "bridge_id", Form::BridgeId),
    (10, "designated_root", Form::BridgeId),
    (12, "root_port", Form::U16),
    (13, "root_path_cost", Form::U32),
    (14, "topology_change", Form::U8),
    (15, "topology_change_detected", Form::U8),
    (16, "hello_timer", Form::Timer),
    (17, "tcn_timer", Form::Timer),
    (18, "topology_change_timer", Form::Timer),
    (19, "gc_timer", Form::Timer),
    (48, "fdb_n_learned", Form::U32),
    (49, "fdb_max_learned", Form::U32),
    (39, "vlan_default_pvid", Form::U16),
    (41, "vlan_stats_enabled", Form::U8),
    (45, "vlan_stats_per_port", Form::U8),
    (9, "group_fwd_mask", Form::Hex16),
    (20, "group_address", Form::Lladdr),
    (23, "mcast_snooping", Form::U8),
];

/// Behind them.
const MORE_OPTIONS: &[Field] = &[
    (22, "mcast_router", Form::U8),
    (24, "mcast_query_use_ifaddr", Form::U8),
    (25, "mcast_querier", Form::U8),
    (26, "mcast_hash_elasticity", Form::U32),
    (27, "mcast_hash_max", Form::U32),
    (28, "mcast_last_member_count", Form::U32),
    (29, "mcast_startup_query_count", Form::U32),
    (30, "mcast_last_member_interval", Form::U64),
    (31, "mcast_membership_interval", Form::U64),
    (32, "mcast_querier_interval", Form::U64),
    (33, "mcast_query_interval", Form::U64),
    (34, "mcast_query_response_interval", Form::U64),
    (35, "mcast_startup_query_interval", Form::U64),
    (42, "mcast_stats_enabled", Form::U8),
    (43, "mcast_igmp_version", Form::U8),
    (44, "mcast_mld_version", Form::U8),
    (36, "nf_call_iptables", Form::U8),
    (37, "nf_call_ip6tables", Form::U8),
    (38, "nf_call_arptables", Form::U8),
];

/// `BR_BOOLOPT_…`, by their bits.
const SWITCHES: [&str; 5] =
    ["no_linklocal_learn", "mcast_vlan_snooping", "mst_enabled", "mdb_offload_fail_notification", "fdb_local_vlan_0"];

/// A port, as `ip -d link show` prints it behind `bridge_slave`.
const PORT: &[Field] = &[
    (2, "priority", Form::U16),
    (3, "cost", Form::U32),
    (4, "hairpin", Form::Switch),
    (5, "guard", Form::Switch),
    (6, "root_block", Form::Switch),
    (7, "fastleave", Form::Switch),
    (8, "learning", Form::Switch),
    (9, "flood", Form::Switch),
    (17, "port_id", Form::Hex16),
    (18, "port_no", Form::Hex16),
    (15, "designated_port", Form::U16),
    (16, "designated_cost", Form::U16),
    (14, "designated_bridge", Form::BridgeId),
    (13, "designated_root", Form::BridgeId),
    (23, "hold_timer", Form::Timer),
    (21, "message_age_timer", Form::Timer),
    (22, "forward_delay_timer", Form::Timer),
    (19, "topology_change_ack", Form::U8),
    (20, "config_pending", Form::U8),
    (10, "proxy_arp", Form::Switch),
    (12, "proxy_arp_wifi", Form::Switch),
    (25, "mcast_router", Form::U8),
    (27, "mcast_flood", Form::Switch),
    (30, "bcast_flood", Form::Switch),
    (28, "mcast_to_unicast", Form::Switch),
    (32, "neigh_suppress", Form::Switch),
    (43, "neigh_vlan_suppress", Form::Switch),
    (31, "group_fwd_mask", Form::Hex16),
    (29, "vlan_tunnel", Form::Switch),
    (33, "isolated", Form::Switch),
    (39, "locked", Form::Switch),
    (40, "mab", Form::Switch),
];

/// A port, as `bridge -d link show` prints it on its second line.
const PORT_DETAILS: &[Field] = &[
    (4, "hairpin", Form::Switch),
    (5, "guard", Form::Switch),
    (6, "root_block", Form::Switch),
    (7, "fastleave", Form::Switch),
    (8, "learning", Form::Switch),
    (11, "learning_sync", Form::Switch),
    (9, "flood", Form::Switch),
    (27, "mcast_flood", Form::Switch),
    (30, "bcast_flood", Form::Switch),
    (25, "mcast_router", Form::U8),
    (28, "mcast_to_unicast", Form::Switch),
    (32, "neigh_suppress", Form::Switch),
    (43, "neigh_vlan_suppress", Form::Switch),
    (29, "vlan_tunnel", Form::Switch),
];
const PORT_LOCKS: &[Field] = &[(33, "isolated", Form::Switch), (39, "locked", Form::Switch), (40, "mab", Form::Switch)];

/// What a bridge says of itself.
pub(super) fn options(data: &Attrs<'_>, lines: &mut Lines) {
    lines.fields(data, OPTIONS);
    let [set, known] = [0, 4].map(|at| data.bytes(46).unwrap_or_default().long(at));
    for (bit, name) in (0..).zip(SWITCHES).filter(|(bit, _)| known & 1u32 << bit != 0) {
        lines.pair(name, Some(u8::from(set & 1 << bit != 0)));
    }
    lines.fields(data, MORE_OPTIONS);
}

/// What a bridge's port says of itself.
pub(super) fn port(devices: &Devices<'_>, data: &Attrs<'_>, lines: &mut Lines) {
    lines.pair("state", data.u8(1).map(state));
    lines.fields(data, PORT);
    backup(devices, data, lines);
}

/// Where a port's packets go while it has no carrier.
fn backup(devices: &Devices<'_>, data: &Attrs<'_>, lines: &mut Lines) {
    lines.pair("backup_port", data.u32(34).map(|index| devices.name(index)));
    lines.pair("backup_nhid", data.u32(44));
}

fn state(state: u8) -> String {
    let states = ["disabled", "listening", "learning", "forwarding", "blocking"];
    states.get(usize::from(state)).map_or_else(|| state.to_string(), |word| (*word).to_owned())
}

/// The table `bridge-link.txt`.
pub(super) fn links(devices: &Devices<'_>, ports: &Dump) -> io::Result<String> {
    let mut lines = Lines::default();
    for body in ports.messages().filter(|body| body.byte(0) == FAMILY) {
        let device = Device::new(body)?;
        devices.name_and_flags(&device, &mut lines);
        lines.pair("master", device.attrs.u32(MASTER).map(|index| devices.name(index)));
        let info = device.attrs.nested(PROTINFO)?;
        lines.pair("state", info.u8(1).map(state));
        lines.fields(&info, &[(2, "priority", Form::U16), (3, "cost", Form::U32)]);
        lines.indent("    ");
        lines.fields(&info, PORT_DETAILS);
        backup(devices, &info, &mut lines);
        lines.fields(&info, PORT_LOCKS);
        lines.end();
    }
    Ok(lines.into_text())
}

/// The table `bridge-vlan.txt`, from a dump with `RTEXT_FILTER_BRVLAN`.
pub(super) fn vlans(devices: &Devices<'_>, ports: &Dump) -> io::Result<String> {
    let mut lines = Lines::default();
    lines.row(format_args!("{:<16}  vlan-id", "port"));
    for body in ports.messages().filter(|body| body.byte(0) == FAMILY) {
        let device = Device::new(body)?;
        // `IFLA_BRIDGE_VLAN_INFO`: flags and number.
        for (_, info) in device.attrs.nested(AF_SPEC)?.iter().filter(|(kind, _)| *kind == 2) {
            let flags = info.word(0);
            let vlan = BridgeVlan {
                dev: devices.name(device.index),
                vid: info.word(2),
                pvid: flags & 2 != 0,
                untagged: flags & 4 != 0,
                evidence: Evidence::NONE,
            };
            lines.row(vlan);
        }
    }
    Ok(lines.into_text())
}
