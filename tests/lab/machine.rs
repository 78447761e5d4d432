//! A node of the lab as a program on it sees one: only its own processes, its pods' namespaces where the container runtime
//! keeps them, named by the runtime's own files. In it `flowtrace collect` and the script that it prints take snapshots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::build::Lab;
use super::explain::program;
use super::netns::{Netns, run};
use super::scenario::Place;

/// Who takes a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// `flowtrace collect`.
    Netlink,
    /// The script that it prints, in a shell.
    Script(&'static str),
    /// `flowtrace collect` of the whole cluster, through a kubectl.
    Kubectl(&'static str),
}

/// A pod of the machine: its Kubernetes namespace, its name, its network namespace. Without names it is none that the
/// runtime knows.
pub type Sandbox<'a> = (&'a str, &'a str, &'a Netns);

/// Makes a machine out of the present network namespace, and becomes a program on it. Its arguments are the number of
/// pods, three for each (a network namespace's path, a Kubernetes namespace, a pod), and the program's.
const PRELUDE: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount -t sysfs sysfs /sys
mkdir -p /run/netns
: >/run/netns/gone
bundles=/run/containerd/io.containerd.runtime.v2.task/k8s.io
count=$1
shift
while [ "$count" -gt 0 ]; do
    file=/run/netns/cni-0f6e7bd2-1c4e-4c2c-9a56-6b0a5f3c1a$count
    touch "$file"
    mount --bind "$1" "$file"
    mkdir -p "$bundles/$count"
    printf '{"ociVersion":"1.2.0","process":{"args":["/pause"]},"annotations":{"io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-id":"%s","io.kubernetes.cri.sandbox-name":"%s","io.kubernetes.cri.sandbox-namespace":"%s"},"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"%s"},{"type":"mount"}]}}' \
        "$count" "$3" "$2" "$file" >"$bundles/$count/config.json"
    shift 3
    count=$((count - 1))
done
exec unshare --pid --fork --kill-child --mount-proc "$@"
"#;

/// Runs a program on a machine whose own network namespace and pods these are.
pub fn on_machine(host: &Netns, pods: &[Sandbox<'_>], command: &[&str]) -> Result<Output, String> {
    let count = pods.len().to_string();
    let paths: Vec<String> = pods.iter().map(|(_, _, netns)| netns.path()).collect();
    let mut args = vec!["--mount", "sh", "-c", PRELUDE, "machine", &count];
    for ((namespace, pod, _), path) in pods.iter().zip(&paths) {
        args.extend([path.as_str(), namespace, pod]);
    }
    args.extend(command);
    host.enter(|| run("unshare", &args, ""))
}

/// The words that run what follows them on a machine, wherever they are called.
pub fn words(host: &Netns, pods: &[Sandbox<'_>]) -> Vec<String> {
    let net = format!("--net={}", host.path());
    let count = pods.len().to_string();
    let mut words: Vec<String> =
        ["nsenter", &net, "unshare", "--mount", "sh", "-c", PRELUDE, "machine", &count].map(str::to_owned).to_vec();
    for (namespace, pod, netns) in pods {
        words.extend([netns.path(), (*namespace).to_owned(), (*pod).to_owned()]);
    }
    words
}

/// Takes the snapshot of a machine into a new folder or a new archive; what was told.
pub fn take(host: &Netns, pods: &[Sandbox<'_>], node: &str, target: &Path, taker: Taker) -> Result<Output, String> {
    let words = command(node, target, taker)?;
    on_machine(host, pods, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The words that take a snapshot.
pub fn command(node: &str, target: &Path, taker: Taker) -> Result<Vec<String>, String> {
    let target = target.to_string_lossy();
    Ok(match taker {
        Taker::Netlink => {
            let program = program();
            let words = [&program.to_string_lossy(), "collect", "--node", node, "-w", &target];
            words.map(str::to_owned).to_vec()
        }
        Taker::Script(shell) => {
            let file = script()?.to_string_lossy().into_owned();
            shell.split(' ').chain([file.as_str(), &target, node]).map(str::to_owned).collect()
        }
        Taker::Kubectl(_) => return Err("kubectl takes clusters, not nodes".to_owned()),
    })
}

/// The script, as the program prints it.
fn script() -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("flowtrace-lab-{}-script.sh", std::process::id()));
    if !path.exists() {
        let printed = run(&program().to_string_lossy(), &["collect", "--print-script"], "")?;
        let unfinished = path.with_extension(format!("{:?}", std::thread::current().id()));
        fs::write(&unfinished, printed.stdout).map_err(|error| error.to_string())?;
        fs::rename(&unfinished, &path).map_err(|error| error.to_string())?;
    }
    Ok(path)
}

impl Lab {
    /// Takes the snapshot of every node by what runs on it.
    pub fn collect(&self, folder: &Path, taker: Taker) -> Result<(), String> {
        if let Taker::Kubectl(which) = taker {
            return self.collect_through(which, folder);
        }
        self.write_objects(&folder.join("cluster"))?;
        fs::create_dir_all(folder.join("nodes")).map_err(|error| error.to_string())?;
        for space in &self.scenario.spaces {
            let Place::Host { node } = &space.place else { continue };
            let pods = self.sandboxes(node);
            let part = folder.join("part");
            let output = take(self.netns(&space.name), &pods, node, &part, taker)?;
            let told = String::from_utf8_lossy(&output.stderr);
            if output.status.code() != Some(0) {
                return Err(format!("{taker:?} on {node}: {}\n{told}", output.status));
            }
            fs::rename(part.join("nodes").join(node), folder.join("nodes").join(node))
                .map_err(|error| format!("{taker:?} on {node}: {error}\n{told}"))?;
            fs::remove_dir_all(&part).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The pods of a node.
    pub fn sandboxes(&self, node: &str) -> Vec<Sandbox<'_>> {
        self.scenario.spaces.iter().filter_map(|space| self.sandbox(space, node)).collect()
    }

    fn sandbox<'a>(&'a self, space: &'a super::scenario::Space, on: &str) -> Option<Sandbox<'a>> {
        match &space.place {
            Place::Pod { node, namespace, pod } if node == on => Some((namespace, pod, self.netns(&space.name))),
            _ => None,
        }
    }
}
