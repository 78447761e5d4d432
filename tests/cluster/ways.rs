//! The ways onto a node: a privileged pod that is there, one that is made, and a file.

use flowtrace::load::load;
use serde_json::{Value, json};

use crate::lab::apiserver::{ApiServer, KUBECTLS, kubectl_or_skip};
use crate::lab::judge::Folder;
use crate::lab::machine::{Taker, words};
use crate::lab::netns::{Netns, must};
use crate::lab::recording::Recording;
use crate::lab::situations;
use crate::small::{Small, errors, folder, kubectls, pod, several_at_once};

/// A server whose node n2 has a privileged pod that sees the node's root.
fn with_door(small: &Small, host_path: bool, faults: &Value) -> ApiServer {
    let mut state = small.state(faults);
    let mut door = pod("ops", "agent", 2);
    let spec = &mut door["spec"];
    spec["containers"][0]["securityContext"] = json!({"privileged": true});
    if host_path {
        spec["volumes"] = json!([{"name": "root", "hostPath": {"path": "/"}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "root", "mountPath": "/host"}]);
    } else {
        spec["hostPID"] = true.into();
    }
    state["objects"]["pods"].as_array_mut().unwrap().push(door);
    ApiServer::start(&state).unwrap()
}

fn dirs(folder: &Folder, name: &str) -> Vec<String> {
    load(&folder.path.join(name)).unwrap().namespaces.iter().map(|netns| netns.dir.clone()).collect()
}

#[test]
fn a_privileged_pod_that_is_there_is_used_before_one_is_made() {
    let Some(small) = Small::new() else { return };
    for kubectl in kubectls() {
        for host_path in [true, false] {
            let server = with_door(&small, host_path, &json!([]));
            let folder = folder("door");
            let target = folder.path.join("case");
            let output = server.run(&kubectl, &["collect", "-w", &target.to_string_lossy()]);
            let said = errors(&output);
            assert_eq!(output.status.code(), Some(0), "{said}");
            assert!(said.contains("node n2: 2 namespaces through pod ops/agent"), "{said}");
            assert!(said.contains("node n1: 2 namespaces through own pod kube-system/flowtrace-"), "{said}");
            let wanted = ["nodes/n1/host", "nodes/n1/pods/shop_a", "nodes/n2/host", "nodes/n2/pods/shop_b"];
            assert_eq!(dirs(&folder, "case"), wanted);
            assert_eq!(server.names("made").len(), 1, "{said}");
            assert_eq!(server.own_pods(), [""; 0]);
        }
    }
}

#[test]
fn a_server_without_websockets_is_asked_by_spdy() {
    let Some(small) = Small::new() else { return };
    for kubectl in kubectls() {
        let server = with_door(&small, true, &json!([{"call": "upgrade websocket", "status": 400}]));
        let folder = folder("spdy");
        let target = folder.path.join("case.tar.gz");
        let output = server
            .run(&kubectl, &["collect", "--node-access", "exec", "--node", "n2", "-w", &target.to_string_lossy()]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(dirs(&folder, "case.tar.gz"), ["nodes/n2/host", "nodes/n2/pods/shop_b"]);
    }
}

#[test]
fn where_one_way_is_cut_the_next_one_is_taken() {
    let Some(small) = Small::new() else { return };
    for kubectl in kubectls() {
        let server = with_door(&small, true, &json!([{"call": "(GET|POST) .*/exec", "cut": 2000}]));
        let folder = folder("cut");
        let target = folder.path.join("case");
        let path = target.to_string_lossy();
        let output = server.run(&kubectl, &["collect", "--node", "n2", "-w", &path]);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("node n2: 2 namespaces through own pod"), "{said}");
        assert_eq!(dirs(&folder, "case"), ["nodes/n2/host", "nodes/n2/pods/shop_b"]);
        let other = folder.path.join("other");
        let output = server.run(&kubectl, &["collect", "--node-access", "exec", "-w", &other.to_string_lossy()]);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("node n1: not read: no privileged pod that sees the node's files runs on n1"), "{said}");
        assert!(said.contains("node n2: not read: through pod ops/agent: ") && said.contains("cut"), "{said}");
        assert_eq!(server.own_pods(), [""; 0]);
    }
}

