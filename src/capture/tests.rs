//! Files built byte by byte, and read back.

use std::io::{self, Cursor, Read, Write as _};
use std::net::IpAddr;

use super::batch::Batch;
use super::pcapng::Writer;
use super::reader::{Fault, Reader};
use super::several::Several;
use super::{Captured, Direction, Interface};
use crate::wire::{LinkType, Time};

/// What is told of a packet: its time, its length, its bytes, its link type and its point's name.
type Seen = (Option<(i64, u32)>, u32, Vec<u8>, u16, Option<String>);

fn read(file: &[u8]) -> (Vec<Seen>, Vec<String>) {
    let mut reader = Reader::new(Cursor::new(file.to_vec()), 0).unwrap();
    let mut batch = Batch::default();
    let mut seen = Vec::new();
    while reader.fill(&mut batch) {
        seen.extend(batch.frames().map(|frame| {
            let name = batch.points().get(frame.interface as usize).and_then(|point| point.name.clone());
            let time = frame.time.map(|time| (time.seconds, time.nanoseconds));
            (time, frame.length, frame.bytes.to_vec(), frame.link_type.0, name)
        }));
    }
    (seen, reader.notes())
}

fn refusal(file: &[u8]) -> String {
    match Reader::new(Cursor::new(file.to_vec()), 0).err() {
        Some(Fault::Other(what)) => what,
        Some(Fault::Io(err)) => err.to_string(),
        None => panic!("it is a capture"),
    }
}

/// A pcap file: its magic number, whether it is big-endian, and its packets' seconds, parts and bytes.
fn pcap(magic: u32, is_big_endian: bool, packets: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let word = |number: u32| if is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut file = [magic, if is_big_endian { 0x0002_0004 } else { 0x0004_0002 }, 0, 0, 65_535, 101].map(word).concat();
    for (seconds, parts, bytes) in packets {
        let size = u32::try_from(bytes.len()).unwrap();
        file.extend([*seconds, *parts, size, size + 100].map(word).concat());
        if magic == 0xa1b2_cd34 {
            file.extend([0; 8]);
        }
        file.extend(*bytes);
    }
    file
}

/// A block of a pcapng file.
fn block(is_big_endian: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |number: u32| if is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let size = u32::try_from(body.len() + 12).unwrap();
    [&word(kind)[..], &word(size), &body, &word(size)].concat()
}

fn section(is_big_endian: bool) -> Vec<u8> {
    let body: &[u8] = if is_big_endian {
        &[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]
    } else {
        &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]
    };
    block(is_big_endian, 0x0a0d_0d0a, body)
}

/// An interface of a little-endian section.
fn described(link_type: u8, snap_length: u8, options: &[u8]) -> Vec<u8> {
    block(false, 1, &[&[link_type, 0, 0, 0, snap_length, 0, 0, 0], options].concat())
}

/// A packet of a little-endian section, at so many units.
fn enhanced(interface: u8, ticks: u32, bytes: &[u8], options: &[u8]) -> Vec<u8> {
    let size = u8::try_from(bytes.len()).unwrap();
    let mut body = vec![interface, 0, 0, 0, 0, 0, 0, 0];
    body.extend(ticks.to_le_bytes());
    body.extend([size, 0, 0, 0, size, 0, 0, 0]);
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options);
    block(false, 6, &body)
}

#[test]
fn pcap_of_either_order_and_every_unit_is_read() {
    let packets: [(u32, u32, &[u8]); 2] = [(7, 123_456, b"abc"), (4_000_000_000, 5, b"")];
    for is_big_endian in [false, true] {
        for (magic, unit) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1), (0xa1b2_cd34, 1000)] {
            let (seen, notes) = read(&pcap(magic, is_big_endian, &packets));
            let wanted = packets.map(|(seconds, parts, bytes)| {
                let size = u32::try_from(bytes.len()).unwrap();
                (Some((i64::from(seconds), parts * unit)), size + 100, bytes.to_vec(), 101, None)
            });
            assert_eq!((seen.as_slice(), notes.len()), (&wanted[..], 0), "{magic:#x} {is_big_endian}");
        }
    }
    let (seen, _) = read(&pcap(0xa1b2_c3d4, false, &[(7, 2_500_000, b"x")]));
    assert_eq!(seen[0].0, Some((9, 500_000_000)));
}

