//! Frames at capture points as text, so that they are changed as all inputs are: a line is a frame, its first word the
//! number of the point, and words of hexadecimal digits behind it are bytes; all other words are nothing.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::OnceLock;

use flowtrace::correlate::{
    Depth, Journey, Lanes, Learned, NodeId, Origin, PointId, Sight, Survey, WIDTH, Window, recognize,
};
use flowtrace::load::load;
use flowtrace::net::{IfName, NetnsName, NodeName, PodName};
use flowtrace::retrace::{Atlas, Captured, Flows, Options, Point, Standing};
use flowtrace::snapshot::Snapshot;
use flowtrace::trace::Way;
use flowtrace::wire::{Dissector, LinkType, Ports};

/// The points: each with its node's number, whether it is in `default/pod1`, and its device.
const POINTS: [(u16, bool, &str); 7] = [
    (1, false, "eth0"),
    (1, false, "cni0"),
    (1, false, "flannel.1"),
    (1, false, "vethfcf4e592"),
    (2, false, "eth0"),
    (2, false, "cni0"),
    (1, true, "eth0"),
];

/// A frame at a point; which way it went is told of some.
struct Frame {
    point: usize,
    way: Option<Way>,
    bytes: Vec<u8>,
}

fn frames(text: &str) -> Vec<Frame> {
    text.lines().filter_map(frame).collect()
}

fn frame(line: &str) -> Option<Frame> {
    let is_hex = |word: &&str| word.len().is_multiple_of(2) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("0"), 16).unwrap_or(0);
    let words = line.split_ascii_whitespace().filter(is_hex);
    let mut bytes = words.flat_map(|word| word.as_bytes().chunks(2).map(byte));
    let first = bytes.next()?;
    let way = [None, Some(Way::In), Some(Way::Out)].get(usize::from(first >> 4)).copied().flatten();
    Some(Frame { point: usize::from(first & 15) % POINTS.len(), way, bytes: bytes.collect() })
}

/// Follows the frames from point to point, as `correlate` does, some microseconds from one to the next. Each is told of
/// once at least.
pub fn correlate(input: &str) {
    let frames = frames(input);
    let mut dissector = Dissector::new(Ports::default());
    let mut survey = Survey::default();
    for (node, ..) in POINTS {
        survey.add_point(NodeId(node - 1));
    }
    let sights: Vec<Sight> =
        (0..).zip(&frames).filter_map(|(number, frame)| sight(&mut dissector, number, frame)).collect();
    for sight in &sights {
        survey.add(sight);
    }
    let learned = survey.learn();
    let told = follow(&learned, &sights);
    assert!(told >= sights.len(), "{told} of {} sights are told", sights.len());
}

fn sight(dissector: &mut Dissector, number: u64, frame: &Frame) -> Option<Sight> {
    let length = u32::try_from(frame.bytes.len()).unwrap_or(0);
    let decoded = dissector.decode(LinkType::ETHERNET, &frame.bytes, length);
    // Now and then time jumps, and goes back.
    let time = i64::try_from(number).unwrap_or(0) * 7_000
        + [0, 0, 0, 5_000_000_000, -3_000].get(frame.bytes.len() % 16).unwrap_or(&0);
    let point = PointId(u16::try_from(frame.point).unwrap_or(0));
    let file = flowtrace::correlate::FileId(point.0);
    let origin = Origin { point, file, number, time, way: frame.way, is_one_device: false };
    recognize(&decoded, origin, Depth { payload: 64, options: true }).ok()
}

fn follow(learned: &Learned, sights: &[Sight]) -> usize {
    let mut window = Window::new(learned.clone(), WIDTH);
    let mut sorted: Vec<&Sight> = sights.iter().collect();
    sorted.sort_by_key(|sight| learned.correct(sight.lane.point, sight.time));
    let mut told = std::collections::HashSet::new();
    let mut each = |journey: &Journey<'_>, lanes: &Lanes| {
        assert!(!journey.sights.is_empty(), "a packet that nobody saw");
        told.extend(journey.sights.iter().chain(journey.parts).map(|seen| (lanes.point(seen.lane), seen.number)));
    };
    for sight in sorted {
        window.push(sight, &mut each);
    }
    let summary = window.finish(&mut each);
    black_box(summary.packets);
    told.len()
}

/// Looks for the paths of the frames through the bundled snapshot, as `explain --pcap` does.
pub fn retrace(input: &str) {
    let Some(snapshot) = bundled() else { return };
    let atlas = Atlas::new(snapshot, Options { reply: true, max_paths: 8, verbose: false });
    let mut dissector = Dissector::new(Ports::default());
    let mut flows: HashMap<usize, Flows> = HashMap::new();
    for frame in frames(input) {
        let Some((point, captured, standing)) = subject(snapshot, &atlas, &mut dissector, &mut flows, &frame) else {
            continue;
        };
        let retraced = atlas.retrace(&point, &captured, standing);
        assert_eq!(retraced.spots.len(), retraced.answer.paths.len(), "each path has its spot");
        for (path, spot) in retraced.answer.paths.iter().zip(&retraced.spots) {
            let steps = path.forward.steps.len() + path.reply.as_ref().map_or(0, |reply| reply.steps.len());
            assert!(steps == 0 || spot.step < steps, "a spot that is on no path");
        }
    }
}

fn subject(
    snapshot: &Snapshot,
    atlas: &Atlas<'_>,
    dissector: &mut Dissector,
    flows: &mut HashMap<usize, Flows>,
    frame: &Frame,
) -> Option<(Point, Captured, Standing)> {
    let (node, is_pod, device) = *POINTS.get(frame.point)?;
    let name = if is_pod { NetnsName::Pod(PodName::new("default", "pod1")) } else { NetnsName::Host };
    let netns = snapshot.find_netns(&NodeName::new(&format!("n{node}")), &name)?;
    let point = Point { netns, device: IfName::new(device) };
    let length = u32::try_from(frame.bytes.len()).unwrap_or(0);
    let held = dissector.decode(LinkType::ETHERNET, &frame.bytes, length).packet().ok()?;
    let (captured, _) = atlas.captured(&point, held, frame.way, None);
    let standing = flows.entry(frame.point).or_default().note(captured.packet.innermost());
    Some((point, captured, standing))
}

/// The snapshot of two nodes that is in every build.
fn bundled() -> Option<&'static Snapshot> {
    static SNAPSHOT: OnceLock<Option<Snapshot>> = OnceLock::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan");
    SNAPSHOT.get_or_init(|| load(&path).ok()).as_ref()
}
