//! The order in which one node's points saw a packet, where its stamps don't tell: the kernel gives a frame that comes in one
//! stamp for the device and for the bridge above it, and captures of microseconds round.

use std::path::PathBuf;

use serde_json::Value;

use super::frame::Frame;
use super::losses::lost;
use super::{Folder, correlate, paths};

const START: i64 = 1_700_000_000_000_000_000;
const CLIENT: [u8; 4] = [10, 244, 1, 2];
const SERVER: [u8; 4] = [10, 244, 1, 3];
const OUTSIDE: [u8; 4] = [10, 244, 2, 9];
/// The last byte of the bridge's own link address.
const BRIDGE: u8 = 200;

/// The frame with the last bytes of other link addresses.
pub fn between(frame: &Frame, from: u8, to: u8) -> Vec<u8> {
    let mut bytes = frame.bytes();
    (bytes[5], bytes[11]) = (to, from);
    bytes
}

type Frames = Vec<(i64, Vec<u8>)>;

/// Captures by the names of their points.
#[derive(Default)]
pub struct Points(Vec<(&'static str, Frames)>);

impl Points {
    pub fn see(&mut self, point: &'static str, time: i64, bytes: &[u8]) {
        let known = self.0.iter().position(|(name, _)| *name == point);
        let place = known.unwrap_or_else(|| {
            self.0.push((point, Vec::new()));
            self.0.len() - 1
        });
        self.0[place].1.push((time, bytes.to_vec()));
    }

    pub fn files(&mut self, folder: &Folder) -> Vec<PathBuf> {
        let capture = |(name, frames): &mut (&'static str, Frames)| {
            frames.sort();
            folder.capture(&format!("{name}.pcap"), frames)
        };
        self.0.iter_mut().map(capture).collect()
    }
}

pub fn records(files: &[PathBuf]) -> Vec<Value> {
    let run = correlate(&paths(files), &["-o", "jsonl"]);
    run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The points of a packet in their order.
pub fn seen_at(record: &Value) -> Vec<&str> {
    record["sightings"].as_array().unwrap().iter().map(|seen| seen["point"].as_str().unwrap()).collect()
}

fn numbered(source: [u8; 4], destination: [u8; 4], number: u16) -> Frame {
    Frame::datagram(source, destination, (40_000, 53), number + 1)
}

/// Of what comes in, one packet has the same microsecond at both points, and fewer answers go out than packets come in.
#[test]
fn others_on_the_same_way_tell_which_of_two_stamps_of_one_moment_comes_first() {
    let mut points = Points::default();
    for number in 0..15_u16 {
        let time = START + i64::from(number) * 1_000_000;
        let there = numbered(OUTSIDE, CLIENT, number).bytes();
        points.see("n1.default_a.eth0", time + if number == 7 { 0 } else { 1_000 }, &there);
        points.see("n1.vetha", time, &there);
        if number < 10 {
            let back = numbered(CLIENT, OUTSIDE, 500 + number).bytes();
            points.see("n1.default_a.eth0", time + 50_000, &back);
            points.see("n1.vetha", time + 51_000, &back);
        }
    }
    let folder = Folder::new();
    let files = points.files(&folder);
    assert_eq!(lost(&files), []);
    let records = records(&files);
    let in_first = records.iter().filter(|record| record["flow"] == "udp 10.244.2.9:40000 > 10.244.1.2:53");
    let orders: Vec<Vec<&str>> = in_first.map(seen_at).collect();
    assert_eq!(orders, vec![vec!["n1/vetha", "n1/default_a/eth0"]; 15]);
}

/// What the pod sends comes to the veth and the bridge with one stamp. The copy of frames between two ports, which a bridge
/// hands up while it is captured, comes behind both of them, and says nothing of what is for the bridge itself.
#[test]
fn frames_between_other_addresses_do_not_turn_the_way_through_a_bridge_round() {
    let mut points = Points::default();
    for number in 0..40_u16 {
        let time = START + i64::from(number) * 1_000_000;
        let local = numbered(CLIENT, SERVER, number).bytes();
        for (point, later) in [("n1.vetha", 0), ("n1.vethb", 5_000), ("n1.cni0", 7_000)] {
            points.see(point, time + later, &local);
        }
        if number % 4 > 0 {
            continue;
        }
        let out = numbered(CLIENT, OUTSIDE, 500 + number);
        let (time, framed) = (time + 300_000, between(&out, CLIENT[3], BRIDGE));
        points.see("n1.cni0", time, &framed);
        points.see("n1.vetha", time, &framed);
        let is_lost = number == 20;
        if !is_lost {
            points.see("n1.flannel.1", time + 9_000, &Frame { ttl: 63, ..out }.bytes());
        }
        let back = Frame { ttl: 62, ..numbered(OUTSIDE, CLIENT, 900 + number) };
        let framed = between(&back, BRIDGE, CLIENT[3]);
        points.see("n1.flannel.1", time + 100_000, &Frame { ttl: 63, ..back }.bytes());
        points.see("n1.cni0", time + 103_000, &framed);
        points.see("n1.vetha", time + 104_000, &framed);
    }
    let folder = Folder::new();
    let files = points.files(&folder);
    let lost: Vec<String> = lost(&files).into_iter().map(|(_, point)| point).collect();
    assert_eq!(lost, ["n1/cni0"]);
    let records = records(&files);
    let out: Vec<Vec<&str>> = records
        .iter()
        .map(seen_at)
        .filter(|points| points.contains(&"n1/flannel.1") && points[0] != "n1/flannel.1")
        .collect();
    assert_eq!(out, vec![vec!["n1/vetha", "n1/cni0", "n1/flannel.1"]; 9]);
}

#[test]
fn no_capture_has_missed_what_it_shows() {
    let mut points = Points::default();
    for number in 0..30_u16 {
        let time = START + i64::from(number) * 1_000_000;
        let local = numbered(CLIENT, SERVER, number).bytes();
        // Once the bridge hands the copy up before it sends the frame on.
        let handed_up = if number == 12 { 3_000 } else { 7_000 };
        for (point, later) in [("n1.vetha", 0), ("n1.vethb", 5_000), ("n1.cni0", handed_up)] {
            points.see(point, time + later, &local);
        }
    }
    let folder = Folder::new();
    let records = records(&points.files(&folder));
    assert_eq!(records.len(), 30);
    for record in records {
        assert_eq!(record["missed"], Value::Array(Vec::new()), "{record}");
    }
}

/// A pod that asks a service whose endpoint it is itself: the frame goes back to the port that it came from, and the bridge
/// hands up a copy of it behind that, which goes nowhere.
#[test]
fn a_copy_that_a_bridge_hands_up_behind_the_last_port_is_no_loss() {
    let mut points = Points::default();
    for number in 0..24_u16 {
        let time = START + i64::from(number) * 1_000_000;
        let asked = numbered(CLIENT, [10, 96, 0, 12], number);
        let own = Frame { destination: CLIENT, ..asked.clone() };
        let masqueraded = Frame { source: [10, 244, 1, 1], ..own.clone() };
        points.see("n1.vetha", time, &between(&asked, CLIENT[3], BRIDGE));
        points.see("n1.cni0", time + 5_000, &between(&own, BRIDGE, CLIENT[3]));
        if number != 9 {
            points.see("n1.vetha", time + 10_000, &between(&masqueraded, CLIENT[3], CLIENT[3]));
            points.see("n1.cni0", time + 12_000, &between(&own, CLIENT[3], CLIENT[3]));
        }
    }
    let folder = Folder::new();
    let files = points.files(&folder);
    assert_eq!(lost(&files), [(10, "n1/cni0".to_owned())], "but the one that did not come back to its port");
    let text = correlate(&paths(&files), &[]).out;
    assert!(!text.contains("before any like them"), "{text}");
    // Where the bridge alone is captured, the copy is nothing that others go on to.
    let bridge: Vec<PathBuf> = files.into_iter().filter(|file| file.ends_with("n1.cni0.pcap")).collect();
    assert_eq!(lost(&bridge), []);
}

/// The second node's clock is set forth and back in between, so that what it is ahead by is nothing to go by.
#[test]
fn close_sights_of_two_nodes_are_in_the_order_of_their_ttl_whatever_the_clocks_say() {
    let mut points = Points::default();
    for number in 0..30_u16 {
        let time = START + i64::from(number) * 1_000_000;
        let set = if (10..20).contains(&number) { 60_000 } else { 0 };
        let there = numbered(CLIENT, OUTSIDE, number);
        points.see("n1.cni0", time, &there.bytes());
        points.see("n2.cni0", time + 10_000 + set, &Frame { ttl: 62, ..there }.bytes());
        let back = numbered(OUTSIDE, CLIENT, 500 + number);
        points.see("n2.cni0", time + 500_000 + set, &back.bytes());
        points.see("n1.cni0", time + 510_000, &Frame { ttl: 62, ..back }.bytes());
    }
    let folder = Folder::new();
    let files = points.files(&folder);
    assert_eq!(lost(&files), []);
    let text = correlate(&paths(&files), &[]).out;
    assert!(text.contains("not to be relied on"), "{text}");
    let ways: Vec<Value> = records(&files).into_iter().filter(|record| seen_at(record).len() == 2).collect();
    assert_eq!(ways.len(), 60);
    for record in &ways {
        let is_there = record["flow"] == "udp 10.244.1.2:40000 > 10.244.2.9:53";
        let wanted = if is_there { ["n1/cni0", "n2/cni0"] } else { ["n2/cni0", "n1/cni0"] };
        assert_eq!(seen_at(record), wanted, "{record}");
    }
}
