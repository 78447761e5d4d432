//! The benchmark: `cargo run --release --example bench`, or one part of it: `-- explain`, `-- walk`, `-- routes`.
//!
//! Each goal is held against a named alternative, or against the same work on a small snapshot, in this one run on
//! this one machine, by CPU time. The exit code is 0 where every goal is met, 1 where one is missed, and 2 where one
//! could not be tried.

mod cluster;
mod dump;
mod explain;
mod goal;
mod objects;
mod process;
mod routes;
mod walk;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cluster::Cluster;
use dump::Size;
use goal::Goal;

const LARGE: Size = Size { services: 5000, endpoints: 10 };
const SMALL: Size = Size { services: 50, endpoints: 10 };

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let word = args.next();
    if word.as_ref().is_some_and(|word| word == process::PEAK) {
        return print_peak(args);
    }
    let part = word.map(|word| word.to_string_lossy().into_owned());
    if let Some(part) = part.as_deref().filter(|part| !PARTS.contains(part)) {
        eprintln!("{part}: no such part; there are {}", PARTS.join(", "));
        return ExitCode::from(2);
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build; try: cargo run --release --example bench");
        return ExitCode::from(2);
    }
    match run(part.as_deref()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// The parts that can be asked for alone.
const PARTS: [&str; 3] = ["explain", "walk", "routes"];

/// Tries every goal, or those of one part, and gives the exit code.
fn run(part: Option<&str>) -> Result<u8, String> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let network = process::leave_network();
    let flowtrace = program()?;
    let failed = |err: std::io::Error| format!("the snapshot can't be written: {err}");
    let large = Cluster::one_node("5,000 services", LARGE).map_err(failed)?;
    let small = Cluster::one_node("50 services", SMALL).map_err(failed)?;
    Goal::print_head();
    let mut tried = Vec::new();
    if wanted("explain") {
        let whole = Cluster::whole("with objects, on both nodes", LARGE).map_err(failed)?;
        tried.push(explain::goals(&flowtrace, &large, network.clone()));
        tried.push(explain::goals(&flowtrace, &whole, network));
    }
    if wanted("walk") {
        tried.push(walk::goals(&large, &small));
    }
    if wanted("routes") {
        tried.push(vec![routes::goal()]);
    }
    let goals = tried.iter().flatten().inspect(|goal| goal.print());
    Ok(goals.map(Goal::code).max().unwrap_or(2))
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

fn print_peak(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    match args.next().map(|program| process::peak_of(&program, args)) {
        Some(Ok(peak)) => println!("{peak}"),
        Some(Err(error)) => println!("{error}"),
        None => println!("no program"),
    }
    ExitCode::SUCCESS
}
