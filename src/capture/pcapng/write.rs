//! Writes the blocks of a pcapng file, little-endian.

use std::io::{self, Write};
use std::net::IpAddr;

use super::names;
use super::options::{CapturedOption, Options};
use super::{
    BYTE_ORDER, ENHANCED_PACKET, EPB_FLAGS, IF_DESCRIPTION, IF_FILTER, IF_NAME, IF_TSRESOL, INTERFACE_DESCRIPTION,
    INTERFACE_STATISTICS, NAME_RESOLUTION, OPT_COMMENT, OPT_ENDOFOPT, SECTION_HEADER, SIMPLE_PACKET,
};
use crate::capture::{Captured, Direction, Interface, Point, Reception, Statistics};

const EPB_HASH: u16 = 3;
const EPB_DROPCOUNT: u16 = 4;
const EPB_PACKETID: u16 = 5;
const EPB_QUEUE: u16 = 6;
const CUSTOM_TEXT_ONCE: u16 = 19_372;
const CUSTOM_BYTES_ONCE: u16 = 19_373;

const SHB_USERAPPL: u16 = 4;
const ISB_STARTTIME: u16 = 2;
const ISB_ENDTIME: u16 = 3;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;
const ISB_FILTERACCEPT: u16 = 6;
const ISB_OSDROP: u16 = 7;
const ISB_USRDELIV: u16 = 8;

/// How long a block of an interface's statistics is at most: three words and eight options around it.
const STATISTICS: usize = 12 + 12 + 7 * 12 + 4;

/// The program that a file says it is from.
const PROGRAM: &str = concat!("flowtrace ", env!("CARGO_PKG_VERSION"));

/// From when to when a capture ran, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
}

/// A pcapng file of one section, written from its first block to its last.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    digits: Vec<u8>,
    /// How many bytes the first interface keeps at most; 0 for all.
    snap_length: u32,
    written: u64,
    /// The block of the last packet, whose memory is used again.
    block: Vec<u8>,
}

impl Writer<Vec<u8>> {
    /// Begins a file in memory, whose interfaces are described as they are met ([`Self::interface`]).
    #[must_use]
    pub fn in_memory() -> Self {
        let out = section_header();
        let written = out.len() as u64;
        Self { out, digits: Vec::new(), snap_length: 0, written, block: Vec::new() }
    }
}

impl<W: Write> Writer<W> {
    /// Begins a file: the section header and a block for each interface. Fails where writing does.
    pub fn new(out: W, interfaces: &[Interface]) -> io::Result<Self> {
        let digits = interfaces.iter().map(|interface| interface.digits).collect();
        let snap_length = interfaces.first().map_or(0, |interface| interface.snap_length);
        let mut writer = Self { out, digits, snap_length, written: 0, block: Vec::new() };
        writer.put(&section_header())?;
        for interface in interfaces {
            writer.put(&interface_description(interface))?;
        }
        Ok(writer)
    }

    /// Writes a packet. Fails where writing does.
    pub fn packet(&mut self, packet: &Captured<'_>) -> io::Result<()> {
        let ticks = self.ticks(packet.interface, packet.time);
        let mut block = std::mem::take(&mut self.block);
        enhanced_packet(packet, ticks, &mut block);
        let written = self.put(&block);
        self.block = block;
        written
    }

    /// Describes one more interface, whose place among all it gives; packets may follow before. Times are nanoseconds.
    /// Fails where writing does.
    pub fn interface(&mut self, point: &Point) -> io::Result<u32> {
        let place = u32::try_from(self.digits.len()).unwrap_or(u32::MAX);
        if place == 0 {
            self.snap_length = point.snap_length;
        }
        self.digits.push(9);
        self.put(&point_description(point))?;
        Ok(place)
    }

    /// Says what an address is called. A reader that goes through the file once knows it from here on. Fails where writing
    /// does.
    pub fn name(&mut self, address: IpAddr, name: &str) -> io::Result<()> {
        self.put(&name_resolution(address, name))
    }

    /// Writes a packet of another capture, with what that says of it and more comments. Says whether its time is as it was:
    /// one without any has 1970, unless the block that has no time holds all of it. Fails where writing does.
    pub fn copy(&mut self, copy: &Copied<'_>) -> io::Result<bool> {
        let is_simple = copy.time.is_none() && self.is_simple(copy);
        let ticks = self.ticks(copy.interface, copy.time.unwrap_or(0));
        let block = if is_simple { simple_packet(copy) } else { copied_packet(copy, ticks) };
        self.put(&block)?;
        Ok(copy.time.is_some() || is_simple)
    }

