//! Ctrl-C, and its like, at every stage of a collection.

use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::lab::apiserver::ApiServer;
use crate::small::{Small, errors, folder, kubectls, several_at_once};

/// Waits until the program has made a pod.
pub fn wait_for_pod(server: &ApiServer) {
    wait_for(server, &|server| !server.names("made").is_empty());
    // The server has it before the program knows.
    thread::sleep(Duration::from_millis(300));
}

fn wait_for(server: &ApiServer, is_there: When<'_>) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_there(server) {
        assert!(Instant::now() < end, "nothing came: {}", server.state());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a command until something is there, and ends it by a signal.
fn interrupted(
    server: &ApiServer,
    kubectl: &std::path::Path,
    words: &[&str],
    signal: Signal,
    when: When<'_>,
) -> Output {
    let mut command = server.command(kubectl, words);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(server, when);
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25), "{}", errors(&output));
    output
}

/// What is waited for.
type When<'a> = &'a (dyn Fn(&ApiServer) -> bool + Sync);

#[test]
fn ctrl_c_leaves_no_pod_behind() {
    let Some(small) = Small::new() else { return };
    let has_made: When<'_> = &|server| !server.names("made").is_empty();
    let reads_log: When<'_> = &|server| server.names("calls").iter().any(|call| call.contains("/log"));
    let stages: [(Value, When<'_>); 2] =
        [(json!({"node": "n2", "pod": "pending"}), has_made), (json!({"call": "GET .*/log", "hang": true}), reads_log)];
    let kubectls = kubectls();
    let mut all = Vec::new();
    for kubectl in &kubectls {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            all.extend(stages.iter().map(|(fault, when)| (kubectl, signal, fault, *when)));
        }
    }
    several_at_once(&all, |(kubectl, signal, fault, when)| {
        let server = small.server(&json!([fault]));
        let folder = folder("interrupt");
        let target = folder.path.join("case");
        let words = ["collect", "--node", "n2", "-w", &target.to_string_lossy()].map(str::to_owned);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = interrupted(&server, kubectl, &words, *signal, when);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{fault} {said}");
        assert!(said.contains("interrupted"), "{fault} {said}");
        assert_eq!(server.own_pods(), [""; 0], "{fault} {said}");
        assert!(!target.exists(), "{fault} {said}");
    });
}

#[test]
fn what_was_taken_before_it_is_kept() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let server = small.server(&json!([{"node": "n2", "pod": "pending"}]));
    let folder = folder("kept");
    let target = folder.path.join("case");
    let words = ["collect", "-w", &target.to_string_lossy()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let n1_is_done = |server: &ApiServer| {
        let calls = server.names("calls");
        calls.iter().any(|call| call.starts_with("DELETE"))
    };
    let output = interrupted(&server, &kubectl, &words, Signal::SIGINT, &n1_is_done);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("node n2: not read: interrupted") && said.contains("1 of 2 nodes"), "{said}");
    assert_eq!(server.own_pods(), [""; 0]);
    assert_eq!(flowtrace::load::load(&target).unwrap().nodes.len(), 1);
}

#[test]
fn a_question_that_is_interrupted_has_no_answer() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    for (fault, when) in [
        (json!({"node": "n2", "pod": "pending"}), "POST "),
        (json!({"call": "GET /api/v1/pods", "hang": true}), "GET /api/v1/pods"),
    ] {
        let server = small.server(&json!([fault]));
        let is_there = |server: &ApiServer| server.names("calls").iter().any(|call| call.starts_with(when));
        let output = interrupted(&server, &kubectl, &["explain", "shop/a", "shop/b"], Signal::SIGINT, &is_there);
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        assert!(output.stdout.is_empty() && errors(&output).contains("interrupted"), "{}", errors(&output));
        assert_eq!(server.own_pods(), [""; 0]);
    }
}

#[test]
fn a_question_that_is_killed_leaves_no_file() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let server = small.server(&json!([{"node": "n2", "pod": "pending"}]));
    let folder = folder("killed");
    std::fs::create_dir_all(&folder.path).unwrap();
    let mut command = server.command(&kubectl, &["explain", "shop/a", "shop/b"]);
    let mut child = command.env("TMPDIR", &folder.path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The first node's tables are there, and the second one's are waited for.
    wait_for(&server, &|server| server.names("calls").iter().any(|call| call.starts_with("DELETE")));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read_dir(&folder.path).unwrap().count(), 0);
}
