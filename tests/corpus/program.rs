//! How well flowtrace knows the rules of many files: `cargo run --release --example corpus -- PATH...`.
//!
//! A `PATH` is a file or a folder, of which every file is read that holds what `iptables-save`, `nft list ruleset`,
//! `nft -j list ruleset` or `ipset save` prints, under whatever name. Of each it is told how many rules are exact, how
//! many may branch on what no snapshot holds, how many are not modelled and how many gaps the file leaves; below it the
//! lines of the last two. The exit code is 0 where there are none of these, 1 where there are, and 2 where a path
//! can't be read or holds no such file.

mod report;

use std::path::Path;
use std::process::ExitCode;
use std::{env, io};

use report::{Count, files, report};

fn main() -> ExitCode {
    let paths: Vec<String> = env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("usage: cargo run --release --example corpus -- PATH...");
        return ExitCode::from(2);
    }
    println!(
        "{:>7} {:>7} {:>9} {:>12} {:>7}  {:<9} file",
        "rules", "exact", "branching", "not modelled", "gaps", "form"
    );
    let (mut sum, mut found) = (Count::default(), 0);
    for path in &paths {
        match folder(Path::new(path), &mut sum) {
            Ok(count) => found += count,
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::from(2);
            }
        }
    }
    print(sum, "all", &format!("{found} files"));
    match (found, sum.unmodelled + sum.gaps) {
        (0, _) => ExitCode::from(2),
        (_, 0) => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    }
}

/// Tells of each file of a folder, and gives how many hold rules.
fn folder(path: &Path, sum: &mut Count) -> io::Result<u32> {
    let mut found = 0;
    for file in files(path)? {
        let Some(report) = report(&file)? else { continue };
        let name = file.strip_prefix(path).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(&file);
        print(report.count, report.form.as_str(), &name.display().to_string());
        for (line, why) in &report.notes {
            println!("    line {line}: {}", why.escape_debug());
        }
        sum.add(report.count);
        found += 1;
    }
    Ok(found)
}

fn print(count: Count, form: &str, name: &str) {
    let Count { exact, branching, unmodelled, gaps } = count;
    let rules = exact + branching + unmodelled;
    println!("{rules:>7} {exact:>7} {branching:>9} {unmodelled:>12} {gaps:>7}  {form:<9} {name}");
}
