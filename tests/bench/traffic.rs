//! A capture as of a flannel node's device: pods of two nodes talk through VXLAN.
//!
//! A thousand conversations are under way at any time, and take turns at random. Each of TCP is opened, carries HTTP, TLS or
//! other data one way and the other, and is closed; a name is asked for with two questions from one port, as the C library
//! does. Of the packets, about two thirds are of TCP, a fifth of DNS, the others of UDP and ICMP; 3 % are not in a tunnel. A
//! conversation has eight packets on average, and a packet 457 bytes. All is made from numbers, the same in every run.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// The first packet's second; a packet comes every 25 µs.
const START: u64 = 1_700_000_000;
const GAP: u64 = 25;

/// So many conversations are under way.
const CONVERSATIONS: u64 = 1000;

/// What a segment carries at most where a pod's device takes 1,450 bytes and TCP has timestamps.
const SEGMENT: usize = 1398;

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
        let mut later = (0..).map(|number| Conversation::new(mixed(number)));
        let mut all: Vec<Conversation> = later.by_ref().take(CONVERSATIONS as usize).collect();
        for number in 0..u64::from(packets) {
            let place = mixed(number ^ (0x5555 << 32)) % CONVERSATIONS;
            let Some(conversation) = all.get_mut(place as usize) else { continue };
            let frame = loop {
                match conversation.next(number) {
                    Some(frame) => break frame,
                    None => later.next().into_iter().for_each(|next| *conversation = next),
                }
            };
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

/// Two pods, and what they have still to say: whether it goes back, and what IP carries.
struct Conversation {
    client: [u8; 4],
    server: [u8; 4],
    protocol: u8,
    left: VecDeque<(bool, Vec<u8>)>,
    random: u64,
}

impl Conversation {
    fn new(random: u64) -> Self {
        let [a, b, c, d, e, f, ..] = random.to_le_bytes();
        let port = 32_768 + (u16::from_le_bytes([d, e]) >> 2);
        let (protocol, left) = match u64::from(f) * 100 / 256 {
            0..35 => (6, Connection::new(port, mixed(random)).left),
            35..83 => (17, dns(port, mixed(random))),
            83..92 => (17, datagrams(port, mixed(random))),
            _ => (1, icmp([10, 244, 1, 2 + a % 250], port, mixed(random))),
        };
        let (client, server) = ([10, 244, 1, 2 + a % 250], [10, 244, 2 + b % 6, 2 + c % 250]);
        Self { client, server, protocol, left, random }
    }

    /// The next frame, which is the capture's so many-th.
    fn next(&mut self, number: u64) -> Option<Vec<u8>> {
        let (back, payload) = self.left.pop_front()?;
        let ends = |one, other| if back { (other, one) } else { (one, other) };
        let (source, destination) = ends(self.client, self.server);
        let inner = ipv4(&payload, self.protocol, source, destination, 63, number);
        if self.random >> 56 < 8 {
            return Some(ethernet(&inner));
        }
        let vxlan = [&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(&inner)[..]].concat();
        let node = |address: [u8; 4]| [192, 0, 2, 10 + address[2]];
        // The kernel takes the port from a hash of the inner packet's flow, the same for both directions.
        let outer = udp(&vxlan, 32_768 + (self.random >> 48 & 0x3fff) as u16, 8472);
        Some(ethernet(&ipv4(&outer, 17, node(source), node(destination), 64, number ^ 0x1234)))
    }
}

/// So many bytes that mean nothing.
fn text(size: u64) -> Vec<u8> {
    b"flowtrace ".iter().copied().cycle().take(size as usize).collect()
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// A connection of TCP that is written, segment after segment.
struct Connection {
    /// The client's, and the server's.
    ports: [u16; 2],
    /// The next sequence numbers.
    next: [u32; 2],
    left: VecDeque<(bool, Vec<u8>)>,
}

impl Connection {
    fn new(port: u16, random: u64) -> Self {
        let next = [low(random), low(random >> 32)];
        let (server, question, answer) = match random % 3 {
            0 => (80, request(random), response(random)),
            1 => (443, hello(random), records(random)),
            _ => (7000, text(random >> 8 & 0x3ff), text((random >> 20) % 13_000)),
        };
        let mut connection = Self { ports: [port, server], next, left: VecDeque::new() };
        connection.segment(false, SYN, &[]);
        connection.segment(true, SYN | ACK, &[]);
        connection.segment(false, ACK, &[]);
        connection.say(false, &question);
        connection.say(true, &answer);
        match random >> 50 & 0x7f {
            0 => connection.segment(false, RST | ACK, &[]),
            1 => connection.lose(),
            _ => {}
        }
        connection.segment(false, FIN | ACK, &[]);
        connection.segment(true, FIN | ACK, &[]);
        connection.segment(false, ACK, &[]);
        connection
    }

    fn segment(&mut self, back: bool, flags: u8, payload: &[u8]) {
        let [mut from, mut to] = [0, 1];
        if back {
            (from, to) = (to, from);
        }
        let (sequence, acknowledged) = (self.next[from], if flags == SYN { 0 } else { self.next[to] });
        let mut bytes = [self.ports[from], self.ports[to]].map(u16::to_be_bytes).concat();
        bytes.extend([sequence, acknowledged].map(u32::to_be_bytes).concat());
        bytes.extend([0x80, flags, 0xfa, 0xf0, 0, 0, 0, 0, 1, 1, 8, 10]);
        bytes.extend([self.left.len() as u32 + 1, 1].map(u32::to_be_bytes).concat());
        bytes.extend(payload);
        self.left.push_back((back, bytes));
        self.next[from] = sequence.wrapping_add(payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0));
    }

    /// One end's data; the other one acknowledges every second segment.
    fn say(&mut self, back: bool, data: &[u8]) {
        for (place, payload) in data.chunks(SEGMENT).enumerate() {
            self.segment(back, PSH | ACK, payload);
            if place % 2 == 1 {
                self.segment(!back, ACK, &[]);
            }
        }
    }

    /// The last segment comes once more.
    fn lose(&mut self) {
        self.left.extend(self.left.back().cloned());
    }
}

fn request(random: u64) -> Vec<u8> {
    let path = format!("/api/v1/items/{}", random >> 8 & 0xffff);
    let head = "Host: web.shop.svc.cluster.local\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n";
    format!("GET {path} HTTP/1.1\r\n{head}\r\n").into_bytes()
}

fn response(random: u64) -> Vec<u8> {
    let body = text((random >> 20) % 13_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

/// A record of TLS 1.2.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = (body.len() as u16).to_be_bytes();
    [&[kind, 3, 3, high, low], body].concat()
}

/// A client's hello, with one cipher suite.
fn hello(random: u64) -> Vec<u8> {
    let secret: Vec<u8> = (0..4).flat_map(|part| mixed(random ^ part).to_be_bytes()).collect();
    record(22, &[&[1, 0, 0, 41, 3, 3], &secret[..], &[0, 0, 2, 0x13, 1, 1, 0]].concat())
}

/// A server's hello, and application data.
fn records(random: u64) -> Vec<u8> {
    let secret: Vec<u8> = (4..8).flat_map(|part| mixed(random ^ part).to_be_bytes()).collect();
    let hello = record(22, &[&[2, 0, 0, 38, 3, 3], &secret[..], &[0, 0x13, 1, 0]].concat());
    let data = text((random >> 20) % 13_000);
    hello.into_iter().chain(data.chunks(4096).flat_map(|part| record(23, part))).collect()
}

/// A service's addresses of IPv4 and of IPv6 are asked for, and answered.
fn dns(port: u16, random: u64) -> VecDeque<(bool, Vec<u8>)> {
    let name = format!("service-{}", random >> 20 & 0xff);
    let message = |number: u8, kind: u8, answer: &[u8]| {
        let [one, other, ..] = random.to_le_bytes();
        let (flags, count) = if answer.is_empty() { ([1, 0], 0) } else { ([0x81, 0x80], 1) };
        let mut message = vec![one ^ number, other, flags[0], flags[1], 0, 1, 0, count, 0, 0, 0, 0];
        for label in [&name, "shop", "svc", "cluster", "local"] {
            message.push(label.len() as u8);
            message.extend(label.bytes());
        }
        message.extend([0, 0, kind, 0, 1]);
        if !answer.is_empty() {
            message.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 30, 0, answer.len() as u8]);
            message.extend(answer);
        }
        if answer.is_empty() { (false, udp(&message, port, 53)) } else { (true, udp(&message, 53, port)) }
    };
    let [a, b, ..] = random.to_be_bytes();
    let wide = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b];
    [message(0, 1, &[]), message(1, 28, &[]), message(0, 1, &[10, 96, a, b]), message(1, 28, &wide)].into()
}

