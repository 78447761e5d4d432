//! The command line: wrong questions, exit codes, and what goes to which stream.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    for word in words {
        assert!(run.err.contains(word), "{args:?}: {word:?} is missing in {:?}", run.err);
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
fn an_unknown_name_is_told_what_there_is() {
    refused(&["explain", "--demo", "nobody-at-all", "default/pod2"], &["there are", "default/pod1", "more"]);
    refused(&["explain", "--demo", "default/pod1", "svc/nowhere/at-all"], &["there are", "svc/"]);
    refused(&["explain", "--demo", "default/pod1", "node/machine-seven"], &["there are", "node/n1", "node/n2"]);
    refused(&["explain", "--demo", "default/pod1", "google.com"], &["google.com", "not resolved", "give the address"]);
    refused(&["explain", "--demo", "default/pod1", "google.com:443"], &["not resolved", "give the address"]);
    refused(&["explain", "--demo", "default/pod1", "kube-dns.kube-systen"], &["did you mean kube-dns.kube-system?"]);
}

#[test]
fn what_is_not_built_yet_says_so() {
    for command in ["decode", "correlate", "collect", "capture", "check", "completions", "man"] {
        refused(&[command], &["not built yet", command]);
        refused(&[command, "--some", "thing", "-o", "jsonl"], &["not built yet"]);
    }
    refused(&["explain", "--pcap", "x.pcap"], &["not built yet"]);
    refused(&["explain", "--demo", "a", "b", "-o", "html"], &["not built yet"]);
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
fn unknown_names_are_refused_with_the_nearest_ones() {
    refused(&["explain", "--demo", "default/pod11", "default/pod2"], &["default/pod1"]);
    refused(&["explain", "--demo", "default/pod1", "svc/kube-system/kube-dsn"], &["kube-dns"]);
    refused(&["explain", "--demo", "node/n9", "default/pod1"], &["n1"]);
}

#[test]
fn ends_that_do_not_fit_together_are_refused() {
    refused(&["explain", "--demo", "external", "external"], &["both outside"]);
    refused(&["explain", "--demo", "default/pod1", "default/pod2", "-6"], &["IPv6"]);
    refused(&["explain", "--demo", "default/pod1", "[fd00::1]:80"], &["same family"]);
    refused(&["explain", "--demo", "svc/shop/web", "default/pod1"], &["a service sends nothing"]);
    refused(&["explain", "--demo", "default/pod1", "default/pod2", "--source", "10.9.9.9"], &["no such address"]);
    refused(&["explain", "--demo", "external", "node/n1", "--source", "10.9.9.9"], &["FROM is the source"]);
}

#[test]
fn a_place_to_enter_has_to_be_there() {
    let at = |at: &str, word: &str| refused(&["explain", "--demo", "external", "default/pod1", "--at", at], &[word]);
    at("n1/eth9", "flannel.1");
    at("n9/eth0", "n1, n2");
    at("n1", "NODE/DEVICE");
    let run = flowtrace(&["explain", "--demo", "external", "default/pod1", "--at", "n2/eth0", "--no-reply"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("\nn2 host\n  1 eth0"), "{}", run.out);
}

#[test]
fn a_client_from_outside_may_enter_at_any_node() {
    let run = flowtrace(&["explain", "--demo", "external", "svc/shop/web", "--no-reply"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("enters at n1/eth0") && run.out.contains("enters at n2/eth0"), "{}", run.out);
    assert_eq!(run.out.matches("  1/4  ").count(), 4, "{}", run.out);
}

#[test]
fn a_service_that_rewrites_nothing_says_why() {
    let note = |to: &str| flowtrace(&["explain", "--demo", "default/pod1", to, "-o", "json", "--no-reply"]).out;
    let ping = note("10.96.0.10");
    assert!(ping.contains("answers only to its ports (53/udp (dns), 53/tcp (dns-tcp))"), "{ping}");
    assert!(ping.contains("out by eth0 of n1"), "{ping}");
    assert!(note("10.96.0.20:81").contains("has no port 81/tcp; its ports are 80/tcp (http)"));
    assert!(note("svc/shop/none").contains("no rule sends this packet for svc/shop/none (10.96.0.40) to an endpoint"));
    assert!(note("svc/shop/web").contains("\"findings\": []"));
    let first = note("svc/kube-system/kube-dns");
    assert!(first.contains("is asked at 53/udp (dns), the first port that fits"), "{first}");
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

/// A folder of its own for what a test writes.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
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
fn a_name_that_a_broken_file_may_hold_says_so() {
    let root = broken("unread-names", |root| fs::write(root.join("cluster/services.json"), "{\"items\": [").unwrap());
    let path = root.to_str().unwrap();
    refused(
        &["explain", "--snapshot", path, "pod1", "svc/shop/web"],
        &["no service shop/web", "cluster/services.json:1 could not be read"],
    );
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

/// The JSON answer to a question to the bundled snapshot.
fn answered(from: &str, to: &str, more: &[&str]) -> (i32, serde_json::Value) {
    let run = flowtrace(&[&["explain", "--demo", from, to, "-o", "json"], more].concat());
    (run.code, serde_json::from_str(&run.out).unwrap_or_else(|err| panic!("{err}: {} {}", run.out, run.err)))
}

#[test]
fn a_client_of_a_pod_enters_at_the_pods_node() {
    for to in ["default/pod1", "10.244.1.2", "10.244.1.99"] {
        let (_, answer) = answered("external", to, &[]);
        let paths = answer["paths"].as_array().unwrap();
        assert_eq!((paths.len(), paths[0]["probability"].as_f64()), (1, Some(1.0)), "{to}");
        assert_eq!(paths[0]["forward"]["steps"][0]["node"], "n1", "{to}");
        assert!(paths[0]["why"].is_null(), "{to}");
    }
}

#[test]
fn a_sender_in_the_pods_network_that_nobody_is_is_told() {
    let found = |answer: &serde_json::Value| {
        let findings = answer["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["what"].as_str().unwrap().contains("10.244.1.99 is in the pods' network"))
            .count()
    };
    assert_eq!(found(&answered("10.244.1.99", "default/pod2", &[]).1), 1);
    assert_eq!(found(&answered("10.244.1.99", "default/pod2", &["--at", "n1/cni0"]).1), 0, "the question says where");
    assert_eq!(found(&answered("203.0.113.9", "default/pod2", &[]).1), 0);
    let run = flowtrace(&["explain", "--demo", "10.244.1.99", "default/pod2"]);
    assert!(run.out.contains("note: 10.244.1.99 is in the pods' network"), "{}", run.out);
}

#[test]
fn the_unspecified_address_is_the_sender_itself() {
    let delivered = |to: &str, more: &[&str], loopback: &str| {
        let (code, answer) = answered("default/pod1", to, more);
        assert_eq!((code, &answer["verdict"]), (0, &"delivered".into()), "{to}");
        assert_eq!(answer["request"]["packet"]["destination"], loopback);
        assert_eq!(answer["paths"][0]["forward"]["steps"][0]["packet"]["source"], loopback);
    };
    delivered("0.0.0.0", &[], "127.0.0.1");
    delivered("0.0.0.0:80", &[], "127.0.0.1");
    delivered("0.0.0.0", &["--source", "10.244.1.2"], "10.244.1.2");
    let (code, answer) = answered("external", "0.0.0.0", &[]);
    assert_eq!((code, &answer["paths"][0]["forward"]["reason"]), (1, &"martian-destination".into()));
    let dual = ["explain", "--snapshot", "testdata/dual-stack", "default/pod1", "::", "-o", "json"];
    let answer: serde_json::Value = serde_json::from_str(&flowtrace(&dual).out).unwrap();
    assert_eq!((&answer["verdict"], &answer["request"]["packet"]["destination"]), (&"delivered".into(), &"::1".into()));
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
    refused(&["rules", "--demo", "svc/kube-system/kube-dns"], &["a node or a pod"]);
}

#[test]
fn a_service_without_objects_has_the_name_in_its_rules() {
    for to in ["svc/kube-system/kube-dns", "svc/kube-system/kube-dns:dns", "kube-dns.kube-system.svc.cluster.local:53"]
    {
        let run = flowtrace(&["explain", "--snapshot", "testdata/article", "default/pod1", to]);
        assert_eq!(run.code, 3, "{}", run.err);
        assert!(run.out.contains("10.16.0.10:53 ⇒ 10.0.0.46:53"), "{}", run.out);
        assert!(run.out.contains("note: the snapshot has no cluster/services.json"), "{}", run.out);
    }
    refused(&["explain", "--snapshot", "testdata/article", "default/pod1", "svc/kube-system/kube"], &["services.json"]);
}
