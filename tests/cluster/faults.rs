//! What goes wrong in a cluster, each thing with one clear message, and nothing left behind.

use std::fs;
use std::path::Path;

use flowtrace::load::load;
use serde_json::{Value, json};

use crate::small::{Small, errors, folder, kubectls, several_at_once};

const POD_SECURITY: &str = "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces \
                            (hostNetwork=true, hostPID=true), privileged (container \"flowtrace\" must not set \
                            securityContext.privileged=true)";

/// A fault, the options beside it, the exit code, and what must be said.
#[derive(Clone)]
struct Case {
    fault: Value,
    options: &'static [&'static str],
    code: i32,
    said: &'static [&'static str],
    /// The nodes of which something was kept.
    kept: &'static [&'static str],
}

fn lists(status: u16, reason: &str, message: &str) -> Value {
    json!({"call": "GET /.*/(nodes|pods|services|endpointslices|networkpolicies)", "status": status, "reason": reason,
           "message": message})
}

/// The objects can't be had, or not all of them.
fn of_objects() -> Vec<Case> {
    vec![
        Case {
            fault: lists(401, "Unauthorized", "Unauthorized"),
            options: &[],
            code: 2,
            said: &["the login to the cluster is not accepted, or has expired", "log in again"],
            kept: &[],
        },
        Case {
            fault: lists(
                403,
                "Forbidden",
                "pods is forbidden: User \"eve\" cannot list resource \"pods\" at the cluster scope",
            ),
            options: &[],
            code: 2,
            said: &["this user may not do that", "User \"eve\" cannot list", "--node-bundle"],
            kept: &[],
        },
        Case {
            fault: json!({"call": "GET /api/v1/services", "status": 403, "reason": "Forbidden",
                          "message": "services is forbidden: User \"eve\" cannot list resource \"services\""}),
            options: &[],
            code: 3,
            said: &["not taken: cluster/services.json", "User \"eve\" cannot list", "2 of 2 nodes"],
            kept: &["n1", "n2"],
        },
        Case {
            fault: json!({"call": "GET .*/endpointslices", "status": 404, "reason": "NotFound",
                          "message": "the server could not find the requested resource"}),
            options: &[],
            code: 3,
            said: &["not taken: cluster/endpointslices.json: it is not there", "2 of 2 nodes"],
            kept: &["n1", "n2"],
        },
        Case {
            fault: json!({"call": "GET /api/v1/(nodes|pods)", "hang": true}),
            options: &["--timeout", "2"],
            code: 2,
            said: &["no answer came in time", "--timeout"],
            kept: &[],
        },
    ]
}

/// A pod can't be made, or never begins.
fn of_pods() -> Vec<Case> {
    vec![
        Case {
            fault: json!({"call": "POST .*/pods", "status": 403, "reason": "Forbidden", "message": POD_SECURITY}),
            options: &[],
            code: 2,
            said: &[
                "node n1: not read: the cluster allows no such pod",
                "violates PodSecurity",
                "--node-namespace",
                "--node-access exec",
                "no node could be read",
            ],
            kept: &[],
        },
        Case {
            fault: json!({"call": "POST .*/pods", "status": 403, "reason": "Forbidden",
                          "message": "pods \"x\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2"}),
            options: &[],
            code: 2,
            said: &["the Kubernetes namespace takes no such pod now", "exceeded quota: small", "--node-namespace"],
            kept: &[],
        },
        Case {
            fault: json!({"call": "POST .*/pods", "status": 404, "reason": "NotFound",
                          "message": "namespaces \"nowhere\" not found"}),
            options: &["--node-namespace", "nowhere"],
            code: 2,
            said: &["it is not there", "namespaces \"nowhere\" not found"],
            kept: &[],
        },
        Case {
            fault: json!({"node": "n2", "pod": "pending"}),
            options: &["--timeout", "15"],
            code: 3,
            said: &[
                "node n2: not read: no answer came in time",
                "the node's kubelet has not taken it up",
                "kubectl get node n2",
                "1 of 2 nodes",
            ],
            kept: &["n1"],
        },
        Case {
            fault: json!({"node": "n2", "pod": "image"}),
            options: &[],
            code: 3,
            said: &["node n2: not read: pod flowtrace-", "ImagePullBackOff", "--image", "1 of 2 nodes"],
            kept: &["n1"],
        },
        Case {
            fault: json!({"node": "n2", "pod": "between"}),
            options: &["--timeout", "20"],
            code: 3,
            said: &["node n2: not read: pod flowtrace-", "ImagePullBackOff", "1 of 2 nodes"],
            kept: &["n1"],
        },
    ]
}