/// Datagrams of a protocol that nobody knows, each with an answer.
fn datagrams(port: u16, random: u64) -> VecDeque<(bool, Vec<u8>)> {
    let server = 9000 + (random & 7) as u16;
    let both = |number: u64| {
        let [one, other] = [0, 1].map(|part| text(mixed(random ^ (number * 2 + part)) % 1000));
        [(false, udp(&one, port, server)), (true, udp(&other, server, port))]
    };
    (0..4).flat_map(both).collect()
}

/// Echoes with their replies, or an error about a datagram of the client's.
fn icmp(client: [u8; 4], identifier: u16, random: u64) -> VecDeque<(bool, Vec<u8>)> {
    if random >> 10 & 1 == 0 {
        let quoted = ipv4(&udp(b"", identifier, 9000), 17, client, [10, 244, 3, 3], 61, random);
        return [(true, [&[3, 3, 0, 0, 0, 0, 0, 0], &quoted[..]].concat())].into();
    }
    let echo = |kind: u8, sequence: u8| {
        let [i1, i2] = identifier.to_be_bytes();
        [&[kind, 0, 0, 0, i1, i2, 0, sequence], &text(56)[..]].concat()
    };
    (0..5).flat_map(|sequence| [(false, echo(8, sequence)), (true, echo(0, sequence))]).collect()
}

fn udp(payload: &[u8], source: u16, destination: u16) -> Vec<u8> {
    let words = [source, destination, payload.len() as u16 + 8, 0];
    [&words.map(u16::to_be_bytes).concat(), payload].concat()
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
