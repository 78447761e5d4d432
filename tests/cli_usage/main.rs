//! The command line: wrong questions, exit codes, and what goes to which stream.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod ends;
mod written;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn flowtrace(args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("CLICOLOR_FORCE")
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    Run {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Exit 2, nothing on stdout, and a message that holds the given words.
fn refused(args: &[&str], words: &[&str]) {
    let run = flowtrace(args);
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}: {}", run.err);
    let said = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(said.contains(word), "{args:?}: {word:?} is missing in {:?}", run.err);
    }
    assert!(!run.err.contains("panicked"), "{args:?}: {}", run.err);
}

const DEMO: &[&str] = &["explain", "--demo", "default/pod1", "default/pod2"];

fn demo(more: &[&str]) -> Vec<String> {
    DEMO.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

fn run_demo(more: &[&str]) -> Run {
    let args = demo(more);
    flowtrace(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_long_message_is_wrapped_between_words() {
    let words = ["nothing"; 40].join(" ");
    let run = flowtrace(&["explain", "--demo", &words, "default/pod2"]);
    assert_eq!(run.code, 2);
    assert!(run.err.lines().count() > 2 && run.err.lines().all(|line| line.chars().count() <= 100), "{}", run.err);
}

#[test]
fn verbose_twice_is_verbose() {
    let (once, twice) = (run_demo(&["-v"]), run_demo(&["-v", "-v"]));
    assert_eq!((twice.code, twice.out), (once.code, once.out));
}

#[test]
fn a_path_inside_a_snapshot_is_answered_with_the_snapshot() {
    for inside in
        ["nodes", "nodes/n1", "nodes/n1/host", "nodes/n1/pods/default_pod1/", "cluster", "nodes/n1/host/fdb.txt"]
    {
        let path = format!("testdata/vxlan/{inside}");
        refused(&["explain", "--snapshot", &path, "pod1", "pod2"], &[&path, "did you mean --snapshot testdata/vxlan?"]);
        refused(&["rules", "--snapshot", &path, "n1"], &["did you mean --snapshot testdata/vxlan?"]);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
        .args(["rules", "--snapshot", "..", "n1"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan/nodes/n1"))
        .output()
        .unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("testdata/vxlan?"), "{complaint}");
    assert!(!flowtrace(&["rules", "--snapshot", "testdata", "n1"]).err.contains("did you mean"));
}

/// A folder of its own for what a test writes.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A copy of a bundled snapshot in which something is broken.
fn broken(name: &str, change: impl FnOnce(&Path)) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan"), &root);
    change(&root);
    root
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The JSON answer to a question to the bundled snapshot.
fn answered(from: &str, to: &str, more: &[&str]) -> (i32, serde_json::Value) {
    let run = flowtrace(&[&["explain", "--demo", from, to, "-o", "json"], more].concat());
    (run.code, serde_json::from_str(&run.out).unwrap_or_else(|err| panic!("{err}: {} {}", run.out, run.err)))
}

#[test]
fn a_wrong_command_line_is_refused_with_a_hint() {
    refused(&[], &["Usage"]);
    refused(&["explian"], &["explain"]);
    refused(&["explain"], &["FROM"]);
    refused(&["explain", "a"], &["TO"]);
    refused(&["explain", "a", "b"], &["--snapshot", "--demo"]);
    refused(&["explain", "--demo", "--snapshot", "x", "a", "b"], &["cannot be used with"]);
    refused(&["explain", "--demo", "a", "b", "--prto", "tcp"], &["--proto"]);
    refused(&["explain", "--demo", "a", "b", "--proto", "tpc"], &["tcp"]);
    refused(&["explain", "--demo", "a", "b", "--ttl", "0"], &["--ttl"]);
    refused(&["explain", "--demo", "a", "b", "--mark", "0xzz"], &["--mark"]);
    refused(&["explain", "--demo", "a", "b", "-4", "-6"], &["cannot be used with"]);
    refused(&["explain", "--demo", "a", "b", "--max-paths", "0"], &["--max-paths"]);
}

#[test]
fn a_snapshot_goes_nowhere_but_where_it_was_sent() {
    refused(&["collect"], &["-w", "Usage"]);
    for name in ["a.zip", "a.tar", "a.tar.zst", "a.gz"] {
        refused(&["collect", "-w", name], &[name, "as a folder or as .tar.gz"]);
    }
    refused(&["collect", "-w", "a", "--node", "../x"], &["--node", "a node's name"]);
    refused(&["collect", "-w", "a.zip", "--context", "x"], &["a.zip", "as a folder or as .tar.gz"]);
    refused(&["collect", "--kubeconfig", "x"], &["-w", "Usage"]);
    refused(&["collect", "-w", "a", "--node", "n1,n2"], &["--node n1,n2", "one node"]);
    refused(
        &["collect", "-w", "a", "--all-nodes", "--kubectl", "/nonexistent/kubectl"],
        &["is not installed", "--kubectl"],
    );
    refused(&["collect", "-w", "a", "--all-nodes", "--timeout", "0"], &["--timeout", "seconds are wanted"]);
    refused(&["collect", "-w", "/nonexistent/a.tar.gz"], &["/nonexistent/a.tar.gz", "can't be written"]);
}

#[test]
fn the_script_is_printed_or_written() {
    let printed = flowtrace(&["collect", "--print-script"]);
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    assert!(printed.out.starts_with("#!/bin/sh\n"));
    let file = folder("collect-script").join("collect.sh");
    let written = flowtrace(&["collect", "--print-script", "-w", file.to_str().unwrap()]);
    assert_eq!((written.code, written.out.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(file).unwrap(), printed.out);
    for option in [&["--all-nodes"][..], &["--context", "x"], &["--image", "x"], &["-n", "shop"]] {
        refused(&[&["collect", "--print-script"], option].concat(), &["--print-script", "cluster"]);
    }
}

#[test]
fn what_is_not_built_yet_says_so() {
    refused(&["check"], &["not built yet", "check"]);
    refused(&["check", "--some", "thing", "-o", "jsonl"], &["not built yet"]);
    refused(&["explain", "--demo", "a", "b", "-o", "html"], &["not built yet"]);
}

#[test]
fn a_snapshot_that_is_there_and_a_cluster_that_is_asked_are_not_meant_at_once() {
    for (flag, value) in [("--context", "x"), ("--kubeconfig", "x"), ("--save", "x"), ("--node-bundle", "x")] {
        refused(&["explain", "--demo", "a", "b", flag, value], &[flag, "--demo"]);
        refused(&["rules", "--snapshot", "y", "n1", flag, value], &[flag, "--snapshot"]);
    }
    refused(&["explain", "--demo", "a", "b", "--all-nodes"], &["--all-nodes"]);
}

#[test]
fn the_main_help_says_what_this_build_lacks_and_what_an_exit_code_means() {
    let help = flowtrace(&["--help"]).out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(help.contains("is in builds with libpcap"), cfg!(not(feature = "capture")), "{help}");
    assert!(help.contains("flowtrace does not know, what decides, or --max-paths cut ways off"), "{help}");
    if cfg!(feature = "capture") {
        let help = flowtrace(&["capture", "--help"]).out;
        assert!(help.contains("\"udp port 8472\"") && !help.contains('\\'), "{help}");
    }
}

#[test]
#[cfg(not(feature = "capture"))]
fn a_build_without_libpcap_says_how_to_get_one_that_has_it() {
    for args in [&["capture"][..], &["capture", "-i", "eth0", "-w", "x"], &["capture", "--help"]] {
        refused(args, &["flowtrace capture: ", "no libpcap"]);
    }
    if cfg!(target_os = "linux") {
        refused(&["capture"], &["the Debian package of a release", "libpcap-dev", "--features capture"]);
    }
}

#[test]
fn a_snapshot_that_is_none_is_refused_by_name() {
    let folder = std::env::temp_dir().join(format!("flowtrace-cli-{}", std::process::id()));
    fs::create_dir_all(folder.join("empty")).unwrap();
    fs::write(folder.join("noise"), b"\x00\xff\x1f\x8b not an archive").unwrap();
    fs::write(folder.join("cut.tar.gz"), b"\x1f\x8b\x08\x00\x00\x00").unwrap();
    for name in ["empty", "noise", "cut.tar.gz", "absent"] {
        let path = folder.join(name);
        refused(&["explain", "--snapshot", path.to_str().unwrap(), "a/b", "c/d"], &[name]);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn broadcasts_and_multicasts_are_not_guessed_at() {
    for to in ["255.255.255.255", "224.0.0.1", "10.244.1.255"] {
        let run = flowtrace(&["explain", "--demo", "default/pod1", to]);
        assert_eq!(run.code, 3, "{to}: {}", run.out);
        assert!(run.out.contains("not-unicast"), "{to}: {}", run.out);
    }
}

#[test]
fn ways_that_were_not_walked_leave_the_answer_open() {
    let run = flowtrace(&["explain", "--demo", "default/pod1", "svc/shop/web", "--max-paths", "1", "-o", "json"]);
    assert_eq!(run.code, 3, "{}", run.err);
    assert!(run.out.contains("\"truncated\": true,\n  \"unexplored\": 0.5"), "{}", run.out);
}

#[test]
fn options_that_contradict_the_packet_are_refused() {
    for (args, word) in [
        (&["--icmp-type", "3", "--proto", "tcp", "--port", "80"][..], "--icmp-type"),
        (&["--tcp-flags", "ACK"], "--tcp-flags"),
        (&["--proto", "udp"], "port"),
        (&["--port", "80", "--proto", "icmp"], "--port"),
        (&["--size", "10"], "--size"),
        (&["--size", "70000"], "--size"),
    ] {
        let run = run_demo(args);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}");
        assert!(run.err.contains(word), "{args:?}: {}", run.err);
    }
}

#[test]
fn the_demo_needs_no_files() {
    let run = run_demo(&[]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(run.out.starts_with("DELIVERED  icmp"), "{}", run.out);
}

#[test]
fn rows_on_the_way_that_could_not_be_read_are_told() {
    let root = broken("unread-row", |root| {
        let file = root.join("nodes/n1/host/route.txt");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, text.replace("10.244.2.0/24 via", "10.244.2.0/2X via")).unwrap();
        let elsewhere = root.join("nodes/n2/pods/kube-system_coredns/route.txt");
        fs::write(elsewhere, "default via nonsense\n").unwrap();
    });
    let run = flowtrace(&["explain", "--snapshot", root.to_str().unwrap(), "pod1", "pod2"]);
    assert!(run.out.contains("What the snapshot leaves open"), "{}", run.out);
    assert!(run.out.contains("(n1/host/route.txt:3)"), "{}", run.out);
    assert!(!run.out.contains("kube-system_coredns"), "{}", run.out);
}

#[test]
fn a_table_of_another_name_is_told() {
    let root = broken("misnamed", |root| {
        let host = root.join("nodes/n1/host");
        fs::rename(host.join("route.txt"), host.join("routes.txt")).unwrap();
        fs::write(host.join("links-of-yesterday.txt"), "").unwrap();
    });
    let run = flowtrace(&["explain", "--snapshot", root.to_str().unwrap(), "pod1", "pod2"]);
    assert_eq!(run.code, 3, "{}", run.out);
    assert!(
        run.out.contains("nodes/n1/host/routes.txt was not read: a snapshot has the table as route.txt"),
        "{}",
        run.out
    );
    assert!(!run.out.contains("links-of-yesterday"), "the table is there under its own name: {}", run.out);
    assert!(run.out.contains("Try: `ip -d route show table all` on n1"), "{}", run.out);
}

#[test]
fn a_node_without_a_folder_is_unknown_not_silent() {
    let root = broken("absent-node", |root| fs::remove_dir_all(root.join("nodes/n2")).unwrap());
    let run = flowtrace(&["explain", "--snapshot", root.to_str().unwrap(), "pod1", "pod2"]);
    assert_eq!(run.code, 3, "{}", run.out);
    assert!(run.out.contains("nodes/n2/host"), "{}", run.out);
}

#[test]
fn policy_rules_compare_the_bits_of_the_tos_that_ipv4_keeps() {
    let ask = ["explain", "--snapshot", "testdata/policy-routing", "node/n1", "external", "-o", "json", "--tos"];
    for tos in ["0x10", "0xb0"] {
        let run = flowtrace(&[&ask[..], &[tos]].concat());
        assert!(run.out.contains("\"rule_priority\": 140"), "{tos}: {}", run.out);
    }
}

#[test]
fn rules_lists_a_nodes_rules_with_their_lines_and_what_is_not_modelled() {
    let output = flowtrace(&["rules", "--demo", "n1", "--table", "nat", "--chain", "KUBE-SERVICES"]);
    let text = output.out;
    assert_eq!(output.code, 0, "{text}");
    assert!(text.contains("nat KUBE-SERVICES") && text.contains("-d 10.96.0.10/32 -p udp"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let output = flowtrace(&["rules", "--demo", "default/pod1", "-o", "json"]);
    let listing: serde_json::Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(listing["schema"], "flowtrace/rules/1");
    assert_eq!(listing["netns"], "pod:default/pod1");
    refused(&["rules", "--demo", "n11"], &["n11"]);
    refused(&["rules", "--demo", "n1", "--table", "nta"], &["no such table", "did you mean nat?"]);
    refused(&["rules", "--demo", "n1", "--chain", "KUBE-SERVICE"], &["no such chain", "KUBE-SERVICES"]);
    refused(&["rules", "--demo", "n1", "--table", "filter", "--chain", "KUBE-POSTROUTING"], &["no such chain"]);
    refused(&["rules", "--demo", "svc/kube-system/kube-dns"], &["a node or a pod"]);
}
