//! Captures built in code: headers around payloads, and files around packets.

use std::fs;
use std::path::PathBuf;

pub const A: [u8; 4] = [10, 244, 1, 2];
pub const B: [u8; 4] = [10, 244, 2, 3];
pub const NODE_A: [u8; 4] = [192, 0, 2, 11];
pub const NODE_B: [u8; 4] = [192, 0, 2, 12];

pub fn udp(payload: &[u8], source: u16, destination: u16) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap();
    [&[source, destination, length, 0].map(u16::to_be_bytes).concat(), payload].concat()
}

/// A segment with the options of a first one.
pub fn tcp(payload: &[u8], source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let ports = [source, destination].map(u16::to_be_bytes).concat();
    let rest = [0, 0, 3, 232, 0, 0, 7, 208, 0x80, flags, 0xfa, 0, 0, 0, 0, 0];
    [&ports[..], &rest, &[2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 1, 1], payload].concat()
}

pub fn echo(payload: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0, 0, 1, 0, 2], payload].concat()
}

pub fn ipv4(payload: &[u8], protocol: u8, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let [l1, l2] = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
    let mut header = [&[0x45, 0, l1, l2, 0, 1, 0x40, 0, 64, protocol, 0, 0][..], &source, &destination].concat();
    let sum: u32 = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&(!sum).to_be_bytes());
    [&header[..], payload].concat()
}

pub fn ethernet(payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0], payload].concat()
}

/// What flannel's vxlan backend sends from one node to the other.
pub fn flannel(inner: &[u8]) -> Vec<u8> {
    let frame = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &ethernet(inner)].concat();
    ethernet(&ipv4(&udp(&frame, 50_000, 8472), 17, NODE_A, NODE_B))
}

/// A question for an address.
pub fn dns(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// One of each: what a node sees.
pub fn packets() -> Vec<Vec<u8>> {
    let question = dns("web.shop.svc.cluster.local");
    let quoted = ipv4(&udp(b"", 1234, 5678), 17, B, A);
    vec![
        flannel(&ipv4(&tcp(b"", 40_000, 80, 2), 6, A, B)),
        flannel(&ipv4(&udp(&question, 40_000, 53), 17, A, B)),
        flannel(&ipv4(&echo(b"hello"), 1, A, B)),
        ethernet(&ipv4(&tcp(b"GET /", 40_000, 8080, 0x18), 6, A, B)),
        ethernet(&ipv4(&[&[3, 3, 0, 0, 0, 0, 0, 0], &quoted[..]].concat(), 1, A, B)),
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 0x88, 0xcc, 2, 7]].concat(),
    ]
}

/// A pcap file: each packet a second after the one before.
pub fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    snapped(packets, usize::MAX)
}

/// The same, of which no more than the first bytes of each packet were captured.
pub fn snapped(packets: &[Vec<u8>], most: usize) -> Vec<u8> {
    let mut file = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    for (second, packet) in (1_700_000_000..).zip(packets) {
        let captured = &packet[..most.min(packet.len())];
        let [size, there] = [packet.len(), captured.len()].map(|size| u32::try_from(size).unwrap());
        file.extend([second, 123_456, there, size].map(u32::to_le_bytes).concat());
        file.extend(captured);
    }
    file
}

/// A block of a pcapng file.
pub fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let size = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
    [&kind.to_le_bytes()[..], &size, &body, &size].concat()
}

pub fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    let size = u16::try_from(value.len()).unwrap();
    value.resize(value.len().next_multiple_of(4), 0);
    [&code.to_le_bytes()[..], &size.to_le_bytes(), &value].concat()
}

/// A section with one interface, in nanoseconds.
pub fn section(name: &str) -> Vec<u8> {
    let head = [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    let interface = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &option(2, name.as_bytes()), &option(9, &[9])].concat();
    [block(0x0a0d_0d0a, &head), block(1, &interface)].concat()
}

pub fn enhanced(nanoseconds: u64, packet: &[u8], options: &[u8]) -> Vec<u8> {
    let size = u32::try_from(packet.len()).unwrap().to_le_bytes();
    let (high, low) = (u32::try_from(nanoseconds >> 32).unwrap(), nanoseconds & 0xffff_ffff);
    let mut body = [[0; 4], high.to_le_bytes(), u32::try_from(low).unwrap().to_le_bytes(), size, size].concat();
    body.extend(packet);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options);
    block(6, &body)
}

/// A folder of its own for a test's files.
pub fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("decode-{test}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a file there.
pub fn file(test: &str, name: &str, bytes: &[u8]) -> String {
    let path = folder(test).join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}
