//! Captures as text, so that they are changed as all inputs are: words of hexadecimal digits are bytes, and all other words
//! are nothing.

use std::hint::black_box;
use std::io::Cursor;

use flowtrace::capture::batch::Batch;
use flowtrace::capture::reader::Reader;
use flowtrace::render::decode::{Buffer, Columns, Extra, Field, Painter, RecordStyle, Shown, View, field_list};
use flowtrace::wire::{Decoded, Dissector, Flows, Frame, Gathering, LinkType, Ports, Reassembler};

/// The header of a pcap file of Ethernet.
pub const PCAP: &str = "d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000\n";

/// A section's header, and an interface of Ethernet with a name and nanoseconds.
pub const PCAPNG: &str = "0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffff ffffffff 1c000000\n\
                          01000000 24000000 0100 0000 00000000 0200 0300 6e316500 0900 0100 09000000 24000000\n";

/// The bytes that a text stands for.
pub fn bytes(text: &str) -> Vec<u8> {
    let is_hex = |word: &&str| word.len().is_multiple_of(2) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = text.split_ascii_whitespace().filter(is_hex);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("0"), 16).unwrap_or(0);
    words.flat_map(|word| word.as_bytes().chunks(2).map(byte)).collect()
}

/// The lines of the seeds, which are packets behind their link types, as records of a pcap file.
pub fn records(packets: &str) -> String {
    packets.lines().filter_map(|line| line.split_once(' ')).map(|(_, packet)| record(packet)).collect()
}

fn word(number: usize) -> String {
    u32::try_from(number).unwrap_or(0).to_le_bytes().map(|byte| format!("{byte:02x}")).concat()
}

fn record(packet: &str) -> String {
    let size = word(bytes(packet).len());
    format!("00f15365 40e20100 {size} {size} {packet}\n")
}

/// The same as blocks of a pcapng file, with a comment and a direction.
pub fn blocks(packets: &str) -> String {
    packets.lines().filter_map(|line| line.split_once(' ')).map(|(_, packet)| block(packet)).collect()
}

fn block(packet: &str) -> String {
    let size = bytes(packet).len();
    let padding = "00 ".repeat(size.next_multiple_of(4) - size);
    let total = word(size.next_multiple_of(4) + 56);
    let size = word(size);
    let options = "0100 0500 68656c6c6f000000 0200 0400 02000000 0000 0000";
    format!("06000000 {total} 00000000 25979717 00007a3d {size} {size} {packet} {padding} {options} {total}\n")
}

/// Reads a capture as `decode` does.
pub fn read(file: Vec<u8>) {
    let Ok(mut reader) = Reader::new(Cursor::new(file), 0) else { return };
    let mut views = Views::new();
    let mut batch = Batch::default();
    while reader.fill(&mut batch) {
        for (place, frame) in batch.frames().enumerate() {
            let options = batch.options(place);
            black_box((options.clone().direction(), options.comments().count()));
            views.packet(&frame);
        }
    }
    black_box((reader.notes(), views.flows.iter().count()));
}

/// Reads one packet, behind the number of its link type.
pub fn packet(bytes: &[u8]) {
    let Some(([high, low], bytes)) = bytes.split_first_chunk() else { return };
    let link_type = LinkType(u16::from_be_bytes([*high, *low]));
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let mut views = Views::new();
    for length in [length, length + 100] {
        views.packet(&Frame { number: 1, time: None, interface: 0, link_type, length, bytes });
    }
}

/// Everything that is asked of a packet.
struct Views {
    dissector: Dissector,
    reassembler: Reassembler,
    flows: Flows,
    painters: Vec<Painter>,
    /// Rows of all of tshark's fields, put together in the fast way and in the slow one.
    rows: [Painter; 2],
    out: Buffer,
}

impl Views {
    fn new() -> Self {
        let extra = Extra { bytes: false, told: false, checksums: true, fragments: true };
        let views = [View::Line, View::Tree, View::Json(RecordStyle::Lines), View::Csv];
        let painters = views.into_iter().map(|view| Painter::new(view, extra)).collect();
        let fields: Vec<Field> =
            field_list().filter(|name| name.contains('.')).filter_map(|name| Field::of(name).ok()).collect();
        let row = |columns| Painter::new(View::Fields(fields.clone(), columns), extra);
        let rows = [row(Columns::Tabs), row(Columns::Commas)];
        let (dissector, out) = (Dissector::new(Ports::default()), Buffer::default());
        Self { dissector, reassembler: Reassembler::default(), flows: Flows::default(), painters, rows, out }
    }

    fn packet(&mut self, frame: &Frame<'_>) {
        let Self { dissector, reassembler, flows, painters, rows, out } = self;
        let decoded = dissector.decode(frame.link_type, frame.bytes, frame.length);
        flows.add(frame, &decoded);
        show(painters, out, frame, &decoded, &[]);
        compare(rows, out, frame, &decoded);
        let gathered = reassembler.add(frame.interface, frame.number, &decoded);
        if let Some(Gathering::Whole(whole)) = gathered {
            let length = u32::try_from(whole.bytes.len()).unwrap_or(0);
            let decoded = dissector.decode_within(frame.link_type, &whole.bytes, length, whole.start);
            show(painters, out, frame, &decoded, &whole.numbers);
        }
    }
}

/// The fast row has what the slow one has.
fn compare(rows: &mut [Painter; 2], out: &mut Buffer, frame: &Frame<'_>, decoded: &Decoded<'_>) {
    let shown = Shown {
        frame,
        decoded,
        interface: None,
        label: None,
        remarks: &[],
        told: None,
        checksums: None,
        fragments: Some(&[]),
    };
    let [fast, slow] = rows.each_mut().map(|painter| {
        out.clear();
        painter.packet(&shown, out);
        String::from_utf8_lossy(out.text()).into_owned()
    });
    let mut is_quoted = false;
    let mut tabbed = String::new();
    for character in slow.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => tabbed.push('\t'),
            other => tabbed.push(other),
        }
    }
    assert_eq!(fast.replace('"', ""), tabbed);
}

fn show(painters: &mut [Painter], out: &mut Buffer, frame: &Frame<'_>, decoded: &Decoded<'_>, fragments: &[u64]) {
    black_box((decoded.packet().is_ok(), decoded.innermost_frame(), decoded.tunnels().count()));
    let checksums = decoded.checksums();
    for painter in painters {
        let shown = Shown {
            frame,
            decoded,
            interface: None,
            label: None,
            remarks: &[],
            told: None,
            checksums: Some(&checksums),
            fragments: Some(fragments),
        };
        out.clear();
        painter.packet(&shown, out);
        let is_clean = out.text().iter().all(|byte| matches!(byte, b'\n' | b' '..));
        assert!(is_clean, "{:?}", String::from_utf8_lossy(out.text()));
    }
}
