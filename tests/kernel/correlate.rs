//! `flowtrace correlate` against the kernel: every device of a cluster is captured while packets go whose bytes tell which
//! packet they are of. Every packet must be found at every point that shows it, none at one that doesn't, and losses must
//! be where the kernel's own counters say that it dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::lab::build::Lab;
use crate::lab::dump::{self, Carries, Dump};
use crate::lab::flannel::{Cluster, FlannelBackend, INTERNET4, INTERNET6};
use crate::lab::judge::Folder;
use crate::lab::netns::must;
use crate::lab::ready;
use crate::lab::situations::{POD1, two_nodes};
use crate::lab::snapshot::Form;
use crate::lab::traffic::{BACK, Datagrams, Received, Stream};
use crate::lab::wire::Header;

/// What was captured, and what flowtrace makes of it.
pub(super) struct Case {
    folder: Folder,
    pub(super) files: Vec<PathBuf>,
    pub(super) truth: BTreeMap<(String, u64), Carries>,
}

/// A packet as `-o jsonl` tells it.
#[derive(Debug)]
struct Record {
    frames: BTreeSet<(String, u64)>,
    points: Vec<String>,
    lost_after: Option<String>,
    line: String,
}

/// Builds the cluster, captures while `work` goes on, and gives what was captured.
pub(super) fn captured<T>(name: &str, work: impl Fn(&Lab) -> Result<T, String>) -> Option<(Case, T)> {
    captured_in(&two_nodes(name, FlannelBackend::Vxlan), work)
}

/// How often a capture is tried: on a busy machine tcpdump or a socket may lose packets.
const TRIES: usize = 3;

fn captured_in<T>(cluster: &Cluster, work: impl Fn(&Lab) -> Result<T, String>) -> Option<(Case, T)> {
    if !ready::ready() {
        return None;
    }
    for tool in ["tcpdump", "ethtool"] {
        if Command::new(tool).arg("--version").output().is_err() {
            ready::skip(&format!("{tool} is missing"));
            return None;
        }
    }
    let _machine = ready::alone();
    let mut errors = Vec::new();
    while errors.len() < TRIES {
        match capture(cluster, &work) {
            Ok(captured) => return Some(captured),
            Err(error) => errors.push(error),
        }
    }
    panic!("{}", errors.join("\n"));
}

fn capture<T>(cluster: &Cluster, work: &impl Fn(&Lab) -> Result<T, String>) -> Result<(Case, T), String> {
    let scenario = cluster.scenario();
    let name = scenario.name.as_str();
    let lab = Lab::build(&scenario).map_err(|error| format!("{name}: {error}"))?;
    // The first packet would be held until its neighbour is known.
    let is_dual = cluster.dual_stack;
    warm_up(&lab, is_dual);
    let folder = Folder::new(name);
    let dump = Dump::start(&lab, &folder.path)?;
    let done = work(&lab)?;
    // So that no capture seems to have ended before the last packet of interest.
    warm_up(&lab, is_dual);
    let files = dump.stop()?;
    let truth = dump::truth(&files)?;
    Ok((Case { folder, files, truth }, done))
}

/// A few packets on every way that the tests take, which nobody counts.
fn warm_up(lab: &Lab, is_dual: bool) {
    let ways4 = [
        ("10.244.2.2:7999", "default/pod2", 7999),
        ("10.96.0.10:53", "kube-system/coredns", 53),
        ("203.0.113.9:7999", "world", 7999),
    ];
    let ways6 = [
        ("[fd00:10:244:2::2]:7999", "default/pod2", 7999),
        ("[fd00:10:96::a]:53", "kube-system/coredns", 53),
        ("[2001:db8:113::9]:7999", "world", 7999),
    ];
    for (to, server, port) in ways4.iter().chain(ways6.iter().filter(|_| is_dual)).copied() {
        let to = to.parse().expect("an address");
        let (tag, count, pace) = (0x7fff_0000, 3, Duration::from_millis(1));
        let few = Datagrams { from: POD1, to, server, port, tag, count, size: 64, pace };
        few.send(lab).expect("packets that warm up");
    }
}

pub(super) fn datagrams<'a>(to: &str, server: &'a str, port: u16, tag: u32) -> Datagrams<'a> {
    let to = to.parse().expect("an address");
    Datagrams { from: POD1, to, server, port, tag, count: 300, size: 128, pace: Duration::from_micros(200) }
}

/// A packet without a whole cell is shorter: headers of IPv6, of TCP with all the options that fit, and the rest of one cell
/// and the beginning of another.
const PIECE: u32 = 40 + 60 + 2 * 16;
/// What TCP's options take at most.
const OPTIONS: u32 = 40;

