//! Which devices `-i` and `--pod` mean.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::capture::live::{self, Spot};
use crate::cli::args::Capture;
use crate::cli::names::near;
use crate::cli::output;
use crate::collect::node::{Namespaces, Netns, node_name};
use crate::correlate::Point;
use crate::error::Error;
use crate::net::{IfName, NetnsName, NodeName, PodName};

/// The devices, each once.
pub(super) fn spots(typed: &Capture) -> Result<Vec<Spot>, Error> {
    let mut seen = BTreeSet::new();
    for device in &typed.interface {
        let all = typed.interface.join(",");
        if device.is_empty() {
            return Err(Error::Usage(format!("-i {all:?}: a device has no name")));
        }
        if !seen.insert(device) {
            return Err(Error::Usage(format!("-i {all}: {device} is named twice")));
        }
    }
    let namespaces = match typed.pod.as_slice() {
        [] if typed.namespace.is_some() => {
            return Err(Error::Usage("--namespace is that of the pods of --pod, or of the ends of --along".to_owned()));
        }
        [] => None,
        _ => Some(Namespaces::find(typed.node.as_deref())?),
    };
    let named = typed.node.as_deref().map(|name| node_name(Some(name))).transpose()?.map(|name| NodeName::new(&name));
    let node = namespaces.as_ref().map(|namespaces| &namespaces.node).or(named.as_ref());
    let mut spots: Vec<Spot> = typed.interface.iter().map(|device| here(device, node, typed)).collect();
    let Some(namespaces) = &namespaces else { return Ok(spots) };
    namespaces.notes.iter().for_each(|note| output::complain(&format!("note: {note}")));
    for pod in &typed.pod {
        for spot in in_pod(pod, namespaces, typed)? {
            if spots.iter().any(|other| other.name == spot.name) {
                return Err(Error::Usage(format!("--pod {}: {} is named twice", typed.pod.join(","), spot.name)));
            }
            spots.push(spot);
        }
    }
    Ok(spots)
}

/// A device of the present namespace. Beside those of pods, and where the node was named, its name says whose it is.
fn here(device: &str, node: Option<&NodeName>, typed: &Capture) -> Spot {
    let name = node.map_or_else(|| device.to_owned(), |node| name(node, NetnsName::Host, device));
    Spot { name, device: device.to_owned(), filter: typed.filter.clone(), netns: None }
}

/// What an interface is called that is not of the present namespace alone.
fn name(node: &NodeName, netns: NetnsName, device: &str) -> String {
    Point { node: node.clone(), netns, device: IfName::new(device) }.to_string()
}

/// The devices of a pod, in each of its namespaces: the one before may still be there.
fn in_pod(typed_pod: &str, namespaces: &Namespaces, typed: &Capture) -> Result<Vec<Spot>, Error> {
    let (pod, device) = named(typed_pod, typed, namespaces)?;
    let of_pod = namespaces.list.iter().filter(|netns| is_of(netns, &pod));
    let mut spots = Vec::new();
    for netns in of_pod {
        let file = netns.file.try_clone().map_err(|err| Error::Usage(format!("--pod {pod}: {err}")))?;
        let file = Arc::new(file);
        for device in devices(netns, &pod, device)? {
            let name = name(&namespaces.node, netns.name.clone(), &device);
            spots.push(Spot { name, device, filter: typed.filter.clone(), netns: Some(Arc::clone(&file)) });
        }
    }
    Ok(spots)
}

/// Whether a namespace is a pod's: its own, or one that it had before (`<pod>.2`).
fn is_of(netns: &Netns, pod: &PodName) -> bool {
    let NetnsName::Pod(name) = &netns.name else { return false };
    let number = name.name.strip_prefix(&*pod.name).and_then(|rest| rest.strip_prefix('.'));
    let is_other = number.is_some_and(|number| number.parse::<u32>().is_ok());
    name.namespace == pod.namespace && (name.name == pod.name || is_other)
}

/// `POD`, `NAMESPACE/POD` or `NAMESPACE/POD/DEVICE`.
fn named<'t>(text: &'t str, typed: &Capture, namespaces: &Namespaces) -> Result<(PodName, Option<&'t str>), Error> {
    let parts: Vec<&str> = text.split('/').collect();
    let (namespace, pod, device) = match *parts.as_slice() {
        [pod] => (typed.namespace.as_deref(), pod, None),
        [namespace, pod] => (Some(namespace), pod, None),
        [namespace, pod, device] => (Some(namespace), pod, Some(device)),
        _ => ("".into(), "", None),
    };
    if pod.is_empty() || namespace == Some("") || device == Some("") {
        let wanted = "NAMESPACE/POD is wanted, or NAMESPACE/POD/DEVICE";
        return Err(Error::Usage(format!("--pod {text:?}: {wanted}")));
    }
    let all: Vec<&PodName> = namespaces.list.iter().filter_map(pod_of).collect();
    let is_there = |namespace: &str| all.iter().any(|known| *known.namespace == *namespace && *known.name == *pod);
    let unknown = |what: &str| {
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        // Who gave no namespace is not asked for one.
        let part: fn(&str) -> &str =
            if what.contains('/') { |name| name } else { |name| name.rsplit('/').next().unwrap_or(name) };
        let hint = near::or_list(near::hint(what, names.clone(), part), names);
        Error::Usage(format!("--pod {text}: no namespace of this node is {what}'s{hint}"))
    };
    match namespace {
        Some(namespace) if is_there(namespace) => Ok((PodName::new(namespace, pod), device)),
        Some(namespace) => Err(unknown(&format!("{namespace}/{pod}"))),
        None if is_there("default") => Ok((PodName::new("default", pod), device)),
        None => match all.iter().filter(|known| *known.name == *pod).collect::<Vec<_>>().as_slice() {
            [] => Err(unknown(pod)),
            [only] => Ok(((**only).clone(), device)),
            several => {
                let names: Vec<String> = several.iter().map(ToString::to_string).collect();
                Err(Error::Usage(format!("--pod {text}: several are called so: {}; name one", names.join(", "))))
            }
        },
    }
}

fn pod_of(netns: &Netns) -> Option<&PodName> {
    match &netns.name {
        NetnsName::Pod(pod) => Some(pod),
        NetnsName::Host => None,
    }
}

/// The device that was named, or every one that is up and not `lo`.
fn devices(netns: &Netns, pod: &PodName, named: Option<&str>) -> Result<Vec<String>, Error> {
    let failed = |why: String| Error::Usage(format!("--pod {pod}: {why}"));
    let found =
        netns.enter(live::devices_up).map_err(|why| failed(format!("its namespace can't be entered: {why}")))?;
    match named {
        Some(device) => Ok(vec![device.to_owned()]),
        None if found.is_empty() => Err(failed("no device of it is up but lo".to_owned())),
        None => Ok(found),
    }
}
