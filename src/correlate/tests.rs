use std::collections::BTreeMap;
use std::net::IpAddr;

use super::identity::{Form, Identity};
use super::*;
use crate::net::{Link, MacAddr, Protocol};

/// Points of two nodes, as a pod's packets pass them: pod, veth, bridge and uplink of node 1, the same of node 2.
const POD1: u16 = 0;
const VETH1: u16 = 1;
const ETH1: u16 = 2;
const ETH2: u16 = 3;
const VETH2: u16 = 4;
const POD2: u16 = 5;

fn nodes() -> Vec<NodeId> {
    [0, 0, 0, 1, 1, 1].map(NodeId).to_vec()
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 1, 2));
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 2, 2));
const SERVICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 10));
const NODE1: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 11));
const NODE2: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 12));

/// A packet as the tests make it.
#[derive(Clone, Copy)]
struct Made {
    key: u64,
    id: u32,
    form: Form,
    length: u32,
}

impl Made {
    fn datagram(key: u64, id: u32) -> Self {
        Self { key, id, form: Form::Whole, length: 100 }
    }

    fn segment(key: u64, id: u32, from: u32, to: u32) -> Self {
        Self { key, id, form: Form::Segment(from, to), length: to.wrapping_sub(from) + 52 }
    }
}

#[derive(Default)]
struct Capture {
    sights: Vec<Sight>,
    numbers: BTreeMap<u16, u64>,
}

/// What the packet looks like at a point, on its way there or back.
fn lane(point: u16, back: bool) -> (Lane, u8) {
    let ends = if back { (SERVER, CLIENT) } else { (CLIENT, SERVER) };
    let outer = if back { (NODE2, NODE1) } else { (NODE1, NODE2) };
    let tunnel = matches!(point, ETH1 | ETH2).then_some(Outer {
        name: "vxlan",
        vni: Some(1),
        source: outer.0,
        destination: outer.1,
    });
    let (ports, hops) = if back { ((80, 40000), POD2 - point) } else { ((40000, 80), point) };
    let ttl = 64 - [0, 0, 1, 1, 2, 2][usize::from(hops)];
    let mac = |last: u16| MacAddr([2, 0, 0, 0, 0, u8::try_from(last).unwrap()]);
    let link = Link { source: mac(hops), destination: mac(hops + 1) };
    let point = PointId(point);
    let (source, destination) = ends;
    let lane = Lane {
        point,
        device: 0,
        way: None,
        protocol: Protocol::TCP,
        source,
        destination,
        ports: Some(ports),
        link: Some(link),
        tunnel,
    };
    (lane, ttl)
}

impl Capture {
    fn see(&mut self, made: Made, lane: Lane, ttl: u8, time: i64) {
        let number = self.numbers.entry(lane.point.0).or_default();
        *number += 1;
        let identity = Identity { key: made.key, id: made.id, form: made.form, datagram: None };
        let file = FileId(lane.point.0);
        self.sights.push(Sight {
            lane,
            file,
            number: *number,
            time,
            ttl,
            length: made.length,
            flags: 0,
            is_wanted: true,
            vague: None,
            identity,
        });
    }

    /// A packet that goes from the first to the last of some points, 10 µs from each to the next.
    fn pass(&mut self, made: Made, points: &[u16], time: i64) {
        let back = points.first() > points.last();
        for (hop, point) in (0..).zip(points) {
            let (lane, ttl) = lane(*point, back);
            self.see(made, lane, ttl, time + hop * 10_000);
        }
    }

    fn shift(&mut self, points: &[u16], by: i64) {
        self.sights.iter_mut().filter(|sight| points.contains(&sight.lane.point.0)).for_each(|sight| sight.time += by);
    }

    fn correlate(&self) -> Told {
        let mut survey = Survey::default();
        for node in nodes() {
            survey.add_point(node);
        }
        self.sights.iter().for_each(|sight| survey.add(sight));
        let learned = survey.learn();
        let clocks = learned.clocks().clone();
        let mut window = Window::new(learned, WIDTH);
        let mut sights: Vec<&Sight> = self.sights.iter().collect();
        sights.sort_by_key(|sight| window.correct(sight.lane.point, sight.time));
        let mut packets = Vec::new();
        let mut each = |journey: &Journey<'_>, lanes: &Lanes| packets.push(Packet::new(journey, lanes));
        for sight in sights {
            window.push(sight, &mut each);
        }
        let summary = window.finish(&mut each);
        Told { packets, summary, clocks }
    }
}

