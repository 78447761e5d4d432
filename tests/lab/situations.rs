//! The situations that flowtrace must get right, each a scenario with its questions.

use nix::errno::Errno;

use super::article::article;
use super::flannel::{CLIENT4, Cluster, FlannelBackend, INTERNET4};
use super::kube_proxy::Service;
use super::probe::{Probe, Proto, Want};
use super::scenario::Scenario;
use super::stopped::{faults, faults_v6, hairpin_off};

/// A scenario's name (its folder in `testdata/`) and how it is made.
pub type Situation = (&'static str, fn() -> Scenario);

/// Every situation that has a bundled snapshot.
pub const ALL: &[Situation] = &[
    ("vxlan", vxlan),
    ("bridge-nf-off", bridge_nf_off),
    ("no-masquerade", no_masquerade),
    ("host-gw", host_gw),
    ("direct-routing", direct_routing),
    ("udp-backend", udp_backend),
    ("services", services),
    ("affinity", affinity),
    ("two-subnets", two_subnets),
    ("policy-routing", policy_routing),
    ("dual-stack", dual_stack),
    ("faults", faults),
    ("faults-v6", faults_v6),
    ("hairpin-off", hairpin_off),
    ("article-whole", article),
];

/// Every protocol.
pub const EVERY: [Proto; 3] = [Proto::Icmp, Proto::Udp, Proto::Tcp];
/// The pod that asks.
pub const POD1: &str = "default/pod1";

/// Two nodes, pods on both, and the services that the first examples ask for.
pub fn two_nodes(name: &str, backend: FlannelBackend) -> Cluster {
    Cluster::new(name, backend, 2)
        .pod("default/pod1", 1, 2)
        .pod("default/pod3", 1, 3)
        .pod("shop/web-0", 1, 4)
        .pod("default/pod2", 2, 2)
        .pod("kube-system/coredns", 2, 3)
        .pod("shop/web-1", 2, 4)
        .service(
            Service::new("kube-system/kube-dns", 10)
                .port("dns", "udp", 53, 53)
                .port("dns-tcp", "tcp", 53, 53)
                .endpoints(&["kube-system/coredns"]),
        )
        .service(Service::new("shop/web", 20).port("http", "tcp", 80, 8080).endpoints(&["shop/web-0", "shop/web-1"]))
        .service(
            Service::new("shop/front", 30)
                .port("http", "tcp", 80, 8080)
                .node_port(30080)
                .endpoints(&["shop/web-0", "shop/web-1"]),
        )
        .service(Service::new("shop/none", 40).port("http", "tcp", 80, 8080))
}

/// The smallest cluster with two nodes.
pub fn two_pods(name: &str, backend: FlannelBackend) -> Cluster {
    Cluster::new(name, backend, 2).pod("default/pod1", 1, 2).pod("default/pod2", 2, 2)
}

/// The same question in every protocol.
fn in_every_protocol(scenario: &mut Scenario, from: &str, to: &str, destination: &str, answers: &str) {
    for proto in EVERY {
        scenario.probe(Probe::ask(from, to, proto, destination, 7000).answered_by(answers));
    }
}

/// Situations 1 to 4 and 7: pods, services, hosts and the world, on two nodes joined by VXLAN.
pub fn vxlan() -> Scenario {
    let mut scenario = two_nodes("vxlan", FlannelBackend::Vxlan).scenario();
    pods_and_services(&mut scenario);
    hosts_and_outside(&mut scenario);
    limits(&mut scenario);
    scenario
}

fn pods_and_services(scenario: &mut Scenario) {
    in_every_protocol(scenario, POD1, "default/pod2", "10.244.2.2", "default/pod2");
    scenario.about("pods on two nodes");
    in_every_protocol(scenario, POD1, "default/pod3", "10.244.1.3", "default/pod3");
    scenario.about("pods on one node");
    let dns = "kube-dns.kube-system.svc.cluster.local";
    let (coredns, web) = ("kube-system/coredns", "svc/shop/web");
    scenario.probe(Probe::ask(POD1, dns, Proto::Udp, "10.96.0.10", 53).answered_by(coredns));
    scenario.probe(Probe::ask(POD1, "svc/kube-system/kube-dns", Proto::Tcp, "10.96.0.10", 53).answered_by(coredns));
    scenario.probe(Probe::ask("default/pod2", dns, Proto::Udp, "10.96.0.10", 53).answered_by(coredns));
    scenario.probe(Probe::ask("kube-system/coredns", dns, Proto::Udp, "10.96.0.10", 53).answered_by(coredns));
    scenario.about("kube-dns");
    let some = Want::AnsweredBySome;
    let web_from = |from: &str| Probe::ask(from, web, Proto::Tcp, "10.96.0.20", 80).listening(8080).times(6);
    scenario.probe(web_from(POD1).want(some.clone()));
    scenario.probe(web_from("shop/web-0").want(some.clone()));
    scenario.probe(web_from("node/n1").want(some));
    scenario.about("services");
    scenario.probe(Probe::ask(POD1, "svc/shop/none", Proto::Tcp, "10.96.0.40", 80).error(Errno::ECONNREFUSED));
    scenario.probe(Probe::ask("node/n1", "svc/shop/none", Proto::Tcp, "10.96.0.40", 80).error(Errno::ECONNREFUSED));
    scenario.about("services without endpoints");
    scenario.probe(Probe::ask(POD1, "10.96.0.10", Proto::Icmp, "10.96.0.10", 0).silent());
    scenario.about("ping of a cluster IP");
}

fn hosts_and_outside(scenario: &mut Scenario) {
    for proto in EVERY {
        scenario.probe(Probe::ask(POD1, INTERNET4, proto, INTERNET4, 7000).answered_by("world"));
    }
    scenario.about("the world outside");
    in_every_protocol(scenario, "node/n1", "default/pod1", "10.244.1.2", "default/pod1");
    in_every_protocol(scenario, "node/n1", "default/pod2", "10.244.2.2", "default/pod2");
    in_every_protocol(scenario, POD1, "node/n1", "192.0.2.11", "n1");
    in_every_protocol(scenario, POD1, "node/n2", "192.0.2.12", "n2");
    in_every_protocol(scenario, "node/n1", "node/n2", "192.0.2.12", "n2");
    scenario.probe(Probe::ask(POD1, "10.244.2.0", Proto::Udp, "10.244.2.0", 7000).answered_by("n2"));
    let bound = Probe::ask("node/n1", "default/pod2", Proto::Udp, "10.244.2.2", 7000).source("192.0.2.11");
    scenario.probe(bound.answered_by("default/pod2"));
    scenario.probe(Probe::ask("node/n1", "node/n1", Proto::Tcp, "192.0.2.11", 7000).answered_by("n1"));
    scenario.probe(Probe::ask(POD1, POD1, Proto::Udp, "10.244.1.2", 7000).answered_by(POD1));
    scenario.about("hosts");
    let node_port = |from: &str| Probe::ask(from, "192.0.2.11:30080", Proto::Tcp, "192.0.2.11", 30080).listening(8080);
    scenario.probe(node_port(CLIENT4).times(6).want(Want::AnsweredBySome));
    scenario.probe(node_port(POD1).times(6).want(Want::AnsweredBySome));
    scenario.probe(node_port("node/n1").times(6).want(Want::AnsweredBySome));
    scenario.probe(node_port("node/n2").times(6).want(Want::AnsweredBySome));
    scenario.about("NodePorts");
}

fn limits(scenario: &mut Scenario) {
    let pod2 = |proto: Proto| Probe::ask(POD1, "default/pod2", proto, "10.244.2.2", 7000);
    scenario.probe(pod2(Proto::Udp).ttl(1).error(Errno::EHOSTUNREACH));
    scenario.probe(pod2(Proto::Icmp).ttl(2).error(Errno::EHOSTUNREACH));
    scenario.probe(pod2(Proto::Tcp).ttl(3).answered_by("default/pod2"));
    scenario.probe(pod2(Proto::Udp).size(1450).answered_by("default/pod2"));
    scenario.probe(pod2(Proto::Udp).size(1451).answered_by("default/pod2"));
    scenario.probe(pod2(Proto::Icmp).size(4000).answered_by("default/pod2"));
    scenario.probe(Probe::ask(POD1, "10.244.2.99", Proto::Udp, "10.244.2.99", 7000).error(Errno::EHOSTUNREACH));
    scenario.probe(Probe::ask(POD1, "10.244.1.99", Proto::Tcp, "10.244.1.99", 7000).error(Errno::EHOSTUNREACH));
    scenario.probe(Probe::ask(POD1, "10.244.200.9", Proto::Udp, "10.244.200.9", 7000).silent());
    scenario.probe(Probe::ask("node/n1", "192.0.2.77", Proto::Udp, "192.0.2.77", 7000).error(Errno::EHOSTUNREACH));
    scenario.about("limits");
}

/// Situations 2 and 3 with `bridge-nf-call-iptables` 0: the service's answer is bridged past netfilter.
pub fn bridge_nf_off() -> Scenario {
    let mut cluster = two_nodes("bridge-nf-off", FlannelBackend::Vxlan);
    cluster.bridge_nf = false;
    cluster.services.retain(|service| service.name != "front" && service.name != "none");
    cluster.services[1].endpoints = vec!["shop/web-0".to_owned()];
    let mut scenario = cluster.scenario();
    in_every_protocol(&mut scenario, POD1, "default/pod3", "10.244.1.3", "default/pod3");
    in_every_protocol(&mut scenario, POD1, "default/pod2", "10.244.2.2", "default/pod2");
    let web = |from: &str| Probe::ask(from, "svc/shop/web", Proto::Tcp, "10.96.0.20", 80).listening(8080);
    scenario.probe(web(POD1).want(Want::Unheard("shop/web-0".to_owned())));
    scenario.probe(web("default/pod2").answered_by("shop/web-0"));
    scenario.probe(web("shop/web-0").answered_by("shop/web-0"));
    scenario
}

/// Situation 4 without the masquerade rule: the answer has no way back.
pub fn no_masquerade() -> Scenario {
    let mut scenario = two_pods("no-masquerade", FlannelBackend::Vxlan).scenario();
    for node in ["n1", "n2"] {
        scenario.space(node).rules4().remove("nat", "! -d 224.0.0.0/4");
    }
    for proto in EVERY {
        let probe = Probe::ask(POD1, INTERNET4, proto, INTERNET4, 7000);
        scenario.probe(probe.want(Want::Unheard("world".to_owned())));
    }
    scenario
}

/// Situation 5: routes to the peers, no tunnel.
pub fn host_gw() -> Scenario {
    let mut scenario = two_pods("host-gw", FlannelBackend::HostGw).scenario();
    in_every_protocol(&mut scenario, POD1, "default/pod2", "10.244.2.2", "default/pod2");
    in_every_protocol(&mut scenario, "node/n1", "default/pod2", "10.244.2.2", "default/pod2");
    scenario
}

/// Situation 5: a direct route to the peer in the same subnet, VXLAN to the one behind a router.
pub fn direct_routing() -> Scenario {
    let cluster = Cluster::new("direct-routing", FlannelBackend::DirectRouting, 3).in_second_subnet(3);
    let cluster = cluster.pod("default/pod1", 1, 2).pod("default/pod2", 2, 2).pod("default/pod3", 3, 2);
    let mut scenario = cluster.scenario();
    in_every_protocol(&mut scenario, POD1, "default/pod2", "10.244.2.2", "default/pod2");
    in_every_protocol(&mut scenario, POD1, "default/pod3", "10.244.3.2", "default/pod3");
    scenario
}

/// Situation 6: flanneld carries the packets.
pub fn udp_backend() -> Scenario {
    let mut scenario = two_pods("udp-backend", FlannelBackend::Udp).scenario();
    in_every_protocol(&mut scenario, POD1, "default/pod2", "10.244.2.2", "default/pod2");
    in_every_protocol(&mut scenario, "node/n1", "default/pod2", "10.244.2.2", "default/pod2");
    scenario
}

/// Situation 7: NodePorts of both policies, load balancer and external addresses, session affinity; three nodes.
pub fn services() -> Scenario {
    let front = |name: &str, host: u8, node_port: u16| {
        Service::new(name, host).port("http", "tcp", 80, 8080).node_port(node_port)
    };
    let both = ["shop/web-0", "shop/web-1"];
    let mut cluster_policy = front("shop/cluster", 30, 30080).endpoints(&both);
    cluster_policy.external_ips.push("192.0.2.150".parse().expect("an address"));
    let mut local = front("shop/local", 31, 30081).endpoints(&["shop/web-1"]);
    local.local = true;
    local.load_balancer_ips.push("192.0.2.151".parse().expect("an address"));
    let mut sticky = Service::new("shop/sticky", 32).port("http", "tcp", 80, 8080).endpoints(&both);
    sticky.affinity = Some(10800);
    let cluster = Cluster::new("services", FlannelBackend::Vxlan, 3)
        .pod("default/pod1", 1, 2)
        .pod("shop/web-0", 1, 4)
        .pod("shop/web-1", 2, 4)
        .service(cluster_policy)
        .service(local)
        .service(sticky);
    let mut scenario = cluster.scenario();
    let ask = |from: &str, to: &str, address: &str, port: u16| {
        Probe::ask(from, to, Proto::Tcp, address, port).listening(8080)
    };
    for node in ["192.0.2.11", "192.0.2.12", "192.0.2.13"] {
        let probe = ask(CLIENT4, &format!("{node}:30080"), node, 30080);
        scenario.probe(probe.times(4).want(Want::AnsweredBySome));
    }
    scenario.about("NodePorts of policy Cluster");
    let local = |from: &str, node: &str| ask(from, &format!("{node}:30081"), node, 30081);
    scenario.probe(local(CLIENT4, "192.0.2.12").answered_by("shop/web-1"));
    scenario.probe(local(CLIENT4, "192.0.2.11").silent());
    scenario.probe(local(CLIENT4, "192.0.2.13").silent());
    scenario.probe(local(POD1, "192.0.2.11").answered_by("shop/web-1"));
    scenario.probe(local("node/n1", "192.0.2.11").answered_by("shop/web-1"));
    scenario.about("NodePorts of policy Local");
    scenario.probe(ask(POD1, "192.0.2.150:80", "192.0.2.150", 80).times(4).want(Want::AnsweredBySome));
    scenario.probe(ask("node/n3", "192.0.2.150:80", "192.0.2.150", 80).times(4).want(Want::AnsweredBySome));
    scenario.probe(ask(POD1, "192.0.2.151:80", "192.0.2.151", 80).answered_by("shop/web-1"));
    scenario.about("external and load balancer addresses");
    scenario.probe(ask(POD1, "svc/shop/sticky", "10.96.0.32", 80).times(4).want(Want::AnsweredBySome));
    scenario.probe(ask("node/n1", "svc/shop/sticky", "10.96.0.32", 80).times(4).want(Want::AnsweredBySome));
    scenario.about("session affinity");
    scenario
}

/// Situation 7: session affinity. The service remembers which endpoint one of its clients had, and knows nothing of the
/// other; whether that is too long ago, no snapshot says.
pub fn affinity() -> Scenario {
    let mut sticky = Service::new("shop/sticky", 32).port("http", "tcp", 80, 8080);
    sticky = sticky.endpoints(&["shop/web-0", "shop/web-1"]);
    sticky.affinity = Some(10800);
    let cluster = Cluster::new("affinity", FlannelBackend::Vxlan, 2)
        .pod(POD1, 1, 2)
        .pod("shop/regular", 1, 3)
        .pod("shop/web-0", 1, 4)
        .pod("shop/web-1", 2, 4)
        .service(sticky);
    let mut scenario = cluster.scenario();
    let n1 = scenario.space("n1");
    let rules = n1.rules4().render();
    let rule = rules.lines().find(|rule| rule.contains("--rcheck") && rule.contains("-> 10.244.2.4:8080"));
    let mut words = rule.expect("a rule that looks the client up").split(' ').skip_while(|word| *word != "--name");
    let list = words.nth(1).expect("a list").to_owned();
    n1.recent.push((list, "10.244.1.3".to_owned()));
    let ask = |from: &str| Probe::ask(from, "svc/shop/sticky", Proto::Tcp, "10.96.0.32", 80).listening(8080).times(4);
    scenario.probe(ask("shop/regular").answered_by("shop/web-1"));
    scenario.probe(ask(POD1).want(Want::AnsweredBySome));
    scenario
}

/// Situation 8: two subnets, and between them a router that the snapshot doesn't hold.
pub fn two_subnets() -> Scenario {
    let mut scenario = two_pods("two-subnets", FlannelBackend::Vxlan).in_second_subnet(2).scenario();
    in_every_protocol(&mut scenario, POD1, "default/pod2", "10.244.2.2", "default/pod2");
    in_every_protocol(&mut scenario, "node/n1", "node/n2", "198.51.100.12", "n2");
    in_every_protocol(&mut scenario, POD1, "node/n2", "198.51.100.12", "n2");
    scenario
}

/// Situation 9: docker0, a second uplink, and most of what `ip rule` and `ip route` can say.
pub fn policy_routing() -> Scenario {
    let mut cluster = two_pods("policy-routing", FlannelBackend::Vxlan);
    cluster = cluster.pod("default/pod3", 1, 3).pod("default/pod4", 1, 4);
    cluster.nodes[0].second_uplink = true;
    let mut scenario = cluster.scenario();
    let n1 = scenario.space("n1");
    n1.ip("link add docker0 index 7 address 02:42:00:00:00:01 type bridge")
        .ip("addr add 172.17.0.1/16 brd + dev docker0");
    n1.ip("link set docker0 up");
    for route in [
        "default via 198.51.100.1 dev eth1 table 100",
        "203.0.113.25 via 198.51.100.1 dev eth1 table 101",
        "throw 203.0.113.32/28 table 100",
        "blackhole 203.0.113.48/30 table 100",
        "203.0.113.128/25 nexthop via 192.0.2.1 weight 1 nexthop via 198.51.100.1 weight 3",
        "203.0.113.96/28 via 192.0.2.1 metric 200",
        "203.0.113.96/28 via 198.51.100.1 metric 100",
        "unreachable 203.0.113.112/30",
        "prohibit 203.0.113.116/30",
        "blackhole 203.0.113.120/30",
        "throw 203.0.113.124/30",
    ] {
        n1.ip(format!("route add {route}"));
    }
    n1.ip("nexthop add id 10 via 192.0.2.1 dev eth0").ip("nexthop add id 11 via 198.51.100.1 dev eth1");
    n1.ip("nexthop add id 20 group 10,1/11,3")
        .ip("route add 203.0.113.64/28 nhid 10")
        .ip("route add 203.0.113.80/28 nhid 20");
    for rule in [
        "pref 100 from 10.244.1.3 lookup 100",
        "pref 110 to 203.0.113.20 unreachable",
        "pref 111 to 203.0.113.21 prohibit",
        "pref 112 to 203.0.113.22 blackhole",
        "pref 120 iif cni0 to 203.0.113.23 lookup 100",
        "pref 121 oif eth1 lookup 100",
        "pref 130 fwmark 0x10/0xff lookup 100",
        "pref 140 tos 0x10 lookup 100",
        "pref 150 ipproto tcp dport 443 lookup 100",
        "pref 151 ipproto udp sport 5000-5010 lookup 100",
        "pref 160 to 203.0.113.24 goto 200",
        "pref 170 to 203.0.113.24 unreachable",
        "pref 200 not from 10.244.0.0/16 lookup 101",
        "pref 210 lookup main suppress_prefixlength 0",
    ] {
        n1.ip(format!("rule add {rule}"));
    }
    policy_questions(&mut scenario);
    scenario
}

fn policy_questions(scenario: &mut Scenario) {
    let outside = |from: &str, last: u8| {
        let address = format!("203.0.113.{last}");
        Probe::ask(from, &address, Proto::Udp, &address, 7000)
    };
    let (pod3, host) = ("default/pod3", "node/n1");
    for probe in [
        outside(POD1, 9),
        outside(pod3, 9),
        outside(pod3, 33),
        outside(POD1, 23),
        outside(host, 23),
        outside(POD1, 24),
        outside(host, 24),
        outside(host, 25),
        outside(POD1, 25),
        outside(host, 9).mark(0x10),
        outside(host, 9).mark(0x11),
        outside(host, 9).mark(0x110),
        outside(host, 9).tos(0x10),
        outside(POD1, 9).tos(0x10),
        outside(host, 9).sport(5005),
        outside(host, 9).sport(5011),
        outside(POD1, 65),
        outside(POD1, 97),
    ] {
        scenario.probe(probe.answered_by("world"));
    }
    for (from, port) in [(POD1, 443), (POD1, 80), (host, 443)] {
        scenario.probe(Probe::ask(from, INTERNET4, Proto::Tcp, INTERNET4, port).answered_by("world"));
    }
    for (last, forwarded, local) in [
        (20, Some(Errno::ENETUNREACH), Errno::ENETUNREACH),
        (21, Some(Errno::EHOSTUNREACH), Errno::EACCES),
        (22, None, Errno::EINVAL),
        (113, Some(Errno::EHOSTUNREACH), Errno::EHOSTUNREACH),
        (117, Some(Errno::EHOSTUNREACH), Errno::EACCES),
        (121, None, Errno::EINVAL),
    ] {
        // The kernel tells one sender of five unreachable addresses at once, and of one a second after that
        // (`ip_error` in net/ipv4/route.c).
        let probe = outside(if last < 100 { POD1 } else { "default/pod4" }, last);
        scenario.probe(match forwarded {
            Some(errno) => probe.error(errno),
            None => probe.silent(),
        });
        scenario.probe(outside(host, last).refused(local));
    }
    scenario.about("rules and routes");
    scenario.probe(outside(pod3, 49).silent());
    for last in [130, 81] {
        scenario.probe(outside(POD1, last).times(6).answered_by("world"));
    }
    scenario.about("multipath");
    scenario.probe(Probe::ask(POD1, "172.17.0.1", Proto::Icmp, "172.17.0.1", 0).answered_by("n1"));
    scenario.probe(Probe::ask(POD1, "172.17.0.9", Proto::Udp, "172.17.0.9", 7000));
    in_every_protocol(scenario, POD1, "default/pod2", "10.244.2.2", "default/pod2");
    scenario.about("docker0 and pods");
}

/// Situation 10: the same in both families.
pub fn dual_stack() -> Scenario {
    let mut cluster = two_nodes("dual-stack", FlannelBackend::Vxlan);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    let node_port = |from: &str| {
        let to = "[2001:db8:2::11]:30080";
        Probe::ask(from, to, Proto::Tcp, "2001:db8:2::11", 30080).listening(8080).times(4).want(Want::AnsweredBySome)
    };
    for from in [super::flannel::CLIENT6, POD1, "node/n1", "node/n2"] {
        scenario.probe(node_port(from));
    }
    let cluster_ip = "fd00:10:96::a";
    scenario.probe(Probe::ask(POD1, cluster_ip, Proto::Icmp, cluster_ip, 0).silent());
    in_every_protocol(&mut scenario, POD1, "default/pod2", "fd00:10:244:2::2", "default/pod2");
    in_every_protocol(&mut scenario, POD1, "default/pod3", "fd00:10:244:1::3", "default/pod3");
    let dns = "kube-dns.kube-system.svc.cluster.local";
    scenario.probe(Probe::ask(POD1, dns, Proto::Udp, "fd00:10:96::a", 53).answered_by("kube-system/coredns"));
    let web = |from: &str| Probe::ask(from, "svc/shop/web", Proto::Tcp, "fd00:10:96::14", 80).listening(8080).times(6);
    scenario.probe(web(POD1).want(Want::AnsweredBySome));
    scenario.probe(web("shop/web-0").want(Want::AnsweredBySome));
    scenario.probe(web("node/n1").want(Want::AnsweredBySome));
    let none = "fd00:10:96::28";
    scenario.probe(Probe::ask(POD1, "svc/shop/none", Proto::Tcp, none, 80).error(Errno::ECONNREFUSED));
    for proto in EVERY {
        let outside = super::flannel::INTERNET6;
        scenario.probe(Probe::ask(POD1, outside, proto, outside, 7000).answered_by("world"));
    }
    in_every_protocol(&mut scenario, "node/n1", "default/pod2", "fd00:10:244:2::2", "default/pod2");
    in_every_protocol(&mut scenario, POD1, "node/n2", "2001:db8:2::12", "n2");
    let pod2 = |proto: Proto| Probe::ask(POD1, "default/pod2", proto, "fd00:10:244:2::2", 7000);
    scenario.probe(pod2(Proto::Udp).ttl(1).error(Errno::EHOSTUNREACH));
    scenario.probe(pod2(Proto::Udp).size(1430).answered_by("default/pod2"));
    scenario.probe(pod2(Proto::Udp).size(1500).answered_by("default/pod2"));
    let nobody = "fd00:10:244:2::99";
    scenario.probe(Probe::ask(POD1, nobody, Proto::Udp, nobody, 7000).error(Errno::EHOSTUNREACH));
    in_every_protocol(&mut scenario, POD1, "default/pod2", "10.244.2.2", "default/pod2");
    scenario
}
