//! A capture point by name: a device of a node or of one of its pods.

use std::path::Path;

use crate::capture::batch::Batch;
use crate::capture::{self, Direction};
use crate::error::Error;
use crate::net::{IfName, NetnsId, NetnsName, NodeName};
use crate::retrace::Point;
use crate::snapshot::{Netns, Snapshot};
use crate::trace::Way;
use crate::wire::{Frame, LinkType};

use super::names::near;

/// `--at NODE/DEVICE` or `--at NODE/NAMESPACE_POD/DEVICE`.
pub(super) fn at(typed: &str, snapshot: &Snapshot) -> Result<Point, Error> {
    let wrong = |what: String| Error::Usage(format!("--at {typed}: {what}"));
    let parts: Vec<&str> = typed.split('/').collect();
    match parts.as_slice() {
        [node, device] => on_host(node, device, snapshot).map_err(wrong),
        [node, pod, device] => in_pod(node, pod, device, snapshot).map_err(wrong),
        _ => Err(wrong("NODE/DEVICE is wanted, such as n1/eth0".to_owned())),
    }
}

/// The point of a file's interface: by `--at`, by the interface's name, or by the file's. `typed` may name the node
/// alone, where the interface has a name.
pub(super) fn of_interface(
    typed: Option<&str>,
    file: &Path,
    interface: &capture::Point,
    snapshot: &Snapshot,
) -> Result<Point, Error> {
    match (typed, interface.name.as_deref()) {
        (Some(node), Some(device)) if !node.contains('/') => {
            let at = format!("{node}/{}", device.rsplit('/').next().unwrap_or(device));
            self::at(&at, snapshot)
        }
        (Some(typed), _) => self::at(typed, snapshot),
        (None, name) => {
            let of_name = name.and_then(|name| by_name(name, file, snapshot));
            of_name.or_else(|| by_file(file, snapshot)).ok_or_else(|| unknown(file, name))
        }
    }
}

/// Which way a packet of a batch went, where its block in the file says so.
pub(super) fn way(batch: &Batch, place: usize) -> Option<Way> {
    match batch.options(place).direction()? {
        Direction::In(_) => Some(Way::In),
        Direction::Out => Some(Way::Out),
    }
}

/// The index of the device that a packet of all devices passed, as its cooked header has it
/// (<https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>).
pub(super) fn device_index(frame: &Frame<'_>) -> Option<u32> {
    if frame.link_type != LinkType::LINUX_SLL2 {
        return None;
    }
    frame.bytes.get(4..)?.first_chunk().map(|index| u32::from_be_bytes(*index)).filter(|index| *index > 0)
}

/// What libpcap calls all devices of a namespace at once.
const ALL: &str = "any";

/// The point of a packet of a capture: of one of all devices, the device that the packet names by its index.
pub(super) fn one_of_all(named: Point, index: Option<u32>, snapshot: &Snapshot) -> Result<Point, String> {
    let is_all = named.device.as_str() == ALL;
    let netns = snapshot.netns(named.netns);
    match index {
        None if is_all => Err("captured on all devices, and not said on which (LINUX_SLL): `tcpdump -i any -y \
             LINUX_SLL2` says so"
            .to_owned()),
        None => Ok(named),
        Some(index) => match device_at(netns, index) {
            Some(device) if is_all || device == named.device => Ok(Point { device, ..named }),
            Some(device) => Err(format!("captured on {device}")),
            // Where the snapshot says no indexes, the name stands.
            None if !is_all && netns.link(&named.device).is_none_or(|link| link.index.is_none()) => Ok(named),
            None => Err(format!("captured on a device of index {index}, which the snapshot doesn't have")),
        },
    }
}

/// The device of an index.
pub(super) fn device_at(netns: &Netns, index: u32) -> Option<IfName> {
    let mut links = netns.links.iter().flatten();
    links.find(|link| link.index == Some(index)).map(|link| link.name.clone())
}

fn unknown(file: &Path, name: Option<&str>) -> Error {
    let name = name.map(|name| format!("its interface is called {name}, and ")).unwrap_or_default();
    Error::Usage(format!(
        "{}: {name}where it was captured is not known: --at NODE/DEVICE says it, or a name such as n1.cni0.pcap or \
         n1.default_web-0.eth0.pcap",
        file.display()
    ))
}

