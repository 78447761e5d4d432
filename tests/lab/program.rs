//! The kernel lab by hand:
//!
//! - `cargo run --example lab -- write testdata/` makes the bundled snapshots anew,
//! - `cargo run --example lab -- watch vxlan` shows what the kernel does with a situation's packets,
//! - `cargo run --example lab -- judge vxlan` holds `explain` against it,
//! - `cargo run --example lab -- captures vxlan` holds `explain --pcap` against it, of what each device showed,
//! - `cargo run --release --example lab -- random --seeds 0..2000 --jobs 2` does so in random scenarios, and prints what
//!   they covered,
//! - `cargo run --example lab -- rules --seeds 0..1000` sends packets through random rule sets on one router,
//! - `cargo run --example lab -- saved DIR` holds what `collect` writes of rules against iptables-nft-save, for each rule of
//!   a folder of iptables' own tests (`*.t`),
//! - `cargo run --example lab -- mutations` has the engine make one mistake after the other, each of which must be
//!   noticed.
//!
//! `FLOWTRACE_BINARY` names the program under test; without it, it is the one beside this example's folder.

#[path = "mod.rs"]
mod lab;

use std::path::Path;
use std::process::ExitCode;

use lab::coverage::{ENOUGH, LEAST};
use lab::rules::case::Backend;
use lab::situations::{ALL, Situation};

const USAGE: &str = "usage: lab write FOLDER [SITUATION...]
       lab watch [SITUATION...]
       lab watch --seed FROM..TO
       lab judge [SITUATION...]
       lab captures [SITUATION...]
       lab random --seeds FROM..TO [--jobs N]
       lab rules --seeds FROM..TO [--legacy | --native | --mixed | --all]
       lab saved FOLDER
       lab mutations";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["write", folder, names @ ..] => chosen(names).try_for_each(|situation| write(Path::new(folder), situation)),
        ["watch", "--seed", seed] => {
            lab::judge::seeds(seed).and_then(|mut seeds| seeds.try_for_each(|seed| show(&lab::random::scenario(seed))))
        }
        ["watch", names @ ..] => chosen(names).try_for_each(|(_, make)| show(&make())),
        ["saved", folder] => saved(Path::new(folder)),
        ["mutations"] => mutations(),
        ["random", "--seeds", seeds] => random(seeds, "2"),
        ["random", "--seeds", seeds, "--jobs", jobs] => random(seeds, jobs),
        ["rules", "--seeds", seeds] => rules(seeds, &[Backend::Nft]),
        ["rules", "--seeds", seeds, "--legacy"] => rules(seeds, &[Backend::Legacy]),
        ["rules", "--seeds", seeds, "--native"] => rules(seeds, &[Backend::Native]),
        ["rules", "--seeds", seeds, "--mixed"] => rules(seeds, &[Backend::Mixed]),
        ["rules", "--seeds", seeds, "--all"] => rules(seeds, &Backend::ALL),
        ["judge", names @ ..] => chosen(names).try_for_each(judge),
        ["captures", names @ ..] => chosen(names).try_for_each(captures),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Each rule of a folder alone, as `collect` writes it and as its tool prints it.
fn saved(folder: &Path) -> Result<(), String> {
    let [exact, fallback, refused, different] = lab::saved::corpus(folder, &mut |line| println!("{line}"))?;
    println!("{exact} exact, {fallback} left to the tool, {refused} not taken by it, {different} different");
    if different == 0 { Ok(()) } else { Err(format!("{different} rules differ")) }
}

/// A case is one packet through one rule set.
fn rules(seeds: &str, backends: &[Backend]) -> Result<(), String> {
    let (mut wrong, mut told, mut cases) = (Vec::new(), Vec::new(), 0);
    for backend in backends {
        let run = lab::rules::judge::run(lab::judge::seeds(seeds)?, *backend, 1);
        for (option, count) in &run.hit {
            println!("{option:24} {count}");
        }
        run.refused.iter().for_each(|refused| eprintln!("refused: {refused}"));
        cases += run.packets;
        told.push(format!(
            "{}: {} rule sets, {} cases ({} of them in pieces), {} with one certain way, {} by a way not modelled, \
             {} wrong",
            backend.name(),
            run.rule_sets,
            run.packets,
            run.pieces,
            run.certain,
            run.unmodelled,
            run.wrong.len()
        ));
        wrong.extend(run.wrong);
    }
    println!("{}", told.join("\n"));
    println!("seeds {seeds}: {cases} cases in {} modes, {} disagreements", backends.len(), wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n\n")) }
}

fn chosen<'a>(names: &'a [&str]) -> impl Iterator<Item = &'static Situation> + 'a {
    ALL.iter().filter(move |(name, _)| names.is_empty() || names.contains(name))
}

