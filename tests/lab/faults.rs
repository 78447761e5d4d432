//! What goes wrong in flannel clusters, each thing made in a scenario of its own or beside others.

use super::flannel::vxlan_name;
use super::node::Node;
use super::scenario::{Backend, Rules, Scenario, Space};

/// A fault between a client's node and another, which it makes in the scenario.
#[derive(Clone, Copy)]
pub struct Fault {
    /// A word for it.
    pub name: &'static str,
    /// Makes it.
    pub make: fn(&mut Between<'_>),
}

/// Where a fault is made.
pub struct Between<'a> {
    /// The scenario.
    pub scenario: &'a mut Scenario,
    /// The client's node.
    pub near: &'a Node,
    /// The other node.
    pub far: &'a Node,
    /// The address family that it befalls.
    pub family: u8,
}

impl Between<'_> {
    fn near(&mut self) -> &mut Space {
        let name = self.near.name();
        self.scenario.space(&name)
    }

    fn far(&mut self) -> &mut Space {
        let name = self.far.name();
        self.scenario.space(&name)
    }

    /// The tunnel's device.
    fn vtep(&self) -> &'static str {
        vxlan_name(self.family)
    }

    /// The first word of a node's pod network's addresses: `10.244.2.` or `fd00:10:244:2::`.
    fn pods(&self, node: &Node) -> String {
        if self.family == 4 { format!("10.244.{}.", node.number) } else { format!("fd00:10:244:{}::", node.number) }
    }

    /// A node's address in the tunnel, which its peers' routes name.
    fn gateway(&self, node: &Node) -> String {
        if self.family == 4 { format!("{}0", self.pods(node)) } else { self.pods(node) }
    }

    fn pod_cidr(&self, node: &Node) -> String {
        if self.family == 4 { node.pod_cidr4() } else { node.pod_cidr6() }
    }

    /// Sets what is under `net.ipv4` or `net.ipv6` on the far node.
    fn far_sysctl(&mut self, key: &str, value: u8) {
        let key = format!("ipv{}/{key}", self.family);
        self.far().sysctl(key, value);
    }

    fn far_rules(&mut self) -> &mut Rules {
        if self.family == 4 { self.far().rules4() } else { self.far().rules6() }
    }

    /// The far node's way back to the near one goes over the underlay.
    fn answer_bare(&mut self) {
        let (cidr, via) = (self.near.pod_cidr4(), self.near.address4());
        let far = self.far();
        far.ip.retain(|line| !line.starts_with(&format!("route add {cidr} ")));
        far.ip(format!("route add {cidr} via {via} dev eth0"));
    }

    fn change_fdb(&mut self, address: Option<&str>) {
        let (dev, mac, dst) = (self.vtep(), self.far.vtep_mac(self.family), self.far.address_of(self.family));
        let near = self.near();
        let line = format!("fdb replace {mac} dev {dev} dst {dst} self permanent");
        near.bridge.retain(|known| *known != line);
        if let Some(address) = address {
            near.bridge.push(format!("fdb replace {mac} dev {dev} dst {address} self permanent"));
        }
    }

    fn change_vxlan(&mut self, from: &str, to: &str) {
        let front = format!("link add {} ", self.vtep());
        for line in self.far().ip.iter_mut().filter(|line| line.starts_with(&front)) {
            *line = line.replace(from, to);
        }
    }
}

/// Faults that only IPv4 knows: there is no reverse path filter in IPv6, and no setting of this kind.
const IPV4_ONLY: &[&str] = &["rp-strict", "rp-strict-all", "rp-loose", "custom-local-route", "bridge-no-address"];

impl Fault {
    /// The address families that it can befall.
    pub fn families(&self) -> &'static [u8] {
        if IPV4_ONLY.contains(&self.name) { &[4] } else { &[4, 6] }
    }
}

