//! Filters against the real tcpdump: the same packets pass, whole or cut off, in every link layer. Says loudly where
//! tcpdump is missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod capture;
mod expression;
mod frames;
mod judge;
#[path = "../fuzz/random.rs"]
mod random;

use capture::{Capture, OTHERS};
use expression::Values;
use flowtrace::capture::filter::Filter;
use judge::{Verdict, is_ready, judge};
use random::Random;

/// Which filters are made up, and where packets are cut off.
const SEED: u64 = 4;

fn listed() -> impl Iterator<Item = &'static str> {
    include_str!("filters.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Asks both about every filter. Gives how often a packet passed through both, and how many of tcpdump's answers were
/// those without its optimizer.
fn compare(capture: &Capture, filters: impl IntoIterator<Item = impl AsRef<str>>) -> (usize, usize) {
    let (mut differ, mut passed, mut unoptimized) = (Vec::new(), 0, 0);
    for filter in filters {
        match judge(capture, filter.as_ref()) {
            Verdict::Same(packets) => passed += packets,
            Verdict::Refused => {}
            Verdict::Unoptimized => unoptimized += 1,
            Verdict::Differ(how) => differ.push(how),
        }
    }
    assert!(differ.is_empty(), "seed {SEED}:\n{}", differ.join("\n"));
    (passed, unoptimized)
}

fn made_up(capture: &Capture, numbers: std::ops::Range<u64>) -> Vec<String> {
    let values = Values::of(capture);
    numbers.map(|number| values.filter(&mut Random::new(SEED, number))).collect()
}

fn cut(capture: &Capture) -> Capture {
    let mut random = Random::new(SEED, 0);
    capture.cut("cut off", |length| random.below(length + 1))
}

#[test]
fn the_filters_of_the_list_mean_what_they_mean_to_tcpdump() {
    if is_ready("the_filters_of_the_list_mean_what_they_mean_to_tcpdump") {
        let (passed, unoptimized) = compare(&frames::every(), listed());
        assert!(passed > 5_000 && unoptimized == 0, "{passed} passed, {unoptimized} as without the optimizer");
    }
}

#[test]
fn packets_that_are_cut_off_pass_where_they_pass_through_tcpdump() {
    if is_ready("packets_that_are_cut_off_pass_where_they_pass_through_tcpdump") {
        let capture = frames::every();
        let filters = made_up(&capture, 0..100);
        compare(&cut(&capture), listed().filter(|filter| filter.len() > 12).map(str::to_owned).chain(filters));
    }
}

#[test]
fn filters_of_random_words_mean_what_they_mean_to_tcpdump() {
    if is_ready("filters_of_random_words_mean_what_they_mean_to_tcpdump") {
        let capture = frames::every();
        let (passed, unoptimized) = compare(&capture, made_up(&capture, 100..600));
        assert!(passed > 5_000 && unoptimized < 5, "{passed} passed, {unoptimized} as without the optimizer");
    }
}

#[test]
fn filters_mean_the_same_in_every_link_layer() {
    if is_ready("filters_mean_the_same_in_every_link_layer") {
        let capture = frames::every();
        for (number, link_type) in (1..).zip(OTHERS) {
            let other = capture.relinked(link_type);
            compare(&other, listed().filter(|filter| filter.len() < 8));
            compare(&other, made_up(&capture, number * 1000..number * 1000 + 30));
            compare(&cut(&other), made_up(&capture, number * 1000 + 30..number * 1000 + 50));
        }
    }
}

/// What tcpdump can't be asked: its libpcap knows no `vxlan` yet.
#[test]
fn behind_vxlan_a_filter_is_asked_of_the_inner_packet() {
    let inner = frames::every();
    let is_passed = |filter: &Filter, frame: &[u8]| filter.matches(1, frame, 1000);
    let mut count = 0;
    for text in listed().filter(|filter| !filter.contains("[-") && !filter.contains("[0 - ")) {
        let (Ok(filter), Ok(outer)) = (Filter::parse(text), Filter::parse(&format!("vxlan 7 and ({text})"))) else {
            continue;
        };
        let other = Filter::parse(&format!("vxlan 8 and ({text})")).unwrap();
        for packet in &inner.packets {
            for is_v6 in [false, true] {
                let frame = frames::vxlan(7, is_v6, &packet.bytes);
                let expected = is_passed(&filter, &packet.bytes);
                assert_eq!(is_passed(&outer, &frame), expected, "{text:?}: {:02x?}", packet.bytes);
                assert!(!is_passed(&other, &frame), "{text:?}: {:02x?}", packet.bytes);
                count += usize::from(expected);
            }
        }
    }
    assert!(count > 1000, "{count}");
}
