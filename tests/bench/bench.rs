//! The benchmark: `cargo run --release --example bench`, or one part of it: `-- explain`, `-- parse`,
//! `-- walk`, `-- routes`, `-- decode` (a capture of 200,000 packets, or as many as a number behind it says), `-- correlate`
//! (ten captures of as many), `-- capture` (needs root, tcpdump and the feature `capture`), `-- collect` (needs root; a number
//! behind it says how many services).
//!
//! Each goal is held against a named alternative, or against the same work on a small snapshot, in this one run on
//! this one machine, by CPU time. The exit code is 0 where every goal is met, 1 where one is missed, and 2 where one
//! could not be tried.

#[expect(clippy::cast_precision_loss, clippy::indexing_slicing, reason = "figures for people, of two programs")]
mod capture;
mod captures;
mod cluster;
mod collect;
mod correlate;
#[expect(clippy::cast_precision_loss, clippy::naive_bytecount, reason = "figures for people")]
mod decode;
mod dump;
mod explain;
mod goal;
mod nft_dump;
mod objects;
mod parse;
mod process;
mod routes;
#[expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::many_single_char_names,
    reason = "it makes packets, whose fields are as wide as they are"
)]
mod traffic;
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
    if word.as_ref().is_some_and(|word| word == parse::WHOLE) {
        return print_whole(args);
    }
    if word.as_ref().is_some_and(|word| word == decode::WALK) {
        return print_records(args);
    }
    let part = word.map(|word| word.to_string_lossy().into_owned());
    let number = args.next().and_then(|word| word.to_string_lossy().parse().ok());
    if let Some(part) = part.as_deref().filter(|part| !PARTS.contains(part)) {
        eprintln!("{part}: no such part; there are {}", PARTS.join(", "));
        return ExitCode::from(2);
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build; try: cargo run --release --example bench");
        return ExitCode::from(2);
    }
    match run(part.as_deref(), number) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// The parts that can be asked for alone.
const PARTS: [&str; 8] = ["explain", "parse", "walk", "routes", "decode", "correlate", "capture", "collect"];

/// Tries every goal, or those of one part, and gives the exit code.
fn run(part: Option<&str>, number: Option<u32>) -> Result<u8, String> {
    let packets = number.unwrap_or(correlate::PACKETS);
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let network = process::leave_network();
    Goal::print_head();
    let mut code = None;
    let mut tell = |goals: Vec<Goal>| {
        goals.iter().for_each(Goal::print);
        code = code.max(goals.iter().map(Goal::code).max());
    };
    if wanted("explain") {
        tell(explain(&network)?);
    }
    if wanted("parse") {
        tell(parse::goals(LARGE, &network));
    }
    if wanted("walk") {
        tell(walk()?);
    }
    if wanted("routes") {
        tell(vec![routes::goal()]);
    }
    if wanted("decode") {
        tell(decode::goals(&program()?, packets));
    }
    if wanted("correlate") {
        tell(correlate::goals(&program()?, packets));
    }
    if wanted("capture") {
        tell(capture::goals(&program()?, number.unwrap_or(capture::PACKETS), &network));
    }
    if wanted("collect") {
        let size = Size { services: number.unwrap_or(LARGE.services), ..LARGE };
        let cluster = Cluster::one_node("kube-proxy's rules", size).map_err(failed)?;
        tell(collect::rules(&program()?, &cluster, &network));
        tell(collect::goals(&program()?, &cluster, &network));
    }
    Ok(code.unwrap_or(2))
}

fn explain(network: &Result<(), String>) -> Result<Vec<Goal>, String> {
    let flowtrace = program()?;
    let large = Cluster::one_node("5,000 services", LARGE).map_err(failed)?;
    let whole = Cluster::whole("with objects, on both nodes", LARGE).map_err(failed)?;
    let goals = [&large, &whole].into_iter().flat_map(|cluster| explain::goals(&flowtrace, cluster, network.clone()));
    Ok(goals.collect())
}

fn walk() -> Result<Vec<Goal>, String> {
    let large = Cluster::one_node("5,000 services", LARGE).map_err(failed)?;
    let small = Cluster::one_node("50 services", SMALL).map_err(failed)?;
    let mut goals = walk::goals(&large, &small);
    let large = Cluster::nftables("5,000 services in nftables", LARGE).map_err(failed)?;
    let small = Cluster::nftables("50 services in nftables", SMALL).map_err(failed)?;
    goals.extend(walk::goals(&large, &small));
    Ok(goals)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what an error becomes")]
fn failed(err: std::io::Error) -> String {
    format!("the snapshot can't be written: {err}")
}

/// The program under test, built if it is not.
fn program() -> Result<PathBuf, String> {
    let me = env::current_exe().map_err(|err| err.to_string())?;
    let target = me.parent().and_then(Path::parent).ok_or("this program is not in cargo's target folder")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--release", "--quiet", "--bin", "flowtrace", "--features", "capture"];
    let output = Command::new(cargo).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    match output {
        Ok(output) if output.status.success() => Ok(target.join("flowtrace")),
        Ok(output) => Err(format!("the program can't be built:\n{}", String::from_utf8_lossy(&output.stderr))),
        Err(err) => Err(format!("cargo: {err}")),
    }
}

fn print_whole(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    match args.next().ok_or_else(|| "no snapshot".to_owned()).and_then(|dir| parse::whole(Path::new(&dir))) {
        Ok(rules) => {
            println!("{rules}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn print_records(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    match args.next().ok_or_else(|| "no capture".to_owned()).and_then(|file| decode::records(Path::new(&file))) {
        Ok(records) => {
            println!("{records}");
            ExitCode::SUCCESS
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
