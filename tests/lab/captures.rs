//! What was seen at each device, as a capture that `explain --pcap` is asked about.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use flowtrace::capture::pcapng::{Span, Writer};
use flowtrace::capture::{Captured, Interface};
use serde_json::Value;

use super::compare::compare;
use super::explain::program;
use super::flannel;
use super::judge::question;
use super::observe::Observation;
use super::probe::Probe;
use super::scenario::Scenario;
use super::tap::{Direction, Sighting};

/// What came of the packets that were seen at devices of the snapshot.
#[derive(Debug, Default)]
pub struct Told {
    /// How many packets were seen.
    pub packets: usize,
    /// Of how many the path was told from its sender to its end, as the kernel showed it.
    pub whole: usize,
    /// Of how many the path from the point on was, while nobody can tell which of several has sent it.
    pub onward: usize,
    /// How many ways there are of those, on average a little more than one.
    pub ways: usize,
    /// Where `explain` and the kernel differ.
    pub wrong: Vec<String>,
}

/// Writes the captures of a scenario into one file, an interface for each device, and holds what `explain --pcap` says
/// of each packet against what the kernel did with it before and after it was seen.
pub fn judge(scenario: &Scenario, seen: &[(Probe, Observation)], snapshot: &Path) -> Result<Told, String> {
    let (file, places) = write(scenario, seen).map_err(|error| format!("the capture can't be written: {error}"))?;
    let mut told = Told { packets: places.len(), ..Told::default() };
    if places.is_empty() {
        return Ok(told);
    }
    let path = snapshot.join("captures.pcapng");
    std::fs::write(&path, file).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut heard = std::collections::BTreeSet::new();
    ask(&path, snapshot, |answer| {
        let number = answer["capture"]["n"].as_u64().unwrap_or(0);
        heard.insert(number);
        let Some(&(probe, sighting)) = usize::try_from(number).ok().and_then(|number| places.get(number - 1)) else {
            return told.wrong.push(format!("there is no packet {number}"));
        };
        let (probe, observation) = &seen[probe];
        told.ways += answer["paths"].as_array().map_or(0, Vec::len);
        match check(scenario, probe, observation, sighting, answer) {
            Ok(Extent::Whole) => told.whole += 1,
            Ok(Extent::Onward) => told.onward += 1,
            Err(error) => {
                let at = &observation.sightings[sighting];
                let place = format!("{} {} {:?} {}", at.space, at.device, at.direction, at.header);
                let capture = &answer["capture"];
                told.wrong.push(format!("{}\npacket {number} at {place}\n{capture}\n{error}", question(probe)));
            }
        }
    })?;
    for (number, (probe, sighting)) in (1..).zip(&places) {
        let (probe, observation) = &seen[*probe];
        if observation.sightings[*sighting].header.is_later_fragment() {
            told.packets -= 1;
        } else if !heard.contains(&number) {
            told.wrong.push(format!("{}: packet {number} is not told", question(probe)));
        }
    }
    Ok(told)
}

/// Asks every so many-th of a situation's questions, and fails where a device's capture is explained otherwise than the
/// kernel showed it.
pub fn must_agree(mut scenario: Scenario, nth: usize) {
    if !super::ready::ready() {
        return;
    }
    let _machine = super::ready::beside_others();
    let mut place = 0;
    scenario.probes.retain(|_| {
        place += 1;
        (place - 1) % nth == 0
    });
    scenario.probes.iter_mut().for_each(|probe| probe.times = 1);
    let mut recording =
        super::recording::Recording::of(scenario.clone()).unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
    let told = recording.captures().unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
    assert!(told.packets > 0, "{}: nothing was seen", scenario.name);
    let (wrong, all) = (told.wrong.len(), told.packets);
    assert!(told.wrong.is_empty(), "{}: {wrong} of {all} packets\n{}", scenario.name, told.wrong.join("\n\n"));
    // What can't be known is the exception.
    assert!(told.whole * 2 > all, "{}: of {all} packets only {} are told whole", scenario.name, told.whole);
}

/// How much of a packet's path is as the kernel showed it.
enum Extent {
    /// From its sender to its end, and its answer's.
    Whole,
    /// From the point to its end: who sent it can't be known, and is one of those who are named.
    Onward,
}

