//! The rules that kube-proxy's iptables mode writes for a list of services.

use std::net::IpAddr;

use super::flannel::{Cluster, NETWORK4, NETWORK6};
use super::node::{Node, fnv};
use super::scenario::Rules;

/// A Service and its endpoints.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The last part of its cluster IPs.
    pub host: u8,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// The pods behind it (`NAMESPACE/POD`).
    pub endpoints: Vec<String>,
    /// `externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// The addresses in `status.loadBalancer`.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `externalTrafficPolicy: Local`.
    pub local: bool,
    /// `sessionAffinity: ClientIP`, in seconds.
    pub affinity: Option<u32>,
}

/// A port of a Service.
#[derive(Clone, Debug)]
pub struct ServicePort {
    /// Its name.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The port of the cluster IP.
    pub port: u16,
    /// The port of the pods.
    pub target: u16,
    /// The port of every node.
    pub node_port: Option<u16>,
}

impl Service {
    /// A service without ports.
    pub fn new(name: &str, host: u8) -> Self {
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            host,
            ports: Vec::new(),
            endpoints: Vec::new(),
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            local: false,
            affinity: None,
        }
    }

    /// Adds a port.
    pub fn port(mut self, name: &str, protocol: &str, port: u16, target: u16) -> Self {
        let (name, protocol) = (name.to_owned(), protocol.to_owned());
        self.ports.push(ServicePort { name, protocol, port, target, node_port: None });
        self
    }

    /// Gives the last port a NodePort.
    pub fn node_port(mut self, port: u16) -> Self {
        self.ports.last_mut().expect("a port comes first").node_port = Some(port);
        self
    }

    /// Adds endpoints.
    pub fn endpoints(mut self, pods: &[&str]) -> Self {
        self.endpoints.extend(pods.iter().map(|pod| (*pod).to_owned()));
        self
    }

    /// Its cluster IP.
    pub fn cluster_ip(&self, family: u8) -> IpAddr {
        let text = if family == 4 { format!("10.96.0.{}", self.host) } else { format!("fd00:10:96::{:x}", self.host) };
        text.parse().expect("an address")
    }
}

/// The 16 letters of a kube-proxy chain name.
fn chain_hash(text: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = (u128::from(fnv(text)) << 64) | u128::from(fnv(&format!("{text}#")));
    (0..16).map(|n| char::from(alphabet[usize::try_from((bits >> (n * 5)) & 31).unwrap_or(0)])).collect()
}

