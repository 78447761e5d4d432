//! The kernel lab by hand: `cargo run --example lab -- write testdata/` makes the bundled snapshots anew.

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["write", folder] => write(Path::new(folder)),
        ["watch"] => watch(),
        _ => Err("usage: lab write FOLDER".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> Result<(), String> {
    for scenario in [lab::situations::vxlan()] {
        let target = folder.join(&scenario.name);
        let _ = std::fs::remove_dir_all(&target);
        lab::build::Lab::build(&scenario)?.snapshot(&target, lab::snapshot::Form::Text)?;
        eprintln!("wrote {}", target.display());
    }
    Ok(())
}

fn watch() -> Result<(), String> {
    let start = Instant::now();
    let scenario = lab::situations::vxlan();
    let built = lab::build::Lab::build(&scenario)?;
    println!("built {:?}", start.elapsed());
    let mut observer = lab::observe::Observer::open(&built)?;
    println!("opened {:?}", start.elapsed());
    for probe in &scenario.probes {
        let start = Instant::now();
        let seen = observer.ask(probe);
        println!("== {} -> {} {} in {:?}", probe.from, probe.to, probe.proto.as_str(), start.elapsed());
        print!("{}", lab::compare::shown_observation(probe, &seen));
    }
    let start = Instant::now();
    drop(observer);
    drop(built);
    println!("closed {:?}", start.elapsed());
    Ok(())
}
