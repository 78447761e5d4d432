//! A cluster of two nodes that have hardly anything: n1 with a pod shop/a, n2 with a pod shop/b.

use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::lab::apiserver::{ApiServer, KUBECTLS, kubectl_or_skip};
use crate::lab::judge::Folder;
use crate::lab::machine::words;
use crate::lab::netns::{Netns, must};

/// So many things are checked at once.
const AT_ONCE: usize = 6;

/// The cluster, and the namespaces that it is made of.
pub struct Small {
    nodes: Vec<(&'static str, Netns, Netns)>,
}

impl Small {
    /// Makes it; `None` where there is no kernel to ask.
    pub fn new() -> Option<Self> {
        if !crate::lab::ready::ready() {
            return None;
        }
        let node = |name, pod: &str| (name, Netns::new(name).unwrap(), Netns::new(pod).unwrap());
        let small = Self { nodes: vec![node("n1", "a"), node("n2", "b")] };
        for (name, host, pod) in &small.nodes {
            let number = if *name == "n1" { 1 } else { 2 };
            let ip = |line: String| must("ip", &line.split(' ').collect::<Vec<_>>(), "").unwrap();
            host.enter(|| {
                ip(format!("link add veth0 type veth peer name eth0 netns {}", pod.path()));
                ip("link set veth0 up".to_owned());
                ip(format!("route add 10.0.{number}.2 dev veth0"));
            });
            pod.enter(|| {
                ip(format!("addr add 10.0.{number}.2/32 dev eth0"));
                ip("link set eth0 up".to_owned());
            });
        }
        Some(small)
    }

    /// Its state, with faults.
    pub fn state(&self, faults: &Value) -> Value {
        let node = |number: u8| {
            json!({"metadata": {"name": format!("n{number}")}, "spec": {"podCIDR": format!("10.0.{number}.0/24")},
                   "status": {"addresses": [{"type": "InternalIP", "address": format!("192.0.2.{number}")}]}})
        };
        let machines: serde_json::Map<String, Value> = self
            .nodes
            .iter()
            .map(|(name, host, pod)| {
                let pod_name = if *name == "n1" { "a" } else { "b" };
                ((*name).to_owned(), json!(words(host, &[("shop", pod_name, pod)])))
            })
            .collect();
        json!({
            "objects": {"nodes": [node(1), node(2)], "pods": [pod("shop", "a", 1), pod("shop", "b", 2)]},
            "machines": machines,
            "faults": faults,
        })
    }

    /// A server with faults.
    pub fn server(&self, faults: &Value) -> ApiServer {
        ApiServer::start(&self.state(faults)).unwrap()
    }
}

/// A pod's object.
pub fn pod(namespace: &str, name: &str, node: u8) -> Value {
    let ip = format!("10.0.{node}.2");
    json!({"metadata": {"name": name, "namespace": namespace},
           "spec": {"nodeName": format!("n{node}"), "containers": [{"name": "main"}]},
           "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                      "containerStatuses": [{"name": "main", "state": {"running": {}}}]}})
}

/// Every kubectl that is there.
pub fn kubectls() -> Vec<PathBuf> {
    KUBECTLS.into_iter().filter_map(kubectl_or_skip).collect()
}

/// Checks several things at once: most of the time, each waits for something.
pub fn several_at_once<T: Sync>(things: &[T], check: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(thing) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(thing);
                }
            });
        }
    });
}

/// What was said, as one line.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A folder that is there, for what is taken.
pub fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    std::fs::create_dir_all(&folder.path).unwrap();
    folder
}
