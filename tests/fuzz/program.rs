//! The readers of rules, of filters and of captures on inputs that no tool prints:
//! `cargo run --release --example fuzz -- iptables --inputs 1000000`.
//!
//! Inputs are made of the bundled files, or of other ones that are named: their lines with words taken out, put in,
//! exchanged and broken, and new lines out of the same words. An input is known by the reader, the seed and its number.
//! None may make a reader panic, take longer than its length allows, or make it keep more than ten times the input. The
//! exit code is 0 where none does, 1 where one does, and 2 where the run could not begin.

mod capture;
mod input;
mod random;
mod run;
mod sights;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

use clap::Parser;
use run::{Bounds, Run, name_ends};
use target::Target;

/// What is tried.
#[derive(Debug, Parser)]
struct Args {
    /// The reader.
    target: Target,
    /// How many inputs are read.
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// The first input's number.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Which inputs are made.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Files that inputs are made of, in place of the bundled ones.
    files: Vec<PathBuf>,
}

/// A microsecond a byte is a hundred times what rules take.
const BOUNDS: Bounds = Bounds { start: Duration::from_millis(5), byte: Duration::from_micros(1) };

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> io::Result<ExitCode> {
    let Args { target, inputs, from, seed, .. } = *args;
    let seeds = if args.files.is_empty() { target.seeds()? } else { read(&args.files)? };
    name_ends(seed)?;
    Ok(match (Run { target, seed, from, inputs, bounds: BOUNDS }).all(&seeds, None) {
        Ok(read) => {
            println!("{}: {read} inputs of seed {seed} are read, from {from} on", target.as_str());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::from(1)
        }
    })
}

fn read(files: &[PathBuf]) -> io::Result<Vec<String>> {
    files.iter().map(|file| Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())).collect()
}
