//! Holds what `explain` said against what the kernel did.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nix::errno::Errno;
use serde_json::Value;

use super::client::Outcome;
use super::observe::{Observation, is_answer};
use super::probe::Probe;
use super::ruletrace::RuleHit;
use super::scenario::{Place, Scenario};
use super::tap::{Direction, Sighting};
use super::wire::Header;

/// A node and the word for one of its namespaces, as `explain` writes them.
type Where = (String, String);

/// The differences between one predicted path and the observation; none where they agree.
type Differences = Vec<String>;

/// What was seen, ordered as `explain` orders it.
struct Seen<'a> {
    places: BTreeMap<String, Where>,
    sightings: BTreeMap<Where, Vec<&'a Sighting>>,
    hits: BTreeMap<Where, Vec<&'a RuleHit>>,
    observation: &'a Observation,
    probe: &'a Probe,
}

/// Compares; the predicted path that the kernel's was. An error tells the two apart, side by side.
pub fn compare<'v>(
    scenario: &Scenario,
    probe: &Probe,
    seen: &Observation,
    answer: &'v Value,
) -> Result<&'v Value, String> {
    let seen = Seen::new(scenario, probe, seen);
    let paths = answer["paths"].as_array().map_or(&[][..], Vec::as_slice);
    let mut best: Option<(usize, Differences)> = None;
    for (n, path) in paths.iter().enumerate() {
        if path["probability"].as_f64() == Some(0.0) {
            continue;
        }
        let differences = seen.against(path);
        if differences.is_empty() {
            return Ok(path);
        }
        if best.as_ref().is_none_or(|(_, known)| differences.len() < known.len()) {
            best = Some((n, differences));
        }
    }
    let Some((n, differences)) = best else { return Err("explain gave no path".to_owned()) };
    let mut text = format!("nearest of {} paths: {n}\n", paths.len());
    for difference in differences {
        let _ = writeln!(text, "  differs: {difference}");
    }
    text.push_str(&side_by_side(&seen, &paths[n]));
    Err(text)
}

impl<'a> Seen<'a> {
    fn new(scenario: &Scenario, probe: &'a Probe, observation: &'a Observation) -> Self {
        let places: BTreeMap<String, Where> =
            scenario.spaces.iter().filter_map(|space| Some((space.name.clone(), space.node_and_netns()?))).collect();
        let mut sightings: BTreeMap<Where, Vec<&Sighting>> = BTreeMap::new();
        let copies = flood_copies(scenario, observation);
        for (n, sighting) in observation.sightings.iter().enumerate() {
            let Some(place) = places.get(&sighting.space) else { continue };
            if sighting.header.is_later_fragment() || copies.contains(&n) {
                continue;
            }
            sightings.entry(place.clone()).or_default().push(sighting);
        }
        let mut hits: BTreeMap<Where, Vec<&RuleHit>> = BTreeMap::new();
        for hit in observation.hits.iter().filter(|hit| hit.index.is_some()) {
            if let Some(place) = places.get(&hit.space) {
                hits.entry(place.clone()).or_default().push(hit);
            }
        }
        Self { places, sightings, hits, observation, probe }
    }

    fn against(&self, path: &Value) -> Differences {
        let mut differences = Vec::new();
        self.compare_devices(path, &mut differences);
        self.compare_rules(path, &mut differences);
        self.compare_end(path, &mut differences);
        differences
    }

    fn compare_devices(&self, path: &Value, differences: &mut Differences) {
        let mut wanted: BTreeMap<Where, Vec<&Value>> = BTreeMap::new();
        for step in steps(path).filter(|step| matches!(step["kind"].as_str(), Some("receive" | "transmit"))) {
            wanted.entry(place_of(step)).or_default().push(step);
        }
        for place in wanted.keys().chain(self.sightings.keys()).collect::<std::collections::BTreeSet<_>>() {
            let (steps, seen) = (slice(&wanted, place), slice(&self.sightings, place));
            for n in 0..steps.len().max(seen.len()) {
                let difference = match (steps.get(n), seen.get(n)) {
                    (Some(step), Some(seen)) => device_difference(step, seen),
                    (Some(step), None) => Some(format!("explain has {}, the kernel nothing", shown_step(step))),
                    (None, Some(seen)) => Some(format!("the kernel has {}, explain nothing", shown_sighting(seen))),
                    (None, None) => None,
                };
                if let Some(difference) = difference {
                    differences.push(format!("{} {} device {}: {difference}", place.0, place.1, n + 1));
                    break;
                }
            }
        }
    }

