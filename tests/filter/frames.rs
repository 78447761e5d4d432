//! Packets of every kind that filters ask about.

use crate::capture::{Capture, Packet};

const MACS: [[u8; 6]; 4] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [0xff; 6], [1, 0, 0x5e, 0, 0, 0xfb]];

/// Addresses that the packets have, for filters.
pub const ADDRESSES: [&str; 5] = ["10.0.0.1", "10.0.0.2", "10.244.1.5", "192.168.7.9", "224.0.0.251"];
pub const ADDRESSES6: [&str; 4] = ["fd00::1", "fd00::2", "ff02::fb", "2001:db8:7::9"];

/// A frame of Ethernet.
pub fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    framed(1, 0, ether_type, payload)
}

fn framed(to: usize, from: usize, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&MACS[to][..], &MACS[from], &ether_type.to_be_bytes(), payload].concat()
}

fn v4(address: usize) -> [u8; 4] {
    ADDRESSES[address].parse::<std::net::Ipv4Addr>().unwrap().octets()
}

fn v6(address: usize) -> [u8; 16] {
    ADDRESSES6[address].parse::<std::net::Ipv6Addr>().unwrap().octets()
}

/// An IPv4 packet, with options or a fragment's offset where they are asked for.
fn ip(proto: u8, from: usize, to: usize, options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let header = u8::try_from(20 + options.len()).unwrap();
    let length = u16::try_from(usize::from(header) + payload.len()).unwrap();
    let mut bytes = vec![0x40 | (header / 4), 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0x12, 0x34]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, proto, 0, 0]);
    [&bytes[..], &v4(from), &v4(to), options, payload].concat()
}

fn plain(proto: u8, from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    ip(proto, from, to, &[], 0, payload)
}

fn ip6(next: u8, from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x60, 0, 0, 0, length[0], length[1], next, 64], &v6(from)[..], &v6(to), payload].concat()
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

fn tcp(from: u16, to: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0x72, 0x10, 0, 0, 0, 0];
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &rest, payload].concat()
}

fn arp(operation: u8, from: usize, to: usize) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, operation], &MACS[from][..], &v4(from), &[0; 6], &v4(to)].concat()
}

/// A frame in VXLAN, over IPv4 or IPv6.
pub fn vxlan(vni: u32, is_v6: bool, frame: &[u8]) -> Vec<u8> {
    let tunnel = udp(40_000, 8472, &[&[8, 0, 0, 0], &(vni << 8).to_be_bytes()[..], frame].concat());
    if is_v6 { ethernet(0x86dd, &ip6(17, 0, 1, &tunnel)) } else { ethernet(0x0800, &plain(17, 0, 1, &tunnel)) }
}

fn geneve(vni: u32, options: u8, carried: u16, payload: &[u8]) -> Vec<u8> {
    let header = [&[options, 0], &carried.to_be_bytes()[..], &(vni << 8).to_be_bytes()].concat();
    udp(40_000, 6081, &[&header[..], &vec![7; usize::from(options) * 4], payload].concat())
}

fn with_ports() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (from, to, flags) in
        [(40_000, 80, 2), (80, 40_000, 0x12), (40_000, 443, 0x10), (8080, 8080, 0x18), (22, 53, 4), (53, 0, 0x29)]
    {
        frames.push(ethernet(0x0800, &plain(6, 0, 1, &tcp(from, to, flags, b"GET /"))));
        frames.push(ethernet(0x86dd, &ip6(6, 1, 0, &tcp(from, to, flags, b""))));
        frames.push(ethernet(0x0800, &plain(17, 2, 3, &udp(from, to, b"payload"))));
        frames.push(ethernet(0x86dd, &ip6(17, 0, 3, &udp(to, from, b"payload"))));
        frames.push(ethernet(0x0800, &plain(132, 3, 2, &udp(from, to, b"sctp"))));
        frames.push(ethernet(0x0800, &ip(6, 2, 0, &[1; 12], 0x4000, &tcp(to, from, flags, b""))));
        frames.push(ethernet(0x0800, &ip(17, 2, 0, &[], 0x2000, &udp(from, to, b"first"))));
        frames.push(ethernet(0x0800, &ip(17, 2, 0, &[], 0x0003, &udp(from, to, b"later"))));
        let fragment = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &udp(from, to, b"")].concat();
        frames.push(ethernet(0x86dd, &ip6(44, 2, 0, &fragment)));
    }
    frames
}

fn without_ports() -> Vec<Vec<u8>> {
    let hop_by_hop = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &[128, 0, 0, 0, 0, 1, 0, 2]].concat();
    vec![
        ethernet(0x0800, &plain(1, 0, 1, &[8, 0, 0, 0, 0, 1, 0, 2])),
        ethernet(0x0800, &plain(1, 1, 0, &[0, 0, 0, 0, 0, 1, 0, 2])),
        ethernet(0x0800, &plain(1, 1, 0, &[3, 1, 0, 0, 0, 0, 0, 0, 0x45])),
        ethernet(0x86dd, &ip6(58, 0, 1, &[128, 0, 0, 0, 0, 1, 0, 2])),
        ethernet(0x86dd, &ip6(58, 1, 2, &[136, 0, 0, 0, 0, 1, 0, 2])),
        ethernet(0x86dd, &ip6(0, 1, 2, &hop_by_hop)),
        framed(3, 0, 0x0800, &plain(2, 0, 4, &[0x16, 0, 0, 0])),
        framed(3, 0, 0x0800, &plain(17, 0, 4, &udp(5353, 5353, b"mdns"))),
        framed(3, 0, 0x86dd, &ip6(17, 0, 2, &udp(5353, 5353, b"mdns"))),
        framed(2, 1, 0x0800, &plain(112, 1, 4, &[0x21, 1, 2, 3])),
        ethernet(0x0800, &plain(50, 0, 1, &[0, 0, 0, 1, 0, 0, 0, 2])),
        ethernet(0x0800, &plain(51, 0, 1, &[6, 4, 0, 0, 0, 0, 0, 2])),
        ethernet(0x86dd, &ip6(50, 0, 1, &[0, 0, 0, 1, 0, 0, 0, 2])),
        ethernet(0x0800, &plain(103, 0, 4, &[0x20, 0, 0, 0])),
        ethernet(0x0800, &plain(47, 0, 1, &[0, 0, 8, 0, 0x45, 0])),
        ethernet(0x0800, &plain(4, 0, 1, &plain(6, 2, 3, &tcp(1, 2, 2, b"")))),
        ethernet(0x0800, &plain(41, 0, 1, &ip6(6, 2, 3, &tcp(1, 2, 2, b"")))),
        framed(2, 0, 0x0806, &arp(1, 0, 1)),
        ethernet(0x0806, &arp(2, 1, 0)),
        framed(2, 0, 0x8035, &arp(3, 2, 3)),
    ]
}

