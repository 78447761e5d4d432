//! Clusters as flannel and the CNI plugins leave them: what flanneld writes by hand at node start, for N nodes.

use super::kube_proxy::{self, Service};
use super::node::{Node, Pod};
use super::objects;
use super::scenario::{Place, Plug, RelayProgram, Scenario, Space, Wire};
use super::wire::RELAY_PORT;

/// flannel's pod network.
pub const NETWORK4: &str = "10.244.0.0/16";
/// flannel's pod network in IPv6.
pub const NETWORK6: &str = "fd00:10:244::/48";
/// An address outside the cluster, behind the nodes' gateway.
pub const INTERNET4: &str = "203.0.113.9";
/// The same in IPv6.
pub const INTERNET6: &str = "2001:db8:113::9";
/// A client beside the nodes, in their subnet.
pub const CLIENT4: &str = "192.0.2.200";
/// The same in IPv6.
pub const CLIENT6: &str = "2001:db8:2::200";

/// flannel's backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlannelBackend {
    /// Everything through flannel.1.
    Vxlan,
    /// Peers in the same subnet by way of their underlay address, others through flannel.1.
    DirectRouting,
    /// Routes only.
    HostGw,
    /// The TUN device flannel0 and flanneld as a relay.
    Udp,
}

/// A cluster to build.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The scenario's name.
    pub name: String,
    /// flannel's backend.
    pub backend: FlannelBackend,
    /// Whether pods and nodes have IPv6 too.
    pub dual_stack: bool,
    /// The nodes, n1 first.
    pub nodes: Vec<Node>,
    /// The pods.
    pub pods: Vec<Pod>,
    /// The services.
    pub services: Vec<Service>,
    /// `bridge-nf-call-iptables` and `-ip6tables`.
    pub bridge_nf: bool,
    /// The bridge ports' hairpin mode.
    pub hairpin: bool,
    /// The underlay's MTU.
    pub mtu: u32,
    /// `rp_filter`, of `all` and of every device.
    pub rp_filter: u8,
    /// Whether flannel's rules are there.
    pub flannel_rules: bool,
    /// Whether kube-proxy's rules are there.
    pub kube_proxy: bool,
}

impl Cluster {
    /// A cluster of so many nodes in one subnet, with flannel's and kube-proxy's rules, and no pods yet.
    pub fn new(name: &str, backend: FlannelBackend, nodes: u8) -> Self {
        Self {
            name: name.to_owned(),
            backend,
            dual_stack: false,
            nodes: (1..=nodes).map(Node::new).collect(),
            pods: Vec::new(),
            services: Vec::new(),
            bridge_nf: true,
            hairpin: true,
            mtu: 1500,
            rp_filter: 0,
            flannel_rules: true,
            kube_proxy: true,
        }
    }

    /// Adds a pod (`shop/web-0`) to a node.
    pub fn pod(mut self, name: &str, node: u8, host: u8) -> Self {
        self.pods.push(Pod::new(name, node, host));
        self
    }

    /// Adds a service.
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// Adds a node with a name of its own; its number.
    pub fn add_node(&mut self, label: &str) -> u8 {
        let number = u8::try_from(self.nodes.len() + 1).expect("few nodes");
        self.nodes.push(Node { label: Some(label.to_owned()), ..Node::new(number) });
        number
    }

    /// Puts a node into the second subnet, behind the router.
    pub fn in_second_subnet(mut self, node: u8) -> Self {
        for known in self.nodes.iter_mut().filter(|known| known.number == node) {
            known.subnet = 1;
        }
        self
    }

    /// The pod of a name.
    pub fn pod_named(&self, name: &str) -> &Pod {
        let wanted = Pod::new(name, 0, 0).full_name();
        self.pods.iter().find(|pod| pod.full_name() == wanted).unwrap_or_else(|| panic!("no pod {name}"))
    }

    /// The node of a number.
    pub fn node(&self, number: u8) -> &Node {
        self.nodes.iter().find(|node| node.number == number).unwrap_or_else(|| panic!("no node {number}"))
    }

