//! Capture points by name.

use std::fmt;

use crate::net::{IfName, NetnsName, NodeName, PodName};

/// A capture point: a device in a namespace of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// The node, whose points share one clock.
    pub node: NodeName,
    /// The namespace that the device is in.
    pub netns: NetnsName,
    /// The device.
    pub device: IfName,
}

/// A name that may lack the device, which the capture itself may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The node.
    pub node: NodeName,
    /// The namespace.
    pub netns: NetnsName,
    /// The device.
    pub device: Option<IfName>,
}

impl Named {
    /// `NODE/DEVICE`, `NODE/NAMESPACE_POD/DEVICE`, or `NODE` alone where the capture names its devices.
    #[must_use]
    pub fn typed(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (node, netns, device) = match *parts.as_slice() {
            [node] => (node, NetnsName::Host, None),
            [node, device] => (node, NetnsName::Host, Some(device)),
            [node, pod, device] => (node, NetnsName::Pod(self::pod(pod)?), Some(device)),
            _ => return None,
        };
        let is_named = |name: &str| !name.is_empty();
        (is_named(node) && device.is_none_or(is_named)).then(|| Self {
            node: NodeName::new(node),
            netns,
            device: device.map(IfName::new),
        })
    }

    /// What a file's name says: `<node>.<device>`, `<node>.<ns>_<pod>.<device>`, or `<node>` alone, each with an
    /// extension. Names of devices may have dots in them, and those of nodes do only where one of `nodes` is meant.
    #[must_use]
    pub fn of_file(name: &str, nodes: &[NodeName]) -> Option<Self> {
        let stem = stem(name);
        let known = nodes
            .iter()
            .map(NodeName::as_str)
            .filter(|node| stem.strip_prefix(node).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
        let node = known.max_by_key(|node| node.len()).or_else(|| stem.split('.').next())?;
        let rest = stem.get(node.len()..)?.trim_start_matches('.');
        let (netns, device) = match rest.split_once('.') {
            Some((first, device)) => match pod(first) {
                Some(pod) => (NetnsName::Pod(pod), device),
                None => (NetnsName::Host, rest),
            },
            None => (NetnsName::Host, rest),
        };
        let device = Some(device).filter(|device| !device.is_empty()).map(IfName::new);
        (!node.is_empty()).then(|| Self { node: NodeName::new(node), netns, device })
    }
}

/// `<ns>_<pod>`: neither has an underscore.
fn pod(text: &str) -> Option<PodName> {
    let (namespace, name) = text.split_once('_')?;
    (!namespace.is_empty() && !name.is_empty()).then(|| PodName::new(namespace, name))
}

/// A capture's name without what says how it is written.
fn stem(name: &str) -> &str {
    let name = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    [".pcapng", ".pcap", ".cap"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.netns {
            NetnsName::Host => write!(f, "{}/{}", self.node, self.device),
            NetnsName::Pod(pod) => write!(f, "{}/{}_{}/{}", self.node, pod.namespace, pod.name, self.device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(named: Option<Named>) -> String {
        let Some(Named { node, netns, device }) = named else { return "nothing".to_owned() };
        Point { node, netns, device: device.unwrap_or_else(|| IfName::new("?")) }.to_string()
    }

    #[test]
    fn a_files_name_says_node_namespace_and_device() {
        let none: &[NodeName] = &[];
        for (name, wanted) in [
            ("n1.eth0.pcap", "n1/eth0"),
            ("n1.flannel.1.pcapng.gz", "n1/flannel.1"),
            ("n1.default_pod1.eth0.pcap.zst", "n1/default_pod1/eth0"),
            ("n1.pcapng", "n1/?"),
            ("n1.eth0", "n1/eth0"),
            (".pcap", "nothing"),
        ] {
            assert_eq!(told(Named::of_file(name, none)), wanted, "{name}");
        }
        let nodes = [NodeName::new("ip-10-0-0-1"), NodeName::new("ip-10-0-0-1.ec2.internal")];
        assert_eq!(told(Named::of_file("ip-10-0-0-1.ec2.internal.cni0.pcap", &nodes)), "ip-10-0-0-1.ec2.internal/cni0");
    }

    #[test]
    fn a_point_is_typed_with_slashes() {
        for (typed, wanted) in [
            ("n1/eth0", "n1/eth0"),
            ("n1/default_pod1/eth0", "n1/default_pod1/eth0"),
            ("n1", "n1/?"),
            ("", "nothing"),
            ("n1/", "nothing"),
            ("n1/pod/eth0", "nothing"),
            ("a/b/c/d", "nothing"),
        ] {
            assert_eq!(told(Named::typed(typed)), wanted, "{typed}");
        }
    }
}
