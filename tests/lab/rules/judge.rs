//! Holds the engine against the kernel, case by case.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowtrace::engine::{Given, Origin, Question, explain};
use flowtrace::evidence::Evidence;
use flowtrace::load::load_files;
use flowtrace::net::{ExtHeader, IfName, MacAddr, NetnsId, Packet, RouteType, Transport};
use flowtrace::snapshot::Snapshot;
use flowtrace::trace::{Answer, Beside, BesideWay, Decision, Path, Reason, RuleVerdict, Step, Trace, Verdict};

use super::super::ruletrace::RuleHit;
use super::super::tap::{Direction, Sighting};
use super::super::wire::Header;
use super::case::{Backend, Case, case};
use super::craft::Crafted;
use super::router::{LegacyRule, Router, Rules, Seen};

/// What came of many cases.
#[derive(Debug, Default)]
pub struct Run {
    /// Rule sets that were loaded.
    pub rule_sets: usize,
    /// Packets that were compared.
    pub packets: usize,
    /// Those that came in pieces.
    pub pieces: usize,
    /// Those of which flowtrace knew the one way.
    pub certain: usize,
    /// Those that the kernel sent by a way of which flowtrace says that it isn't modelled.
    pub unmodelled: usize,
    /// Cases whose rules the tools refused, with what they said.
    pub refused: Vec<String>,
    /// Disagreements, each in its smallest form.
    pub wrong: Vec<String>,
    /// How often each option stood in a rule that matched.
    pub hit: BTreeMap<String, usize>,
}

/// How long a disagreement is made smaller; with what is left of it the rest goes on.
const SHRINKING: Duration = Duration::from_secs(90);

/// How many disagreements are enough.
const ENOUGH: usize = 10;

/// Judges the cases of seeds, several at a time.
pub fn run(seeds: Range<u64>, backend: Backend, jobs: usize) -> Run {
    let (next, run) = (AtomicU64::new(seeds.start), Mutex::new(Run::default()));
    std::thread::scope(|scope| {
        for job in 0..jobs.max(1) {
            let (next, run) = (&next, &run);
            scope.spawn(move || {
                // Modes that run at the same time have a processor each.
                let mut router = Router::new(job + backend as usize).expect("the stage");
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || run.lock().expect("the run").wrong.len() >= ENOUGH {
                        return;
                    }
                    judge_case(&mut router, &case(seed, backend), run);
                }
            });
        }
    });
    run.into_inner().expect("the run")
}

fn judge_case(router: &mut Router, case: &Case, run: &Mutex<Run>) {
    let case = &accepted(router, case);
    let snapshot = match stand(router, &case.rules) {
        Ok(snapshot) => snapshot,
        Err(error) => return run.lock().expect("the run").refused.push(format!("seed {}: {error}", case.seed)),
    };
    run.lock().expect("the run").rule_sets += 1;
    for packet in &case.packets {
        match judge(router, &snapshot, packet) {
            Ok(agreed) => {
                let mut run = run.lock().expect("the run");
                run.packets += 1;
                run.pieces += usize::from(packet.frames().len() > 1);
                run.certain += usize::from(agreed.certain);
                run.unmodelled += usize::from(agreed.unmodelled);
                agreed.options.into_iter().for_each(|option| *run.hit.entry(option).or_default() += 1);
                if agreed.is_endless {
                    return;
                }
            }
            Err(wrong) => {
                eprintln!("seed {}: a disagreement, which is now made smaller: {wrong}", case.seed);
                let text = smallest(router, case, packet, wrong);
                return run.lock().expect("the run").wrong.push(format!("seed {}: {text}", case.seed));
            }
        }
    }
}

/// The case without the lines that nft refuses: which conditions go together is its business.
fn accepted(router: &mut Router, case: &Case) -> Case {
    let mut case = case.clone();
    for _ in 0..100 {
        let Err(error) = router.load(&case.rules) else { break };
        let numbers =
            error.lines().filter_map(|line| line.strip_prefix("/dev/stdin:")?.split(':').next()?.parse().ok());
        let refused: Vec<usize> = numbers.collect();
        if refused.is_empty() || !error.starts_with("nft ") {
            break;
        }
        let kept = case.rules.nft.lines().enumerate().filter(|(n, _)| !refused.contains(&(n + 1)));
        let kept: Vec<&str> = kept.map(|(_, line)| line).collect();
        case.rules.nft = kept.join("\n") + "\n";
    }
    case
}

