//! What the clocks of nodes differ by.
//!
//! A packet that goes from one node to another one shows a time on each; the difference is what the clocks differ by and
//! how long it was under way. The fastest packets of both directions leave the smallest room between them: with a delay
//! of at least 0, the clocks' difference lies below every difference of one direction and above every one of the other.
//! A line through the middle of that room, as far as possible from both (a linear program of two lines of points, which
//! their convex hulls solve), gives offset and drift; half of the room, the half of the smallest round trip, is what it
//! may be wrong by.

/// A difference: when it was, and what was seen, both in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The time by the first node's clock, behind some moment.
    pub time: f64,
    /// The second node's time of the same packet less the first one's.
    pub apart: f64,
}

/// How the second of two clocks goes by the first: at `time` it is ahead by `offset + drift * time`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Nanoseconds at the moment from which times count.
    pub offset: f64,
    /// Nanoseconds a nanosecond.
    pub drift: f64,
    /// What it may be wrong by.
    pub doubt: Doubt,
}

/// How sure a clock is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    /// By at most so many nanoseconds each way: half of the smallest round trip.
    Within(f64),
    /// Packets went in one direction only: the second clock may be behind by any amount more, by as much as they were
    /// under way.
    Behind,
    /// The same, with the second clock ahead.
    Ahead,
    /// The differences of both directions contradict each other: a clock was set while packets were captured, or one
    /// doesn't go evenly. What it may be wrong by is at least so many nanoseconds.
    Uneven(f64),
    /// Nothing says which node came first on the packets' way.
    Unordered,
}

/// The line between the differences of packets that went from the first node to the second, and those that came back.
/// `None` where there are none.
#[must_use]
pub fn fit(onward: &[Difference], back: &[Difference]) -> Option<Line> {
    let (above, below) = (lower_hull(onward), upper_hull(back));
    match (above.is_empty(), below.is_empty()) {
        (true, true) => None,
        (false, true) => Some(support(&above, Doubt::Behind)),
        (true, false) => Some(mirrored(support(&mirror(&below), Doubt::Ahead))),
        (false, false) => Some(between(&above, &below)),
    }
}

