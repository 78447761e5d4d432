//! Losses where only little tells of them: packets that go one way, in fragments, or to a device that has not seen them; and
//! packets that are no losses though files hold them twice.

use std::path::PathBuf;

use serde_json::Value;

use super::frame::{self, Frame, vxlan};
use super::{Folder, correlate, paths};

const START: i64 = 1_700_000_000_000_000_000;
const TUNNEL: ([u8; 4], [u8; 4]) = ([192, 0, 2, 11], [192, 0, 2, 12]);

fn datagram(number: u16) -> Frame {
    Frame { ttl: 63, ..Frame::datagram([10, 244, 1, 2], [10, 244, 2, 3], (40_000, 53), number + 1) }
}

/// Where each lost packet was lost, by its number from 1.
pub fn lost(files: &[PathBuf]) -> Vec<(u64, String)> {
    let run = correlate(&paths(files), &["-o", "jsonl"]);
    let records = run.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lost = records.filter_map(|record| Some((record["id"].as_u64()?, record["lost_after"].as_str()?.to_owned())));
    let lost: Vec<(u64, String)> = lost.collect();
    assert_eq!(run.code, i32::from(!lost.is_empty()), "{}", run.err);
    lost
}

#[test]
fn packets_that_go_one_way_are_no_losses_whatever_they_take() {
    for (jitter, ahead) in [(0, 0), (1, 0), (97, 5_000_000), (30_000, 0), (100_000, 5_000_000)] {
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for number in 0..200_u16 {
            let time = START + i64::from(number) * 1_000_000;
            let frame = datagram(number).in_vxlan(TUNNEL);
            near.push((time, frame.clone()));
            if number != 20 && number != 150 {
                let takes = 200_000 + i64::from(number) * 7919 % (jitter + 1);
                far.push((time + takes + ahead, frame));
            }
        }
        let folder = Folder::new();
        let files = [folder.capture("n1.eth0.pcap", &near), folder.capture("n2.eth0.pcap", &far)];
        let wanted = [21, 151].map(|id| (id, "n1/eth0".to_owned()));
        assert_eq!(lost(&files), wanted, "jitter {jitter} ns, {ahead} ns ahead");
        let text = correlate(&paths(&files), &[]).out;
        assert!(text.contains("nothing says which node packets came to") && text.contains("p50 +"), "{text}");
    }
}

/// Cuts the IP packet in a frame into fragments of so many bytes each.
fn pieces(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (head, body) = (&frame[..34], &frame[34..]);
    let count = body.len().div_ceil(size);
    let cut = |(place, piece): (usize, &[u8])| {
        let mut piece = [head, piece].concat();
        let length = u16::try_from(piece.len() - 14).unwrap();
        let offset = u16::try_from(place * size / 8).unwrap() | if place + 1 < count { 0x2000 } else { 0 };
        piece[16..18].copy_from_slice(&length.to_be_bytes());
        piece[20..22].copy_from_slice(&offset.to_be_bytes());
        piece
    };
    body.chunks(size).enumerate().map(cut).collect()
}

#[test]
fn a_lost_fragment_is_a_loss_of_its_packet() {
    for lacks in 0..3 {
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for number in 0..30_u16 {
            let time = START + i64::from(number) * 1_000_000;
            let frame = Frame { payload: vec![number.to_be_bytes()[1]; 3500], ..datagram(number) };
            for (place, piece) in pieces(&frame.bytes(), 1400).into_iter().enumerate() {
                let time = time + i64::try_from(place).unwrap() * 1_000;
                near.push((time, piece.clone()));
                if number != 12 || place != lacks {
                    far.push((time + 20_000, piece));
                }
            }
        }
        let folder = Folder::new();
        let files = [folder.capture("n1.cni0.pcap", &near), folder.capture("n1.eth0.pcap", &far)];
        assert_eq!(lost(&files), [(13, "n1/cni0".to_owned())], "fragment {lacks}");
        let text = correlate(&paths(&files), &[]).out;
        assert!(text.contains("30 packets, 107040 bytes, 1 lost"), "{text}");
        assert!(text.contains("✗ 1 lost after n1/cni0"), "{text}");
    }
}

