//! Finds the packets in the blocks of a pcapng file.

use std::collections::HashMap;
use std::sync::Arc;

use super::names::{self, Names};
use super::options::Options;
use super::resolution::Resolution;
use super::{
    BYTE_ORDER, ENHANCED_PACKET, IF_DESCRIPTION, IF_FILTER, IF_HARDWARE, IF_NAME, IF_TSOFFSET, IF_TSRESOL,
    INTERFACE_DESCRIPTION, NAME_RESOLUTION, PACKET, SECTION_HEADER, SIMPLE_PACKET,
};
use crate::capture::Point;
use crate::capture::batch::{MOST, Record};
use crate::capture::reader::{Found, LONGEST, Lost};
use crate::wire::{LinkType, Time};

/// The type and both lengths of a block.
const FRAME: usize = 12;

/// No file has more interfaces; what others name is not known.
const MOST_INTERFACES: usize = 16_384;
/// So many bytes of interfaces' names and descriptions are kept.
const MOST_TEXT: usize = 2 << 20;

/// Whether a file that begins so is a pcapng file.
pub(in crate::capture) fn is_section(magic: [u8; 4]) -> bool {
    u32::from_be_bytes(magic) == SECTION_HEADER
}

/// What the blocks read so far have said.
#[derive(Debug)]
pub(in crate::capture) struct Sections {
    file: usize,
    is_big_endian: bool,
    /// The interfaces of this section.
    interfaces: Vec<Interface>,
    /// The points by what describes them and their place in a section: another one that says the same has the same interfaces.
    known: HashMap<(usize, Point), u32>,
    /// Points that the batches' list doesn't have yet.
    new: Vec<Point>,
    /// How long what they are called is together, in bytes.
    text: usize,
    /// What the blocks call addresses.
    pub(in crate::capture) names: Arc<Names>,
    notes: Vec<String>,
    told: Told,
}

/// What was noted once, and is not again.
#[derive(Debug, Default)]
struct Told {
    interfaces: bool,
    lengths: bool,
    text: bool,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: LinkType,
    snap_length: u32,
    resolution: Resolution,
    /// Its place among all points.
    point: u32,
}

/// A block: its type, what stands between its lengths, and where that begins.
struct Block<'a> {
    kind: u32,
    body: &'a [u8],
    start: usize,
}

impl Sections {
    pub(in crate::capture) fn new(file: usize) -> Self {
        Self {
            file,
            is_big_endian: false,
            interfaces: Vec::new(),
            known: HashMap::new(),
            new: Vec::new(),
            text: 0,
            names: Arc::default(),
            notes: Vec::new(),
            told: Told::default(),
        }
    }

    /// What is wrong with the blocks read since this was asked last.
    pub(in crate::capture) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Adds the points described since.
    pub(in crate::capture) fn publish(&mut self, points: &mut Arc<Vec<Point>>) {
        if !self.new.is_empty() {
            Arc::make_mut(points).append(&mut self.new);
        }
    }

