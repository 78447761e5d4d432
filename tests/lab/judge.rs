//! Puts one scenario's questions to the kernel and to `explain`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde_json::Value;

use super::client::Outcome;
use super::compare::compare;
use super::coverage::Coverage;
use super::explain::explain;
use super::machine::Taker;
use super::observe::Observation;
use super::open::open;
use super::probe::{Probe, Proto, Want};
use super::recording::Recording;
use super::scenario::Scenario;

/// What came of a scenario.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many packets were sent.
    pub asked: usize,
    /// Where the kernel and `explain` differ, or the kernel and the scenario's author.
    pub wrong: Vec<String>,
    /// What the answers leave open, though they name the kernel's way.
    pub open: Vec<String>,
    /// What was seen.
    pub coverage: Coverage,
}

/// A folder that goes away, unless it is to be looked at.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is to be looked at.
    pub keep: bool,
}

impl Folder {
    /// A new one.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("flowtrace-lab-{}-{number}-{name}", std::process::id()));
        Self { path, keep: false }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Builds the scenario, and asks both.
pub fn judge(scenario: &Scenario) -> Result<Verdict, String> {
    Ok(Recording::of(scenario.clone())?.judge())
}

/// Who takes the snapshots of a situation beside the raw commands: those that `FLOWTRACE_TAKERS` names (`netlink,script`),
/// or in one situation of sixteen netlink, and in another one the script. All of them with all takers take a quarter of an
/// hour.
fn takers(situation: &str, about: &str) -> Vec<Taker> {
    let by_name = match situation.bytes().chain(about.bytes()).map(usize::from).sum::<usize>() % 16 {
        0 => "netlink",
        1 => "script",
        _ => "",
    };
    let named = std::env::var("FLOWTRACE_TAKERS").unwrap_or_else(|_| by_name.to_owned());
    let all = [("netlink", Taker::Netlink), ("script", Taker::Script("dash"))];
    let is_named = |name: &str| named.split(',').any(|other| other == name);
    all.into_iter().filter(|(name, _)| is_named(name)).map(|(_, taker)| taker).collect()
}

/// Judges the part of a situation that is about something, and fails where the two differ, or where an answer leaves
/// anything open.
pub fn must_agree(scenario: Scenario, about: &str) {
    let name = scenario.name.clone();
    let Some(open) = left_open(scenario, about) else { return };
    assert!(open.is_empty(), "{name}: {open:#?}");
}

/// Judges a situation in which something can't be known, which the answer must name.
pub fn must_agree_but_for(scenario: Scenario, unknown: &str) {
    let name = scenario.name.clone();
    let Some(open) = left_open(scenario, "") else { return };
    assert!(!open.is_empty() && open.iter().all(|what| what.contains(unknown)), "{name}: {open:#?}");
}

/// What the answers leave open that agree with the kernel; `None` where there is no kernel to ask.
fn left_open(mut scenario: Scenario, about: &str) -> Option<Vec<String>> {
    if !super::ready::ready() {
        return None;
    }
    scenario.probes.retain(|probe| about.is_empty() || probe.about == about);
    assert!(!scenario.probes.is_empty(), "the situation has nothing about {about:?}");
    let takers = takers(&scenario.name, about);
    let told = || {
        let told = Recording::taken_by(scenario.clone(), &takers).map(|mut recording| recording.judge());
        told.unwrap_or_else(|error| panic!("{}: {error}", scenario.name))
    };
    let beside = super::ready::beside_others();
    let mut told_once = told();
    drop(beside);
    if !told_once.wrong.is_empty() {
        // On a busy machine a packet can come too late to be seen: the kernel is asked once more, and nothing else is.
        eprintln!("{}: asked again, alone: {}", scenario.name, told_once.wrong.join("\n\n"));
        let _machine = super::ready::alone();
        told_once = told();
    }
    let told = told_once;
    assert!(
        told.wrong.is_empty(),
        "{}: {} of {} packets\n{}",
        scenario.name,
        told.wrong.len() - 1,
        told.asked,
        told.wrong.join("\n\n")
    );
    Some(told.open)
}

/// Every probe as often as it is to be sent, from another port each time: no connection is ever met again.
pub fn packets(scenario: &Scenario) -> impl Iterator<Item = Probe> + '_ {
    let all = scenario.probes.iter().flat_map(|probe| (0..probe.times).map(move |_| probe));
    (40000..).zip(all).map(|(sport, probe)| Probe { sport: probe.fixed_sport.unwrap_or(sport), ..probe.clone() })
}