/// A log can't be read, or not all of it.
fn of_logs() -> Vec<Case> {
    vec![
        Case {
            fault: json!({"call": "GET .*-1/log", "cut": 1000, "times": 1}),
            options: &[],
            code: 0,
            said: &["2 of 2 nodes"],
            kept: &["n1", "n2"],
        },
        Case {
            fault: json!({"call": "GET .*-1/log", "cut": 1000}),
            options: &[],
            code: 3,
            said: &["not read: ", "cut", "1 of 2 nodes"],
            kept: &["n"],
        },
        Case {
            fault: json!({"call": "GET .*-1/log", "skip": 500}),
            options: &[],
            code: 3,
            said: &["not read: ", "its log was rotated", "1 of 2 nodes"],
            kept: &["n"],
        },
        Case {
            fault: json!({"call": "GET .*/log", "hang": true}),
            options: &["--timeout", "15"],
            code: 2,
            said: &["node n1: not read: no answer came in time", "--timeout", "no node could be read"],
            kept: &[],
        },
        Case {
            fault: json!({"call": "GET .*-1/log", "status": 500, "reason": "InternalError", "message": "Internal error: boom"}),
            options: &[],
            code: 3,
            said: &["not read: ", "boom", "1 of 2 nodes"],
            kept: &["n"],
        },
    ]
}

#[test]
fn whatever_fails_is_told_and_no_pod_is_left() {
    let Some(small) = Small::new() else { return };
    let cases = [of_objects(), of_pods(), of_logs()].concat();
    let kubectls = kubectls();
    let all: Vec<_> = kubectls.iter().flat_map(|kubectl| cases.iter().map(move |case| (kubectl, case))).collect();
    several_at_once(&all, |(kubectl, case)| {
        let server = small.server(&json!([case.fault]));
        let folder = folder("fault");
        let target = folder.path.join("case");
        let path = target.to_string_lossy();
        let words = [&["collect", "-w", &path], case.options].concat();
        let output = server.run(kubectl, &words);
        let said = errors(&output);
        let shown = format!("{} {}: {said}", kubectl.display(), case.fault);
        assert_eq!(output.status.code(), Some(case.code), "{shown}");
        for part in case.said {
            assert!(said.contains(part), "{part}\n{shown}");
        }
        assert_eq!(server.own_pods(), [""; 0], "{shown}");
        let kept = kept(&target);
        let right = if case.kept == ["n"] { kept.len() == 1 } else { kept == case.kept };
        assert!(right, "{kept:?}\n{shown}");
    });
}

/// The nodes of a snapshot. Where there is none, there is no folder either.
fn kept(snapshot: &Path) -> Vec<String> {
    if !snapshot.exists() {
        return Vec::new();
    }
    load(snapshot).unwrap().nodes.keys().map(ToString::to_string).collect()
}

