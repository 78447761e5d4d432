//! Situation 11: what stops a packet.

use nix::errno::Errno;

use super::faults::{Between, Fault, fault};
use super::flannel::{Cluster, FlannelBackend};
use super::kube_proxy::Service;
use super::node::Node;
use super::probe::{Probe, Proto, Want};
use super::scenario::Scenario;
use super::situations::{EVERY, POD1, two_pods};

/// Situation 11: what stops a packet. Every node but the first has a fault, and is called after it.
pub fn faults() -> Scenario {
    let mut cluster = Cluster::new("faults", FlannelBackend::Vxlan, 1).pod("default/pod1", 1, 2);
    cluster.kube_proxy = false;
    let near = cluster.nodes[0].clone();
    for Fault { name, .. } in BUNDLED.iter().map(|name| fault(name)) {
        let number = cluster.add_node(name);
        cluster = cluster.pod(&format!("default/on-{name}"), number, 2);
    }
    for (n, name) in
        ["no-route", "down", "unplugged", "isolated-a", "isolated-b", "martian", "other"].iter().enumerate()
    {
        cluster = cluster.pod(&format!("default/{name}"), 1, 3 + n as u8);
    }
    let mut scenario = cluster.scenario();
    for far in cluster.nodes.iter().skip(1) {
        (fault(&far.name()).make)(&mut Between { scenario: &mut scenario, near: &near, far, family: 4 });
    }
    between_nodes(&cluster, &mut scenario);
    scenario.about("between nodes");
    on_one_node(&cluster, &mut scenario);
    scenario.about("on one node");
    scenario
}

/// The faults of the bundled snapshot.
const BUNDLED: [&str; 20] = [
    "forward-off",
    "device-forward-off",
    "rp-strict",
    "rp-strict-all",
    "rp-loose",
    "small-bridge-mtu",
    "neigh-missing",
    "neigh-failed",
    "fdb-missing",
    "fdb-wrong-host",
    "fdb-unused",
    "mac-rewritten",
    "vni-mismatch",
    "port-mismatch",
    "vtep-down",
    "bridge-down",
    "no-route-back",
    "forward-policy-drop",
    "reject-before-flannel",
    "input-drops-tunnel",
];

/// The faults of the bundled snapshot of IPv6.
const BUNDLED_V6: [&str; 8] = [
    "forward-off",
    "small-bridge-mtu",
    "neigh-missing",
    "fdb-missing",
    "vni-mismatch",
    "vtep-down",
    "no-route-back",
    "reject-before-flannel",
];

/// Situations 10 and 11: what stops a packet in IPv6. Every node but the first has a fault, and is called after it.
pub fn faults_v6() -> Scenario {
    let mut cluster = Cluster::new("faults-v6", FlannelBackend::Vxlan, 1).pod(POD1, 1, 2);
    (cluster.kube_proxy, cluster.dual_stack) = (false, true);
    let near = cluster.nodes[0].clone();
    for Fault { name, .. } in BUNDLED_V6.iter().map(|name| fault(name)) {
        let number = cluster.add_node(name);
        cluster = cluster.pod(&format!("default/on-{name}"), number, 2);
    }
    let mut scenario = cluster.scenario();
    for far in cluster.nodes.iter().skip(1) {
        (fault(&far.name()).make)(&mut Between { scenario: &mut scenario, near: &near, far, family: 6 });
    }
    for far in cluster.nodes.iter().skip(1) {
        let to = format!("default/on-{}", far.name());
        let address = cluster.pod_named(&to).address(6).to_string();
        let ask = |proto: Proto| Probe::ask(POD1, &to, proto, &address, 7000);
        let want = match far.name().as_str() {
            "small-bridge-mtu" => Want::Answered(to.clone()),
            "neigh-missing" => Want::Error(Errno::EHOSTUNREACH),
            "reject-before-flannel" => Want::Error(Errno::EACCES),
            "no-route-back" => Want::Unheard(to.clone()),
            _ => Want::Silence,
        };
        scenario.probe(ask(Proto::Udp).want(want.clone()));
        scenario.probe(ask(Proto::Tcp).want(want));
        if far.name() == "small-bridge-mtu" {
            scenario.probe(ask(Proto::Udp).size(1400).error(Errno::EMSGSIZE));
        }
    }
    scenario
}