/// So many ways are told first, and so many where the kernel's is not among them.
const WAYS: [usize; 2] = [64, 128];

/// Asks `explain`, and compares its answer with what was seen: the way that the kernel took, or none where there are
/// more ways than can be told, as in a loop that meets a rule of chance again and again; and what it leaves open.
pub fn hold_against(
    scenario: &Scenario,
    probe: &Probe,
    seen: &Observation,
    snapshot: &Path,
) -> Result<Option<(Value, Vec<String>)>, String> {
    for most in WAYS {
        let Some((answer, by_hand)) = explain(probe, snapshot, most)? else { return Ok(None) };
        match compare(scenario, probe, seen, &answer) {
            Ok(path) => return Ok(Some((path.clone(), open(&answer)))),
            Err(_) if answer["truncated"].as_bool() == Some(true) => {}
            Err(wrong) => return Err(format!("{by_hand}\n{wrong}")),
        }
    }
    Ok(None)
}

/// The question in words.
pub fn question(probe: &Probe) -> String {
    let port = if probe.proto == Proto::Icmp { String::new() } else { format!(" port {}", probe.port) };
    let mut text =
        format!("{} from {} to {} ({}{port})", probe.proto.as_str(), probe.from, probe.to, probe.destination);
    let mut add = |name: &str, value: Option<String>| {
        text.push_str(&value.map(|value| format!(" {name} {value}")).unwrap_or_default());
    };
    add("ttl", probe.ttl.map(|ttl| ttl.to_string()));
    add("size", probe.size.map(|size| size.to_string()));
    add("tos", probe.tos.map(|tos| tos.to_string()));
    add("mark", probe.mark.map(|mark| format!("{mark:#x}")));
    add("source", probe.source.map(|source| source.to_string()));
    add("df", probe.df.then(String::new));
    text
}

/// Whether the kernel did what the scenario's author expects.
pub fn check_want(probe: &Probe, seen: &Observation) -> Result<(), String> {
    let (receiver, outcome) = (seen.receiver.as_deref(), seen.outcome);
    let fine = match &probe.want {
        None => true,
        Some(Want::Answered(space)) => receiver == Some(space) && outcome == Outcome::Answered,
        Some(Want::AnsweredBySome) => receiver.is_some() && outcome == Outcome::Answered,
        Some(Want::Unheard(space)) => receiver == Some(space) && outcome == Outcome::Silence,
        Some(Want::Silence) => receiver.is_none() && outcome == Outcome::Silence,
        Some(Want::Error(errno)) => receiver.is_none() && outcome == Outcome::Error(*errno),
        Some(Want::Refused(errno)) => receiver.is_none() && outcome == Outcome::Refused(*errno),
    };
    let want = &probe.want;
    if fine {
        Ok(())
    } else {
        Err(format!("the scenario means to show {want:?}, the kernel {outcome:?} at {receiver:?}"))
    }
}

/// What came of a run of random scenarios.
#[derive(Debug, Default)]
pub struct Run {
    /// What was covered.
    pub coverage: Coverage,
    /// The seeds where the kernel and `explain` differ, and how.
    pub wrong: Vec<(u64, String)>,
}

/// Judges random scenarios, several at a time; `hear` is told of each as it is done.
pub fn run_seeds(seeds: Range<u64>, jobs: usize, hear: impl Fn(u64, &Result<Verdict, String>) + Sync) -> Run {
    let next = AtomicU64::new(seeds.start);
    let run = Mutex::new(Run::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let told = judge(&super::random::scenario(seed));
                    hear(seed, &told);
                    let mut run = run.lock().expect("no thread dies with the run");
                    match told {
                        Ok(told) => {
                            run.coverage.add(&told.coverage);
                            run.wrong.extend(told.wrong.into_iter().map(|wrong| (seed, wrong)));
                        }
                        Err(error) => run.wrong.push((seed, error)),
                    }
                }
            });
        }
    });
    run.into_inner().expect("no thread died with the run")
}

/// `FROM..TO`, or one number.
pub fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.trim().parse::<u64>().map_err(|error| format!("seeds {text:?}: {error}"));
    match text.split_once("..") {
        Some((from, to)) => Ok(number(from)?..number(to)?),
        None => number(text).map(|seed| seed..seed + 1),
    }
}