    fn compare_rules(&self, path: &Value, differences: &mut Differences) {
        let mut wanted: BTreeMap<Where, Vec<String>> = BTreeMap::new();
        // Only nft reports which rules matched.
        for step in steps(path).filter(|step| step["kind"] == "rule" && step["backend"] != "legacy") {
            wanted.entry(place_of(step)).or_default().push(rule_of_step(step));
        }
        for place in wanted.keys().chain(self.hits.keys()).collect::<std::collections::BTreeSet<_>>() {
            let seen = slice(&self.hits, place).iter().filter(|hit| !is_further_error(path, hit));
            let seen: Vec<String> = seen.map(|hit| rule_of_hit(hit)).collect();
            let wanted = slice(&wanted, place);
            if wanted == seen.as_slice() || floods(path, place) && is_among(wanted, &seen) {
                continue;
            }
            let n = wanted.iter().zip(&seen).take_while(|(a, b)| a == b).count();
            let word = |list: &[String]| list.get(n).cloned().unwrap_or_else(|| "nothing more".to_owned());
            differences.push(format!(
                "{} {} rule {}: explain has {}, the kernel {}",
                place.0,
                place.1,
                n + 1,
                word(wanted),
                word(&seen)
            ));
        }
    }

    fn compare_end(&self, path: &Value, differences: &mut Differences) {
        let verdict = path["verdict"].as_str().unwrap_or_default();
        let receiver = self.observation.receiver.as_ref();
        let outcome = self.observation.outcome;
        match verdict {
            "delivered" => {
                let end = path["forward"]["steps"].as_array().and_then(|steps| steps.last()).map(place_of);
                let at = receiver.and_then(|space| self.places.get(space).cloned());
                if end.is_none() || end != at {
                    differences.push(format!("explain delivers at {end:?}, the kernel at {receiver:?}"));
                }
            }
            "left" => {
                if receiver.is_none_or(|space| self.places.contains_key(space)) {
                    differences.push(format!("explain says left, the kernel delivered at {receiver:?}"));
                }
            }
            "rejected" => self.compare_rejection(path, differences),
            "dropped" | "lost" | "looped" => {
                if receiver.is_some() || outcome != Outcome::Silence {
                    differences.push(format!("explain says {verdict}, the kernel {outcome:?} at {receiver:?}"));
                }
            }
            other => differences.push(format!("explain says {other}")),
        }
        if matches!(verdict, "delivered" | "left") && !path["reply"].is_null() {
            let reply = path["reply"]["verdict"].as_str().unwrap_or_default();
            let answered = outcome == Outcome::Answered;
            // Outside the snapshot an answer has left, and been delivered there.
            let outside = !self.places.contains_key(&self.probe.space);
            if answered != (reply == "delivered" || outside && reply == "left") {
                differences.push(format!("explain's reply is {reply}, the kernel's {outcome:?}"));
            }
        }
    }