#[test]
fn a_way_that_hangs_leaves_time_for_the_next_one() {
    let Some(small) = Small::new() else { return };
    several_at_once(&kubectls(), |kubectl| {
        let server = with_door(&small, true, &json!([{"call": "(GET|POST) .*/exec", "hang": true}]));
        let folder = folder("hung");
        let target = folder.path.join("case");
        let path = target.to_string_lossy();
        let output = server.run(kubectl, &["collect", "--node", "n2", "--timeout", "30", "-w", &path]);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("node n2: 2 namespaces through own pod"), "{said}");
        assert_eq!(server.own_pods(), [""; 0]);
    });
}

#[test]
fn what_a_given_snapshot_lacks_is_told_and_is_a_gap_of_the_whole() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let server = small.server(&json!([]));
    let folder = folder("cut-bundle");
    let host = folder.path.join("n2/nodes/n2/host");
    std::fs::create_dir_all(&host).unwrap();
    std::fs::write(host.join("link.txt"), "").unwrap();
    std::fs::write(host.join("sysctl"), "net.ipv4.ip_forward = 1\0").unwrap();
    let bundle = folder.path.join("n2.tar").to_string_lossy().into_owned();
    must("tar", &["-C", &folder.path.join("n2").to_string_lossy(), "-cf", &bundle, "nodes"], "").unwrap();
    let bytes = std::fs::read(&bundle).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(512);
    std::fs::write(&bundle, &bytes[..end]).unwrap();
    let target = folder.path.join("case");
    let output = server.run(&kubectl, &["collect", "--node-bundle", &bundle, "-w", &target.to_string_lossy()]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("2 of 2 nodes") && said.contains("n2.tar: the archive has no end mark"), "{said}");
    assert!(said.contains("nodes/n2/host/sysctl is not text"), "{said}");
    let gaps: Vec<String> = load(&target).unwrap().gaps.iter().map(|gap| gap.what.clone()).collect();
    for what in ["has no end mark", "sysctl is not text"] {
        assert!(gaps.iter().any(|gap| gap.contains(what)), "{gaps:?}");
    }
}

#[test]
fn what_a_node_could_not_give_is_told() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let mut state = small.state(&json!([]));
    let (host, pod, old) = (Netns::new("n2").unwrap(), Netns::new("b").unwrap(), Netns::new("old").unwrap());
    let mut machine = words(&host, &[("shop", "b", &pod), ("shop", "b", &old)]);
    // A machine whose nft fails.
    let broken = "mount --bind /bin/false \"$(readlink -f \"$(command -v nft)\")\" && exec \"$@\"";
    machine.extend(["sh", "-c", broken, "sh"].map(str::to_owned));
    state["machines"]["n2"] = json!(machine);
    let server = ApiServer::start(&state).unwrap();
    let folder = folder("lacks");
    let target = folder.path.join("case");
    let output = server.run(&kubectl, &["collect", "-w", &target.to_string_lossy()]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("not taken: nodes/n2/host/nft.txt: nft"), "{said}");
    assert!(said.contains("note: n2: there are two namespaces of shop_b") && !said.contains("n1/host"), "{said}");
}

#[test]
fn a_node_whose_snapshot_is_given_is_not_asked() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let server = small.server(&json!([]));
    let folder = folder("bundle");
    let (first, second) = (folder.path.join("n2.tar.gz"), folder.path.join("case"));
    let output = server.run(&kubectl, &["collect", "--node", "n2", "-w", &first.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let bundle = first.to_string_lossy();
    let output = server.run(&kubectl, &["collect", "--node-bundle", &bundle, "-w", &second.to_string_lossy()]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("node n2: 2 namespaces from {bundle}")) && said.contains("2 of 2 nodes"), "{said}");
    assert_eq!(server.names("made").len(), 2, "{said}");
    assert_eq!(dirs(&folder, "case").len(), 4);
    let third = folder.path.join("third");
    let words = ["collect", "--node-bundle", &bundle, "--node-bundle", &bundle, "-w"];
    let output = server.run(&kubectl, &[&words[..], &[&third.to_string_lossy()]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("node n2 is in another one too"), "{}", errors(&output));
    assert!(!third.exists());
}

#[test]
fn explain_agrees_with_the_kernel_on_what_a_cluster_gives() {
    if !crate::lab::ready::ready() || !KUBECTLS.iter().all(|which| kubectl_or_skip(which).is_some()) {
        return;
    }
    let mut scenario = situations::services();
    scenario.probes.truncate(12);
    let asked = scenario.probes.len();
    let takers = KUBECTLS.map(Taker::Kubectl);
    let told = Recording::taken_by(scenario, &takers).unwrap().judge();
    assert!(told.wrong.is_empty() && told.asked >= asked, "{}", told.wrong.join("\n\n"));
}
