//! Scenarios from a seed: topology, services, faults, routes, rules and questions.

use super::faults::{BETWEEN_NODES, Between};
use super::flannel::{CLIENT4, CLIENT6, Cluster, FlannelBackend, INTERNET4, INTERNET6};
use super::kube_proxy::Service;
use super::node::{Node, Pod};
use super::probe::{Probe, Proto};
use super::random_routes::add_routes;
use super::random_rules::{Words, add_rules};
use super::rng::Rng;
use super::scenario::Scenario;

/// The ports on which programs listen everywhere.
pub const LISTEN: [u16; 4] = [7000, 8080, 53, 7443];

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let mut rng = Rng::new(seed);
    let cluster = cluster(seed, &mut rng);
    let mut scenario = cluster.scenario();
    let mut words =
        vec![format!("seed {seed}: {:?}, {} nodes, {} pods", cluster.backend, cluster.nodes.len(), cluster.pods.len())];
    add_sysctls(&mut scenario, &cluster, &mut rng, &mut words);
    add_routes(&mut scenario, &cluster, &mut rng, &mut words);
    let values = Words::new(&cluster);
    for node in &cluster.nodes {
        for &family in cluster.families() {
            add_rules(&mut scenario, node, family, &values, &mut rng);
        }
    }
    add_fault(&mut scenario, &cluster, &mut rng, &mut words);
    scenario.words = words;
    scenario.kinds = kinds(&cluster, &scenario);
    let questions = rng.between(7, 11);
    for _ in 0..questions {
        let probe = question(&cluster, &mut rng);
        scenario.probes.push(probe);
    }
    scenario
}

/// The rows of the coverage table.
fn kinds(cluster: &Cluster, scenario: &Scenario) -> Vec<&'static str> {
    let backend = match cluster.backend {
        FlannelBackend::Vxlan => "vxlan",
        FlannelBackend::DirectRouting => "direct routing",
        FlannelBackend::HostGw => "host-gw",
        FlannelBackend::Udp => "udp backend",
    };
    let mut kinds = vec![backend];
    let mut add = |kind, holds| kinds.extend(Some(kind).filter(|_| holds));
    add("two subnets", cluster.nodes.iter().any(|node| node.subnet == 1));
    add("services", cluster.kube_proxy);
    add("policy routing", scenario.words.iter().any(|word| word.contains(" ip ")));
    add("a fault", scenario.words.iter().any(|word| word.starts_with("fault")));
    kinds
}

/// The weights are such that no row of the coverage table stays all but empty.
fn cluster(seed: u64, rng: &mut Rng) -> Cluster {
    let backend = match rng.below(100) {
        0..38 => FlannelBackend::Vxlan,
        38..62 => FlannelBackend::HostGw,
        62..84 => FlannelBackend::DirectRouting,
        _ => FlannelBackend::Udp,
    };
    let nodes = if rng.percent(25) { 3 } else { 2 };
    let mut cluster = Cluster::new(&format!("seed-{seed}"), backend, nodes);
    cluster.dual_stack = backend != FlannelBackend::Udp && rng.percent(55);
    cluster.bridge_nf = rng.percent(75);
    cluster.hairpin = rng.percent(75);
    cluster.kube_proxy = rng.percent(60);
    cluster.flannel_rules = rng.percent(85);
    cluster.rp_filter = [0, 0, 0, 1, 2][rng.below(5)];
    if backend != FlannelBackend::HostGw && rng.percent(25) {
        cluster = cluster.in_second_subnet(2);
    }
    cluster.nodes[0].second_uplink = rng.percent(25);
    for node in 1..=nodes {
        let pods = u8::try_from(rng.between(1, 2)).unwrap_or(1);
        for n in 0..pods {
            cluster.pods.push(Pod::new(&format!("default/pod{node}{n}"), node, 2 + n));
        }
    }
    // Where kube-proxy doesn't run, a service's address is one that nothing has.
    add_services(&mut cluster, rng);
    cluster
}

