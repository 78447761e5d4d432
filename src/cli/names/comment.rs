//! Services by name where `cluster/services.json` is missing: kube-proxy writes each one's name into the comment of the
//! rule for its cluster address (`writeToRules` in `pkg/proxy/iptables/proxier.go` of Kubernetes).

use crate::evidence::{Evidence, FileId};
use crate::net::{Family, Protocol};
use crate::snapshot::{Backend, Service, ServicePort, Snapshot};

/// The service of a name as the rules tell it, if any does.
pub(super) fn service(snapshot: &Snapshot, namespace: &str, name: &str) -> Option<Service> {
    let mut found: Option<Service> = None;
    let name_in_comment = format!("\"{namespace}/{name}");
    for file in files(snapshot) {
        let text = snapshot.files.get(file).map(|file| file.text.clone())?;
        for (line, row) in (1u32..).zip(text.lines()) {
            let Some(port) =
                row.find(&name_in_comment).and_then(|at| port_name(row.get(at + name_in_comment.len()..)?))
            else {
                continue;
            };
            let known = found.get_or_insert_with(|| empty(namespace, name, Evidence::line(file, line)));
            add(known, row, port);
        }
    }
    found.filter(|service| !service.cluster_ips.is_empty())
}

fn files(snapshot: &Snapshot) -> impl Iterator<Item = FileId> {
    let kinds = [
        (Family::Inet, Backend::Nft),
        (Family::Inet, Backend::Legacy),
        (Family::Inet6, Backend::Nft),
        (Family::Inet6, Backend::Legacy),
    ];
    let all = kinds.into_iter().flat_map(|kind| snapshot.namespaces.iter().map(move |netns| (kind, netns)));
    all.filter_map(|((family, backend), netns)| netns.netfilter.ruleset(family, backend)).map(|ruleset| ruleset.file)
}

/// The port's name, empty where it has none, in what follows a service's name: `:dns cluster IP"`, ` cluster IP"`.
fn port_name(rest: &str) -> Option<&str> {
    let port = rest.split_once(" cluster IP\"")?.0;
    match port.strip_prefix(':') {
        Some(port) => (!port.contains(['"', ' '])).then_some(port),
        None => port.is_empty().then_some(port),
    }
}

fn add(service: &mut Service, row: &str, port: &str) {
    let after = |option: &str| row.split_ascii_whitespace().skip_while(|word| *word != option).nth(1);
    let address = after("-d").and_then(|prefix| prefix.split('/').next()?.parse().ok());
    let protocol = match after("-p") {
        Some("tcp") => Protocol::TCP,
        Some("udp") => Protocol::UDP,
        Some("sctp") => Protocol::SCTP,
        _ => return,
    };
    let (Some(address), Some(number)) = (address, after("--dport").and_then(|port| port.parse().ok())) else { return };
    if !service.cluster_ips.contains(&address) {
        service.cluster_ips.push(address);
    }
    if !service.ports.iter().any(|known| (known.port, known.protocol) == (number, protocol)) {
        let name = (!port.is_empty()).then(|| port.to_owned());
        service.ports.push(ServicePort { name, protocol, port: number, node_port: None, target_port: None });
    }
}

fn empty(namespace: &str, name: &str, evidence: Evidence) -> Service {
    Service {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: "ClusterIP".to_owned(),
        cluster_ips: Vec::new(),
        headless: false,
        external_name: None,
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        ports: Vec::new(),
        external_traffic_policy: None,
        internal_traffic_policy: None,
        session_affinity: None,
        evidence,
    }
}