/// Loads the rules and takes the snapshot.
fn stand(router: &mut Router, rules: &Rules) -> Result<Snapshot, String> {
    router.load(rules)?;
    let snapshot = load_files(router.snapshot()?).map_err(|error| error.to_string())?;
    router.watch()?;
    Ok(snapshot)
}

/// Sends a packet through the rules that stand. What `explain` says, and how the kernel's way differs from every one of
/// those.
pub fn through(router: &mut Router, packet: &Crafted) -> Result<(Answer, Option<String>), String> {
    router.unwatch()?;
    let snapshot = load_files(router.snapshot()?).map_err(|error| error.to_string())?;
    router.watch()?;
    let difference = judge(router, &snapshot, packet).err();
    Ok((ask(&snapshot, packet), difference))
}

/// Sends a packet to a router whose stack answers what is for it: the way there and the answer's must be the kernel's.
/// What `explain` says of it.
pub fn answered(router: &mut Router, packet: &Crafted) -> Result<Path, String> {
    answered_with(router, &Rules::default(), packet)
}

/// The same of a router with rules.
pub fn answered_with(router: &mut Router, rules: &Rules, packet: &Crafted) -> Result<Path, String> {
    router.load(rules)?;
    let snapshot = load_files(router.snapshot()?).map_err(|error| error.to_string())?;
    router.watch_answering()?;
    let seen = router.send(packet).map_err(|error| format!("{packet:?}: {error}"))?;
    let answer = asked(&snapshot, packet, true);
    let [path] = answer.paths.as_slice() else { return Err(format!("{} ways: {packet:?}", answer.paths.len())) };
    let both = path.forward.steps.iter().chain(path.reply.iter().flat_map(|reply| &reply.steps));
    let devices: Vec<&Step> = both.filter(|step| is_at_device(step)).collect();
    let different = devices.iter().zip(&seen.sightings).find_map(|(step, sighting)| device_difference(step, sighting));
    // What nobody can tell ends the way before the kernel does.
    let open = path.reply.as_ref().unwrap_or(&path.forward).verdict == Verdict::Undetermined;
    match different {
        None if devices.len() == seen.sightings.len() || open && devices.len() < seen.sightings.len() => {
            Ok(path.clone())
        }
        different => {
            let seen: Vec<String> =
                seen.sightings.iter().map(|seen| format!("{} {}", seen.device, seen.header)).collect();
            Err(format!("{packet:?}\n{different:?}\n{}the kernel: {seen:#?}", shown(path)))
        }
    }
}

/// What an agreement was about.
struct Agreed {
    certain: bool,
    unmodelled: bool,
    /// Whether the kernel may go on sending, so that nothing more can be asked of these rules.
    is_endless: bool,
    options: Vec<String>,
}

/// Sends a packet, and holds what became of it against the engine's answer.
fn judge(router: &mut Router, snapshot: &Snapshot, packet: &Crafted) -> Result<Agreed, String> {
    let seen = router.send(packet).map_err(|error| format!("{packet:?}: {error}"))?;
    compare(&seen, &ask(snapshot, packet), packet)
}

/// Whether what the devices saw begins as a way says.
fn begins(path: &Path, seen: &Seen) -> bool {
    let told: Vec<&Step> = steps(path).filter(|step| is_at_device(step)).collect();
    let mut both = told.iter().zip(&seen.sightings);
    told.len() <= seen.sightings.len() && both.all(|(step, sighting)| device_difference(step, sighting).is_none())
}

/// The same of a packet of whose frame the question gives no more than the source, if that.
pub fn unframed(
    router: &mut Router,
    packet: &Crafted,
    mac: Option<MacAddr>,
) -> Result<(Answer, Option<String>), String> {
    router.unwatch()?;
    let snapshot = load_files(router.snapshot()?).map_err(|error| error.to_string())?;
    router.watch()?;
    let mut question = question(packet, false);
    (question.packet.link, question.given.mac) = (None, mac);
    let answer = explain(&snapshot, &question);
    let difference = compare(&router.send(packet)?, &answer, packet).err();
    Ok((answer, difference))
}

