//! Every file of the bundled snapshots, cut and changed in every way that a random choice comes upon.

use std::collections::BTreeSet;

use super::ask;
use super::bundled::{Files, Form, names};
use super::extra;
use super::random::Random;
use super::watch::{Case, run};

/// Changes a file's bytes.
type Change = fn(&mut Vec<u8>, &mut Random);

/// What is done to a file.
const CHANGES: &[(&str, Change)] = &[
    ("cut", |bytes, random| bytes.truncate(random.below(bytes.len()))),
    ("headless", |bytes, random| drop(bytes.drain(..random.below(bytes.len())))),
    ("bits", |bytes, random| {
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
    }),
    ("swapped lines", |bytes, random| {
        lines(bytes, |lines| {
            let (one, other) = (random.below(lines.len()), random.below(lines.len()));
            lines.swap(one, other);
        });
    }),
    ("doubled line", |bytes, random| {
        lines(bytes, |lines| lines.insert(random.below(lines.len()), random.pick(&lines.clone()).clone()));
    }),
    ("lost line", |bytes, random| lines(bytes, |lines| drop(lines.remove(random.below(lines.len()))))),
    ("line a thousand times", |bytes, random| {
        lines(bytes, |lines| {
            let at = random.below(lines.len());
            let line = lines[at].clone();
            lines.splice(at..at, std::iter::repeat_n(line, 1000));
        });
    }),
    ("lost field", |bytes, random| words(bytes, random, |words, at, _| drop(words.remove(at)))),
    ("strange field", |bytes, random| {
        words(bytes, random, |words, at, random| words[at] = words[random.below(words.len())].clone());
    }),
    ("long field", |bytes, random| words(bytes, random, |words, at, _| words[at] = words[at].repeat(5000))),
    ("number", number),
    ("NUL", |bytes, random| insert(bytes, random, b"\0")),
    ("escape", |bytes, random| insert(bytes, random, b"\x1b[2J\x1b]0;owned\x07\x9b31m")),
    ("direction", |bytes, random| insert(bytes, random, "\u{202e}\u{200b}\u{2028}\r".as_bytes())),
    ("no UTF-8", |bytes, random| insert(bytes, random, b"\xff\xfe\xc0\x80\xed\xa0\x80")),
    ("byte order mark", |bytes, _| drop(bytes.splice(..0, *b"\xef\xbb\xbf"))),
    ("carriage returns", |bytes, _| *bytes = String::from_utf8_lossy(bytes).replace('\n', "\r\n").into_bytes()),
];

fn lines(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    change(&mut lines);
    *bytes = lines.join(&b'\n');
}

fn words(bytes: &mut Vec<u8>, random: &mut Random, change: impl FnOnce(&mut Vec<Vec<u8>>, usize, &mut Random)) {
    let mut words: Vec<Vec<u8>> = bytes.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect();
    let at = random.below(words.len());
    change(&mut words, at, random);
    *bytes = words.join(&b' ');
}

fn insert(bytes: &mut Vec<u8>, random: &mut Random, what: &[u8]) {
    let at = random.below(bytes.len() + 1);
    bytes.splice(at..at, what.iter().copied());
}

/// A number becomes one that doesn't fit, or just does.
fn number(bytes: &mut Vec<u8>, random: &mut Random) {
    const NUMBERS: &[&str] = &["0", "-1", "255", "256", "65536", "4294967295", "4294967296", "99999999999999999999999"];
    let from = random.below(bytes.len());
    let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let len = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(start..start + len, random.pick(NUMBERS).bytes());
}

/// A file of a snapshot, changed once or several times.
fn changed(snapshot: &Files, place: usize, change: usize, random: &mut Random) -> (Files, String) {
    let mut files = snapshot.clone();
    let (path, bytes) = &mut files.0[place];
    let mut said = path.clone();
    for round in 0..=random.below(3) {
        let (name, change) = CHANGES[(change + round * 5) % CHANGES.len()];
        if !bytes.is_empty() {
            change(bytes, random);
        }
        said = format!("{said}, {name}");
    }
    (files, said)
}

/// Each file that is like no other, with the snapshot that it is in.
fn different_files() -> Vec<(String, Files, usize)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let bundled = names().into_iter().map(|name| (Files::bundled(&name), name));
    for (files, name) in
        bundled.chain([(extra::text_forms(), "extra".to_owned()), (extra::json_forms(), "json".to_owned())])
    {
        for place in 0..files.0.len() {
            let (path, bytes) = &files.0[place];
            if !bytes.is_empty() && seen.insert((path.rsplit('/').next().unwrap_or("").to_owned(), bytes.clone())) {
                found.push((name.clone(), files.clone(), place));
            }
        }
    }
    found
}

#[test]
fn a_changed_file_never_panics_hangs_or_reaches_the_terminal() {
    let mut cases = Vec::new();
    for (seed, (name, files, place)) in (0u64..).zip(different_files()) {
        cases.push(Case::new(format!("{name}, file {place}, seed {seed}"), move || {
            for round in 0..rounds() {
                let mut random = Random::new(seed * 1000 + round);
                let change = usize::try_from(seed + round * 3).unwrap();
                let (changed, said) = changed(&files, place, change, &mut random);
                // A folder is many files, and most of its cost is the disk's.
                let form = if random.once_in(12) { Form::Folder } else { *random.pick(&Form::ALL[1..]) };
                ask::files(&changed, form, QUESTIONS, &mut random)
                    .map_err(|why| format!("round {round}, {form:?}, {said}: {why}"))?;
            }
            Ok(())
        }));
    }
    run(&cases);
    if let Some(peak) = ask::peak() {
        assert!(peak < 1024, "{peak} MiB of memory");
    }
}

/// How many questions are asked of each changed snapshot.
const QUESTIONS: usize = 2;

/// How many times each file is changed: once, or as often as the environment says, for a long run.
fn rounds() -> u64 {
    std::env::var("FLOWTRACE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

#[test]
fn an_archive_that_is_cut_or_changed_never_panics() {
    let packed = [Form::Tar, Form::Gzip, Form::Zstd]
        .map(|form| std::fs::read(&Files::bundled("host-gw").write(form).path).unwrap());
    let mut cases = Vec::new();
    for (seed, bytes) in (0u64..60).zip(packed.into_iter().cycle()) {
        cases.push(Case::new(format!("archive, seed {seed}"), move || {
            let mut random = Random::new(seed);
            let mut bytes = bytes.clone();
            let change = random.below(3);
            CHANGES[change].1(&mut bytes, &mut random);
            let there = super::bundled::Temporary::new();
            std::fs::write(&there.path, bytes).unwrap();
            match flowtrace::load::load(&there.path) {
                Ok(snapshot) => ask::ask(&snapshot, &ask::any(&snapshot, &mut random), &mut random),
                Err(_) => Ok(()),
            }
        }));
    }
    run(&cases);
}