    fn compare_rejection(&self, path: &Value, differences: &mut Differences) {
        let outcome = self.observation.outcome;
        if let Some(receiver) = &self.observation.receiver {
            differences.push(format!("explain says rejected, the kernel delivered at {receiver}"));
        }
        let last = path["forward"]["steps"].as_array().and_then(|steps| steps.last()).unwrap_or(&Value::Null);
        if let Some(errno) = last["errno"].as_str() {
            if !matches!(outcome, Outcome::Refused(seen) if format!("{seen:?}") == errno) {
                differences.push(format!("explain says {errno}, the kernel {outcome:?}"));
            }
            return;
        }
        // A call that a rule of OUTPUT refuses says EPERM at once, and the socket hears of the error besides.
        let called = outcome == Outcome::Refused(Errno::EPERM) && last["reason"] == "rule";
        let sends = path["forward"]["steps"].as_array().and_then(|steps| steps.first()).map(place_of);
        let called = called && sends == Some(place_of(last));
        if path["error_delivered"].as_bool() == Some(true) && !(called || matches!(outcome, Outcome::Error(_)))
            || path["error_delivered"].as_bool() == Some(false) && !(called || outcome == Outcome::Silence)
        {
            let told = &path["error_delivered"];
            differences.push(format!("explain says error_delivered {told}, the kernel {outcome:?}"));
        }
        let packets = self.observation.sightings.iter().map(|sighting| &sighting.header);
        let packets = packets.chain(self.observation.hits.iter().filter_map(|hit| hit.header.as_ref()));
        let mut packets = packets.map(Header::innermost);
        if last["tcp_reset"].as_bool() == Some(true) {
            if !packets.any(|header| header.tcp_flags.is_some_and(|flags| flags & 0x14 == 0x14)) {
                differences.push("explain says a TCP reset, the kernel sent none".to_owned());
            }
            return;
        }
        let error = packets.find(|header| header.is_icmp_error());
        let reply = path["reply"]["steps"].as_array().map_or(&[][..], Vec::as_slice);
        let stays = !reply.iter().any(|step| step["kind"] == "transmit" || step["kind"] == "rule");
        if error.is_none() && stays && path["reply"]["verdict"] != "delivered" {
            // An error without a way is none that anybody could see.
            return;
        }
        // Where the error leaves by a device, address translation may have changed its source, and the devices tell.
        let told = last["icmp_source"].as_str().unwrap_or_default().to_owned();
        let leaves = steps(path).skip_while(|step| *step != last).any(|step| step["kind"] == "transmit");
        let seen = error.map(|header| (header.icmp, if leaves { told.clone() } else { header.source.to_string() }));
        let wanted_icmp = last["icmp"].as_array().map(|pair| {
            let part = |n: usize| pair.get(n).and_then(Value::as_u64).unwrap_or(999) as u8;
            (part(0), part(1))
        });
        let wanted = (wanted_icmp, told);
        if seen.as_ref() != Some(&wanted) {
            differences.push(format!("explain's error is {wanted:?}, the kernel's {seen:?}"));
        }
    }
}

/// Where a rule rejects what goes back, the error about that goes a way of its own, which `explain` doesn't tell.
fn is_further_error(path: &Value, hit: &RuleHit) -> bool {
    let Some(header) = hit.header.as_ref().filter(|header| header.is_icmp_error()) else { return false };
    let (source, destination) = (header.source.to_string(), header.destination.to_string());
    let icmp = header.icmp.map(|(kind, code)| serde_json::json!([kind, code]));
    let told = |packet: &Value| {
        packet["source"] == *source && packet["destination"] == *destination && Some(&packet["icmp"]) == icmp.as_ref()
    };
    path["reply"]["verdict"] == "rejected" && !steps(path).any(|step| told(&step["packet"]))
}

fn slice<'m, T>(map: &'m BTreeMap<Where, Vec<T>>, place: &Where) -> &'m [T] {
    map.get(place).map_or(&[], Vec::as_slice)
}

/// The copies of flooded frames that their receivers throw away, which `explain` doesn't walk: in a pod whose link
/// address they don't have, and at the port that leads there. Of those for many, they are all but that of who answered,
/// or the bridge's own.
fn flood_copies(scenario: &Scenario, observation: &Observation) -> Vec<usize> {
    let mut copies = Vec::new();
    for (n, sighting) in observation.sightings.iter().enumerate() {
        let pod = scenario
            .spaces
            .iter()
            .any(|space| space.name == sighting.space && matches!(space.place, Place::Pod { .. }));
        if sighting.direction == Direction::Transmit {
            continue;
        }
        let for_many = is_for_many(sighting) && observation.receiver.as_ref() != Some(&sighting.space);
        let to_receiver = |other: &Sighting| {
            is_for_many(other)
                && other.direction == Direction::Receive
                && observation.receiver.as_ref() == Some(&other.space)
        };
        if for_many && !pod && observation.sightings.iter().any(to_receiver) {
            copies.push(n);
        }
        if !pod || !(sighting.other_host || for_many) {
            continue;
        }
        copies.push(n);
        let port = scenario.wires.iter().find_map(|wire| {
            let (a, b) = (&wire.a, &wire.b);
            (b.space == sighting.space && b.dev == sighting.device)
                .then_some((&a.space, &a.dev))
                .or_else(|| (a.space == sighting.space && a.dev == sighting.device).then_some((&b.space, &b.dev)))
        });
        let Some((space, device)) = port else { continue };
        copies.extend(observation.sightings.iter().enumerate().rev().find_map(|(at, other)| {
            (at < n
                && other.space == *space
                && other.device == *device
                && other.direction == Direction::Transmit
                && other.header == sighting.header)
                .then_some(at)
        }));
    }
    copies
}