/// Looks for what became of a packet among the ways that the engine finds.
fn compare(seen: &Seen, answer: &Answer, packet: &Crafted) -> Result<Agreed, String> {
    let mut nearest: Option<(Vec<String>, Path)> = None;
    for path in answer.paths.iter().flat_map(variants) {
        // Nothing tells the pieces of a copy from the packet's own.
        let mixes = packet.frames().len() > 1 && !path.forward.beside.is_empty();
        let made = path.reply.as_ref();
        let is_endless = [Some(&path.forward), made].into_iter().flatten().any(has_unfollowed_copies);
        // A router that is its own client answers what SYNPROXY answers, and so on: explain tells the first answer alone.
        let is_echo = is_proxied(&path.forward) && made.is_some_and(is_proxied) && begins(&path, seen);
        if mixes || is_endless || is_echo {
            let is_endless = is_endless || is_echo;
            return Ok(Agreed { certain: false, unmodelled: true, is_endless, options: Vec::new() });
        }
        let differences = differences(&path, seen, &taken_to_match(answer, &path));
        if differences.is_empty() {
            let end = path.forward.verdict == Verdict::Undetermined;
            let certain = answer.paths.len() == 1 && !end;
            return Ok(Agreed { certain, unmodelled: end, is_endless: false, options: options(&path) });
        }
        if nearest.as_ref().is_none_or(|(known, _)| differences.len() < known.len()) {
            nearest = Some((differences, path));
        }
    }
    let mut text = format!("{packet:?}\n");
    if let Some((differences, path)) = nearest {
        let _ = writeln!(text, "nearest of {} ways differs:\n  {}", answer.paths.len(), differences.join("\n  "));
        text.push_str(&shown(&path));
    }
    text.push_str("the kernel:\n");
    for sighting in &seen.sightings {
        let _ = writeln!(text, "  {:?} {} {}", sighting.direction, sighting.device, sighting.header);
    }
    for hit in &seen.hits {
        let _ = writeln!(text, "  {} {:?}", rule_of_hit(hit), hit.header.as_ref().map(ToString::to_string));
    }
    for (rule, count) in &seen.counts {
        let _ = writeln!(text, "  {rule:?} {count} times");
    }
    let _ = writeln!(text, "  arrived at the router: {}, its pieces parted: {}", seen.delivered, seen.parted);
    Err(text)
}

fn ask(snapshot: &Snapshot, crafted: &Crafted) -> Answer {
    let answer = asked(snapshot, crafted, false);
    // The way of an error is the answer's.
    let answered =
        answer.paths.iter().any(|path| path.forward.verdict == Verdict::Rejected || is_proxied(&path.forward));
    if answered { asked(snapshot, crafted, true) } else { answer }
}

fn asked(snapshot: &Snapshot, crafted: &Crafted, reply: bool) -> Answer {
    explain(snapshot, &question(crafted, reply))
}

fn question(crafted: &Crafted, reply: bool) -> Question {
    let mut packet = crafted.packet();
    let from = if crafted.local {
        Origin::Socket { netns: NetnsId(0) }
    } else {
        packet.link = Some(super::router::link(crafted));
        Origin::Device { netns: NetnsId(0), device: IfName::new("eth0") }
    };
    Question {
        packet,
        from,
        reply,
        max_paths: 512,
        verbose: false,
        established: false,
        opened_by: None,
        given: Given { payload: Some(crafted.carried().into()), ..Given::default() },
    }
}

/// The steps that the kernel shows for a way: with those of the error, but not those of an answer, which nobody sends.
fn steps(path: &Path) -> impl Iterator<Item = &Step> {
    let is_made = is_proxied(&path.forward) || path.forward.verdict == Verdict::Rejected && !ends_in_stack(path);
    let made = path.reply.as_ref().filter(|_| is_made);
    with_beside(&path.forward).into_iter().chain(made.into_iter().flat_map(with_beside))
}

