//! What is refused, and captures that are damaged.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Folder, correlate, frame, paths, service};

fn refused(files: &[&Path], more: &[&str], words: &[&str]) {
    let run = correlate(files, more);
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{}", run.err);
    let said = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in {said:?}");
    }
}

#[test]
fn what_cannot_be_read_or_placed_is_refused() {
    let folder = Folder::new();
    let files = service(&folder);
    let one: &Path = &files[0];
    refused(&[], &[], &["required"]);
    refused(&[&folder.0.join("n1.none.pcap")], &[], &["n1.none.pcap", "No such file"]);
    refused(&[Path::new("-")], &[], &["standard input: the file is empty"]);
    refused(&[one], &["--at", "n1/eth0"], &["--at n1/eth0", "FILE=NODE/DEVICE"]);
    refused(&[one], &["--at", "other.pcap=n1/eth0"], &["other.pcap", "no such file is read"]);
    refused(&[one], &["--window", "0"], &["--window", "seconds are wanted"]);
    refused(&[one], &["--before", "x"], &["--after"]);
    refused(&[one], &["--snapshot", "/none"], &["/none"]);
    let unnamed = folder.capture("n1.pcap", &[]);
    refused(&[&unnamed], &[], &["n1.pcap", "--at"]);
    let text = folder.write("n1.text.pcap", b"a text that is no capture at all");
    refused(&[&text], &[], &["n1.text.pcap", "neither a pcap nor a pcapng file"]);
    let cut = folder.write("n1.cut.pcap", &fs::read(one).unwrap()[..50]);
    refused(&[&cut, &text], &[], &["n1.cut.pcap: it has no packet that can be read: the file ends within a packet"]);
    let empty = folder.capture("n1.empty.pcap", &[]);
    assert_eq!(correlate(&[&cut, &empty], &[]).code, 0);
}

#[test]
fn an_empty_capture_has_nothing_to_tell() {
    let folder = Folder::new();
    let empty = folder.capture("n1.eth0.pcap", &[]);
    let run = correlate(&[&empty], &[]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("0 packets of 0 flows, 1 point, 1 node"), "{}", run.out);
    assert_eq!(correlate(&[&empty], &["-o", "jsonl"]).out, "");
}

#[test]
fn a_capture_that_was_cut_off_is_read_up_to_there() {
    let folder = Folder::new();
    let files = service(&folder);
    let bytes = fs::read(&files[1]).unwrap();
    fs::write(&files[1], &bytes[..bytes.len() - 3]).unwrap();
    let run = correlate(&paths(&files), &[]);
    assert!(run.out.contains("39 packets of 2 flows"), "{}", run.out);
    assert!(run.err.contains("n1.cni0.pcap: the file ends within a packet"), "{}", run.err);
    assert_eq!(run.err.matches("the file ends").count(), 1, "told once: {}", run.err);
}

#[test]
fn names_of_captures_do_nothing_to_a_terminal() {
    let folder = Folder::new();
    let frames = frame::read(&fs::read(&service(&folder)[0]).unwrap());
    let hostile = folder.capture("n1\u{1b}[31m.eth0\u{202e}.pcap", &frames);
    for format in ["text", "json", "jsonl"] {
        let run = correlate(&[&hostile], &["-o", format]);
        assert!(!run.out.contains('\u{1b}') && !run.out.contains('\u{202e}'), "{format}: {}", run.out);
    }
}

#[test]
fn every_byte_of_a_capture_may_be_wrong() {
    let folder = Folder::new();
    let files = service(&folder);
    let bytes = fs::read(&files[3]).unwrap();
    for at in (24..bytes.len()).step_by(bytes.len() / 120) {
        let mut broken = bytes.clone();
        broken[at] ^= 0xff;
        fs::write(&files[3], &broken).unwrap();
        let run = correlate(&paths(&files), &["-o", "jsonl"]);
        assert!(run.code < 2 && !run.err.contains("panicked"), "byte {at}: {}", run.err);
    }
}

