//! What goes wrong in flannel clusters, each thing made in a scenario of its own or beside others.

use super::node::Node;
use super::scenario::{Scenario, Space};

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

    /// The far node's way back to the near one goes over the underlay.
    fn answer_bare(&mut self) {
        let (cidr, via) = (self.near.pod_cidr4(), self.near.address4());
        let far = self.far();
        far.ip.retain(|line| !line.starts_with(&format!("route add {cidr} ")));
        far.ip(format!("route add {cidr} via {via} dev eth0"));
    }

    fn change_fdb(&mut self, address: Option<&str>) {
        let (mac, dst) = (self.far.vtep_mac(4), self.far.address4());
        let near = self.near();
        let line = format!("fdb replace {mac} dev flannel.1 dst {dst} self permanent");
        near.bridge.retain(|known| *known != line);
        if let Some(address) = address {
            near.bridge.push(format!("fdb replace {mac} dev flannel.1 dst {address} self permanent"));
        }
    }

    fn change_vxlan(&mut self, from: &str, to: &str) {
        let far = self.far();
        for line in far.ip.iter_mut().filter(|line| line.starts_with("link add flannel.1 ")) {
            *line = line.replace(from, to);
        }
    }
}

/// Faults on the way from a pod on one node to a pod on another, in clusters with flannel's VXLAN.
pub const BETWEEN_NODES: &[Fault] = &[
    Fault { name: "forward-off", make: |at| _ = at.far().sysctl("ipv4/ip_forward", 0) },
    Fault { name: "device-forward-off", make: |at| _ = at.far().sysctl("ipv4/conf/flannel.1/forwarding", 0) },
    Fault { name: "bridge-forward-off", make: |at| _ = at.far().sysctl("ipv4/conf/cni0/forwarding", 0) },
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
            let cidr = at.far.pod_cidr4();
            for line in at.near().ip.iter_mut().filter(|line| line.starts_with(&format!("route add {cidr} "))) {
                line.push_str(" mtu 1280");
            }
        },
    },
    Fault {
        name: "neigh-missing",
        make: |at| {
            let part = format!("neigh replace 10.244.{}.0 ", at.far.number);
            at.near().ip.retain(|line| !line.starts_with(&part));
        },
    },
    Fault {
        name: "neigh-failed",
        make: |at| {
            let line = format!("neigh replace 10.244.{}.0 dev flannel.1 nud failed", at.far.number);
            at.near().late(line);
        },
    },
    Fault { name: "fdb-missing", make: |at| at.change_fdb(None) },
    Fault { name: "fdb-wrong-host", make: |at| at.change_fdb(Some("192.0.2.13")) },
    Fault { name: "fdb-unused", make: |at| at.change_fdb(Some("192.0.2.250")) },
    Fault {
        name: "mac-rewritten",
        make: |at| {
            let mac = at.far.vtep_mac(4);
            at.change_vxlan(&mac, &mac.replace("5a:00:00:00:04", "5a:00:00:00:ff"));
        },
    },
    Fault { name: "vni-mismatch", make: |at| at.change_vxlan(" id 1 ", " id 2 ") },
    Fault { name: "port-mismatch", make: |at| at.change_vxlan("dstport 8472", "dstport 4789") },
    Fault { name: "vtep-down", make: |at| _ = at.far().late("link set flannel.1 down") },
    Fault {
        name: "vtep-bounced",
        make: |at| _ = at.far().late("link set flannel.1 down").late("link set flannel.1 up"),
    },
    Fault {
        name: "vtep-source-gone",
        make: |at| at.change_vxlan(&format!("local {} ", at.far.address4()), "local 192.0.2.99 "),
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
            let part = format!("route add {} ", at.near.pod_cidr4());
            at.far().ip.retain(|line| !line.starts_with(&part));
        },
    },
    Fault {
        name: "no-route",
        make: |at| {
            let part = format!("route add {} ", at.far.pod_cidr4());
            at.near().ip.retain(|line| !line.starts_with(&part));
        },
    },
    Fault {
        name: "stale-route",
        make: |at| {
            let line = format!("route add 10.244.{}.0/25 via 10.244.99.0 dev flannel.1 onlink", at.far.number);
            at.near().ip(line);
        },
    },
    Fault {
        name: "blackhole-route",
        make: |at| {
            let line = format!("route add blackhole 10.244.{}.0/28", at.far.number);
            at.far().ip(line);
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
            let near = at.near();
            for line in near.ip.iter_mut().filter(|line| line.starts_with("link add flannel.1 ")) {
                line.push_str(" srcport 5000 5100");
            }
            near.ip("rule add ipproto udp sport 5000-5099 prohibit");
        },
    },
    Fault {
        name: "tunnel-destination-rule",
        make: |at| {
            let near = at.near();
            near.ip("rule add to 192.0.0.0/16 ipproto udp dport 8472 lookup 100");
            near.ip("route add 192.0.2.0/24 dev eth0 table 100");
        },
    },
    Fault { name: "echo-ignored", make: |at| _ = at.far().sysctl("ipv4/icmp_echo_ignore_all", 1) },
    Fault {
        name: "forward-policy-drop",
        make: |at| {
            let rules = at.far().rules4();
            rules.remove("filter", "FLANNEL-FWD");
            rules.policy("filter", "FORWARD", "DROP");
        },
    },
    Fault {
        name: "reject-before-flannel",
        make: |at| {
            let rule = "FORWARD -i flannel.1 -m conntrack --ctstate NEW -j REJECT --reject-with icmp-host-prohibited";
            at.far().rules4().insert("filter", rule);
        },
    },
    Fault {
        name: "input-drops-tunnel",
        make: |at| _ = at.far().rules4().insert("filter", "INPUT -p udp -m udp --dport 8472 -j DROP"),
    },
    Fault {
        name: "input-rejects-tunnel",
        make: |at| _ = at.far().rules4().insert("filter", "INPUT -p udp -m udp --dport 8472 -j REJECT"),
    },
    Fault {
        name: "output-drops-tunnel",
        make: |at| _ = at.near().rules4().insert("filter", "OUTPUT -p udp -m udp --dport 8472 -j DROP"),
    },
    Fault { name: "invalid-firewall", make: |at| _ = at.far().rules4().append("filter", "INPUT -j DROP") },
    Fault {
        name: "legacy-policy-drop",
        make: |at| {
            let rules = at.far().rules.entry(super::scenario::Backend::Legacy4).or_default();
            rules.policy("filter", "FORWARD", "DROP");
        },
    },
];

/// The fault of a name.
pub fn fault(name: &str) -> Fault {
    *BETWEEN_NODES.iter().find(|fault| fault.name == name).unwrap_or_else(|| panic!("no fault {name:?}"))
}