    /// Whether a simple packet block holds a packet: it is of the first interface, as much of it as that keeps, and nothing
    /// is said of it.
    fn is_simple(&self, copy: &Copied<'_>) -> bool {
        let most = if self.snap_length == 0 { u32::MAX } else { self.snap_length };
        let is_plain = copy.options.clone().next().is_none() && copy.comments.is_empty();
        copy.interface == 0 && is_plain && length(copy.bytes) == copy.length.min(most)
    }

    /// What is written into.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the file with what each interface counted. Fails where writing does.
    pub fn finish(mut self, statistics: &[Statistics], filtered: bool, span: Span) -> io::Result<W> {
        for (interface, counted) in (0..).zip(statistics) {
            let span = Span { start: self.ticks(interface, span.start), end: self.ticks(interface, span.end) };
            self.put(&interface_statistics(interface, counted, filtered, span))?;
        }
        self.flush()?;
        Ok(self.out)
    }

    /// Hands on what is buffered. Fails where writing does.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// How many bytes the file has so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes the file will have with one more packet and its end.
    pub fn length_with(&self, packet: &Captured<'_>) -> u64 {
        self.written + (packet_length(packet) + STATISTICS * self.digits.len()) as u64
    }

    fn put(&mut self, block: &[u8]) -> io::Result<()> {
        self.out.write_all(block)?;
        self.written += block.len() as u64;
        Ok(())
    }

    /// A time in the unit that an interface's block announced.
    fn ticks(&self, interface: u32, nanoseconds: u64) -> u64 {
        let digits = usize::try_from(interface).ok().and_then(|place| self.digits.get(place));
        let dropped = 9_u32.saturating_sub(digits.copied().unwrap_or(9).into());
        nanoseconds / 10_u64.pow(dropped)
    }
}

/// A packet of another capture.
#[derive(Clone, Debug)]
pub struct Copied<'a> {
    /// The place of its interface, as [`Writer::interface`] gave it.
    pub interface: u32,
    /// Nanoseconds since 1970; `None` where that is not known.
    pub time: Option<u64>,
    /// Its length on the wire, in bytes.
    pub length: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What the other capture says of it.
    pub options: Options<'a>,
    /// Whether the bytes are those of the other capture, so that what it says of them still holds.
    pub is_same: bool,
    /// Comments beside those that it has.
    pub comments: &'a [String],
}

fn section_header() -> Vec<u8> {
    let mut body = Body::default();
    body.u32(BYTE_ORDER).u16(1).u16(0);
    // The section's length is not known while it is written.
    body.u64(u64::MAX);
    body.option(SHB_USERAPPL, PROGRAM.as_bytes());
    body.block(SECTION_HEADER)
}

fn interface_description(interface: &Interface) -> Vec<u8> {
    let mut body = Body::default();
    body.u16(interface.link_type).u16(0).u32(interface.snap_length);
    body.option(IF_NAME, interface.name.as_bytes());
    body.option(IF_TSRESOL, &[interface.digits]);
    if let Some(filter) = &interface.filter {
        // The first octet says that a filter in libpcap's words follows.
        let text: Vec<u8> = [0].into_iter().chain(filter.bytes()).collect();
        body.option(IF_FILTER, &text);
    }
    body.block(INTERFACE_DESCRIPTION)
}

fn point_description(point: &Point) -> Vec<u8> {
    let mut body = Body::default();
    body.u16(point.link_type.0).u16(0).u32(point.snap_length);
    if let Some(name) = &point.name {
        body.option(IF_NAME, name.as_bytes());
    }
    if let Some(description) = &point.description {
        body.option(IF_DESCRIPTION, description.as_bytes());
    }
    body.option(IF_TSRESOL, &[9]);
    if let Some(filter) = &point.filter {
        let text: Vec<u8> = [0].into_iter().chain(filter.bytes()).collect();
        body.option(IF_FILTER, &text);
    }
    body.block(INTERFACE_DESCRIPTION)
}

