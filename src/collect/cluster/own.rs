//! Pods of our own: what they are made of, and how all of them are deleted.

use std::time::Duration;

use serde_json::json;

use super::frame;
use super::kubectl::{Kubectl, Until};
use super::refusal::Refusal;

/// The label that every own pod has.
pub(super) const LABEL: &str = "app.kubernetes.io/managed-by=flowtrace";
/// The label of the pods of one run.
const RUN: &str = "flowtrace/run";
/// How long a deletion may take: the pods have nothing to finish.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// kubectl gives up waiting a little before.
const WAIT: &str = "--timeout=20s";
/// So much longer than it is waited for a pod it may live.
const SLACK: Duration = Duration::from_secs(60);

/// A short-lived pod on a node, as JSON: it sees the node's processes, network and files, and runs the node's own
/// programs. The node's root file system can't be written, while what is mounted below it is as it is there; what the
/// script keeps for a moment goes with the pod.
pub(super) fn manifest(name: &str, run: &str, node: &str, image: &str, patience: Duration, words: &[String]) -> String {
    let command: Vec<&str> = ["chroot", "/host", "sh", "-c"].into_iter().collect();
    let sender = frame::sender();
    let args = [sender.as_str(), "flowtrace"].into_iter().chain(words.iter().map(String::as_str));
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/name": "flowtrace", "app.kubernetes.io/managed-by": "flowtrace", RUN: run},
        },
        "spec": {
            "nodeName": node,
            "hostNetwork": true,
            "hostPID": true,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": (patience + SLACK).as_secs(),
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "flowtrace",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": command.into_iter().chain(args).collect::<Vec<_>>(),
                "securityContext": {"privileged": true},
                "volumeMounts": [
                    {"name": "host", "mountPath": "/host", "readOnly": true},
                    {"name": "tmp", "mountPath": "/host/tmp"},
                ],
            }],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}, {"name": "tmp", "emptyDir": {}}],
        },
    });
    pod.to_string()
}

/// Deletes the pods of a run, however the run went. The names of those that remain, or may.
pub(super) fn delete(kubectl: &Kubectl<'_>, namespace: &str, run: &str, made: &[String]) -> Vec<String> {
    let label = format!("{LABEL},{RUN}={run}");
    let words = ["delete", "pods", "-n", namespace, "-l", &label, "--ignore-not-found", WAIT];
    // Whether it went well is what the list tells.
    let _ = kubectl.text(&words, "", Until::even_so(PATIENCE));
    list(kubectl, &["-n", namespace], &label, Until::even_so(PATIENCE)).map_or_else(
        |_| made.iter().map(|name| format!("{namespace}/{name}")).collect(),
        |left| left.into_iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect(),
    )
}

/// The own pods that are there: namespaces and names. `place` are the words that say where to look.
pub(super) fn list(
    kubectl: &Kubectl<'_>,
    place: &[&str],
    label: &str,
    until: Until,
) -> Result<Vec<(String, String)>, Refusal> {
    let template = "jsonpath={range .items[*]}{.metadata.namespace}{\" \"}{.metadata.name}{\"\\n\"}{end}";
    let words = [&["get", "pods", "-l", label, "-o", template], place].concat();
    let text = kubectl.text(&words, "", until)?;
    let pair = |line: &str| line.split_once(' ').map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    Ok(text.lines().filter_map(pair).collect())
}

/// Deletes pods of one namespace, and waits until they are gone.
pub(super) fn delete_named(kubectl: &Kubectl<'_>, namespace: &str, names: &[&str]) -> Result<(), Refusal> {
    let words = [&["delete", "pods", "-n", namespace, "--ignore-not-found", WAIT], names].concat();
    kubectl.text(&words, "", Until::even_so(PATIENCE)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_labelled_and_ends_by_itself() {
        let words = ["n1".to_owned(), "shop_web-0".to_owned()];
        let pod: serde_json::Value =
            serde_json::from_str(&manifest("flowtrace-1-n1", "1", "n1", "busybox", Duration::from_secs(300), &words))
                .unwrap();
        assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/managed-by"], "flowtrace");
        assert_eq!(pod["spec"]["activeDeadlineSeconds"], 360);
        let command = pod["spec"]["containers"][0]["command"].as_array().unwrap();
        assert_eq!(command[..4], ["chroot", "/host", "sh", "-c"]);
        assert_eq!(command[5..], ["flowtrace", "n1", "shop_web-0"]);
    }
}