fn tagged() -> Vec<Vec<u8>> {
    let inner = plain(6, 0, 1, &tcp(40_000, 80, 2, b""));
    let inner6 = ip6(17, 0, 1, &udp(53, 53, b""));
    let label = |label: u32, last: u32| ((label << 12) | (last << 8) | 64).to_be_bytes();
    vec![
        ethernet(0x8100, &[&[0, 100, 8, 0], &inner[..]].concat()),
        ethernet(0x8100, &[&[0xa0, 200, 0x86, 0xdd], &inner6[..]].concat()),
        ethernet(0x88a8, &[&[0, 100, 0x81, 0, 0, 200, 8, 0], &inner[..]].concat()),
        ethernet(0x9100, &[&[0, 7, 8, 6], &arp(1, 0, 1)[..]].concat()),
        ethernet(0x8100, &[0, 100, 0, 3, 0x42, 0x42, 3]),
        ethernet(0x8847, &[&label(100, 1)[..], &inner].concat()),
        ethernet(0x8847, &[&label(100, 0)[..], &label(200, 1), &inner].concat()),
        ethernet(0x8847, &[&label(7, 1)[..], &inner6].concat()),
        ethernet(0x8863, &[0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0]),
        ethernet(0x8864, &[&[0x11, 0, 0, 7, 0, 60, 0, 0x21], &inner[..]].concat()),
        ethernet(0x8864, &[&[0x11, 0, 0, 9, 0, 60, 0, 0x57], &inner6[..]].concat()),
        ethernet(38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0]),
        ethernet(30, &[0xfe, 0xfe, 3, 0x83, 0x1b, 1, 0, 0x0f, 1]),
        ethernet(30, &[0xe0, 0xe0, 3, 0xff, 0xff, 0, 0, 0, 0]),
        ethernet(30, &[0xff, 0xff, 0, 0x22, 0, 0]),
        ethernet(30, &[0xf0, 0xf0, 3, 0, 0, 0, 0, 0]),
        ethernet(30, &[0xaa, 0xaa, 3, 8, 0, 7, 0x80, 0x9b, 0]),
        ethernet(30, &[0xaa, 0xaa, 3, 0, 0, 0, 0x80, 0xf3, 0]),
        ethernet(0x8137, &[0xff, 0xff, 0, 0x22]),
        ethernet(0x809b, &[0, 1, 2, 3]),
        ethernet(0x6003, &[0, 1, 2, 3]),
        ethernet(0x88cc, &[2, 7, 4, 0]),
    ]
}

fn tunnelled() -> Vec<Vec<u8>> {
    let inner = plain(6, 2, 3, &tcp(40_000, 80, 2, b""));
    let frame = framed(0, 1, 0x0800, &inner);
    let mut frames = vec![
        vxlan(1, false, &frame),
        vxlan(7, true, &framed(2, 1, 0x0806, &arp(1, 2, 3))),
        ethernet(0x0800, &plain(17, 0, 1, &geneve(7, 0, 0x6558, &frame))),
        ethernet(0x0800, &plain(17, 0, 1, &geneve(7, 3, 0x6558, &frame))),
        ethernet(0x0800, &plain(17, 0, 1, &geneve(9, 0, 0x0800, &inner))),
        ethernet(0x86dd, &ip6(17, 0, 1, &geneve(9, 1, 0x6558, &frame))),
        ethernet(0x86dd, &ip6(17, 0, 1, &geneve(9, 0x40, 0x6558, &frame))),
    ];
    let tagged = ethernet(0x8100, &[&[0, 100, 8, 0], &inner[..]].concat());
    frames.push(ethernet(0x0800, &plain(17, 0, 1, &geneve(7, 2, 0x6558, &tagged))));
    let outer = plain(17, 0, 1, &geneve(9, 1, 0x6558, &frame));
    frames.push(ethernet(0x0800, &plain(17, 2, 3, &geneve(7, 0, 0x0800, &outer))));
    frames
}

/// Every packet once, on Ethernet.
pub fn every() -> Capture {
    let mut frames = with_ports();
    frames.extend(without_ports());
    frames.extend(tagged());
    frames.extend(tunnelled());
    frames.extend([Vec::new(), vec![1; 5], vec![2; 14], vec![0xff; 60]]);
    let packet = |bytes: Vec<u8>| Packet { length: u32::try_from(bytes.len()).unwrap(), bytes };
    Capture { name: "built".to_owned(), link_type: 1, packets: frames.into_iter().map(packet).collect() }
}