#[test]
fn a_lost_fragment_of_a_tunnels_packet_is_placed_where_it_was_lost() {
    let mut points: [Vec<(i64, Vec<u8>)>; 4] = Default::default();
    for number in 0..30_u16 {
        let time = START + i64::from(number) * 1_000_000;
        let inner = Frame { payload: vec![number.to_be_bytes()[1]; 1400], ..datagram(number) };
        points[0].push((time, inner.bytes()));
        let is_lossy = number == 5 || number == 9;
        for (place, piece) in pieces(&inner.in_vxlan(TUNNEL), 1000).into_iter().enumerate() {
            points[1].push((time + 10_000, piece.clone()));
            if !is_lossy || place == 0 {
                points[2].push((time + 210_000, piece));
            }
        }
        if !is_lossy {
            points[3].push((time + 230_000, inner.bytes()));
        }
    }
    let folder = Folder::new();
    let names = ["n1.flannel.1.pcap", "n1.eth0.pcap", "n2.eth0.pcap", "n2.flannel.1.pcap"];
    let files: Vec<PathBuf> = names.iter().zip(&points).map(|(name, frames)| folder.capture(name, frames)).collect();
    assert_eq!(lost(&files), [6, 10].map(|id| (id, "n1/eth0".to_owned())));
}

/// Each fragment of a packet is in a tunnel's packet of its own.
#[test]
fn a_lost_fragment_is_placed_where_the_tunnel_is_put_on_or_taken_off() {
    let names = ["n1.flannel.1", "n1.eth0", "n2.eth0", "n2.flannel.1"];
    let lossy = [(5, 0), (9, 1), (14, 2)];
    let mut points: [Vec<(i64, Vec<u8>)>; 4] = Default::default();
    for number in 0..30_u16 {
        let frame = Frame { payload: vec![number.to_be_bytes()[1]; 3500], ..datagram(number) };
        for (place, piece) in pieces(&frame.bytes(), 1400).into_iter().enumerate() {
            let time = START + i64::from(number) * 1_000_000 + i64::try_from(place).unwrap() * 1_000;
            let wrapped = vxlan(&piece, TUNNEL, number * 3 + u16::try_from(place).unwrap());
            let behind = lossy.iter().find(|(lost, _)| *lost == number && place == 1).map_or(3, |(_, behind)| *behind);
            for (at, frames) in points.iter_mut().enumerate().take(behind + 1) {
                let bytes = if at == 0 || at == 3 { &piece } else { &wrapped };
                frames.push((time + i64::try_from(at).unwrap() * 20_000, bytes.clone()));
            }
        }
    }
    let folder = Folder::new();
    let files: Vec<PathBuf> =
        names.iter().zip(&points).map(|(name, frames)| folder.capture(&format!("{name}.pcap"), frames)).collect();
    let wanted = [(6, "n1/flannel.1"), (10, "n1/eth0"), (15, "n2/eth0")];
    assert_eq!(lost(&files), wanted.map(|(id, point)| (id, point.to_owned())));
}