/// One port of one service on one node: the names of its chains and its endpoints.
struct Portal {
    name: String,
    svc: String,
    svl: String,
    ext: String,
    protocol: String,
    port: u16,
    node_port: Option<u16>,
    local: bool,
    affinity: Option<u32>,
    cluster_ip: IpAddr,
    external: Vec<(IpAddr, &'static str)>,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone)]
struct Endpoint {
    address: IpAddr,
    to: String,
    sep: String,
    here: bool,
}

fn portals(cluster: &Cluster, node: &Node, family: u8) -> Vec<Portal> {
    let mut portals = Vec::new();
    for service in &cluster.services {
        for port in &service.ports {
            let name = format!("{}/{}:{}", service.namespace, service.name, port.name);
            let hash = chain_hash(&format!("{name}{}", port.protocol));
            let endpoints = service.endpoints.iter().map(|pod| {
                let pod = cluster.pod_named(pod);
                let address = pod.address(family);
                let to = if family == 4 {
                    format!("{address}:{}", port.target)
                } else {
                    format!("[{address}]:{}", port.target)
                };
                let sep = format!("KUBE-SEP-{}", chain_hash(&format!("{name}{}{to}", port.protocol)));
                Endpoint { address, to, sep, here: pod.node == node.number }
            });
            let external = service.external_ips.iter().map(|ip| (*ip, "external IP"));
            let external = external.chain(service.load_balancer_ips.iter().map(|ip| (*ip, "loadbalancer IP")));
            portals.push(Portal {
                svc: format!("KUBE-SVC-{hash}"),
                svl: format!("KUBE-SVL-{hash}"),
                ext: format!("KUBE-EXT-{hash}"),
                protocol: port.protocol.clone(),
                port: port.port,
                node_port: port.node_port,
                local: service.local,
                affinity: service.affinity,
                cluster_ip: service.cluster_ip(family),
                external: external.filter(|(ip, _)| ip.is_ipv4() == (family == 4)).collect(),
                endpoints: endpoints.collect(),
                name,
            });
        }
    }
    portals
}

/// Adds a node's rules of one family.
pub fn add(cluster: &Cluster, node: &Node, family: u8, rules: &mut Rules) {
    add_frame(family, rules);
    for portal in portals(cluster, node, family) {
        portal.add(if family == 4 { NETWORK4 } else { NETWORK6 }, rules);
    }
    let local = "-m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\"";
    let not_lo = if family == 6 { "! -d ::1/128 " } else { "" };
    rules.append("nat", format!("KUBE-SERVICES {not_lo}{local} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"));
}

/// The rules that stand without any service.
fn add_frame(family: u8, rules: &mut Rules) {
    for chain in [
        "KUBE-EXTERNAL-SERVICES",
        "KUBE-FIREWALL",
        "KUBE-FORWARD",
        "KUBE-NODEPORTS",
        "KUBE-PROXY-FIREWALL",
        "KUBE-SERVICES",
    ] {
        rules.chain("filter", chain);
    }
    for chain in ["KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-SERVICES"] {
        rules.chain("nat", chain);
    }
    rules
        .chain("mangle", "KUBE-IPTABLES-HINT")
        .chain("mangle", "KUBE-KUBELET-CANARY")
        .chain("mangle", "KUBE-PROXY-CANARY");
    let new = "-m conntrack --ctstate NEW -m comment --comment";
    for (hook, text, chain) in [
        ("INPUT", format!("{new} \"kubernetes load balancer firewall\""), "KUBE-PROXY-FIREWALL"),
        ("INPUT", "-m comment --comment \"kubernetes health check service ports\"".to_owned(), "KUBE-NODEPORTS"),
        ("INPUT", format!("{new} \"kubernetes externally-visible service portals\""), "KUBE-EXTERNAL-SERVICES"),
        ("INPUT", String::new(), "KUBE-FIREWALL"),
        ("FORWARD", format!("{new} \"kubernetes load balancer firewall\""), "KUBE-PROXY-FIREWALL"),
        ("FORWARD", "-m comment --comment \"kubernetes forwarding rules\"".to_owned(), "KUBE-FORWARD"),
        ("FORWARD", format!("{new} \"kubernetes service portals\""), "KUBE-SERVICES"),
        ("FORWARD", format!("{new} \"kubernetes externally-visible service portals\""), "KUBE-EXTERNAL-SERVICES"),
        ("OUTPUT", format!("{new} \"kubernetes load balancer firewall\""), "KUBE-PROXY-FIREWALL"),
        ("OUTPUT", format!("{new} \"kubernetes service portals\""), "KUBE-SERVICES"),
        ("OUTPUT", String::new(), "KUBE-FIREWALL"),
    ] {
        rules.append("filter", format!("{hook} {text} -j {chain}"));
    }
    if family == 4 {
        rules.append("filter", "KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP");
    }
    let forwarding = "-m comment --comment \"kubernetes forwarding rules\"";
    rules.append("filter", "KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP");
    rules.append("filter", format!("KUBE-FORWARD {forwarding} -m mark --mark 0x4000/0x4000 -j ACCEPT"));
    rules.append("filter", "KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    for hook in ["PREROUTING", "OUTPUT"] {
        rules.append("nat", format!("{hook} -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"));
    }
    rules.append("nat", "POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING");
    rules.append("nat", "KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000");
    rules.append("nat", "KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN");
    rules.append("nat", "KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0");
    rules.append("nat", "KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully");
}

impl Portal {
    fn add(&self, pods: &str, rules: &mut Rules) {
        if self.endpoints.is_empty() {
            self.add_rejects(rules);
            return;
        }
        let (name, protocol) = (&self.name, &self.protocol);
        let cluster_ip = format!(
            "-d {} -p {protocol} -m comment --comment \"{name} cluster IP\" -m {protocol} --dport {}",
            self.cluster_ip, self.port
        );
        rules.append("nat", format!("KUBE-SERVICES {cluster_ip} -j {}", self.svc));
        for (ip, kind) in &self.external {
            rules.append("nat", format!("KUBE-SERVICES -d {ip} -p {protocol} -m comment --comment \"{name} {kind}\" -m {protocol} --dport {} -j {}", self.port, self.ext));
        }
        if let Some(port) = self.node_port {
            rules.append(
                "nat",
                format!(
                    "KUBE-NODEPORTS -p {protocol} -m comment --comment \"{name}\" -m {protocol} --dport {port} -j {}",
                    self.ext
                ),
            );
        }
        rules.chain("nat", &self.svc);
        rules.append("nat", format!("{} {cluster_ip} ! -s {pods} -j KUBE-MARK-MASQ", self.svc));
        self.add_choice(&self.svc, &self.endpoints, rules);
        if self.node_port.is_some() || !self.external.is_empty() {
            self.add_external(pods, rules);
        }
        for endpoint in &self.endpoints {
            let Endpoint { address, to, sep, .. } = endpoint;
            rules.chain("nat", sep);
            rules.append("nat", format!("{sep} -s {address} -m comment --comment \"{name}\" -j KUBE-MARK-MASQ"));
            let recent = self.affinity.map(|_| format!("-m recent --set --name {sep} --rsource ")).unwrap_or_default();
            rules.append("nat", format!("{sep} -p {protocol} -m comment --comment \"{name}\" {recent}-m {protocol} -j DNAT --to-destination {to}"));
        }
    }

    /// How a service chain picks an endpoint.
    fn add_choice(&self, chain: &str, endpoints: &[Endpoint], rules: &mut Rules) {
        let name = &self.name;
        if let Some(seconds) = self.affinity {
            for Endpoint { to, sep, .. } in endpoints {
                rules.append("nat", format!("{chain} -m comment --comment \"{name} -> {to}\" -m recent --rcheck --seconds {seconds} --reap --name {sep} --rsource -j {sep}"));
            }
        }
        for (n, Endpoint { to, sep, .. }) in endpoints.iter().enumerate() {
            let left = endpoints.len() - n;
            let chance = if left > 1 {
                format!("-m statistic --mode random --probability {:.10} ", 1.0 / left as f64)
            } else {
                String::new()
            };
            rules.append("nat", format!("{chain} -m comment --comment \"{name} -> {to}\" {chance}-j {sep}"));
        }
    }

    fn add_external(&self, pods: &str, rules: &mut Rules) {
        let Self { name, ext, svc, svl, .. } = self;
        rules.chain("nat", ext);
        if !self.local {
            rules.append("nat", format!("{ext} -m comment --comment \"masquerade traffic for {name} external destinations\" -j KUBE-MARK-MASQ"));
            rules.append("nat", format!("{ext} -j {svc}"));
            return;
        }
        rules.append(
            "nat",
            format!("{ext} -s {pods} -m comment --comment \"pod traffic for {name} external destinations\" -j {svc}"),
        );
        rules.append("nat", format!("{ext} -m comment --comment \"masquerade LOCAL traffic for {name} external destinations\" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ"));
        rules.append("nat", format!("{ext} -m comment --comment \"route LOCAL traffic for {name} external destinations\" -m addrtype --src-type LOCAL -j {svc}"));
        let here: Vec<Endpoint> = self.endpoints.iter().filter(|endpoint| endpoint.here).cloned().collect();
        if here.is_empty() {
            self.add_external_filter(rules, "has no local endpoints", "DROP");
            return;
        }
        rules.append("nat", format!("{ext} -j {svl}"));
        rules.chain("nat", svl);
        self.add_choice(svl, &here, rules);
    }

    fn add_external_filter(&self, rules: &mut Rules, why: &str, target: &str) {
        let (name, protocol) = (&self.name, &self.protocol);
        for (ip, _) in &self.external {
            rules.append("filter", format!("KUBE-EXTERNAL-SERVICES -d {ip} -p {protocol} -m comment --comment \"{name} {why}\" -m {protocol} --dport {} -j {target}", self.port));
        }
        if let Some(port) = self.node_port {
            rules.append("filter", format!("KUBE-EXTERNAL-SERVICES -p {protocol} -m comment --comment \"{name} {why}\" -m addrtype --dst-type LOCAL -m {protocol} --dport {port} -j {target}"));
        }
    }

    fn add_rejects(&self, rules: &mut Rules) {
        let (name, protocol) = (&self.name, &self.protocol);
        rules.append("filter", format!("KUBE-SERVICES -d {} -p {protocol} -m comment --comment \"{name} has no endpoints\" -m {protocol} --dport {} -j REJECT", self.cluster_ip, self.port));
        self.add_external_filter(rules, "has no endpoints", "REJECT");
    }
}