impl Case {
    pub(super) fn run(&self, more: &[&str]) -> String {
        let output =
            Command::new(env!("CARGO_BIN_EXE_flowtrace")).arg("correlate").args(&self.files).args(more).output();
        let output = output.expect("flowtrace runs");
        assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn records(&self) -> Vec<Record> {
        let text = self.run(&["-o", "jsonl"]);
        text.lines().map(record).collect()
    }

    /// Every frame that carries something of a stream, by what it carries.
    fn frames(&self, tag: u32) -> BTreeMap<u32, BTreeSet<(String, u64)>> {
        let mut frames: BTreeMap<u32, BTreeSet<(String, u64)>> = BTreeMap::new();
        for (frame, carries) in self.truth.iter().filter(|(_, carries)| carries.tag == tag) {
            frames.entry(carries.first).or_default().insert(frame.clone());
        }
        frames
    }

    /// The records that have a frame of a stream.
    fn of<'a>(&self, tag: u32, records: &'a [Record]) -> Vec<&'a Record> {
        let is_of = |frame: &(String, u64)| self.truth.get(frame).is_some_and(|carries| carries.tag == tag);
        records.iter().filter(|record| record.frames.iter().any(is_of)).collect()
    }

    /// Each datagram is one record with exactly the frames that show it. Gives the numbers of those that were lost, by
    /// the point behind which they were.
    fn judge_datagrams(&self, tag: u32, records: &[Record]) -> BTreeMap<String, BTreeSet<u32>> {
        let truth = self.frames(tag);
        assert!(!truth.is_empty(), "nothing of {tag:#x} was captured");
        let of = self.of(tag, records);
        let mut lost: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        let mut told = BTreeSet::new();
        for record in &of {
            let numbers: BTreeSet<Option<u32>> =
                record.frames.iter().map(|frame| self.truth.get(frame).map(|carries| carries.first)).collect();
            let only = numbers.iter().next().copied().flatten();
            let number =
                only.filter(|_| numbers.len() == 1).unwrap_or_else(|| panic!("a false match: {}", record.line));
            assert!(told.insert(number), "{number} is two packets: {}", record.line);
            assert_eq!(record.frames, truth[&number], "{tag:#x} {number}: {}", record.line);
            if let Some(point) = &record.lost_after {
                lost.entry(point.clone()).or_default().insert(number);
            }
        }
        assert_eq!(told.len(), truth.len(), "of {tag:#x}");
        lost
    }

    /// Whether a frame without a whole cell is a piece of what another one of a record carries, by their sequence numbers: one
    /// too short for a cell, which the next device has put together with others.
    fn is_piece(&self, frame: &(String, u64), record: &Record) -> bool {
        let header = |(file, number): &(String, u64)| {
            let packets = dump::packets(Path::new(file)).expect("a capture");
            let (_, frame) = &packets[usize::try_from(number - 1).expect("a place")];
            Header::from_ethernet(frame).expect("a packet").innermost().clone()
        };
        let piece = header(frame);
        let longest = record.frames.iter().filter(|frame| self.truth.contains_key(*frame)).map(header);
        let longest = longest.max_by_key(|header| header.length).expect("a frame with data");
        let ports = |header: &Header| (header.source_port, header.destination_port);
        let (Some(from), Some(at)) = (longest.sequence, piece.sequence) else { return false };
        let into = at.wrapping_sub(from);
        // Their headers are as long but for options, which one may have and the other not.
        let is_within = into.saturating_add(piece.length) <= longest.length + OPTIONS;
        ports(&longest) == ports(&piece) && is_within && piece.length < PIECE
    }

    /// Every frame with data of a stream is in a record, and the frames of a record have data in common. Gives how many
    /// records were lost, by point; all others were seen at every point that shows anything of the stream.
    fn judge_stream(&self, tag: u32, records: &[Record]) -> BTreeMap<String, usize> {
        let of = self.of(tag, records);
        let mut lost: BTreeMap<String, usize> = BTreeMap::new();
        let mut told = BTreeSet::new();
        let everywhere: BTreeSet<&String> = of.iter().flat_map(|record| &record.points).collect();
        for record in &of {
            let carries: Vec<Carries> =
                record.frames.iter().filter_map(|frame| self.truth.get(frame)).copied().collect();
            for frame in record.frames.iter().filter(|frame| !self.truth.contains_key(*frame)) {
                assert!(self.is_piece(frame, record), "a false match: {}", record.line);
            }
            let first = carries.iter().map(|carries| carries.first).max().expect("a frame");
            let end = carries.iter().map(|carries| carries.last).min().expect("a frame");
            // A piece between two cells has none of its own.
            assert!(
                carries.iter().all(|carries| carries.tag == tag) && first <= end + 1,
                "a false match: {}",
                record.line
            );
            told.extend(record.frames.iter().cloned());
            if let Some(point) = &record.lost_after {
                *lost.entry(point.clone()).or_default() += 1;
            } else {
                let here: BTreeSet<&String> = record.points.iter().collect();
                assert_eq!(here, everywhere, "{}", record.line);
            }
        }
        let all = self.truth.iter().filter(|(_, carries)| carries.tag == tag);
        for (frame, carries) in all {
            assert!(told.contains(frame), "{frame:?} with {carries:?} is in no record");
        }
        lost
    }
}