#[test]
fn what_a_node_lacks_is_a_gap_of_the_snapshot() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let server = small.server(&json!([{"node": "n2", "pod": "image"}]));
    let folder = folder("gap");
    let target = folder.path.join("case.tar.gz");
    let output = server.run(&kubectl, &["collect", "-w", &target.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
    let gaps: Vec<String> = load(&target).unwrap().gaps.iter().map(|gap| gap.what.clone()).collect();
    assert!(gaps.iter().any(|gap| gap.contains("nodes/n2") && gap.contains("ImagePullBackOff")), "{gaps:?}");
}

#[test]
fn a_pod_that_can_not_be_deleted_is_named_and_cleanup_deletes_it_later() {
    let Some(small) = Small::new() else { return };
    for kubectl in kubectls() {
        let server = small.server(&json!([{"call": "DELETE .*", "status": 403, "reason": "Forbidden",
                                           "message": "pods \"x\" is forbidden: User \"eve\" cannot delete", "times": 3}]));
        let folder = folder("stays");
        let target = folder.path.join("case");
        let output = server.run(&kubectl, &["collect", "--node", "n1", "-w", &target.to_string_lossy()]);
        let said = errors(&output);
        let left = server.own_pods();
        assert_eq!((output.status.code(), left.len()), (Some(3), 1), "{said}");
        assert!(
            said.contains(&format!("these pods remain: {}", left[0])) && said.contains("flowtrace cleanup"),
            "{said}"
        );
        let output = server.run(&kubectl, &["cleanup"]);
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        assert!(errors(&output).contains("cannot delete") && errors(&output).contains(&left[0]), "{}", errors(&output));
        let output = server.run(&kubectl, &["cleanup"]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{} deleted\n", left[0]));
        assert_eq!(server.names("pods"), ["shop/a", "shop/b"]);
        let output = server.run(&kubectl, &["cleanup"]);
        assert!(output.stdout.is_empty() && errors(&output).contains("no pod is left"), "{}", errors(&output));
    }
}

#[test]
fn a_pod_of_a_dead_node_is_named() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let server = small.server(&json!([{"node": "n2", "pod": "stuck"}]));
    let folder = folder("stuck");
    let target = folder.path.join("case");
    let output = server.run(&kubectl, &["collect", "--node", "n2", "-w", &target.to_string_lossy()]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("these pods remain: kube-system/flowtrace-"), "{said}");
}

#[test]
fn a_cluster_that_is_not_there_is_said_to_be() {
    for kubectl in kubectls() {
        let folder = folder("nowhere");
        let target = folder.path.join("case");
        let run = |words: &[&str]| {
            let program = crate::lab::explain::program();
            let mut command = std::process::Command::new(program);
            command.args(["collect", "-w", &target.to_string_lossy(), "--kubectl", &kubectl.to_string_lossy()]);
            let output = command.args(words).env("HOME", "/nonexistent").env_remove("KUBECONFIG").output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
            assert!(output.stdout.is_empty() && !target.exists());
            errors(&output)
        };
        let said = run(&["--server", "http://127.0.0.1:1"]);
        assert!(said.contains("the cluster can't be reached") && said.contains("kubectl get nodes"), "{said}");
        let said = run(&["--context", "nope"]);
        assert!(said.contains("kubectl has no such cluster") && said.contains("get-contexts"), "{said}");
        let said = run(&["--kubeconfig", "/nonexistent/config"]);
        assert!(said.contains("kubectl has no such cluster"), "{said}");
    }
    let folder = folder("no-kubectl");
    let mut command = std::process::Command::new(crate::lab::explain::program());
    command.args(["collect", "-w", &folder.path.join("case").to_string_lossy(), "--kubectl", "/nonexistent/kubectl"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("/nonexistent/kubectl is not"), "{}", errors(&output));
}

#[test]
fn a_server_that_goes_away_in_between_leaves_pods_that_are_named() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let folder = folder("gone");
    let target = folder.path.join("case");
    let server = small.server(&json!([{"node": "n1", "pod": "pending"}]));
    let words = ["collect", "--node", "n1", "-w", &target.to_string_lossy()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = server.command(&kubectl, &words);
    let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    crate::interrupt::wait_for_pod(&server);
    drop(server);
    let output = child.wait_with_output().unwrap();
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("these pods remain: kube-system/flowtrace-"), "{said}");
    assert!(!fs::exists(&target).unwrap());
}