/// Datagrams without a number of their own at two points.
fn unnumbered() -> [Vec<(i64, Vec<u8>)>; 2] {
    let mut points: [Vec<(i64, Vec<u8>)>; 2] = Default::default();
    for number in 0..40_u16 {
        let time = 1_700_000_000_000_000_000 + i64::from(number) * 1_000_000;
        let payload = [format!("packet {number:5}").as_bytes(), &[0; 100]].concat();
        let sent = frame::Frame { id: 0, payload, ..frame::Frame::datagram([10, 0, 0, 1], [10, 0, 0, 2], (9, 9), 0) };
        points[0].push((time, sent.bytes()));
        // They overtake each other between the two points.
        let late = if number % 2 == 0 { 1_500_000 } else { 100_000 };
        points[1].push((time + late, frame::Frame { ttl: 63, ..sent }.bytes()));
    }
    points[1].sort();
    points
}

/// How many packets were seen at both points after so many nanoseconds.
fn after(out: &str, delay: i64) -> usize {
    let records = out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records.filter(|record| record["sightings"][1]["delay_ns"] == delay).count()
}

#[test]
fn packets_that_were_cut_are_told_by_what_is_left_of_them() {
    let folder = Folder::new();
    let points = unnumbered();
    // A cut frame that is no IP says nothing of how much was kept of the others.
    let arp = [&[255; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], &[0; 90]].concat();
    let first = [vec![(points[0][0].0 - 5, arp)], points[0].clone()].concat();
    let one = folder.write("n1.one.pcap", &frame::cut(&first, 96));
    let two = folder.write("n1.two.pcap", &frame::cut(&points[1], 96));
    let run = correlate(&[&one, &two], &["-o", "jsonl"]);
    assert_eq!((after(&run.out, 1_500_000), after(&run.out, 100_000)), (20, 20), "{}", run.out);
    assert!(!run.err.contains("were cut"), "{}", run.err);
    let short = folder.write("n1.two.pcap", &frame::cut(&points[1], 46));
    let run = correlate(&[&one, &short], &["-o", "jsonl"]);
    assert!(run.err.contains("only 4 bytes behind their headers"), "{}", run.err);
}

#[test]
fn a_time_that_can_not_be_right_harms_one_packet_alone() {
    let folder = Folder::new();
    for wrong in [3_600_000_000_000, -3_600_000_000_000] {
        let mut points = unnumbered();
        points[0][20].0 += wrong;
        let [one, two] = [("n1.one.pcap", &points[0]), ("n1.two.pcap", &points[1])];
        let files = [one, two].map(|(name, frames)| folder.capture(name, frames));
        let run = correlate(&paths(&files), &[]);
        assert_eq!(run.code, 0, "{wrong} {}", run.out);
        assert!(run.out.contains("40 packets of 1 flow, 2 points, 1 node: 0 lost"), "{wrong} {}", run.out);
        assert!(run.err.contains("the time of 1 packet can't be right"), "{wrong} {}", run.err);
    }
}

#[test]
fn what_ends_on_the_node_is_not_lost_because_others_leave_it() {
    let folder = Folder::new();
    let mut points: [Vec<(i64, Vec<u8>)>; 2] = Default::default();
    for number in 0..20_u16 {
        let time = 1_700_000_000_000_000_000 + i64::from(number) * 1_000_000;
        let port = 40_000 + number % 2;
        let asked = frame::Frame::datagram([10, 244, 1, 2], [10, 96, 0, 1], (port, 443), number + 1);
        let answer = frame::Frame::datagram([10, 96, 0, 1], [10, 244, 1, 2], (443, port), number + 501);
        points[0].push((time, asked.bytes()));
        points[0].push((time + 500_000, answer.bytes()));
        // One endpoint is elsewhere, the other one on this node.
        if number % 2 == 0 {
            let there = frame::Frame { destination: [192, 0, 2, 12], ttl: 63, ..asked };
            points[1].push((time + 10_000, there.bytes()));
        }
    }
    let files =
        [("n1.cni0.pcap", &points[0]), ("n1.eth0.pcap", &points[1])].map(|(name, frames)| folder.capture(name, frames));
    let run = correlate(&paths(&files), &[]);
    assert!(run.out.contains("40 packets of 4 flows, 2 points, 1 node: 0 lost"), "{}", run.out);
    // Without any answer they are.
    points[0].retain(|(time, _)| time % 1_000_000 == 0);
    let silent = folder.capture("n1.cni0.pcap", &points[0]);
    let run = correlate(&[&silent, &files[1]], &[]);
    // The last one came after the other capture had ended.
    assert!(run.out.contains("9 lost after n1/cni0"), "{}", run.out);
}

