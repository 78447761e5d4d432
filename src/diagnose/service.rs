//! A service's address is no place: a packet to it gets somewhere only because a rule rewrites it.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::load;
use crate::net::{Packet, Protocol};
use crate::snapshot::{Service, ServicePort, Snapshot};
use crate::trace::{Answer, Decision, Finding, NatChange, NotRewritten, Path, Step, Verdict};

/// Says so where a packet to a service was not rewritten to one of its endpoints, and where it went instead.
pub(super) fn not_rewritten(snapshot: &Snapshot, answer: &Answer) -> Vec<Finding> {
    let request = &answer.request;
    let bare: Vec<&Path> = answer.paths.iter().filter(|path| is_bare(path, request.ip.destination)).collect();
    if bare.is_empty() {
        return Vec::new();
    }
    let Some(service) = service_of(snapshot, request.ip.destination) else { return Vec::new() };
    let told = if snapshot.kube.services.is_none() { ", as the comment of a rule tells" } else { "" };
    let mut findings: Vec<Finding> = Vec::new();
    for path in bare {
        let Some(last) = path.forward.steps.last() else { continue };
        let why = why(&service, request);
        let what = format!("{}: {}", in_words(why, &service, request, told), fate(path, last));
        let mut evidence = vec![service.evidence];
        evidence.extend(last_route(path).and_then(|step| step.because.first()));
        if !findings.iter().any(|known| known.what == what) {
            findings.push(Finding { what, evidence, not_rewritten: Some((request.ip.destination, why)) });
        }
    }
    findings
}

/// The service that has the address, by its object, or by the rules where the objects are missing.
fn service_of(snapshot: &Snapshot, address: IpAddr) -> Option<Cow<'_, Service>> {
    let has = |service: &&Service| {
        let lists = [&service.cluster_ips, &service.external_ips, &service.load_balancer_ips];
        lists.iter().any(|list| list.contains(&address))
    };
    match &snapshot.kube.services {
        Some(services) => services.iter().find(has).map(Cow::Borrowed),
        None => load::service_at_in_rules(snapshot, address).map(Cow::Owned),
    }
}

/// Whether the packet came to its end, and with the service's address still on it.
fn is_bare(path: &Path, address: IpAddr) -> bool {
    let rewrites = |step: &Step| {
        matches!(&step.decision, Decision::Nat { change: NatChange::Dnat, from_endpoint, .. }
            if from_endpoint.0 == address)
    };
    path.forward.verdict != Verdict::Undetermined && !path.forward.steps.iter().any(rewrites)
}

fn why(service: &Service, packet: &Packet) -> NotRewritten {
    let protocol = packet.protocol();
    let fits = |port: &ServicePort| port.protocol == protocol && Some(port.port) == packet.destination_port();
    match protocol {
        Protocol::ICMP | Protocol::ICMPV6 => NotRewritten::NoPorts,
        _ if service.ports.iter().any(fits) => NotRewritten::NoRule,
        _ => NotRewritten::OtherPort,
    }
}

fn in_words(why: NotRewritten, service: &Service, packet: &Packet, told: &str) -> String {
    let name = format!("svc/{}/{} ({}{told})", service.namespace, service.name, packet.ip.destination);
    let protocol = packet.protocol();
    let ports: Vec<String> = service.ports.iter().map(ToString::to_string).collect();
    let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
    let port = || packet.destination_port().map(|port| format!("{port}/")).unwrap_or_default();
    match why {
        NotRewritten::NoPorts => {
            format!("{name} answers only to its ports ({ports}), and no rule of it matches {protocol}")
        }
        NotRewritten::NoRule => format!("no rule sends this packet for {name} to an endpoint"),
        NotRewritten::OtherPort => format!("{name} has no port {}{protocol}; its ports are {ports}", port()),
    }
}

/// What became of the packet instead.
fn fate(path: &Path, last: &Step) -> String {
    let node = &last.place.node;
    let way = last_route(path).and_then(|step| match &step.decision {
        Decision::Route { device: Some(device), .. } => Some(format!(" by {device} of {}", step.place.node)),
        _ => None,
    });
    let way = way.unwrap_or_default();
    match path.forward.verdict {
        Verdict::Delivered => format!("it is delivered to {node} itself"),
        Verdict::Left | Verdict::Lost => format!("it is routed as it is, out{way}"),
        verdict => format!("it is routed as it is,{way}, and is {} on {node}", verdict.as_str()),
    }
}

/// The last routing decision about the packet itself, not about a tunnel around it.
fn last_route(path: &Path) -> Option<&Step> {
    let is_own = |step: &&Step| matches!(step.decision, Decision::Route { .. }) && step.packet.inner.is_none();
    path.forward.steps.iter().rev().find(is_own)
}