/// A record for the address, and one that ends the records.
fn name_resolution(address: IpAddr, name: &str) -> Vec<u8> {
    let (kind, octets) = match address {
        IpAddr::V4(address) => (names::IPV4, address.octets().to_vec()),
        IpAddr::V6(address) => (names::IPV6, address.octets().to_vec()),
    };
    let value = [&octets, name.as_bytes(), &[0]].concat();
    let mut body = Body::default();
    body.record(kind, &value).record(names::END, &[]);
    body.block(NAME_RESOLUTION)
}

/// A packet without a time, of the first interface.
fn simple_packet(copy: &Copied<'_>) -> Vec<u8> {
    let mut body = Body::default();
    body.u32(copy.length).bytes(copy.bytes);
    body.block(SIMPLE_PACKET)
}

fn copied_packet(copy: &Copied<'_>, ticks: u64) -> Vec<u8> {
    let mut body = Body::default();
    body.u32(copy.interface).time(ticks);
    body.u32(length(copy.bytes)).u32(copy.length);
    body.bytes(copy.bytes);
    let is_big_endian = copy.options.is_big_endian();
    for CapturedOption { code, value } in copy.options.clone() {
        match code {
            // Numbers stand in the section's byte order.
            EPB_FLAGS | EPB_DROPCOUNT | EPB_PACKETID | EPB_QUEUE if is_big_endian => {
                let turned: Vec<u8> = value.iter().rev().copied().collect();
                body.option(code, &turned);
            }
            EPB_HASH if !copy.is_same => {}
            // They say that they shall not be copied.
            CUSTOM_TEXT_ONCE | CUSTOM_BYTES_ONCE => {}
            code => {
                body.option(code, value);
            }
        }
    }
    for comment in copy.comments {
        body.option(OPT_COMMENT, comment.as_bytes());
    }
    body.block(ENHANCED_PACKET)
}

/// How long a packet's block is: seven words in front of its bytes, its options, and the length again.
fn packet_length(packet: &Captured<'_>) -> usize {
    28 + packet.bytes.len().next_multiple_of(4) + if packet.direction.is_some() { 12 } else { 0 } + 4
}

/// Puts a packet's block in place of what a buffer held. There is one for each packet, so that it is made at once.
fn enhanced_packet(packet: &Captured<'_>, ticks: u64, block: &mut Vec<u8>) {
    block.clear();
    let total = u32::try_from(packet_length(packet)).unwrap_or(u32::MAX);
    let [low, high] = [ticks & u64::from(u32::MAX), ticks >> 32].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
    let words = [ENHANCED_PACKET, total, packet.interface, high, low, length(&packet.bytes), packet.length];
    for word in words {
        block.extend_from_slice(&word.to_le_bytes());
    }
    block.extend_from_slice(&packet.bytes);
    block.resize(block.len().next_multiple_of(4), 0);
    if let Some(direction) = packet.direction {
        block.extend_from_slice(&EPB_FLAGS.to_le_bytes());
        block.extend_from_slice(&4_u16.to_le_bytes());
        block.extend_from_slice(&flags(direction).to_le_bytes());
        block.extend_from_slice(&u32::from(OPT_ENDOFOPT).to_le_bytes());
    }
    block.extend_from_slice(&total.to_le_bytes());
}

fn interface_statistics(interface: u32, counted: &Statistics, filtered: bool, span: Span) -> Vec<u8> {
    let mut body = Body::default();
    body.u32(interface).time(span.end);
    body.time_option(ISB_STARTTIME, span.start).time_option(ISB_ENDTIME, span.end);
    if !filtered {
        // Behind a filter, libpcap knows only what passed.
        body.option(ISB_IFRECV, &counted.received.to_le_bytes());
    }
    body.option(ISB_IFDROP, &counted.dropped_by_interface.to_le_bytes());
    body.option(ISB_FILTERACCEPT, &counted.received.to_le_bytes());
    body.option(ISB_OSDROP, &counted.dropped.to_le_bytes());
    body.option(ISB_USRDELIV, &counted.captured.to_le_bytes());
    body.block(INTERFACE_STATISTICS)
}

/// The bits of `epb_flags`: two for the direction, three for whom it was.
fn flags(direction: Direction) -> u32 {
    let reception = match direction {
        Direction::Out => return 0b10,
        Direction::In(Reception::Unicast) => 1,
        Direction::In(Reception::Multicast) => 2,
        Direction::In(Reception::Broadcast) => 3,
        Direction::In(Reception::Promiscuous) => 4,
    };
    0b01 | reception << 2
}