    /// The address families in use.
    pub fn families(&self) -> &'static [u8] {
        if self.dual_stack { &[4, 6] } else { &[4] }
    }

    /// The MTU of pods and tunnel devices.
    pub fn pod_mtu(&self) -> u32 {
        match self.backend {
            FlannelBackend::Vxlan | FlannelBackend::DirectRouting => self.mtu - 50,
            FlannelBackend::HostGw => self.mtu,
            FlannelBackend::Udp => self.mtu - 28,
        }
    }

    /// The namespaces, wires and objects of the cluster.
    pub fn scenario(&self) -> Scenario {
        let mut scenario = Scenario { name: self.name.clone(), ..Scenario::default() };
        let mut cluster = self.clone();
        self.add_underlay(&mut scenario);
        for node in &mut cluster.nodes {
            let mut host = self.host(node);
            self.add_uplink(node, &mut host, &mut scenario);
            self.add_flannel(node, &mut host);
            self.add_bridge(node, &mut host, &mut scenario);
            self.add_rules(node, &mut host);
            if self.backend == FlannelBackend::Udp {
                scenario.relays.push(self.relay(node));
            }
            scenario.spaces.push(host);
        }
        for pod in &self.pods {
            scenario.spaces.push(self.pod_space(pod));
        }
        scenario.objects = objects::of_cluster(self);
        scenario
    }

    fn host(&self, node: &Node) -> Space {
        let mut host = Space::new(node.name(), Place::Host { node: node.name() });
        self.add_defaults(&mut host, self.rp_filter);
        host.sysctl("ipv4/ip_forward", 1);
        if self.dual_stack {
            host.sysctl("ipv6/conf/all/forwarding", 1);
        }
        for family in ["iptables", "ip6tables"] {
            host.sysctl(format!("bridge/bridge-nf-call-{family}"), u8::from(self.bridge_nf));
        }
        host
    }

    /// A new namespace copies much from the machine's own; here every namespace starts from the same values.
    pub fn add_defaults(&self, space: &mut Space, rp_filter: u8) {
        let mut set = |name: &str, value: u8| space.defaults.push((name.to_owned(), value.to_string()));
        for scope in ["all", "default"] {
            let wanted = [("rp_filter", rp_filter), ("forwarding", 0), ("accept_local", 0), ("route_localnet", 0)];
            for (key, value) in wanted {
                set(&format!("ipv4/conf/{scope}/{key}"), value);
            }
            for (key, value) in
                [("send_redirects", 1), ("accept_redirects", 0), ("log_martians", 0), ("src_valid_mark", 0)]
            {
                set(&format!("ipv4/conf/{scope}/{key}"), value);
            }
            set(&format!("ipv6/conf/{scope}/disable_ipv6"), u8::from(!self.dual_stack));
            for (key, value) in [("accept_dad", 0), ("dad_transmits", 0), ("router_solicitations", 0), ("accept_ra", 0)]
            {
                set(&format!("ipv6/conf/{scope}/{key}"), value);
            }
        }
        set("ipv4/igmp_link_local_mcast_reports", 0);
        set("ipv4/conf/lo/rp_filter", rp_filter);
        set("bridge/bridge-nf-call-iptables", 0);
        set("bridge/bridge-nf-call-ip6tables", 0);
    }

    fn add_flannel(&self, node: &Node, host: &mut Space) {
        match self.backend {
            FlannelBackend::Udp => self.add_tun(node, host),
            FlannelBackend::HostGw => {}
            FlannelBackend::Vxlan | FlannelBackend::DirectRouting => {
                for &family in self.families() {
                    self.add_vxlan(node, family, host);
                }
            }
        }
        for peer in self.nodes.iter().filter(|peer| peer.number != node.number) {
            for &family in self.families() {
                self.add_peer(node, peer, family, host);
            }
        }
    }

    fn add_vxlan(&self, node: &Node, family: u8, host: &mut Space) {
        let dev = vxlan_name(family);
        let (local, mtu) = (node.address_of(family), self.pod_mtu() - if family == 6 { 20 } else { 0 });
        let index = if family == 4 { 4 } else { 5 };
        let mac = node.vtep_mac(family);
        host.ip(format!(
            "link add {dev} index {index} address {mac} mtu {mtu} type vxlan id 1 local {local} dev eth0 dstport 8472 nolearning"
        ));
        match family {
            4 => host.ip(format!("addr add 10.244.{}.0/32 dev {dev}", node.number)),
            _ => host.ip(format!("addr add fd00:10:244:{}::/128 dev {dev} nodad", node.number)),
        };
        host.ip(format!("link set {dev} up"));
    }

    fn add_tun(&self, node: &Node, host: &mut Space) {
        host.ip(format!("link set flannel0 mtu {}", self.pod_mtu()));
        host.ip(format!("addr add 10.244.{}.0/32 dev flannel0", node.number)).ip("link set flannel0 up");
        host.ip(format!("route add {NETWORK4} dev flannel0"));
    }

    fn relay(&self, node: &Node) -> RelayProgram {
        let peers = self.nodes.iter().filter(|peer| peer.number != node.number);
        RelayProgram {
            space: node.name(),
            dev: "flannel0".to_owned(),
            local: (node.address4().into(), RELAY_PORT),
            routes: peers.map(|peer| (peer.pod_cidr4(), peer.address4().into())).collect(),
        }
    }

    fn add_peer(&self, node: &Node, peer: &Node, family: u8, host: &mut Space) {
        let direct = match self.backend {
            FlannelBackend::Udp => return,
            FlannelBackend::Vxlan => false,
            FlannelBackend::HostGw => true,
            FlannelBackend::DirectRouting => node.subnet == peer.subnet,
        };
        let (cidr, first) = match family {
            4 => (peer.pod_cidr4(), format!("10.244.{}.0", peer.number)),
            _ => (peer.pod_cidr6(), format!("fd00:10:244:{}::", peer.number)),
        };
        let remote = peer.address_of(family);
        if direct {
            host.ip(format!("route add {cidr} via {remote} dev eth0"));
            return;
        }
        let (dev, mac) = (vxlan_name(family), peer.vtep_mac(family));
        host.ip(format!("neigh replace {first} lladdr {mac} dev {dev} nud permanent"));
        host.bridge.push(format!("fdb replace {mac} dev {dev} dst {remote} self permanent"));
        host.ip(format!("route add {cidr} via {first} dev {dev} onlink"));
    }

    fn add_bridge(&self, node: &mut Node, host: &mut Space, scenario: &mut Scenario) {
        let mtu = self.pod_mtu() - if self.dual_stack && self.backend == FlannelBackend::Vxlan { 20 } else { 0 };
        host.ip(format!("link add cni0 index 6 address {} mtu {mtu} type bridge", node.bridge_mac()));
        host.ip(format!("addr add 10.244.{}.1/24 brd + dev cni0", node.number)).ip("link set cni0 up");
        if self.dual_stack {
            host.ip(format!("addr add fd00:10:244:{}::1/64 dev cni0 nodad", node.number));
        }
        for pod in self.pods.iter().filter(|pod| pod.node == node.number) {
            let veth = pod.veth();
            host.ip(format!("link set {veth} master cni0")).ip(format!("link set {veth} up"));
            if self.hairpin {
                host.bridge.push(format!("link set dev {veth} hairpin on"));
            }
            let outer = Plug { space: node.name(), dev: veth, index: node.next_index, mac: pod.veth_mac() };
            let inner = Plug { space: pod.space(), dev: "eth0".to_owned(), index: 2, mac: pod.mac() };
            node.next_index += 1;
            scenario.wires.push(Wire { a: outer, b: inner, mtu });
        }
    }

    fn pod_space(&self, pod: &Pod) -> Space {
        let node = self.node(pod.node).name();
        let place = Place::Pod { node, namespace: pod.namespace.clone(), pod: pod.name.clone() };
        let mut space = Space::new(pod.space(), place);
        self.add_defaults(&mut space, self.rp_filter);
        space.ip(format!("addr add {}/24 brd + dev eth0", pod.address4())).ip("link set eth0 up");
        space.ip(format!("route add default via 10.244.{}.1 dev eth0", pod.node));
        space.ip(format!("route add {NETWORK4} via 10.244.{}.1 dev eth0", pod.node));
        if self.dual_stack {
            let gateway = format!("fd00:10:244:{}::1", pod.node);
            space.ip(format!("addr add {}/64 dev eth0 nodad", pod.address6()));
            space.ip(format!("route add default via {gateway} dev eth0"));
            space.ip(format!("route add {NETWORK6} via {gateway} dev eth0"));
        }
        space
    }

    fn add_rules(&self, node: &Node, host: &mut Space) {
        for &family in self.families() {
            let rules = if family == 4 { host.rules4() } else { host.rules6() };
            if self.kube_proxy {
                kube_proxy::add(self, node, family, rules);
            }
            if self.flannel_rules {
                Self::add_flannel_rules(node, family, rules);
            }
        }
    }

    /// What flannel's iptables traffic manager appends.
    fn add_flannel_rules(node: &Node, family: u8, rules: &mut super::scenario::Rules) {
        let (network, cidr, multicast) = match family {
            4 => (NETWORK4, node.pod_cidr4(), "224.0.0.0/4"),
            _ => (NETWORK6, node.pod_cidr6(), "ff00::/8"),
        };
        let masq = "-m comment --comment \"flanneld masq\"";
        rules.chain("nat", "FLANNEL-POSTRTG");
        rules.append("nat", format!("POSTROUTING {masq} -j FLANNEL-POSTRTG"));
        for rule in [
            format!("-m mark --mark 0x4000/0x4000 {masq} -j RETURN"),
            format!("-s {cidr} -d {network} {masq} -j RETURN"),
            format!("-s {network} -d {cidr} {masq} -j RETURN"),
            format!("! -s {network} -d {cidr} {masq} -j RETURN"),
            format!("-s {network} ! -d {multicast} {masq} -j MASQUERADE --random-fully"),
            format!("! -s {network} -d {network} {masq} -j MASQUERADE --random-fully"),
        ] {
            rules.append("nat", format!("FLANNEL-POSTRTG {rule}"));
        }
        let forward = "-m comment --comment \"flanneld forward\"";
        rules.chain("filter", "FLANNEL-FWD");
        rules.append("filter", format!("FORWARD {forward} -j FLANNEL-FWD"));
        rules.append("filter", format!("FLANNEL-FWD -s {network} {forward} -j ACCEPT"));
        rules.append("filter", format!("FLANNEL-FWD -d {network} {forward} -j ACCEPT"));
    }
}

/// flannel's name for the VXLAN device of a family.
pub fn vxlan_name(family: u8) -> &'static str {
    if family == 4 { "flannel.1" } else { "flannel-v6.1" }
}
