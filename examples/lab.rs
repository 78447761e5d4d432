//! The kernel lab by hand: `cargo run --example lab -- write testdata/` makes the bundled snapshots anew.

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["write", folder] => write(Path::new(folder)),
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
        let start = std::time::Instant::now();
        let built = lab::build::Lab::build(&scenario)?;
        eprintln!("built in {:?}", start.elapsed());
        built.snapshot(&target, lab::snapshot::Form::Text)?;
        eprintln!("wrote {} in {:?}", target.display(), start.elapsed());
    }
    Ok(())
}