#[test]
fn a_file_that_was_cut_has_its_whole_packets_and_a_note() {
    let file = pcap(0xa1b2_c3d4, false, &[(1, 0, b"abc"), (2, 0, b"defgh")]);
    for kept in 24..file.len() {
        let (seen, notes) = read(&file[..kept]);
        let whole = usize::from(kept >= 43);
        assert_eq!(seen.len(), whole, "{kept}");
        assert_eq!(notes.len(), usize::from(kept != 24 && kept != 43), "{kept}: {notes:?}");
    }
    assert_eq!(read(&file[..50]).1, ["the file ends within a packet or block: at byte 43, 7 of 16 bytes are there"]);
    assert_eq!(read(&file[..60]).1, ["the file ends within a packet or block: at byte 43, 17 of 21 bytes are there"]);
}

#[test]
fn lengths_that_lie_take_no_memory_and_are_told() {
    let mut file = pcap(0xa1b2_c3d4, false, &[(1, 0, b"abc"), (2, 0, b"defgh")]);
    file[43 + 8..43 + 12].copy_from_slice(&[0xff, 0xff, 0xff, 0x00]);
    let (seen, notes) = read(&file);
    assert_eq!((seen.len(), notes.len()), (1, 1));
    file[43 + 8..43 + 12].copy_from_slice(&[0xff; 4]);
    let (seen, notes) = read(&file);
    assert_eq!(seen.len(), 1);
    assert_eq!(
        notes,
        [
            "the rest can't be read, from byte 43 on: a packet of 4294967295 bytes is announced, more than any capture has"
        ]
    );
    let mut file = [section(false), described(1, 0, &[]), enhanced(0, 1, b"abc", &[])].concat();
    file.extend([6, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let (seen, notes) = read(&file);
    assert_eq!((seen.len(), notes.len()), (1, 1));
    let mut file = [section(false), described(1, 0, &[])].concat();
    file.extend([9, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let (seen, notes) = read(&file);
    assert_eq!((seen.len(), notes.len()), (0, 1));
    assert!(notes[0].starts_with("the file ends within a block"), "{notes:?}");
}

#[test]
fn what_is_no_capture_is_refused_with_what_it_begins_with() {
    assert_eq!(refusal(b""), "the file is empty");
    assert_eq!(refusal(b"\xd4\xc3\xb2\xa1"), "the file has only 4 bytes, less than a header");
    let text = refusal(b"#!/bin/sh\necho hello, world\n");
    assert_eq!(text, "neither a pcap nor a pcapng file: it begins with 23 21 2f 62");
}

#[test]
fn sections_and_interfaces_differ_in_everything() {
    let name = |name: &[u8; 4]| [&[2, 0, 4, 0], &name[..], &[9, 0, 1, 0, 9, 0, 0, 0]].concat();
    let first = [section(false), described(1, 0, &name(b"eth0")), described(113, 0, &name(b"any0"))].concat();
    let big: &[u8] = &[0, 101, 0, 0, 0, 0, 1, 0];
    let big_packet = [&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2], &b"z"[..]].concat();
    let second = [section(true), block(true, 1, big), block(true, 6, &big_packet)].concat();
    let custom = [block(false, 0x0bad, &[0; 40]), block(false, 0x7777, b"anything"), block(false, 4, &[0; 8])].concat();
    let file = [
        first,
        enhanced(1, 5, b"abc", &[]),
        custom,
        enhanced(0, 1_000_000_007, b"d", &[]),
        second,
        block(true, 5, &[0; 12]),
    ]
    .concat();
    let (seen, notes) = read(&file);
    let wanted = [
        (Some((0, 5)), 3, b"abc".to_vec(), 113, Some("any0".to_owned())),
        (Some((1, 7)), 1, b"d".to_vec(), 1, Some("eth0".to_owned())),
        (Some((0, 9000)), 2, b"z".to_vec(), 101, None),
    ];
    assert_eq!((seen.as_slice(), notes.len()), (&wanted[..], 0), "{notes:?}");
}

#[test]
fn simple_and_obsolete_packets_are_read() {
    let simple = block(false, 3, &[10, 0, 0, 0, 1, 2, 3, 4]);
    let obsolete = block(false, 2, &[0, 0, 0xff, 0xff, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0]);
    let (seen, notes) = read(&[section(false), described(1, 4, &[]), simple, obsolete].concat());
    let wanted = [(None, 10, vec![1, 2, 3, 4], 1, None), (Some((0, 8000)), 3, vec![9], 1, None)];
    assert_eq!((seen.as_slice(), notes.len()), (&wanted[..], 0));
}

#[test]
fn a_packet_of_an_interface_that_is_not_described_is_kept_and_told() {
    let (seen, notes) = read(&[section(false), enhanced(3, 1, b"abc", &[]), enhanced(4, 1, b"d", &[])].concat());
    assert_eq!(seen.iter().map(|seen| seen.3).collect::<Vec<_>>(), [u16::MAX; 2]);
    assert_eq!(
        notes,
        ["the packet at byte 28 names interface 3, which is not described: such packets are not decoded"]
    );
}

#[test]
fn a_block_that_contradicts_itself_ends_the_file() {
    let good = [section(false), described(1, 0, &[]), enhanced(0, 1, b"abc", &[])].concat();
    let mut longer = enhanced(0, 2, b"defg", &[]);
    longer[20] = 200;
    for (bad, why) in [
        (vec![6, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0], "a block says a length of 13, which none can have"),
        (vec![6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0], "a block says a length of 8, which none can have"),
        (longer, "a packet of 200 bytes in a block that has 4 for it"),
        (block(false, 6, &[0; 12]), "a packet's block that is too short"),
    ] {
        let (seen, notes) = read(&[good.clone(), bad, enhanced(0, 3, b"x", &[])].concat());
        assert_eq!(seen.len(), 1);
        assert_eq!(notes, [format!("the rest can't be read, from byte 84 on: {why}")]);
    }
    let mut end = enhanced(0, 2, b"defg", &[]);
    let last = end.len() - 4;
    end[last] = 99;
    let (seen, notes) = read(&[good, end].concat());
    assert_eq!((seen.len(), notes.len()), (2, 1), "{notes:?}");
}

#[test]
fn comments_and_directions_are_read() {
    let options = [&[1, 0, 5, 0][..], b"hello\0\0\0", &[2, 0, 4, 0, 2, 0, 0, 0], &[0; 4]].concat();
    let file = [section(false), described(1, 0, &[]), enhanced(0, 1, b"abc", &options)].concat();
    let mut reader = Reader::new(Cursor::new(file), 0).unwrap();
    let mut batch = Batch::default();
    assert!(reader.fill(&mut batch));
    assert_eq!(batch.options(0).comments().collect::<Vec<_>>(), ["hello"]);
    assert_eq!(batch.options(0).direction(), Some(Direction::Out));
    assert_eq!(batch.options(1).count(), 0);
}

/// A file that flowtrace itself has written, of many packets.
fn written(packets: u64) -> Vec<u8> {
    let interface = |name: &str| Interface {
        name: name.to_owned(),
        link_type: 1,
        snap_length: 96,
        digits: 9,
        filter: Some("udp".to_owned()),
    };
    let mut writer = Writer::new(Vec::new(), &[interface("a"), interface("b")]).unwrap();
    for number in 0..packets {
        let bytes = vec![u8::try_from(number % 251).unwrap(); usize::try_from(number % 97).unwrap()];
        let interface = u32::from(number.is_multiple_of(3));
        writer
            .packet(&Captured { interface, time: number, length: 1500, bytes: bytes.into(), direction: None })
            .unwrap();
    }
    writer.finish(&[], false, super::pcapng::Span { start: 0, end: 0 }).unwrap()
}

#[test]
fn packed_files_are_read_as_they_stand() {
    let plain = written(20_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(plain.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    let (seen, notes) = read(&plain);
    assert_eq!((seen.len(), notes.len()), (20_000, 0));
    for (number, packet) in (0_u32..).zip(&seen) {
        assert_eq!((packet.0, packet.2.len()), (Some((0, number)), number as usize % 97));
    }
    assert!(read(&gzip) == (seen.clone(), Vec::new()));
    assert!(read(&zstd) == (seen, Vec::new()));
    for packed in [gzip, zstd] {
        let (seen, notes) = read(&packed[..packed.len() * 2 / 3]);
        assert!(!seen.is_empty() && seen.len() < 20_000);
        assert!(!notes.is_empty());
    }
}

/// Hands over one byte at a time.
struct Slow(Cursor<Vec<u8>>);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = buffer.len().min(1);
        self.0.read(&mut buffer[..end])
    }
}

#[test]
fn a_pipe_that_drips_gives_every_packet_when_it_is_there() {
    let mut reader = Reader::new(Slow(Cursor::new(written(50))), 0).unwrap();
    let mut batch = Batch::default();
    let mut numbers = Vec::new();
    while reader.fill(&mut batch) {
        numbers.extend(batch.frames().map(|frame| frame.number));
    }
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
}

#[test]
fn a_packet_larger_than_the_window_is_whole() {
    let large = vec![7; 3 << 20];
    let file = pcap(0xa1b2_c3d4, true, &[(1, 0, b"a"), (2, 0, &large), (3, 0, b"b")]);
    let (seen, notes) = read(&file);
    assert_eq!((seen.len(), seen[1].2.len(), notes.len()), (3, 3 << 20, 0));
}

#[test]
fn batches_that_take_turns_hold_packets_of_any_size() {
    // Each leaves more of the next one than a window has.
    let packets: Vec<Vec<u8>> = (1..=6).map(|number| vec![number; 600_000 - usize::from(number)]).collect();
    let file: Vec<(u32, u32, &[u8])> = packets.iter().map(|bytes| (0, 0, bytes.as_slice())).collect();
    let mut reader = Reader::new(Cursor::new(pcap(0xa1b2_c3d4, false, &file)), 0).unwrap();
    let mut batches = [Batch::default(), Batch::default()];
    let mut seen = Vec::new();
    while reader.fill(&mut batches[0]) {
        seen.extend(batches[0].frames().map(|frame| frame.bytes.to_vec()));
        batches.reverse();
    }
    assert!(seen == packets);
    assert_eq!(reader.notes(), [""; 0]);
    // Room for a packet, and not for twice as much.
    assert!(batches.iter().all(|batch| batch.bytes.capacity() < 700_000));
}

#[test]
fn a_batch_has_so_many_packets_and_no_more() {
    let packets: Vec<(u32, u32, &[u8])> = (0..10_000).map(|second| (second, 0, &[][..])).collect();
    let of_pcap = pcap(0xa1b2_c3d4, false, &packets);
    let blocks: Vec<u8> = (0..10_000).flat_map(|ticks| enhanced(0, ticks, &[], &[])).collect();
    let of_pcapng = [section(false), described(101, 0, &[]), blocks].concat();
    for file in [of_pcap, of_pcapng] {
        let mut reader = Reader::new(Cursor::new(file.clone()), 0).unwrap();
        let (mut batch, mut sizes) = (Batch::default(), Vec::new());
        while reader.fill(&mut batch) {
            sizes.push(batch.len());
        }
        assert!(sizes.iter().all(|size| *size <= 4096), "{sizes:?}");
        assert_eq!((sizes.iter().sum(), reader.notes()), (10_000, Vec::new()));
        let (seen, notes) = read(file.get(..file.len() - 3).unwrap());
        assert_eq!((seen.len(), notes.len()), (9_999, 1));
    }
}

#[test]
fn several_files_take_turns_by_time() {
    let readers = [
        pcap(0xa1b2_c3d4, false, &[(1, 0, b"a"), (5, 0, b"b"), (4, 0, b"c")]),
        pcap(0xa1b2_3c4d, true, &[(2, 0, b"d"), (4, 5, b"e")]),
        [section(false), described(1, 0, &[2, 0, 1, 0, b'x', 0, 0, 0]), enhanced(0, 3_000_000, b"f", &[])].concat(),
    ];
    let readers = readers.into_iter().enumerate().map(|(file, bytes)| Reader::new(Cursor::new(bytes), file).unwrap());
    let mut several = Several::new(readers.collect());
    let mut batch = Batch::default();
    assert!(several.fill(&mut batch));
    let order: Vec<u8> = batch.frames().map(|frame| frame.bytes[0]).collect();
    assert_eq!(order, b"adfebc");
    let files: Vec<usize> = batch.frames().map(|frame| batch.points()[frame.interface as usize].file).collect();
    assert_eq!(files, [0, 1, 2, 1, 0, 0]);
    let numbers: Vec<u64> = batch.frames().map(|frame| frame.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(batch.frame(2).unwrap().link_type, LinkType::ETHERNET);
    assert!(!several.fill(&mut batch));
}

#[test]
fn what_a_file_calls_addresses_is_known() {
    let record = |kind: u8, value: &[u8]| {
        let mut record = vec![kind, 0, u8::try_from(value.len()).unwrap(), 0];
        record.extend(value);
        record.resize(record.len().next_multiple_of(4), 0);
        record
    };
    let six: IpAddr = "fd00::7".parse().unwrap();
    let IpAddr::V6(address) = six else { unreachable!() };
    let records = [
        record(1, b"\x0a\x00\x00\x01web\0also\0"),
        record(9, b"whatever"),
        record(2, &[&address.octets()[..], b"six\0"].concat()),
        record(1, b"\x0a\x00\x00\x02\0"),
        record(1, b"\x0a\x00"),
        record(0, b""),
        record(1, b"\x0a\x00\x00\x03late\0"),
    ]
    .concat();
    let file = [section(false), described(101, 0, &[]), block(false, 4, &records), enhanced(0, 1, b"x", &[])].concat();
    let names = |batch: &Batch| {
        [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]].map(|it| batch.name(it.into()).map(str::to_owned))
    };
    for count in [1, 3] {
        let readers = (0..count).map(|place| Reader::new(Cursor::new(file.clone()), place).unwrap()).collect();
        let (mut several, mut batch) = (Several::new(readers), Batch::default());
        assert!(several.fill(&mut batch));
        assert_eq!(names(&batch), [Some("web".to_owned()), None, None], "{count}");
        assert_eq!(batch.name(six), Some("six"));
    }
    // A record that says it is longer than there is ends the list.
    let lying =
        [section(false), described(101, 0, &[]), block(false, 4, &[1, 0, 200, 0, 1, 1]), enhanced(0, 1, b"x", &[])];
    assert_eq!(read(&lying.concat()).0.len(), 1);
}

/// Of many files little is read at once, so that packets and what stands around them lie across its end.
#[test]
fn many_files_are_read_a_little_at_a_time() {
    let sizes = [0_usize, 1, 60, 1500, 9000, 40_000];
    let files: Vec<Vec<u8>> = (0..600_u32)
        .map(|file| {
            let packets: Vec<(u32, u32, Vec<u8>)> =
                (0..12).map(|place| (place, file, vec![9; sizes[(file + place) as usize % 6]])).collect();
            let lent: Vec<(u32, u32, &[u8])> =
                packets.iter().map(|(seconds, parts, bytes)| (*seconds, *parts, bytes.as_slice())).collect();
            pcap(0xa1b2_3c4d, false, &lent)
        })
        .collect();
    let readers = files.into_iter().enumerate().map(|(file, bytes)| Reader::new(Cursor::new(bytes), file).unwrap());
    let mut several = Several::new(readers.collect());
    let (mut batch, mut count) = (Batch::default(), 0_u32);
    while several.fill(&mut batch) {
        for frame in batch.frames() {
            let (place, file) = (count / 600, count % 600);
            assert_eq!(frame.time, Some(Time { seconds: place.into(), nanoseconds: file }));
            assert_eq!(frame.bytes, vec![9; sizes[(file + place) as usize % 6]]);
            count += 1;
        }
    }
    assert_eq!((count, several.notes()), (7200, Vec::new()));
}

#[test]
fn moments_are_apart_by_nanoseconds() {
    let (early, late) = (Time { seconds: -1, nanoseconds: 999_999_999 }, Time { seconds: 0, nanoseconds: 1 });
    assert_eq!((late.since(early), early.since(late), early.since_epoch()), (2, -2, -1));
    assert!(early < late);
}
