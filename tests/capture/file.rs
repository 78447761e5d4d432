//! Reads pcapng files, by the format's description alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::pair::PORT;

/// What a file holds.
#[derive(Debug, Default)]
pub struct File {
    /// Name and link type of each interface.
    pub interfaces: Vec<(String, u16)>,
    pub packets: Vec<Packet>,
    /// For each interface: passed the filter, dropped by the kernel, handed to the file.
    pub statistics: Vec<[u64; 3]>,
}

#[derive(Clone, Debug)]
pub struct Packet {
    pub interface: usize,
    /// Nanoseconds since 1970.
    pub time: u64,
    pub length: u32,
    pub bytes: Vec<u8>,
    pub flags: Option<u32>,
}

impl File {
    /// Reads a file that must be whole: every block, and at its end the statistics of every interface.
    pub fn whole(path: &Path) -> Self {
        let file = Self::parse(&fs::read(path).unwrap());
        assert_eq!(file.statistics.len(), file.interfaces.len(), "{}: the file has no end", path.display());
        let judged = Command::new("tcpdump").args(["-n", "-r"]).arg(path).output().unwrap();
        // tcpdump refuses files whose interfaces have several link types.
        if file.interfaces.iter().all(|(_, link_type)| *link_type == file.interfaces[0].1) {
            assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
            assert_eq!(judged.stdout.split_inclusive(|byte| *byte == b'\n').count(), file.packets.len());
        }
        file
    }

    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut file = Self::default();
        while !bytes.is_empty() {
            let total = u32_at(bytes, 4) as usize;
            assert_eq!(u32_at(bytes, total - 4) as usize, total, "a block is cut");
            file.block(u32_at(bytes, 0), &bytes[8..total - 4]);
            bytes = &bytes[total..];
        }
        file
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        match kind {
            0x0a0d_0d0a => assert_eq!(u32_at(body, 0), 0x1a2b_3c4d),
            1 => {
                let options = options(&body[8..]);
                assert_eq!(option(&options, 9), [9], "nanoseconds");
                let name = String::from_utf8(option(&options, 2).to_vec()).unwrap();
                self.interfaces.push((name, u16::from_le_bytes([body[0], body[1]])));
            }
            6 => self.packets.push(packet(body)),
            5 => {
                assert_eq!(u32_at(body, 0) as usize, self.statistics.len());
                let options = options(&body[12..]);
                let count = |code| u64::from_le_bytes(option(&options, code).try_into().unwrap());
                self.statistics.push([count(6), count(7), count(8)]);
            }
            kind => panic!("a block of type {kind}"),
        }
    }

    /// What was sent to the port of the tests: the device's name, and the number in the payload.
    pub fn sent(&self) -> Vec<(String, u64)> {
        self.packets.iter().filter_map(|packet| Some((self.name(packet).to_owned(), packet.number()?))).collect()
    }

    /// The numbers that were seen on one device.
    pub fn sent_on(&self, name: &str) -> Vec<u64> {
        self.sent().into_iter().filter(|(device, _)| device == name).map(|(_, number)| number).collect()
    }

    pub fn name(&self, packet: &Packet) -> &str {
        &self.interfaces[packet.interface].0
    }
}

impl Packet {
    /// The number that a datagram to the port of the tests carries, on Ethernet or a cooked link layer.
    pub fn number(&self) -> Option<u64> {
        let headers = [14, 20].into_iter().find(|at| self.bytes.get(*at) == Some(&0x45))?;
        let ip = &self.bytes[headers..];
        let port = u16::from_be_bytes([*ip.get(22)?, *ip.get(23)?]);
        (ip[9] == 17 && port == PORT).then(|| u64::from_be_bytes(ip[28..36].try_into().unwrap()))
    }
}

fn packet(body: &[u8]) -> Packet {
    let size = u32_at(body, 12) as usize;
    let options = options(&body[20 + size.next_multiple_of(4)..]);
    let flags = options.iter().find(|(code, _)| *code == 2).map(|(_, value)| u32_at(value, 0));
    Packet {
        interface: u32_at(body, 0) as usize,
        time: u64::from(u32_at(body, 4)) << 32 | u64::from(u32_at(body, 8)),
        length: u32_at(body, 16),
        bytes: body[20..20 + size].to_vec(),
        flags,
    }
}

fn options(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut options = Vec::new();
    while !bytes.is_empty() && bytes[..2] != [0, 0] {
        let size = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
        options.push((u16::from_le_bytes([bytes[0], bytes[1]]), &bytes[4..4 + size]));
        bytes = &bytes[4 + size.next_multiple_of(4)..];
    }
    options
}

fn option<'a>(options: &[(u16, &'a [u8])], code: u16) -> &'a [u8] {
    options.iter().find(|(known, _)| *known == code).unwrap_or_else(|| panic!("no option {code}")).1
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
