//! The benchmark: `cargo run --release --example bench`.
//!
//! Each goal is held against a named alternative, or against the same work on a small snapshot, in this one run on
//! this one machine, by CPU time. The exit code is 0 where every goal is met, 1 where one is missed, and 2 where one
//! could not be tried.

mod cluster;
mod dump;
mod process;
mod routes;
mod walk;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, io};

use cluster::Cluster;
use dump::{Service, Size};
use process::Rounds;
use walk::Loaded;

const LARGE: Size = Size { services: 5000, endpoints: 10 };
const SMALL: Size = Size { services: 50, endpoints: 10 };
const ROUNDS: usize = 5;

/// A goal, and how it went.
struct Goal {
    what: String,
    wanted: String,
    /// What was measured and whether that is good enough, or why it could not be.
    result: Result<(String, bool), String>,
    /// The numbers behind it.
    numbers: String,
}

impl Goal {
    /// A goal that one number must not exceed.
    fn at_most(what: impl Into<String>, limit: f64, got: f64, unit: &str, numbers: String) -> Self {
        let result = Ok((format!("{got:.3}{unit}"), got <= limit));
        Self { what: what.into(), wanted: format!("≤ {limit}{unit}"), result, numbers }
    }

    /// A goal that could not be tried.
    fn untried(what: impl Into<String>, wanted: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), wanted: wanted.into(), result: Err(why.into()), numbers: String::new() }
    }

    fn print(&self) {
        let (got, word) = match &self.result {
            Ok((got, true)) => (got.as_str(), "met"),
            Ok((got, false)) => (got.as_str(), "MISSED"),
            Err(_) => ("-", "NOT TRIED"),
        };
        println!("{:<62} {:>10} {:>12}  {word}", self.what, self.wanted, got);
        match &self.result {
            Err(why) => println!("    {why}"),
            Ok(_) => println!("    {}", self.numbers),
        }
    }

    fn code(&self) -> u8 {
        match self.result {
            Ok((_, true)) => 0,
            Ok((_, false)) => 1,
            Err(_) => 2,
        }
    }
}

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    if args.next().is_some_and(|word| word == process::PEAK) {
        return print_peak(args);
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build; try: cargo run --release --example bench");
        return ExitCode::from(2);
    }
    match goals() {
        Ok(goals) => {
            println!("{:<62} {:>10} {:>12}", "goal", "wanted", "measured");
            goals.iter().for_each(Goal::print);
            ExitCode::from(goals.iter().map(Goal::code).max().unwrap_or(2))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn print_peak(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    match args.next().map(|program| process::peak_of(&program, args)) {
        Some(Ok(peak)) => println!("{peak}"),
        Some(Err(error)) => println!("{error}"),
        None => println!("no program"),
    }
    ExitCode::SUCCESS
}

fn goals() -> Result<Vec<Goal>, String> {
    let network = process::leave_network();
    let flowtrace = program()?;
    let failed = |err: io::Error| format!("the snapshot can't be written: {err}");
    let (large, small) = (Cluster::write(LARGE).map_err(failed)?, Cluster::write(SMALL).map_err(failed)?);
    println!("{} services of {} endpoints: {} rules", LARGE.services, LARGE.endpoints, LARGE.rules());
    let mut goals = explain(&flowtrace, &large, network)?;
    goals.extend(further(&large, &small));
    goals.push(lookup());
    Ok(goals)
}

/// The program under test, built if it is not.
fn program() -> Result<PathBuf, String> {
    let me = env::current_exe().map_err(|err| err.to_string())?;
    let target = me.parent().and_then(Path::parent).ok_or("this program is not in cargo's target folder")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--release", "--quiet", "--bin", "flowtrace"];
    let output = Command::new(cargo).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    match output {
        Ok(output) if output.status.success() => Ok(target.join("flowtrace")),
        Ok(output) => Err(format!("the program can't be built:\n{}", String::from_utf8_lossy(&output.stderr))),
        Err(err) => Err(format!("cargo: {err}")),
    }
}

/// The whole program against `iptables-nft-restore --test` on the same dump.
fn explain(flowtrace: &Path, large: &Cluster, network: Result<(), String>) -> Result<Vec<Goal>, String> {
    const TIME: &str = "explain, as a share of `iptables-nft-restore --test`'s CPU time";
    let ip = Service::of(LARGE, LARGE.services - 1).cluster_ip();
    let mut command = Command::new(flowtrace);
    command.args(["explain", "default/pod1", &format!("{ip}:80"), "-o", "json", "--snapshot"]).arg(&large.dir);
    let mut ours = Rounds::default();
    let mut answer = || {
        let (cost, output) = process::run(&mut command)?;
        ours.push(cost);
        Ok::<_, String>(output)
    };
    let first = answer()?;
    if first.status.code() != Some(0) {
        let why = format!("explain ended with {}: {}", first.status, String::from_utf8_lossy(&first.stderr));
        return Ok(vec![Goal::untried("explain on 5,000 services", "exit 0", why)]);
    }
    let mut restore = Command::new("iptables-nft-restore");
    restore.arg("--test").arg(large.dump());
    let mut theirs = Rounds::default();
    let mut missing = network.err();
    for _ in 0..ROUNDS {
        answer()?;
        match process::run(&mut restore).and_then(|(cost, output)| succeeded(&output).map(|()| cost)) {
            Ok(cost) => theirs.push(cost),
            Err(err) => missing = missing.or(Some(err)),
        }
    }
    let numbers = |name: &str, rounds: &Rounds| {
        let (min, median, wall) = (rounds.min() * 1e3, rounds.median() * 1e3, rounds.wall() * 1e3);
        format!("{name} {min:.1} ms CPU (median {median:.1}, by the clock {wall:.1})")
    };
    let time = match missing {
        Some(why) => Goal::untried(TIME, "≤ 0.125", format!("{why}; {}", numbers("explain", &ours))),
        None => {
            let share = ours.min() / theirs.min();
            let numbers = format!(
                "{}; {}; by medians {:.3}",
                numbers("explain", &ours),
                numbers("iptables-nft-restore", &theirs),
                ours.median() / theirs.median()
            );
            Goal::at_most(TIME, 0.125, share, "", numbers)
        }
    };
    let peak = process::peak(&command)? as f64 / 1024.0;
    let size = std::fs::metadata(large.dump()).map_or(0, |metadata| metadata.len()) as f64 / 1e6;
    let memory = Goal::at_most("explain, peak memory", 200.0, peak, " MiB", format!("the dump has {size:.1} MB"));
    Ok(vec![time, memory])
}

fn succeeded(output: &std::process::Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    Err(format!("iptables-nft-restore: {}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// A further packet on a loaded snapshot, with many services and with few.
fn further(large: &Cluster, small: &Cluster) -> Vec<Goal> {
    const WHAT: &str = "a further packet, 5,000 services against 50";
    const HOPS: &str = "a path of 20 hops, 5,000 services";
    match walks(large, small) {
        Err(why) => vec![Goal::untried(WHAT, "≤ 1.5", &why), Goal::untried(HOPS, "≤ 100 µs", &why)],
        Ok(goals) => goals,
    }
}

fn walks(large: &Cluster, small: &Cluster) -> Result<Vec<Goal>, String> {
    let packets = SMALL.services - 1;
    let (mut many, mut few) = (Vec::new(), Vec::new());
    let mut load = Rounds::default();
    for _ in 0..ROUNDS {
        let loaded = Loaded::load(large)?;
        load.push(loaded.cost);
        many.push(loaded.walk(large, packets)?);
        few.push(Loaded::load(small)?.walk(small, packets)?);
    }
    let rounds = |walks: &[walk::Walks], cost: fn(&walk::Walks) -> process::Cost| {
        let mut rounds = Rounds::default();
        walks.iter().for_each(|walks| rounds.push(cost(walks)));
        rounds
    };
    let ratio = |what: &str, cost: fn(&walk::Walks) -> process::Cost| {
        let (many, few) = (rounds(&many, cost), rounds(&few, cost));
        let each = |seconds: f64| seconds * 1e6 / f64::from(packets);
        let numbers = format!(
            "{:.0} µs a packet against {:.0}; by medians {:.3}",
            each(many.min()),
            each(few.min()),
            many.median() / few.median()
        );
        Goal::at_most(what, 1.5, many.min() / few.min(), "", numbers)
    };
    let fastest = many.iter().min_by_key(|walks| walks.again.cpu).ok_or("no round was run")?;
    let hops = format!(
        "{} packets take {} paths with {} hops, replies included; loading takes {:.1} ms",
        fastest.packets,
        fastest.paths,
        fastest.hops,
        load.min() * 1e3
    );
    Ok(vec![
        ratio("a packet to a new service, 5,000 services against 50", |walks| walks.new),
        ratio("the same packet again, 5,000 services against 50", |walks| walks.again),
        Goal::at_most(
            "a path of 20 hops, 5,000 services",
            100.0,
            fastest.twenty_hops().as_secs_f64() * 1e6,
            " µs",
            hops,
        ),
    ])
}

fn lookup() -> Goal {
    const WHAT: &str = "a lookup among 100,000 routes, against the crate prefix-trie's";
    match routes::lookups() {
        Err(why) => Goal::untried(WHAT, "≤ 1.6", why),
        Ok(routes::Lookups { ours, theirs, count }) => {
            let each = |seconds: f64| seconds * 1e9 / count as f64;
            let numbers = format!(
                "{:.0} ns against {:.0} ns; by medians {:.3}",
                each(ours.min()),
                each(theirs.min()),
                ours.median() / theirs.median()
            );
            Goal::at_most(WHAT, 1.6, ours.min() / theirs.min(), "", numbers)
        }
    }
}
