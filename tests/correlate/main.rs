//! `flowtrace correlate` on captures that are built in code, and its core on sights that no network makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod alike;
mod beside;
mod captured;
mod clocks;
mod ends;
mod frame;
mod losses;
mod order;
mod random;
#[path = "../sample/schema.rs"]
mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use frame::Frame;

/// What a run leaves behind.
struct Run {
    code: i32,
    out: String,
    err: String,
}

/// A folder with captures, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("flowtrace-correlate-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a capture of these frames, with their times in nanoseconds.
    fn capture(&self, name: &str, frames: &[(i64, Vec<u8>)]) -> PathBuf {
        self.write(name, &frame::pcap(frames))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn correlate(files: &[&Path], more: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
        .arg("correlate")
        .args(files)
        .args(more)
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap();
    Run {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A service's packets at three points of a node and one of another, whose clock is 5 ms ahead; the fifth is lost between
/// the nodes, and the answers come back.
fn service(folder: &Folder) -> Vec<PathBuf> {
    let mut points: [Vec<(i64, Vec<u8>)>; 4] = Default::default();
    for number in 0..20_u16 {
        let time = 1_700_000_000_000_000_000 + i64::from(number) * 1_000_000;
        let asked = Frame::datagram([10, 244, 1, 2], [10, 96, 0, 10], (40_000, 53), number + 1);
        let there = Frame { destination: [10, 244, 2, 3], ttl: 63, ..asked.clone() };
        let tunnel = ([192, 0, 2, 11], [192, 0, 2, 12]);
        points[0].push((time, asked.bytes()));
        points[1].push((time + 5_000, asked.bytes()));
        points[2].push((time + 15_000, there.in_vxlan(tunnel)));
        if number == 4 {
            continue;
        }
        points[3].push((time + 25_000 + 5_000_000, there.in_vxlan(tunnel)));
        let answer = Frame::datagram([10, 244, 2, 3], [10, 244, 1, 2], (53, 40_000), number + 501);
        let answer = Frame { ttl: 63, ..answer };
        let unnatted = Frame { source: [10, 96, 0, 10], ttl: 62, ..answer.clone() };
        let back = (tunnel.1, tunnel.0);
        points[3].push((time + 100_000 + 5_000_000, answer.in_vxlan(back)));
        points[2].push((time + 110_000, answer.in_vxlan(back)));
        points[1].push((time + 120_000, unnatted.bytes()));
        points[0].push((time + 125_000, unnatted.bytes()));
    }
    let names = ["n1.default_pod1.eth0.pcap", "n1.cni0.pcap", "n1.eth0.pcap", "n2.eth0.pcap"];
    names.iter().zip(&points).map(|(name, frames)| folder.capture(name, frames)).collect()
}

fn paths(files: &[PathBuf]) -> Vec<&Path> {
    files.iter().map(PathBuf::as_path).collect()
}

#[test]
fn text_shows_hops_rewrites_losses_and_clocks() {
    let folder = Folder::new();
    let files = service(&folder);
    let run = correlate(&paths(&files), &[]);
    assert_eq!(run.code, 1, "a packet was lost: {}", run.err);
    for words in [
        "39 packets of 2 flows, 4 points, 2 nodes: 1 lost",
        "clock of n2: 5.000 ms ahead of n1's",
        "udp 10.244.1.2:40000 > 10.96.0.10:53: 20 packets",
        "destination 10.96.0.10:53 > 10.244.2.3:53",
        "into vxlan 1 192.0.2.11 > 192.0.2.12",
        "✗ 1 lost after n1/eth0",
        "source 10.244.2.3:53 > 10.96.0.10:53",
    ] {
        assert!(run.out.contains(words), "{words}: {}", run.out);
    }
    assert!(run.out.lines().all(|line| line.chars().count() <= 100), "{}", run.out);
    let ascii = correlate(&paths(&files), &["--ascii"]).out;
    assert!(ascii.is_ascii() && ascii.contains("x 1 lost after n1/eth0"), "{ascii}");
}

#[test]
fn lines_have_a_record_for_each_packet() {
    let folder = Folder::new();
    let files = service(&folder);
    let target = folder.0.join("packets.jsonl");
    let run = correlate(&paths(&files), &["-o", "jsonl", "-w", target.to_str().unwrap()]);
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{}", run.err);
    let text = fs::read_to_string(target).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 39);
    let lost: Vec<&Value> = records.iter().filter(|record| record["lost_after"] == "n1/eth0").collect();
    assert_eq!(lost.len(), 1);
    let lost = lost[0];
    assert_eq!(lost["flow"], "udp 10.244.1.2:40000 > 10.96.0.10:53");
    let sightings = lost["sightings"].as_array().unwrap();
    assert_eq!(sightings.len(), 3);
    assert_eq!(sightings[0]["point"], "n1/default_pod1/eth0");
    assert_eq!(sightings[0]["delay_ns"], Value::Null);
    assert_eq!(sightings[1]["delay_ns"], 5_000);
    assert_eq!(sightings[1]["time"], "2023-11-14T22:13:20.004005000Z");
    assert_eq!(sightings[2]["rewritten"][0], "destination 10.96.0.10:53 > 10.244.2.3:53");
    assert_eq!(sightings[2]["tunnel"]["vni"], 1);
    assert_eq!(lost["retransmission_of"], Value::Null);
    for (number, record) in (1..).zip(&records) {
        assert_eq!(record["id"], number, "numbered in the order of the first sights");
    }
}

#[test]
fn verbose_text_shows_each_packet_before_the_flows() {
    let folder = Folder::new();
    let files = service(&folder);
    let run = correlate(&paths(&files), &["-v"]);
    for words in [
        "#1 udp 10.244.1.2:40000 > 10.96.0.10:53",
        "2023-11-14T22:13:20.004000000Z n1/default_pod1/eth0 frame 9",
        "+10.0 µs     n1/eth0 frame 9",
        "✎ destination 10.96.0.10:53 > 10.244.2.3:53, ttl 64 > 63, into vxlan 1 192.0.2.11 > 192.0.2.12",
        "✗ lost after n1/eth0",
        "39 packets of 2 flows",
    ] {
        assert!(run.out.contains(words), "{words}: {}", run.out);
    }
}

#[test]
fn outputs_are_as_the_schema_says() {
    let folder = Folder::new();
    let files = service(&folder);
    let schema = flowtrace::render::outputs_schema();
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan");
    for more in [vec![], vec!["--snapshot", snapshot.to_str().unwrap()]] {
        for format in ["json", "jsonl"] {
            let more: Vec<&str> = more.iter().copied().chain(["-o", format]).collect();
            let run = correlate(&paths(&files), &more);
            let documents: Vec<&str> = if format == "json" { vec![&run.out] } else { run.out.lines().collect() };
            assert!(!documents.is_empty());
            for document in documents {
                let value: Value = serde_json::from_str(document).unwrap();
                let problems = schema::problems(&schema, &value);
                assert!(problems.is_empty(), "{problems:?}: {document}");
            }
        }
    }
}

#[test]
fn json_has_flows_hops_and_clocks() {
    let folder = Folder::new();
    let files = service(&folder);
    let value: Value = serde_json::from_str(&correlate(&paths(&files), &["-o", "json"]).out).unwrap();
    assert_eq!(
        (&value["schema"], &value["packets"], &value["lost"]),
        (&"flowtrace/correlate/1".into(), &39.into(), &1.into())
    );
    let ahead = value["clocks"][1]["ahead_ns"].as_i64().unwrap();
    assert!((ahead - 5_000_000).abs() < 20_000, "{ahead}");
    let hops = value["flows"][0]["hops"].as_array().unwrap();
    assert_eq!(hops.len(), 3);
    assert_eq!((&hops[0]["delay_ns"]["p50"], &hops[2]["packets"]), (&5_000.into(), &19.into()));
    assert_eq!(value["flows"][0]["lost_after"][0]["point"], "n1/eth0");
}

/// All packets to an address that no tunnel leads to end on the node, so that none like them went on.
#[test]
fn a_flow_that_is_lost_altogether_is_lost_by_the_model() {
    let folder = Folder::new();
    let frames: Vec<(i64, Vec<u8>)> = (0..5_u16)
        .map(|number| {
            let frame = Frame::datagram([10, 244, 1, 2], [10, 96, 0, 40], (40_000, 81), number + 1);
            (1_700_000_000_000_000_000 + i64::from(number) * 1_000_000, frame.bytes())
        })
        .collect();
    let files = [folder.capture("n1.default_pod1.eth0.pcap", &frames), folder.capture("n1.cni0.pcap", &frames)];
    let alone = correlate(&paths(&files), &[]);
    assert!(alone.code == 0 && alone.out.contains("0 lost"), "nobody went on: {}", alone.out);
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan");
    let eth0 = folder.capture("n1.eth0.pcap", &[]);
    let files = [files[0].as_path(), files[1].as_path(), eth0.as_path()];
    let run = correlate(&files, &["--snapshot", snapshot.to_str().unwrap()]);
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
    assert!(run.out.contains("5 lost after n1/cni0"), "{}", run.out);
}

/// The pod's own rule drops by chance: no point is behind its device, so that nobody knows which packets it has dropped.
#[test]
fn what_a_rule_may_drop_behind_the_last_point_is_not_lost_by_the_model() {
    let folder = Folder::new();
    let packets = |ttl: u8, later: i64| -> Vec<(i64, Vec<u8>)> {
        let frame = |number: u16| Frame {
            ttl,
            ..Frame::datagram([10, 244, 1, 2], [10, 244, 2, 2], (40_000, 7000), number + 1)
        };
        (0..5)
            .map(|number| (1_700_000_000_000_000_000 + i64::from(number) * 1_000_000 + later, frame(number).bytes()))
            .collect()
    };
    let files = [
        folder.capture("n1.default_pod1.eth0.pcap", &packets(64, 0)),
        folder.capture("n2.default_pod2.eth0.pcap", &packets(62, 50_000)),
    ];
    let snapshot = folder.0.join("snapshot");
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan");
    assert!(Command::new("cp").arg("-r").args([&bundled, &snapshot]).status().unwrap().success());
    let rules = snapshot.join("nodes/n2/pods/default_pod2/iptables-save");
    for (chance, lost) in [("-m statistic --mode random --probability 0.05", 0), ("", 5)] {
        let rule = format!("-A INPUT -p udp {chance} -j DROP");
        fs::write(&rules, format!("*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n")).unwrap();
        let run = correlate(&paths(&files), &["--snapshot", snapshot.to_str().unwrap()]);
        assert!(
            run.out.contains(&format!("5 packets of 1 flow, 2 points, 2 nodes: {lost} lost")),
            "{}{}",
            run.out,
            run.err
        );
        assert_eq!(run.out.contains("5 lost after n2/default_pod2/eth0: dropped"), lost > 0, "{}", run.out);
    }
}

/// Others to the same address go on later, to a capture that has no packets before: the model says what became of these.
#[test]
fn what_the_model_ends_is_lost_also_before_the_next_capture_has_packets() {
    let folder = Folder::new();
    let frame = |number: u16| Frame {
        payload: Vec::new(),
        ..Frame::datagram([10, 244, 1, 2], [10, 96, 0, 40], (40_000, 80), number + 1)
    };
    let time = |number: u16| 1_700_000_000_000_000_000 + i64::from(number) * 1_000_000;
    let refused = (0..5).map(|number| (time(number), frame(number).in_tcp(7, 0x02)));
    let others = (5..10).map(|number| (time(number), frame(number).bytes()));
    let near: Vec<(i64, Vec<u8>)> = refused.chain(others).collect();
    let further = (5..10).map(|number| (time(number) + 10_000, Frame { ttl: 63, ..frame(number) }.bytes()));
    let files = [
        folder.capture("n1.default_pod1.eth0.pcap", &near),
        folder.capture("n1.cni0.pcap", &near),
        folder.capture("n1.eth0.pcap", &further.collect::<Vec<_>>()),
    ];
    let alone = correlate(&paths(&files), &[]);
    assert!(alone.code == 0 && alone.out.contains("while the next point's capture has no packets"), "{}", alone.out);
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan");
    let run = correlate(&paths(&files), &["--snapshot", snapshot.to_str().unwrap()]);
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
    assert!(run.out.contains("5 lost after n1/cni0: rejected"), "{}", run.out);
}

#[test]
fn of_a_node_that_the_snapshot_lacks_nothing_is_said() {
    let folder = Folder::new();
    let files = service(&folder);
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan");
    for (at, is_known) in [("ext/eth0", false), ("n2/eth9", true)] {
        let at = format!("{}={at}", files[3].display());
        let more = ["--snapshot", snapshot.to_str().unwrap(), "--at", &at];
        let run = correlate(&paths(&files), &more);
        assert_eq!(run.out.contains("not on the predicted way"), is_known, "{at}: {}", run.out);
        let records = correlate(&paths(&files), &[&more[..], &["-o", "jsonl"]].concat()).out;
        assert_eq!(records.contains("not on the predicted way"), is_known, "{records}");
    }
}

#[test]
fn a_filter_chooses_packets_by_any_of_their_sights() {
    let folder = Folder::new();
    let files = service(&folder);
    // The service's address is seen before DNAT only, and at that behind the tunnel the pod's.
    for (filter, packets) in [("dst host 10.96.0.10", 20), ("host 10.244.2.3 and dst port 53", 20), ("tcp", 0)] {
        let run = correlate(&paths(&files), &["-o", "jsonl", "--flow", filter]);
        assert_eq!(run.out.lines().count(), packets, "{filter}: {}", run.err);
        assert!(run.out.lines().all(|line| line.contains("\"point\":\"n1/eth0\"")), "whole paths: {}", run.out);
    }
    let run = correlate(&paths(&files), &["--flow", "tcp port 80x"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("--flow") && run.err.contains("^^^"), "{}", run.err);
}

#[test]
fn points_are_named_by_hand() {
    let folder = Folder::new();
    let files = service(&folder);
    let other = folder.0.join("a.b.c");
    fs::rename(&files[3], &other).unwrap();
    let mut paths = paths(&files[..3]);
    paths.push(&other);
    let at = format!("{}=n2/eth0", other.display());
    let run = correlate(&paths, &["--at", &at]);
    assert!(run.out.contains("4 points, 2 nodes: 1 lost"), "{}{}", run.out, run.err);
}

#[test]
fn a_single_node_needs_no_clock() {
    let folder = Folder::new();
    let files = service(&folder);
    let run = correlate(&paths(&files[..3]), &[]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(run.out.contains("3 points, 1 node: 0 lost") && !run.out.contains("clock"), "{}", run.out);
}

#[test]
fn one_way_leaves_the_clock_open_and_says_so() {
    let folder = Folder::new();
    let files = service(&folder);
    let one_way = |name: &str, file: &Path| {
        let frames = frame::read(&fs::read(file).unwrap());
        let frames: Vec<_> = frames.into_iter().filter(|(_, bytes)| bytes[29] == 11).collect();
        folder.capture(name, &frames)
    };
    let (n1, n2) = (one_way("n1.up.pcap", &files[2]), one_way("n2.up.pcap", &files[3]));
    let run = correlate(&[&files[0], &n1, &n2], &[]);
    assert!(run.out.contains("packets went one way only"), "{}{}", run.out, run.err);
}
