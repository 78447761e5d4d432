//! Packets as a capture file holds them.

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The bytes that were captured.
    pub bytes: Vec<u8>,
    /// The length on the wire.
    pub length: u32,
}

/// Packets of one link layer.
#[derive(Clone, Debug)]
pub struct Capture {
    pub name: String,
    /// A LINKTYPE value.
    pub link_type: u16,
    pub packets: Vec<Packet>,
}

impl Capture {
    /// What a pcap file of it holds.
    pub fn file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, u32::from(self.link_type)] {
            file.extend(word.to_le_bytes());
        }
        for (second, packet) in (0_u32..).zip(&self.packets) {
            let captured = u32::try_from(packet.bytes.len()).unwrap();
            for word in [second, 0, captured, packet.length] {
                file.extend(word.to_le_bytes());
            }
            file.extend(&packet.bytes);
        }
        file
    }

    /// The packets of a pcap file of this machine's byte order, with the seconds of their times.
    pub fn read(file: &[u8]) -> Option<(u16, Vec<(u32, Packet)>)> {
        let word = |at: usize| file.get(at..at + 4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
        if !matches!(word(0)?, 0xa1b2_c3d4 | 0xa1b2_3c4d) {
            return None;
        }
        let link_type = u16::try_from(word(20)? & 0xffff).ok()?;
        let (mut packets, mut at) = (Vec::new(), 24);
        while let (Some(second), Some(captured), Some(length)) = (word(at), word(at + 8), word(at + 12)) {
            let bytes = file.get(at + 16..at + 16 + captured as usize)?.to_vec();
            at += 16 + bytes.len();
            packets.push((second, Packet { bytes, length }));
        }
        Some((link_type, packets))
    }

    /// The same packets with some of them cut off.
    pub fn cut(&self, name: &str, mut captured: impl FnMut(usize) -> usize) -> Self {
        let cut = |packet: &Packet| {
            let mut packet = packet.clone();
            packet.bytes.truncate(captured(packet.bytes.len()));
            packet
        };
        let packets = self.packets.iter().map(cut).collect();
        Self { name: format!("{}, {name}", self.name), link_type: self.link_type, packets }
    }

    /// The packets of Ethernet in another link layer, as far as it can carry them.
    pub fn relinked(&self, link_type: u16) -> Self {
        let name = format!("{} as link type {link_type}", self.name);
        let packets = self.packets.iter().filter_map(|packet| relinked(packet, link_type)).collect();
        Self { name, link_type, packets }
    }
}

/// Link layers that packets of Ethernet are put into.
pub const OTHERS: [u16; 10] = [0, 9, 50, 51, 101, 108, 113, 228, 229, 276];

fn relinked(packet: &Packet, link_type: u16) -> Option<Packet> {
    let (header, payload) = packet.bytes.split_at_checked(14)?;
    let (addresses, ether_type) = header.split_at(12);
    let length = u16::from_be_bytes(ether_type.try_into().unwrap());
    let mut bytes = match link_type {
        0 => family(length)?.to_le_bytes().to_vec(),
        108 => family(length)?.to_be_bytes().to_vec(),
        9 | 50 => [&[0xff, 3], &ppp(length)?.to_be_bytes()[..]].concat(),
        51 => [&[0x11, 0, 0, 7, 0, 99], &ppp(length)?.to_be_bytes()[..]].concat(),
        101 if !matches!(length, 0x0800 | 0x86dd) => return None,
        228 if length != 0x0800 => return None,
        229 if length != 0x86dd => return None,
        101 | 228 | 229 => Vec::new(),
        113 | 276 => cooked(addresses, length, link_type == 276),
        _ => return None,
    };
    let (before, after) = (14, u32::try_from(bytes.len()).unwrap());
    bytes.extend(payload);
    Some(Packet { bytes, length: packet.length - before + after })
}

/// Some packets are as other BSDs number IPv6.
fn family(ether_type: u16) -> Option<u32> {
    match ether_type {
        0x0800 => Some(2),
        0x86dd => Some(30),
        0x0806 => Some(24),
        _ => None,
    }
}

fn ppp(ether_type: u16) -> Option<u16> {
    match ether_type {
        0x0800 => Some(0x21),
        0x86dd => Some(0x57),
        0x8847 => Some(0x281),
        0x0806 => Some(0x31),
        _ => None,
    }
}

fn cooked(addresses: &[u8], ether_type: u16, is_second: bool) -> Vec<u8> {
    let direction = if addresses[5].is_multiple_of(2) { 4 } else { addresses[5] % 4 };
    let ether_type = if ether_type <= 1500 { 4_u16 } else { ether_type }.to_be_bytes();
    let address = [&addresses[6..12], &[0, 0][..]].concat();
    if is_second {
        let device = [0, 0, 0, 0, 0, addresses[11] % 4];
        [&ether_type[..], &device, &[0, 1, direction, 6], &address].concat()
    } else {
        [&[0, direction, 0, 1, 0, 6], &address[..], &ether_type].concat()
    }
}