#[derive(Debug)]
struct Packet {
    points: Vec<u16>,
    numbers: Vec<u64>,
    end: End,
    again: Option<u64>,
    missed: Vec<u16>,
    parts: usize,
}

impl Packet {
    fn new(journey: &Journey<'_>, lanes: &Lanes) -> Self {
        Self {
            points: journey.sights.iter().map(|seen| lanes.point(seen.lane).0).collect(),
            numbers: journey.sights.iter().map(|seen| seen.number).collect(),
            end: journey.end,
            again: journey.retransmission_of,
            missed: journey.missed.iter().map(|point| point.0).collect(),
            parts: journey.parts.len(),
        }
    }
}

struct Told {
    packets: Vec<Packet>,
    summary: Summary,
    clocks: Clocks,
}

const THERE: [u16; 6] = [POD1, VETH1, ETH1, ETH2, VETH2, POD2];
const BACK: [u16; 6] = [POD2, VETH2, ETH2, ETH1, VETH1, POD1];
const MILLISECOND: i64 = 1_000_000;

/// Packets of both directions that all arrive.
fn traffic() -> Capture {
    let mut capture = Capture::default();
    for number in 0..50 {
        let time = i64::try_from(number).unwrap() * MILLISECOND;
        capture.pass(Made::datagram(1000 + number, 1 + u32::try_from(number).unwrap()), &THERE, time);
        capture.pass(Made::datagram(2000 + number, 1 + u32::try_from(number).unwrap()), &BACK, time + 500_000);
    }
    capture
}

#[test]
fn every_packet_is_found_at_every_point_in_the_order_of_its_path() {
    let told = traffic().correlate();
    assert_eq!(told.packets.len(), 100);
    for packet in &told.packets {
        assert!(packet.points == THERE || packet.points == BACK, "{packet:?}");
        assert!(matches!(packet.end, End::LastSeen(PointId(POD1 | POD2))), "{packet:?}");
    }
    let flows: Vec<&Flow> = told.summary.flows.iter().collect();
    assert_eq!(flows.len(), 2);
    for flow in flows {
        assert_eq!((flow.packets, flow.hops.len()), (50, 5));
        assert!(flow.hops.iter().all(|hop| hop.delays.count() == 50 && hop.reordered == 0));
        assert!(flow.losses().is_empty());
    }
}

#[test]
fn clocks_that_differ_are_corrected_before_packets_are_followed() {
    for offset in [5 * MILLISECOND, -3_600_000 * MILLISECOND] {
        let mut capture = traffic();
        capture.shift(&[ETH2, VETH2, POD2], offset);
        let told = capture.correlate();
        assert_eq!(told.packets.len(), 100);
        assert!(told.packets.iter().all(|packet| packet.points == THERE || packet.points == BACK));
        let other = NodeId(1 - told.clocks.reference.0);
        let ahead = told.clocks.ahead(other, 0);
        let wanted = if other == NodeId(1) { offset } else { -offset };
        assert!((ahead - wanted).abs() < 20_000, "{ahead} for {wanted}");
        let line = told.clocks.clocks[other.index()].unwrap().line;
        assert!(matches!(line.doubt, Doubt::Within(doubt) if doubt <= 10_000.0), "{line:?}");
    }
}

#[test]
fn a_packet_that_stops_where_others_went_on_is_lost_there() {
    let mut capture = traffic();
    capture.pass(Made::datagram(1, 500), &THERE[..3], 20_100_000);
    capture.pass(Made::datagram(2, 501), &THERE[..1], 20_200_000);
    capture.pass(Made::datagram(3, 502), &BACK[..5], 20_300_000);
    let told = capture.correlate();
    let mut lost: Vec<End> = told.packets.iter().map(|packet| packet.end).collect();
    lost.retain(|end| !matches!(end, End::LastSeen(_)));
    assert_eq!(lost, [ETH1, POD1, VETH1].map(|point| End::Lost(PointId(point))));
    let losses = told.summary.flows.iter().map(|flow| flow.losses().len());
    assert_eq!(losses.sum::<usize>(), 3);
}

