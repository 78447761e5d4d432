//! A question to a cluster: only the nodes and pods that it concerns are taken, and the answer is the same as on the
//! snapshot of everything.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use flowtrace::load::load;
use serde_json::{Value, json};

use crate::lab::apiserver::{ApiServer, KUBECTLS, kubectl_or_skip};
use crate::lab::build::Lab;
use crate::lab::explain::program;
use crate::lab::situations;
use crate::lab::snapshot::Form;
use crate::small::{Small, errors, folder, kubectls};

/// What an answer says, without where it stands and what the snapshot lacks.
fn told(answer: &[u8]) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for key in ["evidence", "gaps", "findings", "request"] {
                    fields.remove(key);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_slice(answer).unwrap();
    strip(&mut value);
    value
}

#[test]
fn the_answer_is_that_of_the_whole_snapshot_and_only_who_is_concerned_is_taken() {
    if !crate::lab::ready::ready() {
        return;
    }
    let _machine = crate::lab::ready::beside_others();
    let questions: [(&[&str], &[&str]); 6] = [
        (&["default/pod1", "shop/web-1"], &["n1/host", "n1/pods/default_pod1", "n2/host", "n2/pods/shop_web-1"]),
        (
            &["default/pod1", "svc/shop/cluster"],
            &["n1/host", "n1/pods/default_pod1", "n1/pods/shop_web-0", "n2/host", "n2/pods/shop_web-1"],
        ),
        (&["default/pod1", "203.0.113.9:443"], &["n1/host", "n1/pods/default_pod1"]),
        (&["node/n3", "10.244.1.4:8080", "--proto", "tcp"], &["n1/host", "n1/pods/shop_web-0", "n3/host"]),
        (
            &["203.0.113.9", "192.0.2.13:30080", "--proto", "tcp"],
            &["n1/host", "n1/pods/shop_web-0", "n2/host", "n2/pods/shop_web-1", "n3/host"],
        ),
        (&["default/pod1", "192.0.2.151:80"], &["n1/host", "n1/pods/default_pod1", "n2/host", "n2/pods/shop_web-1"]),
    ];
    let lab = Lab::build(&situations::services()).unwrap();
    let folder = folder("question");
    let whole = folder.path.join("whole");
    fs::create_dir_all(&whole).unwrap();
    lab.snapshot(&whole, Form::Text).unwrap();
    let server = ApiServer::start(&lab.api_state(&json!([]))).unwrap();
    for (number, (words, concerned)) in questions.into_iter().enumerate() {
        let Some(kubectl) = kubectl_or_skip(KUBECTLS[number % 2]) else { continue };
        let mut wanted = Command::new(program());
        wanted.arg("explain").args(words).arg("--snapshot").arg(&whole).args(["-o", "json"]);
        let wanted = wanted.output().unwrap();
        let save = folder.path.join(number.to_string());
        let saved = save.to_string_lossy();
        let asked = server.run(&kubectl, &[&["explain"], words, &["--save", &saved, "-o", "json"]].concat());
        let said = errors(&asked);
        assert_eq!(asked.status.code(), wanted.status.code(), "{words:?}: {said}");
        assert_eq!(told(&asked.stdout), told(&wanted.stdout), "{words:?}: {said}");
        let taken = load(&save).unwrap();
        let dirs = taken.namespaces.iter().map(|netns| netns.dir["nodes/".len()..].to_owned());
        assert_eq!(dirs.collect::<BTreeSet<_>>(), concerned.iter().map(|dir| (*dir).to_owned()).collect(), "{words:?}");
    }
    assert_eq!(server.own_pods(), [""; 0]);
}

#[test]
fn nothing_is_kept_that_nobody_wants_to_keep() {
    let Some(small) = Small::new() else { return };
    let Some(kubectl) = kubectls().into_iter().next() else { return };
    let server = small.server(&json!([]));
    let folder = folder("temporary");
    let mut command = server.command(&kubectl, &["rules", "n1"]);
    let output = command.env("TMPDIR", &folder.path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 0);
    assert_eq!(server.names("made").len(), 1);
    let output = server.run(&kubectl, &["rules", "shop/b"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(
        errors(&output).contains("node n2: 2 namespaces") && !errors(&output).contains("n1"),
        "{}",
        errors(&output)
    );
}

/// A kubeconfig whose context names a Kubernetes namespace.
fn kubeconfig(path: &Path, server: &ApiServer, namespace: &str) {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": server.url()}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "me", "namespace": namespace}}],
    });
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn a_kubeconfig_is_enough_and_its_namespace_is_the_names() {
    let Some(small) = Small::new() else { return };
    let server = small.server(&json!([]));
    let folder = folder("kubeconfig");
    let config = folder.path.join("config");
    kubeconfig(&config, &server, "shop");
    for kubectl in kubectls() {
        let bin = kubectl.parent().unwrap().to_string_lossy().into_owned();
        let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
        let run = |words: &[&str], config: &Path| {
            let mut command = Command::new(program());
            command.args(words).env("PATH", &path).env("HOME", &folder.path).env("KUBECONFIG", config);
            command.output().unwrap()
        };
        let output = run(&["explain", "a", "b"], &config);
        let said = errors(&output);
        // The two nodes of this cluster are not connected.
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("shop/a"), "{said}");
        assert!(said.contains("node n1: 2 namespaces") && said.contains("node n2: 2 namespaces"), "{said}");
        let output = run(&["explain", "a", "nobody"], &config);
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains("no pod \"nobody\" in namespace \"shop\""), "{}", errors(&output));
        let output = run(&["explain", "a", "b", "--context", "nope"], &config);
        assert!(errors(&output).contains("kubectl has no such cluster"), "{}", errors(&output));
        let output = run(&["explain", "a", "b"], Path::new(""));
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains("give --snapshot PATH, or --demo"), "{}", errors(&output));
        let output = run(&["explain", "a", "b", "--demo", "--context", "lab"], &config);
        assert!(errors(&output).contains("--context is about a cluster that is asked"), "{}", errors(&output));
    }
}