/// Whether the frame is for a group.
fn is_for_many(sighting: &Sighting) -> bool {
    !sighting.is_raw && sighting.frame.first().is_some_and(|first| first & 1 == 1)
}

fn steps(path: &Value) -> impl Iterator<Item = &Value> {
    let part = |name: &str| path[name]["steps"].as_array().map_or(&[][..], Vec::as_slice);
    part("forward").iter().chain(part("reply"))
}

/// Whether a bridge there has sent the frame out of several ports: the kernel's trace has the rules of all copies.
fn floods(path: &Value, place: &Where) -> bool {
    let is_flood = |step: &&Value| step["kind"] == "fdb" && step["flooded"].as_array().is_some_and(|to| !to.is_empty());
    steps(path).filter(is_flood).any(|step| place_of(step) == *place)
}

/// Whether the wanted ones are among those that were seen, in their order.
fn is_among(wanted: &[String], seen: &[String]) -> bool {
    let mut seen = seen.iter();
    wanted.iter().all(|rule| seen.any(|seen| seen == rule))
}

fn place_of(step: &Value) -> Where {
    let word = |name: &str| step[name].as_str().unwrap_or("?").to_owned();
    (word("node"), word("netns"))
}

fn rule_of_step(step: &Value) -> String {
    let word = |name: &str| step[name].as_str().unwrap_or("?");
    // To the kernel a rule that rejects is one that drops.
    let verdict = if word("verdict") == "reject" { "drop" } else { word("verdict") };
    format!("{} {} {} {} {verdict}", word("family"), word("table"), word("chain"), step["index"])
}

fn rule_of_hit(hit: &RuleHit) -> String {
    format!("{} {} {} {} {}", hit.family, hit.table, hit.chain, hit.index.unwrap_or(0), hit.verdict)
}

fn device_difference(step: &Value, seen: &Sighting) -> Option<String> {
    let direction = if seen.direction == Direction::Receive { "receive" } else { "transmit" };
    if step["kind"] != direction || step["device"].as_str() != Some(seen.device.as_str()) {
        return Some(format!("explain has {}, the kernel {}", shown_step(step), shown_sighting(seen)));
    }
    let packet = &step["packet"];
    let wrong = layers_difference(&layers(packet), &seen.header);
    wrong.map(|wrong| format!("at {direction} {}: {wrong} in {}, explain has {packet}", seen.device, seen.header))
}

/// A packet and the tunnel packets around it, the outermost first.
fn layers(packet: &Value) -> Vec<&Value> {
    let mut layers: Vec<&Value> =
        std::iter::successors(Some(packet), |packet| Some(&packet["outer"]).filter(|outer| !outer.is_null())).collect();
    layers.reverse();
    layers
}

fn layers_difference(layers: &[&Value], seen: &Header) -> Option<String> {
    let (outer, rest) = layers.split_first()?;
    match (&seen.inner, rest) {
        (None, []) => packet_difference(outer, seen, true),
        (Some((vni, inner)), [_, ..]) => packet_difference(outer, seen, inner.fragment.is_none())
            .or_else(|| layers_difference(rest, inner))
            .or_else(|| (vni.map(u64::from) != outer["vni"].as_u64()).then(|| format!("vni {vni:?}"))),
        (None, _) => Some("no tunnel".to_owned()),
        (Some(_), []) => Some("a tunnel".to_owned()),
    }
}