/// A path with one of the ways of each packet that was sent beside it or its answer, and without those that may not have
/// been sent.
fn variants(path: &Path) -> Vec<Path> {
    let forward = choices(&path.forward);
    let with = |forward: &Trace, reply: Option<Trace>| Path { forward: forward.clone(), reply, ..path.clone() };
    match &path.reply {
        None => forward.iter().map(|forward| with(forward, None)).collect(),
        Some(reply) => {
            let replies = choices(reply);
            forward.iter().flat_map(|one| replies.iter().map(move |reply| with(one, Some(reply.clone())))).collect()
        }
    }
}

/// The same of one trace.
fn choices(trace: &Trace) -> Vec<Trace> {
    let mut all = vec![Vec::new()];
    for beside in &trace.beside {
        let one = |way: &BesideWay| Some(Beside { ways: vec![way.clone()], ..beside.clone() });
        let none = (!beside.certain).then_some(None);
        let choices: Vec<Option<Beside>> = beside.ways.iter().map(one).chain(none).collect();
        let with = |chosen: &Vec<Beside>| {
            let chosen = chosen.clone();
            choices.clone().into_iter().map(move |one| chosen.iter().cloned().chain(one).collect())
        };
        all = all.iter().flat_map(with).take(64).collect();
    }
    all.into_iter().map(|beside| Trace { beside, ..trace.clone() }).collect()
}

/// Whether a copy is answered with an error, which explain does not walk, or comes back by `lo`, while the kernel goes on with
/// the packet itself.
fn has_unfollowed_copies(trace: &Trace) -> bool {
    trace.beside.iter().flat_map(|beside| &beside.ways).any(|way| {
        let by_lo = |step: &Step| matches!(&step.decision, Decision::Receive { device, .. } if device.as_str() == "lo");
        way.trace.verdict == Verdict::Rejected || way.trace.steps.iter().any(by_lo) || has_unfollowed_copies(&way.trace)
    })
}

/// The steps of a way in the kernel's order: what is sent beside the packet comes before what the packet does next.
fn with_beside(trace: &Trace) -> Vec<&Step> {
    let mut steps = Vec::new();
    for n in 0..=trace.steps.len() {
        let sent = trace.beside.iter().filter(|beside| beside.after == n);
        steps.extend(sent.filter_map(|beside| beside.ways.first()).flat_map(|way| with_beside(&way.trace)));
        steps.extend(trace.steps.get(n));
    }
    steps
}

/// Whether SYNPROXY has answered the packet in the server's place.
fn is_proxied(trace: &Trace) -> bool {
    let [.., rule, _] = trace.steps.as_slice() else { return false };
    trace.verdict == Verdict::Delivered && matches!(rule.decision, Decision::Rule { verdict: RuleVerdict::Stolen, .. })
}

/// Whether the stack refuses an extension header of a packet that is for the router, which the lab keeps from it.
fn ends_in_stack(path: &Path) -> bool {
    let refused =
        matches!(path.forward.reason, Some(Reason::BadHeader | Reason::ProtocolUnreachable | Reason::SourceRoute));
    let local = |step: &Step| matches!(step.decision, Decision::Route { kind: Some(RouteType::Local), .. });
    let Some(last) = path.forward.steps.last().map(|step| &step.packet) else { return false };
    // Options for each hop are read before any rule.
    let early = path.forward.reason == Some(Reason::BadHeader)
        && last.extensions.list().first().is_some_and(|first| first.kind() == ExtHeader::HOP);
    refused && !early && last.ip.destination.is_ipv6() && path.forward.steps.iter().any(local)
}

/// The rules on a way that do nothing, and of which nobody knows whether they matched: they are taken to.
fn taken_to_match(answer: &Answer, path: &Path) -> BTreeSet<String> {
    let open = answer.gaps.iter().filter(|gap| gap.what.starts_with("a rule without effect matches if"));
    let lines: Vec<Evidence> = open.flat_map(|gap| gap.evidence.iter().copied()).collect();
    let concerned = steps(path).filter(|step| step.because.iter().any(|line| lines.contains(line)));
    concerned.filter_map(rule_of_step).map(|(_, rule)| rule).collect()
}

