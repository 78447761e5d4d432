//! How far rules agree with iptables' own tests of its extensions: `cargo run --example extensions -- DIR`.
//!
//! `DIR` is the folder `extensions` of iptables' sources, or a copy of its `*.t` files. A line marked `OK` must be
//! understood, and printed as the file says; one marked `FAIL` must be refused. Lines that are marked for one backend
//! alone are counted apart where they must fail, since a rule is read without regard to its backend.
#![allow(clippy::expect_used, reason = "a program for developers")]

mod rule;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use flowtrace::net::Family;
use rule::{Outcome, Place};

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let Some(dir) = args.next() else {
        eprintln!("usage: cargo run --example extensions -- DIR");
        return ExitCode::from(2);
    };
    match run(Path::new(&dir)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{dir}: {error}");
            ExitCode::from(2)
        }
    }
}

/// How many lines of a file agree.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    ok: u32,
    understood: u32,
    equal: u32,
    fail: u32,
    refused: u32,
    apart: u32,
}

/// Tries every file, and says whether all of their lines agree.
fn run(dir: &Path) -> io::Result<bool> {
    let mut names: Vec<String> = fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "t"))
        .filter(|name| !name.starts_with("libebt") && !name.starts_with("libarpt"))
        .collect();
    names.sort();
    println!(
        "{:<22} {:>4} {:>10} {:>7}   {:>4} {:>7} {:>6}",
        "file", "OK", "understood", "printed", "FAIL", "refused", "apart"
    );
    let mut sum = Count::default();
    for name in &names {
        let text = fs::read_to_string(dir.join(name))?;
        let family = if name.starts_with("libip6t") { Family::Inet6 } else { Family::Inet };
        let count = file(name, &text, family);
        print(name, count);
        sum.add(count);
    }
    print("all", sum);
    Ok(sum.equal == sum.ok && sum.refused == sum.fail)
}

fn print(name: &str, count: Count) {
    let Count { ok, understood, equal, fail, refused, apart } = count;
    println!("{name:<22} {ok:>4} {understood:>10} {equal:>7}   {fail:>4} {refused:>7} {apart:>6}");
}

impl Count {
    fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.understood += other.understood;
        self.equal += other.equal;
        self.fail += other.fail;
        self.refused += other.refused;
        self.apart += other.apart;
    }
}

fn file(name: &str, text: &str, family: Family) -> Count {
    let mut count = Count::default();
    let (mut chains, mut table) = (Vec::new(), "filter");
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(list) = line.strip_prefix(':') {
            (chains, table) = (list.split(',').collect(), "filter");
        } else if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if !line.is_empty() && !line.starts_with(['#', '@', '%']) {
            for chain in &chains {
                let place = Place { family, table, chain };
                count.add(self::line(line, place, &format!("{name}:{number} in {chain}")));
            }
        }
    }
    count
}

fn line(line: &str, place: Place<'_>, origin: &str) -> Count {
    let mut fields = line.split(';');
    let (rule, expected) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
    let expected = if expected == "=" { rule } else { expected };
    let (must_fail, for_one) = (fields.next() == Some("FAIL"), fields.next().is_some());
    let outcome = rule::read(place, &[rule]).pop().expect("one rule");
    match (must_fail, outcome) {
        (true, Outcome::Refused(..)) => Count { fail: 1, refused: 1, ..Count::default() },
        (true, Outcome::Printed(_)) if for_one => Count { apart: 1, ..Count::default() },
        (true, Outcome::Printed(printed)) => {
            println!("{origin}: not refused: {rule}\n    taken as {printed}");
            Count { fail: 1, ..Count::default() }
        }
        (false, Outcome::Printed(printed)) if printed == expected => {
            Count { ok: 1, understood: 1, equal: 1, ..Count::default() }
        }
        (false, Outcome::Printed(printed)) => {
            println!("{origin}: expected {expected}\n    printed  {printed}");
            Count { ok: 1, understood: 1, ..Count::default() }
        }
        (false, Outcome::Refused(column, why)) => {
            println!("{origin}: refused: {rule}\n    column {column}: {why}");
            Count { ok: 1, ..Count::default() }
        }
    }
}
