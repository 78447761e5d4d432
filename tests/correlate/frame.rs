//! Packets and captures as bytes.

/// A UDP datagram in an Ethernet frame.
#[derive(Clone, Debug)]
pub struct Frame {
    pub source: [u8; 4],
    pub destination: [u8; 4],
    pub ports: (u16, u16),
    pub ttl: u8,
    pub id: u16,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn datagram(source: [u8; 4], destination: [u8; 4], ports: (u16, u16), id: u16) -> Self {
        Self { source, destination, ports, ttl: 64, id, payload: format!("packet {id:5}").into_bytes() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut udp = [self.ports.0, self.ports.1, 8 + length(&self.payload), 0].map(u16::to_be_bytes).concat();
        udp.extend(&self.payload);
        let mut frame = vec![2, 0, 0, 0, 0, self.destination[3], 2, 0, 0, 0, 0, self.source[3], 8, 0];
        frame.extend(ip(self.source, self.destination, self.ttl, self.id, &udp));
        frame
    }

    /// A TCP segment in its place: with a sequence number and flags.
    pub fn in_tcp(&self, sequence: u32, flags: u8) -> Vec<u8> {
        let mut tcp = [self.ports.0, self.ports.1].map(u16::to_be_bytes).concat();
        tcp.extend([sequence, 1].map(u32::to_be_bytes).as_flattened());
        tcp.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        tcp.extend(&self.payload);
        // What UDP has before the payload is eight bytes long.
        let mut frame = Self { payload: tcp[8..].to_vec(), ..self.clone() }.bytes();
        frame[23] = 6;
        frame[34..42].copy_from_slice(&tcp[..8]);
        frame
    }

    /// In a tunnel between two nodes.
    pub fn in_vxlan(&self, (from, to): ([u8; 4], [u8; 4])) -> Vec<u8> {
        vxlan(&self.bytes(), (from, to), self.id.wrapping_mul(7))
    }
}

/// A frame in a tunnel between two nodes.
pub fn vxlan(inner: &[u8], (from, to): ([u8; 4], [u8; 4]), id: u16) -> Vec<u8> {
    let mut udp = [50_000, 8472, 16 + length(inner), 0].map(u16::to_be_bytes).concat();
    udp.extend([8, 0, 0, 0, 0, 0, 1, 0]);
    udp.extend(inner);
    let mut frame = vec![2, 0, 0, 0, 1, to[3], 2, 0, 0, 0, 1, from[3], 8, 0];
    frame.extend(ip(from, to, 64, id, &udp));
    frame
}

fn length(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap()
}

fn ip(source: [u8; 4], destination: [u8; 4], ttl: u8, id: u16, body: &[u8]) -> Vec<u8> {
    let [l0, l1] = (20 + length(body)).to_be_bytes();
    let [i0, i1] = id.to_be_bytes();
    let mut packet = vec![0x45, 0, l0, l1, i0, i1, 0x40, 0, ttl, 17, 0, 0];
    packet.extend([source, destination].as_flattened());
    packet.extend(body);
    packet
}

/// A pcap file with nanoseconds.
pub fn pcap(frames: &[(i64, Vec<u8>)]) -> Vec<u8> {
    cut(frames, usize::MAX)
}

/// The same, of which so many bytes of each packet were kept.
pub fn cut(frames: &[(i64, Vec<u8>)], snap_length: usize) -> Vec<u8> {
    let mut file = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1].map(u32::to_le_bytes).concat();
    for (time, bytes) in frames {
        let seconds = u32::try_from(time.div_euclid(1_000_000_000)).unwrap();
        let nanoseconds = u32::try_from(time.rem_euclid(1_000_000_000)).unwrap();
        let size = u32::try_from(bytes.len()).unwrap();
        let kept = &bytes[..bytes.len().min(snap_length)];
        let captured = u32::try_from(kept.len()).unwrap();
        file.extend([seconds, nanoseconds, captured, size].map(u32::to_le_bytes).as_flattened());
        file.extend(kept);
    }
    file
}

/// The packets of such a file.
pub fn read(file: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let (mut frames, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let size = word(at + 8) as usize;
        let time = i64::from(word(at)) * 1_000_000_000 + i64::from(word(at + 4));
        frames.push((time, file[at + 16..at + 16 + size].to_vec()));
        at += 16 + size;
    }
    frames
}
