//! Messages that the lab's kernel can't send, as others do, and what a load makes of the text.

use super::*;
use crate::evidence::{FileId, Gap};
use crate::load;
use crate::net::{IfName, Protocol};
use crate::snapshot::{LinkKind, RuleAction};

const FILE: FileId = FileId(0);

/// An attribute, padded.
fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn u32_attr(kind: u16, value: u32) -> Vec<u8> {
    attr(kind, &value.to_ne_bytes())
}

/// A device's message: number, type, flags, name, and more attributes.
fn device(index: u32, link_type: u16, flags: u32, name: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend_from_slice(&link_type.to_ne_bytes());
    for number in [index, flags, 0] {
        body.extend_from_slice(&number.to_ne_bytes());
    }
    body.extend(attr(3, name.as_bytes()));
    body.extend(more.concat());
    body
}

/// What a device is: `IFLA_LINKINFO`.
fn info(kind: &str, data: &[Vec<u8>]) -> Vec<u8> {
    attr(18, &[attr(1, kind.as_bytes()), attr(2, &data.concat())].concat())
}

fn with_header(header: &[u8], attrs: &[Vec<u8>]) -> Vec<u8> {
    [header, &attrs.concat()].concat()
}

/// What a reader makes of a text, without gaps.
fn read<T>(text: &str, parse: impl FnOnce(FileId, &str, &mut Vec<Gap>) -> T) -> T {
    let mut gaps = Vec::new();
    let rows = parse(FILE, text, &mut gaps);
    assert_eq!(gaps, vec![], "{text}");
    rows
}

fn lower() -> Vec<u8> {
    device(2, 1, 0x1002, "eth0", &[attr(1, &[2, 0, 0, 0, 0, 1])])
}

