//! What the messages name: the file, the command or the folder that is wanted.

use serde_json::Value;

use super::bundled::{Files, Form};
use super::program::flowtrace;

const N1: &str = "nodes/n1/host/";
const N2: &str = "nodes/n2/host/";

fn vxlan() -> Files {
    Files::bundled("vxlan")
}

/// The answer as JSON, and as text on one line.
fn ask(files: &Files, to: &str, more: &[&str]) -> (Option<i32>, Value, String) {
    let there = files.write(Form::Tar);
    let question = ["explain", "--snapshot", there.as_str(), "default/pod1", to];
    let ran = flowtrace(&[&question[..], more, &["-o", "json"]].concat());
    let json = serde_json::from_str(&ran.out).unwrap_or_else(|err| panic!("{err}: {ran:?}"));
    let text = flowtrace(&[&question[..], more].concat()).out;
    (ran.code, json, text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Checks that the way to `default/pod2` lacks something, in these words.
fn check_lacks(files: &Files, words: &[&str]) -> String {
    let (code, json, text) = ask(files, "default/pod2", &["--no-reply"]);
    let forward = &json["paths"][0]["forward"];
    assert_eq!((code, &forward["reason"]), (Some(3), &Value::from("missing-table")), "{text}");
    let detail = forward["steps"].as_array().and_then(|steps| steps.last()?["detail"].as_str()).unwrap_or_default();
    assert!(words.iter().all(|words| detail.contains(words)), "{words:?}: {detail}");
    text
}

/// A link file as `ip link show` prints it without `-d`.
fn without_details(text: &str) -> String {
    let is_kept = |line: &&str| !line.starts_with(' ') || line.trim_start().starts_with("link/");
    let lines = text.lines().filter(is_kept).map(|line| line.split(" promiscuity").next().unwrap_or(line));
    lines.fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn a_link_file_without_details_is_a_missing_table() {
    let files = vxlan().edit(&format!("{N1}link.txt"), without_details);
    let text = check_lacks(&files, &["nodes/n1/host/link.txt", "`ip -d link show`", "flannel.1"]);
    assert!(
        text.contains("Try: `ip -d link show` on n1: put what it prints into nodes/n1/host/ as link.txt"),
        "{text}"
    );
    let receiver = vxlan().edit(&format!("{N2}link.txt"), without_details);
    let (code, _, text) = ask(&receiver, "default/pod2", &["--no-reply"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("nodes/n2/host/link.txt was taken without -d"), "{text}");
}

#[test]
fn a_pod_whose_folder_is_missing_is_named() {
    let files = Files(vxlan().0.into_iter().filter(|(path, _)| !path.starts_with("nodes/n2/pods/")).collect());
    check_lacks(&files, &["the snapshot has no nodes/n2/pods/default_pod2", "10.244.2.2"]);
    let one = Files(vxlan().0.into_iter().filter(|(path, _)| !path.contains("default_pod2/")).collect());
    check_lacks(&one, &["the snapshot has no nodes/n2/pods/default_pod2", "10.244.2.2"]);
}

#[test]
fn a_link_file_that_shows_no_device_is_named() {
    for content in ["", "bash: ip: command not found\n", "[]"] {
        let name = if content == "[]" { "link.json" } else { "link.txt" };
        let files = vxlan().without(&format!("{N1}link.txt")).with(&format!("{N1}{name}"), content);
        check_lacks(&files, &[&format!("nodes/n1/host/{name} shows no device"), "`ip -d link show`"]);
        let files = vxlan().without(&format!("{N2}link.txt")).with(&format!("{N2}{name}"), content);
        let (code, _, text) = ask(&files, "default/pod2", &["--no-reply"]);
        assert_eq!(code, Some(3), "{content:?}: {text}");
        assert!(text.contains(&format!("nodes/n2/host/{name} shows no device")), "{content:?}: {text}");
    }
}

#[test]
fn kubernetes_objects_that_could_not_be_read_are_told() {
    let told = |file: &str, to: &str| {
        let path = format!("cluster/{file}");
        let (_, json, _) = ask(&vxlan().with(&path, "error: the server is gone\n"), to, &[]);
        json["gaps"].to_string().contains(&format!("\"file\":\"{path}\",\"line\":1"))
    };
    for file in ["nodes.json", "networkpolicies.json"] {
        assert!(told(file, "default/pod2"), "{file}");
    }
    for file in ["pods.json", "services.json"] {
        assert!(told(file, "10.244.2.2"), "{file}");
    }
    assert!(told("endpointslices.json", "svc/shop/web"));
    assert!(told("endpointslices.json", "kube-dns.kube-system.svc.cluster.local:53"));
}

#[test]
fn ways_that_were_cut_off_are_told_in_one_line() {
    let there = vxlan().write(Form::Tar);
    let ask = |most: &str| {
        flowtrace(&["explain", "--snapshot", there.as_str(), "default/pod1", "svc/shop/web", "--max-paths", most])
    };
    let (cut, whole) = (ask("1"), ask("2"));
    assert_eq!((cut.code, whole.code), (Some(3), Some(0)));
    let line = "... 1/2 was not walked, which leaves the answer open: ask for --max-paths 2 or more";
    assert!(cut.out.lines().any(|other| other.trim() == line), "{}", cut.out);
    assert!(!whole.out.contains("--max-paths"));
    assert!(flowtrace(&["explain", "--help"]).out.contains("exit code 3"));
}