#[test]
fn a_bridge_may_show_what_goes_from_port_to_port() {
    let folder = Folder::new();
    let mut points: [Vec<(i64, Vec<u8>)>; 3] = Default::default();
    for number in 0..10_u16 {
        let time = 1_700_000_000_000_000_000 + i64::from(number) * 1_000_000;
        let frame = frame::Frame::datagram([10, 244, 1, 2], [10, 244, 1, 3], (40_000, 53), number + 1).bytes();
        points[0].push((time, frame.clone()));
        points[2].push((time + 3000, frame.clone()));
        // The copy has the time of the port that brought the frame, or a later one than the port that has it next.
        if number < 8 {
            points[1].push((time + i64::from(number % 2) * 5000, frame));
        }
    }
    let names = ["n1.vethfcf4e592.pcap", "n1.cni0.pcap", "n1.vethfcf416f8.pcap"];
    let files: Vec<PathBuf> = names.iter().zip(&points).map(|(name, frames)| folder.capture(name, frames)).collect();
    let snapshot = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/vxlan");
    let run = correlate(&paths(&files), &["-o", "jsonl", "--snapshot", snapshot]);
    let records = run.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut shown = 0;
    for record in records.filter(|record| record["predicted"].is_array()) {
        let captured = record["predicted"].as_array().unwrap().iter().filter(|hop| hop["captured"] == true);
        let told: Vec<String> =
            captured.map(|hop| format!("{} {}", hop["point"], hop["state"]).replace('"', "")).collect();
        shown += usize::from(told.contains(&"n1/cni0 seen".to_owned()));
        let wanted = ["n1/vethfcf4e592 seen", "n1/cni0 seen", "n1/vethfcf416f8 seen"];
        assert!(told.iter().all(|told| wanted.contains(&told.as_str())) && told.len() >= 2, "{told:?}");
    }
    assert_eq!(shown, 8, "{} {}", run.out, run.err);
}

#[test]
fn one_capture_that_can_not_be_read_costs_no_other() {
    let folder = Folder::new();
    let mut files = service(&folder);
    files.push(folder.write("n3.eth0.pcap.gz", &[0x1f, 0x8b]));
    let run = correlate(&paths(&files), &[]);
    assert!(run.out.contains("39 packets of 2 flows, 4 points, 2 nodes: 1 lost"), "{}", run.out);
    assert_eq!(run.err.matches("n3.eth0.pcap.gz").count(), 1, "{}", run.err);
}

#[test]
fn records_are_packed_as_the_files_name_says() {
    let folder = Folder::new();
    let files = service(&folder);
    let plain = correlate(&paths(&files), &["-o", "jsonl"]).out;
    for name in ["a.jsonl.gz", "a.jsonl.zst"] {
        let target = folder.0.join(name);
        let run = correlate(&paths(&files), &["-o", "jsonl", "-w", target.to_str().unwrap()]);
        assert_eq!(run.code, 1, "{}", run.err);
        let packed = fs::read(&target).unwrap();
        assert!(packed.len() < plain.len() / 3, "{name}");
        let mut text = Vec::new();
        flowtrace::unpack::unpacked(std::io::Cursor::new(packed)).unwrap().read_to_end(&mut text).unwrap();
        assert!(text == plain.as_bytes(), "{name}");
    }
}
