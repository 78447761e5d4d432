//! What processes cost: CPU time (of the program and of the kernel for it), time by the clock, and memory.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};

/// What something cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// User and system time.
    pub cpu: Duration,
    /// Time by the clock.
    pub wall: Duration,
}

/// The costs of one thing in several rounds.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Vec<Cost>);

impl Rounds {
    /// Rounds that have been run.
    pub fn new(costs: impl IntoIterator<Item = Cost>) -> Self {
        Self(costs.into_iter().collect())
    }

    /// Adds a round.
    pub fn push(&mut self, cost: Cost) {
        self.0.push(cost);
    }

    /// The CPU time of the cheapest round, in seconds: other programs disturbed it least.
    pub fn min(&self) -> f64 {
        self.0.iter().map(|cost| cost.cpu.as_secs_f64()).fold(f64::INFINITY, f64::min)
    }

    /// The median CPU time, in seconds.
    pub fn median(&self) -> f64 {
        median(self.0.iter().map(|cost| cost.cpu))
    }

    /// The time by the clock of the quickest round, in seconds.
    pub fn fastest(&self) -> f64 {
        self.0.iter().map(|cost| cost.wall.as_secs_f64()).fold(f64::INFINITY, f64::min)
    }

    /// The median time by the clock, in seconds.
    pub fn wall(&self) -> f64 {
        median(self.0.iter().map(|cost| cost.wall))
    }
}

fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Result<(Cost, Output), String> {
    let before = children()?.0;
    let start = Instant::now();
    let output = command.output().map_err(|err| format!("{}: {err}", command.get_program().to_string_lossy()))?;
    let wall = start.elapsed();
    Ok((Cost { cpu: children()?.0.saturating_sub(before), wall }, output))
}

/// The word by which this program is told to run another one and to print the most memory that it had.
pub const PEAK: &str = "peak";

/// The most memory that a program has at any time, in KiB, once it has succeeded. The kernel only tells that of all programs together that
/// this one has run, so another process of this program runs it.
pub fn peak(command: &Command) -> Result<f64, String> {
    let me = std::env::current_exe().map_err(|err| err.to_string())?;
    let output = Command::new(me).arg(PEAK).arg(command.get_program()).args(command.get_args()).output();
    let output = output.map_err(|err| err.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.trim().parse().map_err(|_| printed.trim().to_owned())
}

/// What that process prints.
pub fn peak_of(program: &OsStr, args: impl Iterator<Item = OsString>) -> Result<i64, String> {
    let (_, output) = run(Command::new(program).args(args))?;
    succeeded(&program.to_string_lossy(), &output)?;
    Ok(children()?.1)
}

/// A program that fails early would be cheap for the wrong reason.
pub fn succeeded(name: &str, output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// The CPU time of every program run so far.
pub fn children_cpu() -> Result<Duration, String> {
    children().map(|(cpu, _)| cpu)
}

/// The CPU time of every program run so far, and the most memory that one of them had.
fn children() -> Result<(Duration, i64), String> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|err| format!("getrusage: {err}"))?;
    let time = [usage.user_time(), usage.system_time()].map(|time| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    });
    Ok((time.into_iter().sum(), usage.max_rss()))
}

/// What a piece of this program costs.
pub fn within<T>(work: impl FnOnce() -> T) -> (Cost, T) {
    let (before, start) = (cpu(), Instant::now());
    let done = work();
    (Cost { cpu: cpu().saturating_sub(before), wall: start.elapsed() }, done)
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Moves this program, and what it will run, into a network namespace of its own: `iptables-nft-restore` asks the
/// kernel for its tables, and those of the machine are none of its business. Without root it takes a user namespace.
pub fn leave_network() -> Result<(), String> {
    if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(|err| format!("unshare: {err}"))?;
    let write = |file: &str, text: String| {
        let path = format!("/proc/self/{file}");
        std::fs::write(&path, text).map_err(|err| format!("{path}: {err}"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))
}