fn record(line: &str) -> Record {
    let value: Value = serde_json::from_str(line).expect("JSON");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let frame = |value: &Value| (text(&value["file"]).expect("a file"), value["n"].as_u64().expect("a number"));
    let sightings = value["sightings"].as_array().expect("sightings");
    let parts = value["fragments"].as_array().expect("fragments");
    Record {
        frames: sightings.iter().chain(parts).map(frame).collect(),
        points: sightings.iter().map(|seen| text(&seen["point"]).expect("a point")).collect(),
        lost_after: text(&value["lost_after"]),
        line: line.to_owned(),
    }
}

/// Both directions of so many datagrams of which none is lost.
pub(super) fn all_arrive(case: &Case, tag: u32, count: usize) {
    assert_eq!(none_is_lost(case, tag), count);
}

/// Both directions of datagrams of which none is lost and each is answered; how many there are.
pub(super) fn none_is_lost(case: &Case, tag: u32) -> usize {
    let records = case.records();
    let [there, back] = [tag, tag | BACK].map(|tag| {
        let lost = case.judge_datagrams(tag, &records);
        assert!(lost.is_empty(), "{lost:?}");
        case.frames(tag).len()
    });
    assert_eq!(there, back);
    there
}

#[test]
fn plain_packets_between_nodes_are_found_at_every_point() {
    let Some((case, received)) =
        captured("plain", |lab| datagrams("10.244.2.2:7000", "default/pod2", 7000, 1).send(lab))
    else {
        return;
    };
    assert_eq!((received.there.len(), received.back.len()), (300, 300));
    all_arrive(&case, 1, 300);
}