#[test]
fn a_packet_behind_the_end_of_the_next_capture_is_not_called_lost() {
    let mut capture = traffic();
    capture.pass(Made::datagram(1, 500), &THERE[..2], 90 * MILLISECOND);
    let told = capture.correlate();
    let ends = told.packets.iter().filter(|packet| matches!(packet.end, End::Outside(..)));
    assert_eq!(ends.map(|packet| packet.end).collect::<Vec<_>>(), [End::Outside(PointId(VETH1), PointId(ETH1))]);
}

#[test]
fn a_packet_seen_further_on_was_missed_by_the_capture_between() {
    let mut capture = traffic();
    capture.pass(Made::datagram(1, 500), &[POD1, VETH1, ETH2, VETH2, POD2], 20_100_000);
    let told = capture.correlate();
    let missed: Vec<&Packet> = told.packets.iter().filter(|packet| !packet.missed.is_empty()).collect();
    assert_eq!(missed.len(), 1);
    assert_eq!((missed[0].missed.as_slice(), missed[0].end), ([ETH1].as_slice(), End::LastSeen(PointId(POD2))));
}

#[test]
fn the_same_datagram_without_a_number_is_another_packet_each_time() {
    let mut capture = traffic();
    for number in 0..20 {
        // A second one sets out while the one before is under way; the fifth is lost.
        let points = if number == 5 { &THERE[..3] } else { &THERE[..] };
        capture.pass(Made::datagram(7, 0), points, 10 * MILLISECOND + number * 25_000);
    }
    let told = capture.correlate();
    let same: Vec<&Packet> = told.packets.iter().filter(|packet| packet.points != BACK).skip(50).collect();
    assert_eq!(told.packets.len(), 120);
    assert_eq!(told.packets.iter().filter(|packet| packet.end == End::Lost(PointId(ETH1))).count(), 1, "{same:?}");
}

#[test]
fn segments_of_a_larger_frame_are_each_followed() {
    let mut capture = traffic();
    let time = 10 * MILLISECOND;
    capture.pass(Made::segment(9, 300, 1000, 1000 + 4 * 1448), &THERE[..2], time);
    for number in 0..4 {
        let from = 1000 + number * 1448;
        // The third one is lost between the nodes.
        let points = if number == 2 { &THERE[2..3] } else { &THERE[2..4] };
        let later = 20_000 + i64::from(number) * 1000;
        capture.pass(Made::segment(9, 300 + number, from, from + 1448), points, time + later);
    }
    // The receiver joins the first two.
    capture.pass(Made::segment(9, 300, 1000, 1000 + 2 * 1448), &THERE[4..], time + 60_000);
    capture.pass(Made::segment(9, 303, 1000 + 3 * 1448, 1000 + 4 * 1448), &THERE[4..], time + 70_000);
    let told = capture.correlate();
    let pieces: Vec<&Packet> = told.packets.iter().filter(|packet| packet.points[0] == POD1).collect();
    let pieces: Vec<&&Packet> =
        pieces.iter().filter(|packet| packet.numbers[0] > 10 && packet.numbers.len() > 1).collect();
    let segments: Vec<_> = pieces.iter().filter(|packet| packet.numbers[0] == 101).collect();
    assert_eq!(segments.len(), 4, "{:?}", told.packets);
    for (number, segment) in segments.iter().enumerate() {
        let wanted = if number == 2 { &THERE[..3] } else { &THERE[..] };
        assert_eq!(segment.points, wanted, "{number}");
        let end = if number == 2 { End::Lost(PointId(ETH1)) } else { End::LastSeen(PointId(POD2)) };
        assert_eq!(segment.end, end, "{number}");
    }
}