/// An interface's name: `node/device`, `node/namespace_pod/device`, or a device of the node that the file's name begins
/// with, or of the only node that has such a device.
fn by_name(name: &str, file: &Path, snapshot: &Snapshot) -> Option<Point> {
    if name.contains('/') {
        return at(name, snapshot).ok();
    }
    if let Some((node, _)) = node_of_file(file, snapshot) {
        return on_host(node.as_str(), name, snapshot).ok();
    }
    let device = IfName::new(name);
    let hosts = snapshot.netns_ids().filter(|(_, netns)| netns.name == NetnsName::Host);
    let mut with = hosts.filter(|(_, netns)| netns.link(&device).is_some());
    let (netns, _) = with.next()?;
    with.next().is_none().then_some(Point { netns, device })
}

/// `<node>.<device>.pcap`, `<node>.<namespace>_<pod>.<device>.pcap`.
fn by_file(file: &Path, snapshot: &Snapshot) -> Option<Point> {
    let (node, rest) = node_of_file(file, snapshot)?;
    if let Ok(point) = on_host(node.as_str(), &rest, snapshot) {
        return Some(point);
    }
    let pods = &snapshot.nodes.get(&node)?.pods;
    pods.iter().find_map(|(pod, netns)| {
        let device = rest.strip_prefix(&format!("{}_{}.", pod.namespace, pod.name))?;
        device_of(*netns, device, snapshot).ok()
    })
}

/// The node that a file's name begins with, and the rest without the format's endings.
fn node_of_file(file: &Path, snapshot: &Snapshot) -> Option<(NodeName, String)> {
    let mut name = file.file_name()?.to_str()?;
    for ending in [".gz", ".zst", ".pcap", ".pcapng", ".cap"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    // A node's name may have dots, and may begin with another one's.
    let begins = |node: &&NodeName| {
        name.strip_prefix(node.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let node = snapshot.nodes.keys().filter(begins).max_by_key(|node| node.as_str().len())?;
    let rest = name.get(node.as_str().len()..).unwrap_or_default().trim_start_matches('.');
    Some((node.clone(), rest.to_owned()))
}

fn on_host(node: &str, device: &str, snapshot: &Snapshot) -> Result<Point, String> {
    let Some(netns) = snapshot.find_netns(&NodeName::new(node), &NetnsName::Host) else {
        let nodes: Vec<&str> = snapshot.nodes.keys().map(NodeName::as_str).collect();
        let hint = near::hint(node, nodes.iter().map(|node| (*node).to_owned()), |node| node);
        return Err(format!("the snapshot has no nodes/{node}/host; its nodes are {}{hint}", nodes.join(", ")));
    };
    device_of(netns, device, snapshot)
}

fn in_pod(node: &str, pod: &str, device: &str, snapshot: &Snapshot) -> Result<Point, String> {
    let Some(known) = snapshot.nodes.get(&NodeName::new(node)) else { return on_host(node, device, snapshot) };
    let folders = known.pods.keys().map(|pod| format!("{}_{}", pod.namespace, pod.name));
    let found = known.pods.iter().find(|(name, _)| format!("{}_{}", name.namespace, name.name) == pod);
    let Some((_, netns)) = found else {
        let folders: Vec<String> = folders.collect();
        let hint = near::or_list(near::hint(pod, folders.clone(), |folder| folder), folders);
        return Err(format!("the snapshot has no nodes/{node}/pods/{pod}{hint}"));
    };
    device_of(*netns, device, snapshot)
}

fn device_of(id: NetnsId, device: &str, snapshot: &Snapshot) -> Result<Point, String> {
    let netns: &Netns = snapshot.netns(id);
    let device = IfName::new(device);
    match &netns.links {
        Some(links) if device.as_str() != ALL && !links.iter().any(|link| link.name == device) => {
            let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
            let hint = near::hint(device.as_str(), names.iter().map(|name| (*name).to_owned()), |name| name);
            let of = match &netns.name {
                NetnsName::Host => netns.node.to_string(),
                NetnsName::Pod(pod) => pod.to_string(),
            };
            Err(format!("{of} has no such device; it has {}{hint}", names.join(", ")))
        }
        _ => Ok(Point { netns: id, device }),
    }
}
