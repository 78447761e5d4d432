//! Captures, frame by frame.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use flowtrace::capture::pcapng::{Span, Writer};
use flowtrace::capture::{Captured, Interface};
use flowtrace::net::MacAddr;

/// A folder of its own for what a test writes.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pcap-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// An Ethernet frame with an IPv4 packet.
#[derive(Clone)]
pub struct Frame {
    ethernet: Vec<u8>,
    ip: Vec<u8>,
    transport: Vec<u8>,
    payload: usize,
}

impl Frame {
    pub fn new(source: &str, destination: &str) -> Self {
        let (source, destination): (MacAddr, MacAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        let ethernet = [&destination.0[..], &source.0, &[8, 0]].concat();
        Self { ethernet, ip: Vec::new(), transport: Vec::new(), payload: 0 }
    }

    /// An 802.1Q tag before those that the frame has.
    pub fn tag(mut self, vid: u16) -> Self {
        let [high, low] = vid.to_be_bytes();
        self.ethernet.splice(12..12, [0x81, 0x00, high, low]);
        self
    }

    pub fn ip(mut self, source: &str, destination: &str, ttl: u8) -> Self {
        let octets = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(_) => panic!("IPv4 is wanted"),
        };
        self.ip = vec![0x45, 0, 0, 0, 0, 7, 0, 0, ttl, 0, 0, 0];
        self.ip.extend(octets(source));
        self.ip.extend(octets(destination));
        self
    }

    /// The TOS octet.
    pub fn tos(mut self, tos: u8) -> Self {
        self.ip[1] = tos;
        self
    }

    /// So many bytes behind the transport header.
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    /// A segment with 20 bytes of options where it has SYN, as Linux sends it.
    pub fn tcp(mut self, source: u16, destination: u16, flags: u8) -> Self {
        let options = if flags & 0x02 == 0 { 0 } else { 20 };
        let offset = u8::try_from((20 + options) / 4).unwrap() << 4;
        self.ip[6] = 0x40;
        self.transport =
            [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0; 8], &[offset, flags, 0xff, 0xff]].concat();
        self.transport.extend([0; 4]);
        self.transport.extend(vec![1; options]);
        self.done(6)
    }

    pub fn udp(mut self, source: u16, destination: u16) -> Self {
        let length = u16::try_from(8 + self.payload).unwrap();
        self.transport = [source, destination, length, 0].map(u16::to_be_bytes).concat();
        self.done(17)
    }

    /// An echo request, or the answer to one, with an identifier.
    pub fn echo(mut self, kind: u8, id: u16) -> Self {
        self.transport = [&[kind, 0, 0, 0][..], &id.to_be_bytes(), &[0, 1]].concat();
        self.done(1)
    }

    /// Whatever stands behind the IP header.
    pub fn other(mut self, protocol: u8, bytes: &[u8]) -> Self {
        self.transport = bytes.to_vec();
        self.done(protocol)
    }

    /// Options of the IP header, a multiple of four bytes.
    pub fn options(mut self, bytes: &[u8]) -> Self {
        self.ip.extend(bytes);
        self.ip[0] = 0x40 | u8::try_from(self.ip.len() / 4).unwrap();
        self
    }

    fn done(mut self, protocol: u8) -> Self {
        self.ip[9] = protocol;
        self.transport.extend(vec![0x66; self.payload]);
        let length = u16::try_from(self.ip.len() + self.transport.len()).unwrap();
        self.ip[2..4].copy_from_slice(&length.to_be_bytes());
        self
    }

    /// Makes it a part of a packet.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        let field = (offset / 8) | if more { 0x2000 } else { 0 };
        self.ip[6..8].copy_from_slice(&field.to_be_bytes());
        self
    }

    /// Puts it into a tunnel packet.
    pub fn vxlan(&self, vni: u8, source: &str, destination: &str, link: (&str, &str)) -> Self {
        let inner = self.bytes();
        let mut outer = Self::new(link.0, link.1).ip(source, destination, 64);
        outer.payload = inner.len() + 8;
        let mut outer = outer.udp(50_000, 8472);
        let mut carried = vec![8, 0, 0, 0, 0, 0, vni, 0];
        carried.extend(inner);
        outer.transport.splice(8.., carried);
        outer
    }

    pub fn bytes(&self) -> Vec<u8> {
        [&self.ethernet[..], &self.ip, &self.transport].concat()
    }
}

/// A pcap file.
pub struct PcapFile(Vec<u8>);

impl PcapFile {
    pub fn new() -> Self {
        Self::of(1)
    }

    /// One of another link type than Ethernet.
    pub fn of(link_type: u32) -> Self {
        let words: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65535, link_type];
        Self(words.map(u32::to_le_bytes).concat())
    }

    pub fn add(mut self, frame: &Frame) -> Self {
        self = self.add_bytes(&frame.bytes());
        self
    }

    pub fn add_bytes(mut self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap();
        self.0.extend([1_700_000_000, 0, length, length].map(u32::to_le_bytes).concat());
        self.0.extend(bytes);
        self
    }

    pub fn write(&self, path: &Path) -> PathBuf {
        fs::write(path, &self.0).unwrap();
        path.to_owned()
    }
}

/// A pcapng file of several interfaces.
pub fn pcapng(path: &Path, interfaces: &[&str], packets: &[(u32, &Frame)]) -> PathBuf {
    let interface =
        |name: &&str| Interface { name: (*name).to_owned(), link_type: 1, snap_length: 0, digits: 9, filter: None };
    let interfaces: Vec<Interface> = interfaces.iter().map(interface).collect();
    let mut writer = Writer::new(Vec::new(), &interfaces).unwrap();
    for (interface, frame) in packets {
        let bytes = frame.bytes();
        let length = u32::try_from(bytes.len()).unwrap();
        writer
            .packet(&Captured { interface: *interface, time: 0, length, bytes: bytes.into(), direction: None })
            .unwrap();
    }
    fs::write(path, writer.finish(&[], false, Span { start: 0, end: 0 }).unwrap()).unwrap();
    path.to_owned()
}