fn write(folder: &Path, (name, make): &Situation) -> Result<(), String> {
    let target = folder.join(name);
    let _ = std::fs::remove_dir_all(&target);
    let built = lab::build::Lab::build(&make())?;
    built.settle();
    built.snapshot(&target, lab::snapshot::Form::Text)?;
    println!("{}", target.display());
    Ok(())
}

fn show(scenario: &lab::scenario::Scenario) -> Result<(), String> {
    let built = lab::build::Lab::build(scenario)?;
    let mut observer = lab::observe::Observer::open(&built)?;
    println!("== {}: {}", scenario.name, scenario.words.join("; "));
    for probe in lab::judge::packets(scenario) {
        let seen = observer.ask(&probe);
        println!("== {}: {}", scenario.name, lab::judge::question(&probe));
        if let Err(wrong) = lab::judge::check_want(&probe, &seen) {
            println!("!! {wrong}");
        }
        print!("{}", lab::compare::shown_observation(&probe, &seen));
    }
    Ok(())
}

fn judge((name, make): &Situation) -> Result<(), String> {
    let told = lab::judge::judge(&make())?;
    for wrong in &told.wrong {
        println!("== {name}: {wrong}");
    }
    println!("{name}: {} questions, {} differ", told.asked, told.wrong.len());
    Ok(())
}

fn captures((name, make): &Situation) -> Result<(), String> {
    let mut recording = lab::recording::Recording::of(make())?;
    let told = recording.captures()?;
    for wrong in &told.wrong {
        println!("== {name}: {wrong}");
    }
    println!(
        "{name}: {} packets, {} told whole and {} onward, by {} ways, in {}",
        told.packets,
        told.whole,
        told.onward,
        told.ways,
        recording.folder().display()
    );
    Ok(())
}

fn random(seeds: &str, jobs: &str) -> Result<(), String> {
    let seeds = lab::judge::seeds(seeds)?;
    let jobs = jobs.parse().map_err(|error| format!("--jobs {jobs}: {error}"))?;
    let run = lab::judge::run_seeds(seeds.clone(), jobs, |seed, told| match told {
        Ok(told) if told.wrong.is_empty() => println!("seed {seed}: {} packets agree", told.asked),
        Ok(told) => println!("seed {seed}: {}", told.wrong.join("\n\n")),
        Err(error) => println!("seed {seed}: {error}"),
    });
    println!("\nseeds {seeds:?}\n{}", run.coverage.table());
    let rare = run.coverage.rare(LEAST);
    println!("met less than {LEAST} times: {}", if rare.is_empty() { "nothing" } else { "" });
    for row in &rare {
        println!("  {row}");
    }
    let mut wrong: Vec<u64> = run.wrong.iter().map(|(seed, _)| *seed).collect();
    wrong.sort_unstable();
    wrong.dedup();
    println!("seeds that disagree: {wrong:?}");
    if !wrong.is_empty() {
        return Err(format!("{} seeds disagree: {wrong:?}", wrong.len()));
    }
    if seeds.end - seeds.start >= ENOUGH && !rare.is_empty() {
        return Err(format!("{} rows of the table are below {LEAST}", rare.len()));
    }
    Ok(())
}

fn mutations() -> Result<(), String> {
    println!("wrong are, of the packets in random scenarios and of those in corners:");
    let mut all_noticed = true;
    let packets = lab::mutation::judge_mutations(2, usize::MAX, |told| {
        println!("{:4} {:4}  {}", told.random.len(), told.corners.len(), told.name);
        all_noticed &= (told.wrong() == 0) == (told.name == lab::mutation::UNCHANGED);
    })?;
    println!("{packets} packets were sent");
    if all_noticed { Ok(()) } else { Err("a mutation was not noticed, or the engine itself is wrong".to_owned()) }
}