fn check(
    scenario: &Scenario,
    probe: &Probe,
    seen: &Observation,
    sighting: usize,
    answer: &Value,
) -> Result<Extent, String> {
    let capture = &answer["capture"];
    if capture["whole"] != true {
        return Err("the way that it came is not told".to_owned());
    }
    if capture["odd"].as_array().is_none_or(|odd| !odd.is_empty()) {
        return Err("it is called odd".to_owned());
    }
    let answer = known(answer);
    let paths = answer["paths"].as_array().map_or(&[][..], Vec::as_slice);
    match compare(scenario, probe, seen, &answer) {
        Ok(_) => Ok(Extent::Whole),
        Err(_) if paths.len() > 1 && paths.iter().any(|path| onward(scenario, seen, sighting, path)) => {
            Ok(Extent::Onward)
        }
        Err(error) => Err(error),
    }
}

/// Whether the devices from the point on, and the addresses there, are those that the kernel showed.
fn onward(scenario: &Scenario, seen: &Observation, sighting: usize, path: &Value) -> bool {
    let (leg, step) = (path["seen"]["leg"].as_str().unwrap_or_default(), path["seen"]["step"].as_u64().unwrap_or(0));
    let steps = path[leg]["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let rest = steps.iter().skip(usize::try_from(step).unwrap_or(0));
    let rest = rest.filter(|step| matches!(step["kind"].as_str(), Some("receive" | "transmit")));
    let told: Vec<(String, String)> =
        rest.map(|step| (device_of(step), step["packet"]["destination"].to_string())).collect();
    let shown = |sighting: &&Sighting| {
        let space = scenario.spaces.iter().find(|space| space.name == sighting.space);
        space.and_then(super::scenario::Space::node_and_netns).is_some() && !sighting.header.is_later_fragment()
    };
    let here = &seen.sightings[sighting];
    let before = |sighting: &&Sighting| sighting.header.innermost().tcp_flags == here.header.innermost().tcp_flags;
    let is_back = |sighting: &&Sighting| is_answer_like(here, sighting);
    let rest = seen.sightings.iter().skip(sighting + 1).filter(shown).filter(before).filter(is_back);
    let was: Vec<(String, String)> = rest
        .filter_map(|sighting| {
            let space = scenario.spaces.iter().find(|space| space.name == sighting.space)?;
            let (node, netns) = space.node_and_netns()?;
            let destination = sighting.header.innermost().destination;
            Some((format!("{node} {netns} {}", sighting.device), format!("\"{destination}\"")))
        })
        .collect();
    told == was
}

/// Whether a packet goes the same way in its conversation as the captured one: it is not the answer to it.
fn is_answer_like(here: &Sighting, other: &Sighting) -> bool {
    let (here, other) = (here.header.innermost(), other.header.innermost());
    let turned = |a: Option<u16>, b: Option<u16>| a.is_some() && a == b;
    here.icmp == other.icmp
        && (here.protocol == 1
            || here.protocol == 58
            || turned(here.destination_port, other.destination_port)
            || turned(here.source_port, other.source_port))
}

fn device_of(step: &Value) -> String {
    let word = |name: &str| step[name].as_str().unwrap_or("?").to_owned();
    format!("{} {} {}", word("node"), word("netns"), word("device"))
}

/// The answer without what a single capture point can't tell: a client's address that was translated away before, and of
/// what an answer is to how long it was and with what TTL it came.
fn known(answer: &Value) -> Value {
    let text = answer.to_string();
    let mut answer = answer.clone();
    if text.contains("a client outside") {
        let replaced = text
            .replace(OUTSIDE4, &format!("{}\"", flannel::CLIENT4))
            .replace(OUTSIDE6, &format!("{}\"", flannel::CLIENT6));
        answer = serde_json::from_str(&replaced).unwrap_or(answer);
    }
    if answer["capture"]["role"] == "original" {
        return answer;
    }
    for path in answer["paths"].as_array_mut().into_iter().flatten() {
        for step in path["forward"]["steps"].as_array_mut().into_iter().flatten() {
            let mut packet = &mut step["packet"];
            while packet.is_object() {
                (packet["ttl"], packet["length"]) = (Value::Null, Value::Null);
                packet = match packet.get_mut("outer") {
                    Some(outer) => outer,
                    None => break,
                };
            }
        }
    }
    answer
}

/// The addresses that stand for clients outside which are not known.
const OUTSIDE4: &str = "203.0.113.1\"";
const OUTSIDE6: &str = "2001:db8:ffff::1\"";

/// The file, and of each of its packets the probe and the place among what was seen of it.
#[allow(clippy::type_complexity, reason = "a file and an index")]
fn write(scenario: &Scenario, seen: &[(Probe, Observation)]) -> std::io::Result<(Vec<u8>, Vec<(usize, usize)>)> {
    let names: BTreeMap<&str, String> =
        scenario.spaces.iter().filter_map(|space| Some((space.name.as_str(), point(&space.folder()?)))).collect();
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut packets = Vec::new();
    let mut places = Vec::new();
    for (probe, (_, observation)) in seen.iter().enumerate() {
        for (place, sighting) in observation.sightings.iter().enumerate() {
            let Some(space) = names.get(sighting.space.as_str()) else { continue };
            // libpcap, too, shows what passes lo once only.
            if sighting.device == "lo" && sighting.direction == Direction::Transmit {
                continue;
            }
            let name = format!("{space}/{}", sighting.device);
            let known = interfaces.iter().position(|interface| interface.name == name);
            let interface = known.unwrap_or_else(|| {
                interfaces.push(interface(name, sighting));
                interfaces.len() - 1
            });
            places.push((probe, place));
            let bytes = as_it_was(sighting, &observation.sightings[..place]);
            packets.push(Captured {
                interface: interface as u32,
                time: sighting.time.unsigned_abs(),
                length: sighting.frame.len() as u32,
                bytes: bytes.into(),
                direction: None,
            });
        }
    }
    let mut writer = Writer::new(Vec::new(), &interfaces)?;
    for packet in &packets {
        writer.packet(packet)?;
    }
    Ok((writer.finish(&[], false, Span { start: 0, end: 0 })?, places))
}

/// The frame as it passed. Of a packet of IPv6 that is split anew on its way, the later pieces are written over in place
/// (`ip6_fraglist_prepare` in `net/ipv6/ip6_output.c`), also where a packet socket has not been read yet: they have the
/// identification of a piece that came later. All pieces of a packet have the same.
fn as_it_was(sighting: &Sighting, before: &[Sighting]) -> Vec<u8> {
    let mut frame = sighting.frame.clone();
    let mine = sighting.header.innermost();
    let (Some((_, 1..)), true, Some(old)) = (mine.fragment, mine.source.is_ipv6(), mine.between.last_chunk::<8>())
    else {
        return frame;
    };
    let is_first = |other: &&Sighting| {
        let first = other.header.innermost();
        (&other.space, &other.device, other.direction) == (&sighting.space, &sighting.device, sighting.direction)
            && matches!(first.fragment, Some((true, 0)))
            && (first.source, first.destination) == (mine.source, mine.destination)
    };
    let first = before.iter().rev().find(is_first).and_then(|first| first.header.innermost().between.last_chunk::<8>());
    let place = frame.windows(8).position(|window| window == old);
    if let (Some(first), Some(place)) = (first, place) {
        frame[place + 4..place + 8].copy_from_slice(&first[4..]);
    }
    frame
}

fn interface(name: String, sighting: &Sighting) -> Interface {
    let link_type = if sighting.is_raw { 101 } else { 1 };
    Interface { name, link_type, snap_length: 0, digits: 9, filter: None }
}

/// A namespace's folder as a capture point: `n1`, `n1/default_pod1`.
fn point(folder: &str) -> String {
    folder.trim_start_matches("nodes/").trim_end_matches("/host").replace("/pods/", "/")
}

/// Asks about every packet, and hands the answers to somebody, one after the other.
fn ask(capture: &Path, snapshot: &Path, mut hear: impl FnMut(&Value)) -> Result<(), String> {
    let mut command = Command::new(program());
    command.args(["explain", "--per", "packet", "-o", "jsonl", "--pcap"]).arg(capture).arg("--snapshot").arg(snapshot);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
    for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
        let line = line.map_err(|error| format!("{command:?}: {error}"))?;
        let answer: Value = serde_json::from_str(&line).map_err(|error| format!("{command:?}: {error}"))?;
        hear(&answer);
    }
    let status = child.wait().map_err(|error| format!("{command:?}: {error}"))?;
    if matches!(status.code(), Some(0 | 1 | 3)) { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}