fn between_nodes(cluster: &Cluster, scenario: &mut Scenario) {
    for far in cluster.nodes.iter().skip(1) {
        let (name, address) = (far.name(), format!("10.244.{}.2", far.number));
        let to = format!("default/on-{name}");
        let ask = |proto: Proto| Probe::ask(POD1, &to, proto, &address, 7000);
        let want = match name.as_str() {
            "rp-loose" | "small-bridge-mtu" => Want::Answered(to.clone()),
            "neigh-missing" | "neigh-failed" | "reject-before-flannel" => Want::Error(Errno::EHOSTUNREACH),
            "no-route-back" => Want::Unheard(to.clone()),
            _ => Want::Silence,
        };
        scenario.probe(ask(Proto::Udp).want(want.clone()));
        scenario.probe(ask(Proto::Tcp).want(want));
        if name == "small-bridge-mtu" {
            scenario.probe(ask(Proto::Udp).size(1400).answered_by(&to));
            scenario.probe(ask(Proto::Udp).size(1400).df().error(Errno::EMSGSIZE));
            scenario.probe(ask(Proto::Udp).size(1451).df().refused(Errno::EMSGSIZE));
        }
    }
}

fn on_one_node(cluster: &Cluster, scenario: &mut Scenario) {
    let veth = |name: &str| cluster.pod_named(name).veth();
    let unplugged = veth("unplugged");
    let (a, b) = (veth("isolated-a"), veth("isolated-b"));
    scenario.space("default/no-route").ip.retain(|line| !line.starts_with("route add"));
    scenario.space("default/down").late("link set eth0 down");
    let bridge = cluster.nodes[0].bridge_mac();
    // The node wouldn't answer an ARP request that comes from its own address.
    let martian = scenario.space("default/martian").ip("addr add 192.0.2.11/32 dev lo");
    martian.ip(format!("neigh replace 10.244.1.1 lladdr {bridge} dev eth0 nud permanent"));
    let n1 = scenario.space("n1");
    n1.late(format!("link set {unplugged} down"));
    n1.bridge.extend([format!("link set dev {a} isolated on"), format!("link set dev {b} isolated on")]);
    let rules = n1.rules4();
    rules.insert("filter", "FORWARD -p udp -m udp --dport 7001 -j DROP");
    rules.insert("filter", "FORWARD -p udp -m udp --dport 7002 -j REJECT --reject-with icmp-admin-prohibited");
    rules.insert("filter", "FORWARD -p tcp -m tcp --dport 7003 -j REJECT --reject-with tcp-reset");
    rules.insert("filter", "OUTPUT -p udp -m udp --dport 7004 -j DROP");
    // Two nodes that point at each other with an address that neither has.
    scenario.space("n1").ip("route add 10.244.77.0/24 via 10.244.7.0 dev flannel.1 onlink");
    scenario.space("small-bridge-mtu").ip("route add 10.244.77.0/24 via 10.244.1.0 dev flannel.1 onlink");
    let other = "default/other";
    let to_other = |from: &str, proto: Proto, port: u16| Probe::ask(from, other, proto, "10.244.1.9", port);
    let far = |from: &str| Probe::ask(from, "default/on-rp-loose", Proto::Udp, "10.244.6.2", 7000);
    scenario.probe(far("default/no-route").refused(Errno::ENETUNREACH));
    scenario.probe(far("default/down").refused(Errno::ENETUNREACH));
    scenario.probe(far("default/unplugged").error(Errno::EHOSTUNREACH));
    scenario.probe(to_other("default/isolated-a", Proto::Udp, 7000).answered_by(other));
    let isolated = Probe::ask("default/isolated-a", "default/isolated-b", Proto::Udp, "10.244.1.7", 7000);
    scenario.probe(isolated.error(Errno::EHOSTUNREACH));
    scenario.probe(far("default/martian").source("192.0.2.11").silent());
    scenario.probe(to_other(POD1, Proto::Udp, 7001).silent());
    scenario.probe(to_other(POD1, Proto::Udp, 7002).error(Errno::EHOSTUNREACH));
    scenario.probe(to_other(POD1, Proto::Tcp, 7003).error(Errno::ECONNREFUSED));
    scenario.probe(to_other("node/n1", Proto::Udp, 7004).refused(Errno::EPERM));
    scenario.probe(Probe::ask("node/n1", "192.0.2.77", Proto::Udp, "192.0.2.77", 7000).error(Errno::EHOSTUNREACH));
    scenario.probe(Probe::ask(POD1, "10.244.77.9", Proto::Udp, "10.244.77.9", 7000).ttl(9).silent());
}

