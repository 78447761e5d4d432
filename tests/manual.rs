//! The manual pages and the completions: what is committed is what the program writes, and both know every option.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

fn flowtrace(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flowtrace")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn pages(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())).collect()
}

/// What the program writes into a folder that isn't there yet.
fn written() -> BTreeMap<String, String> {
    let dir = env::temp_dir().join(format!("flowtrace-man-{}", std::process::id())).join("deep");
    let output = flowtrace(&["man", dir.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let pages = pages(&dir);
    fs::remove_dir_all(dir.parent().unwrap()).unwrap();
    pages
}

/// The pages are those of a build with every feature. `FLOWTRACE_BLESS=1` writes them anew.
#[cfg(all(feature = "capture", target_os = "linux"))]
#[test]
fn the_pages_are_those_that_the_program_writes() {
    let man = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let written = written();
    if env::var_os("FLOWTRACE_BLESS").is_some() {
        for (name, page) in &written {
            fs::write(man.join(name), page).unwrap();
        }
    }
    let kept = pages(&man);
    assert_eq!(kept.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (name, page) in &written {
        assert_eq!(
            page, &kept[name],
            "man/{name}: again with FLOWTRACE_BLESS=1 cargo test --all-features --test manual"
        );
    }
}

#[test]
fn a_page_ends_with_what_the_exit_codes_mean_and_has_no_line_that_is_a_command_by_chance() {
    for (name, page) in written() {
        assert!(page.contains("SEE ALSO"), "{name}");
        if name.ends_with(".1") {
            assert!(page.contains(".SH \"EXIT STATUS\""), "{name}");
        }
        let commands =
            ["SH", "SS", "TP", "PP", "TH", "nf", "fi", "br", "B", "I", "BR", "IR", "RB", "RS", "RE", "ie", "el", "IP"];
        for line in page.lines().filter(|line| line.starts_with('.')) {
            let command = line[1..].split([' ', '\t']).next().unwrap();
            assert!(commands.contains(&command), "{name}: {line}");
        }
    }
}

#[test]
fn the_completions_of_each_shell_know_the_commands_and_their_options() {
    for shell in ["bash", "zsh", "fish"] {
        let output = flowtrace(&["completions", shell]);
        assert!(output.status.success());
        let completions = text(&output.stdout);
        for word in ["explain", "rules", "completions", "snapshot", "max-paths", "proto"] {
            assert!(completions.contains(word), "{shell}: {word}");
        }
    }
    let wrong = flowtrace(&["completions", "tcsh"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("bash"), "{}", text(&wrong.stderr));
}
