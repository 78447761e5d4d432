//! Pods by name: the folders under `pods/`, and the Pod objects.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::error::Error;
use crate::evidence::Gap;
use crate::net::{NetnsId, NodeName, PodName};
use crate::snapshot::{Netns, Pod};

use super::super::unread;
use super::{End, Home, Kind, Names, address, near, usage, with_address};

impl Names<'_> {
    /// A pod without its namespace: in the one of `-n`; else in `default`; else the only one of that name.
    pub(super) fn pod(&self, name: &str) -> Result<Option<End>, Error> {
        let here = PodName::new(self.namespace.unwrap_or("default"), name);
        if self.exists(&here) {
            return self.pod_end(here).map(Some);
        }
        if self.namespace.is_some() {
            return Ok(None);
        }
        let found: Vec<PodName> = self.pods().into_iter().filter(|pod| *pod.name == *name).collect();
        match found.as_slice() {
            [] => Ok(None),
            [pod] => self.pod_end(pod.clone()).map(Some),
            several => {
                let names: Vec<String> = several.iter().map(PodName::to_string).collect();
                Err(usage(format!(
                    "{name}: several namespaces have such a pod: {}; say which, or -n NAMESPACE",
                    names.join(", ")
                )))
            }
        }
    }

    /// `NAMESPACE/POD`.
    pub(super) fn pod_in(&self, namespace: &str, name: &str) -> Result<End, Error> {
        let pod = PodName::new(namespace, name);
        if self.exists(&pod) {
            return self.pod_end(pod);
        }
        let pods: Vec<String> = self.pods().iter().map(PodName::to_string).collect();
        let known = pods.iter().cloned().chain(self.services());
        let near = near::hint(&format!("{namespace}/{name}"), known, |near| near.trim_start_matches("svc/"));
        let meant = as_kubectl(namespace, name).map(|meant| format!("; did you mean {meant}?"));
        let hint = meant.unwrap_or_else(|| near::or_list(near, pods));
        let unread = unread::of_file(self.snapshot, "cluster/pods.json");
        Err(usage(format!("no pod {namespace}/{name} {}{hint}{unread}", self.searched())))
    }

    pub(super) fn unknown_pod(&self, name: &str) -> Error {
        let namespace = self.namespace.map(|namespace| format!(" in namespace {namespace:?}")).unwrap_or_default();
        let known: Vec<String> = self.pods().iter().map(PodName::to_string).collect();
        let all = known.iter().cloned().chain(self.services());
        let near = near::hint(name, all, |near| near.rsplit('/').next().unwrap_or(near));
        let node = self.snapshot.nodes.contains_key(name);
        if near.is_empty() && !node && name.contains('.') {
            let services = self.snapshot.kube.services.iter().flatten();
            let services = services.map(|service| format!("{}.{}", service.name, service.namespace));
            let near = near::hint(name, services, |near| near);
            if !near.is_empty() {
                return usage(format!("no pod or service {name:?}{near}"));
            }
            return usage(format!(
                "no pod {name:?}{namespace} {}, and names outside the cluster are not resolved: give the address, or \
                 external",
                self.searched()
            ));
        }
        let hint = if node { format!("; did you mean node/{name}?") } else { near::or_list(near, known) };
        let unread = unread::of_file(self.snapshot, "cluster/pods.json");
        usage(format!("no pod {name:?}{namespace} {}{hint}{unread}", self.searched()))
    }

    fn services(&self) -> impl Iterator<Item = String> {
        let services = self.snapshot.kube.services.iter().flatten();
        services.map(|service| format!("svc/{}/{}", service.namespace, service.name))
    }

    fn searched(&self) -> &'static str {
        match self.snapshot.kube.pods {
            Some(_) => "under nodes/*/pods or in cluster/pods.json",
            None => "under nodes/*/pods (the snapshot has no cluster/pods.json)",
        }
    }

    /// Every pod that has a folder or an object.
    fn pods(&self) -> BTreeSet<PodName> {
        let folders = self.snapshot.nodes.values().flat_map(|node| node.pods.keys().cloned());
        let objects = self.snapshot.kube.pods.iter().flatten().map(|pod| pod.name.clone());
        folders.chain(objects).collect()
    }

    fn exists(&self, pod: &PodName) -> bool {
        self.snapshot.nodes.values().any(|node| node.pods.contains_key(pod)) || self.snapshot.kube.pod(pod).is_some()
    }

    fn pod_end(&self, name: PodName) -> Result<End, Error> {
        let object = self.snapshot.kube.pod(&name);
        let text = name.to_string();
        if let Some(node) = object.filter(|pod| pod.host_network).and_then(|pod| pod.node.as_ref()) {
            let end = self.node(node.as_str())?;
            return Ok(End { kind: Kind::Pod(name), ..end });
        }
        let folder = self.folder(&name, object)?;
        let announced = object.map(|pod| pod.ips.clone()).unwrap_or_default();
        let netns = folder.map(|id| self.snapshot.netns(id));
        let own = netns.map(address::of_netns).unwrap_or_default();
        let home = folder.map_or_else(|| Home::Missing(missing_folder(&name, object)), Home::Netns);
        let mut end = End::new(Kind::Pod(name), home, address::one_each(announced.iter().copied().chain(own)));
        end.gaps = netns.map(|netns| contradictions(netns, object, &announced)).unwrap_or_default();
        with_address(end, &text)
    }

    /// The pod's namespace. A folder of it on two nodes is decided by its object.
    fn folder(&self, name: &PodName, object: Option<&Pod>) -> Result<Option<NetnsId>, Error> {
        let nodes = self.snapshot.nodes.iter();
        let found: Vec<(&NodeName, NetnsId)> =
            nodes.filter_map(|(node, spaces)| Some((node, *spaces.pods.get(name)?))).collect();
        match found.as_slice() {
            [] => Ok(None),
            [(_, id)] => Ok(Some(*id)),
            several => {
                let right = several.iter().find(|(node, _)| object.and_then(|pod| pod.node.as_ref()) == Some(node));
                let nodes: Vec<&str> = several.iter().map(|(node, _)| node.as_str()).collect();
                let several = || {
                    usage(format!(
                        "{name}: several nodes have a folder of it: {}; remove it where the pod is not",
                        nodes.join(", ")
                    ))
                };
                right.map(|(_, id)| Some(*id)).ok_or_else(several)
            }
        }
    }
}

/// What stands for a name that is written as kubectl would take it: `pod/web-0`, `service/web`.
fn as_kubectl(kind: &str, name: &str) -> Option<String> {
    match kind {
        "pod" | "pods" | "po" => Some(name.to_owned()),
        "service" | "services" => Some(format!("svc/{name}")),
        "nodes" | "no" => Some(format!("node/{name}")),
        _ => None,
    }
}

/// The folder that should be there.
pub(super) fn missing_folder(name: &PodName, object: Option<&Pod>) -> String {
    name.folder(object.and_then(|pod| pod.node.as_ref()).map_or("<node>", NodeName::as_str))
}

/// The object's addresses that the namespace lacks. The walk goes by the namespace's own.
fn contradictions(netns: &Netns, object: Option<&Pod>, announced: &[IpAddr]) -> Vec<Gap> {
    let (Some(object), Some(_)) = (object, &netns.addrs) else { return Vec::new() };
    let strange = announced.iter().filter(|address| netns.addr(**address).is_none());
    let gap = |address: &IpAddr| {
        Gap::new(
            format!("pod {} has {address} by its object, but {} lacks it", object.name, netns.dir),
            vec![object.evidence],
        )
    };
    strange.map(gap).collect()
}