/// Faults on the way from a pod on one node to a pod on another, in clusters with flannel's VXLAN.
pub const BETWEEN_NODES: &[Fault] = &[
    Fault { name: "forward-off", make: |at| at.far_sysctl("conf/all/forwarding", 0) },
    Fault { name: "device-forward-off", make: |at| at.far_sysctl(&format!("conf/{}/forwarding", at.vtep()), 0) },
    Fault { name: "bridge-forward-off", make: |at| at.far_sysctl("conf/cni0/forwarding", 0) },
    Fault {
        name: "rp-strict",
        make: |at| {
            at.answer_bare();
            at.far().sysctl("ipv4/conf/flannel.1/rp_filter", 1);
        },
    },
    Fault {
        name: "rp-strict-all",
        make: |at| {
            at.answer_bare();
            at.far().sysctl("ipv4/conf/all/rp_filter", 1);
        },
    },
    Fault {
        name: "rp-loose",
        make: |at| {
            at.answer_bare();
            at.far().sysctl("ipv4/conf/all/rp_filter", 2);
        },
    },
    Fault { name: "small-bridge-mtu", make: |at| _ = at.far().late("link set cni0 mtu 1300") },
    Fault {
        name: "small-route-mtu",
        make: |at| {
            let cidr = at.pod_cidr(at.far);
            for line in at.near().ip.iter_mut().filter(|line| line.starts_with(&format!("route add {cidr} "))) {
                line.push_str(" mtu 1280");
            }
        },
    },
    Fault {
        name: "neigh-missing",
        make: |at| {
            let part = format!("neigh replace {} ", at.gateway(at.far));
            at.near().ip.retain(|line| !line.starts_with(&part));
        },
    },
    Fault {
        name: "neigh-failed",
        make: |at| {
            let line = format!("neigh replace {} dev {} nud failed", at.gateway(at.far), at.vtep());
            at.near().late(line);
        },
    },
    Fault { name: "fdb-missing", make: |at| at.change_fdb(None) },
    Fault {
        name: "fdb-wrong-host",
        make: |at| at.change_fdb(Some(if at.family == 4 { "192.0.2.13" } else { "2001:db8:2::13" })),
    },
    Fault {
        name: "fdb-unused",
        make: |at| at.change_fdb(Some(if at.family == 4 { "192.0.2.250" } else { "2001:db8:2::250" })),
    },
    Fault {
        name: "fdb-own-vtep",
        make: |at| {
            let own = at.near.address_of(at.family).to_string();
            at.change_fdb(Some(&own));
        },
    },
    Fault {
        name: "mac-rewritten",
        make: |at| {
            let mac = at.far.vtep_mac(at.family);
            at.change_vxlan(&mac, &mac.replace("5a:00:00:00:", "5a:00:00:ff:"));
        },
    },
    Fault { name: "vni-mismatch", make: |at| at.change_vxlan(" id 1 ", " id 2 ") },
    Fault { name: "port-mismatch", make: |at| at.change_vxlan("dstport 8472", "dstport 4789") },
    Fault {
        name: "vtep-down",
        make: |at| {
            let dev = at.vtep();
            at.far().late(format!("link set {dev} down"));
        },
    },
    Fault {
        name: "vtep-bounced",
        make: |at| {
            let dev = at.vtep();
            at.far().late(format!("link set {dev} down")).late(format!("link set {dev} up"));
        },
    },
    Fault {
        name: "vtep-source-gone",
        make: |at| {
            let gone = if at.family == 4 { "local 192.0.2.99 " } else { "local 2001:db8:2::99 " };
            at.change_vxlan(&format!("local {} ", at.far.address_of(at.family)), gone);
        },
    },
    Fault { name: "uplink-down", make: |at| _ = at.far().late("link set eth0 down") },
    Fault { name: "bridge-down", make: |at| _ = at.far().late("link set cni0 down") },
    Fault {
        name: "bridge-no-address",
        make: |at| {
            let line = format!("addr del 10.244.{}.1/24 dev cni0", at.far.number);
            at.far().late(line);
        },
    },
    Fault {
        name: "no-route-back",
        make: |at| {
            let part = format!("route add {} ", at.pod_cidr(at.near));
            at.far().ip.retain(|line| !line.starts_with(&part));
        },
    },
    Fault {
        name: "no-route",
        make: |at| {
            let part = format!("route add {} ", at.pod_cidr(at.far));
            at.near().ip.retain(|line| !line.starts_with(&part));
        },
    },
    Fault {
        name: "stale-route",
        make: |at| {
            let (dev, gateway) = (at.vtep(), at.gateway(&Node::new(99)));
            let narrow =
                if at.family == 4 { format!("{}0/25", at.pods(at.far)) } else { format!("{}/72", at.pods(at.far)) };
            at.near().ip(format!("route add {narrow} via {gateway} dev {dev} onlink"));
        },
    },
    Fault {
        name: "blackhole-route",
        make: |at| {
            let narrow =
                if at.family == 4 { format!("{}0/28", at.pods(at.far)) } else { format!("{}/120", at.pods(at.far)) };
            at.far().ip(format!("route add blackhole {narrow}"));
        },
    },
    Fault {
        name: "custom-local-route",
        make: |at| {
            let line = format!("route add local {} dev lo table local", at.near.pod_cidr4());
            at.far().sysctl("ipv4/conf/all/rp_filter", 0).ip(line);
        },
    },
    Fault {
        name: "tunnel-port-rule",
        make: |at| {
            let front = format!("link add {} ", at.vtep());
            let family = at.family;
            let near = at.near();
            for line in near.ip.iter_mut().filter(|line| line.starts_with(&front)) {
                line.push_str(" srcport 5000 5100");
            }
            near.attempts.push((family, "rule add ipproto udp sport 5000-5099 prohibit".to_owned()));
        },
    },
    Fault {
        name: "tunnel-destination-rule",
        make: |at| {
            let (all, subnet) =
                if at.family == 4 { ("192.0.0.0/16", "192.0.2.0/24") } else { ("2001:db8::/32", "2001:db8:2::/64") };
            let family = at.family;
            let near = at.near();
            near.attempts.push((family, format!("rule add to {all} ipproto udp dport 8472 lookup 100")));
            near.attempts.push((family, format!("route add {subnet} dev eth0 table 100")));
        },
    },
    Fault {
        name: "echo-ignored",
        make: |at| at.far_sysctl(if at.family == 4 { "icmp_echo_ignore_all" } else { "icmp/echo_ignore_all" }, 1),
    },
    Fault {
        name: "forward-policy-drop",
        make: |at| {
            let rules = at.far_rules();
            rules.remove("filter", "FLANNEL-FWD");
            rules.policy("filter", "FORWARD", "DROP");
        },
    },
    Fault {
        name: "reject-before-flannel",
        make: |at| {
            let (dev, with) = (at.vtep(), if at.family == 4 { "icmp-host-prohibited" } else { "icmp6-adm-prohibited" });
            let rule = format!("FORWARD -i {dev} -m conntrack --ctstate NEW -j REJECT --reject-with {with}");
            at.far_rules().insert("filter", rule);
        },
    },
    Fault {
        name: "input-drops-tunnel",
        make: |at| _ = at.far_rules().insert("filter", "INPUT -p udp -m udp --dport 8472 -j DROP"),
    },
    Fault {
        name: "input-rejects-tunnel",
        make: |at| _ = at.far_rules().insert("filter", "INPUT -p udp -m udp --dport 8472 -j REJECT"),
    },
    Fault {
        name: "output-drops-tunnel",
        make: |at| {
            let family = at.family;
            let near = at.near();
            let rules = if family == 4 { near.rules4() } else { near.rules6() };
            rules.insert("filter", "OUTPUT -p udp -m udp --dport 8472 -j DROP");
        },
    },
    Fault { name: "invalid-firewall", make: |at| _ = at.far_rules().append("filter", "INPUT -j DROP") },
    Fault {
        name: "legacy-policy-drop",
        make: |at| {
            let backend = if at.family == 4 { Backend::Legacy4 } else { Backend::Legacy6 };
            let rules = at.far().rules.entry(backend).or_default();
            rules.policy("filter", "FORWARD", "DROP");
        },
    },
];

/// The fault of a name.
pub fn fault(name: &str) -> Fault {
    *BETWEEN_NODES.iter().find(|fault| fault.name == name).unwrap_or_else(|| panic!("no fault {name:?}"))
}