/// A length as the format has it. Nothing here comes near its limit.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// What stands between the two lengths of a block.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    has_options: bool,
}

impl Body {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// A time is two words, the upper one first whatever the byte order is.
    fn time(&mut self, ticks: u64) -> &mut Self {
        self.bytes.extend(halves(ticks));
        self
    }

    /// Bytes, filled up to a word.
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// An option. A text that is too long for one is cut.
    fn option(&mut self, code: u16, value: &[u8]) -> &mut Self {
        self.has_options = true;
        self.record(code, value)
    }

    /// A kind, a size and so many bytes, filled up to a word.
    fn record(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let size = u16::try_from(value.len()).unwrap_or(u16::MAX);
        let value = value.get(..size.into()).unwrap_or(value);
        self.u16(kind).u16(size).bytes(value)
    }

    fn time_option(&mut self, code: u16, ticks: u64) -> &mut Self {
        self.option(code, &halves(ticks))
    }

    fn block(mut self, kind: u32) -> Vec<u8> {
        if self.has_options {
            self.u16(OPT_ENDOFOPT).u16(0);
        }
        // The type and both lengths are a word each.
        let total = length(&self.bytes).saturating_add(12).to_le_bytes();
        [&kind.to_le_bytes()[..], &total, &self.bytes, &total].concat()
    }
}

