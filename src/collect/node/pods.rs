//! Which pod a network namespace is: from what the container runtime, the kubelet and the CNI plugins keep on the node.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::find::Found;

/// Where containerd keeps the description of every container that runs, of itself and within k3s and RKE2; and CRI-O.
const BUNDLES: [&str; 4] = [
    "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/run/containerd/io.containerd.runtime.v1.linux/k8s.io",
    "/run/containers/storage/overlay-containers",
];
/// Where Docker keeps its containers, which are pods under cri-dockerd and the dockershim.
const DOCKER: &str = "/var/lib/docker/containers";
/// The kubelet's logs: a folder `<namespace>_<pod>_<uid>` for each pod.
const LOGS: &str = "/var/log/pods";
/// What CNI plugins answered for each pod.
const RESULTS: [&str; 2] = ["/var/lib/cni/results", "/var/lib/cni/cache/results"];

/// A file of these folders that is longer is none of theirs.
const MOST_BYTES: u64 = 4 << 20;

/// The annotations by which runtimes tell a pod: its namespace, its name.
const ANNOTATIONS: [[&str; 2]; 2] = [
    ["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name"],
    ["io.kubernetes.pod.namespace", "io.kubernetes.pod.name"],
];

/// A pod's name, as the folder that it gets.
type Folder = String;

/// What the node knows of its pods.
#[derive(Debug, Default)]
pub(super) struct Pods {
    /// By the number of their namespace's inode.
    netns: HashMap<u64, Folder>,
    /// By the number of the sandbox's process.
    processes: HashMap<u32, Folder>,
    /// By their UID.
    uids: HashMap<String, Folder>,
    /// By their address, and when the plugin told it.
    addresses: HashMap<IpAddr, (i64, Folder)>,
}

impl Pods {
    /// Reads what there is.
    pub fn read() -> Self {
        let mut pods = Self::default();
        for folder in BUNDLES.iter().flat_map(|root| folders(Path::new(root))) {
            pods.add_bundle(&folder);
        }
        for folder in folders(Path::new(DOCKER)) {
            pods.add_docker(&folder.join("config.v2.json"));
        }
        for folder in folders(Path::new(LOGS)) {
            pods.add_log(&folder);
        }
        for file in RESULTS.iter().flat_map(|root| entries(Path::new(root))) {
            pods.add_result(&file);
        }
        pods
    }

    /// The pod that a namespace is, and how it is known.
    pub fn of(&self, space: &Found) -> Option<(&str, &'static str)> {
        let by_process = || space.processes.iter().find_map(|process| self.processes.get(&process.id));
        if let Some(folder) = self.netns.get(&space.number).or_else(by_process) {
            return Some((folder, "runtime"));
        }
        let groups = space.processes.iter().map(super::process::Process::cgroups);
        let folder = groups.flat_map(|groups| uids(&groups)).find_map(|uid| self.uids.get(&uid));
        folder.map(|folder| (folder.as_str(), "kubelet"))
    }

    /// The pod that got one of these addresses.
    pub fn with_address(&self, addresses: &[IpAddr]) -> Option<&str> {
        addresses.iter().find_map(|address| self.addresses.get(address)).map(|(_, folder)| folder.as_str())
    }

    /// containerd has the file in the container's folder, CRI-O one further down.
    fn add_bundle(&mut self, folder: &Path) {
        let config: Option<Bundle> =
            json(&folder.join("config.json")).or_else(|| json(&folder.join("userdata/config.json")));
        let Some(config) = config else { return };
        let annotations = config.annotations.unwrap_or_default();
        let Some(pod) = pod(&annotations) else { return };
        let namespaces = config.linux.and_then(|linux| linux.namespaces).unwrap_or_default();
        let network = namespaces.into_iter().find(|namespace| namespace.kind == "network");
        if let Some(number) = network.and_then(|network| number(Path::new(&network.path?))) {
            self.netns.insert(number, pod);
        }
    }

    fn add_docker(&mut self, file: &Path) {
        let Some(container) = json::<Container>(file) else { return };
        let Some(pod) = container.config.and_then(|config| pod(&config.labels?)) else { return };
        let key = container.settings.and_then(|settings| settings.key).filter(|key| !key.is_empty());
        if let Some(number) = key.and_then(|key| number(Path::new(&key))) {
            self.netns.insert(number, pod.clone());
        }
        if let Some(process) = container.state.and_then(|state| state.process).filter(|process| *process != 0) {
            self.processes.insert(process, pod);
        }
    }

    fn add_log(&mut self, folder: &Path) {
        let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { return };
        let mut parts = name.split('_');
        if let (Some(namespace), Some(name), Some(uid), None) = (parts.next(), parts.next(), parts.next(), parts.next())
            && let Some(folder) = folder_of(namespace, name)
        {
            self.uids.insert(uid.to_owned(), folder);
        }
    }

    fn add_result(&mut self, file: &Path) {
        let Some(cached) = json::<Cached>(file) else { return };
        let args = cached.args.unwrap_or_default();
        let arg = |name: &str| args.iter().find(|[key, _]| key == name).map(|[_, value]| value.as_str());
        let (Some(namespace), Some(name)) = (arg("K8S_POD_NAMESPACE"), arg("K8S_POD_NAME")) else { return };
        let Some(folder) = folder_of(namespace, name) else { return };
        let told = fs::metadata(file).map_or(0, |metadata| metadata.mtime());
        for ip in cached.result.and_then(|result| result.ips).unwrap_or_default() {
            let Some(address) = ip.address.split('/').next().and_then(|address| address.parse().ok()) else { continue };
            // A plugin that was never asked to take an address back leaves the file there.
            if self.addresses.get(&address).is_none_or(|(known, _)| *known < told) {
                self.addresses.insert(address, (told, folder.clone()));
            }
        }
    }
}

