//! Captures of ten points that packets pass one after the other, on two nodes whose clocks differ.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The points on the way from a pod to another node's, by the names that files have.
pub const POINTS: [&str; 10] = [
    "n1.default_pod1.eth0",
    "n1.veth0000",
    "n1.cni0",
    "n1.flannel.1",
    "n1.eth0",
    "n2.eth0",
    "n2.flannel.1",
    "n2.cni0",
    "n2.veth0000",
    "n2.default_pod2.eth0",
];

/// How far the second node's clock is ahead, in nanoseconds.
const AHEAD: u64 = 5_000_000;
/// How many conversations there are.
const FLOWS: u32 = 200;

/// A folder with the captures, gone when it is dropped.
pub struct Captures {
    folder: PathBuf,
    /// The files, in the order of the points.
    pub files: Vec<PathBuf>,
}

impl Drop for Captures {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Captures {
    /// Writes captures in which every packet is at every point.
    pub fn write(packets: u32) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("flowtrace-bench-{}-captures", std::process::id()));
        fs::create_dir_all(&folder)?;
        let files: Vec<PathBuf> = POINTS.iter().map(|point| folder.join(format!("{point}.pcap"))).collect();
        let captures = Self { folder, files };
        for (place, file) in captures.files.iter().enumerate() {
            write(place, file, packets)?;
        }
        Ok(captures)
    }
}

/// The file of one point.
fn write(place: usize, file: &Path, packets: u32) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    let head = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1];
    head.iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))?;
    let mut frame = Vec::new();
    for number in 0..packets {
        let back = number % 3 == 2;
        let step = if back { POINTS.len() - 1 - place } else { place };
        frame.clear();
        inner(&mut frame, number, back, step);
        if place == 4 || place == 5 {
            wrap(&mut frame, number, back);
        }
        // 50,000 packets a second, some microseconds from point to point, a little more by chance.
        let clock = if place >= 5 { AHEAD } else { 0 };
        let wait = u64::from(number.wrapping_mul(2_654_435_761) >> 20);
        let time = u64::from(number) * 20_000 + step as u64 * 6_000 + wait / 4 + clock;
        let length = u32::try_from(frame.len()).unwrap_or(0);
        let seconds = u32::try_from(1_700_000_000 + time / 1_000_000_000).unwrap_or(0);
        let nanoseconds = u32::try_from(time % 1_000_000_000).unwrap_or(0);
        for word in [seconds, nanoseconds, length, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(&frame)?;
    }
    out.flush()
}

/// The packet between the pods: most of TCP, with data one way and acknowledgements the other way, some of UDP.
fn inner(frame: &mut Vec<u8>, number: u32, back: bool, step: usize) {
    let flow = number / 3 % FLOWS;
    let turn = number / 3 / FLOWS;
    let is_udp = flow.is_multiple_of(10);
    let data: usize = match (is_udp, back) {
        (true, _) => 64 + (number % 700) as usize,
        (false, true) => 0,
        (false, false) => 200 + (number.wrapping_mul(7919) % 800) as usize,
    };
    let hop = u8::try_from(step).unwrap_or(0);
    frame.extend([2, 0, 0, 0, hop, 1, 2, 0, 0, 0, hop, 0, 8, 0]);
    let header = if is_udp { 8 } else { 32 };
    let length = u16::try_from(20 + header + data).unwrap_or(0);
    let ttl = 64 - u8::from(step >= 3) - u8::from(step >= 7);
    let id = u16::try_from(number & 0xffff).unwrap_or(0);
    ipv4(frame, length, id, ttl, if is_udp { 17 } else { 6 });
    let (client, server) = ([10, 244, 1, 2], [10, 244, 2, 2]);
    frame.extend(if back { [server, client] } else { [client, server] }.as_flattened());
    let port = u16::try_from(30_000 + flow).unwrap_or(0);
    let ports = if back { [80, port] } else { [port, 80] };
    frame.extend(ports.map(u16::to_be_bytes).as_flattened());
    if is_udp {
        frame.extend(u16::try_from(8 + data).unwrap_or(0).to_be_bytes());
        frame.extend([0x12, 0x34]);
    } else {
        let (sequence, acknowledged) = (turn.wrapping_mul(2_000).wrapping_add(number % 3 * 1_000), turn * 2_000);
        let numbers = if back { [flow << 20, acknowledged] } else { [sequence, flow << 20] };
        frame.extend(numbers.map(u32::to_be_bytes).as_flattened());
        frame.extend([0x80, 0x10, 0x01, 0xf5, 0x12, 0x34, 0, 0, 1, 1, 8, 10]);
        frame.extend([number / 50, number / 51 + flow].map(u32::to_be_bytes).as_flattened());
    }
    let from = frame.len();
    frame.resize(from + data, 0x5a);
    if let Some(start) = frame.get_mut(from..from + 4) {
        start.copy_from_slice(&number.to_be_bytes());
    }
}

/// An IPv4 header up to its addresses.
fn ipv4(frame: &mut Vec<u8>, length: u16, id: u16, ttl: u8, protocol: u8) {
    let ([l0, l1], [i0, i1]) = (length.to_be_bytes(), id.to_be_bytes());
    frame.extend([0x45, 0, l0, l1, i0, i1, 0x40, 0, ttl, protocol, 0, 0]);
}

/// Puts a frame into VXLAN between the nodes.
fn wrap(frame: &mut Vec<u8>, number: u32, back: bool) {
    let inner = std::mem::take(frame);
    frame.extend([2, 1, 0, 0, 0, 1, 2, 1, 0, 0, 0, 2, 8, 0]);
    let length = u16::try_from(inner.len() + 36).unwrap_or(0);
    ipv4(frame, length, u16::try_from(number.wrapping_mul(13) & 0xffff).unwrap_or(0), 64, 17);
    let (one, other) = ([192, 0, 2, 11], [192, 0, 2, 12]);
    frame.extend(if back { [other, one] } else { [one, other] }.as_flattened());
    let port = u16::try_from(40_000 + number / 3 % FLOWS).unwrap_or(0);
    frame.extend([port, 8472, length - 20, 0].map(u16::to_be_bytes).as_flattened());
    frame.extend([8, 0, 0, 0, 0, 0, 1, 0]);
    frame.extend(inner);
}