fn halves(ticks: u64) -> Vec<u8> {
    let bytes = ticks.to_le_bytes();
    let (low, high) = bytes.split_at(4);
    [high, low].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block as it stands in a file.
    #[derive(Debug)]
    struct Block<'a> {
        kind: u32,
        body: &'a [u8],
    }

    fn u16_at(bytes: &[u8], at: usize) -> u16 {
        u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn time_at(bytes: &[u8], at: usize) -> u64 {
        u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
    }

    fn blocks(mut file: &[u8]) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        while !file.is_empty() {
            let total = u32_at(file, 4) as usize;
            assert_eq!((total % 4, u32_at(file, total - 4) as usize), (0, total));
            blocks.push(Block { kind: u32_at(file, 0), body: &file[8..total - 4] });
            file = &file[total..];
        }
        blocks
    }

    /// Code and value of each option; they end with opt_endofopt, and with the block.
    fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let mut options = Vec::new();
        while !bytes.is_empty() {
            let (code, size) = (u16_at(bytes, 0), usize::from(u16_at(bytes, 2)));
            if code == 0 {
                assert_eq!(bytes.len(), 4, "nothing stands behind the last option");
                return options;
            }
            options.push((code, bytes[4..4 + size].to_vec()));
            bytes = &bytes[4 + size.next_multiple_of(4)..];
        }
        assert!(options.is_empty(), "options have an end");
        options
    }

    fn interface(name: &str, digits: u8) -> Interface {
        Interface { name: name.to_owned(), link_type: 1, snap_length: 96, digits, filter: None }
    }

    fn packet(interface: u32, bytes: &[u8]) -> Captured<'_> {
        let time = 1_700_000_000_123_456_789;
        Captured { interface, time, length: 1500, bytes: bytes.into(), direction: None }
    }

    const SPAN: Span = Span { start: 5_000_000_000, end: 0x0001_2345_6789_abcd };

    fn file(interfaces: &[Interface], packets: &[Captured<'_>], statistics: &[Statistics]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), interfaces).unwrap();
        for packet in packets {
            writer.packet(packet).unwrap();
        }
        writer.finish(statistics, false, SPAN).unwrap()
    }

    #[test]
    fn the_section_header_says_the_byte_order_the_version_and_the_program() {
        let file = file(&[], &[], &[]);
        assert_eq!(&file[..4], b"\n\r\r\n");
        let body = blocks(&file)[0].body;
        assert_eq!(body[..16], *b"\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(options(&body[16..]), [(4, PROGRAM.as_bytes().to_vec())]);
    }

    #[test]
    fn an_interface_has_its_name_link_type_snap_length_resolution_and_filter() {
        let filtered = Interface { filter: Some("udp".to_owned()), link_type: 276, ..interface("any", 6) };
        let file = file(&[interface("eth0", 9), filtered], &[], &[]);
        let blocks = blocks(&file);
        assert_eq!(blocks.iter().map(|block| block.kind).collect::<Vec<_>>(), [0x0a0d_0d0a, 1, 1]);
        assert_eq!(blocks[1].body[..8], [1, 0, 0, 0, 96, 0, 0, 0]);
        assert_eq!(options(&blocks[1].body[8..]), [(2, b"eth0".to_vec()), (9, vec![9])]);
        assert_eq!(u16_at(blocks[2].body, 0), 276);
        assert_eq!(options(&blocks[2].body[8..]), [(2, b"any".to_vec()), (9, vec![6]), (11, b"\0udp".to_vec())]);
    }

    #[test]
    fn packets_of_any_length_are_filled_up_to_a_word() {
        let interfaces = [interface("a", 9), interface("b", 6)];
        for size in 0..9 {
            let bytes: Vec<u8> = (1..=size).collect();
            let file = file(&interfaces, &[packet(0, &bytes), packet(1, &bytes)], &[]);
            for (place, block) in blocks(&file)[3..].iter().enumerate() {
                assert_eq!((block.kind, u32_at(block.body, 0) as usize), (6, place));
                let time = [1_700_000_000_123_456_789, 1_700_000_000_123_456][place];
                assert_eq!(time_at(block.body, 4), time);
                assert_eq!((u32_at(block.body, 12), u32_at(block.body, 16)), (size.into(), 1500));
                let end = 20 + usize::from(size);
                assert_eq!(block.body[20..end], bytes);
                assert_eq!(block.body.len(), end.next_multiple_of(4));
            }
        }
    }

    #[test]
    fn the_direction_is_told_where_it_is_known() {
        let cases = [
            (Direction::Out, 2),
            (Direction::In(Reception::Unicast), 0x05),
            (Direction::In(Reception::Multicast), 0x09),
            (Direction::In(Reception::Broadcast), 0x0d),
            (Direction::In(Reception::Promiscuous), 0x11),
        ];
        for (direction, flags) in cases {
            let sent = Captured { direction: Some(direction), ..packet(0, b"abcde") };
            let file = file(&[interface("a", 9)], &[sent], &[]);
            assert_eq!(options(&blocks(&file)[2].body[28..]), [(2, vec![flags, 0, 0, 0])], "{direction:?}");
        }
    }

    #[test]
    fn the_file_ends_with_what_each_interface_counted() {
        let counted = Statistics { received: 70_000, dropped: 3, dropped_by_interface: 1, captured: 69_997 };
        let whole = file(&[interface("a", 9), interface("b", 6)], &[], &[counted, Statistics::default()]);
        let ends = blocks(&whole);
        assert_eq!((ends[3].kind, u32_at(ends[3].body, 0)), (5, 0));
        assert_eq!((ends[4].kind, u32_at(ends[4].body, 0)), (5, 1));
        assert_eq!(time_at(ends[3].body, 4), SPAN.end);
        assert_eq!(time_at(ends[4].body, 4), SPAN.end / 1000);
        let told = options(&ends[3].body[12..]);
        assert_eq!(told.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((time_at(&told[0].1, 0), time_at(&told[1].1, 0)), (SPAN.start, SPAN.end));
        let counts: Vec<u64> =
            told[2..].iter().map(|(_, value)| u64::from_le_bytes(value[..].try_into().unwrap())).collect();
        assert_eq!(counts, [70_000, 1, 70_000, 3, 69_997]);

        let writer = Writer::new(Vec::new(), &[interface("a", 9)]).unwrap();
        let filtered = writer.finish(&[counted], true, SPAN).unwrap();
        let told = options(&blocks(&filtered)[2].body[12..]);
        assert!(told.iter().all(|(code, _)| *code != 4), "what came in before the filter is not known");
    }

    #[test]
    fn the_length_to_come_is_never_told_too_short() {
        let interfaces = [interface("a", 9), interface("b", 9)];
        let mut writer = Writer::new(Vec::new(), &interfaces).unwrap();
        let more = Captured { direction: Some(Direction::Out), ..packet(1, b"1234567") };
        let told = writer.length_with(&more);
        writer.packet(&more).unwrap();
        let file = writer.finish(&[Statistics::default(); 2], false, SPAN).unwrap();
        assert_eq!(told, file.len() as u64);
    }

    #[test]
    fn a_text_that_no_option_can_hold_is_cut() {
        let long = Interface { filter: Some("x".repeat(70_000)), ..interface("a", 9) };
        let file = file(&[long], &[], &[]);
        assert_eq!(options(&blocks(&file)[1].body[8..])[2].1.len(), 65_535);
    }
}
