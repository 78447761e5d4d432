//! Filters against the real tcpdump, over captures: `cargo run --release --example filter -- FOLDER [--random N]`.
//!
//! Every file of the folder that libpcap can read is read, with the packets that tests build besides. The packets of one
//! link layer are asked together, whole and cut off, and those of Ethernet also in other link layers; each is asked every
//! filter of `tests/filter/filters.txt` and N random ones. The exit code is 0 where the same packets pass as through
//! `tcpdump -r FILE -w - FILTER`, 1 where they do not, and 2 where the run could not begin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's program"
)]
#![allow(missing_docs, reason = "a test's program")]

mod capture;
mod expression;
mod frames;
mod judge;
#[path = "../fuzz/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use capture::{Capture, OTHERS, Packet};
use clap::Parser;
use expression::Values;
use judge::{Verdict, judge, tcpdump};
use random::Random;

/// What is tried.
#[derive(Debug, Parser)]
struct Args {
    /// A folder of captures.
    folder: PathBuf,
    /// How many random filters each set of packets is asked.
    #[arg(long, default_value_t = 200)]
    random: u64,
    /// Which ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !judge::is_ready("filter") {
        return ExitCode::from(2);
    }
    match captures(&args.folder) {
        Ok(captures) => compare(&captures, &args),
        Err(error) => {
            eprintln!("{}: {error}", args.folder.display());
            ExitCode::from(2)
        }
    }
}

/// The packets of all files, by their link layer, and what is made of them.
fn captures(folder: &Path) -> io::Result<Vec<Capture>> {
    let mut packets: BTreeMap<u16, Vec<Packet>> = BTreeMap::new();
    let (mut read, mut unread) = (0, 0);
    for file in files(folder)? {
        // tcpdump writes whatever it can read as a plain pcap file.
        let found = tcpdump(&[], &fs::read(&file)?).ok().and_then(|output| Capture::read(&output));
        let Some((link_type, found)) = found else {
            unread += 1;
            continue;
        };
        read += 1;
        packets.entry(link_type).or_default().extend(found.into_iter().map(|(_, packet)| packet));
    }
    println!("{read} files are read, and {unread} are none that libpcap reads");
    packets.entry(1).or_default().extend(frames::every().packets);
    let mut captures = Vec::new();
    for (link_type, packets) in packets {
        let capture = Capture { name: format!("link type {link_type}"), link_type, packets };
        if link_type == 1 {
            captures.extend(OTHERS.map(|link_type| capture.relinked(link_type)));
        }
        captures.push(capture);
    }
    let mut random = Random::new(1, 0);
    let cut: Vec<Capture> =
        captures.iter().map(|capture| capture.cut("cut off", |length| random.below(length.min(120) + 1))).collect();
    captures.extend(cut);
    Ok(captures)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

fn compare(captures: &[Capture], args: &Args) -> ExitCode {
    let ethernet = captures.iter().find(|capture| capture.link_type == 1).unwrap_or(&captures[0]);
    let values = Values::of(ethernet);
    let random = (0..args.random).map(|number| values.filter(&mut Random::new(args.seed, number)));
    let listed = include_str!("filters.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let filters: Vec<String> = listed.map(str::to_owned).chain(random).collect();
    let mut differ = 0;
    for capture in captures {
        let (mut same, mut refused, mut unoptimized, mut passed) = (0, 0, Vec::new(), 0);
        for filter in &filters {
            match judge(capture, filter) {
                Verdict::Same(packets) => {
                    same += 1;
                    passed += packets;
                }
                Verdict::Refused => refused += 1,
                Verdict::Unoptimized => unoptimized.push(filter),
                Verdict::Differ(how) => {
                    differ += 1;
                    println!("{how}");
                }
            }
        }
        println!(
            "{}: {} packets, {} filters: {same} with the same answer ({passed} packets), {refused} refused by both, {} as \
             without the optimizer",
            capture.name,
            capture.packets.len(),
            filters.len(),
            unoptimized.len()
        );
        for filter in unoptimized.into_iter().take(3) {
            println!("    as without the optimizer: {filter}");
        }
    }
    if differ == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
