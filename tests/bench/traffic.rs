//! A capture as of a flannel node's device: pods of two nodes talk through VXLAN.
//!
//! Of the packets inside, about two thirds are TCP (HTTP, TLS and other data), a fifth DNS, the others UDP and ICMP;
//! 3 % are not in a tunnel. There is a flow of one direction for about five packets. All is made from the packets'
//! numbers, the same in every run.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// The first packet's second; a packet comes every 25 µs.
const START: u64 = 1_700_000_000;
const GAP: u64 = 25;

/// A file of such traffic, gone when this is dropped.
pub struct Traffic {
    /// Where it is.
    pub path: PathBuf,
    /// How many packets it has.
    pub packets: u32,
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Traffic {
    /// Writes a pcap file of so many packets.
    pub fn write(packets: u32) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("flowtrace-bench-{}-{packets}.pcap", std::process::id()));
        let traffic = Self { path, packets };
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&traffic.path)?);
        file.write_all(&[0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat())?;
        for number in 0..u64::from(packets) {
            let frame = frame(number);
            let time = START * 1_000_000 + number * GAP;
            let size = low(frame.len() as u64);
            let header = [low(time / 1_000_000), low(time % 1_000_000), size, size];
            file.write_all(&header.map(u32::to_le_bytes).concat())?;
            file.write_all(&frame)?;
        }
        file.flush()?;
        Ok(traffic)
    }
}

fn low(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}

/// splitmix64: a number that looks like no other's.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// The two ends of a flow, and what it carries.
struct Flow {
    source: [u8; 4],
    destination: [u8; 4],
    port: u16,
    kind: u64,
    random: u64,
}

fn flow(number: u64) -> Flow {
    let random = mixed(number / 5000 * 1000 + mixed(number) % 1000);
    let [a, b, c, d, e, f, ..] = random.to_le_bytes();
    Flow {
        source: [10, 244, 1, 2 + a % 250],
        destination: [10, 244, 2 + b % 6, 2 + c % 250],
        port: 32_768 + (u16::from_le_bytes([d, e]) >> 2),
        kind: u64::from(f) * 100 / 256,
        random,
    }
}

fn frame(number: u64) -> Vec<u8> {
    let flow = flow(number);
    let random = mixed(number ^ 0x5555);
    let (protocol, transport) = match flow.kind {
        0..65 => (6, tcp(&flow, number, random)),
        65..87 => (17, dns(&flow, random)),
        87..95 => (17, udp(&text(random % 1000), flow.port, 9000 + (flow.random & 7) as u16)),
        _ => (1, icmp(&flow, random)),
    };
    let back = random & 1 == 1 && protocol != 1;
    let (source, destination) = if back { (flow.destination, flow.source) } else { (flow.source, flow.destination) };
    let transport = if back { turned(transport) } else { transport };
    let inner = ipv4(&transport, protocol, source, destination, 63, number);
    if random % 100 < 3 {
        return ethernet(&inner);
    }
    let vxlan = [&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(&inner)[..]].concat();
    let node = |address: [u8; 4]| [192, 0, 2, 10 + address[2]];
    let outer = udp(&vxlan, 32_768 + (flow.random >> 48 & 0x3fff) as u16, 8472);
    ethernet(&ipv4(&outer, 17, node(source), node(destination), 64, number ^ 0x1234))
}

/// The same packet from the other end.
fn turned(mut transport: Vec<u8>) -> Vec<u8> {
    transport.get_mut(..4).into_iter().for_each(|ports| ports.rotate_left(2));
    transport
}

/// So many bytes that mean nothing.
fn text(size: u64) -> Vec<u8> {
    b"flowtrace ".iter().copied().cycle().take(size as usize).collect()
}

fn tcp(flow: &Flow, number: u64, random: u64) -> Vec<u8> {
    let (port, payload) = match flow.random % 3 {
        0 => (80, http(random)),
        // A record of TLS 1.2 with application data.
        1 => {
            let size = (random >> 8) % 1400;
            (443, [&[0x17, 3, 3, (size >> 8) as u8, size as u8], &text(size)[..]].concat())
        }
        _ => (5432, text((random >> 8) % 1400)),
    };
    let flags: u8 = match random >> 20 & 15 {
        0 => 0x02,
        1 => 0x12,
        2 | 3 => 0x11,
        4..=6 => 0x10,
        _ => 0x18,
    };
    let payload = if flags & 0x0a == 0x08 { payload } else { Vec::new() };
    let sequence = low(flow.random) ^ low(number * 1000);
    let mut header = [flow.port, port].map(u16::to_be_bytes).concat();
    header.extend([sequence, low(random >> 3)].map(u32::to_be_bytes).concat());
    header.extend([0x80, flags, 0xfa, 0xf0, 0, 0, 0, 0, 1, 1, 8, 10]);
    header.extend([low(number), low(number / 2)].map(u32::to_be_bytes).concat());
    [header, payload].concat()
}

fn http(random: u64) -> Vec<u8> {
    if random >> 30 & 1 == 0 {
        return b"GET /api/v1/items HTTP/1.1\r\nHost: web.shop\r\nUser-Agent: curl/8.0\r\n\r\n".to_vec();
    }
    let body = text((random >> 31) % 1300);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

fn dns(flow: &Flow, random: u64) -> Vec<u8> {
    let is_answer = random & 1 == 1;
    let [high, low] = (flow.random as u16).to_be_bytes();
    let flags = if is_answer { [0x81, 0x80] } else { [1, 0] };
    let mut message = vec![high, low, flags[0], flags[1], 0, 1, 0, u8::from(is_answer), 0, 0, 0, 0];
    for label in [format!("service-{}", flow.random >> 20 & 0xff), "shop".to_owned(), "svc".to_owned()]
        .iter()
        .map(String::as_str)
        .chain(["cluster", "local"])
    {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    if is_answer {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 96, high, low]);
    }
    udp(&message, flow.port, 53)
}

fn udp(payload: &[u8], source: u16, destination: u16) -> Vec<u8> {
    let words = [source, destination, payload.len() as u16 + 8, 0];
    [&words.map(u16::to_be_bytes).concat(), payload].concat()
}

fn icmp(flow: &Flow, random: u64) -> Vec<u8> {
    if random >> 10 & 7 == 0 {
        let quoted = ipv4(&udp(b"", flow.port, 9000), 17, flow.destination, flow.source, 61, random);
        return [&[3, 3, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
    }
    let kind = if random & 1 == 1 { 0 } else { 8 };
    let [i1, i2] = flow.port.to_be_bytes();
    let [s1, s2, ..] = random.to_le_bytes();
    [&[kind, 0, 0, 0, i1, i2, s1, s2], &text(56)[..]].concat()
}

fn ipv4(payload: &[u8], protocol: u8, source: [u8; 4], destination: [u8; 4], ttl: u8, id: u64) -> Vec<u8> {
    let [l1, l2] = (payload.len() as u16 + 20).to_be_bytes();
    let [i1, i2, ..] = id.to_be_bytes();
    let mut header = [0x45, 0, l1, l2, i1, i2, 0x40, 0, ttl, protocol, 0, 0].to_vec();
    header.extend(source.iter().chain(&destination));
    let sum: u32 = header.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(payload);
    header
}

fn ethernet(payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0], payload].concat()
}