fn differences(path: &Path, seen: &Seen, open: &BTreeSet<String>) -> Vec<String> {
    if path.forward.verdict == Verdict::Undetermined {
        return prefix_differences(path, seen, open);
    }
    let mut found = Vec::new();
    let delivered = path.forward.verdict == Verdict::Delivered && !is_proxied(&path.forward) || ends_in_stack(path);
    // The rules of an error, which IPv4 sends about the first piece alone, are counted with that piece's.
    let counted = path.forward.verdict == Verdict::Rejected && seen.hits.is_empty();
    if seen.parted && !counted {
        found.push("pieces: explain has one way for all of them, the kernel several".to_owned());
    }
    let devices: Vec<&Step> = steps(path).filter(|step| is_at_device(step)).collect();
    let sightings = if answers_go_on(path) { devices.len() } else { seen.sightings.len() };
    for n in 0..devices.len().max(sightings) {
        let difference = match (devices.get(n), seen.sightings.get(n)) {
            (Some(step), Some(sighting)) => device_difference(step, sighting),
            (Some(step), None) => {
                Some(format!("explain has {:?} {}, the kernel nothing", step.decision, packet_text(&step.packet)))
            }
            (None, Some(sighting)) => Some(format!(
                "the kernel has {:?} {} {}, explain nothing",
                sighting.direction, sighting.device, sighting.header
            )),
            (None, None) => None,
        };
        if let Some(difference) = difference {
            found.push(format!("device {}: {difference}", n + 1));
            break;
        }
    }
    found.extend(rule_difference(path, seen, open));
    if delivered != seen.delivered {
        found.push(format!("explain says {:?}, the kernel delivered: {}", path.forward.verdict, seen.delivered));
    }
    found
}

/// An error that is rejected itself makes another one, which is no part of the question.
fn answers_go_on(path: &Path) -> bool {
    path.reply.as_ref().is_some_and(|reply| reply.verdict == Verdict::Rejected)
}

/// A way that ends where something is not modelled must be the kernel's up to there.
fn prefix_differences(path: &Path, seen: &Seen, open: &BTreeSet<String>) -> Vec<String> {
    // The kernel traces the rules of nf_tables alone.
    let wanted = steps(path).filter_map(rule_of_step).filter(|(key, _)| key.is_none()).map(|(_, rule)| rule);
    let wanted: Vec<String> = wanted.filter(|rule| !open.contains(rule)).collect();
    let rules = rules_of(seen, open);
    // Of pieces that part ways, those of the first one count, which ends where IPv4 puts them together.
    let agrees = seen.hits.is_empty() || rules.starts_with(&wanted) || seen.parted && wanted.starts_with(&rules);
    if agrees { Vec::new() } else { vec!["explain knows less than the kernel, and other rules besides".to_owned()] }
}

fn is_at_device(step: &Step) -> bool {
    matches!(step.decision, Decision::Receive { .. } | Decision::Transmit { .. })
}

/// The rules that matched, without those of which nobody knows.
fn rules_of(seen: &Seen, open: &BTreeSet<String>) -> Vec<String> {
    let rules = seen.hits.iter().filter(|hit| hit.index.is_some()).map(rule_of_hit);
    rules.filter(|rule| !open.contains(rule)).collect()
}

fn rule_difference(path: &Path, seen: &Seen, open: &BTreeSet<String>) -> Option<String> {
    let (mut nft, mut legacy, mut counts) = (Vec::new(), BTreeMap::new(), seen.counts.clone());
    for (key, rule) in steps(path).filter_map(rule_of_step) {
        match key {
            Some(key) if open.contains(&rule) => _ = counts.remove(&key),
            None if open.contains(&rule) => {}
            None => nft.push(rule),
            Some(key) => *legacy.entry(key).or_insert(0_u64) += 1,
        }
    }
    let hits = rules_of(seen, open);
    let hits = if answers_go_on(path) { hits.into_iter().take(nft.len()).collect() } else { hits };
    if nft != hits {
        let n = nft.iter().zip(&hits).take_while(|(a, b)| a == b).count();
        let word = |list: &[String]| list.get(n).cloned().unwrap_or_else(|| "nothing more".to_owned());
        return Some(format!("rule {}: explain has {}, the kernel {}", n + 1, word(&nft), word(&hits)));
    }
    // Counters have no order, so that those of the error about an error are among them.
    let counted = |(rule, times): (&LegacyRule, &u64)| counts.get(rule).is_some_and(|seen| seen >= times);
    let agrees = if answers_go_on(path) { legacy.iter().all(counted) } else { legacy == counts };
    (!agrees).then(|| format!("rules: explain has {legacy:?}, the kernel {counts:?}"))
}

