//! What the pods' objects say about ways onto a node: pods that are there already, may do anything, and see the node's
//! files.

use serde::Deserialize;

use super::is_name;

/// A container that can become the node by changing its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Door {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    /// The node's root in it.
    pub root: String,
}

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.pod)
    }
}

#[derive(Deserialize)]
struct List {
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    #[serde(rename = "hostPID")]
    host_pid: bool,
    containers: Vec<Container>,
    volumes: Vec<Volume>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    security_context: Option<SecurityContext>,
    volume_mounts: Vec<Mount>,
}

#[derive(Deserialize)]
struct SecurityContext {
    privileged: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    name: String,
    mount_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    host_path: Option<HostPath>,
}

#[derive(Deserialize)]
struct HostPath {
    path: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    state: State,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    running: Option<serde::de::IgnoredAny>,
}

/// The ways onto each node, with the node's name; those with the node's files mounted first. Objects that are not
/// understood open none.
pub(super) fn doors(pods: &str) -> Vec<(String, Door)> {
    let list = serde_json::from_str::<List>(pods).map(|list| list.items).unwrap_or_default();
    let mut found: Vec<(String, Door)> = list.iter().flat_map(of_pod).collect();
    found.sort_by_key(|(_, door)| door.root == INIT_ROOT);
    found
}

/// The node's root where a pod sees the node's processes.
const INIT_ROOT: &str = "/proc/1/root";

fn of_pod(pod: &Pod) -> Vec<(String, Door)> {
    let (Some(node), "Running", None) =
        (&pod.spec.node_name, pod.status.phase.as_str(), &pod.metadata.deletion_timestamp)
    else {
        return Vec::new();
    };
    let runs = |container: &&Container| {
        let states = &pod.status.container_statuses;
        states.iter().any(|status| status.name == container.name && status.state.running.is_some())
    };
    let privileged = |container: &&Container| {
        container.security_context.as_ref().and_then(|context| context.privileged).unwrap_or_default()
    };
    let doors = pod.spec.containers.iter().filter(privileged).filter(runs).filter_map(|container| {
        let root = root(pod, container)?;
        let Metadata { name, namespace, .. } = &pod.metadata;
        if ![name, namespace, &container.name].into_iter().all(|name| is_name(name)) || !root.starts_with('/') {
            return None;
        }
        let door = Door { namespace: namespace.clone(), pod: name.clone(), container: container.name.clone(), root };
        Some((node.clone(), door))
    });
    doors.collect()
}

/// Where a container sees the node's root.
fn root(pod: &Pod, container: &Container) -> Option<String> {
    let is_root = |mount: &&Mount| {
        let mut volumes = pod.spec.volumes.iter().filter(|volume| volume.name == mount.name);
        volumes.any(|volume| volume.host_path.as_ref().is_some_and(|host| host.path == "/"))
    };
    let mounted = container.volume_mounts.iter().find(is_root).map(|mount| mount.mount_path.clone());
    mounted.or_else(|| pod.spec.host_pid.then(|| INIT_ROOT.to_owned()))
}

/// Where a pod of ours stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not begun: what is known of why.
    Waits(String),
    /// It will not begin: why.
    Fails(String),
    /// Its log can be read.
    Begun,
}

/// Reasons for which a container waits that don't go away by themselves.
const HOPELESS: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// What a pod's object says of it.
pub(super) fn stage(pod: &serde_json::Value) -> Stage {
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let status = &pod["status"];
    let unknown = serde_json::Value::Null;
    let state = status.pointer("/containerStatuses/0/state").unwrap_or(&unknown);
    if state["running"].is_object() || state["terminated"].is_object() {
        return Stage::Begun;
    }
    let told = |of: &serde_json::Value| match (text(of, "reason"), text(of, "message")) {
        (reason, message) if message.is_empty() => reason,
        (reason, message) => format!("{reason}: {message}"),
    };
    if text(status, "phase") == "Failed" {
        return Stage::Fails(told(status));
    }
    let waiting = &state["waiting"];
    if HOPELESS.contains(&text(waiting, "reason").as_str()) {
        return Stage::Fails(told(waiting));
    }
    match told(waiting) {
        none if none.is_empty() => Stage::Waits("the node's kubelet has not taken it up".to_owned()),
        told => Stage::Waits(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: &serde_json::Value) -> serde_json::Value {
        json!({"metadata": {"name": "agent", "namespace": "ops"}, "spec": spec,
               "status": {"phase": "Running", "containerStatuses": [{"name": "a", "state": {"running": {}}}]}})
    }

    #[test]
    fn only_privileged_containers_that_run_and_see_the_node_are_doors() {
        let privileged = json!({"privileged": true});
        let mount = json!([{"name": "root", "mountPath": "/rootfs"}]);
        let volume = json!([{"name": "root", "hostPath": {"path": "/"}}]);
        let root = json!({"nodeName": "n1", "volumes": volume, "containers":
            [{"name": "a", "securityContext": privileged, "volumeMounts": mount}]});
        let pid =
            json!({"nodeName": "n2", "hostPID": true, "containers": [{"name": "a", "securityContext": privileged}]});
        let plain = json!({"nodeName": "n1", "hostPID": true, "volumes": volume, "containers": [{"name": "a", "volumeMounts": mount}]});
        let other = json!({"nodeName": "n1", "containers": [{"name": "a", "securityContext": privileged}]});
        let mut strange = pod(&root);
        strange["metadata"]["name"] = "--kubeconfig=x".into();
        let mut pending = pod(&root);
        pending["status"]["phase"] = "Pending".into();
        let mut waiting = pod(&root);
        waiting["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let mut leaving = pod(&root);
        leaving["metadata"]["deletionTimestamp"] = "2026-11-29T00:00:00Z".into();
        let items =
            json!({"items": [pod(&pid), pod(&plain), pod(&other), strange, pending, waiting, leaving, pod(&root)]});
        let found: Vec<(String, String)> =
            doors(&items.to_string()).into_iter().map(|(node, door)| (node, door.root)).collect();
        assert_eq!(found, [("n1".into(), "/rootfs".into()), ("n2".into(), "/proc/1/root".into())]);
        assert_eq!(doors("no JSON"), []);
    }

    #[test]
    fn a_pods_object_says_whether_it_will_begin() {
        let of = |status: &serde_json::Value| stage(&json!({"status": status}));
        assert!(matches!(of(&json!({"phase": "Pending"})), Stage::Waits(why) if why.contains("kubelet")));
        let waiting = |reason: &str| json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "x"}}}]});
        assert_eq!(of(&waiting("ContainerCreating")), Stage::Waits("ContainerCreating: x".into()));
        assert_eq!(of(&waiting("ErrImagePull")), Stage::Fails("ErrImagePull: x".into()));
        assert_eq!(of(&json!({"phase": "Failed", "reason": "OutOfpods"})), Stage::Fails("OutOfpods".into()));
        assert_eq!(of(&json!({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]})), Stage::Begun);
        assert_eq!(
            of(&json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 2}}}]})),
            Stage::Begun
        );
    }
}