/// An OCI runtime's description of a container.
#[derive(Deserialize)]
struct Bundle {
    annotations: Option<BTreeMap<String, String>>,
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    path: Option<String>,
}

/// Docker's.
#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Config")]
    config: Option<Labelled>,
    #[serde(rename = "State")]
    state: Option<State>,
    #[serde(rename = "NetworkSettings")]
    settings: Option<Settings>,
}

#[derive(Deserialize)]
struct Labelled {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "Pid")]
    process: Option<u32>,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(rename = "SandboxKey")]
    key: Option<String>,
}

/// A CNI plugin's answer, as libcni keeps it (`cachedInfo` of its `api.go`).
#[derive(Deserialize)]
struct Cached {
    #[serde(rename = "cniArgs")]
    args: Option<Vec<[String; 2]>>,
    result: Option<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    ips: Option<Vec<Ip>>,
}

#[derive(Deserialize)]
struct Ip {
    address: String,
}

/// The pod of a runtime's annotations.
fn pod(annotations: &BTreeMap<String, String>) -> Option<Folder> {
    ANNOTATIONS.iter().find_map(|[namespace, name]| folder_of(annotations.get(*namespace)?, annotations.get(*name)?))
}

/// The folder of a pod. What isn't a name of Kubernetes is none: it becomes a path.
fn folder_of(namespace: &str, name: &str) -> Option<Folder> {
    let folder = format!("{namespace}_{name}");
    (is_name(namespace) && is_name(name) && folder.len() <= 255).then_some(folder)
}

/// A DNS name, as RFC 1123 has it.
fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_inner = |byte: u8| is_letter(byte) || byte == b'-' || byte == b'.';
    let ends = [name.bytes().next(), name.bytes().next_back()];
    ends.into_iter().all(|end| end.is_some_and(is_letter)) && name.bytes().all(is_inner) && name.len() <= 253
}

/// The UIDs in the names of control groups: `/kubepods/burstable/pod<uid>/…`, or with systemd
/// `kubepods-burstable-pod<uid with _>.slice`.
fn uids(groups: &str) -> Vec<String> {
    let parts = groups.split(['/', '\n']).map(|part| part.strip_suffix(".slice").unwrap_or(part));
    let uid = |part: &str| Some(part.rsplit_once("pod")?.1.replace('_', "-")).filter(|uid| !uid.is_empty());
    parts.filter_map(uid).collect()
}

fn number(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

fn json<T: for<'a> Deserialize<'a>>(file: &Path) -> Option<T> {
    let is_short = fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MOST_BYTES);
    is_short.then(|| fs::read(file).ok()).flatten().and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

fn folders(root: &Path) -> impl Iterator<Item = PathBuf> {
    entries(root).filter(|path| path.is_dir())
}

fn entries(root: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(root).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn both_runtimes_annotations_name_a_pod() {
        let [containerd, crio] =
            ANNOTATIONS.map(|[namespace, name]| annotations(&[(namespace, "shop"), (name, "web-0")]));
        assert_eq!((pod(&containerd), pod(&crio)), (Some("shop_web-0".to_owned()), Some("shop_web-0".to_owned())));
        assert_eq!(pod(&annotations(&[(ANNOTATIONS[0][0], "shop")])), None);
    }

    #[test]
    fn what_is_no_name_becomes_no_path() {
        for name in ["..", ".", "", "../../etc", "a/b", "a_b", "A", "-a", "a-", "a\n", "é"] {
            assert_eq!(folder_of("default", name), None, "{name:?}");
            assert_eq!(folder_of(name, "web"), None, "{name:?}");
        }
        assert_eq!(folder_of("a", &"b".repeat(254)), None);
        assert_eq!(folder_of("a", &"b".repeat(253)).map(|folder| folder.len()), Some(255));
        assert_eq!(folder_of("abc", &"b".repeat(253)), None);
    }

    #[test]
    fn both_drivers_of_control_groups_tell_a_uid() {
        let uid = "0f6e7bd2-1c4e-4c2c-9a56-6b0a5f3c1a11";
        let systemd = "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f6e7bd2_1c4e_4c2c_9a56_6b0a5f3c1a11.slice/cri-containerd-abc.scope\n";
        let plain = format!("12:memory:/kubepods/besteffort/pod{uid}/abc\n11:cpu:/kubepods/besteffort/pod{uid}/abc\n");
        assert!(uids(systemd).contains(&uid.to_owned()), "{:?}", uids(systemd));
        assert!(uids(&plain).contains(&uid.to_owned()));
        assert_eq!(uids("0::/system.slice/sshd.service\n"), [""; 0]);
    }

    #[test]
    fn the_kubelet_s_log_folders_and_cni_s_answers_name_pods() {
        let mut pods = Pods::default();
        pods.add_log(Path::new("/var/log/pods/shop_web-0_0f6e"));
        pods.add_log(Path::new("/var/log/pods/what"));
        assert_eq!(pods.uids, HashMap::from([("0f6e".to_owned(), "shop_web-0".to_owned())]));
        let cached: Cached = serde_json::from_str(
            r#"{"kind":"cniCacheV1","containerId":"1","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","web-0"]],
            "result":{"cniVersion":"1.0.0","ips":[{"address":"10.244.1.5/24","gateway":"10.244.1.1"}]}}"#,
        )
        .unwrap();
        assert_eq!(cached.result.unwrap().ips.unwrap()[0].address, "10.244.1.5/24");
        assert_eq!(cached.args.unwrap()[2], ["K8S_POD_NAME", "web-0"]);
    }
}