#[test]
fn data_that_is_sent_again_is_told_from_a_second_sight() {
    let mut capture = traffic();
    capture.pass(Made::segment(9, 300, 1000, 2000), &THERE[..3], 10 * MILLISECOND);
    // Within the same millisecond of TCP's clock, so that all but the number is the same.
    capture.pass(Made::segment(9, 301, 1000, 2000), &THERE, 10 * MILLISECOND + 40_000);
    // And without a number to tell by.
    capture.pass(Made::segment(8, 0, 1000, 2000), &THERE[..3], 20 * MILLISECOND);
    capture.pass(Made::segment(8, 0, 1000, 2000), &THERE, 20 * MILLISECOND + 40_000);
    let told = capture.correlate();
    let again: Vec<&Packet> = told.packets.iter().filter(|packet| packet.again.is_some()).collect();
    assert_eq!(again.len(), 3, "the other flow has the same sequence numbers: {again:?}");
    assert!(again.iter().all(|packet| packet.points == THERE || packet.points == THERE[..3]), "{again:?}");
    let lost = told.packets.iter().filter(|packet| packet.end == End::Lost(PointId(ETH1))).count();
    assert_eq!(lost, 2);
}

#[test]
fn a_hairpin_comes_to_one_point_twice() {
    let mut capture = traffic();
    for number in 0..10 {
        let made = Made::datagram(5000 + number, 900 + u32::try_from(number).unwrap());
        let time = 5 * MILLISECOND + i64::try_from(number).unwrap() * MILLISECOND;
        let (there, ttl) = lane(VETH1, false);
        let there = Lane { destination: SERVICE, ..there };
        let back = Lane { source: NODE1, destination: CLIENT, ..there };
        capture.see(made, there, ttl, time);
        capture.see(made, back, ttl - 1, time + 15_000);
    }
    let told = capture.correlate();
    let twice: Vec<&Packet> = told.packets.iter().filter(|packet| packet.points == [VETH1, VETH1]).collect();
    assert_eq!(twice.len(), 10);
    assert!(twice.iter().all(|packet| packet.end == End::LastSeen(PointId(VETH1))), "{twice:?}");
}

#[test]
fn fragments_join_the_packet_that_is_whole_elsewhere() {
    let mut capture = traffic();
    let time = 10 * MILLISECOND;
    let mut fragments = |point: u16, time: i64, order: [usize; 3]| {
        let (lane, ttl) = lane(point, false);
        for place in order {
            let lane = if place == 0 { lane } else { Lane { ports: None, ..lane } };
            let made = match place {
                0 => Made::datagram(77, 40),
                place => Made { form: Form::Tail, ..Made::datagram(7700 + place as u64, 40) },
            };
            capture.see(made, lane, ttl, time);
            if let Some(sight) = capture.sights.last_mut() {
                sight.identity.datagram = Some(u64::from(point) + 123_456);
            }
        }
    };
    fragments(POD1, time, [0, 1, 2]);
    fragments(ETH1, time + 20_000, [2, 0, 1]);
    fragments(ETH2, time + 30_000, [2, 1, 0]);
    let (whole, ttl) = lane(VETH1, false);
    capture.see(Made::datagram(77, 40), whole, ttl, time + 10_000);
    let told = capture.correlate();
    let all: Vec<&Packet> = told.packets.iter().filter(|packet| packet.parts > 0).collect();
    assert_eq!(told.packets.len(), 101, "{all:?}");
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].points.as_slice(), all[0].parts), ([POD1, VETH1, ETH1, ETH2].as_slice(), 6));
}

#[test]
fn one_stamp_at_two_points_is_ordered_by_the_way_out() {
    let mut capture = traffic();
    // On the way back the packet comes to the node's device and is handed up with the same stamp.
    for sight in &mut capture.sights {
        let back = sight.lane.source == SERVER;
        if back && sight.lane.point == PointId(VETH1) {
            sight.time += 10_000;
        }
        if !back && sight.lane.point == PointId(VETH1) {
            sight.time -= 10_000;
        }
    }
    let told = capture.correlate();
    assert!(told.packets.iter().all(|packet| packet.points == THERE || packet.points == BACK));
}