    fn u16(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    #[inline]
    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Finds the packets of the blocks that are whole. `offset` is where the bytes stand in the file.
    pub(in crate::capture) fn find(&mut self, data: &[u8], offset: u64, records: &mut Vec<Record>) -> Found {
        let mut to = 0;
        let lost = loop {
            if records.len() >= MOST {
                break Lost::Enough;
            }
            match self.block(data, to) {
                Ok(block) => {
                    let end = block.start + block.body.len() + 4;
                    let at = offset + to as u64;
                    self.check_length(data, &block, end, at);
                    if let Err(why) = self.take(&block, at, records) {
                        break Lost::Broken(why);
                    }
                    to = end;
                }
                Err(lost) => break lost,
            }
        };
        Found { to, lost }
    }

    /// The block at an offset.
    #[inline]
    fn block<'a>(&mut self, data: &'a [u8], at: usize) -> Result<Block<'a>, Lost> {
        let Some(head) = data.get(at..).and_then(<[u8]>::first_chunk::<12>) else { return Err(Lost::More(FRAME)) };
        let kind = self.u32(head, 0).unwrap_or(0);
        if kind == SECTION_HEADER {
            // Its byte order is its own.
            self.is_big_endian = match head {
                [.., 0x1a, 0x2b, 0x3c, 0x4d] => true,
                [.., 0x4d, 0x3c, 0x2b, 0x1a] => false,
                _ => return Err(Lost::Broken(format!("a section without the byte order mark {BYTE_ORDER:#x}"))),
            };
        }
        let total = self.u32(head, 4).unwrap_or(0);
        let size = total as usize;
        if size < FRAME || !size.is_multiple_of(4) {
            return Err(Lost::Broken(format!("a block says a length of {total}, which none can have")));
        }
        if size > LONGEST {
            let has_packet = matches!(kind, ENHANCED_PACKET | SIMPLE_PACKET | PACKET);
            return Err(if has_packet { Lost::TooLong(total.into()) } else { Lost::Pass(total.into()) });
        }
        let Some(body) = data.get(at + 8..at + size - 4) else { return Err(Lost::More(size)) };
        if data.len() < at + size {
            return Err(Lost::More(size));
        }
        Ok(Block { kind, body, start: at + 8 })
    }

    /// A block's length stands behind it once more.
    #[inline]
    fn check_length(&mut self, data: &[u8], block: &Block<'_>, end: usize, at: u64) {
        let size = end - block.start + 8;
        if self.u32(data, end - 4).is_none_or(|again| again as usize != size) && !self.told.lengths {
            self.told.lengths = true;
            self.notes.push(format!("the block at byte {at} says two different lengths; the first one is taken"));
        }
    }

    /// Takes what a block says.
    #[inline]
    fn take(&mut self, block: &Block<'_>, at: u64, records: &mut Vec<Record>) -> Result<(), String> {
        match block.kind {
            ENHANCED_PACKET => self.enhanced(block, at, records),
            SECTION_HEADER => self.section(block),
            INTERFACE_DESCRIPTION => self.interface(block),
            SIMPLE_PACKET => self.simple(block, at, records),
            PACKET => self.obsolete(block, at, records),
            NAME_RESOLUTION => {
                self.named(block);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn section(&mut self, block: &Block<'_>) -> Result<(), String> {
        let major = self.u16(block.body, 4).ok_or("a section header that is too short")?;
        if major != 1 {
            return Err(format!("a section of version {major}, and only 1 is known"));
        }
        self.interfaces.clear();
        Ok(())
    }

    #[cold]
    fn named(&mut self, block: &Block<'_>) {
        let is_big_endian = self.is_big_endian;
        let u16 = |bytes| if is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
        names::take(block.body, u16, &mut self.names);
    }

    fn interface(&mut self, block: &Block<'_>) -> Result<(), String> {
        let (Some(link_type), Some(snap_length)) = (self.u16(block.body, 0), self.u32(block.body, 4)) else {
            return Err("an interface description that is too short".to_owned());
        };
        if self.known.len().max(self.interfaces.len()) >= MOST_INTERFACES {
            self.too_many();
            return Ok(());
        }
        let mut point = Point { link_type: LinkType(link_type), snap_length, ..Point::new(self.file) };
        let (mut resolution, mut hardware) = (Resolution::default(), None);
        for option in Options::new(block.body.get(8..).unwrap_or_default(), self.is_big_endian) {
            let text = || Some(String::from_utf8_lossy(option.value).trim_end_matches('\0').to_owned());
            match (option.code, option.value) {
                // The first of several counts, as to tshark.
                (IF_NAME, _) => point.name = point.name.or_else(text),
                (IF_DESCRIPTION, _) => point.description = point.description.or_else(text),
                (IF_HARDWARE, _) => hardware = hardware.or_else(text),
                // The first octet says that it is in libpcap's words.
                (IF_FILTER, [0, filter @ ..]) => point.filter = Some(String::from_utf8_lossy(filter).into_owned()),
                (IF_TSRESOL, [octet, ..]) => resolution.set_unit(*octet),
                (IF_TSOFFSET, value) => resolution.set_offset(self.i64(value).unwrap_or(0)),
                _ => {}
            }
        }
        let label = point.name.clone().or_else(|| point.description.clone()).or(hardware);
        point.label = label.or_else(|| Some("unknown".to_owned()));
        let (link_type, point) = (point.link_type, self.place(point));
        self.interfaces.push(Interface { link_type, snap_length, resolution, point });
        Ok(())
    }

    /// The place of a point among all of them.
    fn place(&mut self, point: Point) -> u32 {
        let mut key = (self.interfaces.len(), point);
        if let Some(place) = self.known.get(&key) {
            return *place;
        }
        let Point { name, description, label, filter, .. } = &key.1;
        let size: usize = [name, description, label, filter].into_iter().flatten().map(String::len).sum();
        if self.text + size <= MOST_TEXT {
            self.text += size;
        } else {
            self.too_long();
            key.1 = Point { name: None, description: None, label: Some("unknown".to_owned()), filter: None, ..key.1 };
            if let Some(place) = self.known.get(&key) {
                return *place;
            }
        }
        let place = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        self.new.push(key.1.clone());
        self.known.insert(key, place);
        place
    }

    #[cold]
    fn too_long(&mut self) {
        if !self.told.text {
            self.told.text = true;
            self.notes.push("the names of the interfaces are longer than what is kept: some have none here".to_owned());
        }
    }

    #[cold]
    fn too_many(&mut self) {
        if !self.told.interfaces {
            self.told.interfaces = true;
            self.notes.push(format!(
                "more than {MOST_INTERFACES} interfaces are described: packets of the others are not decoded"
            ));
        }
    }

    fn i64(&self, value: &[u8]) -> Option<i64> {
        let bytes = *value.first_chunk()?;
        Some(if self.is_big_endian { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) })
    }

    #[inline]
    fn enhanced(&mut self, block: &Block<'_>, at: u64, records: &mut Vec<Record>) -> Result<(), String> {
        let Some(head) = block.body.first_chunk::<20>() else { return Err(too_short()) };
        let word = |place: usize| self.u32(head, place * 4).unwrap_or(0);
        let packet = Packet {
            interface: word(0),
            ticks: Some(u64::from(word(1)) << 32 | u64::from(word(2))),
            captured: word(3),
            length: word(4),
            header: 20,
        };
        self.packet(block, at, packet, records)
    }

    fn obsolete(&mut self, block: &Block<'_>, at: u64, records: &mut Vec<Record>) -> Result<(), String> {
        let Some(head) = block.body.first_chunk::<20>() else { return Err(too_short()) };
        let word = |place: usize| self.u32(head, place * 4).unwrap_or(0);
        let packet = Packet {
            // A half word each: the interface, and how many packets were dropped.
            interface: self.u16(head, 0).unwrap_or(0).into(),
            ticks: Some(u64::from(word(1)) << 32 | u64::from(word(2))),
            captured: word(3),
            length: word(4),
            header: 20,
        };
        self.packet(block, at, packet, records)
    }

    /// A packet of the first interface, without a time, of which as much is there as the block holds.
    fn simple(&mut self, block: &Block<'_>, at: u64, records: &mut Vec<Record>) -> Result<(), String> {
        let length = self.u32(block.body, 0).ok_or_else(too_short)?;
        let snap_length = self.interfaces.first().map_or(0, |interface| interface.snap_length);
        let most = if snap_length == 0 { u32::MAX } else { snap_length };
        let there = u32::try_from(block.body.len() - 4).unwrap_or(u32::MAX);
        let captured = length.min(most).min(there);
        self.packet(block, at, Packet { interface: 0, ticks: None, captured, length, header: 4 }, records)
    }

    #[inline]
    fn packet(&mut self, block: &Block<'_>, at: u64, packet: Packet, records: &mut Vec<Record>) -> Result<(), String> {
        let start = block.start + packet.header;
        let padded = (packet.captured as usize).next_multiple_of(4);
        let Some(options) = (block.body.len() - packet.header).checked_sub(padded) else {
            let there = block.body.len() - packet.header;
            return Err(format!("a packet of {} bytes in a block that has {there} for it", packet.captured));
        };
        let interface = self.interfaces.get(packet.interface as usize).copied();
        if interface.is_none() {
            self.not_described(packet.interface, at);
        }
        let resolution = interface.map(|interface| interface.resolution).unwrap_or_default();
        records.push(Record {
            time: packet.ticks.map(|ticks| -> Time { resolution.time(ticks) }),
            start: u32::try_from(start).unwrap_or(u32::MAX),
            captured: packet.captured,
            length: packet.length,
            point: interface.map_or(u32::MAX, |interface| interface.point),
            link_type: interface.map_or(LinkType::UNKNOWN, |interface| interface.link_type),
            options: u32::try_from(options).unwrap_or(0),
            is_big_endian: self.is_big_endian,
        });
        Ok(())
    }

    #[cold]
    fn not_described(&mut self, interface: u32, at: u64) {
        if !self.told.interfaces {
            self.told.interfaces = true;
            self.notes.push(format!(
                "the packet at byte {at} names interface {interface}, which is not described: such packets are not decoded"
            ));
        }
    }
}

/// What a packet's block says before the packet's bytes.
#[derive(Clone, Copy)]
struct Packet {
    interface: u32,
    ticks: Option<u64>,
    captured: u32,
    length: u32,
    /// How many bytes of the body stand before the packet's.
    header: usize,
}

fn too_short() -> String {
    "a packet's block that is too short".to_owned()
}
