//! Captures against the real tshark: `cargo run --release --example captures -- FOLDER|FILE...`.
//!
//! Every file that is a capture is read here and by tshark (with VXLAN on port 8472 too): there have to be as many packets,
//! of the same lengths, and the innermost packets between the same addresses. Where they are not, the file's name and the
//! reason have to stand in `tests/decode/differences.txt`. The exit code is 0 where all are the same or stated, 1 where one
//! is not, and 2 where the run could not begin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's program"
)]
#![allow(missing_docs, reason = "a test's program")]

mod tshark;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use clap::Parser;
use tshark::{differences, is_ready, ours, theirs};

/// What is compared.
#[derive(Debug, Parser)]
struct Args {
    /// Captures, or folders of captures.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Tell every packet that differs, not only the first of a file.
    #[arg(short, long)]
    verbose: bool,
}

/// How a file compares.
enum Verdict {
    Same(usize),
    Stated(&'static str),
    Differs(Vec<String>),
    /// It is no capture to either.
    NoCapture,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !is_ready("tshark", "captures") {
        return ExitCode::from(2);
    }
    let mut files = Vec::new();
    for path in &args.paths {
        if let Err(error) = collect(path, &mut files) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    }
    files.sort();
    let (mut same, mut packets, mut stated, mut differ, mut others) = (0, 0, 0, 0, 0);
    for file in &files {
        match judge(file) {
            Verdict::Same(count) => {
                same += 1;
                packets += count;
            }
            Verdict::Stated(why) => {
                stated += 1;
                println!("{}: stated: {why}", file.display());
            }
            Verdict::Differs(how) => {
                differ += 1;
                let shown = if args.verbose { how.len() } else { 1 };
                for one in how.iter().take(shown) {
                    println!("{}: {one}", file.display());
                }
                println!("{}: {} differences", file.display(), how.len());
            }
            Verdict::NoCapture => others += 1,
        }
    }
    println!(
        "{same} files the same ({packets} packets), {stated} with stated differences, {differ} differ, {others} no captures"
    );
    ExitCode::from(u8::from(differ > 0))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

fn judge(file: &Path) -> Verdict {
    let how = match (ours(file), theirs(file)) {
        (Err(_), None) => return Verdict::NoCapture,
        (Ok(ours), None) => vec![format!("{} packets, and tshark can't read it", ours.len())],
        // tshark also reads texts and other formats.
        (Err(error), Some(theirs)) => vec![format!("{error}; tshark has {} packets", theirs.len())],
        (Ok(ours), Some(theirs)) => match differences(&ours, &theirs) {
            none if none.is_empty() => return Verdict::Same(ours.len()),
            how => how,
        },
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stated = include_str!("differences.txt").lines().filter_map(|line| line.split_once(": "));
    match { stated }.find(|(known, _)| *known == name) {
        Some((_, why)) => Verdict::Stated(why),
        None => Verdict::Differs(how),
    }
}
