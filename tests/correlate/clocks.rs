//! What the clocks of nodes differ by, where packets come to a node again.

use serde_json::Value;

use super::frame::{Frame, vxlan};
use super::losses::lost;
use super::order::{Points, between, records, seen_at};
use super::{Folder, correlate, paths};

const START: i64 = 1_700_000_000_000_000_000;
const POD: [u8; 4] = [10, 244, 1, 2];
const OWN: [u8; 4] = [10, 244, 1, 3];
const OTHER: [u8; 4] = [10, 244, 2, 3];
const NODES: [[u8; 4]; 3] = [[192, 0, 2, 11], [192, 0, 2, 12], [192, 0, 2, 13]];
/// The clock of the second node is ahead by so many nanoseconds.
const AHEAD: i64 = 5_000_000;

/// A pod's packet to the port of another node, behind which is a pod of its own node.
fn to_node_port(points: &mut Points, time: i64, number: u16, second: &[&'static str]) {
    let asked = Frame::datagram(POD, NODES[1], (40_000, 30_080), number + 1);
    let sent = Frame { source: NODES[0], ttl: 63, ports: (41_000, 30_080), ..asked.clone() };
    let there = Frame { source: [10, 244, 2, 0], destination: OWN, ports: (42_000, 8080), ttl: 62, ..sent.clone() };
    let back = vxlan(&there.bytes(), (NODES[1], NODES[0]), number);
    points.see("n1.cni0", time, &asked.bytes());
    points.see("n1.eth0", time + 10_000, &between(&sent, 11, 12));
    for point in second {
        points.see(point, time + AHEAD + 20_000, &between(&sent, 11, 12));
        points.see(point, time + AHEAD + 45_000, &back);
    }
    points.see("n1.eth0", time + 55_000, &back);
    points.see("n1.cni0", time + 65_000, &Frame { ttl: 61, ..there }.bytes());
}

/// A pod's packet to one of another node, and the answer; no loss but that of the tenth.
fn to_pod(points: &mut Points, time: i64, number: u16) {
    let asked = Frame::datagram(POD, OTHER, (40_000, 53), number + 1);
    let there = Frame { ttl: 63, ..asked.clone() }.in_vxlan((NODES[0], NODES[1]));
    let answer = Frame::datagram(OTHER, POD, (53, 40_000), number + 1001);
    let back = Frame { ttl: 63, ..answer.clone() }.in_vxlan((NODES[1], NODES[0]));
    points.see("n1.cni0", time, &asked.bytes());
    points.see("n1.eth0", time + 10_000, &there);
    if number == 10 {
        return;
    }
    points.see("n2.eth0", time + AHEAD + 20_000, &there);
    points.see("n2.cni0", time + AHEAD + 25_000, &Frame { ttl: 62, ..asked }.bytes());
    points.see("n2.cni0", time + AHEAD + 60_000, &answer.bytes());
    points.see("n2.eth0", time + AHEAD + 70_000, &back);
    points.see("n1.eth0", time + 80_000, &back);
    points.see("n1.cni0", time + 90_000, &Frame { ttl: 62, ..answer }.bytes());
}

fn clock(value: &Value, node: &str) -> Value {
    let clocks = value["clocks"].as_array().unwrap();
    clocks.iter().find(|clock| clock["node"] == node).unwrap().clone()
}

/// What the second node's clock is ahead by.
fn ahead(files: &[std::path::PathBuf]) -> i64 {
    let value: Value = serde_json::from_str(&correlate(&paths(files), &["-o", "json"]).out).unwrap();
    let (one, other) = (clock(&value, "n1"), clock(&value, "n2"));
    other["ahead_ns"].as_i64().unwrap() - one["ahead_ns"].as_i64().unwrap()
}

/// The way there and the way back of one packet are told apart by its TTLs, be there other packets or not.
#[test]
fn a_packet_that_comes_back_to_a_node_tells_of_both_ways() {
    for others in [0, 20_u16] {
        let mut points = Points::default();
        for number in 0..20_u16 {
            let time = START + i64::from(number) * 2_000_000;
            if number < others {
                to_pod(&mut points, time, number);
            }
            to_node_port(&mut points, time + 1_000_000, 2000 + number, &["n2.eth0"]);
        }
        let folder = Folder::new();
        let files = points.files(&folder);
        assert!((ahead(&files) - AHEAD).abs() < 1_000, "{}", ahead(&files));
        let lost: Vec<String> = lost(&files).into_iter().map(|(_, point)| point).collect();
        assert_eq!(lost, if others > 0 { vec!["n1/eth0"] } else { vec![] });
        let ways = records(&files)
            .iter()
            .filter(|record| seen_at(record)[2..] == ["n2/eth0", "n2/eth0", "n1/eth0", "n1/cni0"])
            .count();
        assert_eq!(ways, 20);
    }
}

/// Both devices see the packet before a router and behind it, or the other node's capture has one sight of it: which came
/// first is not told.
#[test]
fn a_packet_whose_ways_nothing_tells_apart_says_nothing_of_clocks() {
    let mut points = Points::default();
    for number in 0..20_u16 {
        let time = START + i64::from(number) * 2_000_000;
        to_pod(&mut points, time, number);
        let sent = Frame { ttl: 63, ..Frame::datagram(NODES[0], NODES[1], (41_000, 30_080), 2000 + number) };
        let back = Frame { source: NODES[1], destination: OWN, ttl: 62, ..sent.clone() };
        let time = time + 1_000_000;
        points.see("n1.eth0", time, &between(&sent, 11, 12));
        points.see("n2.eth0", time + AHEAD + 60_000, &between(&sent, 11, 12));
        if number < 10 {
            points.see("n2.eth0", time + AHEAD + 90_000, &between(&back, 12, 11));
        }
        points.see("n1.eth0", time + 150_000, &between(&back, 12, 11));
    }
    let folder = Folder::new();
    let files = points.files(&folder);
    assert!((ahead(&files) - AHEAD).abs() < 1_000, "{}", ahead(&files));
    let text = correlate(&paths(&files), &[]).out;
    assert!(text.contains("half of the shortest round trip (38 packets)"), "{text}");
}

/// Another device takes the packet back, and the other node's capture has not what it sent.
#[test]
fn where_packets_contradict_each_other_those_are_followed_that_agree() {
    let mut points = Points::default();
    for number in 0..20_u16 {
        let time = START + i64::from(number) * 2_000_000;
        to_pod(&mut points, time, number);
        if number < 15 {
            let sent = Frame { ttl: 63, ..Frame::datagram(NODES[0], NODES[1], (41_000, 30_080), 2000 + number) };
            let back = Frame { source: NODES[1], destination: OWN, ttl: 62, ..sent.clone() };
            let time = time + 1_000_000;
            points.see("n1.eth0", time, &between(&sent, 11, 12));
            points.see("n2.eth0", time + AHEAD + 60_000, &between(&sent, 11, 12));
            points.see("n1.eth1", time + 150_000, &between(&back, 13, 14));
        }
    }
    let folder = Folder::new();
    let files = points.files(&folder);
    let text = correlate(&paths(&files), &[]).out;
    assert!(text.contains("not to be relied on"), "{text}");
    assert!((ahead(&files) - AHEAD).abs() < 1_000, "{}", ahead(&files));
}