/// Captures of the two uplinks alone, of packets that nobody answers: nothing but the clocks says which node they came to first.
#[test]
fn packets_that_go_one_way_are_not_lost_between_the_uplinks() {
    let send = |lab: &Lab| {
        let mute = "table ip mute { chain out { type filter hook output priority 0; udp sport 7000 drop; }; }";
        lab.netns("default/pod2").enter(|| must("nft", &["-f", "-"], mute))?;
        datagrams("10.244.2.2:7000", "default/pod2", 7000, 0x75).send(lab)
    };
    let Some((mut case, received)) = captured("one-way", send) else { return };
    assert_eq!((received.there.len(), received.back.len()), (300, 0));
    case.files.retain(|file| ["n1.eth0.pcap", "n2.eth0.pcap"].iter().any(|name| file.ends_with(name)));
    let is_of = |(file, _): &(String, u64)| case.files.iter().any(|known| known.display().to_string() == *file);
    case.truth.retain(|frame, carries| is_of(frame) && carries.tag == 0x75);
    let records: Vec<Record> =
        case.run(&["-o", "jsonl", "--flow", "vxlan and udp port 7000"]).lines().map(record).collect();
    let lost = case.judge_datagrams(0x75, &records);
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn packets_to_a_service_are_found_through_dnat() {
    let send = |lab: &Lab| datagrams("10.96.0.10:53", "kube-system/coredns", 53, 2).send(lab);
    let Some((case, _)) = captured("service", send) else { return };
    all_arrive(&case, 2, 300);
    let text = case.run(&[]);
    assert!(text.contains("destination 10.96.0.10:53 > 10.244.2.3:53"), "{text}");
}

#[test]
fn packets_to_the_world_are_found_through_masquerade() {
    let send = |lab: &Lab| datagrams(&format!("{INTERNET4}:7000"), "world", 7000, 3).send(lab);
    let Some((case, _)) = captured("masquerade", send) else { return };
    all_arrive(&case, 3, 300);
    let text = case.run(&[]);
    assert!(text.contains("> 192.0.2.11:"), "{text}");
}

#[test]
fn fragments_are_found_with_their_packet() {
    let large = |to: &str, server, port, tag| Datagrams { size: 4000, count: 100, ..datagrams(to, server, port, tag) };
    let send = |lab: &Lab| {
        large("10.244.2.2:7000", "default/pod2", 7000, 4).send(lab)?;
        large("10.96.0.10:53", "kube-system/coredns", 53, 5).send(lab)
    };
    let Some((case, _)) = captured("fragments", send) else { return };
    all_arrive(&case, 4, 100);
    all_arrive(&case, 5, 100);
}

#[test]
fn a_hairpin_is_one_packet_at_the_same_points_twice() {
    let send = |lab: &Lab| {
        // One of two endpoints takes each connection: some come back to the client itself.
        hairpins(lab, 0x100..0x110)
    };
    let Some((case, ())) = captured("hairpin", send) else { return };
    let records = case.records();
    let mut twice = 0;
    for tag in 0..16 {
        for tag in [0x100 + tag, (0x100 + tag) | BACK] {
            let lost = case.judge_stream(tag, &records);
            assert!(lost.is_empty(), "{lost:?}");
            let of = case.of(tag, &records);
            twice += of
                .iter()
                .filter(|record| record.points.iter().filter(|point| point.contains("web-0/eth0")).count() == 2)
                .count();
        }
    }
    assert!(twice > 0, "no connection was a hairpin");
}

/// The same in IPv6, whose packets have no number: plain, through DNAT, through masquerade and in fragments.
#[test]
fn packets_of_ipv6_are_found_at_every_point() {
    let mut cluster = two_nodes("correlate-v6", FlannelBackend::Vxlan);
    cluster.dual_stack = true;
    let large = |to: &str, server, port, tag| Datagrams { size: 4000, count: 100, ..datagrams(to, server, port, tag) };
    let send = |lab: &Lab| {
        datagrams("[fd00:10:244:2::2]:7000", "default/pod2", 7000, 0x61).send(lab)?;
        datagrams("[fd00:10:96::a]:53", "kube-system/coredns", 53, 0x62).send(lab)?;
        datagrams(&format!("[{INTERNET6}]:7000"), "world", 7000, 0x63).send(lab)?;
        large("[fd00:10:244:2::2]:7001", "default/pod2", 7001, 0x64).send(lab)?;
        Stream { to: "[fd00:10:244:2::2]:7002".parse().expect("an address"), port: 7002, ..stream(0x65) }.send(lab)
    };
    let Some((case, ())) = captured_in(&cluster, send) else { return };
    for (tag, count) in [(0x61, 300), (0x62, 300), (0x63, 300), (0x64, 100)] {
        all_arrive(&case, tag, count);
    }
    let records = case.records();
    for tag in [0x65, 0x65 | BACK] {
        let lost = case.judge_stream(tag, &records);
        assert!(lost.is_empty(), "{lost:?}");
    }
    let text = case.run(&[]);
    assert!(text.contains("destination [fd00:10:96::a]:53 > [fd00:10:244:2::3]:53"), "{text}");
    assert!(text.contains("> [2001:db8:2::11]:"), "masquerade: {text}");
}

/// Connections of web-0 to its own service, one after the other. Each endpoint has one listener for all of them: a child that
/// another test starts holds its copy of a closed one until it is another program, and the port cannot be opened again.
fn hairpins(lab: &Lab, tags: std::ops::Range<u32>) -> Result<(), String> {
    let open = || {
        let listener = TcpListener::bind("0.0.0.0:8080")?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    let listeners = ["shop/web-0", "shop/web-1"].map(|space| lab.netns(space).enter(open).expect("a listener"));
    tags.into_iter().try_for_each(|tag| hairpin(lab, &listeners, tag))
}

/// A connection of web-0 to its own service, which one of the endpoints' listeners takes.
fn hairpin(lab: &Lab, listeners: &[TcpListener; 2], tag: u32) -> Result<(), String> {
    use std::io::{Read as _, Write as _};
    let failed = |error: std::io::Error| error.to_string();
    let to = "10.96.0.20:80".parse().expect("an address");
    let connect = || std::net::TcpStream::connect_timeout(&to, Duration::from_secs(3));
    let mut client = lab.netns("shop/web-0").enter(connect).map_err(failed)?;
    let mut server = loop {
        if let Some((server, _)) = listeners.iter().find_map(|listener| listener.accept().ok()) {
            break server;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    server.set_nonblocking(false).map_err(failed)?;
    let bytes = |tag: u32| (0..40).flat_map(|number| dump::cell(tag, number)).collect::<Vec<u8>>();
    let mut buffer = vec![0; 640];
    client.write_all(&bytes(tag)).map_err(failed)?;
    server.read_exact(&mut buffer).map_err(failed)?;
    server.write_all(&bytes(tag | BACK)).map_err(failed)?;
    client.read_exact(&mut buffer).map_err(failed)
}

/// Which offloads of a device are on.
fn offload(lab: &Lab, space: &str, device: &str, features: &[&str], state: &str) -> Result<(), String> {
    let mut args = vec!["-K", device];
    for feature in features {
        args.extend([*feature, state]);
    }
    lab.netns(space).enter(|| must("ethtool", &args, "")).map(drop)
}

fn stream<'a>(tag: u32) -> Stream<'a> {
    let to = "10.244.2.2:7000".parse().expect("an address");
    Stream { from: POD1, to, server: "default/pod2", port: 7000, tag, cells: (40_000, 10_000) }
}

const ENDS: [(&str, &str); 2] = [(POD1, "eth0"), ("default/pod2", "eth0")];
const UPLINKS: [(&str, &str); 2] = [("n1", "eth0"), ("n2", "eth0")];

fn whole_stream_arrives(name: &str, tag: u32, prepare: impl Fn(&Lab) -> Result<(), String>) -> Option<Case> {
    let send = |lab: &Lab| {
        prepare(lab)?;
        stream(tag).send(lab)
    };
    let (case, ()) = captured(name, send)?;
    let records = case.records();
    for tag in [tag, tag | BACK] {
        let lost = case.judge_stream(tag, &records);
        assert!(lost.is_empty(), "{lost:?}");
    }
    Some(case)
}

/// The lengths of the longest frame with data of a stream, at a device.
fn longest(case: &Case, tag: u32, file: &str) -> u32 {
    let at = case.truth.iter().filter(|((path, _), carries)| path.ends_with(file) && carries.tag == tag);
    at.map(|(_, carries)| carries.last - carries.first + 1).max().unwrap_or(0)
}

#[test]
fn segments_without_offload_are_found_at_every_point() {
    let Some(case) = whole_stream_arrives("tso-off", 0x20, |lab| {
        ENDS.iter().try_for_each(|(space, device)| offload(lab, space, device, &["tso", "gso"], "off"))
    }) else {
        return;
    };
    assert!(longest(&case, 0x20, "n1.eth0.pcap") < 100, "the pod sends single segments");
}

#[test]
fn frames_that_no_device_splits_are_found_at_every_point() {
    let Some(case) = whole_stream_arrives("tso-on", 0x21, |_| Ok(())) else { return };
    assert!(longest(&case, 0x21, "n1.eth0.pcap") > 100, "the uplink shows large frames");
}

#[test]
fn frames_that_the_uplink_splits_and_the_tunnel_joins_are_found_at_every_point() {
    let Some(case) = whole_stream_arrives("tso-split", 0x22, |lab| {
        let features = ["tso", "gso", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"];
        UPLINKS.iter().try_for_each(|(space, device)| offload(lab, space, device, &features, "off"))
    }) else {
        return;
    };
    assert!(longest(&case, 0x22, "n1.cni0.pcap") > 100, "the pod sends large frames");
    assert!(longest(&case, 0x22, "n1.eth0.pcap") < 100, "the uplink sends single segments");
}

/// Drops of 100 packets about 5 that are forwarded on a node, and counts them.
const LOSS: &str = "table ip lab_loss {
  counter there { }
  counter back { }
  chain forward {
    type filter hook forward priority -500; policy accept;
    udp dport 7000 numgen random mod 100 < 5 counter name there drop
    udp sport 7000 numgen random mod 100 < 5 counter name back drop
    tcp dport 7000 numgen random mod 100 < 5 counter name there drop
    tcp sport 7000 tcp flags & (syn | rst) == 0 numgen random mod 100 < 5 counter name back drop
  }
}
";

/// Each point sees a packet before any is lost: of the first packet of all, nobody knows whether the next point was capturing
/// by then.
fn seen_everywhere(lab: &Lab) -> Result<(), String> {
    datagrams("10.244.2.2:7001", "default/pod2", 7001, 0x46).send(lab).map(drop)
}

fn lossy(lab: &Lab, node: &str) -> Result<(), String> {
    seen_everywhere(lab)?;
    lab.netns(node).enter(|| must("nft", &["-f", "-"], LOSS)).map(drop)
}

/// What the kernel has counted.
fn dropped(lab: &Lab, node: &str, counter: &str) -> Result<usize, String> {
    let text = lab.netns(node).enter(|| must("nft", &["list", "counter", "ip", "lab_loss", counter], ""))?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "packets").skip(1);
    words.next().and_then(|count| count.parse().ok()).ok_or_else(|| format!("no counter in {text}"))
}

#[test]
fn every_loss_is_placed_where_the_kernel_dropped() {
    let send = |lab: &Lab| {
        lossy(lab, "n1")?;
        lossy(lab, "n2")?;
        let many = Datagrams { count: 1000, ..datagrams("10.244.2.2:7000", "default/pod2", 7000, 6) };
        let received = many.send(lab)?;
        let mut counts = BTreeMap::new();
        for (node, counter, point) in [
            ("n1", "there", "n1/cni0"),
            ("n2", "there", "n2/flannel.1"),
            ("n2", "back", "n2/cni0"),
            ("n1", "back", "n1/flannel.1"),
        ] {
            counts.insert((point, counter), dropped(lab, node, counter)?);
        }
        let Received { there, back } = &received;
        for (of, lost) in [("there", 1000 - there.len()), ("back", there.len() - back.len())] {
            let counted: usize = counts.iter().filter(|((_, counter), _)| *counter == of).map(|(_, count)| count).sum();
            if counted != lost {
                return Err(format!("{of}: {lost} packets were lost, {counted} of them by the rules"));
            }
        }
        Ok((received, counts))
    };
    let Some((case, (received, counts))) = captured("loss", send) else { return };
    let records = case.records();
    let all: BTreeSet<u32> = (0..1000).collect();
    for (tag, counter) in [(6, "there"), (6 | BACK, "back")] {
        let lost = case.judge_datagrams(tag, &records);
        for ((point, _), count) in counts.iter().filter(|((_, of), _)| *of == counter) {
            assert_eq!(lost.get(*point).map_or(0, BTreeSet::len), *count, "{counter} at {point}: {lost:?}");
        }
        let told: BTreeSet<u32> = lost.into_values().flatten().collect();
        let Received { there, back } = &received;
        let wanted: BTreeSet<u32> =
            if counter == "there" { &all - there } else { there.difference(back).copied().collect() };
        assert_eq!(told, wanted, "{counter}");
    }
}

#[test]
fn segments_that_are_lost_are_told_from_those_that_carry_the_data_again() {
    let send = |lab: &Lab| {
        for (space, device) in ENDS {
            offload(lab, space, device, &["tso", "gso"], "off")?;
        }
        lossy(lab, "n1")?;
        Stream { cells: (120_000, 120_000), ..stream(0x30) }.send(lab)?;
        // The connection's end may be sent again after its data has arrived.
        let both = || Ok::<_, String>((dropped(lab, "n1", "there")?, dropped(lab, "n1", "back")?));
        let mut counted = both()?;
        loop {
            std::thread::sleep(Duration::from_secs(2));
            let now = both()?;
            if now == counted {
                return Ok(counted);
            }
            counted = now;
        }
    };
    let Some((case, (there, back))) = captured("loss-tcp", send) else { return };
    let records = case.records();
    let lost = [0x30, 0x30 | BACK].map(|tag| case.judge_stream(tag, &records));
    assert!(lost.iter().flatten().map(|(_, count)| count).sum::<usize>() > 20, "{lost:?}");
    // Acknowledgements alone carry nothing that the lab could know them by; all of the connection's are counted.
    let flow = |record: &&Record| record.line.contains("tcp ") && record.line.contains(":7000");
    let at = |point: &str| {
        let lost = records.iter().filter(flow).filter(|record| record.lost_after.as_deref() == Some(point));
        lost.count()
    };
    assert_eq!((at("n1/cni0"), at("n1/flannel.1")), (there, back));
}

#[test]
fn a_clock_that_is_5_ms_ahead_is_found_to_20_microseconds() {
    let send = |lab: &Lab| datagrams("10.244.2.2:7000", "default/pod2", 7000, 7).send(lab);
    let Some((case, _)) = captured("clock", send) else { return };
    let ahead = |text: &str| -> BTreeMap<String, i64> {
        let value: Value = serde_json::from_str(text).expect("JSON");
        let clocks = value["clocks"].as_array().expect("clocks").clone();
        let of = |clock: &Value| Some((clock["node"].as_str()?.to_owned(), clock["ahead_ns"].as_i64()?));
        clocks.iter().filter_map(of).collect()
    };
    let apart = |clocks: BTreeMap<String, i64>| clocks["n2"] - clocks["n1"];
    let before = apart(ahead(&case.run(&["-o", "json"])));
    assert!(before.abs() < 20_000, "one kernel has one clock: {before}");
    for file in
        case.files.iter().filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("n2.")))
    {
        dump::shift(file, 5_000_000).expect("a shifted clock");
    }
    let after = apart(ahead(&case.run(&["-o", "json"])));
    assert!((after - 5_000_000).abs() < 20_000, "{after}");
    all_arrive(&case, 7, 300);
}

/// Many devices stamp a packet in the same microsecond: where it went first is told all the same.
#[test]
fn stamps_of_microseconds_lose_nothing() {
    let send = |lab: &Lab| {
        datagrams("10.244.1.3:7000", "default/pod3", 7000, 0x45).send(lab)?;
        datagrams("10.244.2.2:7000", "default/pod2", 7000, 0x46).send(lab)?;
        stream(0x47).send(lab)
    };
    let Some((case, ())) = captured("microseconds", send) else { return };
    case.files.iter().for_each(|file| dump::coarsen(file).expect("coarser stamps"));
    all_arrive(&case, 0x45, 300);
    all_arrive(&case, 0x46, 300);
    let records = case.records();
    for tag in [0x47, 0x47 | BACK] {
        let lost = case.judge_stream(tag, &records);
        assert!(lost.is_empty(), "{lost:?}");
    }
}

/// A folder stays where a test fails.
impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.keep = true;
            eprintln!("the captures are kept in {}", self.folder.path.display());
        }
    }
}

