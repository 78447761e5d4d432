//! What captures say of themselves: how they come, which device a packet passed, and which way.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use flowtrace::capture::pcapng::{Span, Writer};
use flowtrace::capture::{Captured, Direction, Interface, Reception};
use serde_json::Value;

use super::frame::{self, Frame};
use super::{Folder, Run, correlate, paths, service};

fn records(run: &Run) -> Vec<Value> {
    run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bundled() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan")
}

/// A pcapng file of one interface, with each packet's direction.
fn pcapng(name: &str, link_type: u16, packets: Vec<(i64, Vec<u8>, Option<Direction>)>) -> Vec<u8> {
    let interface = Interface { name: name.to_owned(), link_type, snap_length: 0, digits: 9, filter: None };
    let mut writer = Writer::new(Vec::new(), &[interface]).unwrap();
    for (time, bytes, direction) in packets {
        let (time, length) = (time.unsigned_abs(), u32::try_from(bytes.len()).unwrap());
        writer.packet(&Captured { interface: 0, time, length, bytes: bytes.into(), direction }).unwrap();
    }
    writer.finish(&[], false, Span { start: 0, end: 0 }).unwrap()
}

#[test]
fn the_standard_input_is_a_capture_too() {
    let folder = Folder::new();
    let files = service(&folder);
    let whole = correlate(&paths(&files), &["-o", "jsonl"]);
    let from = |input: Stdio, first: &str, at: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
            .args(["correlate", first])
            .args(&files[1..])
            .args(["--at", at, "-o", "jsonl"])
            .stdin(input)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = from(File::open(&files[0]).unwrap().into(), "-", "-=n1/default_pod1/eth0");
    let wanted = whole.out.replace(files[0].to_str().unwrap(), "-");
    assert_eq!(told, wanted);
    // A pipe can be read once only, whatever it is called.
    let mut child = Command::new("cat").arg(&files[0]).stdout(Stdio::piped()).spawn().unwrap();
    let pipe = child.stdout.take().unwrap();
    let told = from(pipe.into(), "/dev/stdin", "/dev/stdin=n1/default_pod1/eth0");
    assert_eq!(told, whole.out.replace(files[0].to_str().unwrap(), "/dev/stdin"));
    child.wait().unwrap();
    let dash = Path::new("-");
    let twice = correlate(&[dash, dash], &[]);
    assert!(twice.code == 2 && twice.err.contains("named twice"), "{}", twice.err);
}

/// A frame that a port takes in and sends out again as it is (hairpin) is one packet, where its way is known.
#[test]
fn a_packet_that_leaves_where_it_came_in_is_one() {
    let folder = Folder::new();
    let frames = |ways: [Option<Direction>; 2]| {
        let mut packets = Vec::new();
        for number in 0..20_u16 {
            let time = 1_700_000_000_000_000_000 + i64::from(number) * 1_000_000;
            let bytes = Frame::datagram([10, 244, 1, 2], [10, 244, 1, 3], (40_000, 53), number + 1).bytes();
            packets.push((time, bytes.clone(), ways[0]));
            packets.push((time + 2_000_000, bytes, ways[1]));
        }
        packets
    };
    let ways = [Some(Direction::In(Reception::Unicast)), Some(Direction::Out)];
    let told = folder.write("n1.pcapng", &pcapng("veth1", 1, frames(ways)));
    let records = records(&correlate(&[&told], &["-o", "jsonl"]));
    assert_eq!(records.len(), 20);
    for record in &records {
        let ways: Vec<&Value> = record["sightings"].as_array().unwrap().iter().map(|seen| &seen["way"]).collect();
        assert_eq!(ways, ["in", "out"], "{record}");
    }
    let verbose = correlate(&[&told], &["-v"]);
    assert!(verbose.out.contains("n1/veth1 in frame 1\n"), "{}", verbose.out);
    let untold = folder.write("n2.pcapng", &pcapng("veth1", 1, frames([None, None])));
    assert_eq!(
        correlate(&[&untold], &["-o", "jsonl"]).out.lines().count(),
        40,
        "they are two packets that look the same"
    );
}

/// A cooked packet of version 2: the index of its device, and whether it was sent.
fn cooked(ethernet: &[u8], index: u32, is_out: bool) -> Vec<u8> {
    let mut bytes = vec![8, 0, 0, 0];
    bytes.extend(index.to_be_bytes());
    bytes.extend([0, 1, if is_out { 4 } else { 0 }, 6]);
    bytes.extend(&ethernet[6..12]);
    bytes.extend([0, 0]);
    bytes.extend(&ethernet[14..]);
    bytes
}

