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

/// What a shell offers behind `flowtrace `, asked as it is asked on the terminal.
const ASKED: [(&str, &str); 3] = [
    (
        "bash",
        r#". "$0"; COMP_WORDS=(flowtrace ex); COMP_CWORD=1; _flowtrace flowtrace ex flowtrace; echo "${COMPREPLY[*]}""#,
    ),
    // Without a line editor, what would be described on the terminal is printed.
    (
        "zsh",
        r#"autoload -U compinit; compinit -u -D; _describe() { print -r -- ${(P)4} }; . "$0"; _flowtrace_commands"#,
    ),
    ("fish", "source $argv[1]; complete -C 'flowtrace ex'"),
];

#[test]
fn each_shell_takes_its_completions_and_offers_a_command_by_its_first_letters() {
    let dir = env::temp_dir().join(format!("flowtrace-completions-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    for (shell, asked) in ASKED {
        if Command::new(shell).arg("--version").output().is_err() {
            skip(&format!("{shell} is not installed"));
            continue;
        }
        let file = dir.join(shell);
        let written = flowtrace(&["completions", shell, "-w", file.to_str().unwrap()]);
        assert!(written.status.success());
        let parsed = Command::new(shell).arg("-n").arg(&file).output().unwrap();
        assert!(parsed.status.success(), "{shell}: {}", text(&parsed.stderr));
        let offered = Command::new(shell).args(["-c", asked]).arg(&file).env("HOME", &dir).output().unwrap();
        let offered = text(&offered.stdout) + &text(&offered.stderr);
        assert!(offered.contains("explain"), "{shell}: {offered}");
    }
    fs::remove_dir_all(dir).unwrap();
}

/// Says loudly what could not be tried, as the lab does.
fn skip(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    if let Some(file) = env::var_os("FLOWTRACE_SKIPS") {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "completions: {why}").unwrap();
    }
}

/// Every file that a package of Debian's has beside the program, made as the release workflow makes it; and both of
/// kubectl's names for the program in each kind of package.
#[cfg(target_os = "linux")]
#[test]
fn packages_hold_what_they_say_and_kubectls_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Command::new(root.join(".github/assets")).arg(env!("CARGO_BIN_EXE_flowtrace")).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let assets = manifest.lines().filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next());
    let made: Vec<&str> = assets.filter(|asset| asset.starts_with("target/assets/")).collect();
    assert!(made.len() >= 5, "{made:?}");
    for asset in made {
        assert!(fs::symlink_metadata(root.join(asset)).is_ok(), "{asset}");
    }
    for name in ["kubectl-flowtrace", "kubectl_complete-flowtrace"] {
        let asset = format!("target/assets/{name}");
        assert!(manifest.contains(&format!("[\"{asset}\", \"usr/bin/\"")), "{name}");
        assert_eq!(fs::read_link(root.join(asset)).unwrap(), Path::new("flowtrace"));
    }
}

const PLATFORMS: [&str; 4] = ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"];

/// The release's archives and Krew's manifest, made as the release workflow makes them. Krew unpacks folders and plain files
/// only (`extractTARGZ` of its `internal/download/downloader.go`), and runs what the manifest calls `bin`.
#[cfg(target_os = "linux")]
#[test]
fn archives_of_a_release_hold_the_program_by_all_its_names_and_krew_can_unpack_its_own() {
    let github = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github");
    let workflow = fs::read_to_string(github.join("workflows/release.yml")).unwrap();
    let dir = env::temp_dir().join(format!("flowtrace-release-{}", std::process::id()));
    // Any file will do for a program; the true one takes long to pack.
    let (folder, program) = (dir.join("dist"), dir.join("built"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(&program, "#!/bin/sh\n").unwrap();
    for platform in PLATFORMS {
        assert!(workflow.contains(&format!("platform: {platform},")), "{platform}");
        let packed = Command::new(github.join("pack")).arg(&program).arg(platform).arg(&folder).output().unwrap();
        assert!(packed.status.success(), "{}", text(&packed.stderr));
    }
    assert!(workflow.contains(".github/pack ") && workflow.contains(".github/krew/fill "));
    let filled = Command::new(github.join("krew/fill")).args(["1.2.3", "https://h/r"]).arg(&folder).output().unwrap();
    assert!(filled.status.success(), "{}", text(&filled.stderr));
    let manifest = text(&filled.stdout);
    assert!(!manifest.contains("{{") && manifest.contains("  version: v1.2.3\n"), "{manifest}");
    for platform in PLATFORMS {
        let name = format!("kubectl-flowtrace-{platform}.tar.gz");
        let sum = Command::new("sha256sum").arg(folder.join(&name)).output().unwrap();
        let sum = text(&sum.stdout)[..64].to_owned();
        let entry = format!("uri: \"https://h/r/releases/download/v1.2.3/{name}\"\n      sha256: \"{sum}\"");
        assert!(manifest.contains(&entry), "{entry}\n{manifest}");
        let plugin = entries(&folder.join(name));
        assert!(plugin.iter().all(|line| line.starts_with(['d', '-'])), "{plugin:?}");
        assert!(plugin.iter().any(|line| line.starts_with("-rw") && line.ends_with(" ./kubectl-flowtrace")));
        let whole = entries(&folder.join(format!("flowtrace-{platform}.tar.gz")));
        for end in ["kubectl-flowtrace -> flowtrace", "kubectl_complete-flowtrace -> flowtrace", "man/flowtrace.1"] {
            assert!(whole.iter().any(|line| line.ends_with(&format!("./{end}"))), "{end}: {whole:?}");
        }
    }
    assert_eq!(manifest.matches("bin: kubectl-flowtrace\n").count(), PLATFORMS.len());
    fs::remove_dir_all(dir).unwrap();
}

/// What an archive holds, as `tar` lists it.
#[cfg(target_os = "linux")]
fn entries(archive: &Path) -> Vec<String> {
    let listed = Command::new("tar").arg("-tvzf").arg(archive).output().unwrap();
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    text(&listed.stdout).lines().map(str::to_owned).collect()
}