/// A snapshot of the cluster as it stands.
fn snapshot(lab: &Lab, name: &str) -> Result<Folder, String> {
    let folder = Folder::new(name);
    lab.snapshot(&folder.path, Form::Text)?;
    Ok(folder)
}

fn path(folder: &Folder) -> &str {
    folder.path.to_str().expect("a path of text")
}

#[test]
fn packets_take_the_way_that_a_snapshot_predicts() {
    let send = |lab: &Lab| {
        let taken = snapshot(lab, "predicted-snapshot")?;
        datagrams("10.244.2.2:7000", "default/pod2", 7000, 0x40).send(lab)?;
        datagrams("10.96.0.10:53", "kube-system/coredns", 53, 0x41).send(lab)?;
        datagrams(&format!("{INTERNET4}:7000"), "world", 7000, 0x42).send(lab)?;
        Ok(taken)
    };
    let Some((case, taken)) = captured("predicted", send) else { return };
    let text = case.run(&["-o", "jsonl", "--snapshot", path(&taken)]);
    let records: Vec<Record> = text.lines().map(record).collect();
    for tag in [0x40, 0x41, 0x42].into_iter().flat_map(|tag| [tag, tag | BACK]) {
        let of = case.of(tag, &records);
        assert!(!of.is_empty());
        for record in of {
            let value: Value = serde_json::from_str(&record.line).expect("JSON");
            let hops = value["predicted"].as_array().unwrap_or_else(|| panic!("no prediction: {}", record.line));
            let wrong = hops.iter().find(|hop| hop["captured"] == true && hop["state"] != "seen");
            assert!(wrong.is_none(), "{tag:#x}: {}", record.line);
            let seen = hops.iter().filter(|hop| hop["state"] == "seen").count();
            assert_eq!(seen, record.points.len(), "{tag:#x}: {}", record.line);
        }
    }
    let text = case.run(&["--snapshot", path(&taken)]);
    assert!(text.contains('●') && !text.contains("\n  ✖"), "{text}");
}