#[test]
fn a_capture_of_all_devices_is_one_of_each_where_a_snapshot_knows_them() {
    let folder = Folder::new();
    let files = service(&folder);
    let cni0 = frame::read(&fs::read(&files[1]).unwrap()).into_iter();
    let eth0 = frame::read(&fs::read(&files[2]).unwrap()).into_iter();
    // As the bundled snapshot numbers n1's devices.
    let of = |index: u32| move |(time, bytes): (i64, Vec<u8>)| (time, cooked(&bytes, index, false), None);
    let mut packets: Vec<_> = cni0.map(of(6)).chain(eth0.map(of(2))).collect();
    packets.sort_by_key(|(time, ..)| *time);
    let any = folder.write("n1.any.pcapng", &pcapng("any", 276, packets));
    let files = [files[0].as_path(), any.as_path(), files[3].as_path()];
    let snapshot = bundled();
    let run = correlate(&files, &["-o", "jsonl", "--snapshot", snapshot.to_str().unwrap()]);
    let records = records(&run);
    assert_eq!(records.len(), 39, "{}", run.err);
    let points = |record: &Value| -> Vec<String> {
        let points =
            record["sightings"].as_array().unwrap().iter().map(|seen| seen["point"].as_str().unwrap().to_owned());
        points.collect()
    };
    assert_eq!(points(&records[0]), ["n1/default_pod1/eth0", "n1/cni0", "n1/eth0", "n2/eth0"]);
    let lost: Vec<&Value> = records.iter().map(|record| &record["lost_after"]).filter(|lost| !lost.is_null()).collect();
    assert_eq!(lost, ["n1/eth0"]);
    // Without one they are sights at one point.
    let alone = correlate(&files, &["-o", "jsonl"]);
    assert_eq!(alone.out.lines().count(), 39, "{}", alone.err);
    assert!(alone.out.contains("\"point\":\"n1/any\""), "{}", alone.out);
}

/// Tunnels are known by the ports that the snapshot's devices have.
#[test]
fn a_snapshot_says_on_which_port_its_tunnels_are() {
    let folder = Folder::new();
    let files = service(&folder);
    for file in &files[2..] {
        let frames = frame::read(&fs::read(file).unwrap()).into_iter().map(|(time, mut bytes)| {
            bytes[36..38].copy_from_slice(&9999_u16.to_be_bytes());
            (time, bytes)
        });
        fs::write(file, frame::pcap(&frames.collect::<Vec<_>>())).unwrap();
    }
    assert_ne!(correlate(&paths(&files), &["-o", "jsonl"]).out.lines().count(), 39);
    assert_eq!(correlate(&paths(&files), &["-o", "jsonl", "--vxlan-port", "9999"]).out.lines().count(), 39);
    let host = folder.0.join("snapshot/nodes/n1/host");
    fs::create_dir_all(&host).unwrap();
    let links = fs::read_to_string(bundled().join("nodes/n1/host/link.txt")).unwrap();
    assert!(links.contains("dstport 8472"), "{links}");
    fs::write(host.join("link.txt"), links.replace("dstport 8472", "dstport 9999")).unwrap();
    let snapshot = folder.0.join("snapshot");
    let run = correlate(&paths(&files), &["-o", "jsonl", "--snapshot", snapshot.to_str().unwrap()]);
    assert_eq!(run.out.lines().count(), 39, "{}", run.err);
}

/// However the packets come, as many records say that they are of a lost packet as the summary counts.
#[test]
fn records_and_summaries_count_the_same_losses() {
    let folder = Folder::new();
    // The first ones are waited for no longer before others go on, and are sights that no sample has kept for sure: the
    // same packet three times.
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for number in 0..60_u16 {
        let time = 1_700_000_000_000_000_000 + i64::from(number) * 3_000_000_000;
        let frame = Frame { payload: b"the same".to_vec(), ..Frame::datagram([10, 0, 0, 1], [10, 0, 0, 2], (1, 2), 7) };
        one.push((time, frame.bytes()));
        if number >= 20 && number % 3 > 0 {
            other.push((time + 10_000, Frame { ttl: 63, ..frame }.bytes()));
        }
        if number == 0 {
            other.push((time, Frame::datagram([10, 0, 0, 9], [10, 0, 0, 8], (1, 2), 8).bytes()));
        }
    }
    let files = [folder.capture("n1.a.pcap", &one), folder.capture("n1.b.pcap", &other)];
    let value: Value = serde_json::from_str(&correlate(&paths(&files), &["-o", "json"]).out).unwrap();
    let run = correlate(&paths(&files), &["-o", "jsonl"]);
    let lost = records(&run).iter().filter(|record| !record["lost_after"].is_null()).count();
    assert_eq!(value["lost"], lost, "{value}");
    let early = value["flows"].as_array().unwrap().iter().flat_map(|flow| flow["early"].as_array().unwrap());
    let early: u64 = early.map(|early| early["packets"].as_u64().unwrap()).sum();
    assert_eq!(early, 20, "before any had gone on: {value}");
    let text = correlate(&paths(&files), &[]).out;
    assert!(text.contains(&format!(": {lost} lost")), "{text}");
    assert!(text.contains("20 packets last seen at n1/a, before any like them had gone on from there"), "{text}");
}