fn add_services(cluster: &mut Cluster, rng: &mut Rng) {
    for n in 0..rng.between(1, 3) {
        let mut service = Service::new(&format!("default/svc{n}"), 20 + n as u8);
        service = service.port("main", ["tcp", "udp"][rng.below(2)], 80, *rng.pick(&LISTEN[..2]));
        if rng.percent(40) {
            service = service.node_port(30080 + n as u16);
            service.local = rng.percent(40);
        }
        if rng.percent(15) {
            service.affinity = Some(10800);
        }
        if rng.percent(15) {
            service.external_ips.push("192.0.2.150".parse().expect("an address"));
        }
        for pod in &cluster.pods {
            if rng.percent(50) {
                service.endpoints.push(pod.full_name());
            }
        }
        cluster.services.push(service);
    }
}

fn add_sysctls(scenario: &mut Scenario, cluster: &Cluster, rng: &mut Rng, words: &mut Vec<String>) {
    for node in &cluster.nodes {
        for _ in 0..if rng.percent(35) { rng.between(1, 2) } else { 0 } {
            let device = rng.word(&["all", "eth0", "cni0"]);
            let (key, values): (&str, &[u8]) = *rng.pick(&[
                ("rp_filter", &[0, 1, 2][..]),
                ("forwarding", &[0, 1]),
                ("forwarding", &[0]),
                ("accept_local", &[0, 1]),
                ("route_localnet", &[0, 1]),
                ("src_valid_mark", &[0, 1]),
            ]);
            let value = *rng.pick(values);
            let family = if key == "forwarding" && cluster.dual_stack && rng.percent(65) { 6 } else { 4 };
            scenario.space(&node.name()).sysctl(format!("ipv{family}/conf/{device}/{key}"), value);
            words.push(format!("{} ipv{family} {device}.{key}={value}", node.name()));
        }
    }
}

fn add_fault(scenario: &mut Scenario, cluster: &Cluster, rng: &mut Rng, words: &mut Vec<String>) {
    let one_subnet = cluster.nodes.iter().all(|node| node.subnet == 0);
    let fit = cluster.backend == FlannelBackend::Vxlan && one_subnet;
    if !fit || !rng.percent(65) {
        return;
    }
    let fault = rng.pick(BETWEEN_NODES);
    let family = if cluster.dual_stack && fault.families().contains(&6) && rng.percent(60) { 6 } else { 4 };
    let (near, far) = if rng.percent(50) { (0, 1) } else { (1, 0) };
    (fault.make)(&mut Between { scenario, near: &cluster.nodes[near], far: &cluster.nodes[far], family });
    words.push(format!("fault {} in IPv{family} at {}", fault.name, cluster.nodes[far].name()));
}

/// Who may ask.
fn sender(cluster: &Cluster, family: u8, rng: &mut Rng) -> (String, String) {
    match rng.below(10) {
        0..6 => {
            let pod = rng.pick(&cluster.pods).full_name();
            (pod.clone(), pod)
        }
        9 if cluster.nodes.iter().all(|node| node.subnet == 0) => {
            ("client".to_owned(), if family == 4 { CLIENT4 } else { CLIENT6 }.to_owned())
        }
        _ => {
            let node = rng.pick(&cluster.nodes).name();
            (node.clone(), format!("node/{node}"))
        }
    }
}