/// Situations 3 and 11: pods that are the only endpoint of the service that they ask, one behind a bridge port without
/// hairpin mode, one behind a port with it.
pub fn hairpin_off() -> Scenario {
    let mut cluster = Cluster::new("hairpin-off", FlannelBackend::Vxlan, 1).pod(POD1, 1, 2);
    for (host, name) in [(3, "shop/bare"), (4, "shop/web")] {
        let service = Service::new(name, host).port("http", "tcp", 80, 8080).port("quic", "udp", 80, 8080);
        cluster = cluster.pod(name, 1, host).service(service.endpoints(&[name]));
    }
    let mut scenario = cluster.scenario();
    let port = cluster.pod_named("shop/bare").veth();
    scenario.space("n1").late_bridge.push(format!("link set dev {port} hairpin off"));
    let ask = |from: &str, name: &str, address: &str, proto: Proto| {
        Probe::ask(from, &format!("svc/{name}"), proto, address, 80).listening(8080)
    };
    for proto in [Proto::Tcp, Proto::Udp] {
        scenario.probe(ask("shop/bare", "shop/bare", "10.96.0.3", proto).silent());
        scenario.probe(ask(POD1, "shop/bare", "10.96.0.3", proto).answered_by("shop/bare"));
        scenario.probe(ask("shop/web", "shop/web", "10.96.0.4", proto).answered_by("shop/web"));
    }
    scenario
}

/// One fault between two nodes, in one address family, with a pod on each, asked in every protocol and both ways.
pub fn one_fault(name: &str, family: u8) -> Scenario {
    let mut cluster = two_pods(&format!("{name}-v{family}"), FlannelBackend::Vxlan);
    cluster.dual_stack = family == 6;
    cluster.nodes.push(Node::new(3));
    let mut scenario = cluster.scenario();
    scenario.words.push(format!("fault {name} in IPv{family}"));
    let (near, far) = (&cluster.nodes[0], &cluster.nodes[1]);
    (fault(name).make)(&mut Between { scenario: &mut scenario, near, far, family });
    let address = |name: &str| cluster.pod_named(name).address(family).to_string();
    let (pod2, first, second) = ("default/pod2", address(POD1), address("default/pod2"));
    for proto in EVERY {
        scenario.probe(Probe::ask(POD1, pod2, proto, &second, 7000));
        scenario.probe(Probe::ask(pod2, POD1, proto, &first, 7000));
    }
    scenario.probe(Probe::ask("node/n1", pod2, Proto::Udp, &second, 7000));
    let node2 = far.address_of(family).to_string();
    scenario.probe(Probe::ask("node/n1", "node/n2", Proto::Icmp, &node2, 0));
    // What a tunnel over IPv6 carries is 20 bytes less.
    let size = if family == 4 { 1400 } else { 1380 };
    scenario.probe(Probe::ask(POD1, pod2, Proto::Udp, &second, 7000).size(size));
    scenario.probe(Probe::ask(POD1, pod2, Proto::Icmp, &second, 0).size(size).df());
    scenario
}

/// What IPv6 does otherwise: an echo's answer is routed by its device, and a device answers for its own addresses alone.
pub fn only_ipv6() -> Scenario {
    let mut cluster = two_pods("only-ipv6", FlannelBackend::Vxlan);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    let n2 = scenario.space("n2");
    n2.attempts.push((6, "rule add pref 100 ipproto ipv6-icmp oif eth0 lookup 100".to_owned()));
    n2.attempts.push((6, "route add blackhole 2001:db8:2::/64 table 100".to_owned()));
    n2.attempts.push((6, "route add fd00:10:244:1::1/128 dev eth0".to_owned()));
    let n1 = |proto: Proto| Probe::ask("node/n1", "node/n2", proto, "2001:db8:2::12", 7000);
    scenario.probe(n1(Proto::Icmp).want(Want::Unheard("n2".to_owned())));
    scenario.probe(n1(Proto::Udp).answered_by("n2"));
    let bridge = "fd00:10:244:1::1";
    scenario.probe(Probe::ask("node/n2", bridge, Proto::Udp, bridge, 7000).error(Errno::EHOSTUNREACH));
    scenario
}

/// The peer of a node without tunnel has lost its uplink, and with it its IPv6 address.
pub fn gone_gateway() -> Scenario {
    let mut cluster = two_pods("gone-gateway", FlannelBackend::HostGw);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    scenario.space("n2").late("link set eth0 down");
    let pod2 = |address: &str, proto: Proto| Probe::ask(POD1, "default/pod2", proto, address, 7000);
    scenario.probe(pod2("fd00:10:244:2::2", Proto::Udp).error(Errno::EHOSTUNREACH));
    scenario.probe(pod2("fd00:10:244:2::2", Proto::Icmp).error(Errno::EHOSTUNREACH));
    scenario.probe(pod2("10.244.2.2", Proto::Udp).error(Errno::EHOSTUNREACH));
    scenario
}