/// A capture on a bridge makes it promiscuous: it shows what goes from port to port, plain and translated, on its way.
#[test]
fn a_captured_bridge_shows_what_goes_through_it_on_its_way() {
    let send = |lab: &Lab| {
        let taken = snapshot(lab, "bridged-snapshot")?;
        datagrams("10.244.1.3:7000", "default/pod3", 7000, 0x44).send(lab)?;
        hairpins(lab, 0x200..0x210)?;
        Ok(taken)
    };
    let Some((case, taken)) = captured("bridged", send) else { return };
    let text = case.run(&["-o", "jsonl", "--snapshot", path(&taken)]);
    let records: Vec<Record> = text.lines().map(record).collect();
    let tags = [0x44].into_iter().chain(0x200..0x210).flat_map(|tag| [tag, tag | BACK]);
    for record in tags.flat_map(|tag| case.of(tag, &records)) {
        let value: Value = serde_json::from_str(&record.line).expect("JSON");
        let hops = value["predicted"].as_array().unwrap_or_else(|| panic!("no prediction: {}", record.line));
        let seen = hops.iter().filter(|hop| hop["state"] == "seen").count();
        assert_eq!(seen, record.points.len(), "{}", record.line);
    }
    let bridged = case.of(0x44, &records);
    let is_shown = |record: &&Record| record.points.iter().any(|point| point == "n1/cni0");
    assert_eq!(bridged.iter().copied().filter(is_shown).count(), bridged.len());
    assert_eq!(bridged.len(), 300);
    let bridge = case.files.iter().find(|file| file.ends_with("n1.cni0.pcap")).expect("a capture of the bridge");
    let mut explain = Command::new(env!("CARGO_BIN_EXE_flowtrace"));
    explain.args(["explain", "--only-odd", "-o", "jsonl", "--snapshot", path(&taken), "--pcap"]).arg(bridge);
    let output = explain.output().expect("flowtrace runs");
    let odd = String::from_utf8_lossy(&output.stdout);
    assert!(odd.is_empty(), "{odd} {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_rule_that_does_nothing_is_named() {
    let send = |lab: &Lab| {
        let taken = snapshot(lab, "contradicted-snapshot")?;
        let rules = lab.netns("n1").enter(|| must("iptables-nft-save", &["-t", "nat"], ""))?;
        let rule = rules.lines().find(|rule| rule.contains("! -d 224.0.0.0/4")).ok_or("no rule that masquerades")?;
        let delete = format!("iptables-nft -t nat {}", rule.replacen("-A", "-D", 1));
        lab.netns("n1").enter(|| must("sh", &["-c", &delete], ""))?;
        datagrams(&format!("{INTERNET4}:7000"), "world", 7000, 0x43).send(lab)?;
        Ok(taken)
    };
    let Some((case, taken)) = captured("contradicted", send) else { return };
    let text = case.run(&["--snapshot", path(&taken)]);
    let wanted = "the model says MASQUERADE, the capture shows the source unchanged: 10.244.1.2";
    let plain: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(plain.contains(wanted), "{text}");
    assert!(text.contains("n1/host/iptables-save:"), "{text}");
}

#[test]
fn losses_are_as_many_as_their_rule_has_counted() {
    let rules =
        LOSS.replace("counter name there drop", "counter drop").replace("counter name back drop", "counter drop");
    let send = |lab: &Lab| {
        lab.netns("n1").enter(|| must("nft", &["-f", "-"], &rules))?;
        let before = snapshot(lab, "counted-before")?;
        seen_everywhere(lab)?;
        Datagrams { count: 1000, ..datagrams("10.244.2.2:7000", "default/pod2", 7000, 0x44) }.send(lab)?;
        let after = snapshot(lab, "counted-after")?;
        Ok((before, after))
    };
    let Some((case, (before, after))) = captured("counted", send) else { return };
    let more = ["-o", "json", "--before", path(&before), "--after", path(&after)];
    let value: Value = serde_json::from_str(&case.run(&more)).expect("JSON");
    let causes = value["causes"].as_array().expect("causes");
    assert_eq!(causes.len(), 2, "one rule for each direction: {causes:?}");
    for cause in causes {
        assert_eq!(cause["packets"], cause["counted"], "{cause}");
        let place = cause["evidence"][0].as_str().expect("a line");
        assert!(place.starts_with("n1/host/nft.txt:"), "{cause}");
    }
    assert_eq!(value["unexplained"], 0);
    let total: u64 = causes.iter().filter_map(|cause| cause["packets"].as_u64()).sum();
    assert_eq!(value["lost"].as_u64(), Some(total));
}

/// Packets that no rule ends: what forwards them to the other node leads nowhere, or is gone.
#[test]
fn losses_by_a_forwarding_entry_and_by_a_route_are_placed_and_named() {
    let commands = |lab: &Lab, all: &[&[&str]]| {
        lab.netns("n1").enter(|| all.iter().try_for_each(|words| must(words[0], &words[1..], "").map(drop)))
    };
    for (name, tag, breaks, mends, point, cause) in [
        (
            "lost-fdb",
            0x50,
            // Nobody has this address, so that the outer packet's neighbour is not found.
            &["bridge", "fdb", "replace", "5a:00:00:00:04:02", "dev", "flannel.1", "dst", "192.0.2.77"][..],
            &["bridge", "fdb", "replace", "5a:00:00:00:04:02", "dev", "flannel.1", "dst", "192.0.2.12"][..],
            "n1/flannel.1",
            "n1/host/fdb.txt:",
        ),
        (
            "lost-route",
            0x51,
            &["ip", "route", "add", "blackhole", "10.244.2.2/32"][..],
            &["ip", "route", "del", "blackhole", "10.244.2.2/32"][..],
            "n1/cni0",
            "n1/host/route.txt:",
        ),
    ] {
        let send = |lab: &Lab| {
            let few = |tag| Datagrams { count: 100, ..datagrams("10.244.2.2:7000", "default/pod2", 7000, tag) };
            few(tag).send(lab)?;
            commands(lab, &[breaks])?;
            let taken = snapshot(lab, name)?;
            let received = few(tag + 0x10).send(lab)?;
            commands(lab, &[mends])?;
            Ok((taken, received))
        };
        let Some((case, (taken, received))) = captured(name, send) else { return };
        assert!(received.there.is_empty(), "{name}: {received:?}");
        let text = case.run(&["-o", "jsonl", "--snapshot", path(&taken)]);
        let records: Vec<Record> = text.lines().map(record).collect();
        let lost = case.judge_datagrams(tag + 0x10, &records);
        assert_eq!(
            lost.iter().map(|(at, lost)| (at.as_str(), lost.len())).collect::<Vec<_>>(),
            [(point, 100)],
            "{name}"
        );
        for record in case.of(tag + 0x10, &records) {
            let value: Value = serde_json::from_str(&record.line).expect("JSON");
            let named = value["cause"]["evidence"].to_string();
            assert!(named.contains(cause), "{name}: {named} in {}", record.line);
        }
        assert!(case.judge_datagrams(tag, &records).is_empty(), "{name}: those before arrived");
    }
}