/// The corners of the lower border of some points, from left to right.
fn lower_hull(points: &[Difference]) -> Vec<Difference> {
    let mut sorted: Vec<Difference> =
        points.iter().copied().filter(|point| point.time.is_finite() && point.apart.is_finite()).collect();
    sorted.sort_by(|one, other| one.time.total_cmp(&other.time).then(one.apart.total_cmp(&other.apart)));
    sorted.dedup_by(|later, earlier| later.time <= earlier.time);
    let mut hull: Vec<Difference> = Vec::new();
    for point in sorted {
        while let [.., before, last] = hull.as_slice()
            && turn(*before, *last, point) <= 0.0
        {
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

fn upper_hull(points: &[Difference]) -> Vec<Difference> {
    mirror(&lower_hull(&mirror(points)))
}

fn mirror(points: &[Difference]) -> Vec<Difference> {
    points.iter().map(|point| Difference { apart: -point.apart, ..*point }).collect()
}

fn mirrored(line: Line) -> Line {
    Line { offset: -line.offset, drift: -line.drift, ..line }
}

/// Positive where the way over three points turns left.
fn turn(one: Difference, two: Difference, three: Difference) -> f64 {
    (two.time - one.time) * (three.apart - one.apart) - (two.apart - one.apart) * (three.time - one.time)
}

/// One direction only: the line beneath all points that comes nearest to their middle, level unless that leaves half as
/// much room again.
fn support(hull: &[Difference], doubt: Doubt) -> Line {
    let level = hull.iter().map(|point| point.apart).fold(f64::INFINITY, f64::min);
    let (Some(first), Some(last)) = (hull.first(), hull.last()) else {
        return Line { offset: 0.0, drift: 0.0, doubt };
    };
    let middle = f64::midpoint(first.time, last.time);
    let edge = hull.windows(2).find_map(|pair| match pair {
        [one, two] if one.time <= middle && middle <= two.time => Some((*one, *two)),
        _ => None,
    });
    let steep = edge.map(|(one, two)| through(one, (two.apart - one.apart) / (two.time - one.time)));
    let rise = hull.iter().map(|point| point.apart).fold(f64::NEG_INFINITY, f64::max) - level;
    match steep {
        // Clocks that drift by less than this hide behind the delays of packets.
        Some((offset, drift)) if rise > LEVEL && hull.len() > 2 => Line { offset, drift, doubt },
        _ => Line { offset: level, drift: 0.0, doubt },
    }
}

/// Below this many nanoseconds over the whole capture, a drift is not told from packets' delays in one direction.
const LEVEL: f64 = 100_000.0;

/// The line through a point with a slope: offset and drift.
fn through(point: Difference, slope: f64) -> (f64, f64) {
    (point.apart - slope * point.time, slope)
}

/// Both directions.
fn between(above: &[Difference], below: &[Difference]) -> Line {
    let ceiling = above.iter().map(|point| point.apart).fold(f64::INFINITY, f64::min);
    let floor = below.iter().map(|point| point.apart).fold(f64::NEG_INFINITY, f64::max);
    let level = (ceiling - floor) / 2.0;
    let steep = widest(above, below);
    match steep {
        // Clocks that don't drift leave as much room to a level line, up to chance.
        Some(line) if level < line.margin / 2.0 => {
            Line { offset: line.offset, drift: line.drift, doubt: doubt(line.margin) }
        }
        _ => Line { offset: f64::midpoint(ceiling, floor), drift: 0.0, doubt: doubt(level) },
    }
}

fn doubt(margin: f64) -> Doubt {
    if margin >= 0.0 { Doubt::Within(margin) } else { Doubt::Uneven(-margin) }
}

/// A line with the room to its nearest point on both sides.
#[derive(Clone, Copy)]
struct Wide {
    offset: f64,
    drift: f64,
    margin: f64,
}

/// The line with the most room between a border above and one below. The room between the borders is least somewhere,
/// at a corner of one of them; the line goes through the middle there, with a slope that both borders allow. Where they
/// have no time in common, no slope is told from another.
fn widest(above: &[Difference], below: &[Difference]) -> Option<Wide> {
    let from = above.first()?.time.max(below.first()?.time);
    let to = above.last()?.time.min(below.last()?.time);
    if from >= to {
        return None;
    }
    let corners = above.iter().chain(below).map(|point| point.time).chain([from, to]);
    let inside = corners.filter(|time| (from..=to).contains(time));
    let gap = |time: f64| Some(height(above, time)? - height(below, time)?);
    let narrowest = inside.min_by(|one, other| {
        let gaps = (gap(*one).unwrap_or(f64::INFINITY), gap(*other).unwrap_or(f64::INFINITY));
        gaps.0.total_cmp(&gaps.1)
    })?;
    let margin = gap(narrowest)? / 2.0;
    let middle = Difference { time: narrowest, apart: height(above, narrowest)? - margin };
    let (left, right) = slopes(above, narrowest);
    let (mirrored_left, mirrored_right) = slopes(&mirror(below), narrowest);
    let least = left.max(-mirrored_right);
    let most = right.min(-mirrored_left);
    // At the end of the time in common one border allows any slope beyond its own.
    let drift = match (least.is_finite(), most.is_finite()) {
        (true, true) => f64::midpoint(least, most),
        (true, false) => least,
        (false, true) => most,
        (false, false) => 0.0,
    };
    let (offset, drift) = through(middle, drift);
    Some(Wide { offset, drift, margin })
}

/// The height of a border at a time; `None` beyond its ends.
fn height(hull: &[Difference], time: f64) -> Option<f64> {
    let at = hull.partition_point(|point| point.time < time);
    let right = hull.get(at)?;
    if right.time <= time {
        return Some(right.apart);
    }
    let left = hull.get(at.checked_sub(1)?)?;
    let share = (time - left.time) / (right.time - left.time);
    Some(left.apart + share * (right.apart - left.apart))
}

/// The slopes of a lower border left and right of a time.
fn slopes(hull: &[Difference], time: f64) -> (f64, f64) {
    let slope = |one: &Difference, two: &Difference| (two.apart - one.apart) / (two.time - one.time);
    let mut left = f64::NEG_INFINITY;
    let mut right = f64::INFINITY;
    for pair in hull.windows(2) {
        let [one, two] = pair else { continue };
        if two.time <= time || one.time < time {
            left = slope(one, two);
        }
        if two.time > time {
            right = slope(one, two);
            break;
        }
    }
    (left, right)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Differences of packets that are under way for at least `delay` ns, in both directions, with clocks that differ by
    /// `offset` and `drift`; every packet takes a little longer than the fastest, by chance.
    fn exchange(offset: f64, drift: f64, delay: f64) -> (Vec<Difference>, Vec<Difference>) {
        let mut state = 7_u32;
        let mut chance = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 16) / 65536.0
        };
        let mut onward = Vec::new();
        let mut back = Vec::new();
        for number in 0..2000 {
            let time = f64::from(number) * 1e7;
            let clock = offset + drift * time;
            onward.push(Difference { time, apart: clock + delay + chance() * 30_000.0 });
            back.push(Difference { time, apart: clock - delay - chance() * 30_000.0 });
        }
        (onward, back)
    }

    fn at(line: Line, time: f64) -> f64 {
        line.offset + line.drift * time
    }

    #[test]
    fn an_offset_is_found_to_a_fraction_of_the_round_trip() {
        let (onward, back) = exchange(5e6, 0.0, 8_000.0);
        let line = fit(&onward, &back).unwrap();
        assert!((line.offset - 5e6).abs() < 1_000.0, "{line:?}");
        assert!(line.drift.abs() < f64::EPSILON, "{line:?}");
        assert!(matches!(line.doubt, Doubt::Within(doubt) if doubt > 7_000.0 && doubt < 9_000.0), "{line:?}");
    }

    #[test]
    fn a_drift_is_found_beside_the_offset() {
        let (onward, back) = exchange(-3.6e12, 40e-6, 8_000.0);
        let line = fit(&onward, &back).unwrap();
        for time in [0.0, 5e9, 2e10] {
            let wanted = -3.6e12 + 40e-6 * time;
            assert!((at(line, time) - wanted).abs() < 4_000.0, "{line:?} at {time}: {}", at(line, time) - wanted);
        }
    }

    #[test]
    fn one_direction_leaves_one_side_open() {
        let (onward, back) = exchange(5e6, 0.0, 8_000.0);
        let line = fit(&onward, &[]).unwrap();
        assert!((line.offset - 5_008_000.0).abs() < 1_000.0 && line.doubt == Doubt::Behind, "{line:?}");
        let line = fit(&[], &back).unwrap();
        assert!((line.offset - 4_992_000.0).abs() < 1_000.0 && line.doubt == Doubt::Ahead, "{line:?}");
        assert_eq!(fit(&[], &[]), None);
    }

    #[test]
    fn a_clock_that_was_set_is_told() {
        let (mut onward, mut back) = exchange(0.0, 0.0, 8_000.0);
        let (later, behind) = exchange(40e6, 0.0, 8_000.0);
        let shift = |points: Vec<Difference>| {
            points.into_iter().map(|point| Difference { time: point.time + 2e10, ..point }).collect::<Vec<_>>()
        };
        onward.extend(shift(later));
        back.extend(shift(behind));
        onward.extend(exchange(0.0, 0.0, 8_000.0).0.into_iter().map(|p| Difference { time: p.time + 4e10, ..p }));
        back.extend(exchange(0.0, 0.0, 8_000.0).1.into_iter().map(|p| Difference { time: p.time + 4e10, ..p }));
        let line = fit(&onward, &back).unwrap();
        assert!(matches!(line.doubt, Doubt::Uneven(_)), "{line:?}");
    }

    #[test]
    fn a_single_packet_each_way_gives_its_middle() {
        let one = |apart| [Difference { time: 0.0, apart }];
        let line = fit(&one(130.0), &one(70.0)).unwrap();
        assert_eq!((line.offset, line.drift, line.doubt), (100.0, 0.0, Doubt::Within(30.0)));
    }
}
