//! Sights that no network makes: the core must take them, and tell of each of them once at least.

use std::collections::BTreeSet;
use std::net::IpAddr;

use flowtrace::correlate::identity::{Form, Identity};
use flowtrace::correlate::{FileId, Journey, Lane, Lanes, NodeId, Outer, PointId, Seen, Sight, Survey, WIDTH, Window};
use flowtrace::net::{Link, MacAddr, Protocol};
use flowtrace::trace::Way;

/// Chance numbers, the same in every run (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }

    fn small(&mut self, bound: u8) -> u8 {
        u8::try_from(self.below(bound.into())).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

const POINTS: u16 = 5;

fn address(chance: &mut Chance) -> IpAddr {
    match chance.below(4) {
        0 => IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, chance.small(3)]),
        _ => IpAddr::from([10, 0, 0, chance.small(3)]),
    }
}

fn lane(chance: &mut Chance, point: u16) -> Lane {
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let (source, destination) = (address(chance), address(chance));
    Lane {
        point: PointId(point),
        device: 0,
        way: chance.pick(&[None, None, Some(Way::In), Some(Way::Out)]),
        protocol: chance.pick(&[Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol(0)]),
        source,
        destination,
        ports: chance.pick(&[None, Some((1, 2)), Some((2, 1))]),
        link: chance.pick(&[None, Some(Link { source: mac(1), destination: mac(2) })]),
        tunnel: chance.pick(&[None, None, Some(Outer { name: "vxlan", vni: None, source, destination })]),
    }
}

/// Few keys, few numbers and overlapping ranges, so that everything meets everything else.
fn sight(chance: &mut Chance, number: u64, wild: bool) -> Sight {
    let point = u16::try_from(chance.below(POINTS.into())).unwrap();
    let start = chance.pick(&[0_u32, 1000, 0xffff_ff00, 0x7fff_ff00]).wrapping_add(u32::from(chance.small(4)) * 500);
    let size = chance.pick(&[1_u32, 500, 1000, 3000, 70_000, 0x8000_0001]);
    let form = match chance.below(4) {
        0 => Form::Whole,
        1 => Form::Tail,
        _ => Form::Segment(start, start.wrapping_add(size)),
    };
    let near = i64::try_from(number * 100_000 + chance.below(10_000_000)).unwrap();
    let time = if wild && chance.below(20) == 0 { chance.pick(&[i64::MIN, -1, 0, i64::MAX]) } else { near };
    let datagram = (form == Form::Tail || chance.below(5) == 0).then(|| 100 + chance.below(4) + u64::from(point) * 10);
    let identity = Identity { key: chance.below(6), id: u32::from(chance.small(5)), form, datagram };
    Sight {
        lane: lane(chance, point),
        file: FileId(point),
        number,
        time,
        ttl: chance.small(4),
        flags: chance.small(255),
        length: chance.pick(&[0, 40, 1500, 65_535, u32::MAX]),
        is_wanted: true,
        vague: None,
        identity,
    }
}

fn told(sights: &[Sight], width: i64) -> (BTreeSet<u64>, u64, usize) {
    let mut survey = Survey::default();
    for point in 0..POINTS {
        survey.add_point(NodeId(point / 2));
    }
    for sight in sights {
        survey.add(sight);
    }
    let learned = survey.learn();
    let mut window = Window::new(learned.clone(), width);
    let mut sorted: Vec<&Sight> = sights.iter().collect();
    sorted.sort_by_key(|sight| learned.correct(sight.lane.point, sight.time));
    let (mut met, mut records) = (BTreeSet::new(), 0);
    let mut each = |journey: &Journey<'_>, lanes: &Lanes| {
        records += 1;
        assert!(!journey.sights.is_empty());
        let node = |seen: &Seen| lanes.point(seen.lane).0 / 2;
        // Two nodes' clocks are not known that well.
        let is_in_order = |one: &Seen, other: &Seen| {
            one.time <= other.time || node(one) != node(other) && one.time - other.time <= 100_000
        };
        assert!(journey.sights.is_sorted_by(is_in_order), "in the order of their times");
        met.extend(journey.sights.iter().chain(journey.parts).map(|seen: &Seen| seen.number));
    };
    for sight in sorted {
        window.push(sight, &mut each);
    }
    let summary = window.finish(&mut each);
    (met, summary.packets, records)
}

#[test]
fn every_sight_is_of_a_packet_whatever_it_is() {
    for seed in 1..400_u64 {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let count = 1 + chance.below(300);
        let wild = seed % 2 == 0;
        let sights: Vec<Sight> = (1..=count).map(|number| sight(&mut chance, number, wild)).collect();
        let width = chance.pick(&[1, 1_000_000, WIDTH]);
        let (met, packets, records) = told(&sights, width);
        let all: BTreeSet<u64> = (1..=count).collect();
        assert_eq!(met, all, "seed {seed}");
        assert_eq!(packets, records as u64, "seed {seed}");
    }
}

#[test]
fn many_packets_that_look_the_same_cost_no_more_than_others() {
    let mut chance = Chance(77);
    let made = |chance: &mut Chance, number: u64, key: u64| {
        let mut sight = sight(chance, number, false);
        sight.time = i64::try_from(number * 1000).unwrap();
        sight.identity = Identity { key, id: 0, form: Form::Whole, datagram: None };
        sight
    };
    let same: Vec<Sight> = (1..4_000).map(|number| made(&mut chance, number, 7)).collect();
    let start = std::time::Instant::now();
    let (met, _, _) = told(&same, WIDTH);
    assert_eq!(met.len(), same.len());
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