fn rule_of_step(step: &Step) -> Option<(Option<LegacyRule>, String)> {
    let Decision::Rule { family, backend, table, chain, index, verdict, .. } = &step.decision else { return None };
    let number = if *family == "ip" { 4 } else { 6 };
    let legacy = (*backend == "legacy").then(|| (number, table.clone(), chain.clone(), *index));
    let verdict = if *verdict == RuleVerdict::Reject { "drop" } else { verdict.as_str() };
    Some((legacy, format!("{family} {table} {chain} {index} {verdict}")))
}

fn rule_of_hit(hit: &RuleHit) -> String {
    format!("{} {} {} {} {}", hit.family, hit.table, hit.chain, hit.index.unwrap_or(0), hit.verdict)
}

fn device_difference(step: &Step, seen: &Sighting) -> Option<String> {
    let (direction, device) = match &step.decision {
        Decision::Receive { device, .. } => (Direction::Receive, device),
        Decision::Transmit { device, .. } => (Direction::Transmit, device),
        _ => return None,
    };
    if direction != seen.direction || device.as_str() != seen.device {
        return Some(format!("explain has {direction:?} {device}, the kernel {:?} {}", seen.direction, seen.device));
    }
    packet_difference(&step.packet, &seen.header).map(|field| {
        format!(
            "{direction:?} {device}: {field}: explain has {}, the kernel {}",
            packet_text(&step.packet),
            seen.header
        )
    })
}

/// The field in which a packet differs from what was seen; an unknown port is any.
fn packet_difference(packet: &Packet, seen: &Header) -> Option<&'static str> {
    let same_port = |wanted: Option<u16>, seen: Option<u16>| wanted.is_none() || wanted == seen;
    let (icmp, flags) = match packet.transport {
        Transport::Icmp { kind, code, .. } => (Some((kind, code)), None),
        Transport::Tcp { flags, .. } => (None, Some(flags)),
        _ => (None, None),
    };
    let checks = [
        ("protocol", packet.protocol().0 == seen.protocol),
        ("source", packet.ip.source == seen.source),
        ("destination", packet.ip.destination == seen.destination),
        ("ports", seen.source_port.is_none() || same_port(packet.source_port(), seen.source_port)),
        ("ports", seen.destination_port.is_none() || same_port(packet.destination_port(), seen.destination_port)),
        ("ttl", packet.ip.ttl == seen.ttl),
        ("tos", packet.ip.tos == seen.tos),
        ("length", packet.length == seen.length),
        ("options or headers", seen.fragment.is_some() || same_between(packet, seen)),
        ("icmp", seen.icmp.is_none() || icmp == seen.icmp),
        ("flags", seen.tcp_flags.is_none() || flags == seen.tcp_flags),
    ];
    checks.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

/// Whether what stands between the headers is the same, as far as it is known.
fn same_between(packet: &Packet, seen: &Header) -> bool {
    let known: Vec<Option<u8>> = if packet.ip.destination.is_ipv4() {
        packet.options.bytes().to_vec()
    } else {
        packet.extensions.bytes(packet.protocol()).into_iter().map(Some).collect()
    };
    let same = |(known, seen): (&Option<u8>, &u8)| known.is_none_or(|known| known == *seen);
    known.len() == seen.between.len() && known.iter().zip(&seen.between).all(same)
}

fn packet_text(packet: &Packet) -> String {
    format!(
        "{} {}.{:?} > {}.{:?} ttl {} tos {:#x} length {} {}",
        packet.protocol(),
        packet.ip.source,
        packet.source_port(),
        packet.ip.destination,
        packet.destination_port(),
        packet.ip.ttl,
        packet.ip.tos,
        packet.length,
        packet.options.hex()
    )
}

