//! Services where `cluster/services.json` is missing: kube-proxy writes each one's name into the comments of the rules
//! for its addresses (`writeToRules` in `pkg/proxy/iptables/proxier.go` of Kubernetes).

use std::net::IpAddr;

use crate::evidence::{Evidence, FileId};
use crate::net::{Family, Protocol};
use crate::snapshot::{Backend, Service, ServicePort, Snapshot};

/// The service of a name as the rules tell it, if any does.
#[must_use]
pub fn service_in_rules(snapshot: &Snapshot, namespace: &str, name: &str) -> Option<Service> {
    let mut found: Option<Service> = None;
    let wanted = format!("\"{namespace}/{name}");
    each_row(snapshot, &wanted, |row, evidence| {
        let Some(told) = Told::read(row).filter(|told| told.is(namespace, name) && told.is_cluster_ip) else { return };
        let known = found.get_or_insert_with(|| empty(&told, evidence));
        known.cluster_ips.extend(Some(told.address).filter(|address| !known.cluster_ips.contains(address)));
        add(known, &told);
    });
    found
}

/// The service of an address as the rules tell it, if any does.
#[must_use]
pub fn service_at_in_rules(snapshot: &Snapshot, address: IpAddr) -> Option<Service> {
    let mut found: Option<Service> = None;
    each_row(snapshot, &format!(" -d {address}/"), |row, evidence| {
        let Some(told) = Told::read(row).filter(|told| told.address == address) else { return };
        let known = found.get_or_insert_with(|| Service { cluster_ips: vec![address], ..empty(&told, evidence) });
        if told.is(&known.namespace, &known.name) {
            add(known, &told);
        }
    });
    found
}

/// The rows of every rule set of iptables that hold some text.
fn each_row(snapshot: &Snapshot, wanted: &str, mut see: impl FnMut(&str, Evidence)) {
    for file in files(snapshot) {
        let Some(text) = snapshot.files.get(file).map(|file| file.text.clone()) else { continue };
        if memchr::memmem::find(text.as_bytes(), wanted.as_bytes()).is_none() {
            continue;
        }
        let rows = (1u32..).zip(text.lines()).filter(|(_, row)| row.contains(wanted));
        rows.for_each(|(line, row)| see(row, Evidence::line(file, line)));
    }
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

/// What one rule tells of a service.
struct Told<'a> {
    namespace: &'a str,
    name: &'a str,
    /// The port's name, empty where it has none.
    port: &'a str,
    is_cluster_ip: bool,
    address: IpAddr,
    protocol: Protocol,
    number: u16,
}

impl<'a> Told<'a> {
    /// Reads `-A KUBE-SERVICES -d 10.96.0.10/32 -p udp … --comment "kube-system/kube-dns:dns cluster IP" … --dport 53`.
    fn read(row: &'a str) -> Option<Self> {
        let (service, what) = row.split_once('"')?.1.split_once('"')?.0.split_once(' ')?;
        let (path, port) = service.split_once(':').unwrap_or((service, ""));
        let (namespace, name) = path.split_once('/')?;
        let after = |option: &str| row.split_ascii_whitespace().skip_while(|word| *word != option).nth(1);
        let chain = after("-A")?;
        let is_cluster_ip = match what {
            "cluster IP" => true,
            "has no endpoints" => chain == "KUBE-SERVICES",
            "external IP" | "loadbalancer IP" | "has no local endpoints" => false,
            _ => return None,
        };
        let protocol = match after("-p")? {
            "tcp" => Protocol::TCP,
            "udp" => Protocol::UDP,
            "sctp" => Protocol::SCTP,
            _ => return None,
        };
        let address = after("-d")?.split('/').next()?.parse().ok()?;
        let number = after("--dport")?.parse().ok()?;
        Some(Self { namespace, name, port, is_cluster_ip, address, protocol, number })
    }

    fn is(&self, namespace: &str, name: &str) -> bool {
        (self.namespace, self.name) == (namespace, name)
    }
}

fn add(service: &mut Service, told: &Told<'_>) {
    if !service.ports.iter().any(|known| (known.port, known.protocol) == (told.number, told.protocol)) {
        let name = (!told.port.is_empty()).then(|| told.port.to_owned());
        let (protocol, port) = (told.protocol, told.number);
        service.ports.push(ServicePort { name, protocol, port, node_port: None, target_port: None });
    }
}

fn empty(told: &Told<'_>, evidence: Evidence) -> Service {
    Service {
        namespace: told.namespace.to_owned(),
        name: told.name.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_tells_a_services_name_address_and_port() {
        let row = |comment: &str| {
            format!(
                "[3:180] -A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment \"{comment}\" -m udp \
                 --dport 53 -j KUBE-SVC-X"
            )
        };
        let text = row("kube-system/kube-dns:dns cluster IP");
        let told = Told::read(&text).unwrap();
        assert_eq!((told.namespace, told.name, told.port), ("kube-system", "kube-dns", "dns"));
        assert_eq!((told.address.to_string().as_str(), told.protocol, told.number), ("10.96.0.10", Protocol::UDP, 53));
        assert!(told.is_cluster_ip);
        let text = row("shop/web external IP");
        assert!(!Told::read(&text).unwrap().is_cluster_ip && Told::read(&text).unwrap().port.is_empty());
        for other in ["shop/web has plenty", "shop", "", "cluster IP", "a \\\" cluster IP"] {
            assert!(Told::read(&row(other)).is_none(), "{other}");
        }
        assert!(Told::read("-A KUBE-SERVICES -d 10.96.0.10/32 -j DROP").is_none());
    }
}
