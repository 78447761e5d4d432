//! What was seen at each device, as a capture that `explain --pcap` is asked about.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

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
    let answers = ask(&path, snapshot)?;
    for (number, (probe, sighting)) in (1..).zip(&places) {
        let (probe, observation) = &seen[*probe];
        if observation.sightings[*sighting].header.is_later_fragment() {
            told.packets -= 1;
            continue;
        }
        let Some(answer) = answers.get(&number) else {
            told.wrong.push(format!("{}: packet {number} is not told", question(probe)));
            continue;
        };
        match check(scenario, probe, observation, answer) {
            Ok(()) => {
                told.whole += 1;
                told.ways += answer["paths"].as_array().map_or(0, Vec::len);
            }
            Err(error) => {
                let at = &observation.sightings[*sighting];
                let place = format!("{} {} {:?} {}", at.space, at.device, at.direction, at.header);
                let capture = &answer["capture"];
                told.wrong.push(format!("{}\npacket {number} at {place}\n{capture}\n{error}", question(probe)));
            }
        }
    }
    Ok(told)
}

fn check(scenario: &Scenario, probe: &Probe, seen: &Observation, answer: &Value) -> Result<(), String> {
    let capture = &answer["capture"];
    if capture["whole"] != true {
        return Err("the way that it came is not told".to_owned());
    }
    if capture["odd"].as_array().is_none_or(|odd| !odd.is_empty()) {
        return Err("it is called odd".to_owned());
    }
    compare(scenario, probe, seen, &known(answer)).map(|_| ())
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
            packets.push(Captured {
                interface: interface as u32,
                time: sighting.time.unsigned_abs(),
                length: sighting.frame.len() as u32,
                bytes: sighting.frame.clone(),
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

fn interface(name: String, sighting: &Sighting) -> Interface {
    let link_type = if sighting.is_raw { 101 } else { 1 };
    Interface { name, link_type, snap_length: 0, digits: 9, filter: None }
}

/// A namespace's folder as a capture point: `n1`, `n1/default_pod1`.
fn point(folder: &str) -> String {
    folder.trim_start_matches("nodes/").trim_end_matches("/host").replace("/pods/", "/")
}

/// What is told of every packet, by its number.
fn ask(capture: &Path, snapshot: &Path) -> Result<BTreeMap<u64, Value>, String> {
    let mut command = Command::new(program());
    command.args(["explain", "--per", "packet", "-o", "jsonl", "--pcap"]).arg(capture).arg("--snapshot").arg(snapshot);
    let output = command.output().map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !matches!(output.status.code(), Some(0 | 1 | 3)) {
        return Err(format!("{command:?}: {:?}\n{told}", output.status.code()));
    }
    let mut answers = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let answer: Value = serde_json::from_str(line).map_err(|error| format!("{command:?}: {error}"))?;
        answers.insert(answer["capture"]["n"].as_u64().unwrap_or(0), answer);
    }
    Ok(answers)
}
