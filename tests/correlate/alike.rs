//! Packets that nothing but their addresses tells apart: two pods send the same content, without a number, to one server.

use std::path::PathBuf;

use serde_json::Value;

use super::frame::Frame;
use super::losses::lost;
use super::order::{Points, between, records, seen_at};
use super::{Folder, correlate, paths};

const START: i64 = 1_700_000_000_000_000_000;
const SERVER: [u8; 4] = [10, 244, 2, 3];
const SERVICE: [u8; 4] = [10, 96, 0, 10];
/// The last byte of the bridge's own link address.
const BRIDGE: u8 = 200;

/// What a pod of the first node sends.
fn sent(pod: u8, to: [u8; 4], port: u16) -> Frame {
    Frame { id: 0, payload: b"the same".to_vec(), ..Frame::datagram([10, 244, 1, pod], to, (port, 53), 0) }
}

/// Both pods send to the server every ten milliseconds, the second one some time behind the first one.
fn two_pods(ports: [u16; 2], behind: i64) -> Points {
    let mut points = Points::default();
    for number in 0..40 {
        for (pod, port, later) in [(2, ports[0], 0), (3, ports[1], behind)] {
            let time = START + number * 10_000_000 + later;
            let frame = sent(pod, SERVER, port);
            let point = if pod == 2 { "n1.default_a.eth0" } else { "n1.default_b.eth0" };
            points.see(point, time, &between(&frame, pod, BRIDGE));
            points.see("n1.flannel.1", time + 15_000, &between(&Frame { ttl: 63, ..frame }, 9, 8));
        }
    }
    points
}

/// Every packet went on with the addresses that it has, and right then.
fn judge(files: &[PathBuf], packets: usize) {
    assert_eq!(lost(files), []);
    let records = records(files);
    assert_eq!(records.len(), packets);
    for record in records {
        for seen in record["sightings"].as_array().unwrap() {
            let rewritten = seen["rewritten"].as_array().unwrap();
            assert!(rewritten.iter().all(|change| change == "ttl 64 > 63"), "{record}");
            assert!(seen["delay_ns"].as_i64().is_none_or(|delay| delay == 15_000), "{record}");
        }
    }
}

#[test]
fn two_senders_of_the_same_are_told_apart_where_one_of_them_is_captured() {
    for ports in [[7_779, 7_779], [7_779, 7_790]] {
        // One behind the other, at once, and so far apart that the next packet of the first one comes between.
        for behind in [5_000_000, 300_000, 2_000, 14_000_000] {
            let mut points = two_pods(ports, behind);
            let folder = Folder::new();
            let files = points.files(&folder);
            judge(&files, 80);
            for one in ["default_a", "default_b"] {
                let is_kept = |file: &&PathBuf| !file.to_str().unwrap().contains(one);
                let some: Vec<PathBuf> = files.iter().filter(is_kept).cloned().collect();
                judge(&some, 80);
            }
        }
    }
}

/// A bridge that netfilter sees rewrites before its own capture: what a pod sends to the service, the bridge shows as sent to
/// the server. The bridge's packet of the time before is not the one that the pod sends now.
#[test]
fn what_a_bridge_shows_rewritten_is_not_sent_afterwards() {
    let mut points = Points::default();
    for number in 0..40 {
        for (pod, later) in [(2, 0), (3, 4_000_000)] {
            let time = START + number * 10_000_000 + later;
            let asked = sent(pod, SERVICE, 40_000);
            if pod == 3 {
                points.see("n1.default_b.eth0", time, &between(&asked, pod, BRIDGE));
            }
            points.see("n1.cni0", time + 10_000, &between(&Frame { destination: SERVER, ..asked }, pod, BRIDGE));
        }
    }
    let folder = Folder::new();
    let files = points.files(&folder);
    let records = records(&files);
    assert_eq!((records.len(), lost(&files)), (80, vec![]));
    let of_pod = records.iter().filter(|record| record["flow"] == "udp 10.244.1.3:40000 > 10.96.0.10:53");
    let orders: Vec<Vec<&str>> = of_pod.map(seen_at).collect();
    assert_eq!(orders, vec![vec!["n1/default_b/eth0", "n1/cni0"]; 40]);
}

/// What is masqueraded keeps one end, and has another TTL: it is found though a queue holds it for long.
#[test]
fn what_is_rewritten_is_still_one_packet() {
    let mut points = Points::default();
    for number in 0..40 {
        let time = START + number * 100_000_000;
        let asked = sent(2, [203, 0, 113, 9], 40_000);
        points.see("n1.cni0", time, &between(&asked, 2, BRIDGE));
        let left = Frame { source: [192, 0, 2, 11], ttl: 63, ..asked };
        points.see("n1.eth0", time + 50_000_000, &between(&left, 9, 8));
    }
    let folder = Folder::new();
    let files = points.files(&folder);
    let value: Value = serde_json::from_str(&correlate(&paths(&files), &["-o", "json"]).out).unwrap();
    assert_eq!((&value["packets"], &value["lost"]), (&40.into(), &0.into()), "{value}");
}