fn question(cluster: &Cluster, rng: &mut Rng) -> Probe {
    // IPv6 is asked about as often as it can be, which is in half of the clusters.
    let family = if cluster.dual_stack && rng.percent(65) { 6 } else { 4 };
    let (space, from) = sender(cluster, family, rng);
    let mut aim = target(cluster, family, rng);
    // What an outside client has to do with the world outside is not the cluster's matter, and it sends what is for
    // nobody to nobody.
    while space == "client" && [INTERNET4, INTERNET6, nobodys(family)].contains(&aim.1.as_str()) {
        aim = target(cluster, family, rng);
    }
    let (mut to, destination, ports) = aim;
    let mut proto = *rng.pick(&[Proto::Icmp, Proto::Udp, Proto::Tcp]);
    let mut port = *rng.pick(&LISTEN);
    if let Some((wanted, number)) = ports {
        port = number;
        if rng.percent(90) {
            proto = wanted;
        } else if proto != wanted {
            // The service has no such port, so its name would not do.
            to.clone_from(&destination);
        }
    }
    let mut probe = Probe::new(&space, &from, &to, proto, &destination, port);
    probe.listen.extend(LISTEN);
    if rng.percent(12) {
        probe.ttl = Some(u8::try_from(rng.between(1, 4)).unwrap_or(1));
    }
    if rng.percent(10) {
        probe.tos = Some(*rng.pick(&[0x10, 0x08, 0xb8]));
    }
    // A mark doesn't cross from outside.
    if probe.space != "client" && rng.percent(10) {
        probe.mark = Some(*rng.pick(&[0x1, 0x10, 0x4000]));
    }
    if proto != Proto::Tcp && rng.percent(15) {
        // A packet from outside fits the link that it comes by. And in IPv6 the sender splits what is too long, where
        // a rule trace doesn't show which outer packet carries which piece.
        let most = if family == 6 || probe.space == "client" { 1400 } else { 1600 };
        probe.size = Some(u32::try_from(rng.between(100, most)).unwrap_or(100));
        probe.df = rng.percent(40);
    }
    probe
}

/// Where it goes: what `explain` is asked, the address, and for services the protocol and port.
fn target(cluster: &Cluster, family: u8, rng: &mut Rng) -> (String, String, Option<(Proto, u16)>) {
    let plain = |address: String| (address.clone(), address, None);
    match rng.below(100) {
        0..36 => {
            let pod = rng.pick(&cluster.pods);
            (pod.full_name(), pod.address(family).to_string(), None)
        }
        36..54 => service(cluster, family, rng),
        54..64 => {
            let node = rng.pick(&cluster.nodes);
            (format!("node/{}", node.name()), node_address(node, family), None)
        }
        64..80 => plain(if family == 4 { INTERNET4 } else { INTERNET6 }.to_owned()),
        80..84 => {
            let node = rng.pick(&cluster.nodes).number;
            plain(if family == 4 { format!("10.244.{node}.99") } else { format!("fd00:10:244:{node}::99") })
        }
        84..88 => {
            let node = rng.pick(&cluster.nodes).number;
            plain(if family == 4 { format!("10.244.{node}.1") } else { format!("fd00:10:244:{node}::1") })
        }
        // Addresses of the cluster that nothing in it has, or not with this port.
        88..94 => plain(rng.pick(&cluster.services).cluster_ip(family).to_string()),
        _ => plain(nobodys(family).to_owned()),
    }
}

/// An address of the pods' network, but of no node's part of it.
fn nobodys(family: u8) -> &'static str {
    if family == 4 { "10.244.77.5" } else { "fd00:10:244:77::5" }
}

fn node_address(node: &Node, family: u8) -> String {
    if family == 4 { node.address4().to_string() } else { node.address6().to_string() }
}

fn service(cluster: &Cluster, family: u8, rng: &mut Rng) -> (String, String, Option<(Proto, u16)>) {
    let service = rng.pick(&cluster.services);
    let port = &service.ports[0];
    let proto = if port.protocol == "udp" { Proto::Udp } else { Proto::Tcp };
    if let Some(number) = port.node_port
        && rng.percent(50)
    {
        let address = node_address(rng.pick(&cluster.nodes), family);
        return (address.clone(), address, Some((proto, number)));
    }
    let address = service.cluster_ip(family).to_string();
    (format!("svc/{}/{}", service.namespace, service.name), address, Some((proto, port.port)))
}