#[test]
fn vlan_devices_have_their_number_their_flags_and_their_lower_device() {
    let protocol = |number: u16| attr(5, &number.to_be_bytes());
    let flags = attr(2, &[1u32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat());
    let map = attr(4, &attr(1, &[1u32.to_ne_bytes(), 2u32.to_ne_bytes()].concat()));
    let one = info("vlan", &[attr(1, &5u16.to_ne_bytes()), protocol(0x8100), flags.clone(), map]);
    let other = info("vlan", &[attr(1, &6u16.to_ne_bytes()), protocol(0x88a8), flags]);
    let links = Dump::of(&[
        lower(),
        device(3, 1, 0x1043, "eth0.5", &[u32_attr(5, 2), one]),
        device(4, 1, 0x1043, "eth0.6", &[u32_attr(5, 2), other]),
    ]);
    let text = Devices::new(&links).unwrap().text().unwrap();
    let rows = read(&text, load::ip_link::parse);
    let LinkKind::Vlan(vlan) = &rows[1].kind else { panic!("{text}") };
    assert_eq!((vlan.id, vlan.lower.as_ref().map(IfName::as_str), vlan.maps_priority), (5, Some("eth0"), true));
    assert!(!rows[1].carrier, "the lower device is down: {text}");
    let LinkKind::Vlan(vlan) = &rows[2].kind else { panic!("{text}") };
    assert_eq!((vlan.protocol.as_str(), vlan.maps_priority), ("802.1ad", false));
}

#[test]
fn vlans_of_ports_are_rows() {
    let vlan = |flags: u16, vid: u16| attr(2, &[flags.to_ne_bytes(), vid.to_ne_bytes()].concat());
    let mut port = device(2, 1, 0x1043, "eth0", &[attr(26, &[vlan(6, 1), vlan(0, 20)].concat())]);
    port[0] = AF_BRIDGE;
    let links = Dump::of(&[lower()]);
    let text = bridge::vlans(&Devices::new(&links).unwrap(), &Dump::of(&[port])).unwrap();
    let rows = read(&text, load::bridge_vlan::parse);
    let rows: Vec<_> = rows.iter().map(|row| (row.dev.as_str(), row.vid, row.pvid, row.untagged)).collect();
    assert_eq!(rows, [("eth0", 1, true, true), ("eth0", 20, false, false)]);
}

#[test]
fn tunnels_have_ip_addresses_in_place_of_ethernet_ones() {
    let tunnel = info("ipip", &[attr(2, &[192, 0, 2, 1]), attr(3, &[192, 0, 2, 2])]);
    let links =
        Dump::of(&[device(5, 768, 0x10d1, "tunl0", &[attr(1, &[192, 0, 2, 1]), attr(2, &[192, 0, 2, 2]), tunnel])]);
    let devices = Devices::new(&links).unwrap();
    let text = devices.text().unwrap();
    assert!(
        text.contains("link/ipip 192.0.2.1 peer 192.0.2.2") && text.contains("ipip remote 192.0.2.2 local"),
        "{text}"
    );
    let rows = read(&text, load::ip_link::parse);
    assert_eq!((&rows[0].kind, rows[0].lladdr), (&LinkKind::Other("ipip".to_owned()), None));
    let neigh =
        with_header(&[2, 0, 0, 0, 5, 0, 0, 0, 0x80, 0, 0, 1], &[attr(1, &[10, 0, 0, 1]), attr(2, &[192, 0, 2, 9])]);
    let text = neigh::text(&devices, &Dump::of(&[neigh])).unwrap();
    assert_eq!(text, "10.0.0.1 dev tunl0 lladdr 192.0.2.9 PERMANENT\n");
    assert_eq!(read(&text, load::ip_neigh::parse).len(), 1);
}

#[test]
fn a_name_from_another_namespace_stays_a_number_and_a_held_down_device_is_told() {
    let veth = [u32_attr(5, 7), u32_attr(37, 3), attr(39, &[1]), info("veth", &[])];
    let links = Dump::of(&[device(7, 1, 0x1043, "other", &[]), device(8, 1, 0x1043, "eth0", &veth)]);
    let text = Devices::new(&links).unwrap().text().unwrap();
    let rows = read(&text, load::ip_link::parse);
    assert_eq!((rows[1].peer_index, rows[1].link_netnsid, &rows[1].peer_name), (Some(7), Some(3), &None));
    assert_eq!((&rows[1].kind, &rows[1].unmodelled), (&LinkKind::Veth, &vec!["protodown on".to_owned()]));
}

#[test]
fn an_alias_makes_no_rows() {
    let alias = attr(20, b"mine\n9: evil: <UP,LOWER_UP> mtu 1500\n");
    let links = Dump::of(&[device(2, 1, 0x1043, "eth0", &[alias])]);
    let text = Devices::new(&links).unwrap().text().unwrap();
    assert_eq!(read(&text, load::ip_link::parse).len(), 1, "{text}");
}

#[test]
fn a_program_that_decides_about_each_packet_is_told() {
    let links = Dump::of(&[device(2, 1, 0x1043, "eth0", &[attr(43, &[attr(2, &[2]), u32_attr(4, 33)].concat())])]);
    let text = Devices::new(&links).unwrap().text().unwrap();
    assert_eq!(read(&text, load::ip_link::parse)[0].unmodelled, ["xdpgeneric/id:33"]);
}

#[test]
fn routes_push_labels_and_segments() {
    let links = Dump::of(&[lower()]);
    let devices = Devices::new(&links).unwrap();
    let label = |label: u32, bottom: u32| (label << 12 | bottom << 8).to_be_bytes();
    let mpls = attr(22, &[attr(1, &[label(100, 0), label(200, 1)].concat()), attr(2, &[9])].concat());
    let ends = [attr(1, &[10, 0, 0, 0]), u32_attr(4, 2), attr(5, &[192, 0, 2, 2])];
    let route = |encap: Vec<u8>, kind: u16| {
        let header = [2, 8, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
        with_header(&header, &[ends.concat(), attr(21, &kind.to_ne_bytes()), encap])
    };
    let ioam = [attr(1, &[1]), u32_attr(4, 1), u32_attr(5, 2), attr(3, &[0, 1, 0, 3, 0x80, 0, 0, 0])].concat();
    let routes = Dump::of(&[route(mpls, 1), route(attr(22, &ioam), 9), route(attr(22, &[]), 77)]);
    let text = route::text(&devices, &routes, Family::Inet).unwrap();
    let rows = read(&text, |file, text, gaps| load::ip_route::parse(file, text, Family::Inet, gaps)).rows;
    let encaps: Vec<_> = rows.iter().map(|row| row.nexthops[0].encap.as_deref().unwrap()).collect();
    assert_eq!(
        encaps,
        [
            "encap mpls 100/200 ttl 9",
            "encap ioam6 freq 1/2 mode inline trace prealloc type 0x800000 ns 1 size 12",
            "encap 77"
        ]
    );
}

#[test]
fn rules_ask_for_what_few_tools_can_say() {
    let header = |action: u8| [2, 0, 0, 0, 0, 0, 0, action, 0, 0, 0, 0];
    let port = |kind: u16, port: u16| attr(kind, &[port.to_ne_bytes(), port.to_ne_bytes()].concat());
    let rules = Dump::of(&[
        with_header(&header(1), &[u32_attr(6, 1), u32_attr(15, 100), attr(25, &[46])]),
        with_header(&header(1), &[u32_attr(6, 2), u32_attr(15, 100), attr(25, &[8]), attr(30, &[0x38])]),
        with_header(&header(1), &[u32_attr(6, 3), u32_attr(15, 100), port(23, 80), attr(28, &0xffu16.to_ne_bytes())]),
        with_header(&header(1), &[u32_attr(6, 4), u32_attr(15, 100), port(24, 80), attr(29, &u16::MAX.to_ne_bytes())]),
        with_header(&header(3), &[u32_attr(6, 5), attr(22, &[6]), attr(21, &[11])]),
        with_header(&header(1), &[u32_attr(6, 6), attr(19, &[1]), u32_attr(14, u32::MAX)]),
    ]);
    let text = rule::text(&rules, Family::Inet).unwrap();
    let rows = read(&text, |file, text, gaps| load::ip_rule::parse(file, text, Family::Inet, gaps));
    assert_eq!(rows[0].unmodelled, ["dscp 46"]);
    assert_eq!(rows[1].unmodelled, ["dscp 0x8/0x38"]);
    assert_eq!((&rows[2].unmodelled, rows[2].sport), (&vec!["sport 0x50/0xff".to_owned()], None));
    assert_eq!(rows[3].dport.map(|range| (range.start, range.end)), Some((80, 80)));
    assert_eq!((rows[4].action, rows[4].ipproto), (RuleAction::Nop, Some(Protocol(6))));
    assert_eq!((&rows[5].unmodelled, rows[5].suppress_prefixlength), (&vec!["lookup [l3mdev-table]".to_owned()], None));
}

#[test]
fn a_message_that_is_none_is_an_error_and_never_a_row_less() {
    let links = Dump::of(&[lower()]);
    let devices = Devices::new(&links).unwrap();
    assert!(Devices::new(&Dump::of(&[vec![0; 4]])).is_err());
    assert!(route::text(&devices, &Dump::of(&[vec![2, 8, 0, 0]]), Family::Inet).is_err());
    let strange = with_header(&[2, 8, 0, 0, 254, 4, 0, 99, 0, 0, 0, 0], &[]);
    assert!(route::text(&devices, &Dump::of(&[strange]), Family::Inet).is_err());
    let cut = with_header(&[2, 8, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0], &[attr(9, &[40, 0, 0, 0, 2, 0, 0, 0])]);
    assert!(route::text(&devices, &Dump::of(&[cut]), Family::Inet).is_err());
    let longer = with_header(&[2, 33, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0], &[]);
    assert!(route::text(&devices, &Dump::of(&[longer]), Family::Inet).is_err());
    let entry = with_header(&[7, 0, 0, 0, 2, 0, 0, 0, 0x80, 0, 0, 0], &[attr(2, &[1, 2])]);
    assert!(neigh::fdb(&devices, &Dump::of(&[entry])).is_err());
}
