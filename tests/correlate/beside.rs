//! Packets that go elsewhere than others which come by the same point: what those show is no proof that these are lost.

use std::path::PathBuf;

use super::Folder;
use super::frame::Frame;
use super::losses::lost;

const START: i64 = 1_700_000_000_000_000_000;
const MILLISECOND: i64 = 1_000_000;
const TUNNEL: ([u8; 4], [u8; 4]) = ([192, 0, 2, 11], [192, 0, 2, 12]);
const CLIENT: [u8; 4] = [192, 0, 2, 200];
const NODE: [u8; 4] = [192, 0, 2, 12];

/// Frames with their times in nanoseconds.
type Frames = Vec<(i64, Vec<u8>)>;

/// What points see.
#[derive(Default)]
struct Points(Vec<(&'static str, Frames)>);

impl Points {
    /// A frame comes to a point.
    fn see(&mut self, point: &'static str, time: i64, frame: &[u8]) {
        let place = self.0.iter().position(|(known, _)| *known == point).unwrap_or_else(|| {
            self.0.push((point, Vec::new()));
            self.0.len() - 1
        });
        self.0[place].1.push((START + time, frame.to_vec()));
    }

    /// A frame passes points one after the other.
    fn pass(&mut self, points: &[&'static str], time: i64, frame: &[u8]) {
        (0..).zip(points).for_each(|(place, point)| self.see(point, time + place * 5_000, frame));
    }

    fn lost(mut self) -> Vec<(u64, String)> {
        let folder = Folder::new();
        let files: Vec<PathBuf> = self
            .0
            .iter_mut()
            .map(|(name, frames)| {
                frames.sort_by_key(|(time, _)| *time);
                folder.capture(&format!("{name}.pcap"), frames)
            })
            .collect();
        lost(&files)
    }
}

fn datagram(from: [u8; 4], to: [u8; 4], ports: (u16, u16), id: u16) -> Frame {
    Frame { ttl: 62, ..Frame::datagram(from, to, ports, id) }
}

/// The bridge does not know yet behind which port the receiver is, and sends the first frame out by all of them. Only the
/// receiver answers, be it another flow.
#[test]
fn what_a_bridge_floods_is_no_proof_that_later_packets_are_lost() {
    for answered in [40_000, 40_001] {
        let mut points = Points::default();
        let (client, pod) = ([10, 244, 1, 2], [10, 244, 2, 5]);
        for number in 0..20_u16 {
            let time = i64::from(number) * MILLISECOND;
            let asked = datagram(client, pod, (40_000, 53), number + 1).bytes();
            let way = ["n2.cni0", "n2.veth1", "n2.default_a.eth0"];
            points.pass(if number == 15 { &way[..1] } else { &way }, time, &asked);
            if number == 0 {
                points.pass(&["n2.veth2", "n2.default_b.eth0"], time + 20_000, &asked);
            }
            if number != 15 {
                let answer = datagram(pod, client, (53, answered), number + 501).bytes();
                points.pass(&["n2.default_a.eth0", "n2.veth1", "n2.cni0"], time + 100_000, &answer);
            }
            // The other pod has its own traffic.
            let other = datagram(client, [10, 244, 2, 3], (40_000, 53), number + 1001).bytes();
            points.pass(&["n2.cni0", "n2.veth2", "n2.default_b.eth0"], time + 500_000, &other);
        }
        let lost: Vec<String> = points.lost().into_iter().map(|(_, point)| point).collect();
        assert_eq!(lost, ["n2/cni0"], "answers to {answered}");
    }
}

/// A switch does so between nodes, of which the receiver is not captured.
#[test]
fn what_a_switch_floods_is_no_proof_that_later_packets_are_lost() {
    let mut points = Points::default();
    let elsewhere = (TUNNEL.0, [192, 0, 2, 13]);
    for number in 0..20_u16 {
        let time = i64::from(number) * MILLISECOND;
        let asked = datagram([10, 244, 1, 2], [10, 244, 3, 2], (40_000, 53), number + 1).in_vxlan(elsewhere);
        points.pass(if number == 0 { &["n1.eth0", "n2.eth0"] } else { &["n1.eth0"] }, time, &asked);
        let back = datagram([10, 244, 3, 9], [10, 244, 1, 2], (53, 40_009), number + 501);
        points.see("n1.eth0", time + 200_000, &back.in_vxlan((elsewhere.1, elsewhere.0)));
        let other = datagram([10, 244, 1, 2], [10, 244, 2, 2], (40_000, 53), number + 1001).in_vxlan(TUNNEL);
        points.pass(if number == 9 { &["n1.eth0"] } else { &["n1.eth0", "n2.eth0"] }, time + 400_000, &other);
        let answer = datagram([10, 244, 2, 2], [10, 244, 1, 2], (53, 40_000), number + 1501);
        points.pass(&["n2.eth0", "n1.eth0"], time + 600_000, &answer.in_vxlan((TUNNEL.1, TUNNEL.0)));
    }
    let lost: Vec<String> = points.lost().into_iter().map(|(_, point)| point).collect();
    assert_eq!(lost, ["n1/eth0"], "one to the captured node");
}

/// Out of a tunnel come packets for pods whose devices are captured, for others, and some that the node sends on.
#[test]
fn what_comes_out_of_a_tunnel_goes_where_its_own_address_leads() {
    let mut points = Points::default();
    for number in 0..20_u16 {
        let time = i64::from(number) * MILLISECOND;
        let pod = datagram([10, 244, 1, 2], [10, 244, 2, 4], (40_000, 90), number + 1);
        points.see("n2.eth0", time, &pod.in_vxlan(TUNNEL));
        if number != 7 {
            points.see("n2.edge_hp.eth0", time + 20_000, &Frame { ttl: 61, ..pod }.bytes());
        }
        let other = datagram([10, 244, 1, 2], [10, 244, 2, 2], (40_000, 9999), number + 501);
        points.see("n2.eth0", time + 300_000, &other.in_vxlan(TUNNEL));
        let answer = datagram([10, 244, 1, 9], [10, 244, 2, 0], (7070, 50_000), number + 1001);
        points.see("n2.eth0", time + 600_000, &answer.in_vxlan(TUNNEL));
        let sent = Frame { source: NODE, destination: CLIENT, ports: (30_070, 50_000), ttl: 61, ..answer };
        points.see("n2.eth0", time + 620_000, &sent.bytes());
    }
    let lost: Vec<String> = points.lost().into_iter().map(|(_, point)| point).collect();
    assert_eq!(lost, ["n2/eth0"], "one to the pod that is captured");
}

/// To a node's address go packets for its own stack and for ports that are forwarded to pods; nobody answers.
#[test]
fn what_a_node_takes_itself_is_not_lost_because_other_ports_are_forwarded() {
    let mut points = Points::default();
    for number in 0..20_u16 {
        let time = i64::from(number) * MILLISECOND;
        // The second sender's packets are dropped.
        for (from, later) in [(50_000, 0), (50_001, 300_000)] {
            let asked = Frame::datagram(CLIENT, NODE, (from, 8088), number + (from - 49_999) * 100);
            points.see("n2.eth0", time + later, &asked.bytes());
            if from == 50_000 {
                let there = Frame { destination: [10, 244, 2, 4], ports: (from, 80), ttl: 63, ..asked };
                points.pass(&["n2.cni0", "n2.edge_hp.eth0"], time + later + 20_000, &there.bytes());
            }
        }
        points.see("n2.eth0", time + 600_000, &Frame::datagram(CLIENT, NODE, (50_002, 7777), number + 1).bytes());
    }
    let lost = points.lost();
    // What was sent last came after the other captures had ended.
    assert_eq!(lost.len(), 19, "those to the port that is forwarded: {lost:?}");
    assert!(lost.iter().all(|(id, point)| point == "n2/eth0" && id % 3 == 2), "{lost:?}");
}

/// A service has an endpoint that is not captured: its answers show that packets to it arrive, and so may others that it does
/// not answer.
#[test]
fn what_may_go_to_an_endpoint_that_is_not_captured_is_not_lost() {
    let mut points = Points::default();
    for number in 0..20_u16 {
        let (time, port) = (i64::from(number) * MILLISECOND, 40_000 + number % 3);
        let asked = Frame::datagram([10, 244, 1, 2], [10, 96, 0, 10], (port, 53), number + 1);
        points.see("n1.cni0", time, &asked.bytes());
        if port == 40_000 {
            let there = Frame { destination: [10, 244, 1, 4], ttl: 63, ..asked.clone() };
            points.see("n1.veth1", time + 20_000, &there.bytes());
        }
        if port == 40_001 {
            let answer = Frame::datagram([10, 96, 0, 10], [10, 244, 1, 2], (53, port), number + 501);
            points.see("n1.cni0", time + 500_000, &answer.bytes());
        }
    }
    assert_eq!(points.lost(), []);
}

/// A bridge's netfilter gives what it bridges a service's address back, while requests came to the bridge's own link address.
#[test]
fn what_a_bridge_rewrites_goes_on_by_the_port_it_leaves_by() {
    let mut points = Points::default();
    let (client, service, pod) = ([10, 244, 1, 2], [10, 96, 0, 10], [10, 244, 1, 4]);
    for number in 0..20_u16 {
        let time = i64::from(number) * MILLISECOND;
        let asked = Frame::datagram(client, service, (40_000, 53), number + 1);
        points.see("n1.veth1", time, &asked.bytes());
        points.pass(&["n1.cni0", "n1.veth2"], time + 5_000, &Frame { destination: pod, ..asked }.bytes());
        let answer = Frame::datagram(pod, client, (53, 40_000), number + 501);
        points.pass(&["n1.veth2", "n1.cni0"], time + 200_000, &answer.bytes());
        if number != 7 {
            let mut answer = Frame { source: service, ..answer }.bytes();
            // The link address of the pod.
            answer[11] = pod[3];
            points.see("n1.veth1", time + 220_000, &answer);
        }
    }
    let lost: Vec<String> = points.lost().into_iter().map(|(_, point)| point).collect();
    assert_eq!(lost, ["n1/cni0"]);
}

/// Clocks may be wrong by more than packets take: of one packet the stamps say that it came to the last point first, while TTL
/// says that it did not.
#[test]
fn what_gives_ttl_back_is_no_proof_that_later_packets_are_lost() {
    let mut points = Points::default();
    for number in 0..20_u16 {
        let time = i64::from(number) * MILLISECOND;
        let sent = datagram([10, 244, 1, 2], [10, 244, 2, 5], (40_000, 53), number + 1);
        points.see("n1.cni0", time, &sent.bytes());
        if number != 7 {
            let takes = if number == 3 { -3_000 } else { 20_000 };
            points.see("n1.default_a.eth0", time + takes, &Frame { ttl: 61, ..sent }.bytes());
        }
    }
    let lost: Vec<String> = points.lost().into_iter().map(|(_, point)| point).collect();
    assert_eq!(lost, ["n1/cni0"]);
}
