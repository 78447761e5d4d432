//! What goes to which stream or file, and how it looks there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{DEMO, flowtrace, folder, refused, run_demo};

#[test]
fn names_on_the_command_line_reach_no_terminal_raw() {
    for args in [
        vec!["explain", "--demo", "de\x1b[31mfault/x", "default/pod2"],
        vec!["explain", "--demo", "--\x1b[31m", "x"],
        vec!["explain", "--snapshot", "/no\x1b[31mwhere", "x", "y"],
        vec!["\x1b[31m"],
    ] {
        let run = flowtrace(&args);
        assert_eq!(run.code, 2);
        assert!(!run.err.contains('\x1b') && !run.out.contains('\x1b'), "{:?}", run.err);
    }
}

#[test]
fn every_format_is_printed() {
    assert!(run_demo(&["-o", "json"]).out.starts_with("{\n  \"schema\": \"flowtrace/explain/1\""));
    assert!(run_demo(&["-o", "dot"]).out.starts_with("digraph"));
    assert!(run_demo(&["-o", "mermaid"]).out.starts_with("flowchart"));
    assert!(run_demo(&["--ascii"]).out.is_ascii());
    assert!(run_demo(&["-v"]).out.lines().count() > run_demo(&[]).out.lines().count());
    assert!(run_demo(&["--no-reply"]).out.lines().count() < run_demo(&[]).out.lines().count());
}

#[test]
fn colour_comes_only_where_it_is_wanted() {
    assert!(!run_demo(&[]).out.contains('\x1b'), "a pipe is no terminal");
    assert!(run_demo(&["--color", "always"]).out.contains('\x1b'));
    assert!(!run_demo(&["--color", "never"]).out.contains('\x1b'));
}

#[test]
fn help_and_version_go_to_stdout() {
    for args in [&["--help"][..], &["--version"], &["explain", "--help"], &["-h"]] {
        let run = flowtrace(args);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{args:?}");
        assert!(run.out.contains("flowtrace"), "{args:?}");
    }
    assert!(flowtrace(&["explain", "--help"]).out.contains("Examples:"));
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    for args in [&["schema"][..], DEMO] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let output = Command::new(env!("CARGO_BIN_EXE_flowtrace")).arg("schema").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!output.stderr.is_empty());
}

#[test]
fn the_output_goes_into_the_file_of_w_instead() {
    let file = folder("written").join("out");
    let path = file.to_str().unwrap();
    for args in [
        DEMO,
        &["explain", "--demo", "default/pod1", "svc/shop/none"],
        &["explain", "--demo", "default/pod1", "default/pod2", "-o", "json"],
        &["rules", "--demo", "n1"],
        &["rules", "--demo", "n1", "-o", "json"],
        &["schema"],
    ] {
        let printed = flowtrace(args);
        let run = flowtrace(&[args, &["-w", path]].concat());
        assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (printed.code, "", ""), "{args:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), printed.out, "{args:?}");
        let dash = flowtrace(&[args, &["-w", "-"]].concat());
        assert_eq!((dash.code, dash.out), (printed.code, printed.out), "{args:?}");
    }
}

#[test]
fn a_file_is_coloured_only_on_demand() {
    let file = folder("coloured").join("out");
    let colored = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowtrace"));
        command.args(DEMO).arg("-w").arg(&file).args(args).env("CLICOLOR_FORCE", "1");
        assert!(command.status().unwrap().success());
        fs::read_to_string(&file).unwrap().contains('\x1b')
    };
    assert!(!colored(&[]) && !colored(&["--color", "never"]));
    assert!(colored(&["--color", "always"]));
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_one_of_a_wrong_question_is_left_alone() {
    let folder = folder("unwritten");
    for path in [folder.join("no/such/folder"), folder.clone(), PathBuf::from("")] {
        let path = path.to_str().unwrap();
        for args in [DEMO, &["rules", "--demo", "n1"], &["schema"]] {
            refused(&[args, &["-w", path]].concat(), &["-w", path]);
        }
    }
    refused(&[DEMO, &["-w", "no\x1b[31mwhere/x"]].concat(), &["no\\x1b[31mwhere/x"]);
    if Path::new("/dev/full").exists() {
        refused(&[DEMO, &["-w", "/dev/full"]].concat(), &["-w /dev/full"]);
    }
    let kept = folder.join("kept");
    fs::write(&kept, "mine").unwrap();
    refused(&["explain", "--demo", "default/pod1", "nobody", "-w", kept.to_str().unwrap()], &["nobody"]);
    assert_eq!(fs::read_to_string(kept).unwrap(), "mine");
}