#[test]
fn what_a_captured_device_has_not_seen_is_lost_on_the_way_to_it() {
    let frame = |from: u8, to: u8, number: u16| {
        let tunnel = ([192, 0, 2, from], [192, 0, 2, to]);
        datagram(number).in_vxlan(tunnel)
    };
    let near: Vec<(i64, Vec<u8>)> =
        (0..5).map(|number| (START + i64::from(number) * 50_000_000, frame(11, 12, number))).collect();
    // The other node talks with two more before, in the meantime and behind.
    let far = |to: i64| -> Vec<(i64, Vec<u8>)> {
        let times =
            (0..60).map(|number| (START - 100_000_000 + number * 10_000_000, number)).filter(|(time, _)| *time < to);
        times
            .map(|(time, number)| (time, if number % 2 == 0 { frame(13, 12, 900) } else { frame(12, 14, 901) }))
            .collect()
    };
    let folder = Folder::new();
    let near = folder.capture("n1.eth0.pcap", &near);
    let files = [near.clone(), folder.capture("n2.eth0.pcap", &far(i64::MAX))];
    let all: Vec<(u64, String)> = lost(&files);
    assert_eq!(all.iter().map(|(_, point)| point.as_str()).collect::<Vec<_>>(), ["n1/eth0"; 5]);
    let text = correlate(&paths(&files), &[]).out;
    assert!(text.contains("they went to the link address of n2/eth0, which has not seen them"), "{text}");
    let text = correlate(&paths(&files), &["-v"]).out;
    assert!(text.contains("it went to the link address of n2/eth0, which has not seen it"), "{text}");
    // Of the time behind its last packet nothing is known.
    let files = [near, folder.capture("n2.eth0.pcap", &far(START + 60_000_000))];
    assert_eq!(lost(&files).len(), 2);
    let text = correlate(&paths(&files), &[]).out;
    assert!(text.contains("3 packets last seen at n1/eth0, while the next point's capture has no packets"), "{text}");
}

#[test]
fn a_record_that_two_files_hold_is_one_packet() {
    let all: Vec<(i64, Vec<u8>)> =
        (0..60_u16).map(|number| (START + i64::from(number) * 1_000_000, datagram(number).in_vxlan(TUNNEL))).collect();
    let folder = Folder::new();
    let files = [folder.capture("n1.eth0.pcap", &all[..40]), folder.capture("n1.eth0.pcap1", &all[30..])];
    let run = correlate(&paths(&files), &["--at", &format!("{}=n1/eth0", files[1].display())]);
    assert_eq!(run.code, 0, "{} {}", run.out, run.err);
    assert!(run.out.contains("60 packets of 1 flow, 1 point, 1 node: 0 lost"), "{}", run.out);
    let twice = [files[0].clone(), folder.0.join("./n1.eth0.pcap")];
    let run = correlate(&paths(&twice), &[]);
    assert!(run.code == 2 && run.err.contains("is given twice"), "{}", run.err);
}

#[test]
fn packets_that_look_the_same_come_out_in_the_order_in_which_they_went_in() {
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for burst in 0..50 {
        for place in 0..4 {
            let time = START + burst * 10_000_000 + place * 5_000;
            let frame = Frame { id: 0, payload: b"the same".to_vec(), ..datagram(0) };
            near.push((time, frame.bytes()));
            far.push((time + 20_000, Frame { ttl: 62, ..frame }.bytes()));
        }
    }
    let folder = Folder::new();
    let files = [folder.capture("n1.cni0.pcap", &near), folder.capture("n1.eth0.pcap", &far)];
    let text = correlate(&paths(&files), &[]).out;
    assert!(text.contains("200  p50 20.") && !text.contains("reordered") && !text.contains("lost after"), "{text}");
}

/// A TCP segment with so much data from a sequence number on.
fn segment(sequence: u32, size: usize, id: u16) -> Vec<u8> {
    Frame { payload: vec![7; size], ports: (40_000, 80), id, ..datagram(0) }.in_tcp(sequence, 0x10)
}