/// Which field of a packet differs from what was seen; null says that nobody can know it.
fn packet_difference(packet: &Value, seen: &Header, whole: bool) -> Option<String> {
    let text = |name: &str| packet[name].as_str().map(str::to_owned);
    let number = |name: &str| packet[name].as_u64();
    let protocol = match seen.protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        other => other.to_string(),
    };
    if text("protocol").as_deref() != Some(protocol.as_str()) {
        return Some(format!("protocol {protocol}"));
    }
    for (name, value) in [("source", seen.source), ("destination", seen.destination)] {
        if text(name).is_some_and(|wanted| wanted != value.to_string()) {
            return Some(format!("{name} {value}"));
        }
    }
    for (name, value) in [("source_port", seen.source_port), ("destination_port", seen.destination_port)] {
        if let (Some(wanted), Some(value)) = (number(name), value)
            && wanted != u64::from(value)
        {
            return Some(format!("{name} {value}"));
        }
    }
    if number("ttl").is_some_and(|wanted| wanted != u64::from(seen.ttl)) {
        return Some(format!("ttl {}", seen.ttl));
    }
    let whole = whole && seen.fragment.is_none() && packet["fragments"].is_null();
    if whole && number("length").is_some_and(|wanted| wanted != u64::from(seen.length)) {
        return Some(format!("length {}", seen.length));
    }
    None
}

fn shown_step(step: &Value) -> String {
    let packet = &step["packet"];
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut text = format!("{} {}", word(&step["kind"]), word(&step["device"]));
    if !packet["outer"].is_null() {
        let outer = &packet["outer"];
        let _ = write!(text, " {{{} > {} ttl {}}}", word(&outer["source"]), word(&outer["destination"]), outer["ttl"]);
    }
    let _ = write!(
        text,
        " {} {}.{} > {}.{} ttl {} length {}",
        word(&packet["protocol"]),
        word(&packet["source"]),
        packet["source_port"],
        word(&packet["destination"]),
        packet["destination_port"],
        packet["ttl"],
        packet["length"]
    );
    text
}

fn shown_sighting(seen: &Sighting) -> String {
    let direction = if seen.direction == Direction::Receive { "receive" } else { "transmit" };
    format!("{direction} {} {}", seen.device, seen.header)
}

/// The two stories, one after the other.
fn side_by_side(seen: &Seen<'_>, path: &Value) -> String {
    let mut text = format!("explain: {} probability {}\n", path["verdict"], path["probability"]);
    for (name, part) in [("forward", &path["forward"]), ("reply", &path["reply"])] {
        let _ = writeln!(text, "  {name}: {} {}", part["verdict"], part["reason"]);
        for step in part["steps"].as_array().map_or(&[][..], Vec::as_slice) {
            let place = place_of(step);
            let shown = match step["kind"].as_str() {
                Some("receive" | "transmit") => shown_step(step),
                Some("rule") => format!("    rule {} {}", rule_of_step(step), step["text"]),
                Some(kind) => format!("    {kind} {}", short(step)),
                None => step.to_string(),
            };
            let _ = writeln!(text, "    {} {} {shown}", place.0, place.1);
        }
    }
    text.push_str(&shown_observation(seen.probe, seen.observation));
    text
}

/// A step's own fields.
fn short(step: &Value) -> String {
    let Some(fields) = step.as_object() else { return String::new() };
    let common = ["n", "node", "netns", "kind", "packet", "evidence"];
    let own = fields.iter().filter(|(name, value)| !common.contains(&name.as_str()) && !value.is_null());
    own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// What the kernel did, for people.
pub fn shown_observation(probe: &Probe, seen: &Observation) -> String {
    let mut text = format!("kernel: {:?}, received by {:?}\n", seen.outcome, seen.receiver);
    let mut back = false;
    for sighting in &seen.sightings {
        if !back && (is_answer(probe, sighting.header.innermost()) || sighting.header.innermost().is_icmp_error()) {
            back = true;
            text.push_str("  back:\n");
        }
        let other = if sighting.other_host { " (other host)" } else { "" };
        let _ = writeln!(text, "    {} {}{other}", sighting.space, shown_sighting(sighting));
    }
    for hit in seen.hits.iter().filter(|hit| hit.index.is_some() || hit.verdict == "drop") {
        let header = hit.header.as_ref().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "    {} rule {}    [{header}]", hit.space, rule_of_hit(hit));
    }
    text
}
