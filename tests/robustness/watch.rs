//! Runs many cases, and tells of every one that panics or doesn't end.

use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A case that takes longer hangs. The slowest takes a hundredth of it in a debug build.
const PATIENCE: Duration = Duration::from_secs(60);
const WORKERS: usize = 2;

/// A case: how it is called, and what is done.
pub struct Case {
    pub name: String,
    pub work: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Case {
    pub fn new(name: impl Into<String>, work: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }
}

/// Runs every case; fails with all those that don't hold.
pub fn run(cases: &[Case]) {
    let next = AtomicUsize::new(0);
    let running: Vec<Mutex<Option<(usize, Instant)>>> = (0..WORKERS).map(|_| Mutex::new(None)).collect();
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let workers: Vec<_> = running
            .iter()
            .map(|mine| {
                scope.spawn(|| {
                    while let Some(case) = take(&next, cases) {
                        *mine.lock().unwrap() = Some((case, Instant::now()));
                        if let Err(why) = run_one(&cases[case]) {
                            failed.lock().unwrap().push(format!("{}: {why}", cases[case].name));
                        }
                        *mine.lock().unwrap() = None;
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(20));
            for slot in &running {
                check_time(cases, *slot.lock().unwrap());
            }
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

fn take(next: &AtomicUsize, cases: &[Case]) -> Option<usize> {
    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|case| *case < cases.len())
}

fn run_one(case: &Case) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| (case.work)())).unwrap_or_else(|_| Err("panicked, as told above".to_owned()))
}

/// A thread that hangs can't be ended, so the whole program is.
fn check_time(cases: &[Case], running: Option<(usize, Instant)>) {
    if let Some((case, _)) = running.filter(|(_, start)| start.elapsed() > PATIENCE) {
        // Not by `eprintln!`, which the test harness would keep to itself.
        let _ = writeln!(io::stderr(), "{} has not ended after {PATIENCE:?}", cases[case].name);
        std::process::exit(101);
    }
}