/// In the tunnel, 98 bytes have the whole header of UDP, and not that of TCP: what was not told there is no loss before it, nor
/// behind it.
#[test]
fn what_was_cut_too_far_to_be_told_is_not_lost() {
    let mut points: [Vec<(i64, Vec<u8>)>; 3] = Default::default();
    for number in 0..30_u16 {
        let time = START + i64::from(number) * 1_000_000;
        let of_udp = datagram(number).bytes();
        let of_tcp = segment(1_000 + u32::from(number) * 100, 100, 500 + number);
        for (inner, later, is_udp) in [(of_udp, 0, true), (of_tcp, 400_000, false)] {
            points[0].push((time + later, inner.clone()));
            let wrapped = vxlan(&inner, TUNNEL, 0);
            points[1].push((time + later + 10_000, wrapped.clone()));
            if number != 12 || !is_udp {
                points[2].push((time + later + 30_000, wrapped));
            }
        }
    }
    let folder = Folder::new();
    let files = [
        folder.capture("n1.cni0.pcap", &points[0]),
        folder.write("n1.eth0.pcap", &frame::cut(&points[1], 98)),
        folder.write("n2.eth0.pcap", &frame::cut(&points[2], 98)),
    ];
    let lost: Vec<String> = lost(&files).into_iter().map(|(_, point)| point).collect();
    assert_eq!(lost, ["n1/eth0"], "the datagram that was");
    let run = correlate(&paths(&files), &["-o", "json"]);
    let value: Value = serde_json::from_str(&run.out).unwrap();
    let early = value["flows"].as_array().unwrap().iter().map(|flow| flow["early"].as_array().unwrap().len());
    assert_eq!(early.sum::<usize>(), 0, "{}", run.out);
}

/// What was sent in one large frame is sent again in segments, of which the first one begins where that did.
#[test]
fn data_is_known_again_where_it_was_sent_in_a_larger_frame() {
    let mut frames = vec![(START, segment(1_000, 5_600, 10)), (START + 1_000, segment(6_600, 1_400, 14))];
    for place in 0..4_u16 {
        let sequence = 1_000 + u32::from(place) * 1_400;
        frames.push((START + 300_000_000 + i64::from(place) * 1_000, segment(sequence, 1_400, 20 + place)));
    }
    frames.push((START + 400_000_000, segment(8_000, 1_400, 24)));
    let folder = Folder::new();
    let files = [folder.capture("n1.default_a.eth0.pcap", &frames)];
    let run = correlate(&paths(&files), &["-o", "jsonl"]);
    let records = run.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let again: Vec<Option<u64>> = records.map(|record| record["retransmission_of"].as_u64()).collect();
    assert_eq!(again, [None, None, Some(1), Some(1), Some(1), Some(1), None], "{}", run.out);
}

/// In the tunnel, 110 bytes have TCP's header without its options: segments and acknowledgements are told without these
/// everywhere, though one capture has them.
#[test]
fn segments_are_told_without_options_that_a_capture_lacks() {
    let mut points: [Vec<(i64, Vec<u8>)>; 3] = Default::default();
    for number in 0..30_u16 {
        let time = START + i64::from(number) * 1_000_000;
        let [n1, n2] = number.to_be_bytes();
        let stamp = [1, 1, 8, 10, 0, 0, n1, n2, 0, 0, 0, 1];
        let payload = [&stamp[..], &vec![7; if number % 3 == 0 { 0 } else { 100 }]].concat();
        let frame = Frame { payload, ports: (40_000, 80), id: 500 + number, ..datagram(0) };
        let mut inner = frame.in_tcp(1_000 + u32::from(number) * 100, 0x10);
        // Its header is of 32 bytes.
        inner[46] = 0x80;
        let wrapped = vxlan(&inner, TUNNEL, 0);
        points[0].push((time, inner));
        points[1].push((time + 10_000, wrapped.clone()));
        if number != 13 {
            points[2].push((time + 30_000, wrapped));
        }
    }
    let folder = Folder::new();
    let files = [
        folder.capture("n1.cni0.pcap", &points[0]),
        folder.write("n1.eth0.pcap", &frame::cut(&points[1], 110)),
        folder.write("n2.eth0.pcap", &frame::cut(&points[2], 110)),
    ];
    assert_eq!(lost(&files), [(14, "n1/eth0".to_owned())]);
    let run = correlate(&paths(&files), &["-o", "jsonl"]);
    let records = run.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let wrong = records.filter(|record| !record["retransmission_of"].is_null()).count();
    assert_eq!((run.out.lines().count(), wrong), (30, 0), "{}", run.out);
}
