//! `kubectl flowtrace`: the same program, found by kubectl by its name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::lab::explain::program;
use crate::lab::judge::Folder;
use crate::small::{Small, errors, folder, kubectls, several_at_once};

/// A folder with the plugin's two names.
fn plugin() -> Folder {
    let folder = folder("plugin");
    for name in ["kubectl-flowtrace", "kubectl_complete-flowtrace"] {
        symlink(program(), folder.path.join(name)).unwrap();
    }
    folder
}

fn run(kubectl: &Path, plugin: &Folder, words: &[&str]) -> Output {
    command(kubectl, plugin, words).output().unwrap()
}

fn command(kubectl: &Path, plugin: &Folder, words: &[&str]) -> Command {
    let mut path = plugin.path.clone().into_os_string();
    for folder in [kubectl.parent().unwrap().as_os_str(), &std::env::var_os("PATH").unwrap()] {
        path.push(":");
        path.push(folder);
    }
    let mut command = Command::new(kubectl);
    command.args(words).env("PATH", path).env("HOME", &plugin.path).env_remove("KUBECONFIG");
    command
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn kubectl_finds_the_plugin_and_its_flags_are_taken() {
    let Some(small) = Small::new() else { return };
    let plugin = plugin();
    for kubectl in kubectls() {
        let server = small.server(&json!([]));
        let url = server.url();
        let target = plugin.path.join(kubectl.parent().unwrap().file_name().unwrap());
        let path = target.to_string_lossy();
        let words = [
            "flowtrace",
            "collect",
            "-n",
            "shop",
            "a",
            "b",
            "-w",
            &path,
            "--server",
            &url,
            "--as",
            "eve",
            "--request-timeout",
            "60s",
        ];
        let output = run(&kubectl, &plugin, &words);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert!(errors(&output).contains("2 of 2 nodes"), "{}", errors(&output));
        let output = run(&kubectl, &plugin, &["flowtrace", "-s", &url, "-n", "shop", "rules", "b"]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(server.own_pods(), [""; 0]);
        // As a plugin, it asks the cluster even where it could look at this machine.
        let output = run(
            &kubectl,
            &plugin,
            &["flowtrace", "collect", "-w", &plugin.path.join("x").to_string_lossy(), "-s", "http://127.0.0.1:1"],
        );
        assert!(errors(&output).contains("the cluster can't be reached"), "{}", errors(&output));
    }
}

#[test]
fn what_fails_is_told_through_kubectl_too() {
    let Some(small) = Small::new() else { return };
    let plugin = plugin();
    let cases = [
        (
            json!({"call": "GET /api/v1/(nodes|pods)", "status": 403, "reason": "Forbidden", "message": "is forbidden: no"}),
            &[][..],
            2,
            "this user may not do that",
        ),
        (json!({"node": "n2", "pod": "image"}), &[], 3, "node n2: not read: pod flowtrace-"),
        (json!({"node": "n2", "pod": "pending"}), &["--timeout", "15"], 3, "the node's kubelet has not taken it up"),
        (
            json!({"call": "DELETE .*", "status": 403, "reason": "Forbidden", "message": "is forbidden: no"}),
            &[],
            3,
            "`kubectl flowtrace cleanup`",
        ),
    ];
    let kubectls = kubectls();
    let all: Vec<_> = kubectls.iter().flat_map(|kubectl| cases.iter().map(move |case| (kubectl, case))).collect();
    several_at_once(&all, |(kubectl, (fault, options, code, said))| {
        let server = small.server(&json!([fault]));
        let (url, folder) = (server.url(), folder("plugged"));
        let path = folder.path.join("case").to_string_lossy().into_owned();
        let words = [&["flowtrace", "collect", "-s", &url, "-w", &path][..], options].concat();
        let output = run(kubectl, &plugin, &words);
        let shown = format!("{} {fault}: {}", kubectl.display(), errors(&output));
        assert_eq!(output.status.code(), Some(*code), "{shown}");
        assert!(shown.contains(said), "{shown}");
    });
}

#[test]
fn ctrl_c_under_kubectl_leaves_no_pod_behind() {
    let Some(small) = Small::new() else { return };
    let plugin = plugin();
    for kubectl in kubectls() {
        let server = small.server(&json!([{"node": "n2", "pod": "pending"}]));
        let target = plugin.path.join("case");
        let (url, path) = (server.url(), target.to_string_lossy().into_owned());
        let mut command =
            command(&kubectl, &plugin, &["flowtrace", "collect", "--node", "n2", "-s", &url, "-w", &path]);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        crate::interrupt::wait_for_pod(&server);
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        assert!(errors(&output).contains("interrupted"), "{}", errors(&output));
        assert_eq!(server.own_pods(), [""; 0], "{}", errors(&output));
        assert!(!target.exists());
    }
}

#[test]
fn what_it_says_of_itself_has_the_name_that_was_typed() {
    let plugin = plugin();
    for kubectl in kubectls() {
        for words in
            [&["flowtrace", "--help"][..], &["flowtrace", "explain", "--help"], &["flowtrace", "collect", "--help"]]
        {
            let help = out(&run(&kubectl, &plugin, words));
            assert!(help.contains("Usage: kubectl flowtrace"), "{help}");
            assert!(help.contains("  kubectl flowtrace ") || words.len() == 2, "{help}");
            for line in help.lines() {
                let plain = line.contains("flowtrace explain") || line.contains("flowtrace collect [");
                assert!(!plain || line.contains("kubectl flowtrace"), "{line}");
                assert!(line.chars().count() <= 100, "{line}");
            }
        }
        let wrong = run(&kubectl, &plugin, &["flowtrace", "explain", "--nonsense"]);
        assert_eq!(wrong.status.code(), Some(2));
        assert!(errors(&wrong).contains("Usage: kubectl flowtrace explain"), "{}", errors(&wrong));
    }
    let own = Command::new(program()).args(["explain", "--help"]).output().unwrap();
    assert!(!out(&own).contains("kubectl flowtrace explain"));
}

#[test]
fn kubectl_completes_the_plugins_words() {
    let plugin = plugin();
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    // Plugins' completions are asked for from kubectl 1.26 on.
    let told = out(&run(&kubectl, &plugin, &["__complete", "flowtrace", "expl"]));
    assert!(told.starts_with("explain\t") && told.contains(":4"), "{told}");
    let told = out(&run(&kubectl, &plugin, &["__complete", "flowtrace", "explain", "--node-access", ""]));
    assert!(told.contains("exec") && told.contains("pod"), "{told}");
    let listed = out(&run(&kubectl, &plugin, &["plugin", "list"]));
    assert!(listed.contains("kubectl-flowtrace"), "{listed}");
    fs::remove_file(plugin.path.join("kubectl-flowtrace")).unwrap();
}