fn shown(path: &Path) -> String {
    let mut text = format!("explain: {:?} {:?}\n", path.forward.verdict, path.forward.reason);
    for step in steps(path) {
        match (&step.decision, rule_of_step(step)) {
            (Decision::Rule { text: rule, .. }, Some((_, name))) => _ = writeln!(text, "  {name}   {rule}"),
            (decision, _) if is_at_device(step) => _ = writeln!(text, "  {decision:?} {}", packet_text(&step.packet)),
            (decision, _) => _ = writeln!(text, "  {decision:?}"),
        }
    }
    text
}

/// The options in the rules of a way that matched.
fn options(path: &Path) -> Vec<String> {
    let mut options = Vec::new();
    for step in steps(path) {
        let Decision::Rule { text, .. } = &step.decision else { continue };
        let words: Vec<&str> = text.split(' ').collect();
        options.extend(words.windows(2).filter(|pair| matches!(pair[0], "-m" | "-j")).map(|pair| pair.join(" ")));
    }
    options
}

/// What sort of disagreement a text tells of: a device, a rule, or the end.
fn kind(wrong: &str) -> Option<&str> {
    let first = wrong.split("differs:\n  ").nth(1)?;
    first.split(' ').next()
}

/// Leaves out rule by rule, as long as the disagreement stays.
fn smallest(router: &mut Router, case: &Case, packet: &Crafted, wrong: String) -> String {
    let (mut rules, mut wrong) = (case.rules.clone(), wrong);
    let until = Instant::now() + SHRINKING;
    let places: Vec<(bool, &'static str)> = [(false, &rules.v4), (true, &rules.v6)]
        .into_iter()
        .flat_map(|(v6, tables)| tables.keys().map(move |table| (v6, *table)).collect::<Vec<_>>())
        .collect();
    // What is jumped to can go only after what jumps there.
    for (v6, table) in places.repeat(2) {
        let mut at = 0;
        loop {
            let mut fewer = rules.clone();
            let lines = if v6 { fewer.v6.get_mut(table) } else { fewer.v4.get_mut(table) };
            let Some(lines) = lines.filter(|lines| at < lines.len() && Instant::now() < until) else { break };
            lines.remove(at);
            // A chain that is still jumped to can't go, and the tools say so.
            let judged = stand(router, &fewer).map(|snapshot| judge(router, &snapshot, packet));
            match judged {
                Ok(Err(still)) if kind(&still) == kind(&wrong) => (rules, wrong) = (fewer, still),
                _ => at += 1,
            }
        }
    }
    fewer_nft(router, &mut rules, packet, &mut wrong, until);
    let mut text = String::new();
    if !rules.nft.is_empty() {
        let _ = writeln!(text, "nft:\n{}", rules.nft);
    }
    for (family, tables) in [("IPv4", &rules.v4), ("IPv6", &rules.v6)] {
        for (table, lines) in tables.iter().filter(|(_, lines)| !lines.is_empty()) {
            let _ = writeln!(text, "{family} {table}:\n  {}", lines.join("\n  "));
        }
    }
    if text.contains("--match-set") || text.contains("-set ") {
        let _ = writeln!(text, "ipset:\n  {}", rules.ipset.join("\n  "));
    }
    format!("{}\n{text}{wrong}", if rules.legacy { "iptables-legacy" } else { "iptables-nft" })
}

/// Leaves out lines of nft's rules: a rule or a set, then what is left of a chain or a table that has nothing more, of
/// two lines or three.
fn fewer_nft(router: &mut Router, rules: &mut Rules, packet: &Crafted, wrong: &mut String, until: Instant) {
    for width in [1, 2, 3, 2] {
        let mut at = 0;
        while at < rules.nft.lines().count() && Instant::now() < until {
            let lines: Vec<&str> = rules.nft.lines().collect();
            let kept = lines.iter().enumerate().filter(|(n, _)| !(at..at + width).contains(n)).map(|(_, line)| *line);
            let fewer = Rules { nft: kept.collect::<Vec<_>>().join("\n") + "\n", ..rules.clone() };
            match stand(router, &fewer).map(|snapshot| judge(router, &snapshot, packet)) {
                Ok(Err(still)) => (*rules, *wrong) = (fewer, still),
                _ => at += 1,
            }
        }
    }
}