/// A pod's link address stands in the bridge's table as the port's own: frames from other ports end there, those of the
/// stack itself don't.
pub fn owned_by_port() -> Scenario {
    let cluster = two_pods("owned-by-port", FlannelBackend::Vxlan).pod("default/pod3", 2, 3);
    let mut scenario = cluster.scenario();
    let veth = cluster.pod_named("default/pod2").veth();
    scenario.space("n2").late_bridge.push(format!("fdb replace 0a:58:0a:f4:02:02 dev {veth} master"));
    let pod2 = |from: &str, proto: Proto| Probe::ask(from, "default/pod2", proto, "10.244.2.2", 7000);
    scenario.probe(pod2(POD1, Proto::Udp).answered_by("default/pod2"));
    scenario.probe(pod2("node/n2", Proto::Icmp).answered_by("default/pod2"));
    scenario.probe(pod2("default/pod3", Proto::Udp));
    scenario
}

/// A rule sends the tunnel's own packets to a pod behind the tunnel, so that they go into it again and again.
pub fn tunnel_into_itself() -> Scenario {
    let mut scenario = two_pods("tunnel-into-itself", FlannelBackend::Vxlan).scenario();
    let rule = "OUTPUT -p udp -m udp --dport 8472 -j DNAT --to-destination 10.244.2.99";
    scenario.space("n1").rules4().insert("nat", rule);
    scenario.probe(Probe::ask(POD1, "default/pod2", Proto::Udp, "10.244.2.2", 7000).silent());
    scenario
}

/// A tunnel's source address is translated, and the receiver's rules make it look at the tunnel's checksum, which is
/// wrong where that of the packet inside was left to the device.
pub fn translated_tunnel() -> Scenario {
    let mut cluster = two_pods("translated-tunnel", FlannelBackend::Vxlan);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    let n1 = scenario.space("n1");
    n1.attempts.push((6, "addr add 2001:db8:2::aa/64 dev eth0 nodad".to_owned()));
    n1.rules6().insert("nat", "POSTROUTING -p udp -m udp --dport 8472 -j SNAT --to-source 2001:db8:2::aa");
    scenario.space("n2").rules6().append("mangle", "INPUT -p udp -j CHECKSUM --checksum-fill");
    let pod2 = |proto: Proto| Probe::ask(POD1, "default/pod2", proto, "fd00:10:244:2::2", 7000);
    scenario.probe(pod2(Proto::Icmp).answered_by("default/pod2"));
    scenario.probe(pod2(Proto::Udp).silent());
    scenario
}

/// Entries of a tunnel that point to the node's own address: the frame goes to the device that listens for what the entry
/// names, and nowhere where none does.
pub fn own_vteps() -> Scenario {
    let mut scenario = two_pods("own-vteps", FlannelBackend::Vxlan).scenario();
    let n1 = scenario.space("n1");
    n1.ip("link add vx7 type vxlan id 7 local 192.0.2.11 dstport 8472 nolearning").ip("link set vx7 up");
    n1.ip("rule add pref 5 to 192.0.2.11 ipproto udp dport 4000 blackhole");
    for (n, words, want) in [
        (1, "", Want::Error(Errno::EHOSTUNREACH)),
        (2, " vni 7", Want::Error(Errno::EHOSTUNREACH)),
        (3, " vni 9", Want::Silence),
        (4, " port 4789", Want::Silence),
        (5, " via eth0", Want::Silence),
        // The tunnel packet's route comes first.
        (6, " port 4000", Want::Silence),
    ] {
        let n1 = scenario.space("n1");
        n1.ip(format!("route add 10.244.7{n}.0/24 via 10.244.7{n}.0 dev flannel.1 onlink"));
        n1.ip(format!("neigh replace 10.244.7{n}.0 lladdr 5a:00:00:00:00:7{n} dev flannel.1 nud permanent"));
        n1.bridge.push(format!("fdb append 5a:00:00:00:00:7{n} dev flannel.1 dst 192.0.2.11{words} self permanent"));
        let to = format!("10.244.7{n}.9");
        scenario.probe(Probe::ask(POD1, &to, Proto::Udp, &to, 7000).want(want));
        scenario.probe(Probe::ask("node/n1", &to, Proto::Udp, &to, 7000).silent());
    }
    scenario
}
