//! What the kernel did with a scenario's packets, kept beside the snapshot to be held against `explain`.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::build::Lab;
use super::captures::{self, Told};
use super::explain::{Mistaken, set_program};
use super::judge::{Folder, Verdict, check_want, hold_against, packets, question};
use super::machine::Taker;
use super::observe::{Observation, Observer};
use super::probe::Probe;
use super::scenario::Scenario;
use super::snapshot::Form;

/// A scenario's snapshot, and what became of each of its packets.
pub struct Recording {
    scenario: Scenario,
    snapshot: Folder,
    /// The same moment's snapshots by others than the raw commands.
    others: Vec<(Taker, Folder)>,
    seen: Vec<(Probe, Observation)>,
}

impl Recording {
    /// Builds the scenario, takes its snapshot by the raw commands, and sends every packet.
    pub fn of(scenario: Scenario) -> Result<Self, String> {
        Self::taken_by(scenario, &[])
    }

    /// The same with snapshots by others too.
    pub fn taken_by(scenario: Scenario, takers: &[Taker]) -> Result<Self, String> {
        let lab = Lab::build(&scenario)?;
        let snapshot = Folder::new(&scenario.name);
        lab.snapshot(&snapshot.path, Form::Text)?;
        let mut others = Vec::new();
        for taker in takers {
            let folder = Folder::new(&scenario.name);
            lab.collect(&folder.path, *taker)?;
            others.push((*taker, folder));
        }
        let mut observer = Observer::open(&lab)?;
        let seen = packets(&scenario).map(|probe| (probe.clone(), observer.ask(&probe))).collect();
        Ok(Self { scenario, snapshot, others, seen })
    }

    /// Asks `explain --pcap` about every packet, as each device showed it.
    pub fn captures(&mut self) -> Result<Told, String> {
        let told = captures::judge(&self.scenario, &self.seen, &self.snapshot.path)?;
        self.snapshot.keep |= !told.wrong.is_empty();
        Ok(told)
    }

    /// Where the snapshot is.
    pub fn folder(&self) -> &Path {
        &self.snapshot.path
    }

    fn new(scenario: &Scenario) -> Result<Self, String> {
        Self::of(scenario.clone()).map_err(|error| format!("{}: {error}", scenario.name))
    }

    /// Asks `explain` about every packet. The snapshot stays where the answer is wrong.
    pub fn judge(&mut self) -> Verdict {
        let mut told = Verdict { asked: self.seen.len(), ..Verdict::default() };
        told.coverage.scenarios = 1;
        let Self { scenario, snapshot, others, seen } = self;
        for (probe, seen) in &*seen {
            let agreed = check_want(probe, seen).and_then(|()| hold_against(scenario, probe, seen, &snapshot.path));
            match agreed {
                Ok(Some((path, open))) => {
                    told.coverage.count(scenario, probe, &path, seen, &snapshot.path);
                    told.open.extend(open.into_iter().map(|open| format!("{}: {open}", question(probe))));
                }
                Ok(None) => told.coverage.untold += 1,
                Err(wrong) => told.wrong.push(format!("{}\n{wrong}", question(probe))),
            }
        }
        for (taker, folder) in others.iter_mut() {
            for (probe, seen) in &*seen {
                match hold_against(scenario, probe, seen, &folder.path) {
                    Ok(answer) => told.open.extend(
                        answer
                            .into_iter()
                            .flat_map(|(_, open)| open)
                            .map(|open| format!("{}: {open}", question(probe))),
                    ),
                    Err(wrong) => told.wrong.push(format!("{taker:?}: {}\n{wrong}", question(probe))),
                }
            }
            folder.keep = !told.wrong.is_empty();
        }
        if !told.wrong.is_empty() {
            snapshot.keep = true;
            let words = scenario.words.join("; ");
            told.wrong.push(format!("{words}; the snapshot is kept in {}", snapshot.path.display()));
        }
        told
    }

    /// About which packets a program is wrong, or this crate's.
    fn wrong(&self, program: Option<Mistaken>) -> Vec<String> {
        set_program(program);
        let wrong =
            |(probe, seen): &(Probe, Observation)| hold_against(&self.scenario, probe, seen, &self.snapshot.path).err();
        let wrong = self.seen.iter().filter_map(wrong).collect();
        set_program(None);
        wrong
    }

    /// How many packets were sent.
    pub fn packets(&self) -> usize {
        self.seen.len()
    }
}

/// Records scenarios, several at a time. Where this crate's program disagrees the kernel is asked once more, with the
/// machine to itself: on a busy one a packet can come too late to be seen.
pub fn record(scenarios: &[Scenario], jobs: usize) -> Result<Vec<Recording>, String> {
    let recorded = side_by_side(scenarios, jobs, Recording::new).into_iter().collect::<Result<Vec<_>, _>>()?;
    let again = |recording: Recording| {
        if recording.wrong(None).is_empty() { Ok(recording) } else { Recording::new(&recording.scenario) }
    };
    recorded.into_iter().map(again).collect()
}

/// About which packets of some recordings a program is wrong. No more recordings are looked at once
/// `enough` wrong packets are known.
pub fn wrong(recordings: &[Recording], program: Mistaken, jobs: usize, enough: usize) -> Vec<String> {
    let known = AtomicUsize::new(0);
    let wrong = |recording: &Recording| {
        if known.load(Ordering::Relaxed) >= enough {
            return Vec::new();
        }
        let wrong = recording.wrong(Some(program));
        known.fetch_add(wrong.len(), Ordering::Relaxed);
        wrong
    };
    side_by_side(recordings, jobs, wrong).into_iter().flatten().collect()
}

/// Does something with every item, several at a time; the answers are in the items' order.
fn side_by_side<T: Sync, U: Send>(items: &[T], jobs: usize, work: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { return };
                    let answer = work(item);
                    done.lock().expect("no thread dies with the lock").push((place, answer));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread died with the lock");
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, answer)| answer).collect()
}
